//! Debian's `swanctl` says of Keyway what it says of charon.
//!
//! ```text
//!     the same configuration, the same kind of peer, the same commands
//!     swanctl ── charon ══ charon        what it prints, plain, --raw and --pretty,
//!     swanctl ── keyway ══ charon        is the same but for numbers, SPIs and times
//! ```
//!
//! Keys and their order are held against each other exactly, and so are all words; what differs stands in [`known`], with
//! the reason.

mod known;
mod scenario;
mod shape;

use interop::Implementation::{Keyway, StrongSwan};
use interop::{Lab, Result, Wire};

use scenario::{FORMS, Printed, Scenario};

#[test]
fn swanctl_says_of_keyway_what_it_says_of_charon() -> Result<()> {
    let labs = [Lab::new(Wire::Plain)?, Lab::new(Wire::Plain)?];
    let credentials = scenario::credentials(&labs[0])?;
    let [charon, keyway] = labs;
    let charon = Scenario::start(charon, StrongSwan, &credentials)?;
    let keyway = Scenario::start(keyway, Keyway, &credentials)?;
    let said = |scenario: &Scenario| -> Result<Vec<Printed>> {
        let each = FORMS.iter().map(|form| scenario.play(form)).collect::<Result<Vec<_>>>()?;
        Ok(each.into_iter().flatten().collect())
    };
    let (by_charon, by_keyway) = std::thread::scope(|scope| {
        let by_charon = scope.spawn(|| said(&charon));
        let by_keyway = said(&keyway);
        (by_charon.join().expect("no panic"), by_keyway)
    });
    let (by_charon, by_keyway) = (by_charon?, by_keyway?);
    if let Some(directory) = std::env::var_os("KEYWAY_SHAPES") {
        // For whoever wants to see them side by side.
        for (name, printed) in [("charon", &by_charon), ("keyway", &by_keyway)] {
            let text: Vec<String> = printed.iter().map(ToString::to_string).collect();
            std::fs::write(std::path::Path::new(&directory).join(name), text.join("\n"))?;
        }
    }
    assert_eq!(by_charon.len(), by_keyway.len());
    let pairs = by_charon.iter().zip(&by_keyway);
    let faults: Vec<String> = pairs.flat_map(|(charon, keyway)| known::differences(charon, keyway)).collect();
    assert!(faults.is_empty(), "{} differences\n{}", faults.len(), faults.join("\n"));
    charon.pair.lab.dismantle();
    keyway.pair.lab.dismantle();
    Ok(())
}
