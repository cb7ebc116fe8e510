//! The keys of `local` and `remote`: who the ends are and how they prove it.

use sa::IdentityPattern;

use crate::connection::{METHOD, Method};
use crate::identity::PATTERN;
use crate::schema::{Absent, Key, Name, OptionalKey, Row, Status, section};

section! {
    LOCAL = "connections.<conn>.local<suffix>", Status::Honoured, "Who we are and how we prove it.";
    keys {
        LOCAL_AUTH: Key<Method> = Key::new(
            "auth", METHOD, "pubkey",
            "How we prove who we are: psk is by a pre-shared key.",
            "What swanctl.conf means by leaving it out. Certificates are not supported yet, so write psk.",
        );
        LOCAL_ID: OptionalKey<IdentityPattern> = OptionalKey::new(
            "id", PATTERN, Absent::Follows("our address"),
            "Who we say we are.",
        );
    }
    others [
        Row::moot("round", "number", "Orders several rounds of authentication; there is only one so far."),
        Row::ignored("certs", "files", &[], CERTIFICATES_ONLY),
        Row::ignored("pubkeys", "files", &[], CERTIFICATES_ONLY),
        Row::ignored("eap_id", "identity", &[], EAP_ONLY),
        Row::ignored("aaa_id", "identity", &[], EAP_ONLY),
        Row::ignored("xauth_id", "identity", &[], EAP_ONLY),
    ]
    sections [(Name::Prefix("cert"), OWN_CERTIFICATE),]
}

section! {
    REMOTE = "connections.<conn>.remote<suffix>", Status::Honoured,
        "Who the peer must be and how it must prove it.";
    keys {
        REMOTE_AUTH: Key<Method> = Key::new(
            "auth", METHOD, "pubkey",
            "How the peer must prove who it is: psk is by a pre-shared key.",
            "What swanctl.conf means by leaving it out. Certificates are not supported yet, so write psk.",
        );
        REMOTE_ID: Key<IdentityPattern> = Key::new(
            "id", PATTERN, "%any",
            "Who the peer must be; a star may stand for the start of a name, as in *.example.",
            "Whoever knows the secret is the peer, where a secret is for one peer.",
        );
    }
    others [
        Row::moot("round", "number", "Orders several rounds of authentication; there is only one so far."),
        Row::ignored("eap_id", "identity", &["%any"], EAP_ONLY),
        Row::refused("groups", "names", &[], "group membership is not checked yet, so anybody with the secret would pass"),
        Row::refused("cert_policy", "OIDs", &[], CONSTRAINT),
        Row::refused("certs", "files", &[], CONSTRAINT),
        Row::refused("cacerts", "files", &[], CONSTRAINT),
        Row::refused("ca_id", "identity", &[], CONSTRAINT),
        Row::refused("pubkeys", "files", &[], CONSTRAINT),
        Row::ignored("revocation", "strict, ifuri or relaxed", &["relaxed"], CERTIFICATES_ONLY),
    ]
    sections [
        (Name::Prefix("cert"), PEER_CERTIFICATE),
        (Name::Prefix("cacert"), PEER_CERTIFICATE),
    ]
}

section! {
    OWN_CERTIFICATE = "connections.<conn>.local<suffix>.cert<suffix>",
        Status::Ignored { harmless: &[], instead: CERTIFICATES_ONLY },
        "A certificate of our own.";
    keys {}
    others []
    sections []
}

section! {
    PEER_CERTIFICATE = "connections.<conn>.remote<suffix>.cert<suffix>",
        Status::Refused { harmless: &[], reason: CONSTRAINT },
        "A certificate that the peer must have.";
    keys {}
    others []
    sections []
}

const CERTIFICATES_ONLY: &str = "it matters with certificates only, which are not supported yet";
const EAP_ONLY: &str = "it matters with EAP or XAuth only, which are not supported yet";
const CONSTRAINT: &str = "certificates are not supported yet, so anybody with the secret would pass";
