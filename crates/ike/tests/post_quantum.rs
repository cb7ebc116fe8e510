//! Several key exchanges for one SA, ML-KEM among them (RFC 9242, RFC 9370): in IKE_INTERMEDIATE before the ends are
//! authenticated, and in IKE_FOLLOWUP_KE when they replace what they have.

use std::sync::Arc;
use std::time::Duration;

use ike::{Event, Failure, Fragmentation, Lifetimes};
use sa::{Proposal, ProposalProtocol};
use testkit::{Pair, Scenario, Side, Weather, child, esp_proposal, for_seeds, ike_proposal};
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::Payload;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const CIPHERS: &str = "aes128gcm16-prfsha256";
const HYBRID: &str = "x25519-ke1_mlkem768";
/// As many as there can be.
const SEVEN: &str =
    "x25519-ke1_mlkem512-ke2_mlkem768-ke3_mlkem1024-ke4_ecp256-ke5_ecp384-ke6_x448-ke7_curve25519";

/// Gives a scenario in the weather that the seed draws, whose exchanges fail only where they must.
fn in_any_weather(seed: u64, methods: &str) -> Scenario {
    let weather = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(10), Weather::lossy(30)];
    Scenario::site_to_site(seed)
        .suites(&format!("{CIPHERS}-{methods}"), &format!("aes128gcm16-{methods}-esn"))
        .weather(weather[seed as usize % weather.len()].clone())
        .both(|gateway| {
            gateway.settings.retransmission.tries = 25;
            gateway.settings.retransmission.limit = 10 * SECOND;
            gateway.settings.half_open_timeout = 10 * MINUTE;
        })
}

fn talking(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.start_traffic(0, Duration::from_millis(25));
    pair.run_for(SECOND);
    pair
}

fn ends_well(pair: &mut Pair) {
    pair.settle();
    pair.run_for(SECOND);
    pair.stop_traffic();
    pair.settle_and_check();
    for side in Side::BOTH {
        let tally = pair.tally(side);
        assert_eq!(tally.delivered + tally.lost_by_network, tally.sent, "{tally:?}");
    }
}

/// Tries to bring the child up, and gives the failure.
fn fails(pair: &mut Pair) -> Failure {
    let ticket = pair.up(Side::Left, "net");
    pair.finish(ticket).expect_err("it must not come up")
}

fn suite(pair: &Pair, side: Side) -> String {
    pair.ike_sas(side)[0].suite.expect("it is agreed").to_string()
}

/// Gives the message ids of what a side has sent in an exchange, each once.
fn message_ids(pair: &Pair, side: Side, exchange_type: ExchangeType) -> Vec<u32> {
    let messages = pair.messages(side);
    let headers =
        messages.iter().filter_map(|bytes| wire::v2::decode(bytes).ok()).map(|message| message.header);
    let mut ids: Vec<u32> = headers
        .filter(|header| header.exchange_type == exchange_type)
        .map(|header| header.message_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn a_hybrid_tunnel_comes_up_in_any_weather() {
    for_seeds(0..300, |seed| {
        let mut pair = talking(in_any_weather(seed, HYBRID));
        ends_well(&mut pair);
        for side in Side::BOTH {
            // IKE_SA_INIT, IKE_INTERMEDIATE { KE }, IKE_AUTH
            assert_eq!(suite(&pair, side), format!("{CIPHERS}-{HYBRID}"));
            assert_eq!(message_ids(&pair, side, ExchangeType::IKE_INTERMEDIATE), [1]);
            assert!(message_ids(&pair, side, ExchangeType::IKE_AUTH).contains(&2));
        }
    });
}

#[test]
fn seven_additional_key_exchanges_come_one_after_the_other() {
    for_seeds(0..100, |seed| {
        let methods = SEVEN.replace("ke7_curve25519", "ke7_ecp521");
        let mut pair = talking(in_any_weather(seed, &methods));
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(suite(&pair, side), format!("{CIPHERS}-{methods}"));
            assert_eq!(message_ids(&pair, side, ExchangeType::IKE_INTERMEDIATE), [1, 2, 3, 4, 5, 6, 7]);
            assert!(message_ids(&pair, side, ExchangeType::IKE_AUTH).contains(&8));
        }
    });
}

/// RFC 9370 §2.2.1: it is the additional ones that must differ from each other.
#[test]
fn the_first_method_may_take_place_once_more() {
    let mut pair = talking(in_any_weather(0, SEVEN));
    ends_well(&mut pair);
    assert_eq!(suite(&pair, Side::Right), format!("{CIPHERS}-{}", SEVEN.replace("curve25519", "x25519")));
}

#[test]
fn messages_that_may_not_be_cut_are_long_and_arrive() {
    for_seeds(0..50, |seed| {
        let scenario = in_any_weather(seed, "x25519-ke1_mlkem1024")
            .both(|gateway| gateway.connection.fragmentation = Fragmentation::No);
        let mut pair = talking(scenario);
        ends_well(&mut pair);
        assert!(pair.messages(Side::Left).iter().any(|message| message.len() > 1568));
    });
}

#[test]
fn a_hybrid_tunnel_comes_up_through_nats() {
    for_seeds(0..100, |seed| {
        let scenario = in_any_weather(seed, HYBRID)
            .behind_nat(Side::Left, 5 * MINUTE)
            .behind_nat(Side::Right, 5 * MINUTE);
        let mut pair = talking(scenario);
        ends_well(&mut pair);
        assert_eq!(pair.ike_sas(Side::Left)[0].path.remote.port(), 4500);
    });
}

#[test]
fn ml_kem_may_be_the_only_key_exchange() {
    for_seeds(0..100, |seed| {
        let method = ["mlkem512", "mlkem768", "mlkem1024"][seed as usize % 3];
        let mut pair = talking(in_any_weather(seed, method));
        ends_well(&mut pair);
        assert_eq!(suite(&pair, Side::Left), format!("{CIPHERS}-{method}"));
        assert!(message_ids(&pair, Side::Left, ExchangeType::IKE_INTERMEDIATE).is_empty());
    });
}

#[test]
fn whoever_knows_no_additional_key_exchange_is_met_without_one() {
    for_seeds(0..100, |seed| {
        for old in Side::BOTH {
            let mut scenario = in_any_weather(seed, "x25519");
            let new = &mut scenario.gateway_mut(old.other()).connection.proposals;
            new.insert(0, ike_proposal(&format!("{CIPHERS}-{HYBRID}")));
            let mut pair = talking(scenario);
            ends_well(&mut pair);
            assert_eq!(suite(&pair, old), format!("{CIPHERS}-x25519"));
            assert!(message_ids(&pair, old, ExchangeType::IKE_INTERMEDIATE).is_empty());
        }
    });
}

#[test]
fn who_insists_on_an_additional_key_exchange_says_so() {
    let mut scenario = in_any_weather(0, "x25519");
    scenario.left.propose(&format!("{CIPHERS}-{HYBRID}"));
    let mut pair = Pair::new(scenario);
    let failure = fails(&mut pair).to_string();
    assert!(failure.contains("NO_PROPOSAL_CHOSEN") && failure.contains(HYBRID), "{failure}");
    let told = pair.events(Side::Right).iter().map(|event| format!("{event:?}")).collect::<String>();
    assert!(told.contains("an additional key exchange where we allow none"), "{told}");

    let mut scenario = in_any_weather(0, "x25519");
    scenario.right.propose(&format!("{CIPHERS}-{HYBRID}"));
    let mut pair = Pair::new(scenario);
    fails(&mut pair);
    let told = pair.events(Side::Right).iter().map(|event| format!("{event:?}")).collect::<String>();
    assert!(told.contains("no additional key exchange offered where we want one"), "{told}");
    pair.run_for(20 * MINUTE);
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

/// Nobody is authenticated in IKE_INTERMEDIATE: AUTH finds out that the two ends did not see the same.
#[test]
fn other_secrets_are_refused_after_the_key_exchanges_and_leave_nothing() {
    for_seeds(0..50, |seed| {
        let mut scenario = in_any_weather(seed, HYBRID);
        scenario.right.secret = b"something else".to_vec();
        let mut pair = Pair::new(scenario);
        let failure = fails(&mut pair).to_string();
        assert!(failure.contains("AUTHENTICATION_FAILED"), "{failure}");
        pair.run_for(40 * MINUTE);
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
    });
}

#[test]
fn spoiled_datagrams_never_install_anything_that_the_peer_does_not_have() {
    let spoiling = Weather { corrupt_percent: 25, ..Weather::SHUFFLED };
    for_seeds(0..200, |seed| {
        let mut pair = Pair::new(in_any_weather(seed, HYBRID).weather(spoiling.clone()));
        let ticket = pair.up(Side::Left, "net");
        let result = pair.finish(ticket);
        pair.network.weather = [Weather::CLEAR, Weather::CLEAR];
        pair.run_for(20 * MINUTE);
        match result {
            Ok(()) => pair.check(),
            Err(_) => pair.check_faults(),
        }
    });
}

#[test]
fn either_end_rekeys_with_as_many_key_exchanges_as_at_the_beginning() {
    for_seeds(0..300, |seed| {
        let methods = ["mlkem768", HYBRID, "x25519-ke1_mlkem768-ke2_none-ke3_ecp384"][seed as usize % 3];
        let mut pair = talking(in_any_weather(seed, methods));
        let agreed = suite(&pair, Side::Left);
        for _ in 0..2 {
            let side = *pair.random().pick(&Side::BOTH);
            // CREATE_CHILD_SA { SA, Ni, KEi, … } -->, IKE_FOLLOWUP_KE { KEi(1), N(ADDITIONAL_KEY_EXCHANGE) } -->
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(suite(&pair, side), agreed);
            let child = pair.children(side, "net")[0].suite.to_string();
            assert_eq!(child, format!("aes128gcm16-{}-esn", methods.replace("-ke2_none", "")));
            let followed = !message_ids(&pair, Side::Left, ExchangeType::IKE_FOLLOWUP_KE).is_empty();
            assert_eq!(followed, methods.contains("ke1"));
        }
    });
}

#[test]
fn a_child_made_later_has_its_additional_key_exchanges_too() {
    for_seeds(0..200, |seed| {
        let mut scenario = in_any_weather(seed, HYBRID);
        for side in Side::BOTH {
            let mut more = child("more", side, 1);
            more.proposals = vec![esp_proposal(&format!("aes128gcm16-{HYBRID}-esn"))];
            scenario.gateway_mut(side).connection.children.push(Arc::new(more));
        }
        let mut pair = talking(scenario);
        let ticket = pair.up(Side::Left, "more");
        assert_eq!(pair.finish(ticket), Ok(()));
        ends_well(&mut pair);
        assert_eq!(
            pair.children(Side::Right, "more")[0].suite.to_string(),
            format!("aes128gcm16-{HYBRID}-esn")
        );
    });
}

#[test]
fn both_ends_rekey_the_child_at_once_and_one_replacement_stays() {
    for_seeds(0..2000, |seed| {
        let mut pair = talking(in_any_weather(seed, HYBRID));
        let first = pair.rekey_child(Side::Left, "net").expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(80));
        pair.run_for(apart);
        let second = pair.rekey_child(Side::Right, "net");
        for ticket in second.into_iter().chain([first]) {
            assert!(matches!(pair.finish(ticket), Ok(()) | Err(Failure::NotFound(_) | Failure::Terminated)));
        }
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(pair.children(side, "net").len(), 1);
        }
    });
}

#[test]
fn both_ends_rekey_the_ike_sa_at_once_and_one_replacement_stays() {
    for_seeds(0..1000, |seed| {
        let mut pair = talking(in_any_weather(seed, HYBRID));
        let first = pair.rekey_ike(Side::Left).expect("it is up");
        let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(80));
        pair.run_for(apart);
        let second = pair.rekey_ike(Side::Right);
        for ticket in second.into_iter().chain([first]) {
            assert_eq!(pair.finish(ticket), Ok(()));
        }
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!(pair.ike_sas(side).len(), 1);
            assert!(pair.events(side).iter().any(|event| matches!(event, Event::IkeRekeyed { .. })));
        }
        let ticket = pair.rekey_child(Side::Right, "net").expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
    });
}

/// The two ends want different things in their replacements, so that one has further key exchanges and the other has none.
#[test]
fn replacements_collide_also_where_only_one_has_additional_key_exchanges() {
    for_seeds(0..1000, |seed| {
        let mut scenario = in_any_weather(seed, HYBRID);
        let [plain, hybrid] = ["x25519", HYBRID].map(|methods| format!("{CIPHERS}-{methods}"));
        scenario.left.connection.proposals = [&plain, &hybrid].map(|text| ike_proposal(text)).to_vec();
        scenario.right.connection.proposals = [&hybrid, &plain].map(|text| ike_proposal(text)).to_vec();
        let [plain, hybrid] =
            ["x25519", HYBRID].map(|methods| esp_proposal(&format!("aes128gcm16-{methods}-esn")));
        scenario.left.change_child("net", |child| child.proposals = vec![plain.clone(), hybrid.clone()]);
        scenario.right.change_child("net", |child| child.proposals = vec![hybrid.clone(), plain.clone()]);
        let mut pair = talking(scenario);
        for rekey in [Pair::rekey_ike, |pair: &mut Pair, side| pair.rekey_child(side, "net")] {
            let first = rekey(&mut pair, Side::Left).expect("it is up");
            let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(80));
            pair.run_for(apart);
            let second = rekey(&mut pair, Side::Right);
            for ticket in second.into_iter().chain([first]) {
                assert!(matches!(
                    pair.finish(ticket),
                    Ok(()) | Err(Failure::NotFound(_) | Failure::Terminated)
                ));
            }
            pair.settle();
        }
        ends_well(&mut pair);
        for side in Side::BOTH {
            assert_eq!((pair.ike_sas(side).len(), pair.children(side, "net").len()), (1, 1));
        }
    });
}

#[test]
fn whatever_is_replaced_and_deleted_at_once_both_ends_agree_in_the_end() {
    for_seeds(0..2000, |seed| {
        let mut pair = Pair::new(in_any_weather(seed, HYBRID));
        pair.connect();
        let mut tickets = Vec::new();
        for _ in 0..4 {
            let side = *pair.random().pick(&Side::BOTH);
            tickets.extend(match pair.random().below(5) {
                0 | 1 => pair.rekey_ike(side),
                2 | 3 => pair.rekey_child(side, "net"),
                _ => pair.down_child(side, "net"),
            });
            let apart = pair.random().duration(Duration::ZERO..=Duration::from_millis(60));
            pair.run_for(apart);
        }
        for ticket in tickets {
            // How a command ends that another one makes pointless is not the matter here; that it ends is.
            let _ = pair.finish(ticket);
        }
        pair.settle_and_check();
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle_and_check();
    });
}

#[test]
fn hybrid_sas_are_rekeyed_by_time_for_hours_without_losing_a_packet() {
    for_seeds(0..20, |seed| {
        let scenario = in_any_weather(seed, HYBRID)
            .both(|gateway| {
                gateway.connection.lifetimes =
                    Lifetimes { rekey: 30 * MINUTE, rand: MINUTE, expire: 60 * MINUTE };
            })
            .both_children(|child| {
                child.lifetimes = Lifetimes { rekey: 10 * MINUTE, rand: MINUTE, expire: 40 * MINUTE };
            });
        let mut pair = Pair::new(scenario);
        pair.connect();
        pair.start_traffic(0, SECOND);
        pair.run_for(180 * MINUTE);
        ends_well(&mut pair);
    });
}

/// IKE_SA_INIT cannot be cut: what we offer by default must pass wherever IPv6 does, beside the headers of IP and UDP.
#[test]
fn the_defaults_are_hybrid_and_their_first_message_needs_no_ip_fragments() {
    let scenario = Scenario::site_to_site(1)
        .both(|gateway| gateway.connection.proposals = Proposal::defaults(ProposalProtocol::Ike));
    let mut pair = talking(scenario);
    ends_well(&mut pair);
    assert_eq!(suite(&pair, Side::Right), format!("{CIPHERS}-{HYBRID}"));
    let first = pair.messages(Side::Left)[0].len();
    assert!(first <= 1280 - 40 - 8, "{first} octets");
}

/// Each end signs both messages of IKE_SA_INIT (draft-ietf-ipsecme-ikev2-downgrade-prevention): an end that was told less than
/// the other said is not believed.
#[test]
fn both_ends_say_that_they_sign_both_messages() {
    let pair = talking(in_any_weather(0, HYBRID));
    for side in Side::BOTH {
        let first = wire::v2::decode(&pair.messages(side)[0]).expect("it is whole").payloads;
        let is_said = |payload: &Payload| {
            matches!(payload, Payload::Notify(notify)
                if notify.notify_type == NotifyType::IKE_SA_INIT_FULL_TRANSCRIPT_AUTH)
        };
        assert!(first.iter().any(is_said), "{first:?}");
    }
}
