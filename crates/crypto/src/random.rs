//! Where unpredictable octets come from.

/// Fills buffers with octets for nonces, SPIs, cookies and jitter.
///
/// The IKE engine takes one, so that a simulation can give it a seeded generator. Private key exchange values do
/// not come from here: they are made inside the library.
pub trait Random: Send {
    /// Overwrites all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Draws from the library's generator, which the operating system seeds; fit for keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes)
            .expect("RAND_bytes waits or aborts the process when there is no entropy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        SystemRandom.fill(&mut first);
        SystemRandom.fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
