//! What happened in a run, kept as it was and put into words only for those who read it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use ike::{Command, Event, MessageTrace, QueryId, Ticket};
use sa::{SaEvent, SaOp};
use wire::isakmp::Header;

use crate::network::Loss;
use crate::plane::name;
use crate::seeds::only_seed;
use crate::{Cargo, Parcel, Side};

/// The last things that happened.
#[derive(Debug)]
pub struct Journal {
    start: Instant,
    entries: VecDeque<(Instant, Side, Entry)>,
    most: usize,
    dropped: u64,
}

/// Something that happened on one side.
#[derive(Debug)]
pub(crate) enum Entry {
    Note(String),
    Command(Command),
    Sent(Parcel, Option<Loss>),
    Received(Parcel, Option<Loss>),
    Ordered(SaOp),
    Told(SaEvent),
    Asked(QueryId),
    Event(Box<Event>),
}

impl Journal {
    pub(crate) fn new(start: Instant) -> Journal {
        // A run that is replayed alone is told in full.
        let most = if only_seed().is_some() { usize::MAX } else { ENTRIES_KEPT };
        Journal { start, entries: VecDeque::new(), most, dropped: 0 }
    }

    pub(crate) fn note(&mut self, now: Instant, side: Side, entry: Entry) {
        if self.entries.len() == self.most {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back((now, side, entry));
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "({} earlier entries are not kept)", self.dropped)?;
        }
        for (at, side, entry) in &self.entries {
            let since: Duration = at.duration_since(self.start);
            writeln!(f, "{:>12.6} {side:>5} {entry}", since.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Note(text) => write!(f, "-- {text}"),
            Entry::Command(command) => write!(f, "command {}", words(command)),
            Entry::Sent(parcel, loss) => write!(f, "--> {}{}", Contents(parcel), Fate(*loss)),
            Entry::Received(parcel, loss) => write!(f, "<-- {}{}", Contents(parcel), Fate(*loss)),
            Entry::Ordered(op) => write!(f, "  order {}", order(op)),
            Entry::Told(event) => write!(f, "  plane {event:?}"),
            Entry::Asked(query) => write!(f, "  query {}", query.0),
            Entry::Event(event) => write!(f, "  event {}", told(event)),
        }
    }
}

/// Prints a parcel in one line.
struct Contents<'a>(&'a Parcel);

impl fmt::Display for Contents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parcel { source, destination, cargo } = self.0;
        write!(f, "{source} > {destination} ")?;
        match cargo {
            Cargo::Ike(bytes) => match Header::decode(bytes) {
                Ok(header) => write!(
                    f,
                    "{} {} {} ({} octets)",
                    header.exchange_type,
                    header.message_id,
                    header.flags,
                    bytes.len()
                ),
                Err(malformed) => write!(f, "{malformed} ({} octets)", bytes.len()),
            },
            Cargo::Keepalive => f.write_str("keepalive"),
            Cargo::Esp(sealed) => write!(f, "{sealed:?}"),
            Cargo::Plain(packet) => write!(f, "plain packet {}", packet.number),
        }
    }
}

/// Prints whether a datagram was lost.
struct Fate(Option<Loss>);

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(loss) => write!(f, " LOST to {loss:?}"),
        }
    }
}

fn words(command: &Command) -> String {
    match command {
        Command::Load(connection) => format!("load {}", connection.name),
        Command::LoadPool(pool) => format!("load pool {}", pool.name),
        Command::LoadSecret(secret) => format!("load secret {}", secret.name),
        other => format!("{other:?}"),
    }
}

fn order(op: &SaOp) -> String {
    match op {
        SaOp::InstallPolicy(spec) => {
            format!("InstallPolicy {} {:?} {:?}", spec.id, spec.action, spec.selectors)
        }
        SaOp::InstallSa(spec) => format!(
            "InstallSa {} {} of policy {} {:?}",
            name(&spec.id()),
            spec.protection,
            spec.policy,
            spec.selectors
        ),
        SaOp::UseOutbound { policy, sa } => format!("UseOutbound policy {policy} {}", name(sa)),
        SaOp::RemoveSa(sa) => format!("RemoveSa {}", name(sa)),
        SaOp::RemovePolicy(policy) => format!("RemovePolicy {policy}"),
        SaOp::MoveSa { sa, outer } => format!("MoveSa {} to {} <-> {}", name(sa), outer.local, outer.remote),
        SaOp::SkipSequence { sa, by } => format!("SkipSequence {} by {by}", name(sa)),
        SaOp::SetPathMtu { remote, octets } => format!("SetPathMtu {remote} {octets:?}"),
    }
}

fn told(event: &Event) -> String {
    match event {
        Event::IkeUp(ike) => format!("IkeUp {} {:?} {}", ike.id, ike.role, ike.initiator_spi),
        Event::IkeDown(ike, reason) => format!("IkeDown {} {} {reason:?}", ike.id, ike.initiator_spi),
        Event::IkeRekeyed { old, new } => {
            format!("IkeRekeyed {} {} is now {}", old.id, old.initiator_spi, new.initiator_spi)
        }
        Event::ChildUp(ike, child) => format!("ChildUp {} {}{}", ike.id, child.name, child.id),
        Event::ChildDown(ike, child, reason) => {
            format!("ChildDown {} {}{} {reason:?}", ike.id, child.name, child.id)
        }
        Event::ChildRekeyed { ike, old, new } => {
            format!("ChildRekeyed {} {}{} is now {}", ike.id, old.name, old.id, new.id)
        }
        Event::PathChanged(ike, path) => format!("PathChanged {} {path}", ike.id),
        Event::Finished { ticket: Ticket(number), result } => match result {
            Ok(()) => format!("Finished ticket {number}"),
            Err(failure) => format!("Finished ticket {number}: {failure}"),
        },
        Event::Failed { failure, .. } => format!("Failed: {failure}"),
        Event::Message(trace) => message(trace),
        Event::IkeKeys(_) => "IkeKeys".to_owned(),
        Event::ChildKeys(_) => "ChildKeys".to_owned(),
    }
}

fn message(trace: &MessageTrace) -> String {
    let payloads: Vec<&str> = trace.payloads.iter().map(|payload| payload.name.as_str()).collect();
    let kind = if trace.is_response { "response" } else { "request" };
    format!(
        "{:?} {} {} {kind} {{ {} }}",
        trace.direction,
        trace.exchange,
        trace.message_id,
        payloads.join(", ")
    )
}

const ENTRIES_KEPT: usize = 400;
