//! strongSwan's charon inside a guest: it negotiates, and Linux carries out what it has negotiated.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::process::Answer;
use crate::strongswan::settings;
use crate::{End, Failure, Family, Gateway, Guest, Implementation, Lab, Result, Swanctl, until};

/// What a loaded machine may need until the daemon takes commands.
const START: Duration = Duration::from_secs(60);
/// What it may need to say goodbye.
const STOP: Duration = Duration::from_secs(10);
/// Where it takes them: a Unix socket of the guest is not one of this machine.
const VICI_PORT: u16 = 4502;

/// A charon in the place of a gateway, with a kernel that knows every mode, ESP, AH, IPComp and extended sequence numbers.
pub struct GuestStrongSwan {
    guest: Arc<Guest>,
    swanctl: Swanctl,
}

impl GuestStrongSwan {
    /// Boots a guest and starts a charon in it with nothing configured.
    ///
    /// # Errors
    ///
    /// When Debian's packages are not installed or one of the two does not come up.
    pub fn start(lab: &Lab, end: End) -> Result<GuestStrongSwan> {
        let guest = Arc::new(Guest::start(lab, end)?);
        fs::write(
            guest.share().join("strongswan.conf"),
            settings(&format!("tcp://0.0.0.0:{VICI_PORT}"), "kernel-netlink"),
        )?;
        let site = lab.site(end);
        let address = SocketAddr::new(site.gateway_inside(Family::V4), VICI_PORT);
        let swanctl = Swanctl::over_tcp(guest.share(), &site.host, address)?;
        let mut daemon = GuestStrongSwan { guest, swanctl };
        Gateway::start(&mut daemon)?;
        Ok(daemon)
    }

    /// The guest that it runs in.
    pub fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }
}

impl Gateway for GuestStrongSwan {
    fn implementation(&self) -> Implementation {
        Implementation::StrongSwan
    }

    fn configure(&self, text: &str) -> Result<()> {
        let file = self.guest.share().join("swanctl.conf");
        fs::write(&file, text)?;
        self.swanctl.load_all(&file)
    }

    fn initiate(&self, child: &str) -> Result<Answer> {
        self.swanctl.answer(&["--initiate", "--child", child, "--timeout", "30"])
    }

    fn terminate(&self, connection: &str) -> Result<()> {
        self.swanctl.run(&["--terminate", "--ike", connection, "--timeout", "10"]).map(drop)
    }

    fn rekey_ike(&self, connection: &str) -> Result<()> {
        self.swanctl.run(&["--rekey", "--ike", connection]).map(drop)
    }

    fn rekey_child(&self, child: &str) -> Result<()> {
        self.swanctl.run(&["--rekey", "--child", child]).map(drop)
    }

    fn swanctl(&self) -> &Swanctl {
        &self.swanctl
    }

    fn stop(&mut self) -> Result<()> {
        self.guest.run("kill $(cat /run/charon.pid)")?;
        until(STOP, "charon in the guest to end", || self.guest.run("! test -e /run/charon.pid").is_ok())
    }

    /// The kernel stays, but forgets its SAs and policies.
    fn kill(&mut self) {
        // A charon that has ended already is what we want.
        let script =
            "kill -9 $(cat /run/charon.pid); rm /run/charon.pid; ip xfrm state flush; ip xfrm policy flush";
        let _ = self.guest.answer(script);
    }

    fn start(&mut self) -> Result<()> {
        self.guest.run(
            "STRONGSWAN_CONF=/run/share/strongswan.conf /usr/lib/ipsec/charon >>/run/charon.log 2>&1 &",
        )?;
        let swanctl = &self.swanctl;
        until(START, "charon in the guest to answer", || {
            swanctl.answer(&["--stats"]).is_ok_and(|answer| answer.code == Some(0))
        })
        .map_err(|failure| Failure::new(format!("{failure}; its log:\n{}", self.log())))
    }

    fn log(&self) -> String {
        self.guest.run("cat /run/charon.log").unwrap_or_default()
    }
}
