//! `keyway man` and `keyway completions`: pages and scripts made from the definitions that the program itself uses.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory;

use crate::cli::{Cli, Completions, Man};

/// Writes keyway(1), a page for each command, keyway.conf(5) and keyway-traffic(7) under a directory, or keyway(1) to standard output.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn man(arguments: &Man) -> io::Result<()> {
    match &arguments.directory {
        Some(directory) => write_pages(directory),
        None => clap_mangen::Man::new(Cli::command()).render(&mut io::stdout()),
    }
}

/// Writes a shell's completion script to standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn completions(arguments: &Completions) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "keyway", &mut script);
    io::stdout().write_all(&script)
}

fn write_pages(directory: &Path) -> io::Result<()> {
    let [commands, formats, conventions] = ["man1", "man5", "man7"].map(|section| directory.join(section));
    for section in [&commands, &formats, &conventions] {
        fs::create_dir_all(section)?;
    }
    clap_mangen::generate_to(Cli::command(), &commands)?;
    fs::write(formats.join("keyway.conf.5"), config::manual::page())?;
    fs::write(conventions.join("keyway-traffic.7"), TRAFFIC)
}

/// What is captured how on a host, and what is not.
const TRAFFIC: &str = include_str!("../man/keyway-traffic.7");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_its_page_and_the_configuration_too() {
        let directory = std::env::temp_dir().join(format!("keyway-man-{}", std::process::id()));
        write_pages(&directory).expect("the temporary directory can be written");
        let pages = ["man1/keyway.1", "man1/keyway-run.1", "man1/keyway-status.1", "man5/keyway.conf.5"];
        for page in pages.into_iter().chain(["man7/keyway-traffic.7"]) {
            let text = fs::read_to_string(directory.join(page)).expect(page);
            assert!(text.contains(".TH"), "{page} is a man page");
        }
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
