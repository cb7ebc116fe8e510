//! The Configuration payload between two endpoints: virtual addresses out of a pool, over every kind of network.

use std::net::IpAddr;
use std::time::Duration;

use ike::{Command, Event, Identity, IkeState, SelectorTemplate, SplitNetworks, Unique};
use sa::{IpProtocol, PortRange};
use testkit::{Cargo, Content, Forger, Impostor, Pair, Scenario, Side, Weather, for_seeds};
use wire::registry::{ConfigurationAttributeType, ConfigurationType, ExchangeType, NotifyType};
use wire::v2::{Configuration, ConfigurationAttribute, Payload, decode_payloads};

const MINUTE: Duration = Duration::from_secs(60);
const GIVEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 5));

fn scenario(seed: u64) -> Scenario {
    Scenario::site_to_site(seed).with_virtual_address()
}

fn comes_up(scenario: Scenario) -> Pair {
    let mut pair = Pair::new(scenario);
    pair.connect();
    pair.settle_and_check();
    pair
}

fn has_it(pair: &Pair) {
    let left = &pair.ike_sas(Side::Left)[0];
    let right = &pair.ike_sas(Side::Right)[0];
    assert_eq!((left.inside.local.as_slice(), right.inside.remote.as_slice()), (&[GIVEN][..], &[GIVEN][..]));
    assert_eq!(pair.plane(Side::Left).addresses().collect::<Vec<_>>(), [GIVEN]);
    assert_eq!(pair.plane(Side::Left).name_servers().count(), 1);
    assert_eq!(left.children[0].local_selectors[0].to_string(), "10.1.0.5/32");
    assert_eq!(right.children[0].remote_selectors[0].to_string(), "10.1.0.5/32");
}

/// What the first failure at a side says.
fn complaint(pair: &Pair, side: Side) -> Option<String> {
    pair.events(side).iter().find_map(|event| match event {
        Event::Failed { failure, .. } => Some(failure.to_string()),
        _ => None,
    })
}

#[test]
fn an_address_and_what_belongs_to_it_come_with_ike_auth() {
    let pair = comes_up(scenario(0));
    has_it(&pair);
    let inside = &pair.ike_sas(Side::Left)[0].inside;
    assert_eq!(inside.dns, [IpAddr::from([10, 2, 0, 53])]);
    assert_eq!(inside.domain.as_deref(), Some("corp.example"));
    for side in Side::BOTH {
        let sent = pair.sent(side).filter(|parcel| matches!(parcel.cargo, Cargo::Ike(_))).count();
        assert_eq!(sent, 2, "no message more than without");
    }
    let lease = &pair.endpoint(Side::Right).pools()[0].leases[0];
    assert_eq!(
        (lease.address, lease.is_online, lease.client.to_string()),
        (GIVEN, true, "left.example".to_owned())
    );
}

#[test]
fn an_address_comes_whatever_the_network_does() {
    for_seeds(0..1000, |seed| {
        has_it(&comes_up(scenario(seed).weather(Weather::SHUFFLED)));
        has_it(&comes_up(scenario(seed).weather(Weather::lossy(30)).patient()));
    });
}

#[test]
fn an_address_comes_through_a_nat() {
    for_seeds(0..100, |seed| {
        has_it(&comes_up(scenario(seed).behind_nat(Side::Left, 5 * MINUTE).weather(Weather::SHUFFLED)));
    });
}

#[test]
fn rekeying_keeps_the_address_and_loses_no_packet() {
    for_seeds(0..300, |seed| {
        let mut pair = Pair::new(scenario(seed).weather(Weather::SHUFFLED));
        pair.connect();
        pair.start_traffic(0, Duration::from_millis(100));
        for side in Side::BOTH {
            let ticket = pair.rekey_ike(side).expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_for(MINUTE);
            assert_eq!(pair.ike_sas(Side::Left).len(), 1);
            has_it(&pair);
        }
        pair.stop_traffic();
        pair.settle_and_check();
        has_it(&pair);
    });
}

#[test]
fn both_ends_rekeying_at_once_keep_the_address() {
    for_seeds(0..300, |seed| {
        let mut pair = Pair::new(scenario(seed).weather(Weather::SHUFFLED));
        pair.connect();
        let tickets = Side::BOTH.map(|side| pair.rekey_ike(side).expect("it is up"));
        tickets.into_iter().for_each(|ticket| assert_eq!(pair.finish(ticket), Ok(())));
        pair.settle_and_check();
        has_it(&pair);
    });
}

#[test]
fn the_address_goes_with_the_ike_sa_and_comes_again() {
    for_seeds(0..50, |seed| {
        let mut pair = comes_up(scenario(seed));
        let ticket = pair.down(if seed & 1 == 0 { Side::Left } else { Side::Right }).expect("it is up");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
        assert!(!pair.endpoint(Side::Right).pools()[0].leases[0].is_online);
        let ticket = pair.up(Side::Left, "net");
        assert_eq!(pair.finish(ticket), Ok(()));
        pair.settle();
        has_it(&pair);
    });
}

#[test]
fn who_lost_everything_gets_the_address_that_it_had() {
    for unique in [Unique::No, Unique::Replace] {
        for_seeds(0..50, |seed| {
            let scenario = scenario(seed).both(|gateway| gateway.connection.unique = unique);
            let mut pair = comes_up(scenario);
            pair.switch_off(Side::Left);
            pair.switch_on(Side::Left);
            let ticket = pair.up(Side::Left, "net");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.run_until("one IKE SA is left", 5 * MINUTE, |pair| pair.ike_sas(Side::Right).len() == 1);
            pair.settle();
            has_it(&pair);
        });
    }
}

#[test]
fn several_addresses_of_both_families_are_given() {
    let mut scenario = scenario(0);
    let mut second = scenario.right.pools[0].clone();
    second.name = "clients6".to_owned();
    second.addresses = "2001:db8::5-2001:db8::9".parse().expect("a range");
    second.dns = vec!["2001:db8::53".parse().expect("an address")];
    scenario.right.connection.pools.push(second.name.clone());
    scenario.right.pools.push(second);
    scenario.left.connection.virtual_addresses =
        ["0.0.0.0", "10.1.0.7", "::"].map(|text| text.parse().expect("an address")).to_vec();
    let pair = comes_up(scenario);
    let left = &pair.ike_sas(Side::Left)[0];
    let words = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(words(&left.inside.local), ["10.1.0.5", "10.1.0.7", "2001:db8::5"]);
    assert_eq!(words(&left.inside.dns), ["10.2.0.53", "2001:db8::53"]);
    let selectors: Vec<_> = left.children[0].local_selectors.iter().map(ToString::to_string).collect();
    assert_eq!(selectors, ["10.1.0.5/32", "10.1.0.7/32", "2001:db8::5/128"]);
}

#[test]
fn an_address_that_is_asked_for_is_given_if_it_is_free() {
    let wants = |address: &str| {
        let mut scenario = scenario(0);
        scenario.left.connection.virtual_addresses = vec![address.parse().expect("an address")];
        comes_up(scenario).ike_sas(Side::Left)[0].inside.local[0].to_string()
    };
    assert_eq!(wants("10.1.0.8"), "10.1.0.8");
    assert_eq!(wants("10.1.0.80"), "10.1.0.5", "it is not of the pool");
}

#[test]
fn a_gateway_that_has_no_address_says_so_at_both_ends() {
    let mut scenario = scenario(0);
    scenario.right.pools[0].addresses = "2001:db8::1-2001:db8::2".parse().expect("a range");
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("there is none").to_string();
    assert_eq!(
        told,
        "the peer refused IKE_AUTH with INTERNAL_ADDRESS_FAILURE (36): it has no virtual address for us; we want the virtual \
         addresses 0.0.0.0"
    );
    let at_the_right = complaint(&pair, Side::Right);
    assert_eq!(at_the_right.as_deref(), Some("no IPv4 address is free in the pools clients"));
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn a_gateway_without_pools_gives_none() {
    let mut scenario = scenario(0);
    scenario.right.connection.pools.clear();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    pair.finish(ticket).expect_err("there is none");
    let told = complaint(&pair, Side::Right);
    assert_eq!(told.as_deref(), Some("the peer asks for a virtual address of IPv4, and site has no pools"));
    pair.settle();
    Side::BOTH.iter().for_each(|side| pair.check_nothing_left(*side));
}

#[test]
fn who_asks_for_none_gets_no_child_sa() {
    let mut scenario = scenario(0);
    scenario.left.connection.virtual_addresses.clear();
    let mut pair = Pair::new(scenario);
    let ticket = pair.up(Side::Left, "net");
    let told = pair.finish(ticket).expect_err("it should have asked").to_string();
    assert!(told.contains(&format!("{}: it wants to be asked", NotifyType::FAILED_CP_REQUIRED)), "{told}");
    let at_the_right = complaint(&pair, Side::Right);
    assert_eq!(
        at_the_right.as_deref(),
        Some("the peer asks for no virtual address; site gives its peers one out of clients")
    );
    // RFC 7296 §2.19: the IKE SA is there all the same.
    pair.settle();
    assert_eq!(pair.ike_sas(Side::Left)[0].state, IkeState::Established);
}

#[test]
fn the_last_address_of_a_pool_is_the_last() {
    let mut scenario = scenario(0);
    scenario.right.pools[0].addresses = "10.1.0.5-10.1.0.5".parse().expect("a range");
    scenario.left.connection.virtual_addresses = vec![IpAddr::from([0, 0, 0, 0]); 2];
    // The second that it asks for is not there, and it is content with the first.
    has_it(&comes_up(scenario));
}

#[test]
fn of_what_a_peer_allows_only_the_networks_behind_it_are_led_there() {
    let everything = || vec![SelectorTemplate::Fixed("0.0.0.0/0".parse().expect("a selector"))];
    for (split, expected) in [(SplitNetworks::Followed, "10.2.0.0/16"), (SplitNetworks::Ignored, "0.0.0.0/0")]
    {
        let mut scenario = scenario(0);
        scenario.left.change_child("net", |child| child.remote_selectors = everything());
        scenario.right.change_child("net", |child| child.local_selectors = everything());
        scenario.right.pools[0].subnets = vec!["10.2.0.0/16".parse().expect("a network")];
        scenario.left.connection.split_networks = split;
        // What the client does not send, the gateway may: their selectors are not the same.
        let mut pair = Pair::new(scenario);
        pair.connect();
        pair.settle();
        let remote = |pair: &Pair| pair.ike_sas(Side::Left)[0].children[0].remote_selectors[0].to_string();
        assert_eq!(remote(&pair), expected);
        for side in Side::BOTH {
            let ticket = pair.rekey_child(side, "net").expect("it is up");
            assert_eq!(pair.finish(ticket), Ok(()));
            pair.settle();
            assert_eq!(remote(&pair), expected);
        }
    }
}

#[test]
fn a_further_child_carries_the_address_too() {
    let mut scenario = scenario(0);
    for gateway in [&mut scenario.left, &mut scenario.right] {
        let mut second = (*gateway.connection.children[0]).clone();
        second.name = "web".to_owned();
        gateway.connection.children.push(second.into());
    }
    let tcp = SelectorTemplate::Dynamic(IpProtocol(6), PortRange::ANY);
    scenario.left.change_child("web", |child| child.local_selectors = vec![tcp]);
    scenario.right.change_child("web", |child| child.remote_selectors = vec![tcp]);
    let mut pair = comes_up(scenario);
    let ticket = pair.up(Side::Left, "web");
    assert_eq!(pair.finish(ticket), Ok(()));
    pair.settle();
    assert_eq!(pair.children(Side::Left, "web")[0].local_selectors[0].to_string(), "10.1.0.5/32[tcp]");
}

#[test]
fn the_question_and_the_answer_stand_before_the_offer() {
    let pair = comes_up(scenario(0).both(|gateway| gateway.settings.disclose_keys = true));
    let forger = Forger::new(pair.disclosed_keys(Side::Left).expect("the settings ask for it"));
    let forger = forger.expect("the suite is an AEAD");
    for side in Side::BOTH {
        let messages = pair.messages(side);
        let sealed = messages.iter().filter_map(|bytes| forger.open(bytes));
        let is_auth = |content: &Content| content.fields.exchange_type == ExchangeType::IKE_AUTH;
        let auth = sealed.into_iter().find(is_auth).expect("both have said it");
        let payloads = decode_payloads(auth.first_payload, &auth.octets).expect("it can be read");
        let at = |is_it: fn(&Payload) -> bool| payloads.iter().position(is_it).expect("it is there");
        let asked = at(|payload| matches!(payload, Payload::Configuration(_)));
        assert!(at(|payload| matches!(payload, Payload::Authentication(_))) < asked);
        assert!(asked < at(|payload| matches!(payload, Payload::SecurityAssociation(_))));
    }
}

fn configuration(configuration_type: ConfigurationType, attributes: &[(u16, &[u8])]) -> Payload {
    let attributes = attributes.iter().map(|(number, value)| ConfigurationAttribute {
        attribute_type: ConfigurationAttributeType(*number),
        value: value.to_vec(),
    });
    Payload::Configuration(Configuration { configuration_type, attributes: attributes.collect() })
}

#[test]
fn who_asks_what_we_are_is_told_and_who_sets_something_has_set_nothing() {
    let (mut pair, mut impostor) = Impostor::takes_over(Scenario::site_to_site(0));
    let ask = ExchangeType::INFORMATIONAL;
    for (asked, answer) in [
        (
            configuration(ConfigurationType::REQUEST, &[(7, b""), (999, b"what is that")]),
            configuration(ConfigurationType::REPLY, &[(7, b"Keyway")]),
        ),
        (
            configuration(ConfigurationType::SET, &[(1, &[10, 9, 9, 9]), (3, &[10, 9, 9, 53])]),
            configuration(ConfigurationType::ACK, &[]),
        ),
    ] {
        let told = impostor.asks(&mut pair, ask, &[asked]).expect("it is answered");
        assert_eq!(told, [answer]);
    }
    assert_eq!(pair.plane(Side::Left).addresses().count() + pair.plane(Side::Left).name_servers().count(), 0);
}

#[test]
fn what_was_leased_before_a_restart_is_kept_for_its_client() {
    let mut pair = Pair::new(scenario(0));
    let (other, own) = ("other.example".to_owned(), "left.example".to_owned());
    let leases = [(5, other), (7, own)];
    let leases = leases.map(|(last, name)| (IpAddr::from([10, 1, 0, last]), Identity::Fqdn(name)));
    pair.command(Side::Right, Command::RestoreLeases { pool: "clients".to_owned(), leases: leases.to_vec() });
    pair.connect();
    assert_eq!(pair.ike_sas(Side::Left)[0].inside.local, [IpAddr::from([10, 1, 0, 7])]);
}
