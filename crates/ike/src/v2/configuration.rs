//! The Configuration payload: in IKE_AUTH a client asks for an address inside, and is given it with what belongs to it
//! (RFC 7296 §2.19, §3.15).
//!
//! ```text
//!   Initiator (client)                                           Responder (gateway)
//!   HDR, SK { IDi, …, AUTH, CP(CFG_REQUEST: IP4_ADDRESS, DNS, …),
//!             SAi2, TSi = 0.0.0.0/0, TSr }                -->
//!                                                         <--    HDR, SK { IDr, …, AUTH, CP(CFG_REPLY: IP4_ADDRESS = …),
//!                                                                          SAr2, TSi = that address, TSr }
//!
//!   or, if there is none to give, or it should have asked, the IKE SA is there without a Child SA:
//!                                                         <--    HDR, SK { IDr, …, AUTH, N(INTERNAL_ADDRESS_FAILURE) }
//!                                                         <--    HDR, SK { IDr, …, AUTH, N(FAILED_CP_REQUIRED) }
//! ```
//!
//! The client does not know its address when it offers its traffic: a selector that stands for it is all of the family, and
//! each end keeps only what is the address's own.

use sa::{AddressRange, Family};
use wire::registry::v1::ConfigurationAttributeType as Type;
use wire::registry::{ConfigurationAttributeType, ConfigurationType, NotifyType};
use wire::v2::{Configuration, ConfigurationAttribute, Payload};

use super::channel::Channel;
use super::child::Ends;
use super::contents::Contents;
use super::ike_sa::{IkeSa, Task};
use crate::configuration::{self, Attribute, Lessor};
use crate::context::Context;
use crate::error::Error;
use crate::event::DownReason;
use crate::{Connection, SelectorTemplate, Unique, limits};

// --- Client --------------------------------------------------------------------------------------------------------

/// CP(CFG_REQUEST), if the connection wants virtual addresses.
pub(crate) fn request(cx: &Context, connection: &Connection) -> Option<Payload> {
    let mut attributes = configuration::addresses_asked(cx, connection);
    let asks =
        |family| attributes.iter().any(|asked| configuration::family_asked(asked.about) == Some(family));
    let further =
        [(Family::V4, &OF_IPV4), (Family::V6, &OF_IPV6)].map(|(family, further)| (asks(family), further));
    for (is_asked, about) in further {
        if is_asked {
            attributes.extend(about.iter().map(|about| Attribute::new(*about, [])));
        }
    }
    (!attributes.is_empty()).then(|| payload(ConfigurationType::REQUEST, attributes))
}

const OF_IPV4: [Type; 2] = [Type::INTERNAL_IP4_DNS, Type::INTERNAL_IP4_SUBNET];
const OF_IPV6: [Type; 2] = [Type::INTERNAL_IP6_DNS, Type::INTERNAL_IP6_SUBNET];

/// Gives the ends as they are before the peer has given us our addresses: any of their families may be ours.
pub(crate) fn ends_before(channel: &Channel, connection: &Connection) -> Ends {
    let mut ends = channel.ends();
    let wanted = &connection.virtual_addresses;
    if !wanted.is_empty() {
        let families = [Family::V4, Family::V6].into_iter();
        let is_wanted = |family: &Family| wanted.iter().any(|address| Family::of(*address) == *family);
        ends.local = families.filter(is_wanted).map(AddressRange::any).collect();
        ends.are_open = true;
    }
    ends
}

/// CP(CFG_REPLY): takes what the peer gives.
///
/// # Errors
/// It gives no address, and we want one.
pub(crate) fn accept(sa: &mut IkeSa, cx: &mut Context, response: &Contents) -> Result<(), Error> {
    let connection = std::sync::Arc::clone(&sa.connection);
    if connection.virtual_addresses.is_empty() {
        return Ok(());
    }
    let given = response.optional_configuration()?;
    if let Some(given) = given.filter(|given| given.configuration_type == ConfigurationType::REPLY) {
        configuration::take(cx, &connection, sa.our_spi(), &mut sa.inside, attributes(given));
    }
    if !sa.inside.local.is_empty() {
        return Ok(());
    }
    let wanted = configuration::wanted_in_words(&connection);
    let fault = match response.refusal(&format!("we want the virtual addresses {wanted}")) {
        Some(refusal) => Error::Refused(refusal),
        None => Error::Unsuitable(format!("the peer gave no virtual address; we want {wanted}")),
    };
    // Without an address there is nothing that the IKE SA could serve.
    sa.queue(cx, Task::DeleteIke(DownReason::Failed(fault.clone().into()), Vec::new()));
    Err(fault)
}

// --- Gateway -------------------------------------------------------------------------------------------------------

/// CP(CFG_REQUEST) --> leases addresses, and gives CP(CFG_REPLY).
///
/// # Errors
/// No address is free, or one should have been asked for.
pub(crate) fn respond(
    sa: &mut IkeSa,
    cx: &mut Context,
    request: &Contents,
) -> Result<Option<Payload>, Error> {
    let asked = request.optional_configuration()?;
    let Some(asked) = asked.filter(|asked| asked.configuration_type == ConfigurationType::REQUEST) else {
        return if needs_address(&sa.connection) { Err(should_have_asked(&sa.connection)) } else { Ok(None) };
    };
    let asked: Vec<Attribute> = attributes(asked).take(limits::CONFIGURATION_ATTRIBUTES).collect();
    let addresses: Vec<_> = asked.iter().filter_map(address_asked).collect();
    let connection = std::sync::Arc::clone(&sa.connection);
    let is_new_start = request.notify(NotifyType::INITIAL_CONTACT).is_some();
    let succeeds = match connection.unique {
        Unique::Never => false,
        Unique::No | Unique::Keep => is_new_start,
        Unique::Replace => true,
    } && !sa.peer.remote().is_null();
    let holder = sa.our_spi();
    let lessor = Lessor { connection: &connection, client: sa.peer.remote(), holder, succeeds };
    let leased = configuration::lease(cx, &lessor, &mut sa.inside, &addresses);
    if let (true, Some((family, _))) = (leased.is_empty(), addresses.first()) {
        return Err(Error::NoAddress(configuration::none_free(&connection, *family)));
    }
    let mut given: Vec<Attribute> = leased.iter().copied().map(configuration::address_attribute).collect();
    let has = |family| leased.iter().any(|address| Family::of(*address) == family);
    let told = [(Family::V4, &TOLD_OF_IPV4[..]), (Family::V6, &TOLD_OF_IPV6[..])];
    let told = told.into_iter().filter(|(family, _)| has(*family)).flat_map(|(_, told)| told);
    given.extend(told.chain(&TOLD).flat_map(|about| configuration::told(cx, &connection, *about)));
    given.extend(configuration::told_by_number(cx, &connection));
    let asks_who_we_are = asked.iter().any(|asked| asked.about == Type::APPLICATION_VERSION);
    given.extend(asks_who_we_are.then(who_we_are));
    Ok((!given.is_empty()).then(|| payload(ConfigurationType::REPLY, given)))
}

/// What belongs to an address of each family, whether it is asked for or not (RFC 7296 §3.15.1: a reply may hold more).
const TOLD_OF_IPV4: [Type; 5] = [
    Type::INTERNAL_IP4_DNS,
    Type::INTERNAL_IP4_NBNS,
    Type::INTERNAL_IP4_DHCP,
    Type::INTERNAL_IP4_SUBNET,
    configuration::INTERNAL_IP4_SERVER,
];
const TOLD_OF_IPV6: [Type; 4] = [
    Type::INTERNAL_IP6_DNS,
    Type::INTERNAL_IP6_DHCP,
    Type::INTERNAL_IP6_SUBNET,
    configuration::INTERNAL_IP6_SERVER,
];
const TOLD: [Type; 3] = [Type::UNITY_SPLIT_INCLUDE, Type::UNITY_LOCAL_LAN, Type::UNITY_DEFAULT_DOMAIN];

fn address_asked(asked: &Attribute) -> Option<(Family, Option<std::net::IpAddr>)> {
    let wanted = configuration::address_in(&asked.value).filter(|address| !address.is_unspecified());
    Some((configuration::family_asked(asked.about)?, wanted))
}

/// Tells whether a connection has nothing for a peer without a virtual address.
fn needs_address(connection: &Connection) -> bool {
    let is_dynamic = |template: &SelectorTemplate| matches!(template, SelectorTemplate::Dynamic(..));
    let mut children = connection.children.iter();
    !connection.pools.is_empty() && children.all(|child| child.remote_selectors.iter().all(is_dynamic))
}

fn should_have_asked(connection: &Connection) -> Error {
    Error::ShouldHaveAsked(format!(
        "the peer asks for no virtual address; {} gives its peers one out of {}",
        connection.name,
        connection.pools.join(", ")
    ))
}

// --- Both, at any time ---------------------------------------------------------------------------------------------

/// INFORMATIONAL { CP(CFG_REQUEST: APPLICATION_VERSION) } --> says who we are (RFC 7296 §2.20).
/// INFORMATIONAL { CP(CFG_SET) } --> accepts nothing of it (RFC 7296 §3.15).
pub(crate) fn answer_informational(request: &Contents) -> Result<Option<Payload>, Error> {
    let Some(asked) = request.optional_configuration()? else { return Ok(None) };
    Ok(match asked.configuration_type {
        ConfigurationType::REQUEST => {
            let asks_who_we_are = attributes(asked).any(|asked| asked.about == Type::APPLICATION_VERSION);
            let given = asks_who_we_are.then(who_we_are);
            Some(payload(ConfigurationType::REPLY, given.into_iter().collect()))
        }
        ConfigurationType::SET => Some(payload(ConfigurationType::ACK, Vec::new())),
        _ => None,
    })
}

fn who_we_are() -> Attribute {
    Attribute::new(Type::APPLICATION_VERSION, configuration::APPLICATION)
}

fn payload(configuration_type: ConfigurationType, attributes: Vec<Attribute>) -> Payload {
    let attributes = attributes.into_iter().map(|Attribute { about, value }| ConfigurationAttribute {
        attribute_type: ConfigurationAttributeType(about.0),
        value,
    });
    Payload::Configuration(Configuration { configuration_type, attributes: attributes.collect() })
}

fn attributes(configuration: &Configuration) -> impl Iterator<Item = Attribute> + use<'_> {
    let attributes = configuration.attributes.iter();
    attributes.map(|given| Attribute::new(Type(given.attribute_type.0), given.value.clone()))
}
