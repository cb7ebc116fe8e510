//! Proposals: the transform table's keywords, and a word on those that are weak or still missing.

use sa::transform::{ENCRYPTION, GROUPS, INTEGRITY, PSEUDO_RANDOM};
use sa::{InvalidProposal, Proposal, ProposalProtocol};

use crate::connection::WeakAlgorithms;
use crate::schema::Shape;
use crate::value::{Unreadable, closest};

/// A proposal as text; it takes the connection's word on weak algorithms to read it.
pub(crate) const PROPOSAL: Shape<String> =
    Shape { words: "keywords joined by -, or default", read: |text| Ok(text.to_owned()) };

/// Reads one proposal; `default` stands for several.
pub(crate) fn proposals(
    protocol: ProposalProtocol,
    text: &str,
    weak: WeakAlgorithms,
) -> Result<Vec<Proposal>, Unreadable> {
    if text == "default" {
        return Ok(Proposal::defaults(protocol));
    }
    for keyword in text.split('-').map(str::trim) {
        check_keyword(keyword, weak)?;
    }
    Proposal::parse(protocol, text).map(|proposal| vec![proposal]).map_err(unreadable)
}

/// Complains about a keyword before the proposal is read, to say more than that it is unknown.
fn check_keyword(keyword: &str, weak: WeakAlgorithms) -> Result<(), Unreadable> {
    let weakness = WEAK.iter().find(|(keywords, _)| keywords.contains(&keyword)).map(|(_, why)| why);
    match (weakness, weak) {
        (Some(why), WeakAlgorithms::Refused) => Err(Unreadable::new(
            format!("`{keyword}` is weak: {why}"),
            "choose another, or write `allow_weak = yes` in the connection",
        )),
        _ if keywords().any(|known| known == keyword) => Ok(()),
        _ if weakness.is_some() || MISSING.contains(&keyword) => {
            Err(Unreadable::new(format!("`{keyword}` is not supported yet"), ""))
        }
        _ => Ok(()),
    }
}

fn unreadable(fault: InvalidProposal) -> Unreadable {
    let help = match &fault {
        InvalidProposal::UnknownKeyword(keyword) => match closest(keyword, keywords()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => String::new(),
        },
        InvalidProposal::Misplaced { .. }
        | InvalidProposal::NoEncryption
        | InvalidProposal::MixedKinds { .. }
        | InvalidProposal::NoIntegrity(_)
        | InvalidProposal::NoPrf(_)
        | InvalidProposal::NoKeyExchange => String::new(),
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

/// Keywords that nobody should write without knowing why not (RFC 8247, RFC 8221).
const WEAK: &[(&[&str], &str)] = &[
    (&["des"], "a 56-bit key is searched in a day"),
    (
        &["3des", "cast128", "blowfish", "blowfish128", "blowfish192", "blowfish256"],
        "a 64-bit block gives plaintext away after some 32 GiB under one key (Sweet32)",
    ),
    (&["null"], "it encrypts nothing"),
    (&["md5", "md5_128", "prfmd5"], "MD5 collides at will, and RFC 8247 forbids it"),
    (&["sha1", "sha", "sha1_160", "prfsha1"], "SHA-1 collides for money, and RFC 8247 is phasing it out"),
    (&["modp768"], "the 768-bit group has been broken in public"),
    (&["modp1024"], "the 1024-bit group is within reach of states (Logjam)"),
    (&["modp1536"], "the 1536-bit group is too close to what has been broken"),
    (
        &["modp1024s160", "modp2048s224", "modp2048s256"],
        "the primes of RFC 5114 are of unknown origin and have small subgroups (RFC 8247 §2.4)",
    ),
    (&["ecp192", "ecp224"], "the curve is smaller than 128 bits of strength ask for"),
];

/// Keywords of swanctl.conf that are sound but not in the transform table yet.
#[rustfmt::skip]
const MISSING: &[&str] = &[
    "aes128ccm8", "aes192ccm8", "aes256ccm8", "aes128ccm12", "aes192ccm12", "aes256ccm12",
    "aes128ccm16", "aes192ccm16", "aes256ccm16", "aes128ccm", "aes192ccm", "aes256ccm",
    "aes128ctr", "aes192ctr", "aes256ctr", "aes128gmac", "aes192gmac", "aes256gmac",
    "camellia", "camellia128", "camellia192", "camellia256",
    "aesxcbc", "aescmac", "prfaesxcbc", "prfaescmac", "sha256_96",
    "modp6144", "modp8192", "ecp224bp", "ecp256bp", "ecp384bp", "ecp512bp", "curve448", "x448",
    "mlkem512", "mlkem768", "mlkem1024",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str, weak: WeakAlgorithms) -> String {
        proposals(ProposalProtocol::Ike, text, weak).expect_err("faulty").message
    }

    #[test]
    fn weak_algorithms_take_a_decision_and_a_reason() {
        assert_eq!(
            complaint("aes128-sha1-modp2048", WeakAlgorithms::Refused),
            "`sha1` is weak: SHA-1 collides for money, and RFC 8247 is phasing it out"
        );
        for (keywords, why) in WEAK {
            for keyword in *keywords {
                assert_eq!(
                    complaint(keyword, WeakAlgorithms::Refused),
                    format!("`{keyword}` is weak: {why}")
                );
            }
        }
    }

    #[test]
    fn what_is_missing_is_not_called_unknown() {
        assert_eq!(
            complaint("aes256ccm16-x25519", WeakAlgorithms::Refused),
            "`aes256ccm16` is not supported yet"
        );
        let unknown = proposals(ProposalProtocol::Ike, "aes256gcm61-x25519", WeakAlgorithms::Refused);
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
            assert_eq!(
                proposals(protocol, "default", WeakAlgorithms::Refused),
                Ok(Proposal::defaults(protocol))
            );
        }
    }
}
