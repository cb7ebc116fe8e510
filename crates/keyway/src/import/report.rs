//! What became of each line.

use std::fmt;

/// What became of what somebody wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It means the same now.
    Translated,
    /// It is not taken over as it stood, because that would be unsafe.
    Changed,
    /// There is nothing that means the same.
    Missing,
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) fate: Fate,
    /// The file and the line; empty for what concerns all of it.
    pub(super) place: String,
    /// What stood there, without any secret.
    pub(super) said: String,
    /// What it is now, or what to do.
    pub(super) sentence: String,
}

/// What became of all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) notes: Vec<Note>,
}

impl Report {
    /// Notes what is the same now as it was.
    pub(super) fn translated(&mut self, place: &str, said: &str, now: impl Into<String>) {
        self.note(Fate::Translated, place, said, now);
    }

    /// Notes what is safer now.
    pub(super) fn changed(&mut self, place: &str, said: &str, sentence: impl Into<String>) {
        self.note(Fate::Changed, place, said, sentence);
    }

    /// Notes what is not there any more.
    pub(super) fn missing(&mut self, place: &str, said: &str, sentence: impl Into<String>) {
        self.note(Fate::Missing, place, said, sentence);
    }

    fn note(&mut self, fate: Fate, place: &str, said: &str, sentence: impl Into<String>) {
        let (place, said, sentence) = (place.to_owned(), said.to_owned(), sentence.into());
        let note = Note { fate, place, said, sentence };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (Fate::Translated, "Translated"),
            (Fate::Changed, "Changed for safety"),
            (Fate::Missing, "Has no equivalent"),
        ];
        for (fate, title) in parts {
            let notes: Vec<&Note> = self.notes.iter().filter(|note| note.fate == fate).collect();
            writeln!(f, "{title}: {}", notes.len())?;
            for Note { place, said, sentence, .. } in notes {
                let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
                let said = if said.is_empty() { String::new() } else { format!("{said}: ") };
                writeln!(f, "  {place}{said}{sentence}")?;
            }
        }
        Ok(())
    }
}
