//! Policies that need no SA: children with `mode = pass` or `mode = drop`.
//!
//! The IKE engine never hears of them. Their policy ids lie in a range of their own, and they come before whatever the
//! engine installs.

use std::collections::{BTreeMap, BTreeSet};

use config::{Child, Connection, Selector, StartAction, Treatment};
use sa::{PolicyAction, PolicyId, PolicySpec, SaOp, SelectorPair};

/// The ids from here up are ours; the engine counts its own from 1.
const FIRST_ID: u32 = 1 << 31;

/// Lower than every priority of the engine, unless the child names one itself.
const PRIORITY: u32 = 1;

/// The shunts that are installed, by connection and child.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shunts {
    installed: BTreeMap<(String, String), PolicyId>,
    given: u32,
}

/// What loading a connection does to its policies. What is installed under an id that is in use takes its place, and
/// what goes is to go last: there is no moment at which less is dropped than before and after.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// The orders that install or replace.
    pub(crate) install: Vec<SaOp>,
    /// The orders that remove what is no longer a policy of the connection.
    pub(crate) remove: Vec<SaOp>,
    /// Why others cannot be installed.
    pub(crate) refused: Vec<String>,
}

impl Shunts {
    /// Brings the policies of a connection in line with its children: those that loading installs, and those that were
    /// installed and are still children.
    pub(crate) fn renew(&mut self, connection: &Connection) -> Renewal {
        let mut renewal = Renewal::default();
        let mut kept = BTreeSet::new();
        for child in &connection.children {
            if child.start_action == StartAction::None && !self.has(&connection.name, &child.name) {
                continue;
            }
            match self.install(&connection.name, child) {
                Ok(Some(op)) => {
                    kept.insert(child.name.clone());
                    renewal.install.push(op);
                }
                Ok(None) => {}
                Err(sentence) => renewal.refused.push(sentence),
            }
        }
        renewal.remove = self.remove_where(|owner, child| owner == connection.name && !kept.contains(child));
        renewal
    }

    /// Gives the order that installs a child's policy; `None` if it needs an SA and so is none of ours.
    ///
    /// # Errors
    /// Its selectors have no pair of fixed addresses; one sentence.
    pub(crate) fn install(&mut self, connection: &str, child: &Child) -> Result<Option<SaOp>, String> {
        let action = match child.treatment {
            Treatment::Protect(_) => return Ok(None),
            Treatment::Pass => PolicyAction::Bypass,
            Treatment::Drop => PolicyAction::Discard,
        };
        let selectors = pairs(&child.local_selectors, &child.remote_selectors);
        if selectors.is_empty() {
            let reason =
                "needs local_ts and remote_ts with addresses of the same family: `dynamic` stands for none";
            return Err(format!(
                "the {} policy {connection}/{} {reason}",
                child.treatment.keyword(),
                child.name
            ));
        }
        let key = (connection.to_owned(), child.name.clone());
        let given = &mut self.given;
        let id = *self.installed.entry(key).or_insert_with(|| {
            *given += 1;
            PolicyId(FIRST_ID + *given)
        });
        // Priorities of the engine are two apart for each one that is configured; ours keep step.
        let priority = if child.priority == 0 { PRIORITY } else { child.priority.saturating_mul(2) };
        Ok(Some(SaOp::InstallPolicy(PolicySpec { id, priority, selectors, action, device: None })))
    }

    /// Gives the order that takes a child's policy away; `None` if it is not installed.
    pub(crate) fn uninstall(&mut self, connection: &str, child: &str) -> Option<SaOp> {
        let id = self.installed.remove(&(connection.to_owned(), child.to_owned()))?;
        Some(SaOp::RemovePolicy(id))
    }

    /// Gives the orders that take all policies of a connection away.
    pub(crate) fn uninstall_all(&mut self, connection: &str) -> Vec<SaOp> {
        self.remove_where(|owner, _| owner == connection)
    }

    fn remove_where(&mut self, is_gone: impl Fn(&str, &str) -> bool) -> Vec<SaOp> {
        let mut removals = Vec::new();
        self.installed.retain(|(connection, child), id| {
            let goes = is_gone(connection, child);
            if goes {
                removals.push(SaOp::RemovePolicy(*id));
            }
            !goes
        });
        removals
    }

    /// Tells whether a child's policy is installed.
    pub(crate) fn has(&self, connection: &str, child: &str) -> bool {
        self.installed.contains_key(&(connection.to_owned(), child.to_owned()))
    }
}

fn pairs(local: &[Selector], remote: &[Selector]) -> Vec<SelectorPair> {
    let fixed = |selector: &Selector| match *selector {
        Selector::Fixed(selector) => Some(selector),
        Selector::Dynamic(..) => None,
    };
    let local = local.iter().filter_map(fixed);
    let both = local
        .flat_map(|local| remote.iter().filter_map(fixed).map(move |remote| SelectorPair { local, remote }));
    both.filter(|pair| pair.local.family() == pair.remote.family()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(children: &str) -> Vec<Child> {
        site(children).children
    }

    fn site(children: &str) -> Connection {
        let text = format!(
            "connections {{ site {{ remote_addrs = 192.0.2.2\n local {{ auth = psk }}\n remote {{ auth = psk }}\n \
             children {{ {children} }} }} }}\n secrets {{ ike {{ secret = swordfish-swordfish }} }}"
        );
        let loaded = config::load_text("test", &text, config::Syntax::Swanctl);
        assert!(loaded.is_sound(), "{:?}", loaded.faults);
        loaded.config.connections.into_iter().next().expect("one connection")
    }

    #[test]
    fn a_shunt_is_installed_once_and_taken_away_with_its_connection() {
        let children = children(
            "lan { mode = pass\n local_ts = 10.1.0.0/16, fd00::/8\n remote_ts = 10.1.0.0/16 }\n \
             net { local_ts = 10.1.0.0/16\n remote_ts = 10.2.0.0/16 }",
        );
        let mut shunts = Shunts::default();
        let Ok(Some(SaOp::InstallPolicy(policy))) = shunts.install("site", &children[0]) else {
            panic!("a policy")
        };
        assert_eq!(policy.action, PolicyAction::Bypass);
        assert_eq!(policy.selectors.len(), 1, "the families of the other pair do not meet");
        let Ok(Some(SaOp::InstallPolicy(again))) = shunts.install("site", &children[0]) else {
            panic!("a policy")
        };
        assert_eq!(again.id, policy.id);
        assert!(matches!(shunts.install("site", &children[1]), Ok(None)), "it needs an SA");
        assert!(shunts.has("site", "lan") && !shunts.has("site", "net"));
        assert!(shunts.uninstall_all("other").is_empty());
        let removals = shunts.uninstall_all("site");
        assert!(matches!(removals.as_slice(), [SaOp::RemovePolicy(id)] if *id == policy.id));
        assert!(!shunts.has("site", "lan"));
    }

    #[test]
    fn a_policy_that_stays_is_replaced_in_place_and_one_that_goes_goes_last() {
        let both = site(
            "lan { mode = pass\n local_ts = 10.1.0.0/16\n remote_ts = 10.1.0.0/16\n start_action = trap }\n \
             bad { mode = drop\n local_ts = 10.1.0.0/16\n remote_ts = 10.9.0.0/16\n start_action = trap }\n \
             own { mode = drop\n local_ts = 10.1.0.0/16\n remote_ts = 10.8.0.0/16 }",
        );
        let edited = site(
            "lan { mode = pass\n local_ts = 10.1.0.0/16\n remote_ts = 10.3.0.0/16\n start_action = trap }\n \
             own { mode = drop\n local_ts = 10.1.0.0/16\n remote_ts = 10.8.0.0/16 }",
        );
        let ids = |ops: &[SaOp]| -> Vec<PolicyId> {
            let id = |op: &SaOp| match op {
                SaOp::InstallPolicy(policy) => policy.id,
                SaOp::RemovePolicy(id) => *id,
                other => panic!("{other:?}"),
            };
            ops.iter().map(id).collect()
        };
        let mut shunts = Shunts::default();
        let first = ids(&shunts.renew(&both).install);
        let [lan, bad] = first.as_slice() else { panic!("own is not asked for: {first:?}") };
        let Ok(Some(SaOp::InstallPolicy(own))) = shunts.install("site", &both.children[2]) else {
            panic!("a policy")
        };
        let renewal = shunts.renew(&edited);
        assert_eq!((ids(&renewal.install), ids(&renewal.remove)), (vec![*lan, own.id], vec![*bad]));
        assert!(renewal.refused.is_empty());
    }

    #[test]
    fn a_shunt_without_addresses_is_refused_in_a_sentence() {
        // The configuration does not allow `dynamic` here; its two families do not meet either.
        let mut children = children("own { mode = drop\n local_ts = 10.1.0.0/16\n remote_ts = 10.2.0.0/16 }");
        children[0].remote_selectors = vec![Selector::Dynamic(sa::IpProtocol::ANY, sa::PortRange::ANY)];
        let refusal =
            Shunts::default().install("site", &children[0]).expect_err("dynamic has no address here");
        assert!(refusal.contains("DROP policy site/own") && refusal.contains("dynamic"), "{refusal}");
    }
}
