//! The vici server against an engine task that is played: one IKE SA with one Child SA, and what the commands make of it.

mod arguments;
mod disclosing;
mod streaming;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crypto::signature::NewKey;
use dataplane::{Block, Blocks, DropReason, Drops, LeftDevice, Usage};
use ike::{
    ChildSaId, ChildSaStatus, ChildState, Command, Counters, Identity, IkeSaId, IkeSaStatus, IkeState,
    IkeVersion, LeaseStatus, Nat, Path, PoolStatus, Role, Tally,
};
use pki::PrivateKey;
use pki::issue::{self, Draft, Issuer};
use sa::DistinguishedName;
use sa::transform::{ENCRYPTION, GROUPS, PSEUDO_RANDOM};
use sa::{
    ChildSuite, Direction, Encapsulation, Esn, FlowPadding, IkeSuite, Lifetime, Mode, PolicyAction, PolicyId,
    Protection, Protocol, SaId, SelectorPair, Spi,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vici::{Client, Tree};
use wire::isakmp::IkeSpi;

use super::{Constants, Management, session};
use crate::daemon::configuration;
use crate::daemon::handle::{Changes, Engine, Order, PlaneStatus, SaPage, Snapshot};
use crate::daemon::interfaces::DeviceStatus;
use crate::daemon::keyring::Keyring;
use crate::daemon::loaded::{Loaded, LoadedConnection, Source};
use crate::daemon::lower;
use crate::daemon::manual_keying::ManualSas;
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
      voice { local_ts = 10.1.0.0/16
        remote_ts = 10.3.0.0/16 }
      lan { mode = pass
        local_ts = 10.1.0.0/16
        remote_ts = 10.1.0.0/16
        start_action = trap }
    }
  }
}
secrets { ike-site { secret = swordfish-swordfish } }
manual { lab { local_addr = 192.0.2.7
    remote_addr = 192.0.2.8
    cpi_in = 2
    cpi_out = 2
    esp { proposal = aes256-sha256
      spi_in = 0x1001
      spi_out = 0x1002
      encryption_key_in = 0x0101010101010101010101010101010101010101010101010101010101010101
      encryption_key_out = 0x0202020202020202020202020202020202020202020202020202020202020202
      integrity_key_in = 0x0303030303030303030303030303030303030303030303030303030303030303
      integrity_key_out = 0x0404040404040404040404040404040404040404040404040404040404040404 }
    ah { proposal = sha384-esn
      spi_in = 0x2001
      spi_out = 0x2002
      integrity_key_in =  0x050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505
      integrity_key_out = 0x060606060606060606060606060606060606060606060606060606060606060606060606060606060606060606060606 } } }
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
        let lowered: LoadedConnection = lower::connection(connection, Source::Client, random, |_| {})
            .await
            .expect("it names no certificate");
        loaded.connections.insert(lowered.engine.name.clone(), lowered);
    }
    loaded
}

/// An IKE SA with a Child SA.
pub(crate) fn ike_sa(now: Instant) -> IkeSaStatus {
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
        version: IkeVersion::V2,
        state: IkeState::Established,
        role: Role::Initiator,
        initiator_spi: IkeSpi(0x0123_4567_89ab_cdef),
        responder_spi: IkeSpi(0xfedc_ba98_7654_3210),
        path: local,
        local_identity: Some(Identity::Fqdn("a.example".to_owned())),
        remote_identity: Some(Identity::Fqdn("b.example".to_owned())),
        remote_user: None,
        mobile: None,
        ppk: None,
        method: None,
        inside: Default::default(),
        suite: Some(IkeSuite {
            protection: aead,
            prf: &PSEUDO_RANDOM[0],
            key_exchange: &GROUPS[0],
            additional: sa::AdditionalSuite::default(),
        }),
        nat: Nat { local: false, remote: true },
        established_at: Some(now - Duration::from_secs(60)),
        rekey_at: Some(now + Duration::from_secs(100)),
        expire_at: None,
        reauthenticate_at: None,
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
            suite: ChildSuite {
                protocol: Protocol::Esp,
                protection: aead,
                key_exchange: None,
                additional: sa::AdditionalSuite::default(),
                esn: Esn::No,
            },
            wrapper: None,
            encapsulation: Encapsulation::Udp,
            compression: None,
            padding: FlowPadding::None,
            volume: Lifetime::UNLIMITED,
            local_selectors: selector("10.1.0.0/16"),
            remote_selectors: selector("10.2.0.0/16"),
            installed_at: now - Duration::from_secs(59),
            rekey_at: None,
            expire_at: Some(now + Duration::from_secs(200)),
        }],
    }
}

fn manual(now: Instant) -> ManualSas {
    let mut sas = ManualSas::default();
    for section in config::load_text("test", CONFIGURATION, config::Syntax::Swanctl).config.manual {
        sas.install(section.into(), now - Duration::from_secs(5));
    }
    sas
}

/// What stands behind the policy of the Child SA, and what an earlier run left.
fn host_blocks() -> Blocks {
    let pair = |local: &str, remote: &str| SelectorPair {
        local: local.parse().expect("the test's own text"),
        remote: remote.parse().expect("the test's own text"),
    };
    let block =
        |pair, policy| Block { selectors: vec![pair], action: PolicyAction::Protect, priority: 7, policy };
    let blocks = vec![
        block(pair("10.1.0.0/16", "10.2.0.0/16"), Some(PolicyId(9))),
        block(pair("10.7.0.0/16", "10.8.0.0/16"), None),
    ];
    let devices = vec![LeftDevice { name: "vpn7".to_owned(), namespace: Some("red".to_owned()) }];
    Blocks { blocks, devices, refused: Some(3) }
}

async fn snapshot() -> Snapshot {
    let now = Instant::now();
    let sa = ike_sa(now);
    let usage = Usage { bytes: 1500, packets: 2, idle: Some(Duration::from_secs(1)) };
    let drops = Drops(BTreeMap::from([(DropReason::TooBig, 3)]));
    let fault = Some("cannot switch it on".to_owned());
    let device = Some(DeviceStatus { name: "vpn0".to_owned(), namespace: Some("red".to_owned()), fault });
    Snapshot {
        now,
        sas: BTreeMap::from([(sa.children[0].inbound, PlaneStatus { usage, drops, device })]),
        ike_sas: vec![sa],
        loaded: loaded().await,
        keyring: Keyring::default(),
        credentials: Arc::default(),
        traps: Vec::new(),
        blocks: vec![("site".to_owned(), "net".to_owned()), ("site".to_owned(), "voice".to_owned())],
        host_blocks: host_blocks(),
        shunts: Shunts::default(),
        manual: manual(now),
        counters: Counters::default(),
        drops: Drops::default(),
    }
}

fn pools() -> Vec<PoolStatus> {
    let text = "pools { crew { addrs = 10.3.0.0/24 } }";
    let config = config::load_text("test", text, config::Syntax::Swanctl).config;
    let lease = |last, client: &str, is_online| LeaseStatus {
        address: [10, 3, 0, last].into(),
        client: Identity::Fqdn(client.to_owned()),
        is_online,
    };
    let leases = vec![lease(1, "a.example", true), lease(2, "b.example", false)];
    let pools = config.pools.into_iter().map(|pool| lower::pool(pool, Source::File).pool);
    pools.map(|pool| PoolStatus { pool, size: 254, leases: leases.clone() }).collect()
}

/// Plays the engine task: every command but those about `refused` children succeeds.
fn play(mut orders: mpsc::Receiver<Order>) -> JoinHandle<Heard> {
    tokio::spawn(async move {
        let mut heard = Heard::default();
        let mut keyring = Keyring::default();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Pulse(answer) => drop(answer.send(())),
                Order::Snapshot(answer) => {
                    let credentials = Arc::new(keyring.credentials(std::iter::empty()));
                    let keyring = keyring.clone();
                    let _ = answer.send(Snapshot { keyring, credentials, ..snapshot().await });
                }
                Order::IkeSpis(answer) => drop(answer.send(vec![IkeSpi(0x0123_4567_89ab_cdef)])),
                Order::DescribeSas(_, answer) => {
                    let Snapshot { now, ike_sas, sas, .. } = snapshot().await;
                    let _ = answer.send(SaPage { now, ike_sas, sas });
                }
                Order::Tally(answer) => drop(answer.send(Tally::default())),
                Order::ResetTally(scope, done) => {
                    let outcome = Tally::default().reset(&scope);
                    let _ = done.send(outcome.map_err(|_| "nothing is counted of it".to_owned()));
                }
                Order::ChangeKeyring(change, done) => {
                    let _ = done.send(change.carry_out(&mut keyring));
                }
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
                | Order::LoadPool(_, done)
                | Order::UnloadPool(_, done)
                | Order::UnloadSecret(_, done)
                | Order::UnblockLeft(done)
                | Order::ClearSecrets(done) => drop(done.send(Ok(()))),
                Order::DiscloseKeys(wanted) => wanted.answer(Ok(())),
                Order::ConcealKeys => {}
                Order::Pools(answer) => {
                    let _ = answer.send(pools());
                }
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
    let constants = Constants {
        configuration,
        started: SystemTime::now(),
        workers: 2,
        tokens: Arc::default(),
        aggressive_secrets: Default::default(),
    };
    let management = Management {
        engine: engine.clone(),
        notices: notices.clone(),
        daemon: constants.into(),
        revocation: Arc::default(),
    };
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

        // Whoever asks gets what charon has no keys for, behind all that it has.
        let mut listed = Vec::new();
        let extras = Tree::new().with_value("extras", "yes");
        client.streamed("list-sas", "list-sa", &extras, |message| listed.push(message)).expect("an answer");
        let children = listed[0].section("site").and_then(|site| site.section("child-sas"));
        let more = children.and_then(|children| children.section("net-7")).expect("its child");
        let names: Vec<&str> = more.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names[..expected.len()], expected);
        assert_eq!(names[expected.len()..], ["drops-in", "interface", "interface-netns", "interface-fault"]);
    })
    .await;
}

#[tokio::test]
async fn get_pools_has_charons_keys_in_charons_order() {
    with_client(None, |client, _| {
        let keys = |tree: &Tree| tree.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        let all = ask(client, "get-pools", &Tree::new());
        let crew = all.section("crew").expect("the pool");
        assert_eq!(keys(crew), ["base", "size", "online", "offline"]);
        let text = |key| crew.text(key).unwrap_or("-");
        assert_eq!(["base", "size", "online", "offline"].map(text), ["10.3.0.0", "254", "1", "1"]);
        let with_leases = ask(client, "get-pools", &Tree::new().with_value("leases", "yes"));
        let leases =
            with_leases.section("crew").and_then(|crew| crew.section("leases")).expect("they are asked for");
        let second = leases.section("1").expect("there are two");
        assert_eq!(keys(second), ["address", "identity", "status"]);
        let text = |key| second.text(key).unwrap_or("-");
        assert_eq!(["address", "identity", "status"].map(text), ["10.3.0.2", "b.example", "offline"]);
        let other = ask(client, "get-pools", &Tree::new().with_value("name", "other"));
        assert_eq!(other, Tree::new());
    })
    .await;
}

#[tokio::test]
async fn pools_are_loaded_as_swanctl_sends_them() {
    with_client(None, |client, _| {
        let pool = Tree::new()
            .with_value("addrs", "10.3.0.0/24")
            .with_list("netmask", ["255.255.255.0"])
            .with_list("dns", ["10.1.0.53", "fd00::53"])
            .with_list("28672", ["Welcome"]);
        let load = |client: &mut Client, pool: Tree| {
            ask(client, "load-pool", &Tree::new().with_section("crew", pool))
        };
        assert_eq!(load(client, pool).text("success"), Some("yes"));
        for (pool, complaint) in [
            (Tree::new().with_list("dns", ["10.1.0.53"]), "`crew` has no addresses"),
            (Tree::new().with_value("addrs", "10.3.0.0/24").with_list("dns", ["x"]), "`x` is no address"),
            (Tree::new().with_value("addrs", "10.3.0.0/24").with_list("foo", ["x"]), "unknown key `foo`"),
            (Tree::new().with_value("addrs", "10.3.0.0/24").with_list("40000", ["x"]), "numbers below 32768"),
        ] {
            let refused = load(client, pool);
            let sentence = refused.text("errmsg").expect("it is faulty");
            assert!(sentence.contains(complaint), "{sentence}");
        }
    })
    .await;
}

#[tokio::test]
async fn manually_keyed_sas_are_listed_with_their_danger() {
    with_client(None, |client, _| {
        let mut listed = Vec::new();
        client
            .streamed("list-manual-sas", "list-manual-sa", &Tree::new(), |message| listed.push(message))
            .expect("an answer");
        let [message] = listed.as_slice() else { panic!("one section") };
        let lab = message.section("lab").expect("named after its section");
        let text = |key: &str| lab.text(key).unwrap_or("-");
        assert_eq!(
            ["state", "mode", "protocol", "local-host", "remote-host", "spi-in", "spi-out", "cpi-in"]
                .map(text),
            ["INSTALLED", "TUNNEL", "ESP", "192.0.2.7", "192.0.2.8", "00001001", "00001002", "0002"]
        );
        assert_eq!(
            ["encr-alg", "encr-keysize", "integ-alg", "esn", "install-time"].map(text),
            ["AES_CBC", "256", "HMAC_SHA2_256_128", "-", "5"]
        );
        assert!(text("warning").starts_with("has keys that nobody renews"));
        let around = lab.section("ah").expect("AH goes around ESP");
        assert_eq!(
            ["spi-in", "spi-out", "integ-alg", "esn"].map(|key| around.text(key).unwrap_or("-")),
            ["00002001", "00002002", "HMAC_SHA2_384_192", "1"]
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_blocked_is_listed_and_let_pass_by_name() {
    let heard = with_client(None, |client, _| {
        let mut listed = Vec::new();
        client
            .streamed("list-blocks", "list-block", &Tree::new(), |message| listed.push(message))
            .expect("an answer");
        let described: Vec<String> = listed
            .iter()
            .map(|block| {
                let text = |key: &str| block.text(key).unwrap_or("-").to_owned();
                let traffic = block.list("remote-ts").map(|traffic| traffic[0].text().unwrap_or_default());
                let device = format!("{} in {}", text("interface"), text("interface-netns"));
                format!("{} {} {}", text("ike"), text("child"), traffic.unwrap_or(&device))
            })
            .collect();
        // net is up, and what protects it blocks nothing.
        assert_eq!(described, ["site voice 10.3.0.0/16", "- - 10.8.0.0/16", "- - vpn7 in red"]);
        let named = |child: &str| Tree::new().with_value("child", child);
        assert_eq!(ask(client, "unblock", &named("voice")).text("unblocked"), Some("1"));
        assert_eq!(ask(client, "unblock", &Tree::new()).text("unblocked"), Some("3"));
        let refused = ask(client, "unblock", &named("net"));
        assert_eq!(refused.text("errmsg"), Some("net is not blocked; blocked are: voice"));
        let refused = ask(client, "terminate", &named("voice"));
        let sentence = refused.text("errmsg").expect("it is not up");
        assert!(sentence.ends_with("voice is blocked: unblock it to let its traffic pass"), "{sentence}");
    })
    .await;
    let unblocked = heard.commands.iter().filter(|command| matches!(command, Command::Unblock { .. }));
    assert_eq!(unblocked.count(), 2);
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
        assert_eq!(
            errmsg("initiate", "child", "nett"),
            "no child is named nett; loaded are: net, voice, lan"
        );
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
        assert_eq!(errmsg("load-key", "type", "rsa"), "the key `data` is needed");
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
        client.register("log-line").expect("a known event");
        assert!(client.register("quake").is_err());
        notices.tell(Notice::Sa { event: "ike-updown", message: Tree::new() });
        notices.tell(line("after"));
        let event = client.next_event().expect("an event");
        assert_eq!((event.name.as_str(), event.message.text("msg")), ("log-line", Some("after")));
        assert_eq!(event.message.text("severity"), Some("INFO"));
        assert_eq!(event.message.text("group"), Some("IKE"));
        assert_eq!(event.message.text("ikesa-uniqueid"), Some("3"));
        let past = ask(client, "get-log", &Tree::new());
        assert_eq!(past.section("lines").map(|lines| lines.sections().count()), Some(2));
    })
    .await;
}

#[tokio::test]
async fn keys_go_to_a_whole_path_only_and_for_as_long_as_is_said() {
    with_client(None, |client, _| {
        let refused = |message: Tree, client: &mut Client| {
            let answer = ask(client, "disclose-keys", &message);
            assert_eq!(answer.text("success"), Some("no"));
            answer.text("errmsg").expect("a reason").to_owned()
        };
        assert_eq!(refused(Tree::new(), client), "disclose-keys needs the key `directory`");
        let somewhere = Tree::new().with_value("directory", "keys");
        assert_eq!(refused(somewhere, client), "`directory = keys` is not a whole path");
        let message = Tree::new().with_value("directory", "/run/keys");
        assert_eq!(
            refused(message.clone().with_value("seconds", "soon"), client),
            "`seconds = soon` is not a number of seconds"
        );
        let answer = ask(client, "disclose-keys", &message.with_value("seconds", "0"));
        assert_eq!(answer.text("success"), Some("yes"));
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
    assert!(configuration::read(&path, Default::default()).is_err());
    std::fs::remove_file(&path).expect("it is ours");
}

#[tokio::test]
async fn a_client_that_sends_nonsense_is_cut_off() {
    use tokio::io::AsyncWriteExt;
    let (engine, orders) = Engine::channel();
    let played = play(orders);
    let constants = Constants {
        configuration: None,
        started: SystemTime::now(),
        workers: 1,
        tokens: Arc::default(),
        aggressive_secrets: Default::default(),
    };
    let management = Management {
        engine: engine.clone(),
        notices: Notices::new(),
        daemon: constants.into(),
        revocation: Arc::default(),
    };
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
    let constants = Constants {
        configuration: None,
        started: SystemTime::now(),
        workers: 1,
        tokens: Arc::default(),
        aggressive_secrets: Default::default(),
    };
    let management =
        Management { engine, notices: notices.clone(), daemon: constants.into(), revocation: Arc::default() };
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

/// Gives the messages of a streamed answer.
fn streamed(client: &mut Client, command: &str, event: &str) -> Vec<Tree> {
    let mut messages = Vec::new();
    client.streamed(command, event, &Tree::new(), |message| messages.push(message)).expect("an answer");
    messages
}

/// A CA as a client has it: its certificate and key in DER.
fn authority() -> (Vec<u8>, Vec<u8>) {
    let key = PrivateKey::generate(NewKey::Ed25519).expect("a key");
    let draft = Draft {
        subject: DistinguishedName::parse("C=CH, CN=root").expect("a name"),
        names: Vec::new(),
        key_info: key.public_key_info(),
        serial: vec![7],
        not_before: pki::Time(0),
        not_after: pki::Time::LAST,
        role: issue::Role::Ca { path_len: None },
        crl_uris: Vec::new(),
        ocsp_uris: Vec::new(),
    };
    let certificate = issue::issue(&draft, Issuer::Itself(&key)).expect("a certificate");
    (certificate.to_der().to_vec(), key.to_pkcs8().as_slice().to_vec())
}

#[tokio::test]
async fn what_clients_load_of_certificates_and_keys_is_listed_and_forgotten() {
    let (certificate, key) = authority();
    with_client(None, move |client, _| {
        let load = Tree::new().with_value("type", "any").with_value("data", key);
        let loaded = ask(client, "load-key", &load);
        let id = loaded.text("id").expect("a name").to_owned();
        let load = Tree::new().with_value("type", "X509").with_value("flag", "CA");
        let load = load.with_value("data", certificate.clone());
        assert_eq!(ask(client, "load-cert", &load).text("success"), Some("yes"));
        let described = Tree::new()
            .with_value("cacert", certificate.clone())
            .with_list("crl_uris", ["http://crl.example/root"]);
        let named = Tree::new().with_section("root", described);
        assert_eq!(ask(client, "load-authority", &named).text("success"), Some("yes"));

        let listed = streamed(client, "list-certs", "list-cert");
        assert_eq!(listed.len(), 1, "the same certificate by two ways is one: {listed:?}");
        assert_eq!(listed[0].text("flag"), Some("CA"));
        assert_eq!(listed[0].text("has_privkey"), Some("yes"));
        assert_eq!(listed[0].value("data").map(|value| value.bytes.clone()), Some(certificate));
        let listed = streamed(client, "list-authorities", "list-authority");
        let section = listed[0].section("root").expect("the one that was loaded");
        assert_eq!(section.text("cacert"), Some("C=CH, CN=root"));

        let forget = Tree::new().with_value("id", id.to_ascii_uppercase());
        assert_eq!(ask(client, "unload-key", &forget).text("success"), Some("yes"));
        assert_eq!(ask(client, "unload-key", &forget).text("success"), Some("no"));
        let names = ask(client, "get-keys", &Tree::new());
        assert_eq!(names.list("keys").map(<[_]>::len), Some(0));
        let forget = Tree::new().with_value("name", "root");
        assert_eq!(ask(client, "unload-authority", &forget).text("success"), Some("yes"));
        let faulty = Tree::new().with_value("type", "X509").with_value("data", "no certificate");
        let refused = ask(client, "load-cert", &faulty);
        assert!(refused.text("errmsg").is_some_and(|said| said.contains("neither a certificate nor")));
    })
    .await;
}
