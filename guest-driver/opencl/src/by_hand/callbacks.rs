//! Functions of the program that the library calls back.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use weir_guest::Code;
use weir_guest::connection::Connection;
use weir_guest::objects::Ended;
use weir_wire::handle::Handle;

use super::{LIBRARY, code, object, status};
use crate::generated::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
    CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, CL_RUNNING, CL_SUBMITTED, cl_command_queue, cl_event,
    cl_int, encode, kind,
};

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
        self.0.iter().all(|event| {
            let mut reached: cl_int = CL_COMPLETE;
            let query = CL_EVENT_COMMAND_EXECUTION_STATUS;
            let (value, mut size) = ((&raw mut reached).cast(), 0);
            // SAFETY: the pointers are to variables of this function.
            let asked = unsafe { encode::clGetEventInfo(*event, query, 4, value, &mut size) };
            asked.is_err() || reached <= CL_COMPLETE
        })
    }

    fn wait(&self) {
        // SAFETY: the list is as long as is said.
        hand_on(unsafe { encode::clWaitForEvents(self.0.len() as u32, self.0.as_ptr()) });
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
/// event, a thread waits for the event.
type Waiters = Vec<Waiting>;

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
        let waiting = Waiting {
            wanted,
            function,
            data: user_data,
        };
        let mut extra = object.extra();
        if let Some(waiters) = extra.as_mut().and_then(|e| e.downcast_mut::<Waiters>()) {
            waiters.push(waiting);
            return Ok(());
        }
        // SAFETY: it follows no pointer.
        unsafe { encode::clRetainEvent(event)? };
        let held = Held(event);
        let thread = std::thread::Builder::new().name("weir-callback".to_owned());
        match thread.spawn(move || held.finish()) {
            Ok(_) => {
                *extra = Some(Box::new(vec![waiting]));
                Ok(())
            }
            Err(_) => {
                drop(extra);
                // SAFETY: it was retained above.
                unsafe { encode::clReleaseEvent(event)? };
                Err(code(CL_OUT_OF_HOST_MEMORY))
            }
        }
    }))
}

impl Held {
    /// Waits, calls back, gives the event up.
    fn finish(self) {
        let Held(event) = self;
        let mut reached: cl_int = CL_COMPLETE;
        let mut size = 0;
        // SAFETY: the event is held, and the list is this function's.
        let waited = unsafe { encode::clWaitForEvents(1, [event].as_ptr()) };
        hand_on(waited);
        // SAFETY: the pointers are to variables of this function.
        let asked = unsafe {
            let query = CL_EVENT_COMMAND_EXECUTION_STATUS;
            let value = (&raw mut reached).cast();
            encode::clGetEventInfo(event, query, 4, value, &mut size)
        };
        let failed = match asked {
            Ok(()) if reached >= CL_COMPLETE => None,
            Ok(()) => Some(reached),
            // The device is lost: the command has ended, and not well.
            Err(Code(code)) => Some(code as cl_int),
        };
        // (A callback may add others to the same event.)
        while let Some(waiters) = take_waiters(event) {
            for Waiting {
                wanted,
                function,
                data,
            } in waiters
            {
                // SAFETY: the program gave the function to be called so; the event is held.
                unsafe { function(event, failed.unwrap_or(wanted), data) };
            }
        }
        // SAFETY: it was retained for this thread.
        let _ = unsafe { encode::clReleaseEvent(event) };
    }
}

/// The functions that are to be called now, in the order of what they wait for; an event without any
/// has no list and no thread any more.
fn take_waiters(event: cl_event) -> Option<Waiters> {
    let object = object(LIBRARY.current().ok()?, event, kind::CL_EVENT).ok()?;
    let mut extra = object.extra();
    let list = extra.as_mut()?.downcast_mut::<Waiters>()?;
    let mut waiters = std::mem::take(list);
    if waiters.is_empty() {
        *extra = None;
        return None;
    }
    waiters.sort_by_key(|waiting| std::cmp::Reverse(waiting.wanted));
    Some(waiters)
}

/// Leaves an error of another command, which came to light here, for the program to find.
fn hand_on(waited: Result<(), Code>) {
    let of_event = code(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    if let (Err(error), Ok(weir)) = (waited, LIBRARY.current())
        && error != of_event
        && error != weir.lost()
    {
        weir.arena().put_error(Handle::NULL, error.0 as i32);
    }
}
