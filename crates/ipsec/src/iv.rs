//! Where the IV in an outbound packet comes from.
//!
//! AEADs and counter modes want IVs that never repeat under one key: the sequence number never does (RFC 3686 §3.1,
//! RFC 4106 §3.1, RFC 7634 §2). CBC wants IVs that nobody can tell in advance (RFC 3602 §3): the sequence number encrypted
//! under a random key that serves for nothing else (NIST SP 800-38A, appendix C). That costs one block of AES, and no
//! system call.

use crypto::{CipherKey, IvRule, Random, cipher};
use sa::Protection;
use sa::transform::EncryptionKind;

#[derive(Debug)]
pub(crate) enum IvSource {
    Counter,
    Encrypted(Box<dyn CipherKey>),
}

impl IvSource {
    pub(crate) fn new(protection: &Protection, random: &mut dyn Random) -> Result<IvSource, crypto::Error> {
        let rule = match protection.encryption().map(|encryption| &encryption.kind) {
            Some(EncryptionKind::Cipher(cipher)) => cipher.iv_rule(),
            Some(EncryptionKind::Aead(_)) | None => IvRule::Unique,
        };
        match rule {
            IvRule::Unique => Ok(IvSource::Counter),
            IvRule::Unpredictable => {
                let mut key = crypto::Secret::new([0; 16]);
                random.fill(key.expose_mut());
                Ok(IvSource::Encrypted(cipher::AES_128_CBC.key(key.as_slice())?))
            }
        }
    }

    /// Writes the IV of the packet of this sequence number; a shorter one gets its last octets.
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
    use sa::transform::{ENCRYPTION, INTEGRITY};
    use std::collections::BTreeSet;

    fn suite(keyword: &str) -> Protection {
        let encryption =
            ENCRYPTION.iter().find(|row| row.keywords[0] == keyword).expect("the test's own text");
        match encryption.kind {
            EncryptionKind::Aead(_) => Protection::Combined(encryption),
            EncryptionKind::Cipher(_) => Protection::Separate { encryption, integrity: &INTEGRITY[0] },
        }
    }

    #[test]
    fn aeads_and_counter_modes_get_the_sequence_number() {
        for keyword in ["aes128gcm16", "aes256ccm8", "aes128gmac", "aes128ctr", "camellia256ctr"] {
            let source = IvSource::new(&suite(keyword), &mut SystemRandom).expect("no key to make");
            let mut iv = [0; 8];
            source.fill(0x0102_0304_0506_0708, &mut iv).expect("eight octets");
            assert_eq!(iv, [1, 2, 3, 4, 5, 6, 7, 8], "{keyword}");
        }
    }

    #[test]
    fn no_iv_is_no_octets() {
        for keyword in ["aes128gcm16iiv", "chacha20poly1305iiv", "null"] {
            let source = IvSource::new(&suite(keyword), &mut SystemRandom).expect("no key to make");
            assert_eq!(source.fill(7, &mut []), Ok(()), "{keyword}");
        }
    }

    #[test]
    fn cbc_gets_ivs_that_differ_by_packet_and_by_sa() {
        for (keyword, iv_len) in [("aes128", 16), ("camellia256", 16), ("3des", 8), ("blowfish128", 8)] {
            let mut seen = BTreeSet::new();
            for _ in 0..2 {
                let source = IvSource::new(&suite(keyword), &mut SystemRandom).expect("a key of 16 octets");
                for number in 1..=1000 {
                    let mut iv = vec![0; iv_len];
                    source.fill(number, &mut iv).expect("at most one block");
                    seen.insert(iv);
                }
            }
            assert_eq!(seen.len(), 2000, "{keyword}");
        }
    }
}
