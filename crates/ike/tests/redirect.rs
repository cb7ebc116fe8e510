//! Redirection (RFC 5685): at once, by identity, at any time, by name, and round in a circle.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::{Command, Connection, DownReason, Event, GatewayName, Identity, IdentityPattern, PeerAddresses};
use sa::AddressRange;
use testkit::{Pair, Scenario, Side, Weather, for_seeds, site_address};

const MINUTE: Duration = Duration::from_secs(60);

fn second() -> IpAddr {
    "203.0.113.7".parse().expect("the test's own text")
}

/// The right has a second address, at which it serves the left; at its first one it sends clients there.
fn redirecting(seed: u64, to: &str) -> Pair {
    let mut scenario = Scenario::site_to_site(seed).weather(Weather::lossy(10)).patient();
    scenario.right.further_addresses = vec![second()];
    let serving = Connection {
        name: "serving".to_owned(),
        local_addresses: PeerAddresses::Ranges(vec![AddressRange::host(second())]),
        ..scenario.right.connection.clone()
    };
    scenario.right.connection.redirect_to = to.parse().ok();
    let mut pair = Pair::new(scenario);
    pair.command(Side::Right, Command::Load(Arc::new(serving)));
    pair
}

fn is_at_second(pair: &Pair) -> bool {
    let is_it = |ike: &ike::IkeSaStatus| ike.path.remote.ip() == second() && !ike.children.is_empty();
    let ikes = pair.ike_sas(Side::Left);
    ikes.len() == 1 && ikes.iter().all(is_it) && pair.is_up("net")
}

#[test]
fn a_client_is_sent_on_with_its_first_message() {
    for_seeds(0..200, |seed| {
        for to in ["203.0.113.7", "second.example"] {
            let mut pair = redirecting(seed, to);
            pair.connect();
            pair.run_until("it is there", 5 * MINUTE, is_at_second);
            assert_eq!(
                pair.events(Side::Right).iter().filter(|event| matches!(event, Event::IkeUp(_))).count(),
                1
            );
            pair.settle_and_check();
        }
    });
}

#[test]
fn a_client_is_sent_on_once_it_is_known() {
    for_seeds(0..200, |seed| {
        let mut pair = redirecting(seed, "203.0.113.7");
        let other = Connection {
            name: "other".to_owned(),
            remote_identity: IdentityPattern::Exact(Identity::Fqdn("other.example".to_owned())),
            redirect_to: None,
            ..pair.scenario().right.connection.clone()
        };
        pair.command(Side::Right, Command::Load(Arc::new(other)));
        pair.connect();
        pair.run_until("it is there", 5 * MINUTE, is_at_second);
        let sent_on = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::Redirected(to)) if to == "203.0.113.7");
        pair.run_until("the first is gone", 5 * MINUTE, |pair| pair.events(Side::Left).iter().any(sent_on));
        pair.settle_and_check();
    });
}

#[test]
fn a_client_is_sent_on_at_any_time() {
    for_seeds(0..200, |seed| {
        let mut scenario = Scenario::site_to_site(seed).weather(Weather::lossy(10)).patient();
        scenario.right.further_addresses = vec![second()];
        let mut pair = Pair::new(scenario);
        pair.connect();
        if pair.random().chance(50) {
            let ticket = pair.rekey_ike(Side::Right).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle();
        }
        let ike = pair.ike_sas(Side::Right)[0].id;
        let gateway = GatewayName::Address(second());
        let ticket = pair.command_with(Side::Right, |ticket| Command::Redirect { ike, gateway, ticket });
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.run_until("it is there", 5 * MINUTE, is_at_second);
        pair.settle();
        pair.check_agreement();
        // The client does not send its gateway anywhere.
        let ike = pair.ike_sas(Side::Left)[0].id;
        let gateway = GatewayName::Address(site_address(Side::Right));
        let ticket = pair.command_with(Side::Left, |ticket| Command::Redirect { ike, gateway, ticket });
        let refusal = pair.finish(ticket).expect_err("it does not follow").to_string();
        assert!(refusal.contains("does not follow redirections"), "{refusal}");
    });
}

#[test]
fn gateways_that_send_a_client_round_in_a_circle_are_given_up() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.right.connection.redirect_to = Some(GatewayName::Address(site_address(Side::Right)));
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let refusal = pair.finish(ticket).expect_err("nobody serves it").to_string();
    assert!(refusal.contains("in a circle"), "{refusal}");
    pair.check_nothing_left(Side::Left);
}

#[test]
fn a_redirection_that_has_not_seen_our_nonce_is_not_followed() {
    let mut pair = Pair::new(Scenario::site_to_site(1));
    pair.up(Side::Left, "net");
    pair.run_for(Duration::from_millis(5));
    let request = pair.messages(Side::Left).pop().expect("it has begun");
    let fields = wire::v2::decode(&request).expect("it is well made").header;
    let answer = wire::v2::HeaderFields {
        initiator_spi: fields.initiator_spi,
        responder_spi: fields.responder_spi,
        exchange_type: fields.exchange_type,
        flags: wire::isakmp::Flags::RESPONSE,
        message_id: 0,
    };
    let notify = wire::v2::Notify::redirect(&GatewayName::Address(second()), &[7; 32]);
    let forged = wire::v2::encode_clear(&answer, &[wire::v2::Payload::Notify(notify)]).expect("it is short");
    pair.answers(Side::Left, forged);
    pair.run_until("it comes up where it was to", MINUTE, |pair| pair.is_up("net"));
    assert_eq!(pair.ike_sas(Side::Left)[0].path.remote.ip(), site_address(Side::Right));
}
