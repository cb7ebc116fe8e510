//! One end of a tunnel with fixed keys and no IKE, to see the data plane alone at work.
//!
//! ```text
//! static_tunnel a udp 192.0.2.1 192.0.2.2 10.1.0.0/16 10.2.0.0/16 /run/a.journal
//! static_tunnel b udp 192.0.2.2 192.0.2.1 10.2.0.0/16 10.1.0.0/16 /run/b.journal
//! ```
//!
//! `a` and `b` tell the ends apart (so do `c` and `d`, those of another tunnel), `udp` or `esp` says what carries the packets; `udp/aes128-sha256` names algorithms, too,
//! and `udp/null` has none at all, to measure what all but cryptography costs. Selectors may be lists with commas. With
//! `trap` as an eighth argument the SAs are installed when the first packet asks for them; with `and` and six more
//! arguments this end has a second tunnel. The program prints `ready`, answers `usage` and `drops` on its standard input, takes
//! the tunnel's policy away at `down`, and ends when its input does; what a policy protects then stays blocked.
//!
//! The keys are in this file: never use it for anything but tests.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::{env, process, thread};

use dataplane::{Dataplane, Delivery, PlaneEvent, Settings};
use sa::{
    Direction, Encapsulation, Esn, Handling, Lifetime, Mode, Outer, PolicyAction, PolicyId, PolicySpec,
    Proposal, ProposalProtocol, Protection, Protocol, SaEvent, SaId, SaOp, SaSpec, SelectorPair, Spi,
    TrafficSelector,
};

use crate::null::NULL;

#[path = "static_tunnel/null.rs"]
mod null;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("static_tunnel: {error}");
        process::exit(1);
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (tunnel, journal, rest) = read(arguments)?;
    let tunnel = Arc::new(tunnel);
    let settings = Settings { journal, ..Settings::default() };
    let (events, heard) = mpsc::channel();
    let plane = Arc::new(Dataplane::start(settings, move |event| match events.send(event) {
        Ok(()) => Delivery::Taken,
        Err(_) => Delivery::Refused,
    })?);
    match rest {
        Rest::Trap => plane.apply(SaOp::InstallPolicy(tunnel.policy(PolicyAction::Trap))),
        Rest::Nothing => tunnel.install(&plane),
        Rest::And(second) => {
            tunnel.install(&plane);
            second.install(&plane);
        }
    }
    let negotiator = (Arc::downgrade(&plane), Arc::clone(&tunnel));
    thread::spawn(move || {
        for event in heard {
            println!("event {event:?}");
            if let (PlaneEvent::Sa(SaEvent::Acquire { .. }), Some(plane)) = (event, negotiator.0.upgrade()) {
                negotiator.1.install_sas(&plane);
                negotiator.1.use_outbound(&plane);
            }
        }
    });
    println!("ready");
    converse(&plane, &tunnel)?;
    // The thread above only borrows the plane for an answer; this is its last owner.
    drop(plane);
    println!("stopped");
    Ok(())
}

/// Answers questions until there are no more.
fn converse(plane: &Dataplane, tunnel: &Tunnel) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        match line?.trim() {
            "usage" => {
                for direction in [Direction::Inbound, Direction::Outbound] {
                    let usage = plane.usage(tunnel.sa(direction).id()).unwrap_or_default();
                    println!("{direction:?} {} packets {} octets", usage.packets, usage.bytes);
                }
            }
            "drops" => println!("drops {:?}", plane.drops()),
            "down" => {
                plane.apply(SaOp::RemovePolicy(tunnel.policy));
                println!("down");
            }
            other => println!("cannot answer {other:?}"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

struct Tunnel {
    outer: Outer,
    protection: Protection,
    pairs: Vec<SelectorPair>,
    inbound: Spi,
    outbound: Spi,
    policy: PolicyId,
}

/// What follows the first tunnel's arguments.
enum Rest {
    Nothing,
    Trap,
    And(Tunnel),
}

fn read(arguments: &[String]) -> Result<(Tunnel, PathBuf, Rest), Box<dyn Error>> {
    let [_, _, _, _, _, _, journal, rest @ ..] = arguments else { return Err(USAGE.into()) };
    let tunnel = read_tunnel(&arguments[..6])?;
    let rest = match rest {
        [] => Rest::Nothing,
        [word] if word == "trap" => Rest::Trap,
        [word, second @ ..] if word == "and" => Rest::And(read_tunnel(second)?),
        _ => return Err(USAGE.into()),
    };
    Ok((tunnel, journal.into(), rest))
}

fn read_tunnel(arguments: &[String]) -> Result<Tunnel, Box<dyn Error>> {
    let [end, carrier, local, remote, local_selectors, remote_selectors] = arguments else {
        return Err(USAGE.into());
    };
    let (inbound, outbound, policy) = match end.as_str() {
        "a" => (SPI_TO_A, SPI_TO_B, FIRST_POLICY),
        "b" => (SPI_TO_B, SPI_TO_A, FIRST_POLICY),
        "c" => (SPI_TO_C, SPI_TO_D, SECOND_POLICY),
        "d" => (SPI_TO_D, SPI_TO_C, SECOND_POLICY),
        other => return Err(format!("{other} is none of a, b, c and d").into()),
    };
    let (carrier, suite) = carrier.split_once('/').unwrap_or((carrier, "aes128gcm16"));
    let encapsulation = match carrier {
        "udp" => Encapsulation::Udp,
        "esp" => Encapsulation::None,
        other => return Err(format!("{other} is neither udp nor esp").into()),
    };
    let address = |text: &str| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 4500));
    let outer = Outer { local: address(local)?, remote: address(remote)?, encapsulation };
    let selectors =
        |text: &str| text.split(',').map(str::parse::<TrafficSelector>).collect::<Result<Vec<_>, _>>();
    let pairs = selectors(local_selectors)?
        .into_iter()
        .zip(selectors(remote_selectors)?)
        .map(|(local, remote)| SelectorPair { local, remote })
        .collect();
    Ok(Tunnel { outer, protection: read_suite(suite)?, pairs, inbound, outbound, policy })
}

fn read_suite(text: &str) -> Result<Protection, Box<dyn Error>> {
    if text == "null" {
        return Ok(Protection::Combined(&NULL));
    }
    let proposal = Proposal::parse(ProposalProtocol::Esp, text)?;
    match (&proposal.encryption[..], &proposal.integrity[..]) {
        ([encryption], []) => Ok(Protection::Combined(encryption)),
        ([encryption], [integrity]) => Ok(Protection::Separate { encryption, integrity }),
        _ => Err(format!("{text} names more than one suite").into()),
    }
}

impl Tunnel {
    fn install(&self, plane: &Dataplane) {
        self.install_sas(plane);
        plane.apply(SaOp::InstallPolicy(self.policy(PolicyAction::Protect)));
        self.use_outbound(plane);
    }

    fn policy(&self, action: PolicyAction) -> PolicySpec {
        PolicySpec { id: self.policy, priority: 1000, selectors: self.pairs.clone(), action, device: None }
    }

    fn install_sas(&self, plane: &Dataplane) {
        for direction in [Direction::Inbound, Direction::Outbound] {
            plane.apply(SaOp::InstallSa(Box::new(self.sa(direction))));
        }
    }

    fn use_outbound(&self, plane: &Dataplane) {
        let sa: SaId = self.sa(Direction::Outbound).id();
        plane.apply(SaOp::UseOutbound { policy: self.policy, sa });
    }

    fn sa(&self, direction: Direction) -> SaSpec {
        let spi = match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        };
        SaSpec {
            direction,
            protocol: Protocol::Esp,
            spi,
            mode: Mode::Tunnel,
            outer: self.outer,
            protection: self.protection,
            key: Arc::new(vec![spi.0 as u8; self.protection.key_len()].into()),
            esn: Esn::Yes,
            replay_window: 1024,
            selectors: self.pairs.clone(),
            lifetime: Lifetime::UNLIMITED,
            policy: self.policy,
            handling: Handling::default(),
        }
    }
}

const USAGE: &str = "usage: static_tunnel a|b|c|d udp|esp[/SUITE] LOCAL REMOTE LOCAL_TS REMOTE_TS JOURNAL [trap | and c|d ... REMOTE_TS]";

const FIRST_POLICY: PolicyId = PolicyId(1);
const SECOND_POLICY: PolicyId = PolicyId(2);
const SPI_TO_A: Spi = Spi(0x0010_000a);
const SPI_TO_B: Spi = Spi(0x0010_000b);
const SPI_TO_C: Spi = Spi(0x0010_000c);
const SPI_TO_D: Spi = Spi(0x0010_000d);
