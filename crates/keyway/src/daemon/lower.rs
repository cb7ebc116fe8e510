//! From what is configured to what the engine takes: the one place where the two meet.
//!
//! Names are looked up on the way. A name that does not resolve is no fault of the configuration: the connection is
//! loaded, nobody can be its peer, and it is looked up again when the connection is to come up.

use std::sync::Arc;

use config::{AddressSpec, Selector, Treatment};
use crypto::Random;
use ike::{ChildConfig, PeerAddresses, SelectorTemplate, SharedSecret};
use sa::{AddressRange, Lifetime, Mode};
use vici::Span;

use super::loaded::{LoadedConnection, LoadedSecret, Source};
use super::resolve;

/// Lowers a connection; sentences about names that did not resolve go to `complain`.
pub(crate) async fn connection(
    mut config: config::Connection,
    source: Source,
    random: &mut dyn Random,
    mut complain: impl FnMut(String),
) -> LoadedConnection {
    // Where a line stood is of no more use, and moving it is no change.
    config.span = Span::NOWHERE;
    config.children.iter_mut().for_each(|child| child.span = Span::NOWHERE);
    let local = addresses(&config.local_addresses, &mut complain).await;
    let remote = addresses(&config.remote_addresses, &mut complain).await;
    let engine = with_addresses(&config, local, remote, random);
    LoadedConnection { config: Arc::new(config), engine: Arc::new(engine), source }
}

/// Lowers a secret.
pub(crate) fn secret(config: config::SharedSecret, source: Source) -> LoadedSecret {
    let config::SharedSecret { name, owners, secret, span: _ } = config;
    LoadedSecret { secret: SharedSecret { name, owners, secret }, source }
}

/// Looks up what an end's addresses are now.
pub(crate) async fn addresses(specs: &[AddressSpec], complain: &mut impl FnMut(String)) -> PeerAddresses {
    let mut ranges = Vec::new();
    for spec in specs {
        match spec {
            AddressSpec::Any => return PeerAddresses::Any,
            AddressSpec::AnyOf(family) => ranges.push(AddressRange::any(*family)),
            AddressSpec::Host(address) => ranges.push(AddressRange::host(*address)),
            AddressSpec::Range(range) => ranges.push(*range),
            AddressSpec::Name(name) => match resolve::addresses_of(name).await {
                Ok(addresses) => ranges.extend(addresses.into_iter().map(AddressRange::host)),
                Err(sentence) => complain(sentence),
            },
        }
    }
    PeerAddresses::Ranges(ranges)
}

fn with_addresses(
    config: &config::Connection,
    local: PeerAddresses,
    remote: PeerAddresses,
    random: &mut dyn Random,
) -> ike::Connection {
    ike::Connection {
        name: config.name.clone(),
        local_addresses: local,
        remote_addresses: remote,
        local_identity: config.local_identity.clone(),
        remote_identity: config.remote_identity.clone(),
        authentication: match config.authentication {
            config::Authentication::PreSharedKey => ike::Authentication::PreSharedKey,
        },
        proposals: config.proposals.clone(),
        encap: match config.encap {
            config::Encap::WhenNat => ike::Encap::WhenNat,
            config::Encap::Always => ike::Encap::Always,
        },
        fragmentation: match config.fragmentation {
            config::Fragmentation::No => ike::Fragmentation::No,
            config::Fragmentation::Yes => ike::Fragmentation::Yes,
            config::Fragmentation::Accept => ike::Fragmentation::Accept,
        },
        unique: match config.unique {
            config::Unique::Never => ike::Unique::Never,
            config::Unique::No => ike::Unique::No,
            config::Unique::Keep => ike::Unique::Keep,
            config::Unique::Replace => ike::Unique::Replace,
        },
        keying_tries: config.keying_tries,
        liveness_delay: config.dpd_delay,
        lifetimes: lifetimes(config.lifetimes),
        children: config.children.iter().filter_map(|config| child(config, random)).map(Arc::new).collect(),
    }
}

/// Lowers a child that is protected; others are policies that the engine need not know.
fn child(config: &config::Child, random: &mut dyn Random) -> Option<ChildConfig> {
    let mode = match config.treatment {
        Treatment::Protect(mode @ (Mode::Tunnel | Mode::Transport)) => mode,
        Treatment::Pass | Treatment::Drop => return None,
    };
    Some(ChildConfig {
        name: config.name.clone(),
        local_selectors: config.local_selectors.iter().map(selector).collect(),
        remote_selectors: config.remote_selectors.iter().map(selector).collect(),
        proposals: config.proposals.clone(),
        mode,
        lifetimes: lifetimes(config.lifetimes),
        volume: Lifetime {
            soft_bytes: soft_limit(config.bytes, random),
            hard_bytes: unlimited_if_zero(config.bytes.life),
            soft_packets: soft_limit(config.packets, random),
            hard_packets: unlimited_if_zero(config.packets.life),
        },
        replay_window: config.replay_window,
        start_action: match config.start_action {
            config::StartAction::None => ike::StartAction::None,
            config::StartAction::Trap => ike::StartAction::Trap,
            // The trap is installed by a command of its own, as soon as the connection is loaded.
            config::StartAction::Start | config::StartAction::TrapAndStart => ike::StartAction::Start,
        },
        close_action: close_action(config.close_action),
        liveness_action: close_action(config.dpd_action),
    })
}

fn lifetimes(config: config::Lifetimes) -> ike::Lifetimes {
    ike::Lifetimes { rekey: config.rekey, rand: config.rand, expire: config.life }
}

/// Takes a random part of `rand` off the limit, drawn once for each loading, so that two ends with the same
/// configuration do not reach it with the same packet.
fn soft_limit(volume: config::Volume, random: &mut dyn Random) -> u64 {
    let mut octets = [0; 8];
    random.fill(&mut octets);
    let off = u64::from_be_bytes(octets).checked_rem(volume.rand.saturating_add(1)).unwrap_or(0);
    unlimited_if_zero(volume.rekey.saturating_sub(off.min(volume.rekey.saturating_sub(1))))
}

/// The configuration writes no limit as zero.
fn unlimited_if_zero(configured: u64) -> u64 {
    if configured == 0 { u64::MAX } else { configured }
}

fn selector(config: &Selector) -> SelectorTemplate {
    match *config {
        Selector::Fixed(selector) => SelectorTemplate::Fixed(selector),
        Selector::Dynamic(protocol, ports) => SelectorTemplate::Dynamic(protocol, ports),
    }
}

fn close_action(config: config::CloseAction) -> ike::CloseAction {
    match config {
        config::CloseAction::None => ike::CloseAction::None,
        config::CloseAction::Trap => ike::CloseAction::Trap,
        config::CloseAction::Start => ike::CloseAction::Start,
    }
}
