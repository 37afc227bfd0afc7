//! The counters of all processes: a place in shared memory.
//!
//! What S3 says and what clients ask for may become a label, so that there is room for so many, and what has
//! none is counted as "other".

use core::sync::atomic::{AtomicU64, Ordering};

use super::names::Names;
use crate::s3::metrics::{class, Connections, Metrics, CLASSES, CODES, OTHER, OTHER_BUCKET};

/// How many buckets of the configuration, and of those that it has had, have a label.
const CONFIGURED: usize = 128;
/// How many buckets whose names are variables have one.
const VARIABLE: usize = 64;
/// How many error codes have one beside [`CODES`].
const MORE_CODES: usize = 32;
/// A row's columns: an answer without a code, with one that has no label, and the codes.
const COLUMNS: usize = 2 + CODES.len() + MORE_CODES;
const NO_CODE: usize = 0;
const OTHER_CODE: usize = 1;

/// The table. Zeroed memory is one in which nothing was counted.
#[repr(C)]
pub struct Table {
    signatures: AtomicU64,
    /// Those that were new, and those that were kept.
    connections: [AtomicU64; 2],
    /// Those in full, and those that resumed a session.
    handshakes: [AtomicU64; 2],
    codes: Names<MORE_CODES>,
    configured: Rows<CONFIGURED>,
    variable: Rows<VARIABLE>,
    /// All buckets that have no label.
    other: Row,
}

#[repr(C)]
struct Rows<const N: usize> {
    names: Names<N>,
    rows: [Row; N],
}

/// The answers of one bucket, by class and code.
#[repr(C)]
pub struct Row([[AtomicU64; COLUMNS]; CLASSES.len()]);

impl Table {
    /// The row of a bucket that the configuration names.
    pub fn configured(&self, bucket: &[u8]) -> &Row {
        let place = self.configured.names.find_or_add(bucket);
        place.map_or(&self.other, |place| &self.configured.rows[place])
    }

    /// The row of a bucket that a request names, with the status of its answer. It gets a label with the first
    /// that shows that it is there: clients can ask for many that are not.
    // Apart, as most locations name their bucket: the search would take registers from what they run.
    #[inline(never)]
    pub fn variable(&self, bucket: &[u8], status: u16) -> &Row {
        let names = &self.variable.names;
        let place = match status {
            200..=299 | 304 => names.find_or_add(bucket),
            _ => names.find(bucket),
        };
        place.map_or(&self.other, |place| &self.variable.rows[place])
    }

    /// Counts an answer in the row of its bucket.
    #[inline]
    pub fn answered(&self, row: &Row, status: u16, code: Option<&[u8]>) {
        let column = code.map_or(NO_CODE, |code| self.column(code));
        row.0[class(status)][column].fetch_add(1, Ordering::Relaxed);
    }

    /// The column of an error code: letters and digits, as [`crate::s3::error_body`] finds them.
    #[cold]
    #[inline(never)]
    fn column(&self, code: &[u8]) -> usize {
        if let Some(known) = CODES.iter().position(|known| known.as_bytes() == code) {
            return 2 + known;
        }
        let place = self.codes.find_or_add(code);
        place.map_or(OTHER_CODE, |place| 2 + CODES.len() + place)
    }

    /// Counts a signature.
    #[inline]
    pub fn signed(&self) {
        self.signatures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that an answer came over: a kept one, or a new one.
    #[inline]
    pub fn connected(&self, is_kept: bool) {
        self.connections[usize::from(is_kept)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the handshake of a new connection.
    pub fn shook_hands(&self, resumed: bool) {
        self.handshakes[usize::from(resumed)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted, but for sources of keys.
    pub fn metrics(&self) -> Metrics {
        let [new, kept] = self.connections.each_ref().map(|n| n.load(Ordering::Relaxed));
        let [full, resumed] = self.handshakes.each_ref().map(|n| n.load(Ordering::Relaxed));
        let mut metrics = Metrics {
            signatures: self.signatures.load(Ordering::Relaxed),
            connections: Connections { new, kept, full, resumed },
            ..Metrics::default()
        };
        self.add_rows(&self.configured, &mut metrics);
        self.add_rows(&self.variable, &mut metrics);
        self.add(OTHER_BUCKET, &self.other, &mut metrics);
        metrics
    }

    fn add_rows<const N: usize>(&self, rows: &Rows<N>, to: &mut Metrics) {
        for (place, row) in rows.rows.iter().enumerate() {
            if let Some(name) = rows.names.get(place) {
                self.add(&String::from_utf8_lossy(&name), row, to);
            }
        }
    }

    /// Adds what was counted of a bucket: more than one row, and more than one code, may have the same label.
    fn add(&self, bucket: &str, row: &Row, to: &mut Metrics) {
        for (class, counts) in CLASSES.into_iter().zip(&row.0) {
            for (column, count) in counts.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let label = (bucket.to_owned(), class, self.code(column));
                    *to.answers.entry(label).or_default() += count;
                }
            }
        }
    }

    /// The label of a column.
    fn code(&self, column: usize) -> String {
        match column {
            NO_CODE => String::new(),
            OTHER_CODE => OTHER.to_owned(),
            _ => match CODES.get(column - 2) {
                Some(&known) => known.to_owned(),
                None => {
                    let name = self.codes.get(column - 2 - CODES.len());
                    name.and_then(|name| String::from_utf8(name).ok()).unwrap_or(OTHER.to_owned())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{alloc_zeroed, Layout};

    use super::*;

    fn zeroed() -> Box<Table> {
        // SAFETY: zeroed memory is a valid value.
        unsafe { Box::from_raw(alloc_zeroed(Layout::new::<Table>()).cast()) }
    }

    fn answers(table: &Table) -> Vec<(String, &'static str, String, u64)> {
        let answers = table.metrics().answers.into_iter();
        answers.map(|((bucket, class, code), count)| (bucket, class, code, count)).collect()
    }

    fn expected(
        all: &[(&str, &'static str, &str, u64)],
    ) -> Vec<(String, &'static str, String, u64)> {
        let owned = |&(bucket, class, code, count): &(&str, _, &str, _)| {
            (bucket.to_owned(), class, code.to_owned(), count)
        };
        all.iter().map(owned).collect()
    }

    #[test]
    fn answers_are_counted_by_bucket_class_and_code() {
        let table = zeroed();
        let (a, b) = (table.configured(b"a-a"), table.configured(b"b-b"));
        table.answered(a, 200, None);
        table.answered(a, 206, None);
        table.answered(b, 404, Some(b"NoSuchKey"));
        table.answered(b, 404, None);
        table.answered(b, 700, Some(b"Own1"));
        // By another location.
        table.answered(table.configured(b"b-b"), 503, Some(b"Own1"));
        // The same name as a variable's.
        table.answered(table.variable(b"a-a", 304), 304, None);
        table.answered(table.variable(b"a-a", 201), 201, None);
        assert_eq!(
            answers(&table),
            expected(&[
                ("a-a", "2xx", "", 3),
                ("a-a", "3xx", "", 1),
                ("b-b", "4xx", "", 1),
                ("b-b", "4xx", "NoSuchKey", 1),
                ("b-b", "5xx", "Own1", 1),
                ("b-b", "other", "Own1", 1),
            ])
        );
    }

    #[test]
    fn what_servers_say_has_bounds() {
        let table = zeroed();
        let row = table.configured(b"b-b");
        for n in 0..100 {
            table.answered(row, 400, Some(format!("Code{n}").as_bytes()));
        }
        table.answered(row, 400, Some(&[b'x'; 1000]));
        table.answered(row, 400, Some(b"AccessDenied"));
        let found = answers(&table);
        assert_eq!(found.len(), MORE_CODES + 2);
        let other = ("b-b".to_owned(), "4xx", OTHER.to_owned(), 100 - MORE_CODES as u64 + 1);
        assert!(found.contains(&other), "{found:?}");
        assert!(found.contains(&("b-b".to_owned(), "4xx", "AccessDenied".to_owned(), 1)));
    }

    #[test]
    fn what_clients_ask_for_has_bounds() {
        let table = zeroed();
        table.answered(table.variable(b"never-there", 404), 404, Some(b"NoSuchBucket"));
        for n in 0..100 {
            let name = format!("bucket-{n}");
            table.answered(table.variable(name.as_bytes(), 200), 200, None);
            table.answered(table.variable(name.as_bytes(), 404), 404, Some(b"NoSuchKey"));
        }
        table.answered(table.configured(b"configured"), 200, None);
        let found = answers(&table);
        assert_eq!(found.len(), 2 * VARIABLE + 1 + 3);
        for other in expected(&[
            ("configured", "2xx", "", 1),
            (OTHER_BUCKET, "2xx", "", 100 - VARIABLE as u64),
            (OTHER_BUCKET, "4xx", "NoSuchBucket", 1),
            (OTHER_BUCKET, "4xx", "NoSuchKey", 100 - VARIABLE as u64),
        ]) {
            assert!(found.contains(&other), "{other:?} in {found:?}");
        }
        for n in 0..200 {
            table.answered(table.configured(format!("c-{n}").as_bytes()), 500, None);
        }
        let other = (OTHER_BUCKET.to_owned(), "5xx", String::new(), 200 - (CONFIGURED as u64 - 1));
        assert!(answers(&table).contains(&other));
    }

    #[test]
    fn connections_and_signatures_are_counted() {
        let table = zeroed();
        table.signed();
        [false, true, true].into_iter().for_each(|is_kept| table.connected(is_kept));
        [true, false, true, true].into_iter().for_each(|resumed| table.shook_hands(resumed));
        let metrics = table.metrics();
        let of = &metrics.connections;
        assert_eq!((metrics.signatures, of.new, of.kept, of.full, of.resumed), (1, 1, 2, 1, 3));
    }
}
