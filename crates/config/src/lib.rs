//! The typed configuration: every key, its default and its reason.

#![forbid(unsafe_code)]
