//! The payloads of one message, picked by name: each at most once where the exchange has one, missing ones named.

use sa::DistinguishedName;
use wire::limits::NONCE_LENGTH_V1;
use wire::registry::{CertificateEncoding, ExchangeType};
use wire::v1::{Chain, Delete, Identification, Notification, Payload, Proposal, Received, VendorId};
use wire::v2::Certificate;

use crate::credentials::AuthorityName;
use crate::error::{Error, Misbehaviour};
use crate::limits;

/// The payloads of one message of one exchange.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    exchange: &'static str,
    payloads: Vec<Received<'a>>,
}

impl<'a> Contents<'a> {
    /// Takes a message's payloads.
    pub(crate) fn new(exchange: &'static str, chain: Chain<'a>) -> Contents<'a> {
        Contents { exchange, payloads: chain.payloads }
    }

    /// SA: proposals, or the chosen one; with the payload's body.
    pub(crate) fn security_association(&self) -> Result<(&[Proposal], &'a [u8]), Error> {
        let pick = |payload: &'_ Payload| matches!(payload, Payload::SecurityAssociation(_));
        let received = self.one("SA", pick)?;
        match &received.payload {
            Payload::SecurityAssociation(proposals) => Ok((proposals, received.body)),
            _ => Err(self.missing("SA")),
        }
    }

    /// KE: a public value.
    pub(crate) fn key_exchange(&self) -> Result<&'a [u8], Error> {
        Ok(self.one("KE", |payload| matches!(payload, Payload::KeyExchange(_)))?.body)
    }

    /// The same, if it is there.
    pub(crate) fn optional_key_exchange(&self) -> Result<Option<&'a [u8]>, Error> {
        let found = self.at_most_one("KE", |payload| matches!(payload, Payload::KeyExchange(_)))?;
        Ok(found.map(|received| received.body))
    }

    /// NONCE: Ni_b or Nr_b.
    pub(crate) fn nonce(&self) -> Result<&'a [u8], Error> {
        let nonce = self.one("NONCE", |payload| matches!(payload, Payload::Nonce(_)))?.body;
        if !NONCE_LENGTH_V1.contains(&nonce.len()) {
            return Err(Misbehaviour::Other("its nonce has not 8 to 256 octets").into());
        }
        Ok(nonce)
    }

    /// ID: an end of phase 1; with the payload's body.
    pub(crate) fn identification(&self) -> Result<(&Identification, &'a [u8]), Error> {
        let received = self.one("ID", |payload| matches!(payload, Payload::Identification(_)))?;
        match &received.payload {
            Payload::Identification(identification) => Ok((identification, received.body)),
            _ => Err(self.missing("ID")),
        }
    }

    /// IDci and IDcr: the traffic of a quick mode; `None` is that of the two ends themselves.
    pub(crate) fn traffic(&self) -> Result<Option<(&Identification, &Identification)>, Error> {
        let mut found = self.payloads.iter().filter_map(|received| match &received.payload {
            Payload::Identification(identification) => Some(identification),
            _ => None,
        });
        match (found.next(), found.next(), found.next()) {
            (None, ..) => Ok(None),
            (Some(initiator), Some(responder), None) => Ok(Some((initiator, responder))),
            (Some(_), None, _) => Err(self.missing("second ID")),
            (Some(_), Some(_), Some(_)) => {
                Err(Misbehaviour::Repeated { exchange: self.exchange, payload: "second ID" }.into())
            }
        }
    }

    /// HASH.
    pub(crate) fn hash(&self) -> Result<&'a [u8], Error> {
        Ok(self.one("HASH", |payload| matches!(payload, Payload::Hash(_)))?.body)
    }

    /// SIG.
    pub(crate) fn signature(&self) -> Result<&'a [u8], Error> {
        Ok(self.one("SIG", |payload| matches!(payload, Payload::Signature(_)))?.body)
    }

    /// The certificates, in their order.
    ///
    /// # Errors
    /// There are more than anybody needs.
    pub(crate) fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        let certificates = self.payloads().filter_map(|payload| match payload {
            Payload::Certificate(wire::v1::Certificate { encoding, data }) => {
                Some(Certificate { encoding: *encoding, data: data.clone() })
            }
            _ => None,
        });
        let certificates: Vec<_> = certificates.collect();
        if certificates.len() > limits::CERTIFICATES_OF_A_PEER {
            return Err(Misbehaviour::Other("it sent more certificates than any chain has").into());
        }
        Ok(certificates)
    }

    /// The CAs whose certificates are wanted; `None` if no certificate is. One without a name is any (RFC 2408 §3.10).
    pub(crate) fn authorities(&self) -> Option<Vec<AuthorityName>> {
        let requests: Vec<_> = self
            .payloads()
            .filter_map(|payload| match payload {
                Payload::CertificateRequest(request) => Some(request),
                _ => None,
            })
            .collect();
        let is_x509 =
            |request: &&wire::v1::Certificate| request.encoding == CertificateEncoding::X509_SIGNATURE;
        let names = requests.iter().copied().filter(is_x509).take(limits::AUTHORITIES_OF_A_PEER);
        let names = names.filter_map(|request| DistinguishedName::from_der(&request.data).ok());
        (!requests.is_empty()).then(|| names.map(AuthorityName::Subject).collect())
    }

    /// HASH as the first payload, as it is in phase 2, with all that follows it.
    pub(crate) fn leading_hash(&self) -> Result<(&'a [u8], &'a [u8]), Error> {
        match self.payloads.first() {
            Some(Received { payload: Payload::Hash(_), body, following }) => Ok((body, following)),
            _ => Err(self.missing("HASH")),
        }
    }

    /// All notifications.
    pub(crate) fn notifications(&self) -> impl Iterator<Item = &Notification> {
        self.payloads.iter().filter_map(|received| match &received.payload {
            Payload::Notification(notification) => Some(notification),
            _ => None,
        })
    }

    /// All deletes.
    pub(crate) fn deletes(&self) -> impl Iterator<Item = &Delete> {
        self.payloads.iter().filter_map(|received| match &received.payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    /// Tells whether this can be the first message of an exchange: no hash protects the type in the header, and a
    /// message must not be taken for one of another exchange.
    pub(crate) fn begins(&self, exchange_type: ExchangeType) -> bool {
        let has = |wanted: fn(&Payload) -> bool| self.payloads().any(wanted);
        let has_offer = has(|payload| matches!(payload, Payload::SecurityAssociation(_)));
        let has_nonce = has(|payload| matches!(payload, Payload::Nonce(_)));
        match exchange_type {
            ExchangeType::V1_QUICK_MODE => has_offer && has_nonce,
            ExchangeType::V1_NEW_GROUP_MODE => has_offer && !has_nonce,
            ExchangeType::V1_TRANSACTION => has(|payload| matches!(payload, Payload::Attributes(_))),
            ExchangeType::V1_INFORMATIONAL => {
                !has_nonce && has(|payload| matches!(payload, Payload::Notification(_) | Payload::Delete(_)))
            }
            _ => false,
        }
    }

    /// All payloads.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        self.payloads.iter().map(|received| &received.payload)
    }

    /// Tells whether the sender announces something.
    pub(crate) fn announces(&self, mark: VendorId) -> bool {
        self.payloads().any(
            |payload| matches!(payload, Payload::VendorId(octets) if VendorId::read(octets) == Some(mark)),
        )
    }

    fn one(&self, payload: &'static str, is_it: impl Fn(&Payload) -> bool) -> Result<&Received<'a>, Error> {
        self.at_most_one(payload, is_it)?.ok_or_else(|| self.missing(payload))
    }

    fn at_most_one(
        &self,
        payload: &'static str,
        is_it: impl Fn(&Payload) -> bool,
    ) -> Result<Option<&Received<'a>>, Error> {
        let mut found = self.payloads.iter().filter(|received| is_it(&received.payload));
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(_) => Err(Misbehaviour::Repeated { exchange: self.exchange, payload }.into()),
        }
    }

    fn missing(&self, payload: &'static str) -> Error {
        Misbehaviour::Missing { exchange: self.exchange, payload }.into()
    }
}
