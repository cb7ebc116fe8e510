//! Bytes to payloads and back: the ISAKMP header, IKEv2 payloads, ESP, UDP and IP headers, and the IANA registries.

#![forbid(unsafe_code)]
