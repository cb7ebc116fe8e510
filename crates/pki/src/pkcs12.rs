//! PKCS #12 (RFC 7292): a private key and its certificates in one file behind a password.
//!
//! ```text
//!   PFX ─ AuthenticatedSafe ─┬─ data ──────────► SafeContents ─ bag, bag …
//!    └─ MAC over it          └─ encryptedData ─► SafeContents ─ bag, bag …
//! ```
//!
//! Opened are files of today (PBES2) and of before 2021 (SHA-1 with 3DES or 40-bit RC2). Nothing is believed before the
//! MAC is right.

use crypto::signature::SignatureHash;
use crypto::{Secret, constant_time_eq};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, Sequence, SliceReader, Tag, Tagged};
use thiserror::Error;
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::algorithm::hash_of;
use crate::encryption::{Use, block_len, check_rounds, decrypt, decrypt_key, derive};
use crate::private_key::read_pkcs8;
use crate::{CannotDecrypt, Certificate, InvalidPrivateKey, Malformed, Password, PrivateKey};

/// What such a file holds.
#[derive(Clone, Debug, Default)]
pub struct Pkcs12 {
    /// The private keys.
    pub keys: Vec<PrivateKey>,
    /// The certificates, in the file's order.
    pub certificates: Vec<Certificate>,
}

/// Why a file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPkcs12 {
    /// The octets are no PFX.
    #[error("this is no PKCS #12 file in DER: {0}")]
    Malformed(String),
    /// It cannot be opened.
    #[error("the PKCS #12 file cannot be opened: {0}")]
    Closed(#[from] CannotDecrypt),
    /// It is signed with a key instead of a password, or holds what we do not know.
    #[error("the PKCS #12 file holds the content {0}, which we do not know")]
    UnknownContent(ObjectIdentifier),
    /// A key inside cannot be used.
    #[error(transparent)]
    Key(#[from] InvalidPrivateKey),
    /// A certificate inside cannot be read.
    #[error(transparent)]
    Certificate(#[from] Malformed),
}

impl From<der::Error> for InvalidPkcs12 {
    fn from(fault: der::Error) -> InvalidPkcs12 {
        InvalidPkcs12::Malformed(fault.to_string())
    }
}

#[derive(Sequence)]
struct Pfx<'a> {
    version: u8,
    auth_safe: ContentInfo<'a>,
    #[asn1(optional = "true")]
    mac: Option<MacData<'a>>,
}

/// RFC 5652 §3.
#[derive(Sequence)]
struct ContentInfo<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0")]
    content: AnyRef<'a>,
}

#[derive(Sequence)]
struct MacData<'a> {
    mac: DigestInfo<'a>,
    salt: &'a OctetStringRef,
    #[asn1(default = "one")]
    rounds: u32,
}

fn one() -> u32 {
    1
}

#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    digest: &'a OctetStringRef,
}

impl Pkcs12 {
    /// Tells whether octets look like such a file.
    pub fn is_one(octets: &[u8]) -> bool {
        Pfx::from_der(octets).is_ok()
    }

    /// Opens a file. One without a password has the empty one.
    ///
    /// # Errors
    /// The file is damaged, the password is wrong, or something inside cannot be used.
    pub fn open(octets: &[u8], password: &Password) -> Result<Pkcs12, InvalidPkcs12> {
        let pfx = Pfx::from_der(octets)?;
        let safe: &OctetStringRef = data_of(&pfx.auth_safe)?;
        if let Some(mac) = &pfx.mac {
            check_mac(mac, safe.as_bytes(), password)?;
        }
        let mut opened = Pkcs12::default();
        for content in elements(safe.as_bytes())? {
            let content = ContentInfo::from_der(content?)?;
            match content.kind {
                DATA => opened.take_bags(data_of(&content)?.as_bytes(), password)?,
                ENCRYPTED_DATA => {
                    let plain = decrypt_content(content.content, password)?;
                    opened.take_bags(plain.as_slice(), password)?;
                }
                other => return Err(InvalidPkcs12::UnknownContent(other)),
            }
        }
        Ok(opened)
    }

    fn take_bags(&mut self, contents: &[u8], password: &Password) -> Result<(), InvalidPkcs12> {
        for bag in elements(contents)? {
            let mut parts = SliceReader::new(AnyRef::from_der(bag?)?.value())?;
            let kind = ObjectIdentifier::decode(&mut parts)?;
            let value = AnyRef::from_der(AnyRef::decode(&mut parts)?.value())?;
            // Attributes follow: friendly names, which are for whoever chooses among several keys.
            match kind {
                KEY_BAG => self.keys.push(read_pkcs8(&reencode(value)?)?),
                SHROUDED_KEY_BAG => {
                    let encrypted = reencode(value)?;
                    let plain = decrypt_key(&encrypted, password)?;
                    self.keys.push(read_pkcs8(plain.as_slice())?);
                }
                CERTIFICATE_BAG => self.take_certificate(value)?,
                // CRLs and secrets of other programs.
                _ => {}
            }
        }
        Ok(())
    }

    fn take_certificate(&mut self, bag: AnyRef<'_>) -> Result<(), InvalidPkcs12> {
        let bag: ContentInfo<'_> = bag.decode_as()?;
        if bag.kind == X509_CERTIFICATE {
            let content: &OctetStringRef = bag.content.decode_as()?;
            self.certificates.push(Certificate::from_der(content.as_bytes())?);
        }
        Ok(())
    }
}

fn data_of<'a>(content: &ContentInfo<'a>) -> Result<&'a OctetStringRef, InvalidPkcs12> {
    match content.kind {
        DATA => Ok(content.content.decode_as()?),
        other => Err(InvalidPkcs12::UnknownContent(other)),
    }
}

/// The encodings that a SEQUENCE consists of.
fn elements(octets: &[u8]) -> der::Result<impl Iterator<Item = der::Result<&[u8]>>> {
    let outer = AnyRef::from_der(octets)?;
    outer.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(outer.value())?;
    Ok(std::iter::from_fn(move || (!reader.is_finished()).then(|| reader.tlv_bytes())))
}

fn reencode(value: AnyRef<'_>) -> der::Result<Vec<u8>> {
    der::Encode::to_der(&value)
}

/// RFC 7292 §5.1: HMAC with a key that is made from the password.
fn check_mac(mac: &MacData<'_>, content: &[u8], password: &Password) -> Result<(), InvalidPkcs12> {
    let algorithm = mac.mac.algorithm;
    let hash = hash_of(algorithm).ok_or(CannotDecrypt::Unknown(algorithm.oid))?;
    check_rounds(mac.rounds)?;
    let length = hash.function().output_len();
    let key = derive(hash, Use::Mac, password, mac.salt.as_bytes(), mac.rounds, length);
    let own = hmac(hash, key.as_slice(), content);
    if constant_time_eq(&own, mac.mac.digest.as_bytes()) {
        Ok(())
    } else {
        Err(CannotDecrypt::WrongPassword.into())
    }
}

/// RFC 2104, over whatever hash function the file names.
fn hmac(hash: SignatureHash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let function = hash.function();
    let block = block_len(hash);
    let mut padded = Secret::new(vec![0; block]);
    // The key is a digest, and no digest is longer than its block.
    padded.expose_mut()[..key.len()].copy_from_slice(key);
    let masked =
        |mask: u8| Secret::new(padded.as_slice().iter().map(|octet| octet ^ mask).collect::<Vec<_>>());
    let inner = function.digest(&[masked(0x36).as_slice(), message]);
    function.digest(&[masked(0x5c).as_slice(), &inner])
}

/// RFC 5652 §8: EncryptedData, whose content is an implicit OCTET STRING.
fn decrypt_content(content: AnyRef<'_>, password: &Password) -> Result<Secret<Vec<u8>>, InvalidPkcs12> {
    content.tag().assert_eq(Tag::Sequence)?;
    let mut parts = SliceReader::new(content.value())?;
    u8::decode(&mut parts)?;
    let mut info = SliceReader::new(AnyRef::decode(&mut parts)?.value())?;
    let _kind: ObjectIdentifier = info.decode()?;
    let algorithm = info.tlv_bytes()?;
    let encrypted = AnyRef::decode(&mut info)?;
    Ok(decrypt(algorithm, encrypted.value(), password)?)
}

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
