//! Points in time: read as S3's answers write them (RFC 3339), and taken apart to be written.

/// A point in time, taken apart in UTC by the Gregorian calendar.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Civil {
    pub year: u16,
    /// From 1 to 12.
    pub month: u8,
    /// From 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl Civil {
    /// Its seconds since 1970.
    pub fn seconds(self) -> i64 {
        let Civil { hour, minute, second, .. } = self;
        let second = u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second);
        i64::from(self.days()) * DAY + i64::from(second)
    }

    /// The day of the week, from 0, Sunday.
    pub fn weekday(self) -> u8 {
        // That of 1970-01-01 was a Thursday.
        ((self.days() + 4) as u32 % 7) as u8
    }

    /// As HTTP has it (RFC 9110, 5.6.7): `Mon, 12 Oct 2009 17:50:30 GMT`.
    pub fn http_date(self) -> [u8; 29] {
        let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        date[..3]
            .copy_from_slice(WEEKDAYS.get(usize::from(self.weekday())).copied().unwrap_or(b"Thu"));
        date[5..7].copy_from_slice(&digits(self.day));
        date[8..11].copy_from_slice(month(self.month));
        date[12..16].copy_from_slice(&year_digits(self.year));
        date[17..19].copy_from_slice(&digits(self.hour));
        date[20..22].copy_from_slice(&digits(self.minute));
        date[23..25].copy_from_slice(&digits(self.second));
        date
    }

    /// Its days since 1970.
    fn days(self) -> i32 {
        let [year, month, day] = [self.year.into(), self.month.into(), self.day.into()];
        days_before(year, month, day) as i32 - DAYS_BEFORE_1970 as i32
    }
}

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The name of a month, from 1 to 12.
pub fn month(number: u8) -> &'static [u8; 3] {
    MONTHS.get(usize::from(number.wrapping_sub(1))).copied().unwrap_or(b"Jan")
}

/// The numbers below 100 as two digits each.
const DIGITS: [[u8; 2]; 100] = {
    let mut digits = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        digits[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    digits
};

/// The two digits of a number below 100.
#[inline]
pub fn digits(number: u8) -> [u8; 2] {
    DIGITS.get(usize::from(number)).copied().unwrap_or_default()
}

/// The four digits of a year.
pub fn year_digits(year: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (digits((year / 100) as u8), digits((year % 100) as u8));
    [a, b, c, d]
}

/// The last second that is written with four digits of a year: 9999-12-31T23:59:59Z.
pub const LAST: i64 = 253_402_300_799;

const DAY: i64 = 86_400;

/// How many days there are before 1970-01-01 in a calendar that begins with the 1st of March of year 0,
/// so that a leap day is the last of its year.
const DAYS_BEFORE_1970: u32 = 719_468;

/// Reads a time as RFC 3339 has it (`2009-10-12T17:50:30.000Z`), and returns its seconds since 1970. See [`read`].
pub fn seconds(text: &[u8]) -> Option<i64> {
    read(text).map(Civil::seconds)
}

/// Reads a time as RFC 3339 has it (`2009-10-12T17:50:30.000Z`). A fraction is dropped. `None` for what is no such
/// time, and for times before 1970 and behind [`LAST`].
pub fn read(text: &[u8]) -> Option<Civil> {
    let (written, behind) = split_local(text)?;
    match offset(behind)? {
        0 if is_usual(written) => Some(written),
        ahead => {
            let at = written.seconds() - ahead;
            (0..=LAST).contains(&at).then(|| civil(at))
        }
    }
}

/// Splits off the time that a text begins with, in the forms that nearly all answers have it in: in UTC, with three
/// digits of a fraction or none. [`read`] says the same of it.
#[inline]
pub fn split_off(text: &[u8]) -> Option<(Civil, &[u8])> {
    let (written, behind) = split_local(text)?;
    let behind = match behind {
        [b'.', a, b, c, b'Z', behind @ ..]
            if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() =>
        {
            behind
        }
        [b'Z', behind @ ..] => behind,
        _ => return None,
    };
    is_usual(written).then_some((written, behind))
}

/// Splits off the time that a text begins with, up to its seconds: as it is written, wherever that is. A leap second
/// is counted as the first of the next minute.
#[inline]
fn split_local(text: &[u8]) -> Option<(Civil, &[u8])> {
    let (date, rest) = text.split_first_chunk()?;
    let ([d1, d2, b'T' | b't' | b' '], rest) = rest.split_first_chunk()? else { return None };
    let (time, behind) = rest.split_first_chunk()?;
    let [century, _, year, _, _, month, ..] = pairs(date, b"0000-00-")?;
    let [hour, _, _, minute, _, _, second, _] = pairs(time, b"00:00:00")?;
    let (year, day) = (u16::from(century) * 100 + u16::from(year), two(*d1, *d2)?);
    let is_there =
        (1..=days_in(year, month)?).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    is_there.then_some((Civil { year, month, day, hour, minute, second }, behind))
}

/// Whether a time that was read is none that is written otherwise, or not at all.
#[inline]
fn is_usual(time: Civil) -> bool {
    time.second < 60 && time.year >= 1970
}

/// The numbers that each two bytes next to each other are, where all are as in the pattern: a digit for a `0`, and
/// otherwise what it says. All are looked at at once, as listings have a time for each entry.
#[inline]
fn pairs(text: &[u8; 8], pattern: &[u8; 8]) -> Option<[u8; 8]> {
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);
    // What makes the highest bit of what is beyond a 9 or, where no digit is, beyond nothing.
    let room = pattern.map(|b| if b == b'0' { 0x7f - 9 } else { 0x7f });
    let found = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*pattern);
    if (((found & !HIGHEST) + u64::from_le_bytes(room)) | found) & HIGHEST != 0 {
        return None;
    }
    Some((found * 10 + (found >> 8)).to_le_bytes())
}

/// Takes seconds since 1970 apart; those outside of 1970 to [`LAST`] count as the nearest inside.
pub fn civil(seconds: i64) -> Civil {
    let seconds = seconds.clamp(0, LAST);
    let (days, second) = ((seconds / DAY) as u32, (seconds % DAY) as u32);
    let from_march = days + DAYS_BEFORE_1970;
    // 400, 100, 4 and 1 years, of which each first one has its leap day at the end of the last.
    let (era, day) = (from_march / 146_097, from_march % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let is_next_year = month >= 10;
    Civil {
        year: (era * 400 + year + u32::from(is_next_year)) as u16,
        month: if is_next_year { month - 9 } else { month + 3 } as u8,
        day: (day - (153 * month + 2) / 5 + 1) as u8,
        hour: (second / 3600) as u8,
        minute: (second / 60 % 60) as u8,
        second: (second % 60) as u8,
    }
}

/// The days from the 1st of March of year 0 to a day.
fn days_before(year: u32, month: u32, day: u32) -> u32 {
    // January and February are the last months of the year before.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

fn days_in(year: u16, month: u8) -> Option<u8> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(28 + u8::from(is_leap)),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// By how many seconds local time is ahead of UTC, from what stands behind the seconds.
fn offset(text: &[u8]) -> Option<i64> {
    let zone = match text.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            fraction.get(digits..).filter(|_| digits > 0)?
        }
        _ => text,
    };
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

/// The number that two digits are.
fn two(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<i64> {
        seconds(text.as_bytes())
    }

    #[test]
    fn times_are_read() {
        // Numbers of date -d ... +%s.
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2009-10-12T17:50:30.000Z", 1_255_369_830),
            ("2009-10-12T17:50:30.123456789Z", 1_255_369_830),
            ("2009-10-12t17:50:30z", 1_255_369_830),
            ("2009-10-12T19:50:30+02:00", 1_255_369_830),
            ("2009-10-12T12:20:30.5-05:30", 1_255_369_830),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T23:00:00-01:00", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(at(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2009-10-12",
            "2009-10-12T17:50:30",
            "2009-10-12T17:50:30.Z",
            "2009-10-12T17:50:30Zx",
            "2009-10-12T17:50:30+0200",
            "2009-10-12T17:50:30+24:00",
            "2009-10-12T17:50:30+02:60",
            "2009-10-12T24:00:00Z",
            "2009-10-12T17:60:00Z",
            "2009-10-12T17:50:61Z",
            "2009-13-12T17:50:30Z",
            "2009-00-12T17:50:30Z",
            "2009-02-29T17:50:30Z",
            "2100-02-29T17:50:30Z",
            "2009-10-00T17:50:30Z",
            "2009-10-32T17:50:30Z",
            "2009-1x-12T17:50:30Z",
            "+009-10-12T17:50:30Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "0000-03-01T00:00:00Z",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn usual_times_are_split_off() {
        for (text, expected) in [
            ("2009-10-12T17:50:30.123Z<", Some(1_255_369_830)),
            ("2009-10-12T17:50:30Z<", Some(1_255_369_830)),
            ("9999-12-31T23:59:59Z<", Some(LAST)),
            ("2009-10-12T17:50:30.12Z<", None),
            ("2009-10-12T17:50:30.1x3Z<", None),
            ("2009-10-12T17:50:30+00:00<", None),
            ("2016-12-31T23:59:60Z<", None),
            ("1969-12-31T23:59:59Z<", None),
            ("2009-13-12T17:50:30Z<", None),
            ("2009-10-12T17:50:30", None),
            ("<", None),
        ] {
            let found = split_off(text.as_bytes()).map(|(time, rest)| (time.seconds(), rest));
            assert_eq!(found, expected.map(|seconds| (seconds, &b"<"[..])), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_http_has_them() {
        for (seconds, text) in [
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_255_369_830, b"Mon, 12 Oct 2009 17:50:30 GMT"),
            (LAST, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(civil(seconds).http_date(), *text);
        }
    }

    #[test]
    fn every_day_is_taken_apart_as_it_was_read() {
        let (mut seconds, mut weekday) = (0, 4);
        for year in 1970..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month).unwrap() {
                    let (hour, minute, second) = ((seconds / DAY % 24) as u8, day % 60, month);
                    let at = seconds
                        + i64::from(hour) * 3600
                        + i64::from(minute) * 60
                        + i64::from(second);
                    let expected = Civil { year, month, day, hour, minute, second };
                    assert_eq!(civil(at), expected);
                    assert_eq!((expected.seconds(), expected.weekday()), (at, weekday));
                    (seconds, weekday) = (seconds + DAY, (weekday + 1) % 7);
                }
            }
        }
        assert_eq!((seconds, civil(i64::MIN)), (LAST + 1, civil(0)));
        assert_eq!(civil(i64::MAX), civil(LAST));
    }
}
