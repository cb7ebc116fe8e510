//! How the two ends prove who they are: `local` and `remote`, and the certificates and keys that they name.

use sa::{Identity, IdentityPattern, SignatureTerms, WeakSignatures};

use super::materials::{materials, section_materials};
use crate::connection::{
    Authentication, Method, OwnCredentials, OwnRound, PeerCredentials, PeerRound, PpkNeed, PpkTerms,
    Versions, WeakAlgorithms, Xauth,
};
use crate::material::Folder;
use crate::reader::Reader;
use crate::schema::Row;
use crate::table::authentication::*;
use crate::table::connection::{PPK_ID, PPK_REQUIRED};

/// Reads `local`, round by round; there is at least one.
pub(super) fn local(connection: &Reader<'_>, weak: WeakAlgorithms) -> (OwnRound, Vec<OwnRound>) {
    let mut rounds = device_rounds(connection, "local");
    rounds.sort_by_key(|round| round.maybe(&LOCAL_ROUND).unwrap_or_default());
    let mut read = rounds.iter().map(|round| own_round(round, weak));
    let nothing = || OwnRound {
        identity: None,
        authentication: Authentication::PreSharedKey,
        own: OwnCredentials::default(),
    };
    (read.next().unwrap_or_else(nothing), read.collect())
}

fn own_round(round: &Reader<'_>, weak: WeakAlgorithms) -> OwnRound {
    let mut certificates = materials(round, &LOCAL_CERTS, Folder::X509);
    certificates.extend(section_materials(round, "cert", &OWN_CERTIFICATE_FILE, Folder::X509));
    let keys = materials(round, &LOCAL_PUBKEYS, Folder::PublicKey);
    OwnRound {
        identity: local_identity(round),
        authentication: authentication(round, &LOCAL_AUTH.row, round.one(&LOCAL_AUTH), weak),
        own: OwnCredentials { certificates, keys },
    }
}

/// Reads `remote`, round by round; there is at least one.
pub(super) fn remote(connection: &Reader<'_>, weak: WeakAlgorithms) -> (PeerRound, Vec<PeerRound>) {
    let mut rounds = device_rounds(connection, "remote");
    rounds.sort_by_key(|round| round.maybe(&REMOTE_ROUND).unwrap_or_default());
    let mut read = rounds.iter().map(|round| peer_round(round, weak));
    let nothing = || PeerRound {
        identity: IdentityPattern::Any,
        authentication: Authentication::PreSharedKey,
        peer: PeerCredentials::default(),
    };
    (read.next().unwrap_or_else(nothing), read.collect())
}

fn peer_round(round: &Reader<'_>, weak: WeakAlgorithms) -> PeerRound {
    let mut certificates = materials(round, &REMOTE_CERTS, Folder::X509);
    certificates.extend(section_materials(round, "cert", &PEER_CERTIFICATE_FILE, Folder::X509));
    let mut authorities = materials(round, &REMOTE_CACERTS, Folder::X509Ca);
    authorities.extend(section_materials(round, "cacert", &PEER_CERTIFICATE_FILE, Folder::X509Ca));
    let authentication = authentication(round, &REMOTE_AUTH.row, round.one(&REMOTE_AUTH), weak);
    let peer = PeerCredentials {
        certificates,
        keys: materials(round, &REMOTE_PUBKEYS, Folder::PublicKey),
        authorities,
        policies: round.many(&CERT_POLICY),
        revocation: round.one(&REVOCATION),
    };
    match authentication {
        Authentication::PreSharedKey => check_constraints(round, "proves itself by a secret"),
        Authentication::Null => check_constraints(round, "proves nothing"),
        Authentication::Signature(_) | Authentication::User | Authentication::Encryption(_) => {}
    }
    let identity = round.one(&REMOTE_ID);
    if authentication == Authentication::Null && identity != IdentityPattern::Any {
        let message = "nobody knows whether a peer that proves nothing is who it says (RFC 7619 §2.2)";
        round.error(&REMOTE_ID.row, message, "leave `id` out");
    }
    PeerRound { identity, authentication, peer }
}

/// Whoever wants a certificate of the peer must not be content with less.
fn check_constraints(round: &Reader<'_>, how: &str) {
    let constraints = [&REMOTE_CERTS.row, &REMOTE_CACERTS.row, &REMOTE_PUBKEYS.row, &CERT_POLICY.row];
    for row in constraints.into_iter().filter(|row| round.has(row)) {
        let message = format!("`{}` has no effect on a peer that {how}", row.name);
        round.error(row, message, "write `auth = pubkey`, or leave it out");
    }
}

fn local_identity(round: &Reader<'_>) -> Option<Identity> {
    match round.maybe(&LOCAL_ID)? {
        IdentityPattern::Any => None,
        IdentityPattern::Exact(identity) => Some(identity),
        pattern => {
            round.error(&LOCAL_ID.row, format!("`{pattern}` stands for many, but we can be only one"), "");
            None
        }
    }
}

/// Reads which end's user gives a password after the devices have proven who they are (XAuth).
pub(super) fn xauth(connection: &Reader<'_>, versions: Versions) -> Xauth {
    let user = |end| rounds(connection, end).1.into_iter().next();
    let (ours, theirs) = (user("local"), user("remote"));
    let Some(round) = ours.as_ref().or(theirs.as_ref()) else { return Xauth::None };
    if versions != Versions::V1 {
        let message = "XAuth belongs to IKEv1, and the connection speaks IKEv2";
        round.section_error(message, "write `version = 1` in the connection");
    }
    match (&ours, &theirs) {
        (Some(ours), None) => match ours.maybe(&LOCAL_USER) {
            Some(name) => Xauth::Ours(name),
            None => {
                let message = format!("`{}` does not say which user gives a password", ours.name());
                ours.section_error(message, "add `xauth_id = …`");
                Xauth::None
            }
        },
        (Some(_), Some(theirs)) => {
            theirs.section_error("only one end's user can give a password", "");
            Xauth::None
        }
        (None, _) => Xauth::Theirs,
    }
}

/// Finds the sections that say how an end's device authenticates; a user's may stand alone (hybrid authentication).
fn device_rounds<'a>(connection: &Reader<'a>, end: &str) -> Vec<Reader<'a>> {
    let (devices, users) = rounds(connection, end);
    if let Some(second) = users.get(1) {
        second.section_error("one user gives a password, not two", "");
    }
    if devices.is_empty() && users.is_empty() {
        connection.section_error(
            format!("`{}` does not say how its {end} end authenticates", connection.name()),
            format!("add `{end} {{ auth = psk }}`"),
        );
    }
    if devices.is_empty() { users } else { devices }
}

/// Reads which post-quantum pre-shared key is mixed in.
pub(super) fn ppk(connection: &Reader<'_>) -> Option<PpkTerms> {
    let (id, need) = (connection.maybe(&PPK_ID), connection.one(&PPK_REQUIRED));
    if id.is_none() && need == PpkNeed::Required {
        let message = "a post-quantum pre-shared key is required, but not named";
        connection.error(
            &PPK_REQUIRED.row,
            message,
            "name it with `ppk_id`; `ppk_id = %any` takes any that is known",
        );
    }
    Some(PpkTerms { id: id?, need })
}

/// Gives the sections about an end's device, and those about its user.
pub(super) fn rounds<'a>(connection: &Reader<'a>, end: &str) -> (Vec<Reader<'a>>, Vec<Reader<'a>>) {
    let is_device = |round: &Reader<'_>| !round.says(&LOCAL_AUTH.row, |text| text.starts_with("xauth"));
    connection.sections(end).into_iter().partition(is_device)
}

fn authentication(round: &Reader<'_>, row: &Row, method: Method, weak: WeakAlgorithms) -> Authentication {
    let unsupported = match method {
        Method::PreSharedKey => return Authentication::PreSharedKey,
        Method::Signature(terms) => {
            let weak = match weak {
                WeakAlgorithms::Refused => WeakSignatures::Refused,
                WeakAlgorithms::Allowed => WeakSignatures::Allowed,
            };
            return Authentication::Signature(SignatureTerms { weak, ..terms });
        }
        Method::Null => return Authentication::Null,
        Method::Xauth => return Authentication::User,
        Method::Encryption(form) => return Authentication::Encryption(form),
        Method::Eap => "EAP is",
    };
    round.error(row, format!("{unsupported} not supported yet"), "write `auth = psk` or `auth = pubkey`");
    Authentication::PreSharedKey
}
