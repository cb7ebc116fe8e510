//! tshark, which we did not write, reads every kind of IKEv1 exchange of ours with the keys that `keyway` gives away, and has
//! nothing to say against any packet.

use std::path::PathBuf;
use std::time::Duration;

use interop::{
    CHILD, CONNECTION, Capture, End, Gateway, IkeSa, Keyway, Lab, Result, Tunnel, Wire, traffic, until,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What stands in messages of an exchange that were decrypted.
const READ: &str = "isakmp.hash";

/// What the responder gives road warriors.
const POOLS: &str = "pools {
   crew {
      addrs = 10.3.0.0/24
      dns = 10.2.0.53
   }
}
";

/// Two Keyways, one of which gives its keys away.
struct Stage {
    lab: Lab,
    a: Keyway,
    b: Keyway,
    keys: PathBuf,
}

impl Stage {
    fn set(wire: Wire) -> Result<Stage> {
        let lab = Lab::new(wire)?;
        let keys = lab.directory().join("keys");
        let disclosing = format!("--disclose-keys={}", keys.display());
        let a = Keyway::start_with(&lab, End::A, "", &["--fragment-size=256", &disclosing])?;
        let b = Keyway::start_with(&lab, End::B, "", &["--fragment-size=256"])?;
        Ok(Stage { lab, a, b, keys })
    }

    /// Brings a tunnel up, replaces both of its SAs, and takes it down.
    fn play(&self, [a, b]: [String; 2]) -> Result<()> {
        self.a.configure(&a)?;
        self.b.configure(&b)?;
        self.a.initiate(CHILD)?.success()?;
        let is_up = |gateway: &Keyway| gateway.sas().is_ok_and(|sas| sas.iter().any(IkeSa::is_established));
        until(PATIENCE, "both ends to be up", || is_up(&self.a) && is_up(&self.b))?;
        self.a.rekey_child(CHILD)?;
        self.a.rekey_ike(CONNECTION)?;
        self.a.terminate(CONNECTION)?;
        until(PATIENCE, "both ends to be down", || {
            [&self.a, &self.b].iter().all(|gateway| gateway.sas().is_ok_and(|sas| sas.is_empty()))
        })
    }
}

fn version_1(ike: &str, esp: &str) -> Tunnel {
    Tunnel { version: 1, ..Tunnel::default() }.suite(ike, esp)
}

fn aggressive(ike: &str) -> Tunnel {
    version_1(ike, "aes128gcm16").connection_line("aggressive = yes").connection_line("allow_weak = yes")
}

/// A user gives his password and is given an address.
fn road_warrior(lab: &Lab) -> [String; 2] {
    let tunnel = aggressive("aes256-sha256-modp2048").user_of(End::A);
    let asking = Tunnel { local_selectors: Some("dynamic".to_owned()), ..tunnel.clone() };
    let giving = Tunnel { remote_selectors: Some("dynamic".to_owned()), ..tunnel };
    let asking = asking.connection_line("vips = 0.0.0.0").text(lab, End::A);
    [asking, giving.connection_line("pools = crew").text(lab, End::B) + POOLS]
}

fn every_exchange_is_read(wire: Wire) -> Result<()> {
    let stage = Stage::set(wire)?;
    let capture = Capture::start(&stage.lab, End::B, &stage.lab.directory().join("wire.pcapng"))?;
    let both = |tunnel: &Tunnel| [End::A, End::B].map(|end| tunnel.text(&stage.lab, end));
    let rows = [
        version_1("aes256-sha256-modp2048", "aes128gcm16-modp2048"),
        version_1("aes128-sha512-ecp256", "aes256-sha256"),
        aggressive("aes256-sha256-modp2048"),
        aggressive("aes128-sha384-ecp384"),
        aggressive("3des-sha1-modp1024"),
    ];
    for tunnel in &rows {
        stage.play(both(tunnel))?;
    }
    stage.play(road_warrior(&stage.lab))?;
    let recording = capture.finish()?.decrypted_with(&stage.keys)?;

    assert_eq!(recording.complaints()?, Vec::<String>::new());
    for (exchange, what) in
        [(2, "main mode"), (4, "aggressive mode"), (5, "informational"), (32, "quick mode")]
    {
        let of = format!("isakmp.exchangetype == {exchange} && isakmp.flag_e == 1");
        assert!(recording.count(&format!("{of} && {READ}"))? > 0, "none of {what}");
    }
    assert!(recording.count("isakmp.exchangetype == 6 && isakmp.cfg.attr")? >= 4, "XAuth and Mode Config");
    // Of a message in fragments, what is whole stands in the packet of the last one.
    let unread = format!("isakmp.flag_e == 1 && isakmp.nextpayload != 132 && !{READ}");
    assert_eq!(recording.fields(&unread, &["frame.number", "_ws.col.Info"])?, Vec::<String>::new());
    assert!(recording.count(&format!("isakmp.frag.last == 1 && {READ}"))? > 0, "fragments were put together");
    stage.lab.dismantle();
    Ok(())
}

#[test]
fn tshark_reads_every_exchange() -> Result<()> {
    every_exchange_is_read(Wire::Plain)
}

#[test]
fn tshark_reads_every_exchange_through_nat() -> Result<()> {
    every_exchange_is_read(Wire::Nat)
}

/// AH goes around ESP, and inside is what the hosts sent.
#[test]
fn tshark_reads_a_bundle() -> Result<()> {
    let stage = Stage::set(Wire::Plain)?;
    let tunnel = version_1("aes256-sha256-ecp256", "aes128-sha256");
    let tunnel = tunnel.child_line("bundle = yes").child_line("ah_proposals = sha256");
    let capture = Capture::start(&stage.lab, End::B, &stage.lab.directory().join("wire.pcapng"))?;
    stage.a.configure(&tunnel.text(&stage.lab, End::A))?;
    stage.b.configure(&tunnel.text(&stage.lab, End::B))?;
    stage.a.initiate(CHILD)?.success()?;
    let (a, b) = (&stage.lab.a, &stage.lab.b);
    let family = interop::Family::V4;
    traffic::cross((&a.host, a.host_address(family)), (&b.host, b.host_address(family)))?;
    let recording = capture.finish()?.decrypted_with(&stage.keys)?;
    assert_eq!(recording.count("isakmp && (_ws.malformed || _ws.expert.severity >= 0x600000)")?, 0);
    assert!(recording.count("ah && esp && tcp")? > 50);
    assert_eq!(recording.count("ah && !(esp && ip.addr == 10.1.0.0/24)")?, 0);
    stage.lab.dismantle();
    Ok(())
}
