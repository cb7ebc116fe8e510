//! `synchronize-counters`: for what keeps a cluster in step, when another member had an IKE SA before (RFC 6311).

use ike::{Command, MissedPackets};
use vici::Tree;

use super::control::{Begun, answer, patience};
use super::redirect::Wanted;
use crate::daemon::handle::Engine;

/// Answers `synchronize-counters`, when every peer that matches has agreed, or cannot.
pub(crate) async fn synchronize(engine: &Engine, arguments: &Tree) -> Tree {
    answer(begin(engine, arguments).await, Some("synchronized"), "synchronized").await
}

async fn begin(engine: &Engine, arguments: &Tree) -> Begun {
    let wanted = Wanted::read(arguments)?;
    let inbound = packets(arguments, "missed-inbound")?;
    let missed = MissedPackets { inbound, outbound: packets(arguments, "missed-outbound")? };
    let patience = patience(arguments)?;
    let snapshot = engine.snapshot().await?;
    let mut outcomes = Vec::new();
    for ike in snapshot.ike_sas.iter().filter(|ike| wanted.matches(ike)) {
        let command = |ticket| Command::SynchronizeCounters { ike: ike.id, missed, ticket };
        outcomes.push(engine.begin(command).await?);
    }
    if outcomes.is_empty() {
        return Err("no IKE SA matches".to_owned());
    }
    Ok((patience, outcomes))
}

fn packets(arguments: &Tree, key: &str) -> Result<u64, String> {
    let text = arguments.text(key).unwrap_or("0");
    text.parse().map_err(|_| format!("{key} = {text} is no number of packets"))
}
