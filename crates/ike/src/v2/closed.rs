//! What is left of an IKE SA that was refused or has ended: its last response, for a peer that missed it.

use std::net::IpAddr;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::registry::ExchangeType;
use wire::v2::{Datagram, Payload};

use super::channel::{Channel, Kind};
use super::window::{Standing, TheirWindow};
use crate::context::Context;
use crate::error::Error;
use crate::io::Path;
use crate::limits;

/// An IKE SA that was refused or has ended; its last response is repeated for a while to a peer that missed it.
pub(crate) struct Closed {
    channel: Channel,
    window: TheirWindow,
    until: Instant,
    peer: Peer,
}

/// Whose an ended IKE SA was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Somebody who never proved to be anybody: it counts among the half-open ones for as long as it costs memory.
    Stranger,
    /// A peer that had been authenticated.
    Known,
}

impl Closed {
    /// Ends with a response that this window remembers.
    pub(crate) fn new(channel: Channel, window: TheirWindow, until: Instant) -> Closed {
        Closed { channel, window, until, peer: Peer::Known }
    }

    /// Ends before anybody was authenticated: answers a stranger's request with what is wrong.
    pub(crate) fn refusing(
        cx: &mut Context,
        channel: Channel,
        exchange_type: ExchangeType,
        message_id: u32,
        fault: Error,
    ) -> Closed {
        let mut window = TheirWindow::expecting(message_id);
        let payloads: Vec<_> = fault.to_notify().map(Payload::Notify).into_iter().collect();
        match channel.seal(cx, exchange_type, Kind::Response, message_id, &payloads) {
            Ok(datagrams) => {
                cx.transmit(channel.path, &datagrams);
                window.answered(message_id, datagrams);
            }
            Err(second) => cx.fail(&[], None, Some(channel.path), second.into()),
        }
        cx.fail(&[], None, Some(channel.path), fault.into());
        Closed { channel, window, until: cx.now + limits::CLOSED_SA_LINGER, peer: Peer::Stranger }
    }

    pub(crate) fn handle_datagram(&self, cx: &mut Context, path: Path, datagram: &Datagram<'_>) {
        if datagram.header.flags.is_response() || !asks_for_repetition(datagram) {
            return;
        }
        if let Standing::Repeated(datagrams) = self.window.classify(datagram.header.message_id)
            && self.channel.is_authentic(datagram)
        {
            cx.transmit(path, datagrams);
        }
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.channel.our_spi()
    }

    /// Gives the address of a stranger.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        match self.peer {
            Peer::Stranger => Some(self.channel.path.remote.ip()),
            Peer::Known => None,
        }
    }
}

/// Of a repeated request in fragments only the first asks for the response again (RFC 7383 §2.6.1).
pub(crate) fn asks_for_repetition(datagram: &Datagram<'_>) -> bool {
    let fragment = datagram.encrypted.as_ref().and_then(|encrypted| encrypted.fragment);
    fragment.is_none_or(|fragment| fragment.number == 1)
}
