//! PEM (RFC 7468): DER in letters, between lines that say what it is.
//!
//! Read liberally, since people's files come from everywhere: text around the blocks, any line length and line ending,
//! and the headers of old encrypted keys (RFC 1421 §4.6). Written as the RFC wants it.

use base64ct::{Base64, Encoding};
use crypto::Secret;
use thiserror::Error;

/// One block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What stands behind BEGIN, such as `CERTIFICATE`.
    pub label: String,
    /// The lines `name: value` before the letters.
    pub headers: Vec<(String, String)>,
    /// What the letters say; a private key's is secret.
    pub content: Secret<Vec<u8>>,
}

/// Why a text cannot be read as PEM.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPem {
    /// A block begins and does not end.
    #[error("the PEM block {0} has no line that ends it")]
    Unfinished(String),
    /// There are letters that do not belong.
    #[error("the PEM block {0} is not in base64")]
    Letters(String),
}

/// Tells whether octets are a text with PEM blocks.
pub fn is_pem(octets: &[u8]) -> bool {
    octets.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// Reads all blocks of a text.
///
/// # Errors
/// A block is damaged.
pub fn read(octets: &[u8]) -> Result<Vec<Block>, InvalidPem> {
    let mut blocks = Vec::new();
    let mut lines = octets.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        if let Some(label) = label_of(line, BEGIN) {
            blocks.push(read_block(label, &mut lines)?);
        }
    }
    Ok(blocks)
}

/// Writes one block.
pub fn write(label: &str, content: &[u8]) -> Secret<Vec<u8>> {
    const LINE_LEN: usize = 64;
    let mut letters = Secret::new(vec![0; Base64::encoded_len(content)]);
    let written = Base64::encode(content, letters.expose_mut()).map_or(0, str::len);
    let line_count = written.div_ceil(LINE_LEN);
    let frame = [format!("{BEGIN}{label}{DASHES}\n"), format!("{END}{label}{DASHES}\n")];
    // All room from the start: a secret leaves a copy behind where a vector grows.
    let mut text = Secret::new(Vec::with_capacity(frame.concat().len() + written + line_count));
    let lines = text.expose_mut();
    lines.extend_from_slice(frame[0].as_bytes());
    for line in letters.as_slice()[..written].chunks(LINE_LEN) {
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }
    lines.extend_from_slice(frame[1].as_bytes());
    text
}

fn read_block<'a>(label: String, lines: &mut impl Iterator<Item = &'a [u8]>) -> Result<Block, InvalidPem> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut letters = Secret::new(Vec::new());
    for line in lines {
        if label_of(line, END).as_ref() == Some(&label) {
            // Padding is optional, as in many other readers.
            while letters.len() % 4 != 0 {
                letters.expose_mut().push(b'=');
            }
            let mut content = Secret::new(vec![0; letters.len() / 4 * 3]);
            let length = Base64::decode(letters.as_slice(), content.expose_mut())
                .map_err(|_| InvalidPem::Letters(label.clone()))?
                .len();
            content.expose_mut().truncate(length);
            return Ok(Block { label, headers, content });
        }
        match std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            None => letters.expose_mut().extend_from_slice(line),
        }
    }
    Err(InvalidPem::Unfinished(label))
}

/// What stands in `-----BEGIN label-----`.
fn label_of(line: &[u8], keyword: &str) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix(keyword)?.strip_suffix(DASHES).map(str::to_owned)
}

const DASHES: &str = "-----";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_read_among_other_text() {
        let text = "subject=CN\r\n-----BEGIN A B-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nAAEC\r\nAw==\r\n-----END A B-----\r\n\
                    more\n-----BEGIN C-----\n-----END C-----";
        let blocks = read(text.as_bytes()).unwrap();
        let [first, second] = blocks.as_slice() else { panic!("two blocks") };
        assert_eq!((first.label.as_str(), first.content.as_slice()), ("A B", [0, 1, 2, 3].as_slice()));
        assert_eq!(first.headers, [("Proc-Type".to_owned(), "4,ENCRYPTED".to_owned())]);
        assert_eq!((second.label.as_str(), second.content.len()), ("C", 0));
    }

    #[test]
    fn damaged_blocks_say_what_is_wrong() {
        let unfinished = read(b"-----BEGIN A-----\nAAEC\n-----END B-----\n").unwrap_err();
        assert_eq!(unfinished.to_string(), "the PEM block A has no line that ends it");
        let letters = read(b"-----BEGIN A-----\nA$EC\n-----END A-----\n").unwrap_err();
        assert_eq!(letters.to_string(), "the PEM block A is not in base64");
    }

    #[test]
    fn text_without_blocks_has_none() {
        assert!(read(b"no PEM\n").unwrap().is_empty());
        assert!(!is_pem(b"no PEM\n") && is_pem(b"x\n-----BEGIN A-----"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(content: Vec<u8>) {
            let text = write("PRIVATE KEY", &content);
            prop_assert!(text.as_slice().split(|octet| *octet == b'\n').all(|line| line.len() <= 64));
            let blocks = read(text.as_slice()).unwrap();
            prop_assert_eq!(blocks.len(), 1);
            prop_assert_eq!(blocks[0].content.as_slice(), content);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = read(format!("-----BEGIN A-----\n{text}").as_bytes());
        }
    }
}
