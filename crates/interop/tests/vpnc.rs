//! Debian's `vpnc` as a client: aggressive mode with the key of a group or with a certificate of the server's only (hybrid
//! authentication), XAuth, Mode Config, and packets in UDP through its own TUN device.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use interop::{Certificates, End, Failure, Gateway, Keyway, Lab, Process, Result, Wire, traffic, until};

/// What a loaded machine may need for the whole dialogue.
const PATIENCE: Duration = Duration::from_secs(40);

/// The server: what a Cisco concentrator would be to such a client.
const SERVER: &str = "connections {
   crew {
      version = 1
      aggressive = yes
      allow_weak = yes
      proposals = aes256-sha1-modp2048
      pools = crew
      local { auth = psk
         id = 198.51.100.1 }
      remote { auth = psk
         id = keyid:crew }
      remote-user { auth = xauth }
      children {
         net { local_ts = 0.0.0.0/0
            esp_proposals = aes256-sha1 }
      }
   }
}
pools {
   crew { addrs = 10.3.0.0/24
      dns = 10.2.0.53
      domain = corp.example
      banner = \"Welcome aboard\"
      split_include = 10.2.0.0/16 }
}
secrets {
   ike-crew { id = keyid:crew
      secret = \"the whole crew knows this\" }
   xauth-carol { id = carol
      secret = \"open sesame\" }
}
";

/// What vpnc runs when it knows its address: no more of a set-up than its traffic needs.
const SCRIPT: &str = "#!/bin/sh
env > $0.$reason
[ \"$reason\" = connect ] || exit 0
ip link set \"$TUNDEV\" up mtu 1300
ip address add \"$INTERNAL_IP4_ADDRESS/32\" dev \"$TUNDEV\"
ip route add \"$CISCO_SPLIT_INC_0_ADDR/$CISCO_SPLIT_INC_0_MASKLEN\" dev \"$TUNDEV\" src \"$INTERNAL_IP4_ADDRESS\"
";

/// The same server, which has a certificate, and whose clients have nothing but their users' passwords.
fn hybrid_server() -> String {
    let server = SERVER.replacen("local { auth = psk", "local { auth = pubkey\n certs = b.crt", 1);
    let server = server.replacen("remote { auth = psk\n         id = keyid:crew }\n", "", 1);
    server.replacen("remote-user { auth = xauth }", "remote { auth = xauth\n id = keyid:crew }", 1)
}

fn client(password: &str, ca: Option<&str>) -> String {
    let mode = ca.map_or_else(|| "psk".to_owned(), |ca| format!("hybrid\nCA-File {ca}"));
    format!(
        "IPSec gateway 198.51.100.1
IPSec ID crew
IPSec secret the whole crew knows this
IKE Authmode {mode}
IKE DH Group dh14
Perfect Forward Secrecy nopfs
Xauth username carol
Xauth password {password}
NAT Traversal Mode force-natt
"
    )
}

/// Starts vpnc on the gateway of site a, and gives where its script writes.
fn start(lab: &Lab, password: &str, ca: Option<&str>) -> Result<(Process, String)> {
    use std::os::unix::fs::PermissionsExt;
    let directory = lab.directory().join("vpnc");
    fs::create_dir_all(&directory)?;
    let at = |name: &str| format!("{}/{name}", directory.display());
    fs::write(at("client.conf"), client(password, ca))?;
    fs::write(at("script"), SCRIPT)?;
    fs::set_permissions(at("script"), fs::Permissions::from_mode(0o755))?;
    let mut command = lab.a.gateway.command("vpnc");
    command.args(["--no-detach", "--debug", "1", "--pid-file", &at("pid"), "--script", &at("script")]);
    command.args(["--non-inter", &at("client.conf")]);
    Ok((Process::start("vpnc", &mut command, &directory.join("log"))?, at("script.connect")))
}

fn a_user_comes_in(wire: Wire) -> Result<()> {
    let lab = Lab::new(wire)?;
    let server = Keyway::start_with(&lab, End::B, SERVER, &[])?;
    comes_in(&lab, &server, None)?;
    lab.dismantle();
    Ok(())
}

/// Has the user come in, and leave again.
fn comes_in(lab: &Lab, server: &Keyway, ca: Option<&str>) -> Result<()> {
    let (vpnc, told) = start(lab, "open sesame", ca)?;
    let log = || format!("{}\n{}", vpnc.log(), server.log());
    until(PATIENCE, "vpnc to know its address", || fs::exists(&told).unwrap_or(false))
        .map_err(|failure| Failure::new(format!("{failure}:\n{}", log())))?;
    let told = fs::read_to_string(&told)?;
    for line in [
        "INTERNAL_IP4_ADDRESS=10.3.0.1",
        "INTERNAL_IP4_DNS=10.2.0.53",
        "CISCO_DEF_DOMAIN=corp.example",
        "CISCO_BANNER=Welcome aboard",
        "CISCO_SPLIT_INC_0_ADDR=10.2.0.0",
        "CISCO_SPLIT_INC_0_MASKLEN=16",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not among\n{told}");
    }
    let address: IpAddr = IpAddr::from([10, 3, 0, 1]);
    until(PATIENCE, "the server to have the child", || {
        server.sas().is_ok_and(|sas| sas.iter().any(|sa| !sa.children.is_empty()))
    })
    .map_err(|failure| Failure::new(format!("{failure}:\n{}", log())))?;
    let host = lab.b.host_address(interop::Family::V4);
    traffic::cross((&lab.a.gateway, address), (&lab.b.host, host))
        .map_err(|failure| Failure::new(format!("{failure}:\n{}", log())))?;

    let status = server.command(&["status"])?.success()?;
    for word in ["aggressive mode", "carol", "10.3.0.1"] {
        assert!(status.contains(word), "{word} is not in\n{status}");
    }
    let listed = server.swanctl().run(&["--list-sas", "--raw"])?;
    assert!(
        listed.contains("remote-xauth-id=carol") && listed.contains("remote-vips=[10.3.0.1]"),
        "{listed}"
    );

    // It says goodbye when it is asked to end.
    vpnc.stop(PATIENCE)?;
    until(PATIENCE, "the server to let it go", || server.sas().is_ok_and(|sas| sas.is_empty()))
}

#[test]
fn a_user_of_vpnc_comes_in() -> Result<()> {
    a_user_comes_in(Wire::Plain)
}

#[test]
fn a_user_of_vpnc_comes_in_through_nat() -> Result<()> {
    a_user_comes_in(Wire::Nat)
}

#[test]
fn a_user_of_vpnc_comes_in_to_a_server_with_a_certificate() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let certificates = Certificates::new(&lab)?;
    certificates.make(&["ca", "root", "C=CH, CN=Root CA", "--key", "rsa2048"])?;
    certificates.make(&["issue", "root", "198.51.100.1", "--key", "rsa2048", "--out", "b"])?;
    let folder = lab.directory().join("keyway-b");
    certificates.give_to(&folder.join("x509"), "b.crt")?;
    certificates.give_to(&folder.join("private"), "b.key")?;
    let server = Keyway::start_with(&lab, End::B, &hybrid_server(), &[])?;
    let ca = lab.directory().join("root-ca.crt");
    certificates.give_to(lab.directory(), "root/ca.crt")?;
    comes_in(&lab, &server, Some(&ca.display().to_string()))?;
    lab.dismantle();
    Ok(())
}

#[test]
fn a_user_of_vpnc_with_another_password_does_not() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let server = Keyway::start_with(&lab, End::B, SERVER, &[])?;
    let (mut vpnc, _) = start(&lab, "guess", None)?;
    let status = vpnc.wait(PATIENCE)?;
    assert!(!status.success(), "{}", vpnc.log());
    assert!(server.log().contains("user carol gave another password than is configured"), "{}", server.log());
    lab.dismantle();
    Ok(())
}
