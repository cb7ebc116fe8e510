//! Tunnel devices with names of their own: made, given their addresses, taken over after a crash, and taken away.
//!
//! A device that is there already and that nobody reads is used as it is, and left when we go: somebody made it with
//! `ip tuntap add`. One that an earlier run of ours left is ours again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sa::DeviceId;

use super::journal::{DeviceEntry, Entry};
use super::netlink::Netlink;
use crate::tun::{self, TunQueue};
use crate::{DeviceError, LeftDevice, Persistence, TunnelDevice};

/// The tunnel devices of a running plane, and those that an earlier one left.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// The device that all other policies share.
    common: String,
    running: BTreeMap<DeviceId, Running>,
    /// Persistent ones of an earlier run that nobody has asked for yet.
    left: Vec<DeviceEntry>,
}

#[derive(Debug)]
struct Running {
    spec: TunnelDevice,
    owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    We,
    /// Whoever made it before us.
    SomebodyElse,
}

impl Devices {
    /// Takes what an earlier run left out of a journal's entries, and gives the other entries.
    pub(super) fn split_off(entries: Vec<Entry>) -> (Devices, Vec<Entry>) {
        let mut devices = Devices::default();
        let mut others = Vec::new();
        for entry in entries {
            match entry {
                Entry::Device(device) => devices.left.push(device),
                other => others.push(other),
            }
        }
        (devices, others)
    }

    /// Keeps off the device that all other policies share.
    pub(super) fn beside(self, common: &str) -> Devices {
        Devices { common: common.to_owned(), ..self }
    }

    /// Tells what an earlier run left and nobody has asked for yet.
    pub(super) fn left(&self) -> Vec<LeftDevice> {
        let left = self.left.iter().cloned();
        left.map(|DeviceEntry { name, namespace }| LeftDevice { name, namespace }).collect()
    }

    /// Tells whether a device runs under this id, and in the same place: then it only needs to be set up anew.
    pub(super) fn runs(&self, wanted: &TunnelDevice) -> Result<bool, DeviceError> {
        match self.running.get(&wanted.id) {
            None => Ok(false),
            Some(running) if is_same_device(&running.spec, wanted) => Ok(true),
            Some(running) => Err(DeviceError::IdTaken { name: running.spec.name.clone() }),
        }
    }

    /// Makes a device, or takes one over, with `count` queues.
    pub(super) fn make(
        &mut self,
        netlink: &mut Netlink,
        spec: &TunnelDevice,
        count: usize,
    ) -> Result<Vec<TunQueue>, DeviceError> {
        if spec.namespace.is_none() && spec.name == self.common {
            return Err(DeviceError::Common { name: spec.name.clone() });
        }
        let entry = DeviceEntry::of(spec);
        let was_left = self.left.contains(&entry);
        let (queues, owner) = inside(spec.namespace.as_deref(), netlink, |netlink| {
            let was_there = netlink.link_index(&spec.name).is_ok();
            let queues = tun::attach(&spec.name, count)?;
            let owner = if was_there && !was_left { Owner::SomebodyElse } else { Owner::We };
            if owner == Owner::We {
                tun::set_persistence(&queues, spec.persistence).map_err(refused("make it persistent"))?;
            }
            Ok((queues, owner))
        })?;
        self.left.retain(|left| *left != entry);
        self.running.insert(spec.id, Running { spec: spec.clone(), owner });
        Ok(queues)
    }

    /// Gives a device its MTU, its addresses and its master, and switches it on; addresses that it had from us go.
    pub(super) fn set_up(&mut self, netlink: &mut Netlink, spec: &TunnelDevice) -> Result<(), DeviceError> {
        let before =
            self.running.get_mut(&spec.id).map(|running| std::mem::replace(&mut running.spec, spec.clone()));
        let (had, belonged) =
            before.map_or_else(Default::default, |before| (before.addresses, before.master));
        inside(spec.namespace.as_deref(), netlink, |netlink| {
            let index = netlink.link_index(&spec.name).map_err(refused("find it"))?;
            if let Some(master) = &spec.master {
                let known = netlink.link_index(master);
                let known = known.map_err(|source| DeviceError::Master { master: master.clone(), source })?;
                netlink.set_master(index, known).map_err(refused(&format!("put it into {master}")))?;
            } else if let Some(master) = belonged {
                netlink.set_master(index, NO_MASTER).map_err(refused(&format!("take it out of {master}")))?;
            }
            netlink.switch_on(index, spec.mtu.into()).map_err(refused("switch it on"))?;
            for (address, length) in &spec.addresses {
                let action = format!("give it the address {address}/{length}");
                netlink.add_address(index, *address, *length).map_err(refused(&action))?;
            }
            for (address, length) in had.iter().filter(|address| !spec.addresses.contains(address)) {
                let action = format!("take the address {address}/{length} from it");
                netlink.remove_address(index, *address, *length).map_err(refused(&action))?;
            }
            Ok(())
        })
    }

    /// Takes a device away, or lets it go if it is somebody else's; gives its name.
    pub(super) fn remove(
        &mut self,
        netlink: &mut Netlink,
        id: DeviceId,
    ) -> Option<(TunnelDevice, Result<(), DeviceError>)> {
        let Running { spec, owner } = self.running.remove(&id)?;
        let removed = match owner {
            Owner::We => delete(netlink, &DeviceEntry::of(&spec)),
            Owner::SomebodyElse => Ok(()),
        };
        Some((spec, removed))
    }

    /// Takes away what an earlier run left and nobody has asked for; what cannot be taken away stays left.
    pub(super) fn remove_left(&mut self, netlink: &mut Netlink) -> Result<(), DeviceError> {
        while let Some(left) = self.left.last() {
            delete(netlink, left)?;
            self.left.pop();
        }
        Ok(())
    }

    /// Gives the journal's entries: those devices that outlast us.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let ours = self.running.values().filter(|running| running.owner == Owner::We);
        let persistent = ours.filter(|running| running.spec.persistence == Persistence::UntilRemoved);
        persistent
            .map(|running| DeviceEntry::of(&running.spec))
            .chain(self.left.iter().cloned())
            .map(Entry::Device)
    }
}

impl DeviceEntry {
    fn of(spec: &TunnelDevice) -> DeviceEntry {
        DeviceEntry { name: spec.name.clone(), namespace: spec.namespace.clone() }
    }
}

/// Takes a device away; one that is gone already, perhaps with its namespace, is no error.
fn delete(netlink: &mut Netlink, device: &DeviceEntry) -> Result<(), DeviceError> {
    let deleted =
        inside(device.namespace.as_deref(), netlink, |netlink| match netlink.link_index(&device.name) {
            Ok(index) => netlink.delete_link(index).map_err(refused(&format!("remove {}", device.name))),
            Err(_) => Ok(()),
        });
    match deleted {
        Err(DeviceError::Namespace { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_same_device(one: &TunnelDevice, other: &TunnelDevice) -> bool {
    (&one.name, &one.namespace, one.persistence) == (&other.name, &other.namespace, other.persistence)
}

/// Does something here, or in another network namespace; what is opened there stays there.
fn inside<T: Send>(
    namespace: Option<&str>,
    netlink: &mut Netlink,
    task: impl FnOnce(&mut Netlink) -> Result<T, DeviceError> + Send,
) -> Result<T, DeviceError> {
    let Some(name) = namespace else { return task(netlink) };
    let failed = |source: io::Error| DeviceError::Namespace { namespace: name.to_owned(), source };
    thread::scope(|scope| {
        let visit = scope.spawn(|| {
            let file = File::open(Path::new(NAMESPACES).join(name)).map_err(failed)?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| failed(error.into()))?;
            task(&mut Netlink::open().map_err(failed)?)
        });
        visit.join().unwrap_or_else(|_| Err(failed(io::Error::other("the visit panicked"))))
    })
}

fn refused(action: &str) -> impl Fn(io::Error) -> DeviceError {
    let action = action.to_owned();
    move |source| DeviceError::Refused { action: action.clone(), source }
}

/// What the kernel takes for the index of none.
const NO_MASTER: u32 = 0;

/// Where `ip netns` keeps the names of namespaces.
const NAMESPACES: &str = "/run/netns";
