//! XAuth between two endpoints: a user's password after phase 1, in both modes, over every kind of network.

use std::time::Duration;

use ike::{Event, Failure, IkeState, Phase1Mode, Unique};
use sa::Identity;
use testkit::{Cargo, Pair, Scenario, Side, Weather, flow, for_seeds};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const USER: &str = "bob@corp.example";

/// Main mode for every other seed, aggressive mode for the rest; the left's user gives his password.
fn with_user(seed: u64) -> Scenario {
    let scenario = Scenario::site_to_site(seed);
    let scenario = if seed.is_multiple_of(2) { scenario.version_1() } else { scenario.aggressive() };
    scenario.with_user(USER)
}

/// Brings the child up, moves packets both ways, and checks every invariant.
fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect_version_1(3 * MINUTE);
    pair.settle_and_check();
    pair
}

fn failures(pair: &Pair, side: Side) -> Vec<String> {
    let failed = pair.events(side).iter().filter_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    });
    failed.collect()
}

#[test]
fn two_transactions_stand_between_the_phases() {
    for (scenario, of_phase_1) in
        [(Scenario::site_to_site(1).version_1(), (3, 3)), (Scenario::site_to_site(1).aggressive(), (2, 1))]
    {
        let pair = comes_up(scenario.with_user(USER));
        let sent = |side| pair.sent(side).filter(|parcel| matches!(parcel.cargo, Cargo::Ike(_))).count();
        assert_eq!((sent(Side::Left), sent(Side::Right)), (of_phase_1.0 + 2 + 2, of_phase_1.1 + 2 + 1));
        let (left, right) = (&pair.ike_sas(Side::Left)[0], &pair.ike_sas(Side::Right)[0]);
        assert_eq!(right.remote_user, Some(Identity::Email(USER.to_owned())));
        assert_eq!(right.remote_identity, Some(Identity::Fqdn("left.example".to_owned())));
        assert_eq!(left.remote_user, None);
    }
}

#[test]
fn a_user_comes_in_whatever_the_network_does() {
    for_seeds(0..4000, |seed| {
        comes_up(with_user(seed).weather(Weather::SHUFFLED));
        comes_up(with_user(seed).weather(Weather::lossy(10)).patient());
        comes_up(with_user(seed).weather(Weather::lossy(30)).patient());
    });
}

#[test]
fn a_user_comes_in_through_a_nat() {
    for_seeds(0..2000, |seed| {
        let scenario = with_user(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED);
        comes_up(scenario);
    });
}

#[test]
fn a_server_that_calls_asks_all_the_same() {
    for_seeds(0..100, |seed| {
        let mut pair = Pair::new(with_user(seed).weather(Weather::lossy(10)).patient());
        let ticket = pair.up(Side::Right, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.start_stream(flow(Side::Right, 0), SECOND, 100);
        pair.run_until("both sides have the child", 3 * MINUTE, |pair| pair.is_up("net"));
        pair.stop_traffic();
        assert!(pair.ike_sas(Side::Right)[0].remote_user.is_some());
    });
}

#[test]
fn a_new_phase_1_asks_the_user_again_and_loses_no_packet() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(with_user(seed).weather(Weather::SHUFFLED));
        pair.connect();
        pair.start_traffic(0, Duration::from_millis(100));
        for side in Side::BOTH {
            let before = pair.ike_sas(Side::Left)[0].initiator_spi;
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            let now = &pair.ike_sas(Side::Left);
            assert_eq!(now.len(), 1);
            assert_ne!(now[0].initiator_spi, before);
        }
        pair.stop_traffic();
        pair.settle_and_check();
    });
}

#[test]
fn another_password_lets_nobody_in_and_both_ends_say_why() {
    for_seeds(0..2000, |seed| {
        let mut scenario = with_user(seed).weather(Weather::SHUFFLED);
        scenario.left.passwords[0].1 = "guessed".to_owned();
        let mut pair = Pair::new(scenario);
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(
            pair.finish(ticket).expect_err("the password differs").to_string(),
            format!("authentication failed: the peer does not believe user {USER}: name or password differ")
        );
        assert_eq!(
            failures(&pair, Side::Right),
            [format!("authentication failed: user {USER} gave another password than is configured")]
        );
        pair.run_for(2 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
        assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
    });
}

#[test]
fn an_unknown_user_is_not_told_from_a_wrong_password() {
    let mut scenario = with_user(1);
    scenario.right.passwords.clear();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("nobody knows him").to_string();
    assert!(told.ends_with("name or password differ"), "{told}");
    assert_eq!(
        failures(&pair, Side::Right),
        [format!("authentication failed: no password is configured for user {USER}")]
    );
}

#[test]
fn a_client_without_the_password_says_so() {
    let mut scenario = with_user(1);
    scenario.left.passwords.clear();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("there is none").to_string();
    assert_eq!(told, format!("no password is configured for user {USER}"));
    pair.run_for(2 * MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn a_client_that_nobody_asks_gives_up() {
    for mode in [Phase1Mode::Main, Phase1Mode::Aggressive] {
        let mut pair = Pair::new(with_user(1).both(|gateway| gateway.connection.phase_1 = mode));
        let ticket = pair.up(Side::Left, "net");
        pair.run_until("phase 1 is over", MINUTE, |pair| {
            pair.ike_sas(Side::Left).iter().any(|sa| sa.tasks_active == ["XAUTH"])
        });
        assert_eq!(pair.ike_sas(Side::Left)[0].state, IkeState::Connecting);
        pair.switch_off(Side::Right);
        assert!(matches!(pair.finish(ticket), Err(Failure::NoAnswer { exchange: "XAuth", .. })));
    }
}

#[test]
fn an_end_that_wants_no_user_meets_none_that_gives_one() {
    let mut scenario = with_user(1);
    scenario.right.connection.xauth = ike::Xauth::None;
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    assert!(pair.finish(ticket).is_err());
    let told = &failures(&pair, Side::Right)[0];
    assert!(
        told.contains("authentication by XAUTHInitPreShared (65001) where we want pre-shared key (1)"),
        "{told}"
    );
}

/// Users of one device's identity are different peers: the newer does not push the older out.
#[test]
fn who_the_peer_is_goes_by_the_user() {
    let scenario = with_user(1).both(|gateway| gateway.connection.unique = Unique::Replace);
    let mut pair = Pair::new(scenario);
    pair.connect();
    let mut other = pair.scenario().left.connection.clone();
    "other".clone_into(&mut other.name);
    other.xauth = ike::Xauth::Ours("alice@corp.example".to_owned());
    for side in Side::BOTH {
        let password = ike::SharedSecret {
            name: "alice".to_owned(),
            kind: ike::SecretKind::Password,
            owners: vec![ike::IdentityPattern::parse("alice@corp.example").expect("a pattern")],
            secret: b"staple battery".to_vec().into(),
        };
        pair.command(side, ike::Command::LoadSecret(password));
    }
    pair.command(Side::Left, ike::Command::Load(std::sync::Arc::new(other)));
    let ticket = pair.command_with(Side::Left, |ticket| ike::Command::Initiate {
        connection: "other".to_owned(),
        child: None,
        ticket,
    });
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle();
    let users: Vec<_> = pair.ike_sas(Side::Right).into_iter().filter_map(|sa| sa.remote_user).collect();
    assert_eq!(users.len(), 2, "{users:?}");
}
