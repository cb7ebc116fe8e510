//! The outer addresses of an SA, in as few octets as they need.
//!
//! They are with the SA's handle and not with what its handles share, so that an SA can be elsewhere in the next snapshot;
//! and there may be a hundred thousand of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sa::{Encapsulation, Outer};

#[derive(Clone, Debug)]
pub(crate) enum Place {
    V4(PlaceV4),
    Other(Arc<Outer>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceV4 {
    local: Ipv4Addr,
    remote: Ipv4Addr,
    local_port: u16,
    remote_port: u16,
    encapsulation: Encapsulation,
}

impl Place {
    pub(crate) fn new(outer: Outer) -> Place {
        match (outer.local, outer.remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => Place::V4(PlaceV4 {
                local: *local.ip(),
                remote: *remote.ip(),
                local_port: local.port(),
                remote_port: remote.port(),
                encapsulation: outer.encapsulation,
            }),
            (SocketAddr::V4(_) | SocketAddr::V6(_), _) => Place::Other(Arc::new(outer)),
        }
    }

    pub(crate) fn outer(&self) -> Outer {
        match self {
            Place::V4(PlaceV4 { local, remote, local_port, remote_port, encapsulation }) => Outer {
                local: (*local, *local_port).into(),
                remote: (*remote, *remote_port).into(),
                encapsulation: *encapsulation,
            },
            Place::Other(outer) => **outer,
        }
    }

    pub(crate) fn is_v4(&self) -> bool {
        matches!(self, Place::V4(_))
    }

    pub(crate) fn encapsulation(&self) -> Encapsulation {
        match self {
            Place::V4(place) => place.encapsulation,
            Place::Other(outer) => outer.encapsulation,
        }
    }
}

/// A handle with its place is copied for every snapshot that changes a neighbour.
const _: () = assert!(size_of::<Place>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_gives_back_what_it_was_made_of() {
        for (local, remote, is_v4) in
            [("192.0.2.1:4500", "192.0.2.2:61000", true), ("[2001:db8::1]:0", "[2001:db8::2%7]:500", false)]
        {
            let [local, remote] = [local, remote].map(|text| text.parse().expect("an address"));
            for encapsulation in [Encapsulation::None, Encapsulation::Udp] {
                let outer = Outer { local, remote, encapsulation };
                let place = Place::new(outer);
                assert_eq!(
                    (place.outer(), place.is_v4(), place.encapsulation()),
                    (outer, is_v4, encapsulation)
                );
            }
        }
    }
}
