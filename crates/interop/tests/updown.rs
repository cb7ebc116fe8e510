//! The scripts that run when a Child SA comes and goes are told by Keyway what charon tells them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interop::Implementation::{Keyway, StrongSwan};
use interop::{CHILD, End, Family, Implementation, Pair, Result, Tunnel, Wire, within};

const PATIENCE: Duration = Duration::from_secs(60);

/// Variables that differ between two daemons for a good reason, and must be there nevertheless: numbers of their own, and
/// where programs are.
const OWN: [&str; 3] = ["PLUTO_REQID", "PLUTO_UNIQUEID", "PATH"];
/// What Keyway alone tells, and what the shell itself adds.
const EXTRA: [&str; 2] = ["KEYWAY_DEVICE", "PWD"];

/// What one run of a script was told.
type Told = BTreeMap<String, String>;

/// A script that notes what it is told in a folder of its own.
struct Script {
    folder: PathBuf,
}

impl Script {
    fn new(name: &str) -> Result<Script> {
        let folder = std::env::temp_dir().join(format!("keyway-updown-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Both daemons run it, and it is there whole or not at all.
        let text = "#!/bin/sh
            out=$1/$PLUTO_ME-$PLUTO_VERB-$PLUTO_CONNECTION-$PLUTO_MY_PROTOCOL-$PLUTO_PEER_PORT
            echo \"two words are $2 and $3\"
            env > \"$1/.part.$$\" && mv \"$1/.part.$$\" \"$out\"\n";
        let path = folder.join("script");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Script { folder })
    }

    fn command(&self) -> String {
        format!("{0}/script {0} first 'the second'", self.folder.display())
    }

    /// Waits until there is a note whose name begins so, and reads it.
    fn told(&self, end: &str, verb: &str, rest: &str) -> Result<Told> {
        let path = self.folder.join(format!("{end}-{verb}-{CHILD}-{rest}"));
        within(PATIENCE, &format!("the script's note {}", path.display()), || read(&path))
    }

    fn forget(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name() != "script" {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Nobody misses it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn read(path: &Path) -> Option<Told> {
    let text = fs::read_to_string(path).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Some(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// What remains to be compared.
fn comparable(mut told: Told) -> Told {
    for own in OWN {
        assert!(told.remove(own).is_some_and(|value| !value.is_empty()), "{own} is missing: {told:?}");
    }
    for extra in EXTRA {
        told.remove(extra);
    }
    told
}

/// Brings the tunnel up and down between these, and gives what a's scripts were told of both.
fn run(
    script: &Script,
    wire: Wire,
    a: Implementation,
    tunnel: &Tunnel,
    wanted: &[(&str, &str)],
) -> Result<Vec<Told>> {
    script.forget()?;
    let pair = Pair::new(wire, a, StrongSwan, tunnel)?;
    pair.initiate(End::A)?;
    let me = pair.lab.a.outside(tunnel.outside).to_string();
    let mut told = Vec::new();
    for (verb, rest) in wanted {
        told.push(script.told(&me, &format!("up-{verb}"), rest)?);
    }
    // A rekeying is none of their business.
    fs::remove_file(script.folder.join(format!("{me}-up-{}-{CHILD}-{}", wanted[0].0, wanted[0].1)))?;
    // charon keeps what it has replaced in IKEv1 until its life is over.
    if tunnel.version == 2 {
        pair.rekey_child(End::A)?;
    }
    pair.terminate(End::A)?;
    for (verb, rest) in wanted {
        told.push(script.told(&me, &format!("down-{verb}"), rest)?);
    }
    let again = script.folder.join(format!("{me}-up-{}-{CHILD}-{}", wanted[0].0, wanted[0].1));
    assert!(!again.exists(), "the script was told of the rekeying");
    let said = "updown: two words are first and the second";
    assert!(pair.a.log().contains(said), "{}", pair.a.log());
    pair.lab.dismantle();
    Ok(told)
}

fn same_told(name: &str, wire: Wire, tunnel: &Tunnel, wanted: &[(&str, &str)]) -> Result<()> {
    let script = Script::new(name)?;
    let tunnel = tunnel.clone().child_line(&format!("updown = {}", script.command()));
    let charon = run(&script, wire, StrongSwan, &tunnel, wanted)?;
    let ours = run(&script, wire, Keyway, &tunnel, wanted)?;
    for (ours, charon) in ours.into_iter().zip(charon) {
        assert_eq!(ours.get("KEYWAY_DEVICE").map(String::as_str), Some("keyway0"), "{ours:?}");
        assert_eq!(comparable(ours), comparable(charon));
    }
    Ok(())
}

/// Networks behind gateways, with a NAT between them and a mark.
#[test]
fn networks_behind_a_nat() -> Result<()> {
    let tunnel = Tunnel::default().child_line("hostaccess = yes").child_line("mark_in = 0x2a/0xff");
    same_told("nat", Wire::Nat, &tunnel, &[("client", "0-0")])
}

/// Several selectors with protocols and ports: a run for each pair of them.
#[test]
fn each_pair_of_selectors() -> Result<()> {
    let tunnel = Tunnel {
        local_selectors: Some("10.1.0.0/24[tcp/80]".to_owned()),
        remote_selectors: Some("10.2.0.0/24[tcp/1000-2000], 10.2.0.0/24[tcp/443]".to_owned()),
        ..Tunnel::default()
    };
    let script = Script::new("pairs")?;
    let tunnel = tunnel.child_line(&format!("updown = {}", script.command()));
    for implementation in [StrongSwan, Keyway] {
        script.forget()?;
        let lab = interop::Lab::new(Wire::Plain)?;
        let a = implementation.start_with(&lab, End::A, &tunnel)?;
        let other = Tunnel {
            local_selectors: tunnel.remote_selectors.clone(),
            remote_selectors: tunnel.local_selectors.clone(),
            child_lines: Vec::new(),
            ..tunnel.clone()
        };
        let b = StrongSwan.start_with(&lab, End::B, &other)?;
        let pair = Pair { a, b, lab };
        pair.initiate(End::A)?;
        for ports in ["1000:2000", "443"] {
            let told = script.told("192.0.2.1", "up-client", &format!("6-{ports}"))?;
            assert_eq!(told.get("PLUTO_MY_PORT").map(String::as_str), Some("80"), "{implementation:?}");
            assert_eq!(told.get("PLUTO_PEER_PROTOCOL").map(String::as_str), Some("6"), "{implementation:?}");
        }
        pair.lab.dismantle();
    }
    Ok(())
}

/// A packet filter that was opened for a tunnel is closed again when the daemon ends; a script that hangs keeps nobody from that.
#[test]
fn the_end_of_the_daemon_is_an_end_for_each_child() -> Result<()> {
    let script = Script::new("end")?;
    let tunnel = Tunnel::default().child_line(&format!("updown = {}", script.command()));
    let mut pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &tunnel)?;
    pair.initiate(End::A)?;
    script.told("192.0.2.1", "up-client", "0-0")?;
    pair.a.stop()?;
    // The daemon has waited for its scripts: what they leave is there.
    let down = read(&script.folder.join(format!("192.0.2.1-down-client-{CHILD}-0-0")));
    assert_eq!(down.and_then(|told| told.get("PLUTO_VERB").cloned()).as_deref(), Some("down-client"));
    pair.lab.dismantle();
    Ok(())
}

/// Whatever a peer calls itself, no shell takes it for a command.
#[test]
fn the_name_of_a_peer_is_no_command() -> Result<()> {
    let script = Script::new("name")?;
    let tunnel = Tunnel::default().child_line(&format!("updown = {}", script.command()));
    let lab = interop::Lab::new(Wire::Plain)?;
    let a = Keyway.start(&lab, End::A)?;
    let b = StrongSwan.start(&lab, End::B)?;
    let evil = "$(touch${IFS}evil)`touch${IFS}evil`;touch${IFS}evil@b.example.org";
    let anybody = |text: String| text.replace("         id = b.example.org\n", "         id = %any\n");
    let named = |text: String| {
        text.replace("         id = b.example.org\n", &format!("         id = \"email:{evil}\"\n"))
    };
    let without_owners =
        |text: String| text.replace("      id-a = a.example.org\n      id-b = b.example.org\n", "");
    a.configure(&without_owners(anybody(tunnel.text(&lab, End::A))))?;
    let plain = Tunnel { child_lines: Vec::new(), ..tunnel };
    b.configure(&without_owners(named(plain.text(&lab, End::B))))?;
    let pair = Pair { a, b, lab };
    // What charon lists of such a peer cannot be read, so it is not asked.
    pair.a.initiate(CHILD)?.success()?;
    let told = script.told("192.0.2.1", "up-client", "0-0")?;
    assert_eq!(told.get("PLUTO_PEER_ID").map(String::as_str), Some(evil));
    assert!(!script.folder.join("evil").exists() && !Path::new("evil").exists());
    pair.lab.dismantle();
    Ok(())
}

/// IPv6 inside and outside.
#[test]
fn ipv6() -> Result<()> {
    let tunnel = Tunnel { outside: Family::V6, inside: vec![Family::V6], ..Tunnel::default() };
    same_told("ipv6", Wire::Plain, &tunnel.connection_line("encap = yes"), &[("client-v6", "0-0")])
}

/// IKEv1.
#[test]
fn version_1() -> Result<()> {
    let tunnel = Tunnel { version: 1, ..Tunnel::default() };
    let tunnel = tunnel.suite("aes128-sha256-modp2048", "aes128-sha256").connection_line("encap = yes");
    same_told("version-1", Wire::Plain, &tunnel, &[("client", "0-0")])
}

/// Virtual addresses, as client and as gateway.
#[test]
fn virtual_addresses() -> Result<()> {
    let script = Script::new("vips")?;
    let client = |tunnel: Tunnel| Tunnel { local_selectors: Some("dynamic".to_owned()), ..tunnel };
    let gateway = |tunnel: Tunnel| Tunnel { remote_selectors: Some("dynamic".to_owned()), ..tunnel };
    let tunnel = Tunnel::default()
        .connection_line("encap = yes")
        .child_line(&format!("updown = {}", script.command()));
    let pools = "pools {\n   road {\n      addrs = 10.3.0.0/24\n   }\n   road6 {\n      addrs = fd03::/120\n   }\n}\n";
    let mut all = Vec::new();
    for (a, b) in [(StrongSwan, StrongSwan), (Keyway, StrongSwan), (StrongSwan, Keyway)] {
        script.forget()?;
        let lab = interop::Lab::new(Wire::Plain)?;
        let (a, b) = (a.start(&lab, End::A)?, b.start(&lab, End::B)?);
        let road = client(tunnel.clone()).connection_line("vips = 0.0.0.0, ::");
        a.configure(&road.text(&lab, End::A))?;
        let text = gateway(tunnel.clone()).connection_line("pools = road, road6").text(&lab, End::B);
        b.configure(&(text + pools))?;
        let pair = Pair { a, b, lab };
        pair.initiate(End::A)?;
        let mut told = vec![
            script.told("192.0.2.1", "up-client", "0-0")?,
            script.told("198.51.100.1", "up-client", "0-0")?,
        ];
        pair.terminate(End::A)?;
        told.push(script.told("192.0.2.1", "down-client", "0-0")?);
        told.push(script.told("198.51.100.1", "down-client", "0-0")?);
        assert_eq!(told[0].get("PLUTO_MY_SOURCEIP").map(String::as_str), Some("10.3.0.1"), "{told:?}");
        assert_eq!(told[1].get("PLUTO_PEER_SOURCEIP6_1").map(String::as_str), Some("fd03::1"), "{told:?}");
        all.push(told.into_iter().map(comparable).collect::<Vec<_>>());
        pair.lab.dismantle();
    }
    assert_eq!(all[1], all[0], "Keyway as the client");
    assert_eq!(all[2], all[0], "Keyway as the gateway");
    Ok(())
}
