//! Comparison that does not tell an attacker how much of a guess was right.

/// Tells whether two octet strings are equal, in a time that depends on their lengths only.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
