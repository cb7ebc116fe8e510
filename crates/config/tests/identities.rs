//! What a connection says of several rounds, post-quantum keys, and IKE SAs without a first child.

use config::{Authentication, Childless, Config, PpkNeed, SecretKind, Syntax, load_text};

fn text(lines: &str, secrets: &str) -> String {
    format!(
        "connections {{ c {{\n remote_addrs = 192.0.2.1\n{lines}\n children {{ net {{ remote_ts = 10.2.0.0/16 }} }} }} }}\n\
         secrets {{ ike {{ secret = correct-horse-battery-staple }}\n{secrets} }}"
    )
}

fn sound(text: &str) -> Config {
    let loaded = load_text("c", text, Syntax::Swanctl);
    assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
    loaded.config
}

fn faults(text: &str) -> String {
    let loaded = load_text("c", text, Syntax::Swanctl);
    loaded.faults.iter().map(|fault| format!("{}: {}\n", fault.severity, fault.sentence())).collect()
}

const PSK: &str = "local { auth = psk }\n remote { auth = psk }\n";

#[test]
fn rounds_come_in_their_order() {
    let rounds = "local-1 { auth = psk\n id = first\n round = 2 }\n local-2 { auth = pubkey\n id = second\n round = 1 }\n\
                  remote { auth = psk }\n remote-more { auth = psk\n id = other }";
    let config = sound(&text(rounds, ""));
    let connection = &config.connections[0];
    assert_eq!(connection.local_identity.as_ref().map(ToString::to_string).as_deref(), Some("second"));
    assert!(matches!(connection.local_authentication, Authentication::Signature(_)));
    assert_eq!(connection.further_own.len(), 1);
    assert_eq!(connection.further_own[0].authentication, Authentication::PreSharedKey);
    assert_eq!(connection.further_peer[0].identity.to_string(), "other");
    let said = faults(&text(&format!("version = 1\n{PSK} local-2 {{ auth = psk }}"), ""));
    assert!(said.contains("IKEv1 knows one round of authentication"), "{said}");
}

#[test]
fn a_post_quantum_key_has_a_name_and_enough_bits() {
    let key = "ppk-1 { id = winter\n secret = 0s3f7gXh2mT1zq0kq4yPp4bqC8m4D2sJ6o9m1lV0u5wYk= }";
    let config = sound(&text(&format!("{PSK} ppk_id = winter\n ppk_required = yes"), key));
    assert_eq!(config.secrets[1].kind, SecretKind::PostQuantum);
    let ppk = config.connections[0].ppk.as_ref().expect("it is read");
    assert_eq!((ppk.id.to_string().as_str(), ppk.need), ("winter", PpkNeed::Required));
    for (lines, secrets, sentence) in [
        ("ppk_required = yes", key, "a post-quantum pre-shared key is required, but not named"),
        (
            "ppk_id = summer\n ppk_required = yes",
            key,
            "error: connections.c.ppk_id: `c` requires the post-quantum pre-shared key `summer`, which is no secret",
        ),
        (
            "ppk_id = summer",
            key,
            "warning: connections.c.ppk_id: `c` does without the post-quantum pre-shared key `summer`, which is no secret",
        ),
        (
            "",
            "ppk { secret = 0s3f7gXh2mT1zq0kq4yPp4bqC8m4D2sJ6o9m1lV0u5wYk= }",
            "`ppk` does not say what both ends call it",
        ),
        ("", "ppk { id = winter\n secret = short }", "a quantum computer leaves less than 128 bits"),
        ("version = 1\n ppk_id = winter", key, "post-quantum pre-shared keys of RFC 8784 belong to IKEv2"),
    ] {
        let said = faults(&text(&format!("{PSK}{lines}"), secrets));
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn an_ike_sa_may_begin_without_a_child() {
    for (word, childless) in [
        ("allow", Childless::Allow),
        ("prefer", Childless::Prefer),
        ("force", Childless::Force),
        ("never", Childless::Never),
    ] {
        let config = sound(&text(&format!("{PSK} childless = {word}"), ""));
        assert_eq!(config.connections[0].childless, childless);
    }
    assert_eq!(sound(&text(PSK, "")).connections[0].childless, Childless::Allow);
}
