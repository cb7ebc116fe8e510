//! A gateway sends its client to another one (RFC 5685): at once, by identity, and at any time; whoever plays which part.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, CONNECTION, End, Gateway, Lab, Pair, Result, Tunnel, Wire, within};

const PATIENCE: Duration = Duration::from_secs(30);
/// Where the gateway is called first, and where it serves whom it sent there.
const FIRST: &str = "198.51.100.1";
const SECOND: &str = "198.51.100.2";

fn with_two_addresses(client: Implementation, gateway: Implementation) -> Result<Pair> {
    let lab = Lab::new(Wire::Plain)?;
    lab.b.gateway.batch(&format!("addr add {SECOND}/24 dev out"))?;
    let (a, b) = (client.start(&lab, End::A)?, gateway.start(&lab, End::B)?);
    Ok(Pair { a, b, lab })
}

/// Waits until the client has its child with the second address, and no other IKE SA.
fn arrives(client: &dyn Gateway) -> Result<()> {
    within(PATIENCE, "the client to be at the second address", || {
        let sas = client.sas().ok()?;
        let [sa] = sas.as_slice() else { return None };
        let is_there = sa.field("remote-host") == SECOND && sa.is_established();
        (is_there && sa.children.iter().any(interop::ChildSa::is_installed)).then_some(())
    })
}

/// Gives what the gateway does at its second address, and lines for the first, and what else it may know.
fn gateway_text(lab: &Lab, first_lines: &[&str], other: &str) -> String {
    let plain = Tunnel::default().text(lab, End::B);
    let redirecting = first_lines.iter().fold(Tunnel::default(), |tunnel, line| tunnel.connection_line(line));
    let redirecting = redirecting.text(lab, End::B);
    let (redirecting, rest) = redirecting.split_once("}\nsecrets").expect("the laboratory's own text");
    let (serving, _) = plain.split_once("}\nsecrets").expect("the laboratory's own text");
    let serving = serving.trim_start_matches("connections {\n").replace("   site {", "   second {");
    let serving = serving.replace(&format!("local_addrs = {FIRST}"), &format!("local_addrs = {SECOND}"));
    format!("{redirecting}{serving}{other}}}\nsecrets{rest}")
}

/// Keyway sends strongSwan, and itself, elsewhere: before it knows who it is, and after.
fn is_sent_on(client: Implementation) -> Result<()> {
    let pair = with_two_addresses(client, Keyway)?;
    pair.a.configure(&Tunnel::default().text(&pair.lab, End::A))?;
    let redirects = format!("redirect_to = {SECOND}");
    // Whoever else might call there is served there, so that it takes IKE_AUTH to tell.
    let other = format!(
        "   other {{
      local_addrs = {FIRST}
      local {{
         auth = psk
         id = b.example.org
      }}
      remote {{
         auth = psk
         id = other.example.org
      }}
   }}\n"
    );
    // strongSwan 5.9.8 ends with a double free when it is sent on by IKE_AUTH.
    let rows: &[&str] = if client == StrongSwan { &[""] } else { &["", &other] };
    for other in rows {
        pair.b.configure(&gateway_text(&pair.lab, &[&redirects], other))?;
        // A client may say of its first attempt that it failed.
        let _ = pair.initiate(End::A);
        arrives(&*pair.a)?;
        pair.carry(&Tunnel::default())?;
        pair.a.terminate(CONNECTION)?;
        pair.empty()?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn strongswan_is_sent_on_by_keyway() -> Result<()> {
    is_sent_on(StrongSwan)
}

#[test]
fn keyway_is_sent_on_by_keyway() -> Result<()> {
    is_sent_on(Keyway)
}

/// The gateway sends a client away that it has.
fn is_sent_away(client: Implementation, gateway: Implementation) -> Result<()> {
    let pair = with_two_addresses(client, gateway)?;
    pair.a.configure(&Tunnel::default().text(&pair.lab, End::A))?;
    pair.b.configure(&gateway_text(&pair.lab, &[], ""))?;
    pair.initiate(End::A)?;
    pair.settled()?;
    pair.b.swanctl().run(&["--redirect", "--ike", CONNECTION, "--gateway", SECOND])?;
    arrives(&*pair.a)?;
    pair.settled()?;
    pair.carry(&Tunnel::default())?;
    assert!(pair.a.sas()?.iter().flat_map(|sa| &sa.children).all(|child| child.field("name") == CHILD));
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_is_sent_away_by_strongswan() -> Result<()> {
    is_sent_away(Keyway, StrongSwan)
}

#[test]
fn strongswan_is_sent_away_by_keyway() -> Result<()> {
    is_sent_away(StrongSwan, Keyway)
}
