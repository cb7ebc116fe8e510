//! Five namespaces and the cables between them.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cleanup::{self, Fate, PREFIX};
use crate::process::tail;
use crate::{Failure, Namespace, Result};

/// Two sites and the wire between them:
///
/// ```text
///     host a         gateway a            wire             gateway b         host b
///     10.1.0.10 ──── 10.1.0.1             NAT?             10.2.0.1 ──── 10.2.0.10
///                    192.0.2.1 ─── .254        .254 ─── 198.51.100.1
///     fd00:1::10     fd00:1::1                             fd00:2::1      fd00:2::10
///                    2001:db8:a::1 ─── ::fe    ::fe ─── 2001:db8:b::1
/// ```
#[derive(Debug)]
pub struct Lab {
    /// The site that is behind the NAT, where there is one.
    pub a: Site,
    /// The other site.
    pub b: Site,
    /// What lies between the gateways.
    pub wire: Namespace,
    directory: PathBuf,
    dismantled: bool,
}

/// A host and its gateway.
#[derive(Debug)]
pub struct Site {
    /// Which of the two.
    pub end: End,
    /// The host, which knows nothing of IPsec.
    pub host: Namespace,
    /// The gateway.
    pub gateway: Namespace,
    wire_kind: Wire,
}

/// One of the two sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The left one.
    A,
    /// The right one.
    B,
}

/// What the wire does to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    Plain,
    /// Site a's gateway has an address of 100.64.0.0/10 and is seen from site b as 198.51.100.254.
    Nat,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Laboratories that this process has made.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Makes the namespaces, lays the cables and sets addresses and routes.
    ///
    /// # Errors
    ///
    /// Without the privilege to make namespaces, or without `ip` and `nft`: there is no way to go on then, and a test
    /// must fail rather than pass.
    pub fn new(wire_kind: Wire) -> Result<Lab> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new("a laboratory needs root, or a user namespace in which it is root"));
        }
        cleanup::prepare();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |part: &str| format!("{PREFIX}{}-{count}-{part}", std::process::id());

        let directory = std::env::temp_dir().join(name("lab"));
        fs::create_dir_all(&directory)?;
        cleanup::remember_directory(&directory);
        let site = |end: End, host: &str, gateway: &str| -> Result<Site> {
            Ok(Site {
                end,
                host: Namespace::create(name(host))?,
                gateway: Namespace::create(name(gateway))?,
                wire_kind,
            })
        };
        let lab = Lab {
            a: site(End::A, "hostA", "gwA")?,
            b: site(End::B, "hostB", "gwB")?,
            wire: Namespace::create(name(if wire_kind == Wire::Nat { "nat" } else { "wire" }))?,
            directory,
            dismantled: false,
        };
        for site in [&lab.a, &lab.b] {
            lab.cable(site)?;
        }
        if wire_kind == Wire::Nat {
            lab.wire.nft(
                "table ip nat {
                     chain post {
                         type nat hook postrouting priority srcnat
                         oifname \"to-b\" masquerade
                     }
                 }",
            )?;
        }
        Ok(lab)
    }

    /// The site at one end.
    pub fn site(&self, end: End) -> &Site {
        match end {
            End::A => &self.a,
            End::B => &self.b,
        }
    }

    /// Where logs, configurations and captures go; [`dismantle`](Self::dismantle) removes it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The address at which the other end's gateway sees this one's.
    pub fn seen_address(&self, end: End, family: Family) -> IpAddr {
        let site = self.site(end);
        match (end, site.wire_kind, family) {
            (End::A, Wire::Nat, Family::V4) => wire_address(End::B, family, site.wire_kind),
            (End::A | End::B, Wire::Plain | Wire::Nat, Family::V4 | Family::V6) => site.outside(family),
        }
    }

    /// Loses so many packets of a hundred on the wire, each way on its own; 0 ends it.
    ///
    /// # Errors
    ///
    /// When `nft` refuses.
    pub fn lose(&self, percent: u8) -> Result<()> {
        self.wire.nft(&format!(
            "table inet loss
             delete table inet loss
             table inet loss {{
                 chain forward {{
                     type filter hook forward priority filter
                     numgen random mod 100 < {percent} counter drop
                 }}
             }}"
        ))
    }

    /// Swallows packets of more than `octets` that go to one end, and lets no ICMP error of the wire tell of it.
    ///
    /// # Errors
    ///
    /// When `ip` or `nft` refuses.
    pub fn swallow_longer(&self, to: End, octets: u16) -> Result<()> {
        self.wire.batch(&format!("link set {} mtu {octets}", to.wire_link()))?;
        self.wire.nft(
            "table inet silence {
                 chain output {
                     type filter hook output priority filter
                     icmp type destination-unreachable drop
                     icmpv6 type packet-too-big drop
                 }
             }",
        )
    }

    /// Cuts the wire, or mends it.
    ///
    /// # Errors
    ///
    /// When `ip` refuses.
    pub fn cut(&self, cut: Cut) -> Result<()> {
        let state = match cut {
            Cut::Open => "down",
            Cut::Mended => "up",
        };
        self.wire.batch(&format!("link set to-b {state}"))?;
        if cut == Cut::Mended {
            // Addresses of IPv6 and the routes through them go with the link.
            self.wire.batch("addr replace 2001:db8:b::fe/64 dev to-b nodad")?;
        }
        Ok(())
    }

    /// Takes everything down when all went well. A laboratory that is dropped otherwise, or with `KEYWAY_KEEP_LAB` set, keeps
    /// its files and prints the end of each log, for whoever has to find out why.
    pub fn dismantle(mut self) {
        self.dismantled = true;
    }

    /// Lets every cable carry packets of up to `octets`, before a daemon looks at them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn widen(&self, octets: u16) -> Result<()> {
        for site in [&self.a, &self.b] {
            let links = [
                (&site.host, "eth0"),
                (&site.gateway, "in"),
                (&site.gateway, "out"),
                (&self.wire, site.end.wire_link()),
            ];
            for (namespace, link) in links {
                namespace.batch(&format!("link set {link} mtu {octets}"))?;
            }
        }
        Ok(())
    }

    fn cable(&self, site: &Site) -> Result<()> {
        let (host, gateway, wire) = (&site.host, &site.gateway, &self.wire);
        for namespace in [host, gateway, wire] {
            // Gateways judge packets by their policies; the kernel's own judgement stands in the way.
            namespace.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
            namespace.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
            namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        }
        for namespace in [host, gateway] {
            // Whoever runs the laboratory may ping, as `traffic::Ping` does.
            namespace.sysctl("net/ipv4/ping_group_range", "0 0")?;
        }
        for namespace in [gateway, wire] {
            namespace.sysctl("net/ipv4/ip_forward", "1")?;
            namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        let (wire_name, wire_link) = (wire.name(), site.end.wire_link());
        gateway.batch(&format!(
            "link add in type veth peer name eth0 netns {}
             link add out type veth peer name {wire_link} netns {wire_name}",
            host.name(),
        ))?;
        for family in [Family::V4, Family::V6] {
            let inside = prefix_len(family);
            let outside = if family == Family::V4 { 24 } else { 64 };
            let at_wire = site.router(family);
            gateway.batch(&format!(
                "addr add {}/{inside} dev in {}
                 addr add {}/{outside} dev out {}
                 link set in up
                 link set out up",
                site.gateway_inside(family),
                nodad(family),
                site.outside(family),
                nodad(family)
            ))?;
            host.batch(&format!(
                "addr add {}/{inside} dev eth0 {}
                 link set eth0 up
                 route add default via {}",
                site.host_address(family),
                nodad(family),
                site.gateway_inside(family)
            ))?;
            wire.batch(&format!(
                "addr add {at_wire}/{outside} dev {wire_link} {}
                 link set {wire_link} up",
                nodad(family)
            ))?;
            gateway.batch(&format!("route add default via {at_wire}"))?;
        }
        Ok(())
    }
}

/// Whether the wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing passes.
    Open,
    /// As if nothing had been.
    Mended,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.dismantled && std::env::var_os("KEYWAY_KEEP_LAB").is_none() {
            cleanup::release_directory(&self.directory, Fate::Remove);
            return;
        }
        cleanup::release_directory(&self.directory, Fate::Keep);
        eprintln!("the laboratory's files stay in {}", self.directory.display());
        let mut files: Vec<_> = fs::read_dir(&self.directory).into_iter().flatten().flatten().collect();
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files.iter().filter(|file| file.path().extension().is_some_and(|kind| kind == "log")) {
            let log = fs::read(file.path()).unwrap_or_default();
            eprintln!("──── {} ────\n{}", file.path().display(), tail(&String::from_utf8_lossy(&log)));
        }
    }
}

impl Site {
    /// The gateway's address towards the wire.
    pub fn outside(&self, family: Family) -> IpAddr {
        match (self.end, self.wire_kind, family) {
            (End::A, Wire::Plain, Family::V4) => Ipv4Addr::new(192, 0, 2, 1).into(),
            (End::A, Wire::Nat, Family::V4) => Ipv4Addr::new(100, 64, 0, 1).into(),
            (End::B, Wire::Plain | Wire::Nat, Family::V4) => Ipv4Addr::new(198, 51, 100, 1).into(),
            (_, _, Family::V6) => Ipv6Addr::new(0x2001, 0xdb8, self.end.v6_site(), 0, 0, 0, 0, 1).into(),
        }
    }

    /// The host's address.
    pub fn host_address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, self.end.number(), 0, 10).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, self.end.number().into(), 0, 0, 0, 0, 0, 0x10).into(),
        }
    }

    /// The gateway's address towards its host.
    pub fn gateway_inside(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, self.end.number(), 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, self.end.number().into(), 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The wire's address towards the gateway, its way to everybody else.
    pub(crate) fn router(&self, family: Family) -> IpAddr {
        wire_address(self.end, family, self.wire_kind)
    }

    /// The network that the host is in, such as `10.1.0.0/24`.
    pub fn network(&self, family: Family) -> String {
        let number = self.end.number();
        match family {
            Family::V4 => format!("10.{number}.0.0/{}", prefix_len(family)),
            Family::V6 => format!("fd00:{number}::/{}", prefix_len(family)),
        }
    }
}

impl End {
    /// The end across the wire.
    pub fn other(self) -> End {
        match self {
            End::A => End::B,
            End::B => End::A,
        }
    }

    /// The name of the wire's interface towards this end.
    pub fn wire_link(self) -> &'static str {
        match self {
            End::A => "to-a",
            End::B => "to-b",
        }
    }

    fn number(self) -> u8 {
        match self {
            End::A => 1,
            End::B => 2,
        }
    }

    fn v6_site(self) -> u16 {
        match self {
            End::A => 0xa,
            End::B => 0xb,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::A => "a",
            End::B => "b",
        })
    }
}

fn wire_address(end: End, family: Family, wire_kind: Wire) -> IpAddr {
    match (end, wire_kind, family) {
        (End::A, Wire::Plain, Family::V4) => Ipv4Addr::new(192, 0, 2, 254).into(),
        (End::A, Wire::Nat, Family::V4) => Ipv4Addr::new(100, 64, 0, 254).into(),
        (End::B, _, Family::V4) => Ipv4Addr::new(198, 51, 100, 254).into(),
        (_, _, Family::V6) => Ipv6Addr::new(0x2001, 0xdb8, end.v6_site(), 0, 0, 0, 0, 0xfe).into(),
    }
}

fn prefix_len(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

/// An address of IPv6 that has to prove itself cannot be used for a second.
fn nodad(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => "nodad",
    }
}
