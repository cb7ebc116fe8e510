//! Bringing connections and children up: in an IKE SA that is there, with one that is coming up, or anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sa::{AcquiredFlow, PolicyId};

use super::Endpoint;
use crate::context::{ChildRequest, Contact, Errand, Initiation, Question};
use crate::established::{Established, Sa};
use crate::event::Event;
use crate::guard::GuardWish;
use crate::io::{Path, Query, QueryId, Ticket};
use crate::v2::{ike_sa_init, ike_session_resume};
use crate::{Connection, Failure, Versions, limits, v1, v2};

impl Endpoint {
    /// Brings a connection or child up: in an IKE SA that is there, with one that is coming up, or anew.
    pub(super) fn initiate(&mut self, initiation: Initiation) {
        let name = &initiation.connection.name;
        if let Some(replaced) = initiation.replaces {
            let mut beginnings = self.sas.values_mut().filter_map(Sa::initiation);
            if let Some(other) = beginnings.find(|other| other.replaces == Some(replaced)) {
                return other.join(initiation);
            }
            let path = self.established().find(|sa| sa.our_spi() == replaced).map(Established::path);
            return match path {
                Some(path) => self.initiate_on(initiation, path),
                None => self.cx.finish(&initiation.all_tickets(), &Err(Failure::Terminated)),
            };
        }
        let there = self.established().find(|sa| sa.connection().name == *name && sa.is_lasting());
        if let Some(our_spi) = there.map(Established::our_spi) {
            return self.with_established(our_spi, |sa, cx| sa.initiate(cx, initiation));
        }
        let coming = self.pathless.values_mut().find(|other| other.connection.name == *name);
        let coming = coming.or_else(|| {
            let beginnings = self.sas.values_mut().filter_map(Sa::initiation);
            beginnings.into_iter().find(|other| other.connection.name == *name)
        });
        match coming {
            Some(other) => other.join(initiation),
            None => {
                let connection = Arc::clone(&initiation.connection);
                let id = self.cx.ask(match &initiation.redirection {
                    None => Query::Path(connection),
                    Some(redirection) => Query::Gateway { connection, gateway: redirection.to.clone() },
                });
                self.pathless.insert(id, initiation);
            }
        }
    }

    pub(super) fn initiate_on(&mut self, mut initiation: Initiation, path: Path) {
        let name = &initiation.connection.name;
        let is_known = self.established().any(|sa| sa.connection().name == *name && sa.is_lasting());
        initiation.contact = if is_known { Contact::Further } else { Contact::Initial };
        let waiting = initiation.clone();
        let begun = match initiation.connection.versions {
            Versions::V1 => v1::initiate(&mut self.cx, initiation, path).map(Sa::V1),
            Versions::V2 | Versions::Either => self.initiate_v2(initiation, path).map(Sa::V2),
        };
        match begun {
            Ok(sa) => self.put(sa),
            Err(failure) => self.cx.fail_initiation(&waiting, path, failure),
        }
    }

    /// Has a lost IKE SA again if there is a ticket for it, and begins a new one otherwise.
    fn initiate_v2(&mut self, initiation: Initiation, path: Path) -> Result<v2::Sa, Failure> {
        let now = self.cx.now;
        match self.cx.tickets.take_held(&initiation.connection, now) {
            Some(held) if initiation.contact == Contact::Initial => {
                let resuming = ike_session_resume::initiate(&mut self.cx, initiation, path, held);
                resuming.map(|sa| v2::Sa::Resuming(Box::new(sa)))
            }
            _ => ike_sa_init::initiate(&mut self.cx, initiation, path)
                .map(|sa| v2::Sa::Initiating(Box::new(sa))),
        }
    }

    /// The way to the peer is known, or why it is not.
    pub(super) fn handle_path(&mut self, id: QueryId, path: Result<Path, String>) {
        if let Some(initiation) = self.pathless.remove(&id) {
            match path {
                Ok(path) => self.initiate_on(initiation, path),
                Err(reason) => self.try_later(initiation, Failure::NoPath(reason)),
            }
            return;
        }
        match self.cx.questions.remove(&id) {
            Some(Question::Guard(wish)) => match path {
                Ok(path) => self.guard_on(wish, path),
                Err(reason) => self.guard_later(wish, Failure::NoPath(reason)),
            },
            Some(Question::Route(our_spi)) => {
                self.with_established_v2(our_spi, |sa, cx| sa.handle_route(cx, path));
            }
            Some(Question::Idle(_) | Question::Credentials(_) | Question::Link(_)) | None => {}
        }
    }

    /// This host has other addresses or routes: whoever may move may have to.
    pub(super) fn host_changed(&mut self, addresses: Vec<IpAddr>) {
        self.cx.host = addresses;
        let all: Vec<_> = self.established().map(Established::our_spi).collect();
        for our_spi in all {
            self.with_established_v2(our_spi, |sa, cx| sa.host_changed(cx));
        }
    }

    /// A router says what the path to an address takes.
    pub(super) fn hear_of_path(&mut self, remote: IpAddr, octets: usize) {
        let theirs = self.established().filter(|ike| ike.path().remote.ip() == remote);
        let theirs: Vec<_> = theirs.map(Established::our_spi).collect();
        for our_spi in theirs {
            self.with_established_v2(our_spi, |ike, cx| ike.handle_narrowing(cx, octets));
        }
    }

    /// Looks for the way to the peer again after a while, as often as the connection wants.
    fn try_later(&mut self, mut initiation: Initiation, failure: Failure) {
        let name = initiation.connection.name.clone();
        initiation.redirection = None;
        initiation.failed_tries += 1;
        let tries = initiation.connection.keying_tries;
        let is_over = tries != 0 && initiation.failed_tries >= tries;
        if is_over || !initiation.is_refreshed(&self.cx.connections) {
            return self.cx.fail(&initiation.all_tickets(), Some(&name), None, failure);
        }
        self.cx.tell(Event::Failed { connection: Some(name), path: None, failure });
        self.cx.do_later(limits::PATH_RETRY, Errand::Initiate(initiation));
    }

    fn guard_on(&mut self, wish: GuardWish, path: Path) {
        let GuardWish { connection, child, kind, origin, tickets } = wish;
        let is_loaded = |loaded: &Arc<Connection>| {
            loaded.child(&child.name).is_some_and(|loaded| Arc::ptr_eq(loaded, &child))
        };
        if !self.cx.connections.get(&connection.name).is_some_and(is_loaded) {
            // It is configured otherwise meanwhile, and was guarded accordingly.
            return self.cx.finish(&tickets, &Ok(()));
        }
        let guarded = self.cx.guard(&connection, &child, kind, origin, Some(path.local.ip()));
        match guarded.map_err(|unguarded| unguarded.into_failure(&child)) {
            Ok(()) => self.cx.finish(&tickets, &Ok(())),
            Err(failure) => self.cx.fail(&tickets, Some(&connection.name), Some(path), failure),
        }
    }

    /// A person is told at once; what the configuration wants guarded is tried again.
    fn guard_later(&mut self, wish: GuardWish, failure: Failure) {
        self.cx.fail(&wish.tickets, Some(&wish.connection.name), None, failure);
        if wish.tickets.is_empty() {
            self.cx.do_later(limits::PATH_RETRY, Errand::Guard(wish));
        }
    }

    /// A packet met a trap.
    pub(super) fn acquire(&mut self, policy: PolicyId, flow: AcquiredFlow) {
        let Some(key) = self.cx.guards.by_policy(policy).cloned() else { return };
        let Some(connection) = self.cx.connections.get(key.connection()).cloned() else { return };
        let Some(config) = connection.child(key.child()).cloned() else { return };
        self.initiate(Initiation::of_child(
            connection,
            ChildRequest { config, flow: Some(flow) },
            Vec::new(),
        ));
    }
}

impl Initiation {
    pub(crate) fn of_child(
        connection: Arc<Connection>,
        child: ChildRequest,
        tickets: Vec<Ticket>,
    ) -> Initiation {
        Initiation::of(connection, Some(child), tickets)
    }

    /// Brings up an IKE SA, and a child in it if one is wanted.
    pub(crate) fn of(
        connection: Arc<Connection>,
        child: Option<ChildRequest>,
        tickets: Vec<Ticket>,
    ) -> Initiation {
        Initiation {
            connection,
            child,
            further: Vec::new(),
            tickets,
            failed_tries: 0,
            contact: Contact::Further,
            replaces: None,
            predecessor: None,
            redirection: None,
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
