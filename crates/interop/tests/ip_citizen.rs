//! What hosts behind the gateways see of the tunnel: segments that fit from the first packet on, and two hops.

use interop::Implementation::{Keyway, StrongSwan};
use interop::traffic::{Pace, Transfer};
use interop::{Capture, End, Failure, Family, Pair, Result, Site, Tunnel, Wire};

/// What gateway a's link to the wire takes, in octets of a packet.
const LINK: u16 = 1300;

/// IP, UDP and ESP's header, IV and ICV of AES-GCM take 60 octets of it; ESP is padded to 4, its trailer has 2.
const LONGEST_INNER: u16 = (LINK - 20 - 8 - 8 - 8 - 16) / 4 * 4 - 2;

/// Keyway alone clamps: strongSwan's data plane leaves alone what hosts announce. Connections of both families open both
/// ways, and each host hears of no more than what the path takes, from its end as from the other.
#[test]
fn connections_open_with_segments_that_fit_in_both_directions() -> Result<()> {
    let tunnel = Tunnel { inside: vec![Family::V4, Family::V6], ..Tunnel::default() };
    let tunnel = tunnel.connection_line("encap = yes");
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &tunnel)?;
    let (a, b) = (&pair.lab.a, &pair.lab.b);
    a.gateway.batch(&format!("link set out mtu {LINK}"))?;
    pair.initiate(End::A)?;

    let file = |end: End| pair.lab.directory().join(format!("host-{end}.pcapng"));
    let captures = [End::A, End::B].map(|end| Capture::at_host(&pair.lab, end, &file(end)));
    for family in [Family::V4, Family::V6] {
        for (from, to) in [(a, b), (b, a)] {
            Transfer::run(&from.host, &to.host, to.host_address(family), 10_000, Pace::Unlimited)?;
        }
    }
    for (capture, other) in captures.into_iter().zip([b, a]) {
        let recording = capture?.finish()?;
        for (family, headers) in [(Family::V4, 20 + 20), (Family::V6, 40 + 20)] {
            let field = if family == Family::V4 { "ip" } else { "ipv6" };
            let heard = format!("tcp.flags.syn == 1 && {field}.src == {}", other.host_address(family));
            let fits = format!("{heard} && tcp.options.mss_val == {}", LONGEST_INNER - headers);
            // One that opens a connection, and one that answers.
            assert_eq!((recording.count(&fits)?, recording.count(&heard)?), (2, 2), "{fits}");
        }
    }
    pair.lab.dismantle();
    Ok(())
}

/// The tunnel is one link between two routers: each takes one off the hop limit and tells whoever sends a packet that had
/// none left, and outer headers have their own.
#[test]
fn each_gateway_is_one_hop_and_tells_when_there_are_none_left() -> Result<()> {
    let tunnel = Tunnel { inside: vec![Family::V4, Family::V6], ..Tunnel::default() };
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &tunnel)?;
    pair.initiate(End::A)?;

    for family in [Family::V4, Family::V6] {
        for (from, to) in [(&pair.lab.a, &pair.lab.b), (&pair.lab.b, &pair.lab.a)] {
            for (hops, teller) in [(1, from), (2, to)] {
                let answer = ping(from, to, family, hops)?;
                let told = format!("From {} ", teller.gateway_inside(family));
                assert!(answer.contains(&told) && answer.contains("exceeded"), "{hops} hops: {answer}");
            }
            let answer = ping(from, to, family, 3)?;
            assert!(answer.contains("1 received") && answer.contains("ttl=62"), "{answer}");
        }
    }
    pair.lab.dismantle();
    Ok(())
}

fn ping(from: &Site, to: &Site, family: Family, hops: u8) -> Result<String> {
    let mut command = from.host.command("ping");
    command.args(["-n", "-c", "1", "-W", "5", "-t", &hops.to_string()]);
    let output = command.arg(to.host_address(family).to_string()).output().map_err(Failure::at("ping"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
