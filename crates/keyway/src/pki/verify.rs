//! `keyway pki verify`: is a certificate valid for IKE, and whose is it?

use std::path::PathBuf;

use pki::revocation::{self, Evidence, Strictness};
use pki::{Contents, Demands, Purpose, Weak};
use sa::Identity;

use super::arguments::Verify;
use super::authority::said;
use super::files;
use crate::client::Failure;
use crate::moment;

/// Says that a certificate is valid.
///
/// # Errors
/// It is not, for the reason that the failure says.
pub(super) fn verify(arguments: &Verify) -> Result<(), Failure> {
    let own = files::read(&arguments.file, None)?;
    let (end, beside) = own
        .certificates
        .split_first()
        .ok_or_else(|| Failure::Other(format!("{}: there is no certificate", arguments.file.display())))?;
    let anchors = read_all(&arguments.ca)?.certificates;
    let intermediates = [beside, &read_all(&arguments.intermediate)?.certificates].concat();
    let crls = read_all(&arguments.crl)?.crls;
    let now = moment::now();
    let weak = if arguments.allow_weak { Weak::Allowed } else { Weak::Refused };
    let demands = Demands { now, purpose: Purpose::Ike, weak, policies: &[] };
    let path = pki::validate(end, &intermediates, &anchors, &demands).map_err(said)?;
    let evidence = Evidence { crls: &crls, responses: &[], nonce: None, certificates: &intermediates };
    let strictness = if crls.is_empty() { Strictness::Relaxed } else { Strictness::Strict };
    revocation::check(&path, &evidence, strictness, now, weak).map_err(said)?;
    for identity in &arguments.identity {
        let identity = Identity::parse(identity).map_err(said)?;
        pki::certifies(end, &identity).map_err(said)?;
    }
    let chain: Vec<_> = path.certificates().iter().map(ToString::to_string).collect();
    println!("{}: valid: {}", arguments.file.display(), chain.join(", issued by "));
    Ok(())
}

fn read_all(files: &[PathBuf]) -> Result<Contents, Failure> {
    let mut all = Contents::default();
    for path in files {
        let contents = files::read(path, None)?;
        all.certificates.extend(contents.certificates);
        all.crls.extend(contents.crls);
    }
    Ok(all)
}
