//! The lists of keys that `config` is held against are those of strongSwan's own manual pages, as Debian installs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use interop::{Answer, Result};

/// Gives the keys that a page lists: each stands in bold at the start of its paragraph.
fn keys(page: &str) -> Result<BTreeSet<String>> {
    let roff = Answer::of(Command::new("zcat").arg(format!("/usr/share/man/man5/{page}.5.gz")))?.success()?;
    let bold = roff.lines().filter_map(|line| line.strip_prefix(".BR ").or_else(|| line.strip_prefix(".B ")));
    let names = bold.filter_map(|line| line.split(' ').next()).map(|name| name.replace("\\-", "-"));
    Ok(names.filter(|name| name.contains('.') && name.is_ascii()).collect())
}

fn listed(name: &str) -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests").join(name);
    Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}

#[test]
fn swanctl_conf() -> Result<()> {
    let is_key = |name: &String| {
        ["connections.", "secrets.", "pools.", "authorities."].iter().any(|top| name.starts_with(top))
    };
    let page: BTreeSet<String> = keys("swanctl.conf")?.into_iter().filter(is_key).collect();
    assert!(page.len() > 100, "the page lists keys");
    assert_eq!(page, listed("swanctl.keys")?);
    Ok(())
}

/// Plugins have keys of their own, which are all told of in the same words.
#[test]
fn strongswan_conf() -> Result<()> {
    let is_key = |name: &String| name.starts_with("charon.") && !name.starts_with("charon.plugins.");
    let page: BTreeSet<String> = keys("strongswan.conf")?.into_iter().filter(is_key).collect();
    assert!(page.len() > 100, "the page lists keys");
    assert_eq!(page, listed("strongswan.keys")?);
    Ok(())
}
