//! IKEv1 messages: a header, and a chain of payloads, in the clear or encrypted as a whole (RFC 2408, RFC 2409).
//!
//! - A datagram comes in: [`decode`] reads the header and, of a message in the clear, the payloads. The ciphertext of
//!   an encrypted one its reader decrypts and hands to [`decode_payloads`].
//! - A datagram goes out: [`encode_payloads`] lays out what is to be encrypted or sent as it is, [`encode_message`] the
//!   header in front of it.
//!
//! IKEv1 hashes payloads as they came, so a decoded payload keeps the octets that it was read from: its own body, and
//! all that follows it in the chain ([`Received`]).

mod attribute;
mod datagram;
mod explain;
mod identification;
mod notification;
mod payload;
mod security_association;
mod vendor_id;

pub use attribute::{Attribute, AttributeValue, Attributes, decode_attributes, encode_attributes};
pub use datagram::{Content, Datagram, Fragment, HeaderFields, decode, encode_fragment, encode_message};
pub use identification::{Identification, OriginalAddress};
pub use notification::{DOI_IPSEC, DOI_ISAKMP, Delete, Notification};
pub use payload::{
    Certificate, Chain, Draft, Payload, Received, Sealed, Unknown, decode_payloads, encode_payloads,
};
pub use security_association::{Proposal, Transform};
pub use vendor_id::VendorId;
