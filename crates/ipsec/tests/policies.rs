//! Which policy a packet meets, held against asking every policy in order (RFC 4301 §4.4.1, §5.1).

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::*;
use ipsec::{Databases, DropReason, Verdict};
use proptest::prelude::*;
use sa::{
    AddressRange, DeviceId, Direction, Esn, IpProtocol, PolicyAction, PolicyId, PolicySpec, PortRange, SaOp,
    SelectorPair, TrafficSelector,
};
use wire::ip::{Flow, Ports};

/// Addresses that are close to each other, so that ranges meet them.
fn any_address() -> impl Strategy<Value = IpAddr> {
    let octet = prop_oneof![Just(0u8), Just(255), 1..8u8];
    (any::<bool>(), octet.clone(), octet).prop_map(|(four, third, last)| match four {
        true => Ipv4Addr::new(10, 0, third, last).into(),
        false => Ipv6Addr::new(0x2001, 0xdb8, 0, third.into(), 0, 0, 0, last.into()).into(),
    })
}

fn any_range() -> impl Strategy<Value = AddressRange> {
    let between = (any_address(), any_address()).prop_map(|(one, other)| {
        let (start, end) = (one.min(other), one.max(other));
        AddressRange::new(start, end).unwrap_or(AddressRange::host(start))
    });
    let prefix = (any_address(), 0..=128u8).prop_map(|(address, length)| {
        let length = if address.is_ipv4() { length / 4 } else { length };
        AddressRange::prefix(address, length).expect("no longer than the address")
    });
    prop_oneof![between, prefix, any_address().prop_map(AddressRange::host)]
}

fn any_port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), Just(u16::MAX), 1..6u16, 1020..1030u16]
}

fn any_ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        3 => Just(PortRange::ANY),
        1 => Just(PortRange::OPAQUE),
        1 => any_port().prop_map(PortRange::single),
        2 => (any_port(), any_port())
            .prop_map(|(one, other)| PortRange::new(one.min(other), one.max(other)).expect("ordered")),
    ]
}

fn any_protocol() -> impl Strategy<Value = IpProtocol> {
    prop::sample::select(vec![
        IpProtocol::ANY,
        IpProtocol::TCP,
        IpProtocol::UDP,
        IpProtocol::ICMP,
        IpProtocol::GRE,
    ])
}

fn any_pair() -> impl Strategy<Value = SelectorPair> {
    let end = || (any_range(), any_ports());
    (end(), end(), any_protocol(), any::<bool>()).prop_map(|(local, remote, protocol, both)| {
        let end = |(addresses, ports), protocol| TrafficSelector { addresses, protocol, ports };
        let local = end(local, protocol);
        let mut remote = end(remote, if both { protocol } else { IpProtocol::ANY });
        if remote.family() != local.family() {
            remote.addresses = AddressRange::any(local.family());
        }
        SelectorPair { local, remote }
    })
}

fn any_policy() -> impl Strategy<Value = PolicySpec> {
    let action = prop::sample::select(vec![
        PolicyAction::Bypass,
        PolicyAction::Discard,
        PolicyAction::Protect,
        PolicyAction::Trap,
    ]);
    (0..20u32, 0..4u32, action, prop::collection::vec(any_pair(), 1..4), any_device()).prop_map(
        |(id, priority, action, selectors, device)| PolicySpec {
            device,
            ..policy(id, priority, action, selectors)
        },
    )
}

fn any_device() -> impl Strategy<Value = Option<DeviceId>> {
    prop::sample::select(vec![None, None, Some(DeviceId(1)), Some(DeviceId(u32::MAX))])
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let ports = prop_oneof![
        Just(Ports::Opaque),
        (any_port(), any_port()).prop_map(|(source, destination)| Ports::Known { source, destination }),
    ];
    let shape = prop_oneof![
        4 => (prop::sample::select(vec![6u8, 17]), ports),
        1 => any_port().prop_map(|number| {
            let [icmp_type, code] = number.to_be_bytes();
            (1, Ports::Icmp { icmp_type, code })
        }),
        1 => Just((47, Ports::Absent)),
    ];
    (any_address(), any_address(), shape).prop_map(|(source, mut destination, (protocol, ports))| {
        if source.is_ipv4() != destination.is_ipv4() {
            destination = source;
        }
        Flow { source, destination, protocol, ports }
    })
}

/// The SPD as RFC 4301 describes it: an ordered list.
fn naive<'a>(policies: &'a [PolicySpec], flow: &Flow, device: Option<DeviceId>) -> Option<&'a PolicySpec> {
    let ports = match flow.ports {
        Ports::Known { source, destination } => (Some(source), Some(destination)),
        Ports::Icmp { icmp_type, code } => {
            let number = Some(u16::from_be_bytes([icmp_type, code]));
            (number, number)
        }
        Ports::Mobility { .. } | Ports::Absent | Ports::Opaque => (None, None),
    };
    let selected = |pair: &SelectorPair| {
        let mut receiver = pair.remote;
        if [pair.local.protocol, pair.remote.protocol].contains(&IpProtocol::ICMP) {
            // RFC 4301 §4.4.1.3: the sender's selector alone says what may be sent.
            receiver.ports = PortRange::ANY;
        }
        pair.local.selects(flow.source, IpProtocol(flow.protocol), ports.0)
            && receiver.selects(flow.destination, IpProtocol(flow.protocol), ports.1)
    };
    policies
        .iter()
        .filter(|policy| policy.device == device)
        .filter(|policy| policy.selectors.iter().any(selected))
        .min_by_key(|policy| (policy.priority, policy.id))
}

fn verdict_of(policy: Option<&PolicySpec>) -> String {
    let verdict = match policy.map(|policy| (policy.action, policy.id)) {
        None => Verdict::Unselected,
        Some((PolicyAction::Bypass, _)) => Verdict::Bypass,
        Some((PolicyAction::Discard, _)) => Verdict::Discard(DropReason::Policy),
        Some((PolicyAction::Protect, _)) => Verdict::Discard(DropReason::NoSa),
        Some((PolicyAction::Trap, id)) => Verdict::Acquire(id),
    };
    format!("{verdict:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_first_policy_in_order_decides(
        installed in prop::collection::vec(any_policy(), 0..30),
        removed in prop::collection::vec(0..20u32, 0..10),
        flows in prop::collection::vec(any_flow(), 1..60),
    ) {
        let mut databases = databases();
        let mut list: Vec<PolicySpec> = Vec::new();
        for policy in installed {
            list.retain(|other| other.id != policy.id);
            list.push(policy.clone());
            databases.apply(SaOp::InstallPolicy(policy)).expect("a valid policy");
        }
        let (before, before_list) = (databases.tables(), list.clone());
        for id in removed {
            let known = list.iter().any(|policy| policy.id == PolicyId(id));
            prop_assert_eq!(databases.apply(SaOp::RemovePolicy(PolicyId(id))).is_ok(), known);
            list.retain(|policy| policy.id != PolicyId(id));
        }
        for (tables, list) in [(databases.tables(), list), (before, before_list)] {
            for flow in &flows {
                for device in [None, Some(DeviceId(1)), Some(DeviceId(u32::MAX)), Some(DeviceId(7))] {
                    let policy = naive(&list, flow, device);
                    prop_assert_eq!(format!("{:?}", tables.classify(flow, device)), verdict_of(policy));
                }
            }
        }
    }
}

fn with_policies(policies: Vec<PolicySpec>) -> Databases {
    let mut databases = databases();
    for policy in policies {
        databases.apply(SaOp::InstallPolicy(policy)).expect("a valid policy");
    }
    databases
}

fn flow_to(destination: &str, protocol: u8, ports: Ports) -> Flow {
    Flow { source: address("10.1.0.2"), destination: address(destination), protocol, ports }
}

const WEB: Ports = Ports::Known { source: 4000, destination: 443 };

#[test]
fn fragments_meet_policies_for_any_and_opaque_ports_only() {
    let tables = with_policies(vec![
        policy(1, 1, PolicyAction::Discard, vec![pair("10.1.0.0/16", "10.2.0.0/16[udp/53]")]),
        policy(2, 2, PolicyAction::Bypass, vec![pair("10.1.0.0/16", "10.2.0.0/16[udp/opaque]")]),
    ])
    .tables();
    let dns = Ports::Known { source: 4000, destination: 53 };
    assert!(matches!(
        tables.classify(&flow_to("10.2.0.3", 17, dns), None),
        Verdict::Discard(DropReason::Policy)
    ));
    assert!(matches!(tables.classify(&flow_to("10.2.0.3", 17, Ports::Opaque), None), Verdict::Bypass));
    assert!(matches!(tables.classify(&flow_to("10.2.0.3", 17, WEB), None), Verdict::Unselected));
}

#[test]
fn icmp_is_told_apart_by_type_and_code() {
    // Echo request is type 8 code 0: 2048 as a port (RFC 7296 §3.13.1).
    let tables = with_policies(vec![policy(
        1,
        1,
        PolicyAction::Bypass,
        vec![pair("10.1.0.0/16[icmp/2048]", "10.2.0.0/16[icmp]")],
    )])
    .tables();
    let icmp = |icmp_type| flow_to("10.2.0.3", 1, Ports::Icmp { icmp_type, code: 0 });
    assert!(matches!(tables.classify(&icmp(8), None), Verdict::Bypass));
    assert!(matches!(tables.classify(&icmp(0), None), Verdict::Unselected));
}

#[test]
fn what_may_be_received_only_is_not_sent() {
    // RFC 4301 §4.4.1.3, cases C and D.
    let pairs = vec![
        pair("10.1.0.0/16[icmp/2048]", "10.2.0.0/16[icmp/opaque]"),
        pair("10.1.0.0/16[icmp/opaque]", "10.3.0.0/16[icmp/2048]"),
    ];
    let tables = with_policies(vec![policy(1, 1, PolicyAction::Bypass, pairs)]).tables();
    let ping = Ports::Icmp { icmp_type: 8, code: 0 };
    assert!(matches!(tables.classify(&flow_to("10.2.0.3", 1, ping), None), Verdict::Bypass));
    assert!(matches!(tables.classify(&flow_to("10.3.0.3", 1, ping), None), Verdict::Unselected));
}

#[test]
fn who_looks_at_ports_wants_whole_packets() {
    let device = Some(DeviceId(3));
    let mut databases = with_policies(vec![
        policy(1, 1, PolicyAction::Bypass, vec![pair("10.1.0.0/16", "10.2.0.0/16[udp]")]),
        PolicySpec {
            device,
            ..policy(2, 1, PolicyAction::Bypass, vec![pair("10.1.0.0/16", "10.2.0.0/16[udp/53]")])
        },
    ]);
    let looks =
        |databases: &Databases| [None, device].map(|device| databases.tables().looks_at_ports(device));
    assert_eq!(looks(&databases), [false, true]);
    databases.apply(SaOp::RemovePolicy(PolicyId(2))).expect("it exists");
    assert_eq!(looks(&databases), [false, false]);
}

#[test]
fn a_narrowed_sa_carries_only_what_it_was_negotiated_for() {
    let wide = policy(POLICY.0, 1, PolicyAction::Trap, vec![pair("10.0.0.0/8", "10.0.0.0/8")]);
    let mut databases = with_policies(vec![wide]);
    let mut narrowed = spec(Direction::Outbound, suite("aes128gcm16"), Esn::No);
    narrowed.selectors = vec![pair("10.1.0.0/16", "10.2.0.0/16[tcp]")];
    databases.apply(SaOp::InstallSa(Box::new(narrowed.clone()))).expect("a valid SA");
    assert!(matches!(
        databases.tables().classify(&flow_to("10.2.0.3", 6, WEB), None),
        Verdict::Acquire(POLICY)
    ));
    databases.apply(SaOp::UseOutbound { policy: POLICY, sa: narrowed.id() }).expect("both exist");
    let tables = databases.tables();
    assert!(matches!(tables.classify(&flow_to("10.2.0.3", 6, WEB), None), Verdict::Protect(_)));
    for outside in [flow_to("10.2.0.3", 17, WEB), flow_to("10.3.0.3", 6, WEB)] {
        assert!(matches!(tables.classify(&outside, None), Verdict::Discard(DropReason::OutsideSa)));
    }
}
