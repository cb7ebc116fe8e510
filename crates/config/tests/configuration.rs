//! Whole configurations: what they come to, and what is said about faulty ones.

use std::fs;
use std::time::Duration;

use config::{
    AddressSpec, BothWays, CloseAction, Compress, Config, Encap, Fragmentation, Handling, Loaded, ManualSa,
    Place, Severity, StartAction, Syntax, Treatment, Unique, load_connections, load_file, load_shared,
    load_text,
};
use proptest::prelude::*;
use sa::{
    CopyDscp, CopyEcn, Cpi, DontFragment, Esn, FlowPadding, Fragmenting, Identity, IdentityPattern, Mode,
    Proposal, ProposalProtocol, SegmentSize, Spi,
};
use vici::Tree;

const SITE_TO_SITE: &str = r#"connections {
  east {
    remote_addrs = 192.0.2.2
    local { auth = psk }
    remote { auth = psk }
    children {
      net {
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
      }
    }
  }
}
secrets { ike { secret = "4jYRP0p7mpOn1XkLhEeS8w" } }
"#;

const SITE_TO_SITE_TOML: &str = r#"[connections.east]
remote_addrs = "192.0.2.2"
local.auth = "psk"
remote.auth = "psk"
children.net = { local_ts = "10.1.0.0/16", remote_ts = ["10.2.0.0/16"] }
[secrets]
ike.secret = "4jYRP0p7mpOn1XkLhEeS8w"
"#;

fn sound(text: &str, syntax: Syntax) -> Config {
    let loaded = load_text("site.conf", text, syntax);
    assert_eq!(rendered(&loaded), "");
    loaded.config
}

fn rendered(loaded: &Loaded) -> String {
    loaded.faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn faults(text: &str) -> String {
    rendered(&load_text("site.conf", text, Syntax::Swanctl))
}

/// The faults of a connection with these lines in it, without the lines of the text.
fn faults_of_connection(lines: &str) -> Vec<String> {
    let text = format!(
        "connections {{ c {{\n local {{ auth = psk }}\n remote {{ auth = psk }}\n{lines}\n }} }}\n
         secrets {{ ike {{ secret = correct-horse-battery-staple }} }}"
    );
    let loaded = load_text("c", &text, Syntax::Swanctl);
    loaded.faults.iter().map(|fault| format!("{}: {}", fault.severity, fault.sentence())).collect()
}

fn faults_of_child(lines: &str) -> Vec<String> {
    faults_of_connection(&format!(" remote_addrs = 192.0.2.1\n children {{ net {{\n{lines}\n}} }}"))
}

#[test]
fn aggressive_mode_is_a_decision() {
    let lines = |more: &str| {
        format!(
            " version = 1\n aggressive = yes\n remote_addrs = 192.0.2.1\n {more}\n children {{ net {{ remote_ts = 10.2.0.0/16 }} }}"
        )
    };
    let refused = faults_of_connection(&lines(""));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0]
            .starts_with("error: connections.c.aggressive: aggressive mode shows everybody who asks a hash"),
        "{refused:?}"
    );
    let allowed = faults_of_connection(&lines("allow_weak = yes"));
    assert_eq!(allowed.len(), 1, "{allowed:?}");
    assert!(
        allowed[0].starts_with("warning: connections.c.aggressive: aggressive mode shows everybody"),
        "{allowed:?}"
    );
    let version_2 = faults_of_connection(&lines("allow_weak = yes").replace("version = 1", ""));
    assert!(version_2[0].contains("which this connection does not speak"), "{version_2:?}");
}

#[test]
fn both_ends_of_version_1_prove_themselves_alike() {
    let faults = |local: &str, remote: &str| {
        let text = format!(
            "connections {{ c {{\n version = 1\n remote_addrs = 192.0.2.1\n {local}\n {remote}\n children {{ net {{ \
             remote_ts = 10.2.0.0/16 }} }}\n }} }}\nsecrets {{ ike {{ secret = correct-horse-battery-staple }}\n \
             xauth-carol {{ id = carol\n secret = open-sesame }} }}"
        );
        let loaded = load_text("c", &text, Syntax::Swanctl);
        let errors = loaded.faults.iter().filter(|fault| fault.severity.to_string() == "error");
        errors.map(|fault| fault.sentence().to_string()).collect::<Vec<_>>().join("\n")
    };
    let user = "local { auth = xauth\n xauth_id = carol }";
    let key = "{ auth = pubkey }";
    for (local, remote) in [
        (format!("local {key}"), format!("remote {key}")),
        ("local { auth = ecdsa-sha256 }".to_owned(), format!("remote {key}")),
        (user.to_owned(), format!("remote {key}")),
        (format!("local {key}"), "remote { auth = xauth }".to_owned()),
        (format!("local {key}\n local-2 {{ auth = xauth\n xauth_id = carol }}"), format!("remote {key}")),
    ] {
        assert_eq!(faults(&local, &remote), "", "{local} {remote}");
    }
    for (local, remote, sentence) in [
        ("local { auth = psk }", "remote { auth = pubkey }", "by a pre-shared key, or both by a signature"),
        ("local { auth = rsa }", "remote { auth = ecdsa }", "RSA or ECDSA; ours is rsa, the peer's ecdsa"),
        ("local { auth = ed25519 }", "remote { auth = ed25519 }", "one kind of signature for both ends"),
        (user, "remote { auth = psk }", "a password alone proves an end only to one that has proven itself"),
        (user, "remote { auth = ecdsa }", "hybrid authentication takes RSA only, and `auth` says ecdsa"),
    ] {
        let said = faults(local, remote);
        assert!(said.contains(sentence), "{local} {remote}: {said}");
    }
}

#[test]
fn ah_around_esp_is_for_version_1_only() {
    let lines = |version: u8, more: &str| {
        format!(
            " version = {version}\n remote_addrs = 192.0.2.1\n children {{ net {{\n remote_ts = 10.2.0.0/16\n \
             esp_proposals = aes128-sha256\n {more}\n }} }}"
        )
    };
    let bundle = "ah_proposals = sha256\n bundle = yes";
    assert_eq!(faults_of_connection(&lines(1, bundle)), [] as [String; 0]);
    assert_eq!(
        faults_of_connection(&lines(2, bundle)),
        [
            "error: connections.c.children.net.bundle: IKEv2 cannot agree on AH around ESP; write `version = 1`, or \
          leave `bundle` out"
        ]
    );
    assert_eq!(
        faults_of_connection(&lines(1, "bundle = yes")),
        ["error: connections.c.children.net.bundle: AH is to go around ESP, and `ah_proposals` is missing"]
    );
    assert_eq!(faults_of_connection(&lines(2, "ah_proposals = sha256")), [] as [String; 0]);
}

#[test]
fn force_is_for_version_1_only() {
    let lines = |version: u8| {
        format!(
            " version = {version}\n fragmentation = force\n remote_addrs = 192.0.2.1\n children {{ net {{ remote_ts = 10.2.0.0/16 }} }}"
        )
    };
    assert_eq!(faults_of_connection(&lines(1)), [] as [String; 0]);
    assert_eq!(
        faults_of_connection(&lines(2)),
        [
            "error: connections.c.fragmentation: `force` exists in IKEv1 only (RFC 7383 §3); write `fragmentation = \
          yes`"
        ]
    );
}

#[test]
fn a_user_is_a_second_round_of_version_1() {
    let text = |version: &str, rounds: &str, secret: &str| {
        format!(
            "connections {{ c {{\n {version}\n local-1 {{ auth = psk }}\n remote-1 {{ auth = psk }}\n{rounds}\n \
             children {{ net {{ remote_ts = 10.2.0.0/16 }} }} }} }}\n\
             secrets {{ ike {{ secret = correct-horse-battery-staple }}\n{secret} }}"
        )
    };
    let ours = "local-2 { auth = xauth\n xauth_id = carol }";
    let password = "xauth-carol { id = carol\n secret = sesame }";
    let config = sound(&text("version = 1", ours, password), Syntax::Swanctl);
    assert_eq!(config.connections[0].xauth, config::Xauth::Ours("carol".to_owned()));
    assert_eq!(config.secrets[1].kind, config::SecretKind::Password);
    let theirs = sound(&text("version = 1", "remote-2 { auth = xauth }", password), Syntax::Swanctl);
    assert_eq!(theirs.connections[0].xauth, config::Xauth::Theirs);
    for (text, sentence) in [
        (text("", ours, password), "XAuth belongs to IKEv1, and the connection speaks IKEv2"),
        (text("version = 1", ours, ""), "`c` authenticates as user `carol`, who has no password"),
        (
            text("version = 1", "local-2 { auth = xauth }", password),
            "`local-2` does not say which user gives a password",
        ),
        (text("version = 1", ours, "xauth { secret = x }"), "`xauth` does not say whose password it is"),
        (
            text("version = 1", &format!("{ours}\n remote-2 {{ auth = xauth }}"), password),
            "only one end's user can give a password",
        ),
    ] {
        assert!(faults(&text).contains(sentence), "{}", faults(&text));
    }
}

#[test]
fn fourteen_lines_make_a_site_to_site_tunnel() {
    assert!(SITE_TO_SITE.lines().count() < 15);
    let config = sound(SITE_TO_SITE, Syntax::Swanctl);
    let east = &config.connections[0];
    assert_eq!(east.name, "east");
    assert_eq!(east.local_addresses, [AddressSpec::Any]);
    assert_eq!(east.remote_addresses, [AddressSpec::Host("192.0.2.2".parse().expect("an address"))]);
    assert_eq!((east.local_identity.clone(), east.remote_identity.clone()), (None, IdentityPattern::Any));
    assert_eq!(east.proposals, Proposal::defaults(ProposalProtocol::Ike));
    assert_eq!(
        (east.encap, east.fragmentation, east.unique),
        (Encap::WhenNat, Fragmentation::Yes, Unique::No)
    );
    assert_eq!((east.keying_tries, east.dpd_delay), (1, Duration::from_secs(30)));
    let hours = |tenths: u64| Duration::from_secs(tenths * 360);
    assert_eq!(
        (east.lifetimes.rekey, east.lifetimes.rand, east.lifetimes.life),
        (hours(40), hours(4), hours(44))
    );
    let net = east.child("net").expect("it is there");
    assert_eq!(net.treatment, Treatment::Protect(Mode::Tunnel));
    assert_eq!(net.local_selectors[0].to_string(), "10.1.0.0/16");
    assert_eq!(net.remote_selectors[0].to_string(), "10.2.0.0/16");
    assert_eq!(net.proposals, Proposal::defaults(ProposalProtocol::Esp));
    assert_eq!(
        (net.lifetimes.rekey, net.lifetimes.rand, net.lifetimes.life),
        (hours(10), hours(1), hours(11))
    );
    assert_eq!((net.bytes.life, net.packets.life, net.replay_window, net.priority), (0, 0, 1024, 0));
    assert_eq!(net.start_action, StartAction::None);
    assert_eq!((net.close_action, net.dpd_action), (CloseAction::None, CloseAction::None));
    assert!(config.secrets[0].secret.ct_eq(b"4jYRP0p7mpOn1XkLhEeS8w"));
}

#[test]
fn toml_says_the_same() {
    let (swanctl, toml) = (sound(SITE_TO_SITE, Syntax::Swanctl), sound(SITE_TO_SITE_TOML, Syntax::Toml));
    let without_places = |config: &Config| {
        let text = format!("{config:?}");
        text.split("span: Span")
            .map(|part| part.split_once('}').map_or(part, |(_, rest)| rest))
            .collect::<String>()
    };
    assert_eq!(without_places(&swanctl), without_places(&toml));
}

#[test]
fn the_manual_shows_configurations_that_load() {
    let page = config::manual::page();
    let examples: Vec<&str> =
        page.split(".nf\n").skip(1).filter_map(|rest| rest.split(".fi").next()).collect();
    sound(examples[0], Syntax::Swanctl);
    sound(examples[1], Syntax::Toml);
}

#[test]
fn the_manual_has_every_key() {
    let page = config::manual::page();
    for wanted in [
        ".SS \"connections.<conn>.children.<child>\"",
        ".BR \"remote_addrs\" \" = \\fIaddresses, networks, ranges or names\\fR\"",
        "Default: \\fB1h\\fR. Bounds what one stolen key discloses.",
        "Default: rekey_time and a tenth of it.",
        "Accepted with a warning unless system: labels are not supported.",
        ".SS \"manual.<name>.esp\"",
        ".B aes128gcm16, aes128gcm128, aes128gcm, aesgcm16\n",
        ".B aes256gmac\nESP only. Encrypts nothing.\n",
        ".B modp768\nWeak: the 768\\-bit group has been broken in public.\n",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn everything_can_be_configured() {
    let config = sound(
        r#"
        connections {
          all {
            version = 2
            local_addrs = 192.0.2.1, fd00::1
            remote_addrs = gw.example, 198.51.100.0/24
            remote_port = 4500
            proposals = aes256gcm16-prfsha384-ecp384, aes128-sha256-x25519
            encap = yes
            dpd_delay = 1m
            fragmentation = accept
            unique = replace
            keyingtries = 0
            rekey_time = 2h
            over_time = 5m
            rand_time = 3m
            local-1 { auth = psk
                      id = @west.example }
            remote-1 { auth = psk
                       id = *.example }
            children {
              one {
                local_ts = 10.1.0.0/16[tcp/80-90], fd01::/64
                remote_ts = dynamic[udp], fd02::/64
                esp_proposals = aes256gcm16-x25519-esn
                ah_proposals = sha384-x25519
                ipcomp = yes
                copy_df = set
                copy_dscp = in
                copy_ecn = no
                fragment = after
                mss = 1200
                tfc_padding = mtu
                tfc_dummies = 5
                set_mark_out = 0x2a
                inactivity = 10m
                rekey_time = 30m
                life_time = 40m
                rand_time = 2m
                rekey_bytes = 1G
                rekey_packets = 1000000
                life_packets = 2000000
                rand_packets = 1000
                replay_window = 4096
                priority = 7
                start_action = trap|start
                close_action = start
                dpd_action = restart
              }
              two {
                local_ts = 10.1.0.0/16
                remote_ts = 10.9.0.0/16
                mode = pass
              }
            }
          }
        }
        secrets {
          ike-all {
            id-1 = west.example
            id-2 = *.example
            secret = 0sc2VjcmV0IHNlY3JldCBzZWNyZXQ=
          }
        }"#,
        Syntax::Swanctl,
    );
    let all = &config.connections[0];
    assert_eq!(all.local_identity, Some(Identity::Fqdn("west.example".into())));
    assert_eq!(all.remote_identity, IdentityPattern::FqdnEnding(".example".into()));
    assert_eq!(
        all.proposals.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["aes256gcm16-prfsha384-ecp384", "aes128-sha256-prfsha256-x25519"]
    );
    assert_eq!(
        (all.encap, all.fragmentation, all.unique),
        (Encap::Always, Fragmentation::Accept, Unique::Replace)
    );
    assert_eq!((all.remote_port, all.keying_tries, all.dpd_delay.as_secs()), (4500, 0, 60));
    let secs = |lifetimes: &config::Lifetimes| {
        [lifetimes.rekey, lifetimes.rand, lifetimes.life].map(|duration| duration.as_secs())
    };
    assert_eq!(secs(&all.lifetimes), [7200, 180, 7500]);
    let one = &all.children[0];
    assert_eq!(secs(&one.lifetimes), [1800, 120, 2400]);
    let gib = 1u64 << 30;
    assert_eq!((one.bytes.rekey, one.bytes.rand, one.bytes.life), (gib, gib / 10, gib + gib / 10));
    assert_eq!((one.packets.rekey, one.packets.rand, one.packets.life), (1_000_000, 1_000, 2_000_000));
    assert_eq!((one.start_action, one.close_action), (StartAction::TrapAndStart, CloseAction::Start));
    assert_eq!((one.replay_window, one.priority), (4096, 7));
    assert_eq!(
        one.proposals.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["aes256gcm16-x25519-esn", "sha384-x25519-noesn"]
    );
    assert_eq!((one.compress, one.inactivity), (Compress::Deflate, Duration::from_secs(600)));
    let expected = Handling {
        dscp: CopyDscp::In,
        ecn: CopyEcn::No,
        dont_fragment: DontFragment::Set,
        fragmenting: Fragmenting::AfterSealing,
        segment_size: SegmentSize::AtMost(1200),
        padding: FlowPadding::ToPathMtu,
        dummies: 5,
        mark: 42,
    };
    assert_eq!(one.handling, expected);
    assert_eq!((&all.children[1].handling, all.children[1].compress), (&Handling::default(), Compress::No));
    assert_eq!(all.children[1].treatment, Treatment::Pass);
    let secret = &config.secrets[0];
    assert!(secret.secret.ct_eq(b"secret secret secret"));
    assert_eq!(secret.owners.len(), 2);
}

#[test]
fn every_fault_is_shown_where_it_is() {
    let text = "\
connections {
  east {
    remote_adrs = 192.0.2.2
    local_ts = 10.0.0.0/8
    proposals = default, aes256-sha1-modp2048
    local { auth = psk }
    remote { auth = rsa-sha3 }
    children {
      net {
        local_ts = 10.1.0.0/16, 10.400.0.0/16
        rekey_time = 1w
        if_id_in = 7
        start_action = strat
      }
    }
  }
}
secrets {
  ike {
    secret = 0xswordfish
  }
}
pool {
}
";
    let expected = "\
site.conf:3:5: error: unknown key `remote_adrs`
    3 |     remote_adrs = 192.0.2.2
      |     ^^^^^^^^^^^ did you mean `remote_addrs`?
site.conf:4:5: error: unknown key `local_ts`
    4 |     local_ts = 10.0.0.0/8
      |     ^^^^^^^^ `local_ts` belongs in connections.<conn>.children.<child>
site.conf:5:26: error: `sha1` is weak: SHA-1 collides for money, and RFC 8247 is phasing it out
    5 |     proposals = default, aes256-sha1-modp2048
      |                          ^^^^^^^^^^^^^^^^^^^^ choose another, or write `allow_weak = yes`, a key of Keyway's own, in the connection
site.conf:7:21: error: `sha3` is no key type, hash or number of bits
    7 |     remote { auth = rsa-sha3 }
      |                     ^^^^^^^^ write psk, pubkey, or as in rsa-3072-sha256-sha384, ecdsa-sha256 or ed25519
site.conf:10:33: error: \"10.400.0.0/16\" is not an address, a prefix (10.1.0.0/16) or a range (10.1.0.1-10.1.0.9)
   10 |         local_ts = 10.1.0.0/16, 10.400.0.0/16
      |                                 ^^^^^^^^^^^^^
site.conf:11:22: error: `1w` is not a time
   11 |         rekey_time = 1w
      |                      ^^ write seconds, or 90s, 30m, 4h, 1d
site.conf:12:9: error: `if_id_in` cannot be honoured: interface ids belong to the kernel's data plane, so routing would differ from what you expect
   12 |         if_id_in = 7
      |         ^^^^^^^^ `if_id_in = 0` is what happens
site.conf:13:24: error: `strat` is none of none, trap, start, trap|start
   13 |         start_action = strat
      |                        ^^^^^ did you mean `start`?
site.conf:20:14: error: what follows 0x is not hexadecimal
   20 |     secret = …
      |              ^^
site.conf:23:1: error: unknown section `pool`
   23 | pool {
      | ^^^^ did you mean `pools`?
";
    let loaded = load_text("site.conf", text, Syntax::Swanctl);
    assert_eq!(rendered(&loaded), expected);
    assert!(!loaded.is_sound());
    assert!(loaded.config.connections.is_empty() && loaded.config.secrets.is_empty());
}

#[test]
fn faults_of_toml_have_places_too() {
    let text = "\
[connections.east]
remote_adrs = \"192.0.2.2\"
version = 3
local.auth = \"psk\"
remote.auth = \"psk\"
dpd_delay = 1.5
";
    let float = "\
site.toml:6:13: error: no key takes a value of type float
    6 | dpd_delay = 1.5
      |             ^^^ write it as a string
";
    assert_eq!(rendered(&load_text("site.toml", text, Syntax::Toml)), float);
    let rest = text.replace("dpd_delay = 1.5", "children.net.remote_ts = [\"10.0.0.0/8\", \"10.0.0.0/40\"]");
    let expected = "\
site.toml:2:1: error: unknown key `remote_adrs`
    2 | remote_adrs = \"192.0.2.2\"
      | ^^^^^^^^^^^ did you mean `remote_addrs`?
site.toml:3:11: error: `3` is not a version of IKE
    3 | version = 3
      |           ^ write `version = 2`
site.toml:6:41: error: a prefix of 40 bits is longer than an IPv4 address
    6 | children.net.remote_ts = [\"10.0.0.0/8\", \"10.0.0.0/40\"]
      |                                         ^^^^^^^^^^^^^
";
    assert_eq!(rendered(&load_text("site.toml", &rest, Syntax::Toml)), expected);
    let broken = load_text("site.toml", "[connections\nx = 1\n", Syntax::Toml);
    assert!(matches!(broken.faults[0].place, Place::Text { line: 1, .. }), "{broken:?}");
}

#[test]
fn broken_syntax_is_all_that_is_reported() {
    let expected = "\
site.conf:2:3: error: this name is followed by neither `=` nor `{`
    2 |   east (
      |   ^^^^ write `key = value` or `section { … }`
";
    assert_eq!(faults("connections {\n  east (\n  bogus = 1\n}\n"), expected);
}

#[test]
fn connections_that_cannot_work_are_refused() {
    assert_eq!(
        faults("connections { c { children { n { } } } }"),
        "\
site.conf:1:15: error: `c` does not say how its local end authenticates
    1 | connections { c { children { n { } } } }
      |               ^ add `local { auth = psk }`
site.conf:1:15: error: `c` does not say how its remote end authenticates
    1 | connections { c { children { n { } } } }
      |               ^ add `remote { auth = psk }`
"
    );
    assert_eq!(
        faults_of_connection("children { n { start_action = trap } }"),
        [
            "error: connections.c.remote_addrs: `n` is to be brought up, but `remote_addrs` names no single address to \
          call; name the peer's address, or leave out `start_action`"
        ]
    );
    assert_eq!(
        faults_of_connection("rekey_time = 10m\nrand_time = 10m\nchildren { n { } }"),
        [
            "error: connections.c.rand_time: `rand_time` may leave nothing of `rekey_time`: keys would be renewed at \
          once; make it smaller than `rekey_time`"
        ]
    );
    assert_eq!(
        faults_of_connection("version = 1\nlocal-2 { auth = psk }\nchildren { n { } }"),
        ["error: connections.c.local-2: IKEv1 knows one round of authentication; write `version = 2`"]
    );
    assert_eq!(
        faults_of_connection(""),
        ["warning: connections.c: `c` has no children, so it protects nothing; add `children { … }`"]
    );
}

#[test]
fn children_that_cannot_work_are_refused() {
    assert_eq!(
        faults_of_child("life_time = 30m"),
        [
            "error: connections.c.children.net.life_time: `life_time` ends the Child SA before `rekey_time` can renew it; \
          make it greater than `rekey_time`"
        ]
    );
    assert_eq!(
        faults_of_child("rekey_bytes = 2G\nlife_bytes = 1G"),
        [
            "error: connections.c.children.net.life_bytes: `life_bytes` ends the Child SA before `rekey_bytes` can renew \
          it; make it greater than `rekey_bytes`"
        ]
    );
    assert_eq!(
        faults_of_child("local_ts = 10.0.0.0/8\nremote_ts = ::/0"),
        [
            "error: connections.c.children.net.remote_ts: `10.0.0.0/8` and `::/0` have no address family in common; IPv4 \
          goes with IPv4 and IPv6 with IPv6"
        ]
    );
    assert_eq!(
        faults_of_child("local_ts = 10.0.0.0/8, fd00::/8\nremote_ts = 10.0.0.0/8"),
        [
            "warning: connections.c.children.net.local_ts: `fd00::/8` has no counterpart of its address family and selects \
          nothing"
        ]
    );
    assert_eq!(faults_of_child("local_ts = dynamic\nremote_ts = ::/0, 10.0.0.0/8"), Vec::<String>::new());
    assert_eq!(faults_of_child("mode = transport\nlocal_ts = dynamic[gre]"), Vec::<String>::new());
    assert_eq!(
        faults_of_child("mode = transport\nremote_ts = 10.0.0.0/8"),
        [
            "warning: connections.c.children.net.remote_ts: of `10.0.0.0/8` only the end's own address is carried: this is \
          transport mode; write `dynamic`, perhaps with [protocol/port]"
        ]
    );
    assert_eq!(
        faults_of_child("mode = beet\nlocal_ts = 10.0.0.1\nremote_ts = 10.0.0.2/31"),
        [
            "error: connections.c.children.net.remote_ts: `10.0.0.2/31` cannot be carried: BEET mode has one inner address \
          at each end; write an address, or `mode = tunnel`"
        ]
    );
    for lines in ["mode = transport\ntfc_padding = mtu", "ah_proposals = sha256\ntfc_padding = 100"] {
        assert_eq!(
            faults_of_child(lines),
            [
                "error: connections.c.children.net.tfc_padding: only ESP in tunnel mode can hide the length of packets (RFC \
              4303 §2.7)"
            ]
        );
    }
}

#[test]
fn parts_that_do_not_fit_together_are_found() {
    let no_secret = SITE_TO_SITE
        .replace("ike {", "ike { id = north\n")
        .replace("remote { auth = psk }", "remote { auth = psk\n id = east }\n local { id = west }");
    let found = faults(&no_secret);
    assert!(found.contains(
        "site.conf:2:3: error: `east` authenticates by a pre-shared key, but no secret is for `east`"
    ));
    assert!(found.contains("warning: no connection uses the secret `ike`"));

    let connection = SITE_TO_SITE.lines().skip(1).take(11).collect::<Vec<_>>().join("\n");
    let twice = SITE_TO_SITE
        .replace("connections {", &format!("connections {{\n{}", connection.replace("east", "first")));
    assert!(faults(&twice).contains("warning: `east` has the same addresses and identities as `first`"));

    let same_traffic = "children { a { remote_ts = 10.0.0.0/8 } \n b { remote_ts = 10.0.0.0/8 } }";
    assert_eq!(
        faults_of_connection(same_traffic),
        ["warning: connections.c.children.b: `b` has the same traffic as `a`, which comes first"]
    );
    assert_eq!(
        faults_of_child("priority = 1\npriority = 2"),
        ["warning: connections.c.children.net.priority: this has no effect: line 7 sets it again"]
    );
    assert_eq!(
        faults_of_child("esp_proposals = default, aes128gcm16, aes128gcm16"),
        [
            "warning: connections.c.children.net.esp_proposals: `aes128gcm16` says nothing that was not said before"
        ]
    );
}

#[test]
fn secrets_are_checked_and_never_shown() {
    let short = SITE_TO_SITE.replace("4jYRP0p7mpOn1XkLhEeS8w", "swordfish");
    let loaded = load_text("site.conf", &short, Syntax::Swanctl);
    assert!(loaded.is_sound());
    assert_eq!(
        rendered(&loaded),
        "\
site.conf:14:26: warning: a secret of fewer than 16 characters can be found by trying
   14 | secrets { ike { secret = …
      |                          ^^ `openssl rand -base64 24` makes a good one
"
    );
    assert!(!format!("{loaded:?}").contains("swordfish"));
    assert!(faults("secrets { ike { id = x } }").contains("error: `ike` has no `secret`"));
    assert!(
        faults("secrets { eap-1 { secret = x } }")
            .contains("warning: `eap-1` has no effect: only pre-shared keys and passwords of files are used")
    );
}

/// AES-256 and HMAC-SHA-256 take 32 octets each.
fn key(octet: &str) -> String {
    format!("0x{}", octet.repeat(32))
}

fn manual_esp(lines: &str) -> String {
    let [a, b, c, d] = ["0a", "0b", "0c", "0d"].map(key);
    format!(
        "esp {{ proposal = aes256-sha256
                spi_in = 0x1001\n spi_out = 0x1002
                encryption_key_in = {a}\n encryption_key_out = {b}
                integrity_key_in = {c}\n integrity_key_out = {d}\n {lines} }}"
    )
}

const MANUAL_AH: &str = "ah { proposal = sha256-esn\n spi_in = 4097\n spi_out = 4098
    integrity_key_in = 0sAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
    integrity_key_out = 0sAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= }";

fn manual(lines: &str) -> Loaded {
    let text = format!("manual {{ lab {{ local_addr = 192.0.2.1\n remote_addr = 192.0.2.2\n {lines} }} }}");
    load_text("site.conf", &text, Syntax::Swanctl)
}

/// What is said of a section beyond the warning that each of them has.
fn faults_of_manual(lines: &str) -> Vec<String> {
    let faults =
        manual(lines).faults.into_iter().map(|fault| format!("{}: {}", fault.severity, fault.sentence()));
    faults.filter(|fault| !fault.contains(ManualSa::DANGER)).collect()
}

#[test]
fn keys_may_be_configured_without_ike() {
    let loaded = manual(&format!(
        "mode = transport\n remote_ts = dynamic[gre]\n cpi_in = 2\n cpi_out = 0x1234\n copy_df = no\n priority = 3\n \
         {} {MANUAL_AH}",
        manual_esp("")
    ));
    assert!(loaded.is_sound(), "{}", rendered(&loaded));
    assert!(rendered(&loaded).contains("warning: `lab` has keys that nobody renews"));
    let lab = &loaded.config.manual[0];
    assert_eq!(
        (lab.name.as_str(), lab.mode, lab.replay_window, lab.priority),
        ("lab", Mode::Transport, 0, 3)
    );
    assert_eq!(lab.local_selectors[0].to_string(), "192.0.2.1/32");
    assert_eq!(lab.remote_selectors[0].to_string(), "192.0.2.2/32[gre]");
    assert_eq!(lab.compression, Some(BothWays { inbound: Cpi(2), outbound: Cpi(0x1234) }));
    assert_eq!(lab.handling.dont_fragment, DontFragment::Clear);
    let esp = lab.esp.as_ref().expect("it is there");
    assert_eq!((esp.protection.to_string().as_str(), esp.esn), ("aes256-sha256", Esn::No));
    assert_eq!(esp.spi, BothWays { inbound: Spi(0x1001), outbound: Spi(0x1002) });
    assert!(esp.key.outbound.ct_eq(&[[0x0b; 32], [0x0d; 32]].concat()));
    let ah = lab.ah.as_ref().expect("it is there");
    assert_eq!((ah.protection.to_string().as_str(), ah.esn, ah.spi.inbound), ("sha256", Esn::Yes, Spi(4097)));
    assert!(ah.key.inbound.ct_eq(&[1; 32]));
}

#[test]
fn the_same_keys_in_toml() {
    let [a, b, c, d] = ["0a", "0b", "0c", "0d"].map(key);
    let text = format!(
        "[manual.lab]\nlocal_addr = \"192.0.2.1\"\nremote_addr = \"192.0.2.2\"\n[manual.lab.esp]\nproposal = \
         \"aes256-sha256\"\nspi_in = 0x1001\nspi_out = 0x1002\nencryption_key_in = \"{a}\"\nencryption_key_out = \
         \"{b}\"\nintegrity_key_in = \"{c}\"\nintegrity_key_out = \"{d}\"\n"
    );
    let toml = load_text("site.toml", &text, Syntax::Toml);
    assert!(toml.is_sound(), "{}", rendered(&toml));
    assert!(toml.config.manual[0].is_same(&manual(&manual_esp("")).config.manual[0]));
}

#[test]
fn what_counts_needs_consent_where_keys_are_never_renewed() {
    let key = |octet: &str| format!("0x{}", octet.repeat(36));
    let gcm = format!(
        "esp {{ proposal = aes256gcm16\n spi_in = 0x1001\n spi_out = 0x1002\n encryption_key_in = {}\n \
         encryption_key_out = {} }}",
        key("0a"),
        key("0b")
    );
    let sentence = "manual.lab.esp.proposal: `aes256gcm16` counts, and after a restart counts the same again: two packets \
                    under one key and count give their plaintexts or the key of their authentication away (RFC 8221 §3)";
    let refused =
        format!("error: {sentence}; choose aes256-sha256, or write `allow_weak = yes` in the section above");
    assert_eq!(faults_of_manual(&gcm), [refused]);
    let warned = format!("warning: {sentence}; change the keys with each restart");
    assert_eq!(faults_of_manual(&format!("allow_weak = yes\n {gcm}")), [warned]);
}

#[test]
fn manual_keys_that_cannot_work_are_refused() {
    let one = |lines: &str| match faults_of_manual(lines).as_slice() {
        [one] => one.clone(),
        other => panic!("{lines}: {other:?}"),
    };
    assert_eq!(
        one(""),
        "error: manual.lab: `lab` says neither how ESP nor how AH protects; add `esp { … }` or `ah { … }`"
    );
    assert_eq!(
        one(&manual_esp("").replace(&key("0d"), "0x0d")),
        "error: manual.lab.esp.integrity_key_out: `sha256` needs 32 octets, not 1; `openssl rand -hex 32` makes one"
    );
    assert_eq!(
        one(&manual_esp("").replace(&format!("encryption_key_in = {}", key("0a")), "")),
        "error: manual.lab.esp: `aes256` needs `encryption_key_in` of 32 octets; `openssl rand -hex 32` makes one"
    );
    assert_eq!(
        one(&manual_esp("").replace("aes256-sha256", "aes256-aes128-sha256")),
        "error: manual.lab.esp.proposal: `aes256-aes128-sha256` leaves a choice, and there is nobody to agree on it with; \
         write one, such as aes256-sha256"
    );
    assert_eq!(
        one(&format!("mode = transport\n local_ts = 10.1.0.0/16\n {}", manual_esp(""))),
        "error: manual.lab.local_ts: `10.1.0.0/16` cannot be carried: transport mode protects what the two ends say \
         themselves, which is `192.0.2.1` here"
    );
    assert_eq!(
        one(&format!("encap = yes\n {} {}", manual_esp(""), MANUAL_AH.replace("-esn", ""))),
        "error: manual.lab.encap: AH protects the addresses that a NAT changes, and does not go in UDP"
    );
    assert_eq!(one(&format!("cpi_in = 2\n {}", manual_esp(""))), "error: manual.lab: `lab` has no `cpi_out`");
    assert_eq!(
        one(&format!("tfc_padding = mtu\n {}", MANUAL_AH.replace("-esn", ""))),
        "error: manual.lab.tfc_padding: only ESP in tunnel mode can hide the length of packets (RFC 4303 §2.7)"
    );
    assert!(one(MANUAL_AH).contains("64-bit sequence numbers are followed by the anti-replay window"));
    assert!(
        one(&format!("replay_window = 64\n {}", manual_esp("")))
            .starts_with("warning: manual.lab.replay_window")
    );
    assert!(
        one(&manual_esp("").replace(&key("0b"), &key("0a")).replace(&key("0d"), &key("0c")))
            .contains("both directions have the same keys")
    );
}

#[test]
fn configured_keys_are_never_shown() {
    let loaded = manual(&manual_esp("").replace(&key("0d"), "0xswordfish"));
    assert!(!loaded.is_sound());
    let said = format!("{}{loaded:?}", rendered(&loaded));
    assert!(!said.contains("swordfish") && !said.contains("0a0a"), "{said}");
}

#[test]
fn a_policy_without_an_sa_needs_addresses_at_both_ends() {
    assert_eq!(
        faults_of_child("mode = drop\n local_ts = 10.1.0.0/16"),
        ["error: connections.c.children.net.remote_ts: `dynamic` stands for no address in a child with \
             `mode = drop`; write addresses as `remote_ts`"]
    );
    assert_eq!(faults_of_child("mode = pass").len(), 2);
    assert_eq!(faults_of_child("mode = pass\n local_ts = 10.1.0.0/16\n remote_ts = 10.2.0.0/16"), [""; 0]);
}

#[test]
fn a_secret_on_the_line_after_its_key_is_not_shown() {
    for torn_off in ["swordfish-swordfish", "sword fish-swordfish", "0sSwordfish==", "swordfish }"] {
        for text in [
            format!("secrets {{\n ike {{\n secret =\n {torn_off}\n }}\n}}\n"),
            format!("secrets {{ ike {{ secret =\n{torn_off} }} }}\n"),
        ] {
            let loaded = load_text("site.conf", &text, Syntax::Swanctl);
            assert!(!loaded.is_sound());
            let said = format!("{}{loaded:?}", rendered(&loaded)).to_lowercase();
            assert!(!said.contains("sword"), "{said}");
        }
    }
}

#[test]
fn sections_may_be_inherited_and_templates_named_freely() {
    let text = "psk-defaults {\n local { auth = psk }\n remote { auth = psk }\n}\n".to_owned()
        + &SITE_TO_SITE
            .replace("east {", "east : psk-defaults {")
            .replace("    local { auth = psk }\n    remote { auth = psk }\n", "");
    assert_eq!(sound(&text, Syntax::Swanctl).connections.len(), 1);
    assert!(faults(&text.replace(": psk-defaults", "")).contains("error: unknown section `psk-defaults`"));
}

#[test]
fn files_include_others_beside_them() {
    let directory = std::env::temp_dir().join(format!("keyway-config-{}", std::process::id()));
    fs::create_dir_all(directory.join("conf.d")).expect("a directory of our own");
    let (connections, secrets) = SITE_TO_SITE.split_once("secrets").expect("it has secrets");
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("our own file");
    write("main.conf", "include conf.d/*.conf\n");
    write("conf.d/1-east.conf", &connections.replace("auth", "auht"));
    write("conf.d/2-secrets.conf", &format!("secrets{secrets}"));
    write("conf.d/3-ignored.txt", "nonsense");
    let loaded = load_file(&directory.join("main.conf"));
    let places: Vec<_> = loaded
        .faults
        .iter()
        .map(|fault| match &fault.place {
            Place::Text { file, line, column, .. } => (file.ends_with("conf.d/1-east.conf"), *line, *column),
            Place::File(_) | Place::Message => (false, 0, 0),
        })
        .collect();
    assert!(places.contains(&(true, 4, 13)) && places.iter().all(|place| place.0), "{loaded:?}");
    assert_eq!(loaded.config.secrets.len(), 1);
    write("site", SITE_TO_SITE_TOML);
    assert!(load_file(&directory.join("site")).is_sound());
    let missing = load_file(&directory.join("missing.conf"));
    assert!(
        missing.faults[0].to_string().contains("missing.conf: error: the configuration cannot be read: ")
    );
    fs::remove_dir_all(&directory).expect("our own directory");
}

/// What strongSwan's swanctl sends for a connection: lists as lists, everything else as it was written.
#[test]
fn a_load_conn_message_is_a_connection() {
    let auth = |id: &str| Tree::new().with_value("auth", "psk").with_value("id", id);
    let child = Tree::new()
        .with_value("start_action", "trap")
        .with_list("local_ts", ["10.1.0.0/16", "10.3.0.0/16"])
        .with_list("remote_ts", ["10.2.0.0/16"])
        .with_list("esp_proposals", ["aes128gcm16"]);
    let connection = Tree::new()
        .with_value("version", "2")
        .with_list("remote_addrs", ["192.0.2.2"])
        .with_list("proposals", ["default"])
        .with_section("local", auth("west"))
        .with_section("remote", auth("east"))
        .with_section("children", Tree::new().with_section("net", child));
    let loaded = load_connections(&Tree::new().with_section("gw", connection.clone()));
    assert_eq!(rendered(&loaded), "");
    let gw = &loaded.config.connections[0];
    assert_eq!(gw.name, "gw");
    assert_eq!(gw.children[0].local_selectors.len(), 2);

    let listed = gw.to_list_conn(|certificate| certificate.name.clone());
    assert_eq!(
        vici::text::print(&listed),
        "\
gw {
    local_addrs = %any
    remote_addrs = 192.0.2.2
    version = IKEv2
    reauth_time = 0
    rekey_time = 14400
    unique = UNIQUE_NO
    dpd_delay = 30
    local-1 {
        id = west
        class = pre-shared key
        groups = \"\"
        cert_policy = \"\"
        certs = \"\"
        cacerts = \"\"
    }
    remote-1 {
        id = east
        class = pre-shared key
        groups = \"\"
        cert_policy = \"\"
        certs = \"\"
        cacerts = \"\"
    }
    children {
        net {
            mode = TUNNEL
            rekey_time = 3600
            rekey_bytes = 0
            rekey_packets = 0
            dpd_action = none
            close_action = none
            local-ts = 10.1.0.0/16, 10.3.0.0/16
            remote-ts = 10.2.0.0/16
        }
    }
}
"
    );

    let faulty = connection.with_value("remote_adrs", "x").with_list("dpd_delay", ["1", "2"]);
    let loaded = load_connections(&Tree::new().with_section("gw", faulty).with_value("stray", "x"));
    assert!(loaded.config.connections.is_empty());
    assert_eq!(
        rendered(&loaded),
        "\
error: stray: a connection must be a section
error: connections.gw.remote_adrs: unknown key `remote_adrs`; did you mean `remote_addrs`?
error: connections.gw.dpd_delay: `dpd_delay` takes one value, not a list
"
    );
}

#[test]
fn a_child_says_what_is_run_when_it_comes_and_goes() {
    let with = |lines: &str| {
        let text = format!(
            "connections {{ c {{ remote_addrs = 192.0.2.1
               local {{ auth = psk }}
               remote {{ auth = psk }}
               children {{ net {{ {lines}
               }} }} }} }}
             secrets {{ ike {{ secret = correct-horse-battery-staple }} }}"
        );
        let loaded = load_text("script", &text, Syntax::Swanctl);
        assert!(loaded.is_sound(), "{}", rendered(&loaded));
        loaded.config.connections[0].children[0].script.clone()
    };
    assert_eq!(with("hostaccess = yes"), None);
    let script =
        with("updown = /etc/rules up\n hostaccess = yes\n mark_in = 0x2a/0xff").expect("there is one");
    let expected = config::Script {
        command: "/etc/rules up".to_owned(),
        host_access: config::HostAccess::Yes,
        mark_in: Some((42, 0xff)),
    };
    assert_eq!(script, expected);
}

#[test]
fn a_load_shared_message_is_a_secret() {
    let message = Tree::new()
        .with_value("id", "ike-1")
        .with_value("type", "ike")
        .with_value("data", vec![0xff, 0x00])
        .with_list("owners", ["west", "%any"]);
    let secret = load_shared(&message).expect("valid");
    assert_eq!(secret.name, "ike-1");
    assert!(secret.secret.ct_eq(&[0xff, 0x00]));
    assert_eq!(secret.owners, [IdentityPattern::Exact(Identity::Fqdn("west".into())), IdentityPattern::Any]);
    let faults = load_shared(&Tree::new().with_value("type", "EAP")).expect_err("faulty");
    let sentences: Vec<_> = faults.iter().map(config::Fault::sentence).collect();
    assert_eq!(
        sentences,
        [
            "type: secrets of type `EAP` are not used yet; only ike, xauth and ppk are",
            "data: the secret is empty"
        ]
    );
}

/// Lines of a configuration, good and bad, for the properties below.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "connections",
        "secrets",
        "east",
        "children",
        "local",
        "remote",
        "ike",
        "remote_addrs",
        "local_ts",
        "auth",
        "proposals",
        "secret",
        "id",
        "rekey_time",
        "mode",
        "updown",
        "include",
        "pin",
        "nonsense",
        "]",
        "[",
        "\"",
    ]);
    let shape = prop::sample::select(vec![
        "{",
        "}",
        "= psk",
        "= 10.0.0.0/8, ::1",
        "= default",
        "{ ",
        "= 5x",
        ":",
        "=",
        "",
    ]);
    (key, shape).prop_map(|(key, shape)| format!("{key} {shape}\n"))
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(lines in prop::collection::vec(line(), 0..30), noise in "\\PC{0,30}") {
        let text: String = lines.concat() + &noise;
        for syntax in [Syntax::Swanctl, Syntax::Toml] {
            let loaded = load_text("noise", &text, syntax);
            prop_assert!(loaded.faults.iter().all(|fault| !fault.to_string().is_empty()));
            let is_sound = loaded.faults.iter().all(|fault| fault.severity == Severity::Warning);
            prop_assert_eq!(loaded.is_sound(), is_sound);
        }
    }

    /// However the text around it is broken, what stands behind `secret =` appears in no fault.
    #[test]
    fn no_fault_shows_a_secret(cut in 0usize..330, noise in "[a-z{}=\" \n]{0,3}") {
        let mut text = SITE_TO_SITE.replace("4jYRP0p7mpOn1XkLhEeS8w", "0xSwordfish");
        let at = cut.min(text.rfind("secret =").expect("it is there"));
        text.insert_str(at, &noise);
        let loaded = load_text("noise", &text, Syntax::Swanctl);
        prop_assert!(!format!("{}{loaded:?}", rendered(&loaded)).contains("Swordfish"), "{}", rendered(&loaded));
    }
}

/// RFC 7619: a connection of its own, and nothing in it that another peer has had to prove itself for.
#[test]
fn who_proves_nothing_gets_little() {
    let text = |local: &str, remote: &str, lines: &str, child: &str| {
        format!(
            "connections {{ c {{\n remote_addrs = 192.0.2.1\n dpd_delay = 60s\n local {{ {local} }}\n remote {{ {remote} }}\n{lines}\n \
             children {{ net {{ {child} }} }} }} }}\nsecrets {{ ike {{ secret = correct-horse-battery-staple }} }}"
        )
    };
    let null = "auth = null";
    let client = sound(&text(null, "auth = psk", "", "remote_ts = 10.2.0.0/16"), Syntax::Swanctl);
    assert_eq!(client.connections[0].local_authentication, config::Authentication::Null);
    assert_eq!(client.connections[0].children[0].priority, 0);
    let both = text(null, null, "", "mode = transport")
        .replace("secrets { ike { secret = correct-horse-battery-staple } }", "");
    let both = sound(&both, Syntax::Swanctl);
    assert_eq!(both.connections[0].remote_authentication, config::Authentication::Null);
    // Behind every policy of a peer that has proven itself.
    assert_eq!(both.connections[0].children[0].priority, config::limits::PRIORITY_OF_ANYBODY);
    for (text, sentence) in [
        (
            text("auth = psk", null, "", "remote_ts = 10.2.0.0/16"),
            "could have the traffic of others in `10.2.0.0/16`",
        ),
        (text("auth = psk", null, "", "priority = 7"), "comes after all other"),
        (
            text("auth = psk", "auth = null\n id = b.example", "", ""),
            "a peer that proves nothing is who it says",
        ),
        (
            text("auth = psk", "auth = null\n certs = b.crt", "", ""),
            "`certs` has no effect on a peer that proves nothing",
        ),
        (
            text(null, "auth = psk", "version = 1", "remote_ts = 10.2.0.0/16"),
            "NULL authentication belongs to IKEv2",
        ),
        (
            text(null, "auth = psk", "version = 0", "remote_ts = 10.2.0.0/16"),
            "NULL authentication belongs to IKEv2",
        ),
        (
            text(null, "auth = psk", "local-2 { auth = psk }", "remote_ts = 10.2.0.0/16"),
            "one round of authentication",
        ),
        (
            text(null, "auth = psk", "session_resumption = yes", "remote_ts = 10.2.0.0/16"),
            "cannot be had again by a ticket",
        ),
        (text(null, null, "ppk_id = p", ""), "must be mandatory for ends that prove nothing else"),
        (
            text("auth = psk", null, "", "").replace("dpd_delay = 60s", "dpd_delay = 0s"),
            "stays for ever when that is gone",
        ),
    ] {
        assert!(faults(&text).contains(sentence), "{sentence}: {}", faults(&text));
    }
}
