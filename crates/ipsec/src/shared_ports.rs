//! Whose flow is whose among several clients behind one NAT (RFC 3948 §5.2).
//!
//! In transport mode their packets come out of ESP with the NAT's address, and since no NAT sees into ESP, with the ports
//! that each client chose: L2TP clients all send from 1701. Neither a selector nor a daemon on this host can tell such
//! flows apart, so the ports of all clients but one are rewritten, and what is sent to them is rewritten back:
//!
//! ```text
//!   A 10.0.0.2:1701 ─┐                                    ┌─ A's SA ─►  N:1701  ─► :1701
//!                    NAT N ══ ESP in UDP ══► this gateway ─┤
//!   B 10.0.0.3:1701 ─┘                                    └─ B's SA ─►  N:31007 ─► :1701
//!
//!                       B's SA, to port 1701 ◄─ the table: B, 1701 ◄─  N:31007 ◄─ :1701
//! ```
//!
//! To remember instead by which SA a flow came last, and to rewrite nothing, would do only where no two clients use the
//! same port; and the port is what the daemon behind us needs to tell its own clients apart.
//!
//! The first client of an address keeps its ports: where there is one alone, which is the rule, nothing happens here. A
//! table belongs to each address with several clients: an array by port, 16 KiB. A packet costs one access on its way out
//! and [`limits::PORT_TRIES`] at most on its way in, and no lock; where those places are all taken, a flow that has not
//! been used for a while goes. Protocols without ports are the first client's.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::hash_pages::Seed;
use crate::limits;
use crate::nat_checksum::{PortOf, rewrite_port};

/// One client of an address, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client(pub(crate) u16);

/// The clients' ports of one pair of addresses: ours and that of the NAT.
#[derive(Debug)]
pub(crate) struct SharedPorts {
    seed: Seed,
    /// By our port, from [`limits::SHARED_PORTS`]'s first on; empty until there is a second client.
    table: OnceLock<Box<[Place]>>,
}

/// A client's flow, as one word: port, whether it was used lately, client. Zero is free.
#[derive(Debug, Default)]
struct Place(AtomicU32);

const USED: u32 = 1 << 16;

impl SharedPorts {
    pub(crate) fn new(seed: Seed) -> SharedPorts {
        SharedPorts { seed, table: OnceLock::new() }
    }

    /// Makes room for flows: there is a second client.
    pub(crate) fn open(&self) {
        let places = usize::from(limits::SHARED_PORTS.end() - limits::SHARED_PORTS.start()) + 1;
        self.table.get_or_init(|| std::iter::repeat_with(Place::default).take(places).collect());
    }

    /// Tells whether there ever was a second client.
    pub(crate) fn is_open(&self) -> bool {
        self.table.get().is_some()
    }

    /// Forgets a client that is gone.
    pub(crate) fn forget(&self, client: Client) {
        for place in self.table.get().into_iter().flatten() {
            let word = place.0.load(Ordering::Relaxed);
            if word != 0 && client_of(word) == client {
                // Whoever has come in between stays.
                let _ = place.0.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Finds the client, and its own port, for which one of our ports stands.
    pub(crate) fn flow_of(&self, ours: u16) -> Option<(Client, u16)> {
        let place = self.table.get()?.get(usize::from(ours.checked_sub(*limits::SHARED_PORTS.start())?))?;
        let word = place.0.load(Ordering::Relaxed);
        (word != 0).then(|| (client_of(word), word as u16))
    }

    /// Gives the port of ours that stands for a client's, a new one if there is none; `None` if there is no table.
    fn port_for(&self, client: Client, theirs: u16) -> Option<u16> {
        let table = self.table.get()?;
        let flow = u32::from(client.0) << 17 | u32::from(theirs);
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(flow.into());
        let first = hasher.finish() as usize;
        let tries = || (0..limits::PORT_TRIES).map(|nth| first.wrapping_add(nth) % table.len());
        let mut chosen = None;
        for place in tries() {
            let word = table[place].0.load(Ordering::Relaxed);
            if word & !USED == flow {
                if word & USED == 0 {
                    let _ = table[place].0.compare_exchange(
                        word,
                        word | USED,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
                return Some(port_at(place));
            }
            if word == 0 && chosen.is_none() {
                chosen = Some((place, word));
            }
        }
        let (place, word) = chosen.unwrap_or_else(|| self.least_used(table, tries()));
        let taken = table[place].0.compare_exchange(word, flow | USED, Ordering::Relaxed, Ordering::Relaxed);
        match taken {
            Ok(_) => Some(port_at(place)),
            // Another worker was faster, perhaps with this very flow; its next packet will find a place.
            Err(now) => (now & !USED == flow).then(|| port_at(place)),
        }
    }

    /// Chooses among places that are all taken one whose flow has not been used since it was last asked for.
    fn least_used(&self, table: &[Place], tries: impl Iterator<Item = usize> + Clone) -> (usize, u32) {
        let words = tries.map(|place| (place, table[place].0.load(Ordering::Relaxed)));
        let unused = words.clone().find(|(_, word)| word & USED == 0);
        for (place, _) in words.clone() {
            table[place].0.fetch_and(!USED, Ordering::Relaxed);
        }
        let first = words.map(|(place, word)| (place, word & !USED)).next();
        unused.or(first).unwrap_or_default()
    }
}

fn client_of(word: u32) -> Client {
    Client((word >> 17) as u16)
}

fn port_at(place: usize) -> u16 {
    limits::SHARED_PORTS.start() + place as u16
}

/// What an SA knows of its client.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) ports: Arc<SharedPorts>,
    pub(crate) client: Client,
    /// Whether the client keeps its ports: it was here when there was no other.
    pub(crate) is_first: bool,
}

impl Seat {
    /// Puts a port of ours in the place of the client's, in a packet that was opened.
    pub(crate) fn inward(&self, packet: &mut [u8]) {
        if self.ports.is_open() {
            rewrite_port(packet, PortOf::Source, |theirs| {
                // Even the first has none of those that stand for others'.
                let is_kept = self.is_first && !limits::SHARED_PORTS.contains(&theirs);
                if is_kept { None } else { self.ports.port_for(self.client, theirs) }
            });
        }
    }

    /// Puts the client's port back, in a packet that is to be sealed.
    pub(crate) fn outward(&self, packet: &mut [u8]) {
        if self.ports.is_open() {
            rewrite_port(packet, PortOf::Destination, |ours| {
                let flow = self.ports.flow_of(ours);
                flow.filter(|(client, _)| *client == self.client).map(|(_, theirs)| theirs)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_port_of_ours_stands_for_one_port_of_one_client(
            seed: u64,
            flows in prop::collection::vec((1..200u16, any::<u16>()), 1..600),
        ) {
            let ports = SharedPorts::new(Seed(seed));
            prop_assert_eq!(ports.port_for(Client(1), 1701), None);
            ports.open();
            let mut model: BTreeMap<u16, (Client, u16)> = BTreeMap::new();
            for (client, theirs) in flows {
                let client = Client(client);
                let ours = ports.port_for(client, theirs).expect("a lone worker finds a place");
                prop_assert!(limits::SHARED_PORTS.contains(&ours));
                prop_assert_eq!(ports.port_for(client, theirs), Some(ours), "it keeps it");
                model.insert(ours, (client, theirs));
                for (ours, flow) in &model {
                    prop_assert_eq!(ports.flow_of(*ours), Some(*flow));
                }
            }
            ports.forget(Client(7));
            for (ours, flow) in model {
                prop_assert_eq!(ports.flow_of(ours), Some(flow).filter(|(client, _)| *client != Client(7)));
            }
        }
    }

    #[test]
    fn what_is_in_use_outlives_what_is_not_where_there_is_no_room() {
        let ports = SharedPorts::new(Seed(1));
        ports.open();
        let busy: Vec<u16> = (1..=100).collect();
        let mut moved = 0;
        for client in 200..20_000u16 {
            ports.port_for(Client(client), 1701);
            let before: Vec<_> = busy.iter().map(|client| ports.port_for(Client(*client), 1701)).collect();
            ports.port_for(Client(client), 1702);
            let after: Vec<_> = busy.iter().map(|client| ports.port_for(Client(*client), 1701)).collect();
            moved += usize::from(before != after);
        }
        // Where a flow finds all its places taken by flows in use, one of those goes.
        assert!(moved < 20, "a flow that is used between any two others keeps its place: {moved}");
    }

    #[test]
    fn workers_share_a_table() {
        let ports = SharedPorts::new(Seed(1));
        ports.open();
        std::thread::scope(|scope| {
            for worker in 0..4u16 {
                let ports = &ports;
                scope.spawn(move || {
                    for theirs in 0..2000u16 {
                        let client = Client(1 + worker % 2);
                        if let Some(ours) = ports.port_for(client, theirs)
                            && let Some((found, port)) = ports.flow_of(ours)
                        {
                            // It may have been given away since, but never to half of another.
                            assert!((1..=2).contains(&found.0) && port < 2000);
                        }
                    }
                });
            }
        });
    }
}
