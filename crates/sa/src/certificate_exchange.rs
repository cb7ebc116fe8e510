//! What two ends may tell each other of certificates.

/// What a connection sends of certificates, and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateExchange {
    /// When our certificates are sent.
    pub send: SendCertificate,
    /// Whether the peer is told which CAs are trusted, so that it sends its own.
    pub asks: bool,
    /// Which end brings what OCSP says of its certificate (RFC 4806).
    pub ocsp: InBandOcsp,
}

impl Default for CertificateExchange {
    fn default() -> CertificateExchange {
        CertificateExchange { send: SendCertificate::IfAsked, asks: true, ocsp: InBandOcsp::Reply }
    }
}

/// When our certificates are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendCertificate {
    /// In any case.
    Always,
    /// If the peer asks for some.
    IfAsked,
    /// Never: the peer has them.
    Never,
}

/// Which end brings OCSP responses within IKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InBandOcsp {
    /// Neither.
    Never,
    /// We do, if the peer asks.
    Reply,
    /// The peer, for we ask.
    Request,
    /// Either.
    Both,
}

impl InBandOcsp {
    /// Tells whether we bring ours.
    pub fn replies(self) -> bool {
        matches!(self, InBandOcsp::Reply | InBandOcsp::Both)
    }

    /// Tells whether we ask for the peer's.
    pub fn requests(self) -> bool {
        matches!(self, InBandOcsp::Request | InBandOcsp::Both)
    }
}
