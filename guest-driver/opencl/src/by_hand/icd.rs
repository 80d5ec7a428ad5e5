//! How loaders find platforms and functions.

use std::ffi::c_void;

use weir_guest::connection::Unavailable;

use super::LIBRARY;
use crate::generated::{CL_DEVICE_NOT_AVAILABLE, cl_int, cl_platform_id, cl_uint, entry};

/// The ICD extension's error for "none".
const CL_PLATFORM_NOT_FOUND_KHR: cl_int = -1001;

/// What a loader asks first. Where there is no accelerator, there is no platform: programs go on
/// with those of other drivers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clIcdGetPlatformIDsKHR(
    num_entries: cl_uint,
    platforms: *mut cl_platform_id,
    num_platforms: *mut cl_uint,
) -> cl_int {
    match LIBRARY.connect() {
        // SAFETY: the caller's pointers are passed on as they are.
        Ok(_) => unsafe { entry::clGetPlatformIDs(num_entries, platforms, num_platforms) },
        Err(Unavailable::Forked) => CL_DEVICE_NOT_AVAILABLE,
        Err(_) => {
            if !num_platforms.is_null() {
                // SAFETY: a pointer that is not null is valid for writing.
                unsafe { num_platforms.write(0) };
            }
            CL_PLATFORM_NOT_FOUND_KHR
        }
    }
}

/// A name, and what gives the address of the function.
type Named = (&'static str, fn() -> *mut c_void);

/// What is found by name although it is in no dispatch table.
pub const FURTHER: &[Named] = &[("clIcdGetPlatformIDsKHR", || {
    clIcdGetPlatformIDsKHR as *mut c_void
})];
