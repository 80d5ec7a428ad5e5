//! What no annotation in the spec expresses: entry points written by hand, and what of OpenCL the
//! shared part of the library must know.
//!
//! A C program answers for the pointers that it passes, here as in every OpenCL library: what a
//! pointer must be, the API's specification says. These functions follow no pointer that names an
//! object; the shared part finds out whether it is one.

#![allow(non_snake_case, reason = "C functions are called what they are called")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the API's specification says what callers must do"
)]

mod buffers;
mod callbacks;
mod icd;
mod maps;
mod programs;
mod setup;

use std::ffi::c_void;

use weir_guest::connection::{Connection, Library};
use weir_guest::objects::Object;
use weir_guest::{Code, Face};
use weir_wire::handle::Handle;

use crate::generated::{
    CL_INVALID_VALUE, ERRORS, ID, INVALID, NAME, TABLE, cl_int, encode, number,
};

pub use buffers::*;
pub use callbacks::*;
pub use icd::*;
pub use maps::*;
pub use programs::*;
pub use setup::*;

static FACE: Face = Face {
    ended,
    name: NAME,
    id: ID,
    errors: ERRORS,
    invalid: INVALID,
    dispatch: || (&raw const TABLE.0).cast(),
    reports,
    drain,
};

/// The place of this process's connection.
pub static LIBRARY: Library = Library::new(&FACE);

/// Whether a call that has waited is where OpenCL programs look for the errors of earlier commands.
fn reports(function: u16) -> bool {
    matches!(
        function,
        number::clFinish
            | number::clWaitForEvents
            | number::clEnqueueReadBuffer
            | number::clEnqueueWriteBuffer
            | number::clEnqueueReadBufferRect
            | number::clEnqueueWriteBufferRect
            | number::clEnqueueReadImage
            | number::clEnqueueWriteImage
            | number::clEnqueueMapBuffer
            | number::clEnqueueMapImage
    )
}

/// Finishes a command queue, so that its transfers give their arena memory back.
fn drain(queue: Handle) {
    if let Ok(weir) = LIBRARY.current() {
        // SAFETY: the address names an object or is null, which the call finds out.
        let _ = unsafe { encode::clFinish(weir.objects.address(queue)) };
    }
}

/// The object of `kind` at an address that the program gave.
fn object(
    weir: &'static Connection,
    address: *const c_void,
    kind: usize,
) -> Result<&'static Object, Code> {
    let object = weir.objects.find(address, kind);
    object.ok_or(Code(INVALID[kind]))
}

fn code(code: cl_int) -> Code {
    Code(code.into())
}

/// What a C function returns that gives back its error.
fn status(result: Result<(), Code>) -> cl_int {
    match result {
        Ok(()) => 0,
        Err(Code(code)) => code as cl_int,
    }
}

/// What a C function returns that gives back a pointer, and its error through another.
///
/// # Safety
/// `errcode_ret` must be null or valid for writing.
unsafe fn pointer(result: Result<*mut c_void, Code>, errcode_ret: *mut cl_int) -> *mut c_void {
    let (value, code) = match result {
        Ok(value) => (value, 0),
        Err(Code(code)) => (std::ptr::null_mut(), code as cl_int),
    };
    if !errcode_ret.is_null() {
        // SAFETY: so the caller says.
        unsafe { errcode_ret.write(code) };
    }
    value
}

/// Answers a query with `value`.
///
/// # Safety
/// `param_value` must be null or valid for writing `size` bytes, `size_ret` null or valid for
/// writing.
unsafe fn answer<T>(
    value: T,
    size: usize,
    param_value: *mut c_void,
    size_ret: *mut usize,
) -> Result<(), Code> {
    if !param_value.is_null() {
        if size < size_of::<T>() {
            return Err(code(CL_INVALID_VALUE));
        }
        // SAFETY: there is room, as the caller says.
        unsafe { param_value.cast::<T>().write_unaligned(value) };
    }
    if !size_ret.is_null() {
        // SAFETY: as the caller says.
        unsafe { size_ret.write(size_of::<T>()) };
    }
    Ok(())
}
