//! `--disclose-keys`: the two tables that Wireshark reads from its profile directory to decrypt IKEv2 and ESP.
//!
//! ```text
//! ikev2_decryption_table   SPIi,SPIr,SK_ei,SK_er,"encryption",SK_ai,SK_ar,"integrity"
//! esp_sa                   "IPv4","source","destination","0xSPI","encryption","0xkey","authentication","0xkey"
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crypto::Secret;
use ike::{ChildKeyDisclosure, IkeKeyDisclosure};
use sa::transform::{Encryption, Integrity};
use sa::{Direction, SaSpec};
use wire::registry::{EncryptionId, IntegrityId};

/// Wireshark's tables, open for appending.
#[derive(Debug)]
pub(crate) struct KeyTables {
    ike: File,
    esp: File,
}

impl KeyTables {
    /// Empties or creates the tables in `directory`, readable by their owner only.
    ///
    /// # Errors
    /// The directory or a file cannot be created.
    pub(crate) fn create(directory: &Path) -> io::Result<KeyTables> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let create = |name| {
            let path = directory.join(name);
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
        };
        Ok(KeyTables { ike: create("ikev2_decryption_table")?, esp: create("esp_sa")? })
    }

    /// Adds an IKE SA.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add_ike(&mut self, keys: &IkeKeyDisclosure) -> io::Result<()> {
        self.ike.write_all(ike_line(keys).as_bytes())
    }

    /// Adds the two SAs of a Child SA.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add_child(&mut self, keys: &ChildKeyDisclosure) -> io::Result<()> {
        self.esp.write_all(esp_line(&keys.inbound).as_bytes())?;
        self.esp.write_all(esp_line(&keys.outbound).as_bytes())
    }
}

fn ike_line(keys: &IkeKeyDisclosure) -> String {
    let (initiator, responder) = (keys.initiator_spi, keys.responder_spi);
    let protection = &keys.suite.protection;
    let Some(encryption) = ike_encryption_name(protection.encryption()) else {
        return unsupported(&format!("the IKE SA {initiator}_{responder}"), protection.encryption());
    };
    let integrity = protection.integrity().map_or("NONE [RFC4306]", ike_integrity_name);
    format!(
        "{initiator},{responder},{},{},\"{encryption}\",{},{},\"{integrity}\"\n",
        hex(&keys.sk_ei),
        hex(&keys.sk_er),
        hex(&keys.sk_ai),
        hex(&keys.sk_ar),
    )
}

fn esp_line(sa: &SaSpec) -> String {
    let Some(encryption) = esp_encryption_name(sa.protection.encryption()) else {
        return unsupported(&format!("the ESP SA {}", sa.spi), sa.protection.encryption());
    };
    let (source, destination) = match sa.direction {
        Direction::Inbound => (sa.outer.remote.ip(), sa.outer.local.ip()),
        Direction::Outbound => (sa.outer.local.ip(), sa.outer.remote.ip()),
    };
    let family = match source {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    let (encryption_key, integrity_key) = sa.key.as_slice().split_at(sa.protection.encryption_key_len());
    let (integrity, integrity_key) = match sa.protection.integrity() {
        Some(integrity) => (esp_integrity_name(integrity), format!("0x{}", hex::encode(integrity_key))),
        None => ("NULL", String::new()),
    };
    format!(
        "\"{family}\",\"{source}\",\"{destination}\",\"0x{}\",\"{encryption}\",\"0x{}\",\"{integrity}\",\"{integrity_key}\"\n",
        sa.spi,
        hex::encode(encryption_key),
    )
}

/// A comment line in place of an entry.
fn unsupported(what: &str, encryption: &Encryption) -> String {
    format!("# Wireshark cannot decrypt {}, which {what} uses.\n", encryption.name)
}

fn hex(key: &Secret<Vec<u8>>) -> String {
    hex::encode(key.as_slice())
}

/// The names of Wireshark's packet-isakmp; it has none for ChaCha20-Poly1305.
fn ike_encryption_name(encryption: &Encryption) -> Option<String> {
    let bits = encryption.key_bits?;
    match encryption.id {
        EncryptionId::AES_CBC => Some(format!("AES-CBC-{bits} [RFC3602]")),
        EncryptionId::AES_GCM_8 => Some(format!("AES-GCM-{bits} with 8 octet ICV [RFC5282]")),
        EncryptionId::AES_GCM_12 => Some(format!("AES-GCM-{bits} with 12 octet ICV [RFC5282]")),
        EncryptionId::AES_GCM_16 => Some(format!("AES-GCM-{bits} with 16 octet ICV [RFC5282]")),
        _ => None,
    }
}

fn ike_integrity_name(integrity: &Integrity) -> &'static str {
    match integrity.id {
        IntegrityId::HMAC_SHA2_256_128 => "HMAC_SHA2_256_128 [RFC4868]",
        IntegrityId::HMAC_SHA2_384_192 => "HMAC_SHA2_384_192 [RFC4868]",
        IntegrityId::HMAC_SHA2_512_256 => "HMAC_SHA2_512_256 [RFC4868]",
        _ => integrity.name,
    }
}

/// The names of Wireshark's packet-ipsec; it has none for ChaCha20-Poly1305.
fn esp_encryption_name(encryption: &Encryption) -> Option<&'static str> {
    match encryption.id {
        EncryptionId::AES_CBC => Some("AES-CBC [RFC3602]"),
        EncryptionId::AES_GCM_8 => Some("AES-GCM with 8 octet ICV [RFC4106]"),
        EncryptionId::AES_GCM_12 => Some("AES-GCM with 12 octet ICV [RFC4106]"),
        EncryptionId::AES_GCM_16 => Some("AES-GCM with 16 octet ICV [RFC4106]"),
        _ => None,
    }
}

fn esp_integrity_name(integrity: &Integrity) -> &'static str {
    match integrity.id {
        IntegrityId::HMAC_SHA2_256_128 => "HMAC-SHA-256-128 [RFC4868]",
        IntegrityId::HMAC_SHA2_384_192 => "HMAC-SHA-384-192 [RFC4868]",
        IntegrityId::HMAC_SHA2_512_256 => "HMAC-SHA-512-256 [RFC4868]",
        _ => integrity.name,
    }
}
