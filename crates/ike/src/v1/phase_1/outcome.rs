//! What phase 1 comes to, and how an ISAKMP SA begins with that.

use std::sync::Arc;
use std::time::Instant;

use wire::isakmp::IkeSpi;
use wire::v1::Datagram;

use crate::authentication::PeerAuthenticated;
use crate::authentication::v1::DeviceAuthenticated;
use crate::context::{Contact, Context, Initiation, Intent};
use crate::event::Event;
use crate::io::Path;
use crate::retransmission::Repeating;
use crate::v1::Sa;
use crate::v1::abilities::PeerAbilities;
use crate::v1::channel::Channel;
use crate::v1::expiry::Expiry;
use crate::v1::ike_sa::IkeSa;
use crate::v1::repeated::Repeated;
use crate::v1::transaction::Transactions;
use crate::v1::{mode_config, xauth};
use crate::{Connection, Role, Unique, Xauth};

/// What phase 1 came to: all that an ISAKMP SA begins with.
pub(crate) struct Outcome {
    pub(crate) channel: Channel,
    pub(crate) connection: Arc<Connection>,
    pub(crate) peer: DeviceAuthenticated,
    pub(crate) abilities: PeerAbilities,
    /// What the two ends agreed on.
    pub(crate) lifetime: Expiry,
    pub(crate) last: LastMessage,
    pub(crate) begun_at: Instant,
    /// What we wanted it for, if we began.
    pub(crate) initiation: Option<Initiation>,
    /// Whether the peer, if it began, has forgotten what was before.
    pub(crate) contact: Contact,
}

/// The last message of phase 1: nothing answers it, so its sender must find out whether it has arrived.
#[derive(Debug, Default)]
pub(crate) struct LastMessage {
    /// The peer's last message, and ours that answers it.
    pub(crate) answered: Option<Repeated>,
    /// Ours, until the peer shows that it has it.
    pub(crate) unconfirmed: Option<Repeating>,
}

impl LastMessage {
    /// Answers the peer's last message if it comes once more.
    pub(crate) fn repeat(&self, cx: &mut Context, channel: &Channel, path: Path, datagram: &Datagram<'_>) {
        let Some(last) = &self.answered else { return };
        let path = match channel.role {
            // Ours floated to port 4500, and so does every copy of it.
            Role::Initiator => channel.path,
            Role::Responder => path,
        };
        last.repeat(cx, path, datagram.bytes);
    }
}

impl Outcome {
    /// Makes the ISAKMP SA, or lets a user be asked for his password first.
    pub(crate) fn conclude(self, cx: &mut Context) -> Option<Sa> {
        match (&self.connection.xauth, self.peer.without_user(&self.connection)) {
            (Xauth::None, Some(peer)) => Some(self.establish(cx, peer, Transactions::default())),
            (Xauth::None | Xauth::Ours(_) | Xauth::Theirs, _) => xauth::begin(cx, self),
        }
    }

    /// Makes the ISAKMP SA, and has it do what it was wanted for.
    pub(crate) fn establish(
        self,
        cx: &mut Context,
        peer: PeerAuthenticated,
        transactions: Transactions,
    ) -> Sa {
        let Outcome { channel, connection, abilities, lifetime, last, begun_at, initiation, contact, .. } =
            self;
        let unique = connection.unique;
        let mut sa = IkeSa::new(cx, channel, connection, peer, abilities, lifetime, last);
        sa.transactions = transactions;
        if contact == Contact::Initial && unique != Unique::Never {
            // What came up since then, the initiator knows: it may have begun at the same time as we.
            end_others(cx, &sa, begun_at);
        }
        let replaces = initiation.as_ref().and_then(|initiation| initiation.replaces);
        announce(cx, &sa, replaces, begun_at);
        sa.say_lifetime(cx, lifetime);
        mode_config::push(&mut sa, cx);
        if let Some(initiation) = initiation {
            sa.take_up(cx, initiation);
        }
        Sa::Established(Box::new(sa))
    }
}

/// Tells of a new ISAKMP SA, and has it take the place of those that it replaces.
fn announce(cx: &mut Context, sa: &IkeSa, replaces: Option<IkeSpi>, begun_at: Instant) {
    cx.tell(Event::IkeUp(Box::new(sa.status())));
    cx.intents.push_back(Intent::Supersede {
        heir: sa.channel.our_spi(),
        local: sa.peer.local().clone(),
        remote: sa.peer.remote().clone(),
        replaced: replaces,
    });
    if sa.connection.unique == Unique::Replace {
        end_others(cx, sa, begun_at);
    }
}

/// Has the other SAs with this peer end that were up at a moment.
fn end_others(cx: &mut Context, sa: &IkeSa, up_at: Instant) {
    cx.intents.push_back(Intent::EndOthers {
        survivor: sa.channel.our_spi(),
        local: sa.peer.local().clone(),
        remote: sa.peer.remote().clone(),
        up_at,
    });
}
