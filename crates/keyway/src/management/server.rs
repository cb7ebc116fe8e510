//! The socket: made so that only root's clients reach it, taken over from a daemon that is gone, and removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::umask;
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::{Management, session};
use crate::daemon::limits;

/// Why the socket cannot be had.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    /// Another daemon answers on it.
    #[error("another daemon already listens on {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// Something else lies at its path.
    #[error("{} exists and is no socket; remove it or choose another --socket", .0.display())]
    NoSocket(PathBuf),
    /// Its directory is not for us.
    #[error("cannot listen on {}: permission denied; run as root", .0.display())]
    Denied(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {}: {error}", path.display())]
    Refused {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// A listening socket, whose file goes when it goes.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

/// Only the owner and the group may connect; who may connect may do everything.
const MODE: u32 = 0o660;

/// Listens on a Unix socket; one that a crashed daemon left behind is taken over.
///
/// # Errors
/// Another daemon listens there, or the path cannot be used.
pub(crate) fn listen(path: &Path) -> Result<Listener, ListenError> {
    let refused = |error| refused(path, error);
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(refused)?;
    }
    let listener = match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind(path)
        }
        bound => bound,
    };
    Ok(Listener { listener: listener.map_err(refused)?, path: path.to_owned() })
}

/// Makes the socket; not for a moment does it belong to everybody.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_raw_mode(!MODE & 0o777));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    match BlockingStream::connect(path) {
        Ok(_) => Err(ListenError::AlreadyRunning(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            use std::os::unix::fs::FileTypeExt;
            let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
            if !is_socket {
                return Err(ListenError::NoSocket(path.to_owned()));
            }
            fs::remove_file(path).map_err(|error| refused(path, error))
        }
        Err(error) => Err(refused(path, error)),
    }
}

fn refused(path: &Path, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ListenError::Denied(path.to_owned()),
        _ => ListenError::Refused { path: path.to_owned(), error },
    }
}

/// Takes in clients for ever, each in a task of its own. One too many is told so by the end of its connection, at once,
/// rather than left to wait for clients that may never leave.
pub(crate) async fn serve(listener: &Listener, management: Management) {
    let places = Arc::new(Semaphore::new(limits::CLIENTS));
    loop {
        let stream = match listener.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client could not be taken in");
                // Out of file descriptors, most likely: others must close theirs first.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(clients = limits::CLIENTS, "a client was turned away: all places are taken");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        let management = management.clone();
        tokio::spawn(async move {
            if let Err(cut_off) = session::serve(stream, management).await {
                tracing::warn!("a client was cut off: {cut_off}");
            }
            drop(place);
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("keyway-{name}-{}.vici", std::process::id()))
    }

    #[tokio::test]
    async fn a_socket_without_a_daemon_is_taken_over_and_one_with_is_not() {
        let path = path("stale");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("the temporary directory can be written"));
        let listener = listen(&path).expect("nobody listens there");
        assert!(matches!(listen(&path), Err(ListenError::AlreadyRunning(_))));
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_client_too_many_is_turned_away_and_the_next_one_is_served() {
        use std::time::SystemTime;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::UnixStream;

        let path = path("full");
        let listener = listen(&path).expect("the temporary directory can be written");
        let (engine, _orders) = crate::daemon::handle::Engine::channel();
        let constants = crate::management::Constants {
            configuration: None,
            started: SystemTime::now(),
            workers: 1,
            tokens: Arc::default(),
            aggressive_secrets: Default::default(),
        };
        let notices = crate::daemon::notices::Notices::new();
        let management = Management { engine, notices, daemon: constants.into(), revocation: Arc::default() };
        let client = async {
            let mut silent = Vec::new();
            for _ in 0..limits::CLIENTS {
                silent.push(UnixStream::connect(&path).await.expect("it listens"));
            }
            let mut one_too_many = UnixStream::connect(&path).await.expect("it listens");
            assert_eq!(one_too_many.read(&mut [0; 1]).await.expect("an end"), 0);
            silent.pop();
            tokio::time::sleep(limits::ACCEPT_PAUSE * 2).await;
            let mut next = UnixStream::connect(&path).await.expect("it listens");
            let register = vici::Packet::Register("log".to_owned()).encode().expect("it is small");
            next.write_all(&register).await.expect("it listens");
            next.read_exact(&mut [0; 5]).await.expect("it is served");
        };
        tokio::select! {
            () = serve(&listener, management) => {}
            () = client => {}
        }
    }

    #[test]
    fn who_may_not_listen_is_told_who_may() {
        let refusal = refused(Path::new("/run/keyway/x"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(refusal.to_string(), "cannot listen on /run/keyway/x: permission denied; run as root");
    }

    #[tokio::test]
    async fn a_file_at_the_socket_s_path_is_left_alone() {
        let path = path("file");
        fs::write(&path, "precious").expect("the temporary directory can be written");
        assert!(matches!(listen(&path), Err(ListenError::NoSocket(_))));
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
        fs::remove_file(&path).expect("it is ours");
    }
}
