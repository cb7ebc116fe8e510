//! Libreswan's pluto inside a guest: it negotiates, and Linux carries out what it has negotiated.

use std::fs;
use std::time::Duration;

use crate::process::{Answer, tail};
use crate::unpacked::{libraries, root_of};
use crate::{CONNECTION, End, Failure, Guest, Identity, Lab, PASSWORD, Result, USER, until};

/// What a loaded machine may need until the daemon takes commands.
const START: Duration = Duration::from_secs(60);
/// Before it starts: its programs where it looks for them, and an empty database of keys.
const PREPARATION: &str = "set -e
mount --bind $ROOT/usr/libexec /usr/libexec
mkdir -p /run/pluto /run/nss
certutil -N -d sql:/run/nss --empty-password
";

/// Version 1 is refused without.
const SETUP: &str = "config setup
    ikev1-policy=accept
";

/// A pluto in the place of a gateway.
#[derive(Debug)]
pub struct Libreswan {
    guest: Guest,
    /// What goes before each command of its own.
    environment: String,
}

impl Libreswan {
    /// Boots a guest and starts a pluto in it with nothing configured.
    ///
    /// # Errors
    ///
    /// When there is no unpacked Libreswan, or one of the two does not come up.
    pub fn start(lab: &Lab, end: End) -> Result<Libreswan> {
        let root = root_of("libreswan")?;
        let environment = format!(
            "export ROOT={} LD_LIBRARY_PATH={}; PATH=$PATH:$ROOT/usr/libexec/ipsec:$ROOT/usr/bin\n",
            root.display(),
            libraries(&root)
        );
        let daemon = Libreswan { guest: Guest::start(lab, end)?, environment };
        fs::write(daemon.guest.share().join("ipsec.conf"), SETUP)?;
        fs::write(daemon.guest.share().join("ipsec.secrets"), "")?;
        daemon.run(PREPARATION)?;
        daemon.start_again()?;
        Ok(daemon)
    }

    /// The guest that it runs in.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Replaces the one connection, given as the lines of a `conn` section of `ipsec.conf`, and the pre-shared key. There is
    /// one user, [`USER`], whose password it knows.
    ///
    /// # Errors
    ///
    /// When pluto does not take it.
    pub fn configure(&self, lines: &str, secret: &str) -> Result<()> {
        let share = self.guest.share();
        let indented: String = lines.lines().map(|line| format!("    {}\n", line.trim())).collect();
        fs::write(share.join("ipsec.conf"), format!("{SETUP}conn {CONNECTION}\n{indented}"))?;
        let secrets = format!(": PSK \"{secret}\"\n@{USER} : XAUTH \"{PASSWORD}\"\n");
        fs::write(share.join("ipsec.secrets"), secrets)?;
        self.run(&format!(
            "whack --delete --name {CONNECTION} >/dev/null
             printf '%s:%s:%s\\n' {USER} \"$(openssl passwd -6 '{PASSWORD}')\" {CONNECTION} >/run/pluto/passwd
             whack --rereadsecrets && addconn --config /run/share/ipsec.conf {CONNECTION}"
        ))
        .map(drop)
        .map_err(|failure| Failure::new(format!("{failure}; its log:\n{}", tail(&self.log()))))
    }

    /// Puts a CA's certificate into the database, and a certificate of its own with its key, which is `leftcert=own` then, in
    /// place of the one before.
    ///
    /// # Errors
    ///
    /// When one of the files is not what it should be.
    pub fn certify(&self, identity: &Identity) -> Result<()> {
        let Identity { ca, certificate, key } = identity;
        let [ca, certificate, key] = [ca, certificate, key].map(|path| path.display());
        self.run(&format!(
            "set -e
             certutil -F -d sql:/run/nss -n own 2>/dev/null || true
             openssl pkcs12 -export -inkey {key} -in {certificate} -name own -passout pass:word -out /run/own.p12
             pk12util -i /run/own.p12 -d sql:/run/nss -W word -K ''
             certutil -A -d sql:/run/nss -n ca -t CT,, -i {ca}"
        ))
        .map(drop)
    }

    /// Brings the connection up and waits for it; a refusal is part of the answer.
    ///
    /// # Errors
    ///
    /// When the guest has ended.
    pub fn initiate(&self) -> Result<Answer> {
        self.answer(&format!("timeout 30 whack --initiate --name {CONNECTION}"))
    }

    /// Runs `whack` with the connection's name, such as `--rekey-ipsec`.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn whack(&self, arguments: &str) -> Result<String> {
        self.run(&format!("whack {arguments} --name {CONNECTION}"))
    }

    /// Ends it as a power failure would; the kernel stays, but forgets its SAs and policies.
    pub fn kill(&self) {
        // One that has ended already is what we want.
        let _ = self
            .guest
            .answer("kill -9 $(cat /run/pluto/pluto.pid); ip xfrm state flush; ip xfrm policy flush");
    }

    /// Whether it has neither an IKE SA nor a Child SA, nor one that is yet to be.
    pub fn has_no_state(&self) -> bool {
        self.run("whack --showstates").is_ok_and(|states| !states.contains('#'))
    }

    /// Its name and version.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn version(&self) -> Result<String> {
        Ok(self.run("whack --version")?.trim().to_owned())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.guest.run("cat /run/pluto.log").unwrap_or_default()
    }

    /// Starts it, as it has to be after [`kill`](Self::kill), and waits until it takes commands.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_again(&self) -> Result<()> {
        self.run(
            "pluto --nofork --stderrlog --no-dnssec --log-no-audit --config /run/share/ipsec.conf \\
                 --secretsfile /run/share/ipsec.secrets --nssdir /run/nss --ipsecdir /run/pluto --rundir /run/pluto \\
                 >>/run/pluto.log 2>&1 &",
        )?;
        until(START, "pluto in the guest to answer", || {
            self.answer("whack --briefstatus && whack --listen && whack --impair revival")
                .is_ok_and(|answer| answer.code == Some(0))
        })
        .map_err(|failure| Failure::new(format!("{failure}; its log:\n{}", tail(&self.log()))))
    }

    fn run(&self, script: &str) -> Result<String> {
        self.answer(script)?.success()
    }

    fn answer(&self, script: &str) -> Result<Answer> {
        self.guest.answer(&format!("{}{script}", self.environment))
    }
}
