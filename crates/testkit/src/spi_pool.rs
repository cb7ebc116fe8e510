//! The SPIs of one side: given out to its engine, and remembered by its plane.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use sa::Spi;

/// Gives out SPIs, never one twice in a run, so that a packet cannot meet the wrong SA by luck.
#[derive(Clone, Debug, Default)]
pub struct SpiPool {
    shared: Arc<Mutex<Spis>>,
}

#[derive(Debug, Default)]
struct Spis {
    given: BTreeSet<Spi>,
    installed: BTreeSet<Spi>,
}

impl SpiPool {
    /// Notes that an SPI is now that of an inbound SA; gives what is wrong with that.
    pub fn install(&self, spi: Spi) -> Option<&'static str> {
        let mut spis = self.lock();
        if !spis.given.contains(&spi) {
            return Some("its SPI was never given out");
        }
        (!spis.installed.insert(spi)).then_some("its SPI was used before")
    }

    fn lock(&self) -> MutexGuard<'_, Spis> {
        self.shared.lock().expect("nobody panics while holding the lock")
    }
}

impl ike::SpiSource for SpiPool {
    fn allocate(&mut self, random: u32) -> Spi {
        let mut spis = self.lock();
        let mut spi = Spi(random.max(Spi::LOWEST.0));
        while !spis.given.insert(spi) {
            spi = Spi(spi.0.wrapping_add(1).max(Spi::LOWEST.0));
        }
        spi
    }
}
