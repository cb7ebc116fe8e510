//! Packets that are longer than their path takes once they are sealed, or came in fragments: [`Room::fit`](ipsec::Room::fit)
//! says what becomes of them. None of this is on the way of a packet that fits, and it may copy.

use ipsec::{Fit, Form, OutboundSa};
use wire::ip::{Fragments, LONGEST_ERROR, Packet};

use super::{Egress, Origin, tell_expiries};
use crate::DropReason;
use crate::departures::Departure;
use crate::device::Socket;
use crate::offload::split::SuperPacket;
use crate::shared::Batch;

impl Egress {
    /// Protects segment `index` of a packet, which is too long, or came in fragments.
    pub(super) fn protect_long<S: Socket>(
        &mut self,
        packet: &SuperPacket<'_>,
        index: usize,
        origin: Origin<'_>,
        sa: &OutboundSa,
        batch: &Batch<'_, S>,
    ) {
        let mut octets = vec![0; packet.segment_len(index)];
        packet.write_segment(index, &mut octets);
        let Ok(view) = Packet::new(&octets[..]) else {
            return batch.drop_by_tables(ipsec::DropReason::MalformedInner);
        };
        let came_as = origin.came_as.map(|whole| whole.longest_fragment);
        match sa.room().fit(&view, came_as) {
            Fit::Seal => self.seal_copy(&octets, sa, batch),
            Fit::SealThenCut => self.seal_then_cut(&octets, sa, batch),
            Fit::Cut { longest } => {
                let identification = origin.came_as.map_or(0, |whole| whole.identification);
                let Ok(plan) = Fragments::new(&octets, longest, identification) else {
                    return batch.drop_by_tables(ipsec::DropReason::TooLong);
                };
                for fragment in plan.iter() {
                    self.seal_copy(&fragment, sa, batch);
                }
            }
            Fit::TooBig { mtu } => {
                batch.drop(DropReason::TooBig);
                // The segments of a super-packet have one sender, to whom one answer says it all.
                if index == 0 {
                    self.answer(&octets, mtu, batch);
                }
            }
        }
    }

    fn seal_copy<S: Socket>(&mut self, octets: &[u8], sa: &OutboundSa, batch: &Batch<'_, S>) {
        let write = |room: &mut [u8]| room.copy_from_slice(octets);
        if let Some(buffer) = self.write(octets.len(), write, batch) {
            let sealed = sa.seal(buffer);
            self.depart_sealed(sa, sealed, batch);
        }
    }

    /// Seals a packet and cuts the result as its path needs it.
    fn seal_then_cut<S: Socket>(&mut self, octets: &[u8], sa: &OutboundSa, batch: &Batch<'_, S>) {
        let identification = batch.shared.next_identification();
        let write = |room: &mut [u8]| room.copy_from_slice(octets);
        let Some(buffer) = self.write(octets.len(), write, batch) else { return };
        let sealed = match sa.seal(buffer) {
            Ok(sealed) => sealed,
            Err(reason) => return batch.drop_sealing(reason, &sa.id()),
        };
        let made = match sealed.form {
            Form::Payload(header) => sa.make_whole(buffer, header, in_v4(identification)),
            Form::Packet => Ok(()),
        };
        let mut whole = buffer.as_slice().to_vec();
        tell_expiries(sa, &sealed, batch);
        if let Err(reason) = made {
            return batch.drop_by_tables(reason);
        }
        if let Ok(Packet::V4(mut packet)) = Packet::new(&mut whole[..]) {
            packet.allow_fragmentation();
        }
        let longest = sa.path_mtu().unwrap_or(usize::MAX);
        let Ok(plan) = Fragments::new(&whole, longest, identification) else {
            return batch.drop_by_tables(ipsec::DropReason::TooLong);
        };
        for index in 0..plan.count() {
            let write = |room: &mut [u8]| plan.write(index, room);
            if self.write(plan.fragment_len(index), write, batch).is_some() {
                self.departures.depart(Departure::of_whole(sa), batch);
            }
        }
    }

    /// Tells the sender of a packet how long one may be.
    fn answer<S>(&mut self, packet: &[u8], mtu: u16, batch: &Batch<'_, S>) {
        let mut answer = vec![0; LONGEST_ERROR];
        if let Some(length) = self.too_big.write(packet, mtu, batch.now, &mut answer) {
            answer.truncate(length);
            self.answers.push(answer);
        }
    }
}

/// Makes an identification one of IPv4, and never 0: the kernel would choose another, for each fragment a different one.
fn in_v4(identification: u32) -> u16 {
    1 + (identification % u32::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_identification_is_zero_and_neighbours_differ() {
        for identification in [0, 1, 0xfffe, 0xffff, 0x1_0000, 0x1_fffe, u32::MAX - 1] {
            assert_ne!(in_v4(identification), 0);
            assert_ne!(in_v4(identification), in_v4(identification + 1));
        }
    }
}
