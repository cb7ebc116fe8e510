//! The vici server against an engine task that is played: one IKE SA with one Child SA, and what the commands make of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use dataplane::{Drops, Usage};
use ike::{
    ChildSaId, ChildSaStatus, ChildState, Command, Counters, Identity, IkeSaId, IkeSaStatus, IkeState, Nat,
    Path, Role,
};
use sa::transform::{ENCRYPTION, GROUPS, PSEUDO_RANDOM};
use sa::{
    Direction, Encapsulation, Esn, EspSuite, IkeSuite, Mode, PolicyId, Protection, Protocol, SaId, Spi,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vici::{Client, Tree};
use wire::isakmp::IkeSpi;

use super::{Constants, Management, session};
use crate::daemon::configuration;
use crate::daemon::handle::{Changes, Engine, Order, Snapshot};
use crate::daemon::loaded::{Loaded, LoadedConnection, Source};
use crate::daemon::lower;
use crate::daemon::notices::{LogLine, Notice, Notices};
use crate::daemon::shunts::Shunts;

const CONFIGURATION: &str = "
connections {
  site {
    remote_addrs = 192.0.2.2
    local { auth = psk
      id = a.example }
    remote { auth = psk
      id = b.example }
    children {
      net { local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16 }
      lan { mode = pass
        local_ts = 10.1.0.0/16
        remote_ts = 10.1.0.0/16
        start_action = trap }
    }
  }
}
secrets { ike-site { secret = swordfish-swordfish } }
";

/// What the played engine was told.
#[derive(Debug, Default)]
struct Heard {
    commands: Vec<Command>,
    unloaded: Vec<String>,
}

async fn loaded() -> Loaded {
    let config = config::load_text("test", CONFIGURATION, config::Syntax::Swanctl);
    assert!(config.is_sound(), "{:?}", config.faults);
    let mut loaded = Loaded::default();
    for connection in config.config.connections {
        let random = &mut crypto::SystemRandom;
        let lowered: LoadedConnection = lower::connection(connection, Source::Client, random, |_| {}).await;
        loaded.connections.insert(lowered.engine.name.clone(), lowered);
    }
    loaded
}

fn ike_sa(now: Instant) -> IkeSaStatus {
    let address = |text: &str| text.parse().expect("the test's own text");
    let local = Path { local: address("192.0.2.1:4500"), remote: address("192.0.2.2:4500") };
    let aead = Protection::Combined(&ENCRYPTION[0]);
    let sa = |direction, ip: &str, spi| SaId {
        direction,
        protocol: Protocol::Esp,
        destination: ip.parse().expect("the test's own text"),
        spi: Spi(spi),
    };
    let selector = |text: &str| vec![text.parse().expect("the test's own text")];
    IkeSaStatus {
        id: IkeSaId(3),
        connection: "site".to_owned(),
        state: IkeState::Established,
        role: Role::Initiator,
        initiator_spi: IkeSpi(0x0123_4567_89ab_cdef),
        responder_spi: IkeSpi(0xfedc_ba98_7654_3210),
        path: local,
        local_identity: Some(Identity::Fqdn("a.example".to_owned())),
        remote_identity: Some(Identity::Fqdn("b.example".to_owned())),
        suite: Some(IkeSuite { protection: aead, prf: &PSEUDO_RANDOM[0], key_exchange: &GROUPS[0] }),
        nat: Nat { local: false, remote: true },
        established_at: Some(now - Duration::from_secs(60)),
        rekey_at: Some(now + Duration::from_secs(100)),
        expire_at: None,
        tasks_queued: Vec::new(),
        tasks_active: Vec::new(),
        children: vec![ChildSaStatus {
            id: ChildSaId(7),
            name: "net".to_owned(),
            state: ChildState::Installed,
            mode: Mode::Tunnel,
            inbound: sa(Direction::Inbound, "192.0.2.1", 0xc000_0001),
            outbound: sa(Direction::Outbound, "192.0.2.2", 0x0a00_0002),
            policy: PolicyId(9),
            suite: EspSuite { protection: aead, key_exchange: None, esn: Esn::No },
            encapsulation: Encapsulation::Udp,
            local_selectors: selector("10.1.0.0/16"),
            remote_selectors: selector("10.2.0.0/16"),
            installed_at: now - Duration::from_secs(59),
            rekey_at: None,
            expire_at: Some(now + Duration::from_secs(200)),
        }],
    }
}

async fn snapshot() -> Snapshot {
    let now = Instant::now();
    let sa = ike_sa(now);
    let used = Usage { bytes: 1500, packets: 2, idle: Some(Duration::from_secs(1)) };
    Snapshot {
        now,
        usage: BTreeMap::from([(sa.children[0].inbound, used)]),
        ike_sas: vec![sa],
        loaded: loaded().await,
        traps: Vec::new(),
        shunts: Shunts::default(),
        counters: Counters::default(),
        drops: Drops::default(),
    }
}

/// Plays the engine task: every command but those about `refused` children succeeds.
fn play(mut orders: mpsc::Receiver<Order>) -> JoinHandle<Heard> {
    tokio::spawn(async move {
        let mut heard = Heard::default();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Snapshot(answer) => drop(answer.send(snapshot().await)),
                Order::Perform { command, done, .. } => {
                    let outcome = match &command {
                        Command::RekeyIke { .. } => {
                            Err("the peer at 192.0.2.2:4500 does not answer".to_owned())
                        }
                        _ => Ok(()),
                    };
                    heard.commands.push(command);
                    let _ = done.send(outcome);
                }
                Order::UnloadConnection(name, done) => {
                    heard.unloaded.push(name);
                    let _ = done.send(Ok(()));
                }
                Order::LoadConnection(_, done)
                | Order::LoadSecret(_, done)
                | Order::UnloadSecret(_, done)
                | Order::ClearSecrets(done) => drop(done.send(Ok(()))),
                Order::Configure { done, .. } => {
                    let _ = done.send(Changes::default());
                }
                Order::Stop => break,
            }
        }
        heard
    })
}

/// A server with one client, whose part runs on a thread of its own; gives what the engine heard.
async fn with_client(
    configuration: Option<PathBuf>,
    act: impl FnOnce(&mut Client, &Notices) + Send + 'static,
) -> Heard {
    let (engine, orders) = Engine::channel();
    let played = play(orders);
    let notices = Notices::new();
    let constants = Constants { configuration, started: SystemTime::now(), workers: 2 };
    let management =
        Management { engine: engine.clone(), notices: notices.clone(), daemon: constants.into() };
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management));
    let theirs = theirs.into_std().expect("a socket");
    theirs.set_nonblocking(false).expect("a socket");
    let mut client = Client::new(theirs);
    client.set_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    tokio::task::spawn_blocking(move || act(&mut client, &notices)).await.expect("the client's part holds");
    server.await.expect("no panic").expect("the client was not cut off");
    engine.stop().await;
    played.await.expect("no panic")
}

fn line(text: &str) -> Notice {
    Notice::Log(LogLine {
        at: SystemTime::UNIX_EPOCH,
        level: tracing::Level::INFO,
        target: "ike::endpoint",
        connection: Some("site".to_owned()),
        ike_sa: Some("#3".to_owned()),
        text: text.to_owned(),
    })
}

fn ask(client: &mut Client, command: &str, arguments: &Tree) -> Tree {
    client.request(command, arguments).expect("an answer")
}

#[tokio::test]
async fn list_sas_has_charons_keys_in_charons_order() {
    with_client(None, |client, _| {
        let mut listed = Vec::new();
        let each = |message| listed.push(message);
        client.streamed("list-sas", "list-sa", &Tree::new(), each).expect("an answer");
        let [message] = listed.as_slice() else { panic!("one IKE SA") };
        let site = message.section("site").expect("named after its connection");
        let keys: Vec<&str> = site.entries.iter().map(|entry| entry.name.as_str()).collect();
        let expected = [
            "uniqueid",
            "version",
            "state",
            "local-host",
            "local-port",
            "local-id",
            "remote-host",
            "remote-port",
            "remote-id",
            "initiator",
            "initiator-spi",
            "responder-spi",
            "nat-remote",
            "nat-any",
            "encr-alg",
            "encr-keysize",
            "prf-alg",
            "dh-group",
            "established",
            "rekey-time",
            "child-sas",
        ];
        assert_eq!(keys, expected);
        assert_eq!(site.text("local-id"), Some("a.example"));
        assert_eq!(site.text("encr-alg"), Some("AES_GCM_16"));
        assert_eq!(site.text("established"), Some("60"));
        let child =
            site.section("child-sas").and_then(|children| children.section("net-7")).expect("its child");
        let keys: Vec<&str> = child.entries.iter().map(|entry| entry.name.as_str()).collect();
        let expected = [
            "name",
            "uniqueid",
            "reqid",
            "state",
            "mode",
            "protocol",
            "encap",
            "spi-in",
            "spi-out",
            "encr-alg",
            "encr-keysize",
            "bytes-in",
            "packets-in",
            "use-in",
            "bytes-out",
            "packets-out",
            "life-time",
            "install-time",
            "local-ts",
            "remote-ts",
        ];
        assert_eq!(keys, expected);
        assert_eq!((child.text("bytes-in"), child.text("bytes-out")), (Some("1500"), Some("0")));
    })
    .await;
}

#[tokio::test]
async fn commands_find_what_they_name() {
    let heard = with_client(None, |client, _| {
        let child = Tree::new().with_value("child", "net");
        for command in ["initiate", "rekey", "terminate", "install"] {
            assert_eq!(ask(client, command, &child).text("success"), Some("yes"), "{command}");
        }
        let by_number = Tree::new().with_value("ike-id", "3");
        let answer = ask(client, "terminate", &by_number);
        assert_eq!((answer.text("matches"), answer.text("terminated")), (Some("1"), Some("1")));
    })
    .await;
    let seen: Vec<String> = heard
        .commands
        .iter()
        .map(|command| match command {
            Command::Initiate { connection, child, .. } => format!("initiate {connection} {child:?}"),
            Command::RekeyChild { child, .. } => format!("rekey {child}"),
            Command::TerminateChild { child, .. } => format!("terminate {child}"),
            Command::TerminateIke { ike, .. } => format!("terminate {ike}"),
            Command::Install { connection, child, .. } => format!("install {connection} {child}"),
            other => format!("{other:?}"),
        })
        .collect();
    let expected =
        ["initiate site Some(\"net\")", "rekey {7}", "terminate {7}", "install site net", "terminate #3"];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn whoever_does_not_wait_hears_that_it_has_begun() {
    let heard = with_client(None, |client, _| {
        let at_once = |key: &str, name: &str| Tree::new().with_value(key, name).with_value("timeout", "-1");
        assert_eq!(ask(client, "initiate", &at_once("child", "net")).text("success"), Some("yes"));
        // The played engine refuses this, but nobody waits to hear it.
        assert_eq!(ask(client, "rekey", &at_once("ike", "site")).text("success"), Some("yes"));
        let answer = ask(client, "terminate", &at_once("child", "net"));
        assert_eq!((answer.text("success"), answer.text("matches")), (Some("yes"), Some("1")));
        let answer =
            ask(client, "initiate", &Tree::new().with_value("child", "net").with_value("timeout", "x"));
        assert_eq!(answer.text("errmsg"), Some("timeout = x is not a number of milliseconds"));
    })
    .await;
    assert_eq!(heard.commands.len(), 3, "{:?}", heard.commands);
}

#[tokio::test]
async fn failures_are_sentences_that_name_both_sides() {
    with_client(None, |client, _| {
        let mut errmsg = |command: &str, key: &str, value: &str| {
            let answer = ask(client, command, &Tree::new().with_value(key, value).with_value("timeout", "0"));
            assert_eq!(answer.text("success"), Some("no"), "{command} {key} {value}");
            answer.text("errmsg").expect("a reason").to_owned()
        };
        assert_eq!(errmsg("initiate", "child", "nett"), "no child is named nett; loaded are: net, lan");
        assert_eq!(errmsg("initiate", "ike", "sight"), "no connection is named sight; loaded are: site");
        assert_eq!(
            errmsg("initiate", "child", "lan"),
            "the child lan is a PASS policy and has no SA that could come up; install it instead"
        );
        assert_eq!(errmsg("terminate", "child", "lan"), "no Child SA matches child lan; up are: net {7}");
        assert_eq!(
            errmsg("rekey", "child", "site"),
            "no Child SA matches child site (site is a connection, not a child); up are: net {7}"
        );
        assert_eq!(errmsg("terminate", "ike-id", "x"), "ike-id = x is not a number");
        assert_eq!(errmsg("rekey", "ike", "site"), "the peer at 192.0.2.2:4500 does not answer");
        assert_eq!(errmsg("load-key", "type", "rsa"), "certificates and private keys are not supported yet");
        assert!(errmsg("load-shared", "type", "EAP").contains("EAP"));
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_loaded_as_swanctl_sends_it_and_a_faulty_one_is_not() {
    let heard = with_client(None, |client, _| {
        let round = |id: &str| Tree::new().with_value("auth", "psk").with_value("id", id);
        let net = Tree::new().with_list("remote_ts", ["10.2.0.0/16"]);
        let site = Tree::new()
            .with_list("remote_addrs", ["192.0.2.2"])
            .with_section("local", round("a.example"))
            .with_section("remote", round("b.example"))
            .with_section("children", Tree::new().with_section("net", net));
        let answer = ask(client, "load-conn", &Tree::new().with_section("site", site.clone()));
        assert_eq!(answer.text("success"), Some("yes"), "{:?}", answer.text("errmsg"));
        let faulty = Tree::new().with_section("site", site.with_value("remote_adrs", "192.0.2.2"));
        let answer = ask(client, "load-conn", &faulty);
        assert_eq!(answer.text("success"), Some("no"));
        let reason = answer.text("errmsg").expect("a reason");
        assert!(reason.contains("remote_adrs") && reason.contains("remote_addrs"), "{reason}");
        assert_eq!(ask(client, "get-conns", &Tree::new()).list("conns").map(<[_]>::len), Some(1));
        assert_eq!(
            ask(client, "unload-conn", &Tree::new().with_value("name", "site")).text("success"),
            Some("yes")
        );
    })
    .await;
    assert_eq!(heard.unloaded, ["site"]);
}

#[tokio::test]
async fn what_happens_reaches_those_who_registered_and_only_them() {
    with_client(None, |client, notices| {
        notices.tell(line("before"));
        client.register("log").expect("a known event");
        assert!(client.register("quake").is_err());
        notices.tell(Notice::Sa { event: "ike-updown", message: Tree::new() });
        notices.tell(line("after"));
        let event = client.next_event().expect("an event");
        assert_eq!((event.name.as_str(), event.message.text("msg")), ("log", Some("after")));
        assert_eq!(event.message.text("group"), Some("IKE"));
        assert_eq!(event.message.text("ikesa-uniqueid"), Some("3"));
        let past = ask(client, "get-log", &Tree::new());
        assert_eq!(past.section("lines").map(|lines| lines.sections().count()), Some(2));
    })
    .await;
}

#[tokio::test]
async fn a_faulty_configuration_is_refused_with_its_place() {
    let path = std::env::temp_dir().join(format!("keyway-reload-{}.conf", std::process::id()));
    let faulty = CONFIGURATION.replace("remote_addrs", "remote_adrs");
    std::fs::write(&path, faulty).expect("the temporary directory can be written");
    let named = path.display().to_string();
    with_client(Some(path.clone()), move |client, _| {
        let answer = ask(client, "reload-settings", &Tree::new());
        assert_eq!(answer.text("success"), Some("no"));
        let reason = answer.text("errmsg").expect("a reason");
        assert!(reason.starts_with(&format!("{named}:4:5: ")), "{reason}");
        assert!(reason.contains("remote_addrs") && reason.ends_with("(what was loaded stays)"), "{reason}");
    })
    .await;
    assert!(configuration::read(&path).is_err());
    std::fs::remove_file(&path).expect("it is ours");
}

#[tokio::test]
async fn a_client_that_sends_nonsense_is_cut_off() {
    use tokio::io::AsyncWriteExt;
    let (engine, orders) = Engine::channel();
    let played = play(orders);
    let constants = Constants { configuration: None, started: SystemTime::now(), workers: 1 };
    let management = Management { engine: engine.clone(), notices: Notices::new(), daemon: constants.into() };
    for nonsense in [&[0, 0, 0, 1, 99][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 1, 7]] {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let server = tokio::spawn(session::serve(ours, management.clone()));
        theirs.write_all(nonsense).await.expect("the server listens");
        assert!(server.await.expect("no panic").is_err(), "{nonsense:?}");
    }
    engine.stop().await;
    played.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_cut_off_and_holds_up_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (engine, _orders) = Engine::channel();
    let notices = Notices::new();
    let constants = Constants { configuration: None, started: SystemTime::now(), workers: 1 };
    let management = Management { engine, notices: notices.clone(), daemon: constants.into() };
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management));
    let register = vici::Packet::Register("log".to_owned()).encode().expect("it is small");
    theirs.write_all(&register).await.expect("the server listens");
    theirs.read_exact(&mut [0; 5]).await.expect("the server confirms");
    for _ in 0..1000 {
        // Nothing here waits for the client.
        notices.tell(line(&"x".repeat(10_000)));
    }
    let cut_off = server.await.expect("no panic").expect_err("it was cut off");
    assert!(matches!(cut_off, session::CutOff::NotReading), "{cut_off}");
}
