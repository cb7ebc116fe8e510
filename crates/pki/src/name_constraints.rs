//! Name constraints (RFC 5280 §4.2.1.10): which names a CA may give to those below it.
//!
//! A name must lie in a permitted subtree of every CA above that has permitted subtrees of the name's kind, and in no
//! excluded subtree of any. The names of a certificate are its subject, its other names, and the e-mail addresses in
//! its subject.

use std::net::IpAddr;

use der::Encode;
use sa::DistinguishedName;
use x509_cert::ext::pkix::NameConstraints as Encoded;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName as EncodedName;

use crate::extensions::{GeneralName, read_name};
use crate::refusal::{Reason, Refusal};
use crate::{Certificate, limits};

/// The extension of one CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subtrees {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
    /// Some subtree has a minimum or maximum, and the RFC says that none has.
    is_bounded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subtree {
    Email(String),
    Dns(String),
    Uri(String),
    /// An address and a mask, of the same length.
    Address(Vec<u8>, Vec<u8>),
    Directory(DistinguishedName),
    /// A kind for which nobody defined what lies below what.
    Incomparable(GeneralName),
}

/// Whether a name lies in a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Inside,
    Outside,
    OtherKind,
    Unknown,
}

/// All constraints from the trust anchor down to somewhere in a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameConstraints<'a> {
    /// The CAs that are limited, with their subtrees.
    limited: Vec<(&'a Certificate, &'a Subtrees)>,
    comparisons: usize,
}

impl<'a> NameConstraints<'a> {
    /// Adds the constraints of a CA.
    pub(crate) fn add(&mut self, ca: &'a Certificate) -> Result<(), Refusal> {
        if let Some(subtrees) = &ca.extensions().subtrees {
            if subtrees.is_bounded {
                return Err(Refusal::of(ca, Reason::BoundedSubtrees));
            }
            self.limited.push((ca, subtrees));
        }
        Ok(())
    }

    /// Checks all names of a certificate.
    pub(crate) fn check(&mut self, certificate: &Certificate) -> Result<(), Refusal> {
        if self.limited.is_empty() {
            return Ok(());
        }
        let subject = certificate.subject();
        let directory = (!subject.is_empty()).then(|| GeneralName::Directory(subject.clone()));
        let emails = subject.emails().map(|email| GeneralName::Email(email.to_owned()));
        let names = certificate.subject_names().iter().cloned().chain(directory).chain(emails);
        for name in names {
            self.check_name(&name).map_err(|reason| Refusal::of(certificate, reason))?;
        }
        Ok(())
    }

    fn check_name(&mut self, name: &GeneralName) -> Result<(), Reason> {
        for (ca, subtrees) in &self.limited {
            self.comparisons += subtrees.permitted.len() + subtrees.excluded.len();
            if self.comparisons > limits::MAX_NAME_COMPARISONS {
                return Err(Reason::TooMuchWork("names and name constraints"));
            }
            let (name_text, ca) = (|| name.to_string(), || ca.to_string());
            let permitted: Vec<_> = subtrees.permitted.iter().map(|tree| tree.relation(name)).collect();
            let excluded: Vec<_> = subtrees.excluded.iter().map(|tree| tree.relation(name)).collect();
            if excluded.contains(&Relation::Inside) {
                return Err(Reason::NameExcluded { name: name_text(), ca: ca() });
            }
            if excluded.contains(&Relation::Unknown) || permitted.contains(&Relation::Unknown) {
                return Err(Reason::NameIncomparable { name: name_text(), ca: ca() });
            }
            if permitted.contains(&Relation::Outside) && !permitted.contains(&Relation::Inside) {
                return Err(Reason::NameOutside { name: name_text(), ca: ca() });
            }
        }
        Ok(())
    }
}

impl Subtrees {
    pub(crate) fn read(encoded: &Encoded) -> der::Result<Subtrees> {
        let (permitted, excluded) = (&encoded.permitted_subtrees, &encoded.excluded_subtrees);
        let all = || permitted.iter().flatten().chain(excluded.iter().flatten());
        Ok(Subtrees {
            permitted: read_all(permitted.as_deref().unwrap_or_default())?,
            excluded: read_all(excluded.as_deref().unwrap_or_default())?,
            is_bounded: all().any(|subtree| subtree.minimum != 0 || subtree.maximum.is_some()),
        })
    }
}

fn read_all(subtrees: &[GeneralSubtree]) -> der::Result<Vec<Subtree>> {
    subtrees.iter().map(|subtree| Subtree::read(&subtree.base)).collect()
}

impl Subtree {
    fn read(base: &EncodedName) -> der::Result<Subtree> {
        Ok(match base {
            EncodedName::Rfc822Name(text) => Subtree::Email(text.as_str().to_owned()),
            EncodedName::DnsName(text) => Subtree::Dns(text.as_str().to_owned()),
            EncodedName::UniformResourceIdentifier(text) => Subtree::Uri(text.as_str().to_owned()),
            EncodedName::DirectoryName(name) => Subtree::Directory(read_name(&name.to_der()?)?),
            EncodedName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                if ![8, 32].contains(&octets.len()) {
                    return Err(der::Tag::OctetString.value_error().into());
                }
                let (address, mask) = octets.split_at(octets.len() / 2);
                Subtree::Address(address.to_vec(), mask.to_vec())
            }
            EncodedName::OtherName(_) | EncodedName::EdiPartyName(_) | EncodedName::RegisteredId(_) => {
                Subtree::Incomparable(GeneralName::read(base)?)
            }
        })
    }

    fn relation(&self, name: &GeneralName) -> Relation {
        let is_inside = match (self, name) {
            (Subtree::Email(base), GeneralName::Email(address)) => is_email_below(address, base),
            (Subtree::Dns(base), GeneralName::Dns(name)) => is_host_below(name, base, Itself::Belongs),
            (Subtree::Uri(base), GeneralName::Uri(uri)) => match host_of(uri) {
                Some(host) if base.starts_with('.') => is_host_below(host, base, Itself::IsOutside),
                Some(host) => host.eq_ignore_ascii_case(base),
                // RFC 5280 §4.2.1.10: a URI without a domain name is not acceptable under such a constraint.
                None => return Relation::Unknown,
            },
            (Subtree::Address(address, mask), GeneralName::Address(own)) => {
                let own = octets_of(*own);
                if own.len() != address.len() {
                    // Both families are one kind of name: who permits IPv4 networks only permits no IPv6 address.
                    return Relation::Outside;
                }
                own.iter().zip(address).zip(mask).all(|((own, base), mask)| own & mask == base & mask)
            }
            (Subtree::Directory(base), GeneralName::Directory(name)) => name.is_below(base),
            (Subtree::Incomparable(base), name) => {
                let is_same_kind = match (base, name) {
                    (GeneralName::Other(base), GeneralName::Other(kind)) => base == kind,
                    (base, name) => std::mem::discriminant(base) == std::mem::discriminant(name),
                };
                return if is_same_kind { Relation::Unknown } else { Relation::OtherKind };
            }
            (_, _) => return Relation::OtherKind,
        };
        if is_inside { Relation::Inside } else { Relation::Outside }
    }
}

/// Whether a constraint without a leading dot includes the host that it names.
#[derive(Clone, Copy)]
enum Itself {
    Belongs,
    IsOutside,
}

/// Whether a host is below a domain. A leading dot of the domain leaves the domain itself out.
fn is_host_below(host: &str, base: &str, itself: Itself) -> bool {
    let (domain, itself) = match base.strip_prefix('.') {
        Some(domain) => (domain, Itself::IsOutside),
        None => (base, itself),
    };
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let domain = domain.as_bytes();
    let Some(rest_len) = host.len().checked_sub(domain.len()) else { return false };
    let (rest, ending) = host.split_at(rest_len);
    ending.eq_ignore_ascii_case(domain)
        && match (rest, itself) {
            ([], itself) => matches!(itself, Itself::Belongs),
            (rest, _) => domain.is_empty() || rest.ends_with(b"."),
        }
}

/// RFC 5280 §4.2.1.10: a mailbox, all mailboxes of a host, or with a leading dot all mailboxes of the hosts below.
fn is_email_below(address: &str, base: &str) -> bool {
    let Some((local, host)) = address.rsplit_once('@') else { return false };
    match base.rsplit_once('@') {
        Some((base_local, base_host)) => local == base_local && host.eq_ignore_ascii_case(base_host),
        None if base.starts_with('.') => is_host_below(host, base, Itself::IsOutside),
        None => base.is_empty() || host.eq_ignore_ascii_case(base),
    }
}

/// The domain name in a URI's authority; none if there is no authority or an address in its place.
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    let host = host_and_port.split(':').next()?;
    let is_address = host_and_port.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (!host.is_empty() && !is_address).then_some(host)
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GeneralName {
        match text.split_once(' ').unwrap() {
            ("email", text) => GeneralName::Email(text.to_owned()),
            ("dns", text) => GeneralName::Dns(text.to_owned()),
            ("uri", text) => GeneralName::Uri(text.to_owned()),
            ("ip", text) => GeneralName::Address(text.parse().unwrap()),
            (_, text) => GeneralName::Directory(DistinguishedName::parse(text).unwrap()),
        }
    }

    fn subtree(text: &str) -> Subtree {
        match text.split_once(' ').unwrap() {
            ("email", text) => Subtree::Email(text.to_owned()),
            ("dns", text) => Subtree::Dns(text.to_owned()),
            ("uri", text) => Subtree::Uri(text.to_owned()),
            ("ip", text) => {
                let (address, mask) = text.split_once('/').unwrap();
                Subtree::Address(octets_of(address.parse().unwrap()), octets_of(mask.parse().unwrap()))
            }
            (_, text) => Subtree::Directory(DistinguishedName::parse(text).unwrap()),
        }
    }

    #[test]
    fn names_lie_where_the_rfc_says() {
        use Relation::{Inside, OtherKind, Outside, Unknown};
        let cases = [
            ("dns host.example.com", "dns host.example.com", Inside),
            ("dns host.example.com", "dns my.host.EXAMPLE.com", Inside),
            ("dns host.example.com", "dns ghost.example.com", Outside),
            ("dns host.example.com", "dns bighost.example.com", Outside),
            ("dns .example.com", "dns example.com", Outside),
            ("dns .example.com", "dns a.example.com", Inside),
            ("dns ", "dns a.example.com", Inside),
            ("dns example.com", "email a@example.com", OtherKind),
            ("email root@example.com", "email root@EXAMPLE.com", Inside),
            ("email root@example.com", "email Root@example.com", Outside),
            ("email example.com", "email a@example.com", Inside),
            ("email example.com", "email a@b.example.com", Outside),
            ("email .example.com", "email a@b.example.com", Inside),
            ("email .example.com", "email a@example.com", Outside),
            ("email example.com", "email nobody", Outside),
            ("uri example.com", "uri https://u@example.com:443/x", Inside),
            ("uri example.com", "uri https://a.example.com/", Outside),
            ("uri .example.com", "uri https://a.b.example.com?q", Inside),
            ("uri .example.com", "uri https://example.com/", Outside),
            ("uri example.com", "uri urn:x", Unknown),
            ("uri example.com", "uri https://192.0.2.1/", Unknown),
            ("uri example.com", "uri https://[2001:db8::1]/", Unknown),
            ("ip 10.0.0.0/255.0.0.0", "ip 10.1.2.3", Inside),
            ("ip 10.0.0.0/255.0.0.0", "ip 11.1.2.3", Outside),
            ("ip 2001:db8::/ffff:ffff::", "ip 2001:db8:1::1", Inside),
            ("ip 10.0.0.0/255.0.0.0", "ip 2001:db8::1", Outside),
            ("dn C=CH, O=A", "dn C=CH, O=a, CN=x", Inside),
            ("dn C=CH, O=A", "dn C=CH, O=B", Outside),
            ("dn C=CH", "dns ch", OtherKind),
        ];
        for (base, own, relation) in cases {
            assert_eq!(subtree(base).relation(&name(own)), relation, "{own} under {base}");
        }
    }

    #[test]
    fn kinds_without_an_order_cannot_be_compared() {
        use der::asn1::ObjectIdentifier;
        let upn = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
        let base = Subtree::Incomparable(GeneralName::Other(upn));
        assert_eq!(base.relation(&GeneralName::Other(upn)), Relation::Unknown);
        let other = ObjectIdentifier::new_unwrap("1.2.3");
        assert_eq!(base.relation(&GeneralName::Other(other)), Relation::OtherKind);
        assert_eq!(base.relation(&name("dns a")), Relation::OtherKind);
    }
}
