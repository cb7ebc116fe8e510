//! Fragments of several packets of both IP versions, overlapping and late, from hosts that mean harm.

use std::time::{Duration, Instant};

use ipsec::{DropCounters, Reassembler, Way, limits};
use sa::PolicyId;
use wire::ip::{Packet, Part, protocol};

/// Takes eight octets for each fragment.
pub fn run(bytes: &[u8]) {
    let (mut reassembler, drops, mut now) = (Reassembler::default(), DropCounters::default(), Instant::now());
    let (mut put, mut used) = (0, 0);
    for step in bytes.as_chunks::<8>().0 {
        now += Duration::from_millis(u64::from(step[0]) * 16);
        let way = if step[1] & 0x10 == 0 { Way::Out(None) } else { Way::In(PolicyId(step[1].into())) };
        let fragment = if step[1] & 0x20 == 0 { v4(step) } else { v6(step) };
        put += 1;
        if let Some(whole) = reassembler.put(way, &fragment, now, &drops) {
            let packet = Packet::new(&whole.packet[..]).expect("a packet put together is sound");
            assert_eq!(packet.total_length(), whole.packet.len());
            assert_eq!(Part::of(&packet), Ok(None), "it is whole");
            assert!(whole.longest_fragment <= whole.packet.len() + 8);
            used += 1;
        }
        assert!(reassembler.octets() <= limits::REASSEMBLY_OCTETS);
        assert!(drops.total() + used <= put);
    }
    reassembler.expire(now + limits::REASSEMBLY_TIME, &drops);
    assert_eq!(reassembler.octets(), 0);
}

/// Identification, offset, length and whether more follow come from the step.
fn v4(step: &[u8; 8]) -> Vec<u8> {
    let (offset, data) = shape(step);
    let length = (20 + data.len()) as u16;
    let more = u16::from(step[7] & 1) << 13;
    let mut packet = vec![0x45, step[7] >> 6];
    packet.extend(length.to_be_bytes());
    packet.extend([0, step[1] & 3]);
    packet.extend((more | offset).to_be_bytes());
    packet.extend([64, protocol::UDP, 0, 0, 10, 0, 0, step[1] & 0x0c, 10, 0, 0, 2]);
    [packet, data].concat()
}

fn v6(step: &[u8; 8]) -> Vec<u8> {
    let (offset, data) = shape(step);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((8 + data.len()) as u16).to_be_bytes());
    packet.extend([protocol::FRAGMENT, 64]);
    packet.extend([0xfd; 16]);
    packet.extend([step[1] & 0x0c; 16]);
    packet.extend([step[6], 0]);
    packet.extend((offset << 3 | u16::from(step[7] & 1)).to_be_bytes());
    packet.extend([0, 0, 0, step[1] & 3]);
    [packet, data].concat()
}

fn shape(step: &[u8; 8]) -> (u16, Vec<u8>) {
    let offset = u16::from_be_bytes([step[2], step[3]]) & 0x1fff;
    let length = usize::from(u16::from_be_bytes([step[4] & 0x07, step[5]]));
    (offset, vec![step[6]; length])
}
