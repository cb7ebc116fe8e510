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

mod address_range;
mod identity;
mod op;
mod proposal;
mod secret_fit;
mod spec;
mod traffic_selector;
pub mod transform;

pub use address_range::{AddressRange, Family, InvalidRange};
pub use identity::{Identity, IdentityPattern, InvalidIdentity};
pub use op::{AcquiredFlow, ExpiryCause, Hardness, SaEvent, SaOp};
pub use proposal::{EspSuite, IkeSuite, InvalidProposal, Proposal, ProposalProtocol, Protection};
pub use secret_fit::secret_fit;
pub use spec::{
    Direction, Encapsulation, Esn, Lifetime, Mode, Outer, PolicyAction, PolicyId, PolicySpec, Protocol, SaId,
    SaSpec,
};
pub use traffic_selector::{InvalidTrafficSelector, IpProtocol, PortRange, SelectorPair, TrafficSelector};
pub use wire::esp::Spi;
