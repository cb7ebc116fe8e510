//! Names to addresses, and the way to a peer: what the engine cannot know without asking the host.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::AddressSpec;
use ike::{Path, PeerAddresses};
use sa::{AddressRange, Family};
use socket2::{Domain, Socket, Type};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{limits, lower};

/// The sockets that IKE leaves through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnSockets {
    /// The port that carries nothing but IKE.
    pub(crate) ike_port: u16,
    /// The port that carries IKE behind a marker, and ESP.
    pub(crate) nat_port: u16,
    /// The firewall mark that keeps our own packets out of our tunnels.
    pub(crate) mark: u32,
}

/// Gives all addresses of a host name.
///
/// # Errors
/// One sentence on why there is none.
pub(crate) async fn addresses_of(name: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(limits::NAME_RESOLUTION, lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            if addresses.is_empty() { Err(format!("the name {name} has no address")) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(format!("the name {name} does not resolve: {error}")),
        Err(_) => Err(format!("the name {name} did not resolve in {} s", limits::NAME_RESOLUTION.as_secs())),
    }
}

/// Tells whether an end's addresses are the same. Name services give them in any order, another one each time.
pub(crate) fn same_addresses(one: &PeerAddresses, other: &PeerAddresses) -> bool {
    let set = |addresses: &PeerAddresses| match addresses {
        PeerAddresses::Any => None,
        PeerAddresses::Ranges(ranges) => Some(ranges.iter().copied().collect::<BTreeSet<_>>()),
    };
    set(one) == set(other)
}

/// Finds the way to the first of a peer's addresses that can be reached from one of ours.
///
/// # Errors
/// One sentence on why there is none.
pub(crate) fn path(
    local: &PeerAddresses,
    remote: &[IpAddr],
    remote_port: u16,
    own: OwnSockets,
) -> Result<ike::Path, String> {
    let local_port = if remote_port == own.nat_port { own.nat_port } else { own.ike_port };
    let mut refusal = "it has no address that we could send to".to_owned();
    for &address in remote {
        let remote = SocketAddr::new(address, remote_port);
        match local_address(local, remote, own.mark) {
            Ok(local) => return Ok(ike::Path { local: SocketAddr::new(local, local_port), remote }),
            Err(sentence) => refusal = sentence,
        }
    }
    Err(refusal)
}

/// Chooses our address for a peer: one that is configured, else the one that the routes give.
fn local_address(local: &PeerAddresses, remote: SocketAddr, mark: u32) -> Result<IpAddr, String> {
    let routed = source_towards(remote, mark);
    let PeerAddresses::Ranges(ranges) = local else {
        return routed.map_err(|error| format!("no route to {}: {error}", remote.ip()));
    };
    if let Ok(address) = routed
        && ranges.iter().any(|range| range.contains(address))
    {
        return Ok(address);
    }
    let family = Family::of(remote.ip());
    let single = |range: &&AddressRange| range.start() == range.end() && range.family() == family;
    match ranges.iter().find(single) {
        Some(range) => Ok(range.start()),
        None => Err(format!("none of our addresses that local_addrs names leads to {}", remote.ip())),
    }
}

/// Asks the routing tables, as a packet with our mark meets them, which address we would send from.
fn source_towards(remote: SocketAddr, mark: u32) -> io::Result<IpAddr> {
    let unspecified = match remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM.cloexec(), None)?;
    // Without the privilege there is no rule of ours either that the mark would have to skip.
    if let Err(error) = socket.set_mark(mark) {
        tracing::debug!(%error, "no mark on the probe for our address");
    }
    socket.bind(&SocketAddr::new(unspecified, 0).into())?;
    socket.connect(&remote.into())?;
    let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(local.ip())
}

/// Looks a connection's names up again, and finds the way to the first address that can be reached.
///
/// # Errors
/// There is none; one sentence.
pub(crate) async fn path_to_peer(config: &config::Connection, own: OwnSockets) -> Result<Path, String> {
    let mut complaints = Vec::new();
    let local = lower::addresses(&config.local_addresses, &mut |sentence| complaints.push(sentence)).await;
    let mut remote = Vec::new();
    for spec in &config.remote_addresses {
        match spec {
            AddressSpec::Host(address) => remote.push(*address),
            AddressSpec::Name(name) => match addresses_of(name).await {
                Ok(addresses) => remote.extend(addresses),
                Err(sentence) => complaints.push(sentence),
            },
            AddressSpec::Any | AddressSpec::AnyOf(_) | AddressSpec::Range(_) => {}
        }
    }
    if let (true, Some(sentence)) = (remote.is_empty(), complaints.pop()) {
        return Err(sentence);
    }
    if remote.is_empty() {
        let written: Vec<String> = config.remote_addresses.iter().map(ToString::to_string).collect();
        return Err(format!("remote_addrs = {} names no single address to call", written.join(", ")));
    }
    path(&local, &remote, config.remote_port, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnSockets = OwnSockets { ike_port: 500, nat_port: 4500, mark: 0 };

    #[test]
    fn the_way_to_ourselves_leaves_from_ourselves() {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let path = path(&PeerAddresses::Any, &[localhost], 500, OWN).expect("loopback is up");
        assert_eq!(path.local, SocketAddr::new(localhost, 500));
        assert_eq!(path.remote, SocketAddr::new(localhost, 500));
    }

    #[test]
    fn the_configured_address_wins_and_port_4500_meets_4500() {
        let ours: IpAddr = "127.0.0.9".parse().expect("an address");
        let local = PeerAddresses::Ranges(vec![AddressRange::host(ours)]);
        let path = path(&local, &[IpAddr::V4(Ipv4Addr::LOCALHOST)], 4500, OWN).expect("loopback is up");
        assert_eq!(path.local, SocketAddr::new(ours, 4500));
    }

    #[test]
    fn an_address_of_the_other_family_is_passed_over() {
        let local = PeerAddresses::Ranges(vec![AddressRange::any(Family::V4)]);
        let remote = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        assert_eq!(path(&local, &remote, 500, OWN).expect("IPv4 leads there").remote.ip(), remote[1]);
        let refusal = path(&local, &remote[..1], 500, OWN).expect_err("no way");
        assert_eq!(refusal, "none of our addresses that local_addrs names leads to ::1");
    }

    #[test]
    fn addresses_in_another_order_are_the_same() {
        let [one, two, other] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|text| AddressRange::host(text.parse().expect("the test's own text")));
        let ranges = |ranges: &[AddressRange]| PeerAddresses::Ranges(ranges.to_vec());
        assert!(same_addresses(&ranges(&[one, two]), &ranges(&[two, one, two])));
        assert!(!same_addresses(&ranges(&[one, two]), &ranges(&[one, other])));
        assert!(!same_addresses(&ranges(&[]), &PeerAddresses::Any));
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_named() {
        let refusal = addresses_of("host.invalid").await.expect_err("RFC 6761 says so");
        assert!(refusal.contains("host.invalid"), "{refusal}");
    }
}
