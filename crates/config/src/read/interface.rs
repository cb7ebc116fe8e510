//! From the keys of a tunnel's device to the device.

use sa::Mode;

use crate::Treatment;
use crate::interface::{Interface, SMALLEST_MTU_OF_V6};
use crate::reader::Reader;
use crate::table::interface::*;

/// Reads the device that a child or a section of `manual` names, if it names one.
pub(super) fn interface(reader: &Reader<'_>) -> Option<Interface> {
    let Some(name) = reader.maybe(&INTERFACE) else {
        check_nothing_of_it(reader);
        return None;
    };
    Some(Interface {
        name,
        mtu: reader.maybe(&INTERFACE_MTU),
        addresses: reader.many(&INTERFACE_ADDRS),
        namespace: reader.maybe(&INTERFACE_NAMESPACE),
        vrf: reader.maybe(&INTERFACE_VRF),
    })
}

/// Complains about a device for traffic that is not that of a tunnel, and about addresses that it cannot have.
pub(super) fn check(reader: &Reader<'_>, interface: &Option<Interface>, treatment: Treatment) {
    let Some(interface) = interface else { return };
    if treatment != Treatment::Protect(Mode::Tunnel) {
        let message = format!(
            "a device of its own is for `mode = tunnel`, and this has `mode = {}`",
            treatment.keyword().to_lowercase()
        );
        reader.error(&INTERFACE.row, message, "leave one of them out");
    }
    let Some(mtu) = interface.mtu.filter(|mtu| *mtu < SMALLEST_MTU_OF_V6) else { return };
    if let Some((address, _)) = interface.addresses.iter().find(|(address, _)| address.is_ipv6()) {
        let message = format!("an MTU of {mtu} is too small for IPv6, and the device is to have {address}");
        reader.error(&INTERFACE_MTU.row, message, format!("write at least {SMALLEST_MTU_OF_V6}"));
    }
}

fn check_nothing_of_it(reader: &Reader<'_>) {
    if reader.has(&INTERFACE.row) {
        return;
    }
    for row in [&INTERFACE_MTU.row, &INTERFACE_ADDRS.row, &INTERFACE_NAMESPACE.row, &INTERFACE_VRF.row] {
        if reader.has(row) {
            let message = format!("`{}` is about a device that nothing names", row.name);
            reader.error(row, message, "add `interface`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loaded, Syntax, load_text};

    /// A child and a section of `manual` with these lines in them.
    fn both(lines: &str) -> Loaded {
        let key = "0x".to_owned() + &"0a".repeat(32);
        let other = "0x".to_owned() + &"0b".repeat(32);
        let text = format!(
            "connections {{ c {{ remote_addrs = 192.0.2.1\n local {{ auth = psk }}\n remote {{ auth = psk }}\n \
             children {{ net {{ {lines} }} }} }} }}\n \
             secrets {{ ike {{ secret = correct-horse-battery-staple }} }}\n \
             manual {{ lab {{ local_addr = 192.0.2.1\n remote_addr = 192.0.2.2\n {lines}\n \
             ah {{ proposal = sha256\n spi_in = 0x1001\n spi_out = 0x1002\n integrity_key_in = {key}\n \
             integrity_key_out = {other} }} }} }}"
        );
        load_text("test", &text, Syntax::Swanctl)
    }

    /// The one complaint that both are met with.
    fn complaint(lines: &str) -> String {
        let loaded = both(lines);
        let faults = loaded.faults.iter().filter(|fault| fault.severity == crate::Severity::Error);
        let mut sentences: Vec<String> = faults
            .map(|fault| fault.sentence().replace(&fault.key, fault.key.rsplit('.').next().unwrap_or("")))
            .collect();
        sentences.dedup();
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        sentences.remove(0)
    }

    #[test]
    fn children_and_manual_keys_may_have_a_device() {
        let loaded = both(
            "interface = vpn0\n interface_addrs = 10.255.0.1/30, fd00::1/64\n interface_mtu = 1300\n \
             interface_netns = red\n interface_vrf = blue",
        );
        let wanted = Interface {
            name: "vpn0".to_owned(),
            mtu: Some(1300),
            addresses: vec![
                ([10, 255, 0, 1].into(), 30),
                ("fd00::1".parse().expect("the test's own text"), 64),
            ],
            namespace: Some("red".to_owned()),
            vrf: Some("blue".to_owned()),
        };
        assert_eq!(loaded.config.connections[0].children[0].interface.as_ref(), Some(&wanted));
        assert_eq!(loaded.config.manual[0].interface.as_ref(), Some(&wanted));
        assert_eq!(both("").config.manual[0].interface, None);
    }

    #[test]
    fn devices_that_cannot_be_are_refused() {
        assert_eq!(
            complaint("interface_addrs = 10.255.0.1/30"),
            "interface_addrs: `interface_addrs` is about a device that nothing names; add `interface`"
        );
        assert_eq!(
            complaint("interface = vpn0\n mode = transport"),
            "interface: a device of its own is for `mode = tunnel`, and this has `mode = transport`; leave one of them out"
        );
        assert_eq!(
            complaint("interface = vpn0\n interface_mtu = 1200\n interface_addrs = fd00::1/64"),
            "interface_mtu: an MTU of 1200 is too small for IPv6, and the device is to have fd00::1; write at least 1280"
        );
        assert_eq!(
            complaint("interface = a-name-of-sixteen"),
            "interface: `a-name-of-sixteen` is no name of a device; write 1 to 15 letters and digits, as in vpn0"
        );
        assert_eq!(
            complaint("interface = vpn0\n interface_netns = ../red"),
            "interface_netns: `../red` is no name of a network namespace; write one that `ip netns` lists"
        );
        assert_eq!(
            complaint("interface = vpn0\n interface_addrs = 10.255.0.1/33"),
            "interface_addrs: `10.255.0.1/33` is not an address with the length of its prefix; write it as 10.255.0.1/30"
        );
        assert_eq!(
            complaint("interface = vpn0\n interface_mtu = 500"),
            "interface_mtu: `500` is not a number of octets from 576 to 65535"
        );
    }
}
