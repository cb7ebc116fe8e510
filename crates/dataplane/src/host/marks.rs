//! Marks other than our own that packets from our sockets may carry: that of packets which pass because no policy selects
//! them, and those that an administrator wants the sealed packets of an SA to carry.
//!
//! Our own mark keeps our sockets' packets out of our routing table. A packet carries one mark only, so those with another
//! one take a way around:
//!
//! ```text
//!   rule 4499:  fwmark 4501      goto 4501
//!   rule 4499:  fwmark 42        goto 4501
//!   rule 4500:  not fwmark 4500  lookup 4500
//!   rule 4501:  nop
//! ```

use std::collections::{BTreeMap, BTreeSet};

use sa::{Family, SaId};

use super::journal::{ROUTE_PROTOCOL, RuleAction, RuleEntry};

/// The marks in use, and the SAs that use each.
#[derive(Debug)]
pub(super) struct Marks {
    /// The priority of the rule to go around.
    priority: u32,
    /// What passes because no policy selects it; `None` if nothing does.
    passing: Option<u32>,
    users: BTreeMap<u32, BTreeSet<SaId>>,
}

impl Marks {
    /// Starts with the mark of what passes, if anything does; `priority` is that of the rule that consults our table.
    pub(super) fn around(priority: u32, passing: Option<u32>) -> Marks {
        Marks { priority, passing, users: BTreeMap::new() }
    }

    /// Gives the rules that stand whatever SAs there are.
    pub(super) fn lasting(&self) -> Vec<RuleEntry> {
        self.passing.map_or_else(Vec::new, |mark| [self.landing(), self.skips(mark)].concat())
    }

    /// Notes that an SA uses a mark, and gives the rules to add.
    pub(super) fn add(&mut self, mark: u32, sa: SaId) -> Vec<RuleEntry> {
        let is_first = self.users.is_empty() && self.passing.is_none();
        let users = self.users.entry(mark).or_default();
        let is_new = users.is_empty() && self.passing != Some(mark);
        users.insert(sa);
        let landing = if is_first { self.landing() } else { Vec::new() };
        let skips = if is_new { self.skips(mark) } else { Vec::new() };
        [landing, skips].concat()
    }

    /// Notes that an SA is gone, and gives the rules to remove.
    pub(super) fn remove(&mut self, sa: &SaId) -> Vec<RuleEntry> {
        let mut unused = Vec::new();
        self.users.retain(|mark, users| {
            if users.remove(sa) && users.is_empty() {
                unused.push(*mark);
            }
            !users.is_empty()
        });
        let unused = unused.iter().filter(|mark| self.passing != Some(**mark));
        let mut rules: Vec<RuleEntry> = unused.flat_map(|mark| self.skips(*mark)).collect();
        if !rules.is_empty() && self.users.is_empty() && self.passing.is_none() {
            rules.extend(self.landing());
        }
        rules
    }

    /// Gives the marks in use.
    pub(super) fn all(&self) -> BTreeSet<u32> {
        self.users.keys().copied().collect()
    }

    fn landing(&self) -> Vec<RuleEntry> {
        of_both_families(self.priority + 1, RuleAction::Land)
    }

    fn skips(&self, mark: u32) -> Vec<RuleEntry> {
        of_both_families(self.priority.saturating_sub(1), RuleAction::Skip { mark, to: self.priority + 1 })
    }
}

fn of_both_families(priority: u32, action: RuleAction) -> Vec<RuleEntry> {
    [Family::V4, Family::V6]
        .map(|family| RuleEntry { family, priority, action, protocol: ROUTE_PROTOCOL })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Direction, Protocol, Spi};

    #[test]
    fn rules_come_with_the_first_user_and_go_with_the_last() {
        let sa = |spi| SaId {
            direction: Direction::Outbound,
            protocol: Protocol::Esp,
            destination: [192, 0, 2, 1].into(),
            spi: Spi(spi),
        };
        let mut marks = Marks::around(4500, None);
        let words = |rules: Vec<RuleEntry>| -> Vec<(u32, RuleAction)> {
            rules
                .iter()
                .filter(|rule| rule.family == Family::V4)
                .map(|rule| (rule.priority, rule.action))
                .collect()
        };
        let skip = |mark| (4499, RuleAction::Skip { mark, to: 4501 });
        let landing = (4501, RuleAction::Land);
        assert_eq!(words(marks.add(42, sa(1))), [landing, skip(42)]);
        assert_eq!(words(marks.add(42, sa(2))), []);
        assert_eq!(words(marks.add(7, sa(3))), [skip(7)]);
        assert_eq!(words(marks.remove(&sa(1))), []);
        assert_eq!(words(marks.remove(&sa(2))), [skip(42)]);
        assert_eq!(words(marks.remove(&sa(9))), []);
        assert_eq!(words(marks.remove(&sa(3))), [skip(7), landing]);
        assert!(marks.all().is_empty());

        let mut marks = Marks::around(4500, Some(7));
        assert_eq!(words(marks.lasting()), [landing, skip(7)]);
        assert_eq!(words(marks.add(42, sa(1))), [skip(42)]);
        assert_eq!(words(marks.add(7, sa(2))), []);
        assert_eq!(words(marks.remove(&sa(2))), []);
        assert_eq!(words(marks.remove(&sa(1))), [skip(42)]);
    }
}
