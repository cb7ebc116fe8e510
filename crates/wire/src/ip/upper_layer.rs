//! Where a packet's transport header is.

/// What a packet carries, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// The IP protocol. Of a later fragment of an IPv6 packet it is what follows the fragment header
    /// in the first one, which may be an extension header.
    pub protocol: u8,
    /// Octets from the packet's beginning to the transport header or, in a later fragment, to the
    /// fragment's part of the packet.
    pub offset: usize,
    /// Whether this is a fragment.
    pub fragment: Fragment,
}

/// Which part of a packet a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first part, with the transport header.
    First,
    /// Another part, without it.
    Later,
}

impl Fragment {
    /// From the two fields that both versions of IP have: the offset in units of eight octets, and
    /// whether more fragments follow.
    pub(super) const fn new(offset: u16, more: bool) -> Fragment {
        match (offset, more) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }
}
