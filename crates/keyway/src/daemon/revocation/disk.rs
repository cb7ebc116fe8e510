//! Lists of revoked certificates on disk, for the next run: a file for each URI, as many and as long as the memory keeps.
//!
//! Whatever is read back counts only once its signature has been checked, as if it had been fetched.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crypto::hash;
use tokio::task::spawn_blocking;

use crate::daemon::limits::{FETCHED_LIST_OCTETS, LISTS_KEPT, LISTS_KEPT_OCTETS};

/// A directory, if lists are to be kept.
#[derive(Debug, Default)]
pub(super) struct Disk(pub(super) Option<PathBuf>);

impl Disk {
    /// Gives what is there of a list.
    pub(super) async fn load(&self, uri: &str) -> Option<Vec<u8>> {
        let file = self.file(uri)?;
        let read = move || {
            let mut octets = Vec::new();
            fs::File::open(file).ok()?.take(FETCHED_LIST_OCTETS as u64).read_to_end(&mut octets).ok()?;
            Some(octets)
        };
        spawn_blocking(read).await.ok()?
    }

    /// Keeps a list. That it cannot be is logged, and harms only the next run.
    pub(super) async fn store(&self, uri: &str, octets: Vec<u8>) {
        let Some(file) = self.file(uri) else { return };
        let name = file.display().to_string();
        if let Ok(Err(error)) = spawn_blocking(move || store(&file, &octets)).await {
            tracing::warn!(
                file = name,
                "a list of revoked certificates cannot be kept for the next run: {error}"
            );
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for (file, _) in self.0.iter().flat_map(|directory| files(directory)) {
            // One that is gone already is forgotten.
            let _ = fs::remove_file(file);
        }
    }

    fn file(&self, uri: &str) -> Option<PathBuf> {
        let name = hex::encode(hash::SHA1.digest(&[uri.as_bytes()]));
        Some(self.0.as_ref()?.join(format!("{name}.crl")))
    }
}

/// Writes a file whole or not at all, and removes the oldest where they become too many.
fn store(file: &Path, octets: &[u8]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let unfinished = file.with_extension("new");
    fs::write(&unfinished, octets)?;
    fs::rename(&unfinished, file)?;
    let mut stored = files(directory);
    stored.sort_by_key(|(_, metadata)| Reverse(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
    let mut total = 0;
    for (at, (own, metadata)) in stored.iter().enumerate() {
        total += metadata.len();
        if at >= LISTS_KEPT || total > LISTS_KEPT_OCTETS as u64 {
            fs::remove_file(own)?;
        }
    }
    Ok(())
}

/// Gives the lists in a directory; what else is there is not ours.
fn files(directory: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_ours(path));
    paths.filter_map(|path| fs::metadata(&path).ok().map(|metadata| (path, metadata))).collect()
}

/// Tells whether a file has a name that [`Disk::file`] gives.
fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    path.extension().is_some_and(|extension| extension == "crl")
        && stem.len() == 40
        && stem.bytes().all(|octet| octet.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stored_comes_back_and_the_oldest_goes() {
        let directory = std::env::temp_dir().join(format!("keyway-lists-{}", std::process::id()));
        let disk = Disk(Some(directory.clone()));
        assert_eq!(disk.load("http://a/").await, None);
        for at in 0..=LISTS_KEPT {
            disk.store(&format!("http://{at}/"), vec![7; 3]).await;
        }
        let last = format!("http://{LISTS_KEPT}/");
        assert_eq!(disk.load(&last).await, Some(vec![7; 3]));
        assert_eq!(files(&directory).len(), LISTS_KEPT);
        fs::write(directory.join("another.crl"), b"ours is not everything").unwrap();
        disk.clear();
        assert_eq!(disk.load(&last).await, None);
        assert!(directory.join("another.crl").exists());
        fs::remove_dir_all(directory).unwrap();
        Disk(None).store("http://a/", Vec::new()).await;
    }
}
