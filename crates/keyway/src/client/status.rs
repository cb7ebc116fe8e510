//! `keyway status`: the SAs as a person, or a program, wants to see them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use vici::{Client, ClientError, Tree};

use super::units::{bytes, count, duration, rate};
use super::view::{Carried, ChildSa, Device, End, IkeSa, Limits, ManualSa};
use super::{Failure, connect};
use super::{blocks, pools};
use crate::cli::Status;

/// Shows the IKE SAs and their Child SAs.
///
/// # Errors
/// The daemon cannot be reached.
pub(crate) fn status(arguments: &Status) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon).inspect_err(|failure| {
        if let Failure::NotRunning { .. } = failure {
            print!("{}", blocks::left_behind(&arguments.journal, &arguments.daemon));
        }
    })?;
    if arguments.json {
        let (ike_sas, manual_sas) = (list_sas(&mut client)?, list_manual_sas(&mut client)?);
        let object = json!({
            "ike_sas": ike_sas.iter().map(IkeSa::to_json).collect::<Vec<_>>(),
            "manual_sas": manual_sas.iter().map(ManualSa::to_json).collect::<Vec<_>>(),
            "expiring": expiring(&mut client)?,
        });
        return Ok(writeln!(io::stdout(), "{object:#}")?);
    }
    let mut rates = Rates::default();
    loop {
        let text = if arguments.drops {
            let (ike_sas, manual_sas) = (list_sas(&mut client)?, list_manual_sas(&mut client)?);
            render_drops(&client.request("stats", &super::extras())?)
                + &render_drops_of_sas(&ike_sas, &manual_sas)
        } else {
            let (ike_sas, manual_sas) = (list_sas(&mut client)?, list_manual_sas(&mut client)?);
            let children = ike_sas.iter().flat_map(|ike| &ike.children);
            rates.sample(Instant::now(), children.chain(manual_sas.iter().map(|manual| &manual.sa)));
            let sas = match (ike_sas.as_slice(), manual_sas.as_slice()) {
                ([], []) => render_nothing(&list_children(&mut client)?),
                ([], manual) => render_manual(manual, &rates),
                (ike_sas, manual) => render_manual(manual, &rates) + &render(ike_sas, &rates),
            };
            let expiring = expiring(&mut client)?.into_iter().map(|sentence| format!("{sentence}\n"));
            sas + &pools::in_short(&mut client)?
                + &blocks::blocked(&mut client)?
                + &expiring.collect::<String>()
        };
        if !arguments.watch {
            return Ok(write!(io::stdout(), "{text}")?);
        }
        write!(io::stdout(), "{CLEAR_SCREEN}{text}")?;
        io::stdout().flush()?;
        thread::sleep(WATCH_INTERVAL);
    }
}

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the cursor home and clears the screen (ECMA-48 CUP, ED).
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// Asks for all SAs.
pub(super) fn list_sas(client: &mut Client) -> Result<Vec<IkeSa>, Failure> {
    let mut ike_sas = Vec::new();
    let each = |message| ike_sas.extend(IkeSa::read_all(&message));
    Client::success(client.streamed("list-sas", "list-sa", &super::extras(), each)?)?;
    Ok(ike_sas)
}

/// Asks for the SAs without IKE; a daemon that is no Keyway has none.
fn list_manual_sas(client: &mut Client) -> Result<Vec<ManualSa>, Failure> {
    let mut manual_sas = Vec::new();
    let each = |message| manual_sas.extend(ManualSa::read_all(&message));
    match client.streamed("list-manual-sas", "list-manual-sa", &Tree::new(), each) {
        Ok(response) => drop(Client::success(response)?),
        Err(ClientError::UnknownCommand(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(manual_sas)
}

/// Asks for a sentence about each certificate that soon expires; a daemon that is no Keyway tells of none.
fn expiring(client: &mut Client) -> Result<Vec<String>, Failure> {
    let stats = client.request("stats", &super::extras())?;
    let sentences = stats.list("expiring").unwrap_or_default();
    Ok(sentences.iter().filter_map(|sentence| sentence.text().map(str::to_owned)).collect())
}

/// Asks for the names of the connections and their children.
fn list_children(client: &mut Client) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut connections = Vec::new();
    let each = |message: Tree| {
        for (name, connection) in message.sections() {
            let children = connection.section("children").into_iter().flat_map(Tree::sections);
            connections.push((name.to_owned(), children.map(|(child, _)| child.to_owned()).collect()));
        }
    };
    Client::success(client.streamed("list-conns", "list-conn", &Tree::new(), each)?)?;
    Ok(connections)
}

fn render(ike_sas: &[IkeSa], rates: &Rates) -> String {
    let mut text = String::new();
    for ike in ike_sas {
        render_ike(&mut text, ike);
        for child in &ike.children {
            text.push('\n');
            render_child(&mut text, ike, child, rates);
        }
        text.push('\n');
    }
    let children = ike_sas.iter().map(|ike| ike.children.len() as u64).sum();
    line(&mut text, &format!("{}, {}", count(ike_sas.len() as u64, "IKE SA"), count(children, "Child SA")));
    text
}

fn render_ike(text: &mut String, ike: &IkeSa) {
    let role = if ike.is_initiator { "initiator" } else { "responder" };
    let mut head = format!("{} #{}, {}, {role}", ike.name, ike.id, ike.state.to_lowercase());
    if let Some(mode) = &ike.phase_1 {
        let by = ike.phase_1_method.as_ref().map(|method| format!(", {method}")).unwrap_or_default();
        write!(head, ", IKEv{} ({mode} mode{by})", ike.version).expect("writing to a String does not fail");
    }
    if let Some(seconds) = ike.established {
        write!(head, ", up {}", duration(seconds)).expect("writing to a String does not fail");
    }
    push_rekey(&mut head, ike.rekey_in);
    push_end(&mut head, ike.ends_in);
    line(text, &head);
    let width =
        [&ike.local, &ike.remote].map(|end| identity(end).chars().count()).into_iter().max().unwrap_or(0);
    for (name, end) in [("local ", &ike.local), ("remote", &ike.remote)] {
        let nat = if end.is_behind_nat { "  behind NAT" } else { "" };
        line(text, &format!("  {name}   {:width$}  {}{nat}", identity(end), end.address));
    }
    for (end, addresses) in ["ours", "the peer's"].into_iter().zip(&ike.virtual_addresses) {
        if !addresses.is_empty() {
            line(text, &format!("  inside   {} ({end})", addresses.join(", ")));
        }
    }
    if let Some(others) = &ike.mobile {
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(", the peer also at {}", others.join(", "))
        };
        line(text, &format!("  mobile   addresses may change (MOBIKE){others}"));
    }
    if let Some(user) = &ike.user {
        line(text, &format!("  user     {user}, by password (XAuth)"));
    }
    if !ike.suite.is_empty() {
        line(text, &format!("  suite    {}", ike.suite.join(" / ")));
    }
    line(text, &format!("  SPIs     {} / {}", ike.initiator_spi, ike.responder_spi));
}

fn render_child(text: &mut String, ike: &IkeSa, child: &ChildSa, rates: &Rates) {
    let mut head = format!(
        "  {} {{{}}}, {}, up {}",
        child.name,
        child.id,
        child.state.to_lowercase(),
        duration(child.installed)
    );
    push_rekey(&mut head, child.rekey_in);
    push_end(&mut head, child.ends_in);
    line(text, &head);
    render_protection(text, "    ", child);
    render_volume(text, "    ", child, rates);
    let is_behind_nat = ike.local.is_behind_nat || ike.remote.is_behind_nat;
    if child.protocol == "ESP" && child.around.is_none() && !child.in_udp && !is_behind_nat {
        line(text, "    hint     packets go without UDP; `encap = yes` would make them faster");
    }
}

fn render_manual(manual_sas: &[ManualSa], rates: &Rates) -> String {
    let mut text = String::new();
    for manual in manual_sas {
        let sa = &manual.sa;
        let state = sa.state.to_lowercase();
        line(&mut text, &format!("{}, manual keys, {state}, up {}", sa.name, duration(sa.installed)));
        line(&mut text, &format!("  ends     {} <-> {}", manual.local, manual.remote));
        render_protection(&mut text, "  ", sa);
        render_volume(&mut text, "  ", sa, rates);
        line(&mut text, &format!("  DANGER   {} {}", sa.name, manual.warning));
        if let Some(fault) = &manual.fault {
            line(&mut text, &format!("  FAILED   {fault}; what it should protect is dropped"));
        }
        text.push('\n');
    }
    text
}

fn render_protection(text: &mut String, indent: &str, sa: &ChildSa) {
    let traffic = format!("{} <-> {}", sa.local_selectors.join(" "), sa.remote_selectors.join(" "));
    line(text, &format!("{indent}traffic  {traffic}"));
    let carrier = if sa.in_udp { " in UDP" } else { "" };
    let compressed = if sa.is_compressed { ", compressed" } else { "" };
    let esn = if sa.has_esn { " / ESN" } else { "" };
    let (mode, suite) = (sa.mode.to_lowercase(), sa.suite.join(" / "));
    line(text, &format!("{indent}{:7}  {mode}{carrier}{compressed}, {suite}{esn}", sa.protocol));
    if let Some((suite, [inbound, outbound])) = &sa.around {
        let suite = suite.join(" / ");
        line(text, &format!("{indent}AH       around it, {suite}, SPIs {inbound} / {outbound}"));
    }
    match sa.padding.as_deref() {
        None => {}
        Some("mtu") => line(text, &format!("{indent}padding  to the longest packet that the path takes")),
        Some(octets) => line(text, &format!("{indent}padding  to {octets} octets")),
    }
    if let Some(left) = left(&sa.limits) {
        line(text, &format!("{indent}left     {left}"));
    }
    if let Some(Device { name, namespace, fault }) = &sa.device {
        let place = namespace.as_ref().map(|name| format!(" in the namespace {name}")).unwrap_or_default();
        let fault = fault.as_ref().map(|fault| format!(", but {fault}")).unwrap_or_default();
        line(text, &format!("{indent}device   {name}{place}{fault}"));
    }
}

/// Tells how much may still be carried until an SA is replaced, and until it ends.
fn left(limits: &Limits) -> Option<String> {
    let Limits { rekey_bytes, end_bytes, rekey_packets, end_packets } = *limits;
    let until = |what: &str, octets: Option<u64>, packets: Option<u64>| {
        let amounts: Vec<String> =
            octets.map(bytes).into_iter().chain(packets.map(|packets| count(packets, "packet"))).collect();
        (!amounts.is_empty()).then(|| format!("{what} after {}", amounts.join(" or ")))
    };
    let parts = [until("rekey", rekey_bytes, rekey_packets), until("ends", end_bytes, end_packets)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn render_volume(text: &mut String, indent: &str, child: &ChildSa, rates: &Rates) {
    for (name, carried) in [("in", &child.inbound), ("out", &child.outbound)] {
        line(text, &format!("{indent}{name:3} {}", render_carried(carried, rates)));
    }
}

fn render_carried(carried: &Carried, rates: &Rates) -> String {
    let volume = format!("{:>11}  {:>18}", bytes(carried.bytes), count(carried.packets, "packet"));
    let last = match carried.idle {
        Some(seconds) => format!("  last {} ago", duration(seconds)),
        None => String::new(),
    };
    let rate = rates.of(&carried.spi).map(|rate| format!("  {rate:>12}")).unwrap_or_default();
    format!("{}  {volume}{rate}{last}", carried.spi)
}

fn render_nothing(connections: &[(String, Vec<String>)]) -> String {
    let mut text = String::from("Nothing is up.\n");
    match connections {
        [] => text.push_str(
            "No connection is loaded either: give the daemon a configuration, or load one with swanctl.\n",
        ),
        _ => {
            text.push_str("Loaded are:\n");
            for (name, children) in connections {
                line(&mut text, &format!("  {name}: {}", children.join(", ")));
            }
            if let Some(child) = connections.iter().find_map(|(_, children)| children.first()) {
                line(&mut text, &format!("Bring one up with `keyway up {child}`."));
            }
        }
    }
    text
}

fn render_drops(stats: &Tree) -> String {
    let drops: Vec<(&str, &str)> = stats.section("drops").map_or_else(Vec::new, |drops| {
        let entries = drops.entries.iter();
        entries.filter_map(|entry| Some((entry.name.as_str(), drops.text(&entry.name)?))).collect()
    });
    if drops.is_empty() {
        return "No packet was dropped.\n".to_owned();
    }
    let mut text = String::from("Packets dropped since the daemon started:\n");
    for (reason, number) in drops {
        line(&mut text, &format!("{number:>12}  {reason}"));
    }
    text
}

/// Lists the SAs of which packets were dropped.
fn render_drops_of_sas(ike_sas: &[IkeSa], manual_sas: &[ManualSa]) -> String {
    let children = ike_sas.iter().flat_map(|ike| &ike.children);
    let children = children.map(|child| (format!("{} {{{}}}", child.name, child.id), child));
    let manual = manual_sas.iter().map(|manual| (format!("{}, manual keys", manual.sa.name), &manual.sa));
    let mut text = String::new();
    for (name, sa) in children.chain(manual) {
        for (direction, Carried { spi, drops, .. }) in [("in", &sa.inbound), ("out", &sa.outbound)] {
            if !drops.is_empty() {
                line(&mut text, &format!("Of {name}, {direction} {spi}:"));
            }
            for (reason, number) in drops {
                line(&mut text, &format!("{number:>12}  {reason}"));
            }
        }
    }
    text
}

fn identity(end: &End) -> &str {
    end.identity.as_deref().unwrap_or("(unknown)")
}

fn push_rekey(head: &mut String, rekey_in: Option<u64>) {
    if let Some(seconds) = rekey_in {
        write!(head, ", rekey in {}", duration(seconds)).expect("writing to a String does not fail");
    }
}

fn push_end(head: &mut String, ends_in: Option<u64>) {
    if let Some(seconds) = ends_in {
        write!(head, ", ends in {}", duration(seconds)).expect("writing to a String does not fail");
    }
}

/// Adds a line without blanks at its end.
fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// What went through each SA between two looks at it.
#[derive(Default)]
struct Rates {
    before: Option<(Instant, BTreeMap<String, u64>)>,
    rates: BTreeMap<String, String>,
}

impl Rates {
    fn sample<'a>(&mut self, now: Instant, children: impl Iterator<Item = &'a ChildSa>) {
        let carried = children.flat_map(|child| [&child.inbound, &child.outbound]);
        let bytes: BTreeMap<String, u64> =
            carried.map(|carried| (carried.spi.clone(), carried.bytes)).collect();
        if let Some((then, before)) = &self.before {
            let since = now.duration_since(*then);
            let known =
                bytes.iter().filter_map(|(spi, bytes)| Some((spi, bytes.saturating_sub(*before.get(spi)?))));
            self.rates = known.map(|(spi, bytes)| (spi.clone(), rate(bytes, since))).collect();
        }
        self.before = Some((now, bytes));
    }

    fn of(&self, spi: &str) -> Option<&str> {
        self.rates.get(spi).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Tree {
        let net = Tree::new()
            .with_value("name", "net")
            .with_value("uniqueid", "7")
            .with_value("state", "INSTALLED")
            .with_value("mode", "TUNNEL")
            .with_value("protocol", "ESP")
            .with_value("encap", "yes")
            .with_value("spi-in", "c0a80001")
            .with_value("spi-out", "0a000002")
            .with_value("encr-alg", "AES_GCM_16")
            .with_value("encr-keysize", "128")
            .with_value("esn", "1")
            .with_value("bytes-in", "1258291")
            .with_value("packets-in", "1234")
            .with_value("use-in", "0")
            .with_value("bytes-out", "84")
            .with_value("packets-out", "1")
            .with_value("rekey-time", "3082")
            .with_value("life-time", "3840")
            .with_value("install-time", "130")
            .with_value("tfc", "mtu")
            .with_value("rekey-bytes", "1258291")
            .with_value("rekey-packets", "1")
            .with_value("life-packets", "7")
            .with_list("drops-in", ["3 the integrity check failed", "1 a dummy packet"])
            .with_list("local-ts", ["10.1.0.0/16"])
            .with_list("remote-ts", ["10.2.0.0/16", "10.3.0.0/16[tcp/80]"])
            .with_value("interface", "vpn0")
            .with_value("interface-netns", "red")
            .with_value("interface-fault", "cannot switch it on: no");
        let site = Tree::new()
            .with_value("uniqueid", "3")
            .with_value("state", "ESTABLISHED")
            .with_value("local-host", "192.0.2.1")
            .with_value("local-port", "4500")
            .with_value("local-id", "a.example")
            .with_value("remote-host", "2001:db8::2")
            .with_value("remote-port", "4500")
            .with_value("remote-id", "gateway.b.example")
            .with_value("initiator", "yes")
            .with_value("initiator-spi", "0123456789abcdef")
            .with_value("responder-spi", "fedcba9876543210")
            .with_value("nat-remote", "yes")
            .with_value("encr-alg", "AES_CBC")
            .with_value("encr-keysize", "256")
            .with_value("integ-alg", "HMAC_SHA2_256_128")
            .with_value("prf-alg", "PRF_HMAC_SHA2_256")
            .with_value("dh-group", "CURVE_25519")
            .with_value("ake1", "ML_KEM_768")
            .with_value("established", "131")
            .with_value("rekey-time", "13860")
            .with_section("child-sas", Tree::new().with_section("net-7", net));
        Tree::new().with_section("site", site)
    }

    #[test]
    fn the_display_is_laid_out_for_eyes() {
        let expected = "\
site #3, established, initiator, up 2 min 11 s, rekey in 3 h 51 min
  local    a.example          192.0.2.1:4500
  remote   gateway.b.example  [2001:db8::2]:4500  behind NAT
  suite    AES_CBC-256 / HMAC_SHA2_256_128 / PRF_HMAC_SHA2_256 / CURVE_25519 / ML_KEM_768
  SPIs     0123456789abcdef / fedcba9876543210

  net {7}, installed, up 2 min 10 s, rekey in 51 min 22 s, ends in 1 h 4 min
    traffic  10.1.0.0/16 <-> 10.2.0.0/16 10.3.0.0/16[tcp/80]
    ESP      tunnel in UDP, AES_GCM_16-128 / ESN
    padding  to the longest packet that the path takes
    left     rekey after 1.2 MiB or 1 packet, ends after 7 packets
    device   vpn0 in the namespace red, but cannot switch it on: no
    in  c0a80001      1.2 MiB        1234 packets  last 0 s ago
    out 0a000002         84 B            1 packet

1 IKE SA, 1 Child SA
";
        assert_eq!(render(&IkeSa::read_all(&site()), &Rates::default()), expected);
    }

    #[test]
    fn an_isakmp_sa_shows_its_mode_hash_group_lifetime_nat_and_user() {
        let crew = Tree::new()
            .with_value("uniqueid", "4")
            .with_value("version", "1")
            .with_value("state", "ESTABLISHED")
            .with_value("local-host", "198.51.100.1")
            .with_value("local-port", "4500")
            .with_value("local-id", "198.51.100.1")
            .with_value("remote-host", "192.0.2.7")
            .with_value("remote-port", "32101")
            .with_value("remote-id", "crew")
            .with_value("remote-xauth-id", "carol")
            .with_list("remote-vips", ["10.3.0.1"])
            .with_value("initiator-spi", "0123456789abcdef")
            .with_value("responder-spi", "fedcba9876543210")
            .with_value("nat-remote", "yes")
            .with_value("encr-alg", "AES_CBC")
            .with_value("encr-keysize", "256")
            .with_value("integ-alg", "HMAC_SHA2_256_128")
            .with_value("prf-alg", "PRF_HMAC_SHA2_256")
            .with_value("dh-group", "MODP_2048")
            .with_value("established", "60")
            .with_value("rekey-time", "13860")
            .with_value("life-time", "15780")
            .with_value("phase-1", "aggressive");
        let expected = "\
crew #4, established, responder, IKEv1 (aggressive mode), up 1 min, rekey in 3 h 51 min, ends in 4 h 23 min
  local    198.51.100.1  198.51.100.1:4500
  remote   crew          192.0.2.7:32101  behind NAT
  inside   10.3.0.1 (the peer's)
  user     carol, by password (XAuth)
  suite    AES_CBC-256 / HMAC_SHA2_256_128 / PRF_HMAC_SHA2_256 / MODP_2048
  SPIs     0123456789abcdef / fedcba9876543210

1 IKE SA, 0 Child SAs
";
        let message = Tree::new().with_section("crew", crew);
        assert_eq!(render(&IkeSa::read_all(&message), &Rates::default()), expected);
    }

    #[test]
    fn esp_without_udp_is_said_to_be_slower_where_no_nat_asks_for_it() {
        let mut ike_sas = IkeSa::read_all(&site());
        let shows_hint = |ike_sas: &[IkeSa]| {
            render(ike_sas, &Rates::default()).contains("`encap = yes` would make them faster")
        };
        assert!(!shows_hint(&ike_sas));
        ike_sas[0].children[0].in_udp = false;
        assert!(!shows_hint(&ike_sas), "behind a NAT there is no choice");
        ike_sas[0].remote.is_behind_nat = false;
        assert!(shows_hint(&ike_sas));
    }

    #[test]
    fn manual_keys_are_shown_with_their_danger() {
        let lab = Tree::new()
            .with_value("state", "FAILED")
            .with_value("local-host", "192.0.2.1")
            .with_value("remote-host", "192.0.2.2")
            .with_value("mode", "TRANSPORT")
            .with_value("protocol", "ESP")
            .with_value("spi-in", "00001001")
            .with_value("spi-out", "00001002")
            .with_value("encr-alg", "AES_CBC")
            .with_value("encr-keysize", "256")
            .with_value("integ-alg", "HMAC_SHA2_256_128")
            .with_value("cpi-in", "0002")
            .with_section(
                "ah",
                Tree::new()
                    .with_value("spi-in", "00002001")
                    .with_value("spi-out", "00002002")
                    .with_value("integ-alg", "HMAC_SHA2_512_256"),
            )
            .with_value("install-time", "130")
            .with_list("local-ts", ["192.0.2.1/32"])
            .with_list("remote-ts", ["192.0.2.2/32[gre]"])
            .with_value("warning", "has keys that nobody renews")
            .with_value("fault", "the SPI is taken");
        let expected = "\
lab, manual keys, failed, up 2 min 10 s
  ends     192.0.2.1 <-> 192.0.2.2
  traffic  192.0.2.1/32 <-> 192.0.2.2/32[gre]
  ESP      transport, compressed, AES_CBC-256 / HMAC_SHA2_256_128
  AH       around it, HMAC_SHA2_512_256, SPIs 00002001 / 00002002
  in  00001001          0 B           0 packets
  out 00001002          0 B           0 packets
  DANGER   lab has keys that nobody renews
  FAILED   the SPI is taken; what it should protect is dropped

";
        let sas = ManualSa::read_all(&Tree::new().with_section("lab", lab));
        assert_eq!(render_manual(&sas, &Rates::default()), expected);
        assert_eq!(sas[0].to_json()["ah"]["inbound_spi"], "00002001");
    }

    #[test]
    fn an_sa_on_its_way_up_shows_what_is_known() {
        let tree = Tree::new().with_section(
            "site",
            Tree::new()
                .with_value("uniqueid", "1")
                .with_value("state", "CONNECTING")
                .with_value("local-host", "192.0.2.1")
                .with_value("local-port", "500")
                .with_value("remote-host", "192.0.2.2")
                .with_value("remote-port", "500")
                .with_value("initiator-spi", "0123456789abcdef")
                .with_value("responder-spi", "0000000000000000"),
        );
        let expected = "\
site #1, connecting, responder
  local    (unknown)  192.0.2.1:500
  remote   (unknown)  192.0.2.2:500
  SPIs     0123456789abcdef / 0000000000000000

1 IKE SA, 0 Child SAs
";
        assert_eq!(render(&IkeSa::read_all(&tree), &Rates::default()), expected);
    }

    #[test]
    fn json_has_numbers_and_truth_values() {
        let json = IkeSa::read_all(&site())[0].to_json();
        assert_eq!(json["id"], 3);
        assert_eq!(json["remote"]["behind_nat"], true);
        assert_eq!(json["local"]["behind_nat"], false);
        assert_eq!(json["child_sas"][0]["inbound"]["bytes"], 1_258_291);
        assert_eq!(json["child_sas"][0]["outbound"]["idle_secs"], serde_json::Value::Null);
        assert_eq!(json["child_sas"][0]["suite"], json!(["AES_GCM_16-128"]));
        assert_eq!(json["child_sas"][0]["interface"]["namespace"], "red");
        assert_eq!(json["child_sas"][0]["left"]["rekey_bytes"], 1_258_291);
        assert_eq!(json["child_sas"][0]["left"]["end_bytes"], serde_json::Value::Null);
        assert_eq!(json["child_sas"][0]["inbound"]["drops"]["the integrity check failed"], 3);
    }

    #[test]
    fn a_second_look_shows_rates() {
        let mut ike_sas = IkeSa::read_all(&site());
        let (mut rates, now) = (Rates::default(), Instant::now());
        rates.sample(now, ike_sas[0].children.iter());
        assert_eq!(rates.of("c0a80001"), None);
        ike_sas[0].children[0].inbound.bytes += 1_250_000;
        rates.sample(now + Duration::from_secs(1), ike_sas[0].children.iter());
        assert_eq!(rates.of("c0a80001"), Some("10.0 Mbit/s"));
        assert_eq!(rates.of("0a000002"), Some("0.0 bit/s"));
    }

    #[test]
    fn with_nothing_up_the_next_step_is_named() {
        let connections = [("site".to_owned(), vec!["net".to_owned(), "voice".to_owned()])];
        let expected =
            "Nothing is up.\nLoaded are:\n  site: net, voice\nBring one up with `keyway up net`.\n";
        assert_eq!(render_nothing(&connections), expected);
        assert!(render_nothing(&[]).contains("No connection is loaded"));
    }

    #[test]
    fn drops_are_listed_with_their_reasons() {
        let stats = Tree::new().with_section(
            "drops",
            Tree::new().with_value("replayed", "12").with_value("no SA for the SPI", "3"),
        );
        let expected = "\
Packets dropped since the daemon started:
          12  replayed
           3  no SA for the SPI
";
        assert_eq!(render_drops(&stats), expected);
        assert_eq!(render_drops(&Tree::new()), "No packet was dropped.\n");
        let expected = "\
Of net {7}, in c0a80001:
           3  the integrity check failed
           1  a dummy packet
";
        assert_eq!(render_drops_of_sas(&IkeSa::read_all(&site()), &[]), expected);
    }
}
