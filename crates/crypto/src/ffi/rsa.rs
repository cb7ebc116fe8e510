//! RSA keys of the C library, for what `aws-lc-rs` leaves out: any salt length, any hash for the mask, signatures
//! without a hash's name, short keys, and decryption that leaves the padding alone.

use std::ptr::{self, NonNull};
use std::slice;

use aws_lc_sys as c;

use super::Bignum;
use crate::signature::{BadSignature, SignatureHash};
use crate::{Error, Secret, constant_time_eq};

/// An RSA key, private or public; a public one cannot sign.
pub(crate) struct RsaKey(NonNull<c::RSA>);

// SAFETY: the object is plain memory that belongs to no thread.
unsafe impl Send for RsaKey {}
// SAFETY: rsa.h: an RSA object may be used concurrently by functions that do not change it, which signing and
// verifying do not; the library guards what it caches with a lock of its own.
unsafe impl Sync for RsaKey {}

impl RsaKey {
    /// Reads an `RSAPublicKey` in DER, all of `octets`.
    pub(crate) fn from_public(octets: &[u8]) -> Result<Self, Error> {
        // SAFETY: `octets` is readable for its length; the function returns a new object or null.
        Self::own(unsafe { c::RSA_public_key_from_bytes(octets.as_ptr(), octets.len()) })
    }

    /// Reads an `RSAPrivateKey` in DER, all of `octets`, and checks that its numbers belong together.
    pub(crate) fn from_private(octets: &[u8]) -> Result<Self, Error> {
        // SAFETY: `octets` is readable for its length; the function returns a new object or null.
        Self::own(unsafe { c::RSA_private_key_from_bytes(octets.as_ptr(), octets.len()) })
    }

    /// Makes a key with the exponent 65537.
    pub(crate) fn generate(bits: u16) -> Result<Self, Error> {
        // SAFETY: the function takes nothing and returns a new object or null.
        let key = Self::own(unsafe { c::RSA_new() })?;
        let exponent = Bignum::read(&65537_u32.to_be_bytes())?;
        // SAFETY: both objects are live; no call-back is given.
        let status = unsafe {
            c::RSA_generate_key_ex(key.0.as_ptr(), bits.into(), exponent.0.as_ptr(), ptr::null_mut())
        };
        if status == 1 { Ok(key) } else { Err(Error::Library) }
    }

    fn own(key: *mut c::RSA) -> Result<Self, Error> {
        NonNull::new(key).map(Self).ok_or(Error::Library)
    }

    /// Gives the length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        // SAFETY: the object is live and has a modulus.
        unsafe { c::RSA_bits(self.0.as_ptr()) as usize }
    }

    /// Gives the `RSAPublicKey` in DER.
    pub(crate) fn public_octets(&self) -> Result<Vec<u8>, Error> {
        // SAFETY: the function is what `octets_from` asks for.
        unsafe { self.octets_from(c::RSA_public_key_to_bytes) }.map(|octets| octets.expose().clone())
    }

    /// Gives the `RSAPrivateKey` in DER; fails for a public key.
    pub(crate) fn private_octets(&self) -> Result<Secret<Vec<u8>>, Error> {
        // SAFETY: the function is what `octets_from` asks for.
        unsafe { self.octets_from(c::RSA_private_key_to_bytes) }
    }

    /// Encodes the key.
    ///
    /// # Safety
    /// `encode` returns 1 after it has stored a buffer from `OPENSSL_malloc` and its length.
    unsafe fn octets_from(&self, encode: Encode) -> Result<Secret<Vec<u8>>, Error> {
        let (mut start, mut length) = (ptr::null_mut(), 0);
        // SAFETY: the object is live, and both places are ours to be written.
        if unsafe { encode(&mut start, &mut length, self.0.as_ptr()) } != 1 {
            return Err(Error::Library);
        }
        // SAFETY: the caller promises a buffer of this length, which nobody else knows.
        let octets = Secret::from(unsafe { slice::from_raw_parts(start, length) });
        // SAFETY: the buffer is the library's own and is freed once; freeing wipes it.
        unsafe { c::OPENSSL_free(start.cast()) };
        Ok(octets)
    }

    pub(crate) fn sign_pkcs1(&self, hash: SignatureHash, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.room();
        let mut length = 0;
        // SAFETY: `digest` is readable for its length; `signature` has the RSA_size octets that are written at most.
        let status = unsafe {
            c::RSA_sign(
                name_of(hash),
                digest.as_ptr(),
                digest.len(),
                signature.as_mut_ptr(),
                &mut length,
                self.0.as_ptr(),
            )
        };
        finish(status, signature, length as usize)
    }

    pub(crate) fn verify_pkcs1(
        &self,
        hash: SignatureHash,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        // SAFETY: both slices are readable for their lengths.
        let status = unsafe {
            c::RSA_verify(
                name_of(hash),
                digest.as_ptr(),
                digest.len(),
                signature.as_ptr(),
                signature.len(),
                self.0.as_ptr(),
            )
        };
        if status == 1 { Ok(()) } else { Err(BadSignature) }
    }

    pub(crate) fn sign_pss(
        &self,
        hash: SignatureHash,
        mask_hash: SignatureHash,
        salt_len: usize,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let salt_len = i32::try_from(salt_len).map_err(|_| Error::Length)?;
        let mut signature = self.room();
        let mut length = 0;
        // SAFETY: `digest` is readable for its length; at most `signature.len()` octets are written.
        let status = unsafe {
            c::RSA_sign_pss_mgf1(
                self.0.as_ptr(),
                &mut length,
                signature.as_mut_ptr(),
                signature.len(),
                digest.as_ptr(),
                digest.len(),
                function_of(hash),
                function_of(mask_hash),
                salt_len,
            )
        };
        finish(status, signature, length)
    }

    pub(crate) fn verify_pss(
        &self,
        hash: SignatureHash,
        mask_hash: SignatureHash,
        salt_len: usize,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let salt_len = i32::try_from(salt_len).map_err(|_| BadSignature)?;
        // SAFETY: both slices are readable for their lengths.
        let status = unsafe {
            c::RSA_verify_pss_mgf1(
                self.0.as_ptr(),
                digest.as_ptr(),
                digest.len(),
                function_of(hash),
                function_of(mask_hash),
                salt_len,
                signature.as_ptr(),
                signature.len(),
            )
        };
        if status == 1 { Ok(()) } else { Err(BadSignature) }
    }

    /// Signs octets as they are, in PKCS #1 padding of block type 1.
    pub(crate) fn sign_bare(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.room();
        let mut length = 0;
        // SAFETY: `message` is readable for its length; at most `signature.len()` octets are written.
        let status = unsafe {
            c::RSA_sign_raw(
                self.0.as_ptr(),
                &mut length,
                signature.as_mut_ptr(),
                signature.len(),
                message.as_ptr(),
                message.len(),
                c::RSA_PKCS1_PADDING,
            )
        };
        finish(status, signature, length)
    }

    pub(crate) fn verify_bare(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut signed = self.room();
        let mut length = 0;
        // SAFETY: `signature` is readable for its length; at most `signed.len()` octets are written.
        let status = unsafe {
            c::RSA_verify_raw(
                self.0.as_ptr(),
                &mut length,
                signed.as_mut_ptr(),
                signed.len(),
                signature.as_ptr(),
                signature.len(),
                c::RSA_PKCS1_PADDING,
            )
        };
        let signed = finish(status, signed, length).map_err(|_| BadSignature)?;
        if constant_time_eq(&signed, message) { Ok(()) } else { Err(BadSignature) }
    }

    /// Encrypts a message in PKCS #1 padding of block type 2.
    pub(crate) fn encrypt_pkcs1(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut ciphertext = self.room();
        let mut length = 0;
        // SAFETY: `message` is readable for its length; at most `ciphertext.len()` octets are written.
        let status = unsafe {
            c::RSA_encrypt(
                self.0.as_ptr(),
                &mut length,
                ciphertext.as_mut_ptr(),
                ciphertext.len(),
                message.as_ptr(),
                message.len(),
                c::RSA_PKCS1_PADDING,
            )
        };
        finish(status, ciphertext, length)
    }

    /// Undoes the power alone: blinded, and in a time that does not depend on the result. The library's own removal of the
    /// padding would tell by its failure whether that is right.
    pub(crate) fn decrypt_bare(&self, ciphertext: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let mut padded = Secret::new(self.room());
        let mut length = 0;
        // SAFETY: `ciphertext` is readable for its length; at most `padded.len()` octets are written.
        let status = unsafe {
            c::RSA_decrypt(
                self.0.as_ptr(),
                &mut length,
                padded.expose_mut().as_mut_ptr(),
                padded.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                c::RSA_NO_PADDING,
            )
        };
        if status == 1 && length == padded.len() { Ok(padded) } else { Err(Error::Length) }
    }

    /// Gives how many octets the modulus has.
    pub(crate) fn octets(&self) -> usize {
        // SAFETY: the object is live and has a modulus.
        unsafe { c::RSA_size(self.0.as_ptr()) as usize }
    }

    fn room(&self) -> Vec<u8> {
        vec![0; self.octets()]
    }
}

type Encode = unsafe extern "C" fn(*mut *mut u8, *mut usize, *const c::RSA) -> std::ffi::c_int;

fn finish(status: std::ffi::c_int, mut octets: Vec<u8>, length: usize) -> Result<Vec<u8>, Error> {
    octets.truncate(length);
    if status == 1 { Ok(octets) } else { Err(Error::Length) }
}

/// The library's number of a hash function.
fn name_of(hash: SignatureHash) -> std::ffi::c_int {
    match hash {
        SignatureHash::Sha1 => c::NID_sha1,
        SignatureHash::Sha2_256 => c::NID_sha256,
        SignatureHash::Sha2_384 => c::NID_sha384,
        SignatureHash::Sha2_512 => c::NID_sha512,
    }
}

fn function_of(hash: SignatureHash) -> *const c::EVP_MD {
    // SAFETY: these functions take nothing and give pointers to static tables.
    unsafe {
        match hash {
            SignatureHash::Sha1 => c::EVP_sha1(),
            SignatureHash::Sha2_256 => c::EVP_sha256(),
            SignatureHash::Sha2_384 => c::EVP_sha384(),
            SignatureHash::Sha2_512 => c::EVP_sha512(),
        }
    }
}

impl Drop for RsaKey {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library as ours to free, and is freed once.
        unsafe { c::RSA_free(self.0.as_ptr()) }
    }
}
