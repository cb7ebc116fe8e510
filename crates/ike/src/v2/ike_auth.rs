//! IKE_AUTH: both ends prove who they are, and make the first Child SA on the way (RFC 7296 §1.2, §2.15).
//!
//! ```text
//!   Initiator                                                      Responder
//!   HDR, SK { IDi, [CERT, …] [N(INITIAL_CONTACT),] [CERTREQ,]
//!             [IDr,] AUTH, SAi2, TSi, TSr }               -->
//!                                                         <--      HDR, SK { IDr, [CERT, …] AUTH, SAr2, TSi, TSr }
//!
//!   or, if only the Child SA fails, the IKE SA is there all the same:
//!                                                         <--      HDR, SK { IDr, AUTH, N(NO_PROPOSAL_CHOSEN) }
//!   or, if the initiator is not who it must be:
//!                                                         <--      HDR, SK { N(AUTHENTICATION_FAILED) }
//! ```
//!
//! AUTH signs the end's own IKE_SA_INIT message, so whoever meddled with that one is found out here. Where it is a
//! signature, the story pauses up to twice: to have ours made, and to learn whether the peer's key is trusted. It is
//! [`waiting`] then, and goes on where it was.
//!
//! `meant` finds the connection that an initiator means, `first_child` makes the Child SA, `uniqueness` ends older IKE SAs, and
//! `standing` says what the states do between messages.

mod first_child;
mod meant;
mod standing;
mod uniqueness;
pub(crate) mod waiting;

use std::sync::Arc;
use std::time::Instant;

use wire::registry::{CertificateEncoding, ExchangeType, NotifyType};
use wire::v2::{CertificateRequest, Datagram, Notify, Payload};

use super::Sa;
use super::channel::{Channel, Kind, Opening};
use super::child::ChildOffer;
use super::closed::Closed;
use super::contents::Contents;
use super::fragmentation::Reassembly;
use super::ike_intermediate::{self, Awaited};
use super::ike_sa::{IkeSa, Task};
use super::mobike;
use super::window::OurWindow;
use crate::authentication::PeerAuthenticated;
use crate::authentication::v2::{self as authentication, Belief, Claim, Proof, Proving, Transcript};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure};
use crate::event::Event;
use crate::io::{Path, Query};
use crate::negotiation::Groups;
use crate::{Authentication, Connection, Identity, IdentityPattern, Role, Unique, limits};
use waiting::{Step, Waiting};

const NAME: &str = "IKE_AUTH";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We have the response of IKE_SA_INIT, and not yet sent our request.
pub(crate) struct Beginning {
    pub channel: Channel,
    initiation: Initiation,
    transcript: Transcript,
    local: Identity,
    begun_at: Instant,
}

/// Proves who we are, or has that done, and sends the request.
pub(crate) fn initiate(
    cx: &mut Context,
    initiation: Initiation,
    channel: Channel,
    transcript: Transcript,
) -> Option<Sa> {
    let connection = &initiation.connection;
    let local = connection.own_identity(channel.path);
    let expected = connection.expected_identity(channel.path);
    let ends = (&local, &expected);
    let proving = authentication::prove(cx, connection, &transcript, &channel.suite, Role::Initiator, ends);
    let sa = Beginning { channel, initiation, transcript, local, begun_at: cx.now };
    match proving {
        Ok(Proving::Ready(proof)) => sa.send(cx, proof),
        Ok(Proving::Wanted(request)) => {
            let step = Step::SignRequest(Box::new(sa), request.form.clone());
            Some(Waiting::begin(cx, Query::Sign(request), step))
        }
        Err(fault) => sa.fail(cx, fault.into()),
    }
}

impl Beginning {
    fn send(self, cx: &mut Context, proof: Proof) -> Option<Sa> {
        match self.request(cx, proof) {
            Ok((offer, datagrams)) => {
                let Beginning { channel, initiation, transcript, local, begun_at } = self;
                let mut window = OurWindow::starting_at(transcript.next_message_id());
                let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
                let started = window.start(cx.now, datagrams.clone(), cx.settings.retransmission, jitter);
                debug_assert!(started.is_ok(), "a fresh window is free");
                cx.transmit(channel.path, &datagrams);
                let reassembly = Reassembly::default();
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
            Err(fault) => self.fail(cx, fault.into()),
        }
    }

    // HDR, SK { IDi, [CERT, …] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr } -->
    fn request(&self, cx: &mut Context, proof: Proof) -> Result<(Option<ChildOffer>, Vec<Vec<u8>>), Error> {
        let Beginning { channel, initiation, transcript, local, .. } = self;
        let connection = &initiation.connection;
        let mut payloads = vec![Payload::IdentificationInitiator(local.to_wire())];
        payloads.extend(proof.certificates.into_iter().map(Payload::Certificate));
        if initiation.contact == Contact::Initial && connection.unique != Unique::Never {
            payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, [])));
        }
        payloads.extend(certificate_request(cx, [connection.as_ref()]));
        if let IdentityPattern::Exact(remote) = &connection.remote_identity {
            payloads.push(Payload::IdentificationResponder(remote.to_wire()));
        }
        payloads.push(Payload::Authentication(proof.authentication));
        let child = initiation.child.as_ref();
        let offer =
            child.map(|request| ChildOffer::new(cx, request, channel.ends(), Groups::Omit)).transpose()?;
        if let Some(offer) = &offer {
            payloads.push(offer.security_association());
            payloads.extend(offer.selectors_and_terms());
        }
        payloads.extend(mobike::offer(cx, connection, channel.path));
        let message_id = transcript.next_message_id();
        let datagrams = channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Request, message_id, &payloads)?;
        Ok((offer, datagrams))
    }

    fn fail(self, cx: &mut Context, failure: Failure) -> Option<Sa> {
        cx.fail_initiation(&self.initiation, self.channel.path, failure);
        None
    }
}

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

impl Authenticating {
    // <-- HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if !header.flags.is_response() || header.message_id != self.transcript.next_message_id() {
            return Some(Sa::Authenticating(self));
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::Authenticating(self)),
            Opening::Complete(payloads) => payloads,
        };
        let contents = payloads.map_err(Error::from).and_then(|payloads| Contents::new(NAME, payloads));
        let believed = contents.and_then(|contents| Ok((self.claim(&contents)?.verify(cx)?, contents)));
        match believed {
            Ok((Belief::Proven(peer), contents)) => Some(self.establish(cx, peer, &contents)),
            Ok((Belief::Depends(request), contents)) => {
                let step = Step::TrustResponder(self, contents);
                Some(Waiting::begin(cx, Query::Trust(request), step))
            }
            Err(fault) => self.reject(cx, fault),
        }
    }

    /// Tells the peer that it is not believed, and whoever waits that nothing comes of it.
    fn reject(self: Box<Self>, cx: &mut Context, fault: Error) -> Option<Sa> {
        self.refuse(cx, &fault);
        cx.fail_initiation(&self.initiation, self.channel.path, fault.into());
        None
    }

    /// Reads who the peer says it is, which must be who we want.
    fn claim<'a>(&'a self, contents: &'a Contents) -> Result<Claim<'a>, Error> {
        let connection = &self.initiation.connection;
        if contents.optional_authentication()?.is_none()
            && let Some(refusal) = contents.refusal(&format!(
                "we are {} by {} and want {}",
                self.local, connection.local_authentication, connection.remote_identity
            ))
        {
            return Err(Error::Refused(refusal));
        }
        let identification = contents.identification_responder()?;
        let remote = Identity::from_wire(identification);
        let wanted = &connection.remote_identity;
        if !wanted.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")));
        }
        Ok(Claim {
            connection,
            transcript: &self.transcript,
            suite: &self.channel.suite,
            our_role: Role::Initiator,
            local: &self.local,
            identification,
            proof: contents.authentication()?,
            certificates: contents.certificates()?,
        })
    }

    /// The IKE SA is there; with it the Child SA, if the peer agreed to that too.
    fn establish(self: Box<Self>, cx: &mut Context, peer: PeerAuthenticated, contents: &Contents) -> Sa {
        let this = *self;
        let mut sa = IkeSa::new(cx, this.channel, Arc::clone(&this.initiation.connection), peer);
        sa.windows_after_ike_auth(this.transcript.next_message_id());
        sa.mobility = mobike::agree(cx, &sa.connection, sa.channel.path, Role::Initiator, contents);
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        uniqueness::end_others_of_ours(cx, &sa, this.begun_at);
        for (request, tickets) in this.initiation.further {
            sa.queue(cx, Task::CreateChild(request, tickets));
        }
        let installed = first_child::accept(cx, &mut sa, &this.transcript, this.offer, contents);
        match installed {
            Ok(()) => cx.finish(&this.initiation.tickets, &Ok(())),
            Err(fault) => {
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
        let message_id = self.transcript.next_message_id() + 1;
        if let Ok(datagrams) =
            self.channel.seal(cx, ExchangeType::INFORMATIONAL, Kind::Request, message_id, &payloads)
        {
            cx.transmit(self.channel.path, &datagrams);
        }
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// We have answered IKE_SA_INIT; the peer is a stranger yet.
pub(crate) struct HalfOpen {
    pub channel: Channel,
    pub transcript: Transcript,
    /// What comes before IKE_AUTH.
    pub awaited: Awaited,
    pub reassembly: Reassembly,
    until: Instant,
}

impl HalfOpen {
    // HDR, SK { IDi, [N(INITIAL_CONTACT),] [IDr,] AUTH, SAi2, TSi, TSr } -->
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if header.exchange_type == ExchangeType::IKE_INTERMEDIATE && !header.flags.is_response() {
            return Some(ike_intermediate::respond(self, cx, path, datagram));
        }
        let is_ours = header.exchange_type == ExchangeType::IKE_AUTH
            && header.message_id == self.transcript.next_message_id()
            && self.awaited.is_over();
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
        let meant = request.and_then(|request| Ok((self.meant_connection(cx, &request)?, request)));
        Some(match meant {
            Ok((connection, request)) => Claimed { half_open: self, connection, request }.judge(cx),
            Err(fault) => Sa::Closed(Box::new(refuse(cx, self.channel, &self.transcript, fault))),
        })
    }
}

/// The initiator has said who it is; the connection is the one that it means.
pub(crate) struct Claimed {
    half_open: Box<HalfOpen>,
    connection: Arc<Connection>,
    request: Contents,
}

impl Claimed {
    fn judge(self, cx: &mut Context) -> Sa {
        let local = self.local();
        match self.claim(&local).and_then(|claim| claim.verify(cx)) {
            Ok(Belief::Proven(peer)) => self.admit(cx, peer),
            Ok(Belief::Depends(request)) => {
                let step = Step::TrustInitiator(Box::new(self));
                Waiting::begin(cx, Query::Trust(request), step)
            }
            Err(fault) => Sa::Closed(Box::new(self.reject(cx, fault))),
        }
    }

    fn claim<'a>(&'a self, local: &'a Identity) -> Result<Claim<'a>, Error> {
        Ok(Claim {
            connection: &self.connection,
            transcript: &self.half_open.transcript,
            suite: &self.half_open.channel.suite,
            our_role: Role::Responder,
            local,
            identification: self.request.identification_initiator()?,
            proof: self.request.authentication()?,
            certificates: self.request.certificates()?,
        })
    }

    fn local(&self) -> Identity {
        self.connection.own_identity(self.half_open.channel.path)
    }

    /// The initiator is who it says. Proves who we are, or has that done, and answers.
    fn admit(self, cx: &mut Context, peer: PeerAuthenticated) -> Sa {
        if let Err(fault) = uniqueness::check(cx, &self.connection, &peer, &self.request) {
            return Sa::Closed(Box::new(self.reject(cx, fault)));
        }
        let Claimed { half_open, connection, request } = self;
        let HalfOpen { channel, mut transcript, .. } = *half_open;
        transcript.abilities.authorities = request.authorities();
        let ends = (peer.local(), peer.remote());
        let proving =
            authentication::prove(cx, &connection, &transcript, &channel.suite, Role::Responder, ends);
        let admitted = Admitted { channel, transcript, connection, peer, request };
        match proving {
            Ok(Proving::Ready(proof)) => admitted.respond(cx, proof),
            Ok(Proving::Wanted(wanted)) => {
                let step = Step::SignResponse(Box::new(admitted), wanted.form.clone());
                Waiting::begin(cx, Query::Sign(wanted), step)
            }
            Err(fault) => Sa::Closed(Box::new(refuse(cx, admitted.channel, &admitted.transcript, fault))),
        }
    }

    fn reject(self, cx: &mut Context, fault: Error) -> Closed {
        refuse(cx, self.half_open.channel, &self.half_open.transcript, fault)
    }
}

/// The initiator has proven who it is, and we are to do the same.
pub(crate) struct Admitted {
    channel: Channel,
    transcript: Transcript,
    connection: Arc<Connection>,
    peer: PeerAuthenticated,
    request: Contents,
}

impl Admitted {
    // <-- HDR, SK { IDr, [CERT, …] AUTH, SAr2, TSi, TSr }   or   <-- HDR, SK { IDr, [CERT, …] AUTH, N(…) }
    fn respond(self, cx: &mut Context, proof: Proof) -> Sa {
        let Admitted { channel, transcript, connection, peer, request } = self;
        let mut payloads = vec![Payload::IdentificationResponder(peer.local().to_wire())];
        payloads.extend(proof.certificates.into_iter().map(Payload::Certificate));
        payloads.push(Payload::Authentication(proof.authentication));
        let mut sa = IkeSa::new(cx, channel, connection, peer);
        sa.mobility = mobike::agree(cx, &sa.connection, sa.channel.path, Role::Responder, &request);
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        let child = match first_child::respond(cx, &sa, &transcript, &request) {
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
        if sa.mobility.is_some() {
            payloads.extend(mobike::offer(cx, &sa.connection, sa.channel.path));
        }
        let message_id = transcript.next_message_id();
        match sa.channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Response, message_id, &payloads) {
            Ok(datagrams) => {
                cx.transmit(sa.channel.path, &datagrams);
                sa.windows_after_answering_ike_auth(message_id, datagrams);
            }
            Err(fault) => cx.fail(&[], Some(&sa.connection.name), Some(sa.channel.path), fault.into()),
        }
        if let Some(child) = child {
            sa.adopt(cx, child);
        }
        uniqueness::end_others_of_theirs(cx, &sa, &request);
        Sa::Established(Box::new(sa))
    }
}

fn refuse(cx: &mut Context, channel: Channel, transcript: &Transcript, fault: Error) -> Closed {
    Closed::refusing(cx, channel, ExchangeType::IKE_AUTH, transcript.next_message_id(), fault)
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Asks for certificates of the CAs that we trust, if the peer of one of these connections proves itself by a signature.
pub(crate) fn certificate_request<'a>(
    cx: &Context,
    connections: impl IntoIterator<Item = &'a Connection>,
) -> Option<Payload> {
    let signs = |connection: &Connection| match connection.remote_authentication {
        Authentication::Signature(_) => true,
        Authentication::PreSharedKey => false,
    };
    if cx.authorities.is_empty() || !connections.into_iter().any(signs) {
        return None;
    }
    let authorities = cx.authorities.iter().take(limits::AUTHORITIES_NAMED).flatten().copied().collect();
    Some(Payload::CertificateRequest(CertificateRequest {
        encoding: CertificateEncoding::X509_SIGNATURE,
        authorities,
    }))
}
