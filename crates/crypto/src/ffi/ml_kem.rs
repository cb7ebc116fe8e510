//! ML-KEM with randomness that is given, which published vectors need and nothing else must have.

use std::ptr::{self, NonNull};

use aws_lc_rs::kem::{AlgorithmId, AlgorithmIdentifier};
use aws_lc_sys as c;

use crate::Secret;

/// Makes the key pair of a seed: the encapsulation key and the decapsulation key.
pub(crate) fn key_pair(id: AlgorithmId, seed: &[u8]) -> Option<(Vec<u8>, Secret<Vec<u8>>)> {
    // SAFETY: makes a context of its own, or none.
    let context = Context(NonNull::new(unsafe { c::EVP_PKEY_CTX_new_id(c::EVP_PKEY_KEM, ptr::null_mut()) })?);
    let (mut raw, mut seed_len) = (ptr::null_mut(), seed.len());
    // SAFETY: the context is alive, `seed` is readable for `seed_len`, which the library checks, and `raw` takes a new key.
    let made = unsafe {
        c::EVP_PKEY_CTX_kem_set_params(context.0.as_ptr(), id.nid()) == 1
            && c::EVP_PKEY_keygen_init(context.0.as_ptr()) == 1
            && c::EVP_PKEY_keygen_deterministic(context.0.as_ptr(), &mut raw, seed.as_ptr(), &mut seed_len)
                == 1
    };
    let key = Key(NonNull::new(raw).filter(|_| made)?);
    let public = octets(|out, len| {
        // SAFETY: `out` is null, or writable for `len`; the key is alive.
        unsafe { c::EVP_PKEY_get_raw_public_key(key.0.as_ptr(), out, len) }
    })?;
    let private = octets(|out, len| {
        // SAFETY: as above.
        unsafe { c::EVP_PKEY_get_raw_private_key(key.0.as_ptr(), out, len) }
    })?;
    Some((public, Secret::from(private)))
}

/// Encapsulates with the given randomness, and gives the ciphertext and the secret.
pub(crate) fn encapsulate(
    id: AlgorithmId,
    public: &[u8],
    random: &[u8],
) -> Option<(Vec<u8>, Secret<Vec<u8>>)> {
    // SAFETY: `public` is readable for its length, which the library checks.
    let raw = unsafe { c::EVP_PKEY_kem_new_raw_public_key(id.nid(), public.as_ptr(), public.len()) };
    let key = Key(NonNull::new(raw)?);
    // SAFETY: the key is alive; the context takes a reference of its own.
    let context = Context(NonNull::new(unsafe { c::EVP_PKEY_CTX_new(key.0.as_ptr(), ptr::null_mut()) })?);
    let (mut ciphertext, mut secret) = (vec![0; LONGEST_CIPHERTEXT], vec![0; SECRET_LEN]);
    let (mut ciphertext_len, mut secret_len, mut random_len) = (ciphertext.len(), secret.len(), random.len());
    // SAFETY: every pointer is good for the length that goes with it, which the library checks.
    let made = unsafe {
        c::EVP_PKEY_encapsulate_deterministic(
            context.0.as_ptr(),
            ciphertext.as_mut_ptr(),
            &mut ciphertext_len,
            secret.as_mut_ptr(),
            &mut secret_len,
            random.as_ptr(),
            &mut random_len,
        )
    };
    ciphertext.truncate(ciphertext_len);
    secret.truncate(secret_len);
    (made == 1).then(|| (ciphertext, Secret::from(secret)))
}

/// Asks for a length, and then for as many octets.
fn octets(read: impl Fn(*mut u8, &mut usize) -> i32) -> Option<Vec<u8>> {
    let mut len = 0;
    if read(ptr::null_mut(), &mut len) != 1 {
        return None;
    }
    let mut octets = vec![0; len];
    (read(octets.as_mut_ptr(), &mut len) == 1).then_some(octets)
}

struct Context(NonNull<c::EVP_PKEY_CTX>);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing refers to it any more.
        unsafe { c::EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

struct Key(NonNull<c::EVP_PKEY>);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { c::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// Octets of the ciphertext of ML-KEM-1024.
const LONGEST_CIPHERTEXT: usize = 1568;
const SECRET_LEN: usize = 32;
