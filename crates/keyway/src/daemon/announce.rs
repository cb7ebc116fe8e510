//! What happened, told to everybody who should know: the log, the clients that watch, and the files that were asked for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use ike::{
    ChildSaStatus, Counters, DownReason, Error, Event, Failure, IkeSaStatus, IkeState, IkeVersion,
    KeyDisclosure, MessageTrace,
};
use sa::SaId;
use vici::Tree;

use super::limits;
use super::notices::{Notice, Notices};
use super::throttle::{Throttle, Verdict};
use super::trace_file::TraceFile;
use super::wireshark::KeyTables;
use crate::daemon::handle::PlaneStatus;
use crate::management::sas::{self, PlaneTable};

/// Tells what happened.
#[derive(Debug)]
pub(crate) struct Announcer {
    notices: Notices,
    trace: Option<TraceFile>,
    keys: Option<KeyTables>,
    /// One for each kind of failure and the connection that it concerns, if one is known: strangers can provoke most,
    /// and must not drown out what is said of a peer.
    throttles: BTreeMap<(&'static str, Option<String>), Throttle>,
    /// Child SAs that are gone, until it is clear whether their IKE SA is, too.
    held: Vec<(Box<IkeSaStatus>, ChildSaStatus, PlaneTable)>,
    /// When what strangers sent in vain was last logged, and how much it was.
    summed_up: Option<(Instant, Counters)>,
}

impl Announcer {
    /// Makes an announcer; the files are those that the command line asked for.
    pub(crate) fn new(notices: Notices, trace: Option<TraceFile>, keys: Option<KeyTables>) -> Announcer {
        Announcer { notices, trace, keys, throttles: BTreeMap::new(), held: Vec::new(), summed_up: None }
    }

    /// Begins to write keys to a directory, or ends that; gives what the engine is to disclose.
    ///
    /// # Errors
    /// They are written already, or cannot be written there.
    pub(crate) fn disclose(&mut self, to: Option<&Path>) -> Result<KeyDisclosure, String> {
        let Some(directory) = to else {
            if self.keys.take().is_some() {
                tracing::warn!("the keys of SAs are written no more");
            }
            return Ok(KeyDisclosure::Off);
        };
        if self.keys.is_some() {
            return Err(
                "keys are written already: end the other export, or run the daemon without --disclose-keys"
                    .to_owned(),
            );
        }
        let tables = KeyTables::create(directory)
            .map_err(|error| format!("the keys cannot be written to {}: {error}", directory.display()))?;
        self.keys = Some(tables);
        tracing::warn!(
            directory = %directory.display(),
            "THE KEYS OF ALL SAs THAT COME UP ARE BEING WRITTEN TO DISK: whoever reads them reads the traffic"
        );
        Ok(KeyDisclosure::On)
    }

    /// Tells one event; `status` gives what the data plane tells of an SA.
    pub(crate) fn tell(&mut self, now: Instant, event: Event, status: impl Fn(SaId) -> Option<PlaneStatus>) {
        match &event {
            Event::IkeUp(ike) => log_ike_up(ike),
            Event::IkeDown(ike, reason) => log_ike_down(ike, reason),
            Event::IkeRekeyed { old, new } => log_ike_rekeyed(old, new),
            Event::ChildUp(ike, child) => log_child_up(ike, child),
            Event::ChildDown(ike, child, reason) => log_child_down(ike, child, reason),
            Event::ChildRekeyed { ike, old, new } => log_child_rekeyed(ike, old, new),
            Event::PathChanged(ike, before) => log_path_changed(ike, before),
            Event::Failed { connection, path, failure } => {
                let connection = connection.as_deref();
                self.log_failure(now, connection, path.map(|path| path.to_string()).as_deref(), failure);
            }
            Event::Message(message) => self.trace(now, message),
            Event::IkeKeys(keys) => {
                let written = self.keys.as_mut().map(|tables| tables.add_ike(keys));
                log_write_error("keys", written);
            }
            Event::ChildKeys(keys) => {
                let written = self.keys.as_mut().map(|tables| tables.add_child(keys));
                log_write_error("keys", written);
            }
            Event::Finished { .. } => {}
        }
        if !self.notices.is_watched() {
            return self.held.clear();
        }
        match event {
            Event::ChildDown(ike, child, _) => {
                let plane = table([&child], status);
                let version = ike.version;
                self.held.push((ike, child, plane));
                // In version 1 each Child SA is deleted by a message of its own.
                if version != IkeVersion::V2 {
                    self.tell_the_rest(now);
                }
            }
            Event::IkeDown(ike, _) => self.tell_of_end(now, *ike),
            event => {
                if let Some(notice) = notice(now, &event, status) {
                    self.tell_the_rest(now);
                    self.notices.tell(notice);
                }
            }
        }
    }

    /// Tells clients that an IKE SA is gone, and then that its Child SAs are: the order that they know from charon.
    fn tell_of_end(&mut self, now: Instant, ike: IkeSaStatus) {
        let (own, others) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(of, ..)| of.initiator_spi == ike.initiator_spi);
        self.held = others;
        self.tell_the_rest(now);
        let ike = IkeSaStatus { state: IkeState::Deleting, ..ike };
        self.tell_of_sa("ike-updown", sas::ike_updown(now, &ike, sas::Turn::Down));
        for (_, child, plane) in own {
            self.tell_of_sa("child-updown", sas::child_updown(now, &ike, &child, sas::Turn::Down, &plane));
        }
    }

    /// Tells clients of Child SAs that are gone, though their IKE SAs are not.
    pub(crate) fn tell_the_rest(&mut self, now: Instant) {
        for (ike, child, plane) in std::mem::take(&mut self.held) {
            self.tell_of_sa("child-updown", sas::child_updown(now, &ike, &child, sas::Turn::Down, &plane));
        }
    }

    fn tell_of_sa(&self, event: &'static str, message: Tree) {
        self.notices.tell(Notice::Sa { event, message });
    }

    /// Logs what came in and led nowhere, as totals and no more often than each window: one line, whatever the flood.
    pub(crate) fn sum_up(&mut self, now: Instant, counters: Counters) {
        let is_due = match self.summed_up {
            None => counters != Counters::default(),
            Some((at, logged)) => counters != logged && now.duration_since(at) >= limits::FAILURE_WINDOW,
        };
        if is_due {
            self.summed_up = Some((now, counters));
            tracing::info!(
                target: IKE,
                malformed = counters.malformed,
                other_version = counters.other_version,
                unknown_spi = counters.unknown_spi,
                refused = counters.refused_strangers,
                asked_for_cookie = counters.cookies_demanded,
                "datagrams came in that led nowhere"
            );
        }
    }

    fn trace(&mut self, now: Instant, message: &MessageTrace) {
        let at = SystemTime::now() - now.saturating_duration_since(message.at);
        log_write_error("message trace", self.trace.as_mut().map(|trace| trace.write(at, message)));
    }

    /// Logs a failure that no command waits for. Strangers can provoke most of these: they are bounded.
    fn log_failure(&mut self, now: Instant, connection: Option<&str>, path: Option<&str>, failure: &Failure) {
        let held_back = match self.judge(now, connection, failure) {
            Verdict::Pass => None,
            Verdict::PassAfter(held_back) => Some(held_back),
            Verdict::HoldBack => return,
        };
        tracing::warn!(target: IKE, connection, path, not_shown_before = held_back, "{failure}");
    }

    fn judge(&mut self, now: Instant, connection: Option<&str>, failure: &Failure) -> Verdict {
        let key = (kind(failure), connection.map(str::to_owned));
        self.throttles.entry(key).or_insert_with(|| Throttle::new(now)).judge(now)
    }
}

/// The part of the program that lines about IKE SAs come from, for `--log` and for vici's groups.
const IKE: &str = "ike::sa";

/// The same for Child SAs.
const CHILD: &str = "ike::child";

fn log_ike_up(ike: &IkeSaStatus) {
    tracing::info!(
        target: IKE,
        connection = ike.connection,
        ike_sa = %ike.id,
        local = %ike.path.local,
        remote = %ike.path.remote,
        local_id = ike.local_identity.as_ref().map(display),
        remote_id = ike.remote_identity.as_ref().map(display),
        suite = ike.suite.as_ref().map(display),
        nat_local = ike.nat.local,
        nat_remote = ike.nat.remote,
        "IKE SA is up"
    );
}

fn log_ike_down(ike: &IkeSaStatus, reason: &DownReason) {
    let what = match ike.established_at {
        Some(_) => "is down",
        None => "did not come up",
    };
    tracing::info!(
        target: IKE,
        connection = ike.connection,
        ike_sa = %ike.id,
        remote = %ike.path.remote,
        "IKE SA {what}: {}",
        sentence(reason)
    );
}

fn log_ike_rekeyed(old: &IkeSaStatus, new: &IkeSaStatus) {
    tracing::info!(
        target: IKE,
        connection = new.connection,
        ike_sa = %new.id,
        old_initiator_spi = %old.initiator_spi,
        initiator_spi = %new.initiator_spi,
        responder_spi = %new.responder_spi,
        "IKE SA is rekeyed"
    );
}

fn log_path_changed(ike: &IkeSaStatus, before: &ike::Path) {
    tracing::info!(
        target: IKE,
        connection = ike.connection,
        ike_sa = %ike.id,
        %before,
        now = %ike.path,
        "the peer is reached on another path"
    );
}

fn log_child_up(ike: &IkeSaStatus, child: &ChildSaStatus) {
    tracing::info!(
        target: CHILD,
        connection = ike.connection,
        ike_sa = %ike.id,
        child = child.name,
        child_sa = %child.id,
        local_ts = %join(&child.local_selectors),
        remote_ts = %join(&child.remote_selectors),
        suite = %child.suite,
        spi_in = %child.inbound.spi,
        spi_out = %child.outbound.spi,
        "Child SA is up"
    );
}

fn log_child_down(ike: &IkeSaStatus, child: &ChildSaStatus, reason: &DownReason) {
    tracing::info!(
        target: CHILD,
        connection = ike.connection,
        ike_sa = %ike.id,
        child = child.name,
        child_sa = %child.id,
        "Child SA is down: {}",
        sentence(reason)
    );
}

fn log_child_rekeyed(ike: &IkeSaStatus, old: &ChildSaStatus, new: &ChildSaStatus) {
    tracing::info!(
        target: CHILD,
        connection = ike.connection,
        ike_sa = %ike.id,
        child = new.name,
        child_sa = %new.id,
        replaces = %old.id,
        spi_in = %new.inbound.spi,
        spi_out = %new.outbound.spi,
        "Child SA is rekeyed"
    );
}

fn log_write_error(what: &str, written: Option<io::Result<()>>) {
    if let Some(Err(error)) = written {
        tracing::error!(%error, "the {what} cannot be written");
    }
}

/// Says why an SA is gone.
fn sentence(reason: &DownReason) -> String {
    match reason {
        DownReason::Terminated => "terminated by command".to_owned(),
        DownReason::DeletedByPeer => "deleted by the peer".to_owned(),
        DownReason::PeerDead => "the peer no longer answers".to_owned(),
        DownReason::PeerLostState => "the peer has lost it, and said so with its token".to_owned(),
        DownReason::Expired => "its life was over".to_owned(),
        DownReason::Inactive => "nothing went through it for long".to_owned(),
        DownReason::Redirected(to) => format!("the peer sent us to {to}"),
        DownReason::Redundant => "both ends rekeyed it at once".to_owned(),
        DownReason::Replaced => "a newer one took its place".to_owned(),
        DownReason::Failed(failure) => failure.to_string(),
    }
}

/// Gives the kind of a failure, for counting.
fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoAnswer { .. } => "no answer",
        Failure::NotFound(_) => "not found",
        Failure::Terminated => "terminated",
        Failure::NoPath(_) => "no path",
        Failure::PutOff { .. } => "put off",
        Failure::Plane { .. } => "data plane",
        Failure::Exchange(error) | Failure::TurnedAway { fault: error, .. } => match error {
            Error::Malformed(_) => "malformed",
            Error::Misbehaved(_) => "misbehaved",
            Error::NoAgreement(_) => "no agreement",
            Error::InvalidKeyExchange { .. } => "invalid key exchange",
            Error::SelectorsDoNotMeet { .. } => "selectors do not meet",
            Error::OutsideCertificate { .. } => "outside certificate",
            Error::NoConnection(_) => "no connection",
            Error::AuthenticationFailed(_) => "authentication failed",
            Error::ChildSaNotFound { .. } => "Child SA not found",
            Error::StateNotFound => "state not found",
            Error::Busy => "busy",
            Error::Unsuitable(_) => "unsuitable",
            Error::NoAddress(_) | Error::ShouldHaveAsked(_) => "virtual address",
            Error::NotAllowed(_) => "not allowed",
            Error::UnsupportedCriticalPayload(_) => "unsupported critical payload",
            Error::Local(_) => "local",
            Error::Refused(_) | Error::RefusedV1(_) => "refused",
        },
    }
}

/// Makes the vici event; `None` if there is none for it.
fn notice(now: Instant, event: &Event, status: impl Fn(SaId) -> Option<PlaneStatus>) -> Option<Notice> {
    let (event, message) = match event {
        Event::IkeUp(ike) => ("ike-updown", sas::ike_updown(now, ike, sas::Turn::Up)),
        Event::IkeRekeyed { old, new } => ("ike-rekey", sas::ike_rekey(now, old, new)),
        Event::ChildUp(ike, child) => {
            ("child-updown", sas::child_updown(now, ike, child, sas::Turn::Up, &table([child], status)))
        }
        Event::ChildRekeyed { ike, old, new } => {
            ("child-rekey", sas::child_rekey(now, ike, old, new, &table([old, new], status)))
        }
        Event::PathChanged(ike, before) => ("ike-update", sas::ike_update(now, ike, *before)),
        // Both are told together.
        Event::IkeDown(..) | Event::ChildDown(..) => return None,
        Event::Failed { .. }
        | Event::Finished { .. }
        | Event::Message(_)
        | Event::IkeKeys(_)
        | Event::ChildKeys(_) => return None,
    };
    Some(Notice::Sa { event, message })
}

fn table<const N: usize>(
    children: [&ChildSaStatus; N],
    status: impl Fn(SaId) -> Option<PlaneStatus>,
) -> PlaneTable {
    let sas = children.into_iter().flat_map(|child| [child.inbound, child.outbound]);
    sas.filter_map(|sa| Some((sa, status(sa)?))).collect()
}

fn join(selectors: &[sa::TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_drown_out_what_is_said_of_a_peer() {
        let mut announcer = Announcer::new(Notices::new(), None, None);
        let (now, failure) = (Instant::now(), Failure::NoPath("there is none".to_owned()));
        let flood = (0..=limits::FAILURES_LOGGED).map(|_| announcer.judge(now, None, &failure));
        assert_eq!(flood.last(), Some(Verdict::HoldBack));
        assert_eq!(announcer.judge(now, Some("site"), &failure), Verdict::Pass);
    }
}
