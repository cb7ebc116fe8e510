//! A value that nobody should see: not in a log, not in freed memory, not through a stopwatch.

use std::fmt;

use zeroize::Zeroize;

use crate::constant_time_eq;

/// Holds a value that is zeroed when dropped, never printed, and compared in constant time.
///
/// Reading it takes a call to [`expose`](Self::expose), which is easy to search for. There is no `PartialEq`:
/// use [`ct_eq`](Self::ct_eq).
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody. The caller wipes any copy that it made on the way.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives the value itself.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Gives the value itself to be filled in place. A vector that grows beyond its capacity leaves a copy behind, so
    /// reserve the room first.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Gives the secret octets.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Gives the number of octets, which is no secret.
    pub fn len(&self) -> usize {
        self.0.as_ref().len()
    }

    /// Tells whether there are no octets at all.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_empty()
    }

    /// Tells whether the secret is `other`, in a time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        constant_time_eq(self.as_slice(), other)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<Vec<u8>> for Secret<Vec<u8>> {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl From<&[u8]> for Secret<Vec<u8>> {
    fn from(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Secret::from(b"swordfish".to_vec())), "Secret(..)");
    }

    #[test]
    fn equality_needs_the_same_octets_and_length() {
        let secret = Secret::from(b"swordfish".to_vec());
        assert!(secret.ct_eq(b"swordfish"));
        assert!(!secret.ct_eq(b"swordfisH"));
        assert!(!secret.ct_eq(b"swordfis"));
        assert!(!secret.ct_eq(b""));
    }

    #[test]
    fn dropping_zeroes_the_value() {
        #[derive(Default)]
        struct Spy(std::rc::Rc<std::cell::Cell<u32>>);
        impl Zeroize for Spy {
            fn zeroize(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let wiped = std::rc::Rc::default();
        drop(Secret::new(Spy(std::rc::Rc::clone(&wiped))));
        assert_eq!(wiped.get(), 1);
    }
}
