//! Distinguished names (X.501, RFC 5280 §4.1.2.4): how certificates name their subjects and issuers.
//!
//! ```text
//!   Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }
//! ```
//!
//! In words a name is written from its root on, as strongSwan does: `C=CH, O=Example, CN=gw.example`. A backslash
//! takes the meaning from the character behind it; ` + ` joins attributes of one set; `1.2.3=…` is an attribute without
//! a word; `CN=#0c0161` gives a value in DER. A leading slash makes slashes the separators: `/C=CH/CN=gw.example`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use der::asn1::{AnyRef, BmpString, ObjectIdentifier, SetOfVec};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use thiserror::Error;

/// A distinguished name. Two are the same if their attributes are, without regard to case, superfluous spaces, and the
/// kind of string (RFC 5280 §7.1).
#[derive(Clone)]
pub struct DistinguishedName {
    /// As it came, or as we encode it.
    der: Vec<u8>,
    /// The sets of attributes, from the root on; those of one set in a fixed order.
    relative_names: Vec<Vec<Attribute>>,
}

/// Why octets or a text are no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// The octets are not a name's DER encoding.
    #[error("the octets are no distinguished name in DER")]
    Encoding,
    /// A part of the text is not `TYPE=value`.
    #[error("{0:?} is not TYPE=value")]
    Part(String),
    /// A type is neither a word that we know nor an object identifier.
    #[error(
        "{0:?} is no attribute of a distinguished name, such as CN, O, OU, C, ST, L, DC, UID, E or 2.5.4.3"
    )]
    Type(String),
    /// What follows `#` is no value in DER.
    #[error("{0:?} is no value in hexadecimal DER")]
    Value(String),
}

#[derive(Clone, PartialEq, Eq)]
struct Attribute {
    kind: ObjectIdentifier,
    value: Value,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    /// Any other type, as tag, length and content.
    Encoded(Vec<u8>),
}

impl DistinguishedName {
    /// Reads a name in DER, all of `octets`.
    ///
    /// # Errors
    /// The octets are no name.
    pub fn from_der(octets: &[u8]) -> Result<DistinguishedName, InvalidName> {
        let relative_names = read_name(octets).map_err(|_| InvalidName::Encoding)?;
        Ok(DistinguishedName { der: octets.to_vec(), relative_names })
    }

    /// Gives the name in DER, as it came.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// Reads a name in words.
    ///
    /// # Errors
    /// The text is no name.
    pub fn parse(text: &str) -> Result<DistinguishedName, InvalidName> {
        let (separator, text) = match text.strip_prefix('/') {
            Some(rest) => ('/', rest),
            None => (',', text),
        };
        let parts = split(text, separator);
        let sets: Vec<_> = parts.iter().map(|part| read_set(part)).collect::<Result<_, _>>()?;
        let encoded = sets.iter().map(|set| encode_set(set)).collect::<der::Result<Vec<_>>>();
        let der = encoded.and_then(|sets| wrap(Tag::Sequence, &sets.concat()));
        DistinguishedName::from_der(&der.map_err(|_| InvalidName::Encoding)?)
    }

    /// Tells whether the name is empty, as the subject of a certificate whose alternative names count may be.
    pub fn is_empty(&self) -> bool {
        self.relative_names.is_empty()
    }

    /// Tells whether `other` is this name, where a value `*` of this name stands for any value.
    pub fn covers(&self, other: &DistinguishedName) -> bool {
        let attributes_covered = |own: &Vec<Attribute>, other: &Vec<Attribute>| {
            own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.covers(other))
        };
        self.relative_names.len() == other.relative_names.len()
            && self.relative_names.iter().zip(&other.relative_names).all(|(a, b)| attributes_covered(a, b))
    }

    /// Tells whether any value is `*`, so that the name stands for many.
    pub fn has_wildcard(&self) -> bool {
        self.attributes().any(Attribute::is_wildcard)
    }

    /// Gives the number of attributes that are no wildcard.
    pub fn fixed_attributes(&self) -> usize {
        self.attributes().filter(|attribute| !attribute.is_wildcard()).count()
    }

    /// Tells whether this name begins with all of `base`, as the names below a directory subtree do (RFC 5280 §4.2.1.10).
    pub fn is_below(&self, base: &DistinguishedName) -> bool {
        let normal = self.normal();
        normal.starts_with(&base.normal())
    }

    /// Gives the values of the attribute `emailAddress` (PKCS #9), where old certificates keep e-mail addresses.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        self.texts_of(EMAIL_ADDRESS)
    }

    /// Gives the values of the attribute `CN`.
    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        self.texts_of(COMMON_NAME)
    }

    /// Gives octets that names which are the same have in common.
    pub(crate) fn normal_octets(&self) -> Vec<u8> {
        let parts = self.normal().into_iter().flat_map(|set| {
            let count = set.len() as u64;
            let attributes = set.into_iter().flat_map(|(kind, value)| {
                let kind = kind.as_bytes();
                let lengths = [(kind.len() as u64).to_be_bytes(), (value.len() as u64).to_be_bytes()];
                [lengths.as_flattened(), kind, &value].concat()
            });
            count.to_be_bytes().into_iter().chain(attributes).collect::<Vec<_>>()
        });
        parts.collect()
    }

    fn texts_of(&self, kind: ObjectIdentifier) -> impl Iterator<Item = &str> {
        self.attributes().filter(move |attribute| attribute.kind == kind).filter_map(|attribute| {
            match &attribute.value {
                Value::Text(text) => Some(text.as_str()),
                Value::Encoded(_) => None,
            }
        })
    }

    fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.relative_names.iter().flatten()
    }

    /// What names that are the same have in common.
    fn normal(&self) -> Vec<Vec<(ObjectIdentifier, Vec<u8>)>> {
        let normal_set = |set: &Vec<Attribute>| set.iter().map(Attribute::normal).collect();
        self.relative_names.iter().map(normal_set).collect()
    }
}

impl Attribute {
    fn is_wildcard(&self) -> bool {
        self.value == Value::Text("*".to_owned())
    }

    fn covers(&self, other: &Attribute) -> bool {
        if self.is_wildcard() { self.kind == other.kind } else { self.normal() == other.normal() }
    }

    fn normal(&self) -> (ObjectIdentifier, Vec<u8>) {
        let value = match &self.value {
            Value::Text(text) => {
                let words: Vec<_> = text.split_whitespace().collect();
                words.join(" ").to_lowercase().into_bytes()
            }
            Value::Encoded(octets) => octets.clone(),
        };
        (self.kind, value)
    }
}

fn read_name(octets: &[u8]) -> der::Result<Vec<Vec<Attribute>>> {
    let mut relative_names = Vec::new();
    for set in elements(octets, Tag::Sequence)? {
        let mut attributes = Vec::new();
        for attribute in elements(set, Tag::Set)? {
            let mut parts = SliceReader::new(AnyRef::from_der(attribute)?.value())?;
            attributes.push(Attribute {
                kind: ObjectIdentifier::decode(&mut parts)?,
                value: read_value(parts.tlv_bytes()?)?,
            });
            parts.finish()?;
        }
        attributes.sort_by_key(Attribute::normal);
        relative_names.push(attributes);
    }
    Ok(relative_names)
}

/// The encodings that a constructed one consists of.
fn elements(octets: &[u8], tag: Tag) -> der::Result<Vec<&[u8]>> {
    let outer = AnyRef::from_der(octets)?;
    outer.tag().assert_eq(tag)?;
    let mut reader = SliceReader::new(outer.value())?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes()?);
    }
    Ok(elements)
}

fn read_value(octets: &[u8]) -> der::Result<Value> {
    let value = AnyRef::from_der(octets)?;
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(value.value()).ok().map(str::to_owned)
        }
        // T.61 was always used for Latin-1.
        Tag::TeletexString => Some(value.value().iter().map(|octet| char::from(*octet)).collect()),
        Tag::BmpString => BmpString::from_der(octets).ok().map(|text| text.to_string()),
        _ => None,
    };
    Ok(text.map_or_else(|| Value::Encoded(octets.to_vec()), Value::Text))
}

/// Splits at unescaped separators. An escaped character keeps its backslash.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == separator && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// Reads `TYPE=value`, or several joined by a plus sign.
fn read_set(text: &str) -> Result<Vec<(ObjectIdentifier, Vec<u8>)>, InvalidName> {
    let mut attributes: Vec<String> = Vec::new();
    for part in split(text, '+') {
        match attributes.last_mut() {
            // A plus sign that no attribute follows belongs to the value.
            Some(last) if read_type(&part).is_err() => {
                last.push('+');
                last.push_str(&part);
            }
            Some(_) | None => attributes.push(part),
        }
    }
    attributes.iter().map(|attribute| read_attribute(attribute)).collect()
}

fn read_attribute(text: &str) -> Result<(ObjectIdentifier, Vec<u8>), InvalidName> {
    let kind = read_type(text)?;
    let (_, value) = text.split_once('=').ok_or_else(|| InvalidName::Part(text.trim().to_owned()))?;
    let value = value.trim();
    if let Some(digits) = value.strip_prefix('#') {
        let octets = crate::identity::hexadecimal(digits).filter(|octets| AnyRef::from_der(octets).is_ok());
        return Ok((kind, octets.ok_or_else(|| InvalidName::Value(value.to_owned()))?));
    }
    let text = unescape(value);
    let value = wrap(string_tag(kind, &text), text.as_bytes()).map_err(|_| InvalidName::Encoding)?;
    Ok((kind, value))
}

fn read_type(text: &str) -> Result<ObjectIdentifier, InvalidName> {
    let (name, _) = text.split_once('=').ok_or_else(|| InvalidName::Part(text.trim().to_owned()))?;
    let name = name.trim();
    let known = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    match known {
        Some(kind) => Ok(kind),
        None => ObjectIdentifier::new(name).map_err(|_| InvalidName::Type(name.to_owned())),
    }
}

fn unescape(text: &str) -> String {
    let mut unescaped = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let literal = if character == '\\' { characters.next() } else { Some(character) };
        unescaped.extend(literal);
    }
    unescaped
}

/// RFC 5280 §4.1.2.4 and appendix A.1: which string an attribute takes.
fn string_tag(kind: ObjectIdentifier, text: &str) -> Tag {
    let is_printable = |octet: u8| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet);
    match kind {
        EMAIL_ADDRESS | DOMAIN_COMPONENT if text.is_ascii() => Tag::Ia5String,
        _ if text.bytes().all(is_printable) => Tag::PrintableString,
        _ => Tag::Utf8String,
    }
}

fn encode_set(attributes: &[(ObjectIdentifier, Vec<u8>)]) -> der::Result<Vec<u8>> {
    let mut set = SetOfVec::new();
    for (kind, value) in attributes {
        let attribute = wrap(Tag::Sequence, &[kind.to_der()?, value.clone()].concat())?;
        set.insert(der::Any::from_der(&attribute)?)?;
    }
    set.to_der()
}

fn wrap(tag: Tag, content: &[u8]) -> der::Result<Vec<u8>> {
    AnyRef::new(tag, content)?.to_der()
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, set) in self.relative_names.iter().enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            for (at, attribute) in set.iter().enumerate() {
                f.write_str(if at > 0 { " + " } else { "" })?;
                write!(f, "{attribute}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WORDS.iter().find(|(_, kind)| *kind == self.kind) {
            Some((word, _)) => write!(f, "{word}=")?,
            None => write!(f, "{}=", self.kind)?,
        }
        match &self.value {
            Value::Text(text) => write_escaped(f, text),
            Value::Encoded(octets) => {
                f.write_str("#")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// Writes a value so that it reads back, and so that no control character reaches a log.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    // White space around a value does not belong to it: the first character after that decides how it is read.
    let mut is_begun = false;
    for character in text.chars() {
        match character {
            ',' | '+' | '\\' => write!(f, "\\{character}")?,
            '#' if !is_begun => f.write_str("\\#")?,
            character if character.is_control() => f.write_str("\u{fffd}")?,
            character => write!(f, "{character}")?,
        }
        is_begun |= !character.is_whitespace();
    }
    Ok(())
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistinguishedName({self})")
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &DistinguishedName) -> bool {
        self.normal() == other.normal()
    }
}

impl Eq for DistinguishedName {}

impl PartialOrd for DistinguishedName {
    fn partial_cmp(&self, other: &DistinguishedName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DistinguishedName {
    fn cmp(&self, other: &DistinguishedName) -> Ordering {
        self.normal().cmp(&other.normal())
    }
}

impl Hash for DistinguishedName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normal().hash(state);
    }
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");
const DOMAIN_COMPONENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25");

/// The words for attributes; the first for each is the one that we print.
const WORDS: &[(&str, ObjectIdentifier)] = &[
    ("CN", COMMON_NAME),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("E", EMAIL_ADDRESS),
    ("emailAddress", EMAIL_ADDRESS),
    ("DC", DOMAIN_COMPONENT),
    ("UID", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1")),
    ("SN", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("serialNumber", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("S", ObjectIdentifier::new_unwrap("2.5.4.4")),
    ("surname", ObjectIdentifier::new_unwrap("2.5.4.4")),
    ("G", ObjectIdentifier::new_unwrap("2.5.4.42")),
    ("GN", ObjectIdentifier::new_unwrap("2.5.4.42")),
    ("givenName", ObjectIdentifier::new_unwrap("2.5.4.42")),
    ("I", ObjectIdentifier::new_unwrap("2.5.4.43")),
    ("initials", ObjectIdentifier::new_unwrap("2.5.4.43")),
    ("T", ObjectIdentifier::new_unwrap("2.5.4.12")),
    ("title", ObjectIdentifier::new_unwrap("2.5.4.12")),
    ("N", ObjectIdentifier::new_unwrap("2.5.4.41")),
    ("name", ObjectIdentifier::new_unwrap("2.5.4.41")),
    ("D", ObjectIdentifier::new_unwrap("2.5.4.13")),
    ("description", ObjectIdentifier::new_unwrap("2.5.4.13")),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("postalCode", ObjectIdentifier::new_unwrap("2.5.4.17")),
    ("dnQualifier", ObjectIdentifier::new_unwrap("2.5.4.46")),
    ("pseudonym", ObjectIdentifier::new_unwrap("2.5.4.65")),
    ("generationQualifier", ObjectIdentifier::new_unwrap("2.5.4.44")),
    ("unstructuredName", ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.2")),
    ("unstructuredAddress", ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.8")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).expect("the test's own text")
    }

    #[test]
    fn names_read_and_print_from_the_root_on() {
        let same = [
            ("C=CH, O=Example, CN=gw.example", "C=CH, O=Example, CN=gw.example"),
            ("/C=CH/O=Example/CN=gw.example", "C=CH, O=Example, CN=gw.example"),
            ("c=CH,o=Example , cn=gw.example", "C=CH, O=Example, CN=gw.example"),
            (r"O=Example\, Inc., CN=a\+b", r"O=Example\, Inc., CN=a\+b"),
            ("CN=a+b", r"CN=a\+b"),
            ("OU=x + CN=y", "CN=y + OU=x"),
            ("2.5.4.3=gw, 1.2.3.4=x", "CN=gw, 1.2.3.4=x"),
            ("CN=#0c0161", "CN=a"),
            ("CN=#020105", "CN=#020105"),
            ("CN=Zoë", "CN=Zoë"),
            ("emailAddress=a@gw.example, DC=example", "E=a@gw.example, DC=example"),
            ("", ""),
        ];
        for (text, printed) in same {
            assert_eq!(name(text).to_string(), printed);
            assert_eq!(name(printed), name(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_says_why() {
        let faults = [
            ("CN", r#""CN" is not TYPE=value"#),
            ("CN=a, b", r#""b" is not TYPE=value"#),
            (
                "XYZ=a",
                r#""XYZ" is no attribute of a distinguished name, such as CN, O, OU, C, ST, L, DC, UID, E or 2.5.4.3"#,
            ),
            ("CN=#0c02", r##""#0c02" is no value in hexadecimal DER"##),
        ];
        for (text, fault) in faults {
            assert_eq!(DistinguishedName::parse(text).unwrap_err().to_string(), fault);
        }
    }

    /// The encoding that OpenSSL 3.0 gives for `/C=CH/O=Example/CN=gw.example` with `-nameopt default`.
    #[test]
    fn names_encode_as_others_encode_them() {
        let openssl = "3034310b30090603550406130243483110300e060355040a0c074578616d706c65\
                       3113301106035504030c0a67772e6578616d706c65";
        let octets = crate::identity::hexadecimal(openssl).expect("digits");
        let theirs = DistinguishedName::from_der(&octets).expect("a name");
        assert_eq!(theirs, name("C=CH, O=Example, CN=gw.example"));
        assert_eq!(theirs.to_der(), octets);
    }

    #[test]
    fn case_spaces_and_string_types_make_no_difference() {
        assert_eq!(name("CN=Branch  Office "), name("CN=branch office"));
        // PrintableString, UTF8String, TeletexString and BMPString.
        let encodings = ["CN=#130161", "CN=#0c0141", "CN=#140161", "CN=#1e020061"];
        for text in encodings {
            assert_eq!(name(text), name("CN=a"), "{text}");
        }
        assert_ne!(name("CN=a, O=b"), name("O=b, CN=a"));
        assert_ne!(name("CN=#020105"), name("CN=#020106"));
    }

    #[test]
    fn a_wildcard_stands_for_one_value() {
        let cases = [
            ("C=CH, CN=*", "C=CH, CN=gw", true),
            ("C=CH, CN=*", "C=DE, CN=gw", false),
            ("C=CH, CN=*", "C=CH, O=gw", false),
            ("C=CH, CN=*", "C=CH, OU=x, CN=gw", false),
            ("C=*, CN=gw*", "C=CH, CN=gw", false),
            ("C=CH, CN=gw", "C=CH, CN=*", false),
        ];
        for (own, other, expected) in cases {
            assert_eq!(name(own).covers(&name(other)), expected, "{own} and {other}");
        }
        assert!(name("C=*, CN=gw").has_wildcard() && !name("CN=a*").has_wildcard());
    }

    #[test]
    fn a_subtree_is_a_beginning() {
        assert!(name("C=CH, O=Example, CN=gw").is_below(&name("C=CH, O=example")));
        assert!(name("C=CH").is_below(&name("")));
        assert!(!name("C=CH, O=Example2").is_below(&name("C=CH, O=Example")));
        assert!(!name("C=CH").is_below(&name("C=CH, O=Example")));
    }

    #[test]
    fn a_value_that_begins_with_a_number_sign_after_white_space_reads_back() {
        let read = name("CN=\\ \\#z, O=\\\u{2003}\\#41");
        assert_eq!(name(&read.to_string()), read);
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets: Vec<u8>) {
            let _ = DistinguishedName::from_der(&octets);
        }

        #[test]
        fn what_prints_reads_back(values in proptest::collection::vec("[^\\p{Cc}]{1,12}", 1..4)) {
            let escaped = |value: &String| value.chars().flat_map(|c| ['\\', c]).collect::<String>();
            let parts: Vec<_> = values.iter().map(|value| format!("CN={}", escaped(value))).collect();
            let read = name(&parts.join(","));
            prop_assert_eq!(name(&read.to_string()), read);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = DistinguishedName::parse(&text);
        }
    }
}
