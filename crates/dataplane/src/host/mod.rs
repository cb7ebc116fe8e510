//! What we change on the host: the TUN device's link, a routing table, and the rules that consult it.
//!
//! ```text
//!   rule 4500:  not fwmark 4500  lookup 4500        our sockets carry the mark: IKE and ESP never meet the TUN device
//!   table 4500: 10.2.0.0/16 dev keyway0 src 10.1.0.1     a policy's remote selector, our address in its local one
//!               throw 10.2.9.0/24                        a bypass policy inside it
//!               throw 10.1.0.0/16                        a local selector, if a remote one were wide enough to hold it
//! ```
//!
//! A rule that is there already belongs to another plane, and is left alone: we take back only what we made.
//!
//! What the administrator still must look at:
//! - Forwarding between networks needs `net.ipv4.ip_forward`; that is not ours to switch.
//! - Strict reverse path filtering (`rp_filter` 1) on the outer device drops ESP from a peer whose own address lies in a
//!   remote selector, because the way back for an unmarked packet leads to the TUN device. Loose filtering (2) lets it in.
//!   On the TUN device either setting works: the way back to an inner source leads there.
//! - A hub sends ICMP redirects to its spokes, because a packet from one to the other leaves by the device that it came by;
//!   `net.ipv4.conf.all.send_redirects` 0 stops that, together with the TUN device's own setting.
//! - Under a remote selector of everything, a packet whose source no local selector holds is dropped: this host's own
//!   traffic from its outer address, say. A bypass policy lets it out.
//! - A packet that arrives in the clear though a policy protects its addresses meets the kernel's forwarding first, not
//!   us; strict filtering on inner devices or a firewall rule on the outer one stops it (RFC 4301 §5.2).

mod journal;
mod netlink;
mod route_plan;

use std::fmt;
use std::io;
use std::path::Path;

use sa::{Family, PolicyId, PolicySpec};

use self::journal::{Entry, Journal, ROUTE_PROTOCOL, RuleEntry, TableEntry};
use self::netlink::{Netlink, TunRoutes};
use self::route_plan::{Change, RoutePlan};
use crate::{Settings, StartError};

/// The host's set-up while a plane runs. All changes go through here, on one thread at a time.
pub(crate) struct Host {
    netlink: Netlink,
    journal: Journal,
    /// What stands on the host, in the order in which it was made.
    made: Vec<Entry>,
    table: TableEntry,
    device: u32,
    plan: RoutePlan,
}

/// A locked journal after the sweep: nothing is on the host that is not of this run.
pub(crate) struct SweptHost {
    netlink: Netlink,
    journal: Journal,
}

impl SweptHost {
    /// Locks the journal and removes what a crashed run left behind.
    pub(crate) fn open(journal: &Path) -> Result<SweptHost, StartError> {
        let (journal, leftovers) = Journal::open(journal)?;
        let mut netlink = Netlink::open()?;
        if !leftovers.is_empty() {
            tracing::warn!(entries = leftovers.len(), "removing what a crashed run left on this host");
        }
        for entry in leftovers.into_iter().rev() {
            undo(&mut netlink, entry, TunRoutes::GoneWithTheirDevice)?;
        }
        Ok(SweptHost { netlink, journal })
    }

    /// Ends a sweep after which no plane starts.
    pub(crate) fn close(self) -> io::Result<()> {
        self.journal.remove()
    }

    /// Switches the TUN device on and adds the rules. On an error nothing stays.
    pub(crate) fn set_up(self, settings: &Settings) -> Result<Host, StartError> {
        let mut host = Host {
            netlink: self.netlink,
            journal: self.journal,
            made: Vec::new(),
            table: TableEntry { table: settings.routing_table, protocol: ROUTE_PROTOCOL },
            device: 0,
            plan: RoutePlan::default(),
        };
        match host.make_all(settings) {
            Ok(()) => Ok(host),
            Err(error) => {
                host.undo_all();
                Err(error)
            }
        }
    }
}

impl Host {
    /// Makes the routes for a policy stand; gives a sentence for each that the kernel refused.
    pub(crate) fn install_policy(&mut self, policy: &PolicySpec) -> Vec<String> {
        let own_addresses = self.netlink.addresses().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list this host's addresses; routes get no preferred source");
            Vec::new()
        });
        let changes = self.plan.install(policy, &own_addresses);
        self.make(&changes)
    }

    /// Takes away the routes that only this policy needed; gives a sentence for each that the kernel refused.
    pub(crate) fn remove_policy(&mut self, policy: PolicyId) -> Vec<String> {
        let changes = self.plan.remove(policy);
        self.make(&changes)
    }

    /// Takes everything back; what the kernel refuses to give up stays in the journal for the next sweep.
    pub(crate) fn undo_all(mut self) {
        let mut clean = true;
        // The rules before the table: without them no packet consults it.
        for entry in self.made.into_iter().rev() {
            if let Err(error) = undo(&mut self.netlink, entry, TunRoutes::Of(self.device)) {
                tracing::error!(%error, "this host keeps something of ours");
                clean = false;
            }
        }
        if clean && let Err(error) = self.journal.remove() {
            tracing::warn!(%error, "the journal stays");
        }
    }

    fn make(&mut self, changes: &[Change]) -> Vec<String> {
        let mut refusals = Vec::new();
        for change in changes {
            let (result, action, prefix) = match *change {
                Change::Set(prefix, lead) => {
                    (self.netlink.set_route(self.table, prefix, lead, self.device), "add", prefix)
                }
                Change::Remove(prefix) => (self.netlink.remove_route(self.table, prefix), "remove", prefix),
            };
            if let Err(error) = result {
                refusals.push(format!("cannot {action} the route to {prefix}: {error}"));
            }
        }
        refusals
    }

    fn make_all(&mut self, settings: &Settings) -> Result<(), StartError> {
        self.set_up_device(settings)?;
        self.announce(Entry::Table(self.table))?;
        self.made.push(Entry::Table(self.table));
        for family in [Family::V4, Family::V6] {
            let rule = rule(settings, family);
            self.announce(Entry::Rule(rule))?;
            if self.add_rule(rule)? == RuleIs::Added {
                self.made.push(Entry::Rule(rule));
            }
        }
        Ok(())
    }

    /// Writes to the journal what stands and what comes next.
    fn announce(&mut self, next: Entry) -> Result<(), StartError> {
        let mut entries = self.made.clone();
        entries.push(next);
        self.journal.write(&entries)
    }

    fn set_up_device(&mut self, settings: &Settings) -> Result<(), StartError> {
        let (name, mtu) = (&settings.tun_name, u32::from(settings.tun_mtu));
        self.device = self
            .netlink
            .link_index(name)
            .map_err(|source| failed(format!("find the device {name}"), source))?;
        self.netlink
            .bring_up(self.device, mtu)
            .map_err(|source| failed(format!("switch on {name} with an MTU of {mtu}"), source))
    }

    fn add_rule(&mut self, rule: RuleEntry) -> Result<RuleIs, StartError> {
        let Err(error) = self.netlink.add_rule(rule) else { return Ok(RuleIs::Added) };
        match error.raw_os_error() {
            // A kernel without IPv6 has no such rules, and no such packets.
            _ if rule.family == Family::V6 && lacks_family(&error) => {
                tracing::info!(%error, "no IPv6 on this host");
                Ok(RuleIs::Unneeded)
            }
            Some(libc::EEXIST) => Err(StartError::RuleTaken { priority: rule.priority }),
            Some(libc::EPERM) => {
                Err(StartError::Privilege { action: "adding a routing rule", capability: "CAP_NET_ADMIN" })
            }
            _ => Err(failed(format!("add the routing rule {}", rule.priority), error)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleIs {
    Added,
    Unneeded,
}

fn undo(netlink: &mut Netlink, entry: Entry, tun_routes: TunRoutes) -> Result<(), StartError> {
    match entry {
        Entry::Table(table) => netlink
            .remove_all_routes(table, tun_routes)
            .map_err(|source| failed(format!("remove our routes from table {}", table.table), source)),
        Entry::Rule(rule) => netlink
            .remove_rule(rule)
            .map_err(|source| failed(format!("remove our routing rule {}", rule.priority), source)),
    }
}

fn rule(settings: &Settings, family: Family) -> RuleEntry {
    RuleEntry {
        family,
        priority: settings.rule_priority,
        mark: settings.mark,
        table: settings.routing_table,
        protocol: ROUTE_PROTOCOL,
    }
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

fn failed(action: String, source: io::Error) -> StartError {
    StartError::Host { action, source }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
