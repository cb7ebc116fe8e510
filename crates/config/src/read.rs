//! From a tree to connections, secrets and manually keyed SAs: what the values mean together.

mod anonymous;
mod authentication;
mod interface;
mod manual_keying;
mod materials;
mod pool;
mod script;
mod version_1;

use std::time::Duration;

use crypto::Secret;
use sa::{CertificateExchange, FlowPadding, IdentityPattern, Mode, Proposal, ProposalProtocol};
use vici::{Span, Tree};

use crate::algorithm;
use crate::audit::audit;
use crate::charon::AggressiveSecrets;
use crate::child::{Bundle, Child, StartAction, Treatment, Volume};
use crate::connection::{Connection, Lifetimes, Versions, WeakAlgorithms};
use crate::fault::Faults;
use crate::handling::Handling;
use crate::limits::{SHORT_PPK_LEN, SHORT_SECRET_LEN};
use crate::material::Folders;
use crate::reader::Reader;
use crate::schema::{Key, ListKey, OptionalKey, Row};
use crate::secret::{SecretKind, SharedSecret};
use crate::table::child::*;
use crate::table::connection::*;
use crate::table::credentials::{PPK_VALUE, SECRET_ID, SECRET_VALUE};
use crate::table::handling::*;
use crate::{Config, Selector};
use materials::inside;
pub(crate) use pool::audited_pool;

/// Reads a whole configuration. What has an error is left out.
pub(crate) fn config(
    tree: &Tree,
    faults: &Faults<'_>,
    folders: &dyn Folders,
    consent: AggressiveSecrets,
) -> Config {
    let root = Reader { tree, path: String::new(), span: Span::NOWHERE, faults, folders, consent };
    Config {
        connections: inside(&root, "connections", "").iter().filter_map(connection).collect(),
        secrets: ["ike", "xauth", "ppk"]
            .into_iter()
            .flat_map(|kind| inside(&root, "secrets", kind))
            .filter_map(|secret| shared_secret(&secret))
            .collect(),
        pools: inside(&root, "pools", "").iter().filter_map(pool::pool).collect(),
        manual: inside(&root, "manual", "").iter().filter_map(manual_keying::manual_sa).collect(),
        materials: materials::all(&root),
    }
}

/// Holds one connection against the table and reads it.
pub(crate) fn audited_connection(reader: &Reader<'_>) -> Option<Connection> {
    audit(reader, &CONNECTION);
    connection(reader)
}

fn connection(reader: &Reader<'_>) -> Option<Connection> {
    let versions = reader.one(&SPOKEN);
    let weak = reader.one(&ALLOW_WEAK);
    let (local, further_own) = authentication::local(reader, weak);
    let (remote, further_peer) = authentication::remote(reader, weak);
    let mut connection = Connection {
        name: reader.name().to_owned(),
        versions,
        phase_1: version_1::phase_1(reader, versions, weak, &local.authentication),
        local_addresses: reader.many(&LOCAL_ADDRS),
        remote_addresses: reader.many(&REMOTE_ADDRS),
        remote_port: reader.one(&REMOTE_PORT),
        local_identity: local.identity,
        remote_identity: remote.identity,
        local_authentication: local.authentication,
        remote_authentication: remote.authentication,
        virtual_addresses: reader.many(&VIPS),
        pools: reader.many(&POOLS),
        split_networks: reader.one(&SPLIT_NETWORKS),
        configuration: reader.one(&CONFIGURATION),
        further_own,
        further_peer,
        ppk: authentication::ppk(reader),
        childless: reader.one(&CHILDLESS_START),
        xauth: authentication::xauth(reader, versions),
        certificates: CertificateExchange {
            send: reader.one(&SEND_CERT),
            asks: reader.one(&SEND_CERTREQ),
            ocsp: reader.one(&OCSP),
        },
        own: local.own,
        peer: remote.peer,
        proposals: ike_proposals(reader, versions, weak),
        encap: reader.one(&ENCAPSULATION),
        fragmentation: reader.one(&FRAGMENTED),
        mobike: reader.one(&MOBIKE),
        redirect_to: reader.maybe(&REDIRECT_TO),
        path_mtu_probing: reader.one(&PATH_MTU_PROBING),
        session_resumption: reader.one(&SESSION_RESUMPTION),
        optimized_rekey: reader.one(&OPTIMIZED_REKEY),
        counter_synchronization: reader.one(&COUNTER_SYNCHRONIZATION),
        reauthentication_order: reader.one(&MAKE_BEFORE_BREAK),
        unique: reader.one(&UNIQUENESS),
        keying_tries: reader.one(&KEYINGTRIES),
        dpd_delay: reader.one(&DPD_DELAY),
        lifetimes: ike_lifetimes(reader),
        reauthentication: reauthentication(reader),
        children: children(reader, weak),
        span: reader.span,
    };
    check_reach(reader, &connection);
    version_1::check(reader, &connection);
    version_1::check_encryption(reader, &connection, weak);
    anonymous::check(reader, &mut connection);
    (!reader.faults.has_error_in(&reader.path)).then_some(connection)
}

/// A version 1 of old boxes takes no message as long as our defaults would make it.
fn ike_proposals(reader: &Reader<'_>, versions: Versions, weak: WeakAlgorithms) -> Vec<Proposal> {
    match versions {
        Versions::V1 if !reader.has(&PROPOSALS.row) => Proposal::defaults_of_version_1(),
        Versions::V1 | Versions::V2 | Versions::Either => {
            proposals(reader, &PROPOSALS, ProposalProtocol::Ike, weak)
        }
    }
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
        match algorithm::proposals(protocol, &item.text, weak, "the connection") {
            Ok(read) if read.proposals.iter().all(|proposal| proposals.contains(proposal)) => {
                let message = format!("`{}` says nothing that was not said before", item.text);
                reader.faults.warning(item.span, &reader.key(key.row.name), message, "");
            }
            Ok(read) => {
                for reservation in read.reservations {
                    reader.faults.warning(item.span, &reader.key(key.row.name), reservation, "");
                }
                proposals.extend(read.proposals);
            }
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

fn reauthentication(reader: &Reader<'_>) -> Lifetimes {
    let after = reader.one(&REAUTH_TIME);
    let over = reader.maybe(&OVER_TIME).unwrap_or(after / 10);
    let rand = reader.maybe(&RAND_TIME).unwrap_or(over).min(after / 10);
    let life = if after.is_zero() { Duration::ZERO } else { after + over };
    Lifetimes { rekey: after, rand, life }
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
    let (proposals, wrapping) = child_proposals(reader, weak);
    let child = Child {
        name: reader.name().to_owned(),
        treatment: reader.one(&MODE),
        local_selectors: reader.many(&LOCAL_TS),
        remote_selectors: reader.many(&REMOTE_TS),
        proposals,
        wrapping,
        compress: reader.one(&IPCOMP),
        truncation: reader.one(&SHA256_96),
        lifetimes: child_lifetimes(reader),
        bytes: volume(reader, &REKEY_BYTES, &LIFE_BYTES, &RAND_BYTES),
        packets: volume(reader, &REKEY_PACKETS, &LIFE_PACKETS, &RAND_PACKETS),
        replay_window: reader.one(&WINDOW),
        handling: handling(reader),
        interface: interface::interface(reader),
        inactivity: reader.one(&INACTIVITY),
        priority: reader.one(&PRIORITY),
        script: script::script(reader),
        start_action: reader.one(&ON_START),
        close_action: reader.one(&ON_CLOSE),
        dpd_action: reader.one(&ON_DEATH),
        span: reader.span,
    };
    check_shunt(reader, &child);
    check_mode(reader, &child);
    check_families(reader, &child);
    interface::check(reader, &child.interface, child.treatment);
    child
}

/// Reads what a Child SA may be made of, and AH around it; the default is for ESP, and stands in for neither protocol
/// alone.
fn child_proposals(reader: &Reader<'_>, weak: WeakAlgorithms) -> (Vec<Proposal>, Vec<Proposal>) {
    let (has_ah, has_esp) = (reader.has(&AH_PROPOSALS.row), reader.has(&ESP_PROPOSALS.row));
    let ah = if has_ah { proposals(reader, &AH_PROPOSALS, ProposalProtocol::Ah, weak) } else { Vec::new() };
    match reader.one(&BUNDLE) {
        Bundle::AhAroundEsp => {
            if !has_ah {
                reader.error(&BUNDLE.row, "AH is to go around ESP, and `ah_proposals` is missing", "");
            }
            (proposals(reader, &ESP_PROPOSALS, ProposalProtocol::Esp, weak), ah)
        }
        Bundle::No if !ah.is_empty() && !has_esp => (ah, Vec::new()),
        Bundle::No => {
            let mut both = proposals(reader, &ESP_PROPOSALS, ProposalProtocol::Esp, weak);
            both.extend(ah);
            (both, Vec::new())
        }
    }
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

fn handling(reader: &Reader<'_>) -> Handling {
    Handling {
        dscp: reader.one(&DSCP),
        ecn: reader.one(&ECN),
        dont_fragment: reader.one(&DF),
        fragmenting: reader.one(&FRAGMENTS),
        segment_size: reader.one(&MSS),
        padding: reader.one(&PADDING),
        dummies: reader.one(&DUMMIES),
        mark: reader.one(&SET_MARK),
    }
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

/// Complains about what a mode or AH cannot do.
fn check_mode(reader: &Reader<'_>, child: &Child) {
    let Treatment::Protect(mode) = child.treatment else { return };
    let is_possible =
        |proposal: &Proposal| mode == Mode::Tunnel && proposal.protocol == ProposalProtocol::Esp;
    if child.handling.padding != FlowPadding::None && !child.proposals.iter().any(is_possible) {
        reader.error(
            &PADDING.row,
            "only ESP in tunnel mode can hide the length of packets (RFC 4303 §2.7)",
            "",
        );
    }
    for (key, selectors) in [(&LOCAL_TS, &child.local_selectors), (&REMOTE_TS, &child.remote_selectors)] {
        let is_wide = |selector: &&Selector| match selector {
            Selector::Fixed(selector) => selector.addresses.start() != selector.addresses.end(),
            Selector::Dynamic(..) => false,
        };
        let Some(wide) = selectors.iter().find(is_wide) else { continue };
        match mode {
            Mode::Tunnel => {}
            Mode::Transport => {
                let message =
                    format!("of `{wide}` only the end's own address is carried: this is transport mode");
                let help = "write `dynamic`, perhaps with [protocol/port]";
                reader.faults.warning(reader.place(&key.row), &reader.key(key.row.name), message, help);
            }
            Mode::Beet => reader.error(
                &key.row,
                format!("`{wide}` cannot be carried: BEET mode has one inner address at each end"),
                "write an address, or `mode = tunnel`",
            ),
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

/// Both ends call a post-quantum pre-shared key by its name, and half of its bits are lost to a quantum computer.
fn check_ppk(reader: &Reader<'_>, names: &[IdentityPattern], secret: &Secret<Vec<u8>>) {
    if !names.iter().any(|name| matches!(name, IdentityPattern::Exact(_))) {
        reader.section_error(
            format!("`{}` does not say what both ends call it", reader.name()),
            "add `id = …`",
        );
    }
    if secret.len() < SHORT_PPK_LEN {
        let message = format!(
            "of a key of fewer than {SHORT_PPK_LEN} octets a quantum computer leaves less than 128 bits (RFC 8784 §6)"
        );
        let help = "`openssl rand -base64 32` makes a good one";
        reader.faults.warning(reader.place(&PPK_VALUE.row), &reader.key(PPK_VALUE.row.name), message, help);
    }
}

fn shared_secret(reader: &Reader<'_>) -> Option<SharedSecret> {
    let owners = reader.family(&SECRET_ID);
    let secret = reader.maybe(&SECRET_VALUE);
    if !reader.has(&SECRET_VALUE.row) {
        reader.section_error(format!("`{}` has no `secret`", reader.name()), "");
    }
    let secret = secret?;
    let kind = match reader.name() {
        name if name.starts_with("xauth") => SecretKind::Password,
        name if name.starts_with("ppk") => SecretKind::PostQuantum,
        _ => SecretKind::PreSharedKey,
    };
    if kind == SecretKind::PostQuantum {
        check_ppk(reader, &owners, &secret);
    }
    if kind == SecretKind::Password && owners.is_empty() {
        reader
            .section_error(format!("`{}` does not say whose password it is", reader.name()), "add `id = …`");
    }
    if kind == SecretKind::PreSharedKey && secret.len() < SHORT_SECRET_LEN {
        reader.faults.warning(
            reader.place(&SECRET_VALUE.row),
            &reader.key(SECRET_VALUE.row.name),
            format!("a secret of fewer than {SHORT_SECRET_LEN} characters can be found by trying"),
            "`openssl rand -base64 24` makes a good one",
        );
    }
    let shared = SharedSecret { name: reader.name().to_owned(), kind, owners, secret, span: reader.span };
    (!reader.faults.has_error_in(&reader.path)).then_some(shared)
}
