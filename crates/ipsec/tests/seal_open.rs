//! Packets through both ends of an SA.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use ipsec::{DropReason, Expiry, Form, OuterHeader, PacketBuf, limits};
use proptest::prelude::*;
use sa::{Direction, Esn, ExpiryCause, Hardness, Lifetime};
use wire::ip::{Ecn, protocol};

/// Octets of the outer IPv4 and UDP headers.
const IP_AND_UDP: usize = 28;

fn any_suite() -> impl Strategy<Value = sa::Protection> {
    prop::sample::select(suites())
}

fn any_esn() -> impl Strategy<Value = Esn> {
    prop_oneof![Just(Esn::No), Just(Esn::Yes)]
}

fn any_inner() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 1300..1500),
        1 => prop::collection::vec(any::<u8>(), 8900..9000),
    ];
    (payload, any::<bool>()).prop_map(|(payload, four)| if four { v4(&payload) } else { v6(&payload) })
}

proptest! {
    #[test]
    fn opening_undoes_sealing(suite in any_suite(), esn in any_esn(), inners in prop::collection::vec(any_inner(), 1..5)) {
        let tunnel = Tunnel::new(suite, esn);
        let mut octets = 0;
        for (nth, inner) in (1..).zip(&inners) {
            let mut packet = tunnel.seal(inner);
            let on_the_wire = packet.len() + IP_AND_UDP;
            prop_assert_eq!(on_the_wire, tunnel.outbound.sealed_len(inner.len()));
            prop_assert!(tunnel.outbound.inner_len(on_the_wire) >= inner.len());
            prop_assert!(tunnel.outbound.inner_len(on_the_wire - 1) < inner.len());
            prop_assert_eq!(&packet.as_slice()[..4], &SPI.0.to_be_bytes()[..]);
            prop_assert_eq!(&packet.as_slice()[4..8], &u32::to_be_bytes(nth)[..]);
            let opened = tunnel.open(&mut packet);
            prop_assert_eq!(opened.map(|opened| (opened.newest, opened.expiry)), Ok((true, None)));
            prop_assert_eq!(packet.as_slice(), &inner[..]);
            octets += inner.len() as u64;
            for (packets, bytes) in [
                (tunnel.outbound.packets(), tunnel.outbound.bytes()),
                (tunnel.inbound.packets(), tunnel.inbound.bytes()),
            ] {
                prop_assert_eq!((packets, bytes), (u64::from(nth), octets));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_always_noticed(
        suite in any_suite(), esn in any_esn(), inner in any_inner(), position: prop::sample::Index, bit in 0..8u32,
    ) {
        let tunnel = Tunnel::new(suite, esn);
        // Packet number three: no single bit makes zero of it, which would be refused for another reason.
        tunnel.seal(&inner);
        tunnel.seal(&inner);
        let mut packet = tunnel.seal(&inner);
        let sealed = packet.as_slice().to_vec();
        let position = position.index(packet.len());
        packet.as_mut_slice()[position] ^= 1 << bit;
        prop_assert_eq!(tunnel.open(&mut packet), Err(DropReason::Forged));
        // The true packet is as good as ever: a forgery does not move the window.
        prop_assert!(tunnel.open(&mut buffer(&sealed)).is_ok());
    }

    #[test]
    fn arbitrary_octets_are_refused_and_nothing_worse(suite in any_suite(), esn in any_esn(), octets: Vec<u8>) {
        let tunnel = Tunnel::new(suite, esn);
        prop_assert!(tunnel.open(&mut buffer(&octets)).is_err());
        prop_assert_eq!(tunnel.inbound.drops().total(), 1);
        prop_assert_eq!(tunnel.inbound.packets(), 0);
    }

    #[test]
    fn arbitrary_plaintext_is_opened_or_refused_and_nothing_worse(
        suite in any_suite(), mut plaintext: Vec<u8>, next_header in prop_oneof![Just(4u8), Just(41), Just(59), any::<u8>()],
    ) {
        // Sealed by a peer that holds the key and means no good.
        let tunnel = Tunnel::new(suite, Esn::No);
        plaintext.push(next_header);
        let mut packet = evil::seal(suite, &plaintext);
        let _ = tunnel.open(&mut packet);
        prop_assert!(tunnel.inbound.drops().of(DropReason::Forged) == 0);
        prop_assert!(packet.len() <= plaintext.len() + 80);
    }
}

/// Every cipher with every MAC, every AEAD, and both widths of the sequence number.
fn combinations() -> impl Iterator<Item = (sa::Protection, Esn)> {
    suites().into_iter().flat_map(|suite| [(suite, Esn::No), (suite, Esn::Yes)])
}

#[test]
fn every_combination_opens_what_it_seals() {
    let mut tried = 0;
    for (suite, esn) in combinations() {
        let tunnel = Tunnel::new(suite, esn);
        for len in (0..20).chain([100, 1400]) {
            let inner = v4(&vec![len as u8; len]);
            let mut packet = tunnel.seal(&inner);
            let encrypts = suite.encryption().is_some_and(sa::transform::Encryption::encrypts);
            let shows = packet.as_slice().windows(inner.len()).any(|octets| octets == inner);
            assert_eq!(shows, !encrypts, "{suite} {esn}");
            assert!(tunnel.open(&mut packet).is_ok(), "{suite} {esn}");
            assert_eq!(packet.as_slice(), inner, "{suite} {esn}");
        }
        tried += 1;
    }
    assert!(tried > 400, "{tried} combinations are not the whole table");
}

#[test]
fn a_change_of_any_one_bit_is_noticed_in_every_combination() {
    for (suite, esn) in combinations() {
        let tunnel = Tunnel::new(suite, esn);
        let inner = v4(&[7; 9]);
        // Packet number three: no single bit makes zero of it, which would be refused for another reason.
        tunnel.seal(&inner);
        tunnel.seal(&inner);
        let sealed = tunnel.seal(&inner).as_slice().to_vec();
        for bit in 0..8 * sealed.len() {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let outcome = tunnel.open(&mut buffer(&forged)).map(drop);
            assert_eq!(outcome, Err(DropReason::Forged), "{suite} {esn}: bit {bit}");
        }
        assert!(tunnel.open(&mut buffer(&sealed)).is_ok(), "{suite} {esn}");
    }
}

#[test]
fn a_packet_is_accepted_once() {
    for suite in suites() {
        let tunnel = Tunnel::new(suite, Esn::Yes);
        let packets: Vec<PacketBuf> = (0..3u8).map(|nth| tunnel.seal(&v4(&[nth; 9]))).collect();
        let open = |nth: usize| tunnel.open(&mut buffer(packets[nth].as_slice()));
        assert_eq!(open(1).map(|opened| opened.newest), Ok(true));
        assert_eq!(open(0).map(|opened| opened.newest), Ok(false));
        assert_eq!(open(1), Err(DropReason::Replayed));
        // A replay is seen before its ICV is looked at: it costs no cryptography.
        let mut forged = buffer(packets[0].as_slice());
        *forged.as_mut_slice().last_mut().expect("it has an ICV") ^= 1;
        assert_eq!(tunnel.open(&mut forged), Err(DropReason::Replayed));
        assert_eq!(open(2).map(|opened| opened.newest), Ok(true));
        assert_eq!(tunnel.inbound.drops().of(DropReason::Replayed), 2);
        assert_eq!(tunnel.inbound.packets(), 3);
    }
}

#[test]
fn a_packet_behind_the_window_is_too_old() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    let mut first = tunnel.seal(&v4(b"first"));
    let mut second = tunnel.seal(&v4(b"second"));
    for _ in 0..63 {
        tunnel.open(&mut tunnel.seal(&v4(b"later"))).expect("in order");
    }
    assert_eq!(tunnel.open(&mut first), Err(DropReason::TooOld));
    assert_eq!(tunnel.open(&mut second).map(|opened| opened.newest), Ok(false));
}

#[test]
fn extended_sequence_numbers_cross_into_the_next_subspace() {
    for suite in suites() {
        let used = (1 << 32) - 3;
        let ends = [Direction::Outbound, Direction::Inbound].map(|end| spec(end, suite, Esn::Yes));
        let [outbound, inbound] = ends;
        let tunnel = Tunnel::of(outbound, inbound, used);
        let mut packets: Vec<PacketBuf> = (0..8u8).map(|nth| tunnel.seal(&v4(&[nth]))).collect();
        let order = [1, 0, 4, 2, 3, 7, 5, 6];
        for nth in order {
            assert!(tunnel.open(&mut packets[nth]).is_ok(), "{suite}, packet {nth}");
            assert_eq!(packets[nth].as_slice(), v4(&[nth as u8]));
        }
    }
}

#[test]
fn the_high_half_of_the_sequence_number_is_authenticated() {
    for suite in suites() {
        let used = 5 << 32;
        let ends = [Direction::Outbound, Direction::Inbound].map(|end| spec(end, suite, Esn::Yes));
        let [outbound, inbound] = ends;
        let tunnel = Tunnel::of(outbound, inbound, used);
        assert_eq!(tunnel.open(&mut tunnel.seal(&v4(b"five subspaces on"))), Err(DropReason::Forged));
    }
}

#[test]
fn the_last_sequence_number_is_never_passed() {
    for (esn, last) in [(Esn::No, limits::LAST_SEQUENCE), (Esn::Yes, limits::LAST_EXTENDED_SEQUENCE)] {
        let ends = [Direction::Outbound, Direction::Inbound].map(|end| spec(end, suite("aes128gcm16"), esn));
        let [outbound, inbound] = ends;
        let tunnel = Tunnel::of(outbound, inbound, last - 2);
        let mut packet = buffer(&v4(b"last but one"));
        assert_eq!(tunnel.outbound.seal(&mut packet).map(|sealed| sealed.expiry), Ok(None));
        let mut packet = buffer(&v4(b"last"));
        let hard = Expiry { hardness: Hardness::Hard, cause: ExpiryCause::Sequence };
        assert_eq!(tunnel.outbound.seal(&mut packet).map(|sealed| sealed.expiry), Ok(Some(hard)));
        assert_eq!(&packet.as_slice()[4..8], [0xff; 4]);
        for _ in 0..3 {
            let mut packet = buffer(&v4(b"one too many"));
            assert_eq!(tunnel.outbound.seal(&mut packet), Err(DropReason::SequenceExhausted));
        }
    }
}

#[test]
fn a_replacement_falls_due_long_before_the_last_sequence_number() {
    let used = limits::LAST_SEQUENCE - limits::LAST_SEQUENCE / limits::SEQUENCE_RESERVE - 1;
    let ends = [Direction::Outbound, Direction::Inbound].map(|end| spec(end, suite("aes128gcm16"), Esn::No));
    let [outbound, inbound] = ends;
    let tunnel = Tunnel::of(outbound, inbound, used);
    let soft = Expiry { hardness: Hardness::Soft, cause: ExpiryCause::Sequence };
    let expiry = || tunnel.outbound.seal(&mut buffer(&v4(b"x"))).map(|sealed| sealed.expiry);
    assert_eq!(expiry(), Ok(Some(soft)));
    assert_eq!(expiry(), Ok(None));
}

#[test]
fn both_ends_stop_at_their_byte_limits() {
    let lifetime = Lifetime { soft_bytes: 100, hard_bytes: 150, ..Lifetime::UNLIMITED };
    let inner = v4(&[0; 30]);
    let soft = Some(Expiry { hardness: Hardness::Soft, cause: ExpiryCause::Bytes });
    let hard = Some(Expiry { hardness: Hardness::Hard, cause: ExpiryCause::Bytes });
    let expected = [Ok(None), Ok(soft), Ok(hard), Err(DropReason::Expired), Err(DropReason::Expired)];

    let mut limited = spec(Direction::Outbound, suite("aes128-sha256"), Esn::No);
    limited.lifetime = lifetime;
    let tunnel = Tunnel::of(limited, spec(Direction::Inbound, suite("aes128-sha256"), Esn::No), 0);
    let sealed: Vec<_> =
        (0..5).map(|_| tunnel.outbound.seal(&mut buffer(&inner)).map(|sealed| sealed.expiry)).collect();
    assert_eq!(sealed, expected);

    let mut limited = spec(Direction::Inbound, suite("aes128-sha256"), Esn::No);
    limited.lifetime = lifetime;
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite("aes128-sha256"), Esn::No), limited, 0);
    let opened: Vec<_> =
        (0..5).map(|_| tunnel.open(&mut tunnel.seal(&inner)).map(|opened| opened.expiry)).collect();
    assert_eq!(opened, expected);
}

#[test]
fn cbc_ivs_do_not_repeat_or_count() {
    let tunnel = Tunnel::new(suite("aes256-sha512"), Esn::No);
    let ivs: Vec<[u8; 16]> = (0..200)
        .map(|_| tunnel.seal(&v4(b"the same packet")).as_slice()[8..24].try_into().expect("16 octets"))
        .collect();
    for (nth, iv) in ivs.iter().enumerate() {
        assert!(!ivs[..nth].contains(iv));
    }
    let first_octets: std::collections::BTreeSet<u8> = ivs.iter().map(|iv| iv[0]).collect();
    assert!(first_octets.len() > 50, "{}", first_octets.len());
}

#[test]
fn only_the_negotiated_traffic_comes_out() {
    let mut narrowed = spec(Direction::Inbound, suite("aes128gcm16"), Esn::No);
    narrowed.selectors = vec![pair("10.2.0.3/32[udp/53]", "10.1.0.0/16[udp]")];
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite("aes128gcm16"), Esn::No), narrowed, 0);
    let ends = |source: [u8; 4], destination: [u8; 4], port: u16| {
        let inner = udp((source.into(), 4000), (destination.into(), port));
        tunnel.open(&mut tunnel.seal(&inner)).map(|opened| opened.newest)
    };
    assert_eq!(ends([10, 1, 0, 2], [10, 2, 0, 3], 53), Ok(true));
    assert_eq!(ends([10, 1, 0, 2], [10, 2, 0, 3], 54), Err(DropReason::Selectors));
    assert_eq!(ends([10, 1, 0, 2], [10, 2, 0, 4], 53), Err(DropReason::Selectors));
    assert_eq!(ends([10, 9, 0, 2], [10, 2, 0, 3], 53), Err(DropReason::Selectors));
    // The other way round is another SA's traffic.
    assert_eq!(ends([10, 2, 0, 3], [10, 1, 0, 2], 53), Err(DropReason::Selectors));
    assert_eq!(tunnel.open(&mut tunnel.seal(&v4(b"not UDP"))), Err(DropReason::Selectors));
    assert_eq!(tunnel.inbound.packets(), 1);
}

#[test]
fn icmp_that_may_be_sent_only_does_not_come_in() {
    let narrowed = |local: &str, remote: &str| {
        let mut narrowed = spec(Direction::Inbound, suite("aes128gcm16"), Esn::No);
        narrowed.selectors = vec![pair(local, remote)];
        let tunnel = Tunnel::of(spec(Direction::Outbound, suite("aes128gcm16"), Esn::No), narrowed, 0);
        let ping = v4_between([10, 1, 0, 2].into(), [10, 2, 0, 3].into(), protocol::ICMP, &[8, 0, 0, 0]);
        tunnel.open(&mut tunnel.seal(&ping)).map(|_| ())
    };
    // RFC 4301 §4.4.1.3, cases D and C, seen from the receiver.
    assert_eq!(narrowed("10.2.0.0/16[icmp/opaque]", "10.1.0.0/16[icmp/2048]"), Ok(()));
    assert_eq!(narrowed("10.2.0.0/16[icmp/2048]", "10.1.0.0/16[icmp/opaque]"), Err(DropReason::Selectors));
}

#[test]
fn an_sa_for_many_networks_knows_them_all_and_no_other() {
    let mut many = spec(Direction::Inbound, suite("aes128gcm16"), Esn::No);
    many.selectors = (0..400u32)
        .map(|nth| pair(&format!("10.2.{}.0/24", nth / 20), &format!("10.1.{}.1-10.1.{0}.9", nth % 20)))
        .collect();
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite("aes128gcm16"), Esn::No), many, 0);
    for (source, destination) in
        (0..22).flat_map(|source| (0..22).map(move |destination| (source, destination)))
    {
        for host in [0, 1, 9, 10] {
            let inner = udp(([10, 1, source, host].into(), 1), ([10, 2, destination, 77].into(), 2));
            let negotiated = source < 20 && destination < 20 && (1..=9).contains(&host);
            let opened = tunnel.open(&mut tunnel.seal(&inner)).map(|_| ());
            assert_eq!(opened, if negotiated { Ok(()) } else { Err(DropReason::Selectors) });
        }
    }
}

#[test]
fn what_peers_may_put_into_a_packet() {
    let suite = suite("aes256gcm16");
    let opened = |plaintext: &[u8]| {
        let tunnel = Tunnel::new(suite, Esn::No);
        let mut packet = evil::seal(suite, plaintext);
        tunnel.open(&mut packet).map(|_| packet.as_slice().to_vec())
    };
    let inner = v4(&[7; 20]);
    let with = |tail: &[u8]| [&inner[..], tail].concat();

    assert_eq!(opened(&with(&[1, 2, 2, 4])), Ok(inner.clone()));
    // More padding than needed hides lengths too (RFC 4303 §2.4).
    let (long, longest): (Vec<u8>, Vec<u8>) = (v4(&[7; 23]), (1..=255).collect());
    assert_eq!(opened(&[&long[..], &longest, &[255, 4]].concat()), Ok(long.clone()));
    // Traffic flow confidentiality: anything may stand behind the inner packet (RFC 4303 §2.7).
    assert_eq!(opened(&with(&[&[0xaa; 100][..], &[1, 2, 2, 4]].concat())), Ok(inner.clone()));

    assert_eq!(opened(&with(&[1, 3, 2, 4])), Err(DropReason::Padding));
    assert_eq!(opened(&with(&[0, 0, 2, 4])), Err(DropReason::Padding));
    assert_eq!(opened(&with(&[1, 2, 255, 4])), Err(DropReason::Padding));
    assert_eq!(opened(&with(&[1, 2, 2, 41])), Err(DropReason::MalformedInner));
    assert_eq!(opened(&with(&[1, 2, 2, protocol::UDP])), Err(DropReason::NextHeader));
    assert_eq!(opened(&with(&[1, 2, 2, protocol::NO_NEXT_HEADER])), Err(DropReason::Dummy));
    assert_eq!(opened(&[&inner[..36], &[1, 2, 2, 4]].concat()), Err(DropReason::MalformedInner));
    assert_eq!(opened(&[1, 2, 2, 4]), Err(DropReason::MalformedInner));
}

#[test]
fn a_dummy_packet_moves_the_window() {
    let suite = suite("aes128gcm16");
    let tunnel = Tunnel::new(suite, Esn::No);
    let dummy = evil::seal(suite, &[&[9; 64][..], &[1, 2, 2, 59]].concat());
    assert_eq!(tunnel.open(&mut buffer(dummy.as_slice())), Err(DropReason::Dummy));
    assert_eq!(tunnel.open(&mut buffer(dummy.as_slice())), Err(DropReason::Replayed));
}

#[test]
fn what_is_no_ip_packet_is_not_sealed() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    for nothing in [&[][..], &[0x45], &[0x25; 40]] {
        assert_eq!(tunnel.outbound.seal(&mut buffer(nothing)), Err(DropReason::MalformedInner));
    }
    assert_eq!(tunnel.outbound.drops().of(DropReason::MalformedInner), 3);
}

#[test]
fn a_buffer_without_room_is_an_error_and_spends_no_sequence_number() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    let mut crowded = buffer(&v4(b"x"));
    while crowded.headroom() > 4 {
        crowded.push_front(1).expect("there is headroom");
    }
    crowded.as_mut_slice()[0] = 0x45;
    assert_eq!(tunnel.outbound.seal(&mut crowded), Err(DropReason::TooLong));
    assert_eq!(&tunnel.seal(&v4(b"x")).as_slice()[4..8], [0, 0, 0, 1]);
}

#[test]
fn the_outer_header_is_given_to_the_socket() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    let mut inner = v4(b"voice");
    inner[1] = 46 << 2 | 2;
    let sealed = tunnel.outbound.seal(&mut buffer(&inner)).expect("an IPv4 packet");
    let header = OuterHeader { traffic_class: 46 << 2 | 2, dont_fragment: true, hop_limit: None };
    assert_eq!(sealed.form, Form::Payload(header));
}

#[test]
fn congestion_comes_in_from_the_outer_header() {
    let tunnel = Tunnel::new(suite("aes128gcm16"), Esn::No);
    let mut capable = v4(b"x");
    capable[1] = Ecn::Capable0.to_bits();
    let open = |inner: &[u8]| {
        let mut packet = tunnel.seal(inner);
        let congested = Ecn::CongestionExperienced.to_bits();
        tunnel.inbound.open(&mut packet, &datagram(congested)).map(|_| packet.as_slice()[1])
    };
    assert_eq!(open(&capable), Ok(Ecn::CongestionExperienced.to_bits()));
    assert_eq!(open(&v4(b"x")), Err(DropReason::Congestion));
}

#[test]
fn workers_share_an_sa_without_losing_or_repeating_a_packet() {
    const PACKETS: usize = 2000;
    let mut inbound = spec(Direction::Inbound, suite("aes128gcm16"), Esn::Yes);
    inbound.replay_window = limits::REPLAY_WINDOW;
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite("aes128gcm16"), Esn::Yes), inbound, 0);
    // Long packets: opening takes longer than it takes both workers to start.
    let inner = v4(&[1; 8000]);
    let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let seal = || (0..PACKETS / 2).map(|_| tunnel.seal(&inner).as_slice().to_vec()).collect::<Vec<_>>();
        let workers = [scope.spawn(seal), scope.spawn(seal)];
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect()
    });
    // Both workers get every packet at the same moment; one of them must refuse it.
    let arrived = AtomicUsize::new(0);
    let opened: usize = std::thread::scope(|scope| {
        let race = || {
            let mut opened = 0;
            for (round, octets) in sealed.iter().enumerate() {
                let mut packet = buffer(octets);
                meet(&arrived, 2 * (round + 1));
                opened += usize::from(tunnel.open(&mut packet).is_ok());
            }
            opened
        };
        [scope.spawn(race), scope.spawn(race)]
            .map(|worker| worker.join().expect("no worker panics"))
            .iter()
            .sum()
    });
    assert_eq!(opened, PACKETS);
    assert_eq!(tunnel.inbound.packets(), PACKETS as u64);
    assert_eq!(tunnel.inbound.drops().of(DropReason::Replayed), PACKETS as u64);
}

/// Waits until `arrivals` workers have come here; they go on within nanoseconds of each other if each has a processor.
fn meet(arrived: &AtomicUsize, arrivals: usize) {
    arrived.fetch_add(1, Ordering::Relaxed);
    let mut spins = 0u32;
    while arrived.load(Ordering::Relaxed) < arrivals {
        spins += 1;
        if spins.is_multiple_of(10_000) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}
