//! Ciphers that only encrypt; IPsec always puts a [`Mac`](crate::Mac) beside them.
//!
//! A counter mode takes a salt behind its key, as AEADs do (RFC 3686 §5.1); the other modes take none.

mod aes;
mod block;
mod null;

use std::fmt;

use blowfish::Blowfish;
use camellia::{Camellia128, Camellia192, Camellia256};
use cast5::Cast5;
use des::{Des, TdesEde3};

use crate::Error;

/// Describes one encryption algorithm without integrity and makes keys for it.
pub trait Cipher: Send + Sync {
    /// Names the algorithm for people, such as `ENCR_AES_CBC-128`.
    fn name(&self) -> &'static str;

    /// Gives the key length in octets, without the salt.
    fn key_len(&self) -> usize;

    /// Gives the length of the salt in octets, which RFC 3686 calls the nonce.
    fn salt_len(&self) -> usize;

    /// Gives the length in octets of the IV that goes before the ciphertext.
    fn iv_len(&self) -> usize;

    /// Gives what an IV must be for the algorithm to be safe.
    fn iv_rule(&self) -> IvRule;

    /// Gives the block length in octets, to a multiple of which the plaintext is padded.
    fn block_len(&self) -> usize;

    /// Tells whether the ciphertext hides the plaintext; that of NULL does not.
    fn encrypts(&self) -> bool;

    /// Expands keying material, the key and then the salt, for use with many packets.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless there are [`key_len`](Self::key_len) + [`salt_len`](Self::salt_len) octets.
    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn CipherKey>, Error>;
}

/// Says what an IV must be for an algorithm to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvRule {
    /// Nobody can tell it before the packet is sealed, as CBC wants it (RFC 3602 §3).
    Unpredictable,
    /// It never comes twice under one key, as counter modes want it; a counter will do (RFC 3686 §3).
    Unique,
}

/// Encrypts and decrypts with one expanded key, in place; allocates nothing.
pub trait CipherKey: Send + Sync {
    /// Encrypts whole blocks in place. `iv` must obey [`Cipher::iv_rule`].
    ///
    /// # Errors
    /// [`Error::Length`] unless `iv` has the algorithm's `iv_len` octets and `data` is whole blocks.
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error>;

    /// Decrypts whole blocks in place. The caller has checked the ICV before.
    ///
    /// # Errors
    /// [`Error::Length`] unless `iv` has the algorithm's `iv_len` octets and `data` is whole blocks.
    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error>;
}

/// AES-CBC (RFC 3602) with a key of 16 octets.
pub static AES_128_CBC: &dyn Cipher = &aes::cbc("ENCR_AES_CBC-128", 16);
/// AES-CBC (RFC 3602) with a key of 24 octets.
pub static AES_192_CBC: &dyn Cipher = &aes::cbc("ENCR_AES_CBC-192", 24);
/// AES-CBC (RFC 3602) with a key of 32 octets.
pub static AES_256_CBC: &dyn Cipher = &aes::cbc("ENCR_AES_CBC-256", 32);

/// AES in counter mode (RFC 3686) with a key of 16 octets.
pub static AES_128_CTR: &dyn Cipher = &aes::ctr("ENCR_AES_CTR-128", 16);
/// AES in counter mode (RFC 3686) with a key of 24 octets.
pub static AES_192_CTR: &dyn Cipher = &aes::ctr("ENCR_AES_CTR-192", 24);
/// AES in counter mode (RFC 3686) with a key of 32 octets.
pub static AES_256_CTR: &dyn Cipher = &aes::ctr("ENCR_AES_CTR-256", 32);

/// Camellia-CBC (RFC 5529) with a key of 16 octets.
pub static CAMELLIA_128_CBC: &dyn Cipher = &block::cbc::<Camellia128>("ENCR_CAMELLIA_CBC-128", 16);
/// Camellia-CBC (RFC 5529) with a key of 24 octets.
pub static CAMELLIA_192_CBC: &dyn Cipher = &block::cbc::<Camellia192>("ENCR_CAMELLIA_CBC-192", 24);
/// Camellia-CBC (RFC 5529) with a key of 32 octets.
pub static CAMELLIA_256_CBC: &dyn Cipher = &block::cbc::<Camellia256>("ENCR_CAMELLIA_CBC-256", 32);

/// Camellia in counter mode (RFC 5529) with a key of 16 octets.
pub static CAMELLIA_128_CTR: &dyn Cipher = &block::ctr::<Camellia128>("ENCR_CAMELLIA_CTR-128", 16);
/// Camellia in counter mode (RFC 5529) with a key of 24 octets.
pub static CAMELLIA_192_CTR: &dyn Cipher = &block::ctr::<Camellia192>("ENCR_CAMELLIA_CTR-192", 24);
/// Camellia in counter mode (RFC 5529) with a key of 32 octets.
pub static CAMELLIA_256_CTR: &dyn Cipher = &block::ctr::<Camellia256>("ENCR_CAMELLIA_CTR-256", 32);

/// No encryption at all (RFC 2410): no key, no IV.
pub static NULL: &dyn Cipher = &null::CIPHER;

/// DES-CBC (RFC 2405) with a key of 8 octets, of which 56 bits count. Such keys can be searched.
pub static DES_CBC: &dyn Cipher = &block::cbc::<Des>("ENCR_DES", 8);
/// 3DES-CBC (RFC 2451) with a key of 24 octets. Blocks of 64 bits begin to collide after some 32 GiB under one key.
pub static TRIPLE_DES_CBC: &dyn Cipher = &block::cbc::<TdesEde3>("ENCR_3DES", 24);
/// CAST-128 in CBC mode (RFC 2451) with a key of 16 octets. Its blocks have 64 bits, as those of 3DES.
pub static CAST_128_CBC: &dyn Cipher = &block::cbc::<Cast5>("ENCR_CAST-128", 16);
/// Blowfish-CBC (RFC 2451) with a key of 16 octets. Its blocks have 64 bits, as those of 3DES.
pub static BLOWFISH_128_CBC: &dyn Cipher = &block::cbc::<Blowfish>("ENCR_BLOWFISH-128", 16);
/// Blowfish-CBC (RFC 2451) with a key of 24 octets. Its blocks have 64 bits, as those of 3DES.
pub static BLOWFISH_192_CBC: &dyn Cipher = &block::cbc::<Blowfish>("ENCR_BLOWFISH-192", 24);
/// Blowfish-CBC (RFC 2451) with a key of 32 octets. Its blocks have 64 bits, as those of 3DES.
pub static BLOWFISH_256_CBC: &dyn Cipher = &block::cbc::<Blowfish>("ENCR_BLOWFISH-256", 32);

/// All that there is to say about an algorithm.
struct Definition {
    name: &'static str,
    key_len: usize,
    salt_len: usize,
    iv_len: usize,
    iv_rule: IvRule,
    block_len: usize,
    encrypts: bool,
    /// Expands keying material of the right length.
    expand: Expand,
}

type Expand = fn(key_and_salt: &[u8]) -> Result<Box<dyn CipherKey>, Error>;

/// Cipher block chaining: the IV is a block.
const fn cbc(name: &'static str, key_len: usize, block_len: usize, expand: Expand) -> Definition {
    Definition {
        name,
        key_len,
        salt_len: 0,
        iv_len: block_len,
        iv_rule: IvRule::Unpredictable,
        block_len,
        encrypts: true,
        expand,
    }
}

/// Counter mode: salt and IV begin the counter block.
const fn counter(name: &'static str, key_len: usize, expand: Expand) -> Definition {
    Definition {
        name,
        key_len,
        salt_len: COUNTER_SALT_LEN,
        iv_len: COUNTER_IV_LEN,
        iv_rule: IvRule::Unique,
        block_len: 1,
        encrypts: true,
        expand,
    }
}

impl Cipher for Definition {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn salt_len(&self) -> usize {
        self.salt_len
    }

    fn iv_len(&self) -> usize {
        self.iv_len
    }

    fn iv_rule(&self) -> IvRule {
        self.iv_rule
    }

    fn block_len(&self) -> usize {
        self.block_len
    }

    fn encrypts(&self) -> bool {
        self.encrypts
    }

    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn CipherKey>, Error> {
        let (expected, actual) = (self.key_len + self.salt_len, key_and_salt.len());
        if actual != expected {
            return Err(Error::KeyLength { expected, actual });
        }
        (self.expand)(key_and_salt)
    }
}

/// Gives the first counter block of a packet (RFC 3686 §4).
///
/// ```text
///  +-----------+---------------+---------+
///  |  salt, 4  |     IV, 8     |  1, 4   |
///  +-----------+---------------+---------+
/// ```
fn counter_block(salt: &[u8; COUNTER_SALT_LEN], iv: &[u8]) -> Result<[u8; 16], Error> {
    let iv: &[u8; COUNTER_IV_LEN] = iv.try_into().map_err(|_| Error::Length)?;
    let mut block = [0; 16];
    block[..COUNTER_SALT_LEN].copy_from_slice(salt);
    block[COUNTER_SALT_LEN..][..COUNTER_IV_LEN].copy_from_slice(iv);
    block[15] = 1;
    Ok(block)
}

const COUNTER_SALT_LEN: usize = 4;
const COUNTER_IV_LEN: usize = 8;

impl fmt::Debug for dyn Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CipherKey(..)")
    }
}

#[cfg(test)]
mod tests;
