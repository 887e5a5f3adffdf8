//! Within one process.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{BackplaneError, Ear, Figures, link::Link};
use crate::event::LogId;

/// What pods of one process hear each other on. A clone is the same bus.
#[derive(Clone, Default)]
pub struct Bus(Arc<Mutex<Vec<Arc<Link>>>>);

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}

/// One pod's place on a [`Bus`]. Loses nothing; what is said is heard before `publish` resolves.
#[derive(Clone, Debug)]
pub struct Local(Arc<Place>);

#[derive(Debug)]
struct Place {
    bus: Bus,
    link: Arc<Link>,
}

impl Local {
    pub(super) fn new(bus: &Bus, ear: Ear) -> Self {
        let link = Arc::new(Link::new(ear));
        link.up();
        bus.0.lock().expect("no panic while locked").push(Arc::clone(&link));
        Local(Arc::new(Place { bus: bus.clone(), link }))
    }

    pub(super) fn subscribe(&self, log: LogId) {
        self.0.link.subscribe_here(log);
    }

    pub(super) fn unsubscribe(&self, log: LogId) {
        self.0.link.unsubscribe(log);
    }

    pub(super) fn publish(&self, said: Vec<(LogId, Bytes)>) -> Result<(), BackplaneError> {
        self.0.link.check()?;
        // Locked meanwhile, so that all pods hear all sayers in one order.
        let links = self.0.bus.0.lock().expect("no ear has panicked");
        for link in links.iter() {
            link.advance();
        }
        for (log, bytes) in said {
            for link in links.iter() {
                link.hear(Some(log), || bytes.clone());
            }
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> Figures {
        self.0.link.advance();
        self.0.link.figures()
    }

    pub(super) fn close(&self) {
        self.0.leave();
    }
}

impl Place {
    fn leave(&self) {
        self.link.close();
        let mut links = self.bus.0.lock().expect("no ear has panicked");
        links.retain(|link| !Arc::ptr_eq(link, &self.link));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
