//! A network address and port translator before one end (RFC 4787: endpoint-independent mapping and filtering).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Translates between the inside addresses of one end and one outside address.
#[derive(Clone, Debug)]
pub struct Nat {
    outside: IpAddr,
    idle: Duration,
    mappings: BTreeMap<SocketAddr, Mapping>,
    forwarded: BTreeMap<u16, SocketAddr>,
    next_port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    outside_port: u16,
    used_at: Instant,
}

impl Nat {
    /// Makes a translator that owns `outside` and forgets a mapping that no packet from inside used for `idle`.
    pub fn new(outside: IpAddr, idle: Duration) -> Nat {
        Nat { outside, idle, mappings: BTreeMap::new(), forwarded: BTreeMap::new(), next_port: FIRST_PORT }
    }

    /// Sends what comes to `port` outside to that port of `inside`, so that the end can be reached first.
    #[must_use]
    pub fn forwarding(mut self, port: u16, inside: IpAddr) -> Nat {
        self.forwarded.insert(port, SocketAddr::new(inside, port));
        self
    }

    /// Gives the outside address.
    pub fn outside(&self) -> IpAddr {
        self.outside
    }

    /// Forgets every mapping, as a translator that restarts does; the next packets get other ports.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    /// Forgets every mapping and takes another outside address.
    pub fn move_to(&mut self, outside: IpAddr) {
        self.mappings.clear();
        self.outside = outside;
    }

    /// Gives the source that the outside sees for a packet from inside.
    pub fn translate_out(&mut self, now: Instant, source: SocketAddr) -> SocketAddr {
        if let Some((&port, _)) = self.forwarded.iter().find(|(_, inside)| **inside == source) {
            return SocketAddr::new(self.outside, port);
        }
        let fresh_port = self.next_port;
        let mapping = self
            .mappings
            .entry(source)
            .and_modify(|mapping| {
                if now > mapping.used_at + self.idle {
                    mapping.outside_port = fresh_port;
                }
                mapping.used_at = now;
            })
            .or_insert(Mapping { outside_port: fresh_port, used_at: now });
        if mapping.outside_port == fresh_port {
            self.next_port += 1;
        }
        SocketAddr::new(self.outside, mapping.outside_port)
    }

    /// Gives the inside address and port that a packet from outside is for; `None` drops it.
    pub fn translate_in(&self, now: Instant, destination: SocketAddr) -> Option<SocketAddr> {
        if destination.ip() != self.outside {
            return None;
        }
        let mapped = self.mappings.iter().find(|(_, mapping)| {
            mapping.outside_port == destination.port() && now <= mapping.used_at + self.idle
        });
        let forwarded = self.forwarded.get(&destination.port());
        mapped.map(|(inside, _)| inside).or(forwarded).copied()
    }
}

const FIRST_PORT: u16 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("the test's own text")
    }

    #[test]
    fn a_mapping_works_both_ways_until_it_is_idle_and_then_has_another_port() {
        let now = Instant::now();
        let mut nat = Nat::new(at("192.0.2.1:0").ip(), Duration::from_secs(30));
        let inside = at("10.0.0.2:4500");
        let outside = nat.translate_out(now, inside);
        assert_eq!(outside.ip(), nat.outside());
        assert_eq!(nat.translate_in(now, outside), Some(inside));
        assert_ne!(nat.translate_out(now, at("10.0.0.2:500")), outside);

        let later = now + Duration::from_secs(31);
        assert_eq!(nat.translate_in(later, outside), None);
        let rebound = nat.translate_out(later, inside);
        assert_ne!(rebound, outside);
        assert_eq!(nat.translate_in(later, rebound), Some(inside));
    }

    #[test]
    fn a_forwarded_port_keeps_its_number() {
        let now = Instant::now();
        let inside = at("10.0.0.2:500");
        let mut nat = Nat::new(at("192.0.2.1:0").ip(), Duration::from_secs(30)).forwarding(500, inside.ip());
        assert_eq!(nat.translate_in(now, at("192.0.2.1:500")), Some(inside));
        assert_eq!(nat.translate_out(now, inside), at("192.0.2.1:500"));
        assert_eq!(nat.translate_in(now, at("192.0.2.1:501")), None);
    }
}
