//! Elliptic curves and their keys, for ECDSA and ECDH, by the C library, which is told by their parameters of curves that
//! it does not know.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;

use aws_lc_sys as c;

use super::{Bignum, Scratch};
use crate::signature::{BadSignature, Curve};
use crate::{Error, Secret};

/// A curve over a prime field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EcCurve {
    P192,
    P224,
    P256,
    P384,
    P521,
    BrainpoolP224r1,
    BrainpoolP256r1,
    BrainpoolP384r1,
    BrainpoolP512r1,
}

impl EcCurve {
    /// Gives the length of a coordinate, and of a scalar, in octets.
    pub(crate) const fn octets(self) -> usize {
        match self {
            Self::P192 => 24,
            Self::P224 | Self::BrainpoolP224r1 => 28,
            Self::P256 | Self::BrainpoolP256r1 => 32,
            Self::P384 | Self::BrainpoolP384r1 => 48,
            Self::P521 => 66,
            Self::BrainpoolP512r1 => 64,
        }
    }
}

impl From<Curve> for EcCurve {
    fn from(curve: Curve) -> Self {
        match curve {
            Curve::P256 => Self::P256,
            Curve::P384 => Self::P384,
            Curve::P521 => Self::P521,
            Curve::BrainpoolP256r1 => Self::BrainpoolP256r1,
            Curve::BrainpoolP384r1 => Self::BrainpoolP384r1,
            Curve::BrainpoolP512r1 => Self::BrainpoolP512r1,
        }
    }
}

/// A key, private or public; a public one can neither sign nor agree on a secret.
pub(crate) struct EcKey(NonNull<c::EC_KEY>);

// SAFETY: the object is plain memory that belongs to no thread.
unsafe impl Send for EcKey {}
// SAFETY: once made, the key is only read: ECDH_compute_key, ECDSA_sign, ECDSA_verify and the getters take it as const.
unsafe impl Sync for EcKey {}

impl EcKey {
    /// Reads a public key (SEC 1 §2.3.4), and checks that it is a point of the curve.
    pub(crate) fn from_point(curve: EcCurve, octets: &[u8]) -> Result<Self, Error> {
        let group = group(curve)?;
        let point = Point::new(group)?;
        let scratch = Scratch::new()?;
        // SAFETY: all objects are live and of the same group; `octets` is readable for its length.
        let status = unsafe {
            c::EC_POINT_oct2point(
                group.0.as_ptr(),
                point.0.as_ptr(),
                octets.as_ptr(),
                octets.len(),
                scratch.0.as_ptr(),
            )
        };
        if status != 1 {
            return Err(Error::Library);
        }
        Self::empty(group)?.with_public(&point)
    }

    /// Reads a private key, a number between 0 and the curve's order, and computes the public key.
    pub(crate) fn from_scalar(curve: EcCurve, octets: &[u8]) -> Result<Self, Error> {
        let group = group(curve)?;
        let key = Self::empty(group)?;
        let scalar = Bignum::read(octets)?;
        // SAFETY: both objects are live; the library copies the number and refuses one that is out of range.
        if unsafe { c::EC_KEY_set_private_key(key.0.as_ptr(), scalar.0.as_ptr()) } != 1 {
            return Err(Error::Library);
        }
        let point = Point::new(group)?;
        let scratch = Scratch::new()?;
        // SAFETY: all objects are live and of the same group; without the second factor, the generator is multiplied.
        let status = unsafe {
            c::EC_POINT_mul(
                group.0.as_ptr(),
                point.0.as_ptr(),
                scalar.0.as_ptr(),
                ptr::null(),
                ptr::null(),
                scratch.0.as_ptr(),
            )
        };
        if status == 1 { key.with_public(&point) } else { Err(Error::Library) }
    }

    /// Makes a private key.
    pub(crate) fn generate(curve: EcCurve) -> Result<Self, Error> {
        let key = Self::empty(group(curve)?)?;
        // SAFETY: the object is live and has a group.
        if unsafe { c::EC_KEY_generate_key(key.0.as_ptr()) } == 1 { Ok(key) } else { Err(Error::Library) }
    }

    fn empty(group: &'static Group) -> Result<Self, Error> {
        // SAFETY: the function takes nothing and returns a new object or null.
        let key = NonNull::new(unsafe { c::EC_KEY_new() }).map(Self).ok_or(Error::Library)?;
        // SAFETY: both objects are live, and the key has no group yet.
        if unsafe { c::EC_KEY_set_group(key.0.as_ptr(), group.0.as_ptr()) } == 1 {
            Ok(key)
        } else {
            Err(Error::Library)
        }
    }

    fn with_public(self, point: &Point) -> Result<Self, Error> {
        // SAFETY: both objects are live and of the same group; the library copies the point and refuses infinity.
        if unsafe { c::EC_KEY_set_public_key(self.0.as_ptr(), point.0.as_ptr()) } == 1 {
            Ok(self)
        } else {
            Err(Error::Library)
        }
    }

    /// Gives the public key, uncompressed.
    pub(crate) fn point(&self, curve: EcCurve) -> Result<Vec<u8>, Error> {
        let mut octets = vec![0; 1 + 2 * curve.octets()];
        let scratch = Scratch::new()?;
        // SAFETY: the key is live and has group and point; at most `octets.len()` octets are written.
        let written = unsafe {
            c::EC_POINT_point2oct(
                c::EC_KEY_get0_group(self.0.as_ptr()),
                c::EC_KEY_get0_public_key(self.0.as_ptr()),
                c::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                octets.as_mut_ptr(),
                octets.len(),
                scratch.0.as_ptr(),
            )
        };
        if written == octets.len() { Ok(octets) } else { Err(Error::Library) }
    }

    /// Gives the private key, as many octets as a coordinate has; fails for a public key.
    pub(crate) fn scalar(&self, curve: EcCurve) -> Result<Secret<Vec<u8>>, Error> {
        let mut octets = Secret::new(vec![0; curve.octets()]);
        // SAFETY: the key is live; the number, if there is one, stays the key's own.
        let number = unsafe { c::EC_KEY_get0_private_key(self.0.as_ptr()) };
        if number.is_null() {
            return Err(Error::Library);
        }
        let room = octets.expose_mut();
        // SAFETY: the number is live; `room` is writable for its length, and the function fails if it does not fit.
        let status = unsafe { c::BN_bn2bin_padded(room.as_mut_ptr(), room.len(), number) };
        if status == 1 { Ok(octets) } else { Err(Error::Length) }
    }

    /// Agrees with the holder of another key of the same curve: gives the x coordinate of both keys' product.
    pub(crate) fn agree(&self, curve: EcCurve, peer: &EcKey) -> Result<Secret<Vec<u8>>, Error> {
        let mut secret = Secret::new(vec![0; curve.octets()]);
        let room = secret.expose_mut();
        // SAFETY: both keys are live; at most `room.len()` octets are written, and nobody is called with them.
        let written = unsafe {
            c::ECDH_compute_key(
                room.as_mut_ptr().cast(),
                room.len(),
                c::EC_KEY_get0_public_key(peer.0.as_ptr()),
                self.0.as_ptr(),
                None,
            )
        };
        if usize::try_from(written) == Ok(secret.len()) { Ok(secret) } else { Err(Error::Library) }
    }

    /// Signs a digest; the signature is an `ECDSA-Sig-Value` in DER.
    pub(crate) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        // SAFETY: the key is live and has a group.
        let mut signature = vec![0; unsafe { c::ECDSA_size(self.0.as_ptr()) }];
        let mut length = 0;
        // SAFETY: `digest` is readable for its length; at most ECDSA_size octets are written to `signature`.
        let status = unsafe {
            c::ECDSA_sign(
                0,
                digest.as_ptr(),
                digest.len(),
                signature.as_mut_ptr(),
                &mut length,
                self.0.as_ptr(),
            )
        };
        signature.truncate(length as usize);
        if status == 1 { Ok(signature) } else { Err(Error::Library) }
    }

    /// Checks a signature, an `ECDSA-Sig-Value` in strict DER, over a digest.
    pub(crate) fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        // SAFETY: both slices are readable for their lengths.
        let status = unsafe {
            c::ECDSA_verify(
                0,
                digest.as_ptr(),
                digest.len(),
                signature.as_ptr(),
                signature.len(),
                self.0.as_ptr(),
            )
        };
        if status == 1 { Ok(()) } else { Err(BadSignature) }
    }
}

impl Drop for EcKey {
    fn drop(&mut self) {
        // SAFETY: the pointer came from EC_KEY_new and is freed once.
        unsafe { c::EC_KEY_free(self.0.as_ptr()) }
    }
}

struct Point(NonNull<c::EC_POINT>);

impl Point {
    fn new(group: &Group) -> Result<Self, Error> {
        // SAFETY: the group is live; the function returns a new object or null.
        NonNull::new(unsafe { c::EC_POINT_new(group.0.as_ptr()) }).map(Self).ok_or(Error::Library)
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // SAFETY: the pointer came from EC_POINT_new and is freed once.
        unsafe { c::EC_POINT_free(self.0.as_ptr()) }
    }
}

/// A curve's arithmetic, made once for the life of the process and never freed.
struct Group(NonNull<c::EC_GROUP>);

// SAFETY: the object is plain memory that belongs to no thread.
unsafe impl Send for Group {}
// SAFETY: once its generator is set, the group is only read.
unsafe impl Sync for Group {}

fn group(curve: EcCurve) -> Result<&'static Group, Error> {
    type Prepared = LazyLock<Result<Group, Error>>;
    static P192: Prepared = LazyLock::new(|| Group::with_parameters(&parameters::P192));
    static P224: Prepared = LazyLock::new(|| Group::named(c::NID_secp224r1));
    static P256: Prepared = LazyLock::new(|| Group::named(c::NID_X9_62_prime256v1));
    static P384: Prepared = LazyLock::new(|| Group::named(c::NID_secp384r1));
    static P521: Prepared = LazyLock::new(|| Group::named(c::NID_secp521r1));
    static BRAINPOOL_P224R1: Prepared =
        LazyLock::new(|| Group::with_parameters(&parameters::BRAINPOOL_P224R1));
    static BRAINPOOL_P256R1: Prepared =
        LazyLock::new(|| Group::with_parameters(&parameters::BRAINPOOL_P256R1));
    static BRAINPOOL_P384R1: Prepared =
        LazyLock::new(|| Group::with_parameters(&parameters::BRAINPOOL_P384R1));
    static BRAINPOOL_P512R1: Prepared =
        LazyLock::new(|| Group::with_parameters(&parameters::BRAINPOOL_P512R1));
    let prepared = match curve {
        EcCurve::P192 => &P192,
        EcCurve::P224 => &P224,
        EcCurve::P256 => &P256,
        EcCurve::P384 => &P384,
        EcCurve::P521 => &P521,
        EcCurve::BrainpoolP224r1 => &BRAINPOOL_P224R1,
        EcCurve::BrainpoolP256r1 => &BRAINPOOL_P256R1,
        EcCurve::BrainpoolP384r1 => &BRAINPOOL_P384R1,
        EcCurve::BrainpoolP512r1 => &BRAINPOOL_P512R1,
    };
    prepared.as_ref().map_err(|&error| error)
}

impl Group {
    fn own(group: *mut c::EC_GROUP) -> Result<Self, Error> {
        NonNull::new(group).map(Self).ok_or(Error::Library)
    }

    fn named(name: std::ffi::c_int) -> Result<Self, Error> {
        // SAFETY: the function returns a static object, or null for a name that it does not know.
        Self::own(unsafe { c::EC_GROUP_new_by_curve_name(name) })
    }

    fn with_parameters(curve: &Parameters) -> Result<Self, Error> {
        let number = Bignum::from_hexadecimal;
        let (p, a, b) = (number(curve.p)?, number(curve.a)?, number(curve.b)?);
        let (x, y, order) = (number(curve.x)?, number(curve.y)?, number(curve.q)?);
        let cofactor = Bignum::read(&[1])?;
        let scratch = Scratch::new()?;
        // SAFETY: all numbers are live; the function copies them and returns a new object or null.
        let group = Self::own(unsafe {
            c::EC_GROUP_new_curve_GFp(p.0.as_ptr(), a.0.as_ptr(), b.0.as_ptr(), scratch.0.as_ptr())
        })?;
        let generator = Point::new(&group)?;
        // SAFETY: all objects are live and of the same group, which nobody else knows yet; the library copies what it
        // is given, and refuses a point that is not on the curve.
        let status = unsafe {
            c::EC_POINT_set_affine_coordinates_GFp(
                group.0.as_ptr(),
                generator.0.as_ptr(),
                x.0.as_ptr(),
                y.0.as_ptr(),
                scratch.0.as_ptr(),
            ) & c::EC_GROUP_set_generator(
                group.0.as_ptr(),
                generator.0.as_ptr(),
                order.0.as_ptr(),
                cofactor.0.as_ptr(),
            )
        };
        if status == 1 { Ok(group) } else { Err(Error::Library) }
    }
}

/// A curve over a prime field, in the letters of RFC 5639 §3: y² = x³ + ax + b over p, generator (x, y) of order q.
struct Parameters {
    p: &'static CStr,
    a: &'static CStr,
    b: &'static CStr,
    x: &'static CStr,
    y: &'static CStr,
    q: &'static CStr,
}

/// RFC 5114 §2.4 and RFC 5639 §3.
mod parameters {
    use super::Parameters;

    /// RFC 5114 §2.4.
    pub(super) static P192: Parameters = Parameters {
        p: c"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFFFFFFFFFF",
        a: c"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFFFFFFFFFC",
        b: c"64210519E59C80E70FA7E9AB72243049FEB8DEECC146B9B1",
        x: c"188DA80EB03090F67CBF20EB43A18800F4FF0AFD82FF1012",
        y: c"07192B95FFC8DA78631011ED6B24CDD573F977A11E794811",
        q: c"FFFFFFFFFFFFFFFFFFFFFFFF99DEF836146BC9B1B4D22831",
    };

    /// RFC 5639 §3.3.
    pub(super) static BRAINPOOL_P224R1: Parameters = Parameters {
        p: c"D7C134AA264366862A18302575D1D787B09F075797DA89F57EC8C0FF",
        a: c"68A5E62CA9CE6C1C299803A6C1530B514E182AD8B0042A59CAD29F43",
        b: c"2580F63CCFE44138870713B1A92369E33E2135D266DBB372386C400B",
        x: c"0D9029AD2C7E5CF4340823B2A87DC68C9E4CE3174C1E6EFDEE12C07D",
        y: c"58AA56F772C0726F24C6B89E4ECDAC24354B9E99CAA3F6D3761402CD",
        q: c"D7C134AA264366862A18302575D0FB98D116BC4B6DDEBCA3A5A7939F",
    };

    /// RFC 5639 §3.4.
    pub(super) static BRAINPOOL_P256R1: Parameters = Parameters {
        p: c"A9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377",
        a: c"7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9",
        b: c"26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6",
        x: c"8BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262",
        y: c"547EF835C3DAC4FD97F8461A14611DC9C27745132DED8E545C1D54C72F046997",
        q: c"A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7",
    };

    /// RFC 5639 §3.6.
    pub(super) static BRAINPOOL_P384R1: Parameters = Parameters {
        p: c"8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B412B1DA197FB71123ACD3A729901D1A71874700133107EC53",
        a: c"7BC382C63D8C150C3C72080ACE05AFA0C2BEA28E4FB22787139165EFBA91F90F8AA5814A503AD4EB04A8C7DD22CE2826",
        b: c"04A8C7DD22CE28268B39B55416F0447C2FB77DE107DCD2A62E880EA53EEB62D57CB4390295DBC9943AB78696FA504C11",
        x: c"1D1C64F068CF45FFA2A63A81B7C13F6B8847A3E77EF14FE3DB7FCAFE0CBD10E8E826E03436D646AAEF87B2E247D4AF1E",
        y: c"8ABE1D7520F9C2A45CB1EB8E95CFD55262B70B29FEEC5864E19C054FF99129280E4646217791811142820341263C5315",
        q: c"8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B31F166E6CAC0425A7CF3AB6AF6B7FC3103B883202E9046565",
    };

    /// RFC 5639 §3.7.
    pub(super) static BRAINPOOL_P512R1: Parameters = Parameters {
        p: c"AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA703308717D4D9B009BC66842AECDA12AE6A380E6\
             2881FF2F2D82C68528AA6056583A48F3",
        a: c"7830A3318B603B89E2327145AC234CC594CBDD8D3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B5\
             7F1117A72BF2C7B9E7C1AC4D77FC94CA",
        b: c"3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B57F1117A72BF2C7B9E7C1AC4D77FC94CADC083E67\
             984050B75EBAE5DD2809BD638016F723",
        x: c"81AEE4BDD82ED9645A21322E9C4C6A9385ED9F70B5D916C1B43B62EEF4D0098EFF3B1F78E2D0D48D50D1687B93B97D5F\
             7C6D5047406A5E688B352209BCB9F822",
        y: c"7DDE385D566332ECC0EABFA9CF7822FDF209F70024A57B1AA000C55B881F8111B2DCDE494A5F485E5BCA4BD88A2763AE\
             D1CA2B2FA8F0540678CD1E0F3AD80892",
        q: c"AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA70330870553E5C414CA92619418661197FAC1047\
             1DB1D381085DDADDB58796829CA90069",
    };
}
