//! What an ISAKMP SA of version 1 takes over from others with the same peer: version 1 replaces them whole, and its Child SAs
//! outlive them (RFC 2409 §4).

use wire::isakmp::IkeSpi;

use super::{Endpoint, Established, Sa};
use crate::{Identity, Role, limits, v1};

impl Endpoint {
    /// An ISAKMP SA of version 1 takes over what others with the same peer have: the one whose place it was made to
    /// take, or all if the peer began it, for that one's wish is then not known.
    pub(super) fn supersede(
        &mut self,
        heir: IkeSpi,
        local: &Identity,
        remote: &Identity,
        replaced: Option<IkeSpi>,
    ) {
        let Some(Sa::V1(v1::Sa::Established(new))) = self.sas.get(&heir) else { return };
        let (address, role) = (new.channel.path.remote.ip(), new.channel.role);
        let is_other = |spi: &IkeSpi| match self.sas.get(spi) {
            Some(Sa::V1(v1::Sa::Established(old))) => {
                let is_named = replaced.map_or(role == Role::Responder, |replaced| replaced == *spi);
                is_named && *spi != heir && old.channel.path.remote.ip() == address
            }
            _ => false,
        };
        let others = self.sas.values().filter_map(Sa::established).filter(|sa| {
            let peer = sa.peer();
            peer.local() == local && peer.remote() == remote
        });
        let others: Vec<IkeSpi> = others.map(Established::our_spi).filter(is_other).collect();
        let until = replaced.map(|_| self.cx.now + limits::CONFIRMATION_WAIT);
        for our_spi in others {
            let mut left = None;
            self.with_established_v1(our_spi, |sa, _| left = Some(sa.bequeath(heir, until)));
            if let Some(inheritance) = left {
                self.with_established_v1(heir, |sa, cx| sa.inherit(cx, inheritance));
            }
        }
    }

    pub(super) fn pass_on(&mut self, from: IkeSpi, heir: IkeSpi) {
        if !matches!(self.sas.get(&heir), Some(Sa::V1(v1::Sa::Established(_)))) {
            return;
        }
        let mut left = None;
        self.with_established_v1(from, |sa, _| left = Some(sa.leave()));
        if let Some(inheritance) = left {
            self.with_established_v1(heir, |sa, cx| sa.inherit(cx, inheritance));
        }
    }
}
