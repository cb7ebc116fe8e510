//! Messages of an established IKE SA: a request goes to its exchange's respond, a response to its exchange's finish.

use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Datagram, Payload};

use super::{Active, IkeSa};
use crate::child::{self, Confirmation};
use crate::context::Context;
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::Path;
use crate::limits;
use crate::nat_detection::Behind;
use crate::v2::channel::{Kind, Opening};
use crate::v2::closed::asks_for_repetition;
use crate::v2::contents::Contents;
use crate::v2::fragmentation::Reassembly;
use crate::v2::window::{Completion, Standing};
use crate::v2::{
    counter_synchronization, create_child_sa, ike_followup_ke, ike_session_resume, informational, mobike,
    quick_crash_detection, rekey_child, rekey_ike,
};

impl IkeSa {
    /// Handles a message that names this IKE SA.
    pub(crate) fn handle_datagram(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        if quick_crash_detection::proves_loss(self, datagram) {
            return self.end_lost(cx, DownReason::PeerLostState);
        }
        if datagram.header.flags.is_response() {
            self.handle_response(cx, path, datagram);
        } else {
            self.handle_request(cx, path, datagram);
        }
        self.pump(cx);
    }

    fn handle_request(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let message_id = datagram.header.message_id;
        if message_id == 0 && counter_synchronization::respond(self, cx, path, datagram) {
            return;
        }
        // RFC 6311 §8.1: what is answered before the message ids are agreed on may be asked once more after that.
        if self.counters.is_under_way() {
            return;
        }
        match self.theirs.classify(message_id) {
            Standing::OutOfWindow => return,
            Standing::Repeated(response) => {
                // Who only saw the SPIs must not have us send to whom he likes.
                if asks_for_repetition(datagram) && self.channel.is_authentic(datagram) {
                    cx.transmit(path, response);
                }
                return;
            }
            Standing::New => {}
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.requests) {
            Opening::Forged | Opening::Incomplete => return,
            Opening::Complete(payloads) => payloads,
        };
        self.requests = Reassembly::default();
        self.heard(cx, path);
        self.confirm_children();
        let exchange_type = datagram.header.exchange_type;
        let response = self.respond(cx, path, exchange_type, payloads);
        match self.channel.seal(cx, exchange_type, Kind::Response, message_id, &response) {
            Ok(datagrams) => {
                // RFC 7296 §2.11: to where the request came from, wherever the peer is thought to be.
                cx.transmit(path, &datagrams);
                self.theirs.answered(message_id, datagrams);
                self.last_sent = cx.now;
            }
            Err(fault) => self.report(cx, fault),
        }
    }

    /// Answers a request; a fault becomes the notify that tells the peer.
    pub(super) fn respond(
        &mut self,
        cx: &mut Context,
        path: Path,
        exchange_type: ExchangeType,
        payloads: Result<Vec<Payload>, wire::Malformed>,
    ) -> Vec<Payload> {
        match self.try_respond(cx, path, exchange_type, payloads) {
            Ok(response) => response,
            Err(fault) => {
                let response = fault.to_notify().map(Payload::Notify).into_iter().collect();
                self.report(cx, fault.clone());
                if matches!(fault, Error::Malformed(_) | Error::Misbehaved(_)) {
                    // RFC 7296 §2.21.3: who authentically sends what cannot be read is not to be talked to.
                    self.end(cx, DownReason::Failed(fault.into()));
                }
                response
            }
        }
    }

    fn try_respond(
        &mut self,
        cx: &mut Context,
        path: Path,
        exchange_type: ExchangeType,
        payloads: Result<Vec<Payload>, wire::Malformed>,
    ) -> Result<Vec<Payload>, Error> {
        let payloads = payloads?;
        match exchange_type {
            ExchangeType::CREATE_CHILD_SA => {
                let request = Contents::new("CREATE_CHILD_SA", payloads)?;
                let response = create_child_sa::dispatch(self, cx, &request)?;
                // A peer that carries an exchange of its own through has not lost us, whatever it put off before.
                self.put_off_since = None;
                Ok(response)
            }
            ExchangeType::IKE_FOLLOWUP_KE => {
                let request = Contents::new("IKE_FOLLOWUP_KE", payloads)?;
                let response = ike_followup_ke::respond(self, cx, &request)?;
                self.put_off_since = None;
                Ok(response)
            }
            ExchangeType::INFORMATIONAL => {
                informational::respond(self, cx, path, &Contents::new("INFORMATIONAL", payloads)?)
            }
            _ => {
                Err(crate::Misbehaviour::Other("an exchange that has no place in an established IKE SA")
                    .into())
            }
        }
    }

    fn handle_response(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let message_id = datagram.header.message_id;
        if message_id == 0 && counter_synchronization::finish(self, cx, path, datagram) {
            return;
        }
        if self.ours.in_flight().is_none_or(|request| request.message_id != message_id) {
            return;
        }
        let payloads = match self.channel.open(cx, path, datagram, &mut self.responses) {
            Opening::Forged | Opening::Incomplete => return,
            Opening::Complete(payloads) => payloads,
        };
        self.responses = Reassembly::default();
        let (Completion::Answered, Some(active)) = (self.ours.complete(message_id), self.active.take())
        else {
            return;
        };
        self.heard(cx, path);
        self.settle_path();
        let exchange = active.name();
        match payloads.map_err(Error::from).and_then(|payloads| Contents::new(exchange, payloads)) {
            Ok(contents) if contents.notify(NotifyType::INVALID_SYNTAX).is_some() => {
                // RFC 7296 §2.21.3: the peer has ended the IKE SA, without a delete.
                let refusal = contents.refusal("").map(|refusal| Failure::from(Error::Refused(refusal)));
                let failure = refusal.unwrap_or(Failure::Terminated);
                cx.fail(&active.into_tickets(), Some(&self.connection.name), Some(path), failure.clone());
                self.end(cx, DownReason::Failed(failure));
            }
            Ok(contents) => self.finish(cx, active, &contents),
            Err(fault) => {
                cx.finish(&active.into_tickets(), &Err(fault.clone().into()));
                self.report(cx, fault.clone());
                self.end(cx, DownReason::Failed(fault.into()));
            }
        }
    }

    pub(super) fn finish(&mut self, cx: &mut Context, active: Active, contents: &Contents) {
        let is_put_off = contents.notify(NotifyType::TEMPORARY_FAILURE).is_some()
            || ike_followup_ke::is_forgotten(contents);
        let goes_on = contents.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).is_some();
        if active.may_be_put_off() && !is_put_off && !goes_on {
            self.put_off_since = None;
        }
        match active {
            Active::Liveness => ike_session_resume::keep(cx, self, contents),
            Active::DeleteUnwanted => {}
            Active::Probe(sent) => self.finish_probe(cx, &sent),
            Active::CreateChild(initiated) => create_child_sa::finish(self, cx, initiated, contents),
            Active::RekeyChild(initiated) => rekey_child::finish(self, cx, *initiated, contents),
            Active::RekeyIke(initiated) => rekey_ike::finish(self, cx, *initiated, contents),
            Active::DeleteChild(deleting) => informational::finish_child(self, cx, deleting, contents),
            Active::DeleteIke(deleting) => informational::finish_ike(self, cx, deleting),
            Active::Mobike(sent) => mobike::finish(self, cx, &sent, contents),
            Active::Redirect(tickets) => cx.finish(&tickets, &Ok(())),
        }
    }

    /// Takes note of an authentic message: the peer lives, and if it is behind a NAT, this is where it is now
    /// (RFC 7296 §2.23). With MOBIKE it says itself where it is (RFC 4555 §3.8).
    pub(in crate::v2) fn heard(&mut self, cx: &mut Context, path: Path) {
        self.last_heard = cx.now;
        if self.mobility.is_none() {
            self.follow(cx, path);
        }
    }

    /// The peer's packets come from another address or port. With MOBIKE, a NAT may have another port for it; where else
    /// it is it says itself, and packets that were under way meanwhile may not unsay it.
    pub(crate) fn heard_from(&mut self, cx: &mut Context, path: Path) {
        self.last_heard = cx.now;
        if self.mobility.is_none() || path.remote.ip() == self.channel.path.remote.ip() {
            self.follow(cx, path);
        }
    }

    fn follow(&mut self, cx: &mut Context, path: Path) {
        // RFC 7296 §2.23: both have gone to port 4500 for good; UDP carries no ESP on port 500.
        let is_old =
            path.local.port() == limits::IKE_PORT && self.channel.path.local.port() != limits::IKE_PORT;
        if path != self.channel.path && self.channel.nat.remote == Behind::Nat && !is_old {
            self.turn_to(cx, path);
            self.carry_on_path(cx);
        }
    }

    /// Talks to the peer on another path from now on; Child SAs stay where they are.
    pub(crate) fn turn_to(&mut self, cx: &mut Context, path: Path) {
        if path == self.channel.path {
            return;
        }
        let before = std::mem::replace(&mut self.channel.path, path);
        if let Some(mobility) = &mut self.mobility {
            mobility.moved_at = Some(cx.now);
        }
        if before.remote.ip() != path.remote.ip() {
            self.forget_path(cx, before.remote.ip());
        }
        cx.tell(Event::PathChanged(Box::new(self.status()), before));
    }

    /// Lets the Child SAs follow.
    pub(crate) fn carry_on_path(&mut self, cx: &mut Context) {
        let (carriage, owner) = (self.carriage(), self.channel.our_spi());
        child::move_all(cx, &mut self.children, owner, carriage);
    }

    /// The peer sends its next request when it has our last response (RFC 7296 §2.3): what that made, it has.
    fn confirm_children(&mut self) {
        for child in self.children.values_mut() {
            child.confirmation = Confirmation::Known;
        }
    }

    pub(crate) fn report(&self, cx: &mut Context, fault: Error) {
        cx.fail(&[], Some(&self.connection.name), Some(self.channel.path), fault.into());
    }
}
