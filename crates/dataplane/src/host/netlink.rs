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

use super::journal::{RuleAction as Action, RuleEntry, TableEntry};
use super::route_plan::{Lead, Prefix};

/// A connection to the kernel's routing netlink in this thread's network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// Gives the name of the device in this thread's network namespace that has an address; `None` if none has it.
///
/// # Errors
/// The kernel does not answer.
pub(crate) fn device_with(address: IpAddr) -> io::Result<Option<String>> {
    Netlink::open()?.device_with(address)
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
        let mut addressless = link_message(index);
        let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let spec = vec![AfSpecUnspec::Inet6(vec![no_address])];
        addressless.attributes.push(LinkAttribute::AfSpecUnspec(spec));
        if let Err(error) = self.exchange(RouteNetlinkMessage::SetLink(addressless), NLM_F_ACK) {
            tracing::debug!(%error, "the kernel has no IPv6 to silence on the TUN device");
        }
        self.switch_on(index, mtu)
    }

    /// Sets a device's MTU and switches it on.
    pub(crate) fn switch_on(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut up = link_message(index);
        up.header.flags = LinkFlags::Up;
        up.header.change_mask = LinkFlags::Up;
        up.attributes.push(LinkAttribute::Mtu(mtu));
        self.exchange(RouteNetlinkMessage::SetLink(up), NLM_F_ACK).map(drop)
    }

    /// Lets a device belong to another.
    pub(crate) fn set_master(&mut self, index: u32, master: u32) -> io::Result<()> {
        let mut member = link_message(index);
        member.attributes.push(LinkAttribute::Controller(master));
        self.exchange(RouteNetlinkMessage::SetLink(member), NLM_F_ACK).map(drop)
    }

    /// Removes a device.
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.exchange(RouteNetlinkMessage::DelLink(link_message(index)), NLM_F_ACK).map(drop)
    }

    /// Gives a device an address; that it has it already is no error.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr, length: u8) -> io::Result<()> {
        let request = RouteNetlinkMessage::NewAddress(address_message(index, address, length));
        self.exchange(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Takes an address from a device; that it has it no more is no error.
    pub(crate) fn remove_address(&mut self, index: u32, address: IpAddr, length: u8) -> io::Result<()> {
        match self
            .exchange(RouteNetlinkMessage::DelAddress(address_message(index, address, length)), NLM_F_ACK)
        {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Tells whether a device is switched on.
    pub(crate) fn is_up(&mut self, index: u32) -> io::Result<bool> {
        let answers = self.exchange(RouteNetlinkMessage::GetLink(link_message(index)), NLM_F_ACK)?;
        Ok(answers.iter().any(|answer| {
            matches!(answer, RouteNetlinkMessage::NewLink(link) if link.header.flags.contains(LinkFlags::Up))
        }))
    }

    /// Lists the addresses of this host, of all devices.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.exchange(request, NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(own_address).collect())
    }

    fn device_with(&mut self, address: IpAddr) -> io::Result<Option<String>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.exchange(request, NLM_F_DUMP)?;
        let index = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) if own_address(answer) == Some(address) => {
                Some(message.header.index)
            }
            _ => None,
        });
        let name = index.map(|index| rustix::net::netdevice::index_to_name(&self.socket, index));
        Ok(name.transpose()?)
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

    /// Lets a prefix be unreachable when no other route of ours leads to it any more.
    pub(crate) fn set_last_resort(&mut self, table: TableEntry, prefix: Prefix) -> io::Result<()> {
        let mut route = last_resort(table, prefix);
        route.header.kind = RouteType::Unreachable;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.exchange(RouteNetlinkMessage::NewRoute(route), flags).map(drop)
    }

    /// Removes what [`Netlink::set_last_resort`] made; one that is not there is no error.
    pub(crate) fn remove_last_resort(&mut self, table: TableEntry, prefix: Prefix) -> io::Result<()> {
        let mut route = last_resort(table, prefix);
        route.header.scope = RouteScope::NoWhere;
        self.remove(RouteNetlinkMessage::DelRoute(route))
    }

    /// Removes our route to a prefix; one that is gone already is no error.
    pub(crate) fn remove_route(&mut self, table: TableEntry, prefix: Prefix) -> io::Result<()> {
        let mut route = route_message(table, prefix);
        route.header.scope = RouteScope::NoWhere;
        self.remove(RouteNetlinkMessage::DelRoute(route))
    }

    /// Removes every route of ours from our table: those through our device, and those that lead nowhere.
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

    /// Adds a rule; that it is there already is an error.
    pub(crate) fn add_rule(&mut self, rule: RuleEntry) -> io::Result<()> {
        let request = RouteNetlinkMessage::NewRule(rule_message(rule));
        self.exchange(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Tells whether this rule stands.
    pub(crate) fn has_rule(&mut self, rule: RuleEntry) -> io::Result<bool> {
        let mut request = RuleMessage::default();
        request.header.family = family_number(rule.family);
        let wanted = rule_message(rule);
        let is_ours = |found: &RuleMessage| {
            found.header.action == wanted.header.action
                && found.header.flags.contains(wanted.header.flags)
                && wanted.attributes.iter().all(|attribute| found.attributes.contains(attribute))
        };
        let answers = self.exchange(RouteNetlinkMessage::GetRule(request), NLM_F_DUMP)?;
        Ok(answers.iter().any(|answer| matches!(answer, RouteNetlinkMessage::NewRule(rule) if is_ours(rule))))
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
    pub(super) fn exchange(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
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
        matches!(route.header.kind, RouteType::Throw | RouteType::Unreachable)
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

fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn address_message(index: u32, address: IpAddr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_number(Family::of(address));
    message.header.index = index;
    message.header.prefix_len = length;
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    message
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

/// The route to a prefix that is taken when there is no other.
fn last_resort(table: TableEntry, prefix: Prefix) -> RouteMessage {
    let mut route = route_message(table, prefix);
    route.attributes.push(RouteAttribute::Priority(u32::MAX));
    route
}

fn is_in_table(route: &RouteMessage, table: TableEntry) -> bool {
    route.header.protocol == RouteProtocol::Other(table.protocol)
        && route.attributes.contains(&RouteAttribute::Table(table.table))
}

fn rule_message(rule: RuleEntry) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family_number(rule.family);
    message.attributes.push(RuleAttribute::Priority(rule.priority));
    match rule.action {
        Action::LookUp { mark, table } => {
            message.header.action = RuleAction::ToTable;
            message.header.flags = RuleFlags::Invert;
            message.attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::Table(table)]);
        }
        Action::Skip { mark, to } => {
            message.header.action = RuleAction::Goto;
            message.attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::Goto(to)]);
        }
        Action::Land => message.header.action = RuleAction::Nop,
    }
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(rule.protocol)));
    message
}

pub(super) fn family_number(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

const NETLINK_HEADER: usize = 16;
