//! Where the peer of a main mode says who it is: with its proof, or before, where its half of the key exchange is encrypted.

use std::sync::Arc;

use wire::v1::Payload;

use super::state::Awaiting;
use crate::authentication::v1::{Belief, Transcript};
use crate::context::Context;
use crate::error::Error;
use crate::io::Path;
use crate::v1::contents::Contents;
use crate::v1::negotiation::ChosenPhase1;
use crate::v1::phase_1::{find_connection, identification_of, identity_of};
use crate::v1::public_key_encryption::Addressee;
use crate::{Connection, Identity, Role};

/// Where the peer says who it is.
pub(super) enum Introduction {
    /// In its last message.
    WithProof,
    /// Before, in its half of the key exchange, which was encrypted.
    WithKey(Box<Introduced>),
}

/// Who the peer says it is, under which connection, and to whom we encrypt in turn.
pub(super) struct Introduced {
    pub(super) connection: Arc<Connection>,
    /// The body of its ID payload.
    pub(super) body: Vec<u8>,
    pub(super) addressee: Addressee,
}

impl Introduction {
    /// Says who we are in our last message, unless we have said so before.
    pub(super) fn ours(&self, local: &Identity) -> Vec<Payload> {
        match self {
            Introduction::WithProof => vec![Payload::Identification(identification_of(local))],
            Introduction::WithKey(_) => Vec::new(),
        }
    }

    /// Checks message 6.
    pub(super) fn judge_responder(
        &self,
        connection: &Arc<Connection>,
        transcript: &Transcript,
        local: &Identity,
        contents: &Contents<'_>,
    ) -> Result<Belief, Error> {
        if let Introduction::WithKey(introduced) = self {
            return introduced.judge(transcript, Role::Initiator, local, contents);
        }
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        transcript.judge(Role::Initiator, connection, local, (&remote, body), contents)
    }
}

impl Awaiting {
    /// Checks message 5, and finds the connection that the initiator comes under.
    pub(super) fn judge_initiator(
        &self,
        cx: &Context,
        path: Path,
        chosen: &ChosenPhase1,
        contents: &Contents<'_>,
    ) -> Result<(Arc<Connection>, Belief), Error> {
        match &self.introduction {
            Introduction::WithKey(introduced) => {
                let connection = Arc::clone(&introduced.connection);
                let local = connection.own_identity(path);
                let belief = introduced.judge(&self.transcript, Role::Responder, &local, contents)?;
                Ok((connection, belief))
            }
            Introduction::WithProof => {
                let (identification, body) = contents.identification()?;
                let remote = identity_of(identification);
                let has_key = |connection: &Connection| self.is_key_of(cx, connection, path, &remote);
                let connection = find_connection(cx, path, &remote, chosen, has_key)?;
                let local = connection.own_identity(path);
                let theirs = (&remote, body);
                let belief = self.transcript.judge(Role::Responder, &connection, &local, theirs, contents)?;
                Ok((connection, belief))
            }
        }
    }
}

impl Introduced {
    /// Checks the proof of whoever has said before who it is.
    fn judge(
        &self,
        transcript: &Transcript,
        our_role: Role,
        local: &Identity,
        contents: &Contents<'_>,
    ) -> Result<Belief, Error> {
        let theirs = (&self.addressee.identity, self.body.as_slice());
        Ok(match transcript.judge(our_role, &self.connection, local, theirs, contents)? {
            Belief::Proven(peer) => Belief::Proven(peer.within(self.addressee.addresses.clone())),
            depends @ Belief::Depends(..) => depends,
        })
    }
}
