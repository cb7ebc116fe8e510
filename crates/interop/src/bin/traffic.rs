//! The laboratory's traffic for a place that its namespaces do not reach: inside a guest.
//!
//! ```text
//! traffic ping ADDRESS COUNT PER_SECOND    prints how many requests were answered
//! traffic serve ADDRESS:PORT ...           answers over UDP and TCP until it is killed
//! traffic visit ADDRESS:PORT               makes sure that such a server can be reached by all that there is
//! ```

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;
use std::thread;

use interop::traffic::{Ping, Server, visit_here};
use interop::{Failure, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("traffic: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [word, address, count, per_second] if word == "ping" => {
            let ping = Ping::run_here(read(address)?, read(count)?, read(per_second)?)?;
            println!("{}", ping.received);
            Ok(())
        }
        [word, addresses @ ..] if word == "serve" && !addresses.is_empty() => {
            let servers: Vec<Server> =
                addresses.iter().map(|address| Server::start_here(read(address)?)).collect::<Result<_>>()?;
            println!("ready at {} addresses", servers.len());
            loop {
                thread::park();
            }
        }
        [word, server] if word == "visit" => visit_here(read(server)?),
        _ => Err(Failure::new(
            "usage: traffic ping ADDRESS COUNT PER_SECOND | serve ADDRESS:PORT ... | visit ADDRESS:PORT",
        )),
    }
}

fn read<T: std::str::FromStr>(word: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    word.parse().map_err(Failure::at(word))
}
