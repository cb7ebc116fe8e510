//! `keyway export wireshark`: tshark, which we did not write, decrypts IKEv1, IKEv2 and ESP with what it writes, and nothing is
//! written once it has ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use interop::Implementation::StrongSwan;
use interop::{
    Answer, CHILD, CONNECTION, Capture, End, Keyway, Lab, Pair, Process, Result, Tunnel, Wire,
    keyway_program, until,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn export(socket: &Path, keys: &Path) -> Result<Command> {
    let mut command = Command::new(keyway_program()?);
    command.args(["export", "wireshark"]).arg(keys).arg("--socket").arg(socket);
    Ok(command)
}

/// How many SAs stand in a table.
fn rows(keys: &Path, table: &str) -> usize {
    fs::read_to_string(keys.join(table)).map_or(0, |text| text.lines().count())
}

#[test]
fn tshark_decrypts_what_came_up_while_keys_were_exported() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keys = lab.directory().join("keys");
    let a = Keyway::start(&lab, End::A)?;
    let socket = a.socket();
    let pair = Pair { a: Box::new(a), b: StrongSwan.start(&lab, End::B)?, lab };
    let version_2 = Tunnel::default();
    let version_1 =
        Tunnel { version: 1, ..Tunnel::default() }.suite("aes128-sha256-modp2048", "aes128-sha256");

    // Nobody has asked for keys yet.
    pair.configure(&version_2)?;
    pair.initiate(End::A)?;
    pair.terminate(End::A)?;
    assert!(!keys.exists());

    let log = pair.lab.directory().join("export.log");
    let mut exporting = Process::start("export", &mut export(&socket, &keys)?, &log)?;
    exporting.wait_for_file(&keys.join("esp_sa"), PATIENCE)?;
    let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    assert_eq!(mode(&keys)?, 0o700);
    for table in ["ikev1_decryption_table", "ikev2_decryption_table", "esp_sa"] {
        assert_eq!(mode(&keys.join(table))?, 0o600, "{table}");
    }
    until(PATIENCE, "a loud warning", || {
        pair.a.log().contains("THE KEYS OF ALL SAs THAT COME UP ARE BEING WRITTEN")
    })?;
    let second = Answer::of(&mut export(&socket, &pair.lab.directory().join("others"))?)?;
    assert!(second.code != Some(0) && second.stderr.contains("written already"), "{second:?}");

    let capture = Capture::start(&pair.lab, End::B, &pair.lab.directory().join("wire.pcapng"))?;
    for tunnel in [&version_2, &version_1] {
        pair.configure(tunnel)?;
        pair.initiate(End::A)?;
        pair.carry(tunnel)?;
        pair.terminate(End::A)?;
    }
    let recording = capture.finish()?.decrypted_with(&keys)?;
    assert!(recording.count("isakmp.exchangetype == 35 && isakmp.auth.data")? >= 2, "IKE_AUTH is read");
    assert!(recording.count("isakmp.exchangetype == 32 && isakmp.hash")? >= 3, "quick mode is read");
    assert!(recording.count("esp && tcp && ip.addr == 10.1.0.0/24")? > 100, "ESP is read");
    // The wire here carries trains of segments as one datagram, of which tshark can make nothing: what counts is each SA.
    let table = fs::read_to_string(keys.join("esp_sa"))?;
    let spis: Vec<&str> =
        table.split('"').filter(|field| field.starts_with("0x") && field.len() == 10).collect();
    assert_eq!(spis.len(), 4, "two SAs of each version: {spis:?}");
    for spi in spis {
        let read = recording.count(&format!("esp.spi == {spi} && ip.addr == 10.1.0.0/24"))?;
        assert!(read > 20, "{read} packets of {spi} are read");
    }

    // Whoever exported leaves, and no more is written.
    drop(exporting);
    until(PATIENCE, "the end of it", || pair.a.log().contains("the keys of SAs are written no more"))?;
    let before = rows(&keys, "esp_sa");
    pair.configure(&version_2)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    assert_eq!(rows(&keys, "esp_sa"), before);
    pair.a.rekey_child(CHILD)?;
    pair.a.terminate(CONNECTION)?;
    pair.lab.dismantle();
    Ok(())
}
