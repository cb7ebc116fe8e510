//! How long keys live. There the life is what is written, and the margin says how long before its end it is renewed; here it is
//! the other way round.

use super::Said;
use crate::import::draft::{Connection, Entries};
use crate::import::report::Report;

/// Nine minutes, in strongSwan and in Libreswan.
const USUAL_MARGIN_SECS: u64 = 540;
const USUAL_FUZZ_PERCENT: u64 = 100;

/// Turns lives and margins into times to rekey.
pub(super) fn translate(
    said: &mut Said<'_>,
    connection: &mut Connection,
    child: &mut Entries,
    report: &mut Report,
) {
    let mut number = |keys: &[&'static str], read: fn(&str) -> Option<u64>, report: &mut Report| {
        let pair = said.take_any(keys)?;
        let number = read(pair.value.trim_end_matches('%'));
        if number.is_none() {
            report.missing(
                &pair.place,
                &format!("{}={}", pair.key, pair.value),
                "it is no number, and the default counts",
            );
        }
        Some((pair.place.clone(), format!("{}={}", pair.key, pair.value), number?))
    };
    let margin = number(&["margintime", "rekeymargin"], secs, report);
    let fuzz = number(&["rekeyfuzz"], |text| text.parse().ok(), report)
        .map_or(USUAL_FUZZ_PERCENT, |(_, _, fuzz)| fuzz);
    let ike = number(&["ikelifetime"], secs, report);
    let esp = number(&["lifetime", "keylife", "salifetime", "ipsec-lifetime"], secs, report);
    let bytes = number(&["lifebytes", "ipsec-max-bytes"], |text| text.parse().ok(), report);
    let packets = number(&["lifepackets", "ipsec-max-packets"], |text| text.parse().ok(), report);
    let margin_bytes =
        number(&["marginbytes"], |text| text.parse().ok(), report).map_or(0, |(_, _, number)| number);
    let margin_packets =
        number(&["marginpackets"], |text| text.parse().ok(), report).map_or(0, |(_, _, number)| number);
    if let Some((place, written, secs)) = number(&["inactivity"], secs, report) {
        child.set("inactivity", format!("{secs}s"));
        report.translated(&place, &written, format!("inactivity = {secs}s"));
    }
    if let Some((place, written, secs)) = number(&["dpddelay"], secs, report) {
        connection.entries.set("dpd_delay", format!("{secs}s"));
        report.translated(&place, &written, format!("dpd_delay = {secs}s"));
    }
    let margin_secs = margin.map_or(USUAL_MARGIN_SECS, |(_, _, secs)| secs);
    let rekeys = said.take("rekey").is_none_or(|pair| pair.value != "no");
    let reauth = said.take("reauth").is_some_and(|pair| pair.value == "yes");
    if let Some((place, written, life)) = ike {
        let rekey = renewal(life, margin_secs);
        let key = if reauth { "reauth_time" } else { "rekey_time" };
        if rekeys {
            connection.entries.set(key, format!("{rekey}s"));
            connection.entries.set("over_time", format!("{}s", life - rekey));
            connection.entries.set("rand_time", format!("{}s", spread(rekey, margin_secs, fuzz)));
        }
        report.translated(&place, &written, format!("{key} = {rekey}s, and the rest of it as over_time"));
    }
    if let Some((place, written, life)) = esp {
        let rekey = renewal(life, margin_secs);
        child.set("life_time", format!("{life}s"));
        if rekeys {
            child.set("rekey_time", format!("{rekey}s"));
            child.set("rand_time", format!("{}s", spread(rekey, margin_secs, fuzz)));
        }
        report.translated(&place, &written, format!("life_time = {life}s, rekey_time = {rekey}s"));
    }
    if !rekeys {
        connection.entries.set("rekey_time", "0");
        child.set("rekey_time", "0");
    }
    volume(child, "bytes", bytes, margin_bytes, report);
    volume(child, "packets", packets, margin_packets, report);
}

/// Turns a life in bytes or packets into when it is renewed.
fn volume(
    child: &mut Entries,
    what: &str,
    said: Option<(String, String, u64)>,
    margin: u64,
    report: &mut Report,
) {
    let Some((place, written, life)) = said else { return };
    let rekey = if margin > 0 && margin < life { life - margin } else { life / 10 * 9 };
    child.set(&format!("life_{what}"), life.to_string());
    child.set(&format!("rekey_{what}"), rekey.to_string());
    report.translated(&place, &written, format!("life_{what} = {life}, rekey_{what} = {rekey}"));
}

/// When a life is renewed; a margin longer than the life would leave nothing.
fn renewal(life: u64, margin: u64) -> u64 {
    if margin < life / 2 { life - margin } else { life / 10 * 9 }
}

fn spread(rekey: u64, margin: u64, fuzz_percent: u64) -> u64 {
    (margin.saturating_mul(fuzz_percent) / 100).min(rekey / 2)
}

fn secs(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}
