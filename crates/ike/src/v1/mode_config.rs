//! Mode Config: a client gets an address inside, and is told what belongs to it (draft-dukes-ike-mode-cfg-02; Cisco's
//! Unity attributes as they are deployed).
//!
//! ```text
//!   Client                                             Server
//!   ATTR(REQUEST: IP4-ADDRESS, DNS, …)          -->                                           pull
//!                                               <--    ATTR(REPLY: IP4-ADDRESS = …, DNS = …)
//!
//!                                               <--    ATTR(SET: IP4-ADDRESS = …, DNS = …)    push
//!   ATTR(ACK: IP4-ADDRESS)                      -->
//! ```
//!
//! Where our connection wants virtual addresses, no Child SA is begun before they are there: a selector may stand for
//! one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use sa::Family;
use wire::registry::v1::{ConfigurationAttributeType as Type, ConfigurationType};
use wire::v1::{Attribute, Attributes, Datagram};

use super::channel::Iv;
use super::ike_sa::IkeSa;
use super::transaction::{self, Begun};
use crate::configuration::{self, Lessor};
use crate::context::{Context, Initiation};
use crate::error::Error;
use crate::event::DownReason;
use crate::io::{Path, TimeoutReason};
use crate::{ConfigurationMode, limits};

const NAME: &str = "Mode Config";

/// What an ISAKMP SA has under way.
#[derive(Debug, Default)]
pub(crate) struct Configuring {
    /// Our request, or what we set.
    begun: Option<Begun>,
    waiting: Option<Waiting>,
}

/// What is begun once our addresses are there.
#[derive(Debug)]
struct Waiting {
    initiations: Vec<Initiation>,
    /// Until when the server may take to give them unasked.
    until: Option<Instant>,
}

impl Configuring {
    pub(crate) fn name(&self) -> Option<&'static str> {
        (self.begun.is_some() || self.waiting.is_some()).then_some("MODE_CONFIG")
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        let begun =
            self.begun.as_ref().map(|begun| (begun.repeating.deadline(), TimeoutReason::Retransmission));
        let until = self.waiting.as_ref().and_then(|waiting| waiting.until);
        let waiting = until.map(|until| (until, TimeoutReason::Retry));
        begun.into_iter().chain(waiting).min()
    }

    /// Gives up what waits.
    pub(crate) fn take_waiting(&mut self) -> Vec<Initiation> {
        self.begun = None;
        self.waiting.take().map_or(Vec::new(), |waiting| waiting.initiations)
    }
}

// --- Client --------------------------------------------------------------------------------------------------------

/// Keeps an initiation until our addresses are there, and asks for them if nobody has yet. Gives it back if there is
/// nothing to wait for.
pub(crate) fn before(sa: &mut IkeSa, cx: &mut Context, initiation: Initiation) -> Option<Initiation> {
    if sa.connection.virtual_addresses.is_empty() || !sa.inside.local.is_empty() {
        return Some(initiation);
    }
    if let Some(waiting) = &mut sa.configuring.waiting {
        waiting.initiations.push(initiation);
        return None;
    }
    let initiations = vec![initiation];
    match sa.connection.configuration {
        ConfigurationMode::Pull => {
            sa.configuring.waiting = Some(Waiting { initiations, until: None });
            pull(sa, cx);
        }
        ConfigurationMode::Push => {
            let until = Some(cx.now + limits::PUSH_WAIT);
            sa.configuring.waiting = Some(Waiting { initiations, until });
        }
    }
    None
}

/// ATTR(REQUEST: …) -->
fn pull(sa: &mut IkeSa, cx: &mut Context) {
    let mut asked = Vec::new();
    for address in configuration::addresses_asked(cx, &sa.connection) {
        let belongs = match configuration::family_asked(address.about) {
            Some(Family::V4) | None => &[Type::INTERNAL_IP4_NETMASK, Type::INTERNAL_IP4_DNS][..],
            Some(Family::V6) => &[Type::INTERNAL_IP6_DNS],
        };
        asked.push(address);
        asked.extend(belongs.iter().map(|about| configuration::Attribute::new(*about, [])));
    }
    let unity = [Type::UNITY_BANNER, Type::UNITY_DEFAULT_DOMAIN, Type::UNITY_SPLIT_INCLUDE];
    asked.extend(unity.map(|about| configuration::Attribute::new(about, [])));
    asked.push(configuration::Attribute::new(Type::APPLICATION_VERSION, configuration::APPLICATION));
    match transaction::begin(&mut sa.channel, cx, ConfigurationType::REQUEST, to_wire(asked)) {
        Ok(begun) => sa.configuring.begun = Some(begun),
        Err(fault) => give_up(sa, cx, fault),
    }
}

/// <-- ATTR(REPLY or SET: IP4-ADDRESS = …, DNS = …)
fn accept(sa: &mut IkeSa, cx: &mut Context, given: &Attributes) {
    let connection = Arc::clone(&sa.connection);
    configuration::take(cx, &connection, sa.channel.our_spi(), &mut sa.inside, from_wire(given));
    if sa.inside.local.is_empty() {
        let wanted = configuration::wanted_in_words(&connection);
        let sentence = format!("the peer gave no virtual address; we want {wanted}");
        return give_up(sa, cx, Error::Unsuitable(sentence));
    }
    for initiation in sa.configuring.take_waiting() {
        sa.take_up(cx, initiation);
    }
}

/// Without an address there is nothing that the ISAKMP SA could serve.
fn give_up(sa: &mut IkeSa, cx: &mut Context, fault: Error) {
    let path = sa.channel.path;
    let waiting = sa.configuring.take_waiting();
    if waiting.is_empty() {
        sa.report(cx, fault.clone());
    }
    for initiation in waiting {
        cx.fail_initiation(&initiation, path, fault.clone().into());
    }
    sa.delete(cx, DownReason::Failed(fault.into()));
}

// --- Server --------------------------------------------------------------------------------------------------------

/// <-- ATTR(SET: …), if our client expects that.
pub(crate) fn push(sa: &mut IkeSa, cx: &mut Context) {
    if sa.connection.pools.is_empty() || sa.connection.configuration == ConfigurationMode::Pull {
        return;
    }
    let families = [
        (Family::V4, &[Type::INTERNAL_IP4_DNS, Type::INTERNAL_IP4_NBNS][..]),
        (Family::V6, &[Type::INTERNAL_IP6_DNS][..]),
    ];
    let mut asked = Vec::new();
    let mut addresses = Vec::new();
    for (family, belongs) in families {
        let has_pool = cx.leases.pools(&sa.connection.pools).any(|pool| pool.addresses.family() == family);
        if has_pool {
            addresses.push((family, None));
            asked.extend(belongs);
        }
    }
    // Nobody says which address it had: an older ISAKMP SA with this client is about to be replaced.
    let mut attributes = lease(sa, cx, &addresses, true);
    attributes.extend(asked.iter().flat_map(|about| configuration::told(cx, &sa.connection, *about)));
    match transaction::begin(&mut sa.channel, cx, ConfigurationType::SET, to_wire(attributes)) {
        Ok(begun) => sa.configuring.begun = Some(begun),
        Err(fault) => sa.report(cx, fault),
    }
}

/// ATTR(REQUEST: …) -->
///
/// <-- ATTR(REPLY: …)
fn reply(sa: &mut IkeSa, cx: &mut Context, asked: &Attributes) -> Vec<Attribute> {
    let asked: Vec<_> = from_wire(asked).take(limits::CONFIGURATION_ATTRIBUTES).collect();
    let addresses = asked.iter().filter_map(|asked| {
        let wanted = configuration::address_in(&asked.value).filter(|address| !address.is_unspecified());
        Some((configuration::family_asked(asked.about)?, wanted))
    });
    let mut given = lease(sa, cx, &addresses.collect::<Vec<_>>(), false);
    given.extend(asked.iter().flat_map(|asked| configuration::told(cx, &sa.connection, asked.about)));
    given.extend(configuration::told_by_number(cx, &sa.connection));
    to_wire(given)
}

/// Leases the peer the addresses that it asks for, and complains where there is none.
fn lease(
    sa: &mut IkeSa,
    cx: &mut Context,
    asked: &[(Family, Option<IpAddr>)],
    succeeds: bool,
) -> Vec<configuration::Attribute> {
    let connection = Arc::clone(&sa.connection);
    let holder = sa.channel.our_spi();
    let lessor = Lessor { connection: &connection, client: sa.peer.remote(), holder, succeeds };
    let leased = configuration::lease(cx, &lessor, &mut sa.inside, asked);
    let is_leased = |family| leased.iter().any(|address| Family::of(*address) == family);
    let missing = asked.iter().map(|(family, _)| *family).find(|family| !is_leased(*family));
    if let Some(family) = missing.filter(|_| !connection.pools.is_empty()) {
        sa.report(cx, Error::Local(configuration::none_free(&connection, family)));
    }
    leased.into_iter().map(configuration::address_attribute).collect()
}

fn to_wire(attributes: Vec<configuration::Attribute>) -> Vec<Attribute> {
    let attributes = attributes.into_iter();
    attributes.map(|attribute| Attribute::octets(attribute.about.0, attribute.value)).collect()
}

fn from_wire(attributes: &Attributes) -> impl Iterator<Item = configuration::Attribute> + use<'_> {
    let attributes = attributes.attributes.iter();
    attributes
        .map(|attribute| configuration::Attribute::new(Type(attribute.attribute_type), attribute.to_octets()))
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Handles a message of a transaction.
pub(crate) fn handle(sa: &mut IkeSa, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
    if sa.transactions.repeat(cx, path, datagram) {
        return;
    }
    let message_id = datagram.header.message_id;
    let ours = sa.configuring.begun.as_ref().filter(|begun| begun.message_id == message_id);
    let ours = ours.map(|begun| begun.iv.clone());
    let iv = ours.clone().unwrap_or_else(|| sa.channel.phase_2_iv(message_id));
    let Some((attributes, next_iv)) = transaction::read(&sa.channel, cx, path, datagram, &iv) else { return };
    if ours.is_none() && !sa.channel.use_message_id(message_id) {
        return;
    }
    sa.heard_from_peer(cx, path);
    match (attributes.configuration_type, ours) {
        (ConfigurationType::REPLY, Some(_)) => {
            sa.configuring.begun = None;
            accept(sa, cx, &attributes);
        }
        (ConfigurationType::ACK, Some(_)) => sa.configuring.begun = None,
        (ConfigurationType::REQUEST, None) => {
            let values = reply(sa, cx, &attributes);
            answer(sa, cx, datagram, &next_iv, ConfigurationType::REPLY, attributes.identifier, values);
        }
        (ConfigurationType::SET, None) => {
            let acknowledged = attributes.attributes.iter().take(limits::CONFIGURATION_ATTRIBUTES);
            let acknowledged =
                acknowledged.map(|attribute| Attribute::octets(attribute.attribute_type, [])).collect();
            answer(sa, cx, datagram, &next_iv, ConfigurationType::ACK, attributes.identifier, acknowledged);
            if sa.configuring.waiting.is_some() {
                accept(sa, cx, &attributes);
            }
        }
        _ => {}
    }
}

fn answer(
    sa: &mut IkeSa,
    cx: &mut Context,
    datagram: &Datagram<'_>,
    iv: &Iv,
    configuration_type: ConfigurationType,
    identifier: u16,
    attributes: Vec<Attribute>,
) {
    let attributes = Attributes { configuration_type, identifier, attributes };
    match transaction::answer(&sa.channel, cx, datagram, iv, attributes) {
        Ok(answered) => sa.transactions.note(datagram.header.message_id, answered),
        Err(fault) => sa.report(cx, fault),
    }
}

/// Repeats what has had no answer, or gives up.
pub(crate) fn keep(sa: &mut IkeSa, cx: &mut Context) {
    let path = sa.channel.path;
    let begun = sa.configuring.begun.as_mut();
    let unanswered = begun.and_then(|begun| cx.repeat(path, &mut begun.repeating).then_some(begun.begun_at));
    let until = sa.configuring.waiting.as_ref().and_then(|waiting| waiting.until);
    let is_late = until.is_some_and(|until| until <= cx.now);
    let Some(begun_at) = unanswered.or(is_late.then_some(sa.established_at)) else { return };
    let failure = cx.no_answer(path, NAME, begun_at);
    for initiation in sa.configuring.take_waiting() {
        cx.retry_or_fail(initiation, path, failure.clone());
    }
    sa.give_up(cx, failure);
}
