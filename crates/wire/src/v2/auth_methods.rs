//! SUPPORTED_AUTH_METHODS: the ways of proof that an end takes (RFC 9593 §3.2).
//!
//! ```text
//!   2-octet       | 2 | method |                                     such as a shared key
//!   3-octet       | 3 | method | link |                              such as ECDSA with P-256
//!   multi-octet   | length | method | link | AlgorithmIdentifier |   a digital signature (14)
//! ```

use alloc::vec::Vec;

use super::Notify;
use crate::registry::{AuthMethod, NotifyType};

/// One way of proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedMethod {
    /// Its number.
    pub method: AuthMethod,
    /// With which CA of the CERTREQ payloads it goes, counted from 1; 0 is any. `None` is for what needs no certificate.
    pub link: Option<u8>,
    /// For a digital signature, the AlgorithmIdentifier in DER; otherwise empty.
    pub algorithm: Vec<u8>,
}

impl Notify {
    /// SUPPORTED_AUTH_METHODS with these ways of proof; one that is too long to be named is left out.
    pub fn auth_methods(methods: &[AnnouncedMethod]) -> Notify {
        let data = methods.iter().filter_map(encode).flatten().collect::<Vec<u8>>();
        Notify::new(NotifyType::SUPPORTED_AUTH_METHODS, data)
    }

    /// The ways of proof that a SUPPORTED_AUTH_METHODS notify names, as far as it can be read.
    pub fn announced_methods(&self) -> Option<Vec<AnnouncedMethod>> {
        if self.notify_type != NotifyType::SUPPORTED_AUTH_METHODS {
            return None;
        }
        let (mut methods, mut rest) = (Vec::new(), self.data.as_slice());
        while let Some((length, after)) = rest.split_first()
            && let Some((one, next)) = after.split_at_checked(usize::from(*length).saturating_sub(1))
            && let Some((method, parts)) = one.split_first()
        {
            let (link, algorithm) = match parts.split_first() {
                Some((link, algorithm)) => (Some(*link), algorithm.to_vec()),
                None => (None, Vec::new()),
            };
            methods.push(AnnouncedMethod { method: AuthMethod(*method), link, algorithm });
            rest = next;
        }
        Some(methods)
    }
}

fn encode(announced: &AnnouncedMethod) -> Option<Vec<u8>> {
    let parts = announced.link.iter().chain(&announced.algorithm);
    let body: Vec<u8> = core::iter::once(&announced.method.0).chain(parts).copied().collect();
    let length = u8::try_from(body.len() + 1).ok()?;
    Some(core::iter::once(length).chain(body).collect())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn every_form_is_read_as_it_was_written_and_noise_ends_the_list() {
        let methods = vec![
            AnnouncedMethod { method: AuthMethod::SHARED_KEY, link: None, algorithm: Vec::new() },
            AnnouncedMethod { method: AuthMethod::ECDSA_SHA256_P256, link: Some(1), algorithm: Vec::new() },
            AnnouncedMethod {
                method: AuthMethod::DIGITAL_SIGNATURE,
                link: Some(0),
                algorithm: vec![0x30, 0],
            },
        ];
        let mut notify = Notify::auth_methods(&methods);
        assert_eq!(notify.data, [2, 2, 3, 9, 1, 5, 14, 0, 0x30, 0]);
        assert_eq!(notify.announced_methods(), Some(methods.clone()));
        for noise in [[0, 0].as_slice(), &[1, 7], &[9, 1], &[255]] {
            notify.data.truncate(10);
            notify.data.extend_from_slice(noise);
            assert_eq!(notify.announced_methods(), Some(methods.clone()), "{noise:?}");
        }
        assert_eq!(Notify::new(NotifyType::INITIAL_CONTACT, []).announced_methods(), None);
    }
}
