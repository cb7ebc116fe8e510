//! `disclose-keys`: whenever its client goes, no keys are written any more; and nobody ends what another has.

use std::pin::pin;

use vici::Packet;

use super::streaming::{management, send};
use super::*;
use crate::daemon::handle::KeysWanted;
use crate::management::disclosure::disclose;

fn to_a_directory() -> Tree {
    Tree::new().with_value("directory", "/run/keyway/keys")
}

async fn next(orders: &mut mpsc::Receiver<Order>) -> KeysWanted {
    match orders.recv().await {
        Some(Order::DiscloseKeys(wanted)) => wanted,
        _ => panic!("the order to write keys"),
    }
}

#[tokio::test]
async fn no_keys_are_written_for_a_client_that_left_before_they_were() {
    let (engine, mut orders) = Engine::channel();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = tokio::spawn(session::serve(ours, management(&engine, &Notices::new())));
    drop(engine);
    send(&mut theirs, Packet::Request { name: "disclose-keys".to_owned(), message: to_a_directory() }).await;
    let wanted = next(&mut orders).await;
    drop(theirs);
    server.await.expect("no panic").expect("the client was not cut off");
    wanted.answer(Ok(()));
    assert!(matches!(orders.recv().await, Some(Order::ConcealKeys)));
}

#[tokio::test]
async fn no_keys_are_written_for_a_client_that_left_before_it_was_told_that_they_are() {
    let (engine, mut orders) = Engine::channel();
    let arguments = to_a_directory();
    {
        let mut asked = pin!(disclose(&engine, &arguments));
        let wanted = tokio::select! {
            biased;
            _ = &mut asked => panic!("it has no answer yet"),
            wanted = next(&mut orders) => wanted,
        };
        wanted.answer(Ok(()));
    }
    drop(engine);
    assert!(matches!(orders.recv().await, Some(Order::ConcealKeys)));
}

#[tokio::test]
async fn who_is_refused_keys_ends_nobody_elses() {
    let (engine, mut orders) = Engine::channel();
    let arguments = to_a_directory();
    let refuse = async { next(&mut orders).await.answer(Err("keys are written already".to_owned())) };
    let (answered, ()) = tokio::join!(disclose(&engine, &arguments), refuse);
    assert_eq!(answered.expect_err("it is refused"), "keys are written already");
    drop(engine);
    assert!(orders.recv().await.is_none(), "nothing more is ordered");
}
