//! The devices of tunnels that have their own: what the data plane is to make of the loaded configuration.

use std::collections::{BTreeMap, BTreeSet};

use config::Interface;
use dataplane::{Dataplane, DeviceError, Persistence, TunnelDevice};
use sa::{DeviceId, SaId, SaOp};

/// The devices that the data plane was asked for. One stays as long as the configuration names it or an SA uses it: an SA
/// outlasts the connection that it was made for.
#[derive(Debug)]
pub(crate) struct Interfaces {
    asked_for: BTreeMap<DeviceId, Asked>,
    /// The SAs that have a device of their own.
    users: BTreeMap<SaId, DeviceId>,
    /// Those devices that the configuration does not name any more.
    unwanted: BTreeSet<DeviceId>,
    /// The MTU of devices that have none of their own.
    usual_mtu: u16,
}

#[derive(Debug)]
struct Asked {
    device: TunnelDevice,
    fault: Option<String>,
}

/// The device of an SA, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceStatus {
    /// Its name.
    pub(crate) name: String,
    /// The network namespace that it is in, if it is not ours.
    pub(crate) namespace: Option<String>,
    /// Why it is not as configured, in a sentence.
    pub(crate) fault: Option<String>,
}

/// Where devices are made; in the daemon, the data plane.
pub(crate) trait Workshop {
    /// Makes a device, or sets one up anew that is there.
    fn add_device(&self, device: &TunnelDevice) -> Result<(), DeviceError>;

    /// Takes a device away.
    fn remove_device(&self, device: DeviceId);
}

impl Workshop for Dataplane {
    fn add_device(&self, device: &TunnelDevice) -> Result<(), DeviceError> {
        Dataplane::add_device(self, device)
    }

    fn remove_device(&self, device: DeviceId) {
        Dataplane::remove_device(self, device);
    }
}

impl Interfaces {
    /// Starts without devices.
    pub(crate) fn new(usual_mtu: u16) -> Interfaces {
        Interfaces {
            asked_for: BTreeMap::new(),
            users: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            usual_mtu,
        }
    }

    /// Makes the devices that are wanted and not there, and sets up anew those that are wanted otherwise; one that failed
    /// before is tried again.
    pub(crate) fn make<'a>(
        &mut self,
        workshop: &impl Workshop,
        wanted: impl IntoIterator<Item = &'a Interface>,
    ) {
        for (id, device) in devices(wanted, self.usual_mtu) {
            let before = self.asked_for.get(&id);
            if before.is_some_and(|before| before.device == device && before.fault.is_none()) {
                continue;
            }
            let fault = workshop.add_device(&device).err().map(|error| error.to_string());
            if let Some(fault) = &fault
                && before.and_then(|before| before.fault.as_ref()) != Some(fault)
            {
                tracing::error!(device = device.name, "the tunnel's device is not as configured: {fault}");
            }
            self.asked_for.insert(id, Asked { device, fault });
        }
    }

    /// Does that, and takes the devices away that are wanted no more, if no SA uses them.
    pub(crate) fn settle<'a>(
        &mut self,
        workshop: &impl Workshop,
        wanted: impl IntoIterator<Item = &'a Interface> + Clone,
    ) {
        self.make(workshop, wanted.clone());
        let wanted: BTreeSet<DeviceId> = wanted.into_iter().map(device_id).collect();
        self.unwanted = self.asked_for.keys().filter(|id| !wanted.contains(id)).copied().collect();
        self.remove_unused(workshop);
    }

    /// Takes the devices away that are wanted no more and that no SA uses any longer.
    pub(crate) fn remove_unused(&mut self, workshop: &impl Workshop) {
        if self.unwanted.is_empty() {
            return;
        }
        let used: BTreeSet<DeviceId> = self.users.values().copied().collect();
        self.unwanted.retain(|id| {
            let stays = used.contains(id);
            if !stays {
                workshop.remove_device(*id);
                self.asked_for.remove(id);
            }
            stays
        });
    }

    /// Takes note of the SAs that use devices.
    pub(crate) fn note(&mut self, op: &SaOp) {
        match op {
            SaOp::InstallSa(sa) => {
                if let Some(device) = sa.handling.device {
                    self.users.insert(sa.id(), device);
                }
            }
            SaOp::RemoveSa(sa) => drop(self.users.remove(sa)),
            SaOp::InstallPolicy(_)
            | SaOp::RemovePolicy(_)
            | SaOp::UseOutbound { .. }
            | SaOp::MoveSa { .. }
            | SaOp::SkipSequence { .. }
            | SaOp::SetPathMtu { .. } => {}
        }
    }

    /// Tells which device an SA has of its own.
    pub(crate) fn of(&self, sa: SaId) -> Option<DeviceStatus> {
        let Asked { device, fault } = self.asked_for.get(self.users.get(&sa)?)?;
        let TunnelDevice { name, namespace, .. } = device.clone();
        Some(DeviceStatus { name, namespace, fault: fault.clone() })
    }
}

/// Gives the number of a device, which follows from where it is: whoever loads a connection needs it before the device is
/// made. That two devices of a host share one is next to impossible, and the data plane refuses the second.
pub(crate) fn device_id(interface: &Interface) -> DeviceId {
    let place = [interface.namespace.as_deref().unwrap_or_default(), &interface.name].join("/");
    // FNV-1a, 32 bits wide.
    let mix = |hash: u32, octet: u8| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193);
    DeviceId(place.bytes().fold(0x811c_9dc5, mix))
}

/// Gives the devices that these come to. Several may share one: it then has the addresses of all of them, the smallest MTU,
/// and the VRF that one of them names.
fn devices<'a>(
    interfaces: impl IntoIterator<Item = &'a Interface>,
    usual_mtu: u16,
) -> BTreeMap<DeviceId, TunnelDevice> {
    let mut devices: BTreeMap<DeviceId, TunnelDevice> = BTreeMap::new();
    for interface in interfaces {
        let (id, mtu) = (device_id(interface), interface.mtu.unwrap_or(usual_mtu));
        let device = devices.entry(id).or_insert_with(|| TunnelDevice {
            id,
            name: interface.name.clone(),
            mtu,
            addresses: Vec::new(),
            namespace: interface.namespace.clone(),
            master: None,
            persistence: Persistence::UntilRemoved,
        });
        device.mtu = device.mtu.min(mtu);
        device.master = device.master.take().or_else(|| interface.vrf.clone());
        for address in &interface.addresses {
            if !device.addresses.contains(address) {
                device.addresses.push(*address);
            }
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::{Cell, RefCell};
    use std::time::Instant;

    use crate::daemon::manual_keying::ManualSas;

    /// Notes what it is asked for.
    #[derive(Default)]
    struct Notebook {
        notes: RefCell<Vec<String>>,
        is_broken: Cell<bool>,
    }

    impl Notebook {
        fn take(&self) -> Vec<String> {
            self.notes.take()
        }
    }

    impl Workshop for Notebook {
        fn add_device(&self, device: &TunnelDevice) -> Result<(), DeviceError> {
            let addresses: Vec<String> =
                device.addresses.iter().map(|(address, length)| format!("{address}/{length}")).collect();
            let place = [&device.namespace, &device.master].map(|place| place.as_deref().unwrap_or("-"));
            let what = [&*place.join(" "), &addresses.join(" ")].join(" ");
            self.notes.borrow_mut().push(format!("{} {} {}", device.name, device.mtu, what.trim_end()));
            if self.is_broken.get() { Err(DeviceError::IdTaken { name: "vpn9".to_owned() }) } else { Ok(()) }
        }

        fn remove_device(&self, device: DeviceId) {
            self.notes.borrow_mut().push(format!("no {:08x}", device.0));
        }
    }

    fn interface(name: &str, addresses: &[[u8; 4]]) -> Interface {
        let addresses = addresses.iter().map(|address| ((*address).into(), 30)).collect();
        Interface { name: name.to_owned(), mtu: None, addresses, namespace: None, vrf: None }
    }

    /// The orders that install SAs on vpn0, and one of the SAs.
    fn installation() -> (Vec<SaOp>, SaId) {
        let key = |octet: &str| format!("0x{}", octet.repeat(32));
        let text = format!(
            "manual {{ lab {{ local_addr = 192.0.2.1\n remote_addr = 192.0.2.2\n interface = vpn0\n \
             ah {{ proposal = sha256\n spi_in = 0x1001\n spi_out = 0x1002\n integrity_key_in = {}\n \
             integrity_key_out = {} }} }} }}",
            key("0a"),
            key("0b")
        );
        let mut loaded = config::load_text("test", &text, config::Syntax::Swanctl);
        let section = loaded.config.manual.pop().expect("one section");
        let ops = ManualSas::default().install(section.into(), Instant::now());
        let sa = ops.iter().find_map(|op| match op {
            SaOp::InstallSa(sa) => Some(sa.id()),
            _ => None,
        });
        (ops, sa.expect("it has SAs"))
    }

    #[test]
    fn tunnels_share_a_device_and_namespaces_tell_devices_apart() {
        let one = interface("vpn0", &[[10, 255, 0, 1]]);
        let other = Interface {
            mtu: Some(1300),
            vrf: Some("blue".to_owned()),
            ..interface("vpn0", &[[10, 255, 0, 1], [10, 255, 0, 5]])
        };
        let elsewhere = Interface { namespace: Some("red".to_owned()), ..interface("vpn0", &[]) };
        let notebook = Notebook::default();
        Interfaces::new(1390).make(&notebook, [&one, &other, &elsewhere]);
        let mut notes = notebook.take();
        notes.sort_unstable();
        assert_eq!(notes, ["vpn0 1300 - blue 10.255.0.1/30 10.255.0.5/30", "vpn0 1390 red -"]);
    }

    #[test]
    fn only_what_differs_is_made_anew_and_what_nobody_wants_goes() {
        let (notebook, mut interfaces) = (Notebook::default(), Interfaces::new(1390));
        let before = interface("vpn0", &[[10, 255, 0, 1]]);
        interfaces.settle(&notebook, [&before]);
        interfaces.settle(&notebook, [&before]);
        assert_eq!(notebook.take(), ["vpn0 1390 - - 10.255.0.1/30"]);
        let after = interface("vpn0", &[[10, 255, 0, 5]]);
        interfaces.make(&notebook, [&before, &after]);
        assert_eq!(notebook.take(), ["vpn0 1390 - - 10.255.0.1/30 10.255.0.5/30"]);
        interfaces.settle(&notebook, [&after]);
        assert_eq!(notebook.take(), ["vpn0 1390 - - 10.255.0.5/30"]);
        interfaces.settle(&notebook, []);
        assert_eq!(notebook.take(), [format!("no {:08x}", device_id(&after).0)]);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let (notebook, mut interfaces) = (Notebook::default(), Interfaces::new(1390));
        let vpn0 = interface("vpn0", &[]);
        let (ops, sa) = installation();
        ops.iter().for_each(|op| interfaces.note(op));
        notebook.is_broken.set(true);
        interfaces.settle(&notebook, [&vpn0]);
        let status = interfaces.of(sa).expect("it was asked for");
        assert_eq!((status.name, status.fault.is_some()), ("vpn0".to_owned(), true));
        notebook.is_broken.set(false);
        interfaces.settle(&notebook, [&vpn0]);
        assert_eq!(interfaces.of(sa).expect("it is there").fault, None);
        interfaces.settle(&notebook, [&vpn0]);
        assert_eq!(notebook.take(), ["vpn0 1390 - -", "vpn0 1390 - -"]);
    }

    #[test]
    fn a_device_stays_while_an_sa_uses_it() {
        let (notebook, mut interfaces) = (Notebook::default(), Interfaces::new(1390));
        let vpn0 = interface("vpn0", &[]);
        interfaces.settle(&notebook, [&vpn0]);
        let (ops, sa) = installation();
        ops.iter().for_each(|op| interfaces.note(op));
        interfaces.settle(&notebook, []);
        assert_eq!(notebook.take(), ["vpn0 1390 - -"]);
        for op in &ops {
            if let SaOp::InstallSa(sa) = op {
                interfaces.note(&SaOp::RemoveSa(sa.id()));
            }
        }
        interfaces.remove_unused(&notebook);
        assert_eq!(notebook.take(), [format!("no {:08x}", device_id(&vpn0).0)]);
        assert_eq!(interfaces.of(sa), None);
    }
}
