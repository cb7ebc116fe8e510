//! The marks by which implementations say what they can do beyond RFC 2409 (RFC 2408 §3.16).

/// A mark that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VendorId {
    /// NAT traversal as RFC 3947 has it.
    NatTraversal,
    /// NAT traversal as draft 03 had it.
    NatTraversalDraft03,
    /// NAT traversal as draft 02 had it.
    NatTraversalDraft02,
    /// NAT traversal as draft 02 had it, from those who hashed its name with a line end.
    NatTraversalDraft02Line,
    /// Dead peer detection (RFC 3706).
    DeadPeerDetection,
    /// XAuth (draft-beaulieu-ike-xauth §7.1).
    Xauth,
    /// Cisco's Unity: attributes of Mode Config for clients.
    Unity,
    /// Messages in fragments (payload 132).
    Fragmentation,
    /// Keyway's own: deletes are answered.
    AnsweredDeletes,
}

impl VendorId {
    /// Every mark that is known here.
    pub const ALL: [VendorId; 9] = [
        VendorId::NatTraversal,
        VendorId::NatTraversalDraft03,
        VendorId::NatTraversalDraft02,
        VendorId::NatTraversalDraft02Line,
        VendorId::DeadPeerDetection,
        VendorId::Xauth,
        VendorId::Unity,
        VendorId::Fragmentation,
        VendorId::AnsweredDeletes,
    ];

    /// Reads a mark. Of those that end in a version or capabilities, these do not matter.
    pub fn read(octets: &[u8]) -> Option<VendorId> {
        VendorId::ALL.into_iter().find(|id| octets.starts_with(id.constant_part()))
    }

    /// The mark as we send it.
    pub fn octets(self) -> &'static [u8] {
        match self {
            VendorId::NatTraversal => &NAT_TRAVERSAL,
            VendorId::NatTraversalDraft03 => &NAT_TRAVERSAL_DRAFT_03,
            VendorId::NatTraversalDraft02 => &NAT_TRAVERSAL_DRAFT_02,
            VendorId::NatTraversalDraft02Line => &NAT_TRAVERSAL_DRAFT_02_LINE,
            VendorId::DeadPeerDetection => &DEAD_PEER_DETECTION,
            VendorId::Xauth => &XAUTH,
            VendorId::Unity => &UNITY,
            VendorId::Fragmentation => &FRAGMENTATION,
            VendorId::AnsweredDeletes => &ANSWERED_DELETES,
        }
    }

    fn constant_part(self) -> &'static [u8] {
        match self {
            VendorId::DeadPeerDetection => &DEAD_PEER_DETECTION[..14],
            VendorId::Unity => &UNITY[..14],
            VendorId::Fragmentation => &FRAGMENTATION[..16],
            VendorId::NatTraversal
            | VendorId::NatTraversalDraft03
            | VendorId::NatTraversalDraft02
            | VendorId::NatTraversalDraft02Line
            | VendorId::Xauth
            | VendorId::AnsweredDeletes => self.octets(),
        }
    }

    /// What the sender says with it.
    pub fn meaning(self) -> &'static str {
        match self {
            VendorId::NatTraversal => "the sender can pass NATs as RFC 3947 has it",
            VendorId::NatTraversalDraft03 => "the sender can pass NATs as draft 03 of RFC 3947 had it",
            VendorId::NatTraversalDraft02 | VendorId::NatTraversalDraft02Line => {
                "the sender can pass NATs as draft 02 of RFC 3947 had it"
            }
            VendorId::DeadPeerDetection => "the sender answers when asked whether it lives (RFC 3706)",
            VendorId::Xauth => "the sender can do XAuth",
            VendorId::Unity => "the sender knows Cisco's Unity attributes",
            VendorId::Fragmentation => "the sender can put a long message together from fragments",
            VendorId::AnsweredDeletes => "the sender is a Keyway: it answers deletes",
        }
    }
}

/// The MD5 of `RFC 3947`.
const NAT_TRAVERSAL: [u8; 16] = 0x4a13_1c81_0703_5845_5c57_28f2_0e95_452f_u128.to_be_bytes();
/// The MD5 of `draft-ietf-ipsec-nat-t-ike-03`.
const NAT_TRAVERSAL_DRAFT_03: [u8; 16] = 0x7d94_19a6_5310_ca6f_2c17_9d92_1552_9d56_u128.to_be_bytes();
/// The MD5 of `draft-ietf-ipsec-nat-t-ike-02`.
const NAT_TRAVERSAL_DRAFT_02: [u8; 16] = 0xcd60_4643_35df_21f8_7cfd_b2fc_68b6_a448_u128.to_be_bytes();
/// The MD5 of `draft-ietf-ipsec-nat-t-ike-02\n`.
const NAT_TRAVERSAL_DRAFT_02_LINE: [u8; 16] = 0x90cb_8091_3ebb_696e_0863_81b5_ec42_7b1f_u128.to_be_bytes();
/// RFC 3706 §5.1; the last two octets are the version.
const DEAD_PEER_DETECTION: [u8; 16] = 0xafca_d713_68a1_f1c9_6b86_96fc_7757_0100_u128.to_be_bytes();
const XAUTH: [u8; 8] = 0x0900_2689_dfd6_b712_u64.to_be_bytes();
/// The last two octets are the version.
const UNITY: [u8; 16] = 0x12f5_f28c_4571_68a9_702d_9fe2_74cc_0100_u128.to_be_bytes();
/// The MD5 of `FRAGMENTATION`, then the exchanges whose messages may come in fragments: all.
const FRAGMENTATION: [u8; 20] = [
    0x40, 0x48, 0xb7, 0xd5, 0x6e, 0xbc, 0xe8, 0x85, 0x25, 0xe7, 0xde, 0x7f, 0x00, 0xd6, 0xc2, 0xd3, 0x80, 0,
    0, 0,
];
/// The MD5 of `Keyway: deletes are answered`.
const ANSWERED_DELETES: [u8; 16] = 0xa2ca_724b_6134_ecbb_7af7_bc35_08e3_46e0_u128.to_be_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_read_as_itself() {
        for id in VendorId::ALL {
            assert_eq!(VendorId::read(id.octets()), Some(id));
        }
        assert_eq!(VendorId::read(b"somebody else"), None);
        assert_eq!(VendorId::read(&[]), None);
    }

    #[test]
    fn a_later_version_of_a_mark_is_still_that_mark() {
        let mut later = DEAD_PEER_DETECTION;
        later[14..].copy_from_slice(&[2, 7]);
        assert_eq!(VendorId::read(&later), Some(VendorId::DeadPeerDetection));
        assert_eq!(VendorId::read(&FRAGMENTATION[..16]), Some(VendorId::Fragmentation));
    }
}
