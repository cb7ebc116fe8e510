//! The responder finds out which pre-shared key message 5 was written with.

use crypto::Secret;
use wire::v1::Datagram;

use super::NAME;
use super::state::{Awaiting, Ingredients, Key};
use crate::authentication::v1::Transcript;
use crate::context::Context;
use crate::error::Error;
use crate::exchange::Nonces;
use crate::io::Path;
use crate::v1::channel::Channel;
use crate::v1::contents::Contents;
use crate::v1::keys::{Phase1Keys, skeyid_of};
use crate::v1::negotiation::ChosenPhase1;
use crate::v1::phase_1::pre_shared_key;
use crate::{Connection, Identity, Role, limits};

impl Awaiting {
    /// Takes the pre-shared key that reads this message and by which it is proven; if none is, the one that was the likeliest
    /// remains.
    pub(super) fn find_key(
        &mut self,
        cx: &mut Context,
        path: Path,
        chosen: &ChosenPhase1,
        datagram: &Datagram<'_>,
        ciphertext: &[u8],
    ) -> Result<(), Error> {
        let Key::Shared(ingredients) = &mut self.key else { return Ok(()) };
        if !is_proven(&self.channel, &self.transcript, datagram, ciphertext) {
            if ingredients.trials_left == 0 || ciphertext.len() > limits::KEY_TRIAL_OCTETS {
                return Ok(());
            }
            let mut right = None;
            for secret in pre_shared_key::at_address(cx, path, chosen) {
                let skeyid = skeyid_of(self.channel.prf(), secret, ingredients.nonces());
                if skeyid.ct_eq(self.transcript.skeyid.as_slice()) {
                    // It is the one that was tried first.
                    continue;
                }
                let Some(left) = ingredients.trials_left.checked_sub(1) else { break };
                ingredients.trials_left = left;
                let (channel, transcript) = ingredients.under(skeyid, &self.channel, &self.transcript)?;
                if is_proven(&channel, &transcript, datagram, ciphertext) {
                    right = Some((channel, transcript));
                    break;
                }
            }
            let Some((channel, transcript)) = right else { return Ok(()) };
            self.channel = channel;
            self.transcript = transcript;
        }
        let keys = ingredients.keys(&self.channel, self.transcript.skeyid.clone());
        self.channel.disclose(cx, &keys)
    }

    /// Tells whether somebody has under a connection the key that message 5 was written with.
    pub(super) fn is_key_of(
        &self,
        cx: &Context,
        connection: &Connection,
        path: Path,
        remote: &Identity,
    ) -> bool {
        match &self.key {
            Key::Certain => true,
            Key::Shared(ingredients) => {
                pre_shared_key::of_identity(cx, connection, path, remote).any(|secret| {
                    skeyid_of(self.channel.prf(), secret, ingredients.nonces())
                        .ct_eq(self.transcript.skeyid.as_slice())
                })
            }
        }
    }
}

impl Key {
    /// Keeps what other keys could be made from, where there is a pre-shared one.
    pub(super) fn new(likely: Option<&Secret<Vec<u8>>>, shared: &Secret<Vec<u8>>, nonces: Nonces<'_>) -> Key {
        match likely {
            None => Key::Certain,
            Some(_) => Key::Shared(Ingredients::new(shared.clone(), nonces)),
        }
    }
}

impl Ingredients {
    fn new(shared: Secret<Vec<u8>>, nonces: Nonces<'_>) -> Ingredients {
        Ingredients {
            shared,
            nonce_i: nonces.initiator.to_vec(),
            nonce_r: nonces.responder.to_vec(),
            trials_left: limits::KEY_TRIALS_OF_A_STRANGER,
        }
    }

    fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.nonce_i, responder: &self.nonce_r }
    }

    fn keys(&self, channel: &Channel, skeyid: Secret<Vec<u8>>) -> Phase1Keys {
        Phase1Keys::of_skeyid(channel.prf(), skeyid, &self.shared, channel.spis)
    }

    /// Gives what a channel and its proofs were if the pre-shared key is the one that this SKEYID is made from.
    fn under(
        &self,
        skeyid: Secret<Vec<u8>>,
        channel: &Channel,
        transcript: &Transcript,
    ) -> Result<(Channel, Transcript), Error> {
        let keys = self.keys(channel, skeyid.clone());
        Ok((channel.under(&keys)?, transcript.under(skeyid)))
    }
}

fn is_proven(channel: &Channel, transcript: &Transcript, datagram: &Datagram<'_>, ciphertext: &[u8]) -> bool {
    // A stranger who has no key is to pay for a long message alone: one block of it tells nonsense.
    let first = channel.open(channel.phase_1_iv(), channel.first_block_of(ciphertext));
    if !first.is_some_and(|first| begins_a_payload(&first.plaintext, ciphertext.len())) {
        return false;
    }
    let Some(opened) = channel.open(channel.phase_1_iv(), ciphertext) else { return false };
    // Under another key, nonsense is all that it says.
    let Ok(chain) = opened.payloads(datagram.header.next_payload) else { return false };
    transcript.knows_key(Role::Initiator, &Contents::new(NAME, chain))
}

/// Tells whether so many octets may begin like this: with the header of a payload that has room in them (RFC 2408 §3.2).
fn begins_a_payload(block: &[u8], octets: usize) -> bool {
    const GENERIC_HEADER: usize = 4;
    let Some([_, reserved, length @ ..]) = block.first_chunk::<GENERIC_HEADER>() else { return false };
    *reserved == 0 && (GENERIC_HEADER..=octets).contains(&u16::from_be_bytes(*length).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_begins_a_payload_that_has_room_or_is_nonsense() {
        let block = |reserved, length: u16| {
            let [high, low] = length.to_be_bytes();
            [8, reserved, high, low, 2, 0, 0, 0]
        };
        assert!(begins_a_payload(&block(0, 4), 64));
        assert!(begins_a_payload(&block(0, 64), 64));
        assert!(!begins_a_payload(&block(0, 65), 64));
        assert!(!begins_a_payload(&block(0, 3), 64));
        assert!(!begins_a_payload(&block(1, 12), 64));
        assert!(!begins_a_payload(&[8, 0, 0], 64));
    }
}
