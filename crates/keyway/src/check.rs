//! `keyway check`: is a configuration right?

use std::path::Path;
use std::process::ExitCode;

use config::Severity;

use crate::daemon::keyring::{self, Ring};

/// Prints every fault of a configuration with its line and a caret under it; errors make the exit code 1.
pub(crate) fn check(file: &Path) -> ExitCode {
    if file.file_name().is_some_and(|name| name == "strongswan.conf") {
        return check_charon(file);
    }
    let loaded = config::load_file(file);
    for fault in &loaded.faults {
        eprintln!("{fault}");
    }
    Ring::read(&loaded.config.materials, |sentence| eprintln!("warning: {sentence}"));
    let unreadable = loaded.config.connections.iter().filter_map(|connection| {
        keyring::wishes(connection).map_err(|sentence| format!("{}: {sentence}", connection.name)).err()
    });
    let unreadable: Vec<String> = unreadable.collect();
    unreadable.iter().for_each(|sentence| eprintln!("error: {sentence}"));
    let of = |severity| loaded.faults.iter().filter(|fault| fault.severity == severity).count();
    if loaded.is_sound() && unreadable.is_empty() {
        let config = &loaded.config;
        let children: usize = config.connections.iter().map(|connection| connection.children.len()).sum();
        println!(
            "{}: right: {}, {}, {}{}{}",
            file.display(),
            count(config.connections.len(), "connection"),
            if children == 1 { "1 child".to_owned() } else { format!("{children} children") },
            count(config.secrets.len(), "secret"),
            match config.manual.len() {
                0 => String::new(),
                manual => format!(", {}", count(manual, "manually keyed SA")),
            },
            match of(Severity::Warning) {
                0 => String::new(),
                warnings => format!("; {}", count(warnings, "warning")),
            },
        );
        return ExitCode::SUCCESS;
    }
    eprintln!("{}: {}", file.display(), count(of(Severity::Error) + unreadable.len(), "error"));
    ExitCode::FAILURE
}

/// Nothing in a strongswan.conf keeps the daemon from starting, but that it cannot be read at all.
fn check_charon(file: &Path) -> ExitCode {
    let (_, faults) = config::load_charon(file);
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if faults.iter().any(|fault| matches!(fault.place, config::Place::File(_))) {
        return ExitCode::FAILURE;
    }
    match faults.len() {
        0 => println!("{}: all of it is honoured", file.display()),
        number => println!(
            "{}: {} not honoured as written; the rest is",
            file.display(),
            count(number, "entry").replace("entrys", "entries")
        ),
    }
    ExitCode::SUCCESS
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
