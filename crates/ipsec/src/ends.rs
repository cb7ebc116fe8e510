//! A packet's flow as selectors see it: our end and the peer's, instead of source and destination.

use std::net::IpAddr;

use sa::{IpProtocol, SelectorPair};
use wire::ip::{Flow, Ports};

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

    pub(crate) fn are_selected_by(&self, pair: &SelectorPair) -> bool {
        pair.local.selects(self.local, self.protocol, self.local_port)
            && pair.remote.selects(self.remote, self.protocol, self.remote_port)
    }
}

/// The numbers that take the place of ports (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1): ICMP's type and code and the type of
/// a mobility header belong to neither end, so both ends show them.
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
