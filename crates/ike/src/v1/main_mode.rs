//! Main mode: six messages that make an ISAKMP SA and hide who its ends are (RFC 2409 §5, with a pre-shared key §5.4).
//!
//! ```text
//!   Initiator                                  Responder
//!   HDR(CKY-I,0), SA, VID …             -->                                  1  algorithms, and what each end can
//!                                       <--    HDR(CKY-I,CKY-R), SA, VID …   2
//!   HDR, KE, Ni, NAT-D, NAT-D           -->                                  3  public values; is there a NAT?
//!                                       <--    HDR, KE, Nr, NAT-D, NAT-D     4
//!   HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)]  -->                            5  who is it? from here on encrypted,
//!                                       <--    HDR*, IDir, HASH_R            6  and on port 4500 if there is a NAT
//! ```
//!
//! The pre-shared key goes into the cipher's key, so the responder must know it before it knows who asks: it goes by the
//! address (§5.4). If the two ends' keys differ, message 5 decrypts to nonsense.
//!
//! Only the initiator repeats messages by itself. The responder answers a repeated message with the answer it gave: to
//! an address that nobody has proven, one answer for each message. Nothing before message 5 is authenticated, so nothing
//! that it says against us ends an attempt at once.

mod standing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crypto::KeyExchangePrivate;
use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v1::{Chain, Content, Datagram, Payload};

use super::Sa;
use super::abilities::PeerAbilities;
use super::channel::{Channel, Iv, trace_received};
use super::contents::Contents;
use super::expiry::Expiry;
use super::fragmentation::Cutting;
use super::nat;
use super::negotiation::{self, ChosenPhase1};
use super::phase_1::{
    LastMessage, Material, Outcome, agree, body_of, contact_of, discovery, encode, end_attempt,
    find_connection, find_nat, find_secret, identification_of, identity_of, initial_contact, keys_differ,
    marks, method_of, offer_of, refusal_in, refuse, turn_away,
};
use super::repeated::{Repeated, Seen};
use crate::authentication::v1::{DeviceAuthenticated, Transcript};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{IkeSaId, Path};
use crate::retransmission::{Repeating, Retransmission};
use crate::status::Phase1Mode;
use crate::{Connection, Identity, Role, Unique};

const NAME: &str = "main mode";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We began, and wait for message 2, 4 or 6.
pub(crate) struct Initiating {
    id: IkeSaId,
    initiation: Initiation,
    path: Path,
    spis: IkeSpis,
    /// The body of our SA payload, which the proofs cover.
    sa_body: Vec<u8>,
    peer: PeerAbilities,
    /// The peer's last message, once there is one.
    last: Option<Seen>,
    /// Our last message.
    repeating: Repeating,
    begun_at: Instant,
    /// What an answer that nobody authenticated said against us. A better one may yet come, until our message would be
    /// repeated.
    refused: Option<Failure>,
    sent: Sent,
}

/// Which message we sent last.
enum Sent {
    /// Message 1.
    Sa,
    /// Message 3.
    Key { chosen: ChosenPhase1, nonce: Vec<u8>, private: Box<dyn KeyExchangePrivate> },
    /// Message 5.
    Proof(Box<Proving>),
}

/// All that the last two messages need.
struct Proving {
    channel: Channel,
    transcript: Transcript,
    local: Identity,
    lifetime: Expiry,
}

/// HDR(CKY-I,0), SA, VID … -->
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Initiating, Failure> {
    let connection = &initiation.connection;
    let security_association = offer_of(connection, &connection.proposals)?;
    let sa_body = body_of(&security_association)?;
    let spis = IkeSpis { initiator: cx.next_ike_spi(), responder: IkeSpi::ZERO };
    let mut payloads = vec![security_association];
    payloads.extend(marks(connection));
    let peer = PeerAbilities::default();
    let cutting = Cutting::towards(peer, connection.fragmentation);
    let message = encode(cx, Phase1Mode::Main, spis, path, cutting, &payloads)?;
    cx.transmit(path, &message);
    Ok(Initiating {
        id: cx.next_ike_id(),
        last: None,
        repeating: cx.begin_repeating(message),
        initiation,
        path,
        spis,
        sa_body,
        peer,
        begun_at: cx.now,
        refused: None,
        sent: Sent::Sa,
    })
}

impl Initiating {
    /// Handles what may be the next message. Whatever is wrong with it may be a forger's doing: it is remembered, and
    /// told when nothing better has come.
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if header.exchange_type == ExchangeType::V1_INFORMATIONAL {
            let refused = refusal_in(cx, path, datagram, NAME, self.in_words());
            self.refused = self.refused.take().or(refused);
            return Some(Sa::Initiating(self));
        }
        let is_of_main_mode = header.exchange_type == ExchangeType::V1_IDENTITY_PROTECTION
            && header.message_id == 0
            && (self.spis.responder.is_zero() || header.responder_spi == self.spis.responder);
        if !is_of_main_mode || self.last == Some(Seen::new(datagram.bytes)) {
            return Some(Sa::Initiating(self));
        }
        let result = match &datagram.content {
            Content::Clear(chain) if matches!(self.sent, Sent::Sa) => {
                self.handle_choice(cx, path, datagram, chain.clone()).map(|()| None)
            }
            Content::Clear(chain) if matches!(self.sent, Sent::Key { .. }) => {
                self.handle_key(cx, path, datagram, chain.clone()).map(|()| None)
            }
            Content::Encrypted(ciphertext) if matches!(self.sent, Sent::Proof(_)) => {
                self.judge(cx, path, datagram, ciphertext).map(Some)
            }
            Content::Clear(_) | Content::Encrypted(_) | Content::Fragment(_) => {
                return Some(Sa::Initiating(self));
            }
        };
        match result {
            Ok(None) => {
                self.last = Some(Seen::new(datagram.bytes));
                Some(Sa::Initiating(self))
            }
            Ok(Some((peer, next_iv))) => self.establish(cx, peer, next_iv),
            Err(fault) => {
                self.refused.get_or_insert(fault.into());
                Some(Sa::Initiating(self))
            }
        }
    }

    /// <-- HDR(CKY-I,CKY-R), SA, VID …
    ///
    /// HDR, KE, Ni, NAT-D, NAT-D -->
    fn handle_choice(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<(), Error> {
        if datagram.header.responder_spi.is_zero() {
            return Err(Misbehaviour::Other("its answer to message 1 has no cookie").into());
        }
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let connection = &self.initiation.connection;
        let chosen = negotiation::accept_phase_1(
            &connection.proposals,
            method_of(connection, Role::Initiator),
            contents.security_association()?.0,
        )
        .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let private = (chosen.suite.key_exchange.key_exchange.generate())
            .map_err(|fault| Error::Local(fault.to_string()))?;
        self.spis.responder = datagram.header.responder_spi;
        self.peer.note(&contents);
        let nonce = cx.next_nonce();
        let mut payloads =
            vec![Payload::KeyExchange(private.public().to_vec()), Payload::Nonce(nonce.clone())];
        payloads.extend(discovery(&chosen.suite, self.peer.traversal, self.spis, self.path, connection));
        let cutting = Cutting::towards(self.peer, connection.fragmentation);
        let message = encode(cx, Phase1Mode::Main, self.spis, self.path, cutting, &payloads)?;
        self.send(cx, self.path, message);
        self.sent = Sent::Key { chosen, nonce, private };
        Ok(())
    }

    /// <-- HDR, KE, Nr, NAT-D, NAT-D
    ///
    /// HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)] -->
    fn handle_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<(), Error> {
        let contents = Contents::new(NAME, chain.clone());
        let (public_r, nonce_r) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let connection = Arc::clone(&self.initiation.connection);
        let local = connection.own_identity(self.path);
        let expected = connection.expected_identity(self.path);
        let secret = cx.shared_secret(&local, &expected).cloned().ok_or_else(|| {
            Error::Local(format!("no pre-shared key is configured for {local} and {expected}"))
        })?;
        let Sent::Key { chosen, nonce, private } = std::mem::replace(&mut self.sent, Sent::Sa) else {
            return Err(Misbehaviour::Other("a public value where none was expected").into());
        };
        trace_received(cx, path, datagram, &chain);
        self.peer.note(&contents);
        let public_i = private.public().to_vec();
        // A public value that is not valid ends the attempt: our private one is used up.
        let shared =
            private.finish(&public_r).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Main,
            role: Role::Initiator,
            spis: self.spis,
            secret: &secret,
            shared: &shared,
            nonces: Nonces { initiator: &nonce, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let nat = find_nat(&chosen.suite, self.spis, path, &contents);
        let floated = nat::float(self.path, self.peer.traversal, nat, connection.encap);
        let (mut channel, transcript) =
            material.secure(cx, &chosen.suite, floated, nat, self.peer, &connection)?;
        let identification = identification_of(&local);
        let proof = transcript.proof(Role::Initiator, &identification.to_body());
        let mut payloads =
            vec![Payload::Identification(identification), Payload::Hash(proof.as_slice().to_vec())];
        if self.initiation.contact == Contact::Initial && connection.unique != Unique::Never {
            payloads.push(initial_contact(self.spis));
        }
        let iv = channel.phase_1_iv().clone();
        let (message, next_iv) = channel.seal(cx, ExchangeType::V1_IDENTITY_PROTECTION, 0, &iv, &payloads)?;
        channel.move_phase_1_on(next_iv);
        self.path = floated;
        self.send(cx, floated, message);
        let lifetime = chosen.lifetime;
        self.sent = Sent::Proof(Box::new(Proving { channel, transcript, local, lifetime }));
        Ok(())
    }

    /// <-- HDR*, IDir, HASH_R
    fn judge(
        &self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        ciphertext: &[u8],
    ) -> Result<(DeviceAuthenticated, Iv), Error> {
        let Sent::Proof(proving) = &self.sent else {
            return Err(Misbehaviour::Other("an encrypted message before there is a key").into());
        };
        let Proving { channel, transcript, local, .. } = &**proving;
        let opened = channel
            .open(channel.phase_1_iv(), ciphertext)
            .ok_or(Misbehaviour::Other("message 6 is not whole blocks of the cipher"))?;
        let chain = opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(6))?;
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        let wanted = &self.initiation.connection.remote_identity;
        if !wanted.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")));
        }
        let peer = transcript.verify(Role::Initiator, local, &remote, body, contents.hash()?)?;
        Ok((peer, opened.next_iv.clone()))
    }

    fn establish(self: Box<Self>, cx: &mut Context, peer: DeviceAuthenticated, next_iv: Iv) -> Option<Sa> {
        let Initiating { initiation, peer: abilities, begun_at, sent, .. } = *self;
        let Sent::Proof(proving) = sent else { return None };
        let Proving { mut channel, lifetime, .. } = *proving;
        channel.move_phase_1_on(next_iv);
        let outcome = Outcome {
            channel,
            connection: Arc::clone(&initiation.connection),
            peer,
            abilities,
            lifetime,
            last: LastMessage::default(),
            begun_at,
            initiation: Some(initiation),
            contact: Contact::Further,
        };
        outcome.conclude(cx)
    }

    fn send(&mut self, cx: &mut Context, path: Path, message: Vec<Vec<u8>>) {
        cx.transmit(path, &message);
        self.repeating.replace(cx.now, message);
        self.refused = None;
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        match self.repeating.repeat(cx.now) {
            Retransmission::NotDue => return Some(Sa::Initiating(self)),
            Retransmission::Send { datagrams, .. } if self.refused.is_none() => {
                cx.transmit(path, datagrams);
                return Some(Sa::Initiating(self));
            }
            Retransmission::Send { .. } | Retransmission::GiveUp => {}
        }
        end_attempt(cx, self.initiation, path, NAME, self.begun_at, self.refused);
        None
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// A stranger began; we answered message 1 or 3.
pub(crate) struct Responding {
    id: IkeSaId,
    spis: IkeSpis,
    sa_body: Vec<u8>,
    peer: PeerAbilities,
    chosen: ChosenPhase1,
    /// The last message that we answered, and the answer.
    last: Repeated,
    begun_at: Instant,
    until: Instant,
    /// Where it began: what half-open SAs are counted by.
    origin: IpAddr,
    answered: Answered,
}

/// Which message we answered last.
enum Answered {
    /// Message 1.
    Sa,
    /// Message 3.
    Key(Box<Awaiting>),
}

/// All that the last two messages need.
struct Awaiting {
    channel: Channel,
    transcript: Transcript,
    /// Whether a message 5 that could not be read was told of already.
    complained: bool,
}

/// HDR(CKY-I,0), SA, VID … -->
///
/// <-- HDR(CKY-I,CKY-R), SA, VID …
pub(crate) fn respond(cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Responding> {
    let Content::Clear(chain) = &datagram.content else { return None };
    trace_received(cx, path, datagram, chain);
    match answer_sa(cx, path, datagram, chain.clone()) {
        Ok(responding) => Some(responding),
        Err(fault) => {
            turn_away(cx, datagram.header.initiator_spi, path, fault);
            None
        }
    }
}

fn answer_sa(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    chain: Chain<'_>,
) -> Result<Responding, Error> {
    let contents = Contents::new(NAME, chain);
    let (offer, sa_body) = contents.security_association()?;
    let (connection, chosen) = agree(cx, path, offer)?;
    let spis = IkeSpis { initiator: datagram.header.initiator_spi, responder: cx.next_ike_spi() };
    let mut peer = PeerAbilities::default();
    peer.note(&contents);
    let mut payloads = vec![Payload::SecurityAssociation(vec![chosen.answer.clone()])];
    payloads.extend(marks(&connection));
    let cutting = Cutting::towards(peer, connection.fragmentation);
    let answer = encode(cx, Phase1Mode::Main, spis, path, cutting, &payloads)?;
    cx.transmit(path, &answer);
    Ok(Responding {
        id: cx.next_ike_id(),
        spis,
        sa_body: sa_body.to_vec(),
        peer,
        chosen,
        last: Repeated::new(datagram.bytes, answer),
        begun_at: cx.now,
        until: cx.now + cx.settings.half_open_timeout,
        origin: path.remote.ip(),
        answered: Answered::Sa,
    })
}

impl Responding {
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if header.exchange_type != ExchangeType::V1_IDENTITY_PROTECTION || header.message_id != 0 {
            return Some(Sa::Responding(self));
        }
        if self.last.repeat(cx, path, datagram.bytes) {
            return Some(Sa::Responding(self));
        }
        let result = match &datagram.content {
            Content::Clear(chain) if matches!(self.answered, Answered::Sa) => {
                self.answer_key(cx, path, datagram, chain.clone()).map(|()| None)
            }
            Content::Encrypted(ciphertext) if matches!(self.answered, Answered::Key(_)) => {
                self.judge(cx, path, datagram, ciphertext).map(Some)
            }
            Content::Clear(_) | Content::Encrypted(_) | Content::Fragment(_) => {
                return Some(Sa::Responding(self));
            }
        };
        match result {
            Ok(None) => Some(Sa::Responding(self)),
            Ok(Some(judgement)) => self.establish(cx, path, datagram, judgement),
            Err(fault) => {
                self.complain(cx, path, fault);
                Some(Sa::Responding(self))
            }
        }
    }

    /// Answers a first message that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        self.last.repeat(cx, path, datagram.bytes);
    }

    /// HDR, KE, Ni, NAT-D, NAT-D -->
    ///
    /// <-- HDR, KE, Nr, NAT-D, NAT-D
    fn answer_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<(), Error> {
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (public_i, nonce_i) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let suite = self.chosen.suite;
        let (connection, secret) = find_secret(cx, path, &self.chosen)?;
        let (public_r, shared) = (suite.key_exchange.key_exchange.respond(&public_i))
            .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        self.peer.note(&contents);
        let nonce_r = cx.next_nonce();
        let nat = find_nat(&suite, self.spis, path, &contents);
        let mut payloads = vec![Payload::KeyExchange(public_r.clone()), Payload::Nonce(nonce_r.clone())];
        payloads.extend(discovery(&suite, self.peer.traversal, self.spis, path, &connection));
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Main,
            role: Role::Responder,
            spis: self.spis,
            secret: &secret,
            shared: &shared,
            nonces: Nonces { initiator: &nonce_i, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let (channel, transcript) = material.secure(cx, &suite, path, nat, self.peer, &connection)?;
        let answer = encode(cx, Phase1Mode::Main, self.spis, path, channel.cutting, &payloads)?;
        cx.transmit(path, &answer);
        self.last = Repeated::new(datagram.bytes, answer);
        self.answered = Answered::Key(Box::new(Awaiting { channel, transcript, complained: false }));
        Ok(())
    }

    /// HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)] -->
    fn judge(
        &self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        ciphertext: &[u8],
    ) -> Result<Judgement, Error> {
        let Answered::Key(awaiting) = &self.answered else {
            return Err(Misbehaviour::Other("an encrypted message before there is a key").into());
        };
        let Awaiting { channel, transcript, .. } = &**awaiting;
        let opened = channel
            .open(channel.phase_1_iv(), ciphertext)
            .ok_or(Misbehaviour::Other("message 5 is not whole blocks of the cipher"))?;
        let chain = opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(5))?;
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        let connection = find_connection(cx, path, &remote, &self.chosen)?;
        let local = connection.own_identity(path);
        let peer = transcript.verify(Role::Responder, &local, &remote, body, contents.hash()?)?;
        let contact = contact_of(&contents);
        peer.check_unique(cx, &connection, contact)?;
        Ok(Judgement { connection, peer, contact, next_iv: opened.next_iv.clone() })
    }

    /// <-- HDR*, IDir, HASH_R
    fn establish(
        self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        judgement: Judgement,
    ) -> Option<Sa> {
        let Responding { peer: abilities, chosen, begun_at, answered, .. } = *self;
        let Answered::Key(awaiting) = answered else { return None };
        let Awaiting { mut channel, transcript, .. } = *awaiting;
        let Judgement { connection, peer, contact, next_iv } = judgement;
        // The initiator may have floated to port 4500 (RFC 3947 §4).
        channel.path = path;
        channel.move_phase_1_on(next_iv);
        let identification = identification_of(peer.local());
        let proof = transcript.proof(Role::Responder, &identification.to_body());
        let payloads = [Payload::Identification(identification), Payload::Hash(proof.as_slice().to_vec())];
        let iv = channel.phase_1_iv().clone();
        let sealed = channel.seal(cx, ExchangeType::V1_IDENTITY_PROTECTION, 0, &iv, &payloads);
        let (answer, next_iv) = match sealed {
            Ok(sealed) => sealed,
            Err(fault) => {
                cx.fail(&[], Some(&connection.name), Some(path), fault.into());
                return None;
            }
        };
        channel.move_phase_1_on(next_iv);
        cx.transmit(path, &answer);
        let answered = Some(Repeated::new(datagram.bytes, answer));
        let outcome = Outcome {
            channel,
            connection,
            peer,
            abilities,
            lifetime: chosen.lifetime,
            last: LastMessage { answered, unconfirmed: None },
            begun_at,
            initiation: None,
            contact,
        };
        outcome.conclude(cx)
    }

    /// Tells the peer what is wrong, and people once: a message that is not authenticated may come a thousand times.
    fn complain(&mut self, cx: &mut Context, path: Path, fault: Error) {
        let is_told = match &mut self.answered {
            Answered::Sa => false,
            Answered::Key(awaiting) => std::mem::replace(&mut awaiting.complained, true),
        };
        refuse(cx, self.spis, path, &fault);
        if is_told {
            cx.forged += 1;
        } else {
            cx.fail(&[], None, Some(path), fault.into());
        }
    }
}

/// Who the initiator is, and under which connection.
struct Judgement {
    connection: Arc<Connection>,
    peer: DeviceAuthenticated,
    contact: Contact,
    next_iv: Iv,
}
