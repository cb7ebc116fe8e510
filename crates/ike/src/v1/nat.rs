//! Passing NATs: who can, who sits behind one, and what carries ESP then (RFC 3947 and its drafts 02 and 03).
//!
//! ```text
//!  messages 1, 2   VID             each end says which forms it knows
//!  messages 3, 4   NAT-D, NAT-D    hash(CKY-I | CKY-R | address | port): first the receiver's, then the sender's own
//!  message 5 …     on port 4500, if a hash is not what the receiver sees
//! ```

use std::net::{IpAddr, SocketAddr};

use crypto::Hash;
use sa::{Encapsulation, Mode};
use wire::registry::IdType;
use wire::registry::v1::EncapsulationMode;
use wire::v1::{Draft, OriginalAddress, Payload, VendorId};

use super::contents::Contents;

use crate::exchange::IkeSpis;
use crate::io::Path;
use crate::nat_detection::{Behind, NatFinding};
use crate::{Encap, limits};

/// The form in which the two ends pass NATs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traversal {
    /// RFC 3947's numbers.
    Rfc,
    /// The drafts' numbers.
    Draft,
}

impl Traversal {
    /// Chooses the best form that a peer announces.
    pub(crate) fn choose(contents: &Contents<'_>) -> Option<Traversal> {
        let marks = contents.payloads().filter_map(|payload| match payload {
            Payload::VendorId(octets) => VendorId::read(octets),
            _ => None,
        });
        let forms = marks.filter_map(|mark| match mark {
            VendorId::NatTraversal => Some(Traversal::Rfc),
            VendorId::NatTraversalDraft03
            | VendorId::NatTraversalDraft02
            | VendorId::NatTraversalDraft02Line => Some(Traversal::Draft),
            VendorId::DeadPeerDetection
            | VendorId::Xauth
            | VendorId::Unity
            | VendorId::Fragmentation
            | VendorId::AnsweredDeletes => None,
        });
        forms.min_by_key(|form| *form == Traversal::Draft)
    }

    /// Which numbers the payloads have.
    pub(crate) fn draft(self) -> Draft {
        match self {
            Traversal::Rfc => Draft::No,
            Traversal::Draft => Draft::Yes,
        }
    }

    /// Gives the NAT-D payloads of a message on a path. An end that wants a NAT to be believed in lies about itself.
    pub(crate) fn discovery(self, hash: &dyn Hash, spis: IkeSpis, path: Path, encap: Encap) -> [Payload; 2] {
        let own = match encap {
            Encap::WhenNat => path.local,
            Encap::Always => limits::FEIGNED_NAT_ADDRESS,
        };
        [path.remote, own]
            .map(|address| Payload::NatDiscovery(self.draft(), discovery_hash(hash, spis, address)))
    }

    /// Gives the NAT-OA payloads of a quick mode in transport mode: the initiator's address, then the responder's
    /// (RFC 3947 §5.2).
    pub(crate) fn original_addresses(self, initiator: IpAddr, responder: IpAddr) -> [Payload; 2] {
        [initiator, responder].map(|address| {
            let (id_type, data) = match address {
                IpAddr::V4(address) => (IdType::IPV4_ADDR, address.octets().to_vec()),
                IpAddr::V6(address) => (IdType::IPV6_ADDR, address.octets().to_vec()),
            };
            Payload::NatOriginalAddress(self.draft(), OriginalAddress { id_type, data })
        })
    }
}

/// The marks by which we say what we can.
pub(crate) fn marks() -> impl Iterator<Item = Payload> {
    [VendorId::NatTraversal, VendorId::NatTraversalDraft03, VendorId::NatTraversalDraft02Line]
        .into_iter()
        .map(|mark| Payload::VendorId(mark.octets().to_vec()))
}

/// Compares the NAT-D payloads of a message with the path that it came on.
pub(crate) fn find(hash: &dyn Hash, spis: IkeSpis, path: Path, contents: &Contents<'_>) -> NatFinding {
    let mut stated = contents.payloads().filter_map(|payload| match payload {
        Payload::NatDiscovery(_, octets) => Some(octets.as_slice()),
        _ => None,
    });
    let Some(ours) = stated.next() else { return NatFinding::NOTHING };
    let behind = |is_same: bool| if is_same { Behind::Nothing } else { Behind::Nat };
    let theirs = discovery_hash(hash, spis, path.remote);
    NatFinding {
        local: behind(ours == discovery_hash(hash, spis, path.local)),
        // A sender that does not know which of its addresses is used sends one for each (RFC 3947 §3.2).
        remote: behind(stated.any(|hash| hash == theirs)),
    }
}

fn discovery_hash(hash: &dyn Hash, spis: IkeSpis, address: SocketAddr) -> Vec<u8> {
    let (initiator, responder) = (spis.initiator.to_octets(), spis.responder.to_octets());
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => hash.digest(&[&initiator, &responder, &ip.octets(), &port]),
        IpAddr::V6(ip) => hash.digest(&[&initiator, &responder, &ip.octets(), &port]),
    }
}

/// Where a NAT is found, or one is to be feigned, IKE moves to port 4500 on both ends (RFC 3947 §4).
pub(crate) fn float(path: Path, traversal: Option<Traversal>, nat: NatFinding, encap: Encap) -> Path {
    let is_wanted = nat.local == Behind::Nat || nat.remote == Behind::Nat || encap == Encap::Always;
    let mut floated = path;
    if traversal.is_some() && is_wanted {
        for end in [&mut floated.local, &mut floated.remote] {
            if end.port() == limits::IKE_PORT {
                end.set_port(limits::NAT_T_PORT);
            }
        }
    }
    floated
}

/// Gives the encapsulation mode that stands for a mode and for what carries it; `None` is one that IKEv1 cannot name.
pub(crate) fn encapsulation_mode(
    mode: Mode,
    encapsulation: Encapsulation,
    traversal: Option<Traversal>,
) -> Option<EncapsulationMode> {
    let is_draft = traversal == Some(Traversal::Draft);
    match (mode, encapsulation) {
        (Mode::Tunnel, Encapsulation::None) => Some(EncapsulationMode::TUNNEL),
        (Mode::Transport, Encapsulation::None) => Some(EncapsulationMode::TRANSPORT),
        (Mode::Tunnel, Encapsulation::Udp) if is_draft => Some(EncapsulationMode::UDP_TUNNEL_DRAFT),
        (Mode::Transport, Encapsulation::Udp) if is_draft => Some(EncapsulationMode::UDP_TRANSPORT_DRAFT),
        (Mode::Tunnel, Encapsulation::Udp) => Some(EncapsulationMode::UDP_TUNNEL),
        (Mode::Transport, Encapsulation::Udp) => Some(EncapsulationMode::UDP_TRANSPORT),
        (Mode::Beet, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::isakmp::IkeSpi;
    use wire::v1::{decode_payloads, encode_payloads};

    const SPIS: IkeSpis = IkeSpis { initiator: IkeSpi(1), responder: IkeSpi(2) };
    const HASH: &dyn Hash = crypto::hash::SHA1;

    fn path(local: &str, remote: &str) -> Path {
        let address = |text: &str| text.parse().expect("the test's own address");
        Path { local: address(local), remote: address(remote) }
    }

    /// What the receiver at `seen` finds in a message that was sent on `sent`.
    fn found(sent: Path, seen: Path, encap: Encap) -> NatFinding {
        let payloads = Traversal::Rfc.discovery(HASH, SPIS, sent, encap);
        let (first, octets) = encode_payloads(&payloads).expect("short");
        let chain = decode_payloads(first, &octets).expect("just written");
        find(HASH, SPIS, seen, &Contents::new("a test", chain))
    }

    #[test]
    fn each_end_is_judged_by_its_own_address() {
        let finding = |local, remote| NatFinding { local, remote };
        let sent = path("192.0.2.1:500", "198.51.100.1:500");
        let straight = path("198.51.100.1:500", "192.0.2.1:500");
        assert_eq!(found(sent, straight, Encap::WhenNat), finding(Behind::Nothing, Behind::Nothing));
        assert_eq!(found(sent, straight, Encap::Always), finding(Behind::Nothing, Behind::Nat));
        let translated_sender = path("198.51.100.1:500", "203.0.113.9:1025");
        assert_eq!(found(sent, translated_sender, Encap::WhenNat), finding(Behind::Nothing, Behind::Nat));
        let translated_receiver = path("10.0.0.2:500", "192.0.2.1:500");
        assert_eq!(found(sent, translated_receiver, Encap::WhenNat), finding(Behind::Nat, Behind::Nothing));
    }

    #[test]
    fn the_rfc_comes_before_the_drafts() {
        let chosen = |marks: &[VendorId]| {
            let payloads: Vec<_> =
                marks.iter().map(|mark| Payload::VendorId(mark.octets().to_vec())).collect();
            let (first, octets) = encode_payloads(&payloads).expect("short");
            let chain = decode_payloads(first, &octets).expect("just written");
            Traversal::choose(&Contents::new("a test", chain))
        };
        assert_eq!(chosen(&[VendorId::NatTraversalDraft02, VendorId::NatTraversal]), Some(Traversal::Rfc));
        assert_eq!(chosen(&[VendorId::Xauth, VendorId::NatTraversalDraft02Line]), Some(Traversal::Draft));
        assert_eq!(chosen(&[VendorId::DeadPeerDetection]), None);
    }
}
