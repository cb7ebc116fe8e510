//! The way in of a packet: from a socket to the TUN device.
//!
//! ```text
//!   1  train                 datagrams of one peer, back to back, as UDP_GRO gathered them
//!   2  demultiplex           IKE behind its marker, keepalive, or an ESP packet (RFC 3948 §2); ESP or AH by itself
//!   3  SPI                   one array access
//!   4  open                  in place, in a buffer of its own, to which it is copied out of the train
//!   5  put together          fragments, where the SA's selectors look at ports; they go on as fragments
//!   6  segment size          what TCP announces as it opens a connection fits the path of the answers, too
//!   7  coalesce              segments of a TCP stream into one super-packet
//!   8  write                 one writev to the TUN device, payloads where they lie
//! ```

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use ipsec::{
    Admitted, Belief, Content, Envelope, InboundSa, Opened, PacketBuf, Refused, TooBigReport, Verdict, Way,
};
use sa::{DeviceId, Encapsulation, Protocol, SaEvent, Spi};
use wire::ip::{Flow, IcmpError, clamp_mss, opens_connection, protocol};
use wire::udp::Encapsulated;
use wire::{ah, esp};

use crate::activity::{Recent, Telling};
use crate::audit::DroppedArrival;
use crate::device::{Carries, ReceiveBatch, Received, Socket, Tun, Tuns};
use crate::limits::{LONGEST_PACKET, PACKET_BUFFERS};
use crate::offload::coalesce::Coalescer;
use crate::offload::{Joins, VnetHeader};
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
    /// Where the packets that wait go to.
    device: Option<DeviceId>,
    recent: Recent,
}

impl Ingress {
    /// Makes buffers for ESP packets of up to `usual` octets; longer ones are rare and share one buffer.
    pub(crate) fn new(usual: usize, joins: Joins) -> Ingress {
        Ingress {
            received: ReceiveBatch::new(),
            opener: Opener {
                packets: (0..PACKET_BUFFERS).map(|_| PacketBuf::new(usual)).collect(),
                long_packet: [PacketBuf::new(LONGEST_PACKET)],
                used: 0,
                coalescer: Coalescer::new(joins),
                device: None,
                recent: Recent::new(),
            },
        }
    }

    /// Receives one batch from a socket and carries it to the TUN device or to the daemon; gives its number of datagrams.
    /// `begin` gives what holds for the batch.
    ///
    /// # Errors
    /// Nothing was received: `WouldBlock`, or what the kernel has to say of the socket.
    pub(crate) fn receive<'a, S: Socket + 'a>(
        &mut self,
        socket: &S,
        begin: impl FnOnce() -> Batch<'a, S>,
        tuns: &mut Tuns<impl Tun>,
    ) -> io::Result<usize> {
        let count = socket.receive(&mut self.received)?;
        // Only now: what was ordered before a packet came holds for it.
        let batch = &begin();
        if let Carries::IkeAndEsp | Carries::Bare(Protocol::Esp) = socket.carries() {
            self.ask_for_keys(count, batch);
        }
        for index in 0..count {
            let (received, octets) = self.received.datagram(index);
            let local = SocketAddr::new(received.destination, socket.bound().port());
            for datagram in octets.chunks(received.segment_size) {
                match socket.carries() {
                    Carries::Ike => tell_ike(batch, local, &received, datagram),
                    Carries::IkeAndEsp => match Encapsulated::classify(datagram) {
                        Ok(Encapsulated::Ike(message)) => tell_ike(batch, local, &received, message),
                        Ok(Encapsulated::Esp(packet)) => {
                            let arrived = Arrived {
                                protocol: Protocol::Esp,
                                packet,
                                source: received.source,
                                envelope: received.datagram_envelope(),
                            };
                            self.opener.open(&arrived, batch, tuns);
                        }
                        // RFC 3948 §4: a keepalive is for the NAT; whoever receives one ignores it.
                        Ok(Encapsulated::Keepalive) => {}
                        Err(_) => batch.drop(DropReason::MalformedDatagram),
                    },
                    Carries::Bare(protocol) => {
                        let Some(envelope) = self.received.bare_envelope(index, protocol) else {
                            batch.drop_by_tables(ipsec::DropReason::Header);
                            continue;
                        };
                        let source = received.source;
                        let arrived = Arrived { protocol, packet: datagram, source, envelope };
                        self.opener.open(&arrived, batch, tuns);
                    }
                    Carries::WholePackets => {}
                    Carries::Errors => hear_of_path(socket.bound(), datagram, batch),
                }
            }
        }
        self.opener.flush(batch, tuns);
        Ok(count)
    }

    /// Asks for the keys of every train but the first, which is not worth it: a gateway with many peers waits for memory
    /// longer than it decrypts.
    fn ask_for_keys<S>(&self, count: usize, batch: &Batch<'_, S>) {
        let mut last = None;
        for index in 0..count {
            let (_, octets) = self.received.datagram(index);
            let spi = esp::Header::decode(octets).ok().map(|header| header.spi);
            if index > 0
                && spi != last
                && let Some(Ok(sa)) = spi.map(|spi| batch.tables.inbound(Protocol::Esp, spi))
            {
                sa.prefetch();
            }
            last = spi;
        }
    }
}

/// A packet to be opened, and where it came from.
struct Arrived<'a> {
    protocol: Protocol,
    /// From the SPI of ESP, or the first octet of AH, on.
    packet: &'a [u8],
    source: SocketAddr,
    envelope: Envelope<'a>,
}

impl Arrived<'_> {
    fn as_dropped(&self) -> DroppedArrival {
        let (spi, sequence) = match self.protocol {
            Protocol::Esp => esp::Header::decode(self.packet).map(|header| (header.spi, header.sequence)),
            Protocol::Ah => ah::Header::decode(self.packet).map(|header| (header.spi, header.sequence)),
        }
        .ok()
        .unzip();
        let (destination, flow_label) = match &self.envelope {
            Envelope::V4(packet) => (packet.destination().into(), 0),
            Envelope::V6 { header, .. } => (header.destination.into(), header.flow_label),
            Envelope::Datagram { destination, .. } => (*destination, 0),
        };
        DroppedArrival { source: self.source.ip(), destination, spi, sequence, flow_label }
    }

    fn spi(&self) -> Result<Spi, ipsec::DropReason> {
        match self.protocol {
            Protocol::Esp => esp::Header::decode(self.packet)
                .map(|header| header.spi)
                .map_err(|_| ipsec::DropReason::MalformedEsp),
            Protocol::Ah => ah::Header::decode(self.packet)
                .map(|header| header.spi)
                .map_err(|_| ipsec::DropReason::MalformedAh),
        }
    }
}

impl Opener {
    fn open<S>(&mut self, arrived: &Arrived<'_>, batch: &Batch<'_, S>, tuns: &mut Tuns<impl Tun>) {
        let sa = match arrived.spi().and_then(|spi| batch.tables.inbound(arrived.protocol, spi)) {
            Ok(sa) => sa,
            Err(reason) => return batch.drop_arrival(reason, || arrived.as_dropped()),
        };
        if self.used == self.packets.len() {
            self.flush(batch, tuns);
        }
        let opened = match self.packets[self.used].copy_from(arrived.packet) {
            Some(()) => {
                let opened = batch.tables.open(sa, &mut self.packets[self.used], &arrived.envelope);
                if let Ok(admitted) = &opened {
                    self.deliver(admitted, batch, tuns);
                }
                opened
            }
            None => self.open_long(sa, arrived, batch, tuns),
        };
        match opened {
            Ok(admitted) => self.note(&admitted, arrived, batch),
            Err(Refused { reason, wrapper }) => {
                tell_wrapper(wrapper, batch);
                if reason == ipsec::DropReason::Dummy {
                    note_life(sa, batch);
                }
                batch.drop_arrival(reason, || arrived.as_dropped());
            }
        }
    }

    /// Lets the packet that was just opened go on, or wait for more of its stream or of itself.
    fn deliver<S>(&mut self, admitted: &Admitted<'_>, batch: &Batch<'_, S>, tuns: &mut Tuns<impl Tun>) {
        let (sa, packet) = (admitted.sa, &mut self.packets[self.used]);
        if admitted.opened.content == Content::Fragment {
            return put_together(packet.as_slice(), sa, batch, tuns);
        }
        clamp(packet.as_mut_slice(), sa, batch);
        self.turn_to(sa.device(), batch, tuns);
        self.used += 1;
        let mut write = writer(tuns.of(self.device), batch);
        self.coalescer.push(self.used - 1, &self.packets, &mut write);
    }

    /// Opens a packet that outgrows the usual buffers, after everything before it.
    fn open_long<'a, S>(
        &mut self,
        sa: &'a InboundSa,
        arrived: &Arrived<'_>,
        batch: &'a Batch<'_, S>,
        tuns: &mut Tuns<impl Tun>,
    ) -> Result<Admitted<'a>, Refused<'a>> {
        self.flush(batch, tuns);
        let [buffer] = &mut self.long_packet;
        let too_long = Refused { reason: ipsec::DropReason::TooLong, wrapper: None };
        buffer.copy_from(arrived.packet).ok_or(too_long)?;
        let admitted = batch.tables.open(sa, buffer, &arrived.envelope)?;
        if admitted.opened.content == Content::Fragment {
            put_together(buffer.as_slice(), admitted.sa, batch, tuns);
        } else {
            let mut write = writer(tuns.of(admitted.sa.device()), batch);
            write(VnetHeader::default(), &[IoSlice::new(buffer.as_slice())]);
        }
        Ok(admitted)
    }

    /// Tells the daemon what an authentic packet tells of its SA.
    fn note<S>(&mut self, admitted: &Admitted<'_>, arrived: &Arrived<'_>, batch: &Batch<'_, S>) {
        let Admitted { sa, opened, wrapper } = admitted;
        let id = sa.id();
        if self.recent.is_due(id, batch.now) && batch.activity.note(id, batch.now) == Telling::Due {
            batch.shared.tell(PlaneEvent::Sa(SaEvent::Active { sa: id }));
        }
        if let Some(expiry) = opened.expiry {
            batch.shared.tell_expiry(id, expiry);
        }
        tell_wrapper(*wrapper, batch);
        // RFC 7296 §2.23: only the newest packet tells where the peer is now. Without UDP no NAT can be in between, and a
        // packet from which somebody took UDP away tells no port.
        let outer = sa.outer();
        let tells_port = matches!(arrived.envelope, Envelope::Datagram { .. });
        if opened.newest
            && outer.encapsulation == Encapsulation::Udp
            && tells_port
            && !is_same_place(arrived.source, outer.remote)
            && batch.activity.note_move(id, batch.now) == Telling::Due
        {
            batch.shared.tell(PlaneEvent::Sa(SaEvent::PathChanged { sa: id, remote: arrived.source }));
        }
    }

    /// Sees to it that only packets of one device wait; the one that was just opened, to be the next, is of `device`.
    fn turn_to<S>(&mut self, device: Option<DeviceId>, batch: &Batch<'_, S>, tuns: &mut Tuns<impl Tun>) {
        if self.device == device {
            return;
        }
        let next = self.used;
        self.flush(batch, tuns);
        self.packets.swap(0, next);
        self.device = device;
    }

    /// Writes what still waits for more of its stream; all buffers are free again.
    fn flush<S>(&mut self, batch: &Batch<'_, S>, tuns: &mut Tuns<impl Tun>) {
        self.coalescer.flush(&self.packets, &mut writer(tuns.of(self.device), batch));
        self.used = 0;
    }
}

/// Tells the daemon which limit the SA around another one has reached: it has carried the packet, whatever became of that.
fn tell_wrapper<S>(wrapper: Option<(&InboundSa, Opened)>, batch: &Batch<'_, S>) {
    if let Some((wrapper, Opened { expiry: Some(expiry), .. })) = wrapper {
        batch.shared.tell_expiry(wrapper.id(), expiry);
    }
}

/// A dummy packet is no use of its SA, but nobody except the peer can have made it: the peer lives.
fn note_life<S>(sa: &InboundSa, batch: &Batch<'_, S>) {
    if batch.activity.note_life(sa.id(), batch.now) == Telling::Due {
        batch.shared.tell(PlaneEvent::Sa(SaEvent::Active { sa: sa.id() }));
    }
}

/// Tells whether two addresses name the same place: what else an IPv6 socket tells, the device and the flow label, does not
/// count.
fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// Takes a fragment of which an SA wants to see the ports; if this was the last that its packet lacked, and the packet is
/// the SA's, it goes on in fragments as it came.
fn put_together<S>(fragment: &[u8], sa: &InboundSa, batch: &Batch<'_, S>, tuns: &mut Tuns<impl Tun>) {
    let (way, drops) = (Way::In(sa.policy()), batch.tables.drops());
    let whole = batch.shared.reassembler().put(way, fragment, batch.now, drops);
    let Some(whole) = whole else { return };
    if let Err(reason) = sa.admits(&whole.packet) {
        return batch.drop_by_tables(reason);
    }
    let mut write = writer(tuns.of(sa.device()), batch);
    for fragment in whole.fragments() {
        write(VnetHeader::default(), &[IoSlice::new(&fragment)]);
    }
}

/// Lowers what a TCP connection announces in a packet that arrived: what its other end sends in answer goes through the SA
/// that carries our answers.
fn clamp<S>(packet: &mut [u8], sa: &InboundSa, batch: &Batch<'_, S>) {
    if !opens_connection(packet) {
        return;
    }
    let Ok(flow) = Flow::of(packet) else { return };
    let longest = match batch.tables.classify(&flow.reversed(), sa.device()) {
        Verdict::Protect(answers) => answers.longest_inner(),
        Verdict::Bypass | Verdict::Unselected | Verdict::Discard(_) | Verdict::Acquire(_) => usize::MAX,
    };
    if let Some(most) = batch.shared.segment_size(sa.segment_size(), longest, sa.device(), flow.source) {
        clamp_mss(packet, most);
    }
}

fn writer<'a, S>(
    mut tun: Option<&'a mut impl Tun>,
    batch: &'a Batch<'_, S>,
) -> impl FnMut(VnetHeader, &[IoSlice<'_>]) + 'a {
    move |header, parts| {
        let sent = match &mut tun {
            Some(tun) => tun.send(header, parts),
            None => Err(ErrorKind::NotFound.into()),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the TUN device refused a packet");
            batch.drop(DropReason::TunRefused);
        }
    }
}

/// Takes an ICMP error about a packet of ours, as the socket of this address gives it.
fn hear_of_path<S>(bound: SocketAddr, octets: &[u8], batch: &Batch<'_, S>) {
    let error = match bound {
        SocketAddr::V4(_) => IcmpError::of(octets),
        SocketAddr::V6(_) => IcmpError::of_message(protocol::ICMPV6, octets),
    };
    let Ok(Some(error)) = error else { return };
    let Some((remote, report)) = TooBigReport::of(&error) else { return };
    match batch.shared.paths().report(remote, report, batch.now) {
        Belief::Lowered(octets) => {
            tracing::info!(%remote, mtu = octets, "the path takes shorter packets only");
            batch.shared.tell(PlaneEvent::Sa(SaEvent::PathNarrowed { remote, octets }));
        }
        Belief::Known => {}
        Belief::Disbelieved => {
            tracing::debug!(%remote, ?report, "an ICMP error about no packet of ours");
        }
    }
}

fn tell_ike<S>(batch: &Batch<'_, S>, local: SocketAddr, received: &Received, message: &[u8]) {
    let bytes = message.to_vec();
    batch.shared.tell_ike(IkeDatagram { local, remote: received.source, bytes });
}
