//! The keys of strongswan.conf(5) that change what the daemon does, for `keyway run --drop-in`.

use std::net::IpAddr;
use std::time::Duration;

use crate::charon::{
    AddressUse, AggressiveSecrets, CACHE, CONSENT, CrlCache, DECIMAL, INSTALL_ADDRESS, LEVEL, LOOK_UP, Level,
    LookUp, PERCENT, ROLE, Role,
};
use crate::pool::IP;
use crate::schema::{Absent, Key, Name, OptionalKey, Row, Section, Status, section};
use crate::value::{COUNT, NAME, TIME};

section! {
    STRONGSWAN = "", Status::Honoured, "The whole of strongswan.conf.";
    keys {}
    others []
    sections [
        (Name::Exactly("charon"), CHARON),
        (Name::Exactly("charon-systemd"), CHARON),
        (Name::Any, OTHER_PROGRAM),
    ]
}

section! {
    CHARON = "charon", Status::Honoured,
        "What strongswan.conf says to the daemon, where `keyway run --drop-in` reads it. Options of the command line count more.";
    keys {
        RETRANSMIT_TIMEOUT: Key<f64> = Key::new(
            "retransmit_timeout", DECIMAL, "4.0",
            "How many seconds the first answer to an IKE request may take.",
            "What peers and people expect.",
        );
        RETRANSMIT_BASE: Key<f64> = Key::new(
            "retransmit_base", DECIMAL, "1.8",
            "How many times longer each further answer may take.",
            "What peers and people expect.",
        );
        RETRANSMIT_TRIES: Key<u32> = Key::new(
            "retransmit_tries", COUNT, "5",
            "How often an IKE request is repeated.",
            "What peers and people expect.",
        );
        RETRANSMIT_JITTER: Key<u8> = Key::new(
            "retransmit_jitter", PERCENT, "5",
            "How much of each wait is cut off at random, at most, in percent.",
            "So that a thousand IKE SAs that lost their peer together do not call for it together; charon has 0.",
        );
        RETRANSMIT_LIMIT: Key<Duration> = Key::new(
            "retransmit_limit", TIME, "300s",
            "The longest single wait; 0 means 300 seconds as well.",
            "Who waits longer has forgotten why.",
        );
        FRAGMENT_SIZE: Key<u32> = Key::new(
            "fragment_size", COUNT, "1280",
            "The largest IP packet in octets that an IKE message may make before it is cut into fragments; less than 256 means that.",
            "Every IPv6 link takes that much.",
        );
        HALF_OPEN_TIMEOUT: Key<Duration> = Key::new(
            "half_open_timeout", TIME, "30s",
            "How long a stranger may take from its first message to its authentication.",
            "What an honest peer needs on a bad line.",
        );
        COOKIE_THRESHOLD: Key<u32> = Key::new(
            "cookie_threshold", COUNT, "30",
            "From how many half-open IKE SAs on strangers are asked for a cookie; 0 is never.",
            "charon's.",
        );
        COOKIE_THRESHOLD_IP: Key<u32> = Key::new(
            "cookie_threshold_ip", COUNT, "3",
            "The same of one address.",
            "charon's.",
        );
        BLOCK_THRESHOLD: Key<u32> = Key::new(
            "block_threshold", COUNT, "5",
            "From how many half-open IKE SAs of one address on it is ignored; 0 is never.",
            "charon's.",
        );
        INIT_LIMIT: Key<u32> = Key::new(
            "init_limit_half_open", COUNT, "20000",
            "From how many half-open IKE SAs on all strangers are ignored; 0 means 20000, too.",
            "Memory has an end; charon has no limit.",
        );
        IKESA_LIMIT: Key<u32> = Key::new(
            "ikesa_limit", COUNT, "0",
            "From how many IKE SAs on strangers are ignored; 0 is never.",
            "Whoever proves who it is may come.",
        );
        INITIATOR_ONLY: Key<Role> = Key::new(
            "initiator_only", ROLE, "no",
            "Whether strangers are ignored, so that this host only ever begins.",
            "A gateway is there to be called.",
        );
        KEEP_ALIVE: Key<Duration> = Key::new(
            "keep_alive", TIME, "20s",
            "How long we may be silent before a NAT might forget us; 0 is for ever.",
            "RFC 3948 §4.",
        );
        HASH_AND_URL: Key<LookUp> = Key::new(
            "hash_and_url", LOOK_UP, "no",
            "Whether peers may send where their certificates are, which are then fetched, as with --hash-and-url.",
            "It is a request to wherever a peer says that nobody has believed yet.",
        );
        CACHE_CRLS: Key<CrlCache> = Key::new(
            "cache_crls", CACHE, "no",
            "Whether lists of revoked certificates that were fetched are kept for the next run, in crls/ beside the leases.",
            "What was fetched can be fetched again.",
        );
        INSTALL_VIRTUAL_IP: Key<AddressUse> = Key::new(
            "install_virtual_ip", INSTALL_ADDRESS, "yes",
            "Whether a virtual address that a peer gives is put on this host.",
            "Nothing comes through the tunnel otherwise.",
        );
        ROUTING_TABLE: Key<u32> = Key::new(
            "routing_table", COUNT, "4500",
            "The routing table that leads to the TUN device.",
            "220 is charon's own; two daemons should not share one.",
        );
        ROUTING_TABLE_PRIO: Key<u32> = Key::new(
            "routing_table_prio", COUNT, "4500",
            "The priority of the rule that consults it.",
            "It must lie before the main table's 32766.",
        );
        DNS1: OptionalKey<IpAddr> = OptionalKey::new(
            "dns1", IP, Absent::Nothing,
            "A name server for all clients that get a virtual address, beside those of their pool.",
        );
        DNS2: OptionalKey<IpAddr> = OptionalKey::new("dns2", IP, Absent::Nothing, "Another.");
        NBNS1: OptionalKey<IpAddr> = OptionalKey::new(
            "nbns1", IP, Absent::Nothing,
            "A name server of NetBIOS for them.",
        );
        NBNS2: OptionalKey<IpAddr> = OptionalKey::new("nbns2", IP, Absent::Nothing, "Another.");
        AGGRESSIVE_SECRETS: Key<AggressiveSecrets> = Key::new(
            "i_dont_care_about_security_and_use_aggressive_mode_psk", CONSENT, "no",
            "Whether aggressive mode with pre-shared keys needs no `allow_weak = yes` in the connection.",
            "Whoever asks is shown a hash of the key, and can try passwords against it at leisure.",
        );
    }
    others [
        Row::ignored("make_before_break", "yes or no", &["yes"],
            "each connection has it as a key of its own, make_before_break"),
        Row::ignored("multiple_authentication", "yes or no", &["yes"],
            "several rounds of authentication (RFC 4739) are offered where a connection has them"),
        Row::ignored("install_routes", "yes or no", &["yes"],
            "without a route nothing reaches the TUN device; give the child `interface = vpn0`, for which no route is made"),
        Row::ignored("cisco_unity", "yes or no", &["no"],
            "clients that ask for Unity's attributes get those of their pool in any case"),
        Row::ignored("cisco_flexvpn", "yes or no", &["no"], "the vendor id is not sent"),
        Row::ignored("close_ike_on_child_failure", "yes or no", &["no"],
            "an IKE SA whose first child fails stays until it is taken down"),
        Row::ignored("inactivity_close_ike", "yes or no", &["no"],
            "an inactive child is closed alone, and its IKE SA stays"),
        Row::ignored("delete_rekeyed", "yes or no", &["no"],
            "in IKEv1 a replaced SA stays until its life is over or the peer deletes it"),
        Row::ignored("delete_rekeyed_delay", "time", &["5"], "late packets of a replaced SA are opened for 5 seconds"),
        Row::ignored("reuse_ikesa", "yes or no", &["yes"],
            "a child comes up in the IKE SA that its connection has already"),
        Row::ignored("max_packet", "octets", &["10000"],
            "a stranger's first message may have 16 KiB, and what comes in fragments 64 KiB"),
        Row::ignored("max_ikev1_exchanges", "number", &["3"], "exchanges are bounded by the octets that they hold"),
        Row::ignored("follow_redirects", "yes or no", &["yes"], "a peer that redirects us is followed, five times at most"),
        Row::ignored("prefer_configured_proposals", "yes or no", &["yes"], "our own order of proposals decides"),
        Row::ignored("signature_authentication", "yes or no", &["yes"],
            "RFC 7427 is spoken with every peer that speaks it, and the older methods with others"),
        Row::ignored("signature_authentication_constraints", "yes or no", &["yes"],
            "what `auth` says of hashes is wanted of the peer's signature, too"),
        Row::ignored("rsa_pss", "yes or no", &["no"], "write `auth = rsa/pss` in the connection"),
        Row::ignored("rsa_pss_trailerfield", "yes or no", &["no"], "the field is left out, as RFC 4055 has it"),
        Row::ignored("send_vendor_id", "yes or no", &["no"], "no vendor id is sent that is not needed"),
        Row::ignored("accept_unencrypted_mainmode_messages", "yes or no", &["no"], "such a message is refused"),
        Row::ignored("accept_private_algs", "yes or no", &["no"], "algorithms of private use are refused"),
        Row::ignored("force_eap_only_authentication", "yes or no", &["no"],
            "a gateway proves who it is as the connection says"),
        Row::ignored("dos_protection", "yes or no", &["yes"], "cookies and bounds stay in force"),
        Row::ignored("check_current_path", "yes or no", &["no"],
            "a path is tried when it may have changed, and when `dpd_delay` asks"),
        Row::ignored("prefer_best_path", "yes or no", &["no"], "MOBIKE moves when the path that is used is gone"),
        Row::ignored("prefer_temporary_addrs", "yes or no", &["no"], "the host's routes choose the address"),
        Row::ignored("process_route", "yes or no", &["yes"], "changed routes are always noticed"),
        Row::ignored("ignore_routing_tables", "numbers", &[], "the host's rules and routes decide as for any program"),
        Row::ignored("ignore_acquire_ts", "yes or no", &["no"], "a packet that waits brings its child up as configured"),
        Row::ignored("install_virtual_ip_on", "device", &[], "virtual addresses are put on the TUN device"),
        Row::ignored("interfaces_use", "devices", &[], "every address is listened to; `keyway run --listen` names some"),
        Row::ignored("interfaces_ignore", "devices", &[], "every address is listened to; `keyway run --listen` names some"),
        Row::ignored("keep_alive_dpd_margin", "time", &["0"], "keepalives have no part in finding a dead peer"),
        Row::ignored("replay_window", "packets", &["1024"], "a child's own `replay_window` says it, or 1024"),
        Row::ignored("retry_initiate_interval", "time", &["0"],
            "an initiation that fails for want of an address is tried again every 10 seconds"),
        Row::ignored("rdn_matching", "strict, reordered or relaxed", &["strict"],
            "the parts of a distinguished name are compared in their order"),
        Row::ignored("port", "port", &["500"], "IKE is listened to at UDP port 500"),
        Row::ignored("port_nat_t", "port", &["4500"], "IKE and ESP behind NATs are listened to at UDP port 4500"),
        Row::ignored("user", "name", &[], "the systemd unit says as whom the daemon runs"),
        Row::ignored("group", "name", &[], "the systemd unit says as whom the daemon runs"),
        Row::ignored("threads", "number", &["16"], "one thread decides, and `keyway run --workers` carry packets"),
        Row::ignored("init_limit_job_load", "number", &["0"], "the engine has no queue of jobs; its queues have bounds"),
        Row::ignored("ikesa_table_size", "number", SIZES, "the table of IKE SAs grows by itself"),
        Row::ignored("ikesa_table_segments", "number", SIZES, "the table of IKE SAs needs no locks"),
        Row::ignored("spi_min", "number", &["0xc0000000"], "SPIs are drawn from all that RFC 4303 allows"),
        Row::ignored("spi_max", "number", &["0xcfffffff"], "SPIs are drawn from all that RFC 4303 allows"),
        Row::ignored("spi_mask", "number", ZEROS, "the SPIs of IKE SAs are random as a whole"),
        Row::ignored("spi_label", "number", ZEROS, "the SPIs of IKE SAs are random as a whole"),
        Row::ignored("cert_cache", "yes or no", &["yes"], "what was judged of certificates is kept as long as it is right"),
        Row::ignored("flush_auth_cfg", "yes or no", &["no"], "the peer's certificates go with its IKE SA"),
        Row::ignored("dh_exponent_ansi_x9_42", "yes or no", &["yes"], "exponents are as long as the group's strength wants"),
        Row::ignored("integrity_test", "yes or no", &["no"], "there are no libraries of our own to test"),
        Row::ignored("load", "names", ANYTHING, "there are no plugins"),
        Row::ignored("load_modular", "yes or no", ANYTHING, "there are no plugins"),
        Row::ignored("dlopen_use_rtld_now", "yes or no", &["no"], "there are no plugins"),
        Row::ignored("receive_delay*", "time", ZERO_OR_YES, "messages are never delayed on purpose"),
        Row::ignored("send_delay*", "time", ZERO_OR_YES, "messages are never delayed on purpose"),
    ]
    sections [
        (Name::Exactly("filelog"), LOGS),
        (Name::Exactly("syslog"), LOGS),
        (Name::Exactly("journal"), LOGGER),
        (Name::Exactly("plugins"), PLUGINS),
        (Name::Exactly("start-scripts"), STARTING),
        (Name::Exactly("stop-scripts"), STOPPING),
        (Name::Exactly("crypto_test"), NO_LIBRARY),
        (Name::Exactly("host_resolver"), RESOLVER),
        (Name::Exactly("imcv"), NO_TNC),
        (Name::Exactly("tnc"), NO_TNC),
        (Name::Exactly("tls"), NO_TLS),
        (Name::Exactly("leak_detective"), NO_LIBRARY),
        (Name::Exactly("processor"), NO_LIBRARY),
        (Name::Exactly("x509"), CRITICAL),
    ]
}

/// Whatever such a key says is what happens.
const ANYTHING: &[&str] = &["yes", "no"];
const SIZES: &[&str] = &["1"];
const ZEROS: &[&str] = &["0", "0x0", "0x0000000000000000"];
const ZERO_OR_YES: &[&str] = &["0", "yes"];

section! {
    LOGS = "charon.<log>", Status::Honoured, "Where the log goes; ours goes to standard error, with all that any of these want to know.";
    keys {
        SYSLOG_IDENTIFIER: OptionalKey<String> = OptionalKey::new(
            "identifier", NAME, Absent::Nothing,
            "A name for the lines, which the systemd unit gives.",
        );
    }
    others []
    sections [(Name::Any, LOGGER),]
}

section! {
    LOGGER = "charon.<log>.<name>", Status::Honoured, "One log.";
    keys {
        LOG_DEFAULT: Key<Level> = Key::new(
            "default", LEVEL, "1",
            "How much is told: -1 only what broke, 0 what should not be, 1 what happens, 2 and more why.",
            "charon's.",
        );
        LOG_IKE: OptionalKey<Level> = OptionalKey::new("ike", LEVEL, Absent::Follows("default"), "The same of IKE SAs.");
        LOG_CHD: OptionalKey<Level> = OptionalKey::new("chd", LEVEL, Absent::Follows("default"), "The same of Child SAs.");
        LOG_CFG: OptionalKey<Level> = OptionalKey::new("cfg", LEVEL, Absent::Follows("default"), "The same of the configuration.");
        LOG_KNL: OptionalKey<Level> = OptionalKey::new("knl", LEVEL, Absent::Follows("default"), "The same of the data plane.");
        LOG_NET: OptionalKey<Level> = OptionalKey::new("net", LEVEL, Absent::Follows("default"), "The same of the data plane.");
        LOG_ESP: OptionalKey<Level> = OptionalKey::new("esp", LEVEL, Absent::Follows("default"), "The same of packets.");
    }
    others [
        Row::ignored("path", "file", ANY_PATH, STANDARD_ERROR),
        Row::ignored("append", "yes or no", &["yes"], STANDARD_ERROR),
        Row::ignored("flush_line", "yes or no", ANYTHING, STANDARD_ERROR),
        Row::ignored("time_format", "format", &[], "each line begins with the time in RFC 3339's form"),
        Row::ignored("time_add_ms", "yes or no", ANYTHING, "each line begins with the time in RFC 3339's form"),
        Row::ignored("ike_name", "yes or no", ANYTHING, "each line names its connection"),
        Row::ignored("log_level", "yes or no", ANYTHING, "each line begins with its level"),
        Row::ignored("map_level", "number", &["-1"], "the journal tells a line's level from the line"),
        Row::ignored("asn", "level", LEVELS, PART),
        Row::ignored("dmn", "level", LEVELS, PART),
        Row::ignored("enc", "level", LEVELS, "`keyway run --trace-messages` tells what is in messages"),
        Row::ignored("imc", "level", LEVELS, PART),
        Row::ignored("imv", "level", LEVELS, PART),
        Row::ignored("job", "level", LEVELS, PART),
        Row::ignored("lib", "level", LEVELS, PART),
        Row::ignored("mgr", "level", LEVELS, PART),
        Row::ignored("pts", "level", LEVELS, PART),
        Row::ignored("tls", "level", LEVELS, PART),
        Row::ignored("tnc", "level", LEVELS, PART),
    ]
    sections []
}

const ANY_PATH: &[&str] = &["/dev/stderr", "/dev/stdout"];
const LEVELS: &[&str] = &["-1", "0", "1"];
const PART: &str = "no part of Keyway has lines of its own by this name, and `default` counts";
const STANDARD_ERROR: &str = "the log goes to standard error, which systemd writes to the journal";

section! {
    PLUGINS = "charon.plugins", Status::Honoured, "Keyway has no plugins: what is not here is part of it, or missing.";
    keys {}
    others []
    sections [
        (Name::Exactly("vici"), VICI),
        (Name::Any, PLUGIN),
    ]
}

section! {
    VICI = "charon.plugins.vici", Status::Honoured, "The management interface.";
    keys {
        VICI_SOCKET: OptionalKey<String> = OptionalKey::new(
            "socket", NAME, Absent::Follows("charon's, /var/run/charon.vici"),
            "Where it is, as in unix:///var/run/charon.vici.",
        );
    }
    others [Row::ignored("load", "yes, no or number", ANYTHING, "it is always there"),]
    sections []
}

section! {
    PLUGIN = "charon.plugins.<plugin>", Status::Honoured, "Another plugin.";
    keys {}
    others [
        Row::ignored("load", "yes, no or number", &["yes", "no", "1", "2", "5", "10"], "there are no plugins"),
        Row::ignored("*", "anything", &[], "there are no plugins"),
    ]
    sections [(Name::Any, PLUGIN_PART),]
}

const fn without_effect(path: &'static str, doc: &'static str, instead: &'static str) -> Section {
    let status = Status::Ignored { harmless: &[], instead };
    Section { path, doc, keys: &[], others: &[], sections: &[], status }
}

static PLUGIN_PART: Section =
    without_effect("charon.plugins.<plugin>.<part>", "A part of it.", "there are no plugins");
static OTHER_PROGRAM: Section = without_effect(
    "<program>",
    "What another program is told.",
    "it is for a program of strongSwan's, and not for the daemon",
);
static STARTING: Section = without_effect(
    "charon.start-scripts",
    "Scripts for when the daemon starts.",
    "they are not run: let ExecStartPost= of the systemd unit run them (`swanctl --load-all` is not needed, what it would \
     load is read at the start)",
);
static STOPPING: Section = without_effect(
    "charon.stop-scripts",
    "Scripts for when the daemon ends.",
    "they are not run: let ExecStop= of the systemd unit run them",
);
static NO_LIBRARY: Section = without_effect("charon.<part>", "A part of charon.", "Keyway has no such part");
static RESOLVER: Section = without_effect(
    "charon.host_resolver",
    "Threads that look names up.",
    "names are looked up as many at a time as there are",
);
static NO_TNC: Section = without_effect(
    "charon.tnc",
    "Trusted network connect.",
    "the state of a client's machine is not asked for",
);
static NO_TLS: Section = without_effect("charon.tls", "TLS within EAP.", "what it may use is fixed");
static CRITICAL: Section = without_effect(
    "charon.x509",
    "How certificates are read.",
    "a critical extension that is not understood is always a reason to refuse a certificate (RFC 5280 §4.2)",
);
