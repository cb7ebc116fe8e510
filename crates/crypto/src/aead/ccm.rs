//! CCM over a block cipher (RFC 4309, RFC 5529), by the RustCrypto project: the C library's has other nonces than IPsec.

use std::marker::PhantomData;

use ccm::aead::array::ArraySize;
use ccm::consts::{U11, U16};
use ccm::{AeadInOut, KeyInit, TagSize};
use ctr::cipher::{BlockCipherEncrypt, BlockSizeUser};

use super::{Aead, AeadKey, IV_LEN, check_len, nonce};
use crate::salt::{Salt, split_salt};
use crate::{Error, Forged};

/// CCM over the cipher `C` with an ICV of `M` octets.
pub(super) struct Ccm<C, M> {
    name: &'static str,
    iv_len: usize,
    kind: PhantomData<fn() -> (C, M)>,
}

impl<C, M> Ccm<C, M> {
    pub(super) const fn new(name: &'static str) -> Ccm<C, M> {
        Ccm { name, iv_len: IV_LEN, kind: PhantomData }
    }

    pub(super) const fn with_implicit_iv(self) -> Ccm<C, M> {
        Ccm { iv_len: 0, ..self }
    }
}

impl<C, M> Aead for Ccm<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync + 'static,
    M: ArraySize + TagSize + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn key_len(&self) -> usize {
        C::key_size()
    }

    fn salt_len(&self) -> usize {
        SALT_LEN
    }

    fn iv_len(&self) -> usize {
        self.iv_len
    }

    fn icv_len(&self) -> usize {
        M::USIZE
    }

    fn encrypts(&self) -> bool {
        true
    }

    fn key(&self, key_and_salt: &[u8]) -> Result<Box<dyn AeadKey>, Error> {
        check_len(self, key_and_salt)?;
        let (key, salt) = split_salt(key_and_salt)?;
        let cipher = C::new_from_slice(key).map_err(|_| Error::Length)?;
        Ok(Box::new(CcmKey::<C, M> { ccm: cipher.into(), salt }))
    }
}

struct CcmKey<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
    M: ArraySize + TagSize,
{
    ccm: ccm::Ccm<C, M, U11>,
    salt: Salt<SALT_LEN>,
}

impl<C, M> AeadKey for CcmKey<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync,
    M: ArraySize + TagSize + Send + Sync,
{
    fn seal(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &mut [u8]) -> Result<(), Error> {
        if icv.len() != M::USIZE {
            return Err(Error::Length);
        }
        let nonce: [u8; NONCE_LEN] = nonce(&self.salt, iv);
        let tag = self.ccm.encrypt_inout_detached(&nonce.into(), associated, data.into());
        icv.copy_from_slice(&tag.map_err(|_| Error::Length)?);
        Ok(())
    }

    fn open(&self, iv: &[u8; 8], associated: &[u8], data: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        let tag = icv.try_into().map_err(|_| Forged)?;
        let nonce: [u8; NONCE_LEN] = nonce(&self.salt, iv);
        self.ccm.decrypt_inout_detached(&nonce.into(), associated, data.into(), tag).map_err(|_| Forged)
    }
}

/// RFC 4309 §4: the salt has three octets, so that the nonce has eleven and the counter four.
const SALT_LEN: usize = 3;
const NONCE_LEN: usize = SALT_LEN + IV_LEN;
