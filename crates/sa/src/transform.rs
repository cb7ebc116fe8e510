//! The one transform table: for every algorithm its IANA number, key length, configuration keywords, the name that
//! management tools print, and the implementation (RFC 7296 §3.3.2, RFC 8247, RFC 8221).
//!
//! Nothing else in Keyway translates between these. A row is found by number when a peer offers it, by keyword when a
//! configuration names it.

use std::fmt;

use crypto::{Aead, Cipher, KeyExchange, Mac, Prf};
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
    /// The PRF that an IKE proposal without one of its own takes.
    pub implied_prf: PrfId,
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
}

/// Finds an encryption algorithm as a peer offers it.
pub fn encryption(id: EncryptionId, key_bits: Option<u16>) -> Option<&'static Encryption> {
    ENCRYPTION.iter().find(|row| row.id == id && row.key_bits == key_bits)
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

macro_rules! encryption {
    ($id:ident, $bits:expr, $kind:ident($implementation:path), $name:literal, $($keyword:literal),+) => {
        Encryption {
            id: EncryptionId::$id,
            key_bits: $bits,
            keywords: &[$($keyword),+],
            name: $name,
            kind: EncryptionKind::$kind($implementation),
        }
    };
}

/// Encryption algorithms, best first within a kind.
#[rustfmt::skip]
pub static ENCRYPTION: &[Encryption] = &[
    encryption!(AES_GCM_16, Some(128), Aead(crypto::aead::AES_128_GCM_16), "AES_GCM_16", "aes128gcm16", "aes128gcm128", "aes128gcm", "aesgcm16"),
    encryption!(AES_GCM_16, Some(192), Aead(crypto::aead::AES_192_GCM_16), "AES_GCM_16", "aes192gcm16", "aes192gcm128", "aes192gcm"),
    encryption!(AES_GCM_16, Some(256), Aead(crypto::aead::AES_256_GCM_16), "AES_GCM_16", "aes256gcm16", "aes256gcm128", "aes256gcm"),
    encryption!(AES_GCM_12, Some(128), Aead(crypto::aead::AES_128_GCM_12), "AES_GCM_12", "aes128gcm12", "aes128gcm96"),
    encryption!(AES_GCM_12, Some(192), Aead(crypto::aead::AES_192_GCM_12), "AES_GCM_12", "aes192gcm12", "aes192gcm96"),
    encryption!(AES_GCM_12, Some(256), Aead(crypto::aead::AES_256_GCM_12), "AES_GCM_12", "aes256gcm12", "aes256gcm96"),
    encryption!(AES_GCM_8, Some(128), Aead(crypto::aead::AES_128_GCM_8), "AES_GCM_8", "aes128gcm8", "aes128gcm64"),
    encryption!(AES_GCM_8, Some(192), Aead(crypto::aead::AES_192_GCM_8), "AES_GCM_8", "aes192gcm8", "aes192gcm64"),
    encryption!(AES_GCM_8, Some(256), Aead(crypto::aead::AES_256_GCM_8), "AES_GCM_8", "aes256gcm8", "aes256gcm64"),
    encryption!(CHACHA20_POLY1305, None, Aead(crypto::aead::CHACHA20_POLY1305), "CHACHA20_POLY1305", "chacha20poly1305", "chacha20poly1305compat"),
    encryption!(AES_CBC, Some(128), Cipher(crypto::cipher::AES_128_CBC), "AES_CBC", "aes128", "aes"),
    encryption!(AES_CBC, Some(192), Cipher(crypto::cipher::AES_192_CBC), "AES_CBC", "aes192"),
    encryption!(AES_CBC, Some(256), Cipher(crypto::cipher::AES_256_CBC), "AES_CBC", "aes256"),
];

macro_rules! row {
    ($row:ident { $id_type:ident, $field:ident } $id:ident, $implementation:path, $name:literal, $($keyword:literal),+) => {
        $row { id: $id_type::$id, keywords: &[$($keyword),+], name: $name, $field: $implementation }
    };
}

/// Integrity algorithms.
#[rustfmt::skip]
pub static INTEGRITY: &[Integrity] = &[
    Integrity { id: IntegrityId::HMAC_SHA2_256_128, keywords: &["sha256", "sha2_256"], name: "HMAC_SHA2_256_128", mac: crypto::mac::HMAC_SHA2_256_128, implied_prf: PrfId::HMAC_SHA2_256 },
    Integrity { id: IntegrityId::HMAC_SHA2_384_192, keywords: &["sha384", "sha2_384"], name: "HMAC_SHA2_384_192", mac: crypto::mac::HMAC_SHA2_384_192, implied_prf: PrfId::HMAC_SHA2_384 },
    Integrity { id: IntegrityId::HMAC_SHA2_512_256, keywords: &["sha512", "sha2_512"], name: "HMAC_SHA2_512_256", mac: crypto::mac::HMAC_SHA2_512_256, implied_prf: PrfId::HMAC_SHA2_512 },
];

/// Pseudo-random functions.
#[rustfmt::skip]
pub static PSEUDO_RANDOM: &[PseudoRandom] = &[
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_256, crypto::prf::HMAC_SHA2_256, "PRF_HMAC_SHA2_256", "prfsha256"),
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_384, crypto::prf::HMAC_SHA2_384, "PRF_HMAC_SHA2_384", "prfsha384"),
    row!(PseudoRandom { PrfId, prf } HMAC_SHA2_512, crypto::prf::HMAC_SHA2_512, "PRF_HMAC_SHA2_512", "prfsha512"),
];

/// Key exchange methods, best first.
#[rustfmt::skip]
pub static GROUPS: &[Group] = &[
    row!(Group { KeyExchangeId, key_exchange } CURVE25519, crypto::key_exchange::CURVE25519, "CURVE_25519", "x25519", "curve25519"),
    row!(Group { KeyExchangeId, key_exchange } ECP_256, crypto::key_exchange::ECP_256, "ECP_256", "ecp256"),
    row!(Group { KeyExchangeId, key_exchange } ECP_384, crypto::key_exchange::ECP_384, "ECP_384", "ecp384"),
    row!(Group { KeyExchangeId, key_exchange } ECP_521, crypto::key_exchange::ECP_521, "ECP_521", "ecp521"),
    row!(Group { KeyExchangeId, key_exchange } MODP_3072, crypto::key_exchange::MODP_3072, "MODP_3072", "modp3072"),
    row!(Group { KeyExchangeId, key_exchange } MODP_4096, crypto::key_exchange::MODP_4096, "MODP_4096", "modp4096"),
    row!(Group { KeyExchangeId, key_exchange } MODP_2048, crypto::key_exchange::MODP_2048, "MODP_2048", "modp2048"),
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

    #[test]
    fn no_keyword_names_two_rows() {
        let keywords = ENCRYPTION
            .iter()
            .flat_map(|row| row.keywords)
            .chain(INTEGRITY.iter().flat_map(|row| row.keywords))
            .chain(PSEUDO_RANDOM.iter().flat_map(|row| row.keywords))
            .chain(GROUPS.iter().flat_map(|row| row.keywords));
        let mut seen = BTreeSet::new();
        for keyword in keywords {
            assert!(seen.insert(keyword), "{keyword} stands twice");
        }
    }

    #[test]
    fn key_lengths_of_the_table_are_those_of_the_implementations() {
        for row in ENCRYPTION {
            let octets = match &row.kind {
                EncryptionKind::Aead(aead) => aead.key_len(),
                EncryptionKind::Cipher(cipher) => cipher.key_len(),
            };
            assert_eq!(row.key_bits.map_or(32, |bits| usize::from(bits) / 8), octets, "{row}");
        }
    }

    #[test]
    fn every_integrity_row_implies_a_known_prf() {
        for row in INTEGRITY {
            assert!(pseudo_random(row.implied_prf).is_some(), "{row}");
        }
    }
}
