//! The SAs of a row: what both ends have to be told alike.

use std::net::IpAddr;

use interop::{End, Family, Lab, Site};
use sa::{Mode, Protection, Protocol};

use crate::rows::{Layers, Row, Shape};

/// Both directions of one protocol.
pub(crate) struct Association {
    pub(crate) protocol: Protocol,
    /// AH around ESP is in transport mode: both go under one IP header.
    pub(crate) mode: Mode,
    pub(crate) protection: Protection,
    pub(crate) inbound: Direction,
    pub(crate) outbound: Direction,
}

/// One direction, as Keyway sees it.
pub(crate) struct Direction {
    pub(crate) spi: u32,
    /// Encryption key with its salt, then integrity key.
    pub(crate) key: Vec<u8>,
}

/// Where the packets of a row go.
pub(crate) struct Ends {
    pub(crate) outer: [IpAddr; 2],
    /// What the selectors say: networks of hosts, or the one address at each end.
    pub(crate) selectors: [String; 2],
    /// Who talks to whom.
    pub(crate) talkers: [IpAddr; 2],
}

/// SPIs of a row are its number and where it goes.
const INBOUND: u32 = 0x1000_0000;
const OUTBOUND: u32 = 0x2000_0000;
/// What is added for the second protocol.
const AROUND: u32 = 0x0100_0000;
/// CPIs are SPIs of 16 bits, those below 256 being taken (RFC 3173 §3.3).
pub(crate) const CPI_IN: u16 = 0x1001;
pub(crate) const CPI_OUT: u16 = 0x2001;

/// What a row is made of, from the inside out.
pub(crate) fn associations(row: &Row, number: u32) -> Vec<Association> {
    let mode = row.shape.mode;
    match row.layers {
        Layers::Esp(protection) => vec![association(Protocol::Esp, mode, protection, number)],
        Layers::Ah(mac) => vec![association(Protocol::Ah, mode, Protection::Authenticated(mac), number)],
        Layers::AhAroundEsp(mac, protection) => vec![
            association(Protocol::Esp, mode, protection, number),
            association(Protocol::Ah, Mode::Transport, Protection::Authenticated(mac), AROUND + number),
        ],
    }
}

fn association(protocol: Protocol, mode: Mode, protection: Protection, number: u32) -> Association {
    let direction = |base: u32| {
        let spi = base + number;
        Direction { spi, key: key(&protection, spi) }
    };
    Association { protocol, mode, protection, inbound: direction(INBOUND), outbound: direction(OUTBOUND) }
}

/// Octets that differ from SA to SA and within one (a linear congruential generator).
fn key(protection: &Protection, spi: u32) -> Vec<u8> {
    let mut state = spi | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(protection.key_len()).collect()
}

/// The ends of a row, Keyway's first.
pub(crate) fn ends(shape: &Shape, lab: &Lab) -> Ends {
    let sites = [&lab.a, &lab.b];
    let talker = |site: &Site| match shape.mode {
        Mode::Tunnel => site.host_address(shape.inside),
        Mode::Transport => site.outside(shape.inside),
        Mode::Beet => beet_address(site.end, shape.inside),
    };
    let selector = |site: &Site| match shape.mode {
        Mode::Tunnel => site.network(shape.inside),
        Mode::Transport | Mode::Beet => format!("{}/{}", talker(site), whole(shape.inside)),
    };
    Ends {
        outer: sites.map(|site| site.outside(shape.outside)),
        selectors: sites.map(selector),
        talkers: sites.map(talker),
    }
}

/// The address of a gateway that is known inside BEET mode's packets only.
pub(crate) fn beet_address(end: End, family: Family) -> IpAddr {
    let last = match end {
        End::A => 1,
        End::B => 2,
    };
    match family {
        Family::V4 => [10, 9, 0, last].into(),
        Family::V6 => [0xfd09, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
    }
}

/// Bits of an address.
pub(crate) fn whole(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}
