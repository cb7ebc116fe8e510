//! The play, scene by scene.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use interop::traffic::{Pace, Ping, Transfer};
use interop::{
    Capture, End, Failure, Family, Gateway, Implementation, Keyway, Lab, Recording, Result, StrongSwan, Wire,
    until, within,
};

use crate::arguments::{Arguments, Ike, Proof};
use crate::authority;
use crate::ladder::{self, Ladder};
use crate::terminal::{Style, WIDTH, heading, indented, styled, wrapped};
use crate::verdict::Verdict;

/// The name of the connection in both configurations.
const CONNECTION: &str = "headquarters";
/// The name of its child.
const CHILD: &str = "office";
/// Octets of the bulk transfer.
const BULK: usize = 64 << 20;
/// Octets of the transfer that runs while both SAs are rekeyed.
const BULK_DURING_REKEY: usize = 24 << 20;
/// What that transfer takes of the wire, so that what is lost is not lost to a queue.
const PACE_DURING_REKEY: Pace = Pace::BitsPerSecond(40_000_000);
/// Echo requests a second while both SAs are rekeyed.
const PINGS_PER_SECOND: u32 = 200;
/// Why `allow_weak` stands in the configuration.
const AGGRESSIVE: &str = "allow_weak, because aggressive mode shows everybody on the way who the gateways are, and gives \
                          whoever asks a hash from which the pre-shared key can be guessed at leisure.";
/// How long a loaded machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays all of it.
pub(crate) fn perform(arguments: &Arguments) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let output = prepare(&arguments.output)?;
    let lab = Lab::new(arguments.wire)?;
    show_cables(&lab, arguments);

    if arguments.proof == Proof::Certificates {
        authority::play(&lab, arguments.peer)?;
    }
    let mut stage = Stage::set(lab, arguments, &output)?;
    stage.bring_up(&mut verdict)?;
    stage.show_sas()?;
    stage.carry(&mut verdict)?;
    stage.rekey(&mut verdict)?;
    stage.take_down(&mut verdict)?;
    stage.strike(&mut verdict)?;
    verdict.print();
    println!("\n  What is left to look at, in {}:", arguments.output.display());
    println!("    wire.pcapng            every packet between the gateways");
    println!("    wireshark/             the keys: WIRESHARK_CONFIG_DIR=wireshark wireshark wire.pcapng");
    println!("    messages-a.jsonl       gateway a's messages, decrypted, as JSON");
    println!("    gateway-a.log, gateway-b.log, gateway-a.conf, gateway-b.conf");
    Ok(verdict)
}

/// The second gateway.
enum Peer {
    Keyway(Keyway),
    StrongSwan(StrongSwan),
}

impl Peer {
    fn gateway(&self) -> &dyn Gateway {
        match self {
            Peer::Keyway(daemon) => daemon,
            Peer::StrongSwan(daemon) => daemon,
        }
    }

    fn gateway_mut(&mut self) -> &mut dyn Gateway {
        match self {
            Peer::Keyway(daemon) => daemon,
            Peer::StrongSwan(daemon) => daemon,
        }
    }
}

/// Everything on the stage.
struct Stage {
    capture: Option<Capture>,
    a: Keyway,
    b: Peer,
    ladder: Ladder,
    output: PathBuf,
    lab: Lab,
}

impl Stage {
    /// Starts a daemon on each gateway, with a configuration that is shown.
    fn set(lab: Lab, arguments: &Arguments, output: &Path) -> Result<Stage> {
        heading("Two configurations");
        let [text_a, text_b] = [End::A, End::B].map(|end| configuration(&lab, end, arguments));
        fs::write(output.join("gateway-a.conf"), &text_a)?;
        fs::write(output.join("gateway-b.conf"), &text_b)?;
        println!("  Gateway a ({} lines; b's is the same from the other side):\n", text_a.lines().count());
        indented(&text_a, 4);
        if arguments.ike == Ike::AggressiveMode && arguments.proof == Proof::Secret {
            println!();
            explain(AGGRESSIVE);
        }

        let trace = output.join("messages-a.jsonl");
        let keys = output.join("wireshark");
        let options =
            [format!("--trace-messages={}", trace.display()), format!("--disclose-keys={}", keys.display())];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let b = match arguments.peer {
            Implementation::Keyway => Peer::Keyway(Keyway::start_with(&lab, End::B, &text_b, &[])?),
            Implementation::StrongSwan | Implementation::StrongSwan6 => {
                let daemon = match arguments.peer {
                    Implementation::StrongSwan6 => StrongSwan::start_version_6(&lab, End::B)?,
                    Implementation::StrongSwan | Implementation::Keyway => StrongSwan::start(&lab, End::B)?,
                };
                daemon.configure(&text_b)?;
                Peer::StrongSwan(daemon)
            }
        };
        let capture = Capture::start(&lab, End::A, &output.join("wire.pcapng"))?;
        let a = Keyway::start_with(&lab, End::A, &text_a, &options)?;
        let ladder = Ladder::new(&trace);
        Ok(Stage { capture: Some(capture), a, b, ladder, output: output.to_owned(), lab })
    }

    /// A packet from host a to host b finds no SA, asks for one, and arrives when it is there.
    fn bring_up(&mut self, verdict: &mut Verdict) -> Result<()> {
        heading("A packet brings the tunnel up");
        let target = self.lab.b.host_address(Family::V4);
        println!("  host a$ ping -c 5 {target}\n");
        let ping = Ping::run(&self.lab.a.host, target, 5, 5)?;
        self.both_have_one_child()?;
        ladder::print(&self.ladder.climb()?);
        println!();
        verdict.note(
            format!(
                "The tunnel came up, and {} of {} pings were answered, the first among them",
                ping.received, ping.sent
            ),
            ping.received == ping.sent,
        );
        Ok(())
    }

    fn show_sas(&self) -> Result<()> {
        heading("What both sides have now");
        println!("  gateway a$ keyway status\n");
        indented(&self.a.command(&["status"])?.success()?, 4);
        let (command, answer) = match &self.b {
            Peer::Keyway(daemon) => ("keyway status", daemon.command(&["status"])?),
            Peer::StrongSwan(daemon) => ("swanctl --list-sas", daemon.swanctl().answer(&["--list-sas"])?),
        };
        println!("\n  gateway b$ {command}\n");
        indented(&answer.success()?, 4);
        Ok(())
    }

    /// Latency and throughput.
    fn carry(&mut self, verdict: &mut Verdict) -> Result<()> {
        heading("What the tunnel carries");
        let target = self.lab.b.host_address(Family::V4);
        let ping = Ping::run(&self.lab.a.host, target, 200, 100)?;
        let (best, mean, _) = ping.round_trip_ms.unwrap_or_default();
        verdict.note(
            format!(
                "{} of {} pings answered; {mean:.2} ms there and back, {best:.2} at best",
                ping.received, ping.sent
            ),
            ping.received == ping.sent,
        );
        self.explain_losses(&ping)?;
        let transfer = Transfer::run(&self.lab.a.host, &self.lab.b.host, target, BULK, Pace::Unlimited)?;
        verdict.note(
            format!(
                "{} MiB over TCP arrived with the right SHA-256, at {:.0} Mbit/s",
                BULK >> 20,
                transfer.bits_per_second() / 1e6
            ),
            true,
        );
        Ok(())
    }

    /// New keys for both SAs while packets flow.
    fn rekey(&mut self, verdict: &mut Verdict) -> Result<()> {
        heading("New keys under traffic");
        println!(
            "  host a$ ping -i {} {} … and a TCP transfer; meanwhile",
            1.0 / f64::from(PINGS_PER_SECOND),
            self.lab.b.host_address(Family::V4)
        );
        println!("  gateway a$ keyway rekey {CHILD}\n  gateway a$ keyway rekey {CONNECTION} --ike");
        let before = self.spis()?;
        let (ping, transfer) = thread::scope(|scope| -> Result<_> {
            let target = self.lab.b.host_address(Family::V4);
            let (from, to) = (&self.lab.a.host, &self.lab.b.host);
            let ping = Ping::start(from, target, 8 * PINGS_PER_SECOND, PINGS_PER_SECOND)?;
            let transfer =
                scope.spawn(move || Transfer::run(from, to, target, BULK_DURING_REKEY, PACE_DURING_REKEY));
            thread::sleep(Duration::from_secs(1));
            self.a.rekey_child(CHILD)?;
            thread::sleep(Duration::from_secs(2));
            self.a.rekey_ike(CONNECTION)?;
            let transfer = transfer.join().map_err(|_| Failure::new("the transfer panicked"))?;
            Ok((ping.finish()?, transfer))
        })?;
        let after = within(PATIENCE, "both sides to have replaced both SAs", || {
            let now = self.spis().ok()?;
            (now.0 != before.0 && now.1 != before.1).then_some(now)
        });
        ladder::print(&self.ladder.climb()?);
        println!();
        verdict.note("Both SAs have new SPIs, on which both sides agree", after.is_ok());
        verdict.note(
            format!(
                "{} of {} pings answered, {PINGS_PER_SECOND} a second, while both SAs were replaced",
                ping.received, ping.sent
            ),
            ping.received == ping.sent,
        );
        self.explain_losses(&ping)?;
        verdict.note("The transfer that ran meanwhile arrived with the right SHA-256", transfer.is_ok());
        Ok(())
    }

    fn take_down(&mut self, verdict: &mut Verdict) -> Result<()> {
        heading("The tunnel is taken down");
        println!("  gateway a$ keyway down {CONNECTION} --ike\n");
        self.a.terminate(CONNECTION)?;
        let gone = until(PATIENCE, "both sides to be without SAs", || {
            self.a.sas().is_ok_and(|sas| sas.is_empty())
                && self.b.gateway().sas().is_ok_and(|sas| sas.is_empty())
        });
        ladder::print(&self.ladder.climb()?);
        println!();
        verdict.note("Neither side has an SA left", gone.is_ok());
        Ok(())
    }

    /// Ends the daemons, and looks at what they left behind: on the host, and on the wire.
    fn strike(mut self, verdict: &mut Verdict) -> Result<()> {
        heading("What is left behind");
        let stopped = self.a.stop().and(self.b.gateway_mut().stop());
        fs::write(self.output.join("gateway-a.log"), self.a.log())?;
        fs::write(self.output.join("gateway-b.log"), self.b.gateway().log())?;
        let gateway = &self.lab.a.gateway;
        let links = gateway.run("ip", &["-o", "link"])?;
        let rules = gateway.run("ip", &["rule"])?;
        let clean = !links.contains("keyway") && rules.lines().count() == 3;
        verdict.note("Gateway a has no device and no rule of ours left", stopped.is_ok() && clean);

        let capture = self.capture.take().ok_or_else(|| Failure::new("the capture ended before its time"))?;
        let recording = capture.finish()?;
        let esp = recording.count("esp")?;
        let leaks = recording.leaks()?;
        verdict
            .note(format!("{esp} ESP packets on the wire, and {leaks} in plaintext"), esp > 0 && leaks == 0);
        let (messages, packets) = decrypted(&recording, &self.output.join("wireshark"))?;
        verdict.note(
            format!("tshark, which we did not write, decrypts {messages} IKE messages and {packets} ESP packets with our keys"),
            messages > 0 && packets > 0,
        );
        self.lab.dismantle();
        Ok(())
    }

    /// Prints what each Keyway dropped and why, when packets are missing.
    fn explain_losses(&self, ping: &Ping) -> Result<()> {
        if ping.received == ping.sent {
            return Ok(());
        }
        let mut daemons = vec![("a", &self.a)];
        if let Peer::Keyway(daemon) = &self.b {
            daemons.push(("b", daemon));
        }
        for (name, daemon) in daemons {
            println!("  gateway {name}$ keyway status --drops\n");
            indented(&daemon.command(&["status", "--drops"])?.success()?, 4);
        }
        Ok(())
    }

    fn both_have_one_child(&self) -> Result<()> {
        within(PATIENCE, "both sides to have the tunnel", || self.spis().ok()).map(drop)
    }

    /// The SPIs of the IKE SA and of the Child SA, if both sides have one of each and agree.
    fn spis(&self) -> Result<(String, String)> {
        let of = |gateway: &dyn Gateway| -> Result<(String, String, String)> {
            let sas = gateway.sas()?;
            // In IKEv1 one that was replaced lingers until it is deleted or expires.
            let mut established = sas.iter().filter(|ike| ike.is_established());
            let (Some(ike), None) = (established.next(), established.next()) else {
                return Err(Failure::new("not one IKE SA"));
            };
            let mut children = ike.children.iter().filter(|child| child.is_installed());
            let (Some(child), None) = (children.next(), children.next()) else {
                return Err(Failure::new("not one Child SA"));
            };
            let ((initiator, responder), (inbound, outbound)) = (ike.spis(), child.spis());
            Ok((format!("{initiator}{responder}"), inbound.to_owned(), outbound.to_owned()))
        };
        let (a, b) = (of(&self.a)?, of(self.b.gateway())?);
        if a.0 == b.0 && a.1 == b.2 && a.2 == b.1 {
            Ok((a.0, format!("{}{}", a.1, a.2)))
        } else {
            Err(Failure::new("the two sides do not agree"))
        }
    }
}

/// Empties the directory of an earlier run, as far as it is ours.
fn prepare(output: &Path) -> Result<PathBuf> {
    fs::create_dir_all(output.join("wireshark"))?;
    for name in [
        "wire.pcapng",
        "messages-a.jsonl",
        "wireshark/ikev1_decryption_table",
        "wireshark/ikev2_decryption_table",
        "wireshark/esp_sa",
    ] {
        // What is not there need not go.
        let _ = fs::remove_file(output.join(name));
    }
    fs::write(output.join("wireshark/preferences"), "esp.enable_encryption_decode: TRUE\n")?;
    output.canonicalize().map_err(Failure::at(output.display()))
}

fn show_cables(lab: &Lab, arguments: &Arguments) {
    heading("Two sites");
    let outside = |end| lab.site(end).outside(Family::V4).to_string();
    let peer = match arguments.peer {
        Implementation::Keyway => "keyway",
        Implementation::StrongSwan | Implementation::StrongSwan6 => "strongSwan",
    };
    let (wire, remark) = match arguments.wire {
        Wire::Plain => ("──────────", String::new()),
        Wire::Nat => ("── NAT ───", format!("seen from b as {}", lab.seen_address(End::A, Family::V4))),
    };
    println!("  host a ─────── gateway a (keyway) ─{wire}─ gateway b ({peer}) ─────── host b");
    println!(
        "  {:<15}{:<24}{:<25}{}",
        lab.a.host_address(Family::V4),
        outside(End::A),
        outside(End::B),
        lab.b.host_address(Family::V4)
    );
    if !remark.is_empty() {
        println!("  {:15}{remark}", "");
    }
    println!();
    let story = "Each is a network namespace of its own. The hosts know nothing of IPsec; what they send to each other \
                 has to cross the wire between the gateways protected, or not at all.";
    explain(story);
}

fn explain(text: &str) {
    for line in wrapped(text, WIDTH - 4) {
        println!("  {}", styled(Style::Dim, &line));
    }
}

/// One end's whole configuration, as a person would write it; strongSwan reads the same.
fn configuration(lab: &Lab, end: End, arguments: &Arguments) -> String {
    let (here, there) = (lab.site(end), lab.site(end.other()));
    let seen = lab.seen_address(end.other(), Family::V4);
    // Who is behind a NAT cannot be called, and its address is not known beforehand.
    let is_hidden = seen != there.outside(Family::V4);
    let remote = if is_hidden { "%any".to_owned() } else { seen.to_string() };
    let version = match arguments.ike {
        Ike::Version2 => "",
        Ike::MainMode => "      version = 1\n",
        Ike::AggressiveMode => "      version = 1\n      aggressive = yes\n      allow_weak = yes\n",
    };
    let with_methods =
        |line: &str| arguments.methods.map_or(String::new(), |methods| format!("{line}-{methods}\n"));
    let ike = with_methods("      proposals = aes256gcm16-prfsha384");
    let esp = with_methods("            esp_proposals = aes256gcm16");
    let (own, proof, secrets) = match arguments.proof {
        Proof::Secret => (
            "auth = psk".to_owned(),
            "auth = psk",
            format!("secrets {{ ike-{CONNECTION} {{ secret = \"correct horse battery staple\" }} }}\n"),
        ),
        Proof::Certificates => (
            format!("auth = pubkey\n         certs = {}", authority::certificate(end)),
            "auth = pubkey",
            String::new(),
        ),
    };
    let start = if is_hidden { "none" } else { "trap" };
    format!(
        "connections {{
   {CONNECTION} {{
{version}{ike}      local_addrs = {}
      remote_addrs = {remote}
      local {{
         {own}
         id = {end}.example.org
      }}
      remote {{
         {proof}
         id = {}.example.org
      }}
      children {{
         {CHILD} {{
{esp}            local_ts = {}
            remote_ts = {}
            start_action = {start}
         }}
      }}
   }}
}}
{secrets}",
        here.outside(Family::V4),
        end.other(),
        here.network(Family::V4),
        there.network(Family::V4),
    )
}

/// Counts the IKE messages and the ESP packets that tshark decrypts with the keys in a directory: of the IKE messages
/// all, of the ESP packets the first, since it takes its time over each.
fn decrypted(recording: &Recording, keys: &Path) -> Result<(usize, usize)> {
    const FIRST_PACKETS: &str = "isakmp || frame.number < 500";
    let excerpt = recording.file.with_extension("excerpt");
    let mut cut = Command::new("tshark");
    cut.args(["-n", "-Y", FIRST_PACKETS, "-r"]).arg(&recording.file).arg("-w").arg(&excerpt);
    cut.output().map_err(Failure::at("tshark"))?;
    let count = |filter: &str| -> Result<usize> {
        let mut tshark = Command::new("tshark");
        tshark.env("WIRESHARK_CONFIG_DIR", keys).args(["-n", "-r"]).arg(&excerpt);
        tshark.args(["-Y", filter, "-T", "fields", "-e", "frame.number"]);
        let output = tshark.output().map_err(Failure::at("tshark"))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    };
    let counts = (
        count("isakmp.enc.decrypted || (isakmp.version == 0x10 && isakmp.flag_e == 1 && isakmp.hash)")?,
        count("esp && icmp")?,
    );
    fs::remove_file(&excerpt)?;
    Ok(counts)
}
