//! What a file holds, whatever its form: PEM, DER, PKCS #7 or PKCS #12.

use thiserror::Error;

use crate::pem::{self, Block, InvalidPem};
use crate::pkcs7::Bundle;
use crate::pkcs12::{InvalidPkcs12, Pkcs12};
use crate::{Certificate, Crl, InvalidPrivateKey, Malformed, Password, PrivateKey, Request, limits};

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Certificates, in the file's order.
    pub certificates: Vec<Certificate>,
    /// Private keys.
    pub keys: Vec<PrivateKey>,
    /// Lists of revoked certificates.
    pub crls: Vec<Crl>,
    /// Certificate requests.
    pub requests: Vec<Request>,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidFile {
    /// There is nothing in it that we know.
    #[error(
        "this is neither a certificate nor a request, CRL or private key, in PEM, DER, PKCS #7 or PKCS #12"
    )]
    Unrecognized,
    /// It is too long.
    #[error("the file has {octets} octets, and {} are the most", limits::MAX_FILE_OCTETS)]
    TooLong {
        /// How many octets it has.
        octets: usize,
    },
    /// The PEM is damaged.
    #[error(transparent)]
    Pem(#[from] InvalidPem),
    /// Something in it is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A private key in it cannot be used.
    #[error(transparent)]
    Key(#[from] InvalidPrivateKey),
    /// The PKCS #12 file cannot be opened.
    #[error(transparent)]
    Pkcs12(#[from] InvalidPkcs12),
}

impl Contents {
    /// Reads a file, with a password if it needs one.
    ///
    /// # Errors
    /// There is nothing in it that we know, or something in it is damaged.
    pub fn read(octets: &[u8], password: Option<&Password>) -> Result<Contents, InvalidFile> {
        if octets.len() > limits::MAX_FILE_OCTETS {
            return Err(InvalidFile::TooLong { octets: octets.len() });
        }
        let mut contents = Contents::default();
        if pem::is_pem(octets) {
            for block in pem::read(octets)? {
                contents.take_block(&block, password)?;
            }
        } else {
            contents.take_der(octets, password)?;
        }
        if contents.is_empty() { Err(InvalidFile::Unrecognized) } else { Ok(contents) }
    }

    fn is_empty(&self) -> bool {
        self.certificates.is_empty()
            && self.keys.is_empty()
            && self.crls.is_empty()
            && self.requests.is_empty()
    }

    fn take_block(&mut self, block: &Block, password: Option<&Password>) -> Result<(), InvalidFile> {
        let content = block.content.as_slice();
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => self.certificates.push(Certificate::from_der(content)?),
            "X509 CRL" => self.crls.push(Crl::from_der(content)?),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                self.requests.push(Request::from_der(content)?)
            }
            "PKCS7" | "CMS" => self.take_bundle(Bundle::from_der(content)?),
            label if label.ends_with("PRIVATE KEY") => {
                self.keys.push(PrivateKey::from_block(block, password)?)
            }
            // Parameters, public keys and what others keep beside.
            _ => {}
        }
        Ok(())
    }

    fn take_der(&mut self, octets: &[u8], password: Option<&Password>) -> Result<(), InvalidFile> {
        if let Ok(certificate) = Certificate::from_der(octets) {
            self.certificates.push(certificate);
        } else if let Ok(crl) = Crl::from_der(octets) {
            self.crls.push(crl);
        } else if let Ok(request) = Request::from_der(octets) {
            self.requests.push(request);
        } else if let Ok(bundle) = Bundle::from_der(octets) {
            self.take_bundle(bundle);
        } else if Pkcs12::is_one(octets) {
            let empty = Password::from(Vec::new());
            let opened = Pkcs12::open(octets, password.unwrap_or(&empty))?;
            self.keys.extend(opened.keys);
            self.certificates.extend(opened.certificates);
        } else {
            match PrivateKey::read(octets, password) {
                Err(InvalidPrivateKey::Unrecognized) => return Err(InvalidFile::Unrecognized),
                read => self.keys.push(read?),
            }
        }
        Ok(())
    }

    fn take_bundle(&mut self, bundle: Bundle) {
        self.certificates.extend(bundle.certificates);
        self.crls.extend(bundle.crls);
    }
}
