//! An algorithm that does nothing in the place of AES-GCM: same sizes, no cryptography. It exists for measurements alone.

use crypto::{Aead, AeadKey, Error, Forged};
use sa::transform::{Encryption, EncryptionKind};
use wire::registry::EncryptionId;

/// The row that no proposal can name.
pub(crate) static NULL: Encryption = Encryption {
    id: EncryptionId::AES_GCM_16,
    key_bits: Some(128),
    keywords: &["null"],
    name: "NONE",
    kind: EncryptionKind::Aead(&Nothing),
    weakness: Some("it protects nothing"),
};

struct Nothing;

impl Aead for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn key_len(&self) -> usize {
        16
    }

    fn salt_len(&self) -> usize {
        4
    }

    fn iv_len(&self) -> usize {
        8
    }

    fn icv_len(&self) -> usize {
        16
    }

    fn encrypts(&self) -> bool {
        false
    }

    fn key(&self, _: &[u8]) -> Result<Box<dyn AeadKey>, Error> {
        Ok(Box::new(Nothing))
    }
}

impl AeadKey for Nothing {
    fn seal(&self, _: &[u8; 8], _: &[u8], _: &mut [u8], icv: &mut [u8]) -> Result<(), Error> {
        icv.fill(0);
        Ok(())
    }

    fn open(&self, _: &[u8; 8], _: &[u8], _: &mut [u8], _: &[u8]) -> Result<(), Forged> {
        Ok(())
    }
}
