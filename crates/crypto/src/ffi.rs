//! The C library where `aws-lc-rs` exposes too little: AEADs with short tags and no per-packet set-up, AES block by
//! block, in CBC mode without padding and in counter mode, and modular exponentiation.
//!
//! Everything `unsafe` is here. Each type owns one C object, checks every length before a pointer leaves Rust, and
//! wipes its memory when dropped: AWS-LC's `OPENSSL_free` cleanses what it frees.

pub(crate) mod ec;
#[cfg(test)]
pub(crate) mod ml_kem;
pub(crate) mod modp;
pub(crate) mod rsa;

use std::ffi::CStr;
use std::ptr::{self, NonNull};

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

/// Octets of a cache line.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// An AEAD key schedule with a fixed ICV length, and what else belongs to the key: one piece of memory, so that a packet
/// waits for it once.
#[repr(C)]
pub(crate) struct AeadContext<Beside> {
    context: c::EVP_AEAD_CTX,
    icv_len: u8,
    pub(crate) beside: Beside,
}

// SAFETY: the context is plain memory that belongs to no thread.
unsafe impl<Beside: Send> Send for AeadContext<Beside> {}
// SAFETY: sealing and opening take the context as const, and aead.h (at EVP_AEAD_CTX_seal) lists AES-GCM and
// ChaCha20-Poly1305 among the AEADs for which they may run concurrently on one context.
unsafe impl<Beside: Sync> Sync for AeadContext<Beside> {}

/// Every AEAD here takes a nonce of 96 bits.
pub(crate) type Nonce = [u8; 12];

impl<Beside> AeadContext<Beside> {
    /// Expands a key. The context stays where it is, since the library may keep pointers into it.
    pub(crate) fn new(
        algorithm: AeadAlgorithm,
        key: &[u8],
        icv_len: usize,
        beside: Beside,
    ) -> Result<Box<Self>, Error> {
        let icv_octets = u8::try_from(icv_len).map_err(|_| Error::Length)?;
        let context = c::EVP_AEAD_CTX::default();
        let mut made = Box::new(Self { context, icv_len: icv_octets, beside });
        // SAFETY: the context is ours and zero; `key` is readable for its length; the library checks that length and the
        // ICV's, and copies the key. If it fails it leaves a context that may be cleaned up.
        let status = unsafe {
            c::EVP_AEAD_CTX_init(
                &mut made.context,
                algorithm.table(),
                key.as_ptr(),
                key.len(),
                icv_len,
                ptr::null_mut(),
            )
        };
        if status == 1 { Ok(made) } else { Err(Error::Library) }
    }

    pub(crate) fn seal(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        data: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), Error> {
        if icv.len() != usize::from(self.icv_len) {
            return Err(Error::Length);
        }
        let mut written = 0;
        // SAFETY: each pointer goes with its slice's own length; output and input are the same buffer, which the
        // library allows; at most `icv.len()` octets are written to `icv`; there is no extra input.
        let status = unsafe {
            c::EVP_AEAD_CTX_seal_scatter(
                &self.context,
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
        if icv.len() != usize::from(self.icv_len) {
            return Err(Forged);
        }
        // SAFETY: each pointer goes with its slice's own length; output and input are the same buffer, which the
        // library allows.
        let status = unsafe {
            c::EVP_AEAD_CTX_open_gather(
                &self.context,
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

    /// Asks the processor for the context's cache lines.
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..size_of::<Self>().div_ceil(CACHE_LINE) {
            let at = ptr::from_ref(self).cast::<i8>().wrapping_add(line * CACHE_LINE);
            // SAFETY: a prefetch reads nothing and faults on no address.
            unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at) };
        }
    }
}

impl<Beside> Drop for AeadContext<Beside> {
    fn drop(&mut self) {
        let context = ptr::from_mut(&mut self.context);
        // SAFETY: the context was initialised, if in vain, and is used no more; it is plain memory of this size.
        unsafe {
            c::EVP_AEAD_CTX_cleanup(context);
            c::OPENSSL_cleanse(context.cast(), size_of::<c::EVP_AEAD_CTX>());
        }
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

    /// Encrypts or decrypts in counter mode, in place; `counter` is the first counter block.
    pub(crate) fn ctr(&self, mut counter: AesBlock, data: &mut [u8]) {
        let mut key_stream = [0; 16];
        let mut used = 0;
        // SAFETY: output and input are the same buffer, which the library allows; it reads the schedule, counts on in
        // `counter`, and keeps what is left of the last block of key stream in `key_stream`, all of which are ours.
        unsafe {
            c::AES_ctr128_encrypt(
                data.as_ptr(),
                data.as_mut_ptr(),
                data.len(),
                &self.0.0,
                counter.as_mut_ptr(),
                key_stream.as_mut_ptr(),
                &mut used,
            );
        }
        key_stream.zeroize();
    }

    /// Encrypts one block.
    pub(crate) fn block(&self, mut block: AesBlock) -> AesBlock {
        // SAFETY: output and input are the same block, which the library allows; it reads the schedule.
        unsafe { c::AES_encrypt(block.as_ptr(), block.as_mut_ptr(), &self.0.0) };
        block
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

    fn from_hexadecimal(digits: &CStr) -> Result<Self, Error> {
        let mut number = ptr::null_mut();
        // SAFETY: `digits` ends with a zero; given a place with null, the function stores a new number there.
        let read = unsafe { c::BN_hex2bn(&mut number, digits.as_ptr()) };
        if read == 0 { Err(Error::Library) } else { Self::own(number) }
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
