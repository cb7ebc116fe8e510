//! What is done to either daemon, in each of swanctl's three forms of printing.

use std::fmt;
use std::fs;
use std::time::Duration;

use interop::Implementation::StrongSwan;
use interop::{
    CONNECTION, Certificates, End, Implementation, Lab, Pair, Process, Result, Swanctl, Tunnel, until,
};

use crate::shape::shape;

/// How swanctl prints.
pub(crate) const FORMS: [&str; 3] = ["", "--raw", "--pretty"];

const PATIENCE: Duration = Duration::from_secs(120);

/// Where swanctl looks for certificates and keys.
const FOLDERS: [&str; 12] = [
    "x509", "x509ca", "x509ocsp", "x509aa", "x509ac", "x509crl", "pubkey", "private", "rsa", "ecdsa",
    "pkcs8", "pkcs12",
];

/// What swanctl printed for one command.
pub(crate) struct Printed {
    /// The command line.
    pub(crate) command: String,
    /// What it said to both of its outputs, line by line, without what is not the same in two runs.
    pub(crate) lines: Vec<String>,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ swanctl {}", self.command)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Makes a CA, and a certificate with a key for the gateway.
pub(crate) fn credentials(lab: &Lab) -> Result<Certificates> {
    let certificates = Certificates::new(lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    certificates.make(&["issue", "root", "a.example.org", "--key", "p256", "--out", "a"])?;
    Ok(certificates)
}

/// A daemon at a, with charon for its peer.
pub(crate) struct Scenario {
    /// Both of them.
    pub(crate) pair: Pair,
    /// In a directory of its own, which no daemon looks into.
    swanctl: Swanctl,
}

impl Scenario {
    /// Starts both with what they need.
    pub(crate) fn start(lab: Lab, daemon: Implementation, credentials: &Certificates) -> Result<Scenario> {
        let tunnel = tunnel();
        let (a, b) = (daemon.start(&lab, End::A)?, StrongSwan.start_with(&lab, End::B, &tunnel)?);
        let socket = a.swanctl().directory().join(if daemon == StrongSwan { "run/vici" } else { "vici" });
        let directory = lab.directory().join("swanctl");
        for folder in FOLDERS {
            fs::create_dir_all(directory.join(folder))?;
        }
        for (folder, file) in [("x509ca", "root/ca.crt"), ("x509", "a.crt"), ("private", "a.key")] {
            credentials.give_to(&directory.join(folder), file)?;
        }
        fs::write(directory.join("shapes.conf"), text(&tunnel, &lab))?;
        let swanctl = Swanctl::new(&directory, &socket)?;
        Ok(Scenario { pair: Pair { a, b, lab }, swanctl })
    }

    /// Gives every command in this form.
    pub(crate) fn play(&self, form: &str) -> Result<Vec<Printed>> {
        let mut printed = Vec::new();
        let file = self.swanctl.directory().join("shapes.conf").display().to_string();
        let mut say = |command: &str| -> Result<()> {
            printed.push(self.say(command, &file, form)?);
            Ok(())
        };
        for command in [
            "--version --daemon",
            "--load-creds --clear --noprompt --file FILE",
            "--load-authorities --file FILE",
            "--load-pools --file FILE",
            "--load-conns --file FILE",
            "--load-all --noprompt --file FILE",
            "--reload-settings",
            "--list-algs",
            "--stats",
            "--list-conns",
            "--list-authorities",
            "--list-certs",
            "--list-certs --type x509 --flag ca",
            "--list-certs --type x509_crl",
            "--list-pools",
            "--list-pools --leases",
            "--counters",
            "--counters --reset",
            "--list-sas",
            "--list-pols --trap --drop --pass",
            "--install --child net",
            "--install --child away",
            "--install --child near",
            "--list-pols --trap --drop --pass",
            "--list-pols --trap --child net",
            "--uninstall --child net",
            "--uninstall --child away",
            "--uninstall --child near",
            "--initiate --child net --timeout 30",
        ] {
            say(command)?;
        }
        let before = self.pair.settled()?;
        for command in [
            "--list-sas",
            "--list-sas --child net",
            "--list-sas --child nobody",
            "--counters",
            "--counters --name site",
            "--counters --all",
            "--stats",
        ] {
            say(command)?;
        }
        say("--rekey --child net")?;
        until(PATIENCE, "the child to be rekeyed", || {
            self.pair.settled().is_ok_and(|now| now.child != before.child)
        })?;
        say("--rekey --ike site")?;
        until(PATIENCE, "the IKE SA to be rekeyed", || {
            let is_forgotten =
                self.pair.a.sas().is_ok_and(|sas| sas.len() == 1 && sas[0].children.len() == 1);
            is_forgotten && self.pair.settled().is_ok_and(|now| now.ike != before.ike)
        })?;
        for command in [
            "--list-sas",
            "--counters --name site",
            "--counters --all --reset",
            "--terminate --child net --timeout 30",
            "--list-sas",
            "--list-sas --ike site",
            "--list-sas --ike nobody",
            "--terminate --ike site --timeout 30",
        ] {
            say(command)?;
        }
        self.pair.empty()?;
        // Only a gateway may send its client elsewhere, and only one that called it.
        self.pair.initiate(End::B)?;
        self.pair.settled()?;
        for command in ["--list-sas", "--redirect --ike site --gateway 198.51.100.77", "--flush-certs"] {
            say(command)?;
        }
        self.pair.b.terminate(CONNECTION).ok();
        self.pair.empty()?;
        for command in [
            "--initiate --child nobody",
            "--terminate --child nobody",
            "--terminate --ike nobody",
            "--rekey --child nobody",
            "--redirect --ike nobody --gateway 198.51.100.77",
            "--install --child nobody",
            "--uninstall --child nobody",
            "--counters --name nobody",
        ] {
            say(command)?;
        }
        printed.extend(self.watch(form)?);
        Ok(printed)
    }

    /// Gives one command.
    fn say(&self, command: &str, file: &str, form: &str) -> Result<Printed> {
        let words = command.split(' ').map(|word| if word == "FILE" { file } else { word });
        let words: Vec<&str> = words.chain(Some(form).filter(|form| !form.is_empty())).collect();
        let answer = self.swanctl.answer(&words)?;
        let directory = self.swanctl.directory().display().to_string();
        let mut lines = shape(&answer.stdout.replace(&directory, "DIRECTORY"));
        let complaints = shape(&answer.stderr.replace(&directory, "DIRECTORY"));
        lines.extend(complaints.into_iter().map(|line| format!("! {line}")));
        lines.push(format!("= {}", answer.code.unwrap_or(-1)));
        Ok(Printed { command: format!("{command} {form}"), lines })
    }

    /// Has swanctl watch while a tunnel comes and goes.
    fn watch(&self, form: &str) -> Result<Vec<Printed>> {
        let start = |command: &str| {
            let words: Vec<&str> =
                Some(command).into_iter().chain(Some(form).filter(|form| !form.is_empty())).collect();
            let log = self.pair.lab.directory().join(format!("swanctl{command}{form}.log"));
            Process::start(command, &mut self.swanctl.follow(&words), &log)
        };
        let watching = [("--log", start("--log")?), ("--monitor-sa", start("--monitor-sa")?)];
        let child = |verb: &str| self.swanctl.run(&[verb, "--child", "net"]);
        let talk = || -> Result<()> {
            self.pair.initiate(End::A)?;
            let before = self.pair.settled()?;
            child("--rekey")?;
            until(PATIENCE, "the child to be rekeyed", || {
                self.pair.settled().is_ok_and(|now| now.child != before.child)
            })?;
            child("--terminate")?;
            self.pair.initiate(End::A)?;
            self.pair.terminate(End::A)?;
            // The peer may end it, too.
            self.pair.initiate(End::A)?;
            self.pair.settled()?;
            self.pair.terminate(End::B)
        };
        // Neither says when it is ready, so that it is told often enough. A round is what the monitor saw between two Child SAs
        // that were taken down alone.
        let [(_, log), (_, monitor)] = &watching;
        until(PATIENCE, "both to see something", || {
            talk().is_ok() && log.log().contains("IKE") && monitor.log().matches("DELETED").count() > 2
        })?;
        let mut lines = shape(&log.log());
        lines.sort();
        lines.dedup();
        let seen = shape(&monitor.log());
        let is_mark = |block: &&String| block.contains("DELETED");
        let round =
            seen.iter().skip_while(|block| !is_mark(block)).skip(1).take_while(|block| !is_mark(block));
        let printed = |command: &str, lines| Printed { command: format!("{command} {form}"), lines };
        let round = printed("--monitor-sa", round.cloned().collect());
        Ok(vec![printed("--log", lines), round])
    }
}

fn tunnel() -> Tunnel {
    // Keyway asks silent peers whether they live unless it is told not to, and charon only if it is told to.
    Tunnel::default()
        .connection_line("dpd_delay = 30s")
        .suite("aes128-sha256-x25519,aes128gcm16-prfsha256-ecp256", "aes128gcm16-x25519,aes256-sha256")
}

/// Writes a configuration with something of everything.
fn text(tunnel: &Tunnel, lab: &Lab) -> String {
    let more = "         away {
            mode = drop
            local_ts = 10.1.0.0/24
            remote_ts = 10.9.0.0/24
         }
         near {
            mode = pass
            local_ts = 10.1.0.0/24
            remote_ts = 10.1.0.0/24[tcp/4711]
         }
      }
   }
   travel {
      version = 2
      local_addrs = 192.0.2.1
      pools = crew
      dpd_delay = 30s
      rekey_time = 1h
      local {
         auth = pubkey
         certs = a.crt
         id = a.example.org
      }
      remote {
         auth = pubkey
         id = *@example.org
         revocation = strict
      }
      children {
         home {
            local_ts = 10.1.0.0/16, fd00:1::/64
            rekey_time = 20m
            mode = tunnel
         }
      }
   }
   user {
      version = 1
      dpd_delay = 30s
      local_addrs = 192.0.2.1
      pools = crew
      reauth_time = 2h
      local {
         auth = pubkey
         certs = a.crt
         id = a.example.org
      }
      remote-1 {
         auth = pubkey
         cacerts = root-ca.crt
         revocation = ifuri
      }
      remote-2 {
         auth = xauth
      }
      children {
         home {
            local_ts = 10.1.0.0/16
            start_action = none
            close_action = none
            dpd_action = clear
         }
      }
   }
}
pools {
   crew {
      addrs = 10.3.0.0/24
      dns = 10.1.0.53
   }
}
authorities {
   root {
      cacert = root-ca.crt
      crl_uris = http://crl.example.org/root.crl
      ocsp_uris = http://ocsp.example.org
   }
}
secrets {";
    let plain = tunnel.text(lab, End::A);
    // The laboratory's own text ends with the children and the secrets.
    plain.replacen("      }\n   }\n}\nsecrets {", more, 1)
}
