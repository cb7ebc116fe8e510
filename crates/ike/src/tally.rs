//! How many messages of each kind went each way, and how often SAs were replaced: all together, and for each connection.
//!
//! A message is noted where it is sealed or opened, and put down to a connection as soon as it is known whose it was.

use std::collections::BTreeMap;

use wire::isakmp::{Header, Version};
use wire::registry::ExchangeType;

use crate::Role;
use crate::event::{Event, TraceDirection};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// IKE SAs that were replaced on our request.
    IkeRekeyedByUs,
    /// IKE SAs that were replaced on the peer's.
    IkeRekeyedByPeer,
    /// Child SAs that were replaced.
    ChildRekeyed,
    /// Messages that cannot be read, or were not made with the keys of the IKE SA that they name.
    Invalid,
    /// Messages that name an IKE SA which is not here.
    InvalidSpi,
    /// Messages of IKEv2 of one kind.
    Message(MessageKind, TraceDirection, Part),
}

/// The exchanges of IKEv2 whose messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// IKE_SA_INIT.
    IkeSaInit,
    /// IKE_AUTH.
    IkeAuth,
    /// CREATE_CHILD_SA.
    CreateChildSa,
    /// INFORMATIONAL.
    Informational,
}

/// Which half of an exchange a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The first.
    Request,
    /// The second.
    Response,
}

/// How often each of them happened; what never did is not there.
pub type Counts = BTreeMap<Counted, u64>;

/// Whose counts are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TallyScope {
    /// Those of everything together.
    Total,
    /// Those of each connection.
    EachConnection,
    /// Those of one connection.
    Connection(String),
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    total: Counts,
    /// Only of connections that are loaded, so that nobody makes it grow.
    connections: BTreeMap<String, Counts>,
    /// Noted, and not yet put down to a connection.
    pending: Vec<Counted>,
}

impl Tally {
    /// Gives the counts of everything together.
    pub fn total(&self) -> &Counts {
        &self.total
    }

    /// Gives the counts of each connection that has any, by name.
    pub fn connections(&self) -> &BTreeMap<String, Counts> {
        &self.connections
    }

    /// Starts anew from nothing.
    ///
    /// # Errors
    /// The connection has no counts.
    pub fn reset(&mut self, scope: &TallyScope) -> Result<(), NoCounts> {
        match scope {
            TallyScope::Total => self.total.clear(),
            TallyScope::EachConnection => self.connections.clear(),
            TallyScope::Connection(name) => drop(self.connections.remove(name).ok_or(NoCounts)?),
        }
        Ok(())
    }

    /// Notes something.
    pub(crate) fn note(&mut self, counted: Counted) {
        self.pending.push(counted);
    }

    /// Notes a message that was sealed or opened.
    pub(crate) fn note_message(&mut self, direction: TraceDirection, header: &Header) {
        if header.version.major != Version::V2.major {
            return;
        }
        let kind = match header.exchange_type {
            ExchangeType::IKE_SA_INIT => MessageKind::IkeSaInit,
            ExchangeType::IKE_AUTH => MessageKind::IkeAuth,
            ExchangeType::CREATE_CHILD_SA => MessageKind::CreateChildSa,
            ExchangeType::INFORMATIONAL => MessageKind::Informational,
            _ => return,
        };
        let part = if header.flags.is_response() { Part::Response } else { Part::Request };
        self.pending.push(Counted::Message(kind, direction, part));
    }

    /// Notes what happened, if it is counted.
    pub(crate) fn note_event(&mut self, event: &Event) {
        match event {
            Event::IkeRekeyed { new, .. } => self.pending.push(match new.role {
                Role::Initiator => Counted::IkeRekeyedByUs,
                Role::Responder => Counted::IkeRekeyedByPeer,
            }),
            Event::ChildRekeyed { .. } => self.pending.push(Counted::ChildRekeyed),
            Event::IkeUp(_)
            | Event::IkeDown(..)
            | Event::ChildUp(..)
            | Event::ChildDown(..)
            | Event::PathChanged(..)
            | Event::Finished { .. }
            | Event::Failed { .. }
            | Event::Message(_)
            | Event::IkeKeys(_)
            | Event::ChildKeys(_) => {}
        }
    }

    /// Puts what was noted down to a connection; a stranger's belongs to none.
    pub(crate) fn settle(&mut self, connection: Option<&str>) {
        if self.pending.is_empty() {
            return;
        }
        let own = connection.map(|name| self.connections.entry(name.to_owned()).or_default());
        for counts in [Some(&mut self.total), own].into_iter().flatten() {
            for counted in &self.pending {
                *counts.entry(*counted).or_default() += 1;
            }
        }
        self.pending.clear();
    }

    /// Forgets a connection that is no longer loaded.
    pub(crate) fn forget(&mut self, connection: &str) {
        self.connections.remove(connection);
    }
}

/// Nothing was counted of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCounts;
