//! Keyway with Libreswan inside a booted kernel, in both versions of IKE and both roles: suites, modes, NAT, rekeying of both
//! phases by either end, dead peers.

mod bench;

use bench::{Bench, Row};
use interop::{End, Failure, Family, Gateway, Result, Wire};

/// What IKEv1 is shown with, row by row from either end in turn.
const VERSION_1: [Row; 15] = [
    MAIN_MODE,
    Row { child: ["aes256gcm16-modp2048", "aes_gcm_c256;modp2048"], mode: "transport", ..MAIN_MODE },
    Row {
        ike: ["aes128-sha1-modp1536", "aes128-sha1;modp1536"],
        child: ["aes128-sha1-modp1536", "aes128-sha1;modp1536"],
        ..MAIN_MODE
    },
    Row {
        ike: ["3des-sha1-modp1536", "3des-sha1;modp1536"],
        child: ["3des-sha1", "3des-sha1"],
        mode: "transport",
        ..MAIN_MODE
    },
    Row {
        ike: ["3des-md5-modp2048", "3des-md5;modp2048"],
        child: ["aes256-md5-modp2048", "aes256-md5;modp2048"],
        ..MAIN_MODE
    },
    Row {
        ike: ["aes256-sha512-ecp384", "aes256-sha2_512;dh20"],
        child: ["aes192-sha384-modp3072", "aes192-sha2_384;modp3072"],
        outside: Family::V6,
        ..MAIN_MODE
    },
    Row {
        ike: ["aes192-sha384-modp4096", "aes192-sha2_384;modp4096"],
        child: ["aes256ctr-sha512", "aes_ctr256-sha2_512"],
        ..MAIN_MODE
    },
    Row { child: ["sha256-modp2048", "sha2_256;modp2048"], protocol: "ah", ..MAIN_MODE },
    Row {
        ike: ["aes128-sha256-ecp256", "aes128-sha2_256;dh19"],
        child: ["sha512", "sha2_512"],
        protocol: "ah",
        mode: "transport",
        outside: Family::V6,
        ..MAIN_MODE
    },
    Row { our_child_lines: &["ipcomp = yes"], their_lines: &["compress=yes"], ..MAIN_MODE },
    AGGRESSIVE_MODE,
    Row { ike: ["aes128-sha1-modp1536", "aes128-sha1;modp1536"], ..AGGRESSIVE_MODE },
    // Who has a user begins.
    Row { user: Some(End::A), ..MAIN_MODE },
    Row { user: Some(End::B), ..MAIN_MODE },
    Row { user: Some(End::A), ..AGGRESSIVE_MODE },
];

const MAIN_MODE: Row = Row {
    version: 1,
    outside: Family::V4,
    mode: "tunnel",
    ike: ["aes256-sha256-modp2048", "aes256-sha2_256;modp2048"],
    child: ["aes128-sha256", "aes128-sha2_256"],
    protocol: "esp",
    key: None,
    unproven: &[],
    user: None,
    our_lines: &[],
    our_child_lines: &[],
    their_lines: &[],
};

const AGGRESSIVE_MODE: Row =
    Row { our_lines: &["aggressive = yes"], their_lines: &["aggressive=yes"], ..MAIN_MODE };

/// And IKEv2.
const VERSION_2: [Row; 7] = [
    IKEV2,
    Row { child: ["aes128gcm16-x25519-esn", "aes_gcm_c128;dh31"], their_lines: &["esn=yes"], ..IKEV2 },
    Row {
        ike: ["chacha20poly1305-prfsha512-ecp521", "chacha20_poly1305-sha2_512;dh21"],
        child: ["chacha20poly1305", "chacha20_poly1305"],
        outside: Family::V6,
        ..IKEV2
    },
    Row {
        ike: ["aes256-sha512-modp3072", "aes256-sha2_512;modp3072"],
        child: ["aes256-sha512-modp3072", "aes256-sha2_512;modp3072"],
        mode: "transport",
        ..IKEV2
    },
    Row { ike: ["3des-sha1-modp1536", "3des-sha1;modp1536"], child: ["3des-sha1", "3des-sha1"], ..IKEV2 },
    Row { child: ["sha256-modp2048", "sha2_256;modp2048"], protocol: "ah", mode: "transport", ..IKEV2 },
    Row { our_child_lines: &["ipcomp = yes"], their_lines: &["compress=yes"], ..IKEV2 },
];

const IKEV2: Row = Row {
    version: 2,
    ike: ["aes256gcm16-prfsha256-x25519", "aes_gcm256-sha2_256;dh31"],
    child: ["aes256gcm16", "aes_gcm_c256"],
    ..MAIN_MODE
};

fn every_row(rows: &[Row]) -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    let mut failed = Vec::new();
    for (row, from) in rows.iter().zip([End::A, End::B].into_iter().cycle()) {
        let [ike, _] = row.ike;
        let [child, _] = row.child;
        let (mode, protocol, outside, lines) =
            (row.mode, row.protocol, row.outside, [row.our_lines, row.our_child_lines].concat().join(", "));
        let user = row.user.map(|end| format!("with a user of {end}'s ")).unwrap_or_default();
        let name =
            format!("{ike} / {mode} {protocol} {child} over {outside:?} {user}{lines}, {from} initiates");
        match carries(&bench, row, from) {
            Ok(()) => println!("ok      {name}"),
            Err(failure) => {
                println!("FAILED  {name}: {failure}");
                failed.push(name);
                // What is left of it must not fail the next one as well.
                let _ = bench.terminate(End::A);
            }
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n{}", failed.len(), failed.join("\n"));
    bench.dismantle();
    Ok(())
}

fn carries(bench: &Bench, row: &Row, from: End) -> Result<()> {
    bench.configure(row)?;
    bench.initiate(from)?;
    bench.carry(row)?;
    if row.their_lines.contains(&"compress=yes") {
        bench.linux_has("proto comp ")?;
    }
    // A pluto that has called calls again when it is told goodbye in version 1, whatever it is told not to revive.
    bench.terminate(if row.version == 1 { from } else { from.other() })
}

#[test]
fn libreswan_and_we_agree_on_every_suite_of_version_1() -> Result<()> {
    every_row(&VERSION_1)
}

#[test]
fn libreswan_and_we_agree_on_every_suite_of_version_2() -> Result<()> {
    every_row(&VERSION_2)
}

#[test]
fn libreswan_and_we_prove_ourselves_by_certificates() -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    let keys =
        [("rsa2048", End::A), ("rsa3072", End::B), ("p256", End::A), ("p384", End::B), ("p521", End::A)];
    for (key, from) in keys {
        bench.certify(key)?;
        carries(&bench, &Row { key: Some(key), ..IKEV2 }, from).map_err(Failure::at(key))?;
        println!("ok      {key}, {from} initiates");
        if key == "rsa2048" {
            with_rsa_in_version_1(&bench)?;
        }
    }
    bench.dismantle();
    Ok(())
}

/// RFC 7619: either end proves nothing, or both, and from either end.
#[test]
fn libreswan_and_we_take_ends_that_prove_nothing() -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    bench.certify("rsa2048")?;
    // Who proves nothing asks for no certificate there.
    let row = Row { mode: "transport", our_lines: &["send_cert = always"], ..IKEV2 };
    for unproven in [&[End::A] as &[End], &[End::B], &[End::A, End::B]] {
        let key = if unproven.len() == 1 { Some("rsa2048") } else { None };
        for from in [End::A, End::B] {
            let name = format!("{unproven:?} prove nothing, {from} initiates");
            carries(&bench, &Row { unproven, key, ..row.clone() }, from).map_err(Failure::at(&name))?;
            println!("ok      {name}");
        }
    }
    // It does not go where something is to be proven.
    bench.configure(&Row { unproven: &[End::A, End::B], ..row.clone() })?;
    bench.configure_ours(&row)?;
    let answer = bench.theirs.initiate()?;
    assert!(bench.ours.sas()?.is_empty(), "a peer that proves nothing is refused: {answer:?}");
    let log = bench.ours.log();
    assert!(log.contains("the peer does not say who it is (NULL authentication)"), "{log}");
    bench.dismantle();
    Ok(())
}

/// RSA is all that Libreswan knows of signatures in IKEv1.
fn with_rsa_in_version_1(bench: &Bench) -> Result<()> {
    for row in [MAIN_MODE, AGGRESSIVE_MODE] {
        for from in [End::A, End::B] {
            let name = format!("rsa2048 in version 1 {}, {from} initiates", row.our_lines.join(""));
            carries(bench, &Row { key: Some("rsa2048"), ..row }, from).map_err(Failure::at(&name))?;
            println!("ok      {name}");
        }
    }
    Ok(())
}

/// Either end renews the keys of both phases, with and without a key exchange for those of packets.
fn either_end_rekeys(wire: Wire, rows: &[Row]) -> Result<()> {
    let bench = Bench::new(wire)?;
    for row in rows {
        bench.configure(row)?;
        bench.initiate(End::A)?;
        bench.carry(row)?;
        for from in [End::A, End::B] {
            bench.rekey_child(row, from)?;
            bench.carry(row)?;
            // In version 1 only the clock has Libreswan renew the keys of IKE.
            if (row.version, from) != (1, End::B) {
                bench.rekey_ike(from)?;
                bench.carry(row)?;
            }
        }
        bench.terminate(End::B)?;
    }
    bench.dismantle();
    Ok(())
}

#[test]
fn libreswan_and_we_rekey_both_phases_of_version_1() -> Result<()> {
    either_end_rekeys(Wire::Plain, &[MAIN_MODE, Row { child: VERSION_1[1].child, ..MAIN_MODE }])
}

#[test]
fn libreswan_and_we_rekey_both_phases_of_version_1_through_nat() -> Result<()> {
    // In transport mode Libreswan does not tell which addresses its checksums cover.
    either_end_rekeys(Wire::Nat, &[MAIN_MODE, Row { mode: "transport", ..MAIN_MODE }])
}

#[test]
fn libreswan_and_we_rekey_both_sas_of_version_2() -> Result<()> {
    either_end_rekeys(Wire::Plain, &[IKEV2, Row { child: VERSION_2[1].child, ..IKEV2 }])
}

#[test]
fn libreswan_and_we_rekey_both_sas_of_version_2_through_nat() -> Result<()> {
    either_end_rekeys(Wire::Nat, &[IKEV2])
}

/// Libreswan's SAs expire fast, and it renews both kinds in time.
#[test]
fn libreswan_renews_what_expires_in_version_1() -> Result<()> {
    let bench = Bench::new(Wire::Plain)?;
    let row = Row {
        their_lines: &["salifetime=12s", "ikelifetime=20s", "rekeymargin=8s", "rekeyfuzz=0%"],
        ..MAIN_MODE
    };
    bench.configure(&row)?;
    let first = bench.initiate(End::B)?;
    let second = bench.new_child(&first)?;
    bench.carry(&row)?;
    bench.new_ike(&second)?;
    bench.carry(&row)?;
    bench.new_child(&bench.in_use()?)?;
    bench.carry(&row)?;
    bench.dismantle();
    Ok(())
}

/// Either end misses a peer that dies without a word, and is called anew.
fn each_other_is_missed(row: &Row) -> Result<()> {
    let mut bench = Bench::new(Wire::Plain)?;
    let row = Row {
        our_lines: &["dpd_delay = 1s", "dpd_timeout = 5s"],
        their_lines: &["dpddelay=1s", "dpdtimeout=5s", "dpdaction=clear", "retransmit-timeout=5s"],
        ..row.clone()
    };
    bench.configure(&row)?;
    bench.initiate(End::A)?;
    bench.theirs.kill();
    bench.we_have_nothing()?;
    bench.theirs.start_again()?;
    bench.configure(&row)?;
    bench.initiate(End::B)?;
    bench.carry(&row)?;

    bench.ours.kill();
    bench.they_have_nothing()?;
    bench.ours.start()?;
    bench.configure(&row)?;
    bench.initiate(End::A)?;
    bench.carry(&row)?;
    bench.dismantle();
    Ok(())
}

/// RFC 3706: dead peer detection.
#[test]
fn libreswan_and_we_miss_each_other_in_version_1() -> Result<()> {
    each_other_is_missed(&MAIN_MODE)
}

/// RFC 7296 §2.4: empty INFORMATIONAL requests.
#[test]
fn libreswan_and_we_miss_each_other_in_version_2() -> Result<()> {
    each_other_is_missed(&IKEV2)
}
