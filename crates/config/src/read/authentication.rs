//! How the two ends prove who they are: `local` and `remote`, and the certificates and keys that they name.

use sa::{Identity, IdentityPattern, SignatureTerms, WeakSignatures};

use super::materials::{materials, section_materials};
use crate::connection::{
    Authentication, Method, OwnCredentials, PeerCredentials, Versions, WeakAlgorithms, Xauth,
};
use crate::material::Folder;
use crate::reader::Reader;
use crate::schema::Row;
use crate::table::authentication::*;

/// Who we are.
pub(super) struct Local {
    pub(super) identity: Option<Identity>,
    pub(super) authentication: Authentication,
    pub(super) credentials: OwnCredentials,
}

/// Who the peer must be.
pub(super) struct Remote {
    pub(super) identity: IdentityPattern,
    pub(super) authentication: Authentication,
    pub(super) credentials: PeerCredentials,
}

/// Reads `local`.
pub(super) fn local(connection: &Reader<'_>, weak: WeakAlgorithms) -> Local {
    let Some(round) = only_round(connection, "local") else {
        let credentials = OwnCredentials::default();
        return Local { identity: None, authentication: Authentication::PreSharedKey, credentials };
    };
    let mut certificates = materials(&round, &LOCAL_CERTS, Folder::X509);
    certificates.extend(section_materials(&round, "cert", &OWN_CERTIFICATE_FILE, Folder::X509));
    let keys = materials(&round, &LOCAL_PUBKEYS, Folder::PublicKey);
    Local {
        identity: local_identity(&round),
        authentication: authentication(&round, &LOCAL_AUTH.row, round.one(&LOCAL_AUTH), weak),
        credentials: OwnCredentials { certificates, keys },
    }
}

/// Reads `remote`.
pub(super) fn remote(connection: &Reader<'_>, weak: WeakAlgorithms) -> Remote {
    let Some(round) = only_round(connection, "remote") else {
        let credentials = PeerCredentials::default();
        let authentication = Authentication::PreSharedKey;
        return Remote { identity: IdentityPattern::Any, authentication, credentials };
    };
    let mut certificates = materials(&round, &REMOTE_CERTS, Folder::X509);
    certificates.extend(section_materials(&round, "cert", &PEER_CERTIFICATE_FILE, Folder::X509));
    let mut authorities = materials(&round, &REMOTE_CACERTS, Folder::X509Ca);
    authorities.extend(section_materials(&round, "cacert", &PEER_CERTIFICATE_FILE, Folder::X509Ca));
    let authentication = authentication(&round, &REMOTE_AUTH.row, round.one(&REMOTE_AUTH), weak);
    let credentials = PeerCredentials {
        certificates,
        keys: materials(&round, &REMOTE_PUBKEYS, Folder::PublicKey),
        authorities,
        policies: round.many(&CERT_POLICY),
        revocation: round.one(&REVOCATION),
    };
    if authentication == Authentication::PreSharedKey {
        check_constraints(&round);
    }
    Remote { identity: round.one(&REMOTE_ID), authentication, credentials }
}

/// Whoever wants a certificate of the peer must not be content with a secret.
fn check_constraints(round: &Reader<'_>) {
    let constraints = [&REMOTE_CERTS.row, &REMOTE_CACERTS.row, &REMOTE_PUBKEYS.row, &CERT_POLICY.row];
    for row in constraints.into_iter().filter(|row| round.has(row)) {
        let message = format!("`{}` has no effect on a peer that proves itself by a secret", row.name);
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

/// Finds the one section that says how an end's device authenticates.
fn only_round<'a>(connection: &Reader<'a>, end: &str) -> Option<Reader<'a>> {
    let (devices, users) = rounds(connection, end);
    if let Some(second) = devices.get(1).or(users.get(1)) {
        second.section_error("a second round of authentication (RFC 4739) is not supported yet", "");
    }
    if devices.is_empty() {
        let when = if users.is_empty() { "" } else { " before its user does" };
        connection.section_error(
            format!("`{}` does not say how its {end} end authenticates{when}", connection.name()),
            format!("add `{end} {{ auth = psk }}`"),
        );
    }
    devices.into_iter().next()
}

/// Gives the sections about an end's device, and those about its user.
fn rounds<'a>(connection: &Reader<'a>, end: &str) -> (Vec<Reader<'a>>, Vec<Reader<'a>>) {
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
        // A user's round is none of a device.
        Method::Xauth => return Authentication::PreSharedKey,
        Method::Eap => "EAP is",
    };
    round.error(row, format!("{unsupported} not supported yet"), "write `auth = psk` or `auth = pubkey`");
    Authentication::PreSharedKey
}
