//! Points in time: read as S3's answers write them (RFC 3339), and taken apart to be written.

use super::listing::text::{four, month, two as digits};

/// A point in time, taken apart in UTC by the Gregorian calendar.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Civil {
    pub year: u32,
    /// From 1 to 12.
    pub month: u32,
    /// From 1 to 31.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// From 0, Sunday.
    pub weekday: u32,
}

/// The last second that is written with four digits of a year: 9999-12-31T23:59:59Z.
pub const LAST: i64 = 253_402_300_799;

const DAY: i64 = 86_400;

/// How many days there are before 1970-01-01 in a calendar that begins with the 1st of March of year 0,
/// so that a leap day is the last of its year.
const DAYS_BEFORE_1970: u32 = 719_468;

/// Reads a time as RFC 3339 has it (`2009-10-12T17:50:30.000Z`), and returns its seconds since 1970. A
/// fraction is dropped. `None` for what is no such time, and for times before 1970 and behind [`LAST`].
pub fn seconds(text: &[u8]) -> Option<i64> {
    let (text, behind) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] =
        *text
    else {
        return None;
    };
    // All digits are looked at before one decision: listings have a time for each entry.
    let mut is_odd = false;
    let mut two = |tens: u8, ones: u8| {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        is_odd |= (tens > 9) | (ones > 9);
        u32::from(tens) * 10 + u32::from(ones)
    };
    let (year, month, day) = (two(y1, y2) * 100 + two(y3, y4), two(m1, m2), two(d1, d2));
    let (hour, minute, second) = (two(h1, h2), two(n1, n2), two(s1, s2));
    if is_odd {
        return None;
    }
    let is_there = (1..=days_in(year, month)?).contains(&day) && hour < 24 && minute < 60;
    // A leap second is counted as the first of the next minute.
    if !is_there || second > 60 {
        return None;
    }
    let ahead = offset(behind)?;
    let days = i64::from(days_before(year, month, day)) - i64::from(DAYS_BEFORE_1970);
    let at = days * DAY + i64::from(hour * 3600 + minute * 60 + second) - ahead;
    (0..=LAST).contains(&at).then_some(at)
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
        year: era * 400 + year + u32::from(is_next_year),
        month: if is_next_year { month - 9 } else { month + 3 },
        day: day - (153 * month + 2) / 5 + 1,
        hour: second / 3600,
        minute: second / 60 % 60,
        second: second % 60,
        weekday: (days + 4) % 7,
    }
}

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];

/// A time in seconds since 1970 as HTTP has it (RFC 9110, 5.6.7): `Mon, 12 Oct 2009 17:50:30 GMT`.
pub fn http_date(seconds: i64) -> [u8; 29] {
    let at = civil(seconds);
    let [w1, w2, w3] = *WEEKDAYS[(at.weekday % 7) as usize];
    let ([d1, d2], [m1, m2, m3], [y1, y2, y3, y4]) =
        (digits(at.day), *month(at.month), four(at.year));
    let ([h1, h2], [n1, n2], [s1, s2]) = (digits(at.hour), digits(at.minute), digits(at.second));
    [
        w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', h1, h2, b':',
        n1, n2, b':', s1, s2, b' ', b'G', b'M', b'T',
    ]
}

/// The days from the 1st of March of year 0 to a day.
fn days_before(year: u32, month: u32, day: u32) -> u32 {
    // January and February are the last months of the year before.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

fn days_in(year: u32, month: u32) -> Option<u32> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(28 + u32::from(is_leap)),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// By how many seconds local time is ahead of UTC, from what stands behind the seconds.
fn offset(text: &[u8]) -> Option<i64> {
    if matches!(text, b".000Z" | b"Z") {
        return Some(0);
    }
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
            let seconds = i64::from(hours * 3600 + minutes * 60);
            (hours < 24 && minutes < 60).then_some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

/// The number that two digits are.
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens * 10 + ones))
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
    fn times_are_written_as_http_has_them() {
        for (seconds, text) in [
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_255_369_830, b"Mon, 12 Oct 2009 17:50:30 GMT"),
            (LAST, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(seconds), *text);
        }
    }

    #[test]
    fn every_day_is_taken_apart_as_it_was_read() {
        let (mut seconds, mut weekday) = (0, 4);
        for year in 1970..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month).unwrap() {
                    let (hour, minute, second) = (seconds as u32 % 24, day % 60, month);
                    let at = seconds + i64::from(hour * 3600 + minute * 60 + second);
                    let expected = Civil { year, month, day, hour, minute, second, weekday };
                    assert_eq!(civil(at), expected);
                    let days = i64::from(days_before(year, month, day) - DAYS_BEFORE_1970);
                    assert_eq!(days * DAY, seconds, "{expected:?}");
                    (seconds, weekday) = (seconds + DAY, (weekday + 1) % 7);
                }
            }
        }
        assert_eq!((seconds, civil(i64::MIN)), (LAST + 1, civil(0)));
        assert_eq!(civil(i64::MAX), civil(LAST));
    }
}
