//! The salt at the end of the keying material of AEADs and counter modes.

use zeroize::Zeroizing;

use crate::Error;

/// The part of each nonce that never changes under one key.
pub(crate) type Salt<const LEN: usize> = Zeroizing<[u8; LEN]>;

/// Cuts keying material into the key and the salt behind it.
///
/// # Errors
/// [`Error::KeyLength`] if there is not even room for the salt.
pub(crate) fn split_salt<const LEN: usize>(key_and_salt: &[u8]) -> Result<(&[u8], Salt<LEN>), Error> {
    let (key, salt) = key_and_salt
        .split_last_chunk()
        .ok_or(Error::KeyLength { expected: LEN, actual: key_and_salt.len() })?;
    Ok((key, Zeroizing::new(*salt)))
}
