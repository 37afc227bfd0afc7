//! When keys are renewed. Times are Unix seconds; `jitter` is any number, so that many hosts do not ask at
//! once.

/// How the keys of a source are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The platform renews them by itself: asked 15 minutes before their end.
    Platform,
    /// Each request makes new ones: asked after three quarters of their life.
    Made,
    /// A file that may change at any time.
    Watched,
}

/// How long after keys that did not change they are asked for again.
const SAME: i64 = 60;
/// How often a file is looked at.
const WATCH: i64 = 5;
/// How long before their end the platform's keys are renewed.
const EARLY: i64 = 15 * 60;
/// Where keys do not say when they end.
const ENDLESS: i64 = 60 * 60;
/// The longest pause behind a failure, when keys end soon or there are none.
const SOON: i64 = 60;
/// The same while they are valid for long.
const LATER: i64 = 5 * 60;

/// When to renew keys that were fetched at `now` and end at `expires`. `same`: they are those that were
/// there before.
pub fn after_success(pace: Pace, now: i64, expires: Option<i64>, same: bool, jitter: u32) -> i64 {
    let Some(expires) = expires else {
        let pause = if pace == Pace::Watched { WATCH } else { ENDLESS };
        return now.saturating_add(pause);
    };
    let life = expires.saturating_sub(now).max(0);
    let wait = match pace {
        Pace::Watched => return now.saturating_add(WATCH),
        Pace::Made => life / 4 * 3 + life % 4 * 3 / 4,
        Pace::Platform if life >= 2 * EARLY => life - EARLY,
        Pace::Platform => life / 2,
    };
    // Up to a tenth earlier.
    let wait = wait - portion(wait / 10, jitter);
    match same && wait < SAME {
        true => now.saturating_add(SAME * 4 / 5 + portion(SAME * 2 / 5, jitter)),
        false => now.saturating_add(wait.max(1)),
    }
}

/// When to ask again behind a failure, the `failures`th in a row, while there are keys that end at
/// `expires`. `is_refused`: by what will not change within a minute.
pub fn after_failure(
    now: i64,
    expires: Option<i64>,
    failures: u64,
    is_refused: bool,
    jitter: u32,
) -> i64 {
    let is_valid_for_long = expires.is_some_and(|end| end.saturating_sub(now) > EARLY);
    let most = if is_valid_for_long { LATER } else { SOON };
    let pause = match is_refused {
        true => SOON,
        false => {
            1i64.checked_shl(failures.saturating_sub(1).min(32) as u32).unwrap_or(most).min(most)
        }
    };
    // Up to a quarter more; the first is at once.
    now.saturating_add(pause + portion(pause / 4, jitter))
}

/// A part of `of`, from nothing to all of it.
fn portion(of: i64, jitter: u32) -> i64 {
    (i128::from(of) * i128::from(jitter) / i128::from(u32::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;
    const HALF: u32 = u32::MAX / 2;

    #[test]
    fn keys_are_renewed_well_before_their_end() {
        for (pace, life, least, most) in [
            (Pace::Made, 3600, 2430, 2700),
            (Pace::Made, 900, 608, 675),
            (Pace::Made, 5, 3, 3),
            (Pace::Made, 1, 1, 1),
            (Pace::Platform, 6 * 3600, 18_630, 6 * 3600 - 900),
            (Pace::Platform, 1800, 810, 900),
            (Pace::Platform, 60, 27, 30),
            (Pace::Platform, 0, 1, 1),
            (Pace::Platform, -50, 1, 1),
        ] {
            for jitter in [0, 1, HALF, u32::MAX] {
                let due = after_success(pace, NOW, Some(NOW + life), false, jitter) - NOW;
                assert!((least..=most).contains(&due), "{pace:?} {life} {jitter}: {due}");
            }
        }
        assert_eq!(after_success(Pace::Platform, NOW, None, false, HALF), NOW + 3600);
        for expires in [None, Some(NOW + 5), Some(i64::MAX)] {
            assert_eq!(after_success(Pace::Watched, NOW, expires, true, HALF), NOW + 5);
        }
        assert!(after_success(Pace::Made, NOW, Some(i64::MAX), false, HALF) > NOW);
    }

    #[test]
    fn the_same_keys_again_are_no_loop() {
        for life in [-5, 0, 10, 100] {
            for (jitter, expected) in [(0, 48), (HALF, 59), (u32::MAX, 72)] {
                let due = after_success(Pace::Platform, NOW, Some(NOW + life), true, jitter);
                assert_eq!(due - NOW, expected);
            }
        }
        let due = after_success(Pace::Platform, NOW, Some(NOW + 6 * 3600), true, 0);
        assert_eq!(due - NOW, 6 * 3600 - 900, "as long as they are valid for long");
    }

    #[test]
    fn failures_are_tried_again_less_and_less() {
        let pauses = |expires, refused| -> Vec<i64> {
            (1..12).map(|n| after_failure(NOW, expires, n, refused, 0) - NOW).collect()
        };
        assert_eq!(pauses(None, false), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
        assert_eq!(pauses(Some(NOW + 900), false)[6..8], [60, 60]);
        assert_eq!(pauses(Some(NOW + 901), false)[6..], [64, 128, 256, 300, 300]);
        assert_eq!(pauses(None, true), [60; 11]);
        assert_eq!(after_failure(NOW, None, 3, false, u32::MAX), NOW + 5);
        assert_eq!(after_failure(NOW, None, u64::MAX, false, 0), NOW + 60);
    }
}
