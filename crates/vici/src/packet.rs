//! vici packets: a length, a type, for some types a name, for some a message.
//!
//! ```text
//!    0                   1                   2                   3
//!   ├─ length of what follows, 32 bits, big-endian ────────────────┤
//!   ├─ type ───────┤ ├─ name length ┤ name … ├─ message …
//! ```

use thiserror::Error;

use crate::Tree;
use crate::limits::MAX_PACKET_LEN;
use crate::message::{self, InvalidMessage, TooLarge};

/// One packet, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client's command.
    Request {
        /// The command.
        name: String,
        /// Its arguments.
        message: Tree,
    },
    /// The answer to a command.
    Response(Tree),
    /// The answer to a command that the server does not have.
    UnknownCommand,
    /// A client asks for events of this name.
    Register(String),
    /// A client wants no more events of this name.
    Unregister(String),
    /// The answer to either.
    Confirm,
    /// The answer to either if the server has no such event.
    UnknownEvent,
    /// Something happened at the server.
    Event {
        /// The event.
        name: String,
        /// What happened.
        message: Tree,
    },
}

/// Why octets are no packet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPacket {
    /// The length header exceeds the protocol's limit; the stream is of no more use.
    #[error("a packet of {0} bytes is longer than the protocol allows")]
    TooLong(usize),
    /// The packet has no octet at all.
    #[error("the packet is empty")]
    Empty,
    /// The type is none of the protocol's.
    #[error("{0} is not a packet type")]
    UnknownType(u8),
    /// The name is cut off or no text.
    #[error("the packet's name is cut off or not text")]
    Name,
    /// Something follows where a packet of this type ends.
    #[error("{0} bytes follow the end of the packet")]
    Trailing(usize),
    /// The message is faulty.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
}

const CMD_REQUEST: u8 = 0;
const CMD_RESPONSE: u8 = 1;
const CMD_UNKNOWN: u8 = 2;
const EVENT_REGISTER: u8 = 3;
const EVENT_UNREGISTER: u8 = 4;
const EVENT_CONFIRM: u8 = 5;
const EVENT_UNKNOWN: u8 = 6;
const EVENT: u8 = 7;

const LENGTH_LEN: usize = 4;

impl Packet {
    /// Writes the packet with its length header.
    ///
    /// # Errors
    /// A name, a value or the whole exceeds what the protocol allows.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let (packet_type, name, message) = match self {
            Packet::Request { name, message } => (CMD_REQUEST, Some(name), Some(message)),
            Packet::Response(message) => (CMD_RESPONSE, None, Some(message)),
            Packet::UnknownCommand => (CMD_UNKNOWN, None, None),
            Packet::Register(name) => (EVENT_REGISTER, Some(name), None),
            Packet::Unregister(name) => (EVENT_UNREGISTER, Some(name), None),
            Packet::Confirm => (EVENT_CONFIRM, None, None),
            Packet::UnknownEvent => (EVENT_UNKNOWN, None, None),
            Packet::Event { name, message } => (EVENT, Some(name), Some(message)),
        };
        let mut octets = vec![0, 0, 0, 0, packet_type];
        if let Some(name) = name {
            octets.push(u8::try_from(name.len()).map_err(|_| TooLarge::Name(name.clone()))?);
            octets.extend(name.as_bytes());
        }
        if let Some(message) = message {
            octets.extend(message::encode(message)?);
        }
        let len = octets.len() - LENGTH_LEN;
        let header =
            u32::try_from(len).ok().filter(|_| len <= MAX_PACKET_LEN).ok_or(TooLarge::Packet(len))?;
        octets[..LENGTH_LEN].copy_from_slice(&header.to_be_bytes());
        Ok(octets)
    }

    /// Reads a packet without its length header.
    ///
    /// # Errors
    /// The type is unknown, or name or message are faulty.
    pub fn decode(octets: &[u8]) -> Result<Packet, InvalidPacket> {
        let (packet_type, rest) = octets.split_first().ok_or(InvalidPacket::Empty)?;
        Ok(match *packet_type {
            CMD_REQUEST => {
                let (name, message) = split_name(rest)?;
                Packet::Request { name, message: message::decode(message)? }
            }
            CMD_RESPONSE => Packet::Response(message::decode(rest)?),
            CMD_UNKNOWN => nothing_more(rest, Packet::UnknownCommand)?,
            EVENT_REGISTER => {
                let (name, rest) = split_name(rest)?;
                nothing_more(rest, Packet::Register(name))?
            }
            EVENT_UNREGISTER => {
                let (name, rest) = split_name(rest)?;
                nothing_more(rest, Packet::Unregister(name))?
            }
            EVENT_CONFIRM => nothing_more(rest, Packet::Confirm)?,
            EVENT_UNKNOWN => nothing_more(rest, Packet::UnknownEvent)?,
            EVENT => {
                let (name, message) = split_name(rest)?;
                Packet::Event { name, message: message::decode(message)? }
            }
            unknown => return Err(InvalidPacket::UnknownType(unknown)),
        })
    }
}

fn split_name(octets: &[u8]) -> Result<(String, &[u8]), InvalidPacket> {
    let (len, rest) = octets.split_first().ok_or(InvalidPacket::Name)?;
    let (name, rest) = rest.split_at_checked(usize::from(*len)).ok_or(InvalidPacket::Name)?;
    let name = std::str::from_utf8(name).map_err(|_| InvalidPacket::Name)?;
    Ok((name.to_owned(), rest))
}

fn nothing_more(rest: &[u8], packet: Packet) -> Result<Packet, InvalidPacket> {
    if rest.is_empty() { Ok(packet) } else { Err(InvalidPacket::Trailing(rest.len())) }
}

/// Cuts a stream of bytes into packets, however the bytes arrive.
#[derive(Debug, Default)]
pub struct Frames {
    received: Vec<u8>,
}

impl Frames {
    /// Makes the cutter of a new stream.
    pub fn new() -> Frames {
        Frames::default()
    }

    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Gives the next whole packet, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// The next packet is faulty. Only after [`InvalidPacket::TooLong`] is the rest of the stream lost.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, InvalidPacket> {
        let Some((header, rest)) = self.received.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*header) as usize;
        if len > MAX_PACKET_LEN {
            return Err(InvalidPacket::TooLong(len));
        }
        let Some(octets) = rest.get(..len) else {
            return Ok(None);
        };
        let packet = Packet::decode(octets);
        self.received.drain(..LENGTH_LEN + len);
        packet.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_described_layout() {
        let request = Packet::Request { name: "version".into(), message: Tree::new() };
        assert_eq!(request.encode().expect("it is small"), b"\0\0\0\x09\0\x07version");
        let register = Packet::Register("list-sa".into());
        assert_eq!(register.encode().expect("it is small"), b"\0\0\0\x09\x03\x07list-sa");
        assert_eq!(Packet::Confirm.encode().expect("it is small"), [0, 0, 0, 1, 5]);
        let event = Packet::Event { name: "e".into(), message: Tree::new().with_value("k", "v") };
        assert_eq!(event.encode().expect("it is small"), b"\0\0\0\x09\x07\x01e\x03\x01k\0\x01v");
    }

    #[test]
    fn frames_come_out_however_the_bytes_arrive() {
        let packets = [
            Packet::Request { name: "stats".into(), message: Tree::new().with_value("a", "b") },
            Packet::UnknownCommand,
            Packet::Response(Tree::new()),
            Packet::UnknownEvent,
            Packet::Unregister("log".into()),
        ];
        let stream: Vec<u8> =
            packets.iter().flat_map(|packet| packet.encode().expect("it is small")).collect();
        for step in 1..=stream.len() {
            let mut frames = Frames::new();
            let mut seen = Vec::new();
            for bytes in stream.chunks(step) {
                frames.push(bytes);
                while let Some(packet) = frames.next_packet().expect("valid packets") {
                    seen.push(packet);
                }
            }
            assert_eq!(seen, packets, "in steps of {step}");
        }
    }

    #[test]
    fn a_faulty_packet_leaves_the_next_one_readable() {
        let mut frames = Frames::new();
        frames.push(&[0, 0, 0, 1, 99, 0, 0, 0, 1, 5]);
        assert_eq!(frames.next_packet(), Err(InvalidPacket::UnknownType(99)));
        assert_eq!(frames.next_packet(), Ok(Some(Packet::Confirm)));
        assert_eq!(frames.next_packet(), Ok(None));
    }

    #[test]
    fn faulty_packets_are_refused() {
        assert_eq!(Packet::decode(&[]), Err(InvalidPacket::Empty));
        assert_eq!(Packet::decode(&[CMD_REQUEST]), Err(InvalidPacket::Name));
        assert_eq!(Packet::decode(&[CMD_REQUEST, 3, b'a']), Err(InvalidPacket::Name));
        assert_eq!(Packet::decode(&[EVENT_CONFIRM, 0]), Err(InvalidPacket::Trailing(1)));
        let mut frames = Frames::new();
        frames.push(&[0, 8, 0, 1]);
        assert_eq!(frames.next_packet(), Err(InvalidPacket::TooLong(MAX_PACKET_LEN + 1)));
    }

    #[test]
    fn a_packet_beyond_the_limit_is_not_sent() {
        let message = (0..9).fold(Tree::new(), |tree, _| tree.with_value("v", vec![0; 60_000]));
        assert!(matches!(Packet::Response(message).encode(), Err(TooLarge::Packet(_))));
    }
}
