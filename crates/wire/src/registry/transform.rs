//! The algorithms that a proposal offers (RFC 7296 §3.3.2).

use super::registry;

registry! {
    /// What a transform is for (RFC 7296 §3.3.2).
    TransformType(u8) {
        ENCRYPTION = 1, "Encryption", "RFC 7296 §3.3.2";
        PRF = 2, "PRF", "RFC 7296 §3.3.2";
        INTEGRITY = 3, "Integrity", "RFC 7296 §3.3.2";
        KEY_EXCHANGE = 4, "Key Exchange", "RFC 7296 §3.3.2 and RFC 9370 §4";
        ESN = 5, "Sequence Numbers", "RFC 7296 §3.3.2";
        ADDITIONAL_KEY_EXCHANGE_1 = 6, "Additional Key Exchange 1", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_2 = 7, "Additional Key Exchange 2", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_3 = 8, "Additional Key Exchange 3", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_4 = 9, "Additional Key Exchange 4", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_5 = 10, "Additional Key Exchange 5", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_6 = 11, "Additional Key Exchange 6", "RFC 9370 §2.2.1";
        ADDITIONAL_KEY_EXCHANGE_7 = 12, "Additional Key Exchange 7", "RFC 9370 §2.2.1";
    }
}

impl TransformType {
    /// Whether the transform is one of RFC 9370's additional key exchanges.
    pub const fn is_additional_key_exchange(self) -> bool {
        matches!(self.0, 6..=12)
    }
}

registry! {
    /// The type of an attribute inside a transform (RFC 7296 §3.3.5); 15 bits.
    TransformAttributeType(u16) {
        KEY_LENGTH = 14, "Key Length", "RFC 7296 §3.3.5";
    }
}

registry! {
    /// A cipher, combined or not (RFC 7296 §3.3.2, transform type 1).
    EncryptionId(u16) {
        DES_IV64 = 1, "ENCR_DES_IV64", "RFC 1827";
        DES = 2, "ENCR_DES", "RFC 2405";
        TRIPLE_DES = 3, "ENCR_3DES", "RFC 2451";
        RC5 = 4, "ENCR_RC5", "RFC 2451";
        IDEA = 5, "ENCR_IDEA", "RFC 2451";
        CAST = 6, "ENCR_CAST", "RFC 2451";
        BLOWFISH = 7, "ENCR_BLOWFISH", "RFC 2451";
        TRIPLE_IDEA = 8, "ENCR_3IDEA", "RFC 2451";
        DES_IV32 = 9, "ENCR_DES_IV32", "RFC 7296 §3.3.2";
        NULL = 11, "ENCR_NULL", "RFC 2410";
        AES_CBC = 12, "ENCR_AES_CBC", "RFC 3602";
        AES_CTR = 13, "ENCR_AES_CTR", "RFC 3686 and RFC 5930";
        AES_CCM_8 = 14, "ENCR_AES_CCM_8", "RFC 4309 and RFC 5282";
        AES_CCM_12 = 15, "ENCR_AES_CCM_12", "RFC 4309 and RFC 5282";
        AES_CCM_16 = 16, "ENCR_AES_CCM_16", "RFC 4309 and RFC 5282";
        AES_GCM_8 = 18, "ENCR_AES_GCM_8", "RFC 4106 and RFC 5282";
        AES_GCM_12 = 19, "ENCR_AES_GCM_12", "RFC 4106 and RFC 5282";
        AES_GCM_16 = 20, "ENCR_AES_GCM_16", "RFC 4106 and RFC 5282";
        NULL_AUTH_AES_GMAC = 21, "ENCR_NULL_AUTH_AES_GMAC", "RFC 4543";
        CAMELLIA_CBC = 23, "ENCR_CAMELLIA_CBC", "RFC 5529";
        CAMELLIA_CTR = 24, "ENCR_CAMELLIA_CTR", "RFC 5529";
        CAMELLIA_CCM_8 = 25, "ENCR_CAMELLIA_CCM_8", "RFC 5529";
        CAMELLIA_CCM_12 = 26, "ENCR_CAMELLIA_CCM_12", "RFC 5529";
        CAMELLIA_CCM_16 = 27, "ENCR_CAMELLIA_CCM_16", "RFC 5529";
        CHACHA20_POLY1305 = 28, "ENCR_CHACHA20_POLY1305", "RFC 7634";
        AES_CCM_8_IIV = 29, "ENCR_AES_CCM_8_IIV", "RFC 8750";
        AES_GCM_16_IIV = 30, "ENCR_AES_GCM_16_IIV", "RFC 8750";
        CHACHA20_POLY1305_IIV = 31, "ENCR_CHACHA20_POLY1305_IIV", "RFC 8750";
        KUZNYECHIK_MGM_KTREE = 32, "ENCR_KUZNYECHIK_MGM_KTREE", "RFC 9227";
        MAGMA_MGM_KTREE = 33, "ENCR_MAGMA_MGM_KTREE", "RFC 9227";
        KUZNYECHIK_MGM_MAC_KTREE = 34, "ENCR_KUZNYECHIK_MGM_MAC_KTREE", "RFC 9227";
        MAGMA_MGM_MAC_KTREE = 35, "ENCR_MAGMA_MGM_MAC_KTREE", "RFC 9227";
    }
}

registry! {
    /// A pseudorandom function (RFC 7296 §3.3.2, transform type 2).
    PrfId(u16) {
        HMAC_MD5 = 1, "PRF_HMAC_MD5", "RFC 2104";
        HMAC_SHA1 = 2, "PRF_HMAC_SHA1", "RFC 2104";
        HMAC_TIGER = 3, "PRF_HMAC_TIGER", "RFC 2104";
        AES128_XCBC = 4, "PRF_AES128_XCBC", "RFC 4434";
        HMAC_SHA2_256 = 5, "PRF_HMAC_SHA2_256", "RFC 4868";
        HMAC_SHA2_384 = 6, "PRF_HMAC_SHA2_384", "RFC 4868";
        HMAC_SHA2_512 = 7, "PRF_HMAC_SHA2_512", "RFC 4868";
        AES128_CMAC = 8, "PRF_AES128_CMAC", "RFC 4615";
        HMAC_STREEBOG_512 = 9, "PRF_HMAC_STREEBOG_512", "RFC 9385";
    }
}

registry! {
    /// An integrity algorithm (RFC 7296 §3.3.2, transform type 3).
    IntegrityId(u16) {
        NONE = 0, "NONE", "RFC 7296 §3.3.2";
        HMAC_MD5_96 = 1, "AUTH_HMAC_MD5_96", "RFC 2403";
        HMAC_SHA1_96 = 2, "AUTH_HMAC_SHA1_96", "RFC 2404";
        DES_MAC = 3, "AUTH_DES_MAC", "RFC 7296 §3.3.2";
        KPDK_MD5 = 4, "AUTH_KPDK_MD5", "RFC 7296 §3.3.2";
        AES_XCBC_96 = 5, "AUTH_AES_XCBC_96", "RFC 3566";
        HMAC_MD5_128 = 6, "AUTH_HMAC_MD5_128", "RFC 4595";
        HMAC_SHA1_160 = 7, "AUTH_HMAC_SHA1_160", "RFC 4595";
        AES_CMAC_96 = 8, "AUTH_AES_CMAC_96", "RFC 4494";
        AES_128_GMAC = 9, "AUTH_AES_128_GMAC", "RFC 4543";
        AES_192_GMAC = 10, "AUTH_AES_192_GMAC", "RFC 4543";
        AES_256_GMAC = 11, "AUTH_AES_256_GMAC", "RFC 4543";
        HMAC_SHA2_256_128 = 12, "AUTH_HMAC_SHA2_256_128", "RFC 4868";
        HMAC_SHA2_384_192 = 13, "AUTH_HMAC_SHA2_384_192", "RFC 4868";
        HMAC_SHA2_512_256 = 14, "AUTH_HMAC_SHA2_512_256", "RFC 4868";
        // Among those for private use; strongSwan's number.
        HMAC_SHA2_256_96 = 1027, "AUTH_HMAC_SHA2_256_96", "draft-ietf-ipsec-ciph-sha-256-00";
    }
}

registry! {
    /// A key exchange method (RFC 7296 §3.3.2, transform types 4 and, with RFC 9370, 6 to 12).
    KeyExchangeId(u16) {
        NONE = 0, "NONE", "RFC 7296 §3.3.2";
        MODP_768 = 1, "768-bit MODP Group", "RFC 7296 appendix B.1";
        MODP_1024 = 2, "1024-bit MODP Group", "RFC 7296 appendix B.2";
        MODP_1536 = 5, "1536-bit MODP Group", "RFC 3526 §2";
        MODP_2048 = 14, "2048-bit MODP Group", "RFC 3526 §3";
        MODP_3072 = 15, "3072-bit MODP Group", "RFC 3526 §4";
        MODP_4096 = 16, "4096-bit MODP Group", "RFC 3526 §5";
        MODP_6144 = 17, "6144-bit MODP Group", "RFC 3526 §6";
        MODP_8192 = 18, "8192-bit MODP Group", "RFC 3526 §7";
        ECP_256 = 19, "256-bit random ECP group", "RFC 5903 §3.1";
        ECP_384 = 20, "384-bit random ECP group", "RFC 5903 §3.2";
        ECP_521 = 21, "521-bit random ECP group", "RFC 5903 §3.3";
        MODP_1024_160 = 22, "1024-bit MODP Group with 160-bit Prime Order Subgroup", "RFC 5114 §2.1";
        MODP_2048_224 = 23, "2048-bit MODP Group with 224-bit Prime Order Subgroup", "RFC 5114 §2.2";
        MODP_2048_256 = 24, "2048-bit MODP Group with 256-bit Prime Order Subgroup", "RFC 5114 §2.3";
        ECP_192 = 25, "192-bit Random ECP Group", "RFC 5114 §2.4";
        ECP_224 = 26, "224-bit Random ECP Group", "RFC 5114 §2.5";
        BRAINPOOL_P224R1 = 27, "brainpoolP224r1", "RFC 6954 §2.1";
        BRAINPOOL_P256R1 = 28, "brainpoolP256r1", "RFC 6954 §2.1";
        BRAINPOOL_P384R1 = 29, "brainpoolP384r1", "RFC 6954 §2.1";
        BRAINPOOL_P512R1 = 30, "brainpoolP512r1", "RFC 6954 §2.1";
        CURVE25519 = 31, "Curve25519", "RFC 8031";
        CURVE448 = 32, "Curve448", "RFC 8031";
        GOST3410_2012_256 = 33, "GOST3410_2012_256", "RFC 9385";
        GOST3410_2012_512 = 34, "GOST3410_2012_512", "RFC 9385";
        ML_KEM_512 = 35, "ml-kem-512", "draft-ietf-ipsecme-ikev2-mlkem";
        ML_KEM_768 = 36, "ml-kem-768", "draft-ietf-ipsecme-ikev2-mlkem";
        ML_KEM_1024 = 37, "ml-kem-1024", "draft-ietf-ipsecme-ikev2-mlkem";
    }
}

registry! {
    /// How long the sequence numbers of a Child SA are (RFC 7296 §3.3.2, transform type 5).
    EsnId(u16) {
        SEQUENCE_NUMBERS_32 = 0, "32-bit Sequential Numbers", "RFC 9827";
        EXTENDED = 1, "Partially Transmitted 64-bit Sequential Numbers", "RFC 9827";
    }
}
