//! What both ends say of themselves in IKE_SA_INIT beside algorithms, keys and nonces.
//!
//! ```text
//!   N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)   where they believe to be                  RFC 7296 §2.23
//!   N(IKEV2_FRAGMENTATION_SUPPORTED)                              messages may be cut                       RFC 7383
//!   N(SIGNATURE_HASH_ALGORITHMS), CERTREQ                         which signatures, and by whom, they take  RFC 7427
//!   N(REDIRECT_SUPPORTED) or N(REDIRECTED_FROM)                   the initiator goes to another gateway    RFC 5685
//!   N(INTERMEDIATE_EXCHANGE_SUPPORTED)                            further key exchanges may come            RFC 9242
//!   N(USE_PPK)                                                    there is a key to mix in                  RFC 8784
//!   N(CHILDLESS_IKEV2_SUPPORTED), from the responder              IKE_AUTH need not make a Child SA         RFC 6023
//!   N(MULTIPLE_AUTH_SUPPORTED), from the responder                several identities may be proven          RFC 4739
//!   N(IKE_SA_INIT_FULL_TRANSCRIPT_AUTH)                           AUTH signs both messages                  draft-ietf-ipsecme-ikev2-downgrade-prevention
//! ```

use std::sync::Arc;

use sa::Mode;
use wire::registry::{NotifyType, ProtocolId};
use wire::v2::{Notify, Payload, STRONGSWAN_MARK};

use crate::authentication::v2::PeerAbilities;
use crate::credentials::ANNOUNCED_HASHES;
use crate::io::Path;
use crate::nat_detection::{self, NatFinding};
use crate::negotiation::Additional;
use crate::v2::channel::Fragments;
use crate::v2::contents::Contents;
use crate::v2::keys::IkeSpis;
use crate::v2::redirect;
use crate::{Childless, Connection, Encap, Fragmentation, limits};

/// Says where we believe both ends to be (RFC 7296 §2.23).
pub(crate) fn nat_notifies(connection: &Connection, spis: IkeSpis, path: Path) -> [Payload; 2] {
    let mut source = nat_detection::detection_hash(spis, path.local);
    if connection.encap == Encap::Always {
        // A hash that fits no address makes the peer believe that we are behind a NAT.
        source = nat_detection::detection_hash(spis, limits::FEIGNED_NAT_ADDRESS);
    }
    let destination = nat_detection::detection_hash(spis, path.remote);
    [(NotifyType::NAT_DETECTION_SOURCE_IP, source), (NotifyType::NAT_DETECTION_DESTINATION_IP, destination)]
        .map(|(notify_type, hash)| Payload::Notify(Notify::new(notify_type, hash)))
}

/// Says what we always can, and what the connection lets us.
pub(super) fn capability_notifies(connection: &Connection) -> Vec<Payload> {
    let hashes = Notify::signature_hashes(&ANNOUNCED_HASHES);
    let transcript = Notify::new(NotifyType::IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, []);
    fragmentation_notify(connection).into_iter().chain([hashes, transcript].map(Payload::Notify)).collect()
}

/// Says whether messages of the peer may come in fragments (RFC 7383 §2.3).
pub(in crate::v2) fn fragmentation_notify(connection: &Connection) -> Option<Payload> {
    match connection.fragmentation {
        Fragmentation::No => None,
        Fragmentation::Yes | Fragmentation::Accept | Fragmentation::Force => {
            Some(Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, [])))
        }
    }
}

/// Reads what the peer says of proofs, signatures and certificates.
pub(super) fn abilities(contents: &Contents) -> PeerAbilities {
    let hashes = contents.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).and_then(Notify::named_hashes);
    let signs_both = contents.notify(NotifyType::IKE_SA_INIT_FULL_TRANSCRIPT_AUTH).is_some();
    let says = |notify_type| contents.notify(notify_type).is_some();
    let mut abilities = PeerAbilities {
        hashes,
        signs_both,
        uses_ppk: says(NotifyType::USE_PPK),
        takes_rounds: says(NotifyType::MULTIPLE_AUTH_SUPPORTED),
        takes_childless: says(NotifyType::CHILDLESS_IKEV2_SUPPORTED),
        follows_redirections: redirect::is_followed(contents),
        ..PeerAbilities::default()
    };
    abilities.take_in_request(contents);
    abilities
}

/// Says that we take an IKE_AUTH without a Child SA (RFC 6023 §4).
pub(super) fn childless_notify(connection: &Connection) -> Option<Payload> {
    let notify =
        Notify { protocol: ProtocolId::IKE, ..Notify::new(NotifyType::CHILDLESS_IKEV2_SUPPORTED, []) };
    match connection.childless {
        Childless::Allow | Childless::Prefer | Childless::Force => Some(Payload::Notify(notify)),
        Childless::Never => None,
    }
}

/// Says that we have a post-quantum pre-shared key for the peer (RFC 8784 §3).
pub(super) fn ppk_notify() -> Payload {
    Payload::Notify(Notify::new(NotifyType::USE_PPK, []))
}

/// Gives the mark of those who gave the notify for BEET mode its number, if one of these connections may need that notify.
///
/// The number is one for private use, which means nothing without the mark (RFC 7296 §3.10.1, §3.12): strongSwan overlooks it
/// and has tunnel mode where we have BEET.
pub(super) fn mark<'a>(connections: impl IntoIterator<Item = &'a Arc<Connection>>) -> Option<Payload> {
    let mut children = connections.into_iter().flat_map(|connection| &connection.children);
    let wants_beet = children.any(|child| child.mode == Mode::Beet);
    wants_beet.then(|| Payload::VendorId(STRONGSWAN_MARK.to_vec()))
}

/// Says that we know IKE_INTERMEDIATE (RFC 9242 §3.1).
pub(super) fn intermediate_notify() -> Payload {
    Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, []))
}

/// RFC 9370 §2.2.1: additional key exchanges take place in IKE_INTERMEDIATE, which both ends must know.
pub(super) fn additional_key_exchanges(contents: &Contents) -> Additional {
    match contents.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED) {
        Some(_) => Additional::Possible,
        None => Additional::Unknown,
    }
}

/// Tells whether our messages may be cut (RFC 7383 §2.3).
pub(in crate::v2) fn agreed_fragments(connection: &Connection, contents: &Contents) -> Fragments {
    let peer_accepts = contents.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
    match connection.fragmentation {
        Fragmentation::Yes | Fragmentation::Force if peer_accepts => Fragments::Cut,
        Fragmentation::Yes | Fragmentation::Force | Fragmentation::Accept | Fragmentation::No => {
            Fragments::Whole
        }
    }
}

/// Finds out who is behind a NAT; `None` is a peer that does not do NAT traversal.
pub(in crate::v2) fn find_nat(spis: IkeSpis, path: Path, payloads: &[Payload]) -> Option<NatFinding> {
    nat_detection::detect(spis, path.local, path.remote, payloads)
}
