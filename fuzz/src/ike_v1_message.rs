//! A datagram on port 500: an IKEv1 message as a stranger sends it, or what a decrypted one holds.

use wire::registry::PayloadType;
use wire::v1::{self, Content, HeaderFields, Payload};

/// Reads a message; what could be read must explain itself, and must read the same once written.
pub fn run(datagram: &[u8]) {
    if let Some((first, plaintext)) = datagram.split_first() {
        check(v1::decode_payloads(PayloadType(*first), plaintext));
    }
    let Ok(read) = v1::decode(datagram) else { return };
    let fields = HeaderFields::from(&read.header);
    match read.content {
        Content::Clear(chain) => check(Ok(chain)),
        Content::Encrypted(ciphertext) => {
            let written = v1::encode_message(&fields, read.header.next_payload, ciphertext);
            let written = written.expect("what was read fits");
            let again = v1::decode(&written).expect("what was written can be read");
            assert_eq!(again.content, Content::Encrypted(ciphertext));
        }
        Content::Fragment(fragment) => {
            let written = v1::encode_fragment(&fields, &fragment).expect("what was read fits");
            let again = v1::decode(&written).expect("what was written can be read");
            assert_eq!(again.content, Content::Fragment(fragment));
        }
    }
}

fn check(chain: Result<v1::Chain<'_>, wire::Malformed>) {
    let Ok(chain) = chain else { return };
    let payloads: Vec<Payload> = chain.payloads.into_iter().map(|received| received.payload).collect();
    for payload in &payloads {
        let sentence = payload.explain();
        assert!(!sentence.contains('\n'), "{sentence}");
    }
    let (first, written) = v1::encode_payloads(&payloads).expect("what was read fits");
    let again = v1::decode_payloads(first, &written).expect("what was written can be read");
    assert!(again.payloads.iter().map(|received| &received.payload).eq(&payloads));
}
