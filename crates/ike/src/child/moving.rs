//! How Child SAs follow when the addresses of the two ends change (RFC 7296 §2.23, RFC 4555).

use std::collections::BTreeMap;

use sa::{AddressRange, Direction, Mode, Outer, SaOp};
use wire::isakmp::IkeSpi;

use super::{Agreed, Carriage, ChildSa, Heritage, Tenure};
use crate::ChildSaId;
use crate::context::Context;

/// Moves all Child SAs of an IKE SA to another path.
pub(crate) fn move_all(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    owner: IkeSpi,
    carriage: Carriage,
) {
    for child in children.values_mut() {
        for sa in child.sas() {
            cx.owners.remove(&sa);
        }
        child.move_to(cx, carriage);
        for sa in child.sas() {
            cx.owners.insert(sa, owner);
        }
    }
}

impl ChildSa {
    /// Moves the SAs to another path (RFC 7296 §2.23). AH protects the addresses of its packets, so what it is around has
    /// no other path.
    pub(crate) fn move_to(&mut self, cx: &mut Context, carriage: Carriage) {
        let Carriage { path, .. } = carriage;
        let encapsulation = carriage.encapsulation_of(self.inbound.protocol, self.wrapper.is_some());
        let outer = Outer { local: path.local, remote: path.remote, encapsulation };
        if self.outer == outer {
            return;
        }
        let before = std::mem::replace(&mut self.outer, outer);
        for sa in [&mut self.inbound, &mut self.outbound] {
            cx.order(SaOp::MoveSa { sa: *sa, outer: self.outer });
            sa.destination = match sa.direction {
                Direction::Inbound => path.local.ip(),
                Direction::Outbound => path.remote.ip(),
            };
        }
        if self.agreed.follow(before, outer) {
            // The SAs have the old addresses for their selectors, and get others only by being replaced.
            self.schedule.rekey_at = Some(cx.now);
            if self.tenure == Tenure::Holds {
                let spec = self.policy_spec();
                cx.order(SaOp::InstallPolicy(spec));
            }
        }
    }
}

impl Agreed {
    /// Puts the new addresses of the two ends in the place of those that they had, where transport mode carries what these
    /// say themselves; tells whether that changed anything.
    fn follow(&mut self, before: Outer, now: Outer) -> bool {
        if self.mode != Mode::Transport {
            return false;
        }
        let mut is_changed = false;
        for (selectors, before, now) in [
            (&mut self.local, before.local.ip(), now.local.ip()),
            (&mut self.remote, before.remote.ip(), now.remote.ip()),
        ] {
            let own = AddressRange::host(before);
            for selector in selectors.iter_mut().filter(|selector| selector.addresses == own && before != now)
            {
                selector.addresses = AddressRange::host(now);
                is_changed = true;
            }
        }
        if is_changed {
            self.heritage = Heritage::ToNegotiate;
        }
        is_changed
    }
}
