//! Which events have scripts run.

use ike::{ChildSaStatus, Event, IkeSaStatus};

use super::EngineLoop;
use crate::daemon::scripts::Around;

impl EngineLoop {
    /// Runs the scripts of a child that comes or goes.
    pub(super) fn run_scripts(&mut self, event: &Event) {
        match event {
            Event::ChildUp(ike, child) => {
                let loaded = self.loaded.connections.get(&ike.connection);
                let config = loaded.and_then(|loaded| loaded.config.child(&child.name));
                if let Some(script) = config.and_then(|config| config.script.as_ref()) {
                    let around = self.around(ike, child);
                    self.outside.scripts.came_up(ike, child, script, &around);
                }
            }
            Event::ChildRekeyed { ike: _, old, new } => self.outside.scripts.took_over(old.id, new.id),
            Event::ChildDown(ike, child, _) if self.outside.scripts.is_awaited(child.id) => {
                let around = self.around(ike, child);
                self.outside.scripts.went_down(ike, child, &around);
            }
            _ => {}
        }
    }

    /// Finds out what a script wants to know of the devices of a Child SA.
    fn around(&self, ike: &IkeSaStatus, child: &ChildSaStatus) -> Around {
        let last = || self.last_status.get(&child.outbound)?.device.clone();
        let own = self.interfaces.of(child.outbound).or_else(last);
        Around {
            outer_device: self.plane.device_with(ike.path.local.ip()),
            inner_device: own.map_or_else(|| self.outside.tun_name.clone(), |device| device.name),
        }
    }
}
