//! Faults that no part of a configuration has by itself.

use std::collections::BTreeSet;

use sa::IdentityPattern;

use crate::fault::Faults;
use crate::{Authentication, Child, Config, Connection, PpkNeed, PpkTerms, SecretKind, SharedSecret, Xauth};

/// Complains about parts that do not fit together.
pub(crate) fn check(config: &Config, faults: &Faults<'_>) {
    for (n, connection) in config.connections.iter().enumerate() {
        check_secret(config, connection, faults);
        check_password(config, connection, faults);
        check_ppk(config, connection, faults);
        check_pools(config, connection, faults);
        check_duplicate(&config.connections[..n], connection, faults);
        check_children(connection, faults);
    }
    check_unused_secrets(config, faults);
}

fn check_secret(config: &Config, connection: &Connection, faults: &Faults<'_>) {
    let ours = connection.further_own.iter().map(|round| &round.authentication);
    let theirs = connection.further_peer.iter().map(|round| &round.authentication);
    let ends = [&connection.local_authentication, &connection.remote_authentication];
    if !ends.into_iter().chain(ours).chain(theirs).any(|end| *end == Authentication::PreSharedKey) {
        return;
    }
    let (local, remote) = (connection.local_identity.as_ref(), &connection.remote_identity);
    if config.secrets.iter().any(|secret| secret.could_fit(local, remote)) {
        return;
    }
    let remote = match remote {
        IdentityPattern::Any => "its peer".to_owned(),
        peer => format!("`{peer}`"),
    };
    let message =
        format!("`{}` authenticates by a pre-shared key, but no secret is for {remote}", connection.name);
    let help = "add `ike { secret = … }` to `secrets`, with the peer's identity as `id`";
    faults.error(connection.span, &format!("connections.{}", connection.name), message, help);
}

/// Who begins needs the post-quantum pre-shared key that the connection names.
fn check_ppk(config: &Config, connection: &Connection, faults: &Faults<'_>) {
    let Some(PpkTerms { id, need }) = &connection.ppk else { return };
    let fits = |owner: &IdentityPattern| match owner {
        IdentityPattern::Exact(name) => id.matches(name),
        _ => false,
    };
    let is_it =
        |secret: &&SharedSecret| secret.kind == SecretKind::PostQuantum && secret.owners.iter().any(fits);
    if config.secrets.iter().any(|secret| is_it(&secret)) {
        return;
    }
    let (name, key) = (&connection.name, format!("connections.{}.ppk_id", connection.name));
    let help = "add `ppk { id = …; secret = … }` to `secrets`";
    match need {
        PpkNeed::Required => {
            let message =
                format!("`{name}` requires the post-quantum pre-shared key `{id}`, which is no secret");
            faults.error(connection.span, &key, message, help);
        }
        PpkNeed::Optional => {
            let message =
                format!("`{name}` does without the post-quantum pre-shared key `{id}`, which is no secret");
            faults.warning(connection.span, &key, message, help);
        }
    }
}

/// A pool that a connection names must be there.
fn check_pools(config: &Config, connection: &Connection, faults: &Faults<'_>) {
    let is_missing = |name: &&String| config.pools.iter().all(|pool| pool.name != **name);
    for name in connection.pools.iter().filter(is_missing) {
        let message = format!("`{}` gives addresses out of `{name}`, which is no pool", connection.name);
        let help = format!("add `{name} {{ addrs = … }}` to `pools`");
        faults.error(connection.span, &format!("connections.{}.pools", connection.name), message, help);
    }
}

/// A user of ours must have a password.
fn check_password(config: &Config, connection: &Connection, faults: &Faults<'_>) {
    let Xauth::Ours(user) = &connection.xauth else { return };
    let is_his = |secret: &&SharedSecret| {
        let names_him = |owner: &IdentityPattern| owner.to_string() == *user;
        secret.kind == SecretKind::Password && secret.owners.iter().any(names_him)
    };
    if !config.secrets.iter().any(|secret| is_his(&secret)) {
        let message = format!("`{}` authenticates as user `{user}`, who has no password", connection.name);
        let help = "add `xauth { id = …; secret = … }` to `secrets`";
        faults.error(connection.span, &format!("connections.{}", connection.name), message, help);
    }
}

fn is_anybody(connection: &Connection) -> bool {
    connection.remote_authentication == Authentication::Null
}

fn check_duplicate(earlier: &[Connection], connection: &Connection, faults: &Faults<'_>) {
    let is_same = |other: &&Connection| {
        other.local_addresses == connection.local_addresses
            && other.remote_addresses == connection.remote_addresses
            && other.local_identity == connection.local_identity
            && other.remote_identity == connection.remote_identity
            && other.xauth == connection.xauth
            && is_anybody(other) == is_anybody(connection)
    };
    if let Some(other) = earlier.iter().find(is_same) {
        let message = format!(
            "`{}` has the same addresses and identities as `{}`, which comes first: no request will choose it",
            connection.name, other.name
        );
        let help = "put its children into the other connection";
        faults.warning(connection.span, &format!("connections.{}", connection.name), message, help);
    }
}

fn check_children(connection: &Connection, faults: &Faults<'_>) {
    for (n, child) in connection.children.iter().enumerate() {
        let is_same = |other: &&Child| {
            other.local_selectors == child.local_selectors && other.remote_selectors == child.remote_selectors
        };
        if let Some(other) = connection.children[..n].iter().find(is_same) {
            let message =
                format!("`{}` has the same traffic as `{}`, which comes first", child.name, other.name);
            let key = format!("connections.{}.children.{}", connection.name, child.name);
            faults.warning(child.span, &key, message, "");
        }
    }
}

/// A secret whose owners no connection names is likely mistyped.
fn check_unused_secrets(config: &Config, faults: &Faults<'_>) {
    let mut names = BTreeSet::new();
    for secret in &config.secrets {
        let is_for = |connection: &Connection| {
            secret.could_fit(connection.local_identity.as_ref(), &connection.remote_identity)
        };
        if secret.kind == SecretKind::PreSharedKey
            && names.insert(&secret.name)
            && !config.connections.iter().any(is_for)
            && !config.connections.is_empty()
        {
            let message = format!("no connection uses the secret `{}`", secret.name);
            faults.warning(secret.span, &format!("secrets.{}", secret.name), message, "");
        }
    }
}
