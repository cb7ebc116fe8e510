//! What a gateway can be asked, whoever made it.

use std::fmt;

use crate::process::Answer;
use crate::{End, IkeSa, Keyway, Lab, Result, StrongSwan, Swanctl, Tunnel};

/// An IPsec daemon on one of the gateways of a [`Lab`].
pub trait Gateway: Send + Sync {
    /// Who made it.
    fn implementation(&self) -> Implementation;

    /// Replaces its configuration.
    ///
    /// # Errors
    ///
    /// When the daemon does not take it.
    fn configure(&self, text: &str) -> Result<()>;

    /// Brings a child up and waits for it; a refusal is part of the answer.
    ///
    /// # Errors
    ///
    /// When the command cannot be run or hangs.
    fn initiate(&self, child: &str) -> Result<Answer>;

    /// Takes a connection down and waits for it.
    ///
    /// # Errors
    ///
    /// When the command does not succeed.
    fn terminate(&self, connection: &str) -> Result<()>;

    /// Starts to rekey an IKE SA.
    ///
    /// # Errors
    ///
    /// When the command does not succeed.
    fn rekey_ike(&self, connection: &str) -> Result<()>;

    /// Starts to rekey a Child SA.
    ///
    /// # Errors
    ///
    /// When the command does not succeed.
    fn rekey_child(&self, child: &str) -> Result<()>;

    /// Debian's `swanctl`, pointed at it.
    fn swanctl(&self) -> &Swanctl;

    /// Ends it as an administrator would: it may say goodbye to its peers.
    ///
    /// # Errors
    ///
    /// When it does not end.
    fn stop(&mut self) -> Result<()>;

    /// Ends it as a power failure would.
    fn kill(&mut self);

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), and waits until it takes commands.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    fn start(&mut self) -> Result<()>;

    /// What it has logged.
    fn log(&self) -> String;

    /// Its IKE SAs.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    fn sas(&self) -> Result<Vec<IkeSa>> {
        self.swanctl().sas()
    }
}

/// Who made a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// We did.
    Keyway,
    /// The strongSwan project, in C.
    StrongSwan,
    /// Its version 6, which knows what the one of this machine does not.
    StrongSwan6,
}

impl Implementation {
    /// Starts a daemon of this kind on a gateway, with nothing configured.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(self, lab: &Lab, end: End) -> Result<Box<dyn Gateway>> {
        Ok(match self {
            Implementation::Keyway => Box::new(Keyway::start(lab, end)?),
            Implementation::StrongSwan => Box::new(StrongSwan::start(lab, end)?),
            Implementation::StrongSwan6 => Box::new(StrongSwan::start_version_6(lab, end)?),
        })
    }

    /// Starts a daemon of this kind on a gateway, with its end of `tunnel` configured.
    ///
    /// # Errors
    ///
    /// When it does not come up or does not take the configuration.
    pub fn start_with(self, lab: &Lab, end: End, tunnel: &Tunnel) -> Result<Box<dyn Gateway>> {
        let gateway = self.start(lab, end)?;
        gateway.configure(&tunnel.text(lab, end))?;
        Ok(gateway)
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Implementation::Keyway => "Keyway",
            Implementation::StrongSwan => "strongSwan",
            Implementation::StrongSwan6 => "strongSwan 6",
        })
    }
}
