//! From a tree to connections and secrets: what the values mean together.

use std::time::Duration;

use sa::{Identity, IdentityPattern, Proposal, ProposalProtocol};
use vici::{Span, Tree};

use crate::algorithm;
use crate::audit::audit;
use crate::child::{Child, StartAction, Treatment, Volume};
use crate::connection::{Authentication, Connection, Lifetimes, Method, WeakAlgorithms};
use crate::fault::Faults;
use crate::limits::SHORT_SECRET_LEN;
use crate::reader::Reader;
use crate::schema::{Key, ListKey, OptionalKey, Row};
use crate::secret::SharedSecret;
use crate::table::authentication::{LOCAL_AUTH, LOCAL_ID, REMOTE_AUTH, REMOTE_ID};
use crate::table::child::*;
use crate::table::connection::*;
use crate::table::credentials::{SECRET_ID, SECRET_VALUE};
use crate::{Config, Selector};

/// Reads a whole configuration. What has an error is left out.
pub(crate) fn config(tree: &Tree, faults: &Faults<'_>) -> Config {
    let root = Reader { tree, path: String::new(), span: Span::NOWHERE, faults };
    let inside = |name: &str, prefix: &str| -> Vec<Reader<'_>> {
        let named = root.sections(name).into_iter().filter(|section| section.path == name);
        named.flat_map(|section| section.sections(prefix)).collect()
    };
    Config {
        connections: inside("connections", "").iter().filter_map(connection).collect(),
        secrets: inside("secrets", "ike").iter().filter_map(shared_secret).collect(),
    }
}

/// Holds one connection against the table and reads it.
pub(crate) fn audited_connection(reader: &Reader<'_>) -> Option<Connection> {
    audit(reader, &CONNECTION);
    connection(reader)
}

fn connection(reader: &Reader<'_>) -> Option<Connection> {
    reader.one(&SPOKEN);
    let weak = reader.one(&ALLOW_WEAK);
    let connection = Connection {
        name: reader.name().to_owned(),
        local_addresses: reader.many(&LOCAL_ADDRS),
        remote_addresses: reader.many(&REMOTE_ADDRS),
        remote_port: reader.one(&REMOTE_PORT),
        local_identity: local_identity(reader),
        remote_identity: remote_identity(reader),
        authentication: Authentication::PreSharedKey,
        proposals: proposals(reader, &PROPOSALS, ProposalProtocol::Ike, weak),
        encap: reader.one(&ENCAPSULATION),
        fragmentation: reader.one(&FRAGMENTED),
        unique: reader.one(&UNIQUENESS),
        keying_tries: reader.one(&KEYINGTRIES),
        dpd_delay: reader.one(&DPD_DELAY),
        lifetimes: ike_lifetimes(reader),
        children: children(reader, weak),
        span: reader.span,
    };
    check_reach(reader, &connection);
    (!reader.faults.has_error_in(&reader.path)).then_some(connection)
}

fn local_identity(connection: &Reader<'_>) -> Option<Identity> {
    let round = only_round(connection, "local")?;
    check_method(&round, &LOCAL_AUTH.row, round.one(&LOCAL_AUTH));
    match round.maybe(&LOCAL_ID)? {
        IdentityPattern::Any => None,
        IdentityPattern::Exact(identity) => Some(identity),
        pattern => {
            round.error(&LOCAL_ID.row, format!("`{pattern}` stands for many, but we can be only one"), "");
            None
        }
    }
}

fn remote_identity(connection: &Reader<'_>) -> IdentityPattern {
    let Some(round) = only_round(connection, "remote") else { return IdentityPattern::Any };
    check_method(&round, &REMOTE_AUTH.row, round.one(&REMOTE_AUTH));
    round.one(&REMOTE_ID)
}

/// Finds the one section that says how an end authenticates.
fn only_round<'a>(connection: &Reader<'a>, end: &str) -> Option<Reader<'a>> {
    let rounds = connection.sections(end);
    if let Some(second) = rounds.get(1) {
        second.section_error("a second round of authentication (RFC 4739) is not supported yet", "");
    }
    if rounds.is_empty() {
        connection.section_error(
            format!("`{}` does not say how its {end} end authenticates", connection.name()),
            format!("add `{end} {{ auth = psk }}`"),
        );
    }
    rounds.into_iter().next()
}

fn check_method(round: &Reader<'_>, row: &Row, method: Method) {
    let name = match method {
        Method::PreSharedKey => return,
        Method::Certificate => "certificates are",
        Method::Eap => "EAP is",
        Method::Xauth => "XAuth is",
    };
    let message = if round.has(row) {
        format!("{name} not supported yet")
    } else {
        format!("`{}` without `auth` means pubkey, and {name} not supported yet", round.name())
    };
    round.error(row, message, "write `auth = psk`");
}

/// Reads proposals; each faulty one is complained about where it stands.
fn proposals(
    reader: &Reader<'_>,
    key: &ListKey<String>,
    protocol: ProposalProtocol,
    weak: WeakAlgorithms,
) -> Vec<Proposal> {
    let mut proposals: Vec<Proposal> = Vec::new();
    for item in reader.items(key) {
        match algorithm::proposals(protocol, &item.text, weak) {
            Ok(read) if read.iter().all(|proposal| proposals.contains(proposal)) => {
                let message = format!("`{}` says nothing that was not said before", item.text);
                reader.faults.warning(item.span, &reader.key(key.row.name), message, "");
            }
            Ok(read) => proposals.extend(read),
            Err(fault) => reader.unreadable(item.span, &key.row, fault),
        }
    }
    proposals
}

fn ike_lifetimes(reader: &Reader<'_>) -> Lifetimes {
    let rekey = reader.one(&REKEY_TIME);
    let over = reader.maybe(&OVER_TIME).unwrap_or(rekey / 10);
    let rand = reader.maybe(&RAND_TIME);
    let life = if rekey.is_zero() { Duration::ZERO } else { rekey + over };
    if !rekey.is_zero() && rand.is_some_and(|rand| rand >= rekey) {
        leaves_nothing(reader, &RAND_TIME.row, &REKEY_TIME.row);
    }
    Lifetimes { rekey, rand: rand.unwrap_or(over.min(rekey / 10)).min(rekey), life }
}

/// Complains about a random part that may be all of what it is taken off.
fn leaves_nothing(reader: &Reader<'_>, rand: &Row, rekey: &Row) {
    let message =
        format!("`{}` may leave nothing of `{}`: keys would be renewed at once", rand.name, rekey.name);
    reader.error(rand, message, format!("make it smaller than `{}`", rekey.name));
}

fn children(connection: &Reader<'_>, weak: WeakAlgorithms) -> Vec<Child> {
    let sections = connection.sections("children");
    let sections = sections.iter().filter(|section| section.name() == "children");
    let children: Vec<Child> =
        sections.flat_map(|section| section.sections("")).map(|reader| child(&reader, weak)).collect();
    if children.is_empty() {
        let message = format!("`{}` has no children, so it protects nothing", connection.name());
        connection.faults.warning(connection.span, &connection.path, message, "add `children { … }`");
    }
    children
}

fn child(reader: &Reader<'_>, weak: WeakAlgorithms) -> Child {
    let child = Child {
        name: reader.name().to_owned(),
        treatment: reader.one(&MODE),
        local_selectors: reader.many(&LOCAL_TS),
        remote_selectors: reader.many(&REMOTE_TS),
        proposals: proposals(reader, &ESP_PROPOSALS, ProposalProtocol::Esp, weak),
        lifetimes: child_lifetimes(reader),
        bytes: volume(reader, &REKEY_BYTES, &LIFE_BYTES, &RAND_BYTES),
        packets: volume(reader, &REKEY_PACKETS, &LIFE_PACKETS, &RAND_PACKETS),
        replay_window: reader.one(&WINDOW),
        priority: reader.one(&PRIORITY),
        start_action: reader.one(&ON_START),
        close_action: reader.one(&ON_CLOSE),
        dpd_action: reader.one(&ON_DEATH),
        span: reader.span,
    };
    check_shunt(reader, &child);
    check_families(reader, &child);
    child
}

fn child_lifetimes(reader: &Reader<'_>) -> Lifetimes {
    let rekey = reader.one(&CHILD_REKEY_TIME);
    let life = reader.maybe(&LIFE_TIME).unwrap_or(rekey + rekey / 10);
    let rand = reader.maybe(&CHILD_RAND_TIME);
    if !rekey.is_zero() && !life.is_zero() && life <= rekey {
        ends_too_early(reader, &LIFE_TIME.row, &CHILD_REKEY_TIME.row);
    }
    if !rekey.is_zero() && rand.is_some_and(|rand| rand >= rekey) {
        leaves_nothing(reader, &CHILD_RAND_TIME.row, &CHILD_REKEY_TIME.row);
    }
    Lifetimes { rekey, rand: rand.unwrap_or(life.saturating_sub(rekey)).min(rekey), life }
}

fn volume(
    reader: &Reader<'_>,
    rekey_key: &Key<u64>,
    life_key: &OptionalKey<u64>,
    rand_key: &OptionalKey<u64>,
) -> Volume {
    let rekey = reader.one(rekey_key);
    let life = reader.maybe(life_key).unwrap_or(rekey.saturating_add(rekey / 10));
    let rand = reader.maybe(rand_key);
    if rekey > 0 && life > 0 && life <= rekey {
        ends_too_early(reader, &life_key.row, &rekey_key.row);
    }
    if rekey > 0 && rand.is_some_and(|rand| rand >= rekey) {
        leaves_nothing(reader, &rand_key.row, &rekey_key.row);
    }
    Volume { rekey, rand: rand.unwrap_or(life.saturating_sub(rekey)).min(rekey), life }
}

/// Complains about a life that is over before its keys are renewed.
fn ends_too_early(reader: &Reader<'_>, life: &Row, rekey: &Row) {
    let message = format!("`{}` ends the Child SA before `{}` can renew it", life.name, rekey.name);
    reader.error(life, message, format!("make it greater than `{}`", rekey.name));
}

/// A policy without a Child SA has no path whose addresses `dynamic` could stand for.
fn check_shunt(reader: &Reader<'_>, child: &Child) {
    let keyword = match child.treatment {
        Treatment::Protect(_) => return,
        Treatment::Pass => "pass",
        Treatment::Drop => "drop",
    };
    for (key, selectors) in [(&LOCAL_TS, &child.local_selectors), (&REMOTE_TS, &child.remote_selectors)] {
        if selectors.iter().any(|selector| matches!(selector, Selector::Dynamic(..))) {
            let message = format!("`dynamic` stands for no address in a child with `mode = {keyword}`");
            reader.error(&key.row, message, format!("write addresses as `{}`", key.row.name));
        }
    }
}

/// A selector without a counterpart of its family selects nothing (RFC 7296 §2.9).
fn check_families(reader: &Reader<'_>, child: &Child) {
    let lacks_counterpart = |selector: &Selector, others: &[Selector]| {
        selector.family().is_some_and(|family| {
            others.iter().all(|other| other.family().is_some_and(|other_family| other_family != family))
        })
    };
    let (local, remote) = (&child.local_selectors, &child.remote_selectors);
    if local.iter().all(|selector| lacks_counterpart(selector, remote)) {
        let message = format!("`{}` and `{}` have no address family in common", join(local), join(remote));
        return reader.error(&REMOTE_TS.row, message, "IPv4 goes with IPv4 and IPv6 with IPv6");
    }
    for (key, selectors, others) in [(&LOCAL_TS, local, remote), (&REMOTE_TS, remote, local)] {
        // If one of them could not be read, that is an error already, and the places may not correspond.
        for (selector, item) in selectors.iter().zip(reader.items(key)) {
            if lacks_counterpart(selector, others) {
                let message =
                    format!("`{selector}` has no counterpart of its address family and selects nothing");
                reader.faults.warning(item.span, &reader.key(key.row.name), message, "");
            }
        }
    }
}

fn join(selectors: &[Selector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whoever is to call must know where.
fn check_reach(reader: &Reader<'_>, connection: &Connection) {
    if connection.remote_addresses.iter().any(crate::AddressSpec::is_single) {
        return;
    }
    let calls = |child: &&Child| match (child.treatment, child.start_action) {
        (Treatment::Pass | Treatment::Drop, _) | (_, StartAction::None) => false,
        (_, StartAction::Trap | StartAction::Start | StartAction::TrapAndStart) => true,
    };
    if let Some(child) = connection.children.iter().find(calls) {
        let message = format!(
            "`{}` is to be brought up, but `remote_addrs` names no single address to call",
            child.name
        );
        reader.error(&REMOTE_ADDRS.row, message, "name the peer's address, or leave out `start_action`");
    }
}

fn shared_secret(reader: &Reader<'_>) -> Option<SharedSecret> {
    let owners = reader.family(&SECRET_ID);
    let secret = reader.maybe(&SECRET_VALUE);
    if !reader.has(&SECRET_VALUE.row) {
        reader.section_error(format!("`{}` has no `secret`", reader.name()), "");
    }
    let secret = secret?;
    if secret.len() < SHORT_SECRET_LEN {
        reader.faults.warning(
            reader.place(&SECRET_VALUE.row),
            &reader.key(SECRET_VALUE.row.name),
            format!("a secret of fewer than {SHORT_SECRET_LEN} characters can be found by trying"),
            "`openssl rand -base64 24` makes a good one",
        );
    }
    let shared = SharedSecret { name: reader.name().to_owned(), owners, secret, span: reader.span };
    (!reader.faults.has_error_in(&reader.path)).then_some(shared)
}
