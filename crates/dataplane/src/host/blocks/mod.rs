//! The blocks of this host: a table of the kernel's packet filter that refuses what must not pass unprotected.
//!
//! It holds whether a data plane runs or not: it stays when its maker crashes or ends, until somebody takes it away with
//! [`BlockTable::lift`] (or with `nft`). [`plan`] tells what it says, [`rules`] how that is said.
//!
//! Why nf_tables, and not the kernel's own IPsec policies with the action `block`: these refuse a packet of IPv6 on its way
//! into our TUN device as well (`disable_xfrm` is of IPv4 only), cannot be replaced in one step, and share one list with
//! the policies of other daemons. Why a table with an owner: a firewall script that begins with `flush ruleset` does not
//! reach it while we run (Linux 6.9).

mod plan;
mod rules;

use std::collections::BTreeSet;
use std::io;

use sa::{PolicyId, PolicySpec};

use self::plan::{BlockPlan, Change, Update};
use super::nft::{Nft, Ownership, TableIs, TableSignature, Transaction};

/// The blocks in force.
pub(super) struct BlockTable {
    nft: Nft,
    table: String,
    ownership: Ownership,
    exempt: Exempt,
    plan: BlockPlan,
    standing: Standing,
}

/// What passes though a policy selects it.
#[derive(Clone, Debug)]
pub(super) struct Exempt {
    /// Our common TUN device.
    pub(super) common: String,
    /// Our other ones.
    pub(super) named: BTreeSet<String>,
    /// The mark of our own sockets.
    pub(super) mark: u32,
    /// The mark of packets that our sockets send on as they came, which do not pass.
    pub(super) passing_mark: u32,
    /// Marks that sealed packets carry instead.
    pub(super) other_marks: BTreeSet<u32>,
    /// The UDP ports that carry IKE and ESP to us.
    pub(super) ports: [u16; 2],
}

/// Whether the kernel's table is what the plan says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Whole,
    Doubtful,
}

impl BlockTable {
    /// Puts blocks for these policies in force, in place of those that stand in `table`, in one step.
    ///
    /// # Errors
    /// The kernel has no packet filter, or refuses.
    pub(super) fn establish(table: &str, exempt: Exempt, policies: &[PolicySpec]) -> io::Result<BlockTable> {
        let mut plan = BlockPlan::default();
        for policy in policies {
            plan.install(policy);
        }
        let (nft, table) = (Nft::open()?, table.to_owned());
        let (ownership, standing) = (Ownership::Owned, Standing::Doubtful);
        let mut blocks = BlockTable { nft, table, ownership, exempt, plan, standing };
        if let Err(error) = blocks.lay_out_anew() {
            // Before Linux 6.9 a table cannot outlive its owner.
            tracing::debug!(%error, "trying a table without an owner");
            blocks.ownership = Ownership::Free;
            blocks.lay_out_anew()?;
        }
        Ok(blocks)
    }

    /// Takes a policy in, in place of the one of the same name, and takes others out, in one step.
    pub(super) fn install(&mut self, policy: &PolicySpec, out: &[PolicyId]) -> io::Result<()> {
        let update = self.plan.install(policy);
        let update = out.iter().fold(update, |update, id| update.and(self.plan.remove(*id)));
        self.carry_out(update)
    }

    /// Takes policies out, in one step.
    pub(super) fn remove(&mut self, out: &[PolicyId]) -> io::Result<()> {
        let nothing = Update::Changes(Vec::new());
        let update = out.iter().fold(nothing, |update, id| update.and(self.plan.remove(*id)));
        self.carry_out(update)
    }

    /// Lets pass what goes through a further device of ours.
    pub(super) fn exempt(&mut self, device: &str) -> io::Result<()> {
        if !self.exempt.named.insert(device.to_owned()) {
            return Ok(());
        }
        let mut transaction = Transaction::on(&self.table);
        rules::add_device(&mut transaction, device);
        self.write_look_ups(&mut transaction);
        self.amend(transaction)
    }

    /// Treats a device like any other again.
    pub(super) fn exempt_no_more(&mut self, device: &str) -> io::Result<()> {
        if !self.exempt.named.remove(device) {
            return Ok(());
        }
        let mut transaction = Transaction::on(&self.table);
        rules::remove_device(&mut transaction, device);
        self.write_look_ups(&mut transaction);
        self.amend(transaction)
    }

    /// Lets sealed packets pass that carry one of these marks instead of ours.
    pub(super) fn exempt_marks(&mut self, marks: BTreeSet<u32>) -> io::Result<()> {
        if self.exempt.other_marks == marks {
            return Ok(());
        }
        self.exempt.other_marks = marks;
        let mut transaction = Transaction::on(&self.table);
        self.write_look_ups(&mut transaction);
        self.amend(transaction)
    }

    /// Gives the policies, the one that wins first.
    pub(super) fn policies(&self) -> impl ExactSizeIterator<Item = &PolicySpec> {
        self.plan.policies()
    }

    /// Tells by what the table, and what we do to it, are known.
    pub(super) fn signature(&self) -> TableSignature {
        TableSignature { table: self.table.clone(), port: self.nft.port() }
    }

    /// Tells whether the table is there.
    pub(super) fn stands(&mut self) -> io::Result<bool> {
        Ok(self.nft.table(&self.table)? != TableIs::Absent)
    }

    /// Makes the table anew, in place of the one that stands, in one step.
    pub(super) fn lay_out_anew(&mut self) -> io::Result<()> {
        let mut transaction = Transaction::on(&self.table);
        if self.stands()? {
            transaction.delete_table();
        }
        transaction.create_table(self.ownership);
        rules::write_frame(&mut transaction, &self.exempt);
        for (id, keys) in self.plan.layout().sets() {
            transaction.add_set(&rules::name(&id), &rules::fields(&id.shape));
            transaction.add_elements(&rules::name(&id), keys.map(|key| rules::element(&key, &id.shape)));
        }
        rules::write_look_ups(&mut transaction, &self.exempt, self.plan.layout());
        self.commit(transaction)
    }

    /// Counts the packets that were refused since the table was laid out.
    pub(super) fn refused(&mut self) -> io::Result<u64> {
        rules::REFUSING_CHAINS.iter().map(|chain| self.nft.counted(&self.table, chain)).sum()
    }

    /// Takes the table away: nothing is refused any more.
    pub(super) fn lift(mut self) -> io::Result<()> {
        lift(&mut self.nft, &self.table)
    }

    fn carry_out(&mut self, update: Update) -> io::Result<()> {
        match update {
            Update::Changes(changes) if changes.is_empty() => Ok(()),
            Update::Changes(changes) => self.change(&changes),
            Update::Everything => self.lay_out_anew(),
        }
    }

    /// More is refused, then less.
    fn change(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut transaction = Transaction::on(&self.table);
        let mut shapes_changed = false;
        for change in changes {
            match change {
                Change::AddSet(id) => {
                    transaction.add_set(&rules::name(id), &rules::fields(&id.shape));
                    shapes_changed = true;
                }
                Change::Add(id, key) => {
                    transaction.add_elements(&rules::name(id), [rules::element(key, &id.shape)]);
                }
                Change::RemoveSet(_) => shapes_changed = true,
                Change::Remove(..) => {}
            }
        }
        if shapes_changed {
            self.write_look_ups(&mut transaction);
        }
        for change in changes {
            match change {
                Change::Remove(id, key) => {
                    transaction.remove_elements(&rules::name(id), [rules::element(key, &id.shape)]);
                }
                Change::RemoveSet(id) => transaction.delete_set(&rules::name(id)),
                Change::AddSet(_) | Change::Add(..) => {}
            }
        }
        self.amend(transaction)
    }

    fn write_look_ups(&self, transaction: &mut Transaction) {
        rules::flush_look_ups(transaction);
        rules::write_look_ups(transaction, &self.exempt, self.plan.layout());
    }

    /// Changes a table that is whole; one that lacks an earlier change, which the kernel refused, is made anew with both.
    fn amend(&mut self, transaction: Transaction) -> io::Result<()> {
        match self.standing {
            Standing::Whole => self.commit(transaction),
            Standing::Doubtful => self.lay_out_anew(),
        }
    }

    fn commit(&mut self, transaction: Transaction) -> io::Result<()> {
        self.standing = Standing::Doubtful;
        self.nft.commit(transaction)?;
        self.standing = Standing::Whole;
        Ok(())
    }
}

/// Looks for a table.
pub(super) fn table(name: &str) -> io::Result<TableIs> {
    Nft::open()?.table(name)
}

/// Takes away a table that an earlier run left; one that is gone already is no error.
pub(super) fn lift_left_over(name: &str) -> io::Result<()> {
    lift(&mut Nft::open()?, name)
}

fn lift(nft: &mut Nft, name: &str) -> io::Result<()> {
    if nft.table(name)? == TableIs::Absent {
        return Ok(());
    }
    let mut transaction = Transaction::on(name);
    transaction.delete_table();
    nft.commit(transaction)
}
