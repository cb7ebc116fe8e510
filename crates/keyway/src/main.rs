//! Keyway: the IPsec daemon and its command line.
//!
//! ```text
//!   keyway run ────────── daemon:  engine task ⇄ data plane
//!                            ▲ orders, notices
//!                         management: the vici server
//!                            ▲ Unix socket
//!   keyway up, status, … ─ client          swanctl and others
//!
//!   keyway pki ─ files with certificates and keys; needs no daemon
//!   keyway import ─ other programs' configurations; needs no daemon
//! ```
//!
//! This crate holds the only async runtime and `main`. It refuses to know the rules of any protocol: the IKE engine
//! decides, the data plane carries, and what lies here takes the outputs of one to the inputs of the other.

#![forbid(unsafe_code)]

mod check;
mod cli;
mod client;
mod daemon;
mod import;
mod management;
mod manual;
mod moment;
mod pki;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::client::Failure;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => return daemon::run(&arguments),
        Command::Check(arguments) => return check::check(&arguments.file),
        Command::Up(arguments) => client::up(&arguments),
        Command::Down(arguments) => client::down(&arguments),
        Command::Rekey(arguments) => client::rekey(&arguments),
        Command::Status(arguments) => client::status(&arguments),
        Command::Unblock(arguments) => client::unblock(&arguments),
        Command::Pools(arguments) => client::pools(&arguments),
        Command::Log(arguments) => client::log(&arguments),
        Command::Reload(arguments) => client::reload(&arguments),
        Command::Version(arguments) => client::version(&arguments),
        Command::Import(arguments) => import::run(&arguments).map_err(Failure::Other),
        Command::Export(arguments) => match &arguments.what {
            cli::Exported::Wireshark(arguments) => client::export_wireshark(arguments),
        },
        Command::Pki(arguments) => pki::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments).map_err(Failure::from),
        Command::Man(arguments) => manual::man(&arguments).map_err(Failure::from),
    };
    match done {
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("keyway: {failure}");
            ExitCode::FAILURE
        }
    }
}
