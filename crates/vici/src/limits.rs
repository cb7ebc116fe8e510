//! Every limit of the codecs, so that no input costs more than it should.

/// Bytes of one packet without its length header; the protocol description's own limit.
pub const MAX_PACKET_LEN: usize = 512 * 1024;

/// Sections inside each other, in a message or a text.
pub const MAX_DEPTH: usize = 32;

/// Bytes of a name: its length is one octet on the wire.
pub const MAX_NAME_LEN: usize = 255;

/// Bytes of a value: its length is two octets on the wire.
pub const MAX_VALUE_LEN: usize = 65_535;

/// Files that include each other.
pub const MAX_INCLUDE_DEPTH: usize = 16;

/// Files that one configuration may consist of.
pub const MAX_INCLUDED_FILES: usize = 1_000;

/// Entries of one configuration after inheritance: references can multiply what a few lines say.
pub const MAX_RESOLVED_ENTRIES: usize = 200_000;

/// Faults reported for one text; the rest would be consequences.
pub const MAX_SYNTAX_FAULTS: usize = 50;

/// Events that a client keeps while it waits for a response.
pub const MAX_WAITING_EVENTS: usize = 16_384;
