//! OpenBSD's iked inside a guest: it negotiates, and Linux carries out what it has negotiated.

use std::fs;
use std::time::Duration;

use crate::process::{Answer, tail};
use crate::unpacked::{libraries, root_of};
use crate::{End, Failure, Guest, Identity, Lab, Result, until};

/// What a loaded machine may need until the daemon takes commands.
const START: Duration = Duration::from_secs(60);
/// What is to be in /etc: the user as whom most of the daemon runs, and the key without which it does not start.
const PREPARATION: &str = "set -e
mkdir -p /run/etc/iked/private /run/etc/iked/ca /run/etc/iked/certs /run/etc/iked/crls /run/etc/iked/pubkeys /run/empty
echo 'root:x:0:0::/run:/bin/sh
_iked:x:999:999::/run/empty:/bin/false' >/run/etc/passwd
openssl ecparam -name prime256v1 -genkey -noout -out /run/etc/iked/private/local.key
openssl pkey -in /run/etc/iked/private/local.key -pubout -out /run/etc/iked/local.pub
mount --bind /run/etc /etc
";

/// An iked in the place of a gateway.
#[derive(Debug)]
pub struct OpenIked {
    guest: Guest,
    /// What goes before each command of its own.
    environment: String,
}

impl OpenIked {
    /// Boots a guest in which an iked can be started.
    ///
    /// # Errors
    ///
    /// When there is no unpacked OpenIKED, or the guest does not come up.
    pub fn prepare(lab: &Lab, end: End) -> Result<OpenIked> {
        let root = root_of("openiked")?;
        let environment =
            format!("export LD_LIBRARY_PATH={}; PATH=$PATH:{}/usr/sbin\n", libraries(&root), root.display());
        let daemon = OpenIked { guest: Guest::start(lab, end)?, environment };
        daemon.run(PREPARATION)?;
        Ok(daemon)
    }

    /// The guest that it runs in.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Gives it a CA's certificate, and a certificate of its own with its key, in place of those before.
    ///
    /// # Errors
    ///
    /// When one of the files is not there.
    pub fn certify(&self, identity: &Identity) -> Result<()> {
        let Identity { ca, certificate, key } = identity;
        let [ca, certificate, key] = [ca, certificate, key].map(|path| path.display());
        self.run(&format!(
            "set -e
             cp {ca} /etc/iked/ca/ca.crt
             cp {certificate} /etc/iked/certs/own.crt
             install -m 600 {key} /etc/iked/private/local.key
             openssl pkey -in {key} -pubout -out /etc/iked/local.pub"
        ))
        .map(drop)
    }

    /// Starts one with a configuration in iked.conf's syntax, in place of one that runs; the kernel forgets what it had.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(&self, configuration: &str) -> Result<()> {
        fs::write(self.guest.share().join("iked.conf"), configuration)?;
        self.run(
            "kill -9 $(cat /run/iked.pid 2>/dev/null) 2>/dev/null; rm -f /run/iked.sock /run/iked.log
             ip xfrm state flush; ip xfrm policy flush
             install -m 600 /run/share/iked.conf /etc/iked.conf || exit
             iked -d -vv >/run/iked.log 2>&1 &
             echo $! >/run/iked.pid",
        )?;
        // It takes commands, and answers peers, before its own processes have told each other what is configured.
        let is_ready = || self.log().contains("config_getcompile: compilation done");
        until(START, "iked in the guest to know its configuration", is_ready)
            .map_err(|failure| Failure::new(format!("{failure}; its log:\n{}", tail(&self.log()))))
    }

    /// Runs `ikectl`, such as `reset id a.example.org`.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn ikectl(&self, arguments: &str) -> Result<String> {
        self.run(&format!("ikectl {arguments}"))
    }

    /// Its version.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn version(&self) -> Result<String> {
        let answer = self.answer("iked -V")?;
        Ok(format!("{}{}", answer.stdout, answer.stderr).trim().to_owned())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.guest.run("cat /run/iked.log").unwrap_or_default()
    }

    fn run(&self, script: &str) -> Result<String> {
        self.answer(script)?.success()
    }

    fn answer(&self, script: &str) -> Result<Answer> {
        self.guest.answer(&format!("{}{script}", self.environment))
    }
}
