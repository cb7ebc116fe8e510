//! Algorithms. strongSwan's keywords are ours; Libreswan's are turned into them, one by one.

use super::{Dialect, Said};
use crate::import::draft::{Connection, Entries};
use crate::import::lines::Pair;
use crate::import::report::Report;

/// Turns `ike`, `esp` and `ah` into proposals.
pub(super) fn translate(
    said: &mut Said<'_>,
    connection: &mut Connection,
    child: &mut Entries,
    report: &mut Report,
) {
    let dialect = said.dialect;
    let ike = said.take("ike");
    let esp = said.take_any(&["esp", "phase2alg"]);
    let ah = said.take("ah");
    let is_ah = said.take_any(&["phase2", "auth"]).is_some_and(|pair| pair.value == "ah");
    let pfs = said.take_any(&["pfs"]).map(|pair| pair.value.as_str());
    let pfs_group = said.take("pfsgroup").map(|pair| pair.value.as_str());
    if let Some(pair) = ike {
        let list = ours(pair, dialect);
        report.translated(&pair.place, &format!("ike={}", pair.value), format!("proposals = {list}"));
        connection.entries.set("proposals", list);
    }
    let group = match (pfs, pfs_group, dialect) {
        (Some("no"), ..) => None,
        (_, Some(group), _) => Some(group.to_owned()),
        // Libreswan's default is another exchange, in the group of the IKE SA.
        (_, None, Dialect::Libreswan) => connection.entries.get("proposals").and_then(first_group),
        (_, None, Dialect::StrongSwan) => None,
    };
    let key = if is_ah { "ah_proposals" } else { "esp_proposals" };
    for (pair, key) in [(esp, key), (ah, "ah_proposals")] {
        let Some(pair) = pair else { continue };
        let list = with_group(&ours(pair, dialect), group.as_deref());
        report.translated(&pair.place, &format!("{}={}", pair.key, pair.value), format!("{key} = {list}"));
        child.set(key, list);
    }
}

/// Writes a list in our words.
fn ours(pair: &Pair, dialect: Dialect) -> String {
    let text = pair.value.to_lowercase();
    let is_strict = text.ends_with('!');
    let proposals =
        text.trim_end_matches('!').split(',').map(str::trim).filter(|proposal| !proposal.is_empty());
    match dialect {
        Dialect::StrongSwan => {
            let mut list: Vec<String> = proposals.map(str::to_owned).collect();
            // Without the exclamation mark the defaults come behind.
            if !is_strict {
                list.push("default".to_owned());
            }
            list.join(", ")
        }
        Dialect::Libreswan => proposals.flat_map(of_libreswan).collect::<Vec<_>>().join(", "),
    }
}

/// Turns one proposal of Libreswan's into ours: what it joins by `+` are alternatives.
fn of_libreswan(proposal: &str) -> Vec<String> {
    let parts = proposal.split(['-', ';']).filter(|part| !part.is_empty() && *part != "null");
    let alternatives = parts.map(|part| part.split('+').map(keyword).collect::<Vec<_>>());
    let mut joined = vec![Vec::new()];
    for words in alternatives {
        joined = joined
            .into_iter()
            .flat_map(|before: Vec<String>| {
                words.iter().map(move |word| [before.clone(), vec![word.clone()]].concat())
            })
            .collect();
    }
    joined.into_iter().map(|words| combined(&words)).collect()
}

/// An algorithm that has integrity of its own wants no other; what stands there is for the pseudo-random function.
fn combined(words: &[String]) -> String {
    let is_aead =
        words.iter().any(|word| word.contains("gcm") || word.contains("ccm") || word.contains("chacha"));
    let word = |word: &String| match (is_aead, word.strip_prefix("sha")) {
        (true, Some(hash)) => format!("prfsha{hash}"),
        _ => word.clone(),
    };
    words.iter().map(word).collect::<Vec<_>>().join("-")
}

fn keyword(word: &str) -> String {
    let fixed = match word {
        "sha2" | "sha2_256" | "sha256" | "hmac_sha2_256" => "sha256",
        "sha2_384" | "sha384" => "sha384",
        "sha2_512" | "sha512" => "sha512",
        "sha" | "sha1" => "sha1",
        "aes" | "aes256" | "aes_cbc256" | "aes_cbc_256" => "aes256",
        "aes128" | "aes_cbc128" | "aes_cbc_128" => "aes128",
        "aes_gcm" | "aes_gcm256" | "aes_gcm_256" | "aes_gcm_c256" | "aes_gcm_c_256" | "aes_gcm_16_256" => {
            "aes256gcm16"
        }
        "aes_gcm128" | "aes_gcm_128" | "aes_gcm_c128" | "aes_gcm_c_128" | "aes_gcm_16_128" => "aes128gcm16",
        "aes_ccm" | "aes_ccm256" | "aes_ccm_256" => "aes256ccm16",
        "aes_ccm128" | "aes_ccm_128" => "aes128ccm16",
        "aes_ctr" | "aes_ctr256" => "aes256ctr",
        "chacha20_poly1305" => "chacha20poly1305",
        "dh2" => "modp1024",
        "dh5" => "modp1536",
        "dh14" => "modp2048",
        "dh15" => "modp3072",
        "dh16" => "modp4096",
        "dh17" => "modp6144",
        "dh18" => "modp8192",
        "dh19" => "ecp256",
        "dh20" => "ecp384",
        "dh21" => "ecp521",
        "dh31" => "curve25519",
        other => other,
    };
    fixed.to_owned()
}

fn is_group(word: &str) -> bool {
    ["modp", "ecp", "curve", "x25519", "x448"].iter().any(|prefix| word.starts_with(prefix))
}

fn first_group(list: &str) -> Option<String> {
    list.split([',', '-']).map(str::trim).find(|word| is_group(word)).map(str::to_owned)
}

/// Adds a group where a proposal has none.
fn with_group(list: &str, group: Option<&str>) -> String {
    let Some(group) = group else { return list.to_owned() };
    let with = |proposal: &str| match proposal {
        proposal if proposal == "default" || proposal.split('-').any(is_group) => proposal.to_owned(),
        proposal => format!("{proposal}-{group}"),
    };
    list.split(", ").map(with).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libreswans_words_become_ours() {
        assert_eq!(of_libreswan("aes256-sha2_512;dh14"), ["aes256-sha512-modp2048"]);
        assert_eq!(of_libreswan("aes_gcm256-sha2;dh19"), ["aes256gcm16-prfsha256-ecp256"]);
        assert_eq!(of_libreswan("aes_gcm-null"), ["aes256gcm16"]);
        assert_eq!(of_libreswan("aes128-sha1+sha2;dh2"), ["aes128-sha1-modp1024", "aes128-sha256-modp1024"]);
    }

    #[test]
    fn a_group_is_added_where_there_is_none() {
        assert_eq!(
            with_group("aes256-sha256, aes128gcm16-ecp256, default", Some("modp2048")),
            "aes256-sha256-modp2048, aes128gcm16-ecp256, default"
        );
        assert_eq!(with_group("aes256-sha256", None), "aes256-sha256");
        assert_eq!(first_group("aes256-sha256-modp3072, default").as_deref(), Some("modp3072"));
    }
}
