//! IKE_SA_INIT: two messages in the clear that agree on algorithms and make a shared secret (RFC 7296 §1.2).
//!
//! ```text
//!   Initiator                                    Responder
//!   HDR(SPIi,0), SAi1, KEi, Ni           -->
//!                                        <--     HDR(SPIi,SPIr), SAr1, KEr, Nr, [CERTREQ]
//!
//!   or, before the responder does any work:
//!                                        <--     HDR(SPIi,0), N(COOKIE)               §2.6: prove your address
//!                                        <--     HDR(SPIi,0), N(INVALID_KE_PAYLOAD)   §1.3: another group, please
//!   and the initiator sends its request again, with the cookie in front or a key in the other group.
//! ```
//!
//! Beside that, both sides say what they can and where they believe to be (`capabilities`). Nothing here is authenticated yet:
//! IKE_AUTH signs both messages afterwards.

pub(super) mod capabilities;
mod standing;

use std::sync::Arc;
use std::time::Instant;

use crypto::KeyExchangePrivate;
use sa::transform::Group;
use sa::{IkeSuite, Proposal};
use wire::isakmp::{IkeSpi, Version};
use wire::registry::{ExchangeType, KeyExchangeId, NotifyType};
use wire::v2::{Datagram, KeyExchange, Notify, Payload, encode_clear};

use super::Sa;
use super::channel::{Channel, ChannelParts, Kind, header_fields, header_of};
use super::contents::Contents;
use super::ike_auth::{self, HalfOpen, ppk, rounds};
use super::ike_intermediate;
use super::keys::{IkeKeys, IkeSpis, Nonces};
use super::puzzle::{self, Puzzle, Solving};
use super::redirect;
use super::window::OurWindow;
use crate::authentication::v2::{PeerAbilities, Transcript};
use crate::context::{Context, Initiation};
use crate::cookie::CookieRequest;
use crate::error::{Error, Failure, Misbehaviour, Refusal};
use crate::event::TraceDirection;
use crate::io::{IkeSaId, Path};
use crate::nat_detection::{Behind, NatFinding};
use crate::negotiation::{self, Additional, ChosenIke};
use crate::{Connection, Encap, Mobike, Role, limits};

pub(crate) use capabilities::nat_notifies;
pub(super) use standing::connecting;

use capabilities::{
    abilities, additional_key_exchanges, agreed_fragments, capability_notifies, childless_notify, find_nat,
    intermediate_notify, mark, ppk_notify,
};

const NAME: &str = "IKE_SA_INIT";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We have sent our request.
pub(crate) struct Initiating {
    id: IkeSaId,
    initiation: Initiation,
    path: Path,
    spi: IkeSpi,
    nonce: Vec<u8>,
    group: &'static Group,
    private: Box<dyn KeyExchangePrivate>,
    /// What the responder wants to see again; empty if it has not asked.
    cookie: Vec<u8>,
    /// The solution of the puzzle that came with the cookie; empty if there was none.
    solution: Vec<u8>,
    /// The puzzle on its way to being solved, and when that goes on.
    solving: Option<(Solving, Instant)>,
    /// The request as it was sent last: AUTH will sign it.
    request: Vec<u8>,
    window: OurWindow,
    begun_at: Instant,
    /// What an answer that nobody authenticated said against us. A better one may yet come, until the request would be
    /// repeated (RFC 7296 §2.21.1).
    refused: Option<Failure>,
    /// How often the responder may still ask for another request.
    round_trips_left: u32,
}

/// Sends the request.
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Initiating, Failure> {
    let group = first_group(&initiation.connection)?;
    let private = generate(group)?;
    let mut sa = Initiating {
        id: cx.next_ike_id(),
        path,
        spi: cx.next_ike_spi(),
        nonce: cx.next_nonce(),
        group,
        private,
        cookie: Vec::new(),
        solution: Vec::new(),
        solving: None,
        request: Vec::new(),
        window: OurWindow::starting_at(0),
        begun_at: cx.now,
        refused: None,
        round_trips_left: limits::IKE_SA_INIT_ROUND_TRIPS,
        initiation,
    };
    sa.request = sa.encode_request(cx)?;
    let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
    sa.window
        .start(cx.now, vec![sa.request.clone()], cx.settings.retransmission, jitter)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    cx.transmit(path, std::slice::from_ref(&sa.request));
    Ok(sa)
}

impl Initiating {
    // HDR(SPIi,0), [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), … -->
    fn encode_request(&self, cx: &mut Context) -> Result<Vec<u8>, Error> {
        let connection = &self.initiation.connection;
        let spis = IkeSpis { initiator: self.spi, responder: IkeSpi::ZERO };
        let mut payloads = Vec::new();
        if !self.cookie.is_empty() {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, self.cookie.clone())));
        }
        if !self.solution.is_empty() {
            payloads.push(puzzle::solution(self.solution.clone()));
        }
        payloads.push(Payload::SecurityAssociation(negotiation::offer_ike(&connection.proposals, None)));
        let data = self.private.public().to_vec();
        payloads.push(Payload::KeyExchange(KeyExchange { group: self.group.id, data }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(nat_notifies(connection, spis, self.path));
        payloads.extend(capability_notifies(connection));
        payloads.push(redirect::announcement(&self.initiation));
        payloads.extend(mark([connection]));
        if connection.proposals.iter().any(|proposal| !proposal.additional.is_empty()) {
            payloads.push(intermediate_notify());
        }
        if ppk::is_announced(cx, [connection.as_ref()]) {
            payloads.push(ppk_notify());
        }
        encode(cx, Role::Initiator, spis, Kind::Request, self.path, &payloads)
    }

    /// Handles what may be the response. What is not authenticated cannot be trusted to end the attempt at once
    /// (RFC 7296 §2.21.1).
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if !header.flags.is_response()
            || header.exchange_type != ExchangeType::IKE_SA_INIT
            || header.message_id != 0
        {
            return Some(Sa::Initiating(self));
        }
        let payloads = datagram.payloads.clone();
        cx.trace(TraceDirection::Received, path, header, (1, datagram.bytes.len()), &payloads);
        let Ok(contents) = Contents::new(NAME, payloads) else { return Some(Sa::Initiating(self)) };
        if puzzle::is_impossible(&contents) {
            return Some(Sa::Initiating(self));
        }
        if let Some(to) = redirect::told_before_keys(&contents, &self.nonce) {
            redirect::follow(cx, self.initiation, self.path, to);
            return None;
        }
        let wish = match self.wants_another_request(&contents) {
            Ok(wish) => wish,
            Err(failure) => return Some(self.remember(failure)),
        };
        if let Some(change) = wish {
            // What answers an earlier request of ours has been done already.
            let is_new = self.is_new(&change);
            return match if is_new { self.send_again(cx, change) } else { Ok(()) } {
                Ok(()) => Some(Sa::Initiating(self)),
                Err(failure) => self.fail(cx, failure),
            };
        }
        if let Some(refusal) = contents.refusal(&self.in_words()) {
            return Some(self.remember(Error::Refused(refusal).into()));
        }
        match self.check(datagram, &contents) {
            Ok(chosen) => self.accept(cx, path, datagram, &contents, chosen),
            Err(fault) => Some(self.remember(fault.into())),
        }
    }

    /// Reads the two notifies that ask for another request.
    fn wants_another_request(&self, contents: &Contents) -> Result<Option<Change>, Failure> {
        if contents.optional_key_exchange().is_ok_and(|key_exchange| key_exchange.is_some()) {
            return Ok(None);
        }
        if let Some(notify) = contents.notify(NotifyType::COOKIE) {
            return Ok(Some(Change::Cookie(notify.data.clone(), puzzle::read(contents))));
        }
        let Some(notify) = contents.notify(NotifyType::INVALID_KE_PAYLOAD) else { return Ok(None) };
        let wanted =
            <[u8; 2]>::try_from(notify.data.as_slice()).map(u16::from_be_bytes).ok().map(KeyExchangeId);
        let offered = self.initiation.connection.proposals.iter().flat_map(|proposal| &proposal.key_exchange);
        match offered.copied().find(|group| Some(group.id) == wanted) {
            Some(group) => Ok(Some(Change::Group(group))),
            None => {
                let refusal = Refusal {
                    exchange: NAME,
                    notify: NotifyType::INVALID_KE_PAYLOAD,
                    asked: self.in_words(),
                };
                Err(Error::Refused(refusal).into())
            }
        }
    }

    fn send_again(&mut self, cx: &mut Context, change: Change) -> Result<(), Failure> {
        self.round_trips_left = self.round_trips_left.checked_sub(1).ok_or(Error::Misbehaved(
            Misbehaviour::Other("it keeps asking for another IKE_SA_INIT request"),
        ))?;
        match change {
            Change::Cookie(cookie, Some(puzzle)) => {
                self.solving = Some((Solving::new(cookie, puzzle), cx.now));
                return Ok(());
            }
            Change::Cookie(cookie, None) => {
                (self.cookie, self.solution, self.solving) = (cookie, Vec::new(), None);
            }
            Change::Group(group) => {
                self.private = generate(group)?;
                self.group = group;
            }
        }
        self.send_anew(cx)
    }

    fn send_anew(&mut self, cx: &mut Context) -> Result<(), Failure> {
        self.request = self.encode_request(cx)?;
        self.window.replace(cx.now, vec![self.request.clone()]);
        cx.transmit(self.path, std::slice::from_ref(&self.request));
        Ok(())
    }

    /// Tells whether a change is one that no earlier answer has brought about.
    fn is_new(&self, change: &Change) -> bool {
        match change {
            Change::Cookie(cookie, _) if *cookie == self.cookie => false,
            Change::Cookie(cookie, _) => self.solving.as_ref().is_none_or(|(it, _)| it.cookie != *cookie),
            Change::Group(group) => *group != self.group,
        }
    }

    // <-- HDR(SPIi,SPIr), SAr1, KEr, Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), …
    fn accept(
        self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        contents: &Contents,
        chosen: ChosenIke,
    ) -> Option<Sa> {
        let initiation = self.initiation.clone();
        match self.secure(cx, path, datagram, contents, chosen) {
            Ok((channel, transcript)) => ike_intermediate::initiate(cx, initiation, channel, transcript),
            Err(fault) => {
                cx.fail_initiation(&initiation, path, fault.into());
                None
            }
        }
    }

    /// Checks that an answer is one to our request, before our key is used up on it.
    fn check(&self, datagram: &Datagram<'_>, contents: &Contents) -> Result<ChosenIke, Error> {
        if datagram.header.responder_spi.is_zero() {
            return Err(Misbehaviour::Other("its IKE_SA_INIT response has no SPI").into());
        }
        let proposals = &self.initiation.connection.proposals;
        let additional = additional_key_exchanges(contents);
        let chosen = negotiation::accept_ike(proposals, contents.security_association()?, additional)
            .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let sent = contents.key_exchange()?.group;
        if sent != self.group.id || chosen.suite.key_exchange.id != self.group.id {
            return Err(Error::InvalidKeyExchange { sent, wanted: self.group.id });
        }
        contents.nonce()?;
        Ok(chosen)
    }

    /// Makes the channel that the responder's answer allows.
    fn secure(
        self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        contents: &Contents,
        chosen: ChosenIke,
    ) -> Result<(Channel, Transcript), Error> {
        let connection = &self.initiation.connection;
        let spis = IkeSpis { initiator: self.spi, responder: datagram.header.responder_spi };
        let shared = self
            .private
            .finish(&contents.key_exchange()?.data)
            .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        let nonce_r = contents.nonce()?.clone();
        let nonces = Nonces { initiator: &self.nonce, responder: &nonce_r };
        let keys = IkeKeys::derive(&chosen.suite, &shared, nonces, spis)
            .map_err(|fault| Error::Local(fault.to_string()))?;
        let nat = find_nat(spis, path, &datagram.payloads);
        let parts = ChannelParts {
            id: self.id,
            role: Role::Initiator,
            spis,
            path: float(path, nat, connection),
            nat: nat.unwrap_or(NatFinding::NOTHING),
            encap: connection.encap,
            fragments: agreed_fragments(connection, contents),
            suite: chosen.suite,
            keys: &keys,
        };
        let channel = Channel::new(cx, parts)?;
        let messages = (self.request, datagram.bytes.to_vec());
        Ok((channel, Transcript::new(&keys, messages, (self.nonce, nonce_r), abilities(contents))))
    }

    fn in_words(&self) -> String {
        let proposals = &self.initiation.connection.proposals;
        format!("we offered {}", proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    fn fail(self: Box<Self>, cx: &mut Context, failure: Failure) -> Option<Sa> {
        cx.fail_initiation(&self.initiation, self.path, failure);
        None
    }

    /// Keeps the first thing that was said against us, and goes on waiting.
    fn remember(mut self: Box<Self>, failure: Failure) -> Sa {
        self.refused.get_or_insert(failure);
        Sa::Initiating(self)
    }
}

/// What the responder wants changed in a request.
enum Change {
    /// With a puzzle that goes with it, if we can solve it.
    Cookie(Vec<u8>, Option<Puzzle>),
    Group(&'static Group),
}

fn first_group(connection: &Connection) -> Result<&'static Group, Error> {
    let mut groups = connection.proposals.iter().flat_map(|proposal| &proposal.key_exchange);
    groups
        .next()
        .copied()
        .ok_or_else(|| Error::Local(format!("connection {} offers nothing", connection.name)))
}

fn generate(group: &'static Group) -> Result<Box<dyn KeyExchangePrivate>, Error> {
    group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))
}

/// Where a NAT is found, where one is to be feigned, and where one may be met later (RFC 4555 §3.3), IKE moves to port 4500 on
/// both ends (RFC 7296 §2.23).
pub(super) fn float(path: Path, nat: Option<NatFinding>, connection: &Connection) -> Path {
    let may_move = connection.mobike == Mobike::Yes && nat.is_some();
    let NatFinding { local, remote } = nat.unwrap_or(NatFinding::NOTHING);
    let translated =
        local == Behind::Nat || remote == Behind::Nat || connection.encap == Encap::Always || may_move;
    let mut floated = path;
    if translated && path.local.port() == limits::IKE_PORT {
        floated.local.set_port(limits::NAT_T_PORT);
    }
    if translated && path.remote.port() == limits::IKE_PORT {
        floated.remote.set_port(limits::NAT_T_PORT);
    }
    floated
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Whether a stranger must first prove its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Nothing,
    Cookie,
    /// And pay for it with the solution of a puzzle of this difficulty.
    Puzzle(u8),
}

/// Answers a request. The answer is on its way when this returns; what is returned waits for IKE_AUTH.
pub(crate) fn respond(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    demand: Demand,
) -> Option<HalfOpen> {
    cx.trace(TraceDirection::Received, path, &datagram.header, (1, datagram.bytes.len()), &datagram.payloads);
    match answer(cx, path, datagram, demand) {
        Ok(half_open) => half_open,
        Err(fault) => {
            let spis = IkeSpis { initiator: datagram.header.initiator_spi, responder: IkeSpi::ZERO };
            if let Some(notify) = fault.to_notify() {
                refuse(cx, spis, path, vec![notify]);
            }
            if !matches!(fault, Error::InvalidKeyExchange { .. }) {
                cx.fail(&[], None, Some(path), fault.into());
            }
            None
        }
    }
}

fn answer(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    demand: Demand,
) -> Result<Option<HalfOpen>, Error> {
    let contents = Contents::new(NAME, datagram.payloads.clone())?;
    let initiator = datagram.header.initiator_spi;
    let nonce_i = contents.nonce()?.clone();
    let stranger = CookieRequest { initiator_spi: initiator, nonce: &nonce_i, remote: path.remote };
    if let Some(demands) = puzzle::unmet(cx, demand, &stranger, &contents)? {
        // <-- HDR(SPIi,0), N(COOKIE)   or   <-- HDR(SPIi,0), N(COOKIE), N(PUZZLE)
        let spis = IkeSpis { initiator, responder: IkeSpi::ZERO };
        refuse(cx, spis, path, demands);
        return Ok(None);
    }
    if let Some(notify) = redirect::instead(cx, path, &contents, &nonce_i) {
        refuse(cx, IkeSpis { initiator, responder: IkeSpi::ZERO }, path, vec![notify]);
        return Ok(None);
    }
    let key_exchange = contents.key_exchange()?;
    let (connection, chosen) = choose(cx, path, &contents, key_exchange.group)?;
    let group = chosen.suite.key_exchange;
    if key_exchange.group != group.id {
        return Err(Error::InvalidKeyExchange { sent: key_exchange.group, wanted: group.id });
    }
    let (public, shared) = group
        .key_exchange
        .respond(&key_exchange.data)
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    let spis = IkeSpis { initiator, responder: cx.next_ike_spi() };
    let nonce_r = cx.next_nonce();
    let nonces = Nonces { initiator: &nonce_i, responder: &nonce_r };
    let keys = IkeKeys::derive(&chosen.suite, &shared, nonces, spis)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    // The peer's hashes are over the header of its own message, in which our SPI is still zero.
    let nat = find_nat(IkeSpis { initiator, responder: IkeSpi::ZERO }, path, &datagram.payloads);
    // <-- HDR(SPIi,SPIr), SAr1, KEr, Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), …
    let mut payloads = vec![
        Payload::SecurityAssociation(vec![negotiation::answer_ike(&chosen, None)]),
        Payload::KeyExchange(KeyExchange { group: group.id, data: public }),
        Payload::Nonce(nonce_r.clone()),
    ];
    payloads.extend(nat_notifies(&connection, spis, path));
    payloads.extend(capability_notifies(&connection));
    if additional_key_exchanges(&contents) == Additional::Possible {
        payloads.push(intermediate_notify());
    }
    let mut abilities = abilities(&contents);
    payloads.extend(for_ike_auth(cx, path, &connection, &mut abilities));
    let response = encode(cx, Role::Responder, spis, Kind::Response, path, &payloads)?;
    let parts = ChannelParts {
        id: cx.next_ike_id(),
        role: Role::Responder,
        spis,
        path,
        nat: nat.unwrap_or(NatFinding::NOTHING),
        encap: connection.encap,
        fragments: agreed_fragments(&connection, &contents),
        suite: chosen.suite,
        keys: &keys,
    };
    let channel = Channel::new(cx, parts)?;
    cx.transmit(path, std::slice::from_ref(&response));
    let messages = (datagram.bytes.to_vec(), response);
    let transcript = Transcript::new(&keys, messages, (nonce_i, nonce_r), abilities);
    Ok(Some(HalfOpen::new(cx, channel, transcript)))
}

/// Says what matters in IKE_AUTH, which may yet find another connection than this one; learns whether both ends use PPKs.
fn for_ike_auth(
    cx: &Context,
    path: Path,
    connection: &Connection,
    abilities: &mut PeerAbilities,
) -> Vec<Payload> {
    let possible = cx.connections_for(path, Version::V2);
    let connections = || possible.iter().map(|connection| &**connection);
    let mut payloads: Vec<Payload> = mark(&possible).into_iter().chain([rounds::support()]).collect();
    payloads.extend(childless_notify(connection));
    abilities.uses_ppk &= ppk::is_announced(cx, connections());
    if abilities.uses_ppk {
        payloads.push(ppk_notify());
    }
    payloads.extend(ike_auth::certificate_request(cx, connections()));
    payloads
}

/// Finds the connection that fits the path best and allows something that the peer offers. Which one it will be in
/// the end, IKE_AUTH decides, when identities are known.
fn choose(
    cx: &Context,
    path: Path,
    contents: &Contents,
    preferred: KeyExchangeId,
) -> Result<(Arc<Connection>, ChosenIke), Error> {
    let offer = contents.security_association()?;
    let mut fault = Error::NoConnection(format!("no connection is configured for {path}"));
    let additional = additional_key_exchanges(contents);
    for connection in cx.connections_for(path, Version::V2) {
        match negotiation::choose_ike(&connection.proposals, offer, Some(preferred), additional) {
            Ok(chosen) => return Ok((connection, chosen)),
            Err(disagreement) => fault = disagreement.into(),
        }
    }
    Err(fault)
}

/// Tells whether a connection would have agreed to a suite.
pub(crate) fn allows(proposals: &[Proposal], suite: &IkeSuite) -> bool {
    proposals.iter().any(|proposal| {
        let integrity_fits =
            suite.protection.integrity().is_none_or(|integrity| proposal.integrity.contains(&integrity));
        suite.protection.encryption().is_some_and(|encryption| proposal.encryption.contains(&encryption))
            && integrity_fits
            && proposal.prf.contains(&suite.prf)
            && proposal.key_exchange.contains(&suite.key_exchange)
            && proposal.additional.allows(&suite.additional)
    })
}

/// Answers with notifies and keeps nothing.
fn refuse(cx: &mut Context, spis: IkeSpis, path: Path, notifies: Vec<Notify>) {
    let payloads: Vec<_> = notifies.into_iter().map(Payload::Notify).collect();
    if let Ok(response) = encode(cx, Role::Responder, spis, Kind::Response, path, &payloads) {
        cx.transmit(path, &[response]);
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

fn encode(
    cx: &mut Context,
    role: Role,
    spis: IkeSpis,
    kind: Kind,
    path: Path,
    payloads: &[Payload],
) -> Result<Vec<u8>, Error> {
    let fields = header_fields(role, spis, ExchangeType::IKE_SA_INIT, kind, 0);
    let message = encode_clear(&fields, payloads).map_err(|fault| Error::Local(fault.to_string()))?;
    cx.trace(TraceDirection::Sent, path, &header_of(&fields), (1, message.len()), payloads);
    Ok(message)
}
