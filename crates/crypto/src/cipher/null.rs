//! The cipher that does nothing (RFC 2410), for traffic that needs integrity only.

use super::{CipherKey, Definition, IvRule};
use crate::Error;

pub(super) const CIPHER: Definition = Definition {
    name: "ENCR_NULL",
    key_len: 0,
    salt_len: 0,
    iv_len: 0,
    // The only IV is the empty one, and it does no harm.
    iv_rule: IvRule::Unique,
    block_len: 1,
    encrypts: false,
    expand: |_| Ok(Box::new(NullKey)),
};

struct NullKey;

impl CipherKey for NullKey {
    fn encrypt(&self, iv: &[u8], _: &mut [u8]) -> Result<(), Error> {
        if iv.is_empty() { Ok(()) } else { Err(Error::Length) }
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.encrypt(iv, data)
    }
}
