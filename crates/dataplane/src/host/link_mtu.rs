//! How long a packet the first link on the way to a peer takes, as the host's routes have it.
//!
//! The kernel would tell a path MTU in one question, but mixes into it what it learned from ICMP errors that anybody may
//! have sent. So the way is asked for first, then the route itself and the device.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteMetric};
use sa::Family;

use super::netlink::{Netlink, family_number};

/// Gives the octets of the longest packet that leaves towards `remote`, for a packet with our mark.
///
/// # Errors
/// There is no route, or the kernel does not answer.
pub(crate) fn link_mtu(remote: IpAddr, mark: u32) -> io::Result<usize> {
    let mut netlink = Netlink::open()?;
    let way = netlink.route_to(remote, mark, RouteFlags::empty())?;
    let device = way.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(device) => Some(*device),
        _ => None,
    });
    let device = device.ok_or(io::ErrorKind::NetworkUnreachable)?;
    let of_device = netlink.link_mtu(device)?;
    let route = netlink.route_to(remote, mark, RouteFlags::FibMatch)?;
    let of_route = route.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    });
    Ok(of_route.map_or(of_device, |mtu| mtu.min(of_device)) as usize)
}

impl Netlink {
    /// Gives the attributes of the route that a packet takes or, with [`RouteFlags::FibMatch`], of the entry that it goes by.
    fn route_to(&mut self, remote: IpAddr, mark: u32, flags: RouteFlags) -> io::Result<Vec<RouteAttribute>> {
        let mut request = RouteMessage::default();
        request.header.address_family = family_number(Family::of(remote));
        request.header.destination_prefix_length = if remote.is_ipv4() { 32 } else { 128 };
        request.header.flags = flags;
        request.attributes.push(RouteAttribute::Destination(remote.into()));
        request.attributes.push(RouteAttribute::Mark(mark));
        let answers = self.exchange(RouteNetlinkMessage::GetRoute(request), NLM_F_ACK)?;
        let route = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route.attributes),
            _ => None,
        });
        route.ok_or(io::ErrorKind::NetworkUnreachable.into())
    }

    fn link_mtu(&mut self, device: u32) -> io::Result<u32> {
        let mut request = LinkMessage::default();
        request.header.index = device;
        let answers = self.exchange(RouteNetlinkMessage::GetLink(request), NLM_F_ACK)?;
        let mtu = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => {
                link.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Mtu(mtu) => Some(*mtu),
                    _ => None,
                })
            }
            _ => None,
        });
        mtu.ok_or(io::ErrorKind::NotFound.into())
    }
}
