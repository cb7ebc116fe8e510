//! The management tree, its two codecs (swanctl.conf text and vici packets) and a client.

#![forbid(unsafe_code)]
