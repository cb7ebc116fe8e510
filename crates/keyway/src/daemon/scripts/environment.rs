//! What a script is told: the variables of strongSwan's updown plugin, with the values that charon gives them.
//!
//! ```text
//!   PLUTO_VERB=up-client  PLUTO_CONNECTION=net  PLUTO_INTERFACE=eth0  PLUTO_REQID=1  PLUTO_PROTO=esp  PLUTO_UNIQUEID=2
//!   PLUTO_ME=192.0.2.1      PLUTO_MY_ID=a.example.org    PLUTO_MY_CLIENT=10.1.0.0/16    PLUTO_MY_PROTOCOL=6  PLUTO_MY_PORT=80
//!   PLUTO_PEER=198.51.100.1 PLUTO_PEER_ID=b.example.org  PLUTO_PEER_CLIENT=10.2.0.0/16  PLUTO_PEER_PORT=1000:2000
//!   PLUTO_MY_SOURCEIP=10.3.0.1  PLUTO_MY_SOURCEIP4_1=10.3.0.1  PLUTO_DNS4_1=10.9.0.1  PLUTO_UDP_ENC=4500 …
//! ```

use std::net::IpAddr;

use config::{HostAccess, Script};
use ike::{ChildSaStatus, IkeSaStatus};
use sa::{AddressRange, Encapsulation, Family, Identity, PortRange, Protocol, SelectorPair, TrafficSelector};

/// Whether the Child SA comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// It comes.
    Up,
    /// It goes.
    Down,
}

/// What the host knows of the two ends of a Child SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// The device that has our outer address; `None` where none has it any more.
    pub(crate) outer_device: Option<String>,
    /// The TUN device that the traffic goes through.
    pub(crate) inner_device: String,
}

/// Gives the pairs of selectors of a Child SA, each when it is asked for: there may be very many.
pub(super) fn pairs(child: &ChildSaStatus) -> impl Iterator<Item = SelectorPair> + '_ {
    let with = |local: TrafficSelector| {
        child.remote_selectors.iter().filter_map(move |remote| SelectorPair::joining(local, *remote))
    };
    child.local_selectors.iter().copied().flat_map(with)
}

/// What the runs of one script for one Child SA are told.
pub(super) struct Environment {
    verb: Verb,
    me: IpAddr,
    /// What is the same for each run.
    common: Variables,
}

impl Environment {
    pub(super) fn new(
        verb: Verb,
        ike: &IkeSaStatus,
        child: &ChildSaStatus,
        script: &Script,
        around: &Around,
    ) -> Environment {
        let me = ike.path.local.ip();
        let protocol = if child.inbound.protocol == Protocol::Ah { "ah" } else { "esp" };
        let mut common = Variables(Vec::new());
        // The daemon's own: whoever started it says where programs are.
        if let Ok(path) = std::env::var("PATH") {
            common.set("PATH", path);
        }
        common.set("PLUTO_VERSION", "1.1");
        common.set("PLUTO_CONNECTION", &child.name);
        common.set("PLUTO_INTERFACE", around.outer_device.as_deref().unwrap_or("unknown"));
        common.set("PLUTO_REQID", child.policy);
        common.set("PLUTO_PROTO", protocol);
        common.set("PLUTO_UNIQUEID", ike.id.0);
        common.set("PLUTO_ME", me);
        common.set("PLUTO_MY_ID", identity(ike.local_identity.as_ref()));
        common.set("PLUTO_PEER", ike.path.remote.ip());
        common.set("PLUTO_PEER_ID", identity(ike.remote_identity.as_ref()));
        common.virtual_addresses("MY", &ike.inside.local);
        common.virtual_addresses("PEER", &ike.inside.remote);
        if let Some(user) = &ike.remote_user {
            common.set("PLUTO_XAUTH_ID", user);
        }
        if let Some((mark, mask)) = script.mark_in {
            common.set("PLUTO_MARK_IN", format_args!("{mark}/0x{mask:08x}"));
        }
        if child.encapsulation == Encapsulation::Udp {
            common.set("PLUTO_UDP_ENC", ike.path.remote.port());
        }
        if child.compression.is_some() {
            common.set("PLUTO_IPCOMP", 1);
        }
        common.numbered("PLUTO_DNS", &ike.inside.dns);
        if script.host_access == HostAccess::Yes {
            common.set("PLUTO_HOST_ACCESS", 1);
        }
        common.set("KEYWAY_DEVICE", &around.inner_device);
        Environment { verb, me, common }
    }

    /// Gives the variables of the run for one pair of selectors.
    pub(super) fn of_run(&self, pair: SelectorPair) -> Vec<(String, String)> {
        let mut variables = self.common.clone();
        variables.set("PLUTO_VERB", verb_of(self.verb, pair.local.addresses, self.me));
        variables.end("MY", pair.local);
        variables.end("PEER", pair.remote);
        variables.0
    }
}

/// Says what happens to whom: to this host, whose own address the traffic has, or to clients behind it.
fn verb_of(verb: Verb, local: AddressRange, me: IpAddr) -> String {
    let verb = match verb {
        Verb::Up => "up",
        Verb::Down => "down",
    };
    let whom = if local == AddressRange::host(me) { "host" } else { "client" };
    let family = match local.family() {
        Family::V4 => "",
        Family::V6 => "-v6",
    };
    format!("{verb}-{whom}{family}")
}

fn identity(identity: Option<&Identity>) -> String {
    identity.map_or_else(|| "%any".to_owned(), ToString::to_string)
}

#[derive(Clone)]
struct Variables(Vec<(String, String)>);

impl Variables {
    /// A peer may put anything into its name; what no terminal should be shown is not passed on.
    fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.push((name.into(), value.to_string().replace(char::is_control, "?")));
    }

    /// One end of the traffic.
    fn end(&mut self, whose: &str, selector: TrafficSelector) {
        let (address, length) = surrounding(selector.addresses);
        self.set(format!("PLUTO_{whose}_CLIENT"), format_args!("{address}/{length}"));
        self.set(format!("PLUTO_{whose}_PORT"), ports(selector.ports));
        self.set(format!("PLUTO_{whose}_PROTOCOL"), selector.protocol.0);
    }

    /// The first without a number, for scripts that expect one only, and each with its own.
    fn virtual_addresses(&mut self, whose: &str, addresses: &[IpAddr]) {
        if let Some(first) = addresses.first() {
            self.set(format!("PLUTO_{whose}_SOURCEIP"), first);
        }
        self.numbered(&format!("PLUTO_{whose}_SOURCEIP"), addresses);
    }

    fn numbered(&mut self, name: &str, addresses: &[IpAddr]) {
        for (family, digit) in [(Family::V4, '4'), (Family::V6, '6')] {
            let of_family = addresses.iter().filter(|address| Family::of(**address) == family);
            for (n, address) in of_family.enumerate() {
                self.set(format!("{name}{digit}_{}", n + 1), address);
            }
        }
    }
}

fn ports(ports: PortRange) -> String {
    match (ports.start(), ports.end()) {
        _ if ports == PortRange::ANY => "0".to_owned(),
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start}:{end}"),
    }
}

/// Gives the smallest network that holds a range: packet filters know nothing else.
fn surrounding(range: AddressRange) -> (IpAddr, u8) {
    let (start, end) = (range.start(), range.end());
    let widths = (0..=range.family().bits()).rev();
    let network = |length| AddressRange::prefix(start, length).ok().filter(|network| network.contains(end));
    let found = widths.into_iter().find_map(|length| Some((network(length)?.start(), length)));
    found.unwrap_or((range.family().unspecified(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().expect("the test's own text")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("the test's own text")
    }

    #[test]
    fn a_host_is_told_from_clients_and_ipv6_from_ipv4() {
        let verb = |verb, local, me| verb_of(verb, range(local), address(me));
        assert_eq!(verb(Verb::Up, "10.1.0.0/16", "192.0.2.1"), "up-client");
        assert_eq!(verb(Verb::Down, "192.0.2.1/32", "192.0.2.1"), "down-host");
        assert_eq!(verb(Verb::Up, "fd00:1::/64", "192.0.2.1"), "up-client-v6");
        assert_eq!(verb(Verb::Down, "2001:db8::1/128", "2001:db8::1"), "down-host-v6");
    }

    #[test]
    fn a_range_is_told_as_the_network_around_it() {
        let network = |text: &str| {
            let (address, length) = surrounding(range(text));
            format!("{address}/{length}")
        };
        assert_eq!(network("10.1.0.0/16"), "10.1.0.0/16");
        assert_eq!(network("10.1.0.1-10.1.0.6"), "10.1.0.0/29");
        assert_eq!(network("127.255.255.255-128.0.0.0"), "0.0.0.0/0");
        assert_eq!(network("fd00::1-fd00::1"), "fd00::1/128");
    }

    #[test]
    fn ports_are_written_as_packet_filters_take_them() {
        assert_eq!(ports(PortRange::ANY), "0");
        assert_eq!(ports(PortRange::single(80)), "80");
        assert_eq!(PortRange::new(1000, 2000).map(ports).as_deref(), Some("1000:2000"));
    }

    #[test]
    fn a_name_cannot_carry_what_a_terminal_would_obey() {
        let mut variables = Variables(Vec::new());
        variables.set("PLUTO_PEER_ID", "a\0b\x1b[31m\nPLUTO_VERB=x");
        assert_eq!(variables.0, [("PLUTO_PEER_ID".to_owned(), "a?b?[31m?PLUTO_VERB=x".to_owned())]);
    }
}
