//! A real Linux kernel with ESP, AH and IPComp, in the place of a gateway.
//!
//! ```text
//!                     the gateway's namespace                      the guest
//!     host b ──────── in ── in-bridge ── in-tap ─────────────────── in   10.2.0.1      fd00:2::1
//!     wire ────────── out ── out-bridge ── out-tap ──────────────── out  198.51.100.1  2001:db8:b::1
//! ```
//!
//! The kernel is User-Mode Linux, Debian's package of that name: an ordinary program, which boots in two seconds wherever it
//! may use ptrace, needs no image, since its root is this machine's own (read-only), and ends when its channel is closed,
//! whoever closes it. To host and wire it is the gateway: addresses and routes are the same.

mod heartbeat;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::process::{Answer, Process, beside, tail};
use crate::{End, Failure, Family, Lab, Result, Site, cleanup, until};

use heartbeat::Heartbeat;

/// Debian's program of the package `user-mode-linux`.
const PROGRAM: &str = "/usr/bin/linux.uml";
/// What the guest does first and last.
const INIT: &str = include_str!("guest/init.sh");
/// What holds the port for ESP in UDP.
const NAT_PORT: &str = include_str!("guest/nat_port.py");
/// What a loaded machine may need until the kernel takes commands.
const BOOT: Duration = Duration::from_secs(60);
/// What it may need to end.
const STOP: Duration = Duration::from_secs(10);
/// Longer than any command may take; the guest itself ends one that does.
const PATIENCE: Duration = Duration::from_secs(60);
/// The host waits so much longer, and then gives up the guest.
const GRACE: Duration = Duration::from_secs(30);

/// A running kernel; it ends when this is dropped.
#[derive(Debug)]
pub struct Guest {
    namespace: String,
    share: PathBuf,
    release: String,
    channel: Mutex<Channel>,
    process: Process,
    _heartbeat: Heartbeat,
}

/// The serial line, which carries one command at a time.
#[derive(Debug)]
struct Channel {
    line: BufReader<UnixStream>,
    commands: u32,
}

impl Guest {
    /// Boots a kernel in the place of one gateway, with the addresses and routes that the gateway had.
    ///
    /// # Errors
    ///
    /// When the package `user-mode-linux` is not installed, or the kernel does not come up.
    pub fn start(lab: &Lab, end: End) -> Result<Guest> {
        let site = lab.site(end);
        let share = lab.directory().join(format!("guest-{end}"));
        fs::create_dir_all(&share)?;
        fs::write(share.join("init.sh"), INIT)?;
        bridge_cables(site)?;
        let (ours, theirs) = UnixStream::pair()?;
        let log = share.with_extension("log");
        let process = Process::start_with_input(
            &format!("the guest at {end}"),
            &mut kernel(site, &share),
            OwnedFd::from(theirs).into(),
            &log,
        )?;
        let heartbeat = Heartbeat::start(share.join("console/mconsole"))?;
        let mut guest = Guest {
            namespace: site.gateway.name().to_owned(),
            share,
            release: String::new(),
            channel: Mutex::new(Channel { line: BufReader::new(ours), commands: 0 }),
            process,
            _heartbeat: heartbeat,
        };
        guest.release = guest.wait_until_ready()?;
        guest.run(&addresses(site))?;
        Ok(guest)
    }

    /// The kernel's version, as `uname -r` prints it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The directory that the guest sees as `/run/share`.
    pub(crate) fn share(&self) -> &Path {
        &self.share
    }

    /// Runs a shell script inside, and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it does not succeed, or the guest has ended.
    pub fn run(&self, script: &str) -> Result<String> {
        self.answer(script)?.success()
    }

    /// Runs a shell script inside to its end. What it leaves running in the background must not hold its output.
    ///
    /// # Errors
    ///
    /// When the guest has ended; how the script ends is part of the answer, 124 being for one that took too long.
    pub fn answer(&self, script: &str) -> Result<Answer> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let number = channel.commands;
        channel.commands += 1;
        let file = |kind: &str| self.share.join(format!("{number}.{kind}"));
        fs::write(file("sh"), script)?;
        let reply = channel.exchange(&number.to_string()).map_err(|failure| self.lost(&failure))?;
        let code = reply
            .strip_prefix(&format!("{number} "))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| self.lost(&Failure::new(format!("it replied {reply:?} to command {number}"))))?;
        let text = |kind: &str| -> Result<String> {
            Ok(String::from_utf8_lossy(&fs::read(file(kind))?).into_owned())
        };
        Ok(Answer {
            command: script.to_owned(),
            code: Some(code),
            stdout: text("out")?,
            stderr: text("err")?,
        })
    }

    /// Sends echo requests from inside, as [`Ping`](crate::traffic::Ping) does from a namespace, and gives how many were
    /// answered. `within` may name a network namespace of the guest's own.
    ///
    /// # Errors
    ///
    /// When there is no socket to be had, or the guest has ended.
    pub fn ping(&self, within: Option<&str>, to: IpAddr, count: u32, per_second: u32) -> Result<u32> {
        let prefix = within.map_or_else(String::new, |namespace| format!("ip netns exec {namespace} "));
        let traffic = beside("traffic")?;
        let printed = self.run(&format!("{prefix}{} ping {to} {count} {per_second}", traffic.display()))?;
        printed.trim().parse().map_err(Failure::at("what `traffic ping` printed"))
    }

    /// Makes sure from inside that everything reaches a [`Server`](crate::traffic::Server), as
    /// [`visit_here`](crate::traffic::visit_here) does.
    ///
    /// # Errors
    ///
    /// When something is lost or changed.
    pub fn visit(&self, server: SocketAddr) -> Result<()> {
        self.run(&format!("{} visit {server}", beside("traffic")?.display())).map(drop)
    }

    /// Starts servers inside, such as [`Server`](crate::traffic::Server) is outside.
    ///
    /// # Errors
    ///
    /// When an address is not there.
    pub fn serve(&self, addresses: &[SocketAddr]) -> Result<()> {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let traffic = beside("traffic")?;
        self.keep_running("serve", &format!("{} serve {}", traffic.display(), addresses.join(" ")))
    }

    /// Holds UDP port 4500 inside, for both families, so that the kernel takes ESP from there (RFC 3948), as a daemon would.
    ///
    /// # Errors
    ///
    /// When the guest has ended, or this machine has no Python.
    pub fn hold_nat_port(&self) -> Result<()> {
        fs::write(self.share.join("nat_port.py"), NAT_PORT)?;
        self.keep_running("nat_port", "python3 /run/share/nat_port.py")
    }

    /// Starts a program inside that runs on, and waits until it says that it is ready.
    fn keep_running(&self, name: &str, command: &str) -> Result<()> {
        self.run(&format!("{command} >/run/{name}.log 2>&1 &"))?;
        let log = || self.run(&format!("cat /run/{name}.log")).unwrap_or_default();
        until(PATIENCE, &format!("{name} in the guest"), || log().contains("ready"))
            .map_err(|failure| Failure::new(format!("{failure}; it said {:?}", log())))
    }

    fn wait_until_ready(&self) -> Result<String> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let line = channel.read(BOOT).map_err(|failure| self.lost(&failure))?;
        line.strip_prefix("ready ")
            .map(str::to_owned)
            .ok_or_else(|| self.lost(&Failure::new(format!("it said {line:?} instead of `ready`"))))
    }

    fn lost(&self, failure: &Failure) -> Failure {
        Failure::new(format!("the guest is lost: {failure}; its console:\n{}", tail(&self.process.log())))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let channel = self.channel.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It fails only for a guest that has ended already.
        let _ = channel.line.get_ref().shutdown(Shutdown::Both);
        let _ = self.process.wait(STOP);
        // A kernel that was killed leaves the processes of its programs behind.
        cleanup::end_processes_in(&self.namespace);
    }
}

impl Channel {
    fn exchange(&mut self, command: &str) -> Result<String> {
        self.line.get_mut().write_all(format!("{command}\n").as_bytes())?;
        self.read(PATIENCE + GRACE)
    }

    fn read(&mut self, limit: Duration) -> Result<String> {
        self.line.get_ref().set_read_timeout(Some(limit))?;
        let mut line = String::new();
        match self.line.read_line(&mut line)? {
            0 => Err(Failure::new("it has ended")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

/// Gives the cables' ends to the guest: what comes in by one leaves through a tap, and the namespace itself takes no part.
fn bridge_cables(site: &Site) -> Result<()> {
    let gateway = &site.gateway;
    // The guest's driver takes one packet at a time, not several that are yet to be cut apart (gso_max_segs).
    gateway.sysctl("net/ipv4/ip_forward", "0")?;
    for scope in ["all", "default"] {
        gateway.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
    }
    for cable in ["in", "out"] {
        gateway.batch(&format!(
            "addr flush dev {cable}
             link add {cable}-bridge type bridge mcast_snooping 0
             tuntap add dev {cable}-tap mode tap
             link set {cable} master {cable}-bridge
             link set {cable}-tap master {cable}-bridge
             link set {cable}-tap gso_max_segs 1 up
             link set {cable}-bridge up"
        ))?;
    }
    Ok(())
}

fn kernel(site: &Site, share: &Path) -> Command {
    let share = share.display();
    let mut command = site.gateway.command(PROGRAM);
    // A clock that stops when there is nothing to do wakes late.
    command.args(["mem=256M", "rootfstype=hostfs", "ro", "quiet", "panic=1", "nohz=off"]);
    // The console goes to the log, the first serial line is the channel. What the kernel does not know becomes the
    // environment of the first process.
    command.args(["con=null", "ssl=null", "con0=null,fd:1", "ssl0=fd:0"]);
    command.args(["vec0:transport=tap,ifname=out-tap,depth=64", "vec1:transport=tap,ifname=in-tap,depth=64"]);
    command.args([format!("uml_dir={share}/"), "umid=console".to_owned()]);
    command.args([format!("share={share}"), format!("patience_secs={}", PATIENCE.as_secs())]);
    // In a user namespace the host's root is nobody to the guest, and a set-user-id `mount` would run as nobody.
    command
        .args(["init=/usr/bin/setpriv", "--", "--no-new-privs", "/bin/sh"])
        .arg(format!("{share}/init.sh"));
    command
}

/// The script that makes the guest the gateway.
fn addresses(site: &Site) -> String {
    let mut script = String::from(
        "set -e
         ip link set lo up
         ip link set vec0 name out
         ip link set vec1 name in
         cd /proc/sys/net
         echo 1 >ipv4/ip_forward
         echo 0 >ipv4/conf/all/rp_filter
         echo 0 >ipv4/conf/default/rp_filter
         echo '0 0' >ipv4/ping_group_range
         echo 1 >ipv6/conf/all/forwarding
         for link in in out; do
             echo 0 >ipv6/conf/$link/accept_dad
             ip link set $link up
             # The driver says that it can send lists of fragments, and sends zeros instead.
             ethtool -K $link tx-scatter-gather-fraglist off
         done\n",
    );
    for (family, inside, outside) in [(Family::V4, 24, 24), (Family::V6, 64, 64)] {
        let (gateway, wire, router) =
            (site.gateway_inside(family), site.outside(family), site.router(family));
        script += &format!(
            "ip addr add {gateway}/{inside} dev in
             ip addr add {wire}/{outside} dev out
             ip route add default via {router}\n"
        );
    }
    script
}
