//! The addresses that MOBIKE's messages name: which of ours we tell, and how they stand in notifies (RFC 4555 §4.2).

use std::net::IpAddr;

use wire::registry::NotifyType;
use wire::v2::{Notify, Payload};

use crate::context::Context;
use crate::io::Path;
use crate::v2::contents::Contents;
use crate::{Connection, SelectorTemplate, limits};

/// Gives the addresses at which we can be reached beside the one in use: what the host has, but for what the connection does
/// not want used and what lies within its tunnels.
pub(super) fn additional(cx: &Context, connection: &Connection, path: Path) -> Vec<IpAddr> {
    let own = path.local.ip();
    let is_inside = |address: &IpAddr| {
        let templates = connection.children.iter().flat_map(|child| &child.local_selectors);
        templates.filter_map(fixed).any(|range| range.contains(*address) && !range.contains(own))
    };
    let others = cx.host.iter().filter(|address| **address != own && is_usable(**address));
    let others = others.filter(|address| connection.may_use(**address) && !is_inside(address));
    others.filter(|address| !cx.assumed.has(**address)).take(limits::ADDITIONAL_ADDRESSES).copied().collect()
}

fn fixed(template: &SelectorTemplate) -> Option<sa::AddressRange> {
    match template {
        SelectorTemplate::Fixed(selector) => Some(selector.addresses),
        SelectorTemplate::Dynamic(..) => None,
    }
}

pub(super) fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_link_local)
}

pub(super) fn address_notify(address: IpAddr) -> Payload {
    Payload::Notify(match address {
        IpAddr::V4(address) => Notify::new(NotifyType::ADDITIONAL_IP4_ADDRESS, address.octets()),
        IpAddr::V6(address) => Notify::new(NotifyType::ADDITIONAL_IP6_ADDRESS, address.octets()),
    })
}

pub(super) fn addresses_notifies(addresses: Vec<IpAddr>) -> Vec<Payload> {
    if addresses.is_empty() {
        return vec![Payload::Notify(Notify::new(NotifyType::NO_ADDITIONAL_ADDRESSES, []))];
    }
    addresses.into_iter().map(address_notify).collect()
}

pub(super) fn says_addresses(contents: &Contents) -> bool {
    contents.notifies().any(|notify| {
        notify.notify_type == NotifyType::NO_ADDITIONAL_ADDRESSES || stated_address(notify).is_some()
    })
}

pub(super) fn stated_addresses(contents: &Contents) -> Vec<IpAddr> {
    let stated = contents.notifies().filter_map(stated_address).filter(|address| is_usable(*address));
    stated.take(limits::ADDITIONAL_ADDRESSES).collect()
}

fn stated_address(notify: &Notify) -> Option<IpAddr> {
    let octets = notify.data.as_slice();
    match notify.notify_type {
        NotifyType::ADDITIONAL_IP4_ADDRESS => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        NotifyType::ADDITIONAL_IP6_ADDRESS => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Gives our address as the peer sees it, hashed.
pub(super) fn seen_address(contents: &Contents) -> Option<Vec<u8>> {
    contents.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).map(|notify| notify.data.clone())
}

/// Gives the data of NO_NATS_ALLOWED for a message of ours: source and destination, then the ports (RFC 4555 §4.2.6).
pub(super) fn addresses_of(path: Path) -> Vec<u8> {
    let mut data = Vec::new();
    for end in [path.local, path.remote] {
        match end.ip() {
            IpAddr::V4(address) => data.extend(address.octets()),
            IpAddr::V6(address) => data.extend(address.octets()),
        }
    }
    data.extend(path.local.port().to_be_bytes());
    data.extend(path.remote.port().to_be_bytes());
    data
}

/// Gives the same for a message of the peer, as it came here.
pub(super) fn seen_addresses(path: Path) -> Vec<u8> {
    addresses_of(Path { local: path.remote, remote: path.local })
}
