//! What IKEv1 cannot say, and a connection that speaks nothing else must do without; and what only IKEv1 can.

use crypto::signature::SignatureScheme;
use sa::{Mode, PortRange, Proposal, transform_v1};

use crate::Authentication;
use crate::Selector;
use crate::charon::AggressiveSecrets;
use crate::child::{Child, Treatment};
use crate::connection::{Connection, Fragmentation, Phase1Mode, Versions, WeakAlgorithms, Xauth};
use crate::reader::Reader;
use crate::schema::ListKey;
use crate::table::authentication::LOCAL_AUTH;
use crate::table::child::{BUNDLE, LOCAL_TS, MODE, REMOTE_TS};
use crate::table::connection::{AGGRESSIVE, FRAGMENTED, PPK_ID, PROPOSALS};

/// Reads how phase 1 goes. Aggressive mode with a pre-shared key is a decision like that for a weak algorithm.
pub(super) fn phase_1(
    reader: &Reader<'_>,
    versions: Versions,
    weak: WeakAlgorithms,
    proof: &Authentication,
) -> Phase1Mode {
    let mode = reader.one(&AGGRESSIVE);
    if mode == Phase1Mode::Main {
        return mode;
    }
    let key = &AGGRESSIVE.row;
    if versions == Versions::V2 {
        let message = "aggressive mode belongs to IKEv1, which this connection does not speak";
        reader.error(key, message, "write `version = 1`, or leave `aggressive` out");
    }
    let warn = |message: &str, help: &str| {
        reader.faults.warning(reader.place(key), &reader.key(key.name), message, help);
    };
    let weak = match reader.consent {
        AggressiveSecrets::AskEach => weak,
        AggressiveSecrets::Consented => WeakAlgorithms::Allowed,
    };
    match (proof, weak) {
        (Authentication::Signature(_) | Authentication::User | Authentication::Null, _) => {
            warn(OPEN_TO_EYES, "main mode hides them");
        }
        // Both identities are encrypted.
        (Authentication::Encryption(_), _) => {}
        (Authentication::PreSharedKey, WeakAlgorithms::Refused) => {
            reader.error(key, OPEN_TO_GUESSING, DECIDE);
        }
        (Authentication::PreSharedKey, WeakAlgorithms::Allowed) => {
            warn(OPEN_TO_GUESSING, "main mode shows it to nobody");
        }
    }
    mode
}

const OPEN_TO_EYES: &str = "aggressive mode shows everybody on the way who the two ends are";
const OPEN_TO_GUESSING: &str = "aggressive mode shows everybody who asks a hash of the pre-shared key, from which a \
                                password can be found by trying, and who the two ends are";
const DECIDE: &str = "leave it out, or write `allow_weak = yes`, a key of Keyway's own, in the connection";

/// Complains about public key encryption where it cannot be had, and where nobody has decided for it.
pub(super) fn check_encryption(reader: &Reader<'_>, connection: &Connection, weak: WeakAlgorithms) {
    let ends = [("local", &connection.local_authentication), ("remote", &connection.remote_authentication)];
    let encrypting = ends.iter().find(|(_, end)| matches!(end, Authentication::Encryption(_)));
    let Some(section) = encrypting.and_then(|(end, _)| reader.sections(end).into_iter().next()) else {
        return;
    };
    let key = &LOCAL_AUTH.row;
    if connection.versions != Versions::V1 {
        let message =
            "authentication by public key encryption belongs to IKEv1, and the connection speaks IKEv2";
        section.error(key, message, "write `version = 1` in the connection, or `auth = pubkey`");
    }
    if connection.xauth != Xauth::None {
        let message = "no user can give a password beside public key encryption";
        section.error(key, message, "write `auth = pubkey` or `auth = psk` beside the user");
    }
    match weak {
        WeakAlgorithms::Refused => section.error(key, OPEN_TO_ORACLES, DECIDE_ENCRYPTION),
        WeakAlgorithms::Allowed => {
            let place = section.place(key);
            section.faults.warning(
                place,
                &section.key(key.name),
                OPEN_TO_ORACLES,
                "`auth = pubkey` signs instead",
            );
        }
    }
}

const OPEN_TO_ORACLES: &str = "public key encryption pads as in PKCS #1 v1.5: wherever else the same key decrypts and shows \
                               that a padding is wrong, recorded tunnels can be read, and who their ends were";
const DECIDE_ENCRYPTION: &str =
    "write `auth = pubkey`, or `allow_weak = yes`, a key of Keyway's own, in the connection";

/// Complains about everything that a connection asks for and cannot have in its version.
pub(super) fn check(reader: &Reader<'_>, connection: &Connection) {
    match connection.versions {
        Versions::V1 => check_version_1(reader, connection),
        Versions::V2 if connection.fragmentation == Fragmentation::Force => {
            let message = "`force` exists in IKEv1 only (RFC 7383 §3)";
            reader.error(&FRAGMENTED.row, message, "write `fragmentation = yes`");
        }
        Versions::V2 | Versions::Either => {}
    }
    if connection.versions != Versions::V1 {
        for_children(reader, connection, |section, child| {
            if !child.wrapping.is_empty() {
                let message = "IKEv2 cannot agree on AH around ESP";
                section.error(&BUNDLE.row, message, "write `version = 1`, or leave `bundle` out");
            }
        });
    }
}

/// Looks at each child beside its section.
pub(super) fn for_children(
    reader: &Reader<'_>,
    connection: &Connection,
    check: impl Fn(&Reader<'_>, &Child),
) {
    let sections = reader.sections("children");
    for section in sections.iter().flat_map(|section| section.sections("")) {
        if let Some(child) = connection.child(section.name()) {
            check(&section, child);
        }
    }
}

fn check_version_1(reader: &Reader<'_>, connection: &Connection) {
    check_methods(reader, connection);
    if !connection.proposals.is_empty() && !connection.proposals.iter().any(has_numbers) {
        let message = "IKEv1 has no number for any of these combinations: its phase 1 knows no AEAD";
        reader.error(&PROPOSALS.row, message, "write a cipher and a hash, as in aes256-sha256-modp2048");
    }
    for end in ["local", "remote"] {
        let (devices, _) = super::authentication::rounds(reader, end);
        if let Some(second) = devices.get(1) {
            second.section_error("IKEv1 knows one round of authentication", "write `version = 2`");
        }
    }
    if reader.has(&PPK_ID.row) {
        let message = "post-quantum pre-shared keys of RFC 8784 belong to IKEv2: that of IKEv1 is as good as its secret";
        reader.error(&PPK_ID.row, message, "write `version = 2`, or leave it out");
    }
    for_children(reader, connection, check_child);
}

/// One number says for both ends of phase 1 how they prove who they are.
fn check_methods(reader: &Reader<'_>, connection: &Connection) {
    match (&connection.local_authentication, &connection.remote_authentication) {
        (Authentication::PreSharedKey, Authentication::PreSharedKey) => {}
        // That is another's complaint.
        (Authentication::Null, _) | (_, Authentication::Null) => {}
        (Authentication::Signature(ours), Authentication::Signature(theirs)) => {
            let is_common = |scheme: &SignatureScheme| ours.allows(*scheme) && theirs.allows(*scheme);
            if !VERSION_1_SIGNATURES.iter().any(is_common) {
                let message = format!(
                    "IKEv1 has one kind of signature for both ends, RSA or ECDSA; ours is {ours}, the peer's {theirs}"
                );
                reader.section_error(message, "write the same `auth` in `local` and `remote`");
            }
        }
        (Authentication::User, Authentication::Signature(terms))
        | (Authentication::Signature(terms), Authentication::User) => {
            if !terms.allows(SignatureScheme::RsaBare) {
                let message = format!("hybrid authentication takes RSA only, and `auth` says {terms}");
                reader.section_error(
                    message,
                    "write `auth = pubkey`, or give the client a certificate as well",
                );
            }
        }
        (Authentication::User, Authentication::PreSharedKey | Authentication::User)
        | (Authentication::PreSharedKey, Authentication::User) => {
            let message =
                "a password alone proves an end only to one that has proven itself by a certificate";
            let help = "write `auth = pubkey` for the other end (hybrid authentication), or add a section with \
                        `auth = psk` for this one";
            reader.section_error(message, help);
        }
        (Authentication::Encryption(ours), Authentication::Encryption(theirs)) if ours == theirs => {}
        (Authentication::Encryption(_), _) | (_, Authentication::Encryption(_)) => {
            let message = "in IKEv1 both ends encrypt to each other's key in the same form, or neither does";
            reader.section_error(message, "write the same `auth` in `local` and `remote`");
        }
        (Authentication::PreSharedKey, Authentication::Signature(_))
        | (Authentication::Signature(_), Authentication::PreSharedKey) => {
            let message = "in IKEv1 both ends prove themselves by a pre-shared key, or both by a signature";
            reader.section_error(message, "write the same `auth` in `local` and `remote`");
        }
    }
}

/// How keys sign in IKEv1 (RFC 2409 §5.1, RFC 4754).
const VERSION_1_SIGNATURES: [SignatureScheme; 2] = [SignatureScheme::RsaBare, SignatureScheme::EcdsaBare];

fn has_numbers(proposal: &Proposal) -> bool {
    proposal.encryption.iter().any(|row| transform_v1::phase_1_cipher(row).is_some())
        && proposal.integrity.iter().any(|row| transform_v1::phase_1_hash(row).is_some())
}

fn check_child(reader: &Reader<'_>, child: &Child) {
    match child.treatment {
        Treatment::Protect(Mode::Tunnel | Mode::Transport) => {}
        Treatment::Protect(Mode::Beet) => reader.error(&MODE.row, "IKEv1 has no BEET mode", ""),
        Treatment::Pass | Treatment::Drop => return,
    }
    check_selectors(reader, &LOCAL_TS, &child.local_selectors);
    check_selectors(reader, &REMOTE_TS, &child.remote_selectors);
}

fn check_selectors(reader: &Reader<'_>, key: &ListKey<Selector>, selectors: &[Selector]) {
    if selectors.len() > 1 {
        let message = "IKEv1 carries one pair of selectors in each Child SA";
        reader.error(&key.row, message, "write a child for each");
    }
    let is_range = |ports: PortRange| ports != PortRange::ANY && ports.start() != ports.end();
    let ports = selectors.iter().map(|selector| match selector {
        Selector::Fixed(fixed) => fixed.ports,
        Selector::Dynamic(_, ports) => *ports,
    });
    if ports.into_iter().any(is_range) {
        reader.error(&key.row, "IKEv1 cannot say a range of ports", "name one port, or none");
    }
}
