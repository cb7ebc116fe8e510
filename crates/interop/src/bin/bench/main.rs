//! What carrying packets costs: `./bench [SECONDS]`.
//!
//! ```text
//!   host a ── gateway a ══ tunnel ══ gateway b ── host b
//!   └──── processor 0 ───┘           └──── processor 1 ─┘
//! ```
//!
//! One TCP stream crosses two gateways (`static_tunnel`: the data plane with fixed keys and no IKE). What is told of each
//! suite is the processor time of both gateways for every 10⁹ octets carried, and its ratio to the null relay: the same
//! program, devices and packet sizes without any cryptography. Every suite has null runs of its own before and after it, and
//! of several rounds the median counts: machines are shared, and only what was measured side by side compares.

#![forbid(unsafe_code)]

mod flood;
mod gateways;

use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use interop::traffic::Ping;
use interop::{End, Family, Lab, Result, Wire};

use crate::flood::Flood;
use crate::gateways::Gateways;

/// Each suite with the carrier that it is measured on, and the null relay it is compared with.
const ROWS: [(&str, &str); 5] = [
    ("udp/aes128gcm16", "udp/null"),
    ("udp/chacha20poly1305", "udp/null"),
    ("udp/aes128-sha256", "udp/null"),
    ("esp/aes128gcm16", "esp/null"),
    ("esp/null", "udp/null"),
];
const ROUNDS: usize = 3;
const DEFAULT_SECONDS: u64 = 3;
const PINGS: u32 = 200;
const PINGS_A_SECOND: u32 = 200;

/// One run of one suite.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Processor seconds of both gateways for 10⁹ octets.
    seconds_per_gigabyte: f64,
    megabits_per_second: f64,
    /// There and back, the mean without other traffic.
    ping_ms: f64,
}

fn main() -> ExitCode {
    let seconds = match std::env::args().nth(1).map(|text| text.parse()) {
        None => DEFAULT_SECONDS,
        Some(Ok(seconds)) if seconds > 0 => seconds,
        Some(_) => {
            eprintln!(
                "usage: ./bench [SECONDS]     how long each TCP stream is measured, {DEFAULT_SECONDS} if not said"
            );
            return ExitCode::from(2);
        }
    };
    match measure_all(Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(length: Duration) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    println!(
        "{:24}{:>12}{:>10}{:>12}{:>10}   {:<16}",
        "one TCP stream, IPv4", "Mbit/s", "s/GB", "ping µs", "× null", "(null s/GB)"
    );
    for (suite, null) in ROWS {
        let mut costs = Vec::new();
        let mut nulls = Vec::new();
        for _ in 0..ROUNDS {
            nulls.push(measure(&lab, null, length)?);
            costs.push(measure(&lab, suite, length)?);
        }
        print_row(suite, &costs, &nulls);
    }
    lab.dismantle();
    Ok(())
}

/// Runs two gateways with one suite under a TCP stream, then under nothing but pings.
fn measure(lab: &Lab, suite: &str, length: Duration) -> Result<Cost> {
    let gateways = Gateways::start(lab, suite)?;
    let target: IpAddr = lab.site(End::B).host_address(Family::V4);
    let mut flood = Flood::start(&lab.a.host, &lab.b.host, target)?;
    flood.settle()?;
    let (octets_before, processor_before) = (flood.octets(), gateways.processor_time()?);
    let start = Instant::now();
    thread::sleep(length);
    let (octets, processor) = (flood.octets() - octets_before, gateways.processor_time()? - processor_before);
    let elapsed = start.elapsed().as_secs_f64();
    flood.stop()?;
    let ping = Ping::run(&lab.a.host, target, PINGS, PINGS_A_SECOND)?;
    gateways.stop()?;
    Ok(Cost {
        seconds_per_gigabyte: processor.as_secs_f64() * 1e9 / octets as f64,
        megabits_per_second: octets as f64 * 8.0 / elapsed / 1e6,
        ping_ms: ping.round_trip_ms.map_or(f64::INFINITY, |(_, mean, _)| mean),
    })
}

fn print_row(suite: &str, costs: &[Cost], nulls: &[Cost]) {
    let cost = median(costs, |cost| cost.seconds_per_gigabyte);
    let null = median(nulls, |cost| cost.seconds_per_gigabyte);
    println!(
        "{suite:24}{:12.0}{cost:10.2}{:12.0}{:>10}   ({null:.2})",
        median(costs, |cost| cost.megabits_per_second),
        median(costs, |cost| cost.ping_ms * 1e3),
        format!("× {:.2}", cost / null),
    );
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
