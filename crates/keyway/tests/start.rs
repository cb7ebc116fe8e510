//! What `keyway run` says when it cannot start.

use std::fs;
use std::process::Command;

/// Runs a daemon whose socket would have to lie inside a file; gives what it says.
fn refused(log: &str) -> String {
    let directory = std::env::temp_dir().join(format!("keyway-start-{}-{log}", std::process::id()));
    fs::create_dir(&directory).expect("the temporary directory can be written");
    let file = directory.join("keyway.conf");
    fs::write(&file, "").expect("it can be written");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_keyway"));
    daemon.args(["run", "--log", log, "--config"]).arg(&file).arg("--socket").arg(file.join("keyway.vici"));
    let output = daemon.output().expect("the program runs");
    assert!(!output.status.success());
    fs::remove_dir_all(&directory).expect("it is ours");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_failure_is_told_once_whatever_the_log_leaves_out() {
    for log in ["info", "off", "ike=info"] {
        let said = refused(log);
        assert_eq!(said.matches("cannot listen on").count(), 1, "--log {log}: {said}");
    }
}
