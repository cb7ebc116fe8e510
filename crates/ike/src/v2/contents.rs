//! The payloads of one message, picked by name: each at most once where the exchange has one, missing ones named.

use wire::registry::{AuthMethod, CertificateEncoding, NotifyType, PayloadType};
use wire::v2::{
    Authentication, Certificate, Configuration, Delete, Identification, KeyExchange, Notify, Payload,
    Proposal, TrafficSelector,
};

use crate::credentials::{AuthorityId, authorities_of};
use crate::error::{Error, Refusal};
use crate::{Misbehaviour, Role, limits};

/// The payloads of one message of one exchange.
#[derive(Debug)]
pub(crate) struct Contents {
    exchange: &'static str,
    payloads: Vec<Payload>,
}

macro_rules! single {
    ($(#[$doc:meta])* $required:ident, $optional:ident: $variant:ident($type:ty) as $name:literal) => {
        $(#[$doc])*
        pub(crate) fn $required(&self) -> Result<&$type, Error> {
            self.$optional()?.ok_or_else(|| self.missing($name))
        }

        /// The same, if it is there.
        pub(crate) fn $optional(&self) -> Result<Option<&$type>, Error> {
            self.at_most_one($name, |payload| match payload {
                Payload::$variant(value) => Some(value),
                _ => None,
            })
        }
    };
}

impl Contents {
    /// Takes a message's payloads.
    ///
    /// # Errors
    /// One of them is unknown and marked critical (RFC 7296 §2.5).
    pub(crate) fn new(exchange: &'static str, payloads: Vec<Payload>) -> Result<Contents, Error> {
        for payload in &payloads {
            if let Payload::Unknown(unknown) = payload
                && unknown.critical
            {
                return Err(Error::UnsupportedCriticalPayload(unknown.payload_type.0));
            }
        }
        Ok(Contents { exchange, payloads })
    }

    single!(
        /// SA: proposals, or the chosen one.
        security_association, optional_security_association: SecurityAssociation(Vec<Proposal>) as "SA");
    single!(
        /// KE: a public value.
        key_exchange, optional_key_exchange: KeyExchange(KeyExchange) as "KE");
    single!(
        /// Ni or Nr.
        nonce, optional_nonce: Nonce(Vec<u8>) as "nonce");
    single!(
        /// IDi.
        identification_initiator, optional_identification_initiator: IdentificationInitiator(Identification) as "IDi");
    single!(
        /// IDr.
        identification_responder, optional_identification_responder: IdentificationResponder(Identification) as "IDr");
    single!(
        /// AUTH.
        authentication, optional_authentication: Authentication(Authentication) as "AUTH");
    single!(
        /// TSi.
        selectors_initiator, optional_selectors_initiator: TrafficSelectorsInitiator(Vec<TrafficSelector>) as "TSi");
    single!(
        /// TSr.
        selectors_responder, optional_selectors_responder: TrafficSelectorsResponder(Vec<TrafficSelector>) as "TSr");

    /// CP, if it is there.
    pub(crate) fn optional_configuration(&self) -> Result<Option<&Configuration>, Error> {
        self.at_most_one("CP", |payload| match payload {
            Payload::Configuration(configuration) => Some(configuration),
            _ => None,
        })
    }

    /// The traffic selectors of one end of the exchange.
    pub(crate) fn selectors(&self, end: Role) -> Result<&[TrafficSelector], Error> {
        match end {
            Role::Initiator => self.selectors_initiator().map(Vec::as_slice),
            Role::Responder => self.selectors_responder().map(Vec::as_slice),
        }
    }

    /// All payloads, in their order.
    pub(crate) fn payloads(&self) -> &[Payload] {
        &self.payloads
    }

    /// All notifies.
    pub(crate) fn notifies(&self) -> impl Iterator<Item = &Notify> {
        self.payloads.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    /// The first notify of a type.
    pub(crate) fn notify(&self, notify_type: NotifyType) -> Option<&Notify> {
        self.notifies().find(|notify| notify.notify_type == notify_type)
    }

    /// The certificates, in their order.
    ///
    /// # Errors
    /// There are more than anybody needs.
    pub(crate) fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        let certificates = self.payloads.iter().filter_map(|payload| match payload {
            Payload::Certificate(certificate) => Some(certificate.clone()),
            _ => None,
        });
        let certificates: Vec<_> = certificates.collect();
        if certificates.len() > limits::CERTIFICATES_OF_A_PEER {
            return Err(Misbehaviour::Other("it sent more certificates than any chain has").into());
        }
        Ok(certificates)
    }

    /// The CAs whose certificates are wanted; `None` if no certificate is.
    pub(crate) fn authorities(&self) -> Option<Vec<AuthorityId>> {
        let mut requests = self.payloads.iter().filter_map(|payload| match payload {
            Payload::CertificateRequest(request) => Some(request),
            _ => None,
        });
        let first = requests.next()?;
        let x509 = std::iter::once(first)
            .chain(requests)
            .filter(|request| request.encoding == CertificateEncoding::X509_SIGNATURE);
        Some(x509.flat_map(|request| authorities_of(&request.authorities)).collect())
    }

    /// The body of the first payload of a type that has no form of its own.
    pub(crate) fn unknown(&self, payload_type: PayloadType) -> Option<&[u8]> {
        self.payloads.iter().find_map(|payload| match payload {
            Payload::Unknown(unknown) if unknown.payload_type == payload_type => {
                Some(unknown.body.as_slice())
            }
            _ => None,
        })
    }

    /// Tells whether the peer asks for certificates, or what goes with them, in this form (RFC 7296 §3.7).
    pub(crate) fn requests(&self, encoding: CertificateEncoding) -> bool {
        self.payloads.iter().any(|payload| match payload {
            Payload::CertificateRequest(request) => request.encoding == encoding,
            _ => false,
        })
    }

    /// The digital signatures that the peer says it takes, as AlgorithmIdentifiers in DER (RFC 9593 §3.2.3); `None` if it says
    /// nothing of any.
    pub(crate) fn announced_signatures(&self) -> Option<Vec<Vec<u8>>> {
        let methods = self.notify(NotifyType::SUPPORTED_AUTH_METHODS)?.announced_methods()?;
        let signatures = methods.into_iter().take(limits::ANNOUNCED_METHODS).filter(|announced| {
            announced.method == AuthMethod::DIGITAL_SIGNATURE && !announced.algorithm.is_empty()
        });
        let algorithms: Vec<Vec<u8>> = signatures.map(|announced| announced.algorithm).collect();
        (!algorithms.is_empty()).then_some(algorithms)
    }

    /// All deletes.
    pub(crate) fn deletes(&self) -> impl Iterator<Item = &Delete> {
        self.payloads.iter().filter_map(|payload| match payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    /// The refusal that the first error notify means, with what we had asked for.
    pub(crate) fn refusal(&self, asked: &str) -> Option<Refusal> {
        let error = self.notifies().find(|notify| notify.notify_type.is_error())?;
        Some(Refusal { exchange: self.exchange, notify: error.notify_type, asked: asked.to_owned() })
    }

    fn at_most_one<'a, T: ?Sized>(
        &'a self,
        payload: &'static str,
        pick: impl Fn(&'a Payload) -> Option<&'a T>,
    ) -> Result<Option<&'a T>, Error> {
        let mut found = self.payloads.iter().filter_map(pick);
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
