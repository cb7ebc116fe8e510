//! One network namespace.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Answer;
use crate::{Failure, Result, cleanup};

/// A network namespace of its own; it and every process in it that the laboratory started go when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    ///
    /// # Errors
    ///
    /// When the kernel or the privileges of this process do not allow it.
    pub(crate) fn create(name: String) -> Result<Namespace> {
        Answer::of(Command::new("ip").args(["netns", "add", &name]))?.success()?;
        cleanup::remember_namespace(&name);
        let namespace = Namespace { name };
        namespace.batch("link set lo up")?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prepares a program to be run inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Runs a program inside, and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not succeed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        Answer::of(self.command(program).args(arguments))?.success()
    }

    /// Gives lines to `ip`, such as `addr add 192.0.2.1/24 dev out`.
    ///
    /// # Errors
    ///
    /// When `ip` refuses one of them.
    pub fn batch(&self, lines: &str) -> Result<()> {
        feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// Gives a ruleset to `nft`.
    ///
    /// # Errors
    ///
    /// When `nft` refuses it.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        feed(self.command("nft").args(["-f", "-"]), ruleset)
    }

    /// Sets a kernel parameter such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.inside(|| fs::write(Path::new("/proc/sys").join(key), value).map_err(Failure::at(key)))
    }

    /// Runs `task` on a thread of this process that has moved inside. A socket made there stays there.
    ///
    /// # Errors
    ///
    /// When the thread cannot move, or the task's own.
    pub fn inside<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let moved = || {
            let link =
                File::open(Path::new("/run/netns").join(&self.name)).map_err(Failure::at(&self.name))?;
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(Failure::at(&self.name))?;
            task()
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|_| Err(Failure::new(format!("a task inside {} panicked", self.name))))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        cleanup::remove_namespace(&self.name);
    }
}

/// Runs a command with `input` on its standard input.
fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{command:?}: {}\n{input}", String::from_utf8_lossy(&output.stderr).trim())))
}
