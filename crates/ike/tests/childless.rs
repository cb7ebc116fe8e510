//! IKE SAs that begin without a Child SA (RFC 6023).

use std::time::Duration;

use ike::{Childless, Command, Event};
use testkit::{Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::ExchangeType;

fn scenario(seed: u64, left: Childless, right: Childless) -> Scenario {
    let mut scenario = Scenario::site_to_site(seed);
    scenario.left.connection.childless = left;
    scenario.right.connection.childless = right;
    scenario
}

/// Counts what a side has sent in an exchange.
fn sent(pair: &Pair, side: Side, exchange_type: ExchangeType) -> usize {
    let messages = pair.messages(side);
    let read = messages.iter().filter_map(|bytes| wire::v2::decode(bytes).ok());
    read.filter(|message| message.header.exchange_type == exchange_type).count()
}

fn alone(pair: &mut Pair) -> Result<(), ike::Failure> {
    let connection = "site".to_owned();
    let ticket =
        pair.command_with(Side::Left, |ticket| Command::Initiate { connection, child: None, ticket });
    pair.finish(ticket)
}

#[test]
fn an_ike_sa_comes_up_alone_and_its_child_follows() {
    let mut pair = Pair::new(scenario(1, Childless::Allow, Childless::Allow));
    alone(&mut pair).expect("it comes up");
    pair.run_for(Duration::from_secs(1));
    for side in Side::BOTH {
        assert_eq!(pair.ike_sas(side).len(), 1);
        assert!(pair.ike_sas(side)[0].children.is_empty());
    }
    alone(&mut pair).expect("it is up");
    let ticket = pair.up(Side::Right, "net");
    pair.finish(ticket).expect("the child comes up");
    pair.settle_and_check();
    assert_eq!(sent(&pair, Side::Left, ExchangeType::IKE_AUTH), 1);
}

/// Whether the child is made in IKE_AUTH, or afterwards.
#[test]
fn who_prefers_it_makes_the_child_afterwards_where_the_peer_takes_that() {
    use Childless::{Allow, Force, Never, Prefer};
    for (left, right, is_apart) in [
        (Allow, Allow, false),
        (Allow, Never, false),
        (Prefer, Allow, true),
        (Prefer, Never, false),
        (Prefer, Force, true),
        (Force, Allow, true),
        (Force, Force, true),
        (Never, Allow, false),
        (Never, Prefer, false),
    ] {
        let mut pair = Pair::new(scenario(2, left, right));
        pair.connect();
        pair.settle_and_check();
        let apart = sent(&pair, Side::Left, ExchangeType::CREATE_CHILD_SA) > 0;
        assert_eq!(apart, is_apart, "{left:?} {right:?}");
    }
}

#[test]
fn who_does_not_take_it_is_told_of() {
    for (left, right, sentence) in [
        (
            Childless::Force,
            Childless::Never,
            "the peer takes no IKE SA that begins without a Child SA (RFC 6023)",
        ),
        (
            Childless::Allow,
            Childless::Force,
            "the peer refused IKE_AUTH with INVALID_SYNTAX (7): it could not read our message; we are left.example by a \
             pre-shared key and want right.example",
        ),
    ] {
        let mut pair = Pair::new(scenario(3, left, right));
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket).expect_err("it must not come up").to_string(), sentence);
    }
    let mut pair = Pair::new(scenario(4, Childless::Allow, Childless::Never));
    let sentence = "the peer takes no IKE SA that begins without a Child SA (RFC 6023)";
    assert_eq!(alone(&mut pair).expect_err("it must not come up").to_string(), sentence);
}

#[test]
fn in_bad_weather_the_child_follows_all_the_same() {
    for_seeds(0..1500, |seed| {
        let ways = [Childless::Prefer, Childless::Force];
        let scenario = scenario(seed, ways[seed as usize % 2], ways[seed as usize / 2 % 2]);
        let scenario = scenario.patient().weather(Weather::lossy(30)).both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = Duration::from_secs(10);
        });
        let mut pair = Pair::new(scenario);
        pair.connect();
        if seed % 3 == 0 {
            let ticket = pair.up(Side::Right, "net");
            pair.finish(ticket).expect("it is up");
        }
        pair.settle_and_check();
        let up = pair.events(Side::Left).iter().filter(|event| matches!(event, Event::ChildUp(..))).count();
        assert!(up >= 1);
    });
}
