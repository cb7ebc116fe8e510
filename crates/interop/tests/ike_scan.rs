//! ike-scan, which knows the responders of IKEv1 by what they answer, looks at ours.

use interop::{End, Family, Gateway, Keyway, Lab, Result, Tunnel, Wire};

/// An offer in the numbers of RFC 2409 appendix A: AES-CBC with 256 bits, SHA-256, a pre-shared key and MODP-2048.
const SOUND: &str = "--trans=(1=7,14=256,2=4,3=1,4=14)";
/// The same with DES, MD5 and MODP-768.
const UNSOUND: &str = "--trans=(1=1,2=1,3=1,4=1)";
const AGGRESSIVE: [&str; 4] = ["--aggressive", "--dhgroup=14", "--idtype=2", "--id=b.example.org"];

/// Keyway at a, with nothing but one connection of IKEv1.
fn responder(lab: &Lab, lines: &[&str]) -> Result<Keyway> {
    let keyway = Keyway::start(lab, End::A)?;
    let mut tunnel =
        Tunnel { version: 1, ..Tunnel::default() }.suite("aes256-sha256-modp2048", "aes128gcm16");
    for line in lines {
        tunnel = tunnel.connection_line(line);
    }
    keyway.configure(&tunnel.text(lab, End::A))?;
    Ok(keyway)
}

/// Scans it from the other gateway, and gives what ike-scan has to say.
fn scan(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let target = lab.a.outside(Family::V4).to_string();
    let usual = ["--sport=0", "--retry=2", "--timeout=1000", "--multiline"];
    lab.b.gateway.run("ike-scan", &[&usual, arguments, &[&target]].concat())
}

fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in:\n{said}");
    }
}

#[test]
fn ikescan_knows_our_main_mode_and_our_vendor_ids() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keyway = responder(&lab, &[])?;

    let said = scan(&lab, &[SOUND])?;

    says(&said, &["Main Mode Handshake returned", "1 returned handshake; 0 returned notify"]);
    says(&said, &["SA=(Enc=AES KeyLength=256 Hash=SHA2-256 Auth=PSK Group=14:modp2048"]);
    says(
        &said,
        &["(RFC 3947 NAT-T)", "(draft-ietf-ipsec-nat-t-ike-03)", "(draft-ietf-ipsec-nat-t-ike-02\\n)"],
    );
    says(&said, &["(Dead Peer Detection v1.0)", "(IKE Fragmentation)"]);
    drop(keyway);
    lab.dismantle();
    Ok(())
}

#[test]
fn ikescan_gets_aggressive_mode_only_where_a_connection_wants_it() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keyway = responder(&lab, &[])?;
    says(&scan(&lab, &[&AGGRESSIVE[..], &[SOUND]].concat())?, &["0 returned handshake"]);
    drop(keyway);

    let keyway = responder(&lab, &["aggressive = yes", "allow_weak = yes"])?;
    let said = scan(&lab, &[&AGGRESSIVE[..], &[SOUND]].concat())?;

    says(&said, &["Aggressive Mode Handshake returned", "1 returned handshake; 0 returned notify"]);
    says(&said, &["KeyExchange(256 bytes)", "Nonce(", "Hash(32 bytes)"]);
    says(&said, &["ID(Type=ID_FQDN, Value=a.example.org)", "(RFC 3947 NAT-T)", "(Dead Peer Detection v1.0)"]);
    drop(keyway);
    lab.dismantle();
    Ok(())
}

#[test]
fn ikescan_is_refused_what_no_connection_takes() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let keyway = responder(&lab, &[])?;

    let said = scan(&lab, &[UNSOUND])?;

    says(&said, &["Notify message 14 (NO-PROPOSAL-CHOSEN)", "0 returned handshake; 1 returned notify"]);
    drop(keyway);
    lab.dismantle();
    Ok(())
}
