//! A Child SA: the pair of SAs that carries traffic, from its installation until it is taken away.
//!
//! How one is negotiated is the affair of the two versions of IKE; what it is once both ends agree, they share.

mod agreed;
mod bundle;
mod departure;
mod moving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Secret;
use sa::{
    ChildSuite, Direction, Encapsulation, FlowPadding, Handling, Lifetime, Outer, PolicyAction, PolicyId,
    PolicySpec, Protection, Protocol, SaId, SaOp, SaSpec, Spi, transform, transform::Integrity,
};
use wire::isakmp::IkeSpi;
use wire::registry::IntegrityId;

pub(crate) use self::agreed::{Agreed, Compression, Heritage, Padding};
pub(crate) use self::bundle::{Wrapper, WrapperIds};
use self::bundle::{WrapperSpecs, wrap};
pub(crate) use self::departure::{retire, send_through_holder, take_away};
pub(crate) use self::moving::move_all;
use crate::authentication::PeerAuthenticated;
use crate::context::{Context, Question};
use crate::error::Error;
use crate::event::{ChildKeyDisclosure, Event};
use crate::io::Query;
use crate::lifetime::Schedule;
use crate::{
    ChildConfig, ChildSaId, ChildSaStatus, ChildState, Path, Truncation, WrapperStatus, limits, selectors,
};

/// An installed Child SA.
#[derive(Debug)]
pub(crate) struct ChildSa {
    pub id: ChildSaId,
    pub config: Arc<ChildConfig>,
    pub state: ChildState,
    pub policy: PolicyId,
    pub inbound: SaId,
    pub outbound: SaId,
    /// AH around them.
    pub wrapper: Option<WrapperIds>,
    pub outer: Outer,
    /// Whether the policy is this Child SA's to take away.
    pub(crate) tenure: Tenure,
    /// Whether our packets already go through the outbound SA.
    pub(crate) sending: Sending,
    /// Whether the peer is known to have it.
    pub(crate) confirmation: Confirmation,
    pub agreed: Agreed,
    pub installed_at: Instant,
    pub schedule: Schedule,
    /// What it may carry.
    pub volume: Lifetime,
    /// When to ask whether anything went through it.
    pub idle_at: Option<Instant>,
}

/// Whether a policy is a Child SA's own. While one replaces another, both serve the same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// It is: without this Child SA there is no traffic.
    Holds,
    /// It is another's: this one was replaced, or is not certain to stay.
    Aside,
}

/// Whether the peer is known to have a Child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// It has: it sent us the last message that made it, or something after that.
    Known,
    /// Our response that makes it may still be on its way. What we would say of the Child SA before, the peer could
    /// not understand.
    Awaited,
}

/// Whether our packets go through a Child SA's outbound SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// They do.
    Yes,
    /// They still go through the SA that this one replaces: the peer, who began the rekeying, may not have our
    /// response yet (RFC 7296 §2.8).
    NotYet,
    /// They did, until another took them over.
    NoMore,
}

impl ChildSa {
    /// Tells whether an SPI of a protocol, as a Delete or REKEY_SA from the peer names it, means this Child SA: the peer names the
    /// SA towards itself (RFC 7296 §1.4.1).
    pub(crate) fn is_named_by_peer(&self, protocol: Protocol, spi: Spi) -> bool {
        let named = |sa: SaId| sa.spi == spi && sa.protocol == protocol;
        named(self.outbound) || self.wrapper.is_some_and(|wrapper| named(wrapper.outbound))
    }

    /// Gives the SAs towards us: its own, then AH around it.
    pub(crate) fn inbound_sas(&self) -> impl Iterator<Item = SaId> + use<> {
        [self.inbound].into_iter().chain(self.wrapper.map(|wrapper| wrapper.inbound))
    }

    /// Gives its SAs in pairs, the one towards us first: its own, then AH around it.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (SaId, SaId)> + use<> {
        let around = self.wrapper.map(|wrapper| (wrapper.inbound, wrapper.outbound));
        [(self.inbound, self.outbound)].into_iter().chain(around)
    }

    /// Gives all its SAs.
    pub(crate) fn sas(&self) -> impl Iterator<Item = SaId> + use<> {
        self.inbound_sas().chain([self.outbound]).chain(self.wrapper.map(|wrapper| wrapper.outbound))
    }

    pub(crate) fn status(&self) -> ChildSaStatus {
        ChildSaStatus {
            id: self.id,
            name: self.config.name.clone(),
            state: self.state,
            mode: self.agreed.mode,
            inbound: self.inbound,
            outbound: self.outbound,
            policy: self.policy,
            suite: self.agreed.suite,
            wrapper: self.wrapper_status().map(Box::new),
            encapsulation: self.outer.encapsulation,
            compression: self.agreed.compression.map(|compression| (compression.ours, compression.theirs)),
            padding: self.flow_padding(),
            volume: self.volume,
            local_selectors: self.agreed.local.clone(),
            remote_selectors: self.agreed.remote.clone(),
            installed_at: self.installed_at,
            rekey_at: self.schedule.rekey_at,
            expire_at: self.schedule.expire_at,
        }
    }

    fn wrapper_status(&self) -> Option<WrapperStatus> {
        let WrapperIds { inbound, outbound } = self.wrapper?;
        Some(WrapperStatus { inbound, outbound, suite: self.agreed.wrapper.as_ref()?.suite })
    }

    fn flow_padding(&self) -> FlowPadding {
        handling(&self.config, &self.agreed, Direction::Outbound).padding
    }

    /// Tells whether it carries its policy's traffic and is to go on doing so.
    pub(crate) fn is_in_use(&self) -> bool {
        let is_lasting = matches!(self.state, ChildState::Installed | ChildState::Rekeying);
        self.tenure == Tenure::Holds && is_lasting
    }

    /// Tells whether the peer's ignorance of the Child SA, when we spoke of it at a time of this confirmation, may be
    /// because our response that makes it is still on its way.
    pub(crate) fn is_perhaps_coming(&self, confirmation: Confirmation, now: Instant) -> bool {
        confirmation == Confirmation::Awaited && now < self.installed_at + limits::UNCONFIRMED_CHILD_LIFE
    }

    /// Notes that another Child SA of the same policy carries our packets now.
    pub(crate) fn stop_sending(&mut self) {
        if self.sending == Sending::Yes {
            self.sending = Sending::NoMore;
        }
    }

    /// Lets our packets go through the outbound SA from now on; the one that carried them [stops](Self::stop_sending).
    pub(crate) fn start_sending(&mut self, cx: &mut Context) {
        if self.sending == Sending::NotYet {
            self.sending = Sending::Yes;
            cx.order(SaOp::UseOutbound { policy: self.policy, sa: self.outbound });
        }
    }

    /// Lets our packets go through the outbound SA again: what had taken them over is gone.
    pub(crate) fn resume_sending(&mut self, cx: &mut Context) {
        if self.sending != Sending::Yes {
            self.sending = Sending::Yes;
            cx.order(SaOp::UseOutbound { policy: self.policy, sa: self.outbound });
        }
    }

    /// Describes its policy. A packet that comes before the policy has an SA waits for it.
    fn policy_spec(&self) -> PolicySpec {
        PolicySpec {
            id: self.policy,
            priority: self.config.sa_priority(),
            selectors: selectors::pairs(&self.agreed.local, &self.agreed.remote),
            action: PolicyAction::Trap,
            device: self.config.handling.device,
        }
    }

    /// Asks how long nothing went through it, if that is due.
    pub(crate) fn ask_idle(&mut self, cx: &mut Context) {
        if self.idle_at.take_if(|at| *at <= cx.now).is_some() {
            let id = cx.ask(Query::Idle { inbound: self.inbound, outbound: self.outbound });
            cx.questions.insert(id, Question::Idle(self.inbound));
        }
    }

    /// Takes note of how long nothing went through it; tells whether that is too long.
    pub(crate) fn is_idle(&mut self, now: Instant, idle: Option<Duration>) -> bool {
        let unused = now.saturating_duration_since(self.installed_at);
        let idle = idle.map_or(unused, |idle| idle.min(unused));
        let left = self.config.inactivity.saturating_sub(idle);
        if !left.is_zero() {
            self.idle_at = Some(now + left);
        }
        left.is_zero()
    }

    /// Takes the Child SA and its policy away: nothing replaces it.
    pub(crate) fn remove(&self, cx: &mut Context) {
        cx.order(SaOp::RemovePolicy(self.policy));
        self.remove_outbound(cx);
        for sa in self.inbound_sas() {
            cx.order(SaOp::RemoveSa(sa));
        }
    }

    pub(crate) fn remove_outbound(&self, cx: &mut Context) {
        cx.order(SaOp::RemoveSa(self.outbound));
        if let Some(wrapper) = self.wrapper {
            cx.order(SaOp::RemoveSa(wrapper.outbound));
        }
    }

    /// Takes the Child SA away after another took over its policy; late packets are opened for a while yet.
    pub(crate) fn remove_replaced(&self, cx: &mut Context) {
        self.remove_outbound(cx);
        for sa in self.inbound_sas() {
            cx.linger(sa);
        }
    }
}

/// Why there is no AH behind a NAT.
pub(crate) const AH_MEETS_NAT: &str =
    "AH protects the addresses of packets, and a NAT between the two ends changes them";

/// Where a new Child SA's packets go.
#[derive(Clone, Copy)]
pub(crate) struct Carriage {
    pub path: Path,
    pub encapsulation: Encapsulation,
}

impl Carriage {
    fn encapsulation_of(self, protocol: Protocol, is_wrapped: bool) -> Encapsulation {
        match protocol {
            Protocol::Esp if !is_wrapped => self.encapsulation,
            // AH protects the very addresses that UDP is there to have changed.
            Protocol::Esp | Protocol::Ah => Encapsulation::None,
        }
    }
}

/// The keys of a Child SA: encryption key, then integrity key, of each direction.
#[derive(Clone, Debug)]
pub(crate) struct DirectionKeys {
    pub inbound: Arc<Secret<Vec<u8>>>,
    pub outbound: Arc<Secret<Vec<u8>>>,
}

/// What becomes of our packets when a Child SA is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installation {
    /// It is new: it gets a policy of its own and carries packets at once.
    New,
    /// It is to replace another: it opens packets, but ours go through the old one until it is certain that this one
    /// stays and that the peer has it.
    StandBy(PolicyId),
}

/// A Child SA that both ends agree on and of which nothing is in place yet.
pub(crate) struct Prepared {
    child: ChildSa,
    inbound: SaSpec,
    outbound: SaSpec,
    wrapper: Option<WrapperSpecs>,
}

/// Prepares a Child SA of a policy. Only for a peer that proved who it is.
///
/// # Errors
/// The peer's SPI is in use already.
pub(crate) fn prepare(
    cx: &mut Context,
    proof: &PeerAuthenticated,
    config: &Arc<ChildConfig>,
    agreed: Agreed,
    keys: DirectionKeys,
    carriage: Carriage,
    policy: PolicyId,
) -> Result<Prepared, Error> {
    proof.check(&agreed.remote)?;
    let agreed = Agreed { suite: as_carried(agreed.suite, config.truncation), ..agreed };
    let protocol = agreed.suite.protocol;
    let encapsulation = carriage.encapsulation_of(protocol, agreed.wrapper.is_some());
    let outer = Outer { local: carriage.path.local, remote: carriage.path.remote, encapsulation };
    let mut inbound = SaSpec {
        direction: Direction::Inbound,
        protocol,
        spi: agreed.our_spi,
        mode: agreed.mode,
        outer,
        protection: agreed.suite.protection,
        key: keys.inbound,
        esn: agreed.suite.esn,
        replay_window: config.replay_window,
        selectors: selectors::pairs(&agreed.local, &agreed.remote),
        lifetime: config.volume,
        policy,
        handling: handling(config, &agreed, Direction::Inbound),
    };
    let mut outbound = SaSpec {
        direction: Direction::Outbound,
        spi: agreed.peer_spi,
        key: keys.outbound,
        handling: handling(config, &agreed, Direction::Outbound),
        ..inbound.clone()
    };
    let wrapper = agreed.wrapper.as_ref().map(|wrapper| wrap(wrapper, config, &mut inbound, &mut outbound));
    let ids = wrapper
        .as_ref()
        .map(|specs| WrapperIds { inbound: specs.inbound.id(), outbound: specs.outbound.id() });
    let outbound_ids = [Some(outbound.id()), ids.map(|ids| ids.outbound)];
    if outbound_ids.iter().flatten().any(|id| cx.owners.contains_key(id)) {
        // The peer, or another one behind the same address, uses this SPI already; with the next one it may do better.
        return Err(Error::Busy);
    }
    let child = ChildSa {
        id: cx.next_child_id(),
        config: Arc::clone(config),
        state: ChildState::Installed,
        policy,
        inbound: inbound.id(),
        outbound: outbound.id(),
        wrapper: ids,
        outer,
        tenure: Tenure::Holds,
        sending: Sending::Yes,
        confirmation: Confirmation::Known,
        agreed,
        installed_at: cx.now,
        schedule: config.lifetimes.schedule(cx.now, &mut *cx.random),
        volume: config.volume,
        idle_at: (!config.inactivity.is_zero()).then(|| cx.now + config.inactivity),
    };
    Ok(Prepared { child, inbound, outbound, wrapper })
}

/// Gives the suite that packets are protected with: what was agreed, unless the peer is known to mean another by it.
fn as_carried(suite: ChildSuite, truncation: Truncation) -> ChildSuite {
    let cut = |integrity: &'static Integrity| match (truncation, integrity.id) {
        (Truncation::To96, IntegrityId::HMAC_SHA2_256_128) => {
            transform::integrity(IntegrityId::HMAC_SHA2_256_96).unwrap_or(integrity)
        }
        (Truncation::To128 | Truncation::To96, _) => integrity,
    };
    let protection = match suite.protection {
        Protection::Combined(encryption) => Protection::Combined(encryption),
        Protection::Separate { encryption, integrity } => {
            Protection::Separate { encryption, integrity: cut(integrity) }
        }
        Protection::Authenticated(integrity) => Protection::Authenticated(cut(integrity)),
    };
    ChildSuite { protection, ..suite }
}

/// Fills in what the negotiation decided about the packets of one direction.
fn handling(config: &ChildConfig, agreed: &Agreed, direction: Direction) -> Handling {
    let compression = agreed.compression.map(|compression| match direction {
        Direction::Inbound => compression.ours,
        Direction::Outbound => compression.theirs,
    });
    let padding = match agreed.padding {
        Padding::Taken => config.handling.padding,
        Padding::Refused => FlowPadding::None,
    };
    Handling { compression, padding, original: agreed.original, ..config.handling.clone() }
}

impl Prepared {
    /// Ends its life after `limit` or `octets` at the latest: what the two ends agreed on.
    pub(crate) fn limited_to(
        mut self,
        cx: &mut Context,
        limit: Option<Duration>,
        octets: Option<u64>,
    ) -> Prepared {
        if let Some(limit) = limit {
            let lifetimes = self.child.config.lifetimes.limited_to(limit);
            self.child.schedule = lifetimes.schedule(cx.now, &mut *cx.random);
        }
        if let Some(octets) = octets {
            self.child.volume = octets_limited_to(self.child.volume, octets);
            self.inbound.lifetime = self.child.volume;
            self.outbound.lifetime = self.child.volume;
        }
        self
    }

    /// Gives the SAs towards us: its own, then AH around it.
    pub(crate) fn inbound_sas(&self) -> impl Iterator<Item = SaId> + use<> {
        self.child.inbound_sas()
    }

    /// Gives its own SA towards us.
    pub(crate) fn inbound(&self) -> SaId {
        self.child.inbound
    }

    /// Gives its SAs in pairs, the one towards us first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (SaId, SaId)> + use<> {
        self.child.pairs()
    }

    /// Tells whether the peer calls it by this SPI.
    pub(crate) fn is_named_by_peer(&self, protocol: Protocol, spi: Spi) -> bool {
        self.child.is_named_by_peer(protocol, spi)
    }

    /// Keeps the names of both SAs for it until it is [given up](Self::release) or has become a Child SA.
    pub(crate) fn reserve(&self, cx: &mut Context, owner: IkeSpi) {
        for sa in self.child.sas() {
            cx.owners.insert(sa, owner);
        }
    }

    /// Gives the names free.
    pub(crate) fn release(&self, cx: &mut Context) {
        for sa in self.child.sas() {
            cx.owners.remove(&sa);
        }
    }

    pub(crate) fn policy(&self) -> PolicyId {
        self.child.policy
    }

    /// Puts both SAs in place, the inbound one first.
    pub(crate) fn install(self, cx: &mut Context, installation: Installation) -> ChildSa {
        self.install_inbound(cx);
        self.install_outbound(cx, installation)
    }

    /// Puts the inbound SA in place: the peer may send from now on.
    pub(crate) fn install_inbound(&self, cx: &mut Context) {
        if cx.settings.disclose_keys {
            let (inbound, outbound) = (self.inbound.clone().into(), self.outbound.clone().into());
            cx.tell(Event::ChildKeys(ChildKeyDisclosure { inbound, outbound }));
        }
        let wrapper = self.wrapper.iter().map(|wrapper| &wrapper.inbound);
        for spec in wrapper.chain([&self.inbound]) {
            cx.order(SaOp::InstallSa(Box::new(spec.clone())));
        }
    }

    /// Puts the outbound SA in place, and the policy where it is new.
    pub(crate) fn install_outbound(self, cx: &mut Context, installation: Installation) -> ChildSa {
        let Prepared { mut child, outbound, wrapper, .. } = self;
        let policy = child.policy;
        for spec in wrapper.map(|wrapper| wrapper.outbound).into_iter().chain([outbound]) {
            cx.order(SaOp::InstallSa(Box::new(spec)));
        }
        match installation {
            Installation::New => {
                cx.order(SaOp::InstallPolicy(child.policy_spec()));
                cx.order(SaOp::UseOutbound { policy, sa: child.outbound });
            }
            Installation::StandBy(_) => {
                child.tenure = Tenure::Aside;
                child.sending = Sending::NotYet;
            }
        }
        child
    }
}

/// Ends an SA after so many octets at the latest. One that would end before it is replaced is replaced at nine tenths.
fn octets_limited_to(volume: Lifetime, octets: u64) -> Lifetime {
    let hard_bytes = volume.hard_bytes.min(octets);
    let soft_bytes =
        if volume.soft_bytes < hard_bytes { volume.soft_bytes } else { hard_bytes - hard_bytes / 10 };
    Lifetime { soft_bytes, hard_bytes, ..volume }
}

// --- The Child SAs of one IKE SA -----------------------------------------------------------------------------------

/// Takes a Child SA in; `owner` is the IKE SA, by our SPI.
pub(crate) fn take_in(
    cx: &mut Context,
    children: &mut BTreeMap<ChildSaId, ChildSa>,
    owner: IkeSpi,
    child: ChildSa,
) {
    for sa in child.sas() {
        cx.owners.insert(sa, owner);
    }
    children.insert(child.id, child);
}
