//! Scapy seals what we open, and opens what we seal: every algorithm and shape that it knows, live and both ways.
//!
//! The gateways are those of the `ipsec` crate's own tests, without sockets: a packet with all its headers goes to Scapy and
//! comes from there.

#[path = "../../../ipsec/tests/common/mod.rs"]
mod common;
mod peer;

use std::net::IpAddr;

use common::link::{Link, Plan};
use common::{packet_between, suite};
use interop::{Failure, Result};
use sa::transform::INTEGRITY;
use sa::{Encapsulation, Esn, Family, Mode, Protection, Protocol};
use wire::ip::Packet;

use peer::{Algorithms, Scapy};

/// Suites of ESP that Scapy 2.5 can do. It cannot shorten the ICV of GCM, and forgets the high half of an extended sequence
/// number where it has a MAC of its own.
const ESP: [&str; 26] = [
    "aes128gcm16",
    "aes192gcm16",
    "aes256gcm16",
    "aes128ccm16",
    "aes192ccm16",
    "aes256ccm16",
    "aes128ccm12",
    "aes128ccm8",
    "chacha20poly1305",
    "aes128-sha256",
    "aes192-sha256",
    "aes256-sha256",
    "aes128ctr-sha256",
    "aes192ctr-sha256",
    "aes256ctr-sha256",
    "null-sha256",
    "3des-sha256",
    "cast128-sha256",
    "blowfish128-sha256",
    "blowfish256-sha256",
    "des-sha256",
    "aes128-sha384",
    "aes128-sha512",
    "aes128-sha1",
    "aes128-md5",
    "aes128-aescmac",
];

/// MACs of AH.
const AH: [&str; 6] = ["sha256", "sha384", "sha512", "sha1", "md5", "aescmac"];

/// The inner packets' protocol.
const FOR_EXPERIMENTS: u8 = 253;

/// Sequence numbers of what Scapy seals.
const NUMBERS: [u64; 3] = [1, 9, 0xffff_ff00];
/// The same where they have 64 bits: the low half begins again.
const EXTENDED_NUMBERS: [u64; 3] = [1, 0xffff_ff00, 0x1_0000_0005];

#[test]
fn scapy_and_we_open_what_the_other_seals() -> Result<()> {
    let mut scapy = Scapy::start()?;
    let mut failed = Vec::new();
    let plans = plans();
    for plan in &plans {
        if let Err(failure) = both_ways(&mut scapy, plan) {
            failed.push(format!("{}: {failure}", name(plan)));
        }
    }
    println!("{} of {} plans agree with Scapy", plans.len() - failed.len(), plans.len());
    assert!(failed.is_empty(), "{} of {} plans failed:\n{}", failed.len(), plans.len(), failed.join("\n"));
    Ok(())
}

#[test]
fn scapy_refuses_what_it_should() -> Result<()> {
    let mut scapy = Scapy::start()?;
    let plan = Plan::esp(Mode::Tunnel, suite("aes128gcm16"));
    let mut sealed = sealed_by_us(&Link::new(&plan), &inner(&plan, 30))?;
    *sealed.last_mut().expect("octets") ^= 1;

    let refusal = scapy.open(&Algorithms::of(&plan), &plan, 1, &sealed);

    assert!(refusal.is_err_and(|failure| failure.to_string().contains("Integrity")));
    Ok(())
}

fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for (mode, outer, inner) in shapes() {
        for keyword in ESP {
            let protection = suite(keyword);
            let plan = Plan { outer, inner, ..Plan::esp(mode, protection) };
            if matches!(protection, Protection::Combined(_)) {
                plans.push(Plan { esn: Esn::Yes, ..plan.clone() });
            }
            plans.push(Plan { encapsulation: Encapsulation::Udp, ..plan.clone() });
            plans.push(plan);
        }
        for keyword in AH {
            let mac = INTEGRITY.iter().find(|row| row.keywords[0] == keyword).expect("a MAC of the table");
            let protection = Protection::Authenticated(mac);
            for esn in [Esn::No, Esn::Yes] {
                plans.push(Plan { protection, outer, inner, esn, ..Plan::ah(mode) });
            }
        }
    }
    plans
}

/// Scapy knows no BEET mode.
fn shapes() -> Vec<(Mode, Family, Family)> {
    let families = [Family::V4, Family::V6];
    let tunnels = families.iter().flat_map(|&outer| families.map(|inner| (Mode::Tunnel, outer, inner)));
    tunnels.chain(families.map(|family| (Mode::Transport, family, family))).collect()
}

fn both_ways(scapy: &mut Scapy, plan: &Plan) -> Result<()> {
    let link = Link::new(plan);
    let algorithms = Algorithms::of(plan);
    for (number, octets) in (1..).zip([1, 14, 33, 600]) {
        let inner = inner(plan, octets);
        let opened = scapy.open(&algorithms, plan, number, &sealed_by_us(&link, &inner)?)?;
        agree(plan, &inner, &opened).map_err(Failure::at("what Scapy opened"))?;
    }
    let numbers = if plan.esn == Esn::Yes { EXTENDED_NUMBERS } else { NUMBERS };
    for (number, octets) in numbers.into_iter().zip([1, 14, 600]) {
        let inner = inner(plan, octets);
        let sealed = scapy.seal(&algorithms, plan, number, &inner)?;
        let opened = link.receive(&sealed).map_err(Failure::at("what Scapy sealed"))?;
        agree(plan, &inner, &opened).map_err(Failure::at("what we opened"))?;
    }
    Ok(())
}

fn sealed_by_us(link: &Link, inner: &[u8]) -> Result<Vec<u8>> {
    link.send(inner).map_err(Failure::at("what we sealed"))
}

/// A packet between whoever the plan protects, of a protocol that nobody has (RFC 3692 §2.1) and Scapy leaves as it is.
fn inner(plan: &Plan, octets: usize) -> Vec<u8> {
    let (source, destination) = plan.inner_addresses();
    let payload: Vec<u8> = (0..8 + octets).map(|at| at as u8).collect();
    packet_between(source, destination, FOR_EXPERIMENTS, &payload)
}

/// A tunnel keeps the packet. Transport mode keeps its ends and what they say: the header's other fields are the wire's.
fn agree(plan: &Plan, inner: &[u8], opened: &[u8]) -> Result<()> {
    let same = match plan.mode {
        Mode::Tunnel => inner == opened,
        Mode::Transport | Mode::Beet => said(inner) == said(opened),
    };
    if same { Ok(()) } else { Err(Failure::new(format!("{opened:02x?} instead of {inner:02x?}"))) }
}

fn said(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    let view = Packet::new(packet).ok()?;
    let (protocol_at, header_len) = if packet[0] >> 4 == 4 { (9, 20) } else { (6, 40) };
    Some((view.source(), view.destination(), packet[protocol_at], &packet[header_len..]))
}

fn name(plan: &Plan) -> String {
    let protocol = match plan.protocol {
        Protocol::Esp => "ESP",
        Protocol::Ah => "AH",
    };
    let (protection, mode) = (&plan.protection, plan.mode);
    format!(
        "{protocol} {protection} {mode} {:?} {:?} in {:?} {:?}",
        plan.encapsulation, plan.inner, plan.outer, plan.esn
    )
}
