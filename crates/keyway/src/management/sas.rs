//! SAs as vici trees, with the keys and the order that charon's clients know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataplane::Usage;
use ike::{ChildSaStatus, ChildState, IkeSaStatus, IkeState, Role};
use sa::{Encapsulation, Esn, Protection, SaId};
use vici::Tree;

/// What each SA has carried, by its name.
pub(crate) type UsageTable = BTreeMap<SaId, Usage>;

/// Describes an IKE SA with these of its Child SAs: the message of `list-sa`.
pub(crate) fn list_sa<'a>(
    now: Instant,
    ike: &IkeSaStatus,
    children: impl IntoIterator<Item = &'a ChildSaStatus>,
    usage: &UsageTable,
) -> Tree {
    let mut described = Tree::new();
    for child in children {
        described.push_section(child_key(child), child_sa(now, child, usage));
    }
    Tree::new().with_section(&*ike.connection, ike_sa(now, ike).with_section("child-sas", described))
}

/// Whether an SA came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It came up.
    Up,
    /// It is gone.
    Down,
}

/// Makes the message of `ike-updown`.
pub(crate) fn ike_updown(now: Instant, ike: &IkeSaStatus, turn: Turn) -> Tree {
    turned(turn).with_section(&*ike.connection, ike_sa(now, ike))
}

/// Makes the message of `child-updown`.
pub(crate) fn child_updown(
    now: Instant,
    ike: &IkeSaStatus,
    child: &ChildSaStatus,
    turn: Turn,
    usage: &UsageTable,
) -> Tree {
    let mut message = turned(turn);
    message.entries.extend(list_sa(now, ike, [child], usage).entries);
    message
}

/// Makes the message of `ike-rekey`.
pub(crate) fn ike_rekey(now: Instant, old: &IkeSaStatus, new: &IkeSaStatus) -> Tree {
    let both = Tree::new().with_section("old", ike_sa(now, old)).with_section("new", ike_sa(now, new));
    Tree::new().with_section(&*new.connection, both)
}

/// Makes the message of `child-rekey`.
pub(crate) fn child_rekey(
    now: Instant,
    ike: &IkeSaStatus,
    old: &ChildSaStatus,
    new: &ChildSaStatus,
    usage: &UsageTable,
) -> Tree {
    let both = Tree::new()
        .with_section("old", child_sa(now, old, usage))
        .with_section("new", child_sa(now, new, usage));
    let children = Tree::new().with_section(&*new.name, both);
    Tree::new().with_section(&*ike.connection, ike_sa(now, ike).with_section("child-sas", children))
}

fn turned(turn: Turn) -> Tree {
    let mut message = Tree::new();
    push_flag(&mut message, "up", turn == Turn::Up);
    message
}

/// Describes an IKE SA alone.
pub(crate) fn ike_sa(now: Instant, ike: &IkeSaStatus) -> Tree {
    let mut tree = Tree::new()
        .with_value("uniqueid", ike.id.0.to_string())
        .with_value("version", "2")
        .with_value("state", ike_state(ike.state))
        .with_value("local-host", ike.path.local.ip().to_string())
        .with_value("local-port", ike.path.local.port().to_string());
    if let Some(identity) = &ike.local_identity {
        tree.push_value("local-id", identity.to_string());
    }
    tree.push_value("remote-host", ike.path.remote.ip().to_string());
    tree.push_value("remote-port", ike.path.remote.port().to_string());
    if let Some(identity) = &ike.remote_identity {
        tree.push_value("remote-id", identity.to_string());
    }
    push_flag(&mut tree, "initiator", ike.role == Role::Initiator);
    tree.push_value("initiator-spi", ike.initiator_spi.to_string());
    tree.push_value("responder-spi", ike.responder_spi.to_string());
    push_flag(&mut tree, "nat-local", ike.nat.local);
    push_flag(&mut tree, "nat-remote", ike.nat.remote);
    push_flag(&mut tree, "nat-any", ike.nat.local || ike.nat.remote);
    if let Some(suite) = &ike.suite {
        push_protection(&mut tree, &suite.protection);
        tree.push_value("prf-alg", suite.prf.name);
        tree.push_value("dh-group", suite.key_exchange.name);
    }
    if let Some(at) = ike.established_at {
        tree.push_value("established", seconds(now.saturating_duration_since(at)));
    }
    if let Some(at) = ike.rekey_at {
        tree.push_value("rekey-time", seconds(at.saturating_duration_since(now)));
    }
    if let Some(at) = ike.expire_at {
        tree.push_value("life-time", seconds(at.saturating_duration_since(now)));
    }
    push_list_unless_empty(&mut tree, "tasks-queued", &ike.tasks_queued);
    push_list_unless_empty(&mut tree, "tasks-active", &ike.tasks_active);
    tree
}

/// Describes a Child SA.
pub(crate) fn child_sa(now: Instant, child: &ChildSaStatus, usage: &UsageTable) -> Tree {
    let mut tree = Tree::new()
        .with_value("name", &child.name)
        .with_value("uniqueid", child.id.0.to_string())
        .with_value("reqid", child.policy.to_string())
        .with_value("state", child_state(child.state))
        .with_value("mode", child.mode.to_string())
        .with_value("protocol", child.inbound.protocol.to_string());
    push_flag(&mut tree, "encap", child.encapsulation == Encapsulation::Udp);
    tree.push_value("spi-in", child.inbound.spi.to_string());
    tree.push_value("spi-out", child.outbound.spi.to_string());
    push_protection(&mut tree, &child.suite.protection);
    if let Some(group) = child.suite.key_exchange {
        tree.push_value("dh-group", group.name);
    }
    if child.suite.esn == Esn::Yes {
        tree.push_value("esn", "1");
    }
    push_usage(&mut tree, "in", usage.get(&child.inbound));
    push_usage(&mut tree, "out", usage.get(&child.outbound));
    if let Some(at) = child.rekey_at {
        tree.push_value("rekey-time", seconds(at.saturating_duration_since(now)));
    }
    if let Some(at) = child.expire_at {
        tree.push_value("life-time", seconds(at.saturating_duration_since(now)));
    }
    tree.push_value("install-time", seconds(now.saturating_duration_since(child.installed_at)));
    tree.push_list("local-ts", child.local_selectors.iter().map(ToString::to_string));
    tree.push_list("remote-ts", child.remote_selectors.iter().map(ToString::to_string));
    tree
}

/// Gives the name of a Child SA's section: its own name and its number, for a name may be there twice.
pub(crate) fn child_key(child: &ChildSaStatus) -> String {
    format!("{}-{}", child.name, child.id.0)
}

fn ike_state(state: IkeState) -> &'static str {
    match state {
        IkeState::Connecting => "CONNECTING",
        IkeState::Established => "ESTABLISHED",
        IkeState::Rekeying => "REKEYING",
        IkeState::Rekeyed => "REKEYED",
        IkeState::Deleting => "DELETING",
    }
}

fn child_state(state: ChildState) -> &'static str {
    match state {
        ChildState::Installed => "INSTALLED",
        ChildState::Rekeying => "REKEYING",
        ChildState::Rekeyed => "REKEYED",
        ChildState::Deleting => "DELETING",
    }
}

fn push_protection(tree: &mut Tree, protection: &Protection) {
    let encryption = protection.encryption();
    tree.push_value("encr-alg", encryption.name);
    if let Some(bits) = encryption.key_bits {
        tree.push_value("encr-keysize", bits.to_string());
    }
    if let Some(integrity) = protection.integrity() {
        tree.push_value("integ-alg", integrity.name);
    }
}

fn push_usage(tree: &mut Tree, direction: &str, usage: Option<&Usage>) {
    let usage = usage.copied().unwrap_or_default();
    tree.push_value(format!("bytes-{direction}"), usage.bytes.to_string());
    tree.push_value(format!("packets-{direction}"), usage.packets.to_string());
    if let Some(idle) = usage.idle {
        tree.push_value(format!("use-{direction}"), seconds(idle));
    }
}

/// charon gives a flag that is true and omits one that is not; clients rely on the omission.
fn push_flag(tree: &mut Tree, name: &str, is_set: bool) {
    if is_set {
        tree.push_value(name, "yes");
    }
}

fn push_list_unless_empty(tree: &mut Tree, name: &str, items: &[&str]) {
    if !items.is_empty() {
        tree.push_list(name, items.iter().copied());
    }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}
