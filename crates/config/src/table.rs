//! The table of keys: every name, default and reason, here and nowhere else.
//!
//! Names and meanings are those of strongSwan's swanctl.conf(5). Where a default differs from the one there, its reason
//! says so. Keys of swanctl.conf that Keyway does not honour are in the table too, with what becomes of them: none is
//! swallowed.

pub(crate) mod authentication;
pub(crate) mod charon;
pub(crate) mod child;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod handling;
pub(crate) mod interface;
pub(crate) mod manual_keying;

use crate::schema::{Name, Status, section};

section! {
    ROOT = "", Status::Honoured, "The whole configuration.";
    keys {}
    others []
    sections [
        (Name::Exactly("connections"), CONNECTIONS),
        (Name::Exactly("secrets"), credentials::SECRETS),
        (Name::Exactly("pools"), credentials::POOLS),
        (Name::Exactly("authorities"), credentials::AUTHORITIES),
        (Name::Exactly("manual"), manual_keying::MANUAL),
    ]
}

section! {
    CONNECTIONS = "connections", Status::Honoured, "The peers, one section each.";
    keys {}
    others []
    sections [(Name::Any, connection::CONNECTION),]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Severity;
    use crate::load::load_text_in;
    use crate::material::Everywhere;
    use crate::schema::{Absent, Arity, Section};

    /// Every section of the table, each once.
    fn sections(section: &'static Section, found: &mut Vec<&'static Section>) {
        if found.iter().all(|known| known.path != section.path) {
            found.push(section);
            section.sections.iter().for_each(|(_, inner)| sections(inner, found));
        }
    }

    fn all_sections() -> Vec<&'static Section> {
        let mut found = Vec::new();
        sections(&ROOT, &mut found);
        found
    }

    /// A configuration with one extra line in the section of this path.
    fn configuration(path: &str, line: &str) -> String {
        let at = |section: &str| if section == path { format!("{line}\n") } else { String::new() };
        format!(
            "connections {{ c {{\n remote_addrs = 192.0.2.1\n {}
                local {{ auth = psk\n {}
                    cert {{ file = gw.pem\n {} }} }}
                remote {{ auth = psk\n {}
                    cert {{ file = peer.pem\n {} }} }}
                children {{ net {{\n {} }} }}
            }} }}
            secrets {{ ike {{ secret = correct-horse-battery-staple\n {} }}
                private {{ file = gw.key\n {} }}
                token {{ handle = 01\n {} }} }}
            pools {{ p {{ addrs = 10.3.0.0/24\n {} }} }}
            authorities {{ ca {{ cacert = ca.pem\n {} }} }}
            manual {{ m {{ local_addr = 192.0.2.2\n remote_addr = 192.0.2.1\n {}
                esp {{ proposal = aes128-sha256\n spi_in = 0x1001\n spi_out = 0x1002
                    encryption_key_in = 0x{KEY}\n integrity_key_in = 0x{KEY}{KEY}
                    encryption_key_out = 0x{KEY}\n integrity_key_out = 0x{KEY}{KEY} }}
            }} }}",
            at("connections.<conn>"),
            at("connections.<conn>.local<suffix>"),
            at("connections.<conn>.local<suffix>.cert<suffix>"),
            at("connections.<conn>.remote<suffix>"),
            at("connections.<conn>.remote<suffix>.[ca]cert<suffix>"),
            at("connections.<conn>.children.<child>"),
            at("secrets.ike<suffix>"),
            at("secrets.private<suffix>"),
            at("secrets.token<suffix>"),
            at("pools.<pool>"),
            at("authorities.<name>"),
            at("manual.<name>"),
        )
    }

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";

    /// The faults of a configuration, but for what manually keyed SAs are always warned of.
    fn faults(path: &str, line: &str) -> Vec<(Severity, String)> {
        let loaded = load_text_in(&Everywhere, &configuration(path, line));
        let faults = loaded.faults.into_iter();
        faults
            .filter(|fault| !fault.key.starts_with("manual.m") || fault.severity == Severity::Error)
            .map(|fault| (fault.severity, fault.message))
            .collect()
    }

    #[test]
    fn every_default_can_be_read() {
        assert_eq!(faults("", ""), []);
    }

    #[test]
    fn every_default_may_be_written_out() {
        for section in all_sections() {
            for row in section.keys {
                let Absent::Is { text, why } = row.absent else { continue };
                assert!(
                    !why.is_empty() && !row.doc.is_empty(),
                    "{}.{} has no reason",
                    section.path,
                    row.name
                );
                if row.name != "auth" && row.name != "remote_addrs" {
                    assert_eq!(faults(section.path, &format!("{} = {text}", row.name)), [], "{}", row.name);
                }
            }
        }
    }

    /// The keys and sections that Debian's swanctl.conf(5) of strongSwan 5.9.8 names.
    const OF_SWANCTL: &str = include_str!("../tests/swanctl.keys");

    #[test]
    fn every_key_of_swanctl_is_known() {
        let mut tried = 0;
        for path in OF_SWANCTL.lines() {
            let written = path.replace("<suffix>", "-1").replace("<attr>", "dns").replace(['<', '>'], "");
            let names: Vec<&str> = written.split('.').collect();
            assert!(ROOT.knows(&names), "{path}");
            tried += 1;
        }
        assert_eq!(tried, 157);
        assert!(!ROOT.knows(&["connections", "conn", "children", "child", "rekey_tiem"]));
    }

    #[test]
    fn no_section_has_a_key_twice() {
        for section in all_sections() {
            let mut names = BTreeSet::new();
            for row in section.keys.iter().copied().chain(section.others) {
                assert!(names.insert(row.name), "{}.{}", section.path, row.name);
            }
        }
    }

    #[test]
    fn what_is_not_honoured_is_never_swallowed() {
        let mut seen = 0;
        for section in all_sections() {
            for row in section.others {
                let (severity, harmless) = match row.status {
                    Status::Honoured => continue,
                    Status::Ignored { harmless, .. } => (Severity::Warning, harmless),
                    Status::Refused { harmless, .. } => (Severity::Error, harmless),
                };
                seen += 1;
                assert!(row.arity == Arity::Any);
                let found = faults(section.path, &format!("{} = something-else", row.name));
                assert_eq!(found.len(), 1, "{}.{}: {found:?}", section.path, row.name);
                assert_eq!(found[0].0, severity, "{}", row.name);
                for word in harmless {
                    assert_eq!(faults(section.path, &format!("{} = {word}", row.name)), [], "{}", row.name);
                }
            }
        }
        // As many as there are; fewer when a key is honoured at last.
        assert!(seen >= 35, "only {seen} keys were tried");
    }
}
