//! IKE_AUTH as its initiator sees it.
//!
//! ```text
//!   Attempt ──► our proof (ready, or Waiting) ──► request ──► Authenticating ──► its proof (believed, or Waiting) ──► IkeSa
//!      ▲                                                                                 │
//!      └─────────────────────────── another round of either end ◄────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Instant;

use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Datagram, Notify, Payload};

use super::ppk::Mixing;
use super::rounds::{Follows, Progress};
use super::waiting::{Step, Waiting};
use super::{NAME, certificate_request, first_child, rounds, uniqueness};
use crate::authentication::PeerAuthenticated;
use crate::authentication::v2::{self as authentication, Belief, Claim, Proof, Proving, Transcript};
use crate::context::{Contact, Context, Initiation, Intent};
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::{Path, Query};
use crate::negotiation::Groups;
use crate::v2::Sa;
use crate::v2::channel::{Channel, Kind, Opening};
use crate::v2::child::ChildOffer;
use crate::v2::configuration;
use crate::v2::contents::Contents;
use crate::v2::counter_synchronization;
use crate::v2::fragmentation::Reassembly;
use crate::v2::ike_sa::{IkeSa, Task};
use crate::v2::ike_session_resume;
use crate::v2::mobike;
use crate::v2::optimized_rekey;
use crate::v2::quick_crash_detection;
use crate::v2::redirect::{self, Following};
use crate::v2::window::OurWindow;
use crate::{Identity, IdentityPattern, Misbehaviour, Role, Unique};

/// An IKE SA that we began, between IKE_SA_INIT and its last IKE_AUTH.
pub(crate) struct Attempt {
    pub channel: Channel,
    pub(super) initiation: Initiation,
    pub(super) transcript: Transcript,
    pub(super) mixing: Mixing,
    pub(super) progress: Progress,
    /// Exchanges of IKE_AUTH that are over.
    pub(super) exchanges: u32,
    /// What the peer has proven in the rounds before.
    pub(super) peer: Option<PeerAuthenticated>,
    /// What our first request offers.
    pub(super) offer: Option<ChildOffer>,
    pub(super) begun_at: Instant,
}

/// Goes on after IKE_SA_INIT.
pub(crate) fn initiate(
    cx: &mut Context,
    mut initiation: Initiation,
    mut channel: Channel,
    mut transcript: Transcript,
) -> Option<Sa> {
    let abilities = &transcript.abilities;
    let chosen = first_child::choose(&mut initiation, abilities);
    let connection = &initiation.connection;
    let begun = match transcript.resumed {
        None => chosen
            .and_then(|()| rounds::check_peer(connection, abilities))
            .and_then(|()| Mixing::begin(cx, connection, &mut channel, &mut transcript)),
        // What was proven and mixed in before is in the keys already.
        Some(_) => Ok(Mixing::None),
    };
    let (mixing, fault) = match begun {
        Ok(mixing) => (mixing, None),
        Err(fault) => (Mixing::None, Some(fault)),
    };
    let sa = Attempt {
        channel,
        initiation,
        transcript,
        mixing,
        progress: Progress::none(),
        exchanges: 0,
        peer: None,
        offer: None,
        begun_at: cx.now,
    };
    match fault {
        None => sa.prove(cx),
        Some(fault) => sa.fail(cx, fault.into()),
    }
}

impl Attempt {
    /// Proves who we are, or has that done.
    fn prove(self, cx: &mut Context) -> Option<Sa> {
        let connection = &self.initiation.connection;
        let (round, path) = (self.progress.ours, self.channel.path);
        if round >= connection.own_rounds() {
            return self.send(cx, None);
        }
        let (local, expected) = (self.local(), connection.expected_identity_in(round, path));
        let ends = (&local, &expected);
        let (transcript, suite) = (&self.transcript, &self.channel.suite);
        match authentication::prove(cx, (connection, round), transcript, suite, Role::Initiator, ends) {
            Ok(Proving::Ready(proof)) => self.take_proof(cx, proof),
            Ok(Proving::Wanted(request)) => {
                let step = Step::SignRequest(Box::new(self), request.form.clone());
                Some(Waiting::begin(cx, Query::Sign(request), step))
            }
            Err(fault) => self.fail(cx, fault.into()),
        }
    }

    /// Goes on with a proof of ours. Where a post-quantum key may be mixed in or not, there are two.
    pub(super) fn take_proof(mut self, cx: &mut Context, proof: Proof) -> Option<Sa> {
        match self.mixing.take(&mut self.channel, &mut self.transcript, proof) {
            Ok(Some(proof)) => self.send(cx, Some(proof)),
            Ok(None) => self.prove(cx),
            Err(fault) => self.fail(cx, fault.into()),
        }
    }

    fn send(mut self, cx: &mut Context, proof: Option<Proof>) -> Option<Sa> {
        match self.request(cx, proof) {
            Ok(datagrams) => {
                let mut window = OurWindow::starting_at(self.message_id());
                let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
                let started = window.start(cx.now, datagrams.clone(), cx.settings.retransmission, jitter);
                debug_assert!(started.is_ok(), "a fresh window is free");
                cx.transmit(self.channel.path, &datagrams);
                let reassembly = Reassembly::default();
                Some(Sa::Authenticating(Box::new(Authenticating { attempt: self, window, reassembly })))
            }
            Err(fault) => self.fail(cx, fault.into()),
        }
    }

    // HDR, SK { IDi, [CERT, …] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr } -->
    fn request(&mut self, cx: &mut Context, proof: Option<Proof>) -> Result<Vec<Vec<u8>>, Error> {
        let mut payloads = Vec::new();
        let (certificates, authentication) =
            proof.map(|proof| (proof.certificates, proof.authentication)).unzip();
        if authentication.is_some() {
            payloads.push(Payload::IdentificationInitiator(self.local().to_wire()));
        }
        payloads.extend(certificates.into_iter().flatten().map(Payload::Certificate));
        let is_first = self.exchanges == 0;
        if is_first {
            payloads.extend(self.introduction(cx));
        }
        if let Some(authentication) = authentication {
            payloads.push(Payload::Authentication(authentication));
            payloads.extend(self.progress.announcement(&self.initiation.connection));
            self.progress.ours += 1;
        }
        if is_first {
            payloads.extend(self.mixing.notifies());
            payloads.push(rounds::support());
            payloads.extend(quick_crash_detection::own_token(cx, self.channel.spis));
            payloads.extend(ike_session_resume::ask(&self.initiation.connection));
            payloads.extend(optimized_rekey::support(&self.initiation.connection));
            payloads.extend(counter_synchronization::support(&self.initiation.connection));
            payloads.extend(configuration::request(cx, &self.initiation.connection));
            let child = self.initiation.child.as_ref();
            let ends = configuration::ends_before(&self.channel, &self.initiation.connection);
            self.offer =
                child.map(|request| ChildOffer::new(cx, request, &ends, Groups::Omit)).transpose()?;
        }
        if let Some(offer) = self.offer.as_ref().filter(|_| is_first) {
            payloads.push(offer.security_association());
            payloads.extend(offer.selectors_and_terms());
        }
        if is_first {
            payloads.extend(mobike::offer(cx, &self.initiation.connection, self.channel.path));
        }
        self.channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Request, self.message_id(), &payloads)
    }

    // [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,]
    fn introduction(&self, cx: &Context) -> Vec<Payload> {
        let connection = &self.initiation.connection;
        let mut payloads = Vec::new();
        if self.initiation.contact == Contact::Initial && connection.unique != Unique::Never {
            payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, [])));
        }
        payloads.extend(certificate_request(cx, [connection.as_ref()]));
        if let IdentityPattern::Exact(remote) = &connection.remote_identity {
            payloads.push(Payload::IdentificationResponder(remote.to_wire()));
        }
        payloads
    }

    /// Gives who we say we are in this round.
    pub(super) fn local(&self) -> Identity {
        self.initiation.connection.own_identity_in(self.progress.ours, self.channel.path)
    }

    pub(super) fn message_id(&self) -> u32 {
        self.transcript.next_message_id() + self.exchanges
    }

    pub(super) fn fail(self, cx: &mut Context, failure: Failure) -> Option<Sa> {
        cx.fail_initiation(&self.initiation, self.channel.path, failure);
        None
    }
}

/// We have sent a request.
pub(crate) struct Authenticating {
    pub attempt: Attempt,
    pub(super) window: OurWindow,
    pub(super) reassembly: Reassembly,
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
        if !header.flags.is_response() || header.message_id != self.attempt.message_id() {
            return Some(Sa::Authenticating(self));
        }
        let payloads = match self.attempt.channel.open(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::Authenticating(self)),
            Opening::Complete(payloads) => payloads,
        };
        let contents = payloads.map_err(Error::from).and_then(|payloads| Contents::new(NAME, payloads));
        match contents.and_then(|contents| self.attempt.accept(&contents).map(|()| contents)) {
            Ok(contents) => self.judge(cx, contents),
            Err(fault) => self.reject(cx, fault),
        }
    }

    /// Believes what the peer proves, or finds out whether it is to be believed.
    fn judge(mut self: Box<Self>, cx: &mut Context, contents: Contents) -> Option<Sa> {
        if self.attempt.progress.expected == Follows::Nothing
            && let Some(peer) = self.attempt.peer.take()
        {
            return self.advance(cx, peer, &contents);
        }
        match self.claim(&contents).and_then(|claim| claim.verify(cx)) {
            Ok(Belief::Proven(peer)) => self.believe(cx, peer, &contents),
            Ok(Belief::Depends(request)) => {
                let step = Step::TrustResponder(self, contents);
                Some(Waiting::begin(cx, Query::Trust(request), step))
            }
            Err(fault) => self.reject(cx, fault),
        }
    }

    /// Reads who the peer says it is, which must be who we want.
    pub(super) fn claim<'a>(&'a self, contents: &'a Contents) -> Result<Claim<'a>, Error> {
        let Attempt { channel, initiation, transcript, progress, .. } = &self.attempt;
        let (connection, round) = (&initiation.connection, progress.theirs);
        let identification = contents.identification_responder()?;
        let remote = Identity::from_wire(identification);
        let (identity, wanted) =
            connection.peer_round(round).ok_or(Misbehaviour::Other("it proves too many identities"))?;
        if !identity.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!(
                "the peer is {remote}; configured is {identity}"
            )));
        }
        Ok(Claim {
            connection,
            round,
            wanted,
            transcript,
            suite: &channel.suite,
            our_role: Role::Initiator,
            local: connection.own_identity_in(round, channel.path),
            identification,
            proof: contents.authentication()?,
            certificates: contents.certificates()?,
        })
    }

    /// The peer has proven an identity.
    pub(super) fn believe(
        mut self: Box<Self>,
        cx: &mut Context,
        peer: PeerAuthenticated,
        contents: &Contents,
    ) -> Option<Sa> {
        let Attempt { initiation, progress, peer: before, .. } = &mut self.attempt;
        match progress.proven(&initiation.connection, before.take(), peer, contents) {
            Ok(peer) => self.advance(cx, peer, contents),
            Err(fault) => self.reject(cx, fault),
        }
    }

    /// Goes on with the next round, or to the end.
    fn advance(
        self: Box<Self>,
        cx: &mut Context,
        peer: PeerAuthenticated,
        contents: &Contents,
    ) -> Option<Sa> {
        let mut attempt = self.attempt;
        if attempt.progress.is_over(&attempt.initiation.connection) {
            return Some(attempt.establish(cx, peer, contents));
        }
        attempt.exchanges += 1;
        attempt.peer = Some(peer);
        attempt.prove(cx)
    }

    /// Tells the peer that it is not believed, and whoever waits that nothing comes of it.
    pub(super) fn reject(self: Box<Self>, cx: &mut Context, fault: Error) -> Option<Sa> {
        self.attempt.refuse(cx, &fault);
        if self.attempt.transcript.resumed.is_none() {
            return self.attempt.fail(cx, fault.into());
        }
        // The ticket has come to nothing: everything is proven anew.
        let Attempt { initiation, channel, .. } = self.attempt;
        cx.fail(&[], Some(&initiation.connection.name), Some(channel.path), fault.into());
        cx.intents.push_back(Intent::Initiate(initiation));
        None
    }
}

impl Attempt {
    /// Takes the response, unless it refuses us; learns whether the post-quantum key is used.
    fn accept(&mut self, contents: &Contents) -> Result<(), Error> {
        let is_final = self.progress.expected == Follows::Nothing;
        let refuses_child_only = is_final && contents.notify(NotifyType::AUTHENTICATION_FAILED).is_none();
        if contents.optional_authentication()?.is_none() && !refuses_child_only {
            let connection = &self.initiation.connection;
            let asked = format!(
                "we are {} by {}{} and want {}",
                connection.own_identity_in(self.progress.ours.saturating_sub(1), self.channel.path),
                connection.local_authentication,
                self.mixing.in_words(),
                connection.remote_identity
            );
            if let Some(refusal) = contents.refusal(&asked) {
                return Err(Error::Refused(refusal));
            }
        }
        if self.exchanges == 0 {
            self.mixing.settle(&mut self.channel, &mut self.transcript, contents)?;
        }
        Ok(())
    }

    /// The IKE SA is there; with it the Child SA, if the peer agreed to that too.
    fn establish(self, cx: &mut Context, peer: PeerAuthenticated, contents: &Contents) -> Sa {
        let message_id = self.message_id();
        let mut sa = IkeSa::new(cx, self.channel, Arc::clone(&self.initiation.connection), peer, None);
        sa.windows_after_ike_auth(message_id);
        sa.note_birth(self.transcript.nonces());
        quick_crash_detection::keep_token(&mut sa, contents);
        ike_session_resume::keep(cx, &sa, contents);
        if let Some(resumed) = &self.transcript.resumed {
            ike_session_resume::settle(cx, &sa, resumed);
        }
        sa.mobility = mobike::agree(cx, &sa.connection, sa.channel.path, Role::Initiator, contents);
        sa.optimized_rekeys = optimized_rekey::agree(&sa.connection, contents);
        sa.counters = counter_synchronization::agree(&sa.connection, contents);
        let given = configuration::accept(&mut sa, cx, contents);
        sa.note_authentication_lifetime(cx, contents);
        sa.following = Following::We(self.initiation.redirection.clone());
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        if let Some(to) = redirect::told(contents) {
            // RFC 5685 §6: this one is deleted, and has no Child SA.
            sa.queue_first(cx, Task::DeleteIke(DownReason::Redirected(to.to_string()), Vec::new()));
            redirect::follow(cx, self.initiation, sa.channel.path, to);
            sa.pump(cx);
            return Sa::Established(Box::new(sa));
        }
        match self.initiation.predecessor {
            // It goes when all its children have others in their place.
            Some(old) => {
                sa.predecessor = Some(old);
                sa.note_succession();
            }
            None => uniqueness::end_others_of_ours(cx, &sa, self.begun_at),
        }
        for (request, tickets) in self.initiation.further {
            sa.queue(cx, Task::CreateChild(request, tickets));
        }
        let installed =
            given.and_then(|()| first_child::accept(cx, &mut sa, &self.transcript, self.offer, contents));
        match installed {
            Ok(()) => cx.finish(&self.initiation.tickets, &Ok(())),
            Err(fault) => {
                if sa.predecessor.take().is_some() {
                    // Without its child it takes nobody's place.
                    sa.queue_first(cx, Task::DeleteIke(DownReason::Failed(fault.clone().into()), Vec::new()));
                }
                let name = &sa.connection.name.clone();
                cx.fail(&self.initiation.tickets, Some(name), Some(sa.channel.path), fault.into());
            }
        }
        sa.pump(cx);
        Sa::Established(Box::new(sa))
    }

    /// Tells a responder that has an IKE SA which we do not believe in (RFC 7296 §2.21.2).
    fn refuse(&self, cx: &mut Context, fault: &Error) {
        let Some(notify) = fault.to_notify() else { return };
        let payloads = [Payload::Notify(notify)];
        let message_id = self.message_id() + 1;
        if let Ok(datagrams) =
            self.channel.seal(cx, ExchangeType::INFORMATIONAL, Kind::Request, message_id, &payloads)
        {
            cx.transmit(self.channel.path, &datagrams);
        }
    }
}
