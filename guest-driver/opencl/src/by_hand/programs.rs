//! Programs: their binaries, and all their kernels at once.

use std::ffi::{CString, c_void};

use weir_guest::Code;

use super::{LIBRARY, answer, code, object, status};
use crate::generated::{
    CL_INVALID_VALUE, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES, CL_PROGRAM_KERNEL_NAMES,
    cl_int, cl_kernel, cl_program, cl_program_info, cl_uint, encode, kind,
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

pub unsafe extern "C" fn clCreateKernelsInProgram(
    program: cl_program,
    num_kernels: cl_uint,
    kernels: *mut cl_kernel,
    num_kernels_ret: *mut cl_uint,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe { all_kernels(program, num_kernels, kernels, num_kernels_ret) })
}

/// # Safety
/// `kernels` must be null or have room for `room` handles; `count_ret` null or be valid for writing.
unsafe fn all_kernels(
    program: cl_program,
    room: cl_uint,
    kernels: *mut cl_kernel,
    count_ret: *mut cl_uint,
) -> Result<(), Code> {
    object(LIBRARY.current()?, program, kind::CL_PROGRAM)?;
    let names = kernel_names(program)?;
    if !kernels.is_null() {
        if (room as usize) < names.len() {
            return Err(code(CL_INVALID_VALUE));
        }
        let mut made: Vec<cl_kernel> = Vec::new();
        for name in &names {
            // SAFETY: the name is a string that a zero ends.
            match unsafe { encode::clCreateKernel(program, name.as_ptr()) } {
                Ok(kernel) => made.push(kernel),
                Err(error) => {
                    for kernel in made {
                        // SAFETY: it was made just now.
                        let _ = unsafe { encode::clReleaseKernel(kernel) };
                    }
                    return Err(error);
                }
            }
        }
        // SAFETY: there is room for as many.
        unsafe { std::ptr::copy_nonoverlapping(made.as_ptr(), kernels, made.len()) };
    }
    if !count_ret.is_null() {
        // SAFETY: so the caller says.
        unsafe { count_ret.write(names.len() as cl_uint) };
    }
    Ok(())
}

fn kernel_names(program: cl_program) -> Result<Vec<CString>, Code> {
    let mut size = 0_usize;
    // SAFETY: the pointers are null or to variables of this function, with room for as much as is
    // asked for.
    let text = unsafe {
        let query = CL_PROGRAM_KERNEL_NAMES;
        encode::clGetProgramInfo(program, query, 0, std::ptr::null_mut(), &mut size)?;
        let mut text = vec![0_u8; size];
        let value = text.as_mut_ptr().cast();
        encode::clGetProgramInfo(program, query, size, value, &mut size)?;
        text
    };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = text
        .split(|byte| *byte == b';')
        .filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}
