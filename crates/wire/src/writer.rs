//! Length and count fields that are filled in once what they count has been written.

use alloc::vec::Vec;

use crate::TooLong;

/// Writes `body` after the front of a structure whose 16-bit length field, `length_at` octets from
/// its `start`, counts the whole of it.
pub(crate) fn with_length(
    out: &mut Vec<u8>,
    structure: &'static str,
    start: usize,
    length_at: usize,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>,
) -> Result<(), TooLong> {
    body(out)?;
    let length = length_u16(structure, out.len() - start)?;
    out[start + length_at..][..2].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A length as a 16-bit field, if it fits.
pub(crate) fn length_u16(structure: &'static str, length: usize) -> Result<u16, TooLong> {
    u16::try_from(length).map_err(|_| TooLong { structure, length, limit: usize::from(u16::MAX) })
}

/// A length or count as an 8-bit field, if it fits.
pub(crate) fn length_u8(structure: &'static str, length: usize) -> Result<u8, TooLong> {
    u8::try_from(length).map_err(|_| TooLong { structure, length, limit: usize::from(u8::MAX) })
}
