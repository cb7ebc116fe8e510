//! The traffic that one SA was negotiated for, asked about once a packet (RFC 4301 §5.2).
//!
//! Most SAs have one pair of selectors, or one for each family, and asking each is fastest. A peer may negotiate
//! thousands (each of its networks with each of ours); those are looked up as policies are.

use sa::{Direction, PolicyId, SelectorPair};
use wire::ip::{Flow, IcmpError, IcmpFault, Packet, Part, protocol};

use crate::DropReason;
use crate::ends::{Ends, seen_from};
use crate::hash_pages::Seed;
use crate::inbound::Content;
use crate::pairs::Pairs;
use crate::selector_index::{Candidate, Rank, SelectorIndex};

#[derive(Debug)]
pub(crate) enum Selectors {
    Few(Pairs),
    Many(Box<Many>),
}

#[derive(Debug)]
pub(crate) struct Many {
    pairs: Pairs,
    index: SelectorIndex,
}

impl Selectors {
    pub(crate) fn new(pairs: &[SelectorPair], direction: Direction, seed: Seed) -> Selectors {
        let pairs = Pairs::new(pairs.iter().map(|pair| seen_from(direction, pair)));
        if pairs.len() <= FEW {
            return Selectors::Few(pairs);
        }
        let mut index = SelectorIndex::new(seed);
        for (pair, selectors) in (0..).zip(pairs.iter()) {
            index.insert(&selectors, Candidate { rank: ONE_RANK, pair, policy: 0 });
        }
        Selectors::Many(Box::new(Many { pairs, index }))
    }

    /// Tells whether some pair selects the packet.
    pub(crate) fn select(&self, ends: &Ends) -> bool {
        match self {
            Selectors::Few(pairs) => pairs.select(ends),
            Selectors::Many(many) => many.select(ends),
        }
    }

    /// Checks a packet that arrived through the SA, and gives its own length and what it is.
    pub(crate) fn admit(&self, bytes: &[u8]) -> Result<(usize, Content), DropReason> {
        let packet = Packet::new(bytes).map_err(|_| DropReason::MalformedInner)?;
        let flow = Flow::of_packet(&packet).map_err(|_| DropReason::MalformedInner)?;
        let ends = Ends::inbound(&flow);
        let part = Part::of(&packet).map_err(|_| DropReason::MalformedInner)?;
        let content = if part.is_some() && !self.select(&ends.without_ports()) {
            // What no port could make right takes nobody's memory.
            if !self.pairs().select_some_ports(&ends) {
                return Err(DropReason::Selectors);
            }
            Content::Fragment
        } else if part.is_some_and(|part| reaches_into_header(&part)) {
            return Err(DropReason::TinyFragment);
        } else if self.select(&ends) || self.select_error(bytes, &flow) {
            Content::Packet
        } else {
            return Err(DropReason::Selectors);
        };
        Ok((packet.total_length(), content))
    }

    /// Tells whether a packet that arrived is an ICMP error about one that we sent through the SA's counterpart. Whoever
    /// reports it may be a router that no selector knows; what counts is the packet that it quotes (RFC 4301 §6.2).
    fn select_error(&self, bytes: &[u8], flow: &Flow) -> bool {
        quoted_by_error(bytes, flow).is_some_and(|quoted| self.select(&Ends::outbound(&quoted)))
    }

    /// Tells whether some pair selects every packet that `other` selects.
    pub(crate) fn cover(&self, other: &SelectorPair) -> bool {
        self.pairs().cover(other)
    }

    fn pairs(&self) -> &Pairs {
        match self {
            Selectors::Few(pairs) => pairs,
            Selectors::Many(many) => &many.pairs,
        }
    }
}

impl Many {
    fn select(&self, ends: &Ends) -> bool {
        self.index.first(ends, |candidate| self.pairs.nth_selects(candidate.pair as usize, ends)).is_some()
    }
}

/// Tells whether a later fragment begins where a TCP header has not ended: it could write over the flags that somebody
/// looked at in the first one (RFC 4301 §7.2, RFC 3128).
fn reaches_into_header(part: &Part) -> bool {
    part.protocol == protocol::TCP && (1..LEAST_LATER_OFFSET).contains(&part.offset)
}

/// Gives the flow of the packet that an ICMP error is about, if it goes to that packet's sender. Redirects and source
/// quenches would make hosts and gateways behave otherwise, and need a policy of their own.
pub(crate) fn quoted_by_error(bytes: &[u8], flow: &Flow) -> Option<Flow> {
    if !matches!(flow.protocol, protocol::ICMP | protocol::ICMPV6) {
        return None;
    }
    let error = IcmpError::of(bytes).ok()??;
    match error.fault {
        IcmpFault::TooBig { .. } | IcmpFault::Undelivered => {}
        IcmpFault::Advice => return None,
    }
    let quoted = error.quoted_flow().ok()?;
    (quoted.source == flow.destination).then_some(quoted)
}

/// Octets of a TCP header through its flags, in whole units of a fragment's offset.
const LEAST_LATER_OFFSET: usize = 16;

/// Up to so many pairs are asked one after the other: about what a look-up costs.
const FEW: usize = 4;

/// The pairs of an SA have no order among them.
const ONE_RANK: Rank = Rank { priority: 0, id: PolicyId(0) };
