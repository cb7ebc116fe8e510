//! Our own daemon, driven by its own command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Answer, Process, beside};
use crate::{End, Failure, Gateway, Implementation, Lab, Namespace, Result, Swanctl, until};

/// What a loaded machine may need until the daemon takes commands.
const START: Duration = Duration::from_secs(10);
/// What it may need to say goodbye and clean up.
const STOP: Duration = Duration::from_secs(10);
/// Longer than any command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests are repeated quickly and given up after twelve seconds, and messages cut where IKE_AUTH with a pre-shared key is
/// longer, so that tests of loss, dead peers and fragments do not take minutes.
const IMPATIENT: &[&str] =
    &["--retransmit-timeout=0.25", "--retransmit-base=1.2", "--retransmit-tries=12", "--fragment-size=256"];

/// A `keyway run` on a gateway, with a `/run` of its own, in which there are the namespaces of this machine. What its
/// [directory](Self::directory) has in `etc` when it starts, it sees in the place of the files of that name in `/etc`.
pub struct Keyway {
    end: End,
    namespace: String,
    directory: PathBuf,
    program: PathBuf,
    process: Option<Process>,
    swanctl: Swanctl,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Keyway {
    /// Starts a daemon with nothing configured, as impatient as the [`StrongSwan`](crate::StrongSwan) of the laboratory.
    ///
    /// # Errors
    ///
    /// When there is no program to start or it does not come up.
    pub fn start(lab: &Lab, end: End) -> Result<Keyway> {
        Keyway::start_with(lab, end, "", IMPATIENT)
    }

    /// Starts a daemon that keeps a secret across its crashes, by which its peers know that it has had one (RFC 6290).
    ///
    /// # Errors
    ///
    /// When there is no program to start or it does not come up.
    pub fn start_with_crash_secret(lab: &Lab, end: End) -> Result<Keyway> {
        let secret = lab.directory().join(format!("crash-secret-{end}")).display().to_string();
        Keyway::start_with(lab, end, "", &[IMPATIENT, &["--crash-secret", &secret]].concat())
    }

    /// Starts a daemon on the host of a site instead of its gateway, with nothing configured.
    ///
    /// # Errors
    ///
    /// When there is no program to start or it does not come up.
    pub fn start_on_host(lab: &Lab, end: End) -> Result<Keyway> {
        Keyway::start_in((lab, end), &lab.site(end).host, &format!("keyway-host-{end}"), "", IMPATIENT, &[])
    }

    /// Starts a daemon with a configuration and further arguments of `keyway run`.
    ///
    /// # Errors
    ///
    /// When there is no program to start or it does not come up.
    pub fn start_with(lab: &Lab, end: End, configuration: &str, arguments: &[&str]) -> Result<Keyway> {
        Keyway::start_with_environment(lab, end, configuration, arguments, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    ///
    /// When there is no program to start or it does not come up.
    pub fn start_with_environment(
        lab: &Lab,
        end: End,
        configuration: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Keyway> {
        let (gateway, name) = (&lab.site(end).gateway, format!("keyway-{end}"));
        Keyway::start_in((lab, end), gateway, &name, configuration, arguments, environment)
    }

    fn start_in(
        (lab, end): (&Lab, End),
        namespace: &Namespace,
        name: &str,
        configuration: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Keyway> {
        let directory = lab.directory().join(name);
        fs::create_dir_all(directory.join("run"))?;
        fs::write(directory.join("swanctl.conf"), configuration)?;
        let swanctl = Swanctl::new(&directory, &directory.join("vici"))?;
        let mut daemon = Keyway {
            end,
            namespace: namespace.name().to_owned(),
            directory,
            program: program()?,
            process: None,
            swanctl,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (String::from(*name), value.clone()))
                .collect(),
        };
        daemon.start()?;
        Ok(daemon)
    }

    /// Runs a command of the command line, such as `["up", "net"]`, against this daemon.
    ///
    /// # Errors
    ///
    /// When it cannot be started or hangs.
    pub fn command(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::of_within(
            Command::new(&self.program).args(arguments).arg("--socket").arg(self.socket()),
            PATIENCE,
        )
    }

    /// Where the daemon's configuration, socket and private `/run` are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The daemon's vici socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("vici")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }
}

impl Gateway for Keyway {
    fn implementation(&self) -> Implementation {
        Implementation::Keyway
    }

    fn configure(&self, text: &str) -> Result<()> {
        let file = self.directory.join("swanctl.conf");
        fs::write(&file, text)?;
        self.swanctl.load_all(&file)
    }

    fn initiate(&self, child: &str) -> Result<Answer> {
        self.command(&["up", child, "--timeout", "40"])
    }

    fn terminate(&self, connection: &str) -> Result<()> {
        self.command(&["down", connection, "--ike"])?.success().map(drop)
    }

    fn rekey_ike(&self, connection: &str) -> Result<()> {
        self.command(&["rekey", connection, "--ike"])?.success().map(drop)
    }

    fn rekey_child(&self, child: &str) -> Result<()> {
        self.command(&["rekey", child])?.success().map(drop)
    }

    fn swanctl(&self) -> &Swanctl {
        &self.swanctl
    }

    fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop(STOP).map(drop),
            None => Ok(()),
        }
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start(&mut self) -> Result<()> {
        let socket = self.socket();
        // One that is left from a killed daemon would look like a ready one.
        let _ = fs::remove_file(&socket);
        let script = format!(
            "mkdir -p {0}/run/netns && mount --rbind /run/netns {0}/run/netns && mount --rbind {0}/run /run && \
             for file in {0}/etc/*; do [ ! -e \"$file\" ] || mount --bind \"$file\" /etc/\"${{file##*/}}\" || exit; done && \
             exec {1} run --config {0}/swanctl.conf --socket {0}/vici --resolv-conf {0}/resolv.conf \"$@\"",
            self.directory.display(),
            self.program.display()
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "unshare", "-m", "--propagation", "private"]);
        command.args(["sh", "-c", &script, "keyway"]).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(&format!("keyway {}", self.end), &mut command, &self.log_path())?;
        process.wait_for_file(&socket, START)?;
        let swanctl = &self.swanctl;
        until(START, "keyway to answer", || {
            swanctl.answer(&["--stats"]).is_ok_and(|answer| answer.code == Some(0))
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// Finds the program under test: `$KEYWAY_BIN`, or the one that cargo built beside this one.
///
/// # Errors
///
/// When there is none.
pub fn program() -> Result<PathBuf> {
    let program = match std::env::var_os("KEYWAY_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside("keyway")?,
    };
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(format!(
        "there is no {}: run `cargo build -p keyway`, or set KEYWAY_BIN",
        program.display()
    )))
}
