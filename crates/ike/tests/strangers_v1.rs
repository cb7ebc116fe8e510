//! What somebody gets in IKEv1 who has not shown that he is where he says: one answer of bounded size for each message,
//! nothing by itself, and no more states than the limits allow.

use std::net::SocketAddr;
use std::time::Duration;

use crypto::signature::{Curve, NewKey};
use ike::{Authentication, Identity, PeerAddresses, TraceDirection};
use testkit::{Authority, Cargo, Pair, Parcel, Scenario, Side, for_seeds, site_address};
use wire::isakmp::{Flags, IkeSpi};
use wire::v1::{Content, HeaderFields, Payload, decode, encode_message, encode_payloads};

const MINUTE: Duration = Duration::from_secs(60);

/// How much longer an answer may be than what it answers. In main mode that is our marks; in aggressive mode an identity, a
/// hash and two of NAT detection as well.
const LONGER: usize = 300;

/// Octets of certificates in that of aggressive mode with signatures.
const CERTIFICATES: usize = 4096;

/// One address may have so many states half open.
const OF_ONE_ADDRESS: usize = 5;

/// How a trace names the notification.
const INITIAL_CONTACT: &str = "INITIAL-CONTACT";

fn scenarios(seed: u64) -> [Scenario; 4] {
    let refused = |mut scenario: Scenario| {
        scenario.right.propose("aes256-sha512-modp3072");
        scenario
    };
    let main = || Scenario::site_to_site(seed).version_1();
    let aggressive = || Scenario::site_to_site(seed).aggressive();
    [main(), aggressive(), refused(main()), refused(aggressive())]
}

/// Gives the shortest first message that the left could have sent: without a word on what it can.
fn shortest_first_message(pair: &mut Pair) -> Vec<u8> {
    let ticket = pair.up(Side::Left, "net");
    // Some are refused.
    let _ = pair.finish(ticket);
    let bytes = pair.messages(Side::Left)[0].clone();
    let datagram = decode(&bytes).expect("the left sent it");
    let Content::Clear(chain) = &datagram.content else { panic!("first messages are in the clear") };
    let payloads = chain.payloads.iter().map(|received| received.payload.clone());
    let payloads: Vec<_> = payloads.filter(|payload| !matches!(payload, Payload::VendorId(_))).collect();
    let (first, body) = encode_payloads(&payloads).expect("short");
    let fields = HeaderFields {
        initiator_spi: datagram.header.initiator_spi,
        responder_spi: IkeSpi::ZERO,
        exchange_type: datagram.header.exchange_type,
        flags: Flags::NONE,
        message_id: 0,
    };
    pair.down(Side::Left);
    pair.run_for(10 * MINUTE);
    encode_message(&fields, first, &body).expect("short")
}

/// Below which the left proves itself, and the right by a certificate that far too many issuers stand behind; each of the names is
/// as long as names get.
fn with_long_chain() -> Scenario {
    const P256: NewKey = NewKey::Ecdsa(Curve::P256);
    let name = |nth: usize| {
        let units: String =
            (0..8).map(|unit| format!("OU={}, ", format!("{nth}{unit}").repeat(30))).collect();
        format!("C=CH, {units}CN=number {nth}")
    };
    let root = Authority::root(&name(0), P256);
    let mut chain = vec![root.subordinate(&name(1), P256)];
    for nth in 2..8 {
        chain.push(chain[nth - 2].subordinate(&name(nth), P256));
    }
    let mut scenario = Scenario::site_to_site(1).aggressive();
    for side in Side::BOTH {
        let issuer = if side == Side::Left { &root } else { &chain[6] };
        let identity = Identity::Fqdn(format!("{side}.example"));
        let (certificate, key) = issuer.certify(&identity, P256);
        let gateway = scenario.gateway_mut(side);
        let terms = || Authentication::Signature("pubkey".parse().expect("the test's own text"));
        gateway.connection.local_authentication = terms();
        gateway.connection.remote_authentication = terms();
        gateway.credentials.certificates = vec![certificate];
        gateway.credentials.certificates.extend(chain.iter().map(|issuer| issuer.certificate.clone()));
        gateway.credentials.keys = vec![key];
        gateway.credentials.anchors = vec![root.certificate.clone()];
    }
    // It trusts many more, too.
    let others = (8..20).map(|nth| Authority::root(&name(nth), P256).certificate);
    scenario.right.credentials.anchors.extend(others);
    scenario
}

/// Whoever sends a message 1 in another's name does not have a whole chain of certificates sent there; whoever has the rest of it
/// comes in all the same.
#[test]
fn certificates_go_to_a_stranger_up_to_a_bound() {
    let mut pair = Pair::new(with_long_chain());
    let first = shortest_first_message(&mut pair);
    let ticket = pair.up(Side::Left, "net");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.run_for(MINUTE);
    let before = pair.messages(Side::Right).len();
    let (source, destination) =
        [Side::Left, Side::Right].map(|side| SocketAddr::new(site_address(side), 500)).into();
    let cargo = Cargo::Ike(from_another(&first, 1));
    pair.inject(Side::Right, Parcel { source, destination, cargo }, Duration::ZERO);
    pair.run_for(Duration::from_secs(1));
    let messages = pair.messages(Side::Right);
    let [answer] = &messages[before..] else { panic!("{} answers", messages.len() - before) };
    let datagram = decode(answer).expect("the right sent it");
    let Content::Clear(chain) = &datagram.content else { panic!("the answer is in the clear") };
    let of = |wanted: fn(&Payload) -> Option<usize>| {
        chain.payloads.iter().filter_map(|received| wanted(&received.payload)).collect::<Vec<_>>()
    };
    let certificates = of(|payload| match payload {
        Payload::Certificate(certificate) => Some(certificate.data.len()),
        _ => None,
    });
    let requests = of(|payload| match payload {
        Payload::CertificateRequest(request) => Some(request.data.len()),
        _ => None,
    });
    assert!(
        certificates.len() >= 2 && certificates.iter().sum::<usize>() <= CERTIFICATES,
        "{certificates:?}"
    );
    assert_eq!(requests, [0], "any will do");
    assert!(answer.len() < first.len() + CERTIFICATES + LONGER, "{} for {}", answer.len(), first.len());
}

/// The same from another initiator.
fn from_another(first: &[u8], cookie: u64) -> Vec<u8> {
    [&IkeSpi(cookie).to_octets(), &first[8..]].concat()
}

#[test]
fn each_message_has_one_answer_of_bounded_size_and_nothing_is_repeated() {
    for_seeds(0..20, |seed| {
        for scenario in scenarios(seed) {
            let mut pair = Pair::new(scenario);
            let first = shortest_first_message(&mut pair);
            for cookie in 1..=3 {
                let request = from_another(&first, cookie);
                for _ in 0..3 {
                    let answers = pair.answers(Side::Right, request.clone());
                    let [answer] = answers.as_slice() else { panic!("{} answers", answers.len()) };
                    assert!(answer.len() < request.len() + LONGER, "{} for {}", answer.len(), request.len());
                    noise(&mut pair, answer);
                }
            }
            let before = pair.messages(Side::Right).len();
            pair.run_for(10 * MINUTE);
            assert_eq!(pair.messages(Side::Right).len(), before, "nothing is sent without being asked");
            assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
        }
    });
}

/// Whoever saw the answer goes on with what proves nothing.
fn noise(pair: &mut Pair, answer: &[u8]) {
    for (flags, length) in [(Flags::V1_ENCRYPTION, 64), (Flags::V1_ENCRYPTION, 1024), (Flags::NONE, 64)] {
        let header = decode(answer).expect("the right sent it").header;
        let octets: Vec<u8> = (0..length).map(|_| pair.random().below(256) as u8).collect();
        let fields = HeaderFields {
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            exchange_type: header.exchange_type,
            flags,
            message_id: 0,
        };
        let message = encode_message(&fields, header.next_payload, &octets).expect("short");
        let answers = pair.answers(Side::Right, message.clone());
        let octets: usize = answers.iter().map(Vec::len).sum();
        assert!(answers.len() <= 1 && octets < message.len() + LONGER, "{octets} for {}", message.len());
    }
}

#[test]
fn an_address_has_so_many_half_open_and_others_are_served_all_the_same() {
    for mut scenario in scenarios(1).into_iter().take(2) {
        scenario.right.connection.remote_addresses = PeerAddresses::Any;
        let mut pair = Pair::new(scenario);
        let first = shortest_first_message(&mut pair);
        let answered =
            (1..=20).filter(|cookie| !pair.answers(Side::Right, from_another(&first, *cookie)).is_empty());
        assert_eq!(answered.count(), OF_ONE_ADDRESS);
        assert_eq!(pair.endpoint(Side::Right).half_open(), OF_ONE_ADDRESS);
        assert_eq!(pair.endpoint(Side::Right).counters().refused_strangers, 15);

        let elsewhere = SocketAddr::from(([203, 0, 113, 66], 500));
        let destination = SocketAddr::new(site_address(Side::Right), 500);
        let cargo = Cargo::Ike(from_another(&first, 21));
        let before = pair.messages(Side::Right).len();
        pair.inject(Side::Right, Parcel { source: elsewhere, destination, cargo }, Duration::ZERO);
        pair.run_for(Duration::from_millis(1));
        assert_eq!(pair.messages(Side::Right).len(), before + 1);

        // Nobody goes on: all of it is forgotten, and the address is welcome again.
        pair.run_for(MINUTE);
        assert_eq!(pair.endpoint(Side::Right).half_open(), 0);
        assert_eq!(pair.answers(Side::Right, from_another(&first, 22)).len(), 1);
    }
}

/// Whoever begins main mode in the peer's name, and sees no answer, does not keep us from telling the peer to forget what it had with us
/// (RFC 2407 §4.6.3.3).
#[test]
fn a_first_message_in_the_peers_name_does_not_keep_us_from_beginning_anew() {
    for (there, here) in scenarios(1).into_iter().zip(scenarios(1)).take(1) {
        let mut elsewhere = Pair::new(there);
        let ticket = elsewhere.up(Side::Right, "net");
        assert_eq!(elsewhere.finish(ticket), Ok(()));
        let first = elsewhere.messages(Side::Right)[0].clone();

        let mut pair = Pair::new(here.both(|gateway| gateway.settings.trace_messages = true));
        assert_eq!(pair.answers(Side::Left, from_another(&first, 1)).len(), 1);
        assert_eq!(pair.endpoint(Side::Left).half_open(), 1);
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        assert_eq!(pair.endpoint(Side::Left).half_open(), 1, "it is still there");
        let traces = pair.traces(Side::Left).iter();
        let sent = traces.filter(|trace| trace.direction == TraceDirection::Sent);
        let told = sent.flat_map(|trace| &trace.payloads);
        assert_eq!(told.filter(|payload| format!("{payload:?}").contains(INITIAL_CONTACT)).count(), 1);
    }
}
