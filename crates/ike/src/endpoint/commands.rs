//! Orders from people and programs.

use std::sync::Arc;

use wire::isakmp::{IkeSpi, Version};

use super::Endpoint;
use crate::context::{ChildRequest, Context, Initiation};
use crate::established::{Established, Sa};
use crate::event::DownReason;
use crate::guard::{GuardKey, GuardKind, GuardWish, Origin};
use crate::io::{ChildSaId, IkeSaId, KeyDisclosure, MissedPackets, Ticket};
use crate::v2::counter_synchronization;
use crate::{ChildConfig, Connection, Failure, GatewayName, Versions};

impl Endpoint {
    pub(super) fn command_disclose_keys(&mut self, disclosure: KeyDisclosure) {
        self.cx.settings.disclose_keys = disclosure == KeyDisclosure::On;
    }

    pub(super) fn load(&mut self, connection: Arc<Connection>) {
        self.speaks_v1 |= connection.answers(Version::V1);
        self.cx.tickets.forget_connection(&connection.name);
        self.cx.connections.insert(connection.name.clone(), Arc::clone(&connection));
        // What is new stands before what goes: no packet finds a gap between them.
        for child in &connection.children {
            match child.start_action.guard() {
                Some(kind) => self.cx.want_guard(GuardWish {
                    connection: Arc::clone(&connection),
                    child: Arc::clone(child),
                    kind,
                    origin: Origin::Configuration,
                    tickets: Vec::new(),
                }),
                None => self.cx.renew_guard(&connection, child),
            }
        }
        self.cx.lift_strays(&connection.name, Some(&connection));
        for child in connection.children.iter().filter(|child| child.start_action.starts()) {
            let request = ChildRequest { config: Arc::clone(child), flow: None };
            self.initiate(Initiation::of_child(Arc::clone(&connection), request, Vec::new()));
        }
    }

    pub(super) fn unload(&mut self, name: &str) {
        self.cx.tickets.forget_connection(name);
        self.cx.tally.forget(name);
        self.cx.lift_strays(name, None);
        self.cx.connections.remove(name);
    }

    pub(super) fn command_initiate(&mut self, connection: &str, child: Option<String>, ticket: Ticket) {
        match self.find_child(connection, child.as_deref()) {
            Ok((connection, config)) => {
                let child = config.map(|config| ChildRequest { config, flow: None });
                self.initiate(Initiation::of(connection, child, vec![ticket]));
            }
            Err(failure) => self.cx.finish(&[ticket], &Err(failure)),
        }
    }

    /// Finds a connection, and of its children the named one; version 1 makes no IKE SA without a child, and has its first.
    #[allow(clippy::type_complexity)]
    fn find_child(
        &self,
        connection: &str,
        child: Option<&str>,
    ) -> Result<(Arc<Connection>, Option<Arc<ChildConfig>>), Failure> {
        let connection = (self.cx.connections.get(connection))
            .ok_or_else(|| Failure::NotFound(format!("no connection is called {connection}")))?;
        let config = match child {
            None => match connection.versions {
                Versions::V1 => Some(connection.children.first().ok_or_else(|| {
                    Failure::NotFound(format!("connection {} has no children to bring up", connection.name))
                })?),
                Versions::V2 | Versions::Either => None,
            },
            Some(name) => Some(connection.child(name).ok_or_else(|| {
                Failure::NotFound(format!("connection {} has no child called {name}", connection.name))
            })?),
        };
        Ok((Arc::clone(connection), config.cloned()))
    }

    pub(super) fn command_install(&mut self, connection: &str, child: &str, ticket: Ticket) {
        match self.find_child(connection, Some(child)) {
            Ok((connection, Some(child))) => self.cx.want_guard(GuardWish {
                connection,
                child,
                kind: GuardKind::Trap,
                origin: Origin::Command,
                tickets: vec![ticket],
            }),
            Ok((_, None)) => self.cx.finish(&[ticket], &Ok(())),
            Err(failure) => self.cx.finish(&[ticket], &Err(failure)),
        }
    }

    pub(super) fn command_uninstall(&mut self, connection: String, child: String, ticket: Ticket) {
        self.take_guard(GuardKey::named(connection, child), GuardKind::Trap, ticket);
    }

    pub(super) fn command_unblock(&mut self, connection: String, child: String, ticket: Ticket) {
        self.take_guard(GuardKey::named(connection, child), GuardKind::Block, ticket);
    }

    fn take_guard(&mut self, key: GuardKey, kind: GuardKind, ticket: Ticket) {
        let stands = self.cx.guards.get(&key).is_some_and(|guard| guard.kind == kind);
        if stands {
            self.cx.lift(&key);
            return self.cx.finish(&[ticket], &Ok(()));
        }
        let (connection, child) = (key.connection(), key.child());
        let lacking = match kind {
            GuardKind::Trap => "has no trap policy",
            GuardKind::Block => "is not blocked",
        };
        self.not_found(ticket, format!("child {child} of connection {connection} {lacking}"));
    }

    pub(super) fn command_rekey_ike(&mut self, ike: IkeSaId, ticket: Ticket) {
        let current = self.established().find(|sa| sa.id() == ike && sa.is_current());
        match current.map(Established::our_spi) {
            Some(our_spi) => self.with_established(our_spi, |sa, cx| sa.rekey(cx, vec![ticket])),
            None => self.not_found(ticket, format!("no IKE SA {ike} is up")),
        }
    }

    pub(super) fn command_reauthenticate_ike(&mut self, ike: IkeSaId, ticket: Ticket) {
        let current = self.established().find(|sa| sa.id() == ike && sa.is_current());
        match current.map(Established::our_spi) {
            Some(our_spi) => self.with_established(our_spi, |sa, cx| sa.reauthenticate(cx, vec![ticket])),
            None => self.not_found(ticket, format!("no IKE SA {ike} is up")),
        }
    }

    pub(super) fn command_redirect(&mut self, ike: IkeSaId, gateway: GatewayName, ticket: Ticket) {
        let current = self.established().find(|sa| sa.id() == ike && sa.is_current());
        match current.map(Established::our_spi) {
            Some(our_spi) if matches!(self.sas.get(&our_spi), Some(Sa::V2(_))) => {
                self.with_established_v2(our_spi, |sa, cx| sa.redirect(cx, gateway, ticket));
            }
            Some(_) => {
                self.not_found(ticket, format!("IKE SA {ike} is of IKEv1, which knows no redirection"))
            }
            None => self.not_found(ticket, format!("no IKE SA {ike} is up")),
        }
    }

    pub(super) fn command_synchronize(&mut self, ike: IkeSaId, missed: MissedPackets, ticket: Ticket) {
        let current = self.established().find(|sa| sa.id() == ike && sa.is_current());
        match current.map(Established::our_spi) {
            Some(our_spi) if matches!(self.sas.get(&our_spi), Some(Sa::V2(_))) => {
                self.with_established_v2(our_spi, |sa, cx| {
                    counter_synchronization::begin(sa, cx, missed, ticket);
                    sa.pump(cx);
                });
            }
            Some(_) => {
                self.not_found(ticket, format!("IKE SA {ike} is of IKEv1, which has no such counters"))
            }
            None => self.not_found(ticket, format!("no IKE SA {ike} is up")),
        }
    }

    pub(super) fn command_rekey_child(&mut self, child: ChildSaId, ticket: Ticket) {
        match self.owner_of_child(child) {
            Some(our_spi) => {
                self.with_established(our_spi, |sa, cx| sa.rekey_child(cx, child, vec![ticket]));
            }
            None => self.not_found(ticket, format!("no Child SA {child} is up")),
        }
    }

    pub(super) fn command_terminate_child(&mut self, child: ChildSaId, ticket: Ticket) {
        match self.owner_of_child(child) {
            Some(our_spi) => {
                self.with_established(our_spi, |sa, cx| sa.terminate_child(cx, child, vec![ticket]));
            }
            None => self.not_found(ticket, format!("no Child SA {child} is up")),
        }
    }

    pub(super) fn command_terminate_ike(&mut self, ike: IkeSaId, ticket: Ticket) {
        let named = self.sas.values().filter(|sa| sa.status().is_some_and(|status| status.id == ike));
        let named: Vec<_> = named.map(Sa::our_spi).collect();
        if named.is_empty() {
            return self.not_found(ticket, format!("there is no IKE SA {ike}"));
        }
        let mut tickets = vec![ticket];
        for our_spi in named {
            self.with_sa(our_spi, |sa, cx| terminate(sa, cx, &mut tickets));
        }
        self.cx.finish(&tickets, &Ok(()));
    }

    pub(super) fn command_forget_ike(&mut self, ike: IkeSaId, ticket: Ticket) {
        let named = self.sas.values().filter(|sa| sa.status().is_some_and(|status| status.id == ike));
        let named: Vec<_> = named.map(Sa::our_spi).collect();
        if named.is_empty() {
            return self.not_found(ticket, format!("there is no IKE SA {ike}"));
        }
        for our_spi in named {
            self.with_sa(our_spi, |sa, cx| {
                let mut left = terminate(sa, cx, &mut Vec::new())?;
                match left.established_mut() {
                    Some(sa) => {
                        sa.end(cx, DownReason::Terminated);
                        None
                    }
                    None => Some(left),
                }
            });
        }
        self.cx.finish(&[ticket], &Ok(()));
    }

    fn owner_of_child(&self, child: ChildSaId) -> Option<IkeSpi> {
        self.established().find(|sa| sa.owns(child)).map(Established::our_spi)
    }

    fn not_found(&mut self, ticket: Ticket, sentence: String) {
        self.cx.finish(&[ticket], &Err(Failure::NotFound(sentence)));
    }
}

/// Deletes an IKE SA, or gives up making it; an SA that waits for the peer's confirmation takes the tickets.
fn terminate(mut sa: Sa, cx: &mut Context, tickets: &mut Vec<Ticket>) -> Option<Sa> {
    if let Some(established) = sa.established_mut().filter(|sa| sa.is_deletable()) {
        established.terminate(cx, std::mem::take(tickets));
        return sa.alive();
    }
    match sa.into_initiation() {
        Ok((initiation, path)) => {
            cx.fail_initiation(&initiation, path, Failure::Terminated);
            None
        }
        Err(other) => Some(other),
    }
}
