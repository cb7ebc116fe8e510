//! Ends that prove nothing (RFC 7619): only where that is configured, and nobody gains by it what another has had to prove.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::{Authentication, Command, Connection, Event, Identity, IdentityPattern, PeerAddresses, Unique};
use testkit::{Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::IdType;

/// Has an end of a connection prove nothing, and the other take that.
fn unproven(scenario: &mut Scenario, side: Side) {
    let own = &mut scenario.gateway_mut(side).connection;
    own.local_authentication = Authentication::Null;
    own.local_identity = Some(Identity::Null);
    let other = &mut scenario.gateway_mut(side.other()).connection;
    other.remote_authentication = Authentication::Null;
    other.remote_identity = IdentityPattern::Any;
}

fn scenario(seed: u64, sides: &[Side]) -> Scenario {
    let mut scenario = Scenario::host_to_host(seed);
    sides.iter().for_each(|side| unproven(&mut scenario, *side));
    scenario
}

/// Tries to bring the child up from the left; gives what both sides say of it.
fn fails(scenario: Scenario) -> (String, String) {
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let failure = pair.finish(ticket).expect_err("it must not come up");
    pair.run_for(Duration::from_secs(1));
    assert!(pair.ike_sas(Side::Right).is_empty(), "the responder has no IKE SA either");
    let told = pair.events(Side::Right).iter().rev().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    (failure.to_string(), told.unwrap_or_default())
}

#[test]
fn one_end_or_both_prove_nothing_in_bad_weather() {
    for_seeds(0..1500, |seed| {
        let sides: &[Side] = match seed % 3 {
            0 => &[Side::Left],
            1 => &[Side::Right],
            _ => &Side::BOTH,
        };
        let scenario = scenario(seed, sides).patient().weather(Weather::lossy(30));
        let mut pair = Pair::new(scenario.both(|gateway| {
            gateway.connection.keying_tries = 0;
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = Duration::from_secs(10);
        }));
        pair.connect();
        // Where a response was lost and the child was asked for anew, the other end finds out that its first IKE SA is nobody's.
        pair.run_until("no IKE SA is left over", Duration::from_secs(3600), |pair| {
            Side::BOTH.iter().all(|side| pair.ike_sas(*side).len() == 1)
        });
        for side in sides {
            let known = pair.ike_sas(side.other())[0].remote_identity.clone();
            assert_eq!(known, Some(Identity::Null), "seed {seed}");
        }
        let flows = Side::BOTH.map(|side| pair.scenario().own_flow(side));
        flows.into_iter().for_each(|flow| pair.start_stream(flow, Duration::from_millis(100), 100));
        match seed % 4 {
            0 => drop(pair.rekey_ike(Side::Right)),
            1 => drop(pair.rekey_child(Side::Left, "net")),
            2 => drop(pair.rekey_ike(Side::Left)),
            _ => {}
        }
        pair.run_for(Duration::from_secs(2));
        pair.settle();
        pair.stop_traffic();
        pair.settle_and_check();
        assert!(pair.is_up("net"), "seed {seed}");
    });
}

/// RFC 7619 §2.2: what such an end says of itself counts for nothing, so that the other knows it as nobody.
#[test]
fn a_name_that_is_not_proven_is_no_name() {
    let mut scenario = scenario(1, &[Side::Left]);
    scenario.left.connection.local_identity = Some(Identity::Fqdn("left.example".to_owned()));
    let mut pair = Pair::new(scenario);
    pair.connect();
    assert_eq!(pair.ike_sas(Side::Right)[0].remote_identity, Some(Identity::Null));
    assert_eq!(Identity::Null.to_wire().id_type, IdType::NULL);
    assert!(Identity::Null.to_wire().data.is_empty());
    pair.settle_and_check();
}

#[test]
fn who_must_prove_something_cannot_do_without() {
    let mut scenario = Scenario::host_to_host(2);
    scenario.left.connection.local_authentication = Authentication::Null;
    let (left, right) = fails(scenario);
    assert!(left.contains("AUTHENTICATION_FAILED"), "{left}");
    assert!(
        right.contains("the peer does not say who it is (NULL authentication) and asks for right.example"),
        "{right}"
    );
    // Nor the one that answers.
    let mut scenario = Scenario::host_to_host(3);
    scenario.right.connection.local_authentication = Authentication::Null;
    let (left, _) = fails(scenario);
    assert!(
        left.contains("proves itself by \"NULL Authentication (13)\"; configured is a pre-shared key"),
        "{left}"
    );
}

#[test]
fn who_proves_something_is_not_taken_for_anybody() {
    let mut scenario = Scenario::host_to_host(4);
    scenario.right.connection.remote_authentication = Authentication::Null;
    scenario.right.connection.remote_identity = IdentityPattern::Any;
    let (_, right) = fails(scenario);
    assert!(right.contains("the peer is left.example and asks for right.example"), "{right}");
}

/// A second connection beside that of the scenario, for a peer that proves nothing.
fn for_anybody(connection: &Connection, side: Side) -> Connection {
    let mut other = Connection { name: "anybody".to_owned(), ..connection.clone() };
    match side {
        Side::Left => {
            other.local_authentication = Authentication::Null;
            other.local_identity = Some(Identity::Null);
        }
        Side::Right => {
            other.remote_authentication = Authentication::Null;
            other.remote_identity = IdentityPattern::Any;
            other.remote_addresses = PeerAddresses::Any;
        }
    }
    other.unique = Unique::Replace;
    other
}

fn up_on(pair: &mut Pair, connection: &str) -> Result<(), ike::Failure> {
    let (connection, child) = (connection.to_owned(), Some("net".to_owned()));
    let ticket = pair.command_with(Side::Left, |ticket| Command::Initiate { connection, child, ticket });
    pair.finish(ticket)
}

/// RFC 7619 §3.3.
#[test]
fn each_peer_gets_the_connection_that_is_for_what_it_proves() {
    for order in [["site", "anybody"], ["anybody", "site"]] {
        let mut pair = Pair::new(Scenario::host_to_host(5));
        for side in Side::BOTH {
            let other = for_anybody(&pair.scenario().gateway(side).connection.clone(), side);
            pair.command(side, Command::Load(Arc::new(other)));
        }
        for name in order {
            up_on(&mut pair, name).expect("it comes up");
        }
        pair.run_for(Duration::from_secs(5));
        let mut known: Vec<_> = pair
            .ike_sas(Side::Right)
            .into_iter()
            .map(|ike| (ike.connection, ike.remote_identity.map(|identity| identity.to_string())))
            .collect();
        known.sort();
        let expected = [("anybody", "%null"), ("site", "left.example")];
        assert_eq!(known, expected.map(|(name, who)| (name.to_owned(), Some(who.to_owned()))), "{order:?}");
    }
}

/// RFC 7619 §2.3: it may be another than the one before, so that nothing of that one's ends, whatever it says.
#[test]
fn nobody_ends_what_another_nobody_has() {
    for unique in [Unique::No, Unique::Replace, Unique::Keep] {
        let mut scenario = scenario(6, &[Side::Left]);
        scenario.right.connection.unique = unique;
        scenario.left.settings.trace_messages = true;
        let mut pair = Pair::new(scenario);
        pair.connect();
        // After a restart the left says that this is its first contact.
        pair.switch_off(Side::Left);
        pair.switch_on(Side::Left);
        pair.connect();
        let says_so =
            pair.traces(Side::Left).iter().any(|trace| format!("{trace:?}").contains("INITIAL_CONTACT"));
        assert!(says_so, "{unique:?}");
        assert_eq!(pair.ike_sas(Side::Right).len(), 2, "{unique:?}");
        // But it is asked whether it lives.
        pair.run_until("the first is found dead", Duration::from_secs(600), |pair| {
            pair.ike_sas(Side::Right).len() == 1
        });
        pair.settle_and_check();
    }
}

/// RFC 7619 §2.5: an address is given to one of them at a time, though they all have no name.
#[test]
fn nobody_gets_the_virtual_address_of_another_nobody() {
    let mut scenario = Scenario::site_to_site(7).with_virtual_address();
    unproven(&mut scenario, Side::Left);
    scenario.right.connection.unique = Unique::Replace;
    let mut pair = Pair::new(scenario);
    pair.connect();
    let first: Vec<IpAddr> = pair.ike_sas(Side::Right)[0].inside.remote.clone();
    pair.switch_off(Side::Left);
    let wanted = first[0];
    pair.switch_on(Side::Left);
    let mut asks = pair.scenario().left.connection.clone();
    asks.virtual_addresses = vec![wanted];
    pair.command(Side::Left, Command::Load(Arc::new(asks)));
    pair.connect();
    let held: Vec<IpAddr> =
        pair.ike_sas(Side::Right).iter().flat_map(|ike| ike.inside.remote.clone()).collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert_ne!(held[0], held[1]);
}
