//! `keyway import`: from the configuration of another program to one of ours.
//!
//! ```text
//!   ipsec.conf, ipsec.secrets ─┐
//!   IOS `crypto` ──────────────┼─► Draft ─► safe ─► swanctl.conf text
//!   WireGuard ─────────────────┘     └─────────┴──► report: translated · changed for safety · no equivalent
//! ```
//!
//! Each dialect's file reads text into a [`Draft`] and notes what became of every line. No line is passed over in silence. What
//! comes out is held against the same table of keys as any configuration, and what that refuses is taken out, with a note.

mod cisco;
mod draft;
mod ipsec_conf;
mod lines;
mod report;
mod safety;
mod secrets;
mod wireguard;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::draft::Draft;
use self::report::Report;
use crate::cli::{Dialect, Import};

/// Reads files, writes a configuration and prints the report.
///
/// # Errors
/// A file cannot be read or written, or there is nothing in it that could be taken over; one sentence.
pub(crate) fn run(arguments: &Import) -> Result<(), String> {
    let mut files = Vec::new();
    for path in &arguments.files {
        let text = read(path)?;
        files.push(File { name: path.display().to_string(), text });
    }
    let imported = import(&files, arguments.from, &is_own)?;
    match &arguments.output {
        Some(path) => write(path, &imported.text)?,
        None => print!("{}", imported.text),
    }
    eprint!("{}", imported.report);
    Ok(())
}

/// A file to import.
pub(super) struct File {
    /// Its name, for the report.
    pub(super) name: String,
    /// What stands in it.
    pub(super) text: String,
}

/// What came of it.
#[derive(Debug)]
struct Imported {
    /// A swanctl.conf.
    text: String,
    /// What became of every line.
    report: Report,
}

/// Turns files of one dialect into a configuration. `is_own` tells whether an address is this host's.
fn import(
    files: &[File],
    dialect: Option<Dialect>,
    is_own: &dyn Fn(IpAddr) -> bool,
) -> Result<Imported, String> {
    let dialect = dialect.or_else(|| files.iter().find_map(|file| dialect_of(&file.text)));
    let mut draft = Draft::default();
    let mut report = Report::default();
    match dialect {
        None => {
            return Err(
                "none of it looks like ipsec.conf, IOS or WireGuard: name the dialect with --from".to_owned()
            );
        }
        Some(Dialect::Strongswan) => {
            ipsec_conf::read(files, ipsec_conf::Dialect::StrongSwan, is_own, &mut draft, &mut report)
        }
        Some(Dialect::Libreswan) => {
            ipsec_conf::read(files, ipsec_conf::Dialect::Libreswan, is_own, &mut draft, &mut report)
        }
        Some(Dialect::Cisco) => cisco::read(files, &mut draft, &mut report),
        Some(Dialect::Wireguard) => wireguard::read(files, &mut draft, &mut report),
    }
    safety::make_safe(&mut draft, &mut report);
    if draft.connections.is_empty() {
        return Err(format!("there is no connection in it that could be taken over\n{report}"));
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let text = format!("# Imported from {}.\n{}", names.join(", "), vici::text::print(&draft.into_tree()));
    Ok(Imported { text, report })
}

/// Tells the dialect by what no other has.
fn dialect_of(text: &str) -> Option<Dialect> {
    let mut lines = text.lines().map(str::trim);
    if lines.clone().any(|line| line.eq_ignore_ascii_case("[interface]")) {
        return Some(Dialect::Wireguard);
    }
    if lines.clone().any(|line| line.starts_with("crypto ")) {
        return Some(Dialect::Cisco);
    }
    let of_libreswan = [
        "ikev2=",
        "phase2alg=",
        "protostack=",
        "leftsubnets=",
        "rightsubnets=",
        "leftaddresspool=",
        "rightaddresspool=",
        "virtual-private=",
        "virtual_private=",
        "leftxauthserver=",
        "salifetime=",
        "leftrsasigkey=",
    ];
    let squeezed = |line: &str| line.split_whitespace().collect::<String>();
    if lines.clone().any(|line| of_libreswan.iter().any(|key| squeezed(line).starts_with(key))) {
        return Some(Dialect::Libreswan);
    }
    let of_either =
        |line: &str| line.starts_with("conn ") || line.starts_with("config ") || line.contains(": PSK");
    lines.any(of_either).then_some(Dialect::Strongswan)
}

/// Longer is no configuration.
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: String| format!("{} cannot be read: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
    if length > LONGEST_FILE {
        return Err(cannot(format!("of its {length} octets only {LONGEST_FILE} would be read")));
    }
    let octets = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// There are secrets in it.
fn write(path: &PathBuf, text: &str) -> Result<(), String> {
    let cannot = |error| format!("{} cannot be written: {error}", path.display());
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

/// Only an address of this host can be listened at.
fn is_own(address: IpAddr) -> bool {
    !address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests;
