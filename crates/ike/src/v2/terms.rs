//! What a Child SA is beyond its algorithms and traffic, as the notifies beside SA, TSi and TSr say it (RFC 7296 §1.3.1,
//! §2.22, draft-ietf-ipsecme-ikev2-beet-mode).
//!
//! ```text
//!   N(USE_TRANSPORT_MODE) or N(USE_BEET_MODE)   asked for, and granted by the same; tunnel mode without
//!   N(IPCOMP_SUPPORTED)                         packets towards the sender may be compressed, with this index
//!   N(ESP_TFC_PADDING_NOT_SUPPORTED)            the sender takes no packets padded to hide their length
//! ```
//!
//! We take padded packets, and so never say the last.

use sa::{Cpi, Mode};
use wire::registry::NotifyType;
use wire::registry::v1::IpcompTransformId;
use wire::v2::{Notify, Payload};

use super::contents::Contents;
use crate::child::{Compression, Padding};
use crate::context::Context;
use crate::error::Error;
use crate::{ChildConfig, Compress, Misbehaviour};

/// What we ask for as initiator.
#[derive(Debug)]
pub(crate) struct Wish {
    mode: Mode,
    /// Our index, if packets towards us may be compressed.
    compression: Option<Cpi>,
}

/// What both ends agree on.
#[derive(Debug)]
pub(crate) struct Terms {
    pub mode: Mode,
    pub compression: Option<Compression>,
    pub padding: Padding,
}

impl Wish {
    pub(crate) fn new(cx: &mut Context, config: &ChildConfig) -> Wish {
        Wish { mode: config.mode, compression: own_index(cx, config) }
    }

    /// Gives the notifies that ask for it.
    pub(crate) fn notifies(&self) -> Vec<Payload> {
        notifies(self.mode, self.compression)
    }

    /// Reads what the peer grants of it.
    ///
    /// # Errors
    /// The peer grants what was not asked for, or another mode than this child must have.
    pub(crate) fn accept(&self, contents: &Contents) -> Result<Terms, Error> {
        let granted = mode_of(contents)?;
        match (self.mode, granted) {
            (ours, theirs) if ours == theirs => {}
            (_, Mode::Transport | Mode::Beet) => {
                return Err(Misbehaviour::NotOffered(format!("{} mode", words(granted))).into());
            }
            // RFC 7296 §1.3.1: if that is unacceptable, the initiator deletes the SA.
            (_, Mode::Tunnel) => return Err(other_mode(granted, self.mode)),
        }
        let theirs = deflate_of(contents);
        let compression = match (self.compression, theirs) {
            (Some(ours), Some(theirs)) => Some(Compression { ours, theirs }),
            (None, Some(_)) => return Err(Misbehaviour::NotOffered("compression".to_owned()).into()),
            (_, None) => None,
        };
        Ok(Terms { mode: granted, compression, padding: padding_of(contents) })
    }
}

impl Terms {
    /// Decides, as responder, what of the peer's wish this child grants.
    ///
    /// # Errors
    /// The peer did not ask for the mode that the child must have.
    pub(crate) fn answer(
        cx: &mut Context,
        config: &ChildConfig,
        contents: &Contents,
    ) -> Result<Terms, Error> {
        let asked = mode_of(contents)?;
        if config.mode != Mode::Tunnel && asked != config.mode {
            return Err(other_mode(asked, config.mode));
        }
        let theirs = deflate_of(contents);
        let ours = theirs.and_then(|_| own_index(cx, config));
        let compression = ours.zip(theirs).map(|(ours, theirs)| Compression { ours, theirs });
        // A peer that asks for another mode than tunnel mode takes that, too: it can only delete what it does not like.
        Ok(Terms { mode: config.mode, compression, padding: padding_of(contents) })
    }

    /// Gives the notifies that grant it.
    pub(crate) fn notifies(&self) -> Vec<Payload> {
        notifies(self.mode, self.compression.map(|compression| compression.ours))
    }
}

/// Reads the mode that a message asks for or grants.
pub(crate) fn mode_of(contents: &Contents) -> Result<Mode, Error> {
    let has = |notify_type| contents.notify(notify_type).is_some();
    match (has(NotifyType::USE_TRANSPORT_MODE), has(NotifyType::USE_BEET_MODE)) {
        (true, true) => Err(Misbehaviour::Other("it names transport and BEET mode at once").into()),
        (true, false) => Ok(Mode::Transport),
        (false, true) => Ok(Mode::Beet),
        (false, false) => Ok(Mode::Tunnel),
    }
}

fn notifies(mode: Mode, compression: Option<Cpi>) -> Vec<Payload> {
    let mode = match mode {
        Mode::Tunnel => None,
        Mode::Transport => Some(Notify::new(NotifyType::USE_TRANSPORT_MODE, [])),
        Mode::Beet => Some(Notify::new(NotifyType::USE_BEET_MODE, [])),
    };
    let compression = compression.map(|cpi| Notify::ipcomp(cpi.0, IpcompTransformId::DEFLATE));
    compression.into_iter().chain(mode).map(Payload::Notify).collect()
}

/// Gives the notify with our index of a replacement that goes on compressing.
pub(crate) fn renewal(compression: Option<Compression>) -> Vec<Payload> {
    notifies(Mode::Tunnel, compression.map(|compression| compression.ours))
}

/// Draws the index of compressed packets towards us, where the configuration wants them (RFC 3173 §3.3).
fn own_index(cx: &mut Context, config: &ChildConfig) -> Option<Cpi> {
    match config.compress {
        Compress::No => None,
        Compress::Deflate => Some(cx.next_cpi()),
    }
}

/// Finds the peer's index among its offers; of the algorithms that there are, DEFLATE is the one that we have.
pub(crate) fn deflate_of(contents: &Contents) -> Option<Cpi> {
    let offers = contents.notifies().filter_map(Notify::compression);
    offers.filter(|(_, transform)| *transform == IpcompTransformId::DEFLATE).map(|(cpi, _)| Cpi(cpi)).next()
}

fn padding_of(contents: &Contents) -> Padding {
    match contents.notify(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED) {
        Some(_) => Padding::Refused,
        None => Padding::Taken,
    }
}

fn other_mode(theirs: Mode, ours: Mode) -> Error {
    Error::Unsuitable(format!("the peer wants {} mode; configured is {} mode", words(theirs), words(ours)))
}

fn words(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
        Mode::Beet => "BEET",
    }
}
