//! The ladder: each IKE message as an arrow, each of its payloads as a sentence.
//!
//! ```text
//!   a 192.0.2.1                                                              b 198.51.100.1
//!   ├── IKE_SA_INIT request, message 0, 464 octets ────────────────────────────────────────▶│
//!   │       SA     2 proposals for IKE, …                                                   │
//! ```
//!
//! It reads what `keyway run --trace-messages` writes, which is the daemon's own decrypted view.

use std::fs;
use std::path::{Path, PathBuf};

use interop::{Failure, Result};
use serde_json::Value;

use crate::meaning::{Dialogue, Dialogues};
use crate::terminal::{Style, WIDTH, styled, wrapped};

/// Reads a trace file from where it was read last.
#[derive(Debug)]
pub(crate) struct Ladder {
    file: PathBuf,
    read_lines: usize,
    dialogues: Dialogues,
}

/// One message, as the trace has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) sent: bool,
    pub(crate) exchange: String,
    /// 1 or 2.
    version: u64,
    response: bool,
    message_id: u64,
    octets: u64,
    fragments: u64,
    local: String,
    remote: String,
    initiator_spi: String,
    /// What the message as a whole is for, where its exchange has a fixed course.
    meaning: Option<&'static str>,
    payloads: Vec<(String, String)>,
}

impl Ladder {
    /// Starts at the beginning of a trace file, which need not exist yet.
    pub(crate) fn new(file: &Path) -> Ladder {
        Ladder { file: file.to_owned(), read_lines: 0, dialogues: Dialogues::default() }
    }

    /// Gives the messages since the last call.
    pub(crate) fn climb(&mut self) -> Result<Vec<Message>> {
        let text = fs::read_to_string(&self.file).map_err(Failure::at(self.file.display()))?;
        // A last line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines: Vec<&str> = whole.lines().collect();
        let new = lines.iter().skip(self.read_lines);
        let mut messages = new.map(|line| Message::parse(line)).collect::<Result<Vec<Message>>>()?;
        self.read_lines = lines.len();
        for message in &mut messages {
            message.meaning = self.dialogues.next(message.dialogue());
        }
        Ok(messages)
    }
}

/// Prints messages between `a` on the left and `b` on the right.
pub(crate) fn print(messages: &[Message]) {
    let Some(first) = messages.first() else { return };
    let (left, right) = (format!("a  {}", first.local), format!("{}  b", first.remote));
    let gap = WIDTH.saturating_sub(4 + left.chars().count() + right.chars().count());
    println!("  {}{:gap$}{}", styled(Style::Bold, &left), "", styled(Style::Bold, &right));
    for message in messages {
        for line in message.lines() {
            println!("  {line}");
        }
    }
    println!("  │{:width$}│", "", width = INNER);
}

/// Columns between the two uprights.
const INNER: usize = WIDTH - 4;
/// Columns before a payload's name.
const MARGIN: usize = 4;
/// Columns of a payload's name.
const NAME: usize = 37;

impl Message {
    fn parse(line: &str) -> Result<Message> {
        let value: Value = serde_json::from_str(line).map_err(Failure::at("the trace of messages"))?;
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| value[key].as_u64().unwrap_or_default();
        let payloads = value["payloads"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Message {
            sent: value["direction"] == "sent",
            exchange: text(&value, "exchange"),
            version: number("version"),
            response: value["response"].as_bool().unwrap_or_default(),
            message_id: number("message_id"),
            octets: number("octets"),
            fragments: number("fragments"),
            local: text(&value, "local"),
            remote: text(&value, "remote"),
            initiator_spi: text(&value, "initiator_spi"),
            meaning: None,
            payloads: payloads
                .iter()
                .map(|payload| (text(payload, "name"), text(payload, "sentence")))
                .collect(),
        })
    }

    fn dialogue(&self) -> Dialogue {
        Dialogue {
            exchange: self.exchange.clone(),
            initiator_spi: self.initiator_spi.clone(),
            message_id: self.message_id,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("│{:INNER$}│", ""), self.arrow()];
        for part in wrapped(self.meaning.unwrap_or_default(), INNER - 2 * MARGIN) {
            if !part.is_empty() {
                lines.push(remark(&part));
            }
        }
        if self.payloads.is_empty() {
            lines.push(upright("", "(nothing: an authentic answer is all that is wanted)"));
        }
        for (name, sentence) in &self.payloads {
            let mut name = name.as_str();
            for part in wrapped(sentence, INNER - MARGIN - NAME - 1) {
                lines.push(upright(name, &part));
                name = "";
            }
        }
        lines
    }

    fn arrow(&self) -> String {
        let kind = match (self.version, self.response) {
            (1, _) => "",
            (_, true) => " response",
            (_, false) => " request",
        };
        let fragments =
            if self.fragments > 1 { format!(", {} fragments", self.fragments) } else { String::new() };
        let title = format!(
            " {}{kind}, message {}, {} octets{fragments} ",
            self.exchange, self.message_id, self.octets
        );
        let line = "─".repeat(INNER.saturating_sub(title.chars().count() + 3));
        let title = styled(Style::Cyan, &title);
        if self.sent {
            format!("├──{title}{line}▶│")
        } else {
            format!("│◀{line}{title}──┤")
        }
    }
}

fn remark(text: &str) -> String {
    let padding = INNER.saturating_sub(MARGIN + text.chars().count());
    format!("│{:MARGIN$}{}{:padding$}│", "", styled(Style::Dim, text), "")
}

fn upright(name: &str, text: &str) -> String {
    let padding = INNER.saturating_sub(MARGIN + NAME + text.chars().count());
    let name = styled(Style::Bold, &format!("{name:NAME$}"));
    format!("│{:MARGIN$}{name}{text}{:padding$}│", "", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":1.5,"direction":"received","exchange":"IKE_SA_INIT","response":true,"message_id":0,
        "octets":300,"fragments":1,"local":"192.0.2.1:500","remote":"198.51.100.1:500",
        "payloads":[{"name":"Nonce","sentence":"32 random octets, so that the keys are fresh even if everything else repeats"}]}"#;

    #[test]
    fn every_line_of_a_message_has_the_same_width() {
        let mut message = Message::parse(&LINE.replace('\n', "")).expect("the test's own line");
        message.meaning = Some(
            "A sentence that is too long for one line of the ladder, and therefore goes on, in the second one.",
        );
        assert!(!message.sent && message.response);
        for line in message.lines() {
            assert_eq!(line.chars().count(), INNER + 2, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_no_json_is_a_failure() {
        assert!(Message::parse("nonsense").is_err());
    }
}
