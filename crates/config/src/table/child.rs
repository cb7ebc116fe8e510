//! The keys of a child.

use std::time::Duration;

use super::handling::{DF, DSCP, DUMMIES, ECN, FRAGMENTS, MSS, PADDING, SET_MARK};
use super::interface::{INTERFACE, INTERFACE_ADDRS, INTERFACE_MTU, INTERFACE_NAMESPACE, INTERFACE_VRF};
use crate::address::SELECTOR;
use crate::child::{
    BUNDLE_SHAPE, Bundle, CLOSE_ACTION, COMPRESS, DPD_ACTION, REPLAY_WINDOW, START_ACTION, TREATMENT,
    TRUNCATION,
};
use crate::schema::{Absent, Key, ListKey, Name, OptionalKey, Row, Status, section};
use crate::script::{COMMAND, HOST_ACCESS};
use crate::value::{AMOUNT, COUNT, TIME};
use crate::{CloseAction, Compress, HostAccess, Selector, StartAction, Treatment, Truncation};

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
            "Algorithms for ESP, as in aes256gcm16-x25519-esn; a key exchange makes every rekeying renew the secret (PFS). \
             ALGORITHMS lists the keywords.",
            "AEADs first, then AES-CBC with HMAC-SHA-2, with and without 64-bit sequence numbers: every cipher that RFC 8221 \
             requires and nothing that it advises against.",
        );
        AH_PROPOSALS: ListKey<String> = ListKey::new(
            "ah_proposals", crate::algorithm::PROPOSAL, "",
            "Algorithms for AH, as in sha256-x25519-esn: packets are authenticated with their addresses, and not encrypted. \
             Without esp_proposals beside it, ESP is not offered; with it, either is, unless bundle says that both go together. \
             AH does not pass a NAT.",
            "",
        );
        BUNDLE: Key<Bundle> = Key::new(
            "bundle", BUNDLE_SHAPE, "no",
            "Whether AH by ah_proposals goes around each packet of ESP by esp_proposals, instead of either alone. Only IKEv1 can \
             agree on it, and the key exchange is that of esp_proposals.",
            "ESP alone protects all that AH around it does but the outer addresses.",
        );
        MODE: Key<Treatment> = Key::new(
            "mode", TREATMENT, "tunnel",
            "What happens to the traffic: tunnel protects it for networks, transport for the two ends themselves, beet for \
             one address at each end that the outer header does not show; pass lets it by unprotected, drop drops it. \
             Transport and BEET mode are for a peer that wants the same.",
            "What a gateway needs.",
        );
        IPCOMP: Key<Compress> = Key::new(
            "ipcomp", COMPRESS, "no",
            "Whether packets are compressed by DEFLATE before they are protected, where the peer wants that too.",
            "Most of what is sent today is compressed already, and lengths of compressed packets tell of their content.",
        );
        SHA256_96: Key<Truncation> = Key::new(
            "sha256_96", TRUNCATION, "no",
            "Whether HMAC-SHA-256, once agreed, is cut to 96 bits where it should be 128: what some peers do wrongly.",
            "RFC 4868 has 128 bits; a peer that cuts otherwise drops every packet.",
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
        INACTIVITY: Key<Duration> = Key::new(
            "inactivity", TIME, "0",
            "How long no packet may go through a Child SA, either way, before it is closed; 0 is for ever.",
            "A Child SA that carries nothing costs next to nothing.",
        );
        ON_START: Key<StartAction> = Key::new(
            "start_action", START_ACTION, "none",
            "What loading the connection does: start brings the child up, trap waits for its first packet, and trap|start does \
             both. Until the child is up its traffic is dropped, or waits. Once it was up, or was to be started, nothing of \
             its traffic passes unprotected until a person takes the child down (keyway down, keyway unblock, or taking it \
             out of the configuration).",
            "A gateway that is only ever called has nothing to start.",
        );
        ON_CLOSE: Key<CloseAction> = Key::new(
            "close_action", CLOSE_ACTION, "none",
            "What happens when the peer closes the child: start brings it up again, trap waits for a packet. With none, its \
             traffic stays blocked.",
            "Whoever closes a tunnel may mean it.",
        );
        ON_DEATH: Key<CloseAction> = Key::new(
            "dpd_action", DPD_ACTION, "clear",
            "What happens when the peer is found dead: restart calls it again, trap waits for a packet. With clear, the \
             traffic of the child stays blocked.",
            "Whoever wants the tunnel held says so.",
        );
        UPDOWN: OptionalKey<String> = OptionalKey::new(
            "updown", COMMAND, Absent::Nothing,
            "A command that the shell runs when the child comes up and when it goes down, once for each pair of its selectors, \
             told by the variables of strongSwan's updown scripts: PLUTO_VERB is up-client or down-client (up-host or down-host \
             where our traffic is this host's own; with -v6 behind it for IPv6), PLUTO_MY_CLIENT and PLUTO_PEER_CLIENT are the \
             networks, and so on. KEYWAY_DEVICE is the TUN device that the traffic goes through, which rules of a packet filter \
             name. Nothing waits for the script, those of a child run one after the other, and one that has not ended after \
             30 seconds is killed. What it prints is logged. The systemd unit's sandbox holds for scripts, too.",
        );
        HOST_ACCESS_KEY: Key<HostAccess> = Key::new(
            "hostaccess", HOST_ACCESS, "no",
            "Whether the script is told, by PLUTO_HOST_ACCESS, that this host itself may be reached through the child.",
            "Who wants a network connected need not want its gateway reached.",
        );
    }
    shared [
        INTERFACE, INTERFACE_ADDRS, INTERFACE_MTU, INTERFACE_NAMESPACE, INTERFACE_VRF,
        DF, ECN, DSCP, FRAGMENTS, MSS, PADDING, DUMMIES, SET_MARK,
    ]
    others [
        Row::refused("policies", "yes or no", &["yes"],
            "policies are what leads traffic into the tunnel; without them it would carry nothing"),
        Row::ignored("policies_fwd_out", "yes or no", &["no"],
            "it is for the kernel's data plane; forwarded traffic is protected in any case"),
        Row::ignored("reqid", "number", &["0"], "the number is given out, as with 0"),
        Row::ignored("mark_in", "mark/mask", NO_MARK, MARK_IN),
        Row::ignored("mark_in_sa", "yes or no", &["no"], MARK_IN),
        Row::refused("mark_out", "mark/mask", NO_MARK,
            "a TUN device tells no marks, so other traffic would be protected than you expect; instead, give the child \
             `interface = vpn0` and lead packets with the mark there: `ip rule add fwmark 42 lookup 42` and `ip route add \
             default dev vpn0 table 42`"),
        Row::refused("set_mark_in", "mark/mask", NO_MARK,
            "a TUN device takes no marks, so rules that look for them would be passed by; instead, give the child \
             `interface = vpn0` and mark what comes out of it: `nft add rule inet filter prerouting iifname vpn0 meta mark \
             set 42`"),
        Row::refused("if_id_in", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("if_id_out", "number", &["0"],
            "interface ids belong to the kernel's data plane, so routing would differ from what you expect"),
        Row::refused("label", "security label", &[], "labels are not supported, so traffic without them would pass"),
        Row::ignored("label_mode", "system, simple or selinux", &["system"], "labels are not supported"),
        Row::refused("hw_offload", "yes, auto or no", &["no", "auto"],
            "this data plane is a program; `auto` and `no` mean the same"),
    ]
    sections []
}

const NO_MARK: &[&str] = &["0", "0x0", "0/0", "0/0x0", "0/0x00000000", "0x00000000/0x00000000"];
const MARK_IN: &str = "what comes through an SA is held against its own selectors, and no mark has to tell policies apart (an updown script is \
     told of it)";
