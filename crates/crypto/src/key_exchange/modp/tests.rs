use super::*;
use crate::hash;

/// The primes of RFC 3526 §3 to §5, and values that Python's `pow` computes with them.
#[test]
fn modp_agrees_with_an_independent_computation() {
    for vector in VECTORS {
        let group = vector.group;
        let mut prime = vec![0; group.len];
        group.prime.modulus().unwrap().write_prime(&mut prime).unwrap();
        assert_eq!(hex::encode(&prime), vector.prime, "{}", group.name);

        let octets =
            |step, first| (0..group.exponent_len).map(|i| (i * step + first) as u8).collect::<Vec<_>>();
        let initiator = group.private(octets(7, 1).into()).unwrap();
        let responder = group.private(octets(11, 5).into()).unwrap();
        let digest = |value: &[u8]| hex::encode(hash::SHA2_256.digest(&[value]));
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
    for group in ALL {
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
        let mut prime = vec![0; group.len];
        group.prime.modulus().unwrap().write_prime(&mut prime).unwrap();
        let near_prime = |difference: i16| {
            let mut value = prime.clone();
            let last = value.last_mut().unwrap();
            *last = u8::try_from(i16::from(*last) + difference)
                .expect("every prime ends in ff, so only smaller fits");
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

const ALL: [Modp; 3] = [MODP_2048, MODP_3072, MODP_4096];

/// The prime in hexadecimal; of the other values, which are as long, the SHA-256.
struct Vector {
    group: Modp,
    prime: &'static str,
    initiator_public: &'static str,
    responder_public: &'static str,
    shared: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        group: MODP_2048,
        prime: "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
         8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
         0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
         1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
         f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
         955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff",
        initiator_public: "71fe64a03ed65476629d5edfb0adc65ca2a545b5d8981c732c8e278289f5da38",
        responder_public: "c45fee31b66334e6bc1bdf96b8a59abc72c1852cebb935fc70e1be78aafe9fea",
        shared: "8342bafccb297a419a25648a19742f475680fe4ada42ef8277572944ae0dd8bb",
    },
    Vector {
        group: MODP_3072,
        prime: "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
         8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
         0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
         1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
         f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
         955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d04507a33a85521abdf1cba64\
         ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d226\
         1ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e2\
         08e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff",
        initiator_public: "cc9ba9be9d716c7c7164f3ead4f712962eb846f7e0896283344d1225a9d0da7e",
        responder_public: "9f69b91f0aebc5ba47dc08ed783042a1e215f29620485301915d19d5a95d6798",
        shared: "3076ea76557c838f5f08b4658893e06cf51c621c9f3be348dfff9fdc45181006",
    },
    Vector {
        group: MODP_4096,
        prime: "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
         8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
         0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
         1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
         f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
         955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d04507a33a85521abdf1cba64\
         ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d226\
         1ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e2\
         08e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d788719a10bdba5b2699c32718\
         6af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6287c59474e6bc05d\
         99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa993b4ea98\
         8d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff",
        initiator_public: "1926f86401c4624ad25ba7b7a3235cdbd51c8f5ca913c8e5a6dadc087ac7702b",
        responder_public: "0f1563a3307be64a89c8dab77d00acc85cdc97851fdb5170fe8b992f1d92ac4d",
        shared: "5e2e045b25183cf94e8c406ab939b967d8305e599e5d94b4d3894458aed40c30",
    },
];
