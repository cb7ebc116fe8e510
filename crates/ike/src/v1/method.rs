//! How the ends of a phase 1 prove who they are: one number says it for both.
//!
//! | methods | initiator | responder | |
//! |---|---|---|---|
//! | 1 | pre-shared key | pre-shared key | RFC 2409 §5.4 |
//! | 3, 9 to 11 | signature | signature | RFC 2409 §5.1, RFC 4754 |
//! | 4, 5 | decryption | decryption | RFC 2409 §5.2, §5.3 |
//! | 65001, 65005 | the same, and a user's password | the same | draft-beaulieu-ike-xauth-02 §7.2 |
//! | 65002, 65006 | the same | the same, and a user's password | |
//! | 64221 | a user's password | signature | draft-ietf-ipsec-isakmp-hybrid-auth-05 §3.2 |
//! | 64222 | signature | a user's password | |
//!
//! A number for signatures says the kind of key, too. So both ends have keys of one kind, and whoever has keys of several
//! offers a method for each.

use std::fmt;

use crypto::Prf;
use crypto::signature::{Curve, KeyKind, SignatureScheme};
use wire::registry::v1::AuthenticationMethod;

use crate::context::Context;
use crate::{Authentication, Connection, EncryptionForm, Role, Xauth};

/// How the two ends prove who they are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) number: AuthenticationMethod,
    initiator: Means,
    responder: Means,
    /// The end whose user gives a password besides.
    user: Option<Role>,
}

/// How one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// By a hash that only who knows the pre-shared key can make.
    Secret,
    /// By a signature of a key of this kind.
    Signature(KeyKind),
    /// By a hash that only who has decrypted the other end's nonce can make.
    Decryption(EncryptionForm),
    /// Not in phase 1: only its user's password does, afterwards.
    User,
}

/// What SKEYID is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keying {
    /// The pre-shared key.
    PreSharedKey,
    /// The secret of the key exchange.
    Signature,
    /// The nonces, which only the two ends know.
    Encryption,
}

/// All that there are here, the best first: of signatures, those whose keys are the stronger for their length.
static METHODS: [Method; 13] = {
    use AuthenticationMethod as Number;
    const RSA: Means = Means::Signature(KeyKind::Rsa);
    [
        both(Number::ECDSA_SHA256_P256, Means::Signature(KeyKind::Ecdsa(Curve::P256)), None),
        both(Number::ECDSA_SHA384_P384, Means::Signature(KeyKind::Ecdsa(Curve::P384)), None),
        both(Number::ECDSA_SHA512_P521, Means::Signature(KeyKind::Ecdsa(Curve::P521)), None),
        both(Number::RSA_SIGNATURES, RSA, None),
        both(Number::RSA_ENCRYPTION, Means::Decryption(EncryptionForm::Plain), None),
        both(Number::REVISED_RSA_ENCRYPTION, Means::Decryption(EncryptionForm::Revised), None),
        both(Number::PRE_SHARED_KEY, Means::Secret, None),
        both(Number::XAUTH_INIT_RSA, RSA, Some(Role::Initiator)),
        both(Number::XAUTH_RESP_RSA, RSA, Some(Role::Responder)),
        Method {
            number: Number::HYBRID_INIT_RSA,
            initiator: Means::User,
            responder: RSA,
            user: Some(Role::Initiator),
        },
        Method {
            number: Number::HYBRID_RESP_RSA,
            initiator: RSA,
            responder: Means::User,
            user: Some(Role::Responder),
        },
        both(Number::XAUTH_INIT_PRE_SHARED, Means::Secret, Some(Role::Initiator)),
        both(Number::XAUTH_RESP_PRE_SHARED, Means::Secret, Some(Role::Responder)),
    ]
};

const fn both(number: AuthenticationMethod, means: Means, user: Option<Role>) -> Method {
    Method { number, initiator: means, responder: means, user }
}

/// Gives the methods by which a connection can come up when we have this role, as far as our keys make them.
pub(crate) fn methods_of(cx: &Context, connection: &Connection, role: Role) -> Vec<&'static Method> {
    let keys = cx.own_keys.get(&connection.name);
    let is_ours = |method: &&Method| match (method.means(role), keys) {
        (Means::Signature(kind), Some(keys)) => keys.kinds.contains(&kind),
        (Means::Decryption(_), Some(keys)) => keys.kinds.contains(&KeyKind::Rsa),
        (Means::Signature(_) | Means::Decryption(_), None) | (Means::Secret | Means::User, _) => true,
    };
    METHODS.iter().filter(|method| method.fits(connection, role)).filter(is_ours).collect()
}

/// Tells whether there is any method by which a connection can come up in version 1.
pub(crate) fn is_provable(connection: &Connection) -> bool {
    METHODS.iter().any(|method| method.fits(connection, Role::Initiator))
}

impl Method {
    /// Finds a method by its number.
    #[cfg(test)]
    pub(crate) fn find(number: AuthenticationMethod) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.number == number)
    }

    /// Gives how the end with this role proves who it is.
    pub(crate) fn means(&self, role: Role) -> Means {
        match role {
            Role::Initiator => self.initiator,
            Role::Responder => self.responder,
        }
    }

    /// Gives what SKEYID is made from.
    pub(crate) fn keying(&self) -> Keying {
        match (self.initiator, self.responder) {
            (Means::Secret, Means::Secret) => Keying::PreSharedKey,
            (Means::Signature(_) | Means::User, _) | (_, Means::Signature(_) | Means::User) => {
                Keying::Signature
            }
            (Means::Decryption(_), _) | (_, Means::Decryption(_)) => Keying::Encryption,
        }
    }

    /// Gives how the two ends encrypt nonces and identities to each other, if they do.
    pub(crate) fn encryption(&self) -> Option<EncryptionForm> {
        match self.initiator {
            Means::Decryption(form) => Some(form),
            Means::Secret | Means::Signature(_) | Means::User => None,
        }
    }

    /// Gives what makes the hashes that are signed: where a method has a hash of its own, that one's HMAC in place of what
    /// was agreed on (RFC 2409 §5.1).
    pub(crate) fn hashing(&self, agreed: &'static dyn Prf) -> &'static dyn Prf {
        match (self.initiator, self.responder) {
            (Means::Signature(KeyKind::Ecdsa(curve)), _) | (_, Means::Signature(KeyKind::Ecdsa(curve))) => {
                match curve {
                    Curve::P256 | Curve::BrainpoolP256r1 => crypto::prf::HMAC_SHA2_256,
                    Curve::P384 | Curve::BrainpoolP384r1 => crypto::prf::HMAC_SHA2_384,
                    Curve::P521 | Curve::BrainpoolP512r1 => crypto::prf::HMAC_SHA2_512,
                }
            }
            _ => agreed,
        }
    }

    fn fits(&self, connection: &Connection, role: Role) -> bool {
        // Version 1 has no second round, and must not do with less than is wanted.
        if connection.own_authentication(1).is_some() || connection.peer_authentication(1).is_some() {
            return false;
        }
        let ends = [
            (&connection.local_authentication, self.means(role)),
            (&connection.remote_authentication, self.means(role.opposite())),
        ];
        let user = match connection.xauth {
            Xauth::None => None,
            Xauth::Ours(_) => Some(role),
            Xauth::Theirs => Some(role.opposite()),
        };
        user == self.user && ends.into_iter().all(|(configured, means)| means.fits(configured))
    }
}

impl Means {
    fn fits(self, configured: &Authentication) -> bool {
        match (configured, self) {
            (Authentication::PreSharedKey, Means::Secret) | (Authentication::User, Means::User) => true,
            (Authentication::Encryption(wanted), Means::Decryption(form)) => *wanted == form,
            (Authentication::Signature(terms), Means::Signature(kind)) => {
                scheme_of(kind).is_some_and(|scheme| terms.allows(scheme))
            }
            (Authentication::Null, _)
            | (Authentication::PreSharedKey, Means::Signature(_) | Means::Decryption(_) | Means::User)
            | (Authentication::Signature(_), Means::Secret | Means::Decryption(_) | Means::User)
            | (Authentication::User, Means::Secret | Means::Signature(_) | Means::Decryption(_))
            | (Authentication::Encryption(_), Means::Secret | Means::Signature(_) | Means::User) => false,
        }
    }
}

/// Gives how a key of some kind signs a hash of version 1.
pub(crate) fn scheme_of(kind: KeyKind) -> Option<SignatureScheme> {
    match kind {
        KeyKind::Rsa => Some(SignatureScheme::RsaBare),
        KeyKind::Ecdsa(Curve::P256 | Curve::P384 | Curve::P521) => Some(SignatureScheme::EcdsaBare),
        KeyKind::Ecdsa(Curve::BrainpoolP256r1 | Curve::BrainpoolP384r1 | Curve::BrainpoolP512r1)
        | KeyKind::Ed25519
        | KeyKind::Ed448
        | KeyKind::MlDsa(_) => None,
    }
}

/// Names methods one after the other.
pub(crate) fn in_words(methods: &[&Method]) -> String {
    let words: Vec<_> = methods.iter().map(|method| method.to_string()).collect();
    words.join(", ")
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
