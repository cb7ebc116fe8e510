//! What stands where no Child SA is: traps and blocks (RFC 4301 §4.4.1), from loading to a person's word, and how long a
//! Child SA is kept that carries nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ike::{
    Answer, CloseAction, Command, Connection, DownReason, Endpoint, Event, Failure, Lifetimes, Output, Path,
    Query, SelectorTemplate, Settings, StartAction, Ticket, limits,
};
use sa::{IpProtocol, PolicyAction, PolicyId, PolicySpec, PortRange, SaOp};
use testkit::{
    Cargo, Forger, Pair, Parcel, Scenario, SeededRandom, Side, SpiPool, Weather, flow, for_seeds,
    site_address,
};
use wire::isakmp::Flags;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{HeaderFields, Notify, Payload};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Lets a host on the left send while something happens, and gives how many of its packets were blocked since.
fn blocked(pair: &mut Pair) -> u64 {
    let before = pair.tally(Side::Left).blocked;
    pair.start_stream(flow(Side::Left, 0), SECOND, 100);
    pair.run_for(5 * SECOND);
    pair.stop_traffic();
    assert_eq!(pair.tally(Side::Left).unguarded, 0, "nothing leaves in the clear");
    pair.tally(Side::Left).blocked - before
}

#[test]
fn what_a_lost_child_carried_stays_blocked_until_it_is_back() {
    for_seeds(0..50, |seed| {
        let mut pair = Pair::new(Scenario::site_to_site(seed).weather(Weather::SHUFFLED));
        pair.connect();
        // INFORMATIONAL { D(ESP) } or { D(IKE) }, from the right's person -->
        let ticket = if seed % 2 == 0 { pair.down_child(Side::Right, "net") } else { pair.down(Side::Right) };
        assert_eq!(pair.finish(ticket.expect("it is up")), Ok(()));
        pair.settle_and_check();
        assert!(blocked(&mut pair) >= 5);
        assert_eq!(pair.endpoint(Side::Left).blocks().count(), 1);
        // The right's person said that it may pass there.
        assert_eq!(pair.endpoint(Side::Right).blocks().count(), 0);
        pair.connect();
        assert_eq!(blocked(&mut pair), 0);
        pair.settle_and_check();
    });
}

#[test]
fn what_a_dead_peer_leaves_behind_is_blocked_and_a_person_lets_it_pass() {
    let mut pair =
        Pair::new(Scenario::site_to_site(1).both(|gateway| gateway.connection.liveness_delay = MINUTE));
    pair.connect();
    pair.switch_off(Side::Right);
    let is_gone = |pair: &Pair| pair.ike_sas(Side::Left).is_empty();
    pair.run_until("the left notices", 10 * MINUTE, is_gone);
    assert!(blocked(&mut pair) >= 5);
    let unblock = |ticket| Command::Unblock { connection: "site".into(), child: "net".into(), ticket };
    let ticket = pair.command_with(Side::Left, unblock);
    assert_eq!(pair.finish(ticket), Ok(()));
    assert!(pair.plane(Side::Left).policies().next().is_none());
    let ticket = pair.command_with(Side::Left, unblock);
    let failure = pair.finish(ticket).expect_err("there is none any more").to_string();
    assert_eq!(failure, "child net of connection site is not blocked");
}

#[test]
fn whoever_takes_a_child_down_lets_its_traffic_pass_unless_it_is_trapped() {
    for (action, guards) in [(StartAction::None, 0), (StartAction::Start, 0), (StartAction::TrapAndStart, 1)]
    {
        let mut scenario = Scenario::site_to_site(1);
        scenario.left.change_child("net", |child| child.start_action = action);
        let mut pair = Pair::new(scenario);
        pair.connect();
        let ticket = pair.down_child(Side::Left, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        assert_eq!(pair.guards(Side::Left).len(), guards, "{action:?}");
    }
}

#[test]
fn nothing_passes_before_what_is_to_be_started_is_up() {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.change_child("net", |child| child.start_action = StartAction::Start);
    let mut pair = Pair::new(scenario.weather(Weather::DEAD));
    assert!(blocked(&mut pair) >= 5);
    pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
    pair.run_until("the child is up", MINUTE, |pair| pair.is_up("net"));
    assert_eq!(blocked(&mut pair), 0);
}

#[test]
fn a_child_that_carries_nothing_is_closed_and_one_that_does_is_not() {
    for_seeds(0..50, |seed| {
        let mut pair =
            Pair::new(Scenario::site_to_site(seed).both_children(|child| child.inactivity = 5 * MINUTE));
        pair.connect();
        pair.start_stream(flow(Side::Right, 0), 2 * MINUTE, 100);
        pair.run_for(30 * MINUTE);
        assert!(pair.is_up("net"), "packets of one direction are enough");
        pair.stop_traffic();
        pair.run_for(6 * MINUTE);
        assert!(!pair.is_up("net"));
        let is_inactive = |event: &Event| matches!(event, Event::ChildDown(_, _, DownReason::Inactive));
        assert!(Side::BOTH.iter().any(|side| pair.events(*side).iter().any(is_inactive)));
        pair.settle_and_check();
        assert_eq!(pair.ike_sas(Side::Left).len(), 1, "the IKE SA stays");
    });
}

#[test]
fn a_peer_that_is_busy_for_minutes_has_lost_us() {
    let lifetimes = Lifetimes { rekey: MINUTE, rand: Duration::ZERO, expire: Duration::ZERO };
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.settings.disclose_keys = true;
    scenario.left.change_child("net", |child| {
        child.lifetimes = lifetimes;
        child.liveness_action = CloseAction::Trap;
    });
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    let keys = pair.events(Side::Left).iter().find_map(|event| match event {
        Event::IkeKeys(keys) => Some(keys.clone()),
        _ => None,
    });
    let forger = Forger::new(&keys.expect("it was asked for")).expect("the suite is an AEAD");
    pair.switch_off(Side::Right);
    let mut answered = 0;
    while !pair.ike_sas(Side::Left).is_empty() {
        assert!(pair.elapsed() < 10 * MINUTE, "it goes on for ever");
        pair.run_for(SECOND);
        answered += u32::from(put_off(&mut pair, &forger));
    }
    assert!(answered > 50);
    let ended = pair.events(Side::Left).iter().rev().find_map(|event| match event {
        Event::IkeDown(_, DownReason::Failed(failure @ Failure::PutOff { .. })) => Some(failure.to_string()),
        _ => None,
    });
    assert!(ended.expect("it says why").contains("busy with something else for 5 minutes"));
    assert_eq!(pair.endpoint(Side::Left).traps().count(), 1, "as for a dead peer");
}

/// Answers the left's last request in the right's name: CREATE_CHILD_SA with TEMPORARY_FAILURE, and a delete.
fn put_off(pair: &mut Pair, forger: &Forger) -> bool {
    let last = pair.sent(Side::Left).next_back().cloned();
    let Some(Parcel { source, destination, cargo: Cargo::Ike(bytes) }) = last else { return false };
    let Some(content) = forger.open(&bytes).filter(|content| !content.fields.flags.is_response()) else {
        return false;
    };
    let payloads = match content.fields.exchange_type {
        ExchangeType::CREATE_CHILD_SA => {
            vec![Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, []))]
        }
        _ => Vec::new(),
    };
    let fields = HeaderFields { flags: Flags::RESPONSE, ..content.fields };
    let bytes = forger.seal_payloads(fields, &payloads).expect("it is short");
    let parcel = Parcel { source: destination, destination: source, cargo: Cargo::Ike(bytes) };
    pair.inject(Side::Left, parcel, Duration::ZERO);
    true
}

// --- One engine alone ----------------------------------------------------------------------------------------------

/// An engine with nobody to talk to, and what it wants.
struct Alone {
    endpoint: Endpoint,
    now: Instant,
}

impl Alone {
    fn new() -> Alone {
        let now = Instant::now();
        let random = Box::new(SeededRandom::new(1));
        let endpoint = Endpoint::new(Settings::default(), random, Box::new(SpiPool::default()), now);
        Alone { endpoint, now }
    }

    fn command(&mut self, command: Command) -> Vec<Output> {
        self.endpoint.handle_command(self.now, command);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.endpoint.poll_output()).collect()
    }
}

fn loaded(start_action: StartAction) -> Arc<Connection> {
    let mut scenario = Scenario::site_to_site(1);
    scenario.left.change_child("net", |child| child.start_action = start_action);
    Arc::new(scenario.left.connection)
}

/// Gives the policies that were installed, and the ids of those that were removed.
fn policies(outputs: &[Output]) -> (Vec<PolicySpec>, Vec<PolicyId>) {
    let (mut installed, mut removed) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Sa(SaOp::InstallPolicy(policy)) => installed.push(policy.clone()),
            Output::Sa(SaOp::RemovePolicy(policy)) => removed.push(*policy),
            _ => {}
        }
    }
    (installed, removed)
}

#[test]
fn a_guard_is_replaced_in_place_when_its_connection_is_loaded_again() {
    let mut alone = Alone::new();
    let install = |ticket| Command::Install { connection: "site".into(), child: "net".into(), ticket };
    alone.command(Command::Load(loaded(StartAction::None)));
    let (installed, _) = policies(&alone.command(install(Ticket(1))));
    let [trap] = installed.as_slice() else { panic!("{installed:?}") };
    assert_eq!(trap.action, PolicyAction::Trap);
    // A trap that a person asked for stays, whatever the configuration says of it.
    for action in [StartAction::None, StartAction::Trap, StartAction::Start, StartAction::None] {
        let (installed, removed) = policies(&alone.command(Command::Load(loaded(action))));
        assert!(removed.is_empty(), "{removed:?}");
        assert!(installed.iter().all(|policy| policy.id == trap.id && policy.action == PolicyAction::Trap));
        assert_eq!(installed.len(), 1);
    }
    // A child that is gone takes its guard with it, and so does the connection.
    let mut without = (*loaded(StartAction::None)).clone();
    without.children.clear();
    let (_, removed) = policies(&alone.command(Command::Load(Arc::new(without))));
    assert_eq!(removed, [trap.id]);
}

#[test]
fn a_trap_of_the_configuration_that_is_taken_back_leaves_a_block() {
    let mut alone = Alone::new();
    let (installed, _) = policies(&alone.command(Command::Load(loaded(StartAction::Trap))));
    let (renewed, removed) = policies(&alone.command(Command::Load(loaded(StartAction::None))));
    assert_eq!((renewed.len(), renewed[0].id, removed.len()), (1, installed[0].id, 0));
    assert_eq!((installed[0].action, renewed[0].action), (PolicyAction::Trap, PolicyAction::Protect));
    let (_, removed) = policies(&alone.command(Command::Unload("site".into())));
    assert_eq!(removed, [installed[0].id]);
}

#[test]
fn a_guard_that_needs_our_address_asks_for_the_path_until_there_is_one() {
    let mut alone = Alone::new();
    let mut scenario = Scenario::host_to_host(1);
    scenario.left.change_child("net", |child| {
        child.start_action = StartAction::Trap;
        child.local_selectors = vec![SelectorTemplate::Dynamic(IpProtocol::GRE, PortRange::ANY)];
    });
    let asked = |outputs: &[Output]| match outputs {
        [.., Output::Query { id, query: Query::Path(_) }] => *id,
        other => panic!("{other:?}"),
    };
    let id = asked(&alone.command(Command::Load(Arc::new(scenario.left.connection.clone()))));
    alone.endpoint.handle_answer(alone.now, id, Answer::Path(Err("there is no route".into())));
    let said = alone.drain();
    assert!(matches!(said.as_slice(), [Output::Event(Event::Failed { failure: Failure::NoPath(_), .. })]));
    alone.now += limits::PATH_RETRY;
    assert_eq!(alone.endpoint.poll_timeout().map(|(at, _)| at), Some(alone.now));
    alone.endpoint.handle_timeout(alone.now);
    let id = asked(&alone.drain());
    let [local, remote] = Side::BOTH.map(|side| (site_address(side), 500).into());
    alone.endpoint.handle_answer(alone.now, id, Answer::Path(Ok(Path { local, remote })));
    let (installed, _) = policies(&alone.drain());
    assert_eq!(installed[0].selectors[0].to_string(), "192.0.2.1/32[gre] <-> 198.51.100.1/32[gre]");
}

#[test]
fn a_way_to_the_peer_is_looked_for_again_as_often_as_the_connection_wants() {
    let mut alone = Alone::new();
    let mut connection = (*loaded(StartAction::None)).clone();
    connection.keying_tries = 3;
    alone.command(Command::Load(Arc::new(connection)));
    let initiate =
        |ticket| Command::Initiate { connection: "site".into(), child: Some("net".into()), ticket };
    let mut outputs = alone.command(initiate(Ticket(1)));
    for attempt in 1..=3 {
        let id = match outputs.as_slice() {
            [.., Output::Query { id, query: Query::Path(_) }] => *id,
            other => panic!("attempt {attempt}: {other:?}"),
        };
        alone.endpoint.handle_answer(alone.now, id, Answer::Path(Err("the name is unknown".into())));
        outputs = alone.drain();
        if attempt < 3 {
            alone.now += limits::PATH_RETRY;
            alone.endpoint.handle_timeout(alone.now);
            outputs = alone.drain();
        }
    }
    let finished = outputs.iter().any(|output| {
        matches!(
            output,
            Output::Event(Event::Finished { ticket: Ticket(1), result: Err(Failure::NoPath(_)) })
        )
    });
    assert!(finished, "{outputs:?}");
}
