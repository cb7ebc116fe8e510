//! Every reserved field of IKEv2: written as zero, and not looked at (RFC 7296 §2.5).

use wire::registry::{
    AuthMethod, ConfigurationType, EncryptionId, IdType, KeyExchangeId, PayloadType, ProtocolId,
};
use wire::v2::{
    Authentication, Configuration, Identification, KeyExchange, Payload, Proposal, TrafficSelector,
    Transform, decode_payloads, encode_payloads,
};

/// A payload, and where in it the reserved octets are. Of the second octet of each, one bit is the critical one.
fn payloads() -> Vec<(Payload, &'static [usize])> {
    let identification = || Identification { id_type: IdType::FQDN, data: b"a.example".to_vec() };
    let selectors = || {
        let [first, last] = [1, 9].map(|host| [10, 0, 0, host].into());
        vec![TrafficSelector::addresses(first, last).expect("they are of one family")]
    };
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: Vec::new(),
        transforms: vec![Transform::encryption(EncryptionId::AES_CBC, Some(128))],
    };
    let configuration =
        Configuration { configuration_type: ConfigurationType::REQUEST, attributes: Vec::new() };
    vec![
        // A proposal is at 4, its transform at 12.
        (Payload::SecurityAssociation(vec![proposal]), &[5, 13, 17]),
        (Payload::KeyExchange(KeyExchange { group: KeyExchangeId::ECP_256, data: vec![7; 64] }), &[6, 7]),
        (Payload::IdentificationInitiator(identification()), &[5, 6, 7]),
        (Payload::IdentificationResponder(identification()), &[5, 6, 7]),
        (
            Payload::Authentication(Authentication { method: AuthMethod::SHARED_KEY, data: vec![7; 32] }),
            &[5, 6, 7],
        ),
        (Payload::TrafficSelectorsInitiator(selectors()), &[5, 6, 7]),
        (Payload::TrafficSelectorsResponder(selectors()), &[5, 6, 7]),
        (Payload::Configuration(configuration), &[5, 6, 7]),
        (Payload::Nonce(vec![7; 32]), &[]),
        (Payload::VendorId(vec![7; 16]), &[]),
    ]
}

#[test]
fn reserved_fields_are_written_as_zero_and_not_looked_at() {
    for (payload, reserved) in payloads() {
        let (first, mut octets) = encode_payloads(std::slice::from_ref(&payload)).expect("it is short");
        assert_ne!(first, PayloadType::NONE);
        assert_eq!(octets[1], 0, "the critical bit and those beside it: {payload:?}");
        octets[1] = 0x7f;
        for &at in reserved {
            assert_eq!(octets[at], 0, "octet {at} of {payload:?}");
            octets[at] = 0xff;
        }
        assert_eq!(decode_payloads(first, &octets), Ok(vec![payload]));
    }
}
