//! What workers read: the Security Policy Database and the SAs, as they were at one moment (RFC 4301 §4.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use sa::{DeviceId, Direction, PolicyAction, PolicyId, PolicySpec, Protocol, SaId, Spi};
use wire::esp;
use wire::ip::Flow;

use crate::clients::Hosts;
use crate::ends::{Ends, seen_from};
use crate::inbound::{Content, Opened};
use crate::pairs::Pairs;
use crate::selector_index::{Rank, SelectorIndex};
use crate::selectors::quoted_by_error;
use crate::shared_ports::{Client, SharedPorts};
use crate::slots::Slots;
use crate::spi::slot_of;
use crate::{DropCounters, DropReason, Envelope, InboundSa, OutboundSa, PacketBuf};

/// An immutable snapshot of the databases; a worker takes one for each batch of packets.
///
/// Keys, counters and windows of the SAs are shared between snapshots: what is sealed with an old snapshot counts in the
/// new one.
#[derive(Clone)]
pub struct Tables {
    pub(crate) policies: Slots<Policy>,
    /// Policies of the common device, and those of each other one.
    pub(crate) index: SelectorIndex,
    pub(crate) device_indexes: Arc<BTreeMap<DeviceId, SelectorIndex>>,
    /// Inbound SAs by the slot that their SPI names.
    pub(crate) inbound: Slots<InboundSa>,
    /// Inbound SAs whose slot another one has, which can only be if someone else chose the SPI.
    pub(crate) displaced: Arc<BTreeMap<Spi, InboundSa>>,
    /// Who is behind NATs with several clients in transport mode.
    pub(crate) shared: Arc<BTreeMap<Hosts, Sharing>>,
    pub(crate) drops: Arc<DropCounters>,
}

/// A policy as packets meet it.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) rank: Rank,
    pub(crate) device: Option<DeviceId>,
    /// As packets that leave meet them.
    pub(crate) pairs: Pairs,
    pub(crate) action: PolicyAction,
    pub(crate) outbound: Option<OutboundSa>,
    pub(crate) fit: Fit,
}

/// How much of a policy its outbound SA was negotiated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// All of it.
    Whole,
    /// A part: each packet has to be asked about.
    Part,
}

/// The policies of the clients behind one NAT, by their places in the table of policies.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    pub(crate) ports: Arc<SharedPorts>,
    pub(crate) first: Vec<u32>,
    pub(crate) clients: BTreeMap<Client, Vec<u32>>,
}

/// A packet that was opened, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// The SA whose traffic the packet is.
    pub sa: &'a InboundSa,
    /// What that SA has to say of it.
    pub opened: Opened,
    /// The SA that carried it, where two are bundled, and what that one has to say.
    pub wrapper: Option<(&'a InboundSa, Opened)>,
}

/// A packet that must be thrown away, and why.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Why; the SA that refused it has counted it.
    pub reason: DropReason,
    /// The SA that carried it, where two are bundled, and what that one has to say: it has opened its own part.
    pub wrapper: Option<(&'a InboundSa, Opened)>,
}

/// What is to become of a packet that leaves.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It passes unprotected.
    Bypass,
    /// It is dropped.
    Discard(DropReason),
    /// It goes through this SA.
    Protect(&'a OutboundSa),
    /// No policy selects it: whether it is dropped (RFC 4301 §5.1) or passes is for its carrier to say.
    Unselected,
    /// It wants an SA that this policy does not have yet ([`SaEvent::Acquire`](sa::SaEvent::Acquire)).
    Acquire(PolicyId),
}

impl Tables {
    /// Decides on a packet that leaves, by the first policy that selects its flow (RFC 4301 §5.1) among those of the device
    /// that it came from; `None` is the common one.
    ///
    /// The cost does not depend on the number of policies; see `selector_index` for what it depends on.
    pub fn classify(&self, flow: &Flow, device: Option<DeviceId>) -> Verdict<'_> {
        let ends = Ends::outbound(flow);
        match self.shared_policy(&ends, device) {
            Some((policy, ends)) => verdict(Some(policy), &ends),
            None => verdict(self.policy(&ends, device), &ends),
        }
    }

    /// Decides on a packet that leaves, `flow` being its flow. An ICMP error that no policy selects goes the way of the
    /// answers to the packet that it is about (RFC 4301 §6.2): through their SA, and nowhere while there is none, since it
    /// quotes what came protected.
    pub fn classify_packet(&self, packet: &[u8], flow: &Flow, device: Option<DeviceId>) -> Verdict<'_> {
        let ends = Ends::outbound(flow);
        if let Some((policy, ends)) = self.shared_policy(&ends, device) {
            return verdict(Some(policy), &ends);
        }
        let policy = self.policy(&ends, device);
        if policy.is_none()
            && let Some(quoted) = quoted_by_error(packet, flow)
        {
            return match self.classify(&quoted.reversed(), device) {
                // No SA is negotiated for an error.
                Verdict::Acquire(_) => Verdict::Discard(DropReason::NoSa),
                Verdict::Bypass | Verdict::Unselected => Verdict::Unselected,
                verdict @ (Verdict::Protect(_) | Verdict::Discard(_)) => verdict,
            };
        }
        verdict(policy, &ends)
    }

    /// Tells whether some policy of a device looks at ports: then a fragment is classified better once it is whole.
    pub fn looks_at_ports(&self, device: Option<DeviceId>) -> bool {
        !self.shared.is_empty() || self.index_of(device).is_some_and(SelectorIndex::looks_at_ports)
    }

    /// Finds the SA of a packet that arrived. Its SPI is an index: two array accesses find it among any number.
    ///
    /// # Errors
    /// No SA has the SPI, or the one that has it is of the other protocol.
    pub fn inbound(&self, protocol: Protocol, spi: Spi) -> Result<&InboundSa, DropReason> {
        let sa = self.inbound_of(spi).ok_or(DropReason::UnknownSpi)?;
        if sa.id().protocol == protocol { Ok(sa) } else { Err(DropReason::OtherProtocol) }
    }

    /// Turns what `sa` received into the inner IP packet, in place, through the SA that is bundled with it if there is one.
    ///
    /// # Errors
    /// As for [`InboundSa::open`]; of bundled SAs either may refuse the packet.
    pub fn open<'a>(
        &'a self,
        sa: &'a InboundSa,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
    ) -> Result<Admitted<'a>, Refused<'a>> {
        let opened = sa.open(packet, envelope).map_err(|reason| Refused { reason, wrapper: None })?;
        match opened.content {
            Content::Packet | Content::Fragment => Ok(Admitted { sa, opened, wrapper: None }),
            Content::Esp => {
                let wrapper = Some((sa, opened));
                match self.open_carried(sa.id(), packet, envelope) {
                    Ok((sa, opened)) => Ok(Admitted { sa, opened, wrapper }),
                    Err(reason) => Err(Refused { reason, wrapper }),
                }
            }
        }
    }

    /// Gives the counters of dropped packets, which all snapshots share; whoever drops a packet counts it here.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// Opens the ESP packet that came inside AH.
    fn open_carried(
        &self,
        wrapper: SaId,
        packet: &mut PacketBuf,
        envelope: &Envelope<'_>,
    ) -> Result<(&InboundSa, Opened), DropReason> {
        let header = esp::Header::decode(packet.as_slice()).map_err(|_| DropReason::MalformedEsp)?;
        let sa = self.inbound(Protocol::Esp, header.spi)?;
        Ok((sa, sa.open_inside(packet, envelope, Some(wrapper))?))
    }

    /// Finds an inbound SA by its SPI.
    pub(crate) fn inbound_of(&self, spi: Spi) -> Option<&InboundSa> {
        match self.inbound.at(slot_of(spi) as usize) {
            Some(sa) if sa.spi() == spi => Some(sa),
            Some(_) | None => self.displaced.get(&spi),
        }
    }

    pub(crate) fn all_inbound(&self) -> impl Iterator<Item = &InboundSa> {
        self.inbound.iter().chain(self.displaced.values())
    }

    fn policy(&self, ends: &Ends, device: Option<DeviceId>) -> Option<&Policy> {
        let found = self.index_of(device)?.first(ends, |candidate| {
            self.policies
                .at(candidate.policy as usize)
                .is_some_and(|policy| policy.pairs.nth_selects(candidate.pair as usize, ends))
        })?;
        self.policies.at(found.policy as usize)
    }

    /// Finds the policy of the client to whom a packet goes, where there are several behind its address; with the packet's
    /// ends as that client has them. One that is for nobody else is for the first of them, if a policy of that one's
    /// selects it.
    fn shared_policy(&self, ends: &Ends, device: Option<DeviceId>) -> Option<(&Policy, Ends)> {
        if self.shared.is_empty() {
            return None;
        }
        let sharing = self.shared.get(&(ends.local, ends.remote))?;
        let (policies, ends) = match ends.remote_port.and_then(|port| sharing.ports.flow_of(port)) {
            Some((client, port)) => {
                (sharing.clients.get(&client)?, Ends { remote_port: Some(port), ..*ends })
            }
            None => (&sharing.first, *ends),
        };
        let policies = policies.iter().filter_map(|slot| self.policies.at(*slot as usize));
        let mut selecting = policies.filter(|policy| {
            policy.device == device && policy.pairs.iter().any(|pair| ends.are_selected_by(&pair))
        });
        selecting.next().map(|policy| (policy, ends))
    }

    fn index_of(&self, device: Option<DeviceId>) -> Option<&SelectorIndex> {
        match device {
            None => Some(&self.index),
            Some(device) => self.device_indexes.get(&device),
        }
    }
}

/// Decides by the policy that selects a packet, if one does.
fn verdict<'a>(policy: Option<&'a Policy>, ends: &Ends) -> Verdict<'a> {
    let Some(policy) = policy else { return Verdict::Unselected };
    match (policy.action, &policy.outbound) {
        (PolicyAction::Bypass, _) => Verdict::Bypass,
        (PolicyAction::Discard, _) => Verdict::Discard(DropReason::Policy),
        (PolicyAction::Protect | PolicyAction::Trap, Some(sa)) => {
            if policy.fit == Fit::Whole || sa.selects(ends) {
                Verdict::Protect(sa)
            } else {
                // A peer that narrowed would drop it; and to ask again for what was just refused helps nobody.
                Verdict::Discard(DropReason::OutsideSa)
            }
        }
        (PolicyAction::Protect, None) => Verdict::Discard(DropReason::NoSa),
        (PolicyAction::Trap, None) => Verdict::Acquire(policy.rank.id),
    }
}

impl Policy {
    pub(crate) fn new(spec: &PolicySpec, outbound: Option<OutboundSa>) -> Policy {
        let policy = Policy {
            rank: Rank { priority: spec.priority, id: spec.id },
            device: spec.device,
            pairs: Pairs::new(spec.selectors.iter().map(|pair| seen_from(Direction::Outbound, pair))),
            action: spec.action,
            outbound: None,
            fit: Fit::Part,
        };
        policy.with(outbound)
    }

    /// Gives the policy with another outbound SA.
    pub(crate) fn with(&self, outbound: Option<OutboundSa>) -> Policy {
        let whole = |sa: &OutboundSa| self.pairs.iter().all(|pair| sa.covers(&pair));
        let fit = if outbound.as_ref().is_some_and(whole) { Fit::Whole } else { Fit::Part };
        Policy { outbound, fit, ..self.clone() }
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}
