//! Keyway: the IPsec daemon and its command line.

fn main() {}
