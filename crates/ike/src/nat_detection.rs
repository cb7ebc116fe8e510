//! Finding out whether a NAT sits between the two ends, and on which side (RFC 7296 §2.23).
//!
//! ```text
//!  each end sends    N(NAT_DETECTION_SOURCE_IP)       SHA-1(SPIi | SPIr | its own address | port)
//!                    N(NAT_DETECTION_DESTINATION_IP)  SHA-1(SPIi | SPIr | the other's address | port)
//!  and compares with what it sees: another source   ─► the peer is behind a NAT
//!                                  another destination ─► we are behind a NAT
//! ```

use std::net::{IpAddr, SocketAddr};

use wire::registry::NotifyType;
use wire::v2::Payload;

use crate::exchange::IkeSpis;

/// What the peer's message shows about the way it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NatFinding {
    /// What we are behind.
    pub(crate) local: Behind,
    /// What the peer is behind.
    pub(crate) remote: Behind,
}

impl NatFinding {
    /// No NAT anywhere.
    pub(crate) const NOTHING: NatFinding = NatFinding { local: Behind::Nothing, remote: Behind::Nothing };
}

/// What lies before one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Its address and port arrive as they were sent.
    Nothing,
    /// They are translated on the way.
    Nat,
}

/// Computes the data of a NAT detection notify for one end's address.
///
/// `spis` are those of the header of the message that carries it: the responder's is zero in an IKE_SA_INIT request.
pub(crate) fn detection_hash(spis: IkeSpis, address: SocketAddr) -> [u8; 20] {
    let (initiator, responder) = (spis.initiator.to_octets(), spis.responder.to_octets());
    let port = address.port().to_be_bytes();
    let digest = match address.ip() {
        IpAddr::V4(ip) => crypto::hash::SHA1.digest(&[&initiator, &responder, &ip.octets(), &port]),
        IpAddr::V6(ip) => crypto::hash::SHA1.digest(&[&initiator, &responder, &ip.octets(), &port]),
    };
    digest.try_into().expect("SHA-1 gives 20 octets")
}

/// Compares the NAT detection notifies of the peer's message with the addresses that the message came to and from;
/// `None` is a peer that does not do NAT traversal, for it must send both kinds.
pub(crate) fn detect(
    spis: IkeSpis,
    local: SocketAddr,
    remote: SocketAddr,
    payloads: &[Payload],
) -> Option<NatFinding> {
    Some(NatFinding {
        remote: compare(payloads, NotifyType::NAT_DETECTION_SOURCE_IP, detection_hash(spis, remote))?,
        local: compare(payloads, NotifyType::NAT_DETECTION_DESTINATION_IP, detection_hash(spis, local))?,
    })
}

/// A sender that does not know which of its addresses will be used sends a source for each: one match is enough.
fn compare(payloads: &[Payload], kind: NotifyType, seen: [u8; 20]) -> Option<Behind> {
    let mut stated = payloads
        .iter()
        .filter_map(|payload| match payload {
            Payload::Notify(notify) if notify.notify_type == kind => Some(notify.data.as_slice()),
            _ => None,
        })
        .peekable();
    stated.peek()?;
    Some(if stated.any(|hash| hash == seen) { Behind::Nothing } else { Behind::Nat })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::isakmp::IkeSpi;
    use wire::v2::Notify;

    const SPIS: IkeSpis =
        IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("the test's own address")
    }

    /// The notifies of a peer that believes itself at `sources` and us at `destination`.
    fn notifies(sources: &[&str], destination: &str) -> Vec<Payload> {
        let notify =
            |kind, text: &str| Payload::Notify(Notify::new(kind, detection_hash(SPIS, address(text))));
        let mut payloads: Vec<Payload> =
            sources.iter().map(|source| notify(NotifyType::NAT_DETECTION_SOURCE_IP, source)).collect();
        payloads.push(notify(NotifyType::NAT_DETECTION_DESTINATION_IP, destination));
        payloads
    }

    fn detected(payloads: &[Payload]) -> Option<NatFinding> {
        detect(SPIS, address("192.0.2.1:500"), address("198.51.100.1:500"), payloads)
    }

    #[test]
    fn the_hash_is_sha1_of_spis_address_and_port() {
        let v4 = detection_hash(SPIS, address("192.0.2.1:500"));
        assert_eq!(hex::encode(v4), "d798d986143f878f70765e0e869c80bbc375f701");
        let request = IkeSpis { responder: IkeSpi::ZERO, ..SPIS };
        let v6 = detection_hash(request, address("[2001:db8::1]:4500"));
        assert_eq!(hex::encode(v6), "98c75483db80168697635aa7844504963e87de33");
    }

    #[test]
    fn each_end_is_judged_by_its_own_address() {
        let both = |local, remote| Some(NatFinding { local, remote });
        let straight = notifies(&["198.51.100.1:500"], "192.0.2.1:500");
        assert_eq!(detected(&straight), both(Behind::Nothing, Behind::Nothing));
        let peer_translated = notifies(&["10.0.0.1:500"], "192.0.2.1:500");
        assert_eq!(detected(&peer_translated), both(Behind::Nothing, Behind::Nat));
        let port_translated = notifies(&["198.51.100.1:1025"], "192.0.2.1:500");
        assert_eq!(detected(&port_translated), both(Behind::Nothing, Behind::Nat));
        let we_are_translated = notifies(&["198.51.100.1:500"], "203.0.113.1:500");
        assert_eq!(detected(&we_are_translated), both(Behind::Nat, Behind::Nothing));
    }

    #[test]
    fn one_source_of_several_is_enough() {
        let several = notifies(&["10.0.0.1:500", "198.51.100.1:500"], "192.0.2.1:500");
        let nothing = NatFinding { local: Behind::Nothing, remote: Behind::Nothing };
        assert_eq!(detected(&several), Some(nothing));
    }

    #[test]
    fn a_peer_that_does_not_send_both_kinds_does_not_do_nat_traversal() {
        assert_eq!(detected(&[]), None);
        assert_eq!(detected(&notifies(&[], "192.0.2.1:500")), None);
        assert_eq!(detected(&notifies(&["198.51.100.1:500"], "192.0.2.1:500")[..1]), None);
    }

    #[test]
    fn a_hash_of_the_wrong_length_is_a_mismatch() {
        let mut payloads = notifies(&["198.51.100.1:500"], "192.0.2.1:500");
        payloads[0] = Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, [1, 2, 3]));
        assert_eq!(detected(&payloads), Some(NatFinding { local: Behind::Nothing, remote: Behind::Nat }));
    }
}
