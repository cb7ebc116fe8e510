//! `keyway pki`: a CA of one's own, certificates, requests, revocation, and a look at what files hold.
//!
//! ```text
//!   keyway pki ca DIR NAME        DIR ─┬─ ca.crt  ca.key  ca.crl
//!   keyway pki issue DIR NAME          ├─ issued/SERIAL.crt
//!   keyway pki sign DIR REQUEST        └─ revoked, crl-number
//!   keyway pki revoke DIR FILE
//! ```
//!
//! What certificates must be is for the `pki` crate to know; here are files, the clock, and words for people.

mod arguments;
mod authority;
mod commands;
mod files;
mod names;
mod show;
mod verify;

pub(crate) use arguments::Pki;

use crate::client::Failure;
use arguments::Action;

/// Does what the command line says.
///
/// # Errors
/// It cannot be done; the failure says why in one sentence.
pub(crate) fn run(arguments: &Pki) -> Result<(), Failure> {
    match &arguments.action {
        Action::Ca(arguments) => commands::ca(arguments),
        Action::Issue(arguments) => commands::issue(arguments),
        Action::Request(arguments) => commands::request(arguments),
        Action::Sign(arguments) => commands::sign(arguments),
        Action::Revoke(arguments) => commands::revoke(arguments),
        Action::Crl(arguments) => commands::crl(arguments),
        Action::Show(arguments) => show::show(arguments),
        Action::Verify(arguments) => verify::verify(arguments),
    }
}
