//! The keys of a connection.

use std::net::IpAddr;
use std::time::Duration;

use sa::{IdentityPattern, InBandOcsp, SendCertificate};

use super::authentication::{LOCAL, REMOTE};
use super::child::CHILDREN;
use crate::address::ADDRESS;
use crate::connection::{
    ASK, CHILDLESS, ENCAP, FRAGMENTATION, GATEWAY, IN_BAND_OCSP, MOBILITY, OPTIMIZATION, ORDER, PATH_PROBING,
    PHASE_1, PPK_NEED, PULL, RESUMPTION, SEND_CERTIFICATE, SPLIT, SYNCHRONIZATION, UNIQUE, VERSION, WEAK,
    WeakAlgorithms,
};
use crate::identity::PATTERN;
use crate::pool::IP;
use crate::schema::{Absent, Key, ListKey, Name, OptionalKey, Row, Status, section};
use crate::value::{COUNT, NAME, PORT, TIME};
use crate::{
    AddressSpec, Childless, ConfigurationMode, CounterSynchronization, Encap, Fragmentation, Mobike,
    OptimizedRekey, PathProbing, Phase1Mode, PpkNeed, ReauthenticationOrder, Resumption, SplitNetworks,
    Unique, Versions,
};

section! {
    CONNECTION = "connections.<conn>", Status::Honoured, "One peer: who, how, and which children.";
    keys {
        SPOKEN: Key<Versions> = Key::new(
            "version", VERSION, "2",
            "Version of IKE: 1, 2, or 0, which begins with 2 and answers both.",
            "IKEv1 is for peers that know nothing better; who has none of those does not answer it (RFC 9395).",
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
        AGGRESSIVE: Key<Phase1Mode> = Key::new(
            "aggressive", PHASE_1, "no",
            "Whether phase 1 of IKEv1 is aggressive mode: three messages that show who the ends are, where main mode takes \
             six that hide it. Both ends must want the same. With a pre-shared key it needs `allow_weak = yes`. A responder \
             with a long chain of certificates sends the first 4096 octets of them.",
            "Whoever asks a responder of aggressive mode is shown a hash of the pre-shared key, and can try passwords \
             against it at leisure. It is for peers without a fixed address that know nothing better.",
        );
        VIPS: ListKey<IpAddr> = ListKey::new(
            "vips", IP, "",
            "The virtual addresses that we want of the peer: 0.0.0.0 or :: is any of its family. With one, dynamic in local_ts \
             stands for it. What the peer gives is put in place on this host, with its name servers, as long as the IKE SA lasts.",
            "",
        );
        POOLS: ListKey<String> = ListKey::new(
            "pools", NAME, "",
            "The pools out of which the peer gets virtual addresses. With one, dynamic in remote_ts stands for it. In IKEv2 \
             a peer that asks for none gets no Child SA, unless one has a fixed remote_ts.",
            "",
        );
        SPLIT_NETWORKS: Key<SplitNetworks> = Key::new(
            "split_networks", SPLIT, "no",
            "Whether of what remote_ts allows only the traffic goes through the tunnel that is for the networks which the peer \
             names with our virtual address; in IKEv2. Keyway's own key.",
            "remote_ts says what is to be protected; the peer's word could only take from that.",
        );
        CONFIGURATION: Key<ConfigurationMode> = Key::new(
            "pull", PULL, "yes",
            "Whether a client asks for its virtual address, or is given it unasked (Mode Config of IKEv1).",
            "What most clients and servers do.",
        );
        PROPOSALS: ListKey<String> = ListKey::new(
            "proposals", crate::algorithm::PROPOSAL, "default",
            "Algorithms for the IKE SA: keywords joined by dashes, as in aes256gcm16-prfsha384-x25519; several proposals \
             are separated by commas. ALGORITHMS lists the keywords.",
            "AEADs first, then AES-CBC with HMAC-SHA-2, on Curve25519, the NIST curves and MODP groups of 2048 bits and \
             more: all of RFC 8247's MUSTs and nothing that it advises against.",
        );
        ENCAPSULATION: Key<Encap> = Key::new(
            "encap", ENCAP, "no",
            "Whether the peer is made to believe in a NAT, so that ESP goes in UDP. That is the faster path in user space, \
             where the kernel takes and gives datagrams in trains, and passes firewalls that drop ESP.",
            "ESP of its own is what the standard has where there is no NAT, and eight octets shorter.",
        );
        DPD_DELAY: Key<Duration> = Key::new(
            "dpd_delay", TIME, "30s",
            "Silence after which the peer is asked whether it lives; 0 never asks.",
            "A peer that restarted or lost its way would swallow traffic until the next rekeying. strongSwan's default is \
             0; the question costs one small message in 30 seconds of silence, and nothing while traffic flows.",
        );
        FRAGMENTED: Key<Fragmentation> = Key::new(
            "fragmentation", FRAGMENTATION, "yes",
            "Whether large IKE messages are cut into fragments of their own (RFC 7383; in version 1 the deployed payload 132): \
             accept leaves that to the peer, force does it in version 1 from the first message on. What comes in fragments \
             is always put together.",
            "IP fragments are what firewalls drop first.",
        );
        MOBIKE: Key<Mobike> = Key::new(
            "mobike", MOBILITY, "yes",
            "Whether the addresses of both ends may change while the SAs live, if the peer knows that as well (RFC 4555): another \
             interface, another way out, a NAT that appears or vanishes. Whoever began the first IKE SA decides where packets \
             go. The addresses of this host are told to the peer, but for those that local_addrs leaves out or local_ts protects. \
             IKE goes to port 4500 then, with or without a NAT. In IKEv1 only a NAT that rebinds is followed.",
            "A laptop that changes networks, or a gateway that loses one of two, keeps its tunnels; strongSwan's default as well.",
        );
        REDIRECT_TO: OptionalKey<String> = OptionalKey::new(
            "redirect_to", GATEWAY, Absent::Nothing,
            "The gateway to which clients of this connection are sent instead, if they follow redirections (RFC 5685); others are \
             served here. Where every connection for a client's address names the same gateway, it is sent there with the first \
             message, otherwise once it has proven who it is. Keyway's own key.",
        );
        PATH_MTU_PROBING: Key<PathProbing> = Key::new(
            "path_mtu_probing", PATH_PROBING, "no",
            "Whether Keyway tries out how long a packet the path to the peer takes, for paths that swallow longer ones without an \
             ICMP error (RFC 8899). A probe is an empty IKE request, filled up to the size that is tried: any peer answers it. One \
             that is lost is repeated so that routers may cut it, and in IKE fragments if both ends have fragmentation = yes. \
             Where a path swallows IP fragments too, or is of IPv6, and the peer takes no IKE fragments after IKE_AUTH (as \
             strongSwan 5.9), a lost probe takes the peer for dead. In IKEv1 nothing is probed. Keyway's own key.",
            "Most paths take what their first link does, or say so. The probes cost a message a minute.",
        );
        SESSION_RESUMPTION: Key<Resumption> = Key::new(
            "session_resumption", RESUMPTION, "no",
            "Whether an IKE SA that was lost, as when the network was away, may be had again with a ticket (RFC 5723): in two \
             exchanges without a key exchange, a signature or a user's consent. As initiator Keyway asks for tickets, as responder \
             it gives them; both ends need yes. A ticket is good once, for the life of the IKE SA, and until the gateway restarts or \
             the connection is configured anew. Keyway's own key.",
            "The keys of an IKE SA that is had again come from those of the old one: who has stolen them has the new ones too, until \
             it is rekeyed.",
        );
        OPTIMIZED_REKEY: Key<OptimizedRekey> = Key::new(
            "optimized_rekey", OPTIMIZATION, "no",
            "Whether SAs are rekeyed without repeating algorithms and selectors, if the peer knows that as well \
             (draft-ietf-ipsecme-ikev2-sa-ts-payloads-opt, a draft). What was configured anew since the IKE SA was made is \
             negotiated in full, and so is the first rekeying of a Child SA that came with the IKE SA. In IKEv1 there is no such \
             thing. Keyway's own key.",
            "The draft has no assigned numbers yet, so that only Keyways understand each other; the numbers will change.",
        );
        COUNTER_SYNCHRONIZATION: Key<CounterSynchronization> = Key::new(
            "counter_synchronization", SYNCHRONIZATION, "yes",
            "Whether an end that is a cluster may agree on new message ids and skip sequence numbers when one of its members has \
             taken over (RFC 6311), if the peer knows that as well. Keyway answers as the peer of a cluster; it is no cluster itself, \
             but what keeps two of them in step can have it ask, by the vici command synchronize-counters. In IKEv1 there is no such \
             thing. Keyway's own key.",
            "Without it a cluster that fails over loses its IKE SAs. The other end can do nothing by it that it could not do by \
             falling silent.",
        );
        MAKE_BEFORE_BREAK: Key<ReauthenticationOrder> = Key::new(
            "make_before_break", ORDER, "yes",
            "Whether re-authentication makes the new IKE SA with all its children before the old one goes; no deletes the old \
             one first, for peers that bear no two at once. Keyway's own key: strongSwan has it in strongswan.conf, for all \
             connections.",
            "No packet is lost. With no, traffic stands still until the new IKE SA is there.",
        );
        UNIQUENESS: Key<Unique> = Key::new(
            "unique", UNIQUE, "no",
            "What happens to older IKE SAs with the same peer identity: never ends none, no ends them if the peer says that \
             this is its first contact, replace ends them in any case, keep refuses the new one if it comes from elsewhere.",
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
        REAUTH_TIME: Key<Duration> = Key::new(
            "reauth_time", TIME, "0",
            "How long after both ends proved who they are they do it again, with a whole new IKE SA; 0 is never. Who began the \
             IKE SA makes the new one with all its children before the old one goes (make_before_break). Who answered says so to the peer (AUTH_LIFETIME, RFC 4478), and ends the IKE SA over_time \
             later. In IKEv1 rekeying is always that.",
            "Rekeying renews keys without it; what it is for are certificates that are revoked and passwords that change.",
        );
        OVER_TIME: OptionalKey<Duration> = OptionalKey::new(
            "over_time", TIME, Absent::Follows("a tenth of rekey_time"),
            "How long after rekey_time the IKE SA ends if nothing replaced it.",
        );
        RAND_TIME: OptionalKey<Duration> = OptionalKey::new(
            "rand_time", TIME, Absent::Follows("over_time, at most a tenth of rekey_time"),
            "Up to this much is taken off rekey_time at random, so that the two ends do not begin at the same moment.",
        );
        PPK_ID: OptionalKey<IdentityPattern> = OptionalKey::new(
            "ppk_id", PATTERN, Absent::Nothing,
            "The post-quantum pre-shared key (RFC 8784) that is mixed into the keys, by its id among the secrets: whoever records \
             the messages, and some day breaks the key exchange, has nothing without it. Of a peer that begins, a name with a star, \
             or %any, takes every key that fits and is known. It is mixed in when an IKE SA is made, and stays in what replaces it.",
        );
        PPK_REQUIRED: Key<PpkNeed> = Key::new(
            "ppk_required", PPK_NEED, "no",
            "Whether a peer without that key is refused.",
            "RFC 8784 §4: first all gateways are given the key, and only then is it required of them.",
        );
        CHILDLESS_START: Key<Childless> = Key::new(
            "childless", CHILDLESS, "allow",
            "Whether an IKE SA begins without a Child SA (RFC 6023), whose children come one by one afterwards, each with a key \
             exchange of its own where its proposals have groups: allow lets a peer begin so, prefer begins so where the peer takes \
             it, force begins so and takes nothing else, never lets no peer begin so.",
            "It costs another exchange, and what it is for (waiting for traffic, status of links) is rare.",
        );
        SEND_CERT: Key<SendCertificate> = Key::new(
            "send_cert", SEND_CERTIFICATE, "ifasked",
            "When our certificates are sent: always, ifasked (the peer says which CAs it trusts; in IKEv1 always, for clients ask for \
             nothing there) or never (it has them).",
            "Who does not ask has them, or trusts our key by itself.",
        );
        SEND_CERTREQ: Key<bool> = Key::new(
            "send_certreq", ASK, "yes",
            "Whether a peer that is to sign is told which CAs are trusted, and so asked for its certificate.",
            "Without being asked, a peer may send none.",
        );
        OCSP: Key<InBandOcsp> = Key::new(
            "ocsp", IN_BAND_OCSP, "reply",
            "Which end brings what OCSP says of its certificate within IKEv2 (RFC 4806): reply brings ours if the peer asks, \
             request asks for the peer's, both does both, never neither.",
            "Whoever asks can perhaps not reach the responder that we can. Few peers know how to reply, and some stumble over the \
             question.",
        );
        ALLOW_WEAK: Key<WeakAlgorithms> = Key::new(
            "allow_weak", WEAK, "no",
            "Whether this connection and its children may name algorithms that are known to be weak; ALGORITHMS says which \
             and why. Neither end uses one that its proposals do not name. Keyway's own key: a swanctl.conf that names a weak \
             algorithm loads only with it.",
            "A weak algorithm in an old configuration should be a decision, not an inheritance.",
        );
    }
    others [
        Row::refused("local_port", "port", &["500"],
            "the ports are the daemon's, the same for every connection"),
        Row::ignored("dpd_timeout", "time", &["0"],
            "it has no meaning in IKEv2: retransmission decides when a peer is dead"),
        Row::ignored("dscp", "six binary digits", &["000000"],
            "IKE packets keep the default class of service"),
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
