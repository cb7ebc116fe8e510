//! The waist of the hourglass: plain data that both halves of Keyway speak.
//!
//! ```text
//!        ike  (negotiates)                 config (asks for)
//!          │ SaOp        ▲ SaEvent            │ Proposal, TrafficSelector
//!          ▼             │                    ▼
//!        ipsec / xfrm  (carry out)         ike
//! ```
//!
//! It refuses to know how a Security Association is negotiated and how it is carried out. What it does know is the one
//! transform table: IANA number, configuration keyword, key length and implementation of every algorithm.

#![forbid(unsafe_code)]

mod additional;
mod address_range;
mod certificate_exchange;
mod distinguished_name;
mod identity;
mod op;
mod priority;
mod proposal;
mod secret_fit;
mod signature_terms;
mod spec;
mod traffic_selector;
pub mod transform;
pub mod transform_v1;

pub use additional::{
    ADDITIONAL_KEY_EXCHANGES, AdditionalChoice, AdditionalOffer, AdditionalSuite, additional_keyword,
};
pub use address_range::{AddressRange, Family, InvalidRange};
pub use certificate_exchange::{CertificateExchange, InBandOcsp, SendCertificate};
pub use distinguished_name::{DistinguishedName, InvalidName};
pub use identity::{Identity, IdentityPattern, InvalidIdentity};
pub use op::{AcquiredFlow, ExpiryCause, Hardness, SaEvent, SaOp};
pub use priority::derived_priority;
pub use proposal::{ChildSuite, IkeSuite, InvalidProposal, Proposal, ProposalProtocol, Protection};
pub use secret_fit::secret_fit;
pub use signature_terms::{InvalidSignatureTerms, KeyFamily, SignatureKind, SignatureTerms, WeakSignatures};
pub use spec::{
    CopyDscp, CopyEcn, Cpi, DeviceId, Direction, DontFragment, Encapsulation, Esn, FlowPadding, Fragmenting,
    Handling, Lifetime, Mode, OriginalAddresses, Outer, PolicyAction, PolicyId, PolicySpec, Protocol, SaId,
    SaSpec, SegmentSize,
};
pub use traffic_selector::{InvalidTrafficSelector, IpProtocol, PortRange, SelectorPair, TrafficSelector};
pub use wire::esp::Spi;
