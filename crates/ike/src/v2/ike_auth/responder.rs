//! IKE_AUTH as its responder sees it.
//!
//! ```text
//!   HalfOpen ──► request ──► Claimed ──► its proof (believed, or Waiting) ──► Admitted ──► ours (ready, or Waiting) ──► IkeSa
//!      ▲                                                                                        │
//!      └──────────────────────────── another round of either end ◄──────────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Instant;

use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Authentication, Datagram, Notify, Payload};

use super::rounds::{Follows, Progress};
use super::waiting::{Step, Waiting};
use super::{NAME, first_child, ppk, rounds, uniqueness};
use crate::authentication::PeerAuthenticated;
use crate::authentication::v2::{self as authentication, Belief, Claim, Proof, Proving, Transcript};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::io::{Path, Query};
use crate::v2::Sa;
use crate::v2::channel::{Channel, Kind, Opening};
use crate::v2::closed::Closed;
use crate::v2::configuration;
use crate::v2::contents::Contents;
use crate::v2::counter_synchronization;
use crate::v2::fragmentation::Reassembly;
use crate::v2::ike_intermediate::{self, Awaited};
use crate::v2::ike_sa::IkeSa;
use crate::v2::ike_session_resume;
use crate::v2::mobike;
use crate::v2::optimized_rekey;
use crate::v2::quick_crash_detection;
use crate::v2::redirect::Following;
use crate::v2::window::TheirWindow;
use crate::{Connection, Identity, Misbehaviour, Role};

/// We have answered IKE_SA_INIT; the peer is a stranger yet, or has more to prove.
pub(crate) struct HalfOpen {
    pub channel: Channel,
    pub transcript: Transcript,
    /// What comes before IKE_AUTH.
    pub awaited: Awaited,
    pub reassembly: Reassembly,
    /// How many exchanges of IKE_AUTH are over, and what was said in them.
    pub(super) exchanges: u32,
    pub(super) so_far: Option<Box<SoFar>>,
    pub(super) until: Instant,
}

/// What an initiator has said and proven in the rounds before the last.
pub(crate) struct SoFar {
    pub(super) connection: Arc<Connection>,
    /// Its first request, which has what it wants besides.
    pub(super) request: Contents,
    pub(super) peer: PeerAuthenticated,
    pub(super) progress: Progress,
    /// Our last response.
    pub(super) window: TheirWindow,
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
        self.repeat_auth(cx, path, datagram);
        let is_ours = header.exchange_type == ExchangeType::IKE_AUTH
            && header.message_id == self.message_id()
            && self.awaited.is_over();
        if header.flags.is_response() || !is_ours {
            return Some(Sa::HalfOpen(self));
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::HalfOpen(self)),
            Opening::Complete(payloads) => payloads,
        };
        self.reassembly = Reassembly::default();
        // The initiator may have floated to port 4500 (RFC 7296 §2.23).
        self.channel.path = path;
        Some(match payloads.map_err(Error::from).and_then(|payloads| Contents::new(NAME, payloads)) {
            Ok(request) => self.hear(cx, request),
            Err(fault) => Sa::Closed(Box::new(self.refuse(cx, fault))),
        })
    }

    /// Goes on with a request: the first, or one of a later round.
    fn hear(mut self: Box<Self>, cx: &mut Context, request: Contents) -> Sa {
        match self.so_far.take() {
            None => match self.hear_first(cx, &request) {
                Ok((connection, proof)) => {
                    let said = (Progress::none(), None);
                    Claimed { half_open: self, connection, request, proof, said }.judge(cx)
                }
                Err(fault) => Sa::Closed(Box::new(self.refuse(cx, fault))),
            },
            Some(so_far) if so_far.progress.expected == Follows::Nothing => {
                Admitted { half_open: self, so_far }.prove(cx)
            }
            Some(so_far) => {
                let SoFar { connection, request: first, peer, progress, .. } = *so_far;
                match request.authentication().cloned() {
                    Ok(proof) => {
                        let said = (progress, Some((first, peer)));
                        Claimed { half_open: self, connection, request, proof, said }.judge(cx)
                    }
                    Err(fault) => Sa::Closed(Box::new(self.refuse(cx, fault))),
                }
            }
        }
    }

    /// Finds the connection that the initiator means, and the proof by which it is to be believed.
    fn hear_first(
        &mut self,
        cx: &Context,
        request: &Contents,
    ) -> Result<(Arc<Connection>, Authentication), Error> {
        let connection = self.meant_connection(cx, request)?;
        if self.transcript.resumed.is_some() {
            // What was proven and mixed in before is in the keys already.
            return Ok((connection, request.authentication()?.clone()));
        }
        let abilities = &mut self.transcript.abilities;
        abilities.take_in_request(request);
        abilities.takes_rounds = request.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED).is_some();
        rounds::check_peer(&connection, abilities)?;
        first_child::check(&connection, request)?;
        let proof = ppk::answer(cx, &connection, &mut self.channel, &mut self.transcript, request)?;
        Ok((connection, proof))
    }

    pub(super) fn refuse(self, cx: &mut Context, fault: Error) -> Closed {
        let message_id = self.message_id();
        Closed::refusing(cx, self.channel, ExchangeType::IKE_AUTH, message_id, fault)
    }
}

/// The initiator has said who it is; the connection is the one that it means.
pub(crate) struct Claimed {
    pub(super) half_open: Box<HalfOpen>,
    pub(super) connection: Arc<Connection>,
    pub(super) request: Contents,
    pub(super) proof: Authentication,
    /// How far both ends were before; with what the initiator wanted and proved in the rounds before, if there were any.
    pub(super) said: (Progress, Option<(Contents, PeerAuthenticated)>),
}

impl Claimed {
    fn judge(self, cx: &mut Context) -> Sa {
        match self.claim().and_then(|claim| claim.verify(cx)) {
            Ok(Belief::Proven(peer)) => self.admit(cx, peer),
            Ok(Belief::Depends(request)) => {
                let step = Step::TrustInitiator(Box::new(self));
                Waiting::begin(cx, Query::Trust(request), step)
            }
            Err(fault) => Sa::Closed(Box::new(self.reject(cx, fault))),
        }
    }

    pub(super) fn claim(&self) -> Result<Claim<'_>, Error> {
        let (connection, round) = (&self.connection, self.said.0.theirs);
        let identification = self.request.identification_initiator()?;
        let remote = Identity::from_wire(identification);
        let (identity, wanted) =
            connection.peer_round(round).ok_or(Misbehaviour::Other("it proves too many identities"))?;
        if !identity.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!(
                "the peer is {remote}; configured is {identity}"
            )));
        }
        let HalfOpen { channel, transcript, .. } = &*self.half_open;
        Ok(Claim {
            connection,
            round,
            wanted,
            transcript,
            suite: &channel.suite,
            our_role: Role::Responder,
            local: connection.own_identity_in(round, channel.path),
            identification,
            proof: &self.proof,
            certificates: self.request.certificates()?,
        })
    }

    /// The initiator is who it says.
    pub(super) fn admit(self, cx: &mut Context, peer: PeerAuthenticated) -> Sa {
        let Claimed { half_open, connection, request, said: (mut progress, before), .. } = self;
        let (first, before) = before.unzip();
        let proven = progress.proven(&connection, before, peer, &request).and_then(|peer| {
            let request = first.unwrap_or(request);
            if progress.is_over_after_ours(&connection) {
                match &half_open.transcript.resumed {
                    None => {
                        let came = (half_open.channel.path, &request);
                        uniqueness::check(cx, &connection, &peer, came)?;
                    }
                    Some(resumed) => ike_session_resume::use_up(cx, resumed)?,
                }
            }
            let window = TheirWindow::expecting(half_open.message_id());
            Ok(Box::new(SoFar { connection, request, peer, progress, window }))
        });
        match proven {
            Ok(so_far) => Admitted { half_open, so_far }.prove(cx),
            Err(fault) => Sa::Closed(Box::new(half_open.refuse(cx, fault))),
        }
    }

    pub(super) fn reject(self, cx: &mut Context, fault: Error) -> Closed {
        self.half_open.refuse(cx, fault)
    }
}

/// The initiator has proven who it is, and we are to do the same.
pub(crate) struct Admitted {
    pub(super) half_open: Box<HalfOpen>,
    pub(super) so_far: Box<SoFar>,
}

impl Admitted {
    /// Proves who we are, or has that done, and answers.
    fn prove(self, cx: &mut Context) -> Sa {
        let SoFar { connection, peer, progress, .. } = &*self.so_far;
        let round = progress.ours;
        if round >= connection.own_rounds() {
            return self.respond(cx, None);
        }
        let HalfOpen { channel, transcript, .. } = &*self.half_open;
        let local = connection.own_identity_in(round, channel.path);
        let ends = (&local, peer.remote());
        match authentication::prove(
            cx,
            (connection, round),
            transcript,
            &channel.suite,
            Role::Responder,
            ends,
        ) {
            Ok(Proving::Ready(proof)) => self.respond(cx, Some((local, proof))),
            Ok(Proving::Wanted(wanted)) => {
                let step = Step::SignResponse(Box::new(self), wanted.form.clone());
                Waiting::begin(cx, Query::Sign(wanted), step)
            }
            Err(fault) => Sa::Closed(Box::new(self.half_open.refuse(cx, fault))),
        }
    }

    // <-- HDR, SK { IDr, [CERT, …] AUTH, … }
    pub(super) fn respond(mut self, cx: &mut Context, proof: Option<(Identity, Proof)>) -> Sa {
        let SoFar { connection, progress, .. } = &mut *self.so_far;
        let mut payloads = Vec::new();
        if let Some((local, proof)) = proof {
            payloads.push(Payload::IdentificationResponder(local.to_wire()));
            payloads.extend(proof.certificates.into_iter().map(Payload::Certificate));
            payloads.push(Payload::Authentication(proof.authentication));
            payloads.extend(progress.announcement(connection));
            progress.ours += 1;
        }
        if self.half_open.exchanges == 0 {
            payloads.extend(ppk::confirmation(&self.half_open.channel));
        }
        if progress.is_over(connection) {
            return self.establish(cx, payloads);
        }
        self.go_on(cx, &payloads)
    }

    /// Answers a round that is not the last.
    fn go_on(self, cx: &mut Context, payloads: &[Payload]) -> Sa {
        let Admitted { mut half_open, mut so_far } = self;
        let message_id = half_open.message_id();
        match half_open.channel.seal(cx, ExchangeType::IKE_AUTH, Kind::Response, message_id, payloads) {
            Ok(datagrams) => {
                cx.transmit(half_open.channel.path, &datagrams);
                so_far.window.answered(message_id, datagrams);
                half_open.exchanges += 1;
                half_open.prolong(cx);
                half_open.so_far = Some(so_far);
                Sa::HalfOpen(half_open)
            }
            Err(fault) => Sa::Closed(Box::new(half_open.refuse(cx, fault))),
        }
    }

    // <-- HDR, SK { …, SAr2, TSi, TSr }   or   <-- HDR, SK { …, N(…) }
    fn establish(self, cx: &mut Context, mut payloads: Vec<Payload>) -> Sa {
        let Admitted { half_open, so_far } = self;
        let message_id = half_open.message_id();
        let HalfOpen { channel, transcript, .. } = *half_open;
        let SoFar { connection, request, peer, .. } = *so_far;
        payloads.extend(quick_crash_detection::own_token(cx, channel.spis));
        let mut sa = IkeSa::new(cx, channel, connection, peer, None);
        sa.note_birth(transcript.nonces());
        quick_crash_detection::keep_token(&mut sa, &request);
        payloads.extend(ike_session_resume::grant(cx, &sa, &request));
        if let Some(resumed) = &transcript.resumed {
            ike_session_resume::settle(cx, &sa, resumed);
        }
        sa.mobility = mobike::agree(cx, &sa.connection, sa.channel.path, Role::Responder, &request);
        sa.optimized_rekeys = optimized_rekey::agree(&sa.connection, &request);
        if sa.optimized_rekeys == optimized_rekey::Support::Mutual {
            payloads.extend(optimized_rekey::support(&sa.connection));
        }
        sa.counters = counter_synchronization::agree(&sa.connection, &request);
        payloads.extend(counter_synchronization::answer(&sa.counters));
        let is_followed = transcript.abilities.follows_redirections;
        sa.following = if is_followed { Following::Peer } else { Following::Nobody };
        let redirection = sa.connection.redirect_to.clone().filter(|_| is_followed);
        let given = match &redirection {
            Some(_) => Ok(None),
            None => configuration::respond(&mut sa, cx, &request),
        };
        cx.tell(Event::IkeUp(Box::new(sa.status())));
        let child = given.and_then(|given| {
            payloads.extend(given);
            match &redirection {
                // RFC 5685 §6: there is no Child SA then.
                Some(to) => Ok((None, vec![Payload::Notify(Notify::redirect(to, &[]))])),
                None => first_child::respond(cx, &sa, &transcript, &request),
            }
        });
        let child = match child {
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
        payloads.extend(sa.authentication_lifetime());
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
        sa.compare_with_others(cx);
        Sa::Established(Box::new(sa))
    }
}
