//! One endless task for each source, in one process of nginx: it keeps the keys of the source fresh.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ngx::async_::{sleep, spawn, Task};
use ngx::ffi::{ngx_exiting, ngx_random, ngx_time};
use thiserror::Error;

use super::report::Report;
use super::schedule::{after_failure, after_success, Pace};
use super::slot::{Slot, State};
use super::source::{Authorization, From, Kind, Source, Sts};
use crate::nginx::client::{exchange, ClientError, Peer};
use crate::s3::auth::credentials::{Credentials, CredentialsError};
use crate::s3::sources::container;
use crate::s3::sources::error::SourceError;
use crate::s3::sources::instance::Instance;
use crate::s3::sources::sts;
use crate::s3::sources::{Keys, Reply, Request, Step};
use crate::s3::zeroed::zero;

/// How often a task looks whether there is something to do.
const TICK: Duration = Duration::from_secs(1);
/// The same while other keys are awaited, which these are asked with.
const SHORT_TICK: Duration = Duration::from_millis(50);
/// How long after keys that S3 refused the next refused ones are renewed before their time, in seconds.
const REFUSED: i64 = 60;
/// The longest file that is read for a source, in bytes.
const MOST: u64 = 64 * 1024;

thread_local! {
    static TASKS: RefCell<Vec<Task<()>>> = const { RefCell::new(Vec::new()) };
}

/// Begins to keep the keys of sources fresh, in the process that is to.
pub fn start(sources: &[Rc<Source>]) {
    let tasks = sources.iter().filter_map(|source| {
        let slot = source.slot()?;
        Some(spawn(keep_fresh(source.clone(), slot)))
    });
    TASKS.with_borrow_mut(|known| known.extend(tasks));
}

/// Ends it: connections are closed, before the process leaves.
pub fn stop() {
    let tasks = TASKS.take();
    drop(tasks);
}

/// Why an attempt failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The source was not reached, or did not answer in time.
    #[error("{0}{1}")]
    Client(ClientError, &'static str),
    /// It answered something else.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that is read for it.
    #[error("cannot read the {0} file as this worker's user ({1})")]
    File(&'static str, io::Error),
    /// The file of AWS's tools.
    #[error("cannot use the credentials in the file: {0}")]
    Credentials(#[from] CredentialsError),
    /// Other keys are needed first.
    #[error("the keys of credentials \"{0}\" are not there, with which it asks")]
    Base(Box<str>),
    /// Longer than any that AWS gives.
    #[error("the keys are too long to be kept")]
    Size,
}

impl Failure {
    /// Whether nothing but an operator can change it.
    fn is_refusal(&self) -> bool {
        matches!(self, Failure::Source(error) if !error.passes())
    }
}

async fn keep_fresh(source: Rc<Source>, slot: &'static Slot) {
    let generation = slot.take_over();
    let mut asker = Asker::default();
    let mut report = Report::new(&source.name);
    let mut refused_at = i64::MIN;
    // Not within the hook that starts it.
    sleep(Duration::from_millis(1)).await;
    loop {
        // SAFETY: nginx's flag is read in its own thread.
        if unsafe { ngx_exiting } != 0 || !slot.is_mine(generation) {
            return;
        }
        let now = ngx_time();
        let refused = slot.is_refused() && now.saturating_sub(refused_at) >= REFUSED;
        if refused {
            refused_at = now;
        }
        if refused || slot.due() <= now {
            if is_base_awaited(&source, slot) {
                sleep(SHORT_TICK).await;
                continue;
            }
            let result = asker.ask(&source).await;
            if !slot.is_mine(generation) {
                return;
            }
            settle(&source, slot, result, &mut report);
        }
        sleep(TICK).await;
    }
}

/// Whether the keys that ask for these were not asked for yet.
fn is_base_awaited(source: &Source, slot: &Slot) -> bool {
    match &source.kind {
        Kind::AssumeRole { from: From::Source(base), .. } => {
            slot.version() == 0 && base.state() == State::Awaited
        }
        _ => false,
    }
}

/// Shows what an attempt has brought, and when the next one is.
fn settle(source: &Source, slot: &Slot, result: Result<Keys, Failure>, report: &mut Report) {
    // SAFETY: it reads the C library's own state.
    let jitter = (unsafe { ngx_random() } as u32) << 1;
    let now = ngx_time();
    let failure = match result {
        Ok(keys) => {
            let same = slot.keys().is_some_and(|(_, known)| known == keys.credentials);
            let due = after_success(source.pace(), now, keys.expires, same, jitter);
            let shown = match same {
                true => {
                    slot.keep(keys.expires, due);
                    true
                }
                false => slot.publish(&keys.credentials, keys.expires, due),
            };
            if shown {
                report.success(&keys, same, now);
                return;
            }
            Failure::Size
        }
        Err(failure) => failure,
    };
    let due = match source.pace() {
        // What is half written is whole soon.
        Pace::Watched => after_success(Pace::Watched, now, None, true, jitter),
        Pace::Platform | Pace::Made => {
            let failures = slot.failures() + 1;
            after_failure(now, slot.expires(), failures, failure.is_refusal(), jitter)
        }
    };
    slot.fail(due);
    report.failure(&failure, slot, now);
}

/// What is remembered from one attempt to the next.
#[derive(Default)]
struct Asker {
    instance: Instance,
    /// What a file was when it was read last.
    seen: Option<Seen>,
}

impl Asker {
    /// Asks a source for its keys.
    async fn ask(&mut self, source: &Source) -> Result<Keys, Failure> {
        let limit = source.limit();
        match &source.kind {
            Kind::Instance(peer) => {
                let mut request = self.instance.begin(ngx_time());
                loop {
                    let answer = |reply: &Reply| self.instance.answer(reply, ngx_time());
                    match talk(peer, &request, limit, HOPS, answer).await? {
                        Step::Ask(next) => request = next,
                        Step::Done(keys) => return Ok(keys),
                    }
                }
            }
            Kind::Container { peer, target, authorization } => {
                let file;
                let token = match authorization {
                    Authorization::None => None,
                    Authorization::Text(text) => Some(text.as_bytes()),
                    Authorization::File(path) => {
                        file = read("authorization token", path)?;
                        Some(&*file.0)
                    }
                };
                let request = container::begin(target, token)?;
                let answer = |reply: &Reply| container::answer(reply, ngx_time());
                done(talk(peer, &request, limit, "", answer).await?)
            }
        }
    }
}
