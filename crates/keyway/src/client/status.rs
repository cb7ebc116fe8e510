//! `keyway status`: the SAs as a person, or a program, wants to see them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use vici::{Client, Tree};

use super::units::{bytes, count, duration, rate};
use super::view::{Carried, ChildSa, End, IkeSa};
use super::{Failure, connect};
use crate::cli::Status;

/// Shows the IKE SAs and their Child SAs.
///
/// # Errors
/// The daemon cannot be reached.
pub(crate) fn status(arguments: &Status) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    if arguments.json {
        let ike_sas = list_sas(&mut client)?;
        let object = json!({ "ike_sas": ike_sas.iter().map(IkeSa::to_json).collect::<Vec<_>>() });
        return Ok(writeln!(io::stdout(), "{object:#}")?);
    }
    let mut rates = Rates::default();
    loop {
        let text = if arguments.drops {
            render_drops(&client.request("stats", &Tree::new())?)
        } else {
            let ike_sas = list_sas(&mut client)?;
            rates.sample(Instant::now(), &ike_sas);
            if ike_sas.is_empty() {
                render_nothing(&list_children(&mut client)?)
            } else {
                render(&ike_sas, &rates)
            }
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
    Client::success(client.streamed("list-sas", "list-sa", &Tree::new(), each)?)?;
    Ok(ike_sas)
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
            render_child(&mut text, child, rates);
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
    if let Some(seconds) = ike.established {
        write!(head, ", up {}", duration(seconds)).expect("writing to a String does not fail");
    }
    push_rekey(&mut head, ike.rekey_in);
    line(text, &head);
    let width =
        [&ike.local, &ike.remote].map(|end| identity(end).chars().count()).into_iter().max().unwrap_or(0);
    for (name, end) in [("local ", &ike.local), ("remote", &ike.remote)] {
        let nat = if end.is_behind_nat { "  behind NAT" } else { "" };
        line(text, &format!("  {name}   {:width$}  {}{nat}", identity(end), end.address));
    }
    if !ike.suite.is_empty() {
        line(text, &format!("  suite    {}", ike.suite.join(" / ")));
    }
    line(text, &format!("  SPIs     {} / {}", ike.initiator_spi, ike.responder_spi));
}

fn render_child(text: &mut String, child: &ChildSa, rates: &Rates) {
    let mut head = format!(
        "  {} {{{}}}, {}, up {}",
        child.name,
        child.id,
        child.state.to_lowercase(),
        duration(child.installed)
    );
    push_rekey(&mut head, child.rekey_in);
    if let Some(seconds) = child.ends_in {
        write!(head, ", ends in {}", duration(seconds)).expect("writing to a String does not fail");
    }
    line(text, &head);
    let traffic = format!("{} <-> {}", child.local_selectors.join(" "), child.remote_selectors.join(" "));
    line(text, &format!("    traffic  {traffic}"));
    let carrier = if child.in_udp { " in UDP" } else { "" };
    let esn = if child.has_esn { " / ESN" } else { "" };
    let suite = child.suite.join(" / ");
    line(text, &format!("    {:7}  {}{carrier}, {suite}{esn}", child.protocol, child.mode.to_lowercase()));
    for (name, carried) in [("in", &child.inbound), ("out", &child.outbound)] {
        line(text, &format!("    {name:3} {}", render_carried(carried, rates)));
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

fn identity(end: &End) -> &str {
    end.identity.as_deref().unwrap_or("(unknown)")
}

fn push_rekey(head: &mut String, rekey_in: Option<u64>) {
    if let Some(seconds) = rekey_in {
        write!(head, ", rekey in {}", duration(seconds)).expect("writing to a String does not fail");
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
    fn sample(&mut self, now: Instant, ike_sas: &[IkeSa]) {
        let children = ike_sas.iter().flat_map(|ike| &ike.children);
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
            .with_list("local-ts", ["10.1.0.0/16"])
            .with_list("remote-ts", ["10.2.0.0/16", "10.3.0.0/16[tcp/80]"]);
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
  suite    AES_CBC-256 / HMAC_SHA2_256_128 / PRF_HMAC_SHA2_256 / CURVE_25519
  SPIs     0123456789abcdef / fedcba9876543210

  net {7}, installed, up 2 min 10 s, rekey in 51 min 22 s, ends in 1 h 4 min
    traffic  10.1.0.0/16 <-> 10.2.0.0/16 10.3.0.0/16[tcp/80]
    ESP      tunnel in UDP, AES_GCM_16-128 / ESN
    in  c0a80001      1.2 MiB        1234 packets  last 0 s ago
    out 0a000002         84 B            1 packet

1 IKE SA, 1 Child SA
";
        assert_eq!(render(&IkeSa::read_all(&site()), &Rates::default()), expected);
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
    }

    #[test]
    fn a_second_look_shows_rates() {
        let mut ike_sas = IkeSa::read_all(&site());
        let (mut rates, now) = (Rates::default(), Instant::now());
        rates.sample(now, &ike_sas);
        assert_eq!(rates.of("c0a80001"), None);
        ike_sas[0].children[0].inbound.bytes += 1_250_000;
        rates.sample(now + Duration::from_secs(1), &ike_sas);
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
    }
}
