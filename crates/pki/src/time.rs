//! Moments, as certificates write them.

use std::fmt;
use std::time::Duration;

use der::DateTime;
use der::asn1::GeneralizedTime;

/// A moment in whole seconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The last moment that a certificate can name (RFC 5280 §4.1.2.5): there is no well-defined end.
    pub const LAST: Time = Time(253_402_300_799);

    /// Gives the moment so many seconds later, at most [`Time::LAST`].
    #[must_use]
    pub fn after_secs(self, secs: u64) -> Time {
        Time(self.0.saturating_add(secs).min(Time::LAST.0))
    }

    /// Gives the moment so many seconds earlier, at least 1970's first.
    #[must_use]
    pub fn before_secs(self, secs: u64) -> Time {
        Time(self.0.saturating_sub(secs))
    }

    /// Gives the moment as X.509 encodes it: UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5).
    pub(crate) fn to_x509(self) -> x509_cert::time::Time {
        self.date_time().into()
    }

    fn date_time(self) -> DateTime {
        DateTime::from_unix_duration(Duration::from_secs(self.0)).unwrap_or(DateTime::INFINITY)
    }
}

impl From<x509_cert::time::Time> for Time {
    fn from(time: x509_cert::time::Time) -> Time {
        Time(time.to_unix_duration().as_secs())
    }
}

impl From<GeneralizedTime> for Time {
    fn from(time: GeneralizedTime) -> Time {
        Time(time.to_unix_duration().as_secs())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.date_time();
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minutes(), time.seconds());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_words() {
        assert_eq!(Time(0).to_string(), "1970-01-01 00:00:00 UTC");
        assert_eq!(Time(1_795_723_630).to_string(), "2026-11-26 20:07:10 UTC");
        assert_eq!(Time::LAST.to_string(), "9999-12-31 23:59:59 UTC");
        assert_eq!(Time(u64::MAX).to_string(), Time::LAST.to_string());
    }

    #[test]
    fn the_encoding_changes_in_2050() {
        let before = Time(2_524_607_999);
        assert!(matches!(before.to_x509(), x509_cert::time::Time::UtcTime(_)));
        assert!(matches!(before.after_secs(1).to_x509(), x509_cert::time::Time::GeneralTime(_)));
        assert_eq!(Time::from(before.to_x509()), before);
        assert_eq!(Time::from(before.after_secs(1).to_x509()), before.after_secs(1));
    }
}
