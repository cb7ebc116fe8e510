//! Certificates and keys: what a connection names, and the folders beside a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use config::{Authentication, Config, Loaded, Material, Revocation, SecretKind, load_connections, load_file};
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

/// The whole tree of /etc/swanctl, one file in each folder, and a secret of every type.
#[test]
fn the_tree_of_swanctl_is_read_and_nothing_in_it_is_swallowed() {
    let directory = Directory::new("tree");
    for name in ["x509/c", "x509ca/ca", "x509crl/crl", "pubkey/p", "x509ocsp/o", "x509aa/aa", "x509ac/ac"] {
        directory.write(name, name);
    }
    for folder in ["private", "rsa", "ecdsa", "pkcs8", "pkcs12"] {
        directory.write(&format!("{folder}/key"), folder);
    }
    directory.write("conf.d/10-first.conf", "include deeper/*.conf\n");
    directory.write(
        "conf.d/deeper/a.conf",
        "secrets {\n   xauth-carol {\n      id = carol\n      secret = open sesame\n   }\n}\n",
    );
    directory.write("conf.d/20-second.conf", "template {\n   remote_addrs = 192.0.2.2\n   version = 1\n}\nends {\n   local {\n      auth = psk\n   }\n   remote {\n      auth = psk\n   }\n}\n");
    let text = "
connections {
   site : template, ends {
      version = 2
      children {
         net {
            remote_ts = 10.2.0.0/16
         }
      }
   }
}
secrets {
   ike-1 {
      secret = correct horse battery staple
   }
   ppk-1 {
      id = quantum
      secret = 0x000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f
   }
   private-1 {
      file = key
      secret = one
   }
   rsa-1 {
      file = key
      secret = two
   }
   ecdsa-1 {
      file = key
      secret = three
   }
   pkcs8-1 {
      file = key
      secret = four
   }
   pkcs12-1 {
      file = key
      secret = five
   }
   token-1 {
      handle = 0a
      slot = 1
      module = opensc
      pin = 1234
   }
}
include conf.d/*.conf
";
    let loaded = directory.load(text);
    let warnings: Vec<_> = loaded.faults.iter().map(config::Fault::sentence).collect();
    for unused in ["x509ocsp/o has no effect: ", "x509aa/aa has no effect: ", "x509ac/ac has no effect: "] {
        assert!(warnings.iter().any(|warning| warning.contains(unused)), "{warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let config = sound(loaded);
    let materials = &config.materials;
    assert_eq!((names(&materials.certificates), names(&materials.anchors)), (vec!["c"], vec!["ca"]));
    assert_eq!(names(&materials.crls), ["crl"]);
    let mut keys = Vec::new();
    for key in &materials.keys {
        let password =
            key.password.as_ref().map(|password| String::from_utf8_lossy(password.as_slice()).into_owned());
        keys.push((key.name.as_str(), password.unwrap_or_default()));
    }
    let expected = [
        ("private/key", "one"),
        ("rsa/key", "two"),
        ("ecdsa/key", "three"),
        ("pkcs8/key", "four"),
        ("pkcs12/key", "five"),
    ];
    assert_eq!(keys, expected.map(|(name, password)| (name, password.to_owned())));
    assert_eq!((materials.tokens.len(), materials.tokens[0].module.as_deref()), (1, Some("opensc")));
    let secrets: Vec<_> = config.secrets.iter().map(|secret| (secret.name.as_str(), secret.kind)).collect();
    let kinds = [
        ("ike-1", SecretKind::PreSharedKey),
        ("xauth-carol", SecretKind::Password),
        ("ppk-1", SecretKind::PostQuantum),
    ];
    assert_eq!(secrets, kinds);
    // The section's own word counts, then the first parent's.
    assert_eq!(config.connections[0].versions, config::Versions::V2);
    assert_eq!(
        config.connections[0].remote_addresses,
        [config::AddressSpec::Host("192.0.2.2".parse().expect("an address"))]
    );
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
