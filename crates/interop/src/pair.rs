//! Two gateways that share a tunnel.

use std::time::Duration;

use crate::traffic;
use crate::{
    CHILD, CONNECTION, ChildSa, End, Failure, Family, Gateway, IkeSa, Implementation, Lab, Result, Tunnel,
    Wire, until, within,
};

/// How long a loaded machine may need for an exchange, and for parting from what it replaces: a Child SA of version 1 that nothing
/// goes through stays twelve seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A laboratory with a daemon on each gateway.
pub struct Pair {
    /// The daemon of site a.
    pub a: Box<dyn Gateway>,
    /// The daemon of site b.
    pub b: Box<dyn Gateway>,
    /// The namespaces; dropped last.
    pub lab: Lab,
}

impl Pair {
    /// Makes a laboratory and starts both daemons with their ends of `tunnel`.
    ///
    /// # Errors
    ///
    /// When the laboratory cannot be made or a daemon does not come up.
    pub fn new(wire: Wire, a: Implementation, b: Implementation, tunnel: &Tunnel) -> Result<Pair> {
        let lab = Lab::new(wire)?;
        let a = a.start_with(&lab, End::A, tunnel)?;
        let b = b.start_with(&lab, End::B, tunnel)?;
        Ok(Pair { a, b, lab })
    }

    /// The daemon at one end.
    pub fn gateway(&self, end: End) -> &dyn Gateway {
        match end {
            End::A => &*self.a,
            End::B => &*self.b,
        }
    }

    /// The daemon at one end, to be ended or started.
    pub fn gateway_mut(&mut self, end: End) -> &mut dyn Gateway {
        match end {
            End::A => &mut *self.a,
            End::B => &mut *self.b,
        }
    }

    /// Replaces the tunnel at both ends.
    ///
    /// # Errors
    ///
    /// When a daemon does not take it.
    pub fn configure(&self, tunnel: &Tunnel) -> Result<()> {
        for end in [End::A, End::B] {
            self.gateway(end).configure(&tunnel.text(&self.lab, end))?;
        }
        Ok(())
    }

    /// Brings the child up from one end, and waits until the other has it, too: a busy one may read the last message late.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn initiate(&self, from: End) -> Result<()> {
        self.gateway(from).initiate(CHILD)?.success()?;
        until(PATIENCE, "both ends to have a Child SA", || {
            let has_one = |sas: Result<Vec<IkeSa>>| {
                sas.is_ok_and(|sas| sas.iter().flat_map(|sa| &sa.children).any(ChildSa::is_installed))
            };
            has_one(self.a.sas()) && has_one(self.b.sas())
        })
    }

    /// Sends packets both ways, a TCP transfer and datagrams from host to host, for every family of `tunnel`.
    ///
    /// # Errors
    ///
    /// When one packet is lost or changed.
    pub fn carry(&self, tunnel: &Tunnel) -> Result<()> {
        let (a, b) = (&self.lab.a, &self.lab.b);
        for &family in &tunnel.inside {
            traffic::cross((&a.host, a.host_address(family)), (&b.host, b.host_address(family)))?;
        }
        Ok(())
    }

    /// The same from gateway to gateway, as two hosts do that have a tunnel for themselves.
    ///
    /// # Errors
    ///
    /// When one packet is lost or changed.
    pub fn carry_between_gateways(&self, family: Family) -> Result<()> {
        let (a, b) = (&self.lab.a, &self.lab.b);
        traffic::cross((&a.gateway, a.outside(family)), (&b.gateway, b.outside(family)))
    }

    /// Waits until both ends have exactly one IKE SA with exactly one Child SA, and agree on their SPIs.
    ///
    /// # Errors
    ///
    /// When they do not come to agree.
    pub fn settled(&self) -> Result<Tied> {
        let mut seen = (Vec::new(), Vec::new());
        within(PATIENCE, "both ends to agree on one IKE SA and one Child SA", || {
            seen = (self.a.sas().ok()?, self.b.sas().ok()?);
            Tied::of(&seen.0, &seen.1)
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}", seen)))
    }

    /// The same where an end may yet have SAs that were replaced: of those that are in use.
    ///
    /// # Errors
    ///
    /// When they do not come to agree.
    pub fn in_use(&self) -> Result<Tied> {
        let mut seen = (Vec::new(), Vec::new());
        within(PATIENCE, "both ends to agree on the SAs in use", || {
            seen = (in_use(self.a.sas().ok()?), in_use(self.b.sas().ok()?));
            Tied::of(&seen.0, &seen.1)
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}\n{:#?}", self.a.sas(), self.b.sas())))
    }

    /// Waits until neither end has an SA.
    ///
    /// # Errors
    ///
    /// When SAs remain.
    pub fn empty(&self) -> Result<()> {
        let mut seen = (Vec::new(), Vec::new());
        within(PATIENCE, "both ends to have no SA", || {
            seen = (self.a.sas().ok()?, self.b.sas().ok()?);
            (seen.0.is_empty() && seen.1.is_empty()).then_some(())
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}", seen)))
    }

    /// Rekeys the IKE SA from one end and waits until the old one is gone at both.
    ///
    /// # Errors
    ///
    /// When that does not happen, or the Child SA changes too.
    pub fn rekey_ike(&self, from: End) -> Result<Tied> {
        let before = self.settled()?;
        self.gateway(from).rekey_ike(CONNECTION)?;
        let after = self.changed(&before, |tied| tied.ike.clone())?;
        if before.child != after.child {
            return Err(Failure::new("the Child SA did not survive the rekeying of its IKE SA"));
        }
        Ok(after)
    }

    /// Rekeys the Child SA from one end and waits until the old one is gone at both.
    ///
    /// # Errors
    ///
    /// When that does not happen, or the IKE SA changes too.
    pub fn rekey_child(&self, from: End) -> Result<Tied> {
        let before = self.settled()?;
        self.gateway(from).rekey_child(CHILD)?;
        let after = self.changed(&before, |tied| tied.child.clone())?;
        if before.ike != after.ike {
            return Err(Failure::new("the IKE SA changed when its Child SA was rekeyed"));
        }
        Ok(after)
    }

    /// Takes the connection down from one end, waits until both ends know, and dismantles nothing else.
    ///
    /// # Errors
    ///
    /// When SAs remain.
    pub fn terminate(&self, from: End) -> Result<()> {
        self.gateway(from).terminate(CONNECTION)?;
        self.empty()
    }

    fn changed(&self, before: &Tied, spis: impl Fn(&Tied) -> (String, String)) -> Result<Tied> {
        within(PATIENCE, "new SPIs at both ends", || {
            let now = Tied::of(&self.a.sas().ok()?, &self.b.sas().ok()?)?;
            (spis(&now) != spis(before)).then_some(now)
        })
        .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}\n{:#?}", self.a.sas(), self.b.sas())))
    }
}

/// The SPIs on which both ends agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tied {
    /// Of the IKE SA: the initiator's and the responder's.
    pub ike: (String, String),
    /// Of the Child SA: the one towards a and the one towards b.
    pub child: (String, String),
}

impl Tied {
    fn of(a: &[IkeSa], b: &[IkeSa]) -> Option<Tied> {
        let ([a], [b]) = (a, b) else { return None };
        let (Some(child_a), Some(child_b)) = (only_child(a), only_child(b)) else { return None };
        let (towards_a, towards_b) = child_a.spis();
        let agree = a.spis() == b.spis() && child_b.spis() == (towards_b, towards_a);
        let up = |sa: &IkeSa, child: &ChildSa| sa.is_established() && child.is_installed();
        (agree && up(a, child_a) && up(b, child_b)).then(|| Tied {
            ike: (a.spis().0.to_owned(), a.spis().1.to_owned()),
            child: (towards_a.to_owned(), towards_b.to_owned()),
        })
    }
}

fn in_use(mut sas: Vec<IkeSa>) -> Vec<IkeSa> {
    sas.retain(IkeSa::is_established);
    for sa in &mut sas {
        sa.children.retain(ChildSa::is_installed);
    }
    sas
}

/// The Child SA, if there is one only. strongSwan keeps one that is deleted for some seconds, for packets on their way.
fn only_child(sa: &IkeSa) -> Option<&ChildSa> {
    let mut children = sa.children.iter().filter(|child| child.field("state") != "DELETED");
    let only = children.next();
    only.filter(|_| children.next().is_none())
}
