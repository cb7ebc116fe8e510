//! How long a packet the path to each peer takes (RFC 4301 §8.2, RFC 1191, RFC 8201).
//!
//! ```text
//!   device and route ── set_link ──┐
//!   ICMP of routers  ── report ────┤     the least of them, for as long as it holds
//!   probes answered  ── set_probed ┴───► PathMtu ◄── every SA to the peer reads it for each packet
//! ```
//!
//! An ICMP error is no proof of anything: whoever guesses addresses and ports can send one. It is believed if it quotes
//! the SPI of an SA to that peer, which is known to the path's routers and to nobody else; it can only make packets
//! shorter, only down to what every path takes, and for ten minutes (RFC 1191 §6.3).
//!
//! Lengths are those of whole packets, their outer IP header included.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sa::{Protocol, Spi};
use wire::ip::{Fragment, IcmpError, IcmpFault, Packet, protocol};
use wire::{esp, udp};

use crate::few::Few;
use crate::limits::{
    LEAST_PATH_MTU_V4, LEAST_PATH_MTU_V6, LINK_QUESTION_INTERVAL, LONGEST_IP_PACKET, PATH_MTU_AGE,
};

/// The paths to all peers; whoever hears of one changes them, and SAs read their [`PathMtu`].
#[derive(Debug, Default)]
pub struct Paths {
    paths: BTreeMap<IpAddr, Path>,
    /// What probes found, also before an SA needs it and between two.
    probed: BTreeMap<IpAddr, usize>,
    /// When what is known of a path is old.
    ages: BTreeSet<(Instant, IpAddr)>,
}

/// The length in octets of the longest packet that the path to one peer takes, as far as is known. SAs to the same peer
/// share it.
#[derive(Debug)]
pub struct PathMtu(AtomicUsize);

#[derive(Debug)]
struct Path {
    shared: Arc<PathMtu>,
    /// The SAs that send along the path.
    sas: Few<(Protocol, Spi)>,
    /// `None` until somebody asks for the path, or says something of it.
    known: Option<Box<Known>>,
}

/// What is known of a path, in octets, and since when.
#[derive(Debug, Default)]
struct Known {
    link: Option<usize>,
    /// When the link was asked for.
    asked: Option<Instant>,
    reported: Option<usize>,
    probed: Option<usize>,
    /// The path's place in [`Paths::ages`].
    old_at: Option<Instant>,
}

/// What an ICMP error says that a packet of ours was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBigReport {
    /// The MTU that it names; 0 if it names none (RFC 1191 §5).
    pub mtu: u32,
    /// The protocol of the packet that it quotes.
    pub protocol: Protocol,
    /// Its SPI.
    pub spi: Spi,
}

impl TooBigReport {
    /// Takes what an ICMP error says that our own outer packet was too long; gives the peer that the packet was for as well.
    /// `None` if it says no such thing, or quotes too little to tell which SA the packet was of.
    pub fn of(error: &IcmpError<'_>) -> Option<(IpAddr, TooBigReport)> {
        let IcmpFault::TooBig { mtu } = error.fault else { return None };
        let quoted = error.quoted_front();
        let packet = Packet::new(quoted.octets()).ok()?;
        let found = packet.upper_layer().ok()?;
        let payload = packet.octets().get(found.offset..)?;
        let (protocol, spi) = match (found.fragment, found.protocol) {
            (Fragment::Later, _) => return None,
            (_, protocol::ESP) => (Protocol::Esp, esp::Header::decode(payload).ok()?.spi),
            (_, protocol::AH) => (Protocol::Ah, spi_of_ah(payload)?),
            (_, protocol::UDP) => {
                let datagram = payload.get(udp::Header::LEN..)?;
                (Protocol::Esp, esp::Header::decode(datagram).ok()?.spi)
            }
            _ => return None,
        };
        Some((packet.destination(), TooBigReport { mtu, protocol, spi }))
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// The path takes this many octets from now on.
    Lowered(usize),
    /// It says nothing new.
    Known,
    /// It cannot be about a packet of ours, or names what no path has.
    Disbelieved,
}

impl PathMtu {
    /// Nothing is known: the path takes whatever IP can express.
    fn unknown() -> PathMtu {
        PathMtu(AtomicUsize::new(LONGEST_IP_PACKET))
    }

    /// Gives the octets of the longest packet, its outer IP header included.
    pub fn octets(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells whether anybody said anything of the path.
    pub fn is_known(&self) -> bool {
        self.octets() < LONGEST_IP_PACKET
    }
}

impl Paths {
    /// Says that an SA sends to `remote`, and gives what it is to look at.
    pub fn join(&mut self, remote: IpAddr, protocol: Protocol, spi: Spi) -> Arc<PathMtu> {
        let probed = self.probed.get(&remote).copied();
        let path = self.paths.entry(remote).or_insert_with(|| Path::new(remote, probed));
        path.sas.insert((protocol, spi));
        Arc::clone(&path.shared)
    }

    /// Says that an SA sends to `remote` no more; with the last one, what was known of the path is forgotten.
    pub fn leave(&mut self, remote: IpAddr, protocol: Protocol, spi: Spi) {
        if let Some(path) = self.paths.get_mut(&remote) {
            path.sas.remove((protocol, spi));
            if path.sas.is_empty() {
                if let Some(old_at) = path.known.as_ref().and_then(|known| known.old_at) {
                    self.ages.remove(&(old_at, remote));
                }
                self.paths.remove(&remote);
            }
        }
    }

    /// Tells whether it is time to ask the host what the first link on the way to `remote` takes: somebody has reason to,
    /// and nobody did a moment ago. Whoever is told so asks.
    pub fn may_ask_link(&mut self, remote: IpAddr, now: Instant) -> bool {
        let Some(path) = self.paths.get_mut(&remote) else { return false };
        let known = path.known_mut();
        let is_due =
            known.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= LINK_QUESTION_INTERVAL);
        if is_due {
            known.asked = Some(now);
        }
        is_due
    }

    /// Says what the first link on the way to `remote` takes.
    pub fn set_link(&mut self, remote: IpAddr, mtu: usize, now: Instant) {
        if let Some(path) = self.paths.get_mut(&remote) {
            path.known_mut().link = Some(mtu);
            path.publish(remote);
            if path.known_mut().old_at.is_none() {
                self.keep_until(remote, now + PATH_MTU_AGE);
            }
        }
    }

    /// Says what probes found, which is better than what routers reported; `None` if nobody probes any more.
    pub fn set_probed(&mut self, remote: IpAddr, mtu: Option<usize>) {
        match mtu {
            Some(mtu) => self.probed.insert(remote, mtu),
            None => self.probed.remove(&remote),
        };
        if let Some(path) = self.paths.get_mut(&remote) {
            let known = path.known_mut();
            known.probed = mtu;
            known.reported = None;
            path.publish(remote);
        }
    }

    /// Takes what a router reports of a packet to `remote`.
    pub fn report(&mut self, remote: IpAddr, report: TooBigReport, now: Instant) -> Belief {
        let quoted = (report.protocol, report.spi);
        let Some(path) = self.paths.get(&remote).filter(|path| path.sas.contains(quoted)) else {
            return Belief::Disbelieved;
        };
        let before = path.shared.octets();
        let Some(mtu) = credible(remote, report.mtu, before) else { return Belief::Disbelieved };
        if mtu >= before {
            return Belief::Known;
        }
        if let Some(path) = self.paths.get_mut(&remote) {
            path.known_mut().reported = Some(mtu);
            path.publish(remote);
        }
        self.keep_until(remote, now + PATH_MTU_AGE);
        Belief::Lowered(mtu)
    }

    /// Forgets what routers reported so long ago that the path may have changed, and gives the peers whose first link is
    /// to be asked for anew.
    pub fn age(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut old = Vec::new();
        while let Some((_, remote)) = self.ages.first().filter(|(old_at, _)| *old_at <= now).copied() {
            self.ages.pop_first();
            if let Some(path) = self.paths.get_mut(&remote) {
                let known = path.known_mut();
                known.old_at = None;
                known.reported = None;
                path.publish(remote);
                old.push(remote);
            }
        }
        old
    }

    /// Tells what the path to `remote` takes; `None` if no SA sends there.
    pub fn octets(&self, remote: IpAddr) -> Option<usize> {
        self.paths.get(&remote).map(|path| path.shared.octets())
    }

    fn keep_until(&mut self, remote: IpAddr, old_at: Instant) {
        if let Some(path) = self.paths.get_mut(&remote) {
            if let Some(earlier) = path.known_mut().old_at.replace(old_at) {
                self.ages.remove(&(earlier, remote));
            }
            self.ages.insert((old_at, remote));
        }
    }
}

impl Path {
    fn new(remote: IpAddr, probed: Option<usize>) -> Path {
        let known = probed.map(|probed| Box::new(Known { probed: Some(probed), ..Known::default() }));
        let path = Path { shared: Arc::new(PathMtu::unknown()), sas: Few::None, known };
        path.publish(remote);
        path
    }

    fn known_mut(&mut self) -> &mut Known {
        self.known.get_or_insert_default()
    }

    fn publish(&self, remote: IpAddr) {
        let known = self.known.iter().flat_map(|known| [known.link, known.reported, known.probed]);
        let octets = known.flatten().fold(LONGEST_IP_PACKET, usize::min);
        self.shared.0.store(octets.max(least(remote)), Ordering::Relaxed);
    }
}

/// Reads the SPI of an AH header whose end may be missing.
fn spi_of_ah(header: &[u8]) -> Option<Spi> {
    header.get(4..8)?.try_into().ok().map(|octets| Spi(u32::from_be_bytes(octets)))
}

/// Gives the MTU that a report stands for, if any path could have it; `before` is what the path took so far.
fn credible(remote: IpAddr, reported: u32, before: usize) -> Option<usize> {
    let mtu = usize::try_from(reported).ok()?;
    match (remote, mtu) {
        // RFC 1191 §7.1: the next of the usual MTUs below what did not pass.
        (IpAddr::V4(_), 0) => {
            let lower = PLATEAUS.iter().find(|plateau| **plateau < before)?;
            Some(LEAST_PATH_MTU_V4.max(*lower))
        }
        (IpAddr::V4(_), mtu) => Some(mtu.max(LEAST_PATH_MTU_V4)),
        // RFC 8201 §4: a message that names less must be discarded.
        (IpAddr::V6(_), mtu) => Some(mtu).filter(|mtu| *mtu >= LEAST_PATH_MTU_V6),
    }
}

fn least(remote: IpAddr) -> usize {
    match remote {
        IpAddr::V4(_) => LEAST_PATH_MTU_V4,
        IpAddr::V6(_) => LEAST_PATH_MTU_V6,
    }
}

/// RFC 1191 §7.
const PLATEAUS: [usize; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use wire::ip::{Ecn, Ipv4Header, Ipv6Header, LONGEST_ERROR, write_too_big};

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const SPI: Spi = Spi(0x1234);

    fn paths() -> (Paths, [Arc<PathMtu>; 2]) {
        let mut paths = Paths::default();
        let shared = [V4, V6].map(|remote| {
            let shared = paths.join(remote, Protocol::Esp, SPI);
            paths.set_link(remote, 1500, Instant::now());
            shared
        });
        (paths, shared)
    }

    #[test]
    fn a_report_makes_packets_shorter_for_ten_minutes() {
        let (mut paths, [v4, v6]) = paths();
        let now = Instant::now();
        for (remote, shared) in [(V4, v4), (V6, v6)] {
            let report = TooBigReport { mtu: 1400, protocol: Protocol::Esp, spi: SPI };
            assert_eq!(paths.report(remote, report, now), Belief::Lowered(1400));
            assert_eq!(paths.report(remote, report, now), Belief::Known);
            assert_eq!(paths.report(remote, TooBigReport { mtu: 1450, ..report }, now), Belief::Known);
            paths.age(now + PATH_MTU_AGE - Duration::from_millis(1));
            assert_eq!(shared.octets(), 1400);
            assert!(paths.age(now + PATH_MTU_AGE).contains(&remote));
            assert_eq!(shared.octets(), 1500);
        }
    }

    #[test]
    fn a_link_is_asked_for_when_there_is_reason_and_now_and_then() {
        let (mut paths, _) = paths();
        let now = Instant::now();
        assert!(paths.may_ask_link(V4, now));
        assert!(!paths.may_ask_link(V4, now));
        assert!(paths.may_ask_link(V4, now + LINK_QUESTION_INTERVAL));
        assert!(!paths.may_ask_link(IpAddr::from([192, 0, 2, 2]), now));
        let later = now + PATH_MTU_AGE;
        assert_eq!(paths.age(later), [V4, V6]);
        assert_eq!(paths.age(later), Vec::<IpAddr>::new());
        paths.set_link(V4, 9000, later);
        assert_eq!(paths.age(later + PATH_MTU_AGE), [V4]);
    }

    #[test]
    fn a_report_that_cannot_be_about_our_packets_is_not_believed() {
        let (mut paths, [v4, _]) = paths();
        let report = TooBigReport { mtu: 1400, protocol: Protocol::Esp, spi: Spi(0x4321) };
        assert_eq!(paths.report(V4, report, Instant::now()), Belief::Disbelieved);
        let elsewhere = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(
            paths.report(elsewhere, TooBigReport { spi: SPI, ..report }, Instant::now()),
            Belief::Disbelieved
        );
        assert_eq!(v4.octets(), 1500);
    }

    #[test]
    fn no_report_makes_packets_shorter_than_any_path_does() {
        let (mut paths, [v4, v6]) = paths();
        let report = TooBigReport { mtu: 68, protocol: Protocol::Esp, spi: SPI };
        assert_eq!(paths.report(V4, report, Instant::now()), Belief::Lowered(576));
        assert_eq!(v4.octets(), 576);
        for mtu in [0, 1279] {
            let belief = paths.report(V6, TooBigReport { mtu, ..report }, Instant::now());
            assert_eq!(belief, Belief::Disbelieved);
        }
        assert_eq!(v6.octets(), 1500);
    }

    /// An IPv4 packet of ours to [`V4`], and an IPv6 packet to [`V6`].
    fn outer(protocol: u8, payload: &[u8]) -> [Vec<u8>; 2] {
        let v4 = Ipv4Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            total_length: (20 + payload.len()) as u16,
            identification: 1,
            dont_fragment: true,
            ttl: 64,
            protocol,
            source: [198, 51, 100, 1].into(),
            destination: [192, 0, 2, 1].into(),
        };
        let v6 = Ipv6Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            flow_label: 0,
            payload_length: payload.len() as u16,
            next_header: protocol,
            hop_limit: 64,
            source: "2001:db8::1".parse().expect("an address"),
            destination: std::net::Ipv6Addr::LOCALHOST,
        };
        [[&v4.encode()[..], payload].concat(), [&v6.encode()[..], payload].concat()]
    }

    #[test]
    fn an_error_about_a_packet_of_ours_is_mapped_to_its_sa() {
        let esp = [&0x1234u32.to_be_bytes()[..], &[0, 0, 0, 1], &[0x55; 1400]].concat();
        let ah = [&[50, 4, 0, 0][..], &0x1234u32.to_be_bytes(), &[0, 0, 0, 1], &[0x55; 1400]].concat();
        let natt = [&[4500u16, 4500, 1416, 0].map(u16::to_be_bytes).concat()[..], &esp].concat();
        for (number, payload, expected) in [
            (protocol::ESP, &esp, Some(Protocol::Esp)),
            (protocol::AH, &ah, Some(Protocol::Ah)),
            (protocol::UDP, &natt, Some(Protocol::Esp)),
            (protocol::TCP, &esp, None),
        ] {
            for (packet, remote) in outer(number, payload).iter().zip([V4, V6]) {
                let mut out = [0; LONGEST_ERROR];
                let length = write_too_big(packet, 1400, &mut out).expect("a sound packet");
                let error = IcmpError::of(&out[..length]).expect("a sound packet").expect("an error");
                let report = |protocol| (remote, TooBigReport { mtu: 1400, protocol, spi: SPI });
                assert_eq!(TooBigReport::of(&error), expected.map(report));
                // RFC 792 asks for eight octets behind the IP header, which are not enough to find an SPI behind UDP's.
                let front = packet.len() - payload.len() + 8;
                let short = IcmpError { quoted: &error.quoted[..front], ..error };
                let expected = expected.filter(|_| number != protocol::UDP);
                assert_eq!(TooBigReport::of(&short), expected.map(report));
            }
        }
    }

    /// RFC 1191 §5: an old router does not name its MTU.
    #[test]
    fn a_report_without_an_mtu_goes_down_the_usual_ones() {
        let (mut paths, [v4, _]) = paths();
        let report = TooBigReport { mtu: 0, protocol: Protocol::Esp, spi: SPI };
        let told: Vec<usize> = std::iter::repeat_with(|| {
            paths.report(V4, report, Instant::now());
            v4.octets()
        })
        .take(4)
        .collect();
        assert_eq!(told, [1492, 1006, 576, 576]);
    }

    #[test]
    fn what_probes_found_replaces_what_routers_reported() {
        let (mut paths, [v4, _]) = paths();
        paths.report(V4, TooBigReport { mtu: 1300, protocol: Protocol::Esp, spi: SPI }, Instant::now());
        paths.set_probed(V4, Some(1450));
        assert_eq!(v4.octets(), 1450);
        paths.set_link(V4, 1420, Instant::now());
        assert_eq!(v4.octets(), 1420);
        paths.set_probed(V4, None);
        assert_eq!(v4.octets(), 1420);
    }

    #[test]
    fn a_path_is_forgotten_with_its_last_sa_and_kept_across_a_rekeying() {
        let (mut paths, _) = paths();
        paths.report(V4, TooBigReport { mtu: 1300, protocol: Protocol::Esp, spi: SPI }, Instant::now());
        assert_eq!(paths.join(V4, Protocol::Esp, Spi(0x5678)).octets(), 1300);
        paths.leave(V4, Protocol::Esp, SPI);
        assert_eq!(paths.octets(V4), Some(1300));
        paths.leave(V4, Protocol::Esp, Spi(0x5678));
        assert_eq!(paths.octets(V4), None);
        assert_eq!(paths.age(Instant::now() + PATH_MTU_AGE), [V6]);
    }

    proptest! {
        /// Whatever is reported in whatever order, the path is what the least of the reports that still hold says.
        #[test]
        fn reports_agree_with_a_list_of_them(
            reports in proptest::collection::vec((0u64..1500, 1u32..2000), 1..20),
        ) {
            let (mut paths, [v4, _]) = paths();
            let start = Instant::now();
            let mut reports = reports;
            reports.sort();
            let mut model: Option<(u64, usize)> = None;
            for (at, mtu) in reports {
                let now = start + Duration::from_secs(at);
                paths.age(now);
                model = model.filter(|(since, _)| at < since + PATH_MTU_AGE.as_secs());
                let mtu_now = model.map_or(1500, |(_, mtu)| mtu);
                if mtu.max(576) < mtu_now as u32 {
                    model = Some((at, mtu.max(576) as usize));
                }
                paths.report(V4, TooBigReport { mtu, protocol: Protocol::Esp, spi: SPI }, now);
                prop_assert_eq!(v4.octets(), model.map_or(1500, |(_, mtu)| mtu));
            }
        }
    }
}
