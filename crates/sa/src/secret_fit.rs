//! Which pre-shared key two ends share: the one rule for whoever checks a configuration and whoever authenticates.

use crate::{Identity, IdentityPattern};

/// Tells how well a secret with these owners fits two ends; `None` is not at all, and the greatest wins.
///
/// No owners mean anybody. A secret that names a peer is for that peer only: if it served others as well, that peer
/// could pass for them. So what counts is who else than `local` it names.
pub fn secret_fit(owners: &[IdentityPattern], local: &Identity, remote: &Identity) -> Option<u32> {
    let is_local = |owner: &&IdentityPattern| matches!(owner, IdentityPattern::Exact(own) if own == local);
    let names_local = owners.iter().any(|owner| is_local(&owner));
    let others = || owners.iter().filter(|owner| !is_local(owner));
    let remote_fit = match others().next() {
        None => Some(0),
        Some(_) => others().filter(|owner| owner.matches(remote)).map(|owner| 1 + owner.specificity()).max(),
    };
    remote_fit.map(|fit| fit * 2 + u32::from(names_local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(owners: &[&str], local: &str, remote: &str) -> Option<u32> {
        let identity = |text| Identity::parse(text).expect("the test's own text");
        let owners: Vec<_> =
            owners.iter().map(|owner| IdentityPattern::parse(owner).expect("the test's own text")).collect();
        secret_fit(&owners, &identity(local), &identity(remote))
    }

    #[test]
    fn a_secret_that_names_a_peer_is_for_that_peer_only() {
        assert_eq!(fit(&["west", "east"], "west", "north"), None);
        assert_eq!(fit(&["east"], "west", "north"), None);
        assert!(fit(&["west"], "west", "north").is_some());
        assert!(fit(&[], "west", "north").is_some());
        assert!(fit(&["west", "%any"], "west", "north").is_some());
    }

    #[test]
    fn the_secret_that_names_both_ends_wins() {
        let best_first: [&[&str]; 6] =
            [&["west", "east"], &["east"], &["west", "%any"], &["%any"], &["west"], &[]];
        let fits = best_first.map(|owners| fit(owners, "west", "east"));
        assert!(fits.is_sorted_by(|better, worse| better > worse) && fits[5].is_some(), "{fits:?}");
    }

    #[test]
    fn two_ends_of_the_same_name_share_the_secret_of_that_name() {
        assert!(fit(&["site"], "site", "site") > fit(&[], "site", "site"));
    }
}
