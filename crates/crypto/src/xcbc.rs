//! AES-XCBC-MAC (RFC 3566) with its whole output. No library that we know of has it, so it is made of AES here.
//!
//! ```text
//!   K1, K2, K3 = AES(K, 01 01 …), AES(K, 02 02 …), AES(K, 03 03 …)
//!
//!   E[i] = AES(K1, E[i - 1] ⊕ M[i])                        all blocks but the last
//!   tag  = AES(K1, E[n - 1] ⊕ M[n] ⊕ K2)                   if the last is whole
//!          AES(K1, E[n - 1] ⊕ (M[n] | 80 00 …) ⊕ K3)       if it is not, or there is none
//! ```

use aes::Aes128;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use block_buffer::LazyBuffer;
use block_buffer::array::typenum::consts::U16;
use zeroize::Zeroizing;

use crate::tag::TagKey;

/// An expanded key.
pub(crate) struct XcbcKey {
    cipher: Aes128,
    /// K2.
    whole: Zeroizing<[u8; BLOCK_LEN]>,
    /// K3.
    padded: Zeroizing<[u8; BLOCK_LEN]>,
}

impl XcbcKey {
    pub(crate) fn new(key: &[u8; BLOCK_LEN]) -> XcbcKey {
        let cipher = Aes128::new(key.into());
        let [first, whole, padded] = [1, 2, 3].map(|number| {
            let mut block = Zeroizing::new([number; BLOCK_LEN]);
            cipher.encrypt_block((&mut *block).into());
            block
        });
        XcbcKey { cipher: Aes128::new((&*first).into()), whole, padded }
    }
}

impl TagKey for XcbcKey {
    type Tag = Block<Aes128>;

    fn tag(&self, parts: &[&[u8]]) -> Self::Tag {
        let mut state = Self::Tag::default();
        // It keeps the last block back, even if that is whole.
        let mut buffer = LazyBuffer::<U16>::default();
        for part in parts {
            buffer.digest_blocks(part, |blocks| {
                for block in blocks {
                    mix(&mut state, block);
                    self.cipher.encrypt_block(&mut state);
                }
            });
        }
        let last = buffer.get_data();
        mix(&mut state, last);
        if last.len() == BLOCK_LEN {
            mix(&mut state, &*self.whole);
        } else {
            state[last.len()] ^= 0x80;
            mix(&mut state, &*self.padded);
        }
        self.cipher.encrypt_block(&mut state);
        state
    }
}

fn mix(state: &mut [u8], octets: &[u8]) {
    for (into, octet) in state.iter_mut().zip(octets) {
        *into ^= octet;
    }
}

const BLOCK_LEN: usize = 16;

#[cfg(test)]
mod tests;
