//! How a Child SA goes: at once, or after another carries its traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use sa::{PolicyId, SaOp};

use super::{ChildSa, Sending, Tenure};
use crate::ChildSaId;
use crate::context::Context;

/// Takes a Child SA away, and its policy with it unless another holds that; gives it if it was the holder.
pub(crate) fn take_away(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    id: ChildSaId,
) -> Option<ChildSa> {
    let child = children.remove(&id)?;
    for sa in child.sas() {
        cx.owners.remove(&sa);
    }
    match child.tenure {
        Tenure::Holds => {
            child.remove(cx);
            Some(child)
        }
        Tenure::Aside => {
            // One that does not carry our packets says nothing of whether the peer knows the holder.
            if child.sending == Sending::Yes {
                send_through_holder(cx, children, child.policy);
            }
            child.remove_replaced(cx);
            None
        }
    }
}

/// The same for one whose traffic another Child SA carries: packets that come late are opened for a while.
pub(crate) fn retire(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    id: ChildSaId,
    linger: Duration,
) -> Option<ChildSa> {
    let child = children.remove(&id)?;
    for sa in child.sas() {
        cx.owners.remove(&sa);
    }
    let is_holder = child.tenure == Tenure::Holds;
    if is_holder {
        cx.order(SaOp::RemovePolicy(child.policy));
    } else if child.sending == Sending::Yes {
        send_through_holder(cx, children, child.policy);
    }
    child.remove_outbound(cx);
    for sa in child.inbound_sas() {
        cx.linger_for(sa, linger);
    }
    is_holder.then_some(child)
}

/// Lets our packets go through the Child SA that holds a policy: the peer knows it.
pub(crate) fn send_through_holder(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    policy: PolicyId,
) {
    for child in children.values_mut().filter(|child| child.policy == policy) {
        match child.tenure {
            Tenure::Holds => child.start_sending(cx),
            Tenure::Aside => child.stop_sending(),
        }
    }
}
