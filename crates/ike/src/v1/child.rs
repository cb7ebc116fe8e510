//! What a quick mode is about: how a Child SA is offered and answered, and how it is prepared once both ends agree.

use std::net::IpAddr;
use std::sync::Arc;

use crypto::{KeyExchangePrivate, Secret};
use sa::transform::Group;
use sa::{
    ChildSuite, Encapsulation, Mode, OriginalAddresses, PolicyId, Proposal, ProposalProtocol, Spi,
    TrafficSelector,
};
use wire::registry::IdType;
use wire::registry::v1::{EncapsulationMode, ProtocolId};
use wire::v1::{Identification, OriginalAddress, Payload};

use super::contents::Contents;
use super::expiry::{Expiry, KILOBYTE};
use super::ike_sa::IkeSa;
use super::informational::Subject;
use super::keys::KeymatSource;
use super::negotiation::{self, ChosenPhase2, Phase2Terms, Spis, Wanted};
use super::quick_mode::Purpose;
use super::{nat, traffic};
use crate::child::{
    self, AH_MEETS_NAT, Agreed, Compression, DirectionKeys, Heritage, Padding, Prepared, Wrapper,
};
use crate::context::Context;
use crate::error::{Error, Misbehaviour};
use crate::exchange::Nonces;
use crate::io::Path;
use crate::nat_detection::Behind;
use crate::selectors::{list, resolve};
use crate::status::ChildState;
use crate::{ChildConfig, Compress, Role, SelectorTemplate};

/// What we offered.
pub(crate) struct Offer {
    pub(crate) config: Arc<ChildConfig>,
    pub(crate) ours: Spis,
    pub(crate) terms: Phase2Terms,
    pub(crate) local: TrafficSelector,
    pub(crate) remote: TrafficSelector,
    /// IDci and IDcr.
    pub(crate) identifications: [Identification; 2],
}

pub(crate) type OwnKey = Option<Box<dyn KeyExchangePrivate>>;

pub(crate) fn prepare(sa: &IkeSa, cx: &mut Context, purpose: &Purpose) -> Result<(Offer, OwnKey), Error> {
    let (config, local, remote) = match purpose {
        Purpose::New(request) => {
            let config = Arc::clone(&request.config);
            let local = resolve(&config.local_selectors, sa.own_address()).first().copied();
            let remote = resolve(&config.remote_selectors, sa.peer_address()).first().copied();
            (config, local, remote)
        }
        Purpose::Replace(id) => {
            let old = sa.children.get(id).filter(|old| old.state == ChildState::Installed);
            let old =
                old.ok_or_else(|| Error::Local(format!("Child SA {id} is gone or being replaced already")))?;
            let agreed = &old.agreed;
            (Arc::clone(&old.config), agreed.local.first().copied(), agreed.remote.first().copied())
        }
    };
    let (Some(local), Some(remote)) = (local, remote) else {
        return Err(Error::Local(format!("child {} has no traffic selectors", config.name)));
    };
    let (Some(ours), Some(theirs)) = (traffic::to_wire(&local), traffic::to_wire(&remote)) else {
        let sentence =
            format!("IKEv1 cannot say the selectors {local} <-> {remote}: it knows no port ranges");
        return Err(Error::Local(sentence));
    };
    let is_ah = |proposal: &Proposal| proposal.protocol == ProposalProtocol::Ah;
    check_nat(sa, !config.wrapping.is_empty() || config.proposals.iter().all(is_ah))?;
    let group = negotiation::first_group(&config.proposals);
    let terms = Phase2Terms { mode: mode_of(sa, &config)?, group, expiry: expiry_of(&config) };
    let private = match group {
        None => None,
        Some(group) => Some(group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?),
    };
    let spis = own_spis(cx, !config.wrapping.is_empty(), config.compress);
    let offer = Offer { config, ours: spis, terms, local, remote, identifications: [ours, theirs] };
    if offer.security_association().is_empty() {
        let sentence = format!("child {} offers nothing that IKEv1 has a number for", offer.config.name);
        return Err(Error::Local(sentence));
    }
    Ok((offer, private))
}

impl Offer {
    /// Lays it out.
    pub(crate) fn security_association(&self) -> Vec<wire::v1::Proposal> {
        negotiation::offer_phase_2(Wanted::from(&*self.config), self.ours, self.terms)
    }

    /// Gives the protocol of its first proposal.
    pub(crate) fn protocol(&self) -> ProtocolId {
        self.security_association().first().map_or(ProtocolId::ESP, |first| first.protocol)
    }

    /// Tells whether an SPI is one of ours in it.
    pub(crate) fn names(&self, spi: Spi) -> bool {
        self.ours.main == spi || self.ours.wrapper == Some(spi)
    }

    pub(crate) fn in_words(&self) -> String {
        let proposals = Wanted::from(&*self.config).in_words();
        format!("we offered {proposals} for {} <-> {}", self.local, self.remote)
    }
}

/// Draws our names for what a quick mode makes.
pub(crate) fn own_spis(cx: &mut Context, has_wrapper: bool, compress: Compress) -> Spis {
    Spis {
        main: cx.next_spi(),
        wrapper: has_wrapper.then(|| cx.next_spi()),
        compression: match compress {
            Compress::No => None,
            Compress::Deflate => Some(cx.next_cpi()),
        },
    }
}

/// AH protects the very addresses that a NAT changes.
pub(crate) fn check_nat(sa: &IkeSa, has_ah: bool) -> Result<(), Error> {
    let is_translated = sa.channel.nat.local == Behind::Nat || sa.channel.nat.remote == Behind::Nat;
    if has_ah && is_translated {
        return Err(Error::Unsuitable(AH_MEETS_NAT.to_owned()));
    }
    Ok(())
}

/// Gives how long we let a child live, and what we let it carry.
pub(crate) fn expiry_of(config: &ChildConfig) -> Expiry {
    Expiry::new(config.lifetimes.expire, config.volume.hard_bytes)
}

/// The traffic that the peer wants, as we see it.
pub(crate) struct Wish {
    pub(crate) local: TrafficSelector,
    pub(crate) remote: TrafficSelector,
    /// IDci and IDcr, to be returned as they came.
    pub(crate) identifications: Vec<Identification>,
}

impl Wish {
    pub(crate) fn read(sa: &IkeSa, contents: &Contents<'_>) -> Result<Wish, Error> {
        let path = sa.channel.path;
        let host = |address: IpAddr| TrafficSelector::all_of(sa::AddressRange::host(address));
        let Some((initiator, responder)) = contents.traffic()? else {
            // RFC 2409 §5.5: the traffic is that of the two ends themselves.
            let (local, remote) = (host(path.local.ip()), host(path.remote.ip()));
            return Ok(Wish { local, remote, identifications: Vec::new() });
        };
        let no_traffic = Misbehaviour::Other("its quick mode names traffic that is none");
        let mut remote = traffic::from_wire(initiator).ok_or(no_traffic.clone())?;
        let mut local = traffic::from_wire(responder).ok_or(no_traffic)?;
        if wants_transport(contents) && sa.channel.encapsulation == Encapsulation::Udp {
            // Each end names addresses as it sees them; the packets will have those that we see.
            remote.addresses = sa::AddressRange::host(path.remote.ip());
            local.addresses = sa::AddressRange::host(path.local.ip());
        }
        Ok(Wish { local, remote, identifications: vec![initiator.clone(), responder.clone()] })
    }
}

/// Chooses among a connection's children the first that allows the wish. It cannot be narrowed in IKEv1.
pub(crate) fn choose(
    sa: &IkeSa,
    contents: &Contents<'_>,
    local: TrafficSelector,
    remote: TrafficSelector,
) -> Result<(Arc<ChildConfig>, EncapsulationMode, ChosenPhase2), Error> {
    let (offer, _) = contents.security_association()?;
    let configured = |which: fn(&ChildConfig) -> &Vec<SelectorTemplate>, own: IpAddr| {
        let children = sa.connection.children.iter();
        list(&children.flat_map(|child| resolve(which(child), own)).collect::<Vec<_>>())
    };
    let mut fault = Error::SelectorsDoNotMeet {
        theirs_local: local.to_string(),
        theirs_remote: remote.to_string(),
        ours_local: configured(|child| &child.local_selectors, sa.own_address()),
        ours_remote: configured(|child| &child.remote_selectors, sa.peer_address()),
    };
    for config in &sa.connection.children {
        let allows = |templates: &[SelectorTemplate], own, wanted: &TrafficSelector| {
            resolve(templates, own).iter().any(|allowed| allowed.covers(wanted))
        };
        if !allows(&config.local_selectors, sa.own_address(), &local)
            || !allows(&config.remote_selectors, sa.peer_address(), &remote)
        {
            continue;
        }
        let mode = mode_of(sa, config)?;
        match negotiation::choose_phase_2(Wanted::from(&**config), offer, mode) {
            Ok(chosen) => {
                check_nat(sa, chosen.has_ah())?;
                return Ok((Arc::clone(config), mode, chosen));
            }
            Err(disagreement) => fault = disagreement.into(),
        }
    }
    Err(fault)
}

pub(crate) type AnsweredKey = (Option<Vec<u8>>, Option<Secret<Vec<u8>>>);

pub(crate) fn answer_key_exchange(
    group: Option<&'static Group>,
    contents: &Contents<'_>,
) -> Result<AnsweredKey, Error> {
    let Some(group) = group else {
        return match contents.optional_key_exchange()? {
            None => Ok((None, None)),
            Some(_) => Err(Misbehaviour::Other("it sent a public value and named no group").into()),
        };
    };
    let (public, shared) = (group.key_exchange.respond(contents.key_exchange()?))
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    Ok((Some(public), Some(shared)))
}

/// Gives the encapsulation mode of a child in this ISAKMP SA.
pub(crate) fn mode_of(sa: &IkeSa, config: &ChildConfig) -> Result<EncapsulationMode, Error> {
    let channel = &sa.channel;
    nat::encapsulation_mode(config.mode, channel.encapsulation, channel.traversal).ok_or_else(|| {
        Error::Local(format!("child {} wants BEET mode, which IKEv1 does not have", config.name))
    })
}

pub(crate) fn wants_transport(contents: &Contents<'_>) -> bool {
    contents.security_association().is_ok_and(|(offer, _)| negotiation::offers_transport(offer))
}

pub(crate) fn is_translated(sa: &IkeSa, mode: EncapsulationMode) -> bool {
    let is_transport =
        matches!(mode, EncapsulationMode::UDP_TRANSPORT | EncapsulationMode::UDP_TRANSPORT_DRAFT);
    is_transport && (sa.channel.nat.local == Behind::Nat || sa.channel.nat.remote == Behind::Nat)
}

/// Adds NAT-OA payloads where transport mode goes in UDP (RFC 3947 §5.2): the initiator's address, then the responder's,
/// both as the sender sees them.
pub(crate) fn with_original_addresses(
    sa: &IkeSa,
    role: Role,
    mode: EncapsulationMode,
    mut payloads: Vec<Payload>,
) -> Vec<Payload> {
    let Path { local, remote } = sa.channel.path;
    let is_wanted = matches!(mode, EncapsulationMode::UDP_TRANSPORT | EncapsulationMode::UDP_TRANSPORT_DRAFT);
    if let Some(traversal) = sa.channel.traversal.filter(|_| is_wanted) {
        let (initiator, responder) = match role {
            Role::Initiator => (local, remote),
            Role::Responder => (remote, local),
        };
        payloads.extend(traversal.original_addresses(initiator.ip(), responder.ip()));
    }
    payloads
}

/// Reads the addresses that the peer's checksums cover, where a NAT changes them.
pub(crate) fn original_addresses(
    sa: &IkeSa,
    our_role: Role,
    mode: EncapsulationMode,
    contents: &Contents<'_>,
) -> Option<OriginalAddresses> {
    if !is_translated(sa, mode) {
        return None;
    }
    let mut stated = contents.payloads().filter_map(|payload| match payload {
        Payload::NatOriginalAddress(_, address) => read_address(address),
        _ => None,
    });
    let (initiator, responder) = (stated.next()?, stated.next()?);
    Some(match our_role {
        Role::Initiator => OriginalAddresses { local: initiator, remote: responder },
        Role::Responder => OriginalAddresses { local: responder, remote: initiator },
    })
}

pub(crate) fn read_address(address: &OriginalAddress) -> Option<IpAddr> {
    let octets = address.data.as_slice();
    match address.id_type {
        IdType::IPV4_ADDR => <[u8; 4]>::try_from(octets).ok().map(|octets| IpAddr::V4(octets.into())),
        IdType::IPV6_ADDR => <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::V6(octets.into())),
        _ => None,
    }
}

pub(crate) fn message_payloads(
    proposals: Vec<wire::v1::Proposal>,
    nonce: &[u8],
    public: Option<Vec<u8>>,
    identifications: &[Identification; 2],
) -> Vec<Payload> {
    let mut payloads = vec![Payload::SecurityAssociation(proposals), Payload::Nonce(nonce.to_vec())];
    payloads.extend(public.map(Payload::KeyExchange));
    payloads.extend(identifications.iter().cloned().map(Payload::Identification));
    payloads
}

/// What a new Child SA is besides its algorithms.
pub(crate) struct Terms<'a> {
    pub(crate) config: &'a Arc<ChildConfig>,
    pub(crate) ours: Spis,
    /// What the peer said of its lifetime besides.
    pub(crate) expiry: Expiry,
    pub(crate) mode: Mode,
    pub(crate) local: TrafficSelector,
    pub(crate) remote: TrafficSelector,
    pub(crate) original: Option<OriginalAddresses>,
    pub(crate) policy: PolicyId,
}

/// Derives the keys of a new Child SA, each SA's by its receiver's SPI, and prepares it.
pub(crate) fn secure(
    sa: &IkeSa,
    cx: &mut Context,
    chosen: &ChosenPhase2,
    terms: Terms<'_>,
    shared: Option<&Secret<Vec<u8>>>,
    nonces: Nonces<'_>,
) -> Result<Prepared, Error> {
    let Terms { config, ours, expiry, mode, local, remote, original, policy } = terms;
    let source = KeymatSource { prf: sa.channel.prf(), skeyid_d: &sa.channel.skeyid_d, shared, nonces };
    let keys_of = |suite: &ChildSuite, ours, theirs| {
        let keymat = |spi| {
            let protocol = negotiation::protocol_id(suite.protocol);
            Arc::new(source.keymat(protocol, spi, suite.protection.key_len()))
        };
        DirectionKeys { inbound: keymat(ours), outbound: keymat(theirs) }
    };
    let keys = keys_of(&chosen.suite, ours.main, chosen.peer.main);
    let wrapper = match (chosen.wrapper, ours.wrapper, chosen.peer.wrapper) {
        (Some(suite), Some(our_spi), Some(peer_spi)) => {
            Some(Wrapper { suite, our_spi, peer_spi, keys: keys_of(&suite, our_spi, peer_spi) })
        }
        _ => None,
    };
    let compression = ours.compression.zip(chosen.peer.compression);
    let agreed = Agreed {
        suite: chosen.suite,
        our_spi: ours.main,
        peer_spi: chosen.peer.main,
        wrapper,
        mode,
        compression: compression.map(|(ours, theirs)| Compression { ours, theirs }),
        // IKEv1 has no word for it.
        padding: Padding::Refused,
        original,
        local: vec![local],
        remote: vec![remote],
        heritage: Heritage::ToNegotiate,
    };
    let prepared = child::prepare(cx, &sa.peer, config, agreed, keys, sa.carriage(), policy)?;
    let expiry = chosen.expiry.limited_to(expiry);
    let octets = expiry.kilobytes.map(|kilobytes| kilobytes.saturating_mul(KILOBYTE));
    Ok(prepared.limited_to(cx, expiry.time, octets))
}

/// Names a quick mode by its first proposal.
pub(crate) fn subject_of(contents: &Contents<'_>) -> Option<Subject> {
    let (offer, _) = contents.security_association().ok()?;
    let first = offer.first()?;
    let octets = <[u8; 4]>::try_from(first.spi.as_slice()).ok()?;
    Some(Subject { protocol: first.protocol, spi: Spi(u32::from_be_bytes(octets)) })
}

/// Reads how long the responder keeps the Child SA, if it says so (RFC 2407 §4.6.3.1).
pub(crate) fn responder_expiry(contents: &Contents<'_>) -> Expiry {
    let said = contents.notifications().filter(|said| said.protocol != ProtocolId::ISAKMP);
    said.filter_map(Expiry::of_responder).fold(Expiry::default(), Expiry::limited_to)
}
