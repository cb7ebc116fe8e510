//! What was fetched of revocation and still counts: lists by their URI, OCSP responses, and who gave nothing.
//!
//! All of it is bounded, and none is needed: what is forgotten is asked for again.

use std::collections::BTreeMap;
use std::time::Instant;

use pki::ocsp::Response;
use pki::{Certificate, Crl, Time};

use crate::daemon::limits::{
    FAILURES_KEPT, FETCH_RETRY, KEPT_WITHOUT_END_SECS, LISTS_KEPT, LISTS_KEPT_OCTETS, RESPONSES_KEPT,
};

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By where they came from.
    lists: BTreeMap<String, KeptList>,
    /// By the certificate that they are about, in DER.
    responses: BTreeMap<Vec<u8>, KeptResponse>,
    failures: BTreeMap<String, Failure>,
}

#[derive(Debug)]
struct KeptList {
    list: Crl,
    fetched: Time,
}

#[derive(Debug)]
struct KeptResponse {
    response: Response,
    until: Time,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    words: String,
}

impl Kept {
    pub(super) fn lists(&self) -> Vec<Crl> {
        self.lists.values().map(|kept| kept.list.clone()).collect()
    }

    pub(super) fn responses(&self) -> Vec<Response> {
        self.responses.values().map(|kept| kept.response.clone()).collect()
    }

    /// Gives the response about a certificate, while it counts.
    pub(super) fn response(&self, certificate: &Certificate, now: Time) -> Option<Response> {
        let kept = self.responses.get(certificate.to_der()).filter(|kept| now <= kept.until)?;
        Some(kept.response.clone())
    }

    pub(super) fn keep_response(
        &mut self,
        certificate: &Certificate,
        response: Response,
        until: Option<Time>,
        now: Time,
    ) {
        let until = until.unwrap_or(now.after_secs(KEPT_WITHOUT_END_SECS));
        self.responses.insert(certificate.to_der().to_vec(), KeptResponse { response, until });
        self.responses.retain(|_, kept| now <= kept.until);
        while self.responses.len() > RESPONSES_KEPT {
            let first = self.responses.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone());
            first.and_then(|key| self.responses.remove(&key));
        }
    }

    /// Tells whether the list from a URI need not be fetched.
    pub(super) fn has_current_list(&self, uri: &str, now: Time) -> bool {
        self.lists.get(uri).is_some_and(|kept| kept.is_current(now))
    }

    /// Keeps a list that was fetched at some time.
    pub(super) fn keep_list(&mut self, uri: &str, list: Crl, fetched: Time) {
        self.failures.remove(uri);
        // Somebody on the way may give an older one, which is signed as well.
        let is_older = |kept: &KeptList| list.this_update() < kept.list.this_update();
        match self.lists.get_mut(uri) {
            Some(kept) if is_older(kept) => kept.fetched = fetched,
            Some(_) | None => drop(self.lists.insert(uri.to_owned(), KeptList { list, fetched })),
        }
        while self.lists.len() > LISTS_KEPT || (self.lists.len() > 1 && self.octets() > LISTS_KEPT_OCTETS) {
            let others = self.lists.iter().filter(|(own, _)| own.as_str() != uri);
            let oldest = others.min_by_key(|(_, kept)| kept.fetched).map(|(own, _)| own.clone());
            oldest.and_then(|own| self.lists.remove(&own));
        }
    }

    fn octets(&self) -> usize {
        self.lists.values().map(|kept| kept.list.to_der().len()).sum()
    }

    /// Remembers that a URI gave nothing of use, and hands the words back.
    pub(super) fn fail(&mut self, uri: &str, words: String) -> String {
        self.failures.retain(|_, failure| failure.is_fresh());
        if self.failures.len() < FAILURES_KEPT {
            self.failures.insert(uri.to_owned(), Failure { at: Instant::now(), words: words.clone() });
        }
        words
    }

    /// Spares a URI that gave nothing of use a moment ago.
    ///
    /// # Errors
    /// It did; the words of then.
    pub(super) fn spare(&self, uri: &str) -> Result<(), String> {
        match self.failures.get(uri).filter(|failure| failure.is_fresh()) {
            Some(failure) => Err(failure.words.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn forget_lists(&mut self) {
        self.lists.clear();
        self.failures.clear();
    }

    pub(super) fn forget_responses(&mut self) {
        self.responses.clear();
        self.failures.clear();
    }
}

impl KeptList {
    /// One that was to be replaced already when it came may be fetched again, but not at once.
    fn is_current(&self, now: Time) -> bool {
        let until = self.list.next_update().unwrap_or(self.fetched.after_secs(KEPT_WITHOUT_END_SECS));
        now <= until || now <= self.fetched.after_secs(FETCH_RETRY.as_secs())
    }
}

impl Failure {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FETCH_RETRY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_remembered_within_bounds() {
        let mut kept = Kept::default();
        assert_eq!(kept.fail("http://a/", "it answers 404 Not Found".to_owned()), "it answers 404 Not Found");
        assert_eq!(kept.spare("http://a/"), Err("it answers 404 Not Found".to_owned()));
        assert_eq!(kept.spare("http://b/"), Ok(()));
        for at in 0..=FAILURES_KEPT {
            kept.fail(&format!("http://{at}/"), String::new());
        }
        assert_eq!(kept.failures.len(), FAILURES_KEPT);
        kept.forget_lists();
        assert_eq!(kept.spare("http://a/"), Ok(()));
    }
}
