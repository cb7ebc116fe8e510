//! IPv4 options in BEET mode: the pseudo header that carries them (RFC 7402 appendix B.1.7).
//!
//! ```text
//!    0                   1                   2                   3
//!    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!   |  Next Header  |  Header Len   |    Pad Len    |   Reserved    |
//!   +---------------+---------------+-------------------------------+
//!   |                  4 octets of padding, if needed               |
//!   +---------------------------------------------------------------+
//!   |                          IPv4 options …                       |
//! ```
//!
//! Header Len counts eights of octets after the first eight; the padding, no-operation options, makes them whole.

use crate::header::Header;
use crate::{DropReason, PacketBuf};

/// Puts the pseudo header with `options` in front of `packet`, which is what `next_header` says.
pub(crate) fn push_options(
    packet: &mut PacketBuf,
    next_header: u8,
    options: &[u8],
) -> Result<(), DropReason> {
    let padding = (FIXED_LEN + options.len()).next_multiple_of(8) - FIXED_LEN - options.len();
    let room = packet.push_front(FIXED_LEN + padding + options.len()).ok_or(DropReason::TooLong)?;
    let eights = room.len() / 8 - 1;
    let (fixed, rest) = room.split_at_mut(FIXED_LEN);
    fixed.copy_from_slice(&[next_header, eights as u8, padding as u8, 0]);
    let (pad, rest) = rest.split_at_mut(padding);
    pad.fill(NO_OPERATION);
    rest.copy_from_slice(options);
    Ok(())
}

/// Takes the pseudo header off `packet` and puts its options into `header`; gives what follows.
pub(crate) fn pull_options(packet: &mut PacketBuf, header: &mut Header) -> Result<u8, DropReason> {
    let &[next_header, eights, padding, _, ..] = packet.as_slice() else {
        return Err(DropReason::PseudoHeader);
    };
    let len = (usize::from(eights) + 1) * 8;
    let options = packet.as_slice().get(FIXED_LEN + usize::from(padding)..len);
    header.set_options(options.ok_or(DropReason::PseudoHeader)?).ok_or(DropReason::PseudoHeader)?;
    packet.pull_front(len).ok_or(DropReason::PseudoHeader)?;
    Ok(next_header)
}

const FIXED_LEN: usize = 4;
const NO_OPERATION: u8 = 1;
