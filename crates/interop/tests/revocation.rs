//! Revocation that Keyway finds out over HTTP while strongSwan proves who it is: lists from Python's server, OCSP from
//! OpenSSL's responder.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use interop::Implementation::StrongSwan;
use interop::{
    Answer, CHILD, Certificates, End, Family, Keyway, Lab, Pair, Process, Proof, Result, Tunnel, Wire, until,
};

const LISTS: u16 = 8080;
const RESPONDER: u16 = 8081;
/// What a loaded machine may need until a server listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keyway at a, which asks; strongSwan at b, where the servers are as well.
struct Bench {
    pair: Pair,
    certificates: Certificates,
}

impl Bench {
    fn new() -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let certificates = Certificates::new(&lab)?;
        certificates.make(&["ca", "root", "C=CH, CN=Root CA"])?;
        fs::create_dir_all(lab.directory().join("www"))?;
        let cache = format!("--cache-crls={}", lab.directory().join("cache").display());
        let arguments =
            ["--retransmit-timeout=0.5", "--retransmit-base=1.2", "--retransmit-tries=12", &cache];
        let a = Keyway::start_with(&lab, End::A, "", &arguments)?;
        let b = StrongSwan.start(&lab, End::B)?;
        let bench = Bench { pair: Pair { a: Box::new(a), b, lab }, certificates };
        for end in [End::A, End::B] {
            bench.certificates.give(bench.pair.gateway(end), "x509ca", "root/ca.crt")?;
        }
        bench.certificates.make(&["issue", "root", "a.example.org", "--out", "a"])?;
        bench.give(End::A, "a")?;
        Ok(bench)
    }

    fn give(&self, end: End, name: &str) -> Result<()> {
        self.certificates.give(self.pair.gateway(end), "x509", &format!("{name}.crt"))?;
        self.certificates.give(self.pair.gateway(end), "private", &format!("{name}.key"))
    }

    /// Certifies a key of b, with where to ask about it.
    fn issue(&self, name: &str, terms: &[&str]) -> Result<()> {
        let fixed = ["issue", "root", "b.example.org", "--out", name];
        self.certificates.make(&[fixed.as_slice(), terms].concat())?;
        self.give(End::B, name)
    }

    fn uri(&self, port: u16, path: &str) -> String {
        format!("http://{}:{port}/{path}", self.pair.lab.site(End::B).outside(Family::V4))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.pair.lab.directory().join("pki").join(file)
    }

    /// Puts a list where the server has it.
    fn publish(&self, file: &str, name: &str) -> Result<()> {
        fs::copy(self.path(file), self.pair.lab.directory().join("www").join(name))?;
        Ok(())
    }

    fn serve_lists(&self) -> Result<Process> {
        let www = self.pair.lab.directory().join("www").display().to_string();
        let mut command = self.pair.lab.site(End::B).gateway.command("python3");
        command.args(["-u", "-m", "http.server", &LISTS.to_string(), "--directory", &www]);
        let log = self.pair.lab.directory().join("lists.log");
        let server = Process::start("lists", &mut command, &log)?;
        let gateway = &self.pair.lab.site(End::B).gateway;
        until(PATIENCE, "the lists to be served", || {
            gateway.inside(|| Ok(TcpStream::connect(("127.0.0.1", LISTS))?)).is_ok()
        })?;
        Ok(server)
    }

    /// Starts OpenSSL's responder with what it is to know: lines of its index.
    fn respond(&self, index: &str, signer: &str) -> Result<Process> {
        fs::write(self.path("index.txt"), index)?;
        let mut command = self.pair.lab.site(End::B).gateway.command("openssl");
        command.current_dir(self.path("")).args(["ocsp", "-index", "index.txt", "-CA", "root/ca.crt"]);
        command.args(["-rsigner", &format!("{signer}.crt"), "-rkey", &format!("{signer}.key")]);
        command.args(["-port", &RESPONDER.to_string(), "-nmin", "60", "-text"]);
        // It stumbles over a connection that asks nothing, so it must say itself that it is there.
        let log = self.pair.lab.directory().join("responder.log");
        let mut responder = Process::start("responder", &mut command, &log)?;
        responder.wait_for_text("waiting for OCSP client connections", PATIENCE)?;
        Ok(responder)
    }

    /// A line of OpenSSL's index about a certificate.
    fn line(&self, name: &str, state: &str) -> Result<String> {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-serial", "-in"]).arg(self.path(&format!("{name}.crt")));
        let serial = Answer::of(&mut command)?.success()?;
        let serial = serial.trim().trim_start_matches("serial=");
        Ok(format!("{state}\t{serial}\tunknown\t/CN=b.example.org\n"))
    }

    fn tunnel(&self, name: &str, revocation: &str) -> Tunnel {
        let b = Proof::of(
            &["auth = pubkey", &format!("certs = {name}.crt")],
            &["auth = pubkey", &format!("revocation = {revocation}")],
        );
        Tunnel::default().proven(Proof::certificate("a.crt"), b)
    }

    /// Has Keyway ask anew.
    fn forget(&self) -> Result<()> {
        self.pair.a.swanctl().run(&["--flush-certs"]).map(drop)
    }

    /// Brings the tunnel up from either end in turn.
    fn holds(&self, name: &str, revocation: &str) -> Result<()> {
        self.pair.configure(&self.tunnel(name, revocation))?;
        for from in [End::A, End::B] {
            self.pair.initiate(from)?;
            self.pair.settled()?;
            self.pair.terminate(from)?;
        }
        Ok(())
    }

    /// Has a try from either end fail: Keyway's command line says why where it begins, and its log where it answers.
    fn fails(&self, name: &str, revocation: &str, sentences: &[&str]) -> Result<()> {
        self.pair.configure(&self.tunnel(name, revocation))?;
        let answer = self.pair.a.initiate(CHILD)?;
        assert_ne!(answer.code, Some(0), "it must not come up: {answer:?}");
        let before = self.pair.a.log().len();
        let elsewhere = self.pair.b.initiate(CHILD)?;
        assert_ne!(elsewhere.code, Some(0), "it must not come up: {elsewhere:?}");
        let log = self.pair.a.log()[before..].to_owned();
        for sentence in sentences {
            assert!(answer.stderr.contains(sentence), "{sentence}: {answer:?}");
            assert!(log.contains(sentence), "{sentence}: {log}");
        }
        Ok(())
    }
}

const UNKNOWN: &str = "whether the certificate CN=b.example.org is revoked is not known";
const REVOKED: &str = "the certificate CN=b.example.org was revoked on";

#[test]
fn lists_are_fetched_and_kept() -> Result<()> {
    let mut bench = Bench::new()?;
    let (list, delta) = (bench.uri(LISTS, "ca.crl"), bench.uri(LISTS, "delta.crl"));
    bench.issue("b", &["--crl-uri", &list])?;

    // Nobody is there.
    let nobody = format!("{list}: it cannot be reached");
    bench.fails("b", "strict", &[UNKNOWN, &nobody])?;
    bench.fails("b", "ifuri", &[UNKNOWN, &nobody])?;
    bench.holds("b", "relaxed")?;

    // A list is there, and asked for once.
    bench.certificates.make(&["crl", "root"])?;
    bench.publish("root/ca.crl", "ca.crl")?;
    let server = bench.serve_lists()?;
    bench.forget()?;
    bench.holds("b", "strict")?;
    bench.holds("b", "ifuri")?;
    assert_eq!(server.log().matches("GET /ca.crl").count(), 1, "{}", server.log());
    let listed = bench.pair.a.swanctl().run(&["--list-certs", "--type", "x509_crl"])?;
    assert!(listed.contains("Root CA"), "{listed}");

    // It outlives the daemon, and the server is not needed.
    drop(server);
    bench.pair.gateway_mut(End::A).stop()?;
    bench.pair.gateway_mut(End::A).start()?;
    bench.holds("b", "strict")?;

    // What is there is not a list of this CA, or no list, or too old.
    let server = bench.serve_lists()?;
    bench.certificates.make(&["ca", "stranger", "C=CH, CN=Root CA"])?;
    bench.certificates.make(&["crl", "stranger"])?;
    bench.publish("stranger/ca.crl", "ca.crl")?;
    bench.forget()?;
    bench.fails("b", "strict", &[UNKNOWN, "was not signed with the key of"])?;
    bench.publish("b.crt", "ca.crl")?;
    bench.forget()?;
    bench.fails("b", "strict", &[UNKNOWN, "there is no list of revoked certificates in it"])?;
    let signed = |file: &str, arguments: &[&str]| {
        let fixed = ["--signcrl", "--cacert", "root/ca.crt", "--cakey", "root/ca.key"];
        bench.certificates.make_elsewhere(file, &[fixed.as_slice(), arguments].concat())
    };
    let past = ["--this-update", "20240101", "--next-update", "20250101", "--dateform", "%Y%m%d"];
    signed("old.crl", &past)?;
    bench.publish("old.crl", "ca.crl")?;
    bench.forget()?;
    bench.fails("b", "strict", &[UNKNOWN, "the CRL of C=CH, CN=Root CA was to be replaced by 2025-01-0"])?;

    // The certificate is revoked in a delta to a list that does not have it yet.
    signed("base.crl", &["--crluri", &delta])?;
    bench.publish("base.crl", "ca.crl")?;
    signed("delta.crl", &["--basecrl", "base.crl"])?;
    bench.publish("delta.crl", "delta.crl")?;
    bench.forget()?;
    bench.holds("b", "strict")?;
    signed("delta.crl", &["--basecrl", "base.crl", "--reason", "superseded", "--cert", "b.crt"])?;
    bench.publish("delta.crl", "delta.crl")?;
    bench.forget()?;
    bench.fails("b", "relaxed", &[REVOKED, "(superseded)"])?;

    // It is revoked in the list itself, whatever the connection asks for. The certificate need not say where the list is.
    bench.certificates.make(&["revoke", "root", "b.crt", "--reason", "keyCompromise"])?;
    bench.publish("root/ca.crl", "ca.crl")?;
    bench.forget()?;
    bench.fails("b", "relaxed", &[REVOKED, "(keyCompromise)"])?;
    bench.pair.lab.dismantle();
    drop(server);
    Ok(())
}

#[test]
fn responders_are_asked() -> Result<()> {
    let bench = Bench::new()?;
    bench.issue("b", &["--ocsp-uri", &bench.uri(RESPONDER, "")])?;
    bench.issue("silent", &[])?;
    let nobody = format!("{}: it cannot be reached", bench.uri(RESPONDER, ""));
    bench.fails("b", "strict", &[UNKNOWN, &nobody])?;
    bench.holds("b", "relaxed")?;

    // Good, by the CA itself; asked once, since the answer counts for an hour.
    let valid = "V\t400101000000Z\t";
    let responder = bench.respond(&bench.line("b", valid)?, "root/ca")?;
    bench.forget()?;
    bench.holds("b", "strict")?;
    assert_eq!(responder.log().matches("Received request").count(), 1, "{}", responder.log());
    let listed = bench.pair.a.swanctl().run(&["--list-certs", "--type", "ocsp_response"])?;
    assert!(listed.contains("Root CA"), "{listed}");
    drop(responder);

    // Unknown to it.
    let responder = bench.respond(&bench.line("a", valid)?, "root/ca")?;
    bench.forget()?;
    bench.fails("b", "ifuri", &[UNKNOWN, "the OCSP responder does not know the certificate"])?;
    drop(responder);

    // Revoked, says somebody to whom the CA delegates.
    bench.certificates.make(&["request", "ocsp.example.org", "--out", "ocsp"])?;
    let delegated = ["--issue", "--type", "pkcs10", "--in", "ocsp.csr", "--flag", "ocspSigning"];
    let by = ["--cacert", "root/ca.crt", "--cakey", "root/ca.key"];
    bench.certificates.make_elsewhere("ocsp.crt", &[delegated.as_slice(), &by].concat())?;
    let revoked = "R\t400101000000Z\t260301000000Z,keyCompromise";
    let responder = bench.respond(&bench.line("b", revoked)?, "ocsp")?;
    bench.forget()?;
    bench.fails(
        "b",
        "relaxed",
        &["the certificate CN=b.example.org was revoked on 2026-03-01", "keyCompromise"],
    )?;
    drop(responder);

    // The answer of somebody to whom nobody delegates is none.
    let responder = bench.respond(&bench.line("b", valid)?, "a")?;
    bench.forget()?;
    bench.fails("b", "strict", &[UNKNOWN, "the OCSP response was signed by somebody who may not"])?;
    drop(responder);

    // A certificate that does not say whom to ask: the configuration does.
    bench.fails("silent", "strict", &[UNKNOWN])?;
    let responder = bench.respond(&bench.line("silent", valid)?, "root/ca")?;
    let authority = format!(
        "authorities {{\n root {{\n cacert = root-ca.crt\n ocsp_uris = {}\n }}\n}}\n",
        bench.uri(RESPONDER, "")
    );
    bench.pair.b.configure(&bench.tunnel("silent", "strict").text(&bench.pair.lab, End::B))?;
    let text = bench.tunnel("silent", "strict").text(&bench.pair.lab, End::A);
    bench.pair.a.configure(&format!("{text}{authority}"))?;
    let listed = bench.pair.a.swanctl().run(&["--list-authorities"])?;
    assert!(listed.contains(&bench.uri(RESPONDER, "")), "{listed}");
    bench.pair.initiate(End::A)?;
    bench.pair.settled()?;
    bench.pair.terminate(End::A)?;
    bench.pair.lab.dismantle();
    drop(responder);
    Ok(())
}
