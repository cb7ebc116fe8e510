//! Checksums of transport mode packets that a NAT has passed (RFC 3948 §3.1.2).
//!
//! The sender summed up its own address and ours as it knows it; behind the NAT the packet has others. Where both are known,
//! what they differ by is added, so that a checksum that was right stays right, and one that was wrong stays wrong. Where the
//! peer has not told them, the checksum is made anew: the ICV has vouched for what it covers.

use std::net::IpAddr;
use std::ops::Range;

use sa::OriginalAddresses;
use wire::ip::checksum::{self, Sum};
use wire::ip::{Fragment, Packet, UpperLayer, protocol};

use crate::DropReason;

/// Makes the checksum of a whole packet cover the addresses in its header instead of the original ones.
///
/// # Errors
/// The packet's headers contradict themselves.
pub(crate) fn repair(packet: &mut [u8], original: &OriginalAddresses) -> Result<(), DropReason> {
    let view = Packet::new(&*packet).map_err(|_| DropReason::MalformedInner)?;
    let upper = view.upper_layer().map_err(|_| DropReason::MalformedInner)?;
    let before = sum(original.remote, original.local);
    let after = sum(view.source(), view.destination());
    if let Some(field) = field(&upper).and_then(|field| packet.get_mut(field)) {
        match (u16::from_be_bytes([field[0], field[1]]), upper.protocol) {
            // There is none.
            (0, protocol::UDP) => {}
            (covered, _) => write(field, upper.protocol, checksum::update(covered, before, after)),
        }
    }
    Ok(())
}

/// Makes the checksum of a whole packet anew, over the addresses in its header.
///
/// # Errors
/// The packet's headers contradict themselves.
pub(crate) fn renew(packet: &mut [u8]) -> Result<(), DropReason> {
    let view = Packet::new(&*packet).map_err(|_| DropReason::MalformedInner)?;
    let upper = view.upper_layer().map_err(|_| DropReason::MalformedInner)?;
    let (source, destination) = (view.source(), view.destination());
    let covers_all = match upper.protocol {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => upper.fragment == Fragment::Whole,
        // How much the others cover is not for us to say.
        _ => false,
    };
    let Some(at) = field(&upper).filter(|at| covers_all && packet.len() >= at.end) else { return Ok(()) };
    if upper.protocol == protocol::UDP && packet[at.clone()] == [0, 0] {
        return Ok(());
    }
    packet[at.clone()].fill(0);
    let anew = checksum::transport(source, destination, upper.protocol, &packet[upper.offset..]);
    write(&mut packet[at], upper.protocol, anew);
    Ok(())
}

/// Which end of a packet a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortOf {
    Source,
    Destination,
}

/// Puts another port in the place of one of a packet's, if it has ports and `other` gives one; a checksum that was right
/// stays right. (SCTP's would have to be made anew over all of it, so that is left alone.)
pub(crate) fn rewrite_port(packet: &mut [u8], end: PortOf, other: impl FnOnce(u16) -> Option<u16>) {
    let Ok(Ok(upper)) = Packet::new(&*packet).map(|view| view.upper_layer()) else { return };
    let has_ports =
        matches!(upper.protocol, protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP);
    let at = upper.offset
        + match end {
            PortOf::Source => 0,
            PortOf::Destination => 2,
        };
    let Some(port) = packet.get(at..at + 2).filter(|_| has_ports && upper.fragment != Fragment::Later) else {
        return;
    };
    let before = u16::from_be_bytes([port[0], port[1]]);
    let Some(after) = other(before).filter(|after| *after != before) else { return };
    packet[at..at + 2].copy_from_slice(&after.to_be_bytes());
    if let Some(field) = field(&upper).and_then(|field| packet.get_mut(field)) {
        match (u16::from_be_bytes([field[0], field[1]]), upper.protocol) {
            // There is none.
            (0, protocol::UDP) => {}
            (covered, _) => write(field, upper.protocol, checksum::update(covered, before, after)),
        }
    }
}

/// Where a checksum over addresses stands, in protocols that have one.
fn field(upper: &UpperLayer) -> Option<Range<usize>> {
    let at = match upper.protocol {
        protocol::TCP => 16,
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP => 6,
        protocol::ICMPV6 => 2,
        // SCTP and ICMP for IPv4 leave the addresses out; of others nothing is known.
        _ => return None,
    };
    Some(upper.offset + at..upper.offset + at + 2)
}

fn write(field: &mut [u8], protocol: u8, checksum: u16) {
    let checksum = match (checksum, protocol) {
        (0, protocol::UDP) => u16::MAX,
        (checksum, _) => checksum,
    };
    field.copy_from_slice(&checksum.to_be_bytes());
}

fn sum(source: IpAddr, destination: IpAddr) -> u16 {
    [source, destination]
        .into_iter()
        .fold(Sum::ZERO, |sum, address| match address {
            IpAddr::V4(address) => sum.add_octets(&address.octets()),
            IpAddr::V6(address) => sum.add_octets(&address.octets()),
        })
        .folded()
}
