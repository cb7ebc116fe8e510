//! The AUTH payload: how an end proves in IKEv2 who it is (RFC 7296 §2.15).
//!
//! ```text
//!   signed octets = own IKE_SA_INIT message | the other's nonce | prf(SK_p, own ID payload) | what IKE_INTERMEDIATE adds
//!   or, if both ends know how, 8 zero octets | the other's IKE_SA_INIT message | the same: nobody can then have made them
//!   agree on less than they might have (draft-ietf-ipsecme-ikev2-downgrade-prevention §6)
//!
//!   2        prf(prf(secret, "Key Pad for IKEv2"), signed octets)
//!   13       the same with the end's own SK_p in place of the secret: it proves nothing but that its IKE_SA_INIT message is
//!            the one that the keys are of (RFC 7619 §2.1)
//!   14       a signature over them whose kind is named in front of it (RFC 7427)
//!   1        RSA with PKCS #1 v1.5                                         for peers that know no 14
//!   9 to 11  ECDSA on P-256, P-384 or P-521 (RFC 4754)                     for peers that know no 14
//! ```

use std::sync::Arc;

use crypto::signature::{Curve, KeyKind, SignatureHash, SignatureScheme};
use crypto::{Prf, Secret};
use sa::{IkeSuite, SignatureTerms};
use wire::registry::{AuthMethod, CertificateEncoding, HashAlgorithm, NotifyType};
use wire::v2::{Authentication, Certificate, Identification};

use super::PeerAuthenticated;
use crate::context::Context;
use crate::credentials::{
    AuthorityId, AuthorityName, SignRequest, SignatureForm, Signed, TrustRequest, TrustedKey,
};
use crate::error::Error;
use crate::v2::contents::Contents;
use crate::v2::ike_session_resume::Resumed;
use crate::v2::keys::{IkeKeys, MixableKeys, Nonces, SignedOctets, null_auth, psk_auth, resumed_auth};
use crate::{Connection, Identity, Role};

/// What an IKE_SA_INIT exchange leaves for the AUTH payloads to sign.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    /// What the peer said there about signatures.
    pub abilities: PeerAbilities,
    sk_pi: Secret<Vec<u8>>,
    sk_pr: Secret<Vec<u8>>,
    int_auth: IntAuth,
    /// Beside what a proof that does not fit may have been made with another key, for sentences.
    ppk: Option<Identity>,
    /// What the IKE SA was, if it is had again (RFC 5723).
    pub resumed: Option<Box<Resumed>>,
}

/// The digests of the IKE_INTERMEDIATE exchanges so far (RFC 9242 §3.3.2).
#[derive(Debug, Default)]
struct IntAuth {
    initiator: Secret<Vec<u8>>,
    responder: Secret<Vec<u8>>,
    exchanges: u32,
}

/// What the peer has said of proofs, and of the signatures and certificates that it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerAbilities {
    /// The hashes that it takes (RFC 7427 §4); `None` if it knows digital signatures only by their numbers.
    pub hashes: Option<Vec<HashAlgorithm>>,
    /// The CAs that it trusts; `None` if it has asked for no certificate.
    pub authorities: Option<Vec<AuthorityId>>,
    /// Whether it wants to know what OCSP says of our certificate (RFC 4806).
    pub wants_ocsp: bool,
    /// The digital signatures that it takes, as AlgorithmIdentifiers in DER (RFC 9593); `None` if it has not said.
    pub announced: Option<Vec<Vec<u8>>>,
    /// Whether it takes a key without a certificate (RFC 7670).
    pub takes_raw_key: bool,
    /// Whether it can fetch certificates (RFC 7296 §3.6).
    pub can_look_up: bool,
    /// Whether it signs both messages of IKE_SA_INIT, as we do (draft-ietf-ipsecme-ikev2-downgrade-prevention §6).
    pub signs_both: bool,
    /// Whether both ends have said that they use post-quantum pre-shared keys (RFC 8784 §3).
    pub uses_ppk: bool,
    /// Whether it knows several rounds of authentication (RFC 4739 §3.1).
    pub takes_rounds: bool,
    /// Whether it takes an IKE_AUTH without a Child SA (RFC 6023 §3).
    pub takes_childless: bool,
    /// Whether it goes to another gateway if told to (RFC 5685).
    pub follows_redirections: bool,
}

impl PeerAbilities {
    /// Takes in what a message asks for of our certificates.
    pub(crate) fn take_in_request(&mut self, contents: &Contents) {
        self.authorities = contents.authorities();
        self.wants_ocsp = contents.requests(CertificateEncoding::OCSP);
        self.announced = contents.announced_signatures();
        self.takes_raw_key = contents.requests(CertificateEncoding::RAW_PUBLIC_KEY);
        self.can_look_up = contents.notify(NotifyType::HTTP_CERT_LOOKUP_SUPPORTED).is_some();
    }
}

impl Transcript {
    pub(crate) fn new(
        keys: &IkeKeys,
        (request, response): (Vec<u8>, Vec<u8>),
        (nonce_i, nonce_r): (Vec<u8>, Vec<u8>),
        abilities: PeerAbilities,
    ) -> Transcript {
        Transcript {
            request,
            response,
            nonce_i,
            nonce_r,
            abilities,
            sk_pi: keys.sk_pi.clone(),
            sk_pr: keys.sk_pr.clone(),
            int_auth: IntAuth::default(),
            ppk: None,
            resumed: None,
        }
    }

    /// Says that the IKE SA is one that was there before.
    pub(crate) fn resuming(self, resumed: Resumed) -> Transcript {
        Transcript { resumed: Some(Box::new(resumed)), ..self }
    }

    /// Takes in an IKE_INTERMEDIATE exchange, its messages whole and not encrypted.
    pub(crate) fn take_in(&mut self, prf: &dyn Prf, request: &[u8], response: &[u8]) {
        let IntAuth { initiator, responder, exchanges } = &mut self.int_auth;
        *initiator = prf.compute(self.sk_pi.as_slice(), &[initiator.as_slice(), request]);
        *responder = prf.compute(self.sk_pr.as_slice(), &[responder.as_slice(), response]);
        *exchanges += 1;
    }

    /// Goes on with the keys that an additional key exchange made.
    pub(crate) fn renew(&mut self, keys: &IkeKeys) {
        self.sk_pi = keys.sk_pi.clone();
        self.sk_pr = keys.sk_pr.clone();
    }

    /// Gives the keys that a post-quantum pre-shared key changes, SK_d among them.
    pub(crate) fn mixable_keys(&self, sk_d: Secret<Vec<u8>>) -> MixableKeys {
        MixableKeys { sk_d, sk_pi: self.sk_pi.clone(), sk_pr: self.sk_pr.clone() }
    }

    /// Proves by these keys from now on; `ppk` is the name of what was mixed into them.
    pub(crate) fn prove_with(
        &mut self,
        sk_pi: Secret<Vec<u8>>,
        sk_pr: Secret<Vec<u8>>,
        ppk: Option<Identity>,
    ) {
        self.sk_pi = sk_pi;
        self.sk_pr = sk_pr;
        self.ppk = ppk;
    }

    /// Says what else may differ where a proof does not fit.
    fn doubt(&self) -> String {
        match &self.ppk {
            Some(name) => {
                format!(", or the two ends have different post-quantum pre-shared keys called {name}")
            }
            None => String::new(),
        }
    }

    /// Gives the message id of what comes next, which is IKE_AUTH in the end: IKE_SA_INIT had 0.
    pub(crate) fn next_message_id(&self) -> u32 {
        1 + self.int_auth.exchanges
    }

    /// Gives what the IKE_INTERMEDIATE exchanges add to what both ends sign, the message id of IKE_AUTH last.
    fn int_auth(&self) -> Vec<u8> {
        let IntAuth { initiator, responder, exchanges } = &self.int_auth;
        match exchanges {
            0 => Vec::new(),
            _ => {
                let message_id = self.next_message_id().to_be_bytes();
                [initiator.as_slice(), responder.as_slice(), &message_id].concat()
            }
        }
    }

    pub(crate) fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.nonce_i, responder: &self.nonce_r }
    }

    /// Gives what the end with this role signs, with the body of its ID payload.
    fn signed_by<'a>(&'a self, role: Role, identification_body: &'a [u8]) -> SignedOctets<'a> {
        let signs_both = self.abilities.signs_both;
        match role {
            Role::Initiator => SignedOctets {
                others_message: signs_both.then_some(&self.response),
                message: &self.request,
                nonce: &self.nonce_r,
                sk_p: &self.sk_pi,
                identification_body,
                int_auth: self.int_auth(),
            },
            Role::Responder => SignedOctets {
                others_message: signs_both.then_some(&self.request),
                message: &self.response,
                nonce: &self.nonce_i,
                sk_p: &self.sk_pr,
                identification_body,
                int_auth: self.int_auth(),
            },
        }
    }
}

// --- Our proof -----------------------------------------------------------------------------------------------------

/// What we say of ourselves.
pub(crate) struct Proof {
    pub certificates: Vec<Certificate>,
    pub authentication: Authentication,
}

/// Whether we can say it already.
pub(crate) enum Proving {
    /// We can.
    Ready(Proof),
    /// Somebody outside must sign first.
    Wanted(Box<SignRequest>),
}

/// Makes our AUTH payload of a round, or says what is to be signed for it.
///
/// # Errors
/// No secret is configured for the two identities.
pub(crate) fn prove(
    cx: &Context,
    (connection, round): (&Arc<Connection>, usize),
    transcript: &Transcript,
    suite: &IkeSuite,
    role: Role,
    (local, remote): (&Identity, &Identity),
) -> Result<Proving, Error> {
    let body = local.to_wire().to_body();
    let signed = transcript.signed_by(role, &body);
    if let Some(resumed) = &transcript.resumed {
        resumed.check(resumed.peer.local(), local)?;
        let data = resumed_auth(suite.prf.prf, &signed).as_slice().to_vec();
        let authentication = Authentication { method: AuthMethod::SHARED_KEY, data };
        return Ok(Proving::Ready(Proof { certificates: Vec::new(), authentication }));
    }
    let authentication = connection
        .own_authentication(round)
        .ok_or_else(|| Error::Local(format!("connection {} has no round {round}", connection.name)))?;
    match authentication {
        crate::Authentication::PreSharedKey => {
            let secret = cx.shared_secret(local, remote).ok_or_else(|| {
                Error::Local(format!("no pre-shared key is configured for {local} and {remote}"))
            })?;
            let value = psk_auth(suite.prf.prf, secret.as_slice(), &signed);
            let data = value.as_slice().to_vec();
            let authentication = Authentication { method: AuthMethod::SHARED_KEY, data };
            Ok(Proving::Ready(Proof { certificates: Vec::new(), authentication }))
        }
        crate::Authentication::Null => {
            let data = null_auth(suite.prf.prf, &signed).as_slice().to_vec();
            let authentication = Authentication { method: AuthMethod::NULL, data };
            Ok(Proving::Ready(Proof { certificates: Vec::new(), authentication }))
        }
        crate::Authentication::User => {
            Err(Error::Local("IKEv2 knows no end that only its user's password proves".to_owned()))
        }
        crate::Authentication::Encryption(_) => {
            Err(Error::Local("IKEv2 knows no authentication by public key encryption".to_owned()))
        }
        crate::Authentication::Signature(_) => {
            let abilities = &transcript.abilities;
            Ok(Proving::Wanted(Box::new(SignRequest {
                connection: Arc::clone(connection),
                round,
                local: local.clone(),
                message: signed.to_vec(suite.prf.prf),
                form: abilities.hashes.clone().map_or(SignatureForm::Numbered, SignatureForm::Named),
                authorities: abilities
                    .authorities
                    .as_ref()
                    .map(|ids| ids.iter().copied().map(AuthorityName::KeyId).collect()),
                wants_ocsp: abilities.wants_ocsp && connection.certificates.ocsp.replies(),
                announced: abilities.announced.clone(),
                takes_raw_key: abilities.takes_raw_key,
                can_look_up: abilities.can_look_up,
            })))
        }
    }
}

/// Makes our AUTH payload of a signature that was made outside.
///
/// # Errors
/// The scheme has neither a name nor a number.
pub(crate) fn proof_of(form: &SignatureForm, signed: Signed) -> Result<Proof, Error> {
    let Signed { certificates, scheme, algorithm, signature } = signed;
    let authentication = match form {
        SignatureForm::Named(_) => Authentication::digital_signature(&algorithm, &signature)
            .map_err(|fault| Error::Local(fault.to_string()))?,
        SignatureForm::Numbered | SignatureForm::Bare(_) => {
            let method = number_of(scheme)
                .ok_or_else(|| Error::Local(format!("the peer has no number for {scheme}")))?;
            Authentication { method, data: signature }
        }
    };
    Ok(Proof { certificates, authentication })
}

fn number_of(scheme: SignatureScheme) -> Option<AuthMethod> {
    match scheme {
        SignatureScheme::RsaPkcs1(SignatureHash::Sha1) => Some(AuthMethod::RSA_SIGNATURE),
        SignatureScheme::EcdsaFixed(SignatureHash::Sha2_256) => Some(AuthMethod::ECDSA_SHA256_P256),
        SignatureScheme::EcdsaFixed(SignatureHash::Sha2_384) => Some(AuthMethod::ECDSA_SHA384_P384),
        SignatureScheme::EcdsaFixed(SignatureHash::Sha2_512) => Some(AuthMethod::ECDSA_SHA512_P521),
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss { .. }
        | SignatureScheme::RsaBare
        | SignatureScheme::Ecdsa(_)
        | SignatureScheme::EcdsaFixed(SignatureHash::Sha1)
        | SignatureScheme::EcdsaBare
        | SignatureScheme::Ed25519
        | SignatureScheme::Ed448
        | SignatureScheme::MlDsa(_) => None,
    }
}

// --- The peer's proof ----------------------------------------------------------------------------------------------

/// Who the peer says it is, and how it proves that.
pub(crate) struct Claim<'a> {
    pub connection: &'a Arc<Connection>,
    /// The round of its authentication, from 0 up.
    pub round: usize,
    /// How it must prove itself in that.
    pub wanted: &'a crate::Authentication,
    pub transcript: &'a Transcript,
    pub suite: &'a IkeSuite,
    pub our_role: Role,
    pub local: Identity,
    /// Its ID payload as it came.
    pub identification: &'a Identification,
    /// Its AUTH payload.
    pub proof: &'a Authentication,
    /// Its CERT payloads.
    pub certificates: Vec<Certificate>,
}

/// Whether a claim is believed already.
pub(crate) enum Belief {
    /// It is proven.
    Proven(PeerAuthenticated),
    /// Somebody outside must say first which key is the peer's.
    Depends(Box<TrustRequest>),
}

impl Claim<'_> {
    /// Checks the proof, or says what is to be found out for that.
    ///
    /// # Errors
    /// The proof is of a kind that is not configured, no secret is configured, or it does not fit.
    pub(crate) fn verify(&self, cx: &Context) -> Result<Belief, Error> {
        if let Some(resumed) = &self.transcript.resumed {
            return self.verify_resumed(resumed).map(Belief::Proven);
        }
        match (self.wanted, self.proof.method) {
            (crate::Authentication::PreSharedKey, AuthMethod::SHARED_KEY) => {
                self.verify_secret(cx).map(Belief::Proven)
            }
            (crate::Authentication::Null, AuthMethod::NULL) => self.verify_null().map(Belief::Proven),
            (
                crate::Authentication::Signature(_),
                AuthMethod::RSA_SIGNATURE
                | AuthMethod::ECDSA_SHA256_P256
                | AuthMethod::ECDSA_SHA384_P384
                | AuthMethod::ECDSA_SHA512_P521
                | AuthMethod::DIGITAL_SIGNATURE,
            ) => {
                let is_named = self.proof.method == AuthMethod::DIGITAL_SIGNATURE;
                let algorithm =
                    is_named.then(|| self.proof.signature_parts().map(|(algorithm, _)| algorithm.to_vec()));
                Ok(Belief::Depends(Box::new(TrustRequest {
                    connection: Arc::clone(self.connection),
                    round: self.round,
                    remote: self.remote(),
                    certificates: self.certificates.clone(),
                    algorithm: algorithm.transpose()?,
                })))
            }
            (configured, method) => {
                let remote = self.remote();
                let sentence = format!("{remote} proves itself by \"{method}\"; configured is {configured}");
                Err(Error::AuthenticationFailed(sentence))
            }
        }
    }

    fn remote(&self) -> Identity {
        Identity::from_wire(self.identification)
    }

    /// RFC 5723 §4.3.3: both ends are who they were, and the new keys prove that.
    fn verify_resumed(&self, resumed: &Resumed) -> Result<PeerAuthenticated, Error> {
        resumed.check(resumed.peer.local(), &self.local)?;
        resumed.check(resumed.peer.remote(), &self.remote())?;
        let body = self.identification.to_body();
        let signed = self.transcript.signed_by(self.our_role.opposite(), &body);
        if self.proof.method == AuthMethod::SHARED_KEY
            && resumed_auth(self.suite.prf.prf, &signed).ct_eq(&self.proof.data)
        {
            return Ok(resumed.peer.clone());
        }
        let sentence = format!("{} does not have the keys of the IKE SA that it wants back", self.remote());
        Err(Error::AuthenticationFailed(sentence))
    }

    /// RFC 7619 §2.4: whoever it is, what it says of itself is not proven, so that it is nobody to us.
    fn verify_null(&self) -> Result<PeerAuthenticated, Error> {
        let body = self.identification.to_body();
        let signed = self.transcript.signed_by(self.our_role.opposite(), &body);
        if !null_auth(self.suite.prf.prf, &signed).ct_eq(&self.proof.data) {
            let sentence = "what came of a peer that proves nothing is not what it sent".to_owned();
            return Err(Error::AuthenticationFailed(sentence));
        }
        Ok(PeerAuthenticated {
            local: self.local.clone(),
            remote: Identity::Null,
            own_user: None,
            user: None,
            addresses: None,
        })
    }

    fn verify_secret(&self, cx: &Context) -> Result<PeerAuthenticated, Error> {
        let (local, remote) = (&self.local, self.remote());
        let secret = cx.shared_secret(local, &remote).ok_or_else(|| {
            Error::AuthenticationFailed(format!("no pre-shared key is configured for {local} and {remote}"))
        })?;
        let body = self.identification.to_body();
        let signed = self.transcript.signed_by(self.our_role.opposite(), &body);
        if psk_auth(self.suite.prf.prf, secret.as_slice(), &signed).ct_eq(&self.proof.data) {
            Ok(PeerAuthenticated {
                local: local.clone(),
                remote,
                own_user: None,
                user: None,
                addresses: None,
            })
        } else {
            let doubt = self.transcript.doubt();
            let sentence =
                format!("the pre-shared keys of {local} (here) and {remote} (the peer) differ{doubt}");
            Err(Error::AuthenticationFailed(sentence))
        }
    }

    /// Checks the signature with the key that is known to be the peer's.
    ///
    /// # Errors
    /// It is of a kind that is not allowed, or does not fit.
    pub(crate) fn verify_with(&self, trusted: TrustedKey) -> Result<PeerAuthenticated, Error> {
        let crate::Authentication::Signature(terms) = self.wanted else {
            return Err(Error::Local("a pre-shared key is not proven by a signature".to_owned()));
        };
        let remote = self.remote();
        let TrustedKey { key, scheme, addresses, certificate: _ } = trusted;
        let (signature, schemes) = match self.proof.method {
            AuthMethod::DIGITAL_SIGNATURE => (self.proof.signature_parts()?.1, Vec::from_iter(scheme)),
            method => (self.proof.data.as_slice(), schemes_of(method, key.kind())),
        };
        let (kind, bits) = (key.kind(), key.bits());
        let allowed = |scheme: &&SignatureScheme| terms.rank(**scheme, bits).is_some();
        if !schemes.iter().any(|scheme| allowed(&scheme)) {
            return Err(Error::AuthenticationFailed(not_allowed(&remote, terms, &schemes, (kind, bits))));
        }
        let body = self.identification.to_body();
        let signed = self.transcript.signed_by(self.our_role.opposite(), &body).to_vec(self.suite.prf.prf);
        if schemes.iter().filter(allowed).any(|scheme| key.verify(*scheme, &signed, signature).is_ok()) {
            Ok(PeerAuthenticated { local: self.local.clone(), remote, own_user: None, user: None, addresses })
        } else {
            let doubt = self.transcript.doubt();
            let sentence = format!("the signature of {remote} was not made with its key of {kind}{doubt}");
            Err(Error::AuthenticationFailed(sentence))
        }
    }
}

/// What a numbered method may be. RSA names its hash in the padding, and not all take the RFC's SHA-1 (RFC 7296 §3.8).
fn schemes_of(method: AuthMethod, kind: KeyKind) -> Vec<SignatureScheme> {
    use SignatureHash::{Sha1, Sha2_256, Sha2_384, Sha2_512};
    match (method, kind) {
        (AuthMethod::RSA_SIGNATURE, KeyKind::Rsa) => {
            [Sha2_256, Sha2_384, Sha2_512, Sha1].map(SignatureScheme::RsaPkcs1).to_vec()
        }
        (AuthMethod::ECDSA_SHA256_P256, KeyKind::Ecdsa(Curve::P256)) => {
            vec![SignatureScheme::EcdsaFixed(Sha2_256)]
        }
        (AuthMethod::ECDSA_SHA384_P384, KeyKind::Ecdsa(Curve::P384)) => {
            vec![SignatureScheme::EcdsaFixed(Sha2_384)]
        }
        (AuthMethod::ECDSA_SHA512_P521, KeyKind::Ecdsa(Curve::P521)) => {
            vec![SignatureScheme::EcdsaFixed(Sha2_512)]
        }
        _ => Vec::new(),
    }
}

fn not_allowed(
    remote: &Identity,
    terms: &SignatureTerms,
    schemes: &[SignatureScheme],
    (kind, bits): (KeyKind, usize),
) -> String {
    let how = match schemes {
        [] => "in a way that its key does not sign".to_owned(),
        [scheme] => format!("by {scheme}"),
        [_, ..] => "by RSA PKCS#1 v1.5".to_owned(),
    };
    format!("{remote} signs {how} with a key of {kind} and {bits} bits; allowed is {terms}")
}
