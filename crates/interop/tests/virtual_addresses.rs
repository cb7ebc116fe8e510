//! Virtual addresses out of a pool: gateway and client, both versions of IKE, with strongSwan at the other end and with Keyway
//! at both.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use interop::{
    End, Failure, Family, Gateway, IkeSa, Implementation, Keyway, Lab, Result, Wire, traffic, until, within,
};

const PATIENCE: Duration = Duration::from_secs(40);
const CONNECTION: &str = "crew";
const CHILD: &str = "net";

/// One way to come by an address.
#[derive(Clone, Copy, Debug)]
struct Row {
    version: u8,
    /// Whether a client of IKEv1 asks, or is given one unasked.
    pull: &'static str,
    has_user: bool,
    /// Whether addresses of both families are asked for, which IKEv1 has no selectors for.
    is_dual: bool,
}

impl Row {
    /// What a pool gives to the first client that comes, and to the second, which is the user that has another name.
    fn address(self) -> &'static str {
        if self.has_user { "10.3.0.2" } else { "10.3.0.1" }
    }
}

const IKE_V2: Row = Row { version: 2, pull: "yes", has_user: false, is_dual: false };
const ROWS: &[Row] = &[
    IKE_V2,
    Row { is_dual: true, ..IKE_V2 },
    Row { version: 1, ..IKE_V2 },
    Row { version: 1, pull: "no", ..IKE_V2 },
    Row { version: 1, has_user: true, ..IKE_V2 },
    Row { version: 1, has_user: true, pull: "no", ..IKE_V2 },
];

const SECRETS: &str = "secrets {
   ike-crew { secret = \"the whole crew knows this\" }
   xauth-carol { id = carol
      secret = \"open sesame\" }
}
";

fn proposals(row: Row) -> &'static str {
    match row.version {
        1 => "aes256-sha256-modp2048",
        _ => "aes256gcm16-prfsha256-x25519",
    }
}

fn client(row: Row) -> String {
    let Row { version, pull, has_user, is_dual } = row;
    let user = if has_user { "local-user { auth = xauth\n xauth_id = carol }" } else { "" };
    let (vips, behind) =
        if is_dual { ("0.0.0.0, ::", "10.2.0.0/16, fd00:2::/64") } else { ("0.0.0.0", "10.2.0.0/16") };
    format!(
        "connections {{ {CONNECTION} {{
      version = {version}
      pull = {pull}
      vips = {vips}
      remote_addrs = 198.51.100.1
      proposals = {}
      local {{ auth = psk
         id = carol@crew.example }}
      {user}
      remote {{ auth = psk
         id = gate.crew.example }}
      children {{ {CHILD} {{ remote_ts = {behind}
         esp_proposals = aes128gcm16 }} }}
   }} }}
   {SECRETS}",
        proposals(row)
    )
}

fn server(row: Row) -> String {
    let Row { version, pull, has_user, is_dual } = row;
    let user = if has_user { "remote-user { auth = xauth }" } else { "" };
    let (pools, behind) =
        if is_dual { ("crew, crew6", "10.2.0.0/16, fd00:2::/64") } else { ("crew", "10.2.0.0/16") };
    format!(
        "connections {{ {CONNECTION} {{
      version = {version}
      pull = {pull}
      pools = {pools}
      proposals = {}
      local {{ auth = psk
         id = gate.crew.example }}
      remote {{ auth = psk
         id = carol@crew.example }}
      {user}
      children {{ {CHILD} {{ local_ts = {behind}
         esp_proposals = aes128gcm16 }} }}
   }} }}
   pools {{
      crew {{ addrs = 10.3.0.0/24
         dns = 10.2.0.53
         subnet = 10.2.0.0/16 }}
      crew6 {{ addrs = fd00:3::/120
         dns = fd00:2::53 }}
   }}
   {SECRETS}",
        proposals(row)
    )
}

/// The client of site a and the gateway of site b.
struct Crew {
    client: Box<dyn Gateway>,
    server: Box<dyn Gateway>,
    lab: Lab,
}

impl Crew {
    fn new(wire: Wire, client: Implementation, server: Implementation) -> Result<Crew> {
        let lab = Lab::new(wire)?;
        Ok(Crew { client: client.start(&lab, End::A)?, server: server.start(&lab, End::B)?, lab })
    }

    fn configure(&self, row: Row) -> Result<()> {
        self.server.configure(&server(row))?;
        self.client.configure(&client(row))
    }

    /// Waits until both ends have the child, and gives what each tells of the IKE SA.
    fn settled(&self) -> Result<(IkeSa, IkeSa)> {
        let only = |gateway: &dyn Gateway| {
            let mut established = gateway.sas().ok()?.into_iter().filter(IkeSa::is_established);
            let sa = established.next().filter(|sa| sa.children.iter().any(|child| child.is_installed()))?;
            established.next().is_none().then_some(sa)
        };
        within(PATIENCE, "both ends to have the child", || Some((only(&*self.client)?, only(&*self.server)?)))
            .map_err(|failure| {
                Failure::new(format!("{failure}:\n{}\n{}", self.client.log(), self.server.log()))
            })
    }

    /// Sends packets both ways between the client's virtual addresses and the host behind the gateway.
    fn carry(&self, row: Row) -> Result<()> {
        let families = if row.is_dual { &[Family::V4, Family::V6][..] } else { &[Family::V4] };
        for &family in families {
            let address: IpAddr = match family {
                Family::V4 => row.address(),
                Family::V6 => "fd00:3::1",
            }
            .parse()
            .map_err(|_| Failure::new("the test's own text"))?;
            let host = &self.lab.b;
            traffic::cross((&self.lab.a.gateway, address), (&host.host, host.host_address(family))).map_err(
                |failure| Failure::new(format!("{failure}:\n{}\n{}", self.client.log(), self.server.log())),
            )?;
        }
        Ok(())
    }

    fn pools(&self) -> Result<String> {
        self.server.swanctl().run(&["--list-pools", "--leases", "--raw"])
    }

    fn comes_in(&self, row: Row) -> Result<()> {
        self.configure(row)?;
        self.client.initiate(CHILD)?.success()?;
        let (at_client, at_server) = self.settled()?;
        let own = if row.is_dual { "10.3.0.1 fd00:3::1" } else { row.address() };
        for (vips, told) in [("local-vips", &at_client), ("remote-vips", &at_server)] {
            assert_eq!(told.field(vips).trim_matches(['[', ']']), own, "{vips}");
        }
        self.carry(row)?;
        // The words are charon's own, whoever says them.
        let client = if row.has_user { "carol" } else { "carol@crew.example" };
        let lease = format!("{{address={} identity={client} status=online}}", row.address());
        let pools = self.pools()?;
        assert!(pools.contains(&lease) && pools.contains(" online=1 "), "{lease}\nis not in\n{pools}");

        // A new phase 1 of IKEv1 begins with its client: only he asks for an address, and says his password.
        let ends = [&*self.client, &*self.server];
        for end in if row.version == 1 { &ends[..1] } else { &ends } {
            let before = self.settled()?.0;
            end.rekey_ike(CONNECTION)?;
            until(PATIENCE, "another IKE SA", || {
                self.settled().is_ok_and(|(now, _)| now.spis() != before.spis())
            })?;
            self.carry(row)?;
        }
        self.client.terminate(CONNECTION)?;
        until(PATIENCE, "nothing to be left", || {
            [&*self.client, &*self.server].iter().all(|end| end.sas().is_ok_and(|sas| sas.is_empty()))
        })?;
        let pools = self.pools()?;
        assert!(pools.contains(&lease.replace("=online", "=offline")), "{pools}");
        Ok(())
    }
}

/// The client proves itself anew, and has the same address.
fn reauthenticates(crew: &Crew, row: Row) -> Result<()> {
    crew.configure(row)?;
    crew.client.initiate(CHILD)?.success()?;
    let before = crew.settled()?.0;
    crew.client.swanctl().run(&["--rekey", "--ike", CONNECTION, "--reauth"])?;
    until(PATIENCE, "another IKE SA", || crew.settled().is_ok_and(|(now, _)| now.spis() != before.spis()))?;
    assert_eq!(crew.settled()?.1.field("remote-vips").trim_matches(['[', ']']), "10.3.0.1");
    crew.carry(row)
}

fn every_row(wire: Wire, client: Implementation, server: Implementation, rows: &[Row]) -> Result<()> {
    let crew = Crew::new(wire, client, server)?;
    for row in rows {
        crew.comes_in(*row).map_err(|failure| Failure::new(format!("{row:?}: {failure}")))?;
    }
    crew.lab.dismantle();
    Ok(())
}

#[test]
fn strongswan_has_an_address_of_keyways_pool() -> Result<()> {
    every_row(Wire::Plain, Implementation::StrongSwan, Implementation::Keyway, ROWS)?;
    let crew = Crew::new(Wire::Plain, Implementation::StrongSwan, Implementation::Keyway)?;
    reauthenticates(&crew, IKE_V2)?;
    crew.lab.dismantle();
    Ok(())
}

#[test]
fn keyway_has_an_address_of_strongswans_pool() -> Result<()> {
    every_row(Wire::Plain, Implementation::Keyway, Implementation::StrongSwan, ROWS)
}

#[test]
fn virtual_addresses_through_nat() -> Result<()> {
    every_row(Wire::Nat, Implementation::StrongSwan, Implementation::Keyway, &ROWS[..1])?;
    every_row(Wire::Nat, Implementation::Keyway, Implementation::StrongSwan, &ROWS[..1])
}

#[test]
fn who_has_no_address_to_give_says_so() -> Result<()> {
    let crew = Crew::new(Wire::Plain, Implementation::StrongSwan, Implementation::Keyway)?;
    crew.server.configure(&server(IKE_V2).replace("pools = crew", "pools = crew6"))?;
    crew.client.configure(&client(IKE_V2))?;
    assert!(crew.client.initiate(CHILD)?.success().is_err());
    assert!(crew.client.log().contains("INTERNAL_ADDRESS_FAILURE"), "{}", crew.client.log());
    let sentence = "no IPv4 address is free in the pools crew6";
    assert!(crew.server.log().contains(sentence), "{}", crew.server.log());
    crew.lab.dismantle();

    let crew = Crew::new(Wire::Plain, Implementation::Keyway, Implementation::StrongSwan)?;
    crew.server.configure(&server(IKE_V2).replace("pools = crew", ""))?;
    crew.client.configure(&client(IKE_V2))?;
    let told = crew.client.initiate(CHILD)?.success().expect_err("there is no pool").to_string();
    assert!(told.contains("INTERNAL_ADDRESS_FAILURE (36): it has no virtual address for us"), "{told}");
    crew.lab.dismantle();
    Ok(())
}

/// The same form of answer from both, on the same pools.
#[test]
fn swanctl_lists_pools_of_both_alike() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let both = [Implementation::StrongSwan.start(&lab, End::A)?, Implementation::Keyway.start(&lab, End::B)?];
    let pools = "pools {
        alpha { addrs = 10.3.0.0/24
           dns = 10.1.0.53, fd00::53
           nbns = 10.1.0.54
           subnet = 10.1.0.0/16, fd00:1::/64
           split_include = 10.1.0.0/16
           split_exclude = 10.1.9.0/24
           server = 10.1.0.9
           dhcp = 10.1.0.10
           netmask = 255.255.255.0
           28674 = example.org }
        beta { addrs = 10.4.0.5-10.4.0.9 }
        delta { addrs = fd00:3::/64 }
        gamma { addrs = 10.5.0.1/32 }
    }";
    let mut said = Vec::new();
    for gateway in &both {
        gateway.configure(pools)?;
        let file = gateway.swanctl().directory().join("pools.conf");
        let mut answers = Vec::new();
        for arguments in [
            &["--list-pools"][..],
            &["--list-pools", "--leases"],
            &["--list-pools", "--raw"],
            &["--list-pools", "--raw", "--leases"],
            &["--list-pools", "--pretty", "--name", "alpha"],
        ] {
            answers.push(gateway.swanctl().run(arguments)?);
        }
        fs::write(&file, "pools { beta { addrs = 10.4.0.5-10.4.0.9 } }")?;
        let file = file.display().to_string();
        answers.push(gateway.swanctl().run(&["--load-pools", "--file", &file])?);
        answers.push(gateway.swanctl().run(&["--list-pools"])?);
        said.push(answers);
    }
    let [strongswan, keyway] = said.as_slice() else { return Err(Failure::new("there are two")) };
    // charon lists the pools in the order in which they came, and says nothing of those that it unloads in another.
    assert_eq!(keyway, strongswan);
    lab.dismantle();
    Ok(())
}

/// Everything that a client gets is put in place on its host, and is gone again: with the IKE SA, and after a crash.
#[test]
fn address_routes_and_names_come_and_go() -> Result<()> {
    let lab = Lab::new(Wire::Plain)?;
    let row = Row { is_dual: true, ..IKE_V2 };
    let mut server = Keyway::start_with(&lab, End::B, &server_for_all(row), &[])?;
    let mut client = Keyway::start_with(&lab, End::A, "", &[])?;
    let names = client.directory().join("resolv.conf");
    let before = "# the administrator's\nnameserver 192.0.2.254\nsearch home.example\n";
    fs::write(&names, before)?;
    client.configure(&split_client(row))?;
    client.initiate(CHILD)?.success()?;

    let text = fs::read_to_string(&names)?;
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("nameserver")).collect();
    assert_eq!(said, ["nameserver 10.2.0.53", "nameserver fd00:2::53", "nameserver 192.0.2.254"]);
    let show = |what: &[&str]| lab.a.gateway.run("ip", what);
    assert!(show(&["address", "show", "dev", "keyway0"])?.contains("10.3.0.1/32"));
    let routes = show(&["route", "show", "table", "4500"])?;
    assert!(
        routes.contains("10.2.0.0/16") && !routes.contains("default"),
        "only what is behind it:\n{routes}"
    );
    traffic::cross(
        (&lab.a.gateway, IpAddr::from([10, 3, 0, 1])),
        (&lab.b.host, lab.b.host_address(Family::V4)),
    )?;
    let pools = server.command(&["pools"])?.success()?;
    assert!(pools.contains("10.3.0.1") && pools.contains("carol@crew.example"), "{pools}");

    // A crash: the address goes with the device, and the next start takes the names away.
    client.kill();
    assert_ne!(fs::read_to_string(&names)?, before);
    client.start()?;
    assert_eq!(fs::read_to_string(&names)?, before);
    assert!(!show(&["address"])?.contains("10.3.0.1"));

    // Who comes back has the address that it had, and a farewell takes everything back.
    client.initiate(CHILD)?.success()?;
    assert!(show(&["address", "show", "dev", "keyway0"])?.contains("10.3.0.1/32"));
    client.terminate(CONNECTION)?;
    assert_eq!(fs::read_to_string(&names)?, before);
    until(PATIENCE, "the address to go", || show(&["address"]).is_ok_and(|text| !text.contains("10.3.0.1")))?;

    // Another client gets another address, and has the same when the gateway has been restarted.
    let dave = split_client(row).replace("carol@crew", "dave@crew");
    client.configure(&dave)?;
    client.initiate(CHILD)?.success()?;
    let has_second =
        || show(&["address", "show", "dev", "keyway0"]).is_ok_and(|text| text.contains("10.3.0.2/32"));
    assert!(has_second());
    client.terminate(CONNECTION)?;
    server.stop()?;
    server.start()?;
    client.initiate(CHILD)?.success()?;
    assert!(has_second(), "{}", server.command(&["pools"])?.success()?);
    client.stop()?;
    assert_eq!(fs::read_to_string(&names)?, before);
    lab.dismantle();
    Ok(())
}

fn split_client(row: Row) -> String {
    client(row)
        .replace("10.2.0.0/16, fd00:2::/64", "0.0.0.0/0, fd00:2::/64")
        .replace("pull = yes", "pull = yes\n      split_networks = yes")
}

/// A gateway that takes every one of the crew, and through which everything could go.
fn server_for_all(row: Row) -> String {
    server(row)
        .replace("local_ts = 10.2.0.0/16, fd00:2::/64", "local_ts = 0.0.0.0/0, ::/0")
        .replace("id = carol@crew.example", "id = *@crew.example")
        .replace("dns = fd00:2::53", "dns = fd00:2::53\n         subnet = fd00:2::/64")
}
