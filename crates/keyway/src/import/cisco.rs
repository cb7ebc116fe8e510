//! Cisco IOS: what its `crypto` configuration says of site-to-site tunnels.
//!
//! ```text
//!   crypto isakmp policy 10           crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac
//!    encr aes 256                      mode tunnel
//!    hash sha256                      crypto map M 10 ipsec-isakmp
//!    authentication pre-share          set peer 198.51.100.1
//!    group 14                          set transform-set T
//!   crypto isakmp key K address A      match address 110
//!                                     access-list 110 permit ip 10.1.0.0 0.0.255.255 10.2.0.0 0.0.255.255
//! ```
//!
//! A `crypto map` entry is a connection with a child; so is a tunnel interface with `tunnel protection`, whose child has a
//! device of its own. IKEv2's keyrings, profiles and proposals are read as well. Where no IKEv2 profile is named, IKEv1 is meant.

mod connections;
mod keywords;

use std::collections::BTreeMap;

use self::connections::{map_entry, tunnel, wanted};
use self::keywords::{cipher_of, cipher_word, end, group_of, hash_of};
use super::File;
use super::draft::Draft;
use super::lines::words;
use super::report::Report;

/// A line at the margin with those indented below it.
struct Block {
    words: Vec<String>,
    place: String,
    lines: Vec<(Vec<String>, String)>,
}

/// Reads all files.
pub(super) fn read(files: &[File], draft: &mut Draft, report: &mut Report) {
    let blocks: Vec<Block> = files.iter().flat_map(blocks).collect();
    let mut known = Known::default();
    for block in &blocks {
        known.learn(block, report);
    }
    for block in &blocks {
        match strs(&block.words).as_slice() {
            ["crypto", "map", name, number, "ipsec-isakmp", ..] => {
                map_entry(name, number, block, &known, draft, report)
            }
            ["interface", name] if name.to_lowercase().starts_with("tunnel") => {
                tunnel(name, block, &known, draft, report)
            }
            _ => {}
        }
    }
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn blocks(file: &File) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.name, n + 1);
        if line.trim().is_empty() || line.trim_start().starts_with('!') {
            continue;
        }
        match (line.starts_with([' ', '\t']), blocks.last_mut()) {
            // In a sub-block of a keyring, lines are indented further: they belong to the same block.
            (true, Some(block)) => block.lines.push((words(line), place)),
            _ => blocks.push(Block { words: words(line), place, lines: Vec::new() }),
        }
    }
    blocks
}

/// What the parts of a configuration are called, so that others can name them.
#[derive(Default)]
struct Known {
    /// Proposals of IKEv1, in the order of their numbers.
    isakmp: BTreeMap<u32, String>,
    /// How both ends prove who they are in IKEv1.
    signs: bool,
    /// Pre-shared keys by the peer's address.
    keys: Vec<(String, String)>,
    ikev2_proposals: Vec<(String, Vec<String>)>,
    /// Profiles of IKEv2: the keyring and the identities.
    profiles: BTreeMap<String, Profile>,
    transforms: BTreeMap<String, Transform>,
    /// Profiles of IPsec: transform set, group and IKEv2 profile.
    ipsec_profiles: BTreeMap<String, Wanted>,
    lists: BTreeMap<String, Vec<Flow>>,
    /// The address of each interface, and of the one that each crypto map is on.
    addresses: BTreeMap<String, String>,
    map_addresses: BTreeMap<String, String>,
    dpd: Option<String>,
    lifetime: Option<String>,
}

#[derive(Clone, Default)]
struct Profile {
    local_id: Option<String>,
    remote_id: Option<String>,
    signs: bool,
}

#[derive(Clone)]
struct Transform {
    proposal: String,
    is_ah: bool,
    mode: &'static str,
}

#[derive(Clone, Default)]
struct Wanted {
    sets: Vec<String>,
    group: Option<String>,
    ikev2: Option<String>,
    life_secs: Option<String>,
}

/// A line of an access list: our traffic and the peer's.
#[derive(Clone)]
struct Flow {
    local: String,
    remote: String,
}

impl Known {
    fn learn(&mut self, block: &Block, report: &mut Report) {
        let place = &block.place;
        let said = block.words.join(" ");
        match strs(&block.words).as_slice() {
            ["crypto", "isakmp", "policy", number] => self.isakmp_policy(number, block, report),
            ["crypto", "isakmp", "key", rest @ ..] => self.isakmp_key(rest, place, report),
            ["crypto", "isakmp", "keepalive", secs, ..] => {
                self.dpd = Some(format!("{secs}s"));
                report.translated(place, &said, format!("dpd_delay = {secs}s"));
            }
            ["crypto", "isakmp", "enable", ..] | ["crypto", "ikev2", "enable", ..] => {
                report.translated(place, &said, "nothing: the daemon runs or not");
            }
            ["crypto", "ikev2", "proposal", name] => self.ikev2_proposal(name, block, report),
            ["crypto", "ikev2", "policy", ..] => {
                report.translated(place, &said, "all proposals count for every connection of IKEv2")
            }
            ["crypto", "ikev2", "keyring", name] => self.keyring(name, block, report),
            ["crypto", "ikev2", "profile", name] => self.profile(name, block, report),
            ["crypto", "ikev2", "dpd", secs, ..] => {
                self.dpd = Some(format!("{secs}s"));
                report.translated(place, &said, format!("dpd_delay = {secs}s"));
            }
            ["crypto", "ipsec", "transform-set", name, algorithms @ ..] => {
                self.transform(name, algorithms, block, report)
            }
            ["crypto", "ipsec", "profile", name] => {
                let wanted = wanted(block, report);
                self.ipsec_profiles.insert((*name).to_owned(), wanted);
            }
            ["crypto", "ipsec", "security-association", "lifetime", "seconds", secs] => {
                self.lifetime = Some(format!("{secs}s"));
                report.translated(place, &said, format!("life_time = {secs}s"));
            }
            ["crypto", "map", name, "local-address", interface] => {
                if let Some(address) = self.addresses.get(*interface).cloned() {
                    self.map_addresses.insert((*name).to_owned(), address);
                }
                report.translated(place, &said, "local_addrs");
            }
            ["crypto", "map", _, _, "ipsec-isakmp", "dynamic", ..] | ["crypto", "dynamic-map", ..] => {
                report.missing(
                    place,
                    &said,
                    "write a connection without remote_addrs for peers whose address is not known",
                );
            }
            ["crypto", "map", _, _, "ipsec-isakmp"] => {}
            ["crypto", "map", _, _, "ipsec-manual"] => {
                report.missing(place, &said, "write a section of `manual`")
            }
            ["crypto", ..] => report.missing(place, &said, "it has no meaning here, or is not known"),
            ["interface", name] => self.interface(name, block),
            ["access-list", number, rest @ ..] => self.list_line(number, rest, place, &said, report),
            ["ip", "access-list", "extended", name] => {
                for (line, place) in &block.lines {
                    let line = strs(line);
                    let line = line
                        .iter()
                        .skip_while(|word| word.parse::<u32>().is_ok())
                        .copied()
                        .collect::<Vec<_>>();
                    self.list_line(name, &line, place, &line.join(" "), report);
                }
            }
            _ => {}
        }
    }

    fn isakmp_policy(&mut self, number: &str, block: &Block, report: &mut Report) {
        // What IOS has where nothing is written.
        let (mut cipher, mut hash, mut group) = ("des".to_owned(), "sha1".to_owned(), "modp768".to_owned());
        for (line, place) in &block.lines {
            let said = line.join(" ");
            match strs(line).as_slice() {
                ["encr" | "encryption", rest @ ..] => cipher = cipher_of(rest),
                ["hash", word] => hash = hash_of(word),
                ["group", number] => group = group_of(number),
                ["authentication", "pre-share"] => {}
                ["authentication", "rsa-sig" | "ecdsa-sig"] => self.signs = true,
                ["lifetime", secs] => {
                    report.translated(place, &said, "rekey_time keeps its default: each end has its own");
                    let _ = secs;
                    continue;
                }
                _ => {
                    report.missing(place, &said, "it has no meaning here");
                    continue;
                }
            }
            report.translated(place, &said, "a part of `proposals`, or of `auth`");
        }
        self.isakmp.insert(number.parse().unwrap_or(u32::MAX), format!("{cipher}-{hash}-{group}"));
    }

    fn isakmp_key(&mut self, rest: &[&str], place: &str, report: &mut Report) {
        let rest = if rest.first().is_some_and(|kind| *kind == "0") { &rest[1..] } else { rest };
        match rest {
            ["6", ..] => report.missing(
                place,
                "crypto isakmp key 6 …",
                "the key is encrypted: write it into `secrets`",
            ),
            [key, "address", address, ..] => {
                let peer = if *address == "0.0.0.0" { "%any" } else { address };
                self.keys.push((peer.to_owned(), (*key).to_owned()));
                report.translated(
                    place,
                    &format!("crypto isakmp key … address {address}"),
                    format!("the secret for {peer}"),
                );
            }
            [key, "hostname", name, ..] => {
                self.keys.push(((*name).to_owned(), (*key).to_owned()));
                report.translated(
                    place,
                    &format!("crypto isakmp key … hostname {name}"),
                    format!("the secret for {name}"),
                );
            }
            _ => report.missing(place, "crypto isakmp key …", "it is not understood"),
        }
    }

    fn ikev2_proposal(&mut self, name: &str, block: &Block, report: &mut Report) {
        let mut parts: [Vec<String>; 4] = Default::default();
        for (line, place) in &block.lines {
            let [ciphers, hashes, prfs, groups] = &mut parts;
            match strs(line).as_slice() {
                ["encryption", rest @ ..] => ciphers.extend(rest.iter().map(|word| cipher_word(word))),
                ["integrity", rest @ ..] => hashes.extend(rest.iter().map(|word| hash_of(word))),
                ["prf", rest @ ..] => prfs.extend(rest.iter().map(|word| format!("prf{}", hash_of(word)))),
                ["group", rest @ ..] => groups.extend(rest.iter().map(|word| group_of(word))),
                _ => {
                    report.missing(place, &line.join(" "), "it is not understood");
                    continue;
                }
            }
            report.translated(place, &line.join(" "), "a part of `proposals`");
        }
        let is_aead = parts[0].iter().any(|cipher| cipher.contains("gcm"));
        if is_aead {
            parts[1].clear();
        }
        // One proposal may list alternatives of each kind.
        let words: Vec<String> = parts.into_iter().flatten().collect();
        self.ikev2_proposals.push((name.to_owned(), vec![words.join("-")]));
    }

    fn keyring(&mut self, name: &str, block: &Block, report: &mut Report) {
        let mut peer: Option<String> = None;
        for (line, place) in &block.lines {
            match strs(line).as_slice() {
                ["peer", _] => peer = None,
                ["address", address, ..] => {
                    peer =
                        Some(if *address == "0.0.0.0" { "%any".to_owned() } else { (*address).to_owned() });
                }
                ["identity", _, who] => peer = Some((*who).to_owned()),
                ["pre-shared-key", rest @ ..] => {
                    let rest: Vec<&str> = rest
                        .iter()
                        .filter(|word| !["local", "remote", "0"].contains(word))
                        .copied()
                        .collect();
                    match rest.as_slice() {
                        [key] => {
                            let who = peer.clone().unwrap_or_else(|| "%any".to_owned());
                            if !self.keys.iter().any(|(known, _)| *known == who) {
                                self.keys.push((who.clone(), (*key).to_owned()));
                            } else if !self.keys.iter().any(|(known, secret)| *known == who && secret == key)
                            {
                                report.missing(
                                    place,
                                    "pre-shared-key …",
                                    "a second key for the same peer: both ends have one key here",
                                );
                                continue;
                            }
                            report.translated(
                                place,
                                "pre-shared-key …",
                                format!("the secret for {who}, of keyring {name}"),
                            );
                        }
                        _ => report.missing(
                            place,
                            "pre-shared-key …",
                            "the key is encrypted: write it into `secrets`",
                        ),
                    }
                }
                _ => report.missing(place, &line.join(" "), "it has no meaning here"),
            }
        }
    }

    fn profile(&mut self, name: &str, block: &Block, report: &mut Report) {
        let mut profile = Profile::default();
        for (line, place) in &block.lines {
            match strs(line).as_slice() {
                ["match", "identity", "remote", "address", address, ..] if *address != "0.0.0.0" => {
                    profile.remote_id = Some((*address).to_owned());
                }
                ["match", "identity", "remote", "fqdn" | "email", who] => {
                    profile.remote_id = Some((*who).to_owned())
                }
                ["match", "identity", "remote", "address", ..] | ["match", "identity", "remote", "any"] => {}
                ["identity", "local", "address" | "fqdn" | "email", who] => {
                    profile.local_id = Some((*who).to_owned())
                }
                ["authentication", end, "pre-share", "key", ..] => {
                    let said = format!("authentication {end} pre-share key …");
                    report.missing(place, &said, "write the key into `secrets`");
                    continue;
                }
                ["authentication", _, "pre-share", ..] | ["authentication", "pre-share"] => {}
                ["authentication", _, "rsa-sig" | "ecdsa-sig"] => profile.signs = true,
                ["keyring", "local", _] => {}
                ["dpd", secs, ..] => self.dpd = Some(format!("{secs}s")),
                ["lifetime", _] => {}
                _ => {
                    report.missing(place, &line.join(" "), "it has no meaning here");
                    continue;
                }
            }
            report.translated(place, &line.join(" "), "`id`, `auth` or `secrets`");
        }
        self.profiles.insert(name.to_owned(), profile);
    }

    fn transform(&mut self, name: &str, algorithms: &[&str], block: &Block, report: &mut Report) {
        let mut words: Vec<String> = Vec::new();
        let (mut is_ah, mut mode) = (false, "tunnel");
        let mut rest = algorithms.iter().peekable();
        while let Some(word) = rest.next() {
            let bits = rest.next_if(|next| next.parse::<u16>().is_ok()).copied().unwrap_or("128");
            match *word {
                "esp-aes" => words.push(format!("aes{bits}")),
                "esp-gcm" => words.push(format!("aes{bits}gcm16")),
                "esp-gmac" => words.push(format!("aes{bits}gmac")),
                "esp-3des" => words.push("3des".to_owned()),
                "esp-des" => words.push("des".to_owned()),
                "esp-null" => words.push("null".to_owned()),
                "comp-lzs" => report.missing(
                    &block.place,
                    "comp-lzs",
                    "compression is by DEFLATE (`ipcomp = yes`), which IOS has not",
                ),
                other => match other.strip_prefix("ah-") {
                    Some(hash) => {
                        is_ah = true;
                        words.push(hash_of(hash.trim_end_matches("-hmac")));
                    }
                    None => words.push(hash_of(other.trim_start_matches("esp-").trim_end_matches("-hmac"))),
                },
            }
        }
        for (line, place) in &block.lines {
            match strs(line).as_slice() {
                ["mode", "transport", ..] => mode = "transport",
                ["mode", "tunnel"] => mode = "tunnel",
                _ => report.missing(place, &line.join(" "), "it has no meaning here"),
            }
        }
        let proposal = words.join("-");
        report.translated(&block.place, &block.words.join(" "), format!("{proposal}, in {mode} mode"));
        self.transforms.insert(name.to_owned(), Transform { proposal, is_ah, mode });
    }

    fn interface(&mut self, name: &str, block: &Block) {
        for (line, _) in &block.lines {
            match strs(line).as_slice() {
                ["ip", "address", address, _] => {
                    drop(self.addresses.insert(name.to_owned(), (*address).to_owned()))
                }
                ["crypto", "map", map] => {
                    if let Some(address) = self.addresses.get(name).cloned() {
                        self.map_addresses.insert((*map).to_owned(), address);
                    }
                }
                _ => {}
            }
        }
    }

    fn list_line(&mut self, name: &str, words: &[&str], place: &str, said: &str, report: &mut Report) {
        let ["permit", protocol, rest @ ..] = words else {
            if words.first() != Some(&"remark") {
                report.missing(
                    place,
                    said,
                    "only what is permitted is protected: write a child with `mode = pass` for the rest",
                );
            }
            return;
        };
        let mut rest = rest;
        let protocol = match *protocol {
            "ip" => String::new(),
            other => other.to_owned(),
        };
        let ends = [end(&mut rest, &protocol), end(&mut rest, &protocol)];
        match ends {
            [Some(local), Some(remote)] if rest.iter().all(|word| *word == "log") => {
                report.translated(place, said, format!("local_ts = {local}, remote_ts = {remote}"));
                self.lists.entry(name.to_owned()).or_default().push(Flow { local, remote });
            }
            _ => report.missing(place, said, "it is not understood"),
        }
    }
}
