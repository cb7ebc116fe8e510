//! strongSwan's charon as a peer, with ESP in user space (`kernel-libipsec`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Answer, Process};
use crate::swanctl::copied;
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
        let directory = lab.directory().join(format!("strongswan-{end}"));
        fs::create_dir_all(directory.join("run"))?;
        copied(Path::new(PROGRAM), &directory, "strongswan-charon")?;
        fs::write(directory.join("strongswan.conf"), settings(&directory))?;
        let swanctl = Swanctl::new(&directory, &directory.join("vici"))?;
        let namespace = lab.site(end).gateway.name().to_owned();
        let mut daemon = StrongSwan { end, namespace, directory, process: None, swanctl };
        daemon.start()?;
        Ok(daemon)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }
}

impl Gateway for StrongSwan {
    fn implementation(&self) -> Implementation {
        Implementation::StrongSwan
    }

    fn configure(&self, text: &str) -> Result<()> {
        let file = self.directory.join("swanctl.conf");
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
        let socket = self.directory.join("vici");
        // One that is left from a killed daemon would look like a ready one.
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(self.directory.join("run/charon.pid"));
        let script = format!(
            "mount --bind {0}/run /run && exec env STRONGSWAN_CONF={0}/strongswan.conf {0}/charon",
            self.directory.display()
        );
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

fn settings(directory: &Path) -> String {
    // The list is short because charon takes 20 s to start with all its plugins. kernel-libipsec stands before
    // kernel-netlink, or the kernel would be asked for ESP. Retransmissions are quick, and given up early, so that tests of
    // loss and of dead peers do not take minutes; fragments are small enough to see an IKE_AUTH with a pre-shared key cut.
    format!(
        "charon {{
   load = random nonce aesni aes openssl sha1 sha2 hmac kdf pem pkcs1 pubkey x509 curve25519 gcm ctr chapoly kernel-libipsec kernel-netlink socket-default vici updown
   install_routes = yes
   retransmit_timeout = 0.25
   retransmit_base = 1.2
   retransmit_tries = 12
   fragment_size = 256
   delete_rekeyed_delay = 1
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
         socket = unix://{}/vici
      }}
   }}
}}
",
        directory.display()
    )
}
