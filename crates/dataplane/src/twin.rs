//! Twins of the kernel's devices, so that pipelines run back to back in one process, without privileges.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use sa::Protocol;
use wire::ip::{Ecn, Ipv4Header};

use crate::device::{self, Carries, ReceiveBatch, Socket, Train, Tun};
use crate::limits::RECEIVE_BATCH;
use crate::offload::{Joins, VnetHeader};

/// A TUN queue whose other end is in the test's hands; clones are the same queue.
#[derive(Clone, Default)]
pub(crate) struct TwinTun(Arc<Mutex<TunEnds>>);

#[derive(Default)]
struct TunEnds {
    to_plane: VecDeque<(VnetHeader, Vec<u8>)>,
    from_plane: Vec<(VnetHeader, Vec<u8>)>,
}

impl TwinTun {
    /// Sends a packet of the host's into the plane.
    pub(crate) fn push(&self, header: VnetHeader, packet: Vec<u8>) {
        self.lock().to_plane.push_back((header, packet));
    }

    /// Takes what the plane wrote.
    pub(crate) fn written(&self) -> Vec<(VnetHeader, Vec<u8>)> {
        std::mem::take(&mut self.lock().from_plane)
    }

    fn lock(&self) -> MutexGuard<'_, TunEnds> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

impl Tun for TwinTun {
    fn joins(&self) -> Joins {
        Joins::TcpAndUdp
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(VnetHeader, usize)> {
        let (header, packet) = self.lock().to_plane.pop_front().ok_or(ErrorKind::WouldBlock)?;
        buffer[..packet.len()].copy_from_slice(&packet);
        Ok((header, packet.len()))
    }

    fn send(&mut self, header: VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let packet = parts.iter().flat_map(|part| part.to_vec()).collect();
        self.lock().from_plane.push((header, packet));
        Ok(())
    }
}

/// A datagram, or a train of them, on its way between two twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) traffic_class: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) segment_size: usize,
    pub(crate) octets: Vec<u8>,
}

/// A queue of datagrams; clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Mutex<VecDeque<Datagram>>>);

impl Line {
    /// Puts a datagram at the end.
    pub(crate) fn push(&self, datagram: Datagram) {
        self.lock().push_back(datagram);
    }

    /// Tells whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes all datagrams.
    pub(crate) fn drain(&self) -> Vec<Datagram> {
        self.lock().drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Datagram>> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

/// A socket between two lines.
#[derive(Clone, Debug)]
pub(crate) struct TwinSocket {
    pub(crate) carries: Carries,
    pub(crate) bound: SocketAddr,
    pub(crate) receives: Line,
    pub(crate) sends: Line,
    pub(crate) trains: Trains,
}

/// Whether a twin takes trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trains {
    /// It does.
    Taken,
    /// It refuses them, as a path does whose MTU is less than their datagrams.
    Refused,
}

impl Socket for TwinSocket {
    fn carries(&self) -> Carries {
        self.carries
    }

    fn bound(&self) -> SocketAddr {
        self.bound
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        let mut line = self.receives.lock();
        let count = line.len().min(RECEIVE_BATCH);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        for (room, datagram) in batch.rooms().zip(line.drain(..count)) {
            let received = room.received;
            // raw(7): an IPv4 socket shows the IP header.
            let header = match self.carries {
                Carries::Bare(protocol) => ipv4_header(&datagram, protocol).to_vec(),
                Carries::Ike | Carries::IkeAndEsp | Carries::WholePackets | Carries::Errors => Vec::new(),
            };
            let shown = [&header[..], &datagram.octets].concat();
            room.octets[..shown.len()].copy_from_slice(&shown);
            received.skip = header.len();
            received.len = datagram.octets.len();
            received.segment_size = datagram.segment_size.max(1);
            received.source = datagram.source;
            received.destination = datagram.destination.ip();
            received.traffic_class = datagram.traffic_class;
        }
        Ok(count)
    }

    fn send(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        for (sent, train) in trains.iter().enumerate() {
            if train.segment_size.is_some() && self.trains == Trains::Refused {
                return if sent > 0 { Ok(sent) } else { Err(io::Error::from_raw_os_error(libc::EMSGSIZE)) };
            }
            self.sends.push(self.datagram(train));
        }
        Ok(trains.len())
    }
}

impl TwinSocket {
    fn datagram(&self, train: &Train<'_>) -> Datagram {
        let octets: Vec<u8> = train.parts.iter().flat_map(|part| part.to_vec()).collect();
        let source: IpAddr = if train.source.is_unspecified() { self.bound.ip() } else { train.source };
        Datagram {
            source: SocketAddr::new(source, self.bound.port()),
            destination: train.destination,
            traffic_class: train.header.traffic_class,
            dont_fragment: train.header.dont_fragment,
            segment_size: train.segment_size.map_or(octets.len(), usize::from),
            octets,
        }
    }
}

/// Makes the header that a datagram to a raw socket came under.
fn ipv4_header(datagram: &Datagram, protocol: Protocol) -> [u8; Ipv4Header::LEN] {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (datagram.source, datagram.destination)
    else {
        panic!("twins have IPv4 addresses");
    };
    let header = Ipv4Header {
        dscp: datagram.traffic_class >> 2,
        ecn: Ecn::from_bits(datagram.traffic_class),
        total_length: (Ipv4Header::LEN + datagram.octets.len()) as u16,
        identification: 0,
        dont_fragment: true,
        ttl: 64,
        protocol: device::number(protocol),
        source: *source.ip(),
        destination: *destination.ip(),
    };
    header.encode()
}
