//! Tasks of a worker that no request waits for: begun with the worker, stopped with it.
//!
//! A module starts its tasks in `init_process`, where [`is_first_worker`] says so, and calls [`stop`] in
//! `exit_process`. nginx calls that in every process that ends: for SIGQUIT when no timer is left that has to be
//! waited for (those of this file have not to), for SIGTERM at once, with `master_process off` for both. A worker
//! that shuts down can live for hours with a long download: an endless task looks at [`is_exiting`] behind each wait
//! and returns when it is not to go on.

use core::cell::Cell;
use core::future::{poll_fn, Future};
use core::pin::pin;
use core::ptr::{self, NonNull};
use core::task::Poll;
use core::time::Duration;

use ngx::async_::{spawn, Sleep, Task};
use ngx::ffi::{
    ngx_current_msec, ngx_exiting, ngx_log_t, ngx_msec_t, ngx_process, ngx_worker,
    NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER,
};

/// The tasks of this process. Nobody frees it when the library is unloaded: [`stop`] did.
static TASKS: Tasks = Tasks(Cell::new(Vec::new()));

struct Tasks(Cell<Vec<Task<()>>>);

// SAFETY: only a worker's main thread runs this module's code.
unsafe impl Sync for Tasks {}

/// Whether this is the one process that does what nginx as a whole needs once. nginx's cache processes have
/// their init_process called too, and the same number.
pub fn is_first_worker() -> bool {
    // SAFETY: nginx sets both before a process begins.
    let (process, number) = unsafe { (ngx_process, ngx_worker) };
    process == NGX_PROCESS_SINGLE as usize || process == NGX_PROCESS_WORKER as usize && number == 0
}

/// Whether this worker shuts down, and only ends what it has begun.
pub fn is_exiting() -> bool {
    // SAFETY: nginx changes it in its main thread.
    unsafe { ngx_exiting != 0 }
}

/// nginx's clock in milliseconds, which turns over.
pub fn now() -> ngx_msec_t {
    // SAFETY: it is a word that nginx's main thread writes to, within its event loop.
    unsafe { ptr::addr_of!(ngx_current_msec).read_volatile() }
}

/// Starts a task, which runs for the first time in the event loop: not all of a process is ready in `init_process`.
///
/// What wakes a task runs it there and then, so that whoever wakes one touches nothing after it that the task can free;
/// and nothing may wake a task from within its own poll, or [`stop`] would not end it.
///
/// # Safety
/// In a process that calls [`stop`] at its end. The log lives as long.
pub unsafe fn start(log: NonNull<ngx_log_t>, task: impl Future<Output = ()> + 'static) {
    let task = spawn(async move {
        sleep(0, log).await;
        task.await;
    });
    let mut tasks = TASKS.0.take();
    tasks.retain(|task| !task.is_finished());
    tasks.push(task);
    TASKS.0.set(tasks);
}

/// Drops all tasks, each with whatever it waits for: timers, connections, questions to DNS.
///
/// # Safety
/// In `exit_process`, while the configuration still lives.
pub unsafe fn stop() {
    drop(TASKS.0.take());
}

/// Waits so many milliseconds. A worker that shuts down does not wait for it.
pub async fn sleep(time: ngx_msec_t, log: NonNull<ngx_log_t>) {
    Sleep::new(Duration::from_millis(time as u64), log).await;
}

/// What a future becomes within so many milliseconds; after them `None`, and the future is dropped with this.
pub async fn within<F: Future>(
    limit: ngx_msec_t,
    log: NonNull<ngx_log_t>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = pin!(sleep(limit, log));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}
