//! The IP headers around and inside IPsec packets.

pub mod protocol;
