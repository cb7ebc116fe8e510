//! SAs as vici trees, with the keys and the order that charon's clients know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::{ManualKeys, ManualSa};
use ike::{ChildSaStatus, ChildState, IkeSaStatus, IkeState, IkeVersion, Path, Role};
use sa::{
    AdditionalSuite, Cpi, Direction, Encapsulation, Esn, FlowPadding, Lifetime, Protection, Protocol, SaId,
};
use vici::Tree;

use crate::daemon::handle::PlaneStatus;
use crate::daemon::interfaces::DeviceStatus;
use crate::daemon::manual_keying::Installed;

/// Which keys somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those that charon has, and no others: people look for them by position.
    Charons,
    /// Those, and what only we can tell.
    All,
}

impl Keys {
    /// Reads which keys a command asks for.
    ///
    /// # Errors
    /// `extras` is neither yes nor no.
    pub(crate) fn of(arguments: &Tree) -> Result<Keys, String> {
        Ok(if super::arguments::flag(arguments, "extras")? { Keys::All } else { Keys::Charons })
    }
}

/// What the data plane tells of each SA.
pub(crate) type PlaneTable = BTreeMap<SaId, PlaneStatus>;

/// Describes an IKE SA with these of its Child SAs: the message of `list-sa`.
pub(crate) fn list_sa<'a>(
    now: Instant,
    ike: &IkeSaStatus,
    children: impl IntoIterator<Item = &'a ChildSaStatus>,
    plane: &PlaneTable,
    keys: Keys,
) -> Tree {
    let mut described = Tree::new();
    for child in children {
        described.push_section(child_key(child), child_sa(now, child, plane, keys));
    }
    Tree::new().with_section(&*ike.connection, ike_sa(now, ike, keys).with_section("child-sas", described))
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
    turned(turn).with_section(&*ike.connection, ike_sa(now, ike, Keys::Charons))
}

/// Makes the message of `child-updown`.
pub(crate) fn child_updown(
    now: Instant,
    ike: &IkeSaStatus,
    child: &ChildSaStatus,
    turn: Turn,
    plane: &PlaneTable,
) -> Tree {
    let state = match (turn, ike.version) {
        // As in charon: the peer of version 1 has been told, or has told us, and so has one of version 2 that lost only this one.
        (Turn::Down, IkeVersion::V1(_)) => "DELETED",
        (Turn::Down, IkeVersion::V2) if ike.state != IkeState::Deleting => "DELETED",
        (Turn::Down, IkeVersion::V2) | (Turn::Up, _) => child_state(child.state),
    };
    let child =
        Tree::new().with_section(child_key(child), child_sa_in(state, now, child, plane, Keys::Charons));
    turned(turn)
        .with_section(&*ike.connection, ike_sa(now, ike, Keys::Charons).with_section("child-sas", child))
}

/// Makes the message of `ike-rekey`.
pub(crate) fn ike_rekey(now: Instant, old: &IkeSaStatus, new: &IkeSaStatus) -> Tree {
    let both = Tree::new()
        .with_section("old", ike_sa(now, old, Keys::Charons))
        .with_section("new", ike_sa(now, new, Keys::Charons));
    Tree::new().with_section(&*new.connection, both)
}

/// Makes the message of `ike-update`: the addresses in use now, then the IKE SA as it was before, as charon has it.
pub(crate) fn ike_update(now: Instant, ike: &IkeSaStatus, before: Path) -> Tree {
    let old = IkeSaStatus { path: before, ..ike.clone() };
    Tree::new()
        .with_value("local-host", ike.path.local.ip().to_string())
        .with_value("local-port", ike.path.local.port().to_string())
        .with_value("remote-host", ike.path.remote.ip().to_string())
        .with_value("remote-port", ike.path.remote.port().to_string())
        .with_section(&*ike.connection, ike_sa(now, &old, Keys::Charons))
}

/// Makes the message of `child-rekey`.
pub(crate) fn child_rekey(
    now: Instant,
    ike: &IkeSaStatus,
    old: &ChildSaStatus,
    new: &ChildSaStatus,
    plane: &PlaneTable,
) -> Tree {
    let both = Tree::new()
        .with_section("old", child_sa(now, old, plane, Keys::Charons))
        .with_section("new", child_sa(now, new, plane, Keys::Charons));
    let children = Tree::new().with_section(&*new.name, both);
    Tree::new()
        .with_section(&*ike.connection, ike_sa(now, ike, Keys::Charons).with_section("child-sas", children))
}

fn turned(turn: Turn) -> Tree {
    let mut message = Tree::new();
    push_flag(&mut message, "up", turn == Turn::Up);
    message
}

/// Describes an IKE SA alone.
pub(crate) fn ike_sa(now: Instant, ike: &IkeSaStatus, keys: Keys) -> Tree {
    let mut tree = Tree::new()
        .with_value("uniqueid", ike.id.0.to_string())
        .with_value("version", version(ike.version))
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
    if let Some(user) = &ike.remote_user {
        tree.push_value("remote-xauth-id", user.to_string());
    }
    push_list_unless_empty(&mut tree, "local-vips", &addresses(&ike.inside.local));
    push_list_unless_empty(&mut tree, "remote-vips", &addresses(&ike.inside.remote));
    push_flag(&mut tree, "ppk", ike.ppk.is_some());
    if let Some(name) = &ike.ppk {
        tree.push_value("ppk-id", name.to_string());
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
        push_additional(&mut tree, &suite.additional);
    }
    // What is being deleted has no future.
    if ike.state != IkeState::Deleting {
        if let Some(at) = ike.established_at {
            tree.push_value("established", seconds(now.saturating_duration_since(at)));
        }
        push_remaining(&mut tree, "rekey-time", ike.rekey_at, now);
        push_remaining(&mut tree, "reauth-time", ike.reauthenticate_at, now);
    }
    push_list_unless_empty(&mut tree, "tasks-queued", &ike.tasks_queued);
    push_list_unless_empty(&mut tree, "tasks-active", &ike.tasks_active);
    if keys == Keys::All {
        push_ike_extras(&mut tree, now, ike);
    }
    tree
}

/// Tells what charon has no keys for.
fn push_ike_extras(tree: &mut Tree, now: Instant, ike: &IkeSaStatus) {
    push_remaining(tree, "life-time", ike.expire_at, now);
    if let Some(addresses) = &ike.mobile {
        push_flag(tree, "mobike", true);
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        push_list_unless_empty(tree, "additional-addrs", &addresses);
    }
    if let IkeVersion::V1(mode) = ike.version {
        tree.push_value("phase-1", mode.to_string());
    }
    if let Some(method) = ike.method {
        tree.push_value("phase-1-auth", method.name().unwrap_or("unknown").replace(' ', "-"));
    }
}

fn push_remaining(tree: &mut Tree, key: &str, at: Option<Instant>, now: Instant) {
    if let Some(at) = at {
        tree.push_value(key, seconds(at.saturating_duration_since(now)));
    }
}

/// Names the additional key exchanges that took place by their numbers (RFC 9370): `ake1` to `ake7`.
fn push_additional(tree: &mut Tree, additional: &AdditionalSuite) {
    for (number, choice) in (1..).zip(additional.choices()) {
        if let Some(group) = choice {
            tree.push_value(format!("ake{number}"), group.name);
        }
    }
}

fn addresses(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn version(version: IkeVersion) -> &'static str {
    match version {
        IkeVersion::V1(_) => "1",
        IkeVersion::V2 => "2",
    }
}

/// Describes a Child SA.
pub(crate) fn child_sa(now: Instant, child: &ChildSaStatus, plane: &PlaneTable, keys: Keys) -> Tree {
    child_sa_in(child_state(child.state), now, child, plane, keys)
}

fn child_sa_in(state: &str, now: Instant, child: &ChildSaStatus, plane: &PlaneTable, keys: Keys) -> Tree {
    let mut tree = Tree::new()
        .with_value("name", &child.name)
        .with_value("uniqueid", child.id.0.to_string())
        .with_value("reqid", child.policy.to_string())
        .with_value("state", state)
        .with_value("mode", child.mode.to_string())
        .with_value("protocol", child.inbound.protocol.to_string());
    push_flag(&mut tree, "encap", child.encapsulation == Encapsulation::Udp);
    tree.push_value("spi-in", child.inbound.spi.to_string());
    tree.push_value("spi-out", child.outbound.spi.to_string());
    push_compression(&mut tree, child.compression);
    push_protection(&mut tree, &child.suite.protection);
    if let Some(group) = child.suite.key_exchange {
        tree.push_value("dh-group", group.name);
        push_additional(&mut tree, &child.suite.additional);
    }
    if child.suite.esn == Esn::Yes {
        tree.push_value("esn", "1");
    }
    push_usage(&mut tree, "in", plane.get(&child.inbound));
    push_usage(&mut tree, "out", plane.get(&child.outbound));
    push_remaining(&mut tree, "rekey-time", child.rekey_at, now);
    push_remaining(&mut tree, "life-time", child.expire_at, now);
    tree.push_value("install-time", seconds(now.saturating_duration_since(child.installed_at)));
    tree.push_list("local-ts", child.local_selectors.iter().map(ToString::to_string));
    tree.push_list("remote-ts", child.remote_selectors.iter().map(ToString::to_string));
    if keys == Keys::All {
        push_drops(&mut tree, "in", plane.get(&child.inbound));
        push_drops(&mut tree, "out", plane.get(&child.outbound));
        push_wrapper(&mut tree, child);
        push_device(&mut tree, plane.get(&child.inbound));
        push_extras(&mut tree, child, plane);
    }
    tree
}

/// Describes the AH around ESP, which charon does not make.
fn push_wrapper(tree: &mut Tree, child: &ChildSaStatus) {
    if let Some(wrapper) = &child.wrapper {
        let mut around = Tree::new();
        around.push_value("spi-in", wrapper.inbound.spi.to_string());
        around.push_value("spi-out", wrapper.outbound.spi.to_string());
        push_protection(&mut around, &wrapper.suite.protection);
        tree.push_section("ah", around);
    }
}

/// Describes SAs without IKE, with the keys that a Child SA has as far as these mean something here.
pub(crate) fn manual_sa(now: Instant, installed: &Installed, plane: &PlaneTable) -> Tree {
    let config = &installed.config;
    let mut tree = Tree::new()
        .with_value("reqid", installed.policy.to_string())
        .with_value("state", if installed.fault.is_some() { "FAILED" } else { "INSTALLED" })
        .with_value("local-host", config.local_address.to_string())
        .with_value("remote-host", config.remote_address.to_string())
        .with_value("mode", config.mode.to_string());
    let mut protocols = [(Protocol::Esp, &config.esp), (Protocol::Ah, &config.ah)]
        .into_iter()
        .filter_map(|(protocol, keys)| Some((protocol, keys.as_ref()?)));
    if let Some((protocol, keys)) = protocols.next() {
        tree.push_value("protocol", protocol.to_string());
        push_flag(&mut tree, "encap", config.encapsulation == Encapsulation::Udp);
        push_keys(&mut tree, keys);
        push_compression(&mut tree, config.compression.map(|cpi| (cpi.inbound, cpi.outbound)));
        for (name, direction) in [("in", Direction::Inbound), ("out", Direction::Outbound)] {
            let status = installed.sa(protocol, direction).and_then(|sa| plane.get(&sa));
            push_usage(&mut tree, name, status);
            push_drops(&mut tree, name, status);
        }
    }
    for (protocol, keys) in protocols {
        let mut around = Tree::new();
        push_keys(&mut around, keys);
        tree.push_section(protocol.to_string().to_lowercase(), around);
    }
    tree.push_value("install-time", seconds(now.saturating_duration_since(installed.at)));
    tree.push_list("local-ts", config.local_selectors.iter().map(ToString::to_string));
    tree.push_list("remote-ts", config.remote_selectors.iter().map(ToString::to_string));
    push_device(&mut tree, installed.sas.first().and_then(|sa| plane.get(sa)));
    tree.push_value("warning", ManualSa::DANGER);
    if let Some(fault) = &installed.fault {
        tree.push_value("fault", fault);
    }
    Tree::new().with_section(&*config.name, tree)
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
    if let Some(encryption) = protection.encryption() {
        tree.push_value("encr-alg", encryption.name);
        if let Some(bits) = encryption.key_bits {
            tree.push_value("encr-keysize", bits.to_string());
        }
    }
    if let Some(integrity) = protection.integrity() {
        tree.push_value("integ-alg", integrity.name);
    }
}

fn push_keys(tree: &mut Tree, keys: &ManualKeys) {
    tree.push_value("spi-in", keys.spi.inbound.to_string());
    tree.push_value("spi-out", keys.spi.outbound.to_string());
    push_protection(tree, &keys.protection);
    if keys.esn == Esn::Yes {
        tree.push_value("esn", "1");
    }
}

fn push_compression(tree: &mut Tree, compression: Option<(Cpi, Cpi)>) {
    if let Some((inbound, outbound)) = compression {
        tree.push_value("cpi-in", format!("{:04x}", inbound.0));
        tree.push_value("cpi-out", format!("{:04x}", outbound.0));
    }
}

/// Says how the length of packets is hidden, and how much may still be carried; charon has no such keys.
fn push_extras(tree: &mut Tree, child: &ChildSaStatus, plane: &PlaneTable) {
    match child.padding {
        FlowPadding::None => {}
        FlowPadding::To(octets) => tree.push_value("tfc", octets.to_string()),
        FlowPadding::ToPathMtu => tree.push_value("tfc", "mtu"),
    }
    let of_both = [child.inbound, child.outbound]
        .map(|sa| plane.get(&sa).map(|status| status.usage).unwrap_or_default());
    let bytes = of_both.map(|usage| usage.bytes).into_iter().max().unwrap_or_default();
    let packets = of_both.map(|usage| usage.packets).into_iter().max().unwrap_or_default();
    let Lifetime { soft_bytes, hard_bytes, soft_packets, hard_packets } = child.volume;
    let limits = [
        ("rekey-bytes", soft_bytes, bytes),
        ("life-bytes", hard_bytes, bytes),
        ("rekey-packets", soft_packets, packets),
        ("life-packets", hard_packets, packets),
    ];
    for (key, limit, used) in limits.into_iter().filter(|(_, limit, _)| *limit != u64::MAX) {
        tree.push_value(key, limit.saturating_sub(used).to_string());
    }
}

/// Says where the packets come from and go to, if not by the common device; charon has no such keys.
fn push_device(tree: &mut Tree, status: Option<&PlaneStatus>) {
    let Some(DeviceStatus { name, namespace, fault }) = status.and_then(|status| status.device.as_ref())
    else {
        return;
    };
    tree.push_value("interface", name);
    if let Some(namespace) = namespace {
        tree.push_value("interface-netns", namespace);
    }
    if let Some(fault) = fault {
        tree.push_value("interface-fault", fault);
    }
}

fn push_usage(tree: &mut Tree, direction: &str, status: Option<&PlaneStatus>) {
    let usage = status.map(|status| status.usage).unwrap_or_default();
    tree.push_value(format!("bytes-{direction}"), usage.bytes.to_string());
    tree.push_value(format!("packets-{direction}"), usage.packets.to_string());
    if let Some(idle) = usage.idle {
        tree.push_value(format!("use-{direction}"), seconds(idle));
    }
}

fn push_drops(tree: &mut Tree, direction: &str, status: Option<&PlaneStatus>) {
    if let Some(drops) = status.map(|status| &status.drops.0).filter(|drops| !drops.is_empty()) {
        let reasons = drops.iter().map(|(reason, count)| format!("{count} {reason}"));
        tree.push_list(format!("drops-{direction}"), reasons);
    }
}

/// charon gives a flag that is true and omits one that is not; clients rely on the omission.
fn push_flag(tree: &mut Tree, name: &str, is_set: bool) {
    if is_set {
        tree.push_value(name, "yes");
    }
}

fn push_list_unless_empty(tree: &mut Tree, name: &str, items: &[impl AsRef<str>]) {
    if !items.is_empty() {
        tree.push_list(name, items.iter().map(AsRef::as_ref));
    }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}
