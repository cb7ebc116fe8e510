//! Agreeing on algorithms in IKEv1: a transform is a whole combination, of which the responder takes one and returns it
//! unchanged (RFC 2408 §4.2, RFC 2409 §5, §5.5).
//!
//! A configured proposal names alternatives of each kind; here it stands for all combinations of them, in order. As in
//! version 2 the responder's own order decides.

mod phase_1;
mod phase_2;
mod transform;

use std::fmt;

use wire::registry::v1::{AuthenticationMethod, EncapsulationMode, ProtocolId};

pub(crate) use phase_1::{
    ChosenPhase1, accept_phase_1, choose_phase_1, first_suite, offer_phase_1, with_one_group, with_one_suite,
};
pub(crate) use phase_2::{
    ChosenPhase2, Phase2Terms, Spis, Wanted, accept_phase_2, answer_phase_2, choose_phase_2, first_group,
    offer_phase_2, offers_transport, protocol_id,
};

fn only_transform(answer: &[wire::v1::Proposal]) -> Result<(), String> {
    let [proposal] = answer else {
        return Err(format!("{} proposals where one must be", answer.len()));
    };
    match proposal.transforms.len() {
        1 => Ok(()),
        count => Err(format!("{count} transforms where one must be")),
    }
}

/// The same for proposals that belong together.
fn only_transforms(answer: &[wire::v1::Proposal]) -> Result<(), String> {
    match answer.iter().map(|proposal| proposal.transforms.len()).find(|count| *count != 1) {
        None => Ok(()),
        Some(count) => Err(format!("{count} transforms where one must be")),
    }
}

/// What keeps two combinations from meeting; ordered by how close they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Proposal,
    Protocol(ProtocolId),
    Together,
    Wrapper,
    NoWrapper,
    Spi,
    Attribute(u16),
    Encryption,
    Hash,
    Integrity,
    SequenceNumbers,
    Mode { theirs: EncapsulationMode, ours: EncapsulationMode },
    NoGroupTheirs,
    NoGroupOurs,
    Group,
    NoCompressionOurs,
    NoCompressionTheirs,
    CompressionAlgorithm,
    Method(AuthenticationMethod),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Proposal => f.write_str("no proposal"),
            Lack::Protocol(protocol) => write!(f, "{protocol}, which is not what we want"),
            Lack::Together => f.write_str("protocols that cannot go together"),
            Lack::Wrapper => f.write_str("no AH around ESP, which we want"),
            Lack::NoWrapper => f.write_str("AH around ESP, where we want one of them"),
            Lack::Spi => f.write_str("an SPI that cannot be one"),
            Lack::Attribute(number) => write!(f, "an attribute {number} that is not understood here"),
            Lack::Encryption => f.write_str("no common encryption algorithm"),
            Lack::Hash => f.write_str("no common hash algorithm"),
            Lack::Integrity => f.write_str("no common integrity algorithm"),
            Lack::SequenceNumbers => f.write_str("no common width of sequence numbers"),
            Lack::Mode { theirs, ours } => write!(f, "the peer wants mode {theirs} where we want {ours}"),
            Lack::NoGroupTheirs => f.write_str("no key exchange offered where we want one (PFS)"),
            Lack::NoGroupOurs => f.write_str("a key exchange (PFS) where we allow none"),
            Lack::Group => f.write_str("no common group"),
            Lack::NoCompressionOurs => f.write_str("compression, which we do not want"),
            Lack::NoCompressionTheirs => f.write_str("no compression"),
            Lack::CompressionAlgorithm => f.write_str("no common compression algorithm"),
            Lack::Method(theirs) => write!(f, "authentication by {theirs}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sa::{Proposal, ProposalProtocol};
    use wire::registry::v1::Phase1AttributeType;
    use wire::v1::Attribute;

    use super::phase_1::phase_1_suites;
    use super::*;
    use crate::v1::expiry::{Expiry, Phase};
    use crate::v1::method::Method;

    fn methods(numbers: &[AuthenticationMethod]) -> Vec<&'static Method> {
        numbers.iter().map(|number| Method::find(*number).expect("it is there")).collect()
    }

    fn psk() -> Vec<&'static Method> {
        methods(&[AuthenticationMethod::PRE_SHARED_KEY])
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn ike(texts: &[&str]) -> Vec<Proposal> {
        let read = |text: &&str| Proposal::parse(ProposalProtocol::Ike, text).expect("the test's own text");
        texts.iter().map(read).collect()
    }

    #[test]
    fn the_responders_order_decides_and_its_answer_is_the_offer_unchanged() {
        let offer = offer_phase_1(&ike(&["aes128-aes256-sha256-modp2048-ecp256"]), &psk(), HOUR);
        assert_eq!(offer[0].transforms.len(), 4);
        let chosen = choose_phase_1(&ike(&["aes256-sha256-ecp256"]), &psk(), &offer).expect("they meet");
        assert_eq!(chosen.suite.to_string(), "aes256-sha256-prfsha256-ecp256");
        assert_eq!(chosen.lifetime, Expiry::new(HOUR, u64::MAX));
        assert_eq!(chosen.answer.transforms, [offer[0].transforms[3].clone()]);
        let accepted =
            accept_phase_1(&ike(&["aes128-aes256-sha256-modp2048-ecp256"]), &psk(), &[chosen.answer]);
        assert_eq!(accepted.expect("it was offered").suite, chosen.suite);
    }

    #[test]
    fn attributes_mean_the_same_in_any_order_and_either_form() {
        let ours = ike(&["aes256-sha512-modp2048"]);
        let mut offer = offer_phase_1(&ours, &psk(), HOUR);
        let attributes = &mut offer[0].transforms[0].attributes;
        let limit = Expiry { time: Some(HOUR), kilobytes: Some(70_000) };
        attributes.extend(Expiry { time: None, ..limit }.attributes(Phase::One));
        attributes.reverse();
        for attribute in attributes.iter_mut() {
            let number = attribute.as_number().expect("a number");
            *attribute = Attribute::octets(attribute.attribute_type, number.to_be_bytes());
        }
        let chosen = choose_phase_1(&ours, &psk(), &offer).expect("they meet");
        assert_eq!(chosen.lifetime, limit);
        assert_eq!(chosen.answer, offer[0]);
    }

    #[test]
    fn a_refusal_names_both_sides() {
        let mut offer = offer_phase_1(&ike(&["aes128-sha256-modp2048"]), &psk(), HOUR);
        let fault =
            choose_phase_1(&ike(&["aes256-sha256-modp3072"]), &psk(), &offer).expect_err("they do not meet");
        assert_eq!(
            fault.to_string(),
            "the peer offers aes128-sha256-modp2048; we allow aes256-sha256-modp3072: no common encryption \
             algorithm"
        );
        let method = Phase1AttributeType::AUTHENTICATION_METHOD.0;
        let attributes = &mut offer[0].transforms[0].attributes;
        attributes.retain(|attribute| attribute.attribute_type != method);
        attributes.push(Attribute::number(method, 3));
        let fault = choose_phase_1(&ike(&["aes128-sha256-modp2048"]), &psk(), &offer).expect_err("RSA");
        assert_eq!(fault.lacking, "authentication by RSA signatures (3) where we want pre-shared key (1)");
    }

    #[test]
    fn of_several_methods_the_responders_first_is_taken() {
        use AuthenticationMethod as Number;
        let ours = ike(&["aes128-sha256-modp2048"]);
        let both = methods(&[Number::ECDSA_SHA256_P256, Number::RSA_SIGNATURES]);
        let offer = offer_phase_1(&ours, &both, HOUR);
        assert_eq!(offer[0].transforms.len(), 2);
        let turned = methods(&[Number::RSA_SIGNATURES, Number::ECDSA_SHA256_P256]);
        let chosen = choose_phase_1(&ours, &turned, &offer).expect("they meet");
        assert_eq!(chosen.method.number, Number::RSA_SIGNATURES);
        let accepted = accept_phase_1(&ours, &both, &[chosen.answer]).expect("it was offered");
        assert_eq!(accepted.method.number, Number::RSA_SIGNATURES);
        let fault = choose_phase_1(&ours, &both, &offer_phase_1(&ours, &psk(), HOUR)).expect_err("a secret");
        assert_eq!(
            fault.lacking,
            "authentication by pre-shared key (1) where we want ECDSA with SHA-256 on the P-256 curve (9), RSA \
             signatures (3)"
        );
    }

    #[test]
    fn an_unknown_attribute_spoils_its_combination_only() {
        let ours = ike(&["aes128-aes256-sha256-modp2048"]);
        let mut offer = offer_phase_1(&ours, &psk(), HOUR);
        offer[0].transforms[0].attributes.push(Attribute::number(0x4000, 1));
        let chosen = choose_phase_1(&ours, &psk(), &offer).expect("the second");
        assert_eq!(chosen.answer.transforms[0].number, 2);
    }

    #[test]
    fn an_aead_of_phase_1_is_no_combination() {
        assert_eq!(phase_1_suites(&ike(&["aes256gcm16-prfsha256-modp2048"])).count(), 0);
    }
}
