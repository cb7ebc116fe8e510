//! What a host refuses to let pass unprotected, as people are told of it.

use std::fmt;

use sa::{PolicyAction, PolicyId, SelectorPair};

/// The blocks of a host: they hold whether a data plane runs or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Each policy that the blocks carry out, the one that wins first; those that let packets pass are exceptions to the
    /// ones behind them.
    pub blocks: Vec<Block>,
    /// Tunnel devices that an earlier run left and that nobody has asked for since: what is routed to one is dropped.
    pub devices: Vec<LeftDevice>,
    /// Packets that were refused since the blocks were last laid out, both directions; `None` if that cannot be told.
    pub refused: Option<u64>,
}

/// A tunnel device that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftDevice {
    /// Its name.
    pub name: String,
    /// The network namespace that it is in, as `ip netns` names it; `None` is the daemon's.
    pub namespace: Option<String>,
}

impl fmt::Display for LeftDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => f.write_str(&self.name),
            Some(namespace) => write!(f, "{} in the namespace {namespace}", self.name),
        }
    }
}

/// A policy that a block carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The packets that it is about.
    pub selectors: Vec<SelectorPair>,
    /// Whether they are refused ([`PolicyAction::Bypass`]: let pass) unless they are protected.
    pub action: PolicyAction,
    /// Its place in the order of policies.
    pub priority: u32,
    /// The policy that stands behind it; `None` if an earlier run left it and no policy of this one covers it.
    pub policy: Option<PolicyId>,
}
