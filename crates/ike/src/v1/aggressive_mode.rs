//! Aggressive mode: three messages that make an ISAKMP SA, and show everybody on the way who its ends are (RFC 2409 §5;
//! with signatures §5.1, with a pre-shared key §5.4, with public key encryption §5.2 and §5.3).
//!
//! ```text
//!   Initiator                                         Responder
//!   HDR(CKY-I,0), SA, KE, Ni, IDii, VID …      -->                                    1  in one group only
//!                                <--    HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R,   2  proven, in the clear
//!                                            NAT-D, NAT-D, VID …
//!   HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)]  -->                             3  proven, encrypted, and on
//!                                                                                        port 4500 if there is a NAT
//!
//!   with signatures, CERT … and SIG_R or SIG_I in place of the hash, and CR in messages 1 and 2 where the sender would
//!   like a certificate of a CA that it trusts
//!
//!   with public key encryption (encrypted.rs), which shows nobody who the ends are:
//!   HDR(CKY-I,0), SA, [HASH(1),] KE, <IDii, Ni>PubKey_r, VID …  -->                        1
//!                        <--    HDR(CKY-I,CKY-R), SA, KE, <IDir, Nr>PubKey_i, HASH_R,       2
//!                                   NAT-D, NAT-D, VID …
//! ```
//!
//! The pre-shared key goes by who asks, not by its address: that is what people use this mode for. The price is HASH_R,
//! from which everybody who sends a message 1 can try passwords at leisure; so a connection must allow it twice over.
//! With signatures the price is who the ends are, and that the responder signs for whoever asks; the story pauses twice on
//! each side ([`waiting`]), for our signature and to learn whether the peer's key is trusted.
//!
//! The responder answers message 1, once for each time that it comes, and repeats nothing by itself: nobody has proven
//! its address yet. So the answer is of bounded size, too: of a long chain of certificates the first are sent. The
//! initiator repeats message 3 until the peer shows that it has it, for nothing else answers it.

mod encrypted;
mod standing;
mod state;
mod waiting;

use std::sync::Arc;

use crypto::Secret;
use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v1::{Content, Datagram, Payload};

use super::Sa;
use super::abilities::PeerAbilities;
use super::channel::{Channel, trace_received};
use super::contents::Contents;
use super::fragmentation::Cutting;
use super::keys::KeySource;
use super::method::{Keying, Method, methods_of};
use super::nat;
use super::negotiation;
use super::phase_1::{
    Awaited, LastMessage, Material, Outcome, body_of, certificate_requests, check_identity, contact_of,
    discovery, encode, find_nat, identification_of, identity_of, initial_contact, is_initial_contact, marks,
    offer_by_identity, offer_of, part, refusal_in, turn_away, without_numbers,
};
use super::public_key_encryption::{Envelope, Letter, own_certificate};
use super::repeated::{Repeated, Seen};
use crate::authentication::v1::{Belief, DeviceAuthenticated, Proving};
use crate::context::{Contact, Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::exchange::{IkeSpis, Nonces};
use crate::io::{Path, Query};
use crate::nat_detection::NatFinding;
use crate::status::Phase1Mode;
use crate::{Connection, Identity, Role};
use standing::{bounded_chain, bounded_requests};
use state::{Called, Caller, Calling, First, Second, Secured, Unsent};
use waiting::Third;

pub(crate) use encrypted::Hearing;
pub(crate) use state::{Initiating, Responding};

const NAME: &str = "aggressive mode";

// --- Initiator -----------------------------------------------------------------------------------------------------

/// HDR(CKY-I,0), SA, KE, Ni, IDii, VID … -->
pub(crate) fn initiate(cx: &mut Context, initiation: Initiation, path: Path) -> Result<Initiating, Failure> {
    let connection = &initiation.connection;
    let methods = methods_of(cx, connection, Role::Initiator);
    let one = match methods.first().and_then(|method| method.encryption()) {
        None => negotiation::with_one_group(&connection.proposals),
        // What is encrypted in message 1 must be so by algorithms that nothing was agreed on yet.
        Some(_) => negotiation::with_one_suite(&connection.proposals),
    };
    let Some((group, proposals)) = one else { return Err(without_numbers(connection).into()) };
    let sa_body = body_of(&offer_of(connection, &methods, &proposals)?)?;
    let private = group.key_exchange.generate().map_err(|fault| Error::Local(fault.to_string()))?;
    let spis = IkeSpis { initiator: cx.next_ike_spi(), responder: IkeSpi::ZERO };
    let nonce = cx.next_nonce();
    let local = connection.own_identity(path);
    let mut initiating = Initiating {
        id: cx.next_ike_id(),
        repeating: cx.begin_repeating(Vec::new()),
        initiation,
        path,
        spis,
        proposals,
        methods,
        sa_body,
        local,
        nonce,
        private: Some(private),
        begun_at: cx.now,
        refused: None,
        addressee: None,
        stage: Calling::Open,
    };
    match initiating.methods.first().and_then(|method| method.encryption()) {
        None => initiating.send(cx, None)?,
        Some(_) => initiating.ask_for_key(cx),
    }
    Ok(initiating)
}

impl Initiating {
    /// HDR(CKY-I,0), SA, KE, Ni, IDii, VID … -->
    fn send(&mut self, cx: &mut Context, sealing: Option<Envelope>) -> Result<(), Error> {
        let connection = &self.initiation.connection;
        let requests = self.methods.first().into_iter();
        let requests = requests.flat_map(|method| certificate_requests(cx, method, Role::Responder));
        let shown = sealing.and_then(|envelope| own_certificate(cx, connection, envelope.form));
        let private = self.private.as_ref().ok_or_else(|| Error::Local("it was sent before".to_owned()))?;
        let letter = Letter {
            public: private.public(),
            nonce: &self.nonce,
            identification: identification_of(&self.local),
            others: shown.into_iter().chain(requests).chain(marks(connection)).collect(),
        };
        let sealing = sealing.zip(self.addressee.as_ref());
        let hint = sealing.and_then(|(envelope, addressee)| addressee.hint(&envelope.suite));
        let said = letter.lay_out(sealing)?;
        let offer = offer_of(connection, &self.methods, &self.proposals)?;
        let payloads: Vec<_> = [offer].into_iter().chain(hint).chain(said).collect();
        let cutting = Cutting::towards(PeerAbilities::default(), connection.fragmentation);
        let message = encode(cx, Phase1Mode::Aggressive, self.spis, self.path, cutting, &payloads)?;
        cx.transmit(self.path, &message);
        self.repeating.replace(cx.now, message);
        Ok(())
    }

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
        let (Content::Clear(chain), Calling::Open) = (&datagram.content, &self.stage) else {
            return Some(Sa::Calling(self));
        };
        if self.addressee.is_some() {
            return Some(Sa::Calling(self.receive_sealed(cx, path, datagram, chain.clone())));
        }
        trace_received(cx, path, datagram, chain);
        let second = Second::new(path, datagram);
        let judged = self.judge(cx, second, &Contents::new(NAME, chain.clone()));
        self.go_on(cx, judged)
    }

    fn go_on(
        mut self: Box<Self>,
        cx: &mut Context,
        judged: Result<(Box<Secured>, Belief), Error>,
    ) -> Option<Sa> {
        match judged {
            Ok((secured, Belief::Proven(peer))) => self.believe(cx, secured, peer),
            Ok((secured, Belief::Depends(request, claim))) => {
                let awaited = Awaited::begin(cx, self.spis.initiator, Query::Trust(request));
                self.stage = Calling::Claimed(secured, claim, awaited);
                Some(Sa::Calling(self))
            }
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
        Second { responder, path, message }: Second,
        contents: &Contents<'_>,
    ) -> Result<(Box<Secured>, Belief), Error> {
        if responder.is_zero() {
            return Err(Misbehaviour::Other("its answer to message 1 has no cookie").into());
        }
        let connection = Arc::clone(&self.initiation.connection);
        let chosen =
            negotiation::accept_phase_1(&self.proposals, &self.methods, contents.security_association()?.0)
                .map_err(|fault| Misbehaviour::NotOffered(fault.to_string()))?;
        let (identification, body) = contents.identification()?;
        let remote = identity_of(identification);
        // Of a peer that is not who it must be, the keys serve to tell it so.
        let secret = secret_of(cx, chosen.method, &self.local, &remote);
        let secret = secret.or_else(|fault| check_identity(&connection, &remote).and(Err(fault)))?;
        let (public_r, nonce_r) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
        let private =
            self.private.take().ok_or(Misbehaviour::Other("an earlier answer of its was not valid"))?;
        let public_i = private.public().to_vec();
        let shared =
            private.finish(&public_r).map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
        let mut abilities = PeerAbilities::default();
        abilities.note(contents);
        let spis = IkeSpis { responder, ..self.spis };
        let nat = find_nat(&chosen.suite, spis, path, contents);
        let floated = nat::float(self.path, abilities.traversal, nat, connection.encap);
        let material = Material {
            id: self.id,
            mode: Phase1Mode::Aggressive,
            role: Role::Initiator,
            spis,
            method: chosen.method,
            source: KeySource::new(chosen.method, &chosen.suite, secret.as_ref())?,
            shared: &shared,
            nonces: Nonces { initiator: &self.nonce, responder: &nonce_r },
            public_i,
            public_r,
            sa_body: self.sa_body.clone(),
        };
        let (channel, transcript) =
            material.secure(cx, &chosen.suite, floated, nat, abilities, &connection)?;
        let belief =
            transcript.judge(Role::Initiator, &connection, &self.local, (&remote, body), contents)?;
        let authorities = contents.authorities();
        Ok((Box::new(Secured { channel, transcript, chosen, abilities, authorities, message }), belief))
    }

    /// The responder is who it says: that must be who the connection is for.
    fn believe(
        self: Box<Self>,
        cx: &mut Context,
        secured: Box<Secured>,
        peer: DeviceAuthenticated,
    ) -> Option<Sa> {
        match check_identity(&self.initiation.connection, peer.remote()) {
            Ok(()) => self.prove(cx, secured, peer),
            Err(fault) => part(cx, &self.initiation, secured.channel.path, secured.channel, fault),
        }
    }

    /// Proves who we are, or has that done.
    fn prove(
        mut self: Box<Self>,
        cx: &mut Context,
        mut secured: Box<Secured>,
        peer: DeviceAuthenticated,
    ) -> Option<Sa> {
        let connection = &self.initiation.connection;
        let body = identification_of(&self.local).to_body();
        let ours = (&self.local, body.as_slice());
        let authorities = secured.authorities.take();
        match secured.transcript.prove(Role::Initiator, connection, ours, authorities) {
            Proving::Ready(proof) => self.conclude(cx, *secured, peer, proof),
            Proving::Wanted(request) => {
                let awaited = Awaited::begin(cx, self.spis.initiator, Query::Sign(request));
                self.stage = Calling::Unsigned(secured, peer, awaited);
                Some(Sa::Calling(self))
            }
        }
    }

    /// HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)] -->
    fn conclude(
        self: Box<Self>,
        cx: &mut Context,
        secured: Secured,
        peer: DeviceAuthenticated,
        proof: Vec<Payload>,
    ) -> Option<Sa> {
        let Secured { mut channel, chosen, abilities, message: answered, .. } = secured;
        let Initiating { initiation, begun_at, .. } = *self;
        let connection = Arc::clone(&initiation.connection);
        let (spis, path) = (channel.spis, channel.path);
        let mut payloads = proof;
        payloads.extend(discovery(&chosen.suite, abilities.traversal, spis, path, &connection));
        if is_initial_contact(cx, &initiation, path, (peer.local(), peer.remote())) {
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
            answered: Some(Repeated::of(answered, message.clone())),
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
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// HDR(CKY-I,0), SA, KE, Ni, IDii, VID … -->
///
/// <-- HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R, NAT-D, NAT-D, VID …
pub(crate) fn respond(cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Option<Sa> {
    let Content::Clear(chain) = &datagram.content else { return None };
    let spis = IkeSpis { initiator: datagram.header.initiator_spi, responder: cx.next_ike_spi() };
    let first = First { message: Seen::new(datagram.bytes), path, spis };
    let result = match encrypted::form_of(chain) {
        Some(form) => encrypted::respond(cx, first, datagram, chain.clone(), form),
        None => {
            trace_received(cx, path, datagram, chain);
            answer(cx, first, &Contents::new(NAME, chain.clone()))
        }
    };
    match result {
        Ok(sa) => Some(sa),
        Err(fault) => {
            turn_away(cx, datagram.header.initiator_spi, path, fault);
            None
        }
    }
}

fn answer(cx: &mut Context, first: First, contents: &Contents<'_>) -> Result<Sa, Error> {
    let (offer, _) = contents.security_association()?;
    let remote = identity_of(contents.identification()?.0);
    let (connection, chosen) = offer_by_identity(cx, first.path, &remote, offer)?;
    admit(cx, first, contents, Caller { connection, chosen, remote, addressee: None })
}

fn admit(cx: &mut Context, first: First, contents: &Contents<'_>, caller: Caller) -> Result<Sa, Error> {
    let (_, sa_body) = contents.security_association()?;
    let (_, identification_body) = contents.identification()?;
    let (public_i, nonce_i) = (contents.key_exchange()?.to_vec(), contents.nonce()?.to_vec());
    let Caller { connection, chosen, remote, addressee } = caller;
    let (path, spis) = (first.path, first.spis);
    let (suite, local) = (chosen.suite, connection.own_identity(path));
    let secret = secret_of(cx, chosen.method, &local, &remote)?;
    let (public_r, shared) = (suite.key_exchange.key_exchange.respond(&public_i))
        .map_err(|fault| Misbehaviour::PublicValue(fault.to_string()))?;
    let mut abilities = PeerAbilities::default();
    abilities.note(contents);
    let nonce_r = cx.next_nonce();
    let material = Material {
        id: cx.next_ike_id(),
        mode: Phase1Mode::Aggressive,
        role: Role::Responder,
        spis,
        method: chosen.method,
        source: KeySource::new(chosen.method, &suite, secret.as_ref())?,
        shared: &shared,
        nonces: Nonces { initiator: &nonce_i, responder: &nonce_r },
        public_i,
        public_r: public_r.clone(),
        sa_body: sa_body.to_vec(),
    };
    // Whether there is a NAT, message 3 tells.
    let (channel, transcript) =
        material.secure(cx, &suite, path, NatFinding::NOTHING, abilities, &connection)?;
    let identification = identification_of(&local);
    let body = identification.to_body();
    let proving = transcript.prove(Role::Responder, &connection, (&local, &body), contents.authorities());
    let envelope = chosen.method.encryption().map(|form| Envelope { form, suite, sender: spis.responder });
    let addresses = addressee.as_ref().and_then(|addressee| addressee.addresses.clone());
    let unsent = Box::new(Unsent {
        first,
        answer: chosen.answer.clone(),
        public: public_r,
        nonce: nonce_r,
        identification,
        sealing: envelope.zip(addressee),
    });
    let stage = match proving {
        Proving::Ready(proof) => Called::Answered(unsent.send(cx, &channel, &connection, proof)?),
        Proving::Wanted(request) => {
            Called::Unsigned(unsent, Awaited::begin(cx, spis.responder, Query::Sign(request)))
        }
    };
    Ok(Sa::Called(Box::new(Responding {
        channel,
        transcript,
        chosen,
        abilities,
        addresses,
        remote,
        identification_body: identification_body.to_vec(),
        begun_at: cx.now,
        until: cx.now + cx.settings.half_open_timeout,
        origin: path.remote.ip(),
        complained: false,
        connection,
        stage,
    })))
}

impl Unsent {
    /// <-- HDR(CKY-I,CKY-R), SA, KE, Nr, IDir, HASH_R, NAT-D, NAT-D, VID …
    fn send(
        self,
        cx: &mut Context,
        channel: &Channel,
        connection: &Connection,
        proof: Vec<Payload>,
    ) -> Result<Repeated, Error> {
        let Unsent { first: First { message, path, .. }, answer, public, nonce, identification, sealing } =
            self;
        let mut others = bounded_chain(proof);
        others.extend(bounded_requests(certificate_requests(cx, channel.method, Role::Initiator)));
        others.extend(discovery(&channel.suite, channel.traversal, channel.spis, path, connection));
        others.extend(marks(connection));
        let letter = Letter { public: &public, nonce: &nonce, identification, others };
        let sealing = sealing.as_ref().map(|(envelope, addressee)| (*envelope, addressee));
        let mut payloads = vec![Payload::SecurityAssociation(vec![answer])];
        payloads.extend(letter.lay_out(sealing)?);
        let answer = encode(cx, Phase1Mode::Aggressive, channel.spis, path, channel.cutting, &payloads)?;
        cx.transmit(path, &answer);
        Ok(Repeated::of(message, answer))
    }
}

impl Responding {
    /// Handles what may be message 3.
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let Called::Answered(last) = &self.stage else { return Some(Sa::Called(self)) };
        let header = &datagram.header;
        let is_third = header.exchange_type == ExchangeType::V1_AGGRESSIVE && header.message_id == 0;
        if self.is_farewell(datagram) {
            return Some(self.part(cx, path));
        }
        if !is_third {
            // Whoever goes on to phase 2 has sent a message 3 that was lost; our answer once more asks for it.
            if matches!(datagram.content, Content::Encrypted(_)) {
                last.send(cx, path);
            }
            return Some(Sa::Called(self));
        }
        if last.repeat(cx, path, datagram.bytes) {
            return Some(Sa::Called(self));
        }
        match self.judge(cx, path, datagram) {
            Ok((third, Belief::Proven(peer))) => self.conclude(cx, third, peer),
            Ok((third, Belief::Depends(request, claim))) => {
                Some(Sa::Called(self.await_trust(cx, third, request, claim)))
            }
            Err(fault) => {
                self.complain(cx, path, fault);
                Some(Sa::Called(self))
            }
        }
    }

    /// HDR*, HASH_I, NAT-D, NAT-D, [N(INITIAL-CONTACT)] -->
    ///
    /// RFC 2409 §5 lets it come in the clear, too.
    fn judge(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) -> Result<(Third, Belief), Error> {
        let opened;
        let (chain, next_iv) = match &datagram.content {
            Content::Clear(chain) => (chain.clone(), self.channel.phase_1_iv().clone()),
            Content::Encrypted(ciphertext) => {
                opened = (self.channel.open(self.channel.phase_1_iv(), ciphertext))
                    .ok_or(Misbehaviour::Other("message 3 is not whole blocks of the cipher"))?;
                let chain = opened
                    .payloads(datagram.header.next_payload)
                    .map_err(|_| keys_differ(self.transcript.method, &self.remote))?;
                (chain, opened.next_iv.clone())
            }
            Content::Fragment(_) => {
                return Err(Misbehaviour::Other("message 3 comes in fragments that nobody announced").into());
            }
        };
        trace_received(cx, path, datagram, &chain);
        let contents = Contents::new(NAME, chain);
        let local = self.connection.own_identity(path);
        let theirs = (&self.remote, self.identification_body.as_slice());
        let belief = self.transcript.judge(Role::Responder, &self.connection, &local, theirs, &contents)?;
        let belief = match belief {
            Belief::Proven(peer) => Belief::Proven(peer.within(self.addresses.clone())),
            depends @ Belief::Depends(..) => depends,
        };
        let nat = find_nat(&self.channel.suite, self.channel.spis, path, &contents);
        Ok((Third { path, contact: contact_of(&contents), nat, next_iv }, belief))
    }

    fn conclude(
        mut self: Box<Self>,
        cx: &mut Context,
        third: Third,
        peer: DeviceAuthenticated,
    ) -> Option<Sa> {
        let Third { path, contact, nat, next_iv } = third;
        if let Err(fault) = peer.check_unique(cx, &self.connection, contact) {
            self.complain(cx, path, fault);
            return Some(Sa::Called(self));
        }
        let Responding { connection, mut channel, chosen, abilities, begun_at, .. } = *self;
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
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// Finds the pre-shared key of two ends that both have said who they are, where there is to be one.
fn secret_of(
    cx: &Context,
    method: &Method,
    local: &Identity,
    remote: &Identity,
) -> Result<Option<Secret<Vec<u8>>>, Error> {
    match method.keying() {
        Keying::PreSharedKey => {}
        Keying::Signature | Keying::Encryption => return Ok(None),
    }
    cx.shared_secret(local, remote).cloned().map(Some).ok_or_else(|| {
        let sentence = format!("no pre-shared key is configured for {local} (here) and {remote} (the peer)");
        Error::AuthenticationFailed(sentence)
    })
}

/// Whoever encrypts message 3 otherwise than we read it most likely has another pre-shared key.
fn keys_differ(method: &Method, remote: &Identity) -> Error {
    Error::AuthenticationFailed(match method.keying() {
        Keying::PreSharedKey => {
            format!("the pre-shared keys of {remote} (the peer) and here differ, or message 3 was damaged")
        }
        Keying::Signature | Keying::Encryption => {
            "message 3 was damaged, or was made with other keys".to_owned()
        }
    })
}
