//! CREATE_CHILD_SA that proposes protocol IKE: a new IKE SA takes the place of this one (RFC 7296 §1.3.2, §2.18).
//!
//! ```text
//!   Initiator                                        Responder
//!   HDR, SK { SA(new SPIi), Ni, KEi }         -->
//!                                             <--    HDR, SK { SA(new SPIr), Nr, KEr }
//!   the Child SAs move to the new IKE SA, whose message ids begin at 0
//!   HDR, SK { D(IKE) }  in the old one        -->
//!                                             <--    HDR, SK { }
//! ```
//!
//! The peer stays authenticated: the new keys come from the old ones. When both ends begin at once, two new IKE SAs are
//! made; `collision` says which inherits the Child SAs, and who made the other deletes it.

use std::sync::Arc;

use crypto::Secret;
use sa::IkeSuite;
use wire::isakmp::IkeSpi;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::Payload;

use super::channel::{Channel, ChannelParts};
use super::collision::{Collision, Winner};
use super::contents::Contents;
use super::create_child_sa::{OwnKey, answer_key_exchange};
use super::ike_sa::{Active, IkeSa, Request, Task};
use super::keys::{IkeKeys, IkeSpis, Nonces};
use crate::context::{Context, Intent};
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::Ticket;
use crate::negotiation;
use crate::{Misbehaviour, Role};

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Our request is under way.
#[derive(Debug)]
pub(crate) struct Initiated {
    pub tickets: Vec<Ticket>,
    spi: IkeSpi,
    nonce: Vec<u8>,
    key: OwnKey,
    /// The IKE SA that the peer made, if it began as well, by our SPI.
    collision: Option<Collision<IkeSpi>>,
}

impl Initiated {
    /// Gives the peer's replacement, if it began one as well.
    pub(crate) fn rival(&self) -> Option<IkeSpi> {
        self.collision.as_ref().map(|collision| collision.rival)
    }
}

// HDR, SK { SA, Ni, KEi } -->
pub(crate) fn initiate(sa: &mut IkeSa, cx: &mut Context, tickets: Vec<Ticket>) -> Option<Request> {
    let group = sa.channel.suite.key_exchange;
    initiate_with(sa, cx, tickets, group)
}

fn initiate_with(
    sa: &mut IkeSa,
    cx: &mut Context,
    tickets: Vec<Ticket>,
    group: &'static sa::transform::Group,
) -> Option<Request> {
    let key = match OwnKey::generate(Some(group)) {
        Ok(key) => key,
        Err(fault) => {
            cx.finish(&tickets, &Err(fault.into()));
            return None;
        }
    };
    let (spi, nonce) = (cx.next_ike_spi(), cx.next_nonce());
    let offer = negotiation::offer_ike(&sa.connection.proposals, Some(spi));
    let mut payloads = vec![Payload::SecurityAssociation(offer), Payload::Nonce(nonce.clone())];
    payloads.extend(key.payload());
    let active = Active::RekeyIke(Box::new(Initiated { tickets, spi, nonce, key, collision: None }));
    Some(Request { exchange_type: ExchangeType::CREATE_CHILD_SA, payloads, active })
}

// <-- HDR, SK { SA, Nr, KEr }
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, initiated: Initiated, response: &Contents) {
    let Initiated { tickets, spi, nonce, key, collision } = initiated;
    if let Some(refusal) = response.refusal("") {
        return match collision {
            // The peer replaced the IKE SA without seeing our wish: its replacement stays.
            Some(collision) => {
                hand_over(sa, cx, collision.rival);
                cx.finish(&tickets, &Ok(()));
            }
            None => finish_refused(sa, cx, tickets, &key, response, Error::Refused(refusal)),
        };
    }
    match make(sa, cx, spi, key, &nonce, response) {
        Err(fault) => match collision {
            Some(collision) => {
                hand_over(sa, cx, collision.rival);
                cx.finish(&tickets, &Ok(()));
            }
            // The peer has moved on to an IKE SA that we cannot use: the two ends are apart.
            None => {
                let failure = Failure::from(fault);
                cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), failure.clone());
                sa.queue_first(cx, Task::DeleteIke(DownReason::Failed(failure), Vec::new()));
            }
        },
        Ok(new) => {
            let nonces = Nonces { initiator: &nonce, responder: response.nonce().map_or(&[], |nonce| nonce) };
            match collision.as_ref().map(|collision| (collision.winner(nonces), collision.rival)) {
                Some((Winner::Theirs, rival)) => concede(sa, cx, new, rival),
                Some((Winner::Ours, _)) | None => take_over(sa, cx, new),
            }
            cx.finish(&tickets, &Ok(()));
        }
    }
}

fn make(
    sa: &IkeSa,
    cx: &mut Context,
    spi: IkeSpi,
    key: OwnKey,
    nonce: &[u8],
    response: &Contents,
) -> Result<IkeSa, Error> {
    let chosen = negotiation::accept_ike(&sa.connection.proposals, response.security_association()?)
        .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
    let responder = chosen.peer_spi.ok_or(Misbehaviour::Other("its proposal for a new IKE SA has no SPI"))?;
    let shared = key.finish(Some(chosen.suite.key_exchange), response)?;
    let shared = shared.ok_or(Misbehaviour::Other("a new IKE SA needs a key exchange"))?;
    let spis = IkeSpis { initiator: spi, responder };
    let nonces = Nonces { initiator: nonce, responder: response.nonce()? };
    replacement(sa, cx, Role::Initiator, chosen.suite, &shared, nonces, spis)
}

/// Ours stays: the Child SAs move, and the old IKE SA is ours to delete.
fn take_over(sa: &mut IkeSa, cx: &mut Context, mut new: IkeSa) {
    let old_status = sa.status();
    let inheritance = sa.bequeath(cx);
    new.inherit(cx, inheritance);
    sa.queue_first(cx, Task::DeleteIke(DownReason::Replaced, Vec::new()));
    cx.tell(Event::IkeRekeyed { old: Box::new(old_status), new: Box::new(new.status()) });
    cx.intents.push_back(Intent::Insert(Box::new(new)));
}

/// Theirs stays: it inherits; ours is redundant and ours to delete, the old IKE SA is the peer's to delete.
fn concede(sa: &mut IkeSa, cx: &mut Context, mut redundant: IkeSa, rival: IkeSpi) {
    redundant.declare_redundant(cx);
    redundant.queue_first(cx, Task::DeleteIke(DownReason::Redundant, Vec::new()));
    cx.intents.push_back(Intent::Insert(Box::new(redundant)));
    hand_over(sa, cx, rival);
}

/// Gives all that the old IKE SA has to the one that the peer made.
pub(crate) fn hand_over(sa: &mut IkeSa, cx: &mut Context, heir: IkeSpi) {
    let old = Box::new(sa.status());
    let inheritance = sa.bequeath(cx);
    cx.intents.push_back(Intent::Inherit { heir, inheritance, old });
}

fn finish_refused(
    sa: &mut IkeSa,
    cx: &mut Context,
    tickets: Vec<Ticket>,
    key: &OwnKey,
    response: &Contents,
    fault: Error,
) {
    if let Some(group) = key.wanted_instead(&sa.connection.proposals, response) {
        if let Some(again) = initiate_with(sa, cx, tickets, group) {
            sa.send_next(cx, again);
        }
        return;
    }
    if response.notify(NotifyType::TEMPORARY_FAILURE).is_some() {
        return sa.queue_later(cx, Task::RekeyIke(tickets));
    }
    cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
    sa.queue_after_refusal(cx, Task::RekeyIke(Vec::new()));
}

// --- Responder -----------------------------------------------------------------------------------------------------

// HDR, SK { SA, Ni, KEi } -->
//                         <-- HDR, SK { SA, Nr, KEr }
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, request: &Contents) -> Result<Vec<Payload>, Error> {
    match &sa.active {
        None | Some(Active::Liveness | Active::RekeyIke(_)) => {}
        // RFC 7296 §2.25.2: a Child SA of this IKE SA is being made, replaced or deleted, or the IKE SA itself deleted.
        Some(
            Active::CreateChild(_)
            | Active::RekeyChild(_)
            | Active::DeleteChild(_)
            | Active::DeleteUnwanted
            | Active::DeleteIke(_),
        ) => return Err(Error::Busy),
    }
    let preferred = request.optional_key_exchange()?.map(|theirs| theirs.group);
    let chosen =
        negotiation::choose_ike(&sa.connection.proposals, request.security_association()?, preferred)?;
    let initiator = chosen.peer_spi.ok_or(Misbehaviour::Other("its proposal for a new IKE SA has no SPI"))?;
    let (key_payload, shared) = answer_key_exchange(Some(chosen.suite.key_exchange.id), request)?;
    let shared = shared.ok_or(Misbehaviour::Other("a new IKE SA needs a key exchange"))?;
    let (nonce_i, nonce_r) = (request.nonce()?, cx.next_nonce());
    let spis = IkeSpis { initiator, responder: cx.next_ike_spi() };
    let nonces = Nonces { initiator: nonce_i, responder: &nonce_r };
    let mut new = replacement(sa, cx, Role::Responder, chosen.suite, &shared, nonces, spis)?;
    let proposal = negotiation::answer_ike(&chosen, Some(spis.responder));
    let mut payloads = vec![Payload::SecurityAssociation(vec![proposal]), Payload::Nonce(nonce_r.clone())];
    payloads.extend(key_payload);
    let heir = new.our_spi();
    // Until it inherits, it is not certain to stay.
    new.declare_redundant(cx);
    cx.intents.push_back(Intent::Insert(Box::new(new)));
    match &mut sa.active {
        Some(Active::RekeyIke(ours)) => ours.collision = Some(Collision::new(nonces, heir)),
        _ => hand_over(sa, cx, heir),
    }
    Ok(payloads)
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Makes the new IKE SA, for the same peer on the same path (RFC 7296 §2.18).
fn replacement(
    sa: &IkeSa,
    cx: &mut Context,
    role: Role,
    suite: IkeSuite,
    shared: &Secret<Vec<u8>>,
    nonces: Nonces<'_>,
    spis: IkeSpis,
) -> Result<IkeSa, Error> {
    let old = &sa.channel;
    let keys = IkeKeys::rekeyed(&suite, old.suite.prf.prf, &old.sk_d, shared, nonces, spis)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    let parts = ChannelParts {
        id: old.id,
        role,
        spis,
        path: old.path,
        nat: old.nat,
        encap: sa.connection.encap,
        fragments: old.fragments,
        suite,
        keys: &keys,
    };
    let channel = Channel::new(cx, parts)?;
    Ok(IkeSa::new(cx, channel, Arc::clone(&sa.connection), sa.peer.clone()))
}

/// Ends our own wish to replace an IKE SA that the peer deletes (RFC 7296 §2.25.2): a rival, if there is one, inherits.
pub(crate) fn yield_to_delete(sa: &mut IkeSa, cx: &mut Context) -> bool {
    let Some(Active::RekeyIke(ours)) = sa.active.take_if(|active| matches!(active, Active::RekeyIke(_)))
    else {
        return false;
    };
    match ours.rival() {
        Some(rival) => {
            hand_over(sa, cx, rival);
            cx.finish(&ours.tickets, &Ok(()));
            true
        }
        None => {
            cx.finish(&ours.tickets, &Err(Failure::Terminated));
            false
        }
    }
}
