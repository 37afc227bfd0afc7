//! What operators are told of keys that renew themselves. No key, token or answer is in it.

use core::ptr::NonNull;

use ngx::ffi::{ngx_log_t, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::ask::Failure;
use super::slot::Slot;
use crate::s3::sources::Keys;
use crate::s3::time::{civil, Civil};

/// How often the same failure is told, in seconds.
const AGAIN: i64 = 3_600;
/// When keys that are not renewed have become urgent: so many seconds before their end.
const URGENT: i64 = 300;

/// What was told of one source.
pub struct Report {
    name: Box<str>,
    log: NonNull<ngx_log_t>,
    /// The last failure, when it was told, and whether as an error; none while all is well.
    told: Option<(String, i64, bool)>,
}

impl Report {
    /// For the source of that name.
    pub fn new(name: &str, log: NonNull<ngx_log_t>) -> Self {
        Report { name: name.into(), log, told: None }
    }

    /// Keys were fetched: those that were there before, if they are the `same`.
    pub fn success(&mut self, keys: &Keys, same: bool) {
        let recovered = self.told.take().is_some();
        // What nobody misses is told to those who look for it.
        let level = if same && !recovered { NGX_LOG_INFO } else { NGX_LOG_NOTICE };
        let from = match &keys.of {
            Some(role) => format!(" from role \"{role}\""),
            None => String::new(),
        };
        let until = match keys.expires {
            Some(expires) => format!(", valid until {}", time(expires)),
            None => String::new(),
        };
        let what = if same { "unchanged" } else { "refreshed" };
        let name = &self.name;
        ngx_log_error!(
            level,
            self.log.as_ptr(),
            "s3_private_bucket: credentials \"{name}\": {what}{from}{until}"
        );
    }

    /// The file can be read by the master process only.
    pub fn unreadable(&mut self) {
        if self.told.is_none() {
            let name = &self.name;
            ngx_log_error!(
                NGX_LOG_NOTICE,
                self.log.as_ptr(),
                "s3_private_bucket: credentials \"{name}\": the user of nginx's workers cannot read the \
                 file, so that a change of it needs a reload"
            );
            self.told = Some((String::new(), 0, false));
        }
    }

    /// An attempt failed, at `now` in Unix seconds.
    pub fn failure(&mut self, failure: &Failure, slot: &Slot, now: i64) {
        let left = slot.expires().map(|expires| expires - now);
        let (is_urgent, what) = match (slot.version(), left) {
            (0, _) => (true, "there are none".to_owned()),
            (_, None) => (false, "the old ones stay in use".to_owned()),
            (_, Some(left @ 0..)) => {
                (left < URGENT, format!("the old ones are valid for {left} s"))
            }
            (_, Some(_)) => (true, "the old ones have expired, and stay in use".to_owned()),
        };
        let text = failure.to_string();
        let is_known = self.told.as_ref().is_some_and(|(known, since, as_error)| {
            *known == text && now - since < AGAIN && (*as_error || !is_urgent)
        });
        if is_known {
            return;
        }
        let level = if is_urgent { NGX_LOG_ERR } else { NGX_LOG_WARN };
        let name = &self.name;
        ngx_log_error!(
            level,
            self.log.as_ptr(),
            "s3_private_bucket: credentials \"{name}\" could not be refreshed: {text}; {what}"
        );
        self.told = Some((text, now, is_urgent));
    }
}

/// A time as AWS writes it.
fn time(seconds: i64) -> String {
    let Civil { year, month, day, hour, minute, second } = civil(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
