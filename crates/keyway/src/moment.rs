//! Moments as certificates and logs have them.

use std::time::SystemTime;

/// Gives the present moment; a clock before 1970 is taken to stand there.
pub(crate) fn now() -> pki::Time {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    pki::Time(since_epoch.map_or(0, |duration| duration.as_secs()))
}

/// Writes a moment, in seconds since 1970, in UTC: `2026-11-21T13:05:09.250Z`.
pub(crate) fn utc(since_epoch: f64) -> String {
    let millis = (since_epoch.max(0.0) * 1000.0).round() as u64;
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", of_day % 1000)
}

/// Writes a moment, in seconds since 1970, in UTC as charon does: `Nov 21 13:05:09 2026`.
pub(crate) fn in_words(since_epoch: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, of_day) = (since_epoch / 86_400, since_epoch % 86_400);
    let (year, month, day) = date(days);
    let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    let (hours, minutes, seconds) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{} {day:02} {hours:02}:{minutes:02}:{seconds:02} {year:04}", name.unwrap_or(&"?"))
}

/// Gives the Gregorian date of a day counted from 1970-01-01.
///
/// Years are counted from March, so that the leap day is a year's last, and in eras of 400 years of 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let from_year_0 = days + 719_468;
    let (era, of_era) = (from_year_0 / 146_097, from_year_0 % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        assert_eq!(utc(0.0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400.0), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_795_266_309.25), "2026-11-21T13:05:09.250Z");
        assert_eq!(utc(4_107_542_400.0), "2100-03-01T00:00:00.000Z");
        assert_eq!(in_words(951_782_400), "Feb 29 00:00:00 2000");
        assert_eq!(in_words(1_795_266_309), "Nov 21 13:05:09 2026");
    }
}
