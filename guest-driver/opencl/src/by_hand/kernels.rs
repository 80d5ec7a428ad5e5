//! Kernels: their arguments and launches.
//!
//! A program sets arguments and launches kernels far more often than it learns anything from the
//! answers. The first time that it does so in one way, the call waits, so that what is wrong is
//! reported where it happens; after that, a call of the same kind cannot fail in a new way, and is
//! queued.

use std::ffi::c_void;

use weir_guest::Code;
use weir_guest::objects::Object;

use super::{LIBRARY, argument, object, status};
use crate::generated::{cl_command_queue, cl_event, cl_int, cl_kernel, cl_uint, encode, kind};

/// What a kernel has been found to take.
#[derive(Debug, Default)]
struct Known {
    arguments: Vec<Argument>,
    launches: Vec<Launch>,
}

/// An argument that was set: its index, its size, and whether it was an object.
type Argument = (cl_uint, usize, bool);

/// What the success of a launch depends on, once its arguments are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Launch {
    dimensions: cl_uint,
    local: Option<[usize; 3]>,
    /// Whether there is work in each dimension, in whole groups.
    even: bool,
}

/// Ways of launching that are remembered of one kernel.
const MAX_LAUNCHES: usize = 64;

fn with_known<T>(kernel: &Object, f: impl FnOnce(&mut Known) -> T) -> T {
    let mut extra = kernel.extra();
    let known = extra.get_or_insert_with(|| Box::new(Known::default()));
    match known.downcast_mut() {
        Some(known) => f(known),
        // A kernel has nothing else; but if it had, it would be as if nothing were known.
        None => f(&mut Known::default()),
    }
}

pub unsafe extern "C" fn clSetKernelArg(
    kernel: cl_kernel,
    arg_index: cl_uint,
    arg_size: usize,
    arg_value: *const c_void,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe { set_argument(kernel, arg_index, arg_size, arg_value) })
}

/// # Safety
/// `value` must be null or valid for reading `size` bytes.
unsafe fn set_argument(
    kernel: cl_kernel,
    index: cl_uint,
    size: usize,
    value: *const c_void,
) -> Result<(), Code> {
    let weir = LIBRARY.current()?;
    let kernel_object = object(weir, kernel, kind::CL_KERNEL)?;
    let passed = if size == size_of::<*const c_void>() && !value.is_null() {
        // Bytes that are the address of one of this process's living objects are that object.
        // SAFETY: there are as many bytes.
        argument(weir, unsafe {
            value.cast::<*const c_void>().read_unaligned()
        })
    } else {
        None
    };
    let way: Argument = (index, size, passed.is_some());
    let known = with_known(kernel_object, |known| known.arguments.contains(&way));
    // SAFETY: the caller answers for the value.
    unsafe { encode::clSetKernelArg(kernel, index, size, passed, value, !known)? };
    if !known {
        with_known(kernel_object, |known| known.arguments.push(way));
    }
    Ok(())
}

pub unsafe extern "C" fn clEnqueueNDRangeKernel(
    command_queue: cl_command_queue,
    kernel: cl_kernel,
    work_dim: cl_uint,
    global_work_offset: *const usize,
    global_work_size: *const usize,
    local_work_size: *const usize,
    num_events_in_wait_list: cl_uint,
    event_wait_list: *const cl_event,
    event: *mut cl_event,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe {
        LIBRARY.current().and_then(|weir| {
            let object = object(weir, kernel, kind::CL_KERNEL)?;
            let way = launch(work_dim, global_work_size, local_work_size);
            let is_known = |way| with_known(object, |known| known.launches.contains(&way));
            let known = way.is_some_and(is_known);
            encode::clEnqueueNDRangeKernel(
                command_queue,
                kernel,
                work_dim,
                global_work_offset,
                global_work_size,
                local_work_size,
                num_events_in_wait_list,
                event_wait_list,
                event,
                !known,
            )?;
            if let (false, Some(way)) = (known, way) {
                with_known(object, |known| {
                    known.launches.truncate(MAX_LAUNCHES - 1);
                    known.launches.insert(0, way);
                });
            }
            Ok(())
        })
    })
}

/// What a launch's success depends on; `None` if it cannot be remembered.
///
/// # Safety
/// `global` and `local` must be null or valid for reading as many numbers as there are dimensions.
unsafe fn launch(dimensions: cl_uint, global: *const usize, local: *const usize) -> Option<Launch> {
    let count = dimensions as usize;
    if !(1..=3).contains(&count) || global.is_null() {
        return None;
    }
    let read = |list: *const usize| {
        let mut sizes = [1; 3];
        for (i, size) in sizes.iter_mut().enumerate().take(count) {
            // SAFETY: so the caller says.
            *size = unsafe { *list.add(i) };
        }
        sizes
    };
    let global = read(global);
    let local = (!local.is_null()).then(|| read(local));
    let groups = local.unwrap_or([1; 3]);
    let even = |(global, group): (&usize, &usize)| {
        *global > 0 && global.checked_rem(*group).is_some_and(|rest| rest == 0)
    };
    Some(Launch {
        dimensions,
        local,
        even: global.iter().zip(&groups).all(even),
    })
}
