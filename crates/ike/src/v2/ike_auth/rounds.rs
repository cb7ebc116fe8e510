//! Several identities of one end, proven one after the other (RFC 4739).
//!
//! ```text
//!   IKE_SA_INIT                                                           <--  N(MULTIPLE_AUTH_SUPPORTED)
//!   SK { IDi, AUTH, …, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS) }  -->
//!                                                                         <--  SK { IDr, AUTH [, N(ANOTHER_AUTH_FOLLOWS)] }
//!   SK { [IDi, AUTH] }                                                    -->
//!                                                                         <--  SK { [IDr, AUTH,] SAr2, TSi, TSr }
//! ```
//!
//! Each AUTH signs what the first does, with the identity beside it. Both ends must say as often as is configured that another
//! follows; the Child SA comes with the last response.

use wire::registry::NotifyType;
use wire::v2::{Notify, Payload};

use crate::Connection;
use crate::authentication::PeerAuthenticated;
use crate::authentication::v2::PeerAbilities;
use crate::error::Error;
use crate::v2::contents::Contents;

/// Whether an end proves another identity after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Another,
    Nothing,
}

/// How far both ends have come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Proofs that we have given.
    pub ours: usize,
    /// Proofs that the peer has given.
    pub theirs: usize,
    /// Whether the peer has yet to give one.
    pub expected: Follows,
}

impl Progress {
    /// Nobody has proven anything yet.
    pub(crate) fn none() -> Progress {
        Progress { ours: 0, theirs: 0, expected: Follows::Another }
    }

    /// Tells whether both ends have nothing more to prove.
    pub(crate) fn is_over(&self, connection: &Connection) -> bool {
        self.expected == Follows::Nothing && self.ours >= connection.own_rounds()
    }

    /// Tells whether that is so once we have given the proof that is next.
    pub(crate) fn is_over_after_ours(&self, connection: &Connection) -> bool {
        self.expected == Follows::Nothing && self.ours + 1 >= connection.own_rounds()
    }

    /// Takes note of a proof of the peer's, in a message that says whether another follows; `before` is what it proved
    /// in the rounds before.
    ///
    /// # Errors
    /// As many identities as it wants to prove are not configured.
    pub(crate) fn proven(
        &mut self,
        connection: &Connection,
        before: Option<PeerAuthenticated>,
        peer: PeerAuthenticated,
        contents: &Contents,
    ) -> Result<PeerAuthenticated, Error> {
        self.theirs += 1;
        let (proven, configured) = (self.theirs, connection.peer_rounds());
        let remote = peer.remote().clone();
        let sentence = match contents.notify(NotifyType::ANOTHER_AUTH_FOLLOWS) {
            Some(_) if proven >= configured => {
                format!("{remote} wants to prove another identity after {proven}; configured is {configured}")
            }
            None if proven < configured => {
                format!("{remote} proves {proven} of the {configured} identities that are configured for it")
            }
            Some(_) => {
                self.expected = Follows::Another;
                return Ok(peer.after(before));
            }
            None => {
                self.expected = Follows::Nothing;
                return Ok(peer.after(before));
            }
        };
        Err(Error::AuthenticationFailed(sentence))
    }

    /// Says with a proof of ours that another follows, if one does.
    pub(crate) fn announcement(&self, connection: &Connection) -> Option<Payload> {
        (self.ours + 1 < connection.own_rounds())
            .then(|| Payload::Notify(Notify::new(NotifyType::ANOTHER_AUTH_FOLLOWS, [])))
    }
}

/// Says that we take several rounds.
pub(crate) fn support() -> Payload {
    Payload::Notify(Notify::new(NotifyType::MULTIPLE_AUTH_SUPPORTED, []))
}

/// Checks that a peer which is to see several proofs of ours, or to give some, knows how.
pub(super) fn check_peer(connection: &Connection, abilities: &PeerAbilities) -> Result<(), Error> {
    let (ours, theirs) = (connection.own_rounds(), connection.peer_rounds());
    if (ours > 1 || theirs > 1) && !abilities.takes_rounds {
        return Err(Error::AuthenticationFailed(format!(
            "the peer knows one round of authentication only; configured are {ours} here and {theirs} of the peer"
        )));
    }
    Ok(())
}
