//! A CA's directory: its key, what it has issued, and what it has revoked.
//!
//! | file | holds |
//! |---|---|
//! | `ca.crt`, `ca.key` | certificate and private key |
//! | `ca.crl` | the last list |
//! | `crl-number` | its number |
//! | `issued/SERIAL.crt` | every certificate that was issued |
//! | `revoked` | a line for each that was revoked: serial number, seconds since 1970, reason |

use std::fs;
use std::path::{Path, PathBuf};

use crypto::{Random, SystemRandom};
use pki::crl::{RevocationReason, Revoked};
use pki::issue::{self, Draft, Issuer, ListDraft};
use pki::{Certificate, PrivateKey, Time, pem};
use rustix::fs::{FlockOperation, flock};

use super::arguments::Signer;
use super::files::{self, Readers};
use crate::client::Failure;

/// A CA that is open. Nobody else can open it meanwhile.
pub(super) struct Authority {
    directory: PathBuf,
    certificate: Certificate,
    key: PrivateKey,
    /// Held until the CA is closed.
    _lock: fs::File,
}

impl Authority {
    /// Makes the directory of a new CA.
    ///
    /// # Errors
    /// It exists, or cannot be made.
    pub(super) fn create(directory: &Path, certificate: &Certificate, key: &[u8]) -> Result<(), Failure> {
        fs::create_dir(directory)
            .and_then(|()| fs::create_dir(directory.join(ISSUED)))
            .map_err(|error| Failure::Other(format!("cannot make {}: {error}", directory.display())))?;
        files::create(&directory.join("ca.key"), key, Readers::Owner)?;
        let text = pem::write("CERTIFICATE", certificate.to_der());
        files::create(&directory.join("ca.crt"), text.as_slice(), Readers::Everybody)
    }

    /// Opens a CA.
    ///
    /// # Errors
    /// There is none in the directory, or its key cannot be opened.
    pub(super) fn open(signer: &Signer) -> Result<Authority, Failure> {
        let directory = signer.directory.clone();
        let no_ca = |what: &str| Failure::Other(format!("{}: there is no {what}", directory.display()));
        let certificates = files::read(&directory.join("ca.crt"), None)?.certificates;
        let keys = files::read(&directory.join("ca.key"), signer.password.as_deref())?.keys;
        let certificate = certificates.into_iter().next().ok_or_else(|| no_ca("certificate in ca.crt"))?;
        let key = keys.into_iter().next().ok_or_else(|| no_ca("private key in ca.key"))?;
        let lock = lock(&directory)?;
        Ok(Authority { directory, certificate, key, _lock: lock })
    }

    /// Gives the CA's certificate.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Issues a certificate and keeps a copy.
    ///
    /// # Errors
    /// It cannot be issued or written.
    pub(super) fn issue(&self, draft: &Draft) -> Result<Certificate, Failure> {
        let issued = issue::issue(draft, Issuer::Ca(&self.certificate, &self.key)).map_err(said)?;
        let text = pem::write("CERTIFICATE", issued.to_der());
        let copy = self.directory.join(ISSUED).join(format!("{}.crt", serial_text(issued.serial())));
        files::create(&copy, text.as_slice(), Readers::Everybody)?;
        Ok(issued)
    }

    /// Writes down that a certificate is revoked.
    ///
    /// # Errors
    /// It is revoked already, or nothing can be written.
    pub(super) fn revoke(&self, serial: &[u8], revoked: Revoked) -> Result<(), Failure> {
        let mut all = self.revoked()?;
        if let Some((_, earlier)) = all.iter().find(|(own, _)| own == serial) {
            return Err(Failure::Other(format!(
                "it was revoked on {} already ({})",
                earlier.at, earlier.reason
            )));
        }
        all.push((serial.to_vec(), revoked));
        let lines = all.iter().map(|(serial, revoked)| {
            format!("{} {} {}\n", serial_text(serial), revoked.at.0, revoked.reason)
        });
        files::replace(
            &self.directory.join(REVOKED),
            lines.collect::<String>().as_bytes(),
            Readers::Everybody,
        )
    }

    /// Writes the list of what is revoked, and gives how many that are and where it is.
    ///
    /// # Errors
    /// It cannot be issued or written.
    pub(super) fn write_list(&self, now: Time, days: u32) -> Result<(usize, PathBuf), Failure> {
        let revoked = self.revoked()?;
        let count = revoked.len();
        let number = self.next_number()?;
        let draft = ListDraft {
            number: number.to_be_bytes().to_vec(),
            this_update: now,
            next_update: now.after_secs(u64::from(days) * SECS_PER_DAY),
            revoked,
        };
        let list = issue::issue_list(&draft, &self.certificate, &self.key).map_err(said)?;
        // The number is taken before the list is out: no number is ever on two lists.
        files::replace(&self.directory.join(NUMBER), format!("{number}\n").as_bytes(), Readers::Everybody)?;
        let path = self.directory.join("ca.crl");
        files::replace(&path, pem::write("X509 CRL", list.to_der()).as_slice(), Readers::Everybody)?;
        Ok((count, path))
    }

    fn revoked(&self) -> Result<Vec<(Vec<u8>, Revoked)>, Failure> {
        let path = self.directory.join(REVOKED);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::Other(format!("cannot read {}: {error}", path.display())))?;
        let faulty = |line: &str| Failure::Other(format!("{}: cannot read {line:?}", path.display()));
        text.lines().map(|line| read_line(line).ok_or_else(|| faulty(line))).collect()
    }

    fn next_number(&self) -> Result<u64, Failure> {
        let path = self.directory.join(NUMBER);
        if !path.exists() {
            return Ok(1);
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let number: Option<u64> = text.trim().parse().ok();
        let next = number.and_then(|number| number.checked_add(1));
        next.ok_or_else(|| Failure::Other(format!("{}: there is no number in it", path.display())))
    }
}

fn lock(directory: &Path) -> Result<fs::File, Failure> {
    let failed =
        |error: std::io::Error| Failure::Other(format!("cannot lock {}: {error}", directory.display()));
    let lock = fs::File::open(directory).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(lock)
}

fn read_line(line: &str) -> Option<(Vec<u8>, Revoked)> {
    let [serial, secs, reason] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let reason = REASONS.into_iter().find(|own| own.to_string() == reason)?;
    Some((read_serial(serial)?, Revoked { at: Time(secs.parse().ok()?), reason }))
}

/// Reads a serial number as people see it.
pub(super) fn read_serial(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    hex::decode(digits).ok().filter(|serial| !serial.is_empty())
}

/// Writes a serial number for people.
pub(super) fn serial_text(serial: &[u8]) -> String {
    hex::encode(serial)
}

/// Draws a serial number: 15 random octets behind one that keeps it positive and as long as the others.
pub(super) fn new_serial() -> Vec<u8> {
    let mut serial = [0; 16];
    SystemRandom.fill(&mut serial);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial.to_vec()
}

/// Puts a fault that says it all into a failure.
pub(super) fn said(fault: impl std::fmt::Display) -> Failure {
    Failure::Other(fault.to_string())
}

pub(super) const SECS_PER_DAY: u64 = 86_400;

const ISSUED: &str = "issued";
const REVOKED: &str = "revoked";
const NUMBER: &str = "crl-number";

const REASONS: [RevocationReason; 8] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::CertificateHold,
    RevocationReason::PrivilegeWithdrawn,
];
