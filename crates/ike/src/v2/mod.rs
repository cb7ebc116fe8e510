//! IKEv2 (RFC 7296): one file for each exchange, and the states an IKE SA goes through.
//!
//! ```text
//!   initiator   Initiating ──IKE_SA_INIT──► Authenticating ──IKE_AUTH──► Established
//!   responder                               HalfOpen       ──IKE_AUTH──► Established | Closed
//! ```

pub(crate) mod authentication;
pub(crate) mod channel;
pub(crate) mod child;
mod closed;
mod collision;
mod contents;
mod create_child_sa;
mod fragmentation;
pub(crate) mod ike_auth;
pub(crate) mod ike_sa;
pub(crate) mod ike_sa_init;
mod informational;
pub(crate) mod keys;
mod protection;
mod rekey_child;
mod rekey_ike;
pub(crate) mod trap;
mod window;

use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v2::Datagram;

use crate::context::Context;
use crate::io::{Path, TimeoutReason};
use crate::status::IkeSaStatus;

/// An IKE SA in one of its states.
pub(crate) enum Sa {
    /// We sent IKE_SA_INIT.
    Initiating(Box<ike_sa_init::Initiating>),
    /// We sent IKE_AUTH.
    Authenticating(Box<ike_auth::Authenticating>),
    /// The peer sent IKE_SA_INIT and has our answer.
    HalfOpen(Box<ike_auth::HalfOpen>),
    /// Both ends are authenticated.
    Established(Box<ike_sa::IkeSa>),
    /// Over; only the last response is kept for a peer that has not got it.
    Closed(Box<closed::Closed>),
}

impl Sa {
    /// Handles a message that names this IKE SA; `None` means that the SA is gone.
    pub(crate) fn handle_datagram(self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Authenticating(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::HalfOpen(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Established(mut sa) => {
                sa.handle_datagram(cx, path, datagram);
                sa.alive()
            }
            Sa::Closed(sa) => {
                sa.handle_datagram(cx, path, datagram);
                Some(Sa::Closed(sa))
            }
        }
    }

    /// Does what is due; `None` means that the SA is gone.
    pub(crate) fn handle_timeout(self, cx: &mut Context) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_timeout(cx),
            Sa::Authenticating(sa) => sa.handle_timeout(cx),
            Sa::HalfOpen(sa) => sa.handle_timeout(cx),
            Sa::Established(mut sa) => {
                sa.handle_timeout(cx);
                sa.alive()
            }
            Sa::Closed(sa) => (cx.now < sa.until()).then_some(Sa::Closed(sa)),
        }
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self, cx: &Context) -> Option<(Instant, TimeoutReason)> {
        match self {
            Sa::Initiating(sa) => sa.deadline(),
            Sa::Authenticating(sa) => sa.deadline(),
            Sa::HalfOpen(sa) => Some((sa.until(), TimeoutReason::HalfOpen)),
            Sa::Established(sa) => sa.next_timeout(cx),
            Sa::Closed(sa) => Some((sa.until(), TimeoutReason::HalfOpen)),
        }
    }

    /// Gives the snapshot for people; half-open and closed SAs are nobody's yet or any more.
    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        match self {
            Sa::Initiating(sa) => Some(sa.status()),
            Sa::Authenticating(sa) => Some(sa.status()),
            Sa::Established(sa) => Some(sa.status()),
            Sa::HalfOpen(_) | Sa::Closed(_) => None,
        }
    }

    /// Gives our SPI.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self {
            Sa::Initiating(sa) => sa.spi(),
            Sa::Authenticating(sa) => sa.channel.our_spi(),
            Sa::HalfOpen(sa) => sa.channel.our_spi(),
            Sa::Established(sa) => sa.channel.our_spi(),
            Sa::Closed(sa) => sa.our_spi(),
        }
    }
}
