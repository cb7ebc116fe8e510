//! Properties of the codecs: what is written reads back the same, and nothing makes a reader panic.

use proptest::prelude::*;
use vici::text::{self, NoIncludes};
use vici::{Entry, Frames, Node, Packet, Sources, Span, Tree, message};

fn entry(name: String, node: Node) -> Entry {
    Entry { name, span: Span::NOWHERE, node }
}

/// Trees as messages can carry them: repeated names, lists, any bytes.
fn message_tree() -> impl Strategy<Value = Tree> {
    let value = || prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        value().prop_map(|bytes| Node::Value(bytes.into())),
        prop::collection::vec(value(), 0..4)
            .prop_map(|items| Node::List(items.into_iter().map(Into::into).collect())),
    ];
    let node = leaf.prop_recursive(5, 40, 6, |inner| {
        prop::collection::vec(("[a-c.]{0,3}".prop_map(String::from), inner), 0..6).prop_map(|entries| {
            Node::Section(Tree {
                entries: entries.into_iter().map(|(name, node)| entry(name, node)).collect(),
            })
        })
    });
    prop::collection::vec(("\\PC{0,8}", node), 0..6).prop_map(|entries| Tree {
        entries: entries.into_iter().map(|(name, node)| entry(name, node)).collect(),
    })
}

/// Trees as texts can carry them: names unique in a section, no lists, any text as value.
fn text_tree() -> impl Strategy<Value = Tree> {
    let leaf = "(?s).{0,20}".prop_map(|text| Node::Value(text.into()));
    let node = leaf.prop_recursive(4, 40, 6, |inner| {
        prop::collection::btree_map("[a-z%@*_/-]{1,6}", inner, 0..6).prop_map(|entries| {
            Node::Section(Tree {
                entries: entries.into_iter().map(|(name, node)| entry(name, node)).collect(),
            })
        })
    });
    prop::collection::btree_map("[a-zäß0-9]{1,6}", node, 0..6).prop_map(|entries| Tree {
        entries: entries.into_iter().map(|(name, node)| entry(name, node)).collect(),
    })
}

fn parse(text: &str) -> Option<Tree> {
    let mut sources = Sources::default();
    let file = sources.add("generated", text);
    text::parse(&mut sources, file, &mut NoIncludes).ok().map(|settings| settings.tree)
}

proptest! {
    #[test]
    fn messages_read_back_the_same(tree in message_tree()) {
        let octets = message::encode(&tree).expect("it is small");
        prop_assert_eq!(message::decode(&octets), Ok(tree));
    }

    #[test]
    fn packets_read_back_the_same(name in "\\PC{0,20}", tree in message_tree()) {
        for packet in [
            Packet::Request { name: name.clone(), message: tree.clone() },
            Packet::Event { name: name.clone(), message: tree.clone() },
            Packet::Register(name),
            Packet::Response(tree),
        ] {
            let mut frames = Frames::new();
            frames.push(&packet.encode().expect("it is small"));
            prop_assert_eq!(frames.next_packet(), Ok(Some(packet)));
        }
    }

    #[test]
    fn no_bytes_make_the_packet_reader_panic(bytes in prop::collection::vec(0u8..9, 0..200)) {
        if let Ok(tree) = message::decode(&bytes) {
            prop_assert_eq!(message::encode(&tree).expect("it came from a message"), bytes.clone());
        }
        let _ = Packet::decode(&bytes);
    }

    #[test]
    fn texts_read_back_the_same(tree in text_tree()) {
        let printed = text::print(&tree);
        let read = parse(&printed);
        prop_assert_eq!(read.as_ref(), Some(&tree), "{}", printed);
        prop_assert_eq!(text::print(&tree), text::print(&read.expect("it was read")));
    }

    #[test]
    fn no_text_makes_the_text_reader_panic(text in "([a-c{}=:.,#\"\\\\ \n\r\tä]|include){0,80}") {
        if let Some(tree) = parse(&text) {
            prop_assert_eq!(parse(&text::print(&tree)), Some(tree));
        }
    }
}
