//! `keyway export wireshark`: the keys of SAs, as long as this command runs.

use std::io::{self, Write as _};
use std::path::absolute;

use vici::{Client, Tree};

use super::{Failure, connect};
use crate::cli::Wireshark;

/// Has the daemon write the keys of SAs that come up, until the time is over, this command is interrupted or the daemon ends.
///
/// # Errors
/// The daemon cannot be reached, cannot write there, or writes them already.
pub(crate) fn export_wireshark(arguments: &Wireshark) -> Result<(), Failure> {
    let directory = absolute(&arguments.directory)?;
    let mut client = connect(&arguments.daemon)?;
    let mut message = Tree::new().with_value("directory", directory.display().to_string());
    if let Some(seconds) = arguments.seconds {
        message.push_value("seconds", seconds.to_string());
    }
    writeln!(
        io::stderr(),
        "WARNING: the keys of SAs that come up from now on are written to {}; whoever reads them reads the traffic",
        directory.display()
    )?;
    // However long it takes: the daemon answers when the time is over.
    client.set_timeout(None)?;
    Client::success(client.request("disclose-keys", &message)?)?;
    writeln!(io::stderr(), "keys are written no more")?;
    Ok(())
}
