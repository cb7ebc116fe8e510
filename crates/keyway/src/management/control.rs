//! SAs on demand: `initiate`, `terminate`, `rekey`, `install`, `uninstall` and `list-manual-sas`.

use std::future::Future;
use std::time::Duration;

use config::Treatment;
use ike::{ChildSaId, ChildState, Command, IkeSaId, IkeState};
use tokio::sync::oneshot;
use tokio::time::timeout;
use vici::Tree;

use super::arguments::{flag, log_level, number};
use super::blocks;
use super::commands::success;
use super::sas::{self, Turn};
use crate::daemon::handle::{Engine, Outcome, Snapshot};
use crate::daemon::loaded::Loaded;

/// Answers `list-manual-sas`, a message for each section of `manual`. charon has no such command.
pub(crate) async fn list_manual_sas(engine: &Engine) -> Result<Vec<Tree>, String> {
    let snapshot = engine.snapshot().await?;
    let described = |installed| sas::manual_sa(snapshot.now, installed, &snapshot.sas);
    Ok(snapshot.manual.iter().map(described).collect())
}

/// Answers `initiate`, when it is up or has failed, or as soon as a client that will not wait (-1) is understood.
pub(crate) async fn initiate(engine: &Engine, arguments: &Tree) -> Result<Tree, String> {
    log_level(arguments)?;
    // Our limits hold for strangers, not for what is asked of us.
    flag(arguments, "init-limits")?;
    let loaded = engine.snapshot().await?.loaded;
    let (connection, child) = match (arguments.text("child"), arguments.text("ike")) {
        (Some(child), ike) => {
            let connection = connection_of(&loaded, child, ike)?;
            (connection, Some(child.to_owned()))
        }
        // Who names no child wants none (RFC 6023).
        (None, Some(ike)) if loaded.connections.contains_key(ike) => (ike.to_owned(), None),
        (None, Some(ike)) => return Err(no_connection(&loaded, ike)),
        (None, None) => return Err("initiate needs the key `child` or `ike`".to_owned()),
    };
    let wanted = child.clone().unwrap_or_else(|| connection.clone());
    let patience = patience(arguments)?;
    let outcome = engine.begin(|ticket| Command::Initiate { connection, child, ticket }).await?;
    match patience.wait(outcome_of(outcome)).await {
        Waited::Ended(outcome) => outcome.map(|()| success()),
        Waited::TooLate => Err(format!("{wanted} is not up yet; it goes on in the background")),
        Waited::NotAtAll => Ok(success()),
    }
}

/// Answers `terminate`, when all that match are gone.
pub(crate) async fn terminate(engine: &Engine, arguments: &Tree) -> Tree {
    answer(begin_to_terminate(engine, arguments).await, Some("terminated"), "gone").await
}

async fn begin_to_terminate(engine: &Engine, arguments: &Tree) -> Begun {
    let patience = patience(arguments)?;
    log_level(arguments)?;
    let is_forced = flag(arguments, "force")?;
    let matches = matching(&engine.snapshot().await?, arguments, Which::All)?;
    let mut outcomes = Vec::new();
    for target in &matches {
        let command = |ticket| match *target {
            Target::Ike(ike) if is_forced => Command::ForgetIke { ike, ticket },
            Target::Ike(ike) => Command::TerminateIke { ike, ticket },
            Target::Child(child) => Command::TerminateChild { child, ticket },
        };
        outcomes.push(engine.begin(command).await?);
    }
    Ok((patience, outcomes))
}

/// Answers `rekey`: at once, as charon does, or with the key `timeout` when all replacements are in place.
pub(crate) async fn rekey(engine: &Engine, arguments: &Tree) -> Tree {
    answer(begin_to_rekey(engine, arguments).await, None, "replaced").await
}

async fn begin_to_rekey(engine: &Engine, arguments: &Tree) -> Begun {
    let is_proven_anew = flag(arguments, "reauth")?;
    log_level(arguments)?;
    let patience = match arguments.value("timeout") {
        Some(_) => patience(arguments)?,
        None => Patience::None,
    };
    let matches = matching(&engine.snapshot().await?, arguments, Which::InUse)?;
    let mut outcomes = Vec::new();
    for target in &matches {
        let command = |ticket| match *target {
            Target::Ike(ike) if is_proven_anew => Command::ReauthenticateIke { ike, ticket },
            Target::Ike(ike) => Command::RekeyIke { ike, ticket },
            Target::Child(child) => Command::RekeyChild { child, ticket },
        };
        outcomes.push(engine.begin(command).await?);
    }
    Ok((patience, outcomes))
}

/// Answers `install` ([`Turn::Up`]) and `uninstall`.
pub(crate) async fn install(engine: &Engine, arguments: &Tree, turn: Turn) -> Result<Tree, String> {
    log_level(arguments)?;
    let child = arguments.text("child").ok_or("the key `child` is needed")?.to_owned();
    let loaded = engine.snapshot().await?.loaded;
    let connection = connection_with_policy(&loaded, &child, arguments.text("ike"))?;
    let command = |ticket| match turn {
        Turn::Up => Command::Install { connection, child, ticket },
        Turn::Down => Command::Uninstall { connection, child, ticket },
    };
    engine.perform(command).await?;
    Ok(success())
}

/// An SA that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Ike(IkeSaId),
    Child(ChildSaId),
}

/// Which of the SAs that a command names it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Every one.
    All,
    /// Those that nothing has replaced yet.
    InUse,
}

/// Finds the SAs that a command names: by `child` and `child-id`, and only without these by `ike` and `ike-id` alone.
fn matching(snapshot: &Snapshot, arguments: &Tree, which: Which) -> Result<Vec<Target>, String> {
    let (child, ike) = (arguments.text("child"), arguments.text("ike"));
    let child_id = number(arguments, "child-id")?.map(ChildSaId);
    let ike_id = number(arguments, "ike-id")?.map(IkeSaId);
    let ike_sas = snapshot
        .ike_sas
        .iter()
        .filter(|sa| ike.is_none_or(|name| sa.connection == name) && ike_id.is_none_or(|id| sa.id == id));
    let found: Vec<Target> = match (child, child_id, ike, ike_id) {
        (None, None, None, None) => {
            return Err("name what is meant: child, child-id, ike or ike-id".to_owned());
        }
        (None, None, ..) => ike_sas
            .filter(|sa| which == Which::All || sa.state != IkeState::Rekeyed)
            .map(|sa| Target::Ike(sa.id))
            .collect(),
        _ => ike_sas
            .flat_map(|sa| &sa.children)
            .filter(|sa| child.is_none_or(|name| sa.name == name) && child_id.is_none_or(|id| sa.id == id))
            .filter(|sa| which == Which::All || sa.state != ChildState::Rekeyed)
            .map(|sa| Target::Child(sa.id))
            .collect(),
    };
    if found.is_empty() { Err(nothing_matches(snapshot, arguments)) } else { Ok(found) }
}

/// Says what was looked for, and what there is.
fn nothing_matches(snapshot: &Snapshot, arguments: &Tree) -> String {
    let asked: Vec<String> = ["child", "child-id", "ike", "ike-id"]
        .iter()
        .filter_map(|key| Some(format!("{key} {}", arguments.text(key)?)))
        .collect();
    let is_about_children = arguments.value("child").or(arguments.value("child-id")).is_some();
    let there: Vec<String> = if is_about_children {
        let children = snapshot.ike_sas.iter().flat_map(|ike| &ike.children);
        children.map(|child| format!("{} {}", child.name, child.id)).collect()
    } else {
        snapshot.ike_sas.iter().map(|ike| format!("{} {}", ike.connection, ike.id)).collect()
    };
    let kind = if is_about_children { "Child SA" } else { "IKE SA" };
    let confused = arguments.text("child").filter(|name| snapshot.loaded.connections.contains_key(*name));
    let hint = confused.map(|name| format!(" ({name} is a connection, not a child)")).unwrap_or_default();
    let blocked = arguments.text("child").filter(|name| blocks::is_blocked(snapshot, name));
    let way_out = blocked.map(|name| format!("; {name} is blocked: unblock it to let its traffic pass"));
    let there =
        if there.is_empty() { "none is up".to_owned() } else { format!("up are: {}", there.join(", ")) };
    format!("no {kind} matches {}{hint}; {there}{}", asked.join(" and "), way_out.unwrap_or_default())
}

/// A command about several SAs that has begun for each, and how long its client waits; or why it has not.
pub(super) type Begun = Result<(Patience, Vec<oneshot::Receiver<Outcome>>), String>;

/// Waits for all outcomes and says how many SAs matched and, under `key`, at how many it went well. charon gives both counts
/// whatever the end, and counts 0 of an end that nobody waits for.
pub(super) async fn answer(begun: Begun, key: Option<&str>, done: &str) -> Tree {
    let (patience, outcomes) = match begun {
        Ok(begun) => begun,
        Err(reason) => return counted(0, key.map(|key| (key, 0)), Some(reason)),
    };
    let matches = outcomes.len();
    let all = async {
        let mut failures = Vec::new();
        for outcome in outcomes {
            failures.extend(outcome_of(outcome).await.err());
        }
        failures
    };
    let (good, failure) = match patience.wait(all).await {
        Waited::Ended(failures) => {
            (matches - failures.len(), Some(failures.join("; ")).filter(|all| !all.is_empty()))
        }
        Waited::TooLate => (0, Some(format!("not everything is {done} yet; it goes on in the background"))),
        Waited::NotAtAll => (matches, None),
    };
    counted(matches, key.map(|key| (key, good)), failure)
}

fn counted(matches: usize, good: Option<(&str, usize)>, failure: Option<String>) -> Tree {
    let is_well = if failure.is_none() { "yes" } else { "no" };
    let mut tree = Tree::new().with_value("success", is_well).with_value("matches", matches.to_string());
    if let Some((key, good)) = good {
        tree.push_value(key, good.to_string());
    }
    if let Some(reason) = failure {
        tree.push_value("errmsg", reason);
    }
    tree
}

async fn outcome_of(outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome.await.unwrap_or_else(|_| Err("the daemon is shutting down".to_owned()))
}

/// How long the client waits for the end of what it asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Until it ends.
    Endless,
    /// So long.
    Limited(Duration),
    /// Only until it has begun.
    None,
}

/// What waiting came to.
enum Waited<T> {
    Ended(T),
    TooLate,
    NotAtAll,
}

/// Reads the key `timeout`: so many milliseconds, without end at 0, not at all at -1.
pub(super) fn patience(arguments: &Tree) -> Result<Patience, String> {
    let Some(text) = arguments.text("timeout") else { return Ok(Patience::Endless) };
    match text.parse::<i64>() {
        Ok(0) => Ok(Patience::Endless),
        Ok(millis) => {
            let limited = |millis| Patience::Limited(Duration::from_millis(millis));
            Ok(u64::try_from(millis).map_or(Patience::None, limited))
        }
        Err(_) => Err(format!("timeout = {text} is not a number of milliseconds")),
    }
}

impl Patience {
    async fn wait<T>(self, what: impl Future<Output = T>) -> Waited<T> {
        match self {
            Patience::Endless => Waited::Ended(what.await),
            Patience::Limited(limit) => timeout(limit, what).await.map_or(Waited::TooLate, Waited::Ended),
            Patience::None => Waited::NotAtAll,
        }
    }
}

/// Finds the connection that a child which can come up belongs to.
fn connection_of(loaded: &Loaded, child: &str, ike: Option<&str>) -> Result<String, String> {
    let connection = connection_with_policy(loaded, child, ike)?;
    let config = loaded.connections.get(&connection).and_then(|loaded| loaded.config.child(child));
    match config.map(|child| child.treatment) {
        Some(treatment @ (Treatment::Pass | Treatment::Drop)) => Err(format!(
            "the child {child} is a {} policy and has no SA that could come up; install it instead",
            treatment.keyword()
        )),
        Some(Treatment::Protect(_)) | None => Ok(connection),
    }
}

/// Finds the connection that a child of any kind belongs to.
fn connection_with_policy(loaded: &Loaded, child: &str, ike: Option<&str>) -> Result<String, String> {
    if let Some(ike) = ike {
        let connection = loaded.connections.get(ike).ok_or_else(|| no_connection(loaded, ike))?;
        return match connection.config.child(child) {
            Some(_) => Ok(ike.to_owned()),
            None => {
                Err(format!("the connection {ike} has no child {child}; it has {}", children_of(loaded, ike)))
            }
        };
    }
    let owners: Vec<&str> =
        loaded.with_child(child).map(|connection| connection.config.name.as_str()).collect();
    match owners.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            let all: Vec<&str> = loaded.children().collect();
            let there = if all.is_empty() {
                "none is loaded".to_owned()
            } else {
                format!("loaded are: {}", all.join(", "))
            };
            Err(format!("no child is named {child}; {there}"))
        }
        several => Err(format!(
            "the connections {} each have a child {child}: name one of them",
            several.join(" and ")
        )),
    }
}

fn no_connection(loaded: &Loaded, name: &str) -> String {
    let all: Vec<&str> = loaded.connections.keys().map(String::as_str).collect();
    let there =
        if all.is_empty() { "none is loaded".to_owned() } else { format!("loaded are: {}", all.join(", ")) };
    format!("no connection is named {name}; {there}")
}

fn children_of(loaded: &Loaded, connection: &str) -> String {
    let children = loaded.connections.get(connection).into_iter().flat_map(|loaded| &loaded.config.children);
    let names: Vec<&str> = children.map(|child| child.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
