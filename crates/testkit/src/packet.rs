//! What travels: inner packets of a model, and the datagrams that carry them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crypto::Secret;
use ike::limits::NAT_T_PORT;
use sa::{AcquiredFlow, Cpi, Encapsulation, Esn, IpProtocol, Mode, Protection, Protocol, SelectorPair, Spi};

/// Which packets belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where they come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// Their protocol above IP.
    pub protocol: IpProtocol,
    /// Their source and destination port.
    pub ports: (u16, u16),
}

impl Flow {
    /// Makes a flow of UDP packets between two hosts.
    pub fn udp(source: IpAddr, destination: IpAddr) -> Flow {
        Flow { source, destination, protocol: IpProtocol::UDP, ports: (40_000, 7) }
    }

    /// Tells whether selectors of the sender's own view select the flow.
    pub fn leaves_by(&self, pair: &SelectorPair) -> bool {
        pair.local.selects(self.source, self.protocol, Some(self.ports.0))
            && pair.remote.selects(self.destination, self.protocol, Some(self.ports.1))
    }

    /// Tells whether selectors of the receiver's own view select the flow.
    pub fn arrives_by(&self, pair: &SelectorPair) -> bool {
        pair.remote.selects(self.source, self.protocol, Some(self.ports.0))
            && pair.local.selects(self.destination, self.protocol, Some(self.ports.1))
    }

    /// Describes the flow as a trap policy does.
    pub fn acquired(&self) -> AcquiredFlow {
        AcquiredFlow {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            ports: Some(self.ports),
        }
    }
}

/// One inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Tells it from every other packet of the run.
    pub number: u64,
    /// Its flow.
    pub flow: Flow,
    /// Its length in octets.
    pub octets: u64,
}

/// A packet as null cryptography seals it: it opens only where every parameter of the SA is the same.
#[derive(Clone)]
pub struct Sealed {
    /// ESP or AH.
    pub protocol: Protocol,
    /// Names the receiver's SA.
    pub spi: Spi,
    /// The SA's key, which stands for whatever an ICV would prove.
    pub key: Arc<Secret<Vec<u8>>>,
    /// The SA's algorithms.
    pub protection: Protection,
    /// The width of the SA's sequence numbers.
    pub esn: Esn,
    /// The SA's mode.
    pub mode: Mode,
    /// The index under which the packet is compressed, if it is.
    pub compression: Option<Cpi>,
    /// What lies between the outer IP header and ESP.
    pub encapsulation: Encapsulation,
    /// AH around it.
    pub around: Option<Around>,
    /// What is inside, with the addresses that it had where it was sealed: what its checksums cover.
    pub packet: Packet,
}

/// AH around a packet of ESP.
#[derive(Clone)]
pub struct Around {
    /// Names the receiver's SA.
    pub spi: Spi,
    /// The SA's key.
    pub key: Arc<Secret<Vec<u8>>>,
    /// The SA's algorithm.
    pub protection: Protection,
    /// The width of the SA's sequence numbers.
    pub esn: Esn,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} with packet {}", self.protocol, self.spi, self.packet.number)
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its sender's address and port; without UDP the port says nothing.
    pub source: SocketAddr,
    /// Its receiver's address and port; without UDP the port says nothing.
    pub destination: SocketAddr,
    /// What it carries.
    pub cargo: Cargo,
}

/// What a datagram carries.
#[derive(Clone, Debug)]
pub enum Cargo {
    /// An IKE message or a fragment of one, from its ISAKMP header on.
    Ike(Vec<u8>),
    /// The octet that keeps a NAT's mapping alive (RFC 3948 §2.3).
    Keepalive,
    /// A protected packet.
    Esp(Sealed),
    /// An unprotected packet.
    Plain(Packet),
}

impl Parcel {
    /// Gives the length of the IP packet that it makes, outer headers included, when its sender lets it go.
    pub fn octets(&self) -> usize {
        match &self.cargo {
            Cargo::Ike(bytes) if self.source.port() == NAT_T_PORT => {
                IP_AND_UDP + NON_ESP_MARKER + bytes.len()
            }
            Cargo::Ike(bytes) => IP_AND_UDP + bytes.len(),
            Cargo::Keepalive => IP_AND_UDP + 1,
            Cargo::Esp(sealed) => IP_AND_UDP + ESP_OVERHEAD + sealed.packet.octets as usize,
            Cargo::Plain(packet) => packet.octets as usize,
        }
    }
}

impl Cargo {
    /// Tells whether it belongs to the negotiation, and not to the traffic that it is for.
    pub(crate) fn is_of_ike(&self) -> bool {
        match self {
            Cargo::Ike(_) | Cargo::Keepalive => true,
            Cargo::Esp(_) | Cargo::Plain(_) => false,
        }
    }

    /// Tells whether a UDP header carries it, so that a NAT has ports to translate.
    pub fn has_ports(&self) -> bool {
        match self {
            Cargo::Ike(_) | Cargo::Keepalive => true,
            Cargo::Esp(sealed) => sealed.encapsulation == Encapsulation::Udp,
            Cargo::Plain(_) => false,
        }
    }
}

const IP_AND_UDP: usize = 28;
const NON_ESP_MARKER: usize = 4;
const ESP_OVERHEAD: usize = 60;
