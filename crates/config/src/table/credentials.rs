//! Secrets, and what swanctl.conf has beside them.

use crypto::Secret;
use sa::IdentityPattern;

use crate::identity::PATTERN;
use crate::schema::{Absent, Name, OptionalKey, Section, Status, section};
use crate::secret::SECRET;

section! {
    SECRETS = "secrets", Status::Honoured, "Secrets, one section each; the start of the name tells the kind.";
    keys {}
    others []
    sections [
        (Name::Prefix("ike"), IKE_SECRET),
        (Name::Prefix("eap"), UNUSED_SECRET),
        (Name::Prefix("xauth"), UNUSED_SECRET),
        (Name::Prefix("ntlm"), UNUSED_SECRET),
        (Name::Prefix("ppk"), UNUSED_SECRET),
        (Name::Prefix("private"), UNUSED_SECRET),
        (Name::Prefix("rsa"), UNUSED_SECRET),
        (Name::Prefix("ecdsa"), UNUSED_SECRET),
        (Name::Prefix("pkcs8"), UNUSED_SECRET),
        (Name::Prefix("pkcs12"), UNUSED_SECRET),
        (Name::Prefix("token"), UNUSED_SECRET),
    ]
}

section! {
    IKE_SECRET = "secrets.ike<suffix>", Status::Honoured, "A pre-shared key.";
    keys {
        SECRET_VALUE: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "secret", SECRET, Absent::Nothing,
            "The secret itself: at least 16 characters that nobody can guess.",
        );
        SECRET_ID: OptionalKey<IdentityPattern> = OptionalKey::new(
            "id*", PATTERN, Absent::Follows("anybody"),
            "Who shares the secret; further ones are named id-1, id-2 and so on. A secret that names a peer is for that \
             peer only.",
        );
    }
    others []
    sections []
}

static UNUSED_SECRET: Section = Section {
    path: "secrets.<other><suffix>",
    doc: "A secret for EAP, XAuth, a private key, a token, or a post-quantum preshared key.",
    keys: &[],
    others: &[],
    sections: &[],
    status: Status::Ignored { harmless: &[], instead: "only ike secrets are used so far" },
};

section! {
    POOLS = "pools", Status::Ignored { harmless: &[], instead: "no virtual addresses are given out yet" },
        "Pools of virtual addresses.";
    keys {}
    others []
    sections []
}

section! {
    AUTHORITIES = "authorities", Status::Ignored { harmless: &[], instead: "certificates are not supported yet" },
        "Certification authorities.";
    keys {}
    others []
    sections []
}
