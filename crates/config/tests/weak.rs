//! What takes `allow_weak = yes`, and the sentence that says why: each weak algorithm, in each place where IKEv1 may name it.

use config::{Severity, Syntax, load_text};

const SMALL_BLOCK: &str = "a 64-bit block gives plaintext away after some 32 GiB under one key (Sweet32)";
const SMALL_CURVE: &str = "the curve is smaller than 128 bits of strength ask for";
const UNEXPLAINED: &str =
    "the primes of RFC 5114 are of unknown origin and have small subgroups (RFC 8247 §2.4)";
const MD5: &str = "MD5 collides at will, and RFC 8247 forbids it";
const SHA1: &str = "SHA-1 collides for money, and RFC 8247 is phasing it out";

/// Each weak keyword that phase 1 or quick mode may name, with its reason.
const CIPHERS: &[(&str, &str)] = &[
    ("des", "a 56-bit key is searched in a day"),
    ("3des", SMALL_BLOCK),
    ("cast128", SMALL_BLOCK),
    ("blowfish128", SMALL_BLOCK),
    ("blowfish192", SMALL_BLOCK),
    ("blowfish256", SMALL_BLOCK),
];
const HASHES: &[(&str, &str)] = &[("md5", MD5), ("sha1", SHA1)];
const GROUPS: &[(&str, &str)] = &[
    ("modp768", "the 768-bit group has been broken in public"),
    ("modp1024", "the 1024-bit group is within reach of states (Logjam)"),
    ("modp1536", "the 1536-bit group is too close to what has been broken"),
    ("modp1024s160", UNEXPLAINED),
    ("modp2048s224", UNEXPLAINED),
    ("modp2048s256", UNEXPLAINED),
    ("ecp192", SMALL_CURVE),
    ("ecp224", SMALL_CURVE),
    ("ecp224bp", SMALL_CURVE),
];

/// Gives the faults of a connection of version 1 with these proposals, as errors or as warnings.
fn faults(severity: Severity, consent: &str, ike: &str, child: &str) -> Vec<String> {
    let text = format!(
        "connections {{ c {{\n version = 1\n {consent}\n remote_addrs = 192.0.2.1\n proposals = {ike}\n \
         local {{ auth = psk }}\n remote {{ auth = psk }}\n children {{ net {{\n remote_ts = 10.2.0.0/16\n {child}\n }} }} }} }}\n\
         secrets {{ ike {{ secret = correct-horse-battery-staple }} }}"
    );
    let loaded = load_text("c", &text, Syntax::Swanctl);
    assert!(
        loaded.faults.iter().all(|fault| fault.severity == severity),
        "{ike}, {child}: {:?}",
        loaded.faults
    );
    loaded.faults.iter().map(|fault| fault.sentence()).collect()
}

/// Refused without a word from whoever wrote it, with the reason and the way out; read with it, with the same reason.
fn takes_a_decision(ike: &str, child: &str, place: &str, keyword: &str, why: &str) {
    let reason = format!("{place}: `{keyword}` is weak: {why}");
    let refused = faults(Severity::Error, "", ike, child);
    let help = "choose another, or write `allow_weak = yes`, a key of Keyway's own, in the connection";
    assert_eq!(refused, [format!("{reason}; {help}")], "{ike}, {child}");
    assert_eq!(faults(Severity::Warning, "allow_weak = yes", ike, child), [reason], "{ike}, {child}");
}

#[test]
fn each_weak_algorithm_of_phase_1() {
    const PLACE: &str = "connections.c.proposals";
    let child = "esp_proposals = aes128gcm16";
    for (keyword, why) in CIPHERS {
        takes_a_decision(&format!("{keyword}-sha256-modp2048"), child, PLACE, keyword, why);
    }
    for (keyword, why) in HASHES {
        takes_a_decision(&format!("aes128-{keyword}-modp2048"), child, PLACE, keyword, why);
    }
    for (keyword, why) in GROUPS {
        takes_a_decision(&format!("aes128-sha256-{keyword}"), child, PLACE, keyword, why);
    }
}

#[test]
fn each_weak_algorithm_of_quick_mode() {
    let (esp, ah) = ("connections.c.children.net.esp_proposals", "connections.c.children.net.ah_proposals");
    let ike = "aes128-sha256-modp2048";
    for (keyword, why) in CIPHERS {
        takes_a_decision(ike, &format!("esp_proposals = {keyword}-sha256"), esp, keyword, why);
    }
    for (keyword, why) in HASHES {
        takes_a_decision(ike, &format!("esp_proposals = aes128-{keyword}"), esp, keyword, why);
        takes_a_decision(ike, &format!("ah_proposals = {keyword}"), ah, keyword, why);
    }
    for (keyword, why) in GROUPS {
        takes_a_decision(ike, &format!("esp_proposals = aes128gcm16-{keyword}"), esp, keyword, why);
    }
}

#[test]
fn several_weak_algorithms_are_all_named_in_one_sentence() {
    let said = faults(Severity::Error, "", "3des-md5-modp1024", "esp_proposals = aes128gcm16");
    let [said] = said.as_slice() else { panic!("{said:?}") };
    for (keyword, why) in [CIPHERS[1], HASHES[0], GROUPS[1]] {
        assert!(said.contains(&format!("`{keyword}` is weak: {why}")), "{said}");
    }
}

/// Public key encryption is a decision, belongs to IKEv1, and is said of both ends in the same words.
#[test]
fn public_key_encryption_takes_a_decision() {
    let sentences = |version: &str, consent: &str, [ours, theirs]: [&str; 2]| {
        let text = format!(
            "connections {{ c {{\n version = {version}\n {consent}\n remote_addrs = 192.0.2.1\n \
             local {{ auth = {ours} }}\n remote {{ auth = {theirs} }}\n \
             children {{ net {{ remote_ts = 10.2.0.0/16 }} }} }} }}"
        );
        let faults = load_text("c", &text, Syntax::Swanctl).faults;
        faults.iter().map(|fault| (fault.severity, fault.sentence())).collect::<Vec<_>>()
    };
    const DANGER: &str = "connections.c.local.auth: public key encryption pads as in PKCS #1 v1.5";
    for form in ["pubkey-encryption", "revised-encryption"] {
        let refused = sentences("1", "", [form, form]);
        assert!(
            matches!(refused.as_slice(), [(Severity::Error, said)] if said.starts_with(DANGER)),
            "{refused:?}"
        );
        let allowed = sentences("1", "allow_weak = yes", [form, form]);
        assert!(
            matches!(allowed.as_slice(), [(Severity::Warning, said)] if said.starts_with(DANGER)),
            "{allowed:?}"
        );
        for version in ["0", "2"] {
            let other = sentences(version, "allow_weak = yes", [form, form]);
            assert!(other.iter().any(|(_, said)| said.contains("belongs to IKEv1")), "{other:?}");
        }
        let mixed = sentences("1", "allow_weak = yes", [form, "pubkey"]);
        assert!(
            mixed.iter().any(|(_, said)| said.contains("in the same form, or neither does")),
            "{mixed:?}"
        );
    }
    let two_forms = sentences("1", "allow_weak = yes", ["pubkey-encryption", "revised-encryption"]);
    assert!(two_forms.iter().any(|(_, said)| said.contains("in the same form")), "{two_forms:?}");
}
