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

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use sa::{AddressRange, Family};
use wire::registry::v1::{ConfigurationAttributeType as Type, ConfigurationType};
use wire::v1::{Attribute, Attributes, Datagram};

use super::channel::Iv;
use super::ike_sa::IkeSa;
use super::transaction::{self, Begun};
use crate::context::{Context, Initiation};
use crate::error::Error;
use crate::event::DownReason;
use crate::io::{Path, TimeoutReason};
use crate::{ConfigurationMode, limits};

const NAME: &str = "Mode Config";
/// What we say that we are.
const APPLICATION: &str = "Keyway";

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
    let ask = |asked: Type| Attribute::octets(asked.0, []);
    let mut attributes = Vec::new();
    for address in &sa.connection.virtual_addresses {
        let before = cx.assumed.of(&sa.connection.name, Family::of(*address));
        match before.unwrap_or(*address) {
            IpAddr::V4(wanted) => {
                let octets = if wanted.is_unspecified() { Vec::new() } else { wanted.octets().to_vec() };
                attributes.push(Attribute::octets(Type::INTERNAL_IP4_ADDRESS.0, octets));
                attributes.extend([Type::INTERNAL_IP4_NETMASK, Type::INTERNAL_IP4_DNS].map(ask));
            }
            IpAddr::V6(wanted) => {
                let octets = if wanted.is_unspecified() {
                    Vec::new()
                } else {
                    [&wanted.octets()[..], &[128]].concat()
                };
                attributes.push(Attribute::octets(Type::INTERNAL_IP6_ADDRESS.0, octets));
                attributes.push(ask(Type::INTERNAL_IP6_DNS));
            }
        }
    }
    let unity = [Type::UNITY_BANNER, Type::UNITY_DEFAULT_DOMAIN];
    attributes.extend(unity.map(ask));
    attributes.push(Attribute::octets(Type::APPLICATION_VERSION.0, APPLICATION));
    match transaction::begin(&mut sa.channel, cx, ConfigurationType::REQUEST, attributes) {
        Ok(begun) => sa.configuring.begun = Some(begun),
        Err(fault) => give_up(sa, cx, fault),
    }
}

/// <-- ATTR(REPLY or SET: IP4-ADDRESS = …, DNS = …)
fn accept(sa: &mut IkeSa, cx: &mut Context, given: &Attributes) {
    for attribute in &given.attributes {
        let octets = attribute.to_octets();
        let text = || String::from_utf8_lossy(&octets).trim_end_matches('\0').to_owned();
        match Type(attribute.attribute_type) {
            Type::INTERNAL_IP4_ADDRESS | Type::INTERNAL_IP6_ADDRESS => {
                if let Some(address) = address_in(&octets).filter(|address| !address.is_unspecified())
                    && sa.inside.local.len() < limits::VIRTUAL_ADDRESSES
                    && !sa.inside.local.contains(&address)
                {
                    sa.inside.local.push(address);
                    cx.take_address(address, &sa.connection.name, sa.channel.our_spi());
                }
            }
            Type::INTERNAL_IP4_DNS | Type::INTERNAL_IP6_DNS => {
                let room = sa.inside.dns.len() < limits::VIRTUAL_ADDRESSES;
                sa.inside.dns.extend(address_in(&octets).filter(|_| room));
            }
            Type::UNITY_DEFAULT_DOMAIN => sa.inside.domain = Some(text()),
            Type::UNITY_BANNER => sa.inside.banner = Some(text()),
            _ => {}
        }
    }
    if sa.inside.local.is_empty() {
        let wanted: Vec<_> = sa.connection.virtual_addresses.iter().map(ToString::to_string).collect();
        let sentence = format!("the peer gave no virtual address; we want {}", wanted.join(", "));
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
    let mut attributes = Vec::new();
    for (family, asked) in [
        (Family::V4, &[Type::INTERNAL_IP4_ADDRESS, Type::INTERNAL_IP4_DNS, Type::INTERNAL_IP4_NBNS][..]),
        (Family::V6, &[Type::INTERNAL_IP6_ADDRESS, Type::INTERNAL_IP6_DNS][..]),
    ] {
        let has_pool = cx.leases.pools(&sa.connection.pools).any(|pool| pool.addresses.family() == family);
        if has_pool {
            // Nobody says which address it had: an older ISAKMP SA with this client is about to be replaced.
            let before = cx.leases.of(&sa.connection.pools, family, sa.peer.remote());
            attributes.extend(asked.iter().flat_map(|asked| values(sa, cx, *asked, before)));
        }
    }
    match transaction::begin(&mut sa.channel, cx, ConfigurationType::SET, attributes) {
        Ok(begun) => sa.configuring.begun = Some(begun),
        Err(fault) => sa.report(cx, fault),
    }
}

/// ATTR(REQUEST: …) -->
///
/// <-- ATTR(REPLY: …)
fn reply(sa: &mut IkeSa, cx: &mut Context, asked: &Attributes) -> Vec<Attribute> {
    let asked = asked.attributes.iter().take(limits::CONFIGURATION_ATTRIBUTES);
    asked
        .flat_map(|attribute| {
            let wanted = address_in(&attribute.to_octets()).filter(|address| !address.is_unspecified());
            values(sa, cx, Type(attribute.attribute_type), wanted)
        })
        .collect()
}

/// Gives what there is of a kind: none, one or several attributes.
fn values(sa: &mut IkeSa, cx: &mut Context, asked: Type, wanted: Option<IpAddr>) -> Vec<Attribute> {
    let pools = || cx.leases.pools(&sa.connection.pools);
    let octets: Vec<Vec<u8>> = match asked {
        Type::INTERNAL_IP4_ADDRESS => lease(sa, cx, Family::V4, wanted).map(octets_of).into_iter().collect(),
        Type::INTERNAL_IP6_ADDRESS => {
            let with_length = |address| [octets_of(address), vec![128]].concat();
            lease(sa, cx, Family::V6, wanted).map(with_length).into_iter().collect()
        }
        Type::INTERNAL_IP4_NETMASK => {
            pools().find_map(|pool| pool.netmask).map(|mask| mask.octets().to_vec()).into_iter().collect()
        }
        Type::INTERNAL_IP4_DNS => {
            pools().flat_map(|pool| &pool.dns).filter(|dns| dns.is_ipv4()).copied().map(octets_of).collect()
        }
        Type::INTERNAL_IP6_DNS => {
            pools().flat_map(|pool| &pool.dns).filter(|dns| dns.is_ipv6()).copied().map(octets_of).collect()
        }
        Type::INTERNAL_IP4_NBNS => {
            pools().flat_map(|pool| &pool.nbns).map(|nbns| nbns.octets().to_vec()).collect()
        }
        Type::UNITY_SPLIT_INCLUDE => {
            let networks: Vec<u8> =
                pools().flat_map(|pool| &pool.split_include).filter_map(unity_network).flatten().collect();
            if networks.is_empty() { Vec::new() } else { vec![networks] }
        }
        Type::UNITY_DEFAULT_DOMAIN => pools()
            .find_map(|pool| pool.domain.as_ref())
            .map(|text| text.as_bytes().to_vec())
            .into_iter()
            .collect(),
        Type::UNITY_BANNER => pools()
            .find_map(|pool| pool.banner.as_ref())
            .map(|text| text.as_bytes().to_vec())
            .into_iter()
            .collect(),
        Type::APPLICATION_VERSION => vec![APPLICATION.as_bytes().to_vec()],
        _ => Vec::new(),
    };
    octets.into_iter().map(|octets| Attribute::octets(asked.0, octets)).collect()
}

/// Leases the peer an address of a family, if it has none yet.
fn lease(sa: &mut IkeSa, cx: &mut Context, family: Family, wanted: Option<IpAddr>) -> Option<IpAddr> {
    let of_family = |address: &&IpAddr| Family::of(**address) == family;
    if let Some(address) = sa.inside.remote.iter().find(of_family) {
        return Some(*address);
    }
    let pools = &sa.connection.pools;
    let leased = cx.leases.lease(pools, family, sa.peer.remote(), wanted, sa.channel.our_spi());
    match leased {
        Some(address) => sa.inside.remote.push(address),
        None if !pools.is_empty() => {
            let sentence = format!("no {family} address is free in the pools {}", pools.join(", "));
            sa.report(cx, Error::Local(sentence));
        }
        None => {}
    }
    leased
}

/// A network as Unity writes it: address, mask, then protocol and ports, which are none.
fn unity_network(network: &AddressRange) -> Option<Vec<u8>> {
    let (IpAddr::V4(address), length) = network.as_prefix()? else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or_default();
    Some([&address.octets()[..], &Ipv4Addr::from(mask).octets(), &[0; 6]].concat())
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

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Reads an address; one of IPv6 may have the length of its prefix behind it.
fn address_in(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 | 17 => <[u8; 16]>::try_from(octets.get(..16)?).ok().map(IpAddr::from),
        _ => None,
    }
}
