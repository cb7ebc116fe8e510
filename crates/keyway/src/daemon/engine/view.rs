//! What the loop tells of the SAs: all of it, or of some.

use std::sync::Arc;
use std::time::Instant;

use dataplane::Dataplane;
use sa::{PolicyId, SaId};
use wire::isakmp::IkeSpi;

use super::EngineLoop;
use crate::daemon::handle::{PlaneStatus, SaPage, Snapshot};
use crate::daemon::interfaces::Interfaces;

impl EngineLoop {
    pub(super) fn describe_sas(&self, spis: &[IkeSpi]) -> SaPage {
        let ike_sas: Vec<_> = spis.iter().filter_map(|&spi| self.endpoint.ike_sa(spi)).collect();
        let children = ike_sas.iter().flat_map(|ike| &ike.children);
        let sas = children.flat_map(|child| [child.inbound, child.outbound]);
        let sas = sas.filter_map(|sa| Some((sa, plane_status(&self.plane, &self.interfaces, sa)?))).collect();
        SaPage { now: Instant::now(), ike_sas, sas }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let named =
            |(connection, child, _): (&str, &str, PolicyId)| (connection.to_owned(), child.to_owned());
        let ike_sas = self.endpoint.ike_sas();
        let children = ike_sas.iter().flat_map(|ike| &ike.children);
        let manual = self.manual.iter().flat_map(|installed| installed.sas.iter().copied());
        let sas = children.flat_map(|child| [child.inbound, child.outbound]).chain(manual);
        Snapshot {
            now: Instant::now(),
            sas: sas.filter_map(|sa| Some((sa, plane_status(&self.plane, &self.interfaces, sa)?))).collect(),
            ike_sas,
            loaded: self.loaded.clone(),
            keyring: self.keyring.clone(),
            credentials: Arc::clone(&self.credentials),
            traps: self.endpoint.traps().map(named).collect(),
            blocks: self.endpoint.blocks().map(named).collect(),
            host_blocks: self.plane.blocks(),
            shunts: self.shunts.clone(),
            manual: self.manual.clone(),
            counters: self.endpoint.counters(),
            drops: self.plane.drops(),
        }
    }
}

/// Asks the data plane for what it knows of an SA.
pub(super) fn plane_status(plane: &Dataplane, interfaces: &Interfaces, sa: SaId) -> Option<PlaneStatus> {
    Some(PlaneStatus { usage: plane.usage(sa)?, drops: plane.drops_of(sa), device: interfaces.of(sa) })
}
