//! What the endpoint asks of a main mode that is under way.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::{Initiating, Responding, Sent};
use crate::context::{Context, Initiation};
use crate::io::{Path, TimeoutReason};
use crate::status::{IkeSaStatus, Nat, Phase1Mode};
use crate::v1::Sa;
use crate::v1::phase_1::connecting;

impl Initiating {
    /// Says what we asked for, for a refusal.
    pub(super) fn in_words(&self) -> String {
        let connection = &self.initiation.connection;
        let proposals = connection.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match &self.sent {
            Sent::Sa => format!("we offered {proposals}"),
            Sent::Key { .. } | Sent::Proof(_) => format!(
                "we are {} and want {}",
                connection.own_identity(self.path),
                connection.remote_identity
            ),
        }
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
        let (suite, nat, local_identity) = match &self.sent {
            Sent::Sa => (None, Nat::default(), None),
            Sent::Key { chosen, .. } => (Some(chosen.suite), Nat::default(), None),
            Sent::Proof(proving) => {
                (Some(proving.channel.suite), proving.channel.nat(), Some(proving.local.clone()))
            }
        };
        let connection = self.initiation.connection.name.clone();
        IkeSaStatus {
            local_identity,
            suite,
            nat,
            ..connecting(self.id, connection, Phase1Mode::Main, self.spis, self.path)
        }
    }
}

impl Responding {
    /// A half-open SA whose time is over is forgotten.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &Context) -> Option<Sa> {
        (cx.now < self.until).then_some(Sa::Responding(self))
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.spis.responder
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.origin
    }
}
