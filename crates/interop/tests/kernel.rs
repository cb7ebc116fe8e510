//! The guest itself, proved with Linux alone: if this fails, no result against its kernel counts.

use interop::traffic::Ping;
use interop::{End, Family, Guest, Lab, Result, Wire};

#[test]
fn guest_is_a_gateway() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let guest = Guest::start(&lab, End::B)?;
    println!("the guest's kernel is Linux {}", guest.release());

    assert_eq!(guest.run("uname -r")?.trim(), guest.release());
    let answer = guest.answer("echo out; echo err >&2; exit 7")?;
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str(), answer.code), ("out\n", "err\n", Some(7)));
    for family in [Family::V4, Family::V6] {
        let from_wire = Ping::run(&lab.a.gateway, lab.b.outside(family), 3, 50)?;
        let from_host = Ping::run(&lab.b.host, lab.b.gateway_inside(family), 3, 50)?;
        let from_guest = guest.ping(None, lab.a.outside(family), 3, 50)?;
        assert_eq!((from_wire.received, from_host.received, from_guest), (3, 3, 3), "{family:?}");
    }
    drop(guest);
    let left = lab.wire.run("ip", &["netns", "pids", lab.b.gateway.name()])?;
    assert_eq!(left, "", "processes of the guest are left");
    lab.dismantle();
    Ok(())
}

#[test]
fn guest_writes_nowhere_but_where_it_may() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let guest = Guest::start(&lab, End::B)?;
    let place = lab.directory().join("written");

    let answer = guest.answer(&format!("touch {}", place.display()))?;

    assert_ne!(answer.code, Some(0));
    assert!(!place.exists());
    lab.dismantle();
    Ok(())
}

/// ESP in tunnel mode between two namespaces of the guest, and AH in transport mode.
const LEFT_AND_RIGHT: &str = "set -e
for here in left right; do
    ip netns add $here
    ip -n $here link set lo up
    ip netns exec $here sysctl -qw net.ipv4.ping_group_range='0 0'
done
ip -n left link add wire type veth peer name wire netns right
ip -n left addr add 203.0.113.1/24 dev wire
ip -n right addr add 203.0.113.2/24 dev wire
ip -n left addr add 10.8.0.1/32 dev lo
ip -n right addr add 10.9.0.1/32 dev lo
for here in left right; do ip -n $here link set wire up; done
ip -n left route add 10.9.0.1 via 203.0.113.2 src 10.8.0.1
ip -n right route add 10.8.0.1 via 203.0.113.1 src 10.9.0.1
for here in left right; do
    ip -n $here xfrm state add src 203.0.113.1 dst 203.0.113.2 proto esp spi 0x1001 reqid 1 mode tunnel \\
        aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128
    ip -n $here xfrm state add src 203.0.113.2 dst 203.0.113.1 proto esp spi 0x1002 reqid 1 mode tunnel \\
        aead 'rfc4106(gcm(aes))' 0x202122232425262728292a2b2c2d2e2f30313233 128
    ip -n $here xfrm state add src 203.0.113.1 dst 203.0.113.2 proto ah spi 0x1003 reqid 2 mode transport \\
        auth-trunc 'hmac(sha256)' 0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 128
    ip -n $here xfrm state add src 203.0.113.2 dst 203.0.113.1 proto ah spi 0x1004 reqid 2 mode transport \\
        auth-trunc 'hmac(sha256)' 0x202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f 128
done
policies() {
    ip -n $1 xfrm policy add src $3/32 dst $5/32 dir out tmpl src $2 dst $4 proto esp reqid 1 mode tunnel
    ip -n $1 xfrm policy add src $5/32 dst $3/32 dir in tmpl src $4 dst $2 proto esp reqid 1 mode tunnel
    ip -n $1 xfrm policy add src $2/32 dst $4/32 proto icmp dir out tmpl proto ah reqid 2 mode transport
    ip -n $1 xfrm policy add src $4/32 dst $2/32 proto icmp dir in tmpl proto ah reqid 2 mode transport
}
policies left 203.0.113.1 10.8.0.1 203.0.113.2 10.9.0.1
policies right 203.0.113.2 10.9.0.1 203.0.113.1 10.8.0.1
";

#[test]
fn guest_seals_and_opens_for_itself() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let guest = Guest::start(&lab, End::B)?;
    guest.run(LEFT_AND_RIGHT)?;

    let through_esp = guest.ping(Some("left"), [10, 9, 0, 1].into(), 10, 100)?;
    let through_ah = guest.ping(Some("left"), [203, 0, 113, 2].into(), 20, 100)?;

    assert_eq!((through_esp, through_ah), (10, 20));
    let states = guest.run("ip -n right -s xfrm state")?;
    let counts = |text: &str| states.matches(text).count();
    assert_eq!((counts("840(bytes), 10(packets)"), counts("(bytes), 20(packets)")), (2, 2), "{states}");
    lab.dismantle();
    Ok(())
}
