//! strongSwan's charon as a peer, with ESP in user space (`kernel-libipsec`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Answer, Process};
use crate::swanctl::copied;
use crate::unpacked::root_of;
use crate::{End, Gateway, Implementation, Lab, Result, Swanctl, until};

/// Where Debian has it.
const PROGRAM: &str = "/usr/lib/ipsec/charon";
/// What a loaded machine may need until the daemon takes commands.
const START: Duration = Duration::from_secs(40);
/// What it may need to say goodbye.
const STOP: Duration = Duration::from_secs(10);

/// A charon on a gateway, with a `/run` of its own.
///
/// Its ESP always goes in UDP, in tunnel mode only, without extended sequence numbers; that is what its user-space back end
/// can do.
pub struct StrongSwan {
    end: End,
    namespace: String,
    directory: PathBuf,
    /// The root that it lives in, where that is not this machine's.
    root: Option<PathBuf>,
    process: Option<Process>,
    swanctl: Swanctl,
}

impl StrongSwan {
    /// Starts a charon with nothing configured.
    ///
    /// # Errors
    ///
    /// When Debian's packages are not installed or it does not come up.
    pub fn start(lab: &Lab, end: End) -> Result<StrongSwan> {
        StrongSwan::start_in(None, lab, end)
    }

    /// Starts a charon of version 6, which this machine's Debian has not, with nothing configured.
    ///
    /// # Errors
    ///
    /// When nobody has unpacked it or it does not come up.
    pub fn start_version_6(lab: &Lab, end: End) -> Result<StrongSwan> {
        StrongSwan::start_in(Some(root_of("strongswan6")?), lab, end)
    }

    fn start_in(root: Option<PathBuf>, lab: &Lab, end: End) -> Result<StrongSwan> {
        let directory = lab.directory().join(format!("strongswan-{end}"));
        fs::create_dir_all(directory.join("run"))?;
        if root.is_none() {
            copied(Path::new(PROGRAM), &directory, "strongswan-charon")?;
        }
        // Its /run is `run` here.
        let settings = settings("unix:///run/vici", "kernel-libipsec kernel-netlink");
        fs::write(directory.join("run/strongswan.conf"), settings)?;
        let swanctl = Swanctl::new(&directory, &directory.join("run/vici"))?;
        let namespace = lab.site(end).gateway.name().to_owned();
        let mut daemon = StrongSwan { end, namespace, directory, root, process: None, swanctl };
        daemon.start()?;
        Ok(daemon)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }
}

impl Gateway for StrongSwan {
    fn implementation(&self) -> Implementation {
        match self.root {
            None => Implementation::StrongSwan,
            Some(_) => Implementation::StrongSwan6,
        }
    }

    fn configure(&self, text: &str) -> Result<()> {
        let file = self.directory.join("swanctl.conf");
        // A key of Keyway's own, for which charon would refuse the connection.
        let is_known = |line: &&str| !line.trim_start().starts_with("allow_weak");
        let text: String = text.lines().filter(is_known).flat_map(|line| [line, "\n"]).collect();
        fs::write(&file, text)?;
        self.swanctl.load_all(&file)
    }

    fn initiate(&self, child: &str) -> Result<Answer> {
        self.swanctl.answer(&["--initiate", "--child", child, "--timeout", "30"])
    }

    fn terminate(&self, connection: &str) -> Result<()> {
        self.swanctl.run(&["--terminate", "--ike", connection, "--timeout", "10"]).map(drop)
    }

    fn rekey_ike(&self, connection: &str) -> Result<()> {
        self.swanctl.run(&["--rekey", "--ike", connection]).map(drop)
    }

    fn rekey_child(&self, child: &str) -> Result<()> {
        self.swanctl.run(&["--rekey", "--child", child]).map(drop)
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
        let socket = self.directory.join("run/vici");
        // One that is left from a killed daemon would look like a ready one.
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(self.directory.join("run/charon.pid"));
        let directory = self.directory.display();
        let settings = "env STRONGSWAN_CONF=/run/strongswan.conf";
        let script = match self.root.as_deref().map(Path::display) {
            None => format!("mount --bind {directory}/run /run && exec {settings} {directory}/charon"),
            Some(root) => format!(
                "set -e
                 mount --bind {directory}/run {root}/run
                 mount --rbind /dev {root}/dev
                 mount --rbind /proc {root}/proc
                 exec {settings} chroot {root} {PROGRAM}"
            ),
        };
        // `ip netns exec` looks for the namespace in the /run that the script then hides.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "unshare", "-m", "--propagation", "private"]);
        command.args(["sh", "-c", &script]);
        let mut process = Process::start(&format!("charon {}", self.end), &mut command, &self.log_path())?;
        process.wait_for_file(&socket, START)?;
        // The socket is there a moment before it is listened to.
        let swanctl = &self.swanctl;
        until(START, "charon to answer", || {
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

/// The settings of a charon that listens to vici at `uri`, and whose SAs these plugins carry out: where kernel-libipsec stands
/// before kernel-netlink, the kernel is not asked for ESP.
pub(crate) fn settings(uri: &str, kernel_plugins: &str) -> String {
    // The list is short because charon takes 20 s to start with all its plugins. Retransmissions are quick, and given up
    // early, so that tests of loss and of dead peers do not take minutes; fragments are small enough to see an IKE_AUTH with
    // a pre-shared key cut.
    // Of more than three exchanges of IKEv1 at once it forgets how to decrypt the oldest, unless it is told to keep more.
    // A responder of aggressive mode with a pre-shared key must say that it knows what it does.
    format!(
        "charon {{
   i_dont_care_about_security_and_use_aggressive_mode_psk = yes
   load = random nonce aesni aes openssl sha1 sha2 hmac kdf pem pkcs1 pkcs8 pubkey x509 curve25519 gcm ccm ctr xcbc cmac chapoly {kernel_plugins} socket-default vici updown xauth-generic counters
   install_routes = yes
   retransmit_timeout = 0.25
   retransmit_base = 1.2
   retransmit_tries = 12
   fragment_size = 256
   delete_rekeyed_delay = 1
   max_ikev1_exchanges = 64
   filelog {{
      stderr {{
         default = 1
         ike = 2
         cfg = 2
         flush_line = yes
      }}
   }}
   plugins {{
      vici {{
         socket = {uri}
      }}
   }}
}}
"
    )
}
