//! SAs whose keys are configured: the words for what a section of `manual` may say. How it is read is in
//! [`read::manual_keying`](crate::read).

use std::net::IpAddr;

use crypto::Secret;
use sa::{Cpi, Encapsulation, Esn, Mode, Protection, Spi, TrafficSelector};
use vici::Span;

use crate::handling::{Handling, number};
use crate::interface::Interface;
use crate::schema::Shape;
use crate::secret::{base64, hexadecimal};
use crate::value::{Unreadable, choice, yes_or_no};

/// A pair of SAs without IKE, or two pairs of which the one with AH carries the one with ESP. Every default is in place.
#[derive(Clone, Debug)]
pub struct ManualSa {
    /// Its name, unique in the configuration.
    pub name: String,
    /// Our outer address.
    pub local_address: IpAddr,
    /// The peer's outer address.
    pub remote_address: IpAddr,
    /// The UDP port of the peer, with UDP encapsulation.
    pub remote_port: u16,
    /// How packets are wrapped.
    pub mode: Mode,
    /// What carries the protected packets.
    pub encapsulation: Encapsulation,
    /// Our traffic; never empty.
    pub local_selectors: Vec<TrafficSelector>,
    /// The peer's traffic; never empty.
    pub remote_selectors: Vec<TrafficSelector>,
    /// How ESP protects, if it does.
    pub esp: Option<ManualKeys>,
    /// How AH protects, if it does; with ESP it goes around it (RFC 4301 §4.1).
    pub ah: Option<ManualKeys>,
    /// The indices of IPComp, if packets are compressed (RFC 3173).
    pub compression: Option<BothWays<Cpi>>,
    /// Anti-replay window in packets; 0 is none.
    pub replay_window: u32,
    /// Priority of its policy: the lowest number wins; 0 lets the size of the selectors decide.
    pub priority: u32,
    /// Whatever is not cryptography.
    pub handling: Handling,
    /// The device that its traffic is routed to, if it has one of its own.
    pub interface: Option<Interface>,
    /// Where its name stands.
    pub span: Span,
}

impl ManualSa {
    /// What is dangerous about each of them, as the end of a sentence that begins with its name (RFC 8221 §3, RFC 4303 §5).
    pub const DANGER: &str = "has keys that nobody renews: whoever learns one reads all that was ever sent under it, and a \
                              packet that is sent again is taken again";

    /// Tells whether loading `other` in its place would change nothing; where it stands does not count.
    pub fn is_same(&self, other: &ManualSa) -> bool {
        let same_keys = |ours: &Option<ManualKeys>, theirs: &Option<ManualKeys>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => ours.is_same(theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.name == other.name
            && self.local_address == other.local_address
            && self.remote_address == other.remote_address
            && self.remote_port == other.remote_port
            && self.mode == other.mode
            && self.encapsulation == other.encapsulation
            && self.local_selectors == other.local_selectors
            && self.remote_selectors == other.remote_selectors
            && same_keys(&self.esp, &other.esp)
            && same_keys(&self.ah, &other.ah)
            && self.compression == other.compression
            && self.replay_window == other.replay_window
            && self.priority == other.priority
            && self.handling == other.handling
            && self.interface == other.interface
    }
}

/// Algorithms, SPIs and keys of one protocol.
#[derive(Clone, Debug)]
pub struct ManualKeys {
    /// The algorithms.
    pub protection: Protection,
    /// Width of the sequence number.
    pub esn: Esn,
    /// The SPIs.
    pub spi: BothWays<Spi>,
    /// The keys: encryption (with its salt), then integrity.
    pub key: BothWays<Secret<Vec<u8>>>,
}

impl ManualKeys {
    fn is_same(&self, other: &ManualKeys) -> bool {
        let same_key = |ours: &Secret<Vec<u8>>, theirs: &Secret<Vec<u8>>| ours.ct_eq(theirs.as_slice());
        self.protection == other.protection
            && self.esn == other.esn
            && self.spi == other.spi
            && same_key(&self.key.inbound, &other.key.inbound)
            && same_key(&self.key.outbound, &other.key.outbound)
    }
}

/// One of a kind for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BothWays<T> {
    /// Towards us.
    pub inbound: T,
    /// Towards the peer.
    pub outbound: T,
}

pub(crate) const OWN_ADDRESS: Shape<IpAddr> = Shape {
    words: "address",
    read: |text| text.parse().map_err(|_| Unreadable::new(format!("`{text}` is not an address"), "")),
};

pub(crate) const PLAIN_MODE: Shape<Mode> = Shape {
    words: "tunnel, transport or beet",
    read: |text| {
        choice(text, &[("tunnel", Mode::Tunnel), ("transport", Mode::Transport), ("beet", Mode::Beet)])
    },
};

pub(crate) const IN_UDP: Shape<Encapsulation> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, Encapsulation::Udp, Encapsulation::None) };

/// RFC 4303 §2.1: those below 256 are IANA's.
pub(crate) const SPI: Shape<Spi> = Shape {
    words: "SPI",
    read: |text| match number(text).map(Spi) {
        Some(spi) if spi >= Spi::LOWEST => Ok(spi),
        _ => Err(Unreadable::new(
            format!("`{text}` is not an SPI from {} to 0xffffffff", Spi::LOWEST.0),
            "write a number such as 0x1001; the peer has the same the other way round",
        )),
    },
};

/// RFC 3173 §3.3: 0 to 63 are algorithms by their own names, of which DEFLATE is 2; 64 to 255 are reserved.
pub(crate) const CPI: Shape<Cpi> = Shape {
    words: "CPI",
    read: |text| match number(text).map(u16::try_from) {
        Some(Ok(index)) if index == DEFLATE || index >= 256 => Ok(Cpi(index)),
        _ => Err(Unreadable::new(
            format!("`{text}` is neither {DEFLATE}, which is DEFLATE, nor a CPI from 256 to 65535"),
            "",
        )),
    },
};

/// DEFLATE by its own name (RFC 2394 §3).
const DEFLATE: u16 = 2;

/// A key is octets, and no complaint repeats it.
pub(crate) const KEY: Shape<Secret<Vec<u8>>> = Shape {
    words: "0x and hexadecimal digits, or 0s and base64",
    read: |text| {
        let octets = match (text.strip_prefix("0x"), text.strip_prefix("0s")) {
            // An odd number of digits is a digit that was lost.
            (Some(digits), _) if digits.len() % 2 == 0 => hexadecimal(digits),
            (_, Some(encoded)) => base64(encoded),
            _ => None,
        };
        octets.filter(|octets| !octets.is_empty()).map(Secret::from).ok_or_else(|| {
            Unreadable::new(
                "the key is neither 0x and pairs of hexadecimal digits nor 0s and base64",
                "`openssl rand -hex 32` makes 32 octets",
            )
        })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_within_their_bounds() {
        assert_eq!((SPI.read)("0x1001"), Ok(Spi(0x1001)));
        assert_eq!((SPI.read)("256"), Ok(Spi(256)));
        assert_eq!((CPI.read)("2"), Ok(Cpi(2)));
        assert_eq!((CPI.read)("0xffff"), Ok(Cpi(0xffff)));
        for text in ["0xff", "0x100000000", "-1", "x"] {
            assert!((SPI.read)(text).is_err(), "{text}");
        }
        for text in ["3", "255", "65536"] {
            assert!((CPI.read)(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_octets_and_is_not_repeated() {
        assert!((KEY.read)("0x00ff").expect("valid").ct_eq(&[0, 255]));
        assert!((KEY.read)("0sAP8=").expect("valid").ct_eq(&[0, 255]));
        for text in ["0x", "0s", "0xabc", "swordfish", "0xswordfish"] {
            let complaint = (KEY.read)(text).expect_err("faulty");
            assert!(!complaint.message.contains("abc") && !complaint.message.contains("fish"));
        }
    }
}
