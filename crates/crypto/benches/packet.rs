//! Prints how long one packet takes on this machine, in nanoseconds: `cargo bench -p keyway-crypto`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crypto::{aead, cipher, key_exchange, mac};

const SIZES: [usize; 3] = [64, 1400, 9000];

fn main() {
    println!("{:44}{:>8}{:>8}{:>8}", "seal, ns per packet of octets:", SIZES[0], SIZES[1], SIZES[2]);
    for algorithm in [
        aead::AES_128_GCM_16,
        aead::AES_192_GCM_16,
        aead::AES_256_GCM_16,
        aead::AES_128_GCM_8,
        aead::CHACHA20_POLY1305,
        aead::AES_128_CCM_16,
        aead::AES_256_CCM_16,
        aead::CAMELLIA_128_CCM_16,
        aead::NULL_AES_128_GMAC,
    ] {
        let key =
            algorithm.key(&vec![1; algorithm.key_len() + algorithm.salt_len()]).expect("the length fits");
        let mut icv = vec![0; algorithm.icv_len()];
        row(algorithm.name(), |data, packet| {
            key.seal(&packet.to_be_bytes(), &[0; 8], data, &mut icv).expect("the lengths fit");
        });
    }
    for (cipher, mac) in [
        (cipher::AES_128_CBC, mac::HMAC_SHA2_256_128),
        (cipher::AES_192_CBC, mac::HMAC_SHA2_384_192),
        (cipher::AES_256_CBC, mac::HMAC_SHA2_512_256),
        (cipher::AES_128_CTR, mac::HMAC_SHA2_256_128),
        (cipher::CAMELLIA_128_CBC, mac::HMAC_SHA2_256_128),
        (cipher::CAMELLIA_128_CTR, mac::HMAC_SHA2_256_128),
        (cipher::NULL, mac::HMAC_SHA1_96),
        (cipher::NULL, mac::HMAC_MD5_96),
        (cipher::NULL, mac::AES_XCBC_96),
        (cipher::NULL, mac::AES_CMAC_96),
        (cipher::DES_CBC, mac::HMAC_MD5_96),
        (cipher::TRIPLE_DES_CBC, mac::HMAC_SHA1_96),
        (cipher::CAST_128_CBC, mac::HMAC_SHA1_96),
        (cipher::BLOWFISH_128_CBC, mac::HMAC_SHA1_96),
    ] {
        let cipher_key = cipher.key(&vec![1; cipher.key_len() + cipher.salt_len()]).expect("the length fits");
        let mac_key = mac.key(&vec![1; mac.key_len()]).expect("the length fits");
        let mut icv = vec![0; mac.icv_len()];
        row(&format!("{} + {}", cipher.name(), mac.name().trim_start_matches("AUTH_")), |data, packet| {
            let whole_blocks = data.len() / cipher.block_len() * cipher.block_len();
            let iv = &u128::from(packet).to_be_bytes()[16 - cipher.iv_len()..];
            cipher_key.encrypt(iv, &mut data[..whole_blocks]).expect("whole blocks");
            mac_key.sign(&[&[0; 8], data], &mut icv);
        });
    }

    println!("\n{:44}{:>8}{:>16}", "key exchange, µs:", "generate", "respond");
    for method in [
        key_exchange::CURVE25519,
        key_exchange::ECP_256,
        key_exchange::ECP_384,
        key_exchange::ECP_521,
        key_exchange::CURVE448,
        key_exchange::BRAINPOOL_P256R1,
        key_exchange::BRAINPOOL_P384R1,
        key_exchange::BRAINPOOL_P512R1,
        key_exchange::MODP_1024,
        key_exchange::MODP_2048,
        key_exchange::MODP_2048_256,
        key_exchange::MODP_3072,
        key_exchange::MODP_4096,
        key_exchange::MODP_6144,
        key_exchange::MODP_8192,
    ] {
        let peer = method.generate().expect("the library works");
        let generate = time(|_| drop(black_box(method.generate())));
        let respond = time(|_| drop(black_box(method.respond(peer.public()))));
        println!("{:44}{:8.1}{:16.1}", method.name(), generate / 1000.0, respond / 1000.0);
    }
}

fn row(name: &str, mut seal: impl FnMut(&mut [u8], u64)) {
    print!("{name:44}");
    for size in SIZES {
        let mut data = vec![0; size];
        print!("{:8.0}", time(|packet| seal(black_box(&mut data), packet)));
    }
    println!();
}

/// Gives the nanoseconds of one call: the best of several rounds, for the machine may be busy.
fn time(mut call: impl FnMut(u64)) -> f64 {
    let mut round = |calls: u64| {
        let start = Instant::now();
        (0..calls).for_each(&mut call);
        start.elapsed()
    };
    let mut calls = 1;
    while round(calls) < Duration::from_millis(5) {
        calls *= 2;
    }
    let best = (0..10).map(|_| round(calls)).min().expect("there are rounds");
    best.as_secs_f64() * 1e9 / calls as f64
}
