//! Messages in fragments that come late, twice or not at all (RFC 7383 §2.6).

use std::time::Duration;

use testkit::{Cargo, Pair, Parcel, Scenario, Side, Weather, child, esp_proposal, site_address};
use wire::v2::{FragmentNumber, decode};

const SECOND: Duration = Duration::from_secs(1);

/// Forty proposals make each message that makes a Child SA longer than a datagram may be.
fn long_messages() -> Scenario {
    let mut scenario = Scenario::site_to_site(1)
        .both(|gateway| gateway.settings.fragment_size = 600)
        .both_children(|child| child.proposals = vec![esp_proposal("aes128gcm16-esn"); 40]);
    for side in Side::BOTH {
        let mut more = child("more", side, 1);
        more.proposals = vec![esp_proposal("aes128gcm16-esn"); 40];
        scenario.gateway_mut(side).connection.children.push(more.into());
    }
    scenario
}

fn number_of(bytes: &[u8]) -> Option<FragmentNumber> {
    decode(bytes).ok()?.encrypted?.fragment
}

/// Gives the fragments that the left sent last.
fn last_fragments(pair: &Pair) -> Vec<Vec<u8>> {
    let messages = pair.messages(Side::Left);
    let last = messages.iter().filter_map(|bytes| Some(decode(bytes).ok()?.header.message_id)).max();
    let is_of_it = |bytes: &&Vec<u8>| {
        number_of(bytes).is_some() && decode(bytes).ok().map(|message| message.header.message_id) == last
    };
    messages.iter().filter(is_of_it).cloned().collect()
}

// RFC 7383 §2.6.1.
#[test]
fn of_a_repeated_request_only_the_first_fragment_asks_for_the_answer() {
    let mut pair = Pair::new(long_messages());
    pair.connect();
    pair.settle();
    let response = pair.messages(Side::Right).pop().expect("it has answered");
    let fragments = last_fragments(&pair);
    assert!(fragments.len() >= 3, "{}", fragments.len());
    for bytes in fragments {
        let number = number_of(&bytes).expect("it is a fragment").number;
        let expected = if number == 1 { vec![response.clone()] } else { Vec::new() };
        assert_eq!(pair.answers(Side::Right, bytes), expected, "fragment {number}");
    }
}

// RFC 7383 §2.6.
#[test]
fn fragments_of_a_request_that_stays_incomplete_are_forgotten() {
    for (wait, is_answered) in [(100 * SECOND, true), (200 * SECOND, false)] {
        let mut pair = Pair::new(long_messages());
        pair.connect();
        pair.settle();
        pair.network.weather = [Weather::DEAD, Weather::DEAD];
        // CREATE_CHILD_SA in fragments, all of them lost -->
        pair.up(Side::Left, "more");
        let fragments = last_fragments(&pair);
        for bytes in &fragments[1..] {
            assert_eq!(pair.answers(Side::Right, bytes.clone()), Vec::<Vec<u8>>::new());
        }
        pair.run_for(wait);
        let answers = pair.answers(Side::Right, fragments[0].clone());
        assert_eq!(!answers.is_empty(), is_answered, "after {wait:?}");
    }
}

// RFC 7383 §2.6.
#[test]
fn a_fragment_that_was_changed_is_dropped_and_the_message_is_whole_with_the_right_one() {
    let mut pair = Pair::new(long_messages());
    pair.connect();
    pair.settle();
    pair.network.weather = [Weather::DEAD, Weather::DEAD];
    pair.up(Side::Left, "more");
    let fragments = last_fragments(&pair);
    let mut spoiled = fragments[0].clone();
    *spoiled.last_mut().expect("it is not empty") ^= 1;
    let source = std::net::SocketAddr::new(site_address(Side::Left), 500);
    let destination = std::net::SocketAddr::new(site_address(Side::Right), 500);
    let parcel = |bytes: &[u8]| Parcel { source, destination, cargo: Cargo::Ike(bytes.to_vec()) };
    for bytes in std::iter::once(&spoiled).chain(&fragments[1..]) {
        pair.inject(Side::Right, parcel(bytes), Duration::ZERO);
    }
    pair.run_for(SECOND);
    assert!(pair.children(Side::Right, "more").is_empty());
    assert!(!pair.answers(Side::Right, fragments[0].clone()).is_empty());
    assert_eq!(pair.children(Side::Right, "more").len(), 1);
}
