//! `get-counters` and `reset-counters`: how many messages of each kind there were, under the names that charon has for them.

use ike::{Counted, Counts, MessageKind, Part, TallyScope, TraceDirection};
use vici::Tree;

use super::arguments::flag;
use super::commands::success;
use crate::daemon::handle::Engine;

/// Answers `get-counters`: those of everything together, under no name, or of one connection, or of each.
pub(crate) async fn get(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let tally = engine.tally().await?;
    let (mut counters, mut failure) = (Tree::new(), None);
    match scope(arguments)? {
        TallyScope::Total => counters.push_section("", describe(tally.total())),
        TallyScope::EachConnection => {
            for (name, counts) in tally.connections() {
                counters.push_section(name, describe(counts));
            }
        }
        TallyScope::Connection(name) => match tally.connections().get(&name) {
            Some(counts) => counters.push_section(&name, describe(counts)),
            None => failure = Some(format!("no counters found for the connection {name}")),
        },
    }
    let answer = Tree::new().with_section("counters", counters);
    Ok(match failure {
        None => answer.with_value("success", "yes"),
        Some(reason) => answer.with_value("success", "no").with_value("errmsg", reason),
    })
}

/// Answers `reset-counters`.
pub(crate) async fn reset(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    engine.reset_tally(scope(arguments)?).await?;
    Ok(success())
}

fn scope(arguments: &Tree) -> Result<TallyScope, String> {
    Ok(match (flag(arguments, "all")?, arguments.text("name")) {
        (true, _) => TallyScope::EachConnection,
        (false, Some(name)) => TallyScope::Connection(name.to_owned()),
        (false, None) => TallyScope::Total,
    })
}

fn describe(counts: &Counts) -> Tree {
    let count = |counted: Counted| counts.get(&counted).copied().unwrap_or_default().to_string();
    let mut tree = Tree::new()
        .with_value("ike-rekey-init", count(Counted::IkeRekeyedByUs))
        .with_value("ike-rekey-resp", count(Counted::IkeRekeyedByPeer))
        .with_value("child-rekey", count(Counted::ChildRekeyed))
        .with_value("invalid", count(Counted::Invalid))
        .with_value("invalid-spi", count(Counted::InvalidSpi));
    for (name, kind) in [
        ("ike-init", MessageKind::IkeSaInit),
        ("ike-auth", MessageKind::IkeAuth),
        ("create-child", MessageKind::CreateChildSa),
        ("info", MessageKind::Informational),
    ] {
        for (way, direction) in [("in", TraceDirection::Received), ("out", TraceDirection::Sent)] {
            for (half, part) in [("req", Part::Request), ("resp", Part::Response)] {
                let counted = Counted::Message(kind, direction, part);
                tree.push_value(format!("{name}-{way}-{half}"), count(counted));
            }
        }
    }
    tree
}
