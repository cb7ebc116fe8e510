//! What is known of the IP header that a protected packet came under.
//!
//! ```text
//!   raw IPv4 socket    the whole packet
//!   raw IPv6 socket    the fields of the header and, where asked for, the extension headers; not the header itself
//!   UDP socket         addresses, traffic class, hop limit
//! ```
//!
//! Tunnel mode asks for the traffic class and nothing else. Transport and BEET mode make the inner packet's header out of
//! this one, and AH authenticates it.

use std::net::IpAddr;

use wire::ip::{Ecn, Ipv4, Ipv6Header};

use crate::header::Fields;

/// The IP header around an ESP or AH packet that arrived, as far as its socket tells it.
#[derive(Clone, Copy, Debug)]
pub enum Envelope<'a> {
    /// The whole packet, from its IPv4 header on.
    V4(Ipv4<&'a [u8]>),
    /// An IPv6 header, and what stood between it and ESP or AH.
    V6 {
        /// The header; its payload length is not looked at. Its next header is the first of the extension headers or, if
        /// there are none, ESP or AH.
        header: Ipv6Header,
        /// The extension headers, one after the other.
        extensions: &'a [u8],
    },
    /// What a UDP socket tells.
    Datagram {
        /// The sender's address.
        source: IpAddr,
        /// Our address.
        destination: IpAddr,
        /// DSCP and ECN.
        traffic_class: u8,
        /// Time to live or hop limit.
        hop_limit: u8,
    },
}

impl Envelope<'_> {
    /// Gives DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        match self {
            Envelope::V4(packet) => class(packet.dscp(), packet.ecn()),
            Envelope::V6 { header, .. } => class(header.dscp, header.ecn),
            Envelope::Datagram { traffic_class, .. } => *traffic_class,
        }
    }
}

impl Envelope<'_> {
    /// Gives what the header says beside the addresses; `identification` stands in where the socket tells none.
    pub(crate) fn fields(&self, identification: u16) -> Fields {
        let traffic_class = self.traffic_class();
        match self {
            Envelope::V4(packet) => Fields {
                traffic_class,
                hop_limit: packet.ttl(),
                dont_fragment: packet.dont_fragment(),
                identification: packet.identification(),
                flow_label: 0,
            },
            Envelope::V6 { header, .. } => Fields {
                traffic_class,
                hop_limit: header.hop_limit,
                // No router cuts an IPv6 packet up.
                dont_fragment: true,
                identification,
                flow_label: header.flow_label,
            },
            Envelope::Datagram { hop_limit, .. } => Fields {
                traffic_class,
                hop_limit: *hop_limit,
                dont_fragment: false,
                identification,
                flow_label: 0,
            },
        }
    }
}

fn class(dscp: u8, ecn: Ecn) -> u8 {
    dscp << 2 | ecn.to_bits()
}
