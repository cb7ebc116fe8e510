//! Bringing connections and children up: in an IKE SA that is there, with one that is coming up, or anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use sa::{AcquiredFlow, PolicyId};

use super::Endpoint;
use crate::Connection;
use crate::context::{ChildRequest, Contact, Context, Initiation};
use crate::io::{Path, Query, Ticket};
use crate::v2::ike_sa::{IkeSa, Task};
use crate::v2::{Sa, ike_sa_init};

impl Endpoint {
    /// Brings a connection or child up: in an IKE SA that is there, with one that is coming up, or anew.
    pub(super) fn initiate(&mut self, initiation: Initiation) {
        let name = &initiation.connection.name;
        let there = self.established().find(|sa| sa.connection.name == *name && sa.is_lasting());
        if let Some(our_spi) = there.map(IkeSa::our_spi) {
            return self.with_established(our_spi, |sa, cx| initiate_in(sa, cx, initiation));
        }
        let coming = self.pathless.values_mut().find(|other| other.connection.name == *name);
        let coming = coming.or_else(|| {
            let beginnings = self.sas.values_mut().filter_map(|sa| match sa {
                Sa::Initiating(sa) => Some(sa.initiation()),
                Sa::Authenticating(sa) => Some(sa.initiation()),
                Sa::HalfOpen(_) | Sa::Established(_) | Sa::Closed(_) => None,
            });
            beginnings.into_iter().find(|other| other.connection.name == *name)
        });
        match coming {
            Some(other) => other.join(initiation),
            None => {
                let id = self.cx.ask(Query::Path(Arc::clone(&initiation.connection)));
                self.pathless.insert(id, initiation);
            }
        }
    }

    pub(super) fn initiate_on(&mut self, mut initiation: Initiation, path: Path) {
        let name = &initiation.connection.name;
        let is_known = self.established().any(|sa| sa.connection.name == *name && sa.is_lasting());
        initiation.contact = if is_known { Contact::Further } else { Contact::Initial };
        let waiting = initiation.clone();
        match ike_sa_init::initiate(&mut self.cx, initiation, path) {
            Ok(sa) => self.put(Sa::Initiating(Box::new(sa))),
            Err(failure) => self.cx.fail_initiation(&waiting, path, failure),
        }
    }

    /// A packet met a trap.
    pub(super) fn acquire(&mut self, policy: PolicyId, flow: AcquiredFlow) {
        let trap = self.cx.traps.iter().find(|(_, trap)| trap.policy == policy).map(|(key, _)| key.clone());
        let Some(key) = trap else { return };
        let Some(connection) = self.cx.connections.get(key.connection()).cloned() else { return };
        let Some(config) = connection.child(key.child()).cloned() else { return };
        self.initiate(Initiation::of_child(
            connection,
            ChildRequest { config, flow: Some(flow) },
            Vec::new(),
        ));
    }
}

fn initiate_in(sa: &mut IkeSa, cx: &mut Context, initiation: Initiation) {
    let Initiation { child, further, tickets, .. } = initiation;
    if child.is_none() {
        cx.finish(&tickets, &Ok(()));
    }
    for (request, tickets) in child.map(|child| (child, tickets)).into_iter().chain(further) {
        let name = &request.config.name;
        if sa.has_child(name) {
            cx.finish(&tickets, &Ok(()));
        } else if sa.is_creating(name) {
            sa.join_creation(name, &tickets);
        } else {
            sa.queue(cx, Task::CreateChild(request, tickets));
        }
    }
    sa.pump(cx);
}

impl Initiation {
    pub(crate) fn of_child(
        connection: Arc<Connection>,
        child: ChildRequest,
        tickets: Vec<Ticket>,
    ) -> Initiation {
        Initiation {
            connection,
            child: Some(child),
            further: Vec::new(),
            tickets,
            failed_tries: 0,
            contact: Contact::Further,
        }
    }

    /// Takes the connection and its children as they are configured now, for another try; `false` if they are gone.
    pub(crate) fn is_refreshed(&mut self, connections: &BTreeMap<String, Arc<Connection>>) -> bool {
        let Some(connection) = connections.get(&self.connection.name) else { return false };
        self.connection = Arc::clone(connection);
        let requests = self.child.iter_mut().chain(self.further.iter_mut().map(|(request, _)| request));
        for request in requests {
            match connection.child(&request.config.name) {
                Some(config) => request.config = Arc::clone(config),
                None => return false,
            }
        }
        true
    }

    /// Adds what another initiation of the same connection wants.
    fn join(&mut self, other: Initiation) {
        let Initiation { child, further, tickets, .. } = other;
        match child {
            None => self.tickets.extend(tickets),
            Some(child) => self.join_child(child, tickets),
        }
        for (child, tickets) in further {
            self.join_child(child, tickets);
        }
    }

    fn join_child(&mut self, child: ChildRequest, tickets: Vec<Ticket>) {
        let is_it = |other: &ChildRequest| other.config.name == child.config.name;
        if self.child.as_ref().is_some_and(is_it) {
            return self.tickets.extend(tickets);
        }
        match self.further.iter_mut().find(|(other, _)| is_it(other)) {
            Some((_, waiting)) => waiting.extend(tickets),
            None => self.further.push((child, tickets)),
        }
    }

    pub(crate) fn all_tickets(&self) -> Vec<Ticket> {
        let further = self.further.iter().flat_map(|(_, tickets)| tickets);
        self.tickets.iter().chain(further).copied().collect()
    }
}
