//! IKEv2 (RFC 7296): one file for each exchange, and the states an IKE SA goes through.
//!
//! ```text
//!   initiator   Initiating ──IKE_SA_INIT──► [Exchanging ──IKE_INTERMEDIATE──►] Authenticating ──IKE_AUTH──► Established
//!   responder                                 HalfOpen                                        ──IKE_AUTH──► Established | Closed
//! ```
//!
//! Before Authenticating, and on both ways to Established, an IKE SA may be Waiting for a signature or for trust.

pub(crate) mod channel;
pub(crate) mod child;
mod closed;
mod collision;
mod configuration;
pub(crate) mod contents;
pub(crate) mod counter_synchronization;
mod create_child_sa;
mod fragmentation;
pub(crate) mod ike_auth;
mod ike_followup_ke;
mod ike_intermediate;
pub(crate) mod ike_sa;
pub(crate) mod ike_sa_init;
pub(crate) mod ike_session_resume;
mod informational;
pub(crate) mod keys;
mod mobike;
mod optimized_rekey;
mod protection;
mod puzzle;
pub(crate) mod quick_crash_detection;
pub(crate) mod redirect;
mod rekey_child;
mod rekey_ike;
mod terms;
mod window;

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v2::Datagram;

use crate::context::{Context, Initiation};
use crate::established::Established;
use crate::io::{Answer, Path, QueryId, TimeoutReason};
use crate::status::IkeSaStatus;

/// An IKE SA in one of its states.
pub(crate) enum Sa {
    /// We sent IKE_SA_INIT.
    Initiating(Box<ike_sa_init::Initiating>),
    /// We sent IKE_SESSION_RESUME.
    Resuming(Box<ike_session_resume::Resuming>),
    /// We sent IKE_INTERMEDIATE.
    Exchanging(Box<ike_intermediate::Exchanging>),
    /// We sent IKE_AUTH.
    Authenticating(Box<ike_auth::Authenticating>),
    /// Somebody outside works for IKE_AUTH: makes our signature, or finds out whether the peer's key is trusted.
    Waiting(Box<ike_auth::waiting::Waiting>),
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
            Sa::Resuming(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Exchanging(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Authenticating(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::HalfOpen(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Waiting(sa) => Some(Sa::Waiting(sa)),
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

    /// Goes on with what the outside has found out; `None` means that the SA is gone.
    pub(crate) fn handle_answer(self, cx: &mut Context, query: QueryId, answer: Answer) -> Option<Sa> {
        match self {
            Sa::Waiting(sa) => sa.handle_answer(cx, query, answer),
            other => Some(other),
        }
    }

    /// Does what is due; `None` means that the SA is gone.
    pub(crate) fn handle_timeout(self, cx: &mut Context) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_timeout(cx),
            Sa::Resuming(sa) => sa.handle_timeout(cx),
            Sa::Exchanging(sa) => sa.handle_timeout(cx),
            Sa::Authenticating(sa) => sa.handle_timeout(cx),
            Sa::HalfOpen(sa) => sa.handle_timeout(cx),
            Sa::Waiting(sa) => sa.handle_timeout(cx),
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
            Sa::Resuming(sa) => sa.deadline(),
            Sa::Exchanging(sa) => sa.deadline(),
            Sa::Authenticating(sa) => sa.deadline(),
            Sa::HalfOpen(sa) => Some((sa.until(), TimeoutReason::HalfOpen)),
            Sa::Waiting(sa) => Some((sa.until(), TimeoutReason::Outside)),
            Sa::Established(sa) => sa.next_timeout(cx),
            Sa::Closed(sa) => Some((sa.until(), TimeoutReason::HalfOpen)),
        }
    }

    /// Gives the snapshot for people; half-open and closed SAs are nobody's yet or any more.
    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        match self {
            Sa::Initiating(sa) => Some(sa.status()),
            Sa::Resuming(sa) => Some(sa.status()),
            Sa::Exchanging(sa) => Some(sa.status()),
            Sa::Authenticating(sa) => Some(sa.status()),
            Sa::Waiting(sa) => sa.status(),
            Sa::Established(sa) => Some(sa.status()),
            Sa::HalfOpen(_) | Sa::Closed(_) => None,
        }
    }

    /// Gives our SPI.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self {
            Sa::Initiating(sa) => sa.spi(),
            Sa::Resuming(sa) => sa.spi(),
            Sa::Exchanging(sa) => sa.channel.our_spi(),
            Sa::Authenticating(sa) => sa.attempt.channel.our_spi(),
            Sa::HalfOpen(sa) => sa.channel.our_spi(),
            Sa::Waiting(sa) => sa.our_spi(),
            Sa::Established(sa) => sa.channel.our_spi(),
            Sa::Closed(sa) => sa.our_spi(),
        }
    }

    /// Tells whether it is about to become an IKE SA of another SPI of ours, by a rekeying of ours.
    pub(crate) fn is_making(&self, our_spi: IkeSpi) -> bool {
        matches!(self, Sa::Established(sa) if sa.is_making(our_spi))
    }

    /// Gives the address of somebody who has not proven who he is.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        match self {
            Sa::HalfOpen(sa) => Some(sa.address()),
            Sa::Waiting(sa) => sa.stranger(),
            Sa::Closed(sa) => sa.stranger(),
            Sa::Initiating(_)
            | Sa::Resuming(_)
            | Sa::Exchanging(_)
            | Sa::Authenticating(_)
            | Sa::Established(_) => None,
        }
    }

    /// Gives the initiation of ours that it is to serve once it is up.
    pub(crate) fn initiation(&mut self) -> Option<&mut Initiation> {
        match self {
            Sa::Initiating(sa) => Some(sa.initiation()),
            Sa::Resuming(sa) => Some(sa.initiation()),
            Sa::Exchanging(sa) => Some(sa.initiation()),
            Sa::Authenticating(sa) => Some(sa.initiation()),
            Sa::Waiting(sa) => sa.initiation(),
            Sa::HalfOpen(_) | Sa::Established(_) | Sa::Closed(_) => None,
        }
    }

    /// Gives the same up, with the path; any other SA stays what it is.
    pub(crate) fn into_initiation(self) -> Result<(Initiation, Path), Sa> {
        match self {
            Sa::Initiating(sa) => Ok(sa.into_initiation()),
            Sa::Resuming(sa) => Ok(sa.into_initiation()),
            Sa::Exchanging(sa) => Ok(sa.into_initiation()),
            Sa::Authenticating(sa) => Ok(sa.into_initiation()),
            Sa::Waiting(sa) => sa.into_initiation().map_err(|sa| Sa::Waiting(Box::new(sa))),
            other @ (Sa::HalfOpen(_) | Sa::Established(_) | Sa::Closed(_)) => Err(other),
        }
    }

    /// Gives it if its ends are authenticated.
    pub(crate) fn established(&self) -> Option<&dyn Established> {
        match self {
            Sa::Established(sa) => Some(&**sa),
            Sa::Initiating(_)
            | Sa::Resuming(_)
            | Sa::Exchanging(_)
            | Sa::Authenticating(_)
            | Sa::Waiting(_)
            | Sa::HalfOpen(_)
            | Sa::Closed(_) => None,
        }
    }

    /// Gives it to be acted on if its ends are authenticated.
    pub(crate) fn established_mut(&mut self) -> Option<&mut dyn Established> {
        match self {
            Sa::Established(sa) => Some(&mut **sa),
            Sa::Initiating(_)
            | Sa::Resuming(_)
            | Sa::Exchanging(_)
            | Sa::Authenticating(_)
            | Sa::Waiting(_)
            | Sa::HalfOpen(_)
            | Sa::Closed(_) => None,
        }
    }

    /// Puts it back among the living after it was acted on, or keeps what is left of it.
    pub(crate) fn alive(self) -> Option<Sa> {
        match self {
            Sa::Established(sa) => sa.alive(),
            other => Some(other),
        }
    }
}
