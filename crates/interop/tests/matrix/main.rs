//! Keyway against Linux's own IPsec, with manual keys: every mode, protocol, algorithm and family that both have.
//!
//! For each mode a kernel is booted, and each row is one line of the output. A row is installed at both ends, carries echo
//! requests, datagrams and TCP both ways, and both ends have to have counted the same packets. With `KEYWAY_ROWS` in the
//! environment only those rows run that contain its value.

mod associations;
mod bench;
mod keyway;
mod linux;
mod rows;

use std::time::Instant;

use bench::Bench;
use interop::Result;
use sa::Mode;

#[test]
fn guest_shares_every_tunnel_with_us() -> Result<()> {
    every_row(Mode::Tunnel)
}

#[test]
fn guest_shares_transport_mode_with_us() -> Result<()> {
    every_row(Mode::Transport)
}

#[test]
fn guest_shares_beet_mode_with_us() -> Result<()> {
    every_row(Mode::Beet)
}

fn every_row(mode: Mode) -> Result<()> {
    let mut bench = Bench::new()?;
    println!("against Linux {}", bench.release());
    let mut failed = Vec::new();
    let wanted = std::env::var("KEYWAY_ROWS").unwrap_or_default();
    let rows: Vec<_> = rows::rows(mode).into_iter().filter(|row| row.to_string().contains(&wanted)).collect();
    for (number, row) in (1..).zip(&rows) {
        let start = Instant::now();
        let result = bench.run(row, number);
        let duration = start.elapsed().as_secs_f32();
        match result {
            Ok(carried) => println!("ok      {row:<56} {carried}, {duration:.2} s"),
            Err(failure) => {
                println!("FAILED  {row:<56} {failure}");
                failed.push(row.to_string());
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} rows failed:\n{}", failed.len(), rows.len(), failed.join("\n"));
    bench.dismantle();
    Ok(())
}
