//! Someone who has taken the right's place in an IKE SA, with its keys: it says and keeps silent what a test wants.

use std::time::Duration;

use wire::isakmp::Flags;
use wire::registry::ExchangeType;
use wire::v2::{HeaderFields, Payload, decode_payloads};

use crate::{Content, Forger, Pair, Scenario, Side};

/// Speaks to the left in the right's name, while the right itself is switched off.
pub struct Impostor {
    forger: Forger,
    next_id: u32,
}

impl Impostor {
    /// Brings a scenario's tunnel up from the left, and takes the right's place then.
    ///
    /// # Panics
    /// The tunnel does not come up, or the suite of the IKE SA is no AEAD.
    pub fn takes_over(scenario: Scenario) -> (Pair, Impostor) {
        let mut pair = Pair::new(scenario.both(|gateway| gateway.settings.disclose_keys = true));
        pair.connect();
        pair.settle();
        let impostor = Impostor::of(&pair);
        pair.switch_off(Side::Right);
        (pair, impostor)
    }

    /// Knows the keys of the IKE SA that the left told of last, in which the right has asked for nothing yet.
    ///
    /// # Panics
    /// The left has told of none, or its suite is no AEAD.
    pub fn of(pair: &Pair) -> Impostor {
        let keys = pair.disclosed_keys(Side::Left).expect("the settings ask for it");
        Impostor { forger: Forger::new(keys).expect("the suite is an AEAD"), next_id: 0 }
    }

    /// Sends the left a request, and gives what its response says; `None` if there is no response.
    ///
    /// # Panics
    /// What the left answers cannot be read.
    pub fn asks(
        &mut self,
        pair: &mut Pair,
        exchange_type: ExchangeType,
        payloads: &[Payload],
    ) -> Option<Vec<Payload>> {
        let last = self.last_request(pair).map(|content| content.fields);
        let known = pair.disclosed_keys(Side::Left).expect("it was told at the beginning");
        let fields = last.unwrap_or(HeaderFields {
            initiator_spi: known.initiator_spi,
            responder_spi: known.responder_spi,
            exchange_type,
            flags: Flags::INITIATOR,
            message_id: 0,
        });
        let fields = HeaderFields { exchange_type, flags: Flags::NONE, message_id: self.next_id, ..fields };
        let responses = pair.answers(Side::Left, self.seals(fields, payloads));
        let is_its_answer = |content: &Content| {
            content.fields.flags.is_response() && content.fields.message_id == self.next_id
        };
        let response = responses.iter().filter_map(|bytes| self.forger.open(bytes)).find(is_its_answer)?;
        self.next_id += 1;
        Some(decode_payloads(response.first_payload, &response.octets).expect("it can be read"))
    }

    /// Answers the left's last request, and lets it act on that.
    ///
    /// # Panics
    /// The left has asked for nothing.
    pub fn answers(&self, pair: &mut Pair, payloads: &[Payload]) {
        let request = self.last_request(pair).expect("the left has asked for something");
        let fields = HeaderFields { flags: Flags::RESPONSE, ..request.fields };
        pair.answers(Side::Left, self.seals(fields, payloads));
    }

    /// Seals a message.
    ///
    /// # Panics
    /// It is longer than a message may be.
    pub fn seals(&self, fields: HeaderFields, payloads: &[Payload]) -> Vec<u8> {
        self.forger.seal_payloads(fields, payloads).expect("it is short")
    }

    /// Opens a message of the left's; `None` if it is none, or cannot be read.
    pub fn opens(&self, bytes: &[u8]) -> Option<(HeaderFields, Vec<Payload>)> {
        let content = self.forger.open(bytes)?;
        let payloads = decode_payloads(content.first_payload, &content.octets).ok()?;
        Some((content.fields, payloads))
    }

    /// Gives the last request that the left sent under these keys, its repetitions among them.
    pub fn last_request(&self, pair: &Pair) -> Option<Content> {
        let messages = pair.messages(Side::Left);
        let mut opened = messages.iter().rev().filter_map(|bytes| self.forger.open(bytes));
        opened.find(|content| !content.fields.flags.is_response())
    }

    /// Gives what the left's last request says.
    ///
    /// # Panics
    /// The left has asked for nothing, or what cannot be read.
    pub fn heard(&self, pair: &Pair) -> (ExchangeType, Vec<Payload>) {
        let content = self.last_request(pair).expect("the left has asked for something");
        let payloads = decode_payloads(content.first_payload, &content.octets).expect("it can be read");
        (content.fields.exchange_type, payloads)
    }

    /// Tells whether the left has sent a new request of this kind within a time.
    pub fn hears_within(&self, pair: &mut Pair, time: Duration, exchange_type: ExchangeType) -> bool {
        let id = |pair: &Pair| self.last_request(pair).map(|content| content.fields.message_id);
        let before = id(pair);
        pair.run_for(time);
        id(pair) != before && self.heard(pair).0 == exchange_type
    }
}
