//! Message authentication codes, truncated as IPsec uses them (RFC 2403, RFC 2404, RFC 3566, RFC 4494, RFC 4868).

mod gmac;

use std::fmt;

use aws_lc_rs::hmac;

use crate::tag::{TagKey, aes_cmac, hmac_md5};
use crate::xcbc::XcbcKey;
use crate::{Error, Forged, constant_time_eq};

/// Describes one integrity algorithm and makes keys for it.
pub trait Mac: Send + Sync {
    /// Names the algorithm for people, such as `AUTH_HMAC_SHA2_256_128`.
    fn name(&self) -> &'static str;

    /// Gives the fixed length of the keying material in octets.
    fn key_len(&self) -> usize;

    /// Gives the length of the integrity check value (ICV) in octets, after truncation.
    fn icv_len(&self) -> usize;

    /// Gives how many octets at the start of the ICV are an IV, which whoever signs puts there before and which never
    /// comes twice under one key: 0 but for GMAC (RFC 4543 §4), which therefore is for AH alone.
    fn iv_len(&self) -> usize;

    /// Expands `key` for use with many packets.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless `key` has [`key_len`](Self::key_len) octets.
    fn key(&self, key: &[u8]) -> Result<Box<dyn MacKey>, Error>;
}

/// Signs and verifies with one expanded key; allocates nothing.
pub trait MacKey: Send + Sync {
    /// Writes the ICV of the concatenation of `parts` into `icv`, behind the IV where there is one.
    ///
    /// # Panics
    /// If `icv` is not as long as the algorithm's `icv_len`: the caller sizes it, never the peer.
    fn sign(&self, parts: &[&[u8]], icv: &mut [u8]);

    /// Checks, in constant time, that `icv` is that of the concatenation of `parts`.
    ///
    /// # Errors
    /// [`Forged`] if it is not, or has another length than the algorithm's `icv_len`.
    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), Forged>;
}

/// HMAC-SHA-256-128 (RFC 4868): a key of 32 octets, an ICV of 16.
pub static HMAC_SHA2_256_128: &dyn Mac =
    &truncated("AUTH_HMAC_SHA2_256_128", Function::Hmac(hmac::HMAC_SHA256), 32, 16);
/// HMAC-SHA-256 cut to 96 bits, as peers have it that kept to an early draft (draft-ietf-ipsec-ciph-sha-256-00): a key of
/// 32 octets, an ICV of 12.
pub static HMAC_SHA2_256_96: &dyn Mac =
    &truncated("AUTH_HMAC_SHA2_256_96", Function::Hmac(hmac::HMAC_SHA256), 32, 12);
/// HMAC-SHA-384-192 (RFC 4868): a key of 48 octets, an ICV of 24.
pub static HMAC_SHA2_384_192: &dyn Mac =
    &truncated("AUTH_HMAC_SHA2_384_192", Function::Hmac(hmac::HMAC_SHA384), 48, 24);
/// HMAC-SHA-512-256 (RFC 4868): a key of 64 octets, an ICV of 32.
pub static HMAC_SHA2_512_256: &dyn Mac =
    &truncated("AUTH_HMAC_SHA2_512_256", Function::Hmac(hmac::HMAC_SHA512), 64, 32);

/// AES-XCBC-MAC-96 (RFC 3566): a key of 16 octets, an ICV of 12.
pub static AES_XCBC_96: &dyn Mac = &truncated("AUTH_AES_XCBC_96", Function::AesXcbc, 16, 12);
/// AES-CMAC-96 (RFC 4494): a key of 16 octets, an ICV of 12.
pub static AES_CMAC_96: &dyn Mac = &truncated("AUTH_AES_CMAC_96", Function::AesCmac, 16, 12);

/// AES-128-GMAC in AH (RFC 4543): a key of 16 octets and a salt of 4, an IV of 8 octets in an ICV of 24.
pub static AES_128_GMAC: &dyn Mac = &gmac::Gmac::new("AUTH_AES_128_GMAC", 16);
/// AES-192-GMAC in AH (RFC 4543): a key of 24 octets and a salt of 4, an IV of 8 octets in an ICV of 24.
pub static AES_192_GMAC: &dyn Mac = &gmac::Gmac::new("AUTH_AES_192_GMAC", 24);
/// AES-256-GMAC in AH (RFC 4543): a key of 32 octets and a salt of 4, an IV of 8 octets in an ICV of 24.
pub static AES_256_GMAC: &dyn Mac = &gmac::Gmac::new("AUTH_AES_256_GMAC", 32);

/// HMAC-SHA-1-96 (RFC 2404): a key of 20 octets, an ICV of 12.
pub static HMAC_SHA1_96: &dyn Mac = &truncated("AUTH_HMAC_SHA1_96", HMAC_SHA1, 20, 12);
/// HMAC-SHA-1 in full (RFC 4595): a key of 20 octets, an ICV of 20.
pub static HMAC_SHA1_160: &dyn Mac = &truncated("AUTH_HMAC_SHA1_160", HMAC_SHA1, 20, 20);
/// HMAC-MD5-96 (RFC 2403): a key of 16 octets, an ICV of 12.
pub static HMAC_MD5_96: &dyn Mac = &truncated("AUTH_HMAC_MD5_96", Function::HmacMd5, 16, 12);
/// HMAC-MD5 in full (RFC 4595): a key of 16 octets, an ICV of 16.
pub static HMAC_MD5_128: &dyn Mac = &truncated("AUTH_HMAC_MD5_128", Function::HmacMd5, 16, 16);

const HMAC_SHA1: Function = Function::Hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY);

/// A function whose output is cut to the length of the ICV.
struct Truncated {
    name: &'static str,
    function: Function,
    key_len: usize,
    icv_len: usize,
}

enum Function {
    Hmac(hmac::Algorithm),
    HmacMd5,
    AesXcbc,
    AesCmac,
}

const fn truncated(name: &'static str, function: Function, key_len: usize, icv_len: usize) -> Truncated {
    Truncated { name, function, key_len, icv_len }
}

impl Mac for Truncated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn iv_len(&self) -> usize {
        0
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn MacKey>, Error> {
        let wrong_length = Error::KeyLength { expected: self.key_len, actual: key.len() };
        if key.len() != self.key_len {
            return Err(wrong_length);
        }
        let aes_key = || key.try_into().map_err(|_| wrong_length);
        Ok(match self.function {
            Function::Hmac(algorithm) => self.cut(hmac::Key::new(algorithm, key)),
            Function::HmacMd5 => self.cut(hmac_md5(key)),
            Function::AesXcbc => self.cut(XcbcKey::new(aes_key()?)),
            Function::AesCmac => self.cut(aes_cmac(aes_key()?)),
        })
    }
}

impl Truncated {
    fn cut<K: TagKey + 'static>(&self, key: K) -> Box<dyn MacKey> {
        Box::new(TruncatedKey { key, icv_len: self.icv_len })
    }
}

struct TruncatedKey<K> {
    key: K,
    icv_len: usize,
}

impl<K: TagKey> MacKey for TruncatedKey<K> {
    fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) {
        assert_eq!(icv.len(), self.icv_len, "the caller sizes the ICV by Mac::icv_len");
        icv.copy_from_slice(&self.key.tag(parts).as_ref()[..self.icv_len]);
    }

    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), Forged> {
        let tag = self.key.tag(parts);
        if constant_time_eq(&tag.as_ref()[..self.icv_len], icv) { Ok(()) } else { Err(Forged) }
    }
}

impl fmt::Debug for dyn Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests;
