//! Netlink messages of nf_tables (`linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`).
//!
//! ```text
//!   nlmsghdr    length 32, subsystem and kind 16, flags 16, sequence 32, port 32
//!   nfgenmsg    family 8, version 8, resource 16
//!   nlattr ...  length 16, kind 16, value, padding to 4 octets
//! ```
//!
//! Headers are in the host's order, the values of attributes in network order.

/// Netlink attributes in a row.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }

    pub(super) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(super) fn put_text(&mut self, kind: u16, value: &str) {
        self.put(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// Puts an attribute that consists of attributes.
    pub(super) fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Attributes)) {
        let mut inner = Attributes::default();
        write(&mut inner);
        self.put_nested(kind, &inner);
    }

    /// The same, of attributes that are ready.
    pub(super) fn put_nested(&mut self, kind: u16, inner: &Attributes) {
        self.put(kind | libc::NLA_F_NESTED as u16, &inner.0);
    }
}

/// A message to the kernel.
#[derive(Debug)]
pub(super) struct Request {
    /// One of `NFT_MSG_…`.
    pub(super) kind: i32,
    /// Of `NLM_F_…`.
    pub(super) flags: i32,
    pub(super) attributes: Attributes,
}

impl Request {
    /// Writes the message behind what `octets` holds.
    pub(super) fn write(&self, octets: &mut Vec<u8>, more_flags: i32, sequence: u32) {
        let length = MESSAGE_HEADER + FAMILY_HEADER + self.attributes.0.len();
        let kind = libc::NFNL_SUBSYS_NFTABLES << 8 | self.kind;
        write_header(octets, length, kind, self.flags | more_flags, sequence);
        octets.extend_from_slice(&[libc::NFPROTO_INET as u8, libc::NFNETLINK_V0 as u8, 0, 0]);
        octets.extend_from_slice(&self.attributes.0);
    }
}

/// Writes the message that begins, or ends, a transaction.
pub(super) fn write_batch_mark(octets: &mut Vec<u8>, kind: i32, sequence: u32) {
    write_header(octets, MESSAGE_HEADER + FAMILY_HEADER, kind, 0, sequence);
    // The resource is the subsystem that the batch is for.
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    octets.extend_from_slice(&[libc::NFPROTO_UNSPEC as u8, libc::NFNETLINK_V0 as u8, high, low]);
}

fn write_header(octets: &mut Vec<u8>, length: usize, kind: i32, flags: i32, sequence: u32) {
    octets.extend_from_slice(&(length as u32).to_ne_bytes());
    octets.extend_from_slice(&(kind as u16).to_ne_bytes());
    octets.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    octets.extend_from_slice(&sequence.to_ne_bytes());
    octets.extend_from_slice(&[0; 4]);
}

/// A message from the kernel.
pub(super) struct Message<'a> {
    pub(super) sequence: u32,
    /// Who asked for what it is about.
    pub(super) port: u32,
    kind: i32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Gives the code of an error message, 0 for an acknowledgement, nothing for other messages.
    pub(super) fn error(&self) -> Option<i32> {
        let code = self.body.first_chunk().map(|code| i32::from_ne_bytes(*code));
        code.filter(|_| self.kind == libc::NLMSG_ERROR)
    }

    pub(super) fn is_end_of_dump(&self) -> bool {
        self.kind == libc::NLMSG_DONE
    }

    /// Gives what follows the family.
    pub(super) fn attributes(&self) -> &'a [u8] {
        self.body.get(FAMILY_HEADER..).unwrap_or_default()
    }
}

/// Gives the messages of a datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.first_chunk::<MESSAGE_HEADER>()?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, sequence, port) = (word(0) as usize, word(8), word(12));
        let kind = i32::from(u16::from_ne_bytes([header[4], header[5]]));
        let body = datagram.get(MESSAGE_HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(Message { sequence, port, kind, body })
    })
}

/// Gives the attributes that lie in a row, each with its kind.
pub(super) fn each(mut attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [length_0, length_1, kind_0, kind_1] = *attributes.first_chunk::<ATTRIBUTE_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([length_0, length_1]));
        let kind = u16::from_ne_bytes([kind_0, kind_1]) & libc::NLA_TYPE_MASK as u16;
        let value = attributes.get(ATTRIBUTE_HEADER..length)?;
        attributes = attributes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Gives the value of the first attribute of a kind.
pub(super) fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    each(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

const MESSAGE_HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGNMENT: usize = 4;

// `enum nft_table_attributes` and so on; libc does not have them.
pub(super) const TABLE_NAME: u16 = 1;
pub(super) const TABLE_FLAGS: u16 = 2;
pub(super) const TABLE_OWNER: u16 = 7;

pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;

pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;

pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_OCTETS: u16 = 5;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_USER_DATA: u16 = 13;

pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;
pub(super) const ELEMENTS_LIST: u16 = 3;
pub(super) const ELEMENT_KEY: u16 = 1;

pub(super) const LIST_ITEM: u16 = 1;
pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;

pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;
