//! What each end of a phase 1 says about itself, encrypted to the other's RSA key: whoever has its private key learns the
//! nonce, and shows with a hash of it that he has (RFC 2409 §5.2, and revised §5.3).
//!
//! ```text
//!  plain     [HASH(1),] KE, <ID_b>PubKey, <N_b>PubKey, all else in the clear
//!  revised   [HASH(1),] <N_b>PubKey, <KE_b>Ke, <ID_b>Ke, [<CERT_b>Ke,] all else encrypted with Ke, too
//!
//!  HASH(1)   hash(the certificate whose key is PubKey): which of the receiver's keys it is, from the initiator only
//!  Ne        prf(N_b, CKY of the sender)
//!  Ke        the start of Ne, stretched if that is too short
//!  <body>Ke  body | 00 … 00 | n in whole blocks, n of them zero: CBC from IV 0 on, through all bodies one after the other
//! ```
//!
//! Only bodies are encrypted: the headers of payloads stay in the clear. What is opened here becomes the message that it
//! would be without encryption, and is read as any other.
//!
//! Whether an RSA padding was right is not known here: a wrong one gives a nonce all the same (see
//! [`crypto::encryption`]). Whatever follows from a wrong nonce, the peer is told the same of it.

use std::sync::Arc;

use crypto::signature::KeyKind;
use crypto::{CipherKey, Secret, VerifyingKey};
use sa::transform::EncryptionKind;
use sa::{AddressRange, IkeSuite};
use wire::isakmp::IkeSpi;
use wire::registry::PayloadType;
use wire::registry::v1::AuthenticationMethod;
use wire::v1::{Certificate, Chain, Datagram, Identification, Payload};

use super::channel::{hash_of, trace_received};
use super::contents::Contents;
use super::keys::stretched;
use super::phase_1::body_of;
use crate::context::Context;
use crate::credentials::{
    CertificateHash, Ciphertext, DecryptRequest, Decrypted, Recipient, TrustRequest, TrustedKey,
};
use crate::error::{Error, Misbehaviour};
use crate::io::{Path, Query};
use crate::{Connection, EncryptionForm, Identity, Role, limits};

/// Octets of a payload's header.
const GENERIC_HEADER: usize = 4;

// --- To whom -------------------------------------------------------------------------------------------------------

/// Whoever alone can read what we encrypt.
#[derive(Clone, Debug)]
pub(crate) struct Addressee {
    pub(crate) identity: Identity,
    key: Arc<dyn VerifyingKey>,
    certificate: Option<Vec<u8>>,
    /// The addresses that its certificate lets it speak for (RFC 3779).
    pub(crate) addresses: Option<Vec<AddressRange>>,
}

/// Asks for the key of a peer, which may have sent a certificate.
pub(crate) fn question_of_key(
    connection: &Arc<Connection>,
    remote: &Identity,
    certificates: Vec<crate::Certificate>,
) -> Query {
    Query::Trust(Box::new(TrustRequest {
        connection: Arc::clone(connection),
        round: 0,
        remote: remote.clone(),
        certificates,
        algorithm: None,
    }))
}

impl Addressee {
    /// Takes the key that is known to be the peer's.
    ///
    /// # Errors
    /// None is, or it is of a kind that does not encrypt.
    pub(crate) fn new(identity: &Identity, trusted: Result<TrustedKey, String>) -> Result<Addressee, Error> {
        let TrustedKey { key, addresses, certificate, .. } = trusted.map_err(Error::AuthenticationFailed)?;
        if key.kind() != KeyKind::Rsa {
            let kind = key.kind();
            let sentence = format!("the key of {identity} is of {kind}, and only RSA encrypts in IKEv1");
            return Err(Error::AuthenticationFailed(sentence));
        }
        Ok(Addressee { identity: identity.clone(), key, certificate, addresses })
    }

    /// HASH(1): tells the peer which of its keys we encrypt to, if that is in a certificate.
    pub(crate) fn hint(&self, suite: &IkeSuite) -> Option<Payload> {
        Some(Payload::Hash(hash_of(suite)?.digest(&[self.certificate.as_deref()?])))
    }

    fn encrypt(&self, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.encrypt(body).map_err(|fault| Error::Local(format!("{}: {fault}", self.identity)))
    }
}

// --- Sealing -------------------------------------------------------------------------------------------------------

/// How what one end says is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) form: EncryptionForm,
    pub(crate) suite: IkeSuite,
    /// The cookie of whoever says it.
    pub(crate) sender: IkeSpi,
}

/// What one end says in it.
pub(crate) struct Letter<'a> {
    pub(crate) public: &'a [u8],
    pub(crate) nonce: &'a [u8],
    pub(crate) identification: Identification,
    /// What else the message holds.
    pub(crate) others: Vec<Payload>,
}

impl Letter<'_> {
    /// Gives the payloads that say it, encrypted if they are to be.
    ///
    /// # Errors
    /// The addressee's key is too short for it.
    pub(crate) fn lay_out(self, sealing: Option<(Envelope, &Addressee)>) -> Result<Vec<Payload>, Error> {
        match sealing {
            Some((envelope, addressee)) => envelope.seal(addressee, self),
            None => {
                let Letter { public, nonce, identification, others } = self;
                let key_exchange = Payload::KeyExchange(public.to_vec());
                let nonce = Payload::Nonce(nonce.to_vec());
                let payloads = [key_exchange, nonce, Payload::Identification(identification)].into_iter();
                Ok(payloads.chain(others).collect())
            }
        }
    }
}

impl Envelope {
    /// Encrypts to a peer.
    ///
    /// # Errors
    /// Its key is too short for it.
    pub(crate) fn seal(&self, addressee: &Addressee, letter: Letter<'_>) -> Result<Vec<Payload>, Error> {
        let Letter { public, nonce, identification, others } = letter;
        let sealed_nonce = Payload::sealed(PayloadType::V1_NONCE, addressee.encrypt(nonce)?);
        let key_exchange = Payload::KeyExchange(public.to_vec());
        match self.form {
            EncryptionForm::Plain => {
                let identification = addressee.encrypt(&identification.to_body())?;
                let identification = Payload::sealed(PayloadType::V1_IDENTIFICATION, identification);
                let payloads = [key_exchange, identification, sealed_nonce].into_iter();
                Ok(payloads.chain(others).collect())
            }
            EncryptionForm::Revised => {
                let mut cipher = self.cipher(nonce)?;
                let inside =
                    [key_exchange, Payload::Identification(identification)].into_iter().chain(others);
                let sealed = inside.map(|payload| match payload {
                    // RFC 2409 §5.3's diagram has HASH_R in the clear.
                    hash @ Payload::Hash(_) => Ok(hash),
                    other => {
                        let body = cipher.seal(body_of(&other)?)?;
                        Ok(Payload::sealed(other.payload_type(), body))
                    }
                });
                [Ok(sealed_nonce)].into_iter().chain(sealed).collect()
            }
        }
    }

    /// Makes the cipher that a nonce stands for.
    fn cipher(&self, nonce: &[u8]) -> Result<Chaining, Error> {
        let Some(EncryptionKind::Cipher(cipher)) = self.suite.protection.encryption().map(|row| &row.kind)
        else {
            return Err(Error::Local(format!("{} is no suite of IKEv1's phase 1", self.suite)));
        };
        let prf = self.suite.prf.prf;
        let ne = prf.compute(nonce, &[&self.sender.to_octets()]);
        let key = stretched(prf, &ne, cipher.key_len());
        let key = cipher.key(key.as_slice()).map_err(|fault| Error::Local(fault.to_string()))?;
        Ok(Chaining { key, iv: vec![0; cipher.block_len()] })
    }
}

/// A cipher whose IV goes on from one body to the next.
struct Chaining {
    key: Box<dyn CipherKey>,
    iv: Vec<u8>,
}

impl Chaining {
    fn seal(&mut self, mut body: Vec<u8>) -> Result<Vec<u8>, Error> {
        let zeros = self.iv.len() - 1 - body.len() % self.iv.len();
        body.resize(body.len() + zeros, 0);
        body.push(u8::try_from(zeros).unwrap_or_default());
        self.key.encrypt(&self.iv, &mut body).map_err(|fault| Error::Local(fault.to_string()))?;
        self.go_on(&body);
        Ok(body)
    }

    /// Gives nothing if it is not padded as it should be.
    fn open(&mut self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let mut body = ciphertext.to_vec();
        self.key.decrypt(&self.iv, &mut body).ok()?;
        self.go_on(ciphertext);
        let zeros = usize::from(body.pop()?);
        let end = body.len().checked_sub(zeros).filter(|_| zeros < self.iv.len())?;
        let is_padding = body.get(end..)?.iter().fold(0, |all, octet| all | octet) == 0;
        body.truncate(end);
        is_padding.then_some(body)
    }

    fn go_on(&mut self, ciphertext: &[u8]) {
        if let Some(last) =
            ciphertext.len().checked_sub(self.iv.len()).and_then(|start| ciphertext.get(start..))
        {
            self.iv = last.to_vec();
        }
    }
}

// --- Opening -------------------------------------------------------------------------------------------------------

/// A message of which the private key must open the first part.
#[derive(Debug)]
pub(crate) struct Sealed {
    envelope: Envelope,
    payloads: Vec<(PayloadType, Body)>,
}

#[derive(Debug)]
enum Body {
    /// As it came.
    Clear(Vec<u8>),
    /// Encrypted to our key, a message of so many octets.
    ToKey(Ciphertext),
    /// Encrypted with Ke.
    ToCipher(Vec<u8>),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Body::Clear(octets) | Body::ToCipher(octets) => octets.len(),
            Body::ToKey(ciphertext) => ciphertext.octets.len(),
        }
    }
}

impl Envelope {
    /// Takes a message that came.
    ///
    /// # Errors
    /// It has not one nonce and one identity.
    pub(crate) fn receive(
        self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        exchange: &'static str,
        mut chain: Chain<'_>,
    ) -> Result<Sealed, Error> {
        let mut payloads = Vec::new();
        let mut has_nonce = false;
        for received in &mut chain.payloads {
            let payload_type = received.payload.payload_type();
            has_nonce |= payload_type == PayloadType::V1_NONCE;
            let body = self.body_of(payload_type, received.body, has_nonce);
            if !matches!(body, Body::Clear(_)) {
                received.payload = Payload::sealed(payload_type, received.body.to_vec());
            }
            payloads.push((payload_type, body));
        }
        trace_received(cx, path, datagram, &chain);
        let needed = [("NONCE", PayloadType::V1_NONCE), ("ID", PayloadType::V1_IDENTIFICATION)];
        for (payload, wanted) in needed {
            match payloads.iter().filter(|(payload_type, _)| *payload_type == wanted).count() {
                0 => return Err(Misbehaviour::Missing { exchange, payload }.into()),
                1 => {}
                _ => return Err(Misbehaviour::Repeated { exchange, payload }.into()),
            }
        }
        Ok(Sealed { envelope: self, payloads })
    }

    fn body_of(&self, payload_type: PayloadType, body: &[u8], has_nonce: bool) -> Body {
        let octets = body.to_vec();
        match (self.form, payload_type) {
            (_, PayloadType::V1_NONCE) => {
                Body::ToKey(Ciphertext { octets, lengths: wire::limits::NONCE_LENGTH_V1 })
            }
            (EncryptionForm::Plain, PayloadType::V1_IDENTIFICATION) => {
                Body::ToKey(Ciphertext { octets, lengths: limits::SEALED_IDENTITY })
            }
            (EncryptionForm::Plain, _) => Body::Clear(octets),
            // HASH_R, which is in the clear in the diagram of RFC 2409 §5.3, and not by its text.
            (EncryptionForm::Revised, PayloadType::V1_HASH)
                if body.len() == self.suite.prf.prf.output_len() =>
            {
                Body::Clear(octets)
            }
            (EncryptionForm::Revised, _) if has_nonce => Body::ToCipher(octets),
            (EncryptionForm::Revised, _) => Body::Clear(octets),
        }
    }
}

impl Sealed {
    /// Asks one of these for the private key's work.
    pub(crate) fn question(&self, our_role: Role, recipients: Vec<Recipient>) -> Query {
        let ciphertexts = self.payloads.iter().filter_map(|(_, body)| match body {
            Body::ToKey(ciphertext) => Some(ciphertext.clone()),
            Body::Clear(_) | Body::ToCipher(_) => None,
        });
        let hint = self.payloads.iter().find_map(|(payload_type, body)| match (our_role, body) {
            (Role::Responder, Body::Clear(digest)) if *payload_type == PayloadType::V1_HASH => {
                Some(CertificateHash { function: hash_of(&self.envelope.suite)?, digest: digest.clone() })
            }
            _ => None,
        });
        let ciphertexts = ciphertexts.collect();
        Query::Decrypt(Box::new(DecryptRequest { recipients, certificate: hint, ciphertexts }))
    }

    /// Makes of it, with what the private key has found, the message that it would be without encryption.
    ///
    /// # Errors
    /// We have no key for it, or it was not made with that.
    pub(crate) fn open(&self, message: u8, decrypted: Result<Decrypted, String>) -> Result<Opened, Error> {
        let Decrypted(found) = decrypted.map_err(Error::AuthenticationFailed)?;
        let mut found = found.into_iter();
        let mut cipher = None;
        let mut opened = Opened::new(message, &self.payloads);
        for (payload_type, body) in &self.payloads {
            match body {
                Body::Clear(body) => opened.push(body)?,
                Body::ToKey(_) => {
                    let body = found.next().ok_or_else(|| not_for_us(message))?;
                    if *payload_type == PayloadType::V1_NONCE && self.envelope.form == EncryptionForm::Revised
                    {
                        cipher = Some(self.envelope.cipher(body.as_slice())?);
                    }
                    opened.push(body.as_slice())?;
                }
                Body::ToCipher(body) => {
                    let body = cipher.as_mut().and_then(|cipher| cipher.open(body));
                    opened.push(&body.ok_or_else(|| not_for_us(message))?)?;
                }
            }
        }
        Ok(opened)
    }
}

/// A message as it would be without encryption.
#[derive(Debug)]
pub(crate) struct Opened {
    message: u8,
    types: Vec<PayloadType>,
    pushed: usize,
    octets: Secret<Vec<u8>>,
}

impl Opened {
    fn new(message: u8, sealed: &[(PayloadType, Body)]) -> Opened {
        // What is encrypted is not shorter. A vector that grows would leave copies behind.
        let room = sealed.iter().map(|(_, body)| GENERIC_HEADER + body.len()).sum();
        let types = sealed.iter().map(|(payload_type, _)| *payload_type).collect();
        Opened { message, types, pushed: 0, octets: Secret::new(Vec::with_capacity(room)) }
    }

    fn push(&mut self, body: &[u8]) -> Result<(), Error> {
        self.pushed += 1;
        let next = self.types.get(self.pushed).copied().unwrap_or(PayloadType::NONE);
        let length = u16::try_from(GENERIC_HEADER + body.len()).map_err(|_| not_for_us(self.message))?;
        let [high, low] = length.to_be_bytes();
        let octets = self.octets.expose_mut();
        octets.extend_from_slice(&[next.0, 0, high, low]);
        octets.extend_from_slice(body);
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It was encrypted to another key than ours.
    pub(crate) fn contents(&self, exchange: &'static str) -> Result<Contents<'_>, Error> {
        let first = self.types.first().copied().unwrap_or(PayloadType::NONE);
        let chain = wire::v1::decode_payloads(first, self.octets.as_slice());
        Ok(Contents::new(exchange, chain.map_err(|_| not_for_us(self.message))?))
    }
}

/// Says the same of everything that can be wrong with what was opened: a stranger must not learn what it was.
pub(crate) fn not_for_us(message: u8) -> Error {
    let sentence = format!("message {message} was encrypted to another key than ours, or was damaged");
    Error::AuthenticationFailed(sentence)
}

/// The same for what went wrong later.
pub(crate) fn conceal(fault: Error, message: u8) -> Error {
    match fault {
        Error::Malformed(_) | Error::Misbehaved(_) => not_for_us(message),
        other => other,
    }
}

// --- In phase 1 ----------------------------------------------------------------------------------------------------

/// Tells how the first message of an aggressive mode is encrypted, by what it offers.
pub(crate) fn form_offered(offer: &[wire::v1::Proposal]) -> Option<EncryptionForm> {
    use wire::registry::v1::Phase1AttributeType;
    let number = Phase1AttributeType::AUTHENTICATION_METHOD.0;
    let method = offer.first()?.transforms.first()?.number_of(number)?;
    match AuthenticationMethod(u16::try_from(method).ok()?) {
        AuthenticationMethod::RSA_ENCRYPTION => Some(EncryptionForm::Plain),
        AuthenticationMethod::REVISED_RSA_ENCRYPTION => Some(EncryptionForm::Revised),
        _ => None,
    }
}

/// CERT: shows the peer the key that it is to encrypt to, in the revised form (RFC 2409 §5.3).
pub(crate) fn own_certificate(
    cx: &Context,
    connection: &Connection,
    form: EncryptionForm,
) -> Option<Payload> {
    let is_sent =
        form == EncryptionForm::Revised && connection.certificates.send != sa::SendCertificate::Never;
    let keys = cx.own_keys.get(&connection.name).filter(|_| is_sent)?;
    let crate::Certificate { encoding, data } = keys.decrypting.clone()?;
    Some(Payload::Certificate(Certificate { encoding, data }))
}
