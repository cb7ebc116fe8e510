//! The protected channel that an IKE_SA_INIT exchange leaves behind: who is where, with which keys.
//!
//! It is secret and intact but says nothing of who the peer is; that is IKE_AUTH's affair. It carries every later
//! message of the IKE SA: sealed, cut into fragments where both ends allow (RFC 7383), opened and put together.

use crypto::Secret;
use sa::{Encapsulation, IkeSuite};
use wire::isakmp::{Flags, Header, IkeSpi, Version};
use wire::registry::{ExchangeType, NotifyType, PayloadType};
use wire::v2::{Datagram, HeaderFields, Notify, Payload, encrypted_prefix};

use super::child::Ends;
use super::fragmentation::Reassembly;
use super::keys::{IkeKeys, IkeSpis};
use super::protection::MessageProtection;
use crate::context::Context;
use crate::error::Error;
use crate::event::{Event, IkeKeyDisclosure, TraceDirection};
use crate::io::{IkeSaId, Path};
use crate::nat_detection::{Behind, NatFinding};
use crate::status::Nat;
use crate::{Encap, Identity, Role, limits};

/// The protected channel of one IKE SA.
#[derive(Debug)]
pub(crate) struct Channel {
    pub id: IkeSaId,
    pub role: Role,
    pub spis: IkeSpis,
    pub path: Path,
    pub nat: NatFinding,
    pub encapsulation: Encapsulation,
    pub fragments: Fragments,
    pub suite: IkeSuite,
    pub sk_d: Secret<Vec<u8>>,
    /// Whether a post-quantum pre-shared key is in SK_d.
    pub ppk: PpkUse,
    protection: MessageProtection,
}

/// Whether a post-quantum pre-shared key (PPK) is in the keys of an IKE SA (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PpkUse {
    /// None is.
    None,
    /// The one of this name.
    Mixed(Identity),
}

impl PpkUse {
    /// Gives the key's name.
    pub(crate) fn name(&self) -> Option<&Identity> {
        match self {
            PpkUse::None => None,
            PpkUse::Mixed(name) => Some(name),
        }
    }
}

/// Whether our messages are cut where they are long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragments {
    /// Never.
    Whole,
    /// Where a datagram would be longer than the configured size.
    Cut,
}

/// Request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// What a datagram of a protected message turned out to be.
#[derive(Debug)]
pub(crate) enum Opening<T> {
    /// Not the peer's: ignore it (RFC 7296 §2.21.4).
    Forged,
    /// A fragment; others are still to come.
    Incomplete,
    /// A whole message of the peer, readable or not.
    Complete(T),
}

/// What an authentic message says.
#[derive(Debug)]
pub(crate) struct Content {
    /// The type of the first payload in `octets`.
    pub first_payload: PayloadType,
    /// What was inside the Encrypted payload.
    pub octets: Vec<u8>,
    /// The same, read.
    pub payloads: Result<Vec<Payload>, wire::Malformed>,
}

/// What a channel is made of.
pub(crate) struct ChannelParts<'a> {
    pub id: IkeSaId,
    pub role: Role,
    pub spis: IkeSpis,
    pub path: Path,
    pub nat: NatFinding,
    pub encap: Encap,
    pub fragments: Fragments,
    pub suite: IkeSuite,
    pub keys: &'a IkeKeys,
}

impl Channel {
    /// Expands the keys.
    pub(crate) fn new(cx: &mut Context, parts: ChannelParts<'_>) -> Result<Channel, Error> {
        let ChannelParts { id, role, spis, path, nat, encap, fragments, suite, keys } = parts;
        let protection = protection(cx, spis, &suite, keys, role)?;
        let encapsulation = encapsulation(nat, encap);
        Ok(Channel {
            id,
            role,
            spis,
            path,
            nat,
            encapsulation,
            fragments,
            suite,
            sk_d: keys.sk_d.clone(),
            ppk: PpkUse::None,
            protection,
        })
    }

    /// Gives the SPI that we chose.
    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.spis.initiator,
            Role::Responder => self.spis.responder,
        }
    }

    /// Gives who is behind a NAT, for people.
    pub(crate) fn nat(&self) -> Nat {
        Nat { local: self.nat.local == Behind::Nat, remote: self.nat.remote == Behind::Nat }
    }

    /// Gives where the two ends are.
    pub(crate) fn ends(&self) -> Ends {
        Ends::between(self.path, self.nat)
    }

    /// Takes note of who is behind a NAT now, and of what Child SAs need therefore.
    pub(crate) fn set_nat(&mut self, nat: NatFinding, encap: Encap) {
        self.nat = nat;
        self.encapsulation = encapsulation(nat, encap);
    }

    /// Seals a message into its datagrams.
    pub(crate) fn seal(
        &self,
        cx: &mut Context,
        exchange_type: ExchangeType,
        kind: Kind,
        message_id: u32,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, Error> {
        let fragment_size = match self.fragments {
            Fragments::Whole => None,
            Fragments::Cut => Some(limits::datagram_octets(cx.settings.fragment_size, self.path.remote.ip())),
        };
        let fields = self.header_fields(exchange_type, kind, message_id);
        self.seal_in(cx, fields, fragment_size, payloads)
    }

    /// Seals a message that synchronizes counters: message id 0, and never cut (RFC 6311 §5.1, RFC 7383 §3).
    pub(crate) fn seal_synchronization(
        &self,
        cx: &mut Context,
        kind: Kind,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.seal_in(cx, self.header_fields(ExchangeType::INFORMATIONAL, kind, 0), None, payloads)
    }

    fn seal_in(
        &self,
        cx: &mut Context,
        fields: HeaderFields,
        fragment_size: Option<usize>,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, Error> {
        let datagrams = self
            .protection
            .seal(&fields, payloads, fragment_size, &mut *cx.random)
            .map_err(|fault| Error::Local(fault.to_string()))?;
        let octets = datagrams.iter().map(Vec::len).sum();
        let header = header_of(&fields);
        cx.trace(TraceDirection::Sent, self.path, &header, (datagrams.len(), octets), payloads);
        Ok(datagrams)
    }

    /// Seals a request that a notify fills, so that it makes one datagram of `octets`, or as close below as the cipher's
    /// blocks allow; and the datagrams in which it is repeated: the same, and fragments that every path takes.
    pub(crate) fn seal_probe(
        &self,
        cx: &mut Context,
        message_id: u32,
        octets: usize,
        filler: NotifyType,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
        let exchange_type = ExchangeType::INFORMATIONAL;
        let fields = header_fields(self.role, self.spis, exchange_type, Kind::Request, message_id);
        let data = self.protection.room(octets).saturating_sub(Notify::EMPTY_LEN);
        let payloads = [Payload::Notify(Notify::new(filler, vec![0; data]))];
        let mut seal = |fragment_size| {
            let sealed = self.protection.seal(&fields, &payloads, fragment_size, &mut *cx.random);
            sealed.map_err(|fault| Error::Local(fault.to_string()))
        };
        let whole = seal(None)?.concat();
        let mut repetition = vec![whole.clone()];
        let passes_anywhere = limits::least_datagram_octets(self.path.remote.ip());
        if self.fragments == Fragments::Cut && whole.len() > passes_anywhere {
            repetition.extend(seal(Some(passes_anywhere))?);
        }
        cx.trace(TraceDirection::Sent, self.path, &header_of(&fields), (1, whole.len()), &payloads);
        Ok((whole, repetition))
    }

    /// Tells whether a datagram was made with the peer's keys, and does nothing else with it.
    pub(crate) fn is_authentic(&self, datagram: &Datagram<'_>) -> bool {
        self.protection.open(datagram).is_ok()
    }

    /// Reads a message that came in one datagram, and does nothing else with it; `None` if that cannot be done, or if it was
    /// not made with the peer's keys.
    pub(crate) fn read_whole(&self, datagram: &Datagram<'_>) -> Option<Vec<Payload>> {
        let opened = self.protection.open(datagram).ok().filter(|opened| opened.fragment.is_none())?;
        wire::v2::decode_payloads(opened.first_payload, &opened.plaintext).ok()
    }

    /// Opens a datagram, and reads what it says; a fragment is put with those that came before.
    pub(crate) fn open(
        &self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        reassembly: &mut Reassembly,
    ) -> Opening<Result<Vec<Payload>, wire::Malformed>> {
        match self.open_content(cx, path, datagram, reassembly) {
            Opening::Forged => Opening::Forged,
            Opening::Incomplete => Opening::Incomplete,
            Opening::Complete(content) => Opening::Complete(content.payloads),
        }
    }

    /// Opens a datagram; a fragment is put with those that came before.
    pub(crate) fn open_content(
        &self,
        cx: &mut Context,
        path: Path,
        datagram: &Datagram<'_>,
        reassembly: &mut Reassembly,
    ) -> Opening<Content> {
        let fragment = datagram.encrypted.as_ref().and_then(|encrypted| encrypted.fragment);
        if fragment.is_some() {
            reassembly.forget_stale(cx.now, cx.settings.retransmission.patience());
        }
        if fragment.is_some_and(|fragment| !reassembly.wants(fragment)) {
            return Opening::Incomplete;
        }
        let Ok(opened) = self.protection.open(datagram) else {
            cx.note_forged();
            return Opening::Forged;
        };
        let (fragments, first_payload, octets) = match opened.fragment {
            None => (1, opened.first_payload, opened.plaintext),
            Some(number) => match reassembly.add(number, opened.first_payload, opened.plaintext) {
                None => return Opening::Incomplete,
                Some((first_payload, octets)) => (number.total.into(), first_payload, octets),
            },
        };
        let payloads = wire::v2::decode_payloads(first_payload, &octets);
        if let Ok(payloads) = &payloads {
            let size = (fragments, datagram.bytes.len());
            cx.trace(TraceDirection::Received, path, &datagram.header, size, payloads);
        }
        Opening::Complete(Content { first_payload, octets, payloads })
    }

    /// Gives the header of a message of ours.
    pub(crate) fn header_fields(
        &self,
        exchange_type: ExchangeType,
        kind: Kind,
        message_id: u32,
    ) -> HeaderFields {
        header_fields(self.role, self.spis, exchange_type, kind, message_id)
    }

    /// Goes on with new keys, and gives what can still open messages under the old ones.
    pub(crate) fn renew(&mut self, cx: &mut Context, keys: &IkeKeys) -> Result<MessageProtection, Error> {
        let protection = protection(cx, self.spis, &self.suite, keys, self.role)?;
        self.sk_d = keys.sk_d.clone();
        Ok(std::mem::replace(&mut self.protection, protection))
    }
}

fn encapsulation(nat: NatFinding, encap: Encap) -> Encapsulation {
    let is_translated = nat.local == Behind::Nat || nat.remote == Behind::Nat;
    if is_translated || encap == Encap::Always { Encapsulation::Udp } else { Encapsulation::None }
}

/// Expands the keys, and discloses them where that is wanted.
fn protection(
    cx: &mut Context,
    spis: IkeSpis,
    suite: &IkeSuite,
    keys: &IkeKeys,
    role: Role,
) -> Result<MessageProtection, Error> {
    if cx.settings.disclose_keys {
        cx.tell(Event::IkeKeys(IkeKeyDisclosure {
            version: Version::V2,
            initiator_spi: spis.initiator,
            responder_spi: spis.responder,
            suite: *suite,
            sk_ei: keys.sk_ei.clone(),
            sk_er: keys.sk_er.clone(),
            sk_ai: keys.sk_ai.clone(),
            sk_ar: keys.sk_ar.clone(),
        }));
    }
    MessageProtection::new(suite, keys, role).map_err(|fault| Error::Local(fault.to_string()))
}

/// Gives a message as it is before it is encrypted and cut, its lengths without what encryption adds (RFC 9242 §3.3.2).
pub(crate) fn plain_octets(
    fields: &HeaderFields,
    first_payload: PayloadType,
    content: &[u8],
) -> Result<Vec<u8>, Error> {
    let prefix = encrypted_prefix(fields, first_payload, None, content.len());
    let prefix = prefix.map_err(|fault| Error::Local(fault.to_string()))?;
    Ok([&prefix, content].concat())
}

/// Gives the header of a message of ours.
pub(crate) fn header_fields(
    role: Role,
    spis: IkeSpis,
    exchange_type: ExchangeType,
    kind: Kind,
    message_id: u32,
) -> HeaderFields {
    let role_flag = match role {
        Role::Initiator => Flags::INITIATOR,
        Role::Responder => Flags::NONE,
    };
    let kind_flag = match kind {
        Kind::Request => Flags::NONE,
        Kind::Response => Flags::RESPONSE,
    };
    HeaderFields {
        initiator_spi: spis.initiator,
        responder_spi: spis.responder,
        exchange_type,
        flags: role_flag.with(kind_flag),
        message_id,
    }
}

/// Gives a whole header for a trace; its lengths and types do not matter there.
pub(crate) fn header_of(fields: &HeaderFields) -> Header {
    Header {
        initiator_spi: fields.initiator_spi,
        responder_spi: fields.responder_spi,
        next_payload: PayloadType::NONE,
        version: Version::V2,
        exchange_type: fields.exchange_type,
        flags: fields.flags,
        message_id: fields.message_id,
        length: 0,
    }
}
