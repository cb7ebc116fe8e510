//! Both ends prove anew who they are (RFC 4478), Keyway with strongSwan: by command under traffic, and because either end as
//! the gateway wants it so.

use std::time::Duration;

use interop::Implementation::{Keyway, StrongSwan};
use interop::traffic::Ping;
use interop::{CONNECTION, End, Family, Pair, Result, Tunnel, Wire, within};

const PATIENCE: Duration = Duration::from_secs(40);

/// Gives the SPI by which the IKE SA of an end is known.
fn spi(pair: &Pair, end: End) -> Option<String> {
    pair.gateway(end).sas().ok()?.first()?.fields.get("initiator-spi").cloned()
}

/// Waits until both ends have only an IKE SA that is not this one, with its child.
fn is_made_anew(pair: &Pair, before: Option<String>) -> Result<()> {
    within(PATIENCE, "another IKE SA to take the place of the first", || {
        let now = spi(pair, End::A);
        (now.is_some() && now != before && now == spi(pair, End::B)).then_some(())
    })?;
    pair.settled()?;
    pair.carry(&Tunnel::default())
}

#[test]
fn keyway_proves_anew_under_traffic_and_loses_nothing() -> Result<()> {
    const PER_SECOND: u32 = 200;
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &Tunnel::default())?;
    pair.initiate(End::A)?;
    pair.settled()?;
    let before = spi(&pair, End::A);
    let address = pair.lab.b.host_address(Family::V4);
    let ping = Ping::start(&pair.lab.a.host, address, PER_SECOND * 6, PER_SECOND)?;
    pair.a.swanctl().run(&["--rekey", "--ike", CONNECTION, "--reauth"])?;
    let ping = ping.finish()?;
    assert_eq!((ping.sent, ping.received), (PER_SECOND * 6, PER_SECOND * 6));
    is_made_anew(&pair, before)?;
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn the_one_that_answers_has_the_other_prove_anew() -> Result<()> {
    let soon = ["reauth_time = 10s", "rand_time = 0s", "over_time = 30s"];
    let gateway = soon.iter().fold(Tunnel::default(), |tunnel, line| tunnel.connection_line(line));
    // strongSwan takes its own over_time off what it is told.
    let client_lines = ["rand_time = 0s", "over_time = 2s"];
    let obedient = client_lines.iter().fold(Tunnel::default(), |tunnel, line| tunnel.connection_line(line));
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &Tunnel::default())?;
    for (client, server) in [(End::A, End::B), (End::B, End::A)] {
        pair.gateway(client).configure(&obedient.text(&pair.lab, client))?;
        pair.gateway(server).configure(&gateway.text(&pair.lab, server))?;
        pair.initiate(client)?;
        pair.settled()?;
        let before = spi(&pair, client);
        is_made_anew(&pair, before)?;
        pair.terminate(client)?;
    }
    pair.lab.dismantle();
    Ok(())
}
