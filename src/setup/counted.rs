//! What is to be counted, while the configuration is read.

use std::rc::Rc;

use crate::counts::counter::Counter;

/// What is to be counted.
#[derive(Default)]
pub struct Counted {
    /// Whether a location shows it.
    pub is_shown: bool,
    pub counters: Vec<Rc<Counter>>,
}

impl Counted {
    /// What counts for locations of a bucket, or of those that requests name; `None` where no location shows it.
    pub fn counter(&mut self, bucket: Option<&'static [u8]>) -> Option<Rc<Counter>> {
        if !self.is_shown {
            return None;
        }
        let known = self.counters.iter().find(|known| known.is_for(bucket));
        let counter = known.cloned().unwrap_or_else(|| Rc::new(Counter::new(bucket)));
        if known.is_none() {
            self.counters.push(counter.clone());
        }
        Some(counter)
    }
}
