//! Aggressive mode with public key encryption: its messages 1 and 2 (RFC 2409 §5.2, §5.3).
//!
//! ```text
//!   Initiator                                                                 Responder
//!   HDR, SA, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, VID …           -->           1
//!               <--   HDR, SA, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, HASH_R, NAT-D, VID …    2
//!
//!   in the revised form, where only HASH_R is in the clear of all that follows a nonce:
//!   HDR, SA, [HASH(1),] <Ni_b>PubKey_r, <KE_b>Ke_i, <IDii_b>Ke_i, [<Cert-I_b>Ke_i,] <VID_b>Ke_i …   -->   1
//!               <--   HDR, SA, <Nr_b>PubKey_i, <KE_b>Ke_r, <IDir_b>Ke_r, HASH_R, <NAT-D_b>Ke_r …         2
//!
//!   initiator   ──Trust──► message 1                    message 2 ──Decrypt──► message 3: established
//!   responder   message 1 ──Decrypt──► ──Trust──► message 2
//! ```
//!
//! Nothing is agreed on when message 1 is encrypted, so the initiator offers one combination of algorithms, and the
//! responder looks at the first. Until it can read who calls, it is [`Hearing`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v1::{Chain, Datagram};

use super::state::{Caller, Calling, First, Second, Unread};
use super::waiting::{UNKNOWN, UNREAD};
use super::{Initiating, NAME, admit};
use crate::authentication::v1::Belief;
use crate::context::Context;
use crate::credentials::{Decrypted, Recipient, TrustedKey};
use crate::error::{Error, Misbehaviour};
use crate::io::{Answer, Path, QueryId, TimeoutReason};
use crate::v1::Sa;
use crate::v1::contents::Contents;
use crate::v1::negotiation;
use crate::v1::phase_1::{Awaited, identity_of, offer_by_identity, recipients_of_offer, turn_away};
use crate::v1::public_key_encryption::{
    Addressee, Envelope, Opened, Sealed, conceal, form_offered, question_of_key,
};
use crate::v1::repeated::Seen;
use crate::{Connection, EncryptionForm, Identity, Role};

// --- Initiator -----------------------------------------------------------------------------------------------------

impl Initiating {
    /// Asks for the responder's key, to which message 1 is to be encrypted.
    pub(super) fn ask_for_key(&mut self, cx: &mut Context) {
        let connection = &self.initiation.connection;
        let question = question_of_key(connection, &connection.expected_identity(self.path), Vec::new());
        self.stage = Calling::Unaddressed(Awaited::begin(cx, self.spis.initiator, question));
    }

    /// HDR, SA, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, VID … -->
    pub(super) fn address(
        mut self: Box<Self>,
        cx: &mut Context,
        trusted: Result<TrustedKey, String>,
    ) -> Option<Sa> {
        let remote = self.initiation.connection.expected_identity(self.path);
        let sent = Addressee::new(&remote, trusted).and_then(|addressee| {
            self.addressee = Some(addressee);
            let envelope = self.envelope(self.spis.initiator)?;
            self.send(cx, Some(envelope))
        });
        match sent {
            Ok(()) => Some(Sa::Calling(self)),
            Err(fault) => self.fail(cx, fault),
        }
    }

    /// One combination is offered: it is how both messages are encrypted.
    fn envelope(&self, sender: IkeSpi) -> Result<Envelope, Error> {
        let form = self.methods.first().and_then(|method| method.encryption());
        let suite = negotiation::first_suite(&self.proposals);
        let (form, suite) = form.zip(suite).ok_or(Misbehaviour::Other("it encrypts unasked"))?;
        Ok(Envelope { form, suite, sender })
    }

    /// <-- HDR, SA, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, HASH_R, NAT-D, VID …
    pub(super) fn receive_sealed(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Box<Self> {
        let second = Second::new(path, datagram);
        let envelope = self.envelope(second.responder);
        match envelope.and_then(|envelope| envelope.receive(cx, path, datagram, NAME, chain)) {
            Ok(sealed) => {
                let recipient = Recipient::new(Arc::clone(&self.initiation.connection), self.path);
                let question = sealed.question(Role::Initiator, vec![recipient]);
                let awaited = Awaited::begin(cx, self.spis.initiator, question);
                self.stage = Calling::Unread(Box::new(Unread { second, sealed }), awaited);
            }
            Err(fault) => {
                self.refused.get_or_insert(fault.into());
            }
        }
        self
    }

    /// Goes on with message 2. Whatever is wrong with it may be a forger's doing: a better one may yet come.
    pub(super) fn read(
        mut self: Box<Self>,
        cx: &mut Context,
        unread: Unread,
        decrypted: Result<Decrypted, String>,
    ) -> Option<Sa> {
        let judged = unread.sealed.open(2, decrypted).and_then(|opened| {
            let contents = opened.contents(NAME)?;
            let remote = identity_of(contents.identification()?.0);
            let addressee = self.addressee.clone();
            let addressee = addressee.ok_or_else(|| Error::Local("nothing was encrypted".to_owned()))?;
            if remote != addressee.identity {
                let sentence = format!("the peer is {remote}; configured is {}", addressee.identity);
                return Err(Error::AuthenticationFailed(sentence));
            }
            let (secured, belief) = self.judge(cx, unread.second, &contents)?;
            Ok(match belief {
                Belief::Proven(peer) => (secured, Belief::Proven(peer.within(addressee.addresses))),
                depends @ Belief::Depends(..) => (secured, depends),
            })
        });
        self.go_on(cx, judged.map_err(|fault| conceal(fault, 2)))
    }
}

impl Second {
    pub(super) fn new(path: Path, datagram: &Datagram<'_>) -> Second {
        let message = Seen::new(datagram.bytes);
        Second { responder: datagram.header.responder_spi, path, message }
    }
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// The peer began, and what it said is being read.
pub(crate) struct Hearing {
    first: First,
    stage: Stage,
}

enum Stage {
    /// Message 1 waits for our private key to decrypt it.
    Unread(Sealed, Awaited),
    /// Message 2 waits for the key that it is to be encrypted to.
    Unaddressed(Opened, Arc<Connection>, Identity, Awaited),
}

/// Tells whether what a stranger says is encrypted, and how.
pub(super) fn form_of(chain: &Chain<'_>) -> Option<EncryptionForm> {
    let contents = Contents::new(NAME, chain.clone());
    contents.security_association().ok().and_then(|(offer, _)| form_offered(offer))
}

/// HDR, SA, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, VID … -->
pub(super) fn respond(
    cx: &mut Context,
    first: First,
    datagram: &Datagram<'_>,
    chain: Chain<'_>,
    form: EncryptionForm,
) -> Result<Sa, Error> {
    let contents = Contents::new(NAME, chain.clone());
    let offer = first_of(contents.security_association()?.0);
    let (recipients, chosen) = recipients_of_offer(cx, first.path, &offer)?;
    let envelope = Envelope { form, suite: chosen.suite, sender: first.spis.initiator };
    let sealed = envelope.receive(cx, first.path, datagram, NAME, chain)?;
    let question = sealed.question(Role::Responder, recipients);
    let awaited = Awaited::begin(cx, first.spis.responder, question);
    Ok(Sa::Hearing(Box::new(Hearing { first, stage: Stage::Unread(sealed, awaited) })))
}

/// RFC 2409 §5: what is used to encrypt an offer cannot be negotiated by it.
fn first_of(offer: &[wire::v1::Proposal]) -> Vec<wire::v1::Proposal> {
    let transforms = |proposal: &wire::v1::Proposal| proposal.transforms.iter().take(1).cloned().collect();
    let first = offer.iter().take(1);
    first
        .map(|proposal| wire::v1::Proposal { transforms: transforms(proposal), ..proposal.clone() })
        .collect()
}

impl Hearing {
    /// Goes on with an answer from outside.
    pub(crate) fn handle_answer(
        self: Box<Self>,
        cx: &mut Context,
        query: QueryId,
        answer: Answer,
    ) -> Option<Sa> {
        if !self.awaited().is(query) {
            return Some(Sa::Hearing(self));
        }
        let Hearing { first, stage } = *self;
        let (initiator, path) = (first.spis.initiator, first.path);
        let result = match (stage, answer) {
            (Stage::Unread(sealed, _), Answer::Decrypted(decrypted)) => read(cx, first, &sealed, decrypted),
            (Stage::Unaddressed(opened, connection, remote, _), Answer::Trusted(trusted)) => {
                address(cx, first, &opened, (connection, remote), trusted)
            }
            (Stage::Unread(..), _) => Err(Error::Local(UNREAD.to_owned())),
            (Stage::Unaddressed(..), _) => Err(Error::Local(UNKNOWN.to_owned())),
        };
        match result {
            Ok(sa) => Some(sa),
            Err(fault) => {
                turn_away(cx, initiator, path, conceal(fault, 1));
                None
            }
        }
    }

    /// Stops waiting for somebody outside, if that is due.
    pub(crate) fn handle_timeout(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        if !self.awaited().is_over(cx) {
            return Some(Sa::Hearing(self));
        }
        let why = match self.stage {
            Stage::Unread(..) => UNREAD,
            Stage::Unaddressed(..) => UNKNOWN,
        };
        turn_away(cx, self.first.spis.initiator, self.first.path, Error::Local(why.to_owned()));
        None
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        (self.awaited().until, TimeoutReason::Outside)
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.first.spis.responder
    }

    /// Gives the address from which it was begun.
    pub(crate) fn address(&self) -> IpAddr {
        self.first.path.remote.ip()
    }

    fn awaited(&self) -> &Awaited {
        match &self.stage {
            Stage::Unread(_, awaited) | Stage::Unaddressed(_, _, _, awaited) => awaited,
        }
    }
}

/// Message 1 is decrypted: finds out whose key it is to be answered with.
fn read(
    cx: &mut Context,
    first: First,
    sealed: &Sealed,
    decrypted: Result<Decrypted, String>,
) -> Result<Sa, Error> {
    let opened = sealed.open(1, decrypted)?;
    let contents = opened.contents(NAME)?;
    let offer = first_of(contents.security_association()?.0);
    let remote = identity_of(contents.identification()?.0);
    let (connection, _) = offer_by_identity(cx, first.path, &remote, &offer)?;
    let question = question_of_key(&connection, &remote, contents.certificates()?);
    let awaited = Awaited::begin(cx, first.spis.responder, question);
    let stage = Stage::Unaddressed(opened, connection, remote, awaited);
    Ok(Sa::Hearing(Box::new(Hearing { first, stage })))
}

/// <-- HDR, SA, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, HASH_R, NAT-D, VID …
fn address(
    cx: &mut Context,
    first: First,
    opened: &Opened,
    (connection, remote): (Arc<Connection>, Identity),
    trusted: Result<TrustedKey, String>,
) -> Result<Sa, Error> {
    let addressee = Some(Addressee::new(&remote, trusted)?);
    let contents = opened.contents(NAME)?;
    let offer = first_of(contents.security_association()?.0);
    let methods = crate::v1::method::methods_of(cx, &connection, Role::Responder);
    let chosen = negotiation::choose_phase_1(&connection.proposals, &methods, &offer)?;
    admit(cx, first, &contents, Caller { connection, chosen, remote, addressee })
}
