//! What the daemon tells whoever watches: vici events and log lines, to any number of clients.
//!
//! A notice is made once and shared. A client that lags more than [`limits::NOTICES_BEHIND`] behind loses its
//! connection; nobody else waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast;
use vici::Tree;

use super::limits;

/// One thing to tell.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// A vici event about an SA.
    Sa {
        /// The event's name, such as `child-updown`.
        event: &'static str,
        /// Its message.
        message: Tree,
    },
    /// A line of the log.
    Log(LogLine),
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogLine {
    /// When.
    pub(crate) at: SystemTime,
    /// How grave.
    pub(crate) level: tracing::Level,
    /// The part of the program that says it.
    pub(crate) target: &'static str,
    /// The connection that it is about, if it is about one.
    pub(crate) connection: Option<String>,
    /// The IKE SA that it is about, if it is about one.
    pub(crate) ike_sa: Option<String>,
    /// The message and its fields.
    pub(crate) text: String,
}

/// The place where notices are made and taken.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    sender: broadcast::Sender<Arc<Notice>>,
    recent: Arc<Mutex<VecDeque<Arc<Notice>>>>,
}

impl Notices {
    /// Makes a place without watchers.
    pub(crate) fn new() -> Notices {
        let (sender, _) = broadcast::channel(limits::NOTICES_BEHIND);
        Notices { sender, recent: Arc::default() }
    }

    /// Tells everybody who watches at this moment.
    pub(crate) fn tell(&self, notice: Notice) {
        let notice = Arc::new(notice);
        if let Notice::Log(_) = *notice {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.len() == limits::RECENT_LOG_LINES {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(&notice));
        }
        // That nobody watches is no failure.
        let _ = self.sender.send(notice);
    }

    /// Tells whether anybody watches, so that a costly notice need not be made in vain.
    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Watches from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.sender.subscribe()
    }

    /// Gives the latest log lines, oldest first.
    pub(crate) fn recent_log(&self) -> Vec<Arc<Notice>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Notice {
        Notice::Log(LogLine {
            at: SystemTime::UNIX_EPOCH,
            level: tracing::Level::INFO,
            target: "test",
            connection: None,
            ike_sa: None,
            text: text.to_owned(),
        })
    }

    #[test]
    fn the_past_is_bounded_and_the_newest_stays() {
        let notices = Notices::new();
        for number in 0..limits::RECENT_LOG_LINES + 10 {
            notices.tell(line(&number.to_string()));
        }
        let recent = notices.recent_log();
        assert_eq!(recent.len(), limits::RECENT_LOG_LINES);
        assert!(
            matches!(&**recent.first().expect("lines"), Notice::Log(LogLine { text, .. }) if text == "10")
        );
    }

    #[tokio::test]
    async fn a_slow_watcher_learns_that_it_lost_something_and_nobody_waits() {
        let notices = Notices::new();
        let mut slow = notices.watch();
        for number in 0..=limits::NOTICES_BEHIND {
            notices.tell(line(&number.to_string()));
        }
        assert!(matches!(slow.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
    }
}
