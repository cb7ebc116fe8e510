//! Keyway at a, Libreswan inside a booted kernel at b, and what both have to agree on.

use std::time::Duration;

use interop::traffic::{self, Server, visit_here};
use interop::{
    CHILD, CONNECTION, Certificates, End, Failure, Family, Gateway, IkeSa, Keyway, Lab, Libreswan, Proof,
    Result, Tunnel, USER, Wire, until, within,
};

/// How long a loaded machine may need for an exchange.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where gateways answer.
const PORT: u16 = 7;

/// Both daemons, with nothing configured.
pub(crate) struct Bench {
    pub(crate) ours: Keyway,
    pub(crate) theirs: Libreswan,
    servers: Vec<Server>,
    lab: Lab,
}

/// One connection, as either end words it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) version: u8,
    pub(crate) outside: Family,
    pub(crate) mode: &'static str,
    /// `proposals` and `ike`.
    pub(crate) ike: [&'static str; 2],
    /// `esp_proposals` and `esp`, or with AH `ah_proposals` and `ah`.
    pub(crate) child: [&'static str; 2],
    pub(crate) protocol: &'static str,
    /// The ends that prove nothing (RFC 7619).
    pub(crate) unproven: &'static [End],
    /// The kind of key by which both prove themselves; without, it is a secret that they share.
    pub(crate) key: Option<&'static str>,
    /// The end whose user gives his password after phase 1 of version 1.
    pub(crate) user: Option<End>,
    /// More lines for our connection.
    pub(crate) our_lines: &'static [&'static str],
    /// More lines for our child.
    pub(crate) our_child_lines: &'static [&'static str],
    /// More lines for their connection.
    pub(crate) their_lines: &'static [&'static str],
}

/// The SPIs in use: those of the IKE SA, and those of the Child SA, inbound first, as we see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spis {
    pub(crate) ike: (String, String),
    pub(crate) child: (String, String),
}

impl Bench {
    pub(crate) fn new(wire: Wire) -> Result<Bench> {
        let lab = Lab::new(wire)?;
        let theirs = Libreswan::start(&lab, End::B)?;
        println!("against {} on Linux {}", theirs.version()?, theirs.guest().release());
        let mut servers = Vec::new();
        for family in [Family::V4, Family::V6] {
            let at = (lab.a.outside(family), PORT).into();
            servers.push(lab.a.gateway.inside(|| Server::start_here(at))?);
        }
        theirs.guest().serve(&[Family::V4, Family::V6].map(|family| (lab.b.outside(family), PORT).into()))?;
        Ok(Bench { ours: Keyway::start(&lab, End::A)?, theirs, servers, lab })
    }

    pub(crate) fn configure(&self, row: &Row) -> Result<()> {
        let tunnel = row.tunnel();
        self.ours.configure(&tunnel.text(&self.lab, End::A))?;
        self.theirs.configure(&row.section(&self.lab), &tunnel.secret)
    }

    /// Configures our end alone.
    pub(crate) fn configure_ours(&self, row: &Row) -> Result<()> {
        self.ours.configure(&row.tunnel().text(&self.lab, End::A))
    }

    /// Certifies a fresh key of each end, by a CA that both trust.
    pub(crate) fn certify(&self, key: &str) -> Result<()> {
        self.theirs.certify(&Certificates::for_both_ends(&self.lab, key, &self.ours)?)
    }

    /// Brings the connection up from one end, and gives the SPIs on which both agree.
    pub(crate) fn initiate(&self, from: End) -> Result<Spis> {
        match from {
            End::A => self.ours.initiate(CHILD)?,
            End::B => self.theirs.initiate()?,
        }
        .success()
        .map_err(|failure| Failure::new(format!("{failure}\n{}", self.theirs.log())))?;
        self.in_use()
    }

    /// Sends packets both ways, through the connection alone.
    pub(crate) fn carry(&self, row: &Row) -> Result<()> {
        let (a, b) = (&self.lab.a, &self.lab.b);
        if row.mode == "tunnel" {
            let at = |site: &interop::Site| site.host_address(Family::V4);
            return traffic::cross((&a.host, at(a)), (&b.host, at(b)));
        }
        let family = row.outside;
        a.gateway.inside(|| visit_here((b.outside(family), PORT).into()))?;
        if self.lab.seen_address(End::A, family) != a.outside(family) {
            // Who is behind a NAT cannot be visited.
            return Ok(());
        }
        self.theirs.guest().visit((a.outside(family), PORT).into())
    }

    /// Waits until we have one IKE SA with one Child SA in use, which Linux has too. What they replaced may linger.
    pub(crate) fn in_use(&self) -> Result<Spis> {
        self.changed(|_| true)
    }

    /// Renews the keys of packets from one end.
    pub(crate) fn rekey_child(&self, row: &Row, from: End) -> Result<Spis> {
        let before = self.in_use()?;
        match (from, row.version) {
            (End::A, _) => self.ours.rekey_child(CHILD)?,
            // In version 1 it cannot be told to, but it can be told to call again.
            (End::B, 1) => self.theirs.initiate()?.success().map(drop)?,
            (End::B, _) => self.theirs.whack("--rekey-ipsec").map(drop)?,
        }
        self.new_child(&before)
    }

    /// Waits for new keys of packets.
    pub(crate) fn new_child(&self, before: &Spis) -> Result<Spis> {
        self.changed(|now| now.child != before.child)
    }

    /// Waits for new keys of IKE.
    pub(crate) fn new_ike(&self, before: &Spis) -> Result<Spis> {
        self.changed(|now| now.ike != before.ike)
    }

    /// Renews the keys of IKE from one end.
    pub(crate) fn rekey_ike(&self, from: End) -> Result<Spis> {
        let before = self.in_use()?;
        match from {
            End::A => self.ours.rekey_ike(CONNECTION)?,
            End::B => self.theirs.whack("--rekey-ike").map(drop)?,
        }
        self.new_ike(&before)
    }

    /// Takes the connection down from one end, and waits until the other has heard of it.
    pub(crate) fn terminate(&self, from: End) -> Result<()> {
        match from {
            End::A => self.ours.terminate(CONNECTION)?,
            End::B => self.theirs.whack("--terminate").map(drop)?,
        }
        self.we_have_nothing()?;
        self.they_have_nothing()
    }

    /// Makes sure that Linux has such a state, as `ip xfrm state` words it.
    pub(crate) fn linux_has(&self, words: &str) -> Result<()> {
        let states = self.theirs.guest().run("ip xfrm state")?;
        match states.contains(words) {
            true => Ok(()),
            false => Err(Failure::new(format!("{words:?} is missing in:\n{states}"))),
        }
    }

    pub(crate) fn we_have_nothing(&self) -> Result<()> {
        until(PATIENCE, "Keyway to have no SA", || self.ours.sas().is_ok_and(|sas| sas.is_empty()))
            .map_err(|failure| Failure::new(format!("{failure}:\n{:#?}", self.ours.sas())))
    }

    pub(crate) fn they_have_nothing(&self) -> Result<()> {
        let states = || self.theirs.guest().run("ip xfrm state");
        let nothing = || states().is_ok_and(|states| states.is_empty()) && self.theirs.has_no_state();
        until(PATIENCE, "Libreswan to have no SA", nothing)
            .map_err(|failure| Failure::new(format!("{failure}:\n{:?}\n{}", states(), self.theirs.log())))
    }

    pub(crate) fn dismantle(self) {
        let Bench { ours, theirs, servers, lab } = self;
        drop((ours, theirs, servers));
        lab.dismantle();
    }

    fn changed(&self, is_new: impl Fn(&Spis) -> bool) -> Result<Spis> {
        within(PATIENCE, "both ends to agree on the SAs in use", || {
            let spis = in_use(&self.ours.sas().ok()?).filter(&is_new)?;
            let states = self.theirs.guest().run("ip xfrm state").ok()?;
            let linux_has = |spi: &str| states.contains(&format!("spi 0x{spi} "));
            (linux_has(&spis.child.0) && linux_has(&spis.child.1)).then_some(spis)
        })
        .map_err(|failure| {
            let states = self.theirs.guest().run("ip xfrm state");
            Failure::new(format!("{failure}:\n{:#?}\n{states:?}\n{}", self.ours.sas(), self.theirs.log()))
        })
    }
}

/// Gives the only established IKE SA's SPIs, and those of its only installed Child SA.
fn in_use(sas: &[IkeSa]) -> Option<Spis> {
    let owned = |(first, second): (&str, &str)| (first.to_owned(), second.to_owned());
    let mut established = sas.iter().filter(|sa| sa.is_established());
    let only = established.next().filter(|_| established.next().is_none())?;
    let mut installed = only.children.iter().filter(|child| child.is_installed());
    let child = installed.next().filter(|_| installed.next().is_none())?;
    Some(Spis { ike: owned(only.spis()), child: owned(child.spis()) })
}

impl Row {
    /// Our side of it.
    fn tunnel(&self) -> Tunnel {
        let [ike, _] = self.ike;
        let [child, _] = self.child;
        let mut tunnel = Tunnel { version: self.version, outside: self.outside, ..Tunnel::default() }
            .suite(ike, child)
            .connection_line("allow_weak = yes")
            .child_line(&format!("mode = {}", self.mode));
        if self.protocol == "ah" {
            tunnel.esp_proposals.clear();
            tunnel = tunnel.child_line(&format!("ah_proposals = {child}"));
        }
        if self.mode == "transport" {
            tunnel.local_selectors = Some("dynamic".to_owned());
            tunnel.remote_selectors = Some("dynamic".to_owned());
        }
        for line in self.our_lines {
            tunnel = tunnel.connection_line(line);
        }
        for line in self.our_child_lines {
            tunnel = tunnel.child_line(line);
        }
        if let Some(end) = self.user {
            tunnel = tunnel.user_of(end);
        }
        let proof = |end: End| match self.key {
            _ if self.unproven.contains(&end) => Proof::nothing(),
            Some(key) => Proof::certificate(&format!("{end}-{key}.crt")),
            None => Proof::secret(),
        };
        if self.key.is_none() && self.unproven.is_empty() {
            return tunnel;
        }
        tunnel.proven(proof(End::A), proof(End::B))
    }

    /// Theirs, as a `conn` section; what is left is b.
    fn section(&self, lab: &Lab) -> String {
        let [_, ike] = self.ike;
        let [_, child] = self.child;
        let word = |is: bool| if is { "yes" } else { "no" };
        let subnets = if self.mode == "tunnel" {
            format!("leftsubnet={}\nrightsubnet={}\n", lab.b.network(Family::V4), lab.a.network(Family::V4))
        } else {
            String::new()
        };
        format!(
            "left={}
             leftid={}
             right={}
             rightid={}
             {subnets}type={}
             {}
             ikev2={}
             ike={ike}
             phase2={}
             phase2alg={child}
             pfs={}
             leftupdown=%disabled
             auto=add
             {}
             {}",
            lab.b.outside(self.outside),
            self.their_name(End::B),
            lab.seen_address(End::A, self.outside),
            self.their_name(End::A),
            self.mode,
            self.their_proof(),
            word(self.version == 2),
            self.protocol,
            word(child.contains(';')),
            self.their_user(),
            self.their_lines.join("\n"),
        )
    }

    fn their_user(&self) -> String {
        match self.user {
            None => String::new(),
            Some(End::A) => "leftxauthserver=yes\nrightxauthclient=yes\nxauthby=file".to_owned(),
            Some(End::B) => format!("leftxauthclient=yes\nrightxauthserver=yes\nleftusername={USER}"),
        }
    }

    /// How they name an end.
    fn their_name(&self, end: End) -> String {
        if self.unproven.contains(&end) { "%null".to_owned() } else { format!("@{end}.example.org") }
    }

    fn their_proof(&self) -> String {
        if !self.unproven.is_empty() {
            // It does not go with a secret of the other end.
            let word = |end: End| if self.unproven.contains(&end) { "null" } else { "rsasig" };
            let certificate = match self.unproven.contains(&End::B) {
                true => "",
                false => "leftcert=own\nleftsendcert=always",
            };
            let authority = if self.unproven.contains(&End::A) { "" } else { "rightca=%any" };
            return format!(
                "leftauth={}\nrightauth={}\n{certificate}\n{authority}",
                word(End::B),
                word(End::A)
            );
        }
        match self.key {
            None => "authby=secret".to_owned(),
            Some(key) => {
                let method = match (self.version, key.starts_with("rsa")) {
                    (1, _) => "rsasig",
                    (_, true) => "rsa-sha2",
                    (_, false) => "ecdsa",
                };
                format!("authby={method}\nleftcert=own\nleftsendcert=always\nrightca=%same")
            }
        }
    }
}
