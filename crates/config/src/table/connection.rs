//! The keys of a connection.

use std::time::Duration;

use super::authentication::{LOCAL, REMOTE};
use super::child::CHILDREN;
use crate::address::ADDRESS;
use crate::connection::{ENCAP, FRAGMENTATION, UNIQUE, VERSION, Version2, WEAK, WeakAlgorithms};
use crate::schema::{Absent, Key, ListKey, Name, OptionalKey, Row, Status, section};
use crate::value::{COUNT, PORT, TIME};
use crate::{AddressSpec, Encap, Fragmentation, Unique};

section! {
    CONNECTION = "connections.<conn>", Status::Honoured, "One peer: who, how, and which children.";
    keys {
        SPOKEN: Key<Version2> = Key::new(
            "version", VERSION, "2",
            "Version of IKE.",
            "IKEv2 is the one that is spoken; 0, which leaves the choice open, means the same.",
        );
        LOCAL_ADDRS: ListKey<AddressSpec> = ListKey::new(
            "local_addrs", ADDRESS, "%any",
            "Our addresses. A request to another address is not for this connection.",
            "The route to the peer chooses the address; few hosts need more.",
        );
        REMOTE_ADDRS: ListKey<AddressSpec> = ListKey::new(
            "remote_addrs", ADDRESS, "%any",
            "The peer's addresses. The first single address or name is the one that is called; a request from any other \
             address is not for this connection.",
            "A gateway that is only ever called need not know where its peers are.",
        );
        REMOTE_PORT: Key<u16> = Key::new(
            "remote_port", PORT, "500",
            "The UDP port at which the peer listens. With 500, and where there is a NAT, the conversation moves to 4500.",
            "RFC 7296 §2.",
        );
        PROPOSALS: ListKey<String> = ListKey::new(
            "proposals", crate::algorithm::PROPOSAL, "default",
            "Algorithms for the IKE SA: keywords joined by dashes, as in aes256gcm16-prfsha384-x25519; several proposals \
             are separated by commas.",
            "AEADs first, then AES-CBC with HMAC-SHA-2, on Curve25519, the NIST curves and MODP groups of 2048 bits and \
             more: all of RFC 8247's MUSTs and nothing that it advises against.",
        );
        ENCAPSULATION: Key<Encap> = Key::new(
            "encap", ENCAP, "no",
            "Whether the peer is made to believe in a NAT, so that ESP goes in UDP.",
            "ESP of its own is eight octets shorter; only firewalls that drop it are a reason.",
        );
        DPD_DELAY: Key<Duration> = Key::new(
            "dpd_delay", TIME, "30s",
            "Silence after which the peer is asked whether it lives; 0 never asks.",
            "A peer that restarted or lost its way would swallow traffic until the next rekeying. strongSwan's default is \
             0; the question costs one small message in 30 seconds of silence, and nothing while traffic flows.",
        );
        FRAGMENTED: Key<Fragmentation> = Key::new(
            "fragmentation", FRAGMENTATION, "yes",
            "Whether large IKE messages are cut into fragments of their own (RFC 7383).",
            "IP fragments are what firewalls drop first.",
        );
        UNIQUENESS: Key<Unique> = Key::new(
            "unique", UNIQUE, "no",
            "What happens to older IKE SAs with the same peer identity: never ends none, no ends them if the peer says that \
             this is its first contact, replace ends them in any case, keep refuses the new one.",
            "RFC 7296 §2.4 lets the peer say when its older SAs are gone.",
        );
        KEYINGTRIES: Key<u32> = Key::new(
            "keyingtries", COUNT, "1",
            "How many sequences of retransmissions an initiation may take; 0 goes on for ever.",
            "Whoever asked for the tunnel is told after the first that nobody answers.",
        );
        REKEY_TIME: Key<Duration> = Key::new(
            "rekey_time", TIME, "4h",
            "How long an IKE SA lives before its keys are renewed; 0 is never.",
            "Bounds what one stolen key discloses; the exchange costs nothing that anyone would notice every four hours.",
        );
        OVER_TIME: OptionalKey<Duration> = OptionalKey::new(
            "over_time", TIME, Absent::Follows("a tenth of rekey_time"),
            "How long after rekey_time the IKE SA ends if nothing replaced it.",
        );
        RAND_TIME: OptionalKey<Duration> = OptionalKey::new(
            "rand_time", TIME, Absent::Follows("over_time, at most a tenth of rekey_time"),
            "Up to this much is taken off rekey_time at random, so that the two ends do not begin at the same moment.",
        );
        ALLOW_WEAK: Key<WeakAlgorithms> = Key::new(
            "allow_weak", WEAK, "no",
            "Whether this connection may name algorithms that are known to be weak. Keyway's own key.",
            "A weak algorithm in an old configuration should be a decision, not an inheritance.",
        );
    }
    others [
        Row::refused("local_port", "port", &["500"],
            "the ports are the daemon's, the same for every connection"),
        Row::ignored("mobike", "yes or no", &["no"],
            "the SAs keep their addresses; only a NAT that rebinds is followed"),
        Row::ignored("dpd_timeout", "time", &["0"],
            "it has no meaning in IKEv2: retransmission decides when a peer is dead"),
        Row::refused("reauth_time", "time", &["0"],
            "reauthentication is not supported yet, so credentials would not be checked again"),
        Row::refused("vips", "addresses", &[],
            "virtual addresses are not supported yet, so the tunnel would carry other traffic than you expect"),
        Row::refused("pools", "names", &[],
            "virtual addresses are not supported yet, so nobody would be given one"),
        Row::refused("aggressive", "yes or no", &["no"],
            "Aggressive Mode belongs to IKEv1, which is not supported yet"),
        Row::ignored("pull", "yes or no", &["yes"],
            "it has no meaning in IKEv2"),
        Row::ignored("dscp", "six binary digits", &["000000"],
            "IKE packets keep the default class of service"),
        Row::refused("childless", "allow, force or never", &["allow", "never"],
            "IKE SAs without a first child (RFC 6023) are not supported yet"),
        Row::ignored("send_certreq", "yes or no", &["no"],
            "certificates are not supported yet, so none is asked for"),
        Row::ignored("send_cert", "always, ifasked or never", &["never", "ifasked"],
            "certificates are not supported yet, so none is sent"),
        Row::refused("ppk_id", "identity", &[],
            "post-quantum preshared keys (RFC 8784) are not supported yet, so the keys would not have their strength"),
        Row::refused("ppk_required", "yes or no", &["no"],
            "post-quantum preshared keys (RFC 8784) are not supported yet, so the keys would not have their strength"),
        Row::refused("if_id_in", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("if_id_out", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("mediation", "yes or no", &["no"], "the mediation extension is not supported"),
        Row::refused("mediated_by", "name", &[], "the mediation extension is not supported"),
        Row::refused("mediation_peer", "identity", &[], "the mediation extension is not supported"),
    ]
    sections [
        (Name::Prefix("local"), LOCAL),
        (Name::Prefix("remote"), REMOTE),
        (Name::Exactly("children"), CHILDREN),
    ]
}
