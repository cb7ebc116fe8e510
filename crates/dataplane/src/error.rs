//! Why a data plane does not start, each in one sentence for a person.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why a tunnel device is not there; what was there before is as it was.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Another device runs under this id.
    #[error("the tunnel device {name} has the same number")]
    IdTaken {
        /// Its name.
        name: String,
    },
    /// The name is that of the device that all other policies share.
    #[error("{name} is the device that all other tunnels share")]
    Common {
        /// Its name.
        name: String,
    },
    /// The name belongs to another device, or TUN devices cannot be had.
    #[error(transparent)]
    Tun(#[from] StartError),
    /// There is no such network namespace, or it cannot be entered.
    #[error("cannot enter the network namespace {namespace}: {source}")]
    Namespace {
        /// Its name, as `ip netns` has it.
        namespace: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such device to belong to.
    #[error("cannot find {master}, which the tunnel device is to belong to: {source}")]
    Master {
        /// The VRF's name.
        master: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refuses something.
    #[error("cannot {action}: {source}")]
    Refused {
        /// What was attempted, as in "switch it on".
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

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
    /// The journal is that of a run in another network namespace.
    #[error("{} tells of another network namespace; do it there, as with `ip netns exec`", .0.display())]
    Elsewhere(PathBuf),
    /// Our routing rule stands already, though our journal is free.
    #[error("the routing rule {priority} is already there: another Keyway runs in this network namespace")]
    RuleTaken {
        /// The rule's priority.
        priority: u32,
    },
    /// A table of blocks with our name stands already, though our journal does not know it.
    #[error(
        "the packet filter has a table inet {table} already, which no journal of ours tells of; `nft delete table inet {table}` removes it"
    )]
    BlocksTaken {
        /// Its name, that of the TUN device.
        table: String,
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
