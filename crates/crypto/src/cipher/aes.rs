//! AES in the two modes that only encrypt, by the C library.

use super::{COUNTER_SALT_LEN, CipherKey, Definition, counter, counter_block};
use crate::salt::{Salt, split_salt};
use crate::{Error, ffi};

/// Cipher block chaining (RFC 3602).
pub(super) const fn cbc(name: &'static str, key_len: usize) -> Definition {
    super::cbc(name, key_len, BLOCK_LEN, |key| {
        Ok(Box::new(CbcKey { encrypt: ffi::AesEncrypt::new(key)?, decrypt: ffi::AesDecrypt::new(key)? }))
    })
}

/// Counter mode (RFC 3686).
pub(super) const fn ctr(name: &'static str, key_len: usize) -> Definition {
    counter(name, key_len, |key_and_salt| {
        let (key, salt) = split_salt(key_and_salt)?;
        Ok(Box::new(CtrKey { cipher: ffi::AesEncrypt::new(key)?, salt }))
    })
}

struct CbcKey {
    encrypt: ffi::AesEncrypt,
    decrypt: ffi::AesDecrypt,
}

impl CipherKey for CbcKey {
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

fn whole_blocks(data: &mut [u8]) -> Result<&mut [[u8; BLOCK_LEN]], Error> {
    match data.as_chunks_mut() {
        (blocks, []) => Ok(blocks),
        (_, _) => Err(Error::Length),
    }
}

struct CtrKey {
    cipher: ffi::AesEncrypt,
    salt: Salt<COUNTER_SALT_LEN>,
}

impl CipherKey for CtrKey {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.cipher.ctr(counter_block(&self.salt, iv)?, data);
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.encrypt(iv, data)
    }
}

const BLOCK_LEN: usize = 16;
