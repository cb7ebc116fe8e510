//! The columns of the [transform table](crate::transform) that only IKEv1 has: its own numbers for the same algorithms
//! (RFC 2409 appendix A, RFC 2407 §4.4 and §4.5).
//!
//! IKEv1 names a hash where IKEv2 names a pseudo-random function: the HMAC over that hash. A row of the integrity table
//! stands for both, since a proposal names the hash by the same keyword.

use crypto::Hash;
use wire::registry::v1::{
    AhTransformId, AuthenticationAlgorithm, EncryptionAlgorithm, EspTransformId, HashAlgorithm,
};
use wire::registry::{EncryptionId, IntegrityId, PrfId};

use crate::transform::{self, ENCRYPTION, Encryption, EncryptionKind, INTEGRITY, Integrity};

const PHASE_1_CIPHERS: &[(EncryptionId, EncryptionAlgorithm)] = &[
    (EncryptionId::DES, EncryptionAlgorithm::DES_CBC),
    (EncryptionId::BLOWFISH, EncryptionAlgorithm::BLOWFISH_CBC),
    (EncryptionId::TRIPLE_DES, EncryptionAlgorithm::TRIPLE_DES_CBC),
    (EncryptionId::CAST, EncryptionAlgorithm::CAST_CBC),
    (EncryptionId::AES_CBC, EncryptionAlgorithm::AES_CBC),
    (EncryptionId::CAMELLIA_CBC, EncryptionAlgorithm::CAMELLIA_CBC),
];

const ESP_CIPHERS: &[(EncryptionId, EspTransformId)] = &[
    (EncryptionId::DES, EspTransformId::DES),
    (EncryptionId::TRIPLE_DES, EspTransformId::TRIPLE_DES),
    (EncryptionId::CAST, EspTransformId::CAST),
    (EncryptionId::BLOWFISH, EspTransformId::BLOWFISH),
    (EncryptionId::NULL, EspTransformId::NULL),
    (EncryptionId::AES_CBC, EspTransformId::AES_CBC),
    (EncryptionId::AES_CTR, EspTransformId::AES_CTR),
    (EncryptionId::AES_CCM_8, EspTransformId::AES_CCM_8),
    (EncryptionId::AES_CCM_12, EspTransformId::AES_CCM_12),
    (EncryptionId::AES_CCM_16, EspTransformId::AES_CCM_16),
    (EncryptionId::AES_GCM_8, EspTransformId::AES_GCM_8),
    (EncryptionId::AES_GCM_12, EspTransformId::AES_GCM_12),
    (EncryptionId::AES_GCM_16, EspTransformId::AES_GCM_16),
    (EncryptionId::CAMELLIA_CBC, EspTransformId::CAMELLIA),
    (EncryptionId::NULL_AUTH_AES_GMAC, EspTransformId::NULL_AUTH_AES_GMAC),
];

const MACS: &[(IntegrityId, AuthenticationAlgorithm, AhTransformId)] = &[
    (IntegrityId::HMAC_MD5_96, AuthenticationAlgorithm::HMAC_MD5, AhTransformId::MD5),
    (IntegrityId::HMAC_SHA1_96, AuthenticationAlgorithm::HMAC_SHA1, AhTransformId::SHA1),
    (IntegrityId::HMAC_SHA2_256_128, AuthenticationAlgorithm::HMAC_SHA2_256, AhTransformId::SHA2_256),
    (IntegrityId::HMAC_SHA2_384_192, AuthenticationAlgorithm::HMAC_SHA2_384, AhTransformId::SHA2_384),
    (IntegrityId::HMAC_SHA2_512_256, AuthenticationAlgorithm::HMAC_SHA2_512, AhTransformId::SHA2_512),
    (IntegrityId::AES_XCBC_96, AuthenticationAlgorithm::AES_XCBC_MAC, AhTransformId::AES_XCBC_MAC),
    (IntegrityId::AES_128_GMAC, AuthenticationAlgorithm::AES_128_GMAC, AhTransformId::AES_128_GMAC),
    (IntegrityId::AES_192_GMAC, AuthenticationAlgorithm::AES_192_GMAC, AhTransformId::AES_192_GMAC),
    (IntegrityId::AES_256_GMAC, AuthenticationAlgorithm::AES_256_GMAC, AhTransformId::AES_256_GMAC),
];

const HASHES: &[(PrfId, HashAlgorithm)] = &[
    (PrfId::HMAC_MD5, HashAlgorithm::MD5),
    (PrfId::HMAC_SHA1, HashAlgorithm::SHA1),
    (PrfId::HMAC_SHA2_256, HashAlgorithm::SHA2_256),
    (PrfId::HMAC_SHA2_384, HashAlgorithm::SHA2_384),
    (PrfId::HMAC_SHA2_512, HashAlgorithm::SHA2_512),
];

/// Gives a cipher's number in phase 1; `None` of one that phase 1 does not know, as it knows no AEAD.
pub fn phase_1_cipher(row: &Encryption) -> Option<EncryptionAlgorithm> {
    PHASE_1_CIPHERS.iter().find(|(id, _)| *id == row.id).map(|(_, algorithm)| *algorithm)
}

/// Finds a cipher as a peer offers it in phase 1.
pub fn find_phase_1_cipher(
    algorithm: EncryptionAlgorithm,
    key_bits: Option<u16>,
) -> Option<&'static Encryption> {
    let (id, _) = PHASE_1_CIPHERS.iter().find(|(_, number)| *number == algorithm)?;
    transform::encryption(*id, key_bits).filter(|row| matches!(row.kind, EncryptionKind::Cipher(_)))
}

/// Gives the number of the hash that an integrity keyword stands for in phase 1.
pub fn phase_1_hash(row: &Integrity) -> Option<HashAlgorithm> {
    HASHES.iter().find(|(id, _)| Some(*id) == row.implied_prf).map(|(_, algorithm)| *algorithm)
}

/// Finds the row that stands for a hash as a peer offers it in phase 1.
pub fn find_phase_1_hash(algorithm: HashAlgorithm) -> Option<&'static Integrity> {
    INTEGRITY.iter().find(|row| phase_1_hash(row) == Some(algorithm))
}

/// Gives the hash function behind a hash of phase 1.
pub fn hash_function(algorithm: HashAlgorithm) -> Option<&'static dyn Hash> {
    match algorithm {
        HashAlgorithm::MD5 => Some(crypto::hash::MD5),
        HashAlgorithm::SHA1 => Some(crypto::hash::SHA1),
        HashAlgorithm::SHA2_256 => Some(crypto::hash::SHA2_256),
        HashAlgorithm::SHA2_384 => Some(crypto::hash::SHA2_384),
        HashAlgorithm::SHA2_512 => Some(crypto::hash::SHA2_512),
        _ => None,
    }
}

/// Gives a cipher's number as an ESP transform.
pub fn esp_cipher(row: &Encryption) -> Option<EspTransformId> {
    ESP_CIPHERS.iter().find(|(id, _)| *id == row.id).map(|(_, number)| *number)
}

/// Finds a cipher as a peer offers it for ESP.
pub fn find_esp_cipher(number: EspTransformId, key_bits: Option<u16>) -> Option<&'static Encryption> {
    let (id, _) = ESP_CIPHERS.iter().find(|(_, esp)| *esp == number)?;
    ENCRYPTION.iter().find(|row| row.id == *id && row.key_bits == key_bits)
}

/// Gives the number of a MAC beside ESP's cipher, and in AH.
pub fn mac(row: &Integrity) -> Option<(AuthenticationAlgorithm, AhTransformId)> {
    MACS.iter().find(|(id, ..)| *id == row.id).map(|(_, esp, ah)| (*esp, *ah))
}

/// Finds a MAC as a peer offers it.
pub fn find_mac(algorithm: AuthenticationAlgorithm) -> Option<&'static Integrity> {
    let (id, ..) = MACS.iter().find(|(_, number, _)| *number == algorithm)?;
    transform::integrity(*id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_is_called_finds_the_row() {
        for row in ENCRYPTION {
            if let Some(number) = esp_cipher(row) {
                assert_eq!(find_esp_cipher(number, row.key_bits), Some(row));
            }
            if let Some(number) = phase_1_cipher(row) {
                assert_eq!(find_phase_1_cipher(number, row.key_bits), Some(row));
            }
        }
        for row in INTEGRITY {
            if let Some((number, _)) = mac(row) {
                assert_eq!(find_mac(number), Some(row));
            }
            if let Some(number) = phase_1_hash(row) {
                let found = find_phase_1_hash(number).expect("this row at least");
                assert_eq!(found.implied_prf, row.implied_prf);
            }
        }
    }

    #[test]
    fn the_suites_of_today_have_numbers() {
        let keyword = |text| ENCRYPTION.iter().find(|row| row.keywords.contains(&text)).expect("a keyword");
        assert_eq!(phase_1_cipher(keyword("aes256")), Some(EncryptionAlgorithm::AES_CBC));
        assert_eq!(phase_1_cipher(keyword("aes256gcm16")), None);
        assert_eq!(esp_cipher(keyword("aes256gcm16")), Some(EspTransformId::AES_GCM_16));
        assert_eq!(esp_cipher(keyword("chacha20poly1305")), None);
        for (_, algorithm) in HASHES {
            assert!(find_phase_1_hash(*algorithm).is_some() && hash_function(*algorithm).is_some());
        }
    }
}
