//! The times in answers and in signatures, as Unix seconds.

use crate::s3::auth::sigv4::Stamp;

const DAY: i64 = 86_400;

/// Reads a time as RFC 3339 writes it, `2026-11-25T10:00:00Z`: with or without a fraction of a second, which is
/// cut off, in UTC or with an offset `+hh:mm`. A leap second is the next minute's first.
///
/// Returns Unix seconds, or `None` for what is no time of the years 1970 to 9999.
pub fn unix_seconds(text: &str) -> Option<i64> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let &[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T' | b't', h1, h2, b':', mi1, mi2, b':', s1, s2] =
        date_time
    else {
        return None;
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?);
    let is_valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_valid {
        return None;
    }
    let of_day = hour * 3600 + minute * 60 + second - offset(rest)?;
    Some(days(year, month, day) * DAY + of_day).filter(|&seconds| seconds >= 0)
}

/// The seconds that a zone is ahead of UTC, from what stands behind the seconds of a time.
fn offset(rest: &[u8]) -> Option<i64> {
    let zone = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            fraction.get(digits..).filter(|_| digits > 0)?
        }
        None => rest,
    };
    let &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = zone else {
        return matches!(zone, b"Z" | b"z").then_some(0);
    };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
    Some(if sign == b'-' { -seconds } else { seconds })
}

/// The time as signatures have it. One before 1970 is taken for its beginning, one behind 9999 for its end.
pub fn stamp(unix_seconds: i64) -> Stamp {
    let seconds = unix_seconds.clamp(0, days(10_000, 1, 1) * DAY - 1);
    let (mut day, of_day) = (seconds / DAY, seconds % DAY);
    // A year has at most 366 days, so that this is never too late, and too early by few years.
    let mut year = 1970 + day / 366;
    day -= days(year, 1, 1);
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    let of_day = [of_day / 3600, of_day / 60 % 60, of_day % 60];
    let [hour, minute, second] = of_day.map(|field| field as u32);
    Stamp::new([year as u32, month as u32, day as u32 + 1, hour, minute, second])
}

/// A number of decimal digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, b| match b {
        b'0'..=b'9' => Some(number * 10 + i64::from(b - b'0')),
        _ => None,
    })
}

/// Days from 1970-01-01 to a date of 1970 or later.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = 365 * (year - 1970) + (before / 4 - before / 100 + before / 400) - 477;
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: i64) -> i64 {
    365 + i64::from(is_leap(year))
}

/// The days of a month.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1972-02-29T00:00:00Z", 68_169_600),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2011-07-11T19:55:29.611Z", 1_310_414_129),
            ("2017-05-17T15:09:54Z", 1_495_033_794),
            ("2026-11-25T10:00:00Z", 1_795_600_800),
            ("2026-11-25T10:00:00.000000000Z", 1_795_600_800),
            ("2026-11-25t10:00:00z", 1_795_600_800),
            ("2026-11-25T10:00:00+00:00", 1_795_600_800),
            ("2026-11-25T10:00:00.5-00:00", 1_795_600_800),
            ("2026-11-25T15:30:00+05:30", 1_795_600_800),
            ("2026-11-24T22:00:00-12:00", 1_795_600_800),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(unix_seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026-11-25",
            "2026-11-25T10:00:00",
            "2026-11-25 10:00:00Z",
            "2026-11-25T10:00:00.Z",
            "2026-11-25T10:00:00ZZ",
            "2026-11-25T10:00:00+0000",
            "2026-11-25T10:00:00+24:00",
            "2026-11-25T10:00:00+00:60",
            "2026-11-25T10:00:00+00:00Z",
            "2026-11-25T10:00:61Z",
            "2026-11-25T10:60:00Z",
            "2026-11-25T24:00:00Z",
            "2026-11-31T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2100-02-29T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-01-00T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+026-01-01T00:00:00Z",
            "2026-1-001T00:00:00Z",
            "2026-01-01T00:00:0\u{e9}Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn stamps_out_of_range_are_its_ends() {
        assert_eq!(stamp(-1).as_bytes(), b"19700101T000000Z");
        assert_eq!(stamp(i64::MAX).as_bytes(), b"99991231T235959Z");
        assert_eq!(stamp(1_795_600_800).as_bytes(), b"20261125T100000Z");
    }

    proptest! {
        #[test]
        fn a_stamp_is_its_time(seconds in 0_i64..253_402_300_800) {
            let text = String::from_utf8(stamp(seconds).as_bytes().to_vec()).unwrap();
            let part = |range: std::ops::Range<usize>| &text[range];
            let text = format!(
                "{}-{}-{}T{}:{}:{}Z",
                part(0..4), part(4..6), part(6..8), part(9..11), part(11..13), part(13..15)
            );
            prop_assert_eq!(unix_seconds(&text), Some(seconds));
        }
    }
}
