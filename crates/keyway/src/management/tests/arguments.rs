//! What every command says to arguments that cannot be meant.

use super::*;
use crate::management::commands;

/// Commands and the arguments that each has to refuse.
fn wrong() -> Vec<(&'static str, Tree)> {
    let value = |key: &str, text: &str| Tree::new().with_value(key, text);
    let section = |key: &str| Tree::new().with_section(key, Tree::new());
    let secret = |kind: &str| value("type", kind).with_value("data", "swordfish-swordfish");
    let conn = |tree: Tree| Tree::new().with_section("site", tree);
    vec![
        ("version", section("any")),
        ("stats", value("extras", "perhaps")),
        ("get-algorithms", section("any")),
        ("get-counters", value("all", "perhaps")),
        ("get-counters", value("name", "nobody")),
        ("reset-counters", value("all", "perhaps")),
        ("reset-counters", value("name", "nobody")),
        ("get-log", Tree::new().with_value("any", vec![0xff])),
        ("reload-settings", value("extras", "perhaps")),
        ("disclose-keys", section("directory")),
        ("load-conn", value("site", "no section")),
        ("load-conn", conn(value("remote_adrs", "192.0.2.2"))),
        ("unload-conn", Tree::new()),
        ("get-conns", section("any")),
        ("list-conns", section("ike")),
        ("list-policies", value("trap", "perhaps")),
        ("load-shared", Tree::new()),
        ("load-shared", secret("IKE5")),
        ("unload-shared", Tree::new()),
        ("get-shared", section("any")),
        ("clear-creds", section("any")),
        ("load-cert", value("type", "X509")),
        ("load-cert", value("type", "X510").with_value("data", "x")),
        ("load-cert", value("type", "X509").with_value("data", "no certificate")),
        ("load-key", value("type", "rsa")),
        ("load-key", value("type", "rsa").with_value("data", "no key")),
        ("unload-key", Tree::new()),
        ("unload-key", value("id", "00")),
        ("get-keys", section("any")),
        ("load-authority", value("root", "no section")),
        ("load-authority", conn(value("cacert", "no certificate"))),
        ("unload-authority", Tree::new()),
        ("unload-authority", value("name", "nobody")),
        ("get-authorities", section("any")),
        ("list-authorities", section("name")),
        ("list-certs", value("type", "X510")),
        ("list-certs", value("flag", "ROOT")),
        ("flush-certs", value("type", "X510")),
        ("load-token", Tree::new()),
        ("load-token", value("handle", "no digits")),
        ("load-pool", value("crew", "no section")),
        ("load-pool", conn(value("addrs", "somewhere"))),
        ("unload-pool", Tree::new()),
        ("get-pools", value("leases", "perhaps")),
        ("list-sas", value("ike-id", "x")),
        ("list-sas", value("child-id", "x")),
        ("list-sas", value("noblock", "perhaps")),
        ("list-manual-sas", section("any")),
        ("initiate", Tree::new()),
        ("initiate", value("child", "nobody")),
        ("initiate", value("child", "net").with_value("timeout", "x")),
        ("initiate", value("child", "net").with_value("loglevel", "loud")),
        ("initiate", value("child", "net").with_value("init-limits", "perhaps")),
        ("initiate", section("child")),
        ("terminate", Tree::new()),
        ("terminate", value("child", "nobody")),
        ("terminate", value("ike", "site").with_value("force", "perhaps")),
        ("terminate", value("ike", "site").with_value("timeout", "x")),
        ("terminate", value("ike", "site").with_value("loglevel", "5")),
        ("redirect", value("ike", "site")),
        ("redirect", value("gateway", "192.0.2.9")),
        ("redirect", value("gateway", "192.0.2.9").with_value("peer-ip", "nowhere")),
        ("redirect", value("gateway", "not a gateway").with_value("ike", "site")),
        ("synchronize-counters", value("ike", "site").with_value("missed-inbound", "x")),
        ("rekey", Tree::new()),
        ("rekey", value("ike-id", "x")),
        ("rekey", value("ike", "site").with_value("reauth", "perhaps")),
        ("install", Tree::new()),
        ("install", value("child", "net").with_value("ike", "nobody")),
        ("list-blocks", section("any")),
        ("unblock", value("child", "nobody")),
        ("uninstall", Tree::new()),
        ("uninstall", value("child", "nobody")),
    ]
}

#[tokio::test]
async fn every_command_refuses_wrong_arguments_with_a_sentence() {
    let wrong = wrong();
    for name in commands::NAMES {
        assert!(wrong.iter().any(|(command, _)| *command == name), "{name} has no wrong argument here");
    }
    let heard = with_client(None, move |client, _| {
        for (command, arguments) in &wrong {
            let answer = ask(client, command, arguments);
            assert_eq!(answer.text("success"), Some("no"), "{command} {arguments:?}: {answer:?}");
            let sentence = answer.text("errmsg").unwrap_or_default();
            assert!(sentence.contains(' ') && sentence.len() > 10, "{command} {arguments:?}: `{sentence}`");
        }
        // And the client is still served.
        assert!(ask(client, "version", &Tree::new()).text("daemon").is_some());
    })
    .await;
    assert!(heard.commands.is_empty(), "{:?}", heard.commands);
}

#[tokio::test]
async fn commands_that_match_nothing_count_it_as_charon_does() {
    with_client(None, |client, _| {
        let keys = |tree: &Tree| tree.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        let nobody = Tree::new().with_value("ike", "nobody");
        let answer = ask(client, "terminate", &nobody);
        assert_eq!(keys(&answer), ["success", "matches", "terminated", "errmsg"]);
        let answer = ask(client, "rekey", &nobody);
        assert_eq!(keys(&answer), ["success", "matches", "errmsg"]);
        let answer = ask(client, "redirect", &nobody.with_value("gateway", "192.0.2.9"));
        assert_eq!(keys(&answer), ["success", "matches", "errmsg"]);
    })
    .await;
}
