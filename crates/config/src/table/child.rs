//! The keys of a child.

use std::time::Duration;

use crate::address::SELECTOR;
use crate::child::{CLOSE_ACTION, DPD_ACTION, REPLAY_WINDOW, START_ACTION, TREATMENT};
use crate::schema::{Absent, Key, ListKey, Name, OptionalKey, Row, Status, section};
use crate::value::{AMOUNT, COUNT, TIME};
use crate::{CloseAction, Selector, StartAction, Treatment};

section! {
    CHILDREN = "connections.<conn>.children", Status::Honoured, "The Child SAs of a connection, one section each.";
    keys {}
    others []
    sections [(Name::Any, CHILD),]
}

section! {
    CHILD = "connections.<conn>.children.<child>", Status::Honoured,
        "One Child SA: which traffic, and how it is protected.";
    keys {
        LOCAL_TS: ListKey<Selector> = ListKey::new(
            "local_ts", SELECTOR, "dynamic",
            "Our traffic: networks or ranges, each perhaps with [protocol/port]; dynamic is our outer address.",
            "Two hosts that protect what they say to each other need name nothing.",
        );
        REMOTE_TS: ListKey<Selector> = ListKey::new(
            "remote_ts", SELECTOR, "dynamic",
            "The peer's traffic, in the same form.",
            "Two hosts that protect what they say to each other need name nothing.",
        );
        ESP_PROPOSALS: ListKey<String> = ListKey::new(
            "esp_proposals", crate::algorithm::PROPOSAL, "default",
            "Algorithms for ESP, as in aes256gcm16-x25519-esn; a key exchange makes every rekeying renew the secret (PFS).",
            "AEADs first, then AES-CBC with HMAC-SHA-2, with and without 64-bit sequence numbers: every cipher that RFC 8221 \
             requires and nothing that it advises against.",
        );
        MODE: Key<Treatment> = Key::new(
            "mode", TREATMENT, "tunnel",
            "What happens to the traffic: tunnel protects it, pass lets it by unprotected, drop drops it.",
            "What a gateway needs.",
        );
        CHILD_REKEY_TIME: Key<Duration> = Key::new(
            "rekey_time", TIME, "1h",
            "How long a Child SA lives before its keys are renewed; 0 is never.",
            "Bounds what one stolen key discloses.",
        );
        LIFE_TIME: OptionalKey<Duration> = OptionalKey::new(
            "life_time", TIME, Absent::Follows("rekey_time and a tenth of it"),
            "How long a Child SA lives if nothing replaced it; 0 is for ever.",
        );
        CHILD_RAND_TIME: OptionalKey<Duration> = OptionalKey::new(
            "rand_time", TIME, Absent::Follows("life_time less rekey_time"),
            "Up to this much is taken off rekey_time at random, so that the two ends do not begin at the same moment.",
        );
        REKEY_BYTES: Key<u64> = Key::new(
            "rekey_bytes", AMOUNT, "0",
            "How many bytes a Child SA carries before its keys are renewed; 0 is no limit.",
            "The hour of rekey_time comes first on most links, and sequence numbers renew the keys in any case.",
        );
        LIFE_BYTES: OptionalKey<u64> = OptionalKey::new(
            "life_bytes", AMOUNT, Absent::Follows("rekey_bytes and a tenth of it"),
            "How many bytes a Child SA carries at all; 0 is no limit.",
        );
        RAND_BYTES: OptionalKey<u64> = OptionalKey::new(
            "rand_bytes", AMOUNT, Absent::Follows("life_bytes less rekey_bytes"),
            "Up to this much is taken off rekey_bytes at random.",
        );
        REKEY_PACKETS: Key<u64> = Key::new(
            "rekey_packets", AMOUNT, "0",
            "How many packets a Child SA carries before its keys are renewed; 0 is no limit.",
            "Sequence numbers renew the keys in any case before they run out (RFC 4303 §3.3.3).",
        );
        LIFE_PACKETS: OptionalKey<u64> = OptionalKey::new(
            "life_packets", AMOUNT, Absent::Follows("rekey_packets and a tenth of it"),
            "How many packets a Child SA carries at all; 0 is no limit.",
        );
        RAND_PACKETS: OptionalKey<u64> = OptionalKey::new(
            "rand_packets", AMOUNT, Absent::Follows("life_packets less rekey_packets"),
            "Up to this much is taken off rekey_packets at random.",
        );
        WINDOW: Key<u32> = Key::new(
            "replay_window", REPLAY_WINDOW, "1024",
            "How far a packet may lag behind the newest one and still be taken; 0 takes replayed packets too.",
            "strongSwan's 32 drops good packets where several queues or links reorder them; 1024 costs 128 octets an SA.",
        );
        PRIORITY: Key<u32> = Key::new(
            "priority", COUNT, "0",
            "The priority of the child's policies; the lowest number wins, and 0 lets the smaller selectors win.",
            "Smaller selectors are exceptions to larger ones.",
        );
        ON_START: Key<StartAction> = Key::new(
            "start_action", START_ACTION, "none",
            "What loading the connection does: start brings the child up, trap waits for its first packet.",
            "A gateway that is only ever called has nothing to start.",
        );
        ON_CLOSE: Key<CloseAction> = Key::new(
            "close_action", CLOSE_ACTION, "none",
            "What happens when the peer closes the child: start brings it up again, trap waits for a packet.",
            "Whoever closes a tunnel may mean it.",
        );
        ON_DEATH: Key<CloseAction> = Key::new(
            "dpd_action", DPD_ACTION, "clear",
            "What happens when the peer is found dead: restart calls it again, trap waits for a packet.",
            "Whoever wants the tunnel held says so.",
        );
    }
    others [
        Row::refused("updown", "command", &[],
            "it is not supported yet, so the firewall rules that it makes would be missing"),
        Row::refused("ah_proposals", "proposals", &[], "AH is not supported yet"),
        Row::refused("sha256_96", "yes or no", &["no"],
            "the truncation to 96 bits is not supported, so the peer would drop every packet"),
        Row::ignored("hostaccess", "yes or no", &["no"], "it is for updown scripts, which are not supported yet"),
        Row::refused("policies", "yes or no", &["yes"],
            "policies are what leads traffic into the tunnel; without them it would carry nothing"),
        Row::ignored("policies_fwd_out", "yes or no", &["no"],
            "it is for the kernel's data plane; forwarded traffic is protected in any case"),
        Row::ignored("ipcomp", "yes or no", &["no"], "packets are protected but not compressed"),
        Row::ignored("inactivity", "time", &["0"], "the Child SA stays up"),
        Row::ignored("reqid", "number", &["0"], "the number is given out, as with 0"),
        Row::refused("interface", "name", &[],
            "policies apply to all interfaces, so more traffic would be protected than you expect"),
        Row::refused("mark_in", "mark/mask", NO_MARK, MARKS),
        Row::refused("mark_in_sa", "yes or no", &["no"], MARKS),
        Row::refused("mark_out", "mark/mask", NO_MARK, MARKS),
        Row::refused("set_mark_in", "mark/mask", NO_MARK, MARKS),
        Row::refused("set_mark_out", "mark/mask", NO_MARK, MARKS),
        Row::refused("if_id_in", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("if_id_out", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("label", "security label", &[], "labels are not supported, so traffic without them would pass"),
        Row::ignored("label_mode", "system, simple or selinux", &["system"], "labels are not supported"),
        Row::refused("tfc_padding", "bytes or mtu", &["0"],
            "padding is not supported yet, so the sizes of packets would show"),
        Row::refused("hw_offload", "yes, auto or no", &["no", "auto"],
            "this data plane is a program; `auto` and `no` mean the same"),
        Row::ignored("copy_df", "yes or no", &["no"],
            "the bit is not copied: the host's path MTU discovery decides about the outer packet"),
        Row::ignored("copy_ecn", "yes or no", &["yes"], "congestion marks are carried over (RFC 6040)"),
        Row::ignored("copy_dscp", "out, in, yes or no", &["out"], "the class of service is copied outwards only"),
    ]
    sections []
}

const NO_MARK: &[&str] = &["0", "0x0", "0/0", "0/0x0", "0/0x00000000", "0x00000000/0x00000000"];
const MARKS: &str =
    "marks belong to the kernel's data plane, so other traffic would be protected than you expect";
