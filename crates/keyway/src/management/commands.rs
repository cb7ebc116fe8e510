//! Every command by its name, and the forms that an answer may have.

use std::fmt::Display;

use vici::Tree;

use super::arguments::{self, log_level};
use super::listing::{Messages, SaList};
use super::{
    Management, about, blocks, connections, control, counters, credentials, disclosure, events, pools,
    redirect, sas, secrets, tally,
};

/// The answer to a command.
#[derive(Debug)]
pub(crate) enum Reply {
    /// There is no such command.
    Unknown,
    /// One message.
    Response(Tree),
    /// Events, then an empty message.
    Streamed {
        /// The name of the events.
        event: &'static str,
        /// Their messages.
        messages: Messages,
    },
}

/// Every command that there is.
pub(crate) const NAMES: [&str; 42] = [
    "version",
    "stats",
    "get-algorithms",
    "get-counters",
    "reset-counters",
    "get-log",
    "reload-settings",
    "disclose-keys",
    "load-conn",
    "unload-conn",
    "get-conns",
    "list-conns",
    "list-policies",
    "load-shared",
    "unload-shared",
    "get-shared",
    "clear-creds",
    "load-cert",
    "load-key",
    "unload-key",
    "get-keys",
    "load-authority",
    "unload-authority",
    "get-authorities",
    "list-authorities",
    "list-certs",
    "flush-certs",
    "load-token",
    "load-pool",
    "unload-pool",
    "get-pools",
    "list-sas",
    "list-manual-sas",
    "initiate",
    "terminate",
    "redirect",
    "synchronize-counters",
    "rekey",
    "install",
    "list-blocks",
    "unblock",
    "uninstall",
];

fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Carries out a command.
pub(crate) async fn perform(name: &str, arguments: &Tree, management: &Management) -> Reply {
    let Management { engine, notices, daemon, revocation } = management;
    // What is loaded has a form of its own.
    if !name.starts_with("load-")
        && let Err(reason) = arguments::check_values(arguments)
    {
        return if is_known(name) { Reply::Response(failure(reason)) } else { Reply::Unknown };
    }
    match name {
        "version" => Reply::Response(about::version()),
        "stats" => respond(about::stats(engine, daemon, arguments).await),
        "get-algorithms" => Reply::Response(about::algorithms()),
        "get-counters" => respond(tally::get(engine, arguments).await),
        "reset-counters" => respond(tally::reset(engine, arguments).await),
        "get-log" => Reply::Response(events::recent_log(notices)),
        "reload-settings" => respond(connections::reload(engine, daemon, arguments).await),

        "disclose-keys" => respond(disclosure::disclose(engine, arguments).await),

        "load-conn" => respond(connections::load(engine, daemon, arguments).await),
        "unload-conn" => respond(connections::unload(engine, arguments).await),
        "get-conns" => respond(connections::names(engine).await),
        "list-conns" => stream("list-conn", connections::list(engine, arguments).await),
        "list-policies" => stream("list-policy", connections::policies(engine, arguments).await),

        "load-shared" => respond(secrets::load(engine, arguments).await),
        "unload-shared" => respond(secrets::unload(engine, arguments).await),
        "get-shared" => respond(secrets::names(engine).await),
        "clear-creds" => respond(secrets::clear(engine).await),

        "load-cert" => respond(credentials::load_certificate(engine, arguments).await),
        "load-key" => respond(credentials::load_key(engine, arguments).await),
        "unload-key" => respond(credentials::unload_key(engine, arguments).await),
        "get-keys" => respond(credentials::key_names(engine).await),
        "load-authority" => respond(credentials::load_authority(engine, arguments).await),
        "unload-authority" => respond(credentials::unload_authority(engine, arguments).await),
        "get-authorities" => respond(credentials::authority_names(engine).await),
        "list-authorities" => {
            stream("list-authority", credentials::list_authorities(engine, arguments).await)
        }
        "list-certs" => {
            stream("list-cert", credentials::list_certificates(engine, revocation, arguments).await)
        }
        "flush-certs" => respond(credentials::flush(revocation, arguments)),
        "load-token" => respond(credentials::load_token(engine, &daemon.tokens, arguments).await),

        "load-pool" => respond(pools::load(engine, arguments).await),
        "unload-pool" => respond(pools::unload(engine, arguments).await),
        "get-pools" => respond(pools::list(engine, arguments).await),

        "list-sas" => stream_sas(SaList::begin(engine, arguments).await),
        "list-manual-sas" => stream("list-manual-sa", control::list_manual_sas(engine).await),
        "initiate" => respond(control::initiate(engine, arguments).await),
        "terminate" => Reply::Response(control::terminate(engine, arguments).await),
        "redirect" => Reply::Response(redirect::redirect(engine, arguments).await),
        "synchronize-counters" => Reply::Response(counters::synchronize(engine, arguments).await),
        "rekey" => Reply::Response(control::rekey(engine, arguments).await),
        "install" => respond(control::install(engine, arguments, sas::Turn::Up).await),
        "list-blocks" => stream("list-block", blocks::list(engine).await),
        "unblock" => respond(blocks::unblock(engine, arguments).await),
        "uninstall" => respond(control::install(engine, arguments, sas::Turn::Down).await),
        _ => Reply::Unknown,
    }
}

/// Gives the level up to which a command wants the log streamed as `control-log`; `None` if it streams none.
pub(crate) fn streamed_log_level(name: &str, arguments: &Tree) -> Option<u8> {
    let is_streamed = matches!(name, "initiate" | "terminate" | "rekey" | "install" | "uninstall");
    // A level that is none is refused by the command.
    is_streamed.then(|| log_level(arguments).ok().flatten()).flatten()
}

/// Makes the response of a command that worked.
pub(crate) fn success() -> Tree {
    Tree::new().with_value("success", "yes")
}

/// Makes the response of a command that did not.
pub(crate) fn failure(reason: impl Display) -> Tree {
    Tree::new().with_value("success", "no").with_value("errmsg", reason.to_string())
}

fn respond(answer: Result<Tree, String>) -> Reply {
    Reply::Response(answer.unwrap_or_else(failure))
}

fn stream(event: &'static str, answer: Result<Vec<Tree>, String>) -> Reply {
    match answer {
        Ok(messages) => Reply::Streamed { event, messages: Messages::Ready(messages.into_iter()) },
        Err(reason) => Reply::Response(failure(reason)),
    }
}

fn stream_sas(answer: Result<SaList, String>) -> Reply {
    match answer {
        Ok(list) => Reply::Streamed { event: "list-sa", messages: Messages::Sas(list) },
        Err(reason) => Reply::Response(failure(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_take_time_stream_the_log_at_the_level_asked_for() {
        let level = |text: &str| Tree::new().with_value("loglevel", text);
        assert_eq!(streamed_log_level("initiate", &Tree::new()), Some(1));
        assert_eq!(streamed_log_level("initiate", &level("2")), Some(2));
        assert_eq!(streamed_log_level("terminate", &level("-1")), None);
        assert_eq!(streamed_log_level("list-sas", &level("2")), None);
    }
}
