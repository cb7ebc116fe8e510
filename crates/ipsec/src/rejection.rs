//! Orders that cannot be carried out, and what is looked at to find them.

use sa::{Encapsulation, Outer, PolicyId, Protection, Protocol, SaId, SaSpec, SelectorPair, Spi};
use thiserror::Error;

use crate::limits;

/// Why an order was not carried out; the databases are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// There is no such SA.
    #[error("there is no {:?} SA {} to {}", .0.direction, .0.spi, .0.destination)]
    UnknownSa(SaId),
    /// There is no such policy.
    #[error("there is no policy {0}")]
    UnknownPolicy(PolicyId),
    /// Another SA has the same name.
    #[error("there is already an {:?} SA {} to {}", .0.direction, .0.spi, .0.destination)]
    DuplicateSa(SaId),
    /// The SPI is one that IANA keeps (RFC 4303 §2.1).
    #[error("the SPI {0} is reserved")]
    ReservedSpi(Spi),
    /// ESP encrypts, AH does not.
    #[error("{0} cannot protect with {1}")]
    Protection(Protocol, Protection),
    /// AH covers the IP header, which UDP encapsulation is there to let a NAT change.
    #[error("AH cannot be encapsulated in UDP")]
    Encapsulation,
    /// The outer addresses are of two families.
    #[error("the outer addresses {} and {} are of different families", .0.local.ip(), .0.remote.ip())]
    OuterAddresses(Outer),
    /// A BEET SA selects more than one pair of addresses, and none of them is sent.
    #[error("the selectors of a BEET SA must name one address at each end")]
    InnerAddresses,
    /// The SA that is to carry this one is none that can.
    #[error("{:?} SA {} is no AH SA in transport mode that could carry another", .0.direction, .0.spi)]
    Wrapper(SaId),
    /// The key does not suit the algorithms.
    #[error("the keys cannot be used: {0}")]
    Keys(crypto::Error),
    /// The anti-replay window is larger than [`limits::REPLAY_WINDOW`].
    #[error("a replay window of {0} packets is more than {most}", most = limits::REPLAY_WINDOW)]
    ReplayWindow(u32),
    /// An SA or a policy selects nothing.
    #[error("no traffic selector is given")]
    NoSelectors,
    /// There are more selector pairs than [`limits::SELECTOR_PAIRS`].
    #[error("{0} pairs of traffic selectors are more than {most}", most = limits::SELECTOR_PAIRS)]
    TooManySelectors(usize),
    /// The two ends of a selector pair are of different families.
    #[error("the traffic selectors {0} mix address families")]
    MixedFamilies(SelectorPair),
}

/// Looks whether an SA can be carried out at all.
pub(crate) fn check_sa(spec: &SaSpec) -> Result<(), Rejection> {
    let suits = matches!(
        (spec.protocol, spec.protection),
        (Protocol::Esp, Protection::Combined(_) | Protection::Separate { .. })
            | (Protocol::Ah, Protection::Authenticated(_))
    );
    // Outbound, the wrapper is looked for as well.
    let wrapper = spec.handling.wrapped_by;
    let carries = |id: &SaId| id.protocol == Protocol::Ah && id.direction == spec.direction;
    if !suits {
        Err(Rejection::Protection(spec.protocol, spec.protection))
    } else if spec.spi < Spi::LOWEST {
        Err(Rejection::ReservedSpi(spec.spi))
    } else if spec.replay_window > limits::REPLAY_WINDOW {
        Err(Rejection::ReplayWindow(spec.replay_window))
    } else if let Some(wrapper) = wrapper.filter(|id| !carries(id) || spec.protocol == Protocol::Ah) {
        Err(Rejection::Wrapper(wrapper))
    } else {
        check_outer(spec.protocol, wrapper, spec.outer)?;
        check_selectors(&spec.selectors)
    }
}

/// Looks whether an SA can be between these addresses.
pub(crate) fn check_outer(protocol: Protocol, wrapper: Option<SaId>, outer: Outer) -> Result<(), Rejection> {
    let authenticated = protocol == Protocol::Ah || wrapper.is_some();
    if authenticated && outer.encapsulation != Encapsulation::None {
        Err(Rejection::Encapsulation)
    } else if outer.local.is_ipv4() != outer.remote.is_ipv4() {
        Err(Rejection::OuterAddresses(outer))
    } else {
        Ok(())
    }
}

/// Looks whether selectors can select anything.
pub(crate) fn check_selectors(pairs: &[SelectorPair]) -> Result<(), Rejection> {
    if pairs.is_empty() {
        Err(Rejection::NoSelectors)
    } else if pairs.len() > limits::SELECTOR_PAIRS {
        Err(Rejection::TooManySelectors(pairs.len()))
    } else {
        match pairs.iter().find(|pair| pair.local.family() != pair.remote.family()) {
            Some(pair) => Err(Rejection::MixedFamilies(*pair)),
            None => Ok(()),
        }
    }
}
