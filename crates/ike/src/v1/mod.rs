//! IKEv1 (RFC 2407 to 2409): one file for each exchange, and the states an ISAKMP SA goes through.
//!
//! ```text
//!   initiator   Initiating ──main mode────────► Established
//!               Calling    ──aggressive mode──► Established
//!                                 └──► Introducing ──XAuth──┘   where a user gives a password, too
//!   responder   Responding ──main mode────────► Established ──delete──► Closed
//!   Hearing ──► Called     ──aggressive mode──► Established
//! ```
//!
//! What version 2 calls an IKE SA is an ISAKMP SA here, and a Child SA is what quick mode makes.

mod abilities;
mod aggressive_mode;
pub(crate) mod channel;
mod child;
mod closed;
pub(crate) mod contents;
mod deletion;
mod dpd;
mod expiry;
pub(crate) mod fragmentation;
pub(crate) mod ike_sa;
mod informational;
mod keys;
mod main_mode;
pub(crate) mod method;
mod mode_config;
mod nat;
mod negotiation;
mod phase_1;
mod public_key_encryption;
mod quick_mode;
mod repeated;
mod traffic;
mod transaction;
mod xauth;

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v1::Datagram;

use crate::Failure;

use crate::context::{Context, Initiation};
use crate::established::Established;
pub(crate) use phase_1::check_unique;

use crate::io::{Answer, Path, QueryId, TimeoutReason};
use crate::status::{IkeSaStatus, Phase1Mode};

/// An ISAKMP SA in one of its states.
pub(crate) enum Sa {
    /// We began main mode.
    Initiating(Box<main_mode::Initiating>),
    /// The peer began main mode, and is a stranger yet.
    Responding(Box<main_mode::Responding>),
    /// We began aggressive mode.
    Calling(Box<aggressive_mode::Initiating>),
    /// The peer began aggressive mode, and is a stranger yet.
    Called(Box<aggressive_mode::Responding>),
    /// The same, and what it said is being decrypted.
    Hearing(Box<aggressive_mode::Hearing>),
    /// Phase 1 is over, and a user is to give his password.
    Introducing(Box<xauth::Introducing>),
    /// Both ends are authenticated.
    Established(Box<ike_sa::IkeSa>),
    /// Over; a peer that has not heard so is told again.
    Closed(Box<closed::Closed>),
}

/// Begins phase 1 as the connection has it.
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Sa, Failure> {
    match initiation.connection.phase_1 {
        Phase1Mode::Main => main_mode::initiate(cx, initiation, path).map(|sa| Sa::Initiating(Box::new(sa))),
        Phase1Mode::Aggressive => {
            aggressive_mode::initiate(cx, initiation, path).map(|sa| Sa::Calling(Box::new(sa)))
        }
    }
}

/// Answers the first message of somebody who has no ISAKMP SA here.
pub(crate) fn respond(cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Sa> {
    if datagram.header.exchange_type == ExchangeType::V1_AGGRESSIVE {
        aggressive_mode::respond(cx, path, datagram)
    } else {
        main_mode::respond(cx, path, datagram).map(|sa| Sa::Responding(Box::new(sa)))
    }
}

impl Sa {
    /// Handles a message that names this ISAKMP SA; `None` means that the SA is gone.
    pub(crate) fn handle_datagram(self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Responding(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Calling(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Called(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Hearing(sa) => Some(Sa::Hearing(sa)),
            Sa::Introducing(sa) => sa.handle_datagram(cx, path, datagram),
            Sa::Established(mut sa) => {
                sa.handle_datagram(cx, path, datagram);
                sa.alive()
            }
            Sa::Closed(mut sa) => {
                sa.handle_datagram(cx, path, datagram);
                Some(Sa::Closed(sa))
            }
        }
    }

    /// Handles the first message of a stranger that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        match self {
            Sa::Responding(sa) => sa.repeat_first(cx, path, datagram),
            Sa::Called(sa) => sa.repeat_first(cx, path, datagram),
            Sa::Initiating(_)
            | Sa::Calling(_)
            | Sa::Hearing(_)
            | Sa::Introducing(_)
            | Sa::Established(_)
            | Sa::Closed(_) => {}
        }
    }

    /// Goes on with what the outside has found out; `None` means that the SA is gone.
    pub(crate) fn handle_answer(self, cx: &mut Context, query: QueryId, answer: Answer) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_answer(cx, query, answer),
            Sa::Responding(sa) => sa.handle_answer(cx, query, answer),
            Sa::Calling(sa) => sa.handle_answer(cx, query, answer),
            Sa::Called(sa) => sa.handle_answer(cx, query, answer),
            Sa::Hearing(sa) => sa.handle_answer(cx, query, answer),
            other @ (Sa::Introducing(_) | Sa::Established(_) | Sa::Closed(_)) => Some(other),
        }
    }

    /// Does what is due; `None` means that the SA is gone.
    pub(crate) fn handle_timeout(self, cx: &mut Context) -> Option<Sa> {
        match self {
            Sa::Initiating(sa) => sa.handle_timeout(cx),
            Sa::Responding(sa) => sa.handle_timeout(cx),
            Sa::Calling(sa) => sa.handle_timeout(cx),
            Sa::Called(sa) => sa.handle_timeout(cx),
            Sa::Hearing(sa) => sa.handle_timeout(cx),
            Sa::Introducing(sa) => sa.handle_timeout(cx),
            Sa::Established(mut sa) => {
                sa.handle_timeout(cx);
                sa.alive()
            }
            Sa::Closed(mut sa) => (!sa.is_over(cx)).then_some(Sa::Closed(sa)),
        }
    }

    /// Tells when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self, cx: &Context) -> Option<(Instant, TimeoutReason)> {
        match self {
            Sa::Initiating(sa) => Some(sa.deadline()),
            Sa::Responding(sa) => Some(sa.deadline()),
            Sa::Calling(sa) => Some(sa.deadline()),
            Sa::Called(sa) => Some(sa.deadline()),
            Sa::Hearing(sa) => Some(sa.deadline()),
            Sa::Introducing(sa) => Some(sa.deadline()),
            Sa::Established(sa) => sa.next_timeout(cx),
            Sa::Closed(sa) => Some(sa.deadline()),
        }
    }

    /// Gives the snapshot for people; half-open and closed SAs are nobody's yet or any more.
    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        match self {
            Sa::Initiating(sa) => Some(sa.status()),
            Sa::Calling(sa) => Some(sa.status()),
            Sa::Introducing(sa) => sa.status(),
            Sa::Established(sa) => Some(sa.status()),
            Sa::Responding(_) | Sa::Called(_) | Sa::Hearing(_) | Sa::Closed(_) => None,
        }
    }

    /// Gives our SPI.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self {
            Sa::Initiating(sa) => sa.our_spi(),
            Sa::Responding(sa) => sa.our_spi(),
            Sa::Calling(sa) => sa.our_spi(),
            Sa::Called(sa) => sa.our_spi(),
            Sa::Hearing(sa) => sa.our_spi(),
            Sa::Introducing(sa) => sa.our_spi(),
            Sa::Established(sa) => sa.channel.our_spi(),
            Sa::Closed(sa) => sa.our_spi(),
        }
    }

    /// Gives the address of somebody who has not proven who he is.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        match self {
            Sa::Responding(sa) => Some(sa.address()),
            Sa::Called(sa) => Some(sa.address()),
            Sa::Hearing(sa) => Some(sa.address()),
            Sa::Introducing(sa) => sa.stranger(),
            Sa::Initiating(_) | Sa::Calling(_) | Sa::Established(_) | Sa::Closed(_) => None,
        }
    }

    /// Tells of such a one whether the peer may have the ISAKMP SA already: in aggressive mode with message 2, so from the first
    /// message on; in main mode not before it has sent message 3, which only somebody who is where it says can.
    pub(crate) fn is_arriving(&self) -> bool {
        match self {
            Sa::Responding(sa) => sa.is_arriving(),
            Sa::Called(_) | Sa::Introducing(_) => true,
            Sa::Hearing(_) | Sa::Initiating(_) | Sa::Calling(_) | Sa::Established(_) | Sa::Closed(_) => false,
        }
    }

    /// Gives the initiation of ours that it is to serve once it is up.
    pub(crate) fn initiation(&mut self) -> Option<&mut Initiation> {
        match self {
            Sa::Initiating(sa) => Some(sa.initiation()),
            Sa::Calling(sa) => Some(sa.initiation()),
            Sa::Introducing(sa) => sa.initiation(),
            Sa::Responding(_) | Sa::Called(_) | Sa::Hearing(_) | Sa::Established(_) | Sa::Closed(_) => None,
        }
    }

    /// Gives the same up, with the path; any other SA stays what it is.
    pub(crate) fn into_initiation(self) -> Result<(Initiation, Path), Sa> {
        match self {
            Sa::Initiating(sa) => Ok(sa.into_initiation()),
            Sa::Calling(sa) => Ok(sa.into_initiation()),
            Sa::Introducing(sa) => sa.into_initiation(),
            other @ (Sa::Responding(_)
            | Sa::Called(_)
            | Sa::Hearing(_)
            | Sa::Established(_)
            | Sa::Closed(_)) => Err(other),
        }
    }

    /// Gives it if its ends are authenticated.
    pub(crate) fn established(&self) -> Option<&dyn Established> {
        match self {
            Sa::Established(sa) => Some(&**sa),
            Sa::Initiating(_)
            | Sa::Responding(_)
            | Sa::Calling(_)
            | Sa::Called(_)
            | Sa::Hearing(_)
            | Sa::Introducing(_)
            | Sa::Closed(_) => None,
        }
    }

    /// Gives it to be acted on if its ends are authenticated.
    pub(crate) fn established_mut(&mut self) -> Option<&mut dyn Established> {
        match self {
            Sa::Established(sa) => Some(&mut **sa),
            Sa::Initiating(_)
            | Sa::Responding(_)
            | Sa::Calling(_)
            | Sa::Called(_)
            | Sa::Hearing(_)
            | Sa::Introducing(_)
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
