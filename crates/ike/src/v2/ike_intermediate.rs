//! IKE_INTERMEDIATE: messages between IKE_SA_INIT and IKE_AUTH (RFC 9242), which carry the additional key exchanges of an
//! IKE SA: they may be long, as these messages can be cut into fragments (RFC 9370 §2.2.2).
//!
//! ```text
//!   Initiator                                            Responder
//!   HDR(1), SK { KEi(1) }                         -->
//!                                                 <--    HDR(1), SK { KEr(1) }
//!   both take new keys: SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr)
//!
//!   HDR(2), SK { KEi(2) }                         -->
//!                                                 <--    HDR(2), SK { KEr(2) }
//!   SKEYSEED(2) = prf(SK_d(1), SK(2) | Ni | Nr), and so on, at most seven times
//!
//!   HDR(n + 1), SK { IDi, AUTH, … }               -->    IKE_AUTH
//! ```
//!
//! An exchange is protected with the keys that there are before it. Nobody is authenticated yet: AUTH signs all these
//! messages as they were before they were encrypted and cut.

use std::collections::VecDeque;
use std::time::Instant;

use crypto::{KeyExchangePrivate, Secret};
use sa::AdditionalSuite;
use sa::transform::Group;
use wire::registry::ExchangeType;
use wire::v2::{Datagram, HeaderFields, KeyExchange, Payload, encode_payloads};

use super::Sa;
use super::channel::{Channel, Content, Kind, Opening, plain_octets};
use super::closed::{Closed, asks_for_repetition};
use super::contents::Contents;
use super::fragmentation::Reassembly;
use super::ike_auth::{self, HalfOpen};
use super::keys::IkeKeys;
use super::protection::MessageProtection;
use super::window::{OurWindow, Standing, TheirWindow};
use crate::authentication::v2::Transcript;
use crate::context::{Context, Initiation};
use crate::error::{Error, Misbehaviour};
use crate::io::{Path, TimeoutReason};
use crate::retransmission::Retransmission;
use crate::status::{IkeSaStatus, IkeState, IkeVersion};
use crate::{Role, limits};

const NAME: &str = "IKE_INTERMEDIATE";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We have sent a request.
pub(crate) struct Exchanging {
    pub channel: Channel,
    initiation: Initiation,
    transcript: Transcript,
    group: &'static Group,
    private: Box<dyn KeyExchangePrivate>,
    /// The key exchanges after this one.
    rest: VecDeque<&'static Group>,
    /// Our request as AUTH signs it.
    request: Vec<u8>,
    window: OurWindow,
    reassembly: Reassembly,
    begun_at: Instant,
}

/// Goes on after IKE_SA_INIT: with the first of the additional key exchanges that were agreed, or with IKE_AUTH.
pub(crate) fn initiate(
    cx: &mut Context,
    initiation: Initiation,
    channel: Channel,
    transcript: Transcript,
) -> Option<Sa> {
    let rest = channel.suite.additional.iter().collect();
    proceed(cx, initiation, channel, transcript, rest)
}

// HDR, SK { KEi(n) } -->
fn proceed(
    cx: &mut Context,
    initiation: Initiation,
    channel: Channel,
    transcript: Transcript,
    mut rest: VecDeque<&'static Group>,
) -> Option<Sa> {
    let Some(group) = rest.pop_front() else {
        return ike_auth::initiate(cx, initiation, channel, transcript);
    };
    let path = channel.path;
    match request(cx, &channel, &transcript, group) {
        Ok(Request { private, octets, datagrams }) => {
            let mut window = OurWindow::starting_at(transcript.next_message_id());
            let jitter = cx.settings.retransmission.draw_jitter(&mut *cx.random);
            let started = window.start(cx.now, datagrams.clone(), cx.settings.retransmission, jitter);
            debug_assert!(started.is_ok(), "a fresh window is free");
            cx.transmit(path, &datagrams);
            Some(Sa::Exchanging(Box::new(Exchanging {
                channel,
                initiation,
                transcript,
                group,
                private,
                rest,
                request: octets,
                window,
                reassembly: Reassembly::default(),
                begun_at: cx.now,
            })))
        }
        Err(fault) => {
            cx.fail_initiation(&initiation, path, fault.into());
            None
        }
    }
}

struct Request {
    private: Box<dyn KeyExchangePrivate>,
    /// As AUTH signs it.
    octets: Vec<u8>,
    datagrams: Vec<Vec<u8>>,
}

fn request(
    cx: &mut Context,
    channel: &Channel,
    transcript: &Transcript,
    group: &'static Group,
) -> Result<Request, Error> {
    let private = group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?;
    let data = private.public().to_vec();
    let payloads = [Payload::KeyExchange(KeyExchange { group: group.id, data })];
    let (octets, datagrams) = seal(cx, channel, Kind::Request, transcript.next_message_id(), &payloads)?;
    Ok(Request { private, octets, datagrams })
}

impl Exchanging {
    // <-- HDR, SK { KEr(n) }
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        let is_ours = header.exchange_type == ExchangeType::IKE_INTERMEDIATE
            && header.message_id == self.transcript.next_message_id();
        if !header.flags.is_response() || !is_ours {
            return Some(Sa::Exchanging(self));
        }
        let content = match self.channel.open_content(cx, path, datagram, &mut self.reassembly) {
            Opening::Forged | Opening::Incomplete => return Some(Sa::Exchanging(self)),
            Opening::Complete(content) => content,
        };
        let (initiation, path) = (self.initiation.clone(), self.channel.path);
        match self.finish(cx, datagram, content) {
            Ok((channel, transcript, rest)) => proceed(cx, initiation, channel, transcript, rest),
            Err(fault) => {
                cx.fail_initiation(&initiation, path, fault.into());
                None
            }
        }
    }

    /// Takes the new keys.
    fn finish(
        self,
        cx: &mut Context,
        datagram: &Datagram<'_>,
        content: Content,
    ) -> Result<(Channel, Transcript, VecDeque<&'static Group>), Error> {
        let Exchanging { mut channel, mut transcript, group, private, rest, request, .. } = self;
        let (contents, response) = read(datagram, content)?;
        if let Some(refusal) = contents.refusal(&format!("we sent a key of {group}")) {
            return Err(Error::Refused(refusal));
        }
        let theirs = contents.key_exchange()?;
        if theirs.group != group.id {
            return Err(Error::InvalidKeyExchange { sent: theirs.group, wanted: group.id });
        }
        let shared =
            private.finish(&theirs.data).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        transcript.take_in(channel.suite.prf.prf, &request, &response);
        renew(cx, &mut channel, &mut transcript, shared)?;
        Ok((channel, transcript, rest))
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.channel.path;
        match self.window.retransmit(cx.now) {
            Retransmission::NotDue => Some(Sa::Exchanging(self)),
            Retransmission::Send { datagrams, .. } => {
                cx.transmit(path, datagrams);
                Some(Sa::Exchanging(self))
            }
            Retransmission::GiveUp => {
                let failure = cx.no_answer(path, NAME, self.begun_at);
                cx.retry_or_fail(self.initiation, path, failure);
                None
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        self.window.deadline().map(|at| (at, TimeoutReason::Retransmission))
    }

    pub(crate) fn initiation(&mut self) -> &mut Initiation {
        &mut self.initiation
    }

    pub(crate) fn into_initiation(self) -> (Initiation, Path) {
        (self.initiation, self.channel.path)
    }

    pub(crate) fn status(&self) -> IkeSaStatus {
        IkeSaStatus {
            id: self.channel.id,
            connection: self.initiation.connection.name.clone(),
            version: IkeVersion::V2,
            state: IkeState::Connecting,
            role: Role::Initiator,
            initiator_spi: self.channel.spis.initiator,
            responder_spi: self.channel.spis.responder,
            path: self.channel.path,
            local_identity: None,
            remote_identity: None,
            remote_user: None,
            mobile: None,
            ppk: None,
            method: None,
            inside: Default::default(),
            suite: Some(self.channel.suite),
            nat: self.channel.nat(),
            established_at: None,
            rekey_at: None,
            expire_at: None,
            reauthenticate_at: None,
            tasks_queued: vec!["IKE_AUTH"],
            tasks_active: vec![NAME],
            children: Vec::new(),
        }
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// What a responder still waits for before IKE_AUTH, and its last response.
#[derive(Debug)]
pub(crate) struct Awaited {
    rest: VecDeque<&'static Group>,
    window: TheirWindow,
    /// The keys of the last exchange, if there are others since: by them its request is known when it comes once more.
    before: Option<MessageProtection>,
}

impl Awaited {
    /// Waits for none.
    pub(crate) fn nothing() -> Awaited {
        Awaited { rest: VecDeque::new(), window: TheirWindow::expecting(1), before: None }
    }

    /// Waits for the additional key exchanges that were agreed, from the message id after IKE_SA_INIT on.
    pub(crate) fn new(additional: &AdditionalSuite) -> Awaited {
        Awaited { rest: additional.iter().collect(), window: TheirWindow::expecting(1), before: None }
    }

    /// Tells whether IKE_AUTH may come.
    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }
}

// HDR, SK { KEi(n) } -->
//                    <-- HDR, SK { KEr(n) }
pub(crate) fn respond(mut sa: Box<HalfOpen>, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Sa {
    let message_id = datagram.header.message_id;
    match sa.awaited.window.classify(message_id) {
        Standing::OutOfWindow => return Sa::HalfOpen(sa),
        Standing::Repeated(response) => {
            let is_authentic = match &sa.awaited.before {
                Some(keys) => keys.open(datagram).is_ok(),
                None => sa.channel.is_authentic(datagram),
            };
            if asks_for_repetition(datagram) && is_authentic {
                cx.transmit(path, response);
            }
            return Sa::HalfOpen(sa);
        }
        Standing::New if message_id > limits::INTERMEDIATE_EXCHANGES => return Sa::HalfOpen(sa),
        Standing::New => {}
    }
    let content = match sa.channel.open_content(cx, path, datagram, &mut sa.reassembly) {
        Opening::Forged | Opening::Incomplete => return Sa::HalfOpen(sa),
        Opening::Complete(content) => content,
    };
    sa.reassembly = Reassembly::default();
    // The initiator may have floated to port 4500 (RFC 9242 §3.2).
    sa.channel.path = path;
    match answer(&mut sa, cx, datagram, content) {
        Ok(response) => {
            cx.transmit(path, &response);
            sa.awaited.window.answered(message_id, response);
            sa.prolong(cx);
            Sa::HalfOpen(sa)
        }
        Err(fault) => {
            let exchange_type = ExchangeType::IKE_INTERMEDIATE;
            Sa::Closed(Box::new(Closed::refusing(cx, sa.channel, exchange_type, message_id, fault)))
        }
    }
}

fn answer(
    sa: &mut HalfOpen,
    cx: &mut Context,
    datagram: &Datagram<'_>,
    content: Content,
) -> Result<Vec<Vec<u8>>, Error> {
    let (contents, request) = read(datagram, content)?;
    let theirs = contents.optional_key_exchange()?;
    let (payload, shared) = match (theirs, sa.awaited.rest.front().copied()) {
        // It is about something else, which we do not know.
        (None, _) => (None, None),
        (Some(_), None) => {
            return Err(Misbehaviour::Other("it sends a key where no further key exchange was agreed").into());
        }
        (Some(theirs), Some(group)) if theirs.group != group.id => {
            return Err(Misbehaviour::Other("it sends a key of another method than was agreed").into());
        }
        (Some(theirs), Some(group)) => {
            let (data, shared) = group
                .key_exchange
                .respond(&theirs.data)
                .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
            (Some(Payload::KeyExchange(KeyExchange { group: group.id, data })), Some(shared))
        }
    };
    let payloads: Vec<Payload> = payload.into_iter().collect();
    let message_id = datagram.header.message_id;
    let (response, datagrams) = seal(cx, &sa.channel, Kind::Response, message_id, &payloads)?;
    sa.transcript.take_in(sa.channel.suite.prf.prf, &request, &response);
    sa.awaited.before = match shared {
        Some(shared) => {
            sa.awaited.rest.pop_front();
            Some(renew(cx, &mut sa.channel, &mut sa.transcript, shared)?)
        }
        None => None,
    };
    Ok(datagrams)
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Reads a message of the peer, and gives it as AUTH signs it, too.
fn read(datagram: &Datagram<'_>, content: Content) -> Result<(Contents, Vec<u8>), Error> {
    if !datagram.payloads.is_empty() {
        return Err(Misbehaviour::Other("it has payloads in the clear in IKE_INTERMEDIATE").into());
    }
    let header = &datagram.header;
    let fields = HeaderFields {
        initiator_spi: header.initiator_spi,
        responder_spi: header.responder_spi,
        exchange_type: header.exchange_type,
        flags: header.flags,
        message_id: header.message_id,
    };
    let octets = plain_octets(&fields, content.first_payload, &content.octets)?;
    Ok((Contents::new(NAME, content.payloads?)?, octets))
}

/// Seals a message of ours, and gives it as AUTH signs it, too.
fn seal(
    cx: &mut Context,
    channel: &Channel,
    kind: Kind,
    message_id: u32,
    payloads: &[Payload],
) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
    let fields = channel.header_fields(ExchangeType::IKE_INTERMEDIATE, kind, message_id);
    let (first, content) = encode_payloads(payloads).map_err(|fault| Error::Local(fault.to_string()))?;
    let octets = plain_octets(&fields, first, &content)?;
    let datagrams = channel.seal(cx, ExchangeType::IKE_INTERMEDIATE, kind, message_id, payloads)?;
    Ok((octets, datagrams))
}

/// Goes on with the keys that a key exchange makes of those before it, which it gives back (RFC 9370 §2.2.2).
fn renew(
    cx: &mut Context,
    channel: &mut Channel,
    transcript: &mut Transcript,
    shared: Secret<Vec<u8>>,
) -> Result<MessageProtection, Error> {
    let prf = channel.suite.prf.prf;
    let shared = shared.into();
    let keys =
        IkeKeys::rekeyed(&channel.suite, prf, &channel.sk_d, &shared, transcript.nonces(), channel.spis)
            .map_err(|fault| Error::Local(fault.to_string()))?;
    transcript.renew(&keys);
    channel.renew(cx, &keys)
}
