//! The secret by which peers learn at once that this daemon has lost its IKE SAs (RFC 6290 §5.1): made once, kept for ever.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crypto::{Random, Secret, SystemRandom};

const OCTETS: usize = 32;

/// Reads the secret, or makes it if the file is not there.
///
/// # Errors
/// The file cannot be read or made, or holds something else.
pub(crate) fn read_or_make(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let secret = match fs::read(path) {
        Ok(octets) => Secret::from(octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)
            .map_err(|error| format!("the crash secret {} cannot be made: {error}", path.display()))?,
        Err(error) => return Err(format!("the crash secret {} cannot be read: {error}", path.display())),
    };
    match secret.as_slice().len() {
        OCTETS => Ok(secret),
        other => Err(format!("{} holds {other} octets; a crash secret has {OCTETS}", path.display())),
    }
}

fn make(path: &Path) -> io::Result<Secret<Vec<u8>>> {
    let mut secret = Secret::from(vec![0; OCTETS]);
    SystemRandom.fill(secret.expose_mut());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_slice())?;
    file.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone() {
        let directory = std::env::temp_dir().join(format!("keyway-crash-secret-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory of our own");
        let path = directory.join("secret");
        let first = read_or_make(&path).expect("it is made");
        let again = read_or_make(&path).expect("it is read");
        assert!(first.ct_eq(again.as_slice()));
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").expect("it is ours");
        assert!(read_or_make(&path).is_err_and(|sentence| sentence.contains("holds 5 octets")));
        assert!(read_or_make(&directory).is_err_and(|sentence| sentence.contains("cannot be read")));
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
