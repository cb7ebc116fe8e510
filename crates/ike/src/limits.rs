//! The most of everything that the engine keeps for a peer, and the fixed numbers of the protocol, in one place.
//!
//! A limit here is far above what an honest peer needs and far below what would hurt: it bounds the memory and the
//! work that one IKE SA, or one stranger without any, can cost.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Traffic selectors of one end of a Child SA, after narrowing. The wire can count to 255 (RFC 7296 §3.13).
pub const TRAFFIC_SELECTORS: usize = 128;

/// Pairs of selectors that one Child SA carries: each packet outside the fast path is compared with all of them.
pub const SELECTOR_PAIRS: usize = 1024;

/// Fragments of one message (RFC 7383 §2.6): a message of the largest size in datagrams of 576 octets takes 122.
pub const FRAGMENTS_PER_MESSAGE: u16 = 256;

/// Octets of one reassembled message's content: no Encrypted payload is longer, since its length has 16 bits
/// (RFC 7296 §3.2), and no message that could not be sent whole needs to be accepted in pieces.
pub const REASSEMBLED_OCTETS: usize = u16::MAX as usize;

/// Octets of a stranger's first message of version 1 that comes in fragments: those of other daemons, with all that they
/// offer, have not a tenth of it.
pub const FIRST_MESSAGE_OCTETS: usize = 16 * 1024;

/// Messages of version 1 of which fragments are here and others are missing: of all ISAKMP SAs, and as many of strangers.
pub const MESSAGES_IN_FRAGMENTS: usize = 256;

/// The same of one ISAKMP SA, or of one stranger.
pub const MESSAGES_IN_FRAGMENTS_OF_ONE: usize = 4;

/// How long one cookie secret makes cookies; for as long again its cookies are still accepted (RFC 7296 §2.6).
pub const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// Half-open IKE SAs from which on every stranger must first return a cookie (strongSwan's `cookie_threshold`).
pub const HALF_OPEN_BEFORE_COOKIES: usize = 30;

/// Half-open IKE SAs from which on every stranger must also solve a puzzle (RFC 8019 §4.4).
pub const HALF_OPEN_BEFORE_PUZZLES: usize = 2000;

/// Half-open IKE SAs from which on puzzles are harder.
pub const HALF_OPEN_BEFORE_HARDER_PUZZLES: usize = 10_000;

/// Zero bits that a puzzle asks for: a fifth of a second of a desktop computer, half a second of a telephone.
pub const PUZZLE_DIFFICULTY: u8 = 16;

/// Zero bits that a harder puzzle asks for, which RFC 8019 §4.4 finds a reasonable choice for all.
pub const PUZZLE_DIFFICULTY_HARDER: u8 = 18;

/// Zero bits that we look for where a responder leaves it to us.
pub const PUZZLE_DIFFICULTY_OF_OURS: u8 = 16;

/// Zero bits of the hardest puzzle that we solve: some seconds of one processor.
pub const PUZZLE_DIFFICULTY_AT_MOST: u8 = 20;

/// Keys that are tried before everything else has its turn again: about five milliseconds.
pub const PUZZLE_SLICE: u32 = 10_000;

/// How long everything else has its turn at least.
pub const PUZZLE_PAUSE: Duration = Duration::from_millis(1);

/// Of so many strangers that return a cookie and solve no puzzle, one is served (RFC 8019 §7.1): old daemons know none.
pub const SERVED_WITHOUT_SOLUTION: u8 = 8;

/// Half-open IKE SAs of one address from which on its further requests are ignored (strongSwan's `block_threshold`).
pub const HALF_OPEN_PER_ADDRESS: usize = 5;

/// Half-open IKE SAs of one address from which on it must return a cookie: who only pretends to be there cannot, and so
/// cannot use up what the address may have.
pub const HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES: usize = 3;

/// Half-open IKE SAs in all from which on every stranger is ignored.
pub const HALF_OPEN_TOTAL: usize = 20_000;

/// The first index of compressed packets that two ends may agree on; those below are IANA's (RFC 3173 §3.3).
pub const FIRST_CPI: u16 = 256;

/// The last of them; those above are for private use.
pub const LAST_CPI: u16 = 61_439;

/// Child SAs of one IKE SA, those that are being replaced among them (RFC 7296 §1.3: NO_ADDITIONAL_SAS).
pub const CHILD_SAS: usize = 256;

/// Octets of content that a fragment has at least, but for the last, however small a fragment size was asked for:
/// below that, what is in front of the content costs more than the content.
pub const FRAGMENT_CONTENT_AT_LEAST: usize = 64;

/// Certificates, and what comes in their place, of one IKE_AUTH message. A chain of ours has ten at most.
pub const CERTIFICATES_OF_A_PEER: usize = 16;

/// Octets of the digest by which CERTREQ payloads name a CA (RFC 7296 §3.7).
pub const AUTHORITY_ID_LEN: usize = 20;

/// CAs that a peer may name in one message.
pub const AUTHORITIES_OF_A_PEER: usize = 256;

/// CAs that we name in one message: the response of IKE_SA_INIT cannot be cut into fragments (RFC 7383 §2.1).
pub const AUTHORITIES_NAMED: usize = 20;

/// Ways of proof of one peer's announcement that are looked at (RFC 9593).
pub const ANNOUNCED_METHODS: usize = 64;

/// How long whoever keeps keys and reads certificates may take, a person at a token and a slow responder included.
pub const OUTSIDE_WAIT: Duration = Duration::from_secs(60);

/// Other addresses that one end names to the other (RFC 4555 §3.4): far more than a host has ways out.
pub const ADDITIONAL_ADDRESSES: usize = 16;

/// Octets of what a peer must return to show where it can receive: 8 to 64 (RFC 4555 §4.2.5).
pub const COOKIE2_OCTETS: usize = 16;

/// Repetitions of a request between two addresses before the next two are tried (RFC 4555 §3.5).
pub const MOBIKE_REPETITIONS_ON_A_PATH: u32 = 2;

/// How often a peer may find a NAT where AH lets none be, until it is believed (RFC 4555 §3.9).
pub const MOBIKE_NATS_MET: u32 = 3;

/// Redirections that an initiation of ours follows within a while (RFC 5685 §7: MAX_REDIRECTS).
pub const REDIRECTIONS: usize = 5;

/// That while (RFC 5685 §7: REDIRECT_LOOP_DETECT_PERIOD).
pub const REDIRECTION_PERIOD: Duration = Duration::from_secs(300);

/// IKE SAs whose peers are asked whether they live because another is there from their address, of whom none has proven
/// anything (RFC 7619 §2.3).
pub const DOUBTED_AT_ONCE: usize = 8;

/// Octets of a nonce of ours: at least half the key of every PRF, and at least 16 (RFC 7296 §2.10).
pub const NONCE_OCTETS: usize = 32;

/// Octets that every nonce has at least (RFC 7296 §2.10).
pub const LEAST_NONCE_OCTETS: usize = 16;

/// How often an IKE_SA_INIT request is made anew because the peer wants a cookie or another group: both once, and each
/// once more where a forger got in between (RFC 7296 §2.6).
pub const IKE_SA_INIT_ROUND_TRIPS: u32 = 5;

/// IKE_INTERMEDIATE exchanges that a peer may begin before it is authenticated: the seven of RFC 9370, and as many for
/// what we may not know.
pub const INTERMEDIATE_EXCHANGES: u32 = 14;

/// Wishes of one peer for SAs that wait for additional key exchanges (RFC 9370 §2.2.4): one after the other is what an honest
/// peer has.
pub const PENDING_FOLLOW_UPS: usize = 4;

/// How long such a wish waits for the next key exchange: a little longer than the 20 s of RFC 9370 §2.2.4, so that a peer
/// with strongSwan's timing may repeat its request three times.
pub const FOLLOW_UP_WAIT: Duration = Duration::from_secs(30);

/// The port of IKE without a NAT (RFC 7296 §2).
pub const IKE_PORT: u16 = 500;

/// The port that IKE and ESP share (RFC 3948 §2, RFC 7296 §2.23).
pub const NAT_T_PORT: u16 = 4500;

/// An address that nobody sends from: its hash makes a peer believe in a NAT (RFC 7296 §2.23).
pub const FEIGNED_NAT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// How long the inbound SA of a replaced Child SA still opens packets that were on their way.
pub const REPLACED_SA_LINGER: Duration = Duration::from_secs(5);

/// How long the inbound SA of a Child SA whose IKE SA was proven anew still opens packets: longer than we repeat the delete by
/// which the peer learns of it.
pub const SUPERSEDED_SA_LINGER: Duration = Duration::from_secs(180);

/// How long a replaced IKE SA waits for whoever replaced it to delete it (RFC 7296 §2.8): longer than a peer repeats the
/// request that replaced it, or the peer would find nobody to answer and take us for dead.
pub const REPLACED_IKE_SA_LIFE: Duration = Duration::from_secs(300);

/// How long we say nothing of a Child SA that the peer may not have yet, because our response may have been lost: until
/// a peer with strongSwan's timing has repeated its request twice.
pub const CONFIRMATION_WAIT: Duration = Duration::from_secs(12);

/// How long a Child SA that the peer does not know may yet become known to it: as long as it may repeat its request.
pub const UNCONFIRMED_CHILD_LIFE: Duration = REPLACED_IKE_SA_LIFE;

/// How long one of two SAs of version 1 that came up at once stays beside the other: longer than both ends need to learn of
/// both, and of what else was deleted.
pub const TWIN_LIFE: Duration = Duration::from_secs(90);

/// Answers to the peer's deletes in one ISAKMP SA that are kept, to be said again to a peer that missed them.
pub const DELETE_ANSWERS_KEPT: usize = 64;

/// How long the last response of an ended IKE SA is kept for a peer that missed it.
pub const CLOSED_SA_LINGER: Duration = Duration::from_secs(30);

/// Octets of a ticket of ours (RFC 5723): nobody guesses one.
pub const TICKET_OCTETS: usize = 32;

/// How long a ticket is good at most; none outlives its IKE SA.
pub const TICKET_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Tickets of ours that are good, one for each IKE SA; each takes half a kilobyte.
pub const TICKETS_GRANTED: usize = 20_000;

/// Requests of IKE SAs that are not here which are answered in a second (RFC 7296 §2.21.4, RFC 6290 §4.5): of a thousand
/// peers that ask after a restart, each repeats its request until it is heard.
pub const LOST_SA_ANSWERS_PER_SECOND: u32 = 100;

/// How long a request that met TEMPORARY_FAILURE waits at least before it is made again, and over how much longer the
/// moment is spread at random (RFC 7296 §2.25).
pub const RETRY_AT_LEAST: Duration = Duration::from_secs(2);
/// See [`RETRY_AT_LEAST`].
pub const RETRY_SPREAD: Duration = Duration::from_secs(3);

/// Exchanges that a peer may begin in one ISAKMP SA: the message id of each is kept, so that none can be played again.
pub const EXCHANGES_OF_AN_ISAKMP_SA: usize = 65_536;

/// Octets of an identity that is encrypted to an RSA key: those of its fixed fields at least, and more than any key takes.
pub const SEALED_IDENTITY: RangeInclusive<usize> = 4..=2048;

/// Octets that an ISAKMP SA carries at least, whatever the peer wants: a few rekeyings and their deletes.
pub const OCTETS_OF_AN_ISAKMP_SA: u64 = 64 * 1024;

/// Pre-shared keys that the responder of main mode tries on one message 5: those that fit an address, where several peers
/// may be. Each takes some microseconds, however long the message is: one block of it is decrypted.
pub const PRE_SHARED_KEYS_TRIED: usize = 128;

/// The same on all that comes as message 5 of one attempt, from whoever it may be: together they take some milliseconds, like a few
/// key exchanges. After that only the likeliest key counts.
pub const KEY_TRIALS_OF_A_STRANGER: usize = 8 * PRE_SHARED_KEYS_TRIED;

/// Octets of a message 5 that other keys than the likeliest are tried on: with a pre-shared key an identity and a hash are in it,
/// and no certificates.
pub const KEY_TRIAL_OCTETS: usize = 2048;

/// Messages 3 of main mode that our private key decrypts in one attempt (RFC 2409 §5.2, §5.3), whoever sent them: one is the
/// initiator's, and some may have been damaged on the way.
pub const SEALED_KEYS_OF_A_STRANGER: usize = 4;

/// The shortest life that message 6 of main mode can give an ISAKMP SA: what it says of that is encrypted, but proven by
/// nothing (RFC 2407 §4.6.3).
pub const UNPROVEN_LIFETIME: Duration = Duration::from_secs(60);

/// Octets of certificates in message 2 of aggressive mode, which whoever sends a message 1 in another's name can have sent there: a
/// certificate and two that issue it. Of a longer chain the first are sent, and at least our own.
pub const CERTIFICATES_TO_A_STRANGER: usize = 4096;

/// Octets of the names of CAs in the same message; if there are more, a certificate of any is asked for.
pub const AUTHORITIES_TO_A_STRANGER: usize = 512;

/// Refused quick modes of one ISAKMP SA whose refusal is kept, to be said again to a peer that missed it.
pub const REFUSALS_KEPT: usize = 64;

/// The peer's last transactions whose answers are kept: XAuth and Mode Config together take four.
pub const TRANSACTIONS_REMEMBERED: usize = 8;

/// How long a client of XAuth waits for its server to ask for the password, and to say whether it believes it.
pub const XAUTH_WAIT: Duration = Duration::from_secs(60);

/// How long a client waits for its server to give it an address unasked.
pub const PUSH_WAIT: Duration = Duration::from_secs(60);

/// Virtual addresses, and name servers, that a peer can give us in one IKE SA.
pub const VIRTUAL_ADDRESSES: usize = 8;

/// Attributes of one message of Mode Config that are looked at.
pub const CONFIGURATION_ATTRIBUTES: usize = 64;

/// Leases of one pool, those that came back among them.
pub const LEASES_OF_A_POOL: usize = 65_536;

/// How long a quick mode waits for the fourth message that its peer wants it to wait for. The bit that says so is not
/// protected: a longer wait would be a longer outage for whoever sets it on the way.
pub const COMMIT_WAIT: Duration = Duration::from_secs(10);

/// How long a packet may be on its way to the peer while we part from the SA that sealed it.
pub const FLIGHT: Duration = Duration::from_secs(1);

/// How long our packets go through the Child SA before, once we have sent a quick mode's message 3: a peer may put the new one
/// in place only when it has read that. One that is quick shows it by sending through the new one.
pub const MESSAGE_3_WAIT: Duration = Duration::from_secs(2);

/// How long the end of a quick mode is remembered for a peer that missed our last message: longer than a peer with
/// strongSwan's timing repeats its own.
pub const QUICK_MODE_LINGER: Duration = Duration::from_secs(180);

/// How long a peer may go on answering TEMPORARY_FAILURE before the two ends are taken to have lost each other
/// (RFC 7296 §2.25: several minutes).
pub const PUT_OFF_AT_MOST: Duration = Duration::from_secs(300);

/// Sequence numbers skipped at once after which a Child SA is rekeyed that has no extended ones (RFC 6311 §5.2): a few such
/// leaps are far from the end.
pub const LEAP_WORTH_A_REKEYING: u64 = 1 << 24;

/// How long to wait before the way to a peer is looked for again.
pub const PATH_RETRY: Duration = Duration::from_secs(10);

/// How long to wait before a rekeying is tried again that the peer's configuration did not allow.
pub const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// What every IPv4 path is believed to take, in octets of the IP packet (RFC 791 §3.2).
pub const LEAST_PATH_MTU_V4: usize = 576;

/// What every IPv6 path takes, in octets of the IP packet (RFC 8200 §5).
pub const LEAST_PATH_MTU_V6: usize = 1280;

/// What a first link is taken for that the host cannot tell of: Ethernet.
pub const USUAL_LINK_MTU: usize = 1500;

/// Octets of the longest IP packet that a path is probed with: no link takes more but those within one machine, and some
/// peers read no longer messages.
pub const LONGEST_PROBE: usize = 9216;

/// The size that a probe of an IPv4 path falls back to (RFC 8899 §5.1.2).
pub const PROBE_BASE_V4: usize = 1200;

/// Octets that are not worth another probe: the longest block of a cipher, by which messages grow.
pub const PROBE_STEP: usize = 16;

/// Losses of probes of one size, one after the other, that are no accident (RFC 8899 §5.1.2).
pub const PROBE_TRIES: u32 = 3;

/// How long the answer to a probe may take (RFC 8899 §5.1.1); twice as long after each that did not come in time.
pub const PROBE_WAIT: Duration = Duration::from_secs(1);

/// How often a size that passed is tried again.
pub const PROBE_CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

/// How often more is tried than what passed (RFC 8899 §5.1.1).
pub const PROBE_RAISE_INTERVAL: Duration = Duration::from_secs(600);

/// Gives the octets of an IKE message that an IP datagram of `ip_datagram` octets to `remote` carries: without the IP
/// and UDP headers and the non-ESP marker.
pub(crate) fn datagram_octets(ip_datagram: usize, remote: IpAddr) -> usize {
    let ip_header = match remote {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip_datagram.saturating_sub(ip_header + UDP_HEADER + NON_ESP_MARKER)
}

/// Gives the octets of an IKE message that every path to `remote` takes in one datagram.
pub(crate) fn least_datagram_octets(remote: IpAddr) -> usize {
    let least = match remote {
        IpAddr::V4(_) => LEAST_PATH_MTU_V4,
        IpAddr::V6(_) => LEAST_PATH_MTU_V6,
    };
    datagram_octets(least, remote)
}

const UDP_HEADER: usize = 8;
const NON_ESP_MARKER: usize = 4;

/// How long after a new proof of both ends failed another is tried (RFC 4478).
pub(crate) const REAUTHENTICATION_RETRY: Duration = Duration::from_secs(60);
