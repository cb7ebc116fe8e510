//! SAs whose keys are configured: from the section of the configuration to the orders that the data plane gets.
//!
//! ```text
//!   outbound   policy ─► ESP ─► AH ─► wire        AH, where both are there, goes around ESP
//!   inbound    wire ─► AH ─► ESP ─► policy
//! ```
//!
//! The IKE engine never hears of them: nobody renews their keys, and nobody asks whether the peer lives. Their policies
//! stand as long as they are loaded, so that nothing passes them in the clear when an SA is used up or was refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::{ManualKeys, ManualSa};
use sa::{
    Direction, Handling, Hardness, Lifetime, Mode, Outer, PolicyAction, PolicyId, PolicySpec, Protocol,
    SaEvent, SaId, SaOp, SaSpec, SelectorPair, derived_priority,
};

use super::interfaces::device_id;

/// The ids from here up are ours; the engine counts its own from 1, and shunts have those from 2³¹.
const FIRST_ID: u32 = 1 << 30;

/// What is installed, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManualSas {
    installed: BTreeMap<String, Installed>,
    given: u32,
}

/// One section, installed.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    /// As configured.
    pub(crate) config: Arc<ManualSa>,
    /// Its policy.
    pub(crate) policy: PolicyId,
    /// Its SAs, in the order in which they were installed: what carries others comes first.
    pub(crate) sas: Vec<SaId>,
    /// When it was installed.
    pub(crate) at: Instant,
    /// What is wrong with it, in a sentence; packets of its policy are dropped then.
    pub(crate) fault: Option<String>,
}

impl ManualSas {
    /// Gives the orders that install a section, in place of one of the same name. Its policy stays meanwhile.
    pub(crate) fn install(&mut self, config: Arc<ManualSa>, now: Instant) -> Vec<SaOp> {
        let replaced = self.installed.remove(&config.name);
        let policy = replaced.as_ref().map(|old| old.policy).unwrap_or_else(|| {
            self.given += 1;
            PolicyId(FIRST_ID + self.given)
        });
        let specs = specs(&config, policy);
        let sas: Vec<SaId> = specs.iter().map(SaSpec::id).collect();
        let carrier = sas.iter().rev().find(|sa| sa.direction == Direction::Outbound).copied();
        let mut ops: Vec<SaOp> = replaced.iter().flat_map(Installed::removals).collect();
        ops.extend(specs.into_iter().map(|spec| SaOp::InstallSa(Box::new(spec))));
        ops.push(SaOp::InstallPolicy(policy_spec(&config, policy)));
        ops.extend(carrier.map(|sa| SaOp::UseOutbound { policy, sa }));
        self.installed.insert(config.name.clone(), Installed { config, policy, sas, at: now, fault: None });
        ops
    }

    /// Gives the orders that take a section away.
    pub(crate) fn uninstall(&mut self, name: &str) -> Vec<SaOp> {
        let Some(gone) = self.installed.remove(name) else { return Vec::new() };
        std::iter::once(SaOp::RemovePolicy(gone.policy)).chain(gone.removals()).collect()
    }

    /// Takes note of what the data plane tells of one of these SAs: a sentence for the log, and the section's name.
    pub(crate) fn note(&mut self, event: &SaEvent) -> Option<(&str, String)> {
        let (sa, fault) = match event {
            SaEvent::Rejected { sa, reason } => (sa, format!("the data plane does not take it: {reason}")),
            SaEvent::Expire { sa, hardness: Hardness::Hard, .. } => (
                sa,
                "its sequence numbers are used up, and it carries nothing more: it needs new keys".to_owned(),
            ),
            SaEvent::Expire { sa, hardness: Hardness::Soft, .. } => {
                let (name, _) = self.installed.iter().find(|(_, installed)| installed.sas.contains(sa))?;
                return Some((
                    name,
                    "its sequence numbers will be used up soon: it needs new keys".to_owned(),
                ));
            }
            SaEvent::Acquire { .. }
            | SaEvent::Active { .. }
            | SaEvent::PathChanged { .. }
            | SaEvent::PathNarrowed { .. } => return None,
        };
        let (name, installed) =
            self.installed.iter_mut().find(|(_, installed)| installed.sas.contains(sa))?;
        installed.fault = Some(fault.clone());
        Some((name, fault))
    }

    /// Gives all of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Installed> {
        self.installed.values()
    }
}

impl Installed {
    /// Gives one of its SAs.
    pub(crate) fn sa(&self, protocol: Protocol, direction: Direction) -> Option<SaId> {
        self.sas.iter().find(|sa| sa.protocol == protocol && sa.direction == direction).copied()
    }

    /// Gives the orders that remove its SAs: what is carried goes before what carries it.
    fn removals(&self) -> impl Iterator<Item = SaOp> {
        self.sas.iter().rev().map(|sa| SaOp::RemoveSa(*sa))
    }
}

fn policy_spec(config: &ManualSa, id: PolicyId) -> PolicySpec {
    let (local, remote) = (&config.local_selectors, &config.remote_selectors);
    let base = if config.priority == 0 { derived_priority(local, remote) } else { config.priority };
    PolicySpec {
        id,
        // Priorities of the engine are two apart for each one that is configured; ours keep step.
        priority: base.saturating_mul(2),
        selectors: SelectorPair::all(local, remote),
        action: PolicyAction::Protect,
        device: config.interface.as_ref().map(device_id),
    }
}

/// Gives all SAs of a section, inbound ones first, and of each direction what carries others first.
fn specs(config: &ManualSa, policy: PolicyId) -> Vec<SaSpec> {
    let mut specs: Vec<SaSpec> = Vec::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        let carrier = config.ah.as_ref().map(|keys| spec(config, policy, direction, Protocol::Ah, keys));
        let carried = config.esp.as_ref().map(|keys| spec(config, policy, direction, Protocol::Esp, keys));
        match (carrier, carried) {
            (Some(ah), Some(mut esp)) => {
                esp.handling.wrapped_by = Some(ah.id());
                // The packets that AH authenticates here are those of ESP: both go under one IP header, and what is
                // compressed or padded is so before ESP.
                let Handling { mark, device, .. } = ah.handling;
                let handling = Handling { mark, device, ..Handling::default() };
                specs.extend([SaSpec { mode: Mode::Transport, handling, ..ah }, esp]);
            }
            (ah, esp) => specs.extend(ah.into_iter().chain(esp)),
        }
    }
    specs
}

fn spec(
    config: &ManualSa,
    policy: PolicyId,
    direction: Direction,
    protocol: Protocol,
    keys: &ManualKeys,
) -> SaSpec {
    let (spi, key, compression) = match direction {
        Direction::Inbound => {
            (keys.spi.inbound, &keys.key.inbound, config.compression.map(|cpi| cpi.inbound))
        }
        Direction::Outbound => {
            (keys.spi.outbound, &keys.key.outbound, config.compression.map(|cpi| cpi.outbound))
        }
    };
    SaSpec {
        direction,
        protocol,
        spi,
        mode: config.mode,
        outer: Outer {
            local: SocketAddr::new(config.local_address, dataplane::Settings::default().nat_port),
            remote: SocketAddr::new(config.remote_address, config.remote_port),
            encapsulation: config.encapsulation,
        },
        protection: keys.protection,
        key: Arc::new(key.clone()),
        esn: keys.esn,
        replay_window: config.replay_window,
        selectors: SelectorPair::all(&config.local_selectors, &config.remote_selectors),
        lifetime: Lifetime::UNLIMITED,
        policy,
        handling: Handling {
            compression,
            device: config.interface.as_ref().map(device_id),
            ..super::lower::handling(&config.handling)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use sa::{Cpi, ExpiryCause};

    fn section(lines: &str) -> Arc<ManualSa> {
        let key = |octet: &str| format!("0x{}", octet.repeat(32));
        let text = format!(
            "manual {{ lab {{ local_addr = 192.0.2.1\n remote_addr = 192.0.2.2\n cpi_in = 0x1111\n cpi_out = 0x2222
               {lines}
               esp {{ proposal = aes256-sha256\n spi_in = 0x1001\n spi_out = 0x1002
                 encryption_key_in = {}\n encryption_key_out = {}
                 integrity_key_in = {}\n integrity_key_out = {} }} }} }}",
            key("0a"),
            key("0b"),
            key("0c"),
            key("0d")
        );
        let loaded = config::load_text("test", &text, config::Syntax::Swanctl);
        assert!(loaded.is_sound(), "{:?}", loaded.faults);
        Arc::new(loaded.config.manual.into_iter().next().expect("one section"))
    }

    fn with_ah() -> Arc<ManualSa> {
        let key = |octet: &str| format!("0x{}", octet.repeat(32));
        section(&format!(
            "ah {{ proposal = sha256\n spi_in = 0x2001\n spi_out = 0x2002\n integrity_key_in = {}\n \
             integrity_key_out = {} }}",
            key("0e"),
            key("0f")
        ))
    }

    fn in_words(ops: &[SaOp]) -> Vec<String> {
        let name = |sa: &SaId| format!("{:?} {} {:x}", sa.direction, sa.protocol, sa.spi.0);
        let words = ops.iter().map(|op| match op {
            SaOp::InstallSa(spec) => format!("install {} {}", name(&spec.id()), spec.mode),
            SaOp::RemoveSa(sa) => format!("remove {}", name(sa)),
            SaOp::UseOutbound { sa, .. } => format!("use {}", name(sa)),
            SaOp::InstallPolicy(policy) => format!("policy {:?}", policy.action),
            SaOp::RemovePolicy(_) => "no policy".to_owned(),
            other => panic!("{other:?}"),
        });
        words.collect()
    }

    #[test]
    fn a_bundle_is_installed_from_the_outside_in_and_goes_from_the_inside_out() {
        let mut sas = ManualSas::default();
        let ops = sas.install(with_ah(), Instant::now());
        assert_eq!(
            in_words(&ops),
            [
                "install Inbound AH 2001 TRANSPORT",
                "install Inbound ESP 1001 TUNNEL",
                "install Outbound AH 2002 TRANSPORT",
                "install Outbound ESP 1002 TUNNEL",
                "policy Protect",
                "use Outbound ESP 1002",
            ]
        );
        let SaOp::InstallSa(esp) = &ops[3] else { panic!("{ops:?}") };
        let ah = sas.iter().next().and_then(|lab| lab.sa(Protocol::Ah, Direction::Outbound));
        assert_eq!((esp.handling.wrapped_by, esp.handling.compression), (ah, Some(Cpi(0x2222))));
        assert!(esp.key.ct_eq(&[[0x0b; 32], [0x0d; 32]].concat()));
        assert_eq!(
            in_words(&sas.uninstall("lab")),
            [
                "no policy",
                "remove Outbound ESP 1002",
                "remove Outbound AH 2002",
                "remove Inbound ESP 1001",
                "remove Inbound AH 2001",
            ]
        );
        assert!(sas.uninstall("lab").is_empty());
    }

    #[test]
    fn what_is_loaded_again_keeps_its_policy_standing() {
        let mut sas = ManualSas::default();
        sas.install(section(""), Instant::now());
        let policy = sas.iter().next().expect("installed").policy;
        let ops = sas.install(section("mode = transport"), Instant::now());
        assert_eq!(sas.iter().next().expect("installed").policy, policy);
        assert_eq!(
            in_words(&ops),
            [
                "remove Outbound ESP 1002",
                "remove Inbound ESP 1001",
                "install Inbound ESP 1001 TRANSPORT",
                "install Outbound ESP 1002 TRANSPORT",
                "policy Protect",
                "use Outbound ESP 1002",
            ]
        );
    }

    #[test]
    fn what_the_data_plane_refuses_is_told_and_kept() {
        let mut sas = ManualSas::default();
        sas.install(section(""), Instant::now());
        let sa =
            sas.iter().next().and_then(|lab| lab.sa(Protocol::Esp, Direction::Outbound)).expect("it has one");
        let cause = ExpiryCause::Sequence;
        let (_, soon) = sas.note(&SaEvent::Expire { sa, hardness: Hardness::Soft, cause }).expect("ours");
        assert!(soon.contains("soon"));
        assert_eq!(sas.iter().next().expect("installed").fault, None);
        let reason = "the SPI is taken".to_owned();
        let (name, fault) = sas.note(&SaEvent::Rejected { sa, reason }).expect("ours");
        assert_eq!((name, fault.as_str()), ("lab", "the data plane does not take it: the SPI is taken"));
        assert!(sas.iter().next().expect("installed").fault.is_some());
        let strange = SaId { spi: sa::Spi(0x9999), ..sa };
        assert!(sas.note(&SaEvent::Expire { sa: strange, hardness: Hardness::Hard, cause }).is_none());
    }
}
