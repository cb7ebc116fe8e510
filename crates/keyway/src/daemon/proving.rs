//! Our signature and the peer's key: what the engine asks about proofs, answered at once or after somebody was asked.
//!
//! ```text
//!   Query::Sign  ─ sign ─┬─────────────────────────────────────────────► Answer::Signed
//!                        └ the peer wants OCSP: ask about our certificate ─┘          RFC 4806
//!   Query::Decrypt ─ decrypt ────────────────────────────────────────────► Answer::Decrypted
//!   Query::Trust ─┬ certificates that are elsewhere: fetch them ─┐                    RFC 7296 §3.6
//!                 └──────────────────────────── judge ◄──────────┘
//!                                                 └ revoked? ask whoever knows ───► Answer::Trusted
//! ```

use std::pin::Pin;
use std::sync::Arc;

use credentials::{Credentials, Judgement, Shown, ocsp_payload};
use ike::{DecryptRequest, Decrypted, SignRequest, Signed, TrustRequest, TrustedKey};
use pki::PrivateKey;
use tokio::task::spawn_blocking;

use super::lookup;
use super::revocation::{Authorities, Revocation};
use crate::moment;

/// All that proofs need.
#[derive(Clone, Debug)]
pub(crate) struct Proving {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) look_up: LookUp,
}

/// Whether certificates are fetched from where a peer says that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    Allowed,
    Never,
}

/// What has been found out, or how it will be.
pub(crate) enum Proven<T> {
    /// It is known.
    Now(Result<T, String>),
    /// Somebody must be asked.
    Later(Pin<Box<dyn Future<Output = Result<T, String>> + Send>>),
}

impl Proving {
    /// Signs in our name.
    pub(crate) fn sign(self, request: SignRequest) -> Proven<Signed> {
        if self.credentials.keys.iter().any(PrivateKey::is_elsewhere) {
            return Proven::Later(Box::pin(self.sign_elsewhere(request)));
        }
        match self.credentials.sign(&request) {
            Ok(shown) if request.wants_ocsp => Proven::Later(Box::pin(self.with_ocsp(shown, request))),
            signed => Proven::Now(signed.map(|shown| shown.signed)),
        }
    }

    /// Adds what OCSP says of our certificate.
    async fn with_ocsp(self, shown: Shown, request: SignRequest) -> Result<Signed, String> {
        let Shown { mut signed, certificate } = shown;
        let sent = certificate.filter(|_| !signed.certificates.is_empty());
        let path = sent.and_then(|own| self.credentials.own_path(&own, &request, moment::now()));
        if let Some(path) = path {
            let response = self.revocation.response_about(&path, &self.credentials, &self.authorities).await;
            signed.certificates.extend(response.as_ref().map(ocsp_payload));
        }
        Ok(signed)
    }

    /// Signs on a thread that may wait for a token. Nobody else waits meanwhile.
    async fn sign_elsewhere(self, request: SignRequest) -> Result<Signed, String> {
        let credentials = Arc::clone(&self.credentials);
        let asked = request.clone();
        let shown = spawn_blocking(move || credentials.sign(&asked)).await;
        let shown = shown.map_err(|fault| fault.to_string())??;
        if request.wants_ocsp { self.with_ocsp(shown, request).await } else { Ok(shown.signed) }
    }

    /// Decrypts what is encrypted to us.
    pub(crate) fn decrypt(self, request: DecryptRequest) -> Proven<Decrypted> {
        let credentials = self.credentials;
        if !credentials.keys.iter().any(PrivateKey::is_elsewhere) {
            return Proven::Now(credentials.decrypt(&request));
        }
        // On a thread that may wait for a token.
        Proven::Later(Box::pin(async move {
            spawn_blocking(move || credentials.decrypt(&request)).await.map_err(|fault| fault.to_string())?
        }))
    }

    /// Finds a peer's key.
    pub(crate) fn trust(self, request: TrustRequest) -> Proven<TrustedKey> {
        if lookup::is_needed(&request.certificates) {
            if self.look_up == LookUp::Never {
                return Proven::Now(Err(format!(
                    "{} sends only where its certificate is, which `keyway run --hash-and-url` would fetch",
                    request.remote
                )));
            }
            return Proven::Later(Box::pin(self.look_up_and_trust(request)));
        }
        match self.credentials.judge(&request, moment::now()) {
            Ok(judgement) if Revocation::may_ask(&judgement, &self.authorities) => {
                Proven::Later(Box::pin(async move { self.settle(judgement).await }))
            }
            judged => {
                let at_hand = |judgement| self.credentials.at_hand(judgement, moment::now());
                Proven::Now(judged.and_then(at_hand))
            }
        }
    }

    async fn look_up_and_trust(self, mut request: TrustRequest) -> Result<TrustedKey, String> {
        let sent = std::mem::take(&mut request.certificates);
        request.certificates = lookup::look_up(self.revocation.fetcher(), sent).await?;
        let judgement = self.credentials.judge(&request, moment::now())?;
        self.settle(judgement).await
    }

    async fn settle(&self, judgement: Judgement) -> Result<TrustedKey, String> {
        self.revocation.settle(judgement, &self.credentials, &self.authorities).await
    }
}
