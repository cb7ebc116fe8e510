//! Orders from people and programs.

use std::sync::Arc;

use sa::{PolicyId, SaOp};
use wire::isakmp::IkeSpi;

use super::Endpoint;
use crate::context::{ChildRequest, Context, Initiation};
use crate::event::DownReason;
use crate::io::{ChildSaId, IkeSaId, Ticket};
use crate::v2::Sa;
use crate::v2::ike_sa::{IkeSa, Life, Task};
use crate::v2::trap::TrapKey;
use crate::{ChildConfig, Connection, Failure, StartAction};

impl Endpoint {
    pub(super) fn load(&mut self, connection: Arc<Connection>) {
        // The new traps stand before the old ones go: no packet finds a gap between them.
        let replaced = self.take_traps(&connection.name);
        self.cx.connections.insert(connection.name.clone(), Arc::clone(&connection));
        for child in &connection.children {
            match child.start_action {
                StartAction::None => {}
                StartAction::Trap => self.cx.trap(&connection, child),
                StartAction::Start => {
                    let request = ChildRequest { config: Arc::clone(child), flow: None };
                    self.initiate(Initiation::of_child(Arc::clone(&connection), request, Vec::new()));
                }
            }
        }
        self.remove_policies(replaced);
    }

    pub(super) fn unload(&mut self, name: &str) {
        let traps = self.take_traps(name);
        self.remove_policies(traps);
        self.cx.connections.remove(name);
    }

    /// Forgets the traps of a connection; their policies are still in place.
    fn take_traps(&mut self, connection: &str) -> Vec<PolicyId> {
        let keys: Vec<_> =
            self.cx.traps.keys().filter(|key| key.connection() == connection).cloned().collect();
        keys.iter().filter_map(|key| self.cx.traps.remove(key)).map(|trap| trap.policy).collect()
    }

    fn remove_policies(&mut self, policies: Vec<PolicyId>) {
        for policy in policies {
            self.cx.order(SaOp::RemovePolicy(policy));
        }
    }

    pub(super) fn command_initiate(&mut self, connection: &str, child: Option<String>, ticket: Ticket) {
        let wanted = self.find_child(connection, child.as_deref());
        match wanted {
            Ok((connection, Some(config))) => {
                let request = ChildRequest { config, flow: None };
                self.initiate(Initiation::of_child(connection, request, vec![ticket]));
            }
            Ok((connection, None)) => {
                let failure =
                    Failure::NotFound(format!("connection {} has no children to bring up", connection.name));
                self.cx.finish(&[ticket], &Err(failure));
            }
            Err(failure) => self.cx.finish(&[ticket], &Err(failure)),
        }
    }

    /// Finds a connection, and of its children the named one, or the first.
    #[allow(clippy::type_complexity)]
    fn find_child(
        &self,
        connection: &str,
        child: Option<&str>,
    ) -> Result<(Arc<Connection>, Option<Arc<ChildConfig>>), Failure> {
        let connection = (self.cx.connections.get(connection))
            .ok_or_else(|| Failure::NotFound(format!("no connection is called {connection}")))?;
        let config = match child {
            None => connection.children.first(),
            Some(name) => Some(connection.child(name).ok_or_else(|| {
                Failure::NotFound(format!("connection {} has no child called {name}", connection.name))
            })?),
        };
        Ok((Arc::clone(connection), config.cloned()))
    }

    pub(super) fn command_install(&mut self, connection: &str, child: &str, ticket: Ticket) {
        let installed = match self.find_child(connection, Some(child)) {
            Ok((connection, Some(config))) => self.cx.install_trap(&connection, &config),
            Ok((_, None)) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.cx.finish(&[ticket], &installed);
    }

    pub(super) fn command_uninstall(&mut self, connection: String, child: String, ticket: Ticket) {
        let key = TrapKey::named(connection, child);
        let result = if self.cx.traps.contains_key(&key) {
            Ok(())
        } else {
            let (connection, child) = (key.connection(), key.child());
            Err(Failure::NotFound(format!("child {child} of connection {connection} has no trap policy")))
        };
        self.cx.remove_trap(&key);
        self.cx.finish(&[ticket], &result);
    }

    pub(super) fn command_rekey_ike(&mut self, ike: IkeSaId, ticket: Ticket) {
        let current = self.established().find(|sa| sa.channel.id == ike && sa.life == Life::Current);
        match current.map(IkeSa::our_spi) {
            Some(our_spi) => self.with_established(our_spi, |sa, cx| {
                sa.queue(cx, Task::RekeyIke(vec![ticket]));
                sa.pump(cx);
            }),
            None => self.not_found(ticket, format!("no IKE SA {ike} is up")),
        }
    }

    pub(super) fn command_rekey_child(&mut self, child: ChildSaId, ticket: Ticket) {
        match self.owner_of_child(child) {
            Some(our_spi) => self.with_established(our_spi, |sa, cx| {
                sa.queue(cx, Task::RekeyChild(child, vec![ticket]));
                sa.pump(cx);
            }),
            None => self.not_found(ticket, format!("no Child SA {child} is up")),
        }
    }

    pub(super) fn command_terminate_child(&mut self, child: ChildSaId, ticket: Ticket) {
        match self.owner_of_child(child) {
            Some(our_spi) => self.with_established(our_spi, |sa, cx| {
                sa.queue_first(cx, Task::DeleteChild(child, DownReason::Terminated, vec![ticket]));
                sa.pump(cx);
            }),
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
                let mut left = terminate(sa, cx, &mut Vec::new());
                if let Some(Sa::Established(sa)) = &mut left {
                    sa.end(cx, DownReason::Terminated);
                }
                left.filter(|sa| !matches!(sa, Sa::Established(_)))
            });
        }
        self.cx.finish(&[ticket], &Ok(()));
    }

    fn owner_of_child(&self, child: ChildSaId) -> Option<IkeSpi> {
        self.established().find(|sa| sa.children.contains_key(&child)).map(IkeSa::our_spi)
    }

    fn not_found(&mut self, ticket: Ticket, sentence: String) {
        self.cx.finish(&[ticket], &Err(Failure::NotFound(sentence)));
    }
}

/// Deletes an IKE SA, or gives up making it; an SA that waits for the peer's confirmation takes the tickets.
fn terminate(sa: Sa, cx: &mut Context, tickets: &mut Vec<Ticket>) -> Option<Sa> {
    let (initiation, path) = match sa {
        Sa::Established(mut sa) if sa.life == Life::Current => {
            sa.queue_first(cx, Task::DeleteIke(DownReason::Terminated, std::mem::take(tickets)));
            sa.pump(cx);
            return sa.alive();
        }
        Sa::Initiating(sa) => sa.into_initiation(),
        Sa::Authenticating(sa) => sa.into_initiation(),
        other => return Some(other),
    };
    cx.fail_initiation(&initiation, path, Failure::Terminated);
    None
}
