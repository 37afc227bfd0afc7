//! The time of a signature.

use crate::s3::time;

/// A time in UTC, as `YYYYMMDD'T'HHMMSS'Z'`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp([u8; 16]);

impl Stamp {
    /// Takes year, month (1 to 12), day, hour, minute and second.
    pub fn new([year, month, day, hour, minute, second]: [u32; 6]) -> Self {
        let mut stamp = *b"00000000T000000Z";
        for (mut value, field) in [
            (year, 0..4),
            (month, 4..6),
            (day, 6..8),
            (hour, 9..11),
            (minute, 11..13),
            (second, 13..15),
        ] {
            for digit in stamp[field].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        Stamp(stamp)
    }

    /// The text, the value of `x-amz-date`.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The time in Unix seconds; 0 for one before 1970 or that there never was.
    pub fn seconds(&self) -> i64 {
        let [y1, y2, y3, y4, m1, m2, d1, d2, t, h1, h2, n1, n2, s1, s2, z] = self.0;
        let text =
            [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, t, h1, h2, b':', n1, n2, b':', s1, s2, z];
        time::seconds(&text).unwrap_or(0)
    }

    /// The day, which the signing key is derived for.
    pub(super) fn day(&self) -> [u8; 8] {
        let mut day = [0; 8];
        day.copy_from_slice(&self.0[..8]);
        day
    }
}
