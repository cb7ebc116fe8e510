//! The manual page keyway.conf(5), written from the table of keys.

use std::fmt::{self, Write as _};

use sa::transform::{ENCRYPTION, GROUPS, INTEGRITY, PSEUDO_RANDOM};

use crate::schema::{Absent, Row, Section, Status};
use crate::table;

/// Gives the page in roff, as `man` reads it.
pub fn page() -> String {
    let mut roff = String::new();
    write_page(&mut roff).expect("writing to a String does not fail");
    roff
}

fn write_page(roff: &mut String) -> fmt::Result {
    roff.push_str(HEAD);
    for (_, section) in table::ROOT.sections {
        write_section(roff, section)?;
    }
    roff.push_str(STRONGSWAN);
    write_section(roff, &table::charon::CHARON)?;
    write_algorithms(roff)?;
    roff.push_str(TAIL);
    Ok(())
}

fn write_section(roff: &mut String, section: &Section) -> fmt::Result {
    writeln!(roff, ".SS {}\n{}", quoted(section.path), text(section.doc))?;
    if let Status::Ignored { instead, .. } = section.status {
        writeln!(roff, "It has no effect: {}.", text(instead))?;
    }
    if let Status::Refused { reason, .. } = section.status {
        writeln!(roff, "It is refused: {}.", text(reason))?;
    }
    for row in section.keys.iter().copied().chain(section.others) {
        write_key(roff, row)?;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (_, inner) in section.sections {
        if !seen.contains(&inner.path) {
            seen.push(inner.path);
            write_section(roff, inner)?;
        }
    }
    Ok(())
}

fn write_key(roff: &mut String, row: &Row) -> fmt::Result {
    writeln!(roff, ".TP\n.BR {} \" = \\fI{}\\fR\"", quoted(row.name), text(row.shape))?;
    if !row.doc.is_empty() {
        writeln!(roff, "{}", text(row.doc))?;
    }
    match row.absent {
        Absent::Is { text: value, why } => writeln!(roff, "Default: \\fB{}\\fR. {}", text(value), text(why))?,
        Absent::Follows(rule) => writeln!(roff, "Default: {}.", text(rule))?,
        Absent::Nothing => {}
    }
    match row.status {
        Status::Honoured => Ok(()),
        Status::Ignored { harmless, instead } => {
            writeln!(roff, "Accepted with a warning{}: {}.", unless(harmless), text(instead))
        }
        Status::Refused { harmless, reason } => {
            writeln!(roff, "Refused{}: {}.", unless(harmless), text(reason))
        }
    }
}

fn unless(harmless: &[&str]) -> String {
    match harmless {
        [] => String::new(),
        words => format!(" unless {}", text(&words.join(" or "))),
    }
}

fn write_algorithms(roff: &mut String) -> fmt::Result {
    roff.push_str(ALGORITHMS);
    roff.push_str(".SS Encryption\n");
    for row in ENCRYPTION {
        let use_only = if row.serves_ike() { "" } else { "ESP only. " };
        let bare = if row.encrypts() { "" } else { "Encrypts nothing. " };
        write_algorithm(roff, row.keywords, &format!("{use_only}{bare}"), row.weakness)?;
    }
    roff.push_str(".SS Integrity\n");
    for row in INTEGRITY {
        let use_only = if row.is_for_ah_alone() { "AH only. " } else { "" };
        write_algorithm(roff, row.keywords, use_only, row.weakness)?;
    }
    writeln!(roff, ".SS {}", quoted("Pseudo-random functions, for IKE"))?;
    for row in PSEUDO_RANDOM {
        write_algorithm(roff, row.keywords, "", row.weakness)?;
    }
    writeln!(roff, ".SS {}", quoted("Key exchange"))?;
    for row in GROUPS {
        write_algorithm(roff, row.keywords, "", row.weakness)?;
    }
    Ok(())
}

fn write_algorithm(
    roff: &mut String,
    keywords: &[&str],
    remark: &str,
    weakness: Option<&'static str>,
) -> fmt::Result {
    let weakness = weakness.map_or(String::new(), |why| format!("Weak: {why}."));
    // What has no remark still needs something to stand beside it.
    let remark = match format!("{remark}{weakness}") {
        nothing if nothing.is_empty() => "\\&".to_owned(),
        remark => text(remark.trim_end()),
    };
    writeln!(roff, ".TP\n.B {}\n{remark}", text(&keywords.join(", ")))
}

/// Escapes what roff would take for a command.
fn text(plain: &str) -> String {
    let escaped = plain.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

fn quoted(plain: &str) -> String {
    format!("\"{}\"", text(plain).replace('"', "\\(dq"))
}

const STRONGSWAN: &str = ".SH STRONGSWAN.CONF\nWith \\fB\\-\\-drop\\-in\\fR the daemon reads what charon would read in \
                          /etc/strongswan.conf, too. Nothing in there keeps it from starting.\n";

const HEAD: &str = r#".TH KEYWAY.CONF 5 "" Keyway "File formats"
.SH NAME
keyway.conf \- configuration of the Keyway IPsec daemon
.SH DESCRIPTION
The configuration is a tree of sections and keys. It is written in the syntax of strongSwan's swanctl.conf or in TOML,
with the same names; files that end in
.B .toml
are TOML.
An unknown key is an error. A key of swanctl.conf that Keyway does not honour is an error where something would differ
from what its author relies on, and a warning elsewhere; the list below says which.
.SH EXAMPLE
.nf
connections {
  east {
    remote_addrs = 192.0.2.2
    local { auth = psk }
    remote { auth = psk }
    children {
      net {
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
      }
    }
  }
}
secrets { ike { secret = "your own, from: openssl rand -base64 24" } }
.fi
.PP
The same in TOML:
.PP
.nf
[connections.east]
remote_addrs = "192.0.2.2"
local.auth = "psk"
remote.auth = "psk"
children.net = { local_ts = "10.1.0.0/16", remote_ts = "10.2.0.0/16" }
[secrets]
ike.secret = "your own, from: openssl rand -base64 24"
.fi
.SH SYNTAX
.nf
settings   := (section | keyvalue | include)*
section    := name [":" references] "{" settings "}"
references := name ["." name]* ["," \.\.\.]
keyvalue   := name "=" value
include    := "include" pattern
.fi
.PP
A value goes to the end of its line, to a # or to a }; in quotation marks it may hold anything, with \en, \er, \et,
\e" and \e\e for what cannot be written. Lists are separated by commas; in TOML they may be arrays. A section inherits
what it does not have itself from the sections that it refers to; an empty value takes an inherited one away.
Times are seconds, or carry s, m, h or d.
.SH KEYS
"#;

const ALGORITHMS: &str = r#".SH ALGORITHMS
Keywords of proposals, those of one algorithm on one line, the best first within a kind. A cipher that does not bring its
own integrity needs an integrity algorithm beside it; in an IKE proposal that names no pseudo\-random function, the
integrity algorithm implies one.
.B esn
and
.B noesn
are the widths of sequence numbers in ESP and AH. A weak algorithm needs
.B \%allow_weak
in the connection.
"#;

const TAIL: &str = r#".SH SEE ALSO
.BR keyway (1),
.BR keyway-traffic (7)
"#;
