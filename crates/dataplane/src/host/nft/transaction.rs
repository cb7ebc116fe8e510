//! Changes to one table that come into force together.

use super::message::{
    Attributes, CHAIN_HOOK, CHAIN_NAME, CHAIN_TABLE, CHAIN_TYPE, DATA_VALUE, ELEMENT_KEY, ELEMENTS_LIST,
    ELEMENTS_SET, ELEMENTS_TABLE, HOOK_NUMBER, HOOK_PRIORITY, LIST_ITEM, RULE_CHAIN, RULE_EXPRESSIONS,
    RULE_TABLE, Request, SET_ID, SET_KEY_OCTETS, SET_KEY_TYPE, SET_NAME, SET_TABLE, SET_USER_DATA,
    TABLE_FLAGS, TABLE_NAME,
};
use super::rule::{DEVICE_NAME, REGISTER, Rule};

/// Changes to one table, to be [committed](super::Nft::commit).
pub(in crate::host) struct Transaction {
    table: String,
    requests: Vec<Request>,
    /// The kernel wants each new set of a transaction to have a number of its own.
    sets: u32,
}

/// Who may change a new table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Ownership {
    /// The connection that made it, until it closes; then the table stays and is anybody's (Linux 6.9). A firewall script
    /// that flushes all rules leaves it alone.
    Owned,
    /// Anybody with the privilege.
    Free,
}

/// Where on a packet's way a chain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Hook {
    /// It has just arrived, and nobody knows yet where it goes.
    Prerouting = libc::NF_INET_PRE_ROUTING as isize,
    /// It is for this host.
    Input = libc::NF_INET_LOCAL_IN as isize,
    /// It leaves, forwarded or made here.
    Postrouting = libc::NF_INET_POST_ROUTING as isize,
}

/// A part of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Field {
    Ipv4,
    Ipv6,
    /// A protocol above IP.
    Protocol,
    IcmpType,
    Icmpv6Type,
    /// A port, or ICMP's type and code.
    Port,
    /// The name of a device, filled up with zeros to [`DEVICE_NAME`] octets.
    Device,
}

impl Transaction {
    /// Begins one that changes `table`, a table of both IP families.
    pub(in crate::host) fn on(table: &str) -> Transaction {
        Transaction { table: table.to_owned(), requests: Vec::new(), sets: 0 }
    }

    /// Makes the table.
    pub(in crate::host) fn create_table(&mut self, ownership: Ownership) {
        let flags = match ownership {
            Ownership::Owned => TABLE_F_OWNER | TABLE_F_PERSIST,
            Ownership::Free => 0,
        };
        self.request(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, |attributes, table| {
            attributes.put_text(TABLE_NAME, table);
            attributes.put_u32(TABLE_FLAGS, flags);
        });
    }

    /// Removes the table and all that is in it.
    pub(in crate::host) fn delete_table(&mut self) {
        self.request(libc::NFT_MSG_DELTABLE, 0, |attributes, table| attributes.put_text(TABLE_NAME, table));
    }

    /// Makes a chain that other chains lead to.
    pub(in crate::host) fn add_chain(&mut self, name: &str) {
        self.request(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, |attributes, table| {
            attributes.put_text(CHAIN_TABLE, table);
            attributes.put_text(CHAIN_NAME, name);
        });
    }

    /// Makes a chain that packets meet at `hook`, after the chains of lower priority.
    pub(in crate::host) fn add_base_chain(&mut self, name: &str, hook: Hook, priority: i32) {
        self.request(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, |attributes, table| {
            attributes.put_text(CHAIN_TABLE, table);
            attributes.put_text(CHAIN_NAME, name);
            attributes.nest(CHAIN_HOOK, |attributes| {
                attributes.put_u32(HOOK_NUMBER, hook as u32);
                attributes.put_u32(HOOK_PRIORITY, priority as u32);
            });
            attributes.put_text(CHAIN_TYPE, "filter");
        });
    }

    /// Takes all rules out of a chain.
    pub(in crate::host) fn flush_chain(&mut self, name: &str) {
        self.request(libc::NFT_MSG_DELRULE, 0, |attributes, table| {
            attributes.put_text(RULE_TABLE, table);
            attributes.put_text(RULE_CHAIN, name);
        });
    }

    /// Adds a rule at the end of a chain.
    pub(in crate::host) fn add_rule(&mut self, chain: &str, rule: Rule) {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        self.request(libc::NFT_MSG_NEWRULE, flags, |attributes, table| {
            attributes.put_text(RULE_TABLE, table);
            attributes.put_text(RULE_CHAIN, chain);
            attributes.put_nested(RULE_EXPRESSIONS, &rule.into_expressions());
        });
    }

    /// Makes a set whose elements consist of `fields`.
    pub(in crate::host) fn add_set(&mut self, name: &str, fields: &[Field]) {
        self.sets += 1;
        let id = self.sets;
        let octets = match fields {
            [alone] => alone.octets(),
            several => several.iter().map(|field| field.octets().next_multiple_of(REGISTER)).sum(),
        };
        let kind = fields.iter().fold(0, |kind, field| kind << FIELD_TYPE_BITS | field.type_number());
        self.request(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, |attributes, table| {
            attributes.put_text(SET_TABLE, table);
            attributes.put_text(SET_NAME, name);
            attributes.put_u32(SET_KEY_TYPE, kind);
            attributes.put_u32(SET_KEY_OCTETS, octets as u32);
            attributes.put_u32(SET_ID, id);
            if fields == [Field::Device] {
                attributes.put(SET_USER_DATA, &HOST_ORDER);
            }
        });
    }

    /// Removes a set that no rule names any more.
    pub(in crate::host) fn delete_set(&mut self, name: &str) {
        self.request(libc::NFT_MSG_DELSET, 0, |attributes, table| {
            attributes.put_text(SET_TABLE, table);
            attributes.put_text(SET_NAME, name);
        });
    }

    /// Adds elements to a set: the octets of their fields, which are filled up to whole registers of four octets if there
    /// are several.
    pub(in crate::host) fn add_elements(&mut self, set: &str, elements: impl IntoIterator<Item = Vec<u8>>) {
        self.elements(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, set, elements);
    }

    /// Removes elements from a set.
    pub(in crate::host) fn remove_elements(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = Vec<u8>>,
    ) {
        self.elements(libc::NFT_MSG_DELSETELEM, 0, set, elements);
    }

    /// Gives the messages.
    pub(super) fn into_requests(self) -> Vec<Request> {
        self.requests
    }

    fn elements(&mut self, kind: i32, flags: i32, set: &str, elements: impl IntoIterator<Item = Vec<u8>>) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let some = elements.by_ref().take(ELEMENTS_A_MESSAGE);
            self.request(kind, flags, |attributes, table| {
                attributes.put_text(ELEMENTS_TABLE, table);
                attributes.put_text(ELEMENTS_SET, set);
                attributes.nest(ELEMENTS_LIST, |list| {
                    for element in some {
                        list.nest(LIST_ITEM, |item| {
                            item.nest(ELEMENT_KEY, |key| key.put(DATA_VALUE, &element));
                        });
                    }
                });
            });
        }
    }

    fn request(&mut self, kind: i32, flags: i32, write: impl FnOnce(&mut Attributes, &str)) {
        let mut attributes = Attributes::default();
        write(&mut attributes, &self.table);
        self.requests.push(Request { kind, flags, attributes });
    }
}

impl Field {
    fn octets(self) -> usize {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 => 16,
            Field::Protocol | Field::IcmpType | Field::Icmpv6Type => 1,
            Field::Port => 2,
            Field::Device => DEVICE_NAME,
        }
    }

    /// The kernel does not look at these numbers: by them `nft` knows how to print an element.
    fn type_number(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::IcmpType => 14,
            Field::Icmpv6Type => 29,
            Field::Device => 41,
        }
    }
}

/// An attribute has less than 64 KiB; an element has at most 64 octets with its headers.
const ELEMENTS_A_MESSAGE: usize = 512;

const FIELD_TYPE_BITS: u32 = 6;

/// A note from `nft` to itself, which it needs to print names: kind 0 (the key's byte order), four octets, 1 (the host's).
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

// `enum nft_table_flags`; libc does not have them.
const TABLE_F_OWNER: u32 = 1 << 1;
const TABLE_F_PERSIST: u32 = 1 << 2;
