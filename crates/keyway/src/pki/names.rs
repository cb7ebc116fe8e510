//! Whom a certificate is for, in the words of a command line.

use std::path::PathBuf;

use pki::GeneralName;
use sa::{DistinguishedName, Identity};

use crate::client::Failure;

/// The names of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The subject.
    pub(super) subject: DistinguishedName,
    /// The other names.
    pub(super) others: Vec<GeneralName>,
}

impl Names {
    /// Reads names. The first distinguished name is the subject; without any, the first name becomes its CN.
    ///
    /// # Errors
    /// A name cannot be read, or cannot stand in a certificate.
    pub(super) fn read(texts: &[String]) -> Result<Names, Failure> {
        let mut subject = None;
        let mut others = Vec::new();
        for text in texts {
            match (read_one(text)?, &subject) {
                (GeneralName::Directory(name), None) => subject = Some(name),
                (other, _) => others.push(other),
            }
        }
        let first = texts.first().map(String::as_str).unwrap_or_default();
        let subject = match subject {
            Some(subject) => subject,
            None => common_name(first)?,
        };
        Ok(Names { subject, others })
    }
}

fn read_one(text: &str) -> Result<GeneralName, Failure> {
    match Identity::parse(text).map_err(|fault| Failure::Other(fault.to_string()))? {
        Identity::Ipv4(address) => Ok(GeneralName::Address(address.into())),
        Identity::Ipv6(address) => Ok(GeneralName::Address(address.into())),
        Identity::Fqdn(name) => Ok(GeneralName::Dns(name)),
        Identity::Email(address) => Ok(GeneralName::Email(address)),
        Identity::DistinguishedName(der) => DistinguishedName::from_der(&der)
            .map(GeneralName::Directory)
            .map_err(|fault| Failure::Other(fault.to_string())),
        Identity::KeyId(_) | Identity::Null | Identity::Other { .. } => {
            Err(Failure::Other(format!("{text} is a name that no certificate holds")))
        }
    }
}

fn common_name(text: &str) -> Result<DistinguishedName, Failure> {
    let escaped: String = text.chars().flat_map(|character| ['\\', character]).collect();
    DistinguishedName::parse(&format!("CN={escaped}")).map_err(|fault| Failure::Other(fault.to_string()))
}

/// A file name for somebody: the first name, or its CN, with what no file name should have taken out.
pub(super) fn file_stem(names: &Names, texts: &[String]) -> PathBuf {
    let first = texts.first().map(String::as_str).unwrap_or_default();
    let own = match names.subject.common_names().next() {
        Some(common_name) if first.contains('=') => common_name,
        _ => first,
    };
    let safe: String = own
        .chars()
        .map(
            |character| {
                if character.is_alphanumeric() || ".-_@".contains(character) { character } else { '_' }
            },
        )
        .collect();
    PathBuf::from(safe.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> (String, Vec<String>, String) {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let names = Names::read(&texts).expect("the test's own names");
        let others = names.others.iter().map(ToString::to_string).collect();
        (names.subject.to_string(), others, file_stem(&names, &texts).display().to_string())
    }

    #[test]
    fn the_first_name_becomes_the_subject() {
        let own = |text: &str| text.to_owned();
        let gateway = own("gw.example.org");
        assert_eq!(read(&["gw.example.org"]), (own("CN=gw.example.org"), vec![gateway.clone()], gateway));
        assert_eq!(
            read(&["C=CH, CN=gw", "gw.example.org", "192.0.2.1"]),
            (own("C=CH, CN=gw"), vec![own("gw.example.org"), own("192.0.2.1")], own("gw"))
        );
        assert_eq!(
            read(&["alice@example.org"]),
            (own("CN=alice@example.org"), vec![own("alice@example.org")], own("alice@example.org"))
        );
        assert_eq!(read(&["2001:db8::1"]).2, "2001_db8__1");
        assert_eq!(read(&["CN=../a b"]).2, "_a_b");
    }

    #[test]
    fn what_is_no_name_says_so() {
        let fault = Names::read(&["keyid:#0102".to_owned()]).unwrap_err().to_string();
        assert_eq!(fault, "keyid:#0102 is a name that no certificate holds");
    }
}
