//! GMAC as AH has it (RFC 4543 §4): the ICV field begins with the IV.
//!
//! ```text
//!  +----------+----------+
//!  |  IV, 8   | tag, 16  |
//!  +----------+----------+
//! ```

use super::{Mac, MacKey};
use crate::gmac::{GmacKey, IV_LEN, SALT_LEN, TAG_LEN};
use crate::{Error, Forged, constant_time_eq};

pub(super) struct Gmac {
    name: &'static str,
    /// Octets of the key without the salt.
    aes_key_len: usize,
}

impl Gmac {
    pub(super) const fn new(name: &'static str, aes_key_len: usize) -> Gmac {
        Gmac { name, aes_key_len }
    }
}

impl Mac for Gmac {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.aes_key_len + SALT_LEN
    }

    fn icv_len(&self) -> usize {
        IV_LEN + TAG_LEN
    }

    fn iv_len(&self) -> usize {
        IV_LEN
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn MacKey>, Error> {
        if key.len() != self.key_len() {
            return Err(Error::KeyLength { expected: self.key_len(), actual: key.len() });
        }
        Ok(Box::new(GmacKey::new(key)?))
    }
}

impl MacKey for GmacKey {
    fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) {
        let (iv, tag) = icv.split_first_chunk_mut().expect("the caller sizes the ICV by Mac::icv_len");
        tag.copy_from_slice(&self.tag(iv, parts));
    }

    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), Forged> {
        let (iv, tag) = icv.split_first_chunk().ok_or(Forged)?;
        if constant_time_eq(&self.tag(iv, parts), tag) { Ok(()) } else { Err(Forged) }
    }
}
