//! What the transforms of phase 1 say (RFC 2409 appendix A).

use super::registry;

registry! {
    /// What an attribute of a phase 1 transform is about; 15 bits.
    Phase1AttributeType(u16) {
        ENCRYPTION_ALGORITHM = 1, "Encryption Algorithm", "RFC 2409 appendix A";
        HASH_ALGORITHM = 2, "Hash Algorithm", "RFC 2409 appendix A";
        AUTHENTICATION_METHOD = 3, "Authentication Method", "RFC 2409 appendix A";
        GROUP_DESCRIPTION = 4, "Group Description", "RFC 2409 appendix A";
        GROUP_TYPE = 5, "Group Type", "RFC 2409 appendix A";
        GROUP_PRIME = 6, "Group Prime/Irreducible Polynomial", "RFC 2409 appendix A";
        GROUP_GENERATOR_ONE = 7, "Group Generator One", "RFC 2409 appendix A";
        GROUP_GENERATOR_TWO = 8, "Group Generator Two", "RFC 2409 appendix A";
        GROUP_CURVE_A = 9, "Group Curve A", "RFC 2409 appendix A";
        GROUP_CURVE_B = 10, "Group Curve B", "RFC 2409 appendix A";
        LIFE_TYPE = 11, "Life Type", "RFC 2409 appendix A";
        LIFE_DURATION = 12, "Life Duration", "RFC 2409 appendix A";
        PRF = 13, "PRF", "RFC 2409 appendix A";
        KEY_LENGTH = 14, "Key Length", "RFC 2409 appendix A";
        FIELD_SIZE = 15, "Field Size", "RFC 2409 appendix A";
        GROUP_ORDER = 16, "Group Order", "RFC 2409 appendix A";
    }
}

registry! {
    /// A cipher of phase 1.
    EncryptionAlgorithm(u16) {
        DES_CBC = 1, "DES-CBC", "RFC 2405";
        IDEA_CBC = 2, "IDEA-CBC", "RFC 2409 appendix A";
        BLOWFISH_CBC = 3, "Blowfish-CBC", "RFC 2409 appendix A";
        RC5_R16_B64_CBC = 4, "RC5-R16-B64-CBC", "RFC 2409 appendix A";
        TRIPLE_DES_CBC = 5, "3DES-CBC", "RFC 2409 appendix A";
        CAST_CBC = 6, "CAST-CBC", "RFC 2409 appendix A";
        AES_CBC = 7, "AES-CBC", "RFC 3602 §5";
        CAMELLIA_CBC = 8, "CAMELLIA-CBC", "RFC 4312 §3";
    }
}

registry! {
    /// A hash of phase 1, and the HMAC over it that serves as the pseudo-random function.
    HashAlgorithm(u16) {
        MD5 = 1, "MD5", "RFC 1321";
        SHA1 = 2, "SHA", "FIPS 180-1";
        TIGER = 3, "Tiger", "RFC 2409 appendix A";
        SHA2_256 = 4, "SHA2-256", "RFC 4868";
        SHA2_384 = 5, "SHA2-384", "RFC 4868";
        SHA2_512 = 6, "SHA2-512", "RFC 4868";
    }
}

registry! {
    /// How the ends of phase 1 prove who they are.
    AuthenticationMethod(u16) {
        PRE_SHARED_KEY = 1, "pre-shared key", "RFC 2409 §5.4";
        DSS_SIGNATURES = 2, "DSS signatures", "RFC 2409 §5.1";
        RSA_SIGNATURES = 3, "RSA signatures", "RFC 2409 §5.1";
        RSA_ENCRYPTION = 4, "Encryption with RSA", "RFC 2409 §5.2";
        REVISED_RSA_ENCRYPTION = 5, "Revised encryption with RSA", "RFC 2409 §5.3";
        ECDSA_SHA256_P256 = 9, "ECDSA with SHA-256 on the P-256 curve", "RFC 4754 §7";
        ECDSA_SHA384_P384 = 10, "ECDSA with SHA-384 on the P-384 curve", "RFC 4754 §7";
        ECDSA_SHA512_P521 = 11, "ECDSA with SHA-512 on the P-521 curve", "RFC 4754 §7";
        HYBRID_INIT_RSA = 64221, "HybridInitRSA", "draft-ietf-ipsec-isakmp-hybrid-auth §3.2";
        HYBRID_RESP_RSA = 64222, "HybridRespRSA", "draft-ietf-ipsec-isakmp-hybrid-auth §3.2";
        HYBRID_INIT_DSS = 64223, "HybridInitDSS", "draft-ietf-ipsec-isakmp-hybrid-auth §3.2";
        HYBRID_RESP_DSS = 64224, "HybridRespDSS", "draft-ietf-ipsec-isakmp-hybrid-auth §3.2";
        XAUTH_INIT_PRE_SHARED = 65001, "XAUTHInitPreShared", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_RESP_PRE_SHARED = 65002, "XAUTHRespPreShared", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_INIT_DSS = 65003, "XAUTHInitDSS", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_RESP_DSS = 65004, "XAUTHRespDSS", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_INIT_RSA = 65005, "XAUTHInitRSA", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_RESP_RSA = 65006, "XAUTHRespRSA", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_INIT_RSA_ENCRYPTION = 65007, "XAUTHInitRSAEncryption", "draft-beaulieu-ike-xauth §7.2";
        XAUTH_RESP_RSA_ENCRYPTION = 65008, "XAUTHRespRSAEncryption", "draft-beaulieu-ike-xauth §7.2";
    }
}
