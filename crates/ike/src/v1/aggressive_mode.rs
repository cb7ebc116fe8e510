//! Aggressive mode: three messages that make an ISAKMP SA, and show everybody on the way who its ends are (RFC 2409 §5,
//! with a pre-shared key §5.4).
//!
//! ```text
//!   Initiator                                         Responder
//!   HDR(CKY-I,0), SA, KE, Ni, IDii, VID …      -->                                    1  in one group only
//!                                <--    HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R,   2  proven, in the clear
//!                                            NAT-D, NAT-D, VID …
//!   HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)]  -->                             3  proven, encrypted, and on
//!                                                                                        port 4500 if there is a NAT
//! ```
//!
//! The pre-shared key goes by who asks, not by its address: that is what people use this mode for. The price is HASH_R,
//! from which everybody who sends a message 1 can try passwords at leisure; so a connection must allow it twice over.
//!
//! The responder answers message 1, once for each time that it comes, and repeats nothing by itself: nobody has proven
//! its address yet. The initiator repeats message 3 until the peer shows that it has it, for nothing else answers it.

mod standing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crypto::{KeyExchangePrivate, Secret};
use sa::Proposal;
use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v1::{Chain, Content, Datagram, Payload};

use super::Sa;
use super::abilities::PeerAbilities;
use super::channel::{Channel, Iv, trace_received};
use super::contents::Contents;
use super::fragmentation::Cutting;
use super::nat;
use super::negotiation::{self, ChosenPhase1};
use super::phase_1::{
    LastMessage, Material, Outcome, body_of, contact_of, discovery, encode, end_attempt, find_nat,
    identification_of, identity_of, initial_contact, marks, method_of, offer_by_identity, offer_of,
    refusal_in, refuse, turn_away, without_numbers,
};
use super::repeated::Repeated;
use crate::authentication::v1::{DeviceAuthenticated, Transcript};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{IkeSaId, Path};
use crate::nat_detection::NatFinding;
use crate::retransmission::{Repeating, Retransmission};
use crate::status::Phase1Mode;
use crate::{Connection, Identity, Role, Unique};

const NAME: &str = "aggressive mode";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// We sent message 1.
pub(crate) struct Initiating {
    id: IkeSaId,
    initiation: Initiation,
    path: Path,
    spis: IkeSpis,
    /// What we offered, all of it in the group of our public value.
    proposals: Vec<Proposal>,
    /// The body of our SA payload, which the proofs cover.
    sa_body: Vec<u8>,
    local: Identity,
    nonce: Vec<u8>,
    /// Our private value; used up by the first answer that could be one.
    private: Option<Box<dyn KeyExchangePrivate>>,
    repeating: Repeating,
    begun_at: Instant,
    /// What an answer said against us that nobody authenticated. A better one may yet come, until message 1 would be
    /// repeated.
    refused: Option<Failure>,
}

/// HDR(CKY-I,0), SA, KE, Ni, IDii, VID … -->
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Initiating, Failure> {
    let connection = &initiation.connection;
    let Some((group, proposals)) = negotiation::with_one_group(&connection.proposals) else {
        return Err(without_numbers(connection).into());
    };
    let security_association = offer_of(connection, &proposals)?;
    let sa_body = body_of(&security_association)?;
    let private = group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?;
    let spis = IkeSpis { initiator: cx.next_ike_spi(), responder: IkeSpi::ZERO };
    let nonce = cx.next_nonce();
    let local = connection.own_identity(path);
    let mut payloads = vec![
        security_association,
        Payload::KeyExchange(private.public().to_vec()),
        Payload::Nonce(nonce.clone()),
        Payload::Identification(identification_of(&local)),
    ];
    payloads.extend(marks(connection));
    let cutting = Cutting::towards(PeerAbilities::default(), connection.fragmentation);
    let message = encode(cx, Phase1Mode::Aggressive, spis, path, cutting, &payloads)?;
    cx.transmit(path, &message);
    Ok(Initiating {
        id: cx.next_ike_id(),
        repeating: cx.begin_repeating(message),
        initiation,
        path,
        spis,
        proposals,
        sa_body,
        local,
        nonce,
        private: Some(private),
        begun_at: cx.now,
        refused: None,
    })
}

impl Initiating {
    /// Handles what may be message 2. Whatever is wrong with it may be a forger's doing: it is remembered, and told when
    /// nothing better has come.
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
            return Some(Sa::Calling(self));
        }
        if header.exchange_type != ExchangeType::V1_AGGRESSIVE || header.message_id != 0 {
            return Some(Sa::Calling(self));
        }
        let Content::Clear(chain) = &datagram.content else { return Some(Sa::Calling(self)) };
        match self.judge(cx, path, datagram, chain.clone()) {
            Ok(judged) => self.conclude(cx, datagram, judged),
            Err(fault) => {
                self.refused.get_or_insert(fault.into());
                Some(Sa::Calling(self))
            }
        }
    }

    /// <-- HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R, NAT-D, NAT-D, VID …
    fn judge(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<Judged, Error> {
        let responder = datagram.header.responder_spi;
        if responder.is_zero() {
            return Err(Misbehaviour::Other("its answer to message 1 has no cookie").into());
        }
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let connection = Arc::clone(&self.initiation.connection);
        let chosen = negotiation::accept_phase_1(
            &self.proposals,
            method_of(&connection, Role::Initiator),
            contents.security_association()?.0,
        )
        .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        let wanted = &connection.remote_identity;
        if !wanted.matches(&remote) {
            return Err(Error::AuthenticationFailed(format!("the peer is {remote}; configured is {wanted}")));
        }
        let secret = secret_of(cx, &self.local, &remote)?;
        let (public_r, nonce_r) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let proof = contents.hash()?;
        let private =
            self.private.take().ok_or(Misbehaviour::Other("an earlier answer of its was not valid"))?;
        let public_i = private.public().to_vec();
        let shared =
            private.finish(&public_r).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        let mut abilities = PeerAbilities::default();
        abilities.note(&contents);
        let spis = IkeSpis { responder, ..self.spis };
        let nat = find_nat(&chosen.suite, spis, path, &contents);
        let floated = nat::float(self.path, abilities.traversal, nat, connection.encap);
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Aggressive,
            role: Role::Initiator,
            spis,
            secret: &secret,
            shared: &shared,
            nonces: Nonces { initiator: &self.nonce, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let (channel, transcript) =
            material.secure(cx, &chosen.suite, floated, nat, abilities, &connection)?;
        let peer = transcript.verify(Role::Initiator, &self.local, &remote, body, proof)?;
        Ok(Judged { peer, channel, transcript, chosen, abilities })
    }

    /// HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)] -->
    fn conclude(self: Box<Self>, cx: &mut Context, datagram: &Datagram<'_>, judged: Judged) -> Option<Sa> {
        let Judged { peer, mut channel, transcript, chosen, abilities } = judged;
        let Initiating { initiation, local, begun_at, .. } = *self;
        let connection = Arc::clone(&initiation.connection);
        let (spis, path) = (channel.spis, channel.path);
        let proof = transcript.proof(Role::Initiator, &identification_of(&local).to_body());
        let mut payloads = vec![Payload::Hash(proof.as_slice().to_vec())];
        payloads.extend(discovery(&chosen.suite, abilities.traversal, spis, path, &connection));
        if initiation.contact == Contact::Initial && connection.unique != Unique::Never {
            payloads.push(initial_contact(spis));
        }
        let iv = channel.phase_1_iv().clone();
        let (message, next_iv) = match channel.seal(cx, ExchangeType::V1_AGGRESSIVE, 0, &iv, &payloads) {
            Ok(sealed) => sealed,
            Err(fault) => {
                cx.fail_initiation(&initiation, path, fault.into());
                return None;
            }
        };
        channel.move_phase_1_on(next_iv);
        cx.transmit(path, &message);
        let last = LastMessage {
            answered: Some(Repeated::new(datagram.bytes, message.clone())),
            unconfirmed: Some(cx.begin_repeating(message)),
        };
        let outcome = Outcome {
            channel,
            connection,
            peer,
            abilities,
            lifetime: chosen.lifetime,
            last,
            begun_at,
            initiation: Some(initiation),
            contact: Contact::Further,
        };
        outcome.conclude(cx)
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.path;
        match self.repeating.repeat(cx.now) {
            Retransmission::NotDue => return Some(Sa::Calling(self)),
            Retransmission::Send { datagrams, .. } if self.refused.is_none() => {
                cx.transmit(path, datagrams);
                return Some(Sa::Calling(self));
            }
            Retransmission::Send { .. } | Retransmission::GiveUp => {}
        }
        end_attempt(cx, self.initiation, path, NAME, self.begun_at, self.refused);
        None
    }
}

/// The responder has proven who it is.
struct Judged {
    peer: DeviceAuthenticated,
    channel: Channel,
    transcript: Transcript,
    chosen: ChosenPhase1,
    abilities: PeerAbilities,
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// A stranger began; we answered message 1.
pub(crate) struct Responding {
    connection: Arc<Connection>,
    channel: Channel,
    transcript: Transcript,
    chosen: ChosenPhase1,
    abilities: PeerAbilities,
    /// Who the initiator says that it is, and the body of the payload that says it.
    remote: Identity,
    identification_body: Vec<u8>,
    /// Message 1, and our answer.
    last: Repeated,
    begun_at: Instant,
    until: Instant,
    /// Where it began: what half-open SAs are counted by.
    origin: IpAddr,
    /// Whether a message 3 that proved nothing was told of already.
    complained: bool,
}

/// HDR(CKY-I,0), SA, KE, Ni, IDii, VID … -->
///
/// <-- HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R, NAT-D, NAT-D, VID …
pub(crate) fn respond(cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Responding> {
    let Content::Clear(chain) = &datagram.content else { return None };
    trace_received(cx, path, datagram, chain);
    match answer(cx, path, datagram, chain.clone()) {
        Ok(responding) => Some(responding),
        Err(fault) => {
            turn_away(cx, datagram.header.initiator_spi, path, fault);
            None
        }
    }
}

fn answer(
    cx: &mut Context,
    path: Path,
    datagram: &Datagram<'_>,
    chain: Chain<'_>,
) -> Result<Responding, Error> {
    let contents = Contents::new(NAME, chain);
    let (offer, sa_body) = contents.security_association()?;
    let (identification, identification_body) = contents.identification()?;
    let (public_i, nonce_i) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
    let remote = identity_of(identification);
    let (connection, chosen) = offer_by_identity(cx, path, &remote, offer)?;
    let suite = chosen.suite;
    let local = connection.own_identity(path);
    let secret = secret_of(cx, &local, &remote)?;
    let (public_r, shared) = (suite.key_exchange.key_exchange.respond(&public_i))
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    let mut abilities = PeerAbilities::default();
    abilities.note(&contents);
    let spis = IkeSpis { initiator: datagram.header.initiator_spi, responder: cx.next_ike_spi() };
    let nonce_r = cx.next_nonce();
    let material = Material {
        id: cx.next_ike_id(),
        mode: Phase1Mode::Aggressive,
        role: Role::Responder,
        spis,
        secret: &secret,
        shared: &shared,
        nonces: Nonces { initiator: &nonce_i, responder: &nonce_r },
        public_i,
        public_r: public_r.clone(),
        sa_body: sa_body.to_vec(),
    };
    // Whether there is a NAT, message 3 tells.
    let nothing_yet = NatFinding::NOTHING;
    let (channel, transcript) = material.secure(cx, &suite, path, nothing_yet, abilities, &connection)?;
    let identification = identification_of(&local);
    let proof = transcript.proof(Role::Responder, &identification.to_body());
    let mut payloads = vec![
        Payload::SecurityAssociation(vec![chosen.answer.clone()]),
        Payload::KeyExchange(public_r),
        Payload::Nonce(nonce_r),
        Payload::Identification(identification),
        Payload::Hash(proof.as_slice().to_vec()),
    ];
    payloads.extend(discovery(&suite, abilities.traversal, spis, path, &connection));
    payloads.extend(marks(&connection));
    let answer = encode(cx, Phase1Mode::Aggressive, spis, path, channel.cutting, &payloads)?;
    cx.transmit(path, &answer);
    Ok(Responding {
        channel,
        transcript,
        chosen,
        abilities,
        remote,
        identification_body: identification_body.to_vec(),
        last: Repeated::new(datagram.bytes, answer),
        begun_at: cx.now,
        until: cx.now + cx.settings.half_open_timeout,
        origin: path.remote.ip(),
        complained: false,
        connection,
    })
}

impl Responding {
    /// Handles what may be message 3.
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        let is_third = header.exchange_type == ExchangeType::V1_AGGRESSIVE && header.message_id == 0;
        if !is_third {
            // Whoever goes on to phase 2 has sent a message 3 that was lost; our answer once more asks for it.
            if matches!(datagram.content, Content::Encrypted(_)) {
                self.last.send(cx, path);
            }
            return Some(Sa::Called(self));
        }
        if self.last.repeat(cx, path, datagram.bytes) {
            return Some(Sa::Called(self));
        }
        match self.judge(cx, path, datagram) {
            Ok(proven) => self.conclude(cx, path, proven),
            Err(fault) => {
                self.complain(cx, path, fault);
                Some(Sa::Called(self))
            }
        }
    }

    /// Answers a first message that comes once more.
    pub(crate) fn repeat_first(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        self.last.repeat(cx, path, datagram.bytes);
    }

    /// HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)] -->
    ///
    /// RFC 2409 §5 lets it come in the clear, too.
    fn judge(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Result<Proven, Error> {
        let opened;
        let (chain, next_iv) = match &datagram.content {
            Content::Clear(chain) => (chain.clone(), self.channel.phase_1_iv().clone()),
            Content::Encrypted(ciphertext) => {
                opened = (self.channel.open(self.channel.phase_1_iv(), ciphertext))
                    .ok_or(Misbehaviour::Other("message 3 is not whole blocks of the cipher"))?;
                let chain =
                    opened.payloads(datagram.header.next_payload).map_err(|_| keys_differ(&self.remote))?;
                (chain, opened.next_iv.clone())
            }
            Content::Fragment(_) => {
                return Err(Misbehaviour::Other("message 3 comes in fragments that nobody announced").into());
            }
        };
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let local = self.connection.own_identity(path);
        let (body, proof) = (&self.identification_body, contents.hash()?);
        let peer = self.transcript.verify(Role::Responder, &local, &self.remote, body, proof)?;
        let contact = contact_of(&contents);
        peer.check_unique(cx, &self.connection, contact)?;
        let nat = find_nat(&self.channel.suite, self.channel.spis, path, &contents);
        Ok(Proven { peer, contact, nat, next_iv })
    }

    fn conclude(self: Box<Self>, cx: &mut Context, path: Path, proven: Proven) -> Option<Sa> {
        let Responding { connection, mut channel, chosen, abilities, begun_at, .. } = *self;
        let Proven { peer, contact, nat, next_iv } = proven;
        // The initiator may have floated to port 4500 (RFC 3947 §4).
        channel.path = path;
        channel.find_nat(nat, connection.encap);
        channel.move_phase_1_on(next_iv);
        let outcome = Outcome {
            channel,
            connection,
            peer,
            abilities,
            lifetime: chosen.lifetime,
            last: LastMessage::default(),
            begun_at,
            initiation: None,
            contact,
        };
        outcome.conclude(cx)
    }

    /// Tells the peer what is wrong, and people once: a message that is not authenticated may come a thousand times.
    fn complain(&mut self, cx: &mut Context, path: Path, fault: Error) {
        refuse(cx, self.channel.spis, path, &fault);
        if std::mem::replace(&mut self.complained, true) {
            cx.forged += 1;
        } else {
            cx.fail(&[], Some(&self.connection.name), Some(path), fault.into());
        }
    }
}

/// The initiator has proven who it is.
struct Proven {
    peer: DeviceAuthenticated,
    contact: Contact,
    nat: NatFinding,
    next_iv: Iv,
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Finds the pre-shared key of two ends that both have said who they are.
fn secret_of(cx: &Context, local: &Identity, remote: &Identity) -> Result<Secret<Vec<u8>>, Error> {
    cx.shared_secret(local, remote).cloned().ok_or_else(|| {
        let sentence = format!("no pre-shared key is configured for {local} (here) and {remote} (the peer)");
        Error::AuthenticationFailed(sentence)
    })
}

/// Whoever encrypts message 3 otherwise than we read it most likely has another pre-shared key.
fn keys_differ(remote: &Identity) -> Error {
    Error::AuthenticationFailed(format!(
        "the pre-shared keys of {remote} (the peer) and here differ, or message 3 was damaged"
    ))
}
