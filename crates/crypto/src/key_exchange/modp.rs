//! Diffie-Hellman modulo the safe primes of RFC 3526, with generator 2.

use crate::ffi::ModpPrime;
use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Random, Secret, SystemRandom};

/// One group.
#[derive(Clone, Copy)]
pub(super) struct Modp {
    name: &'static str,
    prime: ModpPrime,
    /// The length of the prime, of public values and of the secret, in octets: RFC 7296 §2.14 and §3.4 pad them.
    len: usize,
    /// The length of private values in octets. An exponent of twice the group's strength is as hard to find as a long
    /// one, ten times cheaper, and cannot leak more than its lowest bit to a bad public value, as the prime is safe.
    exponent_len: usize,
}

// RFC 3526 §8's higher estimates of an exponent's size are 320, 420 and 480 bits; here in whole words of 64.
pub(super) const MODP_2048: Modp =
    Modp { name: "MODP_2048", prime: ModpPrime::Bits2048, len: 256, exponent_len: 40 };
pub(super) const MODP_3072: Modp =
    Modp { name: "MODP_3072", prime: ModpPrime::Bits3072, len: 384, exponent_len: 56 };
pub(super) const MODP_4096: Modp =
    Modp { name: "MODP_4096", prime: ModpPrime::Bits4096, len: 512, exponent_len: 64 };

impl KeyExchange for Modp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn public_len(&self) -> usize {
        self.len
    }

    fn generate(&self) -> Result<Box<dyn KeyExchangePrivate>, Error> {
        Ok(Box::new(self.private(self.random_exponent())?))
    }

    fn respond(&self, peer_public: &[u8]) -> Result<(Vec<u8>, Secret<Vec<u8>>), Error> {
        self.check(peer_public)?;
        let private = self.private(self.random_exponent())?;
        let secret = private.agree(peer_public)?;
        Ok((private.public, secret))
    }
}

impl Modp {
    fn random_exponent(self) -> Secret<Vec<u8>> {
        let mut exponent = Secret::from(vec![0; self.exponent_len]);
        SystemRandom.fill(exponent.expose_mut());
        exponent
    }

    fn private(self, exponent: Secret<Vec<u8>>) -> Result<ModpPrivate, Error> {
        let mut public = vec![0; self.len];
        self.prime.modulus()?.power(&[GENERATOR], exponent.as_slice(), &mut public)?;
        Ok(ModpPrivate { group: self, exponent, public })
    }

    /// RFC 6989 §2.1: for a safe prime it is enough that 1 < y < p − 1.
    fn check(self, public: &[u8]) -> Result<(), Error> {
        if public.len() != self.len {
            return Err(InvalidPublicValue::Length { expected: self.len, actual: public.len() }.into());
        }
        let mut one = vec![0; self.len];
        one[self.len - 1] = 1;
        let mut prime_minus_one = vec![0; self.len];
        self.prime.modulus()?.write_prime(&mut prime_minus_one)?;
        // The prime is odd, so this borrows from no other octet.
        prime_minus_one[self.len - 1] -= 1;
        // Big-endian octets of one length order as the numbers do.
        if *one < *public && *public < *prime_minus_one {
            Ok(())
        } else {
            Err(InvalidPublicValue::OutOfRange.into())
        }
    }
}

struct ModpPrivate {
    group: Modp,
    exponent: Secret<Vec<u8>>,
    public: Vec<u8>,
}

impl ModpPrivate {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.group.check(peer_public)?;
        let mut secret = Secret::from(vec![0; self.group.len]);
        self.group.prime.modulus()?.power(peer_public, self.exponent.as_slice(), secret.expose_mut())?;
        Ok(secret)
    }
}

impl KeyExchangePrivate for ModpPrivate {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn finish(self: Box<Self>, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.agree(peer_public)
    }
}

const GENERATOR: u8 = 2;

#[cfg(test)]
mod tests;
