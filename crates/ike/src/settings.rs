//! What an endpoint is made with.

use std::time::Duration;

use crypto::Secret;
use crypto::signature::SignatureScheme;

use crate::StrangerBounds;
use crate::retransmission::RetransmissionPolicy;

/// What holds for every connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How requests are repeated.
    pub retransmission: RetransmissionPolicy,
    /// How long a stranger may take from IKE_SA_INIT to IKE_AUTH.
    pub half_open_timeout: Duration,
    /// How many of them there may be.
    pub strangers: StrangerBounds,
    /// The largest IP packet that an IKE message may make before it is cut into fragments, in octets.
    pub fragment_size: usize,
    /// How long we may be silent before a NAT might forget us (RFC 3948 §4).
    pub nat_keepalive: Duration,
    /// The signatures that are announced (RFC 9593) where a connection takes them, each with its AlgorithmIdentifier in DER.
    pub announced_signatures: Vec<(SignatureScheme, Vec<u8>)>,
    /// Whether peers may say where their certificates are to be fetched (RFC 7296 §3.6). The outside then does so.
    pub certificate_lookup: bool,
    /// Whether every message is told in words ([`Event::Message`](crate::Event::Message)).
    pub trace_messages: bool,
    /// The secret, kept across restarts, of the tokens by which peers learn that we have lost an IKE SA (RFC 6290); without
    /// one there are none.
    pub crash_secret: Option<Secret<Vec<u8>>>,
    /// Whether keys are told, for packet analysers ([`Event::IkeKeys`](crate::Event::IkeKeys), [`Event::ChildKeys`](crate::Event::ChildKeys)). For debugging only.
    pub disclose_keys: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retransmission: RetransmissionPolicy::default(),
            half_open_timeout: Duration::from_secs(30),
            strangers: StrangerBounds::default(),
            fragment_size: 1280,
            nat_keepalive: Duration::from_secs(20),
            announced_signatures: Vec::new(),
            certificate_lookup: false,
            trace_messages: false,
            crash_secret: None,
            disclose_keys: false,
        }
    }
}
