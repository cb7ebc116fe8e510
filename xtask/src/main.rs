//! House rules that no lint knows.

#![forbid(unsafe_code)]

fn main() {}
