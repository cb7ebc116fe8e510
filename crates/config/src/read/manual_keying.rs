//! From a section of `manual` to SAs: what its values mean together, and the warnings that they deserve.

use std::net::IpAddr;

use crypto::Secret;
use sa::{
    Encapsulation, Esn, FlowPadding, Mode, Proposal, ProposalProtocol, Protection, Protocol, SelectorPair,
    TrafficSelector,
};

use super::{handling, interface};
use crate::algorithm;
use crate::connection::WeakAlgorithms;
use crate::manual_keying::{BothWays, ManualKeys, ManualSa};
use crate::reader::Reader;
use crate::schema::{ListKey, OptionalKey};
use crate::table::child::{LOCAL_TS, PRIORITY, REMOTE_TS};
use crate::table::manual_keying::*;
use crate::{Selector, Treatment};

/// Reads one section; `None` if it has an error.
pub(super) fn manual_sa(reader: &Reader<'_>) -> Option<ManualSa> {
    let weak = reader.one(&CONSENT);
    let (local_address, remote_address) = (needed(reader, &LOCAL_ADDR), needed(reader, &REMOTE_ADDR));
    let (esp, ah) = (protocol(reader, Protocol::Esp, weak), protocol(reader, Protocol::Ah, weak));
    let compression = compression(reader);
    if reader.sections("").is_empty() {
        let message = format!("`{}` says neither how ESP nor how AH protects", reader.name());
        reader.section_error(message, "add `esp { … }` or `ah { … }`");
    }
    let (local_address, remote_address) = (local_address?, remote_address?);
    let sa = ManualSa {
        name: reader.name().to_owned(),
        local_address,
        remote_address,
        remote_port: reader.one(&PEER_PORT),
        mode: reader.one(&WRAPPING),
        encapsulation: reader.one(&CARRIER),
        local_selectors: selectors(reader, &LOCAL_TS, local_address),
        remote_selectors: selectors(reader, &REMOTE_TS, remote_address),
        esp,
        ah,
        compression,
        replay_window: reader.one(&NO_WINDOW),
        priority: reader.one(&PRIORITY),
        handling: handling(reader),
        interface: interface::interface(reader),
        span: reader.span,
    };
    check(reader, &sa);
    warn(reader, &sa);
    (!reader.faults.has_error_in(&reader.path)).then_some(sa)
}

fn needed<T>(reader: &Reader<'_>, key: &OptionalKey<T>) -> Option<T> {
    if !reader.has(&key.row) {
        reader.section_error(format!("`{}` has no `{}`", reader.name(), key.row.name), "");
    }
    reader.maybe(key)
}

fn selectors(reader: &Reader<'_>, key: &ListKey<Selector>, own: IpAddr) -> Vec<TrafficSelector> {
    reader.many(key).iter().map(|selector| selector.resolve(own)).collect()
}

fn compression(reader: &Reader<'_>) -> Option<BothWays<sa::Cpi>> {
    match (reader.maybe(&CPI_IN), reader.maybe(&CPI_OUT)) {
        (Some(inbound), Some(outbound)) => Some(BothWays { inbound, outbound }),
        (None, None) => None,
        (Some(_), None) => {
            needed(reader, &CPI_OUT);
            None
        }
        (None, Some(_)) => {
            needed(reader, &CPI_IN);
            None
        }
    }
}

// --- One protocol --------------------------------------------------------------------------------------------------

fn protocol(reader: &Reader<'_>, protocol: Protocol, weak: WeakAlgorithms) -> Option<ManualKeys> {
    let name = match protocol {
        Protocol::Esp => "esp",
        Protocol::Ah => "ah",
    };
    let section = reader.sections(name).into_iter().find(|section| section.name() == name)?;
    let (inbound, outbound) = (needed(&section, &SPI_IN), needed(&section, &SPI_OUT));
    let text = needed(&section, &ALGORITHMS)?;
    let (protection, esn) = algorithms(&section, protocol, &text, weak)?;
    let key = BothWays {
        inbound: key(&section, &protection, &ENCRYPTION_IN, &INTEGRITY_IN)?,
        outbound: key(&section, &protection, &ENCRYPTION_OUT, &INTEGRITY_OUT)?,
    };
    if key.inbound.ct_eq(key.outbound.as_slice()) {
        let message =
            "both directions have the same keys, so a packet could be sent back to where it came from";
        section.faults.warning(section.span, &section.path, message, "give each direction its own");
    }
    Some(ManualKeys { protection, esn, spi: BothWays { inbound: inbound?, outbound: outbound? }, key })
}

/// Reads a proposal that leaves no choice.
fn algorithms(
    section: &Reader<'_>,
    protocol: Protocol,
    text: &str,
    weak: WeakAlgorithms,
) -> Option<(Protection, Esn)> {
    let for_protocol = match protocol {
        Protocol::Esp => ProposalProtocol::Esp,
        Protocol::Ah => ProposalProtocol::Ah,
    };
    let row = &ALGORITHMS.row;
    let read = algorithm::proposals(for_protocol, text, weak, "the section above");
    let read = read.map_err(|fault| section.unreadable(section.place(row), row, fault)).ok()?;
    for reservation in read.reservations {
        section.faults.warning(section.place(row), &section.key(row.name), reservation, "");
    }
    let chosen = match read.proposals.as_slice() {
        [only] => chosen(only),
        _ => None,
    };
    let Some((protection, esn)) = chosen else {
        let help = match protocol {
            Protocol::Esp => "write one, such as aes256-sha256",
            Protocol::Ah => "write one, such as sha256",
        };
        section.error(
            row,
            format!("`{text}` leaves a choice, and there is nobody to agree on it with"),
            help,
        );
        return None;
    };
    if protection.counts() {
        let message = format!(
            "`{protection}` counts, and after a restart counts the same again: two packets under one key and count give \
             their plaintexts or the key of their authentication away (RFC 8221 §3)"
        );
        let place = section.place(row);
        match weak {
            WeakAlgorithms::Refused => {
                section.error(
                    row,
                    message,
                    "choose aes256-sha256, or write `allow_weak = yes` in the section above",
                );
            }
            WeakAlgorithms::Allowed => {
                section.faults.warning(
                    place,
                    &section.key(row.name),
                    message,
                    "change the keys with each restart",
                );
            }
        }
    }
    Some((protection, esn))
}

/// Gives the one algorithm of each kind.
fn chosen(proposal: &Proposal) -> Option<(Protection, Esn)> {
    let Proposal { encryption, integrity, key_exchange, esn, .. } = proposal;
    let protection = match (encryption.as_slice(), integrity.as_slice()) {
        ([aead], []) => Protection::Combined(aead),
        ([encryption], [integrity]) => Protection::Separate { encryption, integrity },
        ([], [integrity]) => Protection::Authenticated(integrity),
        _ => return None,
    };
    match (esn.as_slice(), key_exchange.as_slice()) {
        ([esn], []) => Some((protection, *esn)),
        _ => None,
    }
}

/// Reads the keys of one direction: encryption, then integrity.
fn key(
    section: &Reader<'_>,
    protection: &Protection,
    encryption: &OptionalKey<Secret<Vec<u8>>>,
    integrity: &OptionalKey<Secret<Vec<u8>>>,
) -> Option<Secret<Vec<u8>>> {
    let mut whole = Vec::with_capacity(protection.key_len());
    let parts = [
        (encryption, protection.encryption_key_len(), protection.encryption().map(ToString::to_string)),
        (integrity, protection.integrity_key_len(), protection.integrity().map(ToString::to_string)),
    ];
    for (key, len, algorithm) in parts {
        whole.extend_from_slice(part(section, key, len, algorithm.as_deref())?.as_slice());
    }
    Some(whole.into())
}

fn part(
    section: &Reader<'_>,
    key: &OptionalKey<Secret<Vec<u8>>>,
    len: usize,
    algorithm: Option<&str>,
) -> Option<Secret<Vec<u8>>> {
    let row = &key.row;
    if len == 0 {
        if section.has(row) {
            let whose = algorithm.map_or_else(|| "the proposal".to_owned(), |name| format!("`{name}`"));
            section.error(row, format!("{whose} takes no key of this kind"), "leave it out");
        }
        return Some(Vec::new().into());
    }
    let algorithm = algorithm.unwrap_or_default();
    let octets = format!("`openssl rand -hex {len}` makes one");
    if !section.has(row) {
        section.section_error(format!("`{algorithm}` needs `{}` of {len} octets", row.name), octets);
        return None;
    }
    let given = section.maybe(key)?;
    if given.len() != len {
        section.error(row, format!("`{algorithm}` needs {len} octets, not {}", given.len()), octets);
        return None;
    }
    Some(given)
}

// --- What does not fit together ------------------------------------------------------------------------------------

fn check(reader: &Reader<'_>, sa: &ManualSa) {
    if sa.local_address.is_ipv4() != sa.remote_address.is_ipv4() {
        let message = format!("`{}` and `{}` are of different families", sa.local_address, sa.remote_address);
        reader.error(&REMOTE_ADDR.row, message, "");
    }
    if sa.encapsulation == Encapsulation::Udp && (sa.ah.is_some() || sa.esp.is_none()) {
        reader.error(
            &CARRIER.row,
            "AH protects the addresses that a NAT changes, and does not go in UDP",
            "",
        );
    }
    let whole_packets = sa.mode == Mode::Tunnel && sa.esp.is_some();
    if sa.handling.padding != FlowPadding::None && !whole_packets {
        let row = &crate::table::handling::PADDING.row;
        reader.error(row, "only ESP in tunnel mode can hide the length of packets (RFC 4303 §2.7)", "");
    }
    interface::check(reader, &sa.interface, Treatment::Protect(sa.mode));
    check_selectors(reader, sa);
}

fn check_selectors(reader: &Reader<'_>, sa: &ManualSa) {
    let pairs = SelectorPair::all(&sa.local_selectors, &sa.remote_selectors);
    if pairs.is_empty() {
        let message = "`local_ts` and `remote_ts` have no family and protocol in common";
        return reader.error(&REMOTE_TS.row, message, "IPv4 goes with IPv4 and IPv6 with IPv6");
    }
    let ends = [
        (&LOCAL_TS, &sa.local_selectors, sa.local_address),
        (&REMOTE_TS, &sa.remote_selectors, sa.remote_address),
    ];
    for (key, selectors, own) in ends {
        let (is_fitting, wanted): (fn(&TrafficSelector, IpAddr) -> bool, String) = match sa.mode {
            Mode::Tunnel => continue,
            Mode::Transport => (
                |selector, own| selector.addresses == sa::AddressRange::host(own),
                format!("transport mode protects what the two ends say themselves, which is `{own}` here"),
            ),
            Mode::Beet => (
                |selector, _| selector.addresses.start() == selector.addresses.end(),
                "BEET mode has one inner address at each end".to_owned(),
            ),
        };
        if let Some(selector) = selectors.iter().find(|selector| !is_fitting(selector, own)) {
            reader.error(&key.row, format!("`{selector}` cannot be carried: {wanted}"), "");
        }
    }
}

/// What a person must know who relies on this.
fn warn(reader: &Reader<'_>, sa: &ManualSa) {
    let faults = reader.faults;
    let danger = format!("`{}` {}", sa.name, ManualSa::DANGER);
    faults.warning(reader.span, &reader.path, danger, "a connection with IKE has neither weakness");
    let protocols = [&sa.esp, &sa.ah].into_iter().flatten();
    let has_esn = protocols.clone().any(|keys| keys.esn == Esn::Yes);
    if sa.replay_window > 0 {
        let message = "an end that restarts counts from 1 again, and the other drops all that it sends until the count has \
                       caught up (RFC 4303 §5)";
        faults.warning(reader.place(&NO_WINDOW.row), &reader.key(NO_WINDOW.row.name), message, "write 0");
    } else if has_esn {
        let message = "64-bit sequence numbers are followed by the anti-replay window, and there is none: an end that \
                       restarts after 4,294,967,295 packets is not understood any more (RFC 4303 §3.3.3)";
        faults.warning(reader.span, &reader.path, message, "leave `esn` out");
    }
}
