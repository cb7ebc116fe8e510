//! Where unsafe code may stand. That each block says why it is sound is clippy's `undocumented_unsafe_blocks`.

use std::path::Path;

use super::{Fault, Tree};
use crate::source::Kind;

/// The modules that talk to the kernel or to a C library; one for each crate that has any.
const MODULES: &[(&str, &str)] =
    &[("crypto", "crates/crypto/src/ffi"), ("dataplane", "crates/dataplane/src/sys")];

/// Finds unsafe code elsewhere.
pub(crate) fn places(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in tree.sources.iter().filter(|source| !is_allowed(&source.path)) {
        for token in source.tokens.iter().filter(|token| token.kind == Kind::Word("unsafe".to_owned())) {
            faults.push(Fault::at(&source.path, token.line, "unsafe"));
        }
    }
    faults
}

/// Finds crates that do not forbid it.
pub(crate) fn attributes(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in tree.sources.iter().filter(|source| is_root(&source.path)) {
        let name =
            source.path.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
        let has_module = MODULES.iter().any(|(crate_name, _)| name.as_deref() == Some(crate_name));
        let wanted = if has_module { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        if !source.text.lines().any(|line| line == wanted) {
            faults.push(Fault::at(&source.path, 0, format!("lacks {wanted}")));
        }
    }
    faults
}

fn is_allowed(path: &Path) -> bool {
    MODULES
        .iter()
        .any(|(_, module)| path.starts_with(module) || path == Path::new(module).with_extension("rs"))
}

/// Whether a file is the root of a library or a program.
fn is_root(path: &Path) -> bool {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        ["crates", _, "src", file] | ["xtask", "src", file] => ["lib.rs", "main.rs"].contains(file),
        ["crates", _, "src", "bin", _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    fn tree(path: &str, text: &str) -> Tree {
        Tree { sources: vec![sample(path, text)], texts: Vec::new(), packages: Vec::new() }
    }

    #[test]
    fn unsafe_code_is_found_outside_its_module() {
        let code = "fn f() { unsafe { g() } }";
        assert_eq!(places(&tree("crates/ike/src/lib.rs", code)).len(), 1);
        assert_eq!(places(&tree("crates/crypto/src/aead.rs", code)).len(), 1);
        assert_eq!(places(&tree("crates/crypto/src/ffi.rs", code)), []);
        assert_eq!(places(&tree("crates/dataplane/src/sys/tun.rs", code)), []);
    }

    #[test]
    fn a_crate_that_does_not_forbid_it_is_found() {
        assert_eq!(attributes(&tree("crates/ike/src/lib.rs", "//! Engine.\n")).len(), 1);
        assert_eq!(attributes(&tree("crates/interop/src/bin/demo.rs", "//! Demo.\n")).len(), 1);
        assert_eq!(attributes(&tree("crates/ike/src/lib.rs", "#![forbid(unsafe_code)]\n")), []);
        assert_eq!(attributes(&tree("crates/crypto/src/lib.rs", "#![deny(unsafe_code)]\n")), []);
        assert_eq!(attributes(&tree("crates/ike/src/v2/mod.rs", "")), []);
    }
}
