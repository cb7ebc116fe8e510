//! What happens to a tunnel in its life: rekeying by either side, under traffic too, dead peers, restarts, goodbyes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::traffic::{Pace, Ping, Transfer};
use interop::{CHILD, CONNECTION, Cut, End, Failure, Family, IkeSa, Pair, Result, Tunnel, Wire, until};

/// What dead peer detection may take: the retransmissions of either implementation run out in less.
const DEATH: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

fn either_end_rekeys_and_says_goodbye(wire: Wire, a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default().suite("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384");
    let pair = Pair::new(wire, a, b, &tunnel)?;
    for goodbye_from in [End::A, End::B] {
        pair.initiate(End::A)?;
        for end in [End::A, End::B] {
            pair.rekey_ike(end)?;
            pair.rekey_child(end)?;
            pair.carry(&tunnel)?;
        }
        pair.terminate(goodbye_from)?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn either_end_rekeys_keyway_to_strongswan() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, Keyway, StrongSwan)
}

#[test]
fn either_end_rekeys_keyway_to_strongswan_through_nat() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Nat, Keyway, StrongSwan)
}

#[test]
fn either_end_rekeys_strongswan_to_keyway() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, StrongSwan, Keyway)
}

#[test]
fn either_end_rekeys_strongswan_to_keyway_through_nat() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Nat, StrongSwan, Keyway)
}

#[test]
fn either_end_rekeys_keyway_to_keyway() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Plain, Keyway, Keyway)
}

#[test]
fn either_end_rekeys_keyway_to_keyway_through_nat() -> Result<()> {
    either_end_rekeys_and_says_goodbye(Wire::Nat, Keyway, Keyway)
}

/// A third or less of what any of the daemons carries on a slow machine, so that no queue overflows: a packet that is lost
/// is lost by the rekeying.
const BUSY: Pace = Pace::BitsPerSecond(60_000_000);

/// Two hundred pings a second and TCP beside them, while `pair` rekeys both SAs from `ends`: every ping is answered.
fn nothing_is_lost(a: Implementation, b: Implementation, ends: &[End]) -> Result<()> {
    const PER_SECOND: u32 = 200;
    let pair = Pair::new(
        Wire::Plain,
        a,
        b,
        &Tunnel::default().suite("aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519"),
    )?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let (from, to, address) = (&pair.lab.a.host, &pair.lab.b.host, pair.lab.b.host_address(Family::V4));
    let done = AtomicBool::new(false);

    let (ping, transfers) = thread::scope(|scope| -> Result<_> {
        let transfers = scope.spawn(|| -> Result<u32> {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                Transfer::run(from, to, address, 4 << 20, BUSY)?;
                count += 1;
            }
            Ok(count)
        });
        let ping = Ping::start(from, address, PER_SECOND * 8, PER_SECOND)?;
        let rekeyed = ends.iter().try_for_each(|&end| {
            pair.rekey_child(end)?;
            pair.rekey_ike(end).map(drop)
        });
        let ping = ping.finish();
        done.store(true, Ordering::Relaxed);
        let transfers = transfers.join().map_err(|_| Failure::new("the transfers panicked"))?;
        rekeyed?;
        Ok((ping?, transfers?))
    })?;

    assert_eq!((ping.sent, ping.received), (PER_SECOND * 8, PER_SECOND * 8));
    assert!(transfers > 0);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn rekeying_under_traffic_loses_nothing_keyway_to_strongswan() -> Result<()> {
    nothing_is_lost(Keyway, StrongSwan, &[End::A, End::B])
}

#[test]
fn rekeying_under_traffic_loses_nothing_strongswan_to_keyway() -> Result<()> {
    nothing_is_lost(StrongSwan, Keyway, &[End::A, End::B])
}

#[test]
fn rekeying_under_traffic_loses_nothing_keyway_to_keyway() -> Result<()> {
    nothing_is_lost(Keyway, Keyway, &[End::A, End::B, End::A, End::B])
}

/// Both ends are told to rekey both SAs every few seconds, at the same moment: collisions (RFC 7296 §2.8) that nobody staged,
/// under two hundred pings a second, and still none is lost and the ends agree.
fn both_rekey_at_once(a: Implementation, b: Implementation) -> Result<()> {
    const PER_SECOND: u32 = 200;
    let tunnel = Tunnel::default()
        .connection_line("rekey_time = 3s")
        .connection_line("over_time = 60s")
        .connection_line("rand_time = 0s")
        .child_line("rekey_time = 2s")
        .child_line("life_time = 60s")
        .child_line("rand_time = 0s");
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    let ping = Ping::run(&pair.lab.a.host, pair.lab.b.host_address(Family::V4), 12 * PER_SECOND, PER_SECOND)?;
    let after = pair.settled()?;

    assert_eq!(ping.received, ping.sent, "{:?}", ping.missing);
    assert!(before.ike != after.ike && before.child != after.child);
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn both_rekey_at_once_keyway_to_strongswan() -> Result<()> {
    both_rekey_at_once(Keyway, StrongSwan)
}

#[test]
fn both_rekey_at_once_keyway_to_keyway() -> Result<()> {
    both_rekey_at_once(Keyway, Keyway)
}

/// A second child of the same connection (CREATE_CHILD_SA) comes, is rekeyed, and goes, and the first one is not touched.
fn a_second_child(a: Implementation, b: Implementation) -> Result<()> {
    let four = Tunnel::default().suite("aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519");
    let both = Tunnel { inside: vec![Family::V4, Family::V6], ..four.clone() };
    let pair = Pair::new(Wire::Plain, a, b, &four)?;
    for end in [End::A, End::B] {
        let (here, there) = (pair.lab.site(end), pair.lab.site(end.other()));
        let six = format!(
            "      children {{\n         six {{\n            local_ts = {}\n            remote_ts = {}\n            \
             esp_proposals = aes256gcm16-ecp384\n         }}\n",
            here.network(Family::V6),
            there.network(Family::V6)
        );
        let text = four.text(&pair.lab, end).replace("      children {\n", &six);
        pair.gateway(end).configure(&text)?;
    }
    pair.initiate(End::A)?;
    let first = pair.settled()?;

    for end in [End::A, End::B] {
        pair.gateway(end).initiate("six")?.success()?;
        pair.carry(&both)?;
        pair.gateway(end.other()).rekey_child("six")?;
        until(PATIENCE, "the second child to be rekeyed at both ends", || {
            let installed = |sas: Vec<IkeSa>| {
                sas.iter().flat_map(|sa| &sa.children).filter(|child| child.is_installed()).count()
            };
            pair.a.sas().is_ok_and(|sas| installed(sas) == 2)
                && pair.b.sas().is_ok_and(|sas| installed(sas) == 2)
        })?;
        pair.carry(&both)?;
        pair.gateway(end).swanctl().run(&["--terminate", "--child", "six"])?;
        assert_eq!(pair.settled()?, first);
        pair.carry(&four)?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_second_child_keyway_to_strongswan() -> Result<()> {
    a_second_child(Keyway, StrongSwan)
}

#[test]
fn a_second_child_keyway_to_keyway() -> Result<()> {
    a_second_child(Keyway, Keyway)
}

/// The peer dies without a word: liveness checks find out, the SAs go, and when the peer is back a new tunnel comes up.
fn a_killed_peer_is_missed(a: Implementation, b: Implementation, killed: End) -> Result<()> {
    let tunnel = Tunnel::default().connection_line("dpd_delay = 1s");
    let mut pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    pair.carry(&tunnel)?;

    pair.gateway_mut(killed).kill();
    let survivor = pair.gateway(killed.other());
    until(DEATH, "the survivor to miss its peer", || survivor.sas().is_ok_and(|sas| sas.is_empty()))?;
    pair.gateway_mut(killed).start()?;
    pair.configure(&tunnel)?;
    pair.initiate(killed)?;
    pair.settled()?;
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_misses_a_killed_strongswan() -> Result<()> {
    a_killed_peer_is_missed(Keyway, StrongSwan, End::B)
}

#[test]
fn strongswan_misses_a_killed_keyway_that_cleans_up_when_it_is_back() -> Result<()> {
    a_killed_peer_is_missed(Keyway, StrongSwan, End::A)
}

#[test]
fn keyway_misses_a_killed_keyway() -> Result<()> {
    a_killed_peer_is_missed(Keyway, Keyway, End::B)
}

/// A peer restarts and calls before it was missed: INITIAL_CONTACT replaces what is left of the old tunnel at once.
fn a_restarted_peer_replaces_its_old_tunnel(
    a: Implementation,
    b: Implementation,
    restarted: End,
) -> Result<()> {
    let tunnel = Tunnel::default();
    let mut pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    pair.gateway_mut(restarted).kill();
    pair.gateway_mut(restarted).start()?;
    pair.configure(&tunnel)?;
    pair.initiate(restarted)?;
    let after = pair.settled()?;
    assert_ne!(before.ike, after.ike);
    pair.carry(&tunnel)?;

    pair.gateway_mut(restarted).stop()?;
    let remaining = pair.gateway(restarted.other());
    until(DEATH, "the goodbye of a daemon that is stopped", || {
        remaining.sas().is_ok_and(|sas| sas.is_empty())
    })?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_accepts_a_restarted_strongswan() -> Result<()> {
    a_restarted_peer_replaces_its_old_tunnel(Keyway, StrongSwan, End::B)
}

#[test]
fn strongswan_accepts_a_restarted_keyway() -> Result<()> {
    a_restarted_peer_replaces_its_old_tunnel(Keyway, StrongSwan, End::A)
}

#[test]
fn keyway_accepts_a_restarted_keyway() -> Result<()> {
    a_restarted_peer_replaces_its_old_tunnel(Keyway, Keyway, End::A)
}

/// With `dpd_action = restart` site a calls again by itself once the wire is mended; site b waits for its call.
fn a_cut_wire_heals(a: Implementation, b: Implementation) -> Result<()> {
    let tunnel = Tunnel::default();
    let persistent = tunnel
        .clone()
        .connection_line("dpd_delay = 1s")
        .connection_line("keyingtries = 0")
        .child_line("dpd_action = restart");
    let pair = Pair::new(Wire::Plain, a, b, &tunnel)?;
    pair.a.configure(&persistent.text(&pair.lab, End::A))?;
    pair.initiate(End::A)?;
    let before = pair.settled()?;

    pair.lab.cut(Cut::Open)?;
    until(DEATH, "site a to miss its peer", || {
        pair.a.sas().is_ok_and(|sas| !sas.iter().any(|sa| sa.spis() == (&before.ike.0, &before.ike.1)))
    })?;
    pair.lab.cut(Cut::Mended)?;
    until(DEATH, "the tunnel to come back", || {
        pair.a.sas().is_ok_and(|sas| sas.iter().any(|sa| sa.is_established() && sa.name == CONNECTION))
    })?;
    until(DEATH, "its child", || {
        pair.a.sas().is_ok_and(|sas| sas.iter().flat_map(|sa| &sa.children).any(|child| child.name == CHILD))
    })?;
    pair.carry(&tunnel)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn a_cut_wire_heals_keyway_to_strongswan() -> Result<()> {
    a_cut_wire_heals(Keyway, StrongSwan)
}

#[test]
fn a_cut_wire_heals_keyway_to_keyway() -> Result<()> {
    a_cut_wire_heals(Keyway, Keyway)
}
