//! How the states of IKE_AUTH stand between messages: when they repeat, when they give up, and what people are told of them.

use std::net::IpAddr;
use std::time::Instant;

use wire::v2::Datagram;

use super::{Attempt, Authenticating, HalfOpen, NAME};
use crate::Role;
use crate::authentication::v2::Transcript;
use crate::context::{Context, Initiation};
use crate::io::{Path, TimeoutReason};
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, IkeState, IkeVersion};
use crate::v2::Sa;
use crate::v2::channel::Channel;
use crate::v2::closed::asks_for_repetition;
use crate::v2::fragmentation::Reassembly;
use crate::v2::ike_intermediate::Awaited;
use crate::v2::window::Standing;

impl Authenticating {
    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.attempt.channel.path;
        match self.window.retransmit(cx.now) {
            Retransmission::NotDue => Some(Sa::Authenticating(self)),
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(path, datagrams);
                Some(Sa::Authenticating(self))
            }
            Retransmission::GiveUp => {
                let failure = cx.no_answer(path, NAME, self.attempt.begun_at);
                cx.retry_or_fail(self.attempt.initiation, path, failure);
                None
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        self.window.deadline().map(|at| (at, TimeoutReason::Retransmission))
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        self.attempt.initiation()
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        self.attempt.into_initiation()
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        self.attempt.status()
    }
}

impl Attempt {
    pub(super) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(super) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.channel.path)
    }

    pub(super) fn status(&self) -> IkeSaStatus {
        let Attempt { channel, initiation, .. } = self;
        IkeSaStatus {
            id: channel.id,
            connection: initiation.connection.name.clone(),
            version: IkeVersion::V2,
            state: IkeState::Connecting,
            role: Role::Initiator,
            initiator_spi: channel.spis.initiator,
            responder_spi: channel.spis.responder,
            path: channel.path,
            local_identity: Some(initiation.connection.own_identity(channel.path)),
            remote_identity: None,
            remote_user: None,
            mobile: None,
            ppk: None,
            method: None,
            inside: Default::default(),
            suite: Some(channel.suite),
            nat: channel.nat(),
            established_at: None,
            rekey_at: None,
            expire_at: None,
            reauthenticate_at: None,
            tasks_queued: Vec::new(),
            tasks_active: vec![NAME],
            children: Vec::new(),
        }
    }
}

impl HalfOpen {
    pub(crate) fn new(cx: &Context, channel: Channel, transcript: Transcript) -> HalfOpen {
        let until = cx.now + cx.settings.half_open_timeout;
        let awaited = match transcript.resumed {
            None => Awaited::new(&channel.suite.additional),
            Some(_) => Awaited::nothing(),
        };
        HalfOpen {
            channel,
            transcript,
            awaited,
            reassembly: Reassembly::default(),
            exchanges: 0,
            so_far: None,
            until,
        }
    }

    /// Answers a repeated IKE_SA_INIT request with the identical response (RFC 7296 §2.1).
    pub(crate) fn repeat_init(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        if datagram.bytes == self.transcript.request {
            cx.transmit(path, std::slice::from_ref(&self.transcript.response));
        }
    }

    /// Answers the request of a round that is over with the identical response, if it comes once more.
    pub(super) fn repeat_auth(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let Some(so_far) = &self.so_far else { return };
        if let Standing::Repeated(response) = so_far.window.classify(datagram.header.message_id)
            && !datagram.header.flags.is_response()
            && asks_for_repetition(datagram)
            && self.channel.is_authentic(datagram)
        {
            cx.transmit(path, response);
        }
    }

    /// Gives the message id of the next IKE_AUTH request.
    pub(super) fn message_id(&self) -> u32 {
        self.transcript.next_message_id() + self.exchanges
    }

    /// A half-open SA whose time is over is forgotten.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        (cx.now < self.until).then_some(Sa::HalfOpen(self))
    }

    /// The initiator goes on, and has as long again for what comes next.
    pub(crate) fn prolong(&mut self, cx: &Context) {
        self.until = cx.now + cx.settings.half_open_timeout;
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.channel.path.remote.ip()
    }
}
