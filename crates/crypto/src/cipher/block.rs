//! A block cipher of the RustCrypto project in the two modes that only encrypt: Camellia, which the C library lacks, and
//! the ciphers of old configurations.

use cbc::cipher::array::typenum::Unsigned;
use cbc::cipher::consts::U16;
use cbc::cipher::{
    Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper,
};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;

use super::{COUNTER_SALT_LEN, CipherKey, Definition, counter, counter_block};
use crate::Error;
use crate::salt::{Salt, split_salt};

/// Cipher block chaining (RFC 2451, RFC 5529).
pub(super) const fn cbc<C>(name: &'static str, key_len: usize) -> Definition
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit + Send + Sync + 'static,
{
    super::cbc(name, key_len, C::BlockSize::USIZE, |key| Ok(Box::new(CbcKey(expand::<C>(key)?))))
}

/// Counter mode (RFC 5529 takes it from RFC 3686).
pub(super) const fn ctr<C>(name: &'static str, key_len: usize) -> Definition
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync + 'static,
{
    counter(name, key_len, |key_and_salt| {
        let (key, salt) = split_salt(key_and_salt)?;
        Ok(Box::new(CtrKey { cipher: expand::<C>(key)?, salt }))
    })
}

/// Expands a key, whose length only a cipher of several key lengths does not know itself.
fn expand<C: KeyInit>(key: &[u8]) -> Result<C, Error> {
    let wrong_length = Error::KeyLength { expected: C::key_size(), actual: key.len() };
    C::new_from_slice(key).map_err(|_| wrong_length)
}

struct CbcKey<C>(C);

impl<C: BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync> CipherKey for CbcKey<C> {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let chain = cbc::Encryptor::inner_iv_slice_init(&self.0, iv);
        chain.map_err(|_| Error::Length)?.encrypt_blocks(whole_blocks::<C>(data)?);
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let chain = cbc::Decryptor::inner_iv_slice_init(&self.0, iv);
        chain.map_err(|_| Error::Length)?.decrypt_blocks(whole_blocks::<C>(data)?);
        Ok(())
    }
}

fn whole_blocks<C: BlockSizeUser>(data: &mut [u8]) -> Result<&mut [Block<C>], Error> {
    match Block::<C>::slice_as_chunks_mut(data) {
        (blocks, []) => Ok(blocks),
        (_, _) => Err(Error::Length),
    }
}

struct CtrKey<C> {
    cipher: C,
    salt: Salt<COUNTER_SALT_LEN>,
}

impl<C> CipherKey for CtrKey<C>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let block = counter_block(&self.salt, iv)?;
        let stream = CtrCore::<&C, Ctr32BE>::inner_iv_init(&self.cipher, &block.into());
        StreamCipherCoreWrapper::from_core(stream).try_apply_keystream(data).map_err(|_| Error::Length)
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.encrypt(iv, data)
    }
}
