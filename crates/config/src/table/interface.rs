//! Keys that children and manually keyed SAs share: the device of a tunnel that is reached by routes.

use std::net::IpAddr;

use crate::interface::{DEVICE_ADDRESS, DEVICE_MTU, DEVICE_NAME, NAMESPACE};
use crate::schema::{Absent, ListKey, OptionalKey};

pub(crate) static INTERFACE: OptionalKey<String> = OptionalKey::new(
    "interface",
    DEVICE_NAME,
    Absent::Follows("the device that all tunnels share, and routes to it that follow from the selectors"),
    "The TUN device of this tunnel alone, in tunnel mode: whatever is routed there goes through the tunnel, if the selectors \
     allow it, and is dropped otherwise; what comes through the tunnel comes out of it. Keyway makes the device, and no \
     routes to it: they are the administrator's or a routing daemon's, and a packet that is routed elsewhere is neither \
     protected nor blocked. The device stays, with its routes, when the daemon ends, and takes packets that go nowhere; it \
     goes when a reload finds it in the configuration no more, or by `keyway unblock`. Several tunnels may share one: it has \
     the addresses of all, and the smallest MTU. (To strongSwan, this key names a device that is there already, and \
     restricts policies to it.)",
);

pub(crate) static INTERFACE_ADDRS: ListKey<(IpAddr, u8)> = ListKey::new(
    "interface_addrs",
    DEVICE_ADDRESS,
    "",
    "The addresses of the device that `interface` names, as in 10.255.0.1/30. Keyway's own key.",
    "",
);

pub(crate) static INTERFACE_MTU: OptionalKey<u16> = OptionalKey::new(
    "interface_mtu",
    DEVICE_MTU,
    Absent::Follows("the daemon's --mtu"),
    "The largest packet that the device takes. Keyway's own key.",
);

pub(crate) static INTERFACE_NAMESPACE: OptionalKey<String> = OptionalKey::new(
    "interface_netns",
    NAMESPACE,
    Absent::Follows("that of the daemon"),
    "The network namespace that the device is in, as `ip netns` names it: the tunnel's traffic is there in the clear, and \
     nowhere else. Keyway's own key.",
);

pub(crate) static INTERFACE_VRF: OptionalKey<String> = OptionalKey::new(
    "interface_vrf",
    DEVICE_NAME,
    Absent::Nothing,
    "The VRF that the device belongs to, in the device's namespace; it must be there already. Keyway's own key.",
);
