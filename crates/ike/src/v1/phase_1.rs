//! What the ways through phase 1 have in common: whom a connection is for, the keys, and messages in the clear.

mod attempt;
mod awaited;
mod outcome;
pub(crate) mod pre_shared_key;

use std::sync::Arc;

use crypto::Secret;
use sa::{IkeSuite, Proposal};
use wire::isakmp::{Flags, IkeSpi, Version};
use wire::registry::v1::{NotifyType, ProtocolId};
use wire::registry::{CertificateEncoding, ExchangeType, IdType};
use wire::v1::{Certificate, DOI_IPSEC, HeaderFields, Identification, Notification, Payload, VendorId};

use super::abilities::PeerAbilities;
use super::channel::{Channel, ChannelParts, hash_of, trace};
use super::contents::Contents;
use super::fragmentation::Cutting;
use super::keys::{KeySource, Phase1Keys};
use super::method::{Keying, Means, Method, methods_of};
use super::nat::{self, Traversal};
use super::negotiation::{self, ChosenPhase1};
use crate::authentication::v1::Transcript;
use crate::context::{Contact, Context, Initiation};
use crate::credentials::Recipient;
use crate::error::{Error, Failure};
use crate::event::TraceDirection;
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{IkeSaId, Path};
use crate::nat_detection::NatFinding;
use crate::status::Phase1Mode;
use crate::v2::ike_sa_init::allows;
use crate::{Connection, Fragmentation, Identity, Role, Unique, Xauth, limits};

pub(crate) use attempt::{check_identity, connecting, end_attempt, part, refusal_in};
pub(crate) use awaited::Awaited;
pub(crate) use outcome::{LastMessage, Outcome};

/// Agrees, as responder of main mode, with the first connection that fits the path and allows anything on offer.
pub(crate) fn agree(
    cx: &Context,
    path: Path,
    offer: &[wire::v1::Proposal],
) -> Result<(Arc<Connection>, ChosenPhase1), Error> {
    let (fitting, mut fault) = connections_for(cx, path, Phase1Mode::Main);
    for connection in fitting {
        match choose(cx, &connection, offer) {
            Ok(chosen) => return Ok((connection, chosen)),
            Err(disagreement) => fault = disagreement,
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
        match choose(cx, &connection, offer) {
            Ok(chosen) => return Ok((connection, chosen)),
            Err(disagreement) => fault = disagreement,
        }
    }
    Err(fault)
}

fn choose(
    cx: &Context,
    connection: &Connection,
    offer: &[wire::v1::Proposal],
) -> Result<ChosenPhase1, Error> {
    let methods = methods_of(cx, connection, Role::Responder);
    if methods.is_empty() {
        return Err(without_key(connection));
    }
    Ok(negotiation::choose_phase_1(&connection.proposals, &methods, offer)?)
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

/// What the responder of main mode makes its keys from, and under which connection as far as that is known.
pub(crate) struct Source {
    pub(crate) connection: Arc<Connection>,
    /// The pre-shared key, where there is one.
    pub(crate) secret: Option<Secret<Vec<u8>>>,
}

/// Finds what the responder of main mode makes its keys from, before it knows more of the initiator than its address: the
/// pre-shared key of whoever is there (RFC 2409 §5.4), where there is to be one.
pub(crate) fn find_key_source(cx: &Context, path: Path, chosen: &ChosenPhase1) -> Result<Source, Error> {
    let (fitting, fault) = connections_for(cx, path, Phase1Mode::Main);
    let mut fitting = fitting.into_iter().filter(|connection| is_for(cx, connection, chosen)).peekable();
    let Some(first) = fitting.peek() else { return Err(fault) };
    match chosen.method.keying() {
        Keying::PreSharedKey => {}
        Keying::Signature | Keying::Encryption => {
            return Ok(Source { connection: Arc::clone(first), secret: None });
        }
    }
    match pre_shared_key::candidates(cx, path, fitting).next() {
        Some((connection, secret)) => Ok(Source { connection, secret: Some(secret.clone()) }),
        None => {
            let sentence = format!("no pre-shared key is configured for the peer at {}", path.remote.ip());
            Err(Error::AuthenticationFailed(sentence))
        }
    }
}

/// Agrees, as responder of aggressive mode, before it is known who sent the offer: gives who of us may be meant.
///
/// # Errors
/// No connection is for this path and allows anything on offer.
pub(crate) fn recipients_of_offer(
    cx: &Context,
    path: Path,
    offer: &[wire::v1::Proposal],
) -> Result<(Vec<Recipient>, ChosenPhase1), Error> {
    let (fitting, mut fault) = connections_for(cx, path, Phase1Mode::Aggressive);
    let (mut recipients, mut agreed) = (Vec::new(), None);
    for connection in fitting {
        match choose(cx, &connection, offer) {
            Ok(chosen) => {
                agreed.get_or_insert(chosen);
                recipients.push(Recipient::new(connection, path));
            }
            Err(disagreement) => fault = disagreement,
        }
    }
    agreed.map(|chosen| (recipients, chosen)).ok_or(fault)
}

/// The same in main mode, where it is agreed on what was chosen.
///
/// # Errors
/// No connection is for this path and allows what was agreed on.
pub(crate) fn recipients(cx: &Context, path: Path, chosen: &ChosenPhase1) -> Result<Vec<Recipient>, Error> {
    let (fitting, fault) = connections_for(cx, path, Phase1Mode::Main);
    let fitting = fitting.into_iter().filter(|connection| is_for(cx, connection, chosen));
    let recipients: Vec<_> = fitting.map(|connection| Recipient::new(connection, path)).collect();
    if recipients.is_empty() { Err(fault) } else { Ok(recipients) }
}

/// Finds the connection for whoever began main mode, among those that have its key.
pub(crate) fn find_connection(
    cx: &Context,
    path: Path,
    remote: &Identity,
    chosen: &ChosenPhase1,
    has_key: impl Fn(&Connection) -> bool,
) -> Result<Arc<Connection>, Error> {
    let (fitting, _) = connections_for(cx, path, Phase1Mode::Main);
    let allowing = fitting.iter().filter(|connection| is_for(cx, connection, chosen));
    let matching: Vec<_> = allowing.filter(|connection| connection.remote_identity.matches(remote)).collect();
    let Some(first) = matching.first() else { return Err(other_identity(remote, &fitting)) };
    // The best path comes first: of equal identities the first wins.
    let having = matching.iter().filter(|connection| has_key(connection)).enumerate();
    let best = having.max_by_key(|(order, connection)| {
        (connection.remote_identity.specificity(), std::cmp::Reverse(*order))
    });
    best.map(|(_, connection)| Arc::clone(connection)).ok_or_else(|| {
        Error::AuthenticationFailed(format!(
            "the peer says that it is {remote}, and has another pre-shared key than is configured for {} (here) and \
             {remote} (the peer)",
            first.own_identity(path)
        ))
    })
}

/// Tells whether a connection allows what was agreed on before it was known.
fn is_for(cx: &Context, connection: &Connection, chosen: &ChosenPhase1) -> bool {
    methods_of(cx, connection, Role::Responder).contains(&chosen.method)
        && allows(&connection.proposals, &chosen.suite)
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
    cx.fail(&[], None, Some(path), Failure::TurnedAway { phase: "phase 1", fault });
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
    pub(crate) method: &'static Method,
    pub(crate) source: KeySource<'a>,
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
        let Material { id, mode, role, spis, method, source, shared, nonces, public_i, public_r, sa_body } =
            self;
        let keys = Phase1Keys::derive(suite.prf.prf, source, shared, nonces, spis);
        let parts = ChannelParts {
            id,
            mode,
            role,
            method,
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
        let channel = Channel::new(parts)?;
        match source {
            KeySource::PreSharedKey(_) | KeySource::Exchange | KeySource::Nonces(_) => {
                channel.disclose(cx, &keys)?
            }
            // Those that message 5 is encrypted with may be others.
            KeySource::LikelyKey(_) => {}
        }
        let Phase1Keys { skeyid, .. } = keys;
        let prf = method.hashing(suite.prf.prf);
        Ok((channel, Transcript { method, prf, skeyid, spis, public_i, public_r, sa_body }))
    }
}

/// Whoever cannot read a message of phase 1 most likely has another pre-shared key.
pub(crate) fn keys_differ(method: &Method, message: u8) -> Error {
    Error::AuthenticationFailed(match method.keying() {
        Keying::PreSharedKey => format!("pre-shared keys differ, or message {message} was damaged"),
        Keying::Signature | Keying::Encryption => {
            format!("message {message} was damaged, or was made with other keys")
        }
    })
}

/// Gives our SA payload: these of the connection's proposals, as far as IKEv1 has numbers for them.
///
/// # Errors
/// It has none for any of them.
pub(crate) fn offer_of(
    connection: &Connection,
    methods: &[&'static Method],
    proposals: &[Proposal],
) -> Result<Payload, Error> {
    if methods.is_empty() {
        return Err(without_key(connection));
    }
    let offer = negotiation::offer_phase_1(proposals, methods, connection.lifetimes.expire);
    if offer.iter().all(|proposal| proposal.transforms.is_empty()) {
        return Err(without_numbers(connection));
    }
    Ok(Payload::SecurityAssociation(offer))
}

/// Says that nothing of what a connection offers can be said in IKEv1.
pub(crate) fn without_numbers(connection: &Connection) -> Error {
    Error::Local(format!("connection {} offers nothing that IKEv1 has a number for", connection.name))
}

fn without_key(connection: &Connection) -> Error {
    let which = match connection.xauth {
        Xauth::None => "RSA, or ECDSA on P-256, P-384 or P-521",
        Xauth::Ours(_) | Xauth::Theirs => "RSA only beside a user's password",
    };
    let name = &connection.name;
    Error::Local(format!("connection {name} has no private key that can sign in IKEv1, which takes {which}"))
}

/// Asks for certificates of the CAs that we trust, a payload for each, if the peer proves itself by a signature (RFC 2408
/// §3.10).
pub(crate) fn certificate_requests(cx: &Context, method: &Method, their_role: Role) -> Vec<Payload> {
    let request = |data: Vec<u8>| {
        let encoding = CertificateEncoding::X509_SIGNATURE;
        Payload::CertificateRequest(Certificate { encoding, data })
    };
    match method.means(their_role) {
        Means::Secret | Means::Decryption(_) | Means::User => Vec::new(),
        // One without a name asks for any.
        Means::Signature(_) if cx.authorities.len() > limits::AUTHORITIES_NAMED => vec![request(Vec::new())],
        Means::Signature(_) => {
            cx.authorities.iter().map(|authority| request(authority.subject.to_der().to_vec())).collect()
        }
    }
}

/// Gives the vendor IDs by which we say what we can beyond RFC 2409.
pub(crate) fn marks(connection: &Connection) -> impl Iterator<Item = Payload> + use<> {
    let fragments = (connection.fragmentation != Fragmentation::No).then_some(VendorId::Fragmentation);
    let user = (connection.xauth != Xauth::None).then_some(VendorId::Xauth);
    let always = [VendorId::DeadPeerDetection, VendorId::AnsweredDeletes];
    let marks = always.into_iter().chain(fragments).chain(user);
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

/// Tells whether we say that this is the first ISAKMP SA with the peer (RFC 2407 §4.6.3.3): none may have come up since we began,
/// either, or be about to, for the peer may have it before it hears us.
pub(crate) fn is_initial_contact(
    cx: &Context,
    initiation: &Initiation,
    path: Path,
    (local, remote): (&Identity, &Identity),
) -> bool {
    initiation.contact == Contact::Initial
        && initiation.connection.unique != Unique::Never
        && !cx.is_established(local, remote)
        && !cx.half_open.is_arriving(path.remote.ip())
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
