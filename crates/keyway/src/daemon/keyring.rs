//! The certificates and keys of the daemon: what files and clients brought, and all of it together for whoever signs and
//! trusts.
//!
//! ```text
//!   folders ── config::Materials ──► Ring of files   ─┐
//!   clients ── load-cert, load-key ► Ring of clients ─┼─► credentials::Credentials ──► the engine's questions
//!   connections ── certs, cacerts ─► Wishes ──────────┘
//! ```
//!
//! Reading the files again replaces the first ring and leaves the second.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Authority, KeyMaterial, Material, Materials, OwnCredentials, PeerCredentials, Revocation};
use credentials::{Credentials, Place, Wishes};
use crypto::hash;
use pki::revocation::Strictness;
use pki::{Certificate, Contents, Crl, InvalidFile, PrivateKey, PublicKey, pem};

/// The certificates and keys from one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    /// Private keys.
    pub(crate) keys: Vec<PrivateKey>,
    /// Certificates that are not trusted by themselves.
    pub(crate) certificates: Vec<Certificate>,
    /// Those of CAs that are.
    pub(crate) anchors: Vec<Certificate>,
    /// Lists of revoked certificates.
    pub(crate) crls: Vec<Crl>,
    /// CAs by name.
    pub(crate) authorities: BTreeMap<String, LoadedAuthority>,
}

/// A CA, and where to ask about what it has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedAuthority {
    /// Its certificate.
    pub(crate) certificate: Option<Certificate>,
    /// Where its lists are.
    pub(crate) crl_uris: Vec<String>,
    /// Where its OCSP responders are.
    pub(crate) ocsp_uris: Vec<String>,
    /// Where the certificates that it has issued to us can be fetched, by their digest.
    pub(crate) uri_base: Option<String>,
}

impl PartialEq for Ring {
    fn eq(&self, other: &Ring) -> bool {
        let ids = |ring: &Ring| ring.keys.iter().map(key_id).collect::<Vec<_>>();
        ids(self) == ids(other)
            && self.certificates == other.certificates
            && self.anchors == other.anchors
            && self.crls == other.crls
            && self.authorities == other.authorities
    }
}

impl Ring {
    /// Reads what stands in the folders beside a configuration. Sentences about what cannot be used go to `complain`:
    /// it harms only whoever needs it.
    pub(crate) fn read(materials: &Materials, mut complain: impl FnMut(String)) -> Ring {
        let mut ring = Ring::default();
        for material in &materials.certificates {
            if let Some(contents) = ring.open(material, "x509", &mut complain) {
                ring.certificates.extend(contents.certificates);
            }
        }
        for material in &materials.anchors {
            if let Some(contents) = ring.open(material, "x509ca", &mut complain) {
                ring.anchors.extend(contents.certificates);
            }
        }
        for material in &materials.crls {
            // Reading it has put it among the lists.
            ring.open(material, "x509crl", &mut complain);
        }
        for KeyMaterial { name, octets, password } in &materials.keys {
            match Contents::read(octets.as_slice(), password.as_ref()) {
                Ok(contents) => {
                    ring.keys.extend(contents.keys);
                    ring.certificates.extend(contents.certificates);
                }
                Err(fault) => complain(format!("{name}: {fault}")),
            }
        }
        for authority in &materials.authorities {
            match LoadedAuthority::read(authority) {
                Ok(loaded) => drop(ring.authorities.insert(authority.name.clone(), loaded)),
                Err(sentence) => complain(sentence),
            }
        }
        ring
    }

    fn open(
        &mut self,
        material: &Material,
        folder: &str,
        complain: &mut impl FnMut(String),
    ) -> Option<Contents> {
        match Contents::read(&material.octets, None) {
            Ok(mut contents) => {
                self.crls.append(&mut contents.crls);
                Some(contents)
            }
            Err(fault) => {
                complain(format!("{folder}/{}: {fault}", material.name));
                None
            }
        }
    }
}

impl LoadedAuthority {
    /// Reads a CA.
    ///
    /// # Errors
    /// Its certificate cannot be read; one sentence.
    pub(crate) fn read(authority: &Authority) -> Result<LoadedAuthority, String> {
        let certificate = authority.certificate.as_ref().map(one_certificate).transpose()?;
        let Authority { crl_uris, ocsp_uris, uri_base, .. } = authority.clone();
        Ok(LoadedAuthority { certificate, crl_uris, ocsp_uris, uri_base })
    }
}

impl LoadedAuthority {
    /// Gives where what it has issued to us can be fetched.
    fn place(&self) -> Option<Place> {
        Some(Place { authority: self.certificate.clone()?, base: self.uri_base.clone()? })
    }
}

/// Both rings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    /// What came from files.
    pub(crate) files: Ring,
    /// What clients loaded.
    pub(crate) clients: Ring,
}

impl Keyring {
    /// Gives all CAs by name; what a file names, a client does not change.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = (&String, &LoadedAuthority)> {
        let only_of_clients =
            self.clients.authorities.iter().filter(|(name, _)| !self.files.authorities.contains_key(*name));
        self.files.authorities.iter().chain(only_of_clients)
    }

    /// Forgets all certificates, lists and keys. CAs that have names are no credentials: whoever loaded them unloads them.
    pub(crate) fn clear(&mut self) {
        for ring in [&mut self.files, &mut self.clients] {
            *ring = Ring { authorities: std::mem::take(&mut ring.authorities), ..Ring::default() };
        }
    }

    /// Puts everything together.
    pub(crate) fn credentials<'a>(
        &self,
        connections: impl Iterator<Item = (&'a String, &'a Arc<Wishes>)>,
    ) -> Credentials {
        let rings = [&self.files, &self.clients];
        let of_authorities = self.authorities().filter_map(|(_, authority)| authority.certificate.clone());
        let anchors = rings.iter().flat_map(|ring| ring.anchors.clone()).chain(of_authorities);
        Credentials {
            keys: without_repetition(rings.iter().flat_map(|ring| ring.keys.clone()), |a, b| {
                key_id(a) == key_id(b)
            }),
            certificates: without_repetition(
                rings.iter().flat_map(|ring| ring.certificates.clone()),
                PartialEq::eq,
            ),
            anchors: without_repetition(anchors, PartialEq::eq),
            crls: rings.iter().flat_map(|ring| ring.crls.clone()).collect(),
            responses: Vec::new(),
            places: self.authorities().filter_map(|(_, authority)| authority.place()).collect(),
            connections: connections.map(|(name, wishes)| (name.clone(), Arc::clone(wishes))).collect(),
        }
    }
}

/// What a client wants changed.
#[derive(Debug)]
pub(crate) enum KeyringChange {
    /// Another certificate.
    AddCertificate(Certificate),
    /// Another CA that is trusted.
    AddAnchor(Certificate),
    /// Another list of revoked certificates.
    AddCrl(Crl),
    /// Another private key.
    AddKey(PrivateKey),
    /// The private key of this name is to be forgotten.
    ForgetKey(String),
    /// Another CA with its addresses, in place of one of the same name.
    AddAuthority(String, LoadedAuthority),
    /// The CA of this name is to be forgotten.
    ForgetAuthority(String),
}

impl KeyringChange {
    /// Changes what clients have brought.
    ///
    /// # Errors
    /// What is to be forgotten is not there; one sentence.
    pub(crate) fn carry_out(self, keyring: &mut Keyring) -> Result<(), String> {
        let ring = &mut keyring.clients;
        match self {
            KeyringChange::AddCertificate(certificate) => ring.certificates.push(certificate),
            KeyringChange::AddAnchor(certificate) => ring.anchors.push(certificate),
            KeyringChange::AddCrl(crl) => ring.crls.push(crl),
            KeyringChange::AddKey(key) => ring.keys.push(key),
            KeyringChange::ForgetKey(id) => {
                let before = ring.keys.len();
                ring.keys.retain(|key| key_id(key) != id);
                if ring.keys.len() == before {
                    return Err(format!("no private key named `{id}` is loaded"));
                }
            }
            KeyringChange::AddAuthority(name, authority) => drop(ring.authorities.insert(name, authority)),
            KeyringChange::ForgetAuthority(name) => {
                ring.authorities
                    .remove(&name)
                    .ok_or_else(|| format!("no authority named `{name}` is loaded"))?;
            }
        }
        Ok(())
    }
}

/// The same certificate may have come by two ways.
fn without_repetition<T>(all: impl Iterator<Item = T>, is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    for one in all {
        if !once.iter().any(|other| is_same(other, &one)) {
            once.push(one);
        }
    }
    once
}

/// Reads the certificates and keys that a connection names.
///
/// # Errors
/// One cannot be read. Without it, another could stand in its place; one sentence.
pub(crate) fn wishes(config: &config::Connection) -> Result<Wishes, String> {
    let (nothing_own, nothing_peer) = (OwnCredentials::default(), PeerCredentials::default());
    let rounds = config.further_own.len().max(config.further_peer.len());
    let further = (0..rounds).map(|n| {
        let own = config.further_own.get(n).map_or(&nothing_own, |round| &round.own);
        let peer = config.further_peer.get(n).map_or(&nothing_peer, |round| &round.peer);
        wishes_of_round(own, peer)
    });
    let further = further.collect::<Result<_, _>>()?;
    Ok(Wishes { further, ..wishes_of_round(&config.own, &config.peer)? })
}

fn wishes_of_round(own: &OwnCredentials, peer: &PeerCredentials) -> Result<Wishes, String> {
    let policy = |text: &String| {
        pki::ObjectIdentifier::new(text).map_err(|_| format!("`{text}` is no certificate policy"))
    };
    Ok(Wishes {
        own: certificates(&own.certificates)?,
        own_keys: public_keys(&own.keys)?,
        peer: certificates(&peer.certificates)?,
        peer_keys: public_keys(&peer.keys)?,
        anchors: certificates(&peer.authorities)?,
        policies: peer.policies.iter().map(policy).collect::<Result<_, _>>()?,
        behind: certificates_behind(&own.certificates)?,
        revocation: match peer.revocation {
            Revocation::Strict => Strictness::Strict,
            Revocation::IfUri => Strictness::IfUri,
            Revocation::Relaxed => Strictness::Relaxed,
        },
        further: Vec::new(),
    })
}

fn certificates(materials: &[Material]) -> Result<Vec<Certificate>, String> {
    materials.iter().map(one_certificate).collect()
}

/// Reads what stands in files behind the certificates that they begin with: those of the CAs above.
fn certificates_behind(materials: &[Material]) -> Result<Vec<Certificate>, String> {
    let mut behind = Vec::new();
    for material in materials {
        let contents = Contents::read(&material.octets, None).map_err(|fault| in_file(material, &fault))?;
        behind.extend(contents.certificates.into_iter().skip(1));
    }
    Ok(behind)
}

/// Reads the certificate that a file begins with.
fn one_certificate(material: &Material) -> Result<Certificate, String> {
    let contents = Contents::read(&material.octets, None).map_err(|fault| in_file(material, &fault))?;
    let first = contents.certificates.into_iter().next();
    first.ok_or_else(|| format!("{}: there is no certificate in it", material.name))
}

fn public_keys(materials: &[Material]) -> Result<Vec<PublicKey>, String> {
    materials.iter().map(public_key).collect()
}

fn public_key(material: &Material) -> Result<PublicKey, String> {
    let unreadable = |fault: &dyn std::fmt::Display| format!("{}: {fault}", material.name);
    if !pem::is_pem(&material.octets) {
        return PublicKey::from_der(&material.octets)
            .map_err(|fault| unreadable(&format!("there is a key in it {fault}")));
    }
    let blocks = pem::read(&material.octets).map_err(|fault| unreadable(&fault))?;
    let block = blocks.iter().find(|block| block.label == "PUBLIC KEY");
    let block = block.ok_or_else(|| unreadable(&"there is no public key in it"))?;
    PublicKey::from_der(block.content.as_slice())
        .map_err(|fault| unreadable(&format!("there is a key in it {fault}")))
}

fn in_file(material: &Material, fault: &InvalidFile) -> String {
    format!("{}: {fault}", material.name)
}

/// Gives the name by which clients know a private key: the SHA-1 digest of its public key (RFC 5280 §4.2.1.2 (1)).
pub(crate) fn key_id(key: &PrivateKey) -> String {
    hex::encode(hash::SHA1.digest(&[key.signing_key().verifying_key().octets()]))
}
