//! What is agreed on for a Child SA (RFC 2409 §5.5, RFC 2407 §4.4 and §4.5).
//!
//! Proposals of one number belong together (RFC 2408 §4.2): ESP or AH alone, AH around ESP, and IPComp under either. A
//! responder takes all of a number or none.

use std::time::Duration;

use sa::transform::Group;
use sa::{ChildSuite, Cpi, Proposal, ProposalProtocol, Protocol, Spi};
use wire::registry::v1::{EncapsulationMode, IpcompTransformId, ProtocolId};
use wire::v1::Transform;

use super::transform::{Phase2Suite, Phase2Transform, compression_transform, suites_of, transform_of};
use super::{Lack, only_transforms};
use crate::negotiation::{Unacceptable, in_words};
use crate::v1::expiry::Expiry;
use crate::{ChildConfig, Compress, NoAgreement, limits};

/// How long an SA lives where nobody said (RFC 2407 §4.5).
const LIFETIME_UNLESS_SAID: Duration = Duration::from_secs(28_800);

/// What a child is configured to negotiate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// ESP or AH, best first.
    pub(crate) proposals: &'a [Proposal],
    /// AH around that; empty is none.
    pub(crate) wrapping: &'a [Proposal],
    pub(crate) compress: Compress,
}

impl<'a> From<&'a ChildConfig> for Wanted<'a> {
    fn from(config: &'a ChildConfig) -> Wanted<'a> {
        let ChildConfig { proposals, wrapping, compress, .. } = config;
        Wanted { proposals, wrapping, compress: *compress }
    }
}

/// One end's names for what a quick mode makes: those of the SAs towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spis {
    pub(crate) main: Spi,
    /// Of AH around it.
    pub(crate) wrapper: Option<Spi>,
    /// Of compressed packets.
    pub(crate) compression: Option<Cpi>,
}

/// What both ends agreed on for a Child SA.
#[derive(Clone, Debug)]
pub(crate) struct ChosenPhase2 {
    pub(crate) suite: ChildSuite,
    /// AH around it.
    pub(crate) wrapper: Option<ChildSuite>,
    /// The peer's names.
    pub(crate) peer: Spis,
    /// How long it lives and what it carries at most.
    pub(crate) expiry: Expiry,
    /// The responder's answer, but for its names.
    answer: Vec<wire::v1::Proposal>,
}

/// What a quick mode is about besides algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase2Terms {
    pub(crate) mode: EncapsulationMode,
    /// The group of quick mode's own key exchange; all combinations have the same one (RFC 2409 §5.5).
    pub(crate) group: Option<&'static Group>,
    /// How long we let it live.
    pub(crate) expiry: Expiry,
}

/// Gives the group in which a quick mode has a key exchange of its own, if the child wants one: all combinations on
/// offer must share it, so it is that of the first proposal.
pub(crate) fn first_group(proposals: &[Proposal]) -> Option<&'static Group> {
    proposals.iter().find(|proposal| proposal.serves_version_1())?.key_exchange.first().copied()
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Lays out what we offer for a Child SA; `spis` are those of the SAs towards us. What can be compressed is offered
/// without that, too, at the end.
pub(crate) fn offer_phase_2(wanted: Wanted<'_>, spis: Spis, terms: Phase2Terms) -> Vec<wire::v1::Proposal> {
    let mut offer = Vec::new();
    let with_and_without = spis.compression.map(Some).into_iter().chain([None]);
    let combinations =
        with_and_without.flat_map(|cpi| wanted.proposals.iter().map(move |proposal| (proposal, cpi)));
    for (number, (proposal, cpi)) in (1..=u8::MAX).zip(combinations) {
        let main = suites_of(proposal).filter(|suite| suite.allows_group(terms.group));
        let main = transforms_of(main, terms);
        if main.is_empty() {
            continue;
        }
        let of =
            |protocol, spi: Vec<u8>, transforms| wire::v1::Proposal { number, protocol, spi, transforms };
        if let Some(spi) = spis.wrapper {
            let transforms = transforms_of(wanted.wrapping.iter().flat_map(suites_of), terms);
            offer.push(of(ProtocolId::AH, spi.0.to_be_bytes().into(), transforms));
        }
        let protocol = match proposal.protocol {
            ProposalProtocol::Ah => ProtocolId::AH,
            ProposalProtocol::Esp | ProposalProtocol::Ike => ProtocolId::ESP,
        };
        offer.push(of(protocol, spis.main.0.to_be_bytes().into(), main));
        if let Some(cpi) = cpi {
            offer.push(of(
                ProtocolId::IPCOMP,
                cpi.0.to_be_bytes().into(),
                vec![compression_transform(terms)],
            ));
        }
    }
    offer
}

fn transforms_of<'a>(suites: impl Iterator<Item = Phase2Suite<'a>>, terms: Phase2Terms) -> Vec<Transform> {
    (1..=u8::MAX).zip(suites).filter_map(|(number, ours)| transform_of(number, &ours.suite, terms)).collect()
}

/// Checks, as initiator, the answer to what [`offer_phase_2`] made of this and of these terms.
///
/// # Errors
/// It is not one of the combinations.
pub(crate) fn accept_phase_2(
    wanted: Wanted<'_>,
    answer: &[wire::v1::Proposal],
    terms: Phase2Terms,
) -> Result<ChosenPhase2, Unacceptable> {
    let unacceptable = |reason: String| Unacceptable {
        answer: phase_2_in_words(answer),
        offered: wanted.in_words(),
        reason,
    };
    // strongSwan names what it compresses once more without that; what it does is what it names first.
    let first = answer.first().map(|first| first.number);
    let together: Vec<_> = answer.iter().filter(|proposal| Some(proposal.number) == first).cloned().collect();
    only_transforms(&together).map_err(unacceptable)?;
    let chosen =
        choose_phase_2(wanted, &together, terms.mode).map_err(|fault| unacceptable(fault.lacking))?;
    if chosen.suite.key_exchange != terms.group {
        return Err(unacceptable("another group than that of the key exchange".to_owned()));
    }
    Ok(chosen)
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Chooses, as responder, among what the peer offers for a Child SA in this mode.
///
/// # Errors
/// Nothing offered is allowed.
pub(crate) fn choose_phase_2(
    wanted: Wanted<'_>,
    offer: &[wire::v1::Proposal],
    mode: EncapsulationMode,
) -> Result<ChosenPhase2, NoAgreement> {
    let mut closest = Lack::Proposal;
    // Compressed if the peer wants that, too.
    let compressions: &[Compress] = match wanted.compress {
        Compress::No => &[Compress::No],
        Compress::Deflate => &[Compress::Deflate, Compress::No],
    };
    for our in wanted.proposals.iter().flat_map(suites_of) {
        for compress in compressions {
            for bundle in bundles(offer) {
                match bundle.and_then(|bundle| bundle.meets(&our, wanted.wrapping, *compress, mode)) {
                    Ok(chosen) => return Ok(chosen),
                    Err(lack) => closest = closest.max(lack),
                }
            }
        }
    }
    Err(NoAgreement {
        ours: wanted.in_words(),
        theirs: phase_2_in_words(offer),
        lacking: closest.to_string(),
    })
}

/// Tells whether the peer's first wish is transport mode.
pub(crate) fn offers_transport(offer: &[wire::v1::Proposal]) -> bool {
    const TRANSPORT: [EncapsulationMode; 3] = [
        EncapsulationMode::TRANSPORT,
        EncapsulationMode::UDP_TRANSPORT,
        EncapsulationMode::UDP_TRANSPORT_DRAFT,
    ];
    let main = bundles(offer).find_map(Result::ok).map(|bundle| bundle.main);
    let first = main.and_then(|main| Some(Phase2Transform::read(main.protocol, main.transforms.first()?)));
    first.and_then(|transform| transform.mode).is_some_and(|mode| TRANSPORT.contains(&mode))
}

/// Gives the responder's answer for a Child SA, with our names.
pub(crate) fn answer_phase_2(chosen: &ChosenPhase2, ours: Spis) -> Vec<wire::v1::Proposal> {
    let main = protocol_id(chosen.suite.protocol);
    let answered = chosen.answer.iter().map(|proposal| {
        let spi = match proposal.protocol {
            ProtocolId::IPCOMP => {
                let cpi = ours.compression.map_or(0, |cpi| cpi.0);
                let octets = u32::from(cpi).to_be_bytes();
                // As long as the peer's own (RFC 3173 §4.1).
                octets[octets.len().saturating_sub(proposal.spi.len())..].to_vec()
            }
            protocol if protocol == main => ours.main.0.to_be_bytes().to_vec(),
            _ => ours.wrapper.map_or(Vec::new(), |spi| spi.0.to_be_bytes().to_vec()),
        };
        wire::v1::Proposal { spi, ..proposal.clone() }
    });
    answered.collect()
}

impl ChosenPhase2 {
    /// Tells whether AH is part of it.
    pub(crate) fn has_ah(&self) -> bool {
        self.suite.protocol == Protocol::Ah || self.wrapper.is_some()
    }

    /// Tells whether packets are compressed.
    pub(crate) fn compress(&self) -> Compress {
        match self.peer.compression {
            Some(_) => Compress::Deflate,
            None => Compress::No,
        }
    }
}

// --- What belongs together -----------------------------------------------------------------------------------------

/// The proposals of one number.
#[derive(Clone, Copy)]
struct Bundle<'a> {
    main: &'a wire::v1::Proposal,
    /// AH around ESP.
    wrapper: Option<&'a wire::v1::Proposal>,
    /// IPComp.
    compression: Option<&'a wire::v1::Proposal>,
}

/// Takes an offer apart by numbers, in order.
fn bundles(offer: &[wire::v1::Proposal]) -> impl Iterator<Item = Result<Bundle<'_>, Lack>> {
    let is_first =
        |index: usize, number: u8| offer.iter().take(index).all(|earlier| earlier.number != number);
    let numbers = offer.iter().enumerate().filter(move |(index, proposal)| is_first(*index, proposal.number));
    numbers.map(move |(_, first)| Bundle::read(offer, first.number))
}

impl<'a> Bundle<'a> {
    fn read(offer: &'a [wire::v1::Proposal], number: u8) -> Result<Bundle<'a>, Lack> {
        let (mut esp, mut ah, mut compression) = (None, None, None);
        for proposal in offer.iter().filter(|proposal| proposal.number == number) {
            let place = match proposal.protocol {
                ProtocolId::ESP => &mut esp,
                ProtocolId::AH => &mut ah,
                ProtocolId::IPCOMP => &mut compression,
                other => return Err(Lack::Protocol(other)),
            };
            if place.replace(proposal).is_some() {
                return Err(Lack::Together);
            }
        }
        match (esp, ah) {
            (Some(main), wrapper) => Ok(Bundle { main, wrapper, compression }),
            (None, Some(main)) => Ok(Bundle { main, wrapper: None, compression }),
            (None, None) => Err(Lack::Together),
        }
    }

    /// Compares with a combination of ours.
    fn meets(
        self,
        our: &Phase2Suite<'_>,
        wrapping: &[Proposal],
        compress: Compress,
        mode: EncapsulationMode,
    ) -> Result<ChosenPhase2, Lack> {
        if self.main.protocol != protocol_id(our.suite.protocol) {
            return Err(Lack::Protocol(self.main.protocol));
        }
        let main_spi = spi_of(self.main)?;
        let meets_main = |transform: &Phase2Transform| transform.meets(our, &[mode]);
        let (key_exchange, mut expiry, chosen) = first_that(self.main, meets_main)?;
        let mut answer = vec![chosen];
        let mut wrapper = None;
        let mut peer = Spis { main: main_spi, wrapper: None, compression: None };
        match (self.wrapper, wrapping.is_empty()) {
            (None, true) => {}
            (None, false) => return Err(Lack::Wrapper),
            (Some(_), true) => return Err(Lack::NoWrapper),
            (Some(proposal), false) => {
                // The IP header before AH is that before ESP, and peers call AH's mode by either name.
                let modes = [mode, EncapsulationMode::TRANSPORT];
                let ours = wrapping.iter().flat_map(suites_of).map(|ours| ours.suite);
                let (suite, limit, chosen) = best(ours, |suite| {
                    let ours = Phase2Suite { suite, groups: key_exchange.as_slice() };
                    first_that(proposal, |transform| transform.meets(&ours, &modes).map(|_| suite))
                })?;
                peer.wrapper = Some(spi_of(proposal)?);
                wrapper = Some(suite);
                expiry = expiry.limited_to(limit);
                answer.push(chosen);
            }
        }
        match (self.compression, compress) {
            (None, Compress::No) => {}
            (None, Compress::Deflate) => return Err(Lack::NoCompressionTheirs),
            (Some(_), Compress::No) => return Err(Lack::NoCompressionOurs),
            (Some(proposal), Compress::Deflate) => {
                let ((), limit, chosen) =
                    first_that(proposal, |transform| transform.compresses(key_exchange))?;
                peer.compression = Some(cpi_of(proposal)?);
                expiry = expiry.limited_to(limit);
                answer.push(chosen);
            }
        }
        let time = expiry.time.unwrap_or(LIFETIME_UNLESS_SAID);
        let expiry = Expiry { time: Some(time), ..expiry };
        let suite = ChildSuite { key_exchange, ..our.suite };
        Ok(ChosenPhase2 { suite, wrapper, peer, expiry, answer })
    }
}

/// Finds the first transform that suits; gives what was found, how long that may live, and the proposal with it alone.
fn first_that<T>(
    proposal: &wire::v1::Proposal,
    suits: impl Fn(&Phase2Transform) -> Result<T, Lack>,
) -> Result<(T, Expiry, wire::v1::Proposal), Lack> {
    best(proposal.transforms.iter(), |transform| {
        let terms = Phase2Transform::read(proposal.protocol, transform);
        let found = suits(&terms)?;
        let alone = wire::v1::Proposal { transforms: vec![transform.clone()], ..proposal.clone() };
        Ok((found, terms.expiry, alone))
    })
}

/// Gives the first success, or what came closest to one.
fn best<I, T>(all: impl Iterator<Item = I>, attempt: impl Fn(I) -> Result<T, Lack>) -> Result<T, Lack> {
    let mut closest = Lack::Proposal;
    for one in all {
        match attempt(one) {
            Ok(found) => return Ok(found),
            Err(lack) => closest = closest.max(lack),
        }
    }
    Err(closest)
}

// --- Words and numbers ---------------------------------------------------------------------------------------------

impl Wanted<'_> {
    /// Says it for people.
    pub(crate) fn in_words(&self) -> String {
        let compression = match self.compress {
            Compress::No => "",
            Compress::Deflate => ", compressed or not",
        };
        let wrapping = match self.wrapping {
            [] => String::new(),
            some => format!(" in AH with {}", in_words(some.iter().map(ToString::to_string))),
        };
        format!("{}{wrapping}{compression}", in_words(self.proposals.iter().map(ToString::to_string)))
    }
}

fn phase_2_in_words(offer: &[wire::v1::Proposal]) -> String {
    let of_one = |proposal: &wire::v1::Proposal| {
        let transforms = proposal.transforms.iter();
        let words =
            transforms.map(|transform| Phase2Transform::read(proposal.protocol, transform).to_string());
        words.collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for (index, first) in offer.iter().enumerate() {
        if offer.iter().take(index).any(|earlier| earlier.number == first.number) {
            continue;
        }
        let together = offer.iter().filter(|proposal| proposal.number == first.number);
        match together.collect::<Vec<_>>().as_slice() {
            [alone] => all.extend(of_one(alone)),
            several => {
                let parts = several.iter().map(|proposal| of_one(proposal).join(" or "));
                all.push(parts.collect::<Vec<_>>().join(" and "));
            }
        }
    }
    in_words(all.into_iter())
}

/// Gives the number of a protocol.
pub(crate) fn protocol_id(protocol: Protocol) -> ProtocolId {
    match protocol {
        Protocol::Esp => ProtocolId::ESP,
        Protocol::Ah => ProtocolId::AH,
    }
}

/// Gives the SPI of a proposal for ESP or AH.
fn spi_of(proposal: &wire::v1::Proposal) -> Result<Spi, Lack> {
    let octets = <[u8; 4]>::try_from(proposal.spi.as_slice()).map_err(|_| Lack::Spi)?;
    Some(Spi(u32::from_be_bytes(octets))).filter(|spi| *spi >= Spi::LOWEST).ok_or(Lack::Spi)
}

/// Gives the index of a proposal for IPComp, in two octets or four (RFC 3173 §4.1).
fn cpi_of(proposal: &wire::v1::Proposal) -> Result<Cpi, Lack> {
    let cpi = match *proposal.spi.as_slice() {
        [high, low] | [0, 0, high, low] => u16::from_be_bytes([high, low]),
        _ => return Err(Lack::Spi),
    };
    // Of those that stand for an algorithm by themselves, only DEFLATE's own means what was agreed on (§3.3).
    let is_possible = cpi >= limits::FIRST_CPI || cpi == u16::from(IpcompTransformId::DEFLATE.0);
    is_possible.then_some(Cpi(cpi)).ok_or(Lack::Spi)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const TUNNEL: EncapsulationMode = EncapsulationMode::TUNNEL;

    fn read(protocol: ProposalProtocol, texts: &[&str]) -> Vec<Proposal> {
        let read = |text: &&str| Proposal::parse(protocol, text).expect("the test's own text");
        texts.iter().map(read).collect()
    }

    fn esp(texts: &[&str]) -> Vec<Proposal> {
        read(ProposalProtocol::Esp, texts)
    }

    fn ah(texts: &[&str]) -> Vec<Proposal> {
        read(ProposalProtocol::Ah, texts)
    }

    fn terms(group: Option<&'static Group>) -> Phase2Terms {
        Phase2Terms { mode: TUNNEL, group, expiry: Expiry::new(HOUR, 4096 * 1024) }
    }

    fn wanted(proposals: &[Proposal]) -> Wanted<'_> {
        Wanted { proposals, wrapping: &[], compress: Compress::No }
    }

    fn spis(main: u32) -> Spis {
        Spis { main: Spi(main), wrapper: None, compression: None }
    }

    #[test]
    fn all_combinations_share_the_group_and_one_is_answered_unchanged() {
        let ours = esp(&["aes256-aes128-sha512-sha256-modp2048-ecp256", "aes128gcm16-ecp256"]);
        let group = first_group(&ours);
        let offer = offer_phase_2(wanted(&ours), spis(0xc0ff_ee01), terms(group));
        assert_eq!((offer.len(), offer[0].transforms.len()), (1, 4));
        let allowed = esp(&["aes128-sha256-modp2048"]);
        let chosen = choose_phase_2(wanted(&allowed), &offer, TUNNEL).expect("they meet");
        assert_eq!(chosen.suite.to_string(), "aes128-sha256-modp2048");
        assert_eq!((chosen.peer.main, chosen.expiry), (Spi(0xc0ff_ee01), terms(None).expiry));
        let answer = answer_phase_2(&chosen, spis(0xbeef_0001));
        assert_eq!(answer[0].transforms, [offer[0].transforms[3].clone()]);
        let accepted = accept_phase_2(wanted(&ours), &answer, terms(group)).expect("it was offered");
        assert_eq!((accepted.suite, accepted.peer.main), (chosen.suite, Spi(0xbeef_0001)));
        assert!(accept_phase_2(wanted(&ours), &answer, terms(None)).is_err());
    }

    #[test]
    fn forward_secrecy_is_wanted_by_both_or_none() {
        let (with, without) = (esp(&["aes128gcm16-ecp256"]), esp(&["aes128gcm16"]));
        let refused = |ours: &[Proposal], theirs: &[Proposal]| {
            let offer = offer_phase_2(wanted(theirs), spis(256), terms(first_group(theirs)));
            choose_phase_2(wanted(ours), &offer, TUNNEL).expect_err("they differ").lacking
        };
        assert_eq!(refused(&with, &without), "no key exchange offered where we want one (PFS)");
        assert_eq!(refused(&without, &with), "a key exchange (PFS) where we allow none");
    }

    #[test]
    fn ah_goes_around_esp_where_both_want_it() {
        let (inner, outer) = (esp(&["aes128-sha256-ecp256"]), ah(&["sha384", "sha512"]));
        let both = Wanted { wrapping: &outer, ..wanted(&inner) };
        let ours = Spis { wrapper: Some(Spi(0x0a00_0001)), ..spis(0x0e00_0001) };
        let group = first_group(&inner);
        let offer = offer_phase_2(both, ours, terms(group));
        assert_eq!(
            offer.iter().map(|proposal| proposal.protocol).collect::<Vec<_>>(),
            [ProtocolId::AH, ProtocolId::ESP]
        );
        assert!(offer.iter().all(|proposal| proposal.number == 1));

        let narrower = ah(&["sha512"]);
        let chosen =
            choose_phase_2(Wanted { wrapping: &narrower, ..both }, &offer, TUNNEL).expect("they meet");
        assert_eq!(chosen.peer, ours);
        assert_eq!(chosen.wrapper.map(|suite| suite.to_string()).as_deref(), Some("sha512"));
        let theirs = Spis { wrapper: Some(Spi(0x0a00_0002)), ..spis(0x0e00_0002) };
        // In either order, and if AH's mode goes by its other name.
        let mut answer = answer_phase_2(&chosen, theirs);
        answer.reverse();
        let accepted = accept_phase_2(both, &answer, terms(group)).expect("it was offered");
        assert_eq!((accepted.peer, accepted.wrapper), (theirs, chosen.wrapper));

        let refused = |wanted: Wanted<'_>, offer: &[wire::v1::Proposal]| {
            choose_phase_2(wanted, offer, TUNNEL).expect_err("they differ").to_string()
        };
        assert_eq!(
            refused(wanted(&inner), &offer),
            "the peer offers ah-sha384-ecp256 or ah-sha512-ecp256 and aes128-sha256-ecp256; we allow \
             aes128-sha256-ecp256-noesn: AH around ESP, where we want one of them"
        );
        let alone = offer_phase_2(wanted(&inner), spis(256), terms(group));
        assert_eq!(
            refused(both, &alone),
            "the peer offers aes128-sha256-ecp256; we allow aes128-sha256-ecp256-noesn in AH with sha384-noesn, \
             sha512-noesn: no AH around ESP, which we want"
        );
    }

    #[test]
    fn compression_is_agreed_on_where_both_want_it() {
        let ours = esp(&["aes128gcm16"]);
        let compressed = Wanted { compress: Compress::Deflate, ..wanted(&ours) };
        let names = |main, cpi| Spis { compression: Some(Cpi(cpi)), ..spis(main) };
        let mut offer = offer_phase_2(compressed, names(256, 0x1234), terms(None));
        let numbers: Vec<_> = offer.iter().map(|proposal| (proposal.number, proposal.protocol)).collect();
        assert_eq!(numbers, [(1, ProtocolId::ESP), (1, ProtocolId::IPCOMP), (2, ProtocolId::ESP)]);
        let chosen = |wanted, offer: &[wire::v1::Proposal]| choose_phase_2(wanted, offer, TUNNEL);
        let one = chosen(compressed, &offer).expect("they meet");
        assert_eq!(one.peer.compression, Some(Cpi(0x1234)));
        assert_eq!(answer_phase_2(&one, names(257, 0x2345))[1].spi, [0x23, 0x45]);
        assert_eq!(chosen(wanted(&ours), &offer).expect("the second").peer.compression, None);

        offer[1].spi = vec![0, 0, 0x12, 0x34];
        let one = chosen(compressed, &offer).expect("they meet");
        assert_eq!(one.peer.compression, Some(Cpi(0x1234)));
        assert_eq!(answer_phase_2(&one, names(257, 0x2345))[1].spi, [0, 0, 0x23, 0x45]);
        for bad in [&[0, 1][..], &[1, 0, 0x12, 0x34], &[1]] {
            offer[1].spi = bad.to_vec();
            assert_eq!(chosen(compressed, &offer).expect("the second").peer.compression, None, "{bad:?}");
        }
        let lacking = chosen(wanted(&ours), &offer[..2]).expect_err("compressed only").lacking;
        assert_eq!(lacking, "compression, which we do not want");
    }

    #[test]
    fn what_belongs_together_is_not_taken_apart() {
        let ours = esp(&["aes128gcm16"]);
        let offer = offer_phase_2(wanted(&ours), spis(256), terms(None));
        let twice = [offer[0].clone(), offer[0].clone()];
        let fault = choose_phase_2(wanted(&ours), &twice, TUNNEL).expect_err("a bundle");
        assert_eq!(fault.lacking, "protocols that cannot go together");
    }

    #[test]
    fn another_mode_is_named() {
        let ours = esp(&["aes128-sha256"]);
        let offer = offer_phase_2(wanted(&ours), spis(256), terms(None));
        let transport = EncapsulationMode::TRANSPORT;
        let fault = choose_phase_2(wanted(&ours), &offer, transport).expect_err("they differ");
        assert_eq!(fault.lacking, "the peer wants mode Tunnel (1) where we want Transport (2)");
    }
}
