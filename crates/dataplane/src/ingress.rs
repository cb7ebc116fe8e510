//! The way in of a packet: from a socket to the TUN device.
//!
//! ```text
//!   1  train                 datagrams of one peer, back to back, as UDP_GRO gathered them
//!   2  demultiplex           IKE behind its marker, keepalive, or an ESP packet (RFC 3948 §2)
//!   3  SPI                   one array access
//!   4  open                  in place, in a buffer of its own, to which it is copied out of the train
//!   5  congestion            the outer header's report goes over to the inner one (RFC 6040 §4.2)
//!   6  coalesce              segments of a TCP stream into one super-packet
//!   7  write                 one writev to the TUN device, payloads where they lie
//! ```

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use ipsec::{InboundSa, Opened, PacketBuf, tunnel};
use sa::{Encapsulation, SaEvent, SaId, Spi};
use wire::esp;
use wire::ip::Ecn;
use wire::udp::Encapsulated;

use crate::activity::Telling;
use crate::device::{Carries, ReceiveBatch, Received, Socket, Tun};
use crate::limits::{LONGEST_PACKET, PACKET_BUFFERS};
use crate::offload::VnetHeader;
use crate::offload::coalesce::Coalescer;
use crate::shared::Batch;
use crate::{DropReason, IkeDatagram, PlaneEvent};

/// Receives, opens and delivers.
pub(crate) struct Ingress {
    received: ReceiveBatch,
    opener: Opener,
}

/// Packets that were opened, until [`Opener::flush`] writes the last of them.
struct Opener {
    packets: Vec<PacketBuf>,
    /// One buffer for a packet that none of the others takes.
    long_packet: [PacketBuf; 1],
    used: usize,
    coalescer: Coalescer,
    last_sa: Option<SaId>,
}

impl Ingress {
    /// Makes buffers for ESP packets of up to `usual` octets; longer ones are rare and share one buffer.
    pub(crate) fn new(usual: usize) -> Ingress {
        Ingress {
            received: ReceiveBatch::new(),
            opener: Opener {
                packets: (0..PACKET_BUFFERS).map(|_| PacketBuf::new(usual)).collect(),
                long_packet: [PacketBuf::new(LONGEST_PACKET)],
                used: 0,
                coalescer: Coalescer::default(),
                last_sa: None,
            },
        }
    }

    /// Receives one batch from a socket and carries it to the TUN device or to the daemon; gives its number of datagrams.
    ///
    /// # Errors
    /// Nothing was received: `WouldBlock`, or what the kernel has to say of the socket.
    pub(crate) fn receive<S: Socket>(
        &mut self,
        socket: &S,
        batch: &Batch<'_, S>,
        tun: &mut impl Tun,
    ) -> io::Result<usize> {
        let count = socket.receive(&mut self.received)?;
        for index in 0..count {
            let (received, octets) = self.received.datagram(index);
            let local = SocketAddr::new(received.destination, socket.bound().port());
            for datagram in octets.chunks(received.segment_size) {
                match socket.carries() {
                    Carries::Ike => tell_ike(batch, local, &received, datagram),
                    Carries::IkeAndEsp => match Encapsulated::classify(datagram) {
                        Ok(Encapsulated::Ike(message)) => tell_ike(batch, local, &received, message),
                        Ok(Encapsulated::Esp(packet)) => self.opener.open(packet, &received, batch, tun),
                        // RFC 3948 §4: a keepalive is for the NAT; whoever receives one ignores it.
                        Ok(Encapsulated::Keepalive) => {}
                        Err(_) => batch.drop(DropReason::MalformedDatagram),
                    },
                    Carries::Esp => self.opener.open(datagram, &received, batch, tun),
                    Carries::WholePackets => {}
                }
            }
        }
        self.opener.flush(batch, tun);
        Ok(count)
    }
}

impl Opener {
    fn open<S>(&mut self, packet: &[u8], received: &Received, batch: &Batch<'_, S>, tun: &mut impl Tun) {
        let Ok(header) = esp::Header::decode(packet) else {
            return batch.drop_by_tables(ipsec::DropReason::MalformedEsp);
        };
        let Some(sa) = batch.tables.inbound(Spi(header.spi.0)) else {
            return batch.drop_by_tables(ipsec::DropReason::UnknownSpi);
        };
        if self.used == self.packets.len() {
            self.flush(batch, tun);
        }
        let opened = match self.packets[self.used].copy_from(packet) {
            Some(()) => {
                let opened = open_in_place(sa, &mut self.packets[self.used], received);
                if opened.is_ok() {
                    self.used += 1;
                    let mut write = writer(tun, batch);
                    self.coalescer.push(self.used - 1, &self.packets, &mut write);
                }
                opened
            }
            None => self.open_long(sa, packet, received, batch, tun),
        };
        match opened {
            Ok(opened) => self.note(sa, opened, received, batch),
            Err(reason) => batch.drop_by_tables(reason),
        }
    }

    /// Opens a packet that outgrows the usual buffers, after everything before it.
    fn open_long<S>(
        &mut self,
        sa: &InboundSa,
        packet: &[u8],
        received: &Received,
        batch: &Batch<'_, S>,
        tun: &mut impl Tun,
    ) -> Result<Opened, ipsec::DropReason> {
        self.flush(batch, tun);
        let [buffer] = &mut self.long_packet;
        buffer.copy_from(packet).ok_or(ipsec::DropReason::TooLong)?;
        let opened = open_in_place(sa, buffer, received)?;
        writer(tun, batch)(VnetHeader::default(), &[IoSlice::new(buffer.as_slice())]);
        Ok(opened)
    }

    /// Tells the daemon what an authentic packet tells of its SA.
    fn note<S>(&mut self, sa: &InboundSa, opened: Opened, received: &Received, batch: &Batch<'_, S>) {
        let id = sa.id();
        if self.last_sa.replace(id) != Some(id) && batch.activity.note(id, batch.now) == Telling::Due {
            batch.shared.tell(PlaneEvent::Sa(SaEvent::Active { sa: id }));
        }
        if let Some(expiry) = opened.expiry {
            batch.shared.tell_expiry(id, expiry);
        }
        // RFC 7296 §2.23: only the newest packet tells where the peer is now. Without UDP no NAT can be in between.
        let outer = sa.outer();
        if opened.newest
            && outer.encapsulation == Encapsulation::Udp
            && received.source != outer.remote
            && batch.activity.note_move(id, batch.now) == Telling::Due
        {
            batch.shared.tell(PlaneEvent::Sa(SaEvent::PathChanged { sa: id, remote: received.source }));
        }
    }

    /// Writes what still waits for more of its stream; all buffers are free again.
    fn flush<S>(&mut self, batch: &Batch<'_, S>, tun: &mut impl Tun) {
        self.coalescer.flush(&self.packets, &mut writer(tun, batch));
        self.used = 0;
        self.last_sa = None;
    }
}

fn open_in_place(
    sa: &InboundSa,
    packet: &mut PacketBuf,
    received: &Received,
) -> Result<Opened, ipsec::DropReason> {
    let opened = sa.open(packet)?;
    tunnel::decapsulate_ecn(packet.as_mut_slice(), Ecn::from_bits(received.traffic_class))?;
    Ok(opened)
}

fn writer<'a, S>(
    tun: &'a mut impl Tun,
    batch: &'a Batch<'_, S>,
) -> impl FnMut(VnetHeader, &[IoSlice<'_>]) + 'a {
    |header, parts| {
        if let Err(error) = tun.send(header, parts) {
            tracing::debug!(%error, "the TUN device refused a packet");
            batch.drop(DropReason::TunRefused);
        }
    }
}

fn tell_ike<S>(batch: &Batch<'_, S>, local: SocketAddr, received: &Received, message: &[u8]) {
    let bytes = message.to_vec();
    batch.shared.tell_ike(IkeDatagram { local, remote: received.source, bytes });
}
