//! IPv4 options in BEET mode as Linux carries them (RFC 7402 appendix B.1.7).
//!
//! `vectors/linux_beet.txt` holds what Linux 6.1 sent of `ping`, `ping -R` and `ping -T tsonly` from 10.1.0.2 to 10.2.0.3,
//! between IPv4 and then between IPv6 gateways: whole packets with ESP in BEET mode, NULL and HMAC-SHA-256-128.

mod common;

use std::sync::Arc;

use common::link::{Link, Plan, shown};
use common::*;
use ipsec::DropReason;
use sa::{Direction, Family, Mode, SaOp, SaSpec};
use wire::ip::{Ipv4, protocol};

/// SPI, sequence number; NULL has no IV.
const FRONT: usize = 8;
const ICV: usize = 16;
/// Where the reserved octet of the pseudo header is, which Linux leaves as it finds it.
const RESERVED_AT: usize = FRONT + 3;

fn plan(family: Family) -> Plan {
    Plan { outer: family, ..Plan::esp(Mode::Beet, suite("null-sha256")) }
}

fn keyed(spec: SaSpec) -> SaSpec {
    SaSpec { key: Arc::new(crypto::Secret::new((0..32).collect())), ..spec }
}

fn links() -> [Link; 2] {
    [Family::V4, Family::V6].map(|family| {
        let (mut left, mut right) = (databases(), databases());
        let outbound = keyed(plan(family).spec(Direction::Outbound));
        let protect = policy(POLICY.0, 1, sa::PolicyAction::Protect, outbound.selectors.clone());
        let sa = outbound.id();
        for op in [
            SaOp::InstallPolicy(protect),
            SaOp::InstallSa(Box::new(outbound)),
            SaOp::UseOutbound { policy: POLICY, sa },
        ] {
            left.apply(op).expect("a valid order");
        }
        let inbound = keyed(plan(family).spec(Direction::Inbound));
        right.apply(SaOp::InstallSa(Box::new(inbound))).expect("a valid SA");
        Link { left: left.tables(), right: right.tables() }
    })
}

#[test]
fn options_travel_as_between_linux_and_linux() {
    let packets =
        include_str!("vectors/linux_beet.txt").lines().map(|line| hex::decode(line).expect("hexadecimal"));
    let packets: Vec<Vec<u8>> = packets.collect();
    for (link, packets) in links().iter().zip(packets.chunks(3)) {
        for (packet, options) in packets.iter().zip([&[][..], &[1, 7, 39, 8, 10, 1, 0, 2], &[68, 40, 9]]) {
            let inner = link.receive(packet).expect("Linux sealed it");
            let view = Ipv4::new(&inner[..]).expect("a whole packet");
            assert!(view.has_valid_checksum());
            assert_eq!(view.protocol(), protocol::ICMP);
            assert_eq!([view.source().octets(), view.destination().octets()], [[10, 1, 0, 2], [10, 2, 0, 3]]);
            assert!(view.options().starts_with(options), "{:?}", view.options());
            assert_eq!(view.payload().len(), 28);
            assert_eq!(link.receive(packet), Err(DropReason::Replayed));

            // Ours is the same, but for what the reserved octet holds and what the ICV makes of it.
            let ours = link.send(&inner).expect("it can be sealed");
            let [ours, theirs] = [&ours, packet].map(|packet| {
                let (_, _, esp) = shown(packet).expect("it is ESP");
                let mut esp = esp[..esp.len() - ICV].to_vec();
                if !options.is_empty() {
                    esp[RESERVED_AT] = 0;
                }
                hex::encode(esp)
            });
            assert_eq!(ours, theirs);
        }
    }
}
