//! An attempt of ours at phase 1, in whichever mode: how people see it, what speaks against it, and its end.

use std::time::Instant;

use wire::v1::{Content, Datagram};

use crate::context::{Context, Initiation};
use crate::error::{Error, Failure, RefusalV1};
use crate::exchange::IkeSpis;
use crate::io::{IkeSaId, Path};
use crate::status::{IkeSaStatus, IkeState, IkeVersion, Nat, Phase1Mode};
use crate::v1::channel::{Channel, trace_received};
use crate::v1::closed::{Closed, Farewell};
use crate::v1::contents::Contents;
use crate::v1::{Sa, informational};
use crate::{Connection, Identity, Role, limits};

/// Reads a refusal in the clear. It may be anybody's: it is remembered, and never obeyed.
pub(crate) fn refusal_in(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    exchange: &'static str,
    asked: String,
) -> Option<Failure> {
    let Content::Clear(chain) = &datagram.content else { return None };
    trace_received(cx, path, datagram, chain);
    let contents = Contents::new(exchange, chain.clone());
    let error = contents.notifications().find(|notification| notification.notify_type.is_error())?;
    Some(Error::RefusedV1(RefusalV1 { exchange, notify: error.notify_type, asked }).into())
}

/// Ends an attempt to which nothing better came than what was said against it, or nothing at all.
pub(crate) fn end_attempt(
    cx: &mut Context,
    initiation: Initiation,
    path: Path,
    exchange: &'static str,
    begun_at: Instant,
    refused: Option<Failure>,
) {
    match refused {
        Some(failure) => cx.fail_initiation(&initiation, path, failure),
        None => {
            let failure = cx.no_answer(path, exchange, begun_at);
            cx.retry_or_fail(initiation, path, failure);
        }
    }
}

/// Refuses a peer that has proven to be somebody else than the connection is for.
pub(crate) fn check_identity(connection: &Connection, remote: &Identity) -> Result<(), Error> {
    let wanted = &connection.remote_identity;
    if wanted.matches(remote) {
        return Ok(());
    }
    Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")))
}

/// Ends an attempt at a peer that has the same keys as we and is not who it must be. It takes us for believed, or waits for us:
/// so it is told under these keys.
pub(crate) fn part(
    cx: &mut Context,
    initiation: &Initiation,
    path: Path,
    mut channel: Channel,
    fault: Error,
) -> Option<Sa> {
    cx.fail_initiation(initiation, path, fault.into());
    let farewell = Farewell::ours(informational::farewell(&mut channel, cx, Vec::new()).ok());
    let until = cx.now + limits::CLOSED_SA_LINGER;
    Some(Sa::Closed(Box::new(Closed::new(channel, farewell, until))))
}

/// The snapshot of an ISAKMP SA that we have begun, as far as it is the same in every mode and at every moment.
pub(crate) fn connecting(
    id: IkeSaId,
    connection: String,
    mode: Phase1Mode,
    spis: IkeSpis,
    path: Path,
) -> IkeSaStatus {
    IkeSaStatus {
        id,
        connection,
        version: IkeVersion::V1(mode),
        state: IkeState::Connecting,
        role: Role::Initiator,
        initiator_spi: spis.initiator,
        responder_spi: spis.responder,
        path,
        local_identity: None,
        remote_identity: None,
        remote_user: None,
        mobile: None,
        ppk: None,
        method: None,
        inside: Default::default(),
        suite: None,
        nat: Nat::default(),
        established_at: None,
        rekey_at: None,
        expire_at: None,
        reauthenticate_at: None,
        tasks_queued: vec!["QUICK_MODE"],
        tasks_active: vec![match mode {
            Phase1Mode::Main => "MAIN_MODE",
            Phase1Mode::Aggressive => "AGGRESSIVE_MODE",
        }],
        children: Vec::new(),
    }
}
