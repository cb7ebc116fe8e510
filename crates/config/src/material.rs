//! Certificates, keys and lists: octets that stand in files beside the configuration, or in a management message.
//!
//! ```text
//!   keyway.conf
//!   x509/  certificates, ours and others'         private/, rsa/, ecdsa/, pkcs8/  private keys
//!   x509ca/  those of CAs that are trusted        pkcs12/  both in one file
//!   x509crl/  lists of what CAs have revoked      pubkey/  public keys without a certificate
//!   x509ocsp/, x509aa/, x509ac/  nothing that is used: whoever puts something there is told so
//! ```
//!
//! What the octets mean is not this crate's affair. All files of these folders are read with the configuration, so
//! reading it again takes up what is new in them.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crypto::Secret;

use crate::limits::{MAX_MATERIAL_FILES, MAX_MATERIAL_LEN};

/// The octets of a certificate, list or public key.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The file's name, or else what it is, for people.
    pub name: String,
    /// What it holds: DER or PEM.
    pub octets: Vec<u8>,
}

/// The octets of a private key.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// The file's name, for people.
    pub name: String,
    /// What it holds: DER or PEM, perhaps encrypted.
    pub octets: Secret<Vec<u8>>,
    /// What opens it.
    pub password: Option<Secret<Vec<u8>>>,
}

/// A CA, and where to ask about what it has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its name in the configuration.
    pub name: String,
    /// Its certificate.
    pub certificate: Option<Material>,
    /// Where its lists are.
    pub crl_uris: Vec<String>,
    /// Where its OCSP responders are.
    pub ocsp_uris: Vec<String>,
    /// Where the certificates that it has issued to us can be fetched, by their digest.
    pub uri_base: Option<String>,
}

/// A private key on a token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The name of its section.
    pub name: String,
    /// The key's CKA_ID.
    pub handle: Vec<u8>,
    /// The slot that the token is in, if not any.
    pub slot: Option<u64>,
    /// The name of the module, if not the first.
    pub module: Option<String>,
    /// What unlocks the token.
    pub pin: Option<Secret<Vec<u8>>>,
}

/// Everything that stands in the folders beside a configuration, and the CAs that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Materials {
    /// Certificates that are not trusted by themselves.
    pub certificates: Vec<Material>,
    /// Those of CAs that are.
    pub anchors: Vec<Material>,
    /// Lists of revoked certificates.
    pub crls: Vec<Material>,
    /// Private keys, and certificates with them.
    pub keys: Vec<KeyMaterial>,
    /// Private keys on tokens.
    pub tokens: Vec<Token>,
    /// CAs.
    pub authorities: Vec<Authority>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({}, {} octets)", self.name, self.octets.len())
    }
}

/// A folder beside the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    X509,
    X509Ca,
    X509Crl,
    X509Ocsp,
    X509Aa,
    X509Ac,
    PublicKey,
    Private,
    Rsa,
    Ecdsa,
    Pkcs8,
    Pkcs12,
}

impl Folder {
    /// Those with private keys, and the name of the section of `secrets` that opens them.
    pub(crate) const OF_KEYS: [Folder; 5] =
        [Folder::Private, Folder::Rsa, Folder::Ecdsa, Folder::Pkcs8, Folder::Pkcs12];

    /// Those of swanctl that nothing is read from, with what happens instead.
    pub(crate) const UNUSED: [(Folder, &str); 3] = [
        (
            Folder::X509Ocsp,
            "an OCSP response counts if the CA itself, or a signer that it has certified for that, has signed it",
        ),
        (Folder::X509Aa, ATTRIBUTES),
        (Folder::X509Ac, ATTRIBUTES),
    ];

    /// Gives its name; the sections of `secrets` for what is in it start so, too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Folder::X509 => "x509",
            Folder::X509Ca => "x509ca",
            Folder::X509Crl => "x509crl",
            Folder::X509Ocsp => "x509ocsp",
            Folder::X509Aa => "x509aa",
            Folder::X509Ac => "x509ac",
            Folder::PublicKey => "pubkey",
            Folder::Private => "private",
            Folder::Rsa => "rsa",
            Folder::Ecdsa => "ecdsa",
            Folder::Pkcs8 => "pkcs8",
            Folder::Pkcs12 => "pkcs12",
        }
    }
}

const ATTRIBUTES: &str = "attribute certificates are not looked at, and membership of groups is not known";

/// Where the folders are.
pub(crate) trait Folders {
    /// Reads a file of a folder, or one that is named by its whole path.
    fn read(&self, folder: Folder, name: &str) -> io::Result<Vec<u8>>;

    /// Gives the names of a folder's files, in their order.
    fn list(&self, folder: Folder) -> Vec<String>;
}

/// The folders in a directory.
pub(crate) struct In(pub(crate) PathBuf);

impl Folders for In {
    fn read(&self, folder: Folder, name: &str) -> io::Result<Vec<u8>> {
        read(&self.0.join(folder.name()).join(name))
    }

    fn list(&self, folder: Folder) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join(folder.name())) else { return Vec::new() };
        let files = entries.filter_map(Result::ok).filter(|entry| entry.path().is_file());
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter(|name| !name.starts_with('.')).take(MAX_MATERIAL_FILES).collect();
        names.sort();
        names
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    fs::File::open(path)?.take(MAX_MATERIAL_LEN + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_MATERIAL_LEN {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(octets)
}

/// No folders: a management message brings everything itself.
pub(crate) struct Nowhere;

impl Folders for Nowhere {
    fn read(&self, _folder: Folder, _name: &str) -> io::Result<Vec<u8>> {
        Err(io::Error::new(io::ErrorKind::NotFound, "there are no folders here to look for it"))
    }

    fn list(&self, _folder: Folder) -> Vec<String> {
        Vec::new()
    }
}

/// Folders in which every file is.
#[cfg(test)]
pub(crate) struct Everywhere;

#[cfg(test)]
impl Folders for Everywhere {
    fn read(&self, folder: Folder, name: &str) -> io::Result<Vec<u8>> {
        Ok(format!("{}/{name}", folder.name()).into_bytes())
    }

    fn list(&self, folder: Folder) -> Vec<String> {
        let is_used = Folder::UNUSED.iter().all(|(unused, _)| *unused != folder);
        is_used.then(|| "listed".to_owned()).into_iter().collect()
    }
}

/// Tells whether a value is what it would name otherwise: PEM, or a SEQUENCE in DER.
pub(crate) fn is_octets(value: &[u8]) -> bool {
    let is_der =
        matches!(value, [0x30, length, ..] if *length >= 0x80 || usize::from(*length) + 2 == value.len());
    is_der || value.trim_ascii_start().starts_with(b"-----BEGIN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_told_from_names() {
        assert!(is_octets(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(is_octets(&[0x30, 0x82, 1, 2]) && is_octets(&[0x30, 1, 5]));
        for name in ["gateway.pem", "/etc/0.pem", "0", "0123", ""] {
            assert!(!is_octets(name.as_bytes()), "{name}");
        }
    }
}
