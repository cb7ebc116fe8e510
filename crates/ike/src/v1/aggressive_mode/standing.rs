//! What the endpoint asks of an aggressive mode that is under way.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::{Initiating, Responding};
use crate::context::{Context, Initiation};
use crate::io::{Path, TimeoutReason};
use crate::status::{IkeSaStatus, Phase1Mode};
use crate::v1::Sa;
use crate::v1::phase_1::connecting;

impl Initiating {
    /// Says what we asked for, for a refusal.
    pub(super) fn in_words(&self) -> String {
        let proposals = self.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let wanted = &self.initiation.connection.remote_identity;
        format!("we offered {proposals}, are {} and want {wanted}", self.local)
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        (self.repeating.deadline(), TimeoutReason::Retransmission)
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
    /// A half-open SA whose time is over is forgotten.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &Context) -> Option<Sa> {
        (cx.now < self.until).then_some(Sa::Called(self))
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.origin
    }
}
