//! Signature schemes as AlgorithmIdentifiers, in certificates and in IKE's signature authentication (RFC 7427 §3).

use crypto::signature::{MlDsa, SignatureHash, SignatureScheme};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use thiserror::Error;
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

use crate::oid;

/// Says that an AlgorithmIdentifier names no signature scheme that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnknownScheme {
    /// The octets are no AlgorithmIdentifier.
    #[error("no algorithm identifier in DER")]
    Malformed,
    /// The algorithm, a hash of it or a parameter of it is not one of ours.
    #[error("the signature algorithm {0}, which we do not know, or not with these parameters")]
    Unknown(ObjectIdentifier),
}

/// Reads an AlgorithmIdentifier in DER.
///
/// # Errors
/// It is malformed, or names a scheme that we do not know.
pub fn scheme_from_der(octets: &[u8]) -> Result<SignatureScheme, UnknownScheme> {
    scheme_of(AlgorithmIdentifierRef::from_der(octets).map_err(|_| UnknownScheme::Malformed)?)
}

/// Gives the AlgorithmIdentifier of a scheme in DER; `None` for the schemes that have none.
pub fn scheme_to_der(scheme: SignatureScheme) -> Option<Vec<u8>> {
    identifier_of(scheme)?.to_der().ok()
}

pub(crate) fn scheme_of(identifier: AlgorithmIdentifierRef<'_>) -> Result<SignatureScheme, UnknownScheme> {
    let unknown = UnknownScheme::Unknown(identifier.oid);
    if identifier.oid == oid::RSA_PSS {
        return pss_of(identifier.parameters).ok_or(unknown);
    }
    let scheme =
        FIXED.iter().find(|(oid, _)| *oid == identifier.oid).map(|(_, scheme)| *scheme).ok_or(unknown)?;
    // RFC 8017 A.2.4: RSA's parameters are NULL, which some leave out. The others have none.
    let parameters_fit = match (identifier.parameters, scheme) {
        (None, _) => true,
        (Some(parameters), SignatureScheme::RsaPkcs1(_)) => parameters.is_null(),
        (Some(_), _) => false,
    };
    if parameters_fit { Ok(scheme) } else { Err(unknown) }
}

pub(crate) fn identifier_of(scheme: SignatureScheme) -> Option<AlgorithmIdentifierOwned> {
    if let SignatureScheme::RsaPss { hash, mask_hash, salt_len } = scheme {
        return pss_identifier(hash, mask_hash, salt_len).ok();
    }
    let oid = FIXED.iter().find(|(_, known)| *known == scheme).map(|(oid, _)| *oid)?;
    let parameters = matches!(scheme, SignatureScheme::RsaPkcs1(_)).then(der::Any::null);
    Some(AlgorithmIdentifierOwned { oid, parameters })
}

/// The schemes that an object identifier says all of.
const FIXED: &[(ObjectIdentifier, SignatureScheme)] = &[
    (oid::SHA1_WITH_RSA, SignatureScheme::RsaPkcs1(SignatureHash::Sha1)),
    (oid::SHA256_WITH_RSA, SignatureScheme::RsaPkcs1(SignatureHash::Sha2_256)),
    (oid::SHA384_WITH_RSA, SignatureScheme::RsaPkcs1(SignatureHash::Sha2_384)),
    (oid::SHA512_WITH_RSA, SignatureScheme::RsaPkcs1(SignatureHash::Sha2_512)),
    (oid::ECDSA_WITH_SHA1, SignatureScheme::Ecdsa(SignatureHash::Sha1)),
    (oid::ECDSA_WITH_SHA256, SignatureScheme::Ecdsa(SignatureHash::Sha2_256)),
    (oid::ECDSA_WITH_SHA384, SignatureScheme::Ecdsa(SignatureHash::Sha2_384)),
    (oid::ECDSA_WITH_SHA512, SignatureScheme::Ecdsa(SignatureHash::Sha2_512)),
    (oid::ED25519, SignatureScheme::Ed25519),
    (oid::ED448, SignatureScheme::Ed448),
    (oid::ML_DSA_44, SignatureScheme::MlDsa(MlDsa::Set44)),
    (oid::ML_DSA_65, SignatureScheme::MlDsa(MlDsa::Set65)),
    (oid::ML_DSA_87, SignatureScheme::MlDsa(MlDsa::Set87)),
];

const HASHES: &[(ObjectIdentifier, SignatureHash)] = &[
    (oid::SHA1, SignatureHash::Sha1),
    (oid::SHA256, SignatureHash::Sha2_256),
    (oid::SHA384, SignatureHash::Sha2_384),
    (oid::SHA512, SignatureHash::Sha2_512),
];

pub(crate) fn hash_of(identifier: AlgorithmIdentifierRef<'_>) -> Option<SignatureHash> {
    let parameters_fit = identifier.parameters.is_none_or(AnyRef::is_null);
    let hash = HASHES.iter().find(|(oid, _)| *oid == identifier.oid).map(|(_, hash)| *hash);
    hash.filter(|_| parameters_fit)
}

pub(crate) fn hash_identifier(hash: SignatureHash) -> AlgorithmIdentifierRef<'static> {
    let oid = match hash {
        SignatureHash::Sha1 => oid::SHA1,
        SignatureHash::Sha2_256 => oid::SHA256,
        SignatureHash::Sha2_384 => oid::SHA384,
        SignatureHash::Sha2_512 => oid::SHA512,
    };
    AlgorithmIdentifierRef { oid, parameters: Some(AnyRef::NULL) }
}

/// RFC 4055 §3.1. What is absent has its default: SHA-1, MGF1 with SHA-1, 20 octets of salt, trailer 1.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", optional = "true")]
    salt_len: Option<u32>,
    #[asn1(context_specific = "3", optional = "true")]
    trailer: Option<u32>,
}

fn pss_of(parameters: Option<AnyRef<'_>>) -> Option<SignatureScheme> {
    let parameters: PssParameters<'_> = parameters?.decode_as().ok()?;
    let hash = parameters.hash.map_or(Some(SignatureHash::Sha1), hash_of)?;
    let mask_hash = match parameters.mask {
        None => SignatureHash::Sha1,
        Some(mask) if mask.oid == oid::MGF1 => hash_of(mask.parameters?.decode_as().ok()?)?,
        Some(_) => return None,
    };
    let salt_len = usize::try_from(parameters.salt_len.unwrap_or(20)).ok()?;
    // RFC 4055 §3.1: there is one trailer.
    (parameters.trailer.unwrap_or(1) == 1).then_some(SignatureScheme::RsaPss { hash, mask_hash, salt_len })
}

fn pss_identifier(
    hash: SignatureHash,
    mask_hash: SignatureHash,
    salt_len: usize,
) -> der::Result<AlgorithmIdentifierOwned> {
    let mask_parameters = hash_identifier(mask_hash).to_der()?;
    let mask =
        AlgorithmIdentifierRef { oid: oid::MGF1, parameters: Some(AnyRef::from_der(&mask_parameters)?) };
    // DER leaves out what is the default.
    let parameters = PssParameters {
        hash: (hash != SignatureHash::Sha1).then(|| hash_identifier(hash)),
        mask: (mask_hash != SignatureHash::Sha1).then_some(mask),
        salt_len: u32::try_from(salt_len).ok().filter(|salt_len| *salt_len != 20),
        trailer: None,
    };
    let parameters = Some(der::Any::encode_from(&parameters)?);
    Ok(AlgorithmIdentifierOwned { oid: oid::RSA_PSS, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-ietf-ipsecme-ikev2-pqc-auth, appendix B.
    #[test]
    fn ml_dsa_is_named_as_the_draft_names_it() {
        for (last, set) in [(0x11, MlDsa::Set44), (0x12, MlDsa::Set65), (0x13, MlDsa::Set87)] {
            let named = [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, last];
            let scheme = SignatureScheme::MlDsa(set);
            assert_eq!(scheme_to_der(scheme).as_deref(), Some(named.as_slice()), "{set}");
            assert_eq!(scheme_from_der(&named), Ok(scheme), "{set}");
            // Parameters are absent.
            let with_null = [&[0x30, 0x0d], &named[2..], &[0x05, 0x00]].concat();
            assert!(scheme_from_der(&with_null).is_err(), "{set}");
        }
    }
}
