//! A Child SA: the pair of SAs that carries traffic, how it is offered, answered, installed and taken away.
//!
//! IKE_AUTH and both CREATE_CHILD_SA exchanges that make Child SAs share this: the SA, TSi and TSr payloads mean the
//! same in all three (RFC 7296 §1.2, §1.3.1, §1.3.3).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crypto::Secret;
use sa::{
    Direction, Encapsulation, Mode, Outer, PolicyAction, PolicyId, PolicySpec, PortRange, Protocol, SaId,
    SaOp, SaSpec, SelectorPair, Spi, TrafficSelector,
};
use wire::registry::{KeyExchangeId, NotifyType};
use wire::v2::{Notify, Payload};

use super::authentication::PeerAuthenticated;
use super::contents::Contents;
use super::keys::{ChildKeys, Nonces};
use crate::context::{ChildRequest, Context};
use crate::error::Error;
use crate::event::{ChildKeyDisclosure, Event};
use crate::lifetime::Schedule;
use crate::negotiation::{self, ChosenEsp, Groups};
use crate::{
    ChildConfig, ChildSaId, ChildSaStatus, ChildState, Connection, Misbehaviour, Path, Role,
    SelectorTemplate, limits, selectors,
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

/// What a negotiation of a Child SA agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub chosen: ChosenEsp,
    pub our_spi: Spi,
    pub mode: Mode,
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
}

impl ChildSa {
    /// Tells whether an SPI, as a Delete or REKEY_SA from the peer names it, means this Child SA: the peer names the
    /// SA towards itself (RFC 7296 §1.4.1).
    pub(crate) fn is_named_by_peer(&self, spi: Spi) -> bool {
        self.outbound.spi == spi
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
            suite: self.agreed.chosen.suite,
            encapsulation: self.outer.encapsulation,
            local_selectors: self.agreed.local.clone(),
            remote_selectors: self.agreed.remote.clone(),
            installed_at: self.installed_at,
            rekey_at: self.schedule.rekey_at,
            expire_at: self.schedule.expire_at,
        }
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

    /// Moves the SAs to another path (RFC 7296 §2.23).
    pub(crate) fn move_to(&mut self, cx: &mut Context, path: Path) {
        self.outer = Outer { local: path.local, remote: path.remote, ..self.outer };
        for sa in [&mut self.inbound, &mut self.outbound] {
            cx.order(SaOp::MoveSa { sa: *sa, outer: self.outer });
            sa.destination = match sa.direction {
                Direction::Inbound => path.local.ip(),
                Direction::Outbound => path.remote.ip(),
            };
        }
    }

    /// Takes the Child SA and its policy away: nothing replaces it.
    pub(crate) fn remove(&self, cx: &mut Context) {
        cx.order(SaOp::RemovePolicy(self.policy));
        cx.order(SaOp::RemoveSa(self.outbound));
        cx.order(SaOp::RemoveSa(self.inbound));
    }

    /// Takes the Child SA away after another took over its policy; late packets are opened for a while yet.
    pub(crate) fn remove_replaced(&self, cx: &mut Context) {
        cx.order(SaOp::RemoveSa(self.outbound));
        cx.linger(self.inbound);
    }
}

/// Our wish for a Child SA, as the exchange's initiator.
#[derive(Debug)]
pub(crate) struct ChildOffer {
    pub config: Arc<ChildConfig>,
    our_spi: Spi,
    groups: Groups,
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
}

impl ChildOffer {
    /// Prepares the wish for a new Child SA; the packet that asked for it comes first in the selectors (RFC 7296 §2.9).
    pub(crate) fn new(cx: &mut Context, request: &ChildRequest, path: Path, groups: Groups) -> ChildOffer {
        let config = Arc::clone(&request.config);
        let mut local = resolve(&config.local_selectors, path.local.ip());
        let mut remote = resolve(&config.remote_selectors, path.remote.ip());
        if let Some(flow) = request.flow {
            let ports = flow
                .ports
                .map(|(source, destination)| (PortRange::single(source), PortRange::single(destination)));
            let (source_port, destination_port) = ports.unwrap_or((PortRange::ANY, PortRange::ANY));
            let one = |address, ports| TrafficSelector {
                addresses: sa::AddressRange::host(address),
                protocol: flow.protocol,
                ports,
            };
            local.insert(0, one(flow.source, source_port));
            remote.insert(0, one(flow.destination, destination_port));
        }
        ChildOffer { config, our_spi: cx.next_spi(), groups, local, remote }
    }

    /// Prepares the wish for a replacement of a Child SA with the traffic that it carries.
    pub(crate) fn replacing(cx: &mut Context, old: &ChildSa) -> ChildOffer {
        ChildOffer {
            config: Arc::clone(&old.config),
            our_spi: cx.next_spi(),
            groups: Groups::Offer,
            local: old.agreed.local.clone(),
            remote: old.agreed.remote.clone(),
        }
    }

    pub(crate) fn our_spi(&self) -> Spi {
        self.our_spi
    }

    /// Gives `SAi2`: what we would accept.
    pub(crate) fn security_association(&self) -> Payload {
        Payload::SecurityAssociation(negotiation::offer_esp(
            &self.config.proposals,
            self.our_spi,
            self.groups,
        ))
    }

    /// Gives `TSi, TSr`, and the notify that asks for transport mode.
    pub(crate) fn selectors_and_mode(&self) -> Vec<Payload> {
        let mut payloads = vec![
            Payload::TrafficSelectorsInitiator(selectors::to_wire(&self.local)),
            Payload::TrafficSelectorsResponder(selectors::to_wire(&self.remote)),
        ];
        if self.config.mode == Mode::Transport {
            payloads.push(Payload::Notify(Notify::new(NotifyType::USE_TRANSPORT_MODE, [])));
        }
        payloads
    }

    /// Reads the peer's answer: one proposal of ours, and selectors within ours.
    pub(crate) fn accept(&self, contents: &Contents) -> Result<Agreed, Error> {
        if let Some(refusal) = contents.refusal(&self.in_words()) {
            return Err(Error::Refused(refusal));
        }
        let chosen =
            negotiation::accept_esp(&self.config.proposals, contents.security_association()?, self.groups)
                .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let local = selectors::from_wire(contents.selectors(Role::Initiator)?);
        let remote = selectors::from_wire(contents.selectors(Role::Responder)?);
        for (answered, offered) in [(&local, &self.local), (&remote, &self.remote)] {
            if answered.is_empty() || !selectors::is_within(answered, offered) {
                let words = format!("traffic selectors {} for {}", list(answered), list(offered));
                return Err(Misbehaviour::NotOffered(words).into());
            }
        }
        let mode = agreed_mode(self.config.mode, contents)?;
        if self.config.mode == Mode::Tunnel && contents.notify(NotifyType::USE_TRANSPORT_MODE).is_some() {
            return Err(Misbehaviour::NotOffered("transport mode".to_owned()).into());
        }
        Ok(Agreed { chosen, our_spi: self.our_spi, mode, local, remote })
    }

    pub(crate) fn in_words(&self) -> String {
        let proposals = self.config.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("we offered {proposals} for {} <-> {}", list(&self.local), list(&self.remote))
    }
}

/// Our answer to a peer's wish for a Child SA.
#[derive(Debug)]
pub(crate) struct ChildAnswer {
    pub config: Arc<ChildConfig>,
    pub agreed: Agreed,
}

impl ChildAnswer {
    /// Chooses among a connection's children the first that meets the peer's wish, and narrows it (RFC 7296 §2.7, §2.9).
    pub(crate) fn choose(
        cx: &mut Context,
        connection: &Connection,
        path: Path,
        contents: &Contents,
        groups: Groups,
    ) -> Result<ChildAnswer, Error> {
        let proposed_remote = selectors::from_wire(contents.selectors(Role::Initiator)?);
        let proposed_local = selectors::from_wire(contents.selectors(Role::Responder)?);
        let mut fault = Error::SelectorsDoNotMeet {
            theirs_local: list(&proposed_local),
            theirs_remote: list(&proposed_remote),
            ours_local: configured(connection, |child| &child.local_selectors, path.local.ip()),
            ours_remote: configured(connection, |child| &child.remote_selectors, path.remote.ip()),
        };
        for config in &connection.children {
            let local =
                selectors::narrow(&resolve(&config.local_selectors, path.local.ip()), &proposed_local);
            let remote =
                selectors::narrow(&resolve(&config.remote_selectors, path.remote.ip()), &proposed_remote);
            if selectors::pairs(&local, &remote).is_empty() {
                continue;
            }
            match ChildAnswer::agree(cx, config, contents, groups, (local, remote)) {
                Ok(answer) => return Ok(answer),
                Err(disagreement) => fault = disagreement,
            }
        }
        Err(fault)
    }

    /// Answers the wish for a replacement of a Child SA, within the traffic that the old one carries.
    pub(crate) fn replacing(
        cx: &mut Context,
        old: &ChildSa,
        contents: &Contents,
    ) -> Result<ChildAnswer, Error> {
        let proposed_remote = selectors::from_wire(contents.selectors(Role::Initiator)?);
        let proposed_local = selectors::from_wire(contents.selectors(Role::Responder)?);
        let local = selectors::narrow(&old.agreed.local, &proposed_local);
        let remote = selectors::narrow(&old.agreed.remote, &proposed_remote);
        if selectors::pairs(&local, &remote).is_empty() {
            return Err(Error::SelectorsDoNotMeet {
                theirs_local: list(&proposed_local),
                theirs_remote: list(&proposed_remote),
                ours_local: list(&old.agreed.local),
                ours_remote: list(&old.agreed.remote),
            });
        }
        ChildAnswer::agree(cx, &old.config, contents, Groups::Offer, (local, remote))
    }

    fn agree(
        cx: &mut Context,
        config: &Arc<ChildConfig>,
        contents: &Contents,
        groups: Groups,
        (local, remote): (Vec<TrafficSelector>, Vec<TrafficSelector>),
    ) -> Result<ChildAnswer, Error> {
        let preferred = contents.optional_key_exchange()?.map(|key_exchange| key_exchange.group);
        let chosen =
            negotiation::choose_esp(&config.proposals, contents.security_association()?, groups, preferred)?;
        let mode = agreed_mode(config.mode, contents)?;
        let agreed = Agreed { chosen, our_spi: cx.next_spi(), mode, local, remote };
        Ok(ChildAnswer { config: Arc::clone(config), agreed })
    }

    /// Gives the group that the peer's KE payload must be of.
    pub(crate) fn group(&self) -> Option<KeyExchangeId> {
        self.agreed.chosen.suite.key_exchange.map(|group| group.id)
    }

    /// Gives `SAr2`.
    pub(crate) fn security_association(&self) -> Payload {
        Payload::SecurityAssociation(vec![negotiation::answer_esp(&self.agreed.chosen, self.agreed.our_spi)])
    }

    /// Gives `TSi, TSr` as narrowed, and the notify that grants transport mode.
    pub(crate) fn selectors_and_mode(&self) -> Vec<Payload> {
        let mut payloads = vec![
            Payload::TrafficSelectorsInitiator(selectors::to_wire(&self.agreed.remote)),
            Payload::TrafficSelectorsResponder(selectors::to_wire(&self.agreed.local)),
        ];
        if self.agreed.mode == Mode::Transport {
            payloads.push(Payload::Notify(Notify::new(NotifyType::USE_TRANSPORT_MODE, [])));
        }
        payloads
    }
}

/// The keys of a new Child SA, and who made it.
pub(crate) struct Keying<'a> {
    /// Our part in the exchange that makes the Child SA, which need not be our part in the IKE SA.
    pub role: Role,
    /// The PRF of the IKE SA.
    pub prf: &'static dyn crypto::Prf,
    /// SK_d of the IKE SA.
    pub sk_d: &'a Secret<Vec<u8>>,
    /// The shared secret of a key exchange of its own.
    pub shared: Option<&'a Secret<Vec<u8>>>,
    /// The nonces of the exchange.
    pub nonces: Nonces<'a>,
}

/// Where a new Child SA's packets go.
#[derive(Clone, Copy)]
pub(crate) struct Carriage {
    pub path: Path,
    pub encapsulation: Encapsulation,
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

/// Installs a Child SA. Only for a peer that proved who it is.
pub(crate) fn install(
    cx: &mut Context,
    _proof: &PeerAuthenticated,
    config: &Arc<ChildConfig>,
    agreed: Agreed,
    keying: &Keying<'_>,
    carriage: Carriage,
    installation: Installation,
) -> Result<ChildSa, Error> {
    let suite = agreed.chosen.suite;
    let keys = ChildKeys::derive(keying.prf, keying.sk_d, keying.shared, keying.nonces, &suite)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    let (our_key, their_key) = match keying.role {
        Role::Initiator => (keys.initiator, keys.responder),
        Role::Responder => (keys.responder, keys.initiator),
    };
    let policy = match installation {
        Installation::New => cx.next_policy_id(),
        Installation::StandBy(policy) => policy,
    };
    let pairs = selectors::pairs(&agreed.local, &agreed.remote);
    let outer = Outer {
        local: carriage.path.local,
        remote: carriage.path.remote,
        encapsulation: carriage.encapsulation,
    };
    let inbound = SaSpec {
        direction: Direction::Inbound,
        protocol: Protocol::Esp,
        spi: agreed.our_spi,
        mode: agreed.mode,
        outer,
        protection: suite.protection,
        key: their_key,
        esn: suite.esn,
        replay_window: config.replay_window,
        selectors: pairs.clone(),
        lifetime: config.volume,
        policy,
    };
    let outbound = SaSpec {
        direction: Direction::Outbound,
        spi: agreed.chosen.peer_spi,
        key: our_key,
        ..inbound.clone()
    };
    if cx.owners.contains_key(&outbound.id()) {
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
        outer,
        tenure: Tenure::Holds,
        sending: Sending::Yes,
        confirmation: match keying.role {
            Role::Initiator => Confirmation::Known,
            Role::Responder => Confirmation::Awaited,
        },
        agreed,
        installed_at: cx.now,
        schedule: config.lifetimes.schedule(cx.now, &mut *cx.random),
    };
    Ok(put_in_place(cx, child, inbound, outbound, pairs, installation))
}

fn put_in_place(
    cx: &mut Context,
    mut child: ChildSa,
    inbound: SaSpec,
    outbound: SaSpec,
    pairs: Vec<SelectorPair>,
    installation: Installation,
) -> ChildSa {
    if cx.settings.disclose_keys {
        let disclosure =
            ChildKeyDisclosure { inbound: inbound.clone().into(), outbound: outbound.clone().into() };
        cx.tell(Event::ChildKeys(disclosure));
    }
    cx.order(SaOp::InstallSa(Box::new(inbound)));
    cx.order(SaOp::InstallSa(Box::new(outbound)));
    let policy = child.policy;
    if let Installation::New = installation {
        let priority = child.config.sa_priority();
        cx.order(SaOp::InstallPolicy(PolicySpec {
            id: policy,
            priority,
            selectors: pairs,
            action: PolicyAction::Protect,
        }));
    }
    match installation {
        Installation::New => {
            cx.order(SaOp::UseOutbound { policy, sa: child.outbound });
        }
        Installation::StandBy(_) => {
            child.tenure = Tenure::Aside;
            child.sending = Sending::NotYet;
        }
    }
    child
}

fn resolve(templates: &[SelectorTemplate], own: IpAddr) -> Vec<TrafficSelector> {
    templates.iter().map(|template| template.resolve(own)).collect()
}

fn configured(
    connection: &Connection,
    which: fn(&ChildConfig) -> &Vec<SelectorTemplate>,
    own: IpAddr,
) -> String {
    let all: Vec<_> = connection.children.iter().flat_map(|child| resolve(which(child), own)).collect();
    list(&all)
}

fn list(selectors: &[TrafficSelector]) -> String {
    match selectors {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Transport mode is used where both ends want it (RFC 7296 §1.3.1); a child that must have it takes nothing else.
fn agreed_mode(configured: Mode, contents: &Contents) -> Result<Mode, Error> {
    let peer_mode = match contents.notify(NotifyType::USE_TRANSPORT_MODE) {
        Some(_) => Mode::Transport,
        None => Mode::Tunnel,
    };
    match (configured, peer_mode) {
        (Mode::Tunnel, _) => Ok(Mode::Tunnel),
        (Mode::Transport, Mode::Transport) => Ok(Mode::Transport),
        (Mode::Transport, Mode::Tunnel) => {
            Err(Error::OtherMode("the peer wants tunnel mode; configured is transport mode"))
        }
    }
}
