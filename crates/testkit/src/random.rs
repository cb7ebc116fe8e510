//! A generator whose seed replays a run.
//!
//! Private key exchange values are made inside the cryptographic library and are not replayed; nothing that a run does
//! depends on them, since every public value of a group is equally long and nonces decide collisions.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The xoshiro256** generator, filled from its seed by SplitMix64 (Blackman and Vigna, 2018). Not for keys.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: [u64; 4],
}

impl SeededRandom {
    /// Makes the generator that `seed` stands for.
    pub fn new(seed: u64) -> SeededRandom {
        let mut seed = seed;
        SeededRandom { state: std::array::from_fn(|_| split_mix(&mut seed)) }
    }

    /// Makes another generator, whose numbers have nothing to do with what this one goes on to give.
    #[must_use]
    pub fn fork(&mut self) -> SeededRandom {
        SeededRandom::new(self.draw())
    }

    /// Draws a number, all equally likely.
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        self.state = [a ^ d ^ b, b ^ c ^ a, c ^ a ^ (b << 17), (d ^ b).rotate_left(45)];
        drawn
    }

    /// Draws a number below `limit`; zero where the limit is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product is even enough for tests.
        let product = u128::from(self.draw()) * u128::from(limit);
        (product >> 64) as u64
    }

    /// Says yes in `percent` of all cases.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// Draws a duration, in whole microseconds.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let (shortest, longest) = range.into_inner();
        let span = longest.saturating_sub(shortest).as_micros() as u64;
        shortest + Duration::from_micros(self.below(span + 1))
    }

    /// Draws one of `choices`.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Gives one of `messages` with some octets changed, cut or added, or mere noise of its length.
    ///
    /// # Panics
    /// There are none, or one is shorter than the header of ISAKMP.
    #[must_use]
    pub fn spoil(&mut self, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(messages).clone();
        let length = bytes.len() as u64;
        match self.below(5) {
            0 => bytes.truncate(self.below(length) as usize),
            1 => bytes.extend((0..=self.below(30)).map(|octet| octet as u8)),
            2 => crypto::Random::fill(self, &mut bytes),
            // The header, whose fields steer everything.
            3 => bytes[16 + self.below(12) as usize] ^= 1 << self.below(8),
            _ => {
                for _ in 0..=self.below(4) {
                    bytes[self.below(length) as usize] ^= 1 << self.below(8);
                }
            }
        }
        bytes
    }
}

impl crypto::Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::Random;

    #[test]
    fn split_mix_gives_its_published_numbers() {
        // The first outputs of Vigna's splitmix64.c for the seed 1234567.
        let mut state = 1_234_567;
        let drawn = [(); 3].map(|()| split_mix(&mut state));
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn xoshiro_gives_its_published_numbers() {
        // The first outputs of xoshiro256starstar.c for the state 1, 2, 3, 4.
        let mut random = SeededRandom { state: [1, 2, 3, 4] };
        let drawn = [(); 4].map(|()| random.draw());
        assert_eq!(drawn, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn the_same_seed_gives_the_same_octets_and_another_does_not() {
        let octets = |seed| {
            let mut octets = [0; 21];
            SeededRandom::new(seed).fill(&mut octets);
            octets
        };
        assert_eq!(octets(7), octets(7));
        assert_ne!(octets(7), octets(8));
    }

    #[test]
    fn chances_and_ranges_are_kept() {
        let mut random = SeededRandom::new(1);
        let hits = (0..10_000).filter(|_| random.chance(30)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        let range = Duration::from_millis(5)..=Duration::from_millis(9);
        assert!((0..1_000).all(|_| range.contains(&random.duration(range.clone()))));
        assert!(!random.chance(0) && random.chance(100));
    }
}
