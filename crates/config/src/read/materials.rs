//! Certificates, keys and lists that the configuration names, and those in the folders beside it.

use std::collections::BTreeMap;

use crypto::Secret;

use crate::material::{Authority, Folder, KeyMaterial, Material, Materials, Token, is_octets};
use crate::reader::Reader;
use crate::schema::{ListKey, OptionalKey};
use crate::table::credentials::{
    AUTHORITY_CACERT, AUTHORITY_CRL_URIS, AUTHORITY_FILE, AUTHORITY_OCSP_URIS, AUTHORITY_URI_BASE, KEY_FILE,
    KEY_SECRET, TOKEN_HANDLE, TOKEN_MODULE, TOKEN_PIN, TOKEN_SLOT,
};

/// Reads what a list names or holds.
pub(super) fn materials(reader: &Reader<'_>, key: &ListKey<String>, folder: Folder) -> Vec<Material> {
    let held = reader.values(&key.row).iter().filter(|value| is_octets(&value.bytes));
    let held: Vec<Material> = held
        .map(|value| Material { name: format!("what `{}` holds", key.row.name), octets: value.bytes.clone() })
        .collect();
    if !held.is_empty() {
        return held;
    }
    let items = reader.items(key).into_iter();
    items.filter_map(|item| material(reader, item.text, folder, key.row.name, item.span)).collect()
}

/// Reads what the sections of a family name, one file each.
pub(super) fn section_materials(
    reader: &Reader<'_>,
    prefix: &str,
    key: &OptionalKey<String>,
    folder: Folder,
) -> Vec<Material> {
    let sections = reader.sections(prefix).into_iter();
    let named = sections.filter_map(|section| {
        let Some(name) = section.maybe(key) else {
            section.section_error(format!("`{}` names no `file`", section.name()), "");
            return None;
        };
        material(&section, name, folder, key.row.name, section.place(&key.row))
    });
    named.collect()
}

fn material(
    reader: &Reader<'_>,
    name: String,
    folder: Folder,
    key: &str,
    span: vici::Span,
) -> Option<Material> {
    match reader.folders.read(folder, &name) {
        Ok(octets) => Some(Material { name, octets }),
        Err(fault) => {
            let message = format!("`{name}` cannot be read: {fault}");
            let help =
                format!("a name without a path is looked for in {}/ beside the configuration", folder.name());
            reader.faults.error(span, &reader.key(key), message, help);
            None
        }
    }
}

/// Reads all folders, and the CAs that the configuration names.
pub(super) fn all(root: &Reader<'_>) -> Materials {
    for (folder, instead) in Folder::UNUSED {
        for name in root.folders.list(folder) {
            let message = format!("{}/{name} has no effect: {instead}", folder.name());
            root.faults.warning(root.span, "", message, "");
        }
    }
    Materials {
        certificates: folder(root, Folder::X509),
        anchors: folder(root, Folder::X509Ca),
        crls: folder(root, Folder::X509Crl),
        keys: keys(root),
        tokens: inside(root, "secrets", "token").iter().filter_map(token).collect(),
        authorities: inside(root, "authorities", "").iter().map(authority).collect(),
    }
}

fn folder(root: &Reader<'_>, folder: Folder) -> Vec<Material> {
    let names = root.folders.list(folder).into_iter();
    names.filter_map(|name| Some(Material { octets: octets(root, folder, &name)?, name })).collect()
}

/// Reads a file that nobody has named: that it cannot be read harms only whoever needs it.
fn octets(root: &Reader<'_>, folder: Folder, name: &str) -> Option<Vec<u8>> {
    let read = root.folders.read(folder, name);
    let warn = |fault| {
        let message = format!("{}/{name} cannot be read: {fault}", folder.name());
        root.faults.warning(root.span, "", message, "");
    };
    read.map_err(warn).ok()
}

fn keys(root: &Reader<'_>) -> Vec<KeyMaterial> {
    let mut keys = Vec::new();
    for folder in Folder::OF_KEYS {
        let mut passwords = passwords(root, folder);
        for name in root.folders.list(folder) {
            let password = passwords.remove(&name);
            if let Some(octets) = octets(root, folder, &name) {
                let name = format!("{}/{name}", folder.name());
                keys.push(KeyMaterial { name, octets: octets.into(), password });
            }
        }
        // What is named by its whole path stands in no folder.
        for (name, password) in passwords {
            if let Ok(octets) = root.folders.read(folder, &name) {
                keys.push(KeyMaterial { name, octets: octets.into(), password: Some(password) });
            }
        }
    }
    keys
}

/// Gives the passwords for the files of a folder.
fn passwords(root: &Reader<'_>, folder: Folder) -> BTreeMap<String, Secret<Vec<u8>>> {
    let mut passwords = BTreeMap::new();
    for section in inside(root, "secrets", folder.name()) {
        let Some(file) = section.maybe(&KEY_FILE) else {
            section.section_error(format!("`{}` names no `file`", section.name()), "");
            continue;
        };
        if let Err(fault) = root.folders.read(folder, &file) {
            let help = format!("it is looked for in {}/ beside the configuration", folder.name());
            section.error(&KEY_FILE.row, format!("`{file}` cannot be read: {fault}"), help);
        }
        if let Some(password) = section.maybe(&KEY_SECRET) {
            passwords.insert(file, password);
        }
    }
    passwords
}

fn token(section: &Reader<'_>) -> Option<Token> {
    let Some(handle) = section.maybe(&TOKEN_HANDLE) else {
        section.section_error(format!("`{}` names no `handle`", section.name()), "");
        return None;
    };
    Some(Token {
        name: section.name().to_owned(),
        handle,
        slot: section.maybe(&TOKEN_SLOT).map(u64::from),
        module: section.maybe(&TOKEN_MODULE),
        pin: section.maybe(&TOKEN_PIN),
    })
}

fn authority(section: &Reader<'_>) -> Authority {
    let files = [&AUTHORITY_CACERT, &AUTHORITY_FILE].into_iter();
    let certificate = files.filter_map(|key| {
        let name = section.maybe(key)?;
        material(section, name, Folder::X509Ca, key.row.name, section.place(&key.row))
    });
    Authority {
        name: section.name().to_owned(),
        certificate: certificate.into_iter().next(),
        crl_uris: section.many(&AUTHORITY_CRL_URIS),
        ocsp_uris: section.many(&AUTHORITY_OCSP_URIS),
        uri_base: section.maybe(&AUTHORITY_URI_BASE),
    }
}

/// Gives the sections of a kind inside one at the top.
pub(super) fn inside<'a>(root: &Reader<'a>, name: &str, prefix: &str) -> Vec<Reader<'a>> {
    let named = root.sections(name).into_iter().filter(|section| section.path == name);
    named.flat_map(|section| section.sections(prefix)).collect()
}
