//! What the ways through phase 1 have in common: whom a connection is for, the keys, and messages in the clear.

mod attempt;
mod outcome;

use std::sync::Arc;

use crypto::Secret;
use sa::{IkeSuite, Proposal};
use wire::isakmp::{Flags, IkeSpi, Version};
use wire::registry::v1::{AuthenticationMethod, NotifyType, ProtocolId};
use wire::registry::{ExchangeType, IdType};
use wire::v1::{DOI_IPSEC, HeaderFields, Identification, Notification, Payload, VendorId};

use super::abilities::PeerAbilities;
use super::channel::{Channel, ChannelParts, hash_of, trace};
use super::contents::Contents;
use super::fragmentation::Cutting;
use super::keys::Phase1Keys;
use super::nat::{self, Traversal};
use super::negotiation::{self, ChosenPhase1};
use crate::authentication::v1::Transcript;
use crate::context::{Contact, Context};
use crate::error::Error;
use crate::event::TraceDirection;
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{IkeSaId, Path};
use crate::nat_detection::NatFinding;
use crate::status::Phase1Mode;
use crate::v2::ike_sa_init::allows;
use crate::{Connection, Fragmentation, Identity, Role, Unique, Xauth};

pub(crate) use attempt::{connecting, end_attempt, refusal_in};
pub(crate) use outcome::{LastMessage, Outcome};

/// Gives how the two ends of a connection prove themselves, by the role that we have in phase 1: XAuth is named by the
/// role of the end that gives a password.
pub(crate) fn method_of(connection: &Connection, role: Role) -> AuthenticationMethod {
    match (&connection.xauth, role) {
        (Xauth::None, _) => AuthenticationMethod::PRE_SHARED_KEY,
        (Xauth::Ours(_), Role::Initiator) | (Xauth::Theirs, Role::Responder) => {
            AuthenticationMethod::XAUTH_INIT_PRE_SHARED
        }
        (Xauth::Ours(_), Role::Responder) | (Xauth::Theirs, Role::Initiator) => {
            AuthenticationMethod::XAUTH_RESP_PRE_SHARED
        }
    }
}

/// Agrees, as responder of main mode, with the first connection that fits the path and allows anything on offer.
pub(crate) fn agree(
    cx: &Context,
    path: Path,
    offer: &[wire::v1::Proposal],
) -> Result<(Arc<Connection>, ChosenPhase1), Error> {
    let (fitting, mut fault) = connections_for(cx, path, Phase1Mode::Main);
    for connection in fitting {
        match negotiation::choose_phase_1(
            &connection.proposals,
            method_of(&connection, Role::Responder),
            offer,
        ) {
            Ok(chosen) => return Ok((connection, chosen)),
            Err(disagreement) => fault = disagreement.into(),
        }
    }
    Err(fault)
}

/// Agrees, as responder of aggressive mode, with the connection that fits the peer's identity best and allows anything
/// on offer.
pub(crate) fn offer_by_identity(
    cx: &Context,
    path: Path,
    remote: &Identity,
    offer: &[wire::v1::Proposal],
) -> Result<(Arc<Connection>, ChosenPhase1), Error> {
    let (fitting, mut fault) = connections_for(cx, path, Phase1Mode::Aggressive);
    if !fitting.is_empty() {
        fault = other_identity(remote, &fitting);
    }
    let mut matching: Vec<_> =
        fitting.into_iter().filter(|connection| connection.remote_identity.matches(remote)).collect();
    // The best path comes first, and stays first among equal identities.
    matching.sort_by_key(|connection| std::cmp::Reverse(connection.remote_identity.specificity()));
    for connection in matching {
        match negotiation::choose_phase_1(
            &connection.proposals,
            method_of(&connection, Role::Responder),
            offer,
        ) {
            Ok(chosen) => return Ok((connection, chosen)),
            Err(disagreement) => fault = disagreement.into(),
        }
    }
    Err(fault)
}

/// Finds the connections of a mode that fit a path, the best first; with the fault that it is if there are none.
fn connections_for(cx: &Context, path: Path, mode: Phase1Mode) -> (Vec<Arc<Connection>>, Error) {
    let (fitting, others): (Vec<_>, Vec<_>) =
        cx.connections_for(path, Version::V1).into_iter().partition(|connection| connection.phase_1 == mode);
    let sentence = match others.first() {
        None => format!("no connection of version 1 is configured for {path}"),
        Some(other) => {
            format!(
                "the peer begins {mode} mode; connection {} allows {} mode only",
                other.name, other.phase_1
            )
        }
    };
    (fitting, Error::NoConnection(sentence))
}

/// Refuses a peer that is connected already, where `unique` wants that; not one that has started anew.
pub(crate) fn check_unique(
    cx: &Context,
    connection: &Connection,
    (local, remote): (&Identity, &Identity),
    contact: Contact,
) -> Result<(), Error> {
    let is_second = contact == Contact::Further && cx.is_established(local, remote);
    if connection.unique == Unique::Keep && is_second {
        let sentence = format!("{remote} is connected already, and `unique = keep` keeps the older IKE SA");
        return Err(Error::AuthenticationFailed(sentence));
    }
    Ok(())
}

/// Finds the pre-shared key of whoever is at an address: all that is known of the initiator yet (RFC 2409 §5.4).
pub(crate) fn find_secret(
    cx: &Context,
    path: Path,
    chosen: &ChosenPhase1,
) -> Result<(Arc<Connection>, Secret<Vec<u8>>), Error> {
    let (fitting, fault) = connections_for(cx, path, Phase1Mode::Main);
    let mut fitting = fitting.into_iter().filter(|connection| is_for(connection, chosen)).peekable();
    if fitting.peek().is_none() {
        return Err(fault);
    }
    let with_secret = fitting.find_map(|connection| {
        let (own, expected) = (connection.own_identity(path), connection.expected_identity(path));
        let by_address = Identity::from(path.remote.ip());
        let secret = cx.shared_secret(&own, &expected).or_else(|| cx.shared_secret(&own, &by_address));
        let secret = secret.cloned();
        secret.map(|secret| (connection, secret))
    });
    with_secret.ok_or_else(|| {
        let sentence = format!("no pre-shared key is configured for the peer at {}", path.remote.ip());
        Error::AuthenticationFailed(sentence)
    })
}

pub(crate) fn find_connection(
    cx: &Context,
    path: Path,
    remote: &Identity,
    chosen: &ChosenPhase1,
) -> Result<Arc<Connection>, Error> {
    let (fitting, _) = connections_for(cx, path, Phase1Mode::Main);
    let allowing = fitting.iter().filter(|connection| is_for(connection, chosen));
    // The best path comes first: of equal identities the first wins.
    let matching = allowing.filter(|connection| connection.remote_identity.matches(remote)).enumerate();
    let best = matching.max_by_key(|(order, connection)| {
        (connection.remote_identity.specificity(), std::cmp::Reverse(*order))
    });
    best.map(|(_, connection)| Arc::clone(connection)).ok_or_else(|| other_identity(remote, &fitting))
}

/// Tells whether a connection allows what was agreed on before it was known.
fn is_for(connection: &Connection, chosen: &ChosenPhase1) -> bool {
    method_of(connection, Role::Responder) == chosen.method && allows(&connection.proposals, &chosen.suite)
}

fn other_identity(remote: &Identity, fitting: &[Arc<Connection>]) -> Error {
    let known: Vec<_> = fitting
        .iter()
        .map(|connection| format!("{} (for {})", connection.name, connection.remote_identity))
        .collect();
    Error::AuthenticationFailed(format!("the peer is {remote}; configured is {}", known.join(", ")))
}

/// Refuses a stranger's first message, and tells why.
pub(crate) fn turn_away(cx: &mut Context, initiator: IkeSpi, path: Path, fault: Error) {
    refuse(cx, IkeSpis { initiator, responder: IkeSpi::ZERO }, path, &fault);
    cx.fail(&[], None, Some(path), fault.into());
}

/// Answers with one notification in the clear, and keeps nothing.
pub(crate) fn refuse(cx: &mut Context, spis: IkeSpis, path: Path, fault: &Error) {
    let Some(notify_type) = fault.to_v1_notify() else { return };
    let notification = Notification {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ISAKMP,
        spi: Vec::new(),
        notify_type,
        data: Vec::new(),
    };
    let mut octets = [0; 4];
    cx.random.fill(&mut octets);
    let fields = HeaderFields {
        initiator_spi: spis.initiator,
        responder_spi: spis.responder,
        exchange_type: ExchangeType::V1_INFORMATIONAL,
        flags: Flags::NONE,
        message_id: u32::from_be_bytes(octets),
    };
    let payloads = [Payload::Notification(notification)];
    if let Ok(datagrams) = encode_with(cx, &fields, path, Cutting::Whole, &payloads) {
        cx.transmit(path, &datagrams);
    }
}

/// What the keys of phase 1 are made from.
pub(crate) struct Material<'a> {
    pub(crate) id: IkeSaId,
    pub(crate) mode: Phase1Mode,
    pub(crate) role: Role,
    pub(crate) spis: IkeSpis,
    pub(crate) secret: &'a Secret<Vec<u8>>,
    pub(crate) shared: &'a Secret<Vec<u8>>,
    pub(crate) nonces: Nonces<'a>,
    pub(crate) public_i: Vec<u8>,
    pub(crate) public_r: Vec<u8>,
    pub(crate) sa_body: Vec<u8>,
}

impl Material<'_> {
    pub(crate) fn secure(
        self,
        cx: &mut Context,
        suite: &IkeSuite,
        path: Path,
        nat: NatFinding,
        peer: PeerAbilities,
        connection: &Connection,
    ) -> Result<(Channel, Transcript), Error> {
        let Material { id, mode, role, spis, secret, shared, nonces, public_i, public_r, sa_body } = self;
        let keys = Phase1Keys::derive(suite.prf.prf, secret, shared, nonces, spis);
        let parts = ChannelParts {
            id,
            mode,
            role,
            spis,
            path,
            nat,
            traversal: peer.traversal,
            encap: connection.encap,
            cutting: Cutting::towards(peer, connection.fragmentation),
            suite: *suite,
            keys: &keys,
            public_values: (&public_i, &public_r),
        };
        let channel = Channel::new(cx, parts)?;
        let Phase1Keys { skeyid, .. } = keys;
        Ok((channel, Transcript { prf: suite.prf.prf, skeyid, spis, public_i, public_r, sa_body }))
    }
}

/// Whoever cannot read a message of phase 1 most likely has another pre-shared key.
pub(crate) fn keys_differ(message: u8) -> Error {
    Error::AuthenticationFailed(format!("pre-shared keys differ, or message {message} was damaged"))
}

/// Gives our SA payload: these of the connection's proposals, as far as IKEv1 has numbers for them.
///
/// # Errors
/// It has none for any of them.
pub(crate) fn offer_of(connection: &Connection, proposals: &[Proposal]) -> Result<Payload, Error> {
    let method = method_of(connection, Role::Initiator);
    let offer = negotiation::offer_phase_1(proposals, method, connection.lifetimes.expire);
    if offer.iter().all(|proposal| proposal.transforms.is_empty()) {
        return Err(without_numbers(connection));
    }
    Ok(Payload::SecurityAssociation(offer))
}

/// Says that nothing of what a connection offers can be said in IKEv1.
pub(crate) fn without_numbers(connection: &Connection) -> Error {
    Error::Local(format!("connection {} offers nothing that IKEv1 has a number for", connection.name))
}

/// Gives the vendor IDs by which we say what we can beyond RFC 2409.
pub(crate) fn marks(connection: &Connection) -> impl Iterator<Item = Payload> + use<> {
    let fragments = (connection.fragmentation != Fragmentation::No).then_some(VendorId::Fragmentation);
    let user = (connection.xauth != Xauth::None).then_some(VendorId::Xauth);
    let marks = [VendorId::DeadPeerDetection].into_iter().chain(fragments).chain(user);
    nat::marks().chain(marks.map(|mark| Payload::VendorId(mark.octets().to_vec())))
}

pub(crate) fn discovery(
    suite: &IkeSuite,
    traversal: Option<Traversal>,
    spis: IkeSpis,
    path: Path,
    connection: &Connection,
) -> Vec<Payload> {
    match (traversal, hash_of(suite)) {
        (Some(traversal), Some(hash)) => traversal.discovery(hash, spis, path, connection.encap).into(),
        (None, _) | (_, None) => Vec::new(),
    }
}

pub(crate) fn find_nat(suite: &IkeSuite, spis: IkeSpis, path: Path, contents: &Contents<'_>) -> NatFinding {
    match hash_of(suite) {
        Some(hash) => nat::find(hash, spis, path, contents),
        None => NatFinding::NOTHING,
    }
}

/// An identity of phase 1 is for no protocol and port (RFC 2407 §4.6.2: zero, or UDP 500).
pub(crate) fn identification_of(identity: &Identity) -> Identification {
    let wire::v2::Identification { id_type, data } = identity.to_wire();
    Identification { id_type, protocol: 0, port: 0, data }
}

pub(crate) fn identity_of(identification: &Identification) -> Identity {
    let Identification { id_type, data, .. } = identification;
    Identity::from_wire(&wire::v2::Identification { id_type: IdType(id_type.0), data: data.clone() })
}

/// Reads whether the initiator has begun anew.
pub(crate) fn contact_of(contents: &Contents<'_>) -> Contact {
    let mut notifications = contents.notifications();
    match notifications.any(|notification| notification.notify_type == NotifyType::INITIAL_CONTACT) {
        true => Contact::Initial,
        false => Contact::Further,
    }
}

pub(crate) fn initial_contact(spis: IkeSpis) -> Payload {
    let spi = [spis.initiator.to_octets(), spis.responder.to_octets()].concat();
    Payload::Notification(Notification {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ISAKMP,
        spi,
        notify_type: NotifyType::INITIAL_CONTACT,
        data: Vec::new(),
    })
}

/// Gives the octets of a payload that the proofs cover.
pub(crate) fn body_of(payload: &Payload) -> Result<Vec<u8>, Error> {
    const GENERIC_HEADER: usize = 4;
    let (_, octets) = wire::v1::encode_payloads(std::slice::from_ref(payload))
        .map_err(|fault| Error::Local(fault.to_string()))?;
    Ok(octets.get(GENERIC_HEADER..).unwrap_or_default().to_vec())
}

/// Lays out a message in the clear, in datagrams.
pub(crate) fn encode(
    cx: &mut Context,
    mode: Phase1Mode,
    spis: IkeSpis,
    path: Path,
    cutting: Cutting,
    payloads: &[Payload],
) -> Result<Vec<Vec<u8>>, Error> {
    let fields = HeaderFields {
        initiator_spi: spis.initiator,
        responder_spi: spis.responder,
        exchange_type: match mode {
            Phase1Mode::Main => ExchangeType::V1_IDENTITY_PROTECTION,
            Phase1Mode::Aggressive => ExchangeType::V1_AGGRESSIVE,
        },
        flags: Flags::NONE,
        message_id: 0,
    };
    encode_with(cx, &fields, path, cutting, payloads)
}

pub(crate) fn encode_with(
    cx: &mut Context,
    fields: &HeaderFields,
    path: Path,
    cutting: Cutting,
    payloads: &[Payload],
) -> Result<Vec<Vec<u8>>, Error> {
    let local = |fault: wire::TooLong| Error::Local(fault.to_string());
    let (first, body) = wire::v1::encode_payloads(payloads).map_err(local)?;
    let message = wire::v1::encode_message(fields, first, &body).map_err(local)?;
    let octets = message.len();
    let datagrams = cutting.cut(cx, path, fields, message)?;
    trace(cx, TraceDirection::Sent, path, fields, (datagrams.len(), octets), payloads);
    Ok(datagrams)
}
