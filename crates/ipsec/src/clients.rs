//! Who is behind which NAT: the owner's side of [`SharedPorts`](crate::shared_ports).
//!
//! A client is whoever is at one outer address and port: each has an SA of its own, or several. It counts from its first
//! SA until the last policy of its SAs is gone, across rekeyings and moves.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sa::{Encapsulation, Mode, PolicyId, SaSpec};

use crate::hash_pages::Seed;
use crate::shared_ports::{Client, Seat, SharedPorts};

/// Our address and the NAT's, as packets in the clear have them.
pub(crate) type Hosts = (IpAddr, IpAddr);

/// The clients of all NATs.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    groups: BTreeMap<Hosts, Group>,
    /// Where the client of a policy is.
    policies: BTreeMap<PolicyId, (Hosts, Client)>,
}

/// The clients of one NAT.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) ports: Arc<SharedPorts>,
    /// The one that keeps its ports, while it is here.
    pub(crate) first: Option<Client>,
    pub(crate) clients: BTreeMap<Client, Member>,
    last: Client,
}

#[derive(Debug)]
pub(crate) struct Member {
    at: SocketAddr,
    pub(crate) policies: Vec<PolicyId>,
}

impl Clients {
    /// Tells between which hosts an SA's packets go, if others may have SAs between the same ones.
    pub(crate) fn hosts_of(spec: &SaSpec) -> Option<Hosts> {
        let is_in_transport = spec.mode == Mode::Transport && spec.outer.encapsulation == Encapsulation::Udp;
        let first = spec.selectors.first().filter(|_| is_in_transport)?;
        let (local, remote) = (first.local.addresses, first.remote.addresses);
        let same = |pair: &sa::SelectorPair| (pair.local.addresses, pair.remote.addresses) == (local, remote);
        let is_one = local.start() == local.end() && remote.start() == remote.end();
        (is_one && spec.selectors.iter().all(same)).then(|| (local.start(), remote.start()))
    }

    /// Gives an SA what it has to know of its client.
    pub(crate) fn seat(&mut self, spec: &SaSpec, seed: Seed) -> Option<Seat> {
        let hosts = Clients::hosts_of(spec)?;
        if let Some((old, _)) = self.policies.get(&spec.policy)
            && *old != hosts
        {
            self.leave(spec.policy);
        }
        let group = self.groups.entry(hosts).or_insert_with(|| Group {
            ports: Arc::new(SharedPorts::new(seed)),
            first: None,
            clients: BTreeMap::new(),
            last: Client(0),
        });
        let known = self.policies.get(&spec.policy).map(|(_, client)| *client);
        let there = || group.clients.iter().find(|(_, member)| member.at == spec.outer.remote);
        let client = match known.or_else(|| there().map(|(client, _)| *client)) {
            Some(client) => client,
            None => group.admit(spec.outer.remote)?,
        };
        if let Some(member) = group.clients.get_mut(&client)
            && known.is_none()
        {
            member.policies.push(spec.policy);
        }
        self.policies.insert(spec.policy, (hosts, client));
        Some(Seat { ports: Arc::clone(&group.ports), client, is_first: group.first == Some(client) })
    }

    /// Takes note of where the client of a policy is now.
    pub(crate) fn move_to(&mut self, policy: PolicyId, at: SocketAddr) {
        if let Some((hosts, client)) = self.policies.get(&policy)
            && let Some(member) = self.groups.get_mut(hosts).and_then(|group| group.clients.get_mut(client))
        {
            member.at = at;
        }
    }

    /// Forgets a policy, and its client with the last of them; gives between which hosts it was.
    pub(crate) fn leave(&mut self, policy: PolicyId) -> Option<Hosts> {
        let (hosts, client) = self.policies.remove(&policy)?;
        let group = self.groups.get_mut(&hosts)?;
        let member = group.clients.get_mut(&client)?;
        member.policies.retain(|other| *other != policy);
        if member.policies.is_empty() {
            group.clients.remove(&client);
            group.ports.forget(client);
            group.first = group.first.filter(|first| *first != client);
        }
        if group.clients.is_empty() {
            self.groups.remove(&hosts);
        }
        Some(hosts)
    }

    /// Gives the hosts between which the SAs of a policy are.
    pub(crate) fn hosts_of_policy(&self, policy: PolicyId) -> Option<Hosts> {
        self.policies.get(&policy).map(|(hosts, _)| *hosts)
    }

    /// Gives the clients between two hosts, if their ports are ever rewritten.
    pub(crate) fn sharing(&self, hosts: Hosts) -> Option<&Group> {
        self.groups.get(&hosts).filter(|group| group.ports.is_open())
    }
}

impl Group {
    /// Takes a client in; `None` if there are too many. Of several none may have a number that another's packets, which a
    /// worker still has in hands, were rewritten for: numbers come again as late as possible.
    fn admit(&mut self, at: SocketAddr) -> Option<Client> {
        const CLIENTS: u16 = (1 << 15) - 1;
        let numbers = (0..CLIENTS).map(|nth| Client(1 + (self.last.0 + nth) % CLIENTS));
        let client = numbers.into_iter().find(|number| !self.clients.contains_key(number))?;
        self.last = client;
        if !self.clients.is_empty() {
            self.ports.open();
        }
        if self.first.is_none() {
            self.first = Some(client);
        }
        self.clients.insert(client, Member { at, policies: Vec::new() });
        Some(client)
    }
}
