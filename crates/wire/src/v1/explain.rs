//! What each payload is for, in one plain sentence, for logs and for people who are learning.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use super::{Attributes, Delete, Identification, Notification, Payload, Proposal, Transform, VendorId};
use crate::limits::{EXPLAINED_ITEMS, EXPLAINED_OCTETS};
use crate::registry::v1::{
    AhTransformId, AuthenticationAlgorithm, AuthenticationMethod, ConfigurationAttributeType,
    ConfigurationType, EncapsulationMode, EncryptionAlgorithm, EspTransformId, HashAlgorithm,
    IpcompTransformId, NotifyType, Phase1AttributeType, ProtocolId, SaAttributeType,
};
use crate::registry::{IdType, KeyExchangeId, PayloadType};

impl Payload {
    /// Says in one sentence what the payload is for and, where that is short, what it holds; its notation in the RFC
    /// first: `"NONCE: 32 random octets, so that …"`.
    pub fn explain(&self) -> String {
        match self {
            Payload::SecurityAssociation(proposals) => explain_proposals(proposals),
            Payload::KeyExchange(data) => format!(
                "KE: the sender's public value ({} octets), from which both ends derive a secret that nobody else \
                 knows",
                data.len()
            ),
            Payload::Identification(identification) => {
                format!("ID: {}", explain_identification(identification))
            }
            Payload::Certificate(certificate) => format!(
                "CERT: {} ({} octets), which binds the sender's identity to a public key",
                named(certificate.encoding.name(), "certificate form", certificate.encoding.0),
                certificate.data.len(),
            ),
            Payload::CertificateRequest(request) => format!(
                "CR: the sender would like a certificate of the form {}",
                named(request.encoding.name(), "number", request.encoding.0),
            ),
            Payload::Hash(octets) => format!(
                "HASH: {} octets that only somebody with the keys can compute, over all that matters in the exchange",
                octets.len()
            ),
            Payload::Signature(octets) => {
                format!("SIG: {} octets that only the owner of a private key can compute", octets.len())
            }
            Payload::Nonce(octets) => format!(
                "NONCE: {} random octets, so that the keys are fresh even if everything else repeats",
                octets.len()
            ),
            Payload::Notification(notification) => explain_notification(notification),
            Payload::Delete(delete) => explain_delete(delete),
            Payload::VendorId(octets) => match VendorId::read(octets) {
                Some(known) => format!("VID: {}", known.meaning()),
                None => format!("VID: a mark of {} octets that is not known here", octets.len()),
            },
            Payload::Attributes(attributes) => explain_attributes(attributes),
            Payload::NatDiscovery(..) => String::from(
                "NAT-D: a hash of an address and port, so that the receiver can see whether a NAT changed them",
            ),
            Payload::NatOriginalAddress(..) => String::from(
                "NAT-OA: an address as its own end sees it, for the checksums of transport mode behind a NAT",
            ),
            Payload::Sealed(sealed) => format!(
                "{}: {} octets of ciphertext, which only its receiver can read",
                notation(sealed.payload_type),
                sealed.body.len()
            ),
            Payload::Unknown(unknown) => format!(
                "{}: a payload that is not known here, to be skipped",
                named(unknown.payload_type.name(), "payload type", unknown.payload_type.0)
            ),
        }
    }
}

/// The notation of what may be encrypted by itself.
fn notation(payload_type: PayloadType) -> String {
    let known = match payload_type {
        PayloadType::V1_KEY_EXCHANGE => "KE",
        PayloadType::V1_IDENTIFICATION => "ID",
        PayloadType::V1_CERTIFICATE => "CERT",
        PayloadType::V1_CERTIFICATE_REQUEST => "CR",
        PayloadType::V1_HASH => "HASH",
        PayloadType::V1_NONCE => "NONCE",
        PayloadType::V1_VENDOR_ID => "VID",
        PayloadType::V1_NAT_DISCOVERY | PayloadType::V1_NAT_DISCOVERY_DRAFT => "NAT-D",
        other => return named(other.name(), "payload type", other.0),
    };
    known.to_string()
}

fn explain_proposals(proposals: &[Proposal]) -> String {
    let [first, others @ ..] = proposals else { return String::from("SA: no proposal") };
    let protocol = named(first.protocol.name(), "protocol", first.protocol.0);
    let first_transform = first
        .transforms
        .first()
        .map_or_else(|| String::from("nothing"), |transform| explain_transform(first.protocol, transform));
    let combinations: usize = proposals.iter().map(|proposal| proposal.transforms.len()).sum();
    match (others.len(), combinations) {
        (0, 0..=1) => format!("SA: {protocol} with {first_transform}"),
        _ => format!("SA: {combinations} combinations for {protocol}, the first being {first_transform}"),
    }
}

fn explain_transform(protocol: ProtocolId, transform: &Transform) -> String {
    let parts = match protocol {
        ProtocolId::ISAKMP => explain_phase_1(transform),
        _ => explain_phase_2(protocol, transform),
    };
    if parts.is_empty() { String::from("no attribute that is known here") } else { parts.join(", ") }
}

fn explain_phase_1(transform: &Transform) -> Vec<String> {
    let say = |attribute_type: Phase1AttributeType, name: fn(u16) -> Option<&'static str>, kind| {
        let number = u16::try_from(transform.number_of(attribute_type.0)?).ok()?;
        Some(named(name(number), kind, number))
    };
    let key_bits = transform.number_of(Phase1AttributeType::KEY_LENGTH.0);
    let cipher =
        say(Phase1AttributeType::ENCRYPTION_ALGORITHM, |number| EncryptionAlgorithm(number).name(), "cipher");
    let cipher = match (cipher, key_bits) {
        (Some(cipher), Some(bits)) => Some(format!("{cipher} with a {bits}-bit key")),
        (cipher, _) => cipher,
    };
    let hash = say(Phase1AttributeType::HASH_ALGORITHM, |number| HashAlgorithm(number).name(), "hash");
    let group = say(Phase1AttributeType::GROUP_DESCRIPTION, |number| KeyExchangeId(number).name(), "group");
    let method = say(
        Phase1AttributeType::AUTHENTICATION_METHOD,
        |number| AuthenticationMethod(number).name(),
        "authentication method",
    );
    [cipher, hash, group, method].into_iter().flatten().collect()
}

fn explain_phase_2(protocol: ProtocolId, transform: &Transform) -> Vec<String> {
    let id = transform.id;
    let name = match protocol {
        ProtocolId::AH => AhTransformId(id).name(),
        ProtocolId::ESP => EspTransformId(id).name(),
        ProtocolId::IPCOMP => IpcompTransformId(id).name(),
        _ => None,
    };
    let mut first = named(name, "transform", id);
    if let Some(bits) = transform.number_of(SaAttributeType::KEY_LENGTH.0) {
        first = format!("{first} with a {bits}-bit key");
    }
    let say = |attribute_type: SaAttributeType, name: fn(u16) -> Option<&'static str>, kind| {
        let number = u16::try_from(transform.number_of(attribute_type.0)?).ok()?;
        Some(named(name(number), kind, number))
    };
    let mac = say(
        SaAttributeType::AUTHENTICATION_ALGORITHM,
        |number| AuthenticationAlgorithm(number).name(),
        "MAC",
    );
    let mode = say(SaAttributeType::ENCAPSULATION_MODE, |number| EncapsulationMode(number).name(), "mode");
    let group = say(SaAttributeType::GROUP_DESCRIPTION, |number| KeyExchangeId(number).name(), "group");
    [Some(first), mac, mode.map(|mode| format!("{mode} mode")), group].into_iter().flatten().collect()
}

fn explain_identification(identification: &Identification) -> String {
    let data = identification.data.as_slice();
    let what = match identification.id_type {
        IdType::IPV4_ADDR | IdType::IPV6_ADDR => address(data),
        IdType::IPV4_ADDR_SUBNET | IdType::IPV6_ADDR_SUBNET => two(data, " mask "),
        IdType::IPV4_ADDR_RANGE | IdType::IPV6_ADDR_RANGE => two(data, " to "),
        IdType::FQDN | IdType::RFC822_ADDR => Some(explain_name(data)),
        _ => None,
    };
    let what = what.unwrap_or_else(|| {
        let form = named(identification.id_type.name(), "identity form", identification.id_type.0);
        format!("{form} ({} octets)", data.len())
    });
    match (identification.protocol, identification.port) {
        (0, 0) => what,
        (protocol, 0) => format!("{what}, IP protocol {protocol}"),
        (protocol, port) => format!("{what}, IP protocol {protocol}, port {port}"),
    }
}

fn address(data: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(data) {
        return Some(core::net::Ipv4Addr::from(octets).to_string());
    }
    <[u8; 16]>::try_from(data).ok().map(|octets| core::net::Ipv6Addr::from(octets).to_string())
}

fn two(data: &[u8], between: &str) -> Option<String> {
    let (first, second) = data.split_at(data.len() / 2);
    Some(format!("{}{between}{}", address(first)?, address(second)?))
}

/// A name as a stranger spells it, without octets that could mean something to a terminal.
fn explain_name(name: &[u8]) -> String {
    match name.split_at_checked(EXPLAINED_OCTETS) {
        Some((shown, hidden)) if !hidden.is_empty() => {
            format!("{} and {} octets more", shown.escape_ascii(), hidden.len())
        }
        _ => name.escape_ascii().to_string(),
    }
}

fn explain_delete(delete: &Delete) -> String {
    match delete.protocol {
        ProtocolId::ISAKMP => String::from("D: the sender has deleted this ISAKMP SA"),
        protocol => format!(
            "D: the sender has deleted the {} SA on which it received as {}",
            named(protocol.name(), "protocol", protocol.0),
            list(&delete.sas().collect::<Vec<_>>(), ", "),
        ),
    }
}

fn explain_attributes(attributes: &Attributes) -> String {
    let types = attributes.attributes.iter();
    let types: Vec<_> = types.map(|attribute| ConfigurationAttributeType(attribute.attribute_type)).collect();
    let what = list(&types, ", ");
    match attributes.configuration_type {
        ConfigurationType::REQUEST => format!("ATTR: the sender asks for {what}"),
        ConfigurationType::REPLY => format!("ATTR: the sender gives {what}"),
        ConfigurationType::SET => format!("ATTR: the sender tells the peer to use {what}"),
        ConfigurationType::ACK => format!("ATTR: the sender accepts {what}"),
        other => format!("ATTR: a configuration message of the kind {other}, about {what}"),
    }
}

fn explain_notification(notification: &Notification) -> String {
    let notify_type = notification.notify_type;
    let name = named(notify_type.name(), "type", notify_type.0);
    let what = meaning(notify_type).unwrap_or(if notify_type.is_error() {
        "an error"
    } else {
        "a status that is not known here, to be ignored"
    });
    format!("N({name}): {what}")
}

/// What a notification says, where it has a meaning that fits a phrase.
fn meaning(notify_type: NotifyType) -> Option<&'static str> {
    Some(match notify_type {
        NotifyType::INVALID_COOKIE => "the message belongs to no ISAKMP SA that the sender knows",
        NotifyType::INVALID_SPI => "a packet came for an SA that does not exist",
        NotifyType::NO_PROPOSAL_CHOSEN => "none of the offered combinations of algorithms is acceptable",
        NotifyType::PAYLOAD_MALFORMED => "the message could not be read; perhaps the keys of the ends differ",
        NotifyType::INVALID_ID_INFORMATION => "the identity, or the traffic that it names, is not acceptable",
        NotifyType::INVALID_HASH_INFORMATION => "the hash is not the one that it should be",
        NotifyType::AUTHENTICATION_FAILED => "the proof of identity did not hold",
        NotifyType::CONNECTED => "the responder has its SAs in place",
        NotifyType::RESPONDER_LIFETIME => "the responder's SAs live shorter than was proposed",
        NotifyType::REPLAY_STATUS => "whether the sender checks for replayed packets",
        NotifyType::INITIAL_CONTACT => "the sender has no other SA with this peer, so older ones may go",
        NotifyType::R_U_THERE => "are you there?",
        NotifyType::R_U_THERE_ACK => "I am here",
        _ => return None,
    })
}

/// A registered name, or what the number is and the number.
fn named(name: Option<&'static str>, kind: &'static str, number: impl Display) -> String {
    name.map_or_else(|| format!("{kind} {number}"), String::from)
}

/// The first few of `items`, and how many more there are.
fn list<T: Display>(items: &[T], separator: &str) -> String {
    let shown: Vec<_> = items.iter().take(EXPLAINED_ITEMS).map(T::to_string).collect();
    match items.len() {
        0 => String::from("none"),
        1..=EXPLAINED_ITEMS => shown.join(separator),
        more => format!("{} and {} more", shown.join(separator), more - EXPLAINED_ITEMS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Attribute;
    use alloc::vec;

    #[test]
    fn a_combination_names_its_algorithms() {
        let number =
            |attribute_type: Phase1AttributeType, number| Attribute::number(attribute_type.0, number);
        let attributes = vec![
            number(Phase1AttributeType::KEY_LENGTH, 256),
            number(Phase1AttributeType::ENCRYPTION_ALGORITHM, 7),
            number(Phase1AttributeType::HASH_ALGORITHM, 4),
            number(Phase1AttributeType::GROUP_DESCRIPTION, 14),
            number(Phase1AttributeType::AUTHENTICATION_METHOD, 1),
        ];
        let transforms = vec![Transform { number: 1, id: 1, attributes }];
        let proposal = Proposal { number: 1, protocol: ProtocolId::ISAKMP, spi: vec![], transforms };
        assert_eq!(
            Payload::SecurityAssociation(vec![proposal]).explain(),
            "SA: ISAKMP with AES-CBC with a 256-bit key, SHA2-256, 2048-bit MODP Group, pre-shared key"
        );
    }

    #[test]
    fn traffic_and_marks_are_told() {
        let identification =
            Identification { id_type: IdType::IPV4_ADDR, protocol: 17, port: 1701, data: vec![10, 1, 0, 1] };
        assert_eq!(
            Payload::Identification(identification).explain(),
            "ID: 10.1.0.1, IP protocol 17, port 1701"
        );
        let subnet = Identification {
            id_type: IdType::IPV4_ADDR_SUBNET,
            protocol: 0,
            port: 0,
            data: vec![10, 1, 0, 0, 255, 255, 0, 0],
        };
        assert_eq!(Payload::Identification(subnet).explain(), "ID: 10.1.0.0 mask 255.255.0.0");
        let mark = Payload::VendorId(VendorId::NatTraversal.octets().to_vec());
        assert_eq!(mark.explain(), "VID: the sender can pass NATs as RFC 3947 has it");
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_the_log() {
        let data = b"gw\nINFO all is well".to_vec();
        let payload =
            Payload::Identification(Identification { id_type: IdType::FQDN, protocol: 0, port: 0, data });
        assert_eq!(payload.explain(), "ID: gw\\nINFO all is well");
    }
}
