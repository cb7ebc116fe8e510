//! Certificates, private keys and CAs: `load-cert`, `load-key`, `load-authority` and their kin, and the lists of them.

use std::sync::Arc;

use config::Token;
use pki::{Certificate, Contents, PrivateKey};
use vici::{Node, Tree};

use super::commands::success;
use crate::daemon::handle::{Engine, Snapshot};
use crate::daemon::keyring::{KeyringChange, LoadedAuthority, key_id};
use crate::daemon::revocation::Revocation;
use crate::daemon::token::{self, Modules};

/// Answers `load-cert`.
pub(crate) async fn load_certificate(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let kind = arguments.text("type").unwrap_or_default().to_ascii_uppercase();
    let data = data(arguments)?;
    let change = match kind.as_str() {
        "X509" => {
            let first = contents(data)?.certificates.into_iter().next();
            let certificate = first.ok_or("there is no certificate in it")?;
            match arguments.text("flag").unwrap_or_default().eq_ignore_ascii_case("ca") {
                true => KeyringChange::AddAnchor(certificate),
                false => KeyringChange::AddCertificate(certificate),
            }
        }
        "X509_CRL" | "X509CRL" => {
            let first = contents(data)?.crls.into_iter().next();
            KeyringChange::AddCrl(first.ok_or("there is no list of revoked certificates in it")?)
        }
        // A connection that trusts a public key brings it itself.
        "PUBKEY" => return Ok(success()),
        other => return Err(format!("certificates of type `{other}` are not used")),
    };
    engine.change_keyring(change).await?;
    Ok(success())
}

/// Reads DER or PEM, as files have it.
fn contents(data: &[u8]) -> Result<Contents, String> {
    Contents::read(data, None).map_err(|fault| fault.to_string())
}

/// Answers `load-key`, with the name by which the key can be unloaded.
pub(crate) async fn load_key(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let key = PrivateKey::read(data(arguments)?, None).map_err(|fault| fault.to_string())?;
    let id = key_id(&key);
    engine.change_keyring(KeyringChange::AddKey(key)).await?;
    Ok(success().with_value("id", id))
}

/// Answers `load-token`, with the name by which the key can be unloaded.
pub(crate) async fn load_token(
    engine: &Engine,
    tokens: &Arc<Modules>,
    arguments: &Tree,
) -> Result<Tree, String> {
    let handle = arguments.text("handle").ok_or("load-token needs the key `handle`")?;
    let handle = handle.strip_prefix("0x").unwrap_or(handle);
    let slot = arguments.text("slot").map(str::parse::<u64>).transpose();
    let token = Token {
        name: "load-token".to_owned(),
        handle: hex::decode(handle).map_err(|_| format!("`{handle}` is not hexadecimal"))?,
        slot: slot.map_err(|_| "`slot` is no number".to_owned())?,
        module: arguments.text("module").map(str::to_owned),
        pin: arguments.value("pin").map(|pin| pin.bytes.clone().into()),
    };
    let key = token::open(tokens, token).await?;
    let id = key_id(&key);
    engine.change_keyring(KeyringChange::AddKey(key)).await?;
    Ok(success().with_value("id", id))
}

/// Answers `unload-key`.
pub(crate) async fn unload_key(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let id = arguments.text("id").ok_or("unload-key needs the key `id`")?;
    engine.change_keyring(KeyringChange::ForgetKey(id.to_ascii_lowercase())).await?;
    Ok(success())
}

/// Answers `get-keys`: the names of what clients loaded.
pub(crate) async fn key_names(engine: &Engine) -> Result<Tree, String> {
    let keyring = engine.snapshot().await?.keyring;
    Ok(Tree::new().with_list("keys", keyring.clients.keys.iter().map(key_id)))
}

/// Answers `load-authority`.
pub(crate) async fn load_authority(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    for entry in &arguments.entries {
        let Node::Section(section) = &entry.node else {
            return Err(format!("`{}` must be a section that describes an authority", entry.name));
        };
        let authority = authority(section).map_err(|sentence| format!("{}: {sentence}", entry.name))?;
        engine.change_keyring(KeyringChange::AddAuthority(entry.name.clone(), authority)).await?;
    }
    Ok(success())
}

fn authority(section: &Tree) -> Result<LoadedAuthority, String> {
    let certificate = section.value("cacert").map(|value| {
        contents(&value.bytes)?
            .certificates
            .into_iter()
            .next()
            .ok_or("`cacert` holds no certificate".to_owned())
    });
    let texts = |key: &str| {
        let values = section.list(key).unwrap_or_default();
        values.iter().filter_map(|value| value.text().map(str::to_owned)).collect()
    };
    let (crl_uris, ocsp_uris) = (texts("crl_uris"), texts("ocsp_uris"));
    let uri_base = section.text("cert_uri_base").map(str::to_owned);
    Ok(LoadedAuthority { certificate: certificate.transpose()?, crl_uris, ocsp_uris, uri_base })
}

/// Answers `unload-authority`.
pub(crate) async fn unload_authority(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let name = arguments.text("name").ok_or("unload-authority needs the key `name`")?;
    engine.change_keyring(KeyringChange::ForgetAuthority(name.to_owned())).await?;
    Ok(success())
}

/// Answers `get-authorities`: the names of what clients loaded.
pub(crate) async fn authority_names(engine: &Engine) -> Result<Tree, String> {
    let keyring = engine.snapshot().await?.keyring;
    Ok(Tree::new().with_list("authorities", keyring.clients.authorities.keys()))
}

/// Answers `list-authorities`, a message for each.
pub(crate) async fn list_authorities(engine: &Engine, arguments: &Tree) -> Result<Vec<Tree>, String> {
    let keyring = engine.snapshot().await?.keyring;
    let wanted = arguments.text("name");
    let listed = keyring.authorities().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    let described = listed.map(|(name, authority)| {
        let subject = authority.certificate.as_ref().map(|certificate| certificate.subject().to_string());
        let section = Tree::new()
            .with_value("cacert", subject.unwrap_or_default())
            .with_list("crl_uris", &authority.crl_uris)
            .with_list("ocsp_uris", &authority.ocsp_uris);
        let section = match &authority.uri_base {
            Some(base) => section.with_value("cert_uri_base", base.as_str()),
            None => section,
        };
        Tree::new().with_section(name, section)
    });
    Ok(described.collect())
}

/// Answers `flush-certs`: forgets what was fetched. What was loaded stays, and nothing is kept of what peers send.
pub(crate) fn flush(revocation: &Revocation, arguments: &Tree) -> Result<Tree, String> {
    check_filter(arguments, "type", &TYPES)?;
    let is_meant = |kind: &str| is_wanted(arguments, "type", kind);
    if is_meant("X509_CRL") {
        revocation.forget_lists();
    }
    if is_meant("OCSP_RESPONSE") {
        revocation.forget_responses();
    }
    Ok(success())
}

/// What a certificate may be, beside any.
const TYPES: [&str; 5] = ["X509", "X509_AC", "X509_CRL", "OCSP_RESPONSE", "PUBKEY"];

/// What a certificate may be for, beside any.
const FLAGS: [&str; 4] = ["NONE", "CA", "AA", "OCSP"];

/// Refuses a filter that nothing could ever pass.
fn check_filter(arguments: &Tree, key: &str, known: &[&str]) -> Result<(), String> {
    match arguments.text(key) {
        Some(text) if !known.iter().chain(&["ANY"]).any(|known| known.eq_ignore_ascii_case(text)) => {
            Err(format!("{key} = {text} is none of {}, ANY", known.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Tells whether a key is absent, any, or this.
fn is_wanted(arguments: &Tree, key: &str, value: &str) -> bool {
    match arguments.text(key) {
        None => true,
        Some(wanted) => wanted.eq_ignore_ascii_case("any") || wanted.eq_ignore_ascii_case(value),
    }
}

/// Answers `list-certs`, a message for each certificate, list and OCSP response.
pub(crate) async fn list_certificates(
    engine: &Engine,
    revocation: &Revocation,
    arguments: &Tree,
) -> Result<Vec<Tree>, String> {
    check_filter(arguments, "type", &TYPES)?;
    check_filter(arguments, "flag", &FLAGS)?;
    let snapshot = engine.snapshot().await?;
    let is_wanted = |key: &str, value: &str| is_wanted(arguments, key, value);
    let subject = arguments.text("subject").filter(|subject| !subject.is_empty());
    let mut messages = Vec::new();
    if is_wanted("type", "X509") {
        for (certificate, flag) in certificates(&snapshot) {
            let is_about = |subject: &str| certificate.subject().to_string() == subject;
            if is_wanted("flag", flag) && subject.is_none_or(is_about) {
                messages.push(describe(&snapshot, certificate, flag));
            }
        }
    }
    let (lists, responses) = revocation.all();
    if is_wanted("type", "X509_CRL") && subject.is_none() {
        let lists = snapshot.credentials.crls.iter().chain(&lists);
        messages.extend(lists.map(|crl| octets_of("X509_CRL", crl.to_der())));
    }
    if is_wanted("type", "OCSP_RESPONSE") && subject.is_none() {
        messages.extend(responses.iter().map(|response| octets_of("OCSP_RESPONSE", response.to_der())));
    }
    Ok(messages)
}

fn octets_of(kind: &str, der: &[u8]) -> Tree {
    Tree::new().with_value("type", kind).with_value("flag", "NONE").with_value("data", der.to_vec())
}

fn certificates(snapshot: &Snapshot) -> impl Iterator<Item = (&Certificate, &'static str)> {
    let of_connections = snapshot.credentials.connections.values().flat_map(|wishes| {
        wishes
            .own
            .iter()
            .chain(&wishes.peer)
            .map(|own| (own, "NONE"))
            .chain(wishes.anchors.iter().map(|anchor| (anchor, "CA")))
    });
    let known = snapshot.credentials.certificates.iter().map(|own| (own, "NONE"));
    let anchors = snapshot.credentials.anchors.iter().map(|anchor| (anchor, "CA"));
    let mut seen: Vec<&Certificate> = Vec::new();
    known.chain(anchors).chain(of_connections).filter(move |(certificate, _)| {
        let is_new = !seen.contains(certificate);
        seen.push(certificate);
        is_new
    })
}

fn describe(snapshot: &Snapshot, certificate: &Certificate, flag: &str) -> Tree {
    let has_key = snapshot.credentials.keys.iter().any(|key| key.belongs_to(certificate));
    let tree = Tree::new().with_value("type", "X509").with_value("flag", flag);
    let tree = if has_key { tree.with_value("has_privkey", "yes") } else { tree };
    tree.with_value("data", certificate.to_der().to_vec())
}

fn data(arguments: &Tree) -> Result<&[u8], String> {
    arguments.value("data").map(|value| value.bytes.as_slice()).ok_or("the key `data` is needed".to_owned())
}
