//! Both ends replace the same SA at the same moment: which replacement stays (RFC 7296 §2.8.1, §2.8.2).
//!
//! ```text
//!   A                                            B
//!   HDR, SK { …, Ni1, … } -->   <-- HDR, SK { …, Ni2, … }        both are under way
//!   HDR, SK { …, Nr2, … } -->   <-- HDR, SK { …, Nr1, … }        both are answered
//!
//!   The exchange that used the lowest of the four nonces made the redundant SA; whoever began that exchange
//!   deletes what it made. Whoever began the other deletes the old SA.
//! ```

use super::keys::Nonces;

/// The peer's replacement of an SA that we are replacing too.
#[derive(Debug)]
pub(crate) struct Collision<T> {
    /// The lower of the two nonces of the peer's exchange.
    lowest_nonce: Vec<u8>,
    /// What the peer's exchange makes.
    pub rival: Rival<T>,
}

/// How far the peer's exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival<T> {
    /// It has made this.
    Made(T),
    /// It waits for its additional key exchanges, which the peer only goes on with if it wins (RFC 9370 §2.2.4).
    Coming,
    /// So it did, and what it made has taken over.
    Settled,
}

/// Whose replacement stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    Ours,
    Theirs,
}

impl<T> Collision<T> {
    /// Notes what the peer's exchange makes, and with which nonces.
    pub(super) fn new(nonces: Nonces<'_>, rival: Rival<T>) -> Collision<T> {
        Collision { lowest_nonce: nonces.initiator.min(nonces.responder).to_vec(), rival }
    }

    /// Tells whether the peer's replacement stays.
    pub(super) fn is_lost(&self, ours: Nonces<'_>) -> bool
    where
        T: PartialEq,
    {
        self.rival == Rival::Settled || self.winner(ours) == Winner::Theirs
    }

    /// Compares with the nonces of our own exchange. Nonces compare octet by octet, a shorter one that is the start of
    /// a longer one being lower (RFC 7296 §2.8.1).
    fn winner(&self, ours: Nonces<'_>) -> Winner {
        let our_lowest = ours.initiator.min(ours.responder);
        if our_lowest < self.lowest_nonce.as_slice() { Winner::Theirs } else { Winner::Ours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_with_the_lowest_nonce_loses_on_both_sides() {
        let (a, b) = (
            Nonces { initiator: &[5; 16], responder: &[3; 16] },
            Nonces { initiator: &[4; 16], responder: &[9; 16] },
        );
        // A's exchange holds the lowest nonce, 3: B's replacement stays.
        assert_eq!(Collision::new(b, Rival::Made(())).winner(a), Winner::Theirs);
        assert_eq!(Collision::new(a, Rival::Made(())).winner(b), Winner::Ours);
    }

    #[test]
    fn a_nonce_that_starts_another_is_the_lower() {
        let (short, long) = (
            Nonces { initiator: &[7; 16], responder: &[8; 16] },
            Nonces { initiator: &[7; 32], responder: &[8; 32] },
        );
        assert_eq!(Collision::<()>::new(long, Rival::Coming).winner(short), Winner::Theirs);
    }
}
