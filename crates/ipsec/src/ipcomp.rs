//! IPComp with deflate: what a payload goes through before it is protected, and after (RFC 3173, RFC 2394).
//!
//! ```text
//!   payload    │ TCP │ data …                      protocol 6
//!   becomes    │ IPComp │ deflated payload         protocol 108; IPComp says 6 and the receiver's index
//! ```
//!
//! What does not become shorter goes as it is, without an IPComp header (§2.2): the receiver takes both. An SA whose
//! packets do not become shorter tries less and less often.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use sa::Cpi;
use wire::ip::protocol;
use wire::ipcomp::Header;

use crate::limits::{
    COMPRESSION_LONGEST_PAUSE, COMPRESSION_PAUSE, COMPRESSION_THRESHOLD, COMPRESSION_TRIES,
    DECOMPRESSED_OCTETS,
};
use crate::{DropReason, PacketBuf};

/// Compresses what one outbound SA sends.
#[derive(Debug)]
pub(crate) struct Compressor {
    cpi: Cpi,
    /// Tries in a row that made nothing shorter.
    fruitless: AtomicU32,
    /// Packets that are not tried.
    pause: AtomicU32,
}

impl Compressor {
    pub(crate) fn new(cpi: Cpi) -> Compressor {
        Compressor { cpi, fruitless: AtomicU32::new(0), pause: AtomicU32::new(0) }
    }

    /// Makes a payload shorter in place if it can; gives the protocol that it is then.
    pub(crate) fn compress(&self, packet: &mut PacketBuf, protocol: u8) -> u8 {
        if packet.len() < COMPRESSION_THRESHOLD || self.pauses() {
            return protocol;
        }
        let shorter = SCRATCH.with_borrow_mut(|scratch| scratch.deflate(packet));
        self.learn(shorter);
        if shorter.is_none() {
            return protocol;
        }
        let header = Header { next_header: protocol, cpi: self.cpi.0 };
        packet.as_mut_slice()[..Header::LEN].copy_from_slice(&header.encode());
        protocol::IPCOMP
    }

    fn pauses(&self) -> bool {
        self.pause.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Lengthens the pauses while nothing becomes shorter (RFC 3173 §2.2).
    fn learn(&self, shorter: Option<()>) {
        match shorter {
            Some(()) => self.fruitless.store(0, Ordering::Relaxed),
            None => {
                let fruitless = self.fruitless.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if let Some(doublings) = fruitless.checked_sub(COMPRESSION_TRIES) {
                    let pause = COMPRESSION_PAUSE.checked_shl(doublings).unwrap_or(u32::MAX);
                    self.pause.store(pause.min(COMPRESSION_LONGEST_PAUSE), Ordering::Relaxed);
                }
            }
        }
    }
}

/// Replaces an IPComp header and what it compresses by the payload; gives the payload's protocol.
///
/// # Errors
/// The header names another compression than `cpi`, or the payload is damaged or longer than an IP packet can be.
pub(crate) fn decompress(packet: &mut PacketBuf, cpi: Cpi) -> Result<u8, DropReason> {
    let (header, _) = Header::decode(packet.as_slice()).map_err(|_| DropReason::Compression)?;
    if header.cpi != cpi.0 {
        return Err(DropReason::CompressionIndex);
    }
    SCRATCH.with_borrow_mut(|scratch| scratch.inflate(packet))?;
    Ok(header.next_header)
}

/// What compressing takes beside the packet. It is large, so each thread has one and not each SA, and makes it with the
/// first packet that needs it.
struct Scratch {
    compress: Compress,
    decompress: Decompress,
    octets: Box<[u8]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        compress: Compress::new(Compression::fast(), false),
        decompress: Decompress::new(false),
        octets: vec![0; DECOMPRESSED_OCTETS].into_boxed_slice(),
    });
}

impl Scratch {
    /// Deflates the packet, behind room for the header; `None`, and no change, if both together would not be shorter.
    fn deflate(&mut self, packet: &mut PacketBuf) -> Option<()> {
        let most = packet.len().checked_sub(Header::LEN + 1)?;
        let room = self.octets.get_mut(..most)?;
        self.compress.reset();
        let status = self.compress.compress(packet.as_slice(), room, FlushCompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) {
            return None;
        }
        let deflated = room.get(..usize::try_from(self.compress.total_out()).ok()?)?;
        packet.truncate(Header::LEN + deflated.len());
        packet.as_mut_slice()[Header::LEN..].copy_from_slice(deflated);
        Some(())
    }

    /// Inflates what is behind the header; what is behind the end of that is padding.
    fn inflate(&mut self, packet: &mut PacketBuf) -> Result<(), DropReason> {
        self.decompress.reset(false);
        let deflated = packet.as_slice().get(Header::LEN..).ok_or(DropReason::Compression)?;
        let status = self.decompress.decompress(deflated, &mut self.octets, FlushDecompress::Finish);
        let inflated = usize::try_from(self.decompress.total_out()).unwrap_or(usize::MAX);
        match status {
            Ok(Status::StreamEnd) => {}
            Ok(Status::Ok | Status::BufError) if inflated >= self.octets.len() => {
                return Err(DropReason::Expansion);
            }
            Ok(Status::Ok | Status::BufError) | Err(_) => return Err(DropReason::Compression),
        }
        packet.replace(self.octets.get(..inflated).ok_or(DropReason::Expansion)?);
        Ok(())
    }
}
