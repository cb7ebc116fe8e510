//! The order of policies where nobody configured one: smaller selectors are exceptions to larger ones (RFC 4301 §4.4.1).

use crate::{IpProtocol, PortRange, TrafficSelector};

/// Priorities from here up come from the size of the selectors; those that people write by hand are below it.
const DERIVED_PRIORITY: u32 = 100_000;

/// Gives the priority of a policy about the traffic between two ends' selectors; the lowest wins.
pub fn derived_priority(local: &[TrafficSelector], remote: &[TrafficSelector]) -> u32 {
    DERIVED_PRIORITY + largest(local) + largest(remote)
}

fn largest(selectors: &[TrafficSelector]) -> u32 {
    selectors.iter().map(extent).max().unwrap_or(0)
}

/// Measures a selector: by its addresses first, and among the same addresses by its protocol and ports.
fn extent(selector: &TrafficSelector) -> u32 {
    let TrafficSelector { addresses, protocol, ports } = selector;
    // Both ends together have four of these at most: less than one bit of an address.
    let unlimited = u32::from(*protocol == IpProtocol::ANY) + u32::from(*ports == PortRange::ANY);
    addresses.host_bits() * 5 + unlimited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_selectors_come_first() {
        let selectors = |text: &str| -> Vec<TrafficSelector> {
            text.split(' ').map(|text| text.parse().expect("the test's own text")).collect()
        };
        let ascending = [
            "10.2.9.1",
            "10.2.9.0/24[tcp/443]",
            "10.2.9.0/24[tcp]",
            "10.2.9.0/24",
            "10.0.0.0/8",
            "10.2.9.0/24 0.0.0.0/0",
            "::/0",
        ];
        let local = selectors("10.1.0.0/16");
        let priorities = ascending.map(|remote| derived_priority(&local, &selectors(remote)));
        assert!(priorities.is_sorted_by(|before, after| before < after), "{priorities:?}");
        assert!(priorities.iter().all(|priority| *priority > DERIVED_PRIORITY));
    }
}
