//! The command line: what `--help`, the man pages and the shell completions are all made from.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Where the daemon listens for its clients.
pub(crate) const DEFAULT_SOCKET: &str = "/run/keyway/keyway.vici";

/// Where a daemon with the default socket keeps the leases of its pools.
pub(crate) const DEFAULT_LEASES: &str = "/var/lib/keyway/keyway.leases";

/// Where the daemon looks for its configuration, in this order.
pub(crate) const DEFAULT_CONFIGURATIONS: [&str; 2] = ["/etc/keyway/keyway.toml", "/etc/keyway/swanctl.conf"];

/// Where charon listens for its clients, and the configuration that swanctl loads into it.
pub(crate) const CHARON_SOCKET: &str = "/var/run/charon.vici";
pub(crate) const SWANCTL_CONFIGURATION: &str = "/etc/swanctl/swanctl.conf";
/// What charon is told, beside its connections.
pub(crate) const STRONGSWAN_CONFIGURATION: &str = "/etc/strongswan.conf";

/// IPsec in memory-safe Rust: the daemon and its command line in one program.
#[derive(Debug, Parser)]
#[command(name = "keyway", version, max_term_width = 100, arg_required_else_help = true, after_help = MAIN_EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const MAIN_EXAMPLES: &str = "\
Examples:
  keyway check /etc/keyway/keyway.toml   See whether a configuration is right before it is used
  keyway run                             Run the daemon in the foreground
  keyway up office                       Bring the child `office` up
  keyway status --watch                  See what is up, and how much goes through it
  keyway down office                     Take it down again

strongSwan's tools work too: swanctl --list-sas --uri unix:///run/keyway/keyway.vici";

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground
    Run(Box<Run>),
    /// Bring a child up, and the IKE SA that it needs
    Up(Up),
    /// Take Child SAs or IKE SAs down
    Down(Down),
    /// Replace Child SAs or IKE SAs by new ones, without losing a packet
    Rekey(Rekey),
    /// Show the IKE SAs and their Child SAs, and what is blocked without them
    Status(Status),
    /// Show the pools of virtual addresses, and who has which
    Pools(Pools),
    /// Let pass unprotected what is blocked since its Child SA is not up, or since the daemon has ended
    Unblock(Unblock),
    /// Show what the daemon logs, as it happens
    Log(Log),
    /// Check a configuration without using it
    Check(Check),
    /// Have the daemon read its configuration again
    Reload(Reload),
    /// Show the versions of this program and of the daemon
    Version(Version),
    /// Turn another program's configuration into one of Keyway's: ipsec.conf, IOS, WireGuard
    Import(Import),
    /// Write what other programs need of this daemon: the keys of SAs, for Wireshark
    Export(Export),
    /// Make and check certificates: a CA of one's own, requests, revocation
    Pki(crate::pki::Pki),
    /// Print a shell's completion script
    Completions(Completions),
    /// Write the man pages
    Man(Man),
}

/// `keyway run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// The configuration, as swanctl.conf or, if its name ends in .toml, as TOML [default:
    /// /etc/keyway/keyway.toml or, if that is absent, /etc/keyway/swanctl.conf]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Take strongSwan's place: listen where charon does, at /var/run/charon.vici, and read what swanctl loads, which is
    /// /etc/swanctl/swanctl.conf with the certificates and keys beside it, and what changes the daemon's behaviour in
    /// /etc/strongswan.conf (or $STRONGSWAN_CONF); whatever in there has no effect is logged with what happens instead
    #[arg(long)]
    pub(crate) drop_in: bool,
    /// The Unix socket for `keyway up`, `swanctl` and other clients [default: /run/keyway/keyway.vici]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The TUN device that protected traffic goes through
    #[arg(long, value_name = "NAME", default_value = "keyway0")]
    pub(crate) tun: String,
    /// The largest inner packet in octets [default: what fits Ethernet whatever the algorithms]
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(576..))]
    pub(crate) mtu: Option<u16>,
    /// An address to listen on; may be given more than once [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<std::net::IpAddr>,
    /// Threads that carry packets [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<std::num::NonZeroUsize>,
    /// The file that says what this daemon changed on the host, so that the next start can undo it after a crash
    /// [default: keyway.journal beside the socket]
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// The file in which the leases of virtual addresses outlive a restart [default: /var/lib/keyway/keyway.leases or, with
    /// another socket, keyway.leases beside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) leases: Option<PathBuf>,
    /// Where the name servers go that a peer gives with a virtual address: a file of the form of resolv.conf, or `none`
    /// [default: to systemd-resolved or resolvconf where /etc/resolv.conf is theirs, or else into that file]
    #[arg(long, value_name = "FILE")]
    pub(crate) resolv_conf: Option<PathBuf>,
    /// The file of a secret by which this daemon, after a crash or a restart, convinces peers at once that it has lost its
    /// IKE SAs (RFC 6290); made if it is not there. It has to outlive a restart of the machine [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) crash_secret: Option<PathBuf>,
    /// Keep lists of revoked certificates that were fetched in this directory, for the next run [default: none are kept
    /// beyond the daemon's end]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_crls: Option<PathBuf>,
    /// Let peers send where their certificates are instead of the certificates, and fetch them from there: a request
    /// to wherever a peer says that nobody has believed yet
    #[arg(long)]
    pub(crate) hash_and_url: bool,
    /// A library that speaks PKCS #11 with a maker's tokens, for the keys that `secrets.token` names; may be given more
    /// than once
    #[arg(long, value_name = "[NAME=]PATH")]
    pub(crate) pkcs11_module: Vec<crate::daemon::token::Module>,
    /// How long the first answer to an IKE request may take before the request is repeated [default: 4]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub retransmit_timeout: Option<f64>,
    /// How many times longer each further answer may take [default: 1.8]
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    pub retransmit_base: Option<f64>,
    /// How often an IKE request is repeated before the peer counts as dead; with the two above, after 165 seconds
    /// [default: 5]
    #[arg(long, value_name = "N")]
    pub retransmit_tries: Option<u32>,
    /// The largest IP packet in octets that an IKE message may make before it is cut into fragments (RFC 7383)
    /// [default: 1280]
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(256..))]
    pub fragment_size: Option<u16>,
    /// What to log: error, warn, info, debug, trace, or the same for one part, as in info,ike=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "KEYWAY_LOG")]
    pub(crate) log: Option<String>,
    /// How to write the log to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Write every IKE message, decrypted and in words, to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace_messages: Option<PathBuf>,
    /// DANGEROUS: write the keys of all SAs to this directory as Wireshark's decryption tables; whoever reads them
    /// reads the traffic
    #[arg(long, value_name = "DIR")]
    pub(crate) disclose_keys: Option<PathBuf>,
}

impl Run {
    /// Where to listen for clients.
    pub(crate) fn socket(&self) -> PathBuf {
        let usual = if self.drop_in { CHARON_SOCKET } else { DEFAULT_SOCKET };
        self.socket.clone().unwrap_or_else(|| usual.into())
    }

    /// The files that may hold the configuration, in order of preference.
    pub(crate) fn configurations(&self) -> Vec<PathBuf> {
        match (&self.config, self.drop_in) {
            (Some(named), _) => vec![named.clone()],
            (None, true) => vec![SWANCTL_CONFIGURATION.into()],
            (None, false) => DEFAULT_CONFIGURATIONS.map(PathBuf::from).to_vec(),
        }
    }
}

const RUN_EXAMPLES: &str = "\
Examples:
  keyway run
  keyway run --config site.toml --log info,ike=debug
  keyway run --drop-in

Signals: SIGHUP reads the configuration again; SIGTERM and SIGINT delete the SAs, undo every change to the host, and end.
What was protected stays blocked then, until the daemon runs again or `keyway unblock` lets it pass.";

/// `keyway import`.
#[derive(Args, Debug)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(crate) struct Import {
    /// The files: ipsec.conf with ipsec.secrets, a router's configuration, or those of wg-quick
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Whose they are [default: what they look like]
    #[arg(long, value_name = "DIALECT", value_enum)]
    pub(crate) from: Option<Dialect>,
    /// The file to write, which must not be there yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Another program's way to write a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// ipsec.conf and ipsec.secrets of strongSwan's starter (`ipsec up`)
    Strongswan,
    /// ipsec.conf and ipsec.secrets of Libreswan
    Libreswan,
    /// The `crypto` configuration of a router with IOS
    Cisco,
    /// The files of wg-quick
    Wireguard,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  keyway import /etc/ipsec.conf /etc/ipsec.secrets --output /etc/keyway/swanctl.conf
  keyway import router.cfg > site.conf

The report goes to standard error: what was translated, what was changed for safety, what has no equivalent. Read it, and
see what `keyway check` says of the result, before it is used.";

/// `keyway export`.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// What to write
    #[command(subcommand)]
    pub(crate) what: Exported,
}

/// What can be exported.
#[derive(Debug, Subcommand)]
pub(crate) enum Exported {
    /// DANGEROUS: write the keys of SAs that come up from now on as Wireshark's decryption tables, until interrupted
    Wireshark(Wireshark),
}

/// `keyway export wireshark`.
#[derive(Args, Debug)]
#[command(after_help = WIRESHARK_EXAMPLES)]
pub(crate) struct Wireshark {
    /// The directory for the tables, which only their owner can read; the daemon must be allowed to write there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Stop after so many seconds [default: when interrupted]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: Option<u32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

const WIRESHARK_EXAMPLES: &str = "\
Examples:
  keyway export wireshark /run/keyway/keys --seconds 60     and meanwhile: keyway rekey headquarters --ike
  tshark -r capture.pcap -o esp.enable_encryption_decode:TRUE        with the tables in Wireshark's own directory

Whoever reads these files reads the traffic. SAs that are up already are not in them: have them rekeyed.";

/// Reads a number of seconds, or a factor.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is wanted, such as 4 or 0.5".to_owned()),
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// Where a client finds the daemon.
#[derive(Args, Clone, Debug)]
pub(crate) struct Daemon {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, env = "KEYWAY_SOCKET")]
    pub(crate) socket: PathBuf,
}

/// `keyway up`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keyway up office\n  keyway up office --ike headquarters --timeout 30")]
pub(crate) struct Up {
    /// The child's name in the configuration
    #[arg(value_name = "CHILD", required_unless_present = "ike")]
    pub(crate) child: Option<String>,
    /// The connection that it belongs to; alone, brings up the IKE SA without a child
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) ike: Option<String>,
    /// How long to wait, in seconds; 0 is without end
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) timeout: u32,
    /// Show what the daemon logs meanwhile
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway down`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway down office\n  keyway down headquarters --ike\n  keyway down 3 --ike"
)]
pub(crate) struct Down {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) which: Which,
    /// Do not wait for the peer to confirm that its IKE SA is deleted
    #[arg(long, requires = "ike")]
    pub(crate) force: bool,
    /// How long to wait, in seconds; 0 is without end
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) timeout: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway rekey`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keyway rekey office\n  keyway rekey headquarters --ike")]
pub(crate) struct Rekey {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) which: Which,
    /// Have both ends prove anew who they are, in a whole new IKE SA
    #[arg(long, requires = "ike")]
    pub(crate) reauth: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// Which SAs a command is about.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// The child's name, or the number that `keyway status` shows in braces
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// NAME is a connection's name, or the number that `keyway status` shows after #, and its IKE SA is meant
    #[arg(long)]
    pub(crate) ike: bool,
}

/// `keyway status`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway status\n  keyway status --watch\n  keyway status --json | jq '.ike_sas[].name'"
)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long, conflicts_with_all = ["watch", "drops"])]
    pub(crate) json: bool,
    /// Show it again each second, with rates
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Show why packets were dropped
    #[arg(long)]
    pub(crate) drops: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) journal: Journal,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway pools`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keyway pools\n  keyway pools --json | jq '.[].leases[].identity'")]
pub(crate) struct Pools {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway unblock`.
#[derive(Args, Debug)]
#[command(after_help = UNBLOCK_EXAMPLES)]
pub(crate) struct Unblock {
    /// The child's name; without it, everything that is blocked passes, with what earlier runs of the daemon left
    #[arg(value_name = "CHILD")]
    pub(crate) child: Option<String>,
    /// The connection that it belongs to
    #[arg(long, value_name = "CONNECTION", requires = "child")]
    pub(crate) ike: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) journal: Journal,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

const UNBLOCK_EXAMPLES: &str = "\
Examples:
  keyway unblock office   Let the traffic of the child `office` pass, which is not up
  keyway unblock          Let everything pass that is only blocked, also if the daemon does not run

A child that is up is taken down by `keyway down`.";

/// Where the daemon has written down what it changed on this host.
#[derive(Args, Clone, Debug)]
pub(crate) struct Journal {
    /// The daemon's journal, for when it does not run [default: keyway.journal beside the socket]
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

/// `keyway log`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  keyway log --follow\n\nWhat happened before is in the daemon's standard error, as in: journalctl -u keyway"
)]
pub(crate) struct Log {
    /// Go on until interrupted; without it, the daemon's recent lines are printed
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway check`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keyway check site.toml\n  keyway check /etc/swanctl/swanctl.conf && systemctl reload keyway"
)]
pub(crate) struct Check {
    /// The configuration
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `keyway reload`.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway version`.
#[derive(Args, Debug)]
pub(crate) struct Version {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) daemon: Daemon,
}

/// `keyway completions`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  keyway completions bash > /etc/bash_completion.d/keyway")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `keyway man`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keyway man /usr/local/share/man\n  keyway man | man -l -")]
pub(crate) struct Man {
    /// Where to write man1/ and man5/; without it, keyway(1) goes to standard output
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
