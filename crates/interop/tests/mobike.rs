//! A client loses its way out and goes on by another one (MOBIKE, RFC 4555): the tunnel stays, with a NAT on the new way or
//! without, whoever plays the client.

use std::net::IpAddr;
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::traffic::Ping;
use interop::{
    CONNECTION, Capture, End, Failure, Family, Gateway, Lab, Pair, Result, Tied, Tunnel, Wire, within,
};
use vici::Client;

const PATIENCE: Duration = Duration::from_secs(40);
/// Gateway a's address on its first way out, and on its second.
const FIRST: &str = "192.0.2.1";
const SECOND: &str = "203.0.113.1";
/// What the second way out makes of it where it has a NAT.
const TRANSLATED: &str = "198.51.100.254";

/// Gives gateway a a second way out, which nothing leads over yet.
fn second_way_out(lab: &Lab) -> Result<()> {
    lab.a.gateway.batch(&format!("link add out2 type veth peer name to-a2 netns {}", lab.wire.name()))?;
    lab.wire.batch("addr add 203.0.113.254/24 dev to-a2\nlink set to-a2 up")?;
    lab.a.gateway.batch(&format!("addr add {SECOND}/24 dev out2\nlink set out2 up"))
}

/// Takes the first way out away, with its address, and leaves the second.
fn lose_the_first(lab: &Lab) -> Result<()> {
    lab.a.gateway.batch(&format!(
        "addr del {FIRST}/24 dev out
         link set out down
         route add default via 203.0.113.254"
    ))
}

/// The other way round.
fn lose_the_second(lab: &Lab) -> Result<()> {
    lab.a.gateway.batch(&format!(
        "link set out up
         addr add {FIRST}/24 dev out
         link set out2 down
         route replace default via 192.0.2.254"
    ))
}

fn put_nat_on_the_second(lab: &Lab) -> Result<()> {
    lab.a.gateway.batch("link set out2 up")?;
    lab.wire.nft(
        "table ip nat {
             chain post {
                 type nat hook postrouting priority srcnat
                 ip saddr 203.0.113.0/24 oifname \"to-b\" masquerade random
             }
         }",
    )
}

/// Client a may come from anywhere; nothing asks for liveness while the test waits.
fn text(lab: &Lab, end: End) -> String {
    let text =
        Tunnel::default().connection_line("mobike = yes").connection_line("dpd_delay = 0").text(lab, end);
    let (ours, theirs) = (format!("local_addrs = {FIRST}"), format!("remote_addrs = {FIRST}"));
    text.replace(&ours, "local_addrs = %any").replace(&theirs, "remote_addrs = %any")
}

/// Waits until both ends have seen a's move, and packets pass.
fn arrives(pair: &Pair, local: &str, seen: &str) -> Result<()> {
    let host = |gateway: &dyn Gateway, key: &str| {
        gateway.sas().ok().and_then(|sas| sas.first().map(|sa| sa.field(key).to_owned()))
    };
    let both = || {
        let is_there = host(&*pair.a, "local-host")? == local && host(&*pair.b, "remote-host")? == seen;
        is_there.then_some(())
    };
    within(PATIENCE, &format!("both ends to use {local}, seen as {seen}"), both)?;
    let target = pair.lab.b.host_address(Family::V4);
    let passes =
        || Ping::run(&pair.lab.a.host, target, 5, 50).ok().filter(|ping| ping.received == 5).map(drop);
    within(PATIENCE, "pings to pass", passes)
}

fn moves(a: Implementation, b: Implementation) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let (a, b) = (a.start(&lab, End::A)?, b.start(&lab, End::B)?);
    moves_about(Pair { a, b, lab })
}

fn moves_about(pair: Pair) -> Result<()> {
    second_way_out(&pair.lab)?;
    for end in [End::A, End::B] {
        pair.gateway(end).configure(&text(&pair.lab, end))?;
    }
    pair.initiate(End::A)?;
    let before = pair.settled()?;
    let target: IpAddr = pair.lab.b.host_address(Family::V4);
    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    let ping = Ping::start(&pair.lab.a.host, target, 600, 20)?;

    lose_the_first(&pair.lab)?;
    arrives(&pair, SECOND, SECOND)?;
    lose_the_second(&pair.lab)?;
    arrives(&pair, FIRST, FIRST)?;
    put_nat_on_the_second(&pair.lab)?;
    lose_the_first(&pair.lab)?;
    arrives(&pair, SECOND, TRANSLATED)?;
    lose_the_second(&pair.lab)?;
    arrives(&pair, FIRST, FIRST)?;

    let ping = ping.finish()?;
    assert!(ping.received > ping.sent / 2, "{} of {} pings came back", ping.received, ping.sent);
    let after = pair.settled()?;
    assert_eq!(before.ike, after.ike, "the IKE SA is the same");
    is_same_child(&pair, &before, &after);
    pair.rekey_child(End::B)?;
    pair.rekey_ike(End::A)?;
    pair.terminate(End::A)?;
    let recording = capture.finish()?;
    assert_eq!(recording.leaks()?, 0);
    pair.lab.dismantle();
    Ok(())
}

/// Keyway moves its SAs. strongSwan's user-space ESP cannot, so that it rekeys them.
fn is_same_child(pair: &Pair, before: &Tied, after: &Tied) {
    let is_keyways = [&pair.a, &pair.b].iter().all(|gateway| gateway.implementation() == Keyway);
    if is_keyways {
        assert_eq!(before.child, after.child, "the Child SA is the same");
    }
}

#[test]
fn keyway_moves_with_strongswan_at_the_other_end() -> Result<()> {
    moves(Keyway, StrongSwan)
}

#[test]
fn strongswan_moves_with_keyway_at_the_other_end() -> Result<()> {
    moves(StrongSwan, Keyway)
}

#[test]
fn keyway_moves_with_keyway_at_the_other_end_and_tells_of_it() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let a = interop::Keyway::start(&lab, End::A)?;
    let mut client = Client::connect(a.socket())?;
    client.set_timeout(Some(PATIENCE))?;
    client.register("ike-update").map_err(Failure::at("ike-update"))?;
    moves_about(Pair { a: Box::new(a), b: Keyway.start(&lab, End::B)?, lab })?;

    let update = client.next_event().map_err(Failure::at("ike-update"))?.message;
    let before = update.section(CONNECTION).expect("an event says whose it is");
    assert_eq!((update.text("local-host"), before.text("local-host")), (Some(SECOND), Some(FIRST)));
    assert_eq!(before.text("state"), Some("ESTABLISHED"));
    Ok(())
}

/// How long the NAT keeps a port for whoever is silent.
fn forgets_after(lab: &Lab, secs: u32) -> Result<()> {
    for timeout in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
        lab.wire.sysctl(&format!("net/netfilter/{timeout}"), &secs.to_string())?;
    }
    Ok(())
}

/// The NAT before a forgets the port that it gave a, and gives it another: packets of a show b where a is now.
fn a_nat_rebinds(a: Implementation, b: Implementation, mobike: &str) -> Result<()> {
    let tunnel =
        Tunnel::default().connection_line(&format!("mobike = {mobike}")).connection_line("dpd_delay = 0");
    let pair = Pair::new(Wire::Nat, a, b, &tunnel)?;
    forgets_after(&pair.lab, 1)?;
    pair.lab.wire.nft(
        "flush table ip nat
         table ip nat {
             chain post {
                 oifname \"to-b\" masquerade random
             }
         }",
    )?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;
    let port = || pair.b.sas().ok().and_then(|sas| Some(sas.first()?.field("remote-port").to_owned()));
    let before = port();
    let (host, target) = (&pair.lab.a.host, pair.lab.b.host_address(Family::V4));
    within(PATIENCE, "b to use another port", || {
        // Long enough for the NAT to forget.
        std::thread::sleep(Duration::from_secs(3));
        let ping = Ping::run(host, target, 3, 20).ok()?;
        (ping.received > 0 && port() != before).then_some(())
    })?;
    // It remembers what comes next.
    forgets_after(&pair.lab, 60)?;
    let (back_from, back_to) = (&pair.lab.b.host, pair.lab.a.host_address(Family::V4));
    within(PATIENCE, "pings to pass both ways", || {
        let there = Ping::run(host, target, 3, 20).ok()?;
        let back = Ping::run(back_from, back_to, 10, 20).ok()?;
        ((there.received, back.received) == (3, 10)).then_some(())
    })?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_nat_rebinds_before_strongswan_and_keyway_follows() -> Result<()> {
    a_nat_rebinds(StrongSwan, Keyway, "no")
}

#[test]
fn a_nat_rebinds_before_keyway_and_keyway_follows() -> Result<()> {
    a_nat_rebinds(Keyway, Keyway, "yes")
}
