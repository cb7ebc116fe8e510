//! Virtual addresses: a server leases them out of pools, and a client has them as long as it is connected. Mode Config of
//! IKEv1 asks for them (`v1/mode_config.rs`).
//!
//! ```text
//!   server   pool 10.3.0.0/24 ── lease ──► 10.3.0.1, of this client, held by these IKE SAs
//!   client                                 10.3.0.1, on this host, as long as an IKE SA holds it
//! ```
//!
//! An address is held by IKE SAs, not by one: the one that replaces another has the same address before the other goes.
//! A client that comes back gets the address that it had, if nobody else needed it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The networks behind the server, for clients that send only those through the tunnel.
    pub split_include: Vec<AddressRange>,
    /// The domain of names without a dot.
    pub domain: Option<String>,
    /// What is shown to the user.
    pub banner: Option<String>,
}

/// All pools, and who has what of them.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<String, Shelf>);

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
        match self.0.get_mut(&pool.name) {
            Some(shelf) if shelf.pool.addresses == pool.addresses => shelf.pool = pool,
            Some(_) | None => {
                let fresh = Some(first_host(&pool.addresses));
                let shelf = Shelf { leases: BTreeMap::new(), fresh, returned: 0, pool };
                self.0.insert(shelf.pool.name.clone(), shelf);
            }
        }
    }

    /// Forgets a pool.
    pub(crate) fn unload(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Gives those of the named pools that there are.
    pub(crate) fn pools<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Pool> {
        names.iter().filter_map(|name| self.0.get(name)).map(|shelf| &shelf.pool)
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
            let shelf = self.0.get_mut(name).filter(|shelf| shelf.pool.addresses.family() == family)?;
            shelf.lease(client, wanted, holder)
        })
    }

    /// Gives an address of a family that a client has.
    pub(crate) fn of(&self, names: &[String], family: Family, client: &Identity) -> Option<IpAddr> {
        let shelves = names.iter().filter_map(|name| self.0.get(name));
        let mut leases = shelves.flat_map(|shelf| &shelf.leases);
        let is_it = |(address, lease): &(&IpAddr, &Lease)| {
            Family::of(**address) == family && lease.client == *client && !lease.holders.is_empty()
        };
        leases.find(is_it).map(|(address, _)| *address)
    }

    /// Lets another IKE SA hold a leased address, too.
    pub(crate) fn share(&mut self, address: IpAddr, holder: IkeSpi) {
        for shelf in self.0.values_mut() {
            if let Some(lease) = shelf.leases.get_mut(&address) {
                lease.holders.insert(holder);
            }
        }
    }

    /// An IKE SA is gone, and with it its hold of these addresses.
    pub(crate) fn release(&mut self, addresses: &[IpAddr], holder: IkeSpi) {
        for shelf in self.0.values_mut() {
            for address in addresses {
                let Some(lease) = shelf.leases.get_mut(address) else { continue };
                lease.holders.remove(&holder);
                shelf.returned += 1;
                lease.returned = shelf.returned;
            }
        }
    }
}

impl Shelf {
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
    /// for.
    fn own_of(&self, client: &Identity, wanted: Option<IpAddr>) -> Option<IpAddr> {
        let is_own = |(address, lease): &(&IpAddr, &Lease)| {
            lease.client == *client && (lease.holders.is_empty() || wanted == Some(**address))
        };
        self.leases.iter().find(is_own).map(|(address, _)| *address)
    }

    fn free(&self, wanted: Option<IpAddr>) -> Option<IpAddr> {
        let is_free = |address: &IpAddr| {
            let is_host =
                first_host(&self.pool.addresses) <= *address && *address <= last_host(&self.pool.addresses);
            is_host && self.leases.get(address).is_none_or(|lease| lease.holders.is_empty())
        };
        wanted.filter(is_free)
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
        IpAddr::V4(end) if is_network(range) => IpAddr::V4(Ipv4Addr::from(u32::from(end).saturating_sub(1))),
        end => end,
    }
}

/// Whether the first and the last address are not for hosts (RFC 3021 knows when they are).
fn is_network(range: &AddressRange) -> bool {
    range.family() == Family::V4 && range.as_prefix().is_some_and(|(_, length)| length < 31)
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(Ipv4Addr::from(next))),
        IpAddr::V6(address) => {
            u128::from(address).checked_add(1).map(|next| IpAddr::V6(Ipv6Addr::from(next)))
        }
    }
}

/// The virtual addresses of this host, the connection that each came by, and the IKE SAs that hold it, by our SPI.
#[derive(Debug, Default)]
pub(crate) struct Assumed(BTreeMap<IpAddr, (String, BTreeSet<IkeSpi>)>);

impl Assumed {
    /// Notes an address; tells whether it is new.
    pub(crate) fn take(&mut self, address: IpAddr, connection: &str, holder: IkeSpi) -> bool {
        let (_, holders) = self.0.entry(address).or_insert_with(|| (connection.to_owned(), BTreeSet::new()));
        let is_new = holders.is_empty();
        holders.insert(holder);
        is_new
    }

    /// Tells whether an address is one of them.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.contains_key(&address)
    }

    /// Gives the address of a family that came by a connection.
    pub(crate) fn of(&self, connection: &str, family: Family) -> Option<IpAddr> {
        let is_it = |(address, (name, _)): &(&IpAddr, &(String, _))| {
            Family::of(**address) == family && name == connection
        };
        self.0.iter().find(is_it).map(|(address, _)| *address)
    }

    /// An IKE SA is gone; tells whether it was the last one to hold the address.
    pub(crate) fn release(&mut self, address: IpAddr, holder: IkeSpi) -> bool {
        let Some((_, holders)) = self.0.get_mut(&address) else { return false };
        let is_last = holders.remove(&holder) && holders.is_empty();
        if is_last {
            self.0.remove(&address);
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
            split_include: Vec::new(),
            domain: None,
            banner: None,
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
        let mut range = leases("10.3.0.0-10.3.0.1");
        assert_eq!(lease(&mut range, "a", None, 1).as_deref(), Some("10.3.0.0"));
        assert_eq!(lease(&mut range, "b", None, 2).as_deref(), Some("10.3.0.1"));
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
