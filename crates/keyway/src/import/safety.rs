//! What would be unsafe is taken out, and what no configuration of ours may say.
//!
//! A proposal that names a weak algorithm goes; if none is left, the default takes its place. Whoever has a peer that knows
//! nothing better can put it back, with `allow_weak = yes`: that is a decision, and the report says so.

use config::{Loaded, Severity, Syntax};

use super::draft::{Connection, Draft, Entries};
use super::report::Report;

/// Takes weak algorithms out, and whatever a configuration of ours refuses.
pub(super) fn make_safe(draft: &mut Draft, report: &mut Report) {
    for connection in &mut draft.connections {
        let version = connection.entries.get("version").unwrap_or("2").to_owned();
        let place = format!("{} (conn {})", connection.place, connection.name);
        sound_proposals(&mut connection.entries, "proposals", &version, &place, report);
        for (_, child) in &mut connection.children {
            sound_proposals(child, "esp_proposals", &version, &place, report);
            sound_proposals(child, "ah_proposals", &version, &place, report);
        }
        aggressive(connection, &place, report);
    }
    while let Some(refused) = first_refused(draft) {
        report.missing("", &refused.key, refused.sentence);
        if !remove(draft, &refused.key) {
            return;
        }
    }
}

/// Aggressive mode with a secret lets everybody try passwords.
fn aggressive(connection: &mut Connection, place: &str, report: &mut Report) {
    let has_secret =
        connection.local.iter().chain(&connection.remote).any(|round| round.get("auth") == Some("psk"));
    if connection.entries.get("aggressive") == Some("yes") && has_secret {
        connection.entries.remove("aggressive");
        report.changed(
            place,
            "aggressive mode with a pre-shared key",
            "main mode now, since aggressive mode lets everybody who asks try passwords; if the peer has no fixed address, use \
             certificates or IKEv2, or decide for it with `aggressive = yes` and `allow_weak = yes`",
        );
    }
}

fn sound_proposals(entries: &mut Entries, key: &str, version: &str, place: &str, report: &mut Report) {
    let Some(written) = entries.get(key).map(str::to_owned) else { return };
    let mut kept = Vec::new();
    for proposal in written.split(',').map(str::trim).filter(|proposal| !proposal.is_empty()) {
        match judge(key, proposal, version) {
            Judgement::Sound => kept.push(proposal),
            Judgement::Weak(why) => report.changed(
                place,
                proposal,
                format!("left out: {why}; if the peer knows nothing better, put it back into `{key}` with `allow_weak = yes`"),
            ),
            Judgement::Unknown(why) => report.missing(place, proposal, format!("left out: {why}")),
        }
    }
    match kept.is_empty() {
        false => entries.set(key, kept.join(", ")),
        true if key == "ah_proposals" => {
            entries.remove(key);
            report.changed(place, key, "none was left, so that ESP takes its place");
        }
        true => {
            entries.set(key, "default");
            report.changed(place, key, "none was left, so that the default proposals take their place");
        }
    }
}

enum Judgement {
    Sound,
    Weak(String),
    Unknown(String),
}

fn judge(key: &str, proposal: &str, version: &str) -> Judgement {
    let strict = with_proposal(key, proposal, version, "");
    let Some(why) = first_error(&strict) else { return Judgement::Sound };
    match first_error(&with_proposal(key, proposal, version, "allow_weak = yes")) {
        None => Judgement::Weak(why),
        Some(why) => Judgement::Unknown(why),
    }
}

fn with_proposal(key: &str, proposal: &str, version: &str, consent: &str) -> Loaded {
    let line = format!("{key} = {proposal}");
    let (of_connection, of_child) =
        if key == "proposals" { (line.as_str(), "") } else { ("", line.as_str()) };
    let text = format!(
        "connections {{\n c {{\n version = {version}\n remote_addrs = 192.0.2.1\n {consent}\n {of_connection}\n local {{\n auth = psk\n \
         }}\n remote {{\n auth = psk\n }}\n children {{\n n {{\n {of_child}\n }}\n }}\n }}\n }}\nsecrets {{\n ike {{\n secret = \
         0123456789abcdef0123456789abcdef\n }}\n}}\n"
    );
    config::load_text("proposal", &text, Syntax::Swanctl)
}

fn first_error(loaded: &Loaded) -> Option<String> {
    let error = loaded.faults.iter().find(|fault| fault.severity == Severity::Error)?;
    Some(error.message.clone())
}

struct Refused {
    key: String,
    sentence: String,
}

/// Finds the first thing that a configuration of ours may not say. That files are not there yet is nobody's fault.
fn first_refused(draft: &Draft) -> Option<Refused> {
    let mut without_files = draft.clone();
    for connection in &mut without_files.connections {
        for round in connection.local.iter_mut().chain(&mut connection.remote) {
            for key in FILES {
                round.remove(key);
            }
        }
    }
    without_files
        .authorities
        .iter_mut()
        .for_each(|(_, entries)| FILES.iter().for_each(|key| entries.remove(key)));
    without_files.secrets.retain(|secret| secret.entries.get("file").is_none());
    let text = vici::text::print(&without_files.into_tree());
    let loaded = config::load_text("imported", &text, Syntax::Swanctl);
    let error = loaded.faults.iter().find(|fault| fault.severity == Severity::Error)?;
    let sentence = match error.help.as_str() {
        "" => error.message.clone(),
        help => format!("{} ({help})", error.message),
    };
    Some(Refused { key: error.key.clone(), sentence: format!("left out: {sentence}") })
}

const FILES: [&str; 4] = ["certs", "cacerts", "pubkeys", "cacert"];

/// Takes the key out, or else the section that it is in; `false` if there is nothing of the kind.
fn remove(draft: &mut Draft, key: &str) -> bool {
    let names: Vec<&str> = key.split('.').collect();
    match names.as_slice() {
        ["connections", name, rest @ ..] => {
            let Some(connection) = draft.connections.iter_mut().find(|connection| connection.name == *name)
            else {
                return false;
            };
            let before = connection.clone();
            match rest {
                // Without them anybody would be the peer, or proved otherwise than was meant: then rather none of it.
                [_, "auth" | "id"] => {}
                [key] => connection.entries.remove(key),
                ["children", child, key] => {
                    let children = connection.children.iter_mut().filter(|(name, _)| name == child);
                    children.for_each(|(_, entries)| entries.remove(key));
                }
                [end, key] if end.starts_with("local") => {
                    connection.local.iter_mut().for_each(|round| round.remove(key))
                }
                [end, key] if end.starts_with("remote") => {
                    connection.remote.iter_mut().for_each(|round| round.remove(key))
                }
                _ => {}
            }
            let is_changed = *connection != before;
            if !is_changed {
                let before = draft.connections.len();
                draft.connections.retain(|connection| connection.name != *name);
                return draft.connections.len() < before;
            }
            true
        }
        ["secrets", name, ..] => {
            let number: Option<usize> = name.rsplit('-').next().and_then(|number| number.parse().ok());
            match number {
                // Those with files were not there when the others were counted.
                Some(number) => {
                    let counted = draft
                        .secrets
                        .iter()
                        .enumerate()
                        .filter(|(_, secret)| secret.entries.get("file").is_none());
                    let Some((index, _)) = counted.into_iter().nth(number.saturating_sub(1)) else {
                        return false;
                    };
                    draft.secrets.remove(index);
                    true
                }
                None => false,
            }
        }
        ["pools", name, ..] => {
            let before = draft.pools.len();
            draft.pools.retain(|(pool, _)| pool != name);
            draft.pools.len() < before
        }
        ["authorities", name, ..] => {
            let before = draft.authorities.len();
            draft.authorities.retain(|(authority, _)| authority != name);
            draft.authorities.len() < before
        }
        _ => false,
    }
}
