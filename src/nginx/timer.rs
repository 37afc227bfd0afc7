//! A timer of the worker, for what is no request's.

use core::mem;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_cycle, ngx_del_timer, ngx_event_handler_pt, ngx_event_t,
    ngx_msec_t,
};

/// A timer. It stays where it is, as nginx points to it.
pub struct Timer {
    event: ngx_event_t,
    /// nginx logs the file of what an event is for.
    none: ngx_connection_t,
}

impl Timer {
    /// A timer that calls `handler`.
    pub fn new(handler: ngx_event_handler_pt) -> Box<Self> {
        // SAFETY: zeroed is how nginx initialises both.
        let mut timer = unsafe { Box::new(Timer { event: mem::zeroed(), none: mem::zeroed() }) };
        timer.none.fd = -1;
        timer.event.handler = handler;
        timer.event.data = (&raw mut timer.none).cast();
        timer
    }

    /// Has nginx call the handler in so many milliseconds, unless it is about to anyway.
    ///
    /// # Safety
    /// The timer lives as long as the worker.
    pub unsafe fn start(&mut self, pause: ngx_msec_t) {
        // SAFETY: a worker has a cycle with a log; the event is in no tree yet.
        unsafe {
            self.event.log = (*ngx_cycle).log;
            if self.event.timer_set() == 0 {
                ngx_add_timer(&mut self.event, pause);
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.event.timer_set() != 0 {
            // SAFETY: the event is ours, and in nginx's tree.
            unsafe { ngx_del_timer(&mut self.event) };
        }
    }
}
