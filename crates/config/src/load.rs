//! The doors by which a configuration comes in: a file, a text, a management message.

use std::path::Path;

use sa::IdentityPattern;
use vici::text::{self, Includes, NoIncludes, Settings};
use vici::{Node, Sources, Span, Tree};

use crate::audit::audit_top;
use crate::charon::AggressiveSecrets;
use crate::check::check;
use crate::fault::{Fault, Faults, Place, Severity};
use crate::files::{self, Disk};
use crate::material::{Folders, In, Nowhere};
use crate::reader::Reader;
use crate::{Config, SecretKind, SharedSecret, read, toml};

/// A configuration as far as it could be read, and all that is wrong with it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What has no error.
    pub config: Config,
    /// Everything that is wrong, in the order of the text.
    pub faults: Vec<Fault>,
}

impl Loaded {
    /// Tells whether there is no error; warnings do not count.
    pub fn is_sound(&self) -> bool {
        self.faults.iter().all(|fault| fault.severity == Severity::Warning)
    }
}

/// The two ways to write a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// swanctl.conf.
    Swanctl,
    /// TOML.
    Toml,
}

impl Syntax {
    /// Tells the syntax of a file by its name, or else by its first line that says something: TOML starts with a
    /// table header or an assignment with quotation marks, swanctl.conf with a name.
    pub fn of(path: &Path, text: &str) -> Syntax {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => return Syntax::Toml,
            Some("conf") => return Syntax::Swanctl,
            _ => {}
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        if lines.next().is_some_and(|line| line.starts_with('[')) { Syntax::Toml } else { Syntax::Swanctl }
    }
}

/// Loads a configuration file and what it includes.
pub fn load_file(path: &Path) -> Loaded {
    load_file_with(path, AggressiveSecrets::AskEach)
}

/// The same where consent has perhaps been given for all connections.
pub fn load_file_with(path: &Path, consent: AggressiveSecrets) -> Loaded {
    match files::read(path) {
        Ok(text) => {
            let name = path.display().to_string();
            load(&name, &text, Syntax::of(path, &text), &mut Disk, &folders(path), consent)
        }
        Err(fault) => Loaded {
            config: Config::default(),
            faults: vec![Fault {
                severity: Severity::Error,
                place: Place::File(path.display().to_string()),
                key: String::new(),
                message: format!("the configuration cannot be read: {fault}"),
                help: String::new(),
            }],
        },
    }
}

/// Loads a configuration text, which can include no other. Faults call it `name`.
pub fn load_text(name: &str, text: &str, syntax: Syntax) -> Loaded {
    load(name, text, syntax, &mut NoIncludes, &Nowhere, AggressiveSecrets::AskEach)
}

/// Loads a configuration text whose files are in these folders.
#[cfg(test)]
pub(crate) fn load_text_in(folders: &dyn Folders, text: &str) -> Loaded {
    load("test", text, Syntax::Swanctl, &mut NoIncludes, folders, AggressiveSecrets::AskEach)
}

/// Gives the folders beside a configuration.
fn folders(path: &Path) -> In {
    In(path.parent().unwrap_or(Path::new("")).to_owned())
}

fn load(
    name: &str,
    text: &str,
    syntax: Syntax,
    includes: &mut dyn Includes,
    folders: &dyn Folders,
    consent: AggressiveSecrets,
) -> Loaded {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let settings = match syntax {
        Syntax::Swanctl => text::parse(&mut sources, file, includes),
        Syntax::Toml => toml::parse(&sources, file).map(|tree| Settings {
            tree,
            referenced: Default::default(),
            overridden: Vec::new(),
        }),
    };
    let faults = Faults::new(&sources);
    let config = match settings {
        Ok(settings) => load_settings(&settings, &sources, &faults, folders, consent),
        Err(found) => {
            for fault in found {
                faults.error(fault.span, &fault.section, fault.message, fault.help);
            }
            Config::default()
        }
    };
    Loaded { config, faults: faults.into_vec() }
}

fn load_settings(
    settings: &Settings,
    sources: &Sources,
    faults: &Faults<'_>,
    folders: &dyn Folders,
    consent: AggressiveSecrets,
) -> Config {
    for overridden in &settings.overridden {
        let line = sources.locate(overridden.later).map_or(0, |location| location.line);
        let message = format!("this has no effect: line {line} sets it again");
        faults.warning(overridden.earlier, &overridden.key, message, "");
    }
    audit_top(&settings.tree, &settings.referenced, faults);
    let config = read::config(&settings.tree, faults, folders, consent);
    if !faults.has_error_in("") {
        // What is left out would be missed by everything that refers to it.
        check(&config, faults);
    }
    config
}

/// Loads the message of a `load-conn` command: connections by name.
pub fn load_connections(message: &Tree) -> Loaded {
    load_connections_with(message, AggressiveSecrets::AskEach)
}

/// The same where consent has perhaps been given for all connections.
pub fn load_connections_with(message: &Tree, consent: AggressiveSecrets) -> Loaded {
    let sources = Sources::default();
    let faults = Faults::new(&sources);
    let path = "connections".to_owned();
    let root =
        Reader { tree: message, path, span: Span::NOWHERE, faults: &faults, folders: &Nowhere, consent };
    for entry in &message.entries {
        match entry.node {
            Node::Section(_) => {}
            Node::Value(_) | Node::List(_) => {
                faults.error(entry.span, &entry.name, "a connection must be a section", "");
            }
        }
    }
    let connections = root.sections("").iter().filter_map(read::audited_connection).collect();
    Loaded { config: Config { connections, ..Config::default() }, faults: faults.into_vec() }
}

/// Loads the message of a `load-pool` command: pools by name.
pub fn load_pools(message: &Tree) -> Loaded {
    let sources = Sources::default();
    let faults = Faults::new(&sources);
    let (path, consent) = ("pools".to_owned(), AggressiveSecrets::AskEach);
    let root =
        Reader { tree: message, path, span: Span::NOWHERE, faults: &faults, folders: &Nowhere, consent };
    for entry in message.entries.iter().filter(|entry| !matches!(entry.node, Node::Section(_))) {
        faults.error(entry.span, &entry.name, "a pool must be a section", "");
    }
    let pools = root.sections("").iter().filter_map(read::audited_pool).collect();
    Loaded { config: Config { pools, ..Config::default() }, faults: faults.into_vec() }
}

/// Loads the message of a `load-shared` command: `type`, `data`, `owners` and perhaps `id`.
///
/// # Errors
/// The secret is of a kind that is not used, is empty, or an owner is no identity.
pub fn load_shared(message: &Tree) -> Result<SharedSecret, Vec<Fault>> {
    let sources = Sources::default();
    let faults = Faults::new(&sources);
    let kind = message.text("type").unwrap_or_default();
    let kind = match kind.to_ascii_lowercase().as_str() {
        "xauth" => SecretKind::Password,
        "ppk" => SecretKind::PostQuantum,
        lower => {
            if lower != "ike" {
                let message = format!("secrets of type `{kind}` are not used yet");
                faults.error(Span::NOWHERE, "type", message, "only ike, xauth and ppk are");
            }
            SecretKind::PreSharedKey
        }
    };
    let secret = message.value("data").map(|value| value.bytes.clone()).unwrap_or_default();
    if secret.is_empty() {
        faults.error(Span::NOWHERE, "data", "the secret is empty", "");
    }
    let mut owners = Vec::new();
    for value in message.list("owners").unwrap_or_default() {
        match IdentityPattern::parse(&String::from_utf8_lossy(&value.bytes)) {
            Ok(owner) => owners.push(owner),
            Err(fault) => faults.error(Span::NOWHERE, "owners", fault.to_string(), ""),
        }
    }
    let name = message.text("id").unwrap_or_default().to_owned();
    match faults.into_vec() {
        faults if faults.is_empty() => {
            Ok(SharedSecret { name, kind, owners, secret: secret.into(), span: Span::NOWHERE })
        }
        faults => Err(faults),
    }
}
