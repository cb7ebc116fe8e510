//! Whether one chain of certificates is valid (RFC 5280 §6.1), in the order of the RFC's paragraphs.
//!
//! ```text
//!   trust anchor ── CA ── CA ── end        §6.1.2 initialization
//!                   └─────────────         §6.1.3 for each certificate, §6.1.4 before the one below it
//!                               └──        §6.1.5 wrap-up, RFC 4945 §5.1.3 for IKE
//! ```
//!
//! That each certificate is signed with the key of the one above is shown before ([`crate::path`]); whether one is
//! revoked is for [`crate::revocation`] to say. What a trust anchor's own certificate limits is respected (RFC 5937).

use std::collections::BTreeSet;

use crypto::signature::{KeyKind, SignatureHash, SignatureScheme};
use der::asn1::ObjectIdentifier as Oid;

use crate::address_blocks::Addresses;
use crate::extensions::KeyUsage;
use crate::name_constraints::NameConstraints;
use crate::policy::{AnyPolicy, Mapping, PolicyCounters, PolicyGraph};
use crate::refusal::{Reason, Refusal, WantedPolicies};
use crate::{Certificate, PublicKey, Time, limits, oid};

/// What a path must satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// When.
    pub now: Time,
    /// What the end's key is to do.
    pub purpose: Purpose,
    /// Whether algorithms that can be broken are accepted.
    pub weak: Weak,
    /// The certificate policies of which one must hold; none is any.
    pub policies: &'a [Oid],
}

/// What the key at the end of a path is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sign IKE messages (RFC 4945 §5.1.3.2 and §5.1.3.12).
    Ike,
    /// Sign CRLs (RFC 5280 §6.3.3 (f)).
    Crl,
    /// Sign OCSP responses on its issuer's behalf (RFC 6960 §4.2.2.2).
    Ocsp,
    /// Whatever it may do.
    Any,
}

/// Whether SHA-1 signatures and short RSA keys are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// They are refused.
    Refused,
    /// They are accepted.
    Allowed,
}

/// A chain of certificates that was shown to be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPath {
    certificates: Vec<Certificate>,
    key: PublicKey,
    policies: BTreeSet<Oid>,
    addresses: Option<Addresses>,
}

impl ValidPath {
    /// Gives the certificate at the end.
    pub fn end(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// Gives the key of the certificate at the end, which is fit for the purpose.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Gives the certificates from the end up to the trust anchor's.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Gives each certificate with its issuer's, from the end up; the trust anchor's has none.
    pub fn with_issuers(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        self.certificates.iter().zip(self.certificates.iter().skip(1))
    }

    /// Gives the policies that the whole path is valid for, in the trust anchor's terms; `2.5.29.32.0` alone is all.
    pub fn policies(&self) -> &BTreeSet<Oid> {
        &self.policies
    }

    /// Gives the addresses that the subject may speak for, if its certificate limits them (RFC 3779).
    pub fn addresses(&self) -> Option<&Addresses> {
        self.addresses.as_ref()
    }
}

/// Checks a chain, from the end up to a trust anchor's certificate, of which each is signed with the next one's key.
pub(crate) fn validate(chain: &[Certificate], demands: &Demands<'_>) -> Result<ValidPath, Refusal> {
    let Some((anchor, below)) = chain.split_last() else {
        return Err(Refusal { certificate: String::new(), reason: Reason::Untrusted });
    };
    let mut state = State::at_anchor(anchor, below, demands)?;
    for (left, certificate) in below.iter().enumerate().rev() {
        state.check(certificate, left)?;
        if left > 0 {
            state.descend(certificate, &below[left - 1])?;
        }
    }
    let end = below.first().unwrap_or(anchor);
    check_purpose(end, demands.purpose)?;
    let policies = state.finish(end)?;
    let key = check_key(end, demands.weak)?.clone();
    Ok(ValidPath { certificates: chain.to_vec(), key, policies, addresses: state.addresses })
}

/// Checks the certificate of somebody to whom a CA delegates, which the CA itself has issued.
pub(crate) fn check_delegate(
    delegate: &Certificate,
    issuer: &Certificate,
    demands: &Demands<'_>,
) -> Result<(), Refusal> {
    let bad_signature = || Refusal::of(delegate, Reason::BadSignature { issuer: issuer.to_string() });
    let key = issuer.key().map_err(|fault| Refusal::of(issuer, Reason::Key(fault)))?;
    if delegate.issuer() != issuer.subject() {
        return Err(bad_signature());
    }
    check_signature_strength(delegate, demands.weak)?;
    delegate.verify_signature(key).map_err(|_| bad_signature())?;
    check_key(delegate, demands.weak)?;
    check_time(delegate, demands.now)?;
    check_critical(delegate)?;
    check_purpose(delegate, demands.purpose)
}

/// The variables of RFC 5280 §6.1.2.
struct State<'a> {
    demands: &'a Demands<'a>,
    policies: PolicyGraph,
    counters: PolicyCounters,
    names: NameConstraints<'a>,
    addresses: Option<Addresses>,
    /// How many more CAs may come, and who says so, if anybody.
    cas_left: usize,
    cas_limited_by: Option<(&'a Certificate, u32)>,
}

impl<'a> State<'a> {
    /// §6.1.2: initialization, with the limits that the trust anchor's certificate has (RFC 5937 §3).
    fn at_anchor(
        anchor: &'a Certificate,
        below: &[Certificate],
        demands: &'a Demands<'a>,
    ) -> Result<State<'a>, Refusal> {
        check_time(anchor, demands.now)?;
        check_key(anchor, demands.weak)?;
        check_critical(anchor)?;
        if let Some(issued) = below.last() {
            // A trust anchor may be of version 1, but not say that it is no CA.
            if anchor.extensions().basic_constraints.is_some() {
                check_is_ca(anchor, issued)?;
            }
            check_may_issue(anchor, issued)?;
        }
        let certificates = below.len();
        let never = u32::try_from(certificates + 1).unwrap_or(u32::MAX);
        // Whoever wants certain policies wants a path that has them (§6.1.1 (f)).
        let explicit_policy = if demands.policies.is_empty() { never } else { 0 };
        let mut state = State {
            demands,
            policies: PolicyGraph::new(),
            counters: PolicyCounters { explicit_policy, inhibit_any_policy: never, policy_mapping: never },
            names: NameConstraints::default(),
            addresses: anchor.extensions().address_blocks.as_ref().map(|blocks| blocks.of_anchor()),
            cas_left: certificates,
            cas_limited_by: None,
        };
        state.limit_cas(anchor);
        state.names.add(anchor)?;
        Ok(state)
    }

    /// §6.1.3: basic certificate processing; `left` certificates are below.
    fn check(&mut self, certificate: &'a Certificate, left: usize) -> Result<(), Refusal> {
        // (a)(1) and (a)(4) were shown before; (a)(3), revocation, is shown after.
        check_signature_strength(certificate, self.demands.weak)?;
        check_key(certificate, self.demands.weak)?;
        check_time(certificate, self.demands.now)?;
        check_critical(certificate)?;
        // (b) and (c): a CA that only renews its key keeps the name that it has.
        let is_self_issued = certificate.is_self_issued();
        if left == 0 || !is_self_issued {
            self.names.check(certificate)?;
        }
        // (d) to (f).
        let any_policy = match self.counters.inhibit_any_policy {
            0 if left == 0 || !is_self_issued => AnyPolicy::IsInhibited,
            _ => AnyPolicy::Counts,
        };
        let extensions = certificate.extensions();
        let refusal = |reason| Refusal::of(certificate, reason);
        self.policies.descend(extensions.policies.as_deref(), any_policy).map_err(refusal)?;
        if self.counters.explicit_policy == 0 && self.policies.is_empty() {
            return Err(refusal(self.no_policy()));
        }
        if let Some(blocks) = &extensions.address_blocks {
            self.addresses = Some(blocks.below(self.addresses.as_ref(), certificate)?);
        } else {
            self.addresses = None;
        }
        Ok(())
    }

    /// §6.1.4: preparation for the certificate below a CA.
    fn descend(&mut self, ca: &'a Certificate, issued: &Certificate) -> Result<(), Refusal> {
        let extensions = ca.extensions();
        let refusal = |reason| Refusal::of(ca, reason);
        // (a) and (b).
        let mapping = if self.counters.policy_mapping > 0 { Mapping::Allowed } else { Mapping::IsInhibited };
        self.policies.map(&extensions.policy_mappings, mapping).map_err(refusal)?;
        // (g).
        self.names.add(ca)?;
        // (h) to (j).
        self.counters.descend(extensions, ca.is_self_issued());
        // (k): a certificate of version 1 or 2 cannot say that it is a CA's.
        check_is_ca(ca, issued)?;
        // (l) and (m).
        if !ca.is_self_issued() {
            self.cas_left = match (self.cas_left.checked_sub(1), self.cas_limited_by) {
                (Some(left), _) => left,
                (None, Some((limiting, allowed))) => {
                    return Err(Refusal::of(limiting, Reason::TooManyCas { allowed }));
                }
                (None, None) => return Err(refusal(Reason::PathTooLong)),
            };
        }
        self.limit_cas(ca);
        // (n).
        check_may_issue(ca, issued)
    }

    fn limit_cas(&mut self, ca: &'a Certificate) {
        let Some(allowed) = ca.path_len() else { return };
        let limit = usize::try_from(allowed).unwrap_or(usize::MAX);
        if limit < self.cas_left {
            self.cas_left = limit;
            self.cas_limited_by = Some((ca, allowed));
        }
    }

    /// §6.1.5: wrap-up.
    fn finish(&mut self, end: &Certificate) -> Result<BTreeSet<Oid>, Refusal> {
        self.counters.finish(end.extensions());
        let policies = self.policies.valid_policies(self.demands.policies);
        if self.counters.explicit_policy == 0 && policies.is_empty() {
            return Err(Refusal::of(end, self.no_policy()));
        }
        Ok(policies)
    }

    fn no_policy(&self) -> Reason {
        Reason::NoPolicy(WantedPolicies(self.demands.policies.to_vec()))
    }
}

fn check_is_ca(ca: &Certificate, issued: &Certificate) -> Result<(), Refusal> {
    if ca.is_ca() { Ok(()) } else { Err(Refusal::of(ca, Reason::NotCa { issued: issued.to_string() })) }
}

fn check_may_issue(ca: &Certificate, issued: &Certificate) -> Result<(), Refusal> {
    match ca.extensions().key_usage {
        Some(usage) if !usage.has(KeyUsage::KEY_CERT_SIGN) => {
            Err(Refusal::of(ca, Reason::MayNotIssue { issued: issued.to_string() }))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_time(certificate: &Certificate, now: Time) -> Result<(), Refusal> {
    let reason = if now < certificate.not_before() {
        Reason::NotYetValid(certificate.not_before())
    } else if now > certificate.not_after() {
        Reason::Expired(certificate.not_after())
    } else {
        return Ok(());
    };
    Err(Refusal::of(certificate, reason))
}

/// §6.1.4 (o) and §6.1.5 (f).
fn check_critical(certificate: &Certificate) -> Result<(), Refusal> {
    match certificate.extensions().unknown_critical.first() {
        Some(unknown) => Err(Refusal::of(certificate, Reason::UnknownCritical(*unknown))),
        None => Ok(()),
    }
}

fn check_key(certificate: &Certificate, weak: Weak) -> Result<&PublicKey, Refusal> {
    let key = certificate.key().map_err(|fault| Refusal::of(certificate, Reason::Key(fault)))?;
    if weak == Weak::Refused && is_weak_key(key) {
        return Err(Refusal::of(certificate, Reason::WeakKey { bits: key.bits() }));
    }
    Ok(key)
}

fn is_weak_key(key: &PublicKey) -> bool {
    key.kind() == KeyKind::Rsa && key.bits() < limits::STRONG_RSA_BITS
}

fn check_signature_strength(certificate: &Certificate, weak: Weak) -> Result<(), Refusal> {
    match certificate.signature_scheme() {
        Err(unknown) => Err(Refusal::of(certificate, Reason::UnknownSignature(unknown))),
        Ok(scheme) if weak == Weak::Refused && is_weak_scheme(scheme) => {
            Err(Refusal::of(certificate, Reason::WeakSignature(scheme)))
        }
        Ok(_) => Ok(()),
    }
}

/// Whether two messages can be made that have the same signature.
pub(crate) fn is_weak_scheme(scheme: SignatureScheme) -> bool {
    match scheme {
        SignatureScheme::RsaPkcs1(hash)
        | SignatureScheme::RsaPss { hash, .. }
        | SignatureScheme::Ecdsa(hash)
        | SignatureScheme::EcdsaFixed(hash) => hash == SignatureHash::Sha1,
        SignatureScheme::RsaBare | SignatureScheme::EcdsaBare => true,
        SignatureScheme::Ed25519 | SignatureScheme::Ed448 | SignatureScheme::MlDsa(_) => false,
    }
}

/// What the end may be used for. A certificate that does not say may be used for everything but OCSP.
fn check_purpose(end: &Certificate, purpose: Purpose) -> Result<(), Refusal> {
    let extensions = end.extensions();
    let signs = KeyUsage(KeyUsage::DIGITAL_SIGNATURE.0 | KeyUsage::NON_REPUDIATION.0);
    let (usage, purposes) = match purpose {
        Purpose::Ike => (
            Some((signs, "digitalSignature or nonRepudiation")),
            Some(([oid::IPSEC_IKE, oid::ANY_PURPOSE].as_slice(), "ipsecIKE")),
        ),
        Purpose::Crl => (Some((KeyUsage::CRL_SIGN, "cRLSign")), None),
        Purpose::Ocsp => (
            Some((signs, "digitalSignature or nonRepudiation")),
            Some(([oid::OCSP_SIGNING].as_slice(), "OCSPSigning")),
        ),
        Purpose::Any => (None, None),
    };
    if let (Some((least, wanted)), Some(present)) = (usage, extensions.key_usage)
        && !present.has(least)
    {
        let present = present.names().collect::<Vec<_>>().join(", ");
        return Err(Refusal::of(end, Reason::KeyUsage { present, wanted }));
    }
    let Some((accepted, wanted)) = purposes else { return Ok(()) };
    let present = match &extensions.purposes {
        Some(present) if present.iter().any(|purpose| accepted.contains(purpose)) => return Ok(()),
        Some(present) => present.iter().map(purpose_name).collect::<Vec<_>>().join(", "),
        None if purpose == Purpose::Ocsp => return Err(Refusal::of(end, Reason::NoPurpose { wanted })),
        None => return Ok(()),
    };
    Err(Refusal::of(end, Reason::Purpose { present, wanted }))
}

/// A key purpose in words, or as its number.
pub fn purpose_name(purpose: &Oid) -> String {
    let known = [
        (oid::SERVER_AUTH, "serverAuth"),
        (oid::CLIENT_AUTH, "clientAuth"),
        (oid::OCSP_SIGNING, "OCSPSigning"),
        (oid::IPSEC_IKE, "ipsecIKE"),
        (oid::ANY_PURPOSE, "anyExtendedKeyUsage"),
    ];
    let name = known.iter().find(|(oid, _)| oid == purpose).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| purpose.to_string())
}
