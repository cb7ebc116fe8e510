//! Two endpoints with a clock and a network between them, and an input that is a script: what strangers send, what a
//! peer says with the right keys, what people command, and how time passes.
//!
//! ```text
//!   input  =  *( step argument length content[length] )
//! ```
//!
//! After each step the engine and its data plane must agree on what is installed, and no order may break the data
//! plane's contract, whatever the peer says.

use std::time::Duration;

use ike::Command;
use testkit::{CONNECTION, Content, Forger, Pair, Scenario, Side, Weather};
use wire::isakmp::{Flags, Header};
use wire::registry::{ExchangeType, PayloadType};
use wire::v2::HeaderFields;

/// Runs the script.
pub fn run(input: &[u8]) {
    play(input, Scenario::site_to_site(1), [forge, forge_changed]);
}

/// What the left receives of somebody with the right keys: something new, or something that the right once said,
/// changed.
pub(crate) type Forgery = fn(&mut Pair, u8, &[u8]);

/// Runs the script in a scenario.
pub(crate) fn play(input: &[u8], scenario: Scenario, forgeries: [Forgery; 2]) {
    let scenario = scenario.both(|gateway| {
        gateway.settings.disclose_keys = true;
        gateway.connection.liveness_delay = Duration::from_secs(60);
    });
    let mut pair = Pair::new(scenario);
    let mut rest = input;
    for _ in 0..STEPS {
        let Some((&[step, argument, length], after)) = rest.split_first_chunk() else { break };
        let (content, after) = after.split_at(after.len().min(length.into()));
        rest = after;
        take(&mut pair, forgeries, step, argument, content);
    }
    pair.run_for(Duration::from_secs(600));
    for side in Side::BOTH {
        let faults = pair.plane(side).faults();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

fn take(pair: &mut Pair, forgeries: [Forgery; 2], step: u8, argument: u8, content: &[u8]) {
    let side = if argument & 1 == 0 { Side::Left } else { Side::Right };
    match step % 8 {
        0 => drop(pair.answers(side, content.to_vec())),
        1 => receive_changed(pair, side, argument, content),
        2 => forgeries[0](pair, argument, content),
        3 => forgeries[1](pair, argument, content),
        4 => command(pair, side, argument >> 1),
        5 => pair.run_for(Duration::from_millis(1 << (argument % 20))),
        6 => {
            let weathers = [Weather::CLEAR, Weather::SHUFFLED, Weather::lossy(30), Weather::DEAD];
            pair.network.weather[side.index()] =
                weathers[usize::from(argument >> 1) % weathers.len()].clone();
        }
        _ => {
            pair.start_stream(testkit::flow(side, 0), Duration::from_secs(1), 100);
            pair.run_for(Duration::from_secs(2));
            pair.stop_traffic();
        }
    }
}

/// A side receives a message that the other once sent, changed in places: position and difference, in turn.
fn receive_changed(pair: &mut Pair, to: Side, argument: u8, content: &[u8]) {
    let past = pair.messages(to.other());
    let Some(mut bytes) = past.iter().rev().nth(usize::from(argument >> 1) % past.len().max(1)).cloned()
    else {
        return;
    };
    change(&mut bytes, content);
    pair.answers(to, bytes);
}

/// The left receives an authentic request of these payloads.
fn forge(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some((forger, fields)) = forger(pair) else { return };
    let Some((&first, octets)) = content.split_first() else { return };
    let exchanges = [ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL, ExchangeType(argument)];
    let fields = HeaderFields { exchange_type: exchanges[usize::from(argument) % exchanges.len()], ..fields };
    let content = Content { fields, first_payload: PayloadType(first), octets: octets.to_vec() };
    pair.answers(Side::Left, forger.seal(&content).unwrap_or_default());
}

/// The left receives what the right once said, changed in places before it was sealed.
fn forge_changed(pair: &mut Pair, argument: u8, content: &[u8]) {
    let Some((forger, fields)) = forger(pair) else { return };
    let past: Vec<_> = pair.messages(Side::Right).iter().filter_map(|bytes| forger.open(bytes)).collect();
    let Some(mut said) = past.iter().rev().nth(usize::from(argument) % past.len().max(1)).cloned() else {
        return;
    };
    said.fields = HeaderFields { exchange_type: said.fields.exchange_type, ..fields };
    change(&mut said.octets, content);
    pair.answers(Side::Left, forger.seal(&said).unwrap_or_default());
}

pub(crate) fn change(bytes: &mut [u8], changes: &[u8]) {
    for pair in changes.chunks_exact(2) {
        // Scripts are short and so are messages: a position counts from the end where it is large.
        let length = bytes.len();
        let place = if pair[0] < 128 {
            usize::from(pair[0])
        } else {
            length.wrapping_sub(256 - usize::from(pair[0]))
        };
        if let Some(octet) = bytes.get_mut(place) {
            *octet ^= pair[1];
        }
    }
}

fn command(pair: &mut Pair, side: Side, number: u8) {
    let connection = || CONNECTION.to_owned();
    match number % 7 {
        0 => drop(pair.up(side, "net")),
        1 => drop(pair.rekey_child(side, "net")),
        2 => drop(pair.rekey_ike(side)),
        3 => drop(pair.down_child(side, "net")),
        4 => drop(pair.down(side)),
        5 => drop(pair.command_with(side, |ticket| Command::Install {
            connection: connection(),
            child: "net".to_owned(),
            ticket,
        })),
        _ => drop(pair.command_with(side, |ticket| Command::Uninstall {
            connection: connection(),
            child: "net".to_owned(),
            ticket,
        })),
    }
    pair.run_for(Duration::from_millis(100));
}

/// Gives whoever knows the keys of the IKE SA that came last, and the header of the right's next request in it.
fn forger(pair: &Pair) -> Option<(Forger, HeaderFields)> {
    let keys = pair.disclosed_keys(Side::Left)?;
    let left_began = pair.ike_sas(Side::Left).last().is_none_or(|sa| sa.role == ike::Role::Initiator);
    let flags = if left_began { Flags::NONE } else { Flags::INITIATOR };
    let answered = pair
        .messages(Side::Left)
        .iter()
        .rev()
        .filter_map(|bytes| Header::decode(bytes).ok())
        .find(|header| header.initiator_spi == keys.initiator_spi && header.flags.is_response());
    let fields = HeaderFields {
        initiator_spi: keys.initiator_spi,
        responder_spi: keys.responder_spi,
        exchange_type: ExchangeType::INFORMATIONAL,
        flags,
        message_id: answered.map_or(0, |header| header.message_id.wrapping_add(1)),
    };
    Some((Forger::new(keys)?, fields))
}

/// The most steps of one script: what comes later would only make the run long.
const STEPS: usize = 40;
