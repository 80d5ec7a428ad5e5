//! Platforms, devices and contexts.

use std::ffi::{c_char, c_void};

use weir_guest::Code;

use super::{code, pointer};
use crate::generated::{
    CL_CONTEXT_PLATFORM, CL_DEVICE_NOT_FOUND, CL_INVALID_VALUE, cl_context, cl_context_properties,
    cl_device_id, cl_device_type, cl_int, cl_platform_id, encode,
};

/// Devices that a context can have.
const MAX_DEVICES: usize = 16;

type Notify = unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void);

pub unsafe extern "C" fn clCreateContextFromType(
    properties: *const cl_context_properties,
    device_type: cl_device_type,
    pfn_notify: Option<Notify>,
    user_data: *mut c_void,
    errcode_ret: *mut cl_int,
) -> cl_context {
    // SAFETY: the program answers for its pointers.
    unsafe {
        let made = match pfn_notify {
            None if !user_data.is_null() => Err(code(CL_INVALID_VALUE)),
            _ => context_from_type(properties, device_type),
        };
        pointer(made, errcode_ret)
    }
}

/// # Safety
/// `properties` must be null or a property list.
unsafe fn context_from_type(
    properties: *const cl_context_properties,
    device_type: cl_device_type,
) -> Result<cl_context, Code> {
    // SAFETY: so the caller says.
    let mut platform = unsafe { platform_in(properties) };
    let mut devices: [cl_device_id; MAX_DEVICES] = [std::ptr::null_mut(); MAX_DEVICES];
    let mut count = 0;
    // SAFETY: all pointers are to variables of this function.
    unsafe {
        if platform.is_null() {
            encode::clGetPlatformIDs(1, &mut platform, std::ptr::null_mut())?;
        }
        let room = MAX_DEVICES as u32;
        let list = devices.as_mut_ptr();
        encode::clGetDeviceIDs(platform, device_type, room, list, &mut count)?;
    }
    match (count as usize).min(MAX_DEVICES) {
        0 => Err(code(CL_DEVICE_NOT_FOUND)),
        // SAFETY: the property list is the caller's, and so many devices were found.
        count => unsafe { encode::clCreateContext(properties, count as u32, devices.as_ptr()) },
    }
}

/// # Safety
/// `properties` must be null or a property list.
unsafe fn platform_in(mut properties: *const cl_context_properties) -> cl_platform_id {
    if properties.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the list goes on, in pairs, as long as no key is zero.
    unsafe {
        while *properties != 0 {
            if *properties == CL_CONTEXT_PLATFORM as cl_context_properties {
                return std::ptr::with_exposed_provenance_mut(*properties.add(1) as usize);
            }
            properties = properties.add(2);
        }
    }
    std::ptr::null_mut()
}
