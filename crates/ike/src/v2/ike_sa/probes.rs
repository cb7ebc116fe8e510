//! Probes of the path to the peer, which it answers though it knows nothing of them (RFC 8899).
//!
//! ```text
//!   HDR, SK { N(filler) }                        -->   one datagram of the size to be tried, Don't Fragment set
//!                                                <--   HDR, SK { }            in time: the size passes
//!
//!   HDR, SK { N(filler) }                        -->   not in time: the same to the bit, and routers may cut it
//!   HDR, SKF { 1/n }, … HDR, SKF { n/n }         -->   and in fragments of IKE, if both ends know them
//!                                                <--   HDR, SK { }            the size did not pass
//! ```
//!
//! ESP has no packet that must be answered. An INFORMATIONAL request is, by every peer, also if it holds a status notify
//! that the peer has never heard of (RFC 7296 §3.10.1); and it goes the way of the ESP packets: between the same addresses,
//! and with UDP between the same ports.
//!
//! We have one request under way at a time, so a probe that got lost holds up whatever comes next, and a request that
//! never gets through is the sign of a dead peer (§2.4). That is why a probe
//!
//! - begins only if nothing else is to be done, and gives way to what turns up meanwhile;
//! - is soon repeated so that it arrives. §2.1 wants it identical from the IKE header on, so what may change is Don't
//!   Fragment; RFC 7383 §2.5.2 allows fragments under the same message id, for paths that swallow those of IP. Some peers,
//!   strongSwan 5.9 for one, read no fragments in this exchange, so both forms are sent. IPv6 is not cut by routers, so over
//!   it IKE's fragments are what must arrive, and a peer that does not know them is not probed;
//! - begins once there are Child SAs that want to know.

use std::net::IpAddr;
use std::time::Instant;

use sa::SaOp;
use wire::registry::NotifyType;

use super::{Active, IkeSa, Life};
use crate::PathProbing;
use crate::context::{Context, Question};
use crate::event::DownReason;
use crate::io::{Output, Path, Query};
use crate::limits;
use crate::probing::{Probe, Probing};
use crate::v2::channel::Fragments;

/// What is known of the path.
#[derive(Debug, Default)]
pub(crate) enum Knowledge {
    /// Nothing.
    #[default]
    None,
    /// The host was asked what the first link takes.
    Asked,
    /// Probes are sent, or were.
    Probed(Probing),
}

/// A probe in flight.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Where it went.
    remote: IpAddr,
    /// Octets of its packet.
    size: usize,
    fate: Fate,
}

/// What an answer to the request will say of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// That it passed: it was not repeated.
    Open,
    /// That it did not: it was repeated.
    Lost,
    /// Nothing: it was repeated before its time was up.
    GaveWay,
}

impl IkeSa {
    /// Sends the next probe if it is time; nothing else waits to be done.
    pub(super) fn probe_path(&mut self, cx: &mut Context) {
        if !self.may_probe() {
            return;
        }
        match &mut self.knowledge {
            Knowledge::None => {
                let id = cx.ask(Query::Link(self.channel.path.remote.ip()));
                cx.questions.insert(id, Question::Link(self.channel.our_spi()));
                self.knowledge = Knowledge::Asked;
            }
            Knowledge::Asked => {}
            Knowledge::Probed(probing) => {
                let probe = probing.next(cx.now);
                if probe.at <= cx.now {
                    self.send_probe(cx, probe);
                }
            }
        }
    }

    /// The host says what the first link on the way to the peer takes.
    pub(crate) fn handle_link(&mut self, cx: &mut Context, link: Option<usize>) {
        if let Knowledge::Asked = self.knowledge {
            let link = link.unwrap_or(limits::USUAL_LINK_MTU);
            self.knowledge = Knowledge::Probed(Probing::new(self.channel.path.remote.ip(), link));
            self.pump(cx);
        }
    }

    /// A router on the path says what it takes.
    pub(crate) fn handle_narrowing(&mut self, cx: &mut Context, octets: usize) {
        if let Knowledge::Probed(probing) = &mut self.knowledge {
            probing.reported(octets, cx.now);
            self.pump(cx);
        }
    }

    /// When there is something to try.
    pub(super) fn probe_at(&self, cx: &Context) -> Option<Instant> {
        match &self.knowledge {
            Knowledge::Probed(probing)
                if self.may_probe() && self.active.is_none() && !self.counters.is_under_way() =>
            {
                Some(probing.next_at().unwrap_or(cx.now))
            }
            Knowledge::None | Knowledge::Asked | Knowledge::Probed(_) => None,
        }
    }

    fn may_probe(&self) -> bool {
        let arrives_cut = self.channel.path.remote.is_ipv4() || self.channel.fragments == Fragments::Cut;
        self.connection.path_probing == PathProbing::Yes
            && arrives_cut
            && self.life == Life::Current
            && !self.children.is_empty()
    }

    /// HDR, SK { N(filler) } -->
    fn send_probe(&mut self, cx: &mut Context, probe: Probe) {
        let path = self.channel.path;
        let message_id = self.ours.peek_next_id();
        let sealed = self.channel.seal_probe(cx, message_id, probe.size - in_front(path), FILLER);
        let started = sealed.and_then(|(whole, repetition)| {
            self.start(cx, repetition)?;
            Ok(whole)
        });
        match started {
            Ok(bytes) => {
                self.ours.hurry(cx.now + probe.wait);
                let sent =
                    Sent { remote: path.remote.ip(), size: bytes.len() + in_front(path), fate: Fate::Open };
                cx.output(Output::Probe { path, bytes });
                self.last_sent = cx.now;
                self.active = Some(Active::Probe(sent));
            }
            Err(fault) => {
                self.report(cx, fault.clone());
                self.end(cx, DownReason::Failed(fault.into()));
            }
        }
    }

    /// HDR, SK { N(filler) } -->   once more, for something is waiting
    pub(super) fn let_probe_give_way(&mut self, cx: &Context) {
        if let Some(Active::Probe(sent)) = &mut self.active
            && sent.fate == Fate::Open
        {
            sent.fate = Fate::GaveWay;
            self.ours.hurry(cx.now);
        }
    }

    /// Our request is sent once more.
    pub(super) fn note_repetition(&mut self) {
        if let Some(Active::Probe(sent)) = &mut self.active
            && sent.fate == Fate::Open
        {
            sent.fate = Fate::Lost;
        }
    }

    /// <-- HDR, SK { }
    pub(super) fn finish_probe(&mut self, cx: &mut Context, sent: &Sent) {
        let Knowledge::Probed(probing) = &mut self.knowledge else { return };
        if sent.remote != self.channel.path.remote.ip() {
            return;
        }
        let before = probing.octets();
        match sent.fate {
            Fate::Open => probing.answered(sent.size, cx.now),
            Fate::Lost => probing.unanswered(sent.size, cx.now),
            Fate::GaveWay => return,
        }
        let octets = probing.octets();
        if sent.fate == Fate::Open || octets != before {
            cx.order(SaOp::SetPathMtu { remote: sent.remote, octets: Some(octets) });
        }
    }

    /// Forgets what probes found: the path is another, or nobody probes it any more.
    pub(super) fn forget_path(&mut self, cx: &mut Context, remote: IpAddr) {
        std::mem::take(&mut self.knowledge).forget(cx, remote);
    }
}

impl Knowledge {
    pub(super) fn forget(self, cx: &mut Context, remote: IpAddr) {
        match self {
            Knowledge::None | Knowledge::Asked => {}
            Knowledge::Probed(_) => cx.order(SaOp::SetPathMtu { remote, octets: None }),
        }
    }

    /// What another IKE SA asked for is not answered to this one.
    pub(super) fn inherited(self) -> Knowledge {
        match self {
            Knowledge::None | Knowledge::Asked => Knowledge::None,
            Knowledge::Probed(probing) => Knowledge::Probed(probing),
        }
    }
}

/// Octets of a packet in front of the IKE message.
fn in_front(path: Path) -> usize {
    let ip_header = match path.remote.ip() {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    let marker = if path.local.port() == limits::NAT_T_PORT { 4 } else { 0 };
    ip_header + 8 + marker
}

/// A status notify for private use (RFC 7296 §3.10.1), which says nothing.
const FILLER: NotifyType = NotifyType(58_899);
