//! Whose pre-shared key it is: the responder of main mode makes keys of it before it is told who asks (RFC 2409 §5.4).
//!
//! ```text
//!   message 3   the address           ─► the key that is most likely meant
//!   message 5   the other keys that the address allows, one after the other, until one reads the message and proves it
//!               the identity in it    ─► the connection, of those for which the identity has this very key
//! ```
//!
//! Several peers with keys of their own may come from one address: from behind a NAT, or because a connection is for whoever
//! has a key. What proves that a key is the right one is HASH_I. It does not prove who the peer is: whoever has a key could
//! say that it is somebody else. So the key must be the one that the identity has, too.

use std::sync::Arc;

use crypto::Secret;

use super::{ChosenPhase1, connections_for, is_for};
use crate::context::Context;
use crate::error::Error;
use crate::io::Path;
use crate::status::Phase1Mode;
use crate::v1::method::{Keying, Method};
use crate::{Connection, Identity, IdentityPattern, SharedSecret, limits};

/// Gives all keys under which message 5 of whoever is at an address may be written, the likeliest first.
pub(crate) fn at_address(cx: &Context, path: Path, chosen: &ChosenPhase1) -> Vec<Secret<Vec<u8>>> {
    let (fitting, _) = connections_for(cx, path, Phase1Mode::Main);
    let fitting = fitting.into_iter().filter(|connection| is_for(cx, connection, chosen));
    candidates(cx, path, fitting).into_iter().map(|(_, secret)| secret.clone()).collect()
}

/// Gives the keys of these connections' peers, each once and with the first of the connections that it serves.
pub(super) fn candidates(
    cx: &Context,
    path: Path,
    fitting: impl Iterator<Item = Arc<Connection>>,
) -> Vec<(Arc<Connection>, &Secret<Vec<u8>>)> {
    let mut candidates: Vec<(Arc<Connection>, &Secret<Vec<u8>>)> = Vec::new();
    for connection in fitting {
        let own = connection.own_identity(path);
        let expected = connection.expected_identity(path);
        let likely = [expected, Identity::from(path.remote.ip())];
        let likely = likely.into_iter().filter_map(|remote| cx.shared_secret(&own, &remote));
        for secret in likely.chain(possible(cx, &own, &connection.remote_identity)) {
            let is_new = !candidates.iter().any(|(_, other)| other.ct_eq(secret.as_slice()));
            if is_new && candidates.len() < limits::PRE_SHARED_KEYS_TRIED {
                candidates.push((Arc::clone(&connection), secret));
            }
        }
    }
    candidates
}

/// Gives the keys that somebody may have whom a connection is for.
fn possible<'a>(
    cx: &'a Context,
    own: &Identity,
    wanted: &IdentityPattern,
) -> impl Iterator<Item = &'a Secret<Vec<u8>>> {
    let is_other =
        move |owner: &&IdentityPattern| !matches!(owner, IdentityPattern::Exact(name) if name == own);
    let is_wanted = move |owner: &IdentityPattern| match (owner, wanted) {
        (IdentityPattern::Exact(identity), _) => wanted.matches(identity),
        (_, IdentityPattern::Exact(identity)) => owner.matches(identity),
        // Whether anybody is in both, the peer's identity will tell.
        (_, _) => true,
    };
    let fits = move |shared: &&SharedSecret| {
        let mut others = shared.owners.iter().filter(is_other).peekable();
        others.peek().is_none() || others.any(is_wanted)
    };
    cx.pre_shared_keys().filter(fits).map(|shared| &shared.secret)
}

/// Gives the keys that a peer of this identity may have under a connection; at most two.
pub(crate) fn of_identity<'a>(
    cx: &'a Context,
    connection: &Connection,
    path: Path,
    remote: &Identity,
) -> impl Iterator<Item = &'a Secret<Vec<u8>>> {
    let own = connection.own_identity(path);
    let by_identity = cx.best_secret(&own, remote);
    let by_address = cx.best_secret(&own, &Identity::from(path.remote.ip()));
    let by_address = by_address.filter(|(fit, _)| match (&connection.remote_identity, by_identity) {
        (_, None) => true,
        (IdentityPattern::Exact(_), Some(_)) => false,
        // A key that names the address is meant for whoever is there, rather than one for anybody.
        (_, Some((other, _))) => *fit > other,
    });
    by_identity.into_iter().chain(by_address).map(|(_, secret)| secret)
}

/// Finds the key of two ends of which both are known, where a method wants one.
pub(crate) fn find(
    cx: &Context,
    method: &Method,
    local: &Identity,
    remote: &Identity,
) -> Result<Option<Secret<Vec<u8>>>, Error> {
    match method.keying() {
        Keying::PreSharedKey => {}
        Keying::Signature | Keying::Encryption => return Ok(None),
    }
    cx.shared_secret(local, remote)
        .cloned()
        .map(Some)
        .ok_or_else(|| Error::Local(format!("no pre-shared key is configured for {local} and {remote}")))
}
