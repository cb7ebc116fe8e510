//! HASH_I and HASH_R: how an end proves in IKEv1 who it is, with a pre-shared key (RFC 2409 §5, §5.4); and the password by
//! which a user does the same afterwards (XAuth).
//!
//! ```text
//!  HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)
//!  HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)
//! ```

use crypto::{Prf, Secret};

use super::PeerAuthenticated;
use crate::context::{Contact, Context};
use crate::error::Error;
use crate::exchange::IkeSpis;
use crate::v1::check_unique;
use crate::{Connection, Identity, Role, Xauth};

/// What the proofs of a phase 1 cover besides identities.
#[derive(Debug)]
pub(crate) struct Transcript {
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
    /// Computes the proof of the end with this role, whose ID payload has this body.
    pub(crate) fn proof(&self, role: Role, identification_body: &[u8]) -> Secret<Vec<u8>> {
        let (spi_i, spi_r) = (self.spis.initiator.to_octets(), self.spis.responder.to_octets());
        let (public_i, public_r) = (self.public_i.as_slice(), self.public_r.as_slice());
        let parts = match role {
            Role::Initiator => [public_i, public_r, &spi_i, &spi_r, &self.sa_body, identification_body],
            Role::Responder => [public_r, public_i, &spi_r, &spi_i, &self.sa_body, identification_body],
        };
        self.prf.compute(self.skeyid.as_slice(), &parts)
    }

    /// Checks the peer's proof; `remote` is what its ID payload, of this body, says.
    ///
    /// # Errors
    /// It is not the proof of that identity.
    pub(crate) fn verify(
        &self,
        our_role: Role,
        local: &Identity,
        remote: &Identity,
        identification_body: &[u8],
        proof: &[u8],
    ) -> Result<DeviceAuthenticated, Error> {
        if self.proof(our_role.opposite(), identification_body).ct_eq(proof) {
            Ok(DeviceAuthenticated(PeerAuthenticated {
                local: local.clone(),
                remote: remote.clone(),
                own_user: None,
                user: None,
                addresses: None,
            }))
        } else {
            let sentence = format!(
                "the hash of {remote} (the peer) is not the one that it should be for {local} (here)"
            );
            Err(Error::AuthenticationFailed(sentence))
        }
    }
}

/// What phase 1 proves: which device the peer is. Where its user is to give a password besides, that is half a proof.
#[derive(Debug)]
pub(crate) struct DeviceAuthenticated(PeerAuthenticated);

impl DeviceAuthenticated {
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
