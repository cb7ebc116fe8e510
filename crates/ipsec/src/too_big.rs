//! Telling the sender of a packet that it is too long for its SA (RFC 1191 §4, RFC 4443 §3.2, RFC 4301 §8.2.1).
//!
//! An ICMP error never answers another, nor a fragment whose first part was lost, nor what many may have received, or
//! nobody sent (RFC 1122 §3.2.2, RFC 4443 §2.4); and only so many go out in a second.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use wire::ip::{Fragment, IcmpError, Packet, write_too_big};

use crate::limits::{ICMP_BUCKETS, ICMP_BURST, ICMP_BURST_OF_ALL, ICMP_INTERVAL, ICMP_INTERVAL_OF_ALL};

/// Writes ICMP errors, not too many of them.
#[derive(Debug)]
pub struct TooBigAnswers {
    all: Bucket,
    hosts: Box<[Bucket]>,
}

/// A bucket of tokens, one for each answer that may go out, in the form of the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl TooBigAnswers {
    /// Begins with full buckets.
    pub fn new() -> TooBigAnswers {
        TooBigAnswers { all: Bucket::default(), hosts: vec![Bucket::default(); ICMP_BUCKETS].into() }
    }

    /// Writes to `out` the whole packet that tells the sender of `packet` that `mtu` octets pass, and gives its length;
    /// `None` if this packet must not be answered, or not now.
    ///
    /// The answer takes at most [`LONGEST_ERROR`](wire::ip::LONGEST_ERROR) octets.
    pub fn write(&mut self, packet: &[u8], mtu: u16, now: Instant, out: &mut [u8]) -> Option<usize> {
        let source = may_be_answered(packet)?;
        let host = self.hosts.get_mut(bucket_of(source))?;
        let is_due = host.may_take(ICMP_INTERVAL, ICMP_BURST, now)
            && self.all.may_take(ICMP_INTERVAL_OF_ALL, ICMP_BURST_OF_ALL, now);
        if !is_due {
            return None;
        }
        host.take(ICMP_INTERVAL, now);
        self.all.take(ICMP_INTERVAL_OF_ALL, now);
        write_too_big(packet, mtu, out).ok()
    }
}

impl Default for TooBigAnswers {
    fn default() -> TooBigAnswers {
        TooBigAnswers::new()
    }
}

impl Bucket {
    fn may_take(&self, interval: Duration, burst: u32, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now + interval * (burst - 1))
    }

    fn take(&mut self, interval: Duration, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + interval);
    }
}

/// Gives the sender of a packet if it may be told of an error.
fn may_be_answered(bytes: &[u8]) -> Option<IpAddr> {
    let packet = Packet::new(bytes).ok()?;
    let is_front = packet.upper_layer().ok()?.fragment != Fragment::Later;
    let is_error = IcmpError::of(bytes).ok()?.is_some();
    let source = packet.source();
    let is_one_host = !source.is_unspecified() && !source.is_loopback() && !is_many(source);
    (is_front && !is_error && is_one_host && !is_many(packet.destination())).then_some(source)
}

/// Tells whether an address names several hosts, or none.
fn is_many(address: IpAddr) -> bool {
    match address {
        // Class E, the broadcast address among it (RFC 1112 §4).
        IpAddr::V4(address) => address.is_multicast() || address.octets()[0] >= 240,
        IpAddr::V6(address) => address.is_multicast(),
    }
}

fn bucket_of(host: IpAddr) -> usize {
    let bits = match host {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let folded = (bits >> 64) as u64 ^ bits as u64;
    // Multiplication by an odd constant spreads neighbours.
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % ICMP_BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ip::{Ecn, IcmpFault, Ipv4Header, Ipv6Header, LONGEST_ERROR, protocol};

    fn v4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv4Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            total_length: (20 + payload.len()) as u16,
            identification: 1,
            dont_fragment: true,
            ttl: 64,
            protocol,
            source: source.into(),
            destination: destination.into(),
        };
        [&header.encode()[..], payload].concat()
    }

    fn v6(destination: &str, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            dscp: 0,
            ecn: Ecn::NotCapable,
            flow_label: 0,
            payload_length: payload.len() as u16,
            next_header: protocol::ICMPV6,
            hop_limit: 64,
            source: "fd00::1".parse().expect("an address"),
            destination: destination.parse().expect("an address"),
        };
        [&header.encode()[..], payload].concat()
    }

    fn answer(packet: &[u8]) -> Option<IcmpFault> {
        let mut out = [0; LONGEST_ERROR];
        let length = TooBigAnswers::new().write(packet, 1400, Instant::now(), &mut out)?;
        let error = IcmpError::of(&out[..length]).expect("a sound packet").expect("an error");
        Some(error.fault)
    }

    const HERE: [u8; 4] = [10, 1, 0, 1];
    const THERE: [u8; 4] = [10, 2, 0, 1];
    const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_sender_is_told() {
        let told = Some(IcmpFault::TooBig { mtu: 1400 });
        assert_eq!(answer(&v4(HERE, THERE, protocol::ICMP, &ECHO)), told);
        assert_eq!(answer(&v4(HERE, THERE, 253, b"whatever")), told);
        assert_eq!(answer(&v6("fd00::2", &[128, 0, 0, 0, 0, 0, 0, 0])), told);
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let error = [3, 1, 0, 0, 0, 0, 0, 0];
        let mut later = v4(HERE, THERE, 253, b"whatever");
        later[7] = 1;
        for packet in [
            v4(HERE, THERE, protocol::ICMP, &error),
            v6("fd00::2", &[1, 0, 0, 0, 0, 0, 0, 0]),
            // Too short to tell.
            v4(HERE, THERE, protocol::ICMP, &ECHO[..3]),
            later,
            v4(HERE, [224, 0, 0, 5], 89, &[]),
            v4(HERE, [255; 4], 253, &[]),
            v6("ff02::1", &[128, 0, 0, 0, 0, 0, 0, 0]),
            v4([0; 4], THERE, 253, &[]),
            v4([127, 0, 0, 1], THERE, 253, &[]),
            v4([224, 0, 0, 1], THERE, 253, &[]),
            v4([255; 4], THERE, 253, &[]),
            b"no packet".to_vec(),
        ] {
            assert_eq!(answer(&packet), None, "{packet:?}");
        }
    }

    #[test]
    fn a_host_is_answered_so_often_and_others_meanwhile() {
        let (mut answers, mut out, mut now) = (TooBigAnswers::new(), [0; LONGEST_ERROR], Instant::now());
        let mut count = |host: u8, now, wanted: usize| {
            let packet = v4([10, 1, 0, host], THERE, 253, &[]);
            (0..wanted).filter(|_| answers.write(&packet, 1400, now, &mut out).is_some()).count()
        };
        assert_eq!(count(1, now, 20), ICMP_BURST as usize);
        now += ICMP_INTERVAL;
        assert_eq!(count(1, now, 20), 1);
        assert_eq!(count(2, now, 5), 5);
        now += ICMP_INTERVAL * 100;
        assert_eq!(count(1, now, 20), ICMP_BURST as usize);
    }

    #[test]
    fn all_hosts_together_are_answered_so_often() {
        let (mut answers, mut out, now) = (TooBigAnswers::new(), [0; LONGEST_ERROR], Instant::now());
        let hosts = (0..=255).map(|host| v4([10, 1, 0, host], THERE, 253, &[]));
        let answered = hosts.filter(|packet| answers.write(packet, 1400, now, &mut out).is_some()).count();
        assert_eq!(answered, ICMP_BURST_OF_ALL as usize);
    }
}
