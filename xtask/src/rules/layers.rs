//! The hourglass: which crate may know which (ARCHITECTURE.md has the picture).

use serde_json::Value;

use super::{Fault, Tree, array};

/// Our crates, and of ours those that each may use.
const OURS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("crypto", &[]),
    ("sa", &["wire", "crypto"]),
    ("pki", &["crypto", "sa"]),
    ("ike", &["wire", "crypto", "sa"]),
    ("ipsec", &["wire", "crypto", "sa"]),
    ("dataplane", &["wire", "crypto", "sa", "ipsec"]),
    ("vici", &[]),
    ("config", &["wire", "crypto", "sa", "vici"]),
    ("credentials", &["wire", "crypto", "sa", "pki", "ike"]),
];

/// Others' crates that only some of ours may name: I/O, the runtime, the one cryptographic library.
const OTHERS: &[(&str, &[&str])] = &[
    ("aws-lc-rs", &["crypto"]),
    ("aws-lc-sys", &["crypto"]),
    ("tokio", &["keyway"]),
    ("clap", &["keyway"]),
    ("libc", &["dataplane"]),
    ("socket2", &["dataplane", "keyway"]),
    ("rustix", &["dataplane", "interop", "keyway"]),
];

/// Finds dependencies that the picture does not have.
pub(crate) fn layers(tree: &Tree) -> Vec<Fault> {
    tree.packages.iter().filter(|package| package["source"].is_null()).flat_map(faults_of).collect()
}

fn faults_of(package: &Value) -> Vec<Fault> {
    let name = short(package["name"].as_str().unwrap_or_default());
    let used = array(&package["dependencies"])
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str());
    let mut faults = Vec::new();
    for dependency in used {
        let is_ours = dependency.starts_with("keyway-");
        let own_rule = OURS.iter().find(|(ours, _)| *ours == name).map(|(_, allowed)| allowed);
        let their_rule = OTHERS.iter().find(|(other, _)| *other == dependency).map(|(_, users)| users);
        let forbidden = (is_ours && own_rule.is_some_and(|allowed| !allowed.contains(&short(dependency))))
            || their_rule.is_some_and(|users| !users.contains(&name));
        if forbidden {
            faults.push(Fault {
                place: format!("crates/{name}"),
                line: 0,
                what: format!("may not use {dependency}"),
            });
        }
    }
    faults
}

/// The name of the crate's directory.
fn short(package: &str) -> &str {
    package.strip_prefix("keyway-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependency: &str, kind: Option<&str>) -> Value {
        json!({ "name": name, "source": null, "dependencies": [{ "name": dependency, "kind": kind }] })
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        assert_eq!(faults_of(&package("keyway-ike", "keyway-dataplane", None)).len(), 1);
        assert_eq!(faults_of(&package("keyway-ike", "keyway-sa", None)), []);
        assert_eq!(faults_of(&package("keyway", "keyway-dataplane", None)), []);
    }

    #[test]
    fn a_dependency_of_tests_is_free() {
        assert_eq!(faults_of(&package("keyway-ike", "keyway-testkit", Some("dev"))), []);
    }

    #[test]
    fn only_crypto_names_the_library() {
        assert_eq!(faults_of(&package("keyway-crypto", "aws-lc-rs", None)), []);
        assert_eq!(faults_of(&package("keyway-ipsec", "aws-lc-rs", None)).len(), 1);
        assert_eq!(faults_of(&package("keyway-ike", "tokio", None)).len(), 1);
    }
}
