//! What each payload is for, in one plain sentence, for logs and for people who are learning.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use super::{
    CertificateRequest, Configuration, Delete, Identification, KEYWAY_MARK, Notify, Payload, Proposal,
    STRONGSWAN_MARK,
};
use crate::limits::{EXPLAINED_ITEMS, EXPLAINED_OCTETS};
use crate::registry::{CertificateEncoding, ConfigurationType, IdType, NotifyType, PayloadType, ProtocolId};

impl Payload {
    /// Says in one sentence what the payload is for and, where that is short, what it holds; its
    /// notation in the RFC first: `"Nonce: 32 random octets, so that …"`.
    pub fn explain(&self) -> String {
        match self {
            Payload::SecurityAssociation(proposals) => explain_proposals(proposals),
            Payload::KeyExchange(key_exchange) => format!(
                "KE: the sender's public value for {} ({} octets), from which both ends derive a secret \
                 that nobody else knows",
                named(key_exchange.group.name(), "key exchange method", key_exchange.group.0),
                key_exchange.data.len(),
            ),
            Payload::IdentificationInitiator(identification) => {
                format!("IDi: the initiator says that it is {}", explain_identity(identification))
            }
            Payload::IdentificationResponder(identification) => {
                format!("IDr: the responder is, or should be, {}", explain_identity(identification))
            }
            Payload::Certificate(certificate) => format!(
                "CERT: {} ({} octets), which binds the sender's identity to a public key",
                named(certificate.encoding.name(), "certificate form", certificate.encoding.0),
                certificate.data.len(),
            ),
            Payload::CertificateRequest(request) => explain_request(request),
            Payload::Authentication(authentication) => format!(
                "AUTH: the proof that the sender is who it says and that nobody changed its first \
                 message, by {}",
                named(authentication.method.name(), "method", authentication.method.0),
            ),
            Payload::Nonce(nonce) => format!(
                "Nonce: {} random octets, so that the keys are fresh even if everything else repeats",
                nonce.len(),
            ),
            Payload::Notify(notify) => explain_notify(notify),
            Payload::Delete(delete) => explain_delete(delete),
            Payload::VendorId(mark) if *mark == STRONGSWAN_MARK => {
                String::from("V: strongSwan's mark: numbers for private use mean what they mean there")
            }
            Payload::VendorId(mark) if *mark == KEYWAY_MARK => {
                String::from("V: Keyway's mark: numbers for private use mean what they mean there")
            }
            Payload::VendorId(mark) => {
                format!("V: a mark of {} octets by which implementations know each other", mark.len())
            }
            Payload::TrafficSelectorsInitiator(selectors) => {
                format!("TSi: the traffic on the initiator's side is {}", list(selectors, "; "))
            }
            Payload::TrafficSelectorsResponder(selectors) => {
                format!("TSr: the traffic on the responder's side is {}", list(selectors, "; "))
            }
            Payload::Configuration(configuration) => explain_configuration(configuration),
            Payload::Eap(message) => {
                format!("EAP: {} octets of another protocol's authentication, passed along", message.len())
            }
            Payload::Unknown(unknown) => explain_unknown(unknown.payload_type, unknown.critical),
        }
    }
}

/// Octets in a SHA-1 hash, one for each authority in a certificate request.
const SHA1_LEN: usize = 20;

fn explain_proposals(proposals: &[Proposal]) -> String {
    let [first, others @ ..] = proposals else { return String::from("SA: no proposal") };
    let protocol = named(first.protocol.name(), "protocol", first.protocol.0);
    let transforms = list(&first.transforms, ", ");
    match others.len() {
        0 => format!("SA: a proposal for {protocol}: {transforms}"),
        others => format!("SA: {} proposals for {protocol}, the first being {transforms}", others + 1),
    }
}

fn explain_request(request: &CertificateRequest) -> String {
    match request.encoding {
        CertificateEncoding::X509_SIGNATURE => format!(
            "CERTREQ: the sender would like a certificate from one of the {} authorities that it trusts",
            request.authorities.len() / SHA1_LEN,
        ),
        encoding => format!(
            "CERTREQ: the sender would like a certificate of the form {}",
            named(encoding.name(), "number", encoding.0),
        ),
    }
}

fn explain_configuration(configuration: &Configuration) -> String {
    let attributes = configuration.attributes.iter().map(|attribute| attribute.attribute_type);
    let what = list(&attributes.collect::<Vec<_>>(), ", ");
    match configuration.configuration_type {
        ConfigurationType::REQUEST => format!("CP: the sender asks for {what}"),
        ConfigurationType::REPLY => format!("CP: the sender gives {what}"),
        ConfigurationType::SET => format!("CP: the sender tells the peer to use {what}"),
        ConfigurationType::ACK => format!("CP: the sender accepts {what}"),
        other => format!("CP: a configuration message of the kind {other}, about {what}"),
    }
}

fn explain_identity(identification: &Identification) -> String {
    let data = identification.data.as_slice();
    let address = match identification.id_type {
        IdType::IPV4_ADDR => {
            <[u8; 4]>::try_from(data).ok().map(|octets| core::net::Ipv4Addr::from(octets).to_string())
        }
        IdType::IPV6_ADDR => {
            <[u8; 16]>::try_from(data).ok().map(|octets| core::net::Ipv6Addr::from(octets).to_string())
        }
        IdType::FQDN | IdType::RFC822_ADDR => Some(explain_name(data)),
        IdType::NULL => Some(String::from("nobody in particular")),
        _ => None,
    };
    address.unwrap_or_else(|| {
        format!(
            "{} ({} octets)",
            named(identification.id_type.name(), "identity form", identification.id_type.0),
            data.len()
        )
    })
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
    match (delete.protocol, delete.spis.as_slice()) {
        (ProtocolId::IKE, _) => {
            String::from("D: the sender has deleted this IKE SA, and with it every Child SA")
        }
        (protocol, spis) => format!(
            "D: the sender has deleted the {} SA on which it received as {}",
            named(protocol.name(), "protocol", protocol.0),
            list(spis, ", "),
        ),
    }
}

fn explain_unknown(payload_type: PayloadType, critical: bool) -> String {
    let name = named(payload_type.name(), "payload type", payload_type.0);
    if critical {
        format!("{name}: a payload that is not known here, which its sender insists on")
    } else {
        format!("{name}: a payload that is not known here, to be skipped")
    }
}

fn explain_notify(notify: &Notify) -> String {
    let name = named(notify.notify_type.name(), "type", notify.notify_type.0);
    let what = meaning(notify.notify_type).unwrap_or(if notify.notify_type.is_error() {
        "an error that is not known here"
    } else {
        "a status that is not known here, to be ignored"
    });
    match notify.child_spi() {
        Some(spi) => format!("N({name}): {what} (about the SA {spi})"),
        None => format!("N({name}): {what}"),
    }
}

/// What a notify says, where it has a meaning that fits a phrase.
fn meaning(notify_type: NotifyType) -> Option<&'static str> {
    if notify_type.is_error() { error_meaning(notify_type) } else { status_meaning(notify_type) }
}

fn error_meaning(notify_type: NotifyType) -> Option<&'static str> {
    Some(match notify_type {
        NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD => {
            "the message held a payload that must be known and is not"
        }
        NotifyType::INVALID_IKE_SPI => "the message belongs to no IKE SA that the sender knows",
        NotifyType::INVALID_MAJOR_VERSION => {
            "the message was of a version of IKE that the sender does not speak"
        }
        NotifyType::INVALID_SYNTAX => "the message could not be read",
        NotifyType::INVALID_MESSAGE_ID => "the message's number was outside the window",
        NotifyType::INVALID_SPI => "a packet came for an SA that does not exist",
        NotifyType::NO_PROPOSAL_CHOSEN => "none of the offered combinations of algorithms is acceptable",
        NotifyType::INVALID_KE_PAYLOAD => {
            "the public value is for another key exchange than the one wanted, which this names"
        }
        NotifyType::AUTHENTICATION_FAILED => "the proof of identity did not hold",
        NotifyType::SINGLE_PAIR_REQUIRED => "an SA may carry one pair of addresses only",
        NotifyType::NO_ADDITIONAL_SAS => "the sender takes no more Child SAs on this IKE SA",
        NotifyType::INTERNAL_ADDRESS_FAILURE => "there is no address to give",
        NotifyType::FAILED_CP_REQUIRED => "an address must be asked for and was not",
        NotifyType::TS_UNACCEPTABLE => "the traffic offered and the traffic allowed have nothing in common",
        NotifyType::INVALID_SELECTORS => "a packet came through an SA that may not carry it",
        NotifyType::UNACCEPTABLE_ADDRESSES => "the new addresses are not acceptable",
        NotifyType::UNEXPECTED_NAT_DETECTED => "an address was changed on the way where that is not allowed",
        NotifyType::TEMPORARY_FAILURE => "the request cannot be served just now, but can later",
        NotifyType::CHILD_SA_NOT_FOUND => "the Child SA to be rekeyed does not exist",
        NotifyType::STATE_NOT_FOUND => "the key exchange to be continued is not known any more",
        _ => return None,
    })
}

fn status_meaning(notify_type: NotifyType) -> Option<&'static str> {
    Some(match notify_type {
        NotifyType::INITIAL_CONTACT => "the sender has no other IKE SA with this peer, so older ones may go",
        NotifyType::SET_WINDOW_SIZE => "how many requests the sender takes before it has answered the first",
        NotifyType::ADDITIONAL_TS_POSSIBLE => "more of the offered traffic would be allowed in further SAs",
        NotifyType::IPCOMP_SUPPORTED => "the sender can compress packets",
        NotifyType::NAT_DETECTION_SOURCE_IP => {
            "a hash of the sender's address, so the peer can see whether a NAT changed it"
        }
        NotifyType::NAT_DETECTION_DESTINATION_IP => {
            "a hash of the peer's address as the sender sees it, so the peer knows whether it is behind a NAT"
        }
        NotifyType::COOKIE => "a token that shows that the initiator can receive at its address",
        NotifyType::USE_TRANSPORT_MODE => {
            "the SA shall carry the payload of packets between the two ends themselves"
        }
        NotifyType::USE_BEET_MODE => {
            "the SA shall carry the payload of packets between one inner address at each end, which is not sent"
        }
        NotifyType::OPTIMIZED_REKEY_SUPPORTED => {
            "the sender can replace SAs without repeating what stays as it is"
        }
        NotifyType::OPTIMIZED_REKEY => "the SPI of the new SA, which in all else is as the old one",
        NotifyType::HTTP_CERT_LOOKUP_SUPPORTED => "the sender can fetch certificates from a URL",
        NotifyType::REKEY_SA => "the new SA takes the place of this one",
        NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED => {
            "the sender does not want packets padded to hide their length"
        }
        NotifyType::NON_FIRST_FRAGMENTS_ALSO => "the SA shall carry later fragments of packets too",
        NotifyType::MOBIKE_SUPPORTED => "the sender's addresses may change while the SA lives",
        NotifyType::ADDITIONAL_IP4_ADDRESS => "another IPv4 address of the sender",
        NotifyType::ADDITIONAL_IP6_ADDRESS => "another IPv6 address of the sender",
        NotifyType::NO_ADDITIONAL_ADDRESSES => "the sender has no other address",
        NotifyType::UPDATE_SA_ADDRESSES => "use the addresses of this message from now on",
        NotifyType::COOKIE2 => "a token that shows that the peer can receive at its new address",
        NotifyType::NO_NATS_ALLOWED => "the addresses that no NAT may change",
        NotifyType::AUTH_LIFETIME => "how long until the peer has to prove its identity anew",
        NotifyType::MULTIPLE_AUTH_SUPPORTED => "the sender can prove more than one identity",
        NotifyType::ANOTHER_AUTH_FOLLOWS => "the sender will prove another identity next",
        NotifyType::REDIRECT_SUPPORTED => "the sender can be sent to another gateway",
        NotifyType::REDIRECT => "go to this other gateway",
        NotifyType::REDIRECTED_FROM => "the gateway that sent the initiator here",
        NotifyType::EAP_ONLY_AUTHENTICATION => "EAP alone may prove both identities",
        NotifyType::CHILDLESS_IKEV2_SUPPORTED => "an IKE SA may begin without a Child SA",
        NotifyType::QUICK_CRASH_DETECTION => "a token by which a peer will know that this end has restarted",
        NotifyType::IKEV2_FRAGMENTATION_SUPPORTED => {
            "the sender can put a long message together from IKE's own fragments"
        }
        NotifyType::SIGNATURE_HASH_ALGORITHMS => "the hashes that the sender takes in signatures",
        NotifyType::USE_PPK => "the sender has a post-quantum pre-shared key to mix in",
        NotifyType::PPK_IDENTITY => "which post-quantum pre-shared key is meant",
        NotifyType::NO_PPK_AUTH => "a proof without the post-quantum key, should the peer not have it",
        NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED => {
            "the sender can do further exchanges before authentication"
        }
        NotifyType::IKE_SA_INIT_FULL_TRANSCRIPT_AUTH => {
            "the sender's proof covers both messages of IKE_SA_INIT"
        }
        NotifyType::ADDITIONAL_KEY_EXCHANGE => "ties the next key exchange to this one",
        NotifyType::USE_AGGFRAG => "the sender can carry traffic in packets of constant size",
        NotifyType::SUPPORTED_AUTH_METHODS => "the ways of proof that the sender takes",
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
    use crate::esp::Spi;
    use crate::registry::{AuthMethod, EncryptionId, EsnId, KeyExchangeId};
    use crate::v2::{Authentication, KeyExchange, Transform};
    use alloc::vec;

    #[test]
    fn sentences_say_what_the_payload_holds() {
        let sentences = [
            (
                Payload::KeyExchange(KeyExchange { group: KeyExchangeId::CURVE25519, data: vec![0; 32] }),
                "KE: the sender's public value for Curve25519 (32 octets), from which both ends derive a \
                 secret that nobody else knows",
            ),
            (
                Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![0; 20])),
                "N(NAT_DETECTION_SOURCE_IP): a hash of the sender's address, so the peer can see whether a \
                 NAT changed it",
            ),
            (
                Payload::Notify(Notify::about(ProtocolId::ESP, Spi(0xc0ff_ee01), NotifyType::REKEY_SA)),
                "N(REKEY_SA): the new SA takes the place of this one (about the SA c0ffee01)",
            ),
            (
                Payload::Notify(Notify::new(NotifyType(8192), vec![])),
                "N(type 8192): an error that is not known here",
            ),
            (
                Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: vec![Spi(256)] }),
                "D: the sender has deleted the ESP SA on which it received as 00000100",
            ),
            (
                Payload::Authentication(Authentication { method: AuthMethod::SHARED_KEY, data: vec![] }),
                "AUTH: the proof that the sender is who it says and that nobody changed its first message, \
                 by Shared Key Message Integrity Code",
            ),
        ];
        for (payload, sentence) in sentences {
            assert_eq!(payload.explain(), sentence);
        }
    }

    #[test]
    fn a_proposal_names_its_algorithms() {
        let transforms =
            vec![Transform::encryption(EncryptionId::AES_GCM_16, Some(128)), Transform::esn(EsnId::EXTENDED)];
        let proposal = Proposal { number: 1, protocol: ProtocolId::ESP, spi: vec![0; 4], transforms };
        assert_eq!(
            Payload::SecurityAssociation(vec![proposal]).explain(),
            "SA: a proposal for ESP: ENCR_AES_GCM_16 with a 128-bit key, Partially Transmitted 64-bit \
             Sequential Numbers"
        );
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_the_log() {
        let data = b"gw\nINFO all is well".to_vec();
        let payload = Payload::IdentificationInitiator(Identification { id_type: IdType::FQDN, data });
        assert_eq!(payload.explain(), "IDi: the initiator says that it is gw\\nINFO all is well");
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = |length| Identification { id_type: IdType::FQDN, data: vec![b'a'; length] };
        let sentence = Payload::IdentificationResponder(name(1000)).explain();
        assert!(sentence.ends_with("aaa and 872 octets more"), "{sentence}");
        assert!(Payload::IdentificationResponder(name(EXPLAINED_OCTETS)).explain().ends_with("aaa"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let spis = (256..356).map(Spi).collect();
        let sentence = Payload::Delete(Delete { protocol: ProtocolId::ESP, spis }).explain();
        assert!(sentence.ends_with("00000107 and 92 more"), "{sentence}");
    }
}
