//! What has to go when the process ends, however it ends.
//!
//! Three nets, one under the other: guards that are dropped; this register, which a thread empties on SIGINT, SIGTERM and
//! SIGHUP; and the sweep of what dead processes left, at the start of the next laboratory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The beginning of the name of every namespace that a laboratory makes; the process id follows.
pub(crate) const PREFIX: &str = "kw-";

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

static REGISTER: Mutex<Register> = Mutex::new(Register::new());

struct Register {
    processes: BTreeSet<u32>,
    namespaces: BTreeSet<String>,
    directories: BTreeSet<PathBuf>,
}

impl Register {
    const fn new() -> Register {
        Register { processes: BTreeSet::new(), namespaces: BTreeSet::new(), directories: BTreeSet::new() }
    }
}

/// Sweeps what dead processes left and starts to listen for signals; only the first call does anything.
pub(crate) fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        sweep();
        if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            thread::spawn(move || {
                if signals.forever().next().is_some() {
                    clear();
                    std::process::exit(INTERRUPTED);
                }
            });
        }
    });
}

pub(crate) fn remember_process(id: u32) {
    register().processes.insert(id);
}

pub(crate) fn forget_process(id: u32) {
    register().processes.remove(&id);
}

pub(crate) fn remember_namespace(name: &str) {
    register().namespaces.insert(name.to_owned());
}

/// Ends what still runs in a namespace of ours and removes it.
pub(crate) fn remove_namespace(name: &str) {
    end_processes_in(name);
    // A namespace that is gone already is what we want.
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
    register().namespaces.remove(name);
}

pub(crate) fn remember_directory(path: &Path) {
    register().directories.insert(path.to_path_buf());
}

/// Removes a directory of ours, or only forgets it so that a person can look into it.
pub(crate) fn release_directory(path: &Path, fate: Fate) {
    register().directories.remove(path);
    if fate == Fate::Remove {
        let _ = fs::remove_dir_all(path);
    }
}

/// What becomes of a laboratory's directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Remove,
    Keep,
}

fn clear() {
    let (processes, namespaces, directories) = {
        let mut register = register();
        (
            std::mem::take(&mut register.processes),
            std::mem::take(&mut register.namespaces),
            std::mem::take(&mut register.directories),
        )
    };
    processes.into_iter().for_each(kill);
    namespaces.iter().for_each(|name| remove_namespace(name));
    directories.iter().for_each(|path| release_directory(path, Fate::Remove));
}

/// Removes the namespaces whose names carry the id of a process that is gone.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            remove_namespace(&name);
        }
    }
}

/// Only programs that a laboratory started live in its namespaces.
pub(crate) fn end_processes_in(namespace: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", namespace]).output() else { return };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .for_each(kill);
}

fn kill(id: u32) {
    if id == std::process::id() {
        return;
    }
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // A process that has ended already is what we want.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn register() -> MutexGuard<'static, Register> {
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}
