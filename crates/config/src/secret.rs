//! Shared secrets, and which of them two ends share.

use crypto::Secret;
use sa::{Identity, IdentityPattern};
use vici::Span;

use crate::schema::Shape;
use crate::value::Unreadable;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// It proves who an end is.
    PreSharedKey,
    /// It proves who a user is (XAuth).
    Password,
    /// It is mixed into the keys of IKE SAs (RFC 8784); its owners are its names.
    PostQuantum,
}

/// A secret and those who share it.
#[derive(Clone, Debug)]
pub struct SharedSecret {
    /// Its name, unique in the configuration; in a management message perhaps empty.
    pub name: String,
    /// What it is for.
    pub kind: SecretKind,
    /// Whom it is for; none means anybody.
    pub owners: Vec<IdentityPattern>,
    /// The secret.
    pub secret: Secret<Vec<u8>>,
    /// Where its name stands.
    pub span: Span,
}

impl SharedSecret {
    /// Tells whether the secret could fit a peer of a connection with these identities.
    pub(crate) fn could_fit(&self, local: Option<&Identity>, remote: &IdentityPattern) -> bool {
        match self.kind {
            SecretKind::PreSharedKey => {}
            SecretKind::Password | SecretKind::PostQuantum => return false,
        }
        let IdentityPattern::Exact(remote) = remote else {
            return true;
        };
        match local {
            Some(local) => sa::secret_fit(&self.owners, local, remote).is_some(),
            // Our identity will be our address, which may be the one that the secret names.
            None => self.owners.len() < 2 || self.owners.iter().any(|owner| owner.matches(remote)),
        }
    }
}

/// The value of a secret.
pub(crate) const SECRET: Shape<Secret<Vec<u8>>> =
    Shape { words: "text, 0x and hexadecimal digits, or 0s and base64", read: secret };

/// What unlocks a token, as it is typed.
pub(crate) const PIN: Shape<Secret<Vec<u8>>> =
    Shape { words: "text", read: |text| Ok(Secret::from(text.as_bytes().to_vec())) };

/// Octets in hexadecimal.
pub(crate) const HEXADECIMAL: Shape<Vec<u8>> = Shape {
    words: "hexadecimal",
    read: |text| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        hexadecimal(digits).ok_or_else(|| Unreadable::new(format!("`{text}` is not hexadecimal"), ""))
    },
};

/// No complaint repeats what was written.
fn secret(text: &str) -> Result<Secret<Vec<u8>>, Unreadable> {
    let octets = if let Some(digits) = text.strip_prefix("0x") {
        hexadecimal(digits).ok_or_else(|| Unreadable::new("what follows 0x is not hexadecimal", ""))?
    } else if let Some(encoded) = text.strip_prefix("0s") {
        base64(encoded).ok_or_else(|| Unreadable::new("what follows 0s is not base64", ""))?
    } else {
        text.as_bytes().to_vec()
    };
    if octets.is_empty() { Err(Unreadable::new("the secret is empty", "")) } else { Ok(octets.into()) }
}

/// An odd number of digits is taken as if a zero stood before them.
pub(crate) fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let mut nibbles = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    if nibbles.len() % 2 == 1 {
        nibbles.insert(0, 0);
    }
    nibbles.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

/// RFC 4648 §4, with or without padding.
pub(crate) fn base64(encoded: &str) -> Option<Vec<u8>> {
    let symbols = encoded.trim_end_matches('=').bytes().map(|symbol| match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let symbols = symbols.collect::<Option<Vec<u8>>>()?;
    let mut octets = Vec::with_capacity(symbols.len() * 3 / 4);
    for group in symbols.chunks(4) {
        let bits =
            group.iter().fold(0u32, |bits, symbol| bits << 6 | u32::from(*symbol)) << (6 * (4 - group.len()));
        match group.len() {
            1 => return None,
            len => octets.extend_from_slice(&bits.to_be_bytes()[1..len]),
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_three_forms() {
        for (text, octets) in [
            ("sword fish", &b"sword fish"[..]),
            ("0x616263", b"abc"),
            ("0xabc", &[0x0a, 0xbc]),
            ("0sdGVzdA==", b"test"),
            ("0sdGVzdA", b"test"),
            ("0sdGVzdHM=", b"tests"),
            ("0sdGVzdGVk", b"tested"),
        ] {
            assert!(secret(text).expect("valid").ct_eq(octets), "{text}");
        }
        for text in ["", "0x", "0s", "0x12g4", "0sd", "0sd!==", "0xé"] {
            let complaint = secret(text).expect_err("faulty").message;
            assert!(text.len() < 3 || !complaint.contains(&text[2..]), "{complaint}");
        }
    }
}
