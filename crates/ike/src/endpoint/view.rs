//! What an endpoint has, for whoever looks.

use std::sync::Arc;

use sa::PolicyId;
use wire::isakmp::IkeSpi;

use super::{Counters, Endpoint};
use crate::established::Sa;
use crate::guard::GuardKind;
use crate::status::IkeSaStatus;
use crate::tally::{NoCounts, Tally, TallyScope};
use crate::{Connection, PoolStatus};

impl Endpoint {
    /// Gives a snapshot of every IKE SA that is coming up or is up, in order of their ids.
    pub fn ike_sas(&self) -> Vec<IkeSaStatus> {
        let mut statuses: Vec<_> = self.sas.values().filter_map(Sa::status).collect();
        statuses.sort_by_key(|status| (status.id, status.established_at));
        statuses
    }

    /// Gives the connections that are loaded, by name.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.cx.connections.values()
    }

    /// Describes the pools of virtual addresses and what they have given.
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.cx.leases.status()
    }

    /// Gives the trap policies: connection, child and policy.
    pub fn traps(&self) -> impl Iterator<Item = (&str, &str, PolicyId)> {
        self.guards(GuardKind::Trap)
    }

    /// Gives the policies that drop what a child should protect while it is not up: connection, child and policy.
    pub fn blocks(&self) -> impl Iterator<Item = (&str, &str, PolicyId)> {
        self.guards(GuardKind::Block)
    }

    fn guards(&self, kind: GuardKind) -> impl Iterator<Item = (&str, &str, PolicyId)> {
        let guards = self.cx.guards.iter().filter(move |(_, guard)| guard.kind == kind);
        guards.map(|(key, guard)| (key.connection(), key.child(), guard.policy))
    }

    /// Gives the number of IKE SAs that strangers have begun and not finished.
    pub fn half_open(&self) -> usize {
        self.cx.half_open.total()
    }

    /// Gives what came in and led nowhere.
    pub fn counters(&self) -> Counters {
        Counters { forged: self.cx.forged, ..self.counters }
    }
    /// Gives our SPI of every IKE SA that is coming up or is up, in order of their ids, for [`ike_sa`](Self::ike_sa): whoever
    /// has many of them looks at a few at a time.
    pub fn ike_spis(&self) -> Vec<IkeSpi> {
        let keys = self.sas.iter().filter_map(|(&spi, sa)| match sa.established() {
            Some(ike) => Some((ike.id(), ike.is_current(), spi)),
            None => sa.status().map(|status| (status.id, false, spi)),
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, _, spi)| spi).collect()
    }

    /// Gives a snapshot of the IKE SA with this SPI of ours, if it is still there.
    pub fn ike_sa(&self, our_spi: IkeSpi) -> Option<IkeSaStatus> {
        self.sas.get(&our_spi).and_then(Sa::status)
    }

    /// Gives how many messages of each kind there were.
    pub fn tally(&self) -> &Tally {
        &self.cx.tally
    }

    /// Counts messages anew.
    ///
    /// # Errors
    /// The connection has no counts.
    pub fn reset_tally(&mut self, scope: &TallyScope) -> Result<(), NoCounts> {
        self.cx.tally.reset(scope)
    }
}
