//! An emulated network: what it loses, delays, repeats and spoils is decided by a seed.
//!
//! ```text
//!   send ─► sender's NAT ─► weather (drop · delay · repeat · spoil) ─► … ─► receiver's NAT ─► deliver
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use wire::isakmp::Flags;
use wire::registry::ExchangeType;

use crate::{Cargo, Nat, Parcel, SeededRandom, Side};

/// What happens to datagrams on their way from one side to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How many of a hundred datagrams are lost, each on its own.
    pub loss_percent: u8,
    /// How many of a hundred datagrams begin a burst of loss.
    pub burst_percent: u8,
    /// How many datagrams a burst swallows.
    pub burst_length: u32,
    /// How many of a hundred datagrams arrive twice.
    pub duplicate_percent: u8,
    /// How many of a hundred IKE datagrams arrive with a few bits flipped.
    pub corrupt_percent: u8,
    /// How many of a hundred messages of IKEv1's quick mode get the commit bit on the way: no hash covers it.
    pub commit_percent: u8,
    /// How long a datagram takes; each draws its own time, so a wide range reorders.
    pub latency: RangeInclusive<Duration>,
    /// The longest IP packet that passes, in octets; longer ones vanish, as IP fragments do behind many firewalls.
    pub largest_packet: usize,
}

impl Weather {
    /// Loses nothing and keeps the order.
    pub const CLEAR: Weather = Weather {
        loss_percent: 0,
        burst_percent: 0,
        burst_length: 0,
        duplicate_percent: 0,
        corrupt_percent: 0,
        commit_percent: 0,
        latency: Duration::from_millis(10)..=Duration::from_millis(10),
        largest_packet: usize::MAX,
    };

    /// Loses nothing, but reorders and repeats.
    pub const SHUFFLED: Weather = Weather {
        duplicate_percent: 20,
        latency: Duration::from_millis(1)..=Duration::from_millis(300),
        ..Weather::CLEAR
    };

    /// Lets nothing through.
    pub const DEAD: Weather = Weather { loss_percent: 100, ..Weather::CLEAR };

    /// Loses this many of a hundred datagrams, and reorders and repeats others.
    #[must_use]
    pub fn lossy(percent: u8) -> Weather {
        Weather { loss_percent: percent, ..Weather::SHUFFLED }
    }
}

/// The network between two sides.
#[derive(Debug)]
pub struct Network {
    /// What happens to the datagrams of each side, by [`Side::index`] of the sender.
    pub weather: [Weather; 2],
    /// The translator before each side, by [`Side::index`].
    pub nats: [Option<Nat>; 2],
    /// The addresses of each side, by [`Side::index`].
    addresses: [Vec<IpAddr>; 2],
    random: SeededRandom,
    burst_left: [u32; 2],
    flights: BTreeMap<(Instant, u64), Flight>,
    ike_in_flight: usize,
    departures: u64,
}

/// A datagram between departure and arrival.
#[derive(Debug)]
struct Flight {
    to: Side,
    parcel: Parcel,
}

/// How the network lost a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// To the weather.
    Weather,
    /// To its length.
    TooLong,
    /// To a translator that has no port for it, since it has none itself.
    NotTranslatable,
    /// To a translator that knows no receiver for it.
    Unmapped,
    /// To an address that nobody has.
    NoSuchAddress,
}

impl Network {
    /// Makes the network between the two sides' own addresses, those behind their translators; the first is a side's main one.
    pub fn new(
        random: SeededRandom,
        addresses: [Vec<IpAddr>; 2],
        nats: [Option<Nat>; 2],
        weather: [Weather; 2],
    ) -> Network {
        Network {
            weather,
            nats,
            addresses,
            random,
            burst_left: [0; 2],
            flights: BTreeMap::new(),
            ike_in_flight: 0,
            departures: 0,
        }
    }

    /// Gives the address at which the other side reaches `side`.
    pub fn public_address(&self, side: Side) -> IpAddr {
        match &self.nats[side.index()] {
            Some(nat) => nat.outside(),
            None => self.addresses[side.index()][0],
        }
    }

    /// Gives a side other addresses, and another translator before it or none; the first address is its main one.
    ///
    /// # Panics
    /// There is no address.
    pub fn relocate(&mut self, side: Side, addresses: Vec<IpAddr>, nat: Option<Nat>) {
        assert!(!addresses.is_empty(), "a side has an address");
        self.addresses[side.index()] = addresses;
        self.nats[side.index()] = nat;
    }

    /// Tells whether a side has an address.
    pub(crate) fn has(&self, side: Side, address: IpAddr) -> bool {
        self.addresses[side.index()].contains(&address)
    }

    /// Takes a datagram; gives its loss if it will not arrive, not even once.
    pub fn send(&mut self, now: Instant, from: Side, mut parcel: Parcel) -> Option<Loss> {
        if !matches!(parcel.cargo, Cargo::Plain(_)) && !self.has(from, parcel.source.ip()) {
            return Some(Loss::NoSuchAddress);
        }
        let octets = parcel.octets();
        if let Some(nat) = &mut self.nats[from.index()] {
            if !parcel.cargo.has_ports() {
                return Some(Loss::NotTranslatable);
            }
            parcel.source = nat.translate_out(now, parcel.source);
        }
        let weather = self.weather[from.index()].clone();
        if octets > weather.largest_packet {
            return Some(Loss::TooLong);
        }
        if self.swallows(from, &weather) {
            return Some(Loss::Weather);
        }
        let copies = 1 + u8::from(self.random.chance(weather.duplicate_percent));
        for _ in 0..copies {
            let mut copy = parcel.clone();
            if let Cargo::Ike(bytes) = &mut copy.cargo
                && self.random.chance(weather.corrupt_percent)
            {
                self.flip_bits(bytes);
            }
            if let Cargo::Ike(bytes) = &mut copy.cargo
                && weather.commit_percent > 0
                && self.random.chance(weather.commit_percent)
            {
                commit(bytes);
            }
            let arrival = now + self.random.duration(weather.latency.clone());
            self.depart(arrival, from.other(), copy);
        }
        None
    }

    /// Puts a datagram of an attacker on its way to a side, past weather and the sender's translator.
    pub fn inject(&mut self, arrival: Instant, to: Side, parcel: Parcel) {
        self.depart(arrival, to, parcel);
    }

    /// Tells when the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    /// Gives the next datagram that has arrived by `now`, or its loss at the receiver's doorstep.
    pub fn receive(&mut self, now: Instant) -> Option<(Side, Parcel, Option<Loss>)> {
        let flight = self.flights.first_entry().filter(|entry| entry.key().0 <= now)?;
        let Flight { to, mut parcel } = flight.remove();
        self.ike_in_flight -= usize::from(matches!(parcel.cargo, Cargo::Ike(_)));
        let loss = match &self.nats[to.index()] {
            Some(nat) => match nat.translate_in(now, parcel.destination) {
                Some(inside) => {
                    parcel.destination = inside;
                    None
                }
                None => Some(Loss::Unmapped),
            },
            None if self.has(to, parcel.destination.ip()) => None,
            None => Some(Loss::NoSuchAddress),
        };
        Some((to, parcel, loss))
    }

    /// Tells whether an IKE datagram is on its way.
    pub(crate) fn carries_ike(&self) -> bool {
        self.ike_in_flight > 0
    }

    fn depart(&mut self, arrival: Instant, to: Side, parcel: Parcel) {
        // The departure's number keeps the order of datagrams that arrive at the same moment.
        self.departures += 1;
        self.ike_in_flight += usize::from(matches!(parcel.cargo, Cargo::Ike(_)));
        self.flights.insert((arrival, self.departures), Flight { to, parcel });
    }

    fn swallows(&mut self, from: Side, weather: &Weather) -> bool {
        let burst_left = &mut self.burst_left[from.index()];
        if *burst_left > 0 {
            *burst_left -= 1;
            return true;
        }
        if self.random.chance(weather.burst_percent) {
            *burst_left = weather.burst_length.saturating_sub(1);
            return weather.burst_length > 0;
        }
        self.random.chance(weather.loss_percent)
    }

    fn flip_bits(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.random.below(3) {
            let at = self.random.below(bytes.len() as u64) as usize;
            if let Some(octet) = bytes.get_mut(at) {
                *octet ^= 1 << self.random.below(8);
            }
        }
    }
}

/// Sets the commit bit in the header of a message of quick mode (RFC 2408 §3.1).
fn commit(bytes: &mut [u8]) {
    if let [exchange_type, flags] = &mut bytes[18..20]
        && *exchange_type == ExchangeType::V1_QUICK_MODE.0
    {
        *flags |= Flags::V1_COMMIT.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [&str; 2] = ["192.0.2.1", "198.51.100.1"];

    fn network(weather: Weather) -> Network {
        let addresses = HOSTS.map(|text| vec![text.parse().expect("an address")]);
        Network::new(SeededRandom::new(3), addresses, [None, None], [weather.clone(), weather])
    }

    fn numbered(number: u8) -> Parcel {
        let [source, destination] = HOSTS.map(|text| format!("{text}:500").parse().expect("an address"));
        Parcel { source, destination, cargo: Cargo::Ike(vec![number; 100]) }
    }

    fn arrivals(network: &mut Network) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(3600);
        let number = |parcel: Parcel| match parcel.cargo {
            Cargo::Ike(bytes) => bytes[0],
            other => panic!("only numbers were sent, not {other:?}"),
        };
        std::iter::from_fn(|| network.receive(end)).map(|(_, parcel, _)| number(parcel)).collect()
    }

    #[test]
    fn clear_weather_keeps_everything_in_order() {
        let mut network = network(Weather::CLEAR);
        let now = Instant::now();
        assert!((0..200).all(|number| network.send(now, Side::Left, numbered(number)).is_none()));
        assert_eq!(arrivals(&mut network), (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn lossy_weather_loses_its_share_and_reorders_and_repeats_the_rest() {
        let mut network = network(Weather::lossy(30));
        let now = Instant::now();
        let lost =
            (0..200).filter(|number| network.send(now, Side::Left, numbered(*number)).is_some()).count();
        assert!((40..80).contains(&lost), "{lost}");
        let arrived = arrivals(&mut network);
        assert!(arrived.len() > 200 - lost);
        assert!(!arrived.is_sorted());
    }

    #[test]
    fn a_burst_swallows_datagrams_in_a_row() {
        let mut network = network(Weather { burst_percent: 5, burst_length: 4, ..Weather::CLEAR });
        let now = Instant::now();
        let fates: Vec<bool> =
            (0..200).map(|number| network.send(now, Side::Left, numbered(number)).is_some()).collect();
        assert!(fates.windows(4).any(|row| row == [true; 4]));
        assert!(fates.windows(4).any(|row| row == [false; 4]));
    }

    #[test]
    fn long_packets_vanish_and_unknown_addresses_have_nobody() {
        let mut network = network(Weather { largest_packet: 127, ..Weather::CLEAR });
        let now = Instant::now();
        assert_eq!(network.send(now, Side::Left, numbered(0)), Some(Loss::TooLong));
        let mut stray = numbered(0);
        stray.destination = "203.0.113.9:500".parse().expect("an address");
        stray.cargo = Cargo::Keepalive;
        assert_eq!(network.send(now, Side::Left, stray), None);
        let (_, _, loss) = network.receive(now + Duration::from_secs(1)).expect("it has arrived");
        assert_eq!(loss, Some(Loss::NoSuchAddress));
    }
}
