//! The time of a signature.

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

    /// The day, which the signing key is derived for.
    pub(super) fn day(&self) -> [u8; 8] {
        let mut day = [0; 8];
        day.copy_from_slice(&self.0[..8]);
        day
    }
}
