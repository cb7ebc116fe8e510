//! Limits on what strangers and files may ask of us.

/// The most octets of one certificate or request.
pub const MAX_CERTIFICATE_OCTETS: usize = 1 << 16;
/// The most certificates of one path, the end's and the trust anchor among them.
pub const MAX_PATH_CERTIFICATES: usize = 10;
/// The most intermediate certificates that are looked at for one path.
pub const MAX_INTERMEDIATES: usize = 64;
/// The most signatures that are checked to find one path.
pub const MAX_SIGNATURE_CHECKS: usize = 32;
/// The most comparisons of a name with a name constraint in one path.
pub const MAX_NAME_COMPARISONS: usize = 1 << 16;
/// The most policies, and connections between them, of one path (RFC 9618 tells why there is a limit).
pub const MAX_POLICIES: usize = 1 << 12;
/// The most address ranges of one certificate.
pub const MAX_ADDRESS_RANGES: usize = 1 << 12;
/// The shortest RSA modulus that is used at all, in bits.
pub const MIN_RSA_BITS: usize = 1024;
/// The shortest RSA modulus that counts as strong, in bits.
pub const STRONG_RSA_BITS: usize = 2048;
/// The longest RSA modulus that is used, in bits.
pub const MAX_RSA_BITS: usize = 8192;
/// The most octets of one file with keys or certificates.
pub const MAX_FILE_OCTETS: usize = 64 << 20;
/// The most rounds of hashing that a file may ask for to make a key of a password.
pub const MAX_PASSWORD_ROUNDS: u32 = 2_000_000;
/// The most octets of memory that a file may ask for to make a key of a password.
pub const MAX_PASSWORD_MEMORY_OCTETS: u64 = 256 << 20;
/// The most octets of one certificate revocation list.
pub const MAX_CRL_OCTETS: usize = 32 << 20;
/// The most certificates, beside the issuer's own, of which is found out whether they may sign an issuer's lists.
pub const MAX_CRL_SIGNERS: usize = 8;
/// The most octets of one OCSP response.
pub const MAX_OCSP_OCTETS: usize = 1 << 16;
/// The most certificates of one OCSP response that are looked at.
pub const MAX_OCSP_CERTIFICATES: usize = 8;
/// How long an OCSP response counts that does not say until when, in seconds.
pub const MAX_OCSP_AGE_SECS: u64 = 86_400;
/// How far others' clocks may be ahead of ours in what is made anew all the time, in seconds.
pub const CLOCK_SKEW_SECS: u64 = 300;
