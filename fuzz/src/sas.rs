//! The SAs that the packet targets seal and open with.

use std::sync::Arc;

use crypto::{Secret, SystemRandom};
use ipsec::{Databases, PacketBuf, Tables};
use sa::transform::{ENCRYPTION, EncryptionKind, INTEGRITY};
use sa::{
    Direction, Encapsulation, Esn, Family, Handling, Lifetime, Mode, Outer, PolicyAction, PolicyId,
    PolicySpec, Protection, Protocol, SaOp, SaSpec, SelectorPair, Spi, TrafficSelector,
};

/// The SPI of every SA here.
pub(crate) const SPI: Spi = Spi(0x0012_3456);
/// The sender's host, and the receiver's.
pub(crate) const INNER: [&str; 2] = ["10.1.0.2", "10.2.0.3"];
const KEY_OCTET: u8 = 0x42;

/// An SA from the left gateway to the right one.
#[derive(Clone, Debug)]
pub(crate) struct Sa {
    pub(crate) protocol: Protocol,
    pub(crate) mode: Mode,
    pub(crate) protection: Protection,
    pub(crate) handling: Handling,
    /// The family of the gateways.
    pub(crate) outer: Family,
    pub(crate) traffic: Traffic,
}

/// What an SA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Everything.
    Any,
    /// What goes between [`NETWORKS`].
    Networks,
    /// What goes between [`INNER`].
    Hosts,
}

/// The sender's networks, and the receiver's.
pub(crate) const NETWORKS: [[&str; 2]; 2] =
    [["10.1.0.0/16", "10.2.0.0/16"], ["2001:db8:1::/48", "2001:db8:2::/48"]];

impl Sa {
    /// Gives the receiver's tables.
    pub(crate) fn receiver(&self) -> Arc<Tables> {
        let mut databases = Databases::new(Box::new(SystemRandom));
        databases
            .apply(SaOp::InstallSa(Box::new(self.spec(Direction::Inbound))))
            .expect("a valid specification");
        databases.tables()
    }

    /// Gives the sender's tables, in which every packet meets the SA.
    pub(crate) fn sender(&self) -> Arc<Tables> {
        let mut databases = Databases::new(Box::new(SystemRandom));
        let spec = self.spec(Direction::Outbound);
        let (policy, sa) = (spec.policy, spec.id());
        let selectors = spec.selectors.clone();
        let protect =
            PolicySpec { id: policy, priority: 1, selectors, action: PolicyAction::Protect, device: None };
        for op in
            [SaOp::InstallPolicy(protect), SaOp::InstallSa(Box::new(spec)), SaOp::UseOutbound { policy, sa }]
        {
            databases.apply(op).expect("a valid order");
        }
        databases.tables()
    }

    /// Seals as a peer that holds the key and means no good: packet number one of ESP, whatever is in it. What lacks to
    /// whole blocks is zeros in front.
    pub(crate) fn seal_evil(&self, plaintext: &[u8]) -> Vec<u8> {
        let key = vec![KEY_OCTET; self.protection.key_len()];
        let (encryption_key, integrity_key) = key.split_at(self.protection.encryption_key_len());
        let header = [SPI.0.to_be_bytes(), [0, 0, 0, 1]].concat();
        match (self.protection.encryption().map(|encryption| &encryption.kind), self.protection.integrity()) {
            (Some(EncryptionKind::Aead(aead)), _) => {
                let (iv, mut icv) = (1u64.to_be_bytes(), vec![0; aead.icv_len()]);
                let mut data = aligned(plaintext, 4);
                let key = aead.key(encryption_key).expect("a key of this length");
                key.seal(&iv, &header, &mut data, &mut icv).expect("the lengths fit");
                [&header[..], &iv[..aead.iv_len()], &data, &icv].concat()
            }
            (Some(EncryptionKind::Cipher(cipher)), integrity) => {
                let mac = integrity.expect("no suite encrypts without integrity").mac;
                let (iv, mut icv) = (vec![0; cipher.iv_len()], vec![0; mac.icv_len()]);
                let mut data = aligned(plaintext, cipher.block_len().max(4));
                let key = cipher.key(encryption_key).expect("a key of this length");
                key.encrypt(&iv, &mut data).expect("whole blocks");
                mac.key(integrity_key).expect("a key of this length").sign(&[&header, &iv, &data], &mut icv);
                [&header[..], &iv, &data, &icv].concat()
            }
            (None, _) => panic!("ESP always has a cipher or an AEAD"),
        }
    }

    fn spec(&self, direction: Direction) -> SaSpec {
        let (left, right) = match self.outer {
            Family::V4 => ("203.0.113.1:4500", "203.0.113.2:4500"),
            Family::V6 => ("[2001:db8::1]:4500", "[2001:db8::2]:4500"),
        };
        let (local, remote) = match direction {
            Direction::Outbound => (left, right),
            Direction::Inbound => (right, left),
        };
        SaSpec {
            direction,
            protocol: self.protocol,
            spi: SPI,
            mode: self.mode,
            outer: Outer {
                local: local.parse().expect("an address"),
                remote: remote.parse().expect("an address"),
                encapsulation: match self.handling.original {
                    Some(_) => Encapsulation::Udp,
                    None => Encapsulation::None,
                },
            },
            protection: self.protection,
            key: Arc::new(Secret::new(vec![KEY_OCTET; self.protection.key_len()])),
            esn: Esn::No,
            replay_window: 64,
            selectors: self.selectors(direction),
            lifetime: Lifetime::UNLIMITED,
            policy: PolicyId(1),
            handling: self.handling.clone(),
        }
    }

    fn selectors(&self, direction: Direction) -> Vec<SelectorPair> {
        let pair = |left: TrafficSelector, right: TrafficSelector| match direction {
            Direction::Outbound => SelectorPair { local: left, remote: right },
            Direction::Inbound => SelectorPair { local: right, remote: left },
        };
        let any = |family| pair(TrafficSelector::any(family), TrafficSelector::any(family));
        let named = |names: [&str; 2]| {
            let [left, right] = names.map(|name| name.parse().expect("addresses"));
            pair(left, right)
        };
        match self.traffic {
            Traffic::Any => [Family::V4, Family::V6].map(any).into(),
            Traffic::Networks => NETWORKS.map(named).into(),
            Traffic::Hosts => vec![named(INNER)],
        }
    }
}

/// A suite of ESP.
pub(crate) fn esp_suite(choice: usize) -> Protection {
    let encryption = &ENCRYPTION[choice % ENCRYPTION.len()];
    match encryption.kind {
        EncryptionKind::Aead(_) => Protection::Combined(encryption),
        EncryptionKind::Cipher(_) => {
            let mut macs = INTEGRITY.iter().filter(|row| !row.is_for_ah_alone()).cycle();
            let integrity = macs.nth(choice % INTEGRITY.len()).expect("a cycle goes on");
            Protection::Separate { encryption, integrity }
        }
    }
}

pub(crate) fn buffer(octets: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::new(octets.len());
    packet.copy_from(octets).expect("the buffer is made to fit");
    packet
}

fn aligned(plaintext: &[u8], to: usize) -> Vec<u8> {
    let mut data = vec![0; plaintext.len().max(2).next_multiple_of(to) - plaintext.len()];
    data.extend_from_slice(plaintext);
    data
}
