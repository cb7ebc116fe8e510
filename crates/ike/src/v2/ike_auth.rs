//! IKE_AUTH: both ends prove who they are, and make the first Child SA on the way (RFC 7296 §1.2, §2.15).
//!
//! ```text
//!   Initiator                                                      Responder
//!   HDR, SK { IDi, [N(INITIAL_CONTACT),] [IDr,] AUTH,
//!             SAi2, TSi, TSr }                            -->
//!                                                         <--      HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
//!
//!   or, if only the Child SA fails, the IKE SA is there all the same:
//!                                                         <--      HDR, SK { IDr, AUTH, N(NO_PROPOSAL_CHOSEN) }
//!   or, if the initiator is not who it must be:
//!                                                         <--      HDR, SK { N(AUTHENTICATION_FAILED) }
//! ```
//!
//! AUTH signs the end's own IKE_SA_INIT message, so whoever meddled with that one is found out here.

use std::sync::Arc;
use std::time::Instant;

use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Datagram, Notify, Payload};

use super::Sa;
use super::authentication::{self, PeerAuthenticated, Transcript};
use super::channel::{Channel, Kind, Opening};
use super::child::{self, ChildAnswer, ChildOffer, ChildSa, Installation, Keying};
use super::closed::Closed;
use super::contents::Contents;
use super::fragmentation::Reassembly;
use super::ike_sa::{IkeSa, Task};
use super::ike_sa_init::allows;
use super::window::{OurWindow, Retransmission, TheirWindow};
use crate::context::{Contact, Context, Initiation, Intent};
use crate::error::{Error, Failure};
use crate::event::Event;
use crate::io::{Path, TimeoutReason};
use crate::negotiation::Groups;
use crate::status::{IkeSaStatus, IkeState};
use crate::{Connection, Identity, IdentityPattern, Role, Unique, limits};

const NAME: &str = "IKE_AUTH";

/// The message id of the exchange: IKE_SA_INIT had 0.
const MESSAGE_ID: u32 = 1;

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We have sent our request.
pub(crate) struct Authenticating {
    pub channel: Channel,
    initiation: Initiation,
    transcript: Transcript,
    local: Identity,
    offer: Option<ChildOffer>,
    window: OurWindow,
    reassembly: Reassembly,
    begun_at: Instant,
}

/// Sends the request.
pub(crate) fn initiate(
    cx: &mut Context,
    initiation: Initiation,
    channel: Channel,
    transcript: Transcript,
) -> Option<Sa> {
    let path = channel.path;
    match request(cx, &initiation, &channel, &transcript) {
        Ok(Request { local, offer, datagrams }) => {
            let mut window = OurWindow::starting_at(MESSAGE_ID);
            let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
            let started = window.start(cx.now, datagrams.clone(), cx.settings.retransmission, jitter);
            debug_assert!(started.is_ok(), "a fresh window is free");
            cx.transmit(path, &datagrams);
            let reassembly = Reassembly::default();
            let begun_at = cx.now;
            let sa = Authenticating {
                channel,
                initiation,
                transcript,
                local,
                offer,
                window,
                reassembly,
                begun_at,
            };
            Some(Sa::Authenticating(Box::new(sa)))
        }
        Err(fault) => {
            cx.fail_initiation(&initiation, path, fault.into());
            None
        }
    }
}

struct Request {
    local: Identity,
    offer: Option<ChildOffer>,
    datagrams: Vec<Vec<u8>>,
}

// HDR, SK { IDi, [N(INITIAL_CONTACT),] [IDr,] AUTH, SAi2, TSi, TSr } -->
fn request(
    cx: &mut Context,
    initiation: &Initiation,
    channel: &Channel,
    transcript: &Transcript,
) -> Result<Request, Error> {
    let connection = &initiation.connection;
    let local = own_identity(connection, channel.path);
    let expected = expected_identity(connection, channel.path);
    let proof = authentication::sign(cx, transcript, &channel.suite, Role::Initiator, &local, &expected)?;
    let mut payloads = vec![Payload::IdentificationInitiator(local.to_wire())];
    if initiation.contact == Contact::Initial && connection.unique != Unique::Never {
        payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, [])));
    }
    if let IdentityPattern::Exact(remote) = &connection.remote_identity {
        payloads.push(Payload::IdentificationResponder(remote.to_wire()));
    }
    payloads.push(Payload::Authentication(proof));
    let offer =
        initiation.child.as_ref().map(|request| ChildOffer::new(cx, request, channel.path, Groups::Omit));
    if let Some(offer) = &offer {
        payloads.push(offer.security_association());
        payloads.extend(offer.selectors_and_mode());
    }
    let datagrams = channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Request, MESSAGE_ID, &payloads)?;
    Ok(Request { local, offer, datagrams })
}

impl Authenticating {
    // <-- HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if !header.flags.is_response() || header.message_id != MESSAGE_ID {
            return Some(Sa::Authenticating(self));
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::Authenticating(self)),
            Opening::Complete(payloads) => payloads,
        };
        let contents = payloads.map_err(Error::from).and_then(|payloads| Contents::new(NAME, payloads));
        let proven = contents.and_then(|contents| Ok((self.prove(cx, &contents)?, contents)));
        match proven {
            Ok((peer, contents)) => Some(self.establish(cx, peer, &contents)),
            Err(fault) => {
                self.refuse(cx, &fault);
                self.fail(cx, fault.into());
                None
            }
        }
    }

    fn prove(&self, cx: &Context, contents: &Contents) -> Result<PeerAuthenticated, Error> {
        if contents.optional_authentication()?.is_none()
            && let Some(refusal) = contents.refusal(&format!(
                "we are {} and want {}",
                self.local, self.initiation.connection.remote_identity
            ))
        {
            return Err(Error::Refused(refusal));
        }
        let identification = contents.identification_responder()?;
        let remote = Identity::from_wire(identification);
        let wanted = &self.initiation.connection.remote_identity;
        if !wanted.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")));
        }
        let proof = contents.authentication()?;
        let suite = &self.channel.suite;
        authentication::verify(
            cx,
            &self.transcript,
            suite,
            Role::Initiator,
            &self.local,
            identification,
            proof,
        )
    }

    /// The IKE SA is there; with it the Child SA, if the peer agreed to that too.
    fn establish(self: Box<Self>, cx: &mut Context, peer: PeerAuthenticated, contents: &Contents) -> Sa {
        let this = *self;
        let mut sa = IkeSa::new(cx, this.channel, Arc::clone(&this.initiation.connection), peer);
        sa.windows_after_ike_auth();
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        end_others_on_uniqueness(cx, &sa, this.begun_at);
        for (request, tickets) in this.initiation.further {
            sa.queue(cx, Task::CreateChild(request, tickets));
        }
        let Some(offer) = this.offer else {
            cx.finish(&this.initiation.tickets, &Ok(()));
            return Sa::Established(Box::new(sa));
        };
        let keying = keying(&sa.channel, &this.transcript, Role::Initiator);
        let installed = offer.accept(contents).and_then(|agreed| {
            let carriage = sa.carriage();
            child::install(cx, &sa.peer, &offer.config, agreed, &keying, carriage, Installation::New)
        });
        match installed {
            Ok(child) => {
                sa.adopt(cx, child);
                cx.finish(&this.initiation.tickets, &Ok(()));
            }
            Err(fault) => {
                if !matches!(fault, Error::Refused(_)) {
                    // The peer installed what we do not accept.
                    sa.delete_unwanted_child(cx, offer.our_spi());
                }
                let name = &sa.connection.name.clone();
                cx.fail(&this.initiation.tickets, Some(name), Some(sa.channel.path), fault.into());
            }
        }
        sa.pump(cx);
        Sa::Established(Box::new(sa))
    }

    /// Tells a responder that has an IKE SA which we do not believe in (RFC 7296 §2.21.2).
    fn refuse(&self, cx: &mut Context, fault: &Error) {
        let Some(notify) = fault.to_notify() else { return };
        let payloads = [Payload::Notify(notify)];
        let message_id = MESSAGE_ID + 1;
        if let Ok(datagrams) =
            self.channel.seal(cx, ExchangeType::INFORMATIONAL, Kind::Request, message_id, &payloads)
        {
            cx.transmit(self.channel.path, &datagrams);
        }
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.channel.path;
        match self.window.retransmit(cx.now) {
            Retransmission::NotDue => Some(Sa::Authenticating(self)),
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(path, datagrams);
                Some(Sa::Authenticating(self))
            }
            Retransmission::GiveUp => {
                let failure = Failure::NoAnswer {
                    peer: path.remote,
                    exchange: NAME,
                    tries: cx.settings.retransmission.tries + 1,
                    seconds: (cx.now - self.begun_at).as_secs(),
                };
                cx.retry_or_fail(self.initiation, path, failure);
                None
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        self.window.deadline().map(|at| (at, TimeoutReason::Retransmission))
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.channel.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        IkeSaStatus {
            id: self.channel.id,
            connection: self.initiation.connection.name.clone(),
            state: IkeState::Connecting,
            role: Role::Initiator,
            initiator_spi: self.channel.spis.initiator,
            responder_spi: self.channel.spis.responder,
            path: self.channel.path,
            local_identity: Some(self.local.clone()),
            remote_identity: None,
            suite: Some(self.channel.suite),
            nat: self.channel.nat(),
            established_at: None,
            rekey_at: None,
            expire_at: None,
            tasks_queued: Vec::new(),
            tasks_active: vec![NAME],
            children: Vec::new(),
        }
    }

    fn fail(self: Box<Self>, cx: &mut Context, failure: Failure) {
        cx.fail_initiation(&self.initiation, self.channel.path, failure);
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// We have answered IKE_SA_INIT; the peer is a stranger yet.
pub(crate) struct HalfOpen {
    pub channel: Channel,
    transcript: Transcript,
    reassembly: Reassembly,
    until: Instant,
}

impl HalfOpen {
    pub(crate) fn new(cx: &Context, channel: Channel, transcript: Transcript) -> HalfOpen {
        let until = cx.now + cx.settings.half_open_timeout;
        HalfOpen { channel, transcript, reassembly: Reassembly::default(), until }
    }

    /// Answers a repeated IKE_SA_INIT request with the identical response (RFC 7296 §2.1).
    pub(crate) fn repeat_init(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        if datagram.bytes == self.transcript.request {
            cx.transmit(path, std::slice::from_ref(&self.transcript.response));
        }
    }

    // HDR, SK { IDi, [N(INITIAL_CONTACT),] [IDr,] AUTH, SAi2, TSi, TSr } -->
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        let is_ours = header.exchange_type == ExchangeType::IKE_AUTH && header.message_id == MESSAGE_ID;
        if header.flags.is_response() || !is_ours {
            return Some(Sa::HalfOpen(self));
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::HalfOpen(self)),
            Opening::Complete(payloads) => payloads,
        };
        // The initiator may have floated to port 4500 (RFC 7296 §2.23).
        self.channel.path = path;
        let request = payloads.map_err(Error::from).and_then(|payloads| Contents::new(NAME, payloads));
        let judged = request.and_then(|request| Ok((self.judge(cx, &request)?, request)));
        Some(match judged {
            Ok((judgement, request)) => self.accept(cx, judgement, &request),
            Err(fault) => Sa::Closed(Box::new(self.reject(cx, fault))),
        })
    }

    /// Finds the connection for the identities, and checks the proof.
    fn judge(&self, cx: &Context, request: &Contents) -> Result<Judgement, Error> {
        let identification = request.identification_initiator()?;
        let remote = Identity::from_wire(identification);
        let wanted = request.optional_identification_responder()?.map(Identity::from_wire);
        let connection = self.find_connection(cx, &remote, wanted.as_ref())?;
        let local = own_identity(&connection, self.channel.path);
        let proof = request.authentication()?;
        let suite = &self.channel.suite;
        let peer = authentication::verify(
            cx,
            &self.transcript,
            suite,
            Role::Responder,
            &local,
            identification,
            proof,
        )?;
        let is_new_start = request.notify(NotifyType::INITIAL_CONTACT).is_some();
        if connection.unique == Unique::Keep
            && !is_new_start
            && cx.is_established(peer.local(), peer.remote())
        {
            let sentence =
                format!("{remote} is connected already, and `unique = keep` keeps the older IKE SA");
            return Err(Error::AuthenticationFailed(sentence));
        }
        Ok(Judgement { connection, peer })
    }

    fn find_connection(
        &self,
        cx: &Context,
        remote: &Identity,
        wanted: Option<&Identity>,
    ) -> Result<Arc<Connection>, Error> {
        let path = self.channel.path;
        let fitting = cx.connections_for(path).into_iter().filter(|connection| {
            let is_wanted = wanted.is_none_or(|wanted| *wanted == own_identity(connection, path));
            is_wanted && allows(&connection.proposals, &self.channel.suite)
        });
        // connections_for gives the best path first: of equal identities the first wins.
        let matching = fitting.filter(|connection| connection.remote_identity.matches(remote)).enumerate();
        let best = matching.max_by_key(|(order, connection)| {
            (connection.remote_identity.specificity(), std::cmp::Reverse(*order))
        });
        best.map(|(_, connection)| connection).ok_or_else(|| {
            let wanted = wanted.map_or_else(|| "anybody".to_owned(), ToString::to_string);
            let known: Vec<_> = cx
                .connections_for(path)
                .iter()
                .map(|connection| {
                    format!(
                        "{} ({} for {})",
                        connection.name,
                        own_identity(connection, path),
                        connection.remote_identity
                    )
                })
                .collect();
            Error::AuthenticationFailed(format!(
                "the peer is {remote} and asks for {wanted}; configured is {}",
                known.join(", ")
            ))
        })
    }

    // <-- HDR, SK { IDr, AUTH, SAr2, TSi, TSr }   or   <-- HDR, SK { IDr, AUTH, N(…) }
    fn accept(self: Box<Self>, cx: &mut Context, judgement: Judgement, request: &Contents) -> Sa {
        let HalfOpen { channel, transcript, .. } = *self;
        let Judgement { connection, peer } = judgement;
        let proof = authentication::sign(
            cx,
            &transcript,
            &channel.suite,
            Role::Responder,
            peer.local(),
            peer.remote(),
        );
        let proof = match proof {
            Ok(proof) => proof,
            Err(fault) => return Sa::Closed(Box::new(refuse(cx, channel, fault))),
        };
        let mut payloads =
            vec![Payload::IdentificationResponder(peer.local().to_wire()), Payload::Authentication(proof)];
        let mut sa = IkeSa::new(cx, channel, connection, peer);
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        let child = match respond_child(cx, &sa, &transcript, request) {
            Ok((child, child_payloads)) => {
                payloads.extend(child_payloads);
                child
            }
            Err(fault) => {
                payloads.extend(fault.to_notify().map(Payload::Notify));
                cx.fail(&[], Some(&sa.connection.name), Some(sa.channel.path), fault.into());
                None
            }
        };
        match sa.channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Response, MESSAGE_ID, &payloads) {
            Ok(datagrams) => {
                cx.transmit(sa.channel.path, &datagrams);
                sa.windows_after_answering_ike_auth(datagrams);
            }
            Err(fault) => cx.fail(&[], Some(&sa.connection.name), Some(sa.channel.path), fault.into()),
        }
        if let Some(child) = child {
            sa.adopt(cx, child);
        }
        if request.notify(NotifyType::INITIAL_CONTACT).is_some() && sa.connection.unique != Unique::Never {
            end_others(cx, &sa, cx.now);
        }
        end_others_on_uniqueness(cx, &sa, cx.now);
        Sa::Established(Box::new(sa))
    }

    fn reject(self: Box<Self>, cx: &mut Context, fault: Error) -> Closed {
        refuse(cx, self.channel, fault)
    }

    /// A half-open SA whose time is over is forgotten.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        (cx.now < self.until).then_some(Sa::HalfOpen(self))
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> std::net::IpAddr {
        self.channel.path.remote.ip()
    }
}

/// Who the initiator is, and under which connection.
struct Judgement {
    connection: Arc<Connection>,
    peer: PeerAuthenticated,
}

/// Makes the Child SA that the request asks for, inbound first: it is in place before the response leaves.
fn respond_child(
    cx: &mut Context,
    sa: &IkeSa,
    transcript: &Transcript,
    request: &Contents,
) -> Result<(Option<ChildSa>, Vec<Payload>), Error> {
    if request.optional_security_association()?.is_none() {
        return Ok((None, Vec::new()));
    }
    let answer = ChildAnswer::choose(cx, &sa.connection, sa.channel.path, request, Groups::Omit)?;
    let mut payloads = vec![answer.security_association()];
    payloads.extend(answer.selectors_and_mode());
    let keying = keying(&sa.channel, transcript, Role::Responder);
    let ChildAnswer { config, agreed } = answer;
    let child = child::install(cx, &sa.peer, &config, agreed, &keying, sa.carriage(), Installation::New)?;
    Ok((Some(child), payloads))
}

/// Answers with what is wrong, and keeps the answer for a while.
fn refuse(cx: &mut Context, channel: Channel, fault: Error) -> Closed {
    let mut window = TheirWindow::expecting(MESSAGE_ID);
    let payloads: Vec<_> = fault.to_notify().map(Payload::Notify).into_iter().collect();
    match channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Response, MESSAGE_ID, &payloads) {
        Ok(datagrams) => {
            cx.transmit(channel.path, &datagrams);
            window.answered(MESSAGE_ID, datagrams);
        }
        Err(second) => cx.fail(&[], None, Some(channel.path), second.into()),
    }
    cx.fail(&[], None, Some(channel.path), fault.into());
    Closed::to_stranger(channel, window, cx.now + limits::CLOSED_SA_LINGER)
}

// --- Both ----------------------------------------------------------------------------------------------------------

fn keying<'a>(channel: &'a Channel, transcript: &'a Transcript, role: Role) -> Keying<'a> {
    Keying {
        role,
        prf: channel.suite.prf.prf,
        sk_d: &channel.sk_d,
        shared: None,
        nonces: transcript.nonces(),
    }
}

/// Who we say we are: as configured, or our address.
fn own_identity(connection: &Connection, path: Path) -> Identity {
    connection.local_identity.clone().unwrap_or_else(|| Identity::from(path.local.ip()))
}

/// Who the peer should be, for finding the secret before it has told.
fn expected_identity(connection: &Connection, path: Path) -> Identity {
    match &connection.remote_identity {
        IdentityPattern::Exact(identity) => identity.clone(),
        _ => Identity::from(path.remote.ip()),
    }
}

/// Has the other IKE SAs with this peer end that were up at a moment.
fn end_others(cx: &mut Context, sa: &IkeSa, up_at: Instant) {
    cx.intents.push_back(Intent::EndOthers {
        survivor: sa.channel.our_spi(),
        local: sa.peer.local().clone(),
        remote: sa.peer.remote().clone(),
        up_at,
    });
}

/// Does what `unique` asks for. Whoever began an IKE SA spares one that the peer began meanwhile: if both ends began at
/// once and each believed its own to be the newer, they would end both.
fn end_others_on_uniqueness(cx: &mut Context, sa: &IkeSa, up_at: Instant) {
    match sa.connection.unique {
        Unique::Replace => end_others(cx, sa, up_at),
        Unique::Never | Unique::No | Unique::Keep => {}
    }
}
