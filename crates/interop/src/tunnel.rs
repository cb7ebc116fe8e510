//! One site-to-site tunnel, and the text that configures either end of it.

use crate::{End, Family, Lab};

/// The name of the connection in every configuration.
pub const CONNECTION: &str = "site";
/// The name of its child.
pub const CHILD: &str = "net";
/// The name of its user.
pub const USER: &str = "carol";
/// His password.
pub const PASSWORD: &str = "open sesame";

/// A tunnel between the two gateways of a [`Lab`]: what both ends have to agree on, and what an end may add.
///
/// A test that wants the ends to differ makes two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The IP version between the gateways.
    pub outside: Family,
    /// The IP versions between the hosts.
    pub inside: Vec<Family>,
    /// The version of IKE.
    pub version: u8,
    /// The value of `proposals`.
    pub ike_proposals: String,
    /// The value of `esp_proposals`.
    pub esp_proposals: String,
    /// The pre-shared key.
    pub secret: String,
    /// The end whose user gives his password (XAuth), and what the two ends take for that.
    pub user: Option<(End, [String; 2])>,
    /// Overrides what the end's `local_ts` would be.
    pub local_selectors: Option<String>,
    /// Overrides what the end's `remote_ts` would be.
    pub remote_selectors: Option<String>,
    /// How a and b prove who they are.
    pub proofs: [Proof; 2],
    /// More lines for the connection.
    pub connection_lines: Vec<String>,
    /// More lines for the child.
    pub child_lines: Vec<String>,
}

impl Default for Tunnel {
    fn default() -> Tunnel {
        Tunnel {
            outside: Family::V4,
            inside: vec![Family::V4],
            version: 2,
            ike_proposals: "aes128gcm16-prfsha256-x25519".to_owned(),
            esp_proposals: "aes128gcm16".to_owned(),
            secret: "correct horse battery staple".to_owned(),
            user: None,
            local_selectors: None,
            remote_selectors: None,
            proofs: [Proof::secret(), Proof::secret()],
            connection_lines: Vec::new(),
            child_lines: Vec::new(),
        }
    }
}

impl Tunnel {
    /// Sets both proposals.
    #[must_use]
    pub fn suite(mut self, ike: &str, esp: &str) -> Tunnel {
        ike.clone_into(&mut self.ike_proposals);
        esp.clone_into(&mut self.esp_proposals);
        self
    }

    /// Adds a line to the connection.
    #[must_use]
    pub fn connection_line(mut self, line: &str) -> Tunnel {
        self.connection_lines.push(line.to_owned());
        self
    }

    /// Has the user of one end give his password, which both ends know.
    #[must_use]
    pub fn user_of(mut self, end: End) -> Tunnel {
        self.user = Some((end, [PASSWORD.to_owned(), PASSWORD.to_owned()]));
        self
    }

    /// Adds a line to the child.
    #[must_use]
    pub fn child_line(mut self, line: &str) -> Tunnel {
        self.child_lines.push(line.to_owned());
        self
    }

    /// Has both ends prove who they are like this.
    #[must_use]
    pub fn proven(mut self, a: Proof, b: Proof) -> Tunnel {
        self.proofs = [a, b];
        self
    }

    fn proof(&self, end: End) -> &Proof {
        match end {
            End::A => &self.proofs[0],
            End::B => &self.proofs[1],
        }
    }

    /// Writes what an end's connection says about the user, and his password as that end has it.
    fn user_texts(&self, end: End) -> (String, String) {
        let Some((of, [a, b])) = &self.user else { return (String::new(), String::new()) };
        let stands_alone = self.proof(*of).own.iter().any(|line| line == "auth = xauth");
        let round = if stands_alone {
            String::new()
        } else if *of == end {
            format!("      local-user {{\n         auth = xauth\n         xauth_id = {USER}\n      }}\n")
        } else {
            "      remote-user {\n         auth = xauth\n      }\n".to_owned()
        };
        let password = if end == End::A { a } else { b };
        (round, format!("   xauth-user {{\n      id = {USER}\n      secret = \"{password}\"\n   }}\n"))
    }

    /// Writes the `swanctl.conf` of one end; Keyway and strongSwan read the same text.
    pub fn text(&self, lab: &Lab, end: End) -> String {
        let (here, there) = (lab.site(end), lab.site(end.other()));
        let selectors = |given: &Option<String>, of: &crate::Site| {
            given.clone().unwrap_or_else(|| {
                self.inside.iter().map(|family| of.network(*family)).collect::<Vec<_>>().join(", ")
            })
        };
        let seen = lab.seen_address(end.other(), self.outside);
        // Who is behind a NAT cannot be called, and its address is not known beforehand.
        let remote = if seen == there.outside(self.outside) { seen.to_string() } else { "%any".to_owned() };
        let indented = |lines: &[String], by: usize| -> String {
            lines.iter().map(|line| format!("{:by$}{line}\n", "")).collect()
        };
        let (user_rounds, password) = self.user_texts(end);
        format!(
            "connections {{
   {CONNECTION} {{
      version = {}
      local_addrs = {}
      remote_addrs = {remote}
      proposals = {}
{}      local {{
{}         id = {}
      }}
      remote {{
{}         id = {}
      }}
{user_rounds}      children {{
         {CHILD} {{
            local_ts = {}
            remote_ts = {}
            esp_proposals = {}
{}         }}
      }}
   }}
}}
secrets {{
   ike-{CONNECTION} {{
      id-a = {}
      id-b = {}
      secret = \"{}\"
   }}
{password}}}
",
            self.version,
            here.outside(self.outside),
            self.ike_proposals,
            indented(&self.connection_lines, 6),
            indented(&self.proof(end).own, 9),
            named(&self.proof(end).own, identity(end), "%null"),
            indented(&self.proof(end.other()).peer, 9),
            named(&self.proof(end.other()).peer, identity(end.other()), "%any"),
            selectors(&self.local_selectors, here),
            selectors(&self.remote_selectors, there),
            self.esp_proposals,
            indented(&self.child_lines, 12),
            identity(End::A),
            identity(End::B),
            self.secret,
        )
    }
}

/// How one end proves who it is: what stands in its own `local`, and in the other's `remote`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The lines of `local`.
    pub own: Vec<String>,
    /// The lines of `remote`.
    pub peer: Vec<String>,
}

impl Proof {
    /// By the pre-shared key.
    pub fn secret() -> Proof {
        Proof::of(&["auth = psk"], &["auth = psk"])
    }

    /// By a certificate, a file of `x509`.
    pub fn certificate(file: &str) -> Proof {
        Proof::of(&["auth = pubkey", &format!("certs = {file}")], &["auth = pubkey"])
    }

    /// By nothing at all (RFC 7619).
    pub fn nothing() -> Proof {
        Proof::of(&[UNPROVEN], &[UNPROVEN])
    }

    /// By nothing but the password of its user (hybrid authentication of IKEv1).
    pub fn user() -> Proof {
        Proof::of(&["auth = xauth", &format!("xauth_id = {USER}")], &["auth = xauth"])
    }

    /// By what these lines say.
    pub fn of(own: &[&str], peer: &[&str]) -> Proof {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Proof { own: lines(own), peer: lines(peer) }
    }
}

/// How an end that proves nothing says so.
const UNPROVEN: &str = "auth = null";

/// Who it is who proves itself by these lines: nobody, if they prove nothing.
fn named(lines: &[String], identity: String, nobody: &str) -> String {
    if lines.iter().any(|line| line == UNPROVEN) { nobody.to_owned() } else { identity }
}

/// Who a gateway says that it is.
fn identity(end: End) -> String {
    format!("{end}.example.org")
}
