//! WireGuard, as `wg-quick` reads it.
//!
//! ```text
//!   [Interface]                       [Peer]
//!   PrivateKey = …                    PublicKey = …     PresharedKey = …
//!   Address = 10.9.0.2/24             AllowedIPs = 10.9.0.0/24, 10.2.0.0/16
//!   ListenPort = 51820                Endpoint = vpn.example.org:51820
//! ```
//!
//! WireGuard's keys are no keys of IKE. Where both ends share a PresharedKey, 256 bits as they should be, it proves them to
//! each other; where they do not, a new secret is made.

use std::path::Path;

use crypto::{Random, SystemRandom};

use super::File;
use super::draft::{Connection, Draft, Entries, SecretDraft};
use super::lines::{Pair, without_comment};
use super::report::Report;

/// A section with its place.
struct Part {
    name: String,
    place: String,
    pairs: Vec<Pair>,
}

/// Reads all files.
pub(super) fn read(files: &[File], draft: &mut Draft, report: &mut Report) {
    for file in files {
        let parts = parts(file, report);
        let stem = Path::new(&file.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let device = stem.unwrap_or_else(|| "wg0".to_owned());
        let own = parts.iter().find(|part| part.name == "interface");
        let peers: Vec<&Part> = parts.iter().filter(|part| part.name == "peer").collect();
        let addresses = own.map(|own| interface(own, report)).unwrap_or_default();
        for (n, part) in peers.iter().enumerate() {
            let name = if peers.len() == 1 { device.clone() } else { format!("{device}-{}", n + 1) };
            peer(&draft.connection_name(&name), part, &addresses, draft, report);
        }
    }
}

fn parts(file: &File, report: &mut Report) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        let (line, place) = (without_comment(line), format!("{}:{}", file.name, n + 1));
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            parts.push(Part { name: name.to_lowercase(), place, pairs: Vec::new() });
            continue;
        }
        match (line.split_once('='), parts.last_mut()) {
            _ if line.is_empty() || line.starts_with('#') => {}
            (Some((key, value)), Some(part)) => {
                let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
                part.pairs.push(Pair { key, value, place });
            }
            _ => report.missing(&place, "a line outside of any section", "left out"),
        }
    }
    parts
}

/// What stands in a line, without the value of any key.
fn said(key: &str, value: &str) -> String {
    if key.ends_with("key") { format!("{key} = …") } else { format!("{key} = {value}") }
}

/// What stands in a line that is not understood: a mistyped one may have a key anywhere.
fn unknown(key: &str) -> String {
    let is_word = key.len() <= LONGEST_WORD && key.chars().all(|c| c.is_ascii_alphanumeric());
    format!("{} = …", if is_word { key } else { "…" })
}

/// A key has 43 characters.
const LONGEST_WORD: usize = 24;

/// What is said of this host: its addresses inside.
fn interface(part: &Part, report: &mut Report) -> Vec<String> {
    let mut addresses = Vec::new();
    for Pair { key, value, place } in &part.pairs {
        let said = said(key, value);
        match key.as_str() {
            "address" => {
                addresses.extend(value.split(',').map(|address| address.trim().to_owned()));
                report.translated(
                    place,
                    &said,
                    "local_ts has the addresses; put them on a device of this host, such as lo",
                );
            }
            "privatekey" => report.changed(
                place,
                &said,
                "IKE has no such keys: the two ends prove who they are by a secret",
            ),
            "listenport" => report.missing(
                place,
                &said,
                "IKE is at UDP port 500 and 4500: let these through the packet filter",
            ),
            "dns" => report.missing(
                place,
                &said,
                "write the name servers into /etc/resolv.conf, or let a gateway give them",
            ),
            "mtu" => report.missing(place, &said, "start the daemon with --mtu"),
            "table" | "fwmark" => {
                report.missing(place, &said, "Keyway has a routing table and a mark of its own")
            }
            "saveconfig" => report.missing(place, &said, "the configuration is never written by the daemon"),
            "preup" | "postup" | "predown" | "postdown" => {
                report.missing(place, &said, "a script for `updown` of the child can do that");
            }
            _ => report.missing(place, &unknown(key), "there is no such key in this section"),
        }
    }
    addresses
}

fn peer(name: &str, part: &Part, addresses: &[String], draft: &mut Draft, report: &mut Report) {
    let mut connection =
        Connection { name: name.to_owned(), place: part.place.clone(), ..Connection::default() };
    let mut child = Entries::default();
    let mut secret = None;
    connection.entries.set("version", "2");
    for Pair { key, value, place } in &part.pairs {
        let said = said(key, value);
        match key.as_str() {
            "publickey" => report.changed(
                place,
                &said,
                "IKE has no such keys: the two ends prove who they are by a secret",
            ),
            "presharedkey" => {
                secret = Some(format!("0s{value}"));
                report.translated(place, &said, "the secret of both ends");
            }
            "allowedips" => {
                let networks = value.split(',').map(str::trim).filter(|network| !network.is_empty());
                let networks = networks.collect::<Vec<_>>().join(", ");
                report.translated(place, &said, format!("remote_ts has {networks}"));
                child.append("remote_ts", &networks);
            }
            "endpoint" => {
                let host = value.rsplit_once(':').map_or(value.as_str(), |(host, _)| host);
                let host = host.trim_matches(['[', ']']);
                connection.entries.set("remote_addrs", host);
                child.set("start_action", "trap");
                report.translated(
                    place,
                    &said,
                    format!(
                        "remote_addrs = {host}, at the ports of IKE; its first packet brings the child up"
                    ),
                );
            }
            "persistentkeepalive" => {
                report.translated(place, &said, "nothing: behind a NAT keepalives are sent every 20 seconds")
            }
            _ => report.missing(place, &unknown(key), "there is no such key in this section"),
        }
    }
    let hosts: Vec<String> = addresses.iter().map(|address| host(address)).collect();
    if !hosts.is_empty() {
        child.set("local_ts", hosts.join(", "));
    }
    let own = addresses.first().map(|address| without_prefix(address));
    let mut shared = proofs(&mut connection, own, &child);
    let fresh = || {
        let sentence = "a new secret was made: give it to the peer, too";
        report.changed(&part.place, "a peer without a presharedkey", sentence);
        fresh_secret()
    };
    shared.set("secret", secret.unwrap_or_else(fresh));
    draft.secrets.push(SecretDraft { kind: "ike", entries: shared });
    connection.children.push((name.to_owned(), child));
    let now =
        format!("the connection `{name}` with one child; networks behind this host belong into local_ts");
    report.translated(&part.place, "[Peer]", now);
    draft.connections.push(connection);
}

/// Both ends are called by their addresses inside; gives whose the secret is.
fn proofs(connection: &mut Connection, own: Option<String>, child: &Entries) -> Entries {
    let is_host = |network: &&str| network.ends_with("/32") || network.ends_with("/128");
    let theirs =
        child.get("remote_ts").and_then(|networks| networks.split(", ").find(is_host)).map(without_prefix);
    let (mut local, mut remote, mut shared) = (Entries::default(), Entries::default(), Entries::default());
    for (end, who, id) in [(&mut local, own, "id-1"), (&mut remote, theirs, "id-2")] {
        end.set("auth", "psk");
        if let Some(who) = who {
            end.set("id", who.clone());
            shared.set(id, who);
        }
    }
    connection.local.push(local);
    connection.remote.push(remote);
    shared
}

fn host(address: &str) -> String {
    let address = without_prefix(address);
    if address.contains(':') { format!("{address}/128") } else { format!("{address}/32") }
}

fn without_prefix(address: &str) -> String {
    address.split('/').next().unwrap_or(address).to_owned()
}

/// 256 bits.
fn fresh_secret() -> String {
    let mut octets = [0; 32];
    SystemRandom.fill(&mut octets);
    format!("0x{}", hex::encode(octets))
}
