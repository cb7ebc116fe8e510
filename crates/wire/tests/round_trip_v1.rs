//! What is written as IKEv1 reads back the same, whatever it is; and no octets whatever make a decoder panic.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::isakmp::{Flags, Header, IkeSpi};
use wire::registry::v1::{ConfigurationType, NotifyType, ProtocolId};
use wire::registry::{CertificateEncoding, ExchangeType, IdType, PayloadType};
use wire::v1::{self, *};

proptest! {
    #[test]
    fn payloads_read_back(payloads in vec(payload(), 0..8), padding in octets(20)) {
        let (first, octets) = v1::encode_payloads(&payloads).unwrap();
        let plaintext = [octets, padding].concat();
        prop_assert_eq!(payloads_of(&v1::decode_payloads(first, &plaintext).unwrap()), payloads);
    }

    #[test]
    fn what_was_hashed_is_what_came(payloads in vec(payload(), 1..8), padding in octets(20)) {
        let (first, octets) = v1::encode_payloads(&payloads).unwrap();
        let plaintext = [octets.clone(), padding].concat();
        let chain = v1::decode_payloads(first, &plaintext).unwrap();
        for (index, received) in chain.payloads.iter().enumerate() {
            let (_, following) = v1::encode_payloads(&payloads[index + 1..]).unwrap();
            prop_assert_eq!(received.following, &following);
            let (_, alone) = v1::encode_payloads(&payloads[index..=index]).unwrap();
            prop_assert_eq!(received.body, &alone[4..]);
        }
    }

    #[test]
    fn messages_read_back(fields in header_fields(), payloads in vec(payload(), 0..4)) {
        let (first, body) = v1::encode_payloads(&payloads).unwrap();
        let octets = v1::encode_message(&fields, first, &body).unwrap();
        let datagram = v1::decode(&octets).unwrap();
        prop_assert_eq!(HeaderFields::from(&datagram.header), fields);
        match datagram.content {
            Content::Clear(chain) => prop_assert_eq!(payloads_of(&chain), payloads),
            Content::Encrypted(ciphertext) => prop_assert_eq!(ciphertext, &body),
            Content::Fragment(_) => prop_assert!(false, "no payload is a fragment"),
        }
    }

    #[test]
    fn fragments_read_back(
        fields in header_fields(),
        id: u16,
        number in 1..=u8::MAX,
        is_last: bool,
        data in octets(300),
    ) {
        let fragment = Fragment { id, number, is_last, data: &data };
        let octets = v1::encode_fragment(&fields, &fragment).unwrap();
        prop_assert_eq!(v1::decode(&octets).unwrap().content, Content::Fragment(fragment));
    }

    /// A decoder may be more lenient than the encoder, but what it made of a message must survive.
    #[test]
    fn what_was_read_writes_and_reads_the_same(message in mutated_message()) {
        if let Ok(Datagram { content: Content::Clear(chain), .. }) = v1::decode(&message) {
            let payloads = payloads_of(&chain);
            let (first, octets) = v1::encode_payloads(&payloads).unwrap();
            prop_assert_eq!(payloads_of(&v1::decode_payloads(first, &octets).unwrap()), payloads);
        }
    }

    #[test]
    fn a_shortened_chain_is_refused(payloads in vec(payload(), 1..4), cut in any::<prop::sample::Index>()) {
        let (first, octets) = v1::encode_payloads(&payloads).unwrap();
        prop_assert!(v1::decode_payloads(first, &octets[..cut.index(octets.len())]).is_err());
    }

    #[test]
    fn nothing_panics(first: u8, octets in octets(300)) {
        let _ = v1::decode_payloads(PayloadType(first), &octets);
        let _ = v1::decode(&octets);
    }

    #[test]
    fn every_explanation_is_one_line(payload in payload()) {
        let sentence = payload.explain();
        prop_assert!(sentence.contains(": ") && !sentence.contains('\n'), "{}", sentence);
    }
}

fn payloads_of(chain: &Chain<'_>) -> Vec<Payload> {
    chain.payloads.iter().map(|received| received.payload.clone()).collect()
}

/// A valid message in the clear with a few octets changed, its length field right: it gets past the header.
fn mutated_message() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (header_fields(), vec(payload(), 1..5), changes).prop_map(|(fields, payloads, changes)| {
        let (first, body) = v1::encode_payloads(&payloads).unwrap();
        let clear = HeaderFields { flags: Flags::NONE, ..fields };
        let mut octets = v1::encode_message(&clear, first, &body).unwrap();
        for (at, value) in changes {
            let body = &mut octets[Header::LEN..];
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

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..5).prop_map(Payload::SecurityAssociation),
        octets(200).prop_map(Payload::KeyExchange),
        identification().prop_map(Payload::Identification),
        certificate().prop_map(Payload::Certificate),
        certificate().prop_map(Payload::CertificateRequest),
        octets(64).prop_map(Payload::Hash),
        octets(200).prop_map(Payload::Signature),
        vec(any::<u8>(), wire::limits::NONCE_LENGTH_V1).prop_map(Payload::Nonce),
        notification().prop_map(Payload::Notification),
        delete().prop_map(Payload::Delete),
        octets(40).prop_map(Payload::VendorId),
        known_mark().prop_map(Payload::VendorId),
        attributes().prop_map(Payload::Attributes),
        (draft(), octets(32)).prop_map(|(draft, hash)| Payload::NatDiscovery(draft, hash)),
        (draft(), any::<u8>(), octets(16)).prop_map(|(draft, id_type, data)| {
            Payload::NatOriginalAddress(draft, OriginalAddress { id_type: IdType(id_type), data })
        }),
        unknown().prop_map(Payload::Unknown),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    prop_oneof![Just(Draft::No), Just(Draft::Yes)]
}

fn known_mark() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(VendorId::ALL.to_vec()).prop_map(|id| id.octets().to_vec())
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
    (any::<u8>(), any::<u8>(), vec(attribute(), 0..6)).prop_map(|(number, id, attributes)| Transform {
        number,
        id,
        attributes,
    })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value =
        prop_oneof![any::<u16>().prop_map(AttributeValue::Short), octets(20).prop_map(AttributeValue::Long)];
    (0..0x8000u16, value).prop_map(|(attribute_type, value)| Attribute { attribute_type, value })
}

fn identification() -> impl Strategy<Value = Identification> {
    (any::<u8>(), any::<u8>(), any::<u16>(), octets(40)).prop_map(|(id_type, protocol, port, data)| {
        Identification { id_type: IdType(id_type), protocol, port, data }
    })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    (any::<u8>(), octets(200))
        .prop_map(|(encoding, data)| Certificate { encoding: CertificateEncoding(encoding), data })
}

fn notification() -> impl Strategy<Value = Notification> {
    (any::<u32>(), any::<u8>(), octets(16), any::<u16>(), octets(40)).prop_map(
        |(doi, protocol, spi, notify_type, data)| Notification {
            doi,
            protocol: ProtocolId(protocol),
            spi,
            notify_type: NotifyType(notify_type),
            data,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    (any::<u32>(), any::<u8>(), 1..=16u8, 0..6usize, any::<u8>()).prop_map(
        |(doi, protocol, spi_size, count, octet)| Delete {
            doi,
            protocol: ProtocolId(protocol),
            spi_size,
            spis: vec![octet; usize::from(spi_size) * count],
        },
    )
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (any::<u8>(), any::<u16>(), vec(attribute(), 0..6)).prop_map(
        |(configuration_type, identifier, attributes)| Attributes {
            configuration_type: ConfigurationType(configuration_type),
            identifier,
            attributes,
        },
    )
}

fn unknown() -> impl Strategy<Value = Unknown> {
    (prop_oneof![15..=19u8, 22..=129u8, 133..=u8::MAX], octets(40))
        .prop_map(|(payload_type, body)| Unknown { payload_type: PayloadType(payload_type), body })
}

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}
