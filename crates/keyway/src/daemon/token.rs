//! Private keys on tokens, through the PKCS #11 modules of their makers.
//!
//! ```text
//!   secrets { token-gw { handle, slot, module, pin } } ─┐
//!   vici: load-token ───────────────────────────────────┴─► find and unlock ─► a private key that signs over there
//! ```
//!
//! A module is code of somebody else's in our process, so only those that the command line names are loaded. Tokens are
//! slow and may want a finger on a button: whoever calls into this module does so on a thread that may wait.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use config::Token;
use crypto::encryption::{CannotDecrypt, Unpadding};
use crypto::signature::{CannotSign, KeyKind, SignatureHash, SignatureScheme, der_of_fixed};
use crypto::{Random, Secret, SigningKey, SystemRandom, VerifyingKey};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use pki::{PrivateKey, PublicKey};
use tokio::task::spawn_blocking;

/// A module that the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// By which name the configuration knows it.
    pub(crate) name: String,
    /// The shared library.
    pub(crate) path: PathBuf,
}

impl std::str::FromStr for Module {
    type Err = String;

    /// Reads `name=path`, or a path alone, whose file then is the name.
    fn from_str(text: &str) -> Result<Module, String> {
        if let Some((name, path)) = text.split_once('=') {
            return Ok(Module { name: name.to_owned(), path: path.into() });
        }
        let path = PathBuf::from(text);
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a module is a file")?.to_owned();
        Ok(Module { name, path })
    }
}

/// All modules; each is loaded when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    named: Vec<Module>,
    loaded: Mutex<BTreeMap<PathBuf, Pkcs11>>,
}

impl Modules {
    pub(crate) fn new(named: Vec<Module>) -> Modules {
        Modules { named, loaded: Mutex::default() }
    }

    /// Finds a key and unlocks it. This may take as long as the token likes.
    ///
    /// # Errors
    /// There is no such module, token or key, or the PIN is wrong; one sentence.
    pub(crate) fn open(&self, token: &Token) -> Result<PrivateKey, String> {
        let module = self.load(token.module.as_deref())?;
        let slots = module.get_slots_with_initialized_token().map_err(words("the module names no tokens"))?;
        let wanted = |slot: &Slot| token.slot.is_none_or(|wanted| slot.id() == wanted);
        let slots: Vec<Slot> = slots.into_iter().filter(wanted).collect();
        if slots.is_empty() {
            return Err(match token.slot {
                Some(slot) => format!("there is no token in slot {slot}"),
                None => "there is no token".to_owned(),
            });
        }
        let mut fault = format!("no token has a private key with the handle {}", hex::encode(&token.handle));
        for slot in slots {
            match open_in(&module, slot, token) {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(sentence) => fault = sentence,
            }
        }
        Err(fault)
    }

    fn load(&self, name: Option<&str>) -> Result<Pkcs11, String> {
        let found = match name {
            Some(name) => self.named.iter().find(|module| module.name == name),
            None => self.named.first(),
        };
        let Module { path, .. } = found.ok_or_else(|| match name {
            Some(name) => format!("the daemon was started without --pkcs11-module {name}=…"),
            None => "the daemon was started without --pkcs11-module".to_owned(),
        })?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(module.clone());
        }
        let fault = |error: Error| format!("the module {} cannot be loaded: {error}", path.display());
        let module = Pkcs11::new(path).map_err(fault)?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(fault)?;
        loaded.insert(path.clone(), module.clone());
        Ok(module)
    }
}

/// Opens a token on a thread that may wait.
///
/// # Errors
/// There is no such module, token or key, or the PIN is wrong; one sentence.
pub(crate) async fn open(modules: &Arc<Modules>, token: Token) -> Result<PrivateKey, String> {
    let modules = Arc::clone(modules);
    spawn_blocking(move || modules.open(&token)).await.map_err(|fault| fault.to_string())?
}

fn words(what: &'static str) -> impl Fn(Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Looks for the key on one token.
fn open_in(module: &Pkcs11, slot: Slot, token: &Token) -> Result<Option<PrivateKey>, String> {
    let session = module.open_ro_session(slot).map_err(words("the token takes no session"))?;
    if let Some(pin) = &token.pin {
        let pin = String::from_utf8(pin.as_slice().to_vec()).map_err(|_| "the PIN is no text".to_owned())?;
        match session.login(UserType::User, Some(&AuthPin::from(pin))) {
            // All sessions of a token are logged in together.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(format!("the token in slot {} refuses the PIN: {error}", slot.id())),
        }
    }
    let of_class = |class| [Attribute::Class(class), Attribute::Id(token.handle.clone())];
    let find = |class| session.find_objects(&of_class(class)).map_err(words("the token names no objects"));
    let Some(private) = find(ObjectClass::PRIVATE_KEY)?.into_iter().next() else { return Ok(None) };
    let public = find(ObjectClass::PUBLIC_KEY)?.into_iter().next();
    let public = public_key(&session, private, public)?;
    let session = Mutex::new(session);
    let mut secret = Secret::new(vec![0; 32]);
    SystemRandom.fill(secret.expose_mut());
    let unpadding = Unpadding::new(secret.as_slice());
    let key = TokenKey { public: Arc::clone(public.verifying_key()), session, private, unpadding };
    Ok(Some(PrivateKey::elsewhere(Arc::new(key))))
}

/// Reads the public key that belongs to a private one.
fn public_key(
    session: &Session,
    private: ObjectHandle,
    public: Option<ObjectHandle>,
) -> Result<PublicKey, String> {
    let read = |object, kinds: &[AttributeType]| {
        session.get_attributes(object, kinds).map_err(words("the token does not describe the key"))
    };
    let (mut modulus, mut exponent, mut parameters, mut point) = (None, None, None, None);
    let mut kind = None;
    let of_private = [
        AttributeType::KeyType,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
        AttributeType::EcParams,
    ];
    let mut attributes = read(private, &of_private)?;
    if let Some(public) = public {
        attributes.extend(read(public, &[AttributeType::EcPoint, AttributeType::EcParams])?);
    }
    for attribute in attributes {
        match attribute {
            Attribute::KeyType(own) => kind = Some(own),
            Attribute::Modulus(own) => modulus = Some(own),
            Attribute::PublicExponent(own) => exponent = Some(own),
            Attribute::EcParams(own) => parameters = Some(own),
            Attribute::EcPoint(own) => point = Some(own),
            _ => {}
        }
    }
    let key = match (kind, modulus, exponent, parameters, point) {
        (Some(KeyType::RSA), Some(modulus), Some(exponent), ..) => {
            PublicKey::from_rsa_parts(&modulus, &exponent)
        }
        (Some(KeyType::EC), _, _, Some(parameters), Some(point)) => {
            PublicKey::from_curve_parts(&parameters, &point)
        }
        (Some(KeyType::EC_EDWARDS), _, _, _, Some(point)) => PublicKey::from_edwards_point(&point),
        (Some(KeyType::EC | KeyType::EC_EDWARDS), ..) => {
            return Err("the token has the private key, but not the public one beside it".to_owned());
        }
        _ => return Err("the token has a key of a kind that we do not know".to_owned()),
    };
    key.map_err(|fault| format!("the token has a key {fault}"))
}

/// A key that never leaves its token.
struct TokenKey {
    public: Arc<dyn VerifyingKey>,
    session: Mutex<Session>,
    private: ObjectHandle,
    unpadding: Unpadding,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.public.kind())
    }
}

impl SigningKey for TokenKey {
    fn verifying_key(&self) -> &dyn VerifyingKey {
        &*self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let kind = self.public.kind();
        let unfit = CannotSign::Unfit { kind, scheme };
        let (mechanism, octets) = match (scheme, kind) {
            (SignatureScheme::RsaPkcs1(hash), KeyKind::Rsa) => (pkcs1(hash), message.to_vec()),
            (SignatureScheme::RsaBare, KeyKind::Rsa) => (Mechanism::RsaPkcs, message.to_vec()),
            (SignatureScheme::RsaPss { hash, mask_hash, salt_len }, KeyKind::Rsa) => {
                (pss(hash, mask_hash, salt_len).ok_or(unfit)?, message.to_vec())
            }
            (SignatureScheme::Ecdsa(hash) | SignatureScheme::EcdsaFixed(hash), KeyKind::Ecdsa(_)) => {
                (Mechanism::Ecdsa, hash.function().digest(&[message]))
            }
            (SignatureScheme::Ed25519, KeyKind::Ed25519) | (SignatureScheme::Ed448, KeyKind::Ed448) => {
                (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), message.to_vec())
            }
            _ => return Err(unfit),
        };
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = session.sign(&mechanism, self.private, &octets).map_err(|error| {
            tracing::warn!("a token does not sign: {error}");
            CannotSign::Library
        })?;
        match (scheme, kind) {
            (SignatureScheme::Ecdsa(_), KeyKind::Ecdsa(curve)) => {
                der_of_fixed(curve, &signature).ok_or(CannotSign::Library)
            }
            _ => Ok(signature),
        }
    }

    /// The token undoes the power only: as its own removal of the padding would tell whether that is right.
    fn decrypt(
        &self,
        ciphertext: &[u8],
        lengths: RangeInclusive<usize>,
    ) -> Result<Secret<Vec<u8>>, CannotDecrypt> {
        if self.public.kind() != KeyKind::Rsa {
            return Err(CannotDecrypt::Unfit(self.public.kind()));
        }
        let expected = self.public.bits().div_ceil(8);
        if ciphertext.len() != expected {
            return Err(CannotDecrypt::Length { expected, actual: ciphertext.len() });
        }
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let found = session.decrypt(&Mechanism::RsaX509, self.private, ciphertext);
        let found = found.map(Secret::new).map_err(|error| {
            tracing::warn!("a token does not decrypt: {error}");
            CannotDecrypt::Library
        })?;
        let mut padded = Secret::new(vec![0; expected]);
        let start = expected.saturating_sub(found.len());
        for (octet, found) in padded.expose_mut().iter_mut().skip(start).zip(found.as_slice()) {
            *octet = *found;
        }
        Ok(self.unpadding.unpad(ciphertext, &padded, lengths))
    }
}

fn pkcs1(hash: SignatureHash) -> Mechanism<'static> {
    match hash {
        SignatureHash::Sha1 => Mechanism::Sha1RsaPkcs,
        SignatureHash::Sha2_256 => Mechanism::Sha256RsaPkcs,
        SignatureHash::Sha2_384 => Mechanism::Sha384RsaPkcs,
        SignatureHash::Sha2_512 => Mechanism::Sha512RsaPkcs,
    }
}

fn pss(hash: SignatureHash, mask_hash: SignatureHash, salt_len: usize) -> Option<Mechanism<'static>> {
    let (hash_alg, _) = names(hash);
    let (_, mgf) = names(mask_hash);
    let params = PkcsPssParams { hash_alg, mgf, s_len: Ulong::try_from(salt_len).ok()? };
    Some(match hash {
        SignatureHash::Sha1 => Mechanism::Sha1RsaPkcsPss(params),
        SignatureHash::Sha2_256 => Mechanism::Sha256RsaPkcsPss(params),
        SignatureHash::Sha2_384 => Mechanism::Sha384RsaPkcsPss(params),
        SignatureHash::Sha2_512 => Mechanism::Sha512RsaPkcsPss(params),
    })
}

fn names(hash: SignatureHash) -> (MechanismType, PkcsMgfType) {
    match hash {
        SignatureHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        SignatureHash::Sha2_256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        SignatureHash::Sha2_384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        SignatureHash::Sha2_512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_names() {
        let named: Module = "hsm=/usr/lib/hsm.so".parse().expect("a module");
        assert_eq!(named, Module { name: "hsm".to_owned(), path: "/usr/lib/hsm.so".into() });
        let bare: Module = "/usr/lib/softhsm/libsofthsm2.so".parse().expect("a module");
        assert_eq!(bare.name, "libsofthsm2");
    }

    #[test]
    fn only_modules_of_the_command_line_are_loaded() {
        let token = |module: Option<&str>| Token {
            handle: vec![1],
            slot: None,
            module: module.map(str::to_owned),
            pin: None,
            name: "token".to_owned(),
        };
        let modules = Modules::new(vec!["hsm=/nowhere.so".parse().expect("a module")]);
        let refused = modules.open(&token(Some("other"))).expect_err("not named");
        assert_eq!(refused, "the daemon was started without --pkcs11-module other=…");
        let refused = modules.open(&token(None)).expect_err("not there");
        assert!(refused.starts_with("the module /nowhere.so cannot be loaded"), "{refused}");
    }
}
