//! Private keys on disk, in every form in which people have them.
//!
//! | form | PEM label | what it holds |
//! |---|---|---|
//! | PKCS #8 (RFC 5958) | `PRIVATE KEY` | any key |
//! | PKCS #8, encrypted (RFC 5958 §3) | `ENCRYPTED PRIVATE KEY` | the same behind a password (RFC 8018) |
//! | PKCS #1 (RFC 8017 A.1.2) | `RSA PRIVATE KEY` | an RSA key |
//! | SEC 1 (RFC 5915) | `EC PRIVATE KEY` | a key on an elliptic curve |
//!
//! The last two may be encrypted as old versions of OpenSSL did, with headers in the PEM. Each may also be DER without the
//! letters. PKCS #12 has a module of its own.

use std::fmt;
use std::sync::Arc;

use crypto::signature::{InvalidKey, KeyKind, NewKey, signing_key};
use crypto::{Random, Secret, SigningKey, SystemRandom};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Sequence};
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use thiserror::Error;
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::encryption::{CannotDecrypt, Password, decrypt_key, decrypt_pem, is_encrypted};
use crate::pem::Block;
use crate::public_key::{InvalidPublicKey, PublicKey, curve_name, curve_of, kind_of, ml_dsa_name};
use crate::{Certificate, limits, ml_dsa_key, oid, pem};

/// A private key.
#[derive(Clone)]
pub struct PrivateKey {
    kind: KeyKind,
    /// As [`signing_key`] takes them; none if the key is elsewhere.
    octets: Arc<Secret<Vec<u8>>>,
    key: Arc<dyn SigningKey>,
}

/// Why there is no private key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPrivateKey {
    /// The octets are nothing that we know.
    #[error("this is no private key in PEM or DER (PKCS #8, PKCS #1 or SEC 1)")]
    Unrecognized,
    /// The PEM is damaged.
    #[error(transparent)]
    Pem(#[from] pem::InvalidPem),
    /// There is no password.
    #[error("the private key is encrypted, and there is no password for it")]
    PasswordWanted,
    /// It cannot be opened.
    #[error("the private key cannot be opened: {0}")]
    Closed(#[from] CannotDecrypt),
    /// It is of an algorithm or curve that we do not know.
    #[error("the private key is of the algorithm {0}, which we do not know")]
    UnknownAlgorithm(ObjectIdentifier),
    /// What is inside is no key of its algorithm.
    #[error("the file says that it holds a private key, but it is no valid {0} key")]
    Invalid(KeyKind),
}

impl PrivateKey {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// The library fails, or refuses so short or so long a modulus.
    pub fn generate(new: NewKey) -> Result<PrivateKey, crypto::Error> {
        let octets = new.generate()?;
        PrivateKey::new(new.kind(), octets).map_err(|_| crypto::Error::Library)
    }

    /// Reads a file, with a password if it needs one.
    ///
    /// # Errors
    /// There is no private key in it, or it cannot be opened or used.
    pub fn read(octets: &[u8], password: Option<&Password>) -> Result<PrivateKey, InvalidPrivateKey> {
        if !pem::is_pem(octets) {
            return read_der(octets, password);
        }
        let blocks = pem::read(octets)?;
        let key = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        PrivateKey::from_block(key.ok_or(InvalidPrivateKey::Unrecognized)?, password)
    }

    /// Reads a PEM block.
    pub(crate) fn from_block(
        block: &Block,
        password: Option<&Password>,
    ) -> Result<PrivateKey, InvalidPrivateKey> {
        let content = block.content.as_slice();
        if let Some((_, dek_info)) = block.headers.iter().find(|(name, _)| name == "DEK-Info") {
            let password = password.ok_or(InvalidPrivateKey::PasswordWanted)?;
            let content = decrypt_pem(dek_info, content, password)?;
            let opened = Block { label: block.label.clone(), headers: Vec::new(), content };
            return PrivateKey::from_block(&opened, None).map_err(|_| CannotDecrypt::WrongPassword.into());
        }
        match block.label.as_str() {
            "PRIVATE KEY" => read_pkcs8(content),
            "ENCRYPTED PRIVATE KEY" => read_encrypted(content, password),
            "RSA PRIVATE KEY" => PrivateKey::new(KeyKind::Rsa, content.into()),
            "EC PRIVATE KEY" => read_sec1(content, None),
            _ => Err(InvalidPrivateKey::Unrecognized),
        }
    }

    pub(crate) fn new(kind: KeyKind, octets: Secret<Vec<u8>>) -> Result<PrivateKey, InvalidPrivateKey> {
        let key = signing_key(kind, &octets).map_err(|InvalidKey(kind)| InvalidPrivateKey::Invalid(kind))?;
        let bits = key.verifying_key().bits();
        if kind == KeyKind::Rsa && !(limits::MIN_RSA_BITS..=limits::MAX_RSA_BITS).contains(&bits) {
            return Err(InvalidPrivateKey::Invalid(kind));
        }
        Ok(PrivateKey { kind, octets: Arc::new(octets), key })
    }

    /// Takes a key that signs somewhere else, such as on a token. Its octets are not to be had.
    pub fn elsewhere(key: Arc<dyn SigningKey>) -> PrivateKey {
        let kind = key.verifying_key().kind();
        PrivateKey { kind, octets: Arc::default(), key }
    }

    /// Tells whether the key signs somewhere else, which may take a while.
    pub fn is_elsewhere(&self) -> bool {
        self.octets.as_slice().is_empty()
    }

    /// Gives what signs with it.
    pub fn signing_key(&self) -> &Arc<dyn SigningKey> {
        &self.key
    }

    /// Gives the kind of key.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Gives the SubjectPublicKeyInfo of its public key in DER.
    pub fn public_key_info(&self) -> Vec<u8> {
        crate::encode_public_key(self.key.verifying_key())
    }

    /// Tells whether a certificate is for this key.
    pub fn belongs_to(&self, certificate: &Certificate) -> bool {
        let own = PublicKey::from_der(&self.public_key_info());
        matches!((own, certificate.key()), (Ok(own), Ok(key)) if own == *key)
    }

    /// Writes the key as PKCS #8 in PEM, not encrypted.
    pub fn to_pem(&self) -> Secret<Vec<u8>> {
        pem::write("PRIVATE KEY", self.to_pkcs8().as_slice())
    }

    /// Writes the key as PKCS #8 in PEM, encrypted with AES-256-CBC and a key that PBKDF2 makes of the password.
    ///
    /// # Errors
    /// The library fails.
    pub fn to_encrypted_pem(&self, password: &Password) -> Result<Secret<Vec<u8>>, crypto::Error> {
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        SystemRandom.fill(&mut salt);
        SystemRandom.fill(&mut iv);
        let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(PASSWORD_ROUNDS, &salt, iv);
        let plain = self.to_pkcs8();
        let encrypted = parameters.and_then(|parameters| {
            let encrypted_data = parameters.encrypt(password.as_slice(), plain.as_slice())?;
            Ok((pkcs8::pkcs5::EncryptionScheme::from(parameters), encrypted_data))
        });
        let (encryption_algorithm, data) = encrypted.map_err(|_| crypto::Error::Library)?;
        let encrypted_data = OctetStringRef::new(&data).map_err(|_| crypto::Error::Library)?;
        let info = EncryptedPrivateKeyInfoRef { encryption_algorithm, encrypted_data };
        Ok(pem::write("ENCRYPTED PRIVATE KEY", &info.to_der().map_err(|_| crypto::Error::Library)?))
    }

    /// Gives the key as PKCS #8 in DER; nothing if it is elsewhere.
    pub fn to_pkcs8(&self) -> Secret<Vec<u8>> {
        if self.is_elsewhere() {
            return Secret::default();
        }
        encode_pkcs8(self).unwrap_or_default()
    }
}

/// How often PBKDF2 hashes a password that protects a key which we write.
const PASSWORD_ROUNDS: u32 = 600_000;

fn read_der(octets: &[u8], password: Option<&Password>) -> Result<PrivateKey, InvalidPrivateKey> {
    if PrivateKeyInfoRef::from_der(octets).is_ok() {
        return read_pkcs8(octets);
    }
    if is_encrypted(octets) {
        return read_encrypted(octets, password);
    }
    if EncodedEcKey::from_der(octets).is_ok() {
        return read_sec1(octets, None);
    }
    PrivateKey::new(KeyKind::Rsa, octets.into()).map_err(|_| InvalidPrivateKey::Unrecognized)
}

pub(crate) fn read_pkcs8(octets: &[u8]) -> Result<PrivateKey, InvalidPrivateKey> {
    let info = PrivateKeyInfoRef::from_der(octets).map_err(|_| InvalidPrivateKey::Unrecognized)?;
    let content = info.private_key.as_bytes();
    let kind = kind_of(info.algorithm).map_err(|fault| match fault {
        InvalidPublicKey::UnknownAlgorithm(oid) => InvalidPrivateKey::UnknownAlgorithm(oid),
        InvalidPublicKey::Malformed | InvalidPublicKey::Invalid(_) | InvalidPublicKey::Size { .. } => {
            InvalidPrivateKey::Unrecognized
        }
    })?;
    match kind {
        KeyKind::Rsa => PrivateKey::new(kind, content.into()),
        KeyKind::Ecdsa(_) => read_sec1(content, Some(kind)),
        // RFC 8410 §7: an OCTET STRING in the OCTET STRING.
        KeyKind::Ed25519 | KeyKind::Ed448 => {
            let seed = <&OctetStringRef>::from_der(content).map_err(|_| InvalidPrivateKey::Invalid(kind))?;
            PrivateKey::new(kind, seed.as_bytes().into())
        }
        KeyKind::MlDsa(_) => {
            let octets = ml_dsa_key::decode(content).ok_or(InvalidPrivateKey::Invalid(kind))?;
            PrivateKey::new(kind, octets)
        }
    }
}

fn read_encrypted(octets: &[u8], password: Option<&Password>) -> Result<PrivateKey, InvalidPrivateKey> {
    let password = password.ok_or(InvalidPrivateKey::PasswordWanted)?;
    let plain = decrypt_key(octets, password)?;
    // What a wrong password makes is padded right once in 256 times, and is no key then either.
    read_pkcs8(plain.as_slice()).map_err(|fault| match fault {
        InvalidPrivateKey::Unrecognized => CannotDecrypt::WrongPassword.into(),
        other => other,
    })
}

/// RFC 5915 §3.
#[derive(Sequence)]
struct EncodedEcKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", optional = "true")]
    parameters: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

/// Reads an ECPrivateKey, whose curve stands in itself or around it.
fn read_sec1(octets: &[u8], kind: Option<KeyKind>) -> Result<PrivateKey, InvalidPrivateKey> {
    let key = EncodedEcKey::from_der(octets).map_err(|_| InvalidPrivateKey::Unrecognized)?;
    let kind = match (kind, key.parameters) {
        (Some(kind), _) => kind,
        (None, Some(parameters)) => {
            let unknown = |oid| InvalidPrivateKey::UnknownAlgorithm(oid);
            let name: ObjectIdentifier = parameters.decode_as().map_err(|_| unknown(oid::EC_PUBLIC_KEY))?;
            KeyKind::Ecdsa(curve_of(name).ok_or(unknown(name))?)
        }
        (None, None) => return Err(InvalidPrivateKey::Unrecognized),
    };
    PrivateKey::new(kind, key.private_key.as_bytes().into())
}

fn encode_pkcs8(key: &PrivateKey) -> der::Result<Secret<Vec<u8>>> {
    let octets = key.octets.as_slice();
    let curve = match key.kind {
        KeyKind::Ecdsa(curve) => curve_name(curve).to_der()?,
        KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::MlDsa(_) => Vec::new(),
    };
    let (oid, parameters) = match key.kind {
        KeyKind::Rsa => (oid::RSA, Some(AnyRef::NULL)),
        KeyKind::Ecdsa(_) => (oid::EC_PUBLIC_KEY, Some(AnyRef::from_der(&curve)?)),
        KeyKind::Ed25519 => (oid::ED25519, None),
        KeyKind::Ed448 => (oid::ED448, None),
        KeyKind::MlDsa(set) => (ml_dsa_name(set), None),
    };
    let inner = Secret::from(match key.kind {
        KeyKind::Rsa => octets.to_vec(),
        KeyKind::Ecdsa(_) => EncodedEcKey {
            version: 1,
            private_key: OctetStringRef::new(octets)?,
            parameters: None,
            public_key: Some(BitStringRef::from_bytes(key.key.verifying_key().octets())?),
        }
        .to_der()?,
        KeyKind::Ed25519 | KeyKind::Ed448 => OctetStringRef::new(octets)?.to_der()?,
        KeyKind::MlDsa(set) => ml_dsa_key::encode(set, octets)?,
    });
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(inner.as_slice())?);
    Ok(Secret::from(info.to_der()?))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, ..)", self.kind)
    }
}
