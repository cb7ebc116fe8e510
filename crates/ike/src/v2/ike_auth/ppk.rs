//! A post-quantum pre-shared key (PPK) in the keys of an IKE SA (RFC 8784): whoever records the messages and some day breaks
//! the key exchange has nothing without it.
//!
//! ```text
//!   IKE_SA_INIT     N(USE_PPK)                                     -->   we have one for this peer
//!                                                                  <--   N(USE_PPK)
//!   both            SK_d = prf+ (PPK, SK_d), and SK_pi and SK_pr alike
//!   IKE_AUTH        AUTH by the new keys, N(PPK_IDENTITY, its name)
//!                   [N(NO_PPK_AUTH, AUTH by the old keys)]         -->   if the connection can do without
//!                                                                  <--   N(PPK_IDENTITY): it is used; without: it is not
//! ```
//!
//! It is mixed in once: what replaces the IKE SA has it from SK_d.

use crypto::Secret;
use wire::registry::NotifyType;
use wire::v2::{Authentication, Notify, Payload};

use crate::authentication::v2::{Proof, Transcript};
use crate::context::Context;
use crate::error::Error;
use crate::v2::channel::{Channel, PpkUse};
use crate::v2::contents::Contents;
use crate::v2::keys::MixableKeys;
use crate::{Connection, Identity, IdentityPattern, PpkNeed, PpkTerms, SecretKind};

/// Tells whether an end says in IKE_SA_INIT that it has a PPK, if it speaks for these connections.
pub(crate) fn is_announced<'a>(cx: &Context, connections: impl IntoIterator<Item = &'a Connection>) -> bool {
    let has_one = |terms: &PpkTerms| match &terms.id {
        IdentityPattern::Exact(name) => find(cx, terms, &name.to_wire().data).is_some(),
        _ => true,
    };
    connections.into_iter().filter_map(|connection| connection.ppk.as_ref()).any(has_one)
}

/// Finds the PPK of a name that the terms allow, by that name as the wire has it.
fn find<'a>(cx: &'a Context, terms: &PpkTerms, name: &[u8]) -> Option<(&'a Identity, &'a Secret<Vec<u8>>)> {
    let ppks = cx.secrets.values().filter(|shared| shared.kind == SecretKind::PostQuantum);
    let mut named = ppks.flat_map(|shared| shared.owners.iter().map(move |owner| (owner, &shared.secret)));
    named.find_map(|(owner, secret)| {
        let IdentityPattern::Exact(exact) = owner else { return None };
        (exact.to_wire().data == name && terms.id.matches(exact)).then_some((exact, secret))
    })
}

// --- Initiator -----------------------------------------------------------------------------------------------------

/// How far we are with the PPK of an IKE SA that we began.
#[derive(Debug)]
pub(crate) enum Mixing {
    /// There is none.
    None,
    /// The proof that holds without it comes first.
    Before(Identity, Secret<Vec<u8>>),
    /// It is in the keys.
    Done(Mixed),
}

/// A PPK that is in our keys, before the peer has said that it is in its own.
#[derive(Debug)]
pub(crate) struct Mixed {
    name: Identity,
    /// The keys as they were.
    before: MixableKeys,
    /// Our proof by those, if the connection can do without a PPK.
    proof_without: Option<Vec<u8>>,
}

impl Mixing {
    /// Begins with the PPK that the connection names, if the peer uses such keys at all.
    ///
    /// # Errors
    /// The connection requires one, and the peer uses none, or we do not have it.
    pub(crate) fn begin(
        cx: &Context,
        connection: &Connection,
        channel: &mut Channel,
        transcript: &mut Transcript,
    ) -> Result<Mixing, Error> {
        let Some(terms) = &connection.ppk else { return Ok(Mixing::None) };
        let found = match &terms.id {
            IdentityPattern::Exact(name) => find(cx, terms, &name.to_wire().data),
            _ => None,
        };
        match (found, terms.need) {
            (Some((name, ppk)), PpkNeed::Optional) if transcript.abilities.uses_ppk => {
                Ok(Mixing::Before(name.clone(), ppk.clone()))
            }
            (Some((name, ppk)), PpkNeed::Required) if transcript.abilities.uses_ppk => {
                mix(name.clone(), ppk, None, channel, transcript).map(Mixing::Done)
            }
            (_, PpkNeed::Optional) => Ok(Mixing::None),
            (Some((name, _)), PpkNeed::Required) => Err(unused(name)),
            (None, PpkNeed::Required) => Err(Error::Local(format!(
                "no post-quantum pre-shared key called {} is configured, and the connection requires it",
                terms.id
            ))),
        }
    }

    /// Takes a proof of ours; gives it back if it is the one for AUTH. Otherwise it was the one for the case that the peer
    /// does not have the PPK, and another is needed now that it is in the keys.
    pub(super) fn take(
        &mut self,
        channel: &mut Channel,
        transcript: &mut Transcript,
        proof: Proof,
    ) -> Result<Option<Proof>, Error> {
        match std::mem::replace(self, Mixing::None) {
            Mixing::Before(name, ppk) => {
                let without = Some(proof.authentication.data);
                *self = Mixing::Done(mix(name, &ppk, without, channel, transcript)?);
                Ok(None)
            }
            other @ (Mixing::None | Mixing::Done(_)) => {
                *self = other;
                Ok(Some(proof))
            }
        }
    }

    /// Gives what goes with AUTH.
    pub(super) fn notifies(&self) -> Vec<Payload> {
        let Mixing::Done(mixed) = self else { return Vec::new() };
        let identity = [&[PPK_ID_FIXED], mixed.name.to_wire().data.as_slice()].concat();
        let without = mixed.proof_without.as_ref();
        let without = without.map(|proof| Notify::new(NotifyType::NO_PPK_AUTH, proof.clone()));
        let identity = Notify::new(NotifyType::PPK_IDENTITY, identity);
        std::iter::once(identity).chain(without).map(Payload::Notify).collect()
    }

    /// Reads in the response whether the peer has the PPK, and goes back to the keys without it if not.
    ///
    /// # Errors
    /// It does not, and the connection requires that.
    pub(super) fn settle(
        &mut self,
        channel: &mut Channel,
        transcript: &mut Transcript,
        response: &Contents,
    ) -> Result<(), Error> {
        let Mixing::Done(mixed) = std::mem::replace(self, Mixing::None) else { return Ok(()) };
        if response.notify(NotifyType::PPK_IDENTITY).is_some() {
            return Ok(());
        }
        if mixed.proof_without.is_none() {
            return Err(unused(&mixed.name));
        }
        put(mixed.before, PpkUse::None, channel, transcript);
        Ok(())
    }

    /// Names the PPK that we want in the keys, for sentences.
    pub(super) fn in_words(&self) -> String {
        match self {
            Mixing::None => String::new(),
            Mixing::Before(name, _) | Mixing::Done(Mixed { name, .. }) => {
                format!(", with the post-quantum pre-shared key {name}")
            }
        }
    }
}

fn unused(name: &Identity) -> Error {
    Error::AuthenticationFailed(format!(
        "the peer does not use the post-quantum pre-shared key {name}, and `ppk_required = yes`"
    ))
}

// --- Responder -----------------------------------------------------------------------------------------------------

/// Mixes the PPK in that the initiator names, and gives the proof by which it is to be believed: AUTH, or the one for the case
/// that we do not have the PPK (RFC 8784 §3, table 1).
///
/// # Errors
/// It is not ours, and one of the two ends requires it; or it names none.
pub(super) fn answer(
    cx: &Context,
    connection: &Connection,
    channel: &mut Channel,
    transcript: &mut Transcript,
    request: &Contents,
) -> Result<Authentication, Error> {
    let authentication = request.authentication()?;
    let is_required = connection.ppk.as_ref().is_some_and(|terms| terms.need == PpkNeed::Required);
    if !transcript.abilities.uses_ppk {
        return match &connection.ppk {
            Some(terms) if is_required => Err(Error::AuthenticationFailed(format!(
                "the peer uses no post-quantum pre-shared key; {} is configured, and `ppk_required = yes`",
                terms.id
            ))),
            _ => Ok(authentication.clone()),
        };
    }
    let named = request.notify(NotifyType::PPK_IDENTITY).and_then(|notify| notify.data.split_first());
    let Some((_, named)) = named else {
        let sentence = "the peer uses a post-quantum pre-shared key and does not say which";
        return Err(Error::AuthenticationFailed(sentence.to_owned()));
    };
    if let Some((name, ppk)) = connection.ppk.as_ref().and_then(|terms| find(cx, terms, named)) {
        mix(name.clone(), ppk, None, channel, transcript)?;
        return Ok(authentication.clone());
    }
    match request.notify(NotifyType::NO_PPK_AUTH) {
        Some(without) if !is_required => {
            Ok(Authentication { method: authentication.method, data: without.data.clone() })
        }
        without => {
            let whose = match without {
                Some(_) => "is required here",
                None => "the peer cannot do without",
            };
            let ours =
                connection.ppk.as_ref().map_or_else(|| "none".to_owned(), |terms| terms.id.to_string());
            Err(Error::AuthenticationFailed(format!(
                "the peer names the post-quantum pre-shared key {}, which {whose}; configured is {ours}",
                String::from_utf8_lossy(named).escape_debug()
            )))
        }
    }
}

/// Says that the PPK is in our keys, if it is.
pub(super) fn confirmation(channel: &Channel) -> Option<Payload> {
    let name = channel.ppk.name();
    name.map(|_| Payload::Notify(Notify::new(NotifyType::PPK_IDENTITY, [])))
}

// --- Both ----------------------------------------------------------------------------------------------------------

/// RFC 8784 §5.1: what follows is a name that both ends are configured with.
const PPK_ID_FIXED: u8 = 2;

fn mix(
    name: Identity,
    ppk: &Secret<Vec<u8>>,
    proof_without: Option<Vec<u8>>,
    channel: &mut Channel,
    transcript: &mut Transcript,
) -> Result<Mixed, Error> {
    let before = transcript.mixable_keys(channel.sk_d.clone());
    let after = before.mixed_with(channel.suite.prf.prf, ppk);
    let after = after.map_err(|fault| Error::Local(fault.to_string()))?;
    put(after, PpkUse::Mixed(name.clone()), channel, transcript);
    Ok(Mixed { name, before, proof_without })
}

fn put(keys: MixableKeys, ppk: PpkUse, channel: &mut Channel, transcript: &mut Transcript) {
    let MixableKeys { sk_d, sk_pi, sk_pr } = keys;
    transcript.prove_with(sk_pi, sk_pr, ppk.name().cloned());
    channel.sk_d = sk_d;
    channel.ppk = ppk;
}
