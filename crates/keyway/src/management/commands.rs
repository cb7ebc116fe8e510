//! Every command by its name, and the forms that an answer may have.

use std::fmt::Display;

use vici::Tree;

use super::{
    Management, about, blocks, connections, control, counters, credentials, disclosure, events, pools,
    redirect, sas, secrets,
};

/// The answer to a command.
#[derive(Debug)]
pub(crate) enum Reply {
    /// There is no such command.
    Unknown,
    /// One message.
    Response(Tree),
    /// Events, then a message.
    Streamed {
        /// The name of the events.
        event: &'static str,
        /// Their messages.
        messages: Vec<Tree>,
        /// What follows them.
        response: Tree,
    },
}

/// Carries out a command.
pub(crate) async fn perform(name: &str, arguments: &Tree, management: &Management) -> Reply {
    let Management { engine, notices, daemon, revocation } = management;
    match name {
        "version" => Reply::Response(about::version()),
        "stats" => respond(about::stats(engine, daemon).await),
        "get-algorithms" => Reply::Response(about::algorithms()),
        "get-log" => Reply::Response(events::recent_log(notices)),
        "reload-settings" => respond(connections::reload(engine, daemon).await),

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
        "flush-certs" => Reply::Response(credentials::flush(revocation, arguments)),
        "load-token" => respond(credentials::load_token(engine, &daemon.tokens, arguments).await),

        "load-pool" => respond(pools::load(engine, arguments).await),
        "unload-pool" => respond(pools::unload(engine, arguments).await),
        "get-pools" => respond(pools::list(engine, arguments).await),

        "list-sas" => stream("list-sa", control::list_sas(engine, arguments).await),
        "list-manual-sas" => stream("list-manual-sa", control::list_manual_sas(engine).await),
        "initiate" => respond(control::initiate(engine, arguments).await),
        "terminate" => respond(control::terminate(engine, arguments).await),
        "redirect" => respond(redirect::redirect(engine, arguments).await),
        "synchronize-counters" => respond(counters::synchronize(engine, arguments).await),
        "rekey" => respond(control::rekey(engine, arguments).await),
        "install" => respond(control::install(engine, arguments, sas::Turn::Up).await),
        "list-blocks" => stream("list-block", blocks::list(engine).await),
        "unblock" => respond(blocks::unblock(engine, arguments).await),
        "uninstall" => respond(control::install(engine, arguments, sas::Turn::Down).await),
        _ => Reply::Unknown,
    }
}

/// Gives the level up to which a command wants the log streamed as `control-log`; `None` if it streams none.
pub(crate) fn streamed_log_level(name: &str, arguments: &Tree) -> Option<u8> {
    // charon's own default.
    const CONTROL: u8 = 1;
    let is_streamed = matches!(name, "initiate" | "terminate" | "rekey" | "install" | "uninstall");
    let asked = arguments.text("loglevel").and_then(|level| level.parse::<i8>().ok());
    // -1 is silence.
    is_streamed.then(|| asked.map_or(Some(CONTROL), |level| u8::try_from(level).ok())).flatten()
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
        Ok(messages) => Reply::Streamed { event, messages, response: Tree::new() },
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
