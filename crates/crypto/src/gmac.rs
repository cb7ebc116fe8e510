//! GMAC (NIST SP 800-38D, RFC 4543): what GCM authenticates with, alone.
//!
//! It is GCM with an empty plaintext. Libraries want the associated data of GCM in one piece, and a packet has it in
//! several, so the hash and the block cipher of a library are put together here.
//!
//! ```text
//!   tag = AES(key, salt | IV | 1)  ⊕  GHASH(AES(key, 0),  parts, zeros to a whole block, length in bits | 0)
//! ```

use block_buffer::EagerBuffer;
use block_buffer::array::typenum::consts::U16;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use crate::salt::{Salt, split_salt};
use crate::{Error, ffi};

/// An expanded key with its salt.
pub(crate) struct GmacKey {
    cipher: ffi::AesEncrypt,
    hash: GHash,
    salt: Salt<SALT_LEN>,
}

impl GmacKey {
    /// Expands a key of 16, 24 or 32 octets with the salt behind it.
    pub(crate) fn new(key_and_salt: &[u8]) -> Result<GmacKey, Error> {
        let (key, salt) = split_salt(key_and_salt)?;
        let cipher = ffi::AesEncrypt::new(key)?;
        let hash = GHash::new(&cipher.block([0; BLOCK_LEN]).into());
        Ok(GmacKey { cipher, hash, salt })
    }

    /// Computes the tag of the concatenation of `parts`; an `iv` never comes twice.
    pub(crate) fn tag(&self, iv: &[u8; IV_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut hash = self.hash.clone();
        let mut buffer = EagerBuffer::<U16>::default();
        for part in parts {
            buffer.digest_blocks(part, |blocks| hash.update(blocks));
        }
        if buffer.get_pos() > 0 {
            hash.update(&[buffer.pad_with_zeros()]);
        }
        let bits = 8 * parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let mut lengths = [0; BLOCK_LEN];
        lengths[..8].copy_from_slice(&bits.to_be_bytes());
        hash.update(&[lengths.into()]);

        let mut counter = [0; BLOCK_LEN];
        counter[..SALT_LEN].copy_from_slice(&*self.salt);
        counter[SALT_LEN..][..IV_LEN].copy_from_slice(iv);
        counter[BLOCK_LEN - 1] = 1;
        let mut tag = self.cipher.block(counter);
        for (octet, hashed) in tag.iter_mut().zip(hash.finalize()) {
            *octet ^= hashed;
        }
        tag
    }
}

/// Octets of the salt (RFC 4543 §3.2).
pub(crate) const SALT_LEN: usize = 4;
/// Octets of the IV (RFC 4543 §3.1).
pub(crate) const IV_LEN: usize = 8;
/// Octets of the tag, which is never truncated (RFC 4543 §3.4).
pub(crate) const TAG_LEN: usize = 16;

const BLOCK_LEN: usize = 16;

#[cfg(test)]
mod tests;
