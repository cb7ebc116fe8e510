//! Reads pools of virtual addresses.

use vici::Node;

use crate::Pool;
use crate::audit::audit;
use crate::reader::Reader;
use crate::table::credentials::{
    POOL, POOL_ADDRESSES, POOL_BANNER, POOL_DHCP, POOL_DNS, POOL_DOMAIN, POOL_EXCLUDE, POOL_NBNS,
    POOL_NETMASK, POOL_NUMBERED, POOL_SERVER, POOL_SPLIT, POOL_SUBNET,
};

/// Holds one pool against the table and reads it.
pub(crate) fn audited_pool(reader: &Reader<'_>) -> Option<Pool> {
    audit(reader, &POOL);
    pool(reader)
}

pub(super) fn pool(reader: &Reader<'_>) -> Option<Pool> {
    if !reader.has(&POOL_ADDRESSES.row) {
        reader.section_error(format!("`{}` has no addresses", reader.name()), "add `addrs = 10.3.0.0/24`");
    }
    let mut numbered = numbered(reader);
    let mut take = |number: u16| {
        let at = numbered.iter().position(|(known, _)| *known == number)?;
        Some(numbered.remove(at).1)
    };
    let (banner, domain) = (take(UNITY_BANNER), take(UNITY_DOMAIN));
    // Whatever reads the file for a client may have cut a sentence at its commas.
    let written_banner = Some(reader.many(&POOL_BANNER).join(", ")).filter(|banner| !banner.is_empty());
    let pool = Pool {
        name: reader.name().to_owned(),
        addresses: reader.maybe(&POOL_ADDRESSES)?,
        netmask: reader.many(&POOL_NETMASK).first().copied(),
        dns: reader.many(&POOL_DNS),
        nbns: reader.many(&POOL_NBNS),
        dhcp: reader.many(&POOL_DHCP),
        servers: reader.many(&POOL_SERVER),
        subnets: reader.many(&POOL_SUBNET),
        split_include: reader.many(&POOL_SPLIT),
        split_exclude: reader.many(&POOL_EXCLUDE),
        domain: reader.many(&POOL_DOMAIN).into_iter().next().or(domain),
        banner: written_banner.or(banner),
        numbered,
        span: reader.span,
    };
    (!reader.faults.has_error_in(&reader.path)).then_some(pool)
}

const UNITY_BANNER: u16 = 28672;
const UNITY_DOMAIN: u16 = 28674;

/// Reads the attributes that are named by a number, which has 15 bits (RFC 7296 §3.15.1).
fn numbered(reader: &Reader<'_>) -> Vec<(u16, String)> {
    let mut read = Vec::new();
    for entry in reader.tree.entries.iter().filter(|entry| POOL_NUMBERED.row.fits(&entry.name)) {
        let values = match &entry.node {
            Node::Value(value) => std::slice::from_ref(value),
            Node::List(values) => values.as_slice(),
            Node::Section(_) => continue,
        };
        match entry.name.parse::<u16>() {
            Ok(number) if number < 1 << 15 => {
                let texts = values.iter().filter_map(|value| value.text());
                read.extend(texts.map(|text| (number, text.trim().to_owned())));
            }
            Ok(_) | Err(_) => {
                let message = format!("attributes have numbers below {}, not {}", 1 << 15, entry.name);
                reader.faults.error(entry.span, &reader.key(&entry.name), message, "");
            }
        }
    }
    read
}
