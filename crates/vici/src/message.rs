//! A tree as a vici message: a sequence of elements, each a type octet and then a name, a value or nothing.
//!
//! ```text
//!   SECTION_START 1 │ len │ name …          KEY_VALUE  3 │ len │ name … │ len len │ value …
//!   SECTION_END   2                         LIST_START 4 │ len │ name …
//!                                           LIST_ITEM  5 │ len len │ value …
//!                                           LIST_END   6
//! ```
//!
//! Source: the protocol description published with strongSwan's vici plugin.

use thiserror::Error;

use crate::limits::{MAX_DEPTH, MAX_NAME_LEN, MAX_VALUE_LEN};
use crate::{Node, Tree, Value};

/// Why a tree does not fit into a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TooLarge {
    /// A name is longer than its length octet can say.
    #[error("the name {0:?} is longer than {MAX_NAME_LEN} bytes")]
    Name(String),
    /// A value is longer than its two length octets can say.
    #[error("the value of {0:?} is longer than {MAX_VALUE_LEN} bytes")]
    Value(String),
    /// Sections lie too deep.
    #[error("sections are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// The whole packet is longer than the protocol allows.
    #[error("the packet is {0} bytes long, more than the protocol allows")]
    Packet(usize),
}

/// Why octets are no message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidMessage {
    /// The octets end inside an element.
    #[error("the message ends inside an element")]
    Truncated,
    /// An element has a type that the protocol does not know.
    #[error("{0} is not an element type")]
    UnknownElement(u8),
    /// An element stands where it may not.
    #[error("element type {0} is out of place")]
    Misplaced(u8),
    /// A section or list is still open at the end.
    #[error("a section or list is not closed")]
    Unclosed,
    /// Sections lie too deep.
    #[error("sections are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// A name is not UTF-8.
    #[error("a name is not text")]
    Name,
}

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// Writes a tree as a message.
///
/// # Errors
/// A name, a value or the nesting exceeds what the format can say.
pub fn encode(tree: &Tree) -> Result<Vec<u8>, TooLarge> {
    let mut octets = Vec::new();
    encode_body(tree, &mut octets, 0)?;
    Ok(octets)
}

fn encode_body(tree: &Tree, octets: &mut Vec<u8>, depth: usize) -> Result<(), TooLarge> {
    if depth > MAX_DEPTH {
        return Err(TooLarge::Depth);
    }
    for entry in &tree.entries {
        match &entry.node {
            Node::Value(value) => {
                push_name(octets, KEY_VALUE, &entry.name)?;
                push_value(octets, &entry.name, value)?;
            }
            Node::List(items) => {
                push_name(octets, LIST_START, &entry.name)?;
                for item in items {
                    octets.push(LIST_ITEM);
                    push_value(octets, &entry.name, item)?;
                }
                octets.push(LIST_END);
            }
            Node::Section(section) => {
                push_name(octets, SECTION_START, &entry.name)?;
                encode_body(section, octets, depth + 1)?;
                octets.push(SECTION_END);
            }
        }
    }
    Ok(())
}

fn push_name(octets: &mut Vec<u8>, element: u8, name: &str) -> Result<(), TooLarge> {
    let len = u8::try_from(name.len()).map_err(|_| TooLarge::Name(name.to_owned()))?;
    octets.extend([element, len]);
    octets.extend(name.as_bytes());
    Ok(())
}

fn push_value(octets: &mut Vec<u8>, name: &str, value: &Value) -> Result<(), TooLarge> {
    let len = u16::try_from(value.bytes.len()).map_err(|_| TooLarge::Value(name.to_owned()))?;
    octets.extend(len.to_be_bytes());
    octets.extend(&value.bytes);
    Ok(())
}

/// Reads a message.
///
/// # Errors
/// The octets end early, or an element is unknown, out of place or left open.
pub fn decode(octets: &[u8]) -> Result<Tree, InvalidMessage> {
    let mut rest = Octets(octets);
    let mut tree = Tree::new();
    // The sections that are open around `tree`, outermost first, each with the name of the one inside it.
    let mut open: Vec<(String, Tree)> = Vec::new();
    while let Some(element) = rest.next() {
        match element {
            SECTION_START if open.len() == MAX_DEPTH => return Err(InvalidMessage::Depth),
            SECTION_START => open.push((rest.name()?, std::mem::take(&mut tree))),
            SECTION_END => {
                let (name, outer) = open.pop().ok_or(InvalidMessage::Misplaced(element))?;
                let section = std::mem::replace(&mut tree, outer);
                tree.push_section(name, section);
            }
            KEY_VALUE => tree.push_value(rest.name()?, rest.value()?),
            LIST_START => tree.push_list(rest.name()?, rest.list_items()?),
            LIST_ITEM | LIST_END => return Err(InvalidMessage::Misplaced(element)),
            _ => return Err(InvalidMessage::UnknownElement(element)),
        }
    }
    if open.is_empty() { Ok(tree) } else { Err(InvalidMessage::Unclosed) }
}

/// What is left of a message.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], InvalidMessage> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(InvalidMessage::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn name(&mut self) -> Result<String, InvalidMessage> {
        let len = self.next().ok_or(InvalidMessage::Truncated)?;
        let name = self.take(usize::from(len))?;
        std::str::from_utf8(name).map(str::to_owned).map_err(|_| InvalidMessage::Name)
    }

    fn value(&mut self) -> Result<&'a [u8], InvalidMessage> {
        let len = self.take(2)?;
        self.take(usize::from(len[0]) << 8 | usize::from(len[1]))
    }

    fn list_items(&mut self) -> Result<Vec<&'a [u8]>, InvalidMessage> {
        let mut items = Vec::new();
        loop {
            match self.next().ok_or(InvalidMessage::Unclosed)? {
                LIST_ITEM => items.push(self.value()?),
                LIST_END => return Ok(items),
                known @ (SECTION_START | SECTION_END | KEY_VALUE | LIST_START) => {
                    return Err(InvalidMessage::Misplaced(known));
                }
                unknown => return Err(InvalidMessage::UnknownElement(unknown)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the protocol description, "Encoding example".
    #[rustfmt::skip]
    const EXAMPLE: &[u8] = &[
        3, 4, b'k', b'e', b'y', b'1', 0, 6, b'v', b'a', b'l', b'u', b'e', b'1',
        1, 8, b's', b'e', b'c', b't', b'i', b'o', b'n', b'1',
        1, 11, b's', b'u', b'b', b'-', b's', b'e', b'c', b't', b'i', b'o', b'n',
        3, 4, b'k', b'e', b'y', b'2', 0, 6, b'v', b'a', b'l', b'u', b'e', b'2',
        2,
        4, 5, b'l', b'i', b's', b't', b'1',
        5, 0, 5, b'i', b't', b'e', b'm', b'1',
        5, 0, 5, b'i', b't', b'e', b'm', b'2',
        6,
        2,
    ];

    fn example() -> Tree {
        Tree::new().with_value("key1", "value1").with_section(
            "section1",
            Tree::new()
                .with_section("sub-section", Tree::new().with_value("key2", "value2"))
                .with_list("list1", ["item1", "item2"]),
        )
    }

    #[test]
    fn the_published_example_has_the_published_octets() {
        assert_eq!(encode(&example()).expect("it is small"), EXAMPLE);
        assert_eq!(decode(EXAMPLE).expect("it is valid"), example());
    }

    #[test]
    fn every_truncation_is_noticed() {
        // Cutting after a whole element at the top level leaves a message, just a shorter one.
        let whole = [0, 14];
        for len in (0..EXAMPLE.len()).filter(|len| !whole.contains(len)) {
            let fault = decode(&EXAMPLE[..len]).expect_err("it is cut");
            assert!(matches!(fault, InvalidMessage::Truncated | InvalidMessage::Unclosed), "{len}: {fault}");
        }
    }

    #[test]
    fn misplaced_elements_are_refused() {
        assert_eq!(decode(&[2]), Err(InvalidMessage::Misplaced(2)));
        assert_eq!(decode(&[5, 0, 0]), Err(InvalidMessage::Misplaced(5)));
        assert_eq!(decode(&[4, 1, b'l', 4, 1, b'm']), Err(InvalidMessage::Misplaced(4)));
        assert_eq!(decode(&[9]), Err(InvalidMessage::UnknownElement(9)));
        assert_eq!(decode(&[1, 1, 0xff]), Err(InvalidMessage::Name));
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = [1, 0].repeat(MAX_DEPTH + 1);
        assert_eq!(decode(&deep), Err(InvalidMessage::Depth));
        let tree = (0..=MAX_DEPTH).fold(Tree::new(), |inner, _| Tree::new().with_section("s", inner));
        assert_eq!(encode(&tree), Err(TooLarge::Depth));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let long = "n".repeat(MAX_NAME_LEN + 1);
        assert_eq!(encode(&Tree::new().with_value(&long, "")), Err(TooLarge::Name(long)));
        let big = vec![0; MAX_VALUE_LEN + 1];
        assert_eq!(encode(&Tree::new().with_value("v", big)), Err(TooLarge::Value("v".into())));
    }
}
