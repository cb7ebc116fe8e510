//! The rules, and what they look at.

pub(crate) mod cores;
pub(crate) mod layers;
pub(crate) mod licences;
pub(crate) mod size;
pub(crate) mod specs;
pub(crate) mod unsafety;
pub(crate) mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::source::{self, Source};

/// Everything that a rule may look at.
pub(crate) struct Tree {
    /// Every Rust file.
    pub(crate) sources: Vec<Source>,
    /// Every other text.
    pub(crate) texts: Vec<Text>,
    /// What `cargo metadata` says of all packages, ours and others'.
    pub(crate) packages: Vec<Value>,
}

/// A text file that is not Rust.
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) content: String,
}

impl Tree {
    /// Reads the tree.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, Rust cannot be tokenized, or `cargo metadata` fails.
    pub(crate) fn read(root: &Path) -> Result<Tree, String> {
        let mut tree = Tree { sources: Vec::new(), texts: Vec::new(), packages: packages(root)? };
        tree.walk(root, root)?;
        source::mark_test_modules(&mut tree.sources);
        Ok(tree)
    }

    /// The sources of one crate, its tests, benches and examples left out.
    pub(crate) fn crate_sources<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Source> {
        let directory = Path::new("crates").join(name).join("src");
        self.sources.iter().filter(move |source| source.path.starts_with(&directory) && !source.is_test)
    }

    fn walk(&mut self, root: &Path, directory: &Path) -> Result<(), String> {
        /// What is generated, or binary.
        const LEFT_OUT: &[&str] = &["target", ".git", "demo-output", "artifacts", "corpus", "coverage"];
        let failed = |error| format!("{}: {error}", directory.display());
        let mut entries: Vec<_> = fs::read_dir(directory).map_err(failed)?.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                    self.walk(root, &path)?;
                }
            } else if let Ok(content) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
                if path.extension().is_some_and(|extension| extension == "rs") {
                    self.sources.push(Source::parse(path, content)?);
                } else {
                    self.texts.push(Text { path, content });
                }
            }
        }
        Ok(())
    }
}

fn packages(root: &Path) -> Result<Vec<Value>, String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    // `packages` lists what any platform needs; `resolve` knows which of them this one does.
    let used: Vec<_> = array(&metadata["resolve"]["nodes"]).iter().map(|node| node["id"].clone()).collect();
    Ok(array(&metadata["packages"]).iter().filter(|package| used.contains(&package["id"])).cloned().collect())
}

/// The elements of a JSON array; none of anything else.
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The file, or the package.
    pub(crate) place: String,
    /// The line, from 1; 0 when it is the whole file's.
    pub(crate) line: usize,
    /// What is there.
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn at(path: &Path, line: usize, what: impl Into<String>) -> Fault {
        Fault { place: path.display().to_string(), line, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.what),
            line => write!(f, "{}:{line}: {}", self.place, self.what),
        }
    }
}
