//! Whether a peer's certificates are revoked, asked where they or the configuration say.
//!
//! ```text
//!   Query::Trust ─ judge ─► a valid path ─ from the trust anchor down, for each certificate:
//!       1. what is at hand    files, clients, what was fetched and still counts, the peer's own OCSP response (RFC 4806)
//!       2. OCSP               POST with a nonce, to its responders and then its authority's (RFC 6960)
//!       3. lists              GET, from its distribution points and then its authority's (RFC 5280 §4.2.1.13)
//!       4. deltas             to the list that covers it, while they count (§5.2.6)
//!   ─ pki::revocation::check ─► Answer::Trusted
//! ```
//!
//! Nobody is asked because of a certificate whose path is not valid, nor below one that is revoked: where requests go has
//! been signed by somebody whom we trust. What was fetched is kept until it is to be replaced, and only if its signature
//! is right. The engine does not wait meanwhile, and a peer that waits counts as half-open.

mod disk;
mod kept;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use credentials::{Credentials, Judgement};
use crypto::{Random, SystemRandom};
use ike::TrustedKey;
use pki::crl::Status;
use pki::ocsp::{self, Question, Response};
use pki::revocation::{self, Evidence, RevocationRefusal};
use pki::{Certificate, Contents, Crl, ValidPath};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::disk::Disk;
use self::kept::Kept;
use super::fetch::Fetcher;
use super::keyring::LoadedAuthority;
use super::limits::{FETCHED_LIST_OCTETS, OCSP_NONCE_OCTETS, REVOCATION_WAIT, URIS_OF_A_CERTIFICATE};
use crate::moment;

/// What has been found out of revocation, and the means to find out more.
#[derive(Debug, Default)]
pub(crate) struct Revocation {
    fetcher: Fetcher,
    kept: Mutex<Kept>,
    disk: Disk,
    /// Whoever asks at a URI, one after the other: the second finds what the first has brought.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Where else to ask: what is configured of CAs.
pub(crate) type Authorities = Vec<LoadedAuthority>;

impl Revocation {
    /// Begins with nothing but what earlier runs left in a directory, if one is given.
    pub(crate) fn new(directory: Option<PathBuf>) -> Revocation {
        Revocation { disk: Disk(directory), ..Revocation::default() }
    }

    /// Tells whether anybody might have to be asked.
    pub(crate) fn may_ask(judgement: &Judgement, authorities: &Authorities) -> bool {
        judgement.path().is_some_and(|path| {
            path.with_issuers().any(|(certificate, issuer)| {
                !responders(certificate, issuer, authorities).is_empty()
                    || !points(certificate, issuer, authorities).is_empty()
            })
        })
    }

    /// Gives the peer's key unless a certificate above it is revoked. Asks whoever can say, within bounds.
    ///
    /// # Errors
    /// One is revoked, or nobody knows and the connection is strict about that; one sentence.
    pub(crate) async fn settle(
        &self,
        judgement: Judgement,
        credentials: &Credentials,
        authorities: &Authorities,
    ) -> Result<TrustedKey, String> {
        let Some(path) = judgement.path().cloned() else {
            return judgement
                .unless_revoked(&evidence(&[], &[], credentials), moment::now())
                .map_err(|refusal| refusal.to_string());
        };
        let mut inquiry = Inquiry {
            revocation: self,
            credentials,
            authorities,
            path: &path,
            weak: judgement.weak(),
            brought: judgement.responses(),
            complaints: Vec::new(),
        };
        if timeout(REVOCATION_WAIT, inquiry.ask()).await.is_err() {
            inquiry.complaints.push(format!("not everybody answered in {} s", REVOCATION_WAIT.as_secs()));
        }
        let (crls, responses) = inquiry.at_hand();
        let complaints = inquiry.complaints;
        judgement
            .unless_revoked(&evidence(&crls, &responses, credentials), moment::now())
            .map_err(|refusal| explained(&refusal, &complaints))
    }

    /// Gives a current OCSP response about a certificate of ours, for a peer that wants it in band (RFC 4806).
    pub(crate) async fn response_about(
        &self,
        path: &ValidPath,
        credentials: &Credentials,
        authorities: &Authorities,
    ) -> Option<Response> {
        let (certificate, issuer) = path.with_issuers().next()?;
        let mut inquiry = Inquiry {
            revocation: self,
            credentials,
            authorities,
            path,
            weak: pki::Weak::Allowed,
            brought: &[],
            complaints: Vec::new(),
        };
        // Without one in time, the peer asks for itself.
        let _ = timeout(REVOCATION_WAIT, inquiry.ask_responders(certificate, issuer)).await;
        self.kept().response(certificate, moment::now())
    }

    /// Gives who fetches.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Gives the lists and OCSP responses that are kept.
    pub(crate) fn all(&self) -> (Vec<Crl>, Vec<Response>) {
        let kept = self.kept();
        (kept.lists(), kept.responses())
    }

    /// Forgets the lists that were fetched.
    pub(crate) fn forget_lists(&self) {
        self.kept().forget_lists();
        self.disk.clear();
    }

    /// Forgets the OCSP responses that were fetched.
    pub(crate) fn forget_responses(&self) {
        self.kept().forget_responses();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // It is only a memory: whatever a panic left of it can be used.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turn to ask for one thing; it must be waited for.
    fn turn(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(what.to_owned()).or_default())
    }
}

fn evidence<'a>(crls: &'a [Crl], responses: &'a [Response], credentials: &'a Credentials) -> Evidence<'a> {
    Evidence { crls, responses, nonce: None, certificates: &credentials.certificates }
}

/// Adds why nobody could say, if that is what the refusal is about.
fn explained(refusal: &RevocationRefusal, complaints: &[String]) -> String {
    match refusal {
        RevocationRefusal::Revoked { .. } => refusal.to_string(),
        RevocationRefusal::Unknown { .. } => {
            std::iter::once(&refusal.to_string()).chain(complaints).cloned().collect::<Vec<_>>().join("; ")
        }
    }
}

fn of_issuer<'a>(
    authorities: &'a Authorities,
    issuer: &'a Certificate,
) -> impl Iterator<Item = &'a LoadedAuthority> {
    authorities.iter().filter(move |authority| {
        authority
            .certificate
            .as_ref()
            .is_some_and(|own| own.subject() == issuer.subject() && own.key_info() == issuer.key_info())
    })
}

/// Whom OCSP asks about a certificate.
fn responders(certificate: &Certificate, issuer: &Certificate, authorities: &Authorities) -> Vec<String> {
    let configured = of_issuer(authorities, issuer).flat_map(|own| own.ocsp_uris.iter().map(String::as_str));
    some(certificate.ocsp_uris().chain(configured))
}

/// Where lists are that cover a certificate.
fn points(certificate: &Certificate, issuer: &Certificate, authorities: &Authorities) -> Vec<String> {
    let configured = of_issuer(authorities, issuer).flat_map(|own| own.crl_uris.iter().map(String::as_str));
    some(certificate.crl_uris().chain(configured))
}

fn some<'a>(uris: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for uri in uris {
        if once.len() < URIS_OF_A_CERTIFICATE && !once.iter().any(|own| own == uri) {
            once.push(uri.to_owned());
        }
    }
    once
}

/// What is being found out about one peer.
struct Inquiry<'a> {
    revocation: &'a Revocation,
    credentials: &'a Credentials,
    authorities: &'a Authorities,
    path: &'a ValidPath,
    weak: pki::Weak,
    /// The OCSP responses that the peer brought.
    brought: &'a [Response],
    /// Why somebody did not say.
    complaints: Vec<String>,
}

impl Inquiry<'_> {
    async fn ask(&mut self) {
        let pairs: Vec<_> = self.path.with_issuers().collect();
        for (certificate, issuer) in pairs.into_iter().rev() {
            self.ask_about(certificate, issuer).await;
            if let Status::Revoked(_) = self.status(certificate, issuer) {
                return;
            }
        }
    }

    async fn ask_about(&mut self, certificate: &Certificate, issuer: &Certificate) {
        if let Status::Revoked(_) = self.status(certificate, issuer) {
            return;
        }
        // A response is about this certificate and this moment; a list at hand may be older.
        self.ask_responders(certificate, issuer).await;
        if self.is_answered(certificate, issuer) {
            return;
        }
        for uri in points(certificate, issuer, self.authorities) {
            if let Status::Unknown(_) = self.status(certificate, issuer) {
                self.fetch_list(&uri, issuer).await;
            }
        }
        let lists = self.at_hand().0;
        let of_lists = lists.iter().filter(|list| list.issuer() == certificate.issuer());
        let deltas = of_lists.flat_map(Crl::delta_uris).chain(certificate.delta_crl_uris());
        for uri in some(deltas) {
            self.fetch_list(&uri, issuer).await;
        }
    }

    async fn ask_responders(&mut self, certificate: &Certificate, issuer: &Certificate) {
        for uri in responders(certificate, issuer, self.authorities) {
            if self.is_answered(certificate, issuer) {
                return;
            }
            if let Err(fault) = self.ask_responder(&uri, certificate, issuer).await {
                self.complain(&uri, fault);
            }
        }
    }

    fn complain(&mut self, uri: &str, fault: String) {
        tracing::debug!(uri, "nothing about revocation came: {fault}");
        self.complaints.push(format!("{uri}: {fault}"));
    }

    /// Gives everything that is known.
    fn at_hand(&self) -> (Vec<Crl>, Vec<Response>) {
        let kept = self.revocation.kept();
        let lists = self.credentials.crls.iter().cloned().chain(kept.lists()).collect();
        let now = moment::now();
        let of_path = self.path.certificates().iter().filter_map(|own| kept.response(own, now));
        (lists, self.brought.iter().cloned().chain(of_path).collect())
    }

    fn status(&self, certificate: &Certificate, issuer: &Certificate) -> Status<String> {
        let (crls, responses) = self.at_hand();
        let evidence = evidence(&crls, &responses, self.credentials);
        revocation::status(certificate, issuer, self.path, &evidence, moment::now(), self.weak)
    }

    /// Tells whether OCSP has an answer.
    fn is_answered(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let responses = self.at_hand().1;
        let evidence = evidence(&[], &responses, self.credentials);
        let of_ocsp = revocation::status(certificate, issuer, self.path, &evidence, moment::now(), self.weak);
        !matches!(of_ocsp, Status::Unknown(_))
    }

    async fn ask_responder(
        &self,
        uri: &str,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), String> {
        let turn = self.revocation.turn(&format!("{uri} {}", hex::encode(certificate.serial())));
        let _turn = turn.lock().await;
        if self.is_answered(certificate, issuer) {
            return Ok(());
        }
        self.revocation.kept().spare(uri)?;
        let mut nonce = [0; OCSP_NONCE_OCTETS];
        SystemRandom.fill(&mut nonce);
        let request = ocsp::request(certificate, issuer, Some(&nonce));
        let most = pki::limits::MAX_OCSP_OCTETS;
        let came = self.revocation.fetcher.post(uri, "application/ocsp-request", &request, most).await;
        let octets = came.map_err(|fault| self.revocation.kept().fail(uri, fault))?;
        let response = Response::from_der(&octets).map_err(|fault| fault.to_string())?;
        let question = Question { now: moment::now(), weak: self.weak, nonce: Some(&nonce) };
        match response.status(certificate, issuer, &question) {
            Status::Good | Status::Revoked(_) => {
                let until = response.validity(certificate, issuer).flatten();
                self.revocation.kept().keep_response(certificate, response, until, moment::now());
                Ok(())
            }
            Status::Unknown(fault) => Err(fault.to_string()),
        }
    }

    async fn fetch_list(&mut self, uri: &str, issuer: &Certificate) {
        if let Err(fault) = self.try_fetch_list(uri, issuer).await {
            self.complain(uri, fault);
        }
    }

    async fn try_fetch_list(&self, uri: &str, issuer: &Certificate) -> Result<(), String> {
        let turn = self.revocation.turn(uri);
        let _turn = turn.lock().await;
        if self.revocation.kept().has_current_list(uri, moment::now()) || self.recall(uri, issuer).await {
            return Ok(());
        }
        self.revocation.kept().spare(uri)?;
        let list = match self.revocation.fetcher.get(uri, FETCHED_LIST_OCTETS).await {
            Ok(octets) => self.read(octets, issuer).await,
            Err(fault) => Err(fault),
        };
        let list = list.map_err(|fault| self.revocation.kept().fail(uri, fault))?;
        if !list.is_delta() {
            self.revocation.disk.store(uri, list.to_der().to_vec()).await;
        }
        self.revocation.kept().keep_list(uri, list, moment::now());
        Ok(())
    }

    /// Takes a list from the disk that an earlier run fetched, if it still counts. When that was nobody knows any more, so
    /// one that does not say until when it counts is fetched again.
    async fn recall(&self, uri: &str, issuer: &Certificate) -> bool {
        let Some(octets) = self.revocation.disk.load(uri).await else { return false };
        let now = moment::now();
        match self.read(octets, issuer).await {
            Ok(list) if list.next_update().is_some_and(|until| now <= until) => {
                self.revocation.kept().keep_list(uri, list, now);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Reads a list, which the issuer or somebody in its place must have signed. A long one takes a while.
    async fn read(&self, octets: Vec<u8>, issuer: &Certificate) -> Result<Crl, String> {
        let (issuer, path, weak) = (issuer.clone(), self.path.clone(), self.weak);
        let certificates = self.credentials.certificates.clone();
        let read = move || {
            let contents = Contents::read(&octets, None).map_err(|fault| fault.to_string())?;
            let list = contents.crls.into_iter().next();
            let list = list.ok_or_else(|| "there is no list of revoked certificates in it".to_owned())?;
            revocation::authenticate(&list, &issuer, &path, &certificates, moment::now(), weak)
                .map_err(|fault| fault.to_string())?;
            Ok(list)
        };
        spawn_blocking(read).await.unwrap_or_else(|fault| Err(fault.to_string()))
    }
}
