//! The `vici` package of PyPI drives a tunnel's whole life: loads it, brings it up with the log streamed, watches its events,
//! lists and rekeys it, takes it down and unloads it.

use std::process::Command;

use interop::Implementation::StrongSwan;
use interop::{Answer, End, Family, Lab, Result, Tunnel, Wire, unpacked_root};

#[test]
fn pyvici_drives_a_whole_life() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keyway = interop::Keyway::start(&lab, End::A)?;
    let _peer = StrongSwan.start_with(&lab, End::B, &Tunnel::default())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_vici/life.py");
    let addresses = [&lab.a, &lab.b].map(|site| site.outside(Family::V4).to_string());
    let mut command = Command::new("timeout");
    command.args(["240", "/usr/bin/python3", script]).arg(keyway.socket()).args(addresses);
    let said = Answer::of(command.env("PYTHONPATH", unpacked_root("pyvici")?))?.success()?;
    assert_eq!(said, "a whole life\n");
    lab.dismantle();
    Ok(())
}
