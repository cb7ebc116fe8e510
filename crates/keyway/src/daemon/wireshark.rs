//! `--disclose-keys`: the tables that Wireshark reads from its profile directory to decrypt IKE and ESP.
//!
//! ```text
//! ikev1_decryption_table   CKY-I,key; the algorithms it reads from the negotiation
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
use sa::{Direction, Protection, Protocol, SaSpec};
use wire::isakmp::Version;
use wire::registry::{EncryptionId, IntegrityId};

/// Wireshark's tables, open for appending.
#[derive(Debug)]
pub(crate) struct KeyTables {
    ike_v1: File,
    ike: File,
    esp: File,
}

impl KeyTables {
    /// Makes the tables in `directory` anew, readable by their owner only.
    ///
    /// # Errors
    /// The directory or a file cannot be created, or an old table cannot be removed.
    pub(crate) fn create(directory: &Path) -> io::Result<KeyTables> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let create = |name| create_anew(&directory.join(name));
        let ike_v1 = create("ikev1_decryption_table")?;
        Ok(KeyTables { ike_v1, ike: create("ikev2_decryption_table")?, esp: create("esp_sa")? })
    }

    /// Adds an IKE SA.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add_ike(&mut self, keys: &IkeKeyDisclosure) -> io::Result<()> {
        if keys.version == Version::V1 {
            return writeln!(self.ike_v1, "{},{}", keys.initiator_spi, hex(&keys.sk_ei));
        }
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

/// What lies at the path goes first: a mode counts only where a file is made, a link leads elsewhere, and whoever has
/// the old file open would read on.
fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn ike_line(keys: &IkeKeyDisclosure) -> String {
    let (initiator, responder) = (keys.initiator_spi, keys.responder_spi);
    let protection = &keys.suite.protection;
    let Some(encryption) = protection.encryption().and_then(ike_encryption_name) else {
        return unsupported(&format!("the IKE SA {initiator}_{responder}"), protection);
    };
    let integrity = protection.integrity().map_or(Some("NONE [RFC4306]"), ike_integrity_name);
    // What Wireshark cannot check it takes unchecked, and then wants no keys for.
    let (integrity, sk_ai, sk_ar) = match integrity {
        Some(name) => (name, hex(&keys.sk_ai), hex(&keys.sk_ar)),
        None => ("ANY 96-bits of Authentication [No Checking]", String::new(), String::new()),
    };
    format!(
        "{initiator},{responder},{},{},\"{encryption}\",{sk_ai},{sk_ar},\"{integrity}\"\n",
        hex(&keys.sk_ei),
        hex(&keys.sk_er),
    )
}

fn esp_line(sa: &SaSpec) -> String {
    if sa.protocol == Protocol::Ah {
        // AH encrypts nothing: there is nothing to give away.
        return String::new();
    }
    let encryption = sa.protection.encryption().and_then(esp_encryption_name);
    let integrity = sa.protection.integrity().map_or(Some("NULL"), esp_integrity_name);
    let (Some(encryption), Some(integrity)) = (encryption, integrity) else {
        return unsupported(&format!("the {} SA {}", sa.protocol, sa.spi), &sa.protection);
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
    let integrity_key = match sa.protection.integrity() {
        Some(_) => format!("0x{}", hex::encode(integrity_key)),
        None => String::new(),
    };
    format!(
        "\"{family}\",\"{source}\",\"{destination}\",\"0x{}\",\"{encryption}\",\"0x{}\",\"{integrity}\",\"{integrity_key}\"\n",
        sa.spi,
        hex::encode(encryption_key),
    )
}

/// A comment line in place of an entry.
fn unsupported(what: &str, protection: &Protection) -> String {
    format!("# Wireshark cannot decrypt {protection}, which {what} uses.\n")
}

fn hex(key: &Secret<Vec<u8>>) -> String {
    hex::encode(key.as_slice())
}

/// The names of Wireshark's packet-isakmp; it has none for ChaCha20-Poly1305, Camellia and the oldest ciphers.
fn ike_encryption_name(encryption: &Encryption) -> Option<String> {
    let bits = encryption.key_bits.unwrap_or_default();
    match encryption.id {
        EncryptionId::AES_CBC => Some(format!("AES-CBC-{bits} [RFC3602]")),
        EncryptionId::AES_CTR => Some(format!("AES-CTR-{bits} [RFC5930]")),
        EncryptionId::AES_CCM_8 => Some(format!("AES-CCM-{bits} with 8 octet ICV [RFC5282]")),
        EncryptionId::AES_CCM_12 => Some(format!("AES-CCM-{bits} with 12 octet ICV [RFC5282]")),
        EncryptionId::AES_CCM_16 => Some(format!("AES-CCM-{bits} with 16 octet ICV [RFC5282]")),
        EncryptionId::AES_GCM_8 => Some(format!("AES-GCM-{bits} with 8 octet ICV [RFC5282]")),
        EncryptionId::AES_GCM_12 => Some(format!("AES-GCM-{bits} with 12 octet ICV [RFC5282]")),
        EncryptionId::AES_GCM_16 => Some(format!("AES-GCM-{bits} with 16 octet ICV [RFC5282]")),
        EncryptionId::TRIPLE_DES => Some("3DES [RFC2451]".to_owned()),
        _ => None,
    }
}

/// The names of Wireshark's packet-isakmp; it has none for XCBC and CMAC.
fn ike_integrity_name(integrity: &Integrity) -> Option<&'static str> {
    match integrity.id {
        IntegrityId::HMAC_SHA2_256_128 => Some("HMAC_SHA2_256_128 [RFC4868]"),
        IntegrityId::HMAC_SHA2_384_192 => Some("HMAC_SHA2_384_192 [RFC4868]"),
        IntegrityId::HMAC_SHA2_512_256 => Some("HMAC_SHA2_512_256 [RFC4868]"),
        IntegrityId::HMAC_SHA2_256_96 => Some("HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]"),
        IntegrityId::HMAC_SHA1_96 => Some("HMAC_SHA1_96 [RFC2404]"),
        IntegrityId::HMAC_SHA1_160 => Some("HMAC_SHA1_160 [RFC4595]"),
        IntegrityId::HMAC_MD5_96 => Some("HMAC_MD5_96 [RFC2403]"),
        IntegrityId::HMAC_MD5_128 => Some("HMAC_MD5_128 [RFC4595]"),
        _ => None,
    }
}

/// The names of Wireshark's packet-ipsec; it has none for ChaCha20-Poly1305, AES-CCM, Camellia and implicit IVs.
fn esp_encryption_name(encryption: &Encryption) -> Option<&'static str> {
    match encryption.id {
        EncryptionId::AES_CBC => Some("AES-CBC [RFC3602]"),
        EncryptionId::AES_CTR => Some("AES-CTR [RFC3686]"),
        EncryptionId::AES_GCM_8 => Some("AES-GCM with 8 octet ICV [RFC4106]"),
        EncryptionId::AES_GCM_12 => Some("AES-GCM with 12 octet ICV [RFC4106]"),
        EncryptionId::AES_GCM_16 => Some("AES-GCM with 16 octet ICV [RFC4106]"),
        EncryptionId::TRIPLE_DES => Some("TripleDES-CBC [RFC2451]"),
        EncryptionId::DES => Some("DES-CBC [RFC2405]"),
        EncryptionId::CAST => Some("CAST5-CBC [RFC2144]"),
        EncryptionId::BLOWFISH => Some("BLOWFISH-CBC [RFC2451]"),
        EncryptionId::NULL => Some("NULL"),
        _ => None,
    }
}

/// The names of Wireshark's packet-ipsec; it takes unchecked what it does not know, but knows no ICV of 160 bits.
fn esp_integrity_name(integrity: &Integrity) -> Option<&'static str> {
    match integrity.id {
        IntegrityId::HMAC_SHA2_256_128 => Some("HMAC-SHA-256-128 [RFC4868]"),
        IntegrityId::HMAC_SHA2_384_192 => Some("HMAC-SHA-384-192 [RFC4868]"),
        IntegrityId::HMAC_SHA2_512_256 => Some("HMAC-SHA-512-256 [RFC4868]"),
        IntegrityId::HMAC_SHA2_256_96 => Some("HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]"),
        IntegrityId::HMAC_SHA1_96 => Some("HMAC-SHA-1-96 [RFC2404]"),
        IntegrityId::HMAC_MD5_96 => Some("HMAC-MD5-96 [RFC2403]"),
        IntegrityId::HMAC_MD5_128 => Some("ANY 128 bit authentication [no checking]"),
        IntegrityId::AES_XCBC_96 | IntegrityId::AES_CMAC_96 => {
            Some("ANY 96 bit authentication [no checking]")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use sa::transform::{ENCRYPTION, GROUPS, INTEGRITY, PSEUDO_RANDOM};
    use sa::{Encapsulation, Esn, Handling, IkeSuite, Lifetime, Mode, Outer, PolicyId, Spi};
    use wire::isakmp::IkeSpi;

    fn row(keyword: &str) -> &'static Encryption {
        ENCRYPTION.iter().find(|row| row.keywords.contains(&keyword)).expect("the test's own keyword")
    }

    fn sa(direction: Direction, protection: Protection) -> SaSpec {
        let address = |text: &str| text.parse().expect("the test's own text");
        let key = (0_u8..).take(protection.key_len()).collect::<Vec<_>>();
        SaSpec {
            direction,
            protocol: Protocol::Esp,
            spi: Spi(0xc000_0001),
            mode: Mode::Tunnel,
            outer: Outer {
                local: address("192.0.2.1:4500"),
                remote: address("192.0.2.2:4500"),
                encapsulation: Encapsulation::Udp,
            },
            protection,
            key: Arc::new(key.into()),
            esn: Esn::No,
            replay_window: 32,
            selectors: Vec::new(),
            lifetime: Lifetime::UNLIMITED,
            policy: PolicyId(1),
            handling: Handling::default(),
        }
    }

    #[test]
    fn keys_are_for_their_owner_alone_whatever_lay_there_before() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = std::env::temp_dir().join(format!("keyway-keys-{}", std::process::id()));
        let (elsewhere, ike) = (directory.join("elsewhere"), directory.join("ikev2_decryption_table"));
        fs::create_dir(&directory).expect("the temporary directory can be written");
        fs::write(&elsewhere, "precious").expect("it can be written");
        symlink(&elsewhere, &ike).expect("a link can be made");
        fs::write(directory.join("esp_sa"), "old").expect("it can be written");
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(directory.join("esp_sa"), everybody).expect("it is ours");
        KeyTables::create(&directory).expect("the directory can be written");
        for name in ["ikev1_decryption_table", "ikev2_decryption_table", "esp_sa"] {
            let metadata = fs::symlink_metadata(directory.join(name)).expect("it is there");
            assert!(metadata.is_file() && metadata.len() == 0, "{name}");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::read(&elsewhere).expect("still there"), b"precious");
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn an_aead_key_comes_with_its_salt() {
        let line = esp_line(&sa(Direction::Inbound, Protection::Combined(row("aes128gcm16"))));
        let expected = "\"IPv4\",\"192.0.2.2\",\"192.0.2.1\",\"0xc0000001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\
                        \"0x000102030405060708090a0b0c0d0e0f10111213\",\"NULL\",\"\"\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_cipher_and_a_mac_have_a_key_each() {
        let integrity = &INTEGRITY[0];
        let protection = Protection::Separate { encryption: row("aes128"), integrity };
        let line = esp_line(&sa(Direction::Outbound, protection));
        let mac_key = hex::encode((16_u8..48).collect::<Vec<_>>());
        let expected = format!(
            "\"IPv4\",\"192.0.2.1\",\"192.0.2.2\",\"0xc0000001\",\"AES-CBC [RFC3602]\",\
             \"0x000102030405060708090a0b0c0d0e0f\",\"HMAC-SHA-256-128 [RFC4868]\",\"0x{mac_key}\"\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn an_ike_sa_has_its_spis_and_four_keys() {
        let protection = Protection::Separate { encryption: row("aes256"), integrity: &INTEGRITY[2] };
        let keys = IkeKeyDisclosure {
            version: Version::V2,
            initiator_spi: IkeSpi(1),
            responder_spi: IkeSpi(2),
            suite: IkeSuite {
                protection,
                prf: &PSEUDO_RANDOM[0],
                key_exchange: &GROUPS[0],
                additional: sa::AdditionalSuite::default(),
            },
            sk_ei: vec![0xe1].into(),
            sk_er: vec![0xe2].into(),
            sk_ai: vec![0xa1].into(),
            sk_ar: vec![0xa2].into(),
        };
        let expected = "0000000000000001,0000000000000002,e1,e2,\"AES-CBC-256 [RFC3602]\",a1,a2,\
                        \"HMAC_SHA2_512_256 [RFC4868]\"\n";
        assert_eq!(ike_line(&keys), expected);
    }

    #[test]
    fn what_wireshark_cannot_decrypt_is_a_comment() {
        let line = esp_line(&sa(Direction::Inbound, Protection::Combined(row("chacha20poly1305"))));
        assert_eq!(line, "# Wireshark cannot decrypt chacha20poly1305, which the ESP SA c0000001 uses.\n");
        let long_icv = INTEGRITY.iter().find(|row| row.keywords[0] == "sha1_160").expect("in the table");
        let protection = Protection::Separate { encryption: row("aes128"), integrity: long_icv };
        let line = esp_line(&sa(Direction::Inbound, protection));
        assert_eq!(line, "# Wireshark cannot decrypt aes128-sha1_160, which the ESP SA c0000001 uses.\n");
    }

    /// A wrong length makes Wireshark refuse the table as a whole.
    #[test]
    fn what_wireshark_cannot_check_has_no_keys() {
        let cmac = INTEGRITY.iter().find(|row| row.keywords[0] == "aescmac").expect("in the table");
        let protection = Protection::Separate { encryption: row("3des"), integrity: cmac };
        let keys = IkeKeyDisclosure {
            version: Version::V2,
            initiator_spi: IkeSpi(1),
            responder_spi: IkeSpi(2),
            suite: IkeSuite {
                protection,
                prf: &PSEUDO_RANDOM[0],
                key_exchange: &GROUPS[0],
                additional: sa::AdditionalSuite::default(),
            },
            sk_ei: vec![0xe1].into(),
            sk_er: vec![0xe2].into(),
            sk_ai: vec![0xa1].into(),
            sk_ar: vec![0xa2].into(),
        };
        let expected = "0000000000000001,0000000000000002,e1,e2,\"3DES [RFC2451]\",,,\
                        \"ANY 96-bits of Authentication [No Checking]\"\n";
        assert_eq!(ike_line(&keys), expected);
    }
}
