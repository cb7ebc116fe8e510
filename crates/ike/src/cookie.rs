//! Keeping a flood of strangers cheap: cookies, and a count of IKE SAs that are half open (RFC 7296 §2.6).
//!
//! ```text
//!  HDR(A,0), SAi1, KEi, Ni             -->
//!                                      <--  HDR(A,0), N(COOKIE)          nothing kept, nothing computed but a MAC
//!  HDR(A,0), N(COOKIE), SAi1, KEi, Ni  -->                               the stranger can receive where it says it is
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crypto::{Random, Secret, constant_time_eq};
use wire::isakmp::IkeSpi;

use crate::limits::{
    COOKIE_SECRET_LIFETIME, HALF_OPEN_BEFORE_COOKIES, HALF_OPEN_BEFORE_HARDER_PUZZLES,
    HALF_OPEN_BEFORE_PUZZLES, HALF_OPEN_PER_ADDRESS, HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES, HALF_OPEN_TOTAL,
    PUZZLE_DIFFICULTY, PUZZLE_DIFFICULTY_HARDER,
};

/// Makes cookies and knows its own again, without remembering any.
///
/// ```text
///  cookie = period | difficulty | prf(secret, period | difficulty | SPIi | IPi | port | Ni)
/// ```
///
/// The period is the number of [`COOKIE_SECRET_LIFETIME`]s since the jar was made, and the key of a period is the
/// secret together with it: so a cookie is good in its own period and the next, and never again. The difficulty is that of
/// the puzzle that was posed with it (RFC 8019 §7.1.1.3); zero if none was.
#[derive(Debug)]
pub(crate) struct CookieJar {
    secret: Secret<Vec<u8>>,
    epoch: Instant,
}

/// What a cookie is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieRequest<'a> {
    /// The initiator's SPI.
    pub(crate) initiator_spi: IkeSpi,
    /// The initiator's nonce.
    pub(crate) nonce: &'a [u8],
    /// Where the request came from.
    pub(crate) remote: SocketAddr,
}

impl CookieJar {
    /// Draws the secret.
    pub(crate) fn new(now: Instant, random: &mut dyn Random) -> CookieJar {
        let mut secret = Secret::new(vec![0; SECRET_LEN]);
        random.fill(secret.expose_mut());
        CookieJar { secret, epoch: now }
    }

    /// Makes the cookie for a request, 37 octets, to go with a puzzle of this difficulty, or without one.
    pub(crate) fn cookie(&self, now: Instant, request: &CookieRequest<'_>, difficulty: u8) -> Vec<u8> {
        self.cookie_of(self.period(now), difficulty, request)
    }

    /// Gives the difficulty of the puzzle that went with a cookie, if the cookie is one that was made for such a request in
    /// this period or the one before.
    #[must_use]
    pub(crate) fn verify(&self, now: Instant, request: &CookieRequest<'_>, cookie: &[u8]) -> Option<u8> {
        let [stated @ .., difficulty] = *cookie.first_chunk::<5>()?;
        let stated = u32::from_be_bytes(stated);
        let is_recent = self.period(now).checked_sub(stated).is_some_and(|age| age <= 1);
        let is_ours = constant_time_eq(&self.cookie_of(stated, difficulty, request), cookie);
        (is_recent && is_ours).then_some(difficulty)
    }

    fn period(&self, now: Instant) -> u32 {
        let periods = now.saturating_duration_since(self.epoch).as_secs() / COOKIE_SECRET_LIFETIME.as_secs();
        u32::try_from(periods).unwrap_or(u32::MAX)
    }

    fn cookie_of(&self, period: u32, difficulty: u8, request: &CookieRequest<'_>) -> Vec<u8> {
        let CookieRequest { initiator_spi, nonce, remote } = request;
        let period = period.to_be_bytes();
        // One length for every address: then no two requests give the same octets.
        let address = match remote.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let port = remote.port().to_be_bytes();
        let parts = [&period[..], &[difficulty], &initiator_spi.to_octets(), &address.octets(), &port, nonce];
        let mac = crypto::prf::HMAC_SHA2_256.compute(self.secret.as_slice(), &parts);
        [&period[..], &[difficulty], mac.as_slice()].concat()
    }
}

const SECRET_LEN: usize = 32;

/// How many IKE SAs strangers may have begun and not finished; no bound is the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerBounds {
    /// From so many on a stranger has to bring back a cookie.
    pub before_cookies: usize,
    /// From so many of one address on it has to.
    pub of_one_before_cookies: usize,
    /// From so many of one address on it is ignored.
    pub of_one: usize,
    /// From so many on every stranger is ignored; 0 answers none.
    pub in_total: usize,
    /// From so many IKE SAs of all kinds on every stranger is ignored.
    pub ike_sas: usize,
}

impl Default for StrangerBounds {
    fn default() -> StrangerBounds {
        StrangerBounds {
            before_cookies: HALF_OPEN_BEFORE_COOKIES,
            of_one_before_cookies: HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES,
            of_one: HALF_OPEN_PER_ADDRESS,
            in_total: HALF_OPEN_TOTAL,
            ike_sas: usize::MAX,
        }
    }
}

/// Counts the IKE SAs that strangers have begun and not finished.
#[derive(Clone, Debug, Default)]
pub(crate) struct HalfOpen {
    bounds: StrangerBounds,
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// Those of version 1 that may be up at their other end already, by our SPI.
    arriving: BTreeSet<(IpAddr, IkeSpi)>,
}

/// What becomes of a stranger's first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is worked on.
    Welcome,
    /// It is worked on if it brings back a cookie.
    WithCookie,
    /// It is worked on if it brings back a cookie and the solution of a puzzle of this difficulty.
    WithPuzzle(u8),
    /// It is ignored: its address, proven by cookies, has too many others under way, or there are too many in all.
    Refused,
}

impl HalfOpen {
    /// Begins to count.
    pub(crate) fn within(bounds: StrangerBounds) -> HalfOpen {
        HalfOpen { bounds, ..HalfOpen::default() }
    }

    /// Tells what becomes of a request from an address, when there are so many IKE SAs of all kinds.
    pub(crate) fn admission(&self, address: IpAddr, ike_sas: usize) -> Admission {
        let own = self.by_address.get(&site(address)).copied().unwrap_or_default();
        let bounds = &self.bounds;
        if own >= bounds.of_one || self.total >= bounds.in_total || ike_sas >= bounds.ike_sas {
            Admission::Refused
        } else if self.total >= HALF_OPEN_BEFORE_HARDER_PUZZLES {
            Admission::WithPuzzle(PUZZLE_DIFFICULTY_HARDER)
        } else if self.total >= HALF_OPEN_BEFORE_PUZZLES {
            Admission::WithPuzzle(PUZZLE_DIFFICULTY)
        } else if own >= bounds.of_one_before_cookies || self.total >= bounds.before_cookies {
            Admission::WithCookie
        } else {
            Admission::Welcome
        }
    }

    /// Counts an IKE SA that an address has begun.
    pub(crate) fn opened(&mut self, address: IpAddr) {
        self.total += 1;
        *self.by_address.entry(site(address)).or_default() += 1;
    }

    /// Takes one of an address's IKE SAs off again: it is authenticated, or given up.
    pub(crate) fn closed(&mut self, address: IpAddr) {
        let site = site(address);
        let Some(count) = self.by_address.get_mut(&site) else { return };
        self.total -= 1;
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(&site);
        }
    }

    /// Notes a stranger who may have the ISAKMP SA that it began, under this SPI of ours, before we have.
    pub(crate) fn arrives(&mut self, address: IpAddr, our_spi: IkeSpi) {
        self.arriving.insert((site(address), our_spi));
    }

    /// Takes it off again.
    pub(crate) fn arrived(&mut self, address: IpAddr, our_spi: IkeSpi) {
        self.arriving.remove(&(site(address), our_spi));
    }

    /// Tells whether such a stranger is at an address.
    pub(crate) fn is_arriving(&self, address: IpAddr) -> bool {
        let bound = |spi| (site(address), IkeSpi(spi));
        self.arriving.range(bound(0)..=bound(u64::MAX)).next().is_some()
    }

    /// Gives the number of IKE SAs that are half open.
    pub(crate) fn total(&self) -> usize {
        self.total
    }
}

/// What counts as one sender: an IPv4 address, or the network of an IPv6 one, of which one host may have all.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crypto::SystemRandom;

    fn request<'a>(spi: u64, remote: &str, nonce: &'a [u8]) -> CookieRequest<'a> {
        CookieRequest {
            initiator_spi: IkeSpi(spi),
            nonce,
            remote: remote.parse().expect("the test's own address"),
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_own_request_only() {
        let now = Instant::now();
        let jar = CookieJar::new(now, &mut SystemRandom);
        let nonce = [7; 32];
        let own = request(1, "192.0.2.1:500", &nonce);
        let cookie = jar.cookie(now, &own, 0);
        // RFC 7296 §2.6: between 1 and 64 octets.
        assert_eq!(cookie.len(), 37);
        assert_eq!(jar.verify(now, &own, &cookie), Some(0));
        assert_eq!(jar.verify(now, &own, &jar.cookie(now, &own, 18)), Some(18));
        assert_eq!(jar.verify(now, &request(2, "192.0.2.1:500", &nonce), &cookie), None);
        assert_eq!(jar.verify(now, &request(1, "192.0.2.2:500", &nonce), &cookie), None);
        assert_eq!(jar.verify(now, &request(1, "192.0.2.1:501", &nonce), &cookie), None);
        assert_eq!(jar.verify(now, &request(1, "[2001:db8::1]:500", &nonce), &cookie), None);
        assert_eq!(jar.verify(now, &request(1, "192.0.2.1:500", &[8; 32]), &cookie), None);
        assert_eq!(CookieJar::new(now, &mut SystemRandom).verify(now, &own, &cookie), None);
        for octet in 0..cookie.len() {
            let mut altered = cookie.clone();
            altered[octet] ^= 1;
            assert_eq!(jar.verify(now, &own, &altered), None, "octet {octet}");
            assert_eq!(jar.verify(now, &own, &cookie[..octet]), None, "{octet} octets");
        }
    }

    #[test]
    fn a_cookie_outlives_one_change_of_the_secret_and_no_more() {
        let now = Instant::now();
        let jar = CookieJar::new(now, &mut SystemRandom);
        let own = request(1, "192.0.2.1:500", &[7; 32]);
        let cookie = jar.cookie(now, &own, 0);
        assert_ne!(cookie, jar.cookie(now + COOKIE_SECRET_LIFETIME, &own, 0));
        assert_eq!(jar.verify(now + COOKIE_SECRET_LIFETIME, &own, &cookie), Some(0));
        assert_eq!(jar.verify(now + 2 * COOKIE_SECRET_LIFETIME, &own, &cookie), None);
    }

    #[test]
    fn many_half_open_sas_ask_for_cookies_and_one_greedy_address_is_refused() {
        let address = |last: usize| IpAddr::from([198, 51, 100, last as u8]);
        let mut half_open = HalfOpen::default();
        for count in 0..HALF_OPEN_PER_ADDRESS {
            let is_free = count < HALF_OPEN_PER_ADDRESS_BEFORE_COOKIES;
            let expected = if is_free { Admission::Welcome } else { Admission::WithCookie };
            assert_eq!(half_open.admission(address(0), 0), expected);
            half_open.opened(address(0));
        }
        assert_eq!(half_open.admission(address(0), 0), Admission::Refused);
        for last in HALF_OPEN_PER_ADDRESS..HALF_OPEN_BEFORE_COOKIES {
            assert_eq!(half_open.admission(address(last), 0), Admission::Welcome);
            half_open.opened(address(last));
        }
        assert_eq!(half_open.admission(address(255), 0), Admission::WithCookie);
        half_open.closed(address(0));
        assert_eq!(half_open.admission(address(0), 0), Admission::WithCookie);
        half_open.closed(address(255));
        assert_eq!(half_open.total(), HALF_OPEN_BEFORE_COOKIES - 1);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_there_is_a_limit_in_all() {
        let mut half_open = HalfOpen::default();
        let v6 = |text: &str| -> IpAddr { text.parse().expect("the test's own address") };
        for last in 0..HALF_OPEN_PER_ADDRESS {
            half_open.opened(v6(&format!("2001:db8::{}", last + 1)));
        }
        assert_eq!(half_open.admission(v6("2001:db8::ffff"), 0), Admission::Refused);
        assert_eq!(half_open.admission(v6("2001:db8:0:1::1"), 0), Admission::Welcome);
        for number in half_open.total()..HALF_OPEN_TOTAL {
            let expected = match half_open.total() {
                0..HALF_OPEN_BEFORE_COOKIES => Admission::Welcome,
                HALF_OPEN_BEFORE_COOKIES..HALF_OPEN_BEFORE_PUZZLES => Admission::WithCookie,
                HALF_OPEN_BEFORE_PUZZLES..HALF_OPEN_BEFORE_HARDER_PUZZLES => {
                    Admission::WithPuzzle(PUZZLE_DIFFICULTY)
                }
                _ => Admission::WithPuzzle(PUZZLE_DIFFICULTY_HARDER),
            };
            assert_eq!(half_open.admission(v6("2001:db8:0:1::1"), 0), expected);
            half_open.opened(IpAddr::V4(std::net::Ipv4Addr::from_bits(number as u32)));
        }
        assert_eq!(half_open.admission(v6("2001:db8:0:1::1"), 0), Admission::Refused);
    }

    #[test]
    fn the_bounds_may_be_set_otherwise() {
        let address = |last: u8| IpAddr::from([198, 51, 100, last]);
        let bounds =
            StrangerBounds { before_cookies: 1, of_one: 2, ike_sas: 10, ..StrangerBounds::default() };
        let mut half_open = HalfOpen::within(bounds);
        assert_eq!(half_open.admission(address(1), 9), Admission::Welcome);
        assert_eq!(half_open.admission(address(1), 10), Admission::Refused);
        half_open.opened(address(1));
        assert_eq!(half_open.admission(address(2), 0), Admission::WithCookie);
        half_open.opened(address(1));
        assert_eq!(half_open.admission(address(1), 0), Admission::Refused);
        let nobody = HalfOpen::within(StrangerBounds { in_total: 0, ..StrangerBounds::default() });
        assert_eq!(nobody.admission(address(3), 0), Admission::Refused);
    }

    #[test]
    fn strangers_who_may_have_an_isakmp_sa_are_known_by_their_addresses() {
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut half_open = HalfOpen::default();
        half_open.arrives(address(1), IkeSpi(7));
        assert!(half_open.is_arriving(address(1)) && !half_open.is_arriving(address(2)));
        half_open.arrived(address(1), IkeSpi(7));
        assert!(!half_open.is_arriving(address(1)));
    }
}
