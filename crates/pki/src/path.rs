//! From the end's certificate up to a trust anchor: which chains there are, and the first that is valid.
//!
//! The search goes depth first: whoever's name is the issuer's may be the issuer, a trust anchor before anybody, and the
//! signature decides. A chain that reaches a trust anchor is validated as a whole; if it is not valid, the search goes
//! on, since cross-certified CAs have more than one chain. When none is valid, the refusal that came from the chain that
//! was seen furthest is told.

use crate::refusal::{Reason, Refusal};
use crate::validation::{self, Demands, ValidPath};
use crate::{Certificate, limits};

/// Finds a valid path from `end` to one of the trust `anchors`, by way of `intermediates` in any order, of which some
/// may have nothing to do with it.
///
/// # Errors
/// There is none; the refusal names the certificate that stands in the way.
pub fn validate(
    end: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    demands: &Demands<'_>,
) -> Result<ValidPath, Refusal> {
    let intermediates = &intermediates[..intermediates.len().min(limits::MAX_INTERMEDIATES)];
    let mut search = Search { intermediates, anchors, demands, signature_checks: 0, refusal: None };
    let mut chain = vec![end.clone()];
    let found = match anchors.contains(end) {
        true => search.judge(&chain),
        false => search.extend(&mut chain),
    };
    found.ok_or_else(|| match search.refusal {
        Some((_, refusal)) => refusal,
        None => Refusal::of(end, Reason::Untrusted),
    })
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    anchors: &'a [Certificate],
    demands: &'a Demands<'a>,
    signature_checks: usize,
    refusal: Option<(Progress, Refusal)>,
}

/// How far a chain came; the later tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    NoIssuer,
    WrongSignature,
    Whole,
}

impl Search<'_> {
    /// Looks for what stands above the last certificate of a chain.
    fn extend(&mut self, chain: &mut Vec<Certificate>) -> Option<ValidPath> {
        let last = chain.last()?.clone();
        if chain.len() >= limits::MAX_PATH_CERTIFICATES {
            self.refuse(Progress::WrongSignature, Refusal::of(&chain[0], Reason::PathTooLong));
            return None;
        }
        let mut is_known = false;
        for (candidate, is_anchor) in self.candidates(&last) {
            if chain.contains(&candidate) {
                continue;
            }
            is_known = true;
            if !self.is_signed_by(&last, &candidate) {
                continue;
            }
            chain.push(candidate);
            let found = if is_anchor { self.judge(chain) } else { self.extend(chain) };
            if found.is_some() {
                return found;
            }
            chain.pop();
        }
        if !is_known {
            let issuer = last.issuer().to_string();
            let reason =
                if last.is_self_issued() { Reason::Untrusted } else { Reason::UnknownIssuer { issuer } };
            self.refuse(Progress::NoIssuer, Refusal::of(&last, reason));
        }
        None
    }

    /// Whoever has the issuer's name, and the likeliest first: anchors, then whose key has the right identifier.
    fn candidates(&self, issued: &Certificate) -> Vec<(Certificate, bool)> {
        let has_name = |candidate: &&Certificate| candidate.subject() == issued.issuer();
        let anchors = self.anchors.iter().filter(has_name).map(|anchor| (anchor.clone(), true));
        let others = self.intermediates.iter().filter(has_name).filter(|other| !self.anchors.contains(other));
        let mut candidates: Vec<_> = anchors.chain(others.map(|other| (other.clone(), false))).collect();
        let key_differs =
            |candidate: &Certificate| match (issued.authority_key_id(), candidate.subject_key_id()) {
                (Some(wanted), Some(own)) => wanted != own,
                _ => false,
            };
        candidates.sort_by_key(|(candidate, is_anchor)| (key_differs(candidate), !is_anchor));
        candidates
    }

    fn is_signed_by(&mut self, issued: &Certificate, issuer: &Certificate) -> bool {
        self.signature_checks += 1;
        if self.signature_checks > limits::MAX_SIGNATURE_CHECKS {
            self.refuse(Progress::Whole, Refusal::of(issued, Reason::TooMuchWork("possible issuers")));
            return false;
        }
        let refusal = match (issued.signature_scheme(), issuer.key()) {
            (Err(unknown), _) => Refusal::of(issued, Reason::UnknownSignature(unknown)),
            (_, Err(fault)) => Refusal::of(issuer, Reason::Key(fault)),
            (Ok(_), Ok(key)) if issued.verify_signature(key).is_ok() => return true,
            (Ok(_), Ok(_)) => Refusal::of(issued, Reason::BadSignature { issuer: issuer.to_string() }),
        };
        self.refuse(Progress::WrongSignature, refusal);
        false
    }

    fn judge(&mut self, chain: &[Certificate]) -> Option<ValidPath> {
        validation::validate(chain, self.demands)
            .map_err(|refusal| self.refuse(Progress::Whole, refusal))
            .ok()
    }

    /// Remembers the first refusal of those that came furthest.
    fn refuse(&mut self, progress: Progress, refusal: Refusal) {
        if self.refusal.as_ref().is_none_or(|(earlier, _)| *earlier < progress) {
            self.refusal = Some((progress, refusal));
        }
    }
}
