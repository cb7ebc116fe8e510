//! Lists that are long, and clients that do not read them, break off, or leave.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vici::{Frames, Packet};

use super::*;
use crate::daemon::limits::{CLIENT_WRITE_TIMEOUT, SAS_OF_A_PAGE};

const MANY: usize = 100_000;

/// Plays an engine with a hundred thousand IKE SAs, which are made as they are asked for; counts them.
fn play_many(mut orders: mpsc::Receiver<Order>, described: Arc<AtomicUsize>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(order) = orders.recv().await {
            match order {
                Order::IkeSpis(answer) => {
                    let _ = answer.send((1..=MANY as u64).map(IkeSpi).collect());
                }
                Order::DescribeSas(spis, answer) => {
                    assert!(spis.len() <= SAS_OF_A_PAGE);
                    described.fetch_add(spis.len(), Ordering::Relaxed);
                    let now = Instant::now();
                    let sa = |spi: IkeSpi| IkeSaStatus { id: IkeSaId(spi.0 as u32), ..ike_sa(now) };
                    let ike_sas = spis.into_iter().map(sa).collect();
                    let _ = answer.send(SaPage { now, ike_sas, sas: BTreeMap::new() });
                }
                Order::Pulse(answer) => drop(answer.send(())),
                _ => return,
            }
        }
    })
}

pub(super) fn management(engine: &Engine, notices: &Notices) -> Management {
    let constants = Constants {
        configuration: None,
        started: SystemTime::now(),
        workers: 1,
        tokens: Arc::default(),
        aggressive_secrets: Default::default(),
    };
    Management {
        engine: engine.clone(),
        notices: notices.clone(),
        daemon: constants.into(),
        revocation: Arc::default(),
    }
}

pub(super) async fn send(stream: &mut UnixStream, packet: Packet) {
    stream.write_all(&packet.encode().expect("it is small")).await.expect("the server listens");
}

fn list_sas() -> Packet {
    Packet::Request { name: "list-sas".to_owned(), message: Tree::new() }
}

/// Reads packets one after the other.
struct Reader {
    stream: UnixStream,
    frames: Frames,
}

impl Reader {
    async fn next(&mut self) -> Packet {
        let mut octets = [0; 8192];
        loop {
            if let Some(packet) = self.frames.next_packet().expect("well formed") {
                return packet;
            }
            match self.stream.read(&mut octets).await.expect("the server sends") {
                0 => panic!("the server closed the connection"),
                len => self.frames.push(&octets[..len]),
            }
        }
    }
}

/// What the server has made and the client has not read is what the socket holds, and a page: it does not grow with the list.
#[tokio::test]
async fn a_list_of_a_hundred_thousand_sas_is_made_as_it_is_read() {
    // The kernel gives a socket 208 KiB unless told otherwise, and a message takes no less than its octets.
    const IN_FLIGHT: usize = 2_000;
    let (engine, orders) = Engine::channel();
    let described = Arc::new(AtomicUsize::new(0));
    let played = play_many(orders, Arc::clone(&described));
    let notices = Notices::new();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    send(&mut theirs, Packet::Register("list-sa".to_owned())).await;
    send(&mut theirs, list_sas()).await;
    let mut reader = Reader { stream: theirs, frames: Frames::new() };
    assert_eq!(reader.next().await, Packet::Confirm);
    let (mut read, mut ahead) = (0, 0);
    loop {
        match reader.next().await {
            Packet::Event { name, message } => {
                read += 1;
                assert_eq!(name, "list-sa");
                let id = message.section("site").and_then(|site| site.text("uniqueid"));
                assert_eq!(id, Some(read.to_string().as_str()), "each comes once, in order");
                ahead = ahead.max(described.load(Ordering::Relaxed) - read);
            }
            Packet::Response(response) => {
                assert!(response.is_empty(), "{response:?}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read, MANY);
    assert!(ahead <= IN_FLIGHT, "{ahead} SAs were made and not read");
    drop(reader);
    server.await.expect("no panic").expect("the client was not cut off");
    drop(engine);
    played.await.expect("no panic");
}

/// Somebody who asks for a long list and reads nothing of it is cut off; somebody else is served meanwhile.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_list_is_cut_off_alone() {
    let (engine, orders) = Engine::channel();
    let described = Arc::new(AtomicUsize::new(0));
    let _played = play_many(orders, Arc::clone(&described));
    let notices = Notices::new();
    let (ours, mut silent) = UnixStream::pair().expect("a pair of sockets");
    let started = tokio::time::Instant::now();
    let server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    send(&mut silent, Packet::Register("list-sa".to_owned())).await;
    send(&mut silent, list_sas()).await;

    let (ours, mut other) = UnixStream::pair().expect("a pair of sockets");
    let other_server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    let version = Packet::Request { name: "version".to_owned(), message: Tree::new() };
    send(&mut other, version).await;
    let mut reader = Reader { stream: other, frames: Frames::new() };
    assert!(matches!(reader.next().await, Packet::Response(_)));

    let cut_off = server.await.expect("no panic").expect_err("it was cut off");
    assert!(matches!(cut_off, session::CutOff::NotReading), "{cut_off}");
    assert!(started.elapsed() >= CLIENT_WRITE_TIMEOUT);
    assert!(described.load(Ordering::Relaxed) < MANY, "the rest of the list was never made");
    drop(reader);
    other_server.await.expect("no panic").expect("the other was not cut off");
}

/// Somebody who leaves in the middle of a list or of a command ends his session, and the engine goes on.
#[tokio::test]
async fn a_client_that_vanishes_is_forgotten_and_nobody_notices() {
    let (engine, orders) = Engine::channel();
    let _played = play_many(orders, Arc::default());
    let notices = Notices::new();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    send(&mut theirs, Packet::Register("list-sa".to_owned())).await;
    send(&mut theirs, list_sas()).await;
    let mut reader = Reader { stream: theirs, frames: Frames::new() };
    assert_eq!(reader.next().await, Packet::Confirm);
    assert!(matches!(reader.next().await, Packet::Event { .. }));
    drop(reader);
    let cut_off = server.await.expect("no panic").expect_err("the list cannot be sent");
    assert!(matches!(cut_off, session::CutOff::Io(_)), "{cut_off}");
    engine.pulse().await.expect("the engine answers");

    // An engine that never answers: the command is pending when its client goes.
    let (engine, _orders) = Engine::channel();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    send(&mut theirs, list_sas()).await;
    drop(theirs);
    server.await.expect("no panic").expect("leaving is no fault");
}

/// A packet that breaks off, one that is too long, and one whose message is faulty.
#[tokio::test]
async fn malformed_packets_end_only_the_connection_that_they_came_by() {
    let (engine, orders) = Engine::channel();
    let _played = play_many(orders, Arc::default());
    let notices = Notices::new();
    let (ours, other) = UnixStream::pair().expect("a pair of sockets");
    let other_server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
    let mut other = Reader { stream: other, frames: Frames::new() };
    let too_long = (512 * 1024 + 1_u32).to_be_bytes();
    let broken_off = [0, 0, 0, 9, 0, 7, b'v', b'e'];
    // A request named `version` whose message opens a section and does not close it.
    let faulty = [&[0, 0, 0, 12, 0, 7][..], b"version", &[1, 1, b'x']].concat();
    for (octets, is_fault) in [(&too_long[..], true), (&broken_off[..], false), (&faulty[..], true)] {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let server = tokio::spawn(session::serve(ours, management(&engine, &notices)));
        theirs.write_all(octets).await.expect("the server listens");
        if !is_fault {
            // The rest never comes.
            drop(theirs);
        }
        let ended = server.await.expect("no panic");
        assert_eq!(ended.is_err(), is_fault, "{octets:?}: {ended:?}");
        send(&mut other.stream, Packet::Request { name: "version".to_owned(), message: Tree::new() }).await;
        assert!(matches!(other.next().await, Packet::Response(_)), "the other client is served");
    }
    drop(other);
    other_server.await.expect("no panic").expect("the other was not cut off");
}
