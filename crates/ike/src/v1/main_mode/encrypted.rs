//! Main mode with public key encryption: its messages 3 and 4, which say who the ends are (RFC 2409 §5.2, §5.3).
//!
//! ```text
//!   Initiator                                                          Responder
//!   HDR, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, NAT-D …      -->          3
//!                           <--   HDR, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, NAT-D …   4
//!
//!   in the revised form:
//!   HDR, [HASH(1),] <Ni_b>PubKey_r, <KE_b>Ke_i, <IDii_b>Ke_i, [<Cert-I_b>Ke_i,] <NAT-D_b>Ke_i …   -->   3
//!                           <--   HDR, <Nr_b>PubKey_i, <KE_b>Ke_r, <IDir_b>Ke_r, <NAT-D_b>Ke_r …        4
//!
//!   initiator   message 2 ──Trust──► message 3          message 4 ──Decrypt──► message 5
//!   responder   message 3 ──Decrypt──► ──Trust──► message 4
//! ```
//!
//! The initiator must know beforehand whose key it encrypts to, so it calls only whom it can name. The responder finds
//! the initiator's key by its identity, once it can read that. What comes of a message that cannot be read, or was
//! tampered with, is either refused, always in the same words, or goes on with a nonce that the peer does not have, until
//! the hashes differ.

use std::sync::Arc;

use wire::isakmp::IkeSpi;
use wire::v1::{Chain, Datagram, Payload};

use super::introduction::{Introduced, Introduction};
use super::state::{Answered, Unaddressed, Unread};
use super::{Half, Initiating, NAME, Responding, Sent};
use crate::Role;
use crate::context::Context;
use crate::credentials::{Decrypted, Recipient, TrustedKey};
use crate::error::{Error, Misbehaviour};
use crate::io::Path;
use crate::v1::Sa;
use crate::v1::phase_1::{Awaited, find_connection, identification_of, identity_of, recipients};
use crate::v1::public_key_encryption::{
    Addressee, Envelope, Letter, Sealed, conceal, own_certificate, question_of_key,
};
use crate::v1::repeated::Seen;

// --- Initiator -----------------------------------------------------------------------------------------------------

impl Initiating {
    /// Asks for the responder's key, to which message 3 is to be encrypted.
    pub(super) fn ask_for_key(&mut self, cx: &mut Context, half: Box<Half>) {
        let connection = &self.initiation.connection;
        let question = question_of_key(connection, &connection.expected_identity(self.path), Vec::new());
        self.sent = Sent::Unaddressed(half, Awaited::begin(cx, self.spis.initiator, question));
    }

    /// HDR, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, NAT-D … -->
    pub(super) fn address(
        mut self: Box<Self>,
        cx: &mut Context,
        half: Box<Half>,
        trusted: Result<TrustedKey, String>,
    ) -> Option<Sa> {
        match self.send_sealed_key(cx, half, trusted) {
            Ok(()) => Some(Sa::Initiating(self)),
            Err(fault) => {
                cx.fail_initiation(&self.initiation, self.path, fault.into());
                None
            }
        }
    }

    fn send_sealed_key(
        &mut self,
        cx: &mut Context,
        mut half: Box<Half>,
        trusted: Result<TrustedKey, String>,
    ) -> Result<(), Error> {
        let connection = &self.initiation.connection;
        let addressee = Addressee::new(&connection.expected_identity(self.path), trusted)?;
        let envelope = envelope(&half, self.spis.initiator)?;
        let certificate = own_certificate(cx, connection, envelope.form).into_iter();
        let letter = Letter {
            public: half.private.public(),
            nonce: &half.nonce,
            identification: identification_of(&connection.own_identity(self.path)),
            others: certificate.chain(self.discovery(&half.chosen)).collect(),
        };
        let sealed = envelope.seal(&addressee, letter)?.into_iter();
        let payloads: Vec<_> = addressee.hint(&half.chosen.suite).into_iter().chain(sealed).collect();
        half.addressee = Some(addressee);
        self.send_key(cx, half, &payloads)
    }

    /// Gives to whom message 3 was encrypted, if it was.
    pub(super) fn addressee(&self) -> Option<&Addressee> {
        match &self.sent {
            Sent::Key(half) => half.addressee.as_ref(),
            Sent::Sa
            | Sent::Unaddressed(..)
            | Sent::Unread(..)
            | Sent::Unsigned(..)
            | Sent::Proof(_)
            | Sent::Claimed(..) => None,
        }
    }

    /// <-- HDR, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, NAT-D …
    pub(super) fn receive_sealed_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<(), Error> {
        let Sent::Key(half) = &self.sent else { return Ok(()) };
        let sealed = envelope(half, self.spis.responder)?.receive(cx, path, datagram, NAME, chain)?;
        let connection = Arc::clone(&self.initiation.connection);
        let local = connection.own_identity(self.path);
        let question = sealed.question(Role::Initiator, vec![Recipient { connection, local }]);
        self.sent = match std::mem::replace(&mut self.sent, Sent::Sa) {
            Sent::Key(half) => {
                let unread = Unread { sealed, message: Seen::new(datagram.bytes), path };
                let awaited = Awaited::begin(cx, self.spis.initiator, question);
                Sent::Unread(half, Box::new(unread), awaited)
            }
            other => other,
        };
        Ok(())
    }

    /// Goes on with message 4. Whatever is wrong with it may be a forger's doing: a better one may yet come.
    pub(super) fn read(
        mut self: Box<Self>,
        cx: &mut Context,
        half: Box<Half>,
        unread: &Unread,
        decrypted: Result<Decrypted, String>,
    ) -> Option<Sa> {
        let addressee = half.addressee.clone();
        self.sent = Sent::Key(half);
        let opened = addressee.ok_or_else(|| Error::Local("nothing was encrypted".to_owned()));
        let opened = opened.and_then(|addressee| Ok((unread.sealed.open(4, decrypted)?, addressee)));
        let result = opened.and_then(|(opened, addressee)| {
            let contents = opened.contents(NAME)?;
            let (identification, body) = contents.identification()?;
            let (remote, wanted) = (identity_of(identification), &addressee.identity);
            if remote != *wanted {
                let sentence = format!("the peer is {remote}; configured is {wanted}");
                return Err(Error::AuthenticationFailed(sentence));
            }
            let connection = Arc::clone(&self.initiation.connection);
            let introduced = Introduced { connection, body: body.to_vec(), addressee };
            self.finish_key(cx, unread.path, &contents, Introduction::WithKey(Box::new(introduced)))
        });
        if let Err(fault) = result {
            self.refused.get_or_insert(conceal(fault, 4).into());
        }
        Some(Sa::Initiating(self))
    }
}

fn envelope(half: &Half, sender: IkeSpi) -> Result<Envelope, Error> {
    let form = half.chosen.method.encryption().ok_or(Misbehaviour::Other("it encrypts unasked"))?;
    Ok(Envelope { form, suite: half.chosen.suite, sender })
}

// --- Responder -----------------------------------------------------------------------------------------------------

impl Responding {
    /// HDR, [HASH(1),] KE, <IDii_b>PubKey_r, <Ni_b>PubKey_r, NAT-D … -->
    pub(super) fn receive_sealed_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        chain: Chain<'_>,
    ) -> Result<(), Error> {
        if self.readings_left == 0 {
            cx.note_forged();
            return Ok(());
        }
        let envelope = self.envelope(self.spis.initiator)?;
        let sealed: Sealed = envelope.receive(cx, path, datagram, NAME, chain)?;
        let question = sealed.question(Role::Responder, recipients(cx, path, &self.chosen)?);
        let unread = Unread { sealed, message: Seen::new(datagram.bytes), path };
        self.readings_left -= 1;
        let awaited = Awaited::begin(cx, self.spis.responder, question);
        self.answered = Answered::Unread(Box::new(unread), awaited);
        Ok(())
    }

    fn envelope(&self, sender: IkeSpi) -> Result<Envelope, Error> {
        let form = self.chosen.method.encryption().ok_or(Misbehaviour::Other("it encrypts unasked"))?;
        Ok(Envelope { form, suite: self.chosen.suite, sender })
    }

    /// Message 3 is decrypted: finds out whose key it is to be answered with.
    pub(super) fn read(
        mut self: Box<Self>,
        cx: &mut Context,
        unread: Unread,
        decrypted: Result<Decrypted, String>,
    ) -> Option<Sa> {
        let path = unread.path;
        if let Err(fault) = self.ask_for_key(cx, unread, decrypted) {
            self.complain(cx, path, conceal(fault, 3));
        }
        Some(Sa::Responding(self))
    }

    fn ask_for_key(
        &mut self,
        cx: &mut Context,
        unread: Unread,
        decrypted: Result<Decrypted, String>,
    ) -> Result<(), Error> {
        let Unread { sealed, message, path } = unread;
        let opened = sealed.open(3, decrypted)?;
        let contents = opened.contents(NAME)?;
        let remote = identity_of(contents.identification()?.0);
        let connection = find_connection(cx, path, &remote, &self.chosen, |_| true)?;
        let question = question_of_key(&connection, &remote, contents.certificates()?);
        let awaited = Awaited::begin(cx, self.spis.responder, question);
        let unaddressed = Unaddressed { opened, message, path, connection, remote };
        self.answered = Answered::Unaddressed(Box::new(unaddressed), awaited);
        Ok(())
    }

    /// <-- HDR, KE, <IDir_b>PubKey_i, <Nr_b>PubKey_i, NAT-D …
    pub(super) fn answer_to(
        mut self: Box<Self>,
        cx: &mut Context,
        unaddressed: Unaddressed,
        trusted: Result<TrustedKey, String>,
    ) -> Option<Sa> {
        let path = unaddressed.path;
        if let Err(fault) = self.answer_sealed_key(cx, unaddressed, trusted) {
            self.complain(cx, path, conceal(fault, 3));
        }
        Some(Sa::Responding(self))
    }

    fn answer_sealed_key(
        &mut self,
        cx: &mut Context,
        unaddressed: Unaddressed,
        trusted: Result<TrustedKey, String>,
    ) -> Result<(), Error> {
        let Unaddressed { opened, message, path, connection, remote } = unaddressed;
        let addressee = Addressee::new(&remote, trusted)?;
        let contents = opened.contents(NAME)?;
        let body = contents.identification()?.1.to_vec();
        let source = super::Source { connection: Arc::clone(&connection), secret: None };
        let introduced = Introduced { connection, body, addressee };
        self.send_key(cx, (path, message), &contents, source, Introduction::WithKey(Box::new(introduced)))
    }

    /// Gives our half of the key exchange, encrypted to whoever has said who it is so.
    pub(super) fn half(
        &self,
        path: Path,
        (public, nonce): (&[u8], &[u8]),
        introduction: &Introduction,
        others: Vec<Payload>,
    ) -> Result<Vec<Payload>, Error> {
        match introduction {
            Introduction::WithProof => {
                let ours = [Payload::KeyExchange(public.to_vec()), Payload::Nonce(nonce.to_vec())];
                Ok(ours.into_iter().chain(others).collect())
            }
            Introduction::WithKey(introduced) => {
                let identification = identification_of(&introduced.connection.own_identity(path));
                let letter = Letter { public, nonce, identification, others };
                self.envelope(self.spis.responder)?.seal(&introduced.addressee, letter)
            }
        }
    }
}
