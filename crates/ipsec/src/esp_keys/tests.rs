//! Packets that others sealed: RFC 3602, RFC 7634, draft-mcgrew-gcm-test-01, and Scapy.

use sa::transform::{ENCRYPTION, Encryption, INTEGRITY, Integrity};

use super::*;

fn bytes(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text.replace([' ', '\n'], "")).expect("the vectors are hexadecimal")
}

fn encryption(keyword: &str) -> &'static Encryption {
    ENCRYPTION.iter().find(|row| row.keywords[0] == keyword).expect("a keyword of the transform table")
}

fn integrity(keyword: &str) -> &'static Integrity {
    INTEGRITY.iter().find(|row| row.keywords[0] == keyword).expect("a keyword of the transform table")
}

fn suite(text: &str) -> Protection {
    match text.split_once('-') {
        None => Protection::Combined(encryption(text)),
        Some((cipher, mac)) => {
            Protection::Separate { encryption: encryption(cipher), integrity: integrity(mac) }
        }
    }
}

/// Seals the plaintext of `sealed` again, with its own header and IV, and wants the same octets.
fn assert_seals_to(keys: &EspKeys, number: u64, plaintext: &[u8], sealed: &[u8]) {
    let mut packet = sealed[..keys.front_len()].to_vec();
    packet.extend_from_slice(plaintext);
    packet.resize(packet.len() + keys.icv_len(), 0);
    keys.seal(number, &mut packet).expect("the vector's lengths suit its algorithms");
    assert_eq!(hex::encode(&packet), hex::encode(sealed));
}

fn assert_opens_to(keys: &EspKeys, number: u64, sealed: &[u8], plaintext: &[u8]) {
    let mut packet = sealed.to_vec();
    assert!(keys.fits(packet.len()));
    keys.open(number, &mut packet).expect("the vector is authentic");
    assert_eq!(hex::encode(&packet[keys.front_len()..sealed.len() - keys.icv_len()]), hex::encode(plaintext));
}

/// RFC 3602 §4, cases 5 to 8. They have no ICV, so only what stands before it is compared.
#[test]
fn aes_cbc_packets_of_rfc_3602() {
    let cases = [
        (
            "90d382b4 10eeba7a d938c46c ec1a82bf",
            "00004321 00000001 e96e8c08 ab465763 fd098d45 dd3ff893",
            "08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617
             18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637
             01020304 05060708 090a0b0c 0d0e0e01",
            "f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965 330013b4 898dc856
             a4699e52 3a55db08 0b59ec3a 8e4b7e52 775b07d1 db34ed9c 538ab50c 551b874a
             a269add0 47ad2d59 13ac19b7 cfbad4a6",
        ),
        (
            "90d382b4 10eeba7a d938c46c ec1a82bf",
            "00004321 00000008 69d08df7 d203329d b093fc49 24e5bd80",
            "0800b5e8 a80a0500 a69c083d 0b660e00 77777777 77777777 77777777 01020201",
            "f5199588 1ec4e0c4 488987ce 742e8109 689bb379 d2d750c0 d915dca3 46a89f75",
        ),
        (
            "01234567 89abcdef 01234567 89abcdef",
            "00008765 00000002 f4e76524 4f6407ad f13dc138 0f673f37",
            "45000054 09040000 4001f988 c0a87b03 c0a87bc8 08009f76 a90a0100 b49c083d
             02a20400 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223
             24252627 28292a2b 2c2d2e2f 30313233 34353637 01020304 05060708 090a0a04",
            "773b5241 a4c44922 5e4f3ce5 ed611b0c 237ca96c f74a9301 3c1b0ea1 a0cf70f8
             e4ecaec7 8ac53aad 7a0f022b 859243c6 47752e94 a859352b 8a4d4d2d ecd136e5
             c177f132 ad3fbfb2 201ac990 4c74ee0a 109e0ca1 e4dfe9d5 a100b842 f1c22f0d",
        ),
        (
            "01234567 89abcdef 01234567 89abcdef",
            "00008765 00000005 85d47224 b5f3dd5d 2101d4ea 8dffab22",
            "45000044 090c0000 4001f990 c0a87b03 c0a87bc8 0800d63c aa0a0200 c69c083d
             a3de0300 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff
             ffffffff 01020304 05060708 090a0a04",
            "15b92683 819596a8 047232cc 00f7048f e45318e1 1f8a0f62 ede3c3fc 61203bb5
             0f980a08 c9843fd3 a1b06d5c 07ff9639 b7eb7dfb 3512e5de 435e7207 ed971ef3
             d2726d9b 5ef6affc 6d17a0de cbb13892",
        ),
    ];
    for (key, front, plaintext, ciphertext) in cases {
        let key = [bytes(key), vec![0x5a; 32]].concat();
        let keys = EspKeys::new(&suite("aes128-sha256"), &key, Esn::No).expect("16 and 32 octets");
        let mut packet = [bytes(front), bytes(plaintext), vec![0; keys.icv_len()]].concat();
        keys.seal(1, &mut packet).expect("whole blocks");
        let expected = [bytes(front), bytes(ciphertext)].concat();
        assert_eq!(hex::encode(&packet[..expected.len()]), hex::encode(&expected));
        assert_opens_to(&keys, 1, &packet, &bytes(plaintext));
    }
}

/// RFC 7634 appendix A.
#[test]
fn the_chacha20_poly1305_packet_of_rfc_7634() {
    let key: Vec<u8> = (0x80..=0x9f).chain(0xa0..=0xa3).collect();
    let keys = EspKeys::new(&suite("chacha20poly1305"), &key, Esn::No).expect("32 and 4 octets");
    let plaintext = bytes(
        "45000054a6f2000040 01e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f
         101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204",
    );
    let sealed = bytes(
        "0102030400000005 1011121314151617
         24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
         14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
         cbec163fac469b502773f6fb94e664da9165b82829f641e0
         76aaa8266b7fb0f7b11b3699 07e1ad43",
    );
    assert_seals_to(&keys, 5, &plaintext, &sealed);
    assert_opens_to(&keys, 5, &sealed, &plaintext);
}

/// draft-mcgrew-gcm-test-01 §4, half of its cases: every key length, both widths of the sequence number (an associated
/// part of twelve octets or of eight), the shortest and the longest packet.
#[test]
fn aes_gcm_packets_of_draft_mcgrew_gcm_test() {
    // Key and salt; associated part; IV; plaintext; ciphertext; ICV.
    let cases = [
        [
            "4c80cdefbb5d10da906ac73c3613a6342e443b68",
            "000043218765432100000000",
            "4956ed7e3b244cfe",
            "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f7564
             70037369700963796265726369747902646b000021000101020201",
            "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4
             a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732",
            "459018148f6cbe722fd04796562dfdb4",
        ],
        [
            "feffe9928665731c6d6a8f9467308308cafebabe",
            "0000a5f80000000a",
            "facedbaddecaf888",
            "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009
             63796265726369747902646b00000100010001",
            "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec
             416642cfbb85a5b47e48a4ec3b9ba95d918bd1",
            "83b70d3aa8bc6ee4c309e9d85a41ad4a",
        ],
        [
            "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
            "4a2cbfe300000002",
            "0102030405060708",
            "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401
             01040201020201",
            "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f
             14e99def842d8e",
            "b335f4eecfdbf831824b4c4915956c96",
        ],
        [
            "feffe9928665731c6d6a8f9467308308feffe9928665731ccafebabe",
            "0000a5f80000000a",
            "facedbaddecaf888",
            "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
            "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77",
            "95457b9652037f5318027b5b4cd7a636",
        ],
        [
            "abbccddef00112233445566778899aabdecaf888",
            "000001000000000000000001",
            "cafedebaceface74",
            "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20001e8c18d75b81dc91
             baa0476b91b924b280389d92c963bac046ec959b6266c04722b14923010101",
            "18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f9190feebaf2cb01984e6586396
             5d7472b79da345e0e780191f0d2f0e0f496c226f2127b27db35724e7845d68",
            "651f57e65f354f75ff17015769623436",
        ],
        [
            "7d773d00c144c525ac619d18c84a3f47d9664267",
            "335467aeffffffff",
            "43457e9182443bc6",
            "01020201",
            "437f866b",
            "cb3f699fe9b0822bac961c4504bef270",
        ],
        [
            "6c6567616c697a656d6172696a75616e61616e64646f69746265666f726569617475726e",
            "796b6963ffffffffffffffff",
            "333021696765746d",
            "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071
             72737401020201",
            "f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb5
             7dbe821dcc63b9",
            "d0937ba2945f669368661a329fb4c053",
        ],
    ];
    for case in cases {
        let [key, associated, iv, plaintext, ciphertext, icv] = case.map(bytes);
        let (esn, number) = match *associated {
            [_, _, _, _, ref number @ ..] if number.len() == 8 => {
                (Esn::Yes, u64::from_be_bytes(number.try_into().expect("eight octets")))
            }
            [_, _, _, _, ref number @ ..] => {
                (Esn::No, u32::from_be_bytes(number.try_into().expect("four octets")).into())
            }
            _ => panic!("the associated part is too short"),
        };
        let keyword = format!("aes{}gcm16", (key.len() - 4) * 8);
        let keys = EspKeys::new(&suite(&keyword), &key, esn).expect("key and salt");
        let header = [&associated[..4], &(number as u32).to_be_bytes()].concat();
        let sealed = [header, iv, ciphertext, icv].concat();
        assert_seals_to(&keys, number, &plaintext, &sealed);
        assert_opens_to(&keys, number, &sealed, &plaintext);
    }
}

/// Packets that `tests/vectors/scapy.py` wrote, in both directions.
#[test]
fn packets_of_scapy() {
    let vectors = include_str!("../../tests/vectors/scapy.txt");
    let mut seen = 0;
    for line in vectors.lines() {
        let [name, esn, number, key, inner, sealed]: [&str; 6] =
            line.split(' ').collect::<Vec<_>>().try_into().expect("six fields");
        let esn = if esn == "esn" { Esn::Yes } else { Esn::No };
        let number: u64 = number.parse().expect("a decimal number");
        let keys = EspKeys::new(&suite(name), &bytes(key), esn).expect("the key suits the suite");
        let inner = bytes(inner);
        let mut plaintext = inner.clone();
        let padding = esp::padding_len(inner.len(), keys.alignment());
        plaintext.resize(inner.len() + padding + esp::TRAILER_LEN, 0);
        let next_header = if inner[0] >> 4 == 4 { 4 } else { 41 };
        esp::write_trailer(&mut plaintext[inner.len()..], next_header).expect("less than 255 octets");
        assert_seals_to(&keys, number, &plaintext, &bytes(sealed));
        assert_opens_to(&keys, number, &bytes(sealed), &plaintext);
        seen += 1;
    }
    assert_eq!(seen, 108);
}

#[test]
fn keys_of_another_length_are_refused() {
    for (name, len) in
        [("aes128gcm16", 16), ("aes128gcm16", 21), ("aes128-sha256", 16), ("aes128-sha256", 49)]
    {
        assert!(EspKeys::new(&suite(name), &vec![0; len], Esn::No).is_err(), "{name} with {len} octets");
    }
}

/// RFC 4543 §5.3.
#[test]
fn gmac_beside_a_cipher_is_refused() {
    let suite = Protection::Separate { encryption: encryption("aes128"), integrity: integrity("aes128gmac") };
    assert!(EspKeys::new(&suite, &vec![0; suite.key_len()], Esn::No).is_err());
}

#[test]
fn only_whole_aligned_packets_fit() {
    let gcm = EspKeys::new(&suite("aes128gcm16"), &[0; 20], Esn::No).expect("key and salt");
    assert!(gcm.fits(8 + 8 + 4 + 16));
    for len in [0, 8, 32, 33, 34, 37, 38] {
        assert!(!gcm.fits(len), "{len}");
    }
    let cbc = EspKeys::new(&suite("aes128-sha256"), &[0; 48], Esn::No).expect("two keys");
    assert!(cbc.fits(8 + 16 + 16 + 16));
    for len in [0, 40, 44, 55, 57, 64] {
        assert!(!cbc.fits(len), "{len}");
    }
}
