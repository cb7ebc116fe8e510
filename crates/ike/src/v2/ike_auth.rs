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
//! `meant` finds the connection that an initiator means, `ppk` mixes a post-quantum key in, `rounds` counts the proofs,
//! `first_child` makes the Child SA, `uniqueness` ends older IKE SAs, and `standing` says what the states do between messages.

mod first_child;
mod initiator;
mod meant;
pub(crate) mod ppk;
mod responder;
pub(crate) mod rounds;
mod standing;
mod uniqueness;
pub(crate) mod waiting;

use wire::registry::CertificateEncoding;
use wire::v2::{CertificateRequest, Payload};

use crate::context::Context;
use crate::{Authentication, Connection, limits};

pub(crate) use initiator::{Attempt, Authenticating, initiate};
pub(crate) use responder::{Admitted, Claimed, HalfOpen, SoFar};

const NAME: &str = "IKE_AUTH";

/// Asks for certificates of the CAs that we trust, if the peer of one of these connections proves itself by a signature.
pub(crate) fn certificate_request<'a>(
    cx: &Context,
    connections: impl IntoIterator<Item = &'a Connection>,
) -> Option<Payload> {
    let is_signature = |authentication: &Authentication| match authentication {
        Authentication::Signature(_) => true,
        Authentication::PreSharedKey | Authentication::User => false,
    };
    let signs = |connection: &Connection| connection.peer_authentications().any(is_signature);
    if cx.authorities.is_empty() || !connections.into_iter().any(signs) {
        return None;
    }
    let authorities = cx.authorities.iter().take(limits::AUTHORITIES_NAMED);
    let authorities = authorities.flat_map(|authority| authority.key_id).collect();
    Some(Payload::CertificateRequest(CertificateRequest {
        encoding: CertificateEncoding::X509_SIGNATURE,
        authorities,
    }))
}
