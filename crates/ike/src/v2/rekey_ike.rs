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
//! Where additional key exchanges were agreed, they come before the new IKE SA (`ike_followup_ke`). Where both ends know
//! how, the SA payload is left out (`optimized_rekey`).
//!
//! The peer stays authenticated: the new keys come from the old ones. When both ends begin at once, two new IKE SAs are
//! made; `collision` says which inherits the Child SAs, and who made the other deletes it.

use std::sync::Arc;

use sa::IkeSuite;
use wire::isakmp::IkeSpi;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::Payload;

use super::channel::{Channel, ChannelParts};
use super::collision::{Collision, Rival};
use super::contents::Contents;
use super::create_child_sa::{OwnKey, answer_key_exchange};
use super::ike_followup_ke::{self, Material, Pending, Stage, Step};
use super::ike_sa::{Active, IkeSa, Request, Task};
use super::keys::{IkeKeys, IkeSpis, Nonces};
use super::optimized_rekey::{self, Manner};
use super::quick_crash_detection;
use crate::context::{Context, Intent};
use crate::error::{Error, Failure};
use crate::event::{DownReason, Event};
use crate::io::Ticket;
use crate::negotiation::{self, Additional};
use crate::{Misbehaviour, Role};

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Our request is under way.
#[derive(Debug)]
pub(crate) struct Initiated {
    pub tickets: Vec<Ticket>,
    spi: IkeSpi,
    nonce: Vec<u8>,
    manner: Manner<IkeSuite>,
    stage: Stage<Agreed>,
    /// The IKE SA that the peer made, if it began as well, by our SPI.
    collision: Option<Collision<IkeSpi>>,
}

impl Initiated {
    /// Gives the SPI that the new IKE SA will have here.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.spi
    }

    /// Tells how far the peer's replacement has come, if it began one as well.
    pub(crate) fn rival(&self) -> Option<Rival<IkeSpi>> {
        self.collision.as_ref().map(|collision| collision.rival)
    }
}

// HDR, SK { SA, Ni, KEi } -->
pub(crate) fn initiate(sa: &mut IkeSa, cx: &mut Context, tickets: Vec<Ticket>) -> Option<Request> {
    let (group, manner) = (sa.channel.suite.key_exchange, optimized_rekey::manner_of_ike(sa, cx));
    initiate_with(sa, cx, tickets, group, manner)
}

fn initiate_with(
    sa: &mut IkeSa,
    cx: &mut Context,
    tickets: Vec<Ticket>,
    group: &'static sa::transform::Group,
    manner: Manner<IkeSuite>,
) -> Option<Request> {
    let key = match OwnKey::generate(Some(group)) {
        Ok(key) => key,
        Err(fault) => {
            cx.finish(&tickets, &Err(fault.into()));
            return None;
        }
    };
    let (spi, nonce) = (cx.next_ike_spi(), cx.next_nonce());
    let wish = match manner {
        Manner::Regular => {
            Payload::SecurityAssociation(negotiation::offer_ike(&sa.connection.proposals, Some(spi)))
        }
        Manner::Optimized(_) => optimized_rekey::ike_notify(spi),
    };
    let mut payloads = vec![wish, Payload::Nonce(nonce.clone())];
    payloads.extend(key.payload());
    let stage = Stage::Asked(key);
    let active =
        Active::RekeyIke(Box::new(Initiated { tickets, spi, nonce, manner, stage, collision: None }));
    Some(Request { exchange_type: ExchangeType::CREATE_CHILD_SA, payloads, active })
}

/// What both ends agreed on for the new IKE SA.
#[derive(Debug)]
pub(crate) struct Agreed {
    suite: IkeSuite,
    spis: IkeSpis,
}

// <-- HDR, SK { SA, Nr, KEr }   or what answers an additional key exchange
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, initiated: Initiated, response: &Contents) {
    let Initiated { tickets, spi, nonce, manner, stage, collision } = initiated;
    if let Some(refusal) = response.refusal("") {
        return match collision {
            // The peer replaces the IKE SA without having seen our wish: its replacement stays.
            Some(collision) => {
                yield_to_rival(sa, cx, collision.rival);
                cx.finish(&tickets, &Ok(()));
            }
            None => finish_refused(sa, cx, tickets, (&manner, &stage), response, Error::Refused(refusal)),
        };
    }
    let step = match stage {
        Stage::Asked(key) => after_first(sa, (spi, &manner), key, &nonce, response),
        Stage::Following(following) => following.take_in(response),
    };
    let made = match step {
        Ok(Step::Further(following, payloads)) => {
            let nonces = following.material.nonces();
            if let Some(collision) = collision.filter(|collision| collision.is_lost(nonces)) {
                // There is nothing to delete yet: it ends here (RFC 9370 §2.2.4).
                yield_to_rival(sa, cx, collision.rival);
                return cx.finish(&tickets, &Ok(()));
            }
            // The peer goes no further with its own, or deletes it.
            forget_rival(sa);
            let stage = Stage::Following(following);
            let active =
                Active::RekeyIke(Box::new(Initiated { tickets, spi, nonce, manner, stage, collision: None }));
            return sa.send_next(cx, ike_followup_ke::request(payloads, active));
        }
        Ok(Step::Made(agreed, material)) => {
            replacement(sa, cx, Role::Initiator, agreed, &material).map(|new| (new, material))
        }
        Err(fault) => Err(fault),
    };
    match made {
        Err(fault) => match collision {
            Some(collision) => {
                yield_to_rival(sa, cx, collision.rival);
                cx.finish(&tickets, &Ok(()));
            }
            // The peer has moved on to an IKE SA that we cannot use: the two ends are apart.
            None => {
                let failure = Failure::from(fault);
                cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), failure.clone());
                sa.queue_first(cx, Task::DeleteIke(DownReason::Failed(failure), Vec::new()));
            }
        },
        Ok((mut new, material)) => {
            quick_crash_detection::keep_token(&mut new, response);
            match collision.filter(|collision| collision.is_lost(material.nonces())) {
                Some(collision) => concede(sa, cx, new, collision.rival),
                None => take_over(sa, cx, new),
            }
            cx.finish(&tickets, &Ok(()));
        }
    }
}

/// Reads what the response of CREATE_CHILD_SA agreed on.
fn after_first(
    sa: &IkeSa,
    (spi, manner): (IkeSpi, &Manner<IkeSuite>),
    key: OwnKey,
    nonce: &[u8],
    response: &Contents,
) -> Result<Step<Agreed>, Error> {
    let (suite, responder) = match manner {
        Manner::Optimized(suite) => (*suite, optimized_rekey::accept_ike(response)?),
        Manner::Regular => {
            let answer = response.security_association()?;
            let chosen = negotiation::accept_ike(&sa.connection.proposals, answer, Additional::Possible)
                .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
            (chosen.suite, chosen.peer_spi.ok_or(NO_SPI)?)
        }
    };
    let shared = key.finish(Some(suite.key_exchange), response)?;
    let material = Material::new(Nonces { initiator: nonce, responder: response.nonce()? }, shared);
    let agreed = Agreed { suite, spis: IkeSpis { initiator: spi, responder } };
    Step::after_first(agreed, &suite.additional, material, response)
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
fn concede(sa: &mut IkeSa, cx: &mut Context, mut redundant: IkeSa, rival: Rival<IkeSpi>) {
    redundant.declare_redundant(cx);
    redundant.queue_first(cx, Task::DeleteIke(DownReason::Redundant, Vec::new()));
    cx.intents.push_back(Intent::Insert(Box::new(redundant)));
    yield_to_rival(sa, cx, rival);
}

/// The IKE SA that the peer makes stays, as soon as it is there.
fn yield_to_rival(sa: &mut IkeSa, cx: &mut Context, rival: Rival<IkeSpi>) {
    match rival {
        Rival::Made(heir) => hand_over(sa, cx, heir),
        Rival::Coming | Rival::Settled => {}
    }
}

/// The peer goes no further with its own wish to replace the IKE SA.
fn forget_rival(sa: &mut IkeSa) {
    sa.pending.retain(|pending| !is_about(pending));
}

/// Tells whether the peer is replacing the IKE SA, and has not come to the end of its key exchanges.
pub(crate) fn is_peers_to_replace(sa: &IkeSa) -> bool {
    sa.pending.iter().any(is_about)
}

fn is_about(pending: &Pending) -> bool {
    matches!(pending.wish, ike_followup_ke::Wish::RekeyIke(_))
}

/// Gives all that the old IKE SA has to the one that the peer made.
pub(crate) fn hand_over(sa: &mut IkeSa, cx: &mut Context, heir: IkeSpi) {
    let old = Box::new(sa.status());
    let inheritance = Box::new(sa.bequeath(cx));
    cx.intents.push_back(Intent::Inherit { heir, inheritance, old });
}

fn finish_refused(
    sa: &mut IkeSa,
    cx: &mut Context,
    tickets: Vec<Ticket>,
    (manner, stage): (&Manner<IkeSuite>, &Stage<Agreed>),
    response: &Contents,
    fault: Error,
) {
    let regular_with = match (manner, stage) {
        (Manner::Optimized(suite), Stage::Asked(_))
            if response.notify(NotifyType::NO_PROPOSAL_CHOSEN).is_some() =>
        {
            Some(suite.key_exchange)
        }
        (_, Stage::Asked(key)) => key.wanted_instead(&sa.connection.proposals, response),
        (_, Stage::Following(_)) => None,
    };
    if let Some(group) = regular_with {
        if let Some(again) = initiate_with(sa, cx, tickets, group, Manner::Regular) {
            sa.send_next(cx, again);
        }
        return;
    }
    if response.notify(NotifyType::TEMPORARY_FAILURE).is_some() || ike_followup_ke::is_forgotten(response) {
        return sa.put_off(cx, Task::RekeyIke(tickets));
    }
    if response.notify(NotifyType::NO_ADDITIONAL_SAS).is_some() {
        return sa.replace_whole(cx, tickets);
    }
    cx.fail(&tickets, Some(&sa.connection.name), Some(sa.channel.path), fault.into());
    sa.queue_after_refusal(cx, Task::RekeyIke(Vec::new()));
}

// --- Responder -----------------------------------------------------------------------------------------------------

// HDR, SK { SA, Ni, KEi } -->
//                         <-- HDR, SK { SA, Nr, KEr }
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, request: &Contents) -> Result<Vec<Payload>, Error> {
    check_replaceable(sa)?;
    let responder = cx.next_ike_spi();
    let (suite, initiator, answer) = choose(sa, cx, request, responder)?;
    let (key_payload, shared) = answer_key_exchange(Some(suite.key_exchange.id), request)?;
    let (nonce_i, nonce_r) = (request.nonce()?, cx.next_nonce());
    let spis = IkeSpis { initiator, responder };
    let mut payloads = vec![answer, Payload::Nonce(nonce_r.clone())];
    payloads.extend(key_payload);
    let nonces = Nonces { initiator: nonce_i, responder: &nonce_r };
    let additional = suite.additional;
    let wish = ike_followup_ke::Wish::RekeyIke(Wish(Agreed { suite, spis }));
    payloads.extend(ike_followup_ke::grant(sa, cx, wish, &additional, Material::new(nonces, shared))?);
    if let Some(Active::RekeyIke(ours)) = &mut sa.active
        && !additional.is_empty()
    {
        ours.collision = Some(Collision::new(nonces, Rival::Coming));
    }
    Ok(payloads)
}

/// Chooses the algorithms of the new IKE SA: gives them, the peer's SPI, and the payload that says so.
fn choose(
    sa: &IkeSa,
    cx: &Context,
    request: &Contents,
    our_spi: IkeSpi,
) -> Result<(IkeSuite, IkeSpi, Payload), Error> {
    if optimized_rekey::is_asked(request)? {
        let theirs = optimized_rekey::asked_of_ike(sa, cx, request)?;
        return Ok((sa.channel.suite, theirs, optimized_rekey::ike_notify(our_spi)));
    }
    let preferred = request.optional_key_exchange()?.map(|theirs| theirs.group);
    let offer = request.security_association()?;
    let chosen = negotiation::choose_ike(&sa.connection.proposals, offer, preferred, Additional::Possible)?;
    let answer = negotiation::answer_ike(&chosen, Some(our_spi));
    let theirs = chosen.peer_spi.ok_or(NO_SPI)?;
    Ok((chosen.suite, theirs, Payload::SecurityAssociation(vec![answer])))
}

fn check_replaceable(sa: &IkeSa) -> Result<(), Error> {
    match &sa.active {
        None | Some(Active::Liveness | Active::Probe(_) | Active::Mobike(_) | Active::Redirect(_)) => Ok(()),
        // RFC 9370 §2.2.4: what we have begun to replace and have an answer for, the peer must not begin to.
        Some(Active::RekeyIke(ours)) if matches!(ours.stage, Stage::Following(_)) => Err(Error::Busy),
        Some(Active::RekeyIke(_)) => Ok(()),
        // RFC 7296 §2.25.2: a Child SA of this IKE SA is being made, replaced or deleted, or the IKE SA itself deleted.
        Some(
            Active::CreateChild(_)
            | Active::RekeyChild(_)
            | Active::DeleteChild(_)
            | Active::DeleteUnwanted
            | Active::DeleteIke(_),
        ) => Err(Error::Busy),
    }
}

/// The new IKE SA that the peer wants, as it was agreed.
#[derive(Debug)]
pub(crate) struct Wish(Agreed);

/// Makes it: all of its key exchanges are over.
pub(crate) fn fulfil(sa: &mut IkeSa, cx: &mut Context, wish: Wish, material: &Material) -> Result<(), Error> {
    check_replaceable(sa)?;
    let Wish(agreed) = wish;
    let mut new = replacement(sa, cx, Role::Responder, agreed, material)?;
    let heir = new.our_spi();
    // Until it inherits, it is not certain to stay.
    new.declare_redundant(cx);
    cx.intents.push_back(Intent::Insert(Box::new(new)));
    match &mut sa.active {
        Some(Active::RekeyIke(ours)) => {
            let rival = if material.has_followed() { Rival::Settled } else { Rival::Made(heir) };
            ours.collision = Some(Collision::new(material.nonces(), rival));
            if rival == Rival::Settled {
                hand_over(sa, cx, heir);
            }
        }
        _ => hand_over(sa, cx, heir),
    }
    Ok(())
}

// --- Both ----------------------------------------------------------------------------------------------------------

const NO_SPI: Misbehaviour = Misbehaviour::Other("its proposal for a new IKE SA has no SPI");

/// Makes the new IKE SA, for the same peer on the same path (RFC 7296 §2.18).
fn replacement(
    sa: &IkeSa,
    cx: &mut Context,
    role: Role,
    agreed: Agreed,
    material: &Material,
) -> Result<IkeSa, Error> {
    let old = &sa.channel;
    let Agreed { suite, spis } = agreed;
    let shared = material.secrets.as_ref().ok_or(Misbehaviour::Other("a new IKE SA needs a key exchange"))?;
    let keys = IkeKeys::rekeyed(&suite, old.suite.prf.prf, &old.sk_d, shared, material.nonces(), spis)
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
    let mut channel = Channel::new(cx, parts)?;
    // RFC 8784 §3: it came in with SK_d, and is not mixed in again.
    channel.ppk = old.ppk.clone();
    let peer = sa.peer.clone();
    let mut new = IkeSa::new(cx, channel, Arc::clone(&sa.connection), peer, Some(sa.lineage));
    new.optimized_rekeys = sa.optimized_rekeys;
    new.counters = sa.counters.inherited();
    // Until it inherits, it may already hear where the peer has gone.
    new.mobility = sa.mobility.clone();
    Ok(new)
}

/// Ends our own wish to replace an IKE SA that the peer deletes (RFC 7296 §2.25.2): a rival, if there is one, inherits.
pub(crate) fn yield_to_delete(sa: &mut IkeSa, cx: &mut Context) -> bool {
    let Some(Active::RekeyIke(ours)) = sa.active.take_if(|active| matches!(active, Active::RekeyIke(_)))
    else {
        return false;
    };
    match ours.rival() {
        Some(rival @ (Rival::Made(_) | Rival::Settled)) => {
            yield_to_rival(sa, cx, rival);
            cx.finish(&ours.tickets, &Ok(()));
            true
        }
        Some(Rival::Coming) | None => {
            cx.finish(&ours.tickets, &Err(Failure::Terminated));
            false
        }
    }
}
