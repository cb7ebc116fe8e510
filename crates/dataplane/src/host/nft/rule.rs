//! One rule: a row of instructions for the kernel's virtual machine (`struct nft_expr`).

use super::message::{
    Attributes, DATA_VALUE, DATA_VERDICT, EXPRESSION_DATA, EXPRESSION_NAME, LIST_ITEM, RULE_EXPRESSIONS,
    VERDICT_CHAIN, VERDICT_CODE, each, find,
};

/// A rule under construction. What is loaded comes to lie behind what was loaded before, until a comparison or a look-up
/// takes it all.
#[derive(Debug, Default)]
pub(in crate::host) struct Rule {
    expressions: Attributes,
    /// Registers that are in use.
    loaded: u32,
    /// The register and the octets of what was loaded last.
    last: (u32, usize),
}

/// A part of a packet's octets; a packet that is too short for it does not match the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) struct Part {
    /// The header that it is counted from.
    pub(in crate::host) header: Header,
    /// Octets before it.
    pub(in crate::host) offset: u32,
    /// Octets of it.
    pub(in crate::host) octets: usize,
}

/// A header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Header {
    /// IP.
    Network = libc::NFT_PAYLOAD_NETWORK_HEADER as isize,
    /// What follows IP and its extension headers; a fragment other than the first has none.
    Transport = libc::NFT_PAYLOAD_TRANSPORT_HEADER as isize,
}

/// Something that is known of a packet besides its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Meta {
    /// The index of the device that it came by, four octets in the host's order.
    InputIndex = libc::NFT_META_IIF as isize,
    /// The index of the device that it leaves by.
    OutputIndex = libc::NFT_META_OIF as isize,
    /// The name of the device that it came by, [`DEVICE_NAME`] octets.
    InputDevice = libc::NFT_META_IIFNAME as isize,
    /// The name of the device that it leaves by.
    OutputDevice = libc::NFT_META_OIFNAME as isize,
    /// Its firewall mark, four octets in the host's order.
    Mark = libc::NFT_META_MARK as isize,
    /// Its family, one octet: `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    Family = libc::NFT_META_NFPROTO as isize,
    /// What it carries, after extension headers; one octet.
    Protocol = libc::NFT_META_L4PROTO as isize,
}

/// What becomes of a packet that matches a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Verdict<'a> {
    /// It passes this chain's hook.
    Accept,
    /// It is gone.
    Drop,
    /// It goes through another chain, and not back to this one.
    Goto(&'a str),
}

/// Octets of a device's name.
pub(in crate::host) const DEVICE_NAME: usize = libc::IFNAMSIZ;

/// Octets of a register.
pub(super) const REGISTER: usize = 4;

impl Rule {
    /// Begins a rule that matches every packet.
    pub(in crate::host) fn new() -> Rule {
        Rule::default()
    }

    /// Loads a part of the packet.
    pub(in crate::host) fn load(self, part: Part) -> Rule {
        self.load_by("payload", part.octets, PAYLOAD_TO, |attributes| {
            attributes.put_u32(PAYLOAD_HEADER, part.header as u32);
            attributes.put_u32(PAYLOAD_OFFSET, part.offset);
            attributes.put_u32(PAYLOAD_OCTETS, part.octets as u32);
        })
    }

    /// Loads something else that is known of the packet.
    pub(in crate::host) fn load_meta(self, meta: Meta) -> Rule {
        let octets = match meta {
            Meta::InputDevice | Meta::OutputDevice => DEVICE_NAME,
            Meta::InputIndex | Meta::OutputIndex | Meta::Mark => 4,
            Meta::Family | Meta::Protocol => 1,
        };
        self.load_by("meta", octets, META_TO, |attributes| attributes.put_u32(META_KEY, meta as u32))
    }

    /// Loads offset and flags of the IPv6 fragment header, two octets; a packet without one does not match.
    pub(in crate::host) fn load_ipv6_fragment(self) -> Rule {
        self.load_fragment_header(2, 2)
    }

    /// Loads what the IPv6 fragment header says that the whole packet carries; a packet without one does not match.
    pub(in crate::host) fn load_ipv6_fragmented_protocol(self) -> Rule {
        self.load_fragment_header(0, 1)
    }

    fn load_fragment_header(self, offset: u32, octets: usize) -> Rule {
        self.load_by("exthdr", octets, EXTENSION_TO, |attributes| {
            attributes.put(EXTENSION_TYPE, &[libc::IPPROTO_FRAGMENT as u8]);
            attributes.put_u32(EXTENSION_OFFSET, offset);
            attributes.put_u32(EXTENSION_OCTETS, octets as u32);
        })
    }

    /// Goes on only if the packet's destination is an address of this host.
    pub(in crate::host) fn for_this_host(self) -> Rule {
        let loaded = self.load_by("fib", 4, FIB_TO, |attributes| {
            attributes.put_u32(FIB_RESULT, FIB_ADDRESS_TYPE);
            attributes.put_u32(FIB_FLAGS, FIB_OF_DESTINATION);
        });
        loaded.equals(&u32::from(libc::RTN_LOCAL).to_ne_bytes())
    }

    /// Clears the bits of what was loaded last that `mask` lacks.
    pub(in crate::host) fn mask(mut self, mask: &[u8]) -> Rule {
        let (register, octets) = self.last;
        self.expression("bitwise", |attributes| {
            attributes.put_u32(BITWISE_FROM, register);
            attributes.put_u32(BITWISE_TO, register);
            attributes.put_u32(BITWISE_OCTETS, octets as u32);
            attributes.nest(BITWISE_MASK, |attributes| attributes.put(DATA_VALUE, mask));
            attributes.nest(BITWISE_XOR, |attributes| attributes.put(DATA_VALUE, &vec![0; octets]));
        });
        self
    }

    /// Goes on only if what was loaded is `value`.
    pub(in crate::host) fn equals(self, value: &[u8]) -> Rule {
        self.compare(libc::NFT_CMP_EQ, value)
    }

    /// Goes on only if what was loaded is not `value`.
    pub(in crate::host) fn differs(self, value: &[u8]) -> Rule {
        self.compare(libc::NFT_CMP_NEQ, value)
    }

    /// Goes on only if what was loaded is an element of a set.
    pub(in crate::host) fn in_set(mut self, set: &str) -> Rule {
        self.expression("lookup", |attributes| {
            attributes.put_text(LOOKUP_SET, set);
            attributes.put_u32(LOOKUP_FROM, FIRST_REGISTER);
        });
        self.loaded = 0;
        self
    }

    /// Counts the packets that come so far.
    pub(in crate::host) fn count(mut self) -> Rule {
        self.expression(COUNTER, |_| {});
        self
    }

    /// Ends the rule.
    pub(in crate::host) fn then(mut self, verdict: Verdict<'_>) -> Rule {
        let (code, chain) = match verdict {
            Verdict::Accept => (libc::NF_ACCEPT, None),
            Verdict::Drop => (libc::NF_DROP, None),
            Verdict::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
        };
        self.expression("immediate", |attributes| {
            attributes.put_u32(IMMEDIATE_TO, libc::NFT_REG_VERDICT as u32);
            attributes.nest(IMMEDIATE_DATA, |attributes| {
                attributes.nest(DATA_VERDICT, |attributes| {
                    attributes.put_u32(VERDICT_CODE, code as u32);
                    if let Some(chain) = chain {
                        attributes.put_text(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
        self
    }

    /// Gives the instructions.
    pub(super) fn into_expressions(self) -> Attributes {
        self.expressions
    }

    fn load_by(mut self, name: &str, octets: usize, to: u16, write: impl FnOnce(&mut Attributes)) -> Rule {
        let register = FIRST_REGISTER + self.loaded;
        self.loaded += octets.div_ceil(REGISTER) as u32;
        self.last = (register, octets);
        self.expression(name, |attributes| {
            attributes.put_u32(to, register);
            write(attributes);
        });
        self
    }

    fn compare(mut self, operator: i32, value: &[u8]) -> Rule {
        self.expression("cmp", |attributes| {
            attributes.put_u32(COMPARE_FROM, FIRST_REGISTER);
            attributes.put_u32(COMPARE_OPERATOR, operator as u32);
            attributes.nest(COMPARE_DATA, |attributes| attributes.put(DATA_VALUE, value));
        });
        self.loaded = 0;
        self
    }

    fn expression(&mut self, name: &str, write: impl FnOnce(&mut Attributes)) {
        self.expressions.nest(LIST_ITEM, |attributes| {
            attributes.put_text(EXPRESSION_NAME, name);
            attributes.nest(EXPRESSION_DATA, write);
        });
    }
}

/// Sums the counters of a rule as the kernel gives it.
pub(super) fn counted(rule: &[u8]) -> u64 {
    let expressions = find(rule, RULE_EXPRESSIONS).unwrap_or_default();
    each(expressions).filter_map(|(_, expression)| counted_by(expression)).sum()
}

fn counted_by(expression: &[u8]) -> Option<u64> {
    if find(expression, EXPRESSION_NAME)?.strip_suffix(b"\0") != Some(COUNTER.as_bytes()) {
        return None;
    }
    let packets = find(find(expression, EXPRESSION_DATA)?, COUNTER_PACKETS)?;
    packets.first_chunk().map(|packets| u64::from_be_bytes(*packets))
}

const FIRST_REGISTER: u32 = libc::NFT_REG32_00 as u32;

const COUNTER: &str = "counter";

// `enum nft_payload_attributes` and so on; libc does not have them.
const PAYLOAD_TO: u16 = 1;
const PAYLOAD_HEADER: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_OCTETS: u16 = 4;

const META_TO: u16 = 1;
const META_KEY: u16 = 2;

const EXTENSION_TO: u16 = 1;
const EXTENSION_TYPE: u16 = 2;
const EXTENSION_OFFSET: u16 = 3;
const EXTENSION_OCTETS: u16 = 4;

const FIB_TO: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_OF_DESTINATION: u32 = 1 << 1;

const BITWISE_FROM: u16 = 1;
const BITWISE_TO: u16 = 2;
const BITWISE_OCTETS: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;

const COMPARE_FROM: u16 = 1;
const COMPARE_OPERATOR: u16 = 2;
const COMPARE_DATA: u16 = 3;

const LOOKUP_SET: u16 = 1;
const LOOKUP_FROM: u16 = 2;

const IMMEDIATE_TO: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;

const COUNTER_PACKETS: u16 = 2;
