//! Explicit congestion notification (RFC 3168 §5).

/// The two low bits of the type of service or traffic class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The sender does not take part.
    NotCapable,
    /// The sender takes part: ECT(1).
    Capable1,
    /// The sender takes part: ECT(0).
    Capable0,
    /// A router on the way was congested.
    CongestionExperienced,
}

impl Ecn {
    /// Reads the two low bits of `octet`.
    pub const fn from_bits(octet: u8) -> Ecn {
        match octet & 0b11 {
            0b00 => Ecn::NotCapable,
            0b01 => Ecn::Capable1,
            0b10 => Ecn::Capable0,
            _ => Ecn::CongestionExperienced,
        }
    }

    /// The two bits.
    pub const fn to_bits(self) -> u8 {
        match self {
            Ecn::NotCapable => 0b00,
            Ecn::Capable1 => 0b01,
            Ecn::Capable0 => 0b10,
            Ecn::CongestionExperienced => 0b11,
        }
    }
}

/// Six bits of DSCP and two of ECN in the octet that both IP versions have for them.
pub(super) const fn traffic_class(dscp: u8, ecn: Ecn) -> u8 {
    dscp << 2 | ecn.to_bits()
}
