//! What `keyway import` makes of other programs' configurations passes `keyway check`, and brings tunnels up with strongSwan.

use std::fs;
use std::path::Path;
use std::process::Command;

use interop::Implementation::StrongSwan;
use interop::{
    Answer, End, Family, Gateway, Keyway, Lab, Pair, Result, Tunnel, Wire, keyway_program, traffic,
};

/// Imports files, and gives what came out and the report.
fn imported(lab: &Lab, files: &[(&str, &str)]) -> Result<(String, String)> {
    let directory = lab.directory().join("imported");
    fs::create_dir_all(&directory)?;
    let mut command = Command::new(keyway_program()?);
    command.arg("import");
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
        command.arg(directory.join(name));
    }
    let output = directory.join("swanctl.conf");
    let answer = Answer::of(command.arg("--output").arg(&output))?;
    let report = answer.stderr.clone();
    answer.success()?;
    check(&output)?;
    Ok((fs::read_to_string(&output)?, report))
}

fn check(path: &Path) -> Result<()> {
    let answer = Answer::of(Command::new(keyway_program()?).arg("check").arg(path))?;
    answer.success().map(drop)
}

/// Brings up what was imported at a with this at b, from a's end, and sends something through it.
fn comes_up(files: &[(&str, &str)], child: &str, peer: &Tunnel, words: &[&str]) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let (text, report) = imported(&lab, files)?;
    for word in words {
        assert!(report.contains(word), "{word}: {report}");
    }
    assert!(!report.contains("battery"), "no secret is shown: {report}");
    let a = Keyway::start(&lab, End::A)?;
    a.configure(&text)?;
    let b = StrongSwan.start_with(&lab, End::B, peer)?;
    let pair = Pair { a: Box::new(a), b, lab };
    pair.a.initiate(child)?.success()?;
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    traffic::cross((&a.host, a.host_address(Family::V4)), (&b.host, b.host_address(Family::V4)))?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn an_ipsec_conf_of_strongswan() -> Result<()> {
    let conf = "
config setup
    uniqueids = no

conn %default
    keyexchange=ikev2
    ike=aes128gcm16-prfsha256-x25519,3des-sha1-modp1024!
    esp=aes128gcm16!
    ikelifetime=3h
    lifetime=1h

conn office
    left=192.0.2.1
    leftsubnet=10.1.0.0/24
    leftid=@a.example.org
    right=198.51.100.1
    rightsubnet=10.2.0.0/24
    rightid=@b.example.org
    authby=secret
    auto=add
";
    let secrets = "@a.example.org @b.example.org : PSK \"correct horse battery staple\"\n";
    let words = ["Changed for safety: 1", "3des-sha1-modp1024", "the connection `office` with one child"];
    comes_up(&[("ipsec.conf", conf), ("ipsec.secrets", secrets)], "office", &Tunnel::default(), &words)
}

#[test]
fn an_ipsec_conf_of_libreswan() -> Result<()> {
    let conf = "
config setup
    protostack=xfrm

conn office
    ikev2=insist
    left=192.0.2.1
    leftsubnet=10.1.0.0/24
    leftid=@a.example.org
    right=198.51.100.1
    rightsubnet=10.2.0.0/24
    rightid=@b.example.org
    authby=secret
    ike=aes256-sha2_512;dh14
    phase2alg=aes_gcm256-null
    salifetime=1h
    auto=ondemand
";
    let secrets = "@a.example.org @b.example.org : PSK \"correct horse battery staple\"\n";
    let peer = Tunnel::default().suite("aes256-sha512-modp2048", "aes256gcm16-modp2048");
    let words = ["proposals = aes256-sha512-modp2048", "esp_proposals = aes256gcm16-modp2048"];
    comes_up(&[("ipsec.conf", conf), ("ipsec.secrets", secrets)], "office", &peer, &words)
}

/// IKEv1, as most routers have it.
#[test]
fn a_crypto_map_of_ios() -> Result<()> {
    let router = "
crypto isakmp policy 10
 encr aes 256
 hash sha256
 authentication pre-share
 group 14
crypto isakmp key correct-horse-battery-staple address 198.51.100.1
crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac
 mode tunnel
interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
 crypto map VPN
crypto map VPN 10 ipsec-isakmp
 set peer 198.51.100.1
 set transform-set STRONG
 set pfs group14
 match address 110
access-list 110 permit ip 10.1.0.0 0.0.0.255 10.2.0.0 0.0.0.255
";
    let peer = Tunnel {
        version: 1,
        secret: "correct-horse-battery-staple".to_owned(),
        ..Tunnel::default().suite("aes256-sha256-modp2048", "aes256-sha256-modp2048")
    };
    // A router names itself by its address.
    let proof = |own: &str| interop::Proof::of(&["auth = psk", own], &["auth = psk"]);
    let peer = peer.proven(proof(""), proof(""));
    comes_up_with(&[("router.cfg", router)], "VPN-10", &peer, &["remote_addrs = 198.51.100.1"])
}

/// The same with a peer whose identities are the two addresses.
fn comes_up_with(files: &[(&str, &str)], child: &str, peer: &Tunnel, words: &[&str]) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let (text, report) = imported(&lab, files)?;
    for word in words {
        assert!(report.contains(word), "{word}: {report}");
    }
    assert!(!report.contains("battery"), "no secret is shown: {report}");
    let a = Keyway::start(&lab, End::A)?;
    a.configure(&text)?;
    let b = StrongSwan.start(&lab, End::B)?;
    let by_address = peer
        .text(&lab, End::B)
        .replace("a.example.org", "192.0.2.1")
        .replace("b.example.org", "198.51.100.1");
    b.configure(&by_address)?;
    let pair = Pair { a: Box::new(a), b, lab };
    pair.a.initiate(child)?.success()?;
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    traffic::cross((&a.host, a.host_address(Family::V4)), (&b.host, b.host_address(Family::V4)))?;
    pair.lab.dismantle();
    Ok(())
}
