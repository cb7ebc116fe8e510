//! A laboratory of network namespaces, in which Keyway meets itself and strongSwan.
//!
//! ```text
//!     host a ── gateway a ── wire ── gateway b ── host b
//! ```
//!
//! A [`Lab`] lays the cables; the wire may translate addresses ([`Wire::Nat`]) or lose packets ([`Lab::lose`]). On each
//! gateway runs a [`Gateway`]: a [`Keyway`] or a [`StrongSwan`], both configured with the text of one [`Tunnel`] and both
//! driven through the vici protocol. A [`Guest`] is a gateway with a Linux kernel of its own, in which [`GuestStrongSwan`],
//! [`Libreswan`] or [`OpenIked`] may run. [`traffic`] moves packets from host to host, and [`Capture`] sees what the wire sees.
//!
//! Nothing here touches the namespace that it was started in, and whatever it makes carries the process id in its name: it
//! goes when the [`Lab`] is dropped, when the process is interrupted, and at the latest when the next lab is made. The code
//! is blocking and panics nowhere; it asks for root (or for a user namespace in which it is root), `iproute2`, and the
//! programs that it is told to start.

#![forbid(unsafe_code)]

pub mod traffic;

mod capture;
mod certificates;
mod cleanup;
mod failure;
mod gateway;
mod guest;
mod guest_strongswan;
mod keyway;
mod lab;
mod libreswan;
mod namespace;
mod newer_openssl;
mod openiked;
mod pair;
mod process;
mod sas;
mod strongswan;
mod swanctl;
mod tunnel;
mod unpacked;
mod wait;

pub use capture::{Capture, Recording};
pub use certificates::{Certificates, Identity};
pub use failure::{Failure, Result};
pub use gateway::{Gateway, Implementation};
pub use guest::Guest;
pub use guest_strongswan::GuestStrongSwan;
pub use keyway::{Keyway, program as keyway_program};
pub use lab::{Cut, End, Family, Lab, Site, Wire};
pub use libreswan::Libreswan;
pub use namespace::Namespace;
pub use newer_openssl::NewerOpenSsl;
pub use openiked::OpenIked;
pub use pair::{Pair, Tied};
pub use process::{Answer, Process};
pub use sas::{ChildSa, IkeSa};
pub use strongswan::StrongSwan;
pub use swanctl::Swanctl;
pub use tunnel::{CHILD, CONNECTION, PASSWORD, Proof, Tunnel, USER};
pub use unpacked::root_of as unpacked_root;
pub use wait::{until, within};
