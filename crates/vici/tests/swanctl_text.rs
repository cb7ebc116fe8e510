//! swanctl.conf text: what it means, and what is said about text that means nothing.

use std::collections::BTreeMap;

use vici::text::{self, Included, Includes, NoIncludes, Settings, SyntaxFault};
use vici::{Sources, Tree};

fn settings(text: &str) -> Settings {
    let mut sources = Sources::default();
    let file = sources.add("test.conf", text);
    text::parse(&mut sources, file, &mut NoIncludes).expect("a valid text")
}

fn tree(text: &str) -> Tree {
    settings(text).tree
}

/// The faults of a text as `line:column+width message`.
fn faults(text: &str) -> Vec<String> {
    let mut sources = Sources::default();
    let file = sources.add("test.conf", text);
    let faults = text::parse(&mut sources, file, &mut NoIncludes).expect_err("a faulty text");
    faults.iter().map(|fault| place_and_message(&sources, fault)).collect()
}

fn place_and_message(sources: &Sources, fault: &SyntaxFault) -> String {
    let at = sources.locate(fault.span).expect("faults have a place");
    format!("{}:{}:{}+{} {}", at.file, at.line, at.column, at.width, fault.message)
}

/// Each value as strongSwan 5.9.8's own `swanctl` sends it to a daemon for the same text.
#[test]
fn values_mean_what_they_mean_to_swanctl() {
    for (written, meant) in [
        ("2 # a comment", "2"),
        ("a\\", "a\\"),
        (r#""p\"s\tk\\x\q""#, "p\"s\tk\\xq"),
        (r#"foo "bar baz"  qux"#, "foo bar baz qux"),
        (r#""foo""bar" "baz""#, "foo bar baz"),
        ("\"multi\n   line\"", "multi\n   line"),
        ("\"multi \\\n   line\"", "multi    line"),
        ("x{y", "x{y"),
        (r#"/bin/x a=b "c#d" y#z"#, "/bin/x a=b c#d y"),
        (r#""""#, ""),
        ("a = b", "a = b"),
        ("a:b", "a:b"),
        ("a;b\r", "a;b"),
        (r#""a\n\r\x41\061b""#, "a\n\rx41061b"),
    ] {
        assert_eq!(tree(&format!("key = {written}\n")).text("key"), Some(meant), "{written}");
    }
}

#[test]
fn sections_may_be_written_on_one_line_or_several() {
    let expected = Tree::new()
        .with_section("local", Tree::new().with_value("auth", "psk"))
        .with_section("remote", Tree::new().with_section("x", Tree::new()))
        .with_value("z", "2");
    assert_eq!(tree("local { auth = psk } remote { x { } }\nz=2"), expected);
    assert_eq!(tree("local\n{\n auth =   psk  # c\n}\n# c\nremote{x{}}\n z\n = 2\n"), expected);
}

#[test]
fn later_values_replace_and_later_sections_extend() {
    let settings = settings("x = 1\ns { a = 1 }\nx = 2\ns { b = 2\na = 3 }\n");
    let section = Tree::new().with_value("a", "3").with_value("b", "2");
    assert_eq!(settings.tree, Tree::new().with_value("x", "2").with_section("s", section));
    let keys: Vec<_> = settings.overridden.iter().map(|overridden| overridden.key.as_str()).collect();
    assert_eq!(keys, ["x", "s.a"]);
}

#[test]
fn an_empty_assignment_is_no_value() {
    assert_eq!(tree("x =\ny = 3\nz = # c\n"), Tree::new().with_value("y", "3"));
}

/// The same text and outcome as strongSwan's `swanctl` with two levels of inheritance.
#[test]
fn inherited_entries_follow_and_yield_to_own_ones() {
    let text = "
        base {
            version = 2
            rekey_time = 1h
            local { auth = psk
                    id = b }
            children { c1 { mode = tunnel } }
        }
        connections {
            a : base {
                x = 1
                rekey_time =
                local { id = a }
                children { c2 { mode = pass }
                           c1 { y = 1 } }
            }
            b : connections.a, base { }
        }";
    let c1 = Tree::new().with_value("y", "1").with_value("mode", "tunnel");
    let children =
        Tree::new().with_section("c2", Tree::new().with_value("mode", "pass")).with_section("c1", c1);
    let connection = Tree::new()
        .with_value("x", "1")
        .with_section("local", Tree::new().with_value("id", "a").with_value("auth", "psk"))
        .with_section("children", children)
        .with_value("version", "2");
    let settings = settings(text);
    let connections = settings.tree.section("connections").expect("it is there");
    assert_eq!(text::print(connections.section("a").expect("a")), text::print(&connection));
    assert_eq!(text::print(connections.section("b").expect("b")), text::print(&connection));
    assert_eq!(settings.referenced.into_iter().collect::<Vec<_>>(), ["base", "connections.a"]);
}

/// Files by name; a pattern ending in `*` finds all that start so.
struct Shelf(BTreeMap<&'static str, &'static str>);

impl Includes for Shelf {
    fn find(&mut self, pattern: &str, from: &str) -> Result<Vec<Included>, String> {
        let found: Vec<_> = match pattern.strip_suffix('*') {
            Some(start) => self.0.iter().filter(|(name, _)| name.starts_with(start)).collect(),
            None => vec![
                self.0.get_key_value(pattern).ok_or(format!("{from} wants {pattern}, which is missing"))?,
            ],
        };
        Ok(found
            .iter()
            .map(|(name, text)| Included { name: name.to_string(), text: text.to_string() })
            .collect())
    }
}

#[test]
fn included_settings_belong_to_the_section_around() {
    let mut shelf =
        Shelf(BTreeMap::from([("d/1", "x = 1\ns { y = 2 }"), ("d/2", "x = 3\ninclude e"), ("e", "w = 4")]));
    let mut sources = Sources::default();
    let file =
        sources.add("main", "s {\n x = 0\n include d/* # all\n z = 5\n}\ninclude nothing*\ninclude = 1\n");
    let settings = text::parse(&mut sources, file, &mut shelf).expect("valid texts");
    let inner = Tree::new()
        .with_value("x", "3")
        .with_section("s", Tree::new().with_value("y", "2"))
        .with_value("w", "4")
        .with_value("z", "5");
    assert_eq!(
        text::print(&settings.tree),
        text::print(&Tree::new().with_section("s", inner).with_value("include", "1"))
    );
    // Replacing what another file says is what includes are for.
    assert_eq!(settings.overridden, []);
}

#[test]
fn a_missing_file_and_an_endless_include_are_faults() {
    let mut shelf = Shelf(BTreeMap::from([("self", "include self\n")]));
    let mut sources = Sources::default();
    let file = sources.add("main", "include gone\n include \"self\"\n");
    let faults = text::parse(&mut sources, file, &mut shelf).expect_err("faulty");
    let faults: Vec<_> = faults.iter().map(|fault| place_and_message(&sources, fault)).collect();
    assert_eq!(
        faults,
        [
            "main:1:9+4 main wants gone, which is missing",
            "self:1:9+4 files include each other more than 16 deep"
        ]
    );
}

#[test]
fn every_fault_is_reported_with_its_place() {
    assert_eq!(
        faults(
            "a { b = 1\n}\n}\nfoo bar\n\"q\" = 1\nx.y = 2\ngood = 1\nz : { }\nw : ok = 1\nc {\n d = \"open\n"
        ),
        [
            "test.conf:3:1+1 this `}` closes no section",
            "test.conf:4:1+3 this name is followed by neither `=` nor `{`",
            "test.conf:5:1+1 a name must stand here",
            "test.conf:6:1+1 this name is followed by neither `=` nor `{`",
            "test.conf:8:5+1 the name of a section must stand here",
            "test.conf:9:8+1 a `{` must follow the references",
            "test.conf:11:6+1 this quotation mark is not closed",
            "test.conf:10:1+1 the section `c` is not closed",
        ]
    );
}

#[test]
fn inheritance_that_leads_nowhere_is_a_fault() {
    assert_eq!(faults("a : b { }\n"), ["test.conf:1:5+1 there is no section `b` to inherit from"]);
    assert_eq!(
        faults("a : b { }\nb : a { }\n"),
        [
            "test.conf:1:5+1 the section `b` inherits from itself",
            "test.conf:2:5+1 the section `a` inherits from itself"
        ]
    );
    assert_eq!(faults("s {\n a : s { }\n}"), ["test.conf:2:6+1 the section `s` inherits from itself"]);
}

#[test]
fn inheritance_cannot_be_used_to_fill_the_memory() {
    // Each section holds the next one twice: 2^30 entries from thirty lines.
    let doubling: String =
        (0..30).map(|n| format!("a{n} {{ x : a{m} {{ }}\n y : a{m} {{ }} }}\n", m = n + 1)).collect();
    let reported = faults(&format!("{doubling} a30 {{ }}\n"));
    assert!(
        reported.iter().any(|fault| fault.contains("inheritance makes more than 200000 entries")),
        "{reported:?}"
    );
    let chain: String = (0..100).map(|n| format!("a{n} : a{m} {{ }}\n", m = n + 1)).collect();
    let reported = faults(&format!("{chain} a100 {{ }}\n"));
    assert!(
        reported.iter().any(|fault| fault.contains("inheritance goes more than 32 sections deep")),
        "{reported:?}"
    );
}

#[test]
fn nesting_has_an_end() {
    assert_eq!(faults(&"s { ".repeat(40))[0], "test.conf:1:129+1 sections are nested more than 32 deep");
}

#[test]
fn parts_of_a_value_have_places_of_their_own() {
    let text = "a = one, two\nb = \"one, two\"\nc = one, \"two\"\nd = \"one,\\ttwo\"\n";
    let mut sources = Sources::default();
    let file = sources.add("test.conf", text);
    let tree = text::parse(&mut sources, file, &mut NoIncludes).expect("valid").tree;
    let place = |name| {
        let value = tree.value(name).expect("it is set");
        let at = sources.locate(value.part(5, 8)).expect("it has a place");
        (at.line, at.column, at.width)
    };
    assert_eq!(place("a"), (1, 10, 3));
    assert_eq!(place("b"), (2, 11, 3));
    // Where the value is not what stands in the file, the whole of it is the place.
    assert_eq!(place("c"), (3, 5, 10));
    assert_eq!(place("d"), (4, 5, 11));
}
