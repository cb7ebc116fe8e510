//! What we changed on the host and the kernel would not clean up after us, written down before it is changed.
//!
//! ```text
//!   keyway data plane, process 4711; removed when it ends, swept by the next one if it crashed
//!   blocks keyway0
//!   device vpn0 namespace red
//!   names file /etc/resolv.conf
//!   table 4500 protocol 50
//!   rule IPv4 priority 4500 mark 4500 table 4500 protocol 50
//!   rule IPv6 priority 4500 mark 4500 table 4500 protocol 50
//!   rule IPv4 priority 4501 nop protocol 50
//!   rule IPv4 priority 4499 mark 42 goto 4501 protocol 50
//!   policy 3 priority 1000 protect 10.1.0.0/16 <-> 10.2.0.0/16, fd00:1::/64 <-> fd00:2::/64
//!   policy 4 priority 1000 protect 10.1.0.0/16 <-> 10.3.0.0/16
//!   gone 3
//! ```
//!
//! The common TUN device needs no line: it goes with the process that made it, and takes the routes through it along. All our
//! routes carry a protocol number of ours (rtnetlink(7), `rtm_protocol`), so that one line accounts for them, however many
//! come and go. The policies are those of the blocks, which outlast us: they tell the next run, and people, what is blocked.
//! They come and go at the end of the file. The file is locked while its writer lives.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sa::{Family, PolicyAction, PolicyId, PolicySpec, SelectorPair};

use super::inside::NamesPlace;
use crate::StartError;

/// The `rtm_protocol` of our routes and rules: the IP protocol number of ESP, which no routing daemon has.
pub(crate) const ROUTE_PROTOCOL: u8 = 50;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// This table of the packet filter is ours, with the blocks of the policies below.
    Blocks(String),
    /// These packets are blocked, or let through blocks.
    Policy(PolicySpec),
    /// This device is ours, and outlasts us.
    Device(DeviceEntry),
    /// Name servers that a peer gave stand there.
    Names(NamesPlace),
    /// Routes of this table with this protocol are ours.
    Table(TableEntry),
    /// This rule is ours.
    Rule(RuleEntry),
}

/// A device of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceEntry {
    /// Its name.
    pub(crate) name: String,
    /// The network namespace that it is in; `None` is ours.
    pub(crate) namespace: Option<String>,
}

/// A routing table with routes of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    /// Its number.
    pub(crate) table: u32,
    /// The `rtm_protocol` that tells ours from others.
    pub(crate) protocol: u8,
}

/// A rule of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleEntry {
    /// Whose packets.
    pub(crate) family: Family,
    /// Its priority.
    pub(crate) priority: u32,
    /// What it says.
    pub(crate) action: RuleAction,
    /// The `FRA_PROTOCOL` that tells ours from others.
    pub(crate) protocol: u8,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleAction {
    /// Packets without this mark consult this table.
    LookUp {
        /// The mark that lets packets pass.
        mark: u32,
        /// The table.
        table: u32,
    },
    /// Packets with this mark go on with the rule of this priority.
    Skip {
        /// The mark.
        mark: u32,
        /// A priority further down.
        to: u32,
    },
    /// Nothing: others skip to it.
    Land,
}

/// A journal that this process has locked.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Lines that came after the last time that everything was written.
    appended: usize,
    /// The number of the network namespace that it was opened in, which is that of everything that its holder does: whoever
    /// gives it orders may be in another one.
    namespace: Option<u64>,
    /// Where its entries were written.
    origin: Origin,
}

/// The network namespace that a journal's entries are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This one, or nobody can tell.
    Here,
    /// Another one: none of the entries is about anything here.
    Elsewhere,
}

impl Journal {
    /// Opens and locks a journal and gives the entries of a run that crashed.
    ///
    /// # Errors
    /// The journal cannot be used, or its writer still runs.
    pub(crate) fn open(path: &Path) -> Result<(Journal, Vec<Entry>), StartError> {
        let failed = |source| StartError::Journal { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = loop {
            let file = open_file(path).map_err(failed)?;
            match file.try_lock() {
                // The one who held the lock may have removed the file since we opened it: then this lock keeps nobody out.
                Ok(()) if is_at(&file, path).map_err(failed)? => break file,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StartError::AlreadyRunning(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let namespace = namespace();
        let origin = match (read_namespace(&text), namespace) {
            (Some(theirs), Some(ours)) if theirs != ours => Origin::Elsewhere,
            _ => Origin::Here,
        };
        Ok((Journal { path: path.to_owned(), file, appended: 0, namespace, origin }, read_entries(&text)))
    }

    /// Tells where its entries were written.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Replaces what the journal says; on disk when this returns.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> Result<(), StartError> {
        let mut text = format!(
            "keyway data plane, process {}; removed when it ends, swept by the next one if it crashed\n",
            std::process::id()
        );
        if let Some(namespace) = self.namespace {
            writeln!(text, "{NAMESPACE} {namespace}").expect("a String takes everything");
        }
        for entry in entries {
            writeln!(text, "{entry}").expect("a String takes everything");
        }
        (self.appended, self.origin) = (0, Origin::Here);
        self.replace(&text).map_err(|source| StartError::Journal { path: self.path.clone(), source })
    }

    /// Adds a policy at the end; it need not be on disk, for with the machine the blocks go as well.
    pub(crate) fn add_policy(&mut self, policy: &PolicySpec) -> io::Result<()> {
        self.append(&format!("{}\n", Entry::Policy(policy.clone())))
    }

    /// Notes at the end that a policy is gone.
    pub(crate) fn strike_policy(&mut self, policy: PolicyId) -> io::Result<()> {
        self.append(&format!("{GONE} {policy}\n"))
    }

    /// Tells whether the file has become much longer than `entries` entries need.
    pub(crate) fn is_overgrown(&self, entries: usize) -> bool {
        self.appended > 2 * entries + LINES_TO_SPARE
    }

    /// Removes the journal: nothing of ours is left on the host.
    pub(crate) fn remove(self) -> Result<(), StartError> {
        fs::remove_file(&self.path).map_err(|source| StartError::Journal { path: self.path, source })
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.appended += 1;
        self.file.write_all(line.as_bytes())
    }

    /// A crash halfway leaves lines too many rather than too few.
    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        match self.path.parent() {
            Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Tells whether `path` still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the number by which the kernel knows this thread's network namespace, where it shows that.
fn namespace() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|namespace| namespace.ino())
}

fn read_namespace(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(NAMESPACE)?.trim().parse().ok())
}

/// Reads the lines that are entries, without policies that are gone or were replaced. A line that a crash cut short stands
/// for a change that was not made yet.
fn read_entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut policies: BTreeMap<PolicyId, PolicySpec> = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        if let [GONE, id] = line.split_whitespace().collect::<Vec<_>>()[..] {
            id.parse().ok().and_then(|id| policies.remove(&PolicyId(id)));
        }
        match line.parse() {
            Ok(Entry::Policy(policy)) => drop(policies.insert(policy.id, policy)),
            Ok(entry) => entries.push(entry),
            Err(_) => {}
        }
    }
    entries.into_iter().chain(policies.into_values().map(Entry::Policy)).collect()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Blocks(table) => write!(f, "blocks {table}"),
            Entry::Policy(PolicySpec { id, priority, selectors, action, device: _ }) => {
                write!(f, "policy {id} priority {priority} {}", action_word(*action))?;
                for (index, pair) in selectors.iter().enumerate() {
                    write!(f, "{} {pair}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Entry::Device(DeviceEntry { name, namespace: None }) => write!(f, "device {name}"),
            Entry::Device(DeviceEntry { name, namespace: Some(namespace) }) => {
                write!(f, "device {name} namespace {namespace}")
            }
            Entry::Names(NamesPlace::File(path)) => write!(f, "names file {}", path.display()),
            Entry::Names(NamesPlace::Resolvconf(record)) => write!(f, "names resolvconf {record}"),
            Entry::Names(NamesPlace::Resolved(link)) => write!(f, "names resolved {link}"),
            Entry::Table(TableEntry { table, protocol }) => write!(f, "table {table} protocol {protocol}"),
            Entry::Rule(RuleEntry { family, priority, action, protocol }) => {
                write!(f, "rule {family} priority {priority} ")?;
                match action {
                    RuleAction::LookUp { mark, table } => write!(f, "mark {mark} table {table} ")?,
                    RuleAction::Skip { mark, to } => write!(f, "mark {mark} goto {to} ")?,
                    RuleAction::Land => f.write_str("nop ")?,
                }
                write!(f, "protocol {protocol}")
            }
        }
    }
}

impl FromStr for Entry {
    type Err = io::Error;

    fn from_str(line: &str) -> Result<Entry, io::Error> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<u32>().map_err(|_| ErrorKind::InvalidData);
        let protocol = |word: &str| word.parse::<u8>().map_err(|_| ErrorKind::InvalidData);
        match words[..] {
            ["blocks", table] => Ok(Entry::Blocks(table.to_owned())),
            ["names", "file", ref path @ ..] if !path.is_empty() => {
                Ok(Entry::Names(NamesPlace::File(path.join(" ").into())))
            }
            ["names", "resolvconf", record] => Ok(Entry::Names(NamesPlace::Resolvconf(record.to_owned()))),
            ["names", "resolved", link] => Ok(Entry::Names(NamesPlace::Resolved(link.to_owned()))),
            ["device", name] => Ok(Entry::Device(DeviceEntry { name: name.to_owned(), namespace: None })),
            ["device", name, "namespace", namespace] => {
                let namespace = Some(namespace.to_owned());
                Ok(Entry::Device(DeviceEntry { name: name.to_owned(), namespace }))
            }
            ["policy", id, "priority", priority, action, ref selectors @ ..] => {
                let action =
                    ACTIONS.iter().find(|(_, word)| *word == action).ok_or(ErrorKind::InvalidData)?.0;
                let selectors = read_selectors(&selectors.join(" ")).ok_or(ErrorKind::InvalidData)?;
                let id = PolicyId(number(id)?);
                let priority = number(priority)?;
                Ok(Entry::Policy(PolicySpec { id, priority, selectors, action, device: None }))
            }
            ["table", table, "protocol", ours] => {
                Ok(Entry::Table(TableEntry { table: number(table)?, protocol: protocol(ours)? }))
            }
            ["rule", family, "priority", priority, ref action @ .., "protocol", ours] => {
                let family = match family {
                    "IPv4" => Family::V4,
                    "IPv6" => Family::V6,
                    _ => return Err(ErrorKind::InvalidData.into()),
                };
                let action = match *action {
                    ["mark", mark, "table", table] => {
                        RuleAction::LookUp { mark: number(mark)?, table: number(table)? }
                    }
                    ["mark", mark, "goto", to] => RuleAction::Skip { mark: number(mark)?, to: number(to)? },
                    ["nop"] => RuleAction::Land,
                    _ => return Err(ErrorKind::InvalidData.into()),
                };
                let (priority, protocol) = (number(priority)?, protocol(ours)?);
                Ok(Entry::Rule(RuleEntry { family, priority, action, protocol }))
            }
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn read_selectors(text: &str) -> Option<Vec<SelectorPair>> {
    text.split(", ")
        .map(|pair| {
            let (local, remote) = pair.split_once(" <-> ")?;
            Some(SelectorPair { local: local.parse().ok()?, remote: remote.parse().ok()? })
        })
        .collect()
}

fn action_word(action: PolicyAction) -> &'static str {
    ACTIONS.iter().find(|(known, _)| *known == action).map_or("protect", |(_, word)| word)
}

const ACTIONS: [(PolicyAction, &str); 4] = [
    (PolicyAction::Protect, "protect"),
    (PolicyAction::Trap, "trap"),
    (PolicyAction::Discard, "discard"),
    (PolicyAction::Bypass, "bypass"),
];

const GONE: &str = "gone";
const NAMESPACE: &str = "namespace";

/// So many lines are no reason to write a short journal anew.
const LINES_TO_SPARE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("kwdp-{}-{name}", std::process::id())).join("plane.journal")
    }

    const ENTRIES: [Entry; 2] = [
        Entry::Table(TableEntry { table: 4500, protocol: 50 }),
        Entry::Rule(RuleEntry {
            family: Family::V6,
            priority: 1,
            action: RuleAction::LookUp { mark: 2, table: 4500 },
            protocol: 50,
        }),
    ];

    #[test]
    fn a_crashed_run_is_read_back_and_a_clean_one_leaves_nothing() {
        let path = scratch("crash");
        let (mut journal, found) = Journal::open(&path).expect("a fresh directory");
        assert_eq!(found, []);
        journal.write(&ENTRIES).expect("room on the disk");
        drop(journal);
        let (journal, found) = Journal::open(&path).expect("the lock went with its holder");
        assert_eq!(found, ENTRIES);
        journal.remove().expect("our own file");
        assert!(!path.exists());
        fs::remove_dir(path.parent().expect("a directory of its own")).expect("it is empty");
    }

    #[test]
    fn a_journal_tells_whether_it_was_written_here() {
        let path = scratch("elsewhere");
        let (mut journal, _) = Journal::open(&path).expect("a fresh directory");
        journal.write(&ENTRIES).expect("room on the disk");
        drop(journal);
        let here = fs::read_to_string(&path).expect("our own file");
        let number = namespace().expect("the kernel shows it").to_string();
        for (text, origin) in [
            (here.clone(), Origin::Here),
            (here.replace(&number, "1"), Origin::Elsewhere),
            (here.replace(NAMESPACE, "line of another version:"), Origin::Here),
        ] {
            fs::write(&path, text).expect("our own file");
            let (journal, found) = Journal::open(&path).expect("nobody holds it");
            assert_eq!((journal.origin(), &found[..]), (origin, &ENTRIES[..]));
        }
        fs::remove_dir_all(path.parent().expect("a directory of its own")).expect("our own");
    }

    #[test]
    fn a_living_run_is_not_swept() {
        let path = scratch("living");
        let (living, _) = Journal::open(&path).expect("a fresh directory");
        assert!(matches!(Journal::open(&path), Err(StartError::AlreadyRunning(_))));
        living.remove().expect("our own file");
        fs::remove_dir(path.parent().expect("a directory of its own")).expect("it is empty");
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_not_the_journal() {
        let path = scratch("replaced");
        fs::create_dir_all(path.parent().expect("a directory of its own")).expect("room on the disk");
        let file = open_file(&path).expect("room on the disk");
        assert!(is_at(&file, &path).expect("our own file"));
        fs::remove_file(&path).expect("our own file");
        assert!(!is_at(&file, &path).expect("our own directory"));
        let other = open_file(&path).expect("room on the disk");
        assert!(!is_at(&file, &path).expect("our own file"));
        assert!(is_at(&other, &path).expect("our own file"));
        fs::remove_dir_all(path.parent().expect("a directory of its own")).expect("our own");
    }

    /// Runs come and go on many threads: at no time do two hold the journal.
    #[test]
    fn one_run_at_a_time_holds_the_journal() {
        let path = scratch("race");
        let holders = AtomicUsize::new(0);
        let turns = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while turns.load(Ordering::Relaxed) < 100 {
                        match Journal::open(&path) {
                            Ok((journal, _)) => {
                                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                holders.fetch_sub(1, Ordering::SeqCst);
                                journal.remove().expect("our own file");
                                turns.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(StartError::AlreadyRunning(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        fs::remove_dir(path.parent().expect("a directory of its own")).expect("it is empty");
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_no_entry() {
        let text = "title\ntable 4500 protocol 50\ntable 4500 protocol 5";
        assert_eq!(read_entries(text), ENTRIES[..1]);
    }

    proptest! {
        #[test]
        fn entries_survive(v6: bool, priority: u32, mark: u32, table: u32, protocol: u8) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            for action in
                [RuleAction::LookUp { mark, table }, RuleAction::Skip { mark, to: table }, RuleAction::Land]
            {
                let rule = Entry::Rule(RuleEntry { family, priority, action, protocol });
                prop_assert_eq!(rule.to_string().parse::<Entry>().ok(), Some(rule));
            }
            for place in [
                NamesPlace::File("/etc/resolv.conf".into()),
                NamesPlace::Resolvconf("keyway0.ike".to_owned()),
                NamesPlace::Resolved("keyway0".to_owned()),
            ] {
                let names = Entry::Names(place);
                prop_assert_eq!(names.to_string().parse::<Entry>().ok(), Some(names));
            }
            let table = Entry::Table(TableEntry { table, protocol });
            prop_assert_eq!(table.to_string().parse::<Entry>().ok(), Some(table));
        }

        #[test]
        fn any_text_is_read(text in "\\PC*") {
            read_entries(&text);
        }
    }
}
