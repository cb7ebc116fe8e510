//! Which connection an initiator means: the one whose identities it names.

use std::sync::Arc;

use wire::isakmp::Version;
use wire::registry::NotifyType;

use super::HalfOpen;
use crate::context::Context;
use crate::error::Error;
use crate::v2::contents::Contents;
use crate::v2::ike_sa_init::allows;
use crate::{Connection, Identity};

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
        self.find_connection(cx, &remote, wanted.as_ref(), follows)
    }

    fn find_connection(
        &self,
        cx: &Context,
        remote: &Identity,
        wanted: Option<&Identity>,
        another_follows: bool,
    ) -> Result<Arc<Connection>, Error> {
        let path = self.channel.path;
        let fitting = cx.connections_for(path, Version::V2).into_iter().filter(|connection| {
            let is_wanted = wanted.is_none_or(|wanted| *wanted == connection.own_identity(path));
            is_wanted && allows(&connection.proposals, &self.channel.suite)
        });
        // connections_for gives the best path first: of equal identities the first wins.
        let matching = fitting.filter(|connection| connection.remote_identity.matches(remote)).enumerate();
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
                "the peer is {remote} and asks for {wanted}; configured is {}",
                known.join(", ")
            ))
        })
    }
}
