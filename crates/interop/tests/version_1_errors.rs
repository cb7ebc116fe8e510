//! What a person is told when IKEv1 does not come up: one plain sentence with both sides' values, at the end that asked and in
//! the log of the end that was asked.

use std::time::Duration;

use interop::Implementation::{self, Keyway, StrongSwan};
use interop::{CHILD, End, Failure, Pair, Result, Tunnel, Wire, until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of a tunnel that does not come up, and what is said of it.
struct Row {
    name: &'static str,
    a: Tunnel,
    b: Tunnel,
    /// What `keyway up` says at a, and a's log as well.
    asker: &'static [&'static str],
    /// What b's log says in one line; nothing where b has no part in the failure.
    asked: &'static [&'static str],
}

fn main_mode(ike: &str, esp: &str) -> Tunnel {
    Tunnel { version: 1, ..Tunnel::default() }.suite(ike, esp).connection_line("allow_weak = yes")
}

fn sound() -> Tunnel {
    main_mode("aes256-sha256-modp2048", "aes128gcm16")
}

fn aggressive(tunnel: Tunnel) -> Tunnel {
    tunnel.connection_line("aggressive = yes")
}

fn wrong_key(tunnel: Tunnel) -> Tunnel {
    Tunnel { secret: "incorrect horse".to_owned(), ..tunnel }
}

fn rows() -> Vec<Row> {
    let elsewhere = || Tunnel { remote_selectors: Some("10.77.0.0/16".to_owned()), ..sound() };
    vec![
        Row {
            name: "algorithms of phase 1",
            a: main_mode("3des-md5-modp1024", "aes128gcm16"),
            b: sound(),
            asker: &["main mode with NO-PROPOSAL-CHOSEN", "we offered 3des-md5-", "modp1024"],
            asked: &["phase 1: the peer offers 3des-md5-modp1024; we allow aes256-sha256-modp2048"],
        },
        Row {
            name: "algorithms of phase 1 in aggressive mode",
            a: aggressive(main_mode("3des-md5-modp1024", "aes128gcm16")),
            b: aggressive(sound()),
            asker: &["aggressive mode with NO-PROPOSAL-CHOSEN", "we offered 3des-md5-", "modp1024"],
            asked: &["phase 1: the peer offers 3des-md5-modp1024; we allow aes256-sha256-modp2048"],
        },
        Row {
            name: "the mode",
            a: aggressive(sound()),
            b: sound(),
            asker: &["aggressive mode with NO-PROPOSAL-CHOSEN"],
            asked: &["phase 1: the peer begins aggressive mode; connection site allows main mode only"],
        },
        Row {
            name: "pre-shared keys",
            a: wrong_key(sound()),
            b: sound(),
            asker: &["pre-shared keys or identities differ"],
            asked: &["pre-shared keys differ, or message 5 was damaged"],
        },
        Row {
            name: "pre-shared keys in aggressive mode",
            a: aggressive(wrong_key(sound())),
            b: aggressive(sound()),
            asker: &[
                "the hash of b.example.org (the peer) is not the one that it should be for a.example.org (here)",
            ],
            asked: &[],
        },
        Row {
            name: "algorithms of quick mode",
            a: main_mode("aes256-sha256-modp2048", "aes128-sha256"),
            b: main_mode("aes256-sha256-modp2048", "aes256-sha512"),
            asker: &["quick mode with NO-PROPOSAL-CHOSEN", "we offered aes128-sha256"],
            asked: &["quick mode: the peer offers aes128-sha256", "we allow aes256-sha512"],
        },
        Row {
            name: "forward secrecy",
            a: sound(),
            b: main_mode("aes256-sha256-modp2048", "aes128gcm16-modp2048"),
            asker: &["quick mode with NO-PROPOSAL-CHOSEN", "we offered aes128gcm16"],
            asked: &["quick mode: the peer offers aes128gcm16", "we allow aes128gcm16-modp2048"],
        },
        Row {
            name: "traffic",
            a: elsewhere(),
            b: sound(),
            asker: &["quick mode with INVALID-ID-INFORMATION", "for 10.1.0.0/24 <-> 10.77.0.0/16"],
            asked: &[
                "quick mode: traffic selectors do not meet: the peer asks 10.1.0.0/24 <-> 10.77.0.0/16; configured is 10.2.0.0/24 <-> 10.1.0.0/24",
            ],
        },
        Row {
            name: "a user's password",
            a: Tunnel { user: Some((End::A, ["guess".to_owned(), "open sesame".to_owned()])), ..sound() },
            b: sound().user_of(End::A),
            asker: &["the peer does not believe user carol: name or password differ"],
            asked: &["user carol gave another password than is configured"],
        },
    ]
}

/// Plays the rows between a and b, and collects what was not said.
fn play(pair: &Pair, rows: &[Row], b_is_ours: bool) -> Result<()> {
    let mut missing = Vec::new();
    for Row { name, a, b, asker, asked } in rows {
        pair.a.configure(&a.text(&pair.lab, End::A))?;
        pair.b.configure(&b.text(&pair.lab, End::B))?;
        let (log_a, log_b) = (pair.a.log().len(), pair.b.log().len());
        let answer = pair.a.initiate(CHILD)?;
        let said = answer.stderr.trim().to_owned();
        let mut demand = |what: &str, holds: bool| {
            if !holds {
                missing.push(format!("{name}: {what}\n  up: {said}\n  b:\n{}", &pair.b.log()[log_b..]));
            }
        };
        demand("it fails with one sentence", answer.code != Some(0) && said.lines().count() == 1);
        let logged = pair.a.log().split_off(log_a);
        for word in *asker {
            demand(word, said.contains(word) && logged.contains(word));
        }
        if b_is_ours && !asked.is_empty() {
            let told = pair.b.log().split_off(log_b);
            let in_one_line = told.lines().any(|line| asked.iter().all(|word| line.contains(word)));
            demand("b's log", in_one_line);
        }
        // What a refused quick mode leaves would be used by the next row.
        let _ = pair.a.terminate(interop::CONNECTION);
        pair.empty().map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

#[test]
fn both_ends_say_what_differs() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, Keyway, &sound())?;
    play(&pair, &rows(), true)?;
    pair.lab.dismantle();
    Ok(())
}

/// strongSwan does not answer at all where a mode is not allowed or a key is wrong.
#[test]
fn keyway_says_what_strongswan_refuses() -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, StrongSwan, &sound())?;
    let told = [
        "algorithms of phase 1",
        "algorithms of quick mode",
        "forward secrecy",
        "traffic",
        "a user's password",
    ];
    let rows: Vec<Row> = rows().into_iter().filter(|row| told.contains(&row.name)).collect();
    play(&pair, &rows, false)?;
    pair.lab.dismantle();
    Ok(())
}

/// The other end proves to be somebody else than was wanted; it takes the tunnel for one that is up, or waits for the last message,
/// and is told under the keys that both have.
fn the_peer_is_another(b: Implementation, heard: [&str; 2]) -> Result<()> {
    let pair = Pair::new(Wire::Plain, Keyway, b, &sound())?;
    for (tunnel, heard) in [(sound(), heard[0]), (aggressive(sound()), heard[1])] {
        pair.b.configure(&tunnel.text(&pair.lab, End::B))?;
        let text = tunnel.text(&pair.lab, End::A).replace("   id = b.example.org", "   id = c.example.org");
        // The key is for whoever comes.
        let text: String =
            text.lines().filter(|line| !line.contains("id-")).flat_map(|line| [line, "\n"]).collect();
        pair.a.configure(&text)?;
        let before = pair.b.log().len();
        let answer = pair.a.initiate(CHILD)?;
        let said = answer.stderr.trim();
        assert!(answer.code != Some(0), "{answer:?}");
        assert!(said.ends_with("the peer is b.example.org; configured is c.example.org"), "{said}");
        until(PATIENCE, "the other end to hear of it", || pair.b.log()[before..].contains(heard))?;
        pair.empty()?;
    }
    pair.lab.dismantle();
    Ok(())
}

#[test]
fn strongswan_hears_that_it_is_not_who_was_wanted() -> Result<()> {
    // It puts off whatever comes before message 3, which does not come any more.
    let put_off = "queueing INFORMATIONAL_V1 request as tasks still active";
    the_peer_is_another(StrongSwan, ["received DELETE for IKE_SA", put_off])
}

#[test]
fn keyway_hears_that_it_is_not_who_was_wanted() -> Result<()> {
    let aggressive = "a.example.org (the peer) gave up once it was shown that we are b.example.org";
    the_peer_is_another(Keyway, ["deleted", aggressive])
}
