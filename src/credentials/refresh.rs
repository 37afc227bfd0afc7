//! One endless task for each source, in one process of nginx: it keeps the keys of the source fresh.

use core::ptr::{self, NonNull};
use std::io::ErrorKind;
use std::rc::Rc;

use ngx::ffi::{ngx_log_t, ngx_msec_t, ngx_random, ngx_time};

use super::ask::{Asker, Failure};
use super::report::Report;
use super::schedule::{after_failure, after_success, Pace};
use super::slot::{Slot, State};
use super::source::{From, Kind, Source};
use crate::nginx::task::{self, is_exiting, sleep};
use crate::s3::sources::Keys;

/// How often a task looks whether there is something to do, in milliseconds.
const TICK: ngx_msec_t = 1_000;
/// The same while other keys are awaited, which these are asked with.
const SHORT_TICK: ngx_msec_t = 50;
/// How long after keys were renewed because S3 refused them that is done again at the earliest, in seconds.
const REFUSED: i64 = 60;
/// The longest pause, in seconds.
const LONGEST: i64 = 7 * 24 * 3_600;

/// Begins to keep the keys of sources fresh.
///
/// # Safety
/// In the init_process of the one process that is to, which calls [`task::stop`] at its end. The log lives as
/// long.
pub unsafe fn start(sources: &[Rc<Source>], log: NonNull<ngx_log_t>) {
    let mut begun: Vec<&Slot> = Vec::with_capacity(sources.len());
    for source in sources {
        // Sources of other names that ask the same share a place, and what is in it.
        let slot = source.slot().filter(|slot| !begun.iter().any(|known| ptr::eq(*known, *slot)));
        if let Some(slot) = slot {
            begun.push(slot);
            // SAFETY: the caller's promise.
            unsafe { task::start(log, keep_fresh(source.clone(), slot, log)) };
        }
    }
}

async fn keep_fresh(source: Rc<Source>, slot: &'static Slot, log: NonNull<ngx_log_t>) {
    let generation = slot.take_over();
    let mut asker = Asker::default();
    let mut report = Report::new(&source.name, log);
    let mut refused_at = i64::MIN;
    let mut end = end_of_pause(slot);
    while !is_exiting() && slot.is_mine(generation) {
        let now = ngx_time();
        let is_refused = slot.is_refused() && now.saturating_sub(refused_at) >= REFUSED;
        let mut pause = TICK;
        if is_base_awaited(&source, slot) {
            pause = SHORT_TICK;
        } else if is_refused || slot.due() <= now || task::now().wrapping_sub(end) as isize >= 0 {
            if is_refused {
                refused_at = now;
            }
            let result = asker.ask(&source, log).await;
            // A newer task may have come meanwhile, and this worker's end.
            if is_exiting() || !slot.is_mine(generation) {
                break;
            }
            settle(&source, slot, result, &mut report);
            end = end_of_pause(slot);
        }
        sleep(pause, log).await;
    }
}

/// When the pause of now is over, by the clock of timers: the other may be set back, and keys end all the same.
fn end_of_pause(slot: &Slot) -> ngx_msec_t {
    let seconds = slot.due().saturating_sub(ngx_time()).clamp(0, LONGEST);
    task::now().wrapping_add(seconds as ngx_msec_t * 1_000)
}

/// Whether the keys that ask for these are on their way for the first time.
fn is_base_awaited(source: &Source, slot: &Slot) -> bool {
    match &source.kind {
        Kind::AssumeRole { from: From::Source(base), .. } => {
            slot.state() == State::Awaited && base.state() == State::Awaited
        }
        _ => false,
    }
}

/// Shows what an attempt has brought, and when the next one is.
fn settle(
    source: &Source,
    slot: &Slot,
    result: Result<Option<Keys>, Failure>,
    report: &mut Report,
) {
    let jitter = (ngx_random() as u32) << 1;
    let now = ngx_time();
    let pace = source.pace();
    let failure = match result {
        Ok(None) => {
            slot.keep(None, after_success(pace, now, None, true, jitter));
            return;
        }
        Ok(Some(keys)) => {
            let same = slot.keys().is_some_and(|(_, known)| known == keys.credentials);
            let due = after_success(pace, now, keys.expires, same, jitter);
            if same {
                slot.keep(keys.expires, due);
            }
            if same || slot.publish(&keys.credentials, keys.expires, due) {
                slot.succeed();
                report.success(&keys, same);
                return;
            }
            Failure::Size
        }
        Err(Failure::File(_, error))
            if pace == Pace::Watched && error.kind() == ErrorKind::PermissionDenied =>
        {
            slot.keep(None, after_success(pace, now, None, true, jitter));
            report.unreadable();
            return;
        }
        Err(failure) => failure,
    };
    let failures = slot.failures().saturating_add(1);
    let due = match pace {
        // What is half written is whole soon.
        Pace::Watched => after_success(pace, now, None, true, jitter),
        Pace::Platform | Pace::Made => {
            after_failure(now, slot.expires(), failures, failure.is_refusal(), jitter)
        }
    };
    slot.fail(due);
    report.failure(&failure, slot, now);
}
