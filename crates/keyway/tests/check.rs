//! What `keyway check` says of an old connection: where each weakness stands, why it is dangerous, and what to do.

use std::fs;
use std::process::{Command, Output};

/// As it may have stood on an old router, in aggressive mode.
fn connection(consent: &str) -> String {
    format!(
        "connections {{
   old {{
      version = 1
      {consent}
      aggressive = yes
      remote_addrs = 192.0.2.1
      proposals = 3des-md5-modp1024
      local {{ auth = psk }}
      remote {{ auth = psk }}
      children {{
         net {{
            remote_ts = 10.2.0.0/16
            esp_proposals = des-sha1
         }}
      }}
   }}
}}
secrets {{ ike-old {{ secret = \"correct horse battery staple\" }} }}
"
    )
}

fn check(name: &str, text: &str) -> Output {
    let file = std::env::temp_dir().join(format!("keyway-check-{}-{name}.conf", std::process::id()));
    fs::write(&file, text).expect("the temporary directory can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_keyway")).arg("check").arg(&file).output();
    fs::remove_file(&file).expect("it is ours");
    output.expect("the program runs")
}

/// What is dangerous, line by line.
const DANGERS: [(&str, &str); 6] = [
    (
        ":5:20:",
        "aggressive mode shows everybody who asks a hash of the pre-shared key, from which a password can be found",
    ),
    (":7:19:", "`3des` is weak: a 64-bit block gives plaintext away after some 32 GiB under one key"),
    (":7:19:", "`md5` is weak: MD5 collides at will"),
    (":7:19:", "`modp1024` is weak: the 1024-bit group is within reach of states"),
    (":13:29:", "`des` is weak: a 56-bit key is searched in a day"),
    (":13:29:", "`sha1` is weak: SHA-1 collides for money"),
];

fn says_all(said: &str, severity: &str) {
    for (place, danger) in DANGERS {
        let told =
            said.lines().any(|line| line.contains(&format!("{place} {severity}: ")) && line.contains(danger));
        assert!(told, "{place} {severity}: {danger} is missing in:\n{said}");
    }
}

#[test]
fn what_is_weak_is_refused_with_its_danger_and_the_way_out() {
    let output = check("refused", &connection(""));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    says_all(&said, "error");
    assert_eq!(
        said.matches("write `allow_weak = yes`, a key of Keyway's own, in the connection").count(),
        3,
        "{said}"
    );
}

#[test]
fn what_is_allowed_is_told_all_the_same() {
    let output = check("allowed", &connection("allow_weak = yes"));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    says_all(&said, "warning");
    assert!(String::from_utf8(output.stdout).expect("text").contains("right: 1 connection"));
}
