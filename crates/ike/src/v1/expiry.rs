//! How long an SA lives, as both phases say it: a type, seconds or kilobytes, and a number of them (RFC 2409 appendix A,
//! RFC 2407 §4.5).
//!
//! An answer repeats the offer, so a responder that wants less says so in a notification of its own (RFC 2407
//! §4.6.3.1): in message 6 of main mode or in quick mode, and after aggressive mode, which could not protect it, in an exchange
//! for itself. Each end keeps the lesser of what it wants and what it was told.

use std::time::Duration;

use wire::registry::v1::{LifeType, NotifyType, Phase1AttributeType, ProtocolId, SaAttributeType};
use wire::v1::{Attribute, DOI_IPSEC, Notification, Payload};

use super::contents::Contents;
use crate::exchange::IkeSpis;
use crate::limits;

/// The most that an SA may carry and the longest that it may live; `None` is nothing said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) time: Option<Duration>,
    pub(crate) kilobytes: Option<u64>,
}

/// Octets of a kilobyte (RFC 2407 §4.5).
pub(crate) const KILOBYTE: u64 = 1024;

/// The phase whose numbers attributes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    One,
    Two,
}

impl Phase {
    /// Gives the attributes for the type and for the number.
    fn attribute_types(self) -> (u16, u16) {
        match self {
            Phase::One => (Phase1AttributeType::LIFE_TYPE.0, Phase1AttributeType::LIFE_DURATION.0),
            Phase::Two => (SaAttributeType::LIFE_TYPE.0, SaAttributeType::LIFE_DURATION.0),
        }
    }
}

impl Expiry {
    /// Takes a time of zero, which stands for ever, for nothing said; and octets for whole kilobytes, where there is a
    /// limit.
    pub(crate) fn new(time: Duration, octets: u64) -> Expiry {
        let kilobytes = (octets != u64::MAX).then(|| (octets / KILOBYTE).max(1));
        Expiry { time: (!time.is_zero()).then_some(time), kilobytes }
    }

    /// Reads what attributes say, whatever stands between them. A number belongs to the type before it, or to the next
    /// one where there is none.
    pub(crate) fn read(phase: Phase, attributes: &[Attribute]) -> Expiry {
        let (type_attribute, number_attribute) = phase.attribute_types();
        let (mut expiry, mut life_type, mut number) = (Expiry::default(), None, None);
        for attribute in attributes {
            if attribute.attribute_type == type_attribute {
                life_type = attribute.as_number().and_then(|number| u16::try_from(number).ok()).map(LifeType);
            } else if attribute.attribute_type == number_attribute {
                number = attribute.as_number();
            }
            if let (Some(of), Some(value)) = (life_type, number) {
                expiry.set(of, value);
                (life_type, number) = (None, None);
            }
        }
        expiry
    }

    fn set(&mut self, life_type: LifeType, number: u64) {
        let number = Some(number).filter(|number| *number != 0);
        match life_type {
            LifeType::SECONDS => self.time = number.map(Duration::from_secs),
            LifeType::KILOBYTES => self.kilobytes = number,
            _ => {}
        }
    }

    /// Lays it out.
    pub(crate) fn attributes(self, phase: Phase) -> Vec<Attribute> {
        let (type_attribute, number_attribute) = phase.attribute_types();
        let seconds = self.time.map(|time| (LifeType::SECONDS, time.as_secs()));
        let kilobytes = self.kilobytes.map(|kilobytes| (LifeType::KILOBYTES, kilobytes));
        let both = [seconds, kilobytes].into_iter().flatten();
        both.flat_map(|(life_type, number)| {
            [
                Attribute::number(type_attribute, life_type.0.into()),
                Attribute::number(number_attribute, number),
            ]
        })
        .collect()
    }

    /// Gives the lesser of both.
    #[must_use]
    pub(crate) fn limited_to(self, other: Expiry) -> Expiry {
        Expiry { time: least(self.time, other.time), kilobytes: least(self.kilobytes, other.kilobytes) }
    }

    /// Gives what a responder that was offered `offered` adds to its answer, if it keeps the SA for less. `subject` is the
    /// SA towards it, or the ISAKMP SA.
    pub(crate) fn as_responder(
        self,
        offered: Expiry,
        phase: Phase,
        subject: (ProtocolId, Vec<u8>),
    ) -> Option<Payload> {
        let kept = self.limited_to(offered);
        let shorter = Expiry {
            time: kept.time.filter(|_| kept.time != offered.time),
            kilobytes: kept.kilobytes.filter(|_| kept.kilobytes != offered.kilobytes),
        };
        let (protocol, spi) = subject;
        (shorter != Expiry::default()).then(|| {
            Payload::Notification(Notification {
                doi: DOI_IPSEC,
                protocol,
                spi,
                notify_type: NotifyType::RESPONDER_LIFETIME,
                data: wire::v1::encode_attributes(&shorter.attributes(phase)).unwrap_or_default(),
            })
        })
    }

    /// Gives what the responder of an ISAKMP SA, which was offered this, says of it if we keep it for less.
    pub(crate) fn of_phase_1(self, ours: Duration, spis: IkeSpis) -> Option<Payload> {
        let subject = (ProtocolId::ISAKMP, [spis.initiator.to_octets(), spis.responder.to_octets()].concat());
        Expiry::new(ours, u64::MAX).as_responder(self, Phase::One, subject)
    }

    /// Reads what message 6 of main mode says of its ISAKMP SA. It is encrypted, but no hash shows whether somebody changed
    /// it (RFC 2407 §4.6.3): so it cannot make a life that is no use to anybody.
    pub(crate) fn in_message_6(contents: &Contents<'_>, spis: IkeSpis) -> Expiry {
        let cookies = [spis.initiator.to_octets(), spis.responder.to_octets()].concat();
        let is_about_it = |notification: &&Notification| {
            notification.protocol == ProtocolId::ISAKMP
                && (notification.spi.is_empty() || notification.spi == cookies)
        };
        let said = contents.notifications().filter(is_about_it).filter_map(Expiry::of_responder);
        let said = said.fold(Expiry::default(), Expiry::limited_to);
        Expiry { time: said.time.map(|time| time.max(limits::UNPROVEN_LIFETIME)), ..said }
    }

    /// Reads RESPONDER-LIFETIME. Some number its attributes as phase 1 does, where it is about that.
    pub(crate) fn of_responder(notification: &Notification) -> Option<Expiry> {
        if notification.notify_type != NotifyType::RESPONDER_LIFETIME {
            return None;
        }
        let attributes = wire::v1::decode_attributes(&notification.data).ok()?;
        let lives = [Phase::One, Phase::Two].map(|phase| Expiry::read(phase, &attributes));
        Some(lives[0].limited_to(lives[1]))
    }
}

/// Counts what an ISAKMP SA has carried against the kilobytes that it may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    octets: u64,
    limit: Option<u64>,
}

/// What a count has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Nothing new.
    Nothing,
    /// Nine tenths: it is time for the next.
    Soft,
    /// All of it.
    Hard,
}

impl Meter {
    pub(crate) fn new(kilobytes: Option<u64>) -> Meter {
        let mut meter = Meter { octets: 0, limit: None };
        meter.limit(kilobytes);
        meter
    }

    /// Sets a limit, if it is less than what there is.
    pub(crate) fn limit(&mut self, kilobytes: Option<u64>) {
        let octets = kilobytes.map(|kilobytes| kilobytes.saturating_mul(KILOBYTE));
        self.limit = least(self.limit, octets.map(|octets| octets.max(limits::OCTETS_OF_AN_ISAKMP_SA)));
    }

    pub(crate) fn count(&mut self, octets: u64) -> Reached {
        let before = self.octets;
        self.octets = self.octets.saturating_add(octets);
        let reaches = |limit: u64| before < limit && limit <= self.octets;
        match self.limit {
            Some(limit) if reaches(limit) => Reached::Hard,
            Some(limit) if reaches(limit - limit / 10) => Reached::Soft,
            Some(_) | None => Reached::Nothing,
        }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn attribute(attribute_type: u16, number: u64, is_long: bool) -> Attribute {
        match is_long {
            true => Attribute::octets(attribute_type, (number as u32).to_be_bytes()),
            false => Attribute::number(attribute_type, number),
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_read_in_either_form_whatever_stands_between(
            seconds in prop::option::of(1u64..1_000_000),
            kilobytes in prop::option::of(1u64..10_000_000),
            is_long: bool,
            numbers_first: bool,
            kilobytes_first: bool,
            strangers in prop::collection::vec(20u16..200, 5),
        ) {
            let pair = |life_type: LifeType, number: u64| {
                let pair = [(1, u64::from(life_type.0)), (2, number)];
                if numbers_first { [pair[1], pair[0]] } else { pair }
            };
            let mut pairs: Vec<_> = seconds.map(|number| pair(LifeType::SECONDS, number)).into_iter()
                .chain(kilobytes.map(|number| pair(LifeType::KILOBYTES, number)))
                .collect();
            if kilobytes_first {
                pairs.reverse();
            }
            let between = strangers.iter().map(|stranger| Attribute::number(*stranger, 7));
            let said = pairs.into_iter().flatten().map(|(of, number)| attribute(of, number, is_long));
            let attributes: Vec<Attribute> = said.zip(between).flat_map(|(one, other)| [one, other]).collect();
            let expiry = Expiry { time: seconds.map(Duration::from_secs), kilobytes };
            prop_assert_eq!(Expiry::read(Phase::Two, &attributes), expiry);
            prop_assert_eq!(Expiry::read(Phase::Two, &expiry.attributes(Phase::Two)), expiry);
            prop_assert_eq!(Expiry::read(Phase::One, &expiry.attributes(Phase::One)), expiry);
            prop_assert_eq!(Expiry::read(Phase::One, &attributes), Expiry::default());
        }
    }

    #[test]
    fn zero_and_no_limit_are_nothing_said() {
        assert_eq!(Expiry::new(Duration::ZERO, u64::MAX), Expiry::default());
        assert_eq!(Expiry::new(HOUR, 1), Expiry { time: Some(HOUR), kilobytes: Some(1) });
        let zero = [Attribute::number(1, 1), Attribute::number(2, 0)];
        assert_eq!(Expiry::read(Phase::Two, &zero), Expiry::default());
    }

    #[test]
    fn a_meter_tells_each_limit_once() {
        let mut meter = Meter::new(Some(100));
        let counted: Vec<Reached> = (0..6).map(|_| meter.count(20 * KILOBYTE)).collect();
        use Reached::{Hard, Nothing, Soft};
        assert_eq!(counted, [Nothing, Nothing, Nothing, Nothing, Hard, Nothing]);
        let mut meter = Meter::new(Some(100));
        let counted: Vec<Reached> = (0..11).map(|_| meter.count(10 * KILOBYTE)).collect();
        assert_eq!(counted[8..], [Soft, Hard, Nothing]);
        meter = Meter::new(None);
        assert_eq!(meter.count(u64::MAX), Nothing);
        meter = Meter::new(Some(1));
        assert_eq!(meter.count(limits::OCTETS_OF_AN_ISAKMP_SA / 2), Nothing);
    }

    #[test]
    fn a_responder_says_only_what_is_shorter_than_offered() {
        let said = |ours: Expiry, offered| {
            let subject = (ProtocolId::ESP, vec![1, 2, 3, 4]);
            match ours.as_responder(offered, Phase::Two, subject) {
                Some(Payload::Notification(notification)) => Expiry::of_responder(&notification),
                Some(_) | None => None,
            }
        };
        let (ours, more) = (Expiry::new(HOUR, 5 * KILOBYTE), Expiry::new(2 * HOUR, 9 * KILOBYTE));
        assert_eq!(said(ours, more), Some(ours));
        assert_eq!(said(more, ours), None);
        assert_eq!(said(ours, ours), None);
        assert_eq!(said(ours, Expiry::new(2 * HOUR, u64::MAX)), Some(ours));
        assert_eq!(
            said(ours, Expiry { time: Some(HOUR), kilobytes: None }),
            Some(Expiry { time: None, kilobytes: Some(5) })
        );
    }
}
