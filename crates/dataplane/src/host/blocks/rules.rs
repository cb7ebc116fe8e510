//! How blocks are said to the packet filter.
//!
//! ```text
//!   arriving    prerouting -300   as it came over the wire, before anything has changed it
//!   delivering  input             if only routing could tell that it arrives
//!   leaving     postrouting 99    as it was routed
//!   translated  postrouting 300   as it goes over the wire
//!
//!   arriving, leaving, translated
//!     by "lo" or our TUN devices, or (leaving) with our sockets' mark: it passes
//!     by our common device *and* with a mark of our sockets: a packet that we have sent on, and that would come round for ever: it is gone
//!     by a tunnel's own device *and* with our mark: a sealed packet on its way to be sealed once more, and so for ever: it is gone
//!     arriving_v4, arriving_v6, leaving_v4, leaving_v6
//!       one look-up for each shape of the plan, in the order of its stages
//!         refuse_arriving_v4, ...
//!           what must come in for any SA to be made or used: it passes
//!           it is counted, and gone
//! ```
//!
//! A set's elements are pairs of our end and the peer's: what arrives has our end as its destination, what leaves as its
//! source, so both directions look into the same sets.

use std::net::IpAddr;

use sa::Family;
use wire::ip::protocol;

use super::super::nft::{DEVICE_NAME, Field, Header, Hook, Meta, Part, Rule, Transaction, Verdict};
use super::Exempt;
use super::plan::{self, Key, Layout, SetId, Shape, Stage, Upper};

/// The chains that count what they refuse.
pub(super) const REFUSING_CHAINS: [&str; 4] =
    ["refuse_arriving_v4", "refuse_arriving_v6", "refuse_leaving_v4", "refuse_leaving_v6"];

/// Writes what does not depend on the policies: the chains, and what is exempt.
pub(super) fn write_frame(transaction: &mut Transaction, exempt: &Exempt) {
    // NF_IP_PRI_RAW lies behind the reassembly of fragments, NF_IP_PRI_NAT_SRC is 100, nothing lies behind 300.
    transaction.add_base_chain(ARRIVING, Hook::Prerouting, -300);
    transaction.add_base_chain(DELIVERING, Hook::Input, 0);
    transaction.add_base_chain(LEAVING, Hook::Postrouting, 99);
    transaction.add_base_chain(TRANSLATED, Hook::Postrouting, 300);
    for chain in LOOK_UP_CHAINS.iter().chain(&REFUSING_CHAINS) {
        transaction.add_chain(chain);
    }
    write_exempt_sets(transaction, exempt);
    for way in Way::ALL {
        for rule in exceptions(way, exempt) {
            transaction.add_rule(way.refusing_chain(), rule.then(Verdict::Accept));
        }
        transaction.add_rule(way.refusing_chain(), Rule::new().count().then(Verdict::Drop));
    }
}

/// Exempts a further device.
pub(super) fn add_device(transaction: &mut Transaction, device: &str) {
    transaction.add_elements(TUNNELS, [device_name(device)]);
}

/// Takes that back.
pub(super) fn remove_device(transaction: &mut Transaction, device: &str) {
    transaction.remove_elements(TUNNELS, [device_name(device)]);
}

/// Empties the chains that [`write_look_ups`] fills.
pub(super) fn flush_look_ups(transaction: &mut Transaction) {
    for chain in [ARRIVING, DELIVERING, LEAVING, TRANSLATED].iter().chain(&LOOK_UP_CHAINS) {
        transaction.flush_chain(chain);
    }
}

/// Writes the rules that depend on which sets there are.
pub(super) fn write_look_ups(transaction: &mut Transaction, exempt: &Exempt, layout: &Layout) {
    for chain in [ARRIVING, DELIVERING] {
        write_exempt_devices(transaction, chain, exempt, Meta::InputIndex, Meta::InputDevice);
    }
    for chain in [LEAVING, TRANSLATED] {
        let from_ours = |rule: Rule| rule.load_meta(Meta::Mark).equals(&exempt.mark.to_ne_bytes());
        for mark in [exempt.mark, exempt.passing_mark] {
            let comes_round = Rule::new().load_meta(Meta::Mark).equals(&mark.to_ne_bytes());
            let comes_round = comes_round.load_meta(Meta::OutputDevice).equals(&device_name(&exempt.common));
            transaction.add_rule(chain, comes_round.count().then(Verdict::Drop));
        }
        if !exempt.named.is_empty() {
            let by_tunnel = Rule::new().load_meta(Meta::OutputDevice).in_set(TUNNELS);
            transaction.add_rule(chain, from_ours(by_tunnel).count().then(Verdict::Drop));
        }
        transaction.add_rule(chain, from_ours(Rule::new()).then(Verdict::Accept));
        for rule in sealed_with_other_marks(exempt) {
            transaction.add_rule(chain, rule.then(Verdict::Accept));
        }
        write_exempt_devices(transaction, chain, exempt, Meta::OutputIndex, Meta::OutputDevice);
    }
    for (id, _) in layout.sets() {
        match id.stage {
            Stage::EitherWay => write_either_way(transaction, &id),
            Stage::Turn(_, verdict) => {
                for way in Way::ALL.into_iter().filter(|way| way.family == id.shape.family) {
                    let verdict = match verdict {
                        plan::Verdict::Pass => Verdict::Accept,
                        plan::Verdict::Refuse => Verdict::Goto(way.refusing_chain()),
                    };
                    transaction.add_rule(way.chain(), look_up(&id, way.direction).then(verdict));
                }
            }
        }
    }
    for (chain, ways) in [(ARRIVING, Way::ARRIVING), (LEAVING, Way::LEAVING), (TRANSLATED, Way::LEAVING)] {
        for way in ways {
            transaction.add_rule(chain, of_family(way.family).then(Verdict::Goto(way.chain())));
        }
    }
}

/// A mark of the administrator's may be that of other packets as well: only sealed ones pass by it.
fn sealed_with_other_marks(exempt: &Exempt) -> Vec<Rule> {
    let mut rules = Vec::new();
    for mark in exempt.other_marks.iter().map(|mark| mark.to_ne_bytes()) {
        let marked = |protocol: u8| {
            Rule::new().load_meta(Meta::Mark).equals(&mark).load_meta(Meta::Protocol).equals(&[protocol])
        };
        rules.extend([marked(protocol::ESP), marked(protocol::AH)]);
        let [_, nat_port] = exempt.ports;
        rules.push(marked(protocol::UDP).load(SOURCE_PORT).equals(&nat_port.to_be_bytes()));
    }
    rules
}

/// Every packet of the host meets these rules, so they ask what is quickly answered.
fn write_exempt_devices(
    transaction: &mut Transaction,
    chain: &str,
    exempt: &Exempt,
    index: Meta,
    device: Meta,
) {
    let by_loopback = Rule::new().load_meta(index).equals(&LOOPBACK_INDEX.to_ne_bytes());
    transaction.add_rule(chain, by_loopback.then(Verdict::Accept));
    let by_common = Rule::new().load_meta(device).equals(&device_name(&exempt.common));
    transaction.add_rule(chain, by_common.then(Verdict::Accept));
    if !exempt.named.is_empty() {
        let by_named = Rule::new().load_meta(device).in_set(TUNNELS);
        transaction.add_rule(chain, by_named.then(Verdict::Accept));
    }
}

/// What may be on its way into a tunnel is let in; if it is for this host instead, it is looked at again.
fn write_either_way(transaction: &mut Transaction, id: &SetId) {
    let family = id.shape.family;
    let arriving = Way { direction: Direction::Arriving, family };
    transaction.add_rule(ARRIVING, look_up(id, Direction::Arriving).then(Verdict::Accept));
    transaction.add_rule(DELIVERING, look_up(id, Direction::Arriving).then(Verdict::Goto(arriving.chain())));
}

/// Gives a set's name.
pub(super) fn name(id: &SetId) -> String {
    let stage = match id.stage {
        Stage::EitherWay => "either_way".to_owned(),
        Stage::Turn(number, plan::Verdict::Pass) => format!("pass{number}"),
        Stage::Turn(number, plan::Verdict::Refuse) => format!("refuse{number}"),
    };
    let Shape { family, local, remote, upper } = id.shape;
    let upper = match upper {
        Upper::Nothing => String::new(),
        Upper::Protocol => "_protocol".to_owned(),
        Upper::LaterFragment => "_fragment".to_owned(),
        Upper::Ports { local, remote } => format!("_ports_{local}_{remote}"),
        Upper::Icmp(length) => format!("_type_{length}"),
    };
    let family = match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    format!("{stage}_{family}_{local}_{remote}{upper}")
}

/// Gives the fields of the elements of a shape.
pub(super) fn fields(shape: &Shape) -> Vec<Field> {
    let address = match shape.family {
        Family::V4 => Field::Ipv4,
        Family::V6 => Field::Ipv6,
    };
    let upper: &[Field] = match shape.upper {
        Upper::Nothing => &[],
        Upper::Protocol | Upper::LaterFragment => &[Field::Protocol],
        Upper::Ports { .. } => &[Field::Protocol, Field::Port, Field::Port],
        Upper::Icmp(_) => &[Field::Protocol, Field::Port],
    };
    [&[address, address], upper].concat()
}

/// Gives the octets of an element.
pub(super) fn element(key: &Key, shape: &Shape) -> Vec<u8> {
    let protocol = padded(&[key.protocol]);
    let port = |port: u16| padded(&port.to_be_bytes());
    let upper = match shape.upper {
        Upper::Nothing => Vec::new(),
        Upper::Protocol | Upper::LaterFragment => protocol,
        Upper::Ports { .. } => [protocol, port(key.ports.local), port(key.ports.remote)].concat(),
        Upper::Icmp(_) => [protocol, port(key.ports.local)].concat(),
    };
    [address_octets(key.local), address_octets(key.remote), upper].concat()
}

/// Looks up, in one set, the parts of a packet that its shape has.
///
/// That a rule names its family again lets `nft` print what it looks at.
fn look_up(id: &SetId, direction: Direction) -> Rule {
    let Shape { family, local, remote, upper } = id.shape;
    let [source, destination] = addresses(family);
    let (our_address, their_address, our_port, their_port) = match direction {
        Direction::Leaving => (source, destination, SOURCE_PORT, DESTINATION_PORT),
        Direction::Arriving => (destination, source, DESTINATION_PORT, SOURCE_PORT),
    };
    let rule = if upper == Upper::LaterFragment { later_fragment(family) } else { of_family(family) };
    let rule = load_prefix(load_prefix(rule, our_address, local), their_address, remote);
    let rule = match upper {
        Upper::Nothing => rule,
        Upper::Protocol | Upper::LaterFragment => rule.load_meta(Meta::Protocol),
        Upper::Ports { local, remote } => {
            let rule = load_prefix(rule.load_meta(Meta::Protocol), our_port, local);
            load_prefix(rule, their_port, remote)
        }
        Upper::Icmp(length) => load_prefix(rule.load_meta(Meta::Protocol), ICMP_TYPE_AND_CODE, length),
    };
    rule.in_set(&name(id))
}

fn load_prefix(rule: Rule, part: Part, length: u8) -> Rule {
    let bits = |octet: usize| (usize::from(length).saturating_sub(8 * octet)).min(8);
    let mask: Vec<u8> = (0..part.octets).map(|octet| !(0xff_u16 >> bits(octet)) as u8).collect();
    let rule = rule.load(part);
    if mask.iter().all(|octet| *octet == 0xff) { rule } else { rule.mask(&mask) }
}

/// The sets that the rules of every table look into.
fn write_exempt_sets(transaction: &mut Transaction, exempt: &Exempt) {
    transaction.add_set(TUNNELS, &[Field::Device]);
    transaction.add_elements(TUNNELS, exempt.named.iter().map(|name| device_name(name)));
    for (_, set, types) in LINK_MESSAGES {
        transaction.add_set(set, &[Field::Icmpv6Type]);
        transaction.add_elements(set, types.iter().map(|kind| vec![*kind]));
    }
    for errors in [&ERRORS_V4, &ERRORS_V6] {
        transaction.add_set(errors.set, &[errors.field]);
        transaction.add_elements(errors.set, errors.types.iter().map(|kind| vec![*kind]));
    }
}

/// Gives the rules for what passes though a policy selects it.
///
/// - IKE, ESP and AH for us, for a selector may hold the addresses of the gateways (our own sockets' packets have passed by
///   their mark already);
/// - ICMP errors about packets of ours that carried these: the path MTU is learnt from them (RFC 4301 §6.1.1 has whoever
///   configures a system decide; they reach nothing but our sockets);
/// - neighbour discovery and what keeps it going, which never leave a link: without them no ESP does either.
fn exceptions(way: Way, exempt: &Exempt) -> Vec<Rule> {
    let mut exceptions = Vec::new();
    if way.direction == Direction::Arriving {
        let for_us = |protocol: u8| Rule::new().for_this_host().load_meta(Meta::Protocol).equals(&[protocol]);
        let errors = match way.family {
            Family::V4 => &ERRORS_V4,
            Family::V6 => &ERRORS_V6,
        };
        let error_about = |protocol: u8| {
            let error = for_us(errors.protocol).load(ICMP_TYPE).in_set(errors.set);
            error.load(errors.inner_protocol).equals(&[protocol])
        };
        for protocol in [protocol::ESP, protocol::AH] {
            exceptions.extend([for_us(protocol), error_about(protocol)]);
        }
        for port in exempt.ports.map(u16::to_be_bytes) {
            exceptions.extend([
                for_us(protocol::UDP).load(DESTINATION_PORT).equals(&port),
                error_about(protocol::UDP).load(errors.inner_source_port).equals(&port),
            ]);
        }
        // An IKE message may come in fragments. Those of other datagrams wait in vain for a first one, which was refused.
        let udp =
            later_fragment(way.family).for_this_host().load_meta(Meta::Protocol).equals(&[protocol::UDP]);
        exceptions.push(udp);
        if way.family == Family::V6 {
            // AH is an extension header to the packet filter, which finds no protocol in its later fragments.
            let ah = of_family(Family::V6).for_this_host().load_ipv6_fragmented_protocol();
            exceptions.push(ah.equals(&[protocol::AH]));
        }
    }
    if way.family == Family::V6 {
        exceptions.extend(LINK_MESSAGES.iter().map(|(hop_limit, set, _)| {
            let icmp = of_family(Family::V6).load_meta(Meta::Protocol).equals(&[protocol::ICMPV6]);
            icmp.load(HOP_LIMIT).equals(&[*hop_limit]).load(ICMP_TYPE).in_set(set)
        }));
    }
    exceptions
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Arriving,
    Leaving,
}

/// Packets of each direction and family have chains of their own.
#[derive(Clone, Copy)]
struct Way {
    direction: Direction,
    family: Family,
}

impl Way {
    const ARRIVING: [Way; 2] = Way::both_families(Direction::Arriving);
    const LEAVING: [Way; 2] = Way::both_families(Direction::Leaving);
    const ALL: [Way; 4] = [Way::ARRIVING[0], Way::ARRIVING[1], Way::LEAVING[0], Way::LEAVING[1]];

    const fn both_families(direction: Direction) -> [Way; 2] {
        [Way { direction, family: Family::V4 }, Way { direction, family: Family::V6 }]
    }

    fn index(self) -> usize {
        match (self.direction, self.family) {
            (Direction::Arriving, Family::V4) => 0,
            (Direction::Arriving, Family::V6) => 1,
            (Direction::Leaving, Family::V4) => 2,
            (Direction::Leaving, Family::V6) => 3,
        }
    }

    fn chain(self) -> &'static str {
        LOOK_UP_CHAINS[self.index()]
    }

    fn refusing_chain(self) -> &'static str {
        REFUSING_CHAINS[self.index()]
    }
}

/// ICMP errors of a family: their types, and where in them the packet lies that they are about (without IP options).
struct IcmpErrors {
    protocol: u8,
    field: Field,
    types: &'static [u8],
    set: &'static str,
    inner_protocol: Part,
    inner_source_port: Part,
}

/// Destination Unreachable, Time Exceeded, Parameter Problem (RFC 792).
const ERRORS_V4: IcmpErrors = IcmpErrors {
    protocol: protocol::ICMP,
    field: Field::IcmpType,
    types: &[3, 11, 12],
    set: "errors_v4",
    inner_protocol: transport(8 + 9, 1),
    inner_source_port: transport(8 + 20, 2),
};

/// Destination Unreachable, Packet Too Big, Time Exceeded, Parameter Problem (RFC 4443 §2.1).
const ERRORS_V6: IcmpErrors = IcmpErrors {
    protocol: protocol::ICMPV6,
    field: Field::Icmpv6Type,
    types: &[1, 2, 3, 4],
    set: "errors_v6",
    inner_protocol: transport(8 + 6, 1),
    inner_source_port: transport(8 + 40, 2),
};

/// ICMPv6 messages that never leave a link, by the hop limit that shows it: neighbour and router discovery (RFC 4861 §4),
/// and multicast listener discovery, by which switches learn where to send these (RFC 2710 §3, RFC 3810 §5).
const LINK_MESSAGES: [(u8, &str, &[u8]); 2] = [
    (255, "neighbour_discovery", &[133, 134, 135, 136, 137]),
    (1, "listener_discovery", &[130, 131, 132, 143]),
];

const ARRIVING: &str = "arriving";
const DELIVERING: &str = "delivering";
const LEAVING: &str = "leaving";
const TRANSLATED: &str = "translated";
const LOOK_UP_CHAINS: [&str; 4] = ["arriving_v4", "arriving_v6", "leaving_v4", "leaving_v6"];

/// Devices of tunnels that have their own.
const TUNNELS: &str = "tunnels";

/// `lo` is the first device of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

const SOURCE_PORT: Part = transport(0, 2);
const DESTINATION_PORT: Part = transport(2, 2);
const ICMP_TYPE: Part = transport(0, 1);
const ICMP_TYPE_AND_CODE: Part = transport(0, 2);
const FRAGMENT_V4: Part = network(6, 2);
const HOP_LIMIT: Part = network(7, 1);

/// Source and destination.
const fn addresses(family: Family) -> [Part; 2] {
    match family {
        Family::V4 => [network(12, 4), network(16, 4)],
        Family::V6 => [network(8, 16), network(24, 16)],
    }
}

const fn network(offset: u32, octets: usize) -> Part {
    Part { header: Header::Network, offset, octets }
}

const fn transport(offset: u32, octets: usize) -> Part {
    Part { header: Header::Transport, offset, octets }
}

fn of_family(family: Family) -> Rule {
    let number = match family {
        Family::V4 => libc::NFPROTO_IPV4,
        Family::V6 => libc::NFPROTO_IPV6,
    };
    Rule::new().load_meta(Meta::Family).equals(&[number as u8])
}

fn later_fragment(family: Family) -> Rule {
    match family {
        Family::V4 => of_family(family).load(FRAGMENT_V4).mask(&[0x1f, 0xff]).differs(&[0, 0]),
        Family::V6 => of_family(family).load_ipv6_fragment().mask(&[0xff, 0xf8]).differs(&[0, 0]),
    }
}

fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Fills a field up to a whole register.
fn padded(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn device_name(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(DEVICE_NAME, 0);
    octets
}
