//! Certificate revocation lists (RFC 5280 §5), and what a set of them says of a certificate (§6.3).
//!
//! ```text
//!   CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signature }
//!   TBSCertList     ::= SEQUENCE { version, signature, issuer, thisUpdate, nextUpdate,
//!                                  SEQUENCE OF { userCertificate, revocationDate, extensions }, extensions [0] }
//! ```
//!
//! A complete list, a delta to it, a list for some reasons or some certificates only, and a list that its issuer keeps
//! for other CAs are all told apart here, so that a certificate counts as not revoked only where the lists at hand cover
//! it and every reason.

use std::fmt;
use std::sync::Arc;

use der::asn1::{AnyRef, BitStringRef, Int, IntRef, ObjectIdentifier, SequenceRef};
use der::{Decode, DecodeValue, Encode, Enumerated, Reader, Sequence, SliceReader};
use sa::DistinguishedName;
use thiserror::Error;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::time::Time as EncodedTime;

use crate::extensions::{
    DistributionPoint, GeneralName, KeyUsage, flags_of, read_any_name, read_authority, read_names,
    read_point_names, read_points,
};
use crate::signed::Signed;
use crate::validation::{Weak, is_weak_scheme};
use crate::{Certificate, Malformed, Time, limits, oid};

/// A list. Clones share what they hold.
#[derive(Clone)]
pub struct Crl(Arc<Parts>);

struct Parts {
    der: Vec<u8>,
    signed: Signed,
    issuer: DistinguishedName,
    this_update: Time,
    next_update: Option<Time>,
    /// Sorted by serial number.
    entries: Vec<Entry>,
    extensions: ListExtensions,
}

#[derive(Default)]
struct ListExtensions {
    /// Big-endian, without leading zeros.
    number: Vec<u8>,
    /// The number of the complete list that this is a delta to.
    base: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    scope: Option<Scope>,
    freshest: Vec<DistributionPoint>,
    unknown_critical: Option<ObjectIdentifier>,
}

/// What a list is about, if not everything that its issuer issued (RFC 5280 §5.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    names: Vec<GeneralName>,
    only_ends: bool,
    only_cas: bool,
    only_attributes: bool,
    reasons: Option<u16>,
    is_indirect: bool,
}

/// One certificate that is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    serial: Box<[u8]>,
    /// Who issued it; `None` is the list's issuer.
    issuer: Option<Arc<DistinguishedName>>,
    revoked: Revoked,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When.
    pub at: Time,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[repr(u8)]
pub enum RevocationReason {
    /// The issuer does not say.
    Unspecified = 0,
    /// Somebody else may have the key.
    KeyCompromise = 1,
    /// Somebody else may have the CA's key.
    CaCompromise = 2,
    /// The name is not right any more.
    AffiliationChanged = 3,
    /// Another certificate has its place.
    Superseded = 4,
    /// It is not needed any more.
    CessationOfOperation = 5,
    /// It does not count for now.
    CertificateHold = 6,
    /// In a delta: it counts again.
    RemoveFromCrl = 8,
    /// It may not do any more what it says.
    PrivilegeWithdrawn = 9,
    /// Somebody else may have the key of the attribute authority.
    AaCompromise = 10,
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RevocationReason::Unspecified => "unspecified",
            RevocationReason::KeyCompromise => "keyCompromise",
            RevocationReason::CaCompromise => "cACompromise",
            RevocationReason::AffiliationChanged => "affiliationChanged",
            RevocationReason::Superseded => "superseded",
            RevocationReason::CessationOfOperation => "cessationOfOperation",
            RevocationReason::CertificateHold => "certificateHold",
            RevocationReason::RemoveFromCrl => "removeFromCRL",
            RevocationReason::PrivilegeWithdrawn => "privilegeWithdrawn",
            RevocationReason::AaCompromise => "aACompromise",
        })
    }
}

#[derive(DecodeValue)]
struct EncodedTbs<'a> {
    #[asn1(optional = "true")]
    version: Option<u8>,
    signature: AnyRef<'a>,
    issuer: AnyRef<'a>,
    this_update: EncodedTime,
    #[asn1(optional = "true")]
    next_update: Option<EncodedTime>,
    #[asn1(optional = "true")]
    revoked: Option<&'a SequenceRef>,
    #[asn1(context_specific = "0", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

impl<'a> Sequence<'a> for EncodedTbs<'a> {}

#[derive(Sequence)]
struct EncodedEntry<'a> {
    serial: IntRef<'a>,
    at: EncodedTime,
    #[asn1(optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct EncodedScope<'a> {
    #[asn1(context_specific = "0", optional = "true")]
    names: Option<DistributionPointName>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", default = "Default::default")]
    only_ends: bool,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", default = "Default::default")]
    only_cas: bool,
    #[asn1(context_specific = "3", tag_mode = "IMPLICIT", optional = "true")]
    reasons: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "4", tag_mode = "IMPLICIT", default = "Default::default")]
    is_indirect: bool,
    #[asn1(context_specific = "5", tag_mode = "IMPLICIT", default = "Default::default")]
    only_attributes: bool,
}

impl Crl {
    /// Reads a list in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are too many or no list.
    pub fn from_der(octets: &[u8]) -> Result<Crl, Malformed> {
        Malformed::check_length("CRL", octets, limits::MAX_CRL_OCTETS)?;
        read(octets).map(|parts| Crl(Arc::new(parts))).map_err(Malformed::encoding("CRL"))
    }

    /// Gives the list in DER.
    pub fn to_der(&self) -> &[u8] {
        &self.0.der
    }

    /// Gives the name of the issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }

    /// Gives when the list was made.
    pub fn this_update(&self) -> Time {
        self.0.this_update
    }

    /// Gives until when the next list is made, if the issuer says.
    pub fn next_update(&self) -> Option<Time> {
        self.0.next_update
    }

    /// Gives the list's number, big-endian; empty if it has none.
    pub fn number(&self) -> &[u8] {
        &self.0.extensions.number
    }

    /// Tells whether this is a delta to a complete list (RFC 5280 §5.2.4).
    pub fn is_delta(&self) -> bool {
        self.0.extensions.base.is_some()
    }

    /// Gives where deltas to this list can be fetched (RFC 5280 §5.2.6).
    pub fn delta_uris(&self) -> impl Iterator<Item = &str> {
        self.0.extensions.freshest.iter().flat_map(DistributionPoint::uris)
    }

    /// Gives the serial numbers of the revoked certificates, big-endian and in ascending order, with when and why.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&[u8], Revoked)> {
        self.0.entries.iter().map(|entry| (&*entry.serial, entry.revoked))
    }

    /// Checks the list's signature, and that the key may sign lists.
    ///
    /// # Errors
    /// `signer` did not sign it, or may not.
    pub fn verify(&self, signer: &Certificate, weak: Weak) -> Result<(), CrlFault> {
        let by = || signer.to_string();
        let key = signer.key().map_err(|_| CrlFault::BadSignature { by: by() })?;
        if signer.extensions().key_usage.is_some_and(|usage| !usage.has(KeyUsage::CRL_SIGN)) {
            return Err(CrlFault::MayNotSign { by: by() });
        }
        if weak == Weak::Refused && self.0.signed.scheme.is_ok_and(is_weak_scheme) {
            return Err(CrlFault::Weak { issuer: self.0.issuer.to_string() });
        }
        self.0.signed.verify(key).map_err(|_| CrlFault::BadSignature { by: by() })
    }

    fn find(&self, certificate: &Certificate) -> Option<Revoked> {
        let serial = certificate.serial();
        let start = self.0.entries.partition_point(|entry| &*entry.serial < serial);
        let same = self.0.entries[start..].iter().take_while(|entry| &*entry.serial == serial);
        let is_its =
            |entry: &&Entry| entry.issuer.as_deref().unwrap_or(self.issuer()) == certificate.issuer();
        same.filter(is_its).map(|entry| entry.revoked).next()
    }
}

/// Why a list says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CrlFault {
    /// There is no list.
    #[error("no CRL of {issuer} is at hand that covers it")]
    Missing {
        /// Whose list is missing.
        issuer: String,
    },
    /// There should be a newer one.
    #[error("the CRL of {issuer} was to be replaced by {next_update}")]
    Stale {
        /// Whose list it is.
        issuer: String,
        /// Until when it counted.
        next_update: Time,
    },
    /// It is from the future.
    #[error("the CRL of {issuer} does not count before {this_update}")]
    Early {
        /// Whose list it is.
        issuer: String,
        /// From when on it counts.
        this_update: Time,
    },
    /// Nobody whom we know signed it.
    #[error("the CRL was not signed with the key of {by}")]
    BadSignature {
        /// Who should have signed it.
        by: String,
    },
    /// Its signer may not sign lists.
    #[error("the CRL was signed by {by}, whose key usage lacks cRLSign")]
    MayNotSign {
        /// Who signed it.
        by: String,
    },
    /// It is signed with a broken hash function.
    #[error("the CRL of {issuer} is signed with a hash that can be forged; allow_weak = yes would accept it")]
    Weak {
        /// Whose list it is.
        issuer: String,
    },
    /// It says something that must not be ignored and that we do not know.
    #[error("the CRL of {issuer} has the critical extension {extension}, which we do not know")]
    UnknownCritical {
        /// Whose list it is.
        issuer: String,
        /// The extension.
        extension: ObjectIdentifier,
    },
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status<F> {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked(Revoked),
    /// Nobody knows, and why.
    Unknown(F),
}

/// Finds out what lists say of a certificate (RFC 5280 §6.3.3).
///
/// `signers` are the certificates whose keys may have signed the lists: the certificate's issuer, and others that were
/// shown to be valid for [`crate::Purpose::Crl`] below the same trust anchor.
pub fn status(
    certificate: &Certificate,
    signers: &[Certificate],
    crls: &[Crl],
    now: Time,
    weak: Weak,
) -> Status<CrlFault> {
    let mut search = Search { certificate, signers, crls, now, weak, fault: None };
    let points = &certificate.extensions().distribution_points;
    // §6.3.3, last paragraph: at last, lists that no distribution point names.
    let default = DistributionPoint::default();
    let mut covered = 0;
    // Of an issuer's lists that all still count, the newest is right.
    let mut complete: Vec<&Crl> = crls.iter().filter(|crl| !crl.is_delta()).collect();
    complete.sort_by_key(|crl| std::cmp::Reverse(crl.this_update()));
    for point in points.iter().chain([&default]) {
        for crl in complete.iter().filter(|crl| is_in_scope(crl, point, certificate)) {
            // (d) and (e).
            let reasons = point.reasons.unwrap_or(ALL_REASONS) & crl.reasons() & ALL_REASONS;
            if reasons & !covered == 0 {
                continue;
            }
            let Some(delta) = search.usable_with_delta(crl) else { continue };
            // (i) to (k).
            let found = delta.and_then(|delta| delta.find(certificate)).or_else(|| crl.find(certificate));
            if let Some(revoked) = found.filter(|found| found.reason != RevocationReason::RemoveFromCrl) {
                return Status::Revoked(revoked);
            }
            covered |= reasons;
            if covered == ALL_REASONS {
                return Status::Good;
            }
        }
    }
    let issuer = certificate.issuer().to_string();
    Status::Unknown(search.fault.unwrap_or(CrlFault::Missing { issuer }))
}

/// Every bit of ReasonFlags but the one that is not used (RFC 5280 §4.2.1.13).
const ALL_REASONS: u16 = 0b1_1111_1110;

impl Crl {
    fn reasons(&self) -> u16 {
        self.0.extensions.scope.as_ref().and_then(|scope| scope.reasons).unwrap_or(ALL_REASONS)
    }
}

/// §6.3.3 (b): whether a complete list is one that a distribution point means, and is about the certificate.
fn is_in_scope(crl: &Crl, point: &DistributionPoint, certificate: &Certificate) -> bool {
    let scope = crl.0.extensions.scope.as_ref();
    let is_right_issuer = if point.crl_issuer.is_empty() {
        crl.issuer() == certificate.issuer()
    } else {
        point.crl_issuer.contains(crl.issuer()) && scope.is_some_and(|scope| scope.is_indirect)
    };
    let Some(scope) = scope else { return is_right_issuer };
    let issuers = || point.crl_issuer.iter().cloned().map(GeneralName::Directory).collect();
    let own_names: Vec<GeneralName> = match (point.names.is_empty(), point.crl_issuer.is_empty()) {
        (false, _) => point.names.clone(),
        (true, false) => issuers(),
        (true, true) => vec![GeneralName::Directory(certificate.issuer().clone())],
    };
    let has_right_name = scope.names.is_empty() || scope.names.iter().any(|name| own_names.contains(name));
    let is_about = match (scope.only_attributes, scope.only_ends, scope.only_cas) {
        (true, _, _) | (_, true, true) => false,
        (false, true, false) => !certificate.is_ca(),
        (false, false, true) => certificate.is_ca(),
        (false, false, false) => true,
    };
    is_right_issuer && has_right_name && is_about
}

struct Search<'a> {
    certificate: &'a Certificate,
    signers: &'a [Certificate],
    crls: &'a [Crl],
    now: Time,
    weak: Weak,
    /// The first thing that was wrong with a list.
    fault: Option<CrlFault>,
}

impl<'a> Search<'a> {
    /// Checks a complete list, and finds the delta to it. A list that is too old counts with a delta that is not.
    fn usable_with_delta(&mut self, crl: &Crl) -> Option<Option<&'a Crl>> {
        let signer = self.keep(self.signer(crl))?;
        let deltas = self.crls.iter().filter(|delta| is_delta_to(delta, crl));
        let mut usable: Vec<&Crl> = deltas
            .filter(|delta| self.time_fault(delta).is_none() && self.is_signed(delta, signer))
            .collect();
        usable.sort_by(|a, b| compare_numbers(a.number(), b.number()));
        let delta = usable.pop();
        match (self.time_fault(crl), delta) {
            (Some(CrlFault::Stale { .. }), Some(_)) | (None, _) => Some(delta),
            (Some(fault), _) => self.keep(Err(fault)),
        }
    }

    fn keep<T>(&mut self, result: Result<T, CrlFault>) -> Option<T> {
        result.map_err(|fault| self.fault.get_or_insert(fault).clone()).ok()
    }

    /// Finds whose key has signed a list; for lack of the right one, says what is wrong with the likeliest.
    fn signer(&self, crl: &Crl) -> Result<&'a Certificate, CrlFault> {
        let issuer = crl.issuer().to_string();
        if let Some(extension) = crl.0.extensions.unknown_critical {
            return Err(CrlFault::UnknownCritical { issuer, extension });
        }
        let mut fault = CrlFault::BadSignature { by: issuer };
        for signer in self.signers.iter().filter(|signer| signer.subject() == crl.issuer()) {
            match crl.verify(signer, self.weak) {
                Ok(()) => return Ok(signer),
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    fn is_signed(&self, crl: &Crl, signer: &Certificate) -> bool {
        crl.0.extensions.unknown_critical.is_none() && crl.verify(signer, self.weak).is_ok()
    }

    fn time_fault(&self, crl: &Crl) -> Option<CrlFault> {
        let issuer = || self.certificate.issuer().to_string();
        match crl.next_update() {
            _ if self.now.after_secs(limits::CLOCK_SKEW_SECS) < crl.this_update() => {
                Some(CrlFault::Early { issuer: issuer(), this_update: crl.this_update() })
            }
            Some(next_update) if self.now > next_update => {
                Some(CrlFault::Stale { issuer: issuer(), next_update })
            }
            Some(_) | None => None,
        }
    }
}

/// §6.3.3 (c) and §5.2.4: whether a delta can update a complete list.
fn is_delta_to(delta: &Crl, complete: &Crl) -> bool {
    let (ours, theirs) = (&delta.0.extensions, &complete.0.extensions);
    let Some(base) = &ours.base else { return false };
    delta.issuer() == complete.issuer()
        && ours.scope == theirs.scope
        && ours.authority_key_id == theirs.authority_key_id
        && compare_numbers(base, complete.number()).is_le()
        && compare_numbers(complete.number(), delta.number()).is_lt()
}

/// Compares big-endian numbers without leading zeros.
fn compare_numbers(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn read(octets: &[u8]) -> der::Result<Parts> {
    let signed = Signed::from_der(octets)?;
    let content = signed.content.clone();
    let tbs = EncodedTbs::from_der(&content)?;
    if tbs.signature.to_der()? != signed.algorithm || tbs.version.is_some_and(|version| version != 1) {
        return Err(der::Tag::Sequence.value_error().into());
    }
    let mut extensions = read_extensions(tbs.extensions.as_deref().unwrap_or_default())?;
    let entries = tbs.revoked.map_or(Ok(Vec::new()), |revoked| read_entries(revoked, &mut extensions))?;
    Ok(Parts {
        der: octets.to_vec(),
        signed,
        issuer: read_any_name(tbs.issuer)?,
        this_update: tbs.this_update.into(),
        next_update: tbs.next_update.map(Time::from),
        entries,
        extensions,
    })
}

fn read_extensions(extensions: &[Extension]) -> der::Result<ListExtensions> {
    let mut read = ListExtensions::default();
    for extension in extensions {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            oid::CRL_NUMBER => read.number = read_number(value)?,
            oid::DELTA_CRL_INDICATOR => read.base = Some(read_number(value)?),
            oid::AUTHORITY_KEY_IDENTIFIER => read.authority_key_id = read_authority(value)?.key_id,
            oid::ISSUING_DISTRIBUTION_POINT => read.scope = Some(read_scope(value)?),
            oid::FRESHEST_CRL => read.freshest = read_points(value)?,
            other if extension.critical => read.unknown_critical = Some(other),
            // Where else something can be had.
            _ => {}
        }
    }
    Ok(read)
}

fn read_number(value: &[u8]) -> der::Result<Vec<u8>> {
    let number = Int::from_der(value)?;
    let zeros = number.as_bytes().iter().take_while(|octet| **octet == 0).count();
    Ok(number.as_bytes()[zeros..].to_vec())
}

fn read_scope(value: &[u8]) -> der::Result<Scope> {
    let scope = EncodedScope::from_der(value)?;
    Ok(Scope {
        names: scope.names.map_or(Ok(Vec::new()), |names| read_point_names(&names))?,
        only_ends: scope.only_ends,
        only_cas: scope.only_cas,
        only_attributes: scope.only_attributes,
        reasons: scope.reasons.map(flags_of),
        is_indirect: scope.is_indirect,
    })
}

fn read_entries(revoked: &SequenceRef, list: &mut ListExtensions) -> der::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    // RFC 5280 §5.3.3: an entry without an issuer has that of the entry before.
    let mut issuer = None;
    let mut reader = SliceReader::new(revoked.as_bytes())?;
    while !reader.is_finished() {
        let entry = EncodedEntry::decode(&mut reader)?;
        let mut reason = RevocationReason::Unspecified;
        for extension in entry.extensions.iter().flatten() {
            let value = extension.extn_value.as_bytes();
            match extension.extn_id {
                oid::CRL_REASON => reason = RevocationReason::from_der(value)?,
                oid::CERTIFICATE_ISSUER => issuer = read_issuer(value)?.map(Arc::new),
                other if extension.critical => list.unknown_critical = Some(other),
                // Since when the key may be known to others.
                _ => {}
            }
        }
        let revoked = Revoked { at: entry.at.into(), reason };
        entries.push(Entry { serial: entry.serial.as_bytes().into(), issuer: issuer.clone(), revoked });
    }
    entries.sort_by(|a, b| a.serial.cmp(&b.serial));
    Ok(entries)
}

fn read_issuer(value: &[u8]) -> der::Result<Option<DistinguishedName>> {
    let names = read_names(&Vec::from_der(value)?)?;
    Ok(names.into_iter().find_map(|name| match name {
        GeneralName::Directory(name) => Some(name),
        _ => None,
    }))
}

impl PartialEq for Crl {
    fn eq(&self, other: &Crl) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, {} entries)", self.issuer(), self.0.entries.len())
    }
}
