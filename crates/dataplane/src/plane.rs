//! The data plane as the daemon sees it.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ipsec::{OuterHeader, SpisExhausted};
use sa::{DeviceId, Direction, PolicyId, PolicySpec, SaEvent, SaId, SaOp, Spi};
use wire::udp::{KEEPALIVE, NON_ESP_MARKER};

use crate::activity::Activity;
use crate::control::Control;
use crate::device::{self, Carries, Socket, Train};
use crate::dummies::Ticker;
use crate::host::{self, Host, SweptHost, Uplinks, Watch};
use crate::shared::Shared;
use crate::socket::{self, HostSocket};
use crate::worker::{Duty, Pipeline, Worker};
use crate::{
    Blocks, Delivery, DeviceError, Drops, IkeDatagram, PlaneEvent, Settings, StartError, TunnelDevice,
    limits, tun,
};

/// A running data plane: its worker threads, its devices and what it changed on the host.
///
/// All methods may be called from any thread, also from within an async runtime: none waits for a packet, and only
/// [`Dataplane::apply`] of a policy waits for the kernel (a route, well under a millisecond). Dropping it stops it.
#[derive(Debug)]
pub struct Dataplane {
    control: Arc<Mutex<Controlled>>,
    shared: Arc<Shared>,
    sockets: Vec<Arc<HostSocket>>,
    nat_port: u16,
    activities: Vec<Arc<Activity>>,
    workers: Vec<Worker>,
    /// There while the plane runs.
    watch: Option<Watch>,
    /// There while the plane runs.
    uplinks: Option<Uplinks>,
    /// Sends dummy packets; there while the plane runs.
    dummies: Option<Ticker>,
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
                let (host, complaint) = swept.set_up(&settings)?;
                plane.watch = Some(plane.watch(&host)?);
                plane.uplinks = Some(plane.watch_uplinks()?);
                if host.is_blocking() {
                    plane.shared.let_pass(settings.passing_mark);
                }
                plane.control().host = Some(host);
                tell_faults(&plane.shared, complaint.into_iter().collect());
                plane.start_workers(pipelines)?;
                plane.dummies = Some(plane.tick_for_dummies()?);
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
                let (id, mark) = (spec.id(), spec.handling.mark);
                if let (Direction::Outbound, 1.., Some(host)) = (id.direction, mark, &mut control.host) {
                    tell_faults(&self.shared, host.use_mark(mark, id));
                }
                let has_dummies = spec.handling.dummies > 0;
                self.apply_to_sa(&mut control, id, op);
                if let (true, Some(ticker)) = (has_dummies, &self.dummies) {
                    ticker.ring();
                }
            }
            // Probes are no business of the tables.
            SaOp::SetPathMtu { remote, octets } => self.shared.paths().set_probed(remote, octets),
            SaOp::UseOutbound { sa, .. } | SaOp::MoveSa { sa, .. } | SaOp::SkipSequence { sa, .. } => {
                self.apply_to_sa(&mut control, sa, op)
            }
            SaOp::RemoveSa(sa) => {
                self.apply_to_sa(&mut control, sa, op);
                let now = Instant::now();
                self.activities.iter().for_each(|activity| activity.forget(sa, now));
                if let Some(host) = &mut control.host {
                    tell_faults(&self.shared, host.leave_mark(&sa));
                }
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
        // RFC 7296 §2: IKE messages may be long, and are cut on the way if need be.
        self.send_ike_under(device::PLAIN_HEADER, &datagram);
    }

    /// Sends an IKE datagram that nobody may cut, not even this host: one that does not fit its path is lost.
    pub fn send_probe(&self, datagram: IkeDatagram) {
        self.send_ike_under(OuterHeader { dont_fragment: true, ..device::PLAIN_HEADER }, &datagram);
    }

    fn send_ike_under(&self, header: OuterHeader, datagram: &IkeDatagram) {
        let message = IoSlice::new(&datagram.bytes);
        if datagram.local.port() == self.nat_port {
            let parts = [IoSlice::new(&NON_ESP_MARKER), message];
            self.send(Carries::IkeAndEsp, header, datagram.local, datagram.remote, &parts);
        } else {
            self.send(Carries::Ike, header, datagram.local, datagram.remote, &[message]);
        }
    }

    /// Sends a NAT keepalive, one octet of 0xff (RFC 3948 §2.3); `local` has the NAT port.
    pub fn send_keepalive(&self, local: SocketAddr, remote: SocketAddr) {
        self.send(Carries::IkeAndEsp, device::PLAIN_HEADER, local, remote, &[IoSlice::new(&KEEPALIVE)]);
    }

    /// Tells what the first link on the way to an address takes, in octets of an IP packet; `None` if the host cannot say.
    pub fn link_mtu(&self, remote: IpAddr) -> Option<usize> {
        self.shared.link_mtu(remote)
    }

    /// Names the device of this host that has an address; `None` if none has it, or the host cannot say.
    pub fn device_with(&self, address: IpAddr) -> Option<String> {
        host::device_with(address).ok().flatten()
    }

    /// Tells what an SA has carried; `None` if there is no such SA.
    pub fn usage(&self, sa: SaId) -> Option<Usage> {
        let usage = self.control().tables.usage(sa)?;
        let last = self.activities.iter().filter_map(|activity| activity.last(&usage.sa)).max();
        Some(Usage { bytes: usage.bytes, packets: usage.packets, idle: last.map(|last| last.elapsed()) })
    }

    /// Tells how many packets of one SA were dropped, by reason; none if there is no such SA.
    pub fn drops_of(&self, sa: SaId) -> Drops {
        self.control().tables.drops_of(sa).map(Drops::of_ipsec).unwrap_or_default()
    }

    /// Tells how many packets were dropped, by reason.
    pub fn drops(&self) -> Drops {
        self.shared.drops.with(self.control().tables.drops())
    }

    /// Gives this host a virtual address, on the device of the tunnels that have none of their own. It goes with the device.
    pub fn take_address(&self, address: IpAddr) {
        let mut control = self.control();
        if let Some(host) = &mut control.host {
            tell_faults(&self.shared, host.take_address(address));
        }
    }

    /// Takes a virtual address away.
    pub fn drop_address(&self, address: IpAddr) {
        let mut control = self.control();
        if let Some(host) = &mut control.host {
            tell_faults(&self.shared, host.drop_address(address));
        }
    }

    /// Has this host ask name servers, in place of those that came by the same connection before.
    pub fn take_name_servers(&self, connection: String, servers: Vec<IpAddr>, domain: Option<String>) {
        let mut control = self.control();
        if let Some(host) = &mut control.host {
            tell_faults(&self.shared, host.take_name_servers(connection, servers, domain));
        }
    }

    /// Has it ask those no more that came by this connection.
    pub fn drop_name_servers(&self, connection: &str) {
        let mut control = self.control();
        if let Some(host) = &mut control.host {
            tell_faults(&self.shared, host.drop_name_servers(connection));
        }
    }

    /// Makes a tunnel device, or takes over one of its name that nobody reads; one that runs already gets its new addresses,
    /// MTU and master.
    ///
    /// # Errors
    /// See [`DeviceError`]; a device that was made for this is gone again.
    pub fn add_device(&self, device: &TunnelDevice) -> Result<(), DeviceError> {
        let mut control = self.control();
        let Controlled { tables, host } = &mut *control;
        let Some(host) = host else { return Ok(()) };
        tables.add_device(device.id, device.mtu.into());
        let Some(queues) = host.add_device(device, self.workers.len())? else { return Ok(()) };
        for (worker, queue) in self.workers.iter().zip(queues) {
            worker.add_device(device.id, queue, device.mtu.into());
        }
        Ok(())
    }

    /// Takes a tunnel device away; one that was there before us is only let go.
    pub fn remove_device(&self, device: DeviceId) {
        let mut control = self.control();
        if control.host.as_ref().is_some_and(Host::is_winding_down) {
            return;
        }
        self.workers.iter().for_each(|worker| worker.remove_device(device));
        if let Some(host) = &mut control.host {
            tell_faults(&self.shared, host.remove_device(device));
        }
    }

    /// Tells what this host refuses to let pass unprotected.
    pub fn blocks(&self) -> Blocks {
        self.control().host.as_mut().map(Host::blocks).unwrap_or_default()
    }

    /// Takes away the blocks that an earlier run left and that no policy of this one covers, and the tunnel devices that it
    /// left and nobody has [asked for](Self::add_device) since.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unblock(&self) -> io::Result<()> {
        self.control().host.as_mut().map_or(Ok(()), Host::unblock)
    }

    /// Lets all policies, their blocks and the tunnel devices stay from now on, whatever is ordered: to be called before
    /// everything is taken down because the program ends, and not because somebody wants the traffic to pass.
    pub fn wind_down(&self) {
        if let Some(host) = &mut self.control().host {
            host.wind_down();
        }
    }

    /// Removes the routes, the rules and the device and stops the workers.
    ///
    /// What the policies that are still there protect stays blocked, for the next start to take over or [`unblock`] to
    /// take away.
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
        let mark = settings.mark;
        let link_mtu = Box::new(move |remote| host::link_mtu(remote, mark).ok());
        let tables = Control::new(first.clone(), mtu, gso, settings.hold, link_mtu, events);
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
            control: Arc::new(Mutex::new(Controlled { tables, host: None })),
            shared,
            sockets: first,
            nat_port: settings.nat_port,
            activities,
            workers: Vec::new(),
            watch: None,
            uplinks: None,
            dummies: None,
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

    /// Tables first, then the block, then routes: when a route stands, the packets that it leads here meet the policy, and
    /// those that it does not are blocked.
    fn install_policy(&self, control: &mut Controlled, policy: PolicySpec) {
        match control.tables.apply(SaOp::InstallPolicy(policy.clone())) {
            Ok(()) => {
                if let (Some(host), None) = (&mut control.host, policy.device) {
                    tell_faults(&self.shared, host.install_policy(&policy));
                }
            }
            Err(rejection) => {
                tell_faults(
                    &self.shared,
                    vec![format!("policy {} is not carried out: {rejection}", policy.id)],
                );
            }
        }
    }

    /// Routes first: a packet that takes another route at once was not protected by this policy any more anyway.
    fn remove_policy(&self, control: &mut Controlled, policy: PolicyId) {
        if let Some(host) = &mut control.host {
            if host.is_winding_down() {
                return;
            }
            tell_faults(&self.shared, host.remove_policy(policy));
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

    /// Has dummy packets sent when they are due.
    fn tick_for_dummies(&self) -> io::Result<Ticker> {
        let control = Arc::downgrade(&self.control);
        Ticker::start(move || lock(&*control.upgrade()?).tables.send_dummies(Instant::now()))
    }

    /// Watches over what is ours on this host.
    fn watch(&self, host: &Host) -> io::Result<Watch> {
        let (control, shared) = (Arc::downgrade(&self.control), Arc::clone(&self.shared));
        host.watch(move |touched| {
            let Some(control) = control.upgrade() else { return };
            let mut control = lock(&control);
            let sentences = control.host.as_mut().map(|host| host.look_after(touched)).unwrap_or_default();
            tell_faults(&shared, sentences);
        })
    }

    /// Watches which addresses this host has.
    fn watch_uplinks(&self) -> io::Result<Uplinks> {
        let shared = Arc::clone(&self.shared);
        Uplinks::start(move |addresses| shared.tell(PlaneEvent::Uplinks(addresses)))
    }

    fn send(
        &self,
        carries: Carries,
        header: OuterHeader,
        local: SocketAddr,
        remote: SocketAddr,
        parts: &[IoSlice<'_>],
    ) {
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
            Train { source: local.ip(), destination: remote, segment_size: None, header, mark: None, parts };
        if let Err(error) = socket.send(&[train]) {
            tracing::debug!(%error, %local, %remote, "the kernel refused a datagram");
        }
    }

    fn control(&self) -> MutexGuard<'_, Controlled> {
        lock(&self.control)
    }
}

fn lock(control: &Mutex<Controlled>) -> MutexGuard<'_, Controlled> {
    // A panic under this lock would have been a fault of an order; the tables are persistent and whole after each.
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_faults(shared: &Shared, sentences: Vec<String>) {
    for sentence in sentences {
        tracing::warn!(sentence, "host fault");
        shared.tell(PlaneEvent::HostFault(sentence));
    }
}

impl Drop for Dataplane {
    /// The rules go first, so that nothing more comes to the TUN device; then the workers, and with them the device.
    fn drop(&mut self) {
        self.dummies = None;
        let host = self.control().host.take();
        if let Some(uplinks) = self.uplinks.take() {
            uplinks.stop();
        }
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        if let Some(host) = host {
            host.undo_all();
        }
        for worker in self.workers.drain(..) {
            worker.stop();
        }
    }
}

/// Removes what the run that wrote `journal` left on this host, except its blocks; does nothing if that run ended properly
/// or still runs.
///
/// [`Dataplane::start`] calls this itself.
///
/// # Errors
/// The journal cannot be read, or the kernel refuses a removal.
pub fn sweep(journal: &Path) -> Result<(), StartError> {
    if !journal.exists() {
        return Ok(());
    }
    match host::blocks_elsewhere(journal) {
        Ok(None) => SweptHost::open(journal)?.close(),
        Ok(Some(_)) | Err(StartError::AlreadyRunning(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tells what a run that has ended, or crashed, left blocked; what else a crash left is swept. What it left in another network
/// namespace is told as its journal has it.
///
/// # Errors
/// That run has not ended: its plane [tells](Dataplane::blocks). Or the journal cannot be read, or the kernel refuses.
pub fn blocks(journal: &Path) -> Result<Blocks, StartError> {
    if !journal.exists() {
        return Ok(Blocks::default());
    }
    if let Some(blocks) = host::blocks_elsewhere(journal)? {
        return Ok(blocks);
    }
    let swept = SweptHost::open(journal)?;
    let blocks = swept.blocks();
    swept.close().map(|()| blocks)
}

/// Takes away what a run that has ended, or crashed, left: its blocks, which it gives, and its tunnel devices; packets that
/// were protected pass then as the host's own routes lead them.
///
/// # Errors
/// As those of [`blocks`]; or it ran in another network namespace, where nobody reaches from here.
pub fn unblock(journal: &Path) -> Result<Blocks, StartError> {
    if !journal.exists() {
        return Ok(Blocks::default());
    }
    if host::blocks_elsewhere(journal)?.is_some() {
        return Err(StartError::Elsewhere(journal.to_owned()));
    }
    let mut swept = SweptHost::open(journal)?;
    let blocks = swept.blocks();
    swept.unblock()?;
    swept.close().map(|()| blocks)
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
