//! `keyway up`, `down`, `rekey`, `reload` and `version`.

use std::io::{self, Write as _};
use std::time::Duration;

use vici::{Client, Tree};

use super::log::render_line;
use super::units::count;
use super::view::{ChildSa, IkeSa};
use super::{Failure, connect, extras, status};
use crate::cli::{Down, Rekey, Reload, Up, Version, Which};

/// Brings a child up, or an IKE SA alone, and says what came of it.
///
/// # Errors
/// It does not come up; the sentence is the daemon's.
pub(crate) fn up(arguments: &Up) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    let mut request = extras();
    if let Some(child) = &arguments.child {
        request.push_value("child", child);
    }
    if let Some(ike) = &arguments.ike {
        request.push_value("ike", ike);
    }
    push_timeout(&mut request, arguments.timeout);
    request.push_value("loglevel", if arguments.verbose { "2" } else { "0" });
    let print = |line: Tree| {
        if arguments.verbose {
            eprintln!("{}", render_line(&line));
        }
    };
    Client::success(client.streamed("initiate", "control-log", &request, print)?)?;
    let ike_sas = status::list_sas(&mut client)?;
    let sentence = match &arguments.child {
        Some(child) => describe_child(&ike_sas, child),
        None => describe_ike(&ike_sas, arguments.ike.as_deref().unwrap_or_default()),
    };
    Ok(writeln!(io::stdout(), "{sentence}")?)
}

/// Takes SAs down.
///
/// # Errors
/// There are none of this name, or the peer does not confirm.
pub(crate) fn down(arguments: &Down) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    let mut request = select(&arguments.which);
    push_timeout(&mut request, arguments.timeout);
    if arguments.force {
        request.push_value("force", "yes");
    }
    let response = Client::success(client.request("terminate", &request)?)?;
    report(&response, "terminated", &arguments.which, "down")
}

/// Replaces SAs by new ones and waits until they are in place.
///
/// # Errors
/// There are none of this name, or the peer refuses.
pub(crate) fn rekey(arguments: &Rekey) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    let mut request = select(&arguments.which);
    if arguments.reauth {
        request.push_value("reauth", "yes");
    }
    // charon answers at once; whoever gives this command wants to know how it ends.
    request.push_value("timeout", "0");
    let response = Client::success(client.request("rekey", &request)?)?;
    report(&response, "matches", &arguments.which, "rekeyed")
}

/// Has the daemon read its configuration again.
///
/// # Errors
/// The configuration is faulty; the daemon keeps what it had.
pub(crate) fn reload(arguments: &Reload) -> Result<(), Failure> {
    let mut client = connect(&arguments.daemon)?;
    let response = Client::success(client.request("reload-settings", &extras())?)?;
    let changes = response.text("changes").unwrap_or("The configuration is loaded.");
    Ok(writeln!(io::stdout(), "{changes}")?)
}

/// Shows the version of this program and, if it runs, of the daemon.
///
/// # Errors
/// Something other than the daemon answers on its socket.
pub(crate) fn version(arguments: &Version) -> Result<(), Failure> {
    writeln!(io::stdout(), "keyway {}", env!("CARGO_PKG_VERSION"))?;
    let mut client = match connect(&arguments.daemon) {
        Ok(client) => client,
        Err(failure) => return Ok(writeln!(io::stdout(), "{failure}")?),
    };
    client.set_timeout(Some(Duration::from_secs(5)))?;
    let answer = client.request("version", &Tree::new())?;
    let [daemon, version, system, release, machine] =
        ["daemon", "version", "sysname", "release", "machine"].map(|key| answer.text(key).unwrap_or("?"));
    Ok(writeln!(io::stdout(), "daemon: {daemon} {version} ({system} {release}, {machine})")?)
}

/// Names SAs in a request. A NAME of digits is a number.
fn select(which: &Which) -> Tree {
    let is_number = which.name.bytes().all(|octet| octet.is_ascii_digit());
    let key = match (which.ike, is_number) {
        (false, false) => "child",
        (false, true) => "child-id",
        (true, false) => "ike",
        (true, true) => "ike-id",
    };
    Tree::new().with_value(key, &which.name)
}

/// vici counts timeouts in milliseconds.
fn push_timeout(request: &mut Tree, seconds: u32) {
    request.push_value("timeout", (u64::from(seconds) * 1000).to_string());
}

fn report(response: &Tree, key: &str, which: &Which, done: &str) -> Result<(), Failure> {
    let number = response.text(key).and_then(|text| text.parse().ok()).unwrap_or(1);
    let sentence = match (number, which.ike) {
        (1, _) => format!("{} is {done}", which.name),
        (number, true) => format!("{} are {done}", count(number, "IKE SA")),
        (number, false) => format!("{} are {done}", count(number, "Child SA")),
    };
    Ok(writeln!(io::stdout(), "{sentence}")?)
}

fn describe_child(ike_sas: &[IkeSa], name: &str) -> String {
    let pairs = ike_sas.iter().flat_map(|ike| ike.children.iter().map(move |child| (ike, child)));
    match pairs.filter(|(_, child)| child.name == name).max_by_key(|(_, child)| child.id) {
        Some((ike, child)) => format!(
            "{name} is up: {} <-> {} with {} ({}), {}",
            child.local_selectors.join(" "),
            child.remote_selectors.join(" "),
            peer(ike),
            ike.remote.address,
            how(child),
        ),
        None => format!("{name} is up"),
    }
}

fn describe_ike(ike_sas: &[IkeSa], name: &str) -> String {
    match ike_sas.iter().filter(|ike| ike.name == name).max_by_key(|ike| ike.id) {
        Some(ike) => {
            format!("{name} is up: with {} ({}), {}", peer(ike), ike.remote.address, ike.suite.join(" / "))
        }
        None => format!("{name} is up"),
    }
}

fn peer(ike: &IkeSa) -> &str {
    ike.remote.identity.as_deref().unwrap_or("an unnamed peer")
}

fn how(child: &ChildSa) -> String {
    let carrier = if child.in_udp { " in UDP" } else { "" };
    format!("{}{carrier}, {}", child.protocol, child.suite.join(" / "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(name: &str, ike: bool) -> Which {
        Which { name: name.to_owned(), ike }
    }

    #[test]
    fn digits_are_a_number_and_the_rest_a_name() {
        assert_eq!(select(&which("net", false)), Tree::new().with_value("child", "net"));
        assert_eq!(select(&which("7", false)), Tree::new().with_value("child-id", "7"));
        assert_eq!(select(&which("site", true)), Tree::new().with_value("ike", "site"));
        assert_eq!(select(&which("3", true)), Tree::new().with_value("ike-id", "3"));
    }

    #[test]
    fn what_came_up_is_said_in_a_sentence() {
        let net = Tree::new()
            .with_value("name", "net")
            .with_value("protocol", "ESP")
            .with_value("encr-alg", "AES_GCM_16")
            .with_value("encr-keysize", "256")
            .with_list("local-ts", ["10.1.0.0/16"])
            .with_list("remote-ts", ["10.2.0.0/16"]);
        let site = Tree::new()
            .with_value("remote-host", "192.0.2.2")
            .with_value("remote-port", "500")
            .with_value("remote-id", "b.example")
            .with_section("child-sas", Tree::new().with_section("net-1", net));
        let ike_sas = IkeSa::read_all(&Tree::new().with_section("site", site));
        assert_eq!(
            describe_child(&ike_sas, "net"),
            "net is up: 10.1.0.0/16 <-> 10.2.0.0/16 with b.example (192.0.2.2:500), ESP, AES_GCM_16-256"
        );
        assert_eq!(describe_child(&ike_sas, "gone"), "gone is up");
    }
}
