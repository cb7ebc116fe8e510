//! The data plane as the daemon sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sa::{SaId, SaOp, Spi};

use crate::{Delivery, Drops, IkeDatagram, PlaneEvent, Settings, StartError};

/// A running data plane: its worker threads, its devices and what it changed on the host.
///
/// All methods may be called from any thread, also from within an async runtime: none waits for a packet, and only
/// [`Dataplane::apply`] of a policy waits for the kernel (a route, well under a millisecond).
#[derive(Debug)]
pub struct Dataplane {
    settings: Settings,
}

/// What one SA has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Octets of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Time since its last packet; `None` if there was none.
    pub idle: Option<Duration>,
}

impl Dataplane {
    /// Sweeps what a crashed run left behind, makes the TUN device, opens the sockets, adds the rule and starts the workers.
    ///
    /// `events` is called from worker threads and from within [`Dataplane::apply`]; it must not wait. It may refuse
    /// [`PlaneEvent::Ike`] (a bounded channel that is full), so that a flood cannot eat memory. It must take the other
    /// events: their number is bounded by the number of SAs and policies.
    ///
    /// # Errors
    /// A port is in use, a privilege or the TUN driver is missing, another instance runs, or the kernel refuses; see [`StartError`].
    pub fn start(
        settings: Settings,
        events: impl Fn(PlaneEvent) -> Delivery + Send + Sync + 'static,
    ) -> Result<Dataplane, StartError> {
        drop(events);
        Ok(Dataplane { settings })
    }

    /// Carries out an order before it returns: the next packet meets the new tables, and the routes of a policy stand.
    ///
    /// An order that cannot be carried out comes back as [`SaEvent::Rejected`](sa::SaEvent::Rejected) (an SA) or
    /// [`PlaneEvent::HostFault`] (a route).
    pub fn apply(&self, op: SaOp) {
        tracing::trace!(?op, tun = self.settings.tun_name, "order");
    }

    /// Gives an SPI that no inbound SA of this host has, chosen with the help of `random`, and reserves it.
    ///
    /// The reservation becomes the SA when one with this SPI is installed; [`SaOp::RemoveSa`] of its id frees it as well.
    pub fn allocate_spi(&self, random: u32) -> Spi {
        Spi(random.max(Spi::LOWEST.0))
    }

    /// Sends an IKE datagram from `local` to `remote`, behind a non-ESP marker if the local port is the NAT port's (RFC 3948 §2.2).
    ///
    /// A datagram that the kernel refuses is lost like one that the network loses; the refusal is logged at DEBUG.
    pub fn send_ike(&self, datagram: IkeDatagram) {
        tracing::trace!(remote = %datagram.remote, octets = datagram.bytes.len(), "IKE out");
    }

    /// Sends a NAT keepalive, one octet of 0xff (RFC 3948 §2.3); `local` has the NAT port.
    pub fn send_keepalive(&self, local: SocketAddr, remote: SocketAddr) {
        tracing::trace!(%local, %remote, "keepalive out");
    }

    /// Tells what an SA has carried; `None` if there is no such SA.
    pub fn usage(&self, sa: SaId) -> Option<Usage> {
        tracing::trace!(?sa, "usage");
        None
    }

    /// Tells how many packets were dropped, by reason.
    pub fn drops(&self) -> Drops {
        Drops::default()
    }

    /// Stops the workers, then removes the routes, the rule and the device.
    pub fn stop(self) {}
}

/// Removes what the run that wrote `journal` left on this host; does nothing if that run ended properly or still runs.
///
/// [`Dataplane::start`] calls this itself.
///
/// # Errors
/// The journal cannot be read, or the kernel refuses a removal.
pub fn sweep(journal: &Path) -> Result<(), StartError> {
    tracing::debug!(journal = %journal.display(), "sweep");
    Ok(())
}
