//! A cursor over bytes that names what it was reading when they run out.

use crate::{Fault, Malformed};

/// Reads big-endian fields from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    structure: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`, which hold one `structure`.
    pub(crate) fn new(structure: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { structure, rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            let fault = Fault::Truncated { needed: length, available: self.rest.len() };
            return Err(self.malformed(field, fault));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            let fault = Fault::Truncated { needed: N, available: self.rest.len() };
            return Err(self.malformed(field, fault));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Takes everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Takes the `length` octets of a substructure whose length field counts its own `header` octets
    /// too, which have been read already, and gives a reader of what follows them.
    pub(crate) fn substructure(
        &mut self,
        structure: &'static str,
        length: u16,
        header: usize,
    ) -> Result<Reader<'a>, Malformed> {
        let length = usize::from(length);
        let Some(body) = length.checked_sub(header) else {
            let fault = Fault::WrongLength { stated: length, actual: header };
            return Err(Malformed::new(structure, "Length", fault));
        };
        let available = self.rest.len();
        let bytes = self.take("Length", body).map_err(|_| {
            let fault = Fault::WrongLength { stated: length, actual: header + available };
            Malformed::new(structure, "Length", fault)
        })?;
        Ok(Reader::new(structure, bytes))
    }

    /// Refuses octets after the last field, whose name is `after`.
    pub(crate) fn finish(self, after: &'static str) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            octets => Err(self.malformed(after, Fault::Trailing { octets })),
        }
    }

    pub(crate) fn malformed(&self, field: &'static str, fault: Fault) -> Malformed {
        Malformed::new(self.structure, field, fault)
    }

    pub(crate) fn forbidden(&self, field: &'static str, value: u64, expected: &'static str) -> Malformed {
        Malformed::forbidden(self.structure, field, value, expected)
    }
}
