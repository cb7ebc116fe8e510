//! IKE_AUTH: both ends prove who they are, and make the first Child SA on the way (RFC 7296 §1.2, §2.15).
//!
//! ```text
//!   Initiator                                                      Responder
//!   HDR, SK { IDi, [CERT, …] [N(INITIAL_CONTACT),] [CERTREQ,]
//!             [IDr,] AUTH, SAi2, TSi, TSr }               -->
//!                                                         <--      HDR, SK { IDr, [CERT, …] AUTH, SAr2, TSi, TSr }
//!
//!   or, if only the Child SA fails, the IKE SA is there all the same:
//!                                                         <--      HDR, SK { IDr, AUTH, N(NO_PROPOSAL_CHOSEN) }
//!   or, if the initiator is not who it must be:
//!                                                         <--      HDR, SK { N(AUTHENTICATION_FAILED) }
//!   or, if an end has another identity to prove, the Child SA comes later (`rounds`):
//!                                                         <--      HDR, SK { IDr, AUTH, N(ANOTHER_AUTH_FOLLOWS) }
//!   HDR, SK { }                                           -->
//!                                                         <--      HDR, SK { IDr, AUTH, SAr2, TSi, TSr }
//! ```
//!
//! AUTH signs the end's own IKE_SA_INIT message, so whoever meddled with that one is found out here. Where it is a
//! signature, the story pauses up to twice: to have ours made, and to learn whether the peer's key is trusted. It is
//! [`waiting`] then, and goes on where it was.
//!
//! `certificates` asks for the peer's, `meant` finds the connection that an initiator means, `ppk` mixes a post-quantum key in,
//! `rounds` counts the proofs, `first_child` makes the Child SA, `uniqueness` ends older IKE SAs, and `standing` says what the
//! states do between messages.

mod certificates;
mod first_child;
mod initiator;
mod meant;
pub(crate) mod ppk;
mod responder;
pub(crate) mod rounds;
mod standing;
mod uniqueness;
pub(crate) mod waiting;

pub(super) use certificates::certificate_request;
pub(crate) use initiator::{Attempt, Authenticating, initiate};
pub(crate) use responder::{Admitted, Claimed, HalfOpen, SoFar};

const NAME: &str = "IKE_AUTH";
