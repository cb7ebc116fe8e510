//! Prints what a packet costs on this machine: `cargo bench -p keyway-ipsec`.
//!
//! Sealing and opening in nanoseconds; finding the SA of a packet among many as a ratio to finding it among one, since
//! machines differ and ratios less so. "The same" looks one flow up again and again, "any" one of all at random, which
//! pays for the processor's caches besides.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{Secret, SystemRandom};
use ipsec::{Databases, PacketBuf, Tables, Unmatched, Verdict};
use sa::transform::{ENCRYPTION, Encryption, INTEGRITY};
use sa::{
    AddressRange, Direction, Encapsulation, Esn, Family, Lifetime, Mode, Outer, PolicyAction, PolicyId,
    PolicySpec, Protection, Protocol, SaOp, SaSpec, SelectorPair, Spi, TrafficSelector,
};
use wire::ip::{Flow, Ports};

const SIZES: [usize; 2] = [64, 1400];
const COUNTS: [u32; 3] = [1, 1_000, 100_000];

fn main() {
    println!(
        "{:32}{:>12}{:>12}{:>12}{:>12}",
        "ns per packet of octets:", "seal 64", "1400", "open 64", "1400"
    );
    for suite in suites() {
        let [seal_short, seal_long] = SIZES.map(|size| time_seal(suite, size));
        let [open_short, open_long] =
            SIZES.map(|size| time_seal_and_open(suite, size) - time_seal(suite, size));
        let name = suite.to_string();
        println!("{name:32}{seal_short:12.0}{seal_long:12.0}{open_short:12.0}{open_long:12.0}");
    }

    println!("\n{:32}{:>12}{:>12}{:>12}", "look-ups among SAs:", COUNTS[0], COUNTS[1], COUNTS[2]);
    let all: Vec<Fleet> = COUNTS.iter().map(|count| Fleet::new(*count)).collect();
    print_ratios("outbound, the same flow", &all, |fleet| fleet.time_outbound(Choice::Same));
    print_ratios("outbound, any flow", &all, |fleet| fleet.time_outbound(Choice::Any));
    print_ratios("inbound, the same SPI", &all, |fleet| fleet.time_inbound(Choice::Same));
    print_ratios("inbound, any SPI", &all, |fleet| fleet.time_inbound(Choice::Any));
    let mut all = all;
    println!("\n{:32}{:>12}{:>12}{:>12}", "changes among SAs, µs:", COUNTS[0], COUNTS[1], COUNTS[2]);
    let rekeys: Vec<f64> = all.iter_mut().map(|fleet| fleet.time_rekey() / 1000.0).collect();
    println!("{:32}{:12.1}{:12.1}{:12.1}", "rekey and snapshot", rekeys[0], rekeys[1], rekeys[2]);
}

fn print_ratios(name: &str, fleets: &[Fleet], time: impl Fn(&Fleet) -> f64) {
    let times: Vec<f64> = fleets.iter().map(time).collect();
    print!("{name:32}");
    for nanos in &times {
        print!("{:12}", format!("×{:.1}", nanos / times[0]));
    }
    println!("     (×1 is {:.0} ns)", times[0]);
}

fn suites() -> [Protection; 5] {
    let row = |keyword: &str| -> &'static Encryption {
        ENCRYPTION.iter().find(|row| row.keywords[0] == keyword).expect("a keyword of the transform table")
    };
    let integrity = &INTEGRITY[0];
    [
        Protection::Combined(row("aes128gcm16")),
        Protection::Combined(row("aes256gcm16")),
        Protection::Combined(row("chacha20poly1305")),
        Protection::Separate { encryption: row("aes128"), integrity },
        Protection::Separate { encryption: row("aes256"), integrity },
    ]
}

fn time_seal(suite: Protection, size: usize) -> f64 {
    let databases = tunnel(suite);
    let tables = databases.tables();
    let (inner, mut packet) = (inner(size), PacketBuf::new(size));
    let Verdict::Protect(sa) = tables.classify(&flow(0)) else { panic!("the policy has an SA") };
    time(|_| {
        packet.copy_from(&inner).expect("the buffer is made to fit");
        black_box(sa.seal(&mut packet)).expect("the SA is unlimited");
    })
}

fn time_seal_and_open(suite: Protection, size: usize) -> f64 {
    let databases = tunnel(suite);
    let tables = databases.tables();
    let (inner, mut packet) = (inner(size), PacketBuf::new(size));
    let Verdict::Protect(outbound) = tables.classify(&flow(0)) else { panic!("the policy has an SA") };
    let inbound = tables.inbound(Spi(0x10_0000)).expect("it was installed");
    time(|_| {
        packet.copy_from(&inner).expect("the buffer is made to fit");
        outbound.seal(&mut packet).expect("the SA is unlimited");
        black_box(inbound.open(&mut packet)).expect("it was just sealed");
    })
}

/// An SA to ourselves: what it seals it opens.
fn tunnel(suite: Protection) -> Databases {
    let mut databases = Databases::new(Unmatched::Discard, Box::new(SystemRandom));
    install(&mut databases, suite, 0, Spi(0x10_0000));
    let mut inbound = spec(Direction::Inbound, suite, 0, Spi(0x10_0000));
    for pair in &mut inbound.selectors {
        std::mem::swap(&mut pair.local, &mut pair.remote);
    }
    databases.apply(SaOp::InstallSa(Box::new(inbound))).expect("a valid SA");
    databases
}

/// A gateway with many road warriors, each with a policy and a pair of SAs of its own.
struct Fleet {
    databases: Databases,
    tables: Arc<Tables>,
    flows: Vec<Flow>,
    spis: Vec<Spi>,
}

#[derive(Clone, Copy)]
enum Choice {
    Same,
    Any,
}

impl Fleet {
    fn new(count: u32) -> Fleet {
        let suite = suites()[0];
        let mut databases = Databases::new(Unmatched::Discard, Box::new(SystemRandom));
        let spis = (0..count).map(|nth| {
            let spi = databases.allocate_spi(nth).expect("a million slots");
            install(&mut databases, suite, nth, Spi(0x10_0000 + nth));
            let inbound = spec(Direction::Inbound, suite, nth, spi);
            databases.apply(SaOp::InstallSa(Box::new(inbound))).expect("a valid SA");
            spi
        });
        let spis = spis.collect();
        Fleet { tables: databases.tables(), databases, flows: (0..count).map(flow).collect(), spis }
    }

    fn time_outbound(&self, choice: Choice) -> f64 {
        time(|turn| {
            let flow = &self.flows[pick(turn, self.flows.len(), choice)];
            let Verdict::Protect(sa) = self.tables.classify(flow) else { panic!("the policy has an SA") };
            black_box(sa);
        })
    }

    fn time_inbound(&self, choice: Choice) -> f64 {
        time(|turn| {
            let spi = self.spis[pick(turn, self.spis.len(), choice)];
            black_box(self.tables.inbound(spi).expect("it was installed"));
        })
    }

    /// Installs an SA, switches a policy to it, takes a snapshot, and removes it again.
    fn time_rekey(&mut self) -> f64 {
        let spec = spec(Direction::Outbound, suites()[0], 0, Spi(0xfff0_0000));
        time(|_| {
            self.databases.apply(SaOp::InstallSa(Box::new(spec.clone()))).expect("a valid SA");
            self.databases
                .apply(SaOp::UseOutbound { policy: PolicyId(0), sa: spec.id() })
                .expect("both exist");
            self.tables = self.databases.tables();
            self.databases.apply(SaOp::RemoveSa(spec.id())).expect("it exists");
        })
    }
}

fn pick(turn: u64, count: usize, choice: Choice) -> usize {
    match choice {
        Choice::Same => count / 2,
        // Multiplication by an odd constant visits places far apart, one after the other.
        Choice::Any => (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % count,
    }
}

fn install(databases: &mut Databases, suite: Protection, nth: u32, spi: Spi) {
    let outbound = spec(Direction::Outbound, suite, nth, spi);
    let (id, selectors) = (outbound.id(), outbound.selectors.clone());
    let policy = PolicySpec { id: PolicyId(nth), priority: 1, selectors, action: PolicyAction::Protect };
    databases.apply(SaOp::InstallPolicy(policy)).expect("a valid policy");
    databases.apply(SaOp::InstallSa(Box::new(outbound))).expect("a valid SA");
    databases.apply(SaOp::UseOutbound { policy: PolicyId(nth), sa: id }).expect("both exist");
}

fn spec(direction: Direction, protection: Protection, nth: u32, spi: Spi) -> SaSpec {
    SaSpec {
        direction,
        protocol: Protocol::Esp,
        spi,
        mode: Mode::Tunnel,
        outer: Outer {
            local: "203.0.113.1:4500".parse().expect("an address"),
            remote: "203.0.113.2:4500".parse().expect("an address"),
            encapsulation: Encapsulation::Udp,
        },
        protection,
        key: Arc::new(Secret::new(vec![1; protection.key_len()])),
        esn: Esn::Yes,
        replay_window: 64,
        selectors: vec![SelectorPair {
            local: TrafficSelector::any(Family::V4),
            remote: TrafficSelector::all_of(AddressRange::host(warrior(nth))),
        }],
        lifetime: Lifetime::UNLIMITED,
        policy: PolicyId(nth),
    }
}

fn warrior(nth: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + nth).into()
}

fn flow(nth: u32) -> Flow {
    Flow {
        source: Ipv4Addr::new(192, 0, 2, 1).into(),
        destination: warrior(nth),
        protocol: 17,
        ports: Ports::Known { source: 4000, destination: 53 },
    }
}

fn inner(size: usize) -> Vec<u8> {
    let mut inner = vec![0; size];
    inner[..4].copy_from_slice(&[0x45, 0, (size >> 8) as u8, size as u8]);
    inner[9] = 253;
    inner[12..16].copy_from_slice(&[192, 0, 2, 1]);
    inner[16..20].copy_from_slice(&[10, 0, 0, 0]);
    inner
}

/// Nanoseconds of one turn: the best of several rounds, which a busy machine disturbs least.
fn time(mut turn: impl FnMut(u64)) -> f64 {
    let mut turns = 1;
    let mut best = f64::MAX;
    for _ in 0..12 {
        let start = Instant::now();
        for nth in 0..turns {
            turn(nth);
        }
        let taken = start.elapsed();
        best = best.min(taken.as_nanos() as f64 / turns as f64);
        if taken < Duration::from_millis(20) {
            turns *= 4;
        }
    }
    best
}
