//! Keyway with OpenBSD's iked inside a booted kernel: IKEv2 from either end, rekeying by our command and by its clock, and
//! goodbyes.

use std::time::Duration;

use interop::traffic;
use interop::{
    CHILD, CONNECTION, Certificates, End, Failure, Family, Gateway, Keyway, Lab, OpenIked, Proof, Result,
    Tunnel, Wire, within,
};

/// How long a loaded machine may need for an exchange, and iked's clock besides.
const PATIENCE: Duration = Duration::from_secs(40);

/// Both daemons, theirs not yet started.
struct Bench {
    ours: Keyway,
    theirs: OpenIked,
    lab: Lab,
}

/// A suite, as either end words it. Of those for ESP iked and Linux's PF_KEY agree on few: AES-CBC and HMAC-SHA-1.
struct Suite {
    ours: [&'static str; 2],
    theirs: [&'static str; 2],
}

const SUITES: [Suite; 4] = [
    Suite {
        ours: ["aes256-sha256-modp2048", "aes128-sha1"],
        theirs: [
            "enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group modp2048",
            "enc aes-128 auth hmac-sha1",
        ],
    },
    Suite {
        ours: ["aes256gcm16-prfsha512-x25519", "aes256-sha1-x25519"],
        theirs: [
            "enc aes-256-gcm prf hmac-sha2-512 group curve25519",
            "enc aes-256 auth hmac-sha1 group curve25519",
        ],
    },
    Suite {
        ours: ["aes192-sha384-ecp384", "aes192-sha1"],
        theirs: [
            "enc aes-192 auth hmac-sha2-384 prf hmac-sha2-384 group ecp384",
            "enc aes-192 auth hmac-sha1",
        ],
    },
    Suite {
        ours: ["3des-sha1-modp1024", "aes128-sha1-modp1024"],
        theirs: [
            "enc 3des auth hmac-sha1 prf hmac-sha1 group modp1024",
            "enc aes-128 auth hmac-sha1 group modp1024",
        ],
    },
];

type Spis = [(String, String); 2];

impl Bench {
    fn new() -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let theirs = OpenIked::prepare(&lab, End::B)?;
        println!("against iked {} on Linux {}", theirs.version()?, theirs.guest().release());
        Ok(Bench { ours: Keyway::start(&lab, End::A)?, theirs, lab })
    }

    /// Configures both ends and brings the tunnel up from one; `lifetimes` are words of theirs.
    fn establish(&self, suite: &Suite, from: End, lifetimes: &str) -> Result<Spis> {
        let tunnel = Tunnel::default();
        let words = format!("{lifetimes} psk \"{}\"", tunnel.secret);
        self.establish_with(tunnel, suite, from, &words)
    }

    /// Certifies a fresh key of each end, by a CA that both trust, and brings the tunnel up with these.
    fn establish_by_certificates(&self, key: &str, suite: &Suite, from: End) -> Result<Spis> {
        self.theirs.certify(&Certificates::for_both_ends(&self.lab, key, &self.ours)?)?;
        let [a, b] = ["a", "b"].map(|end| Proof::certificate(&format!("{end}-{key}.crt")));
        self.establish_with(Tunnel::default().proven(a, b), suite, from, "")
    }

    fn establish_with(&self, tunnel: Tunnel, suite: &Suite, from: End, words: &str) -> Result<Spis> {
        let tunnel = tunnel.suite(suite.ours[0], suite.ours[1]).connection_line("allow_weak = yes");
        self.ours.configure(&tunnel.text(&self.lab, End::A))?;
        let mode = if from == End::B { "active" } else { "passive" };
        let (a, b) = (&self.lab.a, &self.lab.b);
        self.theirs.start(&format!(
            "ikev2 \"site\" {mode} esp from {} to {} local {} peer {} ikesa {} childsa {} noesn \
             srcid b.example.org dstid a.example.org {words}\n",
            b.network(Family::V4),
            a.network(Family::V4),
            b.outside(Family::V4),
            a.outside(Family::V4),
            suite.theirs[0],
            suite.theirs[1],
        ))?;
        if from == End::A {
            // iked reads its certificates in a process of its own, and refuses everybody until that has them.
            within(PATIENCE, "iked to let us in", || self.ours.initiate(CHILD).ok()?.success().ok())?;
        }
        let spis = self.changed(|_| true)?;
        self.carry()?;
        Ok(spis)
    }

    fn carry(&self) -> Result<()> {
        let at = |site: &interop::Site| site.host_address(Family::V4);
        traffic::cross((&self.lab.a.host, at(&self.lab.a)), (&self.lab.b.host, at(&self.lab.b)))
    }

    /// Waits until we have one IKE SA and one Child SA, whose SPIs Linux has and no others, and gives these.
    fn changed(&self, is_new: impl Fn(&Spis) -> bool) -> Result<Spis> {
        let owned = |(first, second): (&str, &str)| (first.to_owned(), second.to_owned());
        within(PATIENCE, "both ends to agree on their SAs", || {
            let sas = self.ours.sas().ok()?;
            let [sa] = sas.as_slice() else { return None };
            let [child] = sa.children.as_slice() else { return None };
            let states = self.theirs.guest().run("ip xfrm state").ok()?;
            let (inbound, outbound) = child.spis();
            let linux_has = |spi: &str| states.contains(&format!("spi 0x{spi} "));
            let agreed =
                sa.is_established() && child.is_installed() && linux_has(inbound) && linux_has(outbound);
            let spis = [owned(sa.spis()), owned(child.spis())];
            (agreed && states.matches(" spi ").count() == 2 && is_new(&spis)).then_some(spis)
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}\n{}", self.ours.sas(), self.theirs.log())))
    }

    /// Says goodbye from one end, and waits until neither has an SA.
    fn terminate(&self, from: End) -> Result<()> {
        match from {
            End::A => self.ours.terminate(CONNECTION)?,
            End::B => self.theirs.ikectl("reset id FQDN/a.example.org").map(drop)?,
        }
        within(PATIENCE, "both ends to have no SA", || {
            let states = self.theirs.guest().run("ip xfrm state").ok()?;
            (self.ours.sas().ok()?.is_empty() && states.is_empty()).then_some(())
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}\n{}", self.ours.sas(), self.theirs.log())))
    }

    fn dismantle(self) {
        drop((self.ours, self.theirs));
        self.lab.dismantle();
    }
}

#[test]
fn openiked_and_we_agree_on_suites_and_say_goodbye() -> Result<()> {
    let bench = Bench::new()?;
    for (suite, from) in SUITES.iter().zip([End::A, End::B].into_iter().cycle()) {
        let name = format!("{} / {}, {from} initiates", suite.ours[0], suite.ours[1]);
        bench.establish(suite, from, "").map_err(Failure::at(&name))?;
        bench.terminate(from.other()).map_err(Failure::at(&name))?;
        println!("ok      {name}");
    }
    bench.dismantle();
    Ok(())
}

#[test]
fn openiked_and_we_prove_ourselves_by_certificates() -> Result<()> {
    let bench = Bench::new()?;
    let keys = [("rsa2048", End::A), ("p256", End::B), ("p384", End::A)];
    for (key, from) in keys {
        bench.establish_by_certificates(key, &SUITES[0], from).map_err(Failure::at(key))?;
        bench.terminate(from.other()).map_err(Failure::at(key))?;
        println!("ok      {key}, {from} initiates");
    }
    bench.dismantle();
    Ok(())
}

#[test]
fn openiked_takes_new_keys_from_us() -> Result<()> {
    let bench = Bench::new()?;
    for suite in &SUITES[..2] {
        let [ike, child] = bench.establish(suite, End::A, "")?;
        bench.ours.rekey_child(CHILD)?;
        let [_, child] = bench.changed(|[now_ike, now]| *now_ike == ike && *now != child)?;
        bench.carry()?;
        bench.ours.rekey_ike(CONNECTION)?;
        bench.changed(|[now, now_child]| *now != ike && *now_child == child)?;
        bench.carry()?;
        bench.terminate(End::A)?;
    }
    bench.dismantle();
    Ok(())
}

#[test]
fn openiked_renews_what_expires() -> Result<()> {
    let bench = Bench::new()?;
    let [ike, child] = bench.establish(&SUITES[0], End::A, "ikelifetime 12 lifetime 6")?;
    bench.changed(|[_, now]| *now != child)?;
    bench.changed(|[now, _]| *now != ike)?;
    bench.dismantle();
    Ok(())
}
