//! How packets are treated beyond their cryptography: the words that children and manually keyed SAs share.

use sa::{CopyDscp, CopyEcn, DontFragment, FlowPadding, Fragmenting, SegmentSize};

use crate::limits::DUMMIES_A_SECOND;
use crate::schema::Shape;
use crate::value::{Unreadable, choice, yes_or_no};

/// How the packets of an SA are treated beyond their cryptography. Every default is in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// The class of service.
    pub dscp: CopyDscp,
    /// Congestion marks.
    pub ecn: CopyEcn,
    /// The outer Don't Fragment bit.
    pub dont_fragment: DontFragment,
    /// What is cut when a packet is too long.
    pub fragmenting: Fragmenting,
    /// What TCP connections may announce as their segment size.
    pub segment_size: SegmentSize,
    /// Padding against traffic analysis.
    pub padding: FlowPadding,
    /// Dummy packets that are sent in a second, on average; 0 is none.
    pub dummies: u16,
    /// The firewall mark of the sealed packets; 0 is none.
    pub mark: u32,
}

pub(crate) const COPY_DF: Shape<DontFragment> = Shape {
    words: "yes, no or set",
    read: |text| match text {
        "set" => Ok(DontFragment::Set),
        _ => yes_or_no(text, DontFragment::Copy, DontFragment::Clear)
            .map_err(|_| Unreadable::new(format!("`{text}` is none of yes, no, set"), "")),
    },
};

pub(crate) const COPY_ECN: Shape<CopyEcn> =
    Shape { words: "yes or no", read: |text| yes_or_no(text, CopyEcn::Yes, CopyEcn::No) };

pub(crate) const COPY_DSCP: Shape<CopyDscp> = Shape {
    words: "out, in, yes or no",
    read: |text| match text {
        "out" => Ok(CopyDscp::Out),
        "in" => Ok(CopyDscp::In),
        _ => yes_or_no(text, CopyDscp::Both, CopyDscp::No)
            .map_err(|_| Unreadable::new(format!("`{text}` is none of out, in, yes, no"), "")),
    },
};

pub(crate) const FRAGMENT: Shape<Fragmenting> = Shape {
    words: "before or after",
    read: |text| {
        choice(text, &[("before", Fragmenting::BeforeSealing), ("after", Fragmenting::AfterSealing)])
    },
};

pub(crate) const SEGMENT_SIZE: Shape<SegmentSize> = Shape {
    words: "auto, no or octets",
    read: |text| match (text, text.parse()) {
        ("auto", _) => Ok(SegmentSize::OfPath),
        (_, Ok(octets)) if octets >= SMALLEST_SEGMENT => Ok(SegmentSize::AtMost(octets)),
        _ => yes_or_no(text, SegmentSize::OfPath, SegmentSize::Untouched).map_err(|_| {
            Unreadable::new(
                format!("`{text}` is neither auto nor no nor a number of octets from {SMALLEST_SEGMENT} up"),
                "",
            )
        }),
    },
};

/// What a packet of 68 octets, which every IPv4 link takes (RFC 791), leaves to TCP without options.
const SMALLEST_SEGMENT: u16 = 68 - 20 - 20;

pub(crate) const TFC_PADDING: Shape<FlowPadding> = Shape {
    words: "octets or mtu",
    read: |text| match (text, text.parse()) {
        ("mtu", _) => Ok(FlowPadding::ToPathMtu),
        (_, Ok(0)) => Ok(FlowPadding::None),
        (_, Ok(octets)) => Ok(FlowPadding::To(octets)),
        (_, Err(_)) => Err(Unreadable::new(
            format!("`{text}` is neither mtu nor a number of octets up to {}", u16::MAX),
            "write 0 for no padding",
        )),
    },
};

pub(crate) const TFC_DUMMIES: Shape<u16> = Shape {
    words: "packets a second",
    read: |text| match text.parse() {
        Ok(number) if number <= DUMMIES_A_SECOND => Ok(number),
        _ => Err(Unreadable::new(
            format!("`{text}` is not a number of packets a second up to {DUMMIES_A_SECOND}"),
            "write 0 for none",
        )),
    },
};

/// A mark of the packets that leave, perhaps with a mask that leaves nothing out.
pub(crate) const MARK: Shape<u32> = Shape {
    words: "mark",
    read: |text| {
        let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
        if mask.is_some_and(|mask| number(mask) != Some(u32::MAX)) {
            return Err(Unreadable::new(
                format!("`{text}` has a mask, but packets that we make have no bits that could be kept"),
                "write the mark alone",
            ));
        }
        number(mark)
            .ok_or_else(|| Unreadable::new(format!("`{text}` is not a mark"), "write a number such as 0x2a"))
    },
};

/// Reads a number of 32 bits, in hexadecimal digits if it begins with 0x.
pub(crate) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_meanings() {
        assert_eq!((COPY_DF.read)("yes"), Ok(DontFragment::Copy));
        assert_eq!((COPY_DF.read)("no"), Ok(DontFragment::Clear));
        assert_eq!((COPY_DF.read)("set"), Ok(DontFragment::Set));
        assert_eq!((COPY_DSCP.read)("yes"), Ok(CopyDscp::Both));
        assert_eq!((COPY_DSCP.read)("no"), Ok(CopyDscp::No));
        assert_eq!((TFC_PADDING.read)("1400"), Ok(FlowPadding::To(1400)));
        assert_eq!((TFC_PADDING.read)("0"), Ok(FlowPadding::None));
        assert!((TFC_PADDING.read)("70000").is_err());
        assert_eq!((TFC_DUMMIES.read)("1000"), Ok(1000));
        assert!((TFC_DUMMIES.read)("1001").is_err() && (TFC_DUMMIES.read)("often").is_err());
        assert_eq!((SEGMENT_SIZE.read)("auto"), Ok(SegmentSize::OfPath));
        assert_eq!((SEGMENT_SIZE.read)("no"), Ok(SegmentSize::Untouched));
        assert_eq!((SEGMENT_SIZE.read)("1300"), Ok(SegmentSize::AtMost(1300)));
        assert!((SEGMENT_SIZE.read)("27").is_err());
        assert_eq!((MARK.read)("0x2a/0xffffffff"), Ok(42));
        assert!((MARK.read)("42/0xff").is_err() && (MARK.read)("%same").is_err());
    }
}
