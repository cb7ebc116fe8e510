//! Traps: policies whose first packet brings a child up (RFC 7296 §2.9, RFC 4301 §4.4.1).

use std::net::IpAddr;

use sa::{PolicyId, SelectorPair, TrafficSelector};

use crate::context::Context;
use crate::selectors;
use crate::{ChildConfig, Connection, Failure, SelectorTemplate};

/// Names a trap: a configured child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrapKey {
    connection: String,
    child: String,
}

impl TrapKey {
    pub(crate) fn new(connection: &Connection, child: &ChildConfig) -> TrapKey {
        TrapKey { connection: connection.name.clone(), child: child.name.clone() }
    }

    pub(crate) fn named(connection: String, child: String) -> TrapKey {
        TrapKey { connection, child }
    }

    pub(crate) fn connection(&self) -> &str {
        &self.connection
    }

    pub(crate) fn child(&self) -> &str {
        &self.child
    }
}

/// A policy whose first packet brings a child up.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub policy: PolicyId,
    pub selectors: Vec<SelectorPair>,
}

impl Trap {
    /// Prepares the trap of a child.
    ///
    /// # Errors
    /// A `dynamic` selector stands for an address that is not known before there is a path.
    pub(crate) fn new(
        cx: &mut Context,
        connection: &Connection,
        child: &ChildConfig,
    ) -> Result<Trap, Failure> {
        let unknown = |end: &str| {
            Failure::NotFound(format!(
                "child {} cannot be trapped: its {end} selector is dynamic and the connection names no single {end} address",
                child.name
            ))
        };
        let local = resolve_known(&child.local_selectors, connection.local_addresses.single())
            .ok_or_else(|| unknown("local"))?;
        let remote = resolve_known(&child.remote_selectors, connection.remote_addresses.single())
            .ok_or_else(|| unknown("remote"))?;
        Ok(Trap { policy: cx.next_policy_id(), selectors: selectors::pairs(&local, &remote) })
    }
}

/// Fills in an end's own address where it is known; `None` if one is needed and it is not.
fn resolve_known(templates: &[SelectorTemplate], own: Option<IpAddr>) -> Option<Vec<TrafficSelector>> {
    let resolved = templates.iter().map(|template| match (template, own) {
        (SelectorTemplate::Fixed(selector), _) => Some(*selector),
        (SelectorTemplate::Dynamic(..), own) => own.map(|own| template.resolve(own)),
    });
    resolved.collect()
}
