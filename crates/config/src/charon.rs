//! What a strongswan.conf says to the daemon, for whoever puts Keyway in charon's place.
//!
//! Its syntax is that of swanctl.conf. What cannot be honoured is told by name, with what happens instead; nothing in it keeps
//! the daemon from starting, as nothing in it keeps charon.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use vici::text;
use vici::{Node, Sources, Span, Tree};

use crate::audit::audit;
use crate::fault::{Fault, Faults, Place, Severity};
use crate::files::{self, Disk};
use crate::material::Nowhere;
use crate::reader::Reader;
use crate::schema::{OptionalKey, Shape};
use crate::table::charon::*;
use crate::value::{Unreadable, yes_or_no};

/// What a strongswan.conf says, every default in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Charon {
    /// How IKE requests are repeated.
    pub retransmission: Retransmission,
    /// The largest IP packet in octets that an IKE message may make before it is cut into fragments.
    pub fragment_size: u16,
    /// What is put up with of strangers.
    pub strangers: Strangers,
    /// How long we may be silent before a NAT might forget us; zero is for ever.
    pub keep_alive: Duration,
    /// Whether certificates are fetched from where peers say that they are.
    pub look_up: LookUp,
    /// Whether fetched lists outlive the daemon.
    pub crl_cache: CrlCache,
    /// Whether virtual addresses are put on the host.
    pub virtual_addresses: AddressUse,
    /// The routing table that leads to the TUN device.
    pub routing_table: u32,
    /// The priority of its rule.
    pub rule_priority: u32,
    /// Name servers for every client.
    pub dns: Vec<IpAddr>,
    /// Name servers of NetBIOS for every client.
    pub nbns: Vec<IpAddr>,
    /// Whether aggressive mode with pre-shared keys needs no further consent.
    pub aggressive_secrets: AggressiveSecrets,
    /// What each part of the daemon is to log; empty is as usual.
    pub log: Vec<(LogPart, Level)>,
    /// Where the management interface is.
    pub socket: Option<String>,
}

/// How IKE requests are repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Retransmission {
    /// Seconds that the first answer may take.
    pub timeout: f64,
    /// How many times longer each further one may take.
    pub base: f64,
    /// How often a request is repeated.
    pub tries: u32,
    /// How much of each wait is cut off at random, at most.
    pub jitter_percent: u8,
    /// The longest single wait.
    pub limit: Duration,
}

/// What is put up with of strangers; no bound is the largest number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strangers {
    /// How long one may take to prove who it is.
    pub timeout: Duration,
    /// How many IKE SAs are half open before cookies are asked for.
    pub before_cookies: usize,
    /// How many of one address.
    pub of_one_before_cookies: usize,
    /// How many of one address there may be.
    pub of_one: usize,
    /// How many there may be.
    pub in_total: usize,
    /// How many IKE SAs there may be of all kinds before strangers are ignored.
    pub ike_sas: usize,
}

/// Whether certificates are fetched from where peers say that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// They are not.
    Never,
    /// They are.
    Allowed,
}

/// Whether fetched lists of revoked certificates outlive the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlCache {
    /// They do not.
    Memory,
    /// They do.
    Disk,
}

/// What becomes of a virtual address that a peer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressUse {
    /// It is put on the host.
    Installed,
    /// The administrator puts it there.
    LeftAlone,
}

/// Whether this host is ever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Both,
    Initiator,
}

/// Whether aggressive mode with pre-shared keys needs the consent of each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AggressiveSecrets {
    /// It does.
    #[default]
    AskEach,
    /// The administrator has consented for all of them.
    Consented,
}

/// How much is logged, as charon counts: -1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub i8);

/// A part of the daemon that logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogPart {
    /// All that have no level of their own.
    All,
    /// IKE SAs.
    Ike,
    /// Child SAs.
    Child,
    /// The configuration.
    Configuration,
    /// Sockets, devices and routes.
    DataPlane,
    /// Packets.
    Packets,
}

/// Reads a strongswan.conf and what it includes; faults are all that is not honoured as it stands there.
pub fn load_charon(path: &Path) -> (Charon, Vec<Fault>) {
    match files::read(path) {
        Ok(text) => load(&path.display().to_string(), &text, &mut Disk),
        Err(fault) => {
            let fault = Fault {
                severity: Severity::Error,
                place: Place::File(path.display().to_string()),
                key: String::new(),
                message: format!("it cannot be read: {fault}"),
                help: String::new(),
            };
            (Charon::default(), vec![fault])
        }
    }
}

fn load(name: &str, text: &str, includes: &mut dyn text::Includes) -> (Charon, Vec<Fault>) {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let settings = text::parse(&mut sources, file, includes);
    let faults = Faults::new(&sources);
    let charon = match settings {
        Ok(settings) => charon(&without_empty(&settings.tree), &faults),
        Err(found) => {
            for fault in found {
                faults.error(fault.span, &fault.section, fault.message, fault.help);
            }
            Charon::default()
        }
    };
    (charon, faults.into_vec())
}

/// Debian's file has many sections with nothing in them, of which nothing need be said.
fn without_empty(tree: &Tree) -> Tree {
    let kept = tree.entries.iter().filter_map(|entry| match &entry.node {
        Node::Section(inner) => {
            let inner = without_empty(inner);
            let entry = vici::Entry { node: Node::Section(inner.clone()), ..entry.clone() };
            (!inner.entries.is_empty()).then_some(entry)
        }
        Node::Value(_) | Node::List(_) => Some(entry.clone()),
    });
    Tree { entries: kept.collect() }
}

fn charon(tree: &Tree, faults: &Faults<'_>) -> Charon {
    let root = reader(tree, faults);
    audit(&root, &STRONGSWAN);
    // charon-systemd's own section counts more than the one that all charons share.
    let sections = [tree.section("charon-systemd"), tree.section("charon")];
    let merged = sections.into_iter().flatten().fold(Tree::new(), overlaid);
    read(&reader(&merged, faults))
}

fn reader<'a>(tree: &'a Tree, faults: &'a Faults<'a>) -> Reader<'a> {
    let consent = AggressiveSecrets::AskEach;
    Reader { tree, path: String::new(), span: Span::NOWHERE, faults, folders: &Nowhere, consent }
}

/// Adds what is not there yet.
fn overlaid(mut over: Tree, under: &Tree) -> Tree {
    for entry in &under.entries {
        let mut same = over.entries.iter_mut().filter(|known| known.name == entry.name);
        match (same.next(), &entry.node) {
            (None, _) => over.entries.push(entry.clone()),
            (Some(known), Node::Section(under)) => {
                if let Node::Section(over) = &known.node {
                    known.node = Node::Section(overlaid(over.clone(), under));
                }
            }
            (Some(_), Node::Value(_) | Node::List(_)) => {}
        }
    }
    over
}

fn read(charon: &Reader<'_>) -> Charon {
    let addresses =
        |keys: [&OptionalKey<IpAddr>; 2]| keys.into_iter().filter_map(|key| charon.maybe(key)).collect();
    let limit = charon.one(&RETRANSMIT_LIMIT);
    Charon {
        retransmission: Retransmission {
            timeout: charon.one(&RETRANSMIT_TIMEOUT),
            base: charon.one(&RETRANSMIT_BASE),
            tries: charon.one(&RETRANSMIT_TRIES),
            jitter_percent: charon.one(&RETRANSMIT_JITTER),
            limit: if limit.is_zero() { LONGEST_WAIT } else { limit },
        },
        fragment_size: charon.one(&FRAGMENT_SIZE).clamp(LEAST_FRAGMENT, u16::MAX.into()) as u16,
        strangers: strangers(charon),
        keep_alive: charon.one(&KEEP_ALIVE),
        look_up: charon.one(&HASH_AND_URL),
        crl_cache: charon.one(&CACHE_CRLS),
        virtual_addresses: charon.one(&INSTALL_VIRTUAL_IP),
        routing_table: charon.one(&ROUTING_TABLE),
        rule_priority: charon.one(&ROUTING_TABLE_PRIO),
        dns: addresses([&DNS1, &DNS2]),
        nbns: addresses([&NBNS1, &NBNS2]),
        aggressive_secrets: charon.one(&AGGRESSIVE_SECRETS),
        log: log(charon),
        socket: socket(charon),
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// What the command line wants at least, too.
const LEAST_FRAGMENT: u32 = 256;

fn strangers(charon: &Reader<'_>) -> Strangers {
    let bound = |number: u32| if number == 0 { usize::MAX } else { number as usize };
    let in_total = match charon.one(&INITIATOR_ONLY) {
        Role::Initiator => 0,
        Role::Both => match charon.one(&INIT_LIMIT) {
            0 => MOST_HALF_OPEN,
            number => number as usize,
        },
    };
    Strangers {
        timeout: charon.one(&HALF_OPEN_TIMEOUT),
        before_cookies: bound(charon.one(&COOKIE_THRESHOLD)),
        of_one_before_cookies: bound(charon.one(&COOKIE_THRESHOLD_IP)),
        of_one: bound(charon.one(&BLOCK_THRESHOLD)),
        in_total,
        ike_sas: bound(charon.one(&IKESA_LIMIT)),
    }
}

const MOST_HALF_OPEN: usize = 20_000;

/// Gives for each part the most that any of the logs wants to know.
fn log(charon: &Reader<'_>) -> Vec<(LogPart, Level)> {
    let kept = ["filelog", "syslog"].into_iter().flat_map(|kind| {
        let sections = charon.sections(kind).into_iter().filter(move |section| section.name() == kind);
        sections.flat_map(|section| section.sections(""))
    });
    let journal = charon.sections("journal").into_iter().filter(|section| section.name() == "journal");
    let mut wanted: Vec<(LogPart, Level)> = Vec::new();
    for logger in kept.chain(journal) {
        let usual = logger.one(&LOG_DEFAULT);
        let parts = [
            (LogPart::All, None),
            (LogPart::Ike, Some(&LOG_IKE)),
            (LogPart::Child, Some(&LOG_CHD)),
            (LogPart::Configuration, Some(&LOG_CFG)),
            (LogPart::DataPlane, Some(&LOG_KNL)),
            (LogPart::DataPlane, Some(&LOG_NET)),
            (LogPart::Packets, Some(&LOG_ESP)),
        ];
        for (part, key) in parts {
            let level = key.and_then(|key| logger.maybe(key)).unwrap_or(usual);
            match wanted.iter_mut().find(|(known, _)| *known == part) {
                Some((_, most)) => *most = level.max(*most),
                None => wanted.push((part, level)),
            }
        }
    }
    wanted
}

fn socket(charon: &Reader<'_>) -> Option<String> {
    let plugins = charon.sections("plugins");
    let vici = plugins.iter().flat_map(|plugins| plugins.sections("vici"));
    vici.filter(|section| section.name() == "vici").find_map(|section| section.maybe(&VICI_SOCKET))
}

impl Default for Charon {
    /// What holds without a strongswan.conf.
    fn default() -> Charon {
        let sources = Sources::default();
        read(&reader(&Tree::new(), &Faults::new(&sources)))
    }
}

pub(crate) const DECIMAL: Shape<f64> = Shape {
    words: "number",
    read: |text| match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(Unreadable::new(
            format!("`{text}` is not a number above 0"),
            "write a number such as 4 or 0.5",
        )),
    },
};

pub(crate) const PERCENT: Shape<u8> = Shape {
    words: "percent",
    read: |text| match text.parse() {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err(Unreadable::new(format!("`{text}` is not a share from 0 to 100"), "")),
    },
};

pub(crate) const LEVEL: Shape<Level> = Shape {
    words: "-1 to 4",
    read: |text| match text.parse() {
        Ok(level) if (-1..=4).contains(&level) => Ok(Level(level)),
        _ => Err(Unreadable::new(format!("`{text}` is not a level from -1 to 4"), "")),
    },
};

pub(crate) const LOOK_UP: Shape<LookUp> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, LookUp::Allowed, LookUp::Never) };

pub(crate) const CACHE: Shape<CrlCache> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, CrlCache::Disk, CrlCache::Memory) };

pub(crate) const INSTALL_ADDRESS: Shape<AddressUse> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, AddressUse::Installed, AddressUse::LeftAlone) };

pub(crate) const ROLE: Shape<Role> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Role::Initiator, Role::Both) };

pub(crate) const CONSENT: Shape<AggressiveSecrets> = Shape {
    words: "yes or no",
    read: |text| yes_or_no(text, AggressiveSecrets::Consented, AggressiveSecrets::AskEach),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Section, Status};
    use vici::text::NoIncludes;

    fn loaded(text: &str) -> (Charon, Vec<String>) {
        let (charon, faults) = load("strongswan.conf", text, &mut NoIncludes);
        (charon, faults.iter().map(Fault::sentence).collect())
    }

    #[test]
    fn nothing_is_what_holds_without_it() {
        assert_eq!(loaded(""), (Charon::default(), Vec::new()));
        // Debian's file, as it is installed.
        let debian = "charon {\n crypto_test {\n }\n host_resolver {\n }\n plugins {\n aes {\n load = yes\n }\n vici {\n load = yes\n }\n }\n \
                      load_modular = yes\n}\nstarter {\n}\npool {\n}\n";
        assert_eq!(loaded(debian), (Charon::default(), Vec::new()));
    }

    #[test]
    fn what_is_honoured_arrives() {
        let text = "
            charon {
              retransmit_timeout = 2.5
              retransmit_tries = 3
              cookie_threshold = 0
              block_threshold = 9
              ikesa_limit = 1000
              keep_alive = 1m
              hash_and_url = yes
              install_virtual_ip = no
              dns1 = 10.0.0.53
              dns2 = fd00::53
              nbns1 = 10.0.0.54
              i_dont_care_about_security_and_use_aggressive_mode_psk = yes
              filelog {
                main {
                  default = 0
                  ike = 2
                }
              }
              syslog {
                daemon {
                  default = 1
                  ike = -1
                }
              }
              plugins {
                vici {
                  socket = unix:///run/other.vici
                }
              }
            }
            charon-systemd {
              retransmit_tries = 4
            }";
        let (charon, faults) = loaded(text);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((charon.retransmission.timeout, charon.retransmission.tries), (2.5, 4));
        assert_eq!((charon.strangers.before_cookies, charon.strangers.of_one), (usize::MAX, 9));
        assert_eq!((charon.strangers.ike_sas, charon.strangers.in_total), (1000, 20_000));
        assert_eq!(charon.keep_alive, Duration::from_secs(60));
        assert_eq!((charon.look_up, charon.virtual_addresses), (LookUp::Allowed, AddressUse::LeftAlone));
        assert_eq!((charon.dns.len(), charon.nbns.len()), (2, 1));
        assert_eq!(charon.aggressive_secrets, AggressiveSecrets::Consented);
        let level = |part| charon.log.iter().find(|(known, _)| *known == part).map(|(_, level)| level.0);
        assert_eq!(
            (level(LogPart::All), level(LogPart::Ike), level(LogPart::Child)),
            (Some(1), Some(2), Some(1))
        );
        assert_eq!(charon.socket.as_deref(), Some("unix:///run/other.vici"));
        assert_eq!(loaded("charon {\n initiator_only = yes\n}").0.strangers.in_total, 0);
    }

    #[test]
    fn what_is_not_honoured_is_named_with_what_happens_instead() {
        let (_, faults) = loaded(
            "charon {\n install_routes = no\n nonsense = 1\n retransmit_base = x\n plugins {\n kernel-netlink {\n fwmark = !0x42\n }\n }\n \
             start-scripts {\n creds = swanctl --load-creds\n }\n}\nstarter {\n load_warning = no\n}",
        );
        let said = [
            "charon.install_routes: `install_routes` has no effect: without a route nothing reaches the TUN device",
            "charon.nonsense: unknown key `nonsense`",
            "charon.plugins.kernel-netlink.fwmark: `fwmark` has no effect: there are no plugins",
            "charon.start-scripts: `start-scripts` has no effect: they are not run",
            "starter: `starter` has no effect: it is for a program of strongSwan's",
            "`x` is not a number above 0",
        ];
        for said in said {
            assert!(faults.iter().any(|fault| fault.contains(said)), "{said}: {faults:?}");
        }
        assert_eq!(faults.len(), said.len(), "{faults:?}");
    }

    /// The keys that strongswan.conf(5) of 5.9.8 has for charon itself.
    const OF_STRONGSWAN: &str = include_str!("../tests/strongswan.keys");

    #[test]
    fn every_key_of_strongswan_is_known() {
        let mut tried = 0;
        for path in OF_STRONGSWAN.lines() {
            let written = path.replace("<subsystem>", "ike").replace(['<', '>'], "");
            let names: Vec<&str> = written.split('.').collect();
            assert!(STRONGSWAN.knows(&names), "{path}");
            tried += 1;
        }
        assert_eq!(tried, 143);
    }

    fn ignored(section: &'static Section, path: &str, seen: &mut usize) {
        for row in section.others {
            let Status::Ignored { harmless, .. } = row.status else {
                panic!("{path}.{} is refused", row.name)
            };
            let name = row.name.replace('*', "_type");
            let nested = |value: &str| {
                path.split('.')
                    .rev()
                    .fold(format!("{name} = {value}\n"), |inner, name| format!("{name} {{\n{inner}}}\n"))
            };
            assert_eq!(loaded(&nested("something-else")).1.len(), 1, "{path}.{name}");
            for word in harmless {
                assert_eq!(loaded(&nested(word)).1, Vec::<String>::new(), "{path}.{name} = {word}");
            }
            *seen += 1;
        }
    }

    #[test]
    fn nothing_is_swallowed() {
        let mut seen = 0;
        ignored(&CHARON, "charon", &mut seen);
        ignored(&LOGGER, "charon.filelog.stderr", &mut seen);
        ignored(&VICI, "charon.plugins.vici", &mut seen);
        ignored(&PLUGIN, "charon.plugins.attr", &mut seen);
        assert!(seen >= 79, "only {seen} keys were tried");
    }
}
