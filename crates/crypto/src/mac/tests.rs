use hex::decode;

use super::*;
use crate::vectors;

#[test]
fn hmac_agrees_with_rfc_4868() {
    for (algorithm, vectors) in [
        (HMAC_SHA2_256_128, &vectors::HMAC_SHA2_256),
        (HMAC_SHA2_256_96, &vectors::HMAC_SHA2_256),
        (HMAC_SHA2_384_192, &vectors::HMAC_SHA2_384),
        (HMAC_SHA2_512_256, &vectors::HMAC_SHA2_512),
    ] {
        for vector in vectors {
            let key = algorithm.key(&decode(vector.key).unwrap()).unwrap();
            check(&*key, &decode(vector.data).unwrap(), &vector.output[..2 * algorithm.icv_len()]);
        }
    }
}

/// RFC 2202, those of its keys that IPsec can have.
#[test]
fn hmac_agrees_with_rfc_2202() {
    for (algorithm, vectors) in [
        (HMAC_MD5_96, &vectors::HMAC_MD5),
        (HMAC_MD5_128, &vectors::HMAC_MD5),
        (HMAC_SHA1_96, &vectors::HMAC_SHA1),
        (HMAC_SHA1_160, &vectors::HMAC_SHA1),
    ] {
        let fits = |vector: &&vectors::HmacVector| vector.key.len() == 2 * algorithm.key_len();
        let mut seen = 0;
        for vector in vectors.iter().filter(fits) {
            let key = algorithm.key(&decode(vector.key).unwrap()).unwrap();
            check(&*key, &decode(vector.data).unwrap(), &vector.output[..2 * algorithm.icv_len()]);
            seen += 1;
        }
        assert_eq!(seen, 3, "{algorithm:?}");
    }
}

/// RFC 3566 §4.6, test cases 3 and 4; the whole tags are in the tests of the function itself.
#[test]
fn xcbc_agrees_with_rfc_3566() {
    let key = AES_XCBC_96.key(&decode("000102030405060708090a0b0c0d0e0f").unwrap()).unwrap();
    let message: Vec<u8> = (0x00..0x14).collect();
    check(&*key, &message[..16], "d2a246fa349b68a79998a439");
    check(&*key, &message, "47f51b4564966215b8985c63");
}

/// RFC 4494 §5.
#[test]
fn cmac_agrees_with_rfc_4494() {
    let key = AES_CMAC_96.key(&decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap()).unwrap();
    let message = decode(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    )
    .unwrap();
    for (len, icv) in [
        (0, "bb1d6929e95937287fa37d12"),
        (16, "070a16b46b4d4144f79bdd9d"),
        (40, "dfa66747de9ae63030ca3261"),
        (64, "51f0bebf7e3b9d92fc497417"),
    ] {
        check(&*key, &message[..len], icv);
    }
}

/// The test case of draft-mcgrew-gcm-test-01 as AH would carry it: what is authenticated is the caller's affair.
#[test]
fn gmac_begins_with_its_iv() {
    let key = AES_128_GMAC.key(&decode("4c80cdefbb5d10da906ac73c3613a63422433c64").unwrap()).unwrap();
    let message = decode(
        "00004321000000070000000000000000\
         45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364\
         65666768696a6b6c6d6e6f707172737401020201",
    )
    .unwrap();
    check(&*key, &message, "0000000000000000f2a9a836e155106aa8dcd618e4099aaa");
    let mut icv = [1; 24];
    key.sign(&[&message], &mut icv);
    assert_eq!(icv[..8], [1; 8]);
    assert_ne!(hex::encode(&icv[8..]), "f2a9a836e155106aa8dcd618e4099aaa");
    assert_eq!((AES_128_GMAC.iv_len(), HMAC_SHA1_96.iv_len()), (8, 0));
}

/// Signs and verifies one message, in two parts as ESN has it (RFC 4303 §2.2.1); an IV is zeros.
fn check(key: &dyn MacKey, message: &[u8], expected: &str) {
    let mut icv = vec![0; expected.len() / 2];
    let parts = message.split_at(message.len() / 3);
    key.sign(&[parts.0, parts.1], &mut icv);
    assert_eq!(hex::encode(&icv), expected);
    assert_eq!(key.verify(&[message], &icv), Ok(()));
}

#[test]
fn an_icv_with_a_changed_bit_or_length_is_forged() {
    for algorithm in ALL {
        let key = algorithm.key(&vec![7; algorithm.key_len()]).unwrap();
        let mut icv = vec![0; algorithm.icv_len()];
        key.sign(&[b"some packet"], &mut icv);
        for bit in 0..8 * icv.len() {
            let mut forged = icv.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify(&[b"some packet"], &forged), Err(Forged), "{algorithm:?}");
        }
        for len in 0..icv.len() {
            assert_eq!(key.verify(&[b"some packet"], &icv[..len]), Err(Forged), "{algorithm:?}");
        }
        assert_eq!(key.verify(&[b"some packet"], &[&icv[..], &[0]].concat()), Err(Forged));
        assert_eq!(key.verify(&[b"Some packet"], &icv), Err(Forged));
        assert_eq!(key.verify(&[b"some ", b"packet"], &icv), Ok(()));
    }
}

#[test]
fn a_key_of_another_length_is_refused() {
    for algorithm in ALL {
        let expected = algorithm.key_len();
        for actual in [0, expected - 1, expected + 1] {
            let refused = algorithm.key(&vec![0; actual]).map(drop);
            assert_eq!(refused, Err(Error::KeyLength { expected, actual }));
        }
    }
}

static ALL: [&dyn Mac; 13] = [
    HMAC_SHA2_256_128,
    HMAC_SHA2_256_96,
    HMAC_SHA2_384_192,
    HMAC_SHA2_512_256,
    AES_XCBC_96,
    AES_CMAC_96,
    AES_128_GMAC,
    AES_192_GMAC,
    AES_256_GMAC,
    HMAC_SHA1_96,
    HMAC_SHA1_160,
    HMAC_MD5_96,
    HMAC_MD5_128,
];
