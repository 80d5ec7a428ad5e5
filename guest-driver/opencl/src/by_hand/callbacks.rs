//! Functions of the program that the library calls back.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_guest::Code;
use weir_guest::call::quietly;
use weir_guest::connection::Connection;
use weir_guest::objects::Ended;

use super::{LIBRARY, code, object, status};
use crate::generated::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY,
    CL_RUNNING, CL_SUBMITTED, cl_command_queue, cl_event, cl_int, encode, kind,
};

/// How long to wait before one looks again how far a command has come: at first, and then.
const FIRST_PAUSES: [Duration; 10] = [Duration::from_micros(100); 10];
const PAUSE: Duration = Duration::from_millis(1);

type OnEvent = unsafe extern "C" fn(cl_event, cl_int, *mut c_void);
/// Calls the functions of an object that is gone: those of memory when all commands are complete that
/// were given to a queue before, as some may use it. If there are such, a thread waits for them.
pub fn ended(weir: &'static Connection, ended: Ended) {
    let before = match ended.kind {
        kind::CL_MEM => Before::new(weir.objects.all_of(kind::CL_COMMAND_QUEUE, ended.eldest)),
        _ => Before(Vec::new()),
    };
    if before.is_complete() {
        return weir.objects.end(ended);
    }
    let shared = Arc::new(Mutex::new(Some((before, ended))));
    let finish = {
        let shared = Arc::clone(&shared);
        move || {
            let taken = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((before, ended)) = taken {
                before.wait();
                weir.objects.end(ended);
            }
        }
    };
    let thread = std::thread::Builder::new().name("weir-callback".to_owned());
    if thread.spawn(finish.clone()).is_err() {
        finish();
    }
}

/// Events that are complete when all that came before is.
struct Before(Vec<cl_event>);

// SAFETY: events may be used from any thread.
unsafe impl Send for Before {}

impl Before {
    /// One for each of these queues, as far as they are still there.
    fn new(queues: Vec<cl_command_queue>) -> Before {
        let events = queues.into_iter().filter_map(|queue| {
            let mut event = std::ptr::null_mut();
            // SAFETY: the event has its place, and there is no list.
            let made = unsafe {
                encode::clEnqueueMarkerWithWaitList(queue, 0, std::ptr::null(), &mut event)
            };
            made.is_ok().then_some(event)
        });
        Before(events.collect())
    }

    fn is_complete(&self) -> bool {
        let is_under_way =
            |event: &cl_event| reached(*event).is_ok_and(|status| status > CL_COMPLETE);
        !self.0.iter().any(is_under_way)
    }

    fn wait(&self) {
        // SAFETY: the list is as long as is said.
        let wait = || unsafe { encode::clWaitForEvents(self.0.len() as u32, self.0.as_ptr()) };
        let _ = quietly(wait);
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        for event in &self.0 {
            // SAFETY: it follows no pointer, and the reference is this list's.
            let _ = unsafe { encode::clReleaseEvent(*event) };
        }
    }
}

/// A function to be called when an event has come so far.
struct Waiting {
    wanted: cl_int,
    function: OnEvent,
    data: *mut c_void,
}

// SAFETY: function and data are the program's, which gave them to be used from any thread.
unsafe impl Send for Waiting {}

/// The functions of one event that are still to be called. While there is such a list, kept with the
/// event, a thread waits until its command has ended.
#[derive(Default)]
struct Waiters {
    list: Vec<Waiting>,
    /// Whether another thread looks how far the command has come.
    looking: bool,
    /// Held by whoever calls functions of the list, so that they are called in their order.
    turn: Arc<Mutex<()>>,
}

/// An event that a thread of the library holds.
struct Held(cl_event);

// SAFETY: events may be used from any thread.
unsafe impl Send for Held {}

/// Waits in a thread of the event's own: it may be long, and must hold up neither the program nor
/// the callbacks of other events.
pub unsafe extern "C" fn clSetEventCallback(
    event: cl_event,
    command_exec_callback_type: cl_int,
    pfn_notify: Option<OnEvent>,
    user_data: *mut c_void,
) -> cl_int {
    let wanted = command_exec_callback_type;
    status(LIBRARY.current().and_then(|weir| {
        let object = object(weir, event, kind::CL_EVENT)?;
        let known = matches!(wanted, CL_COMPLETE | CL_RUNNING | CL_SUBMITTED);
        let function = pfn_notify.filter(|_| known).ok_or(code(CL_INVALID_VALUE))?;
        let mut extra = object.extra();
        let waits = extra.as_ref().is_some_and(|extra| extra.is::<Waiters>());
        if !waits {
            Held::start(event, Held::finish)?;
            *extra = Some(Box::new(Waiters::default()));
        }
        let Some(waiters) = extra.as_mut().and_then(|e| e.downcast_mut::<Waiters>()) else {
            return Err(code(CL_INVALID_VALUE));
        };
        if wanted != CL_COMPLETE && !waiters.looking {
            // (If there is no thread for it, it is called when the command has ended.)
            waiters.looking = Held::start(event, Held::look).is_ok();
        }
        waiters.list.push(Waiting {
            wanted,
            function,
            data: user_data,
        });
        Ok(())
    }))
}

impl Held {
    /// Does something with an event in a thread of its own.
    fn start(event: cl_event, then: fn(&Held)) -> Result<(), Code> {
        // SAFETY: it follows no pointer.
        unsafe { encode::clRetainEvent(event)? };
        let held = Held(event);
        let thread = std::thread::Builder::new().name("weir-callback".to_owned());
        match thread.spawn(move || then(&held)) {
            Ok(_) => Ok(()),
            // (The event was given up with what the thread would have done.)
            Err(_) => Err(code(CL_OUT_OF_HOST_MEMORY)),
        }
    }

    /// Calls back what waits for less than the end, as soon as the command has come so far.
    fn look(&self) {
        for pause in FIRST_PAUSES.into_iter().chain(std::iter::repeat(PAUSE)) {
            let Some(turn) = self.with_waiters(|waiters| Arc::clone(&waiters.turn)) else {
                return;
            };
            let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            match reached(self.0) {
                Ok(reached) if reached > CL_COMPLETE => {
                    self.call_back(|waiting| waiting.wanted >= reached, None);
                }
                // The other thread does the rest.
                _ => return,
            }
            drop(turn);
            let is_over = self.with_waiters(|waiters| {
                let early = |waiting: &Waiting| waiting.wanted != CL_COMPLETE;
                waiters.looking = waiters.list.iter().any(early);
                !waiters.looking
            });
            if is_over.unwrap_or(true) {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Waits, calls back.
    fn finish(&self) {
        // SAFETY: the event is held, and the list is this function's.
        let _ = quietly(|| unsafe { encode::clWaitForEvents(1, [self.0].as_ptr()) });
        let failed = match reached(self.0) {
            Ok(reached) if reached >= CL_COMPLETE => None,
            Ok(reached) => Some(reached),
            // The device is lost: the command has ended, and not well.
            Err(Code(code)) => Some(code as cl_int),
        };
        // (A callback may add others to the same event.)
        while let Some(turn) = self.left() {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.call_back(|_| true, failed);
        }
    }

    /// Calls those functions that are due now, in the order of what they wait for.
    fn call_back(&self, due: impl Fn(&Waiting) -> bool, failed: Option<cl_int>) {
        let taken = self.with_waiters(|waiters| {
            let list = std::mem::take(&mut waiters.list);
            let (due, rest): (Vec<_>, Vec<_>) = list.into_iter().partition(due);
            waiters.list = rest;
            due
        });
        let mut due = taken.unwrap_or_default();
        due.sort_by_key(|waiting| std::cmp::Reverse(waiting.wanted));
        for Waiting {
            wanted,
            function,
            data,
        } in due
        {
            // SAFETY: the program gave the function to be called so; the event is held.
            unsafe { function(self.0, failed.unwrap_or(wanted), data) };
        }
    }

    /// Whose turn it is, if functions are left; an event without any has no list and no thread any
    /// more.
    fn left(&self) -> Option<Arc<Mutex<()>>> {
        let object = object(LIBRARY.current().ok()?, self.0, kind::CL_EVENT).ok()?;
        let mut extra = object.extra();
        let waiters = extra.as_mut()?.downcast_mut::<Waiters>()?;
        if waiters.list.is_empty() {
            *extra = None;
            return None;
        }
        Some(Arc::clone(&waiters.turn))
    }

    fn with_waiters<T>(&self, f: impl FnOnce(&mut Waiters) -> T) -> Option<T> {
        let object = object(LIBRARY.current().ok()?, self.0, kind::CL_EVENT).ok()?;
        let mut extra = object.extra();
        extra.as_mut()?.downcast_mut::<Waiters>().map(f)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it was retained for this thread.
        let _ = unsafe { encode::clReleaseEvent(self.0) };
    }
}

/// How far the command of an event has come.
fn reached(event: cl_event) -> Result<cl_int, Code> {
    let mut reached: cl_int = CL_COMPLETE;
    let (value, mut size) = ((&raw mut reached).cast(), 0);
    let query = CL_EVENT_COMMAND_EXECUTION_STATUS;
    // SAFETY: the pointers are to variables of this function.
    unsafe { encode::clGetEventInfo(event, query, 4, value, &mut size)? };
    Ok(reached)
}
