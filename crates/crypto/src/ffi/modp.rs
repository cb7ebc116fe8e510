//! Modular exponentiation by the C library, and the groups that IKE does it in.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use aws_lc_sys as c;

use super::{Bignum, Scratch};
use crate::Error;

/// A prime and a generator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ModpGroup {
    /// RFC 2409 §6.1; the generator of this and of all that follow is 2.
    Bits768,
    /// RFC 2409 §6.2.
    Bits1024,
    /// RFC 3526 §2.
    Bits1536,
    /// RFC 3526 §3.
    Bits2048,
    /// RFC 3526 §4.
    Bits3072,
    /// RFC 3526 §5.
    Bits4096,
    /// RFC 3526 §6.
    Bits6144,
    /// RFC 3526 §7.
    Bits8192,
    /// RFC 5114 §2.1; the generator of this and of the other two makes a smaller group.
    Bits1024Order160,
    /// RFC 5114 §2.2.
    Bits2048Order224,
    /// RFC 5114 §2.3.
    Bits2048Order256,
}

impl ModpGroup {
    /// Gives the group's arithmetic, prepared once for the life of the process.
    pub(crate) fn prepared(self) -> Result<&'static Modp, Error> {
        static PREPARED: [OnceLock<Result<Modp, Error>>; 11] = [const { OnceLock::new() }; 11];
        PREPARED[self as usize].get_or_init(|| self.prepare()).as_ref().map_err(|&error| error)
    }

    fn prepare(self) -> Result<Modp, Error> {
        let parsed = |numbers: &Numbers| {
            Modp::new(Bignum::from_hexadecimal(numbers.p)?, Bignum::from_hexadecimal(numbers.g)?)
        };
        match self {
            Self::Bits768 => parsed(&numbers::BITS_768),
            Self::Bits1024 => parsed(&numbers::BITS_1024),
            Self::Bits1536 => Modp::known(c::BN_get_rfc3526_prime_1536),
            Self::Bits2048 => Modp::known(c::BN_get_rfc3526_prime_2048),
            Self::Bits3072 => Modp::known(c::BN_get_rfc3526_prime_3072),
            Self::Bits4096 => Modp::known(c::BN_get_rfc3526_prime_4096),
            Self::Bits6144 => Modp::known(c::BN_get_rfc3526_prime_6144),
            Self::Bits8192 => Modp::known(c::BN_get_rfc3526_prime_8192),
            Self::Bits1024Order160 => parsed(&numbers::BITS_1024_ORDER_160),
            Self::Bits2048Order224 => parsed(&numbers::BITS_2048_ORDER_224),
            Self::Bits2048Order256 => parsed(&numbers::BITS_2048_ORDER_256),
        }
    }
}

/// Arithmetic in one group, modulo an odd public prime.
pub(crate) struct Modp {
    prime: Bignum,
    generator: Bignum,
    montgomery: NonNull<c::BN_MONT_CTX>,
}

// SAFETY: all objects are plain memory that belongs to no thread.
unsafe impl Send for Modp {}
// SAFETY: after `new`, all objects are only read; every call brings its own BN_CTX.
unsafe impl Sync for Modp {}

impl Modp {
    /// Takes a prime of RFC 3526, which the library knows by heart.
    fn known(prime: unsafe extern "C" fn(*mut c::BIGNUM) -> *mut c::BIGNUM) -> Result<Self, Error> {
        // SAFETY: given null, these functions return a new number for the caller to free, or null.
        Self::new(Bignum::own(unsafe { prime(ptr::null_mut()) })?, Bignum::read(&[2])?)
    }

    fn new(prime: Bignum, generator: Bignum) -> Result<Self, Error> {
        let scratch = Scratch::new()?;
        // SAFETY: both pointers are live; the prime is odd.
        let montgomery = unsafe { c::BN_MONT_CTX_new_for_modulus(prime.0.as_ptr(), scratch.0.as_ptr()) };
        Ok(Self { prime, generator, montgomery: NonNull::new(montgomery).ok_or(Error::Library)? })
    }

    /// Gives the prime, big-endian and as long as `octets`.
    pub(crate) fn write_prime(&self, octets: &mut [u8]) -> Result<(), Error> {
        self.prime.write(octets)
    }

    /// Computes `generator ^ exponent mod prime`, in a time that depends on the lengths only.
    ///
    /// All numbers are big-endian; `result` is as long as the prime.
    pub(crate) fn public(&self, exponent: &[u8], result: &mut [u8]) -> Result<(), Error> {
        self.power_of(&self.generator, exponent, result)
    }

    /// Computes `base ^ exponent mod prime`, in a time that depends on the lengths only.
    ///
    /// All numbers are big-endian; `base` is less than the prime, and `result` as long as the prime.
    pub(crate) fn power(&self, base: &[u8], exponent: &[u8], result: &mut [u8]) -> Result<(), Error> {
        self.power_of(&Bignum::read(base)?, exponent, result)
    }

    fn power_of(&self, base: &Bignum, exponent: &[u8], result: &mut [u8]) -> Result<(), Error> {
        let exponent = Bignum::read(exponent)?;
        let power = Bignum::read(&[])?;
        let scratch = Scratch::new()?;
        // SAFETY: all pointers are live and distinct; the Montgomery context was made for this prime.
        let status = unsafe {
            c::BN_mod_exp_mont_consttime(
                power.0.as_ptr(),
                base.0.as_ptr(),
                exponent.0.as_ptr(),
                self.prime.0.as_ptr(),
                scratch.0.as_ptr(),
                self.montgomery.as_ptr(),
            )
        };
        if status == 1 { power.write(result) } else { Err(Error::Library) }
    }
}

impl Drop for Modp {
    fn drop(&mut self) {
        // SAFETY: the pointer came from BN_MONT_CTX_new_for_modulus and is freed once.
        unsafe { c::BN_MONT_CTX_free(self.montgomery.as_ptr()) }
    }
}

/// A group that the library does not know: prime and generator.
struct Numbers {
    p: &'static CStr,
    g: &'static CStr,
}

/// RFC 2409 §6 and RFC 5114 §2.
mod numbers {
    use super::Numbers;

    /// RFC 2409 §6.1.
    pub(super) static BITS_768: Numbers = Numbers {
        p: c"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
            EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A3620FFFFFFFFFFFFFFFF",
        g: c"2",
    };

    /// RFC 2409 §6.2.
    pub(super) static BITS_1024: Numbers = Numbers {
        p: c"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
            EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
            EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        g: c"2",
    };

    /// RFC 5114 §2.1.
    pub(super) static BITS_1024_ORDER_160: Numbers = Numbers {
        p: c"B10B8F96A080E01DDE92DE5EAE5D54EC52C99FBCFB06A3C69A6A9DCA52D23B616073E28675A23D189838EF1E2EE652C0\
            13ECB4AEA906112324975C3CD49B83BFACCBDD7D90C4BD7098488E9C219A73724EFFD6FAE5644738FAA31A4FF55BCCC0\
            A151AF5F0DC8B4BD45BF37DF365C1A65E68CFDA76D4DA708DF1FB2BC2E4A4371",
        g: c"A4D1CBD5C3FD34126765A442EFB99905F8104DD258AC507FD6406CFF14266D31266FEA1E5C41564B777E690F5504F213\
            160217B4B01B886A5E91547F9E2749F4D7FBD7D3B9A92EE1909D0D2263F80A76A6A24C087A091F531DBF0A0169B6A28A\
            D662A4D18E73AFA32D779D5918D08BC8858F4DCEF97C2A24855E6EEB22B3B2E5",
    };

    /// RFC 5114 §2.2.
    pub(super) static BITS_2048_ORDER_224: Numbers = Numbers {
        p: c"AD107E1E9123A9D0D660FAA79559C51FA20D64E5683B9FD1B54B1597B61D0A75E6FA141DF95A56DBAF9A3C407BA1DF15\
            EB3D688A309C180E1DE6B85A1274A0A66D3F8152AD6AC2129037C9EDEFDA4DF8D91E8FEF55B7394B7AD5B7D0B6C12207\
            C9F98D11ED34DBF6C6BA0B2C8BBC27BE6A00E0A0B9C49708B3BF8A317091883681286130BC8985DB1602E714415D9330\
            278273C7DE31EFDC7310F7121FD5A07415987D9ADC0A486DCDF93ACC44328387315D75E198C641A480CD86A1B9E587E8\
            BE60E69CC928B2B9C52172E413042E9B23F10B0E16E79763C9B53DCF4BA80A29E3FB73C16B8E75B97EF363E2FFA31F71\
            CF9DE5384E71B81C0AC4DFFE0C10E64F",
        g: c"AC4032EF4F2D9AE39DF30B5C8FFDAC506CDEBE7B89998CAF74866A08CFE4FFE3A6824A4E10B9A6F0DD921F01A70C4AFA\
            AB739D7700C29F52C57DB17C620A8652BE5E9001A8D66AD7C17669101999024AF4D027275AC1348BB8A762D0521BC98A\
            E247150422EA1ED409939D54DA7460CDB5F6C6B250717CBEF180EB34118E98D119529A45D6F834566E3025E316A330EF\
            BB77A86F0C1AB15B051AE3D428C8F8ACB70A8137150B8EEB10E183EDD19963DDD9E263E4770589EF6AA21E7F5F2FF381\
            B539CCE3409D13CD566AFBB48D6C019181E1BCFE94B30269EDFE72FE9B6AA4BD7B5A0F1C71CFFF4C19C418E1F6EC0179\
            81BC087F2A7065B384B890D3191F2BFA",
    };

    /// RFC 5114 §2.3.
    pub(super) static BITS_2048_ORDER_256: Numbers = Numbers {
        p: c"87A8E61DB4B6663CFFBBD19C651959998CEEF608660DD0F25D2CEED4435E3B00E00DF8F1D61957D4FAF7DF4561B2AA30\
            16C3D91134096FAA3BF4296D830E9A7C209E0C6497517ABD5A8A9D306BCF67ED91F9E6725B4758C022E0B1EF4275BF7B\
            6C5BFC11D45F9088B941F54EB1E59BB8BC39A0BF12307F5C4FDB70C581B23F76B63ACAE1CAA6B7902D52526735488A0E\
            F13C6D9A51BFA4AB3AD8347796524D8EF6A167B5A41825D967E144E5140564251CCACB83E6B486F6B3CA3F7971506026\
            C0B857F689962856DED4010ABD0BE621C3A3960A54E710C375F26375D7014103A4B54330C198AF126116D2276E11715F\
            693877FAD7EF09CADB094AE91E1A1597",
        g: c"3FB32C9B73134D0B2E77506660EDBD484CA7B18F21EF205407F4793A1A0BA12510DBC15077BE463FFF4FED4AAC0BB555\
            BE3A6C1B0C6B47B1BC3773BF7E8C6F62901228F8C28CBB18A55AE31341000A650196F931C77A57F2DDF463E5E9EC144B\
            777DE62AAAB8A8628AC376D282D6ED3864E67982428EBC831D14348F6F2F9193B5045AF2767164E1DFC967C1FB3F2E55\
            A4BD1BFFE83B9C80D052B985D182EA0ADB2A3B7313D3FE14C8484B1E052588B9B7D2BBD2DF016199ECD06E1557CD0915\
            B3353BBB64E0EC377FD028370DF92B52C7891428CDC67EB6184B523D1DB246C32F63078490F00EF8D647D148D4795451\
            5E2327CFEF98C582664B4C0F6CC41659",
    };
}
