//! What we change on the host: the TUN device's link, a routing table, the rules that consult it, and blocks.
//!
//! ```text
//!   rule 4500:  not fwmark 4500  lookup 4500        our sockets carry the mark: IKE and ESP never meet the TUN device
//!   table 4500: 10.2.0.0/16 dev keyway0 src 10.1.0.1     a policy's remote selector, our address in its local one
//!               throw 10.2.9.0/24                        a bypass policy inside it
//!               throw 10.1.0.0/16                        a local selector, if a remote one were wide enough to hold it
//! ```
//!
//! A rule that is there already belongs to another plane, and is left alone: we take back only what we made.
//!
//! Routes lead packets to us, and they can be lost: with the TUN device when the process dies, by another program's hand.
//! So everything that a policy protects is [blocked](blocks) besides, in both directions, except through us: blocks stand
//! before the first route leads here, and stay after the last. Where the kernel has no packet filter, unreachable routes of
//! a worse metric take the place of blocks; they keep packets from leaving, not from arriving, and not while a new run
//! takes the place of one that ended.
//!
//! What the administrator still must look at:
//! - Forwarding between networks needs `net.ipv4.ip_forward`; that is not ours to switch.
//! - Strict reverse path filtering (`rp_filter` 1) on the outer device drops ESP from a peer whose own address lies in a
//!   remote selector, because the way back for an unmarked packet leads to the TUN device. Loose filtering (2) lets it in.
//!   On the TUN device either setting works: the way back to an inner source leads there.
//! - A hub sends ICMP redirects to its spokes, because a packet from one to the other leaves by the device that it came by;
//!   `net.ipv4.conf.all.send_redirects` 0 stops that, together with the TUN device's own setting.
//! - A packet that a route leads to us and no policy selects, for routes know nothing of protocols, ports and sources, is sent
//!   on by the host's other routes, as one that this host says itself and with a mark of its own; unlike sealed packets it
//!   meets the blocks. Its source may be the address that our route prefers. Where there are no blocks it is dropped, and so
//!   is what was multicast, or for the neighbours on the TUN device, and what no policy of a tunnel's own device selects.

mod barrier;
mod blocks;
mod devices;
mod inside;
mod journal;
mod link_mtu;
mod marks;
mod netlink;
mod nft;
mod route_plan;
mod uplinks;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;

use sa::{DeviceId, Family, PolicyId, PolicySpec, SaId};

use self::barrier::{Barrier, LeftBlocks, NoBarrier};
use self::blocks::Exempt;
use self::devices::Devices;
use self::inside::Names;
use self::journal::{Entry, Journal, Origin, ROUTE_PROTOCOL, RuleAction, RuleEntry, TableEntry};
pub(crate) use self::link_mtu::link_mtu;
use self::marks::Marks;
pub(crate) use self::netlink::device_with;
use self::netlink::{Netlink, TunRoutes};
use self::route_plan::{Change, Lead, Prefix, RoutePlan};
pub(crate) use self::uplinks::Uplinks;
use self::watch::Touched;
pub(crate) use self::watch::Watch;
use crate::tun::TunQueue;
use crate::{Blocks, DeviceError, Settings, StartError, TunnelDevice};

/// The host's set-up while a plane runs. All changes go through here, on one thread at a time.
pub(crate) struct Host {
    netlink: Netlink,
    journal: Journal,
    /// The table and the rules that stand, in the order in which they were made.
    made: Vec<Entry>,
    table: TableEntry,
    device: u32,
    mtu: u32,
    plan: RoutePlan,
    /// `None` where the kernel has no packet filter.
    barrier: Option<Barrier>,
    devices: Devices,
    marks: Marks,
    names: Names,
    is_winding_down: bool,
}

/// A locked journal after the sweep: nothing is on the host that is not of this run, except blocks.
pub(crate) struct SweptHost {
    netlink: Netlink,
    journal: Journal,
    left: LeftBlocks,
    devices: Devices,
}

impl SweptHost {
    /// Locks the journal and removes what a crashed run left behind, except its blocks.
    pub(crate) fn open(journal: &Path) -> Result<SweptHost, StartError> {
        let (journal, mut leftovers) = Journal::open(journal)?;
        if journal.origin() == Origin::Elsewhere {
            tracing::warn!(
                "the journal is that of a run in another network namespace; what it left there stays"
            );
            leftovers.clear();
        }
        let mut netlink = Netlink::open()?;
        let (left, leftovers) = LeftBlocks::split_off(leftovers);
        let (devices, leftovers) = Devices::split_off(leftovers);
        if !leftovers.is_empty() {
            tracing::warn!(entries = leftovers.len(), "removing what a crashed run left on this host");
        }
        for entry in leftovers.into_iter().rev() {
            undo(&mut netlink, &entry, TunRoutes::GoneWithTheirDevice)?;
        }
        Ok(SweptHost { netlink, journal, left, devices })
    }

    /// Tells what is blocked.
    pub(crate) fn blocks(&self) -> Blocks {
        Blocks { devices: self.devices.left(), ..self.left.report() }
    }

    /// Takes the blocks and the devices away as well.
    pub(crate) fn unblock(&mut self) -> Result<(), StartError> {
        let left = std::mem::take(&mut self.left);
        left.lift().map_err(|source| failed("take the blocks away".to_owned(), source))?;
        self.devices
            .remove_left(&mut self.netlink)
            .map_err(|error| failed("take a device away".to_owned(), io::Error::other(error)))
    }

    /// Ends a sweep after which no plane starts.
    pub(crate) fn close(mut self) -> Result<(), StartError> {
        let entries: Vec<Entry> = self.left.entries().into_iter().chain(self.devices.entries()).collect();
        if entries.is_empty() { self.journal.remove() } else { self.journal.write(&entries) }
    }

    /// Raises the barrier, switches the TUN device on and adds the rules. On an error nothing stays that was not there.
    ///
    /// Gives a sentence for what the plane must do without.
    pub(crate) fn set_up(mut self, settings: &Settings) -> Result<(Host, Option<String>), StartError> {
        let exempt = Exempt {
            common: settings.tun_name.clone(),
            named: BTreeSet::new(),
            mark: settings.mark,
            passing_mark: settings.passing_mark.get(),
            other_marks: BTreeSet::new(),
            ports: [settings.ike_port, settings.nat_port],
        };
        let (barrier, complaint) =
            match Barrier::raise(&settings.tun_name, exempt, &self.left, &mut self.journal) {
                Ok(barrier) => (Some(barrier), None),
                Err(NoBarrier::Kernel(error)) => (None, Some(without_blocks(&error))),
                Err(NoBarrier::Start(error)) => {
                    if let Err(error) = self.close() {
                        tracing::warn!(%error, "the journal stays");
                    }
                    return Err(error);
                }
            };
        // Blocks are what tells a packet that no policy selects from one whose policy has gone or is yet to come.
        let passing = barrier.as_ref().map(|_| settings.passing_mark.get());
        let marks = Marks::around(settings.rule_priority, passing);
        let mut host = Host {
            netlink: self.netlink,
            journal: self.journal,
            made: Vec::new(),
            table: TableEntry { table: settings.routing_table, protocol: ROUTE_PROTOCOL },
            device: 0,
            mtu: settings.tun_mtu.into(),
            plan: RoutePlan::default(),
            barrier,
            devices: self.devices.beside(&settings.tun_name),
            marks,
            names: Names::of(&settings.name_servers, &settings.tun_name),
            is_winding_down: false,
        };
        match host.make_all(settings) {
            Ok(()) => Ok((host, complaint)),
            Err(error) => {
                host.undo_all();
                Err(error)
            }
        }
    }
}

/// Tells what a run in another network namespace left blocked there, as its journal has it; `None` if it ran in this one.
pub(crate) fn blocks_elsewhere(journal: &Path) -> Result<Option<Blocks>, StartError> {
    let (journal, entries) = Journal::open(journal)?;
    match journal.origin() {
        Origin::Here => Ok(None),
        Origin::Elsewhere => {
            let (devices, entries) = Devices::split_off(entries);
            Ok(Some(Blocks { devices: devices.left(), ..LeftBlocks::as_told(entries).report() }))
        }
    }
}

fn without_blocks(error: &io::Error) -> String {
    format!(
        "the kernel's packet filter (nf_tables) cannot be used: {error}; packets that should arrive protected are let in \
         unprotected, and those that should leave protected are kept in by routes alone"
    )
}

impl Host {
    /// Blocks what a policy protects and makes its routes stand; gives a sentence for each that the kernel refused.
    pub(crate) fn install_policy(&mut self, policy: &PolicySpec) -> Vec<String> {
        let own_addresses = self.netlink.addresses().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list this host's addresses; routes get no preferred source");
            Vec::new()
        });
        let blocked = match &mut self.barrier {
            Some(barrier) => barrier.install(policy, &mut self.journal),
            None => Ok(()),
        };
        let changes = self.plan.install(policy, &own_addresses);
        let mut refusals = self.make(&changes);
        refusals.extend(
            blocked.err().map(|error| format!("cannot block what policy {} protects: {error}", policy.id)),
        );
        self.trim_journal();
        refusals
    }

    /// Takes away the routes that only this policy needed, then its block; gives a sentence for each that the kernel
    /// refused.
    pub(crate) fn remove_policy(&mut self, policy: PolicyId) -> Vec<String> {
        let changes = self.plan.remove(policy);
        let mut refusals = self.make(&changes);
        let unblocked = match &mut self.barrier {
            Some(barrier) => barrier.remove(policy, &mut self.journal),
            None => Ok(()),
        };
        refusals.extend(
            unblocked.err().map(|error| format!("cannot unblock what policy {policy} protected: {error}")),
        );
        self.trim_journal();
        refusals
    }

    /// Looks whether what is ours still stands, and puts back what another hand has taken away; gives a sentence for each.
    pub(crate) fn look_after(&mut self, touched: &BTreeSet<Touched>) -> Vec<String> {
        let mut sentences = Vec::new();
        let renewed = self.barrier.as_mut().and_then(|barrier| {
            let changed = touched.contains(&Touched::Blocks);
            if changed { Some(barrier.renew()) } else { barrier.put_back().transpose() }
        });
        sentences.extend(renewed.map(|result| put_back("somebody changed our blocks", result)));
        for index in 0..self.made.len() {
            if let Entry::Rule(rule) = self.made[index]
                && self.netlink.has_rule(rule).is_ok_and(|stands| !stands)
            {
                let what =
                    format!("somebody took our routing rule {} of {} away", rule.priority, rule.family);
                sentences.push(put_back(&what, self.netlink.add_rule(rule)));
            }
        }
        if touched.contains(&Touched::Device) {
            sentences.extend(self.look_after_device());
        }
        sentences
    }

    fn look_after_device(&mut self) -> Vec<String> {
        let mut sentences = Vec::new();
        match self.netlink.is_up(self.device) {
            Ok(true) => {}
            Ok(false) => {
                let result = self.netlink.bring_up(self.device, self.mtu);
                sentences.push(put_back("somebody switched our TUN device off", result));
            }
            Err(error) => {
                // It is gone, and the worker that read from it tells.
                tracing::debug!(%error, "cannot look at the TUN device");
                return sentences;
            }
        }
        // Routes go with a device that is switched off, and do not come back with it.
        let changes = self.plan.all();
        sentences.extend(self.make(&changes));
        sentences
    }

    /// Watches over what is ours; `look` is to call [`Host::look_after`].
    pub(crate) fn watch(&self, look: impl FnMut(&BTreeSet<Touched>) + Send + 'static) -> io::Result<Watch> {
        Watch::start(self.device, self.barrier.as_ref().map(Barrier::signature), look)
    }

    /// Tells whether the blocks look at packets that no policy selects and that we send on.
    pub(crate) fn is_blocking(&self) -> bool {
        self.barrier.is_some()
    }

    /// Lets the sealed packets of an outbound SA carry a mark of the administrator's; gives a sentence for what the kernel
    /// refused.
    pub(crate) fn use_mark(&mut self, mark: u32, sa: SaId) -> Vec<String> {
        let rules = self.marks.add(mark, sa);
        let mut refusals = Vec::new();
        for rule in rules {
            self.made.push(Entry::Rule(rule));
            self.write_journal();
            match self.netlink.add_rule(rule) {
                Err(error) if rule.family == Family::V6 && lacks_family(&error) => drop(self.made.pop()),
                Err(error) => {
                    self.made.pop();
                    refusals.push(format!("cannot let packets with the mark {mark} out: {error}"));
                }
                Ok(()) => {}
            }
        }
        refusals.extend(self.exempt_marks());
        refusals
    }

    /// Takes that back, if no other SA uses the mark.
    pub(crate) fn leave_mark(&mut self, sa: &SaId) -> Vec<String> {
        let mut refusals = Vec::new();
        for rule in self.marks.remove(sa) {
            self.made.retain(|made| *made != Entry::Rule(rule));
            refusals.extend(self.netlink.remove_rule(rule).err().map(|error| {
                format!("cannot remove our routing rule {} of {}: {error}", rule.priority, rule.family)
            }));
        }
        refusals.extend(self.exempt_marks());
        refusals
    }

    fn exempt_marks(&mut self) -> Option<String> {
        let barrier = self.barrier.as_mut()?;
        let exempt = barrier.exempt_marks(self.marks.all());
        exempt.err().map(|error| format!("cannot let sealed packets with a mark through the blocks: {error}"))
    }

    /// Tells what is blocked.
    pub(crate) fn blocks(&mut self) -> Blocks {
        let blocks = self.barrier.as_mut().map(Barrier::report).unwrap_or_default();
        Blocks { devices: self.devices.left(), ..blocks }
    }

    /// Takes away the blocks that an earlier run left and no policy covers, and the devices that nobody has asked for.
    pub(crate) fn unblock(&mut self) -> io::Result<()> {
        if let Some(barrier) = &mut self.barrier {
            barrier.remove_left(&mut self.journal)?;
        }
        let removed = self.devices.remove_left(&mut self.netlink).map_err(io::Error::other);
        self.write_journal();
        removed
    }

    /// Makes a tunnel device and gives its queues, `count` of them; `None` if it runs already and was only set up anew.
    pub(crate) fn add_device(
        &mut self,
        device: &TunnelDevice,
        count: usize,
    ) -> Result<Option<Vec<TunQueue>>, DeviceError> {
        let queues = if self.devices.runs(device)? {
            None
        } else {
            Some(self.devices.make(&mut self.netlink, device, count)?)
        };
        self.write_journal();
        let set_up = self.exempt(device).and_then(|()| self.devices.set_up(&mut self.netlink, device));
        match set_up {
            Ok(()) => Ok(queues),
            Err(error) => {
                if queues.is_some() {
                    self.remove_device(device.id);
                }
                Err(error)
            }
        }
    }

    /// Takes a tunnel device away; gives a sentence for what the kernel refused.
    pub(crate) fn remove_device(&mut self, id: DeviceId) -> Vec<String> {
        let mut refusals = Vec::new();
        let Some((device, removed)) = self.devices.remove(&mut self.netlink, id) else { return refusals };
        refusals.extend(removed.err().map(|error| error.to_string()));
        if let (None, Some(barrier)) = (&device.namespace, &mut self.barrier)
            && let Err(error) = barrier.exempt_no_more(&device.name)
        {
            refusals.push(format!(
                "cannot take the device {} out of the blocks' exceptions: {error}",
                device.name
            ));
        }
        self.write_journal();
        refusals
    }

    fn exempt(&mut self, device: &TunnelDevice) -> Result<(), DeviceError> {
        match (&device.namespace, &mut self.barrier) {
            (None, Some(barrier)) => barrier.exempt(&device.name).map_err(|source| DeviceError::Refused {
                action: "exempt it from blocks".to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Notes that the plane is about to end: nothing is to pass that should have been protected, so policies, their blocks
    /// and devices stay, whatever becomes of what they are for.
    pub(crate) fn wind_down(&mut self) {
        self.is_winding_down = true;
    }

    /// Tells whether that has been said.
    pub(crate) fn is_winding_down(&self) -> bool {
        self.is_winding_down
    }

    /// Takes everything back but the blocks of policies; what the kernel refuses to give up stays in the journal for the
    /// next sweep.
    pub(crate) fn undo_all(mut self) {
        let mut stays = Vec::new();
        if self.barrier.is_none() && self.plan.has_tunnels() {
            // The unreachable routes stand for blocks, and are of no use without the rules.
            stays.append(&mut self.made);
        }
        stays.extend(self.names.undo());
        // The rules before the table: without them no packet consults it.
        for entry in self.made.into_iter().rev() {
            if let Err(error) = undo(&mut self.netlink, &entry, TunRoutes::Of(self.device)) {
                tracing::error!(%error, "this host keeps something of ours");
                stays.push(entry);
            }
        }
        if let Some(barrier) = self.barrier {
            if barrier.refuses() {
                stays.extend(barrier.entries());
            } else if let Err(error) = barrier.lift() {
                tracing::error!(%error, "this host keeps a table of blocks, though nothing is blocked");
            }
        }
        stays.extend(self.devices.entries());
        let noted = if stays.is_empty() { self.journal.remove() } else { self.journal.write(&stays) };
        if let Err(error) = noted {
            tracing::warn!(%error, "the journal is not what it should be");
        }
    }

    fn make(&mut self, changes: &[Change]) -> Vec<String> {
        let mut refusals = Vec::new();
        for change in changes {
            let (result, action, prefix) = match *change {
                Change::Set(prefix, lead) => (self.set_route(prefix, lead), "add", prefix),
                Change::Remove(prefix) => (self.remove_route(prefix), "remove", prefix),
            };
            if let Err(error) = result {
                refusals.push(format!("cannot {action} the route to {prefix}: {error}"));
            }
        }
        refusals
    }

    fn make_all(&mut self, settings: &Settings) -> Result<(), StartError> {
        self.set_up_device(settings)?;
        self.announce(Entry::Table(self.table))?;
        self.made.push(Entry::Table(self.table));
        for family in [Family::V4, Family::V6] {
            let rule = rule(settings, family);
            self.announce(Entry::Rule(rule))?;
            if self.add_rule(rule)? == RuleIs::Added {
                self.made.push(Entry::Rule(rule));
            }
        }
        for rule in self.marks.lasting() {
            self.announce(Entry::Rule(rule))?;
            if self.add_rule(rule)? == RuleIs::Added {
                self.made.push(Entry::Rule(rule));
            }
        }
        Ok(())
    }

    /// Writes to the journal what stands and what comes next.
    fn announce(&mut self, next: Entry) -> Result<(), StartError> {
        let mut entries = self.entries();
        entries.push(next);
        self.journal.write(&entries)
    }

    fn entries(&self) -> Vec<Entry> {
        let blocks = self.barrier.iter().flat_map(Barrier::entries);
        self.made
            .iter()
            .cloned()
            .chain(self.names.entries())
            .chain(self.devices.entries())
            .chain(blocks)
            .collect()
    }

    fn trim_journal(&mut self) {
        let blocked = self.barrier.as_ref().map_or(0, Barrier::len);
        if self.journal.is_overgrown(self.made.len() + blocked) {
            self.write_journal();
        }
    }

    fn write_journal(&mut self) {
        let entries = self.entries();
        if let Err(error) = self.journal.write(&entries) {
            tracing::warn!(%error, "the journal is not what it should be");
        }
    }

    fn set_route(&mut self, prefix: Prefix, lead: Lead) -> io::Result<()> {
        self.netlink.set_route(self.table, prefix, lead, self.device)?;
        match (&self.barrier, lead) {
            (None, Lead::Tun { .. }) => self.netlink.set_last_resort(self.table, prefix),
            (None, Lead::Throw) => self.netlink.remove_last_resort(self.table, prefix),
            (Some(_), _) => Ok(()),
        }
    }

    fn remove_route(&mut self, prefix: Prefix) -> io::Result<()> {
        self.netlink.remove_route(self.table, prefix)?;
        match &self.barrier {
            None => self.netlink.remove_last_resort(self.table, prefix),
            Some(_) => Ok(()),
        }
    }

    fn set_up_device(&mut self, settings: &Settings) -> Result<(), StartError> {
        let (name, mtu) = (&settings.tun_name, self.mtu);
        self.device = self
            .netlink
            .link_index(name)
            .map_err(|source| failed(format!("find the device {name}"), source))?;
        self.netlink
            .bring_up(self.device, mtu)
            .map_err(|source| failed(format!("switch on {name} with an MTU of {mtu}"), source))
    }

    fn add_rule(&mut self, rule: RuleEntry) -> Result<RuleIs, StartError> {
        let Err(error) = self.netlink.add_rule(rule) else { return Ok(RuleIs::Added) };
        match error.raw_os_error() {
            // A kernel without IPv6 has no such rules, and no such packets.
            _ if rule.family == Family::V6 && lacks_family(&error) => {
                tracing::info!(%error, "no IPv6 on this host");
                Ok(RuleIs::Unneeded)
            }
            Some(libc::EEXIST) => Err(StartError::RuleTaken { priority: rule.priority }),
            Some(libc::EPERM) => {
                Err(StartError::Privilege { action: "adding a routing rule", capability: "CAP_NET_ADMIN" })
            }
            _ => Err(failed(format!("add the routing rule {}", rule.priority), error)),
        }
    }
}

fn put_back(what: &str, result: io::Result<()>) -> String {
    match result {
        Ok(()) => format!("{what}; that has been undone"),
        Err(error) => format!("{what}, and that cannot be undone: {error}"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleIs {
    Added,
    Unneeded,
}

fn undo(netlink: &mut Netlink, entry: &Entry, tun_routes: TunRoutes) -> Result<(), StartError> {
    match *entry {
        Entry::Names(ref place) => {
            place.sweep();
            Ok(())
        }
        Entry::Blocks(_) | Entry::Policy(_) | Entry::Device(_) => Ok(()),
        Entry::Table(table) => netlink
            .remove_all_routes(table, tun_routes)
            .map_err(|source| failed(format!("remove our routes from table {}", table.table), source)),
        Entry::Rule(rule) => netlink
            .remove_rule(rule)
            .map_err(|source| failed(format!("remove our routing rule {}", rule.priority), source)),
    }
}

fn rule(settings: &Settings, family: Family) -> RuleEntry {
    let action = RuleAction::LookUp { mark: settings.mark, table: settings.routing_table };
    RuleEntry { family, priority: settings.rule_priority, action, protocol: ROUTE_PROTOCOL }
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

fn failed(action: String, source: io::Error) -> StartError {
    StartError::Host { action, source }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
