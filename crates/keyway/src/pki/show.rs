//! `keyway pki show`: what files hold, in words.

use std::io::{self, Write};

use crypto::hash;
use crypto::signature::SignatureScheme;
use pki::algorithm::UnknownScheme;
use pki::{Certificate, Contents, Crl, PrivateKey, Request, Time, purpose_name};

use super::arguments::Show;
use super::authority::{SECS_PER_DAY, serial_text};
use super::files;
use crate::client::Failure;
use crate::moment;

/// Prints what files hold.
///
/// # Errors
/// A file cannot be read.
pub(super) fn show(arguments: &Show) -> Result<(), Failure> {
    let now = moment::now();
    let mut out = io::stdout().lock();
    for path in &arguments.files {
        let contents = files::read(path, arguments.password.as_deref())?;
        if arguments.files.len() > 1 {
            writeln!(out, "{}:", path.display())?;
        }
        print(&mut out, &contents, now)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, contents: &Contents, now: Time) -> io::Result<()> {
    for certificate in &contents.certificates {
        print_certificate(out, certificate, now)?;
    }
    for request in &contents.requests {
        print_request(out, request)?;
    }
    for crl in &contents.crls {
        print_list(out, crl, now)?;
    }
    contents.keys.iter().try_for_each(|key| print_key(out, key))
}

fn print_certificate(out: &mut impl Write, own: &Certificate, now: Time) -> io::Result<()> {
    writeln!(out, "certificate  {own}")?;
    line(out, "names", &joined(own.subject_names()))?;
    line(out, "issuer", &own.issuer().to_string())?;
    line(out, "serial", &serial_text(own.serial()))?;
    line(out, "valid", &format!("{} to {}, {}", own.not_before(), own.not_after(), validity(own, now)))?;
    line(out, "key", &key_text(own))?;
    line(out, "key id", &own.subject_key_id().map(hex::encode).unwrap_or_default())?;
    let purposes: Vec<_> = own.purposes().unwrap_or_default().iter().map(purpose_name).collect();
    line(out, "purposes", &purposes.join(", "))?;
    let below = own.path_len().map(|allowed| format!(", with at most {allowed} CAs below it"));
    line(
        out,
        "CA",
        &if own.is_ca() { format!("yes{}", below.unwrap_or_default()) } else { "no".to_owned() },
    )?;
    line(out, "policies", &joined(own.policies()))?;
    line(out, "CRL", &uris(own.crl_uris()))?;
    line(out, "OCSP", &uris(own.ocsp_uris()))?;
    line(out, "signature", &scheme_text(own.signature_scheme()))?;
    line(out, "SHA-256", &hex::encode(hash::SHA2_256.digest(&[own.to_der()])))
}

/// Prints a line, unless there is nothing to say.
fn line(out: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    if text.is_empty() { Ok(()) } else { writeln!(out, "  {label:<11}{text}") }
}

fn joined(things: &[impl ToString]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Places that a certificate names, without what would confuse a terminal.
fn uris<'a>(uris: impl Iterator<Item = &'a str>) -> String {
    uris.collect::<Vec<_>>().join(", ").replace(char::is_control, "\u{fffd}")
}

fn validity(own: &Certificate, now: Time) -> String {
    let days = |from: Time, to: Time| match to.0.saturating_sub(from.0) / SECS_PER_DAY {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if now < own.not_before() {
        format!("begins in {}", days(now, own.not_before()))
    } else if now > own.not_after() {
        format!("expired {} ago", days(own.not_after(), now))
    } else {
        format!("{} left", days(now, own.not_after()))
    }
}

fn key_text(own: &Certificate) -> String {
    let key = match own.key() {
        Ok(key) => key.to_string(),
        Err(fault) => format!("a key {fault}"),
    };
    match own.key_usages() {
        Some(usages) => format!("{key}, for {}", usages.join(", ")),
        None => key,
    }
}

fn scheme_text(scheme: Result<SignatureScheme, UnknownScheme>) -> String {
    scheme.map_or_else(|fault| fault.to_string(), |scheme| scheme.to_string())
}

fn print_request(out: &mut impl Write, own: &Request) -> io::Result<()> {
    writeln!(out, "request      {}", own.subject())?;
    line(out, "names", &joined(own.names()))?;
    line(out, "key", &own.key().map_or_else(|fault| format!("a key {fault}"), |key| key.to_string()))?;
    let signed = if own.verify().is_ok() { "with this key" } else { "NOT with this key" };
    line(out, "signed", signed)
}

fn print_list(out: &mut impl Write, own: &Crl, now: Time) -> io::Result<()> {
    let kind = if own.is_delta() { "delta CRL" } else { "CRL" };
    writeln!(out, "{kind:<13}of {}", own.issuer())?;
    line(out, "number", &serial_text(own.number()))?;
    line(out, "made", &own.this_update().to_string())?;
    let next = own.next_update().map(|next| {
        let late = if next < now { ", which is over" } else { "" };
        format!("{next}{late}")
    });
    line(out, "next", &next.unwrap_or_default())?;
    line(out, "revoked", &own.entries().len().to_string())?;
    for (serial, revoked) in own.entries() {
        writeln!(out, "    {}  {}  {}", serial_text(serial), revoked.at, revoked.reason)?;
    }
    Ok(())
}

fn print_key(out: &mut impl Write, own: &PrivateKey) -> io::Result<()> {
    let public = pki::PublicKey::from_der(&own.public_key_info());
    writeln!(out, "private key  {}", public.map_or_else(|fault| fault.to_string(), |key| key.to_string()))?;
    line(out, "public", &hex::encode(hash::SHA2_256.digest(&[&own.public_key_info()])))
}
