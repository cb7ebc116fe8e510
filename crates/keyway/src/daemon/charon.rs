//! `--drop-in`: what a strongswan.conf says to the daemon, under what the command line says.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use config::{Charon, CrlCache, Fault, Level, LogPart, LookUp};

use crate::cli::{DEFAULT_LEASES, Run, STRONGSWAN_CONFIGURATION};

/// Reads the strongswan.conf that charon would read; without `--drop-in`, or where there is none, all is as usual.
pub(crate) fn read(arguments: &Run) -> (Charon, Vec<Fault>) {
    let named = env::var_os("STRONGSWAN_CONF").map(PathBuf::from);
    let usual = || Some(PathBuf::from(STRONGSWAN_CONFIGURATION)).filter(|path| path.exists());
    match named.or_else(usual) {
        Some(path) if arguments.drop_in => config::load_charon(&path),
        Some(_) | None => (Charon::default(), Vec::new()),
    }
}

/// Says what in it has no effect, and what happens instead.
pub(crate) fn report(faults: &[Fault]) {
    for fault in faults {
        tracing::warn!(target: "config", place = super::configuration::place(fault), "strongswan.conf: {}", fault.sentence());
    }
}

/// Gives the command line with what it leaves out as strongswan.conf has it.
pub(crate) fn settled(arguments: &Run, charon: &Charon) -> Run {
    let mut settled = arguments.clone();
    if settled.leases.is_none() {
        settled.leases = Some(super::lease_file(arguments));
    }
    if settled.socket.is_none() {
        settled.socket = charon.socket.as_deref().and_then(socket);
    }
    settled.hash_and_url |= charon.look_up == LookUp::Allowed;
    if settled.cache_crls.is_none() && charon.crl_cache == CrlCache::Disk {
        settled.cache_crls = Some(Path::new(DEFAULT_LEASES).with_file_name("crls"));
    }
    settled
}

/// Gives the path of charon's way to name a socket.
fn socket(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("unix://");
    if path.is_none() {
        tracing::warn!(target: "config", "strongswan.conf: `socket = {uri}` has no effect: only unix:// can be listened to");
    }
    path.map(PathBuf::from)
}

/// Gives the filter of the log that tells what charon would have told.
pub(crate) fn log_filter(wanted: &[(LogPart, Level)]) -> String {
    if wanted.is_empty() {
        return "info".to_owned();
    }
    let mut wanted = wanted.to_vec();
    wanted.sort_by_key(|(part, _)| *part);
    let directives = wanted.into_iter().map(|(part, Level(level))| {
        let level = match level {
            i8::MIN..0 => "error",
            0 => "warn",
            1 => "info",
            // What is told of each packet is no help to anybody who reads the rest.
            2.. => "debug",
        };
        match part {
            LogPart::All => level.to_owned(),
            LogPart::Ike => format!("ike={level}"),
            LogPart::Child => format!("ike::child={level}"),
            LogPart::Configuration => format!("config={level}"),
            LogPart::DataPlane => format!("dataplane={level}"),
            LogPart::Packets => format!("ipsec={level}"),
        }
    });
    directives.collect::<Vec<_>>().join(",")
}

/// What every client with a virtual address is told beside what its pool has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForClients {
    /// Name servers.
    pub(crate) dns: Vec<IpAddr>,
    /// Name servers of NetBIOS.
    pub(crate) nbns: Vec<Ipv4Addr>,
}

impl ForClients {
    /// Adds it to a pool.
    pub(crate) fn added_to(&self, mut pool: ike::Pool) -> ike::Pool {
        pool.dns.extend(&self.dns);
        pool.nbns.extend(&self.nbns);
        pool
    }
}

/// NetBIOS knows no others.
pub(crate) fn version_4(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let v4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(v4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charons_levels_make_a_filter_that_can_be_read() {
        assert_eq!(log_filter(&[]), "info");
        let wanted = [
            (LogPart::Ike, Level(2)),
            (LogPart::All, Level(-1)),
            (LogPart::Child, Level(1)),
            (LogPart::Packets, Level(4)),
            (LogPart::DataPlane, Level(0)),
        ];
        let filter = log_filter(&wanted);
        assert_eq!(filter, "error,ike=debug,ike::child=info,dataplane=warn,ipsec=debug");
        tracing_subscriber::EnvFilter::try_new(&filter).expect("it can be read");
    }

    #[test]
    fn a_socket_is_named_as_charon_does() {
        assert_eq!(socket("unix:///run/x.vici"), Some(PathBuf::from("/run/x.vici")));
        assert_eq!(socket("tcp://127.0.0.1:4502"), None);
    }
}
