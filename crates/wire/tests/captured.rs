//! Messages that another implementation made: they must read as it says, and write back octet for
//! octet.

use wire::isakmp::Header;
use wire::registry::{EncryptionId, IntegrityId, KeyExchangeId, PrfId, ProtocolId};
use wire::v2::{self, HeaderFields, Payload, Proposal, Transform};

const SESSION: &str = include_str!("vectors/strongswan-5.9.8.txt");

/// One message of the session's file.
struct Captured {
    name: &'static str,
    /// Each payload's notation, in order.
    payloads: &'static str,
    datagram: Vec<u8>,
    /// What is inside the Encrypted payload.
    plaintext: Option<Vec<u8>>,
}

#[test]
fn every_message_reads_as_its_sender_says() {
    for message in session() {
        assert_eq!(notation(&payloads_of(&message)), message.payloads, "{}", message.name);
    }
}

#[test]
fn every_message_writes_back_octet_for_octet() {
    for message in session() {
        let datagram = v2::decode(&message.datagram).unwrap();
        let fields = HeaderFields::from(&datagram.header);
        match (datagram.encrypted, &message.plaintext) {
            (None, None) => {
                assert_eq!(v2::encode_clear(&fields, &datagram.payloads).unwrap(), message.datagram);
            }
            (Some(encrypted), Some(plaintext)) => {
                let payloads = payloads_of(&message);
                let (first, inside) = v2::encode_payloads(&payloads).unwrap();
                assert_eq!((first, &inside), (encrypted.first_payload, plaintext), "{}", message.name);
                let prefix = v2::encrypted_prefix(&fields, first, None, encrypted.body.len()).unwrap();
                assert_eq!(prefix, encrypted.associated);
                assert_eq!([encrypted.associated, encrypted.body].concat(), message.datagram);
            }
            (in_message, in_file) => panic!("{}: {in_message:?} but {in_file:?}", message.name),
        }
    }
}

#[test]
fn the_first_message_offers_what_was_configured() {
    // strongSwan was given aes128gcm16-prfsha256-x25519, aes256-sha256-sha1-modp2048-ecp256.
    let message = &session()[0];
    let [Payload::SecurityAssociation(proposals), Payload::KeyExchange(key_exchange), ..] =
        &payloads_of(message)[..]
    else {
        panic!("an IKE_SA_INIT request begins with SA and KE");
    };
    let proposal =
        |number, transforms| Proposal { number, protocol: ProtocolId::IKE, spi: vec![], transforms };
    let gcm = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(128)),
        Transform::prf(PrfId::HMAC_SHA2_256),
        Transform::key_exchange(KeyExchangeId::CURVE25519),
    ];
    let cbc = vec![
        Transform::encryption(EncryptionId::AES_CBC, Some(256)),
        Transform::integrity(IntegrityId::HMAC_SHA2_256_128),
        Transform::integrity(IntegrityId::HMAC_SHA1_96),
        Transform::prf(PrfId::HMAC_SHA2_256),
        Transform::prf(PrfId::HMAC_SHA1),
        Transform::key_exchange(KeyExchangeId::MODP_2048),
        Transform::key_exchange(KeyExchangeId::ECP_256),
    ];
    assert_eq!(proposals, &[proposal(1, gcm), proposal(2, cbc)]);
    assert_eq!((key_exchange.group, key_exchange.data.len()), (KeyExchangeId::CURVE25519, 32));
}

#[test]
fn the_tunnel_carries_what_was_configured() {
    // strongSwan was given 10.1.0.0/24[tcp/80] and 10.2.0.0/24[tcp].
    let message = &session()[2];
    let explained: Vec<String> = payloads_of(message).iter().map(Payload::explain).collect();
    for sentence in [
        "IDi: the initiator says that it is a.example.org",
        "IDr: the responder is, or should be, b@example.org",
        "TSi: the traffic on the initiator's side is 10.1.0.0 to 10.1.0.255, protocol 6, port 80",
        "TSr: the traffic on the responder's side is 10.2.0.0 to 10.2.0.255, protocol 6",
    ] {
        assert!(explained.iter().any(|line| line == sentence), "{sentence} is not in {explained:#?}");
    }
}

#[test]
fn no_message_can_be_cut_short() {
    for message in session() {
        for length in 0..message.datagram.len() {
            assert!(v2::decode(&message.datagram[..length]).is_err(), "{} at {length}", message.name);
        }
        let header = Header::decode(&message.datagram).unwrap();
        assert_eq!(header.length as usize, message.datagram.len());
    }
}

/// A message's payloads, those inside the Encrypted one where there is one.
fn payloads_of(message: &Captured) -> Vec<Payload> {
    let datagram = v2::decode(&message.datagram).unwrap();
    match (datagram.encrypted, &message.plaintext) {
        (Some(encrypted), Some(plaintext)) => {
            v2::decode_payloads(encrypted.first_payload, plaintext).unwrap()
        }
        _ => datagram.payloads,
    }
}

fn notation(payloads: &[Payload]) -> String {
    let words: Vec<_> = payloads
        .iter()
        .map(|payload| match payload {
            Payload::Notify(notify) => format!("N({})", notify.notify_type.name().unwrap()),
            payload => payload.payload_type().name().unwrap().to_owned(),
        })
        .collect();
    words.join(" ")
}

fn session() -> Vec<Captured> {
    let messages: Vec<_> =
        SESSION.split("\n\n").filter(|block| block.contains("message:")).map(parse).collect();
    assert_eq!(messages.len(), 12);
    messages
}

fn parse(block: &'static str) -> Captured {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    Captured {
        name: field("message").unwrap(),
        payloads: field("payloads").unwrap(),
        datagram: hex::decode(field("datagram").unwrap()).unwrap(),
        plaintext: field("plaintext").map(|octets| hex::decode(octets).unwrap()),
    }
}
