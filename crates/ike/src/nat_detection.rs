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

use crate::v2::keys::IkeSpis;

/// What the peer's message shows about the way it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NatFinding {
    /// What we are behind.
    pub(crate) local: Behind,
    /// What the peer is behind.
    pub(crate) remote: Behind,
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
