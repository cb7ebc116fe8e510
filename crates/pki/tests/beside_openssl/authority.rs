//! OpenSSL as a CA that revokes, writes lists and answers OCSP questions.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use pki::{Certificate, Crl};

use crate::chain;
use crate::openssl::{Made, OpenSsl};

/// What a list is to be like.
pub(crate) struct List<'a> {
    pub(crate) signer: &'a Made,
    /// Certificates with the reasons for which they are revoked.
    pub(crate) revoked: &'a [(&'a Certificate, &'a str)],
    pub(crate) number: u32,
    pub(crate) hours: u32,
    /// Extensions in OpenSSL's words, one a line.
    pub(crate) extensions: &'a str,
}

impl<'a> List<'a> {
    pub(crate) fn of(signer: &'a Made) -> List<'a> {
        List { signer, revoked: &[], number: 1, hours: 24, extensions: "" }
    }

    /// Has OpenSSL write the list, and gives it with its file.
    pub(crate) fn make(&self, openssl: &OpenSsl) -> Crl {
        let index = index(openssl, self.revoked, &[]);
        let number = openssl.path("crlnumber");
        fs::write(&number, format!("{:02X}\n", self.number)).unwrap();
        let configuration = openssl.path("crl.cnf");
        let text = format!(
            "[ca]\ndefault_ca = a\n[a]\ndatabase = {index}\ncrlnumber = {}\ndefault_md = sha256\n[crl]\n\
             authorityKeyIdentifier = keyid\n{}\n",
            number.display(),
            self.extensions
        );
        fs::write(&configuration, text).unwrap();
        let (pem, der) = (openssl.path("crl.pem"), openssl.path("crl.der"));
        let hours = self.hours.to_string();
        let arguments = [
            "ca",
            "-gencrl",
            "-config",
            text_of(&configuration),
            "-crlexts",
            "crl",
            "-crlhours",
            &hours,
            "-cert",
            text_of(&self.signer.file),
            "-keyfile",
            text_of(&self.signer.key),
            "-out",
            text_of(&pem),
        ];
        openssl.run(&arguments).unwrap_or_else(|complaint| panic!("{}: {complaint}", self.extensions));
        openssl.run(&["crl", "-in", text_of(&pem), "-outform", "DER", "-out", text_of(&der)]).unwrap();
        Crl::from_der(&fs::read(der).unwrap()).unwrap()
    }
}

/// Writes OpenSSL's data base of certificates, and gives its path.
pub(crate) fn index(openssl: &OpenSsl, revoked: &[(&Certificate, &str)], valid: &[&Certificate]) -> String {
    let mut text = String::new();
    for (certificate, reason) in revoked {
        let reason = if reason.is_empty() { String::new() } else { format!(",{reason}") };
        let serial = hex::encode_upper(certificate.serial());
        writeln!(text, "R\t400101000000Z\t250102030405Z{reason}\t{serial}\tunknown\t/CN=x").unwrap();
    }
    for certificate in valid {
        let serial = hex::encode_upper(certificate.serial());
        writeln!(text, "V\t400101000000Z\t\t{serial}\tunknown\t/CN=x").unwrap();
    }
    let file = openssl.path("index.txt");
    fs::write(&file, text).unwrap();
    drop(fs::write(openssl.path("index.txt.attr"), "unique_subject = no\n"));
    text_of(&file).to_owned()
}

/// What OpenSSL says of a certificate, given lists.
pub(crate) fn verify(
    openssl: &OpenSsl,
    anchor: &Made,
    others: &[&Made],
    end: &Made,
    crls: &[&Crl],
    now: u64,
    options: &[&str],
) -> Result<String, String> {
    let lists = openssl.path("lists.pem");
    let mut text = String::new();
    for crl in crls {
        let der = openssl.path("list.der");
        fs::write(&der, crl.to_der()).unwrap();
        text += &openssl.run(&["crl", "-inform", "DER", "-in", text_of(&der)]).unwrap();
    }
    fs::write(&lists, text).unwrap();
    let untrusted = openssl.path("untrusted.pem");
    let pem: String = others.iter().map(|other| fs::read_to_string(&other.file).unwrap()).collect();
    fs::write(&untrusted, pem).unwrap();
    let now = now.to_string();
    let mut arguments =
        vec!["verify", "-no-CApath", "-CAfile", text_of(&anchor.file), "-crl_check", "-attime", &now];
    if !crls.is_empty() {
        arguments.extend(["-CRLfile", text_of(&lists)]);
    }
    if !others.is_empty() {
        arguments.extend(["-untrusted", text_of(&untrusted)]);
    }
    arguments.extend(options);
    arguments.push(text_of(&end.file));
    openssl.run(&arguments)
}

pub(crate) fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn read(made: &Made) -> Certificate {
    chain::read(&made.file).unwrap()
}
