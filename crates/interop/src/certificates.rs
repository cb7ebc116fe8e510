//! Certificates for the gateways of a laboratory, made with `keyway pki`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Answer;
use crate::{Failure, Gateway, Lab, Result, keyway_program};

/// A directory in which CAs issue certificates.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(lab: &Lab) -> Result<Certificates> {
        let directory = lab.directory().join("pki");
        fs::create_dir_all(&directory)?;
        Ok(Certificates(directory))
    }

    /// Runs `keyway pki` with some arguments in the directory, and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn make(&self, arguments: &[&str]) -> Result<String> {
        Answer::of(Command::new(keyway_program()?).arg("pki").args(arguments).current_dir(&self.0))?.success()
    }

    /// Runs strongSwan's `pki`, and keeps what it prints in a file.
    ///
    /// # Errors
    ///
    /// When it does not succeed, or the package `strongswan-pki` is not installed.
    pub fn make_elsewhere(&self, file: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("pki");
        command.args(arguments).args(["--outform", "pem"]).current_dir(&self.0);
        Ok(fs::write(self.0.join(file), Answer::of(&mut command)?.success()?)?)
    }

    /// Tells whether a file has been made.
    pub fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    /// Certifies a fresh key of either end of a laboratory by a CA that both are to trust; gives Keyway at a what is its, and
    /// the caller what a peer needs at b.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made.
    pub fn for_both_ends(lab: &Lab, key: &str, keyway: &dyn Gateway) -> Result<Identity> {
        let certificates = Certificates::new(lab)?;
        if !certificates.has("root/ca.crt") {
            certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
        }
        for end in ["a", "b"] {
            let (name, out) = (format!("{end}.example.org"), format!("{end}-{key}"));
            certificates.make(&["issue", "root", &name, "--key", key, "--out", &out])?;
        }
        certificates.give(keyway, "x509ca", "root/ca.crt")?;
        certificates.give(keyway, "x509", &format!("a-{key}.crt"))?;
        certificates.give(keyway, "private", &format!("a-{key}.key"))?;
        let path = |file: &str| certificates.0.join(file);
        Ok(Identity {
            ca: path("root/ca.crt"),
            certificate: path(&format!("b-{key}.crt")),
            key: path(&format!("b-{key}.key")),
        })
    }

    /// Puts a file into one of the folders beside a gateway's configuration.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn give(&self, gateway: &dyn Gateway, folder: &str, file: &str) -> Result<()> {
        self.give_to(&gateway.swanctl().directory().join(folder), file)
    }

    /// Puts a file into a folder, which need not be there yet.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn give_to(&self, folder: &Path, file: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        let path = self.0.join(file);
        // Two CAs keep their certificates in files of the same name.
        fs::copy(&path, folder.join(file.replace('/', "-")))
            .map_err(Failure::at(path.display().to_string()))?;
        Ok(())
    }

    /// Empties the folders beside a gateway's configuration.
    pub fn take_back(&self, gateway: &dyn Gateway) {
        for folder in ["x509", "x509ca", "x509crl", "private"] {
            // One that was never made is empty.
            let _ = fs::remove_dir_all(gateway.swanctl().directory().join(folder));
        }
    }
}

/// Files in PEM with which a peer proves who it is, and knows whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate of the CA that it trusts.
    pub ca: PathBuf,
    /// Its own.
    pub certificate: PathBuf,
    /// The private key to that.
    pub key: PathBuf,
}
