//! What each message of IKEv1's fixed dialogues is for, in a sentence: main mode has six messages, aggressive mode three, and
//! quick mode three.
//!
//! The messages of version 2 need none: there is one request and one response, and their payloads tell it all.

use std::collections::BTreeMap;

/// The dialogues that go on, each with the messages that it has had.
#[derive(Debug, Default)]
pub(crate) struct Dialogues(BTreeMap<Dialogue, usize>);

/// One run of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dialogue {
    /// The exchange's name in the registry.
    pub(crate) exchange: String,
    pub(crate) initiator_spi: String,
    pub(crate) message_id: u64,
}

impl Dialogues {
    /// Gives the sentence for the next message of a dialogue, if its exchange has a fixed course.
    pub(crate) fn next(&mut self, dialogue: Dialogue) -> Option<&'static str> {
        let course = course(&dialogue.exchange)?;
        let had = self.0.entry(dialogue).or_default();
        *had += 1;
        course.get(*had - 1).copied()
    }
}

fn course(exchange: &str) -> Option<&'static [&'static str]> {
    match exchange {
        "Identity Protection (IKEv1)" => Some(&MAIN_MODE),
        "Aggressive (IKEv1)" => Some(&AGGRESSIVE_MODE),
        "Quick Mode (IKEv1)" => Some(&QUICK_MODE),
        _ => None,
    }
}

const MAIN_MODE: [&str; 6] = [
    "Main mode, 1 of 6: the initiator offers combinations of algorithms, in the clear.",
    "Main mode, 2 of 6: the responder takes one of them.",
    "Main mode, 3 of 6: the initiator's half of the key exchange, and what shows whether a NAT is on the way.",
    "Main mode, 4 of 6: the responder's half; from here on both have keys that nobody on the way can compute.",
    "Main mode, 5 of 6: encrypted, the initiator says who it is and proves it.",
    "Main mode, 6 of 6: the responder does the same, and the ISAKMP SA is up; nobody on the way saw a name.",
];

const AGGRESSIVE_MODE: [&str; 3] = [
    "Aggressive mode, 1 of 3: the offer, the initiator's half of the key exchange and its name, all at once and in the \
     clear.",
    "Aggressive mode, 2 of 3: the choice, the other half, the responder's name and its proof, in the clear as well: \
     whoever sends a message 1 gets a hash to try pre-shared keys on.",
    "Aggressive mode, 3 of 3: the initiator's proof, encrypted; the ISAKMP SA is up after half as many messages as main \
     mode takes, and everybody on the way knows whose it is.",
];

const QUICK_MODE: [&str; 3] = [
    "Quick mode, 1 of 3: under the keys of phase 1, the initiator offers what protects which packets.",
    "Quick mode, 2 of 3: the responder takes one of the combinations, and names the SPI that it will receive on.",
    "Quick mode, 3 of 3: the initiator has seen the responder's fresh nonce, so that none of it is a replay; the Child SA \
     is up.",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(exchange: &str, message_id: u64) -> Dialogue {
        Dialogue { exchange: exchange.to_owned(), initiator_spi: "01".to_owned(), message_id }
    }

    #[test]
    fn each_message_has_the_next_sentence_of_its_own_dialogue() {
        let mut dialogues = Dialogues::default();
        for (sentence, other) in AGGRESSIVE_MODE.iter().zip(QUICK_MODE) {
            assert_eq!(dialogues.next(dialogue("Aggressive (IKEv1)", 0)), Some(*sentence));
            assert_eq!(dialogues.next(dialogue("Quick Mode (IKEv1)", 7)), Some(other));
        }
        assert_eq!(dialogues.next(dialogue("Quick Mode (IKEv1)", 8)), Some(QUICK_MODE[0]));
        assert_eq!(dialogues.next(dialogue("Aggressive (IKEv1)", 0)), None);
        assert_eq!(dialogues.next(dialogue("IKE_AUTH", 1)), None);
    }
}
