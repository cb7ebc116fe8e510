//! What is left of an ISAKMP SA that we ended: nobody confirms a delete in IKEv1, so it is said again to a peer that
//! goes on talking.

use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::v1::ProtocolId;
use wire::v1::{Content, Datagram};

use super::channel::Channel;
use super::contents::Contents;
use crate::context::Context;
use crate::io::Path;

/// An ISAKMP SA that is over.
pub(crate) struct Closed {
    channel: Channel,
    /// Our delete of it, if the end was our doing.
    farewell: Option<Vec<Vec<u8>>>,
    until: Instant,
}

impl Closed {
    pub(crate) fn new(channel: Channel, farewell: Option<Vec<Vec<u8>>>, until: Instant) -> Closed {
        Closed { channel, farewell, until }
    }

    /// Says once more that it is over, to whoever has its keys.
    pub(crate) fn handle_datagram(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        let (Some(farewell), Content::Encrypted(ciphertext)) = (&self.farewell, &datagram.content) else {
            return;
        };
        let message_id = datagram.header.message_id;
        let Some(opened) = self.channel.open(&self.channel.phase_2_iv(message_id), ciphertext) else {
            return;
        };
        let Ok(chain) = opened.payloads(datagram.header.next_payload) else { return };
        let contents = Contents::new("a closed ISAKMP SA's", chain);
        let is_authentic = contents.leading_hash().is_ok_and(|(hash, following)| {
            self.channel.hash(&[&message_id.to_be_bytes(), following]).ct_eq(hash)
        });
        // Two ends that both have deleted it would have much to say to each other.
        let knows = contents.deletes().any(|delete| delete.protocol == ProtocolId::ISAKMP);
        if is_authentic && !knows {
            cx.transmit(path, farewell);
        }
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }
}
