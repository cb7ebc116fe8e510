//! A peer that holds the key and seals what it likes.

use ipsec::PacketBuf;
use sa::transform::EncryptionKind;
use sa::{Direction, Esn, SaSpec};

use super::{buffer, spec};

/// Seals `plaintext`, which ends in its next header, as packet number one; what lacks to whole blocks comes before.
pub(crate) fn seal(protection: sa::Protection, plaintext: &[u8]) -> PacketBuf {
    seal_for(&spec(Direction::Inbound, protection, Esn::No), plaintext)
}

/// The same for an SA of any mode.
pub(crate) fn seal_for(spec: &SaSpec, plaintext: &[u8]) -> PacketBuf {
    let protection = spec.protection;
    let (encryption_key, integrity_key) = spec.key.as_slice().split_at(protection.encryption_key_len());
    let header = [spec.spi.0.to_be_bytes(), [0, 0, 0, 1]].concat();
    let mut packet = header.clone();
    match (protection.encryption().map(|encryption| &encryption.kind), protection.integrity()) {
        (Some(EncryptionKind::Aead(aead)), _) => {
            let (iv, in_packet) = match aead.iv_len() {
                0 => (1u64.to_be_bytes(), &[][..]),
                _ => ([3; 8], &[3; 8][..]),
            };
            let mut ciphertext = aligned(plaintext, 4);
            let mut icv = vec![0; aead.icv_len()];
            let key = aead.key(encryption_key).expect("the spec's key");
            key.seal(&iv, &header, &mut ciphertext, &mut icv).expect("a short packet");
            packet.extend([in_packet, &ciphertext, &icv].concat());
        }
        (Some(EncryptionKind::Cipher(cipher)), Some(integrity)) => {
            let iv = vec![3; cipher.iv_len()];
            let mut ciphertext = aligned(plaintext, cipher.block_len().max(4));
            let mut icv = vec![0; integrity.mac.icv_len()];
            let key = cipher.key(encryption_key).expect("the spec's key");
            key.encrypt(&iv, &mut ciphertext).expect("whole blocks");
            packet.extend([&iv[..], &ciphertext].concat());
            integrity.mac.key(integrity_key).expect("the spec's key").sign(&[&packet], &mut icv);
            packet.extend(icv);
        }
        (Some(EncryptionKind::Cipher(_)) | None, _) => panic!("no such ESP suite"),
    }
    buffer(&packet)
}

fn aligned(plaintext: &[u8], to: usize) -> Vec<u8> {
    let mut aligned = vec![0; plaintext.len().max(2).next_multiple_of(to) - plaintext.len()];
    aligned.extend_from_slice(plaintext);
    aligned
}
