//! An IP header apart from its packet: what stands in front of ESP or AH and is not encrypted.
//!
//! ```text
//!   IPv4   │ header │ options │                                           ESP or AH │ …
//!   IPv6   │ header │ hop-by-hop │ destination options, routing header │  ESP or AH │ destination options │ …
//! ```
//!
//! RFC 4303 §3.1.1 and RFC 4302 §3.1.1 leave it open on which side destination options stand. Those in front of a routing
//! header, which every hop of the route reads (RFC 8200 §4.1), stay in front; the last ones, which the receiver alone
//! reads, are protected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::ip::{Ecn, Ipv4Header, Ipv6, Ipv6Header, Packet, checksum, protocol};
use wire::limits::IPV6_EXTENSION_HEADERS;

use crate::limits::HEADER_OCTETS;
use crate::{DropReason, Envelope, OuterHeader, PacketBuf};

/// A header with its options or extension headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    octets: [u8; HEADER_OCTETS],
    len: usize,
    /// Where it says what follows it.
    next_at: usize,
}

/// The two addresses of a packet, which are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    V4 { source: Ipv4Addr, destination: Ipv4Addr },
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

/// What a header says beside addresses, lengths, and what follows it; each version takes what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) traffic_class: u8,
    pub(crate) hop_limit: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) identification: u16,
    pub(crate) flow_label: u32,
}

impl Header {
    /// Makes a new header; what follows it is still to be said.
    pub(crate) fn new(addresses: Addresses, fields: Fields) -> Header {
        let (dscp, ecn) = (fields.traffic_class >> 2, Ecn::from_bits(fields.traffic_class));
        match addresses {
            Addresses::V4 { source, destination } => {
                let header = Ipv4Header {
                    dscp,
                    ecn,
                    total_length: 0,
                    identification: fields.identification,
                    dont_fragment: fields.dont_fragment,
                    ttl: fields.hop_limit,
                    protocol: protocol::NO_NEXT_HEADER,
                    source,
                    destination,
                };
                Header::of_fixed(&header.encode(), V4_NEXT_AT)
            }
            Addresses::V6 { source, destination } => {
                let header = Ipv6Header {
                    dscp,
                    ecn,
                    flow_label: fields.flow_label,
                    payload_length: 0,
                    next_header: protocol::NO_NEXT_HEADER,
                    hop_limit: fields.hop_limit,
                    source,
                    destination,
                };
                Header::of_fixed(&header.encode(), V6_NEXT_AT)
            }
        }
    }

    /// Takes the header of a packet off it, down to where ESP or AH is to stand.
    ///
    /// # Errors
    /// The packet is malformed, a fragment, or has longer extension headers than [`HEADER_OCTETS`].
    pub(crate) fn take_off(packet: &mut PacketBuf) -> Result<Header, DropReason> {
        if packet.as_slice().first().is_some_and(|first| first >> 4 == 6) {
            let view = Ipv6::new(packet.as_slice()).map_err(|_| DropReason::MalformedInner)?;
            let (front, total) = (end_of_front(view.octets())?, view.total_length());
            Header::cut(packet, front, total)
        } else {
            Header::take_off_base(packet)
        }
    }

    /// Takes the header of a packet off it, with its options but without its extension headers.
    ///
    /// # Errors
    /// The packet is malformed, or a fragment of an IPv4 packet.
    pub(crate) fn take_off_base(packet: &mut PacketBuf) -> Result<Header, DropReason> {
        match Packet::new(packet.as_slice()).map_err(|_| DropReason::MalformedInner)? {
            // RFC 4303 §3.3.4: only whole packets are protected so; whoever has fragments puts them together first.
            Packet::V4(view) if view.more_fragments() || view.fragment_offset() > 0 => {
                Err(DropReason::Fragment)
            }
            Packet::V4(view) => {
                let front = Front { len: view.header_len(), next_at: V4_NEXT_AT };
                let total = view.total_length();
                Header::cut(packet, front, total)
            }
            Packet::V6(view) => {
                let total = view.total_length();
                Header::cut(packet, V6_BASE, total)
            }
        }
    }

    /// Takes the header that a packet came under; `identification` stands in where the socket tells none.
    ///
    /// # Errors
    /// The extension headers contradict themselves or are longer than [`HEADER_OCTETS`].
    pub(crate) fn of_envelope(envelope: &Envelope<'_>, identification: u16) -> Result<Header, DropReason> {
        match envelope {
            Envelope::V4(packet) => {
                let mut header = Header::of_fixed(&packet.octets()[..packet.header_len()], V4_NEXT_AT);
                // What the host has put together says so no more.
                header.octets[6] &= V4_DONT_FRAGMENT;
                header.octets[7] = 0;
                Ok(header)
            }
            Envelope::V6 { header, extensions } => {
                let mut whole = Header::of_fixed(&header.encode(), V6_NEXT_AT);
                let len = whole.len + extensions.len();
                let room = whole.octets.get_mut(whole.len..len).ok_or(DropReason::Header)?;
                room.copy_from_slice(extensions);
                whole.next_at = last_of_chain(&whole.octets[..len])?;
                whole.len = len;
                Ok(whole)
            }
            Envelope::Datagram { source, destination, .. } => {
                Ok(Header::new(Addresses::of(*source, *destination), envelope.fields(identification)))
            }
        }
    }

    /// Tells what follows.
    pub(crate) fn protocol(&self) -> u8 {
        self.octets[self.next_at]
    }

    pub(crate) fn set_protocol(&mut self, protocol: u8) {
        self.octets[self.next_at] = protocol;
    }

    /// Gives the header's octets.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    pub(crate) fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.octets[..self.len]
    }

    /// Tells where in its octets the header says what follows it.
    pub(crate) fn next_at(&self) -> usize {
        self.next_at
    }

    /// Gives the options of an IPv4 header, the extension headers of an IPv6 header.
    pub(crate) fn behind_base(&self) -> &[u8] {
        let base = if self.is_v4() { Ipv4Header::LEN } else { Ipv6Header::LEN };
        self.octets().get(base..).unwrap_or_default()
    }

    /// Gives a plain IPv4 header options, which come in fours of octets and are 40 at most; `None` if that cannot be.
    pub(crate) fn set_options(&mut self, options: &[u8]) -> Option<()> {
        let fits = options.len() <= V4_OPTIONS_MAX && options.len().is_multiple_of(4);
        if !(fits && self.is_v4() && self.is_plain()) {
            return None;
        }
        self.octets.get_mut(self.len..self.len + options.len())?.copy_from_slice(options);
        self.len += options.len();
        self.octets[0] = 4 << 4 | (self.len / 4) as u8;
        Some(())
    }

    /// Tells whether the header has neither options nor extension headers.
    pub(crate) fn is_plain(&self) -> bool {
        self.behind_base().is_empty()
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.octets[0] >> 4 == 4
    }

    /// Gives the addresses in the fixed header.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::in_header(&self.octets, self.is_v4())
    }

    pub(crate) fn fields(&self) -> Fields {
        let octets = &self.octets;
        if self.is_v4() {
            Fields {
                traffic_class: octets[1],
                hop_limit: octets[8],
                dont_fragment: octets[6] & V4_DONT_FRAGMENT != 0,
                identification: u16::from_be_bytes([octets[4], octets[5]]),
                flow_label: 0,
            }
        } else {
            let first = u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
            Fields {
                traffic_class: (first >> 20) as u8,
                hop_limit: octets[7],
                // No router cuts an IPv6 packet up.
                dont_fragment: true,
                identification: 0,
                flow_label: first & FLOW_LABEL_MASK,
            }
        }
    }

    /// Gives what a socket's header has to say to be like this one.
    pub(crate) fn outer(&self) -> OuterHeader {
        let Fields { traffic_class, dont_fragment, hop_limit, .. } = self.fields();
        OuterHeader { traffic_class, dont_fragment, hop_limit: Some(hop_limit) }
    }

    /// Gives an IPv4 header an identification if it has none: what sends it would choose one, and AH covers it.
    pub(crate) fn identify(&mut self, identification: u16) {
        if self.is_v4() && self.octets[4..6] == [0, 0] {
            self.octets[4..6].copy_from_slice(&identification.to_be_bytes());
        }
    }

    /// Puts the header in front of what follows it, with the lengths and the checksum that result.
    ///
    /// # Errors
    /// The packet would be longer than its header can say, or than the buffer.
    pub(crate) fn put_on(mut self, packet: &mut PacketBuf) -> Result<(), DropReason> {
        self.set_payload_len(packet.len())?;
        packet.push_front(self.len).ok_or(DropReason::TooLong)?.copy_from_slice(self.octets());
        Ok(())
    }

    /// Says how many octets follow.
    pub(crate) fn set_payload_len(&mut self, octets: usize) -> Result<(), DropReason> {
        let counted = if self.is_v4() { self.len + octets } else { self.len - Ipv6Header::LEN + octets };
        let length = u16::try_from(counted).map_err(|_| DropReason::TooLong)?.to_be_bytes();
        if self.is_v4() {
            self.octets[2..4].copy_from_slice(&length);
            self.octets[10..12].fill(0);
            let checksum = checksum::internet(self.octets());
            self.octets[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            self.octets[4..6].copy_from_slice(&length);
        }
        Ok(())
    }

    /// Cuts a header off a packet of `total` octets; what is behind is no part of the packet.
    fn cut(packet: &mut PacketBuf, front: Front, total: usize) -> Result<Header, DropReason> {
        let mut octets = [0; HEADER_OCTETS];
        let (Some(room), Some(cut)) = (octets.get_mut(..front.len), packet.as_slice().get(..front.len))
        else {
            return Err(DropReason::Header);
        };
        room.copy_from_slice(cut);
        packet.truncate(total);
        packet.pull_front(front.len).ok_or(DropReason::MalformedInner)?;
        Ok(Header { octets, len: front.len, next_at: front.next_at })
    }

    fn of_fixed(front: &[u8], next_at: usize) -> Header {
        let mut octets = [0; HEADER_OCTETS];
        octets[..front.len()].copy_from_slice(front);
        Header { octets, len: front.len(), next_at }
    }
}

impl Addresses {
    /// Pairs two addresses of one family; [`Databases`](crate::Databases) refuses an SA between two.
    pub(crate) fn of(source: IpAddr, destination: IpAddr) -> Addresses {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4 { source, destination },
            (source, destination) => Addresses::V6 { source: in_v6(source), destination: in_v6(destination) },
        }
    }

    /// Reads them in the fixed part of a header.
    pub(crate) fn in_header(octets: &[u8; HEADER_OCTETS], is_v4: bool) -> Addresses {
        if is_v4 {
            let at = |at: usize| Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|nth| octets[at + nth]));
            Addresses::V4 { source: at(12), destination: at(16) }
        } else {
            let at = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|nth| octets[at + nth]));
            Addresses::V6 { source: at(8), destination: at(24) }
        }
    }

    pub(crate) fn source(&self) -> IpAddr {
        match *self {
            Addresses::V4 { source, .. } => source.into(),
            Addresses::V6 { source, .. } => source.into(),
        }
    }

    pub(crate) fn destination(&self) -> IpAddr {
        match *self {
            Addresses::V4 { destination, .. } => destination.into(),
            Addresses::V6 { destination, .. } => destination.into(),
        }
    }
}

/// How long the part of a packet is that stays in front, and where it says what follows.
#[derive(Clone, Copy)]
struct Front {
    len: usize,
    next_at: usize,
}

/// Finds where ESP or AH is to stand in an IPv6 packet.
fn end_of_front(packet: &[u8]) -> Result<Front, DropReason> {
    let (mut front, mut here) = (V6_BASE, V6_BASE);
    for _ in 0..=IPV6_EXTENSION_HEADERS {
        match packet.get(here.next_at) {
            Some(&(protocol::HOP_BY_HOP | protocol::ROUTING)) => {
                here = step_over(packet, here)?;
                front = here;
            }
            Some(&protocol::DESTINATION_OPTIONS) => here = step_over(packet, here)?,
            Some(&protocol::FRAGMENT) => return Err(DropReason::Fragment),
            Some(_) => return Ok(front),
            None => break,
        }
    }
    Err(DropReason::Header)
}

/// Finds where a chain of extension headers that fills `front` says what follows it.
fn last_of_chain(front: &[u8]) -> Result<usize, DropReason> {
    let mut here = V6_BASE;
    while here.len < front.len() {
        match front.get(here.next_at) {
            Some(&(protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS)) => {
                here = step_over(front, here)?;
            }
            Some(_) | None => return Err(DropReason::Header),
        }
    }
    Ok(here.next_at)
}

fn step_over(packet: &[u8], here: Front) -> Result<Front, DropReason> {
    let units = packet.get(here.len + 1).ok_or(DropReason::Header)?;
    let len = here.len + (usize::from(*units) + 1) * 8;
    if len > packet.len() {
        return Err(DropReason::Header);
    }
    Ok(Front { len, next_at: here.len })
}

fn in_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

const V4_NEXT_AT: usize = 9;
const V6_NEXT_AT: usize = 6;
const V6_BASE: Front = Front { len: Ipv6Header::LEN, next_at: V6_NEXT_AT };
const V4_OPTIONS_MAX: usize = 40;
const V4_DONT_FRAGMENT: u8 = 0x40;
const FLOW_LABEL_MASK: u32 = 0x000f_ffff;
