use hex::decode;

use super::*;
use crate::vectors;

#[test]
fn hmac_agrees_with_rfc_4868() {
    for (algorithm, vectors) in [
        (HMAC_SHA2_256_128, &vectors::HMAC_SHA2_256),
        (HMAC_SHA2_384_192, &vectors::HMAC_SHA2_384),
        (HMAC_SHA2_512_256, &vectors::HMAC_SHA2_512),
    ] {
        for vector in vectors {
            let key = algorithm.key(&decode(vector.key).unwrap()).unwrap();
            let data = decode(vector.data).unwrap();
            let mut icv = vec![0; algorithm.icv_len()];
            // In two parts, as ESN appends the high half of the sequence number (RFC 4303 §2.2.1).
            key.sign(&[&data[..3], &data[3..]], &mut icv);
            assert_eq!(hex::encode(&icv), vector.output[..2 * algorithm.icv_len()]);
            assert_eq!(key.verify(&[&data], &icv), Ok(()));
        }
    }
}

#[test]
fn an_icv_with_a_changed_bit_or_length_is_forged() {
    for algorithm in [HMAC_SHA2_256_128, HMAC_SHA2_384_192, HMAC_SHA2_512_256] {
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
    for algorithm in [HMAC_SHA2_256_128, HMAC_SHA2_384_192, HMAC_SHA2_512_256] {
        let expected = algorithm.key_len();
        for actual in [0, expected - 1, expected + 1] {
            let refused = algorithm.key(&vec![0; actual]).map(drop);
            assert_eq!(refused, Err(Error::KeyLength { expected, actual }));
        }
    }
}
