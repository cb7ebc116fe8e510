//! Main mode: six messages that make an ISAKMP SA and hide who its ends are (RFC 2409 §5; with signatures §5.1, with a
//! pre-shared key §5.4).
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
//! ```
//!
//! The pre-shared key goes into the cipher's key, so the responder must know it before it knows who asks: it goes by the
//! address (§5.4), and tries all keys that fit it on message 5 ([`key_trial`]). Under another than the initiator's, that one
//! decrypts to nonsense. With signatures the key exchange alone
//! makes the keys, and the story pauses up to twice on each side ([`waiting`]): to learn whether the peer's key is
//! trusted, and to have our signature made.
//!
//! Only the initiator repeats messages by itself. The responder answers a repeated message with the answer it gave: to
//! an address that nobody has proven, one answer for each message. Nothing before message 5 is authenticated, so nothing
//! that it says against us ends an attempt at once.

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
use super::method::{Keying, methods_of};
use super::nat;
use super::negotiation;
use super::phase_1::{
    Awaited, LastMessage, Material, Outcome, Source, agree, body_of, certificate_requests, contact_of,
    discovery, encode, find_connection, find_key_source, find_nat, identification_of, identity_of,
    initial_contact, is_initial_contact, keys_differ, marks, offer_of, refusal_in, turn_away,
};
use super::repeated::{Repeated, Seen};
use crate::authentication::v1::{Belief, DeviceAuthenticated, Proving};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{Path, Query};
use crate::status::Phase1Mode;
use crate::{Connection, Role};
use state::{Answered, Awaiting, Ingredients, Judgement, Key, Secured, Sent, Sixth};

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
            Ok(Some((Belief::Proven(peer), sixth))) => self.establish(cx, peer, sixth),
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
        let Sent::Key { chosen, nonce, private } = std::mem::replace(&mut self.sent, Sent::Sa) else {
            return Err(Misbehaviour::Other("a public value where none was expected").into());
        };
        let secret = match chosen.method.keying() {
            Keying::PreSharedKey => Some(cx.shared_secret(&local, &expected).cloned().ok_or_else(|| {
                Error::Local(format!("no pre-shared key is configured for {local} and {expected}"))
            })?),
            Keying::Signature => None,
        };
        trace_received(cx, path, datagram, &chain);
        self.peer.note(&contents);
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
            source: KeySource::of(secret.as_ref()),
            shared: &shared,
            nonces: Nonces { initiator: &nonce, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let nat = find_nat(&chosen.suite, self.spis, path, &contents);
        let floated = nat::float(self.path, self.peer.traversal, nat, connection.encap);
        let (channel, transcript) =
            material.secure(cx, &chosen.suite, floated, nat, self.peer, &connection)?;
        self.path = floated;
        let body = identification_of(&local).to_body();
        let proving =
            transcript.prove(Role::Initiator, &connection, (&local, &body), self.authorities.take());
        let secured = Box::new(Secured { channel, transcript, local, lifetime: chosen.lifetime });
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
        let Secured { channel, transcript, local, .. } = &mut *secured;
        let mut payloads = vec![Payload::Identification(identification_of(local))];
        payloads.extend(proof);
        payloads.extend(certificate_requests(cx, transcript.method, Role::Responder));
        let remote = self.initiation.connection.expected_identity(self.path);
        if is_initial_contact(cx, &self.initiation, (local, &remote)) {
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
        let Secured { channel, transcript, local, .. } = &**secured;
        let opened = channel
            .open(channel.phase_1_iv(), ciphertext)
            .ok_or(Misbehaviour::Other("message 6 is not whole blocks of the cipher"))?;
        let chain =
            opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(transcript.method, 6))?;
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        let connection = &self.initiation.connection;
        let wanted = &connection.remote_identity;
        if !wanted.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")));
        }
        let belief = transcript.judge(Role::Initiator, connection, local, (&remote, body), &contents)?;
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
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let (public_i, nonce_i) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let suite = self.chosen.suite;
        let method = self.chosen.method;
        let Source { connection, secret } = find_key_source(cx, path, &self.chosen)?;
        let (public_r, shared) = (suite.key_exchange.key_exchange.respond(&public_i))
            .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        self.peer.note(&contents);
        let nonce_r = cx.next_nonce();
        let nat = find_nat(&suite, self.spis, path, &contents);
        let mut payloads = vec![Payload::KeyExchange(public_r.clone()), Payload::Nonce(nonce_r.clone())];
        payloads.extend(certificate_requests(cx, method, Role::Initiator));
        payloads.extend(discovery(&suite, self.peer.traversal, self.spis, path, &connection));
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Main,
            role: Role::Responder,
            spis: self.spis,
            method,
            source: KeySource::of_somebody(secret.as_ref()),
            shared: &shared,
            nonces: Nonces { initiator: &nonce_i, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let nonces = material.nonces;
        let (channel, transcript) = material.secure(cx, &suite, path, nat, self.peer, &connection)?;
        let key = match secret {
            None => Key::Certain,
            Some(_) => Key::Shared(Ingredients::new(shared.clone(), nonces)),
        };
        let answer = encode(cx, Phase1Mode::Main, self.spis, path, channel.cutting, &payloads)?;
        cx.transmit(path, &answer);
        self.last = Repeated::new(datagram.bytes, answer);
        let authorities = contents.authorities();
        self.answered =
            Answered::Key(Box::new(Awaiting { channel, transcript, key, authorities, complained: false }));
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
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        let has_key = |connection: &Connection| awaiting.is_key_of(cx, connection, path, &remote);
        let connection = find_connection(cx, path, &remote, &self.chosen, has_key)?;
        let local = connection.own_identity(path);
        let belief = transcript.judge(Role::Responder, &connection, &local, (&remote, body), &contents)?;
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
        let Awaiting { mut channel, .. } = *awaiting;
        let Judgement { connection, contact, next_iv, message, path, .. } = judgement;
        // The initiator may have floated to port 4500 (RFC 3947 §4).
        channel.path = path;
        channel.move_phase_1_on(next_iv);
        let mut payloads = vec![Payload::Identification(identification_of(peer.local()))];
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
