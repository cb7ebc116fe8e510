//! One site-to-site tunnel, and the text that configures either end of it.

use crate::{End, Family, Lab};

/// The name of the connection in every configuration.
pub const CONNECTION: &str = "site";
/// The name of its child.
pub const CHILD: &str = "net";

/// A tunnel between the two gateways of a [`Lab`]: what both ends have to agree on, and what an end may add.
///
/// A test that wants the ends to differ makes two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The IP version between the gateways.
    pub outside: Family,
    /// The IP versions between the hosts.
    pub inside: Vec<Family>,
    /// The value of `proposals`.
    pub ike_proposals: String,
    /// The value of `esp_proposals`.
    pub esp_proposals: String,
    /// The pre-shared key.
    pub secret: String,
    /// Overrides what the end's `local_ts` would be.
    pub local_selectors: Option<String>,
    /// Overrides what the end's `remote_ts` would be.
    pub remote_selectors: Option<String>,
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
            ike_proposals: "aes128gcm16-prfsha256-x25519".to_owned(),
            esp_proposals: "aes128gcm16".to_owned(),
            secret: "correct horse battery staple".to_owned(),
            local_selectors: None,
            remote_selectors: None,
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

    /// Adds a line to the child.
    #[must_use]
    pub fn child_line(mut self, line: &str) -> Tunnel {
        self.child_lines.push(line.to_owned());
        self
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
        format!(
            "connections {{
   {CONNECTION} {{
      version = 2
      local_addrs = {}
      remote_addrs = {remote}
      proposals = {}
{}      local {{
         auth = psk
         id = {}
      }}
      remote {{
         auth = psk
         id = {}
      }}
      children {{
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
}}
",
            here.outside(self.outside),
            self.ike_proposals,
            indented(&self.connection_lines, 6),
            identity(end),
            identity(end.other()),
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

/// Who a gateway says that it is.
fn identity(end: End) -> String {
    format!("{end}.example.org")
}
