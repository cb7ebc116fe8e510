//! ISAKMP SAs of version 1 that came up at once, one begun by each end, and those that the peer deletes although we use them.

use std::time::Instant;

use wire::isakmp::IkeSpi;

use super::{Endpoint, Sa};
use crate::event::DownReason;
use crate::nat_detection::Behind;
use crate::v1::ike_sa::{IkeSa, Life};
use crate::{Unique, limits, v1};

impl Endpoint {
    /// Tells when we delete an ISAKMP SA that was superseded: soon if that was our wish. Of twins, both ends delete one that
    /// they think superseded, and the lesser first: whoever still uses it learns so that it is to use the other.
    pub(super) fn superseded_until(
        &self,
        old: IkeSpi,
        heir: IkeSpi,
        replaced: Option<IkeSpi>,
    ) -> Option<Instant> {
        let now = self.cx.now;
        if replaced == Some(old) {
            return Some(now + limits::CONFIRMATION_WAIT);
        }
        let (Some(Sa::V1(v1::Sa::Established(old))), Some(Sa::V1(v1::Sa::Established(heir)))) =
            (self.sas.get(&old), self.sas.get(&heir))
        else {
            return None;
        };
        let name = |sa: &IkeSa| (sa.channel.spis.initiator, sa.channel.spis.responder);
        let life = if name(old) < name(heir) { limits::TWIN_LIFE } else { 2 * limits::TWIN_LIFE };
        are_twins(old, heir).then(|| now + life)
    }

    /// An ISAKMP SA is not deleted before the peer is known to have the one that took its place: our last message of phase 1 may
    /// be lost, and the peer would take its Child SAs for deleted. Of a peer that does not answer deletes nothing better is known
    /// than that it had time.
    pub(super) fn end_superseded(&mut self, old: IkeSpi, heir: IkeSpi) {
        let is_awaited = match self.sas.get(&heir) {
            Some(Sa::V1(v1::Sa::Established(heir))) => {
                heir.abilities.answered_deletes && heir.last_of_phase_1.unconfirmed.is_some()
            }
            _ => false,
        };
        if is_awaited {
            self.with_established_v1(heir, |sa, cx| sa.ask_once(cx));
        } else {
            self.with_established_v1(old, |sa, cx| sa.delete(cx, DownReason::Replaced));
        }
    }

    /// The peer deleted an ISAKMP SA that we used: what it has not named, another takes over.
    pub(super) fn take_orphans(&mut self, from: IkeSpi) {
        let Some(Sa::V1(v1::Sa::Established(old))) = self.sas.get(&from) else { return };
        let others = self.sas.values().filter_map(|sa| match sa {
            Sa::V1(v1::Sa::Established(other)) => Some(other),
            Sa::V1(_) | Sa::V2(_) => None,
        });
        let others = others.filter(|other| {
            let is_same_peer =
                other.peer.local() == old.peer.local() && other.peer.remote() == old.peer.remote();
            let is_same = is_same_peer && other.connection.name == old.connection.name;
            is_same && is_same_host(old, other) && other.channel.our_spi() != from
        });
        let heir = others.max_by_key(|other| other.established_at).map(|other| other.channel.our_spi());
        let Some(heir) = heir else {
            return self.with_established_v1(from, |sa, cx| sa.end_for_good(cx));
        };
        let mut left = None;
        self.with_established_v1(from, |sa, cx| left = Some(sa.give_up_to(cx, heir)));
        if let Some(inheritance) = left {
            self.with_established_v1(heir, |sa, cx| {
                sa.life = Life::Current;
                sa.inherit(cx, inheritance);
            });
        }
        self.with_established_v1(from, |sa, cx| sa.end_for_good(cx));
    }
}

/// Tells whether an ISAKMP SA in use and a newer one came up without knowing of each other: each end has begun one. Only a
/// peer that answers deletes has the same view of that.
pub(super) fn are_twins(old: &IkeSa, new: &IkeSa) -> bool {
    old.channel.role != new.channel.role
        && old.connection.name == new.connection.name
        && old.life != Life::Over
        && new.abilities.answered_deletes
}

/// Tells whether two ISAKMP SAs of one peer are of the same host of it. Behind a NAT an address may be many hosts': where the
/// configuration says that an identity may be several clients' (`unique = never`), their ports tell them apart.
pub(super) fn is_same_host(old: &IkeSa, new: &IkeSa) -> bool {
    let (before, now) = (old.channel.path.remote, new.channel.path.remote);
    let may_be_many = new.channel.nat.remote == Behind::Nat && new.connection.unique == Unique::Never;
    before.ip() == now.ip() && (!may_be_many || before.port() == now.port())
}
