//! The corpus' own language.
//!
//! ```text
//! == what the case is about
//! root                           a certificate, its own issuer and so a trust anchor; its subject is CN=root
//! sub < root                     one that root issued, with options behind it:
//!                                  ca, v1, hidden, anchor, untrusted, tampered, key=KIND or KIND:NAME, digest=NAME,
//!                                  days=N
//!   basicConstraints = CA:true   an extension in OpenSSL's words, in place of the usual one, or none if empty
//!   subject = /CN=…              another subject
//! end < sub
//! at = 40                        days after today at which the chain is judged
//! policy = 1.2.3                 a certificate policy that is wanted
//! ours = valid                   or the sentence with which we refuse
//! differs = RFC …                OpenSSL decides otherwise, and why
//! ```
//!
//! The last certificate is the end. An unindented word that is no certificate's is a fault of the corpus.

use std::fmt;

/// One chain and what is to be said of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) certificates: Vec<Template>,
    pub(crate) at_days: i64,
    pub(crate) policies: Vec<String>,
    pub(crate) ours: Verdict,
    pub(crate) difference: Option<String>,
}

/// What is to be in one certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub(crate) name: String,
    /// `None` if it is its own.
    pub(crate) issuer: Option<String>,
    pub(crate) options: Vec<String>,
    pub(crate) subject: String,
    pub(crate) extensions: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Refused(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Valid => f.write_str("valid"),
            Verdict::Refused(sentence) => f.write_str(sentence),
        }
    }
}

impl Template {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().find_map(|own| own.strip_prefix(option)?.strip_prefix('='))
    }

    pub(crate) fn is_anchor(&self) -> bool {
        (self.issuer.is_none() || self.has("anchor")) && !self.has("untrusted")
    }
}

pub(crate) fn read(text: &str) -> Vec<Case> {
    let blocks = text.split("\n== ").skip(1);
    blocks.map(read_case).collect()
}

fn read_case(block: &str) -> Case {
    let (name, body) = block.split_once('\n').expect("a case has lines");
    let mut case = Case {
        name: name.to_owned(),
        certificates: Vec::new(),
        at_days: 0,
        policies: Vec::new(),
        ours: Verdict::Refused("nothing is expected".to_owned()),
        difference: None,
    };
    for line in body.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), line.split_once(" = ")) {
            (Some(detail), _) => read_detail(case.certificates.last_mut().expect("a certificate"), detail),
            (None, Some(("at", days))) => case.at_days = days.parse().expect("a number of days"),
            (None, Some(("policy", policy))) => case.policies.push(policy.to_owned()),
            (None, Some(("ours", "valid"))) => case.ours = Verdict::Valid,
            (None, Some(("ours", sentence))) => case.ours = Verdict::Refused(sentence.to_owned()),
            (None, Some(("differs", why))) => case.difference = Some(why.to_owned()),
            (None, Some((word, _))) => panic!("{name}: {word}"),
            (None, None) => case.certificates.push(read_certificate(line)),
        }
    }
    case
}

fn read_certificate(line: &str) -> Template {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, issuer, options) = match words.as_slice() {
        [name, "<", issuer, options @ ..] => (*name, Some((*issuer).to_owned()), options),
        [name, options @ ..] => (*name, None, options),
        [] => panic!("an empty line is no certificate"),
    };
    let mut options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    if issuer.is_none() {
        options.push("ca".to_owned());
    }
    let is_ca = options.iter().any(|option| option == "ca");
    let usual = [
        ("subjectKeyIdentifier", "hash"),
        ("authorityKeyIdentifier", if issuer.is_some() { "keyid" } else { "" }),
        ("basicConstraints", if is_ca { "critical, CA:true" } else { "" }),
        ("keyUsage", if is_ca { "critical, keyCertSign, cRLSign" } else { "critical, digitalSignature" }),
    ];
    Template {
        name: name.to_owned(),
        issuer,
        options,
        subject: format!("/CN={name}"),
        extensions: usual.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

fn read_detail(certificate: &mut Template, line: &str) {
    let (name, value) = line.trim().split_once('=').expect("a detail has a value");
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    if name == "subject" {
        certificate.subject = value;
        return;
    }
    certificate.extensions.retain(|(own, _)| *own != name);
    certificate.extensions.push((name, value));
}
