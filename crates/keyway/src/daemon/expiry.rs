//! Certificates that are about to expire: told 30, 7 and 1 days ahead, and when it has come to that, in the log and as the
//! event `certificate-expiry`; `keyway status` shows them all the time.

use std::collections::BTreeMap;

use credentials::Credentials;
use pki::{Certificate, Time};
use tokio::time::sleep;

use vici::Tree;

use super::handle::Engine;
use super::limits::EXPIRY_CHECK;
use super::notices::{Notice, Notices};
use crate::moment;

const SECS_PER_DAY: u64 = 86_400;

/// How many days ahead it is told; what has expired is told last.
const AHEAD_DAYS: [u64; 4] = [30, 7, 1, 0];

/// Looks at the certificates from time to time, as long as the daemon runs.
pub(crate) async fn watch(engine: &Engine, notices: &Notices) {
    let mut told = Told::default();
    while let Ok(snapshot) = engine.snapshot().await {
        for news in told.news(&snapshot.credentials, moment::now()) {
            tracing::warn!("{}", news.sentence);
            notices.tell(Notice::Sa { event: "certificate-expiry", message: news.message() });
        }
        sleep(EXPIRY_CHECK).await;
    }
}

/// Gives a sentence for each certificate that expires within thirty days, or has expired.
pub(crate) fn expiring(credentials: &Credentials, now: Time) -> Vec<String> {
    Told::default().news(credentials, now).into_iter().map(|news| news.sentence).collect()
}

/// What there is to tell of a certificate.
struct News {
    sentence: String,
    subject: String,
    not_after: Time,
}

impl News {
    fn message(&self) -> Tree {
        Tree::new()
            .with_value("subject", &self.subject)
            .with_value("not-after", self.not_after.to_string())
            .with_value("sentence", &self.sentence)
    }
}

/// What has been told of which certificate: the fewest days.
#[derive(Default)]
struct Told(BTreeMap<Vec<u8>, u64>);

impl Told {
    /// Gives each certificate of which there is something new to tell.
    fn news(&mut self, credentials: &Credentials, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        for (certificate, whose) in watched(credentials) {
            let Some(due) = due(certificate, now) else { continue };
            let told = self.0.entry(certificate.to_der().to_vec()).or_insert(u64::MAX);
            if due < *told {
                *told = due;
                news.push(News {
                    sentence: sentence(certificate, whose, now),
                    subject: certificate.to_string(),
                    not_after: certificate.not_after(),
                });
            }
        }
        news
    }
}

/// Our certificates, and those of CAs that are trusted: peers see to their own.
fn watched(credentials: &Credentials) -> impl Iterator<Item = (&Certificate, &'static str)> {
    let named = credentials.connections.values().flat_map(|wishes| &wishes.own);
    let with_key = |own: &&Certificate| credentials.keys.iter().any(|key| key.belongs_to(own));
    let ours = credentials.certificates.iter().filter(with_key).chain(named);
    let anchors = credentials.anchors.iter().map(|anchor| (anchor, "of a CA that we trust"));
    ours.map(|own| (own, "of ours")).chain(anchors)
}

/// Gives the fewest of the days ahead at which something is told that have come.
fn due(certificate: &Certificate, now: Time) -> Option<u64> {
    let left_secs = certificate.not_after().0.saturating_sub(now.0);
    AHEAD_DAYS.into_iter().rfind(|days| left_secs <= days * SECS_PER_DAY)
}

fn sentence(certificate: &Certificate, whose: &str, now: Time) -> String {
    let end = certificate.not_after();
    match end.0.saturating_sub(now.0) / SECS_PER_DAY {
        _ if end < now => format!("the certificate {certificate} {whose} expired on {end}"),
        0 => format!("the certificate {certificate} {whose} expires within a day, on {end}"),
        days => format!("the certificate {certificate} {whose} expires in {days} days, on {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crypto::signature::NewKey;
    use pki::PrivateKey;
    use pki::issue::{self, Draft, Issuer, Role};
    use sa::DistinguishedName;

    const END: Time = Time(1_800_000_000);

    fn anchored() -> Credentials {
        let key = PrivateKey::generate(NewKey::Ed25519).expect("a key");
        let draft = Draft {
            subject: DistinguishedName::parse("CN=root").expect("a name"),
            names: Vec::new(),
            key_info: key.public_key_info(),
            serial: vec![7],
            not_before: Time(0),
            not_after: END,
            role: Role::Ca { path_len: None },
            crl_uris: Vec::new(),
            ocsp_uris: Vec::new(),
        };
        let certificate = issue::issue(&draft, Issuer::Itself(&key)).expect("a certificate");
        Credentials { anchors: vec![certificate], ..Credentials::default() }
    }

    #[test]
    fn each_threshold_is_told_once() {
        let (credentials, mut told) = (anchored(), Told::default());
        let mut at = |days_before: u64, secs: u64| {
            let news = told.news(&credentials, Time(END.0 - days_before * SECS_PER_DAY + secs));
            news.into_iter().map(|news| news.sentence).collect::<Vec<_>>()
        };
        assert!(at(31, 0).is_empty());
        assert_eq!(
            at(30, 0),
            ["the certificate CN=root of a CA that we trust expires in 30 days, on 2027-01-15 08:00:00 UTC"]
        );
        assert!(at(29, 0).is_empty() && at(8, 0).is_empty());
        assert_eq!(at(7, 0).len(), 1);
        assert_eq!(at(1, 0).len(), 1);
        assert!(at(1, 3600).is_empty());
        let expired = at(0, 1);
        assert!(expired[0].contains("expired on 2027-01-15"), "{expired:?}");
        assert!(at(0, 7200).is_empty());
    }

    #[test]
    fn a_daemon_that_starts_late_tells_the_nearest_only() {
        let sentences = expiring(&anchored(), Time(END.0 - 3600));
        assert_eq!(sentences.len(), 1);
        assert!(sentences[0].contains("expires within a day"), "{sentences:?}");
    }
}
