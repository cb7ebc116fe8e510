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

/// Gives all keys under which message 5 of whoever is at an address may be written, the likeliest first. Each is looked for
/// only when it is asked for.
pub(crate) fn at_address<'a>(
    cx: &'a Context,
    path: Path,
    chosen: &'a ChosenPhase1,
) -> impl Iterator<Item = &'a Secret<Vec<u8>>> {
    let (fitting, _) = connections_for(cx, path, Phase1Mode::Main);
    let fitting = fitting.into_iter().filter(move |connection| is_for(cx, connection, chosen));
    candidates(cx, path, fitting).map(|(_, secret)| secret)
}

/// Gives the keys of these connections' peers, each once and with the first of the connections that it serves.
pub(super) fn candidates<'a>(
    cx: &'a Context,
    path: Path,
    fitting: impl Iterator<Item = Arc<Connection>>,
) -> impl Iterator<Item = (Arc<Connection>, &'a Secret<Vec<u8>>)> {
    let mut given: Vec<&Secret<Vec<u8>>> = Vec::new();
    let is_new = move |(_, secret): &(Arc<Connection>, &'a Secret<Vec<u8>>)| {
        let is_new = !given.iter().any(|other| other.ct_eq(secret.as_slice()));
        if is_new {
            given.push(secret);
        }
        is_new
    };
    let keys = fitting.flat_map(move |connection| keys_of(cx, path, connection));
    keys.filter(is_new).take(limits::PRE_SHARED_KEYS_TRIED)
}

/// Gives the keys of a connection's peers, the likeliest first.
fn keys_of(
    cx: &Context,
    path: Path,
    connection: Arc<Connection>,
) -> impl Iterator<Item = (Arc<Connection>, &Secret<Vec<u8>>)> {
    let own = connection.own_identity(path);
    let likely = [connection.expected_identity(path), Identity::from(path.remote.ip())];
    let others = possible(cx, own.clone(), Arc::clone(&connection));
    let likely = likely.into_iter().filter_map(move |remote| cx.shared_secret(&own, &remote));
    likely.chain(others).map(move |secret| (Arc::clone(&connection), secret))
}

/// Gives the keys that somebody may have whom a connection is for.
fn possible(
    cx: &Context,
    own: Identity,
    connection: Arc<Connection>,
) -> impl Iterator<Item = &Secret<Vec<u8>>> {
    let fits = move |shared: &&SharedSecret| {
        let wanted = &connection.remote_identity;
        let is_other =
            |owner: &&IdentityPattern| !matches!(owner, IdentityPattern::Exact(name) if *name == own);
        let is_wanted = |owner: &IdentityPattern| match (owner, wanted) {
            (IdentityPattern::Exact(identity), _) => wanted.matches(identity),
            (_, IdentityPattern::Exact(identity)) => owner.matches(identity),
            // Whether anybody is in both, the peer's identity will tell.
            (_, _) => true,
        };
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
