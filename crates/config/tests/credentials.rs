//! Certificates and keys: what a connection names, and the folders beside a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use config::{Authentication, Config, Loaded, Material, Revocation, load_connections, load_file};
use vici::Tree;

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("keyway-config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory of the test's own");
        Directory(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).expect("a directory of the test's own");
        fs::write(&path, content).expect("a file of the test's own");
        path
    }

    fn load(&self, text: &str) -> Loaded {
        load_file(&self.write("keyway.conf", text))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test's own directory");
    }
}

fn sound(loaded: Loaded) -> Config {
    let errors: Vec<_> = loaded.faults.iter().map(ToString::to_string).collect();
    assert!(loaded.is_sound(), "{errors:?}");
    loaded.config
}

fn names(materials: &[Material]) -> Vec<&str> {
    materials.iter().map(|material| material.name.as_str()).collect()
}

const SITE: &str = "
connections {
  site {
    remote_addrs = 192.0.2.2
    local { auth = rsa/pss-sha384
      certs = gw.pem, old.pem
      cert-new { file = new.pem } }
    remote { auth = pubkey
      cacerts = root.pem
      cert_policy = 1.3.6.1.4.1.99999.1
      revocation = strict
      id = C=CH, CN=* }
    children { net { remote_ts = 10.2.0.0/16 } }
  }
}
secrets { private-gw { file = gw.key
  secret = swordfish } }
authorities { root { cacert = root.pem
  crl_uris = http://crl.example/a, http://crl.example/b } }
";

#[test]
fn files_are_read_with_the_configuration() {
    let directory = Directory::new("read");
    for name in ["x509/gw.pem", "x509/old.pem", "x509/new.pem", "x509ca/root.pem", "x509crl/root.crl"] {
        directory.write(name, name);
    }
    directory.write("private/gw.key", "the key");
    directory.write("ecdsa/other.key", "another");
    directory.write("x509/.hidden", "");
    let config = sound(directory.load(SITE));
    let site = &config.connections[0];
    assert_eq!(names(&site.own.certificates), ["gw.pem", "old.pem", "new.pem"]);
    assert_eq!(site.own.certificates[0].octets, b"x509/gw.pem");
    assert_eq!(names(&site.peer.authorities), ["root.pem"]);
    assert_eq!(site.peer.revocation, Revocation::Strict);
    assert_eq!(site.peer.policies, ["1.3.6.1.4.1.99999.1"]);
    let Authentication::Signature(terms) = &site.local_authentication else { panic!("it signs") };
    assert_eq!(terms.to_string(), "rsa/pss-sha384");
    let materials = &config.materials;
    assert_eq!(names(&materials.certificates), ["gw.pem", "new.pem", "old.pem"]);
    assert_eq!((names(&materials.anchors), names(&materials.crls)), (vec!["root.pem"], vec!["root.crl"]));
    let keys: Vec<_> = materials.keys.iter().map(|key| (key.name.as_str(), key.password.is_some())).collect();
    assert_eq!(keys, [("private/gw.key", true), ("ecdsa/other.key", false)]);
    assert_eq!(materials.authorities[0].crl_uris, ["http://crl.example/a", "http://crl.example/b"]);
    assert!(!format!("{config:?}").contains("the key"), "private keys are never shown");
}

#[test]
fn a_certificate_that_changes_changes_its_connection() {
    let directory = Directory::new("change");
    for name in ["x509/gw.pem", "x509/old.pem", "x509/new.pem", "x509ca/root.pem", "private/gw.key"] {
        directory.write(name, name);
    }
    let before = sound(directory.load(SITE));
    assert_eq!(before.connections, sound(directory.load(SITE)).connections);
    directory.write("x509/gw.pem", "renewed");
    assert_ne!(before.connections, sound(directory.load(SITE)).connections);
}

#[test]
fn a_file_that_is_not_there_is_an_error_where_it_is_named() {
    let directory = Directory::new("missing");
    let loaded = directory.load(SITE);
    let faults: Vec<_> = loaded.faults.iter().map(ToString::to_string).collect();
    let all = faults.join("\n");
    for name in [
        "`gw.pem` cannot be read",
        "`new.pem` cannot be read",
        "`root.pem` cannot be read",
        "`gw.key` cannot be read",
    ] {
        assert!(all.contains(name), "{all}");
    }
    assert!(all.contains("looked for in x509/ beside the configuration"), "{all}");
    assert!(loaded.config.connections.is_empty(), "who cannot have what it names is left out");
}

#[test]
fn a_peer_with_a_secret_has_no_certificate_to_look_at() {
    let directory = Directory::new("psk");
    directory.write("x509ca/root.pem", "root");
    let text = "connections { c { remote_addrs = 192.0.2.1\n local { auth = psk }\n
        remote { auth = psk\n cacerts = root.pem }\n children { n { } } } }
        secrets { ike { secret = swordfish-swordfish } }";
    let faults: Vec<_> = directory.load(text).faults.iter().map(ToString::to_string).collect();
    assert!(faults.join("\n").contains("`cacerts` has no effect on a peer that proves itself by a secret"));
}

#[test]
fn a_message_brings_its_certificates_itself() {
    let der = vec![0x30, 0x82, 0xff, 0xfe];
    let local = Tree::new().with_value("auth", "pubkey").with_list("certs", [der.clone()]);
    let remote =
        Tree::new().with_value("auth", "pubkey").with_list("cacerts", ["-----BEGIN CERTIFICATE-----"]);
    let connection = Tree::new().with_section("local", local).with_section("remote", remote);
    let connection = connection.with_section("children", Tree::new().with_section("net", Tree::new()));
    let config = sound(load_connections(&Tree::new().with_section("site", connection)));
    assert_eq!(config.connections[0].own.certificates[0].octets, der);
    assert_eq!(names(&config.connections[0].peer.authorities), ["what `cacerts` holds"]);
    let local = Tree::new().with_value("auth", "pubkey").with_list("certs", ["gw.pem"]);
    let remote = Tree::new().with_value("auth", "psk");
    let connection = Tree::new().with_section("local", local).with_section("remote", remote);
    let loaded = load_connections(&Tree::new().with_section("site", connection));
    assert!(!loaded.is_sound(), "a message names no files");
}
