//! Counters after a cluster has failed over (RFC 6311): what its peer answers and what it drops without a word, what the member
//! that takes over believes, and that both go on in any weather.

use std::time::Duration;

use ike::{Command, CounterSynchronization, DownReason, Event, Failure, MissedPackets, Ticket};
use sa::Direction;
use testkit::{Impostor, Pair, Scenario, Side, Weather, for_seeds};
use wire::isakmp::Flags;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{HeaderFields, Notify, Payload};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

// --- A member of a cluster, in the right's name ----------------------------------------------------------------------

/// What a message says of counters: the nonce, the sender's next message id, and the other end's.
type Ids = ([u8; 4], u32, u32);

fn sync((nonce, send, receive): Ids) -> Payload {
    let data = [nonce, send.to_be_bytes(), receive.to_be_bytes()].concat();
    Payload::Notify(Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, data))
}

fn skip(by: &[u8]) -> Payload {
    Payload::Notify(Notify::new(NotifyType::IPSEC_REPLAY_COUNTER_SYNC, by))
}

/// Reads a message that has N(IKEV2_MESSAGE_ID_SYNC) and nothing else, or that and a wish to skip numbers.
fn ids_of(payloads: &[Payload]) -> Option<Ids> {
    let [Payload::Notify(notify), rest @ ..] = payloads else { return None };
    let is_skip = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::IPSEC_REPLAY_COUNTER_SYNC);
    if notify.notify_type != NotifyType::IKEV2_MESSAGE_ID_SYNC || !rest.iter().all(is_skip) {
        return None;
    }
    let part = |at: usize| <[u8; 4]>::try_from(notify.data.get(at..at + 4)?).ok();
    Some((part(0)?, u32::from_be_bytes(part(4)?), u32::from_be_bytes(part(8)?)))
}

struct Failover {
    pair: Pair,
    member: Impostor,
}

impl Failover {
    fn of(scenario: Scenario) -> Failover {
        let (pair, member) = Impostor::takes_over(scenario);
        Failover { pair, member }
    }

    fn fields(&self, exchange_type: ExchangeType, message_id: u32) -> HeaderFields {
        let ike = &self.pair.ike_sas(Side::Left)[0];
        HeaderFields {
            initiator_spi: ike.initiator_spi,
            responder_spi: ike.responder_spi,
            exchange_type,
            flags: Flags::NONE,
            message_id,
        }
    }

    /// Sends the left a request under a message id, and gives what its response says.
    fn asks(&mut self, message_id: u32, payloads: &[Payload]) -> Option<Vec<Payload>> {
        let bytes = self.member.seals(self.fields(ExchangeType::INFORMATIONAL, message_id), payloads);
        self.says(bytes, message_id)
    }

    fn says(&mut self, bytes: Vec<u8>, message_id: u32) -> Option<Vec<Payload>> {
        let sent = self.pair.answers(Side::Left, bytes);
        let mut opened = sent.iter().filter_map(|bytes| self.member.opens(bytes));
        let (_, payloads) =
            opened.find(|(fields, _)| fields.flags.is_response() && fields.message_id == message_id)?;
        Some(payloads)
    }

    // INFORMATIONAL 0 { N(IKEV2_MESSAGE_ID_SYNC) } -->
    fn synchronizes(&mut self, ids: Ids) -> Option<Ids> {
        self.asks(0, &[sync(ids)])
            .map(|payloads| ids_of(&payloads).expect("nothing but N(IKEV2_MESSAGE_ID_SYNC)"))
    }

    fn skipped(&self) -> u64 {
        let sas = self.pair.plane(Side::Left).sas().iter();
        sas.filter(|(id, _)| id.direction == Direction::Outbound).map(|(_, sa)| sa.skipped).sum()
    }
}

/// The left has asked twice, in IKE_SA_INIT and IKE_AUTH; the right, for nothing yet.
const LEFT_NEXT: u32 = 2;

// --- The peer: RFC 6311 §5.1, §5.2, §9 ---------------------------------------------------------------------------------

#[test]
fn the_peer_gives_the_nonce_back_and_the_higher_of_both_counters() {
    // The first is the appendix's A.1, the other way round: nothing was missed.
    for (asked, answered) in [
        ((0, 2), (2, 0)),
        ((0, 0), (2, 0)),
        ((4, 3), (3, 4)),
        ((7, 1), (2, 7)),
        ((u32::MAX - 1, 9), (9, u32::MAX - 1)),
    ] {
        let mut failover = Failover::of(Scenario::site_to_site(1));
        let answer = failover.synchronizes(([1, 2, 3, 4], asked.0, asked.1));
        assert_eq!(answer, Some(([1, 2, 3, 4], answered.0, answered.1)), "{asked:?}");
        // From now on these are the message ids: the member's next request …
        assert_eq!(failover.asks(answered.1, &[]), Some(Vec::new()), "{asked:?}");
        // … and the left's.
        failover.pair.rekey_child(Side::Left, "net").expect("it is up");
        let request = failover.member.last_request(&failover.pair).expect("it was sent");
        assert_eq!(request.fields.message_id, answered.0, "{asked:?}");
    }
}

#[test]
fn a_request_that_is_not_higher_than_all_before_gets_no_answer() {
    let mut failover = Failover::of(Scenario::site_to_site(1));
    for message_id in 0..3 {
        assert_eq!(failover.asks(message_id, &[]), Some(Vec::new()));
    }
    for send in 0..3 {
        assert_eq!(failover.synchronizes(([9; 4], send, 9)), None, "{send} was used");
    }
    assert_eq!(failover.synchronizes(([9; 4], 3, 0)), Some(([9; 4], LEFT_NEXT, 3)));
    // What was said before, to the bit or not, is a replay: multiple failovers name higher ones.
    for send in 0..4 {
        assert_eq!(failover.synchronizes(([9; 4], send, 0)), None);
        assert_eq!(failover.synchronizes(([7; 4], send, 50)), None);
    }
    assert_eq!(failover.synchronizes(([9; 4], 4, 0)), Some(([9; 4], LEFT_NEXT, 4)));
    // What it dropped has changed nothing.
    assert_eq!(failover.asks(4, &[]), Some(Vec::new()));
    assert_eq!(failover.synchronizes(([9; 4], 4, 0)), None);
    assert_eq!(failover.synchronizes(([9; 4], 5, 0)), Some(([9; 4], LEFT_NEXT, 5)));
}

#[test]
fn a_request_that_says_anything_else_gets_no_answer() {
    let ids = || sync(([1; 4], 5, 5));
    let mut failover = Failover::of(Scenario::site_to_site(1));
    let short = Payload::Notify(Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, [0; 11]));
    let long = Payload::Notify(Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, [0; 13]));
    let strange = Payload::VendorId(vec![1]);
    let other = Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, []));
    for payloads in [
        vec![short],
        vec![long],
        vec![ids(), strange.clone()],
        vec![strange, ids()],
        vec![ids(), other],
        vec![ids(), ids()],
        vec![ids(), skip(&[0, 0, 0, 1]), skip(&[0, 0, 0, 1])],
        vec![ids(), skip(&[0, 0, 1])],
    ] {
        assert_eq!(failover.asks(0, &payloads), None, "{payloads:?}");
    }
    assert_eq!(failover.skipped(), 0);
    // Nor one that the member's keys did not make.
    let fields = failover.fields(ExchangeType::INFORMATIONAL, 0);
    let mut forged = failover.member.seals(fields, &[ids()]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(failover.says(forged, 0), None);
    // And all that has changed nothing.
    assert_eq!(failover.synchronizes(([1; 4], 0, 0)), Some(([1; 4], LEFT_NEXT, 0)));
}

#[test]
fn without_an_agreement_message_id_zero_is_one_like_the_others() {
    for side in Side::BOTH {
        let mut scenario = Scenario::site_to_site(1);
        scenario.gateway_mut(side).connection.counter_synchronization = CounterSynchronization::No;
        let mut failover = Failover::of(scenario);
        // An unknown status notify is overlooked, in the order of all requests.
        assert_eq!(failover.asks(0, &[sync(([1; 4], 5, 5)), skip(&[0, 0, 0, 9])]), Some(Vec::new()));
        assert_eq!(failover.asks(1, &[]), Some(Vec::new()));
        assert_eq!(failover.asks(0, &[sync(([1; 4], 6, 6))]), None);
        assert_eq!(failover.skipped(), 0);
    }
}

// §5: the responder asserts nothing that the initiator has not.
#[test]
fn the_responder_asserts_what_the_initiator_has() {
    let says = |left: CounterSynchronization, right: CounterSynchronization| {
        let mut scenario = Scenario::site_to_site(1).both(|gateway| gateway.settings.trace_messages = true);
        scenario.left.connection.counter_synchronization = left;
        scenario.right.connection.counter_synchronization = right;
        let mut pair = Pair::new(scenario);
        pair.connect();
        let traces = pair.traces(Side::Right).iter().filter(|trace| trace.is_response);
        let names = traces.flat_map(|trace| trace.payloads.iter().map(|payload| payload.name.clone()));
        names.filter(|name| name.contains("_SYNC_SUPPORTED")).count()
    };
    use CounterSynchronization::{No, Yes};
    assert_eq!([says(Yes, Yes), says(No, Yes), says(Yes, No), says(No, No)], [2, 0, 0, 0]);
}

// §9.
#[test]
fn what_the_peer_waited_for_it_asks_again_under_a_new_message_id() {
    let mut failover = Failover::of(Scenario::site_to_site(1));
    let ticket = failover.pair.rekey_child(Side::Left, "net").expect("it is up");
    let lost = failover.member.last_request(&failover.pair).expect("it was sent");
    assert_eq!(lost.fields.message_id, LEFT_NEXT);
    // It does not wait for a response to that any more …
    assert_eq!(failover.synchronizes(([1; 4], 0, 0)), Some(([1; 4], LEFT_NEXT + 1, 0)));
    let fields = HeaderFields { flags: Flags::RESPONSE, ..lost.fields };
    let late =
        failover.member.seals(fields, &[Payload::Notify(Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, []))]);
    failover.pair.answers(Side::Left, late);
    assert_eq!(failover.pair.result(ticket), None);
    // … and begins again.
    assert!(failover.member.hears_within(&mut failover.pair, 10 * SECOND, ExchangeType::CREATE_CHILD_SA));
    let again = failover.member.last_request(&failover.pair).expect("it was sent");
    assert_eq!(again.fields.message_id, LEFT_NEXT + 1);
}

#[test]
fn a_delete_that_the_peer_waited_for_is_said_again_at_once() {
    for is_ike in [true, false] {
        let mut failover = Failover::of(Scenario::site_to_site(1));
        let ticket = match is_ike {
            true => failover.pair.down(Side::Left),
            false => failover.pair.down_child(Side::Left, "net"),
        };
        let before = failover.member.heard(&failover.pair);
        assert!(failover.synchronizes(([1; 4], 0, 0)).is_some());
        let again = failover.member.last_request(&failover.pair).expect("it was sent");
        assert_eq!(again.fields.message_id, LEFT_NEXT + 1);
        assert_eq!(failover.member.heard(&failover.pair), before);
        let answer = if is_ike { Vec::new() } else { before.1 };
        failover.member.answers(&mut failover.pair, &answer);
        assert_eq!(failover.pair.result(ticket.expect("it is up")), Some(Ok(())));
    }
}

// RFC 7383 §3: however little a datagram may hold; and what comes in fragments is none.
#[test]
fn a_message_that_synchronizes_is_never_cut() {
    let scenario = Scenario::site_to_site(1).both(|gateway| gateway.settings.fragment_size = 90);
    let mut failover = Failover::of(scenario);
    assert_eq!(failover.synchronizes(([1; 4], 3, 3)), Some(([1; 4], 3, 3)));
    let before = failover.pair.messages(Side::Left).len();
    take_over(&mut failover.pair, Side::Left, MissedPackets { inbound: 1, outbound: 1 });
    let sent = failover.pair.messages(Side::Left).split_off(before);
    assert_eq!(sent.len(), 1);
    assert!(failover.member.opens(&sent[0]).is_some_and(|(_, payloads)| ids_of(&payloads).is_some()));
}

// §5.2.
#[test]
fn the_peer_skips_as_many_sequence_numbers_as_it_is_asked_to() {
    let mut failover = Failover::of(Scenario::site_to_site(1));
    let long = 5u64.to_be_bytes();
    // Together with the message ids, in either order; the answer does not mention it.
    assert_eq!(
        failover.asks(0, &[sync(([1; 4], 0, 0)), skip(&long)]),
        Some(vec![sync(([1; 4], LEFT_NEXT, 0))])
    );
    assert_eq!(failover.skipped(), 5);
    assert_eq!(
        failover.asks(0, &[skip(&long), sync(([1; 4], 1, 0))]),
        Some(vec![sync(([1; 4], LEFT_NEXT, 1))])
    );
    assert_eq!(failover.skipped(), 10);
    // A replay is dropped with all that it says: the message ids come first.
    assert_eq!(failover.asks(0, &[sync(([1; 4], 1, 0)), skip(&long)]), None);
    assert_eq!(failover.skipped(), 10);
    // Alone, in the order of all requests.
    assert_eq!(failover.asks(1, &[skip(&[0, 0, 1, 0])]), Some(Vec::new()));
    assert_eq!(failover.skipped(), 266);
    assert_eq!(failover.asks(1, &[skip(&[0, 0, 1, 0])]), Some(Vec::new()), "a repetition");
    assert_eq!(failover.skipped(), 266);
}

#[test]
fn a_rekeyed_ike_sa_keeps_the_agreement_and_counts_anew() {
    let scenario = Scenario::site_to_site(1).both(|gateway| gateway.settings.disclose_keys = true);
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    let ticket = pair.rekey_ike(Side::Right).expect("it is up");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle();
    let member = Impostor::of(&pair);
    pair.switch_off(Side::Right);
    let mut failover = Failover { pair, member };
    // The right began the new IKE SA.
    let fields = failover.fields(ExchangeType::INFORMATIONAL, 0);
    let fields = HeaderFields { flags: Flags::INITIATOR, ..fields };
    let bytes = failover.member.seals(fields, &[sync(([1; 4], 3, 4))]);
    let answer = failover.says(bytes, 0).and_then(|payloads| ids_of(&payloads));
    assert_eq!(answer, Some(([1; 4], 4, 3)));
}

// --- The member that takes over ------------------------------------------------------------------------------------

fn take_over(pair: &mut Pair, side: Side, missed: MissedPackets) -> Ticket {
    let ike = pair.ike_sas(side)[0].id;
    pair.command_with(side, |ticket| Command::SynchronizeCounters { ike, missed, ticket })
}

#[test]
fn the_member_takes_one_answer_with_the_nonce_of_its_last_request() {
    let (mut pair, peer) = Impostor::takes_over(Scenario::site_to_site(1));
    let ticket = take_over(&mut pair, Side::Left, MissedPackets { inbound: 300, outbound: 40 });
    let request = peer.last_request(&pair).expect("it was sent");
    assert_eq!((request.fields.exchange_type, request.fields.message_id), (ExchangeType::INFORMATIONAL, 0));
    let (_, payloads) = peer.heard(&pair);
    let (first, send, receive) = ids_of(&payloads).expect("it synchronizes");
    // §5.1: M1 is larger than any that was used by the size of the window, P1 one more than the last of the peer's.
    assert_eq!((send, receive), (LEFT_NEXT + 1, 0));
    assert_eq!(payloads[1..], [skip(&300u64.to_be_bytes())]);
    let outbound = |pair: &Pair| -> u64 {
        let sas = pair.plane(Side::Left).sas().iter();
        sas.filter(|(id, _)| id.direction == Direction::Outbound).map(|(_, sa)| sa.skipped).sum()
    };
    assert_eq!(outbound(&pair), 40);
    // It is not repeated as it was, for that would be a replay.
    pair.run_for(5 * SECOND);
    let (nonce, higher, _) = ids_of(&peer.heard(&pair).1).expect("it synchronizes");
    assert!(nonce != first && higher > send);
    for ids in
        [(first, 9, 900), ([nonce[0] ^ 1, nonce[1], nonce[2], nonce[3]], 9, 900), (nonce, 9, higher - 1)]
    {
        peer.answers(&mut pair, &[sync(ids)]);
        assert_eq!(pair.result(ticket), None, "{ids:?}");
    }
    peer.answers(&mut pair, &[sync((nonce, 9, 900)), Payload::VendorId(vec![1])]);
    assert_eq!(pair.result(ticket), None);
    peer.answers(&mut pair, &[sync((nonce, 9, 900))]);
    assert_eq!(pair.result(ticket), Some(Ok(())));
    // §11: no further response is processed.
    peer.answers(&mut pair, &[sync((nonce, 50, 5000))]);
    pair.rekey_child(Side::Left, "net").expect("it is up");
    assert_eq!(peer.last_request(&pair).expect("it was sent").fields.message_id, 900);
    assert_eq!(outbound(&pair), 40);
}

// §9.
#[test]
fn what_the_member_waited_for_is_not_repeated_and_begun_again_in_the_end() {
    let (mut pair, peer) = Impostor::takes_over(Scenario::site_to_site(1));
    let rekeying = pair.rekey_child(Side::Left, "net").expect("it is up");
    assert_eq!(peer.heard(&pair).0, ExchangeType::CREATE_CHILD_SA);
    pair.run_for(30 * SECOND);
    let before = pair.messages(Side::Left).len();
    let ticket = take_over(&mut pair, Side::Left, MissedPackets::default());
    // The peer would have been given up after 165 seconds, had the rekeying gone on; the synchronization has 25 more.
    pair.run_for(140 * SECOND);
    let sent = pair.messages(Side::Left).split_off(before);
    assert!(sent.len() > 1);
    for bytes in sent {
        let (fields, payloads) = peer.opens(&bytes).expect("it is of this IKE SA");
        assert!(ids_of(&payloads).is_some(), "{fields:?} {payloads:?}");
    }
    assert_eq!((pair.result(ticket), pair.result(rekeying)), (None, None));
    let (nonce, higher, _) = ids_of(&peer.heard(&pair).1).expect("it synchronizes");
    peer.answers(&mut pair, &[sync((nonce, 0, higher))]);
    assert_eq!(pair.result(ticket), Some(Ok(())));
    let again = peer.last_request(&pair).expect("it was sent").fields;
    assert_eq!((again.exchange_type, again.message_id), (ExchangeType::CREATE_CHILD_SA, higher));
}

#[test]
fn a_peer_that_never_answers_is_dead_and_one_that_knows_nothing_of_it_is_not_asked() {
    let (mut pair, _) = Impostor::takes_over(Scenario::site_to_site(1));
    let ticket = take_over(&mut pair, Side::Left, MissedPackets::default());
    pair.run_for(10 * MINUTE);
    assert!(matches!(pair.result(ticket), Some(Err(Failure::NoAnswer { .. }))));
    let is_dead = |event: &Event| matches!(event, Event::IkeDown(_, DownReason::PeerDead));
    assert!(pair.events(Side::Left).iter().any(is_dead));

    let mut scenario = Scenario::site_to_site(1);
    scenario.right.connection.counter_synchronization = CounterSynchronization::No;
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle();
    let before = pair.messages(Side::Left).len();
    let ticket = take_over(&mut pair, Side::Left, MissedPackets::default());
    let sentence = "the peer right.example does not synchronize counters with clusters (RFC 6311)";
    assert_eq!(pair.finish(ticket).map_err(|failure| failure.to_string()), Err(sentence.to_owned()));
    assert_eq!(pair.messages(Side::Left).len(), before);
    pair.settle_and_check();
}

// §5.2: after a great leap a rekeying follows.
#[test]
fn a_child_that_leaps_far_is_rekeyed() {
    for (esp, outbound, is_rekeyed) in
        [("aes128gcm16", 1 << 30, true), ("aes128gcm16", 1000, false), ("aes128gcm16-esn", 1 << 30, false)]
    {
        let mut pair = Pair::new(Scenario::site_to_site(1).suites("aes128gcm16-prfsha256-x25519", esp));
        pair.connect();
        pair.settle();
        let before = pair.children(Side::Left, "net")[0].inbound;
        let ticket = take_over(&mut pair, Side::Left, MissedPackets { inbound: 0, outbound });
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
        assert_eq!(pair.children(Side::Left, "net")[0].inbound != before, is_rekeyed, "{esp} by {outbound}");
    }
}

// --- In any weather --------------------------------------------------------------------------------------------------

fn in_any_weather(seed: u64) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    let mut scenario = Scenario::site_to_site(seed)
        .weather(weather[seed as usize % weather.len()].clone())
        .both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
            gateway.settings.disclose_keys = true;
        });
    scenario.left.connection.liveness_delay = 20 * SECOND;
    scenario
}

/// The active member of the right's cluster goes on for a while with the left, and the right knows nothing of it.
/// In the end, the left may be waiting for a response that never comes: to what was answered and is not known any more there is
/// no way back (§8.3).
fn go_on_without_the_right(pair: &mut Pair, requests: u64, questions: u64, is_asking: bool) {
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    // What is still on its way arrives.
    pair.run_for(SECOND);
    let mut active = Impostor::of(pair);
    for _ in 0..requests {
        assert_eq!(active.asks(pair, ExchangeType::INFORMATIONAL, &[]), Some(Vec::new()));
    }
    for _ in 0..questions {
        let is_asked = |pair: &Pair| pair.ike_sas(Side::Left)[0].tasks_active.contains(&"LIVENESS");
        pair.run_until("the left asks whether the right lives", MINUTE, is_asked);
        active.answers(pair, &[]);
    }
    if is_asking {
        let _ = pair.rekey_child(Side::Left, "net");
        pair.run_for(SECOND);
    }
    pair.network.weather = [pair.scenario().weather.clone(), pair.scenario().weather.clone()];
}

fn ends_well(pair: &mut Pair) {
    pair.settle_and_check();
    for side in Side::BOTH {
        assert_eq!((pair.ike_sas(side).len(), pair.children(side, "net").len()), (1, 1));
        let ticket = pair.rekey_child(side, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        let ticket = pair.rekey_ike(side).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
    }
}

#[test]
fn a_member_that_takes_over_and_its_peer_agree_in_any_weather() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        pair.settle();
        let (requests, questions) = (pair.random().below(6), pair.random().below(3));
        let is_asking = seed % 3 == 0;
        go_on_without_the_right(&mut pair, requests, questions, is_asking);
        let missed =
            MissedPackets { inbound: pair.random().below(1000), outbound: pair.random().below(1000) };
        let ticket = take_over(&mut pair, Side::Right, missed);
        if seed % 4 == 0 {
            let (side, apart) =
                (*pair.random().pick(&Side::BOTH), pair.random().duration(Duration::ZERO..=SECOND));
            pair.run_for(apart);
            let _ = pair.rekey_child(side, "net");
        }
        if seed % 5 == 0 && seed % 3 > 0 && seed % 4 > 0 {
            // Another member takes over from that one.
            let apart = pair.random().duration(Duration::ZERO..=10 * SECOND);
            pair.run_for(apart);
            let again = take_over(&mut pair, Side::Right, missed);
            assert_eq!(pair.finish(again), Ok(()));
        }
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
    });
}

// The appendix's A.4.
#[test]
fn both_ends_fail_over_at_once() {
    for_seeds(0..1000, |seed| {
        let mut pair = Pair::new(in_any_weather(seed));
        pair.connect();
        pair.settle();
        let (requests, questions) = (pair.random().below(6), pair.random().below(3));
        go_on_without_the_right(&mut pair, requests, questions, seed % 3 == 0);
        let first = *pair.random().pick(&Side::BOTH);
        let one = take_over(&mut pair, first, MissedPackets::default());
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(50));
        pair.run_for(apart);
        let other = take_over(&mut pair, first.other(), MissedPackets::default());
        for ticket in [one, other] {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
    });
}
