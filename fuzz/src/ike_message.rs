//! A datagram on port 500: an IKEv2 message as a stranger sends it.

use wire::v2::{self, HeaderFields};

use crate::ike_payloads;

/// Reads a message; what could be read must explain itself, and must read the same once written.
pub fn run(datagram: &[u8]) {
    let Ok(read) = v2::decode(datagram) else { return };
    ike_payloads::check(&read.payloads);
    let fields = HeaderFields::from(&read.header);
    match read.encrypted {
        None => {
            let written = v2::encode_clear(&fields, &read.payloads).expect("what was read fits");
            let again = v2::decode(&written).expect("what was written can be read");
            assert_eq!(again.payloads, read.payloads);
            assert_eq!(HeaderFields::from(&again.header), fields);
        }
        Some(encrypted) => {
            assert_eq!([encrypted.associated, encrypted.body].concat(), datagram);
            let (first, fragment) = (encrypted.first_payload, encrypted.fragment);
            let prefix = v2::encrypted_prefix(&fields, first, fragment, encrypted.body.len())
                .expect("what was read fits");
            let written = [&prefix, encrypted.body].concat();
            let again = v2::decode(&written).expect("what was written can be read").encrypted;
            let again = again.expect("the encrypted payload is there");
            assert_eq!((again.first_payload, again.fragment), (first, fragment));
            assert_eq!(again.body, encrypted.body);
        }
    }
}
