//! From what is configured to what the engine takes: the one place where the two meet.
//!
//! A name that does not resolve is no fault of the configuration: the connection is loaded, nobody can be its peer, and
//! it is looked up again from time to time, and when the connection is to come up.

use std::sync::Arc;

use config::{AddressSpec, Selector, Treatment};
use credentials::Wishes;
use crypto::Random;
use ike::{ChildConfig, Identity, PeerAddresses, SecretKind, SelectorTemplate, SharedSecret};
use pki::Certificate;
use sa::{AddressRange, Handling, Lifetime};
use vici::Span;

use super::interfaces::device_id;
use super::loaded::{LoadedConnection, LoadedPool, LoadedSecret, Source};
use super::{keyring, resolve};

/// Lowers a connection with the addresses that its names have now; sentences about names that did not resolve go to
/// `complain`.
///
/// # Errors
/// A certificate or key that it names cannot be read.
pub(crate) async fn connection(
    config: config::Connection,
    source: Source,
    random: &mut dyn Random,
    mut complain: impl FnMut(String),
) -> Result<LoadedConnection, String> {
    let local = addresses(&config.local_addresses, &mut complain).await;
    let remote = addresses(&config.remote_addresses, &mut complain).await;
    loaded(config, source, local, remote, random)
}

/// Lowers a connection without asking anybody: its names have no addresses yet.
///
/// # Errors
/// A certificate or key that it names cannot be read.
pub(crate) fn without_names(
    config: config::Connection,
    source: Source,
    random: &mut dyn Random,
) -> Result<LoadedConnection, String> {
    let (local, remote) = (written(&config.local_addresses), written(&config.remote_addresses));
    loaded(config, source, local, remote, random)
}

/// Lowers a connection again whose names have other addresses now.
pub(crate) fn moved(
    connection: &LoadedConnection,
    local: PeerAddresses,
    remote: PeerAddresses,
    random: &mut dyn Random,
) -> LoadedConnection {
    let engine = with_addresses(&connection.config, &connection.wishes, local, remote, random);
    LoadedConnection { engine: Arc::new(engine), ..connection.clone() }
}

fn loaded(
    mut config: config::Connection,
    source: Source,
    local: PeerAddresses,
    remote: PeerAddresses,
    random: &mut dyn Random,
) -> Result<LoadedConnection, String> {
    // Where a line stood is of no more use, and moving it is no change.
    config.span = Span::NOWHERE;
    config.children.iter_mut().for_each(|child| child.span = Span::NOWHERE);
    let wishes = keyring::wishes(&config).map_err(|sentence| format!("{}: {sentence}", config.name))?;
    let engine = with_addresses(&config, &wishes, local, remote, random);
    let (config, engine, wishes) = (Arc::new(config), Arc::new(engine), Arc::new(wishes));
    Ok(LoadedConnection { config, engine, wishes, source })
}

/// Lowers a pool.
pub(crate) fn pool(config: config::Pool, source: Source) -> LoadedPool {
    let pool = ike::Pool {
        name: config.name,
        addresses: config.addresses,
        netmask: config.netmask,
        dns: config.dns,
        nbns: config.nbns,
        dhcp: config.dhcp,
        servers: config.servers,
        subnets: config.subnets,
        split_include: config.split_include,
        split_exclude: config.split_exclude,
        domain: config.domain,
        banner: config.banner,
        numbered: config.numbered,
    };
    LoadedPool { pool, source }
}

/// Lowers a secret.
pub(crate) fn secret(config: config::SharedSecret, source: Source) -> LoadedSecret {
    let config::SharedSecret { name, kind, owners, secret, span: _ } = config;
    let kind = match kind {
        config::SecretKind::PreSharedKey => SecretKind::PreSharedKey,
        config::SecretKind::Password => SecretKind::Password,
        config::SecretKind::PostQuantum => SecretKind::PostQuantum,
    };
    LoadedSecret { secret: SharedSecret { name, kind, owners, secret }, source }
}

/// Looks up what an end's addresses are now.
pub(crate) async fn addresses(specs: &[AddressSpec], complain: &mut impl FnMut(String)) -> PeerAddresses {
    let PeerAddresses::Ranges(mut ranges) = written(specs) else { return PeerAddresses::Any };
    for name in specs.iter().filter_map(AddressSpec::name) {
        match resolve::addresses_of(name).await {
            Ok(addresses) => ranges.extend(addresses.into_iter().map(AddressRange::host)),
            Err(sentence) => complain(sentence),
        }
    }
    PeerAddresses::Ranges(ranges)
}

/// Gives the addresses of an end that are written as such.
fn written(specs: &[AddressSpec]) -> PeerAddresses {
    if specs.contains(&AddressSpec::Any) {
        return PeerAddresses::Any;
    }
    let range = |spec: &AddressSpec| match spec {
        AddressSpec::AnyOf(family) => Some(AddressRange::any(*family)),
        AddressSpec::Host(address) => Some(AddressRange::host(*address)),
        AddressSpec::Range(range) => Some(*range),
        AddressSpec::Any | AddressSpec::Name(_) => None,
    };
    PeerAddresses::Ranges(specs.iter().filter_map(range).collect())
}

fn with_addresses(
    config: &config::Connection,
    wishes: &Wishes,
    local: PeerAddresses,
    remote: PeerAddresses,
    random: &mut dyn Random,
) -> ike::Connection {
    ike::Connection {
        name: config.name.clone(),
        versions: versions(config.versions),
        phase_1: phase_1(config.phase_1),
        local_addresses: local,
        remote_addresses: remote,
        // Who has a certificate is whom it names.
        local_identity: config.local_identity.clone().or_else(|| unnamed(config, wishes)),
        remote_identity: config.remote_identity.clone(),
        local_authentication: authentication(&config.local_authentication),
        remote_authentication: authentication(&config.remote_authentication),
        further_own: config
            .further_own
            .iter()
            .enumerate()
            .map(|(n, round)| own_round(round, wishes.further.get(n)))
            .collect(),
        further_peer: config.further_peer.iter().map(peer_round).collect(),
        ppk: config.ppk.as_ref().map(ppk),
        childless: childless(config.childless),
        virtual_addresses: config.virtual_addresses.clone(),
        pools: config.pools.clone(),
        split_networks: match config.split_networks {
            config::SplitNetworks::Ignored => ike::SplitNetworks::Ignored,
            config::SplitNetworks::Followed => ike::SplitNetworks::Followed,
        },
        configuration: match config.configuration {
            config::ConfigurationMode::Pull => ike::ConfigurationMode::Pull,
            config::ConfigurationMode::Push => ike::ConfigurationMode::Push,
        },
        certificates: config.certificates,
        xauth: match &config.xauth {
            config::Xauth::None => ike::Xauth::None,
            config::Xauth::Ours(user) => ike::Xauth::Ours(user.clone()),
            config::Xauth::Theirs => ike::Xauth::Theirs,
        },
        proposals: config.proposals.clone(),
        encap: match config.encap {
            config::Encap::WhenNat => ike::Encap::WhenNat,
            config::Encap::Always => ike::Encap::Always,
        },
        fragmentation: fragmentation(config.fragmentation),
        mobike: match config.mobike {
            config::Mobike::No => ike::Mobike::No,
            config::Mobike::Yes => ike::Mobike::Yes,
        },
        redirect_to: config.redirect_to.as_deref().and_then(|gateway| gateway.parse().ok()),
        path_probing: path_probing(config.path_mtu_probing),
        resumption: resumption(config.session_resumption),
        optimized_rekey: optimized_rekey(config.optimized_rekey),
        counter_synchronization: counter_synchronization(config.counter_synchronization),
        reauthentication_order: reauthentication_order(config.reauthentication_order),
        unique: unique(config.unique),
        keying_tries: config.keying_tries,
        liveness_delay: config.dpd_delay,
        lifetimes: lifetimes(config.lifetimes),
        reauthentication: lifetimes(config.reauthentication),
        children: config.children.iter().filter_map(|config| child(config, random)).map(Arc::new).collect(),
    }
}

fn versions(config: config::Versions) -> ike::Versions {
    match config {
        config::Versions::V1 => ike::Versions::V1,
        config::Versions::V2 => ike::Versions::V2,
        config::Versions::Either => ike::Versions::Either,
    }
}

/// Gives who we are where the configuration does not say.
fn unnamed(config: &config::Connection, wishes: &Wishes) -> Option<Identity> {
    match config.local_authentication {
        // RFC 7619 §2.2: who proves nothing need not make a name up.
        config::Authentication::Null => Some(Identity::Null),
        _ => subject(wishes.own.first()?),
    }
}

/// Gives the name that a certificate is for, first of all.
fn subject(certificate: &Certificate) -> Option<Identity> {
    pki::identities(certificate).into_iter().next()
}

fn authentication(config: &config::Authentication) -> ike::Authentication {
    match config {
        config::Authentication::PreSharedKey => ike::Authentication::PreSharedKey,
        config::Authentication::Signature(terms) => ike::Authentication::Signature(terms.clone()),
        config::Authentication::Null => ike::Authentication::Null,
        config::Authentication::User => ike::Authentication::User,
        config::Authentication::Encryption(form) => ike::Authentication::Encryption(match form {
            config::EncryptionForm::Plain => ike::EncryptionForm::Plain,
            config::EncryptionForm::Revised => ike::EncryptionForm::Revised,
        }),
    }
}

fn fragmentation(config: config::Fragmentation) -> ike::Fragmentation {
    match config {
        config::Fragmentation::No => ike::Fragmentation::No,
        config::Fragmentation::Yes => ike::Fragmentation::Yes,
        config::Fragmentation::Accept => ike::Fragmentation::Accept,
        config::Fragmentation::Force => ike::Fragmentation::Force,
    }
}

fn phase_1(config: config::Phase1Mode) -> ike::Phase1Mode {
    match config {
        config::Phase1Mode::Main => ike::Phase1Mode::Main,
        config::Phase1Mode::Aggressive => ike::Phase1Mode::Aggressive,
    }
}

fn reauthentication_order(config: config::ReauthenticationOrder) -> ike::ReauthenticationOrder {
    match config {
        config::ReauthenticationOrder::MakeBeforeBreak => ike::ReauthenticationOrder::MakeBeforeBreak,
        config::ReauthenticationOrder::BreakBeforeMake => ike::ReauthenticationOrder::BreakBeforeMake,
    }
}

fn resumption(config: config::Resumption) -> ike::Resumption {
    match config {
        config::Resumption::No => ike::Resumption::No,
        config::Resumption::Yes => ike::Resumption::Yes,
    }
}

fn optimized_rekey(config: config::OptimizedRekey) -> ike::OptimizedRekey {
    match config {
        config::OptimizedRekey::No => ike::OptimizedRekey::No,
        config::OptimizedRekey::Yes => ike::OptimizedRekey::Yes,
    }
}

fn counter_synchronization(config: config::CounterSynchronization) -> ike::CounterSynchronization {
    match config {
        config::CounterSynchronization::No => ike::CounterSynchronization::No,
        config::CounterSynchronization::Yes => ike::CounterSynchronization::Yes,
    }
}

fn path_probing(config: config::PathProbing) -> ike::PathProbing {
    match config {
        config::PathProbing::No => ike::PathProbing::No,
        config::PathProbing::Yes => ike::PathProbing::Yes,
    }
}

fn unique(config: config::Unique) -> ike::Unique {
    match config {
        config::Unique::Never => ike::Unique::Never,
        config::Unique::No => ike::Unique::No,
        config::Unique::Keep => ike::Unique::Keep,
        config::Unique::Replace => ike::Unique::Replace,
    }
}

fn childless(config: config::Childless) -> ike::Childless {
    match config {
        config::Childless::Allow => ike::Childless::Allow,
        config::Childless::Prefer => ike::Childless::Prefer,
        config::Childless::Force => ike::Childless::Force,
        config::Childless::Never => ike::Childless::Never,
    }
}

fn own_round(config: &config::OwnRound, wishes: Option<&Wishes>) -> ike::OwnRound {
    let config::OwnRound { identity, authentication: method, .. } = config;
    let certified = || subject(wishes?.own.first()?);
    ike::OwnRound { identity: identity.clone().or_else(certified), authentication: authentication(method) }
}

fn peer_round(config: &config::PeerRound) -> ike::PeerRound {
    let config::PeerRound { identity, authentication: method, .. } = config;
    ike::PeerRound { identity: identity.clone(), authentication: authentication(method) }
}

fn ppk(config: &config::PpkTerms) -> ike::PpkTerms {
    let need = match config.need {
        config::PpkNeed::Optional => ike::PpkNeed::Optional,
        config::PpkNeed::Required => ike::PpkNeed::Required,
    };
    ike::PpkTerms { id: config.id.clone(), need }
}

/// Lowers a child that is protected; others are policies that the engine need not know.
fn child(config: &config::Child, random: &mut dyn Random) -> Option<ChildConfig> {
    let mode = match config.treatment {
        Treatment::Protect(mode) => mode,
        Treatment::Pass | Treatment::Drop => return None,
    };
    Some(ChildConfig {
        name: config.name.clone(),
        local_selectors: config.local_selectors.iter().map(selector).collect(),
        remote_selectors: config.remote_selectors.iter().map(selector).collect(),
        proposals: config.proposals.clone(),
        wrapping: config.wrapping.clone(),
        mode,
        compress: match config.compress {
            config::Compress::No => ike::Compress::No,
            config::Compress::Deflate => ike::Compress::Deflate,
        },
        truncation: match config.truncation {
            config::Truncation::To128 => ike::Truncation::To128,
            config::Truncation::To96 => ike::Truncation::To96,
        },
        lifetimes: lifetimes(config.lifetimes),
        volume: Lifetime {
            soft_bytes: soft_limit(config.bytes, random),
            hard_bytes: unlimited_if_zero(config.bytes.life),
            soft_packets: soft_limit(config.packets, random),
            hard_packets: unlimited_if_zero(config.packets.life),
        },
        replay_window: config.replay_window,
        handling: Handling { device: config.interface.as_ref().map(device_id), ..handling(&config.handling) },
        inactivity: config.inactivity,
        priority: (config.priority != 0).then_some(config.priority),
        start_action: match config.start_action {
            config::StartAction::None => ike::StartAction::None,
            config::StartAction::Trap => ike::StartAction::Trap,
            config::StartAction::Start => ike::StartAction::Start,
            config::StartAction::TrapAndStart => ike::StartAction::TrapAndStart,
        },
        close_action: close_action(config.close_action),
        liveness_action: close_action(config.dpd_action),
    })
}

/// Lowers what is done to packets beyond their cryptography, as far as it is configured.
pub(crate) fn handling(config: &config::Handling) -> Handling {
    let config::Handling { dscp, ecn, dont_fragment, fragmenting, segment_size, padding, dummies, mark } =
        *config;
    Handling {
        dscp,
        ecn,
        dont_fragment,
        fragmenting,
        segment_size,
        padding,
        dummies,
        mark,
        ..Handling::default()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crypto::SystemRandom;
    use sa::Family;

    /// A connection with this in it, and this in its child.
    fn configured(connection: &str, child: &str) -> config::Connection {
        let text = format!(
            "connections {{ site {{ {connection}\n local {{ auth = psk }}\n remote {{ auth = psk }}\n \
             children {{ net {{ remote_ts = 10.2.0.0/16\n {child} }} }} }} }}\n \
             secrets {{ ike {{ secret = swordfish-swordfish }} }}"
        );
        let loaded = config::load_text("test", &text, config::Syntax::Swanctl);
        assert!(loaded.is_sound(), "{:?}", loaded.faults);
        loaded.config.connections.into_iter().next().expect("one connection")
    }

    async fn lowered(config: config::Connection) -> (LoadedConnection, Vec<String>) {
        let mut complaints = Vec::new();
        let random = &mut SystemRandom;
        let loaded = connection(config, Source::File, random, |sentence| complaints.push(sentence)).await;
        (loaded.expect("it names no certificate"), complaints)
    }

    #[tokio::test]
    async fn what_is_configured_arrives_in_the_engine() {
        let config = configured(
            "remote_addrs = 192.0.2.2, 198.51.100.0/24\n local_addrs = %any4\n dpd_delay = 7\n rekey_time = 2h",
            "start_action = trap\n priority = 7\n rekey_time = 30m\n life_bytes = 1G\n rekey_bytes = 900M\n rand_bytes = 100M",
        );
        let (loaded, complaints) = lowered(config).await;
        assert!(complaints.is_empty(), "{complaints:?}");
        let site = &loaded.engine;
        assert_eq!(site.local_addresses, PeerAddresses::Ranges(vec![AddressRange::any(Family::V4)]));
        let remote = ["192.0.2.2", "198.51.100.0/24"].map(|text| text.parse().expect("the test's own text"));
        assert_eq!(site.remote_addresses, PeerAddresses::Ranges(remote.to_vec()));
        assert_eq!(site.liveness_delay, Duration::from_secs(7));
        assert_eq!(site.lifetimes.rekey, Duration::from_secs(7200));
        let net = site.child("net").expect("its child");
        assert_eq!(net.start_action, ike::StartAction::Trap);
        assert_eq!(net.priority, Some(7));
        assert_eq!(net.lifetimes.rekey, Duration::from_secs(1800));
        assert_eq!(net.volume.hard_bytes, 1 << 30);
        assert!(((800 << 20)..=(900 << 20)).contains(&net.volume.soft_bytes), "{}", net.volume.soft_bytes);
        assert_eq!((net.volume.soft_packets, net.volume.hard_packets), (u64::MAX, u64::MAX));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_and_lets_nobody_in() {
        let (loaded, complaints) = lowered(configured("remote_addrs = host.invalid", "")).await;
        assert_eq!(loaded.engine.remote_addresses, PeerAddresses::Ranges(Vec::new()));
        assert!(matches!(complaints.as_slice(), [one] if one.contains("host.invalid")), "{complaints:?}");
    }

    #[tokio::test]
    async fn a_child_without_an_sa_stays_out_of_the_engine() {
        let (loaded, _) =
            lowered(configured("remote_addrs = 192.0.2.2", "mode = pass\n local_ts = 10.1.0.0/16")).await;
        assert!(loaded.engine.children.is_empty());
        assert!(loaded.config.child("net").is_some());
    }
}
