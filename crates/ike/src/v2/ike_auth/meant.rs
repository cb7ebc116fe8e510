//! Which connection an initiator means: the one whose identities it names.

use std::fmt;
use std::sync::Arc;

use wire::isakmp::Version;
use wire::registry::{AuthMethod, NotifyType};

use super::HalfOpen;
use crate::context::Context;
use crate::error::Error;
use crate::v2::contents::Contents;
use crate::v2::ike_sa_init::allows;
use crate::{Connection, Identity};

/// What an initiator says of itself.
enum Claimed<'a> {
    /// Who it is.
    Identity(&'a Identity),
    /// Nothing that it would prove (RFC 7619 §2.4): only a connection that takes anybody is for it, and no other.
    Nothing,
}

impl Claimed<'_> {
    fn fits(&self, connection: &Connection) -> bool {
        match self {
            Claimed::Identity(remote) => {
                !connection.takes_anybody() && connection.remote_identity.matches(remote)
            }
            Claimed::Nothing => connection.takes_anybody(),
        }
    }
}

impl fmt::Display for Claimed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claimed::Identity(remote) => write!(f, "is {remote}"),
            Claimed::Nothing => f.write_str("does not say who it is (NULL authentication)"),
        }
    }
}

impl HalfOpen {
    /// Finds the connection for the identities that the request names.
    pub(super) fn meant_connection(
        &self,
        cx: &Context,
        request: &Contents,
    ) -> Result<Arc<Connection>, Error> {
        let remote = Identity::from_wire(request.identification_initiator()?);
        let wanted = request.optional_identification_responder()?.map(Identity::from_wire);
        let follows = request.notify(NotifyType::ANOTHER_AUTH_FOLLOWS).is_some();
        let proof = request.optional_authentication()?;
        let claim = match proof.is_some_and(|proof| proof.method == AuthMethod::NULL) {
            true => Claimed::Nothing,
            false => Claimed::Identity(&remote),
        };
        self.find_connection(cx, &claim, wanted.as_ref(), follows)
    }

    fn find_connection(
        &self,
        cx: &Context,
        claim: &Claimed<'_>,
        wanted: Option<&Identity>,
        another_follows: bool,
    ) -> Result<Arc<Connection>, Error> {
        let path = self.channel.path;
        let fitting = cx.connections_for(path, Version::V2).into_iter().filter(|connection| {
            let is_wanted = wanted.is_none_or(|wanted| *wanted == connection.own_identity(path));
            is_wanted && allows(&connection.proposals, &self.channel.suite)
        });
        // connections_for gives the best path first: of equal identities the first wins.
        let matching = fitting.filter(|connection| claim.fits(connection)).enumerate();
        let best = matching.max_by_key(|(order, connection)| {
            let has_rounds = (connection.peer_rounds() > 1) == another_follows;
            (has_rounds, connection.remote_identity.specificity(), std::cmp::Reverse(*order))
        });
        best.map(|(_, connection)| connection).ok_or_else(|| {
            let wanted = wanted.map_or_else(|| "anybody".to_owned(), ToString::to_string);
            let known: Vec<_> = cx
                .connections_for(path, Version::V2)
                .iter()
                .map(|connection| {
                    format!(
                        "{} ({} for {})",
                        connection.name,
                        connection.own_identity(path),
                        connection.remote_identity
                    )
                })
                .collect();
            Error::AuthenticationFailed(format!(
                "the peer {claim} and asks for {wanted}; configured is {}",
                known.join(", ")
            ))
        })
    }
}
