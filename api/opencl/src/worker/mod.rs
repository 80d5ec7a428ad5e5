//! OpenCL's side of the worker: the vendor's library, loaded through its ICD loader, and those calls
//! that no attribute can express.
//!
//! | module | which calls |
//! |---|---|
//! | `platforms` | which platform and device there are, and the one that a client sees |
//! | `capabilities` | what they can do, less what Weir does not carry |
//! | `arguments` | arguments of kernels |
//! | `queues` | command queues, which always take times |
//! | `transfers` | maps and unmaps, which are copies here |
//! | `queries` | single answers that differ from the vendor's |

mod answer;
mod arguments;
mod capabilities;
mod platforms;
mod queries;
mod queues;
mod transfers;

#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, OnceLock};

use weir_runtime::library::{Accelerator, Library, LibraryError, Platform, Progress};
use weir_runtime::turn::{Made, Turn};
use weir_wire::function::Api;

use crate::table::constants::*;
use generated::Vendor;

/// Types, vendor functions and dispatch; generated from the spec.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unused_parens,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "the names are C's, and what is generated is explained in its generator"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/worker.rs"));
}

/// The host's OpenCL.
pub struct OpenCl {
    vendor: Vendor,
    chosen: OnceLock<platforms::Chosen>,
    queues: queues::Queues,
    arguments: arguments::Arguments,
    /// Keeps the functions of `vendor` where they are.
    _library: libloading::Library,
}

/// Loads the host's OpenCL and lets its platforms initialise themselves.
pub fn load() -> Result<Arc<dyn Library>, LibraryError> {
    // SAFETY: loading the ICD loader runs its initialisers and the vendors', which is what it is for.
    let library = unsafe { libloading::Library::new(generated::LIBRARY) };
    let library = library.map_err(|source| LibraryError::Load {
        library: generated::LIBRARY.to_owned(),
        source: source.into(),
    })?;
    // SAFETY: libOpenCL's functions have OpenCL's prototypes, and the library is kept.
    let vendor = unsafe { Vendor::load(&library) };
    let loaded = OpenCl {
        vendor,
        chosen: OnceLock::new(),
        queues: queues::Queues::default(),
        arguments: arguments::Arguments::default(),
        _library: library,
    };
    loaded.platforms()?;
    Ok(Arc::new(loaded))
}

impl Library for OpenCl {
    fn api(&self) -> &'static Api {
        &crate::table::API
    }

    fn platforms(&self) -> Result<Vec<Platform>, LibraryError> {
        platforms::all(&self.vendor)
    }

    fn choose(&self, accelerator: &Accelerator) -> Result<(), LibraryError> {
        let chosen = platforms::choose(&self.vendor, accelerator)?;
        let _ = self.vendor.extensions.set(chosen.extensions(&self.vendor));
        let _ = self.chosen.set(chosen); // once, says the trait
        Ok(())
    }

    fn make(&self, turn: &mut Turn<'_>) -> Made {
        generated::make(self, &self.vendor, turn)
    }

    unsafe fn progress(&self, event: *mut c_void) -> Progress {
        let mut status = 0i32;
        let Some(get) = self.vendor.clGetEventInfo else {
            return Progress::Failed;
        };
        let place = (&raw mut status).cast();
        // SAFETY: the event is alive, and the place holds the four bytes that are asked for.
        let error = unsafe {
            get(
                event,
                CL_EVENT_COMMAND_EXECUTION_STATUS,
                4,
                place,
                null_mut(),
            )
        };
        match status {
            _ if error != CL_SUCCESS => Progress::Failed,
            CL_COMPLETE => {
                let start = self.time(event, CL_PROFILING_COMMAND_START);
                let end = self.time(event, CL_PROFILING_COMMAND_END);
                Progress::Complete {
                    device_ns: end.saturating_sub(start),
                }
            }
            status if status < 0 => Progress::Failed,
            _ => Progress::Pending,
        }
    }

    unsafe fn release(&self, event: *mut c_void) {
        if let Some(release) = self.vendor.clReleaseEvent {
            // SAFETY: the event is alive and this reference of it is ours.
            unsafe { release(event) };
        }
    }

    unsafe fn retain(&self, event: *mut c_void) {
        if let Some(retain) = self.vendor.clRetainEvent {
            // SAFETY: the caller says that the event is alive.
            unsafe { retain(event) };
        }
    }

    unsafe fn make_gate(&self, line: *mut c_void) -> Option<*mut c_void> {
        let get = self.vendor.clGetCommandQueueInfo?;
        let make = self.vendor.clCreateUserEvent?;
        let mut context = null_mut::<c_void>();
        let place = (&raw mut context).cast();
        // SAFETY: the line is a queue, and the place holds the eight bytes that are asked for.
        let error = unsafe { get(line, CL_QUEUE_CONTEXT, 8, place, null_mut()) };
        if error != CL_SUCCESS {
            return None;
        }
        let mut error = CL_SUCCESS;
        // SAFETY: the context is the queue's, and the error has its place.
        let gate = unsafe { make(context, &mut error) };
        (error == CL_SUCCESS && !gate.is_null()).then_some(gate)
    }

    unsafe fn make_failed(&self, line: *mut c_void, code: i32) -> Option<*mut c_void> {
        let set = self.vendor.clSetUserEventStatus.filter(|_| code < 0)?;
        // SAFETY: the caller says so of the line.
        let event = unsafe { self.make_gate(line) }?;
        // SAFETY: it is a user event that nothing has set.
        unsafe { set(event, code) };
        Some(event)
    }

    unsafe fn open_gate(&self, gate: *mut c_void) {
        if let Some(set) = self.vendor.clSetUserEventStatus {
            // SAFETY: the gate is a user event that nothing has set.
            unsafe { set(gate, CL_COMPLETE) };
        }
        // SAFETY: its one reference is ours, and this is its last use.
        unsafe { self.release(gate) };
    }

    unsafe fn notify(
        &self,
        event: *mut c_void,
        notify: extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> bool {
        let Some(set) = self.vendor.clSetEventCallback else {
            return false;
        };
        let call = Box::into_raw(Box::new(Notify { notify, data }));
        // SAFETY: the event is alive; `notified` gets the box that it expects, once.
        let error = unsafe { set(event, CL_COMPLETE, Some(notified), call.cast()) };
        if error != CL_SUCCESS {
            // SAFETY: the callback was not taken, so the box is still ours.
            drop(unsafe { Box::from_raw(call) });
        }
        error == CL_SUCCESS
    }
}

impl OpenCl {
    /// A time of a complete event, in nanoseconds; 0 if there is none.
    fn time(&self, event: *mut c_void, which: u32) -> u64 {
        let mut time = 0u64;
        if let Some(get) = self.vendor.clGetEventProfilingInfo {
            // SAFETY: the event is alive, and the place holds the eight bytes that are asked for.
            unsafe { get(event, which, 8, (&raw mut time).cast(), null_mut()) };
        }
        time
    }
}

/// What to call when an event has ended.
struct Notify {
    notify: extern "C" fn(*mut c_void),
    data: *mut c_void,
}

unsafe extern "C" fn notified(_event: *mut c_void, _status: i32, data: *mut c_void) {
    // SAFETY: `Library::notify` gave this box, and OpenCL calls back once.
    let call = unsafe { Box::from_raw(data.cast::<Notify>()) };
    (call.notify)(call.data);
}

/// The calls that are written by hand, each in its module.
impl generated::ByHand for OpenCl {
    fn clGetPlatformIDs(&self, _: &Vendor, turn: &mut Turn<'_>) -> Made {
        platforms::get_platform_ids(self, turn)
    }

    fn clGetPlatformInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        capabilities::get_platform_info(vendor, turn)
    }

    fn clGetDeviceIDs(&self, _: &Vendor, turn: &mut Turn<'_>) -> Made {
        platforms::get_device_ids(self, turn)
    }

    fn clGetDeviceInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        capabilities::get_device_info(self, vendor, turn)
    }

    fn clCreateCommandQueue(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queues::create(&self.queues, vendor, turn)
    }

    fn clCreateCommandQueueWithProperties(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queues::create_with_properties(&self.queues, vendor, turn)
    }

    fn clGetCommandQueueInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queues::get_info(&self.queues, vendor, turn)
    }

    fn clGetEventProfilingInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queues::get_event_profiling_info(&self.queues, vendor, turn)
    }

    fn clGetMemObjectInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queries::get_mem_object_info(vendor, turn)
    }

    fn clGetProgramInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queries::get_program_info(vendor, turn)
    }

    fn clGetEventInfo(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        queries::get_event_info(vendor, turn)
    }

    fn clSetKernelArg(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        arguments::set(&self.arguments, vendor, turn)
    }

    fn clEnqueueMapBuffer(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        transfers::map_buffer(vendor, turn)
    }

    fn clEnqueueMapImage(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        transfers::map_image(vendor, turn)
    }

    fn clEnqueueUnmapMemObject(&self, vendor: &Vendor, turn: &mut Turn<'_>) -> Made {
        transfers::unmap(vendor, turn)
    }
}
