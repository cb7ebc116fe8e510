//! MOBIKE: the addresses of both ends may change while the IKE SA and its Child SAs live (RFC 4555).
//!
//! ```text
//!   Initiator                                               Responder
//!   IKE_AUTH: … N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)+]   -->
//!                                                           <--  … N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)+]
//!
//!   its address or its way to the responder is another one: it uses the new one at once, and says so on it
//!   HDR, SK { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*)×2,
//!             [N(ADDITIONAL_*_ADDRESS)+], N(COOKIE2) }      -->  takes the addresses of the packet for the IKE SA
//!                                                           <--  HDR, SK { N(NAT_DETECTION_*)×2, N(COOKIE2) }
//!                                                           <--  HDR, SK { N(COOKIE2) }    can it receive there?
//!   HDR, SK { N(COOKIE2) }                                  -->  moves the Child SAs
//!
//!   either end's other addresses are others:
//!   HDR, SK { N(ADDITIONAL_*_ADDRESS)+ or N(NO_ADDITIONAL_ADDRESSES) }  -->
//!                                                           <--  HDR, SK { }
//!
//!   the initiator is behind a NAT, and asks whether the peer lives (§3.8):
//!   HDR, SK { N(NAT_DETECTION_*)×2 }                        -->
//!                                                           <--  HDR, SK { N(NAT_DETECTION_*)×2 }
//! ```
//!
//! The initiator of the first IKE SA decides which addresses are used, also after either end has rekeyed it. The responder only
//! leaves an address that its host has lost. What an end cannot be reached at is found out by our request that gets no
//! answer: it is repeated between the next two addresses.

mod addresses;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use sa::Protocol;
use wire::registry::{ExchangeType, NotifyType};
use wire::v2::{Notify, Payload};

use self::addresses::{
    additional, address_notify, addresses_notifies, addresses_of, is_usable, says_addresses, seen_address,
    seen_addresses, stated_addresses,
};
use super::child::Ends;
use super::contents::Contents;
use super::ike_sa::{Active, IkeSa, Life, Request};
use super::ike_sa_init::nat_notifies;
use crate::context::{Context, Question};
use crate::error::Error;
use crate::event::DownReason;
use crate::io::{Path, Query};
use crate::nat_detection::{self, Behind};
use crate::{Connection, Misbehaviour, Mobike, Role, limits};

/// What both ends know of each other's addresses; only where both speak MOBIKE.
#[derive(Clone, Debug)]
pub(crate) struct Mobility {
    decides: Decides,
    /// Where else the peer says that it can be reached.
    pub peer_addresses: Vec<IpAddr>,
    /// Where else we have said that we can.
    announced: Vec<IpAddr>,
    /// Our address as the peer saw it last, hashed.
    mapping: Option<Vec<u8>>,
    /// Addresses of the peer that it did not want used from where we are.
    unacceptable: Vec<IpAddr>,
    /// How often the peer has found a NAT where none may be.
    nats_met: u32,
    /// The path that our request got no answer on, and the pair of addresses that was tried last in its place.
    silent: Option<(Path, (IpAddr, IpAddr))>,
    /// When the path became what it is, if it was another before.
    pub moved_at: Option<Instant>,
}

/// Who chooses the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decides {
    /// We began the first IKE SA.
    We,
    /// The peer did.
    Peer,
}

/// Something to be done when our window is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Tell the peer that other addresses are used.
    Update,
    /// Tell it what our other addresses are.
    Announce,
    /// See whether it can receive where it says it is.
    Check,
}

/// Our request in flight.
#[derive(Debug)]
pub(crate) struct Sent {
    purpose: Purpose,
    path: Path,
    /// What the peer is to show that it got; empty if nothing.
    cookie: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Task(Task),
    /// See whether a NAT has given us another address or port.
    Mapping,
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Update => "IKE_MOBIKE",
            Task::Announce => "IKE_MOBIKE_ADDRESSES",
            Task::Check => "IKE_MOBIKE_CHECK",
        }
    }
}

impl Sent {
    /// Gives what it was sent for, if that is a task.
    pub(crate) fn task(&self) -> Option<Task> {
        match self.purpose {
            Purpose::Task(task) => Some(task),
            Purpose::Mapping => None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.purpose {
            Purpose::Task(task) => task.name(),
            Purpose::Mapping => "LIVENESS",
        }
    }
}

// --- IKE_AUTH ------------------------------------------------------------------------------------------------------

/// N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)+]
pub(crate) fn offer(cx: &Context, connection: &Connection, path: Path) -> Vec<Payload> {
    match connection.mobike {
        Mobike::No => Vec::new(),
        Mobike::Yes => {
            let supported = Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED, []));
            let others = additional(cx, connection, path);
            [supported].into_iter().chain(others.into_iter().map(address_notify)).collect()
        }
    }
}

/// Reads the same of the peer; `None` where one of the two does not want it. `role` is ours in the first IKE SA.
pub(crate) fn agree(
    cx: &Context,
    connection: &Connection,
    path: Path,
    role: Role,
    contents: &Contents,
) -> Option<Mobility> {
    let is_wanted =
        connection.mobike == Mobike::Yes && contents.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
    is_wanted.then(|| Mobility {
        decides: match role {
            Role::Initiator => Decides::We,
            Role::Responder => Decides::Peer,
        },
        peer_addresses: stated_addresses(contents),
        announced: additional(cx, connection, path),
        mapping: None,
        unacceptable: Vec::new(),
        nats_met: 0,
        silent: None,
        moved_at: None,
    })
}

// --- Our requests --------------------------------------------------------------------------------------------------

/// HDR, SK { N(UPDATE_SA_ADDRESSES), … } -->   or one of the lesser ones
pub(crate) fn initiate(sa: &mut IkeSa, cx: &mut Context, task: Task) -> Option<Request> {
    let (path, connection, spis) = (sa.channel.path, Arc::clone(&sa.connection), sa.channel.spis);
    let others = additional(cx, &connection, path);
    let carries_ah = carries_ah(sa);
    let mobility = sa.mobility.as_mut()?;
    let mut payloads = Vec::new();
    let mut cookie = Vec::new();
    if task == Task::Update {
        payloads.push(Payload::Notify(Notify::new(NotifyType::UPDATE_SA_ADDRESSES, [])));
        if carries_ah {
            // AH protects the very addresses that a NAT would change.
            payloads.push(Payload::Notify(Notify::new(NotifyType::NO_NATS_ALLOWED, addresses_of(path))));
        } else {
            payloads.extend(nat_notifies(&connection, spis, path));
        }
    }
    if task == Task::Announce || task == Task::Update && others != mobility.announced {
        mobility.announced.clone_from(&others);
        payloads.extend(addresses_notifies(others));
    }
    if task != Task::Announce {
        cookie = vec![0; limits::COOKIE2_OCTETS];
        cx.random.fill(&mut cookie);
        payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE2, cookie.clone())));
    }
    Some(request(payloads, Sent { purpose: Purpose::Task(task), path, cookie }))
}

/// HDR, SK { N(NAT_DETECTION_*)×2 } -->   where a NAT may have given us another address; `None` where there is none
pub(crate) fn liveness(sa: &IkeSa) -> Option<Request> {
    let is_wanted = sa.decides() && sa.channel.nat.local == Behind::Nat;
    is_wanted.then(|| {
        let path = sa.channel.path;
        let payloads = nat_notifies(&sa.connection, sa.channel.spis, path).to_vec();
        request(payloads, Sent { purpose: Purpose::Mapping, path, cookie: Vec::new() })
    })
}

fn request(payloads: Vec<Payload>, sent: Sent) -> Request {
    Request { exchange_type: ExchangeType::INFORMATIONAL, payloads, active: Active::Mobike(sent) }
}

/// <-- HDR, SK { N(NAT_DETECTION_*)×2, N(COOKIE2) }
pub(crate) fn finish(sa: &mut IkeSa, cx: &mut Context, sent: &Sent, response: &Contents) {
    let returned = response.notify(NotifyType::COOKIE2).map(|notify| notify.data.as_slice());
    let is_refused = response.refusal("").is_some();
    let is_returned = sent.cookie.is_empty() || returned.map_or(is_refused, |cookie| cookie == sent.cookie);
    if !is_returned {
        // RFC 4555 §3.7: the peer has not seen our request, or not at that address.
        let fault = Error::from(Misbehaviour::Other("it does not return our COOKIE2"));
        sa.report(cx, fault.clone());
        return sa.end(cx, DownReason::Failed(fault.into()));
    }
    match sent.purpose {
        // RFC 4555 §3.5, §3.7: what was sent between other addresses says nothing of those in use.
        Purpose::Task(Task::Update) if sent.path != sa.channel.path => sa.want_update(cx),
        Purpose::Task(Task::Check) if sent.path != sa.channel.path => sa.want_mobike(cx, Task::Check),
        Purpose::Task(Task::Update) => sa.finish_update(cx, response),
        Purpose::Task(Task::Check) => sa.carry_on_path(cx),
        Purpose::Task(Task::Announce) => {}
        Purpose::Mapping => sa.compare_mapping(cx, response),
    }
}

impl IkeSa {
    fn finish_update(&mut self, cx: &mut Context, response: &Contents) {
        if let Some(notify) = response.refusal("").map(|refusal| refusal.notify) {
            return self.finish_refused_update(cx, notify);
        }
        if let Some(mobility) = &mut self.mobility {
            mobility.unacceptable.clear();
            mobility.nats_met = 0;
            mobility.mapping = seen_address(response);
        }
        self.learn_nat(self.channel.path, response);
        self.carry_on_path(cx);
    }

    fn finish_refused_update(&mut self, cx: &mut Context, notify: NotifyType) {
        let path = self.channel.path;
        let fault = Error::Unsuitable(refusal_in_words(notify, path));
        self.report(cx, fault.clone());
        let Some(mobility) = &mut self.mobility else { return };
        if notify != NotifyType::UNEXPECTED_NAT_DETECTED {
            mobility.unacceptable.push(path.remote.ip());
            return self.try_other_addresses(cx);
        }
        // RFC 4555 §3.9: what changed the addresses of one message may have been an attacker, and is then gone.
        mobility.nats_met += 1;
        if mobility.nats_met < limits::MOBIKE_NATS_MET {
            return self.want_update(cx);
        }
        self.queue_first(cx, super::ike_sa::Task::DeleteIke(DownReason::Failed(fault.into()), Vec::new()));
    }

    /// The peer does not want these addresses used: others may do (RFC 4555 §3.5).
    fn try_other_addresses(&mut self, cx: &mut Context) {
        match self.next_path(cx) {
            Some(path) => self.take_path(cx, path),
            None => self.ask_route(cx),
        }
    }

    /// Finds out whether a NAT has given us another address or port since the peer told last (RFC 4555 §3.8).
    fn compare_mapping(&mut self, cx: &mut Context, response: &Contents) {
        let (Some(seen), Some(mobility)) = (seen_address(response), &self.mobility) else { return };
        if mobility.mapping.as_ref() != Some(&seen) {
            self.want_update(cx);
        }
    }

    /// Takes note of who is behind a NAT on a path, if the message says that.
    fn learn_nat(&mut self, path: Path, contents: &Contents) {
        let (spis, payloads) = (self.channel.spis, contents.payloads());
        if let Some(nat) = nat_detection::detect(spis, path.local, path.remote, payloads) {
            self.channel.set_nat(nat, self.connection.encap);
        }
    }
}

// --- Their requests ------------------------------------------------------------------------------------------------

/// HDR, SK { N(UPDATE_SA_ADDRESSES), … } -->
///                                       <-- HDR, SK { N(NAT_DETECTION_*)×2, N(COOKIE2) }
///
/// Gives what the response to any INFORMATIONAL request says of addresses.
pub(crate) fn respond(sa: &mut IkeSa, cx: &mut Context, path: Path, request: &Contents) -> Vec<Payload> {
    let cookie = request.notify(NotifyType::COOKIE2).cloned();
    let mut answer = match sa.mobility {
        Some(_) => sa.respond_mobike(cx, path, request),
        None => Vec::new(),
    };
    answer.extend(cookie.map(Payload::Notify));
    answer
}

impl IkeSa {
    fn respond_mobike(&mut self, cx: &mut Context, path: Path, request: &Contents) -> Vec<Payload> {
        let refusal = |notify| vec![Payload::Notify(Notify::new(notify, []))];
        if let Some(stated) = request.notify(NotifyType::NO_NATS_ALLOWED)
            && stated.data != seen_addresses(path)
        {
            return refusal(NotifyType::UNEXPECTED_NAT_DETECTED);
        }
        let is_update = request.notify(NotifyType::UPDATE_SA_ADDRESSES).is_some() && !self.decides();
        if is_update && !self.is_acceptable(path, request) {
            let sentence = format!("the peer wants {path} used, which this connection cannot do");
            self.report(cx, Error::Unsuitable(sentence));
            return refusal(NotifyType::UNACCEPTABLE_ADDRESSES);
        }
        if says_addresses(request) {
            self.note_addresses(cx, path, request);
        }
        if is_update {
            self.follow_update(cx, path, request);
        }
        match request.notify(NotifyType::NAT_DETECTION_DESTINATION_IP) {
            Some(_) => nat_notifies(&self.connection, self.channel.spis, path).to_vec(),
            None => Vec::new(),
        }
    }

    /// The peer, who decides, uses these addresses now.
    fn follow_update(&mut self, cx: &mut Context, path: Path, request: &Contents) {
        let before = self.channel.path;
        self.learn_nat(path, request);
        self.turn_to(cx, path);
        if before.remote.ip() == path.remote.ip() {
            return self.carry_on_path(cx);
        }
        // RFC 4555 §3.7: a peer must not have our packets sent to whom it likes.
        self.ours.again(cx.now);
        self.want_mobike(cx, Task::Check);
    }

    /// Tells whether these addresses can be used at all.
    fn is_acceptable(&self, path: Path, request: &Contents) -> bool {
        let nat = nat_detection::detect(self.channel.spis, path.local, path.remote, request.payloads());
        let is_translated = nat.is_some_and(|nat| nat.local == Behind::Nat || nat.remote == Behind::Nat);
        is_usable(path.remote.ip()) && !(is_translated && carries_ah(self))
    }

    /// The peer says where else it can be reached. If that is no longer where we send to, the path is chosen anew.
    fn note_addresses(&mut self, cx: &mut Context, path: Path, request: &Contents) {
        let Some(mobility) = &mut self.mobility else { return };
        mobility.peer_addresses = stated_addresses(request);
        mobility.unacceptable.clear();
        if mobility.decides == Decides::We && path.remote.ip() != self.channel.path.remote.ip() {
            self.take_path(cx, path);
        }
    }
}

// --- Changes at this end -------------------------------------------------------------------------------------------

impl IkeSa {
    /// Tells whether we choose the addresses.
    fn decides(&self) -> bool {
        self.mobility.as_ref().is_some_and(|mobility| mobility.decides == Decides::We)
    }

    /// This host's addresses or routes are others.
    pub(crate) fn host_changed(&mut self, cx: &mut Context) {
        if self.mobility.is_none() {
            return;
        }
        if self.decides() || !cx.host.contains(&self.channel.path.local.ip()) {
            return self.ask_route(cx);
        }
        self.announce_changes(cx);
        self.pump(cx);
    }

    fn ask_route(&mut self, cx: &mut Context) {
        let remotes = self.remotes();
        let id = cx.ask(Query::Route { connection: Arc::clone(&self.connection), remotes });
        cx.questions.insert(id, Question::Route(self.channel.our_spi()));
    }

    /// Gives the addresses at which the peer may be, the one in use first.
    fn remotes(&self) -> Vec<IpAddr> {
        let mut remotes = vec![self.channel.path.remote.ip()];
        if let Some(mobility) = &self.mobility {
            let is_inside = |remote: &&IpAddr| self.is_inside(**remote);
            remotes.extend(mobility.peer_addresses.iter().filter(|remote| !is_inside(remote)));
            let is_refused = |remote: &IpAddr| mobility.unacceptable.contains(remote);
            if !remotes.iter().all(is_refused) {
                remotes.retain(|remote| !is_refused(remote));
            }
        }
        remotes
    }

    /// Tells whether an address of the peer is within a tunnel that its address in use is not in: nothing else leads there.
    fn is_inside(&self, remote: IpAddr) -> bool {
        let current = self.channel.path.remote.ip();
        let mut selectors = self.children.values().flat_map(|child| &child.agreed.remote);
        selectors.any(|selector| selector.addresses.contains(remote) && !selector.addresses.contains(current))
    }

    /// The host says which way leads to the peer now.
    pub(crate) fn handle_route(&mut self, cx: &mut Context, route: Result<Path, String>) {
        // Where no way leads, the next change of the host may open one.
        let Ok(route) = route else { return };
        if self.life == Life::Over || self.mobility.is_none() {
            return;
        }
        let path = self.path_between(route.local.ip(), route.remote.ip());
        let keeps_address = cx.host.is_empty() || cx.host.contains(&self.channel.path.local.ip());
        if path != self.channel.path && (self.decides() || !keeps_address) {
            self.take_path(cx, path);
        } else {
            self.announce_changes(cx);
        }
        self.pump(cx);
    }

    /// Our request has got no answer: other addresses may do better (RFC 4555 §3.5). Every other time it is the ones that it
    /// was sent between at first, for most often a packet was only lost, or the peer is busy. So the Child SAs stay until the
    /// peer has answered elsewhere.
    pub(crate) fn avoid_silent_path(&mut self, cx: &mut Context, attempt: u32) {
        if attempt < limits::MOBIKE_REPETITIONS_ON_A_PATH || !self.decides() {
            return;
        }
        let current = self.channel.path;
        let silent = self.mobility.as_ref().and_then(|mobility| mobility.silent);
        let (home, last) = silent.unwrap_or((current, (current.local.ip(), current.remote.ip())));
        let path =
            if current == home { self.path_after(cx, last).filter(|path| *path != home) } else { Some(home) };
        let Some(path) = path else { return };
        let tried = if path == home { last } else { (path.local.ip(), path.remote.ip()) };
        if let Some(mobility) = &mut self.mobility {
            mobility.silent = Some((home, tried));
        }
        self.turn_to(cx, path);
        self.want_mobike(cx, Task::Update);
    }

    /// The peer has answered: the path is what it is.
    pub(crate) fn settle_path(&mut self) {
        if let Some(mobility) = &mut self.mobility {
            mobility.silent = None;
        }
    }

    /// Uses other addresses from now on, and tells the peer.
    fn take_path(&mut self, cx: &mut Context, path: Path) {
        if path == self.channel.path {
            return self.want_mobike(cx, if self.decides() { Task::Update } else { Task::Announce });
        }
        self.turn_to(cx, path);
        self.carry_on_path(cx);
        // RFC 4555 §3.5: what waits for its response goes on between the new addresses.
        self.ours.again(cx.now);
        self.want_mobike(cx, if self.decides() { Task::Update } else { Task::Announce });
    }

    /// Takes over the path of the IKE SA that this one replaces, unless this one has heard of a later one itself: either end
    /// may have moved while the two stood side by side.
    pub(crate) fn inherit_path(&mut self, cx: &mut Context, ends: Ends, mobility: Option<Mobility>) {
        let moved_at = |mobility: &Option<Mobility>| mobility.as_ref().and_then(|mobility| mobility.moved_at);
        if moved_at(&mobility) >= moved_at(&self.mobility) {
            self.channel.path = ends.path;
            self.channel.set_nat(ends.nat, self.connection.encap);
            self.mobility = mobility;
        } else if self.decides() {
            self.carry_on_path(cx);
            self.want_update(cx);
        } else {
            self.want_mobike(cx, Task::Check);
        }
    }

    fn announce_changes(&mut self, cx: &mut Context) {
        let others = additional(cx, &self.connection, self.channel.path);
        if self.mobility.as_ref().is_some_and(|mobility| mobility.announced != others) {
            self.want_mobike(cx, Task::Announce);
        }
    }

    fn want_update(&mut self, cx: &mut Context) {
        self.want_mobike(cx, Task::Update);
    }

    fn want_mobike(&mut self, cx: &mut Context, task: Task) {
        let is_it =
            |queued: &super::ike_sa::Task| matches!(queued, super::ike_sa::Task::Mobike(it) if *it == task);
        if !self.is_queued(is_it) {
            self.queue_first(cx, super::ike_sa::Task::Mobike(task));
        }
    }

    /// Gives the pair of addresses after the one in use.
    fn next_path(&self, cx: &Context) -> Option<Path> {
        let Path { local, remote } = self.channel.path;
        self.path_after(cx, (local.ip(), remote.ip()))
    }

    /// Gives the pair of addresses after this one, of all of ours with all of the peer's.
    fn path_after(&self, cx: &Context, current: (IpAddr, IpAddr)) -> Option<Path> {
        let mut remotes = self.remotes();
        let mut locals = additional(cx, &self.connection, self.channel.path);
        locals.push(self.channel.path.local.ip());
        // One order for all of them, whichever is in use.
        locals.sort_unstable();
        remotes.push(self.channel.path.remote.ip());
        remotes.sort_unstable();
        remotes.dedup();
        let pairs = remotes.iter().flat_map(|remote| locals.iter().map(move |local| (*local, *remote)));
        let pairs: Vec<_> = pairs.filter(|(local, remote)| local.is_ipv4() == remote.is_ipv4()).collect();
        let later = pairs.iter().find(|pair| (pair.1, pair.0) > (current.1, current.0));
        let (local, remote) = *later.or(pairs.first())?;
        ((local, remote) != current).then(|| self.path_between(local, remote))
    }

    /// Gives the path between two addresses by the ports in use; a NAT's port is of use at its own address only.
    fn path_between(&self, local: IpAddr, remote: IpAddr) -> Path {
        let mut path = self.channel.path;
        path.local.set_ip(local);
        if remote != path.remote.ip() {
            path.remote.set_ip(remote);
            path.remote.set_port(path.local.port());
        }
        path
    }
}

fn carries_ah(sa: &IkeSa) -> bool {
    sa.children.values().any(|child| child.inbound.protocol == Protocol::Ah)
}

fn refusal_in_words(notify: NotifyType, path: Path) -> String {
    if notify == NotifyType::UNEXPECTED_NAT_DETECTED {
        return format!("a NAT changes addresses on the way {path}, and AH protects them");
    }
    format!("the peer does not want {path} used ({notify})")
}
