//! A blocking client: one command at a time, events in between.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::limits::MAX_WAITING_EVENTS;
use crate::message::TooLarge;
use crate::{Frames, InvalidPacket, Packet, Tree};

/// A connection to a vici server.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
    waiting: VecDeque<Event>,
}

/// Something that happened at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing, such as `child-updown`.
    pub name: String,
    /// What happened.
    pub message: Tree,
}

/// Why a command gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The server sent something faulty.
    #[error("the daemon sent a faulty packet: {0}")]
    Faulty(#[from] InvalidPacket),
    /// The server sent a valid packet that does not answer anything.
    #[error("the daemon answered out of turn")]
    OutOfTurn,
    /// The command does not fit into a packet.
    #[error("the command cannot be sent: {0}")]
    TooLarge(#[from] TooLarge),
    /// The server does not have this command.
    #[error("the daemon does not know the command `{0}`")]
    UnknownCommand(String),
    /// The server does not have this event.
    #[error("the daemon does not know the event `{0}`")]
    UnknownEvent(String),
    /// The command failed; the server says why.
    #[error("{0}")]
    Refused(String),
    /// More events arrived during a command than a client keeps.
    #[error("more than {MAX_WAITING_EVENTS} events arrived and nobody took them")]
    Overrun,
}

impl Client {
    /// Connects to the server that listens at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or we may not connect.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Client> {
        UnixStream::connect(path).map(Client::new)
    }

    /// Makes the client of a stream that is connected already.
    pub fn new(stream: UnixStream) -> Client {
        Client { stream, frames: Frames::new(), waiting: VecDeque::new() }
    }

    /// Sets how long to wait for anything from the server before giving up with [`ClientError::Io`]; `None` is for ever.
    ///
    /// # Errors
    /// The timeout is zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Sends a command and gives the response. Events that arrive meanwhile wait for [`next_event`](Self::next_event).
    ///
    /// # Errors
    /// The connection breaks or the server does not know the command. A response that says `success = no` is a
    /// response: see [`success`](Self::success).
    pub fn request(&mut self, command: &str, arguments: &Tree) -> Result<Tree, ClientError> {
        self.send_request(command, arguments)?;
        loop {
            match self.receive()? {
                Packet::Event { name, message } => self.keep(Event { name, message })?,
                answer => return response(command, answer),
            }
        }
    }

    /// Sends a command whose answer is streamed as events named `event`, hands each to `each` as it arrives and gives
    /// the response that ends them.
    ///
    /// # Errors
    /// As [`request`](Self::request), or the server does not know the event.
    pub fn streamed(
        &mut self,
        command: &str,
        event: &str,
        arguments: &Tree,
        mut each: impl FnMut(Tree),
    ) -> Result<Tree, ClientError> {
        self.register(event)?;
        self.send_request(command, arguments)?;
        let answer = loop {
            match self.receive()? {
                Packet::Event { name, message } if name == event => each(message),
                Packet::Event { name, message } => self.keep(Event { name, message })?,
                answer => break response(command, answer),
            }
        };
        self.unregister(event)?;
        answer
    }

    /// Gives the response back unless it says that the command failed.
    ///
    /// # Errors
    /// `success` is there and not `yes`: [`ClientError::Refused`] with the server's reason.
    pub fn success(response: Tree) -> Result<Tree, ClientError> {
        match response.text("success") {
            None | Some("yes") => Ok(response),
            Some(_) => {
                let reason = response.text("errmsg").unwrap_or("the daemon refused and gave no reason");
                Err(ClientError::Refused(reason.to_owned()))
            }
        }
    }

    /// Asks for events of this name from now on.
    ///
    /// # Errors
    /// The connection breaks or the server has no such event.
    pub fn register(&mut self, event: &str) -> Result<(), ClientError> {
        self.change_registration(Packet::Register(event.to_owned()), event)
    }

    /// Asks for no more events of this name.
    ///
    /// # Errors
    /// The connection breaks or the server has no such event.
    pub fn unregister(&mut self, event: &str) -> Result<(), ClientError> {
        self.change_registration(Packet::Unregister(event.to_owned()), event)
    }

    /// Waits for the next event of those registered.
    ///
    /// # Errors
    /// The connection breaks, or the time set with [`set_timeout`](Self::set_timeout) passed.
    pub fn next_event(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        match self.receive()? {
            Packet::Event { name, message } => Ok(Event { name, message }),
            _ => Err(ClientError::OutOfTurn),
        }
    }

    fn send_request(&mut self, command: &str, arguments: &Tree) -> Result<(), ClientError> {
        self.send(&Packet::Request { name: command.to_owned(), message: arguments.clone() })
    }

    fn change_registration(&mut self, packet: Packet, event: &str) -> Result<(), ClientError> {
        self.send(&packet)?;
        loop {
            match self.receive()? {
                Packet::Event { name, message } => self.keep(Event { name, message })?,
                Packet::Confirm => return Ok(()),
                Packet::UnknownEvent => return Err(ClientError::UnknownEvent(event.to_owned())),
                _ => return Err(ClientError::OutOfTurn),
            }
        }
    }

    fn send(&mut self, packet: &Packet) -> Result<(), ClientError> {
        Ok(self.stream.write_all(&packet.encode()?)?)
    }

    fn receive(&mut self) -> Result<Packet, ClientError> {
        let mut bytes = [0; 8192];
        loop {
            if let Some(packet) = self.frames.next_packet()? {
                return Ok(packet);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(len) => self.frames.push(&bytes[..len]),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    fn keep(&mut self, event: Event) -> Result<(), ClientError> {
        if self.waiting.len() == MAX_WAITING_EVENTS {
            return Err(ClientError::Overrun);
        }
        self.waiting.push_back(event);
        Ok(())
    }
}

fn response(command: &str, answer: Packet) -> Result<Tree, ClientError> {
    match answer {
        Packet::Response(message) => Ok(message),
        Packet::UnknownCommand => Err(ClientError::UnknownCommand(command.to_owned())),
        _ => Err(ClientError::OutOfTurn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Plays a server: for each packet that it should get, the packets that it answers.
    fn play(script: Vec<(Packet, Vec<Packet>)>) -> (Client, thread::JoinHandle<()>) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let server = thread::spawn(move || {
            let mut frames = Frames::new();
            for (expected, answers) in script {
                let got = loop {
                    if let Some(packet) = frames.next_packet().expect("the client sends valid packets") {
                        break packet;
                    }
                    let mut byte = [0];
                    theirs.read_exact(&mut byte).expect("the client sends all of the script");
                    frames.push(&byte);
                };
                assert_eq!(got, expected);
                for answer in answers {
                    theirs.write_all(&answer.encode().expect("it is small")).expect("the client listens");
                }
            }
        });
        (Client::new(ours), server)
    }

    fn event(name: &str, text: &str) -> Packet {
        Packet::Event { name: name.into(), message: Tree::new().with_value("k", text) }
    }

    fn command(name: &str) -> Packet {
        Packet::Request { name: name.into(), message: Tree::new() }
    }

    #[test]
    fn a_streamed_command_hands_out_its_events_and_keeps_the_others() {
        let done = Tree::new().with_value("success", "yes");
        let (mut client, server) = play(vec![
            (Packet::Register("log".into()), vec![Packet::Confirm]),
            (Packet::Register("list-sa".into()), vec![event("log", "0"), Packet::Confirm]),
            (
                command("list-sas"),
                vec![
                    event("list-sa", "1"),
                    event("log", "2"),
                    event("list-sa", "3"),
                    Packet::Response(done.clone()),
                ],
            ),
            (Packet::Unregister("list-sa".into()), vec![Packet::Confirm]),
        ]);
        client.register("log").expect("confirmed");
        let mut seen = Vec::new();
        let response = client
            .streamed("list-sas", "list-sa", &Tree::new(), |tree| {
                seen.extend(tree.text("k").map(str::to_owned))
            })
            .expect("answered");
        assert_eq!(response, done);
        assert_eq!(seen, ["1", "3"]);
        for expected in ["0", "2"] {
            assert_eq!(client.next_event().expect("it waits").message.text("k"), Some(expected));
        }
        server.join().expect("the script is played");
        assert!(matches!(client.next_event(), Err(ClientError::Closed)));
    }

    #[test]
    fn refusals_say_what_was_refused() {
        let no = Tree::new().with_value("success", "no").with_value("errmsg", "no such child");
        let (mut client, server) = play(vec![
            (command("frobnicate"), vec![Packet::UnknownCommand]),
            (Packet::Register("quake".into()), vec![Packet::UnknownEvent]),
            (command("initiate"), vec![Packet::Response(no)]),
            (command("version"), vec![Packet::Confirm]),
        ]);
        let fault = client.request("frobnicate", &Tree::new()).expect_err("unknown");
        assert_eq!(fault.to_string(), "the daemon does not know the command `frobnicate`");
        let fault = client.register("quake").expect_err("unknown");
        assert_eq!(fault.to_string(), "the daemon does not know the event `quake`");
        let response = client.request("initiate", &Tree::new()).expect("a response");
        assert_eq!(Client::success(response).expect_err("it says no").to_string(), "no such child");
        assert!(matches!(client.request("version", &Tree::new()), Err(ClientError::OutOfTurn)));
        server.join().expect("the script is played");
    }
}
