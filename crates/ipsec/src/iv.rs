//! Where the explicit IV of an outbound packet comes from.
//!
//! An AEAD wants IVs that never repeat under one key: the sequence number never does (RFC 4106 §3.1, RFC 7634 §2).
//! CBC wants IVs that nobody can tell in advance (RFC 3602 §3): the sequence number encrypted under a random key that
//! serves for nothing else (NIST SP 800-38A, appendix C). That costs one block of AES, and no system call.

use crypto::{CipherKey, Random, cipher};
use sa::Protection;

#[derive(Debug)]
pub(crate) enum IvSource {
    Counter,
    Encrypted(Box<dyn CipherKey>),
}

impl IvSource {
    pub(crate) fn new(protection: &Protection, random: &mut dyn Random) -> Result<IvSource, crypto::Error> {
        match protection {
            Protection::Combined(_) => Ok(IvSource::Counter),
            Protection::Separate { .. } => {
                let mut key = crypto::Secret::new([0; 16]);
                random.fill(key.expose_mut());
                Ok(IvSource::Encrypted(cipher::AES_128_CBC.key(key.as_slice())?))
            }
        }
    }

    /// Writes the IV of the packet of this sequence number.
    ///
    /// # Errors
    /// `iv` is longer than a block of AES.
    pub(crate) fn fill(&self, number: u64, iv: &mut [u8]) -> Result<(), crypto::Error> {
        let mut block = [0; 16];
        block[8..].copy_from_slice(&number.to_be_bytes());
        if let IvSource::Encrypted(key) = self {
            key.encrypt(&[0; 16], &mut block)?;
        }
        let start = block.len().checked_sub(iv.len()).ok_or(crypto::Error::Length)?;
        iv.copy_from_slice(&block[start..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SystemRandom;
    use sa::transform::{ENCRYPTION, EncryptionKind, INTEGRITY};
    use std::collections::BTreeSet;

    #[test]
    fn an_aead_gets_the_sequence_number() {
        let source =
            IvSource::new(&Protection::Combined(&ENCRYPTION[0]), &mut SystemRandom).expect("no key to make");
        let mut iv = [0; 8];
        source.fill(0x0102_0304_0506_0708, &mut iv).expect("eight octets");
        assert_eq!(iv, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_cipher_gets_ivs_that_differ_by_packet_and_by_sa() {
        let cipher =
            ENCRYPTION.iter().find(|row| matches!(row.kind, EncryptionKind::Cipher(_))).expect("AES-CBC");
        let protection = Protection::Separate { encryption: cipher, integrity: &INTEGRITY[0] };
        let mut seen = BTreeSet::new();
        for _ in 0..2 {
            let source = IvSource::new(&protection, &mut SystemRandom).expect("a key of 16 octets");
            for number in 1..=1000 {
                let mut iv = [0; 16];
                source.fill(number, &mut iv).expect("one block");
                seen.insert(iv);
            }
        }
        assert_eq!(seen.len(), 2000);
    }
}
