//! A packet's flow as selectors see it: our end and the peer's, instead of source and destination.

use std::net::IpAddr;

use sa::{Direction, IpProtocol, PortRange, SelectorPair};
use wire::ip::{Flow, Ports, protocol};

/// What selectors look at in a packet (RFC 4301 §4.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) protocol: IpProtocol,
    /// `None` where it cannot be seen.
    pub(crate) local_port: Option<u16>,
    pub(crate) remote_port: Option<u16>,
}

impl Ends {
    /// Takes a packet that leaves.
    pub(crate) fn outbound(flow: &Flow) -> Ends {
        let (local_port, remote_port) = ports(flow);
        Ends {
            local: flow.source,
            remote: flow.destination,
            protocol: IpProtocol(flow.protocol),
            local_port,
            remote_port,
        }
    }

    /// Takes a packet that arrives.
    pub(crate) fn inbound(flow: &Flow) -> Ends {
        Ends::outbound(&flow.reversed())
    }

    /// The same, with ports that cannot be seen.
    pub(crate) fn without_ports(self) -> Ends {
        Ends { local_port: None, remote_port: None, ..self }
    }

    pub(crate) fn are_selected_by(&self, pair: &SelectorPair) -> bool {
        pair.local.selects(self.local, self.protocol, self.local_port)
            && pair.remote.selects(self.remote, self.protocol, self.remote_port)
    }
}

/// Gives a pair as packets of one direction meet it.
///
/// ICMP's type and code and the type of a mobility header belong to neither end: the sender's selector says which of them
/// it may send, and the receiver's is not asked (RFC 4301 §4.4.1.3, cases B to D).
pub(crate) fn seen_from(direction: Direction, pair: &SelectorPair) -> SelectorPair {
    let mut seen = *pair;
    let protocol = match pair.local.protocol {
        IpProtocol::ANY => pair.remote.protocol,
        protocol => protocol,
    };
    if let protocol::ICMP | protocol::ICMPV6 | protocol::MOBILITY = protocol.0 {
        match direction {
            Direction::Outbound => seen.remote.ports = PortRange::ANY,
            Direction::Inbound => seen.local.ports = PortRange::ANY,
        }
    }
    seen
}

/// The numbers that take the place of ports (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1); what belongs to neither end, both show.
fn ports(flow: &Flow) -> (Option<u16>, Option<u16>) {
    match flow.ports {
        Ports::Known { source, destination } => (Some(source), Some(destination)),
        Ports::Icmp { icmp_type, code } => {
            let both = Some(u16::from_be_bytes([icmp_type, code]));
            (both, both)
        }
        Ports::Mobility { header_type } => {
            let both = Some(u16::from_be_bytes([header_type, 0]));
            (both, both)
        }
        Ports::Absent | Ports::Opaque => (None, None),
    }
}
