//! The data plane as the daemon sees it.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ipsec::SpisExhausted;
use sa::{PolicyId, PolicySpec, SaEvent, SaId, SaOp, Spi};
use wire::udp::{KEEPALIVE, NON_ESP_MARKER};

use crate::activity::Activity;
use crate::control::Control;
use crate::device::{Carries, Socket, Train};
use crate::host::{Host, SweptHost};
use crate::shared::Shared;
use crate::socket::{self, HostSocket};
use crate::worker::{Duty, Pipeline, Worker};
use crate::{Delivery, Drops, IkeDatagram, PlaneEvent, Settings, StartError, limits, tun};

/// A running data plane: its worker threads, its devices and what it changed on the host.
///
/// All methods may be called from any thread, also from within an async runtime: none waits for a packet, and only
/// [`Dataplane::apply`] of a policy waits for the kernel (a route, well under a millisecond). Dropping it stops it.
#[derive(Debug)]
pub struct Dataplane {
    control: Mutex<Controlled>,
    shared: Arc<Shared>,
    sockets: Vec<Arc<HostSocket>>,
    nat_port: u16,
    activities: Vec<Arc<Activity>>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Controlled {
    tables: Control<Arc<HostSocket>>,
    /// There until the plane stops.
    host: Option<Host>,
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
    /// `events` is called from worker threads and from within [`Dataplane::apply`]; it must not wait, and must not call
    /// back into the plane. It may refuse [`PlaneEvent::Ike`] (a bounded channel that is full), so that a flood cannot eat
    /// memory. It must take the other events: their number is bounded by the number of SAs and policies.
    ///
    /// # Errors
    /// A port is in use, a privilege or the TUN driver is missing, another instance runs, or the kernel refuses; see
    /// [`StartError`]. Nothing is left behind then.
    pub fn start(
        settings: Settings,
        events: impl Fn(PlaneEvent) -> Delivery + Send + Sync + 'static,
    ) -> Result<Dataplane, StartError> {
        let swept = SweptHost::open(&settings.journal)?;
        match Dataplane::assemble(&settings, Box::new(events)) {
            Ok((mut plane, pipelines)) => {
                // From here on packets come to the TUN device; none is carried before a policy says how.
                plane.control().host = Some(swept.set_up(&settings)?);
                plane.start_workers(pipelines)?;
                tracing::info!(
                    tun = settings.tun_name,
                    mtu = settings.tun_mtu,
                    workers = plane.workers.len(),
                    "data plane started"
                );
                Ok(plane)
            }
            Err(error) => {
                if let Err(error) = swept.close() {
                    tracing::warn!(%error, "the journal stays");
                }
                Err(error)
            }
        }
    }

    /// Carries out an order before it returns: the next packet meets the new tables, and the routes of a policy stand.
    ///
    /// An order that cannot be carried out comes back as [`SaEvent::Rejected`] (of an SA) or [`PlaneEvent::HostFault`] (of
    /// a policy).
    pub fn apply(&self, op: SaOp) {
        tracing::debug!(?op, "order");
        let mut control = self.control();
        match op {
            SaOp::InstallPolicy(policy) => self.install_policy(&mut control, policy),
            SaOp::RemovePolicy(policy) => self.remove_policy(&mut control, policy),
            SaOp::InstallSa(ref spec) => {
                let id = spec.id();
                self.apply_to_sa(&mut control, id, op);
            }
            SaOp::UseOutbound { sa, .. } | SaOp::MoveSa { sa, .. } => self.apply_to_sa(&mut control, sa, op),
            SaOp::RemoveSa(sa) => {
                self.apply_to_sa(&mut control, sa, op);
                self.activities.iter().for_each(|activity| activity.forget(&sa));
            }
        }
    }

    /// Gives an SPI that no inbound SA of this host has, chosen with the help of `random`, and reserves it.
    ///
    /// The reservation becomes the SA when one with this SPI is installed; [`SaOp::RemoveSa`] of its id frees it as well.
    ///
    /// # Errors
    /// A million inbound SAs exist.
    pub fn allocate_spi(&self, random: u32) -> Result<Spi, SpisExhausted> {
        self.control().tables.allocate_spi(random)
    }

    /// Sends an IKE datagram from `local` to `remote`, behind a non-ESP marker if the local port is the NAT port's (RFC 3948 §2.2).
    ///
    /// A datagram that the kernel refuses is lost like one that the network loses; the refusal is logged at DEBUG.
    pub fn send_ike(&self, datagram: IkeDatagram) {
        let message = IoSlice::new(&datagram.bytes);
        if datagram.local.port() == self.nat_port {
            let parts = [IoSlice::new(&NON_ESP_MARKER), message];
            self.send(Carries::IkeAndEsp, datagram.local, datagram.remote, &parts);
        } else {
            self.send(Carries::Ike, datagram.local, datagram.remote, &[message]);
        }
    }

    /// Sends a NAT keepalive, one octet of 0xff (RFC 3948 §2.3); `local` has the NAT port.
    pub fn send_keepalive(&self, local: SocketAddr, remote: SocketAddr) {
        self.send(Carries::IkeAndEsp, local, remote, &[IoSlice::new(&KEEPALIVE)]);
    }

    /// Tells what an SA has carried; `None` if there is no such SA.
    pub fn usage(&self, sa: SaId) -> Option<Usage> {
        let usage = self.control().tables.usage(sa)?;
        let last = self.activities.iter().filter_map(|activity| activity.last(&usage.sa)).max();
        Some(Usage { bytes: usage.bytes, packets: usage.packets, idle: last.map(|last| last.elapsed()) })
    }

    /// Tells how many packets were dropped, by reason.
    pub fn drops(&self) -> Drops {
        self.shared.drops.with(self.control().tables.drops())
    }

    /// Removes the routes, the rules and the device and stops the workers.
    ///
    /// Traffic that the policies protected then takes the host's other routes.
    pub fn stop(self) {
        drop(self);
    }

    /// Opens the devices and builds what will run on them.
    fn assemble(
        settings: &Settings,
        events: Box<dyn Fn(PlaneEvent) -> Delivery + Send + Sync>,
    ) -> Result<(Dataplane, Vec<ReadyPipeline>), StartError> {
        let count = worker_count(settings);
        let sets = socket::open(settings, count)?;
        let queues = tun::create(&settings.tun_name, count)?;
        let first = sets.first().map(|set| set.sockets.clone()).unwrap_or_default();
        let gso = socket::probe_gso(&first);
        tracing::debug!(offloads = ?queues[0].offloads(), ?gso, "offloads");
        let mtu = usize::from(settings.tun_mtu);
        let tables = Control::new(first.clone(), mtu, gso, settings.hold, events);
        let shared = Arc::clone(tables.shared());
        let mut activities = vec![Arc::clone(tables.activity())];
        let mut pipelines = Vec::new();
        for (queue, set) in queues.into_iter().zip(sets) {
            let activity = Arc::<Activity>::default();
            activities.push(Arc::clone(&activity));
            let pipeline = Pipeline::new(Arc::clone(&shared), activity, queue, set.sockets, mtu, gso);
            pipelines.push(ReadyPipeline { pipeline, received: set.received });
        }
        let plane = Dataplane {
            control: Mutex::new(Controlled { tables, host: None }),
            shared,
            sockets: first,
            nat_port: settings.nat_port,
            activities,
            workers: Vec::new(),
        };
        Ok((plane, pipelines))
    }

    fn start_workers(&mut self, pipelines: Vec<ReadyPipeline>) -> Result<(), StartError> {
        for (index, ReadyPipeline { pipeline, received }) in pipelines.into_iter().enumerate() {
            let duty = if index == 0 { Duty::Clock } else { Duty::None };
            self.workers.push(Worker::start(index, pipeline, received, duty)?);
        }
        Ok(())
    }

    /// Tables first: when the route stands, the packets that it leads here meet the policy.
    fn install_policy(&self, control: &mut Controlled, policy: PolicySpec) {
        match control.tables.apply(SaOp::InstallPolicy(policy.clone())) {
            Ok(()) => {
                if let Some(host) = &mut control.host {
                    self.tell_faults(host.install_policy(&policy));
                }
            }
            Err(rejection) => {
                self.tell_faults(vec![format!("policy {} is not carried out: {rejection}", policy.id)]);
            }
        }
    }

    /// Routes first: a packet that takes another route at once was not protected by this policy any more anyway.
    fn remove_policy(&self, control: &mut Controlled, policy: PolicyId) {
        if let Some(host) = &mut control.host {
            self.tell_faults(host.remove_policy(policy));
        }
        if let Err(rejection) = control.tables.apply(SaOp::RemovePolicy(policy)) {
            // Nothing to remove is nothing that could go wrong.
            tracing::debug!(%policy, %rejection, "order rejected");
        }
    }

    fn apply_to_sa(&self, control: &mut Controlled, sa: SaId, op: SaOp) {
        if let Err(rejection) = control.tables.apply(op) {
            let reason = rejection.to_string();
            tracing::debug!(?sa, reason, "order rejected");
            self.shared.tell(PlaneEvent::Sa(SaEvent::Rejected { sa, reason }));
        }
    }

    fn tell_faults(&self, sentences: Vec<String>) {
        for sentence in sentences {
            tracing::warn!(sentence, "host fault");
            self.shared.tell(PlaneEvent::HostFault(sentence));
        }
    }

    fn send(&self, carries: Carries, local: SocketAddr, remote: SocketAddr, parts: &[IoSlice<'_>]) {
        let suits = |socket: &&Arc<HostSocket>| {
            let bound = socket.bound();
            socket.carries() == carries
                && bound.is_ipv4() == remote.is_ipv4()
                && (bound.ip().is_unspecified() || local.ip().is_unspecified() || bound.ip() == local.ip())
        };
        let Some(socket) = self.sockets.iter().find(suits) else {
            return tracing::debug!(%local, %remote, "no socket to send from");
        };
        let train =
            Train { source: local.ip(), destination: remote, segment_size: None, traffic_class: 0, parts };
        if let Err(error) = socket.send(&[train]) {
            tracing::debug!(%error, %local, %remote, "the kernel refused a datagram");
        }
    }

    fn control(&self) -> MutexGuard<'_, Controlled> {
        // A panic under this lock would have been a fault of an order; the tables are persistent and whole after each.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dataplane {
    /// The rules go first, so that nothing more comes to the TUN device; then the workers, and with them the device.
    fn drop(&mut self) {
        if let Some(host) = self.control().host.take() {
            host.undo_all();
        }
        for worker in self.workers.drain(..) {
            worker.stop();
        }
    }
}

/// Removes what the run that wrote `journal` left on this host; does nothing if that run ended properly or still runs.
///
/// [`Dataplane::start`] calls this itself.
///
/// # Errors
/// The journal cannot be read, or the kernel refuses a removal.
pub fn sweep(journal: &Path) -> Result<(), StartError> {
    if !journal.exists() {
        return Ok(());
    }
    match SweptHost::open(journal) {
        Ok(swept) => swept.close().map_err(|source| StartError::Journal { path: journal.to_owned(), source }),
        Err(StartError::AlreadyRunning(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A pipeline before its thread starts, and how many of its sockets it receives from.
struct ReadyPipeline {
    pipeline: Pipeline<tun::TunQueue, Arc<HostSocket>>,
    received: usize,
}

fn worker_count(settings: &Settings) -> usize {
    let wanted = settings.workers.or_else(|| thread::available_parallelism().ok());
    wanted.map_or(1, NonZeroUsize::get).min(limits::MOST_WORKERS)
}
