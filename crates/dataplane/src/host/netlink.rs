//! Requests to the kernel's routing netlink (rtnetlink(7)): links, addresses, routes and rules, one at a time.
//!
//! The calls wait for the kernel's answer, which takes microseconds; no runtime is needed for that. Every request asks
//! for an acknowledgement or is a dump, so that there is a last message whatever the others are.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use sa::Family;

use super::journal::{RuleEntry, TableEntry};
use super::route_plan::{Lead, Prefix};

/// A connection to the kernel's routing netlink in this thread's network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens the connection.
    pub(crate) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Finds a device by name and gives its index.
    pub(crate) fn link_index(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(&self.socket, name)?)
    }

    /// Sets a device's MTU and switches it on; IPv6 gives itself no address on it.
    pub(crate) fn bring_up(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut addressless = LinkMessage::default();
        addressless.header.index = index;
        let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let spec = vec![AfSpecUnspec::Inet6(vec![no_address])];
        addressless.attributes.push(LinkAttribute::AfSpecUnspec(spec));
        if let Err(error) = self.exchange(RouteNetlinkMessage::SetLink(addressless), NLM_F_ACK) {
            tracing::debug!(%error, "the kernel has no IPv6 to silence on the TUN device");
        }
        let mut up = LinkMessage::default();
        up.header.index = index;
        up.header.flags = LinkFlags::Up;
        up.header.change_mask = LinkFlags::Up;
        up.attributes.push(LinkAttribute::Mtu(mtu));
        self.exchange(RouteNetlinkMessage::SetLink(up), NLM_F_ACK).map(drop)
    }

    /// Lists the addresses of this host, of all devices.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.exchange(request, NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(own_address).collect())
    }

    /// Adds a route to our table, or replaces the one to the same prefix.
    pub(crate) fn set_route(
        &mut self,
        table: TableEntry,
        prefix: Prefix,
        lead: Lead,
        device: u32,
    ) -> io::Result<()> {
        let mut route = route_message(table, prefix);
        match lead {
            Lead::Tun { preferred_source } => {
                route.header.kind = RouteType::Unicast;
                route.header.scope = RouteScope::Link;
                route.attributes.push(RouteAttribute::Oif(device));
                if let Some(source) = preferred_source {
                    route.attributes.push(RouteAttribute::PrefSource(source.into()));
                }
            }
            Lead::Throw => route.header.kind = RouteType::Throw,
        }
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.exchange(RouteNetlinkMessage::NewRoute(route), flags).map(drop)
    }

    /// Removes our route to a prefix; one that is gone already is no error.
    pub(crate) fn remove_route(&mut self, table: TableEntry, prefix: Prefix) -> io::Result<()> {
        let mut route = route_message(table, prefix);
        route.header.scope = RouteScope::NoWhere;
        self.remove(RouteNetlinkMessage::DelRoute(route))
    }

    /// Removes every route of ours from our table: those through our device, and throws.
    pub(crate) fn remove_all_routes(&mut self, table: TableEntry, tun_routes: TunRoutes) -> io::Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let answers = match self.exchange(RouteNetlinkMessage::GetRoute(request), NLM_F_DUMP) {
                Err(error) if is_absent(&error) => continue,
                answers => answers?,
            };
            for answer in answers {
                if let RouteNetlinkMessage::NewRoute(route) = answer
                    && is_in_table(&route, table)
                    && tun_routes.claim(&route)
                {
                    self.remove(RouteNetlinkMessage::DelRoute(route))?;
                }
            }
        }
        Ok(())
    }

    /// Adds the rule "packets without our mark consult our table".
    pub(crate) fn add_rule(&mut self, rule: RuleEntry) -> io::Result<()> {
        let request = RouteNetlinkMessage::NewRule(rule_message(rule));
        self.exchange(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Removes this rule; one that is gone already is no error.
    pub(crate) fn remove_rule(&mut self, rule: RuleEntry) -> io::Result<()> {
        self.remove(RouteNetlinkMessage::DelRule(rule_message(rule)))
    }

    fn remove(&mut self, request: RouteNetlinkMessage) -> io::Result<()> {
        match self.exchange(request, NLM_F_ACK) {
            Err(error) if is_absent(&error) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Sends a request and collects what the kernel answers to it.
    fn exchange(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if self.collect(&datagram, &mut answers)? == Progress::Finished {
                return Ok(answers);
            }
        }
    }

    /// Reads the messages of one datagram; tells whether the answer is complete.
    fn collect(&self, mut datagram: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<Progress> {
        while let Some(length) = datagram.first_chunk::<4>() {
            let length = u32::from_ne_bytes(*length) as usize;
            let Some(octets) = datagram.get(..length).filter(|octets| octets.len() >= NETLINK_HEADER) else {
                return Err(ErrorKind::InvalidData.into());
            };
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            // A link or route of a kind that the parser does not know is not ours.
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(octets) else { continue };
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(Progress::Finished),
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                _ => {}
            }
        }
        Ok(Progress::MoreFollows)
    }
}

/// Which routes to a TUN device are ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TunRoutes {
    /// Those through the device of this index.
    Of(u32),
    /// None: the kernel removed them together with a device that a crash took along.
    GoneWithTheirDevice,
}

impl TunRoutes {
    fn claim(self, route: &RouteMessage) -> bool {
        let through = |device| route.attributes.contains(&RouteAttribute::Oif(device));
        route.header.kind == RouteType::Throw
            || match self {
                TunRoutes::Of(device) => through(device),
                TunRoutes::GoneWithTheirDevice => false,
            }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    MoreFollows,
    Finished,
}

/// Tells whether an error says that the thing to remove is not there (or its whole address family is not).
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
    )
}

fn own_address(answer: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(address) = answer else { return None };
    let find = |local: bool| {
        address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    // rtnetlink(7): on a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL ours.
    find(true).or_else(|| find(false))
}

fn route_message(table: TableEntry, prefix: Prefix) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: family_number(Family::of(prefix.address)),
        destination_prefix_length: prefix.length,
        protocol: RouteProtocol::Other(table.protocol),
        ..RouteHeader::default()
    };
    route.attributes.push(RouteAttribute::Table(table.table));
    route.attributes.push(RouteAttribute::Destination(prefix.address.into()));
    route
}

fn is_in_table(route: &RouteMessage, table: TableEntry) -> bool {
    route.header.protocol == RouteProtocol::Other(table.protocol)
        && route.attributes.contains(&RouteAttribute::Table(table.table))
}

fn rule_message(rule: RuleEntry) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family_number(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.flags = RuleFlags::Invert;
    message.attributes.extend([
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::FwMark(rule.mark),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::Other(rule.protocol)),
    ]);
    message
}

fn family_number(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

const NETLINK_HEADER: usize = 16;
