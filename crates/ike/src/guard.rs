//! Guards: what stands below the policies of Child SAs, so that nothing leaves in the clear while there is none.
//!
//! ```text
//!   a packet ─► policy of the Child SA, while it is up    sealed
//!            └► guard of the child: a trap                held, while its first packet brings the child up
//!                                   a block               dropped
//! ```
//!
//! A child gets its guard when it is loaded to be trapped or started, and at the latest when it first comes up; it loses
//! it when a person takes the child down, and by nothing else (RFC 4301 §4.4.1: a packet that is to be protected is
//! protected or discarded). What a guard is about is what the child is configured to carry, so there are no more of them
//! than children.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sa::{AddressRange, Mode, PolicyAction, PolicyId, PolicySpec, SaOp, SelectorPair, TrafficSelector};

use crate::context::Context;
use crate::event::DownReason;
use crate::io::Ticket;
use crate::selectors;
use crate::{ChildConfig, Connection, Failure, SelectorTemplate};

/// Somebody wants a child guarded.
#[derive(Clone, Debug)]
pub(crate) struct GuardWish {
    pub connection: Arc<Connection>,
    pub child: Arc<ChildConfig>,
    pub kind: GuardKind,
    pub origin: Origin,
    pub tickets: Vec<Ticket>,
}

/// Names a guard: a configured child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GuardKey {
    connection: String,
    child: String,
}

impl GuardKey {
    pub(crate) fn new(connection: &Connection, child: &ChildConfig) -> GuardKey {
        GuardKey::named(connection.name.clone(), child.name.clone())
    }

    pub(crate) fn named(connection: String, child: String) -> GuardKey {
        GuardKey { connection, child }
    }

    pub(crate) fn connection(&self) -> &str {
        &self.connection
    }

    pub(crate) fn child(&self) -> &str {
        &self.child
    }
}

/// What becomes of a packet that meets a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKind {
    /// It is dropped.
    Block,
    /// It waits, and the first one brings the child up.
    Trap,
}

/// Why a guard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The configuration has it so, or the child was up.
    Configuration,
    /// A person said so.
    Command,
}

/// The guard of one child.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub policy: PolicyId,
    pub kind: GuardKind,
    origin: Origin,
    selectors: Vec<SelectorPair>,
}

/// All guards.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    guards: BTreeMap<GuardKey, Guard>,
    keys: BTreeMap<PolicyId, GuardKey>,
}

impl Guards {
    pub(crate) fn get(&self, key: &GuardKey) -> Option<&Guard> {
        self.guards.get(key)
    }

    /// Finds the guard that a policy is.
    pub(crate) fn by_policy(&self, policy: PolicyId) -> Option<&GuardKey> {
        self.keys.get(&policy)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&GuardKey, &Guard)> {
        self.guards.iter()
    }

    /// Gives the guards of a connection's children.
    fn of_connection<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a GuardKey> {
        let first = GuardKey::named(name.to_owned(), String::new());
        self.guards.range(first..).map(|(key, _)| key).take_while(move |key| key.connection == name)
    }

    fn insert(&mut self, key: GuardKey, guard: Guard) {
        self.keys.insert(guard.policy, key.clone());
        self.guards.insert(key, guard);
    }

    fn remove(&mut self, key: &GuardKey) -> Option<Guard> {
        let guard = self.guards.remove(key)?;
        self.keys.remove(&guard.policy);
        Some(guard)
    }
}

/// Why a guard cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unguarded {
    /// A `dynamic` selector stands for our address, which nobody knows before there is a path to the peer.
    LocalUnknown,
    /// A `dynamic` selector stands for a virtual address, which the peer has not given yet.
    Virtual,
    /// A `dynamic` selector stands for the peer's address, and the connection names no single one.
    RemoteUnknown,
}

impl Unguarded {
    pub(crate) fn into_failure(self, child: &ChildConfig) -> Failure {
        let end = match self {
            Unguarded::Virtual => {
                return Failure::NotFound(format!(
                    "child {} cannot be trapped or blocked: its local selector stands for a virtual address, which is not there yet",
                    child.name
                ));
            }
            Unguarded::LocalUnknown => "local",
            Unguarded::RemoteUnknown => "remote",
        };
        Failure::NotFound(format!(
            "child {} cannot be trapped or blocked: its {end} selector is dynamic and the connection names no single {end} address",
            child.name
        ))
    }
}

impl Context {
    /// Guards a child, or guards it better: a trap takes the place of a block, a block not that of a trap. `own` is our
    /// address on the way to the peer, where that is known.
    ///
    /// # Errors
    /// It cannot be known which packets it is about.
    pub(crate) fn guard(
        &mut self,
        connection: &Connection,
        child: &ChildConfig,
        kind: GuardKind,
        origin: Origin,
        own: Option<IpAddr>,
    ) -> Result<(), Unguarded> {
        let key = GuardKey::new(connection, child);
        let selectors = configured_traffic(connection, child, own)?;
        if selectors.is_empty() {
            return Ok(());
        }
        let standing = self.guards.get(&key).cloned();
        let policy = match &standing {
            Some(standing) => standing.policy,
            None => self.next_policy_id(),
        };
        let (kind, origin) = standing.as_ref().map_or((kind, origin), |standing| {
            // What a person asked for stays what a person asked for.
            (kind.max(standing.kind), origin.max(standing.origin))
        });
        self.put_guard(key, child, Guard { policy, kind, origin, selectors });
        Ok(())
    }

    /// Guards a child that has come up on a path, unless its traffic is only known from the path.
    pub(crate) fn guard_child(&mut self, connection: &Connection, child: &ChildConfig, own: IpAddr) {
        let own = Some(own);
        // A peer that may be anywhere leaves nothing behind that could be guarded.
        let _ = self.guard(connection, child, GuardKind::Block, Origin::Configuration, own);
    }

    /// Brings the guard of a child in line with its configuration, which wants none: what stood stays a block, and a trap
    /// that a person wanted a trap.
    pub(crate) fn renew_guard(&mut self, connection: &Connection, child: &ChildConfig) {
        let key = GuardKey::new(connection, child);
        let Some(standing) = self.guards.get(&key).cloned() else { return };
        let kind = match standing.origin {
            Origin::Command => standing.kind,
            Origin::Configuration => GuardKind::Block,
        };
        let own = connection.local_addresses.single().filter(|_| connection.virtual_addresses.is_empty());
        let selectors = configured_traffic(connection, child, own).unwrap_or(standing.selectors.clone());
        self.put_guard(key, child, Guard { kind, selectors, ..standing });
    }

    /// Traps a child that was lost and is to come back with its next packet.
    pub(crate) fn trap_lost(&mut self, connection: &Arc<Connection>, child: &Arc<ChildConfig>) {
        self.want_guard(GuardWish {
            connection: Arc::clone(connection),
            child: Arc::clone(child),
            kind: GuardKind::Trap,
            origin: Origin::Configuration,
            tickets: Vec::new(),
        });
    }

    /// A child is down: its block stays, unless it was a person who took it down.
    pub(crate) fn leave_guarded(
        &mut self,
        connection: &Connection,
        child: &ChildConfig,
        reason: &DownReason,
    ) {
        if *reason == DownReason::Terminated {
            self.lift_block(&GuardKey::new(connection, child));
        }
    }

    /// Takes a guard away, whatever it is; its packets then meet the next policy that selects them, or none.
    pub(crate) fn lift(&mut self, key: &GuardKey) {
        if let Some(guard) = self.guards.remove(key) {
            self.order(SaOp::RemovePolicy(guard.policy));
        }
    }

    /// Takes the guard of a child away that a person has taken down: a trap stays, for it waits for the next packet.
    fn lift_block(&mut self, key: &GuardKey) {
        if self.guards.get(key).is_some_and(|guard| guard.kind == GuardKind::Block) {
            self.lift(key);
        }
    }

    /// Takes the guards of a connection away whose children are not, or no longer, children of `connection`.
    pub(crate) fn lift_strays(&mut self, name: &str, connection: Option<&Connection>) {
        let is_child =
            |key: &&GuardKey| connection.is_none_or(|connection| connection.child(&key.child).is_none());
        let strays: Vec<GuardKey> = self.guards.of_connection(name).filter(is_child).cloned().collect();
        strays.iter().for_each(|key| self.lift(key));
    }

    /// Puts a guard in place, in the place of the one before: there is no moment without.
    fn put_guard(&mut self, key: GuardKey, child: &ChildConfig, guard: Guard) {
        let action = match guard.kind {
            GuardKind::Block => PolicyAction::Protect,
            GuardKind::Trap => PolicyAction::Trap,
        };
        let spec = PolicySpec {
            id: guard.policy,
            priority: child.guard_priority(),
            selectors: guard.selectors.clone(),
            action,
            device: child.handling.device,
        };
        self.guards.insert(key, guard);
        self.order(SaOp::InstallPolicy(spec));
    }
}

/// Gives all the traffic that a child is configured for, as far as its ends are known.
fn configured_traffic(
    connection: &Connection,
    child: &ChildConfig,
    own: Option<IpAddr>,
) -> Result<Vec<SelectorPair>, Unguarded> {
    let (own, unknown) = if connection.virtual_addresses.is_empty() {
        (connection.local_addresses.single().or(own), Unguarded::LocalUnknown)
    } else {
        (own, Unguarded::Virtual)
    };
    let theirs = connection.remote_addresses.single().filter(|_| connection.pools.is_empty());
    let local = resolve_known(&child.local_selectors, own, child.mode).ok_or(unknown)?;
    let remote =
        resolve_known(&child.remote_selectors, theirs, child.mode).ok_or(Unguarded::RemoteUnknown)?;
    Ok(selectors::pairs(&local, &remote))
}

/// Fills in an end's own address where it is known; `None` if one is needed and it is not. Where it is known, a guard in
/// transport mode is about nothing else: nothing else could be carried.
fn resolve_known(
    templates: &[SelectorTemplate],
    own: Option<IpAddr>,
    mode: Mode,
) -> Option<Vec<TrafficSelector>> {
    let resolved = templates.iter().map(|template| match (template, own) {
        (SelectorTemplate::Fixed(selector), _) => Some(*selector),
        (SelectorTemplate::Dynamic(..), own) => own.map(|own| template.resolve(own)),
    });
    let resolved: Vec<TrafficSelector> = resolved.collect::<Option<_>>()?;
    match (mode, own) {
        (Mode::Transport, Some(own)) => {
            let everything = TrafficSelector::all_of(AddressRange::host(own));
            Some(resolved.iter().filter_map(|selector| selector.intersection(&everything)).collect())
        }
        (Mode::Tunnel | Mode::Transport | Mode::Beet, _) => Some(resolved),
    }
}
