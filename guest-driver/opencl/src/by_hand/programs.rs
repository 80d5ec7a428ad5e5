//! Programs: their binaries.

use std::ffi::c_void;

use weir_guest::Code;

use super::{answer, code, status};
use crate::generated::{
    CL_INVALID_VALUE, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES, cl_int, cl_program,
    cl_program_info, encode,
};

pub unsafe extern "C" fn clGetProgramInfo(
    program: cl_program,
    param_name: cl_program_info,
    param_value_size: usize,
    param_value: *mut c_void,
    param_value_size_ret: *mut usize,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe {
        match param_name {
            CL_PROGRAM_BINARIES => {
                binaries(program, param_value_size, param_value, param_value_size_ret)
            }
            _ => encode::clGetProgramInfo(
                program,
                param_name,
                param_value_size,
                param_value,
                param_value_size_ret,
            ),
        }
    })
}

/// The binary for the accelerator's one device goes where the first of the program's pointers says.
///
/// # Safety
/// `value` must be null or hold `size` bytes of pointers, each of which is null or has room for its
/// device's binary.
unsafe fn binaries(
    program: cl_program,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Result<(), Code> {
    let mut len = 0_usize;
    let mut unused = 0_usize;
    // SAFETY: the pointers are to variables of this function.
    unsafe {
        let len = (&raw mut len).cast();
        encode::clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, 8, len, &mut unused)?;
    }
    if value.is_null() {
        // SAFETY: nothing is written but the size.
        return unsafe { answer(0_usize, 0, value, size_ret) };
    }
    if size < size_of::<*mut c_void>() {
        return Err(code(CL_INVALID_VALUE));
    }
    // SAFETY: so the caller says.
    let target = unsafe { value.cast::<*mut c_void>().read_unaligned() };
    if !target.is_null() && len > 0 {
        // SAFETY: there is room for the whole binary.
        unsafe {
            encode::clGetProgramInfo(program, CL_PROGRAM_BINARIES, len, target, &mut unused)?;
        }
    }
    // SAFETY: only the size is written.
    unsafe { answer(0_usize, 0, std::ptr::null_mut(), size_ret) }
}
