//! Why a data plane does not start, each in one sentence for a person.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why [`Dataplane::start`](crate::Dataplane::start) failed; nothing is left behind on the host.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another program holds a port that we need.
    #[error("UDP port {} of {} is in use{}", address.port(), address.ip(), holder.as_ref().map(|name| format!(" by {name}")).unwrap_or_default())]
    PortInUse {
        /// The address and port.
        address: SocketAddr,
        /// The program that holds it, where it can be told.
        holder: Option<String>,
    },
    /// An address of [`Listen::On`](crate::Listen::On) is not one of this host.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address and port.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A privilege is missing.
    #[error("{action} needs the privilege {capability}; run as root or grant it")]
    Privilege {
        /// What was attempted.
        action: &'static str,
        /// The capability's name.
        capability: &'static str,
    },
    /// The kernel offers no TUN devices here.
    #[error("/dev/net/tun is absent; load the module tun, or give the container this device")]
    NoTunDriver,
    /// This user may not open the TUN driver's device file.
    #[error("/dev/net/tun may not be opened by this user; run as root or change the file's permissions")]
    TunDriverForbidden,
    /// The TUN device could not be made.
    #[error("cannot create the TUN device {name}: {source}")]
    Tun {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another data plane with the same journal runs.
    #[error("another Keyway is running: it holds {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// Our routing rule stands already, though our journal is free.
    #[error("the routing rule {priority} is already there: another Keyway runs in this network namespace")]
    RuleTaken {
        /// The rule's priority.
        priority: u32,
    },
    /// The journal cannot be read or written.
    #[error("cannot use the journal {}: {source}", path.display())]
    Journal {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A rule or another part of the host's set-up was refused.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was attempted, as in "add the rule 4500".
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something else that every program needs was refused (threads, epoll, memory).
    #[error("cannot start the data plane: {0}")]
    System(#[from] io::Error),
}
