//! The one transform table: for every algorithm its IANA number, key length, configuration keywords, the name that
//! management tools print, and the implementation (RFC 7296 §3.3.2, RFC 8247, RFC 8221).
//!
//! Nothing else in Keyway translates between these. A row is found by number when a peer offers it, by keyword when a
//! configuration names it.

use std::fmt;

use crypto::{Aead, Cipher, KeyExchange, Mac, Prf, aead, cipher, key_exchange, mac, prf};
use wire::registry::{EncryptionId, IntegrityId, KeyExchangeId, PrfId};

/// A row of the encryption table (transform type 1).
pub struct Encryption {
    /// The IANA number.
    pub id: EncryptionId,
    /// The Key Length attribute in bits; `None` for ciphers that must not carry one (RFC 7296 §3.3.5).
    pub key_bits: Option<u16>,
    /// Configuration keywords; the first is the one we print.
    pub keywords: &'static [&'static str],
    /// The name in management answers, without the key length.
    pub name: &'static str,
    /// The implementation.
    pub kind: EncryptionKind,
    /// Why nobody should use it without a decision; `None` of what is sound (RFC 8221, RFC 8247).
    pub weakness: Option<&'static str>,
}

/// How an encryption algorithm gets its integrity.
pub enum EncryptionKind {
    /// By itself (RFC 5282, RFC 4106): no integrity transform goes with it.
    Aead(&'static dyn Aead),
    /// From an integrity transform beside it.
    Cipher(&'static dyn Cipher),
}

/// A row of the integrity table (transform type 3).
pub struct Integrity {
    /// The IANA number.
    pub id: IntegrityId,
    /// Configuration keywords; the first is the one we print.
    pub keywords: &'static [&'static str],
    /// The name in management answers.
    pub name: &'static str,
    /// The implementation.
    pub mac: &'static dyn Mac,
    /// The PRF that an IKE proposal without one of its own takes; `None` of what is for AH alone.
    pub implied_prf: Option<PrfId>,
    /// Why nobody should use it without a decision.
    pub weakness: Option<&'static str>,
}

/// A row of the pseudo-random function table (transform type 2).
pub struct PseudoRandom {
    /// The IANA number.
    pub id: PrfId,
    /// Configuration keywords; the first is the one we print.
    pub keywords: &'static [&'static str],
    /// The name in management answers.
    pub name: &'static str,
    /// The implementation.
    pub prf: &'static dyn Prf,
    /// Why nobody should use it without a decision.
    pub weakness: Option<&'static str>,
}

/// A row of the key exchange table (transform type 4).
pub struct Group {
    /// The IANA number.
    pub id: KeyExchangeId,
    /// Configuration keywords; the first is the one we print.
    pub keywords: &'static [&'static str],
    /// The name in management answers.
    pub name: &'static str,
    /// The implementation.
    pub key_exchange: &'static dyn KeyExchange,
    /// Why nobody should use it without a decision.
    pub weakness: Option<&'static str>,
}

impl Encryption {
    /// Gives the octets of key material that it takes, its salt included.
    pub fn key_len(&self) -> usize {
        match &self.kind {
            EncryptionKind::Aead(aead) => aead.key_len() + aead.salt_len(),
            EncryptionKind::Cipher(cipher) => cipher.key_len() + cipher.salt_len(),
        }
    }

    /// Gives what the Key Length attribute says of it: the key length where there is a choice, and nothing at all where that
    /// means the same (RFC 7296 §3.3.5, RFC 2451 §2.2).
    pub fn offered_key_bits(&self) -> impl Iterator<Item = Option<u16>> + use<> {
        let is_default = matches!(
            (self.id, self.key_bits),
            (EncryptionId::BLOWFISH | EncryptionId::CAST, Some(OLD_DEFAULT_KEY_BITS))
        );
        [self.key_bits].into_iter().chain(is_default.then_some(None))
    }

    /// Tells whether it hides what it protects; NULL and GMAC do not.
    pub fn encrypts(&self) -> bool {
        match &self.kind {
            EncryptionKind::Aead(aead) => aead.encrypts(),
            EncryptionKind::Cipher(cipher) => cipher.encrypts(),
        }
    }

    /// Tells whether it may protect an IKE SA as well. RFC 7296 §3.3.2 forbids what does not encrypt, and RFC 8750 §7
    /// implicit IVs: the messages of an IKE SA have no number that never comes twice.
    pub fn serves_ike(&self) -> bool {
        let implicit_iv = matches!(&self.kind, EncryptionKind::Aead(aead) if aead.iv_len() == 0);
        self.encrypts() && !implicit_iv
    }
}

impl Integrity {
    /// Tells whether it is for AH alone: GMAC has an IV in its ICV, for which ESP has no place (RFC 4543 §3, §5.3).
    pub fn is_for_ah_alone(&self) -> bool {
        self.mac.iv_len() > 0
    }
}

/// Finds an encryption algorithm as a peer offers it.
pub fn encryption(id: EncryptionId, key_bits: Option<u16>) -> Option<&'static Encryption> {
    ENCRYPTION.iter().find(|row| row.id == id && row.offered_key_bits().any(|bits| bits == key_bits))
}

/// Finds an integrity algorithm by number.
pub fn integrity(id: IntegrityId) -> Option<&'static Integrity> {
    INTEGRITY.iter().find(|row| row.id == id)
}

/// Finds a pseudo-random function by number.
pub fn pseudo_random(id: PrfId) -> Option<&'static PseudoRandom> {
    PSEUDO_RANDOM.iter().find(|row| row.id == id)
}

/// Finds a key exchange method by number.
pub fn group(id: KeyExchangeId) -> Option<&'static Group> {
    GROUPS.iter().find(|row| row.id == id)
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

macro_rules! encryption {
    ($id:ident, $bits:expr, $kind:ident($implementation:path), $name:literal, $($keyword:literal),+ $(; $weakness:expr)?) => {
        Encryption {
            id: EncryptionId::$id,
            key_bits: $bits,
            keywords: &[$($keyword),+],
            name: $name,
            kind: EncryptionKind::$kind($implementation),
            weakness: optional!($($weakness)?),
        }
    };
}

/// The key length of the ciphers of RFC 2451 that have several, where none is named.
const OLD_DEFAULT_KEY_BITS: u16 = 128;

const SMALL_BLOCK: &str = "a 64-bit block gives plaintext away after some 32 GiB under one key (Sweet32)";
const SHORT_KEY: &str = "a 56-bit key is searched in a day";

/// Encryption algorithms, best first within a kind.
#[rustfmt::skip]
pub static ENCRYPTION: &[Encryption] = &[
    encryption!(AES_GCM_16, Some(128), Aead(aead::AES_128_GCM_16), "AES_GCM_16", "aes128gcm16", "aes128gcm128", "aes128gcm", "aesgcm16"),
    encryption!(AES_GCM_16, Some(192), Aead(aead::AES_192_GCM_16), "AES_GCM_16", "aes192gcm16", "aes192gcm128", "aes192gcm"),
    encryption!(AES_GCM_16, Some(256), Aead(aead::AES_256_GCM_16), "AES_GCM_16", "aes256gcm16", "aes256gcm128", "aes256gcm"),
    encryption!(AES_GCM_12, Some(128), Aead(aead::AES_128_GCM_12), "AES_GCM_12", "aes128gcm12", "aes128gcm96"),
    encryption!(AES_GCM_12, Some(192), Aead(aead::AES_192_GCM_12), "AES_GCM_12", "aes192gcm12", "aes192gcm96"),
    encryption!(AES_GCM_12, Some(256), Aead(aead::AES_256_GCM_12), "AES_GCM_12", "aes256gcm12", "aes256gcm96"),
    encryption!(AES_GCM_8, Some(128), Aead(aead::AES_128_GCM_8), "AES_GCM_8", "aes128gcm8", "aes128gcm64"),
    encryption!(AES_GCM_8, Some(192), Aead(aead::AES_192_GCM_8), "AES_GCM_8", "aes192gcm8", "aes192gcm64"),
    encryption!(AES_GCM_8, Some(256), Aead(aead::AES_256_GCM_8), "AES_GCM_8", "aes256gcm8", "aes256gcm64"),
    encryption!(CHACHA20_POLY1305, None, Aead(aead::CHACHA20_POLY1305), "CHACHA20_POLY1305", "chacha20poly1305", "chacha20poly1305compat"),
    encryption!(AES_GCM_16_IIV, Some(128), Aead(aead::AES_128_GCM_16_IIV), "AES_GCM_16_IIV", "aes128gcm16iiv"),
    encryption!(AES_GCM_16_IIV, Some(192), Aead(aead::AES_192_GCM_16_IIV), "AES_GCM_16_IIV", "aes192gcm16iiv"),
    encryption!(AES_GCM_16_IIV, Some(256), Aead(aead::AES_256_GCM_16_IIV), "AES_GCM_16_IIV", "aes256gcm16iiv"),
    encryption!(CHACHA20_POLY1305_IIV, None, Aead(aead::CHACHA20_POLY1305_IIV), "CHACHA20_POLY1305_IIV", "chacha20poly1305iiv"),
    encryption!(AES_CCM_16, Some(128), Aead(aead::AES_128_CCM_16), "AES_CCM_16", "aes128ccm16", "aes128ccm128", "aes128ccm"),
    encryption!(AES_CCM_16, Some(192), Aead(aead::AES_192_CCM_16), "AES_CCM_16", "aes192ccm16", "aes192ccm128", "aes192ccm"),
    encryption!(AES_CCM_16, Some(256), Aead(aead::AES_256_CCM_16), "AES_CCM_16", "aes256ccm16", "aes256ccm128", "aes256ccm"),
    encryption!(AES_CCM_12, Some(128), Aead(aead::AES_128_CCM_12), "AES_CCM_12", "aes128ccm12", "aes128ccm96"),
    encryption!(AES_CCM_12, Some(192), Aead(aead::AES_192_CCM_12), "AES_CCM_12", "aes192ccm12", "aes192ccm96"),
    encryption!(AES_CCM_12, Some(256), Aead(aead::AES_256_CCM_12), "AES_CCM_12", "aes256ccm12", "aes256ccm96"),
    encryption!(AES_CCM_8, Some(128), Aead(aead::AES_128_CCM_8), "AES_CCM_8", "aes128ccm8", "aes128ccm64"),
    encryption!(AES_CCM_8, Some(192), Aead(aead::AES_192_CCM_8), "AES_CCM_8", "aes192ccm8", "aes192ccm64"),
    encryption!(AES_CCM_8, Some(256), Aead(aead::AES_256_CCM_8), "AES_CCM_8", "aes256ccm8", "aes256ccm64"),
    encryption!(AES_CCM_8_IIV, Some(128), Aead(aead::AES_128_CCM_8_IIV), "AES_CCM_8_IIV", "aes128ccm8iiv"),
    encryption!(AES_CCM_8_IIV, Some(192), Aead(aead::AES_192_CCM_8_IIV), "AES_CCM_8_IIV", "aes192ccm8iiv"),
    encryption!(AES_CCM_8_IIV, Some(256), Aead(aead::AES_256_CCM_8_IIV), "AES_CCM_8_IIV", "aes256ccm8iiv"),
    encryption!(CAMELLIA_CCM_16, Some(128), Aead(aead::CAMELLIA_128_CCM_16), "CAMELLIA_CCM_16", "camellia128ccm16", "camellia128ccm128"),
    encryption!(CAMELLIA_CCM_16, Some(192), Aead(aead::CAMELLIA_192_CCM_16), "CAMELLIA_CCM_16", "camellia192ccm16", "camellia192ccm128"),
    encryption!(CAMELLIA_CCM_16, Some(256), Aead(aead::CAMELLIA_256_CCM_16), "CAMELLIA_CCM_16", "camellia256ccm16", "camellia256ccm128"),
    encryption!(CAMELLIA_CCM_12, Some(128), Aead(aead::CAMELLIA_128_CCM_12), "CAMELLIA_CCM_12", "camellia128ccm12", "camellia128ccm96"),
    encryption!(CAMELLIA_CCM_12, Some(192), Aead(aead::CAMELLIA_192_CCM_12), "CAMELLIA_CCM_12", "camellia192ccm12", "camellia192ccm96"),
    encryption!(CAMELLIA_CCM_12, Some(256), Aead(aead::CAMELLIA_256_CCM_12), "CAMELLIA_CCM_12", "camellia256ccm12", "camellia256ccm96"),
    encryption!(CAMELLIA_CCM_8, Some(128), Aead(aead::CAMELLIA_128_CCM_8), "CAMELLIA_CCM_8", "camellia128ccm8", "camellia128ccm64"),
    encryption!(CAMELLIA_CCM_8, Some(192), Aead(aead::CAMELLIA_192_CCM_8), "CAMELLIA_CCM_8", "camellia192ccm8", "camellia192ccm64"),
    encryption!(CAMELLIA_CCM_8, Some(256), Aead(aead::CAMELLIA_256_CCM_8), "CAMELLIA_CCM_8", "camellia256ccm8", "camellia256ccm64"),
    encryption!(NULL_AUTH_AES_GMAC, Some(128), Aead(aead::NULL_AES_128_GMAC), "NULL_AES_GMAC", "aes128gmac"),
    encryption!(NULL_AUTH_AES_GMAC, Some(192), Aead(aead::NULL_AES_192_GMAC), "NULL_AES_GMAC", "aes192gmac"),
    encryption!(NULL_AUTH_AES_GMAC, Some(256), Aead(aead::NULL_AES_256_GMAC), "NULL_AES_GMAC", "aes256gmac"),
    encryption!(AES_CBC, Some(128), Cipher(cipher::AES_128_CBC), "AES_CBC", "aes128", "aes"),
    encryption!(AES_CBC, Some(192), Cipher(cipher::AES_192_CBC), "AES_CBC", "aes192"),
    encryption!(AES_CBC, Some(256), Cipher(cipher::AES_256_CBC), "AES_CBC", "aes256"),
    encryption!(AES_CTR, Some(128), Cipher(cipher::AES_128_CTR), "AES_CTR", "aes128ctr"),
    encryption!(AES_CTR, Some(192), Cipher(cipher::AES_192_CTR), "AES_CTR", "aes192ctr"),
    encryption!(AES_CTR, Some(256), Cipher(cipher::AES_256_CTR), "AES_CTR", "aes256ctr"),
    encryption!(CAMELLIA_CBC, Some(128), Cipher(cipher::CAMELLIA_128_CBC), "CAMELLIA_CBC", "camellia128", "camellia"),
    encryption!(CAMELLIA_CBC, Some(192), Cipher(cipher::CAMELLIA_192_CBC), "CAMELLIA_CBC", "camellia192"),
    encryption!(CAMELLIA_CBC, Some(256), Cipher(cipher::CAMELLIA_256_CBC), "CAMELLIA_CBC", "camellia256"),
    encryption!(CAMELLIA_CTR, Some(128), Cipher(cipher::CAMELLIA_128_CTR), "CAMELLIA_CTR", "camellia128ctr"),
    encryption!(CAMELLIA_CTR, Some(192), Cipher(cipher::CAMELLIA_192_CTR), "CAMELLIA_CTR", "camellia192ctr"),
    encryption!(CAMELLIA_CTR, Some(256), Cipher(cipher::CAMELLIA_256_CTR), "CAMELLIA_CTR", "camellia256ctr"),
    encryption!(NULL, None, Cipher(cipher::NULL), "NULL", "null"),
    encryption!(TRIPLE_DES, None, Cipher(cipher::TRIPLE_DES_CBC), "3DES_CBC", "3des"; SMALL_BLOCK),
    encryption!(CAST, Some(128), Cipher(cipher::CAST_128_CBC), "CAST_CBC", "cast128"; SMALL_BLOCK),
    encryption!(BLOWFISH, Some(128), Cipher(cipher::BLOWFISH_128_CBC), "BLOWFISH_CBC", "blowfish128", "blowfish"; SMALL_BLOCK),
    encryption!(BLOWFISH, Some(192), Cipher(cipher::BLOWFISH_192_CBC), "BLOWFISH_CBC", "blowfish192"; SMALL_BLOCK),
    encryption!(BLOWFISH, Some(256), Cipher(cipher::BLOWFISH_256_CBC), "BLOWFISH_CBC", "blowfish256"; SMALL_BLOCK),
    encryption!(DES, None, Cipher(cipher::DES_CBC), "DES_CBC", "des"; SHORT_KEY),
];

macro_rules! row {
    ($row:ident { $id_type:ident, $field:ident } $id:ident, $implementation:path, $name:literal, $($keyword:literal),+ $(; $weakness:expr)?) => {
        $row {
            id: $id_type::$id,
            keywords: &[$($keyword),+],
            name: $name,
            $field: $implementation,
            weakness: optional!($($weakness)?),
        }
    };
}

macro_rules! integrity {
    ($id:ident, $implementation:path, $prf:expr, $name:literal, $($keyword:literal),+ $(; $weakness:expr)?) => {
        Integrity {
            id: IntegrityId::$id,
            keywords: &[$($keyword),+],
            name: $name,
            mac: $implementation,
            implied_prf: $prf,
            weakness: optional!($($weakness)?),
        }
    };
}

const BROKEN_MD5: &str = "MD5 collides at will, and RFC 8247 forbids it";
const BROKEN_SHA1: &str = "SHA-1 collides for money, and RFC 8247 is phasing it out";

/// Integrity algorithms.
#[rustfmt::skip]
pub static INTEGRITY: &[Integrity] = &[
    integrity!(HMAC_SHA2_256_128, mac::HMAC_SHA2_256_128, Some(PrfId::HMAC_SHA2_256), "HMAC_SHA2_256_128", "sha256", "sha2_256"),
    integrity!(HMAC_SHA2_384_192, mac::HMAC_SHA2_384_192, Some(PrfId::HMAC_SHA2_384), "HMAC_SHA2_384_192", "sha384", "sha2_384"),
    integrity!(HMAC_SHA2_512_256, mac::HMAC_SHA2_512_256, Some(PrfId::HMAC_SHA2_512), "HMAC_SHA2_512_256", "sha512", "sha2_512"),
    integrity!(HMAC_SHA2_256_96, mac::HMAC_SHA2_256_96, Some(PrfId::HMAC_SHA2_256), "HMAC_SHA2_256_96", "sha256_96", "sha2_256_96"),
    integrity!(AES_CMAC_96, mac::AES_CMAC_96, Some(PrfId::AES128_CMAC), "AES_CMAC_96", "aescmac"),
    integrity!(AES_XCBC_96, mac::AES_XCBC_96, Some(PrfId::AES128_XCBC), "AES_XCBC_96", "aesxcbc"),
    integrity!(AES_128_GMAC, mac::AES_128_GMAC, None, "AES_128_GMAC", "aes128gmac"),
    integrity!(AES_192_GMAC, mac::AES_192_GMAC, None, "AES_192_GMAC", "aes192gmac"),
    integrity!(AES_256_GMAC, mac::AES_256_GMAC, None, "AES_256_GMAC", "aes256gmac"),
    integrity!(HMAC_SHA1_96, mac::HMAC_SHA1_96, Some(PrfId::HMAC_SHA1), "HMAC_SHA1_96", "sha1", "sha"; BROKEN_SHA1),
    integrity!(HMAC_SHA1_160, mac::HMAC_SHA1_160, Some(PrfId::HMAC_SHA1), "HMAC_SHA1_160", "sha1_160"; BROKEN_SHA1),
    integrity!(HMAC_MD5_96, mac::HMAC_MD5_96, Some(PrfId::HMAC_MD5), "HMAC_MD5_96", "md5"; BROKEN_MD5),
    integrity!(HMAC_MD5_128, mac::HMAC_MD5_128, Some(PrfId::HMAC_MD5), "HMAC_MD5_128", "md5_128"; BROKEN_MD5),
];

/// Pseudo-random functions.
#[rustfmt::skip]
pub static PSEUDO_RANDOM: &[PseudoRandom] = &[
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_256, prf::HMAC_SHA2_256, "PRF_HMAC_SHA2_256", "prfsha256"),
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_384, prf::HMAC_SHA2_384, "PRF_HMAC_SHA2_384", "prfsha384"),
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_512, prf::HMAC_SHA2_512, "PRF_HMAC_SHA2_512", "prfsha512"),
    row!(PseudoRandom { PrfId, prf } AES128_CMAC, prf::AES128_CMAC, "PRF_AES128_CMAC", "prfaescmac"),
    row!(PseudoRandom { PrfId, prf } AES128_XCBC, prf::AES128_XCBC, "PRF_AES128_XCBC", "prfaesxcbc"),
    row!(PseudoRandom { PrfId, prf } HMAC_SHA1, prf::HMAC_SHA1, "PRF_HMAC_SHA1", "prfsha1"; BROKEN_SHA1),
    row!(PseudoRandom { PrfId, prf } HMAC_MD5, prf::HMAC_MD5, "PRF_HMAC_MD5", "prfmd5"; BROKEN_MD5),
];

const SMALL_CURVE: &str = "the curve is smaller than 128 bits of strength ask for";
const UNEXPLAINED_PRIME: &str =
    "the primes of RFC 5114 are of unknown origin and have small subgroups (RFC 8247 §2.4)";

/// Key exchange methods, best first.
#[rustfmt::skip]
pub static GROUPS: &[Group] = &[
    row!(Group { KeyExchangeId, key_exchange } CURVE25519, key_exchange::CURVE25519, "CURVE_25519", "x25519", "curve25519"),
    row!(Group { KeyExchangeId, key_exchange } ECP_256, key_exchange::ECP_256, "ECP_256", "ecp256"),
    row!(Group { KeyExchangeId, key_exchange } ECP_384, key_exchange::ECP_384, "ECP_384", "ecp384"),
    row!(Group { KeyExchangeId, key_exchange } ECP_521, key_exchange::ECP_521, "ECP_521", "ecp521"),
    row!(Group { KeyExchangeId, key_exchange } CURVE448, key_exchange::CURVE448, "CURVE_448", "x448", "curve448"),
    row!(Group { KeyExchangeId, key_exchange } BRAINPOOL_P256R1, key_exchange::BRAINPOOL_P256R1, "ECP_256_BP", "ecp256bp"),
    row!(Group { KeyExchangeId, key_exchange } BRAINPOOL_P384R1, key_exchange::BRAINPOOL_P384R1, "ECP_384_BP", "ecp384bp"),
    row!(Group { KeyExchangeId, key_exchange } BRAINPOOL_P512R1, key_exchange::BRAINPOOL_P512R1, "ECP_512_BP", "ecp512bp"),
    row!(Group { KeyExchangeId, key_exchange } MODP_3072, key_exchange::MODP_3072, "MODP_3072", "modp3072"),
    row!(Group { KeyExchangeId, key_exchange } MODP_4096, key_exchange::MODP_4096, "MODP_4096", "modp4096"),
    row!(Group { KeyExchangeId, key_exchange } MODP_6144, key_exchange::MODP_6144, "MODP_6144", "modp6144"),
    row!(Group { KeyExchangeId, key_exchange } MODP_8192, key_exchange::MODP_8192, "MODP_8192", "modp8192"),
    row!(Group { KeyExchangeId, key_exchange } MODP_2048, key_exchange::MODP_2048, "MODP_2048", "modp2048"),
    row!(Group { KeyExchangeId, key_exchange } ML_KEM_768, key_exchange::ML_KEM_768, "ML_KEM_768", "mlkem768"),
    row!(Group { KeyExchangeId, key_exchange } ML_KEM_1024, key_exchange::ML_KEM_1024, "ML_KEM_1024", "mlkem1024"),
    row!(Group { KeyExchangeId, key_exchange } ML_KEM_512, key_exchange::ML_KEM_512, "ML_KEM_512", "mlkem512"),
    row!(Group { KeyExchangeId, key_exchange } ECP_224, key_exchange::ECP_224, "ECP_224", "ecp224"; SMALL_CURVE),
    row!(Group { KeyExchangeId, key_exchange } BRAINPOOL_P224R1, key_exchange::BRAINPOOL_P224R1, "ECP_224_BP", "ecp224bp"; SMALL_CURVE),
    row!(Group { KeyExchangeId, key_exchange } ECP_192, key_exchange::ECP_192, "ECP_192", "ecp192"; SMALL_CURVE),
    row!(Group { KeyExchangeId, key_exchange } MODP_2048_256, key_exchange::MODP_2048_256, "MODP_2048_256", "modp2048s256"; UNEXPLAINED_PRIME),
    row!(Group { KeyExchangeId, key_exchange } MODP_2048_224, key_exchange::MODP_2048_224, "MODP_2048_224", "modp2048s224"; UNEXPLAINED_PRIME),
    row!(Group { KeyExchangeId, key_exchange } MODP_1024_160, key_exchange::MODP_1024_160, "MODP_1024_160", "modp1024s160"; UNEXPLAINED_PRIME),
    row!(Group { KeyExchangeId, key_exchange } MODP_1536, key_exchange::MODP_1536, "MODP_1536", "modp1536"; "the 1536-bit group is too close to what has been broken"),
    row!(Group { KeyExchangeId, key_exchange } MODP_1024, key_exchange::MODP_1024, "MODP_1024", "modp1024"; "the 1024-bit group is within reach of states (Logjam)"),
    row!(Group { KeyExchangeId, key_exchange } MODP_768, key_exchange::MODP_768, "MODP_768", "modp768"; "the 768-bit group has been broken in public"),
];

macro_rules! identity_and_print {
    ($($row:ident by $($key:ident),+;)+) => {$(
        impl PartialEq for $row {
            fn eq(&self, other: &$row) -> bool {
                $(self.$key == other.$key)&&+
            }
        }
        impl Eq for $row {}

        impl fmt::Display for $row {
            /// Prints the keyword.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.keywords[0])
            }
        }

        impl fmt::Debug for $row {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

identity_and_print! {
    Encryption by id, key_bits;
    Integrity by id;
    PseudoRandom by id;
    Group by id;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// In ESP and IKE `aes128gmac` names the encryption row, in AH the integrity row.
    #[test]
    fn no_keyword_names_two_rows() {
        let integrity = |of_ah: bool| {
            let rows = INTEGRITY.iter().filter(move |row| of_ah || !row.is_for_ah_alone());
            rows.flat_map(|row| row.keywords)
        };
        let encryption = ENCRYPTION.iter().flat_map(|row| row.keywords);
        let groups = || GROUPS.iter().flat_map(|row| row.keywords);
        let prf = PSEUDO_RANDOM.iter().flat_map(|row| row.keywords);
        let of_esp_or_ike = encryption.chain(integrity(false)).chain(prf).chain(groups());
        for keywords in [of_esp_or_ike.collect::<Vec<_>>(), integrity(true).chain(groups()).collect()] {
            let mut seen = BTreeSet::new();
            for keyword in keywords {
                assert!(seen.insert(keyword), "{keyword} stands twice");
            }
        }
    }

    /// RFC 7296 §3.3.5: the attribute stands only where the cipher alone does not tell the length.
    #[test]
    fn key_lengths_of_the_table_are_those_of_the_implementations() {
        for row in ENCRYPTION {
            let octets = match &row.kind {
                EncryptionKind::Aead(aead) => aead.key_len(),
                EncryptionKind::Cipher(cipher) => cipher.key_len(),
            };
            let expected = match (row.key_bits, row.id) {
                (Some(bits), _) => usize::from(bits) / 8,
                (None, EncryptionId::CHACHA20_POLY1305 | EncryptionId::CHACHA20_POLY1305_IIV) => 32,
                (None, EncryptionId::TRIPLE_DES) => 24,
                (None, EncryptionId::DES) => 8,
                (None, EncryptionId::NULL) => 0,
                (None, id) => panic!("{id} has keys of several lengths"),
            };
            assert_eq!(octets, expected, "{row}");
        }
    }

    #[test]
    fn rows_and_implementations_have_the_same_names() {
        for row in ENCRYPTION {
            let implementation = match &row.kind {
                EncryptionKind::Aead(aead) => aead.name(),
                EncryptionKind::Cipher(cipher) => cipher.name(),
            };
            let name = row.id.name().expect("a registered number");
            let expected = match row.key_bits {
                Some(bits) => format!("{name}-{bits}"),
                None => name.to_owned(),
            };
            assert_eq!(implementation, expected, "{row}");
        }
        for row in INTEGRITY {
            assert_eq!(Some(row.mac.name()), row.id.name(), "{row}");
        }
        for row in PSEUDO_RANDOM {
            assert_eq!(Some(row.prf.name()), row.id.name(), "{row}");
        }
    }

    /// RFC 7296 §3.3.2, RFC 4543 §5.1, RFC 8750 §7.
    #[test]
    fn what_encrypts_nothing_or_has_no_iv_is_for_esp_only() {
        let esp_only = ENCRYPTION.iter().filter(|row| !row.serves_ike()).map(|row| row.keywords[0]);
        let expected = [
            "aes128gcm16iiv",
            "aes192gcm16iiv",
            "aes256gcm16iiv",
            "chacha20poly1305iiv",
            "aes128ccm8iiv",
            "aes192ccm8iiv",
            "aes256ccm8iiv",
            "aes128gmac",
            "aes192gmac",
            "aes256gmac",
            "null",
        ];
        assert_eq!(esp_only.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_integrity_row_implies_a_known_prf_unless_it_is_for_ah() {
        for row in INTEGRITY {
            assert_eq!(row.implied_prf.and_then(pseudo_random).is_none(), row.is_for_ah_alone(), "{row}");
        }
    }
}
