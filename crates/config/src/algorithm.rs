//! Proposals: the transform table's keywords, and a word on those that are weak or still missing.

use sa::transform::{ENCRYPTION, GROUPS, INTEGRITY, PSEUDO_RANDOM};
use sa::{InvalidProposal, Proposal, ProposalProtocol};

use crate::connection::WeakAlgorithms;
use crate::schema::Shape;
use crate::value::{Unreadable, closest};

/// A proposal as text; it takes the connection's word on weak algorithms to read it.
pub(crate) const PROPOSAL: Shape<String> =
    Shape { words: "keywords joined by -, or default", read: |text| Ok(text.to_owned()) };

/// What one proposal came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) proposals: Vec<Proposal>,
    /// What whoever wrote it should know, in sentences.
    pub(crate) reservations: Vec<String>,
}

/// Reads one proposal; `default` stands for several. `place` is where a word on weak algorithms may stand.
pub(crate) fn proposals(
    protocol: ProposalProtocol,
    text: &str,
    weak: WeakAlgorithms,
    place: &str,
) -> Result<Read, Unreadable> {
    if text == "default" {
        return Ok(Read { proposals: Proposal::defaults(protocol), reservations: Vec::new() });
    }
    let proposal = Proposal::parse(protocol, text).map_err(unreadable)?;
    let weaknesses: Vec<String> =
        proposal.weaknesses().map(|(keyword, why)| format!("`{keyword}` is weak: {why}")).collect();
    if weak == WeakAlgorithms::Refused && !weaknesses.is_empty() {
        let help = format!("choose another, or write `allow_weak = yes`, a key of Keyway's own, in {place}");
        return Err(Unreadable::new(weaknesses.join("; "), help));
    }
    let bare = proposal.encryption.iter().filter(|row| !row.encrypts());
    let bare = bare.map(|row| format!("`{row}` encrypts nothing: whoever sees a packet can read it"));
    let reservations = weaknesses.into_iter().chain(bare).collect();
    Ok(Read { proposals: vec![proposal], reservations })
}

fn unreadable(fault: InvalidProposal) -> Unreadable {
    let help = match &fault {
        InvalidProposal::UnknownKeyword(keyword) if MISSING.contains(&keyword.as_str()) => {
            return Unreadable::new(format!("`{keyword}` is not supported yet"), "");
        }
        InvalidProposal::UnknownKeyword(keyword) => match closest(keyword, keywords()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => String::new(),
        },
        InvalidProposal::Misplaced { .. }
        | InvalidProposal::NoEncryption
        | InvalidProposal::NothingForAh
        | InvalidProposal::MixedKinds { .. }
        | InvalidProposal::NoIntegrity(_)
        | InvalidProposal::NoPrf(_)
        | InvalidProposal::NoKeyExchange
        | InvalidProposal::NothingToAddTo
        | InvalidProposal::AdditionalTwice => String::new(),
    };
    Unreadable::new(fault.to_string(), help)
}

/// Every keyword of the transform table.
fn keywords() -> impl Iterator<Item = &'static str> {
    let encryption = ENCRYPTION.iter().flat_map(|row| row.keywords);
    let integrity = INTEGRITY.iter().flat_map(|row| row.keywords);
    let prf = PSEUDO_RANDOM.iter().flat_map(|row| row.keywords);
    let groups = GROUPS.iter().flat_map(|row| row.keywords);
    encryption.chain(integrity).chain(prf).chain(groups).copied().chain(["esn", "noesn"])
}

/// Keywords of swanctl.conf that are not in the transform table yet.
const MISSING: &[&str] = &["camelliaxcbc", "prfcamelliaxcbc"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(protocol: ProposalProtocol, text: &str, weak: WeakAlgorithms) -> Result<Read, Unreadable> {
        proposals(protocol, text, weak, "the connection")
    }

    fn complaint(text: &str, weak: WeakAlgorithms) -> String {
        read(ProposalProtocol::Ike, text, weak).expect_err("faulty").message
    }

    #[test]
    fn weak_algorithms_take_a_decision_and_a_reason() {
        let old = "3des-md5-modp1024";
        let refused = read(ProposalProtocol::Ike, old, WeakAlgorithms::Refused).expect_err("weak");
        let sentences = [
            "`3des` is weak: a 64-bit block gives plaintext away after some 32 GiB under one key (Sweet32)",
            "`md5` is weak: MD5 collides at will, and RFC 8247 forbids it",
            "`modp1024` is weak: the 1024-bit group is within reach of states (Logjam)",
        ];
        assert_eq!(refused.message, sentences.join("; "));
        assert!(refused.help.contains("`allow_weak = yes`, a key of Keyway's own, in the connection"));
        let allowed = read(ProposalProtocol::Ike, old, WeakAlgorithms::Allowed).expect("a valid proposal");
        assert_eq!(allowed.reservations, sentences);
        assert_eq!(allowed.proposals[0].to_string(), "3des-md5-prfmd5-modp1024");
    }

    /// Whatever the table calls weak is refused, in each protocol in which it can be named; nothing else is.
    #[test]
    fn exactly_the_weak_rows_are_refused() {
        let is_refused = |protocol, text: &str| match read(protocol, text, WeakAlgorithms::Refused) {
            Ok(_) => false,
            Err(fault) if fault.message.contains("is weak") => true,
            Err(fault) => panic!("{text}: {}", fault.message),
        };
        for row in ENCRYPTION {
            let text = format!("{row}-sha256");
            assert_eq!(is_refused(ProposalProtocol::Esp, &text), row.weakness.is_some(), "{row}");
        }
        for row in INTEGRITY {
            assert_eq!(is_refused(ProposalProtocol::Ah, &row.to_string()), row.weakness.is_some(), "{row}");
        }
        for row in PSEUDO_RANDOM {
            let text = format!("aes128-sha256-{row}-x25519");
            assert_eq!(is_refused(ProposalProtocol::Ike, &text), row.weakness.is_some(), "{row}");
        }
        for row in GROUPS {
            let text = format!("aes128-sha256-{row}");
            assert_eq!(is_refused(ProposalProtocol::Ike, &text), row.weakness.is_some(), "{row}");
        }
    }

    #[test]
    fn what_encrypts_nothing_is_read_with_a_warning() {
        let null = read(ProposalProtocol::Esp, "null-sha256", WeakAlgorithms::Refused).expect("not weak");
        assert_eq!(null.reservations, ["`null` encrypts nothing: whoever sees a packet can read it"]);
        let gmac = read(ProposalProtocol::Esp, "aes256gmac", WeakAlgorithms::Refused).expect("not weak");
        assert_eq!(gmac.reservations, ["`aes256gmac` encrypts nothing: whoever sees a packet can read it"]);
        let sound = read(ProposalProtocol::Esp, "aes256gcm16", WeakAlgorithms::Refused).expect("sound");
        assert!(sound.reservations.is_empty());
    }

    #[test]
    fn what_is_missing_is_not_called_unknown() {
        assert_eq!(
            complaint("aes256ccm16-prfcamelliaxcbc-mlkem768", WeakAlgorithms::Refused),
            "`prfcamelliaxcbc` is not supported yet"
        );
        let unknown = read(ProposalProtocol::Ike, "aes256gcm61-x25519", WeakAlgorithms::Refused);
        let unknown = unknown.expect_err("faulty");
        assert_eq!(unknown.message, "`aes256gcm61` is not a known algorithm");
        assert_eq!(unknown.help, "did you mean `aes256gcm16`?");
    }

    #[test]
    fn no_keyword_is_both_missing_and_there() {
        for keyword in MISSING {
            assert!(keywords().all(|known| known != *keyword), "{keyword}");
        }
    }

    #[test]
    fn default_stands_for_all_defaults() {
        for protocol in [ProposalProtocol::Ike, ProposalProtocol::Esp] {
            let read = read(protocol, "default", WeakAlgorithms::Refused).expect("built in");
            assert_eq!(read.proposals, Proposal::defaults(protocol));
            assert!(read.reservations.is_empty());
        }
    }
}
