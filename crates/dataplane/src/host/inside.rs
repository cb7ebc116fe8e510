//! What a peer gives this host: virtual addresses on the TUN device, and name servers.
//!
//! ```text
//!   /etc/resolv.conf is systemd-resolved's   resolvectl dns keyway0 10.2.0.53      the link's own servers, gone with the link
//!   /etc/resolv.conf is resolvconf's         resolvconf -a keyway0.ike             a record beside those of other programs
//!   otherwise                                lines of ours in the file, between two that say so
//! ```
//!
//! Whoever manages the file stays its manager: where there is one, it is told, and decides. Where there is none, our lines stand
//! between marks, so that taking them away leaves what others wrote meanwhile as it is, and needs no copy of a file as it once
//! was. An address goes with the device that has it; name servers are in the journal before they are in place.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use sa::Family;

use super::Host;
use super::journal::Entry;
use crate::limits::NAME_SERVERS;
use crate::settings::NameServices;

/// The name servers that peers have given, and who is told of them.
#[derive(Debug)]
pub(super) struct Names {
    place: Option<NamesPlace>,
    /// By the connection that they came by.
    told: BTreeMap<String, Told>,
    stands: bool,
    /// The last program that was told; the next waits for it.
    telling: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Told {
    servers: Vec<IpAddr>,
    domain: Option<String>,
}

/// Where name servers are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamesPlace {
    /// Between marks in a file of the form of resolv.conf(5).
    File(PathBuf),
    /// In a record of this name, of resolvconf(8).
    Resolvconf(String),
    /// With the link of this name, of resolvectl(1).
    Resolved(String),
}

impl Host {
    /// Gives the TUN device a virtual address; gives a sentence if the kernel refuses.
    pub(crate) fn take_address(&mut self, address: IpAddr) -> Vec<String> {
        let result = self.netlink.add_address(self.device, address, Family::of(address).bits());
        let sentence = |error| format!("cannot take the virtual address {address}: {error}");
        result.err().map(sentence).into_iter().collect()
    }

    /// Takes a virtual address from the TUN device; gives a sentence if the kernel refuses.
    pub(crate) fn drop_address(&mut self, address: IpAddr) -> Vec<String> {
        let result = self.netlink.remove_address(self.device, address, Family::of(address).bits());
        let sentence = |error| format!("cannot give the virtual address {address} up: {error}");
        result.err().map(sentence).into_iter().collect()
    }

    /// Has this host ask name servers; gives a sentence if that cannot be.
    pub(crate) fn take_name_servers(
        &mut self,
        connection: String,
        servers: Vec<IpAddr>,
        domain: Option<String>,
    ) -> Vec<String> {
        if self.names.place.is_none() {
            tracing::info!(connection, "name servers of the peer are left alone");
            return Vec::new();
        }
        // It is a stranger's word, and other programs read the file.
        let domain = domain.filter(|domain| is_domain(domain));
        self.names.told.insert(connection, Told { servers, domain });
        if !self.names.stands {
            self.names.stands = true;
            self.write_journal();
        }
        self.names.put_in_place().into_iter().collect()
    }

    /// Has it ask them no more.
    pub(crate) fn drop_name_servers(&mut self, connection: &str) -> Vec<String> {
        if self.names.told.remove(connection).is_none() {
            return Vec::new();
        }
        let complaint = self.names.put_in_place();
        if self.names.told.is_empty() && complaint.is_none() {
            self.names.stands = false;
            self.write_journal();
        }
        complaint.into_iter().collect()
    }
}

impl Names {
    /// Finds out who is to be told.
    pub(super) fn of(services: &NameServices, device: &str) -> Names {
        let place = match services {
            NameServices::LeftAlone => None,
            NameServices::File(path) => Some(NamesPlace::File(path.clone())),
            NameServices::Found => Some(found(Path::new("/etc/resolv.conf"), device)),
        };
        Names { place, told: BTreeMap::new(), stands: false, telling: None }
    }

    /// Gives what the journal says of them.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        self.place.clone().filter(|_| self.stands).map(Entry::Names).into_iter()
    }

    /// Takes everything away; gives what stays because it cannot be.
    pub(super) fn undo(mut self) -> Option<Entry> {
        self.told.clear();
        let complaint = if self.stands { self.put_in_place() } else { None };
        if let Some(telling) = self.telling.take() {
            // It has said itself what it could not do.
            let _ = telling.join();
        }
        let complaint = complaint?;
        tracing::error!("{complaint}");
        self.place.map(Entry::Names)
    }

    /// Makes the place say what is told now; gives a sentence if that cannot be.
    fn put_in_place(&mut self) -> Option<String> {
        let mut servers: Vec<IpAddr> = Vec::new();
        for server in self.told.values().flat_map(|told| &told.servers) {
            if !servers.contains(server) && servers.len() < NAME_SERVERS {
                servers.push(*server);
            }
        }
        let domain = self.told.values().find_map(|told| told.domain.as_deref());
        let command = match self.place.as_ref()? {
            NamesPlace::File(path) => {
                let edited = edit(path, |text| with_ours(text, &servers, domain));
                return edited.err().map(|error| cannot(path.display(), &error));
            }
            NamesPlace::Resolvconf(record) => resolvconf(record, &servers, domain),
            NamesPlace::Resolved(link) => resolvectl(link, &servers, domain),
        };
        let before = self.telling.take();
        let telling = thread::Builder::new().name("names".to_owned()).spawn(move || {
            if let Some(before) = before {
                // It has said itself what it could not do.
                let _ = before.join();
            }
            for (arguments, input) in command {
                if let Err(error) = tell(&arguments, &input) {
                    tracing::error!("{}", cannot(arguments.join(" "), &error));
                }
            }
        });
        match telling {
            Ok(telling) => {
                self.telling = Some(telling);
                None
            }
            Err(error) => Some(cannot("another program", &error)),
        }
    }
}

impl NamesPlace {
    /// Takes away what a run left that ended without a word. That it cannot be taken away keeps no other run from starting.
    pub(super) fn sweep(&self) {
        let swept = match self {
            NamesPlace::File(path) => edit(path, |text| with_ours(text, &[], None)),
            NamesPlace::Resolvconf(record) => tell_all(resolvconf(record, &[], None)),
            // What it was told went with the link.
            NamesPlace::Resolved(_) => Ok(()),
        };
        if let Err(error) = swept {
            tracing::error!(%error, "name servers that a crashed run left stay");
        }
    }
}

fn cannot(place: impl fmt::Display, error: &io::Error) -> String {
    format!("cannot have name servers as the peer wants, by way of {place}: {error}")
}

/// Finds who manages the resolver's file.
fn found(file: &Path, device: &str) -> NamesPlace {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let leads_to = |part: &str| target.to_string_lossy().contains(part);
    let is_generated = || {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().next().is_some_and(|line| line.contains("resolvconf"))
    };
    if leads_to("/systemd/resolve/") && is_installed("resolvectl") {
        NamesPlace::Resolved(device.to_owned())
    } else if (leads_to("/resolvconf/") || is_generated()) && is_installed("resolvconf") {
        NamesPlace::Resolvconf(format!("{device}.ike"))
    } else {
        NamesPlace::File(file.to_owned())
    }
}

fn is_installed(program: &str) -> bool {
    ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

/// A command line, and what it reads.
type Telling = (Vec<String>, String);

fn resolvconf(record: &str, servers: &[IpAddr], domain: Option<&str>) -> Vec<Telling> {
    let arguments = |what: &str| ["resolvconf", what, record].map(str::to_owned).to_vec();
    if servers.is_empty() {
        vec![(arguments("-d"), String::new())]
    } else {
        vec![(arguments("-a"), lines(servers, domain))]
    }
}

/// All names are asked of the link's servers, as they are where the file has them first.
fn resolvectl(link: &str, servers: &[IpAddr], domain: Option<&str>) -> Vec<Telling> {
    let arguments = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    if servers.is_empty() {
        return vec![(arguments(&["resolvectl", "revert", link]), String::new())];
    }
    let mut dns = arguments(&["resolvectl", "dns", link]);
    dns.extend(servers.iter().map(ToString::to_string));
    let mut names = arguments(&["resolvectl", "domain", link, "~."]);
    names.extend(domain.map(str::to_owned));
    vec![(dns, String::new()), (names, String::new())]
}

fn tell_all(commands: Vec<Telling>) -> io::Result<()> {
    commands.iter().try_for_each(|(arguments, input)| tell(arguments, input))
}

fn tell(arguments: &[String], input: &str) -> io::Result<()> {
    let Some((program, rest)) = arguments.split_first() else { return Ok(()) };
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, said.trim())))
}

/// A name that may stand in a file which other programs read.
fn is_domain(text: &str) -> bool {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_part) && !text.starts_with('-')
}

// --- The file ------------------------------------------------------------------------------------------------------

const BEGIN: &str = "# keyway: begin; these lines go when the tunnel ends";
const END: &str = "# keyway: end";

/// Changes a file. One that is mounted cannot be replaced, and is written in place.
fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let after = change(&before);
    if after == before {
        return Ok(());
    }
    replace(&path, &after).or_else(|_| fs::write(&path, &after))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".keyway");
    let beside = PathBuf::from(beside);
    let replaced = fs::write(&beside, text).and_then(|()| {
        if let Ok(metadata) = fs::metadata(path) {
            fs::set_permissions(&beside, metadata.permissions())?;
            std::os::unix::fs::chown(&beside, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        fs::rename(&beside, path)
    });
    if replaced.is_err() {
        // The error that counts is the one before.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// Puts our lines in the place of those that we put there before: servers first, for the first are asked first; domains to
/// search last, for the last line of them is the one that counts (resolv.conf(5)).
fn with_ours(text: &str, servers: &[IpAddr], domain: Option<&str>) -> String {
    let others = without_ours(text);
    if servers.is_empty() {
        return others;
    }
    let mut ours = format!("{BEGIN}\n{}{END}\n{others}", lines(servers, None));
    if let Some(domain) = domain {
        if !ours.ends_with('\n') {
            ours.push('\n');
        }
        let searched = others.lines().rev().find_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("search" | "domain")).then(|| words.collect::<Vec<_>>().join(" "))
        });
        let searched = searched.map(|searched| format!(" {searched}")).unwrap_or_default();
        writeln!(ours, "{BEGIN}\nsearch {domain}{searched}\n{END}").expect("a String takes everything");
    }
    ours
}

fn without_ours(text: &str) -> String {
    let mut left = text.to_owned();
    while let Some(begin) = left.find(BEGIN)
        && let Some(length) = left.get(begin..).and_then(|rest| rest.find(END))
    {
        let end = begin + length + END.len();
        let newline = usize::from(left.get(end..).is_some_and(|rest| rest.starts_with('\n')));
        left.replace_range(begin..end + newline, "");
    }
    left
}

fn lines(servers: &[IpAddr], domain: Option<&str>) -> String {
    let mut lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if let Some(domain) = domain {
        writeln!(lines, "search {domain}").expect("a String takes everything");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 53));

    #[test]
    fn our_lines_come_first_and_go_without_a_trace() {
        let before = "# made by hand\nnameserver 192.0.2.1\nsearch home.example\n";
        let with = with_ours(before, &[SERVER], Some("corp.example"));
        let said: Vec<&str> = with.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            said,
            [
                "nameserver 10.2.0.53",
                "nameserver 192.0.2.1",
                "search home.example",
                "search corp.example home.example"
            ]
        );
        let changed = with.replace("192.0.2.1", "192.0.2.2");
        assert_eq!(with_ours(&changed, &[], None), before.replace("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn a_file_is_changed_and_changed_back_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("kwdp-{}-resolv.conf", std::process::id()));
        fs::write(&path, "nameserver 192.0.2.1\n").expect("room on the disk");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("our own file");
        let mut names = Names::of(&NameServices::File(path.clone()), "keyway0");
        let told = Told { servers: vec![SERVER], domain: None };
        names.told.insert("site".to_owned(), told);
        names.stands = true;
        assert_eq!(names.put_in_place(), None);
        assert!(fs::read_to_string(&path).expect("our own file").contains("10.2.0.53"));
        // As after a crash: the next run knows only what the journal says.
        NamesPlace::File(path.clone()).sweep();
        assert_eq!(fs::read_to_string(&path).expect("our own file"), "nameserver 192.0.2.1\n");
        assert_eq!(fs::metadata(&path).expect("our own file").permissions().mode() & 0o777, 0o640);
        assert_eq!(names.undo(), None);
        fs::remove_file(&path).expect("our own file");
    }

    #[test]
    fn a_domain_is_a_domain_or_nothing() {
        assert!(is_domain("corp.example"));
        for text in ["", "a b", "a\nnameserver 192.0.2.66", "-x", "é", &"a".repeat(300)] {
            assert!(!is_domain(text), "{text}");
        }
    }

    #[test]
    fn programs_are_told_in_their_own_words() {
        let words = |told: Vec<Telling>| {
            told.into_iter().map(|(words, input)| format!("{}|{input}", words.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(
            words(resolvconf("keyway0.ike", &[SERVER], Some("a.example"))),
            ["resolvconf -a keyway0.ike|nameserver 10.2.0.53\nsearch a.example\n"]
        );
        assert_eq!(words(resolvconf("keyway0.ike", &[], None)), ["resolvconf -d keyway0.ike|"]);
        assert_eq!(
            words(resolvectl("keyway0", &[SERVER], Some("a.example"))),
            ["resolvectl dns keyway0 10.2.0.53|", "resolvectl domain keyway0 ~. a.example|"]
        );
        assert_eq!(words(resolvectl("keyway0", &[], None)), ["resolvectl revert keyway0|"]);
    }

    proptest! {
        #[test]
        fn whatever_a_file_says_it_says_again(text in "[a-z# \n.]*") {
            let with = with_ours(&text, &[SERVER], Some("corp.example"));
            // A last line without an end gets one.
            let back = with_ours(&with, &[], None);
            prop_assert_eq!(back.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
