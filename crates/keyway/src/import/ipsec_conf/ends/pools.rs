//! Addresses inside: ours, which we ask for, and the peer's, which come out of a pool.

use super::{End, key, written};
use crate::import::draft::{Connection, Draft, Entries, section_name};
use crate::import::ipsec_conf::{Dialect, Said};
use crate::import::report::Report;

/// Turns an address inside into one that is asked for, or into a pool for those who ask.
pub(super) fn virtual_addresses(
    said: &mut Said<'_>,
    end: End,
    side: &'static str,
    connection: &mut Connection,
    draft: &mut Draft,
    report: &mut Report,
) {
    let Some(pair) = said.take_any(&[key(side, "sourceip"), key(side, "addresspool")]) else { return };
    let is_pool = pair.key.ends_with("addresspool");
    if end == End::Local && !is_pool {
        let wanted = pair.value.split(',').map(str::trim).map(|address| match address {
            "%config" | "%config4" | "%modeconfig" | "%modecfg" => "0.0.0.0",
            "%config6" => "::",
            other => other,
        });
        let wanted = wanted.collect::<Vec<_>>().join(", ");
        if said.dialect == Dialect::Libreswan && !pair.value.starts_with('%') {
            return report.translated(
                &pair.place,
                &written(pair),
                "nothing: routes prefer this host's address in local_ts by themselves",
            );
        }
        report.translated(&pair.place, &written(pair), format!("vips = {wanted}"));
        return connection.entries.set("vips", wanted);
    }
    if end == End::Local {
        return report.missing(&pair.place, &written(pair), "a pool belongs to the other end");
    }
    let mut names = Vec::new();
    for (n, part) in pair.value.split(',').map(str::trim).enumerate() {
        match part {
            "%config" | "%config4" | "%config6" | "%dhcp" | "%radius" => {
                report.missing(
                    &pair.place,
                    &written(pair),
                    "write the addresses that clients get into `pools`",
                );
            }
            part if part.starts_with('%') => names.push(section_name(&part[1..])),
            part => {
                let name =
                    if n == 0 { connection.name.clone() } else { format!("{}-{}", connection.name, n + 1) };
                let name = draft.pool_name(&name);
                let mut pool = Entries::default();
                pool.set("addrs", part);
                draft.pools.push((name.clone(), pool));
                names.push(name);
            }
        }
    }
    if !names.is_empty() {
        connection.entries.set("pools", names.join(", "));
        report.translated(&pair.place, &written(pair), format!("pools = {}", names.join(", ")));
    }
}

/// Name servers for clients stand with the pool.
pub(super) fn name_servers(
    said: &mut Said<'_>,
    connection: &Connection,
    draft: &mut Draft,
    report: &mut Report,
) {
    let remote = if said.own == "left" { "right" } else { "left" };
    let keys = [
        key(remote, "dns"),
        "modecfgdns",
        "modecfgdns1",
        "modecfgdns2",
        "modecfgdomains",
        "modecfgdomain",
        "modecfgbanner",
    ];
    for key in keys {
        let Some(pair) = said.take(key) else { continue };
        let to = if key.contains("domain") {
            "domain"
        } else if key.contains("banner") {
            "banner"
        } else {
            "dns"
        };
        let names: Vec<&str> = connection.entries.get("pools").unwrap_or_default().split(", ").collect();
        let pools = draft.pools.iter_mut().filter(|(name, _)| names.contains(&name.as_str()));
        let mut done = false;
        for (_, pool) in pools {
            let value =
                pair.value.split([' ', ',']).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
            pool.append(to, &value);
            done = true;
        }
        if done {
            report.translated(&pair.place, &written(pair), format!("{to} of the pool"));
        } else {
            report.missing(&pair.place, &written(pair), "there is no pool that could have it");
        }
    }
}
