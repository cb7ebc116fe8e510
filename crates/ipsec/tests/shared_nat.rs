//! Several clients behind one NAT, in transport mode: each gets the answers to what it sent, whatever ports they use.

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::*;
use ipsec::{Databases, Envelope, Verdict};
use proptest::prelude::*;
use sa::{
    Direction, Encapsulation, Esn, Handling, Mode, OriginalAddresses, Outer, PolicyAction, PolicyId,
    Protocol, SaId, SaOp, SaSpec, SelectorPair, Spi, TrafficSelector,
};
use wire::ip::{Flow, Ports, checksum, protocol};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const L2TP: u16 = 1701;

/// A client, and its two ends.
struct Client {
    number: u8,
    databases: Databases,
}

fn inside(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

fn selector(address: Ipv4Addr, ports: &str) -> TrafficSelector {
    format!("{address}[{ports}]").parse().expect("the test's own text")
}

fn policy_of(number: u8) -> PolicyId {
    PolicyId(u32::from(number))
}

/// The SAs of a client, `to_gateway` or back, as the gateway or the client has them.
fn spec_of(number: u8, to_gateway: bool, at_gateway: bool, client_ports: &str) -> SaSpec {
    let direction = if to_gateway == at_gateway { Direction::Inbound } else { Direction::Outbound };
    let outside = (NAT, 10_000 + u16::from(number)).into();
    let (local, remote, own, theirs) = match at_gateway {
        true => ((GATEWAY, 4500).into(), outside, GATEWAY, NAT),
        false => ((inside(number), 4500).into(), (GATEWAY, 4500).into(), inside(number), GATEWAY),
    };
    let gateway_ports = format!("udp/{L2TP}");
    let pair = match at_gateway {
        true => SelectorPair { local: selector(own, &gateway_ports), remote: selector(theirs, client_ports) },
        false => {
            SelectorPair { local: selector(own, client_ports), remote: selector(theirs, &gateway_ports) }
        }
    };
    // What the other end calls the two hosts.
    let original = match at_gateway {
        true => OriginalAddresses { local: GATEWAY.into(), remote: inside(number).into() },
        false => OriginalAddresses { local: NAT.into(), remote: GATEWAY.into() },
    };
    SaSpec {
        spi: Spi(0x1000 * (1 + u32::from(to_gateway)) + u32::from(number)),
        mode: Mode::Transport,
        outer: Outer { local, remote, encapsulation: Encapsulation::Udp },
        selectors: vec![pair],
        policy: if at_gateway { policy_of(number) } else { POLICY },
        handling: Handling { original: Some(original), ..Handling::default() },
        ..spec(direction, suite("aes128gcm16"), Esn::No)
    }
}

fn order(databases: &mut Databases, op: SaOp) {
    databases.apply(op).expect("the test's own order");
}

/// Installs both SAs of a client at one end, and its policy.
fn install(databases: &mut Databases, number: u8, at_gateway: bool, client_ports: &str) {
    let inbound = spec_of(number, at_gateway, at_gateway, client_ports);
    let outbound = spec_of(number, !at_gateway, at_gateway, client_ports);
    let (policy_id, selectors, sa) = (outbound.policy, outbound.selectors.clone(), outbound.id());
    order(databases, SaOp::InstallSa(Box::new(inbound)));
    order(databases, SaOp::InstallPolicy(policy(policy_id.0, 1, PolicyAction::Protect, selectors)));
    order(databases, SaOp::InstallSa(Box::new(outbound)));
    order(databases, SaOp::UseOutbound { policy: policy_id, sa });
}

fn leave(gateway: &mut Databases, number: u8, client_ports: &str) {
    let inbound = spec_of(number, true, true, client_ports).id();
    let outbound = spec_of(number, false, true, client_ports).id();
    order(gateway, SaOp::RemovePolicy(policy_of(number)));
    order(gateway, SaOp::RemoveSa(inbound));
    order(gateway, SaOp::RemoveSa(outbound));
}

impl Client {
    fn new(number: u8, client_ports: &str) -> Client {
        let mut databases = databases();
        install(&mut databases, number, false, client_ports);
        Client { number, databases }
    }

    /// Sends from a port; gives what comes out of ESP at the gateway.
    fn send(&self, gateway: &Databases, port: u16, payload: &[u8]) -> Vec<u8> {
        let inner = udp_with_checksum((inside(self.number), port), (GATEWAY, L2TP), payload);
        let mut packet = buffer(&inner);
        protecting_sa(&self.databases.tables(), &inner).seal(&mut packet).expect("a whole packet");
        let spi = Spi(u32::from_be_bytes(packet.as_slice()[..4].try_into().expect("an SPI")));
        let tables = gateway.tables();
        let sa = tables.inbound(Protocol::Esp, spi).expect("it is installed");
        let envelope = envelope(NAT, GATEWAY);
        tables.open(sa, &mut packet, &envelope).expect("it was just sealed");
        packet.as_slice().to_vec()
    }

    /// Takes what the gateway sent to it; gives the inner packet.
    fn receive(&self, sa: SaId, packet: &mut ipsec::PacketBuf) -> Vec<u8> {
        let expected = spec_of(self.number, false, false, "udp").spi;
        assert_eq!(sa.spi, expected, "client {} gets its own answer", self.number);
        let tables = self.databases.tables();
        let inbound = tables.inbound(Protocol::Esp, expected).expect("it is installed");
        tables.open(inbound, packet, &envelope(GATEWAY, inside(self.number))).expect("of its own traffic");
        packet.as_slice().to_vec()
    }
}

fn envelope(source: Ipv4Addr, destination: Ipv4Addr) -> Envelope<'static> {
    Envelope::Datagram {
        source: source.into(),
        destination: destination.into(),
        traffic_class: 0,
        hop_limit: 60,
    }
}

fn udp_with_checksum(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut segment =
        [source.1.to_be_bytes(), destination.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    segment.extend(payload);
    let sum = checksum::transport(source.0.into(), destination.0.into(), protocol::UDP, &segment);
    segment[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    v4_between(source.0, destination.0, protocol::UDP, &segment)
}

fn ports(packet: &[u8]) -> (u16, u16) {
    match Flow::of(packet).expect("a whole packet").ports {
        Ports::Known { source, destination } => (source, destination),
        other => panic!("UDP has ports: {other:?}"),
    }
}

fn is_summed_up(packet: &[u8]) -> bool {
    let flow = Flow::of(packet).expect("a whole packet");
    checksum::transport(flow.source, flow.destination, protocol::UDP, &packet[20..]) == 0
}

/// Sends from a client and answers as a server on the gateway does: to where the packet seems to be from. Gives the port
/// that the server saw.
fn question_and_answer(gateway: &Databases, client: &Client, port: u16, payload: &[u8]) -> u16 {
    let question = client.send(gateway, port, payload);
    let (seen, to) = ports(&question);
    assert_eq!((to, is_summed_up(&question)), (L2TP, true));
    assert!(question.ends_with(payload));
    let answer = udp_with_checksum((GATEWAY, L2TP), (NAT, seen), payload);
    let tables = gateway.tables();
    let Verdict::Protect(sa) = tables.classify_packet(&answer, &flow(&answer), None) else {
        panic!("an answer is protected")
    };
    let mut packet = buffer(&answer);
    sa.seal(&mut packet).expect("a whole packet");
    let received = client.receive(sa.id(), &mut packet);
    assert_eq!((ports(&received), is_summed_up(&received)), ((L2TP, port), true));
    assert!(received.ends_with(payload));
    seen
}

#[test]
fn one_client_keeps_its_ports() {
    let mut gateway = databases();
    install(&mut gateway, 1, true, "udp/1701");
    assert_eq!(question_and_answer(&gateway, &Client::new(1, "udp/1701"), L2TP, b"hello"), L2TP);
}

#[test]
fn clients_with_the_same_port_get_each_their_own_answers() {
    let mut gateway = databases();
    let clients: Vec<Client> = (1..=40).map(|number| Client::new(number, "udp/1701")).collect();
    for client in &clients {
        install(&mut gateway, client.number, true, "udp/1701");
        // Those that were there before see no change.
        assert_eq!(question_and_answer(&gateway, &clients[0], L2TP, b"first"), L2TP);
    }
    let seen: BTreeMap<u16, u8> = clients
        .iter()
        .map(|client| (question_and_answer(&gateway, client, L2TP, b"hello"), client.number))
        .collect();
    assert_eq!(seen.len(), clients.len(), "the server can tell them apart");
    for client in clients.iter().rev() {
        let again = question_and_answer(&gateway, client, L2TP, b"again");
        assert_eq!(seen.get(&again), Some(&client.number), "and a client stays who it is");
    }
}

#[test]
fn a_client_that_is_replaced_or_moves_stays_who_it_is() {
    let mut gateway = databases();
    let clients = [1, 2].map(|number| Client::new(number, "udp/1701"));
    for client in &clients {
        install(&mut gateway, client.number, true, "udp/1701");
    }
    let seen = question_and_answer(&gateway, &clients[1], L2TP, b"before");
    // A rekeying: another pair of SAs for the same policy.
    let mut rekeyed = [true, false].map(|to_gateway| spec_of(2, to_gateway, true, "udp/1701"));
    for sa in &mut rekeyed {
        sa.spi = Spi(sa.spi.0 + 0x100);
    }
    let [inbound, outbound] = rekeyed;
    let outer = Outer { remote: (NAT, 33_333).into(), ..outbound.outer };
    let (inbound_id, outbound_id) = (inbound.id(), outbound.id());
    order(&mut gateway, SaOp::InstallSa(Box::new(inbound)));
    order(&mut gateway, SaOp::InstallSa(Box::new(outbound)));
    order(&mut gateway, SaOp::UseOutbound { policy: policy_of(2), sa: outbound_id });
    for id in [spec_of(2, true, true, "udp/1701").id(), spec_of(2, false, true, "udp/1701").id()] {
        order(&mut gateway, SaOp::RemoveSa(id));
    }
    for sa in [inbound_id, outbound_id] {
        order(&mut gateway, SaOp::MoveSa { sa, outer });
    }
    let answer = udp_with_checksum((GATEWAY, L2TP), (NAT, seen), b"after");
    let tables = gateway.tables();
    match tables.classify(&flow(&answer), None) {
        Verdict::Protect(sa) => assert_eq!(sa.spi(), outbound_id.spi),
        other => panic!("the flow is known: {other:?}"),
    }
}

#[test]
fn other_packets_to_the_address_go_as_before() {
    let mut gateway = databases();
    for number in [1, 2] {
        install(&mut gateway, number, true, "udp/1701");
    }
    question_and_answer(&gateway, &Client::new(2, "udp/1701"), L2TP, b"hello");
    let tables = gateway.tables();
    let verdict = |source, destination| {
        let packet = udp_with_checksum((GATEWAY, source), (NAT, destination), b"else");
        match tables.classify(&flow(&packet), None) {
            Verdict::Protect(sa) => Some(sa.policy()),
            Verdict::Unselected => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(verdict(L2TP, L2TP), Some(policy_of(1)));
    assert!((0..=u16::MAX).all(|port| verdict(1702, port).is_none()), "no selector has our port");
    let protected = (0..=u16::MAX).filter(|port| verdict(L2TP, *port).is_some()).count();
    assert_eq!(protected, 2, "the first client's port, and the one that stands for the second's");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Clients come and go, and send from ports of their own choice.
    #[test]
    fn each_gets_its_own_answers(
        steps in prop::collection::vec((1..9u8, prop::option::of(prop_oneof![Just(L2TP), 28_600..28_800u16, any::<u16>()])), 1..80),
    ) {
        let mut gateway = databases();
        let mut clients: BTreeMap<u8, Client> = BTreeMap::new();
        for (number, port) in steps {
            match (port, clients.contains_key(&number)) {
                (None, true) => {
                    leave(&mut gateway, number, "udp");
                    clients.remove(&number);
                }
                (None | Some(_), false) => {
                    install(&mut gateway, number, true, "udp");
                    clients.insert(number, Client::new(number, "udp"));
                }
                (Some(port), true) => {
                    question_and_answer(&gateway, &clients[&number], port.max(1), &[number; 9]);
                }
            }
        }
    }
}
