//! The most of everything that the engine keeps for a peer, and the fixed numbers of the protocol, in one place.
//!
//! A limit here is far above what an honest peer needs and far below what would hurt: it bounds the memory and the
//! work that one IKE SA, or one stranger without any, can cost.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// How long one cookie secret makes cookies; for as long again its cookies are still accepted (RFC 7296 §2.6).
pub const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// Half-open IKE SAs from which on every stranger must first return a cookie (strongSwan's `cookie_threshold`).
pub const HALF_OPEN_BEFORE_COOKIES: usize = 30;

/// Half-open IKE SAs of one address from which on its further requests are ignored (strongSwan's `block_threshold`).
pub const HALF_OPEN_PER_ADDRESS: usize = 5;

/// Half-open IKE SAs of one address from which on it must return a cookie: who only pretends to be there cannot, and so
/// cannot use up what the address may have.
pub const HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES: usize = 3;

/// Half-open IKE SAs in all from which on every stranger is ignored.
pub const HALF_OPEN_TOTAL: usize = 20_000;

/// Child SAs of one IKE SA, those that are being replaced among them (RFC 7296 §1.3: NO_ADDITIONAL_SAS).
pub const CHILD_SAS: usize = 256;

/// Octets of content that a fragment has at least, but for the last, however small a fragment size was asked for:
/// below that, what is in front of the content costs more than the content.
pub const FRAGMENT_CONTENT_AT_LEAST: usize = 64;

/// Octets of a nonce of ours: at least half the key of every PRF, and at least 16 (RFC 7296 §2.10).
pub const NONCE_OCTETS: usize = 32;

/// How often an IKE_SA_INIT request is made anew because the peer wants a cookie or another group: both once, and each
/// once more where a forger got in between (RFC 7296 §2.6).
pub const IKE_SA_INIT_ROUND_TRIPS: u32 = 5;

/// The port of IKE without a NAT (RFC 7296 §2).
pub const IKE_PORT: u16 = 500;

/// The port that IKE and ESP share (RFC 3948 §2, RFC 7296 §2.23).
pub const NAT_T_PORT: u16 = 4500;

/// An address that nobody sends from: its hash makes a peer believe in a NAT (RFC 7296 §2.23).
pub const FEIGNED_NAT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// How long the inbound SA of a replaced Child SA still opens packets that were on their way.
pub const REPLACED_SA_LINGER: Duration = Duration::from_secs(5);

/// How long a replaced IKE SA waits for whoever replaced it to delete it (RFC 7296 §2.8): longer than a peer repeats the
/// request that replaced it, or the peer would find nobody to answer and take us for dead.
pub const REPLACED_IKE_SA_LIFE: Duration = Duration::from_secs(300);

/// How long we say nothing of a Child SA that the peer may not have yet, because our response may have been lost: until
/// a peer with strongSwan's timing has repeated its request twice.
pub const CONFIRMATION_WAIT: Duration = Duration::from_secs(12);

/// How long a Child SA that the peer does not know may yet become known to it: as long as it may repeat its request.
pub const UNCONFIRMED_CHILD_LIFE: Duration = REPLACED_IKE_SA_LIFE;

/// How long the last response of an ended IKE SA is kept for a peer that missed it.
pub const CLOSED_SA_LINGER: Duration = Duration::from_secs(30);

/// How long a request that met TEMPORARY_FAILURE waits at least before it is made again, and over how much longer the
/// moment is spread at random (RFC 7296 §2.25).
pub const RETRY_AT_LEAST: Duration = Duration::from_secs(2);
/// See [`RETRY_AT_LEAST`].
pub const RETRY_SPREAD: Duration = Duration::from_secs(3);

/// How long to wait before a rekeying is tried again that the peer's configuration did not allow.
pub const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// Priorities from here up come from the size of the selectors; those that people write by hand are below it.
pub const DERIVED_PRIORITY: u32 = 100_000;

/// Gives the octets of an IKE message that an IP datagram of `ip_datagram` octets to `remote` carries: without the IP
/// and UDP headers and the non-ESP marker.
pub(crate) fn datagram_octets(ip_datagram: usize, remote: IpAddr) -> usize {
    let ip_header = match remote {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    ip_datagram.saturating_sub(ip_header + UDP_HEADER + NON_ESP_MARKER)
}

const UDP_HEADER: usize = 8;
const NON_ESP_MARKER: usize = 4;
