//! The `openssl` that is unpacked beside a newer strongSwan: it knows what this machine's does not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Answer;
use crate::unpacked::root_of;
use crate::{Failure, Result};

/// OpenSSL's command line from a newer Debian, in a directory of the caller's.
#[derive(Clone, Debug)]
pub struct NewerOpenSsl {
    root: PathBuf,
    directory: PathBuf,
}

impl NewerOpenSsl {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// When nobody has unpacked it.
    pub fn find(directory: &Path) -> Result<NewerOpenSsl> {
        let root = root_of("strongswan6")?;
        if !root.join("usr/bin/openssl").exists() {
            return Err(Failure::new(format!(
                "there is no openssl in {}: unpack the peer anew",
                root.display()
            )));
        }
        Ok(NewerOpenSsl { root, directory: directory.to_owned() })
    }

    /// Runs a command with the directory as the current one.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer> {
        let script = "set -e
            mount --bind \"$1\" \"$2/tmp\"
            mount --rbind /dev \"$2/dev\"
            root=$2
            shift 2
            exec unshare --root \"$root\" --wd /tmp /usr/bin/openssl \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(&self.directory).arg(&self.root).args(arguments);
        Answer::of(&mut command)
    }
}
