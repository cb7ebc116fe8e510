//! What a client asks for and a server gives inside the tunnel: the attributes, which are the same in both versions of IKE
//! (RFC 7296 §3.15.1, draft-dukes-ike-mode-cfg-02, Cisco's Unity attributes as they are deployed).
//!
//! Which message carries them is the versions' own business: `v2/configuration.rs` and `v1/mode_config.rs`.

use std::net::{IpAddr, Ipv4Addr};

use sa::{AddressRange, Family};
use wire::isakmp::IkeSpi;
use wire::registry::v1::ConfigurationAttributeType as Type;

use crate::context::Context;
use crate::virtual_addresses::Inside;
use crate::{Connection, Identity, Pool, limits};

/// What we say that we are.
pub(crate) const APPLICATION: &str = "Keyway";

/// One attribute: what it is about, and its value, which is empty in a question that leaves it open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub about: Type,
    pub value: Vec<u8>,
}

impl Attribute {
    pub(crate) fn new(about: Type, value: impl Into<Vec<u8>>) -> Attribute {
        Attribute { about, value: value.into() }
    }
}

// --- Client --------------------------------------------------------------------------------------------------------

/// Asks for the addresses that a connection wants, those that we had before by name.
pub(crate) fn addresses_asked(cx: &Context, connection: &Connection) -> Vec<Attribute> {
    let mut before: Vec<IpAddr> = cx.assumed.all_of(&connection.name).collect();
    let wanted = connection.virtual_addresses.iter().take(limits::VIRTUAL_ADDRESSES).map(|wanted| {
        let is_like = |address: &IpAddr| {
            Family::of(*address) == Family::of(*wanted) && (wanted.is_unspecified() || address == wanted)
        };
        let had = before.iter().position(is_like).map(|at| before.remove(at));
        let address = had.unwrap_or(*wanted);
        let about = address_type(Family::of(address));
        if address.is_unspecified() {
            Attribute::new(about, [])
        } else {
            Attribute::new(about, leased(address))
        }
    });
    wanted.collect()
}

/// Tells what we ask for, for people.
pub(crate) fn wanted_in_words(connection: &Connection) -> String {
    let wanted: Vec<_> = connection.virtual_addresses.iter().map(ToString::to_string).collect();
    wanted.join(", ")
}

/// Takes what the peer gives: addresses as many as a connection wants, and what belongs to them.
pub(crate) fn take(
    cx: &mut Context,
    connection: &Connection,
    holder: IkeSpi,
    inside: &mut Inside,
    given: impl IntoIterator<Item = Attribute>,
) {
    for Attribute { about, value } in given.into_iter().take(limits::CONFIGURATION_ATTRIBUTES) {
        let text = || String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned();
        match about {
            Type::INTERNAL_IP4_ADDRESS | Type::INTERNAL_IP6_ADDRESS => {
                if let Some(address) = address_in(&value).filter(|address| is_for_a_host(*address))
                    && !inside.local.contains(&address)
                    && has_room(connection, inside, Family::of(address))
                {
                    inside.local.push(address);
                    cx.take_address(address, &connection.name, holder);
                }
            }
            Type::INTERNAL_IP4_DNS | Type::INTERNAL_IP6_DNS => {
                let server = address_in(&value).filter(|server| !inside.dns.contains(server));
                push_within(&mut inside.dns, server);
            }
            Type::INTERNAL_IP4_SUBNET | Type::INTERNAL_IP6_SUBNET => {
                push_within(&mut inside.subnets, subnet_in(&value));
            }
            Type::UNITY_SPLIT_INCLUDE => {
                for network in value.chunks_exact(UNITY_NETWORK_LEN) {
                    push_within(&mut inside.subnets, network.get(..8).and_then(subnet_in));
                }
            }
            Type::UNITY_DEFAULT_DOMAIN | INTERNAL_DNS_DOMAIN => inside.domain = Some(text()),
            Type::UNITY_BANNER => inside.banner = Some(text()),
            _ => {}
        }
    }
    cx.take_name_servers(inside, &connection.name, holder);
}

/// An address that one host can have; a peer gives no other.
fn is_for_a_host(address: IpAddr) -> bool {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_broadcast)
}

/// Tells whether we want one more address of a family than we have.
fn has_room(connection: &Connection, inside: &Inside, family: Family) -> bool {
    let count =
        |addresses: &[IpAddr]| addresses.iter().filter(|address| Family::of(**address) == family).count();
    count(&inside.local) < count(&connection.virtual_addresses).min(limits::VIRTUAL_ADDRESSES)
}

fn push_within<T>(list: &mut Vec<T>, item: Option<T>) {
    let room = list.len() < limits::VIRTUAL_ADDRESSES;
    list.extend(item.filter(|_| room));
}

// --- Server --------------------------------------------------------------------------------------------------------

/// Who leases, and for which IKE SA.
pub(crate) struct Lessor<'a> {
    pub connection: &'a Connection,
    pub client: &'a Identity,
    /// By our SPI.
    pub holder: IkeSpi,
    /// Whether another IKE SA with this client is about to end, and this one has its addresses.
    pub succeeds: bool,
}

/// Leases an address for each one that is asked for, and gives those that there are.
pub(crate) fn lease(
    cx: &mut Context,
    lessor: &Lessor<'_>,
    inside: &mut Inside,
    asked: &[(Family, Option<IpAddr>)],
) -> Vec<IpAddr> {
    let mut given: Vec<IpAddr> = Vec::new();
    for (family, wanted) in asked.iter().take(limits::VIRTUAL_ADDRESSES) {
        let is_new = |address: &IpAddr| Family::of(*address) == *family && !given.contains(address);
        // Who asks once more gets the same once more.
        if let Some(address) = inside.remote.iter().copied().find(is_new) {
            given.push(address);
            continue;
        }
        let pools = &lessor.connection.pools;
        let before = cx.leases.of(pools, lessor.client).find(is_new).filter(|_| lessor.succeeds);
        let leased = cx.leases.lease(pools, *family, lessor.client, wanted.or(before), lessor.holder);
        inside.remote.extend(leased);
        given.extend(leased);
    }
    given
}

/// Says why there is no address of a family.
pub(crate) fn none_free(connection: &Connection, family: Family) -> String {
    match connection.pools.as_slice() {
        [] => {
            format!("the peer asks for a virtual address of {family}, and {} has no pools", connection.name)
        }
        pools => format!("no {family} address is free in the pools {}", pools.join(", ")),
    }
}

/// Gives a leased address as an attribute.
pub(crate) fn address_attribute(address: IpAddr) -> Attribute {
    Attribute::new(address_type(Family::of(address)), leased(address))
}

/// Gives what the pools tell clients of a kind, which is no address: none, one or several attributes.
pub(crate) fn told(cx: &Context, connection: &Connection, about: Type) -> Vec<Attribute> {
    let pools = || cx.leases.pools(&connection.pools);
    let of = |family: Family, list: fn(&Pool) -> &Vec<IpAddr>| -> Vec<Vec<u8>> {
        let addresses = pools().flat_map(list).filter(|address| Family::of(**address) == family);
        addresses.copied().map(octets_of).collect()
    };
    let text = |text: fn(&Pool) -> Option<&String>| -> Vec<Vec<u8>> {
        pools().find_map(text).map(|text| text.clone().into_bytes()).into_iter().collect()
    };
    let values: Vec<Vec<u8>> = match about {
        Type::INTERNAL_IP4_NETMASK => {
            pools().find_map(|pool| pool.netmask).map(|mask| mask.octets().to_vec()).into_iter().collect()
        }
        Type::INTERNAL_IP4_DNS => of(Family::V4, |pool| &pool.dns),
        Type::INTERNAL_IP6_DNS => of(Family::V6, |pool| &pool.dns),
        Type::INTERNAL_IP4_NBNS => {
            pools().flat_map(|pool| &pool.nbns).map(|server| server.octets().to_vec()).collect()
        }
        Type::INTERNAL_IP4_DHCP => of(Family::V4, |pool| &pool.dhcp),
        Type::INTERNAL_IP6_DHCP => of(Family::V6, |pool| &pool.dhcp),
        INTERNAL_IP4_SERVER => of(Family::V4, |pool| &pool.servers),
        INTERNAL_IP6_SERVER => of(Family::V6, |pool| &pool.servers),
        Type::INTERNAL_IP4_SUBNET | Type::INTERNAL_IP6_SUBNET => {
            let subnets = pools().flat_map(|pool| &pool.subnets);
            subnets.filter(|subnet| subnet_type(subnet.family()) == about).filter_map(subnet_octets).collect()
        }
        Type::UNITY_SPLIT_INCLUDE => unity_networks(pools().flat_map(|pool| &pool.split_include)),
        Type::UNITY_LOCAL_LAN => unity_networks(pools().flat_map(|pool| &pool.split_exclude)),
        Type::UNITY_DEFAULT_DOMAIN => text(|pool| pool.domain.as_ref()),
        Type::UNITY_BANNER => text(|pool| pool.banner.as_ref()),
        Type::APPLICATION_VERSION => vec![APPLICATION.into()],
        _ => Vec::new(),
    };
    values.into_iter().map(|value| Attribute::new(about, value)).collect()
}

/// Gives what the pools tell clients by number: nobody asks for it.
pub(crate) fn told_by_number(cx: &Context, connection: &Connection) -> Vec<Attribute> {
    let numbered = cx.leases.pools(&connection.pools).flat_map(|pool| &pool.numbered);
    numbered.map(|(number, text)| Attribute::new(Type(*number), text.as_bytes())).collect()
}

/// The same as Unity's in IKEv2 (RFC 8598 §4.1).
const INTERNAL_DNS_DOMAIN: Type = Type(25);

/// Microsoft's numbers (MS-IKEE §2.2.9).
pub(crate) const INTERNAL_IP4_SERVER: Type = Type(23456);
pub(crate) const INTERNAL_IP6_SERVER: Type = Type(23457);

/// Networks as Unity writes them, all in one attribute.
fn unity_networks<'a>(networks: impl Iterator<Item = &'a AddressRange>) -> Vec<Vec<u8>> {
    let networks: Vec<u8> = networks.filter_map(unity_network).flatten().collect();
    if networks.is_empty() { Vec::new() } else { vec![networks] }
}

/// Address, mask, then protocol and ports, which are none.
fn unity_network(network: &AddressRange) -> Option<Vec<u8>> {
    let octets = subnet_octets(network).filter(|octets| octets.len() == 8)?;
    Some([octets, vec![0; UNITY_NETWORK_LEN - 8]].concat())
}

const UNITY_NETWORK_LEN: usize = 14;

// --- Values --------------------------------------------------------------------------------------------------------

fn address_type(family: Family) -> Type {
    match family {
        Family::V4 => Type::INTERNAL_IP4_ADDRESS,
        Family::V6 => Type::INTERNAL_IP6_ADDRESS,
    }
}

fn subnet_type(family: Family) -> Type {
    match family {
        Family::V4 => Type::INTERNAL_IP4_SUBNET,
        Family::V6 => Type::INTERNAL_IP6_SUBNET,
    }
}

/// Gives the family of the address that an attribute asks for, if it asks for one.
pub(crate) fn family_asked(about: Type) -> Option<Family> {
    match about {
        Type::INTERNAL_IP4_ADDRESS => Some(Family::V4),
        Type::INTERNAL_IP6_ADDRESS => Some(Family::V6),
        _ => None,
    }
}

/// An address of IPv6 has the length of its prefix behind it (RFC 7296 §3.15.1).
fn leased(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => [&address.octets()[..], &[128]].concat(),
    }
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A network of IPv4 has its mask behind it, one of IPv6 the length of its prefix.
fn subnet_octets(subnet: &AddressRange) -> Option<Vec<u8>> {
    let (address, length) = subnet.as_prefix()?;
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or_default();
            [address.octets(), mask.to_be_bytes()].concat()
        }
        IpAddr::V6(address) => [&address.octets()[..], &[length]].concat(),
    })
}

/// Reads an address; one of IPv6 may have the length of its prefix behind it.
pub(crate) fn address_in(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 | 17 => <[u8; 16]>::try_from(octets.get(..16)?).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Reads a network; `None` if its mask has gaps, or it has bits of a host.
fn subnet_in(octets: &[u8]) -> Option<AddressRange> {
    let (address, length) = match octets.len() {
        8 => {
            let mask = u32::from_be_bytes(octets.get(4..)?.try_into().ok()?);
            let length = mask.leading_ones();
            let is_whole = mask.checked_shl(length).unwrap_or_default() == 0;
            (address_in(octets.get(..4)?)?, is_whole.then_some(length)?)
        }
        17 => (address_in(octets.get(..16)?)?, u32::from(*octets.get(16)?)),
        _ => return None,
    };
    format!("{address}/{length}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_survive_their_octets() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "10.1.2.3/32", "fd00:1::/64", "::/0"] {
            let network: AddressRange = text.parse().expect("the test's own text");
            let octets = subnet_octets(&network).expect("it is a prefix");
            assert_eq!(subnet_in(&octets), Some(network), "{text}");
        }
        assert_eq!(subnet_in(&[10, 1, 0, 0, 255, 0, 255, 0]), None, "a mask with a gap");
        assert_eq!(subnet_in(&[10, 1, 0]), None);
        let too_long = [&[0xfd; 16][..], &[129]].concat();
        assert_eq!(subnet_in(&too_long), None);
    }

    #[test]
    fn no_peer_gives_an_address_that_no_host_has() {
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            assert!(!is_for_a_host(text.parse().expect("the test's own text")), "{text}");
        }
        assert!(is_for_a_host("10.3.0.1".parse().expect("the test's own text")));
    }
}
