//! `--trace-messages`: every IKE message in words, one JSON object a line.
//!
//! ```text
//! {"time":1795266000.25,"direction":"sent","version":2,"exchange":"IKE_SA_INIT","response":false,"message_id":0,…,
//!  "payloads":[{"name":"SA","sentence":"…"},…]}
//! ```

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ike::{MessageTrace, PayloadTrace, TraceDirection};
use serde_json::{Value, json};

/// The open file.
#[derive(Debug)]
pub(crate) struct TraceFile(File);

impl TraceFile {
    /// Creates the file, or empties it; what is a file is for its owner alone, for it says who talks to whom.
    ///
    /// # Errors
    /// It cannot be created.
    pub(crate) fn create(path: &Path) -> io::Result<TraceFile> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
        // The mode above counts only where the file is made. A terminal or a pipe keeps its own.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        Ok(TraceFile(file))
    }

    /// Adds one line; `at` is the wall-clock time of the message.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(crate) fn write(&mut self, at: SystemTime, message: &MessageTrace) -> io::Result<()> {
        let mut line = line(at, message).to_string();
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

const MODE: u32 = 0o600;

fn line(at: SystemTime, message: &MessageTrace) -> Value {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let direction = match message.direction {
        TraceDirection::Sent => "sent",
        TraceDirection::Received => "received",
    };
    json!({
        "time": since_epoch.as_secs_f64(),
        "direction": direction,
        "version": message.version.major,
        "exchange": message.exchange,
        "response": message.is_response,
        "message_id": message.message_id,
        "initiator_spi": message.initiator_spi.to_string(),
        "responder_spi": message.responder_spi.to_string(),
        "local": message.path.local.to_string(),
        "remote": message.path.remote.to_string(),
        "octets": message.octets,
        "fragments": message.fragments,
        "payloads": message.payloads.iter().map(payload).collect::<Vec<_>>(),
    })
}

fn payload(payload: &PayloadTrace) -> Value {
    json!({ "name": payload.name, "sentence": payload.sentence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use wire::isakmp::{IkeSpi, Version};

    #[test]
    fn the_trace_is_for_its_owner_alone() {
        let path = std::env::temp_dir().join(format!("keyway-trace-{}.jsonl", std::process::id()));
        std::fs::write(&path, "old").expect("the temporary directory can be written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
        TraceFile::create(&path).expect("it can be written");
        let metadata = std::fs::metadata(&path).expect("it is there");
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (0, 0o600));
        std::fs::remove_file(&path).expect("it is ours");
    }

    #[test]
    fn a_line_holds_everything_that_the_ladder_shows() {
        let message = MessageTrace {
            at: Instant::now(),
            direction: TraceDirection::Received,
            path: ike::Path {
                local: "192.0.2.1:500".parse().expect("an address"),
                remote: "[2001:db8::2]:4500".parse().expect("an address"),
            },
            version: Version::V2,
            exchange: "IKE_AUTH".to_owned(),
            is_response: true,
            message_id: 1,
            initiator_spi: IkeSpi(0x0123_4567_89ab_cdef),
            responder_spi: IkeSpi(1),
            octets: 240,
            fragments: 2,
            payloads: vec![PayloadTrace {
                name: "IDr".to_owned(),
                sentence: "The responder is \"b\".".to_owned(),
            }],
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(
            line(at, &message),
            json!({
                "time": 1.5, "direction": "received", "version": 2, "exchange": "IKE_AUTH", "response": true, "message_id": 1,
                "initiator_spi": "0123456789abcdef", "responder_spi": "0000000000000001",
                "local": "192.0.2.1:500", "remote": "[2001:db8::2]:4500", "octets": 240, "fragments": 2,
                "payloads": [{ "name": "IDr", "sentence": "The responder is \"b\"." }],
            })
        );
    }
}
