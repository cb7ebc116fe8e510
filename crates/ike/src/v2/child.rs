//! How a Child SA is offered and answered, and its keys.
//!
//! IKE_AUTH and both CREATE_CHILD_SA exchanges that make Child SAs share this: the SA, TSi and TSr payloads mean the
//! same in all three (RFC 7296 §1.2, §1.3.1, §1.3.3).

use std::net::IpAddr;
use std::sync::Arc;

use crypto::Secret;
use sa::{
    AddressRange, Mode, OriginalAddresses, PortRange, Proposal, ProposalProtocol, Protocol, Spi,
    TrafficSelector,
};
use wire::registry::KeyExchangeId;
use wire::v2::Payload;

use super::contents::Contents;
use super::keys::{ChildKeys, Nonces, SharedSecrets};
use super::terms::{self, Terms, Wish};
use crate::authentication::PeerAuthenticated;
use crate::child::{
    AH_MEETS_NAT, Agreed, Carriage, ChildSa, Confirmation, DirectionKeys, Heritage, Installation, prepare,
};
use crate::context::{ChildRequest, Context};
use crate::error::Error;
use crate::nat_detection::{Behind, NatFinding};
use crate::negotiation::{self, ChosenChild, Groups};
use crate::selectors::{self, list, resolve, resolve_all};
use crate::{ChildConfig, Connection, Misbehaviour, Path, Role, SelectorTemplate};

/// Where the two ends are, as we see it, and what lies between them.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub path: Path,
    pub nat: NatFinding,
    /// What a selector of ours stands for that is our own address.
    pub local: Vec<AddressRange>,
    /// The same of the peer.
    pub remote: Vec<AddressRange>,
    /// The networks that are all that the peer is sent to; empty is no such limit.
    pub within: Vec<AddressRange>,
    /// Whether we do not know yet which of `local` will be ours.
    pub are_open: bool,
}

/// What each end may say: ours, then the peer's.
type Traffic = (Vec<TrafficSelector>, Vec<TrafficSelector>);

/// Our wish for a Child SA, as the exchange's initiator.
#[derive(Debug)]
pub(crate) struct ChildOffer {
    pub config: Arc<ChildConfig>,
    our_spi: Spi,
    groups: Groups,
    proposals: Vec<Proposal>,
    wish: Wish,
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
    /// Whether it was made before our virtual addresses were known.
    is_open: bool,
}

impl ChildOffer {
    /// Prepares the wish for a new Child SA; the packet that asked for it comes first in the selectors (RFC 7296 §2.9).
    ///
    /// # Errors
    /// Nothing of what is configured can be had between these ends.
    pub(crate) fn new(
        cx: &mut Context,
        request: &ChildRequest,
        ends: &Ends,
        groups: Groups,
    ) -> Result<ChildOffer, Error> {
        let config = Arc::clone(&request.config);
        let (mut local, mut remote) = ends.configured(&config);
        if local.is_empty() || remote.is_empty() {
            return Err(ends.outside(&config));
        }
        // The packet's source is not one that we are about to get.
        if let Some(flow) = request.flow.filter(|_| !ends.are_open) {
            let ports = flow
                .ports
                .map(|(source, destination)| (PortRange::single(source), PortRange::single(destination)));
            let (source_port, destination_port) = ports.unwrap_or((PortRange::ANY, PortRange::ANY));
            let one = |address, ports| TrafficSelector {
                addresses: AddressRange::host(address),
                protocol: flow.protocol,
                ports,
            };
            local.insert(0, one(flow.source, source_port));
            remote.insert(0, one(flow.destination, destination_port));
        }
        ChildOffer::of(cx, config, ends, groups, (local, remote))
    }

    /// Prepares the wish for a replacement of a Child SA with the traffic that it carries.
    ///
    /// # Errors
    /// A NAT has come between the ends that the child cannot live with.
    pub(crate) fn replacing(cx: &mut Context, old: &ChildSa, ends: &Ends) -> Result<ChildOffer, Error> {
        let traffic = (old.agreed.local.clone(), old.agreed.remote.clone());
        ChildOffer::of(cx, Arc::clone(&old.config), ends, Groups::Offer, traffic)
    }

    fn of(
        cx: &mut Context,
        config: Arc<ChildConfig>,
        ends: &Ends,
        groups: Groups,
        (local, remote): Traffic,
    ) -> Result<ChildOffer, Error> {
        let proposals = ends.usable(&config)?;
        let (our_spi, wish) = (cx.next_spi(), Wish::new(cx, &config));
        let is_open = ends.are_open;
        Ok(ChildOffer { config, our_spi, groups, proposals, wish, local, remote, is_open })
    }

    pub(crate) fn our_spi(&self) -> Spi {
        self.our_spi
    }

    /// Gives the protocol of the pair that an answer made, as far as it can be told.
    pub(crate) fn protocol(&self, contents: &Contents) -> Protocol {
        let answered = contents.security_association().ok().and_then(|answer| answer.first());
        answered.and_then(|answer| negotiation::child_protocol(answer.protocol)).unwrap_or(Protocol::Esp)
    }

    /// Gives `SAi2`: what we would accept.
    pub(crate) fn security_association(&self) -> Payload {
        Payload::SecurityAssociation(negotiation::offer_child(&self.proposals, self.our_spi, self.groups))
    }

    /// Gives `TSi, TSr`, and the notifies that say what else we want.
    pub(crate) fn selectors_and_terms(&self) -> Vec<Payload> {
        let selectors = [
            Payload::TrafficSelectorsInitiator(selectors::to_wire(&self.local)),
            Payload::TrafficSelectorsResponder(selectors::to_wire(&self.remote)),
        ];
        selectors.into_iter().chain(self.wish.notifies()).collect()
    }

    /// Reads the peer's answer: one proposal of ours, and selectors within ours.
    pub(crate) fn accept(&self, contents: &Contents, ends: &Ends) -> Result<Agreed, Error> {
        if let Some(refusal) = contents.refusal(&self.in_words()) {
            return Err(Error::Refused(refusal));
        }
        let chosen =
            negotiation::accept_child(&self.proposals, contents.security_association()?, self.groups)
                .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let terms = self.wish.accept(contents)?;
        let answered_local = selectors::from_wire(contents.selectors(Role::Initiator)?);
        let answered_remote = selectors::from_wire(contents.selectors(Role::Responder)?);
        let ((mut local, mut remote), original) =
            ends.as_seen_here(terms.mode, (answered_local, answered_remote));
        for (answered, offered) in [(&local, &self.local), (&remote, &self.remote)] {
            if answered.is_empty() || !selectors::is_within(answered, offered) {
                let words = format!("traffic selectors {} for {}", list(answered), list(offered));
                return Err(Misbehaviour::NotOffered(words).into());
            }
        }
        if self.is_open {
            // What is more than our own we were granted for want of knowing better.
            let answered = (local, remote);
            (local, remote) = narrow(&ends.configured(&self.config), &answered);
            if local.is_empty() || remote.is_empty() {
                let (answered_local, answered_remote) = answered;
                let words = format!(
                    "traffic selectors {} <-> {}, and ours are {}",
                    list(&answered_local),
                    list(&answered_remote),
                    ends.in_words(&self.config)
                );
                return Err(Misbehaviour::NotOffered(words).into());
            }
        }
        Ok(agreed(&chosen, self.groups, self.our_spi, &terms, (local, remote), original))
    }

    pub(crate) fn in_words(&self) -> String {
        let proposals = self.proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("we offered {proposals} for {} <-> {}", list(&self.local), list(&self.remote))
    }
}

/// Our answer to a peer's wish for a Child SA.
#[derive(Debug)]
pub(crate) struct ChildAnswer {
    pub config: Arc<ChildConfig>,
    pub agreed: Agreed,
    chosen: ChosenChild,
    terms: Terms,
}

impl ChildAnswer {
    /// Chooses among a connection's children the first that meets the peer's wish, and narrows it (RFC 7296 §2.7, §2.9).
    pub(crate) fn choose(
        cx: &mut Context,
        connection: &Connection,
        peer: &PeerAuthenticated,
        ends: &Ends,
        contents: &Contents,
        groups: Groups,
    ) -> Result<ChildAnswer, Error> {
        let asked = terms::mode_of(contents)?;
        let proposed = proposed(contents)?;
        let mut fault = Error::SelectorsDoNotMeet {
            theirs_local: list(&proposed.0),
            theirs_remote: list(&proposed.1),
            ours_local: configured(connection, |child| &child.local_selectors, &ends.local),
            ours_remote: configured(connection, |child| &child.remote_selectors, &ends.remote),
        };
        for config in &connection.children {
            // Where both want transport mode, what counts is the addresses that the packets will have here.
            let mode = if config.mode == asked { asked } else { Mode::Tunnel };
            let (seen, original) = ends.as_seen_here(mode, proposed.clone());
            let (local, remote) = narrow(&ends.configured(config), &seen);
            let traffic = (local, peer.limit(remote));
            if selectors::pairs(&traffic.0, &traffic.1).is_empty() {
                continue;
            }
            match ChildAnswer::agree(cx, config, ends, contents, groups, (traffic, original)) {
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
        ends: &Ends,
        contents: &Contents,
    ) -> Result<ChildAnswer, Error> {
        let proposed = proposed(contents)?;
        let Agreed { local, remote, mode, .. } = &old.agreed;
        let (seen, original) = ends.as_seen_here(*mode, proposed.clone());
        let traffic = narrow(&(local.clone(), remote.clone()), &seen);
        if selectors::pairs(&traffic.0, &traffic.1).is_empty() {
            return Err(Error::SelectorsDoNotMeet {
                theirs_local: list(&proposed.0),
                theirs_remote: list(&proposed.1),
                ours_local: list(local),
                ours_remote: list(remote),
            });
        }
        ChildAnswer::agree(cx, &old.config, ends, contents, Groups::Offer, (traffic, original))
    }

    fn agree(
        cx: &mut Context,
        config: &Arc<ChildConfig>,
        ends: &Ends,
        contents: &Contents,
        groups: Groups,
        (traffic, original): (Traffic, Option<OriginalAddresses>),
    ) -> Result<ChildAnswer, Error> {
        let preferred = contents.optional_key_exchange()?.map(|key_exchange| key_exchange.group);
        let proposals = ends.usable(config)?;
        let chosen =
            negotiation::choose_child(&proposals, contents.security_association()?, groups, preferred)?;
        let terms = Terms::answer(cx, config, contents)?;
        let agreed = agreed(&chosen, groups, cx.next_spi(), &terms, traffic, original);
        Ok(ChildAnswer { config: Arc::clone(config), agreed, chosen, terms })
    }

    /// Gives the group that the peer's KE payload must be of.
    pub(crate) fn group(&self) -> Option<KeyExchangeId> {
        self.agreed.suite.key_exchange.map(|group| group.id)
    }

    /// Gives `SAr2`.
    pub(crate) fn security_association(&self) -> Payload {
        Payload::SecurityAssociation(vec![negotiation::answer_child(&self.chosen, self.agreed.our_spi)])
    }

    /// Gives `TSi, TSr` as narrowed, and the notifies that grant what else the peer wants.
    pub(crate) fn selectors_and_terms(&self) -> Vec<Payload> {
        let selectors = [
            Payload::TrafficSelectorsInitiator(selectors::to_wire(&self.agreed.remote)),
            Payload::TrafficSelectorsResponder(selectors::to_wire(&self.agreed.local)),
        ];
        selectors.into_iter().chain(self.terms.notifies()).collect()
    }
}

fn agreed(
    chosen: &ChosenChild,
    groups: Groups,
    our_spi: Spi,
    terms: &Terms,
    (local, remote): Traffic,
    original: Option<OriginalAddresses>,
) -> Agreed {
    Agreed {
        suite: chosen.suite,
        our_spi,
        peer_spi: chosen.peer_spi,
        wrapper: None,
        mode: terms.mode,
        compression: terms.compression,
        padding: terms.padding,
        original,
        local,
        remote,
        heritage: match groups {
            Groups::Offer => {
                let (key_exchange, additional) = (chosen.suite.key_exchange, chosen.suite.additional);
                Heritage::Whole { key_exchange, additional }
            }
            Groups::Omit => Heritage::ToNegotiate,
        },
    }
}

/// Reads what the peer asks for.
fn proposed(contents: &Contents) -> Result<Traffic, Error> {
    let remote = selectors::from_wire(contents.selectors(Role::Initiator)?);
    let local = selectors::from_wire(contents.selectors(Role::Responder)?);
    Ok((local, remote))
}

fn narrow(allowed: &Traffic, proposed: &Traffic) -> Traffic {
    (selectors::narrow(&allowed.0, &proposed.0), selectors::narrow(&allowed.1, &proposed.1))
}

fn configured(
    connection: &Connection,
    which: fn(&ChildConfig) -> &Vec<SelectorTemplate>,
    own: &[AddressRange],
) -> String {
    let all: Vec<_> = connection.children.iter().flat_map(|child| resolve_all(which(child), own)).collect();
    list(&all)
}

// --- Between the two ends ------------------------------------------------------------------------------------------

impl Ends {
    /// Two ends that have no addresses but those on the path.
    pub(crate) fn between(path: Path, nat: NatFinding) -> Ends {
        let own = |address: std::net::SocketAddr| vec![AddressRange::host(address.ip())];
        let (local, remote) = (own(path.local), own(path.remote));
        Ends { path, nat, local, remote, within: Vec::new(), are_open: false }
    }

    /// Gives what a child is configured to carry. Transport mode carries only what the two ends say themselves.
    fn configured(&self, config: &ChildConfig) -> Traffic {
        let (local, remote) = (&config.local_selectors, &config.remote_selectors);
        match config.mode {
            Mode::Tunnel | Mode::Beet => {
                let remote = resolve_all(remote, &self.remote);
                (resolve_all(local, &self.local), only_within(remote, &self.within))
            }
            Mode::Transport => {
                let said_by = |templates: &[SelectorTemplate], own| {
                    only_within(resolve(templates, own), &[AddressRange::host(own)])
                };
                (said_by(local, self.path.local.ip()), said_by(remote, self.path.remote.ip()))
            }
        }
    }

    fn in_words(&self, config: &ChildConfig) -> String {
        let (local, remote) = self.configured(config);
        format!("{} <-> {}", list(&local), list(&remote))
    }

    /// Nothing of what a child is configured for can be carried between these ends.
    fn outside(&self, config: &ChildConfig) -> Error {
        let (local, remote) = (self.path.local.ip(), self.path.remote.ip());
        let limit = match config.mode {
            Mode::Transport => format!("transport mode carries what {local} and {remote} say themselves"),
            Mode::Tunnel | Mode::Beet => {
                let within: Vec<_> = self.within.iter().map(ToString::to_string).collect();
                format!("the peer has only {} behind it", within.join(", "))
            }
        };
        Error::Local(format!(
            "{limit}, and {} is configured for {} <-> {}",
            config.name,
            list(&resolve(&config.local_selectors, local)),
            list(&resolve(&config.remote_selectors, remote)),
        ))
    }

    fn is_translated(&self) -> bool {
        self.nat.local == Behind::Nat || self.nat.remote == Behind::Nat
    }

    /// Puts the addresses that packets have here in the place of those that they have for the peer, where a NAT changes
    /// them; transport mode needs both (RFC 7296 §2.23.1). Gives those that they had as well.
    fn as_seen_here(&self, mode: Mode, traffic: Traffic) -> (Traffic, Option<OriginalAddresses>) {
        if mode != Mode::Transport || !self.is_translated() {
            return (traffic, None);
        }
        let (mut local, mut remote) = traffic;
        let (here, there) = (self.path.local.ip(), self.path.remote.ip());
        let first =
            |selectors: &[TrafficSelector], own| selectors.iter().find_map(single_address).unwrap_or(own);
        let original = OriginalAddresses { local: first(&local, here), remote: first(&remote, there) };
        for (selectors, behind, own) in
            [(&mut local, self.nat.local, here), (&mut remote, self.nat.remote, there)]
        {
            // Transport mode has one address at each end; what is no single address is none that a NAT changed.
            for selector in selectors.iter_mut().filter(|_| behind == Behind::Nat) {
                if single_address(selector).is_some() {
                    selector.addresses = AddressRange::host(own);
                }
            }
        }
        ((local, remote), Some(original))
    }

    /// Gives the proposals that can be carried out between these ends.
    fn usable(&self, config: &ChildConfig) -> Result<Vec<Proposal>, Error> {
        if !config.wrapping.is_empty() {
            let sentence = format!("child {} wants AH around ESP, which IKEv2 cannot agree on", config.name);
            return Err(Error::Unsuitable(sentence));
        }
        let is_possible =
            |proposal: &&Proposal| !self.is_translated() || proposal.protocol != ProposalProtocol::Ah;
        let usable: Vec<Proposal> = config.proposals.iter().filter(is_possible).cloned().collect();
        if usable.is_empty() {
            return Err(Error::Unsuitable(AH_MEETS_NAT.to_owned()));
        }
        Ok(usable)
    }
}

/// Keeps of selectors what lies in these ranges; no range is no limit.
fn only_within(selectors: Vec<TrafficSelector>, ranges: &[AddressRange]) -> Vec<TrafficSelector> {
    if ranges.is_empty() {
        return selectors;
    }
    let ranges = ranges.iter().copied().map(TrafficSelector::all_of);
    ranges
        .flat_map(|range| selectors.iter().filter_map(move |selector| selector.intersection(&range)))
        .collect()
}

/// Gives the address of a selector that has only one.
fn single_address(selector: &TrafficSelector) -> Option<IpAddr> {
    let addresses = selector.addresses;
    (addresses.start() == addresses.end()).then_some(addresses.start())
}

// --- Keys ----------------------------------------------------------------------------------------------------------

/// The keys of a new Child SA, and who made it.
pub(crate) struct Keying<'a> {
    /// Our part in the exchange that makes the Child SA, which need not be our part in the IKE SA.
    pub role: Role,
    /// The PRF of the IKE SA.
    pub prf: &'static dyn crypto::Prf,
    /// SK_d of the IKE SA.
    pub sk_d: &'a Secret<Vec<u8>>,
    /// What its own key exchanges gave.
    pub shared: Option<&'a SharedSecrets>,
    /// The nonces of the exchange.
    pub nonces: Nonces<'a>,
}

/// Installs a Child SA. Only for a peer that proved who it is.
pub(crate) fn install(
    cx: &mut Context,
    proof: &PeerAuthenticated,
    config: &Arc<ChildConfig>,
    agreed: Agreed,
    keying: &Keying<'_>,
    carriage: Carriage,
    installation: Installation,
) -> Result<ChildSa, Error> {
    let keys = ChildKeys::derive(keying.prf, keying.sk_d, keying.shared, keying.nonces, &agreed.suite)
        .map_err(|fault| Error::Local(fault.to_string()))?;
    let keys = match keying.role {
        Role::Initiator => DirectionKeys { inbound: keys.responder, outbound: keys.initiator },
        Role::Responder => DirectionKeys { inbound: keys.initiator, outbound: keys.responder },
    };
    let policy = match installation {
        Installation::New => cx.next_policy_id(),
        Installation::StandBy(policy) => policy,
    };
    let prepared = prepare(cx, proof, config, agreed, keys, carriage, policy)?;
    let mut child = prepared.install(cx, installation);
    child.confirmation = match keying.role {
        Role::Initiator => Confirmation::Known,
        Role::Responder => Confirmation::Awaited,
    };
    Ok(child)
}
