//! Nothing that a policy protects passes in the clear, whatever becomes of the plane, until somebody wants it to.
//!
//! Only A has a plane here: whatever arrives at B, or from B, was not protected. Both have plain routes to each other's
//! networks, so that nothing but blocks stands in the way.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::PlaneEvent;
use sa::{PolicyAction, PolicyId, SaOp};

use crate::laboratory::*;

const OUTER: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// Packets of a protected selector: made at A and at B, of both families.
const PROTECTED: [[(End, &str); 2]; 4] = [
    [(End::A, "10.1.0.1"), (End::B, "10.2.0.1")],
    [(End::A, "fd00:1::1"), (End::B, "fd00:2::1")],
    [(End::B, "10.2.0.1"), (End::A, "10.1.0.1")],
    [(End::B, "fd00:2::1"), (End::A, "fd00:1::1")],
];

/// The same, forwarded by A for C.
const FORWARDED: [[(End, &str); 2]; 4] = [
    [(End::C, "10.1.5.2"), (End::B, "10.2.0.1")],
    [(End::C, "fd00:1::5:2"), (End::B, "fd00:2::1")],
    [(End::B, "10.2.0.1"), (End::C, "10.1.5.2")],
    [(End::B, "fd00:2::1"), (End::C, "fd00:1::5:2")],
];

/// Packets of no policy's.
const OTHERS: [[(End, &str); 2]; 3] = [
    [(End::A, "192.0.2.1"), (End::B, "192.0.2.2")],
    [(End::B, "192.0.2.2"), (End::A, "10.1.0.1")],
    [(End::A, "2001:db8::1"), (End::B, "2001:db8::2")],
];

fn lab() -> Lab {
    let lab = Lab::new();
    lab.join_third("10.1.5");
    for (end, route) in [
        (End::A, "route add 10.2.0.0/16 via 192.0.2.2"),
        (End::A, "route add fd00:2::/64 via 2001:db8::2"),
        (End::A, "addr add fd00:1::5:1/112 dev inner nodad"),
        (End::B, "route add 10.1.0.0/16 via 192.0.2.1"),
        (End::B, "route add fd00:1::/64 via 2001:db8::1"),
        (End::C, "addr add fd00:1::5:2/112 dev inner nodad"),
        (End::C, "route add default via 10.1.5.1"),
        (End::C, "route add default via fd00:1::5:1"),
    ] {
        lab.ip(end, route);
    }
    run(lab.command(End::A, "sysctl").args(["-qw", "net.ipv6.conf.all.forwarding=1"]));
    lab.assert_open(&PROTECTED);
    lab.assert_open(&FORWARDED);
    lab
}

impl Lab {
    fn assert_open(&self, flows: &[[(End, &str); 2]]) {
        for flow in flows {
            let started = Instant::now();
            // A neighbour that is not found at once is asked for again after a second.
            while !self.reaches(*flow) {
                assert!(started.elapsed() < PATIENCE, "{} to {}", flow[0].1, flow[1].1);
            }
        }
    }

    fn assert_blocked(&self, flows: &[[(End, &str); 2]]) {
        for flow in flows {
            assert!(!self.reaches(*flow), "{} to {}", flow[0].1, flow[1].1);
        }
    }
}

#[test]
fn what_a_policy_protects_neither_leaves_nor_arrives_in_the_clear() {
    let lab = lab();
    let mut a = lab.gateway(End::A, "udp", OUTER, SITES, &[]);
    lab.assert_blocked(&PROTECTED);
    lab.assert_blocked(&FORWARDED);
    lab.assert_open(&OTHERS);
    // Somebody else's hand in our routing.
    lab.ip(End::A, "rule del priority 4500");
    lab.ip(End::A, "-6 rule del priority 4500");
    lab.assert_blocked(&PROTECTED);
    lab.assert_blocked(&FORWARDED);
    a.stop();
    lab.assert_open(&PROTECTED);
    lab.assert_open(&FORWARDED);
}

#[test]
fn blocks_outlast_a_crash_and_an_end_until_somebody_takes_them_away() {
    let lab = lab();
    for crash in [true, false] {
        let mut a = lab.gateway(End::A, "udp", OUTER, SITES, &[]);
        if crash {
            a.kill();
        } else {
            a.end();
        }
        lab.assert_blocked(&PROTECTED);
        lab.assert_blocked(&FORWARDED);
        lab.assert_open(&OTHERS);
        let left = lab.inside(End::A, |lab| dataplane::blocks(&lab.journal(End::A))).expect("root may");
        // From elsewhere nobody can look, nor reach.
        let written = std::fs::read(lab.journal(End::A)).expect("it is there");
        let told = dataplane::blocks(&lab.journal(End::A)).expect("root may");
        assert_eq!(told.blocks, left.blocks);
        let refused = dataplane::unblock(&lab.journal(End::A)).expect_err("it is another namespace");
        assert!(refused.to_string().contains("another network namespace"), "{refused}");
        assert_eq!(std::fs::read(lab.journal(End::A)).expect("it is there"), written);
        let [block] = left.blocks.as_slice() else { panic!("{left:?}") };
        let selectors: Vec<String> = block.selectors.iter().map(ToString::to_string).collect();
        assert_eq!(selectors, ["10.1.0.0/16 <-> 10.2.0.0/16", "fd00:1::/64 <-> fd00:2::/64"]);
        assert_eq!((block.action, block.policy), (PolicyAction::Protect, None));
        assert_eq!(lab.rules(End::A), 0);
        let lifted = lab.inside(End::A, |lab| dataplane::unblock(&lab.journal(End::A))).expect("root may");
        assert_eq!(lifted, left);
        assert!(!lab.journal(End::A).exists());
        lab.assert_open(&PROTECTED);
        lab.assert_open(&FORWARDED);
    }
}

/// Packets are sent all the while; none arrives.
#[test]
fn a_start_takes_over_what_a_crash_left_without_a_moment_in_between() {
    let lab = lab();
    let a = lab.gateway(End::A, "udp", OUTER, SITES, &[]);
    a.kill();
    let receiver = lab.inside(End::B, |_| UdpSocket::bind("10.2.0.1:7")).expect("a free port");
    let sender = lab.inside(End::A, |_| UdpSocket::bind("10.1.0.1:7")).expect("a free port");
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                // A block may be told to the sender.
                let _ = sender.send_to(b"in the clear", "10.2.0.1:7");
                sent += 1;
                thread::sleep(Duration::from_micros(100));
            }
            sent
        });
        for _ in 0..3 {
            lab.gateway(End::A, "udp", OUTER, SITES, &["trap"]).kill();
        }
        over.store(true, Ordering::Relaxed);
        sending.join().expect("no panic")
    });
    assert!(sent > 100, "{sent} sent");
    receiver.set_nonblocking(true).expect("a socket");
    assert!(receiver.recv(&mut [0; 32]).is_err(), "{sent} sent");
}

#[test]
fn a_policy_takes_over_what_it_covers_and_the_rest_stays_left() {
    let lab = lab();
    let (plane, _) = lab.plane(End::A);
    let wide = policy(1, PolicyAction::Trap, &[("10.1.0.0/16", "10.2.0.0/16")]);
    let narrow = policy(2, PolicyAction::Protect, &[("10.1.0.0/24", "10.2.0.0/24")]);
    let other = policy(3, PolicyAction::Protect, &[("fd00:1::/64", "fd00:2::/64")]);
    let exception = policy(0, PolicyAction::Bypass, &[("10.1.0.0/16", "10.2.0.0/16[udp/7]")]);
    for spec in [&wide, &narrow, &other] {
        plane.apply(SaOp::InstallPolicy(spec.clone()));
    }
    plane.wind_down();
    plane.apply(SaOp::RemovePolicy(PolicyId(1)));
    plane.stop();
    let (plane, _) = lab.plane(End::A);
    let priorities = |left: bool| -> Vec<u32> {
        let blocks = plane.blocks().blocks;
        blocks.iter().filter(|block| block.policy.is_none() == left).map(|block| block.priority).collect()
    };
    assert_eq!((priorities(true), priorities(false)), (vec![1, 2, 3], vec![]));
    lab.assert_blocked(&PROTECTED);
    plane.apply(SaOp::InstallPolicy(wide));
    assert_eq!((priorities(true), priorities(false)), (vec![3], vec![1]));
    plane.apply(SaOp::InstallPolicy(exception));
    lab.assert_open(&PROTECTED[2..3]);
    lab.assert_blocked(&PROTECTED[3..]);
    plane.apply(SaOp::RemovePolicy(PolicyId(1)));
    lab.assert_open(&PROTECTED[..1]);
    lab.assert_blocked(&PROTECTED[1..2]);
    plane.unblock().expect("root may");
    assert_eq!((priorities(true), priorities(false)), (vec![], vec![0]));
    lab.assert_open(&PROTECTED);
    plane.stop();
    assert!(!lab.journal(End::A).exists(), "nothing is blocked, so nothing is left");
}

#[test]
fn another_hand_in_what_is_ours_is_noticed_and_blocks_hold_meanwhile() {
    let lab = lab();
    let (plane, heard) = lab.plane(End::A);
    let sites = [("10.1.0.0/16", "10.2.0.0/16"), ("fd00:1::/64", "fd00:2::/64")];
    plane.apply(SaOp::InstallPolicy(policy(1, PolicyAction::Protect, &sites)));
    let routes = lab.routes(End::A);
    for (deed, told) in [
        ("rule del priority 4500", "somebody took our routing rule 4500 of IPv4 away; that has been undone"),
        (
            "-6 rule del priority 4500",
            "somebody took our routing rule 4500 of IPv6 away; that has been undone",
        ),
        ("link set keyway0 down", "somebody switched our TUN device off; that has been undone"),
    ] {
        lab.ip(End::A, deed);
        lab.assert_blocked(&PROTECTED);
        let event = heard.recv_timeout(PATIENCE).expect("it is noticed");
        assert_eq!(event, PlaneEvent::HostFault(told.to_owned()));
        assert_eq!(lab.rules(End::A), 2);
        within_patience("the routes are back", || lab.routes(End::A) == routes);
    }
    // A table with an owner is out of reach; before Linux 6.9 it is laid out again.
    run(lab.command(End::A, "nft").args(["flush", "ruleset"]));
    within_patience("blocks stand", || PROTECTED.iter().all(|flow| !lab.reaches(*flow)));
}

/// Neighbour discovery is of the protected selector, too, and must not be caught: nor must IKE and ESP.
#[test]
fn hosts_find_each_other_though_all_that_they_say_is_protected() {
    for outer in [OUTER, ["2001:db8::1", "2001:db8::2"]] {
        let lab = Lab::new();
        let _a = lab.gateway(End::A, "udp", outer, outer, &[]);
        let _b = lab.gateway(End::B, "udp", outer, outer, &[]);
        for end in [End::A, End::B] {
            lab.ip(end, "neigh flush dev outer");
        }
        assert_success(&lab.ping(End::A, outer[1], 3));
        assert_success(&lab.ping(End::B, outer[0], 3));
    }
}

#[test]
fn what_is_refused_is_counted() {
    let lab = lab();
    let (plane, _) = lab.plane(End::A);
    plane.apply(SaOp::InstallPolicy(policy(1, PolicyAction::Protect, &[("10.1.0.0/16", "10.2.0.0/16")])));
    assert_eq!(plane.blocks().refused, Some(0));
    lab.assert_blocked(&PROTECTED[2..3]);
    assert_eq!(plane.blocks().refused, Some(1));
}

#[test]
fn a_table_that_no_journal_tells_of_is_not_touched() {
    let lab = lab();
    run(lab.command(End::A, "nft").args(["add", "table", "inet", "keyway0"]));
    let output = lab.failing_start(End::A);
    assert!(output.contains("`nft delete table inet keyway0` removes it"), "{output}");
    assert!(!lab.journal(End::A).exists());
}
