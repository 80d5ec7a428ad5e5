//! Buffers: what the guest keeps of them.
//!
//! The host cannot work in a guest program's memory. A buffer that is to use the program's memory is
//! therefore one that begins as its copy; mapping it copies to and from the program's memory, which
//! is all that OpenCL promises. What a program can ask about it is answered as if it were the memory
//! itself.

use std::ffi::c_void;
use std::sync::Arc;

use weir_guest::Code;
use weir_guest::call::Bulk;
use weir_guest::memory::Region;
use weir_guest::objects::Object;

use super::callbacks::AtEnd;
use super::transfers::{fill_new, largest_piece};
use super::{LIBRARY, answer, code, object, pointer, status};
use crate::generated::{
    CL_INVALID_HOST_PTR, CL_INVALID_VALUE, CL_MEM_ALLOC_HOST_PTR, CL_MEM_ASSOCIATED_MEMOBJECT,
    CL_MEM_COPY_HOST_PTR, CL_MEM_FLAGS, CL_MEM_HOST_PTR, CL_MEM_MAP_COUNT, CL_MEM_OFFSET,
    CL_MEM_SIZE, CL_MEM_USE_HOST_PTR, cl_context, cl_int, cl_mem, cl_mem_flags, cl_mem_info,
    cl_mem_properties, cl_uint, encode, kind,
};

/// What the guest knows of a buffer.
#[derive(Debug)]
pub struct Buffer {
    /// Bytes.
    pub size: usize,
    /// The program's memory that it is to use, or null.
    pub host: HostMemory,
    /// Its mapped parts.
    pub maps: Vec<Map>,
    /// Called when it is gone.
    pub at_end: AtEnd,
}

/// A place in the program's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostMemory(pub *mut u8);

// SAFETY: the program has promised that it stays valid as long as the buffer, from any thread.
unsafe impl Send for HostMemory {}

/// A mapped part of a buffer.
#[derive(Clone, Debug)]
pub struct Map {
    /// Where the program sees it.
    pub address: usize,
    /// Where it begins in the buffer.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// Whether the program may write it.
    pub writable: bool,
    /// The arena memory that it lies in; `None` if it lies in the program's own.
    pub region: Option<Arc<Region>>,
}

pub unsafe extern "C" fn clCreateBuffer(
    context: cl_context,
    flags: cl_mem_flags,
    size: usize,
    host_ptr: *mut c_void,
    errcode_ret: *mut cl_int,
) -> cl_mem {
    // SAFETY: the program answers for its pointers.
    unsafe {
        let made = create(context, flags, size, host_ptr, |flags, host| {
            encode::clCreateBuffer(context, flags, size, host)
        });
        pointer(made, errcode_ret)
    }
}

pub unsafe extern "C" fn clCreateBufferWithProperties(
    context: cl_context,
    properties: *const cl_mem_properties,
    flags: cl_mem_flags,
    size: usize,
    host_ptr: *mut c_void,
    errcode_ret: *mut cl_int,
) -> cl_mem {
    // SAFETY: the program answers for its pointers.
    unsafe {
        let made = create(context, flags, size, host_ptr, |flags, host| {
            encode::clCreateBufferWithProperties(context, properties, flags, size, host)
        });
        pointer(made, errcode_ret)
    }
}

/// # Safety
/// `host_ptr` must be null or valid for reading `size` bytes.
unsafe fn create(
    context: cl_context,
    flags: cl_mem_flags,
    size: usize,
    host_ptr: *mut c_void,
    make: impl FnOnce(cl_mem_flags, Bulk) -> Result<cl_mem, Code>,
) -> Result<cl_mem, Code> {
    let uses = flags & CL_MEM_USE_HOST_PTR != 0;
    let copies = flags & CL_MEM_COPY_HOST_PTR != 0;
    if uses && (copies || flags & CL_MEM_ALLOC_HOST_PTR != 0) {
        return Err(code(CL_INVALID_VALUE));
    }
    if !host_ptr.is_null() && !uses && !copies {
        return Err(code(CL_INVALID_HOST_PTR));
    }
    let sent = match uses {
        true => flags & !CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR,
        false => flags,
    };
    let weir = LIBRARY.current()?;
    let made = if host_ptr.is_null() || size <= largest_piece(weir) {
        make(sent, Bulk::line(host_ptr))?
    } else {
        let made = make(sent & !CL_MEM_COPY_HOST_PTR, Bulk::line(std::ptr::null()))?;
        // SAFETY: so the caller says.
        if let Err(error) = unsafe { fill_new(context, made, size, host_ptr) } {
            // SAFETY: it was made just now.
            unsafe { encode::clReleaseMemObject(made)? };
            return Err(error);
        }
        made
    };
    let host = if uses {
        host_ptr.cast()
    } else {
        std::ptr::null_mut()
    };
    let object = object(weir, made, kind::CL_MEM)?;
    *object.extra() = Some(Box::new(Buffer {
        size,
        host: HostMemory(host),
        maps: Vec::new(),
        at_end: AtEnd::default(),
    }));
    Ok(made)
}

/// Does something with what is known of a buffer; finds it out first if it is not known yet, as of a
/// part of another buffer.
pub fn with_buffer<T>(object: &Object, f: impl FnOnce(&mut Buffer) -> T) -> Result<T, Code> {
    if object.extra().is_none() {
        let found = look_up(object)?;
        object.extra().get_or_insert_with(|| Box::new(found));
    }
    let mut extra = object.extra();
    let buffer = extra.as_mut().and_then(|extra| extra.downcast_mut());
    buffer.map(f).ok_or(code(CL_INVALID_VALUE))
}

fn look_up(part: &Object) -> Result<Buffer, Code> {
    let size = ask(part, CL_MEM_SIZE)?;
    let whole = ask(part, CL_MEM_ASSOCIATED_MEMOBJECT)?;
    let whole = std::ptr::with_exposed_provenance(whole);
    let mut host = std::ptr::null_mut();
    if let Some(whole) = LIBRARY.current()?.objects.find(whole, kind::CL_MEM) {
        let base = with_buffer(whole, |buffer| buffer.host.0)?;
        if !base.is_null() {
            host = base.wrapping_add(ask(part, CL_MEM_OFFSET)?);
        }
    }
    Ok(Buffer {
        size,
        host: HostMemory(host),
        maps: Vec::new(),
        at_end: AtEnd::default(),
    })
}

/// Asks the host for a number or a handle.
fn ask(object: &Object, query: cl_mem_info) -> Result<usize, Code> {
    let mut value = 0_usize;
    let mut size = 0;
    // SAFETY: both pointers are to variables of this function, with room for as much as is asked.
    unsafe {
        let value = (&raw mut value).cast();
        encode::clGetMemObjectInfo(object.address(), query, 8, value, &mut size)?;
    }
    Ok(value)
}

pub unsafe extern "C" fn clGetMemObjectInfo(
    memobj: cl_mem,
    param_name: cl_mem_info,
    param_value_size: usize,
    param_value: *mut c_void,
    param_value_size_ret: *mut usize,
) -> cl_int {
    // SAFETY: the program answers for its pointers.
    status(unsafe {
        info(
            memobj,
            param_name,
            param_value_size,
            param_value,
            param_value_size_ret,
        )
    })
}

/// # Safety
/// As for [`answer`].
unsafe fn info(
    memobj: cl_mem,
    query: cl_mem_info,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Result<(), Code> {
    let object = object(LIBRARY.current()?, memobj, kind::CL_MEM)?;
    // SAFETY: the caller answers for the pointers.
    unsafe {
        match query {
            CL_MEM_HOST_PTR => {
                let host = with_buffer(object, |buffer| buffer.host.0)?;
                answer(host, size, value, size_ret)
            }
            CL_MEM_MAP_COUNT => {
                let count = with_buffer(object, |buffer| buffer.maps.len())?;
                answer(count as cl_uint, size, value, size_ret)
            }
            CL_MEM_FLAGS if !with_buffer(object, |buffer| buffer.host.0)?.is_null() => {
                let sent = ask(object, CL_MEM_FLAGS)? as cl_mem_flags;
                let flags = sent & !CL_MEM_COPY_HOST_PTR | CL_MEM_USE_HOST_PTR;
                answer(flags, size, value, size_ret)
            }
            _ => encode::clGetMemObjectInfo(memobj, query, size, value, size_ret),
        }
    }
}
