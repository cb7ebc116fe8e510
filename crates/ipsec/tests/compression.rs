//! IPComp under every protection: what becomes shorter, what goes as it is, and what a peer may not do.

mod common;

use common::link::{Link, Plan};
use common::*;
use flate2::{Compress, Compression, FlushCompress};
use ipsec::{DropReason, limits};
use proptest::prelude::*;
use sa::transform::INTEGRITY;
use sa::{Cpi, Direction, Encapsulation, Esn, Family, Handling, Mode, Protection, Protocol};
use wire::ip::{Ipv4Header, Ipv6Header, protocol};
use wire::ipcomp;

const CPI: Cpi = Cpi(2);

fn compressing() -> Handling {
    Handling { compression: Some(CPI), ..Handling::default() }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let modes = prop_oneof![Just(Mode::Tunnel), Just(Mode::Transport), Just(Mode::Beet)];
    let families = prop::sample::select(vec![Family::V4, Family::V6]);
    (modes, families.clone(), families, 0..4u8).prop_map(|(mode, outer, inner, kind)| {
        let inner = if mode == Mode::Transport { outer } else { inner };
        let esp = Plan { outer, inner, handling: compressing(), ..Plan::esp(mode, suite("aes128gcm16")) };
        let authenticated = Protection::Authenticated(&INTEGRITY[0]);
        match kind {
            0 => esp,
            1 => Plan { encapsulation: Encapsulation::Udp, ..esp },
            2 => Plan { wrapper: Some(authenticated), ..esp },
            _ => Plan { protocol: Protocol::Ah, protection: authenticated, ..esp },
        }
    })
}

/// Octets that deflate makes shorter, and such as it does not.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(prop::sample::select(b"keyway ".to_vec()), 0..1400);
    let noise = prop::collection::vec(any::<u8>(), 0..1400);
    prop_oneof![text, noise]
}

fn between(plan: &Plan, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = plan.inner_addresses();
    packet_between(source, destination, 253, payload)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_and_is_never_longer(
        plan in any_plan(), payloads in prop::collection::vec(any_payload(), 1..8),
    ) {
        let link = Link::new(&plan);
        let uncompressed = Link::new(&Plan { handling: Handling::default(), ..plan.clone() });
        for payload in payloads {
            let inner = between(&plan, &payload);
            let (wire, plain) = (link.send(&inner).expect("it fits"), uncompressed.send(&inner).expect("it fits"));
            prop_assert!(wire.len() <= plain.len());
            let out = link.receive(&wire).expect("it was just sealed");
            prop_assert!(out.ends_with(&payload));
            prop_assert_eq!(flow(&out), flow(&inner));
        }
        prop_assert_eq!(link.refused(), []);
    }

    #[test]
    fn a_damaged_payload_is_refused_or_opened_and_nothing_worse(
        payload in any_payload(), position: prop::sample::Index, bit in 0..8u32, cut: prop::sample::Index,
    ) {
        let mut deflated = deflate(&v4(&payload));
        let at = position.index(deflated.len());
        deflated[at] ^= 1 << bit;
        deflated.truncate(cut.index(deflated.len()) + 1);
        let refused = match opened(&deflated) {
            Ok(_) => return Ok(()),
            Err(reason) => reason,
        };
        let reasons = [
            DropReason::Compression, DropReason::Expansion, DropReason::MalformedInner, DropReason::Selectors,
        ];
        prop_assert!(reasons.contains(&refused), "{refused:?}");
    }
}

#[test]
fn a_compressible_payload_becomes_shorter() {
    let plan = Plan { handling: compressing(), ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) };
    let link = Link::new(&plan);
    let wire = link.send(&between(&plan, &[b'x'; 1300])).expect("it fits");
    assert!(wire.len() < 150, "{} octets", wire.len());
}

#[test]
fn short_payloads_are_not_tried() {
    let plan = Plan { handling: compressing(), ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) };
    let link = Link::new(&plan);
    let uncompressed = |inner: &[u8]| link.outbound(inner).sealed_len(inner.len());
    for (octets, shorter) in
        [(limits::COMPRESSION_THRESHOLD - 1, false), (limits::COMPRESSION_THRESHOLD, true)]
    {
        let inner = between(&plan, &vec![0; octets - Ipv4Header::LEN]);
        let wire = link.send(&inner).expect("it fits");
        assert_eq!(wire.len() < uncompressed(&inner), shorter, "{octets} octets");
    }
}

#[test]
fn an_sa_that_compresses_in_vain_pauses_and_comes_back() {
    let plan = Plan { handling: compressing(), ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) };
    let link = Link::new(&plan);
    let mut noise = vec![0; 600];
    crypto::Random::fill(&mut Seeded(3), &mut noise);
    let shorter = |payload: &[u8]| {
        let inner = between(&plan, payload);
        link.send(&inner).expect("it fits").len() < link.outbound(&inner).sealed_len(inner.len())
    };
    let waits = || (0..).take_while(|_| !shorter(&[0; 600])).count();
    for _ in 1..limits::COMPRESSION_TRIES {
        assert!(!shorter(&noise));
    }
    assert_eq!(waits(), 0, "one try less than it takes");
    for _ in 0..limits::COMPRESSION_TRIES {
        assert!(!shorter(&noise));
    }
    assert_eq!(waits(), limits::COMPRESSION_PAUSE as usize);
    // Success forgets everything; the next failures count from the start.
    assert_eq!(waits(), 0);
    for _ in 0..limits::COMPRESSION_TRIES + limits::COMPRESSION_PAUSE + 1 {
        assert!(!shorter(&noise));
    }
    assert_eq!(waits(), 2 * limits::COMPRESSION_PAUSE as usize, "the second pause is twice the first");
}

#[test]
fn a_bomb_is_refused_at_the_length_of_an_ip_packet() {
    // The inner packet says that it is short; what is behind its end would be padding.
    let with_tail = |octets: usize| [&v4(b"x")[..], &vec![0; octets]].concat();
    let longest = limits::DECOMPRESSED_OCTETS - v4(b"x").len();
    assert_eq!(opened(&deflate(&with_tail(longest))), Ok(v4(b"x")));
    assert_eq!(opened(&deflate(&with_tail(longest + 1))), Err(DropReason::Expansion));
    assert_eq!(opened(&deflate(&with_tail(60_000_000))), Err(DropReason::Expansion));
}

#[test]
fn a_packet_that_outgrows_its_buffer_is_whole() {
    let plan = Plan { handling: compressing(), ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) };
    let link = Link::new(&plan);
    let inner = between(&plan, &[7; 9000]);
    let wire = link.send(&inner).expect("it fits");
    assert!(wire.len() < 300);
    assert_eq!(link.receive(&wire), Ok(inner));
}

#[test]
fn only_the_agreed_compression_is_undone() {
    let packet = |cpi: u16, next_header: u8| {
        let header = ipcomp::Header { next_header, cpi };
        [&header.encode()[..], &deflate(&v4(b"x")), &[1, 2, 2, protocol::IPCOMP]].concat()
    };
    let open = |handling: &Handling, plaintext: &[u8]| open_evil(handling, plaintext);
    assert_eq!(open(&compressing(), &packet(CPI.0, protocol::IPV4)), Ok(v4(b"x")));
    assert_eq!(open(&compressing(), &packet(3, protocol::IPV4)), Err(DropReason::CompressionIndex));
    assert_eq!(open(&Handling::default(), &packet(CPI.0, protocol::IPV4)), Err(DropReason::NextHeader));
    // Compressed twice, or something else than the mode carries.
    assert_eq!(open(&compressing(), &packet(CPI.0, protocol::IPCOMP)), Err(DropReason::NextHeader));
    assert_eq!(open(&compressing(), &packet(CPI.0, protocol::UDP)), Err(DropReason::NextHeader));
    assert_eq!(open(&compressing(), &packet(CPI.0, protocol::IPV6)), Err(DropReason::MalformedInner));
    // Not even a header.
    assert_eq!(open(&compressing(), &[4, 0, 1, 0, protocol::IPCOMP]), Err(DropReason::Compression));
}

/// Streams that zlib made at levels 0, 1 and 9 and with its fixed code (Python's `zlib.compressobj(level, 8, -15)`).
#[test]
fn streams_of_another_deflate_are_undone() {
    let streams = include_str!("vectors/deflate.txt");
    let mut count = 0;
    for line in streams.lines() {
        let mut fields = line.split(' ').map(|field| hex::decode(field).expect("hexadecimal"));
        let (inner, deflated) = (fields.next().expect("an inner packet"), fields.next().expect("a stream"));
        assert_eq!(opened(&deflated).as_deref(), Ok(&inner[..]));
        count += 1;
    }
    assert_eq!(count, 16);
}

/// What comes out of a tunnel whose peer sends these octets as the deflated payload.
fn opened(deflated: &[u8]) -> Result<Vec<u8>, DropReason> {
    let header = ipcomp::Header { next_header: protocol::IPV4, cpi: CPI.0 };
    open_evil(&compressing(), &[&header.encode()[..], deflated, &[0, protocol::IPCOMP]].concat())
}

/// Opens what a peer that holds the key has sealed; 4 octets of trailer padding never hurt.
fn open_evil(handling: &Handling, plaintext: &[u8]) -> Result<Vec<u8>, DropReason> {
    let suite = suite("aes128gcm16");
    let inbound = sa::SaSpec { handling: handling.clone(), ..spec(Direction::Inbound, suite, Esn::No) };
    let tunnel = Tunnel::of(spec(Direction::Outbound, suite, Esn::No), inbound, 0);
    let mut packet = evil::seal(suite, &padded(plaintext));
    let result = tunnel.open(&mut packet).map(|_| packet.as_slice().to_vec());
    assert_eq!(tunnel.inbound.drops().total(), u64::from(result.is_err()));
    result
}

/// Moves the trailer so that nothing has to go in front of the payload.
fn padded(plaintext: &[u8]) -> Vec<u8> {
    let (payload, trailer) = plaintext.split_at(plaintext.len() - 2);
    let payload = &payload[..payload.len() - usize::from(trailer[0])];
    let padding = (4 - (payload.len() + 2) % 4) % 4;
    let mut padded = payload.to_vec();
    padded.extend((1..).take(padding));
    padded.extend([padding as u8, trailer[1]]);
    padded
}

fn deflate(octets: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(octets.len() + 64);
    compress.compress_vec(octets, &mut deflated, FlushCompress::Finish).expect("there is room");
    deflated
}

#[test]
fn ipv6_goes_through_as_well() {
    let plan = Plan {
        inner: Family::V6,
        outer: Family::V6,
        handling: compressing(),
        ..Plan::esp(Mode::Transport, suite("aes128gcm16"))
    };
    let link = Link::new(&plan);
    let inner = between(&plan, &[9; 500]);
    let wire = link.send(&inner).expect("it fits");
    assert!(wire.len() < Ipv6Header::LEN + 100);
    let mut out = link.receive(&wire).expect("it was just sealed");
    // A socket chooses a flow label of its own.
    out[..4].copy_from_slice(&inner[..4]);
    assert_eq!(out, inner);
}
