//! XAuth: once phase 1 has proven which device is there, a name and a password tell who uses it
//! (draft-beaulieu-ike-xauth-02, as it is deployed).
//!
//! ```text
//!   Client                                               Server
//!                                                 <--    ATTR(REQUEST: USER-NAME, USER-PASSWORD)
//!   ATTR(REPLY: USER-NAME, USER-PASSWORD)         -->    is it so?
//!                                                 <--    ATTR(SET: STATUS)
//!   ATTR(ACK: STATUS)                             -->    both ends go on, or part
//! ```
//!
//! Each line of two is a transaction. Until they are over there is no ISAKMP SA for anything else: what the peer sends
//! early, it sends again. The password crosses the wire as it is, protected by phase 1 alone: so whoever knows the
//! pre-shared key of a whole group can pose as its server.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::registry::v1::{ConfigurationAttributeType, ConfigurationType, ProtocolId};
use wire::v1::{Attribute, Attributes, Content, Datagram};

use super::Sa;
use super::channel::Iv;
use super::closed::{Closed, Farewell};
use super::contents::Contents;
use super::informational;
use super::phase_1::{Outcome, check_unique, connecting};
use super::transaction::{self, Begun, Transactions};
use crate::authentication::PeerAuthenticated;
use crate::authentication::v1::user_of;
use crate::context::{Context, Initiation};
use crate::error::{Error, Failure, Misbehaviour};
use crate::io::{Path, TimeoutReason};
use crate::status::IkeSaStatus;
use crate::{Xauth, limits};

const NAME: &str = "XAuth";

/// Phase 1 is over, and a user's password is awaited or given.
pub(crate) struct Introducing {
    outcome: Outcome,
    /// What the peer asked or told, and we answered.
    transactions: Transactions,
    step: Step,
    /// When a client stops waiting.
    until: Instant,
}

/// How far it is.
enum Step {
    /// Client: the server is to ask, or to tell how it went.
    Client,
    /// Server: we have asked.
    Asked(Begun),
    /// Server: we have told the client that its user is believed.
    Accepted(Begun, PeerAuthenticated),
    /// Server: we have told it that he is not.
    Refused(Begun),
    /// Client: the server does not believe us, and may not know that we know.
    Over,
}

/// Begins after phase 1: the server asks, the client waits for that.
pub(crate) fn begin(cx: &mut Context, mut outcome: Outcome) -> Option<Sa> {
    let until = cx.now + limits::XAUTH_WAIT;
    let step = match outcome.connection.xauth {
        Xauth::None | Xauth::Ours(_) => Step::Client,
        Xauth::Theirs => {
            let wanted = [
                ConfigurationAttributeType::XAUTH_USER_NAME,
                ConfigurationAttributeType::XAUTH_USER_PASSWORD,
            ];
            let wanted = wanted.map(|wanted| Attribute::octets(wanted.0, []));
            let request = ConfigurationType::REQUEST;
            match transaction::begin(&mut outcome.channel, cx, request, wanted.to_vec()) {
                Ok(begun) => Step::Asked(begun),
                Err(fault) => {
                    cx.fail(&[], Some(&outcome.connection.name), Some(outcome.channel.path), fault.into());
                    return None;
                }
            }
        }
    };
    let transactions = Transactions::default();
    Some(Sa::Introducing(Box::new(Introducing { outcome, transactions, step, until })))
}

impl Introducing {
    /// Handles a message that names this ISAKMP SA.
    pub(crate) fn handle_datagram(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        let header = &datagram.header;
        if header.message_id == 0 {
            self.outcome.last.repeat(cx, &self.outcome.channel, path, datagram);
            return Some(Sa::Introducing(self));
        }
        if self.goes_on(datagram) {
            return self.establish(cx)?.handle_datagram(cx, path, datagram);
        }
        match (header.exchange_type, &datagram.content) {
            (ExchangeType::V1_TRANSACTION, _) => self.handle_transaction(cx, path, datagram),
            (ExchangeType::V1_INFORMATIONAL, Content::Encrypted(ciphertext)) => {
                if self.is_deleted(cx, datagram, ciphertext) {
                    let sentence = "the peer ended phase 1 before it had said whether it believes the user";
                    self.fail(cx, Error::AuthenticationFailed(sentence.to_owned()).into());
                    return None;
                }
                Some(Sa::Introducing(self))
            }
            _ => Some(Sa::Introducing(self)),
        }
    }

    fn handle_transaction(
        mut self: Box<Self>,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Option<Sa> {
        if self.transactions.repeat(cx, path, datagram) {
            return Some(Sa::Introducing(self));
        }
        let message_id = datagram.header.message_id;
        let ours = match &self.step {
            Step::Asked(begun) | Step::Accepted(begun, _) | Step::Refused(begun) => {
                (begun.message_id == message_id).then(|| begun.iv.clone())
            }
            Step::Client | Step::Over => None,
        };
        let channel = &mut self.outcome.channel;
        let iv = ours.clone().unwrap_or_else(|| channel.phase_2_iv(message_id));
        let Some((attributes, next_iv)) = transaction::read(channel, cx, path, datagram, &iv) else {
            return Some(Sa::Introducing(self));
        };
        if ours.is_none() && !channel.use_message_id(message_id) {
            return Some(Sa::Introducing(self));
        }
        self.outcome.last.unconfirmed = None;
        match self.step {
            Step::Client if ours.is_none() => self.answer(cx, datagram, attributes, &next_iv),
            Step::Asked(_) if ours.is_some() => self.judge(cx, &attributes),
            Step::Accepted(..) if ours.is_some() => self.establish(cx),
            Step::Refused(_) if ours.is_some() => self.part(cx),
            Step::Client | Step::Asked(_) | Step::Accepted(..) | Step::Refused(_) | Step::Over => {
                Some(Sa::Introducing(self))
            }
        }
    }
}

// --- Client --------------------------------------------------------------------------------------------------------

impl Introducing {
    /// <-- ATTR(REQUEST: USER-NAME, USER-PASSWORD), or ATTR(SET: STATUS)
    ///
    /// ATTR(REPLY: USER-NAME, USER-PASSWORD), or ATTR(ACK: STATUS) -->
    fn answer(
        mut self: Box<Self>,
        cx: &mut Context,
        datagram: &Datagram<'_>,
        asked: Attributes,
        iv: &Iv,
    ) -> Option<Sa> {
        let status = asked.find(ConfigurationAttributeType::XAUTH_STATUS).cloned();
        let (configuration_type, attributes) = match (asked.configuration_type, &status) {
            (ConfigurationType::REQUEST, _) => match self.credentials(cx, &asked) {
                Ok(attributes) => (ConfigurationType::REPLY, attributes),
                Err(fault) => {
                    self.fail(cx, fault.into());
                    return self.part(cx);
                }
            },
            (ConfigurationType::SET, Some(status)) => {
                let acknowledged = Attribute::octets(status.attribute_type, []);
                (ConfigurationType::ACK, vec![acknowledged])
            }
            _ => return Some(Sa::Introducing(self)),
        };
        let answer = Attributes { configuration_type, identifier: asked.identifier, attributes };
        match transaction::answer(&self.outcome.channel, cx, datagram, iv, answer) {
            Ok(answered) => self.transactions.note(datagram.header.message_id, answered),
            Err(fault) => {
                self.fail(cx, fault.into());
                return None;
            }
        }
        match status.as_ref().map(Attribute::as_number) {
            None => Some(Sa::Introducing(self)),
            Some(Some(ACCEPTED)) => {
                let peer = self.outcome.peer.without_user(&self.outcome.connection)?;
                Some(self.outcome.establish(cx, peer, self.transactions))
            }
            Some(_) => {
                let user = self.user();
                let sentence = format!("the peer does not believe user {user}: name or password differ");
                self.fail(cx, Error::AuthenticationFailed(sentence).into());
                self.step = Step::Over;
                self.until = cx.now + limits::CLOSED_SA_LINGER;
                Some(Sa::Introducing(self))
            }
        }
    }

    /// Gives what the server asks for.
    fn credentials(&self, cx: &Context, asked: &Attributes) -> Result<Vec<Attribute>, Error> {
        let user = self.user();
        let mut attributes = Vec::new();
        for attribute in &asked.attributes {
            let octets = match ConfigurationAttributeType(attribute.attribute_type) {
                ConfigurationAttributeType::XAUTH_USER_NAME => user.as_bytes().to_vec(),
                ConfigurationAttributeType::XAUTH_USER_PASSWORD => {
                    let password = cx.password_of(&user_of(user.as_bytes()));
                    let password = password
                        .ok_or_else(|| Error::Local(format!("no password is configured for user {user}")))?;
                    password.as_slice().to_vec()
                }
                // The generic kind: a name and a password.
                ConfigurationAttributeType::XAUTH_TYPE if attribute.as_number() == Some(0) => {
                    attributes.push(attribute.clone());
                    continue;
                }
                ConfigurationAttributeType::XAUTH_TYPE
                | ConfigurationAttributeType::XAUTH_PASSCODE
                | ConfigurationAttributeType::XAUTH_CHALLENGE
                | ConfigurationAttributeType::XAUTH_NEXT_PIN => {
                    let what = "the peer wants more of the user than a name and a password";
                    return Err(Misbehaviour::Other(what).into());
                }
                _ => continue,
            };
            attributes.push(Attribute::octets(attribute.attribute_type, octets));
        }
        Ok(attributes)
    }

    fn user(&self) -> String {
        match &self.outcome.connection.xauth {
            Xauth::Ours(user) => user.clone(),
            Xauth::None | Xauth::Theirs => String::new(),
        }
    }
}

// --- Server --------------------------------------------------------------------------------------------------------

impl Introducing {
    /// ATTR(REPLY: USER-NAME, USER-PASSWORD) -->
    ///
    /// <-- ATTR(SET: STATUS)
    fn judge(mut self: Box<Self>, cx: &mut Context, reply: &Attributes) -> Option<Sa> {
        let judged = self.believed(cx, reply);
        let status = if judged.is_ok() { ACCEPTED } else { REFUSED };
        let status = Attribute::number(ConfigurationAttributeType::XAUTH_STATUS.0, status);
        let begun = transaction::begin(&mut self.outcome.channel, cx, ConfigurationType::SET, vec![status]);
        match (begun, judged) {
            (Ok(begun), Ok(peer)) => self.step = Step::Accepted(begun, peer),
            (Ok(begun), Err(fault)) => {
                self.fail(cx, fault.into());
                self.step = Step::Refused(begun);
            }
            (Err(fault), _) => {
                self.fail(cx, fault.into());
                return None;
            }
        }
        Some(Sa::Introducing(self))
    }

    fn believed(&self, cx: &Context, reply: &Attributes) -> Result<PeerAuthenticated, Error> {
        let given = |wanted: ConfigurationAttributeType| {
            reply.find(wanted).map(Attribute::to_octets).filter(|octets| !octets.is_empty())
        };
        let name = given(ConfigurationAttributeType::XAUTH_USER_NAME);
        let password = given(ConfigurationAttributeType::XAUTH_USER_PASSWORD);
        let (Some(name), Some(password)) = (name, password) else {
            return Err(Error::AuthenticationFailed(
                "the peer's user gave no name or no password".to_owned(),
            ));
        };
        let peer = self.outcome.peer.with_user(cx, &name, &password)?;
        let ends = (peer.local(), peer.remote());
        check_unique(cx, &self.outcome.connection, ends, self.outcome.contact)?;
        Ok(peer)
    }

    /// ATTR(ACK: STATUS) -->
    fn establish(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        match self.step {
            Step::Accepted(_, peer) => Some(self.outcome.establish(cx, peer, self.transactions)),
            Step::Client | Step::Asked(_) | Step::Refused(_) | Step::Over => None,
        }
    }

    /// Tells whether the client does what it can do only if it knows that its user is believed: its ACK was lost.
    fn goes_on(&self, datagram: &Datagram<'_>) -> bool {
        let Step::Accepted(begun, _) = &self.step else { return false };
        let (channel, message_id) = (&self.outcome.channel, datagram.header.message_id);
        let is_known = message_id == begun.message_id || channel.knows_message_id(message_id);
        let Content::Encrypted(ciphertext) = &datagram.content else { return false };
        if is_known {
            return false;
        }
        let opened = channel.open(&channel.phase_2_iv(message_id), ciphertext);
        let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
        chain.is_some_and(|chain| channel.check_hash(&Contents::new(NAME, chain), message_id, &[]).is_ok())
    }

    /// Ends phase 1, and says so.
    fn part(self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let mut channel = self.outcome.channel;
        let farewell = Farewell::ours(informational::farewell(&mut channel, cx, Vec::new()).ok());
        let until = cx.now + limits::CLOSED_SA_LINGER;
        Some(Sa::Closed(Box::new(Closed::new(channel, farewell, until))))
    }
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// What XAUTH-STATUS says.
const ACCEPTED: u64 = 1;
const REFUSED: u64 = 0;

impl Introducing {
    /// Tells whether an informational message is authentic and deletes the ISAKMP SA.
    fn is_deleted(&mut self, cx: &mut Context, datagram: &Datagram<'_>, ciphertext: &[u8]) -> bool {
        let channel = &mut self.outcome.channel;
        let message_id = datagram.header.message_id;
        let opened = channel.open(&channel.phase_2_iv(message_id), ciphertext);
        let chain = opened.as_ref().and_then(|opened| opened.payloads(datagram.header.next_payload).ok());
        let Some(contents) = chain.map(|chain| Contents::new(NAME, chain)) else {
            cx.note_forged();
            return false;
        };
        if channel.check_hash(&contents, message_id, &[]).is_err() || !channel.use_message_id(message_id) {
            cx.note_forged();
            return false;
        }
        contents.deletes().any(|delete| delete.protocol == ProtocolId::ISAKMP)
    }

    /// Tells those who wait, or people, that it came to nothing.
    fn fail(&mut self, cx: &mut Context, failure: Failure) {
        let path = self.outcome.channel.path;
        match self.outcome.initiation.take() {
            Some(initiation) => cx.fail_initiation(&initiation, path, failure),
            None => cx.fail(&[], Some(&self.outcome.connection.name), Some(path), failure),
        }
    }

    pub(crate) fn handle_timeout(mut self: Box<Self>, cx: &mut Context) -> Option<Sa> {
        let path = self.outcome.channel.path;
        let unconfirmed = &mut self.outcome.last.unconfirmed;
        if unconfirmed.as_mut().is_some_and(|repeating| cx.repeat(path, repeating)) {
            *unconfirmed = None;
        }
        let (is_over, begun_at) = match &mut self.step {
            Step::Client => (cx.now >= self.until, self.outcome.begun_at),
            Step::Over if cx.now >= self.until => return None,
            Step::Over => return Some(Sa::Introducing(self)),
            Step::Asked(begun) | Step::Accepted(begun, _) => {
                (cx.repeat(path, &mut begun.repeating), begun.begun_at)
            }
            Step::Refused(begun) => {
                let is_over = cx.repeat(path, &mut begun.repeating);
                return if is_over { self.part(cx) } else { Some(Sa::Introducing(self)) };
            }
        };
        if !is_over {
            return Some(Sa::Introducing(self));
        }
        let failure = cx.no_answer(path, NAME, begun_at);
        match self.outcome.initiation.take() {
            Some(initiation) => cx.retry_or_fail(initiation, path, failure),
            None => self.fail(cx, failure),
        }
        self.part(cx)
    }

    pub(crate) fn deadline(&self) -> (Instant, TimeoutReason) {
        let own = match &self.step {
            Step::Client => (self.until, TimeoutReason::HalfOpen),
            Step::Over => (self.until, TimeoutReason::Linger),
            Step::Asked(begun) | Step::Accepted(begun, _) | Step::Refused(begun) => {
                (begun.repeating.deadline(), TimeoutReason::Retransmission)
            }
        };
        let unconfirmed = self.outcome.last.unconfirmed.as_ref();
        let unconfirmed = unconfirmed.map(|last| (last.deadline(), TimeoutReason::Retransmission));
        unconfirmed.into_iter().chain([own]).min().unwrap_or(own)
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.outcome.channel.our_spi()
    }

    /// Gives the address of a peer whose user is not known yet.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        match self.step {
            Step::Asked(_) | Step::Accepted(..) | Step::Refused(_) => {
                Some(self.outcome.channel.path.remote.ip())
            }
            Step::Client | Step::Over => None,
        }
    }

    pub(crate) fn initiation(&mut self) -> Option<&mut Initiation> {
        self.outcome.initiation.as_mut()
    }

    pub(crate) fn into_initiation(mut self: Box<Self>) -> Result<(Initiation, Path), Sa> {
        match self.outcome.initiation.take() {
            Some(initiation) => Ok((initiation, self.outcome.channel.path)),
            None => Err(Sa::Introducing(self)),
        }
    }

    /// Gives the snapshot of one that we want.
    pub(crate) fn status(&self) -> Option<IkeSaStatus> {
        let Outcome { channel, connection, peer, initiation, .. } = &self.outcome;
        initiation.as_ref()?;
        Some(IkeSaStatus {
            role: channel.role,
            local_identity: Some(peer.local().clone()),
            remote_identity: Some(peer.remote().clone()),
            method: Some(channel.method.number),
            suite: Some(channel.suite),
            nat: channel.nat(),
            tasks_active: vec!["XAUTH"],
            ..connecting(channel.id, connection.name.clone(), channel.mode, channel.spis, channel.path)
        })
    }
}
