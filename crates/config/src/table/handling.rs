//! Keys that children and manually keyed SAs share: how packets are treated beyond their cryptography.

use sa::{CopyDscp, CopyEcn, DontFragment, FlowPadding, Fragmenting, SegmentSize};

use crate::handling::{COPY_DF, COPY_DSCP, COPY_ECN, FRAGMENT, MARK, SEGMENT_SIZE, TFC_DUMMIES, TFC_PADDING};
use crate::schema::Key;

pub(crate) static DF: Key<DontFragment> = Key::new(
    "copy_df",
    COPY_DF,
    "yes",
    "Where the outer header's Don't Fragment bit comes from: yes copies the inner one, no clears it, set sets it.",
    "Path MTU discovery of the hosts then works through the tunnel (RFC 4301 §8.1).",
);

pub(crate) static ECN: Key<CopyEcn> = Key::new(
    "copy_ecn",
    COPY_ECN,
    "yes",
    "Whether congestion marks are carried over between inner and outer header.",
    "Without them a congested path can only drop packets (RFC 6040).",
);

pub(crate) static DSCP: Key<CopyDscp> = Key::new(
    "copy_dscp",
    COPY_DSCP,
    "out",
    "Which way the class of service is copied: out to the outer header, in to the inner one, yes for both, no for none.",
    "The way outside gives the service that the host asked for, and nobody outside chooses that of our network.",
);

pub(crate) static FRAGMENTS: Key<Fragmenting> = Key::new(
    "fragment",
    FRAGMENT,
    "before",
    "Whether a packet that is too long is cut before it is sealed or after. Keyway's own key.",
    "The peer opens each part as it comes; fragments of sealed packets have to be put together first, and are what \
     firewalls drop.",
);

pub(crate) static MSS: Key<SegmentSize> = Key::new(
    "mss",
    SEGMENT_SIZE,
    "auto",
    "What TCP connections through the tunnel may announce as their maximum segment size: auto is what the path takes, a \
     number of octets is at most that, no leaves it alone. Keyway's own key.",
    "Connections open at once with segments that fit, whoever on the way filters the ICMP that would tell them.",
);

pub(crate) static PADDING: Key<FlowPadding> = Key::new(
    "tfc_padding",
    TFC_PADDING,
    "0",
    "The length that shorter packets are padded to, so that lengths tell nothing: octets, or mtu for what the path takes. \
     ESP in tunnel mode only.",
    "It costs what it hides.",
);

pub(crate) static DUMMIES: Key<u16> = Key::new(
    "tfc_dummies",
    TFC_DUMMIES,
    "0",
    "How many dummy packets of ESP are sent in a second, on average and at random moments, so that it does not show when \
     there is traffic and when there is none (RFC 4303 §2.6). The peer throws them away. They do not keep a child from being \
     inactive, and tell the peer that we live; to be like other packets they need tfc_padding. Keyway's own key.",
    "It costs what it hides.",
);

pub(crate) static SET_MARK: Key<u32> = Key::new(
    "set_mark_out",
    MARK,
    "0",
    "The firewall mark of the sealed packets, beside the daemon's own.",
    "Few hosts route or filter by it.",
);
