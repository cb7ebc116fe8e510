//! Two daemons in two network namespaces with a wire between them, driven by the command line alone.
//!
//! These tests need root, `ip` and `ping`; whoever selects tests by name finds them under `root_`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const WEST: &str = r#"
[connections.site]
remote_addrs = "192.0.2.2"
local = { auth = "psk", id = "west.example" }
remote = { auth = "psk", id = "east.example" }
[connections.site.children.net]
local_ts = "10.1.0.0/24"
remote_ts = "10.2.0.0/24"
[secrets.ike-site]
secret = "a long and unguessable phrase"
"#;

const EAST: &str = "
connections {
  site {
    remote_addrs = 192.0.2.1
    local { auth = psk
      id = east.example }
    remote { auth = psk
      id = west.example }
    children {
      net { local_ts = 10.2.0.0/24
        remote_ts = 10.1.0.0/24 }
    }
  }
}
secrets { ike-site { secret = \"a long and unguessable phrase\" } }
";

mod root_ {
    use super::*;

    #[test]
    fn a_tunnel_comes_up_carries_packets_is_rekeyed_and_goes_without_a_trace() {
        let lab = Lab::new("life");
        let west = lab.start(End::West, "keyway.toml", WEST);
        let east = lab.start(End::East, "swanctl.conf", EAST);
        assert!(west.text(&["status"]).contains("Bring one up with `keyway up net`."));

        let said = west.text(&["up", "net"]);
        assert!(said.starts_with("net is up: 10.1.0.0/24 <-> 10.2.0.0/24 with east.example"), "{said}");
        lab.ping(3);
        let before = west.status();
        let child = &before["ike_sas"][0]["child_sas"][0];
        assert_eq!((&child["state"], &child["inbound"]["packets"]), (&"INSTALLED".into(), &3.into()));
        assert_eq!(east.status()["ike_sas"][0]["remote"]["identity"], "west.example");

        west.text(&["rekey", "net"]);
        east.text(&["rekey", "site", "--ike"]);
        let after = west.status();
        assert_ne!(after["ike_sas"][0]["initiator_spi"], before["ike_sas"][0]["initiator_spi"]);
        assert_ne!(after["ike_sas"][0]["child_sas"][0]["outbound"]["spi"], child["outbound"]["spi"]);
        lab.ping(3);

        west.text(&["down", "site", "--ike"]);
        assert!(east.text(&["status"]).starts_with("Nothing is up."));
        assert!(east.text(&["log"]).contains("deleted by the peer"));

        let trace = fs::read_to_string(lab.directory.join("west/trace.jsonl")).expect("it was asked for");
        let first: Value = serde_json::from_str(trace.lines().next().expect("messages")).expect("JSON");
        assert_eq!((&first["exchange"], &first["direction"]), (&"IKE_SA_INIT".into(), &"sent".into()));
        for daemon in [west, east] {
            daemon.stop();
        }
        assert!(lab.rules(End::West).iter().all(|rule| rule.ends_with("local")
            || rule.contains("lookup main")
            || rule.contains("lookup default")));
        assert!(!lab.ip(End::West, &["link"]).contains("keyway0"));
    }

    #[test]
    fn ending_a_daemon_ends_its_tunnels_at_the_peer_too() {
        let lab = Lab::new("farewell");
        let west = lab.start(End::West, "keyway.toml", WEST);
        let east = lab.start(End::East, "swanctl.conf", EAST);
        west.text(&["up", "net"]);
        west.stop();
        assert!(east.text(&["status"]).starts_with("Nothing is up."));
    }

    #[test]
    fn a_trap_brings_the_tunnel_up_with_its_first_packet_and_loses_none() {
        let lab = Lab::new("trap");
        let trap = WEST.replace("local_ts", "start_action = \"trap\"\nlocal_ts");
        let _west = lab.start(End::West, "keyway.toml", &trap);
        let _east = lab.start(End::East, "swanctl.conf", EAST);
        lab.ping(3);
    }

    #[test]
    fn keys_from_the_configuration_carry_packets_without_ike() {
        let lab = Lab::new("manual");
        let west = lab.start(End::West, "keyway.toml", &manual(End::West));
        let east = lab.start(End::East, "keyway.toml", &manual(End::East));
        lab.ping(3);
        let status = west.text(&["status"]);
        assert!(status.contains("lab, manual keys, installed") && status.contains("DANGER"), "{status}");
        let sa = &west.status()["manual_sas"][0];
        assert_eq!((&sa["inbound"]["packets"], &sa["outbound"]["packets"]), (&3.into(), &3.into()));

        // Without anti-replay an end may begin again; a key that is changed at one end only is no key.
        east.stop();
        let east = lab.start(End::East, "keyway.toml", &manual(End::East));
        lab.ping(1);
        let other = manual(End::East).replace("integrity_key_out = \"0x02", "integrity_key_out = \"0xff");
        fs::write(lab.directory.join("east/keyway.toml"), other).expect("ours");
        assert_eq!(east.text(&["reload"]), "configuration loaded: 1 new or changed, 0 gone, 0 as before\n");
        lab.ping_in_vain();
        let drops = west.text(&["status", "--drops"]);
        let (all, of_sas) = drops.split_once("Of lab, manual keys, in ").expect("some were of this SA");
        assert!([all, of_sas].iter().all(|part| part.contains("the integrity check failed")), "{drops}");
        fs::write(lab.directory.join("east/keyway.toml"), manual(End::East)).expect("ours");
        east.text(&["reload"]);
        lab.ping(1);
    }

    #[test]
    fn what_was_protected_stays_blocked_until_a_person_says_otherwise() {
        let lab = Lab::new("blocks");
        let west = lab.start(End::West, "keyway.toml", WEST);
        let east = lab.start(End::East, "swanctl.conf", EAST);
        west.text(&["up", "net"]);
        lab.ping(1);
        east.stop();
        let status = west.text(&["status"]);
        let blocked = "Blocked, that is dropped:\n  10.1.0.0/24 <-> 10.2.0.0/24  child net of site is not up: `keyway up \
                       net`, or `keyway unblock net`\n";
        assert!(status.starts_with("Nothing is up.") && status.ends_with(blocked), "{status}");
        assert!(west.refused(&["down", "net"]).contains("net is blocked"));

        // The daemon's end is nobody's word that it may pass, and neither is its start.
        let directory = west.directory.clone();
        west.stop();
        let namespace = lab.namespace(End::West);
        let said = without_daemon(&namespace, &directory, &["status"]);
        assert!(said.contains("10.1.0.0/24 <-> 10.2.0.0/24\n`keyway unblock` lets it pass"), "{said}");
        let west = lab.start(End::West, "keyway.toml", WEST);
        assert!(west.text(&["status"]).contains("left by an earlier run"));
        assert_eq!(west.text(&["unblock"]), "1 block taken away: the traffic passes unprotected.\n");
        assert_eq!(west.text(&["unblock"]), "Nothing was blocked.\n");
        assert!(!west.text(&["status"]).contains("Blocked"));
        west.stop();
        assert!(!without_daemon(&namespace, &directory, &["status"]).contains("Blocked"));
    }

    #[test]
    fn what_goes_wrong_is_said_in_one_sentence_and_changes_nothing() {
        let lab = Lab::new("faults");
        let west = lab.start(End::West, "keyway.toml", &WEST.replace("phrase", "frase"));
        let east = lab.start(End::East, "swanctl.conf", EAST);

        let refused = west.refused(&["up", "net"]);
        assert!(refused.contains("AUTHENTICATION_FAILED") && refused.contains("west.example"), "{refused}");
        assert!(
            east.text(&["log"]).contains("pre-shared keys of east.example"),
            "the other end says it as well"
        );

        let refused = west.refused(&["up", "nett"]);
        assert_eq!(refused, "keyway: no child is named nett; loaded are: net\n");
        fs::write(lab.directory.join("west/keyway.toml"), WEST.replace("remote_addrs", "remote_adrs"))
            .expect("ours");
        let refused = west.refused(&["reload"]);
        assert!(refused.contains("did you mean `remote_addrs`?"), "{refused}");
        fs::write(lab.directory.join("west/keyway.toml"), WEST).expect("ours");
        assert_eq!(west.text(&["reload"]), "configuration loaded: 1 new or changed, 0 gone, 1 as before\n");
        west.text(&["up", "net"]);
        lab.ping(1);

        let second = lab.daemon(End::West, "keyway.toml", "second").output().expect("it starts");
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("UDP port 500") && said.contains("in use by keyway"), "{said}");
    }
}

/// Manual keys for one end; those of the other are the same the other way round.
fn manual(end: End) -> String {
    let ways = match end {
        End::West => ["in", "out"],
        End::East => ["out", "in"],
    };
    let (number, other) = (end.number(), 3 - end.number());
    let key = |octet: &str| format!("0x{}", octet.repeat(32));
    let of = |way: &str, spi: &str, encryption: &str, integrity: &str| {
        format!(
            "spi_{way} = {spi}\nencryption_key_{way} = \"{}\"\nintegrity_key_{way} = \"{}\"\n",
            key(encryption),
            key(integrity)
        )
    };
    format!(
        "[manual.lab]\nlocal_addr = \"192.0.2.{number}\"\nremote_addr = \"192.0.2.{other}\"\n\
         local_ts = \"10.{number}.0.0/24\"\nremote_ts = \"10.{other}.0.0/24\"\n\
         [manual.lab.esp]\nproposal = \"aes256-sha256\"\n{}{}",
        of(ways[0], "0x1001", "01", "02"),
        of(ways[1], "0x1002", "04", "03")
    )
}

/// One of the two gateways.
#[derive(Clone, Copy)]
enum End {
    West,
    East,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::West => "west",
            End::East => "east",
        }
    }

    fn number(self) -> u8 {
        match self {
            End::West => 1,
            End::East => 2,
        }
    }
}

/// Two namespaces with a wire between them, and a directory for what their daemons need; all of it goes with it.
struct Lab {
    prefix: String,
    directory: PathBuf,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let prefix = format!("kwt{}{name}", std::process::id());
        let directory = std::env::temp_dir().join(&prefix);
        let lab = Lab { prefix, directory };
        for end in [End::West, End::East] {
            run("ip", &["netns", "add", &lab.namespace(end)]);
            fs::create_dir_all(lab.directory.join(end.name()))
                .expect("the temporary directory can be written");
        }
        let (west, east) = (lab.namespace(End::West), lab.namespace(End::East));
        run(
            "ip",
            &["-n", &west, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &east],
        );
        for end in [End::West, End::East] {
            let number = end.number();
            lab.ip(end, &["link", "set", "lo", "up"]);
            lab.ip(end, &["addr", "add", &format!("192.0.2.{number}/24"), "dev", "wire"]);
            lab.ip(end, &["addr", "add", &format!("10.{number}.0.1/24"), "dev", "lo"]);
            lab.ip(end, &["link", "set", "wire", "up"]);
        }
        lab
    }

    fn namespace(&self, end: End) -> String {
        format!("{}{}", self.prefix, end.number())
    }

    fn ip(&self, end: End, arguments: &[&str]) -> String {
        run("ip", &[&["-n", &self.namespace(end)], arguments].concat())
    }

    fn rules(&self, end: End) -> Vec<String> {
        self.ip(end, &["rule"]).lines().map(|rule| rule.trim_end().to_owned()).collect()
    }

    /// Sends so many packets from net to net, and expects each to be answered.
    fn ping(&self, count: u32) {
        let said = self.try_ping(count);
        assert!(said.contains(" 0% packet loss"), "{said}");
    }

    /// Sends a packet from net to net, and expects no answer.
    fn ping_in_vain(&self) {
        let said = self.try_ping(1);
        assert!(said.contains(" 100% packet loss"), "{said}");
    }

    fn try_ping(&self, count: u32) -> String {
        let (namespace, count) = (self.namespace(End::West), count.to_string());
        let ping = ["ping", "-q", "-i", "0.2", "-W", "2", "-c", &count, "-I", "10.1.0.1", "10.2.0.1"];
        let output = Command::new("ip").args(["netns", "exec", &namespace]).args(ping).output();
        String::from_utf8_lossy(&output.expect("the program is installed").stdout).into_owned()
    }

    /// Makes the command that runs a daemon whose socket and journal are called `name`.
    fn daemon(&self, end: End, configuration: &str, name: &str) -> Command {
        let directory = self.directory.join(end.name());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end), env!("CARGO_BIN_EXE_keyway"), "run"]);
        command.arg("--config").arg(directory.join(configuration));
        command.arg("--socket").arg(directory.join(name).with_extension("vici"));
        command.arg("--journal").arg(directory.join(name).with_extension("journal"));
        command.arg("--trace-messages").arg(directory.join("trace.jsonl"));
        command
    }

    /// Starts a daemon and waits until it is ready.
    fn start(&self, end: End, configuration: &str, text: &str) -> Daemon {
        let directory = self.directory.join(end.name());
        fs::write(directory.join(configuration), text).expect("the temporary directory can be written");
        let log = fs::File::create(directory.join("log")).expect("the temporary directory can be written");
        let mut command = self.daemon(end, configuration, "daemon");
        let child = command.stderr(Stdio::from(log)).spawn().expect("the program starts");
        let daemon = Daemon { child, directory };
        let began = Instant::now();
        while !daemon.keyway(&["status"]).status.success() {
            assert!(began.elapsed() < Duration::from_secs(20), "it is not ready: {}", daemon.log());
            thread::sleep(Duration::from_millis(50));
        }
        daemon
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in [End::West, End::East] {
            // A test that failed half way may not have made it.
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(end)]).status();
        }
        if !thread::panicking() {
            fs::remove_dir_all(&self.directory).expect("it is ours");
        }
    }
}

/// A running daemon; it ends with its variable.
struct Daemon {
    child: Child,
    directory: PathBuf,
}

impl Daemon {
    fn keyway(&self, arguments: &[&str]) -> Output {
        let socket = self.directory.join("daemon.vici");
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
        command.args(arguments).arg("--socket").arg(socket).output().expect("the program starts")
    }

    /// Gives a command that must work, and what it prints.
    fn text(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.keyway(arguments);
        assert!(status.success(), "{arguments:?}: {}\n{}", String::from_utf8_lossy(&stderr), self.log());
        String::from_utf8(stdout).expect("text")
    }

    /// Gives a command that must fail, and its complaint.
    fn refused(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.keyway(arguments);
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        String::from_utf8(stderr).expect("text")
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.text(&["status", "--json"])).expect("JSON")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Ends it as systemd would, and expects it to end well.
    fn stop(mut self) {
        terminate(&self.child);
        let status = self.child.wait().expect("it was started");
        assert!(status.success(), "{}", self.log());
        assert!(!Path::new(&self.directory).join("daemon.vici").exists());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            terminate(&self.child);
            // It was there a moment ago.
            let _ = self.child.wait();
        }
    }
}

/// Gives what a command prints, and what it complains of, where no daemon runs.
fn without_daemon(namespace: &str, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_keyway")]).args(arguments);
    command.arg("--socket").arg(directory.join("daemon.vici"));
    let output = command.arg("--journal").arg(directory.join("daemon.journal")).output();
    let Output { stdout, stderr, .. } = output.expect("the program starts");
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}

/// `ip netns exec` becomes the daemon, so its process is the daemon's.
fn terminate(child: &Child) {
    run("kill", &["-TERM", &child.id().to_string()]);
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
