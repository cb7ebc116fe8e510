//! Message ids and who may say what next: the two windows of an IKE SA (RFC 7296 §2.1 to §2.3).
//!
//! Our requests and the peer's requests are numbered apart, and each direction allows one exchange at a time (we never
//! announce a larger window). The two know nothing of each other: a peer's request is answered while ours waits.
//!
//! ```text
//!        OurWindow                                        TheirWindow
//!  start(request n)  ------------------------------->  classify(n) = New
//!  retransmit()      ------------------------------->  classify(n) = Repeated(response)
//!  complete(n)       <-------------------------------  answered(n, response)
//!  start(request n+1) ------------------------------>  classify(n+1) = New; the response to n is forgotten
//! ```

use std::time::Instant;

use thiserror::Error;

use crate::retransmission::{Jitter, Repeating, Retransmission, RetransmissionPolicy};

/// Our side of the exchanges that we begin: the next message id, and the one request that waits for its response.
#[derive(Clone, Debug, Default)]
pub(crate) struct OurWindow {
    next_id: u32,
    in_flight: Option<InFlight>,
}

/// A request that waits for its response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InFlight {
    /// Its message id.
    pub(crate) message_id: u32,
    repeating: Repeating,
}

/// Why a request cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotStarted {
    /// Another request waits for its response (RFC 7296 §2.3); try again when it has come.
    #[error("request {0} still waits for its response")]
    Busy(u32),
    /// All message ids are used up; the IKE SA must be rekeyed or closed (RFC 7296 §2.2).
    #[error("the IKE SA has used all of its message ids")]
    Exhausted,
}

/// Whether a response answers our request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Completion {
    /// It does. The request is no longer repeated, and the next one may be sent.
    Answered,
    /// It answers nothing that waits: a duplicate or a forgery, to be ignored.
    Stray,
}

impl OurWindow {
    /// Starts with message id `next_id`: 0 for a new IKE SA.
    pub(crate) fn starting_at(next_id: u32) -> OurWindow {
        OurWindow { next_id, in_flight: None }
    }

    /// Gives the message id that the next request will have.
    pub(crate) fn peek_next_id(&self) -> u32 {
        self.next_id
    }

    /// Gives the request that waits for its response.
    pub(crate) fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Notes that a request with id [`peek_next_id`](Self::peek_next_id) is sent now, and gives that id.
    ///
    /// # Errors
    /// Another request waits, or the ids are used up. Nothing has changed then.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        datagrams: Vec<Vec<u8>>,
        policy: RetransmissionPolicy,
        jitter: Jitter,
    ) -> Result<u32, NotStarted> {
        if let Some(waiting) = &self.in_flight {
            return Err(NotStarted::Busy(waiting.message_id));
        }
        let message_id = self.next_id;
        self.next_id = message_id.checked_add(1).ok_or(NotStarted::Exhausted)?;
        let repeating = Repeating::begin(now, datagrams, policy, jitter);
        self.in_flight = Some(InFlight { message_id, repeating });
        Ok(message_id)
    }

    /// Sends another request in place of the one that waits, under the same id: an IKE_SA_INIT request that was
    /// answered with a cookie or with another group (RFC 7296 §2.2). Its repetitions are counted anew.
    ///
    /// Without a request that waits this does nothing.
    pub(crate) fn replace(&mut self, now: Instant, datagrams: Vec<Vec<u8>>) {
        if let Some(waiting) = &mut self.in_flight {
            waiting.repeating.replace(now, datagrams);
        }
    }

    /// Has the request that waits repeated at a certain moment, and from then on as ever.
    pub(crate) fn hurry(&mut self, at: Instant) {
        if let Some(waiting) = &mut self.in_flight {
            waiting.repeating.hurry(at);
        }
    }

    /// Has the request that waits repeated at a certain moment, its repetitions counted anew: nobody could answer it before.
    pub(crate) fn again(&mut self, at: Instant) {
        if let Some(waiting) = &mut self.in_flight {
            waiting.repeating.again(at);
        }
    }

    /// Tells what to do about the request that waits, and counts the repetition if that is it.
    pub(crate) fn retransmit(&mut self, now: Instant) -> Retransmission<'_> {
        match &mut self.in_flight {
            Some(waiting) => waiting.repeating.repeat(now),
            None => Retransmission::NotDue,
        }
    }

    /// Takes note of an authentic response.
    pub(crate) fn complete(&mut self, message_id: u32) -> Completion {
        match self.in_flight.take_if(|waiting| waiting.message_id == message_id) {
            Some(_) => Completion::Answered,
            None => Completion::Stray,
        }
    }

    /// Tells when [`retransmit`](Self::retransmit) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.in_flight.as_ref().map(|waiting| waiting.repeating.deadline())
    }
}

/// Our side of the exchanges that the peer begins: the id of its next request, and our response to its last.
#[derive(Clone, Debug, Default)]
pub(crate) struct TheirWindow {
    expected_id: u32,
    last_response: Option<Vec<Vec<u8>>>,
}

/// What a request is, by its message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// The next request.
    New,
    /// The last request once more: send this response again, bit for bit, and do nothing else (RFC 7296 §2.1).
    ///
    /// Of a request in fragments only the first fragment asks for that; ignore the others (RFC 7383 §2.6.1).
    Repeated(&'a [Vec<u8>]),
    /// Neither: too old to remember, or ahead of a request that has not come. Ignore it.
    OutOfWindow,
}

impl TheirWindow {
    /// Expects message id `expected_id` first: 0 for a new IKE SA, 1 for one whose IKE_SA_INIT the peer began.
    pub(crate) fn expecting(expected_id: u32) -> TheirWindow {
        TheirWindow { expected_id, last_response: None }
    }

    /// Gives the message id of the peer's next request.
    pub(crate) fn expected_id(&self) -> u32 {
        self.expected_id
    }

    /// Tells what the request with this message id is.
    pub(crate) fn classify(&self, message_id: u32) -> Standing<'_> {
        if message_id == self.expected_id {
            return Standing::New;
        }
        match &self.last_response {
            Some(datagrams) if message_id.checked_add(1) == Some(self.expected_id) => {
                Standing::Repeated(datagrams)
            }
            Some(_) | None => Standing::OutOfWindow,
        }
    }

    /// Remembers the response to an authentic new request. Any other message id changes nothing.
    pub(crate) fn answered(&mut self, message_id: u32, datagrams: Vec<Vec<u8>>) {
        if self.classify(message_id) == Standing::New {
            self.expected_id = self.expected_id.saturating_add(1);
            self.last_response = Some(datagrams);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SystemRandom;
    use std::time::Duration;

    const POLICY: RetransmissionPolicy =
        RetransmissionPolicy { jitter_percent: 0, ..RetransmissionPolicy::STRONGSWAN };

    fn datagram(octet: u8) -> Vec<Vec<u8>> {
        vec![vec![octet; 4]]
    }

    fn started(window: &mut OurWindow, now: Instant, octet: u8) -> Result<u32, NotStarted> {
        window.start(now, datagram(octet), POLICY, POLICY.draw_jitter(&mut SystemRandom))
    }

    #[test]
    fn one_request_at_a_time_with_ascending_ids() {
        let now = Instant::now();
        let mut window = OurWindow::default();
        assert_eq!(started(&mut window, now, 1), Ok(0));
        assert_eq!(started(&mut window, now, 2), Err(NotStarted::Busy(0)));
        assert_eq!(window.complete(1), Completion::Stray);
        assert_eq!(window.complete(0), Completion::Answered);
        assert_eq!(window.complete(0), Completion::Stray);
        assert_eq!(window.peek_next_id(), 1);
        assert_eq!(started(&mut window, now, 2), Ok(1));
    }

    #[test]
    fn a_request_is_repeated_identically_and_then_given_up() {
        let mut now = Instant::now();
        let begun = now;
        let mut window = OurWindow::default();
        assert_eq!(started(&mut window, now, 7), Ok(0));
        for expected in 1..=POLICY.tries {
            let deadline = window.deadline().expect("a request waits");
            assert_eq!(window.retransmit(deadline - Duration::from_millis(1)), Retransmission::NotDue);
            now = deadline;
            let again = datagram(7);
            assert_eq!(window.retransmit(now), Retransmission::Send { datagrams: &again, attempt: expected });
        }
        now = window.deadline().expect("a request waits");
        assert_eq!(window.retransmit(now), Retransmission::GiveUp);
        assert_eq!((now - begun).as_secs(), 165);
    }

    #[test]
    fn a_late_timer_does_not_make_up_for_lost_time() {
        let now = Instant::now();
        let mut window = OurWindow::default();
        assert_eq!(started(&mut window, now, 7), Ok(0));
        let late = now + Duration::from_secs(1000);
        assert!(matches!(window.retransmit(late), Retransmission::Send { attempt: 1, .. }));
        assert_eq!(window.retransmit(late), Retransmission::NotDue);
        assert_eq!(window.deadline(), Some(late + POLICY.delay(1)));
    }

    #[test]
    fn ike_sa_init_is_replaced_under_its_own_id() {
        let now = Instant::now();
        let mut window = OurWindow::default();
        assert_eq!(started(&mut window, now, 1), Ok(0));
        let later = now + POLICY.delay(0);
        assert!(matches!(window.retransmit(later), Retransmission::Send { attempt: 1, .. }));
        window.replace(later, datagram(2));
        let request = window.in_flight().expect("a request waits");
        assert_eq!(request.message_id, 0);
        assert_eq!(window.deadline(), Some(later + POLICY.delay(0)));
        let again = datagram(2);
        let repetition = window.retransmit(later + POLICY.delay(0));
        assert_eq!(repetition, Retransmission::Send { datagrams: &again, attempt: 1 });
        assert_eq!(window.peek_next_id(), 1);
    }

    #[test]
    fn message_ids_never_wrap() {
        let mut window = OurWindow::starting_at(u32::MAX);
        assert_eq!(started(&mut window, Instant::now(), 1), Err(NotStarted::Exhausted));
        let mut window = TheirWindow::expecting(u32::MAX);
        window.answered(u32::MAX, datagram(1));
        assert_eq!(window.classify(0), Standing::OutOfWindow);
    }

    #[test]
    fn a_repeated_request_gets_the_same_response_until_the_next_one() {
        let mut window = TheirWindow::expecting(1);
        assert_eq!(window.classify(0), Standing::OutOfWindow);
        assert_eq!(window.classify(1), Standing::New);
        window.answered(1, datagram(1));
        assert_eq!(window.classify(1), Standing::Repeated(&datagram(1)));
        assert_eq!(window.classify(2), Standing::New);
        assert_eq!(window.classify(3), Standing::OutOfWindow);
        window.answered(2, datagram(2));
        assert_eq!(window.classify(1), Standing::OutOfWindow);
        assert_eq!(window.classify(2), Standing::Repeated(&datagram(2)));
    }

    #[test]
    fn an_answer_to_no_expected_request_is_not_remembered() {
        let mut window = TheirWindow::default();
        window.answered(5, datagram(1));
        assert_eq!(window.classify(5), Standing::OutOfWindow);
        assert_eq!(window.classify(0), Standing::New);
        window.answered(0, datagram(2));
        window.answered(0, datagram(3));
        assert_eq!(window.classify(0), Standing::Repeated(&datagram(2)));
    }
}
