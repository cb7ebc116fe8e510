//! Typical set-ups, as a person would write them for strongSwan (`setups/*.conf`), run unchanged: Keyway at one end and strongSwan at
//! the other, either way round, and then Keyway at both.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{Certificates, End, Failure, Family, Lab, Pair, Result, Wire, traffic, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// One set-up: what its head says, and the two configurations.
struct SetUp {
    name: String,
    wire: Wire,
    /// The kind of key of both ends' certificates, if they have any.
    keys: Option<String>,
    child: String,
    begins: End,
    carry: Vec<String>,
    /// Further addresses of the gateways of a and b.
    also: Vec<String>,
    /// Whether Keyway alone can run it in this laboratory; the file says why.
    is_ours_alone: bool,
    a: String,
    b: String,
}

impl SetUp {
    fn read(path: &Path) -> Result<SetUp> {
        let text = fs::read_to_string(path)?;
        let fault = |what: &str| Failure::new(format!("{}: {what}", path.display()));
        let (head, rest) = text.split_once("--- a\n").ok_or_else(|| fault("no `--- a`"))?;
        let (a, b) = rest.split_once("--- b\n").ok_or_else(|| fault("no `--- b`"))?;
        let said = |key: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
            line.map(str::to_owned).ok_or_else(|| fault(key))
        };
        let also =
            said("also").map_or_else(|_| Vec::new(), |also| also.split(' ').map(str::to_owned).collect());
        let initiate = said("initiate")?;
        let (child, begins) = initiate.split_once(" from ").ok_or_else(|| fault("initiate"))?;
        Ok(SetUp {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            wire: if said("wire")? == "nat" { Wire::Nat } else { Wire::Plain },
            keys: Some(said("keys")?).filter(|keys| keys != "none"),
            child: child.to_owned(),
            begins: if begins == "b" { End::B } else { End::A },
            carry: said("carry")?.split(' ').map(str::to_owned).collect(),
            also,
            is_ours_alone: said("only").is_ok(),
            a: a.to_owned(),
            b: b.to_owned(),
        })
    }

    /// Brings it up between these two, sends packets both ways, and takes it down.
    fn runs(&self, a: Implementation, b: Implementation) -> Result<()> {
        let lab = Lab::new(self.wire)?;
        for (address, site) in self.also.iter().zip([&lab.a, &lab.b]) {
            site.gateway.run("ip", &["addr", "add", &format!("{address}/24"), "dev", "lo"])?;
        }
        let pair = Pair { a: a.start(&lab, End::A)?, b: b.start(&lab, End::B)?, lab };
        if let Some(key) = &self.keys {
            certify(&pair, key)?;
        }
        pair.b.configure(&self.b)?;
        pair.a.configure(&self.a)?;
        pair.gateway(self.begins).initiate(&self.child)?.success()?;
        let is_up = |end: End| {
            pair.gateway(end)
                .sas()
                .is_ok_and(|sas| sas.iter().any(|sa| sa.children.iter().any(interop::ChildSa::is_installed)))
        };
        until(PATIENCE, "both ends to have the child", || is_up(End::A) && is_up(End::B))?;
        self.carries(&pair.lab)
            .map_err(|failure| Failure::new(format!("{failure}\n{}\n{}", pair.a.log(), pair.b.log())))?;
        pair.lab.dismantle();
        Ok(())
    }

    fn carries(&self, lab: &Lab) -> Result<()> {
        let (site_a, site_b) = (&lab.a, &lab.b);
        let (kind, of) = self.carry.split_first().ok_or_else(|| Failure::new("nothing is to be carried"))?;
        for word in of {
            let family = if word == "v6" { Family::V6 } else { Family::V4 };
            let far = (&site_b.host, site_b.host_address(family));
            let address = |text: &str| {
                text.parse::<IpAddr>().map_err(|_| Failure::new(format!("{text} is no address")))
            };
            match kind.as_str() {
                "hosts" => traffic::cross((&site_a.host, site_a.host_address(family)), far)?,
                "gateway-inside" => traffic::cross((&site_a.gateway, address("10.1.0.1")?), far)?,
                "gateways" => traffic::cross(
                    (&site_a.gateway, site_a.outside(family)),
                    (&site_b.gateway, site_b.outside(family)),
                )?,
                "host-inside" => traffic::cross(
                    (&site_a.host, site_a.host_address(family)),
                    (&site_b.gateway, address("10.2.0.1")?),
                )?,
                _ => {
                    let own = address(word)?;
                    let family = if own.is_ipv6() { Family::V6 } else { Family::V4 };
                    traffic::cross((&site_a.gateway, own), (&site_b.host, site_b.host_address(family)))?;
                }
            }
        }
        Ok(())
    }
}

/// Both ends trust one CA and have a certificate of it, a.crt and b.crt.
fn certify(pair: &Pair, key: &str) -> Result<()> {
    let certificates = Certificates::new(&pair.lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
    for end in [End::A, End::B] {
        let (name, out, gateway) = (format!("{end}.example.org"), end.to_string(), pair.gateway(end));
        certificates.make(&["issue", "root", &name, "--key", key, "--out", &out])?;
        certificates.give(gateway, "x509ca", "root/ca.crt")?;
        certificates.give(gateway, "x509", &format!("{out}.crt"))?;
        certificates.give(gateway, "private", &format!("{out}.key"))?;
    }
    Ok(())
}

fn set_ups() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setups");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Runs every `step`th of them from `first` on, and tells of all that fail.
fn every(a: Implementation, b: Implementation, first: usize, step: usize) -> Result<()> {
    let mut failed = Vec::new();
    let mut run = 0;
    for path in set_ups()?.iter().skip(first).step_by(step) {
        let set_up = SetUp::read(path)?;
        // KEYWAY_ROWS names some, for whoever looks for a fault.
        if std::env::var("KEYWAY_ROWS")
            .is_ok_and(|rows| !rows.split(' ').any(|row| set_up.name.contains(row)))
        {
            continue;
        }
        if set_up.is_ours_alone && (a, b) != (Keyway, Keyway) {
            continue;
        }
        run += 1;
        if let Err(failure) = set_up.runs(a, b) {
            failed.push(format!("{}: {failure}", set_up.name));
        }
    }
    println!("{run} set-ups, {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\n\n"))) }
}

#[test]
fn there_are_thirty_at_least_and_all_can_be_read() -> Result<()> {
    let all = set_ups()?;
    assert!(all.len() >= 30, "{}", all.len());
    all.iter().try_for_each(|path| SetUp::read(path).map(drop))
}

macro_rules! rows {
    ($($name:ident: $a:expr, $b:expr, $first:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            every($a, $b, $first, 3)
        })*
    };
}

rows! {
    keyway_calls_strongswan_1: Keyway, StrongSwan, 0;
    keyway_calls_strongswan_2: Keyway, StrongSwan, 1;
    keyway_calls_strongswan_3: Keyway, StrongSwan, 2;
    strongswan_calls_keyway_1: StrongSwan, Keyway, 0;
    strongswan_calls_keyway_2: StrongSwan, Keyway, 1;
    strongswan_calls_keyway_3: StrongSwan, Keyway, 2;
    keyway_calls_keyway_1: Keyway, Keyway, 0;
    keyway_calls_keyway_2: Keyway, Keyway, 1;
    keyway_calls_keyway_3: Keyway, Keyway, 2;
}
