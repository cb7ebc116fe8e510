//! One chain, made and judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pki::{Certificate, Demands, Malformed, ObjectIdentifier, Purpose, Time, Weak};

use crate::corpus::{Case, Template, Verdict};
use crate::openssl::{Made, OpenSsl};

/// The certificates of one case.
pub(crate) struct Chain {
    anchors: Vec<PathBuf>,
    intermediates: Vec<PathBuf>,
    end: PathBuf,
    now: Time,
}

pub(crate) fn make(case: &Case, openssl: &OpenSsl) -> Chain {
    let mut made: BTreeMap<&str, Made> = BTreeMap::new();
    let mut chain = Chain {
        anchors: Vec::new(),
        intermediates: Vec::new(),
        end: PathBuf::new(),
        now: today(case.at_days),
    };
    for (at, template) in case.certificates.iter().enumerate() {
        let issuer = template.issuer.as_deref().map(|issuer| made[issuer].clone());
        let certificate = openssl.certificate(template, issuer.as_ref());
        let file =
            if template.has("tampered") { tamper(&certificate.file) } else { certificate.file.clone() };
        made.insert(&template.name, certificate);
        let is_end = at + 1 == case.certificates.len();
        chain.place(template, file, is_end);
    }
    chain
}

/// So many days after today.
pub(crate) fn today(days: i64) -> Time {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // A minute later nobody asks whether the second in which a certificate was made counts.
    let seconds = i64::try_from(today).unwrap() + 60 + days * 86_400;
    Time(u64::try_from(seconds).unwrap())
}

/// Changes the last octet of the signature.
fn tamper(file: &Path) -> PathBuf {
    let mut der = der_of(file);
    *der.last_mut().unwrap() ^= 1;
    let tampered = file.with_extension("tampered.der");
    fs::write(&tampered, der).unwrap();
    tampered
}

impl Chain {
    fn place(&mut self, template: &Template, file: PathBuf, is_end: bool) {
        if template.is_anchor() {
            self.anchors.push(file.clone());
        } else if !is_end && !template.has("hidden") {
            self.intermediates.push(file.clone());
        }
        if is_end {
            self.end = file;
        }
    }

    pub(crate) fn our_verdict(&self, case: &Case) -> Verdict {
        let all = |files: &[PathBuf]| files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>();
        let policies: Vec<ObjectIdentifier> =
            case.policies.iter().map(|policy| ObjectIdentifier::new(policy).unwrap()).collect();
        let weak = if case.name.contains("(weak allowed)") { Weak::Allowed } else { Weak::Refused };
        let demands = Demands { now: self.now, purpose: Purpose::Ike, weak, policies: &policies };
        let judged = all(&self.anchors).and_then(|anchors| {
            let (intermediates, end) = (all(&self.intermediates)?, read(&self.end)?);
            Ok(pki::validate(&end, &intermediates, &anchors, &demands))
        });
        match judged {
            Ok(Ok(path)) => {
                assert_eq!(path.end(), &read(&self.end).unwrap());
                Verdict::Valid
            }
            Ok(Err(refusal)) => Verdict::Refused(without_moment(&refusal.to_string())),
            Err(malformed) => Verdict::Refused(malformed.to_string()),
        }
    }

    pub(crate) fn their_verdict(&self, case: &Case, openssl: &OpenSsl) -> Result<String, String> {
        let bundle = |name: &str, files: &[PathBuf]| {
            let path = openssl.path(name);
            let pem: String = files.iter().map(|file| pem_of(file, openssl)).collect();
            fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (anchors, others) = (bundle("anchors", &self.anchors), bundle("others", &self.intermediates));
        let end = bundle("end", std::slice::from_ref(&self.end));
        let now = self.now.0.to_string();
        let mut arguments = vec!["verify", "-no-CAfile", "-no-CApath", "-attime", &now];
        if case.certificates.iter().any(|template| template.has("anchor")) {
            arguments.push("-partial_chain");
        }
        if !self.anchors.is_empty() {
            arguments.extend(["-trusted", &anchors]);
        }
        if !self.intermediates.is_empty() {
            arguments.extend(["-untrusted", &others]);
        }
        if !case.policies.is_empty() {
            arguments.push("-explicit_policy");
        }
        arguments.push("-policy_check");
        let wanted: Vec<_> = case.policies.iter().flat_map(|policy| ["-policy", policy]).collect();
        arguments.extend(if wanted.is_empty() { vec!["-policy", "2.5.29.32.0"] } else { wanted });
        arguments.push(&end);
        openssl.run(&arguments)
    }
}

pub(crate) fn read(file: &Path) -> Result<Certificate, Malformed> {
    Certificate::from_der(&der_of(file))
}

/// The moment at which a certificate was made is another in each run.
fn without_moment(sentence: &str) -> String {
    for before in ["expired on ", "is not valid before "] {
        if let Some((start, _)) = sentence.split_once(before) {
            return format!("{start}{before}…");
        }
    }
    sentence.to_owned()
}

fn der_of(file: &Path) -> Vec<u8> {
    let octets = fs::read(file).unwrap();
    if file.extension().is_some_and(|extension| extension == "der") {
        return octets;
    }
    let text = String::from_utf8(octets).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    decode_base64(&base64)
}

/// OpenSSL's own PEM needs no more than this.
fn decode_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|octet| ALPHABET.iter().position(|letter| *letter == octet))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    let mut octets = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - group.len()));
        octets.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    octets
}

fn pem_of(file: &Path, openssl: &OpenSsl) -> String {
    if file.extension().is_some_and(|extension| extension == "der") {
        let file = file.to_str().unwrap();
        return openssl.run(&["x509", "-inform", "DER", "-in", file]).unwrap();
    }
    fs::read_to_string(file).unwrap()
}
