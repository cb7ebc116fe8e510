//! Debian's own `swanctl`, pointed at whichever daemon.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Answer;
use crate::{Failure, IkeSa, Namespace, Result};

/// Where Debian has it.
const PROGRAM: &str = "/usr/sbin/swanctl";
/// Longer than any command here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// `swanctl --uri`, talking to one vici socket.
///
/// Debian confines `/usr/sbin/swanctl` with AppArmor to `/etc/swanctl` and the one standard socket, so that a copy of it,
/// which no profile names, is what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swanctl {
    program: PathBuf,
    settings: PathBuf,
    uri: String,
    /// Where it runs, if the socket cannot be reached from everywhere.
    namespace: Option<String>,
}

impl Swanctl {
    /// Prepares `swanctl` for a socket; its copy and settings go to `directory`.
    ///
    /// # Errors
    ///
    /// When the package `strongswan-swanctl` is not installed.
    pub fn new(directory: &Path, socket: &Path) -> Result<Swanctl> {
        Swanctl::at(directory, format!("unix://{}", socket.display()), None)
    }

    /// Prepares `swanctl` for a daemon that listens to TCP, reached from a namespace.
    ///
    /// # Errors
    ///
    /// When the package `strongswan-swanctl` is not installed.
    pub(crate) fn over_tcp(directory: &Path, from: &Namespace, address: SocketAddr) -> Result<Swanctl> {
        Swanctl::at(directory, format!("tcp://{address}"), Some(from.name().to_owned()))
    }

    fn at(directory: &Path, uri: String, namespace: Option<String>) -> Result<Swanctl> {
        let settings = directory.join("swanctl-settings.conf");
        fs::write(&settings, "swanctl { load = random openssl pem pkcs1 pkcs8 x509 curve25519 }\n")?;
        let program = copied(Path::new(PROGRAM), directory, "strongswan-swanctl")?;
        Ok(Swanctl { program, settings, uri, namespace })
    }

    /// Where it looks for certificates and keys, in folders of their own.
    pub fn directory(&self) -> &Path {
        self.settings.parent().unwrap_or(Path::new("/"))
    }

    /// Runs one command, such as `["--initiate", "--child", "net"]`, and gives how it ended.
    ///
    /// # Errors
    ///
    /// When it cannot be started or hangs.
    pub fn answer(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of_within(&mut self.command(arguments), PATIENCE)
    }

    /// Runs one command that has to succeed, and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.answer(arguments)?.success()
    }

    /// Prepares a command that runs on, such as `["--log"]`, so that it prints each line at once.
    pub fn follow(&self, arguments: &[&str]) -> Command {
        self.dress(&["stdbuf", "-oL"], arguments)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.dress(&[], arguments)
    }

    fn dress(&self, before: &[&str], arguments: &[&str]) -> Command {
        let inside = self.namespace.iter().flat_map(|name| ["ip", "netns", "exec", name]);
        let mut command = Command::new("env");
        command.arg(format!("STRONGSWAN_CONF={}", self.settings.display()));
        command.arg(format!("SWANCTL_DIR={}", self.directory().display())).args(inside).args(before);
        command.arg(&self.program).args(arguments).args(["--uri", &self.uri]);
        command
    }

    /// Loads connections, secrets, pools and authorities, in place of what was loaded before.
    ///
    /// # Errors
    ///
    /// When the daemon takes one of them not.
    pub fn load_all(&self, file: &Path) -> Result<()> {
        self.run(&["--load-all", "--noprompt", "--clear", "--file", &file.display().to_string()]).map(drop)
    }

    /// Lists the IKE SAs.
    ///
    /// # Errors
    ///
    /// When the daemon does not answer or not well.
    pub fn sas(&self) -> Result<Vec<IkeSa>> {
        IkeSa::parse(&self.run(&["--list-sas", "--raw"])?)
    }
}

/// Copies a program to where no AppArmor profile names it.
pub(crate) fn copied(program: &Path, directory: &Path, package: &str) -> Result<PathBuf> {
    let name = program.file_name().ok_or_else(|| Failure::new("a program has a name"))?;
    let copy = directory.join(name);
    if !copy.exists() {
        fs::copy(program, &copy)
            .map_err(Failure::at(format!("{} (Debian package {package})", program.display())))?;
    }
    Ok(copy)
}
