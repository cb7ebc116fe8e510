use super::*;
use crate::hash;

/// The primes of RFC 2409 §6 and RFC 3526, and values that Python's `pow` computes with them.
#[test]
fn modp_agrees_with_an_independent_computation() {
    for vector in VECTORS {
        let group = vector.group;
        let digest = |value: &[u8]| hex::encode(hash::SHA2_256.digest(&[value]));
        assert_eq!(digest(&prime_of(group)), vector.prime, "{}", group.name);

        let octets =
            |step, first| (0..group.exponent_len).map(|i| (i * step + first) as u8).collect::<Vec<_>>();
        let initiator = group.private(octets(7, 1).into()).unwrap();
        let responder = group.private(octets(11, 5).into()).unwrap();
        assert_eq!(digest(initiator.public()), vector.initiator_public, "{}", group.name);
        assert_eq!(digest(responder.public()), vector.responder_public, "{}", group.name);
        assert_eq!(
            digest(initiator.agree(&responder.public).unwrap().as_slice()),
            vector.shared,
            "{}",
            group.name
        );
        assert_eq!(
            digest(responder.agree(&initiator.public).unwrap().as_slice()),
            vector.shared,
            "{}",
            group.name
        );
    }
}

/// RFC 5114, appendices A.1 to A.3.
#[test]
fn groups_of_small_order_agree_with_rfc_5114() {
    for Rfc5114Vector { group, x_a, y_a, x_b, y_b, z } in RFC_5114 {
        let digest = |value: &[u8]| hex::encode(hash::SHA2_256.digest(&[value]));
        let [initiator, responder] =
            [x_a, x_b].map(|private| group.private(hex::decode(private).unwrap().into()).unwrap());
        assert_eq!(digest(initiator.public()), y_a, "{}", group.name);
        assert_eq!(digest(responder.public()), y_b, "{}", group.name);
        assert_eq!(digest(initiator.agree(&responder.public).unwrap().as_slice()), z, "{}", group.name);
        assert_eq!(digest(responder.agree(&initiator.public).unwrap().as_slice()), z, "{}", group.name);
    }
}

#[test]
fn both_sides_agree() {
    for group in ALL {
        let initiator = group.generate().unwrap();
        assert_eq!(initiator.public().len(), group.public_len());
        let (responder_public, responder_secret) = group.respond(initiator.public()).unwrap();
        assert_eq!(responder_public.len(), group.public_len());
        let initiator_secret = initiator.finish(&responder_public).unwrap();
        assert_eq!(initiator_secret.len(), group.len);
        assert!(initiator_secret.ct_eq(responder_secret.as_slice()), "{}", group.name);
        assert_ne!(group.generate().unwrap().public(), group.generate().unwrap().public());
    }
}

/// RFC 7296 §2.14 and §3.4: values are as long as the prime, whatever their size.
#[test]
fn small_values_are_padded_on_the_left() {
    for group in SAFE {
        let private = group.private(vec![3].into()).unwrap();
        assert_eq!(private.public, number(group, 8), "{}", group.name);
        assert_eq!(
            private.agree(&number(group, 5)).unwrap().as_slice(),
            number(group, 125),
            "{}",
            group.name
        );
    }
}

#[test]
fn values_that_are_not_between_1_and_p_minus_1_are_refused() {
    for group in ALL {
        let prime = prime_of(group);
        let near_prime = |difference: i16| {
            let mut value = prime.clone();
            let last = value.last_mut().unwrap();
            *last = u8::try_from(i16::from(*last) + difference)
                .expect("every prime is odd and ends in more than one");
            value
        };
        let all_ones = vec![0xff; group.len];
        let refusal = Error::InvalidPublicValue(InvalidPublicValue::OutOfRange);
        for bad in [number(group, 0), number(group, 1), near_prime(-1), near_prime(0), all_ones] {
            assert_eq!(group.respond(&bad).map(drop), Err(refusal), "{}", group.name);
            assert_eq!(group.generate().unwrap().finish(&bad).map(drop), Err(refusal), "{}", group.name);
        }
        for good in [number(group, 2), near_prime(-2)] {
            assert_eq!(group.respond(&good).map(drop), Ok(()), "{}", group.name);
        }
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    for group in ALL {
        let expected = group.len;
        for actual in [0, 1, expected - 1, expected + 1] {
            let refusal = InvalidPublicValue::Length { expected, actual }.into();
            assert_eq!(group.respond(&vec![2; actual]).map(drop), Err(refusal), "{}", group.name);
        }
    }
}

fn number(group: Modp, value: u8) -> Vec<u8> {
    let mut octets = vec![0; group.len];
    octets[group.len - 1] = value;
    octets
}

fn prime_of(group: Modp) -> Vec<u8> {
    let mut prime = vec![0; group.len];
    group.group.prepared().unwrap().write_prime(&mut prime).unwrap();
    prime
}

/// The groups of safe primes, whose generator is 2.
const SAFE: [Modp; 8] =
    [MODP_768, MODP_1024, MODP_1536, MODP_2048, MODP_3072, MODP_4096, MODP_6144, MODP_8192];

const ALL: [Modp; 11] = [
    MODP_768,
    MODP_1024,
    MODP_1536,
    MODP_2048,
    MODP_3072,
    MODP_4096,
    MODP_6144,
    MODP_8192,
    MODP_1024_160,
    MODP_2048_224,
    MODP_2048_256,
];

/// The SHA-256 of each value, which is as long as the prime.
struct Vector {
    group: Modp,
    prime: &'static str,
    initiator_public: &'static str,
    responder_public: &'static str,
    shared: &'static str,
}

const VECTORS: [Vector; 8] = [
    Vector {
        group: MODP_768,
        prime: "b52ba6a3026520a6c49d37e4587601801bee500123b3259b6bf03e7cecc3e63d",
        initiator_public: "91251c97eb43fdb078f05f5a634f12a067389fcc420d181f8173d1ed25521998",
        responder_public: "b8502e4e3a39501984eb4cbc3f8967c165f4d49888bfa588228bf75fad349640",
        shared: "5d8974c4e465a748c68930dace21bea6bf7e3ece150e87bbbd9ec11900c9c677",
    },
    Vector {
        group: MODP_1024,
        prime: "3f35a3f5f6c4376a744acad409bb22f8d897f949d2311d885adaa890981b67a0",
        initiator_public: "9e32ccbc23f45c52dff77810c4bd9e2a9b90eceb7ad59edbe54aa2c6485aaae3",
        responder_public: "62e36fbcf52d267822629f8f9739f50c7a75b9116eaff33e30fbc1d96669658f",
        shared: "b62bd5f99db86c7201b4049b070e0684a48ab9dc8694c1175ff7a2fd8dfbcca6",
    },
    Vector {
        group: MODP_1536,
        prime: "64fcc83ec403930bf18393dbc883ccaa1fbb08ac876f77f7aa99748ca945019b",
        initiator_public: "e704583413eb1db0d556b38a6de94cb0742e451b339a4d44cb45c9fe985070b9",
        responder_public: "6274824b75be3d702f70534da4ff3551ba9fe07c15935c9bfa6c79d4fa5a59d8",
        shared: "b46608914330beb67c219cd187e05e9e31de6edeb6731bad6c1a0b3866a59cd6",
    },
    Vector {
        group: MODP_2048,
        prime: "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",
        initiator_public: "71fe64a03ed65476629d5edfb0adc65ca2a545b5d8981c732c8e278289f5da38",
        responder_public: "c45fee31b66334e6bc1bdf96b8a59abc72c1852cebb935fc70e1be78aafe9fea",
        shared: "8342bafccb297a419a25648a19742f475680fe4ada42ef8277572944ae0dd8bb",
    },
    Vector {
        group: MODP_3072,
        prime: "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",
        initiator_public: "cc9ba9be9d716c7c7164f3ead4f712962eb846f7e0896283344d1225a9d0da7e",
        responder_public: "9f69b91f0aebc5ba47dc08ed783042a1e215f29620485301915d19d5a95d6798",
        shared: "3076ea76557c838f5f08b4658893e06cf51c621c9f3be348dfff9fdc45181006",
    },
    Vector {
        group: MODP_4096,
        prime: "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
        initiator_public: "1926f86401c4624ad25ba7b7a3235cdbd51c8f5ca913c8e5a6dadc087ac7702b",
        responder_public: "0f1563a3307be64a89c8dab77d00acc85cdc97851fdb5170fe8b992f1d92ac4d",
        shared: "5e2e045b25183cf94e8c406ab939b967d8305e599e5d94b4d3894458aed40c30",
    },
    Vector {
        group: MODP_6144,
        prime: "d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd",
        initiator_public: "03d06b17d16851578f5186d4dc44b9c17aca43a6498b7183179ec5ba3ad4aa81",
        responder_public: "8aadebbaf3029b3b465a48caa62fd3b35fc4a1dc5afffe6728b0b61e43dd3e56",
        shared: "66e25570d63c19016d6e3c959104b655f6c6a60ff59919cfd5dd008993b5ee14",
    },
    Vector {
        group: MODP_8192,
        prime: "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",
        initiator_public: "ff09ae13267b931b60ba73853a735b08ebc1559b358a34557fbd0f7fee312492",
        responder_public: "99417a9c994618e9beab4cfb9f87fbb486b0a6f39475cf01c5d46ef10f777172",
        shared: "a0150913809562aa8e902f1d5edc749261109cc47b1ede7cf60a5adf5b1f5504",
    },
];

/// Private values of RFC 5114, appendix A, and the SHA-256 of the public values and of the secret, which are long.
struct Rfc5114Vector {
    group: Modp,
    x_a: &'static str,
    y_a: &'static str,
    x_b: &'static str,
    y_b: &'static str,
    z: &'static str,
}

const RFC_5114: [Rfc5114Vector; 3] = [
    Rfc5114Vector {
        group: MODP_1024_160,
        x_a: "b9a3b3ae8fefc1a2930496507086f8455d48943e",
        y_a: "33bc36bb57958663a8014d9830598b0de00c766f0aca7ec9d486bafe2e84b703",
        x_b: "9392c9f9eb6a7a6a9022f7d83e7223c6835bbdda",
        y_b: "8cb9ce9b3a092b9c436498b2a242751405e00a78da00a9f89eb1126aaf57276b",
        z: "efaf3f62d608cdbd9ccd679f8f3f010d0883e1fe436840b852be9e5571fe23f3",
    },
    Rfc5114Vector {
        group: MODP_2048_224,
        x_a: "22e62601dbffd06708a680f747f361f76d8f4f721a0548e483294b0c",
        y_a: "149588a0f8b466223d7f41bc948c3a158e5cef1669579d7d985b52dc7778f11e",
        x_b: "4ff3bc96c7fc6a6d71d3b363800a7cdfef6fc41b4417ea15353b7590",
        y_b: "2aab48359cedc46db91bac808f601f905aebec30795371f34f8fc8d34935b32b",
        z: "885bb5ebe4da0bd256299131a3f2ecfc683ba48652048c6bb21b7461f29cf49b",
    },
    Rfc5114Vector {
        group: MODP_2048_256,
        x_a: "0881382cdb87660c6dc13e614938d5b9c8b2f248581cc5e31b35454397fce50e",
        y_a: "ba101a638cd0382ded9814bbf575c26ac8bb2a7e0977ec68ac964ecc4b62a6c4",
        x_b: "7d62a7e3ef36de617b13d1afb82c780d83a23bd4ee6705645121f371f546a53d",
        y_b: "f6c9bb57f3f682a66969bcf5471b2ba364c834dd833278e09536028d6c72553e",
        z: "01eb7b326b9093eea16968f04915ea1097194caee5bc657dba57bb69c6b7613d",
    },
];
