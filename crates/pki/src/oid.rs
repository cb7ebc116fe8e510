//! The object identifiers that we know, by the documents that assign them.

use der::asn1::ObjectIdentifier as Oid;

const fn oid(text: &str) -> Oid {
    Oid::new_unwrap(text)
}

// Keys and signatures: RFC 8017, RFC 5480, RFC 5639, RFC 8410, RFC 5758, RFC 4055, RFC 9881.
pub(crate) const RSA: Oid = oid("1.2.840.113549.1.1.1");
pub(crate) const RSA_PSS: Oid = oid("1.2.840.113549.1.1.10");
pub(crate) const MGF1: Oid = oid("1.2.840.113549.1.1.8");
pub(crate) const SHA1_WITH_RSA: Oid = oid("1.2.840.113549.1.1.5");
pub(crate) const SHA256_WITH_RSA: Oid = oid("1.2.840.113549.1.1.11");
pub(crate) const SHA384_WITH_RSA: Oid = oid("1.2.840.113549.1.1.12");
pub(crate) const SHA512_WITH_RSA: Oid = oid("1.2.840.113549.1.1.13");
pub(crate) const EC_PUBLIC_KEY: Oid = oid("1.2.840.10045.2.1");
pub(crate) const ECDSA_WITH_SHA1: Oid = oid("1.2.840.10045.4.1");
pub(crate) const ECDSA_WITH_SHA256: Oid = oid("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_WITH_SHA384: Oid = oid("1.2.840.10045.4.3.3");
pub(crate) const ECDSA_WITH_SHA512: Oid = oid("1.2.840.10045.4.3.4");
pub(crate) const P256: Oid = oid("1.2.840.10045.3.1.7");
pub(crate) const P384: Oid = oid("1.3.132.0.34");
pub(crate) const P521: Oid = oid("1.3.132.0.35");
pub(crate) const BRAINPOOL_P256R1: Oid = oid("1.3.36.3.3.2.8.1.1.7");
pub(crate) const BRAINPOOL_P384R1: Oid = oid("1.3.36.3.3.2.8.1.1.11");
pub(crate) const BRAINPOOL_P512R1: Oid = oid("1.3.36.3.3.2.8.1.1.13");
pub(crate) const ED25519: Oid = oid("1.3.101.112");
pub(crate) const ED448: Oid = oid("1.3.101.113");
pub(crate) const ML_DSA_44: Oid = oid("2.16.840.1.101.3.4.3.17");
pub(crate) const ML_DSA_65: Oid = oid("2.16.840.1.101.3.4.3.18");
pub(crate) const ML_DSA_87: Oid = oid("2.16.840.1.101.3.4.3.19");
pub(crate) const SHA1: Oid = oid("1.3.14.3.2.26");
pub(crate) const SHA256: Oid = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA384: Oid = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA512: Oid = oid("2.16.840.1.101.3.4.2.3");

// Certificate and CRL extensions: RFC 5280 §4.2 and §5.2, RFC 3779, RFC 6960.
pub(crate) const SUBJECT_KEY_IDENTIFIER: Oid = oid("2.5.29.14");
pub(crate) const KEY_USAGE: Oid = oid("2.5.29.15");
pub(crate) const SUBJECT_ALT_NAME: Oid = oid("2.5.29.17");
pub(crate) const ISSUER_ALT_NAME: Oid = oid("2.5.29.18");
pub(crate) const BASIC_CONSTRAINTS: Oid = oid("2.5.29.19");
pub(crate) const CRL_NUMBER: Oid = oid("2.5.29.20");
pub(crate) const CRL_REASON: Oid = oid("2.5.29.21");
pub(crate) const DELTA_CRL_INDICATOR: Oid = oid("2.5.29.27");
pub(crate) const ISSUING_DISTRIBUTION_POINT: Oid = oid("2.5.29.28");
pub(crate) const CERTIFICATE_ISSUER: Oid = oid("2.5.29.29");
pub(crate) const NAME_CONSTRAINTS: Oid = oid("2.5.29.30");
pub(crate) const CRL_DISTRIBUTION_POINTS: Oid = oid("2.5.29.31");
pub(crate) const CERTIFICATE_POLICIES: Oid = oid("2.5.29.32");
pub(crate) const ANY_POLICY: Oid = oid("2.5.29.32.0");
pub(crate) const POLICY_MAPPINGS: Oid = oid("2.5.29.33");
pub(crate) const AUTHORITY_KEY_IDENTIFIER: Oid = oid("2.5.29.35");
pub(crate) const POLICY_CONSTRAINTS: Oid = oid("2.5.29.36");
pub(crate) const EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37");
pub(crate) const FRESHEST_CRL: Oid = oid("2.5.29.46");
pub(crate) const INHIBIT_ANY_POLICY: Oid = oid("2.5.29.54");
pub(crate) const AUTHORITY_INFO_ACCESS: Oid = oid("1.3.6.1.5.5.7.1.1");
pub(crate) const ADDRESS_BLOCKS: Oid = oid("1.3.6.1.5.5.7.1.7");
pub(crate) const SUBJECT_INFO_ACCESS: Oid = oid("1.3.6.1.5.5.7.1.11");
pub(crate) const OCSP_NO_CHECK: Oid = oid("1.3.6.1.5.5.7.48.1.5");

// Key purposes: RFC 5280 §4.2.1.12, RFC 4945 §5.1.3.12.
pub(crate) const ANY_PURPOSE: Oid = oid("2.5.29.37.0");
pub(crate) const SERVER_AUTH: Oid = oid("1.3.6.1.5.5.7.3.1");
pub(crate) const CLIENT_AUTH: Oid = oid("1.3.6.1.5.5.7.3.2");
pub(crate) const OCSP_SIGNING: Oid = oid("1.3.6.1.5.5.7.3.9");
pub(crate) const IPSEC_IKE: Oid = oid("1.3.6.1.5.5.7.3.17");

// Access methods: RFC 5280 §4.2.2.1.
pub(crate) const ACCESS_OCSP: Oid = oid("1.3.6.1.5.5.7.48.1");
pub(crate) const ACCESS_CA_ISSUERS: Oid = oid("1.3.6.1.5.5.7.48.2");
