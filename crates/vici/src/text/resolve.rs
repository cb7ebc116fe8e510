//! Inheritance: what a section refers to becomes part of it.

use std::collections::BTreeSet;

use super::SyntaxFault;
use super::parse::{Reference, Written, WrittenEntry, WrittenNode};
use crate::limits::{MAX_DEPTH, MAX_RESOLVED_ENTRIES, MAX_SYNTAX_FAULTS};
use crate::{Entry, Node, Tree};

/// Follows all references, and gives the tree and the names that were referred to.
pub(super) fn resolve(root: &Written) -> Result<(Tree, BTreeSet<String>), Vec<SyntaxFault>> {
    let mut resolver = Resolver {
        root,
        following: Vec::new(),
        depth: 0,
        referenced: BTreeSet::new(),
        entries_left: MAX_RESOLVED_ENTRIES,
        faults: Vec::new(),
    };
    let whole = resolver.section(root);
    if resolver.faults.is_empty() {
        Ok((into_tree(whole), resolver.referenced))
    } else {
        Err(resolver.faults)
    }
}

struct Resolver<'a> {
    root: &'a Written,
    /// The references that are being followed, outermost first.
    following: Vec<&'a str>,
    /// Sections around the one that is being resolved.
    depth: usize,
    referenced: BTreeSet<String>,
    entries_left: usize,
    faults: Vec<SyntaxFault>,
}

impl<'a> Resolver<'a> {
    fn section(&mut self, written: &'a Written) -> Written {
        let mut resolved = Written::default();
        for entry in &written.entries {
            if self.entries_left == 0 {
                return resolved;
            }
            self.entries_left -= 1;
            let node = match &entry.node {
                WrittenNode::Value(value) => WrittenNode::Value(value.clone()),
                WrittenNode::Cleared => WrittenNode::Cleared,
                WrittenNode::Section(section) => {
                    self.depth += 1;
                    let section = self.section(section);
                    self.depth -= 1;
                    WrittenNode::Section(section)
                }
            };
            resolved.put(WrittenEntry { name: entry.name.clone(), span: entry.span, node });
        }
        for reference in &written.references {
            if let Some(parent) = self.follow(reference) {
                resolved.inherit(parent);
            }
        }
        resolved
    }

    fn follow(&mut self, reference: &'a Reference) -> Option<Written> {
        let found = reference.name.split('.').try_fold(self.root, |section, name| section.find(name));
        let Some(target) = found else {
            self.fault(reference, format!("there is no section `{}` to inherit from", reference.name));
            return None;
        };
        if self.following.contains(&reference.name.as_str()) {
            self.fault(reference, format!("the section `{}` inherits from itself", reference.name));
            return None;
        }
        if self.following.len() == MAX_DEPTH || self.depth > MAX_DEPTH {
            self.fault(reference, format!("inheritance goes more than {MAX_DEPTH} sections deep"));
            return None;
        }
        if self.entries_left == 0 {
            self.fault(reference, format!("inheritance makes more than {MAX_RESOLVED_ENTRIES} entries"));
            return None;
        }
        self.entries_left -= 1;
        self.referenced.insert(reference.name.clone());
        self.following.push(&reference.name);
        let parent = self.section(target);
        self.following.pop();
        Some(parent)
    }

    /// A reference that several sections inherit is still one fault.
    fn fault(&mut self, reference: &Reference, message: String) {
        let is_known = self.faults.iter().any(|fault| fault.span == reference.span);
        if !is_known && self.faults.len() < MAX_SYNTAX_FAULTS {
            let (section, help) = (String::new(), String::new());
            self.faults.push(SyntaxFault { span: reference.span, section, message, help });
        }
    }
}

fn into_tree(written: Written) -> Tree {
    let entry = |entry: WrittenEntry| {
        let node = match entry.node {
            WrittenNode::Value(value) => Node::Value(value),
            WrittenNode::Cleared => return None,
            WrittenNode::Section(section) => Node::Section(into_tree(section)),
        };
        Some(Entry { name: entry.name, span: entry.span, node })
    };
    Tree { entries: written.entries.into_iter().filter_map(entry).collect() }
}
