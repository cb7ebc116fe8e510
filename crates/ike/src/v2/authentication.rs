//! The AUTH payload: how an end proves who it is, and the only place that believes it (RFC 7296 §2.15).

use crypto::Secret;
use sa::IkeSuite;
use wire::registry::AuthMethod;
use wire::v2::{Authentication, Identification};

use super::keys::{IkeKeys, Nonces, SignedOctets, psk_auth};
use crate::context::Context;
use crate::error::Error;
use crate::{Identity, Role};

/// The proof that the peer is who it says. Only [`verify`] makes one, and without one no Child SA is installed.
#[derive(Clone, Debug)]
pub(crate) struct PeerAuthenticated {
    local: Identity,
    remote: Identity,
}

impl PeerAuthenticated {
    /// Gives who we are to this peer.
    pub(crate) fn local(&self) -> &Identity {
        &self.local
    }

    /// Gives who the peer is.
    pub(crate) fn remote(&self) -> &Identity {
        &self.remote
    }
}

/// What an IKE_SA_INIT exchange leaves for the AUTH payloads to sign.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    sk_pi: Secret<Vec<u8>>,
    sk_pr: Secret<Vec<u8>>,
}

impl Transcript {
    pub(crate) fn new(
        keys: &IkeKeys,
        request: Vec<u8>,
        response: Vec<u8>,
        nonce_i: Vec<u8>,
        nonce_r: Vec<u8>,
    ) -> Transcript {
        Transcript {
            request,
            response,
            nonce_i,
            nonce_r,
            sk_pi: keys.sk_pi.clone(),
            sk_pr: keys.sk_pr.clone(),
        }
    }

    pub(crate) fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.nonce_i, responder: &self.nonce_r }
    }

    /// Gives what the end with this role signs, with the body of its ID payload.
    fn signed_by<'a>(&'a self, role: Role, identification_body: &'a [u8]) -> SignedOctets<'a> {
        match role {
            Role::Initiator => SignedOctets {
                message: &self.request,
                nonce: &self.nonce_r,
                sk_p: &self.sk_pi,
                identification_body,
            },
            Role::Responder => SignedOctets {
                message: &self.response,
                nonce: &self.nonce_i,
                sk_p: &self.sk_pr,
                identification_body,
            },
        }
    }
}

/// Makes our AUTH payload.
///
/// # Errors
/// No secret is configured for the two identities.
pub(crate) fn sign(
    cx: &Context,
    transcript: &Transcript,
    suite: &IkeSuite,
    role: Role,
    local: &Identity,
    remote: &Identity,
) -> Result<Authentication, Error> {
    let secret = cx
        .shared_secret(local, remote)
        .ok_or_else(|| Error::Local(format!("no pre-shared key is configured for {local} and {remote}")))?;
    let body = local.to_wire().to_body();
    let value = psk_auth(suite.prf.prf, secret.as_slice(), &transcript.signed_by(role, &body));
    Ok(Authentication { method: AuthMethod::SHARED_KEY, data: value.as_slice().to_vec() })
}

/// Checks the peer's AUTH payload; `identification` is its ID payload as it came.
///
/// # Errors
/// The proof is of a kind that is not configured, no secret is configured, or it does not fit.
pub(crate) fn verify(
    cx: &Context,
    transcript: &Transcript,
    suite: &IkeSuite,
    our_role: Role,
    local: &Identity,
    identification: &Identification,
    proof: &Authentication,
) -> Result<PeerAuthenticated, Error> {
    let remote = Identity::from_wire(identification);
    if proof.method != AuthMethod::SHARED_KEY {
        let sentence =
            format!("{remote} proves itself by \"{}\"; configured is a pre-shared key", proof.method);
        return Err(Error::AuthenticationFailed(sentence));
    }
    let secret = cx.shared_secret(local, &remote).ok_or_else(|| {
        Error::AuthenticationFailed(format!("no pre-shared key is configured for {local} and {remote}"))
    })?;
    let body = identification.to_body();
    let expected =
        psk_auth(suite.prf.prf, secret.as_slice(), &transcript.signed_by(our_role.opposite(), &body));
    if expected.ct_eq(&proof.data) {
        Ok(PeerAuthenticated { local: local.clone(), remote })
    } else {
        let sentence = format!("the pre-shared keys of {local} (here) and {remote} (the peer) differ");
        Err(Error::AuthenticationFailed(sentence))
    }
}
