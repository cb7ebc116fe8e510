//! The two ends: `left` and `right`, of which one is this host.

mod pools;

use self::pools::{name_servers, virtual_addresses};
use super::{Dialect, Restrictions, Said};
use crate::import::draft::{Connection, Draft, Entries};
use crate::import::lines::Pair;
use crate::import::report::Report;
use crate::import::secrets::identity;

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Local,
    Remote,
}

impl End {
    fn word(self) -> &'static str {
        match self {
            End::Local => "local",
            End::Remote => "remote",
        }
    }
}

/// Turns what is said of both ends into addresses, rounds of authentication, selectors and pools.
pub(super) fn translate(
    said: &mut Said<'_>,
    connection: &mut Connection,
    child: &mut Entries,
    draft: &mut Draft,
    report: &mut Report,
) {
    let both = proof_of_both(said, report);
    for end in [End::Local, End::Remote] {
        let side = match (end, said.own) {
            (End::Local, own) => own,
            (End::Remote, "left") => "right",
            (End::Remote, _) => "left",
        };
        addresses(said, end, side, connection, report);
        rounds(said, end, side, both.as_ref(), connection, report);
        selectors(said, end, side, child, report);
        virtual_addresses(said, end, side, connection, draft, report);
        rest(said, end, side, connection, child, report);
    }
    name_servers(said, connection, draft, report);
}

/// The key of an end.
fn key(side: &str, what: &str) -> &'static str {
    let all = ALL.iter().find(|known| known.strip_prefix(side) == Some(what));
    all.copied().unwrap_or_default()
}

const ALL: &[&str] = &[
    "left",
    "right",
    "leftikeport",
    "rightikeport",
    "leftallowany",
    "rightallowany",
    "leftid",
    "rightid",
    "leftid2",
    "rightid2",
    "leftauth",
    "rightauth",
    "leftauth2",
    "rightauth2",
    "leftcert",
    "rightcert",
    "leftcert2",
    "rightcert2",
    "leftca",
    "rightca",
    "leftca2",
    "rightca2",
    "leftsendcert",
    "rightsendcert",
    "leftsubnet",
    "rightsubnet",
    "leftsubnets",
    "rightsubnets",
    "leftprotoport",
    "rightprotoport",
    "leftsourceip",
    "rightsourceip",
    "leftaddresspool",
    "rightaddresspool",
    "leftdns",
    "rightdns",
    "leftupdown",
    "rightupdown",
    "leftfirewall",
    "rightfirewall",
    "lefthostaccess",
    "righthostaccess",
    "leftgroups",
    "rightgroups",
    "leftgroups2",
    "rightgroups2",
    "leftsigkey",
    "rightsigkey",
    "leftrsasigkey",
    "rightrsasigkey",
    "leftcertpolicy",
    "rightcertpolicy",
    "leftxauthserver",
    "rightxauthserver",
    "leftxauthclient",
    "rightxauthclient",
    "leftmodecfgserver",
    "rightmodecfgserver",
    "leftmodecfgclient",
    "rightmodecfgclient",
    "leftxauthusername",
    "rightxauthusername",
    "leftusername",
    "rightusername",
    "leftnexthop",
    "rightnexthop",
    "leftckaid",
    "rightckaid",
    "leftcat",
    "rightcat",
    "leftvti",
    "rightvti",
    "leftinterface-ip",
    "rightinterface-ip",
];

fn written(pair: &Pair) -> String {
    format!("{}={}", pair.key, pair.value)
}

fn addresses(
    said: &mut Said<'_>,
    end: End,
    side: &'static str,
    connection: &mut Connection,
    report: &mut Report,
) {
    let to = format!("{}_addrs", end.word());
    if let Some(pair) = said.take(side) {
        match pair.value.as_str() {
            "%any" | "%any6" | "0.0.0.0" | "%defaultroute" | "%any4" => {
                report.translated(&pair.place, &written(pair), format!("{to} stays any"));
            }
            value if value.starts_with('%') && !value.contains('.') && !value.contains(':') => {
                report.missing(
                    &pair.place,
                    &written(pair),
                    format!("{to} knows no such word: any address is meant now"),
                );
            }
            value => {
                // A percent sign before a name says that others may call, too.
                let value = value.replace('%', "");
                connection.entries.set(&to, value.clone());
                report.translated(&pair.place, &written(pair), format!("{to} = {value}"));
            }
        }
    }
    if let Some(pair) = said.take(key(side, "allowany")).filter(|pair| pair.value == "yes") {
        let known = connection.entries.get(&to).unwrap_or("%any").to_owned();
        if known != "%any" {
            connection.entries.set(&to, format!("{known}, %any"));
        }
        report.translated(&pair.place, &written(pair), format!("{to} has %any besides"));
    }
    if let Some(pair) = said.take(key(side, "ikeport")) {
        match (end, pair.value.as_str()) {
            (_, "500") => report.translated(&pair.place, &written(pair), "nothing: it is what happens"),
            (End::Remote, port) => {
                connection.entries.set("remote_port", port);
                report.translated(&pair.place, &written(pair), format!("remote_port = {port}"));
            }
            (End::Local, _) => report.missing(
                &pair.place,
                &written(pair),
                "the daemon's ports are the same for every connection",
            ),
        }
    }
    for what in ["nexthop", "interface-ip", "vti", "cat", "ckaid"] {
        if let Some(pair) = said.take(key(side, what)) {
            report.missing(
                &pair.place,
                &written(pair),
                "the host's routes and the files beside the configuration say that",
            );
        }
    }
}

/// How both ends prove who they are, where one key says it for both.
struct Both {
    method: &'static str,
    /// Whether a user proves himself besides (IKEv1).
    user: bool,
}

fn proof_of_both(said: &mut Said<'_>, report: &mut Report) -> Option<Both> {
    let pair = said.take("authby")?;
    let first = pair.value.split(',').next().unwrap_or_default().trim();
    let both = match first {
        "secret" | "psk" => Both { method: "psk", user: false },
        "xauthpsk" => Both { method: "psk", user: true },
        "xauthrsasig" => Both { method: "pubkey", user: true },
        "rsasig" | "rsa-sha2" | "rsa-sha2_256" | "rsa-sha2_384" | "rsa-sha2_512" | "rsa-sha1"
        | "ecdsasig" | "ecdsa" | "ecdsa-sha2" | "ecdsa-sha2_256" | "ecdsa-sha2_384" | "ecdsa-sha2_512"
        | "pubkey" | "rsa" => Both { method: "pubkey", user: false },
        // What is never negotiated needs no proof.
        "never" if is_shunt(said) => {
            report.translated(&pair.place, &written(pair), "nothing: `mode` says that nobody is asked");
            return Some(Both { method: "pubkey", user: false });
        }
        _ => {
            report.missing(&pair.place, &written(pair), "there is no such proof: write `auth` of both ends");
            said.restrict(Restrictions::Lost);
            return None;
        }
    };
    report.translated(&pair.place, &written(pair), format!("auth = {} at both ends", both.method));
    Some(both)
}

fn is_shunt(said: &Said<'_>) -> bool {
    matches!(said.value("type"), Some("passthrough" | "pass" | "drop" | "reject"))
}

fn rounds(
    said: &mut Said<'_>,
    end: End,
    side: &'static str,
    both: Option<&Both>,
    connection: &mut Connection,
    report: &mut Report,
) {
    let mut first = Entries::default();
    let method = said.take(key(side, "auth"));
    match method {
        Some(pair) => {
            let auth = method_of(&pair.value);
            first.set("auth", auth);
            report.translated(&pair.place, &written(pair), format!("auth = {auth} of {}", end.word()));
        }
        None => first.set("auth", both.map_or("pubkey", |both| both.method)),
    }
    name(said, side, ["id", "cert", "ca"], end, &mut first, report);
    let mut all = vec![first];
    let second = said.take(key(side, "auth2"));
    if let Some(pair) = second {
        let mut round = Entries::default();
        round.set("auth", method_of(&pair.value));
        name(said, side, ["id2", "cert2", "ca2"], end, &mut round, report);
        report.translated(&pair.place, &written(pair), format!("a second round of {}", end.word()));
        all.push(round);
    }
    if second.is_none() && both.is_some_and(|both| both.user) && is_user(said, end, side) {
        all.push(user_round());
    }
    for what in ["xauthserver", "xauthclient", "modecfgserver", "modecfgclient"] {
        let Some(pair) = said.take(key(side, what)) else { continue };
        match (what, pair.value.as_str(), end) {
            ("xauthclient", "yes", _) if all.len() == 1 => all.push(user_round()),
            ("modecfgclient", "yes", End::Local) => connection.entries.set("vips", "0.0.0.0"),
            _ => {}
        }
        let now = format!("a round or a virtual address of {}", end.word());
        report.translated(&pair.place, &written(pair), now);
    }
    if end == End::Local {
        users(said, side, &mut all, report);
    }
    match end {
        End::Local => connection.local = all,
        End::Remote => connection.remote = all,
    }
}

fn user_round() -> Entries {
    let mut round = Entries::default();
    round.set("auth", "xauth");
    round
}

/// What our user is called.
fn users(said: &mut Said<'_>, side: &'static str, all: &mut [Entries], report: &mut Report) {
    let who = said.take_any(&["xauth_identity", key(side, "xauthusername"), key(side, "username")]);
    if let (Some(pair), Some(round)) = (who, all.iter_mut().find(|round| round.get("auth") == Some("xauth")))
    {
        round.set("xauth_id", pair.value.clone());
        report.translated(&pair.place, &written(pair), "xauth_id of local");
    }
    // Who answers EAP at our end has a name for it.
    let eap = said.take("eap_identity");
    if let (Some(pair), Some(round)) = (eap, all.iter_mut().find(|round| is_eap(round))) {
        round.set("eap_id", pair.value.clone());
        report.translated(&pair.place, &written(pair), "eap_id of local");
    } else if let Some(pair) = eap {
        report.translated(&pair.place, &written(pair), "the peer's name in EAP may be any");
    }
}

fn is_eap(round: &Entries) -> bool {
    round.get("auth").is_some_and(|auth| auth.starts_with("eap"))
}

/// With `xauth=server` the peer's user proves himself, with `xauth=client`, or without a word, ours.
fn is_user(said: &mut Said<'_>, end: End, side: &'static str) -> bool {
    let of_libreswan =
        said.dialect == Dialect::Libreswan && said.value(key(side, "xauthclient")) == Some("yes");
    let is_server = said.take("xauth").is_some_and(|pair| pair.value == "server");
    of_libreswan || (said.dialect == Dialect::StrongSwan && (end == End::Remote) == is_server)
}

fn method_of(written: &str) -> &str {
    match written {
        "secret" | "psk" => "psk",
        "rsasig" | "rsa-sha2" | "ecdsa" | "ecdsasig" | "any" => "pubkey",
        "xauth-generic" => "xauth",
        other => other,
    }
}

/// Who an end is, and its certificate.
fn name(
    said: &mut Said<'_>,
    side: &'static str,
    [id, cert, ca]: [&str; 3],
    end: End,
    round: &mut Entries,
    report: &mut Report,
) {
    if let Some(pair) = said.take(key(side, id)) {
        match pair.value.as_str() {
            "%any" | "%fromcert" | "%none" => report.translated(&pair.place, &written(pair), "id stays open"),
            value => {
                let value = identity(value.trim_start_matches('%'));
                report.translated(&pair.place, &written(pair), format!("id = {value} of {}", end.word()));
                round.set("id", value);
            }
        }
    } else if id == "id" && end == End::Remote {
        // There a peer is by default who has its address.
        if let Some(address) = said.value(side).filter(|address| address.parse::<std::net::IpAddr>().is_ok())
        {
            round.set("id", address);
        }
    }
    if let Some(pair) = said.take(key(side, cert)) {
        match said.dialect {
            Dialect::StrongSwan => {
                let file = pair.value.rsplit('/').next().unwrap_or(&pair.value);
                round.set("certs", file);
                report.translated(&pair.place, &written(pair), format!("certs = {file}; put it into x509/, beside the configuration"));
            }
            Dialect::Libreswan => report.missing(
                &pair.place,
                &written(pair),
                "it is in an NSS database: `pk12util -o gw.p12 -n NICKNAME -d sql:/var/lib/ipsec/nss` takes it out, put gw.p12 into \
                 pkcs12/ and its password into `secrets`",
            ),
        }
    }
    if let Some(pair) = said.take(key(side, ca)) {
        authority(said, pair, end, report);
    }
}

/// Whose certificates count: only at the other end does it say who may be the peer.
fn authority(said: &mut Said<'_>, pair: &Pair, end: End, report: &mut Report) {
    match (end, pair.value.as_str()) {
        (_, "%any") => report.translated(&pair.place, &written(pair), "every CA in x509ca/ is trusted"),
        (End::Local, "%same") => {
            report.translated(&pair.place, &written(pair), "nothing: `certs` says which certificate is ours");
        }
        (End::Remote, "%same") => {
            report.changed(
                &pair.place,
                &written(pair),
                "every CA in x509ca/ is trusted now: have only ours there, or name its file in `cacerts` of remote",
            );
            said.restrict(Restrictions::Unsure);
        }
        (End::Local, _) => {
            report.missing(&pair.place, &written(pair), "`certs` says which certificate is ours");
        }
        (End::Remote, _) => {
            report.missing(&pair.place, &written(pair), "name the CA's file in `cacerts` of remote");
            said.restrict(Restrictions::Lost);
        }
    }
}

fn selectors(said: &mut Said<'_>, end: End, side: &'static str, child: &mut Entries, report: &mut Report) {
    let to = format!("{}_ts", end.word());
    let networks = said.take_any(&[key(side, "subnet"), key(side, "subnets")]);
    let ports = said.take(key(side, "protoport"));
    let mut list: Vec<String> = Vec::new();
    if let Some(pair) = networks {
        for network in pair
            .value
            .trim_matches(['{', '}'])
            .split([',', ' '])
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            match network {
                "%dynamic" => list.push("dynamic".to_owned()),
                _ if network.starts_with("vhost:") || network.starts_with("vnet:") => {
                    report.missing(&pair.place, &written(pair), "write the networks that the peer may have");
                }
                _ => list.push(network.replace("%dynamic", "dynamic").replace("%any", "")),
            }
        }
        report.translated(&pair.place, &written(pair), format!("{to} = {}", list.join(", ")));
    }
    if let Some(pair) = ports {
        let (protocol, port) = pair.value.split_once('/').unwrap_or((&pair.value, ""));
        let port =
            if port.is_empty() || port == "%any" || port == "0" { String::new() } else { format!("/{port}") };
        let protocol = if protocol == "%any" || protocol == "0" { "" } else { protocol };
        if list.is_empty() {
            list.push("dynamic".to_owned());
        }
        if !(protocol.is_empty() && port.is_empty()) {
            list.iter_mut().filter(|network| !network.contains('[')).for_each(|network| {
                network.push_str(&format!("[{protocol}{port}]"));
            });
        }
        report.translated(&pair.place, &written(pair), format!("{to} = {}", list.join(", ")));
    }
    if !list.is_empty() {
        child.set(&to, list.join(", "));
    }
}

fn rest(
    said: &mut Said<'_>,
    end: End,
    side: &'static str,
    connection: &mut Connection,
    child: &mut Entries,
    report: &mut Report,
) {
    if let Some(pair) = said.take(key(side, "sendcert")) {
        let word = match pair.value.as_str() {
            "yes" | "always" => "always",
            "no" | "never" => "never",
            _ => "ifasked",
        };
        if end == End::Local {
            connection.entries.set("send_cert", word);
        }
        report.translated(&pair.place, &written(pair), format!("send_cert = {word}"));
    }
    if let Some(pair) = said.take(key(side, "updown")) {
        match (end, pair.value.as_str()) {
            (_, "%disabled" | "") => report.translated(&pair.place, &written(pair), "no script"),
            (End::Local, command) if !command.contains("_updown") => {
                child.set("updown", command);
                report.translated(&pair.place, &written(pair), format!("updown = {command}"));
            }
            _ => report.missing(&pair.place, &written(pair), FIREWALL),
        }
    }
    if let Some(pair) = said.take(key(side, "firewall")).filter(|pair| pair.value == "yes") {
        report.missing(&pair.place, &written(pair), FIREWALL);
    }
    if let Some(pair) = said.take(key(side, "hostaccess")) {
        if end == End::Local && child.get("updown").is_some() {
            child.set("hostaccess", pair.value.as_str());
        }
        report.translated(&pair.place, &written(pair), "hostaccess, for a script of one's own");
    }
    if let Some(pair) = said.take(key(side, "certpolicy")) {
        if let (End::Remote, Some(round)) = (end, connection.remote.first_mut()) {
            round.set("cert_policy", pair.value.clone());
        }
        report.translated(&pair.place, &written(pair), "cert_policy of remote");
    }
    without_equivalent(said, end, side, report);
}

fn without_equivalent(said: &mut Said<'_>, end: End, side: &'static str, report: &mut Report) {
    for what in ["sigkey", "rsasigkey"] {
        let Some(pair) = said.take(key(side, what)) else { continue };
        if pair.value == "%cert" {
            report.translated(&pair.place, &written(pair), "nothing: certificates are what counts");
            continue;
        }
        let said = format!("{}=…", pair.key);
        report.missing(
            &pair.place,
            &said,
            "write the key as PEM into a file of pubkey/, and name it in `pubkeys`",
        );
    }
    for what in ["groups", "groups2"] {
        if let Some(pair) = said.take(key(side, what)) {
            report.missing(&pair.place, &written(pair), "membership of groups is not known");
            if end == End::Remote {
                said.restrict(Restrictions::Lost);
            }
        }
    }
    if end == End::Local
        && let Some(pair) = said.take("aaa_identity")
    {
        report.missing(&pair.place, &written(pair), "the identity of an AAA server is not looked at");
    }
}

const FIREWALL: &str = "its rules match policies of the kernel, which has none here: write rules for the device keyway0, in a script for \
                        `updown` if they are to come and go with the tunnel";
