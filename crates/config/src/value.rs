//! The simple kinds of values: times, amounts, counts and choices.

use std::time::Duration;

use crate::schema::Shape;

/// Why a text is no value of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// One sentence.
    pub(crate) message: String,
    /// What to write instead; empty if that is plain.
    pub(crate) help: String,
}

impl Unreadable {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Unreadable {
        Unreadable { message: message.into(), help: help.into() }
    }
}

/// A name or an address of something, whatever it looks like.
pub(crate) const NAME: Shape<String> = Shape { words: "name", read: |text| Ok(text.to_owned()) };

/// A time; zero is written `0`.
pub(crate) const TIME: Shape<Duration> = Shape { words: "time", read: time };

/// A number of bytes or packets.
pub(crate) const AMOUNT: Shape<u64> = Shape { words: "number, perhaps with k, M or G", read: amount };

/// A number.
pub(crate) const COUNT: Shape<u32> = Shape { words: "number", read: count };

/// A UDP port.
pub(crate) const PORT: Shape<u16> = Shape { words: "port", read: port };

fn time(text: &str) -> Result<Duration, Unreadable> {
    let (number, unit_secs) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3_600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    let secs = number.trim().parse::<u32>().ok().and_then(|number| u64::from(number).checked_mul(unit_secs));
    secs.map(Duration::from_secs).ok_or_else(|| {
        Unreadable::new(format!("`{text}` is not a time"), "write seconds, or 90s, 30m, 4h, 1d")
    })
}

fn amount(text: &str) -> Result<u64, Unreadable> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let amount = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    amount.ok_or_else(|| {
        Unreadable::new(format!("`{text}` is not an amount"), "write a number, or 500k, 100M, 2G")
    })
}

fn count(text: &str) -> Result<u32, Unreadable> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| Unreadable::new(format!("`{text}` is not a number from 0 to {}", u32::MAX), ""))
}

fn port(text: &str) -> Result<u16, Unreadable> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Unreadable::new(format!("`{text}` is not a port from 1 to 65535"), "")),
    }
}

/// Reads one of a few words.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Unreadable> {
    if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    let help = match closest(text, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => String::new(),
    };
    Err(Unreadable::new(format!("`{text}` is none of {}", words.join(", ")), help))
}

/// Reads `yes` or `no` in any of its spellings.
pub(crate) fn yes_or_no<T>(text: &str, yes: T, no: T) -> Result<T, Unreadable> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "enabled" | "1" => Ok(yes),
        "no" | "false" | "disabled" | "0" => Ok(no),
        _ => Err(Unreadable::new(format!("`{text}` is neither yes nor no"), "")),
    }
}

/// Tells whether two texts mean the same value, however it is spelled.
pub(crate) fn is_same(left: &str, right: &str) -> bool {
    let as_boolean = |text| yes_or_no(text, true, false).ok();
    let as_time = |text| time(text).ok();
    left == right
        || as_boolean(left).is_some_and(|value| as_boolean(right) == Some(value))
        || as_time(left).is_some_and(|value| as_time(right) == Some(value))
}

/// Finds the word that a mistyped one was meant to be.
pub(crate) fn closest<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(typed, word);
    let nearest = words.map(|word| (distance(word), word)).min_by_key(|(distance, _)| *distance);
    nearest.filter(|(distance, word)| *distance <= word.chars().count().max(3) / 3).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, secs) in
            [("90", 90), ("90s", 90), ("30m", 1_800), ("4h", 14_400), ("2d", 172_800), ("0", 0)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "h", "-1", "1w", "1.5h", "99999999999999", "1 hour", "é"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_have_units() {
        for (text, bytes) in [("0", 0), ("7", 7), ("1k", 1_024), ("2M", 2 << 20), ("3G", 3 << 30)] {
            assert_eq!(amount(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1T", "18446744073709551615G"] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spelling_does_not_change_a_value() {
        assert!(is_same("yes", "true") && is_same("0", "0s") && is_same("60m", "1h") && is_same("no", "0"));
        assert!(!is_same("yes", "no") && !is_same("1h", "1m") && !is_same("a", "b"));
    }

    #[test]
    fn a_suggestion_is_close() {
        let words = || ["remote_addrs", "local_addrs", "id"].into_iter();
        assert_eq!(closest("remote_adrs", words()), Some("remote_addrs"));
        assert_eq!(closest("remote_addr", words()), Some("remote_addrs"));
        assert_eq!(closest("ids", words()), Some("id"));
        assert_eq!(closest("completely", words()), None);
    }
}
