//! What proposals and the transforms of phase 2 say (RFC 2407 §4.4 and §4.5).

use super::registry;

registry! {
    /// The protocol that a proposal, notification or delete speaks of (RFC 2407 §4.4.1).
    ProtocolId(u8) {
        ISAKMP = 1, "ISAKMP", "RFC 2407 §4.4.1.1";
        AH = 2, "AH", "RFC 2407 §4.4.1.2";
        ESP = 3, "ESP", "RFC 2407 §4.4.1.3";
        IPCOMP = 4, "IPComp", "RFC 2407 §4.4.1.4";
    }
}

registry! {
    /// A cipher of ESP, by the transform's own number (RFC 2407 §4.4.4).
    EspTransformId(u8) {
        DES_IV64 = 1, "ESP_DES_IV64", "RFC 2407 §4.4.4.1";
        DES = 2, "ESP_DES", "RFC 2407 §4.4.4.2";
        TRIPLE_DES = 3, "ESP_3DES", "RFC 2407 §4.4.4.3";
        RC5 = 4, "ESP_RC5", "RFC 2407 §4.4.4.4";
        IDEA = 5, "ESP_IDEA", "RFC 2407 §4.4.4.5";
        CAST = 6, "ESP_CAST", "RFC 2407 §4.4.4.6";
        BLOWFISH = 7, "ESP_BLOWFISH", "RFC 2407 §4.4.4.7";
        TRIPLE_IDEA = 8, "ESP_3IDEA", "RFC 2407 §4.4.4.8";
        DES_IV32 = 9, "ESP_DES_IV32", "RFC 2407 §4.4.4.9";
        RC4 = 10, "ESP_RC4", "RFC 2407 §4.4.4.10";
        NULL = 11, "ESP_NULL", "RFC 2407 §4.4.4.11";
        AES_CBC = 12, "ESP_AES-CBC", "RFC 3602 §5";
        AES_CTR = 13, "ESP_AES-CTR", "RFC 3686 §8";
        AES_CCM_8 = 14, "ESP_AES-CCM_8", "RFC 4309 §7";
        AES_CCM_12 = 15, "ESP_AES-CCM_12", "RFC 4309 §7";
        AES_CCM_16 = 16, "ESP_AES-CCM_16", "RFC 4309 §7";
        AES_GCM_8 = 18, "ESP_AES-GCM_8", "RFC 4106 §8";
        AES_GCM_12 = 19, "ESP_AES-GCM_12", "RFC 4106 §8";
        AES_GCM_16 = 20, "ESP_AES-GCM_16", "RFC 4106 §8";
        SEED_CBC = 21, "ESP_SEED_CBC", "RFC 4196 §5";
        CAMELLIA = 22, "ESP_CAMELLIA", "RFC 4312 §3";
        NULL_AUTH_AES_GMAC = 23, "ESP_NULL_AUTH_AES-GMAC", "RFC 4543 §7";
    }
}

registry! {
    /// A MAC of AH, by the transform's own number (RFC 2407 §4.4.3).
    AhTransformId(u8) {
        MD5 = 2, "AH_MD5", "RFC 2407 §4.4.3.1";
        SHA1 = 3, "AH_SHA", "RFC 2407 §4.4.3.2";
        DES = 4, "AH_DES", "RFC 2407 §4.4.3.3";
        SHA2_256 = 5, "AH_SHA2-256", "RFC 4868 §4";
        SHA2_384 = 6, "AH_SHA2-384", "RFC 4868 §4";
        SHA2_512 = 7, "AH_SHA2-512", "RFC 4868 §4";
        RIPEMD = 8, "AH_RIPEMD", "RFC 2857 §3";
        AES_XCBC_MAC = 9, "AH_AES-XCBC-MAC", "RFC 3566 §5";
        RSA = 10, "AH_RSA", "RFC 4359 §5";
        AES_128_GMAC = 11, "AH_AES-128-GMAC", "RFC 4543 §7";
        AES_192_GMAC = 12, "AH_AES-192-GMAC", "RFC 4543 §7";
        AES_256_GMAC = 13, "AH_AES-256-GMAC", "RFC 4543 §7";
    }
}

registry! {
    /// A compression, by the transform's own number (RFC 2407 §4.4.5).
    IpcompTransformId(u8) {
        OUI = 1, "IPCOMP_OUI", "RFC 2407 §4.4.5.1";
        DEFLATE = 2, "IPCOMP_DEFLATE", "RFC 2407 §4.4.5.2";
        LZS = 3, "IPCOMP_LZS", "RFC 2407 §4.4.5.3";
        LZJH = 4, "IPCOMP_LZJH", "RFC 3051 §4";
    }
}

registry! {
    /// What an attribute of a phase 2 transform is about (RFC 2407 §4.5); 15 bits.
    SaAttributeType(u16) {
        LIFE_TYPE = 1, "SA Life Type", "RFC 2407 §4.5";
        LIFE_DURATION = 2, "SA Life Duration", "RFC 2407 §4.5";
        GROUP_DESCRIPTION = 3, "Group Description", "RFC 2407 §4.5";
        ENCAPSULATION_MODE = 4, "Encapsulation Mode", "RFC 2407 §4.5";
        AUTHENTICATION_ALGORITHM = 5, "Authentication Algorithm", "RFC 2407 §4.5";
        KEY_LENGTH = 6, "Key Length", "RFC 2407 §4.5";
        KEY_ROUNDS = 7, "Key Rounds", "RFC 2407 §4.5";
        COMPRESS_DICTIONARY_SIZE = 8, "Compress Dictionary Size", "RFC 2407 §4.5";
        COMPRESS_PRIVATE_ALGORITHM = 9, "Compress Private Algorithm", "RFC 2407 §4.5";
        ECN_TUNNEL = 10, "ECN Tunnel", "RFC 3168 §9.2.1.2";
        EXTENDED_SEQUENCE_NUMBER = 11, "Extended (64-bit) Sequence Number", "RFC 4304";
        AUTHENTICATION_KEY_LENGTH = 12, "Authentication Key Length", "RFC 4359 §5";
        SIGNATURE_ENCODING = 13, "Signature Encoding Algorithm", "RFC 4359 §5";
        ADDRESS_PRESERVATION = 14, "Address Preservation", "RFC 6407 §5.3.2";
        SA_DIRECTION = 15, "SA Direction", "RFC 6407 §5.3.2";
    }
}

registry! {
    /// How an SA wraps packets, and whether UDP carries them (RFC 2407 §4.5, RFC 3947 §5.1).
    EncapsulationMode(u16) {
        TUNNEL = 1, "Tunnel", "RFC 2407 §4.5";
        TRANSPORT = 2, "Transport", "RFC 2407 §4.5";
        UDP_TUNNEL = 3, "UDP-Encapsulated-Tunnel", "RFC 3947 §5.1";
        UDP_TRANSPORT = 4, "UDP-Encapsulated-Transport", "RFC 3947 §5.1";
        UDP_TUNNEL_DRAFT = 61443, "UDP-Encapsulated-Tunnel (draft)", "draft-ietf-ipsec-nat-t-ike-02 §5.1";
        UDP_TRANSPORT_DRAFT = 61444, "UDP-Encapsulated-Transport (draft)", "draft-ietf-ipsec-nat-t-ike-02 §5.1";
    }
}

registry! {
    /// A MAC beside ESP's cipher or of AH (RFC 2407 §4.5).
    AuthenticationAlgorithm(u16) {
        HMAC_MD5 = 1, "HMAC-MD5", "RFC 2403";
        HMAC_SHA1 = 2, "HMAC-SHA", "RFC 2404";
        DES_MAC = 3, "DES-MAC", "RFC 2407 §4.5";
        KPDK = 4, "KPDK", "RFC 2407 §4.5";
        HMAC_SHA2_256 = 5, "HMAC-SHA2-256", "RFC 4868 §4";
        HMAC_SHA2_384 = 6, "HMAC-SHA2-384", "RFC 4868 §4";
        HMAC_SHA2_512 = 7, "HMAC-SHA2-512", "RFC 4868 §4";
        HMAC_RIPEMD = 8, "HMAC-RIPEMD", "RFC 2857 §3";
        AES_XCBC_MAC = 9, "AES-XCBC-MAC", "RFC 3566 §5";
        SIGNATURE_RSA = 10, "SIG-RSA", "RFC 4359 §5";
        AES_128_GMAC = 11, "AES-128-GMAC", "RFC 4543 §7";
        AES_192_GMAC = 12, "AES-192-GMAC", "RFC 4543 §7";
        AES_256_GMAC = 13, "AES-256-GMAC", "RFC 4543 §7";
    }
}

registry! {
    /// What a lifetime counts: the same numbers in phase 1 and phase 2 (RFC 2409 appendix A, RFC 2407 §4.5).
    LifeType(u16) {
        SECONDS = 1, "seconds", "RFC 2407 §4.5";
        KILOBYTES = 2, "kilobytes", "RFC 2407 §4.5";
    }
}
