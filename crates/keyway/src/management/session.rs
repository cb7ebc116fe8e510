//! One client's connection: packets in, one command at a time, answers and events out.
//!
//! A client that sends nonsense, that stops reading, or that lags behind the events it asked for is cut off, alone:
//! nothing else ever waits for it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;
use vici::message::TooLarge;
use vici::{Frames, InvalidPacket, Packet, Tree};

use super::commands::{self, Reply};
use super::sas::Keys;
use super::{Management, events};
use crate::daemon::limits;
use crate::daemon::notices::Notice;

/// Why a client was cut off.
#[derive(Debug, Error)]
pub(crate) enum CutOff {
    /// It sent what is no packet.
    #[error("it sent a faulty packet: {0}")]
    Faulty(#[from] InvalidPacket),
    /// It sent a packet that only a server sends.
    #[error("it sent a packet that only a daemon sends")]
    OutOfTurn,
    /// It sent a second command before the answer to the first.
    #[error("it sent a command before the answer to the one before")]
    Impatient,
    /// It does not read what it is sent.
    #[error("it did not read for {} s", limits::CLIENT_WRITE_TIMEOUT.as_secs())]
    NotReading,
    /// The answer to its command does not fit into a packet.
    #[error("the answer to its command cannot be sent: {0}")]
    TooLarge(#[from] TooLarge),
    /// It reads more slowly than things happen.
    #[error("it fell {0} events behind")]
    FellBehind(u64),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a client until it closes the connection.
///
/// # Errors
/// The client had to be cut off.
pub(crate) async fn serve(stream: UnixStream, management: Management) -> Result<(), CutOff> {
    let (input, output) = stream.into_split();
    let notices = management.notices.watch();
    let mut input = Input { stream: input, frames: Frames::new() };
    let mut output = Output { stream: output, registered: BTreeSet::new(), notices };
    loop {
        tokio::select! {
            // What happened before a registration is not for it.
            biased;
            notice = output.notices.recv() => output.pass_on(notice, None).await?,
            packet = input.next() => match packet? {
                None => return Ok(()),
                Some(Packet::Request { name, message }) => {
                    perform(&name, &message, &management, &mut input, &mut output).await?;
                }
                Some(Packet::Register(name)) => output.register(name).await?,
                Some(Packet::Unregister(name)) => output.unregister(&name).await?,
                Some(_) => return Err(CutOff::OutOfTurn),
            },
        }
    }
}

/// Carries out one command. Meanwhile events go on, and a client that leaves is noticed; nobody then waits for the
/// command, but what it has begun goes on.
async fn perform(
    name: &str,
    arguments: &Tree,
    management: &Management,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), CutOff> {
    let control = commands::streamed_log_level(name, arguments)
        .map(|level| Control { level, keys: Keys::of(arguments).unwrap_or(Keys::Charons) });
    let running = commands::perform(name, arguments, management);
    tokio::pin!(running);
    let reply = loop {
        tokio::select! {
            biased;
            notice = output.notices.recv() => output.pass_on(notice, control).await?,
            reply = &mut running => break reply,
            packet = input.next() => match packet? {
                None => return Ok(()),
                Some(_) => return Err(CutOff::Impatient),
            },
        }
    };
    match reply {
        Reply::Unknown => output.send(&Packet::UnknownCommand).await,
        Reply::Response(message) => output.send(&Packet::Response(message)).await,
        Reply::Streamed { event, mut messages } => {
            let response = loop {
                match messages.next().await {
                    Ok(Some(message)) => output.send_event(event, message).await?,
                    Ok(None) => break Tree::new(),
                    Err(reason) => break commands::failure(reason),
                }
                // A long list must not make its reader fall behind what happens.
                output.catch_up().await?;
            };
            output.send(&Packet::Response(response)).await
        }
    }
}

/// How the command under way streams the log.
#[derive(Clone, Copy, Debug)]
struct Control {
    /// Up to which level.
    level: u8,
    /// With which keys.
    keys: Keys,
}

/// What the client sends.
struct Input {
    stream: OwnedReadHalf,
    frames: Frames,
}

impl Input {
    /// Waits for a packet; `None` is the end. May be dropped while it waits: nothing is lost.
    async fn next(&mut self) -> Result<Option<Packet>, CutOff> {
        let mut octets = [0; 8192];
        loop {
            if let Some(packet) = self.frames.next_packet()? {
                return Ok(Some(packet));
            }
            match self.stream.read(&mut octets).await? {
                0 => return Ok(None),
                len => self.frames.push(&octets[..len]),
            }
        }
    }
}

/// What the client gets.
struct Output {
    stream: OwnedWriteHalf,
    registered: BTreeSet<String>,
    notices: Receiver<Arc<Notice>>,
}

impl Output {
    async fn register(&mut self, name: String) -> Result<(), CutOff> {
        if !events::NAMES.contains(&name.as_str()) {
            return self.send(&Packet::UnknownEvent).await;
        }
        self.registered.insert(name);
        self.send(&Packet::Confirm).await
    }

    async fn unregister(&mut self, name: &str) -> Result<(), CutOff> {
        let answer = if self.registered.remove(name) { Packet::Confirm } else { Packet::UnknownEvent };
        self.send(&answer).await
    }

    /// Sends what has happened meanwhile.
    async fn catch_up(&mut self) -> Result<(), CutOff> {
        loop {
            match self.notices.try_recv() {
                Ok(notice) => self.pass_on(Ok(notice), None).await?,
                Err(TryRecvError::Lagged(behind)) => {
                    self.pass_on(Err(RecvError::Lagged(behind)), None).await?
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Sends a notice in the forms that the client registered for.
    async fn pass_on(
        &mut self,
        notice: Result<Arc<Notice>, RecvError>,
        control: Option<Control>,
    ) -> Result<(), CutOff> {
        let notice = match notice {
            Ok(notice) => notice,
            Err(RecvError::Lagged(_)) if self.registered.is_empty() => return Ok(()),
            Err(RecvError::Lagged(behind)) => return Err(CutOff::FellBehind(behind)),
            Err(RecvError::Closed) => return Ok(()),
        };
        match &*notice {
            Notice::Sa { event, message } => self.send_event(event, message.clone()).await,
            Notice::Log(line) => {
                if let Some(Control { keys, .. }) = control.filter(|wish| events::level(line) <= wish.level) {
                    self.send_event("control-log", events::control_log_message(line, keys)).await?;
                }
                self.send_event("log-line", events::log_message(line, Keys::All)).await?;
                self.send_event("log", events::log_message(line, Keys::Charons)).await
            }
        }
    }

    async fn send_event(&mut self, name: &str, message: Tree) -> Result<(), CutOff> {
        if self.registered.contains(name) {
            match (Packet::Event { name: name.to_owned(), message }).encode() {
                Ok(octets) => self.write(&octets).await?,
                // An SA with more selectors than a packet holds must not hide the others.
                Err(error) => tracing::warn!(event = name, %error, "an event was not sent to a client"),
            }
        }
        Ok(())
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), CutOff> {
        self.write(&packet.encode()?).await
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), CutOff> {
        let written = timeout(limits::CLIENT_WRITE_TIMEOUT, self.stream.write_all(octets)).await;
        Ok(written.map_err(|_| CutOff::NotReading)??)
    }
}
