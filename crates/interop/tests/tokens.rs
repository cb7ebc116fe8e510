//! Private keys on a token: SoftHSM's, which signs for Keyway while strongSwan is the peer.

use std::fs;
use std::process::Command;

use interop::Implementation::StrongSwan;
use interop::{Answer, CHILD, Certificates, End, Gateway, Keyway, Lab, Pair, Proof, Result, Tunnel, Wire};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "123456";

#[test]
fn a_token_signs_for_us_with_strongswan() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let tokens = lab.directory().join("tokens");
    fs::create_dir_all(&tokens)?;
    let settings = lab.directory().join("softhsm2.conf");
    fs::write(
        &settings,
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()),
    )?;
    let softhsm = |arguments: &[&str]| {
        let mut command = Command::new("softhsm2-util");
        command.args(arguments).args(["--pin", PIN]).env("SOFTHSM2_CONF", &settings);
        Answer::of(command.current_dir(lab.directory()))?.success()
    };
    softhsm(&["--init-token", "--free", "--label", "gateway", "--so-pin", "654321"])?;
    let certificates = Certificates::new(&lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    let module = format!("--pkcs11-module=softhsm={MODULE}");
    let arguments = ["--retransmit-timeout=0.5", "--retransmit-base=1.2", "--retransmit-tries=12", &module];
    let environment = [("SOFTHSM2_CONF", settings.display().to_string())];
    let mut a = Keyway::start_with_environment(&lab, End::A, "", &arguments, &environment)?;
    let b = StrongSwan.start(&lab, End::B)?;
    let keys = [("p256", "01"), ("rsa2048", "02")];
    certificates.make(&["issue", "root", "b.example.org", "--out", "b"])?;
    for file in ["b.crt", "b.key"] {
        certificates.give(&*b, if file == "b.crt" { "x509" } else { "private" }, file)?;
    }
    for (key, handle) in keys {
        certificates.make(&["issue", "root", "a.example.org", "--key", key, "--out", key])?;
        let file = format!("pki/{key}.key");
        let token = ["--token", "gateway", "--label", key, "--id", handle];
        softhsm(&[["--import", &file].as_slice(), &token].concat())?;
        certificates.give(&a, "x509", &format!("{key}.crt"))?;
    }
    certificates.give(&a, "x509ca", "root/ca.crt")?;
    certificates.give(&*b, "x509ca", "root/ca.crt")?;

    // A PIN that is not the token's: the daemon says so, and does without the key.
    let token = |handle: &str, pin: &str| {
        format!("secrets {{\n token-gw {{\n handle = {handle}\n module = softhsm\n pin = {pin}\n }}\n}}\n")
    };
    let tunnel = |key: &str| {
        Tunnel::default().proven(Proof::certificate(&format!("{key}.crt")), Proof::certificate("b.crt"))
    };
    let configured = |key, handle, pin| format!("{}{}", tunnel(key).text(&lab, End::A), token(handle, pin));
    a.stop()?;
    fs::write(a.directory().join("swanctl.conf"), configured("p256", "01", "000000"))?;
    a.start()?;
    let refused = a.log();
    assert!(refused.contains("secrets.token-gw") && refused.contains("refuses the PIN"), "{refused}");

    // The right one, from the configuration file, and then by vici from Debian's swanctl.
    a.stop()?;
    fs::write(a.directory().join("swanctl.conf"), configured("p256", "01", PIN))?;
    a.start()?;
    b.configure(&tunnel("p256").text(&lab, End::B))?;
    let pair = Pair { a: Box::new(a), b, lab };
    for from in [End::A, End::B] {
        pair.initiate(from)?;
        pair.settled()?;
        pair.carry(&tunnel("p256"))?;
        pair.terminate(from)?;
    }
    for (key, handle) in keys {
        let text = format!("{}{}", tunnel(key).text(&pair.lab, End::A), token(handle, PIN));
        pair.a.configure(&text)?;
        pair.b.configure(&tunnel(key).text(&pair.lab, End::B))?;
        for from in [End::A, End::B] {
            pair.initiate(from)?;
            pair.settled()?;
            pair.terminate(from)?;
        }
    }
    let answer = pair.a.initiate(CHILD)?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    pair.lab.dismantle();
    Ok(())
}
