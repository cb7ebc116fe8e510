//! Scapy, in a Python that answers questions: see `peer.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use interop::{Failure, Result};
use sa::{Direction, Encapsulation, Esn, Mode, Protection, Protocol};
use serde_json::{Value, json};
use wire::registry::{EncryptionId, IntegrityId};

use crate::common::SPI;
use crate::common::link::Plan;

/// Debian's, for which its Scapy is.
const PYTHON: &str = "/usr/bin/python3";

/// A running Python; it ends with its standard input, which is when this is dropped.
pub(crate) struct Scapy {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// What Scapy calls the algorithms of a plan.
pub(crate) struct Algorithms {
    crypt: Option<&'static str>,
    auth: Option<&'static str>,
    icv_len: Option<usize>,
}

impl Scapy {
    pub(crate) fn start() -> Result<Scapy> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scapy/peer.py");
        let mut process = Command::new(PYTHON)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::at(PYTHON))?;
        let answers = process.stdout.take().ok_or_else(|| Failure::new("Python has no standard output"))?;
        Ok(Scapy { process, answers: BufReader::new(answers) })
    }

    /// Gives the packet on the wire.
    pub(crate) fn seal(
        &mut self,
        algorithms: &Algorithms,
        plan: &Plan,
        number: u64,
        inner: &[u8],
    ) -> Result<Vec<u8>> {
        self.ask("seal", algorithms, plan, number, inner)
    }

    /// Gives the inner packet.
    pub(crate) fn open(
        &mut self,
        algorithms: &Algorithms,
        plan: &Plan,
        number: u64,
        sealed: &[u8],
    ) -> Result<Vec<u8>> {
        self.ask("open", algorithms, plan, number, sealed)
    }

    fn ask(
        &mut self,
        verb: &str,
        algorithms: &Algorithms,
        plan: &Plan,
        number: u64,
        packet: &[u8],
    ) -> Result<Vec<u8>> {
        let spec = plan.spec(Direction::Outbound);
        let (crypt_key, auth_key) = spec.key.as_slice().split_at(plan.protection.encryption_key_len());
        let question = json!({
            "do": verb,
            "packet": hex::encode(packet),
            "protocol": match plan.protocol { Protocol::Esp => "ESP", Protocol::Ah => "AH" },
            "spi": SPI.0,
            "number": number,
            "esn": plan.esn == Esn::Yes,
            "crypt": algorithms.crypt,
            "crypt_key": algorithms.crypt.map(|_| hex::encode(crypt_key)),
            "auth": algorithms.auth,
            "auth_key": algorithms.auth.map(|_| hex::encode(auth_key)),
            "icv_len": algorithms.icv_len,
            "outer": (plan.mode == Mode::Tunnel).then(|| [spec.outer.local.ip(), spec.outer.remote.ip()]),
            "udp": plan.encapsulation == Encapsulation::Udp,
        });
        let questions =
            self.process.stdin.as_mut().ok_or_else(|| Failure::new("Python has no standard input"))?;
        writeln!(questions, "{question}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value =
            serde_json::from_str(&line).map_err(Failure::at(format!("Scapy said {line:?}")))?;
        match answer["packet"].as_str() {
            Some(packet) => hex::decode(packet).map_err(Failure::at("a packet of Scapy's")),
            None => Err(Failure::new(format!("Scapy: {}", answer["error"]))),
        }
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        // Waiting closes its standard input first. How it ends changes nothing that it said.
        let _ = self.process.wait();
    }
}

impl Algorithms {
    pub(crate) fn of(plan: &Plan) -> Algorithms {
        let crypt = plan.protection.encryption().map(|row| match row.id {
            EncryptionId::AES_GCM_16 => "AES-GCM",
            EncryptionId::AES_CCM_16 | EncryptionId::AES_CCM_12 | EncryptionId::AES_CCM_8 => "AES-CCM",
            EncryptionId::CHACHA20_POLY1305 => "CHACHA20-POLY1305",
            EncryptionId::AES_CBC => "AES-CBC",
            EncryptionId::AES_CTR => "AES-CTR",
            EncryptionId::TRIPLE_DES => "3DES",
            EncryptionId::CAST => "CAST",
            EncryptionId::BLOWFISH => "Blowfish",
            EncryptionId::DES => "DES",
            EncryptionId::NULL => "NULL",
            other => panic!("Scapy has no {other}"),
        });
        let auth = plan.protection.integrity().map(|row| match row.id {
            IntegrityId::HMAC_SHA2_256_128 => "SHA2-256-128",
            IntegrityId::HMAC_SHA2_384_192 => "SHA2-384-192",
            IntegrityId::HMAC_SHA2_512_256 => "SHA2-512-256",
            IntegrityId::HMAC_SHA1_96 => "HMAC-SHA1-96",
            IntegrityId::HMAC_MD5_96 => "HMAC-MD5-96",
            IntegrityId::AES_CMAC_96 => "AES-CMAC-96",
            other => panic!("Scapy has no {other}"),
        });
        let icv_len = match plan.protection {
            Protection::Combined(row) => match &row.kind {
                sa::transform::EncryptionKind::Aead(aead) => Some(aead.icv_len()),
                sa::transform::EncryptionKind::Cipher(_) => None,
            },
            Protection::Separate { .. } | Protection::Authenticated(_) => None,
        };
        Algorithms { crypt, auth, icv_len }
    }
}
