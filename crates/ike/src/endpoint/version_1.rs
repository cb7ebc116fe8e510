//! Version 1 at the endpoint: how a message finds its ISAKMP SA, alone or in fragments, and how a stranger is met.

use sa::{Protocol, Spi};
use wire::isakmp::{Header, IkeSpi};
use wire::registry::ExchangeType;
use wire::v1::{Content, Fragment};

use super::Endpoint;
use crate::cookie::Admission;
use crate::established::Sa;
use crate::io::Path;
use crate::v1::fragmentation::Sender;
use crate::{Identity, v1};

impl Endpoint {
    /// Finds the ISAKMP SA of a message, or meets a stranger.
    pub(super) fn route_v1(&mut self, path: Path, message: &wire::v1::Datagram<'_>) {
        if let Content::Fragment(fragment) = &message.content {
            return self.collect_v1(path, &message.header, fragment);
        }
        if is_first_of_v1(&message.header) {
            return self.handle_stranger_v1(path, message);
        }
        let Some(our_spi) = self.our_spi_v1(&message.header) else {
            self.count_unknown_spi();
            return;
        };
        self.with_sa(our_spi, |sa, cx| match sa {
            Sa::V1(sa) => sa.handle_datagram(cx, path, message).map(Sa::V1),
            Sa::V2(_) => Some(sa),
        });
    }

    /// In version 1 no flag says who sent a message: either SPI may be ours.
    fn our_spi_v1(&self, header: &Header) -> Option<IkeSpi> {
        let is_ours = |spi: &IkeSpi| matches!(self.sas.get(spi), Some(Sa::V1(_)));
        [header.responder_spi, header.initiator_spi].into_iter().find(is_ours)
    }

    /// A fragment of a message of version 1: the message goes on once it is complete.
    fn collect_v1(&mut self, path: Path, header: &Header, fragment: &Fragment<'_>) {
        let sender = match self.our_spi_v1(header) {
            Some(our_spi) => Sender::Of(our_spi),
            None if !is_first_of_v1(header) => {
                self.count_unknown_spi();
                return;
            }
            None => Sender::Stranger(path.remote, header.initiator_spi),
        };
        let Some((bytes, fragments)) = self.collection.add(sender, header.message_id, fragment) else {
            return;
        };
        match wire::v1::decode(&bytes) {
            Ok(wire::v1::Datagram { content: Content::Fragment(_), .. }) | Err(_) => self.count_malformed(),
            Ok(message) => self.route_v1(path, &wire::v1::Datagram { fragments, ..message }),
        }
    }

    /// Version 1 knows no cookies of version 2's kind. In main mode a stranger costs no more than a choice of algorithms
    /// until it has shown, with its third message, that it can receive where it says it is; in aggressive mode it costs a
    /// key exchange, as often as the limits on half-open SAs let it.
    fn handle_stranger_v1(&mut self, path: Path, message: &wire::v1::Datagram<'_>) {
        let origin = (path.remote, message.header.initiator_spi);
        if let Some(our_spi) = self.answered.get(&origin) {
            if let Some(Sa::V1(sa)) = self.sas.get(our_spi) {
                sa.repeat_first(&mut self.cx, path, message);
            }
            return;
        }
        if self.cx.half_open.admission(path.remote.ip(), self.sas.len()) == Admission::Refused {
            self.counters.refused_strangers += 1;
            return;
        }
        if let Some(responding) = v1::respond(&mut self.cx, path, message) {
            self.answered.insert(origin, responding.our_spi());
            self.origins.insert(responding.our_spi(), origin);
            self.put(Sa::V1(responding));
        }
    }

    /// Takes away Child SAs that the peer deleted in another ISAKMP SA than the one that has them.
    pub(super) fn delete_elsewhere(
        &mut self,
        not_here: IkeSpi,
        (local, remote): (&Identity, &Identity),
        protocol: Protocol,
        spis: &[Spi],
    ) {
        let others = self.sas.values().filter_map(|sa| match sa {
            Sa::V1(v1::Sa::Established(sa)) => Some(sa),
            Sa::V1(_) | Sa::V2(_) => None,
        });
        let others = others.filter(|sa| sa.peer.local() == local && sa.peer.remote() == remote);
        let others: Vec<IkeSpi> =
            others.map(|sa| sa.channel.our_spi()).filter(|spi| *spi != not_here).collect();
        for our_spi in others {
            self.with_established_v1(our_spi, |sa, cx| {
                sa.lose_elsewhere(cx, protocol, spis);
            });
        }
    }
}

fn is_first_of_v1(header: &Header) -> bool {
    matches!(header.exchange_type, ExchangeType::V1_IDENTITY_PROTECTION | ExchangeType::V1_AGGRESSIVE)
        && header.responder_spi.is_zero()
        && header.message_id == 0
        && !header.initiator_spi.is_zero()
}
