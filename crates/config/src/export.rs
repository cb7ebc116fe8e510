//! Connections as management answers show them.

use std::time::Duration;

use vici::Tree;

use crate::connection::{Authentication, Versions, Xauth};
use crate::{Child, Connection, PpkNeed};

impl Connection {
    /// Gives the message of a `list-conn` event for this connection: its name, and in it what is configured.
    pub fn to_list_conn(&self) -> Tree {
        let mut tree = Tree::new()
            .with_list("local_addrs", self.local_addresses.iter().map(ToString::to_string))
            .with_list("remote_addrs", self.remote_addresses.iter().map(ToString::to_string))
            .with_value("version", version(self.versions))
            .with_value("reauth_time", secs(self.reauthentication.rekey))
            .with_value("rekey_time", secs(self.lifetimes.rekey))
            .with_value("unique", format!("UNIQUE_{}", self.unique.keyword().to_uppercase()));
        if !self.dpd_delay.is_zero() {
            tree.push_value("dpd_delay", secs(self.dpd_delay));
        }
        if let Some(ppk) = &self.ppk {
            tree.push_value("ppk_id", ppk.id.to_string());
            if ppk.need == PpkNeed::Required {
                tree.push_value("ppk_required", "yes");
            }
        }
        let local = self.local_identity.as_ref().map_or_else(|| "%any".to_owned(), ToString::to_string);
        tree.push_section("local-1", round(&self.local_authentication, local));
        tree.push_section("remote-1", round(&self.remote_authentication, self.remote_identity.to_string()));
        match &self.xauth {
            Xauth::None => {}
            Xauth::Ours(user) => tree.push_section("local-2", user_round().with_value("xauth_id", user)),
            Xauth::Theirs => tree.push_section("remote-2", user_round()),
        }
        for (n, further) in self.further_own.iter().enumerate() {
            let identity = further.identity.as_ref().or(self.local_identity.as_ref());
            let identity = identity.map_or_else(|| "%any".to_owned(), ToString::to_string);
            tree.push_section(format!("local-{}", n + 2), round(&further.authentication, identity));
        }
        for (n, further) in self.further_peer.iter().enumerate() {
            let identity = further.identity.to_string();
            tree.push_section(format!("remote-{}", n + 2), round(&further.authentication, identity));
        }
        let children = self
            .children
            .iter()
            .fold(Tree::new(), |children, child| children.with_section(&child.name, child.to_list_conn()));
        tree.push_section("children", children);
        Tree::new().with_section(&self.name, tree)
    }
}

impl Child {
    fn to_list_conn(&self) -> Tree {
        Tree::new()
            .with_value("mode", self.treatment.keyword())
            .with_value("rekey_time", secs(self.lifetimes.rekey))
            .with_value("rekey_bytes", self.bytes.rekey.to_string())
            .with_value("rekey_packets", self.packets.rekey.to_string())
            .with_value("dpd_action", self.dpd_action.keyword())
            .with_value("close_action", self.close_action.keyword())
            .with_list("local-ts", self.local_selectors.iter().map(ToString::to_string))
            .with_list("remote-ts", self.remote_selectors.iter().map(ToString::to_string))
    }
}

fn version(versions: Versions) -> &'static str {
    match versions {
        Versions::V1 => "IKEv1",
        Versions::V2 => "IKEv2",
        Versions::Either => "IKEv1/2",
    }
}

fn round(authentication: &Authentication, identity: String) -> Tree {
    let class = match authentication {
        Authentication::PreSharedKey => "pre-shared key",
        Authentication::Signature(_) => "public key",
        Authentication::Null => "NULL",
        Authentication::User => "XAuth",
        Authentication::Encryption(_) => "public key encryption",
    };
    Tree::new().with_value("class", class).with_value("id", identity)
}

/// A user gives a name and a password after phase 1 of IKEv1.
fn user_round() -> Tree {
    Tree::new().with_value("class", "XAuth")
}

fn secs(duration: Duration) -> String {
    duration.as_secs().to_string()
}
