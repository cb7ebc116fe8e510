//! Network namespaces, what runs in them, and what tests ask of them.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::{Dataplane, Delivery, PlaneEvent, Settings};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sa::{PolicyAction, PolicyId, PolicySpec, SelectorPair};

pub(crate) fn policy(id: u32, action: PolicyAction, pairs: &[(&str, &str)]) -> PolicySpec {
    let selector = |text: &str| text.parse().expect("the test's own selector");
    let selectors =
        pairs.iter().map(|(local, remote)| SelectorPair { local: selector(local), remote: selector(remote) });
    PolicySpec { id: PolicyId(id), priority: id, selectors: selectors.collect(), action, device: None }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    A,
    B,
    /// Beyond A, if the test wants it.
    C,
    /// Between A and B, if the test wants it: the router next to A.
    RouterOfA,
    /// The router next to B.
    RouterOfB,
}

/// The example program `static_tunnel`, which cargo builds beside the tests.
pub(crate) fn gateway_program() -> PathBuf {
    let test = std::env::current_exe().expect("we run");
    let directory = test.parent().and_then(Path::parent).expect("cargo's target/PROFILE/deps");
    let program = directory.join("examples/static_tunnel");
    assert!(program.exists(), "build it: cargo build -p keyway-dataplane --examples");
    program
}

pub(crate) const SITES: [&str; 2] = ["10.1.0.0/16,fd00:1::/64", "10.2.0.0/16,fd00:2::/64"];
pub(crate) const BULK_OCTETS: usize = 16 << 20;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Two namespaces, joined, and perhaps a third; all go when this does.
pub(crate) struct Lab {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let lab = Lab::unjoined();
        lab.join([End::A, End::B], "outer", 1500);
        for (end, number) in [(End::A, 1), (End::B, 2)] {
            lab.ip(end, &format!("addr add 192.0.2.{number}/24 dev outer"));
            lab.ip(end, &format!("addr add 2001:db8::{number}/64 dev outer nodad"));
        }
        lab
    }

    /// Two gateways with two routers between them, whose link takes packets of `mtu` octets. A is 192.0.2.1 and
    /// 2001:db8:1::1, B is 198.51.100.1 and 2001:db8:2::1.
    pub(crate) fn routed(mtu: u32) -> Lab {
        let lab = Lab::unjoined();
        for router in [End::RouterOfA, End::RouterOfB] {
            lab.add_namespace(router);
            for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
                run(lab.command(router, "sysctl").args(["-qw", setting]));
            }
        }
        lab.join([End::RouterOfA, End::RouterOfB], "middle", mtu);
        for (end, router, v4, v6, number) in [
            (End::A, End::RouterOfA, "192.0.2", "2001:db8:1:", 1),
            (End::B, End::RouterOfB, "198.51.100", "2001:db8:2:", 2),
        ] {
            lab.join([end, router], "outer", 1500);
            for (place, host) in [(end, "1"), (router, "254")] {
                lab.ip(place, &format!("addr add {v4}.{host}/24 dev outer"));
                lab.ip(place, &format!("addr add {v6}:{host}/64 dev outer nodad"));
            }
            lab.ip(router, &format!("addr add 203.0.113.{number}/24 dev middle"));
            lab.ip(router, &format!("addr add 2001:db8:3::{number}/64 dev middle nodad"));
            lab.ip(end, &format!("route add default via {v4}.254"));
            lab.ip(end, &format!("-6 route add default via {v6}:254"));
            lab.ip(router, &format!("route add default via 203.0.113.{}", 3 - number));
            lab.ip(router, &format!("-6 route add default via 2001:db8:3::{}", 3 - number));
        }
        lab
    }

    /// Two namespaces with addresses of their own and no way from one to the other.
    fn unjoined() -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kwdp{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).expect("a writable temporary directory");
        let lab = Lab { name, directory };
        for (end, number) in [(End::A, 1), (End::B, 2)] {
            lab.add_namespace(end);
            lab.ip(end, "link set lo up");
            lab.ip(end, &format!("addr add 10.{number}.0.1/32 dev lo"));
            lab.ip(end, &format!("addr add fd00:{number}::1/128 dev lo"));
        }
        lab
    }

    /// Adds a namespace whose addresses of IPv6 hold at once: while those of a link are on probation, which takes seconds, its
    /// neighbours answer nobody, and a first SYN that is repeated makes TCP patient for long.
    fn add_namespace(&self, end: End) {
        run(Command::new("ip").args(["netns", "add", &self.namespace(end)]));
        run(self.command(end, "sysctl").args(["-qw", "net.ipv6.conf.default.accept_dad=0"]));
    }

    /// Joins two namespaces by devices of one name.
    fn join(&self, ends: [End; 2], device: &str, mtu: u32) {
        let [one, other] = ends.map(|end| self.namespace(end));
        run(Command::new("ip")
            .args(["link", "add", device, "netns", &one, "type", "veth"])
            .args(["peer", "name", device, "netns", &other]));
        for end in ends {
            self.ip(end, &format!("link set {device} mtu {mtu} up"));
        }
    }

    /// Makes a third namespace that is joined to nothing.
    pub(crate) fn add_third(&self) {
        self.add_namespace(End::C);
        self.ip(End::C, "link set lo up");
    }

    /// Gives the index of a device, if there is one of this name.
    pub(crate) fn device(&self, end: End, name: &str) -> Option<u32> {
        let output = self.command(end, "cat").arg(format!("/sys/class/net/{name}/ifindex")).output();
        String::from_utf8_lossy(&output.expect("ip is there").stdout).trim().parse().ok()
    }

    /// Joins a third namespace to A, which forwards for it; A is NET.1 and the third is NET.2.
    pub(crate) fn join_third(&self, net: &str) {
        let (a, c) = (self.namespace(End::A), self.namespace(End::C));
        run(Command::new("ip").args(["netns", "add", &c]));
        run(Command::new("ip")
            .args(["link", "add", "inner", "netns", &a, "type", "veth"])
            .args(["peer", "name", "inner", "netns", &c]));
        for (end, number) in [(End::A, 1), (End::C, 2)] {
            self.ip(end, &format!("addr add {net}.{number}/24 dev inner"));
            self.ip(end, "link set inner up");
            self.ip(end, "link set lo up");
        }
        run(self.command(End::A, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]));
    }

    pub(crate) fn namespace(&self, end: End) -> String {
        match end {
            End::A => format!("{}a", self.name),
            End::B => format!("{}b", self.name),
            End::C => format!("{}c", self.name),
            End::RouterOfA => format!("{}r", self.name),
            End::RouterOfB => format!("{}s", self.name),
        }
    }

    pub(crate) fn journal(&self, end: End) -> PathBuf {
        match end {
            End::A => self.directory.join("a.journal"),
            End::B => self.directory.join("b.journal"),
            End::C => self.directory.join("c.journal"),
            End::RouterOfA | End::RouterOfB => panic!("a router is no gateway"),
        }
    }

    /// A directory in which anybody may write.
    pub(crate) fn open_directory(&self) -> PathBuf {
        let directory = self.directory.join("open");
        fs::create_dir_all(&directory).expect("our own directory");
        run(Command::new("chmod").arg("777").arg(&directory));
        directory
    }

    pub(crate) fn command(&self, end: End, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end)]).arg(program);
        command
    }

    pub(crate) fn ip(&self, end: End, words: &str) {
        run(Command::new("ip").args(["-n", &self.namespace(end)]).args(words.split(' ')));
    }

    pub(crate) fn ping(&self, end: End, address: &str, count: u32) -> Output {
        let count = count.to_string();
        let mut command = self.command(end, "ping");
        command.args(["-c", &count, "-i", "0.1", "-W", "1", address]).output().expect("ping is there")
    }

    /// Counts our routing rules.
    pub(crate) fn rules(&self, end: End) -> usize {
        let of_family = |family| {
            let output = Command::new("ip").args([family, "-n", &self.namespace(end), "rule"]).output();
            let text = output.expect("ip is there").stdout;
            String::from_utf8_lossy(&text).matches("lookup 4500").count()
        };
        of_family("-4") + of_family("-6")
    }

    /// Counts all rules of both families that carry our protocol number.
    pub(crate) fn rule_lines(&self, end: End) -> usize {
        let of_family = |family| {
            let rules =
                Command::new("ip").args([family, "-n", &self.namespace(end), "rule", "show"]).output();
            String::from_utf8_lossy(&rules.expect("ip is there").stdout).matches("proto 50").count()
        };
        of_family("-4") + of_family("-6")
    }

    /// Starts a gateway and waits until its tunnel stands.
    pub(crate) fn gateway(
        &self,
        end: End,
        carrier: &str,
        outer: [&str; 2],
        selectors: [&str; 2],
        more: &[&str],
    ) -> Gateway {
        let (name, [local, remote], [ours, theirs]) = match end {
            End::A => ("a", outer, selectors),
            End::B => ("b", [outer[1], outer[0]], [selectors[1], selectors[0]]),
            End::C => ("d", [outer[1], outer[0]], [selectors[1], selectors[0]]),
            End::RouterOfA | End::RouterOfB => panic!("a router is no gateway"),
        };
        let mut child = self
            .command(end, gateway_program())
            .args([name, carrier, local, remote, ours, theirs])
            .arg(self.journal(end))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip is there");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut gateway = Gateway { child, questions, answers };
        assert_eq!(gateway.answer(), "ready");
        gateway
    }

    /// Starts a plane with one worker in this process; gives it and what it tells, but for this host's addresses.
    pub(crate) fn plane(&self, end: End) -> (Dataplane, mpsc::Receiver<PlaneEvent>) {
        self.plane_telling(end, |event| !matches!(event, PlaneEvent::Uplinks(_)))
    }

    /// The same, of what it tells only what is wanted.
    pub(crate) fn plane_telling(
        &self,
        end: End,
        is_wanted: impl Fn(&PlaneEvent) -> bool + Send + Sync + 'static,
    ) -> (Dataplane, mpsc::Receiver<PlaneEvent>) {
        let (events, heard) = mpsc::channel();
        let settings =
            Settings { journal: self.journal(end), workers: NonZeroUsize::new(1), ..Settings::default() };
        let tell = move |event| match is_wanted(&event).then(|| events.send(event)) {
            None | Some(Ok(())) => Delivery::Taken,
            Some(Err(_)) => Delivery::Refused,
        };
        let plane = self.inside(end, |_| Dataplane::start(settings, tell)).expect("root may");
        (plane, heard)
    }

    /// Lists the routes of our table, IPv4 first, without what the kernel adds to them.
    pub(crate) fn routes(&self, end: End) -> Vec<String> {
        let of_family = |family| {
            let mut list = Command::new("ip");
            list.args([family, "-n", &self.namespace(end), "route", "show", "table", "4500"]);
            let text = list.output().expect("ip is there").stdout;
            let short = |line: &str| {
                let words = ["proto 50 ", "scope link ", "metric 1024 ", "pref medium"];
                let line = words.iter().fold(line.to_owned(), |line, word| line.replace(word, ""));
                line.trim().to_owned()
            };
            String::from_utf8_lossy(&text).lines().map(short).collect::<Vec<_>>()
        };
        [of_family("-4"), of_family("-6")].concat()
    }

    pub(crate) fn failing_start(&self, end: End) -> String {
        let output = self
            .command(end, gateway_program())
            .args(["a", "udp", "192.0.2.1", "192.0.2.2", "10.1.0.0/16", "10.2.0.0/16"])
            .arg(self.journal(end))
            .stdin(Stdio::null())
            .output()
            .expect("ip is there");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs something on a thread of one of the namespaces.
    pub(crate) fn inside<T: Send>(&self, end: End, what: impl FnOnce(&Lab) -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let path = format!("/run/netns/{}", self.namespace(end));
                let namespace = fs::File::open(path).expect("made by ip netns");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter it");
                what(self)
            });
            thread.join().expect("no panic inside the namespace")
        })
    }

    /// Sends a datagram from an address of one end to an address of another, and tells whether it arrived.
    pub(crate) fn reaches(&self, [(from, source), (to, destination)]: [(End, &str); 2]) -> bool {
        let at = |text: &str| SocketAddr::new(text.parse().expect("the test's own address"), 7);
        let receiver = self.inside(to, |_| UdpSocket::bind(at(destination))).expect("a free port");
        let sender = self.inside(from, |_| UdpSocket::bind(at(source))).expect("a free port");
        // A block may be told to the sender.
        let sent = sender.send_to(b"in the clear", at(destination));
        receiver.set_read_timeout(Some(Duration::from_millis(200))).expect("a positive time");
        sent.is_ok() && receiver.recv(&mut [0; 32]).is_ok()
    }

    /// Moves bulk data over TCP and compares every octet.
    pub(crate) fn transfer(&self, from: End, to: End, address: &str) {
        let address = SocketAddr::new(address.parse::<IpAddr>().expect("the test's own address"), 7777);
        let listener = self.inside(to, |_| TcpListener::bind(address)).expect("a free port");
        let bulk = pattern();
        let mut sender =
            self.inside(from, |_| TcpStream::connect_timeout(&address, PATIENCE)).expect("connects");
        let (mut receiver, _) = listener.accept().expect("the sender is there");
        receiver.set_read_timeout(Some(PATIENCE)).expect("a positive time");
        let received = thread::scope(|scope| {
            scope.spawn(|| {
                sender.write_all(&bulk).expect("the tunnel carries");
                sender.shutdown(std::net::Shutdown::Write).expect("connected");
            });
            let mut received = Vec::with_capacity(bulk.len());
            receiver.read_to_end(&mut received).expect("the tunnel carries");
            received
        });
        assert_eq!(received.len(), bulk.len());
        assert!(received == bulk, "the octets differ");
    }

    pub(crate) fn assert_idle_is_clean(&self, mut a: Gateway, mut b: Gateway) {
        a.stop();
        b.stop();
        for end in [End::A, End::B] {
            assert_eq!(self.rules(end), 0);
            assert!(!self.journal(end).exists());
            let devices = Command::new("ip").args(["-n", &self.namespace(end), "link"]).output();
            let devices = devices.expect("ip is there").stdout;
            assert!(!String::from_utf8_lossy(&devices).contains("keyway0"));
            let routes = Command::new("ip")
                .args(["-n", &self.namespace(end), "route", "show", "table", "4500"])
                .output()
                .expect("ip is there");
            assert_eq!(routes.stdout, b"");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in [End::A, End::B, End::C, End::RouterOfA, End::RouterOfB] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(end)]).status();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running `static_tunnel`.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) questions: Option<ChildStdin>,
    pub(crate) answers: BufReader<ChildStdout>,
}

impl Gateway {
    pub(crate) fn ask(&mut self, question: &str) -> String {
        let questions = self.questions.as_mut().expect("not stopped yet");
        writeln!(questions, "{question}").expect("it listens");
        self.answer()
    }

    /// Reads the next line that is no event.
    fn answer(&mut self) -> String {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("it writes text");
            assert_ne!(line, "", "the gateway ended");
            if !line.starts_with("event ") {
                return line.trim_end().to_owned();
            }
        }
        panic!("the gateway does not answer");
    }

    /// Gives the octets that the SAs carried, inbound and outbound.
    pub(crate) fn usage(&mut self) -> (u64, u64) {
        let [inbound, outbound] = self.usage_words(3);
        (inbound, outbound)
    }

    /// Gives the packets that the first tunnel's SAs carried, inbound and outbound.
    pub(crate) fn packets(&mut self) -> [u64; 2] {
        self.usage_words(1)
    }

    fn usage_words(&mut self, index: usize) -> [u64; 2] {
        let word = |line: String| -> u64 {
            line.split(' ').nth(index).expect("the example's own words").parse().expect("a number")
        };
        [word(self.ask("usage")), word(self.answer())]
    }

    /// Takes its tunnel down and ends it.
    pub(crate) fn stop(&mut self) {
        assert_eq!(self.ask("down"), "down");
        self.end();
    }

    /// Ends it with its tunnel up.
    pub(crate) fn end(&mut self) {
        self.questions = None;
        assert_eq!(self.answer(), "stopped");
        assert!(self.child.wait().expect("our own child").success());
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn within_patience(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error: io::Error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} (these tests need root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Octets that no shift or loss leaves equal.
pub(crate) fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    };
    (0..BULK_OCTETS / 8).flat_map(|_| next()).collect()
}
