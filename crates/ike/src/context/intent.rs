//! What one IKE SA wants of the endpoint, because it is about others.

use std::net::IpAddr;
use std::time::Instant;

use sa::{Protocol, Spi};
use wire::isakmp::IkeSpi;

use super::Initiation;
use crate::io::IkeSaId;
use crate::v2::ike_sa::{IkeSa, Inheritance};
use crate::{Identity, IkeSaStatus};

/// Something for the endpoint to do once the IKE SA at hand has been put back.
pub(crate) enum Intent {
    /// Bring a connection up, or one of its children.
    Initiate(Initiation),
    /// An IKE SA ends whose place another takes with a new proof.
    Retire {
        /// The old one.
        old: IkeSaId,
        /// The other, by our SPI.
        heir: IkeSpi,
        /// Until when to wait for what the peer makes in the same place.
        until: Instant,
    },
    /// Take in an IKE SA that a rekeying made.
    Insert(Box<IkeSa>),
    /// Hand what a replaced IKE SA had to its replacement.
    Inherit {
        /// The replacement, by our SPI.
        heir: IkeSpi,
        /// What it inherits.
        inheritance: Box<Inheritance>,
        /// The replaced IKE SA as it was.
        old: Box<IkeSaStatus>,
    },
    /// A superseded ISAKMP SA of version 1 passes on what it could not do without before.
    PassOn {
        /// That one, by our SPI.
        from: IkeSpi,
        /// The one that takes over.
        heir: IkeSpi,
    },
    /// An ISAKMP SA of version 1 takes over what others with the same peer have.
    Supersede {
        /// The one that takes over, by our SPI.
        heir: IkeSpi,
        /// Who we are.
        local: Identity,
        /// Who the peer is.
        remote: Identity,
        /// The one that it takes the place of, by our SPI, if that was our wish.
        replaced: Option<IkeSpi>,
    },
    /// The peer deleted Child SAs that an ISAKMP SA of version 1 does not have; another one may.
    DeleteElsewhere {
        /// The one that does not, by our SPI.
        not_here: IkeSpi,
        /// Who we are.
        local: Identity,
        /// Who the peer is.
        remote: Identity,
        /// Their protocol.
        protocol: Protocol,
        /// The SAs, by the peer's SPIs.
        spis: Vec<Spi>,
    },
    /// Delete an ISAKMP SA of version 1 that was superseded, if the peer has the other one.
    EndSuperseded {
        /// That one, by our SPI.
        old: IkeSpi,
        /// The other.
        heir: IkeSpi,
    },
    /// The peer deleted an ISAKMP SA of version 1, and has named all that goes with it: another takes over the rest.
    Orphan {
        /// That one, by our SPI.
        from: IkeSpi,
    },
    /// The older IKE SAs between these two identities end (RFC 7296 §2.4).
    EndOthers {
        /// The one that stays, by our SPI.
        survivor: IkeSpi,
        /// Who we are.
        local: Identity,
        /// Who the peer is.
        remote: Identity,
        /// Only those that were up at this moment.
        up_at: Instant,
    },
    /// See whether both ends have made an IKE SA in the place of the same one.
    CompareOthers {
        /// Who we are.
        local: Identity,
        /// Who the peer is.
        remote: Identity,
        /// Until when to see it again where the peer has not finished.
        until: Instant,
    },
    /// Ask whether the peers of other IKE SAs from this address live, of whom none has proven anything (RFC 7619 §2.3).
    DoubtOthers {
        /// The one that is new, by our SPI.
        newcomer: IkeSpi,
        /// Who we are.
        local: Identity,
        /// Where the newcomer is.
        address: IpAddr,
    },
    /// End an IKE SA of version 2 without a word: it is there again under another SPI.
    Forget {
        /// The old one.
        ike: IkeSaId,
        /// The new one, by our SPI.
        survivor: IkeSpi,
    },
}
