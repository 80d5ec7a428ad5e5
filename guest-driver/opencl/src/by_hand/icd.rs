//! How loaders find platforms and functions.

use std::ffi::{CStr, c_char, c_void};

use weir_guest::connection::Unavailable;

use super::LIBRARY;
use crate::generated::{
    CL_DEVICE_NOT_AVAILABLE, NAMES, TABLE, cl_int, cl_platform_id, cl_uint, entry,
};

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

/// Finds a function by its name; null for those that do nothing but fail.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(
    function_name: *const c_char,
) -> *mut c_void {
    if function_name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller passes a string that a zero ends.
    let name = unsafe { CStr::from_ptr(function_name) };
    if name == c"clIcdGetPlatformIDsKHR" {
        return clIcdGetPlatformIDsKHR as *mut c_void;
    }
    let found = NAMES
        .iter()
        .position(|known| known.as_bytes() == name.to_bytes());
    found.map_or(std::ptr::null_mut(), |index| TABLE.0[index].cast_mut())
}

pub unsafe extern "C" fn clGetExtensionFunctionAddressForPlatform(
    _platform: cl_platform_id,
    function_name: *const c_char,
) -> *mut c_void {
    // SAFETY: as for the other one.
    unsafe { clGetExtensionFunctionAddress(function_name) }
}
