//! Quick crash detection (RFC 6290): an end that has lost an IKE SA proves it by a token that it gave while it had it.
//!
//! ```text
//!   while both have the IKE SA
//!   HDR, SK { IDi, …, AUTH, N(QCD_TOKEN), SAi2, … }   -->                      each end gives its own in IKE_AUTH
//!                                                     <--   HDR, SK { IDr, …, AUTH, N(QCD_TOKEN), SAr2, … }
//!   HDR, SK { N(QCD_TOKEN) }                          -->                      and, of a new IKE SA, soon after a rekeying
//!                                                     <--   HDR, SK { }
//!
//!   when the responder has lost it
//!   HDR, SK { … }                                     -->
//!                                                     <--   HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)     in the clear
//!   the token is the one that the responder gave: the IKE SA and its Child SAs are gone at once
//! ```
//!
//! A token is made of a secret that outlives the end's memory and of both SPIs, so that it need not be remembered. In the
//! clear it is given for an IKE SA only that is not here, and not about to be (§9.2): whoever sees it can end the IKE SA.

use std::time::{Duration, Instant};

use crypto::{Secret, constant_time_eq};
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::NotifyType;
use wire::v2::{Datagram, HeaderFields, Notify, Payload, encode_clear};

use super::contents::Contents;
use super::ike_sa::IkeSa;
use super::keys::IkeSpis;
use crate::context::Context;
use crate::io::Path;
use crate::limits;

// --- Whoever may crash ---------------------------------------------------------------------------------------------

/// Gives our token of an IKE SA, if we have a secret that makes them.
pub(crate) fn own_token(cx: &Context, spis: IkeSpis) -> Option<Payload> {
    let secret = cx.settings.crash_secret.as_ref()?;
    Some(Payload::Notify(Notify::new(NotifyType::QUICK_CRASH_DETECTION, token(secret, spis))))
}

/// RFC 6290 §5.1: TOKEN_SECRET_DATA = HASH(QCD_SECRET | SPI-I | SPI-R), here keyed.
fn token(secret: &Secret<Vec<u8>>, spis: IkeSpis) -> Vec<u8> {
    let parts = [&b"QCD"[..], &spis.initiator.to_octets(), &spis.responder.to_octets()];
    let mac = crypto::prf::HMAC_SHA2_256.compute(secret.as_slice(), &parts);
    mac.as_slice().iter().take(TOKEN_LEN).copied().collect()
}

/// The shortest token that there may be, so that the answer is hardly longer than what it answers.
const TOKEN_LEN: usize = 16;

/// How many requests of unknown IKE SAs have been answered in the second that is running.
#[derive(Debug)]
pub(crate) struct Answers {
    since: Instant,
    given: u32,
}

impl Answers {
    pub(crate) fn new(now: Instant) -> Answers {
        Answers { since: now, given: 0 }
    }

    /// Counts an answer, if there may be one (RFC 7296 §2.21.4: such messages are rate limited).
    fn may_give(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Answers::new(now);
        }
        let may = self.given < limits::LOST_SA_ANSWERS_PER_SECOND;
        self.given += u32::from(may);
        may
    }
}

/// Answers a request of an IKE SA that is not here; `is_coming` tells whether an SPI of ours is about to be in use.
// <-- HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)
pub(crate) fn answer_for_lost(
    cx: &mut Context,
    answers: &mut Answers,
    path: Path,
    datagram: &Datagram<'_>,
    is_coming: impl FnOnce(IkeSpi) -> bool,
) {
    let header = &datagram.header;
    let spis = IkeSpis { initiator: header.initiator_spi, responder: header.responder_spi };
    let is_protected_request = !header.flags.is_response() && datagram.encrypted.is_some();
    if !is_protected_request || spis.initiator.is_zero() || spis.responder.is_zero() {
        return;
    }
    let Some(token) = own_token(cx, spis) else { return };
    let our_spi = if header.flags.from_initiator() { spis.responder } else { spis.initiator };
    if !answers.may_give(cx.now) || is_coming(our_spi) {
        return;
    }
    // RFC 7296 §1.5: SPIs, message id and exchange type are copied from the request.
    let role = if header.flags.from_initiator() { Flags::NONE } else { Flags::INITIATOR };
    let fields = HeaderFields { flags: Flags::RESPONSE.with(role), ..HeaderFields::from(header) };
    let lost = Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, []));
    if let Ok(bytes) = encode_clear(&fields, &[lost, token]) {
        cx.transmit(path, &[bytes]);
    }
}

// --- Whoever finds out ---------------------------------------------------------------------------------------------

/// Keeps the token that a protected message of the peer brings; a later one takes the place of an earlier one (§4.4).
pub(crate) fn keep_token(sa: &mut IkeSa, contents: &Contents) {
    let given = contents.notify(NotifyType::QUICK_CRASH_DETECTION);
    if let Some(notify) = given.filter(|notify| TOKEN_LENGTHS.contains(&notify.data.len())) {
        sa.crash_token = Some(notify.data.clone());
    }
}

/// RFC 6290 §5.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// Tells whether a message in the clear proves that the peer has lost an IKE SA.
pub(crate) fn proves_loss(sa: &IkeSa, datagram: &Datagram<'_>) -> bool {
    let Some(known) = &sa.crash_token else { return false };
    if datagram.encrypted.is_some() || !datagram.header.flags.is_response() {
        return false;
    }
    let notifies = datagram.payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify),
        _ => None,
    });
    // RFC 6290 §4.5: at least four are looked at.
    let mut tokens =
        notifies.filter(|notify| notify.notify_type == NotifyType::QUICK_CRASH_DETECTION).take(4);
    tokens.any(|notify| constant_time_eq(&notify.data, known))
}
