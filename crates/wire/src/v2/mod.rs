//! IKEv2 messages: a header, and a chain of payloads, most often inside one that is encrypted.
//!
//! - A datagram comes in: [`decode`] reads the header and the payloads in the clear, and finds the
//!   encrypted one, which its reader opens and hands to [`decode_payloads`].
//! - A datagram goes out: [`encode_payloads`] lays out what is to be encrypted, and
//!   [`encrypted_prefix`] what goes in front of it; [`encode_clear`] lays out a whole message that
//!   is not encrypted.
//!
//! Each kind of payload is one type; its layout, with the RFC's diagram, is in the file that holds
//! it. A field that the RFC calls reserved is written as zero and not looked at when read.

mod auth_methods;
mod authentication;
mod configuration;
mod datagram;
mod explain;
mod notify;
mod payload;
mod redirect;
mod security_association;
mod traffic_selector;

pub use auth_methods::AnnouncedMethod;
pub use authentication::{Authentication, Certificate, CertificateRequest, Identification};
pub use configuration::{Configuration, ConfigurationAttribute};
pub use datagram::{
    Datagram, Encrypted, FragmentNumber, HeaderFields, decode, encode_clear, encrypted_prefix,
};
pub use notify::{Delete, Notify};
pub use payload::{
    KEYWAY_MARK, KeyExchange, Payload, STRONGSWAN_MARK, Unknown, decode_payloads, encode_payloads,
};
pub use redirect::{GatewayName, NoGatewayName};
pub use security_association::{AttributeValue, Proposal, Transform, TransformAttribute};
pub use traffic_selector::{SelectorRange, TrafficSelector, UnknownSelector};
