//! What is written reads back the same, whatever it is; and no octets whatever make a decoder panic.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use wire::esp::Spi;
use wire::isakmp::{Flags, IkeSpi};
use wire::registry::*;
use wire::v2::{self, *};

proptest! {
    #[test]
    fn payloads_read_back(payloads in vec(payload(), 0..8)) {
        let (first, octets) = v2::encode_payloads(&payloads).unwrap();
        prop_assert_eq!(v2::decode_payloads(first, &octets), Ok(payloads));
    }

    #[test]
    fn clear_messages_read_back(fields in header_fields(), payloads in vec(payload(), 0..4)) {
        let octets = v2::encode_clear(&fields, &payloads).unwrap();
        let datagram = v2::decode(&octets).unwrap();
        prop_assert_eq!(HeaderFields::from(&datagram.header), fields);
        prop_assert_eq!(datagram.bytes, &octets);
        prop_assert_eq!(datagram.encrypted, None);
        prop_assert_eq!(datagram.payloads, payloads);
    }

    #[test]
    fn encrypted_messages_are_found(
        fields in header_fields(),
        first_payload in any::<u8>().prop_map(PayloadType),
        fragment in proptest::option::of(fragment_number()),
        body in octets(300),
    ) {
        let later = fragment.is_some_and(|fragment| fragment.number > 1);
        let first_payload = if later { PayloadType::NONE } else { first_payload };
        let prefix = v2::encrypted_prefix(&fields, first_payload, fragment, body.len()).unwrap();
        let octets = [prefix.clone(), body.clone()].concat();
        let datagram = v2::decode(&octets).unwrap();
        prop_assert_eq!(HeaderFields::from(&datagram.header), fields);
        let expected = Encrypted { first_payload, associated: &prefix, body: &body, fragment };
        prop_assert_eq!(datagram.encrypted, Some(expected));
        prop_assert!(datagram.payloads.is_empty());
    }

    /// A decoder may be more lenient than the encoder (reserved bits), but what it made of a message
    /// must survive.
    #[test]
    fn what_was_read_writes_and_reads_the_same(message in mutated_message()) {
        if let Ok(datagram) = v2::decode(&message) {
            let (first, octets) = v2::encode_payloads(&datagram.payloads).unwrap();
            prop_assert_eq!(v2::decode_payloads(first, &octets), Ok(datagram.payloads));
        }
    }

    #[test]
    fn a_shortened_chain_is_refused(
        payloads in vec(payload(), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (first, octets) = v2::encode_payloads(&payloads).unwrap();
        prop_assert!(v2::decode_payloads(first, &octets[..cut.index(octets.len())]).is_err());
    }

    #[test]
    fn arbitrary_octets_never_panic(first in any::<u8>(), octets in octets(400)) {
        if let Ok(payloads) = v2::decode_payloads(PayloadType(first), &octets) {
            for payload in payloads {
                prop_assert!(!payload.explain().is_empty());
            }
        }
    }

    #[test]
    fn every_payload_has_its_sentence(payload in payload()) {
        let sentence = payload.explain();
        prop_assert!(sentence.contains(": ") && !sentence.contains('\n'), "{}", sentence);
    }
}

/// A valid message with a few octets changed, its length field right: it gets past the header.
fn mutated_message() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    (header_fields(), vec(payload(), 1..5), changes).prop_map(|(fields, payloads, changes)| {
        let mut octets = v2::encode_clear(&fields, &payloads).unwrap();
        for (at, value) in changes {
            let body = &mut octets[wire::isakmp::Header::LEN..];
            let at = at.index(body.len());
            body[at] = value;
        }
        octets
    })
}

fn header_fields() -> impl Strategy<Value = HeaderFields> {
    (any::<u64>(), any::<u64>(), any::<u8>(), any::<u8>(), any::<u32>()).prop_map(
        |(initiator, responder, exchange, flags, message_id)| HeaderFields {
            initiator_spi: IkeSpi(initiator),
            responder_spi: IkeSpi(responder),
            exchange_type: ExchangeType(exchange),
            flags: Flags(flags),
            message_id,
        },
    )
}

fn fragment_number() -> impl Strategy<Value = FragmentNumber> {
    (1..=u16::MAX).prop_flat_map(|total| (1..=total).prop_map(move |number| FragmentNumber { number, total }))
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..5).prop_map(Payload::SecurityAssociation),
        (any::<u16>(), octets(200)).prop_map(|(group, data)| Payload::KeyExchange(KeyExchange {
            group: KeyExchangeId(group),
            data
        })),
        identification().prop_map(Payload::IdentificationInitiator),
        identification().prop_map(Payload::IdentificationResponder),
        (any::<u8>(), octets(200)).prop_map(|(encoding, data)| Payload::Certificate(Certificate {
            encoding: CertificateEncoding(encoding),
            data
        })),
        (any::<u8>(), octets(80)).prop_map(|(encoding, authorities)| Payload::CertificateRequest(
            CertificateRequest { encoding: CertificateEncoding(encoding), authorities }
        )),
        (any::<u8>(), octets(200)).prop_map(|(method, data)| Payload::Authentication(Authentication {
            method: AuthMethod(method),
            data
        })),
        vec(any::<u8>(), wire::limits::NONCE_LENGTH).prop_map(Payload::Nonce),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(40).prop_map(Payload::VendorId),
        vec(traffic_selector(), 0..6).prop_map(Payload::TrafficSelectorsInitiator),
        vec(traffic_selector(), 0..6).prop_map(Payload::TrafficSelectorsResponder),
        configuration().prop_map(Payload::Configuration),
        eap().prop_map(Payload::Eap),
        unknown().prop_map(Payload::Unknown),
    ]
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any::<u8>(), any::<u8>(), octets(8), vec(transform(), 0..6)).prop_map(
        |(number, protocol, spi, transforms)| Proposal {
            number,
            protocol: ProtocolId(protocol),
            spi,
            transforms,
        },
    )
}

fn transform() -> impl Strategy<Value = Transform> {
    (any::<u8>(), any::<u16>(), any::<Option<u16>>(), vec(attribute(), 0..3)).prop_map(
        |(transform_type, id, key_bits, unknown_attributes)| Transform {
            transform_type: TransformType(transform_type),
            id,
            key_bits,
            unknown_attributes,
        },
    )
}

fn attribute() -> impl Strategy<Value = TransformAttribute> {
    let attribute_type = (0..0x8000u16).prop_map(TransformAttributeType);
    let attribute_type = attribute_type.prop_filter("the key length", |attribute_type| {
        *attribute_type != TransformAttributeType::KEY_LENGTH
    });
    let value =
        prop_oneof![any::<u16>().prop_map(AttributeValue::Short), octets(20).prop_map(AttributeValue::Long),];
    (attribute_type, value).prop_map(|(attribute_type, value)| TransformAttribute { attribute_type, value })
}

fn identification() -> impl Strategy<Value = Identification> {
    (any::<u8>(), octets(40)).prop_map(|(id_type, data)| Identification { id_type: IdType(id_type), data })
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), octets(8), any::<u16>(), octets(40)).prop_map(|(protocol, spi, notify_type, data)| Notify {
        protocol: ProtocolId(protocol),
        spi,
        notify_type: NotifyType(notify_type),
        data,
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    let of_child_sas = (2..=u8::MAX, vec(any::<u32>().prop_map(Spi), 0..6))
        .prop_map(|(protocol, spis)| Delete { protocol: ProtocolId(protocol), spis });
    prop_oneof![Just(Delete::ike_sa()), of_child_sas]
}

fn traffic_selector() -> impl Strategy<Value = TrafficSelector> {
    prop_oneof![
        range(any::<Ipv4Addr>()).prop_map(TrafficSelector::Ipv4),
        range(any::<Ipv6Addr>()).prop_map(TrafficSelector::Ipv6),
        (9..=u8::MAX, any::<u8>(), octets(40)).prop_map(|(selector_type, ip_protocol, body)| {
            let selector_type = TrafficSelectorType(selector_type);
            TrafficSelector::Unknown(UnknownSelector { selector_type, ip_protocol, body })
        }),
    ]
}

fn range<A: Clone + std::fmt::Debug>(
    address: impl Strategy<Value = A> + Clone,
) -> impl Strategy<Value = SelectorRange<A>> {
    (any::<u8>(), any::<u16>(), any::<u16>(), address.clone(), address).prop_map(
        |(ip_protocol, start_port, end_port, start, end)| SelectorRange {
            ip_protocol,
            start_port,
            end_port,
            start,
            end,
        },
    )
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let attribute = (0..0x8000u16, octets(20)).prop_map(|(attribute_type, value)| ConfigurationAttribute {
        attribute_type: ConfigurationAttributeType(attribute_type),
        value,
    });
    (any::<u8>(), vec(attribute, 0..5)).prop_map(|(configuration_type, attributes)| Configuration {
        configuration_type: ConfigurationType(configuration_type),
        attributes,
    })
}

/// An EAP message says its own length.
fn eap() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 2]>(), octets(60)).prop_map(|(code_and_identifier, data)| {
        let length = u16::try_from(4 + data.len()).unwrap();
        [&code_and_identifier[..], &length.to_be_bytes(), &data].concat()
    })
}

fn unknown() -> impl Strategy<Value = Unknown> {
    (prop_oneof![1..=32u8, 49..=52u8, 54..=u8::MAX], any::<bool>(), octets(40)).prop_map(
        |(payload_type, critical, body)| Unknown { payload_type: PayloadType(payload_type), critical, body },
    )
}

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}
