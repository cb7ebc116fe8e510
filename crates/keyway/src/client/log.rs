//! `keyway log`: what the daemon logs, as it happens.

use std::io::{self, Write as _};

use vici::{Client, ClientError, Tree};

use super::{Failure, connect};
use crate::cli::Log;
use crate::moment;

/// Prints the daemon's recent log lines and, with `--follow`, goes on until the daemon ends.
///
/// # Errors
/// The daemon cannot be reached.
pub(crate) fn log(arguments: &Log) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    if arguments.follow {
        client.register("log-line")?;
    }
    let recent = Client::success(client.request("get-log", &Tree::new())?)?;
    let mut latest = 0.0;
    for (_, line) in recent.section("lines").into_iter().flat_map(Tree::sections) {
        latest = time(line);
        writeln!(io::stdout(), "{}", render_line(line))?;
    }
    if arguments.follow { follow(&mut client, latest) } else { Ok(()) }
}

/// Prints what happens from now on; what is not later than `latest` has been printed already.
fn follow(client: &mut Client, latest: f64) -> Result<(), Failure> {
    loop {
        match client.next_event() {
            // What came between the registration and the request is told twice.
            Ok(event) if time(&event.message) <= latest => {}
            Ok(event) => writeln!(io::stdout(), "{}", render_line(&event.message))?,
            Err(ClientError::Closed) => return Err(Failure::Other("the daemon has ended".to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes a `log` message as one line.
pub(super) fn render_line(line: &Tree) -> String {
    let severity = line.text("severity").unwrap_or("INFO");
    let message = line.text("msg").unwrap_or_default();
    format!("{}  {severity:5} {message}", moment::utc(time(line)))
}

fn time(line: &Tree) -> f64 {
    line.text("time").and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_and_how_grave_it_is() {
        let line = Tree::new()
            .with_value("time", "1795266309.250")
            .with_value("severity", "WARN")
            .with_value("msg", "the peer does not answer");
        assert_eq!(render_line(&line), "2026-11-21T13:05:09.250Z  WARN  the peer does not answer");
    }
}
