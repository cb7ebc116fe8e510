//! Connections as management answers show them.

use std::time::Duration;

use sa::IdentityPattern;
use vici::Tree;

use crate::connection::{Authentication, OwnCredentials, PeerCredentials, Revocation, Versions, Xauth};
use crate::{Child, Connection, Material, PpkNeed};

impl Connection {
    /// Gives the message of a `list-conn` event for this connection: its name, and in it what is configured. Whom a certificate
    /// is for, `subject` says.
    pub fn to_list_conn(&self, subject: impl Fn(&Material) -> String) -> Tree {
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
        let local = self.local_identity.as_ref().map(ToString::to_string);
        let ours = |authentication, identity, own: &OwnCredentials| {
            with_certificates(round(authentication, identity), &[], &own.certificates, &[], &subject)
        };
        let theirs = |authentication, identity, peer: &PeerCredentials| {
            let round = with_revocation(round(authentication, identity), peer.revocation);
            with_certificates(round, &peer.policies, &peer.certificates, &peer.authorities, &subject)
        };
        tree.push_section("local-1", ours(&self.local_authentication, local, &self.own));
        let remote = named(&self.remote_identity);
        tree.push_section("remote-1", theirs(&self.remote_authentication, remote, &self.peer));
        match &self.xauth {
            Xauth::None => {}
            Xauth::Ours(user) => {
                let round = user_round().with_value("xauth_id", user);
                tree.push_section("local-2", with_certificates(round, &[], &[], &[], &subject));
            }
            Xauth::Theirs => {
                tree.push_section("remote-2", with_certificates(user_round(), &[], &[], &[], &subject));
            }
        }
        for (n, further) in self.further_own.iter().enumerate() {
            let identity = further.identity.as_ref().or(self.local_identity.as_ref());
            let identity = identity.map(ToString::to_string);
            let round = ours(&further.authentication, identity, &further.own);
            tree.push_section(format!("local-{}", n + 2), round);
        }
        for (n, further) in self.further_peer.iter().enumerate() {
            let identity = named(&further.identity);
            let round = theirs(&further.authentication, identity, &further.peer);
            tree.push_section(format!("remote-{}", n + 2), round);
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

/// Gives whom a peer must be, where that is not just anybody.
fn named(pattern: &IdentityPattern) -> Option<String> {
    Some(pattern).filter(|pattern| **pattern != IdentityPattern::Any).map(ToString::to_string)
}

fn round(authentication: &Authentication, identity: Option<String>) -> Tree {
    let class = match authentication {
        Authentication::PreSharedKey => "pre-shared key",
        Authentication::Signature(_) => "public key",
        Authentication::Null => "NULL",
        Authentication::User => "XAuth",
        Authentication::Encryption(_) => "public key encryption",
    };
    let named = identity.map_or_else(Tree::new, |identity| Tree::new().with_value("id", identity));
    named.with_value("class", class)
}

/// charon names the worst answer that it accepts, where it does not accept every one.
fn with_revocation(round: Tree, revocation: Revocation) -> Tree {
    match revocation {
        Revocation::Strict => round.with_value("revocation", "GOOD"),
        Revocation::IfUri => round.with_value("revocation", "SKIPPED"),
        Revocation::Relaxed => round,
    }
}

/// Lists what a round demands; charon lists it also where that is nothing.
fn with_certificates(
    round: Tree,
    policies: &[String],
    certificates: &[Material],
    authorities: &[Material],
    subject: &impl Fn(&Material) -> String,
) -> Tree {
    round
        .with_list("groups", Vec::<String>::new())
        .with_list("cert_policy", policies)
        .with_list("certs", certificates.iter().map(subject))
        .with_list("cacerts", authorities.iter().map(subject))
}

/// A user gives a name and a password after phase 1 of IKEv1.
fn user_round() -> Tree {
    Tree::new().with_value("class", "XAuth")
}

fn secs(duration: Duration) -> String {
    duration.as_secs().to_string()
}
