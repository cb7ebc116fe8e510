//! The command line of the demonstration.

use std::path::PathBuf;

use interop::{Implementation, Wire};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Two IPsec gateways, one tunnel, every message explained.

usage: ./demo [--nat] [--peer keyway|strongswan] [--output DIR] [--build release|debug]

  --nat               put a NAT between the gateways
  --peer strongswan   let Debian's strongSwan be the second gateway
  --output DIR        where the capture, the keys and the logs go (default: demo-output)
  --build debug       use the quickly built programs rather than the quick ones";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) wire: Wire,
    pub(crate) peer: Implementation,
    pub(crate) output: PathBuf,
}

/// Why there is nothing to play.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Help,
    Wrong(String),
}

/// Reads the arguments.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Stop> {
    let mut arguments =
        Arguments { wire: Wire::Plain, peer: Implementation::Keyway, output: PathBuf::from("demo-output") };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| Stop::Wrong(format!("{word} wants a value")));
        match word.as_str() {
            "--nat" => arguments.wire = Wire::Nat,
            "--peer" => arguments.peer = peer(&value()?)?,
            "--output" => arguments.output = PathBuf::from(value()?),
            "-h" | "--help" => return Err(Stop::Help),
            _ => return Err(Stop::Wrong(format!("{word} is not known"))),
        }
    }
    Ok(arguments)
}

fn peer(name: &str) -> Result<Implementation, Stop> {
    match name {
        "keyway" => Ok(Implementation::Keyway),
        "strongswan" => Ok(Implementation::StrongSwan),
        _ => Err(Stop::Wrong(format!("{name} is no peer; there are keyway and strongswan"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Arguments, Stop> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_forms_that_the_readme_names() {
        let plain = parse_words("").expect("valid");
        assert_eq!((plain.wire, plain.peer), (Wire::Plain, Implementation::Keyway));
        assert_eq!(parse_words("--nat").expect("valid").wire, Wire::Nat);
        assert_eq!(parse_words("--peer strongswan").expect("valid").peer, Implementation::StrongSwan);
        assert_eq!(parse_words("--help"), Err(Stop::Help));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(parse_words("--peer"), Err(Stop::Wrong("--peer wants a value".to_owned())));
        assert_eq!(parse_words("--nta"), Err(Stop::Wrong("--nta is not known".to_owned())));
        assert!(matches!(parse_words("--peer charon"), Err(Stop::Wrong(_))));
    }
}
