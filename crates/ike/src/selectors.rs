//! Traffic selectors between the wire and the waist, and the responder's narrowing (RFC 7296 §2.9, §3.13).
//!
//! ```text
//!  proposed    10.1.0.7[tcp/443]  10.1.0.0/16      the packet that asked for the SA, then all that the peer would send
//!  configured  10.0.0.0/8
//!  narrowed    10.1.0.0/16                         all that both allow, the first of the proposal always among it
//! ```

use std::net::IpAddr;

use sa::{AddressRange, IpProtocol, PortRange, SelectorPair, TrafficSelector};
use wire::v2::SelectorRange;

use crate::SelectorTemplate;
use crate::limits::{SELECTOR_PAIRS, TRAFFIC_SELECTORS};

/// Turns selectors into the content of a TS payload, in the same order.
pub(crate) fn to_wire(selectors: &[TrafficSelector]) -> Vec<wire::v2::TrafficSelector> {
    selectors.iter().map(selector_to_wire).collect()
}

/// Reads the content of a TS payload, in the same order. What selects nothing that we know is left out, as
/// RFC 7296 §2.9 has it for selectors of unknown type: those, and ranges that end before they start.
pub(crate) fn from_wire(selectors: &[wire::v2::TrafficSelector]) -> Vec<TrafficSelector> {
    selectors.iter().filter_map(wire::v2::TrafficSelector::range).filter_map(selector_from_range).collect()
}

fn selector_to_wire(selector: &TrafficSelector) -> wire::v2::TrafficSelector {
    let TrafficSelector { addresses, protocol, ports } = selector;
    let (ip_protocol, start_port, end_port) = (protocol.0, ports.start(), ports.end());
    match (addresses.start(), addresses.end()) {
        (IpAddr::V4(start), IpAddr::V4(end)) => {
            wire::v2::TrafficSelector::Ipv4(SelectorRange { ip_protocol, start_port, end_port, start, end })
        }
        (start, end) => {
            let [start, end] = [start, end].map(|address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            });
            wire::v2::TrafficSelector::Ipv6(SelectorRange { ip_protocol, start_port, end_port, start, end })
        }
    }
}

fn selector_from_range(range: SelectorRange<IpAddr>) -> Option<TrafficSelector> {
    Some(TrafficSelector {
        addresses: AddressRange::new(range.start, range.end).ok()?,
        protocol: IpProtocol(range.ip_protocol),
        ports: PortRange::new(range.start_port, range.end_port)?,
    })
}

/// Gives the traffic of one end that is both configured and proposed, in the order of what is configured; empty is
/// none.
///
/// Nothing stands in it twice, and there is no more of it than [`TRAFFIC_SELECTORS`]. Whatever of the first proposed
/// selector is acceptable is always part of it (RFC 7296 §2.9): it may be the packet that the SA is for.
pub(crate) fn narrow(configured: &[TrafficSelector], proposed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let Some((first, others)) = proposed.split_first() else { return Vec::new() };
    let mut kept: Vec<(usize, TrafficSelector)> = Vec::new();
    for wanted in std::iter::once(first).chain(others) {
        for (rank, allowed) in configured.iter().enumerate() {
            if let Some(both) = allowed.intersection(wanted) {
                keep(&mut kept, rank, both);
            }
        }
    }
    kept.sort_by_key(|(rank, _)| *rank);
    kept.into_iter().map(|(_, selector)| selector).collect()
}

/// Adds a selector unless another covers it or there is no room, and drops those that it covers.
fn keep(kept: &mut Vec<(usize, TrafficSelector)>, rank: usize, selector: TrafficSelector) {
    if kept.iter().any(|(_, other)| other.covers(&selector)) {
        return;
    }
    kept.retain(|(_, other)| !selector.covers(other));
    if kept.len() < TRAFFIC_SELECTORS {
        kept.push((rank, selector));
    }
}

/// Tells whether an answer stays within an offer, as it must (RFC 7296 §2.9): it is not empty, and each of its
/// selectors lies inside one that was offered.
pub(crate) fn is_within(answer: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    let was_offered = |selector: &TrafficSelector| offered.iter().any(|offer| offer.covers(selector));
    !answer.is_empty() && answer.iter().all(was_offered)
}

/// Gives every flow between two ends' selectors: pairs of one family whose protocols meet, each with the more specific
/// protocol on both sides, no more than [`SELECTOR_PAIRS`].
pub(crate) fn pairs(local: &[TrafficSelector], remote: &[TrafficSelector]) -> Vec<SelectorPair> {
    local
        .iter()
        .flat_map(|local| remote.iter().filter_map(move |remote| pair(*local, *remote)))
        .take(SELECTOR_PAIRS)
        .collect()
}

fn pair(local: TrafficSelector, remote: TrafficSelector) -> Option<SelectorPair> {
    let protocol = match (local.protocol, remote.protocol) {
        (IpProtocol::ANY, protocol) | (protocol, IpProtocol::ANY) => protocol,
        (left, right) if left == right => left,
        _ => return None,
    };
    (local.family() == remote.family()).then_some(SelectorPair {
        local: TrafficSelector { protocol, ..local },
        remote: TrafficSelector { protocol, ..remote },
    })
}

/// Fills an end's own address in where a selector stands for it.
pub(crate) fn resolve(templates: &[SelectorTemplate], own: IpAddr) -> Vec<TrafficSelector> {
    templates.iter().map(|template| template.resolve(own)).collect()
}

/// The same where an end has several addresses of its own: each in the place of a selector that stands for them.
pub(crate) fn resolve_all(templates: &[SelectorTemplate], own: &[AddressRange]) -> Vec<TrafficSelector> {
    let resolved = templates.iter().flat_map(|template| match template {
        SelectorTemplate::Fixed(selector) => vec![*selector],
        SelectorTemplate::Dynamic(..) => own.iter().map(|own| template.resolve_to(*own)).collect(),
    });
    resolved.collect()
}

/// Names selectors for people.
pub(crate) fn list(selectors: &[TrafficSelector]) -> String {
    match selectors {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn selectors(text: &str) -> Vec<TrafficSelector> {
        text.split_whitespace().map(|word| word.parse().expect("the test's own text")).collect()
    }

    #[test]
    fn selectors_survive_the_wire() {
        let all =
            selectors("10.1.0.0/16 10.0.0.1-10.0.0.9[tcp/80-90] ::/0[ipv6-icmp] 2001:db8::/32[udp/opaque]");
        assert_eq!(from_wire(&to_wire(&all)), all);
    }

    #[test]
    fn unknown_types_and_reversed_ranges_are_left_out() {
        let [good, mut addresses, mut ports] = [(); 3].map(|()| SelectorRange {
            ip_protocol: 6,
            start_port: 80,
            end_port: 80,
            start: Ipv4Addr::new(10, 0, 0, 1),
            end: Ipv4Addr::new(10, 0, 0, 2),
        });
        addresses.end = Ipv4Addr::new(9, 0, 0, 0);
        ports.end_port = 79;
        let unknown = wire::v2::TrafficSelector::Unknown(wire::v2::UnknownSelector {
            selector_type: wire::registry::TrafficSelectorType::SECLABEL,
            ip_protocol: 0,
            body: vec![1, 2, 3],
        });
        let [good, addresses, ports] = [good, addresses, ports].map(wire::v2::TrafficSelector::Ipv4);
        let read = from_wire(&[unknown, addresses, good, ports]);
        assert_eq!(read, selectors("10.0.0.1-10.0.0.2[tcp/80]"));
    }

    #[test]
    fn narrowing_follows_the_rfcs_example() {
        // RFC 7296 §2.9: the trigger packet first, then the whole network; the policy allows half of it.
        let proposed = selectors("198.51.100.43[tcp/33] 198.51.100.0/24");
        assert_eq!(narrow(&selectors("198.51.100.0/25"), &proposed), selectors("198.51.100.0/25"));
        assert_eq!(narrow(&selectors("198.51.100.128/25"), &proposed), selectors("198.51.100.128/25"));
        assert_eq!(narrow(&selectors("10.0.0.0/8"), &proposed), []);
        assert_eq!(narrow(&selectors("10.0.0.0/8"), &[]), []);
    }

    #[test]
    fn the_order_is_that_of_the_configuration() {
        let configured = selectors("10.3.0.0/16 10.1.0.0/16 2001:db8::/32 10.2.0.0/16");
        let proposed = selectors("::/0 10.2.0.0/24 10.1.0.0/16 10.3.0.0/24");
        assert_eq!(
            narrow(&configured, &proposed),
            selectors("10.3.0.0/24 10.1.0.0/16 2001:db8::/32 10.2.0.0/24")
        );
    }

    #[test]
    fn the_first_choice_is_never_the_one_that_finds_no_room() {
        let configured: Vec<TrafficSelector> =
            (0..=255).flat_map(|third| selectors(&format!("10.0.{third}.0/25"))).collect();
        let proposed = selectors("10.0.255.3[tcp/22] 10.0.0.0/8[tcp/1-100] 10.0.0.0/8[tcp/1-200]");
        let narrowed = narrow(&configured, &proposed);
        assert_eq!(narrowed.len(), TRAFFIC_SELECTORS);
        assert!(narrowed.iter().any(|selector| selector.covers(&proposed[0])));
    }

    #[test]
    fn an_answer_must_stay_within_the_offer() {
        let offered = selectors("10.1.0.0/16 10.2.0.0/16[tcp]");
        assert!(is_within(&selectors("10.1.2.0/24 10.2.0.0/16[tcp/80]"), &offered));
        assert!(!is_within(&selectors("10.1.2.0/24 10.2.0.0/16"), &offered));
        assert!(!is_within(&selectors("10.0.0.0/8"), &offered));
        assert!(!is_within(&[], &offered));
    }

    #[test]
    fn pairs_join_what_can_be_one_flow() {
        let joined = pairs(
            &selectors("10.1.0.0/16 2001:db8:1::/48[tcp/80]"),
            &selectors("10.2.0.0/16[udp/53] ::/0 ::/0[udp]"),
        );
        let texts: Vec<String> = joined.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["10.1.0.0/16[udp] <-> 10.2.0.0/16[udp/53]", "2001:db8:1::/48[tcp/80] <-> ::/0[tcp]"]
        );
    }

    /// Selectors over so few addresses, protocols and ports that every packet can be tried.
    fn small_selectors() -> impl Strategy<Value = Vec<TrafficSelector>> {
        let one = (0u8..8, 0u8..8, 0u8..3, 0u16..6, 0u16..6, any::<bool>()).prop_map(
            |(a, b, protocol, c, d, any_port)| TrafficSelector {
                addresses: AddressRange::new(host(a.min(b)), host(a.max(b))).expect("ordered"),
                protocol: [IpProtocol::ANY, IpProtocol::TCP, IpProtocol::UDP][usize::from(protocol)],
                ports: if any_port {
                    PortRange::ANY
                } else {
                    PortRange::new(c.min(d), c.max(d)).expect("ordered")
                },
            },
        );
        prop::collection::vec(one, 0..6)
    }

    fn host(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    fn packets() -> impl Iterator<Item = (IpAddr, IpProtocol, Option<u16>)> {
        let ports = || (0..7).map(Some).chain([None]);
        let protocols = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::ICMP];
        (0..9).flat_map(move |last| {
            protocols
                .into_iter()
                .flat_map(move |protocol| ports().map(move |port| (host(last), protocol, port)))
        })
    }

    fn any_selects(selectors: &[TrafficSelector], packet: (IpAddr, IpProtocol, Option<u16>)) -> bool {
        selectors.iter().any(|selector| selector.selects(packet.0, packet.1, packet.2))
    }

    proptest! {
        #[test]
        fn narrowing_selects_exactly_the_packets_that_both_select(
            configured in small_selectors(),
            proposed in small_selectors(),
        ) {
            let narrowed = narrow(&configured, &proposed);
            for packet in packets() {
                let both = any_selects(&configured, packet) && any_selects(&proposed, packet);
                prop_assert_eq!(any_selects(&narrowed, packet), both, "{:?} in {:?}", packet, &narrowed);
            }
            prop_assert_eq!(is_within(&narrowed, &proposed), !narrowed.is_empty());
            for (index, selector) in narrowed.iter().enumerate() {
                let covering = narrowed.iter().enumerate().filter(|(other, wide)| *other != index && wide.covers(selector));
                prop_assert_eq!(covering.count(), 0, "{:?} is superfluous in {:?}", selector, &narrowed);
            }
        }
    }
}
