//! Programs that are started: those that run on, and those that answer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, Result, cleanup, until, within};

/// A program that runs on, its output in a file; it is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Octets that the log has of those before it.
    begins: u64,
    name: String,
}

impl Process {
    /// Starts a program; what it prints is appended to `log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        Process::start_with_input(name, command, Stdio::null(), log)
    }

    /// Starts a program that is told something through its standard input.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_with_input(name: &str, command: &mut Command, input: Stdio, log: &Path) -> Result<Process> {
        let output = File::options().create(true).append(true).open(log)?;
        let begins = output.metadata()?.len();
        let child = command
            .stdin(input)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(Failure::at(format!("{name} does not start")))?;
        cleanup::remember_process(child.id());
        Ok(Process { child, log: log.to_path_buf(), begins, name: name.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed until now; empty when that cannot be read.
    pub fn log(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        let own = usize::try_from(self.begins).ok().and_then(|begins| all.get(begins..)).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// Waits for `text` in its output.
    ///
    /// # Errors
    ///
    /// When the program ends before, or `limit` passes.
    pub fn wait_for_text(&mut self, text: &str, limit: Duration) -> Result<()> {
        self.wait_for(&format!("{text:?}"), limit, |process| process.log().contains(text))
    }

    /// Waits for a file, such as a socket, to appear.
    ///
    /// # Errors
    ///
    /// When the program ends before, or `limit` passes.
    pub fn wait_for_file(&mut self, path: &Path, limit: Duration) -> Result<()> {
        self.wait_for(&path.display().to_string(), limit, |_| path.exists())
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    ///
    /// When `limit` passes.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        let status = within(limit, &what, || self.child.try_wait().ok().flatten())?;
        cleanup::forget_process(self.child.id());
        Ok(status)
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    ///
    /// When it does not end within `limit`; it is killed then.
    pub fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the program has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(Failure::at(format!("{} takes no signal", self.name)))
    }

    fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut seen: impl FnMut(&Process) -> bool,
    ) -> Result<()> {
        let mut ended = None;
        let what = format!("{what} of {}", self.name);
        until(limit, &what, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || seen(self)
        })
        .map_err(|failure| Failure::new(format!("{failure}; its output:\n{}", tail(&self.log()))))?;
        match ended {
            Some(status) if !seen(self) => Err(Failure::new(format!(
                "{} ended ({status}); its output:\n{}",
                self.name,
                tail(&self.log())
            ))),
            _ => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a program that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        cleanup::forget_process(self.child.id());
    }
}

/// What a program that ended had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The command line.
    pub command: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started; how it ends is part of the answer.
    pub fn of(command: &mut Command) -> Result<Answer> {
        let line = printed(command);
        let output = command.stdin(Stdio::null()).output().map_err(Failure::at(&line))?;
        Ok(Answer {
            command: line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a program, which is killed if it takes longer than `limit`.
    ///
    /// # Errors
    ///
    /// When it cannot be started or takes too long.
    pub fn of_within(command: &mut Command, limit: Duration) -> Result<Answer> {
        let line = printed(command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::at(&line))?;
        let pid = Pid::from_child(&child);
        let waiter = thread::spawn(move || child.wait_with_output());
        if until(limit, &line, || waiter.is_finished()).is_err() {
            // It fails only for a program that ended this moment.
            let _ = kill_process(pid, Signal::KILL);
            return Err(Failure::new(format!("{line} took longer than {} s", limit.as_secs())));
        }
        let output = waiter.join().map_err(|_| Failure::new("the thread that waits panicked"))??;
        Ok(Answer {
            command: line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Gives the standard output.
    ///
    /// # Errors
    ///
    /// When the exit code was not 0; the sentence has the command line and what it printed.
    pub fn success(self) -> Result<String> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        Err(Failure::new(format!(
            "{} ended with {:?}: {}{}",
            self.command,
            self.code,
            self.stderr.trim(),
            self.stdout.trim()
        )))
    }
}

/// Where cargo puts the program `name` when it builds this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    // A test is target/debug/deps/NAME, a program of ours target/debug/NAME.
    let ours = std::env::current_exe()?;
    let candidates = ours.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    Ok(candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name)))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn printed(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
