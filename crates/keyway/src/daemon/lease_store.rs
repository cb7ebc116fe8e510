//! Leases of virtual addresses, kept across restarts in an embedded database: a client that comes back finds the address that
//! it had.
//!
//! ```text
//!   engine task ── note ──► what is to be written, the newest of each address ──► a thread of its own ──► the file
//! ```
//!
//! Nothing waits for the disk: a change that is lost in a crash costs a client its old address and nothing more. A file that
//! cannot be used is put aside, and a new one begun.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use ike::{Identity, LeaseChange};
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use wire::registry::IdType;
use wire::v2::Identification;

/// Pool and address → what kind of identity has it, its octets, and when that was last so, in seconds since 1970.
const LEASES: TableDefinition<'static, (&str, &str), (u8, &[u8], u64)> = TableDefinition::new("leases");

/// The database of one daemon, and the thread that writes to it.
#[derive(Debug)]
pub(crate) struct LeaseStore {
    database: Arc<Database>,
    desk: Arc<Desk>,
    writer: Option<JoinHandle<()>>,
}

/// What is to be written. It has one entry at most for each address of a pool, however slow the disk is.
#[derive(Debug, Default)]
struct Desk {
    pile: Mutex<Pile>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Pile {
    leases: BTreeMap<(String, IpAddr), Kept>,
    is_closing: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    client: Identity,
    at_secs: u64,
}

impl LeaseStore {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, nor a new one be made; one sentence.
    pub(crate) fn open(path: &Path) -> Result<LeaseStore, String> {
        let cannot = |reason: String| format!("cannot keep leases in {}: {reason}", path.display());
        make_directory(path).map_err(|error| cannot(error.to_string()))?;
        let database = match opened(path) {
            Ok(database) => database,
            Err(Unusable::Elsewhere(reason)) => return Err(cannot(reason)),
            Err(Unusable::Damaged(reason)) => {
                let aside = put_aside(path).map_err(|error| cannot(format!("{reason}, and {error}")))?;
                tracing::error!(
                    "the leases in {} are lost: {reason}; the file is {} now, and a new one is begun",
                    path.display(),
                    aside.display()
                );
                opened(path).map_err(|unusable| match unusable {
                    Unusable::Elsewhere(reason) | Unusable::Damaged(reason) => cannot(reason),
                })?
            }
        };
        let (database, desk) = (Arc::new(database), Arc::new(Desk::default()));
        let (at_desk, into) = (Arc::clone(&desk), Arc::clone(&database));
        let writer = thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || at_desk.write_all(&into))
            .map_err(|error| cannot(error.to_string()))?;
        Ok(LeaseStore { database, desk, writer: Some(writer) })
    }

    /// Gives the leases of a pool, the longest unused first.
    ///
    /// # Errors
    /// The database cannot be read; one sentence.
    pub(crate) fn leases_of(&self, pool: &str) -> Result<Vec<(IpAddr, Identity)>, String> {
        let read = catch_unwind(AssertUnwindSafe(|| read(&self.database, pool)));
        read.unwrap_or_else(|_| Err("the database is damaged".to_owned()))
            .map_err(|reason| format!("the leases of the pool {pool} are lost: {reason}"))
    }

    /// Notes a change; returns at once.
    pub(crate) fn note(&self, change: LeaseChange) {
        let at_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kept = Kept { client: change.lease.client, at_secs };
        let mut pile = self.desk.pile.lock().unwrap_or_else(PoisonError::into_inner);
        pile.leases.insert((change.pool, change.lease.address), kept);
        self.desk.filled.notify_one();
    }
}

impl Drop for LeaseStore {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.desk.pile.lock().unwrap_or_else(PoisonError::into_inner).is_closing = true;
        self.desk.filled.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the leases were not all written");
        }
    }
}

impl Desk {
    /// Writes what comes until there is nothing more to come.
    fn write_all(&self, database: &Database) {
        while let Some(leases) = self.take() {
            let written = catch_unwind(AssertUnwindSafe(|| write(database, &leases)));
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("{} leases are not kept: {error}", leases.len()),
                Err(_) => {
                    return tracing::error!(
                        "the database of leases is damaged: no more are kept until a restart"
                    );
                }
            }
        }
    }

    fn take(&self) -> Option<BTreeMap<(String, IpAddr), Kept>> {
        let mut pile = self.pile.lock().unwrap_or_else(PoisonError::into_inner);
        while pile.leases.is_empty() {
            if pile.is_closing {
                return None;
            }
            pile = self.filled.wait(pile).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut pile.leases))
    }
}

/// Why a database cannot be used.
enum Unusable {
    /// For a reason that has nothing to do with what is in the file.
    Elsewhere(String),
    /// For what is in it.
    Damaged(String),
}

fn opened(path: &Path) -> Result<Database, Unusable> {
    // Whatever a damaged file does to its reader, it is no reason for the daemon to end.
    let opened = catch_unwind(|| -> Result<Database, DatabaseError> {
        let mut database = Database::create(path)?;
        database.check_integrity()?;
        Ok(database)
    });
    match opened {
        Ok(Ok(database)) => {
            // The names of clients are nobody else's business.
            let private = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
            private.map_err(|error| Unusable::Elsewhere(error.to_string()))?;
            Ok(database)
        }
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            Err(Unusable::Elsewhere("another process has it open".to_owned()))
        }
        Ok(Err(DatabaseError::Storage(redb::StorageError::Io(error)))) if !is_about_contents(&error) => {
            Err(Unusable::Elsewhere(error.to_string()))
        }
        Ok(Err(error)) => Err(Unusable::Damaged(error.to_string())),
        Err(_) => Err(Unusable::Damaged("it is damaged".to_owned())),
    }
}

fn is_about_contents(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if directory != Path::new("") => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)
        }
        _ => Ok(()),
    }
}

fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    fs::rename(path, &aside)?;
    Ok(aside.into())
}

fn read(database: &Database, pool: &str) -> Result<Vec<(IpAddr, Identity)>, String> {
    let say = |error: redb::Error| error.to_string();
    let transaction = database.begin_read().map_err(|error| say(error.into()))?;
    let table = match transaction.open_table(LEASES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(say(error.into())),
    };
    let mut leases = Vec::new();
    for entry in table.range((pool, "")..).map_err(|error| say(error.into()))? {
        let (key, value) = entry.map_err(|error| say(error.into()))?;
        let ((name, address), (id_type, octets, at_secs)) = (key.value(), value.value());
        if name != pool {
            break;
        }
        let identification = Identification { id_type: IdType(id_type), data: octets.to_vec() };
        if let Ok(address) = address.parse::<IpAddr>() {
            leases.push((at_secs, address, Identity::from_wire(&identification)));
        }
    }
    leases.sort_by_key(|(at_secs, address, _)| (*at_secs, *address));
    Ok(leases.into_iter().map(|(_, address, client)| (address, client)).collect())
}

fn write(database: &Database, leases: &BTreeMap<(String, IpAddr), Kept>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(LEASES)?;
        for ((pool, address), Kept { client, at_secs }) in leases {
            let Identification { id_type, data } = client.to_wire();
            table.insert(
                (pool.as_str(), address.to_string().as_str()),
                (id_type.0, data.as_slice(), *at_secs),
            )?;
        }
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike::LeaseStatus;

    fn change(pool: &str, address: &str, client: &str) -> LeaseChange {
        let client = Identity::Fqdn(client.to_owned());
        let lease = LeaseStatus { address: address.parse().expect("an address"), client, is_online: true };
        LeaseChange { pool: pool.to_owned(), lease }
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("kwls-{}-{name}", std::process::id())).join("keyway.leases")
    }

    fn read_back(path: &Path, pool: &str) -> Vec<(String, String)> {
        let leases =
            LeaseStore::open(path).expect("nobody has it open").leases_of(pool).expect("it is sound");
        leases.into_iter().map(|(address, client)| (address.to_string(), client.to_string())).collect()
    }

    fn remove(path: &Path) {
        fs::remove_dir_all(path.parent().expect("a directory of its own")).expect("our own");
    }

    #[test]
    fn leases_are_there_after_a_restart_each_with_its_last_client() {
        let path = scratch("restart");
        let store = LeaseStore::open(&path).expect("a fresh directory");
        assert!(store.leases_of("crew").expect("it is empty").is_empty());
        store.note(change("crew", "10.3.0.1", "a"));
        store.note(change("crew", "10.3.0.2", "b"));
        store.note(change("crew", "10.3.0.1", "c"));
        store.note(change("crew6", "fd00::1", "a"));
        assert!(
            LeaseStore::open(&path)
                .expect_err("one process at a time")
                .contains("another process has it open")
        );
        drop(store);
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(address, client)| ((*address).to_owned(), (*client).to_owned())).collect()
        };
        assert_eq!(read_back(&path, "crew"), owned(&[("10.3.0.1", "c"), ("10.3.0.2", "b")]));
        assert_eq!(read_back(&path, "crew6"), owned(&[("fd00::1", "a")]));
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        remove(&path);
    }

    /// However a file is damaged, the daemon goes on: with what is left, or with a new one beside the damaged.
    #[test]
    fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
        let path = scratch("damage");
        let store = LeaseStore::open(&path).expect("a fresh directory");
        (0..200).for_each(|last| {
            store.note(change("crew", &format!("10.3.0.{last}"), &format!("client-{last}")))
        });
        drop(store);
        let sound = fs::read(&path).expect("our own file");
        let mut damaged: Vec<Vec<u8>> =
            vec![b"not a database at all".to_vec(), sound[..sound.len() / 2].to_vec()];
        for at in (0..sound.len()).step_by(sound.len() / 40) {
            let mut torn = sound.clone();
            torn[at..].iter_mut().take(512).for_each(|octet| *octet ^= 0x55);
            damaged.push(torn);
        }
        for bytes in damaged {
            fs::write(&path, &bytes).expect("our own file");
            let store = LeaseStore::open(&path).expect("there is always a new one");
            // Whatever it says, it says so, and takes what is new.
            let _ = store.leases_of("crew");
            store.note(change("crew", "10.3.0.250", "z"));
            drop(store);
        }
        let aside = path.with_extension("leases.damaged");
        assert!(aside.exists(), "what was damaged is kept for who wants to look");
        remove(&path);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_said_in_a_sentence() {
        let path = Path::new("/proc/keyway/keyway.leases");
        let sentence = LeaseStore::open(path).expect_err("nobody can write there");
        assert!(sentence.starts_with("cannot keep leases in /proc/keyway/keyway.leases: "), "{sentence}");
    }
}
