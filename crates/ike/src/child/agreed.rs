//! What a negotiation of a Child SA comes to.

use sa::transform::Group;
use sa::{AdditionalSuite, ChildSuite, Cpi, Mode, OriginalAddresses, Spi, TrafficSelector};

use super::bundle::Wrapper;

/// What a negotiation of a Child SA agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub suite: ChildSuite,
    pub our_spi: Spi,
    pub peer_spi: Spi,
    /// AH around it: a bundle of IKEv1.
    pub wrapper: Option<Wrapper>,
    pub mode: Mode,
    pub compression: Option<Compression>,
    pub padding: Padding,
    /// The addresses that packets in transport mode had before a NAT changed them.
    pub original: Option<OriginalAddresses>,
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
    pub heritage: Heritage,
}

/// Whether a replacement may have all that a Child SA is without a word (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heritage {
    /// It may not: nobody has spoken of key exchanges of its own yet (§5.1), or its addresses are others than were agreed on.
    ToNegotiate,
    /// It may, and with these key exchanges of its own.
    Whole {
        /// The first; without one, keys come from the IKE SA's alone.
        key_exchange: Option<&'static Group>,
        /// Those after it.
        additional: AdditionalSuite,
    },
}

/// The indices of compressed packets, where both ends want them (RFC 7296 §2.22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compression {
    /// Of those towards us.
    pub ours: Cpi,
    /// Of those towards the peer.
    pub theirs: Cpi,
}

/// Whether the peer takes packets that are padded to hide their length (RFC 4303 §2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// It does.
    Taken,
    /// It said that it does not.
    Refused,
}
