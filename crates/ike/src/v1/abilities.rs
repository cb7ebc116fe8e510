//! What a peer says that it can do beyond RFC 2409.

use wire::v1::VendorId;

use super::contents::Contents;
use super::nat::Traversal;

/// A peer's vendor ids, as far as they matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerAbilities {
    /// How it passes NATs.
    pub(crate) traversal: Option<Traversal>,
    /// Whether it answers when asked whether it lives (RFC 3706).
    pub(crate) dead_peer_detection: bool,
    /// Whether it puts fragments together.
    pub(crate) fragmentation: bool,
    /// Whether it answers deletes: it is a Keyway, and settles collisions as `deletion` says.
    pub(crate) answered_deletes: bool,
}

impl PeerAbilities {
    /// Notes what a message announces: most do that in their first, some later.
    pub(crate) fn note(&mut self, contents: &Contents<'_>) {
        self.traversal = self.traversal.or_else(|| Traversal::choose(contents));
        self.dead_peer_detection |= contents.announces(VendorId::DeadPeerDetection);
        self.fragmentation |= contents.announces(VendorId::Fragmentation);
        self.answered_deletes |= contents.announces(VendorId::AnsweredDeletes);
    }
}
