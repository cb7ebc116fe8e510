//! Messages as they are counted, and told to whoever wants to read them.

use wire::isakmp::Header;

use crate::Path;
use crate::context::Context;
use crate::event::{Event, MessageTrace, PayloadTrace, TraceDirection};
use crate::tally::Counted;

impl Context {
    /// Counts a message for an IKE SA that did not authenticate.
    pub(crate) fn note_forged(&mut self) {
        self.forged += 1;
        self.tally.note(Counted::Invalid);
    }

    /// Counts a message, and tells what it says if anybody listens.
    pub(crate) fn trace(
        &mut self,
        direction: TraceDirection,
        path: Path,
        header: &Header,
        datagrams: (usize, usize),
        payloads: &[impl Explain],
    ) {
        self.tally.note_message(direction, header);
        if !self.settings.trace_messages {
            return;
        }
        let (fragments, octets) = datagrams;
        let payloads = payloads.iter().map(explain).collect();
        self.tell(Event::Message(MessageTrace {
            at: self.now,
            direction,
            path,
            version: header.version,
            exchange: header
                .exchange_type
                .name()
                .map_or_else(|| header.exchange_type.to_string(), str::to_owned),
            is_response: header.flags.is_response(),
            message_id: header.message_id,
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            octets,
            fragments,
            payloads,
        }));
    }
}

/// A payload of either version, which can say what it is for.
pub(crate) trait Explain {
    /// Gives its notation in the RFC, a colon, and one sentence.
    fn explain(&self) -> String;
}

impl Explain for wire::v1::Payload {
    fn explain(&self) -> String {
        wire::v1::Payload::explain(self)
    }
}

impl Explain for wire::v2::Payload {
    fn explain(&self) -> String {
        wire::v2::Payload::explain(self)
    }
}

/// Puts a payload in words: its notation in the RFC, and the sentence that follows it.
fn explain(payload: &impl Explain) -> PayloadTrace {
    let explanation = payload.explain();
    let (name, sentence) = explanation.split_once(": ").unwrap_or((&explanation, ""));
    PayloadTrace { name: name.to_owned(), sentence: sentence.to_owned() }
}
