//! Peers whose packages would displace others of this machine: `./test` unpacks each into a root of its own.

use std::path::{Path, PathBuf};

use crate::{Failure, Result};

/// Where such a root has its libraries.
const LIBRARIES: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/nss", "lib/x86_64-linux-gnu"];

/// Finds the root of an unpacked peer, below the directory of the build.
///
/// # Errors
///
/// When nobody has unpacked it.
pub fn root_of(peer: &str) -> Result<PathBuf> {
    // A test is target/debug/deps/NAME.
    let ours = std::env::current_exe()?;
    let mut candidates = ours.ancestors().map(|directory| directory.join("peers").join(peer));
    candidates.find(|root| root.is_dir()).ok_or_else(|| {
        Failure::new(format!(
            "there is no target/peers/{peer}: `./test interop` unpacks it from Debian's package"
        ))
    })
}

/// Gives what `LD_LIBRARY_PATH` has to be for a program of an unpacked peer.
pub(crate) fn libraries(root: &Path) -> String {
    LIBRARIES.map(|directory| root.join(directory).display().to_string()).join(":")
}
