//! What vici tells of the SAs and connections of version 1: every key that charon has for the same SA at the same end, with
//! the same value where the value is not the daemon's own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, CONNECTION, End, Failure, Gateway, Pair, Result, Tunnel, Wire};
use vici::{Client, Node, Tree};

const PATIENCE: Duration = Duration::from_secs(20);

/// What charon tells and we do not, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("tasks-active", "charon tells of an event from within the exchange, and we when it is over"),
    ("tasks-queued", "the same"),
    (
        "tasks-passive",
        "the same; and an exchange of the peer's has one message here, after which nothing is under way",
    ),
    (
        "dpd_timeout",
        "the key has no effect: a peer is dead when as many questions went unanswered as requests are repeated",
    ),
];

/// What is not the same in two SAs, or in two daemons that number things otherwise.
const OWN: &[&str] = &[
    "initiator-spi",
    "responder-spi",
    "spi-in",
    "spi-out",
    "bytes-in",
    "bytes-out",
    "packets-in",
    "packets-out",
    "use-in",
    "use-out",
    "established",
    "install-time",
    "rekey-time",
    "life-time",
];

/// What a daemon tells of one tunnel: `list-sas`, `list-conns`, and each kind of event, path by path.
type Told = BTreeMap<String, String>;

/// Brings the tunnel up between these two, and asks both of them.
fn told(wire: Wire, a: Implementation, b: Implementation, tunnel: &Tunnel) -> Result<[Told; 2]> {
    let pair = Pair::new(wire, a, b, tunnel)?;
    let mut clients = [client(&*pair.a)?, client(&*pair.b)?];
    for client in &mut clients {
        for event in ["ike-updown", "child-updown"] {
            client.register(event).map_err(Failure::at(event))?;
        }
    }
    pair.initiate(End::A)?;
    pair.settled()?;
    pair.carry(tunnel)?;
    let mut told = [Told::new(), Told::new()];
    for (client, told) in clients.iter_mut().zip(&mut told) {
        for (command, event) in [("list-conns", "list-conn"), ("list-sas", "list-sa")] {
            let each = |message: Tree| flatten(event, &message, told);
            client.streamed(command, event, &Tree::new(), each).map_err(Failure::at(command))?;
        }
        for _ in 0..2 {
            let event = client.next_event().map_err(Failure::at("an event"))?;
            flatten(&event.name, &event.message, told);
        }
    }
    pair.gateway(End::A).terminate(CONNECTION)?;
    for (client, told) in clients.iter_mut().zip(&mut told) {
        for _ in 0..2 {
            let event = client.next_event().map_err(Failure::at("the last events"))?;
            flatten(&format!("{} down", event.name), &event.message, told);
        }
    }
    pair.lab.dismantle();
    Ok(told)
}

fn client(gateway: &dyn Gateway) -> Result<Client> {
    let directory = gateway.swanctl().directory();
    let socket = match gateway.implementation() {
        Keyway => directory.join("vici"),
        Implementation::StrongSwan | Implementation::StrongSwan6 => directory.join("run/vici"),
    };
    let client = Client::connect(&socket).map_err(Failure::at(socket.display()))?;
    client.set_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Notes each value under its path; a Child SA's section has its number in its name.
fn flatten(path: &str, tree: &Tree, told: &mut Told) {
    for entry in &tree.entries {
        let name = if entry.name.starts_with(&format!("{CHILD}-")) { CHILD } else { &entry.name };
        let path = format!("{path} {name}");
        let text = |value: &vici::Value| value.text().unwrap_or("(no text)").to_owned();
        match &entry.node {
            Node::Value(value) => drop(told.insert(path, text(value))),
            Node::List(items) => {
                drop(told.insert(path, items.iter().map(text).collect::<Vec<_>>().join(" ")))
            }
            Node::Section(section) => flatten(&path, section, told),
        }
    }
}

/// Gives what one of them tells and the other not, or otherwise, but for what is known.
fn differences(charon: &Told, ours: &Told) -> Vec<String> {
    let last = |path: &str| path.rsplit(' ').next().unwrap_or_default().to_owned();
    let known: BTreeSet<&str> = WITHOUT.iter().map(|(key, _)| *key).collect();
    let differs = charon.iter().filter_map(|(path, theirs)| match ours.get(path) {
        None if known.contains(last(path).as_str()) => None,
        None => Some(format!("{path}: charon tells {theirs}, and we nothing")),
        Some(own) if own == theirs || OWN.contains(&last(path).as_str()) => None,
        Some(own) => Some(format!("{path}: charon tells {theirs}, and we {own}")),
    });
    differs.collect()
}

fn nothing_is_missing(wire: Wire, tunnel: &Tunnel) -> Result<()> {
    let [ours_a, charon_b] = told(wire, Keyway, StrongSwan, tunnel)?;
    let [charon_a, ours_b] = told(wire, StrongSwan, Keyway, tunnel)?;
    let mut all = differences(&charon_a, &ours_a);
    all.extend(differences(&charon_b, &ours_b));
    assert!(all.is_empty(), "{}", all.join("\n"));
    Ok(())
}

fn version_1() -> Tunnel {
    let tunnel =
        Tunnel { version: 1, ..Tunnel::default() }.suite("aes256-sha256-modp2048", "aes128-sha256-modp2048");
    tunnel
        .connection_line("encap = yes")
        .connection_line("dpd_delay = 60s")
        .connection_line("dpd_timeout = 120s")
}

#[test]
fn main_mode_is_told_as_charon_tells_it() -> Result<()> {
    nothing_is_missing(Wire::Plain, &version_1())
}

#[test]
fn aggressive_mode_with_a_user_behind_a_nat_is_told_as_charon_tells_it() -> Result<()> {
    let tunnel = version_1().connection_line("aggressive = yes").connection_line("allow_weak = yes");
    nothing_is_missing(Wire::Nat, &tunnel.user_of(End::A))
}
