//! ipsec.conf and ipsec.secrets, as strongSwan's starter and as Libreswan have them.
//!
//! ```text
//!   config setup            conn %default               conn office
//!     uniqueids=yes           keyexchange=ikev2            also=base
//!                             ike=aes256-sha256-modp2048!  left=192.0.2.1   leftsubnet=10.1.0.0/16
//!   ca lab                                                 right=198.51.100.1   rightsubnet=10.2.0.0/16
//!     cacert=ca.pem                                        auto=start
//! ```
//!
//! A `conn` is one connection with one child. What has a default there that differs from ours is written out.

mod behaviour;
mod ends;
mod proposals;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::File;
use super::draft::{Connection, Draft, Entries};
use super::lines::{Pair, Section, sections};
use super::report::{Fate, Report};
use super::secrets;

/// Whose ipsec.conf it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    StrongSwan,
    Libreswan,
}

/// Reads all files.
pub(super) fn read(
    files: &[File],
    dialect: Dialect,
    is_own: &dyn Fn(IpAddr) -> bool,
    draft: &mut Draft,
    report: &mut Report,
) {
    let (with_secrets, others): (Vec<&File>, Vec<&File>) =
        files.iter().partition(|file| secrets::is_secrets(file));
    let all: Vec<Section> = others.iter().flat_map(|file| sections(file)).collect();
    let mut of_all = Entries::default();
    for section in &all {
        match section.head.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["config", "setup"] => set_up(section, &mut of_all, report),
            ["ca", name] => authority(name, section, draft, report),
            ["conn", ..] | ["version", ..] => {}
            ["include", pattern] => {
                report.missing(
                    &section.place,
                    &format!("include {pattern}"),
                    "name the included files on the command line, too",
                );
            }
            // It may be a secret that went astray.
            head => {
                let said = format!("{} …", head.first().copied().unwrap_or_default());
                report.missing(&section.place, &said, "it is not understood, and left out");
            }
        }
    }
    let conns = Conns::of(&all);
    for (name, section) in &conns.named {
        if *name != "%default" {
            conn(name, section, &conns, dialect, is_own, &of_all, draft, report);
        }
    }
    with_secrets.into_iter().for_each(|file| secrets::read(file, draft, report));
}

/// The connections by name, and who says `also`.
struct Conns<'a> {
    named: Vec<(&'a str, &'a Section)>,
}

/// What has been taken over so far.
#[derive(Default)]
struct Taken<'a> {
    /// Who takes over from whom, down to the one that is being read.
    chain: Vec<&'a str>,
    /// All who have been read: what they say counts once.
    names: BTreeSet<&'a str>,
    pairs: Vec<&'a Pair>,
}

/// How far `also` may lead.
const DEEPEST: usize = 16;

impl<'a> Conns<'a> {
    fn of(all: &'a [Section]) -> Conns<'a> {
        let named = all.iter().filter_map(|section| match section.head.as_slice() {
            [kind, name] if kind == "conn" => Some((name.as_str(), section)),
            _ => None,
        });
        Conns { named: named.collect() }
    }

    /// Gives what a connection says with all that it takes over; its own word comes first.
    fn resolved(&self, section: &'a Section, report: &mut Report) -> Vec<&'a Pair> {
        let mut taken = Taken::default();
        self.take_over(section, &mut taken, report);
        taken.pairs
    }

    fn take_over(&self, section: &'a Section, taken: &mut Taken<'a>, report: &mut Report) {
        let name = section.head.last().map(String::as_str).unwrap_or_default();
        taken.chain.push(name);
        taken.names.insert(name);
        taken.pairs.extend(section.pairs.iter().filter(|pair| pair.key != "also"));
        for also in section.pairs.iter().filter(|pair| pair.key == "also") {
            let mut missing = |sentence: &str| {
                report.missing(&also.place, &format!("also={}", also.value), sentence);
            };
            match self.named.iter().find(|(name, _)| *name == also.value) {
                None => missing("there is no such conn"),
                Some((name, _)) if taken.chain.contains(name) => missing("it leads around in a circle"),
                Some((name, _)) if taken.names.contains(name) => {}
                Some(_) if taken.chain.len() > DEEPEST => missing("it leads too far, and is left out"),
                Some((_, other)) => self.take_over(other, taken, report),
            }
        }
        taken.chain.pop();
    }

    fn defaults(&self, report: &mut Report) -> Vec<&'a Pair> {
        let defaults = self.named.iter().filter(|(name, _)| *name == "%default");
        defaults.flat_map(|(_, section)| self.resolved(section, report)).collect()
    }

    fn is_template(&self, name: &str) -> bool {
        let all = self.named.iter().flat_map(|(_, section)| &section.pairs);
        all.into_iter().any(|pair| pair.key == "also" && pair.value == name)
    }
}

/// What one `conn` says: each key once, and what became of each.
pub(super) struct Said<'a> {
    pairs: BTreeMap<&'a str, &'a Pair>,
    taken: Vec<&'a str>,
    pub(super) dialect: Dialect,
    /// Which of left and right is this host.
    own: &'static str,
    /// What became of the restrictions on who the peer may be.
    pub(super) restrictions: Restrictions,
}

/// What became of the restrictions on who the peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restrictions {
    /// They are as they were.
    Kept,
    /// They hold only if the files beside the configuration are chosen so: somebody is to look at that first.
    Unsure,
    /// They are lost: without them others would be let in.
    Lost,
}

impl<'a> Said<'a> {
    /// Takes what is said of a key; whatever is taken is noted as translated to this.
    fn take(&mut self, key: &'a str) -> Option<&'a Pair> {
        let pair = self.pairs.get(key).copied()?;
        self.taken.push(key);
        Some(pair)
    }

    /// The same of several keys that mean the same.
    fn take_any(&mut self, keys: &[&'a str]) -> Option<&'a Pair> {
        let found: Vec<&Pair> = keys.iter().filter_map(|key| self.take(key)).collect();
        found.into_iter().next()
    }

    /// Notes what became of a restriction; the worst counts.
    pub(super) fn restrict(&mut self, restrictions: Restrictions) {
        self.restrictions = self.restrictions.max(restrictions);
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.pairs.get(key).map(|pair| pair.value.as_str())
    }
}

#[expect(clippy::too_many_arguments, reason = "it is called in one place, and each of them is another thing")]
fn conn(
    name: &str,
    section: &Section,
    conns: &Conns<'_>,
    dialect: Dialect,
    is_own: &dyn Fn(IpAddr) -> bool,
    of_all: &Entries,
    draft: &mut Draft,
    report: &mut Report,
) {
    let mut pairs = BTreeMap::new();
    for pair in conns.resolved(section, report).into_iter().chain(conns.defaults(report)) {
        pairs.entry(pair.key.as_str()).or_insert(pair);
    }
    let auto = pairs.get("auto").map_or("ignore", |pair| pair.value.as_str());
    if auto == "ignore" {
        if !conns.is_template(name) {
            report.missing(
                &section.place,
                &format!("conn {name}"),
                "left out, as it is there: it has no `auto`, or `auto=ignore`",
            );
        }
        return;
    }
    let at = |key: &str| pairs.get(key).and_then(|pair| pair.value.parse::<IpAddr>().ok());
    let is_right_own = at("right").is_some_and(is_own) && !at("left").is_some_and(is_own);
    let own = if is_right_own { "right" } else { "left" };
    let mut said = Said { pairs, taken: Vec::new(), dialect, own, restrictions: Restrictions::Kept };
    let mut connection = Connection {
        name: draft.connection_name(name),
        place: section.place.clone(),
        ..Connection::default()
    };
    let mut child = Entries::default();
    let (pools, notes) = (draft.pools.len(), report.notes.len());
    version(&mut said, &mut connection, report);
    ends::translate(&mut said, &mut connection, &mut child, draft, report);
    proposals::translate(&mut said, &mut connection, &mut child, report);
    times::translate(&mut said, &mut connection, &mut child, report);
    behaviour::translate(&mut said, &mut connection, &mut child, report);
    of_every_connection(of_all, &mut connection);
    not_taken(&said, report);
    if said.restrictions == Restrictions::Lost {
        draft.pools.truncate(pools);
        return left_out(name, section, notes, report);
    }
    let now = format!("the connection `{}` with one child", connection.name);
    report.translated(&section.place, &format!("conn {name}"), now);
    if said.restrictions == Restrictions::Unsure && child.get("start_action").is_some_and(|at| at != "none") {
        child.set("start_action", "none");
        let sentence = "it does not start by itself until you have seen to `cacerts`: set start_action then";
        report.changed(&section.place, &format!("conn {name}"), sentence);
    }
    connection.children.push((connection.name.clone(), child));
    draft.connections.push(connection);
}

fn of_every_connection(of_all: &Entries, connection: &mut Connection) {
    for (key, value) in &of_all.0 {
        if key == "revocation" {
            connection.remote.iter_mut().for_each(|round| round.set(key, value.clone()));
        } else {
            connection.entries.set(key, value.clone());
        }
    }
}

fn not_taken(said: &Said<'_>, report: &mut Report) {
    for (key, pair) in said.pairs.iter().filter(|(key, _)| !said.taken.contains(*key)) {
        let sentence = "there is no such key here, and it is left out";
        report.missing(&pair.place, &format!("{key}={}", pair.value), sentence);
    }
}

/// Notes that a connection is not taken over; then nothing in it has been translated.
fn left_out(name: &str, section: &Section, notes: usize, report: &mut Report) {
    let of_it = report.notes.split_off(notes);
    report.notes.extend(of_it.into_iter().filter(|note| note.fate == Fate::Missing));
    let sentence = "left out, since it would let in others than the peer that was meant (see what has no equivalent there)";
    report.missing(&section.place, &format!("conn {name}"), sentence);
}

fn version(said: &mut Said<'_>, connection: &mut Connection, report: &mut Report) {
    let (pair, version) = match said.dialect {
        Dialect::StrongSwan => {
            let pair = said.take("keyexchange");
            let version = match pair.map(|pair| pair.value.as_str()) {
                Some("ikev1") => "1",
                Some("ikev2") => "2",
                _ => "0",
            };
            (pair, version)
        }
        Dialect::Libreswan => {
            let pair = said.take_any(&["ikev2", "keyexchange"]);
            let version = match pair.map(|pair| pair.value.as_str()) {
                Some("no" | "never" | "ikev1") => "1",
                _ => "2",
            };
            (pair, version)
        }
    };
    // Nobody needs IKEv1 who has not said so.
    if version == "0" {
        connection.entries.set("version", "2");
        let place = pair.map_or_else(|| connection.place.clone(), |pair| pair.place.clone());
        report.changed(
            &place,
            "keyexchange=ike",
            "only IKEv2 now: write `version = 0` if the peer may call with IKEv1",
        );
    } else {
        connection.entries.set("version", version);
    }
}

fn set_up(section: &Section, of_all: &mut Entries, report: &mut Report) {
    for Pair { key, value, place } in &section.pairs {
        let said = format!("{key}={value}");
        let mut set = |key: &str, value: &str| {
            of_all.set(key, value);
            report.translated(place, &said, format!("{key} = {value} in every connection"));
        };
        match (key.as_str(), value.as_str()) {
            ("uniqueids", "yes" | "replace") => set("unique", "replace"),
            ("uniqueids", "no") => set("unique", "no"),
            ("uniqueids", "keep") => set("unique", "keep"),
            ("uniqueids", "never") => set("unique", "never"),
            ("strictcrlpolicy" | "crl-strict", "yes") => set("revocation", "strict"),
            ("strictcrlpolicy", "ifuri") => set("revocation", "ifuri"),
            ("strictcrlpolicy" | "crl-strict", "no") => set("revocation", "relaxed"),
            ("cachecrls", _) => report.missing(place, &said, "start the daemon with --cache-crls DIR"),
            ("charondebug" | "plutodebug" | "klipsdebug", _) => {
                report.missing(place, &said, "start the daemon with --log, as in --log info,ike=debug");
            }
            ("listen", _) => report.missing(place, &said, "start the daemon with --listen ADDRESS"),
            ("protostack" | "nat_traversal" | "interfaces" | "plutostart" | "charonstart", _) => {
                report.translated(place, &said, "nothing: Keyway has one way to do that");
            }
            ("virtual_private" | "virtual-private", _) => {
                report.missing(place, &said, "write the networks that clients may have into remote_ts");
            }
            _ => report.missing(place, &said, "there is no such setting"),
        }
    }
}

fn authority(name: &str, section: &Section, draft: &mut Draft, report: &mut Report) {
    let mut entries = Entries::default();
    for Pair { key, value, place } in &section.pairs {
        let said = format!("{key}={value}");
        let mut add = |to: &str| {
            entries.append(to, value);
            report.translated(place, &said, format!("{to} of the authority `{name}`"));
        };
        match key.as_str() {
            "cacert" => {
                let file = value.rsplit('/').next().unwrap_or(value);
                entries.set("cacert", file);
                report.translated(place, &said, format!("put {file} into x509ca/, beside the configuration"));
            }
            "crluri" | "crluri1" | "crluri2" => add("crl_uris"),
            "ocspuri" | "ocspuri1" | "ocspuri2" => add("ocsp_uris"),
            "certuribase" => add("cert_uri_base"),
            "auto" => report.translated(place, &said, "nothing: it is loaded"),
            _ => report.missing(place, &said, "there is no such key of an authority"),
        }
    }
    if name != "%default" {
        draft.authorities.push((draft.authority_name(name), entries));
    }
}
