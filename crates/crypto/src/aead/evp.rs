//! AES-GCM and ChaCha20-Poly1305, by the C library.

use super::{Aead, AeadKey, IV_LEN, check_len, nonce};
use crate::ffi::{AeadAlgorithm, AeadContext};
use crate::salt::{Salt, split_salt};
use crate::{Error, Forged};

/// An AEAD of the library, with one of the ICV lengths that it can have.
pub(super) struct EvpAead {
    name: &'static str,
    algorithm: AeadAlgorithm,
    iv_len: usize,
    icv_len: usize,
}

pub(super) const fn evp(name: &'static str, algorithm: AeadAlgorithm, icv_len: usize) -> EvpAead {
    EvpAead { name, algorithm, iv_len: IV_LEN, icv_len }
}

impl EvpAead {
    pub(super) const fn with_implicit_iv(self) -> EvpAead {
        EvpAead { iv_len: 0, ..self }
    }
}

impl Aead for EvpAead {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.algorithm.key_len()
    }

    fn salt_len(&self) -> usize {
        SALT_LEN
    }

    fn iv_len(&self) -> usize {
        self.iv_len
    }

    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn encrypts(&self) -> bool {
        true
    }

    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn AeadKey>, Error> {
        check_len(self, key_and_salt)?;
        let (key, salt) = split_salt(key_and_salt)?;
        Ok(AeadContext::new(self.algorithm, key, self.icv_len, salt)?)
    }
}

/// The key, and its salt beside it.
type EvpKey = AeadContext<Salt<SALT_LEN>>;

impl AeadKey for EvpKey {
    fn seal(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &mut [u8]) -> Result<(), Error> {
        AeadContext::seal(self, &nonce(&self.beside, iv), associated, data, icv)
    }

    fn open(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        AeadContext::open(self, &nonce(&self.beside, iv), associated, data, icv)
    }

    fn prefetch(&self) {
        AeadContext::prefetch(self);
    }
}

const SALT_LEN: usize = 4;
