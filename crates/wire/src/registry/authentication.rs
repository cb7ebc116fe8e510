//! Who an end says it is, and how it proves that.

use super::registry;

registry! {
    /// The form of an identity (RFC 7296 §3.5); the four forms that only IKEv1 uses are RFC 2407
    /// §4.6.2's.
    IdType(u8) {
        IPV4_ADDR = 1, "ID_IPV4_ADDR", "RFC 7296 §3.5";
        FQDN = 2, "ID_FQDN", "RFC 7296 §3.5";
        RFC822_ADDR = 3, "ID_RFC822_ADDR", "RFC 7296 §3.5";
        IPV4_ADDR_SUBNET = 4, "ID_IPV4_ADDR_SUBNET", "RFC 2407 §4.6.2.5";
        IPV6_ADDR = 5, "ID_IPV6_ADDR", "RFC 7296 §3.5";
        IPV6_ADDR_SUBNET = 6, "ID_IPV6_ADDR_SUBNET", "RFC 2407 §4.6.2.7";
        IPV4_ADDR_RANGE = 7, "ID_IPV4_ADDR_RANGE", "RFC 2407 §4.6.2.8";
        IPV6_ADDR_RANGE = 8, "ID_IPV6_ADDR_RANGE", "RFC 2407 §4.6.2.9";
        DER_ASN1_DN = 9, "ID_DER_ASN1_DN", "RFC 7296 §3.5";
        DER_ASN1_GN = 10, "ID_DER_ASN1_GN", "RFC 7296 §3.5";
        KEY_ID = 11, "ID_KEY_ID", "RFC 7296 §3.5";
        FC_NAME = 12, "ID_FC_NAME", "RFC 4595";
        NULL = 13, "ID_NULL", "RFC 7619 §2.2";
    }
}

registry! {
    /// How an Authentication payload proves an identity (RFC 7296 §3.8).
    AuthMethod(u8) {
        RSA_SIGNATURE = 1, "RSA Digital Signature", "RFC 7296 §3.8";
        SHARED_KEY = 2, "Shared Key Message Integrity Code", "RFC 7296 §3.8";
        DSS_SIGNATURE = 3, "DSS Digital Signature", "RFC 7296 §3.8";
        ECDSA_SHA256_P256 = 9, "ECDSA with SHA-256 on the P-256 curve", "RFC 4754 §7";
        ECDSA_SHA384_P384 = 10, "ECDSA with SHA-384 on the P-384 curve", "RFC 4754 §7";
        ECDSA_SHA512_P521 = 11, "ECDSA with SHA-512 on the P-521 curve", "RFC 4754 §7";
        GENERIC_SECURE_PASSWORD = 12, "Generic Secure Password Authentication Method", "RFC 6467 §6";
        NULL = 13, "NULL Authentication", "RFC 7619 §2.1";
        DIGITAL_SIGNATURE = 14, "Digital Signature", "RFC 7427 §3";
    }
}

registry! {
    /// The form of a certificate, or of something sent in its place (RFC 7296 §3.6).
    CertificateEncoding(u8) {
        PKCS7_WRAPPED_X509 = 1, "PKCS #7 wrapped X.509 certificate", "RFC 7296 §3.6";
        PGP = 2, "PGP Certificate", "RFC 7296 §3.6";
        DNS_SIGNED_KEY = 3, "DNS Signed Key", "RFC 7296 §3.6";
        X509_SIGNATURE = 4, "X.509 Certificate - Signature", "RFC 7296 §3.6";
        X509_KEY_EXCHANGE = 5, "X.509 Certificate - Key Exchange", "RFC 2408 §3.9";
        KERBEROS_TOKEN = 6, "Kerberos Token", "RFC 7296 §3.6";
        CRL = 7, "Certificate Revocation List", "RFC 7296 §3.6";
        ARL = 8, "Authority Revocation List", "RFC 7296 §3.6";
        SPKI = 9, "SPKI Certificate", "RFC 7296 §3.6";
        X509_ATTRIBUTE = 10, "X.509 Certificate - Attribute", "RFC 7296 §3.6";
        RAW_RSA_KEY = 11, "Raw RSA Key", "RFC 5996 §3.6";
        HASH_AND_URL_X509 = 12, "Hash and URL of X.509 certificate", "RFC 7296 §3.6";
        HASH_AND_URL_BUNDLE = 13, "Hash and URL of X.509 bundle", "RFC 7296 §3.6";
        OCSP = 14, "OCSP Content", "RFC 4806 §3";
        RAW_PUBLIC_KEY = 15, "Raw Public Key", "RFC 7670 §3";
    }
}

registry! {
    /// A hash that a digital signature may use (RFC 7427 §7).
    HashAlgorithm(u16) {
        SHA1 = 1, "SHA1", "RFC 7427 §7";
        SHA2_256 = 2, "SHA2-256", "RFC 7427 §7";
        SHA2_384 = 3, "SHA2-384", "RFC 7427 §7";
        SHA2_512 = 4, "SHA2-512", "RFC 7427 §7";
        IDENTITY = 5, "Identity", "RFC 8420 §2";
        STREEBOG_256 = 6, "STREEBOG_256", "RFC 9385";
        STREEBOG_512 = 7, "STREEBOG_512", "RFC 9385";
    }
}
