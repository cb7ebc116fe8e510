//! Optimized rekeying: a replacement of an SA that says nothing of what stays as it is
//! (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt-07).
//!
//! ```text
//!   IKE_AUTH
//!   HDR, SK { IDi, …, V(Keyway), N(OPTIMIZED_REKEY_SUPPORTED) }        -->
//!                                   <--   HDR, SK { IDr, …, V(Keyway), N(OPTIMIZED_REKEY_SUPPORTED) }
//!
//!   CREATE_CHILD_SA, of the IKE SA
//!   HDR, SK { N(OPTIMIZED_REKEY)(new SPIi), Ni, KEi }                  -->
//!                                   <--   HDR, SK { N(OPTIMIZED_REKEY)(new SPIr), Nr, KEr }
//!
//!   CREATE_CHILD_SA, of a Child SA
//!   HDR, SK { N(REKEY_SA)(old SPI), N(OPTIMIZED_REKEY)(new SPIi), Ni, [KEi,] [N(IPCOMP_SUPPORTED)] }  -->
//!                                   <--   HDR, SK { N(OPTIMIZED_REKEY)(new SPIr), Nr, [KEr,] [N(IPCOMP_SUPPORTED)] }
//!
//!   where the other end cannot do that now, the regular rekeying follows:
//!                                   <--   HDR, SK { N(NO_PROPOSAL_CHOSEN) }
//! ```
//!
//! The draft's notifies have no numbers yet: ours are two for private use, which mean something only beside our vendor ID
//! (RFC 7296 §3.10.1, §3.12).
//!
//! What takes the place of what, and what happens when both ends begin at once, is as ever the affair of `rekey_child` and
//! `rekey_ike`.

use std::sync::Arc;

use sa::transform::Group;
use sa::{ChildSuite, IkeSuite, Spi};
use wire::isakmp::IkeSpi;
use wire::registry::NotifyType;
use wire::v2::{KEYWAY_MARK, Notify, Payload};

use super::contents::Contents;
use super::ike_sa::IkeSa;
use super::terms;
use crate::child::{Agreed, ChildSa, Compression, Heritage};
use crate::context::Context;
use crate::error::{Error, Misbehaviour};
use crate::{Connection, OptimizedRekey};

/// Whether both ends of an IKE SA know optimized rekeying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Not both, or one of them does not want it.
    None,
    /// Both.
    Mutual,
}

/// How a rekeying of ours asks.
#[derive(Debug)]
pub(crate) enum Manner<T> {
    /// With all that the new SA is to be.
    Regular,
    /// With what is new alone; the rest is this.
    Optimized(T),
}

// --- IKE_AUTH ------------------------------------------------------------------------------------------------------

/// Says that we know it, where the connection wants it.
pub(crate) fn support(connection: &Connection) -> Vec<Payload> {
    match connection.optimized_rekey {
        OptimizedRekey::No => Vec::new(),
        OptimizedRekey::Yes => vec![
            Payload::VendorId(KEYWAY_MARK.to_vec()),
            Payload::Notify(Notify::new(NotifyType::OPTIMIZED_REKEY_SUPPORTED, [])),
        ],
    }
}

/// Reads whether the peer knows it, too.
pub(crate) fn agree(connection: &Connection, contents: &Contents) -> Support {
    let is_marked = contents.payloads().contains(&Payload::VendorId(KEYWAY_MARK.to_vec()));
    let is_said = contents.notify(NotifyType::OPTIMIZED_REKEY_SUPPORTED).is_some();
    match connection.optimized_rekey {
        OptimizedRekey::Yes if is_marked && is_said => Support::Mutual,
        OptimizedRekey::Yes | OptimizedRekey::No => Support::None,
    }
}

/// Tells whether a replacement may leave out what stays as it is: both ends know how, and the configuration is what it was
/// when the IKE SA was made (draft §3).
fn is_possible(sa: &IkeSa, cx: &Context) -> bool {
    let loaded = cx.connections.get(&sa.connection.name);
    sa.optimized_rekeys == Support::Mutual && loaded.is_some_and(|loaded| Arc::ptr_eq(loaded, &sa.connection))
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Gives how the IKE SA is to be replaced.
pub(crate) fn manner_of_ike(sa: &IkeSa, cx: &Context) -> Manner<IkeSuite> {
    if is_possible(sa, cx) { Manner::Optimized(sa.channel.suite) } else { Manner::Regular }
}

/// Gives how a Child SA is to be replaced: with which first key exchange, if the optimized way is possible.
pub(crate) fn key_exchange_of_child(
    sa: &IkeSa,
    cx: &Context,
    old: &ChildSa,
) -> Option<Option<&'static Group>> {
    match old.agreed.heritage {
        Heritage::Whole { key_exchange, .. } if is_possible(sa, cx) => Some(key_exchange),
        Heritage::Whole { .. } | Heritage::ToNegotiate => None,
    }
}

/// Gives what a replacement of ours will have of a Child SA; the peer's SPI and index come with its answer.
pub(crate) fn heir(cx: &mut Context, old: &Agreed, our_spi: Spi) -> Manner<Box<Agreed>> {
    let compression =
        old.compression.map(|compression| Compression { ours: cx.next_cpi(), theirs: compression.theirs });
    let heir = inherited(old).map(|suite| Agreed { suite, our_spi, compression, ..old.clone() });
    heir.map_or(Manner::Regular, |heir| Manner::Optimized(Box::new(heir)))
}

/// Gives N(OPTIMIZED_REKEY) for a new IKE SA.
pub(crate) fn ike_notify(spi: IkeSpi) -> Payload {
    Payload::Notify(Notify::new(NotifyType::OPTIMIZED_REKEY, spi.to_octets()))
}

/// Gives N(OPTIMIZED_REKEY) for a new Child SA, and what else is said of it.
pub(crate) fn child_notifies(agreed: &Agreed) -> (Payload, Vec<Payload>) {
    let notify = Notify::new(NotifyType::OPTIMIZED_REKEY, agreed.our_spi.0.to_be_bytes());
    (Payload::Notify(notify), terms::renewal(agreed.compression))
}

/// Reads the responder's SPI of a new IKE SA.
pub(crate) fn accept_ike(response: &Contents) -> Result<IkeSpi, Error> {
    ike_spi(response).ok_or_else(|| Misbehaviour::Other(NO_SPI).into())
}

/// Reads the responder's SPI, and its index, of a new Child SA.
pub(crate) fn accept_child(heir: Agreed, response: &Contents) -> Result<Agreed, Error> {
    let peer_spi = child_spi(response).ok_or(Misbehaviour::Other(NO_SPI))?;
    let compression = match heir.compression {
        None => None,
        Some(Compression { ours, .. }) => {
            let theirs = terms::deflate_of(response);
            let theirs = theirs.ok_or(Misbehaviour::Other("it gives no index for compressed packets"))?;
            Some(Compression { ours, theirs })
        }
    };
    Ok(Agreed { peer_spi, compression, ..heir })
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Tells whether a request leaves out what stays as it is.
pub(crate) fn is_asked(request: &Contents) -> Result<bool, Error> {
    let is_whole = request.optional_security_association()?.is_some();
    Ok(!is_whole && request.notify(NotifyType::OPTIMIZED_REKEY).is_some())
}

/// Reads the peer's wish for a new IKE SA with the suite of this one: its SPI of it.
pub(crate) fn asked_of_ike(sa: &IkeSa, cx: &Context, request: &Contents) -> Result<IkeSpi, Error> {
    check(sa, cx)?;
    check_key(Some(sa.channel.suite.key_exchange), request)?;
    ike_spi(request).ok_or_else(|| refused(NO_SPI))
}

/// Reads the peer's wish for a new Child SA that is as the old one.
pub(crate) fn asked_of_child(
    sa: &IkeSa,
    cx: &mut Context,
    old: &ChildSa,
    request: &Contents,
) -> Result<Agreed, Error> {
    check(sa, cx)?;
    let suite = inherited(&old.agreed);
    let suite = suite.ok_or_else(|| refused("its key exchanges have not been negotiated yet"))?;
    check_key(suite.key_exchange, request)?;
    let peer_spi = child_spi(request).ok_or_else(|| refused(NO_SPI))?;
    let compression = match old.agreed.compression {
        None => None,
        Some(_) => {
            let theirs = terms::deflate_of(request);
            let theirs = theirs.ok_or_else(|| refused("it gives no index for compressed packets"))?;
            Some(Compression { ours: cx.next_cpi(), theirs })
        }
    };
    Ok(Agreed { suite, our_spi: cx.next_spi(), peer_spi, compression, ..old.agreed.clone() })
}

fn check(sa: &IkeSa, cx: &Context) -> Result<(), Error> {
    match (sa.optimized_rekeys, is_possible(sa, cx)) {
        (_, true) => Ok(()),
        (Support::Mutual, false) => Err(refused("the configuration has changed")),
        (Support::None, false) => Err(refused("that was not agreed on")),
    }
}

/// The peer's key must be one of the method that the SA was made with.
fn check_key(wanted: Option<&'static Group>, request: &Contents) -> Result<(), Error> {
    let sent = request.optional_key_exchange()?.map(|key| key.group);
    if sent == wanted.map(|group| group.id) {
        return Ok(());
    }
    Err(refused("it sends a key of another method than the SA was made with"))
}

/// Draft §3: whatever stands in its way, the answer is NO_PROPOSAL_CHOSEN.
fn refused(reason: &str) -> Error {
    Error::Unsuitable(format!("the peer wants to replace an SA without saying what by: {reason}"))
}

// --- Both ----------------------------------------------------------------------------------------------------------

const NO_SPI: &str = "it names no new SPI";

/// Gives the algorithms that a replacement inherits, key exchanges among them.
fn inherited(old: &Agreed) -> Option<ChildSuite> {
    match old.heritage {
        Heritage::Whole { key_exchange, additional } => {
            Some(ChildSuite { key_exchange, additional, ..old.suite })
        }
        Heritage::ToNegotiate => None,
    }
}

fn ike_spi(contents: &Contents) -> Option<IkeSpi> {
    let notify = contents.notify(NotifyType::OPTIMIZED_REKEY)?;
    let octets = <[u8; 8]>::try_from(notify.data.as_slice()).ok()?;
    Some(IkeSpi(u64::from_be_bytes(octets))).filter(|spi| !spi.is_zero())
}

fn child_spi(contents: &Contents) -> Option<Spi> {
    let notify = contents.notify(NotifyType::OPTIMIZED_REKEY)?;
    let octets = <[u8; 4]>::try_from(notify.data.as_slice()).ok()?;
    Some(Spi(u32::from_be_bytes(octets))).filter(|spi| *spi >= Spi::LOWEST)
}
