//! One Rust file as tokens, with the parts known that only tests compile.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A Rust file.
pub(crate) struct Source {
    /// Relative to the workspace's root.
    pub(crate) path: PathBuf,
    /// As it is on disk.
    pub(crate) text: String,
    /// Its tokens without the parts behind `#[cfg(test)]` and `#[test]`, flat: a group is its opening, its content and its
    /// end.
    pub(crate) tokens: Vec<Token>,
    /// The lines of the parts behind `#[cfg(test)]`.
    pub(crate) test_lines: Vec<RangeInclusive<usize>>,
    /// Whether tests only compile it.
    pub(crate) is_test: bool,
    /// The modules that it declares behind `#[cfg(test)]`, in files of their own.
    test_modules: Vec<String>,
}

/// A token, with the line that it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What a token is, as far as the rules ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(String),
    Mark(char),
    Literal,
    Open { delimiter: Delimiter, last_line: usize },
    Close(Delimiter),
}

impl Source {
    /// Tokenizes a file.
    ///
    /// # Errors
    ///
    /// When it is no Rust.
    pub(crate) fn parse(path: PathBuf, text: String) -> Result<Source, String> {
        let stream = TokenStream::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_test = ["tests", "benches", "examples"]
            .iter()
            .any(|name| path.components().any(|part| part.as_os_str() == *name))
            || path.file_name().is_some_and(|name| name == "tests.rs");
        let mut source = Source {
            path,
            text,
            tokens: Vec::new(),
            test_lines: Vec::new(),
            is_test,
            test_modules: Vec::new(),
        };
        source.flatten(stream);
        Ok(source)
    }

    /// The number of lines that are no tests.
    pub(crate) fn line_count(&self) -> usize {
        let tests: usize = self.test_lines.iter().map(|lines| lines.end() - lines.start() + 1).sum();
        self.text.lines().count() - tests
    }

    fn flatten(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            if is_test_attribute(&trees[at..]) {
                at = self.skip_item(&trees, at);
                continue;
            }
            let tree = &trees[at];
            let line = tree.span().start().line;
            match tree {
                TokenTree::Group(group) => self.flatten_group(group),
                TokenTree::Ident(word) => {
                    self.tokens.push(Token { line, kind: Kind::Word(word.to_string()) })
                }
                TokenTree::Punct(mark) => self.tokens.push(Token { line, kind: Kind::Mark(mark.as_char()) }),
                TokenTree::Literal(_) => self.tokens.push(Token { line, kind: Kind::Literal }),
            }
            at += 1;
        }
    }

    fn flatten_group(&mut self, group: &Group) {
        let (delimiter, last_line) = (group.delimiter(), group.span_close().start().line);
        let kind = Kind::Open { delimiter, last_line };
        self.tokens.push(Token { line: group.span_open().start().line, kind });
        self.flatten(group.stream());
        self.tokens.push(Token { line: last_line, kind: Kind::Close(delimiter) });
    }

    /// Passes over an item with its attributes, and remembers where it was.
    fn skip_item(&mut self, trees: &[TokenTree], start: usize) -> usize {
        let first_line = trees[start].span().start().line;
        let is_end = |tree: &TokenTree| match tree {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(mark) => mark.as_char() == ';',
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        let end = trees[start..].iter().position(is_end).map_or(trees.len() - 1, |offset| start + offset);
        if let [.., TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Punct(_)] =
            &trees[start..=end]
            && keyword == "mod"
        {
            self.test_modules.push(name.to_string());
        }
        self.test_lines.push(first_line..=trees[end].span().end().line);
        end + 1
    }
}

/// Marks the files of modules that another file declares behind `#[cfg(test)]`.
pub(crate) fn mark_test_modules(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in &*sources {
        let directory = module_directory(&source.path);
        for name in &source.test_modules {
            roots.push(directory.join(name));
            roots.push(directory.join(name).with_extension("rs"));
        }
    }
    for source in sources {
        source.is_test |= roots.iter().any(|root| source.path.starts_with(root));
    }
}

/// Where the modules that a file declares have their files.
fn module_directory(path: &Path) -> PathBuf {
    let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| path.ends_with(name));
    if is_root { path.parent().unwrap_or(path).to_path_buf() } else { path.with_extension("") }
}

/// Whether the tokens start with `#[test]` or `#[cfg(…test…)]`.
fn is_test_attribute(trees: &[TokenTree]) -> bool {
    let [TokenTree::Punct(mark), TokenTree::Group(group), ..] = trees else { return false };
    if mark.as_char() != '#' || group.delimiter() != Delimiter::Bracket {
        return false;
    }
    let attribute = group.stream().to_string().replace(' ', "");
    let words: Vec<_> = attribute.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    attribute == "test" || (words[0] == "cfg" && words.contains(&"test") && !words.contains(&"not"))
}

#[cfg(test)]
pub(crate) fn sample(path: &str, text: &str) -> Source {
    Source::parse(path.into(), text.to_owned()).expect("the sample is Rust")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_left_out() {
        let source = sample(
            "crates/a/src/lib.rs",
            "fn kept() {}\n#[cfg(test)]\nmod tests {\n    fn dropped() {}\n}\nfn kept_too() {}\n#[cfg(not(test))]\nfn kept_last() {}\n",
        );
        let words: Vec<_> = source
            .tokens
            .iter()
            .filter_map(|token| match &token.kind {
                Kind::Word(word) if word.starts_with("kept") || word == "dropped" => Some(word.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(words, ["kept", "kept_too", "kept_last"]);
        assert_eq!(source.test_lines, [2..=5]);
        assert_eq!(source.line_count(), 4);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_a_test() {
        let mut sources = [
            sample("crates/a/src/aead.rs", "#[cfg(test)]\nmod vectors;\nmod seal;"),
            sample("crates/a/src/aead/vectors.rs", ""),
            sample("crates/a/src/aead/seal.rs", ""),
            sample("crates/a/src/aead/tests.rs", ""),
        ];
        mark_test_modules(&mut sources);
        assert_eq!(sources.map(|source| source.is_test), [false, true, false, true]);
    }
}
