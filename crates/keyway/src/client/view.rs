//! What `list-sas` tells, read once into types that the display can rely on.

use serde_json::{Value, json};
use vici::Tree;

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IkeSa {
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) is_initiator: bool,
    pub(super) initiator_spi: String,
    pub(super) responder_spi: String,
    pub(super) local: End,
    pub(super) remote: End,
    /// Encryption, integrity, PRF and key exchange, as far as they are agreed.
    pub(super) suite: Vec<String>,
    /// Seconds since it came up; absent while it is not.
    pub(super) established: Option<u64>,
    /// Seconds until it is replaced; absent is never.
    pub(super) rekey_in: Option<u64>,
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
    pub(super) local_selectors: Vec<String>,
    pub(super) remote_selectors: Vec<String>,
}

/// What one direction of a Child SA has carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) spi: String,
    pub(super) bytes: u64,
    pub(super) packets: u64,
    /// Seconds since the last packet; absent if there was none.
    pub(super) idle: Option<u64>,
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
            is_initiator: flag(tree, "initiator"),
            initiator_spi: text(tree, "initiator-spi"),
            responder_spi: text(tree, "responder-spi"),
            local: End::read(tree, "local"),
            remote: End::read(tree, "remote"),
            suite: suite(tree),
            established: number(tree, "established"),
            rekey_in: number(tree, "rekey-time"),
            children: children.map(|(key, child)| ChildSa::read(key, child)).collect(),
        }
    }

    /// Gives the SA as JSON.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "state": self.state,
            "initiator": self.is_initiator,
            "initiator_spi": self.initiator_spi,
            "responder_spi": self.responder_spi,
            "local": self.local.to_json(),
            "remote": self.remote.to_json(),
            "suite": self.suite,
            "established_secs": self.established,
            "rekey_in_secs": self.rekey_in,
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
        ChildSa {
            name: tree.text("name").unwrap_or(key).to_owned(),
            id: number(tree, "uniqueid").unwrap_or_default(),
            state: text(tree, "state"),
            mode: text(tree, "mode"),
            protocol: text(tree, "protocol"),
            in_udp: flag(tree, "encap"),
            has_esn: tree.text("esn") == Some("1"),
            suite: suite(tree),
            installed: number(tree, "install-time").unwrap_or_default(),
            rekey_in: number(tree, "rekey-time"),
            ends_in: number(tree, "life-time"),
            inbound: Carried::read(tree, "in"),
            outbound: Carried::read(tree, "out"),
            local_selectors: list(tree, "local-ts"),
            remote_selectors: list(tree, "remote-ts"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "state": self.state,
            "mode": self.mode,
            "protocol": self.protocol,
            "udp_encapsulation": self.in_udp,
            "esn": self.has_esn,
            "suite": self.suite,
            "installed_secs": self.installed,
            "rekey_in_secs": self.rekey_in,
            "ends_in_secs": self.ends_in,
            "inbound": self.inbound.to_json(),
            "outbound": self.outbound.to_json(),
            "local_selectors": self.local_selectors,
            "remote_selectors": self.remote_selectors,
        })
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
        }
    }

    fn to_json(&self) -> Value {
        json!({ "spi": self.spi, "bytes": self.bytes, "packets": self.packets, "idle_secs": self.idle })
    }
}

/// Gives the algorithms by their names, the encryption with its key length: `AES_GCM_16-128`.
fn suite(tree: &Tree) -> Vec<String> {
    let encryption = tree.text("encr-alg").map(|name| match tree.text("encr-keysize") {
        Some(bits) => format!("{name}-{bits}"),
        None => name.to_owned(),
    });
    let others = ["integ-alg", "prf-alg", "dh-group"].into_iter().filter_map(|key| tree.text(key));
    encryption.into_iter().chain(others.map(str::to_owned)).collect()
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
