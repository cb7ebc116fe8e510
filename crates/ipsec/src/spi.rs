//! SPIs that are also indices: the low bits of an inbound SPI name its slot in the table of inbound SAs.
//!
//! ```text
//!    31                  20 19                                     0
//!   ┌──────────────────────┬────────────────────────────────────────┐
//!   │ generation (12 bits) │ slot (20 bits)                         │
//!   └──────────────────────┴────────────────────────────────────────┘
//! ```
//!
//! The generation is random, never zero and never that of the slot's last SA: a late packet of a deleted SA meets no
//! other one. As it is never zero, no SPI lies below 256, which RFC 4303 §2.1 keeps for IANA. An SPI is no secret and
//! need not be hard to guess; the ICV is what keeps strangers out.

use std::collections::VecDeque;

use sa::Spi;
use thiserror::Error;

use crate::limits::SPI_SLOT_BITS;
use crate::slots::Slots;

/// Gives out SPIs of inbound SAs, each with a slot of its own.
#[derive(Debug, Default)]
pub struct SpiAllocator {
    taken: Slots<Spi>,
    /// Slots that were given back, the longest unused first.
    freed: VecDeque<Spi>,
    /// Slots from here on were never used.
    fresh: u32,
}

/// Every slot has an SA; their number is bounded by [`SPI_SLOT_BITS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no SPI is left: {} inbound SAs exist", SLOTS)]
pub struct SpisExhausted;

impl SpiAllocator {
    /// Starts with every slot free.
    pub fn new() -> SpiAllocator {
        SpiAllocator::default()
    }

    /// Gives an SPI whose slot is free, and keeps the slot until [`release`](Self::release).
    ///
    /// # Errors
    /// No slot is free.
    pub fn allocate(&mut self, random: u32) -> Result<Spi, SpisExhausted> {
        let last = self.free_slot().ok_or(SpisExhausted)?;
        let generation = 1 + random % GENERATIONS;
        let generation =
            if generation == last.0 >> SPI_SLOT_BITS { 1 + generation % GENERATIONS } else { generation };
        let spi = Spi(generation << SPI_SLOT_BITS | slot_of(last));
        self.taken.put(slot_of(spi) as usize, spi);
        Ok(spi)
    }

    /// Takes the slot of an SPI that someone else chose; gives `None`, and takes nothing, if another SPI has it.
    pub fn claim(&mut self, spi: Spi) -> Option<()> {
        if self.holder(slot_of(spi)).is_none() {
            self.taken.put(slot_of(spi) as usize, spi);
        }
        self.holds(spi).then_some(())
    }

    /// Frees the slot of an SPI; does nothing if that SPI does not have it.
    pub fn release(&mut self, spi: Spi) {
        if self.holds(spi) {
            self.taken.clear(slot_of(spi) as usize);
            if slot_of(spi) < self.fresh {
                self.freed.push_back(spi);
            }
        }
    }

    /// Tells whether an SPI has its slot.
    pub fn holds(&self, spi: Spi) -> bool {
        self.holder(slot_of(spi)) == Some(spi)
    }

    /// Gives the SPI that has a slot.
    fn holder(&self, slot: u32) -> Option<Spi> {
        self.taken.at(slot as usize).copied()
    }

    /// Finds a free slot, as the SPI that had it last; a slot never used had generation zero.
    fn free_slot(&mut self) -> Option<Spi> {
        // A claim takes a slot wherever it finds it, also from the two places that are looked through here.
        while let Some(spi) = self.freed.pop_front() {
            if self.holder(slot_of(spi)).is_none() {
                return Some(spi);
            }
        }
        while self.fresh < SLOTS {
            let slot = self.fresh;
            self.fresh += 1;
            if self.holder(slot).is_none() {
                return Some(Spi(slot));
            }
        }
        None
    }
}

/// Gives the slot that an SPI names.
pub(crate) fn slot_of(spi: Spi) -> u32 {
    spi.0 & (SLOTS - 1)
}

const SLOTS: u32 = 1 << SPI_SLOT_BITS;
const GENERATIONS: u32 = (1 << (32 - SPI_SLOT_BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn slots_in_use_are_distinct_and_spis_are_not_reserved(
            steps in prop::collection::vec((any::<u32>(), any::<bool>(), 0..64u32), 1..200),
        ) {
            let mut allocator = SpiAllocator::new();
            let mut held: Vec<Spi> = Vec::new();
            for (random, release, claim) in steps {
                if release && !held.is_empty() {
                    allocator.release(held.swap_remove(random as usize % held.len()));
                }
                if allocator.claim(Spi(0x7770_0000 | claim)).is_some() && !held.contains(&Spi(0x7770_0000 | claim)) {
                    held.push(Spi(0x7770_0000 | claim));
                }
                held.push(allocator.allocate(random).expect("a million slots"));
                let slots: BTreeSet<u32> = held.iter().copied().map(slot_of).collect();
                prop_assert_eq!(slots.len(), held.len());
                prop_assert!(held.iter().all(|spi| *spi >= Spi::LOWEST && allocator.holds(*spi)));
            }
        }
    }

    #[test]
    fn a_slot_never_has_the_same_spi_twice_in_a_row() {
        let mut allocator = SpiAllocator::new();
        let mut last = Spi(0);
        for _ in 0..10 {
            let spi = allocator.allocate(7).expect("a million slots");
            assert_ne!(spi, last);
            assert_eq!(slot_of(spi), 0);
            allocator.release(spi);
            last = spi;
        }
    }

    #[test]
    fn exhaustion_is_an_error_and_ends_when_a_slot_is_freed() {
        let mut allocator = SpiAllocator::new();
        let spis: Vec<Spi> =
            (0..SLOTS).map(|random| allocator.allocate(random).expect("a free slot")).collect();
        assert_eq!(allocator.allocate(0), Err(SpisExhausted));
        allocator.release(spis[77]);
        assert_eq!(allocator.allocate(0).map(slot_of), Ok(77));
    }
}
