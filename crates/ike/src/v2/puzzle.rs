//! Puzzles: what a flood of strangers that can return cookies must pay for each half-open IKE SA (RFC 8019).
//!
//! ```text
//!   HDR(A,0), SAi1, KEi, Ni                       -->
//!                                                 <--  HDR(A,0), N(COOKIE), N(PUZZLE)     four keys, please, under which
//!   HDR(A,0), N(COOKIE), PS, SAi1, KEi, Ni        -->                                     the PRF of the cookie ends in so many zeros
//! ```
//!
//! The initiator tries keys in slices, between which everything else goes on. The responder checks four results and keeps
//! nothing. Who knows no puzzles returns the cookie alone, and is served now and then.

use std::ops::RangeInclusive;

use crypto::KeyRule;
use sa::transform::{self, PseudoRandom};
use wire::registry::{NotifyType, PayloadType, PrfId, TransformType};
use wire::v2::{Notify, Payload, Proposal, Unknown};

use super::contents::Contents;
use super::ike_sa_init::Demand;
use crate::context::Context;
use crate::cookie::CookieRequest;
use crate::error::Error;
use crate::limits;

/// Keys in a solution (RFC 8019 §7.1.3).
const KEYS: usize = 4;

/// Octets of a number that makes a key: four thousand million of them are enough for any puzzle that we take.
const NUMBER_LEN: usize = 4;

/// What a responder asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Puzzle {
    prf: &'static PseudoRandom,
    /// Zero bits at the end of each result.
    difficulty: u8,
}

impl PartialEq for Puzzle {
    fn eq(&self, other: &Puzzle) -> bool {
        self.prf.id == other.prf.id && self.difficulty == other.difficulty
    }
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// Reads the puzzle that comes with a cookie, if it is one that we can solve and want to.
pub(crate) fn read(contents: &Contents) -> Option<Puzzle> {
    let notify = contents.notify(NotifyType::PUZZLE)?;
    let [high, low, difficulty] = *notify.data.first_chunk()?;
    let prf = transform::pseudo_random(PrfId(u16::from_be_bytes([high, low])))?;
    // RFC 8019 §7.1.1.1: zero leaves it to us.
    let difficulty = if difficulty == 0 { limits::PUZZLE_DIFFICULTY_OF_OURS } else { difficulty };
    (difficulty <= limits::PUZZLE_DIFFICULTY_AT_MOST).then_some(Puzzle { prf, difficulty })
}

/// Tells whether a message poses a puzzle without the cookie that it would be about: such a one is ignored (RFC 8019 §7.1.2).
pub(crate) fn is_impossible(contents: &Contents) -> bool {
    contents.notify(NotifyType::PUZZLE).is_some() && contents.notify(NotifyType::COOKIE).is_none()
}

/// A puzzle on its way to being solved.
#[derive(Clone, Debug)]
pub(crate) struct Solving {
    pub cookie: Vec<u8>,
    puzzle: Puzzle,
    next: u64,
    found: Vec<u8>,
}

impl Solving {
    pub(crate) fn new(cookie: Vec<u8>, puzzle: Puzzle) -> Solving {
        Solving { cookie, puzzle, next: 0, found: Vec::new() }
    }

    /// Tries some more keys, and gives the solution when there are four; `Err` if there are none.
    pub(crate) fn go_on(&mut self, tries: u32) -> Result<Option<Vec<u8>>, Unsolvable> {
        let length = NUMBER_LEN.max(*self.puzzle.key_lengths().start());
        let mut key = vec![0; length];
        for _ in 0..tries {
            let number = u32::try_from(self.next).map_err(|_| Unsolvable)?.to_be_bytes();
            self.next += 1;
            key[length - NUMBER_LEN..].copy_from_slice(&number);
            if is_solution(self.puzzle, &self.cookie, &key) {
                self.found.extend(&key);
                if self.found.len() == KEYS * length {
                    return Ok(Some(std::mem::take(&mut self.found)));
                }
            }
        }
        Ok(None)
    }
}

/// All keys have been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsolvable;

/// Gives the payload that returns a solution.
pub(crate) fn solution(keys: Vec<u8>) -> Payload {
    Payload::Unknown(Unknown { payload_type: PayloadType::PUZZLE_SOLUTION, critical: false, body: keys })
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Gives the puzzle for an initiator that offers these functions, in the first of them that we know.
pub(crate) fn pose(offered: impl IntoIterator<Item = PrfId>, difficulty: u8) -> Option<Puzzle> {
    let prf = offered.into_iter().find_map(transform::pseudo_random)?;
    Some(Puzzle { prf, difficulty })
}

/// Tells what a stranger has yet to bring: a cookie, and under heavy load the solution of a puzzle (RFC 8019 §7.1.4).
pub(crate) fn unmet(
    cx: &mut Context,
    demand: Demand,
    stranger: &CookieRequest<'_>,
    contents: &Contents,
) -> Result<Option<Vec<Notify>>, Error> {
    let cookie = contents.notify(NotifyType::COOKIE).map(|notify| notify.data.as_slice());
    let posed = cookie.and_then(|cookie| cx.cookies.verify(cx.now, stranger, cookie));
    let difficulty = match (demand, posed) {
        (Demand::Nothing, _) | (Demand::Cookie, Some(_)) => return Ok(None),
        (Demand::Cookie, None) => 0,
        (Demand::Puzzle(difficulty), _) => difficulty,
    };
    let cookie_of =
        |difficulty| Notify::new(NotifyType::COOKIE, cx.cookies.cookie(cx.now, stranger, difficulty));
    if difficulty == 0 {
        return Ok(Some(vec![cookie_of(0)]));
    }
    let offer = contents.security_association()?;
    let Some(puzzle) = pose(offered_functions(offer), difficulty) else { return Ok(None) };
    let demands = vec![cookie_of(difficulty), puzzle.to_notify()];
    let Some((posed, cookie)) = posed.filter(|posed| *posed > 0).zip(cookie) else {
        return Ok(Some(demands));
    };
    let is_solved = pose(offered_functions(offer), posed).is_some_and(|it| it.is_solved(cookie, contents));
    let mut lot = [0];
    cx.random.fill(&mut lot);
    let is_served = is_solved || lot[0] % limits::SERVED_WITHOUT_SOLUTION == 0;
    Ok((!is_served).then_some(demands))
}

fn offered_functions(offer: &[Proposal]) -> impl Iterator<Item = PrfId> {
    let transforms = offer.iter().flat_map(|proposal| &proposal.transforms);
    transforms.filter(|it| it.transform_type == TransformType::PRF).map(|it| PrfId(it.id))
}

impl Puzzle {
    /// Gives the notify that poses it.
    pub(crate) fn to_notify(self) -> Notify {
        let [high, low] = self.prf.id.0.to_be_bytes();
        Notify::new(NotifyType::PUZZLE, [high, low, self.difficulty])
    }

    /// Tells whether a request brings four different keys that solve it for this cookie.
    pub(crate) fn is_solved(self, cookie: &[u8], contents: &Contents) -> bool {
        let Some(body) = contents.unknown(PayloadType::PUZZLE_SOLUTION) else { return false };
        let length = body.len() / KEYS;
        if body.len() % KEYS != 0 || !self.key_lengths().contains(&length) {
            return false;
        }
        let keys: std::collections::BTreeSet<&[u8]> = body.chunks(length).collect();
        keys.len() == KEYS && keys.into_iter().all(|key| is_solution(self, cookie, key))
    }
}

impl Puzzle {
    /// How long a key may be (RFC 8019 §8.2).
    fn key_lengths(self) -> RangeInclusive<usize> {
        let longest = self.prf.prf.key_len();
        match self.prf.prf.key_rule() {
            KeyRule::Any => 1..=longest,
            KeyRule::Fixed => longest..=longest,
        }
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

fn is_solution(puzzle: Puzzle, cookie: &[u8], key: &[u8]) -> bool {
    let result = puzzle.prf.prf.compute(key, &[cookie]);
    trailing_zeros(result.as_slice()) >= puzzle.difficulty.into()
}

fn trailing_zeros(octets: &[u8]) -> u32 {
    let zeros = octets.iter().rev().take_while(|octet| **octet == 0).count();
    let rest = octets.iter().rev().nth(zeros).map_or(0, |octet| octet.trailing_zeros());
    u32::try_from(zeros).unwrap_or(u32::MAX).saturating_mul(8).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8019 §4.4, the two examples. Their results are those of the SHA-256 digests of the keys that they name, which the
    /// text does not say; the digests are as good keys as any.
    const COOKIE: &str = "739ae7492d8a810cf5e8dc0f9626c9dda773c5a3";
    const OF_18_BITS: [(&str, u32); 4] = [("061840", 18), ("073324", 23), ("0c8a2a", 20), ("0d94c8", 18)];
    const OF_22_BITS: [&str; 4] = ["005d9e57", "010d8959", "0110778d", "01187e37"];

    fn sha256(difficulty: u8) -> Puzzle {
        pose([PrfId::HMAC_SHA2_256], difficulty).expect("it is in the table")
    }

    fn with_solution(keys: &[u8]) -> Contents {
        Contents::new("IKE_SA_INIT", vec![solution(keys.to_vec())]).expect("nothing is critical")
    }

    #[test]
    fn the_examples_of_the_rfc_are_solutions() {
        let cookie = hex::decode(COOKIE).expect("the RFC's own");
        let decode = |text: &&str| {
            crypto::hash::SHA2_256.digest(&[&hex::decode(text).expect("the RFC's own")]).as_slice().to_vec()
        };
        for (key, zeros) in OF_18_BITS {
            let key = decode(&key);
            assert!(is_solution(sha256(zeros as u8), &cookie, &key));
            assert!(!is_solution(sha256(zeros as u8 + 1), &cookie, &key));
        }
        let of_18_bits = OF_18_BITS.map(|(key, _)| decode(&key)).concat();
        assert!(sha256(18).is_solved(&cookie, &with_solution(&of_18_bits)));
        assert!(!sha256(19).is_solved(&cookie, &with_solution(&of_18_bits)));
        let of_22_bits = OF_22_BITS.iter().map(decode).collect::<Vec<_>>().concat();
        assert!(sha256(22).is_solved(&cookie, &with_solution(&of_22_bits)));
        assert!(!sha256(18).is_solved(&cookie[1..], &with_solution(&of_18_bits)));
    }

    #[test]
    fn what_is_no_solution_is_told() {
        let cookie = hex::decode(COOKIE).expect("the RFC's own");
        let mut solving = Solving::new(cookie.clone(), sha256(10));
        let good = solving.go_on(1_000_000).expect("there are enough keys").expect("it is easy");
        let puzzle = sha256(10);
        assert!(puzzle.is_solved(&cookie, &with_solution(&good)));
        let one_four_times = good[..4].repeat(4);
        let cases: [&[u8]; 6] = [&[], &good[..15], &good[..4], &one_four_times, &[0; 12], &[7; 4 * 33]];
        for keys in cases {
            assert!(!puzzle.is_solved(&cookie, &with_solution(keys)), "{keys:?}");
        }
        assert!(!puzzle.is_solved(&cookie, &Contents::new("IKE_SA_INIT", Vec::new()).expect("empty")));
    }

    #[test]
    fn what_is_found_in_slices_is_a_solution_with_every_function() {
        for prf in transform::PSEUDO_RANDOM {
            let puzzle = Puzzle { prf, difficulty: 9 };
            let mut solving = Solving::new(vec![7; 36], puzzle);
            let keys = loop {
                match solving.go_on(100).expect("there are enough keys") {
                    Some(keys) => break keys,
                    None => assert!(solving.next < 1_000_000),
                }
            };
            assert!(puzzle.is_solved(&[7; 36], &with_solution(&keys)), "{prf}");
        }
    }

    #[test]
    fn what_is_too_hard_or_of_an_unknown_function_is_passed_over() {
        let read = |data: &[u8]| {
            let notify = Payload::Notify(Notify::new(NotifyType::PUZZLE, data));
            super::read(&Contents::new("IKE_SA_INIT", vec![notify]).expect("nothing is critical"))
        };
        assert_eq!(read(&[0, 5, 18]), Some(sha256(18)));
        assert_eq!(read(&[0, 5, 0]), Some(sha256(limits::PUZZLE_DIFFICULTY_OF_OURS)));
        assert_eq!(read(&[0, 5, limits::PUZZLE_DIFFICULTY_AT_MOST + 1]), None);
        for data in [&[][..], &[0, 5], &[0xff, 0xff, 18]] {
            assert_eq!(read(data), None);
        }
        assert_eq!(sha256(18).to_notify().data, [0, 5, 18]);
    }
}
