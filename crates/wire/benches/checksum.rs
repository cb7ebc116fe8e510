//! Prints what a checksum costs on this machine: `cargo bench -p keyway-wire`.
//!
//! Nanoseconds for each packet, beside those of the definition of RFC 1071, one word of 16 bits after the other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wire::ip::checksum::Sum;

const SIZES: [usize; 4] = [20, 64, 1400, 65_000];

fn main() {
    println!("{:>12}{:>12}{:>18}", "octets", "ns", "as defined, ns");
    for size in SIZES {
        let octets: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
        let ours = time(|| Sum::ZERO.add_octets(black_box(&octets)).folded());
        let defined = time(|| by_the_book(black_box(&octets)));
        println!("{size:12}{ours:12.1}{defined:18.1}");
    }
}

fn by_the_book(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        _ => u16::from_be_bytes([pair[0], 0]),
    });
    words.fold(Sum::ZERO, Sum::add_word).folded()
}

/// Nanoseconds of one turn: the best of several rounds, which a busy machine disturbs least.
fn time(turn: impl Fn() -> u16) -> f64 {
    let mut turns = 1;
    let mut best = f64::MAX;
    for _ in 0..16 {
        let start = Instant::now();
        for _ in 0..turns {
            black_box(turn());
        }
        let taken = start.elapsed();
        best = best.min(taken.as_nanos() as f64 / turns as f64);
        if taken < Duration::from_millis(10) {
            turns *= 4;
        }
    }
    best
}
