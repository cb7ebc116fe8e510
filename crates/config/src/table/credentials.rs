//! Secrets, and what swanctl.conf has beside them.

use std::net::{IpAddr, Ipv4Addr};

use crypto::Secret;
use sa::{AddressRange, IdentityPattern};

use crate::identity::PATTERN;
use crate::pool::{IP, IPV4, RANGE};
use crate::schema::{Absent, ListKey, NUMBER, Name, OptionalKey, Row, Section, Status, section};
use crate::secret::{HEXADECIMAL, PIN, SECRET};
use crate::value::{COUNT, NAME};

section! {
    SECRETS = "secrets", Status::Honoured, "Secrets, one section each; the start of the name tells the kind.";
    keys {}
    others []
    sections [
        (Name::Prefix("ike"), IKE_SECRET),
        (Name::Prefix("eap"), UNUSED_SECRET),
        (Name::Prefix("xauth"), PASSWORD),
        (Name::Prefix("ntlm"), UNUSED_SECRET),
        (Name::Prefix("ppk"), PPK_SECRET),
        (Name::Prefix("private"), KEY_PASSWORD),
        (Name::Prefix("rsa"), KEY_PASSWORD),
        (Name::Prefix("ecdsa"), KEY_PASSWORD),
        (Name::Prefix("pkcs8"), KEY_PASSWORD),
        (Name::Prefix("pkcs12"), KEY_PASSWORD),
        (Name::Prefix("token"), TOKEN_KEY),
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

section! {
    PASSWORD = "secrets.xauth<suffix>", Status::Honoured, "The password of a user (XAuth).";
    keys {
        PASSWORD_VALUE: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "secret", SECRET, Absent::Nothing,
            "The password.",
        );
        PASSWORD_ID: OptionalKey<IdentityPattern> = OptionalKey::new(
            "id*", PATTERN, Absent::Nothing,
            "The name of the user; further ones are named id-1, id-2 and so on.",
        );
    }
    others []
    sections []
}

section! {
    PPK_SECRET = "secrets.ppk<suffix>", Status::Honoured, "A post-quantum pre-shared key (RFC 8784).";
    keys {
        PPK_VALUE: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "secret", SECRET, Absent::Nothing,
            "The key itself: 256 bits that nobody can guess, as from `openssl rand -base64 32`.",
        );
        PPK_NAME: OptionalKey<IdentityPattern> = OptionalKey::new(
            "id*", PATTERN, Absent::Nothing,
            "The name by which both ends call it; further ones are named id-1, id-2 and so on.",
        );
    }
    others []
    sections []
}

static UNUSED_SECRET: Section = Section {
    path: "secrets.<other><suffix>",
    doc: "A secret for EAP.",
    keys: &[],
    others: &[],
    sections: &[],
    status: Status::Ignored {
        harmless: &[],
        instead: "only pre-shared keys and passwords of files are used so far",
    },
};

section! {
    POOLS = "pools", Status::Honoured, "Pools of virtual addresses, one section each.";
    keys {}
    others []
    sections [(Name::Any, POOL),]
}

section! {
    POOL = "pools.<pool>", Status::Honoured, "Addresses that are given to clients, and what clients are told with them.";
    keys {
        POOL_ADDRESSES: OptionalKey<AddressRange> = OptionalKey::new(
            "addrs", RANGE, Absent::Nothing,
            "The addresses: a network, whose first and last address stay free, or a range.",
        );
        POOL_NETMASK: ListKey<Ipv4Addr> = ListKey::new(
            "netmask", IPV4, "",
            "The mask that clients of IKEv1 are told.",
            "",
        );
        POOL_DNS: ListKey<IpAddr> = ListKey::new("dns", IP, "", "Name servers.", "");
        POOL_NBNS: ListKey<Ipv4Addr> = ListKey::new("nbns", IPV4, "", "Name servers of NetBIOS.", "");
        POOL_DHCP: ListKey<IpAddr> = ListKey::new("dhcp", IP, "", "DHCP servers.", "");
        POOL_SERVER: ListKey<IpAddr> = ListKey::new(
            "server", IP, "",
            "Servers of the kind that clients with Microsoft's attributes ask for.",
            "",
        );
        POOL_SUBNET: ListKey<AddressRange> = ListKey::new(
            "subnet", RANGE, "",
            "The networks behind this gateway that clients are told (RFC 7296 §3.15.1). A client of Keyway's leads these through \
             the tunnel, as far as its remote_ts allows.",
            "",
        );
        POOL_EXCLUDE: ListKey<AddressRange> = ListKey::new(
            "split_exclude", RANGE, "",
            "The networks that clients with Cisco's Unity attributes do not send through the tunnel.",
            "",
        );
        POOL_SPLIT: ListKey<AddressRange> = ListKey::new(
            "split_include", RANGE, "",
            "The networks that clients with Cisco's Unity attributes send through the tunnel; without it all.",
            "",
        );
        POOL_DOMAIN: ListKey<String> = ListKey::new(
            "domain", NAME, "",
            "The domain of names without a dot, for clients with Unity attributes. Keyway's own key; 28674 is the same.",
            "",
        );
        POOL_BANNER: ListKey<String> = ListKey::new(
            "banner", NAME, "",
            "What clients with Unity attributes show to their users. Keyway's own key; 28672 is the same.",
            "",
        );
        POOL_NUMBERED: ListKey<String> = ListKey::new(
            NUMBER, NAME, "",
            "An attribute by its number, with a text as its value.",
            "",
        );
    }
    others [
        Row::ignored("address", "addresses", &[], "clients are given the addresses of `addrs`"),
    ]
    sections []
}

section! {
    KEY_PASSWORD = "secrets.private<suffix>", Status::Honoured,
        "The password of a file with a private key. Sections named rsa, ecdsa, pkcs8 and pkcs12 are the same for files of the \
         folders of these names. A private key without a password needs no section.";
    keys {
        KEY_FILE: OptionalKey<String> = OptionalKey::new(
            "file", NAME, Absent::Nothing,
            "The file, in the folder that is named like the section unless a whole path is given.",
        );
        KEY_SECRET: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "secret", SECRET, Absent::Nothing,
            "The password.",
        );
    }
    others []
    sections []
}

section! {
    TOKEN_KEY = "secrets.token<suffix>", Status::Honoured,
        "A private key on a token, which signs there; `keyway run --pkcs11-module` names the library that speaks to it.";
    keys {
        TOKEN_HANDLE: OptionalKey<Vec<u8>> = OptionalKey::new(
            "handle", HEXADECIMAL, Absent::Nothing,
            "The key's CKA_ID.",
        );
        TOKEN_SLOT: OptionalKey<u32> = OptionalKey::new(
            "slot", COUNT, Absent::Nothing,
            "The slot that the token is in; without it any.",
        );
        TOKEN_MODULE: OptionalKey<String> = OptionalKey::new(
            "module", NAME, Absent::Nothing,
            "The module's name on the command line; without it the first there.",
        );
        TOKEN_PIN: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "pin", PIN, Absent::Nothing,
            "What unlocks the token.",
        );
    }
    others []
    sections []
}

section! {
    AUTHORITIES = "authorities", Status::Honoured,
        "Certification authorities, one section each. Those in x509ca/ are trusted without one.";
    keys {}
    others []
    sections [(Name::Any, AUTHORITY),]
}

section! {
    AUTHORITY = "authorities.<name>", Status::Honoured, "A CA, and where to ask about what it has issued.";
    keys {
        AUTHORITY_CACERT: OptionalKey<String> = OptionalKey::new(
            "cacert", NAME, Absent::Nothing,
            "The file with its certificate, in x509ca/ unless a whole path is given.",
        );
        AUTHORITY_FILE: OptionalKey<String> = OptionalKey::new(
            "file", NAME, Absent::Nothing,
            "The same.",
        );
        AUTHORITY_CRL_URIS: ListKey<String> = ListKey::new(
            "crl_uris", NAME, "",
            "Where its lists of revoked certificates are, beside what certificates themselves say.",
            "",
        );
        AUTHORITY_URI_BASE: OptionalKey<String> = OptionalKey::new(
            "cert_uri_base", NAME, Absent::Nothing,
            "Where certificates that it has issued to us can be fetched: a peer that can fetch gets this with the SHA-1 digest in \
             hexadecimal behind it, in the place of the certificate.",
        );
        AUTHORITY_OCSP_URIS: ListKey<String> = ListKey::new(
            "ocsp_uris", NAME, "",
            "Where its OCSP responders are, beside what certificates themselves say.",
            "",
        );
    }
    others [
        Row::refused("handle", "hexadecimal", &[], TOKEN),
        Row::refused("slot", "number", &[], TOKEN),
        Row::refused("module", "name", &[], TOKEN),
    ]
    sections []
}

const TOKEN: &str = "certificates are not read from tokens, so name a file";
