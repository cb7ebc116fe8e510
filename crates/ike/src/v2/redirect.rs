//! Redirection: a gateway sends a client to another one (RFC 5685).
//!
//! ```text
//!   Client                                                Gateway
//!   HDR(A,0), SAi1, KEi, Ni, N(REDIRECT_SUPPORTED)  -->
//!                                                   <--   HDR(A,0), N(REDIRECT, gateway, Ni)           §3: at once
//!
//!   HDR(A,B), SK { IDi, AUTH, SAi2, TSi, TSr }      -->
//!                                                   <--   HDR(A,B), SK { IDr, AUTH, N(REDIRECT, gateway) }   §6: by identity
//!   HDR(A,B), SK { D(IKE) }                         -->
//!
//!                                                   <--   HDR(A,B), SK { N(REDIRECT, gateway) }        §5: at any time
//!   HDR(A,B), SK { }                                -->
//!   HDR(A,B), SK { D(IKE) }                         -->
//!
//!   and to the other gateway:
//!   HDR(C,0), SAi1, KEi, Ni, N(REDIRECTED_FROM, address)  -->
//! ```
//!
//! The connection stays the same: whoever is to be talked to must prove to be whom it names. Who is sent from gateway to
//! gateway gives up (§7).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::Version;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{GatewayName, Notify, Payload};

use super::contents::Contents;
use super::ike_sa::{Active, IkeSa, Request, Task};
use crate::context::{Context, Initiation, Intent};
use crate::error::Error;
use crate::event::DownReason;
use crate::io::{Path, Ticket};
use crate::{Failure, limits};

/// Where an initiation of ours was sent, and how it came to that.
#[derive(Clone, Debug)]
pub(crate) struct Redirection {
    /// The gateway to go to.
    pub to: GatewayName,
    /// The gateway that said so.
    pub from: IpAddr,
    /// When we were sent anywhere, of late.
    history: VecDeque<Instant>,
}

/// Who follows redirections in an IKE SA: whoever began the first of its line and said so.
#[derive(Clone, Debug)]
pub(crate) enum Following {
    /// We do; and this is how we came here.
    We(Option<Box<Redirection>>),
    /// The peer does.
    Peer,
    /// Nobody.
    Nobody,
}

// --- Client --------------------------------------------------------------------------------------------------------

/// N(REDIRECT_SUPPORTED), or N(REDIRECTED_FROM) which says that as well (§3).
pub(crate) fn announcement(initiation: &Initiation) -> Payload {
    Payload::Notify(match &initiation.redirection {
        Some(redirection) => Notify::redirected_from(redirection.from),
        None => Notify::new(NotifyType::REDIRECT_SUPPORTED, []),
    })
}

/// Reads in a response of IKE_SA_INIT where to go instead; only if it shows that its sender has seen our request.
pub(crate) fn told_before_keys(contents: &Contents, nonce: &[u8]) -> Option<GatewayName> {
    let (to, shown) = contents.notify(NotifyType::REDIRECT)?.redirection()?;
    (shown == nonce).then_some(to)
}

/// Reads in a protected message where to go instead.
pub(crate) fn told(contents: &Contents) -> Option<GatewayName> {
    contents.notify(NotifyType::REDIRECT)?.redirection().map(|(to, _)| to)
}

/// Begins anew with another gateway, unless we have been sent about too often.
pub(crate) fn follow(cx: &mut Context, mut initiation: Initiation, path: Path, to: GatewayName) {
    let mut history = initiation.redirection.take().map(|earlier| earlier.history).unwrap_or_default();
    history.retain(|at| cx.now < *at + limits::REDIRECTION_PERIOD);
    if history.len() >= limits::REDIRECTIONS {
        let sentence = format!(
            "{} sends us on to {to}, after {} other redirections in {} s: gateways send us round in a circle",
            path.remote.ip(),
            history.len(),
            limits::REDIRECTION_PERIOD.as_secs()
        );
        let failure = Failure::Exchange(Error::Unsuitable(sentence));
        return cx.fail_initiation(&initiation, path, failure);
    }
    history.push_back(cx.now);
    initiation.redirection = Some(Box::new(Redirection { to, from: path.remote.ip(), history }));
    cx.intents.push_back(Intent::Initiate(initiation));
}

/// <-- HDR, SK { N(REDIRECT, gateway) }
/// HDR, SK { } -->
///
/// The SAs here go, and come up again with the other gateway.
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, request: &Contents) {
    let (Following::We(redirection), Some(to)) = (&sa.following, told(request)) else { return };
    if !sa.is_lasting() {
        return;
    }
    let redirection = redirection.clone();
    let path = sa.channel.path;
    sa.queue_first(cx, Task::DeleteIke(DownReason::Redirected(to.to_string()), Vec::new()));
    if let Some(initiation) = sa.initiation_of_children(redirection) {
        follow(cx, initiation, path, to);
    }
}

// --- Gateway -------------------------------------------------------------------------------------------------------

/// Tells whether a client follows redirections.
pub(crate) fn is_followed(request: &Contents) -> bool {
    let says = |notify_type| request.notify(notify_type).is_some();
    says(NotifyType::REDIRECT_SUPPORTED) || says(NotifyType::REDIRECTED_FROM)
}

/// <-- HDR(SPIi,0), N(REDIRECT, gateway, Ni)   where no client on this path is served
pub(crate) fn instead(cx: &Context, path: Path, request: &Contents, nonce: &[u8]) -> Option<Notify> {
    is_followed(request).then(|| of_all(cx, path)).flatten().map(|to| Notify::redirect(&to, nonce))
}

/// Gives the gateway to which every client on a path is sent, whoever it is; where some are not, IKE_AUTH decides.
fn of_all(cx: &Context, path: Path) -> Option<GatewayName> {
    let possible = cx.connections_for(path, Version::V2);
    let to = possible.first()?.redirect_to.clone()?;
    possible.iter().all(|connection| connection.redirect_to.as_ref() == Some(&to)).then_some(to)
}

/// <-- HDR, SK { N(REDIRECT, gateway) }
pub(crate) fn initiate(
    sa: &IkeSa,
    cx: &mut Context,
    to: &GatewayName,
    tickets: Vec<Ticket>,
) -> Option<Request> {
    match sa.following {
        Following::Peer => Some(Request {
            exchange_type: ExchangeType::INFORMATIONAL,
            payloads: vec![Payload::Notify(Notify::redirect(to, &[]))],
            active: Active::Redirect(tickets),
        }),
        Following::We(_) | Following::Nobody => {
            let sentence = format!("the peer {} does not follow redirections (RFC 5685)", sa.peer.remote());
            cx.finish(&tickets, &Err(Failure::Exchange(Error::Unsuitable(sentence))));
            None
        }
    }
}
