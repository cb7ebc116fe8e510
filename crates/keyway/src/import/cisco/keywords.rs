//! IOS's words for algorithms, addresses and ports.

use std::net::Ipv4Addr;

/// Reads one end of an access list: `any`, `host A`, or an address with the bits that do not count.
pub(super) fn end(words: &mut &[&str], protocol: &str) -> Option<String> {
    let (network, rest) = match *words {
        ["any", rest @ ..] => ("0.0.0.0/0".to_owned(), rest),
        ["host", address, rest @ ..] => (format!("{address}/32"), rest),
        [address, wildcard, rest @ ..] => {
            let address: Ipv4Addr = address.parse().ok()?;
            let wild = u32::from(wildcard.parse::<Ipv4Addr>().ok()?);
            // Only a mask without holes is a network.
            (wild & wild.wrapping_add(1) == 0).then_some(())?;
            (format!("{}/{}", Ipv4Addr::from(u32::from(address) & !wild), wild.leading_zeros()), rest)
        }
        _ => return None,
    };
    let (port, rest) = match rest {
        ["eq", port, rest @ ..] => (format!("/{}", port_of(port)), rest),
        ["range", first, last, rest @ ..] => (format!("/{}-{}", port_of(first), port_of(last)), rest),
        _ => (String::new(), rest),
    };
    *words = rest;
    Some(if protocol.is_empty() { network } else { format!("{network}[{protocol}{port}]") })
}

fn port_of(word: &str) -> &str {
    match word {
        "www" => "80",
        "domain" => "53",
        "telnet" => "23",
        "smtp" => "25",
        "ftp" => "21",
        "snmp" => "161",
        "ntp" => "123",
        other => other,
    }
}

/// Gives our word for a cipher of IKEv1, whose bits stand apart.
pub(super) fn cipher_of(words: &[&str]) -> String {
    match words {
        ["aes"] => "aes128".to_owned(),
        ["aes", bits] => format!("aes{bits}"),
        [other, ..] => (*other).to_owned(),
        [] => "des".to_owned(),
    }
}

/// Gives our word for a cipher of IKEv2.
pub(super) fn cipher_word(word: &str) -> String {
    match word.split('-').collect::<Vec<_>>().as_slice() {
        ["aes", "cbc", bits] => format!("aes{bits}"),
        ["aes", "gcm", bits] => format!("aes{bits}gcm16"),
        _ => word.to_owned(),
    }
}

/// Gives our word for a hash.
pub(super) fn hash_of(word: &str) -> String {
    match word {
        "sha" | "sha1" => "sha1",
        "sha256" => "sha256",
        "sha384" => "sha384",
        "sha512" => "sha512",
        other => other,
    }
    .to_owned()
}

/// Gives our word for a group by its number.
pub(super) fn group_of(number: &str) -> String {
    match number.trim_start_matches("group") {
        "1" => "modp768",
        "2" => "modp1024",
        "5" => "modp1536",
        "14" => "modp2048",
        "15" => "modp3072",
        "16" => "modp4096",
        "19" => "ecp256",
        "20" => "ecp384",
        "21" => "ecp521",
        "24" => "modp2048s256",
        other => other,
    }
    .to_owned()
}
