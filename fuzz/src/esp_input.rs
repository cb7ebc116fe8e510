//! ESP packets for an SA: a stranger's, and those of a peer that holds the key and means no good.
//!
//! ```text
//!   octet 0             bit 0: who sends it; the others choose a suite
//!   stranger's packet   SPI, sequence number, IV, ciphertext, ICV
//!   peer's packet       what is to be encrypted, down to the next header
//! ```

use std::sync::Arc;

use crypto::{Secret, SystemRandom};
use ipsec::{Databases, DropReason, InboundSa, PacketBuf, Unmatched, tunnel};
use sa::transform::{ENCRYPTION, EncryptionKind, INTEGRITY};
use sa::{
    Direction, Encapsulation, Esn, Lifetime, Mode, Outer, PolicyId, Protection, Protocol, SaOp, SaSpec,
    SelectorPair, Spi,
};
use wire::ip::{Ecn, Flow, Packet};

/// Opens a packet; what comes out of it must be a whole IP packet of the SA's traffic, and must come out once.
pub fn run(input: &[u8]) {
    let Some((choice, octets)) = input.split_first() else { return };
    let protection = suite(usize::from(choice >> 1));
    let sa = receiver(protection);
    if choice & 1 == 0 {
        assert!(sa.open(&mut buffer(octets)).is_err(), "a stranger cannot know the key");
        assert_eq!(sa.packets(), 0);
    } else {
        let sealed = seal(protection, octets);
        let mut packet = buffer(&sealed);
        match sa.open(&mut packet) {
            Ok(_) => check_inner(packet.as_mut_slice()),
            Err(reason) => assert_ne!(reason, DropReason::Forged),
        }
        assert_eq!(sa.open(&mut buffer(&sealed)), Err(DropReason::Replayed));
    }
}

fn check_inner(inner: &mut [u8]) {
    let flow = Flow::of(inner).expect("an opened packet has been read already");
    let pairs = selectors();
    assert!(pairs.iter().any(|pair| {
        pair.remote.addresses.contains(flow.source) && pair.local.addresses.contains(flow.destination)
    }));
    assert_eq!(Packet::new(&*inner).expect("it has a flow").total_length(), inner.len());
    if tunnel::decapsulate_ecn(inner, Ecn::CongestionExperienced).is_ok() {
        assert_eq!(Packet::new(&*inner).expect("only a mark has changed").ecn(), Ecn::CongestionExperienced);
    }
}

fn suite(choice: usize) -> Protection {
    let encryption = &ENCRYPTION[choice % ENCRYPTION.len()];
    match encryption.kind {
        EncryptionKind::Aead(_) => Protection::Combined(encryption),
        EncryptionKind::Cipher(_) => {
            Protection::Separate { encryption, integrity: &INTEGRITY[choice % INTEGRITY.len()] }
        }
    }
}

fn receiver(protection: Protection) -> InboundSa {
    let spec = SaSpec {
        direction: Direction::Inbound,
        protocol: Protocol::Esp,
        spi: Spi(SPI),
        mode: Mode::Tunnel,
        outer: Outer {
            local: "203.0.113.2:4500".parse().expect("an address"),
            remote: "203.0.113.1:4500".parse().expect("an address"),
            encapsulation: Encapsulation::Udp,
        },
        protection,
        key: Arc::new(Secret::new(vec![KEY_OCTET; protection.key_len()])),
        esn: Esn::No,
        replay_window: 64,
        selectors: selectors(),
        lifetime: Lifetime::UNLIMITED,
        policy: PolicyId(1),
    };
    let mut databases = Databases::new(Unmatched::Discard, Box::new(SystemRandom));
    databases.apply(SaOp::InstallSa(Box::new(spec))).expect("the specification is valid");
    databases.tables().inbound(Spi(SPI)).expect("it was just installed").clone()
}

fn selectors() -> Vec<SelectorPair> {
    [("10.2.0.0/16", "10.1.0.0/16"), ("2001:db8:2::/48", "2001:db8:1::/48")]
        .map(|(local, remote)| SelectorPair {
            local: local.parse().expect("a prefix"),
            remote: remote.parse().expect("a prefix"),
        })
        .into()
}

/// Seals as packet number one; what lacks to whole blocks is zeros in front.
fn seal(protection: Protection, plaintext: &[u8]) -> Vec<u8> {
    let key = vec![KEY_OCTET; protection.key_len()];
    let (encryption_key, integrity_key) = key.split_at(protection.encryption_key_len());
    let header = [SPI.to_be_bytes(), [0, 0, 0, 1]].concat();
    match (&protection.encryption().kind, protection.integrity()) {
        (EncryptionKind::Aead(aead), _) => {
            let (iv, mut icv) = ([0; 8], vec![0; aead.icv_len()]);
            let mut data = aligned(plaintext, 4);
            let key = aead.key(encryption_key).expect("a key of this length");
            key.seal(&iv, &header, &mut data, &mut icv).expect("the lengths fit");
            [&header[..], &iv, &data, &icv].concat()
        }
        (EncryptionKind::Cipher(cipher), integrity) => {
            let mac = integrity.expect("no suite encrypts without integrity").mac;
            let (iv, mut icv) = (vec![0; cipher.iv_len()], vec![0; mac.icv_len()]);
            let mut data = aligned(plaintext, cipher.block_len());
            let key = cipher.key(encryption_key).expect("a key of this length");
            key.encrypt(&iv, &mut data).expect("whole blocks");
            mac.key(integrity_key).expect("a key of this length").sign(&[&header, &iv, &data], &mut icv);
            [&header[..], &iv, &data, &icv].concat()
        }
    }
}

fn aligned(plaintext: &[u8], to: usize) -> Vec<u8> {
    let mut data = vec![0; plaintext.len().max(2).next_multiple_of(to) - plaintext.len()];
    data.extend_from_slice(plaintext);
    data
}

fn buffer(octets: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::new(octets.len());
    packet.copy_from(octets).expect("the buffer is made to fit");
    packet
}

const SPI: u32 = 0x0012_3456;
const KEY_OCTET: u8 = 0x42;
