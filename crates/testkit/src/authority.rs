//! A CA for tests: it certifies whoever asks, around a moment at which every run takes place.

use std::sync::atomic::{AtomicU32, Ordering};

use crypto::signature::NewKey;
use pki::issue::{self, Draft, Issuer, Role};
use pki::{Certificate, GeneralName, PrivateKey, Time};
use sa::{DistinguishedName, Identity};

/// The moment at which every run begins.
pub const NOW: Time = Time(1_800_000_000);

/// For how long before and after that certificates are valid.
const VALID_SECS: u64 = 30 * 86_400;

/// A CA.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    key: PrivateKey,
}

impl Authority {
    /// Makes one that nobody has certified.
    ///
    /// # Panics
    /// The subject is no name.
    pub fn root(subject: &str, key: NewKey) -> Authority {
        let key = fresh_key(key);
        let draft = draft(subject, &key, Role::Ca { path_len: None });
        let certificate = issue::issue(&draft, Issuer::Itself(&key)).expect("a CA may certify itself");
        Authority { certificate, key }
    }

    /// Makes one below this.
    ///
    /// # Panics
    /// The subject is no name.
    #[must_use]
    pub fn subordinate(&self, subject: &str, key: NewKey) -> Authority {
        let key = fresh_key(key);
        let certificate = self.issue(&draft(subject, &key, Role::Ca { path_len: None }));
        Authority { certificate, key }
    }

    /// Certifies a new key of an identity.
    ///
    /// # Panics
    /// The identity is none that a certificate can have.
    pub fn certify(&self, identity: &Identity, key: NewKey) -> (Certificate, PrivateKey) {
        self.certify_with(identity, key, |_| {})
    }

    /// Certifies a new key of an identity, after a change of what the certificate is to say.
    ///
    /// # Panics
    /// The identity is none that a certificate can have, or the change makes no certificate.
    pub fn certify_with(
        &self,
        identity: &Identity,
        key: NewKey,
        change: impl FnOnce(&mut Draft),
    ) -> (Certificate, PrivateKey) {
        let key = fresh_key(key);
        let mut draft = draft(&format!("CN={identity}"), &key, Role::End { purposes: Vec::new() });
        draft.names = vec![match identity {
            Identity::Fqdn(name) => GeneralName::Dns(name.clone()),
            Identity::Email(address) => GeneralName::Email(address.clone()),
            other => panic!("{other} is no name that tests certify"),
        }];
        change(&mut draft);
        (self.issue(&draft), key)
    }

    fn issue(&self, draft: &Draft) -> Certificate {
        issue::issue(draft, Issuer::Ca(&self.certificate, &self.key)).expect("the test's own draft")
    }
}

fn fresh_key(key: NewKey) -> PrivateKey {
    PrivateKey::generate(key).expect("the library makes keys of such a length")
}

fn draft(subject: &str, key: &PrivateKey, role: Role) -> Draft {
    static LAST_SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = LAST_SERIAL.fetch_add(1, Ordering::Relaxed) + 1;
    Draft {
        subject: DistinguishedName::parse(subject).expect("the test's own name"),
        names: Vec::new(),
        key_info: key.public_key_info(),
        serial: serial.to_be_bytes().to_vec(),
        not_before: Time(NOW.0 - VALID_SECS),
        not_after: NOW.after_secs(VALID_SECS),
        role,
        crl_uris: Vec::new(),
        ocsp_uris: Vec::new(),
    }
}
