//! What each mode protects of an inner packet, and how the packet comes to be again (RFC 4303 §3.1, RFC 7402 appendix B).
//!
//! ```text
//!               in the clear                         protected
//!   tunnel      a new header                         │ header │ options │ TCP │ …
//!   transport   the packet's own header and options  │ TCP │ …
//!   BEET        a new header                         │ pseudo header with the options, if any │ TCP │ …
//! ```
//!
//! Of a packet in BEET mode nothing is sent that both ends know, which is its addresses; all else that its header says
//! travels in the new one. IPv6 extension headers are protected there.

use sa::{Direction, Encapsulation, OriginalAddresses, Outer, SaSpec};
use wire::ip::protocol;

use crate::copying::{Copying, Inner, OuterHeader};
use crate::header::{Addresses, Fields, Header};
use crate::place::Place;
use crate::shared_ports::Seat;
use crate::{DropReason, Envelope, PacketBuf, beet, limits, nat_checksum};

/// How one SA wraps packets.
#[derive(Debug)]
pub(crate) enum Mode {
    Tunnel(Copying),
    Transport(Option<Box<BehindNat>>),
    Beet(Copying, Box<Addresses>),
}

/// What transport mode in UDP knows of addresses, which a NAT may change at any time.
#[derive(Debug)]
pub(crate) struct BehindNat {
    /// Those that the SA was negotiated for, where that is one pair: whatever becomes of the outer ones, connections keep
    /// these.
    hosts: Option<Addresses>,
    /// Those that the peer's checksums cover, if it has told.
    original: Option<OriginalAddresses>,
    /// Who of those behind the NAT the peer is, where the hosts are one pair.
    seat: Option<Seat>,
}

/// What is to stand in front of the protected part.
#[derive(Debug)]
pub(crate) enum Front {
    /// A header that is still to be made, between the SA's outer addresses.
    New(OuterHeader),
    /// The packet's own.
    Own(Header),
}

impl Mode {
    /// Takes a specification's mode, and in transport mode through a NAT the peer's seat there; `None` if the selectors of
    /// a BEET SA leave its inner addresses open.
    pub(crate) fn new(spec: &SaSpec, seat: Option<Seat>) -> Option<Mode> {
        let copying = Copying::new(&spec.handling);
        Some(match spec.mode {
            sa::Mode::Tunnel => Mode::Tunnel(copying),
            sa::Mode::Transport => Mode::Transport(match spec.outer.encapsulation {
                Encapsulation::None => None,
                Encapsulation::Udp => Some(Box::new(BehindNat {
                    hosts: inner_addresses(spec),
                    original: spec.handling.original,
                    seat,
                })),
            }),
            sa::Mode::Beet => Mode::Beet(copying, Box::new(inner_addresses(spec)?)),
        })
    }

    /// Leaves in `packet` what is to be protected; gives its protocol, and what is to stand in front of it.
    ///
    /// # Errors
    /// The packet is not a whole IP packet, or one that this mode does not take.
    pub(crate) fn strip(&self, packet: &mut PacketBuf) -> Result<(u8, Front), DropReason> {
        match self {
            Mode::Tunnel(copying) => {
                let inner = Inner::of(packet.as_slice())?;
                Ok((inner.protocol, Front::New(copying.outward(&inner))))
            }
            Mode::Transport(nat) => {
                if let Some(seat) = nat.as_ref().and_then(|nat| nat.seat.as_ref()) {
                    seat.outward(packet.as_mut_slice());
                }
                let header = Header::take_off(packet)?;
                let hosts = nat.as_ref().and_then(|nat| nat.hosts);
                let front = if header.is_plain() && hosts == Some(header.addresses()) {
                    Front::New(header.outer())
                } else {
                    Front::Own(header)
                };
                Ok((header.protocol(), front))
            }
            Mode::Beet(copying, addresses) => {
                let inner = Inner::of(packet.as_slice())?;
                let header = Header::take_off_base(packet)?;
                if header.addresses() != **addresses {
                    return Err(DropReason::OutsideSa);
                }
                let hop_limit = Some(header.fields().hop_limit);
                let front = Front::New(OuterHeader { hop_limit, ..copying.outward(&inner) });
                if header.is_plain() {
                    return Ok((header.protocol(), front));
                }
                beet::push_options(packet, header.protocol(), header.behind_base())?;
                Ok((protocol::BEET_PSEUDO_HEADER, front))
            }
        }
    }

    /// Makes a whole packet of what was protected; `identification` stands in where the envelope tells none.
    ///
    /// # Errors
    /// This mode does not carry the protocol, or the headers contradict themselves.
    pub(crate) fn restore(
        &self,
        packet: &mut PacketBuf,
        protocol: u8,
        envelope: &Envelope<'_>,
        identification: u16,
    ) -> Result<(), DropReason> {
        match self {
            Mode::Tunnel(_) => match (protocol, packet.as_slice().first().map(|first| first >> 4)) {
                (protocol::IPV4, Some(4)) | (protocol::IPV6, Some(6)) => Ok(()),
                (protocol::IPV4 | protocol::IPV6, _) => Err(DropReason::MalformedInner),
                (_, _) => Err(DropReason::NextHeader),
            },
            Mode::Transport(nat) => {
                let hosts = nat.as_ref().and_then(|nat| nat.hosts);
                let mut header = match (envelope, hosts) {
                    (Envelope::Datagram { .. }, Some(hosts)) => {
                        Header::new(hosts, envelope.fields(identification))
                    }
                    (_, _) => Header::of_envelope(envelope, identification)?,
                };
                header.set_protocol(upper_layer(protocol)?);
                header.put_on(packet)?;
                match nat.as_ref().map(|nat| &nat.original) {
                    Some(Some(original)) => nat_checksum::repair(packet.as_mut_slice(), original),
                    Some(None) => nat_checksum::renew(packet.as_mut_slice()),
                    None => Ok(()),
                }
            }
            Mode::Beet(_, addresses) => {
                let fields = envelope.fields(identification);
                let mut header = Header::new(**addresses, fields);
                let mut protocol = protocol;
                if protocol == protocol::BEET_PSEUDO_HEADER {
                    protocol = beet::pull_options(packet, &mut header)?;
                }
                header.set_protocol(match protocol {
                    // Right behind an IPv6 header they are what they always are.
                    protocol::HOP_BY_HOP | protocol::FRAGMENT if !header.is_v4() => protocol,
                    protocol => upper_layer(protocol)?,
                });
                header.put_on(packet)
            }
        }
    }

    /// Tells a packet that was opened, and is of the SA's traffic, apart from those of others behind the same NAT.
    pub(crate) fn tell_apart(&self, packet: &mut PacketBuf) {
        if let Mode::Transport(Some(nat)) = self
            && let Some(seat) = &nat.seat
        {
            seat.inward(packet.as_mut_slice());
        }
    }

    /// Carries over to the inner packet what the outer header's traffic class has to say.
    ///
    /// # Errors
    /// The packet must be dropped: see [`Copying::inward`].
    pub(crate) fn copy_inward(&self, packet: &mut PacketBuf, traffic_class: u8) -> Result<(), DropReason> {
        match self {
            Mode::Tunnel(copying) => copying.inward(packet.as_mut_slice(), traffic_class),
            // The inner header has been made of the outer one.
            Mode::Transport(_) | Mode::Beet(..) => Ok(()),
        }
    }
}

impl Front {
    /// Gives what a socket's own header must say to be this one; `None` if it cannot be.
    pub(crate) fn as_plain(&self, place: &Place) -> Option<OuterHeader> {
        match self {
            Front::New(header) => Some(*header),
            Front::Own(header) => {
                let outer = place.outer();
                let between = Addresses::of(outer.local.ip(), outer.remote.ip());
                (header.is_plain() && header.addresses() == between).then(|| header.outer())
            }
        }
    }

    /// Gives the header itself.
    pub(crate) fn into_header(self, outer: &Outer, identification: u16) -> Header {
        match self {
            Front::New(OuterHeader { traffic_class, dont_fragment, hop_limit }) => {
                let hop_limit = hop_limit.unwrap_or(limits::HOP_LIMIT);
                let fields =
                    Fields { traffic_class, hop_limit, dont_fragment, identification, flow_label: 0 };
                Header::new(Addresses::of(outer.local.ip(), outer.remote.ip()), fields)
            }
            Front::Own(header) => header,
        }
    }
}

/// The one pair of addresses of a BEET SA, in the order of its packets.
fn inner_addresses(spec: &SaSpec) -> Option<Addresses> {
    let first = spec.selectors.first()?;
    let (local, remote) = (first.local.addresses, first.remote.addresses);
    let same =
        spec.selectors.iter().all(|pair| (pair.local.addresses, pair.remote.addresses) == (local, remote));
    let hosts = local.start() == local.end() && remote.start() == remote.end();
    (same && hosts).then(|| match spec.direction {
        Direction::Outbound => Addresses::of(local.start(), remote.start()),
        Direction::Inbound => Addresses::of(remote.start(), local.start()),
    })
}

/// Refuses what can be no upper layer: headers that stand in front of ESP only, and compression that nobody agreed on.
fn upper_layer(protocol: u8) -> Result<u8, DropReason> {
    match protocol {
        protocol::HOP_BY_HOP | protocol::FRAGMENT | protocol::BEET_PSEUDO_HEADER | protocol::IPCOMP => {
            Err(DropReason::NextHeader)
        }
        protocol => Ok(protocol),
    }
}
