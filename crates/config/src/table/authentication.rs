//! The keys of `local` and `remote`: who the ends are and how they prove it.

use sa::IdentityPattern;

use crate::connection::{METHOD, Method, POLICY, REVOCATIONS, Revocation};
use crate::identity::PATTERN;
use crate::schema::{Absent, Key, ListKey, Name, OptionalKey, Row, Status, section};
use crate::value::{COUNT, NAME};

section! {
    LOCAL = "connections.<conn>.local<suffix>", Status::Honoured, "Who we are and how we prove it.";
    keys {
        LOCAL_AUTH: Key<Method> = Key::new(
            "auth", METHOD, "pubkey",
            "How we prove who we are: psk is by a pre-shared key; pubkey by a signature. Instead of pubkey, \
             rsa, rsa/pss, ecdsa, ed25519, ed448, mldsa44, mldsa65 or mldsa87 say with what, and may be followed by bits \
             and hashes, as in rsa/pss-3072-sha384, and by each other; rsa with a hash is PKCS #1 v1.5. ML-DSA is \
             a draft's (draft-ietf-ipsecme-ikev2-pqc-auth), which may still change. null proves nothing and names nobody \
             (RFC 7619): the peer must take that. In \
             IKEv1 a second section with xauth has our user give a name and a password besides; where the \
             peer has pubkey, it may stand alone (hybrid authentication). For a peer of IKEv1 that knows nothing else, \
             pubkey-encryption (RFC 2409 §5.2) and revised-encryption (§5.3) prove both ends by decrypting with keys of \
             RSA; whoever begins must know the peer's certificate or key beforehand. They need allow_weak = yes.",
            "What swanctl.conf means by leaving it out.",
        );
        LOCAL_ID: OptionalKey<IdentityPattern> = OptionalKey::new(
            "id", PATTERN, Absent::Follows("the subject of the first of certs, or else our address"),
            "Who we say we are.",
        );
        LOCAL_USER: OptionalKey<String> = OptionalKey::new(
            "xauth_id", NAME, Absent::Nothing,
            "The name that our user gives; his password stands among the secrets.",
        );
        LOCAL_CERTS: ListKey<String> = ListKey::new(
            "certs", NAME, "",
            "Our certificates, files of x509/ beside the configuration; the private key is found by itself. Without it, \
             any of our certificates that is for id and whose key is there may be used.",
            "",
        );
        LOCAL_ROUND: OptionalKey<u32> = OptionalKey::new(
            "round", COUNT, Absent::Follows("the order of the sections"),
            "Where this section comes among several: each of them is a round of authentication (RFC 4739), in which another \
             identity is proven, or the same once more by other means; lowest first. In IKEv1 there is one.",
        );
        LOCAL_PUBKEYS: ListKey<String> = ListKey::new(
            "pubkeys", NAME, "",
            "Our public keys, files of pubkey/, for peers that know them without a certificate.",
            "",
        );
    }
    others [
        Row::ignored("eap_id", "identity", &[], EAP_ONLY),
        Row::ignored("aaa_id", "identity", &[], EAP_ONLY),
    ]
    sections [(Name::Prefix("cert"), OWN_CERTIFICATE),]
}

section! {
    REMOTE = "connections.<conn>.remote<suffix>", Status::Honoured,
        "Who the peer must be and how it must prove it.";
    keys {
        REMOTE_AUTH: Key<Method> = Key::new(
            "auth", METHOD, "pubkey",
            "How the peer must prove who it is, in the words of local's auth; bits, key types and hashes are the least that \
             is accepted. null takes anybody (RFC 7619), whoever it says it is: such a peer has only traffic of its own \
             address, after that of all others, and ends no other's IKE SA. In IKEv1 a second section with xauth wants the name and the password of its user besides; where \
             we have pubkey, it may stand alone (hybrid authentication).",
            "What swanctl.conf means by leaving it out.",
        );
        REMOTE_ID: Key<IdentityPattern> = Key::new(
            "id", PATTERN, "%any",
            "Who the peer must be; a star may stand for the start of a name, as in *.example, or for a part of a \
             distinguished name, as in C=CH, CN=*.",
            "Whoever knows the secret, or has a certificate of a CA that is trusted, is the peer.",
        );
        REMOTE_CERTS: ListKey<String> = ListKey::new(
            "certs", NAME, "",
            "The certificates of which the peer must have one, files of x509/; no CA need stand above them.",
            "",
        );
        REMOTE_CACERTS: ListKey<String> = ListKey::new(
            "cacerts", NAME, "",
            "The CAs of which one must have certified the peer, files of x509ca/. Without it, all in there are trusted.",
            "",
        );
        REMOTE_ROUND: OptionalKey<u32> = OptionalKey::new(
            "round", COUNT, Absent::Follows("the order of the sections"),
            "Where this section comes among several: the peer must prove all of them (RFC 4739), lowest first.",
        );
        REMOTE_PUBKEYS: ListKey<String> = ListKey::new(
            "pubkeys", NAME, "",
            "Public keys of which the peer may have one without a certificate, files of pubkey/.",
            "",
        );
        CERT_POLICY: ListKey<String> = ListKey::new(
            "cert_policy", POLICY, "",
            "The certificate policies, as numbers with dots, under one of which the peer's certificate must be issued.",
            "",
        );
        REVOCATION: Key<Revocation> = Key::new(
            "revocation", REVOCATIONS, "relaxed",
            "What follows where nobody knows whether a certificate is revoked: strict refuses it, ifuri refuses it if it \
             says where to ask, relaxed accepts it. One that is revoked is never accepted.",
            "A responder that is down should not take every tunnel down with it.",
        );
    }
    others [
        Row::ignored("eap_id", "identity", &["%any"], EAP_ONLY),
        Row::refused("groups", "names", &[], "group membership is not checked yet, so anybody with the secret would pass"),
        Row::refused("ca_id", "identity", &[], "the name of a CA is not compared yet, so name its certificate in cacerts"),
    ]
    sections [
        (Name::Prefix("cert"), PEER_CERTIFICATE),
        (Name::Prefix("cacert"), PEER_CERTIFICATE),
    ]
}

section! {
    OWN_CERTIFICATE = "connections.<conn>.local<suffix>.cert<suffix>", Status::Honoured,
        "A certificate of our own.";
    keys {
        OWN_CERTIFICATE_FILE: OptionalKey<String> = OptionalKey::new(
            "file", NAME, Absent::Nothing,
            "Its file, in x509/ unless a whole path is given.",
        );
    }
    others [
        Row::refused("handle", "hexadecimal", &[], TOKEN),
        Row::refused("slot", "number", &[], TOKEN),
        Row::refused("module", "name", &[], TOKEN),
    ]
    sections []
}

section! {
    PEER_CERTIFICATE = "connections.<conn>.remote<suffix>.[ca]cert<suffix>", Status::Honoured,
        "A certificate that the peer must have, or that of a CA that must have certified it.";
    keys {
        PEER_CERTIFICATE_FILE: OptionalKey<String> = OptionalKey::new(
            "file", NAME, Absent::Nothing,
            "Its file, in x509/ or x509ca/ unless a whole path is given.",
        );
    }
    others [
        Row::refused("handle", "hexadecimal", &[], TOKEN),
        Row::refused("slot", "number", &[], TOKEN),
        Row::refused("module", "name", &[], TOKEN),
    ]
    sections []
}

const EAP_ONLY: &str = "it matters with EAP only, which is not supported yet";
const TOKEN: &str = "certificates are not read from tokens, so name a file";
