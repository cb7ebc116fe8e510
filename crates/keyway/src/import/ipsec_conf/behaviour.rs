//! What a connection and its child do, beside who, what and how long.

use super::Said;
use crate::import::draft::{Connection, Entries};
use crate::import::report::Report;

/// A key there, one of ours, and what the words mean.
struct Word {
    keys: &'static [&'static str],
    ours: &'static str,
    meanings: &'static [(&'static str, &'static str)],
}

const YES_NO: &[(&str, &str)] =
    &[("yes", "yes"), ("no", "no"), ("on", "yes"), ("off", "no"), ("force", "yes"), ("auto", "no")];

const OF_CHILD: &[Word] = &[
    Word {
        keys: &["auto"],
        ours: "start_action",
        meanings: &[
            ("add", "none"),
            ("keep", "none"),
            ("route", "trap"),
            ("ondemand", "trap"),
            ("start", "start"),
            ("up", "start"),
        ],
    },
    Word {
        keys: &["type"],
        ours: "mode",
        meanings: &[
            ("tunnel", "tunnel"),
            ("transport", "transport"),
            ("beet", "beet"),
            ("passthrough", "pass"),
            ("pass", "pass"),
            ("drop", "drop"),
            ("reject", "drop"),
        ],
    },
    Word { keys: &["compress"], ours: "ipcomp", meanings: YES_NO },
    Word {
        keys: &["closeaction"],
        ours: "close_action",
        meanings: &[
            ("none", "none"),
            ("clear", "none"),
            ("hold", "trap"),
            ("trap", "trap"),
            ("restart", "start"),
            ("start", "start"),
        ],
    },
    Word {
        keys: &["dpdaction"],
        ours: "dpd_action",
        meanings: &[
            ("none", "clear"),
            ("clear", "clear"),
            ("hold", "trap"),
            ("trap", "trap"),
            ("restart", "restart"),
        ],
    },
    Word { keys: &["sha256_96", "sha2-truncbug", "sha2_truncbug"], ours: "sha256_96", meanings: YES_NO },
];

const OF_CONNECTION: &[Word] = &[
    Word { keys: &["forceencaps", "encapsulation"], ours: "encap", meanings: YES_NO },
    Word {
        keys: &["fragmentation"],
        ours: "fragmentation",
        meanings: &[
            ("yes", "yes"),
            ("no", "no"),
            ("accept", "accept"),
            ("force", "force"),
            ("insist", "yes"),
        ],
    },
    Word { keys: &["mobike"], ours: "mobike", meanings: YES_NO },
    Word { keys: &["aggressive", "aggrmode"], ours: "aggressive", meanings: YES_NO },
    Word { keys: &["modeconfig"], ours: "pull", meanings: &[("pull", "yes"), ("push", "no")] },
    Word { keys: &["modecfgpull"], ours: "pull", meanings: YES_NO },
];

/// Keys that are taken as they are.
const NUMBERS: &[(&[&str], &str)] = &[
    (&["keyingtries"], "keyingtries"),
    (&["replay_window", "replay-window"], "replay_window"),
    (&["tfc"], "tfc_padding"),
];

const MARK: &str =
    "give the child `interface = vpn0`, and lead packets with the mark there (keyway.conf(5) says how)";
const DEVICE: &str = "give the child `interface = vpn0`, a device of the tunnel's own";

/// Keys without an equivalent, and what to do or what happens.
const ADVICE: &[(&str, &str)] = &[
    ("mark", MARK),
    ("mark_in", MARK),
    ("mark_out", MARK),
    ("mark-in", MARK),
    ("mark-out", MARK),
    ("vti-interface", DEVICE),
    ("vti-routing", DEVICE),
    ("vti-shared", DEVICE),
    ("ipsec-interface", DEVICE),
    ("reqid", "Keyway counts its policies itself"),
    (
        "installpolicy",
        "policies are always installed: leave the child out whose packets another program cares for",
    ),
    ("ikedscp", "IKE packets keep the default class of service"),
    ("dpdtimeout", "retransmission decides when a peer is dead"),
    ("mtu", "start the daemon with --mtu, or give the child an interface with `interface_mtu`"),
    ("nic-offload", "this data plane is a program"),
    ("priority", "smaller selectors are exceptions to larger ones"),
    ("narrowing", "what a peer proposes is always narrowed to what is configured"),
    ("initial-contact", "a peer is told by itself"),
    ("connalias", "the connection has one name"),
    ("metric", "routes have no metric"),
];

/// Turns all of it into keys of ours, and gives advice on the rest.
pub(super) fn translate(
    said: &mut Said<'_>,
    connection: &mut Connection,
    child: &mut Entries,
    report: &mut Report,
) {
    OF_CHILD.iter().for_each(|word| word.translate(said, child, report));
    OF_CONNECTION.iter().for_each(|word| word.translate(said, &mut connection.entries, report));
    for (keys, ours) in NUMBERS {
        let Some(pair) = said.take_any(keys) else { continue };
        let value = match pair.value.as_str() {
            "%forever" => "0",
            "%mtu" => "mtu",
            other => other,
        };
        let entries = if *ours == "keyingtries" { &mut connection.entries } else { &mut *child };
        entries.set(ours, value);
        report.translated(&pair.place, &format!("{}={}", pair.key, pair.value), format!("{ours} = {value}"));
    }
    for (key, sentence) in ADVICE {
        if let Some(pair) = said.take(key) {
            report.missing(&pair.place, &format!("{key}={}", pair.value), *sentence);
        }
    }
}

impl Word {
    fn translate(&self, said: &mut Said<'_>, entries: &mut Entries, report: &mut Report) {
        let Some(pair) = said.take_any(self.keys) else { return };
        let (written, ours) = (format!("{}={}", pair.key, pair.value), self.ours);
        match self.meanings.iter().find(|(word, _)| *word == pair.value.to_lowercase()) {
            Some((_, meaning)) => {
                entries.set(ours, *meaning);
                report.translated(&pair.place, &written, format!("{ours} = {meaning}"));
            }
            None => {
                report.missing(
                    &pair.place,
                    &written,
                    format!("`{ours}` knows no such word, and keeps its default"),
                );
            }
        }
    }
}
