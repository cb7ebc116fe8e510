//! What a security policy looks at in a packet (RFC 4301 §4.4.1.1).

use core::net::IpAddr;

use super::{Fragment, Packet, protocol};
use crate::Malformed;
use crate::reader::Reader;

/// A packet's addresses, protocol and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// What the packet carries, after any IPv6 extension headers.
    pub protocol: u8,
    /// What more can be told apart.
    pub ports: Ports,
}

/// What a packet's protocol has to tell its flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// TCP, UDP, UDP-Lite, DCCP, SCTP.
    Known {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// The message's type.
        icmp_type: u8,
        /// Its code.
        code: u8,
    },
    /// IPv6 mobility (RFC 6275 §6.1.1).
    Mobility {
        /// The message's type.
        header_type: u8,
    },
    /// The protocol has none; any selector that wants some matches no such packet.
    Absent,
    /// There may be some, but they cannot be seen: a fragment other than the first.
    Opaque,
}

impl Flow {
    /// Reads the flow that the packet at the front of `bytes` belongs to.
    ///
    /// # Errors
    /// When an IP header cannot be read, or the packet ends before its ports do.
    pub fn of(bytes: &[u8]) -> Result<Flow, Malformed> {
        Flow::of_packet(&Packet::new(bytes)?)
    }

    /// Reads the flow that a packet belongs to whose header has been checked.
    ///
    /// # Errors
    /// When an extension header cannot be read, or the packet ends before its ports do.
    pub fn of_packet<Bytes: AsRef<[u8]>>(packet: &Packet<Bytes>) -> Result<Flow, Malformed> {
        let upper_layer = packet.upper_layer()?;
        let ports = match upper_layer.fragment {
            Fragment::Later => Ports::Opaque,
            Fragment::Whole | Fragment::First => {
                Ports::decode(upper_layer.protocol, &packet.octets()[upper_layer.offset..])?
            }
        };
        let (source, destination) = (packet.source(), packet.destination());
        Ok(Flow { source, destination, protocol: upper_layer.protocol, ports })
    }

    /// The flow of the answers.
    #[must_use]
    pub fn reversed(&self) -> Flow {
        let ports = match self.ports {
            Ports::Known { source, destination } => Ports::Known { source: destination, destination: source },
            other => other,
        };
        Flow { source: self.destination, destination: self.source, protocol: self.protocol, ports }
    }

    /// The sender's port, of protocols that have ports, when it can be seen.
    pub fn source_port(&self) -> Option<u16> {
        match self.ports {
            Ports::Known { source, .. } => Some(source),
            Ports::Icmp { .. } | Ports::Mobility { .. } | Ports::Absent | Ports::Opaque => None,
        }
    }

    /// The receiver's port, of protocols that have ports, when it can be seen.
    pub fn destination_port(&self) -> Option<u16> {
        match self.ports {
            Ports::Known { destination, .. } => Some(destination),
            Ports::Icmp { .. } | Ports::Mobility { .. } | Ports::Absent | Ports::Opaque => None,
        }
    }
}

impl Ports {
    /// Reads the front of a transport header.
    fn decode(protocol: u8, segment: &[u8]) -> Result<Ports, Malformed> {
        let mut reader = Reader::new("transport header", segment);
        Ok(match protocol {
            protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP | protocol::SCTP => {
                Ports::Known {
                    source: reader.u16("Source Port")?,
                    destination: reader.u16("Destination Port")?,
                }
            }
            protocol::ICMP | protocol::ICMPV6 => {
                Ports::Icmp { icmp_type: reader.u8("Type")?, code: reader.u8("Code")? }
            }
            protocol::MOBILITY => {
                reader.array::<2>("Payload Proto and Header Len")?;
                Ports::Mobility { header_type: reader.u8("MH Type")? }
            }
            _ => Ports::Absent,
        })
    }
}
