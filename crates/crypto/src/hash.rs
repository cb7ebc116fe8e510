//! Plain hash functions: NAT detection needs SHA-1 (RFC 7296 §2.23), signatures SHA-2 (RFC 7427), and IKEv1 whatever was
//! negotiated, MD5 as well (RFC 2409 §4).

use std::fmt;

use aws_lc_rs::digest::{self, Algorithm};
use md5::Digest;

/// Computes digests with one hash function.
pub trait Hash: Send + Sync {
    /// Names the function for people, such as `SHA-256`.
    fn name(&self) -> &'static str;

    /// Gives the length of a digest in octets.
    fn output_len(&self) -> usize;

    /// Hashes the concatenation of `parts` into [`output_len`](Self::output_len) octets.
    fn digest(&self, parts: &[&[u8]]) -> Vec<u8>;
}

/// SHA-1 (FIPS 180-4): 20 octets. Broken against collisions, and used only where a protocol fixes it.
pub static SHA1: &dyn Hash = &Sha { name: "SHA-1", algorithm: &digest::SHA1_FOR_LEGACY_USE_ONLY };
/// MD5 (RFC 1321): 16 octets. Broken against collisions, and used only where IKEv1 negotiated it.
pub static MD5: &dyn Hash = &Md5;
/// SHA-256 (FIPS 180-4): 32 octets.
pub static SHA2_256: &dyn Hash = &Sha { name: "SHA-256", algorithm: &digest::SHA256 };
/// SHA-384 (FIPS 180-4): 48 octets.
pub static SHA2_384: &dyn Hash = &Sha { name: "SHA-384", algorithm: &digest::SHA384 };
/// SHA-512 (FIPS 180-4): 64 octets.
pub static SHA2_512: &dyn Hash = &Sha { name: "SHA-512", algorithm: &digest::SHA512 };

struct Sha {
    name: &'static str,
    algorithm: &'static Algorithm,
}

impl Hash for Sha {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output_len(&self) -> usize {
        self.algorithm.output_len()
    }

    fn digest(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(self.algorithm);
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

struct Md5;

impl Hash for Md5 {
    fn name(&self) -> &'static str {
        "MD5"
    }

    fn output_len(&self) -> usize {
        16
    }

    fn digest(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut hash = md5::Md5::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().to_vec()
    }
}

impl fmt::Debug for dyn Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
