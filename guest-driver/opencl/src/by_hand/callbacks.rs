//! Functions of the program that the library calls back.

use std::ffi::c_void;

use weir_guest::Code;

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

/// What a thread needs that waits for an event and then calls back.
struct Waiting {
    event: cl_event,
    wanted: cl_int,
    function: OnEvent,
    data: *mut c_void,
}

// SAFETY: the event is held until the thread is done with it; function and data are the program's,
// which gave them to be used from any thread.
unsafe impl Send for Waiting {}

/// Waits in a thread of its own: it may be long, and must hold up neither the program nor another
/// callback.
pub unsafe extern "C" fn clSetEventCallback(
    event: cl_event,
    command_exec_callback_type: cl_int,
    pfn_notify: Option<OnEvent>,
    user_data: *mut c_void,
) -> cl_int {
    let wanted = command_exec_callback_type;
    status(LIBRARY.current().and_then(|weir| {
        object(weir, event, kind::CL_EVENT)?;
        let known = matches!(wanted, CL_COMPLETE | CL_RUNNING | CL_SUBMITTED);
        let function = pfn_notify.filter(|_| known).ok_or(code(CL_INVALID_VALUE))?;
        // SAFETY: it follows no pointer.
        unsafe { encode::clRetainEvent(event)? };
        let waiting = Waiting {
            event,
            wanted,
            function,
            data: user_data,
        };
        let thread = std::thread::Builder::new().name("weir-callback".to_owned());
        match thread.spawn(move || waiting.finish()) {
            Ok(_) => Ok(()),
            Err(_) => {
                // SAFETY: it was retained above.
                unsafe { encode::clReleaseEvent(event)? };
                Err(code(CL_OUT_OF_HOST_MEMORY))
            }
        }
    }))
}

impl Waiting {
    /// Waits, calls back, gives the event up.
    fn finish(self) {
        let mut reached: cl_int = CL_COMPLETE;
        let mut size = 0;
        // SAFETY: the event is held, and the list is this function's.
        let waited = unsafe { encode::clWaitForEvents(1, [self.event].as_ptr()) };
        hand_on(waited);
        // SAFETY: the pointers are to variables of this function.
        let asked = unsafe {
            let query = CL_EVENT_COMMAND_EXECUTION_STATUS;
            let value = (&raw mut reached).cast();
            encode::clGetEventInfo(self.event, query, 4, value, &mut size)
        };
        let told = match asked {
            Ok(()) if reached >= CL_COMPLETE => self.wanted,
            Ok(()) => reached,
            // The device is lost: the command has ended, and not well.
            Err(Code(code)) => code as cl_int,
        };
        // SAFETY: the program gave the function to be called so; the event is held until after.
        unsafe {
            (self.function)(self.event, told, self.data);
            let _ = encode::clReleaseEvent(self.event);
        }
    }
}

/// Leaves an error of another command, which came to light here, for the program to find.
fn hand_on(waited: Result<(), Code>) {
    let of_event = code(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    if let (Err(error), Ok(weir)) = (waited, LIBRARY.current())
        && error != of_event
        && error != weir.lost()
    {
        weir.arena().put_error(error.0 as i32);
    }
}
