//! The command line of the demonstration.

use std::path::PathBuf;

use interop::{Implementation, Wire};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Two IPsec gateways, one tunnel, every message explained.

usage: ./demo [--ikev1|--aggressive] [--pq] [--pki] [--nat] [--peer keyway|strongswan] [--output DIR]
              [--build release|debug]

  --ikev1             speak IKEv1: main mode and quick mode
  --aggressive        speak IKEv1: aggressive mode and quick mode
  --pq                exchange keys by Curve25519 and ML-KEM, when coming up and when rekeying
  --pki               make a CA, and let certificates prove who the gateways are
  --nat               put a NAT between the gateways
  --peer strongswan   let Debian's strongSwan be the second gateway
  --output DIR        where the capture, the keys and the logs go (default: demo-output)
  --build debug       use the quickly built programs rather than the quick ones";

/// Key exchange methods of which one withstands quantum computers.
const HYBRID: &str = "x25519-ke1_mlkem768";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) ike: Ike,
    /// What stands for the proposals in the configuration, if that is not left to the defaults.
    pub(crate) methods: Option<&'static str>,
    pub(crate) proof: Proof,
    pub(crate) wire: Wire,
    pub(crate) peer: Implementation,
    pub(crate) output: PathBuf,
}

/// What the gateways speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ike {
    Version2,
    /// Version 1, six messages in phase 1.
    MainMode,
    /// Version 1, three messages in phase 1.
    AggressiveMode,
}

/// How the gateways prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Secret,
    Certificates,
}

/// Why there is nothing to play.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Help,
    Wrong(String),
}

/// Reads the arguments.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Stop> {
    let mut arguments = Arguments {
        ike: Ike::Version2,
        methods: None,
        proof: Proof::Secret,
        wire: Wire::Plain,
        peer: Implementation::Keyway,
        output: PathBuf::from("demo-output"),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| Stop::Wrong(format!("{word} wants a value")));
        match word.as_str() {
            "--ikev1" => arguments.ike = Ike::MainMode,
            "--aggressive" => arguments.ike = Ike::AggressiveMode,
            "--pq" => arguments.methods = Some(HYBRID),
            "--pki" => arguments.proof = Proof::Certificates,
            "--nat" => arguments.wire = Wire::Nat,
            "--peer" => arguments.peer = peer(&value()?)?,
            "--output" => arguments.output = PathBuf::from(value()?),
            "-h" | "--help" => return Err(Stop::Help),
            _ => return Err(Stop::Wrong(format!("{word} is not known"))),
        }
    }
    if arguments.methods.is_some() && arguments.peer == Implementation::StrongSwan {
        // The older one knows none of it.
        arguments.peer = Implementation::StrongSwan6;
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
        assert_eq!(
            (plain.proof, parse_words("--pki").expect("valid").proof),
            (Proof::Secret, Proof::Certificates)
        );
        assert_eq!(parse_words("--nat").expect("valid").wire, Wire::Nat);
        assert_eq!((plain.methods, parse_words("--pq").expect("valid").methods), (None, Some(HYBRID)));
        assert_eq!((plain.ike, parse_words("--ikev1").expect("valid").ike), (Ike::Version2, Ike::MainMode));
        assert_eq!(parse_words("--aggressive").expect("valid").ike, Ike::AggressiveMode);
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
