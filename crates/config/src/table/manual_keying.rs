//! The keys of SAs without IKE.

use std::net::IpAddr;

use crypto::Secret;
use sa::{Cpi, Encapsulation, Mode, Spi};

use super::child::{LOCAL_TS, PRIORITY, REMOTE_TS};
use super::handling::{DF, DSCP, DUMMIES, ECN, FRAGMENTS, MSS, PADDING, SET_MARK};
use super::interface::{INTERFACE, INTERFACE_ADDRS, INTERFACE_MTU, INTERFACE_NAMESPACE, INTERFACE_VRF};
use crate::child::REPLAY_WINDOW;
use crate::connection::{WEAK, WeakAlgorithms};
use crate::manual_keying::{CPI, IN_UDP, KEY, OWN_ADDRESS, PLAIN_MODE, SPI};
use crate::schema::{Absent, Key, Name, OptionalKey, Status, section};
use crate::value::PORT;

section! {
    MANUAL = "manual", Status::Honoured,
        "SAs whose keys are written here, one section each, with no IKE at all. Nobody renews the keys, so whoever learns \
         one reads everything that was ever sent under it, and nobody tells a replayed packet from a new one: RFC 8221 §3 \
         calls it inherently dangerous. It is for laboratories, and for peers that know nothing better.";
    keys {}
    others []
    sections [(Name::Any, MANUAL_SA),]
}

section! {
    MANUAL_SA = "manual.<name>", Status::Honoured,
        "A pair of SAs: which traffic, between which addresses. Its sections say how it is protected: esp, ah, or both, \
         where AH goes around ESP.";
    keys {
        LOCAL_ADDR: OptionalKey<IpAddr> = OptionalKey::new(
            "local_addr", OWN_ADDRESS, Absent::Nothing,
            "Our outer address; it must be there.",
        );
        REMOTE_ADDR: OptionalKey<IpAddr> = OptionalKey::new(
            "remote_addr", OWN_ADDRESS, Absent::Nothing,
            "The peer's outer address; it must be there.",
        );
        WRAPPING: Key<Mode> = Key::new(
            "mode", PLAIN_MODE, "tunnel",
            "How packets are wrapped: tunnel for networks, transport for the two ends themselves, beet for one address at \
             each end that the outer header does not show.",
            "What a gateway needs.",
        );
        CARRIER: Key<Encapsulation> = Key::new(
            "encap", IN_UDP, "no",
            "Whether ESP goes in UDP port 4500, which is the faster path in this data plane; AH cannot.",
            "The peer must be told the same.",
        );
        PEER_PORT: Key<u16> = Key::new(
            "remote_port", PORT, "4500",
            "The UDP port of the peer, with encap.",
            "RFC 3948 §2.",
        );
        CPI_IN: OptionalKey<Cpi> = OptionalKey::new(
            "cpi_in", CPI, Absent::Follows("no compression"),
            "The index of compressed packets towards us (IPComp with DEFLATE); cpi_out must be there too.",
        );
        CPI_OUT: OptionalKey<Cpi> = OptionalKey::new(
            "cpi_out", CPI, Absent::Follows("no compression"),
            "The index of compressed packets towards the peer.",
        );
        NO_WINDOW: Key<u32> = Key::new(
            "replay_window", REPLAY_WINDOW, "0",
            "How far a packet may lag behind the newest one and still be taken; 0 takes replayed packets too.",
            "An end that restarts counts from 1 again, and a window would drop all that it sends (RFC 4303 §5).",
        );
        CONSENT: Key<WeakAlgorithms> = Key::new(
            "allow_weak", WEAK, "no",
            "Whether this section may name weak algorithms, and those that count, such as AES-GCM and AES-CTR.",
            "What counts repeats itself after a restart, and gives plaintext and authentication away (RFC 8221 §3).",
        );
    }
    shared [
        LOCAL_TS, REMOTE_TS, PRIORITY,
        INTERFACE, INTERFACE_ADDRS, INTERFACE_MTU, INTERFACE_NAMESPACE, INTERFACE_VRF,
        DF, ECN, DSCP, FRAGMENTS, MSS, PADDING, DUMMIES, SET_MARK,
    ]
    others []
    sections [
        (Name::Exactly("esp"), MANUAL_ESP),
        (Name::Exactly("ah"), MANUAL_AH),
    ]
}

section! {
    MANUAL_ESP = "manual.<name>.esp", Status::Honoured, "ESP: algorithms, SPIs and keys.";
    keys {
        ENCRYPTION_IN: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "encryption_key_in", KEY, Absent::Nothing,
            "The encryption key of packets towards us, with an AEAD's salt behind it.",
        );
        ENCRYPTION_OUT: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "encryption_key_out", KEY, Absent::Nothing,
            "The encryption key of packets towards the peer.",
        );
    }
    shared [ALGORITHMS, SPI_IN, SPI_OUT, INTEGRITY_IN, INTEGRITY_OUT,]
    others []
    sections []
}

section! {
    MANUAL_AH = "manual.<name>.ah", Status::Honoured, "AH: algorithm, SPIs and keys.";
    keys {
        ALGORITHMS: OptionalKey<String> = OptionalKey::new(
            "proposal", crate::algorithm::PROPOSAL, Absent::Nothing,
            "One algorithm of each kind, as in aes256-sha256 for ESP, sha256 for AH, and perhaps esn for 64-bit sequence \
             numbers; it must be there.",
        );
        SPI_IN: OptionalKey<Spi> = OptionalKey::new(
            "spi_in", SPI, Absent::Nothing,
            "The SPI of packets towards us; it must be there.",
        );
        SPI_OUT: OptionalKey<Spi> = OptionalKey::new(
            "spi_out", SPI, Absent::Nothing,
            "The SPI of packets towards the peer; it must be there.",
        );
        INTEGRITY_IN: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "integrity_key_in", KEY, Absent::Nothing,
            "The integrity key of packets towards us.",
        );
        INTEGRITY_OUT: OptionalKey<Secret<Vec<u8>>> = OptionalKey::new(
            "integrity_key_out", KEY, Absent::Nothing,
            "The integrity key of packets towards the peer.",
        );
    }
    others []
    sections []
}
