//! The transaction exchange: one message that asks for something or sets it, and one that answers
//! (draft-dukes-ike-mode-cfg-02 §3.1). XAuth and Mode Config are made of it.
//!
//! ```text
//!   HDR*, HASH, ATTR(REQUEST or SET)    -->
//!                                       <--    HDR*, HASH, ATTR(REPLY or ACK)
//!
//!   HASH = prf(SKEYID_a, M-ID | ATTR)
//! ```
//!
//! Whoever begins it repeats its message until it is answered; a repeated message gets the answer that it had.

use std::collections::VecDeque;
use std::time::Instant;

use wire::registry::ExchangeType;
use wire::registry::v1::ConfigurationType;
use wire::v1::{Attribute, Attributes, Content, Datagram, Payload};

use super::channel::{Channel, Iv, trace_received};
use super::contents::Contents;
use super::repeated::Repeated;
use crate::context::Context;
use crate::error::Error;
use crate::io::Path;
use crate::limits;
use crate::retransmission::Repeating;

const NAME: &str = "transaction";

/// The peer's last transactions in an ISAKMP SA, and what we answered.
#[derive(Debug, Default)]
pub(crate) struct Transactions(VecDeque<(u32, Repeated)>);

impl Transactions {
    /// Answers a message of a transaction that was answered before; tells whether it is one.
    pub(crate) fn repeat(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> bool {
        let message_id = datagram.header.message_id;
        let answered = self.0.iter().find(|(answered, _)| *answered == message_id);
        if let Some((_, last)) = answered {
            last.repeat(cx, path, datagram.bytes);
        }
        answered.is_some()
    }

    /// Notes an answer.
    pub(crate) fn note(&mut self, message_id: u32, answer: Repeated) {
        if self.0.len() == limits::TRANSACTIONS_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((message_id, answer));
    }
}

/// A transaction of ours that waits for its answer.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) message_id: u32,
    pub(crate) iv: Iv,
    pub(crate) repeating: Repeating,
    pub(crate) begun_at: Instant,
}

/// HDR*, HASH, ATTR(REQUEST or SET) -->
pub(crate) fn begin(
    channel: &mut Channel,
    cx: &mut Context,
    configuration_type: ConfigurationType,
    attributes: Vec<Attribute>,
) -> Result<Begun, Error> {
    let message_id = channel.next_message_id(cx);
    let mut identifier = [0; 2];
    cx.random.fill(&mut identifier);
    let identifier = u16::from_be_bytes(identifier);
    let attributes = Payload::Attributes(Attributes { configuration_type, identifier, attributes });
    let iv = channel.phase_2_iv(message_id);
    let (message, iv) =
        channel.seal_hashed(cx, ExchangeType::V1_TRANSACTION, message_id, &iv, &[], vec![attributes])?;
    cx.transmit(channel.path, &message);
    Ok(Begun { message_id, iv, repeating: cx.begin_repeating(message), begun_at: cx.now })
}

/// Reads a message that uses this IV; `None` is one that nobody with the keys has made, which is counted.
pub(crate) fn read(
    channel: &Channel,
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    iv: &Iv,
) -> Option<(Attributes, Iv)> {
    let read = authentic(channel, cx, path, datagram, iv);
    cx.forged += u64::from(read.is_none());
    read
}

fn authentic(
    channel: &Channel,
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    iv: &Iv,
) -> Option<(Attributes, Iv)> {
    let Content::Encrypted(ciphertext) = &datagram.content else { return None };
    let opened = channel.open(iv, ciphertext)?;
    let chain = opened.payloads(datagram.header.next_payload).ok()?;
    let contents = Contents::new(NAME, chain.clone());
    channel.check_hash(&contents, datagram.header.message_id, &[]).ok()?;
    let attributes = contents.payloads().find_map(|payload| match payload {
        Payload::Attributes(attributes) => Some(attributes.clone()),
        _ => None,
    })?;
    trace_received(cx, path, datagram, &chain);
    Some((attributes, opened.next_iv.clone()))
}

/// <-- HDR*, HASH, ATTR(REPLY or ACK)
pub(crate) fn answer(
    channel: &Channel,
    cx: &mut Context,
    datagram: &Datagram<'_>,
    iv: &Iv,
    attributes: Attributes,
) -> Result<Repeated, Error> {
    let message_id = datagram.header.message_id;
    let payloads = vec![Payload::Attributes(attributes)];
    let (message, _) =
        channel.seal_hashed(cx, ExchangeType::V1_TRANSACTION, message_id, iv, &[], payloads)?;
    cx.transmit(channel.path, &message);
    Ok(Repeated::new(datagram.bytes, message))
}
