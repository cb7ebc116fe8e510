//! A tunnel's own device: the words for what it may be configured to be. How they are read is in
//! [`read::interface`](crate::read).

use std::net::IpAddr;

use crate::schema::Shape;
use crate::value::Unreadable;

/// A TUN device for the traffic of one or more tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The largest inner packet in octets that it takes; `None` is what our common device takes.
    pub mtu: Option<u16>,
    /// Its addresses, each with the length of its prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The network namespace that it is in, as `ip netns` names it; `None` is ours.
    pub namespace: Option<String>,
    /// The VRF that it belongs to.
    pub vrf: Option<String>,
}

pub(crate) const DEVICE_NAME: Shape<String> = Shape {
    words: "name",
    read: |text| {
        let is_name = (1..=LONGEST_NAME).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'/' && octet != b':')
            && text != "."
            && text != "..";
        is_name.then(|| text.to_owned()).ok_or_else(|| {
            Unreadable::new(
                format!("`{text}` is no name of a device"),
                format!("write 1 to {LONGEST_NAME} letters and digits, as in vpn0"),
            )
        })
    },
};

pub(crate) const NAMESPACE: Shape<String> = Shape {
    words: "name",
    read: |text| {
        let is_name = !text.is_empty() && !text.contains('/') && text != "." && text != "..";
        is_name.then(|| text.to_owned()).ok_or_else(|| {
            Unreadable::new(
                format!("`{text}` is no name of a network namespace"),
                "write one that `ip netns` lists",
            )
        })
    },
};

pub(crate) const DEVICE_MTU: Shape<u16> = Shape {
    words: "octets",
    read: |text| match text.parse() {
        Ok(octets) if octets >= SMALLEST_MTU => Ok(octets),
        _ => Err(Unreadable::new(
            format!("`{text}` is not a number of octets from {SMALLEST_MTU} to {}", u16::MAX),
            "",
        )),
    },
};

pub(crate) const DEVICE_ADDRESS: Shape<(IpAddr, u8)> = Shape {
    words: "address/length",
    read: |text| {
        let read = || {
            let (address, length) = text.split_once('/')?;
            let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (length <= longest).then_some((address, length))
        };
        read().ok_or_else(|| {
            Unreadable::new(
                format!("`{text}` is not an address with the length of its prefix"),
                "write it as 10.255.0.1/30",
            )
        })
    },
};

/// What every link of IPv6 must take (RFC 8200 §5); the kernel has no IPv6 on one that takes less.
pub(crate) const SMALLEST_MTU_OF_V6: u16 = 1280;

/// Octets that the kernel has for a name, without the zero behind it.
const LONGEST_NAME: usize = 15;

/// What every host of the internet must be able to receive (RFC 1122 §3.3.2).
const SMALLEST_MTU: u16 = 576;
