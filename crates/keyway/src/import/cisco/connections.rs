//! From crypto maps and tunnel interfaces to connections.

use std::net::Ipv4Addr;

use super::keywords::group_of;
use super::{Block, Flow, Known, Transform, Wanted, strs};
use crate::import::draft::{Connection, Draft, Entries, SecretDraft};
use crate::import::report::Report;

/// Reads the `set` lines of a crypto map entry or an IPsec profile.
pub(super) fn wanted(block: &Block, report: &mut Report) -> Wanted {
    let mut wanted = Wanted::default();
    for (line, place) in &block.lines {
        match strs(line).as_slice() {
            ["set", "transform-set", sets @ ..] => {
                wanted.sets = sets.iter().map(|set| (*set).to_owned()).collect()
            }
            ["set", "pfs"] => wanted.group = Some("modp1024".to_owned()),
            ["set", "pfs", group] => wanted.group = Some(group_of(group)),
            ["set", "ikev2-profile", name] => wanted.ikev2 = Some((*name).to_owned()),
            ["set", "security-association", "lifetime", "seconds", secs] => {
                wanted.life_secs = Some((*secs).to_owned())
            }
            ["set", "peer", ..] | ["match", "address", ..] | ["description", ..] => continue,
            _ => {
                report.missing(place, &line.join(" "), "it has no meaning here, or is not known");
                continue;
            }
        }
        report.translated(place, &line.join(" "), "a part of the child");
    }
    wanted
}

/// Makes a connection of an entry of a crypto map: a child for each line of its access list.
pub(super) fn map_entry(
    name: &str,
    number: &str,
    block: &Block,
    known: &Known,
    draft: &mut Draft,
    report: &mut Report,
) {
    let wanted = wanted(block, report);
    let mut peers = Vec::new();
    let mut flows: Vec<Flow> = Vec::new();
    for (line, place) in &block.lines {
        match strs(line).as_slice() {
            ["set", "peer", peer, ..] => {
                peers.push((*peer).to_owned());
                report.translated(place, &line.join(" "), format!("remote_addrs = {peer}"));
            }
            ["match", "address", list] => match known.lists.get(*list) {
                Some(lines) => {
                    flows.extend(lines.clone());
                    report.translated(place, &line.join(" "), "local_ts and remote_ts");
                }
                None => report.missing(place, &line.join(" "), "there is no such access list"),
            },
            _ => {}
        }
    }
    let mut connection =
        connection(&draft.connection_name(&format!("{name}-{number}")), block, &peers, &wanted, known);
    if let Some(address) = known.map_addresses.get(name) {
        connection.entries.set("local_addrs", address.clone());
    }
    for (n, flow) in flows.iter().enumerate() {
        let mut child = child(&wanted, known, "trap");
        child.set("local_ts", flow.local.clone());
        child.set("remote_ts", flow.remote.clone());
        let name =
            if flows.len() == 1 { connection.name.clone() } else { format!("{}-{}", connection.name, n + 1) };
        connection.children.push((name, child));
    }
    finish(connection, &peers, known, block, draft, report);
}

/// A tunnel interface: everything that is routed to it is protected.
pub(super) fn tunnel(name: &str, block: &Block, known: &Known, draft: &mut Draft, report: &mut Report) {
    let find = |what: &[&str]| {
        block.lines.iter().find_map(|(line, _)| {
            strs(line).strip_prefix(what).and_then(|rest| rest.first().map(|word| (*word).to_owned()))
        })
    };
    let Some(profile) = find(&["tunnel", "protection", "ipsec", "profile"]) else { return };
    let Some(wanted) = known.ipsec_profiles.get(&profile) else {
        return report.missing(
            &block.place,
            &block.words.join(" "),
            format!("there is no IPsec profile {profile}"),
        );
    };
    let peers: Vec<String> = find(&["tunnel", "destination"]).into_iter().collect();
    let is_gre = find(&["tunnel", "mode"]).is_none_or(|mode| mode == "gre");
    let mut connection =
        connection(&draft.connection_name(&name.to_lowercase()), block, &peers, wanted, known);
    if let Some(source) = find(&["tunnel", "source"]) {
        let address = known.addresses.get(&source).cloned().unwrap_or(source);
        connection.entries.set("local_addrs", address);
    }
    let mut child = child(wanted, known, "start");
    if is_gre {
        child.set("local_ts", "dynamic[gre]");
        child.set("remote_ts", "dynamic[gre]");
        report.translated(
            &block.place,
            &block.words.join(" "),
            "a child for GRE; make the GRE device itself with `ip link add … type gre`",
        );
    } else {
        child.set("local_ts", "0.0.0.0/0");
        child.set("remote_ts", "0.0.0.0/0");
        child.set("interface", connection.name.clone());
        let inner = block.lines.iter().find_map(|(line, _)| match strs(line).as_slice() {
            ["ip", "address", address, mask] => {
                Some((address.parse::<Ipv4Addr>().ok()?, mask.parse::<Ipv4Addr>().ok()?))
            }
            _ => None,
        });
        if let Some((address, mask)) = inner {
            child.set("interface_addrs", format!("{address}/{}", u32::from(mask).leading_ones()));
        }
        report.translated(
            &block.place,
            &block.words.join(" "),
            "a child with a device of its own; add routes to it as there",
        );
    }
    connection.children.push((connection.name.clone(), child));
    finish(connection, &peers, known, block, draft, report);
}

fn connection(name: &str, block: &Block, peers: &[String], wanted: &Wanted, known: &Known) -> Connection {
    let mut connection =
        Connection { name: name.to_owned(), place: block.place.clone(), ..Connection::default() };
    let version = if wanted.ikev2.is_some() { "2" } else { "1" };
    connection.entries.set("version", version);
    if !peers.is_empty() {
        connection.entries.set("remote_addrs", peers.join(", "));
    }
    let proposals: Vec<String> = match wanted.ikev2 {
        Some(_) => known.ikev2_proposals.iter().flat_map(|(_, proposals)| proposals.clone()).collect(),
        None => known.isakmp.values().cloned().collect(),
    };
    if !proposals.is_empty() {
        connection.entries.set("proposals", proposals.join(", "));
    }
    if let Some(delay) = &known.dpd {
        connection.entries.set("dpd_delay", delay.clone());
    }
    let profile =
        wanted.ikev2.as_ref().and_then(|name| known.profiles.get(name)).cloned().unwrap_or_default();
    let signs = if wanted.ikev2.is_some() { profile.signs } else { known.signs && known.keys.is_empty() };
    let (mut local, mut remote) = (Entries::default(), Entries::default());
    for end in [&mut local, &mut remote] {
        end.set("auth", if signs { "pubkey" } else { "psk" });
    }
    if let Some(id) = profile.local_id {
        local.set("id", id);
    }
    if let Some(id) = profile.remote_id.or_else(|| peers.first().cloned()) {
        remote.set("id", id);
    }
    connection.local.push(local);
    connection.remote.push(remote);
    connection
}

fn child(wanted: &Wanted, known: &Known, start: &str) -> Entries {
    let mut child = Entries::default();
    let sets: Vec<&Transform> = wanted.sets.iter().filter_map(|set| known.transforms.get(set)).collect();
    let list = |is_ah: bool| {
        let chosen = sets.iter().filter(|set| set.is_ah == is_ah);
        let with_group = chosen.map(|set| match &wanted.group {
            Some(group) => format!("{}-{group}", set.proposal),
            None => set.proposal.clone(),
        });
        with_group.collect::<Vec<_>>().join(", ")
    };
    for (key, proposals) in [("esp_proposals", list(false)), ("ah_proposals", list(true))] {
        if !proposals.is_empty() {
            child.set(key, proposals);
        }
    }
    if let Some(set) = sets.first() {
        child.set("mode", set.mode);
    }
    if let Some(secs) =
        wanted.life_secs.clone().map(|secs| format!("{secs}s")).or_else(|| known.lifetime.clone())
    {
        let number: u64 = secs.trim_end_matches('s').parse().unwrap_or(3600);
        child.set("life_time", secs);
        child.set("rekey_time", format!("{}s", number / 10 * 9));
    }
    child.set("start_action", start);
    child
}

fn finish(
    connection: Connection,
    peers: &[String],
    known: &Known,
    block: &Block,
    draft: &mut Draft,
    report: &mut Report,
) {
    for (peer, key) in &known.keys {
        let is_theirs = peers.contains(peer)
            || peer == "%any"
            || peers.iter().all(|known| known.parse::<Ipv4Addr>().is_err());
        let is_new = |draft: &Draft| {
            !draft.secrets.iter().any(|secret| secret.entries.get("id-1").unwrap_or("%any") == peer)
        };
        if is_theirs && is_new(draft) {
            let mut entries = Entries::default();
            if peer != "%any" {
                entries.set("id-1", peer.clone());
            }
            entries.set("secret", key.clone());
            draft.secrets.push(SecretDraft { kind: "ike", entries });
        }
    }
    let said = block.words.join(" ");
    if connection.children.is_empty() {
        return report.missing(&block.place, &said, "left out: no traffic is named that it would protect");
    }
    report.translated(&block.place, &said, format!("the connection `{}`", connection.name));
    draft.connections.push(connection);
}
