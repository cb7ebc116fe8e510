//! What is tried: every algorithm in every shape that a packet may take, as far as Linux has both.

use std::fmt;

use interop::Family;
use sa::transform::{self, Encryption, EncryptionKind, Integrity};
use sa::{Encapsulation, Esn, FlowPadding, Mode, Protection};

use crate::linux;

/// One line of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// What the packets are protected with.
    pub(crate) layers: Layers,
    /// How they are wrapped.
    pub(crate) shape: Shape,
    /// The width of sequence numbers.
    pub(crate) esn: Esn,
    /// Packets that the anti-replay window holds, at both ends.
    pub(crate) replay_window: u32,
    /// Whether they are compressed before.
    pub(crate) compression: Compression,
    /// Whether they are padded, both ways.
    pub(crate) padding: FlowPadding,
}

/// Which protocols, with which algorithms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layers {
    Esp(Protection),
    Ah(&'static Integrity),
    AhAroundEsp(&'static Integrity, Protection),
}

/// How a packet is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) mode: Mode,
    pub(crate) inside: Family,
    pub(crate) outside: Family,
    pub(crate) carrier: Encapsulation,
}

/// What happens to packets before they are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    /// IPComp with DEFLATE (RFC 3173, RFC 2394).
    Deflate,
}

/// Every row of one mode.
pub(crate) fn rows(mode: Mode) -> Vec<Row> {
    let (esp, macs) = (esp_protections(), macs());
    let shapes = shapes(mode, Encapsulation::None);
    let mut rows = Vec::new();
    for &shape in &shapes {
        rows.extend(esp.iter().map(|&protection| Row::new(Layers::Esp(protection), shape)));
    }
    // UDP is a header more and nothing else: every shape and every algorithm meet it, but not each other.
    let in_udp = self::shapes(mode, Encapsulation::Udp);
    rows.extend(
        esp.iter()
            .zip(in_udp.iter().cycle())
            .map(|(&protection, &shape)| Row::new(Layers::Esp(protection), shape)),
    );
    // Linux's tools know BEET for ESP only.
    if mode != Mode::Beet {
        for &shape in &shapes {
            rows.extend(macs.iter().map(|mac| Row::new(Layers::Ah(mac), shape)));
        }
        let bundles = macs.iter().zip(esp.iter().step_by(4)).zip(shapes.iter().cycle());
        rows.extend(bundles.map(|((mac, &esp), &shape)| Row::new(Layers::AhAroundEsp(mac, esp), shape)));
        rows.extend(compressed(&shapes));
    }
    if mode == Mode::Tunnel {
        rows.extend(padded(&shapes));
    }
    rows.extend(extended_sequence_numbers(shapes[0]));
    rows
}

/// Short packets made long against traffic analysis (RFC 4303 §2.7), with either kind of ICV.
fn padded(shapes: &[Shape]) -> impl Iterator<Item = Row> {
    const KINDS: [&str; 2] = ["aes256gcm16", "aes256-sha256"];
    let esp = esp_protections().into_iter().filter(|protection| KINDS.contains(&&*protection.to_string()));
    let layers: Vec<_> = esp.map(Layers::Esp).collect();
    shapes.iter().flat_map(move |&shape| {
        let row = |&layers: &Layers| Row { padding: FlowPadding::To(700), ..Row::new(layers, shape) };
        layers.iter().map(row).collect::<Vec<_>>()
    })
}

/// IPComp under each protocol.
fn compressed(shapes: &[Shape]) -> impl Iterator<Item = Row> {
    let (esp, macs) = (esp_protections(), macs());
    let layers = [Layers::Esp(esp[0]), Layers::Ah(macs[0])];
    shapes.iter().flat_map(move |&shape| {
        layers.map(|layers| Row { compression: Compression::Deflate, ..Row::new(layers, shape) })
    })
}

/// Each kind of ICV with numbers of 64 bits, and windows from a small one to Linux's largest.
fn extended_sequence_numbers(shape: Shape) -> impl Iterator<Item = Row> {
    const KINDS: [&str; 4] = ["aes128gcm16", "chacha20poly1305", "aes128-sha256", "aes128-sha512"];
    let esp = esp_protections().into_iter().filter(|protection| KINDS.contains(&&*protection.to_string()));
    let layers = esp.map(Layers::Esp).chain((shape.mode != Mode::Beet).then(|| Layers::Ah(macs()[0])));
    layers.flat_map(move |layers| {
        [32, 64, 1024, 4096].map(|replay_window| Row {
            esn: Esn::Yes,
            replay_window,
            ..Row::new(layers, shape)
        })
    })
}

/// Every cipher once, and every MAC once.
fn esp_protections() -> Vec<Protection> {
    let is_cipher = |row: &&Encryption| matches!(row.kind, EncryptionKind::Cipher(_));
    let (ciphers, aeads): (Vec<_>, Vec<_>) = transform::ENCRYPTION.iter().partition(is_cipher);
    let (macs, first_cipher) = (macs(), ciphers[0]);
    let combined = aeads.into_iter().map(Protection::Combined);
    let with_first_mac =
        ciphers.iter().map(|encryption| Protection::Separate { encryption, integrity: macs[0] });
    let with_others =
        macs[1..].iter().map(|integrity| Protection::Separate { encryption: first_cipher, integrity });
    combined.chain(with_first_mac).chain(with_others).filter(linux::has).collect()
}

fn macs() -> Vec<&'static Integrity> {
    transform::INTEGRITY.iter().filter(|mac| linux::has(&Protection::Authenticated(mac))).collect()
}

/// Transport mode keeps the packet's own header, the others make one of either family.
fn shapes(mode: Mode, carrier: Encapsulation) -> Vec<Shape> {
    let families = [Family::V4, Family::V6];
    let mixed = families.into_iter().flat_map(|outside| families.map(|inside| (inside, outside)));
    let possible = mixed.filter(|(inside, outside)| mode != Mode::Transport || inside == outside);
    possible.map(|(inside, outside)| Shape { mode, inside, outside, carrier }).collect()
}

impl Row {
    fn new(layers: Layers, shape: Shape) -> Row {
        Row {
            layers,
            shape,
            esn: Esn::No,
            replay_window: 64,
            compression: Compression::None,
            padding: FlowPadding::None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compression = match self.compression {
            Compression::None => "",
            Compression::Deflate => " over IPComp",
        };
        let esn = match self.esn {
            Esn::Yes => format!(" esn, window {}", self.replay_window),
            Esn::No => String::new(),
        };
        let padding = match self.padding {
            FlowPadding::None => "",
            FlowPadding::To(_) | FlowPadding::ToPathMtu => " padded",
        };
        f.pad(&format!("{} {}{compression}{padding}{esn}", self.shape, self.layers))
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layers::Esp(protection) => write!(f, "ESP {protection}"),
            Layers::Ah(mac) => write!(f, "AH {mac}"),
            Layers::AhAroundEsp(mac, protection) => write!(f, "AH {mac} around ESP {protection}"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carrier = match self.carrier {
            Encapsulation::None => "",
            Encapsulation::Udp => " in UDP",
        };
        let (inside, outside) = (version(self.inside), version(self.outside));
        match self.mode {
            Mode::Tunnel => write!(f, "tunnel {inside} in {outside}{carrier}"),
            Mode::Transport => write!(f, "transport {outside}{carrier}"),
            Mode::Beet => write!(f, "BEET {inside} as {outside}{carrier}"),
        }
    }
}

fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}
