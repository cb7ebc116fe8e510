//! AH around ESP (RFC 4301 §4.1): what each of the two SAs reaches is told, whatever becomes of the other.

mod common;

use std::sync::Arc;

use common::link::{Link, Plan, shown};
use common::*;
use ipsec::{Databases, DropReason, Expiry, Tables, limits};
use sa::transform::INTEGRITY;
use sa::{
    Direction, ExpiryCause, Hardness, Lifetime, Mode, PolicyAction, PolicyId, Protection, Protocol, SaOp,
    SaSpec,
};

#[test]
fn the_limit_of_the_outer_sa_is_told_even_if_the_inner_one_refuses_the_packet() {
    let inner = v4(b"x");
    let wire = Link::new(&plan()).send(&inner).expect("an IPv4 packet");
    let spent = Lifetime { hard_packets: 0, ..Lifetime::UNLIMITED };
    for (esp, reason) in [
        (None, DropReason::UnknownSpi),
        (Some(SaSpec { lifetime: spent, ..plan().spec(Direction::Inbound) }), DropReason::Expired),
    ] {
        let right = receiver(esp);
        let (protocol, envelope, octets) = shown(&wire).expect("a packet of AH");
        let ah = right.inbound(protocol, common::link::WRAPPER_SPI).expect("just installed");
        let refused =
            right.open(ah, &mut buffer(octets), &envelope).expect_err("nobody takes what is inside");
        let told = refused.wrapper.map(|(sa, opened)| (sa.id().protocol, opened.expiry));
        assert_eq!((refused.reason, told), (reason, Some((Protocol::Ah, Some(SOFT)))));
    }
}

#[test]
fn a_packet_that_the_outer_sa_cannot_carry_costs_the_inner_one_no_number() {
    let inner = v4(b"x");
    let last = Lifetime { hard_packets: 1, ..Lifetime::UNLIMITED };
    let wrapper = SaSpec { lifetime: last, ..wrapper(Direction::Outbound) };
    let mut left = databases();
    let selectors = plan().spec(Direction::Outbound).selectors;
    let protect = policy(POLICY.0, 1, PolicyAction::Protect, selectors);
    left.apply(SaOp::InstallPolicy(protect)).expect("a valid policy");
    left.apply(SaOp::InstallSa(Box::new(wrapper))).expect("a valid SA");
    let esp = plan().spec(Direction::Outbound);
    left.install_outbound(&esp, limits::LAST_SEQUENCE - 2).expect("a valid SA");
    left.apply(SaOp::UseOutbound { policy: PolicyId(POLICY.0), sa: esp.id() }).expect("both exist");
    let tables = left.tables();
    let sa = protecting_sa(&tables, &inner);

    let sealed = sa.seal(&mut buffer(&inner)).expect("both have a packet left");
    assert_eq!(sealed.wrapper_expiry.map(|expiry| expiry.hardness), Some(Hardness::Hard));
    for _ in 0..3 {
        // Its number is the last but one: were it spent here, the third packet would meet another reason.
        assert_eq!(sa.seal(&mut buffer(&inner)).map(drop), Err(DropReason::Expired));
    }
}

/// The receiving gateway: AH with a limit that its first packet reaches, and the ESP inside.
fn receiver(esp: Option<SaSpec>) -> Arc<Tables> {
    let mut right: Databases = databases();
    let soft = Lifetime { soft_packets: 1, ..Lifetime::UNLIMITED };
    let wrapper = SaSpec { lifetime: soft, ..wrapper(Direction::Inbound) };
    for spec in [Some(wrapper), esp].into_iter().flatten() {
        right.apply(SaOp::InstallSa(Box::new(spec))).expect("a valid SA");
    }
    right.tables()
}

fn plan() -> Plan {
    Plan { wrapper: Some(AH), ..Plan::esp(Mode::Tunnel, suite("aes128gcm16")) }
}

fn wrapper(direction: Direction) -> SaSpec {
    plan().wrapper_spec(direction, AH)
}

const AH: Protection = Protection::Authenticated(&INTEGRITY[0]);
const SOFT: Expiry = Expiry { hardness: Hardness::Soft, cause: ExpiryCause::Packets };
