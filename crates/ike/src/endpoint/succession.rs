//! What becomes of older IKE SAs when another is there. An ISAKMP SA of version 1 takes over from others with the same peer:
//! version 1 replaces them whole, and its Child SAs outlive them (RFC 2409 §4). In version 2 one whose peer proves nothing
//! makes us doubt those before.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::twins::{are_twins, is_same_host};
use super::{Endpoint, Established, Sa};
use crate::io::IkeSaId;
use crate::v2::ike_sa::Task;
use crate::{Identity, Role, limits, v1, v2};

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
        let is_other = |spi: &IkeSpi| match self.sas.get(spi) {
            Some(Sa::V1(v1::Sa::Established(old))) => {
                let is_named = match replaced {
                    Some(replaced) => replaced == *spi,
                    None => new.channel.role == Role::Responder,
                };
                *spi != heir && is_same_host(old, new) && (is_named || are_twins(old, new))
            }
            _ => false,
        };
        let others = self.sas.values().filter_map(Sa::established).filter(|sa| {
            let peer = sa.peer();
            peer.local() == local && peer.remote() == remote
        });
        let others: Vec<IkeSpi> = others.map(Established::our_spi).filter(is_other).collect();
        for our_spi in others {
            let until = self.superseded_until(our_spi, heir, replaced);
            let mut left = None;
            self.with_established_v1(our_spi, |sa, cx| left = Some(sa.bequeath(cx, heir, until)));
            if let Some(inheritance) = left {
                self.with_established_v1(heir, |sa, cx| sa.inherit(cx, inheritance));
            }
        }
    }

    /// An IKE SA ends whose place another takes. If the peer is making another in the same place, it waits until the peer is known
    /// to have that one's children: our packets may go through them then.
    pub(super) fn retire(&mut self, old: IkeSaId, heir: IkeSpi, until: Instant) {
        let Some(Sa::V2(v2::Sa::Established(sa))) = self.sas.get(&heir) else { return };
        let (local, remote) = (sa.peer.local().clone(), sa.peer.remote().clone());
        let of_version_2 = |our_spi: IkeSpi| match self.sas.get(&our_spi) {
            Some(Sa::V2(v2::Sa::Established(sa))) => Some(sa),
            _ => None,
        };
        let mut others = self.cx.established_between(&local, &remote).filter_map(of_version_2);
        let is_uncertain =
            self.cx.now < until && others.any(|other| other.id() != old && sa.waits_for(other));
        drop(others);
        if is_uncertain {
            return self.with_established_v2(heir, |sa, cx| {
                // The peer waits for the same: a question in ours shows it that we have our children.
                sa.doubt(cx);
                sa.queue_later(cx, Task::Retire(old, until));
            });
        }
        let named = self.established().filter(|sa| sa.id() == old);
        for our_spi in named.map(Established::our_spi).collect::<Vec<_>>() {
            self.with_established_v2(our_spi, |sa, cx| sa.yield_to_successor(cx));
        }
        self.compare_others(&local, &remote, until);
    }

    /// Both ends may have made an IKE SA in the place of the same one: ours goes if it is the one to go.
    pub(super) fn compare_others(&mut self, local: &Identity, remote: &Identity, until: Instant) {
        let all: Vec<IkeSpi> = self.cx.established_between(local, remote).collect();
        let of_version_2 = |our_spi: &IkeSpi| match self.sas.get(our_spi) {
            Some(Sa::V2(v2::Sa::Established(sa))) => Some(&**sa),
            _ => None,
        };
        let all: Vec<&v2::ike_sa::IkeSa> = all.iter().filter_map(of_version_2).collect();
        let verdict = |ours: &&v2::ike_sa::IkeSa| {
            let rivalry = all.iter().find_map(|theirs| ours.rivalry(theirs))?;
            Some((ours.our_spi(), rivalry))
        };
        for (our_spi, rivalry) in all.iter().filter_map(verdict).collect::<Vec<_>>() {
            self.with_established_v2(our_spi, |sa, cx| sa.settle_rivalry(cx, rivalry, until));
        }
    }

    /// Somebody who proves nothing is there: the same may have had other IKE SAs before, which nothing else would end
    /// (RFC 7619 §2.3).
    pub(super) fn doubt_others(&mut self, newcomer: IkeSpi, local: &Identity, address: IpAddr) {
        let is_there = |spi: &IkeSpi| {
            self.sas.get(spi).and_then(Sa::established).is_some_and(|sa| sa.path().remote.ip() == address)
        };
        let others = self.cx.established_between(local, &Identity::Null).filter(|spi| *spi != newcomer);
        let others: Vec<IkeSpi> = others.filter(is_there).take(limits::DOUBTED_AT_ONCE).collect();
        for our_spi in others {
            self.with_established_v2(our_spi, |sa, cx| sa.doubt(cx));
        }
    }

    pub(super) fn pass_on(&mut self, from: IkeSpi, heir: IkeSpi) {
        if !matches!(self.sas.get(&heir), Some(Sa::V1(v1::Sa::Established(_)))) {
            return;
        }
        let mut left = None;
        self.with_established_v1(from, |sa, cx| left = Some(sa.leave(cx)));
        if let Some(inheritance) = left {
            self.with_established_v1(heir, |sa, cx| sa.inherit(cx, inheritance));
        }
    }
}
