//! Requests to the kernel's packet filter, nf_tables, over netlink: what `nft` does, as far as blocks need it.
//!
//! A [`Transaction`] holds any number of changes to one table; they come into force all at once or not at all. A [`Rule`]
//! is a row of instructions: load parts of a packet, look them up or compare them, give a verdict.
//!
//! ```text
//!   ip saddr & 255.255.0.0 . ip daddr & 255.255.0.0 @refuse0_16_16 goto refuse
//!
//!   Rule::new().load(SOURCE).mask(..).load(DESTINATION).mask(..).in_set("refuse0_16_16").then(Verdict::Goto("refuse"))
//! ```
//!
//! It refuses to know what the rules are for.

mod message;
mod rule;
mod transaction;

use std::io;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use self::message::{Attributes, Request, messages, write_batch_mark};
pub(super) use self::rule::{DEVICE_NAME, Header, Meta, Part, Rule, Verdict};
pub(super) use self::transaction::{Field, Hook, Ownership, Transaction};
use crate::sys;

/// A connection to the packet filter in this thread's network namespace.
pub(super) struct Nft {
    socket: Socket,
    port: u32,
    sequence: u32,
}

/// By what a table of ours, and what we do to it, are known to whoever listens to what happens to tables.
#[derive(Clone, Debug)]
pub(super) struct TableSignature {
    /// Its name.
    pub(super) table: String,
    /// The netlink port that our changes come from.
    pub(super) port: u32,
}

impl TableSignature {
    /// Tells whether a datagram of the kernel's is about a change of the table, or of what is in it, that is none of ours.
    pub(super) fn is_touched_in(&self, datagram: &[u8]) -> bool {
        messages(datagram).any(|message| {
            let table = message::find(message.attributes(), message::TABLE_NAME);
            let is_ours = table.and_then(|name| name.strip_suffix(&[0])) == Some(self.table.as_bytes());
            is_ours && message.port != self.port
        })
    }
}

/// What is known of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableIs {
    /// There is none of this name.
    Absent,
    /// It is there, and anybody with the privilege may change it.
    Free,
    /// Only the program that made it may change it, and that program runs.
    Owned,
}

impl Nft {
    /// Opens the connection.
    pub(super) fn open() -> io::Result<Nft> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Nft { socket, port, sequence: 0 })
    }

    /// Gives the netlink port that changes come from.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Looks a table of both IP families up by its name.
    pub(super) fn table(&mut self, name: &str) -> io::Result<TableIs> {
        let mut attributes = Attributes::default();
        attributes.put_text(message::TABLE_NAME, name);
        match self.ask(libc::NFT_MSG_GETTABLE, 0, attributes) {
            Ok(answers) => {
                let owned =
                    answers.iter().any(|answer| message::find(answer, message::TABLE_OWNER).is_some());
                Ok(if owned { TableIs::Owned } else { TableIs::Free })
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(TableIs::Absent),
            Err(error) => Err(error),
        }
    }

    /// Counts the packets that came to the counters of a chain's rules.
    pub(super) fn counted(&mut self, table: &str, chain: &str) -> io::Result<u64> {
        let mut attributes = Attributes::default();
        attributes.put_text(message::RULE_TABLE, table);
        attributes.put_text(message::RULE_CHAIN, chain);
        let rules = self.ask(libc::NFT_MSG_GETRULE, libc::NLM_F_DUMP, attributes)?;
        Ok(rules.iter().map(|rule| rule::counted(rule)).sum())
    }

    /// Carries out a transaction: all of it, or nothing.
    ///
    /// # Errors
    /// What the kernel says of the first change that it refuses.
    pub(super) fn commit(&mut self, transaction: Transaction) -> io::Result<()> {
        let requests = transaction.into_requests();
        let mut batch = Vec::new();
        let begin = self.next_sequence();
        write_batch_mark(&mut batch, libc::NFNL_MSG_BATCH_BEGIN, begin);
        let mut last = begin;
        for (index, request) in requests.iter().enumerate() {
            last = self.next_sequence();
            // The kernel answers in order: its word on the last change comes after every refusal.
            let acknowledge = if index + 1 == requests.len() { libc::NLM_F_ACK } else { 0 };
            request.write(&mut batch, acknowledge, last);
        }
        let end = self.next_sequence();
        write_batch_mark(&mut batch, libc::NFNL_MSG_BATCH_END, end);
        if last == begin {
            return Ok(());
        }
        self.make_room(batch.len());
        self.socket.send(&batch, 0)?;
        self.outcome(begin, last)
    }

    /// Reads the answers to the messages of a batch.
    fn outcome(&mut self, begin: u32, last: u32) -> io::Result<()> {
        let mut outcome = Ok(());
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                let Some(code) = message.error() else { continue };
                if code != 0 && outcome.is_ok() {
                    outcome = Err(io::Error::from_raw_os_error(-code));
                }
                // A batch that is refused as a whole is refused at its beginning.
                if message.sequence == last || message.sequence == begin {
                    return outcome;
                }
            }
        }
    }

    /// Asks for something outside of a transaction, and gives the attributes of each answer.
    fn ask(&mut self, kind: i32, flags: i32, attributes: Attributes) -> io::Result<Vec<Vec<u8>>> {
        let mut octets = Vec::new();
        let sequence = self.next_sequence();
        Request { kind, flags, attributes }.write(&mut octets, libc::NLM_F_ACK, sequence);
        self.socket.send(&octets, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram).filter(|message| message.sequence == sequence) {
                match message.error() {
                    Some(0) => return Ok(answers),
                    Some(code) => return Err(io::Error::from_raw_os_error(-code)),
                    None if message.is_end_of_dump() => return Ok(answers),
                    None => answers.push(message.attributes().to_vec()),
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// A transaction is one message to the kernel, however long: the socket must be willing.
    fn make_room(&self, octets: usize) {
        let wanted = i32::try_from(octets.saturating_mul(2)).unwrap_or(i32::MAX);
        if wanted > USUAL_SEND_BUFFER
            && let Err(error) =
                sys::set_option(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted)
        {
            tracing::debug!(%error, "the netlink socket keeps its send buffer");
        }
    }
}

/// Octets that every socket may send at once.
const USUAL_SEND_BUFFER: i32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of a rule that is gone.
    fn word(table: &str, port: u32) -> Vec<u8> {
        let mut attributes = Attributes::default();
        attributes.put_text(message::RULE_TABLE, table);
        attributes.put_text(message::RULE_CHAIN, "leaving");
        let mut octets = Vec::new();
        Request { kind: libc::NFT_MSG_DELRULE, flags: 0, attributes }.write(&mut octets, 0, 1);
        octets[PORT..PORT + 4].copy_from_slice(&port.to_ne_bytes());
        octets
    }

    /// In a netlink header.
    const PORT: usize = 12;

    #[test]
    fn only_another_hand_in_our_table_counts() {
        let ours = TableSignature { table: "keyway0".to_owned(), port: 77 };
        assert!(ours.is_touched_in(&word("keyway0", 78)));
        assert!(ours.is_touched_in(&[word("filter", 78), word("keyway0", 78)].concat()));
        for datagram in [word("keyway0", 77), word("keyway01", 78), word("filter", 78), vec![], vec![1; 30]] {
            assert!(!ours.is_touched_in(&datagram), "{datagram:?}");
        }
    }
}
