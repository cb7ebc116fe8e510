//! Main mode: six messages that make an ISAKMP SA and hide who its ends are (RFC 2409 §5; with signatures §5.1, with a
//! pre-shared key §5.4, with public key encryption §5.2 and §5.3).
//!
//! ```text
//!   Initiator                                  Responder
//!   HDR(CKY-I,0), SA, VID …             -->                                  1  algorithms, and what each end can
//!                                       <--    HDR(CKY-I,CKY-R), SA, VID …   2
//!   HDR, KE, Ni, NAT-D, NAT-D           -->                                  3  public values; is there a NAT?
//!                                       <--    HDR, KE, Nr, NAT-D, NAT-D     4
//!   HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)]  -->                            5  who is it? from here on encrypted,
//!                                       <--    HDR*, IDir, HASH_R, …         6  and on port 4500 if there is a NAT
//!
//!   with signatures, and CR where the sender would like a certificate of a CA that it trusts:
//!                                       <--    HDR, KE, Nr, [CR, …] NAT-D …  4
//!   HDR*, IDii, CERT …, SIG_I, [CR, …]  -->                                  5
//!                                       <--    HDR*, IDir, CERT …, SIG_R     6
//!
//!   with public key encryption, messages 3 and 4 say who the ends are (encrypted.rs), and 5 and 6 only prove it:
//!   HDR, [HASH(1),] KE, <IDii, Ni>PubKey_r, NAT-D …         -->              3
//!                            <--    HDR, KE, <IDir, Nr>PubKey_i, NAT-D …     4
//!   HDR*, HASH_I, …                     -->    5    <--    HDR*, HASH_R, …   6
//! ```
//!
//! The pre-shared key goes into the cipher's key, so the responder must know it before it knows who asks: it goes by the
//! address (§5.4), and tries all keys that fit it on message 5 ([`key_trial`]). Under another than the initiator's, that one
//! decrypts to nonsense. With signatures the key exchange alone makes the keys, and the story pauses up to twice on each
//! side ([`waiting`]): to learn whether the peer's key is trusted, and to have our signature made.
//!
//! Only the initiator repeats messages by itself. The responder answers a repeated message with the answer it gave: to
//! an address that nobody has proven, one answer for each message. Nothing before message 5 is authenticated, so nothing
//! that it says against us ends an attempt at once.

mod encrypted;
mod introduction;
mod key_trial;
mod standing;
mod state;
mod waiting;

use std::sync::Arc;

use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v1::{Chain, Content, Datagram, Payload};

use super::Sa;
use super::abilities::PeerAbilities;
use super::channel::trace_received;
use super::contents::Contents;
use super::expiry::Expiry;
use super::fragmentation::Cutting;
use super::keys::KeySource;
use super::method::methods_of;
use super::nat;
use super::negotiation;
use super::phase_1::{
    Awaited, LastMessage, Material, Outcome, Source, agree, body_of, certificate_requests, contact_of,
    discovery, encode, find_key_source, find_nat, identification_of, initial_contact, is_initial_contact,
    keys_differ, marks, offer_of, pre_shared_key, refusal_in, turn_away,
};
use super::repeated::{Repeated, Seen};
use crate::authentication::v1::{Belief, DeviceAuthenticated, Proving};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{Path, Query};
use crate::status::Phase1Mode;
use crate::{Role, limits};
use introduction::Introduction;
use state::{Answered, Awaiting, Half, Judgement, Key, Secured, Sent, Sixth};

pub(crate) use state::{Initiating, Responding};

const NAME: &str = "main mode";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// HDR(CKY-I,0), SA, VID … -->
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Initiating, Failure> {
    let connection = &initiation.connection;
    let methods = methods_of(cx, connection, Role::Initiator);
    let security_association = offer_of(connection, &methods, &connection.proposals)?;
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
        methods,
        sa_body,
        peer,
        authorities: None,
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
            Content::Clear(chain) if matches!(self.sent, Sent::Key(_)) => {
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
            Ok(Some((Belief::Proven(peer), sixth))) => self.believe(cx, peer, sixth),
            Ok(Some((Belief::Depends(request, claim), sixth))) => {
                Some(Sa::Initiating(self.await_trust(cx, request, claim, sixth)))
            }
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
            &self.methods,
            contents.security_association()?.0,
        )
        .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let private = (chosen.suite.key_exchange.key_exchange.generate())
            .map_err(|fault| Error::Local(fault.to_string()))?;
        self.spis.responder = datagram.header.responder_spi;
        self.peer.note(&contents);
        self.authorities = contents.authorities();
        let half = Box::new(Half { chosen, nonce: cx.next_nonce(), private, addressee: None });
        if half.chosen.method.encryption().is_some() {
            self.ask_for_key(cx, half);
            return Ok(());
        }
        let key_exchange = Payload::KeyExchange(half.private.public().to_vec());
        let mut payloads = vec![key_exchange, Payload::Nonce(half.nonce.clone())];
        payloads.extend(self.discovery(&half.chosen));
        self.send_key(cx, half, &payloads)
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
        if self.addressee().is_some() {
            return self.receive_sealed_key(cx, path, datagram, chain);
        }
        let contents = Contents::new(NAME, chain.clone());
        contents.key_exchange().and(contents.nonce())?;
        trace_received(cx, path, datagram, &chain);
        self.finish_key(cx, path, &contents, Introduction::WithProof)
    }

    /// Message 4 is there to be read: makes the keys.
    fn finish_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        contents: &Contents<'_>,
        introduction: Introduction,
    ) -> Result<(), Error> {
        let (public_r, nonce_r) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let connection = Arc::clone(&self.initiation.connection);
        let local = connection.own_identity(self.path);
        let expected = connection.expected_identity(self.path);
        let Sent::Key(half) = std::mem::replace(&mut self.sent, Sent::Sa) else {
            return Err(Misbehaviour::Other("a public value where none was expected").into());
        };
        let Half { chosen, nonce, private, .. } = *half;
        let secret = pre_shared_key::find(cx, chosen.method, &local, &expected)?;
        self.peer.note(contents);
        self.authorities = self.authorities.take().or(contents.authorities());
        let public_i = private.public().to_vec();
        // A public value that is not valid ends the attempt: our private one is used up.
        let shared =
            private.finish(&public_r).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Main,
            role: Role::Initiator,
            spis: self.spis,
            method: chosen.method,
            source: KeySource::new(chosen.method, &chosen.suite, secret.as_ref())?,
            shared: &shared,
            nonces: Nonces { initiator: &nonce, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let nat = find_nat(&chosen.suite, self.spis, path, contents);
        let floated = nat::float(self.path, self.peer.traversal, nat, connection.encap);
        let (channel, transcript) =
            material.secure(cx, &chosen.suite, floated, nat, self.peer, &connection)?;
        self.path = floated;
        let body = identification_of(&local).to_body();
        let proving =
            transcript.prove(Role::Initiator, &connection, (&local, &body), self.authorities.take());
        let lifetime = chosen.lifetime;
        let secured = Box::new(Secured { channel, transcript, local, lifetime, introduction });
        match proving {
            Proving::Ready(proof) => self.prove(cx, secured, proof),
            Proving::Wanted(request) => {
                let awaited = Awaited::begin(cx, self.spis.initiator, Query::Sign(request));
                self.sent = Sent::Unsigned(secured, awaited);
                Ok(())
            }
        }
    }

    /// HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)] -->
    fn prove(
        &mut self,
        cx: &mut Context,
        mut secured: Box<Secured>,
        proof: Vec<Payload>,
    ) -> Result<(), Error> {
        let Secured { channel, transcript, local, introduction, .. } = &mut *secured;
        let mut payloads = introduction.ours(local);
        payloads.extend(proof);
        payloads.extend(certificate_requests(cx, transcript.method, Role::Responder));
        let remote = self.initiation.connection.expected_identity(self.path);
        if is_initial_contact(cx, &self.initiation, self.path, (local, &remote)) {
            payloads.push(initial_contact(self.spis));
        }
        let iv = channel.phase_1_iv().clone();
        let (message, next_iv) = channel.seal(cx, ExchangeType::V1_IDENTITY_PROTECTION, 0, &iv, &payloads)?;
        channel.move_phase_1_on(next_iv);
        self.send(cx, self.path, message);
        self.sent = Sent::Proof(secured);
        Ok(())
    }

    /// <-- HDR*, IDir, HASH_R, [N(RESPONDER-LIFETIME)]
    fn judge(
        &self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        ciphertext: &[u8],
    ) -> Result<(Belief, Sixth), Error> {
        let Sent::Proof(secured) = &self.sent else {
            return Err(Misbehaviour::Other("an encrypted message before there is a key").into());
        };
        let Secured { channel, transcript, local, introduction, .. } = &**secured;
        let opened = channel
            .open(channel.phase_1_iv(), ciphertext)
            .ok_or(Misbehaviour::Other("message 6 is not whole blocks of the cipher"))?;
        let chain =
            opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(transcript.method, 6))?;
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let connection = &self.initiation.connection;
        let belief = introduction.judge_responder(connection, transcript, local, &contents)?;
        let told = Expiry::in_message_6(&contents, self.spis);
        Ok((belief, Sixth { next_iv: opened.next_iv.clone(), told }))
    }

    fn establish(self: Box<Self>, cx: &mut Context, peer: DeviceAuthenticated, sixth: Sixth) -> Option<Sa> {
        let Initiating { initiation, peer: abilities, begun_at, sent, .. } = *self;
        let Sent::Proof(secured) = sent else { return None };
        let Secured { mut channel, lifetime, .. } = *secured;
        channel.move_phase_1_on(sixth.next_iv);
        let outcome = Outcome {
            channel,
            connection: Arc::clone(&initiation.connection),
            peer,
            abilities,
            lifetime: lifetime.limited_to(sixth.told),
            last: LastMessage::default(),
            begun_at,
            initiation: Some(initiation),
            contact: Contact::Further,
        };
        outcome.conclude(cx)
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

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
        readings_left: limits::SEALED_KEYS_OF_A_STRANGER,
        complained: false,
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
            Ok(Some((judgement, Belief::Proven(peer)))) => self.admit(cx, judgement, peer),
            Ok(Some((judgement, Belief::Depends(request, claim)))) => {
                Some(Sa::Responding(self.await_trust(cx, judgement, request, claim)))
            }
            Err(fault) => {
                self.complain(cx, path, fault);
                Some(Sa::Responding(self))
            }
        }
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
        if self.chosen.method.encryption().is_some() {
            return self.receive_sealed_key(cx, path, datagram, chain);
        }
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let source = find_key_source(cx, path, &self.chosen)?;
        self.send_key(cx, (path, Seen::new(datagram.bytes)), &contents, source, Introduction::WithProof)
    }

    /// Message 3 is there to be read: makes the keys, and sends our half of them.
    fn send_key(
        &mut self,
        cx: &mut Context,
        (path, message): (Path, Seen),
        contents: &Contents<'_>,
        Source { connection, secret }: Source,
        introduction: Introduction,
    ) -> Result<(), Error> {
        let (public_i, nonce_i) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let suite = self.chosen.suite;
        let method = self.chosen.method;
        let (public_r, shared) = (suite.key_exchange.key_exchange.respond(&public_i))
            .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        self.peer.note(contents);
        let nonce_r = cx.next_nonce();
        let nat = find_nat(&suite, self.spis, path, contents);
        let requests = certificate_requests(cx, method, Role::Initiator).into_iter();
        let others =
            requests.chain(discovery(&suite, self.peer.traversal, self.spis, path, &connection)).collect();
        let payloads = self.half(path, (&public_r, &nonce_r), &introduction, others)?;
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Main,
            role: Role::Responder,
            spis: self.spis,
            method,
            source: KeySource::new(method, &suite, secret.as_ref())?.of_somebody(),
            shared: &shared,
            nonces: Nonces { initiator: &nonce_i, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let nonces = material.nonces;
        let (channel, transcript) = material.secure(cx, &suite, path, nat, self.peer, &connection)?;
        let key = Key::new(secret.as_ref(), &shared, nonces);
        let answer = encode(cx, Phase1Mode::Main, self.spis, path, channel.cutting, &payloads)?;
        cx.transmit(path, &answer);
        self.last = Repeated::of(message, answer);
        let authorities = contents.authorities();
        self.complained = false;
        self.answered =
            Answered::Key(Box::new(Awaiting { channel, transcript, introduction, key, authorities }));
        Ok(())
    }

    /// HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)] -->
    fn judge(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        ciphertext: &[u8],
    ) -> Result<(Judgement, Belief), Error> {
        let Answered::Key(awaiting) = &mut self.answered else {
            return Err(Misbehaviour::Other("an encrypted message before there is a key").into());
        };
        awaiting.find_key(cx, path, &self.chosen, datagram, ciphertext)?;
        let Awaiting { channel, transcript, .. } = &**awaiting;
        let opened = channel
            .open(channel.phase_1_iv(), ciphertext)
            .ok_or(Misbehaviour::Other("message 5 is not whole blocks of the cipher"))?;
        let chain =
            opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(transcript.method, 5))?;
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (connection, belief) = awaiting.judge_initiator(cx, path, &self.chosen, &contents)?;
        let judgement = Judgement {
            connection,
            contact: contact_of(&contents),
            authorities: contents.authorities(),
            next_iv: opened.next_iv.clone(),
            message: Seen::new(datagram.bytes),
            path,
        };
        Ok((judgement, belief))
    }

    /// The initiator is who it says: proves who we are, or has that done.
    fn admit(
        mut self: Box<Self>,
        cx: &mut Context,
        judgement: Judgement,
        peer: DeviceAuthenticated,
    ) -> Option<Sa> {
        let Judgement { connection, contact, path, .. } = &judgement;
        if let Err(fault) = peer.check_unique(cx, connection, *contact) {
            self.complain(cx, *path, fault);
            return Some(Sa::Responding(self));
        }
        let Answered::Key(awaiting) = &self.answered else { return None };
        let body = identification_of(peer.local()).to_body();
        let authorities = awaiting.authorities.clone().or(judgement.authorities.clone());
        let ours = (peer.local(), body.as_slice());
        match awaiting.transcript.prove(Role::Responder, connection, ours, authorities) {
            Proving::Ready(proof) => self.establish(cx, judgement, peer, proof),
            Proving::Wanted(request) => {
                Some(Sa::Responding(self.await_signature(cx, judgement, peer, request)))
            }
        }
    }

    /// <-- HDR*, IDir, HASH_R, [N(RESPONDER-LIFETIME)]
    fn establish(
        self: Box<Self>,
        cx: &mut Context,
        judgement: Judgement,
        peer: DeviceAuthenticated,
        proof: Vec<Payload>,
    ) -> Option<Sa> {
        let Responding { peer: abilities, chosen, begun_at, answered, .. } = *self;
        let Answered::Key(awaiting) = answered else { return None };
        let Awaiting { mut channel, introduction, .. } = *awaiting;
        let Judgement { connection, contact, next_iv, message, path, .. } = judgement;
        // The initiator may have floated to port 4500 (RFC 3947 §4).
        channel.path = path;
        channel.move_phase_1_on(next_iv);
        let mut payloads = introduction.ours(peer.local());
        payloads.extend(proof);
        let ours = connection.lifetimes.expire;
        payloads.extend(chosen.lifetime.of_phase_1(ours, channel.spis));
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
        let answered = Some(Repeated::of(message, answer));
        let outcome = Outcome {
            channel,
            connection,
            peer,
            abilities,
            // Of what is shorter than was offered, the initiator is told already.
            lifetime: chosen.lifetime.limited_to(Expiry::new(ours, u64::MAX)),
            last: LastMessage { answered, unconfirmed: None },
            begun_at,
            initiation: None,
            contact,
        };
        outcome.conclude(cx)
    }
}
