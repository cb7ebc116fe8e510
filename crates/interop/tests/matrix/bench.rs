//! Keyway on one gateway, Linux on the other, and the traffic that a row has to carry.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use interop::traffic::{Server, visit_here};
use interop::{End, Failure, Family, Guest, Lab, Result, Wire, within};
use sa::{FlowPadding, Mode};

use crate::associations::{Association, Ends, associations, beet_address, ends, whole};
use crate::keyway::{Counts, Ours};
use crate::linux;
use crate::rows::{Compression, Row};

/// Where everybody answers.
const PORT: u16 = 7;
/// How long the last packets of a row may be on their way.
const LAST_PACKETS: Duration = Duration::from_secs(2);

/// Both gateways, up and without an SA.
pub(crate) struct Bench {
    ours: Ours,
    guest: Guest,
    servers: Vec<Server>,
    lab: Lab,
}

impl Bench {
    pub(crate) fn new() -> Result<Bench> {
        let lab = Lab::new(Wire::Plain)?;
        let guest = Guest::start(&lab, End::B)?;
        guest.hold_nat_port()?;
        let mut servers = Vec::new();
        let mut of_the_guest = Vec::new();
        for family in [Family::V4, Family::V6] {
            let [ours, linuxes] = [End::A, End::B].map(|end| beet_address(end, family));
            lab.a.gateway.batch(&format!("addr add {ours}/{} dev lo", whole(family)))?;
            guest.run(&format!(
                "set -e
                 ip addr add {linuxes}/{} dev lo
                 ip route add {ours} dev out via $(ip -o route get {} | sed 's/.* via \\([^ ]*\\) .*/\\1/') src {linuxes}",
                whole(family),
                lab.a.outside(family)
            ))?;
            for site in [&lab.a, &lab.b] {
                let at = site.host_address(family);
                servers.push(site.host.inside(|| Server::start_here((at, PORT).into()))?);
            }
            for at in [lab.a.outside(family), ours] {
                servers.push(lab.a.gateway.inside(|| Server::start_here((at, PORT).into()))?);
            }
            of_the_guest.extend([lab.b.outside(family), linuxes].map(|at| SocketAddr::new(at, PORT)));
        }
        guest.serve(&of_the_guest)?;
        Ok(Bench { ours: Ours::start(&lab)?, guest, servers, lab })
    }

    pub(crate) fn release(&self) -> &str {
        self.guest.release()
    }

    /// Installs a row at both ends, lets it carry traffic, and counts at both ends.
    pub(crate) fn run(&mut self, row: &Row, number: u32) -> Result<Carried> {
        let (ends, associations) = (ends(&row.shape, &self.lab), associations(row, number));
        let drops = self.ours.drops();
        self.ours.install(row, &ends, &associations)?;
        self.guest.run(&format!("ip -batch - <<'END'\n{}END\n", linux::lines(row, &ends, &associations)))?;
        let carried = self.carry(row, &ends).and_then(|()| self.count(row, &associations));
        carried.map_err(|failure| {
            let new: Vec<_> = self.ours.drops().into_iter().filter(|drop| !drops.contains(drop)).collect();
            Failure::new(format!("{failure}; Keyway dropped {new:?}; Linux dropped {:?}", self.linux_drops()))
        })
    }

    pub(crate) fn dismantle(self) {
        drop((self.ours, self.guest, self.servers));
        self.lab.dismantle();
    }

    /// Lets each end visit the other.
    fn carry(&self, row: &Row, ends: &Ends) -> Result<()> {
        let [at_a, at_b] = ends.talkers.map(|at| SocketAddr::new(at, PORT));
        let (a, b) = (&self.lab.a, &self.lab.b);
        match row.shape.mode {
            Mode::Tunnel => {
                a.host.inside(|| visit_here(at_b))?;
                b.host.inside(|| visit_here(at_a))
            }
            Mode::Transport | Mode::Beet => {
                a.gateway.inside(|| visit_here(at_b))?;
                self.guest.visit(at_a)
            }
        }
    }

    /// Both ends have carried the same number of packets each way: nothing that one sealed was refused by the other.
    fn count(&mut self, row: &Row, associations: &[Association]) -> Result<Carried> {
        let mut differs = Failure::new("");
        let agreed = within(LAST_PACKETS, "both ends to count the same", || {
            self.counted(row, associations).map_err(|failure| differs = failure).ok()
        });
        agreed.map_err(|_| differs)
    }

    fn counted(&mut self, row: &Row, associations: &[Association]) -> Result<Carried> {
        let states = self.guest.run("ip -s xfrm state")?;
        let ours = self.ours.counts()?;
        for association in associations {
            let opened = linux::State::read(&states, association.outbound.spi)?;
            let sealed = linux::State::read(&states, association.inbound.spi)?;
            let linuxes = Counts { inbound: sealed.packets, outbound: opened.packets };
            if linuxes != ours || ours.inbound == 0 {
                let protocol = association.protocol;
                return Err(Failure::new(format!("packets of {protocol}: {ours:?}, at Linux {linuxes:?}")));
            }
            if let FlowPadding::To(shortest) = row.padding
                && opened.octets < opened.packets * u64::from(shortest)
            {
                return Err(Failure::new(format!(
                    "{} packets have {} octets only",
                    opened.packets, opened.octets
                )));
            }
            if linux::begins_again(row) && sealed.sealed_high_half != 1 {
                return Err(Failure::new("Linux has not come to the second half of its sequence numbers"));
            }
        }
        if row.compression == Compression::Deflate {
            linux::compressed_both_ways(&states)?;
        }
        Ok(Carried(ours))
    }

    /// Linux's counters of what it dropped since it was booted, those that are not 0.
    fn linux_drops(&self) -> Vec<String> {
        let counters = self.guest.run("cat /proc/net/xfrm_stat").unwrap_or_default();
        let counted = counters.lines().filter_map(|line| line.split_once(char::is_whitespace));
        counted
            .filter(|(_, count)| count.trim() != "0")
            .map(|(name, count)| format!("{name}: {}", count.trim()))
            .collect()
    }
}

/// Packets that a row has carried, as both ends count them.
pub(crate) struct Carried(Counts);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets sealed, {} opened", self.0.outbound, self.0.inbound)
    }
}
