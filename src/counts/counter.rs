//! A location's way to the counters.

use std::cell::Cell;
use std::rc::Rc;

use super::table::{Row, Table};
use crate::nginx::zone::{Digest, Tenant};

/// What counts for locations of one bucket.
pub struct Counter {
    /// The bucket, where it is the same for all requests.
    bucket: Option<&'static [u8]>,
    /// `None` until the configuration is in force.
    place: Cell<Option<Place>>,
}

#[derive(Clone, Copy)]
struct Place {
    table: &'static Table,
    /// That of the bucket, where it is the same for all requests.
    row: Option<&'static Row>,
}

impl Counter {
    /// For a bucket, or for those that requests name.
    pub fn new(bucket: Option<&'static [u8]>) -> Self {
        Counter { bucket, place: Cell::new(None) }
    }

    /// Whether this is what [`Counter::new`] would make.
    pub fn is_for(&self, bucket: Option<&[u8]>) -> bool {
        self.bucket == bucket
    }

    /// Counts an answer of S3, whose status and error code these are, for a request that names a bucket; and the
    /// connection that it came over, which `is_kept` from an earlier one or new.
    #[inline]
    pub fn answered<'a>(
        &self,
        bucket: impl FnOnce() -> &'a [u8],
        status: u16,
        code: Option<&[u8]>,
        is_kept: bool,
    ) {
        if let Some(Place { table, row }) = self.place.get() {
            table.connected(is_kept);
            match row {
                Some(row) => table.answered(row, status, code),
                None => table.answered(table.variable(bucket(), status), status, code),
            }
        }
    }

    /// Counts the TLS handshake of a new connection.
    pub fn shook_hands(&self, resumed: bool) {
        if let Some(place) = self.place.get() {
            place.table.shook_hands(resumed);
        }
    }

    /// Counts a signature.
    #[inline]
    pub fn signed(&self) {
        if let Some(place) = self.place.get() {
            place.table.signed();
        }
    }
}

/// What the whole configuration counts.
pub struct Counts {
    counters: Vec<Rc<Counter>>,
    table: Cell<Option<&'static Table>>,
}

impl Counts {
    /// Of these counters.
    pub fn new(counters: Vec<Rc<Counter>>) -> Self {
        Counts { counters, table: Cell::new(None) }
    }

    /// The table; `None` until the configuration is in force.
    pub fn table(&self) -> Option<&'static Table> {
        self.table.get()
    }
}

impl Tenant<Table> for Counts {
    fn digest(&self) -> Digest {
        // There is no other.
        Digest::default()
    }

    fn move_in(&self, table: &'static Table) {
        for counter in &self.counters {
            let row = counter.bucket.map(|bucket| table.configured(bucket));
            counter.place.set(Some(Place { table, row }));
        }
        self.table.set(Some(table));
    }
}
