//! Virtual addresses: a server leases them out of pools, and a client has them as long as it is connected. Mode Config of
//! IKEv1 asks for them (`v1/mode_config.rs`), or the Configuration payload of IKEv2 (`v2/configuration.rs`).
//!
//! ```text
//!   server   pool 10.3.0.0/24 ── lease ──► 10.3.0.1, of this client, held by these IKE SAs
//!   client                                 10.3.0.1, on this host, as long as an IKE SA holds it
//! ```
//!
//! An address is held by IKE SAs, not by one: the one that replaces another has the same address before the other goes.
//! A client that comes back gets the address that it had, if nobody else needed it meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sa::{AddressRange, Family};
use wire::isakmp::IkeSpi;

use crate::{Identity, limits};

/// Addresses that are leased to clients, and what clients are told with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name, unique in the engine.
    pub name: String,
    /// The addresses. Of a network of IPv4 the first and the last are nobody's.
    pub addresses: AddressRange,
    /// The mask that clients are told, if any.
    pub netmask: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Name servers of NetBIOS.
    pub nbns: Vec<Ipv4Addr>,
    /// DHCP servers.
    pub dhcp: Vec<IpAddr>,
    /// Servers of another kind, which some clients ask for.
    pub servers: Vec<IpAddr>,
    /// The networks behind the server.
    pub subnets: Vec<AddressRange>,
    /// The same for clients with Unity attributes that send only those through the tunnel.
    pub split_include: Vec<AddressRange>,
    /// The networks that clients with Unity attributes do not send through the tunnel.
    pub split_exclude: Vec<AddressRange>,
    /// The domain of names without a dot.
    pub domain: Option<String>,
    /// What is shown to the user.
    pub banner: Option<String>,
    /// Attributes by their number.
    pub numbered: Vec<(u16, String)>,
}

/// What a pool has given to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// The pool.
    pub pool: Pool,
    /// How many addresses it has.
    pub size: u64,
    /// Those that a client has, or had and is given again when it comes back.
    pub leases: Vec<LeaseStatus>,
}

/// One address that a client has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub client: Identity,
    /// Whether the client is connected.
    pub is_online: bool,
}

/// An address was given to a client, or came back from it: whoever keeps leases across restarts wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseChange {
    /// The pool's name.
    pub pool: String,
    /// What is so now.
    pub lease: LeaseStatus,
}

/// All pools, and who has what of them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    shelves: BTreeMap<String, Shelf>,
    changes: VecDeque<LeaseChange>,
}

#[derive(Debug)]
struct Shelf {
    pool: Pool,
    leases: BTreeMap<IpAddr, Lease>,
    /// The first address that nobody ever had.
    fresh: Option<IpAddr>,
    /// Counts what came back, so that the oldest is found.
    returned: u64,
}

#[derive(Debug)]
struct Lease {
    client: Identity,
    /// By our SPI.
    holders: BTreeSet<IkeSpi>,
    returned: u64,
}

impl Leases {
    /// Adds a pool, or replaces the one of the same name; leases of the same addresses live on.
    pub(crate) fn load(&mut self, pool: Pool) {
        match self.shelves.get_mut(&pool.name) {
            Some(shelf) if shelf.pool.addresses == pool.addresses => shelf.pool = pool,
            Some(shelf) => {
                shelf.leases.retain(|address, _| pool.addresses.contains(*address));
                shelf.fresh = Some(first_host(&pool.addresses));
                shelf.pool = pool;
            }
            None => {
                let fresh = Some(first_host(&pool.addresses));
                let shelf = Shelf { leases: BTreeMap::new(), fresh, returned: 0, pool };
                self.shelves.insert(shelf.pool.name.clone(), shelf);
            }
        }
    }

    /// Describes all pools.
    pub(crate) fn status(&self) -> Vec<PoolStatus> {
        self.shelves.values().map(Shelf::status).collect()
    }

    /// Forgets a pool.
    pub(crate) fn unload(&mut self, name: &str) {
        self.shelves.remove(name);
    }

    /// Gives those of the named pools that there are.
    pub(crate) fn pools<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Pool> {
        names.iter().filter_map(|name| self.shelves.get(name)).map(|shelf| &shelf.pool)
    }

    /// Takes back what was leased before a restart, the longest unused first: each client has its address when it comes back.
    pub(crate) fn restore(&mut self, name: &str, leases: Vec<(IpAddr, Identity)>) {
        let Some(shelf) = self.shelves.get_mut(name) else { return };
        for (address, client) in leases {
            if shelf.is_host(address)
                && shelf.leases.len() < limits::LEASES_OF_A_POOL
                && !shelf.leases.contains_key(&address)
            {
                shelf.returned += 1;
                let lease = Lease { client, holders: BTreeSet::new(), returned: shelf.returned };
                shelf.leases.insert(address, lease);
            }
        }
    }

    /// Gives the next change that nobody has been told of.
    pub(crate) fn poll_change(&mut self) -> Option<LeaseChange> {
        self.changes.pop_front()
    }

    /// Leases a client an address of the first pool that has one: the address that it had or wants, or else any.
    pub(crate) fn lease(
        &mut self,
        names: &[String],
        family: Family,
        client: &Identity,
        wanted: Option<IpAddr>,
        holder: IkeSpi,
    ) -> Option<IpAddr> {
        names.iter().find_map(|name| {
            let shelf = self.shelves.get_mut(name).filter(|shelf| shelf.pool.addresses.family() == family)?;
            let address = shelf.lease(client, wanted, holder)?;
            let lease = LeaseStatus { address, client: client.clone(), is_online: true };
            self.changes.push_back(LeaseChange { pool: name.clone(), lease });
            Some(address)
        })
    }

    /// Gives the addresses that a connected client has.
    pub(crate) fn of(&self, names: &[String], client: &Identity) -> impl Iterator<Item = IpAddr> {
        let shelves = names.iter().filter_map(|name| self.shelves.get(name));
        let leases = shelves.flat_map(|shelf| &shelf.leases);
        let theirs = leases.filter(|(_, lease)| lease.client == *client && !lease.holders.is_empty());
        theirs.map(|(address, _)| *address)
    }

    /// Lets another IKE SA hold a leased address, too.
    pub(crate) fn share(&mut self, address: IpAddr, holder: IkeSpi) {
        for shelf in self.shelves.values_mut() {
            if let Some(lease) = shelf.leases.get_mut(&address) {
                lease.holders.insert(holder);
            }
        }
    }

    /// An IKE SA is gone, and with it its hold of these addresses.
    pub(crate) fn release(&mut self, addresses: &[IpAddr], holder: IkeSpi) {
        for (name, shelf) in &mut self.shelves {
            for address in addresses {
                let Some(lease) = shelf.leases.get_mut(address) else { continue };
                if lease.holders.remove(&holder) && lease.holders.is_empty() {
                    shelf.returned += 1;
                    lease.returned = shelf.returned;
                    let lease =
                        LeaseStatus { address: *address, client: lease.client.clone(), is_online: false };
                    self.changes.push_back(LeaseChange { pool: name.clone(), lease });
                }
            }
        }
    }
}

impl Shelf {
    fn status(&self) -> PoolStatus {
        let leases = self.leases.iter().map(|(address, lease)| LeaseStatus {
            address: *address,
            client: lease.client.clone(),
            is_online: !lease.holders.is_empty(),
        });
        PoolStatus { pool: self.pool.clone(), size: size(&self.pool.addresses), leases: leases.collect() }
    }

    fn lease(&mut self, client: &Identity, wanted: Option<IpAddr>, holder: IkeSpi) -> Option<IpAddr> {
        let address = self
            .own_of(client, wanted)
            .or_else(|| self.free(wanted))
            .or_else(|| self.next_fresh())
            .or_else(|| self.oldest_returned())?;
        let lease = self.leases.entry(address).or_insert_with(|| Lease {
            client: client.clone(),
            holders: BTreeSet::new(),
            returned: 0,
        });
        lease.client = client.clone();
        lease.holders.insert(holder);
        Some(address)
    }

    /// The address that the client had. One that is in use is another device's of the same client, unless it is asked
    /// for; and another client's, if nobody knows who they are (RFC 7619 §2.5).
    fn own_of(&self, client: &Identity, wanted: Option<IpAddr>) -> Option<IpAddr> {
        let is_own = |(address, lease): &(&IpAddr, &Lease)| {
            let is_same = !client.is_null() && wanted == Some(**address);
            lease.client == *client && (lease.holders.is_empty() || is_same)
        };
        self.leases.iter().find(is_own).map(|(address, _)| *address)
    }

    fn free(&self, wanted: Option<IpAddr>) -> Option<IpAddr> {
        let is_free = |address: &IpAddr| {
            self.is_host(*address) && self.leases.get(address).is_none_or(|lease| lease.holders.is_empty())
        };
        wanted.filter(is_free)
    }

    fn is_host(&self, address: IpAddr) -> bool {
        first_host(&self.pool.addresses) <= address && address <= last_host(&self.pool.addresses)
    }

    fn next_fresh(&mut self) -> Option<IpAddr> {
        while self.leases.len() < limits::LEASES_OF_A_POOL {
            let address = self.fresh?;
            self.fresh = next(address).filter(|next| *next <= last_host(&self.pool.addresses));
            if !self.leases.contains_key(&address) {
                return Some(address);
            }
        }
        None
    }

    fn oldest_returned(&self) -> Option<IpAddr> {
        let returned = self.leases.iter().filter(|(_, lease)| lease.holders.is_empty());
        returned.min_by_key(|(_, lease)| lease.returned).map(|(address, _)| *address)
    }
}

fn first_host(range: &AddressRange) -> IpAddr {
    if is_network(range) { next(range.start()).unwrap_or(range.start()) } else { range.start() }
}

fn last_host(range: &AddressRange) -> IpAddr {
    match range.end() {
        end if !is_network(range) => end,
        IpAddr::V4(end) => IpAddr::V4(Ipv4Addr::from(u32::from(end).saturating_sub(1))),
        IpAddr::V6(end) => IpAddr::V6(Ipv6Addr::from(u128::from(end).saturating_sub(1))),
    }
}

/// Whether the first and the last address are not for hosts: in IPv4 the network and all of it, in IPv6 any of its routers
/// (RFC 4291 §2.6.1) and, where an interface identifier of ones is reserved, anycast (RFC 2526). RFC 3021 and RFC 6164 know
/// when they are for hosts.
fn is_network(range: &AddressRange) -> bool {
    let bits = range.family().bits();
    range.as_prefix().is_some_and(|(_, length)| length < bits - 1)
}

/// Counts the addresses of hosts.
fn size(range: &AddressRange) -> u64 {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let more = number(last_host(range)).saturating_sub(number(first_host(range)));
    u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1)
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(Ipv4Addr::from(next))),
        IpAddr::V6(address) => {
            u128::from(address).checked_add(1).map(|next| IpAddr::V6(Ipv6Addr::from(next)))
        }
    }
}

/// The name servers that a peer told with a virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers {
    /// The connection that they came by.
    pub connection: String,
    /// The servers, the best first; at least one.
    pub servers: Vec<IpAddr>,
    /// The domain of names without a dot.
    pub domain: Option<String>,
}

/// The virtual addresses of this host, the connection that each came by, and the IKE SAs that hold it, by our SPI; and the
/// same for name servers.
#[derive(Debug, Default)]
pub(crate) struct Assumed {
    addresses: BTreeMap<IpAddr, (String, BTreeSet<IkeSpi>)>,
    name_servers: BTreeMap<String, (NameServers, BTreeSet<IkeSpi>)>,
}

impl Assumed {
    /// Notes an address; tells whether it is new.
    pub(crate) fn take(&mut self, address: IpAddr, connection: &str, holder: IkeSpi) -> bool {
        let (_, holders) =
            self.addresses.entry(address).or_insert_with(|| (connection.to_owned(), BTreeSet::new()));
        let is_new = holders.is_empty();
        holders.insert(holder);
        is_new
    }

    /// Tells whether an address is one of them.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// Gives the addresses that came by a connection.
    pub(crate) fn all_of(&self, connection: &str) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |(_, (name, _))| name == connection).map(|(address, _)| *address)
    }

    /// Notes name servers; tells whether they are others than before.
    pub(crate) fn take_name_servers(&mut self, told: &NameServers, holder: IkeSpi) -> bool {
        let known = self.name_servers.get_mut(&told.connection);
        match known {
            Some((known, holders)) => {
                holders.insert(holder);
                let is_new = known != told;
                known.clone_from(told);
                is_new
            }
            None => {
                let noted = (told.clone(), BTreeSet::from([holder]));
                self.name_servers.insert(told.connection.clone(), noted);
                true
            }
        }
    }

    /// An IKE SA is gone; gives the connections whose name servers no other holds.
    pub(crate) fn release_name_servers(&mut self, holder: IkeSpi) -> Vec<String> {
        let mut gone = Vec::new();
        self.name_servers.retain(|connection, (_, holders)| {
            let is_last = holders.remove(&holder) && holders.is_empty();
            if is_last {
                gone.push(connection.clone());
            }
            !is_last
        });
        gone
    }

    /// An IKE SA is gone; tells whether it was the last one to hold the address.
    pub(crate) fn release(&mut self, address: IpAddr, holder: IkeSpi) -> bool {
        let Some((_, holders)) = self.addresses.get_mut(&address) else { return false };
        let is_last = holders.remove(&holder) && holders.is_empty();
        if is_last {
            self.addresses.remove(&address);
        }
        is_last
    }
}

/// The virtual addresses of the two ends of one IKE SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Ours, that the peer gave.
    pub local: Vec<IpAddr>,
    /// The peer's, that we gave.
    pub remote: Vec<IpAddr>,
    /// The name servers that the peer told.
    pub dns: Vec<IpAddr>,
    /// The networks that it says are behind it.
    pub subnets: Vec<AddressRange>,
    /// The domain of names without a dot that it told.
    pub domain: Option<String>,
    /// What it wants the user to read.
    pub banner: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(addresses: &str) -> Leases {
        let mut leases = Leases::default();
        leases.load(Pool {
            name: "p".to_owned(),
            addresses: addresses.parse().expect("a range"),
            netmask: None,
            dns: Vec::new(),
            nbns: Vec::new(),
            dhcp: Vec::new(),
            servers: Vec::new(),
            subnets: Vec::new(),
            split_include: Vec::new(),
            split_exclude: Vec::new(),
            domain: None,
            banner: None,
            numbered: Vec::new(),
        });
        leases
    }

    fn lease(leases: &mut Leases, client: &str, wanted: Option<&str>, holder: u64) -> Option<String> {
        let client = Identity::Fqdn(client.to_owned());
        let wanted = wanted.map(|text| text.parse().expect("an address"));
        let address = leases.lease(&["p".to_owned()], Family::V4, &client, wanted, IkeSpi(holder));
        address.map(|address| address.to_string())
    }

    fn release(leases: &mut Leases, address: &str, holder: u64) {
        leases.release(&[address.parse().expect("an address")], IkeSpi(holder));
    }

    #[test]
    fn a_network_keeps_its_ends_and_a_range_has_none() {
        let mut network = leases("10.3.0.0/30");
        assert_eq!(lease(&mut network, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut network, "b", None, 2).as_deref(), Some("10.3.0.2"));
        assert_eq!(lease(&mut network, "c", None, 3), None);
        let network6 = leases("2001:db8::/64").status().remove(0);
        assert_eq!(first_host(&network6.pool.addresses).to_string(), "2001:db8::1");
        let mut range = leases("10.3.0.0-10.3.0.1");
        assert_eq!(lease(&mut range, "a", None, 1).as_deref(), Some("10.3.0.0"));
        assert_eq!(lease(&mut range, "b", None, 2).as_deref(), Some("10.3.0.1"));
    }

    #[test]
    fn a_pool_that_is_changed_keeps_the_leases_that_it_still_has() {
        let mut leases = leases("10.3.0.1-10.3.0.9");
        assert_eq!(lease(&mut leases, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut leases, "b", None, 2).as_deref(), Some("10.3.0.2"));
        release(&mut leases, "10.3.0.2", 2);
        let pool = leases.status()[0].pool.clone();
        leases.load(Pool { addresses: "10.3.0.2-10.3.0.4".parse().expect("a range"), ..pool });
        let status = &leases.status()[0];
        let left: Vec<_> =
            status.leases.iter().map(|lease| (lease.address.to_string(), lease.is_online)).collect();
        assert_eq!((status.size, left), (3, vec![("10.3.0.2".to_owned(), false)]));
        assert_eq!(lease(&mut leases, "c", None, 3).as_deref(), Some("10.3.0.3"));
    }

    #[test]
    fn who_comes_back_has_the_address_that_he_had() {
        let mut leases = leases("10.3.0.1-10.3.0.2");
        assert_eq!(lease(&mut leases, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut leases, "b", None, 2).as_deref(), Some("10.3.0.2"));
        release(&mut leases, "10.3.0.1", 1);
        release(&mut leases, "10.3.0.2", 2);
        assert_eq!(lease(&mut leases, "b", None, 3).as_deref(), Some("10.3.0.2"));
        // Nothing is fresh any more: what came back first goes first.
        assert_eq!(lease(&mut leases, "c", None, 4).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut leases, "a", None, 5), None);
    }

    #[test]
    fn leases_outlive_a_restart() {
        let mut before = leases("10.3.0.1-10.3.0.3");
        assert_eq!(lease(&mut before, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut before, "b", None, 2).as_deref(), Some("10.3.0.2"));
        release(&mut before, "10.3.0.2", 2);
        let changes: Vec<_> = std::iter::from_fn(|| before.poll_change()).collect();
        let told: Vec<_> =
            changes.iter().map(|change| (change.lease.client.to_string(), change.lease.is_online)).collect();
        let expected = [("a", true), ("b", true), ("b", false)];
        assert_eq!(told, expected.map(|(client, is_online)| (client.to_owned(), is_online)));
        let mut after = leases("10.3.0.1-10.3.0.3");
        let kept = changes[1..].iter().map(|change| (change.lease.address, change.lease.client.clone()));
        let stray = ("10.9.9.9".parse().expect("an address"), Identity::Fqdn("c".to_owned()));
        after.restore("p", kept.chain([stray]).collect());
        assert_eq!(lease(&mut after, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut after, "b", None, 2).as_deref(), Some("10.3.0.2"));
        assert_eq!(lease(&mut after, "c", None, 3).as_deref(), Some("10.3.0.3"));
    }

    #[test]
    fn the_same_client_shares_only_what_it_asks_for() {
        let mut leases = leases("10.3.0.1-10.3.0.9");
        assert_eq!(lease(&mut leases, "a", None, 1).as_deref(), Some("10.3.0.1"));
        assert_eq!(lease(&mut leases, "a", None, 2).as_deref(), Some("10.3.0.2"), "another device");
        assert_eq!(
            lease(&mut leases, "a", Some("10.3.0.1"), 3).as_deref(),
            Some("10.3.0.1"),
            "a replacement"
        );
        release(&mut leases, "10.3.0.1", 1);
        assert_eq!(
            lease(&mut leases, "b", Some("10.3.0.1"), 4).as_deref(),
            Some("10.3.0.3"),
            "still held by 3"
        );
        assert_eq!(
            lease(&mut leases, "b", Some("10.9.9.9"), 5).as_deref(),
            Some("10.3.0.4"),
            "not of the pool"
        );
    }

    #[test]
    fn an_address_of_ours_stays_until_its_last_holder_goes() {
        let mut assumed = Assumed::default();
        let address = IpAddr::from([10, 3, 0, 1]);
        assert!(assumed.take(address, "site", IkeSpi(1)));
        assert!(!assumed.take(address, "site", IkeSpi(2)));
        assert!(!assumed.release(address, IkeSpi(1)));
        assert!(!assumed.release(address, IkeSpi(1)));
        assert!(assumed.release(address, IkeSpi(2)));
    }
}
