//! Diffie-Hellman modulo the safe primes of RFC 2409 and RFC 3526, and in the smaller groups of RFC 5114.

use crate::ffi::modp::ModpGroup;
use crate::key_exchange::{KeyExchange, KeyExchangePrivate};
use crate::{Error, InvalidPublicValue, Random, Secret, SystemRandom};

/// One group.
#[derive(Clone, Copy)]
pub(super) struct Modp {
    name: &'static str,
    group: ModpGroup,
    /// The length of the prime, of public values and of the secret, in octets: RFC 7296 §2.14 and §3.4 pad them.
    len: usize,
    /// The length of private values in octets. An exponent of twice the group's strength is as hard to find as a long
    /// one, ten times cheaper, and cannot leak more than its lowest bit to a bad public value, as the prime is safe.
    exponent_len: usize,
}

// RFC 3526 §8's higher estimates of an exponent's size are 240, 320, 420, 480, 540 and 620 bits; here in whole words of
// 64, and for the two groups before the same as for the third.
pub(super) const MODP_768: Modp = modp("MODP_768", ModpGroup::Bits768, 768, 256);
pub(super) const MODP_1024: Modp = modp("MODP_1024", ModpGroup::Bits1024, 1024, 256);
pub(super) const MODP_1536: Modp = modp("MODP_1536", ModpGroup::Bits1536, 1536, 256);
pub(super) const MODP_2048: Modp = modp("MODP_2048", ModpGroup::Bits2048, 2048, 320);
pub(super) const MODP_3072: Modp = modp("MODP_3072", ModpGroup::Bits3072, 3072, 448);
pub(super) const MODP_4096: Modp = modp("MODP_4096", ModpGroup::Bits4096, 4096, 512);
pub(super) const MODP_6144: Modp = modp("MODP_6144", ModpGroup::Bits6144, 6144, 576);
pub(super) const MODP_8192: Modp = modp("MODP_8192", ModpGroup::Bits8192, 8192, 640);
// The order of the generator is the strength. These primes are not safe ones, so that a bad public value may give the
// private one away: RFC 6989 §2.2 allows that where no private value serves twice, and none does.
pub(super) const MODP_1024_160: Modp = modp("MODP_1024_160", ModpGroup::Bits1024Order160, 1024, 160);
pub(super) const MODP_2048_224: Modp = modp("MODP_2048_224", ModpGroup::Bits2048Order224, 2048, 224);
pub(super) const MODP_2048_256: Modp = modp("MODP_2048_256", ModpGroup::Bits2048Order256, 2048, 256);

const fn modp(name: &'static str, group: ModpGroup, bits: usize, exponent_bits: usize) -> Modp {
    Modp { name, group, len: bits / 8, exponent_len: exponent_bits / 8 }
}

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
        self.group.prepared()?.public(exponent.as_slice(), &mut public)?;
        Ok(ModpPrivate { modp: self, exponent, public })
    }

    /// RFC 6989 §2.1 and §2.2: it is enough that 1 < y < p − 1 where the prime is safe or the private value fresh.
    fn check(self, public: &[u8]) -> Result<(), Error> {
        if public.len() != self.len {
            return Err(InvalidPublicValue::Length { expected: self.len, actual: public.len() }.into());
        }
        let mut one = vec![0; self.len];
        one[self.len - 1] = 1;
        let mut prime_minus_one = vec![0; self.len];
        self.group.prepared()?.write_prime(&mut prime_minus_one)?;
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
    modp: Modp,
    exponent: Secret<Vec<u8>>,
    public: Vec<u8>,
}

impl ModpPrivate {
    fn agree(&self, peer_public: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        self.modp.check(peer_public)?;
        let mut secret = Secret::from(vec![0; self.modp.len]);
        self.modp.group.prepared()?.power(peer_public, self.exponent.as_slice(), secret.expose_mut())?;
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

#[cfg(test)]
mod tests;
