//! The C library where `aws-lc-rs` exposes too little: AEADs with short tags and no per-packet set-up, AES-CBC
//! without padding, and modular exponentiation.
//!
//! Everything `unsafe` is here. Each type owns one C object, checks every length before a pointer leaves Rust, and
//! wipes its memory when dropped: AWS-LC's `OPENSSL_free` cleanses what it frees.

use std::ptr::{self, NonNull};
use std::sync::LazyLock;

use aws_lc_sys as c;
use zeroize::Zeroize;

use crate::{Error, Forged};

/// The AEAD constructions of the library, without an ICV length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AeadAlgorithm {
    Aes128Gcm,
    Aes192Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes192Gcm => 24,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    fn table(self) -> *const c::EVP_AEAD {
        // SAFETY: these functions take nothing and give pointers to static tables.
        unsafe {
            match self {
                Self::Aes128Gcm => c::EVP_aead_aes_128_gcm(),
                Self::Aes192Gcm => c::EVP_aead_aes_192_gcm(),
                Self::Aes256Gcm => c::EVP_aead_aes_256_gcm(),
                Self::ChaCha20Poly1305 => c::EVP_aead_chacha20_poly1305(),
            }
        }
    }
}

/// An AEAD key schedule with a fixed ICV length.
pub(crate) struct AeadContext {
    context: NonNull<c::EVP_AEAD_CTX>,
    icv_len: usize,
}

// SAFETY: the context is plain memory that belongs to no thread.
unsafe impl Send for AeadContext {}
// SAFETY: sealing and opening take the context as const, and aead.h (at EVP_AEAD_CTX_seal) lists AES-GCM and
// ChaCha20-Poly1305 among the AEADs for which they may run concurrently on one context.
unsafe impl Sync for AeadContext {}

/// Every AEAD here takes a nonce of 96 bits.
pub(crate) type Nonce = [u8; 12];

impl AeadContext {
    pub(crate) fn new(algorithm: AeadAlgorithm, key: &[u8], icv_len: usize) -> Result<Self, Error> {
        // SAFETY: `key` is readable for its length; the library checks that length and the ICV's, and copies the key.
        let context = unsafe { c::EVP_AEAD_CTX_new(algorithm.table(), key.as_ptr(), key.len(), icv_len) };
        Ok(Self { context: NonNull::new(context).ok_or(Error::Library)?, icv_len })
    }

    pub(crate) fn seal(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        data: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), Error> {
        if icv.len() != self.icv_len {
            return Err(Error::Length);
        }
        let mut written = 0;
        // SAFETY: each pointer goes with its slice's own length; output and input are the same buffer, which the
        // library allows; at most `icv.len()` octets are written to `icv`; there is no extra input.
        let status = unsafe {
            c::EVP_AEAD_CTX_seal_scatter(
                self.context.as_ptr(),
                data.as_mut_ptr(),
                icv.as_mut_ptr(),
                &mut written,
                icv.len(),
                nonce.as_ptr(),
                nonce.len(),
                data.as_ptr(),
                data.len(),
                ptr::null(),
                0,
                associated.as_ptr(),
                associated.len(),
            )
        };
        // The one thing that the lengths above leave open is a message beyond the algorithm's limit.
        if status == 1 && written == icv.len() { Ok(()) } else { Err(Error::Length) }
    }

    pub(crate) fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        data: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Forged> {
        // A shorter ICV would be easier to guess, so the length is part of the check.
        if icv.len() != self.icv_len {
            return Err(Forged);
        }
        // SAFETY: each pointer goes with its slice's own length; output and input are the same buffer, which the
        // library allows.
        let status = unsafe {
            c::EVP_AEAD_CTX_open_gather(
                self.context.as_ptr(),
                data.as_mut_ptr(),
                nonce.as_ptr(),
                nonce.len(),
                data.as_ptr(),
                data.len(),
                icv.as_ptr(),
                icv.len(),
                associated.as_ptr(),
                associated.len(),
            )
        };
        if status == 1 { Ok(()) } else { Err(Forged) }
    }
}

impl Drop for AeadContext {
    fn drop(&mut self) {
        // SAFETY: the pointer came from EVP_AEAD_CTX_new and is freed once.
        unsafe { c::EVP_AEAD_CTX_free(self.context.as_ptr()) }
    }
}

/// An AES key schedule for encryption.
pub(crate) struct AesEncrypt(Box<AesSchedule>);

/// An AES key schedule for decryption.
pub(crate) struct AesDecrypt(Box<AesSchedule>);

pub(crate) type AesBlock = [u8; 16];

impl AesEncrypt {
    /// Expands a key of 16, 24 or 32 octets.
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        AesSchedule::expand(key, c::AES_set_encrypt_key).map(Self)
    }

    /// Encrypts in CBC mode, in place.
    pub(crate) fn cbc(&self, iv: AesBlock, blocks: &mut [AesBlock]) {
        self.0.cbc(iv, blocks, c::AES_ENCRYPT);
    }
}

impl AesDecrypt {
    /// Expands a key of 16, 24 or 32 octets.
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        AesSchedule::expand(key, c::AES_set_decrypt_key).map(Self)
    }

    /// Decrypts in CBC mode, in place.
    pub(crate) fn cbc(&self, iv: AesBlock, blocks: &mut [AesBlock]) {
        self.0.cbc(iv, blocks, c::AES_DECRYPT);
    }
}

/// Expanded in its box from the start, so that no copy of it is left on a stack.
struct AesSchedule(c::AES_KEY);

type ExpandKey = unsafe extern "C" fn(*const u8, std::ffi::c_uint, *mut c::AES_KEY) -> std::ffi::c_int;

impl AesSchedule {
    fn expand(key: &[u8], expand: ExpandKey) -> Result<Box<Self>, Error> {
        let bits = match key.len() {
            16 => 128,
            24 => 192,
            32 => 256,
            actual => return Err(Error::KeyLength { expected: 16, actual }),
        };
        let mut schedule = Box::new(Self(c::AES_KEY { rd_key: [0; 60], rounds: 0 }));
        // SAFETY: `key` has `bits` bits, and the schedule has room for the longest key.
        let status = unsafe { expand(key.as_ptr(), bits, &mut schedule.0) };
        if status == 0 { Ok(schedule) } else { Err(Error::Library) }
    }

    fn cbc(&self, mut iv: AesBlock, blocks: &mut [AesBlock], direction: i32) {
        let octets = blocks.as_flattened_mut();
        // SAFETY: output and input are the same buffer of whole blocks, which the library allows; it reads the
        // schedule, and writes the last ciphertext block to `iv`, which is a copy.
        unsafe {
            c::AES_cbc_encrypt(
                octets.as_ptr(),
                octets.as_mut_ptr(),
                octets.len(),
                &self.0,
                iv.as_mut_ptr(),
                direction,
            );
        }
    }
}

impl Drop for AesSchedule {
    fn drop(&mut self) {
        self.0.rd_key.zeroize();
    }
}

/// The primes of RFC 3526, which the library knows by heart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ModpPrime {
    Bits2048,
    Bits3072,
    Bits4096,
}

impl ModpPrime {
    /// Gives the prime's arithmetic, prepared once for the life of the process.
    pub(crate) fn modulus(self) -> Result<&'static Modulus, Error> {
        type Prepared = LazyLock<Result<Modulus, Error>>;
        static BITS_2048: Prepared = LazyLock::new(|| Modulus::new(c::BN_get_rfc3526_prime_2048));
        static BITS_3072: Prepared = LazyLock::new(|| Modulus::new(c::BN_get_rfc3526_prime_3072));
        static BITS_4096: Prepared = LazyLock::new(|| Modulus::new(c::BN_get_rfc3526_prime_4096));
        let prepared = match self {
            Self::Bits2048 => &BITS_2048,
            Self::Bits3072 => &BITS_3072,
            Self::Bits4096 => &BITS_4096,
        };
        prepared.as_ref().map_err(|&error| error)
    }
}

/// Arithmetic modulo one odd public prime.
pub(crate) struct Modulus {
    prime: Bignum,
    montgomery: NonNull<c::BN_MONT_CTX>,
}

// SAFETY: both objects are plain memory that belongs to no thread.
unsafe impl Send for Modulus {}
// SAFETY: after `new`, both objects are only read; every call brings its own BN_CTX.
unsafe impl Sync for Modulus {}

impl Modulus {
    fn new(prime: unsafe extern "C" fn(*mut c::BIGNUM) -> *mut c::BIGNUM) -> Result<Self, Error> {
        // SAFETY: given null, these functions return a new number for the caller to free, or null.
        let prime = Bignum::own(unsafe { prime(ptr::null_mut()) })?;
        let scratch = Scratch::new()?;
        // SAFETY: both pointers are live; the prime is odd.
        let montgomery = unsafe { c::BN_MONT_CTX_new_for_modulus(prime.0.as_ptr(), scratch.0.as_ptr()) };
        Ok(Self { prime, montgomery: NonNull::new(montgomery).ok_or(Error::Library)? })
    }

    /// Gives the prime, big-endian and as long as `octets`.
    pub(crate) fn write_prime(&self, octets: &mut [u8]) -> Result<(), Error> {
        self.prime.write(octets)
    }

    /// Computes `base ^ exponent mod prime`, in a time that depends on the lengths only.
    ///
    /// All numbers are big-endian; `base` is less than the prime, and `result` as long as the prime.
    pub(crate) fn power(&self, base: &[u8], exponent: &[u8], result: &mut [u8]) -> Result<(), Error> {
        let base = Bignum::read(base)?;
        let exponent = Bignum::read(exponent)?;
        let power = Bignum::read(&[])?;
        let scratch = Scratch::new()?;
        // SAFETY: all pointers are live and distinct; the Montgomery context was made for this prime.
        let status = unsafe {
            c::BN_mod_exp_mont_consttime(
                power.0.as_ptr(),
                base.0.as_ptr(),
                exponent.0.as_ptr(),
                self.prime.0.as_ptr(),
                scratch.0.as_ptr(),
                self.montgomery.as_ptr(),
            )
        };
        if status == 1 { power.write(result) } else { Err(Error::Library) }
    }
}

impl Drop for Modulus {
    fn drop(&mut self) {
        // SAFETY: the pointer came from BN_MONT_CTX_new_for_modulus and is freed once.
        unsafe { c::BN_MONT_CTX_free(self.montgomery.as_ptr()) }
    }
}

struct Bignum(NonNull<c::BIGNUM>);

impl Bignum {
    fn own(number: *mut c::BIGNUM) -> Result<Self, Error> {
        NonNull::new(number).map(Self).ok_or(Error::Library)
    }

    /// Reads a big-endian number. Its width in words follows from the length, not from the value, so that leading
    /// zeros of an exponent do not show in the time that it takes.
    fn read(octets: &[u8]) -> Result<Self, Error> {
        // SAFETY: `octets` is readable for its length; given null, the function returns a new number or null.
        Self::own(unsafe { c::BN_bin2bn(octets.as_ptr(), octets.len(), ptr::null_mut()) })
    }

    /// Writes the number big-endian, padded on the left.
    fn write(&self, octets: &mut [u8]) -> Result<(), Error> {
        // SAFETY: `octets` is writable for its length; the function fails if the number does not fit.
        let status = unsafe { c::BN_bn2bin_padded(octets.as_mut_ptr(), octets.len(), self.0.as_ptr()) };
        if status == 1 { Ok(()) } else { Err(Error::Length) }
    }
}

impl Drop for Bignum {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library as the caller's to free, and is freed once.
        unsafe { c::BN_clear_free(self.0.as_ptr()) }
    }
}

/// The library's stack of temporary numbers.
struct Scratch(NonNull<c::BN_CTX>);

impl Scratch {
    fn new() -> Result<Self, Error> {
        // SAFETY: the function takes nothing and returns a new object or null.
        NonNull::new(unsafe { c::BN_CTX_new() }).map(Self).ok_or(Error::Library)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the pointer came from BN_CTX_new and is freed once.
        unsafe { c::BN_CTX_free(self.0.as_ptr()) }
    }
}
