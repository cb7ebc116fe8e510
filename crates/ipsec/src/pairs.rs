//! Selector pairs of a policy or an SA, in as few octets as they need.
//!
//! Nearly all have one pair, and most of those all traffic between two networks of IPv4: it takes 16 octets instead of 80,
//! and no memory of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sa::{AddressRange, IpProtocol, PortRange, SelectorPair, TrafficSelector};

use crate::ends::Ends;

#[derive(Clone, Debug)]
pub(crate) enum Pairs {
    /// All traffic between two networks, the local one first.
    NetworksV4([NetworkAddress; 2], [u8; 2]),
    Several(Arc<Vec<SelectorPair>>),
}

type NetworkAddress = u32;

const _: () = assert!(size_of::<Pairs>() == 16);

impl Pairs {
    pub(crate) fn new(pairs: impl IntoIterator<Item = SelectorPair>) -> Pairs {
        let pairs: Vec<SelectorPair> = pairs.into_iter().collect();
        if let [pair] = &*pairs
            && let (Some(local), Some(remote)) = (network_v4(&pair.local), network_v4(&pair.remote))
        {
            return Pairs::NetworksV4([local.0, remote.0], [local.1, remote.1]);
        }
        Pairs::Several(Arc::new(pairs))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Pairs::NetworksV4(..) => 1,
            Pairs::Several(pairs) => pairs.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SelectorPair> + '_ {
        (0..self.len()).filter_map(|nth| self.nth(nth))
    }

    /// Tells whether the pair of this number selects the packet.
    pub(crate) fn nth_selects(&self, nth: usize, ends: &Ends) -> bool {
        match self {
            Pairs::NetworksV4(addresses, lengths) => nth == 0 && networks_select(*addresses, *lengths, ends),
            Pairs::Several(pairs) => pairs.get(nth).is_some_and(|pair| ends.are_selected_by(pair)),
        }
    }

    /// Tells whether some pair selects the packet.
    pub(crate) fn select(&self, ends: &Ends) -> bool {
        match self {
            Pairs::NetworksV4(addresses, lengths) => networks_select(*addresses, *lengths, ends),
            Pairs::Several(pairs) => pairs.iter().any(|pair| ends.are_selected_by(pair)),
        }
    }

    /// Tells whether some pair selects a packet between these addresses, of this protocol, with some ports or others.
    pub(crate) fn select_some_ports(&self, ends: &Ends) -> bool {
        self.iter().any(|pair| {
            let any_ports = |selector| TrafficSelector { ports: PortRange::ANY, ..selector };
            let SelectorPair { local, remote } = pair;
            ends.are_selected_by(&SelectorPair { local: any_ports(local), remote: any_ports(remote) })
        })
    }

    /// Tells whether some pair selects every packet that `other` selects.
    pub(crate) fn cover(&self, other: &SelectorPair) -> bool {
        self.iter().any(|pair| pair.local.covers(&other.local) && pair.remote.covers(&other.remote))
    }

    fn nth(&self, nth: usize) -> Option<SelectorPair> {
        match self {
            Pairs::NetworksV4([local, remote], [local_len, remote_len]) => Some(SelectorPair {
                local: all_of_network(*local, *local_len),
                remote: all_of_network(*remote, *remote_len),
            }),
            Pairs::Several(pairs) => pairs.get(nth).copied(),
        }
    }
}

/// Gives the network that a selector is, and the length of its prefix, if it is nothing narrower.
fn network_v4(selector: &TrafficSelector) -> Option<(NetworkAddress, u8)> {
    let TrafficSelector { addresses, protocol: IpProtocol::ANY, ports: PortRange::ANY } = selector else {
        return None;
    };
    match addresses.as_prefix()? {
        (IpAddr::V4(address), length) => Some((address.to_bits(), length)),
        (IpAddr::V6(_), _) => None,
    }
}

fn all_of_network(address: NetworkAddress, length: u8) -> TrafficSelector {
    let address = Ipv4Addr::from_bits(address).into();
    TrafficSelector::all_of(AddressRange::prefix(address, length).unwrap_or(AddressRange::host(address)))
}

fn networks_select(addresses: [NetworkAddress; 2], lengths: [u8; 2], ends: &Ends) -> bool {
    let holds = |end: usize, address: IpAddr| {
        let IpAddr::V4(address) = address else { return false };
        let host_bits = u32::BITS.saturating_sub(lengths[end].into());
        (address.to_bits() ^ addresses[end]).checked_shr(host_bits).unwrap_or(0) == 0
    };
    holds(0, ends.local) && holds(1, ends.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::ip::{Flow, Ports};

    fn selector(address: u32, length: u8) -> TrafficSelector {
        all_of_network(address, length)
    }

    proptest! {
        #[test]
        fn two_networks_select_what_their_selectors_do(
            addresses: [u32; 2], lengths in [0..=32u8, 0..=32u8], flipped in [0..=32u32, 0..=32u32],
        ) {
            let [local, remote] = [0, 1].map(|end| selector(addresses[end], lengths[end]));
            let pair = SelectorPair { local, remote };
            let pairs = Pairs::new([pair]);
            prop_assert!(matches!(pairs, Pairs::NetworksV4(..)));
            prop_assert_eq!(pairs.iter().collect::<Vec<_>>(), [pair]);
            // One bit of each address is another, or none is.
            let near = |end: usize| addresses[end] ^ 1u32.checked_shl(flipped[end]).unwrap_or(0);
            let ends = Ends::outbound(&Flow {
                source: Ipv4Addr::from_bits(near(0)).into(),
                destination: Ipv4Addr::from_bits(near(1)).into(),
                protocol: 17,
                ports: Ports::Opaque,
            });
            prop_assert_eq!(pairs.select(&ends), ends.are_selected_by(&pair));
        }
    }

    #[test]
    fn what_is_less_than_two_networks_keeps_its_selectors() {
        for local in ["10.0.0.0/8[tcp/80]", "10.0.0.0/8[udp]", "10.0.0.1-10.0.0.6", "2001:db8::/32"] {
            let selector = |text: &str| text.parse().expect("the test's own text");
            let pair = SelectorPair { local: selector(local), remote: selector("10.1.0.0/16") };
            let pairs = Pairs::new([pair]);
            assert!(matches!(pairs, Pairs::Several(_)), "{local}");
            assert_eq!(pairs.iter().collect::<Vec<_>>(), [pair], "{local}");
        }
    }
}
