//! Arguments of kernels.
//!
//! A program sets arguments far more often than it learns anything from doing so. The first time
//! that an argument is set with a size, the call waits, so that a wrong index or size is reported
//! where it happens; after that such a call cannot fail in a new way, and is queued.

use std::ffi::c_void;

use weir_guest::Code;

use super::{LIBRARY, argument, object, status};
use crate::generated::{cl_int, cl_kernel, cl_uint, encode, kind};

/// What is known of a kernel's argument: its index, its size, and whether it was an object.
type Known = (cl_uint, usize, bool);

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
    let shape: Known = (index, size, passed.is_some());
    let known = kernel_object
        .extra()
        .as_ref()
        .and_then(|extra| extra.downcast_ref::<Vec<Known>>())
        .is_some_and(|known| known.contains(&shape));
    // SAFETY: the caller answers for the value.
    unsafe { encode::clSetKernelArg(kernel, index, size, passed, value, !known)? };
    if !known {
        let mut extra = kernel_object.extra();
        let known = extra.get_or_insert_with(|| Box::new(Vec::<Known>::new()));
        if let Some(known) = known.downcast_mut::<Vec<Known>>() {
            known.push(shape);
        }
    }
    Ok(())
}
