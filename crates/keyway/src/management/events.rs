//! The events that clients may register for, and the log lines among them.

use std::time::{Duration, SystemTime};

use tracing::Level;
use vici::Tree;

use super::sas::Keys;
use crate::daemon::notices::{LogLine, Notice, Notices};

/// Every event that there is.
pub(crate) const NAMES: [&str; 16] = [
    "ike-updown",
    "child-updown",
    "ike-rekey",
    "ike-update",
    "child-rekey",
    "certificate-expiry",
    "list-sa",
    "list-conn",
    "list-policy",
    "list-manual-sa",
    "list-block",
    "list-cert",
    "list-authority",
    "log",
    "log-line",
    "control-log",
];

/// Gives a log line's level as charon counts them, from 0 (what someone must see) to 4.
pub(crate) fn level(line: &LogLine) -> u8 {
    match line.level {
        Level::ERROR | Level::WARN => 0,
        Level::INFO => 1,
        Level::DEBUG => 2,
        Level::TRACE => 3,
    }
}

/// Makes the message of a `log` event; `log-line` has all keys.
pub(crate) fn log_message(line: &LogLine, keys: Keys) -> Tree {
    // Clients want a number here; our threads have none that would tell them anything.
    message(line, Some("0"), keys)
}

/// Makes the message of a `control-log` event.
pub(crate) fn control_log_message(line: &LogLine, keys: Keys) -> Tree {
    message(line, None, keys)
}

fn message(line: &LogLine, thread: Option<&str>, keys: Keys) -> Tree {
    let mut tree =
        Tree::new().with_value("group", group(line.target)).with_value("level", level(line).to_string());
    if let Some(thread) = thread {
        tree.push_value("thread", thread);
    }
    if keys == Keys::All {
        let since_epoch = line.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        tree.push_value("time", format!("{:.3}", since_epoch.as_secs_f64()));
        tree.push_value("severity", line.level.as_str());
    }
    if let Some(connection) = &line.connection {
        tree.push_value("ikesa-name", connection);
    }
    if let Some(ike_sa) = &line.ike_sa {
        tree.push_value("ikesa-uniqueid", ike_sa.trim_start_matches('#'));
    }
    tree.with_value("msg", &line.text)
}

/// Answers `get-log`: the latest lines, oldest first.
pub(crate) fn recent_log(notices: &Notices) -> Tree {
    let mut lines = Tree::new();
    for (number, notice) in notices.recent_log().iter().enumerate() {
        match &**notice {
            Notice::Log(line) => lines.push_section(number.to_string(), log_message(line, Keys::All)),
            Notice::Sa { .. } => {}
        }
    }
    Tree::new().with_section("lines", lines)
}

/// Gives charon's name for the part of the program that speaks.
fn group(target: &str) -> &'static str {
    let mut parts = target.split("::");
    match (parts.next(), parts.next()) {
        (Some("ike"), Some("child")) => "CHD",
        (Some("ike"), _) => "IKE",
        (Some("dataplane"), _) => "NET",
        (Some("ipsec"), _) => "ESP",
        (Some("config"), _) => "CFG",
        _ => "DMN",
    }
}
