//! The commands that make and revoke things.

use std::path::Path;

use pki::crl::Revoked;
use pki::issue::{self, Draft, Issuer, Role};
use pki::{Certificate, GeneralName, ObjectIdentifier, Time, pem};
use sa::DistinguishedName;

use super::arguments::{Ca, Crl, Issue, PurposeChoice, Request, Revoke, Sign, Signer, Terms};
use super::authority::{Authority, SECS_PER_DAY, new_serial, read_serial, said};
use super::files::{self, Readers, create, with_ending};
use super::names::{Names, file_stem};
use crate::client::Failure;
use crate::moment;

/// How far a peer's clock may be behind ours for it to take what was issued just now, in seconds.
const CLOCKS_BEHIND_SECS: u64 = 300;

/// Makes a CA.
///
/// # Errors
/// The name is none, or the directory cannot be made.
pub(super) fn ca(arguments: &Ca) -> Result<(), Failure> {
    let subject = DistinguishedName::parse(&arguments.name).map_err(said)?;
    files::check_absent(&[&arguments.directory])?;
    let (key, text) = files::new_key(&arguments.key)?;
    let now = moment::now();
    let mut draft = Draft {
        subject,
        names: Vec::new(),
        key_info: key.public_key_info(),
        serial: new_serial(),
        not_before: now.before_secs(CLOCKS_BEHIND_SECS),
        not_after: now.after_secs(u64::from(arguments.days) * SECS_PER_DAY),
        role: Role::Ca { path_len: arguments.path_len },
        crl_uris: Vec::new(),
        ocsp_uris: Vec::new(),
    };
    let certificate = match &arguments.parent {
        Some(parent) => {
            let parent =
                Authority::open(&Signer { directory: parent.clone(), password: arguments.password.clone() })?;
            draft.not_after = draft.not_after.min(parent.certificate().not_after());
            parent.issue(&draft)?
        }
        None => issue::issue(&draft, Issuer::Itself(&key)).map_err(said)?,
    };
    Authority::create(&arguments.directory, &certificate, text.as_slice())?;
    let directory = arguments.directory.display();
    println!("The CA {certificate} is in {directory}, valid until {}.", certificate.not_after());
    println!("Its certificate {directory}/ca.crt is for everybody; keep {directory}/ca.key to yourself.");
    Ok(())
}

/// Makes a key and its certificate.
///
/// # Errors
/// A name is none, the CA cannot sign, or the files are there already.
pub(super) fn issue(arguments: &Issue) -> Result<(), Failure> {
    let names = Names::read(&arguments.names)?;
    let stem = arguments.out.clone().unwrap_or_else(|| file_stem(&names, &arguments.names));
    let (key_file, certificate_file) = (with_ending(&stem, "key"), with_ending(&stem, "crt"));
    files::check_absent(&[&key_file, &certificate_file])?;
    let authority = Authority::open(&arguments.ca)?;
    let (key, text) = files::new_key(&arguments.key)?;
    let issued = authority.issue(&draft(names, key.public_key_info(), &arguments.terms, &authority))?;
    create(&key_file, text.as_slice(), Readers::Owner)?;
    write_certificate(&certificate_file, &issued)?;
    println!("The private key is in {}, for the owner only.", key_file.display());
    Ok(())
}

/// Makes a key and a request.
///
/// # Errors
/// A name is none, or the files are there already.
pub(super) fn request(arguments: &Request) -> Result<(), Failure> {
    let names = Names::read(&arguments.names)?;
    let stem = arguments.out.clone().unwrap_or_else(|| file_stem(&names, &arguments.names));
    let (key_file, request_file) = (with_ending(&stem, "key"), with_ending(&stem, "csr"));
    files::check_absent(&[&key_file, &request_file])?;
    let (key, text) = files::new_key(&arguments.key)?;
    let request = pki::Request::new(&names.subject, &names.others, &key).map_err(said)?;
    create(&key_file, text.as_slice(), Readers::Owner)?;
    let text = pem::write("CERTIFICATE REQUEST", request.to_der());
    create(&request_file, text.as_slice(), Readers::Everybody)?;
    println!("The request for {} is in {}; give it to a CA.", names.subject, request_file.display());
    println!("The private key is in {}, for the owner only.", key_file.display());
    Ok(())
}

/// Certifies a request.
///
/// # Errors
/// There is no request, it is not signed with its own key, or the CA cannot sign.
pub(super) fn sign(arguments: &Sign) -> Result<(), Failure> {
    let path = &arguments.request;
    let fault = |what: &str| Failure::Other(format!("{}: {what}", path.display()));
    let requests = files::read(path, None)?.requests;
    let request = requests.first().ok_or_else(|| fault("there is no certificate request"))?;
    request.verify().map_err(|_| fault("the request is not signed with the key that it names"))?;
    let names = match arguments.names.as_slice() {
        [] => Names { subject: request.subject().clone(), others: request.names().to_vec() },
        names => Names::read(names)?,
    };
    let out = arguments.out.clone().unwrap_or_else(|| path.with_extension("crt"));
    files::check_absent(&[&out])?;
    let authority = Authority::open(&arguments.ca)?;
    let issued = authority.issue(&draft(names, request.key_info().to_vec(), &arguments.terms, &authority))?;
    write_certificate(&out, &issued)
}

/// Revokes a certificate and writes the list.
///
/// # Errors
/// The certificate is not the CA's, or is revoked already.
pub(super) fn revoke(arguments: &Revoke) -> Result<(), Failure> {
    let authority = Authority::open(&arguments.ca)?;
    let path = Path::new(&arguments.certificate);
    let serial = match read_serial(&arguments.certificate) {
        Some(serial) if !path.exists() => serial,
        _ => serial_in(path, authority.certificate())?,
    };
    let now = moment::now();
    authority.revoke(&serial, Revoked { at: now, reason: arguments.reason.into() })?;
    write_list(&authority, now, arguments.days)
}

/// Writes the list.
///
/// # Errors
/// The CA cannot sign.
pub(super) fn crl(arguments: &Crl) -> Result<(), Failure> {
    write_list(&Authority::open(&arguments.ca)?, moment::now(), arguments.days)
}

fn draft(names: Names, key_info: Vec<u8>, terms: &Terms, authority: &Authority) -> Draft {
    let now = moment::now();
    let wanted = now.after_secs(u64::from(terms.days) * SECS_PER_DAY);
    Draft {
        subject: names.subject,
        names: names.others,
        key_info,
        serial: new_serial(),
        not_before: now.before_secs(CLOCKS_BEHIND_SECS).max(authority.certificate().not_before()),
        not_after: wanted.min(authority.certificate().not_after()),
        role: Role::End { purposes: purposes(terms.purpose) },
        crl_uris: terms.crl_uri.clone(),
        ocsp_uris: terms.ocsp_uri.clone(),
    }
}

/// RFC 4945 §5.1.3.12: whoever names purposes names IKE too.
fn purposes(choice: Option<PurposeChoice>) -> Vec<ObjectIdentifier> {
    const IPSEC_IKE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.17");
    const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
    const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
    match choice {
        None => Vec::new(),
        Some(PurposeChoice::Ike) => vec![IPSEC_IKE],
        Some(PurposeChoice::Server) => vec![SERVER_AUTH, IPSEC_IKE],
        Some(PurposeChoice::Client) => vec![CLIENT_AUTH, IPSEC_IKE],
    }
}

fn write_certificate(path: &Path, issued: &Certificate) -> Result<(), Failure> {
    let text = pem::write("CERTIFICATE", issued.to_der());
    create(path, text.as_slice(), Readers::Everybody)?;
    let others: Vec<_> = issued.subject_names().iter().map(GeneralName::to_string).collect();
    let also = if others.is_empty() { String::new() } else { format!(", also for {}", others.join(", ")) };
    println!(
        "The certificate for {issued}{also} is in {}, valid until {}.",
        path.display(),
        issued.not_after()
    );
    Ok(())
}

fn serial_in(path: &Path, ca: &Certificate) -> Result<Vec<u8>, Failure> {
    let fault = |what: String| Failure::Other(format!("{}: {what}", path.display()));
    let certificates = files::read(path, None)?.certificates;
    let certificate =
        certificates.first().ok_or_else(|| fault("there is no certificate in it".to_owned()))?;
    let is_its = certificate.issuer() == ca.subject()
        && ca.key().is_ok_and(|key| certificate.verify_signature(key).is_ok());
    if is_its {
        Ok(certificate.serial().to_vec())
    } else {
        Err(fault(format!("{ca} has not issued this certificate")))
    }
}

fn write_list(authority: &Authority, now: Time, days: u32) -> Result<(), Failure> {
    let (count, path) = authority.write_list(now, days)?;
    let whom = if count == 1 { "1 certificate is".to_owned() } else { format!("{count} certificates are") };
    println!("{whom} revoked; the CRL is in {}, to be written anew within {days} days.", path.display());
    Ok(())
}
