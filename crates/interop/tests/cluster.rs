//! A member of a cluster takes an IKE SA over (RFC 6311): Keyway asks as that member, strongSwan and Keyway answer as its peer.
//! strongSwan knows message ids this way, as the IKE SA's initiator, and no sequence numbers.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan, StrongSwan6};
use interop::{End, Failure, Lab, Pair, Result, Tunnel, Wire};
use vici::{Client, Tree};

const PATIENCE: Duration = Duration::from_secs(60);

/// The peer makes the IKE SA with a Keyway that acts as a member which has just taken over, twice; both ends go on.
fn goes_on(peer: Implementation) -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let member = interop::Keyway::start(&lab, End::B)?;
    let mut client = Client::connect(member.socket())?;
    client.set_timeout(Some(PATIENCE))?;
    // With AES-GCM strongSwan counts its IVs by message ids, and then cannot send a request 0 after it has answered one: "no IV".
    let tunnel = Tunnel::default().suite("aes128-sha256-x25519", "aes128gcm16");
    let pair = Pair { a: peer.start(&lab, End::A)?, b: Box::new(member), lab };
    pair.configure(&tunnel)?;
    pair.initiate(End::A)?;
    pair.settled()?;
    for _ in 0..2 {
        // INFORMATIONAL 0 { N(IKEV2_MESSAGE_ID_SYNC), N(IPSEC_REPLAY_COUNTER_SYNC) } -->
        let done = synchronize(&mut client, 300)?;
        assert_eq!((done.text("success"), done.text("synchronized")), (Some("yes"), Some("1")), "{done:?}");
        pair.carry(&tunnel)?;
        for end in [End::A, End::B] {
            pair.rekey_child(end)?;
            pair.rekey_ike(end)?;
            // The message ids of the new IKE SA begin at 0, and are agreed on anew.
            let done = synchronize(&mut client, 1)?;
            assert_eq!(done.text("success"), Some("yes"), "{done:?}");
            pair.rekey_child(end)?;
        }
        pair.carry(&tunnel)?;
    }
    if peer != Keyway {
        assert!(pair.a.log().contains("parsed INFORMATIONAL request 0 [ N("), "{}", pair.a.log());
    }
    pair.terminate(End::A)?;
    pair.empty()?;
    pair.lab.dismantle();
    Ok(())
}

fn synchronize(client: &mut Client, missed: u64) -> Result<Tree> {
    let arguments = Tree::new()
        .with_value("ike", interop::CONNECTION)
        .with_value("missed-inbound", missed.to_string())
        .with_value("missed-outbound", missed.to_string());
    client.request("synchronize-counters", &arguments).map_err(Failure::at("synchronize-counters"))
}

#[test]
fn strongswan_goes_on_with_a_member_that_takes_over() -> Result<()> {
    goes_on(StrongSwan)
}

#[test]
fn strongswan6_goes_on_with_a_member_that_takes_over() -> Result<()> {
    goes_on(StrongSwan6)
}

#[test]
fn keyway_goes_on_with_a_member_that_takes_over() -> Result<()> {
    goes_on(Keyway)
}

/// strongSwan says as an initiator that it knows of clusters, and as a responder does not.
#[test]
fn a_peer_that_does_not_know_of_clusters_is_named() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let member = interop::Keyway::start(&lab, End::B)?;
    let mut client = Client::connect(member.socket())?;
    client.set_timeout(Some(PATIENCE))?;
    let pair = Pair { a: StrongSwan.start(&lab, End::A)?, b: Box::new(member), lab };
    pair.configure(&Tunnel::default())?;
    pair.initiate(End::B)?;
    pair.settled()?;
    let done = synchronize(&mut client, 0)?;
    let sentence = "the peer a.example.org does not synchronize counters with clusters (RFC 6311)";
    assert_eq!(done.text("success"), Some("no"), "{done:?}");
    assert!(done.text("errmsg").is_some_and(|said| said.contains(sentence)), "{done:?}");
    pair.carry(&Tunnel::default())?;
    pair.lab.dismantle();
    Ok(())
}
