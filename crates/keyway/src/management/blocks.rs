//! What is blocked: `list-blocks` and `unblock`. charon has no such commands.

use dataplane::{Block, LeftDevice};
use ike::Command;
use sa::PolicyAction;
use vici::Tree;

use super::commands::success;
use crate::daemon::handle::{Engine, Snapshot};

/// Answers `list-blocks`, a message for each child whose traffic is dropped since it is not up, for each block that an
/// earlier run of the daemon left, and for each tunnel device that it left.
pub(crate) async fn list(engine: &Engine) -> Result<Vec<Tree>, String> {
    let snapshot = engine.snapshot().await?;
    let of_children = holding(&snapshot).map(|(connection, name)| {
        let mut tree = Tree::new().with_value("ike", connection).with_value("child", name);
        let loaded = snapshot.loaded.connections.get(connection);
        if let Some(child) = loaded.and_then(|loaded| loaded.config.child(name)) {
            tree.push_list("local-ts", child.local_selectors.iter().map(ToString::to_string));
            tree.push_list("remote-ts", child.remote_selectors.iter().map(ToString::to_string));
        }
        tree
    });
    let left = left(&snapshot).map(|block| {
        Tree::new()
            .with_list("local-ts", block.selectors.iter().map(|pair| pair.local.to_string()))
            .with_list("remote-ts", block.selectors.iter().map(|pair| pair.remote.to_string()))
    });
    let devices = snapshot.host_blocks.devices.iter().map(|LeftDevice { name, namespace }| {
        let mut tree = Tree::new().with_value("interface", name);
        if let Some(namespace) = namespace {
            tree.push_value("interface-netns", namespace);
        }
        tree
    });
    Ok(of_children.chain(left).chain(devices).collect())
}

/// Answers `unblock`: lets the traffic of one child pass, or of all that are not up, with what earlier runs left.
pub(crate) async fn unblock(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    let snapshot = engine.snapshot().await?;
    let (child, ike) = (arguments.text("child"), arguments.text("ike"));
    let is_meant = |(connection, name): &(&str, &str)| {
        child.is_none_or(|child| child == *name) && ike.is_none_or(|ike| ike == *connection)
    };
    let named: Vec<(&str, &str)> = holding(&snapshot).filter(is_meant).collect();
    let mut unblocked = named.len();
    for (connection, child) in named {
        let (connection, child) = (connection.to_owned(), child.to_owned());
        engine.perform(|ticket| Command::Unblock { connection, child, ticket }).await?;
    }
    if child.is_none() && ike.is_none() {
        unblocked += left(&snapshot).count() + snapshot.host_blocks.devices.len();
        engine.unblock_left().await?;
    } else if unblocked == 0 {
        return Err(nothing_is_blocked(&snapshot, child.or(ike).unwrap_or_default()));
    }
    Ok(success().with_value("unblocked", unblocked.to_string()))
}

/// Tells whether the traffic of a child of this name is dropped since it is not up.
pub(crate) fn is_blocked(snapshot: &Snapshot, child: &str) -> bool {
    holding(snapshot).any(|(_, name)| name == child)
}

/// Gives the children whose traffic is dropped at this moment: connection and child.
fn holding(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &str)> {
    let is_up = |connection: &str, child: &str| {
        let of_connection = snapshot.ike_sas.iter().filter(|ike| ike.connection == connection);
        of_connection.flat_map(|ike| &ike.children).any(|sa| sa.name == child)
    };
    let blocks = snapshot.blocks.iter().map(|(connection, child)| (connection.as_str(), child.as_str()));
    blocks.filter(move |(connection, child)| !is_up(connection, child))
}

/// Gives the blocks that an earlier run left and that no policy of this one covers; exceptions to them are none.
fn left(snapshot: &Snapshot) -> impl Iterator<Item = &Block> {
    let is_left = |block: &&Block| block.policy.is_none() && block.action != PolicyAction::Bypass;
    snapshot.host_blocks.blocks.iter().filter(is_left)
}

fn nothing_is_blocked(snapshot: &Snapshot, name: &str) -> String {
    let all: Vec<&str> = holding(snapshot).map(|(_, child)| child).collect();
    let there =
        if all.is_empty() { "nothing is".to_owned() } else { format!("blocked are: {}", all.join(", ")) };
    format!("{name} is not blocked; {there}")
}
