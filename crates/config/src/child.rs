//! A child: the words for what a Child SA may be configured to do. How it is read is in [`read`](crate::read).

use std::time::Duration;

use sa::{Mode, Proposal};
use vici::Span;

use crate::connection::Lifetimes;
use crate::handling::Handling;
use crate::interface::Interface;
use crate::schema::Shape;
use crate::script::Script;
use crate::value::{Unreadable, choice, yes_or_no};
use crate::{Selector, limits};

/// One Child SA that a connection may have, or a policy without one. Every default is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name, unique in the connection.
    pub name: String,
    /// What happens to its traffic.
    pub treatment: Treatment,
    /// Our traffic; never empty.
    pub local_selectors: Vec<Selector>,
    /// The peer's traffic; never empty.
    pub remote_selectors: Vec<Selector>,
    /// What we offer and accept, best first; never empty.
    pub proposals: Vec<Proposal>,
    /// The same for AH around each packet of ESP; empty is none.
    pub wrapping: Vec<Proposal>,
    /// When it is rekeyed and when it ends, in time.
    pub lifetimes: Lifetimes,
    /// When it is rekeyed and when it ends, in bytes of inner packets.
    pub bytes: Volume,
    /// When it is rekeyed and when it ends, in packets.
    pub packets: Volume,
    /// Whether packets are compressed before they are protected, where the peer wants that too.
    pub compress: Compress,
    /// Whether HMAC-SHA-256 is cut as the RFC has it.
    pub truncation: Truncation,
    /// Anti-replay window in packets; 0 is none (RFC 4303 §3.4.3).
    pub replay_window: u32,
    /// Whatever else is done to packets.
    pub handling: Handling,
    /// The device that its traffic is routed to, if it has one of its own.
    pub interface: Option<Interface>,
    /// How long no packet may go through it before it is closed; zero is for ever.
    pub inactivity: Duration,
    /// Priority of its policies: the lowest number wins; 0 lets the size of the selectors decide.
    pub priority: u32,
    /// What is run when it comes up and when it goes down.
    pub script: Option<Script>,
    /// What loading the connection does.
    pub start_action: StartAction,
    /// What the peer's deleting it does.
    pub close_action: CloseAction,
    /// What the peer's death does.
    pub dpd_action: CloseAction,
    /// Where its name stands.
    pub span: Span,
}

/// What happens to the traffic of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// A Child SA of this mode protects it.
    Protect(Mode),
    /// It passes unprotected, whatever other children say.
    Pass,
    /// It is dropped, whatever other children say.
    Drop,
}

impl Treatment {
    /// Gives the word that management answers use.
    pub fn keyword(self) -> &'static str {
        match self {
            Treatment::Protect(Mode::Tunnel) => "TUNNEL",
            Treatment::Protect(Mode::Transport) => "TRANSPORT",
            Treatment::Protect(Mode::Beet) => "BEET",
            Treatment::Pass => "PASS",
            Treatment::Drop => "DROP",
        }
    }
}

/// Whether packets are compressed before they are protected (RFC 3173).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// They are not.
    No,
    /// By DEFLATE.
    Deflate,
}

/// To how many bits HMAC-SHA-256 is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// To 128 (RFC 4868).
    To128,
    /// To 96, as an early draft had it and some peers still have.
    To96,
}

/// Limits in bytes or packets; zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// How much until a rekeying begins.
    pub rekey: u64,
    /// Up to this much is taken off `rekey` at random.
    pub rand: u64,
    /// How much until the SA carries nothing more.
    pub life: u64,
}

/// What loading a connection does with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAction {
    /// Nothing.
    None,
    /// Installs a trap policy: the first packet brings it up.
    Trap,
    /// Brings it up.
    Start,
    /// Brings it up, and installs a trap policy for when it is lost.
    TrapAndStart,
}

/// What losing a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseAction {
    /// Nothing more.
    None,
    /// Installs a trap policy.
    Trap,
    /// Brings it up again.
    Start,
}

impl CloseAction {
    /// Gives the word that management answers use.
    pub fn keyword(self) -> &'static str {
        match self {
            CloseAction::None => "none",
            CloseAction::Trap => "trap",
            CloseAction::Start => "start",
        }
    }
}

pub(crate) const TREATMENT: Shape<Treatment> = Shape {
    words: "tunnel, transport, beet, pass or drop",
    read: |text| match text {
        "transport_proxy" => Err(Unreadable::new(
            "`transport_proxy` is for Mobile IPv6, which is not supported: packets would leave with other addresses",
            "write `mode = transport` for two hosts, or `mode = tunnel`",
        )),
        _ => choice(
            text,
            &[
                ("tunnel", Treatment::Protect(Mode::Tunnel)),
                ("transport", Treatment::Protect(Mode::Transport)),
                ("beet", Treatment::Protect(Mode::Beet)),
                ("pass", Treatment::Pass),
                ("drop", Treatment::Drop),
            ],
        ),
    },
};

pub(crate) const COMPRESS: Shape<Compress> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Compress::Deflate, Compress::No) };

/// Whether ESP and AH are alternatives or go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bundle {
    /// One or the other.
    No,
    /// AH goes around ESP.
    AhAroundEsp,
}

pub(crate) const BUNDLE_SHAPE: Shape<Bundle> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Bundle::AhAroundEsp, Bundle::No) };

pub(crate) const TRUNCATION: Shape<Truncation> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Truncation::To96, Truncation::To128) };

pub(crate) const START_ACTION: Shape<StartAction> = Shape {
    words: "none, trap, start or trap|start",
    read: |text| {
        choice(
            text,
            &[
                ("none", StartAction::None),
                ("trap", StartAction::Trap),
                ("start", StartAction::Start),
                ("trap|start", StartAction::TrapAndStart),
            ],
        )
    },
};

pub(crate) const CLOSE_ACTION: Shape<CloseAction> = Shape {
    words: "none, trap or start",
    read: |text| {
        choice(
            text,
            &[("none", CloseAction::None), ("trap", CloseAction::Trap), ("start", CloseAction::Start)],
        )
    },
};

pub(crate) const DPD_ACTION: Shape<CloseAction> = Shape {
    words: "clear, trap or restart",
    read: |text| {
        choice(
            text,
            &[("clear", CloseAction::None), ("trap", CloseAction::Trap), ("restart", CloseAction::Start)],
        )
    },
};

pub(crate) const REPLAY_WINDOW: Shape<u32> = Shape {
    words: "packets, 0 to 65536",
    read: |text| match text.parse() {
        Ok(packets) if packets <= limits::MAX_REPLAY_WINDOW => Ok(packets),
        _ => Err(Unreadable::new(
            format!("`{text}` is not a window of 0 to {} packets", limits::MAX_REPLAY_WINDOW),
            "",
        )),
    },
};
