//! The sans-IO IKE engine.

#![forbid(unsafe_code)]
