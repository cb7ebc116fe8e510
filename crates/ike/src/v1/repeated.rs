//! Recognising a message that comes once more: IKEv1 has no numbers for that, so its octets tell (RFC 2408 §5.1).

use crate::context::Context;
use crate::io::Path;

/// A message that was dealt with, by its digest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen(Vec<u8>);

impl Seen {
    pub(crate) fn new(message: &[u8]) -> Seen {
        Seen(crypto::hash::SHA2_256.digest(&[message]))
    }
}

/// A message that was answered, and the answer.
#[derive(Debug)]
pub(crate) struct Repeated {
    message: Seen,
    /// In datagrams.
    answer: Vec<Vec<u8>>,
}

impl Repeated {
    /// Notes the answer to a message.
    pub(crate) fn new(message: &[u8], answer: Vec<Vec<u8>>) -> Repeated {
        Repeated::of(Seen::new(message), answer)
    }

    /// The same for a message that was dealt with before its answer was known.
    pub(crate) fn of(message: Seen, answer: Vec<Vec<u8>>) -> Repeated {
        Repeated { message, answer }
    }

    /// Sends the answer again if this is the message once more; tells whether it is.
    pub(crate) fn repeat(&self, cx: &mut Context, path: Path, message: &[u8]) -> bool {
        let is_it = self.message == Seen::new(message);
        if is_it {
            self.send(cx, path);
        }
        is_it
    }

    /// Sends the answer again.
    pub(crate) fn send(&self, cx: &mut Context, path: Path) {
        cx.transmit(path, &self.answer);
    }
}
