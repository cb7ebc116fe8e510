//! What we changed on the host and the kernel would not clean up after us, written down before it is changed.
//!
//! ```text
//!   keyway data plane, process 4711; removed when it ends, swept by the next one if it crashed
//!   table 4500 protocol 50
//!   rule IPv4 priority 4500 mark 4500 table 4500 protocol 50
//!   rule IPv6 priority 4500 mark 4500 table 4500 protocol 50
//! ```
//!
//! The TUN device needs no line: it goes with the process that made it, and takes the routes through it along. All our
//! routes carry a protocol number of ours (rtnetlink(7), `rtm_protocol`), so that one line accounts for them, however many
//! come and go. The file is locked while its writer lives.

use std::fmt::{self, Write as _};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sa::Family;

use crate::StartError;

/// The `rtm_protocol` of our routes and rules: the IP protocol number of ESP, which no routing daemon has.
pub(crate) const ROUTE_PROTOCOL: u8 = 50;

/// One line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Routes of this table with this protocol are ours.
    Table(TableEntry),
    /// This rule is ours.
    Rule(RuleEntry),
}

/// A routing table with routes of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    /// Its number.
    pub(crate) table: u32,
    /// The `rtm_protocol` that tells ours from others.
    pub(crate) protocol: u8,
}

/// The rule "packets without `mark` consult `table`".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleEntry {
    /// Whose packets.
    pub(crate) family: Family,
    /// Its priority.
    pub(crate) priority: u32,
    /// The mark that lets packets pass.
    pub(crate) mark: u32,
    /// The table.
    pub(crate) table: u32,
    /// The `FRA_PROTOCOL` that tells ours from others.
    pub(crate) protocol: u8,
}

/// A journal that this process has locked.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
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
        Ok((Journal { path: path.to_owned(), file }, read_entries(&text)))
    }

    /// Replaces what the journal says; on disk when this returns.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> Result<(), StartError> {
        let mut text = format!(
            "keyway data plane, process {}; removed when it ends, swept by the next one if it crashed\n",
            std::process::id()
        );
        for entry in entries {
            writeln!(text, "{entry}").expect("a String takes everything");
        }
        self.replace(&text).map_err(|source| StartError::Journal { path: self.path.clone(), source })
    }

    /// Removes the journal: nothing of ours is left on the host.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())?;
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

/// Reads the lines that are entries. A line that a crash cut short stands for a change that was not made yet.
fn read_entries(text: &str) -> Vec<Entry> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| line.parse().ok())
        .collect()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Table(TableEntry { table, protocol }) => write!(f, "table {table} protocol {protocol}"),
            Entry::Rule(RuleEntry { family, priority, mark, table, protocol }) => {
                write!(f, "rule {family} priority {priority} mark {mark} table {table} protocol {protocol}")
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
            ["table", table, "protocol", ours] => {
                Ok(Entry::Table(TableEntry { table: number(table)?, protocol: protocol(ours)? }))
            }
            ["rule", family, "priority", priority, "mark", mark, "table", table, "protocol", ours] => {
                let family = match family {
                    "IPv4" => Family::V4,
                    "IPv6" => Family::V6,
                    _ => return Err(ErrorKind::InvalidData.into()),
                };
                Ok(Entry::Rule(RuleEntry {
                    family,
                    priority: number(priority)?,
                    mark: number(mark)?,
                    table: number(table)?,
                    protocol: protocol(ours)?,
                }))
            }
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

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
        Entry::Rule(RuleEntry { family: Family::V6, priority: 1, mark: 2, table: 4500, protocol: 50 }),
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
            let rule = Entry::Rule(RuleEntry { family, priority, mark, table, protocol });
            prop_assert_eq!(rule.to_string().parse::<Entry>().ok(), Some(rule));
            let table = Entry::Table(TableEntry { table, protocol });
            prop_assert_eq!(table.to_string().parse::<Entry>().ok(), Some(table));
        }

        #[test]
        fn any_text_is_read(text in "\\PC*") {
            read_entries(&text);
        }
    }
}
