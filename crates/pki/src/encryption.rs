//! Decryption with a password: PBES2 (RFC 8018 §6.2), and the schemes of PKCS #12 (RFC 7292 appendix C) and of old PEM
//! files, which are weak and stand in files that people have.

use cbc::cipher::{BlockModeDecrypt, InnerIvInit};
use crypto::signature::SignatureHash;
use crypto::{Secret, cipher, hash};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Sequence};
use pkcs8::pkcs5::{self, pbes2};
use thiserror::Error;
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::limits;

/// A password that opens a file.
pub type Password = Secret<Vec<u8>>;

/// Why something encrypted cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotDecrypt {
    /// The octets are not what they should be.
    #[error("it is damaged: {0}")]
    Malformed(String),
    /// The password is not right, or the octets were changed.
    #[error("the password does not open it")]
    WrongPassword,
    /// It is encrypted in a way that we do not know.
    #[error("it is encrypted with {0}, which we do not know")]
    Unknown(ObjectIdentifier),
    /// It is encrypted in a way that we do not know, and that has a name.
    #[error("it is encrypted with {0}, which we do not know")]
    UnknownName(String),
    /// It would take too long to open, or too much memory.
    #[error("its password's key wants more work than we do ({})", limits::MAX_PASSWORD_ROUNDS)]
    TooMuchWork,
}

impl From<der::Error> for CannotDecrypt {
    fn from(fault: der::Error) -> CannotDecrypt {
        CannotDecrypt::Malformed(fault.to_string())
    }
}

/// RFC 7292 appendix C.
#[derive(Sequence)]
struct PbeParameters<'a> {
    salt: &'a OctetStringRef,
    rounds: u32,
}

/// RFC 5958 §3.
#[derive(Sequence)]
struct EncryptedPrivateKeyInfo<'a> {
    algorithm: AnyRef<'a>,
    data: &'a OctetStringRef,
}

/// Tells whether octets look like an EncryptedPrivateKeyInfo.
pub(crate) fn is_encrypted(octets: &[u8]) -> bool {
    EncryptedPrivateKeyInfo::from_der(octets).is_ok()
}

/// Opens an EncryptedPrivateKeyInfo.
pub(crate) fn decrypt_key(octets: &[u8], password: &Password) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
    let info = EncryptedPrivateKeyInfo::from_der(octets)?;
    decrypt(&info.algorithm.to_der()?, info.data.as_bytes(), password)
}

/// Opens octets that an AlgorithmIdentifier in DER says the encryption of.
pub(crate) fn decrypt(
    algorithm: &[u8],
    data: &[u8],
    password: &Password,
) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
    let identifier = AlgorithmIdentifierRef::from_der(algorithm)?;
    if let Ok(scheme) = pkcs5::EncryptionScheme::from_der(algorithm)
        && let Some(parameters) = scheme.pbes2()
    {
        check_pbes2(parameters)?;
        let plain = parameters.decrypt(password.as_slice(), data);
        return plain.map(Secret::from).map_err(|_| CannotDecrypt::WrongPassword);
    }
    let unknown = CannotDecrypt::Unknown(identifier.oid);
    let Some(parameters) = identifier.parameters else { return Err(unknown) };
    let (key_len, open): (_, Open) = match identifier.oid {
        SHA1_WITH_3DES => (24, open_3des),
        SHA1_WITH_RC2_40 => (5, open_rc2),
        _ => return Err(unknown),
    };
    let PbeParameters { salt, rounds } = parameters.decode_as()?;
    check_rounds(rounds)?;
    let make =
        |used_for, length| derive(SignatureHash::Sha1, used_for, password, salt.as_bytes(), rounds, length);
    let (key, iv) = (make(Use::Key, key_len), make(Use::Iv, 8));
    let mut plain = Secret::from(data);
    open(key.as_slice(), iv.as_slice(), plain.expose_mut()).ok_or(CannotDecrypt::WrongPassword)?;
    without_padding(plain, 8)
}

/// RFC 8018 §6.1.1: as many octets as the last one says, all alike; a wrong password makes others.
fn without_padding(mut plain: Secret<Vec<u8>>, block_len: usize) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
    let padding = plain.as_slice().last().copied().unwrap_or(0);
    let length =
        plain.len().checked_sub(padding.into()).filter(|_| (1..=block_len).contains(&padding.into()));
    let length = length.filter(|length| plain.as_slice()[*length..].iter().all(|octet| *octet == padding));
    plain.expose_mut().truncate(length.ok_or(CannotDecrypt::WrongPassword)?);
    Ok(plain)
}

/// Opens a PEM block as OpenSSL encrypted them before version 1.0: RFC 1421 §4.6.1.3 says the cipher and the IV, and one
/// round of MD5 makes the key.
///
/// ```text
///   DEK-Info: AES-256-CBC,9B0E3A…
/// ```
pub(crate) fn decrypt_pem(
    dek_info: &str,
    content: &[u8],
    password: &Password,
) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
    let malformed = || CannotDecrypt::Malformed(format!("DEK-Info: {dek_info}"));
    let (name, iv) = dek_info.split_once(',').ok_or_else(malformed)?;
    let iv = hexadecimal(iv).ok_or_else(malformed)?;
    let cipher = match name {
        "AES-128-CBC" => cipher::AES_128_CBC,
        "AES-192-CBC" => cipher::AES_192_CBC,
        "AES-256-CBC" => cipher::AES_256_CBC,
        "DES-EDE3-CBC" => cipher::TRIPLE_DES_CBC,
        other => return Err(CannotDecrypt::UnknownName(other.to_owned())),
    };
    let salt = iv.get(..8).ok_or_else(malformed)?;
    let mut key = Secret::new(Vec::with_capacity(cipher.key_len() + 16));
    let mut digest = Secret::new(Vec::new());
    while key.len() < cipher.key_len() {
        digest = Secret::new(hash::MD5.digest(&[digest.as_slice(), password.as_slice(), salt]));
        key.expose_mut().extend_from_slice(digest.as_slice());
    }
    key.expose_mut().truncate(cipher.key_len());
    let mut plain = Secret::from(content);
    let opened = cipher.key(key.as_slice()).and_then(|key| key.decrypt(&iv, plain.expose_mut()));
    opened.map_err(|_| malformed())?;
    without_padding(plain, cipher.block_len())
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// Decrypts with a key and an IV, in place.
type Open = fn(&[u8], &[u8], &mut [u8]) -> Option<()>;

fn open_3des(key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()> {
    cipher::TRIPLE_DES_CBC.key(key).ok()?.decrypt(iv, data).ok()
}

/// RC2 with 40 bits, which protected nothing, but is in files that people have.
fn open_rc2(key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()> {
    let key = rc2::Rc2::new_with_eff_key_len(key, 40);
    let mut mode = cbc::Decryptor::<rc2::Rc2>::inner_iv_slice_init(key, iv).ok()?;
    let (blocks, rest) = cbc::cipher::Array::slice_as_chunks_mut(data);
    if !rest.is_empty() {
        return None;
    }
    mode.decrypt_blocks(blocks);
    Some(())
}

fn check_pbes2(parameters: &pbes2::Parameters) -> Result<(), CannotDecrypt> {
    let (rounds, memory) = match &parameters.kdf {
        pbes2::Kdf::Pbkdf2(kdf) => (kdf.iteration_count, 0),
        pbes2::Kdf::Scrypt(kdf) => {
            (kdf.parallelization.into(), kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size) * 128))
        }
        _ => (0, 0),
    };
    if memory > limits::MAX_PASSWORD_MEMORY_OCTETS {
        Err(CannotDecrypt::TooMuchWork)
    } else {
        check_rounds(rounds)
    }
}

pub(crate) fn check_rounds(rounds: u32) -> Result<(), CannotDecrypt> {
    if rounds > limits::MAX_PASSWORD_ROUNDS { Err(CannotDecrypt::TooMuchWork) } else { Ok(()) }
}

/// What octets are made from a password for (RFC 7292 B.3).
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Makes octets from a password (RFC 7292 B.2); the letters are the RFC's.
pub(crate) fn derive(
    hash: SignatureHash,
    used_for: Use,
    password: &Password,
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Secret<Vec<u8>> {
    let v = block_len(hash);
    let fill = |octets: &[u8]| -> Vec<u8> {
        octets.iter().copied().cycle().take(octets.len().div_ceil(v) * v).collect()
    };
    let diversifier = vec![used_for as u8; v];
    let password = bmp_string(password);
    let mut i = Secret::new([fill(salt), fill(password.as_slice())].concat());
    let mut derived = Secret::new(Vec::with_capacity(length + 64));
    while derived.len() < length {
        let mut a = Secret::new(hash.function().digest(&[&diversifier, i.as_slice()]));
        for _ in 1..rounds {
            a = Secret::new(hash.function().digest(&[a.as_slice()]));
        }
        derived.expose_mut().extend_from_slice(a.as_slice());
        let b: Secret<Vec<u8>> = Secret::new(a.as_slice().iter().copied().cycle().take(v).collect());
        i.expose_mut().chunks_mut(v).for_each(|block| add_with_one(block, b.as_slice()));
    }
    derived.expose_mut().truncate(length);
    derived
}

/// Adds `addend` + 1 to a big-endian number of the same length, modulo its size.
fn add_with_one(number: &mut [u8], addend: &[u8]) {
    let mut carry = 1_u16;
    for (octet, addend) in number.iter_mut().zip(addend).rev() {
        let sum = u16::from(*octet) + u16::from(*addend) + carry;
        let [high, low] = sum.to_be_bytes();
        *octet = low;
        carry = high.into();
    }
}

/// RFC 7292 B.1: UTF-16, big-endian, with a zero at the end.
fn bmp_string(password: &Password) -> Secret<Vec<u8>> {
    let text = String::from_utf8_lossy(password.as_slice());
    let mut octets = Secret::new(Vec::with_capacity(2 * text.len() + 2));
    for unit in text.encode_utf16().chain([0]) {
        octets.expose_mut().extend_from_slice(&unit.to_be_bytes());
    }
    octets
}

pub(crate) fn block_len(hash: SignatureHash) -> usize {
    match hash {
        SignatureHash::Sha1 | SignatureHash::Sha2_256 => 64,
        SignatureHash::Sha2_384 | SignatureHash::Sha2_512 => 128,
    }
}

const SHA1_WITH_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const SHA1_WITH_RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");
