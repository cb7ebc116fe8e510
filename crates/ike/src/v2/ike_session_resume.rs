//! IKE_SESSION_RESUME: an IKE SA that was lost is had again without proving everything anew (RFC 5723).
//!
//! ```text
//!   while the IKE SA is there
//!   HDR, SK { IDi, …, AUTH, N(TICKET_REQUEST), SAi2, … }   -->                    a client asks for a ticket
//!                                                         <--   HDR, SK { IDr, AUTH, N(TICKET_LT_OPAQUE), SAr2, … }
//!   HDR, SK { N(TICKET_REQUEST) }                          -->                    and, of a new IKE SA, soon after a rekeying
//!                                                         <--   HDR, SK { N(TICKET_LT_OPAQUE) }
//!
//!   when it is lost
//!   HDR(SPIi,0), Ni, N(TICKET_OPAQUE)                      -->                    in place of IKE_SA_INIT
//!                                                         <--   HDR(SPIi,SPIr), Nr
//!   HDR, SK { IDi, [IDr,] AUTH, SAi2, TSi, TSr }           -->                    AUTH is made with the new keys alone
//!                                                         <--   HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
//!   or, if the gateway does not have what the ticket is for:
//!                                                         <--   HDR(SPIi,0), N(TICKET_NACK)      then IKE_SA_INIT
//! ```
//!
//! The new keys come from SK_d of the old IKE SA and two nonces: no key exchange takes place, no signature is made, no
//! certificate is looked at. Tickets are by reference: what they stand for stays in the gateway's memory, each is good
//! once, and nothing of a key is ever in the client's hands that it does not have anyway. A gateway that restarts has
//! forgotten them all, and says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Secret;
use sa::IkeSuite;
use wire::isakmp::IkeSpi;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Datagram, Notify, Payload, encode_clear};

use super::Sa;
use super::channel::{Channel, ChannelParts, Kind, header_fields, header_of};
use super::contents::Contents;
use super::ike_auth::{self, HalfOpen};
use super::ike_sa::IkeSa;
use super::ike_sa_init::capabilities::{agreed_fragments, find_nat, fragmentation_notify, nat_notifies};
use super::ike_sa_init::{self, Demand, connecting, float};
use super::keys::{IkeKeys, IkeSpis, Nonces};
use super::window::OurWindow;
use crate::authentication::PeerAuthenticated;
use crate::authentication::v2::{PeerAbilities, Transcript};
use crate::context::{Context, Initiation, Intent};
use crate::cookie::CookieRequest;
use crate::error::{Error, Failure, Misbehaviour};
use crate::event::TraceDirection;
use crate::io::{IkeSaId, Path, TimeoutReason};
use crate::nat_detection::NatFinding;
use crate::retransmission::Retransmission;
use crate::status::IkeSaStatus;
use crate::{Authentication, Connection, Identity, Resumption, Role, limits};

const NAME: &str = "IKE_SESSION_RESUME";

// --- Tickets -------------------------------------------------------------------------------------------------------

/// What an IKE SA leaves behind from which another can be made (RFC 5723 §5).
#[derive(Clone, Debug)]
pub(crate) struct Resumable {
    /// The IKE SA, which keeps this name through its rekeyings.
    ike: IkeSaId,
    connection: Arc<Connection>,
    peer: PeerAuthenticated,
    suite: IkeSuite,
    sk_d: Secret<Vec<u8>>,
    until: Instant,
}

/// The tickets that we gave as gateway, and those that we have as client.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    granted: BTreeMap<Vec<u8>, Resumable>,
    /// By the connection's name.
    held: BTreeMap<String, Held>,
}

impl Tickets {
    /// Forgets what belongs to a connection: it is configured anew.
    pub(crate) fn forget_connection(&mut self, connection: &str) {
        self.held.remove(connection);
        self.granted.retain(|_, resumable| resumable.connection.name != connection);
    }

    /// Forgets what is for an IKE SA that one of its ends has ended (RFC 5723 §6.2).
    pub(crate) fn forget_ike(&mut self, ike: IkeSaId) {
        self.held.retain(|_, held| held.resumable.ike != ike);
        self.granted.retain(|_, resumable| resumable.ike != ike);
    }

    /// Forgets everything: whom we believe has changed.
    pub(crate) fn forget_all(&mut self) {
        *self = Tickets::default();
    }

    /// Takes the ticket that we have for a connection, if it is good yet: it is used once.
    pub(crate) fn take_held(&mut self, connection: &Connection, now: Instant) -> Option<Held> {
        let held = self.held.remove(&connection.name)?;
        (now < held.resumable.until && is_wanted(connection)).then_some(held)
    }

    fn hold(&mut self, held: Held) {
        self.held.insert(held.resumable.connection.name.clone(), held);
    }

    /// Keeps what a new ticket is for, in place of the one before; `false` if there are too many.
    fn grant(&mut self, ticket: Vec<u8>, resumable: Resumable, now: Instant) -> bool {
        self.granted.retain(|_, other| other.ike != resumable.ike && now < other.until);
        let has_room = self.granted.len() < limits::TICKETS_GRANTED;
        if has_room {
            self.granted.insert(ticket, resumable);
        }
        has_room
    }

    /// Finds what a ticket of ours is for. It is used up with IKE_AUTH only: until then anybody may have shown it.
    fn granted(&self, ticket: &[u8], now: Instant) -> Option<&Resumable> {
        self.granted.get(ticket).filter(|resumable| now < resumable.until)
    }

    /// Uses a ticket up; `false` if that has been done.
    fn use_up(&mut self, ticket: &[u8]) -> bool {
        self.granted.remove(ticket).is_some()
    }
}

/// A ticket that we have.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    ticket: Vec<u8>,
    resumable: Resumable,
}

/// How an IKE SA comes about that is had again, for AUTH.
#[derive(Clone, Debug)]
pub(crate) struct Resumed {
    /// Whom the old IKE SA was with.
    pub peer: PeerAuthenticated,
    /// The name of the old IKE SA.
    ike: IkeSaId,
    ticket: Vec<u8>,
}

impl Resumed {
    /// Checks that an end is who it was.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self, was: &Identity, is: &Identity) -> Result<(), Error> {
        if was == is {
            return Ok(());
        }
        Err(Error::AuthenticationFailed(format!("the ticket is for {was}, and this is {is}")))
    }
}

/// Asks for a ticket, where the connection wants one.
pub(crate) fn ask(connection: &Connection) -> Option<Payload> {
    let request = || Payload::Notify(Notify::new(NotifyType::TICKET_REQUEST, []));
    is_wanted(connection).then(request)
}

/// Who proves several identities proves them each time.
fn is_wanted(connection: &Connection) -> bool {
    let is_proven = [&connection.local_authentication, &connection.remote_authentication]
        .into_iter()
        .all(|authentication| *authentication != Authentication::Null);
    connection.resumption == Resumption::Yes
        && is_proven
        && connection.own_rounds() == 1
        && connection.peer_rounds() == 1
}

/// Answers the wish for a ticket, in the response of IKE_AUTH or of INFORMATIONAL.
pub(crate) fn grant(cx: &mut Context, sa: &IkeSa, request: &Contents) -> Option<Payload> {
    request.notify(NotifyType::TICKET_REQUEST)?;
    let refusal = Payload::Notify(Notify::new(NotifyType::TICKET_NACK, []));
    if !is_wanted(&sa.connection) {
        return Some(refusal);
    }
    let mut ticket = vec![0; limits::TICKET_OCTETS];
    cx.random.fill(&mut ticket);
    let life = limits::TICKET_LIFE.min(remaining(cx, sa));
    if !cx.tickets.grant(ticket.clone(), resumable(cx.now + life, sa), cx.now) {
        return Some(refusal);
    }
    let lifetime = u32::try_from(life.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
    let data = [&lifetime[..], &ticket].concat();
    Some(Payload::Notify(Notify::new(NotifyType::TICKET_LT_OPAQUE, data)))
}

/// Keeps the ticket that a response brings.
pub(crate) fn keep(cx: &mut Context, sa: &IkeSa, response: &Contents) {
    let Some(notify) = response.notify(NotifyType::TICKET_LT_OPAQUE) else { return };
    let Some((lifetime, ticket)) = notify.data.split_first_chunk() else { return };
    if !is_wanted(&sa.connection) || ticket.is_empty() {
        return;
    }
    let life = Duration::from_secs(u32::from_be_bytes(*lifetime).into());
    let life = life.min(limits::TICKET_LIFE).min(remaining(cx, sa));
    cx.tickets.hold(Held { ticket: ticket.to_vec(), resumable: resumable(cx.now + life, sa) });
}

fn resumable(until: Instant, sa: &IkeSa) -> Resumable {
    Resumable {
        ike: sa.channel.id,
        connection: Arc::clone(&sa.connection),
        peer: sa.peer.clone(),
        suite: sa.channel.suite,
        sk_d: sa.channel.sk_d.clone(),
        until,
    }
}

/// No ticket outlives the IKE SA that it is for.
fn remaining(cx: &Context, sa: &IkeSa) -> Duration {
    let expire_at = sa.status().expire_at;
    expire_at.map_or(Duration::MAX, |at| at.saturating_duration_since(cx.now))
}

/// Uses up the ticket that an initiator has shown, now that it has proven whose it is.
///
/// # Errors
/// It has been used meanwhile.
pub(crate) fn use_up(cx: &mut Context, resumed: &Resumed) -> Result<(), Error> {
    if cx.tickets.use_up(&resumed.ticket) {
        return Ok(());
    }
    Err(Error::AuthenticationFailed("the ticket has been used before".to_owned()))
}

/// The IKE SA is there again: what is left of the old one goes without a word (RFC 5723 §4.3.4).
pub(crate) fn settle(cx: &mut Context, sa: &IkeSa, resumed: &Resumed) {
    cx.intents.push_back(Intent::Forget { ike: resumed.ike, survivor: sa.channel.our_spi() });
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We have shown our ticket.
pub(crate) struct Resuming {
    id: IkeSaId,
    initiation: Initiation,
    path: Path,
    spi: IkeSpi,
    nonce: Vec<u8>,
    held: Held,
    /// What the responder wants to see again; empty if it has not asked.
    cookie: Vec<u8>,
    /// The request as it was sent last: AUTH will cover it.
    request: Vec<u8>,
    window: OurWindow,
    round_trips_left: u32,
}

// HDR(SPIi,0), Ni, N(TICKET_OPAQUE) -->
pub(crate) fn initiate(
    cx: &mut Context,
    initiation: Initiation,
    path: Path,
    held: Held,
) -> Result<Resuming, Failure> {
    let mut sa = Resuming {
        id: cx.next_ike_id(),
        initiation,
        path,
        spi: cx.next_ike_spi(),
        nonce: cx.next_nonce(),
        held,
        cookie: Vec::new(),
        request: Vec::new(),
        window: OurWindow::starting_at(0),
        round_trips_left: limits::IKE_SA_INIT_ROUND_TRIPS,
    };
    sa.request = sa.encode_request(cx)?;
    let policy = cx.settings.retransmission;
    let jitter = policy.draw_jitter(&mut *cx.random);
    sa.window
        .start(cx.now, vec![sa.request.clone()], policy, jitter)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    cx.transmit(path, std::slice::from_ref(&sa.request));
    Ok(sa)
}

impl Resuming {
    fn encode_request(&self, cx: &mut Context) -> Result<Vec<u8>, Error> {
        let connection = &self.initiation.connection;
        let spis = IkeSpis { initiator: self.spi, responder: IkeSpi::ZERO };
        let mut payloads = Vec::new();
        if !self.cookie.is_empty() {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, self.cookie.clone())));
        }
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.push(Payload::Notify(Notify::new(NotifyType::TICKET_OPAQUE, self.held.ticket.clone())));
        payloads.extend(nat_notifies(connection, spis, self.path));
        payloads.extend(fragmentation_notify(connection));
        encode(cx, Role::Initiator, spis, Kind::Request, self.path, &payloads)
    }

    /// Handles what may be the response. Nothing in it is authenticated: where it is of no use, IKE_SA_INIT comes next,
    /// which is what would come without a ticket.
    pub(crate) fn handle_datagram(
        self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        let is_ours = header.flags.is_response()
            && header.exchange_type == ExchangeType::IKE_SESSION_RESUME
            && header.message_id == 0;
        if !is_ours {
            return Some(Sa::Resuming(self));
        }
        let payloads = datagram.payloads.clone();
        cx.trace(TraceDirection::Received, path, header, (1, datagram.bytes.len()), &payloads);
        let Ok(contents) = Contents::new(NAME, payloads) else { return Some(Sa::Resuming(self)) };
        if let Some(notify) = contents.notify(NotifyType::COOKIE) {
            return self.return_cookie(cx, notify.data.clone());
        }
        if contents.notify(NotifyType::TICKET_NACK).is_some() {
            return begin_anew(cx, self.initiation, self.path);
        }
        if contents.nonce().is_err() || header.responder_spi.is_zero() {
            return Some(Sa::Resuming(self));
        }
        let initiation = self.initiation.clone();
        match self.secure(cx, path, datagram, &contents) {
            Ok((channel, transcript)) => ike_auth::initiate(cx, initiation, channel, transcript),
            Err(fault) => {
                cx.fail_initiation(&initiation, path, fault.into());
                None
            }
        }
    }

    // <-- HDR(SPIi,0), N(COOKIE)
    fn return_cookie(mut self: Box<Self>, cx: &mut Context, cookie: Vec<u8>) -> Option<Sa> {
        if self.cookie == cookie {
            return Some(Sa::Resuming(self));
        }
        let Some(left) = self.round_trips_left.checked_sub(1) else {
            return begin_anew(cx, self.initiation, self.path);
        };
        self.round_trips_left = left;
        self.cookie = cookie;
        match self.encode_request(cx) {
            Ok(request) => {
                self.request = request;
                self.window.replace(cx.now, vec![self.request.clone()]);
                cx.transmit(self.path, std::slice::from_ref(&self.request));
                Some(Sa::Resuming(self))
            }
            Err(_) => begin_anew(cx, self.initiation, self.path),
        }
    }

    // <-- HDR(SPIi,SPIr), Nr
    fn secure(
        self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        contents: &Contents,
    ) -> Result<(Channel, Transcript), Error> {
        let connection = &self.initiation.connection;
        let Held { ticket, resumable } = self.held;
        let spis = IkeSpis { initiator: self.spi, responder: datagram.header.responder_spi };
        let nonce_r = contents.nonce()?.clone();
        let nonces = Nonces { initiator: &self.nonce, responder: &nonce_r };
        let keys = keys(&resumable, nonces, spis)?;
        let nat = find_nat(spis, path, &datagram.payloads);
        let parts = ChannelParts {
            id: self.id,
            role: Role::Initiator,
            spis,
            path: float(path, nat, connection),
            nat: nat.unwrap_or(NatFinding::NOTHING),
            encap: connection.encap,
            fragments: agreed_fragments(connection, contents),
            suite: resumable.suite,
            keys: &keys,
        };
        let channel = Channel::new(cx, parts)?;
        let messages = (self.request, datagram.bytes.to_vec());
        let transcript = Transcript::new(&keys, messages, (self.nonce, nonce_r), PeerAbilities::default());
        let resumed = Resumed { peer: resumable.peer, ike: resumable.ike, ticket };
        Ok((channel, transcript.resuming(resumed)))
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        match self.window.retransmit(cx.now) {
            Retransmission::NotDue => Some(Sa::Resuming(self)),
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(path, datagrams);
                Some(Sa::Resuming(self))
            }
            Retransmission::GiveUp => {
                // There may be no way to the gateway, or another one that does not know the exchange: both are tried in turn.
                cx.tickets.hold(self.held.clone());
                begin_anew(cx, self.initiation, path)
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        self.window.deadline().map(|at| (at, TimeoutReason::Retransmission))
    }

    pub(crate) fn spi(&self) -> IkeSpi {
        self.spi
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        connecting(self.id, &self.initiation, self.spi, self.path, NAME)
    }
}

/// The ticket has come to nothing.
fn begin_anew(cx: &mut Context, initiation: Initiation, path: Path) -> Option<Sa> {
    let waiting = initiation.clone();
    match ike_sa_init::initiate(cx, initiation, path) {
        Ok(sa) => Some(Sa::Initiating(Box::new(sa))),
        Err(failure) => {
            cx.fail_initiation(&waiting, path, failure);
            None
        }
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Answers a request. The answer is on its way when this returns; what is returned waits for IKE_AUTH.
pub(crate) fn respond(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    demand: Demand,
) -> Option<HalfOpen> {
    cx.trace(TraceDirection::Received, path, &datagram.header, (1, datagram.bytes.len()), &datagram.payloads);
    let spis = IkeSpis { initiator: datagram.header.initiator_spi, responder: IkeSpi::ZERO };
    match answer(cx, path, datagram, demand) {
        Ok(Answer::Resumed(half_open)) => Some(*half_open),
        Ok(Answer::Told(notify)) => {
            refuse(cx, spis, path, notify);
            None
        }
        Err(fault) => {
            if let Some(notify) = fault.to_notify() {
                refuse(cx, spis, path, notify);
            }
            cx.fail(&[], None, Some(path), fault.into());
            None
        }
    }
}

/// What a request comes to.
enum Answer {
    Resumed(Box<HalfOpen>),
    Told(Notify),
}

fn answer(cx: &mut Context, path: Path, datagram: &Datagram<'_>, demand: Demand) -> Result<Answer, Error> {
    let contents = Contents::new(NAME, datagram.payloads.clone())?;
    let initiator = datagram.header.initiator_spi;
    let nonce_i = contents.nonce()?.clone();
    let stranger = CookieRequest { initiator_spi: initiator, nonce: &nonce_i, remote: path.remote };
    let cookie = contents.notify(NotifyType::COOKIE);
    let is_there = cookie.is_some_and(|notify| cx.cookies.verify(cx.now, &stranger, &notify.data).is_some());
    // A ticket is worth more than the solution of a puzzle (RFC 8019 §4.5).
    if demand != Demand::Nothing && !is_there {
        // <-- HDR(SPIi,0), N(COOKIE)
        return Ok(Answer::Told(Notify::new(NotifyType::COOKIE, cx.cookies.cookie(cx.now, &stranger, 0))));
    }
    let ticket = contents.notify(NotifyType::TICKET_OPAQUE);
    let ticket = ticket.ok_or(Misbehaviour::Missing { exchange: NAME, payload: "TICKET_OPAQUE" })?;
    let Some(resumable) = cx.tickets.granted(&ticket.data, cx.now).cloned() else {
        // <-- HDR(SPIi,0), N(TICKET_NACK)
        return Ok(Answer::Told(Notify::new(NotifyType::TICKET_NACK, [])));
    };
    let spis = IkeSpis { initiator, responder: cx.next_ike_spi() };
    let nonce_r = cx.next_nonce();
    let keys = keys(&resumable, Nonces { initiator: &nonce_i, responder: &nonce_r }, spis)?;
    let nat = find_nat(IkeSpis { initiator, responder: IkeSpi::ZERO }, path, &datagram.payloads);
    let connection = &resumable.connection;
    // <-- HDR(SPIi,SPIr), Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), …
    let mut payloads = vec![Payload::Nonce(nonce_r.clone())];
    payloads.extend(nat_notifies(connection, spis, path));
    payloads.extend(fragmentation_notify(connection));
    let response = encode(cx, Role::Responder, spis, Kind::Response, path, &payloads)?;
    let parts = ChannelParts {
        id: cx.next_ike_id(),
        role: Role::Responder,
        spis,
        path,
        nat: nat.unwrap_or(NatFinding::NOTHING),
        encap: connection.encap,
        fragments: agreed_fragments(connection, &contents),
        suite: resumable.suite,
        keys: &keys,
    };
    let channel = Channel::new(cx, parts)?;
    cx.transmit(path, std::slice::from_ref(&response));
    let messages = (datagram.bytes.to_vec(), response);
    let transcript = Transcript::new(&keys, messages, (nonce_i, nonce_r), PeerAbilities::default());
    let resumed = Resumed { peer: resumable.peer, ike: resumable.ike, ticket: ticket.data.clone() };
    Ok(Answer::Resumed(Box::new(HalfOpen::new(cx, channel, transcript.resuming(resumed)))))
}

/// Answers with one notify and keeps nothing.
fn refuse(cx: &mut Context, spis: IkeSpis, path: Path, notify: Notify) {
    let payloads = [Payload::Notify(notify)];
    if let Ok(response) = encode(cx, Role::Responder, spis, Kind::Response, path, &payloads) {
        cx.transmit(path, &[response]);
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

fn keys(resumable: &Resumable, nonces: Nonces<'_>, spis: IkeSpis) -> Result<IkeKeys, Error> {
    IkeKeys::resumed(&resumable.suite, &resumable.sk_d, nonces, spis)
        .map_err(|fault| Error::Local(fault.to_string()))
}

fn encode(
    cx: &mut Context,
    role: Role,
    spis: IkeSpis,
    kind: Kind,
    path: Path,
    payloads: &[Payload],
) -> Result<Vec<u8>, Error> {
    let fields = header_fields(role, spis, ExchangeType::IKE_SESSION_RESUME, kind, 0);
    let message = encode_clear(&fields, payloads).map_err(|fault| Error::Local(fault.to_string()))?;
    cx.trace(TraceDirection::Sent, path, &header_of(&fields), (1, message.len()), payloads);
    Ok(message)
}
