//! One packet in a buffer that is used again and again, with room to grow at both ends.
//!
//! ```text
//!   ┌──────────┬──────────────────────────────┬──────────┐
//!   │ headroom │ packet                       │ tailroom │
//!   └──────────┴──────────────────────────────┴──────────┘
//!         ◄─ push_front  pull_front ─►  ◄─ truncate  push_back ─►
//! ```

use std::fmt;

use crate::limits::{HEADROOM, TAILROOM};

/// A packet with free room in front of it and behind it; headers and trailers come and go without a copy.
pub struct PacketBuf {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl PacketBuf {
    /// Makes an empty buffer for packets of up to `capacity` octets, with [`HEADROOM`] before and [`TAILROOM`] behind them.
    pub fn new(capacity: usize) -> PacketBuf {
        let octets = vec![0; HEADROOM + capacity + TAILROOM].into_boxed_slice();
        PacketBuf { octets, start: HEADROOM, end: HEADROOM }
    }

    /// Gives the packet.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// Gives the packet to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.octets[self.start..self.end]
    }

    /// Gives the packet's length in octets.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Tells whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Gives the octets that [`push_front`](Self::push_front) could add.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Gives the octets that [`push_back`](Self::push_back) could add.
    pub fn tailroom(&self) -> usize {
        self.octets.len() - self.end
    }

    /// Forgets the packet and makes the headroom what it was at first.
    pub fn clear(&mut self) {
        self.start = HEADROOM;
        self.end = HEADROOM;
    }

    /// Forgets the packet and gives the room for the next one, to be received into; [`set_len`](Self::set_len) follows.
    ///
    /// What the room holds is left over from earlier packets. The tailroom is not part of it.
    pub fn room_mut(&mut self) -> &mut [u8] {
        self.clear();
        let tail = self.octets.len() - TAILROOM;
        &mut self.octets[HEADROOM..tail]
    }

    /// Says how many octets were put into [`room_mut`](Self::room_mut); more than the room are cut to it.
    pub fn set_len(&mut self, octets: usize) {
        self.end = self.octets.len().saturating_sub(TAILROOM).min(self.start.saturating_add(octets));
    }

    /// Replaces the packet by a copy of `packet`; `None` if it is longer than the buffer's capacity.
    pub fn copy_from(&mut self, packet: &[u8]) -> Option<()> {
        self.room_mut().get_mut(..packet.len())?.copy_from_slice(packet);
        self.set_len(packet.len());
        Some(())
    }

    /// Replaces the packet by a copy of `packet`, in a larger buffer if this one is too small.
    pub fn replace(&mut self, packet: &[u8]) {
        if self.copy_from(packet).is_none() {
            *self = PacketBuf::new(packet.len());
            self.octets[HEADROOM..][..packet.len()].copy_from_slice(packet);
            self.set_len(packet.len());
        }
    }

    /// Lengthens the packet at its front and gives the new octets, whatever they hold; `None` if there is no room.
    pub fn push_front(&mut self, octets: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(octets)?;
        let pushed = &mut self.octets[start..self.start];
        self.start = start;
        Some(pushed)
    }

    /// Shortens the packet at its front; `None`, and no change, if it is shorter than that.
    pub fn pull_front(&mut self, octets: usize) -> Option<()> {
        if octets > self.len() {
            return None;
        }
        self.start += octets;
        Some(())
    }

    /// Lengthens the packet at its back and gives the new octets, whatever they hold; `None` if there is no room.
    pub fn push_back(&mut self, octets: usize) -> Option<&mut [u8]> {
        let end = self.end.checked_add(octets).filter(|end| *end <= self.octets.len())?;
        let pushed = &mut self.octets[self.end..end];
        self.end = end;
        Some(pushed)
    }

    /// Shortens the packet at its back to `octets`; a shorter packet stays as it is.
    pub fn truncate(&mut self, octets: usize) {
        self.end = self.end.min(self.start + octets.min(self.len()));
    }
}

impl fmt::Debug for PacketBuf {
    /// Prints sizes only: a packet may be plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .field("tailroom", &self.tailroom())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_grow_and_shrink_without_moving_the_packet() {
        let mut packet = PacketBuf::new(8);
        packet.copy_from(b"inner").expect("five octets fit eight");
        packet.push_front(2).expect("headroom").copy_from_slice(b"<<");
        packet.push_back(2).expect("tailroom").copy_from_slice(b">>");
        assert_eq!(packet.as_slice(), b"<<inner>>");
        packet.pull_front(3).expect("the packet is longer");
        packet.truncate(4);
        assert_eq!(packet.as_slice(), b"nner");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut packet = PacketBuf::new(4);
        assert_eq!(packet.copy_from(b"inner"), None);
        packet.copy_from(b"fits").expect("four octets fit four");
        assert!(packet.push_front(HEADROOM + 1).is_none());
        assert!(packet.push_back(TAILROOM + 1).is_none());
        assert!(packet.push_back(usize::MAX).is_none());
        assert!(packet.pull_front(5).is_none());
        packet.truncate(usize::MAX);
        assert_eq!(packet.as_slice(), b"fits");
    }

    #[test]
    fn a_buffer_grows_for_what_replaces_its_packet() {
        let mut packet = PacketBuf::new(4);
        packet.replace(b"inner packet");
        assert_eq!(packet.as_slice(), b"inner packet");
        assert_eq!((packet.headroom(), packet.tailroom()), (HEADROOM, TAILROOM));
        packet.replace(b"x");
        assert_eq!((packet.as_slice(), packet.headroom()), (&b"x"[..], HEADROOM));
    }

    #[test]
    fn a_full_buffer_keeps_the_promised_rooms() {
        let mut packet = PacketBuf::new(1500);
        assert_eq!(packet.room_mut().len(), 1500);
        packet.set_len(usize::MAX);
        assert_eq!((packet.headroom(), packet.len(), packet.tailroom()), (HEADROOM, 1500, TAILROOM));
    }

    #[test]
    fn debug_shows_no_octet_of_the_packet() {
        let mut packet = PacketBuf::new(8);
        packet.copy_from(b"secret").expect("six octets fit eight");
        assert_eq!(format!("{packet:?}"), "PacketBuf { headroom: 128, len: 6, tailroom: 66 }");
    }
}
