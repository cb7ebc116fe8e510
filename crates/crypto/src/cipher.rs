//! Block ciphers that only encrypt; IPsec always puts a [`Mac`](crate::Mac) beside them.

use std::fmt;

use crate::{Error, ffi};

/// Describes one encryption algorithm without integrity and makes keys for it.
pub trait Cipher: Send + Sync {
    /// Names the algorithm for people, such as `ENCR_AES_CBC-128`.
    fn name(&self) -> &'static str;

    /// Gives the fixed key length in octets.
    fn key_len(&self) -> usize;

    /// Gives the length in octets of the IV that goes before the ciphertext.
    fn iv_len(&self) -> usize;

    /// Gives the block length in octets, to a multiple of which the plaintext is padded.
    fn block_len(&self) -> usize;

    /// Expands `key` for use with many packets.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless `key` has [`key_len`](Self::key_len) octets.
    fn key(&self, key: &[u8]) -> Result<Box<dyn CipherKey>, Error>;
}

/// Encrypts and decrypts with one expanded key, in place; allocates nothing.
pub trait CipherKey: Send + Sync {
    /// Encrypts whole blocks in place. In CBC mode `iv` must be unpredictable (RFC 3602 §3).
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
pub static AES_128_CBC: &dyn Cipher = &AesCbc { name: "ENCR_AES_CBC-128", key_len: 16 };
/// AES-CBC (RFC 3602) with a key of 24 octets.
pub static AES_192_CBC: &dyn Cipher = &AesCbc { name: "ENCR_AES_CBC-192", key_len: 24 };
/// AES-CBC (RFC 3602) with a key of 32 octets.
pub static AES_256_CBC: &dyn Cipher = &AesCbc { name: "ENCR_AES_CBC-256", key_len: 32 };

struct AesCbc {
    name: &'static str,
    key_len: usize,
}

impl Cipher for AesCbc {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn iv_len(&self) -> usize {
        AES_BLOCK_LEN
    }

    fn block_len(&self) -> usize {
        AES_BLOCK_LEN
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn CipherKey>, Error> {
        if key.len() != self.key_len {
            return Err(Error::KeyLength { expected: self.key_len, actual: key.len() });
        }
        Ok(Box::new(AesCbcKey { encrypt: ffi::AesEncrypt::new(key)?, decrypt: ffi::AesDecrypt::new(key)? }))
    }
}

struct AesCbcKey {
    encrypt: ffi::AesEncrypt,
    decrypt: ffi::AesDecrypt,
}

impl CipherKey for AesCbcKey {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let iv = iv.try_into().map_err(|_| Error::Length)?;
        self.encrypt.cbc(iv, whole_blocks(data)?);
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let iv = iv.try_into().map_err(|_| Error::Length)?;
        self.decrypt.cbc(iv, whole_blocks(data)?);
        Ok(())
    }
}

fn whole_blocks(data: &mut [u8]) -> Result<&mut [[u8; AES_BLOCK_LEN]], Error> {
    match data.as_chunks_mut() {
        (blocks, []) => Ok(blocks),
        (_, _) => Err(Error::Length),
    }
}

const AES_BLOCK_LEN: usize = 16;

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
