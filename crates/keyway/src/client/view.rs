//! What `list-sas` tells, read once into types that the display can rely on.

use std::collections::BTreeMap;

use sa::ADDITIONAL_KEY_EXCHANGES;
use serde_json::{Value, json};
use vici::Tree;

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IkeSa {
    pub(super) name: String,
    pub(super) id: u64,
    /// 1 or 2.
    pub(super) version: u64,
    /// How phase 1 went, in version 1.
    pub(super) phase_1: Option<String>,
    pub(super) phase_1_method: Option<String>,
    pub(super) state: String,
    pub(super) is_initiator: bool,
    pub(super) initiator_spi: String,
    pub(super) responder_spi: String,
    pub(super) local: End,
    pub(super) remote: End,
    /// Where else the peer can be reached, if the addresses of both ends may change.
    pub(super) mobile: Option<Vec<String>>,
    /// Our virtual addresses and the peer's.
    pub(super) virtual_addresses: [Vec<String>; 2],
    /// Who uses the peer, if a name and a password told that.
    pub(super) user: Option<String>,
    /// Encryption, integrity, PRF and key exchange, as far as they are agreed.
    pub(super) suite: Vec<String>,
    /// Seconds since it came up; absent while it is not.
    pub(super) established: Option<u64>,
    /// Seconds until it is replaced; absent is never.
    pub(super) rekey_in: Option<u64>,
    /// Seconds until it ends if it is not replaced; absent is never.
    pub(super) ends_in: Option<u64>,
    pub(super) children: Vec<ChildSa>,
}

/// One end of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Who it is; absent until that is settled.
    pub(super) identity: Option<String>,
    /// Address and port.
    pub(super) address: String,
    pub(super) is_behind_nat: bool,
}

/// A Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChildSa {
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) mode: String,
    pub(super) protocol: String,
    pub(super) in_udp: bool,
    pub(super) has_esn: bool,
    /// Whether packets are compressed before they are sealed.
    pub(super) is_compressed: bool,
    /// The algorithms and both SPIs of AH around it.
    pub(super) around: Option<(Vec<String>, [String; 2])>,
    /// Encryption, integrity and its own key exchange.
    pub(super) suite: Vec<String>,
    /// Seconds since it came up.
    pub(super) installed: u64,
    /// Seconds until it is replaced; absent is never.
    pub(super) rekey_in: Option<u64>,
    /// Seconds until it ends if it is not replaced; absent is never.
    pub(super) ends_in: Option<u64>,
    pub(super) inbound: Carried,
    pub(super) outbound: Carried,
    pub(super) limits: Limits,
    /// To what length packets are padded, in octets, or `mtu`; absent where their length is not hidden.
    pub(super) padding: Option<String>,
    pub(super) local_selectors: Vec<String>,
    pub(super) remote_selectors: Vec<String>,
    /// The device of its own, if it has one.
    pub(super) device: Option<Device>,
}

/// How much a Child SA may still carry in either direction; absent is without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) rekey_bytes: Option<u64>,
    pub(super) end_bytes: Option<u64>,
    pub(super) rekey_packets: Option<u64>,
    pub(super) end_packets: Option<u64>,
}

/// A tunnel's own device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    /// The network namespace that it is in, if it is not the daemon's.
    pub(super) namespace: Option<String>,
    /// Why it is not as configured.
    pub(super) fault: Option<String>,
}

/// SAs whose keys are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManualSa {
    pub(super) local: String,
    pub(super) remote: String,
    /// What a Child SA would have as well.
    pub(super) sa: ChildSa,
    /// What is dangerous about it.
    pub(super) warning: String,
    /// What is wrong with it, if it does not work.
    pub(super) fault: Option<String>,
}

/// What one direction of a Child SA has carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) spi: String,
    pub(super) bytes: u64,
    pub(super) packets: u64,
    /// Seconds since the last packet; absent if there was none.
    pub(super) idle: Option<u64>,
    /// Why packets were dropped, and how many.
    pub(super) drops: Vec<(String, u64)>,
}

impl IkeSa {
    /// Reads one `list-sa` message; a daemon may put several SAs into one.
    pub(super) fn read_all(message: &Tree) -> Vec<IkeSa> {
        message.sections().map(|(name, section)| IkeSa::read(name, section)).collect()
    }

    fn read(name: &str, tree: &Tree) -> IkeSa {
        let children = tree.section("child-sas").into_iter().flat_map(Tree::sections);
        IkeSa {
            name: name.to_owned(),
            id: number(tree, "uniqueid").unwrap_or_default(),
            state: text(tree, "state"),
            version: number(tree, "version").unwrap_or_default(),
            phase_1: tree.text("phase-1").map(str::to_owned),
            phase_1_method: tree.text("phase-1-auth").map(str::to_owned),
            is_initiator: flag(tree, "initiator"),
            initiator_spi: text(tree, "initiator-spi"),
            responder_spi: text(tree, "responder-spi"),
            local: End::read(tree, "local"),
            remote: End::read(tree, "remote"),
            mobile: flag(tree, "mobike").then(|| list(tree, "additional-addrs")),
            virtual_addresses: ["local-vips", "remote-vips"].map(|key| list(tree, key)),
            user: tree.text("remote-xauth-id").map(str::to_owned),
            suite: suite(tree),
            established: number(tree, "established"),
            rekey_in: number(tree, "rekey-time"),
            ends_in: number(tree, "life-time"),
            children: children.map(|(key, child)| ChildSa::read(key, child)).collect(),
        }
    }

    /// Gives the SA as JSON.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "version": self.version,
            "phase_1": self.phase_1,
            "phase_1_auth": self.phase_1_method,
            "user": self.user,
            "mobile": self.mobile,
            "virtual_addresses": { "local": self.virtual_addresses[0], "remote": self.virtual_addresses[1] },
            "state": self.state,
            "initiator": self.is_initiator,
            "initiator_spi": self.initiator_spi,
            "responder_spi": self.responder_spi,
            "local": self.local.to_json(),
            "remote": self.remote.to_json(),
            "suite": self.suite,
            "established_secs": self.established,
            "rekey_in_secs": self.rekey_in,
            "ends_in_secs": self.ends_in,
            "child_sas": self.children.iter().map(ChildSa::to_json).collect::<Vec<_>>(),
        })
    }
}

impl End {
    fn read(tree: &Tree, end: &str) -> End {
        let host = text(tree, &format!("{end}-host"));
        let port = text(tree, &format!("{end}-port"));
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        End {
            identity: tree.text(&format!("{end}-id")).map(str::to_owned),
            address,
            is_behind_nat: flag(tree, &format!("nat-{end}")),
        }
    }

    fn to_json(&self) -> Value {
        json!({ "identity": self.identity, "address": self.address, "behind_nat": self.is_behind_nat })
    }
}

impl ChildSa {
    fn read(key: &str, tree: &Tree) -> ChildSa {
        let around = |around: &Tree| (suite(around), ["spi-in", "spi-out"].map(|key| text(around, key)));
        ChildSa {
            name: tree.text("name").unwrap_or(key).to_owned(),
            id: number(tree, "uniqueid").unwrap_or_default(),
            state: text(tree, "state"),
            mode: text(tree, "mode"),
            protocol: text(tree, "protocol"),
            in_udp: flag(tree, "encap"),
            has_esn: tree.text("esn") == Some("1"),
            is_compressed: tree.text("cpi-in").is_some(),
            around: tree.section("ah").map(around),
            suite: suite(tree),
            installed: number(tree, "install-time").unwrap_or_default(),
            rekey_in: number(tree, "rekey-time"),
            ends_in: number(tree, "life-time"),
            inbound: Carried::read(tree, "in"),
            outbound: Carried::read(tree, "out"),
            limits: Limits::read(tree),
            padding: tree.text("tfc").map(str::to_owned),
            local_selectors: list(tree, "local-ts"),
            remote_selectors: list(tree, "remote-ts"),
            device: Device::read(tree),
        }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "id": self.id,
            "state": self.state,
            "mode": self.mode,
            "protocol": self.protocol,
            "udp_encapsulation": self.in_udp,
            "esn": self.has_esn,
            "ipcomp": self.is_compressed,
            "suite": self.suite,
            "installed_secs": self.installed,
            "rekey_in_secs": self.rekey_in,
            "ends_in_secs": self.ends_in,
            "inbound": self.inbound.to_json(),
            "outbound": self.outbound.to_json(),
            "left": self.limits.to_json(),
            "padding": self.padding,
            "local_selectors": self.local_selectors,
            "remote_selectors": self.remote_selectors,
            "interface": self.device.as_ref().map(Device::to_json),
        });
        if let Some((suite, spis)) = &self.around {
            value["ah"] = json!({ "suite": suite, "inbound_spi": spis[0], "outbound_spi": spis[1] });
        }
        value
    }
}

impl Limits {
    fn read(tree: &Tree) -> Limits {
        Limits {
            rekey_bytes: number(tree, "rekey-bytes"),
            end_bytes: number(tree, "life-bytes"),
            rekey_packets: number(tree, "rekey-packets"),
            end_packets: number(tree, "life-packets"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "rekey_bytes": self.rekey_bytes,
            "end_bytes": self.end_bytes,
            "rekey_packets": self.rekey_packets,
            "end_packets": self.end_packets,
        })
    }
}

impl Device {
    fn read(tree: &Tree) -> Option<Device> {
        Some(Device {
            name: tree.text("interface")?.to_owned(),
            namespace: tree.text("interface-netns").map(str::to_owned),
            fault: tree.text("interface-fault").map(str::to_owned),
        })
    }

    fn to_json(&self) -> Value {
        json!({ "name": self.name, "namespace": self.namespace, "fault": self.fault })
    }
}

impl ManualSa {
    /// Reads one `list-manual-sa` message.
    pub(super) fn read_all(message: &Tree) -> Vec<ManualSa> {
        message.sections().map(|(name, section)| ManualSa::read(name, section)).collect()
    }

    fn read(name: &str, tree: &Tree) -> ManualSa {
        ManualSa {
            local: text(tree, "local-host"),
            remote: text(tree, "remote-host"),
            sa: ChildSa::read(name, tree),
            warning: text(tree, "warning"),
            fault: tree.text("fault").map(str::to_owned),
        }
    }

    /// Gives the SAs as JSON.
    pub(super) fn to_json(&self) -> Value {
        let mut value = self.sa.to_json();
        value["local"] = json!(self.local);
        value["remote"] = json!(self.remote);
        value["warning"] = json!(self.warning);
        value["fault"] = json!(self.fault);
        value
    }
}

impl Carried {
    fn read(tree: &Tree, direction: &str) -> Carried {
        let key = |what: &str| format!("{what}-{direction}");
        Carried {
            spi: text(tree, &key("spi")),
            bytes: number(tree, &key("bytes")).unwrap_or_default(),
            packets: number(tree, &key("packets")).unwrap_or_default(),
            idle: number(tree, &key("use")),
            drops: list(tree, &key("drops")).iter().filter_map(|drop| read_drop(drop)).collect(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "spi": self.spi,
            "bytes": self.bytes,
            "packets": self.packets,
            "idle_secs": self.idle,
            "drops": self.drops.iter().cloned().collect::<BTreeMap<String, u64>>(),
        })
    }
}

/// Reads a number and a reason.
fn read_drop(text: &str) -> Option<(String, u64)> {
    let (number, reason) = text.split_once(' ')?;
    Some((reason.to_owned(), number.parse().ok()?))
}

/// Gives the algorithms by their names, the encryption with its key length: `AES_GCM_16-128`.
fn suite(tree: &Tree) -> Vec<String> {
    let encryption = tree.text("encr-alg").map(|name| match tree.text("encr-keysize") {
        Some(bits) => format!("{name}-{bits}"),
        None => name.to_owned(),
    });
    let others = ["integ-alg", "prf-alg", "dh-group"].into_iter().filter_map(|key| tree.text(key));
    let additional = (1..=ADDITIONAL_KEY_EXCHANGES).filter_map(|number| tree.text(&format!("ake{number}")));
    let mixed = flag(tree, "ppk").then_some("PPK");
    encryption.into_iter().chain(others.chain(additional).chain(mixed).map(str::to_owned)).collect()
}

fn text(tree: &Tree, key: &str) -> String {
    tree.text(key).unwrap_or_default().to_owned()
}

fn number(tree: &Tree, key: &str) -> Option<u64> {
    tree.text(key)?.parse().ok()
}

fn flag(tree: &Tree, key: &str) -> bool {
    tree.text(key) == Some("yes")
}

fn list(tree: &Tree, key: &str) -> Vec<String> {
    tree.list(key).unwrap_or_default().iter().filter_map(|value| value.text()).map(str::to_owned).collect()
}
