//! Files with keys and certificates.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crypto::Secret;
use pki::{Contents, Password, PrivateKey};

use super::arguments::Key;
use crate::client::Failure;

/// Reads a file of any form.
///
/// # Errors
/// It cannot be read, or there is nothing in it that we know.
pub(super) fn read(path: &Path, password: Option<&Path>) -> Result<Contents, Failure> {
    let octets = read_octets(path)?;
    let password = password.map(read_password).transpose()?;
    Contents::read(octets.as_slice(), password.as_ref())
        .map_err(|fault| Failure::Other(format!("{}: {fault}", path.display())))
}

/// Reads the first line of a file.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_password(path: &Path) -> Result<Password, Failure> {
    let octets = read_octets(path)?;
    let line = octets.as_slice().split(|octet| *octet == b'\n').next().unwrap_or_default();
    Ok(Password::from(line.strip_suffix(b"\r").unwrap_or(line)))
}

fn read_octets(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let failed = |error| Failure::Other(format!("cannot read {}: {error}", path.display()));
    let file = fs::File::open(path).map_err(failed)?;
    let limit = pki::limits::MAX_FILE_OCTETS as u64 + 1;
    let length = file.metadata().map_err(failed)?.len().min(limit);
    // All room from the start: a secret leaves a copy behind where a vector grows.
    let mut octets = Secret::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(limit).read_to_end(octets.expose_mut()).map_err(failed)?;
    Ok(octets)
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner.
    Owner,
    /// Everybody.
    Everybody,
}

/// Writes a file that does not exist yet.
///
/// # Errors
/// It exists, or cannot be written.
pub(super) fn create(path: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    write(path, content, readers, OpenOptions::new().write(true).create_new(true))
}

/// Puts a file in the place of an older one, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(super) fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    let new = with_ending(path, "new");
    write(&new, content, readers, OpenOptions::new().write(true).create(true).truncate(true))?;
    fs::rename(&new, path).map_err(|error| cannot_write(path, error))
}

fn write(path: &Path, content: &[u8], readers: Readers, options: &mut OpenOptions) -> Result<(), Failure> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let mut file = options.mode(mode).open(path).map_err(|error| cannot_write(path, error))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists_already(path),
        _ => Failure::Other(format!("cannot write {}: {error}", path.display())),
    }
}

/// Makes sure that nothing is in the way of files that are to be written, before anything is done.
///
/// # Errors
/// One of them exists.
pub(super) fn check_absent(paths: &[&Path]) -> Result<(), Failure> {
    paths.iter().find(|path| path.exists()).map_or(Ok(()), |path| Err(exists_already(path)))
}

fn exists_already(path: &Path) -> Failure {
    Failure::Other(format!(
        "{} exists already, and is not overwritten; move it away, or write elsewhere",
        path.display()
    ))
}

/// Adds an ending to a file's name, whatever dots it has.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Makes a key and gives it with how it is to be written.
///
/// # Errors
/// The key cannot be made, or the password cannot be read.
pub(super) fn new_key(choice: &Key) -> Result<(PrivateKey, Secret<Vec<u8>>), Failure> {
    let failed = |error: crypto::Error| Failure::Other(format!("cannot make a key: {error}"));
    let key = PrivateKey::generate(choice.kind.into()).map_err(failed)?;
    let text = match &choice.encrypt_with {
        Some(path) => key.to_encrypted_pem(&read_password(path)?).map_err(failed)?,
        None => key.to_pem(),
    };
    Ok((key, text))
}
