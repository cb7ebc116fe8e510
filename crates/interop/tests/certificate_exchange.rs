//! What two ends may tell each other of certificates beside the certificates: where they are, what OCSP says of them, keys
//! without any.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use interop::Implementation::{self, StrongSwan, StrongSwan6};
use interop::{
    Answer, CHILD, Certificates, End, Family, Keyway, Lab, Pair, Process, Proof, Result, Tunnel, Wire, until,
};

/// What a loaded machine may need until a server listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keyway at a with a CA that both trust, and certificates of it for both.
struct Bench {
    pair: Pair,
    certificates: Certificates,
}

impl Bench {
    fn new(b: Implementation, arguments: &[&str], terms: &[&str]) -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let certificates = Certificates::new(&lab)?;
        certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
        let patience = ["--retransmit-timeout=0.5", "--retransmit-base=1.2", "--retransmit-tries=12"];
        let a = Keyway::start_with(&lab, End::A, "", &[patience.as_slice(), arguments].concat())?;
        let b = b.start(&lab, End::B)?;
        let bench = Bench { pair: Pair { a: Box::new(a), b, lab }, certificates };
        for end in [End::A, End::B] {
            let (name, gateway) = (format!("{end}.example.org"), bench.pair.gateway(end));
            let fixed = ["issue", "root", &name, "--out", &format!("{end}")];
            bench.certificates.make(&[fixed.as_slice(), terms].concat())?;
            bench.certificates.give(gateway, "x509ca", "root/ca.crt")?;
            bench.certificates.give(gateway, "x509", &format!("{end}.crt"))?;
            bench.certificates.give(gateway, "private", &format!("{end}.key"))?;
        }
        Ok(bench)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.pair.lab.directory().join("pki").join(file)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<String> {
        Answer::of(Command::new("openssl").args(arguments).current_dir(self.path("")))?.success()
    }

    /// Serves the files of a directory at an end.
    fn serve(&self, end: End, directory: &Path) -> Result<Process> {
        let mut command = self.pair.lab.site(end).gateway.command("python3");
        command.args(["-u", "-m", "http.server", "8080", "--directory"]).arg(directory);
        let log = self.pair.lab.directory().join(format!("server-{end}.log"));
        let server = Process::start("server", &mut command, &log)?;
        let gateway = &self.pair.lab.site(end).gateway;
        until(PATIENCE, "the server to listen", || {
            gateway.inside(|| Ok(TcpStream::connect(("127.0.0.1", 8080))?)).is_ok()
        })?;
        Ok(server)
    }

    /// Has OpenSSL answer at an end for its certificate; nobody else can ask there.
    fn respond(&self, end: End) -> Result<Process> {
        let serial = self.openssl(&["x509", "-noout", "-serial", "-in", &format!("{end}.crt")])?;
        let serial = serial.trim().trim_start_matches("serial=");
        let index = format!("index-{end}.txt");
        fs::write(self.path(&index), format!("V\t400101000000Z\t\t{serial}\tunknown\t/CN={end}\n"))?;
        let mut command = self.pair.lab.site(end).gateway.command("openssl");
        command.current_dir(self.path("")).args(["ocsp", "-index", &index, "-CA", "root/ca.crt", "-text"]);
        command.args(["-rsigner", "root/ca.crt", "-rkey", "root/ca.key", "-port", "8081", "-nmin", "60"]);
        // It stumbles over a connection that asks nothing, so it must say itself that it is there.
        let log = self.pair.lab.directory().join(format!("responder-{end}.log"));
        let mut responder = Process::start("responder", &mut command, &log)?;
        responder.wait_for_text("waiting for OCSP client connections", PATIENCE)?;
        Ok(responder)
    }

    /// Has strongSwan at b start anew with other settings.
    fn restart_peer(&mut self, change: impl Fn(&str) -> String) -> Result<()> {
        self.pair.b.stop()?;
        let file = self.pair.lab.directory().join("strongswan-b/run/strongswan.conf");
        fs::write(&file, change(&fs::read_to_string(&file)?))?;
        self.pair.b.start()
    }

    fn configure(&self, tunnel: &Tunnel, more: [&str; 2]) -> Result<()> {
        for (end, more) in [End::A, End::B].into_iter().zip(more) {
            let text = tunnel.text(&self.pair.lab, end);
            self.pair.gateway(end).configure(&format!("{text}{more}"))?;
        }
        Ok(())
    }

    fn holds(&self, tunnel: &Tunnel) -> Result<()> {
        for from in [End::A, End::B] {
            self.pair.initiate(from)?;
            self.pair.settled()?;
            self.pair.carry(tunnel)?;
            self.pair.terminate(from)?;
        }
        Ok(())
    }
}

fn certified() -> Tunnel {
    Tunnel::default().proven(Proof::certificate("a.crt"), Proof::certificate("b.crt"))
}

#[test]
fn strongswan_and_keyway_fetch_each_other_s_certificates() -> Result<()> {
    let mut bench = Bench::new(StrongSwan, &["--hash-and-url"], &[])?;
    bench.restart_peer(|settings| {
        settings.replace("load = random", "hash_and_url = yes\n load = curl random")
    })?;
    let www = bench.pair.lab.directory().join("www");
    for end in [End::A, End::B] {
        fs::create_dir_all(&www)?;
        bench.openssl(&["x509", "-in", &format!("{end}.crt"), "-outform", "der", "-out", "one.der"])?;
        let digest = bench.openssl(&["dgst", "-sha1", "-r", "one.der"])?;
        let name = digest.split_whitespace().next().unwrap_or_default().to_owned();
        fs::copy(bench.path("one.der"), www.join(name))?;
    }
    let (at_a, at_b) = (bench.serve(End::A, &www)?, bench.serve(End::B, &www)?);
    let authority = |end: End| {
        let address = bench.pair.lab.site(end).outside(Family::V4);
        format!(
            "authorities {{\n root {{\n cacert = root-ca.crt\n cert_uri_base = http://{address}:8080/\n }}\n}}\n"
        )
    };
    let tunnel = certified();
    bench.configure(&tunnel, [&authority(End::A), &authority(End::B)])?;
    bench.holds(&tunnel)?;
    for (server, whose) in [(&at_a, "ours"), (&at_b, "strongSwan's")] {
        let fetched = server.log().matches("\" 200 ").count();
        assert!(fetched >= 1, "{whose} was not fetched: {}", server.log());
    }
    // Somebody has put another certificate there.
    for entry in fs::read_dir(&www)? {
        fs::copy(bench.path("root/ca.crt"), entry?.path())?;
    }
    let answer = bench.pair.a.initiate(CHILD)?;
    assert!(answer.stderr.contains("what is there is something else than the peer means"), "{answer:?}");
    bench.pair.lab.dismantle();
    Ok(())
}

/// Each end's responder can be asked at that end alone, and either must know of the other.
fn ocsp_comes_in_band(b: Implementation, prepare: impl Fn(&mut Bench) -> Result<()>) -> Result<()> {
    let mut bench = Bench::new(b, &[], &["--ocsp-uri", "http://127.0.0.1:8081/"])?;
    prepare(&mut bench)?;
    let strict = |end: End| {
        let own = ["auth = pubkey".to_owned(), format!("certs = {end}.crt")];
        Proof { own: own.to_vec(), peer: vec!["auth = pubkey".to_owned(), "revocation = strict".to_owned()] }
    };
    let tunnel = Tunnel::default().proven(strict(End::A), strict(End::B));
    let without = tunnel.clone().connection_line("ocsp = never");
    let (at_a, at_b) = (bench.respond(End::A)?, bench.respond(End::B)?);
    bench.configure(&without, ["", ""])?;
    let answer = bench.pair.a.initiate(CHILD)?;
    assert_ne!(answer.code, Some(0), "nobody knows whether the other is revoked: {answer:?}");
    bench.pair.a.swanctl().run(&["--flush-certs"])?;
    let both = tunnel.connection_line("ocsp = both");
    bench.configure(&both, ["", ""])?;
    bench.holds(&both)?;
    drop((at_a, at_b));
    bench.pair.lab.dismantle();
    Ok(())
}

#[test]
fn ocsp_comes_in_band_between_two_of_ours() -> Result<()> {
    ocsp_comes_in_band(Implementation::Keyway, |_| Ok(()))
}

#[test]
fn strongswan6_ocsp_comes_in_band() -> Result<()> {
    ocsp_comes_in_band(StrongSwan6, |bench| {
        bench.restart_peer(|settings| settings.replace("load = random", "load = curl revocation random"))
    })
}

#[test]
fn public_keys_without_certificates_with_strongswan() -> Result<()> {
    let bench = Bench::new(StrongSwan, &[], &[])?;
    for end in [End::A, End::B] {
        bench.openssl(&["pkey", "-in", &format!("{end}.key"), "-pubout", "-out", &format!("{end}.pub")])?;
    }
    for end in [End::A, End::B] {
        bench.certificates.take_back(bench.pair.gateway(end));
        bench.certificates.give(bench.pair.gateway(end), "private", &format!("{end}.key"))?;
        for key in ["a.pub", "b.pub"] {
            bench.certificates.give(bench.pair.gateway(end), "pubkey", key)?;
        }
    }
    let proof = |end: End| {
        let lines = ["auth = pubkey".to_owned(), format!("pubkeys = {end}.pub")].to_vec();
        Proof { own: lines.clone(), peer: lines }
    };
    let tunnel = Tunnel::default().proven(proof(End::A), proof(End::B));
    bench.configure(&tunnel, ["", ""])?;
    bench.holds(&tunnel)?;
    // In CERT payloads (RFC 7670): whoever does not know the form passes over it.
    let sent = tunnel.connection_line("send_cert = always");
    bench.configure(&sent, ["", ""])?;
    bench.holds(&sent)?;
    bench.pair.lab.dismantle();
    Ok(())
}
