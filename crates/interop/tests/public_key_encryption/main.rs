//! Public key encryption in phase 1 of IKEv1, plain and revised, in both modes and roles, with a peer that was written from
//! the RFC: see `peer.py`. No daemon of the laboratory speaks it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use interop::{
    Answer, CHILD, Certificates, End, Failure, Family, Gateway, Implementation, Keyway, Lab, Proof, Result,
    Tunnel, Wire, until,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// One way to do phase 1, as the peer's arguments have it.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Which of the two begins: the peer's role.
    role: &'static str,
    mode: &'static str,
    form: &'static str,
    suite: &'static str,
}

/// Where Keyway's private key is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    File,
    /// On a token of SoftHSM's.
    Token,
}

/// A running Python; it ends when this is dropped.
struct Peer {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(lab: &Lab, way: Way, files: [&Path; 3]) -> Result<Peer> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/public_key_encryption/peer.py");
        let addresses =
            [lab.a.outside(Family::V4), lab.b.outside(Family::V4)].map(|address| address.to_string());
        let mut process = lab
            .a
            .gateway
            .command("/usr/bin/python3")
            .arg(script)
            .args([way.role, way.mode, way.form, way.suite])
            .args(addresses)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::at("python3"))?;
        let said = process.stdout.take().ok_or_else(|| Failure::new("it has no standard output"))?;
        let mut peer = Peer { process, said: BufReader::new(said) };
        peer.says("ready")?;
        Ok(peer)
    }

    fn says(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim() == expected {
            return Ok(());
        }
        Err(Failure::new(format!("the peer said {line:?} instead of {expected:?}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the revised form the initiator shows its certificate, and the responder has no other way to know it.
fn comes_up(way: Way, place: Place) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let certificates = Certificates::new(&lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    for end in ["a", "b"] {
        certificates.make(&[
            "issue",
            "root",
            &format!("{end}.example.org"),
            "--key",
            "rsa2048",
            "--out",
            end,
        ])?;
    }
    let (keyway, secrets) = match place {
        Place::File => {
            let keyway = Implementation::Keyway.start(&lab, End::B)?;
            certificates.give(&*keyway, "private", "b.key")?;
            (keyway, String::new())
        }
        Place::Token => with_token(&lab)?,
    };
    certificates.give(&*keyway, "x509ca", "root/ca.crt")?;
    certificates.give(&*keyway, "x509", "b.crt")?;
    let path = |file: &str| -> PathBuf { lab.directory().join("pki").join(file) };
    let is_shown = |role: &str| way.form == "revised" && way.role == role;
    if !is_shown("initiator") {
        certificates.give(&*keyway, "x509", "a.crt")?;
    }
    let known = if is_shown("responder") { PathBuf::from("-") } else { path("b.crt") };
    keyway.configure(&format!("{}{secrets}", tunnel(way).text(&lab, End::B)))?;
    let mut peer = Peer::start(&lab, way, [&path("a.key"), &path("a.crt"), &known])?;
    let installed = || {
        keyway
            .sas()
            .is_ok_and(|sas| sas.iter().any(|sa| sa.children.iter().any(|child| child.is_installed())))
    };
    std::thread::scope(|scope| -> Result<()> {
        let initiated = (way.role == "responder").then(|| {
            let keyway = &keyway;
            scope.spawn(move || keyway.initiate(CHILD)?.success().map(drop))
        });
        peer.says("phase 1")?;
        peer.says("quick mode")?;
        until(PATIENCE, "the Child SA", installed)?;
        initiated.map_or(Ok(()), |thread| thread.join().map_err(|_| Failure::new("a thread panicked"))?)
    })
    .map_err(|failure| Failure::new(format!("{way:?}: {failure}; Keyway's log:\n{}", keyway.log())))?;
    drop((peer, keyway));
    lab.dismantle();
    Ok(())
}

/// Puts the key onto a token; gives Keyway, and what it is to know of that.
fn with_token(lab: &Lab) -> Result<(Box<dyn Gateway>, String)> {
    const PIN: &str = "123456";
    let (tokens, settings) = (lab.directory().join("tokens"), lab.directory().join("softhsm2.conf"));
    fs::create_dir_all(&tokens)?;
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&settings, text)?;
    let softhsm = |arguments: &[&str]| {
        let mut command = Command::new("softhsm2-util");
        command.args(arguments).args(["--pin", PIN]).env("SOFTHSM2_CONF", &settings);
        Answer::of(command.current_dir(lab.directory()))?.success()
    };
    softhsm(&["--init-token", "--free", "--label", "gateway", "--so-pin", "654321"])?;
    softhsm(&["--import", "pki/b.key", "--token", "gateway", "--label", "b", "--id", "01"])?;
    let arguments = ["--pkcs11-module=softhsm=/usr/lib/softhsm/libsofthsm2.so"];
    let environment = [("SOFTHSM2_CONF", settings.display().to_string())];
    let keyway = Keyway::start_with_environment(lab, End::B, "", &arguments, &environment)?;
    let secrets =
        format!("secrets {{\n token-gw {{\n handle = 01\n module = softhsm\n pin = {PIN}\n }}\n}}\n");
    Ok((Box::new(keyway), secrets))
}

fn tunnel(way: Way) -> Tunnel {
    let auth = match way.form {
        "plain" => "auth = pubkey-encryption",
        _ => "auth = revised-encryption",
    };
    let proof = Proof::of(&[auth], &[auth]);
    let tunnel = Tunnel { version: 1, ..Tunnel::default() }.proven(proof.clone(), proof);
    let tunnel =
        tunnel.suite(&format!("{}-modp2048", way.suite), "aes128-sha256").connection_line("allow_weak = yes");
    match way.mode {
        "aggressive" => tunnel.connection_line("aggressive = yes"),
        _ => tunnel,
    }
}

fn in_every_mode(role: &'static str, form: &'static str) -> Result<()> {
    for mode in ["main", "aggressive"] {
        for suite in ["aes128-sha256", "aes256-sha1"] {
            comes_up(Way { role, mode, form, suite }, Place::File)?;
        }
    }
    Ok(())
}

#[test]
fn plain_as_responder() -> Result<()> {
    in_every_mode("initiator", "plain")
}

#[test]
fn plain_as_initiator() -> Result<()> {
    in_every_mode("responder", "plain")
}

#[test]
fn revised_as_responder() -> Result<()> {
    in_every_mode("initiator", "revised")
}

#[test]
fn revised_as_initiator() -> Result<()> {
    in_every_mode("responder", "revised")
}

#[test]
fn a_token_decrypts() -> Result<()> {
    for (role, form) in [("initiator", "plain"), ("responder", "revised")] {
        comes_up(Way { role, mode: "main", form, suite: "aes128-sha256" }, Place::Token)?;
    }
    Ok(())
}
