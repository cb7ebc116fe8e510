//! HASH_I and HASH_R: how an end proves in IKEv1 who it is, with a pre-shared key (RFC 2409 §5.4) or by signing them
//! (§5.1, RFC 4754), or by having decrypted a nonce that SKEYID comes from (§5.2, §5.3); and the password by which a user
//! does the same afterwards (XAuth).
//!
//! ```text
//!  HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)
//!  HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)
//!
//!  SIG_I, SIG_R   the private key's operation on that: RSA in the padding of PKCS #1 v1.5 without the name of a hash,
//!                 ECDSA as r and s side by side
//! ```

use std::sync::Arc;

use crypto::signature::KeyKind;
use crypto::{Prf, Secret};
use sa::AddressRange;
use wire::v1::{Certificate, Payload};

use super::PeerAuthenticated;
use crate::context::{Contact, Context};
use crate::credentials::{AuthorityName, SignRequest, SignatureForm, Signed, TrustRequest, TrustedKey};
use crate::error::Error;
use crate::exchange::IkeSpis;
use crate::v1::check_unique;
use crate::v1::contents::Contents;
use crate::v1::method::{Means, Method, scheme_of};
use crate::{Authentication, Connection, Identity, Role, Xauth};

/// What the proofs of a phase 1 cover besides identities.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    pub method: &'static Method,
    /// Makes the hashes.
    pub prf: &'static dyn Prf,
    pub skeyid: Secret<Vec<u8>>,
    pub spis: IkeSpis,
    /// The initiator's public value.
    pub public_i: Vec<u8>,
    /// The responder's.
    pub public_r: Vec<u8>,
    /// The body of the initiator's SA payload, as it was sent.
    pub sa_body: Vec<u8>,
}

impl Transcript {
    /// Computes the hash of the end with this role, whose ID payload has this body.
    fn hash(&self, role: Role, identification_body: &[u8]) -> Secret<Vec<u8>> {
        let (spi_i, spi_r) = (self.spis.initiator.to_octets(), self.spis.responder.to_octets());
        let (public_i, public_r) = (self.public_i.as_slice(), self.public_r.as_slice());
        let parts = match role {
            Role::Initiator => [public_i, public_r, &spi_i, &spi_r, &self.sa_body, identification_body],
            Role::Responder => [public_r, public_i, &spi_r, &spi_i, &self.sa_body, identification_body],
        };
        self.prf.compute(self.skeyid.as_slice(), &parts)
    }

    /// Tells whether the end with this role knows the pre-shared key that SKEYID is made from: whether its HASH is right.
    pub(crate) fn knows_key(&self, role: Role, contents: &Contents<'_>) -> bool {
        let parts = contents.identification().and_then(|(_, body)| Ok((body, contents.hash()?)));
        parts.is_ok_and(|(body, hash)| self.hash(role, body).ct_eq(hash))
    }

    /// Gives the same with another SKEYID.
    pub(crate) fn under(&self, skeyid: Secret<Vec<u8>>) -> Transcript {
        Transcript { skeyid, ..self.clone() }
    }
}

// --- Our proof -----------------------------------------------------------------------------------------------------

/// Whether we can prove who we are at once.
pub(crate) enum Proving {
    /// We can, by these payloads.
    Ready(Vec<Payload>),
    /// Somebody outside must sign first.
    Wanted(Box<SignRequest>),
}

impl Transcript {
    /// Makes our proof, or says what is to be signed for it; `authorities` are those that the peer trusts, as far as it
    /// has said.
    pub(crate) fn prove(
        &self,
        role: Role,
        connection: &Arc<Connection>,
        (local, identification_body): (&Identity, &[u8]),
        authorities: Option<Vec<AuthorityName>>,
    ) -> Proving {
        let hash = self.hash(role, identification_body).as_slice().to_vec();
        match self.method.means(role) {
            Means::Secret | Means::Decryption(_) | Means::User => Proving::Ready(vec![Payload::Hash(hash)]),
            Means::Signature(kind) => Proving::Wanted(Box::new(SignRequest {
                connection: Arc::clone(connection),
                round: 0,
                local: local.clone(),
                message: hash,
                form: SignatureForm::Bare(kind),
                authorities,
                wants_ocsp: false,
                announced: None,
                takes_raw_key: false,
                can_look_up: false,
            })),
        }
    }
}

/// Makes our proof of a signature that was made outside: the certificates, then SIG.
///
/// # Errors
/// It could not be made.
pub(crate) fn proof_of(signed: Result<Signed, String>) -> Result<Vec<Payload>, Error> {
    let Signed { certificates, signature, .. } = signed.map_err(Error::Local)?;
    let certificates = certificates.into_iter().map(|certificate| {
        Payload::Certificate(Certificate { encoding: certificate.encoding, data: certificate.data })
    });
    Ok(certificates.chain([Payload::Signature(signature)]).collect())
}

// --- The peer's proof ----------------------------------------------------------------------------------------------

/// Whether the peer's proof is believed already.
pub(crate) enum Belief {
    /// It is.
    Proven(DeviceAuthenticated),
    /// Somebody outside must say first which key is the peer's.
    Depends(Box<TrustRequest>, Box<Claim>),
}

/// A signature by which the peer says who it is.
#[derive(Debug)]
pub(crate) struct Claim {
    connection: Arc<Connection>,
    kind: KeyKind,
    local: Identity,
    remote: Identity,
    hash: Secret<Vec<u8>>,
    signature: Vec<u8>,
}

impl Transcript {
    /// Checks the peer's proof, or says what is to be found out for that; `remote` is what its ID payload, of this body,
    /// says.
    ///
    /// # Errors
    /// It is not the proof of that identity, or none that the method allows.
    pub(crate) fn judge(
        &self,
        our_role: Role,
        connection: &Arc<Connection>,
        local: &Identity,
        (remote, identification_body): (&Identity, &[u8]),
        contents: &Contents<'_>,
    ) -> Result<Belief, Error> {
        let their_role = our_role.opposite();
        let hash = self.hash(their_role, identification_body);
        match self.method.means(their_role) {
            // A user's device shows with it that it made the keys, and no more.
            Means::Secret | Means::Decryption(_) | Means::User if hash.ct_eq(contents.hash()?) => {
                Ok(Belief::Proven(DeviceAuthenticated::of(local, remote)))
            }
            Means::Secret | Means::Decryption(_) | Means::User => Err(Error::AuthenticationFailed(format!(
                "the hash of {remote} (the peer) is not the one that it should be for {local} (here)"
            ))),
            Means::Signature(kind) => {
                let request = TrustRequest {
                    connection: Arc::clone(connection),
                    round: 0,
                    remote: remote.clone(),
                    certificates: contents.certificates()?,
                    algorithm: None,
                };
                let claim = Claim {
                    connection: Arc::clone(connection),
                    kind,
                    local: local.clone(),
                    remote: remote.clone(),
                    hash,
                    signature: contents.signature()?.to_vec(),
                };
                Ok(Belief::Depends(Box::new(request), Box::new(claim)))
            }
        }
    }
}

impl Claim {
    /// Checks the signature with the key that is known to be the peer's.
    ///
    /// # Errors
    /// None is, or it is of a kind that was not agreed on or is not allowed, or did not sign.
    pub(crate) fn verify_with(
        &self,
        trusted: Result<TrustedKey, String>,
    ) -> Result<DeviceAuthenticated, Error> {
        let Claim { connection, kind, local, remote, hash, signature } = self;
        let TrustedKey { key, addresses, .. } = trusted.map_err(Error::AuthenticationFailed)?;
        let refused = |sentence| Err(Error::AuthenticationFailed(sentence));
        let Authentication::Signature(terms) = &connection.remote_authentication else {
            return Err(Error::Local("a pre-shared key is not proven by a signature".to_owned()));
        };
        if key.kind() != *kind {
            let theirs = key.kind();
            return refused(format!(
                "the key of {remote} is of {theirs}; signatures by {kind} were agreed on"
            ));
        }
        let Some(scheme) = scheme_of(*kind).filter(|scheme| terms.rank(*scheme, key.bits()).is_some()) else {
            let bits = key.bits();
            return refused(format!("{remote} signs by a key of {kind} and {bits} bits; allowed is {terms}"));
        };
        if key.verify(scheme, hash.as_slice(), signature).is_err() {
            return refused(format!("the signature of {remote} was not made with its key of {kind}"));
        }
        let DeviceAuthenticated(peer) = DeviceAuthenticated::of(local, remote);
        Ok(DeviceAuthenticated(PeerAuthenticated { addresses, ..peer }))
    }
}

/// What phase 1 proves: which device the peer is. Where its user is to give a password besides, that is half a proof.
#[derive(Debug)]
pub(crate) struct DeviceAuthenticated(PeerAuthenticated);

impl DeviceAuthenticated {
    fn of(local: &Identity, remote: &Identity) -> DeviceAuthenticated {
        DeviceAuthenticated(PeerAuthenticated {
            local: local.clone(),
            remote: remote.clone(),
            own_user: None,
            user: None,
            addresses: None,
        })
    }

    /// Notes the addresses that the peer's certificate lets it speak for (RFC 3779).
    pub(crate) fn within(self, addresses: Option<Vec<AddressRange>>) -> DeviceAuthenticated {
        DeviceAuthenticated(PeerAuthenticated { addresses, ..self.0 })
    }

    /// Gives who we are to this peer.
    pub(crate) fn local(&self) -> &Identity {
        &self.0.local
    }

    /// Gives who the peer is.
    pub(crate) fn remote(&self) -> &Identity {
        &self.0.remote
    }

    /// Refuses a peer that is connected already, where `unique` wants that; of a peer with a user, who that is decides.
    pub(crate) fn check_unique(
        &self,
        cx: &Context,
        connection: &Connection,
        contact: Contact,
    ) -> Result<(), Error> {
        match connection.xauth {
            Xauth::Theirs => Ok(()),
            Xauth::None | Xauth::Ours(_) => {
                check_unique(cx, connection, (self.local(), self.remote()), contact)
            }
        }
    }

    /// Takes it for the whole proof, where the connection wants no user of the peer.
    pub(crate) fn without_user(&self, connection: &Connection) -> Option<PeerAuthenticated> {
        match &connection.xauth {
            Xauth::None => Some(self.0.clone()),
            Xauth::Ours(user) => {
                Some(PeerAuthenticated { own_user: Some(user_of(user.as_bytes())), ..self.0.clone() })
            }
            Xauth::Theirs => None,
        }
    }

    /// Checks the name and the password of the peer's user.
    ///
    /// # Errors
    /// There is no such user, or another password is configured.
    pub(crate) fn with_user(
        &self,
        cx: &Context,
        name: &[u8],
        password: &[u8],
    ) -> Result<PeerAuthenticated, Error> {
        let user = user_of(name);
        let Some(configured) = cx.password_of(&user) else {
            return Err(Error::AuthenticationFailed(format!("no password is configured for user {user}")));
        };
        if !configured.ct_eq(password) {
            return Err(Error::AuthenticationFailed(format!(
                "user {user} gave another password than is configured"
            )));
        }
        Ok(PeerAuthenticated { user: Some(user), ..self.0.clone() })
    }
}

/// Gives the identity that the name of a user is.
pub(crate) fn user_of(name: &[u8]) -> Identity {
    let text = std::str::from_utf8(name).ok();
    text.and_then(|text| Identity::parse(text).ok()).unwrap_or_else(|| Identity::KeyId(name.to_vec()))
}
