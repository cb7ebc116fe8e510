//! GRE packets, where the kernel has no devices for them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketType, bind, recv, sendto, socket,
    sockopt,
};

use crate::{Failure, Namespace, Result};

/// One end of a GRE tunnel without a kernel that knows GRE (RFC 2784): a raw socket of its protocol.
#[derive(Debug)]
pub struct Gre(OwnedFd);

impl Gre {
    /// Opens an end in a namespace, at one of its IPv4 addresses.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the socket.
    pub fn open(inside: &Namespace, address: IpAddr) -> Result<Gre> {
        inside.inside(|| {
            let gre = Protocol::from_raw(PROTOCOL);
            let socket =
                socket(AddressFamily::INET, SocketType::RAW, Some(gre)).map_err(Failure::at("GRE"))?;
            bind(&socket, &SocketAddr::new(address, 0)).map_err(Failure::at(address))?;
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))
                .map_err(Failure::at("a timeout"))?;
            Ok(Gre(socket))
        })
    }

    /// Sends a message to the other end.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn send(&self, to: IpAddr, message: &[u8]) -> Result<()> {
        let packet = [&HEADER[..], message].concat();
        sendto(&self.0, &packet, SendFlags::empty(), &SocketAddr::new(to, 0))
            .map(drop)
            .map_err(Failure::at("a GRE packet is not sent"))
    }

    /// Gives what the next packet carries.
    ///
    /// # Errors
    ///
    /// When none comes, or one that is shorter than its headers.
    pub fn receive(&self) -> Result<Vec<u8>> {
        let mut room = [0; 2000];
        let (_, octets) =
            recv(&self.0, &mut room[..], RecvFlags::empty()).map_err(Failure::at("no GRE packet came"))?;
        let message = room.get(IP_HEADER + HEADER.len()..octets);
        message.map(<[u8]>::to_vec).ok_or_else(|| Failure::new("a GRE packet was cut short"))
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const IP_HEADER: usize = 20;
/// No checksum, no key, no sequence number; IPv4 inside.
const HEADER: [u8; 4] = [0, 0, 0x08, 0x00];
const PROTOCOL: RawProtocol = std::num::NonZeroU32::new(47).expect("it is 47");
