//! Two endpoints, a simulated clock and an emulated network in one process; for tests only.

#![forbid(unsafe_code)]
