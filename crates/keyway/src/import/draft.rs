//! A configuration in the making: what every dialect is turned into.

use vici::Tree;

/// Keys with their values, in the order in which they are to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries(pub(super) Vec<(String, String)>);

impl Entries {
    /// Sets a key; what it was set to before counts no more.
    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Adds to the list that a key is set to.
    pub(super) fn append(&mut self, key: &str, value: &str) {
        match self.get(key).filter(|before| !before.is_empty()).map(|before| format!("{before}, {value}")) {
            Some(list) => self.set(key, list),
            None => self.set(key, value),
        }
    }

    /// Gives what a key is set to.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    fn into_tree(self) -> Tree {
        self.0.into_iter().fold(Tree::new(), |tree, (key, value)| tree.with_value(key, value))
    }
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) name: String,
    /// Where it came from, for the report.
    pub(super) place: String,
    pub(super) entries: Entries,
    /// One for each round of ours.
    pub(super) local: Vec<Entries>,
    /// One for each round of the peer's.
    pub(super) remote: Vec<Entries>,
    pub(super) children: Vec<(String, Entries)>,
}

/// A secret: the kind as `secrets` has it, and its keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretDraft {
    pub(super) kind: &'static str,
    pub(super) entries: Entries,
}

/// All of it.
#[derive(Clone, Default)]
pub(super) struct Draft {
    pub(super) connections: Vec<Connection>,
    pub(super) secrets: Vec<SecretDraft>,
    pub(super) pools: Vec<(String, Entries)>,
    pub(super) authorities: Vec<(String, Entries)>,
}

impl Draft {
    /// Gives a name that no connection has yet: two of one name would be one section.
    pub(super) fn connection_name(&self, text: &str) -> String {
        unique_name(text, |name| self.connections.iter().any(|known| known.name == name))
    }

    /// Gives a name that no pool has yet.
    pub(super) fn pool_name(&self, text: &str) -> String {
        unique_name(text, |name| self.pools.iter().any(|(known, _)| known == name))
    }

    /// Gives a name that no authority has yet.
    pub(super) fn authority_name(&self, text: &str) -> String {
        unique_name(text, |name| self.authorities.iter().any(|(known, _)| known == name))
    }

    /// Gives it as swanctl.conf has it.
    pub(super) fn into_tree(self) -> Tree {
        let connections = self.connections.into_iter().fold(Tree::new(), |tree, connection| {
            let name = connection.name.clone();
            tree.with_section(name, connection.into_tree())
        });
        let mut tree = Tree::new().with_section("connections", connections);
        let sections = |entries: Vec<(String, Entries)>| {
            entries
                .into_iter()
                .fold(Tree::new(), |tree, (name, entries)| tree.with_section(name, entries.into_tree()))
        };
        if !self.secrets.is_empty() {
            let named = self.secrets.into_iter().enumerate();
            let secrets = named.map(|(n, secret)| (format!("{}-{}", secret.kind, n + 1), secret.entries));
            tree.push_section("secrets", sections(secrets.collect()));
        }
        if !self.pools.is_empty() {
            tree.push_section("pools", sections(self.pools));
        }
        if !self.authorities.is_empty() {
            tree.push_section("authorities", sections(self.authorities));
        }
        tree
    }
}

impl Connection {
    pub(super) fn into_tree(self) -> Tree {
        let mut tree = self.entries.into_tree();
        for (end, rounds) in [("local", self.local), ("remote", self.remote)] {
            let alone = rounds.len() == 1;
            for (n, round) in rounds.into_iter().enumerate() {
                let name = if alone { end.to_owned() } else { format!("{end}-{}", n + 1) };
                tree.push_section(name, round.into_tree());
            }
        }
        let children = self
            .children
            .into_iter()
            .fold(Tree::new(), |tree, (name, entries)| tree.with_section(name, entries.into_tree()));
        tree.push_section("children", children);
        tree
    }
}

fn unique_name(text: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let name = section_name(text);
    let numbered = (2_u64..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(name)
}

/// Gives a name that a section may have.
pub(super) fn section_name(text: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = text.chars().map(kept).collect();
    if name.is_empty() { "imported".to_owned() } else { name }
}
