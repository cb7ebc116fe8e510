//! What the endpoint asks of an aggressive mode that is under way, and how much of an answer a stranger gets.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::v1::ProtocolId;
use wire::registry::{CertificateEncoding, ExchangeType};
use wire::v1::{Certificate, Content, Datagram, Payload};

use super::state::Called;
use super::{Initiating, NAME, Responding};
use crate::context::{Context, Initiation};
use crate::error::Error;
use crate::io::{Path, TimeoutReason};
use crate::limits;
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, Phase1Mode};
use crate::v1::Sa;
use crate::v1::closed::{Closed, Farewell};
use crate::v1::contents::Contents;
use crate::v1::phase_1::{connecting, end_attempt, refuse};

impl Initiating {
    /// Says what we asked for, for a refusal.
    pub(super) fn in_words(&self) -> String {
        let proposals = self.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let wanted = &self.initiation.connection.remote_identity;
        format!("we offered {proposals}, are {} and want {wanted}", self.local)
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.repeating.deadline(), TimeoutReason::Retransmission),
        }
    }

    /// Repeats message 1, ends the attempt, or stops waiting for somebody outside, if that is due.
    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        if let Some(awaited) = self.awaited() {
            return if awaited.is_over(cx) { self.stop_waiting(cx) } else { Some(Sa::Calling(self)) };
        }
        match self.repeating.repeat(cx.now) {
            Retransmission::NotDue => return Some(Sa::Calling(self)),
            Retransmission::Send { datagrams, .. } if self.refused.is_none() => {
                cx.transmit(path, datagrams);
                return Some(Sa::Calling(self));
            }
            Retransmission::Send { .. } | Retransmission::GiveUp => {}
        }
        end_attempt(cx, self.initiation, path, NAME, self.begun_at, self.refused);
        None
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.spis.initiator
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        let connection = self.initiation.connection.name.clone();
        IkeSaStatus {
            local_identity: Some(self.local.clone()),
            ..connecting(self.id, connection, Phase1Mode::Aggressive, self.spis, self.path)
        }
    }
}

impl Responding {
    /// Tells the peer what is wrong, and people once: a message that is not authenticated may come a thousand times.
    pub(super) fn complain(&mut self, cx: &mut Context, path: Path, fault: Error) {
        refuse(cx, self.channel.spis, path, &fault);
        if std::mem::replace(&mut self.complained, true) {
            cx.note_forged();
        } else {
            cx.fail(&[], Some(&self.connection.name), Some(path), fault.into());
        }
    }

    /// HDR*, HASH(1), D(ISAKMP, cookies) -->   in place of message 3
    pub(super) fn is_farewell(&self, datagram: &Datagram<'_>) -> bool {
        let header = &datagram.header;
        let Content::Encrypted(ciphertext) = &datagram.content else { return false };
        let opened = self.channel.open(&self.channel.phase_2_iv(header.message_id), ciphertext);
        let chain = opened.as_ref().and_then(|opened| opened.payloads(header.next_payload).ok());
        let Some(contents) = chain.map(|chain| Contents::new(NAME, chain)) else { return false };
        header.exchange_type == ExchangeType::V1_INFORMATIONAL
            && self.channel.check_hash(&contents, header.message_id, &[]).is_ok()
            && contents.deletes().any(|delete| delete.protocol == ProtocolId::ISAKMP)
    }

    /// Tells people of that. A copy of message 1 that was late would begin it all once more, so it is remembered.
    pub(super) fn part(self, cx: &mut Context, path: Path) -> Sa {
        let (local, remote) = (self.connection.own_identity(path), &self.remote);
        let sentence = format!("{remote} (the peer) gave up once it was shown that we are {local}");
        let fault = Error::AuthenticationFailed(sentence);
        cx.fail(&[], Some(&self.connection.name), Some(path), fault.into());
        Sa::Closed(Box::new(Closed::new(self.channel, Farewell::None, self.until)))
    }

    /// Answers a first message that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        match &self.stage {
            Called::Answered(last) | Called::Claimed(last, ..) => {
                last.repeat(cx, path, datagram.bytes);
            }
            Called::Unsigned(..) => {}
        }
    }

    /// A half-open SA whose time is over is forgotten; somebody outside may take longer.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        match self.awaited() {
            Some(awaited) if awaited.is_over(cx) => self.stop_waiting(cx),
            Some(_) => Some(Sa::Called(self)),
            None => (cx.now < self.until).then_some(Sa::Called(self)),
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.awaited() {
            Some(awaited) => (awaited.until, TimeoutReason::Outside),
            None => (self.until, TimeoutReason::HalfOpen),
        }
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.origin
    }
}

// --- What a stranger gets ------------------------------------------------------------------------------------------

/// Leaves out of a proof the certificates that make it too long for whoever may not be where he says he is.
pub(super) fn bounded_chain(proof: Vec<Payload>) -> Vec<Payload> {
    let (mut octets, mut certificates) = (0, 0);
    let fits = |payload: &Payload| match payload {
        Payload::Certificate(certificate) => {
            octets += certificate.data.len();
            certificates += 1;
            certificates == 1 || octets <= limits::CERTIFICATES_TO_A_STRANGER
        }
        _ => true,
    };
    proof.into_iter().filter(fits).collect()
}

/// Asks for a certificate of any CA (RFC 2408 §3.10) if the names of those that we trust are too long for the same.
pub(super) fn bounded_requests(requests: Vec<Payload>) -> Vec<Payload> {
    let names = requests.iter().filter_map(|payload| match payload {
        Payload::CertificateRequest(request) => Some(request.data.len()),
        _ => None,
    });
    if names.sum::<usize>() <= limits::AUTHORITIES_TO_A_STRANGER {
        return requests;
    }
    let encoding = CertificateEncoding::X509_SIGNATURE;
    vec![Payload::CertificateRequest(Certificate { encoding, data: Vec::new() })]
}
