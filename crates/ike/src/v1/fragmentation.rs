//! Messages in fragments, as Cisco's and Microsoft's boxes brought them about and others took them up: payload 132, which
//! no RFC describes.
//!
//! ```text
//!   HDR, …  ──cut──►  HDR, FRAG(id, 1, first octets)   HDR, FRAG(id, 2, …)   HDR, FRAG(id, n, last, …)
//!                     │ the pieces one after the other │
//!                     └────────────────────────────────┴─► HDR, …   as if it had come whole
//! ```
//!
//! The piece is of the finished message, its header and its ciphertext, so a fragment has a header in the clear and is
//! not authentic by itself: whoever can write to the wire can spoil a message, as by changing it. What is kept is
//! bounded for each ISAKMP SA, and apart from that for all strangers together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wire::isakmp::{Flags, Header, IkeSpi};
use wire::v1::{Fragment, HeaderFields, encode_fragment};

use super::abilities::PeerAbilities;
use crate::context::Context;
use crate::error::Error;
use crate::io::Path;
use crate::{Fragmentation, limits};

// --- Sender --------------------------------------------------------------------------------------------------------

/// Whether our long messages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cutting {
    /// They are not.
    Whole,
    /// They are.
    Cut,
}

impl Cutting {
    /// Decides it for a peer.
    pub(crate) fn towards(peer: PeerAbilities, fragmentation: Fragmentation) -> Cutting {
        match fragmentation {
            Fragmentation::Yes if peer.fragmentation => Cutting::Cut,
            Fragmentation::Force => Cutting::Cut,
            Fragmentation::Yes | Fragmentation::Accept | Fragmentation::No => Cutting::Whole,
        }
    }

    /// Cuts a message, if it is too long for a datagram.
    ///
    /// # Errors
    /// It would take more fragments than can be numbered.
    pub(crate) fn cut(
        self,
        cx: &mut Context,
        path: Path,
        fields: &HeaderFields,
        message: Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let limit = limits::datagram_octets(cx.settings.fragment_size, path.remote.ip());
        if self == Cutting::Whole || message.len() <= limit {
            return Ok(vec![message]);
        }
        let share = limit.saturating_sub(OVERHEAD).max(limits::FRAGMENT_CONTENT_AT_LEAST);
        let id = cx.next_fragment_id();
        // What is inside says itself whether it is encrypted.
        let fields = HeaderFields { flags: Flags::NONE, ..*fields };
        let count = message.len().div_ceil(share);
        let last =
            u8::try_from(count).map_err(|_| Error::Local(format!("a message in {count} fragments")))?;
        let pieces = (1..=last).zip(message.chunks(share));
        let fragments = pieces.map(|(number, data)| {
            let fragment = Fragment { id, number, is_last: number == last, data };
            encode_fragment(&fields, &fragment).map_err(|fault| Error::Local(fault.to_string()))
        });
        fragments.collect()
    }
}

/// Octets of a fragment that are not the message's.
const OVERHEAD: usize = Header::LEN + 8;

// --- Receiver ------------------------------------------------------------------------------------------------------

/// Whose message a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sender {
    /// The peer's of this ISAKMP SA, by our SPI.
    Of(IkeSpi),
    /// Somebody's who begins one, by its address and SPI.
    Stranger(SocketAddr, IkeSpi),
}

/// One message that comes in fragments. The id is the same in all of them; some give all their messages the same.
type Name = (Sender, u32, u16);

/// The fragments of all messages that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    of_sas: Shelf,
    of_strangers: Shelf,
}

impl Collection {
    /// Adds a fragment of the exchange `message_id`; gives the message once it is complete, with the number of its
    /// fragments.
    pub(crate) fn add(
        &mut self,
        sender: Sender,
        message_id: u32,
        fragment: &Fragment<'_>,
    ) -> Option<(Vec<u8>, usize)> {
        let (shelf, octets) = match sender {
            Sender::Of(_) => (&mut self.of_sas, limits::REASSEMBLED_OCTETS),
            Sender::Stranger(..) => (&mut self.of_strangers, limits::FIRST_MESSAGE_OCTETS),
        };
        shelf.add((sender, message_id, fragment.id), fragment, octets)
    }
}

/// A bounded number of incomplete messages.
#[derive(Debug, Default)]
struct Shelf {
    messages: BTreeMap<Name, Reassembly>,
    /// How many were begun so far.
    begun: u64,
}

impl Shelf {
    fn add(&mut self, name: Name, fragment: &Fragment<'_>, octets: usize) -> Option<(Vec<u8>, usize)> {
        if !self.messages.contains_key(&name) {
            self.make_room(name.0);
            self.begun += 1;
            self.messages.insert(name, Reassembly { age: self.begun, ..Reassembly::default() });
        }
        let reassembly = self.messages.get_mut(&name)?;
        reassembly.add(fragment, octets);
        let complete = reassembly.complete();
        if complete.is_some() || reassembly.pieces.is_empty() {
            self.messages.remove(&name);
        }
        complete
    }

    /// Forgets the oldest of a sender that has as many as it may have, or else the oldest of all.
    fn make_room(&mut self, sender: Sender) {
        let oldest = |of: &dyn Fn(&Name) -> bool| {
            let names = self.messages.iter().filter(|(name, _)| of(name));
            names.min_by_key(|(_, reassembly)| reassembly.age).map(|(name, _)| *name)
        };
        let own = self.messages.keys().filter(|(other, ..)| *other == sender).count();
        let victim = if own >= limits::MESSAGES_IN_FRAGMENTS_OF_ONE {
            oldest(&|(other, ..)| *other == sender)
        } else if self.messages.len() >= limits::MESSAGES_IN_FRAGMENTS {
            oldest(&|_| true)
        } else {
            None
        };
        if let Some(name) = victim {
            self.messages.remove(&name);
        }
    }
}

/// The fragments of one message that have come so far.
#[derive(Clone, Debug, Default)]
struct Reassembly {
    age: u64,
    /// The number of the last fragment, once that is known.
    last: Option<u8>,
    pieces: BTreeMap<u8, Vec<u8>>,
}

impl Reassembly {
    /// Takes a fragment. One that contradicts the others is of another message with the same name, and the newer counts.
    fn add(&mut self, fragment: &Fragment<'_>, limit: usize) {
        let Fragment { number, is_last, data, .. } = *fragment;
        let differs = self.pieces.get(&number).is_some_and(|piece| piece != data);
        let is_beyond = self.last.is_some_and(|last| number > last || is_last && number != last);
        let is_before = is_last && self.pieces.keys().next_back().is_some_and(|highest| *highest > number);
        if differs || is_beyond || is_before {
            *self = Reassembly { age: self.age, ..Reassembly::default() };
        }
        if is_last {
            self.last = Some(number);
        }
        self.pieces.insert(number, data.to_vec());
        if self.pieces.values().map(Vec::len).sum::<usize>() > limit {
            *self = Reassembly { age: self.age, ..Reassembly::default() };
        }
    }

    fn complete(&self) -> Option<(Vec<u8>, usize)> {
        let is_complete = self.last.is_some_and(|last| self.pieces.len() == usize::from(last));
        is_complete.then(|| {
            let pieces: Vec<&[u8]> = self.pieces.values().map(Vec::as_slice).collect();
            (pieces.concat(), pieces.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(id: u16, number: u8, is_last: bool, data: &[u8]) -> Fragment<'_> {
        Fragment { id, number, is_last, data }
    }

    fn sender(spi: u64) -> Sender {
        Sender::Of(IkeSpi(spi))
    }

    #[test]
    fn messages_of_one_name_do_not_mix() {
        let mut collection = Collection::default();
        let mut add = |number, is_last, data| collection.add(sender(1), 0, &piece(1, number, is_last, data));
        assert_eq!(add(1, false, b"ab"), None);
        assert_eq!(add(2, true, b"cd"), Some((b"abcd".to_vec(), 2)));
        // A late copy of the first message's end, then another message under the same name.
        assert_eq!(add(2, true, b"cd"), None);
        assert_eq!(add(3, true, b"z"), None);
        assert_eq!(add(2, false, b"y"), None);
        assert_eq!(add(1, false, b"x"), Some((b"xyz".to_vec(), 3)));
    }

    #[test]
    fn what_strangers_may_leave_here_is_bounded() {
        let mut collection = Collection::default();
        let stranger = |host: u32, spi| {
            let address = SocketAddr::new(std::net::Ipv4Addr::from_bits(host).into(), 500);
            Sender::Stranger(address, IkeSpi(spi))
        };
        let large = vec![0; limits::FIRST_MESSAGE_OCTETS + 1];
        assert_eq!(collection.add(stranger(1, 1), 0, &piece(1, 1, true, &large)), None);
        assert!(collection.of_strangers.messages.is_empty());
        for host in 0..2 * limits::MESSAGES_IN_FRAGMENTS as u32 {
            assert_eq!(collection.add(stranger(host, 1), 0, &piece(1, 1, false, b"a")), None);
        }
        assert_eq!(collection.of_strangers.messages.len(), limits::MESSAGES_IN_FRAGMENTS);
        // The oldest are forgotten, the latest are not, and what belongs to an SA is apart.
        assert_eq!(collection.add(stranger(0, 1), 0, &piece(1, 2, true, b"b")), None);
        let latest = stranger(2 * limits::MESSAGES_IN_FRAGMENTS as u32 - 1, 1);
        assert_eq!(collection.add(latest, 0, &piece(1, 2, true, b"b")), Some((b"ab".to_vec(), 2)));
        assert!(collection.of_sas.messages.is_empty());
    }

    #[test]
    fn one_peer_does_not_crowd_the_others_out() {
        let mut collection = Collection::default();
        assert_eq!(collection.add(sender(1), 7, &piece(1, 1, false, b"a")), None);
        for message_id in 0..1000 {
            assert_eq!(collection.add(sender(2), message_id, &piece(1, 1, false, b"z")), None);
        }
        assert_eq!(collection.of_sas.messages.len(), 1 + limits::MESSAGES_IN_FRAGMENTS_OF_ONE);
        assert_eq!(collection.add(sender(1), 7, &piece(1, 2, true, b"b")), Some((b"ab".to_vec(), 2)));
    }

    proptest! {
        #[test]
        fn any_order_with_any_copies_gives_the_message_once(
            message in prop::collection::vec(any::<u8>(), 1..400),
            share in 1usize..40,
            seed in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let chunks: Vec<&[u8]> = message.chunks(share.max(message.len().div_ceil(255))).collect();
            let count = u8::try_from(chunks.len()).expect("no more than can be numbered");
            // Any at first, then all of them backwards: in the end none is missing.
            let order = seed.iter().map(|index| 1 + index.index(chunks.len()) as u8).chain((1..=count).rev());
            let mut collection = Collection::default();
            let mut complete = Vec::new();
            for number in order {
                let chunk = chunks[usize::from(number) - 1];
                complete.extend(collection.add(sender(1), 0, &piece(9, number, number == count, chunk)));
            }
            prop_assert!(!complete.is_empty());
            prop_assert!(complete.iter().all(|(whole, _)| *whole == message));
        }

        #[test]
        fn no_fragments_give_more_than_a_message_may_have(
            pieces in prop::collection::vec((1u8..6, any::<bool>(), 0usize..30_000, 0u16..3), 0..60),
        ) {
            let mut collection = Collection::default();
            for (number, is_last, length, id) in pieces {
                let data = vec![number; length];
                let complete = collection.add(sender(1), 0, &piece(id, number, is_last, &data));
                prop_assert!(complete.is_none_or(|(whole, _)| whole.len() <= limits::REASSEMBLED_OCTETS));
                let kept = collection.of_sas.messages.values().flat_map(|message| message.pieces.values());
                let most = limits::MESSAGES_IN_FRAGMENTS_OF_ONE * limits::REASSEMBLED_OCTETS;
                prop_assert!(kept.map(Vec::len).sum::<usize>() <= most);
            }
        }
    }
}
