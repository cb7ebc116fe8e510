//! Realistic configurations of each dialect, and what becomes of them.

use std::net::IpAddr;

use config::{Config, Loaded, Severity, Syntax};

use super::report::Fate;
use super::{Dialect, File, Imported, import};

fn nobody(_: IpAddr) -> bool {
    false
}

fn imported(files: &[(&str, &str)], dialect: Option<Dialect>, is_own: &dyn Fn(IpAddr) -> bool) -> Imported {
    let file = |(name, text): &(&str, &str)| File { name: (*name).to_owned(), text: (*text).to_owned() };
    let files: Vec<File> = files.iter().map(file).collect();
    import(&files, dialect, is_own).expect("there is something in it")
}

/// What `keyway check` would say; that files of certificates are not there is no fault of the text.
fn checked(imported: &Imported) -> Config {
    let Loaded { config, faults } = config::load_text("imported", &imported.text, Syntax::Swanctl);
    let errors = faults
        .iter()
        .filter(|fault| fault.severity == Severity::Error && !fault.message.contains("cannot be read"));
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}\n{}", errors.join("\n"), imported.text);
    config
}

fn notes(imported: &Imported, fate: Fate) -> Vec<String> {
    let notes = imported.report.notes.iter().filter(|note| note.fate == fate);
    notes.map(|note| format!("{}: {}: {}", note.place, note.said, note.sentence)).collect()
}

fn has_note(imported: &Imported, fate: Fate, words: &[&str]) {
    let notes = notes(imported, fate);
    assert!(notes.iter().any(|note| words.iter().all(|word| note.contains(word))), "{words:?}: {notes:#?}");
}

const STRONGSWAN: &str = "
config setup
    uniqueids=never
    charondebug=\"ike 2\"

conn %default
    keyexchange=ikev2
    ikelifetime=4h
    lifetime=1h
    margintime=10m
    dpdaction=restart
    dpddelay=30s

# the office in Basel
conn base
    left=192.0.2.1
    leftid=@a.example.org
    leftsubnet=10.1.0.0/16,10.9.0.0/16
    authby=secret

conn office
    also=base
    right=198.51.100.1
    rightid=@b.example.org
    rightsubnet=10.2.0.0/16
    ike=aes256-sha256-modp2048,3des-sha1-modp1024!
    esp=aes256gcm16-modp2048!
    leftfirewall=yes
    nonsense=1
    auto=start

conn roadwarriors
    left=%any
    leftcert=gwCert.pem
    leftsubnet=0.0.0.0/0
    leftid=gw.example.org
    leftsendcert=always
    right=%any
    rightauth=pubkey
    rightsourceip=10.3.0.0/24
    rightdns=10.1.0.53,10.1.0.54
    auto=add

conn unused
    right=203.0.113.9
";

const STRONGSWAN_SECRETS: &str = "
@a.example.org @b.example.org : PSK \"correct horse # battery staple\"
: RSA gwKey.pem
: ECDSA other.pem \"open sesame\"
carol : XAUTH \"carols password\"
include /etc/ipsec.d/*.secrets
";

#[test]
fn strongswans_ipsec_conf() {
    let imported =
        imported(&[("ipsec.conf", STRONGSWAN), ("ipsec.secrets", STRONGSWAN_SECRETS)], None, &nobody);
    let config = checked_without_files(&imported);
    let names: Vec<&str> = config.connections.iter().map(|connection| connection.name.as_str()).collect();
    assert_eq!(names, ["office", "roadwarriors"]);
    let office = &config.connections[0];
    assert_eq!(office.versions, config::Versions::V2);
    assert_eq!((office.lifetimes.rekey.as_secs(), office.lifetimes.life.as_secs()), (13_800, 14_400));
    assert_eq!(office.dpd_delay.as_secs(), 30);
    assert_eq!(office.unique, config::Unique::Never);
    let proposals: Vec<String> = office.proposals.iter().map(ToString::to_string).collect();
    assert_eq!(proposals.len(), 1, "the weak one is gone: {proposals:?}");
    let child = &office.children[0];
    assert_eq!(child.local_selectors.len(), 2);
    assert_eq!(child.start_action, config::StartAction::Start);
    assert_eq!(child.dpd_action, config::CloseAction::Start);
    assert_eq!((child.lifetimes.rekey.as_secs(), child.lifetimes.life.as_secs()), (3000, 3600));
    let road = &config.connections[1];
    assert_eq!(road.pools, ["roadwarriors"]);
    assert_eq!(config.pools[0].dns.len(), 2);
    assert!(imported.text.contains("certs = gwCert.pem"), "{}", imported.text);
    assert!(imported.text.contains("secret = \"correct horse # battery staple\""), "{}", imported.text);
    assert!(imported.text.contains("id-1 = a.example.org"), "{}", imported.text);
    has_note(&imported, Fate::Changed, &["3des-sha1-modp1024", "allow_weak = yes"]);
    has_note(&imported, Fate::Missing, &["ipsec.conf:29: nonsense=1", "no such key"]);
    has_note(&imported, Fate::Missing, &["leftfirewall=yes", "keyway0"]);
    has_note(&imported, Fate::Missing, &["conn unused", "no `auto`"]);
    has_note(&imported, Fate::Missing, &["include /etc/ipsec.d/*.secrets", "command line"]);
    has_note(&imported, Fate::Missing, &["charondebug=ike 2", "--log"]);
    has_note(&imported, Fate::Translated, &["gwKey.pem", "rsa/"]);
    let report = imported.report.to_string();
    for secret in ["battery", "sesame", "carols password"] {
        assert!(!report.contains(secret), "{report}");
    }
}

/// The same, but for files that only the administrator has.
fn checked_without_files(imported: &Imported) -> Config {
    let is_named = |line: &&str| {
        !["certs =", "cacerts =", "cacert =", "file ="].iter().any(|key| line.trim_start().starts_with(key))
    };
    let mut text: String = imported.text.lines().filter(is_named).flat_map(|line| [line, "\n"]).collect();
    // What is left of a section without its file is no section.
    for section in ["ecdsa-2", "ecdsa-3", "pkcs12-1", "rsa-1"] {
        if let Some(at) = text.find(&format!("    {section} {{")) {
            let end = text[at..].find("    }\n").map_or(text.len(), |end| at + end + 6);
            text.replace_range(at..end, "");
        }
    }
    checked(&Imported { text, report: super::report::Report::default() })
}

#[test]
fn whoever_has_the_address_of_right_is_right() {
    let text = "conn a\n left=198.51.100.1\n leftsubnet=10.2.0.0/16\n right=192.0.2.1\n rightsubnet=10.1.0.0/16\n authby=psk\n auto=route\n";
    let is_own = |address: IpAddr| address.to_string() == "192.0.2.1";
    let secrets = "198.51.100.1 : PSK \"correct horse battery staple\"\n";
    let files = [("ipsec.conf", text), ("ipsec.secrets", secrets)];
    let imported = imported(&files, Some(Dialect::Strongswan), &is_own);
    let config = checked(&imported);
    assert!(imported.text.contains("local_addrs = 192.0.2.1"), "{}", imported.text);
    assert_eq!(config.connections[0].children[0].local_selectors[0].to_string(), "10.1.0.0/16");
}

#[test]
fn aggressive_mode_with_a_secret_is_changed() {
    let text = "conn a\n keyexchange=ikev1\n aggressive=yes\n right=198.51.100.1\n authby=xauthpsk\n xauth=client\n xauth_identity=carol\n leftid=@#0a0b\n leftsourceip=%config\n auto=add\n";
    let imported = imported(
        &[
            ("ipsec.conf", text),
            ("ipsec.secrets", "carol : XAUTH \"swordfish\"\n: PSK 0x0102030405060708090a0b0c0d0e0f10\n"),
        ],
        None,
        &nobody,
    );
    let config = checked(&imported);
    assert_eq!(config.connections[0].phase_1, config::Phase1Mode::Main);
    assert_eq!(config.connections[0].xauth, config::Xauth::Ours("carol".to_owned()));
    assert_eq!(config.connections[0].virtual_addresses.len(), 1);
    has_note(&imported, Fate::Changed, &["aggressive mode", "main mode"]);
}

#[test]
fn libreswans_ipsec_conf() {
    let text = "
config setup
    protostack=xfrm
    logfile=/var/log/pluto.log

conn site
    ikev2=insist
    left=192.0.2.1
    leftid=@west
    leftsubnets={10.1.0.0/16 10.11.0.0/16}
    right=198.51.100.1
    rightid=@east
    rightsubnet=10.2.0.0/16
    authby=secret
    ike=aes_gcm256-sha2;dh19,aes256-sha2_512;dh14
    esp=aes_gcm256-null
    salifetime=8h
    ikelifetime=24h
    sha2-truncbug=no
    dpddelay=10
    dpdtimeout=60
    vti-interface=vti01
    auto=ondemand

conn old
    ikev2=no
    left=%defaultroute
    leftxauthclient=yes
    leftmodecfgclient=yes
    leftusername=carol
    right=203.0.113.1
    rightxauthserver=yes
    rightmodecfgserver=yes
    authby=secret
    ike=aes128-sha1;dh2
    pfs=no
    auto=add
";
    let secrets = "@west @east : PSK \"thirty-two octets of a secret, no\"\n203.0.113.1 : PSK \"another secret of some length\"\n\
                   @carol : XAUTH \"sesame\"\n";
    let imported = imported(&[("ipsec.conf", text), ("ipsec.secrets", secrets)], None, &nobody);
    let config = checked(&imported);
    let site = &config.connections[0];
    let proposals: Vec<String> = site.proposals.iter().map(ToString::to_string).collect();
    assert_eq!(proposals, ["aes256gcm16-prfsha256-ecp256", "aes256-sha512-prfsha512-modp2048"]);
    let child = &site.children[0];
    let esp: Vec<String> = child.proposals.iter().map(ToString::to_string).collect();
    // Another exchange for each child is the default there.
    assert!(esp.iter().all(|proposal| proposal.starts_with("aes256gcm16-ecp256")), "{esp:?}");
    assert_eq!(child.local_selectors.len(), 2);
    assert_eq!(child.start_action, config::StartAction::Trap);
    assert_eq!((child.lifetimes.rekey.as_secs(), child.lifetimes.life.as_secs()), (28_260, 28_800));
    let old = &config.connections[1];
    assert_eq!(old.versions, config::Versions::V1);
    assert_eq!(old.xauth, config::Xauth::Ours("carol".to_owned()));
    assert_eq!(old.virtual_addresses.len(), 1);
    has_note(&imported, Fate::Changed, &["aes128-sha1-modp1024", "allow_weak"]);
    has_note(&imported, Fate::Changed, &["proposals", "default proposals"]);
    has_note(&imported, Fate::Missing, &["vti-interface=vti01", "interface = vpn0"]);
    has_note(&imported, Fate::Missing, &["dpdtimeout=60"]);
}

#[test]
fn an_ios_router() {
    let text = "
hostname basel
!
crypto isakmp policy 10
 encr aes 256
 hash sha256
 authentication pre-share
 group 14
 lifetime 28800
crypto isakmp policy 20
 encr 3des
 authentication pre-share
 group 2
crypto isakmp key correct-horse-battery address 198.51.100.1
crypto isakmp keepalive 30 5
!
crypto ikev2 proposal P
 encryption aes-gcm-256
 prf sha384
 group 20
crypto ikev2 keyring KR
 peer bern
  address 203.0.113.7
  pre-shared-key local another-secret-for-bern
  pre-shared-key remote another-secret-for-bern
crypto ikev2 profile PROF
 match identity remote address 203.0.113.7 255.255.255.255
 identity local address 192.0.2.1
 authentication remote pre-share
 authentication local pre-share
 keyring local KR
!
crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac
 mode tunnel
crypto ipsec transform-set GCM esp-gcm 256
 mode tunnel
crypto ipsec profile VTI
 set transform-set GCM
 set pfs group20
 set ikev2-profile PROF
!
interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
 crypto map VPN
interface Tunnel7
 ip address 172.16.0.1 255.255.255.252
 tunnel source GigabitEthernet0/0
 tunnel mode ipsec ipv4
 tunnel destination 203.0.113.7
 tunnel protection ipsec profile VTI
!
crypto map VPN 10 ipsec-isakmp
 description to the office
 set peer 198.51.100.1
 set security-association lifetime seconds 3600
 set transform-set STRONG
 set pfs group14
 match address 110
!
access-list 110 remark office
access-list 110 permit ip 10.1.0.0 0.0.255.255 10.2.0.0 0.0.255.255
access-list 110 permit tcp host 10.1.0.5 10.4.0.0 0.0.0.255 eq www
access-list 110 deny ip any any
";
    let imported = imported(&[("router.cfg", text)], None, &nobody);
    let config = checked(&imported);
    let names: Vec<&str> = config.connections.iter().map(|connection| connection.name.as_str()).collect();
    assert_eq!(names, ["tunnel7", "VPN-10"]);
    let map = &config.connections[1];
    assert_eq!(map.versions, config::Versions::V1);
    let proposals: Vec<String> = map.proposals.iter().map(ToString::to_string).collect();
    assert_eq!(proposals, ["aes256-sha256-prfsha256-modp2048"]);
    assert_eq!(map.children.len(), 2);
    assert_eq!(map.children[0].local_selectors[0].to_string(), "10.1.0.0/16");
    assert_eq!(map.children[1].remote_selectors[0].to_string(), "10.4.0.0/24[tcp/80]");
    assert_eq!(map.children[0].lifetimes.life.as_secs(), 3600);
    assert_eq!(map.local_addresses, [config::AddressSpec::Host("192.0.2.1".parse().expect("an address"))]);
    let tunnel = &config.connections[0];
    assert_eq!(tunnel.versions, config::Versions::V2);
    assert_eq!(
        tunnel.children[0].interface.as_ref().map(|interface| interface.name.as_str()),
        Some("tunnel7")
    );
    assert_eq!(config.secrets.len(), 2);
    has_note(&imported, Fate::Changed, &["3des-sha1-modp1024", "allow_weak"]);
    has_note(&imported, Fate::Missing, &["deny ip any any", "mode = pass"]);
    assert!(!imported.report.to_string().contains("another-secret"), "{}", imported.report);
}

#[test]
fn a_wireguard_gateway_and_its_client() {
    let text = "
[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.9.0.1/24
ListenPort = 51820
PostUp = iptables -A FORWARD -i %i -j ACCEPT

[Peer]
# the laptop
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
AllowedIPs = 10.9.0.2/32

[Peer]
PublicKey = TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=
AllowedIPs = 10.9.0.3/32, 10.2.0.0/16
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
";
    let imported = imported(&[("wg0.conf", text)], None, &nobody);
    let config = checked(&imported);
    assert_eq!(config.connections.len(), 2);
    let (laptop, office) = (&config.connections[0], &config.connections[1]);
    assert_eq!(laptop.name, "wg0-1");
    assert_eq!(laptop.children[0].local_selectors[0].to_string(), "10.9.0.1/32");
    assert_eq!(laptop.children[0].remote_selectors[0].to_string(), "10.9.0.2/32");
    assert_eq!(office.children[0].start_action, config::StartAction::Trap);
    assert_eq!(office.remote_addresses, [config::AddressSpec::Name("vpn.example.org".to_owned())]);
    // What both ends had as PresharedKey is the secret; where there was none, a new one was made.
    let octets: Vec<u8> = (0..32).collect();
    assert!(config.secrets[0].secret.ct_eq(&octets));
    assert_eq!(config.secrets[1].secret.len(), 32);
    has_note(&imported, Fate::Changed, &["without a presharedkey", "new secret"]);
    has_note(&imported, Fate::Changed, &["privatekey"]);
    has_note(&imported, Fate::Missing, &["postup", "updown"]);
    let report = imported.report.to_string();
    assert!(!report.contains("yAnz5TF") && !report.contains("AAECAwQF"), "{report}");
}

#[test]
fn what_is_none_of_these_is_refused_in_a_sentence() {
    let file = File { name: "x".to_owned(), text: "hello = world\n".to_owned() };
    let sentence = import(&[file], None, &nobody).expect_err("nothing is in it");
    assert!(sentence.contains("--from"), "{sentence}");
    let file = File { name: "x".to_owned(), text: "conn a\n right=%any\n".to_owned() };
    let sentence = import(&[file], None, &nobody).expect_err("nothing is loaded there either");
    assert!(sentence.contains("no connection"), "{sentence}");
}

const WIREGUARD_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn each_file_of_wireguard_and_each_of_its_lines_counts() {
    let text = |networks: &[&str]| {
        let lines: String = networks.iter().map(|network| format!("AllowedIPs = {network}\n")).collect();
        format!("[Interface]\nAddress = 10.9.0.1/24\n[Peer]\nPresharedKey = {WIREGUARD_KEY}\n{lines}")
    };
    let (a, b, c) = (text(&["10.1.0.0/16", "10.2.0.0/16"]), text(&["10.3.0.0/16"]), text(&["10.4.0.0/16"]));
    let files =
        [("office-basel-a.conf", &*a), ("office-basel-b.conf", &*b), ("old/office-basel-a.conf", &*c)];
    let config = checked(&imported(&files, None, &nobody));
    let all: Vec<(&str, Vec<String>)> = config
        .connections
        .iter()
        .map(|connection| {
            let networks = connection.children[0].remote_selectors.iter().map(ToString::to_string).collect();
            (connection.name.as_str(), networks)
        })
        .collect();
    let expected = [
        ("office-basel-a", vec!["10.1.0.0/16".to_owned(), "10.2.0.0/16".to_owned()]),
        ("office-basel-b", vec!["10.3.0.0/16".to_owned()]),
        ("office-basel-a-2", vec!["10.4.0.0/16".to_owned()]),
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_key_of_wireguard_in_the_wrong_place_is_not_shown() {
    let text = format!(
        "[Interface]\nAddress = 10.9.0.1/24\nPresharedKey = {WIREGUARD_KEY}\nPreshardKay = {WIREGUARD_KEY}\nPrivateKey {WIREGUARD_KEY}\n\
         [Peer]\nPrivateKey = {WIREGUARD_KEY}\n{WIREGUARD_KEY}\nAllowedIPs = 10.2.0.0/16\n"
    );
    let imported = imported(&[("wg0.conf", &text)], None, &nobody);
    has_note(&imported, Fate::Missing, &["wg0.conf:3: presharedkey = …", "no such key"]);
    has_note(&imported, Fate::Missing, &["wg0.conf:4: preshardkay = …", "no such key"]);
    has_note(&imported, Fate::Missing, &["wg0.conf:7: privatekey = …", "no such key"]);
    let report = imported.report.to_string().to_lowercase();
    assert!(!report.contains("aaecawqf"), "{report}");
}

#[test]
fn connections_and_pools_of_one_name_stay_apart() {
    let text = "
ca lab.a
    cacert=a.pem
ca lab-a
    cacert=b.pem
conn a.b
    right=%any
    rightauth=psk
    leftauth=psk
    rightsourceip=10.3.0.0/24
    auto=add
conn a-b
    right=%any
    rightauth=psk
    leftauth=psk
    rightsourceip=10.4.0.0/24,fec0::/120
    auto=add
";
    let files = [("ipsec.conf", text), ("ipsec.secrets", ": PSK \"correct horse battery staple\"\n")];
    let imported = imported(&files, None, &nobody);
    let config = checked_without_files(&imported);
    let all: Vec<_> = config
        .connections
        .iter()
        .map(|connection| (connection.name.as_str(), connection.pools.join(" ")))
        .collect();
    assert_eq!(all, [("a-b", "a-b".to_owned()), ("a-b-2", "a-b-2 a-b-2-2".to_owned())]);
    let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["a-b", "a-b-2", "a-b-2-2"]);
    for line in ["addrs = 10.3.0.0/24", "addrs = 10.4.0.0/24", "lab-a {", "lab-a-2 {"] {
        assert!(imported.text.contains(line), "{line}: {}", imported.text);
    }
    has_note(&imported, Fate::Translated, &["conn a-b", "the connection `a-b-2`"]);
}

#[test]
fn an_indented_secret_is_an_entry_of_its_own() {
    let secrets = "
@a
    : PSK \"of a alone, twenty-two\"
@b : PSK
    \"of b, on the next line\"
    @c : PSK \"of c, although indented\"
include /etc/more.secrets \"not a word\"
    : PSK \"of everybody, indented\"
include.example.org : PSK \"of include dot example\"
@d : PSK \"of d, and more\" \"superfluous\"
";
    let conf = "conn a\n right=198.51.100.1\n rightid=@a\n authby=psk\n auto=add\n";
    let imported = imported(&[("ipsec.conf", conf), ("ipsec.secrets", secrets)], None, &nobody);
    assert_eq!(checked(&imported).secrets.len(), 6, "{}", imported.text);
    for (id, secret) in [
        ("id-1 = a\n", "of a alone, twenty-two"),
        ("id-1 = b\n", "of b, on the next line"),
        ("id-1 = c\n", "of c, although indented"),
        ("{\n", "of everybody, indented"),
        ("id-1 = include.example.org\n", "of include dot example"),
        ("id-1 = d\n", "of d, and more"),
    ] {
        let entry = format!("{id}        secret = {secret}\n");
        assert!(imported.text.contains(&entry), "{entry}: {}", imported.text);
    }
    has_note(&imported, Fate::Missing, &["ipsec.secrets:7: include /etc/more.secrets: name"]);
    has_note(&imported, Fate::Missing, &["@d : PSK", "what stands after it is left out"]);
    let report = imported.report.to_string();
    for secret in ["of a", "of b", "of c", "of everybody", "of include", "of d", "not a word", "superfluous"]
    {
        assert!(!report.contains(secret), "{report}");
    }
}

#[test]
fn a_secret_among_sections_is_not_shown() {
    let conf = "conn a\n right=198.51.100.1\n auto=add\nPSK \"correct horse\"\n";
    let imported = imported(&[("ipsec.conf", conf)], None, &nobody);
    has_note(&imported, Fate::Missing, &["ipsec.conf:4: PSK …", "not understood"]);
    assert!(!imported.report.to_string().contains("horse"), "{}", imported.report);
}

/// A connection of its own for each line that restricts the peer, beside one that does not.
fn restricted(line: &str) -> Imported {
    let conn = |name: &str, line: &str| {
        format!(
            "conn {name}\n right=198.51.100.1\n rightid=@{name}\n rightsourceip=10.3.0.0/24\n {line}\n auto=start\n"
        )
    };
    let text = conn("restricted", line) + &conn("free", "rightca=%any");
    imported(&[("ipsec.conf", &text)], None, &nobody)
}

#[test]
fn a_connection_that_would_let_in_others_is_left_out() {
    for line in [
        "rightca=\"C=CH, CN=Lab CA\"",
        "rightgroups=admins",
        "authby=never",
        "authby=secret|rsasig",
        "rightauth2=pubkey\n rightca2=\"CN=Other\"",
    ] {
        let imported = restricted(line);
        let config = checked(&imported);
        let names: Vec<&str> = config.connections.iter().map(|connection| connection.name.as_str()).collect();
        assert_eq!(names, ["free"], "{line}");
        assert_eq!(config.pools.len(), 1, "{line}: {}", imported.text);
        has_note(&imported, Fate::Missing, &["conn restricted", "left out"]);
        let last = line.replace('"', "");
        has_note(&imported, Fate::Missing, &[last.rsplit("\n ").next().unwrap_or_default()]);
        let translated = notes(&imported, Fate::Translated);
        assert!(!translated.iter().any(|note| note.contains("rightid=@restricted")), "{translated:#?}");
    }
    // Of our own end it says which certificate is ours: nobody else gets in.
    assert_eq!(checked(&restricted("leftca=\"C=CH, CN=Lab CA\"")).connections.len(), 2);
}

#[test]
fn only_our_ca_is_told_as_changed_and_does_not_start() {
    let imported = restricted("rightca=%same");
    let config = checked(&imported);
    let starts: Vec<_> =
        config.connections.iter().map(|connection| connection.children[0].start_action).collect();
    assert_eq!(starts, [config::StartAction::None, config::StartAction::Start]);
    has_note(&imported, Fate::Changed, &["rightca=%same", "x509ca/", "`cacerts`"]);
    has_note(&imported, Fate::Changed, &["conn restricted", "does not start by itself"]);
    assert!(!notes(&imported, Fate::Translated).iter().any(|note| note.contains("rightca=%same")));
}

#[test]
fn what_is_never_negotiated_needs_no_proof() {
    let imported =
        restricted("authby=never\n type=passthrough\n leftsubnet=10.1.0.0/16\n rightsubnet=10.2.0.0/16");
    assert_eq!(imported.text.matches("mode = pass").count(), 1, "{}", imported.report);
    has_note(&imported, Fate::Translated, &["authby=never", "nobody is asked"]);
}

#[test]
fn whoever_takes_over_a_conn_many_times_takes_it_over_once() {
    // Without a memory these would be 4^16 calls, in a circle and without one.
    let also = |name: String| format!(" also={name}\n").repeat(4);
    let mut text = format!("conn a\n right=198.51.100.1\n authby=psk\n auto=add\n{}", also("a".to_owned()));
    text += &format!("conn b\n right=198.51.100.2\n auto=add\n{}", also("c0".to_owned()));
    for n in 0..15 {
        text += &format!("conn c{n}\n{}", also(format!("c{}", n + 1)));
    }
    text += "conn c15\n authby=psk\n";
    let secrets = ": PSK \"correct horse battery staple\"\n";
    let imported = imported(&[("ipsec.conf", &text), ("ipsec.secrets", secrets)], None, &nobody);
    assert_eq!(checked(&imported).connections.len(), 2);
    has_note(&imported, Fate::Missing, &["ipsec.conf:5: also=a", "circle"]);
    // What stands at the end of the chain has arrived.
    assert_eq!(imported.text.matches("auth = psk").count(), 4, "{}", imported.text);
    assert_eq!(notes(&imported, Fate::Missing).iter().filter(|note| note.contains("also=c")).count(), 0);
}

#[test]
fn a_key_in_a_profile_of_ios_is_not_shown() {
    let text = "
crypto isakmp key another-secret-for-bern address 203.0.113.7
crypto ikev2 profile PROF
 match identity remote address 203.0.113.7 255.255.255.255
 authentication remote pre-share key correct-horse-battery
 authentication local pre-share key 0 correct-horse-battery
crypto ipsec transform-set GCM esp-gcm 256
crypto ipsec profile VTI
 set transform-set GCM
 set ikev2-profile PROF
interface Tunnel7
 tunnel mode ipsec ipv4
 tunnel destination 203.0.113.7
 tunnel protection ipsec profile VTI
";
    let imported = imported(&[("router.cfg", text), ("other.cfg", text)], None, &nobody);
    let config = checked(&imported);
    let names: Vec<&str> = config.connections.iter().map(|connection| connection.name.as_str()).collect();
    assert_eq!(names, ["tunnel7", "tunnel7-2"]);
    has_note(&imported, Fate::Missing, &["authentication local pre-share key …", "`secrets`"]);
    assert!(!imported.report.to_string().contains("battery"), "{}", imported.report);
}
