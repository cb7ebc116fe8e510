//! A row as Linux has it: lines for `ip -batch`, and what its counters say.

use interop::{Failure, Result};
use sa::{Encapsulation, Esn, FlowPadding, Mode, Protection, Protocol};
use wire::registry::{EncryptionId, IntegrityId};

use crate::associations::{Association, CPI_IN, CPI_OUT, Ends};
use crate::keyway::hexadecimal;
use crate::rows::{Compression, Row};

/// RFC 3948 §2.
const NAT_PORT: u16 = 4500;
/// Packets of a row before the low half of the sequence number begins again, beside a window of them.
const SOON: u32 = 8;

/// What Linux calls an algorithm.
struct Name {
    /// `aead`, `enc` or `auth-trunc`.
    kind: &'static str,
    name: &'static str,
    /// Bits of the ICV; a cipher has none.
    icv_bits: Option<u16>,
}

const fn aead(name: &'static str, icv_bits: u16) -> Option<Name> {
    Some(Name { kind: "aead", name, icv_bits: Some(icv_bits) })
}

const fn cipher(name: &'static str) -> Option<Name> {
    Some(Name { kind: "enc", name, icv_bits: None })
}

const fn mac(name: &'static str, icv_bits: u16) -> Option<Name> {
    Some(Name { kind: "auth-trunc", name, icv_bits: Some(icv_bits) })
}

/// Linux has neither Camellia in modes other than CBC nor implicit IVs.
fn encryption(id: EncryptionId) -> Option<Name> {
    match id {
        EncryptionId::AES_GCM_16 => aead("rfc4106(gcm(aes))", 128),
        EncryptionId::AES_GCM_12 => aead("rfc4106(gcm(aes))", 96),
        EncryptionId::AES_GCM_8 => aead("rfc4106(gcm(aes))", 64),
        EncryptionId::AES_CCM_16 => aead("rfc4309(ccm(aes))", 128),
        EncryptionId::AES_CCM_12 => aead("rfc4309(ccm(aes))", 96),
        EncryptionId::AES_CCM_8 => aead("rfc4309(ccm(aes))", 64),
        EncryptionId::NULL_AUTH_AES_GMAC => aead("rfc4543(gcm(aes))", 128),
        EncryptionId::CHACHA20_POLY1305 => aead("rfc7539esp(chacha20,poly1305)", 128),
        EncryptionId::AES_CBC => cipher("cbc(aes)"),
        EncryptionId::AES_CTR => cipher("rfc3686(ctr(aes))"),
        EncryptionId::CAMELLIA_CBC => cipher("cbc(camellia)"),
        EncryptionId::TRIPLE_DES => cipher("cbc(des3_ede)"),
        EncryptionId::DES => cipher("cbc(des)"),
        EncryptionId::CAST => cipher("cbc(cast5)"),
        EncryptionId::BLOWFISH => cipher("cbc(blowfish)"),
        EncryptionId::NULL => cipher("ecb(cipher_null)"),
        _ => None,
    }
}

/// Nor does it have GMAC in AH.
fn integrity(id: IntegrityId) -> Option<Name> {
    match id {
        IntegrityId::HMAC_SHA2_256_128 => mac("hmac(sha256)", 128),
        IntegrityId::HMAC_SHA2_384_192 => mac("hmac(sha384)", 192),
        IntegrityId::HMAC_SHA2_512_256 => mac("hmac(sha512)", 256),
        IntegrityId::HMAC_SHA2_256_96 => mac("hmac(sha256)", 96),
        IntegrityId::HMAC_SHA1_160 => mac("hmac(sha1)", 160),
        IntegrityId::HMAC_MD5_128 => mac("hmac(md5)", 128),
        IntegrityId::HMAC_SHA1_96 => mac("hmac(sha1)", 96),
        IntegrityId::HMAC_MD5_96 => mac("hmac(md5)", 96),
        IntegrityId::AES_XCBC_96 => mac("xcbc(aes)", 96),
        IntegrityId::AES_CMAC_96 => mac("cmac(aes)", 96),
        _ => None,
    }
}

/// Whether Linux has these algorithms.
pub(crate) fn has(protection: &Protection) -> bool {
    protection.encryption().is_none_or(|row| encryption(row.id).is_some())
        && protection.integrity().is_none_or(|row| integrity(row.id).is_some())
}

/// The lines that put Linux's twin of a row in the place of the one before.
pub(crate) fn lines(row: &Row, ends: &Ends, associations: &[Association]) -> String {
    let mut lines = String::from("xfrm policy flush\nxfrm state flush\n");
    for way in [Way::Opens, Way::Seals] {
        lines += &compression_state(row, ends, way);
        for association in associations {
            lines += &state(row, ends, association, way);
        }
        lines += &policies(row, ends, associations, way);
    }
    lines
}

/// What Linux does with the packets of one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They are outbound for Keyway.
    Opens,
    /// They are inbound for Keyway.
    Seals,
}

impl Way {
    /// Source and destination.
    fn order<T>(self, [ours, linuxes]: &[T; 2]) -> [&T; 2] {
        match self {
            Way::Opens => [ours, linuxes],
            Way::Seals => [linuxes, ours],
        }
    }
}

fn state(row: &Row, ends: &Ends, association: &Association, way: Way) -> String {
    let [source, destination] = way.order(&ends.outer);
    let direction = match way {
        Way::Opens => &association.outbound,
        Way::Seals => &association.inbound,
    };
    let mut line = format!(
        "xfrm state add src {source} dst {destination} proto {} spi {:#x} reqid 1 mode {} replay-window {}",
        protocol(association.protocol),
        direction.spi,
        mode(state_mode(row, association)),
        row.replay_window
    );
    if association.mode != Mode::Beet {
        // Without it the family inside would have to be that outside.
        line += " flag af-unspec";
    }
    if association.protocol == Protocol::Ah && source.is_ipv4() {
        // RFC 4302 §2.6: AH ends at a multiple of four octets in IPv4. Linux of itself makes it eight.
        line += " flag align4";
    }
    if row.esn == Esn::Yes {
        line += " flag esn";
    }
    if way == Way::Seals && begins_again(row) {
        line += &format!(" replay-oseq {}", u32::MAX - row.replay_window - SOON);
    }
    line += &algorithms(&association.protection, &direction.key);
    if let FlowPadding::To(octets) = row.padding {
        line += &format!(" tfcpad {octets}");
    }
    if row.shape.carrier == Encapsulation::Udp {
        let any = if source.is_ipv4() { "0.0.0.0" } else { "::" };
        line += &format!(" encap espinudp {NAT_PORT} {NAT_PORT} {any}");
    }
    if association.mode == Mode::Beet {
        let [from, to] = way.order(&ends.selectors);
        line += &format!(" sel src {from} dst {to}");
    }
    line + "\n"
}

/// Whether the row sees the low half of Linux's sequence numbers begin again. The first of them must not be within a window
/// of that, for a receiver could not tell to which side it belongs (RFC 4303 appendix A2.1), and a row has not many packets.
pub(crate) fn begins_again(row: &Row) -> bool {
    row.esn == Esn::Yes && row.replay_window <= 64
}

/// Compression is an SA of its own here, and the one that makes the tunnel.
fn compression_state(row: &Row, ends: &Ends, way: Way) -> String {
    let [source, destination] = way.order(&ends.outer);
    let cpi = match way {
        Way::Opens => CPI_OUT,
        Way::Seals => CPI_IN,
    };
    match row.compression {
        Compression::None => String::new(),
        Compression::Deflate => format!(
            "xfrm state add src {source} dst {destination} proto comp spi {cpi:#x} reqid 1 mode {} flag af-unspec \
             comp deflate\n",
            mode(row.shape.mode)
        ),
    }
}

/// What lies around compression has no tunnel to make any more.
fn state_mode(row: &Row, association: &Association) -> Mode {
    match row.compression {
        Compression::None => association.mode,
        Compression::Deflate => Mode::Transport,
    }
}

fn policies(row: &Row, ends: &Ends, associations: &[Association], way: Way) -> String {
    let [source, destination] = way.order(&ends.outer);
    let [from, to] = way.order(&ends.selectors);
    let template = |protocol: &str, mode: &str, level: &str| {
        format!(" tmpl src {source} dst {destination} proto {protocol} reqid 1 mode {mode} level {level}")
    };
    let mut templates = String::new();
    if row.compression == Compression::Deflate {
        // What would not become shorter is not compressed (RFC 3173 §2.2).
        let level = if way == Way::Opens { "use" } else { "required" };
        templates += &template("comp", mode(row.shape.mode), level);
    }
    for association in associations {
        templates +=
            &template(protocol(association.protocol), mode(state_mode(row, association)), "required");
    }
    let directions: &[&str] = match way {
        Way::Opens => &["in", "fwd"],
        Way::Seals => &["out"],
    };
    directions
        .iter()
        .map(|direction| format!("xfrm policy add src {from} dst {to} dir {direction}{templates}\n"))
        .collect()
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Esp => "esp",
        Protocol::Ah => "ah",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
        Mode::Beet => "beet",
    }
}

fn algorithms(protection: &Protection, key: &[u8]) -> String {
    let (encryption_key, integrity_key) = key.split_at(protection.encryption_key_len());
    let names = [
        protection.integrity().and_then(|row| integrity(row.id)).map(|name| (name, integrity_key)),
        protection.encryption().and_then(|row| encryption(row.id)).map(|name| (name, encryption_key)),
    ];
    names.into_iter().flatten().map(|(name, key)| algorithm(&name, key)).collect()
}

fn algorithm(name: &Name, key: &[u8]) -> String {
    let key = if key.is_empty() { "\"\"".to_owned() } else { hexadecimal(key) };
    let bits = name.icv_bits.map_or_else(String::new, |bits| format!(" {bits}"));
    format!(" {} \"{}\" {key}{bits}", name.kind, name.name)
}

/// What Linux tells of a state.
pub(crate) struct State {
    /// Packets that it has carried.
    pub(crate) packets: u64,
    /// Octets of these, with the padding of those that it has opened.
    pub(crate) octets: u64,
    /// The high half of the last sequence number that it has sealed with.
    pub(crate) sealed_high_half: u32,
}

impl State {
    /// Finds one in what `ip -s xfrm state` prints.
    pub(crate) fn read(states: &str, spi: u32) -> Result<State> {
        let printed = format!("spi {spi:#010x}");
        let state = states
            .split("\nsrc ")
            .find(|state| state.contains(&printed))
            .ok_or_else(|| Failure::new(format!("Linux has no state with {printed}:\n{states}")))?;
        let current = state.split_once("lifetime current:").map_or("", |(_, rest)| rest);
        let number =
            |before, after| between(current, before, after).and_then(|count| count.trim().parse().ok());
        let counted = number("", "(bytes)").zip(number("(bytes), ", "(packets)"));
        let (octets, packets) =
            counted.ok_or_else(|| Failure::new(format!("no number of packets in:\n{state}")))?;
        let high_half = between(state, "oseq-hi 0x", ",").and_then(|half| u32::from_str_radix(half, 16).ok());
        Ok(State { packets, octets, sealed_high_half: high_half.unwrap_or(0) })
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Makes sure that compression has been used, since packets that did not become shorter went without.
pub(crate) fn compressed_both_ways(states: &str) -> Result<()> {
    for cpi in [CPI_IN, CPI_OUT] {
        if State::read(states, cpi.into())?.packets == 0 {
            return Err(Failure::new(format!("nothing was compressed with CPI {cpi:#x}")));
        }
    }
    Ok(())
}
