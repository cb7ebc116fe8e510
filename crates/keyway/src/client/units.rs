//! Durations and sizes as people read them.

use std::time::Duration;

/// Writes a duration with its two largest units: `45 s`, `2 min 10 s`, `3 h 51 min`, `2 d 3 h`.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let (size, name) = UNITS[largest];
    let whole = format!("{} {name}", seconds / size);
    match UNITS.get(largest + 1) {
        Some((smaller, name)) if seconds % size / smaller > 0 => {
            format!("{whole} {} {name}", seconds % size / smaller)
        }
        Some(_) | None => whole,
    }
}

/// Writes a number of bytes: `812 B`, `1.2 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// Writes the rate of `bytes` in `time`, in bits as networks are measured: `3.4 Mbit/s`.
pub(super) fn rate(bytes: u64, time: Duration) -> String {
    const UNITS: [&str; 4] = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
    let mut scaled = bytes as f64 * 8.0 / time.as_secs_f64().max(0.001);
    let mut unit = 0;
    while scaled >= 999.95 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// Writes a count with its noun, in the plural where that is due: `1 packet`, `3 packets`.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let written = [0, 45, 60, 130, 3_600, 13_860, 86_399, 183_600, 31_536_000].map(duration);
        let expected =
            ["0 s", "45 s", "1 min", "2 min 10 s", "1 h", "3 h 51 min", "23 h 59 min", "2 d 3 h", "365 d"];
        assert_eq!(written, expected);
    }

    #[test]
    fn sizes_never_show_a_thousand_of_a_unit() {
        let written = [0, 1023, 1024, 1_048_575, 1_258_291, u64::MAX].map(bytes);
        assert_eq!(written, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.2 MiB", "16.0 EiB"]);
        assert_eq!(rate(425_000, Duration::from_secs(1)), "3.4 Mbit/s");
        assert_eq!(rate(124_999, Duration::from_secs(1)), "1.0 Mbit/s");
        assert_eq!(rate(0, Duration::ZERO), "0.0 bit/s");
    }
}
