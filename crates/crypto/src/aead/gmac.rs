//! GMAC in the place of an AEAD (RFC 4543 §3): the data is authenticated and stays as it is.

use super::{Aead, AeadKey, IV_LEN, check_len};
use crate::gmac::{GmacKey, SALT_LEN, TAG_LEN};
use crate::{Error, Forged, constant_time_eq};

pub(super) struct Gmac {
    name: &'static str,
    key_len: usize,
}

impl Gmac {
    pub(super) const fn new(name: &'static str, key_len: usize) -> Gmac {
        Gmac { name, key_len }
    }
}

impl Aead for Gmac {
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        self.key_len
    }

    fn salt_len(&self) -> usize {
        SALT_LEN
    }

    fn iv_len(&self) -> usize {
        IV_LEN
    }

    fn icv_len(&self) -> usize {
        TAG_LEN
    }

    fn encrypts(&self) -> bool {
        false
    }

    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn AeadKey>, Error> {
        check_len(self, key_and_salt)?;
        Ok(Box::new(GmacKey::new(key_and_salt)?))
    }
}

/// The IV is authenticated with what is around it, as the figures of RFC 4543 §3.3 and §3.5 have it and the test cases of
/// draft-mcgrew-gcm-test-01; the RFC's §7 says otherwise, and nobody does what it says.
impl AeadKey for GmacKey {
    fn seal(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &mut [u8]) -> Result<(), Error> {
        let icv: &mut [u8; TAG_LEN] = icv.try_into().map_err(|_| Error::Length)?;
        *icv = self.tag(iv, &[associated, iv, data]);
        Ok(())
    }

    fn open(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        let tag = self.tag(iv, &[associated, iv, data]);
        if constant_time_eq(&tag, icv) { Ok(()) } else { Err(Forged) }
    }
}
