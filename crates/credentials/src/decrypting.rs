//! What is encrypted to us: which of our keys reads it (RFC 2409 §5.2, §5.3).
//!
//! A peer may name the certificate that it used by a hash; else the first key of RSA counts that we would also sign with.
//! What comes out may be nonsense, and nobody is told whether it is: see [`crypto::encryption`].

use crypto::signature::KeyKind;
use ike::{CertificateHash, Connection, DecryptRequest, Decrypted, OwnKeys};
use pki::{Certificate, PrivateKey};

use crate::signing::encoded;
use crate::{Credentials, Wishes};

impl Credentials {
    /// Decrypts in our name.
    ///
    /// # Errors
    /// We have no key for it, as anybody can see; one sentence.
    pub fn decrypt(&self, request: &DecryptRequest) -> Result<Decrypted, String> {
        let key = self.decrypting_key(request)?;
        let key = key.signing_key();
        let messages = request.ciphertexts.iter().map(|ciphertext| {
            key.decrypt(&ciphertext.octets, ciphertext.lengths.clone()).map_err(|fault| fault.to_string())
        });
        Ok(Decrypted(messages.collect::<Result<_, _>>()?))
    }

    fn decrypting_key(&self, request: &DecryptRequest) -> Result<PrivateKey, String> {
        let mut fault = None;
        for recipient in &request.recipients {
            let wishes = self.wishes(&recipient.connection.name, 0);
            let candidates = match self.candidates(&recipient.local, &wishes) {
                Ok(candidates) => candidates,
                Err(sentence) => {
                    fault = fault.or(Some(sentence));
                    continue;
                }
            };
            let meant = candidates.into_iter().find(|candidate| {
                is_of_rsa(candidate.key)
                    && match (&request.certificate, candidate.chain.first()) {
                        (Some(hint), Some(own)) => is_named(hint, own),
                        // A key without a certificate has nothing that a hint could name.
                        (None, _) | (Some(_), None) => true,
                    }
            });
            if let Some(candidate) = meant {
                return Ok(candidate.key.clone());
            }
        }
        Err(fault.unwrap_or_else(|| match request.certificate {
            Some(_) => "the peer encrypted to a certificate that is none of ours here".to_owned(),
            None => nothing(),
        }))
    }

    /// Tells which keys of ours prove us for a connection.
    pub fn own_keys(&self, connection: &Connection) -> OwnKeys {
        let wishes = self.wishes(&connection.name, 0);
        let decrypting = self.decrypting_certificate(connection, &wishes);
        OwnKeys { kinds: self.key_kinds(connection), decrypting: decrypting.map(encoded) }
    }

    /// Finds the certificate of the key that decrypts where nobody names one.
    fn decrypting_certificate<'a>(
        &'a self,
        connection: &Connection,
        wishes: &'a Wishes,
    ) -> Option<&'a Certificate> {
        if !wishes.own_keys.is_empty() && wishes.own.is_empty() {
            return None;
        }
        let own = if wishes.own.is_empty() { &self.certificates } else { &wishes.own };
        let is_for_us = |certificate: &&Certificate| match &connection.local_identity {
            Some(local) => pki::certifies(certificate, local).is_ok(),
            None => true,
        };
        let has_key = |certificate: &&Certificate| {
            self.keys.iter().any(|key| key.belongs_to(certificate) && is_of_rsa(key))
        };
        own.iter().filter(is_for_us).find(has_key)
    }
}

fn is_of_rsa(key: &PrivateKey) -> bool {
    key.signing_key().verifying_key().kind() == KeyKind::Rsa
}

/// RFC 2409 §5.2: HASH(1).
fn is_named(hint: &CertificateHash, certificate: &Certificate) -> bool {
    hint.function.digest(&[certificate.to_der()]) == hint.digest
}

fn nothing() -> String {
    "we have no private key of RSA for the peer to encrypt to".to_owned()
}
