//! What happens to older IKE SAs between the same two identities when a new one is there, or wants to be (`unique`).

use std::time::Instant;

use wire::registry::NotifyType;

use crate::Connection;
use crate::Unique;
use crate::authentication::PeerAuthenticated;
use crate::context::{Context, Intent};
use crate::error::Error;
use crate::io::Path;
use crate::v2::contents::Contents;
use crate::v2::ike_sa::IkeSa;

/// Refuses an initiator that is connected already, where `unique` wants that: from elsewhere. From where it is connected it
/// may be that it proves anew who it is, which nothing in its messages says (RFC 7296 §2.8.3).
pub(super) fn check(
    cx: &Context,
    connection: &Connection,
    peer: &PeerAuthenticated,
    (path, request): (Path, &Contents),
) -> Result<(), Error> {
    let is_new_start = request.notify(NotifyType::INITIAL_CONTACT).is_some();
    // RFC 7619 §2.3: those who prove nothing need not be the same.
    if peer.remote().is_null() {
        return Ok(());
    }
    if connection.unique == Unique::Keep
        && !is_new_start
        && cx.is_established_elsewhere(peer.local(), peer.remote(), path.remote)
    {
        let remote = peer.remote();
        let sentence = format!("{remote} is connected already, and `unique = keep` keeps the older IKE SA");
        return Err(Error::AuthenticationFailed(sentence));
    }
    Ok(())
}

/// An IKE SA that we began at a moment is there.
pub(super) fn end_others_of_ours(cx: &mut Context, sa: &IkeSa, begun_at: Instant) {
    if sa.peer.remote().is_null() {
        return doubt_others(cx, sa);
    }
    end_others_on_uniqueness(cx, sa, begun_at);
}

/// An IKE SA that the peer began with this request is there.
pub(super) fn end_others_of_theirs(cx: &mut Context, sa: &IkeSa, request: &Contents) {
    if sa.peer.remote().is_null() {
        return doubt_others(cx, sa);
    }
    if request.notify(NotifyType::INITIAL_CONTACT).is_some() && sa.connection.unique != Unique::Never {
        end_others(cx, sa, cx.now);
    }
    end_others_on_uniqueness(cx, sa, cx.now);
}

/// RFC 7619 §2.3: whoever proves nothing may be another than those before, whatever it says; so they are asked.
fn doubt_others(cx: &mut Context, sa: &IkeSa) {
    cx.intents.push_back(Intent::DoubtOthers {
        newcomer: sa.channel.our_spi(),
        local: sa.peer.local().clone(),
        address: sa.channel.path.remote.ip(),
    });
}

/// Does what `unique` asks for. Whoever began an IKE SA spares one that the peer began meanwhile: if both ends began at
/// once and each believed its own to be the newer, they would end both.
fn end_others_on_uniqueness(cx: &mut Context, sa: &IkeSa, up_at: Instant) {
    match sa.connection.unique {
        Unique::Replace => end_others(cx, sa, up_at),
        Unique::Never | Unique::No | Unique::Keep => {}
    }
}

/// Has the other IKE SAs with this peer end that were up at a moment.
fn end_others(cx: &mut Context, sa: &IkeSa, up_at: Instant) {
    cx.intents.push_back(Intent::EndOthers {
        survivor: sa.channel.our_spi(),
        local: sa.peer.local().clone(),
        remote: sa.peer.remote().clone(),
        up_at,
    });
}
