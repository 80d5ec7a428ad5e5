//! Functions of the program that the library calls back.

use std::ffi::c_void;

use weir_guest::Code;
use weir_wire::handle::Handle;

use super::buffers::with_buffer;
use super::{LIBRARY, code, object, status};
use crate::generated::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
    CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, CL_RUNNING, CL_SUBMITTED, cl_context, cl_event,
    cl_int, cl_mem, encode, kind,
};

type OnEvent = unsafe extern "C" fn(cl_event, cl_int, *mut c_void);
type OnEnd = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// Functions to be called when an object is gone, the last first. They go with what is kept of it.
#[derive(Debug)]
pub struct AtEnd {
    functions: Vec<(OnEnd, *mut c_void)>,
    address: *mut c_void,
}

impl Default for AtEnd {
    fn default() -> AtEnd {
        AtEnd {
            functions: Vec::new(),
            address: std::ptr::null_mut(),
        }
    }
}

// SAFETY: the program gave the functions and their data to be used from any thread.
unsafe impl Send for AtEnd {}

impl AtEnd {
    fn add(&mut self, address: *mut c_void, function: OnEnd, data: *mut c_void) {
        self.address = address;
        self.functions.push((function, data));
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        for (function, data) in self.functions.drain(..).rev() {
            // SAFETY: the program gave it to be called so.
            unsafe { function(self.address, data) };
        }
    }
}

pub unsafe extern "C" fn clSetMemObjectDestructorCallback(
    memobj: cl_mem,
    pfn_notify: Option<OnEnd>,
    user_data: *mut c_void,
) -> cl_int {
    status(LIBRARY.current().and_then(|weir| {
        let object = object(weir, memobj, kind::CL_MEM)?;
        let function = pfn_notify.ok_or(code(CL_INVALID_VALUE))?;
        with_buffer(object, |buffer| {
            buffer.at_end.add(memobj, function, user_data)
        })
    }))
}

pub unsafe extern "C" fn clSetContextDestructorCallback(
    context: cl_context,
    pfn_notify: Option<OnEnd>,
    user_data: *mut c_void,
) -> cl_int {
    status(LIBRARY.current().and_then(|weir| {
        let object = object(weir, context, kind::CL_CONTEXT)?;
        let function = pfn_notify.ok_or(code(CL_INVALID_VALUE))?;
        let mut extra = object.extra();
        let at_end = extra.get_or_insert_with(|| Box::new(AtEnd::default()));
        if let Some(at_end) = at_end.downcast_mut::<AtEnd>() {
            at_end.add(context, function, user_data);
        }
        Ok(())
    }))
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
