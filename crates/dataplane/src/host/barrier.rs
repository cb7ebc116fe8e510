//! The blocks and their journal: what stands while policies do, and what an earlier run left standing.
//!
//! A block follows its policy. When a run ends, whichever way, its blocks stay; the next run finds them in the journal and
//! takes them over in the step in which it lays out its own table, so that there is no moment without them. From then on a
//! block that was left goes when a policy covers it, or when a person says so.

use std::collections::BTreeSet;
use std::io;

use sa::{PolicyAction, PolicyId, PolicySpec};

use super::blocks::{self, BlockTable, Exempt};
use super::journal::{Entry, Journal};
use super::nft::{TableIs, TableSignature};
use crate::{Block, Blocks, StartError};

/// The blocks of a running plane.
pub(super) struct Barrier {
    table: BlockTable,
    name: String,
    /// Policies of an earlier run that no policy of this one covers.
    left: BTreeSet<PolicyId>,
}

/// What a run that ended or crashed has left standing.
#[derive(Debug, Default)]
pub(super) struct LeftBlocks {
    tables: Vec<String>,
    policies: Vec<PolicySpec>,
}

impl LeftBlocks {
    /// Takes the blocks out of a journal's entries, and gives the other entries.
    ///
    /// Blocks whose table is gone have been taken away by a person, or by the machine's start: they are none any more.
    pub(super) fn split_off(entries: Vec<Entry>) -> (LeftBlocks, Vec<Entry>) {
        LeftBlocks::split_off_if(entries, stands)
    }

    /// Takes them at their word, where nobody here can look.
    pub(super) fn as_told(entries: Vec<Entry>) -> LeftBlocks {
        LeftBlocks::split_off_if(entries, |_| true).0
    }

    fn split_off_if(entries: Vec<Entry>, stands: impl Fn(&str) -> bool) -> (LeftBlocks, Vec<Entry>) {
        let mut left = LeftBlocks::default();
        let mut others = Vec::new();
        for entry in entries {
            match entry {
                Entry::Blocks(name) if stands(&name) => left.tables.push(name),
                Entry::Blocks(_) => {}
                Entry::Policy(policy) => left.policies.push(policy),
                Entry::Names(_) | Entry::Device(_) | Entry::Table(_) | Entry::Rule(_) => others.push(entry),
            }
        }
        if left.tables.is_empty() {
            left.policies.clear();
        }
        // The ids of the run that ended mean nothing to this one, which counts from below.
        for (id, policy) in (0..).zip(&mut left.policies) {
            policy.id = PolicyId(u32::MAX - id);
        }
        (left, others)
    }

    /// Gives the journal's entries for them.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let tables = self.tables.iter().cloned().map(Entry::Blocks);
        tables.chain(self.policies.iter().cloned().map(Entry::Policy)).collect()
    }

    /// Tells people of them.
    pub(super) fn report(&self) -> Blocks {
        let mut blocks: Vec<Block> = self.policies.iter().map(|policy| block(policy, None)).collect();
        blocks.sort_by_key(|block| block.priority);
        Blocks { blocks, ..Blocks::default() }
    }

    /// Takes them away.
    pub(super) fn lift(self) -> io::Result<()> {
        self.tables.iter().try_for_each(|name| blocks::lift_left_over(name))
    }
}

impl Barrier {
    /// Raises the barrier: what was left stands on in a table of this run's.
    pub(super) fn raise(
        name: &str,
        exempt: Exempt,
        left: &LeftBlocks,
        journal: &mut Journal,
    ) -> Result<Barrier, NoBarrier> {
        if !left.tables.iter().any(|table| table == name) && stands(name) {
            return Err(NoBarrier::Start(StartError::BlocksTaken { table: name.to_owned() }));
        }
        let mut entries = left.entries();
        entries.push(Entry::Blocks(name.to_owned()));
        journal.write(&entries).map_err(NoBarrier::Start)?;
        let table = BlockTable::establish(name, exempt, &left.policies).map_err(NoBarrier::of_kernel)?;
        for other in left.tables.iter().filter(|table| *table != name) {
            blocks::lift_left_over(other).map_err(NoBarrier::Kernel)?;
        }
        let left = left.policies.iter().map(|policy| policy.id).collect();
        Ok(Barrier { table, name: name.to_owned(), left })
    }

    /// Blocks what a policy protects, or lets pass what it bypasses, and takes over what was left and is covered by it.
    pub(super) fn install(&mut self, policy: &PolicySpec, journal: &mut Journal) -> io::Result<()> {
        let kept = journal.add_policy(policy);
        let covered = self.covered_by(policy);
        self.table.install(policy, &covered)?;
        kept?;
        self.forget_left(&covered, journal)
    }

    /// Takes the block of a policy away.
    pub(super) fn remove(&mut self, policy: PolicyId, journal: &mut Journal) -> io::Result<()> {
        self.table.remove(&[policy])?;
        journal.strike_policy(policy)
    }

    /// Lets pass what goes through a further device of ours.
    pub(super) fn exempt(&mut self, device: &str) -> io::Result<()> {
        self.table.exempt(device)
    }

    /// Treats a device like any other again.
    pub(super) fn exempt_no_more(&mut self, device: &str) -> io::Result<()> {
        self.table.exempt_no_more(device)
    }

    /// Lets sealed packets pass that carry one of these marks instead of ours.
    pub(super) fn exempt_marks(&mut self, marks: BTreeSet<u32>) -> io::Result<()> {
        self.table.exempt_marks(marks)
    }

    /// Takes away what an earlier run left.
    pub(super) fn remove_left(&mut self, journal: &mut Journal) -> io::Result<()> {
        let left: Vec<PolicyId> = self.left.iter().copied().collect();
        self.table.remove(&left)?;
        self.forget_left(&left, journal)
    }

    /// Lays the table out again if it is gone; tells whether it was.
    pub(super) fn put_back(&mut self) -> io::Result<Option<()>> {
        if self.table.stands()? { Ok(None) } else { self.renew().map(Some) }
    }

    /// Lays the table out again, whatever it is like now.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.table.lay_out_anew()
    }

    /// Tells by what the table, and what we do to it, are known.
    pub(super) fn signature(&self) -> TableSignature {
        self.table.signature()
    }

    /// Gives the journal's entries for the blocks.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let policies = self.table.policies().cloned().map(Entry::Policy);
        [Entry::Blocks(self.name.clone())].into_iter().chain(policies).collect()
    }

    /// Tells people of the blocks.
    pub(super) fn report(&mut self) -> Blocks {
        let stands_behind = |policy: &PolicySpec| Some(policy.id).filter(|id| !self.left.contains(id));
        let blocks = self.table.policies().map(|policy| block(policy, stands_behind(policy))).collect();
        let refused = self.table.refused();
        if let Err(error) = &refused {
            tracing::debug!(%error, "the packet filter does not tell its counters");
        }
        Blocks { blocks, refused: refused.ok(), ..Blocks::default() }
    }

    /// Gives the number of policies.
    pub(super) fn len(&self) -> usize {
        self.table.policies().len()
    }

    /// Tells whether anything is refused.
    pub(super) fn refuses(&self) -> bool {
        self.table.policies().any(|policy| policy.action != PolicyAction::Bypass)
    }

    /// Takes everything away.
    pub(super) fn lift(self) -> io::Result<()> {
        self.table.lift()
    }

    /// Finds what was left and needs to be left no longer once `new` stands.
    fn covered_by(&self, new: &PolicySpec) -> Vec<PolicyId> {
        if self.left.is_empty() {
            return Vec::new();
        }
        let is_left = |policy: &&PolicySpec| self.left.contains(&policy.id);
        let standing: Vec<&PolicySpec> = self
            .table
            .policies()
            .filter(|policy| !is_left(policy) && policy.id != new.id)
            .chain([new])
            .collect();
        let is_covered = |left: &&PolicySpec| {
            left.selectors.iter().all(|pair| {
                let mut alike = standing.iter().filter(|policy| passes(policy) == passes(left));
                alike.any(|policy| {
                    policy
                        .selectors
                        .iter()
                        .any(|ours| ours.local.covers(&pair.local) && ours.remote.covers(&pair.remote))
                })
            })
        };
        let (covered, others): (Vec<&PolicySpec>, Vec<&PolicySpec>) =
            self.table.policies().filter(is_left).partition(is_covered);
        // An exception is of no use when there is nothing left that it is an exception to.
        let useless = if others.iter().all(|policy| passes(policy)) { others } else { Vec::new() };
        covered.into_iter().chain(useless).map(|policy| policy.id).collect()
    }

    fn forget_left(&mut self, policies: &[PolicyId], journal: &mut Journal) -> io::Result<()> {
        for policy in policies {
            self.left.remove(policy);
            journal.strike_policy(*policy)?;
        }
        Ok(())
    }
}

/// Why no barrier stands.
pub(super) enum NoBarrier {
    /// A plane cannot start like this.
    Start(StartError),
    /// The kernel has no packet filter, or refuses.
    Kernel(io::Error),
}

impl NoBarrier {
    fn of_kernel(error: io::Error) -> NoBarrier {
        match error.raw_os_error() {
            Some(libc::EPERM) => NoBarrier::Start(StartError::Privilege {
                action: "blocking unprotected packets",
                capability: "CAP_NET_ADMIN",
            }),
            _ => NoBarrier::Kernel(error),
        }
    }
}

fn stands(table: &str) -> bool {
    blocks::table(table).is_ok_and(|table| table != TableIs::Absent)
}

fn passes(policy: &PolicySpec) -> bool {
    policy.action == PolicyAction::Bypass
}

fn block(policy: &PolicySpec, stands_behind: Option<PolicyId>) -> Block {
    let PolicySpec { selectors, action, priority, .. } = policy.clone();
    Block { selectors, action, priority, policy: stands_behind }
}
