//! What is left of an ISAKMP SA that is over. Nobody confirms a delete in IKEv1, so ours is said again to a peer that goes on
//! talking; to one that answers deletes, until it has answered (see `deletion`).

use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::v1::ProtocolId;
use wire::v1::{Content, Datagram};

use super::channel::Channel;
use super::contents::Contents;
use crate::context::Context;
use crate::io::{Path, TimeoutReason};
use crate::retransmission::Repeating;

/// An ISAKMP SA that is over.
pub(crate) struct Closed {
    channel: Channel,
    farewell: Farewell,
    until: Instant,
}

/// What the peer is told of the end.
pub(crate) enum Farewell {
    /// Nothing.
    None,
    /// Our delete.
    Ours {
        /// In datagrams.
        message: Vec<Vec<u8>>,
        /// The same, until the peer has answered, if it is one that does.
        repeating: Option<Repeating>,
    },
    /// Our answer to the peer's delete.
    Answer {
        /// The message id of that.
        to: u32,
        /// The answer, in datagrams.
        message: Vec<Vec<u8>>,
    },
}

impl Farewell {
    /// Our delete, to a peer that does not answer it.
    pub(crate) fn ours(message: Option<Vec<Vec<u8>>>) -> Farewell {
        message.map_or(Farewell::None, |message| Farewell::Ours { message, repeating: None })
    }
}

impl Closed {
    pub(crate) fn new(channel: Channel, farewell: Farewell, until: Instant) -> Closed {
        Closed { channel, farewell, until }
    }

    /// Says once more that it is over, to whoever has its keys and has not heard it.
    pub(crate) fn handle_datagram(&mut self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let Some(is_delete) = self.read(datagram) else { return };
        match &mut self.farewell {
            // Two ends that both have deleted it would have much to say to each other.
            Farewell::Ours { repeating, .. } if is_delete => *repeating = None,
            Farewell::Ours { message, .. } => cx.transmit(path, message),
            // And two that each have answered one, without end.
            Farewell::Answer { to, message } if datagram.header.message_id == *to => {
                cx.transmit(path, message);
            }
            Farewell::Answer { .. } | Farewell::None => {}
        }
    }

    /// Tells whether an authentic message deletes the ISAKMP SA; `None` if it is not authentic.
    fn read(&self, datagram: &Datagram<'_>) -> Option<bool> {
        let Content::Encrypted(ciphertext) = &datagram.content else { return None };
        let message_id = datagram.header.message_id;
        let opened = self.channel.open(&self.channel.phase_2_iv(message_id), ciphertext)?;
        let chain = opened.payloads(datagram.header.next_payload).ok()?;
        let contents = Contents::new("a closed ISAKMP SA's", chain);
        self.channel.check_hash(&contents, message_id, &[]).ok()?;
        Some(contents.deletes().any(|delete| delete.protocol == ProtocolId::ISAKMP))
    }

    /// Repeats our delete if that is due; tells whether it can be forgotten.
    pub(crate) fn is_over(&mut self, cx: &mut Context) -> bool {
        if let Farewell::Ours { repeating, .. } = &mut self.farewell
            && repeating.as_mut().is_some_and(|last| cx.repeat(self.channel.path, last))
        {
            *repeating = None;
        }
        cx.now >= self.until && self.repetition().is_none()
    }

    fn repetition(&self) -> Option<Instant> {
        match &self.farewell {
            Farewell::Ours { repeating, .. } => repeating.as_ref().map(Repeating::deadline),
            Farewell::Answer { .. } | Farewell::None => None,
        }
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        match self.repetition() {
            Some(at) => (at, TimeoutReason::Retransmission),
            None => (self.until, TimeoutReason::HalfOpen),
        }
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }
}
