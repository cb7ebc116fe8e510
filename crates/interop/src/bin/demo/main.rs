//! The demonstration: two sites, one tunnel, every message explained.
//!
//! ```text
//!   lay the cables ─► [make a CA] ─► configure ─► a packet brings the tunnel up ─► carry ─► rekey under traffic ─► take down ─► verdict
//! ```
//!
//! It drives the same programs that a person would, in namespaces of its own, and judges by what it sees: the exit status
//! says whether all of it held. Captures, keys for Wireshark and both logs stay in `demo-output`.

#![forbid(unsafe_code)]

mod arguments;
mod authority;
mod ladder;
mod meaning;
mod play;
mod terminal;
mod verdict;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(arguments::Stop::Help) => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(arguments::Stop::Wrong(sentence)) => {
            eprintln!("demo: {sentence}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match play::perform(&arguments) {
        Ok(verdict) if verdict.holds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("\ndemo: {failure}");
            ExitCode::FAILURE
        }
    }
}
