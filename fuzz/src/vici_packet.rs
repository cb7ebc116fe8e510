//! What a client of the management socket may send, and what is done with it.

use config::{load_connections, load_shared};
use vici::{Frames, Packet, json, text};

/// Cuts the octets into packets, then reads each again from what it encodes to.
pub fn run(bytes: &[u8]) {
    let mut frames = Frames::new();
    for chunk in bytes.chunks(7) {
        frames.push(chunk);
        // An error that is not the stream's end takes one packet away, so this comes to an end.
        while let Some(packet) = frames.next_packet().transpose() {
            match packet {
                Ok(packet) => check(packet),
                Err(vici::InvalidPacket::TooLong(_)) => return,
                Err(_) => {}
            }
        }
    }
}

fn check(packet: Packet) {
    let octets = packet.encode().expect("it came in a packet");
    assert_eq!(Packet::decode(&octets[4..]).as_ref(), Ok(&packet));
    match packet {
        Packet::Request { message, .. } | Packet::Response(message) | Packet::Event { message, .. } => {
            json::render(&message);
            text::print(&message);
            let loaded = load_connections(&message);
            assert!(loaded.faults.iter().all(|fault| !fault.sentence().is_empty()));
            let _ = load_shared(&message);
        }
        Packet::UnknownCommand
        | Packet::Register(_)
        | Packet::Unregister(_)
        | Packet::Confirm
        | Packet::UnknownEvent => {}
    }
}
