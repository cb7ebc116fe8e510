//! What a connection may be whose ends prove nothing (RFC 7619): nobody gains by it what another has had to prove.

use super::version_1::for_children;
use crate::Selector;
use crate::child::Treatment;
use crate::connection::{Authentication, Connection, PpkNeed, PpkTerms, Resumption, Versions};
use crate::limits::PRIORITY_OF_ANYBODY;
use crate::reader::Reader;
use crate::table::child::{PRIORITY, REMOTE_TS};
use crate::table::connection::{DPD_DELAY, PPK_ID, SESSION_RESUMPTION};

/// Complains about what such a connection cannot have, and puts its traffic behind everybody else's.
pub(super) fn check(reader: &Reader<'_>, connection: &mut Connection) {
    let proves_nothing = |authentication: &Authentication| *authentication == Authentication::Null;
    let further_own = connection.further_own.iter().map(|round| &round.authentication);
    let further_peer = connection.further_peer.iter().map(|round| &round.authentication);
    let ends = [&connection.local_authentication, &connection.remote_authentication];
    if !ends.into_iter().chain(further_own).chain(further_peer).any(proves_nothing) {
        return;
    }
    if connection.versions != Versions::V2 {
        reader.section_error("NULL authentication belongs to IKEv2", "write `version = 2`");
    }
    if !connection.further_own.is_empty() || !connection.further_peer.is_empty() {
        let message = "an end that proves nothing goes with one round of authentication";
        reader.section_error(message, "write one `local` and one `remote`");
    }
    if connection.session_resumption == Resumption::Yes {
        let message = "what an end did not prove cannot be had again by a ticket";
        reader.error(&SESSION_RESUMPTION.row, message, "leave `session_resumption` out");
    }
    if let Some(PpkTerms { need: PpkNeed::Optional, .. }) = &connection.ppk {
        // RFC 8784 §5.2.3: it is all that proves anything then.
        let message = "a post-quantum pre-shared key must be mandatory for ends that prove nothing else";
        reader.error(&PPK_ID.row, message, "add `ppk_required = yes`");
    }
    if proves_nothing(&connection.remote_authentication) {
        check_anybody(reader, connection);
    }
}

/// RFC 7619 §2.5: whoever it is may only have traffic of its own, and §3.3: never that of a peer which has proven itself.
fn check_anybody(reader: &Reader<'_>, connection: &mut Connection) {
    if connection.dpd_delay.is_zero() {
        let message = "an IKE SA whose peer may be anybody stays for ever when that is gone (RFC 7619 §2.3)";
        let (place, key) = (reader.place(&DPD_DELAY.row), reader.key(DPD_DELAY.row.name));
        reader.faults.warning(place, &key, message, "leave `dpd_delay` out");
    }
    for_children(reader, connection, |section, child| {
        if !matches!(child.treatment, Treatment::Protect(_)) {
            return;
        }
        let is_own = |selector: &Selector| matches!(selector, Selector::Dynamic(..));
        if let Some(selector) = child.remote_selectors.iter().find(|selector| !is_own(selector)) {
            let message = format!(
                "a peer that may be anybody could have the traffic of others in `{selector}` (RFC 7619 §2.5)"
            );
            let help =
                "leave `remote_ts` out, so that it is the peer's own address, or one that `pools` gives it";
            section.error(&REMOTE_TS.row, message, help);
        }
        if section.has(&PRIORITY.row) {
            let message = "the traffic of a peer that may be anybody comes after all other (RFC 7619 §3.3)";
            section.error(&PRIORITY.row, message, "leave `priority` out");
        }
    });
    for child in &mut connection.children {
        child.priority = PRIORITY_OF_ANYBODY;
    }
}
