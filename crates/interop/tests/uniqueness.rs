//! Two clients with the same identity, as behind one NAT or by mistake: what `unique` makes of the older one, whoever serves.
//!
//! In version 1 Keyway takes a second one from the same address for the first one that authenticates anew, and has it take over the
//! Child SAs; with `unique = never`, behind a NAT, only one from the same port, too (`shared_nat`).

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, End, Lab, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of the second client, and how many the server has then. Whoever serves takes a second one from the same address
/// for the first one that authenticates anew, which `keep` does not keep out.
const ROWS: [(&str, bool, usize); 4] =
    [("never", true, 2), ("no", true, 2), ("replace", true, 1), ("keep", true, 2)];

/// A client that never says that this is its first contact has two connections with one pair of identities.
fn second_of_an_identity(version: u8, client: Implementation, server: Implementation) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let (client, server) = (client.start(&lab, End::A)?, server.start(&lab, End::B)?);
    let tunnel = Tunnel { version, ..Tunnel::default() };
    let tunnel = if version == 1 { tunnel.suite("aes128-sha256-modp2048", "aes128-sha256") } else { tunnel };
    client.configure(&twice(&tunnel.clone().connection_line("unique = never").text(&lab, End::A)))?;
    for (policy, comes_up, remain) in ROWS {
        let line = format!("unique = {policy}");
        server.configure(&tunnel.clone().connection_line(&line).text(&lab, End::B))?;
        client.initiate(CHILD)?.success()?;
        let second = client.initiate("second")?;
        let context = format!("unique = {policy}: {second:?}");
        assert_eq!(second.success().is_ok(), comes_up, "{context}");
        let has = |count| {
            server.sas().is_ok_and(|sas| sas.iter().filter(|sa| sa.is_established()).count() == count)
        };
        until(PATIENCE, &format!("the server to have {remain} IKE SAs; {context}"), || has(remain))?;
        for connection in ["site", "site2"] {
            // The one that was replaced is gone already.
            let _ = client.terminate(connection);
        }
        until(PATIENCE, "the server to have no IKE SA", || has(0))?;
    }
    lab.dismantle();
    Ok(())
}

/// Gives the same connection once more, by another name, for half of the traffic.
fn twice(text: &str) -> String {
    let (connection, rest) = text.split_once("}\nsecrets").unwrap_or((text, ""));
    let body = connection.trim_start_matches("connections {\n");
    // strongSwan has one IKE SA for connections that differ in nothing but their children.
    let second = body.replace("   site {", "   site2 {\n      rekey_time = 5h");
    let second = second.replace("         net {", "         second {");
    let second = second.replace("local_ts = 10.1.0.0/24", "local_ts = 10.1.0.0/25");
    format!("connections {{\n{body}{second}}}\nsecrets{rest}")
}

#[test]
fn second_of_an_identity_strongswan_to_keyway() -> Result<()> {
    second_of_an_identity(2, StrongSwan, Keyway)
}

#[test]
fn second_of_an_identity_keyway_to_strongswan() -> Result<()> {
    second_of_an_identity(2, Keyway, StrongSwan)
}

#[test]
fn second_of_an_identity_version_1_keyway_to_strongswan() -> Result<()> {
    second_of_an_identity(1, Keyway, StrongSwan)
}
